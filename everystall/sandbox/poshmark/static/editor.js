/* The practice Poshmark's listing form: mounted here, saved and published by the site's own JSON. */
"use strict";

(() => {
  const { make, onTrusted, pause, cookie } = Practice;
  const site = window.__INITIAL_STATE__;
  const drift = window.PRACTICE.drift;
  const wizard = window.PRACTICE.layout === "b" && site.mode === "create";
  const main = document.getElementById("content");

  /** What the form holds. */
  const post = {
    id: site.post?.id ?? null, photos: [], title: "", description: "", department: null, category: null, feature: null,
    quantity: 1, size: null, condition: null, brand: "", colors: [], tags: [], price: null, original: null,
    smartSell: false, floor: null, discount: "none", sku: "", availability: "For Sale",
  };
  let uploading = 0;
  let refresh = () => {};

  // ---- the site's JSON ----

  async function call(method, path, body) {
    const headers = { "x-xsrf-token": cookie("_csrf") };
    if (body && !(body instanceof FormData)) {
      headers["content-type"] = "application/json";
      body = JSON.stringify(body);
    }
    let answer = null;
    try {
      const response = await fetch(path, { method, headers, body });
      answer = await response.json();
      if (response.status === 401) location.assign("/login");
    } catch {
      answer = { error: { errorType: "NetworkError" } };
    }
    if (answer.error) {
      showModal({ title: "Oops", body: answer.error.userMessage ?? "Sorry! You cannot currently perform this request.", et: "error" });
      return null;
    }
    return answer;
  }

  // ---- parts ----

  function showModal({ title, body, buttons = [["OK", {}, null]], et }) {
    const shell = make("div", { class: "modal-backdrop", "data-test": "modal", "data-modal": et });
    const footer = make("footer", { class: "modal__footer", "data-test": "modal-footer" });
    for (const [text, attributes, action] of buttons) {
      const button = make("button", { type: "button", class: "btn", text, ...attributes });
      onTrusted(button, async () => {
        button.disabled = true;
        if (!action || (await action(shell)) !== false) shell.remove();
        button.disabled = false;
      });
      footer.append(button);
    }
    shell.append(make("div", { class: "modal simple-modal", "data-test": "modal-container", role: "dialog", "aria-modal": "true" },
      make("div", { class: "modal__header" }, make("h5", { "data-test": "modal-title", text: title })),
      make("div", { "data-test": "modal-body" }, ...(typeof body === "string" ? [make("p", { text: body })] : [body])),
      footer));
    document.body.append(shell);
    return shell;
  }

  function section(heading, ...children) {
    return make("section", { class: "listing-editor__section" }, make("h2", { text: heading }), ...children);
  }

  /** A selector that opens a menu on a real pointer's click; `rows` makes the menu's content, given a way to close it. */
  function dropdown(placeholder, rows) {
    const selector = make("div", { class: "dropdown__selector", tabindex: "0", role: "button", text: placeholder });
    const box = make("div", { class: "dropdown", "data-test": "dropdown" }, selector);
    let open = null;
    const close = () => { open?.remove(); open = null; };
    const show = () => {
      close();
      open = make("ul", { class: "dropdown__menu" });
      open.append(...rows({ close, show, say: (text) => { selector.textContent = text; } }));
      box.append(open);
    };
    onTrusted(selector, () => (open ? close() : show()));
    document.addEventListener("click", (event) => { if (!box.contains(event.target) && event.target.isConnected) close(); });
    return { box, say: (text) => { selector.textContent = text; } };
  }

  function row(text, action, attributes = {}) {
    const item = make("li", { class: "dropdown__link dropdown__menu__item", text, ...attributes });
    onTrusted(item, action);
    return item;
  }

  // ---- photos ----

  const shown = make("div", { class: "photos", "data-test": "photos" });

  function drawPhotos() {
    shown.replaceChildren(...post.photos.map((photo, place) => {
      const remove = make("button", { type: "button", class: "btn", text: "×", "aria-label": `Remove photo ${place + 1}`, style: "position:absolute;top:0;right:0;padding:0 .4rem" });
      onTrusted(remove, () => { post.photos.splice(post.photos.indexOf(photo), 1); drawPhotos(); });
      return make("figure", { class: photo.id ? "" : "busy" }, make("img", { src: photo.url, alt: `Photo ${place + 1}` }), remove);
    }));
    refresh();
  }

  function photos() {
    const input = make("input", { id: "img-file-input", name: "img-file-input", type: "file", multiple: true, accept: ".mov, .mp4, .png, .jpg, .jpeg" });
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = "";
      if (!files.length) return;
      if (post.photos.length + files.length > 16) {
        showModal({ title: "Too many photos", body: "You can add up to 16 photos.", et: "error" });
        return;
      }
      const chosen = files.map((file) => ({ file, url: URL.createObjectURL(file), id: null }));
      showModal({
        title: "Edit Photos", et: "crop",
        body: make("div", { class: "listing-editor__image-modal crop" }, ...chosen.map((photo) => make("img", { src: photo.url, alt: "" }))),
        buttons: [
          ["Cancel", {}, null],
          ["Apply", { class: "btn btn--primary", "data-et-name": "apply" }, () => { post.photos.push(...chosen); drawPhotos(); upload(chosen); }],
        ],
      });
    });
    return section("PHOTOS & VIDEO", make("p", { class: "practice-small", text: "Add up to 16 photos so buyers can see your item from every angle" }),
      shown, make("label", { class: "add-photos" }, make("b", { text: "ADD PHOTOS & VIDEO" }), make("div", { class: "practice-small", text: "or drag them in" }), input));
  }

  let drafting = null;

  /** The draft on the server, made when it is first needed. */
  function ensureDraft() {
    if (post.id) return Promise.resolve(post.id);
    drafting ??= call("POST", `/vm-rest/users/${site.uid}/posts?pm_version=2026.33.00`, {}).then((made) => {
      drafting = null;
      if (made) post.id = made.id;
      return post.id;
    });
    return drafting;
  }

  async function upload(chosen) {
    uploading += chosen.length;
    refresh();
    const id = await ensureDraft();
    await Promise.all(chosen.map(async (photo, place) => {
      const form = new FormData();
      form.append("file", photo.file, `file${place}.jpeg`);
      const kept = id && (await call("POST", `/api/posts/${id}/media/scratch?app_type=web`, form));
      if (kept) Object.assign(photo, { id: kept.id, url: kept.url_small });
      else post.photos.splice(post.photos.indexOf(photo), 1);
      uploading -= 1;
    }));
    drawPhotos();
  }

  // ---- words ----

  function text(name, attributes, tag = "input") {
    const field = make(tag, { ...attributes, value: tag === "input" ? post[name] : null });
    if (tag === "textarea") field.value = post[name];
    field.addEventListener("input", () => { post[name] = field.value; refresh(); });
    return field;
  }

  // ---- category, size ----

  const subBox = make("div", { class: "listing-editor__subcategory-container", style: "margin-top:.5rem" });
  const sizeBox = make("div");

  function chooseCategory(department, category, feature = null) {
    Object.assign(post, { department, category, feature });
    const sub = dropdown("Select Subcategory (optional)", ({ close, say }) => [
      ...category.features.map((one) => {
        const link = make("a", { class: "dropdown__link dropdown__menu__item", "data-et-prop-content": one.id, text: one.name });
        onTrusted(link, () => { post.feature = one; say(one.name); close(); });
        return make("li", {}, link);
      }),
      row("None", () => { post.feature = null; say("Select Subcategory (optional)"); close(); }),
    ]);
    if (feature) sub.say(feature.name);
    subBox.replaceChildren(...(category.features.length ? [sub.box] : []));
    post.size = category.size_set === "one" ? "OS" : null;
    drawSize();
    refresh();
  }

  function category() {
    const menu = dropdown("Select Category", ({ close, show, say }) => {
      const departments = site.catalog.map((department) => {
        const link = make("a", { class: "dropdown__link dropdown__menu__item", "data-et-on-name": "category_selection", "data-et-name": department.key, text: department.name });
        onTrusted(link, () => {
          const rows = [
            row("All Categories", () => show()),
            ...department.categories.map((one) => row(one.name, () => { say(`${department.name} ${one.name}`); close(); chooseCategory(department, one); })),
          ];
          link.closest("ul").replaceChildren(...rows);
        });
        return make("li", {}, link);
      });
      return departments;
    });
    const there = site.post?.catalog;
    if (there) {
      const department = site.catalog.find((one) => one.id === there.department);
      const one = department.categories.find((two) => two.id === there.category);
      const feature = one.features.find((three) => there.category_features.includes(three.id));
      menu.say(`${department.name} ${one.name}`);
      chooseCategory(department, one, feature);
      post.size = site.post.size;
      drawSize();
    }
    return section("CATEGORY", make("div", { class: "listing-editor__category-container" }, menu.box), subBox);
  }

  function drawSize() {
    const opener = make("div", { class: "dropdown__selector", "data-test": "size", "data-et-name": "size", role: "button", tabindex: "0", text: post.size ?? "Select Size" });
    onTrusted(opener, () => {
      if (!post.category) {
        opener.textContent = "Please select the category first";
        return;
      }
      sizePanel();
    });
    sizeBox.replaceChildren(opener);
  }

  function sizePanel() {
    const set = site.sizes[post.category.size_set];
    let chosen = post.size;
    const tabs = [...Object.keys(set), "Custom"];
    const body = make("div");
    const custom = make("input", { id: "customSizeInput0", placeholder: "Enter a custom size", maxlength: 20 });
    custom.addEventListener("input", () => { chosen = custom.value.trim() || null; });
    const draw = (current) => {
      const bar = make("nav", { class: "tabs", role: "tablist" }, ...tabs.map((name, place) => {
        const tab = make("a", { class: "navigation--horizontal__tab", role: "tab", "data-test": `horizontal-nav-${place}`, "aria-selected": String(name === current), text: name });
        onTrusted(tab, () => draw(name));
        return tab;
      }));
      const choices = make("div", { class: "sizes" }, ...(set[current] ?? []).map((size) => {
        const button = make("button", { type: "button", class: "btn", id: `size-${size}`, "aria-pressed": String(size === chosen), text: size });
        onTrusted(button, () => { chosen = size; draw(current); });
        return button;
      }));
      const select = make("select", { "aria-label": "Size" }, make("option", { value: "", text: "Choose" }), ...(set[current] ?? []).map((size) => make("option", { value: size, text: size })));
      select.addEventListener("change", () => { chosen = select.value || null; });
      body.replaceChildren(bar, current === "Custom" ? custom : drift.strength >= 4 ? select : choices);
    };
    draw(tabs[0]);
    showModal({ title: "Size", et: "size", body, buttons: [["Done", { class: "btn btn--primary", "data-et-name": "size_done" }, () => { post.size = chosen; drawSize(); refresh(); }]] });
  }

  // ---- quantity, condition, brand, colour, tags ----

  function quantity() {
    const field = make("input", { "data-vv-name": "quantityAvailable0", inputmode: "numeric", value: String(post.quantity), hidden: post.quantity === 1 });
    field.addEventListener("input", () => { post.quantity = Math.max(1, parseInt(field.value, 10) || 1); refresh(); });
    const single = make("button", { type: "button", class: "btn", text: "Single Item" });
    const multi = make("button", { type: "button", class: "btn", text: "Multi Item" });
    const draw = (many) => {
      field.hidden = !many;
      single.setAttribute("aria-pressed", String(!many));
      multi.setAttribute("aria-pressed", String(many));
    };
    onTrusted(single, () => { post.quantity = 1; draw(false); });
    onTrusted(multi, () => draw(true));
    draw(post.quantity > 1);
    return section("QUANTITY", make("div", { class: "row" }, single, multi), field);
  }

  function condition() {
    const menu = dropdown(site.conditions[post.condition] ?? "Select Condition", ({ close, say }) =>
      Object.entries(site.conditions).map(([value, words]) => {
        const choice = make("div", { class: "dropdown__menu__item", "data-et-name": "listing_condition", "data-et-prop-content": value, text: words });
        onTrusted(choice, () => { post.condition = value; say(words); close(); refresh(); });
        return make("li", {}, choice);
      }));
    return section("CONDITION", make("div", { class: "listing-editor__condition-container" }, menu.box));
  }

  function brand() {
    const field = make("input", { placeholder: "Enter the Brand/Designer", value: post.brand, "aria-label": "Brand", autocomplete: "off" });
    const list = make("ul", { class: "listing-editor__suggestions-list", hidden: true });
    field.addEventListener("input", () => {
      post.brand = field.value;
      const found = site.brands.filter((name) => field.value && name.toLowerCase().startsWith(field.value.toLowerCase()));
      list.hidden = !found.length;
      list.replaceChildren(...found.map((name) => {
        const item = make("li", { text: name });
        onTrusted(item, () => { field.value = post.brand = name; list.hidden = true; });
        return item;
      }));
    });
    field.addEventListener("keydown", (event) => { if (event.key === "Escape") list.hidden = true; });
    return section("BRAND", field, list);
  }

  function color() {
    const opener = make("div", { class: "dropdown__selector", "data-et-name": "color", role: "button", tabindex: "0" });
    const tiles = make("ul", { class: "color-tiles", hidden: true });
    const draw = () => {
      opener.textContent = post.colors.join(", ") || "Select Color";
      tiles.replaceChildren(...Object.entries(site.colors).map(([name, rgb]) => {
        const item = make("li", { "data-color": name }, make("a", { class: "color__circle--large", style: `background:${rgb}` }), make("span", { text: name }),
          post.colors.includes(name) ? make("i", { class: "checkmark", text: "✓" }) : null);
        onTrusted(item, () => {
          if (post.colors.includes(name)) post.colors = post.colors.filter((one) => one !== name);
          else if (post.colors.length < 2) post.colors = [...post.colors, name];
          draw();
        });
        return item;
      }));
    };
    onTrusted(opener, () => { tiles.hidden = !tiles.hidden; });
    draw();
    return section("COLOR", opener, tiles);
  }

  function tags() {
    const chips = make("div", { class: "chips" });
    const field = make("input", { class: "listing-editor__tag__input", placeholder: "Add up to 3 style tags", "aria-label": "Style tags" });
    const draw = () => chips.replaceChildren(...post.tags.map((tag) => {
      const remove = make("button", { type: "button", class: "chip__remove", text: "×", "aria-label": `Remove tag ${tag}` });
      onTrusted(remove, () => { post.tags = post.tags.filter((one) => one !== tag); draw(); });
      return make("span", { class: "chip" }, make("span", { class: "listing-editor__tag", text: tag }), remove);
    }));
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !event.isTrusted) return;
      event.preventDefault();
      const tag = field.value.trim();
      if (tag && post.tags.length < 3 && !post.tags.includes(tag)) post.tags.push(tag);
      field.value = "";
      draw();
    });
    draw();
    return section("STYLE TAGS", chips, field);
  }

  // ---- price, availability, private details ----

  function price() {
    const field = make("input", { "data-vv-name": "listingPrice", placeholder: "*Required", readonly: true, value: post.price ?? "", "aria-label": "Listing Price" });
    const hidden = make("input", { "data-vv-name": "originalPrice", type: "hidden", value: post.original ?? "" });
    onTrusted(field, () => priceModal(() => { field.value = post.price ?? ""; hidden.value = post.original ?? ""; refresh(); }));
    return section("LISTING PRICE", field, hidden);
  }

  let priceSeen = site.mode === "edit";

  function priceModal(done) {
    const smart = priceSeen ? post.smartSell : true;
    const listing = make("input", { id: "listing-price-modal-listing-price-input", inputmode: "decimal", value: post.price ?? "" });
    const original = make("input", { id: "listing-price-modal-original-price-input", inputmode: "decimal", value: post.original ?? "" });
    const floor = make("input", { id: "smart-sell-minimum-input", inputmode: "decimal", placeholder: "Lowest price", value: post.floor ?? "" });
    const floorRow = make("label", { hidden: !smart }, "Smart Sell minimum", floor);
    const toggle = make("input", { type: "checkbox", "data-test": "toggle-input", id: "smart-sell-toggle" });
    toggle.checked = smart;
    toggle.addEventListener("change", () => { floorRow.hidden = !toggle.checked; });
    const discount = make("select", { "data-et-name": "seller_shipping_discount", "aria-label": "Shipping discount" },
      ...Object.entries(site.discounts).map(([value, words]) => make("option", { value, text: words, selected: value === post.discount })));
    const error = make("p", { class: "errors", role: "alert" });
    const whole = (input) => (input.value.trim() === "" ? null : /^\d+$/.test(input.value.trim()) ? Number(input.value.trim()) : NaN);
    showModal({
      title: "Listing Price", et: "price",
      body: make("div", {},
        make("label", {}, "Listing Price (whole dollars)", listing), make("label", {}, "Original Price", original),
        make("p", {}, make("label", { class: "switch", "data-test": "toggle-switch" }, toggle, make("span", { class: "knob" }), "Smart Sell: offer buyers lower prices by itself")),
        floorRow, make("label", {}, "Shipping discount ", discount), error),
      buttons: [["Done", { class: "btn btn--primary", "data-et-name": "price_done" }, () => {
        const [now, before] = [whole(listing), whole(original)];
        if (Number.isNaN(now) || Number.isNaN(before)) error.textContent = "Whole dollar amount required";
        else if (now === null || now < 3) error.textContent = "The minimum selling price is $3";
        else if (now > 1000000) error.textContent = "The maximum price is $1,000,000";
        else if (toggle.checked && !(whole(floor) >= 3)) error.textContent = "Please enter your Smart Sell minimum";
        else {
          priceSeen = true;
          Object.assign(post, { price: now, original: before, smartSell: toggle.checked, floor: toggle.checked ? whole(floor) : null, discount: discount.value });
          done();
          return true;
        }
        return false;
      }]],
    });
  }

  function availability() {
    const menu = dropdown(post.availability, ({ close, say }) => ["For Sale", "Not For Sale", "Drops"].map((words) =>
      row(words, () => { post.availability = words; say(words); close(); })));
    return section("AVAILABILITY", menu.box);
  }

  function privately() {
    const sku = make("input", { "data-vv-name": "sku", value: post.sku, maxlength: 50, "aria-label": "SKU" });
    sku.addEventListener("input", () => { post.sku = sku.value; });
    const box = make("div", { hidden: true }, make("label", {}, "SKU", sku));
    const opener = make("button", { type: "button", class: "btn", text: "show details", "data-et-name": "show_details" });
    onTrusted(opener, () => { box.hidden = !box.hidden; opener.textContent = box.hidden ? "show details" : "hide details"; });
    return section("ADDITIONAL DETAILS (PRIVATE)", make("p", { class: "practice-small", text: "Only you can see these." }), opener, box);
  }

  // ---- saving ----

  function content() {
    return {
      catalog: { department: post.department?.id, category: post.category?.id, category_features: post.feature ? [post.feature.id] : [] },
      colors: post.colors.map((name) => ({ name, rgb: site.colors[name] })),
      inventory: { size_quantity_revision: 0, status: "available", size_quantities: [{ size_id: post.size, size_system: "us", quantity_available: post.quantity, quantity_sold: 0 }] },
      price_amount: post.price === null ? null : { val: String(post.price), currency_code: "USD" },
      original_price_amount: post.original === null ? null : { val: String(post.original), currency_code: "USD" },
      title: post.title, description: post.description, condition: post.condition,
      cover_shot: { id: post.photos[0]?.id }, pictures: post.photos.map((photo) => ({ id: photo.id })), videos: [],
      seller_private_info: { sku: post.sku }, style_tags: post.tags.map((name) => ({ name })), brand: post.brand.trim() || null,
      seller_shipping_discount: { id: post.discount }, smart_sell: post.smartSell, smart_sell_minimum: post.floor,
    };
  }

  const live = site.post?.status === "published";

  async function save() {
    if (live && !(await call("POST", `/vm-rest/posts/${post.id}/draft?pm_version=2026.33.00`, {}))) return null;
    return (await ensureDraft()) && call("POST", `/vm-rest/posts/${post.id}?pm_version=2026.33.00`, { post: content() });
  }

  async function publish() {
    const answer = await call("PUT", `/vm-rest/posts/${post.id}/status/published?app_version=2.55&pm_version=2026.33.00`, {});
    if (!answer) return false;
    if (answer.status !== "published") {
      showModal({ title: "Saved as a draft", body: "Your listing is under review. We saved it as a draft.", et: "review" });
      return false;
    }
    location.assign(live ? `/listing/${post.id}` : `/feed?created_listing_id=${post.id}`);
    return false;
  }

  /** The second step, in place of the form. */
  function share() {
    const list = make("button", { type: "button", class: "btn btn--primary", "data-et-name": "list", text: "List This Item", disabled: drift.strength >= 4 });
    onTrusted(list, async () => { list.disabled = true; await publish(); list.disabled = false; });
    const back = make("button", { type: "button", class: "btn", text: "Back", "data-et-name": "back" });
    onTrusted(back, () => { screen.remove(); form.hidden = false; });
    const promise = make("input", { type: "checkbox" });
    promise.addEventListener("change", () => { list.disabled = !promise.checked; });
    const screen = make("section", { class: "card card--large", "data-test": "share-listing" }, make("h1", { text: "Share Listing" }),
      make("p", {}, `${post.title} · $${post.price}`),
      drift.strength >= 4 ? make("label", { class: "row" }, promise, "The item is as I described it") : null,
      make("div", { class: "editor-footer" }, back, list));
    form.hidden = true;
    main.append(screen);
  }

  // ---- the page ----

  const form = make("div");

  async function drafts() {
    const answer = await fetch(`/vm-rest/users/${site.uid}/drafts`).then((response) => response.json()).catch(() => ({ data: [] }));
    const list = make("div", { class: "drafts__list-container", hidden: true }, ...(answer.data ?? []).map((draft) =>
      make("a", { class: "tile", href: `/edit-listing/${draft.id}`, "data-id": draft.id }, draft.pictures[0] ? make("img", { src: draft.pictures[0].url, alt: "" }) : null,
        make("span", { class: "tile__title", text: draft.title || "Untitled" }), draft.price ? make("b", { text: ` $${draft.price.toLocaleString("en-US")}` }) : null)));
    const opener = make("button", { type: "button", class: "btn", "data-et-name": "drafts", text: `Drafts ${(answer.data ?? []).length}` });
    onTrusted(opener, () => { list.hidden = !list.hidden; });
    return make("div", { "data-test": "drafts" }, opener, list);
  }

  function footer() {
    const cancel = make("button", { type: "button", class: "btn", text: "Cancel", "data-et-name": "cancel" });
    onTrusted(cancel, () => showModal({
      title: "Discard changes?", body: "You can keep what you wrote as a draft.", et: "cancel",
      buttons: [
        ["Discard", { "data-et-name": "discard" }, () => location.assign(`/closet/${site.handle}`)],
        ["Save Draft", { class: "btn btn--primary", "data-et-name": "save_draft", disabled: !post.photos.length }, async () => { if (await save()) location.assign(`/closet/${site.handle}`); return false; }],
      ],
    }));
    const box = make("div", { class: "editor-footer" }, cancel);
    const complete = () => Boolean(post.photos.length && !uploading && post.title.trim() && post.description.trim() && post.category && post.size && post.condition && post.price);
    if (site.mode === "edit") {
      const remove = make("button", { type: "button", class: "btn", text: "Delete Listing", "data-et-name": "delete" });
      onTrusted(remove, () => showModal({
        title: "Confirm Delete Listing", body: "Are you sure you want to delete this listing?", et: "delete",
        buttons: [
          ["No", {}, null],
          ["Yes", { class: "btn btn--primary" }, async () => { if (await call("DELETE", `/vm-rest/posts/${post.id}?pm_version=2026.26.01`)) location.assign(`/closet/${site.handle}`); }],
        ],
      }));
      const update = make("button", { type: "button", class: "btn btn--primary", text: "Update", "data-et-name": "update" });
      refresh = () => { update.disabled = !complete(); };
      onTrusted(update, async () => {
        update.disabled = true;
        if (live && window.PRACTICE.layout === "b") {
          if (await call("POST", `/vm-rest/posts/${post.id}?pm_version=2026.33.00`, { post: content() })) location.assign(`/listing/${post.id}`);
        } else if (await save()) share();
        refresh();
      });
      box.append(remove, update);
    } else {
      const next = make("button", { type: "button", class: "btn btn--primary", text: "Next", "data-et-name": "next", "data-test": "next", disabled: true });
      refresh = () => { next.disabled = !complete(); };
      onTrusted(next, async () => {
        next.disabled = true;
        if (await save()) share();
        refresh();
      });
      box.append(next);
    }
    return box;
  }

  async function mount() {
    const there = site.post;
    if (there) {
      Object.assign(post, {
        title: there.title, description: there.description, quantity: there.quantity, condition: there.condition, brand: there.brand ?? "",
        smartSell: there.smart_sell, floor: there.smart_sell_minimum, discount: there.seller_shipping_discount,
        colors: there.colors, tags: there.style_tags, price: there.price, original: there.original_price, sku: there.seller_private_info.sku,
        photos: there.pictures.map((picture) => ({ id: picture.id, url: picture.url })),
      });
    }
    const listed = site.mode === "create" ? drafts() : Promise.resolve(null);
    await pause(60);
    const words = [section("TITLE", text("title", { "data-vv-name": "title", placeholder: "What are you selling? (required)", maxlength: 80 })), section("DESCRIPTION", text("description", { "data-vv-name": "description", placeholder: "Describe it! (required)", maxlength: 1500 }, "textarea"))];
    const card = make("div", { class: "card card--large" });
    const last = footer();
    if (wizard) {
      const first = make("div", {}, ...words, brand(), tags());
      const second = make("div", { hidden: true }, photos(), category(), quantity(), section("SIZE", sizeBox), condition(), color(), price(), availability(), privately());
      const on = make("button", { type: "button", class: "btn btn--primary", text: "Continue", "data-et-name": "continue" });
      onTrusted(on, () => { first.hidden = true; on.remove(); second.hidden = false; last.hidden = false; });
      last.hidden = true;
      card.append(first, on, second);
    } else {
      card.append(photos(), ...words, category(), quantity(), section("SIZE", sizeBox), condition(), brand(), color(), tags(), price(), availability(), privately());
      Practice.arrange(card);
    }
    drawSizeOnce();
    drawPhotos();
    form.append(...[await listed, make("h1", { text: site.mode === "edit" ? "Edit Listing" : "Create Listing" }), card, last].filter(Boolean));
    main.replaceChildren(form);
    refresh();
  }

  function drawSizeOnce() {
    if (!sizeBox.children.length) drawSize();
  }

  mount();
})();

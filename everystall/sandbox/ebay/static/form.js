/* The practice eBay's listing form: mounted here, saved as a draft all the time, listed by one click. */
"use strict";

(() => {
  const { make, onTrusted } = Practice;
  const data = JSON.parse(document.getElementById("lstng-data").textContent);
  const root = document.getElementById("lstng-root");
  const variant = window.PRACTICE.layout === "b";
  const drift = window.PRACTICE.drift;
  const seed = Math.random().toString(36).slice(2, 8);
  let counter = 0;
  const some = () => `s0-1-${seed}-${++counter}`;
  const values = data.values;
  const photos = [...values.photos];
  const specifics = { ...values.specifics };
  const inputs = {};
  /** The fields' names on the page, written so that drift finds them. */
  const named = {
    title: { name: "title" }, customLabel: { name: "customLabel" }, condition: { name: "condition" },
    price: { name: "price" }, quantity: { name: "quantity" }, bestOfferEnabled: { name: "bestOfferEnabled" },
    promotedListing: { name: "promotedListing" }, majorWeight: { name: "majorWeight" },
    minorWeight: { name: "minorWeight" }, packageLength: { name: "packageLength" },
    packageWidth: { name: "packageWidth" }, packageDepth: { name: "packageDepth" },
    itemLocationZip: { name: "itemLocationZip" },
  };
  let uploading = 0;
  let frame = null;
  let timer = 0;
  let saving = Promise.resolve();
  let over = false;

  async function call(method, path, body) {
    const headers = { srt: data.srt };
    if (!(body instanceof FormData)) {
      headers["content-type"] = "application/json";
      body = JSON.stringify(body);
    }
    try {
      const response = await fetch(path, { method, headers, body });
      if (response.status === 401) location.assign("/signin/");
      const answer = await response.json();
      return answer.error ? { errors: [{ message: "Sorry, something went wrong. Please try again." }] } : answer;
    } catch {
      return { errors: [{ message: "Sorry, something went wrong. Please try again." }] };
    }
  }

  // ---- what the form holds ----

  /** The lines of an editable element: each block is one, a <br> at its end is none. */
  function linesOf(editor) {
    let text = "";
    let atStart = true;
    const walk = (node) => {
      for (const child of node.childNodes) {
        if (child.nodeType === Node.TEXT_NODE) {
          if (!atStart && child.previousSibling && isBlock(child.previousSibling)) text += "\n";
          text += child.data;
          atStart = false;
        } else if (child.nodeName === "BR") {
          if (child !== node.lastChild) text += "\n";
          atStart = false;
        } else {
          if (isBlock(child) && !atStart) text += "\n";
          walk(child);
          atStart = false;
        }
      }
    };
    const isBlock = (node) => /^(DIV|P|LI|UL|OL|H\d|BLOCKQUOTE|PRE)$/.test(node.nodeName);
    walk(editor);
    return text.replace(/\u00a0/g, " ").trim();
  }

  const description = () => (frame?.contentDocument?.body?.isContentEditable ? linesOf(frame.contentDocument.body) : values.description);

  function state() {
    const held = { photos: photos.map((photo) => photo.id), specifics, description: description() };
    for (const [name, input] of Object.entries(inputs)) held[name] = input.type === "checkbox" ? input.checked : input.value;
    return held;
  }

  function changed() {
    clearTimeout(timer);
    if (data.mode === "AddItem" && !over) timer = setTimeout(save, 500);
  }

  function save() {
    clearTimeout(timer);
    saving = saving.then(() => call("PUT", `/lstng/api/listing_draft/${data.draftId}`, state()));
    return saving;
  }

  // ---- parts ----

  function section(heading, ...children) {
    const box = make("section", { class: "card lstng-section" }, make("h2", { text: heading }), ...children);
    return box;
  }

  function field(name, label, attributes = {}, note = null) {
    const input = make("input", { name, id: some(), autocomplete: "off", class: "textbox__control", ...attributes, ...named[name] });
    input.value = values[name] ?? "";
    inputs[name] = input;
    input.addEventListener("input", changed);
    const count = attributes.maxlength > 10 ? make("span", { class: "count" }) : null;
    const tell = () => { if (count) count.textContent = `${input.value.length}/${attributes.maxlength}`; };
    input.addEventListener("input", tell);
    tell();
    return make("div", { class: "field" }, make("label", { for: input.id, text: label }), input, note ? make("p", { class: "small", text: note }) : null, count);
  }

  function toggle(name, label, note) {
    const input = make("input", { name, id: some(), type: "checkbox", role: "switch", class: "switch__control", ...named[name] });
    input.checked = Boolean(values[name]);
    inputs[name] = input;
    input.addEventListener("change", changed);
    return make("div", { class: "switch" }, input, make("div", {}, make("label", { for: input.id, text: label }), make("p", { class: "small", text: note })));
  }

  function choice(name, label, options) {
    const select = make("select", { name, id: some(), class: "listbox__control", ...named[name] }, ...options.map(([value, text]) => make("option", { value, text })));
    select.value = values[name] ?? options[0][0];
    inputs[name] = select;
    select.addEventListener("change", changed);
    return make("div", { class: "field" }, make("label", { for: select.id, text: label }), select);
  }

  // ---- photos ----

  function photoSection() {
    const strip = make("div", { class: "uploader-thumbnails" });
    const count = make("p", { class: "small uploader-count" });
    const note = make("p", { class: "notice notice--bad uploader-note", hidden: true });
    const input = make("input", { type: "file", multiple: true, accept: "image/jpeg,image/png,image/webp,image/heic", class: "hidden", id: some() });
    const tell = () => { count.textContent = `${photos.length}/24 photos`; };

    function thumbnail(photo) {
      const remove = make("button", { class: "thumb-delete", type: "button", "aria-label": "Delete photo", text: "×" });
      const box = make("div", { class: "uploader-thumbnail", "data-photo": photo.id }, make("img", { src: photo.url, alt: "" }), remove);
      onTrusted(remove, () => {
        photos.splice(photos.indexOf(photo), 1);
        box.remove();
        tell();
        changed();
      });
      return box;
    }

    /** One after another, in order. */
    async function upload(files) {
      for (const file of files) {
        const busy = make("div", { class: "uploader-thumbnail uploader-busy", "aria-busy": "true" });
        strip.append(busy);
        const form = new FormData();
        form.append("file", file);
        const answer = await call("POST", "/lstng/api/media", form);
        uploading -= 1;
        if (answer.id) {
          photos.push(answer);
          busy.replaceWith(thumbnail(answer));
        } else {
          busy.remove();
          note.textContent = answer.errors[0].message;
          note.hidden = false;
        }
        tell();
        changed();
      }
    }

    let queue = Promise.resolve();
    input.addEventListener("change", () => {
      const room = 24 - photos.length - uploading;
      const files = [...input.files].slice(0, room);
      note.hidden = files.length === input.files.length;
      note.textContent = "You can add up to 24 photos.";
      uploading += files.length;
      input.value = "";
      queue = queue.then(() => upload(files));
    });
    strip.append(...photos.map(thumbnail));
    tell();
    return section("Photos & Video", make("p", { class: "small", text: "Add up to 24 photos. The first is shown in search." }), strip,
      make("label", { class: "btn uploader-add", for: input.id, text: "Upload from computer" }), input, count, note);
  }

  // ---- item specifics ----

  function specific(aspect) {
    const input = make("input", {
      name: aspect.input, id: some(), class: "specific__input", placeholder: aspect.own ? "Search or enter your own" : "Search", autocomplete: "off",
      role: "combobox", "aria-haspopup": "menu", "aria-expanded": "false", "aria-required": aspect.required ? "true" : null,
    });
    const menu = make("div", { role: "menu", class: "specific__menu", hidden: true, "aria-label": aspect.name });
    const box = make("div", { class: "specific" },
      make("label", { for: input.id, text: aspect.name }), make("div", { class: "specific__box" }, input, menu));
    input.value = specifics[aspect.name] ?? "";

    function close() {
      menu.hidden = true;
      input.setAttribute("aria-expanded", "false");
      input.value = specifics[aspect.name] ?? "";
    }

    function pick(value) {
      if (value) specifics[aspect.name] = value;
      else delete specifics[aspect.name];
      close();
      changed();
    }

    function row(value, text = value) {
      const item = make("div", { role: "menuitemradio", class: "specific__option", tabindex: "-1", "aria-checked": String(specifics[aspect.name] === value), text });
      item.addEventListener("pointerdown", (event) => event.preventDefault());
      onTrusted(item, () => pick(value));
      return item;
    }

    function open(filter) {
      const wanted = filter.trim().toLowerCase();
      const found = aspect.options.filter((option) => option.toLowerCase().includes(wanted));
      const exact = aspect.options.some((option) => option.toLowerCase() === wanted);
      menu.replaceChildren(...found.map((option) => row(option)));
      if (wanted && !exact && aspect.own) menu.append(row(filter.trim(), `Add “${filter.trim()}”`));
      menu.hidden = false;
      input.setAttribute("aria-expanded", "true");
    }

    input.addEventListener("focus", () => open(""));
    input.addEventListener("click", () => { if (menu.hidden) open(""); });
    input.addEventListener("input", () => open(input.value));
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      if (event.key !== "Enter") return;
      event.preventDefault();
      const typed = input.value.trim();
      const listed = aspect.options.find((option) => option.toLowerCase() === typed.toLowerCase());
      if (listed || aspect.own || !typed) pick(listed ?? typed);
    });
    return box;
  }

  /** For a name that the category has not. */
  function customSpecific() {
    const name = make("input", { name: "customSpecificName", id: some(), maxlength: 40, autocomplete: "off" });
    const value = make("input", { name: "customSpecificValue", id: some(), maxlength: 65, autocomplete: "off" });
    const add = make("button", { class: "btn custom-add", type: "button", text: "Add" });
    const kept = make("ul", { class: "custom-kept" });
    const known = new Set(data.aspects.map((aspect) => aspect.name));
    const show = () => kept.replaceChildren(...Object.entries(specifics).filter(([key]) => !known.has(key))
      .map(([key, text]) => make("li", { "data-specific": key, text: `${key}: ${text}` })));
    onTrusted(add, () => {
      if (!name.value.trim() || !value.value.trim()) return;
      specifics[name.value.trim()] = value.value.trim();
      name.value = value.value = "";
      show();
      changed();
    });
    show();
    return make("div", {}, make("h3", { text: "Add custom item specific" }), kept, make("div", { class: "custom" },
      make("div", {}, make("label", { for: name.id, text: "Name" }), name), make("div", {}, make("label", { for: value.id, text: "Value" }), value), add));
  }

  function specificsSection() {
    const required = make("div", { class: "specifics" }, ...data.aspects.filter((aspect) => aspect.required).map(specific));
    const more = make("div", { class: "specifics" }, ...data.aspects.filter((aspect) => !aspect.required).map(specific));
    const parts = [];
    if (required.children.length) parts.push(make("h3", { text: "Required" }), make("p", { class: "small", text: "Buyers need these details to find your item." }), required);
    parts.push(make("h3", { text: "Additional (optional)" }), more, customSpecific());
    if (drift.strength < 4) return section("Item specifics", ...parts);
    const folded = make("div", { hidden: true }, ...parts);
    const show = make("button", { class: "btn specifics-show", type: "button", text: "Show item specifics" });
    onTrusted(show, () => { folded.hidden = false; show.remove(); });
    return section("Item specifics", show, folded);
  }

  // ---- description ----

  function descriptionSection() {
    frame = make("iframe", { id: "se-rte-frame__summary", title: "Description", class: "rte" });
    frame.srcdoc = "<!doctype html><html><head><style>body{font:16px/1.5 system-ui,sans-serif;margin:0;padding:12px;min-height:160px;white-space:pre-wrap;outline:none;overflow-wrap:anywhere}</style></head>"
      + "<body contenteditable=\"true\" role=\"textbox\" aria-multiline=\"true\" aria-label=\"Description\" spellcheck=\"false\"></body></html>";
    frame.addEventListener("load", () => {
      frame.contentDocument.body.textContent = values.description;
      frame.contentDocument.body.addEventListener("input", changed);
    });
    return section("Description", make("p", { class: "small", text: "Write a detailed description of your item, or save time and let AI draft it for you." }), frame);
  }

  // ---- the whole ----

  function mount() {
    const pictures = photoSection();
    const title = section("Title", field("title", "Item title", { maxlength: 80 }),
      field("customLabel", "Custom label (SKU)", { maxlength: 50 }, "Only you can see this."));
    const category = section("Item category", make("p", { class: "category-path", text: data.category }));
    const condition = section("Condition", choice("condition", "Item condition", data.conditions.map((label) => [label, label])));
    const pricing = section(variant ? "Price" : "Pricing", make("p", { class: "small", text: "Format: Buy It Now" }),
      make("div", { class: "line" }, field("price", variant ? "Price" : "Item price", { inputmode: "decimal", placeholder: "$" }), field("quantity", "Quantity", { inputmode: "numeric" })),
      toggle("bestOfferEnabled", "Allow offers", "Buyers interested in your item can make you offers."));
    const policy = (name, label) => choice(name, label, data.policies[name]);
    const delivery = section("Shipping",
      policy("shippingPolicyId", "Shipping policy"), make("h3", { text: "Package weight" }),
      make("div", { class: "line" }, field("majorWeight", "lb", { inputmode: "numeric" }), field("minorWeight", "oz", { inputmode: "numeric" })),
      make("h3", { text: "Package dimensions" }),
      make("div", { class: "line" }, field("packageLength", "Length (in.)", { inputmode: "decimal" }), field("packageWidth", "Width (in.)", { inputmode: "decimal" }), field("packageDepth", "Depth (in.)", { inputmode: "decimal" })),
      field("itemLocationZip", "Item location: ZIP code", { inputmode: "numeric", maxlength: 5 }));
    const preferences = section("Preferences", policy("paymentPolicyId", "Payment policy"), policy("returnPolicyId", "Return policy"));
    const promote = section("Promote your listing", toggle("promotedListing", "Promoted Listings: general", "Get more views. You pay 6% of the price if the item sells through the ad."));

    const alert = make("div", { role: "alert", class: "notice notice--bad lstng-errors", hidden: true });
    const revise = data.mode === "ReviseItem";
    const words = revise ? "Revise it" : variant ? "List item" : "List it";
    const list = make("button", { class: "btn btn--primary lstng-list", type: "button", "aria-label": words, text: words });
    const later = revise ? null : make("button", { class: "btn lstng-later", type: "button", text: variant ? "Save draft" : "Save for later" });

    function say(errors) {
      alert.replaceChildren(make("p", { text: "Please fix the following:" }), make("ul", {}, ...errors.map((error) => make("li", { "data-field": error.field, text: error.message }))));
      alert.hidden = false;
      alert.scrollIntoView({ block: "center" });
      list.disabled = false;
      over = false;
    }

    onTrusted(list, async () => {
      alert.hidden = true;
      if (uploading) return say([{ field: "photos", message: "Photos are still uploading. Please wait a moment." }]);
      list.disabled = true;
      over = true;
      clearTimeout(timer);
      await saving;
      const path = revise ? `/lstng/api/listing/${data.itemId}` : `/lstng/api/listing_draft/${data.draftId}/publish`;
      const answer = await call("POST", path, state());
      if (answer.next) location.assign(answer.next);
      else say(answer.errors ?? []);
    });
    if (later) onTrusted(later, async () => {
      later.disabled = true;
      await save();
      location.assign("/sh/lst/drafts?saved=1");
    });

    const order = variant ? [title, pricing, pictures, category, specificsSection(), condition, descriptionSection(), delivery, preferences, promote]
      : [pictures, title, category, specificsSection(), condition, descriptionSection(), pricing, delivery, preferences, promote];
    const form = make("div", { class: "lstng-form" }, ...order);
    Practice.arrange(form);
    root.replaceChildren(form, alert, make("div", { class: "lstng-actions" }, list, later));
    root.removeAttribute("aria-busy");
  }

  setTimeout(mount, data.delay);
})();

// The sell form of the practice Mercari. It mounts some time after the page has loaded, as the real one
// does; photos go up one request each; "List" works only when everything is valid; one POST publishes.
"use strict";

const data = JSON.parse(document.getElementById("__NEXT_DATA__").textContent);
/** An element. Names and texts are written plainly, so that drift finds them. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  for (const child of children.flat()) {
    if (child == null || child === false) continue;
    element.append(child.nodeType ? child : String(child));
  }
  return element;
}

async function api(operation, variables) {
  return fetch("/v1/api", {
    method: "POST",
    headers: { ...headers(), "content-type": "application/json" },
    body: JSON.stringify({
      operationName: operation,
      variables,
      extensions: { persistedQuery: { version: 1, sha256Hash: data.operations[operation] ?? "" } },
    }),
  });
}

let token = { accessToken: "", csrf: "" };
const headers = () => ({
  authorization: `Bearer ${token.accessToken}`,
  "x-csrf-token": token.csrf,
  "apollo-require-preflight": "true",
  "x-platform": "web",
  "x-double-web": "1",
});

// ---- what the seller has answered so far ------------------------------------------------------------

const start = data.item?.fields ?? {};
const state = {
  photos: (data.item?.photos ?? []).map((url, i) => ({ id: data.item.photoIds[i], url })),
  uploading: 0,
  path: start.category ?? null,
  brand: start.brand ?? null,
  noBrand: start.noBrand ?? false,
  size: start.size ?? null,
  condition: start.conditionId ?? null,
  zip: start.ships_from_zip ?? data.zip ?? null,
  delivery: "MERCARI",
  payer: start.payer ?? null,
  label: start.carrier ? { carrier: start.carrier, service: start.service, weight_oz: start.weight_oz } : null,
  package: Object.fromEntries(["fits_in_shoebox", "length_in", "width_in", "height_in"]
    .filter((name) => start[name] !== undefined).map((name) => [name, start[name]])),
  smart: start.smart_pricing ?? true,
  touched: false,
};
let form;

const money = (text) => {
  const found = /^\$?\s*(\d{1,6})(?:\.(\d{1,2}))?$/.exec(text.trim().replaceAll(",", ""));
  return found ? Number(found[1]) * 100 + Number((found[2] ?? "").padEnd(2, "0") || 0) : null;
};
const dollars = (cents) => (cents / 100).toFixed(2);
const sizes = () => (state.path ? data.sizes[data.groups[state.path.join(" > ")]] : null);

function problems() {
  const wrong = {};
  const title = form.title.value.trim();
  const description = form.description.value.trim();
  const price = money(form.price.value);
  if (!state.photos.length || state.uploading) wrong.photos = "Please add at least one photo";
  if (!title) wrong.title = "Title can not be empty";
  if (title.length > 80) wrong.title = "Title can not be longer than 80 characters";
  if (description.split(/\s+/).filter(Boolean).length < 5) wrong.description = "Description must have at least 5 words";
  if (description.length > 1000) wrong.description = "Description can not be longer than 1,000 characters";
  if (!state.path) wrong.category = "Please select a category";
  if (!state.brand && !state.noBrand) wrong.brand = "Please select a brand";
  if (sizes() && !state.size) wrong.size = "Size can not be empty";
  if (!state.condition) wrong.condition = "Please select a condition";
  if (!state.zip) wrong.zip = "Please add where you ship from";
  if (!state.label) wrong.label = "Please select a shipping carrier";
  if (!state.payer) wrong.payer = "Please choose who pays for shipping";
  if (price === null) wrong.price = "Price can not be empty";
  else if (price < 100 || price > 200000) wrong.price = "Price must be between $1 and $2,000";
  if (state.smart) {
    const floor = money(form.floor.value);
    if (floor === null || floor < 100) wrong.floor = "The floor price needs to be more than $1.";
    else if (price !== null && floor >= price) wrong.floor = "The floor price needs to be less than the price.";
  }
  return wrong;
}

function refresh() {
  const wrong = problems();
  form.list.disabled = Object.keys(wrong).length > 0;
  form.titleCount.textContent = `${form.title.value.length}/80`;
  form.descriptionCount.textContent = `${form.description.value.length}/1000`;
  for (const [field, place] of Object.entries(form.errors)) {
    place.textContent = state.touched || field === "floor" ? wrong[field] ?? "" : "";
  }
  const ready = Boolean(form.title.value.trim() && state.path);
  form.shipping.disabled = !ready;
  form.shippingHint.hidden = ready;
}

// ---- pieces -----------------------------------------------------------------------------------------

function section(label, error, ...content) {
  const place = h("p", { class: "error", role: "alert" });
  if (error) form.errors[error] = place;
  return h("section", { class: "field" }, label && h("h2", {}, label), ...content, place);
}

function dialog(title, ...content) {
  const shade = h("div", { class: "shade" },
    h("div", { "data-testid": "DialogWrapper", class: "dialog", role: "dialog", "aria-modal": "true", "aria-label": title },
      h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => shade.remove() }, "✕"),
      h("h2", { "data-testid": "DialogTitle" }, title), ...content));
  document.body.append(shade);
  return shade;
}

function photoSection() {
  const input = h("input", {
    type: "file", multiple: true, accept: "image/jpeg,image/png,image/webp", "data-testid": "SellPhotoInput",
    class: "hidden", "aria-label": "Upload photos",
  });
  const tiles = h("div", { class: "tiles", "data-testid": "PhotoTiles" });
  const box = h("label", { "data-testid": "PhotoUploadBox", class: "upload" }, "Add photos", input);
  const draw = () => {
    tiles.replaceChildren(...state.photos.map((photo, i) =>
      h("div", { class: "tile", "data-testid": "UploadedPhoto", "data-photo-id": photo.id ?? "" },
        photo.id ? h("img", { src: photo.url, alt: `Photo ${i + 1}` }) : h("span", { class: "spinner" }),
        h("button", { type: "button", class: "close", "data-testid": "RemovePhotoButton", "aria-label": `Remove photo ${i + 1}`, onclick: () => {
          state.photos = state.photos.filter((one) => one !== photo);
          draw();
        } }, "✕"),
        i === 0 && h("span", { class: "cover" }, "Cover"))));
    refresh();
  };
  input.addEventListener("change", async () => {
    const files = [...input.files].slice(0, 12 - state.photos.length);
    if (input.files.length > files.length) toast("You can add up to 12 photos");
    const places = files.map(() => ({ id: null, url: null }));
    state.photos.push(...places);
    state.uploading += files.length;
    draw();
    input.value = "";
    await Promise.all(files.map(async (file, i) => {
      const body = new FormData();
      body.append("operations", JSON.stringify({
        operationName: "uploadTempListingPhotos",
        extensions: { persistedQuery: { version: 1, sha256Hash: data.operations.uploadTempListingPhotos } },
      }));
      body.append("0", file, file.name);
      try {
        const answer = await fetch("/v1/api?dt=1", { method: "POST", headers: headers(), body });
        const photo = (await answer.json()).data.uploadTempListingPhotos;
        places[i].id = photo.uploadIds[0];
        places[i].url = photo.url;
      } catch {
        state.photos = state.photos.filter((photo) => photo !== places[i]);
        toast("Some photos could not be uploaded. Please try again.");
      }
      state.uploading -= 1;
      draw();
    }));
  });
  setTimeout(draw);
  return section("Photos", "photos", h("p", { class: "hint" }, "Up to 12 photos"), h("div", { class: "photos" }, tiles, box));
}

function categoryDialog() {
  const list = h("div", { class: "rows" });
  const crumb = h("p", { "data-testid": "CategoryBreadcrumb", class: "crumb" });
  const pick = (path) => {
    state.path = path;
    state.size = null;
    shade.remove();
    form.category.replaceChildren(path.join(" > "));
    drawSize();
    refresh();
  };
  const row = (label, go, more) =>
    h("button", { type: "button", class: "row", onclick: go }, label, more && h("span", { class: "chevron", "aria-hidden": "true" }, "›"));
  const level = (path) => {
    crumb.textContent = path.length ? path.join(" > ") : "All Categories";
    const here = path.reduce((tree, step) => tree[step], data.tree);
    const rows = Array.isArray(here)
      ? here.map((leaf) => row(leaf, () => pick([...path, leaf])))
      : Object.keys(here).map((step) => row(step, () => level([...path, step]), true));
    list.replaceChildren(...(path.length ? [row("All Categories", () => level([]))] : []), ...rows);
  };
  const search = h("input", { placeholder: "Search category", type: "search", oninput: () => {
    const wanted = search.value.toLowerCase().trim();
    if (!wanted) return level([]);
    crumb.textContent = "Suggested";
    const found = Object.keys(data.groups).filter((path) => path.toLowerCase().includes(wanted)).slice(0, 30);
    list.replaceChildren(...found.map((path) => row(path, () => pick(path.split(" > ")))));
  } });
  const shade = dialog("Select a category", search, crumb, list);
  level([]);
}

function brandSection() {
  const options = h("div", { class: "options", role: "listbox", hidden: true });
  const input = h("input", {
    id: "sellBrandId", "data-testid": "Brand", autocomplete: "off", placeholder: "Search brand", "aria-label": "Brand",
    role: "combobox", value: state.brand ?? "",
  });
  const chosen = h("p", { "data-testid": "NoBrandChosen", class: "hint", hidden: !state.noBrand }, "No brand / Not sure");
  let timer;
  input.addEventListener("input", () => {
    state.brand = null;
    state.noBrand = false;
    chosen.hidden = true;
    clearTimeout(timer);
    timer = setTimeout(() => {
      const wanted = input.value.toLowerCase().trim();
      const found = wanted ? data.brands.filter((brand) => brand.toLowerCase().includes(wanted)).slice(0, 12) : [];
      options.replaceChildren(...found.map((brand) =>
        h("div", { role: "option", class: "option", onclick: () => {
          state.brand = brand;
          input.value = brand;
          options.hidden = true;
          refresh();
        } }, brand)));
      if (wanted && !found.length) options.append(h("div", { class: "none", "data-testid": "BrandNoResults" }, "No matching brands"));
      options.hidden = !wanted;
    }, 60);
    refresh();
  });
  const none = h("button", { type: "button", "data-testid": "NoBrandLink", class: "link", onclick: () => {
    state.brand = null;
    state.noBrand = true;
    input.value = "";
    options.hidden = true;
    chosen.hidden = false;
    refresh();
  } }, "No brand / Not sure");
  const chips = h("div", { class: "chips" }, ["Nike", "LEGO", "Lululemon"].map((brand) =>
    h("label", { class: "chip" }, h("input", { type: "checkbox", "data-testid": `SuggestedBrand-${brand}`, onchange: (event) => {
      state.brand = event.target.checked ? brand : null;
      state.noBrand = false;
      chosen.hidden = true;
      input.value = state.brand ?? "";
      refresh();
    } }), brand)));
  form.brandInput = input;
  return section("Brand", "brand", input, options, chips, none, chosen);
}

function drawSize() {
  const known = sizes();
  form.sizeField.hidden = !known;
  if (!known) return;
  const list = h("ul", { role: "listbox", class: "options", hidden: true });
  const box = h("div", { id: "itemSizeId", "data-testid": "Size", class: "select", tabindex: "0", role: "button", "aria-haspopup": "listbox",
    onclick: () => { list.hidden = !list.hidden; } }, state.size ?? "Select size");
  list.append(...known.map((size) => h("li", { role: "option", "data-testid": "Size-option", class: "option", onclick: () => {
    state.size = size;
    box.textContent = size;
    list.hidden = true;
    refresh();
  } }, size)));
  form.sizePlace.replaceChildren(box, list);
}

const CONDITIONS = [
  ["1", "New", "New with tags (NWT). Unopened packaging. Unused.", "ConditionNew"],
  ["2", "Like new", "New without tags (NWOT). No signs of wear. Unused.", "ConditionLikeNew"],
  ["3", "Good", "Gently used. One / few minor flaws. Functional.", "ConditionGood"],
  ["4", "Fair", "Used, functional, multiple flaws / defects.", "ConditionFair"],
  ["5", "Poor", "Major flaws. May be damaged. For parts.", "ConditionPoor"],
];

function conditionSection() {
  return section("Condition", "condition", h("div", { class: "radios" }, CONDITIONS.map(([id, label, hint, test]) =>
    h("label", { "data-testid": test, class: "radio", for: id },
      h("input", { type: "radio", name: "sellCondition", id, value: id, checked: state.condition === id,
        onchange: () => { state.condition = id; refresh(); } }),
      h("strong", {}, label), h("small", {}, hint)))));
}

function shipsFrom() {
  const place = h("div", { class: "line" });
  const draw = () => place.replaceChildren(
    state.zip ? h("span", { "data-testid": "ShipsFromZip" }, state.zip) : h("span", { class: "hint" }, "Add the ZIP code you ship from"),
    h("button", { type: "button", class: "link", "data-testid": state.zip ? "ShipsFromEditButton" : "ShipsFromAddButton", onclick: open },
      state.zip ? "Edit" : "Add"));
  const open = () => {
    const input = h("input", { "data-testid": "ZipCodeInput", name: "zipCode", placeholder: "ZIP code", inputmode: "numeric", value: state.zip ?? "" });
    const error = h("p", { class: "error" });
    const shade = dialog("Ships from", input, error, h("button", { type: "button", class: "primary", "data-testid": "ShipsFromSaveButton",
      onclick: () => {
        if (!/^\d{5}$/.test(input.value)) { error.textContent = "Please enter a valid ZIP code"; return; }
        state.zip = input.value;
        shade.remove();
        draw();
        refresh();
      } }, "Save"));
  };
  draw();
  return section("Ships from", "zip", place);
}

function shippingSection() {
  const place = h("span", { "data-testid": "ShippingSummary" }, state.label ? summary() : "Select a shipping label");
  form.shippingPlace = place;
  form.shipping = h("button", { type: "button", class: "select", "data-testid": "SelectShipping", onclick: () => tip() }, place);
  form.shippingHint = h("p", { class: "hint" }, "Add title and category to enable shipping");
  const own = h("p", { class: "hint", hidden: true }, "You buy the label and ship it yourself.");
  const delivery = h("div", { class: "radios" },
    h("label", { class: "radio", for: "MERCARI", "data-testid": "MercariShipping" },
      h("input", { type: "radio", name: "deliveryOptions", id: "MERCARI", value: "prepaid", checked: true }), h("strong", {}, "Prepaid label")),
    h("label", { class: "radio", for: "OWN" },
      h("input", { type: "radio", name: "deliveryOptions", id: "OWN", value: "own", onchange: () => { own.hidden = false; } }),
      h("strong", {}, "Ship on your own")));
  return section("Delivery", "label", delivery, own, form.shipping, form.shippingHint);
}

const summary = () => `${state.label.carrier} ${state.label.service} · ${weigh(state.label.weight_oz)}`;
const weigh = (oz) => `${Math.floor(oz / 16)} lb ${oz % 16} oz`;

function tip() {
  if (localStorage.getItem("shippingTipSeen")) { weightDialog(); return; }
  const shade = dialog("Weigh your package", h("p", {}, "Pack the item first, then weigh it. A label that is too light may be charged again."),
    h("button", { type: "button", class: "primary", "data-testid": "ShippingTipButton", onclick: () => {
      localStorage.setItem("shippingTipSeen", "1");
      shade.remove();
      weightDialog();
    } }, "Got it"));
}

function weightDialog() {
  const pounds = h("input", { "data-testid": "ItemWeightInPounds", name: "weightPounds", inputmode: "numeric", placeholder: "lb", "aria-label": "Pounds" });
  const ounces = h("input", { "data-testid": "ItemWeightInOunces", name: "weightOunces", inputmode: "numeric", placeholder: "oz", "aria-label": "Ounces" });
  const sides = ["Length", "Width", "Height"].map((side) =>
    h("input", { "data-testid": `Input${side}`, name: `input${side}`, inputmode: "decimal", placeholder: `${side} (in)`, "aria-label": side }));
  const dimensions = h("div", { class: "line", hidden: true }, sides);
  let fits = null;
  const choose = (value) => { fits = value; dimensions.hidden = value; check(); };
  const yes = h("input", { type: "radio", name: "fits", "data-testid": "FitsInShoeboxYes", id: "fitsYes", onchange: () => choose(true) });
  const no = h("input", { type: "radio", name: "fits", "data-testid": "FitsInShoeboxNo", id: "fitsNo", onchange: () => choose(false) });
  const weight = () => Number(pounds.value || 0) * 16 + Number(ounces.value || 0);
  const next = h("button", { type: "button", class: "primary", "data-testid": "SelectCarrierButton", disabled: true, onclick: () => {
    state.package = { fits_in_shoebox: fits };
    if (!fits) ["length_in", "width_in", "height_in"].forEach((side, i) => { state.package[side] = Number(sides[i].value); });
    shade.remove();
    carrierDialog(weight());
  } }, "Next");
  const check = () => {
    const whole = [pounds, ounces].every((input) => /^\d*$/.test(input.value));
    const sized = fits || (fits === false && sides.every((side) => Number(side.value) > 0));
    next.disabled = !(whole && weight() > 0 && weight() <= 2400 && Number(ounces.value) < 16 && sized);
  };
  [pounds, ounces, ...sides].forEach((input) => input.addEventListener("input", check));
  const shade = dialog("How heavy will the package be", h("div", { class: "line" }, pounds, ounces),
    h("h3", {}, "Does it fit in a shoebox?"),
    h("div", { class: "line" }, h("label", { class: "radio", for: "fitsYes" }, yes, "Yes"), h("label", { class: "radio", for: "fitsNo" }, no, "No")),
    dimensions, next);
}

async function carrierDialog(weight) {
  const answer = await fetch(`/v1/shipping/labels?weight=${weight}`, { headers: headers() });
  const labels = (await answer.json()).labels;
  let chosen = null;
  const save = h("button", { type: "button", class: "primary", "data-testid": "SelectCarrierSaveButton", disabled: true, onclick: () => {
    state.label = { ...chosen, weight_oz: weight };
    form.shippingPlace.textContent = summary();
    shade.remove();
    refresh();
  } }, "Save");
  const shade = dialog("Choose a carrier", h("div", { class: "radios" }, labels.map((label) =>
    h("label", { class: "radio", "data-testid": `Carrier-${label.carrier}`, for: `carrier${label.id}` },
      h("input", { type: "radio", name: "carrier", id: `carrier${label.id}`, value: label.carrier, onchange: () => { chosen = label; save.disabled = false; } }),
      h("strong", {}, label.carrier), h("span", {}, label.service), h("span", { class: "amount" }, `$${dollars(label.cents)}`)))), save);
}

function payerSection() {
  const choose = (payer) => {
    state.payer = payer;
    for (const button of [yes, no]) button.setAttribute("aria-pressed", String(button === (payer === "seller" ? yes : no)));
    refresh();
  };
  if (data.variant) {
    const list = h("ul", { role: "listbox", class: "options", hidden: true });
    const box = h("div", { "data-testid": "ShippingPayerOption", class: "select", role: "button", tabindex: "0", "aria-haspopup": "listbox",
      onclick: () => { list.hidden = !list.hidden; } }, "Who pays for shipping?");
    const option = (label, payer) => h("li", { role: "option", class: "option", "data-testid": "ShippingPayerOption-option", onclick: () => {
      state.payer = payer;
      box.textContent = label;
      box.setAttribute("data-value", payer);
      list.hidden = true;
      refresh();
    } }, label);
    list.append(option("Buyer will pay", "buyer"), option("I'll pay", "seller"));
    return section("Shipping fee", "payer", box, list);
  }
  const yes = h("button", { type: "button", class: "choice", "data-testid": "FreeShippingYesButton", "aria-pressed": String(state.payer === "seller"), onclick: () => choose("seller") }, "Yes (Recommended)");
  const no = h("button", { type: "button", class: "choice", "data-testid": "FreeShippingNoButton", "aria-pressed": String(state.payer === "buyer"), onclick: () => choose("buyer") }, "No");
  return section("Offer free shipping?", "payer", h("div", { class: "line" }, yes, no));
}

function priceSection() {
  form.price = h("input", { id: "Price", name: "sellPrice", "data-testid": "Price", inputmode: "decimal", placeholder: "$1 – $2,000", "aria-label": "Price",
    value: start.price ? dollars(start.price) : "", oninput: () => { suggest(); refresh(); }, onblur: () => {
      const cents = money(form.price.value);
      if (cents !== null) form.price.value = dollars(cents);
      refresh();
    } });
  let own = false;
  const suggest = () => {
    const cents = money(form.price.value);
    if (!own && cents !== null) form.floor.value = dollars(Math.floor(cents * 0.8));
  };
  form.floor = h("input", { id: "sellMinPriceForAutoPriceDrop", "data-testid": "SmartPricingFloorPrice", name: "sellMinPriceForAutoPriceDrop",
    inputmode: "decimal", "aria-label": "Floor price", value: start.smart_floor ? dollars(start.smart_floor) : "",
    oninput: () => { own = true; refresh(); } });
  const smart = h("div", { class: "smart" });
  const error = h("p", { class: "error", role: "alert" });
  form.errors.floor = error;
  const draw = () => {
    smart.replaceChildren(
      h("strong", {}, state.smart ? "Smart Pricing is on" : "Smart Pricing is off"),
      h("p", { class: "hint" }, "We lower the price step by step until it sells, down to your floor."),
      ...(state.smart ? [h("label", {}, "Floor price", form.floor), error] : []),
      h("button", { type: "button", class: "link", "data-testid": state.smart ? "SmartPricingTurnOffButton" : "SmartPricingButton",
        onclick: () => { state.smart = !state.smart; draw(); refresh(); } }, state.smart ? "Turn off" : "Turn on"));
  };
  draw();
  return section("Price", "price", form.price, smart);
}

// ---- sending ----------------------------------------------------------------------------------------

const input = () => ({
  photoIds: state.photos.map((photo) => photo.id),
  name: form.title.value.trim(),
  description: form.description.value.trim(),
  price: money(form.price.value),
  category: state.path,
  conditionId: state.condition,
  brand: state.brand,
  size: state.size,
  zipCode: state.zip,
  shippingPayerId: state.payer === "seller" ? 2 : state.payer === "buyer" ? 1 : null,
  shippingClassIds: state.label ? [state.label.id] : [],
  carrier: state.label?.carrier ?? null,
  shippingService: state.label?.service ?? null,
  shippingPackageWeight: state.label?.weight_oz ?? null,
  package: state.package,
  minPriceForAutoPriceDrop: state.smart ? money(form.floor.value) : null,
});

function toast(text) {
  document.querySelector("[role=status]")?.remove();
  document.body.append(h("div", { class: "toast", role: "status", "data-testid": "Toast" }, text));
}

async function send(operation) {
  state.touched = true;
  refresh();
  form.list.disabled = true;
  let answer, body;
  try {
    answer = await api(operation, { input: { ...input(), id: data.item?.id } });
    body = await answer.json();
    if (!body.data && !body.errors) throw new Error();
  } catch {
    toast("Something went wrong. Please try again.");
    refresh();
    return;
  }
  const failure = body.errors?.[0];
  if (!failure) { location.assign(body.data[operation].next); return; }
  if (failure.extensions?.code === "UNAUTHENTICATED") { location.assign("/login/?next=/sell/"); return; }
  if (failure.extensions?.code === "CAPTCHA") { location.assign("/captcha/"); return; }
  if (failure.extensions?.code === "DIALOG") {
    dialog(failure.extensions.title, h("p", { "data-testid": "ErrorDialogMessage" }, failure.message));
  } else if (failure.extensions?.code === "REJECTED") {
    form.refused.textContent = failure.message;
    form.refused.hidden = false;
  } else toast("Something went wrong. Please try again.");
  refresh();
}

function mount() {
  form = { errors: {} };
  form.title = h("input", { id: "sellName", name: "sellName", "data-testid": "Title", "aria-label": "Title", placeholder: "What are you selling?",
    value: start.title ?? "", oninput: () => refresh() });
  form.titleCount = h("span", { class: "count" });
  form.description = h("textarea", { id: "sellDescription", "data-testid": "Description", "aria-label": "Description", rows: "6",
    placeholder: "Describe your item (5+ words)", oninput: () => refresh() });
  form.description.value = start.description ?? "";
  form.descriptionCount = h("span", { class: "count" });
  form.category = h("button", { type: "button", class: "select", "data-testid": "SellCategoryFieldButton", onclick: categoryDialog },
    state.path ? state.path.join(" > ") : "Select a category");
  form.sizePlace = h("div", {});
  form.sizeField = section("Size", "size", form.sizePlace);
  form.refused = h("p", { class: "refused", role: "alert", "data-testid": "SellErrorMessage", hidden: true });
  form.list = h("button", { type: "submit", class: "primary", "data-testid": data.item && data.item.state === "live" ? "EditSaveButton" : "ListButton", disabled: true },
    data.item && data.item.state === "live" ? "Save changes" : "List");
  const footer = [form.list];
  if (!data.item || data.item.state === "draft") {
    footer.unshift(h("button", { type: "button", class: "secondary", "data-testid": "SaveDraftButton", onclick: () => send("saveDraft") }, "Save draft"));
  }
  if (data.item) {
    const change = (status, test, label) => h("button", { type: "button", class: "danger", "data-testid": test, onclick: async (event) => {
      event.target.disabled = true;
      try {
        const answer = await api("UpdateItemStatusMutation", { input: { id: data.item.id, status } });
        const body = await answer.json();
        if (body.errors) throw new Error();
        location.assign(body.data.UpdateItemStatusMutation.next);
      } catch {
        event.target.disabled = false;
        toast("Something went wrong. Please try again.");
      }
    } }, label);
    if (data.item.state === "live") footer.push(change("stop", "DeactivateButton", "Deactivate"));
    footer.push(change("cancel", "DeleteButton", "Delete"));
  }
  const text = section("Details", "title", h("label", { for: "sellName" }, "Title"), form.title, form.titleCount);
  const about = section("", "description", h("label", { for: "sellDescription" }, "Description"), form.description, form.descriptionCount);
  const body = h("div", {}, photoSection(), text, about,
    section("Category", "category", form.category), brandSection(), form.sizeField, conditionSection(),
    shipsFrom(), shippingSection(), payerSection(), priceSection(), form.refused, h("div", { class: "footer" }, footer));
  const element = h("form", { class: "sell", novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    send(data.item && data.item.state === "live" ? "editListing" : "createListing");
  } }, h("h1", {}, data.item ? "Edit listing" : "List an item"), body,
    h("textarea", { name: "g-recaptcha-response", class: "hidden", "aria-hidden": "true", tabindex: "-1" }));
  document.getElementById("__next").replaceChildren(element);
  Practice.arrange(body);
  drawSize();
  refresh();
  if (!data.item && !localStorage.getItem("welcomeSeen")) {
    const shade = dialog("Welcome to selling!", h("p", {}, "List in minutes: photos, a few details, a price."),
      h("button", { type: "button", class: "primary", "data-testid": "WelcomeButton", onclick: () => {
        localStorage.setItem("welcomeSeen", "1");
        shade.remove();
      } }, "Get started"));
  }
}

(async () => {
  const [answer] = await Promise.all([
    fetch("/v1/initialize", { headers: { "x-platform": "web" } }),
    new Promise((done) => setTimeout(done, data.delay)),
  ]);
  if (answer.status === 401) { location.assign("/login/"); return; }
  token = await answer.json();
  mount();
})();

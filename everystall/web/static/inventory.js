// What the inventory gains by script: what is ticked stays ticked over searches, a bar that floats while something
// is, "all that match", and keys. Everything here can be done without it.

const seek = document.getElementById("seek");
const bulk = document.getElementById("bulk");
const results = document.getElementById("results");
const bar = bulk.querySelector(".bulk");
const said = bar.querySelector("#chosen");
const everything = bar.querySelector("[name=all]");
const clear = bar.querySelector("[data-clear]");
const chosen = new Set([...results.querySelectorAll("[name=id]:checked")].map((box) => box.value));

const boxes = () => [...results.querySelectorAll("[name=id]")];
const query = () => new URLSearchParams([...new FormData(seek)].filter(([, value]) => value));

// ---- what is ticked ----

function show() {
  for (const box of boxes()) {
    box.checked = everything.checked || chosen.has(box.value);
    box.closest("tr").toggleAttribute("data-chosen", box.checked);
  }
  const all = results.querySelector("[data-all-shown]");
  if (all) {
    all.closest("[data-all]").hidden = false;
    const ticked = boxes().filter((box) => box.checked).length;
    all.checked = ticked > 0 && ticked === boxes().length;
    all.indeterminate = ticked > 0 && !all.checked;
  }
  const number = everything.checked ? Number(bulk.count.value) : chosen.size;
  bar.hidden = number === 0;
  bulk.toggleAttribute("data-chosen", number > 0);
  // a page with nothing ticked does without the words of numbers, which cost a phone half a tenth of a second
  const text = number ? `${number.toLocaleString("en")} selected` : "";
  if (said.textContent !== text) said.textContent = text;
}

/** How many match is asked for when it may matter: among many, counting takes as long as all the rest. */
async function count() {
  let total = results.querySelector(".stock-table")?.dataset.total;
  if (!total) {
    const asked = new XMLHttpRequest();
    asked.open("GET", `${location.pathname}?${query()}`);
    asked.setRequestHeader("X-Part", "total");
    asked.responseType = "document";
    total = await new Promise((resolve) => {
      asked.onloadend = () => resolve(asked.response?.getElementById("total")?.dataset.total ?? "");
      asked.send();
    });
  }
  bulk.count.value = total;
  const worthwhile = total !== "" && Number(total) > boxes().length;
  everything.closest("label").hidden = !worthwhile;
  bar.querySelector("[data-total-said]").textContent = Number(total).toLocaleString("en");
}

/** The last that was ticked, and whether Shift is held: then all between the two are as the second. */
let last = null, shift = false;
for (const began of ["pointerdown", "keydown"]) {
  document.addEventListener(began, (event) => { shift = event.shiftKey; }, { capture: true });
}
bulk.addEventListener("mousedown", (event) => { // a browser would mark the text between the two
  if (event.shiftKey && event.target.closest(".c-sel")) event.preventDefault();
});

function between(box) {
  const all = boxes(), from = all.findIndex((each) => each.value === last), to = all.indexOf(box);
  return shift && from >= 0 ? all.slice(Math.min(from, to), Math.max(from, to) + 1) : [box];
}

bulk.addEventListener("change", (event) => {
  const box = event.target;
  if (box.name === "id") {
    everything.checked = false;
    for (const each of between(box)) box.checked ? chosen.add(each.value) : chosen.delete(each.value);
    last = box.value;
  } else if (box.matches("[data-all-shown]")) {
    everything.checked = false;
    for (const each of boxes()) box.checked ? chosen.add(each.value) : chosen.delete(each.value);
    if (box.checked) count().then(show);
  }
  show();
});

clear.addEventListener("click", () => {
  chosen.clear();
  everything.checked = false;
  show();
});

bulk.addEventListener("submit", () => {
  bulk.ids.value = everything.checked ? "" : [...chosen].join(" ");
});

// the file of an export leaves the page as it is
bulk.addEventListener("submit", (event) => {
  if (event.submitter?.value !== "export") return;
  setTimeout(() => {
    delete bulk.dataset.sent;
    for (const button of bulk.querySelectorAll("[aria-disabled]")) button.removeAttribute("aria-disabled");
  }, 2000);
});

// ---- results that come in ----

const asks = () => [...results.querySelectorAll("[data-asked]")].map((el) => `${el.name}=${el.value}`).join("&");
let kept = asks();
/** The column by whose head an order was chosen. */
let headed = null;

new MutationObserver(() => {
  const now = asks();
  if (now !== kept) { // "all that match" were others
    everything.checked = false;
    everything.closest("label").hidden = true;
    kept = now;
  }
  show();
  if (headed && !results.contains(document.activeElement)) { // the same head, in the other order
    results.querySelector(`th.${headed} a`)?.focus();
    headed = null;
  }
  document.dispatchEvent(new Event("everystall:shown"));
}).observe(results, { childList: true, subtree: true });

// the address says what is shown, so that it can be kept, sent, and come back to
let typed = String(query());
seek.addEventListener("input", () => {
  const now = String(query());
  if (now === typed) return;
  typed = now;
  history.replaceState(null, "", `${location.pathname}${now ? `?${now}` : ""}`);
  for (const look of document.querySelectorAll(".looks a")) {
    const there = query();
    if (look.dataset.look) there.set("look", look.dataset.look);
    else there.delete("look");
    look.search = there;
  }
  for (const view of document.querySelectorAll(".views a:not([data-kept])")) { // what was typed goes along
    const there = query(), own = new URL(view.href).searchParams.get("view");
    if (own) there.set("view", own);
    else there.delete("view");
    there.delete("kept");
    view.search = there;
  }
});
// a head of the table is its order, chosen: what is ticked stays ticked, and the focus where it is
results.addEventListener("click", (event) => {
  const head = event.target.closest("[data-sort]");
  if (!head || !window.htmx || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  headed = head.closest("th").classList[0];
  seek.elements.sort.value = head.dataset.sort;
  seek.dispatchEvent(new Event("input", { bubbles: true }));
});
results.addEventListener("click", (event) => {
  const more = event.target.closest("[data-more]");
  if (more && window.htmx) history.replaceState(null, "", more.href);
});

// ---- keys ----

const rows = () => [...results.querySelectorAll("tbody tr")];
const link = (row) => row?.querySelector(".c-item a");
let here = null;

function move(by) {
  const all = rows();
  const at = all.findIndex((row) => row.dataset.key === here);
  const row = all[Math.min(Math.max(at + by, 0), all.length - 1)];
  if (!row) return;
  here = row.dataset.key;
  link(row).focus();
  row.scrollIntoView({ block: "nearest" });
}

results.addEventListener("focusin", (event) => {
  here = event.target.closest("tr")?.dataset.key ?? here;
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape" && typing?.id === "q") {
    event.preventDefault(); // it would empty the field
    return typing.blur();
  }
  if (typing) return;
  const row = rows().find((each) => each.dataset.key === here);
  const keys = {
    "/": () => document.getElementById("q").select(),
    j: () => move(1),
    k: () => move(-1),
    x: () => row?.querySelector("[name=id]").click(),
    e: () => row && document.dispatchEvent(new CustomEvent("everystall:edit", { detail: here })),
    "?": () => document.getElementById("keys").showModal(),
  };
  const act = keys[event.key] ?? keys[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

// the tabs come again with their numbers, and stay where they were scrolled to
const views = document.querySelector(".views");
views.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
let along = views.firstElementChild.scrollLeft;
views.addEventListener("scroll", (event) => { along = event.target.scrollLeft; }, { capture: true });
new MutationObserver(() => { views.firstElementChild.scrollLeft = along; }).observe(views, { childList: true });
clear.hidden = false;
everything.closest("label").hidden = true;
seek.querySelector(".seek-go").hidden = true;
bulk.dataset.floats = "yes";
show();

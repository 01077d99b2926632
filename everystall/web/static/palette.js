// Ctrl K goes anywhere: to a page, a new listing, or a listing by its words. And the keys that hold on every page:
// C a new listing, G and a letter a page, / and ? the palette where the page has nothing better.

import { ask } from "./ask.js";

const dialog = document.getElementById("palette");
const field = dialog.querySelector("input[role=combobox]");
const list = dialog.querySelector("[role=listbox]");
const make = dialog.querySelector("form");
const ROOT = document.documentElement.dataset.root;
const PAGES = { "": "t", inventory: "i", "needs-you": "n", sales: "s", connections: "m", account: "a" };
const LETTERS = Object.fromEntries(Object.entries(PAGES).map(([page, letter]) => [`${ROOT}/${page}`, letter]));
const places = [...document.querySelectorAll(".side ul a[href]")].map((link) => ({
  text: link.querySelector("span").textContent, href: link.getAttribute("href"),
  keys: LETTERS[link.getAttribute("href")] && `G ${LETTERS[link.getAttribute("href")].toUpperCase()}`,
}));
const commands = [{ text: "New listing", keys: "C", act: () => make.requestSubmit() }, ...places];
let at = 0, timer, asked = 0;

const options = () => [...list.children];

function mark(place) {
  const all = options();
  at = all.length ? (place + all.length) % all.length : 0;
  all.forEach((one, number) => one.setAttribute("aria-selected", String(number === at)));
  field.setAttribute("aria-activedescendant", all[at]?.id ?? "");
  all[at]?.scrollIntoView({ block: "nearest" });
}

function show(found) {
  const words = field.value.trim().toLowerCase();
  const fitting = commands.filter((one) => one.text.toLowerCase().includes(words)).map((one) => {
    const item = document.createElement("li");
    item.setAttribute("role", "option");
    const text = Object.assign(document.createElement("span"), { textContent: one.text });
    item.append(text);
    if (one.keys) item.append(Object.assign(document.createElement("kbd"), { textContent: one.keys }));
    if (one.href) item.dataset.href = one.href;
    else item.dataset.act = one.text;
    return item;
  });
  list.replaceChildren(...fitting, ...found);
  options().forEach((one, number) => { one.id = `palette-${number}`; });
  dialog.querySelector("[data-none]").hidden = list.children.length > 0;
  mark(0);
}

async function seek() {
  const words = field.value.trim(), mine = (asked += 1);
  if (!words) return show([]);
  const answer = await ask(`${ROOT}/find?q=${encodeURIComponent(words)}`).catch(() => null);
  if (mine !== asked || !answer?.found || answer.away) return;
  show([...answer.found.querySelectorAll("li")].map((one) => document.importNode(one, true)));
}

function choose(item) {
  if (!item) return;
  if (item.dataset.href) location.assign(item.dataset.href);
  else commands.find((one) => one.text === item.dataset.act)?.act();
}

function open() {
  field.value = "";
  show([]);
  dialog.showModal();
  field.focus();
}

field.addEventListener("input", () => {
  show(options().filter((one) => one.dataset.href?.startsWith(`${ROOT}/listings/`)));
  clearTimeout(timer);
  timer = setTimeout(seek, 120);
});
field.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) mark(at + step);
  else if (event.key === "Enter") choose(options()[at]);
  else return;
  event.preventDefault();
});
list.addEventListener("click", (event) => choose(event.target.closest("[role=option]")));
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
for (const button of document.querySelectorAll("[data-palette]")) {
  button.hidden = false;
  button.addEventListener("click", open);
}

// ---- keys of every page ----

let went = 0;

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    return open();
  }
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  // right after Escape the focus is in the palette still
  if (event.target.closest?.("input:not([type=checkbox]), select, textarea") && event.target !== field) return;
  const key = event.key.toLowerCase();
  const after = performance.now() - went < 1500;
  went = 0;
  const there = after && Object.keys(LETTERS).find((href) => LETTERS[href] === key);
  if (there) {
    event.preventDefault();
    location.assign(there);
  } else if (key === "g") went = performance.now();
  else if (key === "c") make.requestSubmit();
  else if (key === "?" || key === "/") {
    event.preventDefault();
    open();
  }
});

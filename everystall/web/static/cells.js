// Price, cost, stock and SKU are changed where they stand: a click on one, or E on a line, makes it a field; Enter saves,
// Esc undoes, Tab goes on to the next. It is the editor's form with one part of it, and by the same rules; what was
// saved can be undone.

import { ask, renew } from "./ask.js";

const ROOT = document.documentElement.dataset.root;
const results = document.getElementById("results");
const toast = document.getElementById("cell-undo");
const said = document.getElementById("said");
const NAMES = { sku: "SKU", quantity: "Stock", price: "Price", cost: "Cost" };
// What stands where there is no amount.
const AMOUNTS = { price: "No price", cost: "–" };
let field = null;

const cells = () => [...results.querySelectorAll("td[data-edit]")].filter((cell) => cell.offsetParent);

function edit(cell) {
  if (!cell || cell.querySelector("input")) return;
  const input = document.createElement("input");
  input.className = "input cell";
  input.value = cell.dataset.is.replace("$", "");
  input.inputMode = { price: "decimal", cost: "decimal", quantity: "numeric" }[cell.dataset.edit] ?? "text";
  input.maxLength = 100;
  input.autocomplete = "off";
  input.setAttribute("aria-label", `${NAMES[cell.dataset.edit]} of ${cell.closest("tr").querySelector(".c-item a").textContent}`);
  const before = [...cell.childNodes];
  cell.replaceChildren(input);
  field = { cell, input, before, over: false };
  input.select();
  input.focus();
}

/** The cell as it was. */
function close(one) {
  one.over = true;
  if (field === one) field = null;
  one.cell.replaceChildren(...one.before);
}

/** What is saved, as the page says it; what stands under it stays. */
function say(id, name, now) {
  const cell = results.querySelector(`tr[data-key="${id}"] td[data-edit="${name}"]`);
  if (!cell) return;
  const amount = Number(now.replace(/[$,]/g, "")).toLocaleString("en", { minimumFractionDigits: 2 });
  const text = !(name in AMOUNTS) ? now : now ? `$${amount}` : AMOUNTS[name];
  cell.dataset.is = now;
  cell.replaceChildren(text, ...cell.querySelectorAll("small"));
}

async function save(one) {
  if (one.over) return true;
  const { cell, input } = one, was = cell.dataset.is, now = input.value.trim();
  if (now === was.replace("$", "")) {
    close(one);
    return true;
  }
  one.over = true;
  input.setAttribute("aria-busy", "true");
  const wrong = await send(cell.closest("tr").dataset.key, cell.dataset.edit, was, now);
  one.over = false;
  input.removeAttribute("aria-busy");
  if (wrong) {
    input.setAttribute("aria-invalid", "true");
    input.title = wrong;
    said.textContent = wrong;
    show(wrong);
    input.focus();
    return false;
  }
  const id = cell.closest("tr").dataset.key, name = cell.dataset.edit;
  close(one);
  say(id, name, now);
  show(`${NAMES[name]} saved.`, async () => {
    const back = await send(id, name, now, was);
    if (!back) say(id, name, was);
    show(back ?? `${NAMES[name]} is as it was.`);
  });
  return true;
}

/** What is against it, or null. */
async function send(id, name, was, now) {
  const body = new URLSearchParams({ [name]: now, [`seen.${name}`]: was, csrf: document.querySelector("input[name=csrf]").value });
  for (let tries = 0; ; tries += 1) {
    const answer = await ask(`${ROOT}/listings/${id}`, { method: "POST", part: "saved", body }).catch(() => null);
    if (!answer) return "Not saved: Everystall does not answer.";
    if ((answer.away || answer.status === 403) && !tries && await renew()) {
      body.set("csrf", document.querySelector("input[name=csrf]").value);
      continue;
    }
    if (answer.status === 200 && !answer.away) return null;
    const trouble = answer.found?.querySelector(`#${name}-trouble span`)?.textContent.replace(" Which one stands?", "");
    return trouble ?? (answer.status === 404 ? "This listing is gone." : "Not saved: sign in in another tab, and try again.");
  }
}

function show(text, undo) {
  toast.querySelector("span").textContent = text;
  said.textContent = text;
  const button = toast.querySelector("button");
  button.hidden = !undo;
  button.onclick = () => {
    toast.hidden = true;
    undo();
  };
  toast.hidden = false;
  clearTimeout(show.timer);
  show.timer = setTimeout(() => { toast.hidden = true; }, 10_000);
}

results.addEventListener("click", (event) => edit(event.target.closest("td[data-edit]")));
results.addEventListener("focusout", (event) => {
  const one = field;
  if (one && event.target === one.input && !one.over) save(one);
});
results.addEventListener("keydown", async (event) => {
  const one = field;
  if (!one || event.target !== one.input) return;
  if (!["Enter", "Escape", "Tab"].includes(event.key)) return;
  event.preventDefault();
  event.stopPropagation();
  const link = one.cell.closest("tr").querySelector(".c-item a");
  if (event.key === "Escape") {
    close(one);
    link.focus();
    return;
  }
  const all = cells(), next = all[all.indexOf(one.cell) + (event.shiftKey ? -1 : 1)];
  if (!await save(one)) return;
  if (event.key === "Tab" && next) edit(next);
  else link.focus();
});
document.addEventListener("everystall:edit", (event) => {
  const row = cells().filter((cell) => cell.closest("tr").dataset.key === event.detail);
  edit(row.find((cell) => cell.dataset.edit === "price") ?? row[0]);
});
results.dataset.edits = "yes";

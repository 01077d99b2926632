// The listing editor saves by itself: a little after each change the whole form is sent, one at a time, and what
// comes back is what is wrong, what each marketplace still needs, and the marks of what is saved. What stands in the
// fields is never touched. While it cannot be saved it is tried again, and leaving the page asks first.

import { ask, put, renew } from "./ask.js";

const form = document.getElementById("listing");
const state = document.getElementById("saved");
const said = document.getElementById("said");
/** Milliseconds without a key until it is saved. */
const PAUSE = 600;

let timer, dirty = false, saving = null, tries = 0;

function say(how, text) {
  state.dataset.state = how;
  state.textContent = text;
}

function later(wait) {
  dirty = true;
  clearTimeout(timer);
  timer = setTimeout(save, wait);
}

function save() {
  clearTimeout(timer);
  saving ??= send().finally(() => {
    saving = null;
    if (dirty && !tries) later(0);
  });
  return saving;
}

async function send() {
  dirty = false;
  say("run", "Saving…");
  try {
    const answer = await ask(form.getAttribute("action"), { method: "POST", part: "saved", body: new URLSearchParams(new FormData(form)) });
    if (answer.away || answer.status === 403) throw new Error("signed out");
    if (![200, 409, 422].includes(answer.status) || !answer.found?.querySelector("#was")) throw new Error(String(answer.status));
    const again = tries;
    tries = 0;
    took(answer.found, again);
  } catch (error) {
    dirty = true;
    tries += 1;
    const out = error.message === "signed out";
    const why = out ? "you are signed out. Sign in in another tab" : error.message === "404" ? "this listing is gone" : "Everystall does not answer. It is tried again";
    say("bad", `Not saved: ${why}.`);
    if (tries === 1) said.textContent = state.textContent;
    if (out) await renew().catch(() => false);
    clearTimeout(timer);
    timer = setTimeout(save, Math.min(30, 2 ** tries) * 1000);
  }
}

function took(found, again) {
  for (const id of ["was", "needs", ...[...found.querySelectorAll("datalist, .own-needs")].map((one) => one.id)]) put(found, id);
  for (const fresh of found.querySelectorAll("select[data-category]")) offer(fresh);
  let wrong = 0;
  for (const old of document.querySelectorAll(".trouble")) {
    const fresh = found.querySelector(`#${CSS.escape(old.id)}`);
    const part = old.closest("[data-part]");
    const before = old.textContent.trim();
    if (fresh) wrong += 1;
    if (fresh ? fresh.textContent !== old.textContent : before) {
      old.replaceChildren(...(fresh ? [...fresh.childNodes].map((node) => document.importNode(node, true)) : []));
      if (fresh) said.textContent = fresh.textContent.trim();
    }
    if (fresh) part.dataset.state = "bad";
    else delete part.dataset.state;
    for (const field of part.querySelectorAll(".input")) {
      if (fresh) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
  }
  if (wrong) say("bad", wrong === 1 ? "All but one field is saved" : `All but ${wrong} fields are saved`);
  else say("ok", `Saved ${new Date().toLocaleTimeString([], { timeStyle: "short" })}`);
  if (again) said.textContent = state.textContent;
  document.dispatchEvent(new Event("everystall:changed"));
}

/** What a marketplace has to choose from; what is chosen stays. */
function offer(fresh) {
  const old = document.getElementById(fresh.id), chosen = old.value;
  document.getElementById(fresh.id.replace("condition", "category")).placeholder = fresh.dataset.category;
  if (old === document.activeElement) return;
  old.replaceChildren(...[...fresh.options].map((option) => document.importNode(option, true)));
  if (![...old.options].some((option) => option.value === chosen)) old.add(new Option(chosen, chosen));
  old.value = chosen;
}

// ---- when ----

form.addEventListener("input", (event) => {
  const field = event.target;
  if (field.id === "title") document.getElementById("name").textContent = field.value || "New listing";
  count(field);
  for (const own of field.name === "category" ? [] : form.querySelectorAll(`input[name$=".${field.name}"]`)) own.placeholder = field.value;
  // half of a category is none: it is saved when it is left, or one of the list
  const half = field.dataset.late && ![...field.list.options].some((option) => option.value === field.value);
  if (half) dirty = true;
  else later(PAUSE);
});
form.addEventListener("change", () => later(0));

form.addEventListener("submit", async (event) => {
  const button = event.submitter;
  if (button?.name) { // whose change stands: a new page, after what is under way
    if (!saving) return;
    event.preventDefault();
    await saving;
    form.requestSubmit(button);
    return;
  }
  event.preventDefault();
  save();
});

/** All that was typed is saved, or cannot be now. */
async function flush() {
  while ((dirty || saving) && !tries) await save();
}

document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || link.target || link.getAttribute("href").startsWith("#")) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || !dirty && !saving) return;
  event.preventDefault();
  await flush();
  location.assign(link.href);
});
addEventListener("submit", async (event) => {
  if (event.target === form || event.target.closest("#photos") || !dirty && !saving || tries) return;
  event.preventDefault();
  event.stopPropagation();
  const { target, submitter } = event;
  await flush();
  target.requestSubmit(submitter);
}, { capture: true });

addEventListener("beforeunload", (event) => {
  if (form.dataset.sent || !dirty && !saving) return;
  const body = new URLSearchParams(new FormData(form));
  if (tries || saving || String(body).length > 60_000) return event.preventDefault();
  dirty = false; // it arrives after the page is gone
  clearTimeout(timer);
  fetch(form.action, { method: "POST", keepalive: true, body, headers: { "X-Part": "saved" } }).catch(() => {});
});

// ---- comfort ----

function count(field) {
  const line = document.querySelector(`[data-counts="${CSS.escape(field.id)}"]`);
  if (!line) return;
  line.querySelector("[data-count]").textContent = field.value.length.toLocaleString("en");
  for (const one of line.querySelectorAll("[data-most]")) {
    if (field.value.length > Number(one.dataset.most)) one.dataset.state = "over";
    else delete one.dataset.state;
  }
}

const pairs = document.getElementById("specifics");
const more = document.getElementById("more-specifics");
more.hidden = false;

function another(name) {
  const row = document.importNode(pairs.lastElementChild, true);
  const [first, second] = row.querySelectorAll("input");
  first.value = name;
  second.value = "";
  for (const field of [first, second]) {
    field.setAttribute("aria-label", field.getAttribute("aria-label").replace(/\d+$/, pairs.children.length + 1));
  }
  pairs.append(row);
  return [first, second];
}

more.addEventListener("click", () => another("")[0].focus());

document.addEventListener("click", (event) => {
  const link = event.target.closest?.(".todos a[href^='#']");
  if (!link) return;
  event.preventDefault();
  const name = link.dataset.specific;
  let field = document.getElementById(link.hash.slice(1));
  if (name) {
    const there = [...pairs.querySelectorAll("[name=specific_name]")].find((one) => one.value.toLowerCase() === name.toLowerCase());
    field = there?.nextElementSibling ?? another(name)[1];
  }
  const closed = field?.closest("details:not([open])");
  if (closed) closed.open = true;
  field?.scrollIntoView({ block: "center" });
  field?.focus({ preventScroll: true });
});

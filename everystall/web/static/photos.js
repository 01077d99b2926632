// Photos of a listing: chosen, taken, dropped or pasted, each sent by itself with how far it is and a way to try
// again; put in order by dragging or by buttons; a deletion can be undone. All by the API; the page is then asked how
// it stands.

import { ask, put } from "./ask.js";

const box = document.getElementById("photos");
const path = box.dataset.photos;
const form = document.getElementById("add-photos");
const uploads = document.getElementById("uploads");
const undo = document.getElementById("photo-undo");
const said = document.getElementById("said");
const list = () => document.getElementById("photo-list");
const ids = () => [...list().children].map((item) => item.dataset.photo);

/** The list and what is needed, as they are now; the focus goes to the button that it was on. One after the other,
 * so that no older list stands in the end. */
let before = Promise.resolve();
function refresh(photo, action) {
  before = before.then(() => look(photo, action)).catch(() => { said.textContent = "Everystall does not answer."; });
  return before;
}

async function look(photo, action) {
  for (const [part, id] of [["photos", "photo-list"], ["needs", "needs"]]) {
    const answer = await ask(location.pathname, { part });
    if (answer.away || answer.status !== 200) return location.reload();
    put(answer.found, id);
  }
  sortable();
  const item = photo && list().querySelector(`[data-photo="${photo}"]`);
  const button = item?.querySelector(`[value="${action}"]:not(:disabled)`) ?? item?.querySelector("button:not(:disabled)");
  button?.focus();
  document.dispatchEvent(new Event("everystall:changed"));
}

/** What the server says against it, or null. */
async function refused(promise) {
  const answer = await promise.catch(() => null);
  if (!answer) return "Everystall does not answer.";
  if (answer.away || answer.status === 401 || answer.status === 403) return "You are signed out. Sign in in another tab, and load this page again.";
  if (answer.status < 300) return null;
  return answer.found?.message ?? "That did not work.";
}

// ---- sending ----

const waiting = [];
let sending = false, sent = 0;

for (const input of form.querySelectorAll("input[type=file]")) {
  input.classList.add("vh");
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
}
box.dataset.scripts = "on";
form.querySelector("[data-plain]").hidden = true;
form.querySelector("[data-with-script]").hidden = false;

function add(files) {
  for (const file of files) {
    const row = document.createElement("li");
    const name = Object.assign(document.createElement("b"), { textContent: file.name || "A photo" });
    const how = Object.assign(document.createElement("span"), { textContent: "Waiting" });
    const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
    bar.setAttribute("aria-label", `Sending ${name.textContent}`);
    row.append(name, bar, how);
    uploads.append(row);
    waiting.push({ file, row, bar, how });
  }
  next();
}

async function next() {
  if (!waiting.length && !sending && sent) {
    said.textContent = sent === 1 ? "1 photo is added." : `${sent} photos are added.`;
    sent = 0;
  }
  if (sending || !waiting.length) return; // one by one, so that they stand in the order that they were chosen in
  const one = waiting.shift();
  sending = true;
  one.how.textContent = "Sending";
  const wrong = await refused(ask(path, {
    method: "POST", body: one.file, type: one.file.type || "application/octet-stream", as: "json",
    progress: (part) => {
      one.bar.value = part;
      one.how.textContent = part < 1 ? `${Math.round(part * 100)} %` : "Reading it";
    },
  }));
  if (wrong) fail(one, wrong);
  else {
    one.row.remove();
    sent += 1;
    await refresh();
  }
  sending = false;
  next();
}

function fail(one, wrong) {
  one.row.dataset.state = "bad";
  one.bar.hidden = true;
  one.how.textContent = wrong;
  said.textContent = `${one.file.name}: ${wrong}`;
  const button = (text, work) => {
    const made = Object.assign(document.createElement("button"), { type: "button", className: "btn", textContent: text });
    made.setAttribute("aria-label", `${text}: ${one.file.name}`);
    made.addEventListener("click", () => {
      one.row.remove();
      work();
    });
    return made;
  };
  one.row.append(button("Try again", () => add([one.file])), button("Leave it out", () => {}));
}

const images = (transfer) => [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/") || /\.hei[cf]$/i.test(file.name));

box.addEventListener("dragover", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  box.dataset.state = "over";
});
for (const name of ["dragleave", "drop"]) box.addEventListener(name, () => { delete box.dataset.state; });
box.addEventListener("drop", (event) => {
  const files = images(event.dataTransfer);
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  add(files);
});
document.addEventListener("paste", (event) => {
  const files = images(event.clipboardData);
  if (!files.length) return;
  event.preventDefault();
  add(files);
});

// ---- large ----

const large = document.getElementById("large");

box.addEventListener("click", (event) => {
  const link = event.target.closest("#photo-list > li > a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // it opens by itself, as without a script
  event.preventDefault();
  const shown = large.querySelector("img");
  shown.src = link.href;
  shown.alt = link.firstElementChild.alt;
  large.showModal();
});
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
large.addEventListener("close", () => large.querySelector("img").removeAttribute("src"));

addEventListener("beforeunload", (event) => {
  if (sending || waiting.length) event.preventDefault();
});

// ---- order ----

function sortable() {
  if (!window.Sortable || list().dataset.sortable) return;
  list().dataset.sortable = "on";
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  window.Sortable.create(list(), {
    animation: still ? 0 : 130, delay: 180, delayOnTouchOnly: true, filter: "button", preventOnFilter: false,
    onEnd: (event) => { if (event.oldIndex !== event.newIndex) order(event.item.dataset.photo); },
  });
}
sortable();

async function order(photo, action) {
  const place = ids().indexOf(photo) + 1, all = ids().length;
  const wrong = await refused(ask(path, { method: "PUT", body: JSON.stringify({ photoIds: ids() }), type: "application/json", as: "json" }));
  await refresh(photo, action);
  said.textContent = wrong ?? `The photo is moved to ${place} of ${all}${place === 1 ? ", the cover" : ""}.`;
}

box.addEventListener("submit", async (event) => {
  const item = event.target.closest("[data-photo]");
  if (!item) return;
  event.preventDefault();
  const action = event.submitter.value;
  if (action === "delete") return remove(item);
  if (action === "turn") return turn(item);
  if (action === "left") item.previousElementSibling?.before(item);
  if (action === "right") item.nextElementSibling?.after(item);
  if (action === "first") list().prepend(item);
  await order(item.dataset.photo, action);
});

/** A quarter clockwise. */
async function turn(item) {
  const turned = (Number(item.dataset.turn) + 90) % 360;
  const wrong = await refused(ask(item.dataset.url, { method: "PATCH", body: JSON.stringify({ turn: turned }), type: "application/json", as: "json" }));
  await refresh(item.dataset.photo, "turn");
  said.textContent = wrong ?? "The photo is turned clockwise.";
}

// ---- deleting, and back ----

async function remove(item) {
  const place = ids().indexOf(item.dataset.photo);
  item.dataset.state = "going";
  const original = await ask(item.dataset.url, { as: "blob" }).catch(() => null);
  const wrong = original?.status === 200
    ? await refused(ask(item.dataset.url, { method: "DELETE", as: "json" }))
    : "Everystall does not answer: nothing is deleted.";
  await refresh(ids()[place + 1] ?? ids()[place - 1], "delete");
  if (wrong) { said.textContent = wrong; return; }
  offer("The photo is deleted.", async () => {
    const answer = await ask(path, { method: "POST", body: original.found, type: original.found.type, as: "json" }).catch(() => null);
    if (answer?.status !== 201) { said.textContent = "That did not work."; return; }
    const back = answer.found.photos.at(-1).photoId;
    const rest = answer.found.photos.map((one) => one.photoId).slice(0, -1);
    rest.splice(place, 0, back);
    await refused(ask(path, { method: "PUT", body: JSON.stringify({ photoIds: rest }), type: "application/json", as: "json" }));
    const turned = Number(item.dataset.turn);
    if (turned) await refused(ask(`${path}/${back}`, { method: "PATCH", body: JSON.stringify({ turn: turned }), type: "application/json", as: "json" }));
    await refresh(back, "delete");
    said.textContent = "The photo is back.";
  });
}

function offer(text, work) {
  undo.querySelector("span").textContent = text;
  said.textContent = text;
  undo.hidden = false;
  const button = undo.querySelector("button");
  button.onclick = () => {
    undo.hidden = true;
    work();
  };
}

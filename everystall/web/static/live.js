// Keeps what a page says up to date. Each part of it asks for its own block again when the server tells that
// something of it changed (over a WebSocket, else over server-sent events), every so often anyway while the tab is
// visible, and at once when it becomes visible: whatever was missed meanwhile, it then shows what is. Must be the
// first module: it compares what the server said then with what it says now, before the others touch the page.
//
// <div data-live="BLOCK" data-every="SECONDS"> holds the block; data-from is the address that has it, if not this
// page's; data-about the listings that it is of (ids, or * for all of the seller's). In it <… data-key="…"> are put
// in one by one, so that a form that is being filled in stays as it is; data-seq counts up with what is shown, and
// an older one never replaces a newer. data-say is what a screen reader is told when it changes.

/** What stands before our paths, where Everystall has a path of its host and not all of it. */
const ROOT = document.documentElement.dataset.root;
const parts = [...document.querySelectorAll("[data-live]")];
const said = document.getElementById("said");
const away = document.getElementById("away");

const keyed = (root) => new Map([...root.querySelectorAll("[data-key]")].map((el) => [el.dataset.key, el]));
/** As it reads; the proof in its forms is another in each answer. */
const text = (el) => el.outerHTML.replace(/(name="csrf" value=")\w+/g, "$1");

/** The part of the page is in use: typed into, opened, or focused. */
function busy(el) {
  if (el.contains(document.activeElement)) return true;
  if (el.querySelector("details[open]")) return true;
  return [...el.querySelectorAll("input, select, textarea")].some((field) =>
    field.type === "checkbox" || field.type === "radio"
      ? field.checked !== field.defaultChecked
      : field.options
        ? [...field.options].some((option) => option.selected !== option.defaultSelected && field.dataset.touched)
        : field.value !== field.defaultValue,
  );
}

/** XHR parses into a document without scripts, and Trusted Types have nothing against it. */
function fetchPart(name, from) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", from);
    request.setRequestHeader("X-Part", name);
    request.responseType = "document";
    request.timeout = 20000;
    request.onload = () => {
      if (new URL(request.responseURL).pathname !== new URL(from, location).pathname) return location.reload(); // signed out
      if (request.status !== 200 || !request.response) return reject(new Error(String(request.status)));
      resolve(request.response.body);
    };
    request.onerror = request.ontimeout = () => reject(new Error("no answer"));
    request.send();
  });
}

function put(root, fresh, known) {
  const before = keyed(root), after = keyed(fresh);
  const told = [];
  for (const [key, el] of after) {
    const old = before.get(key);
    if (old?.dataset.say !== el.dataset.say && el.dataset.say) told.push(el.dataset.say);
  }
  if ([...before.keys()].join("\n") !== [...after.keys()].join("\n")) {
    if (busy(root)) return; // next time
    root.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
    known.clear();
    for (const [key, el] of after) known.set(key, text(el));
  } else {
    for (const [key, el] of after) {
      const now = text(el), old = before.get(key);
      if (known.get(key) === now || busy(old) || Number(el.dataset.seq) < Number(old.dataset.seq)) continue;
      old.replaceWith(document.importNode(el, true));
      known.set(key, now);
    }
  }
  if (told.length) said.textContent = told.join(" ");
  document.dispatchEvent(new Event("everystall:changed"));
}

/** Those that wait to hear that something changed: what each is about, and how it asks. */
const asking = [];

for (const root of parts) {
  const known = new Map([...keyed(root)].map(([key, el]) => [key, text(el)]));
  const every = Number(root.dataset.every) * 1000;
  const about = (root.dataset.about ?? "").split(" ");
  /** Each step of any listing is told to a list of all: it asks every two seconds at most. */
  const apart = about.includes("*") ? 2000 : 100;
  let timer, asked = -apart, under = false, again = false;
  const rest = () => Math.max(0, asked + apart - performance.now());
  const ask = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    if (under) { again = true; return; }
    under = true;
    asked = performance.now();
    try {
      put(root, await fetchPart(root.dataset.live, root.dataset.from ?? location.pathname + location.search), known);
      away.hidden = true;
    } catch {
      away.hidden = false;
    } finally {
      under = false;
      timer = setTimeout(ask, again ? Math.max(100, rest()) : every);
      again = false;
    }
  };
  /** The last change is always asked for, if later. */
  const hear = () => {
    if (under || !rest()) return ask();
    clearTimeout(timer);
    timer = setTimeout(ask, rest());
  };
  document.addEventListener("visibilitychange", ask);
  timer = setTimeout(ask, every);
  if (root.dataset.about) asking.push({ about, hear });
}

// ---- told at once ----

/** `changed`: ids of listings, or "*". */
function tell(changed) {
  for (const one of asking) {
    if (changed.includes("*") || one.about.includes("*") || one.about.some((id) => changed.includes(id))) one.hear();
  }
}

/** Seconds until it is tried again: more each time, up to half a minute, and not all pages at once. */
const wait = () => Math.min(30, 2 ** tries) * (0.5 + Math.random()) * 1000;
/** A line holds that still tells after this long: what lets it open may drop it, or let nothing through. */
const HOLDS = 15_000;
/** How often it was tried since a line last held, and whether a WebSocket ever did. */
let tries = 0, held = false;

function again() {
  setTimeout(listen, wait());
  tries += 1;
}

/** A WebSocket; if none holds, twice, something between us breaks those, and the events are streamed. */
function listen() {
  if (document.hidden) return document.addEventListener("visibilitychange", listen, { once: true });
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${ROOT}/live`);
  const began = performance.now();
  let silence;
  const heard = (within) => {
    clearTimeout(silence);
    silence = setTimeout(() => socket.close(), within);
  };
  heard(30_000);
  socket.onmessage = (event) => {
    heard(60_000); // it says that it is there every 20 seconds
    if (performance.now() - began > HOLDS) { held = true; tries = 0; }
    tell(JSON.parse(event.data).listings ?? []);
  };
  socket.onclose = (event) => {
    clearTimeout(silence);
    if (event.code === 1008) return tell(["*"]); // signed out: a part asks, and leads to the door
    if (!held && tries >= 1) return stream();
    again();
  };
}

/** The same by server-sent events, which come back by themselves, but not after an answer that is none, such as a
 *  proxy's 502. Without them each part asks every so often. */
function stream() {
  const events = new EventSource(`${ROOT}/live/events`);
  events.onmessage = (event) => { tries = 0; tell(JSON.parse(event.data).listings ?? []); };
  events.onerror = () => { if (events.readyState === EventSource.CLOSED) again(); };
}

if (asking.length) listen();

document.addEventListener("change", (event) => {
  if (event.target.dataset) event.target.dataset.touched = "yes";
});

// Keeps what a page says up to date. Each part of it asks for its own block again when the server tells that
// something of it changed (over a WebSocket, else over server-sent events), every so often anyway while the tab is
// visible, and at once when it becomes visible: whatever was missed meanwhile, it then shows what is. Must be the
// first module: it compares what the server said then with what it says now, before the others touch the page.
//
// <div data-live="BLOCK" data-every="SECONDS"> holds the block; data-from is the address that has it, if not this
// page's; data-soon in it asks for seconds of its own while it is there, data-untold while nothing is told at once, either; data-about the listings that it is of (ids, or * for all of the seller's), or one of OTHERS. In it
// <… data-key="…"> are put in one by one, so that a form that is being filled in stays as it is; one within another
// is put in where the other is in use. data-seq counts up with what is shown, and an older one never replaces a newer.
// The keyed children of <… data-rows="NAME"> come and go one by one, too. data-say is what a screen reader is told
// when it changes.

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

/** What the page is built of, apart from rows. */
const frame = (root) =>
  [...keyed(root)].filter(([, el]) => !el.closest("[data-rows]")).map(([key]) => key).join("\n");

/** Takes out the rows that are no more, unless they are in use, and puts in the new ones where they belong. */
function putRows(root, fresh, known) {
  for (const list of root.querySelectorAll("[data-rows]")) {
    const rows = [...fresh.querySelector(`[data-rows="${list.dataset.rows}"]`).children];
    const here = new Map([...list.children].map((row) => [row.dataset.key, row]));
    const there = new Set(rows.map((row) => row.dataset.key));
    for (const [key, row] of here) if (!there.has(key) && !busy(row)) row.remove();
    let next = null;
    for (const row of rows.reverse()) {
      let old = here.get(row.dataset.key);
      if (!old) {
        list.insertBefore(old = document.importNode(row, true), next);
        known.set(row.dataset.key, text(row));
        for (const [key, el] of keyed(row)) known.set(key, text(el));
      }
      next = old;
    }
  }
}

let saidAt = 0;

/** For who does not see it. What two parts of the page say at once does not take each other's place. */
function say(words) {
  const now = performance.now();
  said.textContent = now - saidAt < 2000 ? `${said.textContent} ${words}` : words;
  saidAt = now;
}

/** What is said of each part, if anything. */
const sayings = (root) => new Map([...keyed(root)].map(([key, el]) => [key, el.dataset.say]));

function put(root, fresh, known, heard) {
  const before = keyed(root), after = keyed(fresh);
  const held = root.contains(document.activeElement) ? document.activeElement : null, top = held?.getBoundingClientRect().top;
  if (frame(root) !== frame(fresh)) {
    if (busy(root)) return; // next time
    root.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
    known.clear();
    for (const [key, el] of after) known.set(key, text(el));
  } else {
    putRows(root, fresh, known);
    for (const [key, el] of after) {
      const now = text(el), old = before.get(key);
      if (!old || known.get(key) === now || busy(old) || Number(el.dataset.seq) < Number(old.dataset.seq)) continue;
      old.replaceWith(document.importNode(el, true));
      known.set(key, now);
    }
  }
  const told = [];
  for (const [key, words] of sayings(fresh)) {
    if (words && words !== heard.get(key)) told.push(words);
    heard.set(key, words);
  }
  for (const key of heard.keys()) if (!after.has(key)) heard.delete(key);
  if (told.length) say(told.length > 3 ? `${told[0]} And ${told.length - 1} more changes.` : told.join(" "));
  document.dispatchEvent(new Event("everystall:changed"));
  // what has the focus stays where it is on the screen, whatever comes above it
  if (held?.isConnected) scrollBy({ top: held.getBoundingClientRect().top - top, behavior: "instant" });
}

/** When the server last said anything by itself; it says that it is there every 20 seconds, if something between lets
 *  it through. */
let toldAt = -Infinity;
const untold = () => performance.now() - toldAt > 30_000;

/** Those that wait to hear that something changed: what each is about, and how it asks. */
const asking = [];

for (const root of parts) {
  const known = new Map([...keyed(root)].map(([key, el]) => [key, text(el)])), heard = sayings(root);
  const of = (name) => root.querySelector(`[data-${name}]`)?.dataset[name];
  const every = () => Number(of("soon") ?? ((untold() && of("untold")) || root.dataset.every)) * 1000;
  const about = (root.dataset.about ?? "").split(" ");
  /** Each step of any listing is told to a list of all: it asks every two seconds at most. */
  const apart = about.includes("*") ? 2000 : 100;
  let timer, asked = -apart, under = false, again = false;
  const rest = () => Math.max(0, asked + apart - performance.now());
  const from = () => root.dataset.from ?? location.pathname + location.search;
  const ask = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    if (under) { again = true; return; }
    under = true;
    asked = performance.now();
    const address = from();
    try {
      const fresh = await fetchPart(root.dataset.live, address);
      if (address === from()) put(root, fresh, known, heard);
      else again = true; // something else was sought meanwhile
      away.hidden = true;
    } catch {
      away.hidden = false;
    } finally {
      under = false;
      timer = setTimeout(ask, again ? Math.max(100, rest()) : every());
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
  timer = setTimeout(ask, every());
  if (root.dataset.about) asking.push({ about, hear });
}

// ---- told at once ----

/** What is told that is of no listing: how an account stands, that one was visited, that something sold. */
const OTHERS = new Set(["accounts", "visits", "sales"]);

/** `changed`: ids of listings, words, or "*". */
function tell(changed) {
  toldAt = performance.now();
  const listings = changed.some((one) => !OTHERS.has(one));
  for (const { about, hear } of asking) {
    if (changed.includes("*") || (listings && about.includes("*")) || about.some((one) => changed.includes(one))) hear();
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

/** A WebSocket; if none holds, twice, something between us breaks those, and the events are streamed. So they are once
 *  one held that does not come back: who carries a computer elsewhere may have another proxy there. */
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
    if (tries >= (held ? 4 : 1)) { held = false; return stream(); } // where it held it may only be away
    again();
  };
}

/** The same by server-sent events, which come back by themselves, but not after an answer that is none, such as a
 *  proxy's 502. Without them each part asks every so often. Over HTTP/1.1 a browser has six connections to a host: a
 *  tab in the back gives its own up. */
function stream() {
  const events = new EventSource(`${ROOT}/live/events`);
  const end = (then) => { document.removeEventListener("visibilitychange", leave); events.close(); then(); };
  const leave = () => { if (document.hidden) end(listen); };
  document.addEventListener("visibilitychange", leave);
  events.onmessage = (event) => { tries = 0; tell(JSON.parse(event.data).listings ?? []); };
  events.onerror = () => { if (events.readyState === EventSource.CLOSED) end(again); };
}

if (asking.length) listen();

document.addEventListener("change", (event) => {
  if (event.target.dataset) event.target.dataset.touched = "yes";
});

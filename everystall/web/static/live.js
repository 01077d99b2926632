// Keeps what a page says up to date: asks for its own block every so often while the tab is visible, and at
// once when it becomes visible. That also tells the server that somebody is watching. Must be the first module:
// it compares what the server said then with what it says now, before the others touch the page.
//
// <div data-live="BLOCK" data-every="SECONDS"> holds the block; in it <… data-key="…"> are put in one by one, so
// that a form that is being filled in stays as it is. data-say is what a screen reader is told when it changes.

const parts = [...document.querySelectorAll("[data-live]")];
const said = document.getElementById("said");
const away = document.getElementById("away");

const keyed = (root) => new Map([...root.querySelectorAll("[data-key]")].map((el) => [el.dataset.key, el]));
const text = (el) => el.outerHTML;

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
function fetchPart(name) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", location.pathname + location.search);
    request.setRequestHeader("X-Part", name);
    request.responseType = "document";
    request.timeout = 20000;
    request.onload = () => {
      if (new URL(request.responseURL).pathname !== location.pathname) return location.reload(); // signed out
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
      if (known.get(key) === now || busy(old)) continue;
      old.replaceWith(document.importNode(el, true));
      known.set(key, now);
    }
  }
  if (told.length) said.textContent = told.join(" ");
  document.dispatchEvent(new Event("everystall:changed"));
}

for (const root of parts) {
  const known = new Map([...keyed(root)].map(([key, el]) => [key, text(el)]));
  const every = Number(root.dataset.every) * 1000;
  let timer, asking = false;
  const ask = async () => {
    clearTimeout(timer);
    if (asking || document.hidden) return;
    asking = true;
    try {
      put(root, await fetchPart(root.dataset.live), known);
      away.hidden = true;
    } catch {
      away.hidden = false;
    } finally {
      asking = false;
      timer = setTimeout(ask, every);
    }
  };
  document.addEventListener("visibilitychange", ask);
  timer = setTimeout(ask, every);
}

document.addEventListener("change", (event) => {
  if (event.target.dataset) event.target.dataset.touched = "yes";
});

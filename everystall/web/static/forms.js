// What forms gain by script; each of them works without it. Asks before what cannot be undone, sends a form once,
// shows a password, copies what is shown once, switches light and dark without a new page.

const dialog = document.getElementById("confirm");
const said = document.getElementById("said");

// ---- ask first, send once ----

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  // one of several buttons may ask for itself
  const asks = event.submitter?.dataset.confirm ? event.submitter.dataset : form.dataset;
  if (asks.confirm && form.dataset.sure !== "yes" && dialog?.showModal) {
    event.preventDefault();
    dialog.querySelector("h2").textContent = asks.confirm;
    dialog.querySelector("p").textContent = asks.because ?? "";
    dialog.querySelector("[value=yes]").textContent = asks.yes ?? "Yes";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "yes") return;
      form.dataset.sure = "yes";
      form.requestSubmit(event.submitter);
    }, { once: true });
    dialog.showModal();
    return;
  }
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button:not([type=button])")) button.setAttribute("aria-disabled", "true");
  if (form.dataset.waits) {
    event.submitter.dataset.label = event.submitter.textContent;
    said.textContent = event.submitter.textContent = form.dataset.waits;
  }
});

// back from the next page, as the browser remembered this one
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.forms) {
    delete form.dataset.sent;
    delete form.dataset.sure;
    for (const button of form.querySelectorAll("[aria-disabled]")) button.removeAttribute("aria-disabled");
    for (const button of form.querySelectorAll("[data-label]")) button.textContent = button.dataset.label;
  }
});

// ---- buttons that only a script can make work ----

for (const button of document.querySelectorAll("button[data-shows], button[data-copies]")) button.hidden = false;

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-shows], button[data-copies], [data-theme-is] button");
  if (!button) return;
  if (button.dataset.shows) {
    const field = document.getElementById(button.dataset.shows);
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.textContent = shown ? "Show" : "Hide";
    button.setAttribute("aria-pressed", String(!shown));
  } else if (button.dataset.copies) {
    await copy(button, document.getElementById(button.dataset.copies));
  } else {
    event.preventDefault();
    choose(button.value);
  }
});

async function copy(button, from) {
  let done = "Copied";
  try {
    await navigator.clipboard.writeText(from.textContent.trim());
  } catch { // plain http on another machine: browsers have no clipboard there
    getSelection().selectAllChildren(from);
    done = "Selected: press Ctrl+C";
  }
  const label = button.lastElementChild;
  label.textContent = done;
  said.textContent = done;
  setTimeout(() => { label.textContent = "Copy"; }, 4000);
}

// ---- light and dark ----

function choose(theme) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `theme=${theme}; Path=${document.documentElement.dataset.root || "/"}; Max-Age=31536000; SameSite=Lax${secure}`;
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const button of document.querySelectorAll("[data-theme-is] button")) {
    button.setAttribute("aria-pressed", String(button.value === theme));
  }
}

// ---- an address that names a closed part opens it ----

function open() {
  const named = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named?.localName === "details") named.open = true;
}
addEventListener("hashchange", open);
open();

// ---- of pages side by side, the one that is open is in view on a phone, too ----

document.querySelector(".top .filters [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });

// ---- what was said once is not said again by a reload ----

const address = new URL(location.href);
const once = ["said", "deleted"].filter((name) => address.searchParams.has(name));
if (document.body.dataset.home || once.length) {
  for (const name of once) address.searchParams.delete(name);
  history.replaceState(null, "", document.body.dataset.home ?? address);
}

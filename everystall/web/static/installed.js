// Everystall as an app: its service worker, the button that installs it, and the one that turns pushes on in this
// browser.

const SCRIPT = `${document.documentElement.dataset.root}/sw.js`;
let worker = null;
if (navigator.serviceWorker) {
  const policy = globalThis.trustedTypes?.createPolicy("everystall", {
    createScriptURL: (url) => { if (url !== SCRIPT) throw new TypeError("not a script of ours"); return url; },
  });
  worker = navigator.serviceWorker.register(policy ? policy.createScriptURL(SCRIPT) : SCRIPT).catch(() => null);
}

// ---- install ----

const install = document.querySelector("[data-installs]");
if (install) {
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    install.hidden = false;
    install.addEventListener("click", () => event.prompt(), { once: true });
  });
  addEventListener("appinstalled", () => { install.hidden = true; });
}

// ---- pushes in this browser ----

const form = document.querySelector("form[data-push]");
const say = (name) => {
  for (const el of document.querySelectorAll("[data-push-says]")) el.hidden = el.dataset.pushSays !== name;
};

async function turnOn() {
  if (await Notification.requestPermission() !== "granted") return say("denied");
  say("waits");
  try {
    const { pushManager } = await navigator.serviceWorker.ready;
    // whoever was signed in here before is told here no more
    await (await pushManager.getSubscription())?.unsubscribe();
    const made = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: form.dataset.push });
    form.elements.subscription.value = JSON.stringify(made);
    form.requestSubmit();
  } catch {
    say("failed");
  }
}

async function look() {
  if (!worker || !globalThis.PushManager || !globalThis.Notification || !await worker) {
    return say(globalThis.isSecureContext ? "unable" : "insecure");
  }
  if (Notification.permission === "denied") return say("denied");
  const subscribed = await (await worker).pushManager.getSubscription();
  say(form.dataset.on && subscribed ? "on" : form.dataset.on ? "lost" : "off");
}

if (form) {
  for (const button of document.querySelectorAll("[data-turns-push-on]")) button.addEventListener("click", turnOn);
  look();
}

// Whether WebSockets and streams get through to this browser (connection_check.html): each is opened, and good once
// its first message came.

const WAIT = 6000;

/** @param {HTMLElement} root @param {string} found good or bad */
function say(root, found) {
  root.firstElementChild.hidden = true;
  root.querySelector(`[data-if=${found}]`).hidden = false;
  root.dataset.found = found;
}

for (const root of document.querySelectorAll("[data-tries]")) {
  const address = new URL(root.dataset.address, location.href);
  const socket = root.dataset.tries === "socket";
  if (socket) address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const source = socket ? new WebSocket(address) : new EventSource(address);
  const end = (good) => {
    clearTimeout(late);
    source.onmessage = source.onerror = null;
    source.close();
    say(root, good ? "good" : "bad");
  };
  const late = setTimeout(end, WAIT, false);
  source.onmessage = () => end(true);
  source.onerror = () => end(false);
}

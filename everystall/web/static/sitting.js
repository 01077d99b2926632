// A browser elsewhere, seen and used here: pictures come over a WebSocket and are drawn as they come, mouse, touch and
// keys go back. Nothing that is typed stays on this page: the field holds one character that means nothing, so that
// deleting is noticed, and is emptied to it with each key.

const root = document.querySelector("[data-live-at]");
const canvas = root.querySelector("canvas");
const field = root.querySelector("#keys");
const said = root.querySelector("[data-said]");
const at = root.querySelector("[data-at]");
const paint = canvas.getContext("2d");
const EMPTY = "·";
/** Keys that write nothing. */
const KEYS = new Set(["Enter", "Tab", "Backspace", "Delete", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"]);

/** Whether anything ever came, and how often it was tried since. */
let socket, heard = false, tries = 0;
const yours = () => root.dataset.turn === "yours";

function send(what) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(what));
}

/** What the seller does counts on their turn only. */
const act = (what) => { if (yours()) send(what); };

// ---- what comes ----

async function draw(blob) {
  try {
    const picture = await createImageBitmap(blob);
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    paint.drawImage(picture, 0, 0);
    picture.close();
    root.dataset.shows = "";
  } finally {
    send({ do: "shown" });
  }
}

function stand(turn, text) {
  const before = root.dataset.turn;
  root.dataset.turn = turn;
  if (text && said.textContent !== text) said.textContent = text;
  for (const control of root.querySelectorAll("[data-do], [data-key], #keys")) control.disabled = turn !== "yours";
  if (turn === "yours" && before !== "yours" && matchMedia("(hover: hover)").matches) field.focus({ preventScroll: true });
}

function hear(message) {
  if (message.over) return location.reload();
  if (message.wait) return stand("wait", message.wait);
  if (root.dataset.turn === "wait") size();
  stand(message.turn, message.said);
  at.textContent = message.at;
  at.parentElement.hidden = !message.at;
}

function open() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${root.dataset.liveAt}`);
  socket.binaryType = "blob";
  socket.onmessage = ({ data }) => {
    heard = true;
    tries = 0;
    return data instanceof Blob ? draw(data) : hear(JSON.parse(data));
  };
  socket.onclose = ({ code, reason }) => {
    if (code === 1000 || code === 1008 || (heard && tries >= 8)) return location.reload(); // over; signed out; no way through
    if (code === 4001) return stand("wait", "You opened it in another tab or on another device. Load this page again to have it here.");
    if (code === 1013) return stand("wait", reason); // too many
    if (tries >= 8) {
      document.getElementById("no-way").hidden = false;
      return stand("wait", "No connection to the browser came about.");
    }
    stand("wait", heard ? "The connection was lost. Trying again…" : "There is no connection to the browser yet. Trying again…");
    setTimeout(open, Math.min(8, 2 ** tries++) * 500);
  };
}

/** The page is laid out for the room that there is here. */
function size() {
  const width = Math.round(root.querySelector(".sitting-stage").clientWidth);
  send({ do: "size", width, height: Math.max(480, Math.round(innerHeight * (width < 700 ? 0.6 : 0.75))) });
}
let resizing;
addEventListener("resize", () => {
  if (document.activeElement === field && !matchMedia("(hover: hover)").matches) return; // a phone's keyboard came up
  clearTimeout(resizing);
  resizing = setTimeout(size, 300);
});

// ---- mouse and touch ----

function place(event) {
  const box = canvas.getBoundingClientRect();
  const part = (value, whole) => Math.min(1, Math.max(0, value / whole));
  return { x: part(event.clientX - box.left, box.width), y: part(event.clientY - box.top, box.height) };
}

let pressed = null, moved = 0;
canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  if (event.pointerType !== "touch") {
    field.focus({ preventScroll: true });
    return act({ do: "down", ...place(event), clicks: Math.min(3, Math.max(1, clicks(event))) });
  }
  // a finger that stays is a mouse that is held down, for puzzles that are dragged; one that moves scrolls
  const here = place(event);
  pressed = { x: event.clientX, y: event.clientY, scrolls: false, holds: false, here };
  pressed.timer = setTimeout(() => {
    if (pressed && !pressed.scrolls) { pressed.holds = true; act({ do: "down", ...here }); }
  }, 350);
});
canvas.addEventListener("pointermove", (event) => {
  if (pressed && !pressed.holds) {
    const across = pressed.x - event.clientX, down = pressed.y - event.clientY;
    if (!pressed.scrolls && Math.hypot(across, down) < 8) return;
    pressed.scrolls = true;
    act({ do: "wheel", ...pressed.here, across, down });
    pressed.x = event.clientX;
    pressed.y = event.clientY;
    return;
  }
  if (event.timeStamp - moved < 33) return;
  moved = event.timeStamp;
  act({ do: "move", ...place(event) });
});
canvas.addEventListener("pointerup", (event) => {
  if (!pressed) return act({ do: "up", ...place(event), clicks: last.count });
  clearTimeout(pressed.timer);
  if (pressed.holds) act({ do: "up", ...place(event) });
  else if (!pressed.scrolls) {
    act({ do: "down", ...pressed.here });
    act({ do: "up", ...pressed.here });
  }
  pressed = null;
});
canvas.addEventListener("pointercancel", () => { clearTimeout(pressed?.timer); pressed = null; });
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("wheel", (event) => {
  if (!yours()) return;
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 32 : 1;
  act({ do: "wheel", ...place(event), across: event.deltaX * lines, down: event.deltaY * lines });
}, { passive: false });

/** Which click in a row at this place it is: pointer events do not tell. */
const last = { at: 0, x: 0, y: 0, count: 0 };
function clicks(event) {
  const near = event.timeStamp - last.at < 450 && Math.hypot(event.clientX - last.x, event.clientY - last.y) < 6;
  Object.assign(last, { at: event.timeStamp, x: event.clientX, y: event.clientY, count: near ? last.count + 1 : 1 });
  return last.count;
}

// ---- keys ----

const empty = () => { field.value = EMPTY; };
field.addEventListener("focus", empty);
field.addEventListener("blur", () => { field.value = ""; });
field.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return root.querySelector("[data-do=done]").focus();
  const all = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a";
  if (!all && (!KEYS.has(event.key) || event.altKey || event.metaKey)) return;
  event.preventDefault();
  act({ do: "key", key: all ? "Control+a" : `${event.shiftKey ? "Shift+" : event.ctrlKey ? "Control+" : ""}${event.key}` });
});
field.addEventListener("paste", (event) => {
  event.preventDefault();
  const text = event.clipboardData.getData("text").slice(0, 2000);
  if (text) act({ do: "text", text });
});
field.addEventListener("input", (event) => {
  if (event.isComposing) return;
  const typed = field.value.replace(EMPTY, "");
  if (field.value.length < EMPTY.length) act({ do: "key", key: "Backspace" });
  else if (typed) act({ do: "text", text: typed });
  empty();
});
field.addEventListener("compositionend", () => {
  const typed = field.value.replace(EMPTY, "");
  if (typed) act({ do: "text", text: typed });
  empty();
});

root.addEventListener("click", (event) => {
  const control = event.target.closest("[data-do], [data-key]");
  if (!control) return;
  act(control.dataset.do ? { do: control.dataset.do } : { do: "key", key: control.dataset.key });
});

document.getElementById("without").hidden = true;
open();

// Keys for the pairs: Y and N answer the one that is marked, J and K go on and back, U takes the last answer back.

const pairs = [...document.querySelectorAll(".match")];
let at = 0;

function mark(index) {
  pairs[at]?.removeAttribute("data-here");
  at = Math.min(Math.max(index, 0), pairs.length - 1);
  const pair = pairs[at];
  if (!pair) return;
  pair.dataset.here = "yes";
  return pair;
}

function go(index) {
  const pair = mark(index);
  pair?.focus({ preventScroll: true });
  pair?.scrollIntoView({ block: "center" });
}

const press = (button) => button?.click();
const keys = {
  y: () => press(pairs[at]?.querySelector("[value=same]")),
  n: () => press(pairs[at]?.querySelector("[value=apart]")),
  u: () => press(document.querySelector("[data-undo] button")),
  j: () => go(at + 1),
  k: () => go(at - 1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest?.("input, select, textarea")) return;
  const act = keys[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

document.getElementById("pairs").addEventListener("focusin", (event) => {
  const index = pairs.indexOf(event.target.closest(".match"));
  if (index >= 0) mark(index);
});

for (const hint of document.querySelectorAll("[data-with-script]")) hint.hidden = false;
mark(0);

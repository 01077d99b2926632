// A file is looked at without leaving the page, so that it stays chosen and is brought in with one more press; and how
// much of it is sent is shown. Without a script the same form leads to a page that says it.

import { ask, put } from "./ask.js";

const form = document.getElementById("import"), file = document.getElementById("import-file");
const look = form.querySelector("[value=look]"), take = form.querySelector("[value=take]");
const sending = document.getElementById("sending");
const bar = sending.querySelector("progress"), said = sending.querySelector("small");

function show(part) {
  bar.hidden = false;
  if (part < 1) bar.value = part * 100;
  else bar.removeAttribute("value"); // all is sent, and being read
  said.textContent = part < 1 ? `${Math.floor(part * 100)}% is sent.` : "It is being read.";
}

/** Which of the two is the next thing to do. */
function prefer(first, second) {
  first.classList.add("primary");
  second.classList.remove("primary");
}

async function lookAtIt() {
  const body = new FormData(form);
  body.set("do", "look");
  sending.hidden = false;
  show(0);
  look.disabled = take.disabled = true;
  try {
    const { found, away } = await ask(form.action, { method: "POST", part: "outlook", body, progress: show });
    if (away) return location.reload(); // signed out
    const outlook = found?.querySelector("#outlook");
    if (!outlook) throw new Error("no answer");
    put(found, "outlook");
    sending.hidden = true;
    const refused = outlook.querySelector("[data-refused]")?.dataset.refused;
    if (refused) return refuse(refused);
    prefer(take, look);
    document.getElementById("outlook").focus();
  } catch {
    bar.hidden = true;
    said.textContent = "It did not get through. Send it once more: nothing is made twice.";
  } finally {
    look.disabled = take.disabled = false;
  }
}

function refuse(why) {
  file.setCustomValidity(why);
  file.reportValidity();
}

look.addEventListener("click", (event) => {
  if (!form.reportValidity()) return;
  event.preventDefault();
  lookAtIt();
});

file.addEventListener("change", () => {
  file.setCustomValidity("");
  prefer(look, take);
  document.getElementById("outlook").replaceChildren();
});

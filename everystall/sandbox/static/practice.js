/* Shared by the practice sites: small helpers for plain pages, and the part of drift that moves things. */
"use strict";

const Practice = {
  /** A fresh element: Practice.make("button", {class: "btn", text: "Next", onclick: fn}, child, …). */
  make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  },

  /** Calls back on a click that a person (or a browser driven from outside) made; scripted .click() is ignored. */
  onTrusted(element, callback) {
    element.addEventListener("click", (event) => {
      if (event.isTrusted) callback(event);
    });
  },

  cookie(name) {
    const found = document.cookie.split("; ").find((pair) => pair.startsWith(name + "="));
    return found ? decodeURIComponent(found.slice(name.length + 1)) : null;
  },

  pause(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
  },

  /** Numbers in [0, 1) that are the same for the same seed. */
  random(seed) {
    let state = (seed * 2654435761) >>> 0 || 1;
    return () => {
      state ^= state << 13; state >>>= 0;
      state ^= state >>> 17;
      state ^= state << 5; state >>>= 0;
      return state / 4294967296;
    };
  },

  /** Drift of strength 3: the children in another order, each in one or two more boxes. */
  arrange(container) {
    const drift = window.PRACTICE?.drift;
    if (!drift || drift.strength < 3) return;
    const next = Practice.random(drift.seed + container.children.length);
    const children = [...container.children];
    for (let i = children.length - 1; i > 0; i--) {
      const j = Math.floor(next() * (i + 1));
      [children[i], children[j]] = [children[j], children[i]];
    }
    for (const child of children) {
      let box = Practice.make("div", { style: "display: contents" }, child);
      if (next() < 0.5) box = Practice.make("div", { style: "display: contents" }, box);
      container.append(box);
    }
    container.removeAttribute("data-arrange");
  },
};

document.addEventListener("DOMContentLoaded", () => {
  for (const container of document.querySelectorAll("[data-arrange]")) Practice.arrange(container);
});

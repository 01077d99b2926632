/* The practice eBay before the form: category, match, condition. */
"use strict";

(() => {
  const { make, onTrusted } = Practice;
  const data = JSON.parse(document.getElementById("prelist-data").textContent);
  const root = document.getElementById("prelist-root");
  const variant = window.PRACTICE.layout === "b";
  const some = () => `s0-1-${Math.random().toString(36).slice(2, 8)}`;
  let chosen = null;

  function dialog(heading, ...children) {
    const box = make("div", { class: "lightbox-dialog", role: "dialog", "aria-modal": "true", "aria-label": heading },
      make("h2", { class: "lightbox-title", text: heading }), ...children);
    root.replaceChildren(make("div", { class: "shade" }, box));
    return box;
  }

  // ---- 1: what is it? ----

  function identify() {
    const input = make("input", { "aria-label": "Enter a category value", placeholder: "Search categories", autocomplete: "off" });
    const options = make("div", { class: "category-options", role: "radiogroup", "aria-label": "Categories" });
    const done = make("button", { class: "btn btn--primary prelist-done", type: "button", disabled: true, text: variant ? "Next" : "Done" });
    const name = some();
    let asked = 0;
    let timer = 0;

    function show(found) {
      options.replaceChildren(...found.map((category) => {
        const radio = make("input", { type: "radio", name, value: category.id, id: some() });
        radio.checked = chosen?.id === category.id;
        radio.addEventListener("change", () => {
          chosen = category;
          history.replaceState(null, "", `/sl/prelist/identify?caty=${category.id}`);
          done.disabled = false;
        });
        return make("div", { class: "category-option" }, radio, make("label", { for: radio.id, text: category.label }));
      }));
      if (!found.length) options.append(make("p", { class: "small", text: "No categories found. Try other words." }));
    }

    async function look() {
      const mine = ++asked;
      const answer = await fetch(`/sl/prelist/api/categories?q=${encodeURIComponent(input.value)}`).then((r) => r.json()).catch(() => null);
      if (mine === asked && answer) show(answer.categories);
    }

    input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, 120); });
    onTrusted(done, () => (window.PRACTICE.drift.strength >= 4 ? how() : match()));
    dialog("Tell us what you’re selling", input, options, make("div", { class: "lightbox-footer" }, done));
    const known = new URLSearchParams(location.search).get("caty");
    const first = data.categories.find((category) => String(category.id) === known);
    if (first) {
      chosen = first;
      done.disabled = false;
      show([first]);
    }
    input.focus();
  }

  /** A step that the site has only after a strong drift. */
  function how() {
    const next = make("button", { class: "btn btn--primary prelist-how", type: "button", text: "Start from scratch" });
    onTrusted(next, match);
    dialog("How do you want to list?", make("p", { text: "You can write the listing yourself, or let us start it for you." }), next);
  }

  // ---- 2: a product of the catalogue? ----

  function match() {
    const next = make("button", { class: "btn btn--primary prelist-no-match", type: "button", text: variant ? "Skip" : "Continue without match" });
    onTrusted(next, condition);
    root.replaceChildren(make("section", { class: "card prelist-match" }, make("p", { class: "small", text: chosen.label }), make("h2", { text: "Find a match" }),
      make("p", { text: "We found no product that matches. You can go on and describe your item yourself." }), next));
  }

  // ---- 3: in what condition? ----

  function condition() {
    const name = some();
    let picked = null;
    const next = make("button", { class: "btn btn--primary prelist-continue", type: "button", disabled: true, text: variant ? "Continue" : "Continue to listing" });
    const alert = make("p", { class: "notice notice--bad", role: "alert", hidden: true });
    const rows = chosen.conditions.map((label) => {
      const radio = make("input", { type: "radio", name, value: label, id: some() });
      radio.addEventListener("change", () => { picked = label; next.disabled = false; });
      return make("div", { class: "condition-option" }, radio, make("label", { for: radio.id, text: label }));
    });
    onTrusted(next, async () => {
      next.disabled = true;
      const answer = await fetch("/lstng/api/listing_draft", {
        method: "POST", headers: { "content-type": "application/json", srt: data.srt },
        body: JSON.stringify({ categoryId: chosen.id, condition: picked }),
      }).then((r) => r.json()).catch(() => ({ errors: [] }));
      if (answer.draftId) {
        location.assign(`/lstng?draftId=${answer.draftId}&mode=AddItem`);
        return;
      }
      alert.textContent = answer.errors?.[0]?.message ?? "Sorry, something went wrong. Please try again.";
      alert.hidden = false;
      next.disabled = false;
    });
    root.replaceChildren(make("section", { class: "card prelist-condition" }, make("p", { class: "small", text: chosen.label }),
      make("fieldset", {}, make("legend", { text: "Select the condition of your item" }), ...rows), alert, next));
  }

  identify();
})();

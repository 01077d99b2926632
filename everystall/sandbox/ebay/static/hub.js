/* The practice eBay's Seller Hub and item page: row menus, ending, deleting drafts. */
"use strict";

(() => {
  const { make, onTrusted } = Practice;
  const REASONS = {
    NotAvailable: "The item is no longer available for sale",
    Incorrect: "There was an error in the listing",
    LostOrBroken: "The item was lost or broken",
  };

  async function call(path, body) {
    const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json", srt: window.SRT }, body: JSON.stringify(body) })
      .then((r) => r.json()).catch(() => ({ errors: [] }));
    return answer.errors ? answer.errors[0]?.message ?? "Sorry, something went wrong. Please try again." : null;
  }

  /** A dialog with one confirming button; `act` returns what is wrong, or null. */
  function dialog(heading, children, confirm, act, ready) {
    const alert = make("p", { class: "notice notice--bad", role: "alert", hidden: true });
    const cancel = make("button", { class: "btn dialog-cancel", type: "button", text: "Cancel" });
    const box = make("div", { class: "lightbox-dialog", role: "dialog", "aria-modal": "true", "aria-label": heading },
      make("h2", { class: "lightbox-title", text: heading }), ...children, alert, make("div", { class: "lightbox-footer" }, cancel, confirm));
    const shade = make("div", { class: "shade" }, box);
    onTrusted(cancel, () => shade.remove());
    onTrusted(confirm, async () => {
      confirm.disabled = true;
      const wrong = await act();
      if (wrong) {
        alert.textContent = wrong;
        alert.hidden = false;
        confirm.disabled = !ready();
      }
    });
    document.body.append(shade);
  }

  function endEarly(id) {
    let reason = null;
    const confirm = make("button", { class: "btn btn--primary end-confirm", type: "button", disabled: true, text: "End listing" });
    const rows = Object.entries(REASONS).map(([value, text]) => {
      const radio = make("input", { type: "radio", name: "endReason", value });
      radio.addEventListener("change", () => { reason = value; confirm.disabled = false; });
      return make("label", { class: "end-reason" }, radio, " ", text);
    });
    dialog("End your listing early?", [make("p", { text: "Tell us why you are ending it. Buyers will no longer be able to buy the item." }), ...rows], confirm, async () => {
      const wrong = await call("/sh/api/end", { itemId: id, reason });
      if (!wrong) location.assign(location.pathname.startsWith("/itm/") ? `/itm/${id}?ended=1` : "/sh/lst/active?ended=1");
      return wrong;
    }, () => reason !== null);
  }

  function deleteDraft(id) {
    const confirm = make("button", { class: "btn btn--primary delete-confirm", type: "button", text: "Delete" });
    dialog("Delete this draft?", [make("p", { text: "You can’t get it back." })], confirm, async () => {
      const wrong = await call("/sh/api/drafts/delete", { draftId: id });
      if (!wrong) location.assign("/sh/lst/drafts?deleted=1");
      return wrong;
    }, () => true);
  }

  for (const button of document.querySelectorAll(".row-actions")) {
    onTrusted(button, () => {
      const menu = button.parentElement.querySelector("[role=menu]");
      menu.hidden = !menu.hidden;
      button.setAttribute("aria-expanded", String(!menu.hidden));
    });
  }
  for (const button of document.querySelectorAll("[data-end]")) onTrusted(button, () => endEarly(button.dataset.end));
  for (const button of document.querySelectorAll("[data-delete]")) onTrusted(button, () => deleteDraft(button.dataset.delete));
})();

"""What an element shows of itself, as it is remembered and compared: never anything of a seller's. What was
written into a page is cut out, and so are names; of the texts beside it marks are kept that do not tell them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from everystall.browser.targets import Target

if TYPE_CHECKING:
    from playwright.async_api import Locator

#: What an element shows of itself, by name (TRAITS).
Look = Mapping[str, Any]
#: Words that were written into the page and are shorter hide nothing.
SHORT = 3
#: From so many characters on a part of what was written gives it away, too.
PART = 12

#: What may be pressed or filled in.
ANY = "input, textarea, select, button, a, summary, label, li, [role], [tabindex], [contenteditable]"
#: elements → what each shows of itself. `kind`: what can be done with it; words: nothing.
TRAITS = r"""(elements) => {
  const clean = (text) => (text ?? "").replace(/\s+/g, " ").trim();
  const short = (text) => { const words = clean(text); return words.length > 80 ? "" : words; };
  const FIELD = "input, textarea, select, [contenteditable]";
  const PRESSED = "input[type=submit], input[type=button], input[type=reset], input[type=image]";
  const words = (e) => {
    if (e.matches(PRESSED)) return short(e.value || e.alt);
    if (!e.querySelector(FIELD)) return short(e.innerText ?? e.textContent);
    const found = [], walk = e.ownerDocument.createTreeWalker(e, NodeFilter.SHOW_TEXT);
    for (let one = walk.nextNode(); one; one = walk.nextNode())
      if (!one.parentElement.closest(FIELD)) found.push(one.data);
    return short(found.join(" "));  // "Good" and "Small flaws" are two words for one thing, not one word
  };
  const kindOf = (e, tag, type, role) => {
    if (tag === "input" && type === "file") return "file";
    if ([type, role].some((one) => ["checkbox", "radio", "switch"].includes(one))) return "check";
    if (tag === "select") return "select";
    const pressed = ["button", "submit", "reset", "image"].includes(type);
    const typed = tag === "textarea" || e.isContentEditable || (tag === "input" && !pressed);
    if (typed) return e.readOnly ? "press" : "text";
    if (["input", "button", "a", "summary", "label", "li"].includes(tag)) return "press";
    if (e.hasAttribute("tabindex")) return "press";
    if (/^(button|link|tab|option|menuitem|menuitemradio|treeitem|combobox)$/.test(role)) return "press";
    return getComputedStyle(e).cursor === "pointer" ? "press" : "words";
  };
  const labelOf = (e) => {
    const by = (e.getAttribute("aria-labelledby") ?? "").split(/\s+/).filter(Boolean)
      .map((id) => e.ownerDocument.getElementById(id)).filter(Boolean).map(words).join(" ");
    const around = [...(e.labels ?? [])].map(words).join(" ");
    return [by, e.getAttribute("aria-label"), around, e.getAttribute("title")].map(short).find(Boolean) ?? "";
  };
  // texts beside it but for its own label and what is above, which say that already, in the smallest part of
  // the page that has any
  const HEADINGS = "h1, h2, h3, h4, h5, h6, legend";
  const SILENT = "option, script, style, textarea, [contenteditable], [hidden]";
  const nearOf = (e, label) => {
    const own = [e, ...(e.labels ?? [])];
    for (let around = e.parentElement, up = 0; around && up < 4; around = around.parentElement, up++) {
      if (around.matches("body, main, form, [role=dialog]")) break;
      const found = [], walk = document.createTreeWalker(around, NodeFilter.SHOW_TEXT);
      for (let one = walk.nextNode(); one && found.length < 12; one = walk.nextNode()) {
        const silent = one.parentElement.closest(`${SILENT}, ${HEADINGS}`);
        if (silent || own.some((its) => its.contains(one))) continue;
        const said = short(one.data);
        if (said && said !== label) found.push(said.replace(/\d+/g, "0"));
      }
      if (found.length || around.querySelector(HEADINGS)) return found;
    }
    return [];
  };
  // what a field takes, how a button says that it opens something, and of what kind a label's field is
  const ASKS = ["inputmode", "maxlength", "minlength", "rows", "cols", "autocomplete", "multiple", "accept",
    "min", "max", "step", "pattern", "required", "autocapitalize", "spellcheck", "aria-haspopup"];
  const asksOf = (e) => ASKS.filter((name) => e.hasAttribute(name))
    .map((name) => `${name}=${e.getAttribute(name)}`)
    .concat(e.hasAttribute("aria-pressed") ? ["aria-pressed"] : [])
    .concat(e.control ? [`for=${e.control.type}`] : []);
  const stepsOf = (e) => {
    const found = [];
    for (let up = e; up.parentElement && up.tagName !== "BODY" && found.length < 5; up = up.parentElement) {
      const kin = [...up.parentElement.children].filter((one) => one.tagName === up.tagName);
      found.push(`${up.tagName.toLowerCase()}:${kin.indexOf(up) + 1}of${kin.length}`);
    }
    return found;
  };
  // which fields the dialog has in which it is: two that say "Save" are of two dialogs
  const DIALOG = "dialog, [role=dialog], [role=alertdialog], [aria-modal=true]", dialogs = new Map();
  const insideOf = (e) => {
    const dialog = e.closest(DIALOG);
    if (!dialog) return [];
    if (!dialogs.has(dialog)) {
      const many = {};
      for (const one of dialog.querySelectorAll(FIELD)) {
        const name = `${one.tagName.toLowerCase()}:${one.type ?? ""}`;
        many[name] = (many[name] ?? 0) + 1;
      }
      dialogs.set(dialog, Object.entries(many).map(([name, number]) => `${name}:${number}`).sort());
    }
    return dialogs.get(dialog).length ? dialogs.get(dialog) : ["no field"];
  };
  const rankOf = (e, same) => {
    const kin = [...e.ownerDocument.querySelectorAll(same)];
    return `${kin.indexOf(e)}of${kin.length}`;
  };
  // ids that count on (s0-1-abcdef-1, …-2, …-3) are made up for each page
  const stem = (id) => (/\d$/.test(id) ? id.replace(/\d+$/, "") : null), stems = new Map();
  for (const { id } of elements[0]?.ownerDocument.querySelectorAll("[id]") ?? [])
    stems.set(stem(id), (stems.get(stem(id)) ?? 0) + 1);
  const idOf = (id) => (stem(id) !== null && stems.get(stem(id)) > 2 ? "" : id);
  const places = new Map(elements.map((e, place) => [e, place]));
  return elements.map((e) => {
    const tag = e.tagName.toLowerCase(), role = e.getAttribute("role") ?? "";
    const type = tag === "input" ? (e.getAttribute("type") ?? "text").toLowerCase() : "";
    const kind = kindOf(e, tag, type, role), label = labelOf(e);
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    const same = role ? `${tag}[role="${role}"]` : tag;
    let heading = "", under = "", place = 0, many = 0, steps = 0;
    for (let around = e.parentElement; around && !heading && steps < 12; around = around.parentElement) {
      steps++;
      const one = [...around.querySelectorAll(HEADINGS)].filter((one) =>
        one.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING && short(one.textContent)).at(-1);
      if (!one) continue;
      heading = short(one.textContent);
      const kin = [...around.querySelectorAll(same)];
      [place, many] = [kin.indexOf(e), kin.length];
      let depth = 0;
      for (let up = one; up !== around; up = up.parentElement) depth++;
      const said = `${one.tagName.toLowerCase()}:text-is(${JSON.stringify(heading)})`;
      under = `:has(${"> * ".repeat(depth - 1)}> ${said}) `;
    }
    const path = [], around = [];
    for (let up = e.parentElement; up; up = up.parentElement) {
      const name = up.tagName.toLowerCase();
      if (name !== "div" && name !== "span" && name !== "html" && path.length < 6) path.push(name);
      if (places.has(up)) around.push(places.get(up));
    }
    return {
      kind, tag, type, role, path, around, heading, under, same, nth: place,
      place: many ? `${place + 1}of${many}` : "",
      label, placeholder: short(e.getAttribute("placeholder")),
      text: kind === "press" || kind === "words" ? words(e) : "",
      near: nearOf(e, label), asks: asksOf(e), steps: stepsOf(e), rank: rankOf(e, same), inside: insideOf(e),
      id: idOf(e.id ?? ""), name: e.getAttribute("name") ?? "", classes: [...e.classList],
      data: [...e.attributes].filter((a) => a.name.startsWith("data-")).map((a) => `${a.name}=${a.value}`),
      visible: style.visibility === "visible" && box.width > 0 && box.height > 0,
      enabled: !e.matches(":disabled") && e.getAttribute("aria-disabled") !== "true",
    };
  });
}"""
#: A field's value, whether a box is ticked, the words of what is chosen, or of what is no field.
SHOWN = """(one) => one.matches("[type=checkbox], [type=radio]") ? one.checked
  : one.matches("select") ? (one.selectedOptions[0]?.textContent.trim() ?? "")
  : one.matches("input, textarea") ? one.value
  : one.isContentEditable ? one.innerText : one.textContent.trim()"""
#: Names that a page makes up anew, or that may be of a person or a thing.
MADE_UP = re.compile(r"[0-9a-f]{8,}|\d{4,}|.{60,}|\b(?=[a-z\d]{5})[a-z]*\d+[a-z]", re.IGNORECASE)


async def look_of(found: Locator, timeout: float | None = None) -> Look:
    """`timeout` in milliseconds; none: the page's own."""
    return await found.evaluate(  # type: ignore[no-any-return]
        f"(one) => ({TRAITS})([one])[0]", timeout=timeout
    )


def layout_of(url: str, frame: str | None) -> str:
    """Where a target is, without whose it is: the address's first part, and the frame."""
    first = urlsplit(url).path.strip("/").split("/")[0]
    return f"/{'' if MADE_UP.search(first) else first}" + (f" {frame}" if frame else "")


def impersonal(look: Look, target: Target, written: Iterable[str], names: Iterable[str] = ()) -> Look:
    """Without what is a seller's: values become the places that they fill, what was written goes, and so do
    names."""
    written, names = list(written), list(names)

    def clean(text: str) -> str:
        for name, value in filter(lambda pair: pair[1], target.values):
            whole = rf"(?<!\w){re.escape(value)}(?!\w)"
            text = re.sub(whole, f"{{{name}}}", text, flags=re.IGNORECASE)
        return "" if is_of(text, written) else nameless(text, names)

    cleaned: dict[str, Any] = dict(look)
    for trait in ("label", "text", "heading", "placeholder"):
        cleaned[trait] = clean(look[trait])
    for trait in ("id", "name"):
        cleaned[trait] = "" if MADE_UP.search(look[trait]) else clean(look[trait])
    for trait in ("data", "classes"):
        cleaned[trait] = sorted(filter(None, (clean(one) for one in look[trait] if not MADE_UP.search(one))))
    if "near" in look:
        cleaned["near"] = sorted({_mark(said) for said in map(clean, look["near"]) if said})
    for trait in ("under", "same", "nth"):
        cleaned.pop(trait, None)
    return cleaned


def without(text: str, written: Iterable[str]) -> str:
    for one in sorted((one for one in written if len(one) >= SHORT), key=len, reverse=True):
        text = re.sub(re.escape(one), "***", text, flags=re.IGNORECASE)
    return text


def nameless(text: str, names: Iterable[str]) -> str:
    """Without these, as whole words: a name may be a part of any other."""
    for one in sorted((one for one in names if len(one) >= SHORT), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(one)}(?!\w)", "***", text, flags=re.IGNORECASE)
    return text


def is_of(text: str, written: Iterable[str]) -> bool:
    """It holds what was written, or is a good part of that."""
    said = text.casefold()
    words = (one.casefold() for one in written if len(one) >= SHORT)
    return any(one in said or (len(said) >= PART and said in one) for one in words)


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+|\{\w+\}", text)


def _mark(text: str) -> str:
    """Eight bits of a text: enough to know it again beside an element, too few to tell what it said."""
    return hashlib.sha256(" ".join(words(text.casefold())).encode()).hexdigest()[:2]

// Says times as the reader would: "3 minutes ago", in their own time zone; counts down where a thing ends, and up
// where one goes on.
// Without it the page says them in UTC.

/** Each is made for the first time that needs it: they cost a phone half a tenth of a second, and most pages say none. */
const once = (make) => {
  let made;
  return (...given) => (made ??= make()).format(...given);
};
const relative = once(() => new Intl.RelativeTimeFormat("en", { numeric: "auto" }));
const date = once(() => new Intl.DateTimeFormat(undefined, { dateStyle: "medium" }));
const dayOnly = once(() => new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" }));
const full = once(() => new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }));
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

function near(at) {
  const seconds = (at - Date.now()) / 1000, far = Math.abs(seconds);
  if (far >= 7 * 86400) return date(at);
  const unit = UNITS.find(([, length]) => far >= length);
  if (!unit) return seconds > 0 ? "in less than a minute" : "just now";
  return relative(Math.round(seconds / unit[1]), unit[0]);
}

function left(at) {
  const seconds = Math.max(0, Math.round((at - Date.now()) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function lasted(at) {
  const seconds = Math.max(0, Math.floor((Date.now() - at) / 1000)); // their clock may be behind
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `since ${near(at)}`;
}

function count() {
  for (const el of document.querySelectorAll("time[data-since]")) {
    const at = new Date(el.dateTime);
    el.textContent = lasted(at);
    el.title = full(at);
  }
}

function say() {
  count();
  for (const el of document.querySelectorAll("time[data-when]")) {
    const at = new Date(el.dateTime);
    if (el.dataset.when === "day-only") {
      el.textContent = dayOnly(at);
      continue;
    }
    el.textContent = el.dataset.when === "near" ? near(at) : (el.dataset.when === "day" ? date : full)(at);
    el.title = full(at);
  }
  for (const el of document.querySelectorAll("time[data-left]")) {
    const at = new Date(el.dateTime);
    el.textContent = left(at);
    if (at > Date.now()) continue;
    const over = document.getElementById(el.dataset.left);
    if (el.closest("[data-until]").querySelector("[data-pairing=looked], [data-pairing=accepted]")) continue;
    if (over?.hidden) {
      over.hidden = false;
      over.focus();
      el.closest("[data-until]").hidden = true;
    }
  }
}

say();
setInterval(say, document.querySelector("time[data-left]") ? 1000 : 20000);
setInterval(count, 1000);
document.addEventListener("everystall:changed", say);

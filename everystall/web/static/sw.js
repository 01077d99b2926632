// The service worker: shows pushes, leads to what they are about, and has one page for when there is no network.
// It keeps that page and what it is made of, which is nobody's; never a page with anything of the seller's in it.
// SHELL stands above: the server says what that is.

const NAME = `everystall ${SHELL.files.join(" ")}`;

addEventListener("install", (event) => {
  event.waitUntil(caches.open(NAME).then((kept) => kept.addAll(SHELL.files)).then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name !== NAME) await caches.delete(name);
    await clients.claim();
  })());
});

addEventListener("fetch", (event) => {
  const { request } = event, { pathname, search } = new URL(request.url);
  if (request.method !== "GET") return;
  if (request.mode === "navigate") event.respondWith(fetch(request).catch(() => caches.match(`${SHELL.root}/offline`)));
  else if (SHELL.files.includes(pathname + search)) event.respondWith(fetch(request).catch(() => caches.match(request)));
});

addEventListener("push", (event) => {
  let told = {};
  try { told = event.data.json(); } catch { /* not ours; a browser wants something to be shown all the same */ }
  event.waitUntil(registration.showNotification(told.title ?? "Everystall", {
    body: told.body ?? "Something happened. Open Everystall to see what.",
    tag: told.tag, icon: SHELL.icon, badge: SHELL.badge, data: { url: told.url ?? `${SHELL.root}/notifications`, page: told.page },
  }));
});

/** The whole address of a path of ours, else null. */
function ours(path) {
  const url = path.startsWith("/") ? new URL(path, location.origin) : null;
  return url?.origin === location.origin ? url.href : null;
}
const without = (address) => address.split("#")[0];

addEventListener("notificationclick", (event) => {
  event.notification.close();
  const { url = `${SHELL.root}/`, page = url } = event.notification.data ?? {};
  const there = ours(url), shown = ours(page);
  if (!there) return;
  event.waitUntil((async () => {
    // no tab is led elsewhere: somebody may be writing in it
    for (const client of await clients.matchAll({ type: "window" })) {
      if (!shown || without(client.url) !== without(shown)) continue;
      await client.focus().catch(() => {});
      if (there !== shown) await fetch(there, { redirect: "manual" }).catch(() => {}); // it is read now
      return;
    }
    await clients.openWindow(there);
  })());
});

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
    tag: told.tag, icon: SHELL.icon, badge: SHELL.badge, data: { url: told.url ?? `${SHELL.root}/notifications` },
  }));
});

addEventListener("notificationclick", (event) => {
  event.notification.close();
  const path = event.notification.data?.url ?? `${SHELL.root}/`;
  const url = path.startsWith("/") ? new URL(path, location.origin) : null;
  if (!url || url.origin !== location.origin) return;
  event.waitUntil((async () => {
    for (const client of await clients.matchAll({ type: "window" })) {
      try {
        await client.navigate(url.href);
        return await client.focus().catch(() => {});
      } catch { /* a tab that is closing, or not ours to lead */ }
    }
    await clients.openWindow(url.href);
  })());
});

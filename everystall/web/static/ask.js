// Asks our own server, for the scripts of a page. XHR because it tells how far an upload is, and parses HTML into a
// document without scripts, which Trusted Types have nothing against.

/** What stands in each form against those of other sites. */
const proof = () => document.querySelector("input[name=csrf]")?.value ?? "";

/**
 * @param {string} path
 * @param {{ method?: string, part?: string, body?: XMLHttpRequestBodyInit, type?: string, as?: "document" | "json" | "blob",
 *   progress?: (part: number) => void }} [how] `part`: the block of the page that is asked for; `as`: what is answered.
 * @returns {Promise<{ status: number, found: any, away: boolean }>} `away`: it led to another page, as where somebody is
 *   signed out. Rejects where nothing answers.
 */
export function ask(path, { method = "GET", part, body, type, as = "document", progress } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, path);
    request.responseType = as;
    if (part) request.setRequestHeader("X-Part", part);
    if (type) request.setRequestHeader("Content-Type", type);
    if (method !== "GET") request.setRequestHeader("X-CSRF-Token", proof());
    if (progress) request.upload.onprogress = (event) => progress(event.loaded / event.total);
    else request.timeout = 20000;
    request.onload = () => resolve({
      status: request.status,
      found: as === "document" ? request.response?.body : request.response,
      away: new URL(request.responseURL).pathname !== new URL(path, location.href).pathname,
    });
    request.onerror = request.ontimeout = request.onabort = () => reject(new Error("no answer"));
    request.send(body);
  });
}

/** As it reads; the proof in its forms is another in each answer. */
const text = (el) => el.outerHTML.replace(/(name="csrf" value=")\w+/g, "$1");

/** Puts what was answered in the place of what has the same id. */
export function put(found, id) {
  const fresh = found.querySelector(`#${id}`), old = document.getElementById(id);
  if (fresh && old && text(fresh) !== text(old)) old.replaceWith(document.importNode(fresh, true));
}

/** Another tab signed in again: its forms have another proof. False: nobody is signed in. */
export async function renew() {
  const { found, away, status } = await ask(location.pathname);
  const fresh = !away && status === 200 && found?.querySelector("input[name=csrf]")?.value;
  for (const field of fresh ? document.querySelectorAll("input[name=csrf]") : []) field.value = fresh;
  return Boolean(fresh);
}

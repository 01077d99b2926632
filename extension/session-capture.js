// What is taken of one marketplace: its cookies, the storage of its open tab, and what this browser tells any page
// of itself: user agent, languages, time zone. Whether the seller is signed in is told by cookies that only a
// sign-in sets. Keeps nothing.

import { cookiesOf, storageOf } from './lib/browser.js';

/** @import { Marketplace } from './lib/marketplaces.js' */

/** The server takes 2 MB; storage beyond this (in characters) is left out, the largest entries first. */
export const STORAGE_LIMIT = 900_000;

/**
 * Every one of the marketplace's sign-in cookies is there and says something.
 * @param {Pick<chrome.cookies.Cookie, 'name' | 'value'>[]} cookies
 * @param {Pick<Marketplace, 'signIn'>} marketplace
 */
export function isSignedIn(cookies, marketplace) {
  return marketplace.signIn.every((name) => cookies.some((one) => one.name === name && one.value !== ''));
}

/**
 * A hash of the sign-in cookies: another one means that the server's copy is old.
 * @param {Pick<chrome.cookies.Cookie, 'name' | 'value' | 'domain' | 'path'>[]} cookies
 * @param {Pick<Marketplace, 'signIn'>} marketplace
 */
export async function printOf(cookies, marketplace) {
  const told = cookies
    .filter((one) => marketplace.signIn.includes(one.name))
    .map((one) => JSON.stringify([one.domain, one.path, one.name, one.value]))
    .sort()
    .join('\n');
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(told));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * The entries that fit, smallest first: what a sign-in needs is small, what is large is a cache.
 * @param {Record<string, string>} storage
 * @param {number} limit characters
 * @returns {Record<string, string>}
 */
export function fitting(storage, limit) {
  const size = (/** @type {[string, string]} */ [key, value]) => JSON.stringify([key, value]).length;
  let left = limit;
  return Object.fromEntries(
    Object.entries(storage)
      .filter(([key]) => key.length <= 2000)
      .sort((a, b) => size(a) - size(b))
      .filter((entry) => (left -= size(entry)) >= 0)
      .slice(0, 5000),
  );
}

/** A language's tag, as the server takes it; what else a browser was told to say stays here. */
const LANGUAGE = /^(?=.{2,35}$)[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$/;

/** @param {readonly string[]} languages the preferred one first */
export function spoken(languages) {
  return languages.filter((one) => LANGUAGE.test(one)).slice(0, 20);
}

/**
 * What is handed over, as `POST /api/sessions/sync` takes it, with the print of its sign-in; null where nobody
 * is signed in.
 * @param {string} name
 * @param {Marketplace} marketplace
 */
export async function capture(name, marketplace) {
  const [cookies, storage] = await Promise.all([cookiesOf(marketplace), storageOf(marketplace)]);
  if (!isSignedIn(cookies, marketplace)) return null;
  return {
    print: await printOf(cookies, marketplace),
    body: {
      marketplace: name,
      // those that a sign-in needs come first, should there ever be too many
      cookies: cookies
        .sort((a, b) => Number(marketplace.signIn.includes(b.name)) - Number(marketplace.signIn.includes(a.name)))
        .slice(0, 500),
      // null: not looked at; the server keeps what it has
      localStorage: storage && fitting(storage.localStorage, STORAGE_LIMIT / 2),
      sessionStorage: storage && fitting(storage.sessionStorage, STORAGE_LIMIT / 2),
      isLoggedIn: true,
      timestamp: new Date().toISOString(),
      userAgent: navigator.userAgent,
      languages: spoken(navigator.languages),
      timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    },
  };
}

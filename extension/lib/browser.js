// The one way to the browser's own API (`chrome` in Chrome and Firefox alike): what is kept, which hosts are
// allowed, and what is read of a marketplace. Never writes a cookie, and never reads what is not allowed.

/** @import { Marketplace } from './marketplaces.js' */

/**
 * Which server this browser hands over to. The token may hand over sessions and nothing else.
 * @typedef {{ server: string, account: string, name: string, token: string }} Pairing
 */

/**
 * One marketplace as the seller connected it. Nothing in it is secret: `print` is a hash that tells whether
 * the sign-in is another than the one handed over.
 * @typedef {object} Connected
 * @property {string | null} profile the server's id of the account; null until the first hand-over
 * @property {string[]} profiles all that this browser ever handed over here, to be forgotten with it
 * @property {boolean} signedIn as last seen in this browser
 * @property {string | null} print of the sign-in that the server has
 * @property {number | null} syncedAt milliseconds since 1970
 * @property {boolean} due a hand-over waits (offline, or too soon after the last)
 * @property {boolean} signedOutDue a log-out has still to be told
 * @property {string | null} doubted the print of the sign-in with which the site showed its sign-in page last
 * @property {number} notBefore when to try again, milliseconds since 1970
 * @property {'connected' | 'expired' | null} status as the server last said
 * @property {string | null} problem a sentence for the seller
 * @property {Candidate[] | null} which the accounts to choose from, where the sign-in does not say whose it is
 */

/** @typedef {{ browserProfileId: string, label: string | null, accountName: string | null }} Candidate */

/** @typedef {{ localStorage: Record<string, string>, sessionStorage: Record<string, string> }} Storage */

// a key for each, so that two writers never overwrite each other
const CONNECTED = 'connected:';
const FORGET = 'forget:';
/** Milliseconds that a tab may take to answer: one that the browser froze, or that shows a dialog, does not. */
const PATIENCE = 2000;

/** What we wrote there ourselves. @param {string} key @returns {Promise<any>} */
async function kept(key, /** @type {chrome.storage.StorageArea} */ area = chrome.storage.local) {
  return (await area.get(key))[key];
}

/** @returns {Promise<Pairing | null>} */
export async function findPairing() {
  return (await kept('pairing')) ?? null;
}

/** @param {Pairing | null} pairing */
export async function savePairing(pairing) {
  await (pairing ? chrome.storage.local.set({ pairing }) : chrome.storage.local.remove('pairing'));
}

/** @param {string} name @returns {Promise<Connected | null>} */
export async function findConnected(name) {
  return (await kept(CONNECTED + name)) ?? null;
}

/** @param {string} name @param {Connected | null} connected */
export async function saveConnected(name, connected) {
  const key = CONNECTED + name;
  await (connected ? chrome.storage.local.set({ [key]: connected }) : chrome.storage.local.remove(key));
}

/** Accounts that the server has still to be asked to forget. @returns {Promise<string[]>} */
export async function findForgets() {
  const keys = Object.keys(await chrome.storage.local.get(null));
  return keys.filter((key) => key.startsWith(FORGET)).map((key) => key.slice(FORGET.length));
}

/** @param {string[]} profiles */
export async function addForgets(profiles) {
  await chrome.storage.local.set(Object.fromEntries(profiles.map((profile) => [FORGET + profile, true])));
}

/** @param {string[]} profiles */
export async function dropForgets(profiles) {
  await chrome.storage.local.remove(profiles.map((profile) => FORGET + profile));
}

/** A sentence that the popup shows until the next thing happens. @returns {Promise<string | null>} */
export async function findNotice() {
  return (await kept('notice')) ?? null;
}

/** @param {string | null} notice */
export async function saveNotice(notice) {
  await chrome.storage.local.set({ notice });
}

/** Which marketplace the seller said yes to, while the browser's own question is open (it may close the
 * popup); for the first who asks. @returns {Promise<string | null>} */
export async function takeIntent() {
  return navigator.locks.request('intent', async () => {
    const intent = (await kept('intent', chrome.storage.session)) ?? null;
    await chrome.storage.session.remove('intent');
    return intent;
  });
}

/** @param {string} name */
export async function saveIntent(name) {
  await chrome.storage.session.set({ intent: name });
}

/** @param {Marketplace} marketplace */
export async function isAllowed(marketplace) {
  return chrome.permissions.contains({ origins: marketplace.hosts });
}

/** Asks the seller; only as the answer to a click. @param {Marketplace} marketplace */
export async function askFor(marketplace) {
  return chrome.permissions.request({ origins: marketplace.hosts });
}

/** @param {Marketplace} marketplace */
export async function giveBack(marketplace) {
  await chrome.permissions.remove({ origins: marketplace.hosts });
}

/**
 * The marketplace's cookies, httpOnly and partitioned ones too; of those that were set under another site none,
 * because they would tell where else the seller was.
 * @param {Marketplace} marketplace
 */
export async function cookiesOf(marketplace) {
  const found = await Promise.all(
    marketplace.domains.map((domain) => chrome.cookies.getAll({ domain, partitionKey: {} })),
  );
  return found.flat().filter((cookie) => isOwn(cookie, marketplace));
}

/** @param {chrome.cookies.Cookie} cookie @param {Marketplace} marketplace */
export function isOwn(cookie, marketplace) {
  const site = cookie.partitionKey?.topLevelSite;
  return isWithin(cookie.domain, marketplace) && (!site || isWithin(new URL(site).hostname, marketplace));
}

/** @param {string} host @param {Pick<Marketplace, 'domains'>} marketplace */
export function isWithin(host, marketplace) {
  const bare = host.replace(/^\./, '').toLowerCase();
  return marketplace.domains.some((domain) => bare === domain || bare.endsWith(`.${domain}`));
}

/** @param {string} url @param {Pick<Marketplace, 'domains' | 'signInPages'>} marketplace */
export function isSignInPage(url, marketplace) {
  return isWithin(new URL(url).hostname, marketplace) && marketplace.signInPages.some((page) => new RegExp(page).test(url));
}

/**
 * localStorage and sessionStorage of the marketplace's tab that was used last; null where none is open, or none
 * answers: we open no tab, and keep no copy.
 * @param {Marketplace} marketplace
 * @returns {Promise<Storage | null>}
 */
export async function storageOf(marketplace) {
  const home = new URL(marketplace.home).hostname;
  const tabs = (await chrome.tabs.query({ url: marketplace.hosts }))
    .filter((tab) => tab.id !== undefined && tab.url && new URL(tab.url).hostname === home && !tab.discarded)
    .sort((a, b) => (b.lastAccessed ?? 0) - (a.lastAccessed ?? 0));
  for (const tab of tabs) {
    try {
      const answer = await Promise.race([
        chrome.scripting.executeScript({ target: { tabId: /** @type {number} */ (tab.id) }, func: readStorage }),
        new Promise((done) => setTimeout(done, PATIENCE, null)),
      ]);
      if (answer?.[0]?.result) return answer[0].result;
    } catch {
      // it was closed, or shows an error page: the next one
    }
  }
  return null;
}

/** Runs in the marketplace's page. */
function readStorage() {
  return { localStorage: { ...localStorage }, sessionStorage: { ...sessionStorage } };
}

// Keeps the server's copy of each connected marketplace's sign-in fresh, and tells it of a log-out. Lives from
// event to event: all it must remember is in storage, so it may be stopped at any moment. Takes orders from our
// own popup only, and hands over nothing of a marketplace that the seller did not connect.

import {
  addForgets, cookiesOf, dropForgets, findConnected, findForgets, findPairing, giveBack, isAllowed, isSignInPage, isWithin,
  saveConnected, saveNotice, savePairing, takeIntent,
} from './lib/browser.js';
import { MARKETPLACES } from './lib/marketplaces.js';
import * as server from './lib/server.js';
import { capture, isSignedIn, printOf } from './session-capture.js';

/** @import { Connected, Pairing } from './lib/browser.js' */
/** @import { Marketplace } from './lib/marketplaces.js' */

const SECOND = 1000;
/** Between two hand-overs of one marketplace that follow its cookies. */
const APART = 60 * SECOND;
/** A sign-in sets its cookies in one go; a page that is being used goes on for longer. */
const QUIET = { signingIn: SECOND, signedIn: 5 * SECOND };
const ALARM = 'tick';
/** Seconds of a long question; a browser stops a worker whose answer takes 30. */
const WAIT = 25;

/** @type {Connected} */
const NEW = {
  profile: null, profiles: [], signedIn: false, print: null, syncedAt: null, due: true, signedOutDue: false,
  doubted: null, notBefore: 0, status: null, problem: null, which: null,
};

// ---- what wakes us ---------------------------------------------------------------------------------

/** @type {Set<chrome.runtime.Port>} */
const popups = new Set();
/** @type {Map<string, ReturnType<typeof setTimeout>>} */
const soon = new Map();

void chrome.storage.local.setAccessLevel?.({ accessLevel: 'TRUSTED_CONTEXTS' });
void (async () => {
  if (!(await chrome.alarms.get(ALARM))) await chrome.alarms.create(ALARM, { periodInMinutes: 0.5 });
})();
chrome.runtime.onInstalled.addListener(() => void tick());
chrome.runtime.onStartup.addListener(() => void tick());
chrome.alarms.onAlarm.addListener((alarm) => {
  if (alarm.name === ALARM) void tick();
});

chrome.cookies.onChanged.addListener(({ cookie }) => {
  for (const [name, marketplace] of Object.entries(MARKETPLACES)) {
    if (isWithin(cookie.domain, marketplace) && marketplace.signIn.includes(cookie.name)) void later(name);
  }
});

// a sign-in may end and its cookies stay: then the site shows its sign-in page
chrome.tabs.onUpdated.addListener((_, { url }) => {
  for (const [name, marketplace] of Object.entries(MARKETPLACES)) {
    if (url && isSignInPage(url, marketplace)) void doubt(name, marketplace);
  }
});

// the browser's question may have closed the popup that asked it
chrome.permissions.onAdded.addListener(async () => {
  const name = await takeIntent();
  const marketplace = name && MARKETPLACES[name];
  if (marketplace && (await isAllowed(marketplace))) await connect({ marketplace: name });
});
chrome.permissions.onRemoved.addListener(() => void tick());

chrome.runtime.onConnect.addListener((port) => {
  if (!isOurPopup(port.sender)) {
    port.disconnect();
    return;
  }
  popups.add(port);
  port.onDisconnect.addListener(() => popups.delete(port));
  void tick();
});

/** What the popup may ask for. @type {Record<string, (order: any) => Promise<void>>} */
const ORDERS = { connect, sync: syncNow, disconnect, unpair };

chrome.runtime.onMessage.addListener((order, sender, answer) => {
  if (!isOurPopup(sender) || typeof order?.type !== 'string' || !Object.hasOwn(ORDERS, order.type)) {
    answer({ error: 'refused' });
    return false;
  }
  ORDERS[order.type]?.(order).then(
    () => answer({}),
    (error) => answer({ error: String(error?.message ?? error) }),
  );
  return true;
});

/** @param {chrome.runtime.MessageSender | undefined} sender */
function isOurPopup(sender) {
  const popup = chrome.runtime.getURL('popup/popup.html');
  return sender?.id === chrome.runtime.id && sender.url?.split(/[?#]/)[0] === popup && !sender.frameId;
}

/** Follows a change of cookies when they have come to rest; the tick would find it too. @param {string} name */
async function later(name) {
  const connected = await findConnected(name);
  if (!connected) return;
  clearTimeout(soon.get(name));
  soon.set(
    name,
    setTimeout(() => void keep(name), connected.signedIn ? QUIET.signedIn : QUIET.signingIn),
  );
}

/** Has the server look whether the sign-in still works, once for each. @param {string} name @param {Marketplace} marketplace */
async function doubt(name, marketplace) {
  await inTurn(name, async () => {
    const connected = await findConnected(name);
    if (!connected?.signedIn) return;
    const print = await printOf(await cookiesOf(marketplace), marketplace);
    if (print === connected.doubted) return;
    await saveConnected(name, { ...connected, doubted: print, signedOutDue: true });
  });
  await keep(name);
}

/** Everything that may be due. */
async function tick() {
  const pairing = await findPairing();
  if (!pairing) return;
  await sendForgets(pairing);
  // what goes wrong with one holds up no other
  await Promise.allSettled(Object.keys(MARKETPLACES).map((name) => keep(name)));
  await listen();
}

// ---- orders of the popup ---------------------------------------------------------------------------

/** @param {{ marketplace: string, browserProfileId?: string }} order */
async function connect({ marketplace: name, browserProfileId }) {
  const marketplace = MARKETPLACES[name];
  if (!marketplace || !(await findPairing()) || !(await isAllowed(marketplace))) return;
  await inTurn(name, async () => {
    const before = await findConnected(name);
    const profile = typeof browserProfileId === 'string' ? browserProfileId : (before?.profile ?? null);
    await saveConnected(name, { ...NEW, ...before, profile, due: true, notBefore: 0, problem: null, which: null });
    await saveNotice(null);
  });
  await keep(name, 'now');
  void listen();
}

/** @param {{ marketplace: string }} order */
async function syncNow({ marketplace: name }) {
  await keep(name, 'now');
}

/** Forgets here and on the server, and gives the permission back. @param {{ marketplace: string }} order */
async function disconnect({ marketplace: name }) {
  const pairing = await findPairing();
  await inTurn(name, () => leave(name, null));
  if (pairing) await sendForgets(pairing);
  if ((await findForgets()).length > 0) {
    await saveNotice('Your server could not be reached. It keeps what was handed over until it is told, as soon as it can be.');
  }
}

/** Everything that this browser handed over is forgotten, and so is the pairing. */
async function unpair() {
  const pairing = await findPairing();
  for (const name of Object.keys(MARKETPLACES)) await inTurn(name, () => leave(name, null));
  if (pairing) await sendForgets(pairing);
  const left = (await findForgets()).length > 0;
  const revoked = !pairing || (await isRevoked(pairing));
  await part(
    left
      ? 'This browser is no longer paired. Your server could not be reached, so what it already has is still there: take those accounts away on its page Marketplaces, and revoke this browser on its account page.'
      : !revoked
      ? 'This browser is no longer paired. Your server could not be told, so revoke this browser on its account page too.'
      : 'This browser is no longer paired, and your server has forgotten what it handed over.',
  );
}

/** Tries to make our token worth nothing on the server. @param {Pairing} pairing */
async function isRevoked(pairing) {
  try {
    await server.forgetMe(pairing);
    return true;
  } catch (error) {
    return error instanceof server.Refused && error.unpaired;
  }
}

// ---- one marketplace -------------------------------------------------------------------------------

/** What runs for each marketplace, one after the other. @type {Map<string, Promise<unknown>>} */
const turns = new Map();

/**
 * @template T
 * @param {string} name @param {() => Promise<T>} act
 * @returns {Promise<T>}
 */
function inTurn(name, act) {
  const mine = (turns.get(name) ?? Promise.resolve()).then(act, act);
  turns.set(name, mine.catch(() => undefined));
  return mine;
}

/**
 * Looks at the marketplace's sign-in and does what is due: hands it over, or tells that it is gone.
 * @param {string} name
 * @param {'now' | 'asked' | null} why the seller's click · the server's request · by itself
 */
async function keep(name, why = null) {
  clearTimeout(soon.get(name));
  await inTurn(name, async () => {
    const marketplace = MARKETPLACES[name];
    const [pairing, connected] = [await findPairing(), await findConnected(name)];
    if (!marketplace || !pairing || !connected) return;
    if (!(await isAllowed(marketplace))) {
      await leave(name, `${marketplace.label} is disconnected: the permission for its site was taken back.`);
      await sendForgets(pairing);
      return;
    }
    try {
      const signedIn = await isSignedInNow(marketplace, connected, why !== null);
      await tellSignedOut(name, pairing, connected);
      if (signedIn) await handOver(name, marketplace, pairing, connected, why);
    } catch (error) {
      await failed(name, marketplace, connected, error);
    }
    await showBadge();
  });
}

/**
 * Notes in `connected` what the cookies say, and whether the server's copy is old.
 * @param {Marketplace} marketplace @param {Connected} connected @param {boolean} asked
 */
async function isSignedInNow(marketplace, connected, asked) {
  const cookies = await cookiesOf(marketplace);
  const before = connected.signedIn;
  connected.signedIn = isSignedIn(cookies, marketplace);
  if (connected.signedIn) {
    const print = await printOf(cookies, marketplace);
    connected.signedOutDue &&= print === connected.doubted;
    connected.due ||= asked || print !== connected.print;
  } else {
    connected.signedOutDue ||= before && connected.profile !== null;
    connected.due = true;
    connected.print = null;
  }
  return connected.signedIn;
}

/**
 * @param {string} name @param {Marketplace} marketplace @param {Pairing} pairing @param {Connected} connected
 * @param {'now' | 'asked' | null} why
 */
async function handOver(name, marketplace, pairing, connected, why) {
  const follows = why === null && connected.print && connected.print !== connected.doubted; // no new sign-in
  const earliest = Math.max(connected.notBefore, follows ? (connected.syncedAt ?? 0) + APART : 0);
  if (!connected.due || (why !== 'now' && Date.now() < earliest) || (connected.which && why !== 'now')) return;
  // what the seller took away on the server is not brought back behind their back
  if (why !== 'now' && connected.profile && !(await isStillThere(pairing, connected.profile))) {
    await leave(name, `${marketplace.label} was disconnected on your server.`, { known: false });
    return;
  }
  const taken = await capture(name, marketplace);
  if (!taken) return;
  const { profile } = connected;
  const answer = await server.sync(pairing, { ...taken.body, ...(profile ? { browserProfileId: profile } : {}) });
  await saveConnected(name, {
    ...connected, profile: answer.browserProfileId,
    profiles: [...new Set([...connected.profiles, answer.browserProfileId])],
    print: taken.print, syncedAt: Date.now(), due: false, notBefore: 0, status: 'connected', problem: null, which: null,
  });
}

/** @param {Pairing} pairing @param {string} profile */
async function isStillThere(pairing, profile) {
  try {
    const { sessions } = await server.validate(pairing, profile);
    return sessions.some((one) => one.status !== 'missing');
  } catch (error) {
    if (error instanceof server.Refused && error.status === 404) return false;
    throw error;
  }
}

/** @param {string} name @param {Pairing} pairing @param {Connected} connected */
async function tellSignedOut(name, pairing, connected) {
  await saveConnected(name, connected); // first, so that a stop in the middle forgets nothing
  if (!connected.signedOutDue || !connected.profile || Date.now() < connected.notBefore) return;
  await server.tellSignedOut(pairing, name, connected.profile);
  Object.assign(connected, { signedOutDue: false, problem: null });
  await saveConnected(name, connected);
}

/** @param {string} name @param {Marketplace} marketplace @param {Connected} connected @param {unknown} error */
async function failed(name, marketplace, connected, error) {
  if (error instanceof server.Unreachable) {
    await saveConnected(name, { ...connected, problem: error.message });
  } else if (!(error instanceof server.Refused)) {
    throw error;
  } else if (error.unpaired) {
    await part('This browser is no longer paired: the server does not know its token any more. Pair it again.');
  } else if (error.passes) {
    const notBefore = Date.now() + error.retryAfter * SECOND;
    await saveConnected(name, { ...connected, notBefore, problem: error.message });
  } else if (error.status === 404 && connected.profile) {
    await leave(name, `${marketplace.label} was disconnected on your server.`, { known: false });
  } else {
    // the same again would be refused again: the next sign-in, or a click, tries anew
    const cookies = await cookiesOf(marketplace);
    await saveConnected(name, {
      ...connected, due: false, signedOutDue: false, print: await printOf(cookies, marketplace),
      problem: error.message, which: error.connections.length > 0 ? error.connections : null,
    });
  }
}

/**
 * Disconnected: nothing of it stays here, the permission goes back, and the server is to forget it too.
 * @param {string} name @param {string | null} notice @param {{ known: boolean }} [server] it knows that already
 */
async function leave(name, notice, { known } = { known: true }) {
  const marketplace = /** @type {Marketplace} */ (MARKETPLACES[name]);
  const connected = await findConnected(name);
  if (!connected) return;
  if (known) await addForgets(connected.profiles);
  await saveConnected(name, null);
  await saveNotice(notice);
  await giveBack(marketplace);
  await showBadge();
}

/** The pairing is over: nothing of it stays. @param {string} notice */
async function part(notice) {
  await savePairing(null);
  for (const name of Object.keys(MARKETPLACES)) await leave(name, null, { known: false });
  await dropForgets(await findForgets());
  await saveNotice(notice);
  await showBadge();
}

/** @param {Pairing} pairing */
async function sendForgets(pairing) {
  for (const profile of await findForgets()) {
    try {
      await server.forget(pairing, profile);
    } catch (error) {
      if (!(error instanceof server.Refused)) return; // offline: the next tick
      if (error.unpaired) return part('This browser is no longer paired: the server does not know its token any more.');
      if (error.passes) return;
    }
    await dropForgets([profile]);
  }
}

// ---- what the server asks for ----------------------------------------------------------------------

let listening = false;

/** Asks what the server wants; goes on asking while somebody looks at the popup or the dashboard. */
async function listen() {
  if (listening) return;
  listening = true;
  try {
    const refused = new Set(); // what cannot be handed over now waits for the next tick, and holds up no other
    for (let again = true, watching = false; again; ) {
      const pairing = await findPairing();
      const names = await connectedNames();
      if (!pairing || names.length === 0) return;
      await showStatuses(pairing, names);
      const connected = await Promise.all(names.map((name) => findConnected(name)));
      const profiles = connected.flatMap((one) => (one?.profile && !refused.has(one.profile) ? [one.profile] : []));
      if (profiles.length === 0) return;
      const answer = await server.wanted(pairing, profiles, watching || popups.size > 0 ? WAIT : 0);
      watching = answer.watching;
      await Promise.all(
        answer.wanted.map(async (one) => {
          if (!(await serve(one))) refused.add(one.browserProfileId);
        }),
      );
      again = watching || popups.size > 0;
    }
  } catch (error) {
    if (error instanceof server.Refused && error.unpaired) {
      await part('This browser is no longer paired: the server does not know its token any more. Pair it again.');
    }
    // else: unreachable or busy; the next tick asks again
  } finally {
    listening = false;
  }
}

async function connectedNames() {
  const names = Object.keys(MARKETPLACES);
  const found = await Promise.all(names.map((name) => findConnected(name)));
  return names.filter((_, place) => found[place]);
}

/** True if it was handed over. @param {{ marketplace: string, browserProfileId: string }} one */
async function serve({ marketplace: name, browserProfileId }) {
  const before = await findConnected(name);
  if (!before || before.profile !== browserProfileId) return false; // another browser's
  await keep(name, 'asked');
  const after = await findConnected(name);
  return after !== null && after.syncedAt !== before.syncedAt;
}

/** How the server sees what we handed over. @param {Pairing} pairing @param {string[]} names */
async function showStatuses(pairing, names) {
  const { sessions } = await server.validate(pairing);
  for (const name of names) {
    await inTurn(name, async () => {
      const connected = await findConnected(name);
      const said = sessions.find((one) => one.browserProfileId && one.browserProfileId === connected?.profile);
      if (!connected?.profile) return;
      if (!said || said.status === 'missing') {
        // asked again for this one, because it may have been handed over since
        if (!(await isStillThere(pairing, connected.profile))) {
          const { label } = /** @type {Marketplace} */ (MARKETPLACES[name]);
          await leave(name, `${label} was disconnected on your server.`, { known: false });
        }
        return;
      }
      const problem = said.needsYou && connected.signedIn ? said.needsYou.message : null;
      if (said.status !== connected.status || (problem !== connected.problem && !connected.due && !connected.which)) {
        await saveConnected(name, { ...connected, status: said.status, problem: connected.which ? connected.problem : problem });
      }
    });
  }
}

/** A mark on the button while something needs the seller. */
async function showBadge() {
  const found = await Promise.all(Object.keys(MARKETPLACES).map((name) => findConnected(name)));
  const bad = found.some((one) => one && (!one.signedIn || one.which || one.status === 'expired'));
  await chrome.action.setBadgeText({ text: bad ? '!' : '' });
  if (bad) await chrome.action.setBadgeBackgroundColor({ color: '#b3261e' });
}

// The popup: pairs, asks before anything is handed over, and shows how each marketplace stands. It shows what is
// in storage and gives orders to the background; whatever the server says is put there as text.

import {
  askFor, findConnected, findNotice, findPairing, saveIntent, saveNotice, savePairing, takeIntent,
} from '../lib/browser.js';
import { MARKETPLACES } from '../lib/marketplaces.js';
import { acceptPairing, BadAddress, lookAtPairing, nameOf, readAddress, readCode } from '../lib/server.js';
import { stateOf } from './state.js';

/** @import { Candidate, Connected, Pairing } from '../lib/browser.js' */
/** @import { Marketplace } from '../lib/marketplaces.js' */

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(id);
  return found;
}

/** @template {HTMLElement} T @param {HTMLElement} within @param {string} selector @param {new () => T} kind @returns {T} */
function part(within, selector, kind) {
  const found = within.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(selector);
  return found;
}

/** @param {HTMLElement} where @param {string | null} text null hides it */
function put(where, text) {
  if (where.textContent !== (text ?? '')) where.textContent = text ?? '';
  where.hidden = !text;
}

/** For a screen reader. @param {string} text */
function say(text) {
  element('say', HTMLElement).textContent = text;
}

const SECTIONS = ['pair', 'confirm', 'paired', 'privacy'];
/** The section that is shown. */
let here = '';

/** @param {string} id @param {boolean} [focus] on its heading, after the seller went there */
function go(id, focus = false) {
  here = id;
  for (const each of SECTIONS) element(each, HTMLElement).hidden = each !== id;
  element('open-privacy', HTMLElement).hidden = id === 'privacy';
  element('unpair', HTMLElement).hidden = id !== 'paired';
  if (focus) element(`${id}-title`, HTMLElement).focus();
}

/** @param {object} order */
async function order(order) {
  const answer = await chrome.runtime.sendMessage(order);
  if (answer?.error) say(String(answer.error));
}

// ---- pairing ---------------------------------------------------------------------------------------

/** @type {{ server: string, ticket: string, account: string } | null} */
let looked = null;

element('look', HTMLFormElement).addEventListener('submit', async (event) => {
  event.preventDefault();
  const [address, typed] = [element('server', HTMLInputElement), element('code', HTMLInputElement)];
  const submit = part(element('look', HTMLFormElement), 'button', HTMLButtonElement);
  const error = element('look-error', HTMLElement);
  put(error, null);
  for (const input of [address, typed]) input.removeAttribute('aria-invalid');
  const code = readCode(typed.value);
  if (!code) {
    typed.setAttribute('aria-invalid', 'true');
    put(error, 'A code has eight letters and digits, like ABCD-EFGH.');
    typed.focus();
    return;
  }
  submit.disabled = true;
  try {
    const server = readAddress(address.value);
    const answer = await lookAtPairing(server, code);
    looked = { server, ticket: answer.ticket, account: answer.account };
    element('confirm-account', HTMLElement).textContent = answer.account;
    element('confirm-server', HTMLElement).textContent = server;
    const other = answer.server && answer.server.replace(/\/+$/, '') !== server ? answer.server : null;
    put(element('confirm-other', HTMLElement), other && `This server calls itself ${other}.`);
    put(element('confirm-error', HTMLElement), null);
    go('confirm', true);
  } catch (problem) {
    const wrong = problem instanceof BadAddress ? address : typed;
    wrong.setAttribute('aria-invalid', 'true');
    put(error, problem instanceof Error ? problem.message : String(problem));
    wrong.focus();
  } finally {
    submit.disabled = false;
  }
});

element('accept', HTMLButtonElement).addEventListener('click', async () => {
  if (!looked) return;
  const { server, ticket } = looked;
  const accept = element('accept', HTMLButtonElement);
  accept.disabled = true;
  try {
    const name = nameOf(navigator.userAgent);
    const answer = await acceptPairing(server, ticket, name);
    looked = null;
    await savePairing({ server, account: answer.account, name: answer.name, token: answer.token });
    await saveNotice(null);
    element('code', HTMLInputElement).value = '';
    await show();
    say(`Paired with ${answer.account}.`);
    element('paired-title', HTMLElement).focus();
  } catch (problem) {
    put(element('confirm-error', HTMLElement), problem instanceof Error ? problem.message : String(problem));
  } finally {
    accept.disabled = false;
  }
});

element('refuse', HTMLButtonElement).addEventListener('click', () => {
  looked = null;
  element('code', HTMLInputElement).value = '';
  go('pair', true);
});

element('unpair', HTMLButtonElement).addEventListener('click', () => {
  element('unpair-ask', HTMLElement).hidden = false;
  element('unpair-yes', HTMLButtonElement).focus();
});
element('unpair-no', HTMLButtonElement).addEventListener('click', () => {
  element('unpair-ask', HTMLElement).hidden = true;
  element('unpair', HTMLButtonElement).focus();
});
element('unpair-yes', HTMLButtonElement).addEventListener('click', async () => {
  element('unpair-ask', HTMLElement).hidden = true;
  await order({ type: 'unpair' });
});

// ---- what leaves this browser ----------------------------------------------------------------------

let before = 'pair';
element('open-privacy', HTMLButtonElement).addEventListener('click', () => {
  before = here;
  go('privacy', true);
});
element('close-privacy', HTMLButtonElement).addEventListener('click', async () => {
  go(before, true);
  if (before !== 'confirm') await show();
});

// ---- marketplaces ----------------------------------------------------------------------------------

/** @type {Map<string, HTMLElement>} */
const rows = new Map();

/** @param {string} name @param {Marketplace} marketplace @param {Pairing} pairing */
function rowOf(name, marketplace, pairing) {
  const known = rows.get(name);
  if (known) return known;
  const made = element('marketplace', HTMLTemplateElement).content.cloneNode(true);
  const row = part(/** @type {HTMLElement} */ (/** @type {unknown} */ (made)), 'li', HTMLElement);
  row.dataset['marketplace'] = name;
  const { label } = marketplace;
  part(row, 'h3', HTMLElement).textContent = label;
  const [connect, ask] = [part(row, '.connect', HTMLButtonElement), part(row, '.ask', HTMLElement)];
  const actions = part(row, '.actions', HTMLElement);
  connect.textContent = 'Connect';
  connect.setAttribute('aria-label', `Connect ${label}`);
  const [sync, disconnect] = [part(row, '.sync', HTMLButtonElement), part(row, '.disconnect', HTMLButtonElement)];
  sync.setAttribute('aria-label', `Sync ${label} now`);
  disconnect.setAttribute('aria-label', `Disconnect ${label}`);
  const visit = part(row, '.visit', HTMLAnchorElement);
  visit.href = marketplace.home;
  visit.textContent = `Open ${label}`;
  part(row, '.what', HTMLElement).textContent =
    `Your ${label} sign-in goes to ${hostOf(pairing.server)}: the cookies of ${marketplace.domains.join(', ')} ` +
    `(also those that pages cannot read), what an open ${label} tab keeps in its storage, and this browser's user ` +
    'agent, languages and time zone. It goes again whenever the sign-in changes, until you disconnect. Everystall can then act there as you.';
  connect.addEventListener('click', () => {
    ask.hidden = false;
    actions.hidden = true;
    part(row, '.allow', HTMLButtonElement).focus();
  });
  const close = () => {
    ask.hidden = true;
    actions.hidden = false;
  };
  part(row, '.deny', HTMLButtonElement).addEventListener('click', () => {
    close();
    connect.focus();
  });
  part(row, '.allow', HTMLButtonElement).addEventListener('click', async () => {
    void saveIntent(name); // not awaited: the browser asks only as the answer to a click
    const granted = await askFor(marketplace);
    close();
    const intent = await takeIntent();
    if (!granted) {
      say(`${label} is not connected: the browser was not allowed to read its site.`);
    } else if (intent) {
      say(`Connecting ${label}.`);
      await order({ type: 'connect', marketplace: name });
    }
  });
  sync.addEventListener('click', async () => {
    say(`Syncing ${label}.`);
    sync.disabled = true;
    await order({ type: 'sync', marketplace: name });
    sync.disabled = false;
  });
  disconnect.addEventListener('click', async () => {
    await order({ type: 'disconnect', marketplace: name });
    say(`${label} is disconnected here.`);
    connect.focus();
  });
  rows.set(name, row);
  element('marketplaces', HTMLElement).append(row);
  return row;
}

/** @param {HTMLElement} row @param {string} name @param {Connected | null} connected */
function showRow(row, name, connected) {
  const marketplace = /** @type {Marketplace} */ (MARKETPLACES[name]);
  const state = stateOf(marketplace, connected, Date.now());
  const chip = part(row, '.chip', HTMLElement);
  const changed = row.dataset['state'] !== undefined && chip.textContent !== state.word;
  row.dataset['state'] = state.id;
  chip.textContent = state.word;
  chip.dataset['tone'] = state.tone;
  put(part(row, '.detail', HTMLElement), state.detail);
  put(part(row, '.problem', HTMLElement), connected?.problem ?? null);
  part(row, '.connect', HTMLElement).hidden = connected !== null;
  part(row, '.sync', HTMLElement).hidden = !connected?.signedIn || Boolean(connected.which);
  part(row, '.visit', HTMLElement).hidden = state.id !== 'needs-sign-in' && connected?.status !== 'expired';
  part(row, '.disconnect', HTMLElement).hidden = connected === null;
  showChoice(part(row, '.which', HTMLElement), name, connected?.which ?? null);
  if (changed) say(`${marketplace.label}: ${state.word}.`);
}

/** @param {HTMLElement} where @param {string} name @param {Candidate[] | null} which */
function showChoice(where, name, which) {
  where.hidden = !which;
  where.replaceChildren(
    ...(which ?? []).map((one) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'btn';
      button.textContent = one.label || one.accountName || one.browserProfileId;
      button.addEventListener('click', () => {
        void order({ type: 'connect', marketplace: name, browserProfileId: one.browserProfileId });
      });
      return button;
    }),
  );
}

/** @param {string} server */
function hostOf(server) {
  return new URL(server).host;
}

/** Draws what is in storage. */
async function show() {
  const [pairing, notice] = await Promise.all([findPairing(), findNotice()]);
  put(element('notice', HTMLElement), notice);
  element('where', HTMLElement).textContent = pairing ? `${pairing.account} · ${hostOf(pairing.server)}` : 'Not paired yet';
  element('where', HTMLElement).title = pairing?.server ?? '';
  if (pairing) {
    for (const [name, marketplace] of Object.entries(MARKETPLACES)) {
      const connected = await findConnected(name);
      showRow(rowOf(name, marketplace, pairing), name, connected);
    }
    if (here !== 'privacy') go('paired');
  } else {
    rows.clear();
    element('marketplaces', HTMLElement).replaceChildren();
    if (here === 'paired') say('This browser is not paired.');
    if (here !== 'privacy' && here !== 'confirm') go('pair');
  }
}

/** One drawing at a time, in order. @type {Promise<void>} */
let drawing = Promise.resolve();
const redraw = () => (drawing = drawing.then(show, show));

chrome.storage.local.onChanged.addListener(() => void redraw());
setInterval(() => void redraw(), 30_000); // "a minute ago" goes on
await redraw();
if (here === 'pair') element('server', HTMLInputElement).focus();
stayConnected();

/** While it is open the background asks the server all the time; one that was stopped is woken again. */
function stayConnected() {
  const port = chrome.runtime.connect({ name: 'popup' });
  port.onDisconnect.addListener(() => setTimeout(stayConnected, 1000));
}

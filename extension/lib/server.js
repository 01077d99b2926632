// The one way out: calls to the seller's own Everystall, with the pairing's token and nothing else (no cookie,
// no referrer, no redirect followed). What the server says is text; nothing of it is ever run.

/** @import { Candidate, Pairing } from './browser.js' */

/** Letters of a pairing code: none that looks like another. */
const CODE = /^[0-9A-Z]{8}$/;
/** Our own pages: what stands before them is the path of the server. */
const PAGES =
  /\/(account|activity|api|connections|extension|first|inventory|invitation|listings|needs-you|sales|settings|sign-in)(\/.*)?$/;
/** Seconds; a long question may take 25 of them by itself. */
const PATIENCE = 29;

/** The server said no, in its own words. */
export class Refused extends Error {
  /** @param {number} status @param {any} body @param {string | null} retryAfter seconds */
  constructor(status, body, retryAfter) {
    const said = typeof body?.message === 'string' ? body.message : `The server answered ${status}.`;
    super(typeof body?.action === 'string' && body.action ? `${said} ${body.action}` : said);
    this.status = status;
    this.code = String(body?.error ?? '');
    /** @type {Candidate[]} */
    this.connections = Array.isArray(body?.connections) ? body.connections : [];
    this.retryAfter = Number(retryAfter) > 0 ? Number(retryAfter) : 30;
  }

  /** Worth trying again as it is. A 401 that is not our server's own is a proxy's on the way: it says nothing of us. */
  get passes() {
    return this.status === 429 || this.status >= 500 || (this.status === 401 && !this.unpaired);
  }

  /** The server itself says that it does not know our token any more. */
  get unpaired() {
    return this.status === 401 && this.code === 'unauthenticated';
  }
}

/** No answer at all. */
export class Unreachable extends Error {
  constructor() {
    super('Your Everystall server cannot be reached. What waits is sent when it is there again.');
  }
}

/** What was typed is no address that we would send a sign-in to. The message says why. */
export class BadAddress extends Error {}

/**
 * The address as we use it, of whatever page of ours it was copied from: the origin, and the path below which Everystall stands
 * where it has not all of its host. A name without a scheme means https, on this machine http.
 * @param {string} typed
 */
export function readAddress(typed) {
  const text = typed.trim();
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? '' : isLoopback(hostOf(`http://${text}`)) ? 'http://' : 'https://';
  let url;
  try {
    url = new URL(scheme + text);
  } catch {
    throw new BadAddress('That is not an address. It looks like everystall.example.com or 127.0.0.1:8720.');
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new BadAddress('The address begins with https://.');
  }
  if (url.username || url.password) {
    throw new BadAddress('Only the address itself: no name and no password.');
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new BadAddress(
      'Over plain http anybody on the way could take your sign-ins. Use https://, or a server on this machine.',
    );
  }
  return url.origin + url.pathname.replace(PAGES, '').replace(/\/+$/, '');
}

/** @param {string} address */
function hostOf(address) {
  try {
    return new URL(address).hostname;
  } catch {
    return '';
  }
}

/** @param {string} host */
function isLoopback(host) {
  return host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127(\.\d+){3}$/.test(host);
}

/** The code as it is sent, or null. @param {string} typed */
export function readCode(typed) {
  const code = typed.replace(/[\s-]/g, '').toUpperCase();
  return CODE.test(code) ? code : null;
}

/**
 * "Chrome on Linux": what this browser is called on the account page.
 * @param {string} userAgent
 */
export function nameOf(userAgent) {
  const browsers = [
    [/Edg\//, 'Edge'], [/OPR\//, 'Opera'], [/Firefox\//, 'Firefox'], [/Chrom/, 'Chrome'],
  ];
  const systems = [
    [/Windows/, 'Windows'], [/Android/, 'Android'], [/Mac OS X/, 'macOS'], [/CrOS/, 'ChromeOS'], [/Linux/, 'Linux'],
  ];
  const first = (/** @type {any[][]} */ known, /** @type {string} */ other) =>
    known.find(([pattern]) => pattern.test(userAgent))?.[1] ?? other;
  return `${first(browsers, 'A browser')} on ${first(systems, 'a computer')}`;
}

/**
 * Whose code this is; spends it for a ticket. Raises BadAddress where no Everystall answers.
 * @param {string} server @param {string} code
 * @returns {Promise<{ ticket: string, account: string, server: string }>}
 */
export async function lookAtPairing(server, code) {
  try {
    return await call(server, null, '/api/pairings/look', { code });
  } catch (error) {
    // only our own server's errors have a code
    if (error instanceof Unreachable || (error instanceof Refused && !error.code)) {
      throw new BadAddress(
        `Nothing answers as an Everystall at ${server}. Check the address: it is what your browser shows before the first single slash, and your Everystall must be running.`,
      );
    }
    throw error;
  }
}

/**
 * @param {string} server @param {string} ticket @param {string} name
 * @returns {Promise<{ token: string, account: string, name: string }>}
 */
export async function acceptPairing(server, ticket, name) {
  return call(server, null, '/api/pairings/accept', { ticket, name });
}

/**
 * @param {Pairing} pairing @param {object} body
 * @returns {Promise<{ browserProfileId: string, message: string }>}
 */
export async function sync(pairing, body) {
  return call(pairing.server, pairing.token, '/api/sessions/sync', body);
}

/**
 * How the server sees these accounts.
 * @param {Pairing} pairing @param {string} [browserProfileId] one; else all
 * @returns {Promise<{ sessions: { browserProfileId: string | null, status: 'connected' | 'expired' | 'missing',
 *   needsYou: { message: string } | null }[] }>}
 */
export async function validate(pairing, browserProfileId) {
  return call(pairing.server, pairing.token, '/api/sessions/validate', browserProfileId ? { browserProfileId } : {});
}

/**
 * Which captures of these accounts the server asks for; waits up to `wait` seconds for one.
 * @param {Pairing} pairing @param {string[]} profiles @param {number} wait
 * @returns {Promise<{ wanted: { marketplace: string, browserProfileId: string }[], watching: boolean }>}
 */
export async function wanted(pairing, profiles, wait) {
  const query = new URLSearchParams([['wait', String(wait)], ...profiles.map((one) => ['browserProfileId', one])]);
  return call(pairing.server, pairing.token, `/api/sessions/wanted?${query}`);
}

/** @param {Pairing} pairing @param {string} marketplace @param {string} browserProfileId */
export async function tellSignedOut(pairing, marketplace, browserProfileId) {
  await call(pairing.server, pairing.token, '/api/sessions/signed-out', { marketplace, browserProfileId });
}

/** @param {Pairing} pairing @param {string} browserProfileId */
export async function forget(pairing, browserProfileId) {
  await call(pairing.server, pairing.token, '/api/sessions/forget', { browserProfileId });
}

/** Revokes our own token. @param {Pairing} pairing */
export async function forgetMe(pairing) {
  await call(pairing.server, pairing.token, '/api/extensions/forget-me', {});
}

/**
 * Raises Refused and Unreachable.
 * @param {string} server @param {string | null} token @param {string} path @param {object} [body] none: GET
 * @returns {Promise<any>}
 */
async function call(server, token, path, body) {
  /** @type {Response} */
  let answer;
  let said;
  try {
    answer = await fetch(server + path, {
      method: body ? 'POST' : 'GET',
      headers: {
        ...(body ? { 'Content-Type': 'application/json' } : {}),
        ...(token ? { Authorization: `Bearer ${token}` } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
      signal: AbortSignal.timeout(PATIENCE * 1000),
    });
    said = await answer.text();
  } catch {
    throw new Unreachable();
  }
  let told = null;
  try {
    told = JSON.parse(said);
  } catch {
    // a proxy's page, say: its status has to do
  }
  if (!answer.ok) throw new Refused(answer.status, told, answer.headers.get('retry-after'));
  if (told === null || typeof told !== 'object') throw new Refused(502, { message: 'That is no Everystall server.' }, null);
  return told;
}

// How a marketplace stands, in words. Pure.

/** @import { Connected } from '../lib/browser.js' */
/** @import { Marketplace } from '../lib/marketplaces.js' */

/**
 * @param {Pick<Marketplace, 'label'>} marketplace
 * @param {Connected | null} connected
 * @param {number} now milliseconds since 1970
 * @returns {{ id: 'off' | 'needs-sign-in' | 'stale' | 'connected' | 'waiting', tone: string, word: string, detail: string }}
 */
export function stateOf({ label }, connected, now) {
  if (!connected) return { id: 'off', tone: 'off', word: 'Not connected', detail: 'Nothing of it is sent.' };
  const last = connected.syncedAt ? `Last sync ${ago(now - connected.syncedAt)}` : 'Nothing was handed over yet';
  if (connected.which) {
    return { id: 'waiting', tone: 'warn', word: 'Which account?', detail: `Whose sign-in is it? Choose your ${label} account.` };
  }
  if (!connected.signedIn && connected.profiles.length === 0) {
    return { id: 'needs-sign-in', tone: 'bad', word: 'Needs sign-in', detail: `Sign in to ${label} in this browser; it is handed over by itself.` };
  }
  if (!connected.signedIn) {
    return { id: 'needs-sign-in', tone: 'bad', word: 'Needs sign-in', detail: `You are signed out of ${label} in this browser. ${last}. Your server's copy may still work; Disconnect ends that.` };
  }
  if (connected.status === 'expired') {
    return { id: 'stale', tone: 'warn', word: 'Stale', detail: `${label} no longer accepts this sign-in. Sign out and in again there. ${last}.` };
  }
  if (connected.due) {
    return { id: 'stale', tone: 'warn', word: connected.syncedAt ? 'Stale' : 'Waiting', detail: `A newer sign-in waits to be handed over. ${last}.` };
  }
  if (!connected.syncedAt) return { id: 'stale', tone: 'warn', word: 'Not accepted', detail: `${last}.` };
  return { id: 'connected', tone: 'ok', word: 'Connected', detail: `${last}.` };
}

/** @param {number} milliseconds @returns {string} */
export function ago(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return 'just now';
  for (const [unit, length] of /** @type {[Intl.RelativeTimeFormatUnit, number][]} */ ([['day', 86400], ['hour', 3600], ['minute', 60]])) {
    if (seconds >= length) return new Intl.RelativeTimeFormat('en').format(-Math.floor(seconds / length), unit);
  }
  return 'just now';
}

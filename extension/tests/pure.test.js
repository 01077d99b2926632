// The pure functions. What needs a browser is tested in one: tests/extension/.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isOwn, isSignInPage, isWithin } from '../lib/browser.js';
import { MARKETPLACES } from '../lib/marketplaces.js';
import { BadAddress, Refused, nameOf, readAddress, readCode } from '../lib/server.js';
import { ago, stateOf } from '../popup/state.js';
import { fitting, isSignedIn, printOf, spoken } from '../session-capture.js';

const { poshmark } = MARKETPLACES;

test('a sign-in page is one of the marketplace itself', () => {
  const { ebay, mercari } = MARKETPLACES;
  assert.ok(isSignInPage('https://poshmark.com/login?next=/closet', poshmark));
  assert.ok(isSignInPage('https://www.mercari.com/login/', mercari));
  assert.ok(isSignInPage('https://signin.ebay.com/ws/eBayISAPI.dll', ebay));
  for (const url of ['https://poshmark.com/listing/login-shirt', 'https://poshmark.com.evil.example/login', 'about:blank']) {
    assert.ok(!isSignInPage(url, poshmark), url);
  }
});

test('an address without a scheme is https, and http on this machine', () => {
  assert.equal(readAddress(' everystall.example.com '), 'https://everystall.example.com');
  assert.equal(readAddress('127.0.0.1:8720'), 'http://127.0.0.1:8720');
  assert.equal(readAddress('localhost:8720/'), 'http://localhost:8720');
  assert.equal(readAddress('http://[::1]:8720'), 'http://[::1]:8720');
  for (const page of ['/account', '/account?said=saved#extensions', '/']) {
    assert.equal(readAddress(`https://example.com${page}`), 'https://example.com');
    assert.equal(readAddress(`https://example.com/stall${page}`), 'https://example.com/stall');
  }
});

test('sign-ins never go over plain http to another machine', () => {
  for (const typed of ['http://everystall.example.com', 'http://192.168.1.5:8720', 'http://127.0.0.1.evil.example']) {
    assert.throws(() => readAddress(typed), (e) => e instanceof BadAddress && /plain http/.test(e.message), typed);
  }
});

test('what is no address, or hides another, is refused in words', () => {
  for (const typed of ['', 'ftp://example.com', 'javascript://x', 'https://me:pw@example.com', 'h t t p']) {
    assert.throws(() => readAddress(typed), BadAddress, typed);
  }
});

test('a code may be typed in any case, with or without a dash', () => {
  for (const typed of ['ABCDEFGH', 'abcd-efgh', ' AbCd efGh ']) assert.equal(readCode(typed), 'ABCDEFGH');
  for (const typed of ['', 'ABCD-EFG', 'ABCD-EFGHJ', 'ABCD_EFG!']) assert.equal(readCode(typed), null);
});

test('only our own server ends the pairing, and not any 401 on the way', () => {
  const ours = new Refused(401, { error: 'unauthenticated', message: 'This API token is unknown.' }, null);
  assert.deepEqual([ours.unpaired, ours.passes], [true, false]);
  for (const body of [null, 'Unauthorized', {}, { error: 'Unauthorized' }, { error: { code: 'unauthenticated' } }]) {
    const proxys = new Refused(401, body, null);
    assert.deepEqual([proxys.unpaired, proxys.passes], [false, true]);
  }
  assert.ok(!new Refused(403, { error: 'unauthenticated' }, null).unpaired);
});

test('a browser is called by its name and its system', () => {
  const chrome = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36';
  assert.equal(nameOf(chrome), 'Chrome on Linux');
  assert.equal(nameOf(`${chrome.replace('X11; Linux x86_64', 'Windows NT 10.0')} Edg/156.0`), 'Edge on Windows');
  assert.equal(nameOf('Mozilla/5.0 (Macintosh; Intel Mac OS X 15.0; rv:145.0) Gecko/20100101 Firefox/145.0'), 'Firefox on macOS');
  assert.equal(nameOf(''), 'A browser on a computer');
});

test('a cookie belongs to the marketplace by its domain, and not by its ending', () => {
  for (const host of ['poshmark.com', '.poshmark.com', 'www.Poshmark.com']) assert.ok(isWithin(host, poshmark), host);
  for (const host of ['notposhmark.com', 'poshmark.com.evil.example', 'com', '']) assert.ok(!isWithin(host, poshmark), host);
});

test('a cookie that was set under another site stays here: it tells where the seller was', () => {
  const cookie = { domain: '.poshmark.com', name: 'jwt' };
  assert.ok(isOwn(cookie, poshmark));
  assert.ok(isOwn({ ...cookie, partitionKey: { topLevelSite: 'https://poshmark.com' } }, poshmark));
  assert.ok(!isOwn({ ...cookie, partitionKey: { topLevelSite: 'https://blog.example' } }, poshmark));
});

test('signed in is every sign-in cookie, with something in it', () => {
  const all = poshmark.signIn.map((name) => ({ name, value: 'x' }));
  assert.ok(isSignedIn(all, poshmark));
  assert.ok(!isSignedIn(all.slice(1), poshmark));
  assert.ok(!isSignedIn(all.map((one) => ({ ...one, value: '' })), poshmark));
  assert.ok(!isSignedIn([], poshmark));
});

test('the print follows the sign-in cookies and nothing else, in any order', async () => {
  const cookies = poshmark.signIn.map((name) => ({ name, value: 'x', domain: 'poshmark.com', path: '/' }));
  const print = await printOf(cookies, poshmark);
  assert.match(print, /^[0-9a-f]{64}$/);
  assert.equal(await printOf([...cookies].reverse(), poshmark), print);
  assert.equal(await printOf([...cookies, { name: '_csrf', value: '1', domain: 'poshmark.com', path: '/' }], poshmark), print);
  assert.notEqual(await printOf(cookies.map((one) => ({ ...one, value: 'y' })), poshmark), print);
});

test('of storage that is too large the small entries go', () => {
  assert.deepEqual(fitting({ cache: 'x'.repeat(500), id: 'a', token: 'b' }, 100), { id: 'a', token: 'b' });
  assert.equal(Object.keys(fitting(Object.fromEntries(Array.from({ length: 6000 }, (_, i) => [`k${i}`, ''])), 1e6)).length, 5000);
});

test('of the languages those go that are tags of languages', () => {
  assert.deepEqual(spoken(['de-CH', 'en', 'zh-Hant-TW']), ['de-CH', 'en', 'zh-Hant-TW']);
  assert.deepEqual(spoken(['C', 'en-US@posix', 'de, en', '', 'x'.repeat(36), 'fr']), ['fr']);
  assert.equal(spoken(Array(30).fill('en')).length, 20);
});

test('each state has its word', () => {
  const now = 1_800_000_000_000;
  const fine = {
    profile: 'bp_1', profiles: ['bp_1'], signedIn: true, print: 'p', syncedAt: now - 120_000, due: false,
    signedOutDue: false, notBefore: 0, status: 'connected', problem: null, which: null,
  };
  const word = (/** @type {object} */ more) => stateOf(poshmark, more && { ...fine, ...more }, now).word;
  assert.equal(stateOf(poshmark, null, now).word, 'Not connected');
  assert.equal(word({}), 'Connected');
  assert.equal(stateOf(poshmark, fine, now).detail, 'Last sync 2 minutes ago.');
  assert.equal(word({ signedIn: false }), 'Needs sign-in');
  assert.equal(word({ due: true }), 'Stale');
  assert.equal(word({ status: 'expired' }), 'Stale');
  assert.equal(word({ syncedAt: null, profiles: [], due: true }), 'Waiting');
  assert.equal(word({ syncedAt: null }), 'Not accepted');
  assert.equal(word({ which: [{}] }), 'Which account?');
});

test('times are said as people say them', () => {
  assert.equal(ago(-5), 'just now');
  assert.equal(ago(59_000), 'just now');
  assert.equal(ago(60_000), '1 minute ago');
  assert.equal(ago(3 * 86_400_000), '3 days ago');
});

// A capture must never wait for a page: one tab that hangs would hold up every hand-over of that marketplace.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { storageOf } from '../lib/browser.js';
import { MARKETPLACES } from '../lib/marketplaces.js';

const { poshmark } = MARKETPLACES;

test('a tab that does not answer holds nothing up', async () => {
  const seen = { localStorage: { device: '1' }, sessionStorage: {} };
  const tabs = [
    { id: 1, url: `${poshmark.home}/feed`, lastAccessed: 2 }, // frozen, or with a dialog open
    { id: 2, url: `${poshmark.home}/closet`, lastAccessed: 1 },
  ];
  globalThis.chrome = /** @type {any} */ ({
    tabs: { query: async () => [...tabs] },
    scripting: {
      executeScript: (/** @type {any} */ { target }) =>
        target.tabId === 1 ? new Promise(() => {}) : Promise.resolve([{ result: seen }]),
    },
  });
  assert.deepEqual(await storageOf(poshmark), seen);
  tabs.pop();
  assert.equal(await storageOf(poshmark), null);
});

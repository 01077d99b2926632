// Written by `make extension` from everystall/marketplaces/*/form.py; not by hand. What belongs to a
// marketplace: its cookies' domains, the hosts that the seller is asked for, the cookies that are there only
// while somebody is signed in, and the pages that it shows to who is not.

/**
 * @typedef {object} Marketplace
 * @property {string} label
 * @property {string} home
 * @property {string[]} domains whose cookies are its own
 * @property {string[]} hosts match patterns; with http, because a cookie that is not Secure counts as http's
 * @property {string[]} signIn cookies that are all there while somebody is signed in
 * @property {string[]} signInPages regular expressions of addresses
 */

/** @type {Readonly<Record<string, Marketplace>>} */
export const MARKETPLACES = {
  "poshmark": {
    "label": "Poshmark",
    "home": "https://poshmark.com",
    "domains": [
      "poshmark.com"
    ],
    "hosts": [
      "*://*.poshmark.com/*"
    ],
    "signIn": [
      "jwt",
      "ui"
    ],
    "signInPages": [
      "://[^/]+/login([/?#]|$)"
    ]
  },
  "mercari": {
    "label": "Mercari",
    "home": "https://www.mercari.com",
    "domains": [
      "mercari.com"
    ],
    "hosts": [
      "*://*.mercari.com/*"
    ],
    "signIn": [
      "_mwus"
    ],
    "signInPages": [
      "/login/?($|\\?)"
    ]
  },
  "ebay": {
    "label": "eBay",
    "home": "https://www.ebay.com",
    "domains": [
      "ebay.com"
    ],
    "hosts": [
      "*://*.ebay.com/*"
    ],
    "signIn": [
      "s",
      "ds1"
    ],
    "signInPages": [
      "^https?://signin\\.ebay\\.",
      "/signin/?($|\\?)"
    ]
  }
};

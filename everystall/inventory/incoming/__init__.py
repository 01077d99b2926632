"""Files of listings from elsewhere: bytes in, our words out. Pure; no database, no network.

`files.py` reads the bytes and knows which format they are; a format is a module of its own: `own.py` (our
export), `vendoo.py`, `ebay.py` (File Exchange), `shopify.py`. What a file says in words that are none of ours
is left out and told (`rows.Finding`), never guessed.
"""

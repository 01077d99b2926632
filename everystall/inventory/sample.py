"""A listing to try things with: what the demo posts, and what somebody who practises may begin with. Its
photos are in the public domain (demo/photos/CREDITS.md)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import ListingFacts, PhotoFacts

PHOTOS = sorted((Path(__file__).parents[1] / "demo" / "photos").glob("*.jpg"))

#: What the demo sells is what the photos show.
LISTING: dict[str, Any] = {
    "title": "Set of 4 photo prints: flower, Alps, airplane, Nagasaki boats",
    "description": (
        "Four prints on matte paper, 8 x 10 in, of photographs in the public domain: a pink lily leek by "
        "Karl Blossfeldt (1928), an Alpine landscape by Adolphe Braun (1865-1870), an airplane seen from "
        "above by Fédèle Azari (1914-1929) and boats on the river in Nagasaki by Felice Beato (about "
        "1865).\n\nUnframed, never hung, shipped flat between two boards. The photos show all four."
    ),
    "brand": "unbranded",
    "category": "home.wall_art",
    "condition": "new_without_tags",
    "colors": ["brown", "cream"],
    "price": {"amount": 3200, "currency": "USD"},
    "originalPrice": {"amount": 4800, "currency": "USD"},
    "quantity": 1,
    "sku": "PRINTS-4",
    "package": {"weightOz": 12, "lengthIn": 12, "widthIn": 10, "heightIn": 1},
    "shipsFromZip": "97205",
    "shippingPayer": "buyer",
}
#: Per marketplace, the account defaults that a seller would have set once.
DEFAULTS: dict[str, dict[str, Any]] = {
    "ebay": {
        "payment_policy": "Immediate payment",
        "return_policy": "30 days, buyer pays",
        "shipping_policy": "Ground, buyer pays",
    }
}


def takers() -> list[str]:
    """The marketplaces that have a place for it: one of clothes alone has none."""
    photo = PhotoFacts(sha256="0" * 64, width=900, height=900, content_type="image/jpeg")
    listing = ListingFacts.model_validate({**_snake(LISTING), "photos": (photo,)})
    return [name for name in MARKETPLACES if get_form(name).compose(listing, DEFAULTS.get(name, {}))[0]]


def _snake(told: Any) -> Any:
    """The API's names as ours: "shipsFromZip" → "ships_from_zip"."""
    if not isinstance(told, dict):
        return told
    return {re.sub(r"(?=[A-Z])", "_", name).lower(): _snake(value) for name, value in told.items()}

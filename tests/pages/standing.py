"""Listings in every state, as rows: what visits would have left."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from PIL import Image

from everystall.inventory.publications import ACTIONS
from tests.pages.conftest import House

SHIRT = {
    "title": "Linen shirt, hardly worn",
    "description": "A light linen shirt. Worn twice, washed cold, no flaws that I can see.",
    "brand": "Levi's",
    "category": "men.shirts.casual",
    "size": "M",
    "condition": "good",
    "price_cents": 2500,
    "original_price_cents": 6000,
    "sku": "A-17",
    "ships_from_zip": "94110",
    "shipping_payer": "buyer",
}


def _photo() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (80, 60), "steelblue").save(out, "PNG")
    return out.getvalue()


PHOTO = _photo()
PACKAGE = {"weight_oz": 12, "length_in": 12, "width_in": 9, "height_in": 2}


async def listing(house: House, user: UUID, photos: Sequence[bytes] = (PHOTO,), **values: Any) -> str:
    """A complete one, with a photo."""
    known = {"colors": ["blue"], **SHIRT, **values}
    names = ", ".join(known)
    (row,) = await house.rows(
        f"INSERT INTO listings (user_id, package, {names}) "
        "VALUES (:user, CAST(:package AS jsonb), "
        f"{', '.join(f':{name}' for name in known)}) RETURNING id",
        user=user, package=json.dumps(PACKAGE), **known,
    )  # fmt: skip
    originals = house.settings.everystall_home / "photos" / "originals"
    originals.mkdir(parents=True, exist_ok=True)
    for position, data in enumerate(photos):
        sha256, image = hashlib.sha256(data).hexdigest(), Image.open(io.BytesIO(data))
        (originals / sha256).write_bytes(data)
        await house.rows(
            "INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height, "
            "byte_size) VALUES (:user, :id, :position, :sha256, :type, :width, :height, :size)",
            user=user, id=row["id"], position=position, sha256=sha256, type=image.get_format_mimetype(),
            width=image.width, height=image.height, size=len(data),
        )  # fmt: skip
    return str(row["id"])


async def account(house: House, user: UUID, marketplace: str, name: str, **values: Any) -> str:
    """Connected and seen signed in; its public id."""
    public = f"bp_{marketplace}_{name.lower()[:20]}"
    known = {"needs_you": None, "defaults": {}, **values}
    (row,) = await house.rows(
        "INSERT INTO connections (user_id, public_id, marketplace, account_id, account_name, base_url, "
        "needs_you, defaults) VALUES (:user, :public, :marketplace, :public, :name, :base, "
        "CAST(:needs AS jsonb), "
        "CAST(:defaults AS jsonb)) RETURNING id",
        user=user, public=public, marketplace=marketplace, name=name,
        base=house.settings.base_url(marketplace),
        needs=json.dumps(known.pop("needs_you")) if known["needs_you"] else None,
        defaults=json.dumps(known["defaults"]),
    )  # fmt: skip
    await house.rows(
        "INSERT INTO user_marketplace_sessions (user_id, connection_id, marketplace, seq, dek_version, "
        "sealed, origin, captured_at, consented_at, expires_at, worked_at) VALUES "
        "(:user, :id, :marketplace, 1, 1, '', 'extension', "
        "now(), now(), now() + interval '6 days', now())",
        user=user, id=row["id"], marketplace=marketplace,
    )  # fmt: skip
    return public


async def publication(house: House, user: UUID, listing_id: str, public_id: str, **values: Any) -> str:
    """Of that listing on that account; jsonb columns are given as Python's."""
    plain = {
        name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in values.items()
    }
    cast = {
        name: f"CAST(:{name} AS jsonb)" if isinstance(values[name], dict | list)
        else f"CAST(:{name} AS timestamptz)" if name.endswith(("_at", "_to")) else f":{name}"
        for name in values
    }  # fmt: skip
    (row,) = await house.rows(
        f"INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision"
        f"{''.join(f', {name}' for name in values)}) SELECT :user, :listing, c.id, c.marketplace, 1"
        f"{''.join(f', {one}' for one in cast.values())} FROM connections c "
        "WHERE c.public_id = :account RETURNING id",
        user=user, listing=listing_id, account=public_id, **plain,
    )  # fmt: skip
    return str(row["id"])


async def attempt(house: House, user: UUID, publication_id: str, **values: Any) -> str:
    more = {name: json.dumps(value) for name, value in values.items()}
    (row,) = await house.rows(
        f"INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, "
        f"fields_hash, fence"
        f"{''.join(f', {name}' for name in more)}) SELECT :user, p.id, p.connection_id, 1, '{{}}', 'h', 1"
        f"{''.join(f', CAST(:{name} AS jsonb)' for name in more)} FROM publications p "
        "WHERE p.id = CAST(:id AS uuid) RETURNING id",
        user=user, id=publication_id, **more,
    )  # fmt: skip
    return str(row["id"])


def pictured(house: House, user: UUID, picture: bytes = b"a picture") -> dict[str, str]:
    """A seller's evidence, whose picture is where the photos are."""
    now, name = datetime.now(UTC), f"{'0' * 16}.png"
    path = house.settings.everystall_home / "photos" / "evidence" / f"{now:%Y-%m-%d}" / str(user) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)
    return {"screenshot": f"{now:%Y-%m-%d}/{name}", "at": now.isoformat()}


def question(
    listing_id: str, public_id: str, reason: str, message: str, *actions: str, **more: Any
) -> dict[str, Any]:
    """As publications.needs_you makes it."""
    where = f"/api/listings/{listing_id}/publications/{public_id}"
    shown = [
        {"name": one, "label": ACTIONS[one], "method": "POST", "href": f"{where}/{one}"} for one in actions
    ]
    return {"reason": reason, "message": message, "url": None, "actions": shown, **more}

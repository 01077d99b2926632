"""Templates of listings: what is kept of one, and what another is begun with."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO

from tests.api.conftest import Seller, Site, live_listing

PARCEL = {"weightOz": 12, "lengthIn": 12.0, "widthIn": 9.0, "heightIn": 2.0}
POLICIES = {"ebay": {"shippingPolicy": "Ground", "title": "Only of this one"}}


async def test_a_draft_begins_with_what_another_had(site: Site, alice: Seller, bob: Seller):
    one = await alice.listing(
        package=PARCEL, shipsFromZip="94110", shippingPayer="seller", overrides=POLICIES
    )
    kept = await alice.post(f"/api/listings/{one}/templates", {"name": "Light parcel", "footer": "Bye."})
    assert kept.status_code == 201, kept.text
    told = kept.json()
    assert (told["name"], told["footer"], told["shipsFromZip"]) == ("Light parcel", "Bye.", "94110")
    assert told["overrides"] == {"ebay": {"shippingPolicy": "Ground"}}
    assert (await alice.get("/api/templates")).json() == {"templates": [told]}
    path = f"/api/templates/{told['templateId']}"
    made = await alice.post(f"{path}/listings", None)
    assert made.status_code == 201, made.text
    draft = made.json()
    assert {name: value for name, value in draft["package"].items() if value} == PARCEL
    assert (draft["title"], draft["description"], draft["shippingPayer"]) == (None, "Bye.", "seller")
    assert draft["overrides"] == {"ebay": {"shippingPolicy": "Ground"}}
    again = await alice.post(f"/api/listings/{one}/templates", {"name": "Light parcel"})
    assert (again.status_code, again.json()["error"]) == (409, "conflict")
    for bad in ({"name": ""}, {"name": " x"}, {"name": "a\nb"}, {"name": "x" * 61}, {}):
        assert (await alice.post(f"/api/listings/{one}/templates", bad)).status_code == 422
    names = zipfile.ZipFile(BytesIO((await alice.get("/api/export")).content))
    assert json.loads(names.read("inventory.json"))["templates"][0]["name"] == "Light parcel"

    for method, address in (
        ("POST", f"{path}/listings"), ("DELETE", path), ("POST", f"/api/listings/{one}{path[4:]}"),
        ("POST", f"/api/listings/{one}/templates"),
    ):  # fmt: skip
        body = {"name": "mine"} if address.endswith("/templates") else None
        assert (await bob.client.request(method, address, json=body)).status_code == 404
    assert (await bob.get("/api/templates")).json() == {"templates": []}
    assert (await alice.client.delete(path)).status_code == 200
    assert (await alice.get("/api/templates")).json() == {"templates": []}
    assert (await alice.get(f"/api/listings/{draft['listingId']}")).json()["package"] == draft["package"]


async def test_it_is_applied_once_and_put_where_the_listing_is_live(site: Site, alice: Seller):
    one, _ = await live_listing(site, alice, "mercari", description="A light shirt, hardly worn.")
    other = await alice.listing(shipsFromZip="10001", photos=0)
    kept = (
        await alice.post(f"/api/listings/{other}/templates", {"name": "From New York", "footer": "Thanks!"})
    ).json()
    path = f"/api/listings/{one}/templates/{kept['templateId']}"
    first = (await alice.post(path, None)).json()
    assert (first["shipsFromZip"], first["description"]) == (
        "10001",
        "A light shirt, hardly worn.\n\nThanks!",
    )
    assert len(await site.wakes()) == 1
    second = (await alice.post(path, None)).json()
    assert (second["description"], second["revision"]) == (first["description"], first["revision"])

"""The prices' pages: rules, falling prices, many at once, relisting; each by forms, each seller's own."""

from __future__ import annotations

import html
import re

from everystall.inventory import price_changes
from tests.pages.conftest import EVIL
from tests.pages.plain.conftest import plain
from tests.pages.standing import account, attempt, listing, publication

#: What eBay asks for once.
EBAY = {"payment_policy": "Immediate payment", "return_policy": "30 days", "shipping_policy": "Ground"}


async def live(house, user, title="Linen shirt", marketplace="ebay", days=0, **values):
    """A listing that is live there, for so many days; its id and its publication's."""
    name = f"{marketplace}-{str(user)[:6]}"
    known = await house.rows("SELECT public_id FROM connections WHERE account_name = :name", name=name)
    on = known[0]["public_id"] if known else await account(house, user, marketplace, name, defaults=EBAY)
    made = await listing(house, user, title=title, **values)
    of = await publication(house, user, made, on, state="live", put="live", put_revision=1)
    await attempt(house, user, of)
    await house.rows(
        "UPDATE attempts SET outcome = 'live', armed_at = now() - :days * interval '1 day' "
        "WHERE publication_id = CAST(:of AS uuid)",
        days=days, of=of,
    )  # fmt: skip
    return made, of


async def test_a_rule_is_tried_saved_and_taken_away(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    said = await alice.text("/prices")
    assert "$25.00 costs $25.00 there Mercari takes $2.50 $22.50 is left" in said
    assert "Mercari As the listing says" in said
    form = {"marketplace": "mercari", "mark_up_percent": "10", "mark_up": "$1", "rounding": "99"}
    tried = plain((await alice.post("/prices/rule", do="try", example="25", **form)).text)
    assert "Not saved yet. $25.00 costs $28.99 there" in tried
    assert "Rounded up from $28.50." in tried
    assert await house.rows("SELECT 1 FROM price_rules") == []
    await alice.done("/prices/rule", do="save", **form)
    page = await alice.text("/prices?example=10")
    assert "Mercari By a rule $10.00 costs $12.99 there" in page
    assert "$25.00 costs $25.00 there Mercari" in await bob.text("/prices")
    await bob.done("/prices/rule", do="delete", marketplace="mercari")
    net = {"marketplace": "mercari", "minimum_net": "30", "rounding": "none"}
    asked = await alice.post("/prices/rule", do="save", **net)
    assert asked.status_code == 422
    assert "Mercari takes its fee of the postage that the buyer pays, too" in plain(asked.text)
    await alice.done("/prices/rule", do="save", postage="0", **net)
    assert "Reckoned with no postage: where the buyer pays that" in await alice.text("/prices")
    assert re.search(r'id="mercari-postage"[^>]* value="0"', (await alice.get("/prices")).text)
    assert "would leave less than $30.00 after fees: raised." in await alice.text("/prices")
    await alice.done("/prices/rule", do="delete", marketplace="mercari")
    assert "Mercari As the listing says" in await alice.text("/prices")


async def test_what_is_wrong_with_a_rule_is_said_at_its_field(house, reader):
    alice = await reader("alice")
    for name, value, said in (
        ("mark_up_percent", "ten", "Write a percentage, such as 12 or 12.5."),
        ("mark_up_percent", "-95", "That is -90 to 900 per cent."),
        ("mark_up_percent", "1.234", "Write a percentage"),
        ("mark_up", "1,2,3.4.5", "Write an amount in dollars"),
        ("mark_up", "99999999", "That is more than a price here may be."),
        ("minimum_net", "-3", "Write an amount in dollars"),
        ("tax_percent", "26", "That is 0 to 25 per cent."),
        ("rounding", "up", "Choose one of these."),
    ):
        answer = await alice.post("/prices/rule", do="save", marketplace="ebay", **{name: value})
        assert answer.status_code == 422, value
        assert said in plain(answer.text)
        assert name == "rounding" or f'value="{value}"' in answer.text
    assert await house.rows("SELECT 1 FROM price_rules") == []


async def test_a_marketplace_of_whole_dollars_offers_nothing_else(house, reader):
    alice = await reader("alice")
    answer = await alice.post("/prices/rule", do="save", marketplace="poshmark", rounding="99")
    assert answer.status_code == 422
    assert "Poshmark takes whole dollars only." in answer.text
    assert (await alice.post("/prices/rule", do="save", marketplace="nowhere")).status_code == 400
    shown = re.search(r'id="poshmark-rounding".*?</select>', (await alice.get("/prices")).text, re.S)[0]
    assert re.findall(r'value="(\w+)"', shown) == ["whole_dollars"]


async def test_prices_of_a_marketplace_are_looked_at_and_then_exactly_that(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    shirt, _ = await live(house, alice.id)
    await live(house, bob.id, title="Bob's mug")
    look = {"on": "ebay", "how": "percent", "value": "-10"}
    looked = await alice.post("/prices/changes", **look)
    said = plain(looked.text)
    assert "Get another price 1" in said
    assert "Linen shirt $25.00 → $22.50" in said
    assert "Bob" not in said
    assert await prices(house) == {2500}
    token = re.search(r'name="token" value="([^"]+)"', looked.text)[1]
    done = plain((await alice.post("/prices/changes", **look, token=token, sure="yes")).text)
    assert "1 price is changed." in done
    rows = await house.rows("SELECT price_cents FROM listings WHERE id = CAST(:id AS uuid)", id=shirt)
    assert rows[0]["price_cents"] == 2250
    stale = await alice.post("/prices/changes", **look, token=token, sure="yes")
    assert stale.status_code == 409
    assert "sure" not in plain(stale.text)
    assert await prices(house) == {2250, 2500}
    for wrong in ({"value": "lots"}, {"value": ""}, {"value": "0"}, {"how": "dollars", "value": "x"}):
        assert (await alice.post("/prices/changes", **{**look, **wrong})).status_code == 422
    assert (await alice.post("/prices/changes", on="nowhere")).status_code == 303


async def prices(house):
    return {row["price_cents"] for row in await house.rows("SELECT price_cents FROM listings")}


async def test_rules_are_applied_to_what_is_live(house, reader):
    alice = await reader("alice")
    shirt, _ = await live(house, alice.id)
    mercari = await account(house, alice.id, "mercari", "AliceM")
    await publication(house, alice.id, shirt, mercari, state="live", put="live", put_revision=1)
    await alice.done("/prices/rule", do="save", marketplace="ebay", mark_up="5")
    assert "1 live listing stands by another rule than this." in await alice.text("/prices")
    look = {"on": "ebay", "how": "apply_rules", "value": ""}
    looked = await alice.post("/prices/changes", **look)
    assert "eBay $25.00 → $30.00 · Mercari $25.00" in plain(looked.text)
    assert "Mercari $25.00 →" not in plain(looked.text)
    token = re.search(r'name="token" value="([^"]+)"', looked.text)[1]
    await alice.post("/prices/changes", **look, token=token, sure="yes")
    assert "stands by another rule" not in await alice.text("/prices")
    assert await prices(house) == {2500}


async def test_prices_of_many_are_put_back_where_nobody_changed_them_since(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    shirt, _ = await live(house, alice.id)
    mug, _ = await live(house, alice.id, title="Stoneware mug", marketplace="ebay", sku="M-1")
    await live(house, bob.id, title="Bob's mug")
    look = {"on": "ebay", "how": "percent", "value": "-10"}
    token = re.search(r'name="token" value="([^"]+)"', (await alice.post("/prices/changes", **look)).text)[1]
    done = (await alice.post("/prices/changes", **look, token=token, sure="yes")).text
    made = html.unescape(re.search(r'name="made" value="([^"]+)"', done)[1])
    await house.rows("UPDATE listings SET price_cents = 1900 WHERE id = CAST(:id AS uuid)", id=mug)
    before = await house.rows("SELECT price_cents, revision FROM listings ORDER BY id")
    assert (await bob.post("/prices/changes/undo", made=made)).status_code == 404
    assert await house.rows("SELECT price_cents, revision FROM listings ORDER BY id") == before
    for wrong in ("", "x", "[1]", made.replace("2250", "0"), made.replace("2250", '"x"')):
        assert (await alice.post("/prices/changes/undo", made=wrong)).status_code == 400
    said = plain((await alice.post("/prices/changes/undo", made=made)).text)
    assert "1 price is as it was. 1 was changed since, and stays." in said
    rows = await house.rows("SELECT id, price_cents, revision FROM listings")
    found = {str(row["id"]): (row["price_cents"], row["revision"]) for row in rows}
    assert found[shirt] == (2500, 3)
    assert found[mug][0] == 1900
    (row,) = await house.rows(
        "SELECT wanted_revision FROM publications WHERE listing_id = CAST(:id AS uuid)", id=shirt
    )
    assert row["wanted_revision"] == 3
    again = plain((await alice.post("/prices/changes/undo", made=made)).text)
    assert "0 prices are as they were. 2 were changed since, and stay." in again


async def test_rules_that_were_applied_are_put_back(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await live(house, bob.id, title="Bob's mug")
    _, of = await live(house, alice.id)
    await alice.done("/prices/rule", do="save", marketplace="ebay", mark_up="5")
    look = {"on": "ebay", "how": "apply_rules", "value": ""}
    token = re.search(r'name="token" value="([^"]+)"', (await alice.post("/prices/changes", **look)).text)[1]
    done = (await alice.post("/prices/changes", **look, token=token, sure="yes")).text
    made = html.unescape(re.search(r'name="made" value="([^"]+)"', done)[1])
    rule = "SELECT price_rule FROM publications WHERE id = CAST(:of AS uuid)"
    assert (await house.rows(rule, of=of))[0]["price_rule"]["cents"] == 500
    said = plain((await alice.post("/prices/changes/undo", made=made)).text)
    assert "1 price is as it was." in said
    assert await house.rows(rule, of=of) == [{"price_rule": None}]


async def test_more_than_are_taken_at_once_come_part_by_part(house, reader, monkeypatch):
    monkeypatch.setattr(price_changes, "MOST", 4)  # 200
    alice = await reader("alice")
    await live(house, alice.id)
    await house.rows(
        "WITH l AS (INSERT INTO listings (user_id, title, description, brand, category, size, condition, "
        "colors, price_cents, package, ships_from_zip, shipping_payer) SELECT user_id, title, description, "
        "brand, category, size, condition, colors, 900, package, ships_from_zip, shipping_payer "
        "FROM listings, generate_series(1, 5) RETURNING id, user_id), "
        "p AS (INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, "
        "height, byte_size) SELECT l.user_id, l.id, 0, sha256, content_type, width, height, byte_size "
        "FROM l, listing_photos o) "
        "INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision, state, "
        "put, put_revision) SELECT l.user_id, l.id, c.id, c.marketplace, 1, 'live', 'live', 1 "
        "FROM l, connections c"
    )
    look = {"on": "ebay", "how": "dollars", "value": "-1"}
    first = await alice.post("/prices/changes", **look)
    assert "the next ones come after that" in plain(first.text)
    token = re.search(r'name="token" value="([^"]+)"', first.text)[1]
    done = (await alice.post("/prices/changes", **look, token=token, sure="yes", after="")).text
    after = re.search(r'name="after" value="([^"]+)"', done)[1]
    rest = plain((await alice.post("/prices/changes", **look, after=after)).text)
    assert "come after that" not in rest
    assert "Get another price 2" in rest


async def test_prices_fall_by_a_schedule_for_all_and_one_for_a_listing(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    shirt, _ = await live(house, alice.id)
    assert "Nothing falls by itself" in await alice.text("/prices/drops")
    form = {"by": "percent", "step": "10", "every_days": "7", "floor": "15"}
    assert await alice.done("/prices/drops", do="save", **form) == "/prices/drops?said=drops"
    said = await alice.text("/prices/drops")
    assert "Falls next Linen shirt $25.00 → $22.00" in said
    assert "Linen" not in await bob.text("/prices/drops")
    own = {**form, "by": "cents", "step": "1.50", "listing": shirt}
    assert await alice.done("/prices/drops", do="save", **own) == f"/listings/{shirt}?said=drops"
    said = await alice.text("/prices/drops")
    assert "Listings with a schedule of their own Linen shirt $1.50 every 7 days, never below $15.00" in said
    assert "$25.00 → $23.00" in said
    assert "Falls to $23.00" in await alice.text(f"/listings/{shirt}")
    assert "All others: 10% every 7 days" in await alice.text(f"/prices/drops?listing={shirt}")
    assert (await bob.get(f"/prices/drops?listing={shirt}")).status_code == 404
    assert (await bob.post("/prices/drops", do="save", **own)).status_code == 404
    await bob.done("/prices/drops", do="delete")
    assert len(await house.rows("SELECT 1 FROM price_drops")) == 2
    await alice.done("/prices/drops", do="delete", listing=shirt)
    await alice.done("/prices/drops", do="delete")
    assert await house.rows("SELECT 1 FROM price_drops") == []


async def test_a_schedule_that_cannot_be_is_refused_at_its_field(house, reader):
    alice = await reader("alice")
    form = {"by": "percent", "step": "10", "every_days": "7", "floor": "15"}
    for name, value in (
        ("step", ""), ("step", "91"), ("step", "0"), ("every_days", "0"), ("every_days", "x"), ("floor", ""),
        ("floor", "0"), ("floor", "-1"),
    ):  # fmt: skip
        answer = await alice.post("/prices/drops", do="save", **{**form, name: value})
        assert answer.status_code == 422, (name, value)
        assert f'id="{name}-error"' in answer.text
    assert await house.rows("SELECT 1 FROM price_drops") == []


async def test_relisting_goes_by_a_rule_and_says_what_is_next(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    shirt, _ = await live(house, alice.id, title=EVIL, days=58)
    await live(house, alice.id, title="New mug", days=1)
    assert "Without a rule nothing is relisted by itself." in await alice.text("/prices/relisting")
    form = {"marketplace": "ebay", "after_days": "60", "per_day": "3", "between_days": ""}
    await alice.done("/prices/relisting", do="save", **form)
    page = (await alice.get("/prices/relisting")).text
    assert f'href="/listings/{shirt}/stalls"' in page
    assert "<img src=x" not in page
    assert "New mug" not in page
    (rule,) = await house.rows("SELECT after_days, per_day, between_days FROM relist_rules")
    assert dict(rule) == {"after_days": 60, "per_day": 3, "between_days": 60}
    assert shirt not in (await bob.get("/prices/relisting")).text
    for wrong in (
        {"after_days": ""}, {"per_day": "101"}, {"between_days": "0"}, {"after_days": "400"},
        {"marketplace": "mercari", "after_days": "29"},
    ):  # fmt: skip
        answer = await alice.post("/prices/relisting", do="save", **{**form, **wrong})
        assert answer.status_code == 422, wrong
        assert 'aria-invalid="true"' in answer.text
    await bob.done("/prices/relisting", do="delete", marketplace="ebay")
    assert len(await house.rows("SELECT 1 FROM relist_rules")) == 1
    await alice.done("/prices/relisting", do="delete", marketplace="ebay")
    assert await house.rows("SELECT 1 FROM relist_rules") == []

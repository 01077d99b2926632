"""Which listings of an account's list are worth a look at their own page, and when."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest
from sqlalchemy import select

from everystall.errors import LeaseLost, MarketplaceBusy
from everystall.marketplaces.base import Active, Money, Seen
from everystall.models import Attempt, Publication
from everystall.worker import hands, read_in, watch
from everystall.worker.hands import Held, Round, _fits, _judge
from everystall.worker.visit import Visit

KNOWN = {"title": "A shirt", "price": {"amount": 2500, "currency": "USD"}}
DRAFT = {"description": "It is what it is.", "category": ["Men", "Shirts"]}


def _held(**more: object) -> Held:
    as_it_is = {"standing": True, "unsettled": False, "known": KNOWN, "listed": None, **more}
    return Held(uuid4(), uuid4(), "m1", **as_it_is)  # type: ignore[arg-type]


def _row(
    title: str = "A shirt", dollars: int | None = 25, id: str = "m1", quantity: int | None = None
) -> Active:
    return Active(id, "live", title, Money(amount=dollars * 100) if dollars else None, quantity=quantity)


@pytest.mark.parametrize(
    ("held", "row", "fits"),
    [
        (_held(), _row(), True),
        (_held(), _row("A  shirt "), True),
        (_held(), _row(dollars=None), True),  # a list that shows no price says nothing of it
        (_held(), _row(quantity=1), True),
        (_held(), _row(quantity=2), False),
        (_held(known={**KNOWN, "quantity": 3}), _row(quantity=2), True),  # it may be sold
        (_held(listed={**KNOWN, "quantity": 4}), _row(quantity=4), True),
        (_held(), None, False),
        (_held(), _row(dollars=24), False),
        (_held(), _row("A blue shirt"), False),
        (_held(unsettled=True), _row("A blue shirt"), True),  # a change is on its way, and looks itself
        (_held(unsettled=True), None, False),
        # the list has its own way of showing it, and its page was looked at because of that
        (_held(listed={"title": "A sh…", "price": KNOWN["price"]}), _row("A sh…"), True),
        (_held(listed={"title": "A sh…", "price": KNOWN["price"]}), _row("A sh…", 24), False),
    ],
)
def test_what_the_list_lacks_or_shows_otherwise_is_worth_a_look(held: Held, row: Active | None, fits: bool):
    assert _fits(held, {row.remote_id: row} if row else {}, [], ()) is fits


def test_what_is_gone_is_worth_one_where_something_like_it_is_there():
    gone = _held(standing=False)
    assert _fits(gone, {}, [], ())
    assert _fits(gone, {}, [_row("Another", id="m2"), _row(dollars=24, id="m3")], ())
    assert not _fits(gone, {}, [_row(id="m2")], ())


def test_what_stands_where_the_list_was_not_read_is_worth_none():
    assert _fits(_held(), {}, [], {"m1"})
    assert not _fits(_held(), {"m1": _row("A blue shirt")}, [], {"m1"})


class _Visit:
    """What a step asks of a visit; `seen` is what the listing's page says. `meanwhile`: as that is asked."""

    locked, find_locked = Visit.locked, Visit.find_locked
    adapter = property(lambda self: self)

    def __init__(self, db, account, seen, meanwhile):
        self.lease = SimpleNamespace(
            transaction=lambda: db.as_user(account.user_id), connection_id=account.id
        )
        self.connection, self.label, self.seen, self.meanwhile = account, "Mercari", seen, meanwhile
        self.round = None

    async def page(self):
        return None

    async def read(self, page, remote_id):
        await self._and("read")
        return self.seen

    async def find_active(self, page, **_):
        await self._and("find_active")
        return []

    async def _and(self, asked):
        if asked in self.meanwhile:
            await self.meanwhile[asked]()


@pytest.mark.parametrize(
    ("state", "when"), [("ended", "before"), ("sold", "before"), ("ended", "find_active"), ("sold", "read")]
)
async def test_a_doubt_about_what_was_replaced_meanwhile_changes_nothing(db, alice, stand, state, when):
    _, (here, _) = await stand("mercari", "ebay")
    async with db.as_user(alice) as session:
        old = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        old.draft = {**old.draft, **DRAFT}
        held = Held(old.publication_id, old.id, "r-1", True, False, KNOWN, None)

    async def is_replaced():
        async with db.as_user(alice) as session:
            gone = await session.get_one(Attempt, old.id)
            gone.outcome = "ended"
            await session.flush()
            session.add(
                Attempt(user_id=alice, publication_id=old.publication_id, connection_id=here.id,
                        listing_revision=1, draft=old.draft, fields_hash="h", fence=1, remote_id="r-9",
                        outcome="live")
            )  # fmt: skip
            (await session.get_one(Publication, old.publication_id)).remote_id = "r-9"

    if when == "before":
        await is_replaced()
    visit = _Visit(db, here, Seen(state), {when: is_replaced})
    await _judge(visit, Round(held=[held]), held)
    async with db.as_user(alice) as session:
        now = await session.get_one(Publication, old.publication_id)
        assert (now.put, now.wanted, now.remote_id, now.needs_you) == ("live", "live", "r-9", None)
        outcomes = await session.execute(
            select(Attempt.remote_id, Attempt.outcome).where(Attempt.connection_id == here.id)
        )
        assert dict(outcomes.all()) == {"r-1": "ended", "r-9": "live"}


class _Listed(_Visit):
    """Its account's list of what is live is these ids, 20 on a page."""

    def __init__(self, db, account, ids, seen):
        super().__init__(db, account, seen, {})
        self.ids, self.asked, self.looked = ids, [], []

    async def list_active(self, page, number):
        self.asked.append(number)
        rows = self.ids[(number - 1) * 20 : number * 20]
        shown = [_row("A shirt" if id[0] == "r" else f"Number {id}", id=id) for id in rows]
        return shown, len(self.ids) > number * 20

    async def read(self, page, remote_id):
        self.looked.append(remote_id)
        return self.seen

    async def signed_in(self):
        pass

    async def look(self):
        """The pages of the list that one look takes."""
        self.asked, self.round = [], Round()
        while self.round is not None:
            await hands.go_on(self, self.round)
        return self.asked


async def test_what_was_ended_by_hand_on_a_large_account_is_noticed_by_few_pages_within_the_hour(
    db, admin, alice, bob, stand, make_connection
):
    """Of 2,000 most are none of ours. It costs no more than a page in a quarter of an hour."""
    _, (here, _) = await stand("mercari", "ebay")
    his = await make_connection(bob, "mercari")
    async with db.as_user(alice) as session:
        mine = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        mine.draft = {**mine.draft, **KNOWN, **DRAFT}

    async def seconds():
        asked = "SELECT extract(epoch FROM next_list_at - now())::float AS s FROM connections WHERE id = %s"
        return round((await (await admin.execute(asked, [here.id])).fetchone())["s"], -2)

    visit = _Listed(db, here, [f"m{n}" for n in range(1400)] + ["r-1"] + [f"m{n}" for n in range(1400, 2000)],
                    Seen("ended"))  # fmt: skip
    assert await visit.look() == list(range(1, 102))
    assert await seconds() == 101 * 900
    assert (len(await visit.look()), await seconds()) == (4, 3600)
    assert visit.looked == []
    visit.ids.remove("r-1")
    asked = await visit.look()
    assert len(asked) <= 12
    assert await seconds() == len(asked) * 900
    assert visit.looked == ["r-1"]
    assert (len(await visit.look()), visit.looked) == (4, ["r-1"])
    rows = await (await admin.execute("SELECT id, live_ids FROM connections")).fetchall()
    kept = {row["id"]: row["live_ids"] for row in rows}
    assert (kept[here.id], kept[his.id]) == (visit.ids, None)
    async with db.as_user(alice) as session:
        now = await session.get_one(Publication, mine.publication_id)
        assert (now.put, now.wanted, now.needs_you["reason"]) == ("ended", "ended", "gone")


async def test_what_we_posted_and_took_down_on_a_large_account_is_where_it_is_expected(
    db, alice, bob, stand, make_connection
):
    """So it costs no page; and another seller's account has nothing of it."""
    _, (here, _) = await stand("mercari", "ebay")
    his = await make_connection(bob, "mercari")
    ids = [f"m{n}" for n in range(2000)]
    visit = _Listed(db, here, [*ids[:900], "r-1", *ids[900:]], Seen("live"))
    async with db.as_user(alice) as session:
        old = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        old.draft = {**old.draft, **KNOWN, **DRAFT}
    await visit.look()
    async with db.as_user(alice) as session:
        old = await session.get_one(Attempt, old.id)
        old.outcome = "ended"
        await session.flush()
        session.add(Attempt(user_id=alice, publication_id=old.publication_id, connection_id=here.id,
                            listing_revision=1, draft=old.draft, fields_hash="h", fence=1,
                            remote_id="r-9", outcome="live"))  # fmt: skip
    visit.ids = ["r-9", *ids]
    assert (len(await visit.look()), visit.looked) == (4, [])
    other = _Listed(db, his, ["m0"], Seen("live"))
    assert (await other.look(), other.looked) == ([1], [])


@pytest.mark.parametrize(("why", "anew"), [("due", False), (None, False), ("sale", True)])
async def test_a_check_in_between_lets_a_round_go_on_unless_something_sold(monkeypatch, why, anew):
    async def says(_):
        return why

    monkeypatch.setattr(watch, "watch", says)
    running = Round(vain=1)
    visit = SimpleNamespace(round=running, urgent=False)
    await Visit.watch(visit)
    assert (visit.round is not running) is anew
    assert visit.round.after_sale is anew
    visit.round = None
    await Visit.watch(visit)
    assert (visit.round is not None) is (why is not None)


@pytest.mark.parametrize("step", [hands, read_in])
async def test_what_a_marketplace_asks_for_while_its_lists_are_read_is_the_accounts_rest(
    db, admin, stand, step
):
    _, (here, _) = await stand("mercari", "ebay")
    await step.failed(_Visit(db, here, None, {}), MarketplaceBusy("Not now.", retry_after=600))
    rest = "SELECT extract(epoch FROM rest_until - now())::float AS seconds FROM connections WHERE id = %s"
    (row,) = await (await admin.execute(rest, [here.id])).fetchall()
    assert 500 < (row["seconds"] or 0) <= 600


async def test_a_round_that_kills_its_worker_is_not_begun_again_at_once(
    db, admin, bob, stand, make_connection
):
    """Of whoever is killed nothing is written down after that."""
    _, (here, _) = await stand("mercari", "ebay")
    his = await make_connection(bob, "mercari")
    await admin.execute("UPDATE connections SET next_list_at = now() - interval '1 hour'")
    visit = _Listed(db, here, ["r-1"], Seen("live"))

    async def is_killed(page, number):
        raise LeaseLost

    visit.list_active = is_killed
    with pytest.raises(LeaseLost):
        await visit.look()
    rows = await (await admin.execute("SELECT id, next_list_at > now() AS later FROM connections")).fetchall()
    later = {row["id"]: row["later"] for row in rows}
    assert (later[here.id], later[his.id]) == (True, False)

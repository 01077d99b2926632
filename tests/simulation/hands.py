"""The judge of changes to what is live: what a click puts was armed, and the seller's hand is respected.

A hand's change that the form showed may be written over only where the seller said so: *Use what I wrote
here*, or an edit of that field here after she was told of it. What differed on the page from the moment on
that we put it counts as nobody's (`read_back`): the seller is told of a difference, and nobody knows whose
it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from everystall.marketplaces import get_form
from everystall.marketplaces.base import Draft, flat

if TYPE_CHECKING:
    from tests.simulation.market import Item, SimPage
    from tests.simulation.stage import Life

_LIVE = """
SELECT a.revising, a.adopted, a.conflict, a.remote_id, a.fence, p.read_back, p.notes, c.lease_fence,
       c.lease_until > clock_timestamp() AS held, c.rest_until > clock_timestamp() AS rests
FROM attempts a JOIN publications p ON p.id = a.publication_id JOIN connections c ON c.id = a.connection_id
WHERE a.user_id = %(user)s AND a.outcome = 'live' AND a.connection_id = %(account)s"""
_WANTED = """
SELECT p.marketplace, p.remote_id, p.notes, p.read_back, l.title, l.description, l.price_cents,
       l.quantity - l.quantity_sold AS quantity,
       p.wanted_revision = l.revision AND p.put_revision = l.revision AS put
FROM publications p JOIN listings l ON l.id = p.listing_id
WHERE p.user_id = %(user)s AND p.wanted = 'live' AND p.put = 'live' AND p.needs_you IS NULL"""


class Hands:
    """Of one example."""

    def __init__(self, life: Life) -> None:
        self._life = life
        #: (listing there, field, its value by hand): the seller said *Use what I wrote here*.
        self._given_up: list[tuple[str, str, Any]] = []
        #: The same for *Keep what is there*, with what was wanted here then.
        self._kept: list[tuple[str, str, Any, Any]] = []

    def conflict(self, listing: UUID, account: str) -> tuple[str, Mapping[str, Any]] | None:
        """What the seller is asked about now."""
        rows = self._life.rows(
            _LIVE + " AND p.listing_id = %(listing)s",
            account=self._life.connections[account], listing=listing,
        )  # fmt: skip
        return (rows[0]["remote_id"], rows[0]["conflict"]) if rows and rows[0]["conflict"] else None

    def answered(self, action: str, conflict: tuple[str, Mapping[str, Any]] | None) -> None:
        if conflict is None or action not in ("put_mine", "keep_theirs"):
            return
        id, sides = conflict
        for name, side in sides.items():
            if action == "put_mine":
                self._given_up.append((id, name, side["theirs"]))
            else:
                self._kept.append((id, name, side["theirs"], side["ours"]))

    def form_shown(self, page: SimPage, item: Item) -> None:
        """What of it may be written over, by hand or not."""
        row = self._row(page, item)
        if row is None:
            return
        told = {note["field"] for note in row["notes"]}
        for name, value in item.hand.items():
            nobodys = (row["read_back"] or {}).get(name) is False and name not in row["adopted"]
            known = name in told and row["adopted"].get(name) == value
            if nobodys or known or (item.id, name, value) in self._given_up:
                page.free.add(name)

    def saved(self, page: SimPage, item: Item, draft: Draft, names: frozenset[str]) -> None:
        row, lease, wrong = self._row(page, item), page.process.lease, self._life.wrong
        if row is None or lease is None or row["revising"] is None:
            wrong.append("a change for which nothing is armed")
            return
        if not row["held"] or {row["lease_fence"], row["fence"]} != {lease.fence}:
            wrong.append("a change after the lease was lost")
        if row["rests"]:
            wrong.append("a change while the marketplace wants to be left alone")
        if row["revising"]["draft"] != draft.model_dump(mode="json"):
            wrong.append("a change that is not what was armed")
        ours = flat(draft.model_dump(mode="json"))
        for name in names & page.by_hand.keys():
            theirs = page.by_hand[name]
            kept = (item.id, name, theirs, ours[name]) in self._kept
            told = name in page.free or any(one[:3] == (item.id, name, theirs) for one in self._kept)
            if theirs != ours[name] and (kept or not told):
                wrong.append(f"what the seller changed there by hand was written over: {name}")

    def judge(self, attempts: Iterable[Mapping[str, Any]]) -> None:
        """Nobody is told of a hand's change that was none."""
        by_hand = [(item.id, *one) for item in self._life.world.items for one in item.hands]
        own = {item.id for item in self._life.world.items if item.by == "hand"}
        for attempt in attempts:
            said = [(name, sides["theirs"]) for name, sides in (attempt["conflict"] or {}).items()]
            for name, value in (*said, *attempt["adopted"].items()):
                if attempt["remote_id"] not in own and (attempt["remote_id"], name, value) not in by_hand:
                    self._life.wrong.append(f"our own change was taken for the seller's: {name}, {value}")

    def judge_end(self) -> None:
        """There is what is wanted, or the seller's hand, and she knows."""
        items = {item.id: item for item in self._life.world.items if item.by == "us"}
        for row in self._life.rows(_WANTED):
            item = items.get(row["remote_id"])
            if item is None or item.state != "live":
                continue
            if not row["put"]:
                self._life.wrong.append("what is wanted is not put, and nobody is asked")
            wanted = {"title": row["title"], "description": row["description"],
                      "price": {"amount": row["price_cents"], "currency": "USD"}}  # fmt: skip
            if get_form(row["marketplace"]).CAPABILITIES.quantities:
                wanted["quantity"] = row["quantity"]
            there, told = flat(item.form()), {note["field"] for note in row["notes"]}
            told |= {name for name, equal in (row["read_back"] or {}).items() if not equal}
            for name in [name for name, value in wanted.items() if there[name] != value]:
                if name not in item.hand:
                    self._life.wrong.append(f"not as wanted, and by nobody's hand: {name}")
                elif name in item.passed and name not in told:
                    self._life.wrong.append(f"by hand, and the seller is not told: {name}")

    def _row(self, page: SimPage, item: Item) -> dict[str, Any] | None:
        rows = self._life.rows(_LIVE, account=self._life.connections[page.account])
        return next((row for row in rows if row["remote_id"] == item.id), None)

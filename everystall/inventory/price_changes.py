"""Prices of many listings changed at once: what would become of each, and then exactly that.

A look changes nothing, and gives a token of what it found. Doing it looks once more, at rows that nobody else
can change meanwhile, and does nothing at all unless it finds the same. Each change is an ordinary edit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import NotFound, PricesChanged
from everystall.inventory.listings import facts_with
from everystall.inventory.pricing import HIGHEST_PRICE, Stored, compose, dollars, price_at, rules_now
from everystall.inventory.publications import lock_all
from everystall.inventory.revisions import touch
from everystall.marketplaces.base import ListingFacts, Money, hash_of
from everystall.models import Attempt, Connection, Listing, ListingPhoto, Publication

#: Listings of one transaction: it holds their rows for as long as it takes (3 s on a busy small machine).
MOST = 200


@dataclass(frozen=True)
class Wish:
    """What shall be done with the price of each."""

    do: Literal["set", "add", "apply_rules"]
    #: `set`: to these cents.
    price: int = 0
    #: `add`: hundredths of a per cent of it, and cents. Less than 0 takes away.
    percent: int = 0
    cents: int = 0
    #: A schedule's: where the seller asks less by hand than it would, nothing is written.
    leaves_lower: bool = False

    def of(self, price: int | None) -> int | None:
        """What it makes of a listing's price; None: there is none to add to."""
        if self.do == "set":
            return self.price
        if self.do == "apply_rules" or price is None:
            return price
        return price + (price * self.percent + 5_000) // 10_000 + self.cents


@dataclass(frozen=True)
class There:
    """One account where the listing is, or shall be, live; its price there in cents."""

    publication: Publication
    account: Connection
    before: int | None
    after: int | None
    #: The rule by which it was there, and by which it is afterwards.
    stood: Stored
    rule: Stored
    #: What is left as it is there, and the price that counts as put from then on.
    left_alone: tuple[Attempt, Money] | None = None


_Standing = tuple[Publication, Connection, Attempt | None]


@dataclass(frozen=True)
class Change:
    listing: Listing
    #: The listing's own price, in cents.
    before: int | None
    after: int | None
    there: Sequence[There]
    outcome: Literal["changed", "unchanged", "refused"]
    #: Why nothing of it is done.
    refused: Sequence[str] = ()


@dataclass(frozen=True)
class Made:
    """What was changed of one listing, for the way back: its price in cents, and by publication its rule;
    each as it was and as it became."""

    id: UUID
    was: int | None
    now: int | None
    rules: Mapping[UUID, tuple[Stored, Stored]]

    @classmethod
    def of(cls, change: Change) -> Made:
        rules = {
            one.publication.id: (one.stood, one.rule) for one in change.there if one.stood != one.rule
        }  # fmt: skip
        return cls(change.listing.id, change.before, change.after, rules)


# ---- choosing -------------------------------------------------------------------------------------


async def live_on(
    session: AsyncSession, marketplace: str, after: UUID | None
) -> tuple[list[UUID], UUID | None]:
    """The next listings that are live there, by their ids; and the last one, if there are more."""
    wanted = (
        select(Publication.listing_id)
        .where(Publication.marketplace == marketplace, Publication.wanted == "live")
        .where(Publication.put == "live")
        .distinct()
        .order_by(Publication.listing_id)
        .limit(MOST + 1)
    )
    if after is not None:
        wanted = wanted.where(Publication.listing_id > after)
    found = list(await session.scalars(wanted))
    return found[:MOST], found[MOST - 1] if len(found) > MOST else None


# ---- looking --------------------------------------------------------------------------------------


async def look(session: AsyncSession, ids: Sequence[UUID], wish: Wish) -> list[Change]:
    """What would become of these listings, in the order of their ids. Raises NotFound for one that is not the
    seller's. Changes nothing; five queries."""
    listings = await session.scalars(
        select(Listing)
        .where(Listing.id.in_(ids))
        .order_by(Listing.id)
        .execution_options(populate_existing=True)
    )
    found = listings.all()
    if len(found) < len(set(ids)):
        raise NotFound
    photos: dict[UUID, list[ListingPhoto]] = {listing.id: [] for listing in found}
    rows = await session.scalars(
        select(ListingPhoto).where(ListingPhoto.listing_id.in_(ids)).order_by(ListingPhoto.position)
    )
    for photo in rows:
        photos[photo.listing_id].append(photo)
    there: dict[UUID, list[_Standing]] = {listing.id: [] for listing in found}
    rows_there = await session.execute(
        select(Publication, Connection, Attempt)
        .join(Connection, Connection.id == Publication.connection_id)
        .outerjoin(Attempt, and_(Attempt.publication_id == Publication.id, Attempt.outcome == "live"))
        .where(Publication.listing_id.in_(ids), Publication.wanted == "live")
        .order_by(Publication.id)
        .execution_options(populate_existing=True)
    )
    for publication, account, attempt in rows_there:
        there[publication.listing_id].append((publication, account, attempt))
    now = await rules_now(session)
    return [
        _change(listing, facts_with(listing, photos[listing.id]), there[listing.id], wish, now)
        for listing in found
    ]


def _change(
    listing: Listing,
    facts: ListingFacts,
    there: Sequence[_Standing],
    wish: Wish,
    now: dict[str, Stored],
) -> Change:
    before, after = listing.price_cents, wish.of(listing.price_cents)
    refused, edited = _refused(listing, after), before != after
    price = None if after is None else Money(amount=after, currency=listing.currency)
    changed = facts.model_copy(update={"price": price})
    places = []
    for publication, account, attempt in there:
        marketplace, rule = publication.marketplace, publication.price_rule
        stands = now.get(marketplace) if wish.do == "apply_rules" else rule
        was, is_now = price_at(marketplace, facts, rule), price_at(marketplace, changed, stands)
        found = There(
            publication, account, was.price if was else None, is_now.price if is_now else None, rule, stands
        )
        places.append(_as_it_is_there(found, attempt, wish, listing.currency))
        if before != after or rule != stands:
            edited = True
            if not refused and facts.quantity > 0:
                _, problems, _ = compose(marketplace, changed, stands, account.defaults)
                refused += [problem.message for problem in problems]
    outcome: Literal["changed", "unchanged"] = "changed" if edited else "unchanged"
    return Change(listing, before, after, places, "refused" if refused else outcome, refused)


def _as_it_is_there(found: There, attempt: Attempt | None, wish: Wish, currency: str) -> There:
    """With the price that the seller made of it there by hand, unless another is about to be put."""
    if attempt is None or attempt.revising is not None or "price" not in attempt.adopted:
        return found
    put, by_hand = attempt.draft.get("price"), attempt.adopted["price"]
    if not put or not by_hand or put["amount"] != found.before:
        return found
    found = replace(found, before=by_hand["amount"])
    if found.after is None or found.after == put["amount"]:  # nothing is written
        return replace(found, after=found.before)
    if wish.leaves_lower and by_hand["amount"] < found.after:
        counts = Money(amount=found.after, currency=currency)
        return replace(found, after=found.before, left_alone=(attempt, counts))
    return found


def _refused(listing: Listing, after: int | None) -> list[str]:
    if listing.delete_asked_at is not None:
        return ["It is being taken down everywhere and deleted."]
    if after is None:
        return ["It has no price yet."]
    if not 1 <= after <= HIGHEST_PRICE:
        return [f"Its price would be {dollars(after)}; it goes from $0.01 to {dollars(HIGHEST_PRICE)}."]
    return []


def token_of(wish: Wish, changes: Sequence[Change]) -> str:
    """Of all that a look found: another one, as soon as anything of it is otherwise."""
    found: list[Any] = [[wish.do, wish.price, wish.percent, wish.cents]]
    for change in changes:
        places = [
            [str(one.publication.id), one.before, one.after, one.publication.price_rule, one.rule]
            for one in change.there
        ]
        found.append(
            [str(change.listing.id), change.listing.revision, change.before, change.after, places,
             list(change.refused)]
        )  # fmt: skip
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


# ---- doing ----------------------------------------------------------------------------------------


async def do(session: AsyncSession, ids: Sequence[UUID], wish: Wish, token: str) -> list[Change]:
    """Does what the look with this token found. Raises PricesChanged, and does nothing, if it is not so any
    more. The accounts are woken when the transaction commits."""
    await lock_all(session, ids)
    changes = await look(session, ids, wish)
    if token_of(wish, changes) != token:
        raise PricesChanged
    for change in changes:
        if change.outcome == "changed":
            await make(session, change)
    return changes


async def make(session: AsyncSession, change: Change) -> None:
    """An edit like any other. The listing is locked, and the change was looked at since."""
    change.listing.price_cents = change.after
    for one in change.there:
        one.publication.price_rule = dict(one.rule) if one.rule is not None else None
        if one.left_alone is not None:
            attempt, price = one.left_alone
            attempt.draft = {**attempt.draft, "price": price.model_dump(mode="json")}
            attempt.fields_hash = hash_of(attempt.draft)
    await touch(session, change.listing)


async def take_back(session: AsyncSession, made: Sequence[Made]) -> tuple[int, int]:
    """Puts back each price, and each rule, that is as it became: (listings of which that was all of it, those
    that are there). Raises NotFound if none is the seller's."""
    publications = {one.id: one for one in await lock_all(session, [one.id for one in made])}
    rows = await session.scalars(select(Listing).where(Listing.id.in_([one.id for one in made])))
    listings, back = {row.id: row for row in rows}, 0
    for one in made:
        listing = listings.get(one.id)
        if listing is None or listing.delete_asked_at is not None:
            continue
        of_it = {id: rules for id, rules in one.rules.items() if id in publications}
        same = [
            id for id, (_, now) in of_it.items()
            if publications[id].listing_id == one.id and publications[id].price_rule == now
        ]  # fmt: skip
        for id in same:
            was = of_it[id][0]
            publications[id].price_rule = None if was is None else dict(was)
        priced = one.was != one.now and listing.price_cents == one.now
        if priced:
            listing.price_cents = one.was
        if priced or same:
            await touch(session, listing)
        back += len(same) == len(one.rules) and priced == (one.was != one.now)
    if not listings:
        raise NotFound
    return back, len(listings)

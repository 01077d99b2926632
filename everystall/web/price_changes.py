"""Prices of many listings at once: first what would become of each (`preview`), then exactly that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest
from everystall.inventory import price_changes
from everystall.inventory.price_changes import MOST, Change, Wish
from everystall.marketplaces import MARKETPLACES
from everystall.web.deps import Seller, Transaction, as_id
from everystall.web.prices import Cents, Percent
from everystall.web.shapes import Body, Marketplace, MoneyBody, MoneyOut, Shape

router = APIRouter(prefix="/api/prices/changes", tags=["prices"])


class ChangeBody(Body):
    #: These, or those of `live_on`.
    listing_ids: Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=MOST)] = []
    #: All that are live on this marketplace, 200 at a time.
    live_on: Marketplace | None = None
    #: Of those, the ones behind `next_after` of the answer before.
    after: Annotated[str, Field(max_length=60)] | None = None
    #: set: to `price` · add: `percent` of it and `cents` · apply_rules: the price stays, and what is live
    #: goes by the rules of now.
    do: Literal["set", "add", "apply_rules"]
    price: MoneyBody | None = None
    percent: Percent = 0
    cents: Cents = 0
    #: Of the preview that you want done.
    token: Annotated[str, Field(max_length=100)] | None = None

    def wish(self) -> Wish:
        """Raises BadRequest for what is not said, or said twice."""
        if bool(self.listing_ids) == (self.live_on is not None):
            raise BadRequest(
                "Which listings?", action="Name them in `listingIds`, or a marketplace in `liveOn`."
            )
        if (self.do == "set") != (self.price is not None):
            raise BadRequest("`price` is what `set` sets them to.", action="Send both, or neither.")
        if (self.do == "add") != bool(self.percent or self.cents):
            raise BadRequest("`percent` and `cents` are what `add` adds.", action="Send one with `add` only.")
        return Wish(self.do, self.price.amount if self.price else 0, round(self.percent * 100), self.cents)


class AccountChangeOut(Shape):
    marketplace: str
    label: str
    browser_profile_id: str
    #: What it costs there.
    before: MoneyOut | None
    after: MoneyOut | None


class ListingChangeOut(Shape):
    listing_id: str
    title: str | None
    outcome: Literal["changed", "unchanged", "refused"]
    #: The listing's own price.
    before: MoneyOut | None
    after: MoneyOut | None
    #: Where it is live, or shall be.
    accounts: list[AccountChangeOut]
    #: Why nothing of it is changed.
    reasons: list[str]


class ChangesOut(Shape):
    preview: bool
    #: Send it with the same request, without `?preview=true`, and exactly this is done.
    token: str
    changed: int
    unchanged: int
    refused: int
    listings: list[ListingChangeOut]
    #: There are more that are live there: ask again with `after` set to this.
    next_after: str | None


@router.post("")
async def change_prices(
    body: ChangeBody, session: Transaction, who: Seller, preview: bool = False
) -> ChangesOut:
    """`?preview=true` says what would become of each listing, and changes nothing. The same with its `token`
    does exactly that, in one transaction: an edit of each listing, which is put wherever it is live. 409
    `prices_changed`: something changed since the preview, and nothing was done."""
    return (await changes_of(body, session, preview))[0]


async def changes_of(
    body: ChangeBody, session: AsyncSession, preview: bool
) -> tuple[ChangesOut, Sequence[Change]]:
    """The answer, and what it is of."""
    wish = body.wish()
    more: UUID | None = None
    if body.live_on is not None:
        after = as_id(body.after) if body.after is not None else None
        ids, more = await price_changes.live_on(session, body.live_on, after)
    else:
        ids = sorted({as_id(id) for id in body.listing_ids})
    if preview:
        changes = await price_changes.look(session, ids, wish)
        token = price_changes.token_of(wish, changes)
    elif body.token is None:
        raise BadRequest(
            "Prices of many are changed after a look at what would become of them.",
            action="Send it with ?preview=true, then the same with the `token` of the answer.",
        )
    else:
        token = body.token
        changes = await price_changes.do(session, ids, wish, token)
    return _shown(changes, token, more, preview), changes


def _shown(changes: Sequence[Change], token: str, more: UUID | None, preview: bool) -> ChangesOut:
    listings = [_listing(change) for change in changes]
    outcomes = [one.outcome for one in listings]
    return ChangesOut(
        preview=preview,
        token=token,
        changed=outcomes.count("changed"),
        unchanged=outcomes.count("unchanged"),
        refused=outcomes.count("refused"),
        listings=listings,
        next_after=str(more) if more else None,
    )


def _listing(change: Change) -> ListingChangeOut:
    def money(cents: int | None) -> MoneyOut | None:
        return None if cents is None else MoneyOut(amount=cents, currency=change.listing.currency)

    return ListingChangeOut(
        listing_id=str(change.listing.id),
        title=change.listing.title,
        outcome=change.outcome,
        before=money(change.before),
        after=money(change.after),
        accounts=[
            AccountChangeOut(
                marketplace=one.publication.marketplace,
                label=MARKETPLACES[one.publication.marketplace],
                browser_profile_id=one.account.public_id,
                before=money(one.before),
                after=money(one.after),
            )
            for one in change.there
        ],
        reasons=list(change.refused),
    )

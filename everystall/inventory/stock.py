"""A seller's inventory: which listings are sought, in which order, a page of them, and how many there are.

Made for fifty thousand: what is sought is answered by the entries of two indexes (migration 0023), and only
the listings of one page are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    TextClause,
    and_,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.models import Listing, Publication

#: Listings of one page.
PAGE: Final = 50
#: Days after which what is still for sale as it was posted is called stale.
STALE_DAYS: Final = 60
VIEWS: Final = ("all", "drafts", "listed", "needs-you", "sold", "stale")
STATES: Final = ("posting", "ending", "ended")
#: As the index listings_by_price says it of itself: a 0 that is a parameter would be no part of it.
_PRICE: Final = func.coalesce(Listing.price_cents, literal_column("0"))
#: Name of an order → column, and whether the highest comes first.
_SORTS: Final[dict[str, tuple[Any, bool]]] = {
    "newest": (Listing.created_at, True),
    "oldest": (Listing.created_at, False),
    "dearest": (_PRICE, True),
    "cheapest": (_PRICE, False),
    # they begin with the title
    "title": (Listing.words, False),
    "title-down": (Listing.words, True),
    "sku": (Listing.sku_order, False),
    "sku-down": (Listing.sku_order, True),
    "fewest": (Listing.quantity, False),
    "most": (Listing.quantity, True),
}
SORTS: Final = tuple(_SORTS)
#: Words of one search; more are not asked for.
_WORDS: Final = 8


@dataclass(frozen=True)
class Sought:
    """What the seller wants to see. Prices in cents, ages in days since it was written."""

    words: str = ""
    view: str = "all"
    #: A marketplace where it is live; one where it is not.
    on: str | None = None
    off: str | None = None
    state: str | None = None
    #: A reason for which it waits for the seller (publications.ACTIONS_FOR).
    problem: str | None = None
    brand: str | None = None
    label: str | None = None
    location: str | None = None
    low: int | None = None
    high: int | None = None
    older: int | None = None
    younger: int | None = None
    sort: str = "newest"

    @property
    def narrowed(self) -> bool:
        """By more than a view and an order."""
        return replace(self, view="all", sort="newest") != Sought()


@dataclass(frozen=True)
class Counts:
    """Of all that the seller has, by view."""

    all: int
    drafts: int
    listed: int
    needs_you: int
    sold: int
    stale: int

    def of(self, view: str) -> int:
        return int(getattr(self, view.replace("-", "_")))


#: Has a label at all: what the index of those says of itself (migration 0027).
LABELLED: Final = text("listings.labels <> '{}'")


# ---- what is sought -------------------------------------------------------------------------------


def _stands(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    """There is a publication of the listing, one that is wanted or was put, like this."""
    meant = or_(Publication.wanted == "live", Publication.put != "nothing")
    return exists().where(Publication.listing_id == Listing.id, meant, *which)


def _sold() -> ColumnElement[bool]:
    return Listing.quantity_sold >= Listing.quantity


def _asked() -> ColumnElement[bool]:
    return exists().where(Publication.listing_id == Listing.id, Publication.needs_you.is_not(None))


def _since() -> ColumnElement[datetime]:
    """Since when it stands there as new."""
    return func.greatest(Publication.asked_at, Publication.relist_asked_at)


def _of_view(view: str, now: datetime) -> list[ColumnElement[bool]]:
    live = Publication.put == "live"
    return {
        "drafts": [not_(_stands()), not_(_sold())],
        "listed": [_stands(live)],
        "needs-you": [_asked()],
        "sold": [_sold()],
        "stale": [
            # what was written since cannot have stood so long
            Listing.created_at < now - timedelta(days=STALE_DAYS),
            _stands(live, _since() < now - timedelta(days=STALE_DAYS)),
        ],
    }.get(view, [])


def _of_state(state: str) -> ColumnElement[bool]:
    ours = Publication.listing_id == Listing.id, Publication.unsettled, Publication.needs_you.is_(None)
    if state == "posting":
        return exists().where(*ours, Publication.wanted == "live", Publication.put != "live")
    if state == "ending":
        return exists().where(*ours, Publication.wanted == "ended")
    return and_(
        _stands(Publication.put.in_(("ended", "sold"))),
        not_(exists().where(Publication.listing_id == Listing.id, Publication.put == "live")),
    )


def conditions(sought: Sought, now: datetime | None = None) -> list[ColumnElement[bool] | TextClause]:
    """Of `listings`."""
    now = now or datetime.now(UTC)
    found: list[ColumnElement[bool] | TextClause] = [
        Listing.words.contains(word, autoescape=True) for word in sought.words.lower().split()[:_WORDS]
    ]
    found += _of_view(sought.view, now)
    if sought.on is not None:
        found.append(_stands(Publication.put == "live", Publication.marketplace == sought.on))
    if sought.off is not None:
        found.append(not_(_stands(Publication.put == "live", Publication.marketplace == sought.off)))
    if sought.state is not None:
        found.append(_of_state(sought.state))
    if sought.problem is not None:
        reason = Publication.needs_you["reason"].astext == sought.problem
        found.append(
            exists().where(Publication.listing_id == Listing.id, Publication.needs_you.is_not(None), reason)
        )
    if sought.brand is not None:
        found.append(func.lower(Listing.brand) == sought.brand.lower())
    if sought.label is not None:
        # the first condition is the index's own
        found += [LABELLED, Listing.labels.any_() == sought.label]
    if sought.location is not None:
        found.append(Listing.location == sought.location)
    if sought.low is not None:
        found.append(Listing.price_cents >= sought.low)
    if sought.high is not None:
        found.append(Listing.price_cents <= sought.high)
    if sought.older is not None:
        found.append(Listing.created_at <= now - timedelta(days=sought.older))
    if sought.younger is not None:
        found.append(Listing.created_at > now - timedelta(days=sought.younger))
    return found


# ---- a page ---------------------------------------------------------------------------------------

#: Where a page ends: the value by which it is ordered, and the id.
Place = tuple[Any, UUID]


async def page_of(
    session: AsyncSession, sought: Sought, after: Place | None = None, most: int = PAGE
) -> tuple[list[UUID], Place | None]:
    """The ids of the next listings in their order; and where they end, if there are more."""
    by, down = _SORTS[sought.sort]
    wanted: Select[Any] = select(Listing.id, by.label("by")).where(*conditions(sought))
    if after is not None:
        here, there = tuple_(by, Listing.id), tuple_(*after)
        wanted = wanted.where(here < there if down else here > there)
    order = (by.desc(), Listing.id.desc()) if down else (by, Listing.id)
    rows = (await session.execute(wanted.order_by(*order).limit(most + 1))).all()
    shown = rows[:most]
    return [row.id for row in shown], (shown[-1].by, shown[-1].id) if len(rows) > most else None


async def beside(
    session: AsyncSession, sought: Sought, written: datetime, id: UUID
) -> tuple[UUID | None, UUID | None]:
    """Those before and behind a listing, the newest first; of each there may be none."""
    before, _ = await page_of(session, replace(sought, sort="oldest"), (written, id), 1)
    behind, _ = await page_of(session, replace(sought, sort="newest"), (written, id), 1)
    return next(iter(before), None), next(iter(behind), None)


async def ids_of(session: AsyncSession, sought: Sought, most: int, after: UUID | None = None) -> list[UUID]:
    """All of them (behind this one), in the order of their ids, or the first `most`."""
    wanted = select(Listing.id).where(*_behind(sought, after)).order_by(Listing.id).limit(most)
    return list(await session.scalars(wanted))


async def number_of(session: AsyncSession, sought: Sought, after: UUID | None = None) -> int:
    """How many are sought (behind this one)."""
    wanted = select(func.count()).select_from(Listing).where(*_behind(sought, after))
    return await session.scalar(wanted) or 0


async def number_up_to(session: AsyncSession, sought: Sought, most: int) -> int:
    """How many are sought; of more than `most` no more are counted."""
    some = select(Listing.id).where(*conditions(sought)).limit(most).subquery()
    return await session.scalar(select(func.count()).select_from(some)) or 0


def _behind(sought: Sought, after: UUID | None) -> list[ColumnElement[bool] | TextClause]:
    return [*conditions(sought), *([] if after is None else [Listing.id > after])]


async def listings_of(session: AsyncSession, ids: Sequence[UUID]) -> list[Listing]:
    """In this order; of those that are the seller's."""
    found = {row.id: row for row in await session.scalars(select(Listing).where(Listing.id.in_(ids)))}
    return [found[id] for id in ids if id in found]


# ---- how many -------------------------------------------------------------------------------------

# Two walks, each over the entries of one index: of every listing, and of all publications in the order of
# their listings, in which each listing's stand together.
_COUNT = text("""
    WITH standing AS (
        SELECT p.listing_id, bool_or(p.put = 'live') AS live,
               bool_or(p.put = 'live' AND greatest(p.asked_at, p.relist_asked_at) < :stale) AS stale
        FROM publications p WHERE p.wanted = 'live' OR p.put <> 'nothing' GROUP BY p.listing_id
    )
    SELECT count(*) AS all, count(*) FILTER (WHERE l.quantity_sold >= l.quantity) AS sold,
           count(*) FILTER (WHERE s.live) AS listed,
           count(*) FILTER (WHERE s.stale AND l.created_at < :stale) AS stale,
           count(*) FILTER (WHERE s.listing_id IS NULL AND l.quantity_sold < l.quantity) AS drafts,
           (SELECT count(DISTINCT w.listing_id) FROM publications w
            WHERE w.needs_you IS NOT NULL) AS needs_you
    FROM listings l LEFT JOIN standing s ON s.listing_id = l.id
""")


async def counts_of(session: AsyncSession) -> Counts:
    """One statement."""
    stale = datetime.now(UTC) - timedelta(days=STALE_DAYS)
    row = (await session.execute(_COUNT, {"stale": stale})).one()
    return Counts(**row._mapping)


async def labels_in_use(session: AsyncSession) -> list[str]:
    """The seller's labels, each once: a walk over the entries of an index."""
    found = await session.scalars(
        text("SELECT DISTINCT unnest(labels) AS one FROM listings WHERE labels <> '{}' ORDER BY 1 LIMIT 300")
    )
    return list(found)


async def locations_in_use(session: AsyncSession) -> list[str]:
    """Where the seller's things lie, the same."""
    found = await session.scalars(
        text("SELECT DISTINCT location FROM listings WHERE location IS NOT NULL ORDER BY 1 LIMIT 300")
    )
    return list(found)


async def brands_in_use(session: AsyncSession) -> list[str]:
    """The seller's brands, as each is written most often; the most frequent three hundred, by name."""
    found = await session.scalars(
        text("SELECT brand FROM (SELECT mode() WITHIN GROUP (ORDER BY brand) AS brand, count(*) AS n "
             "FROM listings WHERE brand IS NOT NULL GROUP BY lower(brand) ORDER BY n DESC LIMIT 300) AS b "
             "ORDER BY lower(brand)")
    )  # fmt: skip
    return list(found)


async def is_large(session: AsyncSession, many: int) -> bool:
    """Whether the seller has more listings than that."""
    beyond = select(Listing.id).order_by(Listing.created_at.desc(), Listing.id.desc()).offset(many).limit(1)
    return await session.scalar(beyond) is not None

"""A seller's accounts at the marketplaces: names, defaults, pace, pause, and taking one away."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import AfterValidator, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import BadRequest, Conflict, ListingLive, NotFound, listed
from everystall.inventory.blindness import told_of
from everystall.inventory.connections import (
    DISCONNECTED,
    NO_WORKER,
    SignIn,
    disconnect,
    find_sign_ins,
    get_connection,
    go_on,
    place_attended,
)
from everystall.inventory.publications import PAUSED, drop_pace, hold_lowering, release_all
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.models import Connection, Publication, User
from everystall.settings import PLACE, place_name
from everystall.web.deps import AllParts, Seller, Transaction
from everystall.web.shapes import BlindOut, Body, Done, Line100, NeedsYou, Shape, camel, snake

router = APIRouter(prefix="/api", tags=["connections"])


#: In the API's description.
PACE: Final = (
    "Seconds between two posts on this account, 0 to 86,400 (a day); 0: none. null: the installation's "
    "(PACE_SECONDS), else the marketplace's own human pace."
)
CAP: Final = (
    "New listings on this account in any 24 hours, 1 to 1,000. null: the installation's (DAILY_CAP), else "
    "what we take for safe there."
)


class ConnectionOut(Shape):
    browser_profile_id: str
    marketplace: str
    marketplace_label: str
    #: The seller's own name for it.
    label: str | None
    account_name: str | None
    base_url: str
    status: Literal["connected", "expired", "missing"]
    expires_at: datetime | None
    last_verified_at: datetime | None
    refresh_asked_at: datetime | None
    last_visit_at: datetime | None
    needs_you: NeedsYou | None
    #: We cannot see what sells there: what is live there may sell without our noticing.
    blind: BlindOut | None
    paused: bool
    #: While it is paused nothing is taken down there either.
    delists_paused: bool
    #: Where it is visited from: the name that its workers there have (WORKER_PLACE); null: from anywhere.
    place: str | None
    pace_seconds: float | None = Field(description=PACE, examples=[45])
    daily_cap: int | None = Field(description=CAP, examples=[50])
    defaults: dict[str, Any]
    #: What may be set in `defaults`, in words.
    defaults_known: dict[str, str]
    created_at: datetime


class ConnectionsOut(Shape):
    #: Everything is paused.
    paused: bool
    #: And nothing is taken down anywhere.
    delists_paused: bool
    connections: list[ConnectionOut]


class ConnectionBody(Body):
    label: Line100 = None
    #: What the account is called at the marketplace, where you renamed it there. Sessions under another name
    #: are not used for it.
    account_name: Line100 = None
    #: Replaces those that are named; null takes one away.
    defaults: Annotated[dict[str, Any], Field(max_length=100)] | None = None
    pace_seconds: Annotated[float, Field(ge=0, le=86_400)] | None = Field(
        None, description=PACE, examples=[45]
    )
    daily_cap: Annotated[int, Field(ge=1, le=1000, strict=True)] | None = Field(
        None, description=CAP, examples=[50]
    )
    place: Annotated[str, AfterValidator(place_name)] | None = Field(
        default=None, json_schema_extra={"pattern": PLACE}
    )


@router.get("/connections")
async def list_connections(session: Transaction, who: Seller) -> ConnectionsOut:
    user = await session.get_one(User, who.user_id, populate_existing=True)
    sign_ins = await find_sign_ins(session)
    return ConnectionsOut(
        paused=user.paused_at is not None, delists_paused=user.paused_at is not None and user.pause_ends,
        connections=[_shown(one) for one in sign_ins],
    )  # fmt: skip


@router.get("/connections/{browserProfileId}")
async def get_one(browserProfileId: str, session: Transaction) -> ConnectionOut:
    return await _fresh(session, browserProfileId)


@router.patch("/connections/{browserProfileId}")
async def patch_connection(
    browserProfileId: str, body: ConnectionBody, session: Transaction
) -> ConnectionOut:
    connection = await get_connection(session, browserProfileId, lock=True)
    if "label" in body.model_fields_set:
        connection.label = body.label
    if "account_name" in body.model_fields_set:
        connection.account_name = body.account_name
    if "pace_seconds" in body.model_fields_set and body.pace_seconds != connection.pace_seconds:
        connection.pace_seconds = body.pace_seconds
        await drop_pace(session, connection)
    if "daily_cap" in body.model_fields_set and body.daily_cap != connection.daily_cap:
        connection.daily_cap = body.daily_cap
        await drop_pace(session, connection)
    if "place" in body.model_fields_set and body.place != connection.place:
        connection.place = body.place
        await place_attended(session, connection)  # so it is hoped: the next tick looks
        for lane in engine.VISITING:  # what waits for the place before
            await engine.wake(session, [connection.id], lane)
    if body.defaults is not None:
        given = checked_defaults(connection.marketplace, body.defaults)
        merged = {**connection.defaults, **given}
        connection.defaults = {name: value for name, value in merged.items() if value is not None}
    return await _fresh(session, browserProfileId)


def checked_defaults(marketplace: str, given: dict[str, Any]) -> dict[str, Any]:
    """Under our names. Raises BadRequest for a name that the marketplace does not know, or a value that is
    no plain one; whether it fits is said by `check`, with the limit."""
    known = get_form(marketplace).DEFAULTS
    values = snake(given)
    unknown = [name for name in values if name not in known]
    if unknown:
        raise BadRequest(
            f"{MARKETPLACES[marketplace]} has no default {listed([name[:60] for name in unknown])}.",
            action=f"Use {listed([to_camel(name) for name in known])}.",
            known={to_camel(name): said for name, said in known.items()},
        )
    for name, value in values.items():
        plain = value is None or isinstance(value, str | int | float | bool)
        if not plain or (isinstance(value, str) and len(value) > 500):
            raise BadRequest(
                f"defaults.{to_camel(name)} is a text of at most 500 characters, a number, true or false."
            )
    return values


@router.post("/connections/{browserProfileId}/pause")
async def pause_connection(
    browserProfileId: str, session: Transaction, delists: bool = False
) -> ConnectionOut:
    """Nothing is posted there until `resume`; taking down goes on, and making fewer of several, unless
    `?delists=true`: then what sells elsewhere stays there, and waits for you (`paused`). What sells is looked
    at all the same."""
    connection = await get_connection(session, browserProfileId, lock=True)
    connection.paused_at, connection.pause_ends = connection.paused_at or func.now(), delists
    if delists:
        await hold_lowering(session, connection.id)
    else:
        await release_all(session, connection, PAUSED)
    return await _fresh(session, browserProfileId)


@router.post("/connections/{browserProfileId}/resume")
async def resume_connection(browserProfileId: str, session: Transaction) -> ConnectionOut:
    """Goes on after a pause, and after a challenge that the seller has answered. A sign-in that is lost
    comes back by connecting again only, and an account that no worker visits when one does by itself: 409
    `conflict` where it waits for nothing but that."""
    connection = await get_connection(session, browserProfileId, lock=True)
    asked = connection.needs_you or {}
    reason = asked.get("reason")
    if reason == NO_WORKER and connection.paused_at is None:
        raise Conflict(
            f"It cannot go on yet. {asked['message']}",
            action="Whoever runs Everystall starts a worker there "
            f"(WORKER_PLACE={connection.place}), or gives the account another place.",
        )
    connection.paused_at, connection.pause_ends = None, False
    await release_all(session, connection, PAUSED)
    if reason not in (None, "session_expired", DISCONNECTED, NO_WORKER):
        await go_on(session, connection)
    shown = await _fresh(session, browserProfileId)
    await engine.wake(session, [connection.id])
    return shown


@router.delete("/connections/{browserProfileId}")
async def delete_connection(
    browserProfileId: str, session: Transaction, parts: AllParts, force: bool = False
) -> Done:
    """Forgets the session. 409 `listing_live` while listings are live there, because nobody could take
    them down any more, unless `?force=true`. The account itself goes too if nothing was ever posted
    there; else its history stays."""
    connection = await get_connection(session, browserProfileId, lock=True)
    live, ever = await _posted_there(session, connection)
    label = MARKETPLACES[connection.marketplace]
    if live and not force:
        raise ListingLive(
            f"{live} listing{'s are' if live > 1 else ' is'} live on this {label} account; without the "
            "session nobody could take them down when they sell elsewhere.",
            action="Take them down first, or send it with ?force=true and look after them yourself.",
            live=live,
        )
    await disconnect(session, parts.vault, connection)
    if not ever:
        await session.execute(delete(Connection).where(Connection.id == connection.id))
        return Done(message=f"The session is forgotten and the {label} account is gone from here.")
    return Done(
        message=f"The session is forgotten. What was posted on this {label} account stays listed here."
    )


async def _posted_there(session: AsyncSession, connection: Connection) -> tuple[int, int]:
    """(live or being posted, ever)"""
    row = (
        await session.execute(
            select(
                func.count().filter((Publication.put == "live") | Publication.looking), func.count()
            ).where(Publication.connection_id == connection.id)
        )
    ).one()
    return row[0], row[1]


@router.post("/pause")
async def pause_all(session: Transaction, who: Seller, delists: bool = False) -> Done:
    """Nothing is posted on any account until `resume`; taking down goes on, and making fewer of several,
    unless `?delists=true`. What sells is looked at all the same."""
    await session.execute(
        update(User)
        .where(User.id == who.user_id)
        .values(paused_at=func.coalesce(User.paused_at, func.now()), pause_ends=delists)
    )
    if delists:
        await hold_lowering(session)
        return Done(message="Everything is paused: nothing is posted, and nothing that sells is taken down.")
    await _release_paused(session)  # a tick finds what is due by it
    return Done(
        message="Posting is paused on all accounts. Listings that sell are still taken down elsewhere, or "
        "made fewer there."
    )


@router.post("/resume")
async def resume_all(session: Transaction, who: Seller) -> Done:
    """Goes on; an account that was paused by itself stays paused."""
    going_on = {"paused_at": None, "pause_ends": False, "restored_to": None}
    await session.execute(update(User).where(User.id == who.user_id).values(**going_on))
    ids = await _release_paused(session)
    if ids:
        await engine.wake(session, ids)
    return Done(message="Posting goes on.")


async def _release_paused(session: AsyncSession) -> list[UUID]:
    """What waited to be taken down is due again, on all accounts, whose ids these are; where one is paused by
    itself it waits again."""
    connections = (await session.scalars(select(Connection).order_by(Connection.id))).all()
    for connection in connections:
        await release_all(session, connection, PAUSED)
    return [connection.id for connection in connections]


async def _fresh(session: AsyncSession, public_id: str) -> ConnectionOut:
    await session.flush()
    session.expire_all()
    found = await find_sign_ins(session, public_ids=[public_id])
    if not found:
        raise NotFound(f"There is no account of yours {public_id[:60]!r}.")
    return _shown(found[0])


def _shown(one: SignIn) -> ConnectionOut:
    row = one.connection
    known = get_form(row.marketplace).DEFAULTS
    return ConnectionOut(
        browser_profile_id=row.public_id,
        marketplace=row.marketplace,
        marketplace_label=MARKETPLACES[row.marketplace],
        label=row.label,
        account_name=row.account_name,
        base_url=row.base_url,
        status=one.status,
        expires_at=one.expires_at,
        last_verified_at=one.verified_at,
        refresh_asked_at=row.refresh_asked_at,
        last_visit_at=row.last_visit_at,
        needs_you=NeedsYou(**row.needs_you) if row.needs_you else None,
        blind=BlindOut(**blind) if (blind := told_of(row)) else None,
        paused=row.paused_at is not None,
        delists_paused=row.paused_at is not None and row.pause_ends,
        place=row.place,
        pace_seconds=row.pace_seconds,
        daily_cap=row.daily_cap,
        defaults=camel(row.defaults),
        defaults_known={to_camel(name): said for name, said in known.items()},
        created_at=row.created_at,
    )

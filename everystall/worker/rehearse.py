"""A publish on a marketplace as it is today, but for the click: its form is filled in with a listing of
the seller's, read back, and left. What is found, healed or missing is told: `everystall doctor MARKETPLACE`.

Nothing is ever committed: the page itself refuses (Page.dry). Of the seller's publications nothing is read or
written; a draft that the site made by the way is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

from sqlalchemy import func, select

from everystall.browser import evidence
from everystall.browser.heal import Healed
from everystall.browser.targets import Target
from everystall.errors import Conflict, EverystallError, LeaseLost, MarketplaceBusy, NotFound, NotWanted
from everystall.inventory import pricing
from everystall.inventory.listings import facts_of
from everystall.marketplaces.base import Draft, ReadBack
from everystall.models import Connection, Listing
from everystall.worker import failures, heals, publish
from everystall.worker.compare import compare, differing
from everystall.worker.lease import Lease
from everystall.worker.visit import Tools, Visit

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

#: Of the seller's listings, the latest, that are tried for one that has all that the form asks for.
MOST_LISTINGS: Final = 50

How = Literal["found", "healed", "missing", "not met"]


@dataclass
class Rehearsed:
    """What came of it."""

    #: Of the listing that the form was filled in with.
    title: str
    #: Each target in words → how it was found; "not met": nobody looked for it.
    targets: dict[str, How] = field(default_factory=dict)
    #: Those that were healed, by the same words.
    healed: dict[str, Healed] = field(default_factory=dict)
    #: Each host that pages loaded from → whose it is.
    hosts: dict[str, Literal["its own", "listed", "not listed"]] = field(default_factory=dict)
    #: Fields that the form does not show as they were filled in.
    wrong: Sequence[str] = ()
    #: The form was filled in, read back, and what publishes was there and could be pressed.
    whole: bool = False
    #: What ended it before.
    stopped: EverystallError | None = None
    #: The site's draft, where it could not be deleted.
    left: str | None = None
    #: How many healed locators were kept.
    kept: int = 0
    pictures: list[Path] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.whole and not self.wrong


async def rehearse(tools: Tools, connection_id: UUID, folder: Path, *, save: bool) -> Rehearsed:
    """`folder`: where pictures are put. `save`: keeps what was healed, where the form was as meant. Raises
    MarketplaceBusy (a worker is there), NotFound (no listing), what opening a session raises, LeaseLost."""
    lease = await Lease.take(tools.db, tools.settings, connection_id)
    if lease is None:
        raise MarketplaceBusy(
            "A worker visits this account now, or it is to be visited from another place.",
            action="Try again in a minute, or on a machine of that place (WORKER_PLACE).",
        )
    async with lease:
        doing = asyncio.create_task(_rehearse(Visit(tools, lease, "visits"), folder, save))
        lost = asyncio.create_task(lease.lost.wait())
        try:
            await asyncio.wait({doing, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
            if not doing.done():
                doing.cancel()
        try:
            return await doing
        except asyncio.CancelledError:
            raise LeaseLost from None


async def _rehearse(visit: Visit, folder: Path, save: bool) -> Rehearsed:
    visit.purpose = "rehearse"
    async with visit.lease.transaction() as session:
        connection = await session.get_one(Connection, visit.lease.connection_id)
        rests = select(Connection.rest_until > func.now()).where(Connection.id == connection.id)
        if connection.needs_you is not None or await session.scalar(rests):
            raise Conflict(
                "The marketplace asks for a rest, or for the seller: nobody visits the account before.",
                action="See Needs you and Marketplaces; try again after that.",
            )
        session.expunge(connection)
        visit.know(connection)
        draft = await _find_draft(visit, session)
    photos, _ = await publish.render(visit, draft)
    told, drafts = Rehearsed(draft.title), list[str]()
    try:
        page = await visit.page()
        page.dry = True
        await visit.adapter.check_session(page)
        await visit.signed_in()
        healing = visit.healing
        assert healing is not None
        heals.keep_out(visit, draft)
        healing.begin(noting=False)
        known = list(healing.healed)

        async def arm(read: ReadBack) -> None:
            filled = await read()
            told.wrong = differing(compare(draft, filled.fields))
            heals.judge(visit, told.wrong, filled.fields, live=False)
            if filled.draft_id is not None:
                drafts.append(filled.draft_id)
            await _picture(visit, told, folder, "form")

        async def drafted(draft_id: str) -> None:
            drafts.append(draft_id)

        try:
            await visit.adapter.publish(page, draft, photos, arm, drafted)
        except NotWanted:
            told.whole = True
        except LeaseLost:
            raise
        except EverystallError as e:
            told.stopped = e
            await _picture(visit, told, folder, "stop")
        _tell(visit, told, folder)
        if save and told.good:
            told.kept = await heals.keep_new(visit, known)
        for draft_id in dict.fromkeys(drafts):
            await _discard(visit, told, draft_id)
        if visit.browser is not None:
            _tell_hosts(visit, told)
        return told
    finally:
        await visit.start_over("newest")  # rotated cookies are written back


async def _find_draft(visit: Visit, session: AsyncSession) -> Draft:
    """Of the seller's latest listing that has all that the form asks for. Raises NotFound."""
    latest = await session.scalars(
        select(Listing).where(Listing.delete_asked_at.is_(None))
        .order_by(Listing.created_at.desc()).limit(MOST_LISTINGS)
    )  # fmt: skip
    for listing in latest.all():
        facts = await facts_of(session, listing)
        draft, _, _ = pricing.compose(visit.connection.marketplace, facts, None, visit.connection.defaults)
        if draft is not None:
            return draft
    raise NotFound(
        f"This seller has no listing with all that {visit.label}'s form asks for, photos too.",
        action="Write one, or practise on another account: nothing of it is posted.",
    )


def _tell(visit: Visit, told: Rehearsed, folder: Path) -> None:
    """What became of each target, and pictures of those that were healed."""
    healing = visit.healing
    assert healing is not None
    used = {one.target: one for one in healing.used.values()}
    for target in targets_of(visit.connection.marketplace):
        key = target.key
        if key in used:
            told.targets[key], told.healed[key] = "healed", used[key]
        elif key in healing.found:
            told.targets[key] = "found"
        else:
            told.targets[key] = "missing" if key in healing.missing else "not met"
    for number, one in enumerate(told.healed.values(), 1):
        if one.picture is not None:
            _keep(told, folder, f"healed-{number}.jpg", one.picture)


def targets_of(marketplace: str) -> Iterator[Target]:
    """All that its pages.py looks for."""
    for value in vars(import_module(f"everystall.marketplaces.{marketplace}.pages")).values():
        found = value.values() if isinstance(value, Mapping) else [value]
        yield from (one for one in found if isinstance(one, Target))


def _tell_hosts(visit: Visit, told: Rehearsed) -> None:
    browser = visit.browser
    assert browser is not None
    parts = browser.site.parts
    for host in sorted(browser.hosts):
        listed = any(host == part or host.endswith("." + part) for part in parts)
        told.hosts[host] = "listed" if listed else "its own"
        if host in browser.unlisted_hosts:
            told.hosts[host] = "not listed"


async def _discard(visit: Visit, told: Rehearsed, draft_id: str) -> None:
    try:
        gone = await visit.adapter.discard_draft(await visit.page(), draft_id)
    except LeaseLost:
        raise
    except EverystallError:
        gone = False
    if not gone:
        told.left = draft_id


async def _picture(visit: Visit, told: Rehearsed, folder: Path, name: str) -> None:
    """Of the page as it stands, without what is secret. None is no reason to end."""

    async def keep(given: str, data: bytes) -> None:
        _keep(told, folder, name + (".png" if given.endswith(".png") else ".aria.txt"), data)

    if visit.open_page is not None and visit.healing is not None:
        secret = [*failures.secrets_of(visit), *visit.healing.names]
        with suppress(EverystallError, TimeoutError):
            async with asyncio.timeout(failures.EVIDENCE_SECONDS):
                await evidence.capture(visit.open_page, keep, secret)


def _keep(told: Rehearsed, folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    path.touch(mode=0o600)
    path.write_bytes(data)
    told.pictures.append(path)

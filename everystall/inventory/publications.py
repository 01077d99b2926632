"""The life of a publication, in one place: every change of its row goes through `change`, which also
tells the jobs that wait for it, and records the event that it is; what the seller decides about one goes
through `act`.

Nothing here touches a marketplace. All functions run inside the caller's transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import BadRequest, Conflict, EverystallError, Refused
from everystall.inventory import pairs
from everystall.inventory.pricing import rules_now
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.models import Attempt, BlindEnd, Connection, Listing, Publication, TakeDown, User
from everystall.notify import messages

#: What the seller can press, and what the button says.
ACTIONS = {
    "retry": "Try again",
    "post_again": "Post again",
    "it_is_there": "It is there",
    "put_mine": "Use what I wrote here",
    "keep_theirs": "Keep what is there",
    "give_up": "Do not post it",
    "end": "Take it down",
    "keep": "Keep it",
    "understood": "Understood",
    "put_back": "Put it back",
    "leave_sold": "Leave it as sold",
}
#: What `give_up` says of what was sent already, and may be live.
IF_THERE = "Take it down if it is there"
#: Which buttons end which reason.
ACTIONS_FOR = {
    "session_expired": ("give_up",),
    "disconnected": ("give_up",),
    "no_worker": ("give_up",),
    "challenge": ("retry", "give_up"),
    "account_limited": ("retry", "give_up"),
    "listing_rejected": ("retry", "give_up"),
    "not_published": ("retry", "give_up"),
    "page_changed": ("retry", "give_up"),
    "marketplace_busy": ("retry", "give_up"),
    "listing_incomplete": ("retry", "give_up"),
    "unresolved": ("it_is_there", "post_again", "give_up"),
    "twin_in_question": ("retry", "give_up"),
    "gone": ("post_again", "give_up"),
    "edited_there": ("put_mine", "keep_theirs"),
    "photo_refused": ("retry", "give_up"),
    "browser_not_started": ("retry", "give_up"),
    "browser_ended": ("retry", "give_up"),
    "storage_full": ("retry", "give_up"),
    "storage_away": ("retry", "give_up"),
    "photo_missing": ("retry", "give_up"),
    "misconfigured": ("retry", "give_up"),
    "posted_twice": ("understood",),
    "sold_twice": ("understood",),
    "paused": (),
    "sale_cancelled": ("put_back", "leave_sold"),
}
#: What waits because the seller paused taking down; resuming ends it.
PAUSED = "paused"
#: What is asked about an order of what is live: no visit answers it, so none waits for that, and it stays.
ABOUT_ORDERS = ("sold_twice", "sale_cancelled")
#: What is asked while a take-down is tried on all the same, until it is gone; or to be fewer, until it is.
TRIED_ON = ("marketplace_busy", "page_changed")
#: Nobody is asked about the publication `p` before a visit goes on with it; `everystall.due()`,
#: `everystall.queue_numbers()` and publications_due_at have the same.
NOT_HELD = """(p.needs_you IS NULL
    OR (p.put = 'live' AND (p.needs_you ->> 'reason' IN ('sold_twice', 'sale_cancelled')
        OR ((p.wanted = 'ended' OR p.lower_asked_at IS NOT NULL)
            AND p.needs_you ->> 'reason' IN ('marketplace_busy', 'page_changed')))))"""
#: SQL: what is asked about orders of a publication, once all else that is asked about it is answered.
ORDERS_STILL = text("""CASE WHEN jsonb_array_length(publications.needs_you -> 'others') > 0
    THEN (publications.needs_you -> 'others' -> 0)
         || jsonb_build_object('others', (publications.needs_you -> 'others') - 0) END""")
#: A state in which a visit works → the one in which it left off before anything was clicked.
AT_REST = {"composing": "waiting", "filling": "waiting", "revising": "live"}
#: What a seller's new wish does not end: only connecting the account again does.
SIGNED_OUT = ("session_expired", "disconnected")


def needs_you(publication: Publication, browser_profile_id: str, reason: str, message: str,
              url: str | None = None) -> dict[str, Any]:  # fmt: skip
    """`{reason, message, url, actions[]}`: what happened, what we did, and the buttons that end it."""
    where = f"/api/listings/{publication.listing_id}/publications/{browser_profile_id}"
    names = [_meant(name, publication) for name in ACTIONS_FOR.get(reason, ("retry", "give_up"))]
    actions = [_button(name, publication, where) for name in names if name is not None]
    if reason in (*SIGNED_OUT, "challenge"):
        actions.insert(0, {"name": "reconnect", "label": "Connect again", "method": "POST",
                           "href": "/api/sessions/refresh"})  # fmt: skip
    return {"reason": reason, "message": message, "url": url, "actions": actions}


def asked_now(publication: Publication) -> dict[str, Any] | None:
    """What is asked about it, with buttons that fit how it stands now: it may have gone on since it was
    asked."""
    if publication.needs_you is None:
        return None
    actions = []
    for one in publication.needs_you.get("actions", ()):
        name = _meant(str(one["name"]), publication)
        if one["name"] == "give_up" and name is not None:
            one = _button(name, publication, str(one["href"]).rpartition("/")[0])
        actions += [one] if name is not None else []
    return {**publication.needs_you, "actions": actions}


def _button(name: str, publication: Publication, where: str) -> dict[str, Any]:
    label = IF_THERE if name == "give_up" and publication.looking else ACTIONS[name]
    return {"name": name, "label": label, "method": "POST", "href": f"{where}/{name}"}


def _meant(action: str, publication: Publication) -> str | None:
    """What is live is not given up but taken down, and says so; what is being taken down is neither."""
    if action != "give_up":
        return action
    there = publication.put == "live"
    if publication.wanted == "ended" and (there or publication.looking):
        return None
    return "end" if there else action


def reason_of(error: EverystallError) -> str:
    """The needs_you reason for a failure: what a developer must fix is always `page_changed`."""
    return error.code if error.code in ACTIONS_FOR else "page_changed"


async def change(
    session: AsyncSession, publication: Publication, *, under_way: bool = False, **values: Any
) -> None:
    """Set columns of the publication and let every job that waits for it see them. `under_way`: a step of it
    goes on after that; else this is what became of it."""
    await alter(session, publication, under_way=under_way, **values)
    await tell_jobs(session, [publication.id])


async def alter(
    session: AsyncSession, publication: Publication, *, under_way: bool = False, **values: Any
) -> None:
    """The same without telling the jobs: for who changes several and tells them once."""
    put, state, reason = publication.put, publication.state, _reason(publication)
    if not under_way:
        publication.begun_at, publication.cut_off = None, 0
    for name, value in values.items():
        setattr(publication, name, value)
    publication.updated_at = func.now()
    publication.relist = _relist(publication)
    if publication.wanted == "ended" or not (publication.put == "live" or publication.looking):
        publication.lower_asked_at = publication.lower_told_at = None
    await session.flush()
    if publication.put == "live" and (put != "live" or (state, publication.state) == ("reconciling", "live")):
        await tell(session, publication, "publication.live")
    if publication.put in ("ended", "sold") and put != publication.put:
        await tell(session, publication, "publication.ended", relisting=publication.relist is not None)
    if publication.state in ("ended", "sold", "cancelled") and state != publication.state:
        await session.execute(  # because of a sale elsewhere, it may be
            update(TakeDown)
            .where(TakeDown.publication_id == publication.id, TakeDown.gone_at.is_(None))
            .values(gone_at=func.clock_timestamp())
        )
    if _reason(publication) not in (None, reason):
        await tell(session, publication, "publication.needs_you")


def _relist(publication: Publication) -> str | None:
    """How far its relisting is, as it stands now."""
    if publication.relist is None or publication.wanted == "ended":
        return None
    if publication.put == "live":
        return publication.relist if publication.relist != "down" else None
    return "down"


def _reason(publication: Publication) -> str | None:
    return (publication.needs_you or {}).get("reason")


async def tell(session: AsyncSession, publication: Publication, type: str, **more: Any) -> None:
    """Record the event, as the publication stands; `more` is added, and goes before it."""
    account = select(Connection.public_id).where(Connection.id == publication.connection_id)
    data = {
        "listingId": str(publication.listing_id),
        "browserProfileId": await session.scalar(account),
        "marketplace": publication.marketplace,
        "url": publication.url,
        "remoteId": publication.remote_id,
        "needsYou": publication.needs_you,
    }
    await messages.record(session, publication.user_id, type, data | more)


async def tell_jobs(session: AsyncSession, publication_ids: Iterable[UUID]) -> None:
    """Copy the publications' state into the pairs that still follow them, and end the jobs whose
    last pair that was. A pair is finished when it is live as asked, ended, sold, cancelled, or needs
    the seller; from then on it stands for ever. A later edit is no longer the job's."""
    ids = list(publication_ids)
    jobs = (
        await session.execute(
            text("""
            UPDATE listing_automation_results r SET
                state = p.state, needs_you = p.needs_you, url = p.url, remote_id = p.remote_id,
                read_back = p.read_back, started_at = coalesce(r.started_at, p.started_at),
                finished_at = CASE WHEN p.needs_you IS NOT NULL
                    OR p.state IN ('ended', 'sold', 'cancelled')
                    OR (p.state = 'live' AND (NOT p.unsettled OR p.put_revision >= r.wanted_revision))
                    THEN clock_timestamp() END
            FROM publications p
            WHERE p.id = r.publication_id AND r.publication_id = ANY(:ids) AND r.finished_at IS NULL
            RETURNING r.job_id, r.finished_at IS NOT NULL AS finished
            """),
            {"ids": ids},
        )
    ).all()
    await end_jobs(session, {row.job_id for row in jobs if row.finished})


async def end_jobs(session: AsyncSession, job_ids: Iterable[str]) -> None:
    """Give each of these jobs whose pairs are all finished its last status."""
    ids = list(job_ids)
    if not ids:
        return
    # Two accounts may finish their pairs at the same moment. Whoever has the job's row second sees, in
    # its next statement, what the first one wrote.
    await session.execute(
        text("SELECT 1 FROM jobs WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE"), {"ids": ids}
    )
    ended = await session.execute(
        text("""
        UPDATE jobs j SET finished_at = clock_timestamp(), status = CASE
                WHEN r.needs THEN 'needs_you' WHEN r.cancelled THEN 'cancelled' ELSE 'done' END
        FROM (SELECT job_id, bool_or(needs_you IS NOT NULL) AS needs,
                     bool_or(state = 'cancelled') AS cancelled
              FROM listing_automation_results WHERE job_id = ANY(:ids)
              GROUP BY job_id HAVING bool_and(finished_at IS NOT NULL)) r
        WHERE j.id = r.job_id AND j.finished_at IS NULL
        RETURNING j.id, j.user_id, j.status
        """),
        {"ids": ids},
    )
    for job in sorted(ended):
        rows = await pairs.results(session, [job.id])
        data = {
            "jobId": job.id,
            "status": job.status,
            "listingId": str(rows[0].listing_id),  # the job's own is null once the listing is deleted
            "automationResults": pairs.as_json(rows),
        }
        await messages.record(session, job.user_id, "job.finished", data)


async def decided(session: AsyncSession, publication_ids: Collection[UUID]) -> None:
    """The seller says what is wanted of these: what a rule of ours took down before that, for a blind account
    or because of a sale, is not posted again over it."""
    of_these = BlindEnd.publication_id.in_(publication_ids)
    await session.execute(delete(BlindEnd).where(of_these))
    await session.execute(
        update(TakeDown)
        .where(TakeDown.publication_id.in_(publication_ids), TakeDown.settled_at.is_(None))
        .values(settled_at=func.clock_timestamp())
    )


async def forget_take_downs(session: AsyncSession, publication_ids: Collection[UUID]) -> None:
    """They are wanted live again before they were gone: of a sale elsewhere nothing is owed any more."""
    open_ones = TakeDown.publication_id.in_(publication_ids), TakeDown.gone_at.is_(None)
    await session.execute(delete(TakeDown).where(*open_ones))


async def want_ended(session: AsyncSession, publication: Publication) -> bool:
    """The seller, or a sale, wants it gone. True if an account has to be visited for that.

    What was never armed ends here and now; what is armed is settled first, then taken down. Where nobody
    can visit the account, it says so at once."""
    publication.wanted = "ended"  # before the buttons are chosen
    if publication.put == "live" or publication.looking:
        asked = await held(session, publication, f"It cannot be taken down on {_label(publication)} now.")
        asked = asked or await held_by_pause(session, publication)
        asked = ask_first(publication, asked) if asked else about_order(publication)
        state = "ending" if publication.put == "live" else publication.state
        began = publication.started_at if publication.state == "ending" else None  # a take-down of before
        await change(session, publication, state=state, next_try_at=None, needs_you=asked, tries=0,
                     started_at=began, finished_at=None)  # fmt: skip
        attempt = await open_attempt(session, publication)
        if attempt is not None:
            attempt.repost_asked_at = None
        return True
    over = publication.state if publication.state in ("ended", "sold") else "cancelled"
    await change(session, publication, state=over, needs_you=about_order(publication), next_try_at=None,
                 finished_at=func.now())  # fmt: skip
    return False


def all_asked(publication: Publication) -> list[dict[str, Any]]:
    """What is asked about it, and behind that what is asked about orders of it (`others`)."""
    asked = dict(publication.needs_you or {})
    others = asked.pop("others", [])
    return [asked, *others] if asked else []


def ask_first(publication: Publication, asked: dict[str, Any]) -> dict[str, Any]:
    """This is asked now; what is asked about other orders of it stays, and comes up again after it. About
    cancelled ones one question asks."""
    others = [
        one for one in all_asked(publication)
        if one["reason"] in ABOUT_ORDERS
        and (one["reason"], one.get("saleId")) != (asked["reason"], asked.get("saleId"))
    ]  # fmt: skip
    return asked | {"others": others} if others else asked


def still_asked(
    publication: Publication, answered: Callable[[dict[str, Any]], bool]
) -> dict[str, Any] | None:  # fmt: skip
    """What is asked about it once these are answered; None if nothing is."""
    left = [one for one in all_asked(publication) if not answered(one)]
    if len(left) < 2:
        return left[0] if left else None
    return left[0] | {"others": left[1:]}


def about_order(publication: Publication) -> dict[str, Any] | None:
    """What is asked about orders of it; None if nothing is."""
    return still_asked(publication, lambda asked: asked["reason"] not in ABOUT_ORDERS)


def is_held(publication: Publication) -> bool:
    """Does what is asked about it keep visits from it? As NOT_HELD."""
    reason = _reason(publication)
    goes_on = reason in ABOUT_ORDERS or (is_urgent(publication) and reason in TRIED_ON)
    return reason is not None and not (publication.put == "live" and goes_on)


def is_urgent(publication: Publication) -> bool:
    """What stands there could be sold though nobody has it: it is to go, or to be fewer."""
    to_be_fewer = publication.lower_asked_at is not None
    return publication.put == "live" and (publication.wanted == "ended" or to_be_fewer)


async def want_live(session: AsyncSession, publication: Publication) -> bool:
    """It is wanted live again, and posted anew; of what is just being taken down, or looked for, it first has
    to be known where it stands. Where nobody can visit the account, it says so. False: none is left of it, or
    all of it is to be deleted, and nothing changed. It is locked."""
    listing = await some_left(session, publication)
    if listing is None:
        return False
    await forget_take_downs(session, [publication.id])
    publication.wanted = "live"  # before the buttons are chosen
    values: dict[str, Any] = {"wanted_revision": listing.revision, "next_try_at": None, "tries": 0,
                              "finished_at": None}  # fmt: skip
    if publication.put != "live" and not publication.looking:
        rule = (await rules_now(session)).get(publication.marketplace)
        values |= {"price_rule": rule, "state": "waiting"}
    if not (publication.looking and _reason(publication) == "unresolved"):
        why = f"It cannot be posted on {_label(publication)} now."
        values["needs_you"] = await held(session, publication, why)
    await change(session, publication, **values)
    return True


async def some_left(session: AsyncSession, publication: Publication) -> Listing | None:
    """The listing, locked after its publication, as everybody locks them: what sells it waits for us, or we
    see what it did. None: nothing of it is to be posted."""
    found = await session.scalars(
        select(Listing)
        .where(Listing.id == publication.listing_id, Listing.quantity > Listing.quantity_sold,
               Listing.delete_asked_at.is_(None))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )  # fmt: skip
    return found.one_or_none()


def may_keep(publication: Publication, listing: Listing) -> bool:
    """May the seller take back that it goes from there? Once a visit went for it, only what comes of that
    says where it stands; and with none left, or all of the listing to be deleted, nothing stays."""
    if publication.relist == "asked":
        return True
    stands = (publication.wanted, publication.put, publication.looking) == ("ended", "live", False)
    return (
        stands and publication.started_at is None
        and listing.delete_asked_at is None and listing.quantity > listing.quantity_sold
    )  # fmt: skip


async def keep(session: AsyncSession, publication: Publication) -> list[UUID]:
    """It stays there as it is, and is not relisted; the accounts to be woken, since what was edited meanwhile
    is put there. Raises Conflict, in words. It is locked."""
    listing = await session.get_one(Listing, publication.listing_id, populate_existing=True)
    if not may_keep(publication, listing):
        raise _not_kept(publication, listing)
    await decided(session, [publication.id])
    await forget_take_downs(session, [publication.id])
    publication.wanted, due = "live", publication.put_revision != listing.revision
    asked = about_order(publication)
    if due:
        why = f"It cannot be changed on {_label(publication)} now."
        asked = asked or await held(session, publication, why)
    await change(session, publication, wanted_revision=listing.revision, relist=None, state="live", tries=0,
                 next_try_at=None, needs_you=asked, finished_at=func.now())  # fmt: skip
    return [publication.connection_id] if due else []


def _not_kept(publication: Publication, listing: Listing) -> Conflict:
    label = _label(publication)
    if publication.put != "live" or (publication.wanted == "live" and publication.relist is None):
        return Conflict(f"It does not wait to be taken down on {label}.", action="Load the listing again.")
    if listing.delete_asked_at is not None:
        return Conflict("The whole listing is being deleted.", action="Stop deleting it.")
    if listing.quantity <= listing.quantity_sold:
        return Conflict("It is sold: there is none left to be kept.", action="Nothing.")
    return Conflict(
        f"Taking it down on {label} has begun.", action="Wait until it is gone, then post it again."
    )


async def held(session: AsyncSession, publication: Publication, why: str) -> dict[str, Any] | None:
    """That the account cannot be visited, as this publication's own question; None if it can."""
    connection = await session.get(Connection, publication.connection_id, populate_existing=True)
    if connection is None or connection.needs_you is None:
        return None
    reason = str(connection.needs_you["reason"])
    said = f"{why} {connection.needs_you['message']}"
    return needs_you(publication, connection.public_id, reason, said, publication.url or connection.base_url)


async def held_by_pause(session: AsyncSession, publication: Publication) -> dict[str, Any] | None:
    """The same where the seller paused taking down, too; None if not."""
    connection = await session.get_one(Connection, publication.connection_id, populate_existing=True)
    user = await session.get_one(User, publication.user_id, populate_existing=True)
    all_ = user.paused_at is not None and user.pause_ends
    if not (all_ or (connection.paused_at is not None and connection.pause_ends)):
        return None
    said = f"You paused taking down, too: it stays on {_label(publication)} "
    if publication.wanted == "ended":
        said += (
            "until you go on, or until you take it down there yourself. What is sold elsewhere meanwhile can "
            "be bought there once more."
        )
    else:
        said += (
            "as it is until you go on, or until you make it fewer there yourself. More may be bought there "
            "than you have left."
        )
    asked = needs_you(publication, connection.public_id, PAUSED, said, publication.url or connection.base_url)
    href = "/api/resume" if all_ else f"/api/connections/{connection.public_id}/resume"
    asked["actions"] = [{"name": "resume", "label": "Go on", "method": "POST", "href": href}]
    return asked


async def hold_lowering(session: AsyncSession, connection_id: UUID | None = None) -> None:
    """Taking down is paused from now on, there or everywhere: what a sale left more of than there is, and was
    to be made fewer, waits for the seller. What was to go says so once a visit comes for it."""
    waiting = select(Publication).where(Publication.lower_asked_at.is_not(None), ~Publication.looking)
    if connection_id is not None:
        waiting = waiting.where(Publication.connection_id == connection_id)
    await session.flush()
    for publication in await session.scalars(waiting.order_by(Publication.id).with_for_update()):
        asked = None if is_held(publication) else await held_by_pause(session, publication)
        if asked is not None:
            await change(session, publication, needs_you=ask_first(publication, asked))


async def hold_all(
    session: AsyncSession, connection: Connection, reason: str, message: str, *, tells_stand: bool = False
) -> None:
    """Nobody can visit the account: every publication that waits for a visit there waits for the seller.
    `tells_stand`: each says how it stands there meanwhile, too."""
    waiting = (
        select(Publication)
        .where(Publication.connection_id == connection.id, Publication.needs_you.is_(None),
               Publication.unsettled | Publication.looking)
        .order_by(Publication.id)
        .with_for_update()
    )  # fmt: skip
    for publication in (await session.scalars(waiting)).all():
        said = f"{message} {_stands(publication)}" if tells_stand else message
        asked = needs_you(publication, connection.public_id, reason, said, connection.base_url)
        state = AT_REST.get(publication.state, publication.state)
        await change(session, publication, needs_you=asked, state=state, finished_at=func.now())


def _stands(publication: Publication) -> str:
    """While nobody can do anything about it."""
    if publication.put == "live":
        ends = publication.wanted == "ended"
        return f"It is live there, and {'is taken down' if ends else 'stays as it is until'} then."
    if publication.looking:
        ends = publication.wanted == "ended"
        return f"It was sent there and may be live: we look then{', and take it down' if ends else ''}."
    return "It is not live there, and waits."


async def release_all(session: AsyncSession, connection: Connection, reason: str) -> None:
    """What waited for the seller for that reason goes on."""
    waiting = (
        Publication.connection_id == connection.id,
        Publication.needs_you["reason"].astext == reason,
    )
    await session.execute(select(Publication.id).where(*waiting).order_by(Publication.id).with_for_update())
    await session.execute(
        update(Publication)
        .where(*waiting)
        .values(needs_you=ORDERS_STILL, next_try_at=None, tries=0, finished_at=None)
        .execution_options(synchronize_session=False)
    )


async def public_ids(session: AsyncSession, connection_ids: Collection[UUID]) -> list[str]:
    """What these accounts are called outside."""
    named = select(Connection.public_id).where(Connection.id.in_(connection_ids)).order_by(Connection.id)
    return list(await session.scalars(named))


async def lock_all(session: AsyncSession, listing_ids: Collection[UUID]) -> Sequence[Publication]:
    """All publications of these listings, in the order of their ids, then the listings: as everybody locks
    them."""
    publications = await session.scalars(
        select(Publication)
        .where(Publication.listing_id.in_(listing_ids))
        .order_by(Publication.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = publications.all()
    await session.execute(
        select(Listing)
        .where(Listing.id.in_(listing_ids))
        .order_by(Listing.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return found


async def lock_with_others(
    session: AsyncSession, publication_ids: Collection[UUID]
) -> dict[UUID, Publication]:  # fmt: skip
    """All publications of these ones' listings, and the listings, as `lock_all`. One that moves to another
    listing while we wait for it (a link) is looked for there."""
    asked = select(Publication.id, Publication.listing_id).where(Publication.id.in_(publication_ids))
    while True:
        listing_of = {row.id: row.listing_id for row in await session.execute(asked)}
        found = await lock_all(session, set(listing_of.values()))
        locked = {publication.id: publication for publication in found}
        if listing_of.keys() <= locked.keys():
            return locked


async def drop_pace(session: AsyncSession, connection: Connection) -> None:
    """The account's pace is another: what the old one put off is tried, and put off by the new."""
    await session.execute(
        text("""UPDATE publications SET next_try_at = NULL
                WHERE connection_id = :id AND next_try_at = paced_to AND next_try_at > now()"""),
        {"id": connection.id},
    )


async def act(
    session: AsyncSession, publication: Publication, action: str, *, url: str | None = None
) -> None:
    """What the seller decided about one publication. Raises BadRequest for a decision that does not
    fit what it waits for. The caller commits and has locked nothing: rows are locked here in the order
    in which a visit locks them, the connection before the publication. Waking is the last statement."""
    if action not in ACTIONS:
        raise BadRequest(f"There is no action {action[:40]!r}.", action=f"Use one of {', '.join(ACTIONS)}.")
    if action in ("retry", "it_is_there", "post_again", "put_mine", "keep_theirs", "end"):
        await _clear_account(session, publication)
    await session.refresh(publication, with_for_update=True)
    if action == "keep":
        due = await keep(session, publication)
        await engine.wake(session, due)
        return
    reason = (publication.needs_you or {}).get("reason")
    offered = {_meant(name, publication) for name in ACTIONS_FOR.get(reason or "", ())}
    if action != "end" and action not in offered:
        raise Refused(
            f"“{ACTIONS[action]}” does not fit: this listing on {_label(publication)} "
            + (f"waits for something else ({reason})." if reason else "does not wait for you."),
            action="Load the listing again and use one of its actions.",
        )
    lane = "visits"
    if action in ("end", "give_up", "post_again"):
        await decided(session, [publication.id])
    if action in ("end", "give_up"):
        publication.end_by_delete = False
        if not await want_ended(session, publication):
            return
        lane = "urgent"
    elif action == "retry":
        await _retry(session, publication)
    elif action in ("put_mine", "keep_theirs"):
        attempt = await live_attempt(session, publication)
        if attempt is not None:
            _decide(attempt, keep=action == "keep_theirs")
        await _retry(session, publication)
    elif action == "understood":
        first, *_ = all_asked(publication)
        await change(session, publication, needs_you=still_asked(publication, lambda asked: asked == first))
        return
    elif action == "it_is_there":
        await _it_is_there(session, publication, url)
    elif action == "post_again":
        await _post_again(session, publication)
    await engine.wake(session, [publication.connection_id], lane)


async def open_attempt(session: AsyncSession, publication: Publication) -> Attempt | None:
    """The attempt that is neither settled nor unresolved, if there is one."""
    found = await session.execute(
        select(Attempt).where(Attempt.publication_id == publication.id, Attempt.outcome.is_(None))
    )
    return found.scalar_one_or_none()


async def live_attempt(session: AsyncSession, publication: Publication) -> Attempt | None:
    """The attempt that is live there: what we last put."""
    found = await session.execute(
        select(Attempt)
        .where(Attempt.publication_id == publication.id, Attempt.outcome == "live")
        .execution_options(populate_existing=True)
    )
    return found.scalar_one_or_none()


async def _retry(session: AsyncSession, publication: Publication) -> None:
    state = "reconciling" if publication.looking else "waiting"
    if publication.put == "live":
        state = "ending" if publication.wanted == "ended" or publication.state == "ending" else "live"
    await change(session, publication, needs_you=about_order(publication), next_try_at=None, tries=0,
                 finished_at=None, state=state)  # fmt: skip


def _decide(attempt: Attempt, *, keep: bool) -> None:
    """The same fields were changed here and there. Either way what stands there is known now; kept, it is not
    wanted otherwise before the listing is edited in them again."""
    conflict, clicked = attempt.conflict or {}, attempt.revising
    attempt.adopted = attempt.adopted | {name: sides["theirs"] for name, sides in conflict.items()}
    for name, sides in conflict.items() if keep else ():
        attempt.draft = _with(attempt.draft, name, sides["ours"])
        if clicked is not None:  # nor is it wanted because a click that nobody looked after meant it
            clicked = {**clicked, "draft": _with(clicked["draft"], name, sides["ours"])}
    attempt.revising, attempt.conflict = clicked, None


def _with(draft: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """A stored draft with another value in one field, named as in `base.flat`."""
    outer, _, inner = name.partition(".")
    if inner:
        value = {k: v for k, v in {**draft[outer], inner: value}.items() if v is not None}
    return {**draft, outer: value}


async def _it_is_there(session: AsyncSession, publication: Publication, url: str | None) -> None:
    """The seller's word is checked by looking; until then the attempt has an address and no id."""
    attempt = await open_attempt(session, publication)
    connection = await session.get_one(Connection, publication.connection_id)
    form = get_form(publication.marketplace)
    host = urlsplit(url or "").hostname or ""
    own = (urlsplit(connection.base_url).hostname or "", *form.COOKIE_DOMAINS)
    there = any(host == domain or host.endswith(f".{domain}") for domain in own)
    if attempt is None or not there or re.search(form.REMOTE_ID, url or "") is None:
        raise BadRequest(
            f"Which one is it on {_label(publication)}?",
            action='Send {"url": "…"} with the address of the listing\'s page.',
        )
    attempt.url, attempt.repost_asked_at = url, None
    await change(session, publication, needs_you=None, looking=True, next_try_at=None, state="reconciling",
                 finished_at=None)  # fmt: skip


async def _post_again(session: AsyncSession, publication: Publication) -> None:
    """With an attempt open: look once more, then try anew. Else it is gone: want it live again. Raises
    Conflict where none is left."""
    attempt = await open_attempt(session, publication)
    if await some_left(session, publication) is None:
        raise Conflict(
            f"It is not posted again on {_label(publication)}: none is left, or all of it is being deleted.",
            action="Raise its quantity if there are more.",
        )
    if attempt is not None and attempt.armed_at is not None:
        attempt.repost_asked_at = func.now()
        await change(session, publication, wanted="live", needs_you=None, looking=True, next_try_at=None,
                     state="reconciling", finished_at=None)  # fmt: skip
        return
    await want_live(session, publication)


async def _clear_account(session: AsyncSession, publication: Publication) -> None:
    """Retry after a challenge: the account is worth a visit again (a lost sign-in is not, until the
    seller connects anew)."""
    await session.execute(
        update(Connection)
        .where(Connection.id == publication.connection_id,
               Connection.needs_you["reason"].astext.notin_(SIGNED_OUT))
        .values(needs_you=None)
    )  # fmt: skip


def backoff(tries: int, retry_after: float | None, jitter: float, most: float = 1800.0) -> timedelta:
    """Seconds until the next try of what passes by itself: 5, 10, 20 … at most 30 minutes (`most`), each
    ± 25 % (`jitter` in 0..1); never sooner than the marketplace asked."""
    wait = min(5.0 * 2 ** min(tries, 10), most) * (0.75 + 0.5 * jitter)
    return timedelta(seconds=max(wait, retry_after or 0.0))


def _label(publication: Publication) -> str:
    return MARKETPLACES.get(publication.marketplace, publication.marketplace)

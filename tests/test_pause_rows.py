"""What a pause stops and what it does not, for each thing that an account may have to do: the seller's switch
for all and the one for an account, each with and without taking down."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from everystall.inventory.publications import act
from everystall.inventory.revisions import touch
from everystall.models import Listing, LiveImport, Publication
from everystall.worker.visit import Visit
from tests.selling import an_order, take

#: The switches, and whether taking down is paused, too.
PAUSES = {
    "nothing": (None, False),
    "the account": ("connections", False),
    "all": ("users", False),
    "the account, and taking down": ("connections", True),
    "all, and taking down": ("users", True),
}
#: What there is to do → the lane that does it, as what a visit knows it, whether it runs while posting is
#: paused, and while taking down is paused, too.
PATHS = {
    "sold elsewhere": ("urgent", "end", True, False),
    "taken down by hand": ("urgent", "end", True, False),
    "one of several sold elsewhere": ("urgent", "revise", True, False),
    "one of several sold here": ("urgent", "revise", True, False),
    "edited, or its price fell": ("visits", "revise", False, False),
    "to be posted": ("visits", "publish", False, False),
    "to be relisted": ("visits", "relist", False, False),
    "being taken down to be relisted": ("visits", "relist", False, False),
    "taken down to be relisted": ("visits", "publish", False, False),
    "wanted again while it is taken down": ("visits", "still there", False, False),
    "clicked, and nobody knows": ("visits", "look", True, True),
    "to be looked at": ("visits", "check", True, True),
    "to be brought in": ("reading", "import", False, False),
}
ROWS = {
    "to be posted": "put = 'nothing', put_revision = NULL, state = 'waiting', remote_id = NULL",
    "to be relisted": "relist = 'asked', state = 'ending'",
    "being taken down to be relisted": "relist = 'begun', state = 'ending'",
    "taken down to be relisted": "relist = 'down', put = 'ended', state = 'waiting'",
    "wanted again while it is taken down": "state = 'ending'",
    "clicked, and nobody knows": "put = 'nothing', looking = true, state = 'reconciling'",
}


async def _comes_up(db, admin, path, account, elsewhere):
    if path in ROWS:
        await admin.execute(f"UPDATE publications SET {ROWS[path]} WHERE connection_id = %s", [account.id])
        if "put = " in ROWS[path]:
            await admin.execute("DELETE FROM attempts WHERE connection_id = %s", [account.id])
    elif path == "to be looked at":
        await admin.execute("UPDATE connections SET next_check_at = now()")
    elif "elsewhere" in path:
        await take(db, elsewhere, an_order("o1", "r-2"))
    elif path.endswith("sold here"):
        await take(db, account, an_order("o1", "r-1"))
    else:
        async with db.as_user(account.user_id) as session:
            of_account = select(Publication).where(Publication.connection_id == account.id)
            publication = (await session.scalars(of_account)).one()
            if path == "taken down by hand":
                await act(session, publication, "end")
            elif path == "to be brought in":
                session.add(LiveImport(user_id=account.user_id, connection_id=account.id))
            else:
                await touch(session, await session.get_one(Listing, publication.listing_id))


def _visit(db, user, account, lane):
    lease = SimpleNamespace(connection_id=account.id, user_id=user, fence=1, lost=asyncio.Event(),
                            transaction=lambda: db.as_user(user))  # fmt: skip
    return Visit(SimpleNamespace(db=db, get_adapter=lambda marketplace: None), lease, lane)


async def _next(db, user, account, lane):
    """What a visit would do first, without looking what sold."""
    due = await _visit(db, user, account, lane)._next()
    return due.kind if due else None


@pytest.mark.parametrize("pause", PAUSES)
@pytest.mark.parametrize("path", PATHS)
async def test_a_pause_stops_what_it_says_and_nothing_else(db, admin, alice, bob, stand, path, pause):
    lane, kind, runs, runs_without_taking_down = PATHS[path]
    switch, too = PAUSES[pause]
    _, (account, elsewhere) = await stand("ebay", "poshmark", quantity=3 if "several" in path else 1)
    await admin.execute("UPDATE connections SET next_check_at = NULL")
    if switch is not None:
        whose = alice if switch == "users" else account.id
        await admin.execute(
            f"UPDATE {switch} SET paused_at = now(), pause_ends = %s WHERE id = %s", [too, whose]
        )
    await _comes_up(db, admin, path, account, elsewhere)
    await admin.execute(
        "UPDATE connections SET lease_fence = 1, lease_until = now() + interval '1 hour', watched_at = NULL"
    )
    goes = switch is None or (runs_without_taking_down if too else runs)
    assert await _next(db, alice, account, lane) == (kind if goes else None)
    if too and (kind == "end" or "several" in path):  # that it waits is asked
        of_account = "SELECT needs_you ->> 'reason' AS reason FROM publications WHERE connection_id = %s"
        row = await (await admin.execute(of_account, [account.id])).fetchone()
        assert row["reason"] == "paused"


@pytest.mark.parametrize("path", [path for path in PATHS if path != "to be looked at"])
async def test_what_a_visit_leaves_behind_is_woken_in_its_own_lane(db, admin, alice, bob, stand, path):
    """A take-down in the one that is kept free for it: others' posts may fill all slots of the other."""
    lane, *_ = PATHS[path]
    _, (account, elsewhere) = await stand("ebay", "poshmark", quantity=3 if "several" in path else 1)
    await _comes_up(db, admin, path, account, elsewhere)
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    for of in ("visits", "urgent"):  # whichever was stopped, or had spent its budget
        await _visit(db, alice, account, of)._wake_for_the_rest()
    await _visit(db, bob, account, "visits")._wake_for_the_rest()
    jobs = await admin.execute("SELECT queue_name FROM procrastinate.procrastinate_jobs")
    assert [row["queue_name"] for row in await jobs.fetchall()] == [lane]


@pytest.mark.parametrize("path", [*PATHS, "given up, and looked for"])
async def test_a_rest_that_a_marketplace_asked_for_stops_all_visits_until_it_is_over(
    db, admin, alice, bob, stand, path
):
    lane, kind, *_ = PATHS.get(path, ("visits", "orphan"))
    _, (account, elsewhere) = await stand("ebay", "poshmark", quantity=3 if "several" in path else 1)
    await admin.execute("UPDATE connections SET next_check_at = NULL")
    if kind == "orphan":
        await admin.execute("UPDATE attempts SET outcome = 'unresolved', next_look_at = now() "
                            "WHERE connection_id = %s", [account.id])  # fmt: skip
    else:
        await _comes_up(db, admin, path, account, elsewhere)
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    lease = "UPDATE connections SET lease_fence = 1, watched_at = NULL, lease_until = "
    rest = "UPDATE connections SET rest_until = now() + make_interval(secs => %s)"
    woken = "SELECT connection_id FROM everystall.due(9) UNION SELECT everystall.due_live_imports(9)"
    for seconds, goes in ((600, False), (-1, True)):
        await admin.execute(rest, [seconds])
        await admin.execute(lease + "now() + interval '1 hour'")
        visit = _visit(db, alice, account, lane)
        await visit._wake_for_the_rest()
        jobs = await admin.execute("DELETE FROM procrastinate.procrastinate_jobs RETURNING 1")
        assert bool(await jobs.fetchall()) is (goes and kind not in ("check", "orphan"))
        due = await visit._next()
        assert (due.kind if due else None) == (kind if goes else None)
        await admin.execute(lease + "NULL")
        await admin.execute("UPDATE connections SET next_check_at = now() WHERE next_check_at IS NOT NULL")
        found = [row["connection_id"] for row in await (await admin.execute(woken)).fetchall()]
        assert (account.id in found) is goes


@pytest.mark.parametrize("switch", [None, "users"])
async def test_what_is_to_be_relisted_is_made_fewer_before_it_goes_also_while_posting_is_paused(
    db, admin, alice, bob, stand, switch
):
    _, (account, elsewhere) = await stand("ebay", "poshmark", quantity=3)
    await admin.execute("UPDATE connections SET next_check_at = NULL")
    await admin.execute(
        "UPDATE publications SET relist = 'asked', state = 'ending' WHERE connection_id = %s", [account.id]
    )
    if switch is not None:
        await admin.execute("UPDATE users SET paused_at = now() WHERE id = %s", [alice])
    await take(db, elsewhere, an_order("o1", "r-2"))
    await admin.execute("UPDATE connections SET lease_fence = 1, lease_until = now() + interval '1 hour'")
    assert await _next(db, alice, account, "visits") == "revise"

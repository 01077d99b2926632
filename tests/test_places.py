"""An account with a place is visited from there alone, and its seller is told when nobody stands there."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import text
from structlog.testing import capture_logs

from everystall import doctor, engine
from everystall.settings import Settings
from everystall.worker import places
from everystall.worker.lease import Lease

JOBS = (
    "SELECT queue_name, queueing_lock FROM procrastinate.procrastinate_jobs WHERE status = 'todo' ORDER BY id"
)


@asynccontextmanager
async def _worker(url, place, visited):
    """A real worker's lanes; a visit is a word in a list."""
    app = engine.make_app(url)

    @app.task(name="visit")
    async def visit(connection_id: str, lane: str) -> None:
        visited.append((place, UUID(connection_id)))

    async with app.open_async():
        lanes = asyncio.create_task(engine.run_lanes(app, {"urgent": 1, "visits": 2}, place=place))
        yield
        lanes.cancel()
        await asyncio.gather(lanes, return_exceptions=True)


async def _wake(db, *ids, lane="visits", back=False):
    async with db.as_app() as session:
        await engine.wake(session, ids, lane, back=back)


async def _waiting(admin):
    rows = await (await admin.execute(JOBS)).fetchall()
    return [(row["queue_name"], row["queueing_lock"].split(":")[1]) for row in rows]


async def _due(db):
    async with db.as_app() as session:
        rows = await session.execute(text("SELECT connection_id, lane FROM everystall.due(100)"))
        return [(row.connection_id, row.lane) for row in rows]


@pytest.mark.parametrize("lane", ["visits", "urgent"])
async def test_each_account_is_visited_by_the_workers_of_its_place_and_those_of_none_by_any(
    db, admin, database_urls, alice, make_connection, lane
):
    home = await make_connection(alice, place="home")
    shop = await make_connection(alice, place="shop")
    anywhere = await make_connection(alice)
    visited: list[tuple[str | None, UUID]] = []
    async with _worker(database_urls.login, "home", visited), _worker(database_urls.login, None, visited):
        await asyncio.sleep(0.2)  # both listen
        for _ in range(5):
            await _wake(db, home.id, shop.id, anywhere.id, lane=lane)
            async with asyncio.timeout(30):
                while len(await _waiting(admin)) > 1:
                    await asyncio.sleep(0.02)
    assert {place for place, id in visited if id == home.id} == {"home"}
    assert {id for _, id in visited} == {home.id, anywhere.id}
    assert await _waiting(admin) == [(f"{lane}@shop", str(shop.id))]


async def test_a_wake_up_follows_its_account_to_another_place(
    db, admin, alice, make_connection, make_listing
):
    account, listing = await make_connection(alice, place="home"), await make_listing(alice)
    await admin.execute(
        "INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision) "
        "VALUES (%s, %s, %s, 'poshmark', 1)",
        [alice, listing.id, account.id],
    )
    await _wake(db, account.id)
    assert await _due(db) == []
    await admin.execute("UPDATE connections SET place = 'shop'")
    assert await _due(db) == [(account.id, "visits")]  # the one that waits at home is none
    await _wake(db, account.id)
    assert await _waiting(admin) == [("visits@shop", str(account.id))]
    await admin.execute("UPDATE connections SET place = NULL")
    await _wake(db, account.id)
    assert await _waiting(admin) == [("visits", str(account.id))]
    assert await _due(db) == []


async def test_nobody_takes_the_lease_from_another_place(db, alice, make_connection, tmp_path):
    account, anywhere = await make_connection(alice, place="home"), await make_connection(alice)
    for stands_at, accounts in ((None, [anywhere]), ("shop", [anywhere]), ("home", [anywhere, account])):
        settings = Settings(_env_file=None, everystall_home=tmp_path, worker_place=stands_at)
        for one in (anywhere, account):
            lease = await Lease.take(db, settings, one.id)
            assert (lease is not None) == (one in accounts)
            if lease is not None:
                async with lease:
                    pass


async def test_who_hands_an_account_back_goes_behind_all_who_wait(db, admin, alice, make_connection):
    first, second = await make_connection(alice, place="home"), await make_connection(alice)
    await _wake(db, first.id)
    await _wake(db, second.id)
    async with db.as_user(alice) as session:
        await engine.wake(session, [first.id], back=True)
    assert await _waiting(admin) == [("visits", str(second.id)), ("visits@home", str(first.id))]


async def _publication(admin, user, listing, account, **fields):
    fields = {"marketplace": "poshmark", "wanted_revision": 1, **fields}
    names = ", ".join(fields)
    made = await admin.execute(
        f"INSERT INTO publications (user_id, listing_id, connection_id, {names}) "
        f"VALUES (%s, %s, %s{', %s' * len(fields)}) RETURNING id",
        [user, listing.id, account.id, *fields.values()],
    )
    return (await made.fetchone())["id"]


async def _needs(admin):
    rows = await (await admin.execute("SELECT needs_you FROM connections ORDER BY created_at")).fetchall()
    flagged = await (await admin.execute("SELECT needs_you, state FROM publications")).fetchall()
    return [(row["needs_you"] or {}).get("reason") for row in rows], [
        ((row["needs_you"] or {}).get("reason"), row["state"]) for row in flagged
    ]


async def test_a_seller_is_told_of_a_place_without_a_worker_and_it_goes_on_when_one_is_back(
    db, admin, alice, make_connection, make_listing
):
    account, listing = await make_connection(alice, place="home"), await make_listing(alice)
    await make_connection(alice)  # of none: never told
    await _publication(admin, alice, listing, account, state="filling")
    await places._sign(db, "home")
    await places.look_after(db)
    assert await _needs(admin) == ([None, None], [(None, "filling")])
    await admin.execute("UPDATE everystall.places SET seen_at = now() - interval '121 s'")
    await places.look_after(db)
    assert await _needs(admin) == (["no_worker", None], [("no_worker", "waiting")])
    for asked in ("publications", "connections WHERE place IS NOT NULL"):
        said = await (await admin.execute(f"SELECT needs_you FROM {asked}")).fetchone()
        assert "“home”" in said["needs_you"]["message"]
        assert said["needs_you"]["url"] == account.base_url
        names = [one["name"] for one in said["needs_you"]["actions"]]
        assert names == (["give_up"] if asked == "publications" else [])  # nothing brings a worker there
    told = await (await admin.execute("SELECT type FROM events")).fetchall()
    assert [row["type"] for row in told] == ["publication.needs_you"]
    await places.look_after(db)  # once
    assert len(await (await admin.execute("SELECT type FROM events")).fetchall()) == 1
    async with places.standing(db, "home"):
        await places.look_after(db)
    assert await _needs(admin) == ([None, None], [(None, "waiting")])
    assert await _waiting(admin) == [("urgent@home", str(account.id)), ("visits@home", str(account.id))]


@pytest.mark.parametrize(
    ("stands", "said", "button"),
    [
        ({}, "It is not live there, and waits.", ("give_up", "Do not post it")),
        ({"state": "reconciling", "looking": True}, "It was sent there and may be live: we look then.",
         ("give_up", "Take it down if it is there")),
        ({"state": "reconciling", "looking": True, "wanted": "ended"}, "look then, and take it down.", None),
        ({"state": "live", "put": "live", "put_revision": 0}, "live there, and stays as it is until then.",
         ("end", "Take it down")),
        ({"state": "ending", "put": "live", "wanted": "ended"}, "It is live there, and is taken down then.",
         None),
    ],
)  # fmt: skip
async def test_each_listing_says_how_it_stands_where_no_worker_is_and_its_button_fits(
    db, admin, alice, bob, make_connection, make_listing, stands, said, button
):
    account = await make_connection(alice, place="home")
    id = await _publication(admin, alice, await make_listing(alice), account, **stands)
    other = await _publication(admin, bob, await make_listing(bob), await make_connection(bob), **stands)
    await places.look_after(db)
    row = await (await admin.execute("SELECT * FROM publications WHERE id = %s", [id])).fetchone()
    assert row["needs_you"]["message"].endswith(said)
    assert "nothing is lost" in row["needs_you"]["message"]
    shown = [(one["name"], one["label"]) for one in row["needs_you"]["actions"]]
    assert shown == ([button] if button else [])
    left = await admin.execute("SELECT needs_you FROM publications WHERE id = %s", [other])
    assert (await left.fetchone())["needs_you"] is None


async def test_what_a_new_hand_over_or_wish_cleared_meanwhile_goes_on_too(
    db, admin, alice, make_connection, make_listing
):
    account, listing = await make_connection(alice, place="home"), await make_listing(alice)
    await _publication(admin, alice, listing, account)
    await places.look_after(db)
    await admin.execute("UPDATE connections SET needs_you = NULL")
    await places._sign(db, "home")
    await places.look_after(db)
    assert await _needs(admin) == ([None], [(None, "waiting")])


async def test_another_question_of_the_account_stands(db, admin, alice, make_connection):
    await make_connection(alice, place="home")
    await admin.execute("UPDATE connections SET needs_you = %s", [Jsonb({"reason": "challenge"})])
    await places.look_after(db)
    await places._sign(db, "home")
    await places.look_after(db)
    assert await _needs(admin) == (["challenge"], [])


async def test_a_worker_at_a_place_that_no_account_asks_for_says_so(db, admin, alice, bob, make_connection):
    await make_connection(alice, place="home")
    await make_connection(bob, place="attic", needs_you={"reason": "disconnected"})
    for place, unasked in (("home", False), ("hoem", True), ("attic", True)):
        with capture_logs() as logs:
            async with places.standing(db, place):
                pass
        told = [line for line in logs if line["event"] == "place.unasked"]
        assert [(line["place"], line["asked"]) for line in told] == [(place, ["home"])] * unasked


async def test_the_doctor_tells_a_place_without_a_worker(
    database_urls, admin, alice, bob, make_connection, tmp_path
):
    settings = Settings(_env_file=None, everystall_home=tmp_path, database_url=database_urls.login)
    assert "no account asks" in await asyncio.to_thread(doctor._places, settings, print)
    for user, place in ((alice, "home"), (bob, "home"), (bob, "shop"), (bob, None)):
        await make_connection(user, place=place)
    for host, place in (("shed", "home"), ("attic", "hoem"), ("gone", "shop"), ("any", None)):
        await admin.execute(
            "SELECT everystall.stand_worker(gen_random_uuid(), %s, 7, %s, '1', 5, 0)", [host, place]
        )
    await admin.execute("UPDATE everystall.workers SET seen_at = now() - interval '21 s' WHERE host = 'gone'")
    told = await asyncio.to_thread(doctor._places, settings, print)
    assert isinstance(told, doctor.Warned)
    numbers = [re.findall(r"^\S+:|\d+", line) for line in told.message.splitlines()]
    assert numbers == [["hoem:", "0", "1"], ["home:", "2", "1"], ["shop:", "1", "0"]]
    assert "WORKER_PLACE=shop" in told.action
    await admin.execute("UPDATE everystall.workers SET seen_at = now()")
    assert isinstance(await asyncio.to_thread(doctor._places, settings, print), str)


async def test_the_doctor_tells_that_no_worker_runs_where_something_waits_for_one(
    database_urls, admin, alice, bob, make_connection, make_listing, tmp_path, monkeypatch
):
    monkeypatch.setattr(doctor, "answers", lambda url: None)
    settings = Settings(_env_file=None, everystall_home=tmp_path, database_url=database_urls.login)
    assert "nothing waits for one" in await asyncio.to_thread(doctor._workers, settings, print)
    for user in (alice, bob):
        await _publication(admin, user, await make_listing(user), await make_connection(user))
    told = await asyncio.to_thread(doctor._workers, settings, print)
    assert isinstance(told, doctor.Warned)
    assert re.findall(r"\d+", told.message) == ["2"]
    assert "`everystall worker`" in told.action
    await admin.execute("SELECT everystall.stand_worker(gen_random_uuid(), 'shed', 7, NULL, '1', 5, 0)")
    assert await asyncio.to_thread(doctor._workers, settings, print) == "1 at work, on shed"
    await admin.execute("UPDATE everystall.workers SET seen_at = now() - interval '21 s'")
    assert isinstance(await asyncio.to_thread(doctor._workers, settings, print), doctor.Warned)

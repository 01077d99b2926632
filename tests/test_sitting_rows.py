"""Sittings as rows, and their tickets: one at a time for an account that waits for its seller; a ticket is
good once, for a minute, for its seller, its sitting and its worker."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from uuid import uuid4

import pytest
import websockets
from sqlalchemy import select, text
from websockets.asyncio.client import connect

from everystall.errors import Conflict
from everystall.inventory import sittings
from everystall.inventory.connections import get_connection
from everystall.models import Sitting
from everystall.settings import Settings
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.worker.seats import Seat, Seats, listen

CHALLENGE = {"reason": "challenge", "message": "Poshmark asks whether you are a robot.", "url": None}


@pytest.fixture
async def waiting(db, alice, make_connection):
    """Alice's account that waits for her."""
    return await make_connection(alice, needs_you=CHALLENGE)


@pytest.fixture
async def seats(db, tmp_path):
    settings = Settings(_env_file=None, everystall_home=tmp_path)
    async with Seats(db, Vault(db, Keyring.load(settings), settings), settings).open() as seats:
        yield seats


async def ask(db, user_id, connection) -> Sitting:
    async with db.as_user(user_id) as session:
        return await sittings.ask(
            session, await get_connection(session, connection.public_id, lock=True), "Firefox on Linux"
        )


async def given(db, seats, sitting) -> str:
    """A ticket for it, as the web makes one once a worker serves it."""
    async with db.as_user(sitting.user_id) as session:
        row, _ = await sittings.get_sitting(session, sitting.id)
        row.address = seats.address
        return await sittings.give_ticket(session, seats._vault.subkey(sittings.KEY), row)


async def test_each_frame_is_sent_at_once(tmp_path):
    """And not gathered until the last one is acknowledged, which Nagle's algorithm makes of small ones."""
    delays: asyncio.Queue[int] = asyncio.Queue()

    def came(_: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        delays.put_nowait(back.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        back.close()

    listening = listen(Settings(_env_file=None, everystall_home=tmp_path))
    async with await asyncio.start_server(came, sock=listening):
        _, page = await asyncio.open_connection(*listening.getsockname())
        assert await asyncio.wait_for(delays.get(), 5) == 1
        page.close()


async def test_what_is_open_is_asked_for_once_and_wakes_its_own_lane(db, admin, alice, waiting):
    first, again = await ask(db, alice, waiting), await ask(db, alice, waiting)
    assert first.id == again.id
    assert (first.purpose, first.asked_by) == ("challenge", "Firefox on Linux")
    jobs = await (await admin.execute("SELECT queue_name, lock FROM procrastinate_jobs")).fetchall()
    assert jobs == [{"queue_name": "sittings", "lock": f"connection:{waiting.id}"}]


async def test_one_that_came_to_nothing_makes_room_for_the_next(db, alice, waiting, monkeypatch):
    monkeypatch.setattr(sittings, "IDLE", timedelta(0))
    first = await ask(db, alice, waiting)
    monkeypatch.undo()
    second = await ask(db, alice, waiting)
    assert first.id != second.id
    async with db.as_user(alice) as session:
        ended = await session.get_one(Sitting, first.id)
    assert ended.outcome == "left"


async def test_nobody_sits_down_where_nothing_is_asked(db, alice, make_connection):
    for needs_you in (None, {"reason": "no_worker", "message": "Nobody there."}):
        with pytest.raises(Conflict):
            await ask(db, alice, await make_connection(alice, needs_you=needs_you))


async def test_an_account_is_begun_once_until_somebody_signs_in(db, alice, bob, tmp_path):
    settings = Settings(_env_file=None, everystall_home=tmp_path)

    async def begin(user_id):
        async with db.as_user(user_id) as session:
            return (await sittings.begin_account(session, settings, user_id, "ebay")).id

    first = await begin(alice)
    assert await begin(alice) == first
    assert await begin(bob) != first


async def test_two_clicks_at_once_begin_one_account(db, admin, alice, bob, tmp_path):
    settings = Settings(_env_file=None, everystall_home=tmp_path)

    async def begin(user_id):
        async with db.as_user(user_id) as session:
            return (await sittings.begin_account(session, settings, user_id, "ebay")).id

    async with db.as_user(alice) as session:
        first = (await sittings.begin_account(session, settings, alice, "ebay")).id
        second = asyncio.create_task(begin(alice))
        await begin(bob)  # waits for nobody
        await asyncio.wait({second}, timeout=0.5)  # the first is not kept yet
    assert await second == first
    accounts = await (await admin.execute("SELECT user_id FROM connections")).fetchall()
    assert sorted(row["user_id"] for row in accounts) == sorted([alice, bob])


async def test_a_lost_wake_up_is_found_and_only_while_nobody_serves_it(db, admin, alice, waiting):
    sitting = await ask(db, alice, waiting)

    async def due():
        async with db.as_app() as session:
            return list(await session.scalars(text("SELECT everystall.due_sittings(10)")))

    assert await due() == []  # on the way
    await admin.execute("DELETE FROM procrastinate_jobs")
    assert await due() == [waiting.id]
    await admin.execute("UPDATE connections SET lease_until = now() + interval '9 seconds'")
    assert await due() == []
    await admin.execute("UPDATE connections SET lease_until = NULL")
    async with db.as_user(alice) as session:
        await sittings.end(session, sitting.id, "closed")
    assert await due() == []


async def test_a_ticket_is_good_once(db, alice, bob, waiting, seats):
    sitting = await ask(db, alice, waiting)
    older, ticket = await given(db, seats, sitting), await given(db, seats, sitting)
    keys = seats._vault.subkeys(sittings.KEY)
    read = sittings.read_ticket(keys, ticket, seats.address)
    assert read is not None
    assert (read.sitting_id, read.user_id, read.connection_id) == (sitting.id, alice, waiting.id)

    async def use(user_id, ticket):
        async with db.as_user(user_id) as session:
            return await sittings.use_ticket(
                session, sittings.read_ticket(keys, ticket, seats.address), seats.address
            )

    assert not await use(alice, older), "a newer one was given"
    assert not await use(bob, ticket)
    assert await use(alice, ticket)
    assert not await use(alice, ticket), "it was used"
    last = await given(db, seats, sitting)
    async with db.as_user(alice) as session:
        await sittings.end(session, sitting.id, "closed")
    assert not await use(alice, last), "it is over"
    async with db.as_user(alice) as session:
        assert await session.scalar(select(Sitting.ticket_hash)) is None


async def test_what_is_forged_too_old_or_for_another_worker_is_no_ticket(
    db, alice, waiting, seats, monkeypatch
):
    sitting = await ask(db, alice, waiting)
    ticket = await given(db, seats, sitting)
    keys, here = seats._vault.subkeys(sittings.KEY), seats.address
    body, _, signature = ticket.partition(".")
    other = body[:-8] + ("A" if body[-8] != "A" else "B") + body[-7:]
    for forged in (f"{other}.{signature}", f"{body}.{signature[:-1]}", body, "", ".", "é.é", f"{ticket}x"):
        assert sittings.read_ticket(keys, forged, here) is None
    assert sittings.read_ticket([b"x" * 32], ticket, here) is None
    assert sittings.read_ticket(keys, ticket, "http://127.0.0.1:9") is None
    assert sittings.read_ticket([b"x" * 32, *keys], ticket, here) is not None, "the ring turned meanwhile"
    monkeypatch.setattr(sittings, "TICKET_SECONDS", -1.0)
    assert sittings.read_ticket(keys, await given(db, seats, sitting), here) is None


async def test_the_worker_itself_takes_nobody_without_one(db, alice, bob, waiting, make_connection, seats):
    sitting = await ask(db, alice, waiting)
    others = await ask(db, bob, await make_connection(bob, needs_you=CHALLENGE))
    address = seats.address.replace("http", "ws")

    async def knock(path="/sit", **headers):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(address + path, additional_headers=headers, proxy=None)
        return refused.value.response.status_code

    async def bearer(of=sitting):
        return {"Authorization": f"Bearer {await given(db, seats, of)}"}

    assert await knock() == 403
    assert await knock(**await bearer()) == 403, "there is no such seat"
    with seats.seat(sitting.id, Seat(alice, waiting.id, None)):
        assert await knock(Authorization="Bearer a.guess") == 403
        assert await knock("/other", **await bearer()) == 403
        assert await knock(**await bearer(others)) == 403
        used = await bearer()
        ticket = sittings.read_ticket(
            seats._vault.subkeys(sittings.KEY), used["Authorization"][7:], seats.address
        )
        async with db.as_user(alice) as session:
            assert await sittings.use_ticket(session, ticket, seats.address)
        assert await knock(**used) == 403
    with seats.seat(sitting.id, Seat(alice, uuid4(), None)):
        assert await knock(**await bearer()) == 403, "the seat is another account's"

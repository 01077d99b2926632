"""A seller's own mailbox, watched by IMAP: a real server, real TLS, and nothing but mails about sales."""

from __future__ import annotations

import asyncio
import ssl
import time

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from everystall import doctor
from everystall.db import driver_url
from everystall.inventory.mailboxes import PUBLIC
from everystall.inventory.sale_mails import SaleTold
from everystall.models import Mailbox
from everystall.settings import Settings
from everystall.vault.keyring import Keyring
from everystall.vault.rotation import rotate
from everystall.vault.sessions import Vault
from everystall.worker.imap import each
from everystall.worker.mailboxes import Mailboxes, _Watch
from tests.imap_server import PASSWORD, USER, imap_server
from tests.test_sale_mails import MAILS, mail


@pytest.fixture(scope="module")
async def imap(tmp_path_factory):
    async with imap_server(tmp_path_factory.mktemp("imap")) as server:
        yield server


@pytest.fixture
async def inbox(imap):
    """Empty, and nobody came yet."""
    imap.begin_anew()
    return imap


@pytest.fixture
async def watching(db, tmp_path, database_urls, inbox):
    """A worker's mailboxes; what the API does is done by `mine`."""
    settings = Settings(_env_file=None, everystall_home=tmp_path / "home", webhook_allow_private=True,
                        database_url=database_urls.login)  # fmt: skip
    settings.everystall_home.mkdir(mode=0o700)
    vault = Vault(db, Keyring.load(settings), settings)
    watched = Mailboxes(db, vault, settings, context=inbox.context)
    yield watched
    await watched.close()


async def _mine(watching, user, inbox, **more):
    values = {"host": "127.0.0.1", "port": inbox.port, "username": USER} | more
    password = values.pop("password", PASSWORD)
    async with watching.db.as_user(user) as session:
        box = Mailbox(user_id=user, **values)
        await watching.vault.seal_mailbox(session, box, bytearray(password.encode()))
        session.add(box)


async def _until(admin, query, seconds=90):
    """The first row, once there is one. A connection that breaks off is made again after a minute."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        row = await (await admin.execute(query)).fetchone()
        if row is not None:
            return row
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {query}")


CHECKED = "SELECT * FROM mailboxes WHERE checked_at IS NOT NULL"
DUE = "SELECT id FROM connections WHERE next_check_at <= now()"


@pytest.mark.longer
async def test_a_sale_mail_that_arrives_has_the_account_looked_at_and_older_ones_do_not(
    admin, alice, stand, inbox, watching
):
    _, (here, _) = await stand("mercari", "ebay")
    inbox.deliver(mail(*MAILS["ebay"], id="<0@example.com>"))
    await _mine(watching, alice, inbox)
    await watching.look_after()
    await _until(admin, CHECKED)
    inbox.deliver(mail("friend@example.com", "Lunch?"))
    inbox.deliver(mail(*MAILS["mercari"]))
    row = await _until(admin, DUE)  # one that comes just before the wait begins is seen after it
    assert row["id"] == here.id
    assert len(await (await admin.execute(DUE)).fetchall()) == 1
    await watching.look_after()  # it is watched already
    assert inbox.came == 1


@pytest.mark.longer
async def test_only_what_the_mailboxs_own_server_says_makes_a_mail_a_sale(
    db, admin, alice, stand, inbox, watching
):
    await stand("mercari", "ebay")
    await admin.execute(
        'UPDATE connections SET needs_you = \'{"reason": "session_expired", "message": "Signed out."}\''
    )
    await _mine(watching, alice, inbox)
    await watching.look_after()
    await _until(admin, CHECKED)
    for place, server in enumerate(("mx.evil.example", "127.0.0.1")):
        results = f"{server}; dmarc=pass header.from=mercari.com"
        inbox.deliver(mail(*MAILS["mercari"], results=results, id=f"<{place}@example.com>"))
        kind = "sale.detected" if place else "sale.unclear"
        await _until(admin, f"SELECT * FROM events WHERE type = '{kind}'")
        sold = await (await admin.execute("SELECT told_by FROM sales")).fetchall()
        assert [row["told_by"] for row in sold] == ["mail"] * place


async def test_a_mail_that_cannot_be_taken_ends_nothing(alice, stand, watching):
    await stand("ebay", "mercari")
    await watching._take(alice, SaleTold("ebay", "a title that no database takes \0", (), True, "k"))


async def test_what_we_did_not_foresee_is_a_failure_that_is_noted(admin, alice, inbox, watching):
    await _mine(watching, alice, inbox)

    def breaks(do):
        raise RuntimeError

    watching._in_thread = breaks
    await watching.look_after()
    row = await _until(admin, "SELECT * FROM mailboxes WHERE failing_since IS NOT NULL")
    assert row["failing_why"] == "RuntimeError"


async def test_a_password_that_was_changed_meanwhile_was_not_refused(admin, alice, inbox, watching):
    await _mine(watching, alice, inbox)
    claimed = await (
        await admin.execute("UPDATE mailboxes SET claimed_until = now() RETURNING claimed_until")
    ).fetchone()
    await admin.execute("DELETE FROM mailboxes")
    await _mine(watching, alice, inbox)
    await watching._failed(_Watch(alice, claimed["claimed_until"]), "refused")
    row = await (await admin.execute("SELECT failing_why FROM mailboxes")).fetchone()
    assert row["failing_why"] is None


def test_a_mails_number_is_its_own_wherever_a_server_says_it():
    """pymap, and Exchange as imap-tools notes: the number after the text; and flags that nobody asked for."""
    answer = [
        b"1 (FLAGS (\\Recent) UID 101)",
        (b"2 (BODY[HEADER] {1}", b"a"), b" UID 102 RFC822.SIZE 9)",
        b"3 (FLAGS (\\Seen) UID 103)",
        (b"3 (UID 103 RFC822.SIZE 9 BODY[HEADER] {1}", b"b"), b")",
    ]  # fmt: skip
    assert [(b"UID 102" in said, b"UID 103" in said, text) for said, text in each(answer)] == [
        (True, False, b"a"), (False, True, b"b"),
    ]  # fmt: skip


@pytest.mark.longer
async def test_another_worker_goes_on_where_one_left_off(admin, alice, stand, inbox, watching):
    await stand("mercari", "ebay")
    await _mine(watching, alice, inbox)
    await watching.look_after()
    await _until(admin, CHECKED)
    other = Mailboxes(watching.db, watching.vault, Settings(_env_file=None, webhook_allow_private=True),
                      context=inbox.context)  # fmt: skip
    await other.look_after()
    assert not other._tasks  # it is claimed
    await watching.close()
    inbox.deliver(mail(*MAILS["ebay"]))
    await admin.execute("UPDATE mailboxes SET claimed_until = now() - interval '1 second'")
    await other.look_after()
    await _until(admin, DUE)
    await other.close()


@pytest.mark.parametrize("who", [{"password": "another"}, {"username": "bob@example.com"}])
async def test_who_is_not_let_in_is_told_and_not_tried_again(admin, alice, inbox, watching, who):
    await _mine(watching, alice, inbox, **who)
    await watching.look_after()
    event = await _until(admin, "SELECT * FROM events")
    assert event["type"] == "mailbox.failed"
    assert "does not let us in" in event["data"]["message"]
    assert PASSWORD not in str(event["data"])
    came = inbox.came
    await watching.look_after()
    assert not watching._tasks
    assert inbox.came == came


@pytest.mark.parametrize("kind", ["another certificate", "private network", "nobody there"])
async def test_a_server_that_is_not_it_is_not_spoken_to(admin, alice, inbox, watching, kind):
    if kind == "another certificate":
        watching._context = ssl.create_default_context()
    elif kind == "private network":
        watching._policy = PUBLIC
    await _mine(watching, alice, inbox, **({"port": 1} if kind == "nobody there" else {}))
    await watching.look_after()
    row = await _until(admin, "SELECT * FROM mailboxes WHERE failing_since IS NOT NULL")
    assert row["checked_at"] is None
    assert row["failing_why"] != "refused"
    assert await (await admin.execute("SELECT 1 FROM events")).fetchone() is None  # it may pass


async def test_the_password_is_sealed_and_goes_over_to_a_new_key(
    admin, alice, inbox, watching, database_urls
):
    await _mine(watching, alice, inbox)
    row = await (await admin.execute("SELECT sealed FROM mailboxes")).fetchone()
    assert PASSWORD.encode() not in bytes(row["sealed"])
    engine = create_async_engine(driver_url(database_urls.admin))
    await rotate(engine, watching.vault._keyring, watching.settings, reencrypt=True, retire="k1")
    await engine.dispose()
    moved = await (await admin.execute("SELECT sealed, dek_version FROM mailboxes")).fetchone()
    assert (moved["dek_version"], moved["sealed"] != row["sealed"]) == (2, True)
    await watching.look_after()
    await _until(admin, CHECKED)


async def test_the_doctor_tells_mailboxes_that_no_worker_reads(
    admin, alice, bob, inbox, watching, monkeypatch
):
    """A worker that has as many as it can takes no more, and the rest wait."""
    monkeypatch.setattr("everystall.worker.mailboxes.MOST", 1)
    await _mine(watching, alice, inbox)
    await watching.look_after()
    await _until(admin, CHECKED)
    await _mine(watching, bob, inbox)
    await watching.look_after()
    assert inbox.came == 1
    settings = watching.settings
    assert isinstance(await asyncio.to_thread(doctor._mailboxes, settings, print), str)
    await admin.execute("UPDATE mailboxes SET made_at = now() - interval '16 minutes'")
    before = await (await admin.execute("SELECT * FROM mailboxes ORDER BY made_at")).fetchall()
    told = await asyncio.to_thread(doctor._mailboxes, settings, print)
    assert isinstance(told, doctor.Warned)
    assert told.message.endswith("15 minutes: 1")
    assert "start another one" in told.action
    after = await (await admin.execute("SELECT * FROM mailboxes ORDER BY made_at")).fetchall()
    assert [row["claimed_until"] is None for row in after] == [row["claimed_until"] is None for row in before]

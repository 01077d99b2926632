"""Webhooks: signed so that the standard's own library takes them, sent nowhere that we must not, tried for a
day, each message by one worker."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import create_async_engine
from ssrfguard import Policy
from standardwebhooks import Webhook, WebhookVerificationError

from everystall.errors import WebhookRefused
from everystall.models import Event, WebhookDelivery, WebhookEndpoint
from everystall.notify import messages, send, webhooks
from everystall.notify.send import BACKOFF, Mail
from everystall.notify.webhooks import NEARBY, PUBLIC, Sender
from everystall.settings import Settings
from everystall.vault import rotation
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from tests.receiver import Receiver


@pytest.fixture
def settings(tmp_path, database_urls):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return Settings(
        _env_file=None, everystall_home=home, database_url=database_urls.login, webhook_allow_private=True
    )


@pytest.fixture
def vault(db, settings):
    return Vault(db, Keyring.load(settings), settings)


@pytest.fixture
async def mail(db, vault, settings):
    mail = Mail(db, vault, settings)
    yield mail
    await mail.close()


@pytest.fixture
def make_endpoint(db, vault):
    """`await make_endpoint(alice, url, events=[…])` → (id, secret)"""

    async def make(user: UUID, url: str, **fields):
        secret = webhooks.new_secret()
        async with db.as_user(user) as session:
            row = WebhookEndpoint(id=uuid4(), user_id=user, url=url, **fields)
            await vault.seal_webhook(session, row, secret)
            session.add(row)
        return row.id, webhooks.shown(secret)

    return make


async def _happens(db, user, type="session.expired", **data):
    async with db.as_user(user) as session:
        return await messages.record(session, user, type, data or {"marketplace": "ebay"})


async def _deliveries(db, user):
    async with db.as_user(user) as session:
        rows = await session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.created_at))
        return list(rows)


async def _endpoint(db, user, id):
    async with db.as_user(user) as session:
        return await session.get_one(WebhookEndpoint, id)


async def _passes(admin, seconds):
    """Time passes for all that waits."""
    await admin.execute(
        "UPDATE webhook_deliveries SET next_try_at = next_try_at - make_interval(secs => %s), "
        "claimed_until = claimed_until - make_interval(secs => %s)", [seconds, seconds]
    )  # fmt: skip


# ---- what is recorded ----


async def test_an_event_and_its_deliveries_and_the_wake_up_come_with_the_commit_or_not_at_all(
    db, admin, alice, make_endpoint
):
    await make_endpoint(alice, "https://example.com/all")
    await make_endpoint(alice, "https://example.com/some", events=["session.expired"])
    await make_endpoint(alice, "https://example.com/other", events=["job.finished"])
    await make_endpoint(alice, "https://example.com/off", disabled_at=datetime.now(UTC))

    async def fail():
        async with db.as_user(alice) as session:
            await messages.record(session, alice, "session.expired", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    jobs = "SELECT queue_name, task_name, queueing_lock, args FROM procrastinate.procrastinate_jobs"
    assert await _deliveries(db, alice) == []
    assert await (await admin.execute(jobs)).fetchall() == []
    for _ in range(3):
        await _happens(db, alice)
    assert len(await _deliveries(db, alice)) == 6
    assert await (await admin.execute(jobs)).fetchall() == [
        {"queue_name": "messages", "task_name": "deliver", "queueing_lock": "deliver", "args": {}}
    ]


async def test_nobody_waits_to_be_told_and_nobody_is_woken(db, admin, alice):
    await _happens(db, alice)
    rows = await (await admin.execute("SELECT 1 FROM procrastinate.procrastinate_jobs")).fetchall()
    assert rows == []
    async with db.as_user(alice) as session:
        assert [event.type for event in await session.scalars(select(Event))] == ["session.expired"]


async def test_what_is_no_event_is_not_recorded(db, alice):
    with pytest.raises(ValueError, match="no event"):
        await _happens(db, alice, "listing.sneezed")


# ---- what arrives ----


async def test_a_message_is_taken_by_the_standards_own_library(db, mail, alice, bob, make_endpoint):
    async with Receiver() as receiver, Receiver() as foreign:
        _, secret = await make_endpoint(alice, receiver.url("/hook?token=t%20t"))
        await make_endpoint(bob, foreign.url())
        await _happens(db, alice, message="Dépêche-toi · 급해요")
        assert await mail.deliver() == 1
    (got,) = receiver.got
    message = got.verified_by(secret)
    assert got.path == "/hook?token=t%20t"
    assert got.headers["content-type"] == "application/json"
    assert message["type"] == "session.expired"
    assert message["data"] == {"message": "Dépêche-toi · 급해요"}
    assert datetime.fromisoformat(message["timestamp"]).tzinfo is not None
    assert "." not in got.id
    assert "cookie" not in got.headers
    assert foreign.got == []
    (delivery,) = await _deliveries(db, alice)
    assert (delivery.status, delivery.tries, delivery.last_status) == ("delivered", 1, 204)
    assert await _deliveries(db, bob) == []
    with pytest.raises(WebhookVerificationError):
        got.verified_by(webhooks.shown(webhooks.new_secret()))


def test_a_signature_is_of_the_moment_whatever_the_clocks_zone():
    from datetime import timezone

    at = datetime.now(timezone(timedelta(hours=9)))
    secret = webhooks.shown(webhooks.new_secret())
    Webhook(secret).verify("{}", webhooks.sign("msg_1", at, "{}", [secret]))


async def test_for_a_day_after_a_rotation_both_secrets_sign_and_then_the_new_one_alone(
    db, admin, vault, mail, alice, make_endpoint
):
    async with Receiver() as receiver:
        id, old = await make_endpoint(alice, receiver.url())
        fresh = webhooks.new_secret()
        async with db.as_user(alice) as session:
            row = await session.get_one(WebhookEndpoint, id)
            await vault.seal_webhook(session, row, fresh)
            row.previous_until = datetime.now(UTC) + timedelta(hours=24)
        await _happens(db, alice)
        await mail.deliver()
        await admin.execute("UPDATE webhook_endpoints SET previous_until = now()")
        await _happens(db, alice)
        await mail.deliver()
    both, alone = receiver.got
    assert both.headers["webhook-signature"].count("v1,") == 2
    both.verified_by(old)
    both.verified_by(webhooks.shown(fresh))
    alone.verified_by(webhooks.shown(fresh))
    with pytest.raises(WebhookVerificationError):
        alone.verified_by(old)


async def test_a_message_keeps_its_id_and_its_bytes_and_gets_a_new_time_at_each_try(
    db, admin, mail, alice, make_endpoint
):
    async with Receiver(answer=500) as receiver:
        _, secret = await make_endpoint(alice, receiver.url())
        await _happens(db, alice)
        await mail.deliver()
        await _passes(admin, 3600)
        receiver.answer = 200
        await mail.deliver()
    first, second = receiver.got
    assert (first.id, first.body) == (second.id, second.body)
    second.verified_by(secret)
    assert (await _deliveries(db, alice))[0].tries == 2


# ---- receivers that misbehave ----

MOVED = b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (500, 500, "status"),
        (404, 404, "status"),
        (429, 429, "status"),
        (MOVED.replace(b"307", b"302"), 302, "redirect"),
        (MOVED, 307, "redirect"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", None, "broken"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n", None, "broken"),
        (b"", None, "broken"),
    ],
)  # fmt: skip
async def test_what_is_not_a_plain_success_is_tried_again_later(
    db, mail, alice, make_endpoint, answer, status, error
):
    async with Receiver() as receiver, Receiver() as other:
        if isinstance(answer, bytes):
            answer = answer.replace(b"{other}", str(other.port).encode())
        receiver.answer = answer
        await make_endpoint(alice, receiver.url())
        await _happens(db, alice)
        assert await mail.deliver() == 1
    (delivery,) = await _deliveries(db, alice)
    assert (delivery.status, delivery.last_status, delivery.last_error) == ("waiting", status, error)
    assert other.got == []


async def test_a_huge_answer_is_not_read(db, mail, alice, make_endpoint):
    async with Receiver(answer=200, flood=200 * 1024 * 1024) as receiver:
        await make_endpoint(alice, receiver.url())
        await _happens(db, alice)
        async with asyncio.timeout(30):
            await mail.deliver()
    (delivery,) = await _deliveries(db, alice)
    assert delivery.status == "delivered"


async def test_who_is_slow_is_given_up_and_holds_up_nobody_else(
    db, vault, settings, alice, bob, make_endpoint
):
    mail = Mail(db, vault, settings, to_sellers=Sender(NEARBY, timeout=2))
    async with Receiver(delay=60) as slow, Receiver() as quick:
        await make_endpoint(alice, slow.url())
        for _ in range(20):
            await _happens(db, alice)
        await make_endpoint(bob, quick.url())
        for _ in range(5):
            await _happens(db, bob)
        delivering = asyncio.create_task(mail.deliver())
        async with asyncio.timeout(20):
            while len(quick.got) < 5:
                await asyncio.sleep(0.01)
            assert [d.tries for d in await _deliveries(db, alice)].count(0) >= 18
            await delivering
    await mail.close()
    assert slow.busiest == 2
    assert {d.last_error for d in await _deliveries(db, alice) if d.tries} == {"timeout"}


@pytest.mark.longer
async def test_eight_at_once_and_no_more_and_four_of_one_seller(db, mail, alice, bob, make_endpoint):
    async with Receiver(delay=0.3) as alices, Receiver(delay=0.3) as receiver:
        for _ in range(10):
            await make_endpoint(alice, alices.url())
        await _happens(db, alice)
        assert await mail.deliver() == 10
        assert alices.busiest == 4
        for seller in (alice, bob):
            for _ in range(10):
                await make_endpoint(seller, receiver.url())
            await _happens(db, seller)
        assert await mail.deliver() == 30
        assert alices.busiest <= 4
    assert receiver.busiest <= send.AT_ONCE


async def test_a_long_queue_of_one_seller_hides_nobody_elses_message(db, admin, alice, bob, make_endpoint):
    ids = [(await make_endpoint(alice, "https://example.com"))[0] for _ in range(5)]
    event = await _happens(db, alice)
    await admin.execute(
        """INSERT INTO webhook_deliveries (user_id, endpoint_id, event_id, status, next_try_at)
           SELECT %(u)s, e, %(v)s, 'waiting', now() - interval '1 h'
           FROM unnest(%(e)s::uuid[]) e, generate_series(1, 200)""",
        {"u": alice, "e": ids[:4], "v": event},
    )
    await make_endpoint(bob, "https://example.com")
    await _happens(db, bob)
    taken = text("SELECT user_id FROM everystall.due_deliveries(8)")
    async with db.as_app() as session:
        first = list(await session.scalars(taken))
    assert (first.count(alice), first.count(bob)) == (4, 1)
    async with db.as_app() as session:
        assert list(await session.scalars(taken)) == []


async def test_what_nobody_expected_of_one_message_holds_up_no_other(
    db, vault, settings, alice, bob, make_endpoint, capfd
):
    class Surprising(Sender):
        async def send(self, url, headers, body):
            if "surprise" in url:
                raise RuntimeError("of https://secret.example")
            return await super().send(url, headers, body)

    mail = Mail(db, vault, settings, to_sellers=Surprising(NEARBY))
    async with Receiver(delay=0.2) as receiver:
        await make_endpoint(alice, "https://surprise.example.com")
        await make_endpoint(bob, receiver.url())
        await _happens(db, alice)
        await _happens(db, bob)
        assert await mail.deliver() == 2
    await mail.close()
    assert len(receiver.got) == 1
    said = "".join(capfd.readouterr())
    assert "RuntimeError" in said
    assert "secret.example" not in said


async def test_nobody_there_is_unreachable(db, mail, alice, make_endpoint):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        await make_endpoint(alice, f"http://127.0.0.1:{closed.getsockname()[1]}/")
        await _happens(db, alice)
        await mail.deliver()
    assert (await _deliveries(db, alice))[0].last_error == "unreachable"


# ---- tries ----


def test_the_tries_of_a_message_span_a_day():
    assert 23 < sum(BACKOFF) / 3600 < 25
    first = {send.wait_after(1, chance).total_seconds() for chance in (0.0, 0.5, 1.0)}
    assert first == {4.0, 5.0, 6.0}


async def test_after_the_last_try_a_message_has_failed_and_can_be_sent_again(
    db, admin, mail, alice, make_endpoint
):
    async with Receiver(answer=500) as receiver:
        id, _ = await make_endpoint(alice, receiver.url())
        await _happens(db, alice)
        waits = []
        for _ in range(len(BACKOFF) + 1):
            assert await mail.deliver() == 1
            assert await mail.deliver() == 0, "it is not due again at once"
            (delivery,) = await _deliveries(db, alice)
            row = await (
                await admin.execute(
                    "SELECT extract(epoch FROM next_try_at - now()) AS s FROM webhook_deliveries"
                )
            ).fetchone()
            waits.append(float(row["s"]))
            await _passes(admin, 40_000)
        assert (delivery.status, delivery.tries) == ("failed", len(BACKOFF) + 1)
        assert await mail.deliver() == 0
    for wait, meant in zip(waits, BACKOFF, strict=False):
        assert meant * 0.8 - 5 <= wait <= meant * 1.2
    assert (await _endpoint(db, alice, id)).failures == len(BACKOFF) + 1


async def test_an_endpoint_that_takes_nothing_for_a_day_is_disabled_and_the_seller_is_told(
    db, admin, mail, alice, make_endpoint
):
    async with Receiver(answer=500) as broken, Receiver() as sound:
        bad, _ = await make_endpoint(alice, broken.url(), label="old till")
        _, secret = await make_endpoint(alice, sound.url(), events=["webhook.disabled"])
        for _ in range(4):
            await _happens(db, alice)
            await _passes(admin, 60)
            await mail.deliver()
            await _passes(admin, 60)
            await admin.execute(
                "UPDATE webhook_endpoints SET failing_since = failing_since - interval '25 h'"
            )
        await _happens(db, alice)
        await _happens(db, alice)
        await _passes(admin, 60)
        await mail.deliver()
        endpoint = await _endpoint(db, alice, bad)
        assert (endpoint.disabled_why, endpoint.disabled_at is not None) == ("failing", True)
        of_it = [d for d in await _deliveries(db, alice) if d.endpoint_id == bad]
        assert {(d.status, d.last_error) for d in of_it} == {("failed", "disabled")}
        before = len(broken.got)
        await _happens(db, alice)
        await _passes(admin, 90_000)
        await mail.deliver()
        assert len(broken.got) == before
    (told,) = sound.got
    assert told.verified_by(secret)["data"]["webhookId"] == str(bad)
    assert "old till" in told.message["data"]["message"]


@pytest.mark.parametrize(("hours", "failures"), [(23, 40), (30, 3)])
async def test_a_short_or_a_rare_failure_disables_nothing(
    db, admin, mail, alice, make_endpoint, hours, failures
):
    async with Receiver(answer=500) as broken:
        id, _ = await make_endpoint(alice, broken.url())
        await admin.execute(
            "UPDATE webhook_endpoints SET failing_since = now() - make_interval(hours => %s), failures = %s",
            [hours, failures],
        )
        await _happens(db, alice)
        await mail.deliver()
        assert (await _endpoint(db, alice, id)).disabled_at is None
        broken.answer = 200
        await _passes(admin, 60)
        await mail.deliver()
    row = await _endpoint(db, alice, id)
    assert (row.failing_since, row.failures) == (None, 0)


async def test_workers_at_once_send_each_message_once(
    db, vault, settings, alice, database_urls, make_endpoint
):
    async with Receiver(delay=0.05) as receiver:
        for _ in range(5):
            await make_endpoint(alice, receiver.url())
        for _ in range(8):
            await _happens(db, alice)
        mails = [Mail(db, vault, settings) for _ in range(4)]
        tried = await asyncio.gather(*(mail.deliver() for mail in mails))
        for mail in mails:
            await mail.close()
    assert sum(tried) == 40
    assert len({got.id for got in receiver.got}) == len(receiver.got) == 40


async def test_a_worker_that_died_on_the_way_is_replaced_and_a_late_one_records_nothing(
    db, admin, mail, alice, make_endpoint
):
    async with Receiver() as receiver:
        await make_endpoint(alice, receiver.url())
        await _happens(db, alice)
        (lost,) = await mail.claim(8)
        assert await mail.deliver() == 0, "somebody has it"
        await _passes(admin, 121)
        assert await mail.deliver() == 1
        async with db.as_user(alice) as session:
            await send._record(session, lost, webhooks.Outcome(500, "status"))
    (delivery,) = await _deliveries(db, alice)
    assert (delivery.status, delivery.tries) == ("delivered", 1)


async def test_a_message_whose_secret_does_not_open_fails_without_being_sent(
    db, admin, mail, alice, make_endpoint
):
    async with Receiver() as receiver:
        await make_endpoint(alice, receiver.url())
        await make_endpoint(alice, receiver.url())
        await admin.execute(  # another row's seal
            "UPDATE webhook_endpoints a SET sealed = b.sealed FROM webhook_endpoints b WHERE a.id <> b.id"
        )
        await _happens(db, alice)
        await mail.deliver()
    assert receiver.got == []
    assert {d.last_error for d in await _deliveries(db, alice)} == {"not_signed"}


# ---- where we do not send ----

PRIVATE = [
    "http://127.0.0.1/", "https://127.0.0.1/", "https://localhost/", "https://[::1]/",
    "https://[::ffff:127.0.0.1]/", "https://0x7f.1/", "https://2130706433/", "https://127.1/", "https://0177.0.0.1/",
    "https://10.0.0.1/", "https://192.168.1.1/", "https://172.16.0.1/", "https://169.254.169.254/latest/",
    "https://[fe80::1]/", "https://[fd00::1]/", "https://[64:ff9b::7f00:1]/", "https://0.0.0.0/",
    "https://100.64.0.1/", "https://224.0.0.1/",
]  # fmt: skip
#: To who reads them these are names; what they lead to is known when they are looked up.
NAMES = ("https://localhost/", "https://0x7f.1/")
MALFORMED = [
    "", "example.com", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "http://example.com/",
    "https://user:pass@example.com/", "https://example.com:22/", "https://example.com:8443/", "https://",
    "https://exa mple.com/", "https://example.com/\r\nHost: x", "https://①②⑦.0.0.1/", "https://[::1",
    "https://example.com/" + "x" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("url", [*(u for u in PRIVATE if u not in NAMES), *MALFORMED])
def test_an_address_that_we_never_send_to_is_refused_when_it_is_saved(url):
    with pytest.raises(WebhookRefused) as refused:
        webhooks.check_url(url, PUBLIC)
    assert "pass@" not in refused.value.message


@pytest.mark.parametrize(
    "url", ["https://example.com/hook", "https://example.com:443/", "https://exämple.com/?token=1"]
)
def test_an_address_on_the_internet_is_taken(url):
    webhooks.check_url(url, PUBLIC)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://[fe80::1]/",
        "ftp://127.0.0.1/",
        "http://a:b@x/",
        "http://x.example:0/",
    ],
)
def test_where_the_own_network_is_allowed_the_rest_is_not(url):
    webhooks.check_url("http://127.0.0.1:8123/api", NEARBY)
    webhooks.check_url("http://192.168.1.20:5678/", NEARBY)
    with pytest.raises(WebhookRefused) as refused:
        webhooks.check_url(url, NEARBY)
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("url", PRIVATE)
async def test_no_private_address_is_ever_dialled(url, monkeypatch):
    """Whatever got into the table. Nothing is even connected to: that would be a port scanner."""
    dialled = []

    async def connect(self, sock, address):
        dialled.append(address)
        raise OSError

    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", connect)
    sender = Sender(PUBLIC)
    outcome = await sender.send(url, {}, "{}")
    await sender.close()
    assert outcome.error in ("refused_address", "unreachable", "broken")
    assert dialled == []
    near = Sender(NEARBY)
    await near.send("http://127.0.0.1:1/", {}, "{}")
    await near.close()
    assert dialled, "this test sees no connection at all"


def _resolver(*answers):
    """Answers of a name server, one after the other; the last again and again."""
    asked = []

    def resolve(host, port, *rest):
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]  # fmt: skip

    return resolve, asked


@asynccontextmanager
async def _two_receivers():
    """127.0.0.2 plays the Internet, 127.0.0.1 what is to be protected, on the same port."""
    private, server = Receiver(), None
    while server is None:
        async with Receiver(host="127.0.0.2") as public:
            with suppress(OSError):  # somebody has that port here: another one
                server = await asyncio.start_server(private._serve, "127.0.0.1", public.port)
            if server is None:
                continue
            policy = Policy(
                allowed_networks=("127.0.0.2/32",),
                allowed_ports=frozenset({public.port}),
                allowed_schemes={"http"},
            )
            yield public, private, policy
            server.close()


async def test_a_name_that_moves_after_it_was_checked_leads_nowhere_else():
    async with _two_receivers() as (public, private, policy):
        resolve, asked = _resolver(["127.0.0.2"], ["127.0.0.1"])
        sender = Sender(policy, resolver=resolve)
        url = f"http://rebinding.example:{public.port}/"
        first, second = await sender.send(url, {}, "{}"), await sender.send(url, {}, "{}")
        await sender.close()
    assert (first.error, second.error) == (None, "refused_address")
    assert len(asked) == 2, "asked once for each try, and never between the check and the connection"
    assert (len(public.got), private.connections) == (1, 0)


async def test_a_name_with_a_good_and_a_bad_address_is_refused_whole():
    async with _two_receivers() as (public, private, policy):
        resolve, _ = _resolver(["127.0.0.2", "127.0.0.1"])
        sender = Sender(policy, resolver=resolve)
        outcome = await sender.send(f"http://both.example:{public.port}/", {}, "{}")
        await sender.close()
    assert outcome.error == "refused_address"
    assert (public.connections, private.connections) == (0, 0)


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch):
    async with Receiver() as proxy, Receiver() as receiver:
        monkeypatch.setenv("HTTP_PROXY", proxy.url(""))
        monkeypatch.setenv("ALL_PROXY", proxy.url(""))
        sender = Sender(NEARBY)
        assert (await sender.send(receiver.url(), {}, "{}")).delivered
        await sender.close()
    assert proxy.connections == 0


async def test_a_cookie_that_a_receiver_sets_never_comes_back(db, mail, alice, make_endpoint):
    async with Receiver() as receiver:
        receiver.answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: spy=1\r\nContent-Length: 0\r\n\r\n"
        await make_endpoint(alice, receiver.url())
        for _ in range(2):
            await _happens(db, alice)
            await mail.deliver()
    assert len(receiver.got) == 2
    assert all("cookie" not in got.headers for got in receiver.got)


async def test_neither_address_nor_secret_is_in_a_log(db, mail, alice, make_endpoint, capfd):
    async with Receiver(answer=500) as receiver:
        _, secret = await make_endpoint(alice, receiver.url("/hook-with-a-token"))
        await make_endpoint(alice, "http://nowhere.invalid/hook-with-a-token")
        await _happens(db, alice)
        await mail.deliver()
    said = "".join(capfd.readouterr())
    assert "webhook.tried" in said
    assert "hook-with-a-token" not in said
    assert secret not in said


# ---- keys ----


@pytest.mark.parametrize("how", ["rewrap", "reencrypt"])
async def test_a_rotation_of_the_keys_loses_no_secret(
    db, vault, mail, settings, alice, database_urls, make_endpoint, how
):
    admin = create_async_engine(database_urls.admin)
    keyring = vault._keyring
    async with Receiver() as receiver:
        id, old = await make_endpoint(alice, receiver.url())
        fresh = webhooks.new_secret()
        async with db.as_user(alice) as session:
            row = await session.get_one(WebhookEndpoint, id)
            await vault.seal_webhook(session, row, fresh)
            row.previous_until = datetime.now(UTC) + timedelta(hours=24)
        was = keyring.current
        await rotation.rotate(admin, keyring, settings, **{how: True})
        await rotation.rotate(admin, keyring, settings, retire=was)
        found = await rotation.verify(admin, keyring, settings)
        assert (found.secrets, found.broken) == (1, [])
        await _happens(db, alice)
        await mail.deliver()
    receiver.got[0].verified_by(old)
    receiver.got[0].verified_by(webhooks.shown(fresh))
    async with db.as_user(alice) as session:
        assert (await session.get_one(WebhookEndpoint, id)).dek_version == (2 if how == "reencrypt" else 1)
    await admin.dispose()


async def test_a_secret_that_was_tampered_with_is_named_by_verify(
    db, admin, vault, settings, alice, database_urls, make_endpoint
):
    engine = create_async_engine(database_urls.admin)
    id, _ = await make_endpoint(alice, "https://example.com")
    await admin.execute("UPDATE webhook_endpoints SET sealed = set_byte(sealed, 20, 0) || 'x'")
    found = await rotation.verify(engine, vault._keyring, settings)
    await engine.dispose()
    assert [str(id) in line for line in found.broken] == [True]


# ---- many rows ----


@pytest.mark.longer
async def test_due_messages_are_found_by_their_index_among_many(db, admin, alice, make_endpoint):
    """100,000 delivered, 20,000 put off, 4 due."""
    id, _ = await make_endpoint(alice, "https://example.com")
    event = await _happens(db, alice)
    await admin.execute(
        """INSERT INTO webhook_deliveries (user_id, endpoint_id, event_id, status, next_try_at)
           SELECT %(u)s, %(e)s, %(v)s, CASE WHEN n > 20000 THEN 'delivered' ELSE 'waiting' END,
                  now() + interval '1 h' FROM generate_series(1, 120000) n""",
        {"u": alice, "e": id, "v": event},
    )
    await admin.execute("ANALYZE")
    row = await (
        await admin.execute("SELECT prosrc FROM pg_proc WHERE proname = 'due_deliveries'")
    ).fetchone()
    plan = await (
        await admin.execute("EXPLAIN (ANALYZE) " + row["prosrc"].replace("LIMIT most", "LIMIT 8"))
    ).fetchall()
    lines = "\n".join(line["QUERY PLAN"] for line in plan)
    assert "webhook_deliveries_due" in lines, lines
    assert "Seq Scan on webhook_deliveries" not in lines, lines


async def test_the_clean_up_forgets_old_events_and_receipts(db, admin, alice, make_endpoint):
    await make_endpoint(alice, "https://example.com")
    for _ in range(2):
        await _happens(db, alice)
    await admin.execute(
        "UPDATE events SET created_at = now() - interval '31 d' WHERE id = (SELECT min(id) FROM events)"
    )
    async with db.as_app() as session:
        receive = text("SELECT everystall.receive_webhook(:id)")
        assert [await session.scalar(receive, {"id": id}) for id in ("old", "new", "new")] == [
            True,
            True,
            False,
        ]
    await admin.execute("UPDATE webhook_receipts SET received_at = now() - interval '25 h' WHERE id = 'old'")
    async with db.as_app() as session:
        await session.execute(text("SELECT everystall.clean(30, 365, 500)"))
    left = await (await admin.execute("SELECT id FROM webhook_receipts")).fetchall()
    assert [row["id"] for row in left] == ["new"]
    assert len(await _deliveries(db, alice)) == 1

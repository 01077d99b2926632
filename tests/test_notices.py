"""What a seller is told: each thing once, by a real mail server, a real receiver, a push service that reads
what only the browser can read; at the time that the seller chose; and no secret anywhere."""

from __future__ import annotations

import asyncio
import base64
import json
import zoneinfo
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from everystall.errors import ChannelRefused, Misconfigured
from everystall.models import Channel, Event, Notice, NoticeDelivery, WebhookEndpoint
from everystall.notify import channels, messages, notices, push, services
from everystall.notify.carrier import Gate, Refused
from everystall.notify.outgoing import BACKOFF, TELL_AFTER, Outgoing
from everystall.notify.push import Vapid
from everystall.notify.send import Mail, work_off
from everystall.settings import Settings
from everystall.vault import rotation
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from tests.mail_server import MailServer
from tests.receiver import Receiver

#: aiosmtpd's, since this machine's own network needs no TLS.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
    pytest.mark.filterwarnings("ignore:Session.login_data is deprecated:DeprecationWarning"),
]


@pytest.fixture
async def post_office():
    server = MailServer(password="postmans-secret")
    async with server.running() as url:
        yield server, url


@pytest.fixture
def settings(tmp_path, database_urls, post_office):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return Settings(
        _env_file=None, everystall_home=home, database_url=database_urls.login, webhook_allow_private=True,
        smtp_url=post_office[1],
    )  # fmt: skip


@pytest.fixture
def vault(db, settings):
    return Vault(db, Keyring.load(settings), settings)


@pytest.fixture
async def outgoing(db, vault, settings):
    outgoing = Outgoing(db, vault, settings, Vapid.load(settings))
    yield outgoing
    await outgoing.close()


class Browser:
    """One that subscribed to pushes: it alone can read them."""

    def __init__(self, url: str) -> None:
        self.key, self.auth = ec.generate_private_key(ec.SECP256R1()), b"sixteen bytes ok"
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.subscription = {"endpoint": url, "keys": {"p256dh": _text(point), "auth": _text(self.auth)}}

    def read(self, received) -> dict:
        whole = http_ece.decrypt(received.body, private_key=self.key, auth_secret=self.auth)
        return json.loads(whole)


def _text(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.fixture
def tell(db, vault, settings, admin):
    """`await tell.mail(alice)`, `.service(alice, url)`, `.push(alice, url)`: channels; `.happens(…)`."""

    class Tell:
        async def mail(self, user, address="alice@example.com"):
            async with db.as_user(user) as session:
                row = await channels.add_address(session, vault, settings, user, address)
            await admin.execute("UPDATE channels SET confirmed_at = now() WHERE id = %s", [row.id])
            await admin.execute("DELETE FROM notice_deliveries WHERE channel_id = %s", [row.id])
            return row.id

        async def service(self, user, url):
            async with db.as_user(user) as session:
                return (await channels.add_service(session, vault, user, url, None)).id

        async def push(self, user, url):
            browser, token = Browser(url), uuid4()
            await admin.execute(
                "INSERT INTO api_tokens (id, user_id, name, token_hash, kind) "
                "VALUES (%s, %s, 'x', %s, 'browser')",
                [token, user, token.bytes],
            )
            async with db.as_user(user) as session:
                await channels.add_browser(
                    session, vault, settings, user, token, browser.subscription, "Firefox on Linux"
                )
            return browser

        async def happens(self, user, type="sale.detected", **data):
            said = {"marketplace": "ebay", "browserProfileId": "bp_ebay_1", "listingId": str(uuid4()),
                    "title": "A linen shirt", "left": 0, **data}  # fmt: skip
            async with db.as_user(user) as session:
                return await messages.record(session, user, type, said)

        async def rules(self, user, **values):
            async with db.as_user(user) as session:
                await channels.put_rules(session, user, **values)

    return Tell()


async def _deliveries(db, user):
    async with db.as_user(user) as session:
        return list(await session.scalars(select(NoticeDelivery).order_by(NoticeDelivery.created_at)))


async def _channel(db, user):
    async with db.as_user(user) as session:
        return (await session.scalars(select(Channel))).one()


async def _failing(db, user):
    """What a seller was told of channels that do not work."""
    from everystall.notify import words

    async with db.as_user(user) as session:
        told = select(Event).join(Notice, Notice.event_id == Event.id).where(Event.type == "channel.failed")
        return [one.text for one in await words.told(session, list(await session.scalars(told)))]


async def _passes(admin, seconds):
    await admin.execute(
        "UPDATE notice_deliveries SET next_try_at = next_try_at - make_interval(secs => %s), "
        "claimed_until = claimed_until - make_interval(secs => %s)", [seconds, seconds]
    )  # fmt: skip


# ---- in the app -----------------------------------------------------------------------------------


async def test_a_thing_is_told_once_in_the_app_and_only_to_its_seller(db, alice, bob, tell):
    first = await tell.happens(alice)
    for type, data in (
        ("job.finished", {}),
        ("publication.ended", {}),
        ("publication.needs_you", {"needsYou": {"reason": "sold_twice"}}),
        ("publication.needs_you", {"needsYou": {"reason": "session_expired"}}),
    ):
        await tell.happens(alice, type, **data)
    asked = await tell.happens(alice, "publication.needs_you", needsYou={"reason": "unclear"})
    async with db.as_user(alice) as session:
        there = select(Notice.event_id).order_by(Notice.event_id)
        assert list(await session.scalars(there)) == [first, asked]
        assert await notices.unread(session) == 2
    async with db.as_user(bob) as session:
        assert await notices.unread(session) == 0
        assert not await notices.mark_read(session, bob, first)
        assert not await notices.mark_read(session, bob)
    async with db.as_user(alice) as session:
        assert await notices.mark_read(session, alice, first)
        assert not await notices.mark_read(session, alice, first)
        assert await notices.unread(session) == 1


async def test_every_type_that_is_told_has_words_and_a_subject(db, alice, tell):
    from everystall.notify import words

    told = {type for subject in notices.SUBJECTS.values() for type in subject.types}
    assert told == set(words._SAYS)
    assert told <= set(messages.TYPES)


# ---- what arrives -----------------------------------------------------------------------------------


@pytest.mark.longer
async def test_a_mail_a_push_and_a_service_each_say_it_once(
    db, admin, outgoing, alice, bob, tell, post_office, settings
):
    server, _ = post_office
    async with Receiver() as receiver, Receiver(answer=201) as pushes:
        await tell.mail(alice)
        await tell.mail(bob, "bob@example.com")
        await tell.service(alice, f"json://127.0.0.1:{receiver.port}/token-of-alice")
        browser = await tell.push(alice, pushes.url("/p"))
        event = await tell.happens(alice, price={"amount": 2500, "currency": "USD"})
        assert await work_off(None, outgoing) == 3
        assert await work_off(None, outgoing) == 0
    (mail,) = server.got
    assert server.to == [["alice@example.com"]]
    assert mail["from"] == "Everystall <shop@example.com>"
    assert mail["subject"] == "Sold on eBay"
    assert "A linen shirt, $25.00. It is being taken down elsewhere." in server.text()
    assert f"{settings.public_url}/notifications/{event}" in server.text()
    (posted,) = receiver.got
    assert posted.path == "/token-of-alice"
    assert json.loads(posted.body)["title"] == "Sold on eBay"
    (pushed,) = pushes.got
    assert browser.read(pushed) == {
        "title": "Sold on eBay", "body": "A linen shirt, $25.00. It is being taken down elsewhere.",
        "url": f"/notifications/{event}", "page": "/sales", "tag": f"e{event}",
    }  # fmt: skip
    assert pushed.headers["topic"] == f"e{event}"
    assert pushed.headers["ttl"] == "86400"
    assert Vapid02.verify(pushed.headers["authorization"])
    assert Vapid.load(settings).public_key in pushed.headers["authorization"]
    assert {(one.status, one.tries) for one in await _deliveries(db, alice)} == {("delivered", 1)}
    assert await _deliveries(db, bob) == []
    with pytest.raises(Exception, match="notice_deliveries_once"):
        await admin.execute(
            "INSERT INTO notice_deliveries (user_id, channel_id, event_id) "
            "SELECT user_id, channel_id, event_id FROM notice_deliveries LIMIT 1"
        )


async def test_what_is_due_together_is_one_message_with_the_most_urgent_first(
    outgoing, alice, tell, post_office
):
    await tell.mail(alice)
    for number in range(3):
        await tell.happens(alice, title=f"Shirt {number}")
    other = {"marketplace": "mercari", "browserProfileId": "bp_mercari_1"}
    await tell.happens(alice, "sale.double", earlier={"marketplace": "ebay"}, later=other)
    await work_off(None, outgoing)
    (mail,) = post_office[0].got
    assert mail["subject"] == "Sold twice, and 3 more"
    said = post_office[0].text()
    assert "on eBay and on Mercari" in said
    assert said.index("Sold twice") < said.index("Shirt 2") < said.index("Shirt 0")


@pytest.mark.longer
async def test_two_workers_send_it_once(db, admin, vault, settings, outgoing, alice, tell, post_office):
    another = Outgoing(db, vault, settings, Vapid.load(settings))
    await tell.mail(alice)
    await tell.happens(alice)
    await asyncio.gather(work_off(None, outgoing), work_off(None, another))
    assert len(post_office[0].got) == 1
    # one that dies with it in hand: the next has it when the claim is over, and the dead one's word is void
    await tell.happens(alice)
    (lost,) = await outgoing.claim(8)
    assert await another.claim(8) == []
    await _passes(admin, 121)
    await work_off(None, another)
    await outgoing.deliver_one(lost)
    assert len(post_office[0].got) == 2
    await another.close()


async def test_who_sends_is_woken_with_the_commit_and_by_the_tick_once_it_is_due(db, admin, alice, tell):
    async def woken():
        await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
        async with db.as_app() as session:
            await session.execute(text("SELECT everystall.wake_messages(true)"))
        found = await admin.execute("SELECT task_name FROM procrastinate.procrastinate_jobs")
        return [row["task_name"] for row in await found.fetchall()]

    await tell.service(alice, "json://example.com/x")
    assert await woken() == []
    await tell.happens(alice)
    there = await admin.execute("SELECT queue_name, task_name FROM procrastinate.procrastinate_jobs")
    assert await there.fetchall() == [{"queue_name": "messages", "task_name": "deliver"}]
    assert await woken() == ["deliver"]
    await _passes(admin, -3600)
    assert await woken() == []
    await _passes(admin, 3601)
    assert await woken() == ["deliver"]


# ---- when -------------------------------------------------------------------------------------------


@pytest.mark.longer
async def test_quiet_hours_and_digests_hold_it_back_and_what_is_urgent_passes(
    db, admin, outgoing, alice, tell, post_office
):
    await tell.mail(alice)
    now = datetime.now(UTC)
    minute = now.hour * 60 + now.minute
    quiet = {"quiet_from": (minute - 60) % 1440, "quiet_until": (minute + 60) % 1440, "time_zone": "UTC"}
    await tell.rules(alice, **quiet)
    await tell.happens(alice)
    await tell.happens(alice)
    assert await work_off(None, outgoing) == 0
    later = {"marketplace": "mercari", "browserProfileId": "bp_mercari_1"}
    await tell.happens(alice, "sale.double", later=later)
    await work_off(None, outgoing)
    assert [mail["subject"] for mail in post_office[0].got] == ["Sold twice"]
    await _passes(admin, 3700)
    await work_off(None, outgoing)
    assert post_office[0].got[-1]["subject"] == "Sold on eBay, and 1 more"
    # not urgent enough, if the seller says so
    await tell.rules(alice, urgent_passes=False)
    await tell.happens(alice, "sale.double", later=later)
    assert await work_off(None, outgoing) == 0
    # what waits goes by what is chosen now
    await tell.rules(alice, quiet_from=None, quiet_until=None, email_pace="daily")
    assert await work_off(None, outgoing) == 0
    await tell.rules(alice, email_pace="at_once")
    await work_off(None, outgoing)
    assert len(post_office[0].got) == 3


async def test_what_was_sent_is_logged_with_whose_it_is_and_what_of(outgoing, alice, bob, tell, post_office):
    for user, marketplace in ((alice, "ebay"), (bob, "mercari")):
        await tell.mail(user, f"{marketplace}@example.com")
        await tell.happens(user, marketplace=marketplace)
    with capture_logs(processors=[merge_contextvars]) as lines:
        await work_off(None, outgoing)
    tried = {line["user_id"]: line for line in lines if line["event"] == "notice.tried"}
    assert tried.keys() == {str(alice), str(bob)}
    assert (tried[str(alice)]["marketplace"], tried[str(alice)]["type"]) == ("ebay", "sale.detected")
    assert tried[str(bob)]["marketplace"] == "mercari"
    assert "@example.com" not in str(lines)


async def test_what_is_not_chosen_is_not_sent(db, outgoing, alice, tell, post_office):
    await tell.mail(alice)
    await tell.happens(alice, "publication.live")
    assert await _deliveries(db, alice) == []
    await tell.rules(alice, email=["live"])
    await tell.happens(alice)
    await tell.happens(alice, "publication.live")
    await tell.rules(alice, email=[])  # thought better of it
    assert await _deliveries(db, alice) == []
    await tell.rules(alice, email=["live"])
    await tell.happens(alice, "publication.live")
    await work_off(None, outgoing)
    assert [mail["subject"] for mail in post_office[0].got] == ["Live on eBay"]


async def test_an_account_that_cannot_be_seen_is_urgent_while_it_holds_a_last_piece(db, alice, stand, tell):
    await tell.mail(alice)
    _, (alone,) = await stand("poshmark")
    _, (account, _) = await stand("mercari", "ebay")
    _, (many, _) = await stand("mercari", "ebay", quantity=3)
    for one in (alone, account, many):
        await tell.happens(alice, "session.expired", browserProfileId=one.public_id)
    assert [one.urgent for one in await _deliveries(db, alice)] == [False, True, False]


async def test_what_sold_and_is_still_up_elsewhere_is_told_at_night_too(db, alice, bob, tell):
    for seller, address in ((alice, "alice@example.com"), (bob, "bob@example.com")):
        await tell.mail(seller, address)
        now = datetime.now(UTC)
        minute = now.hour * 60 + now.minute
        quiet = {"quiet_from": (minute - 60) % 1440, "quiet_until": (minute + 60) % 1440, "time_zone": "UTC"}
        await tell.rules(seller, **quiet, email_pace="daily")
    await tell.happens(alice, "delist.late", since=now.isoformat())
    (delivery,) = await _deliveries(db, alice)
    assert (delivery.urgent, delivery.next_try_at < datetime.now(UTC) + timedelta(minutes=1)) == (True, True)
    assert await _deliveries(db, bob) == []


# ---- what goes wrong --------------------------------------------------------------------------------


@pytest.mark.longer
async def test_what_is_not_taken_is_tried_again_and_given_up_in_the_end(
    db, admin, outgoing, alice, tell, post_office
):
    await tell.mail(alice)
    post_office[0].answer = "451 not now"
    await tell.happens(alice)
    await work_off(None, outgoing)
    (delivery,) = await _deliveries(db, alice)
    assert (delivery.status, delivery.tries, delivery.last_error) == ("waiting", 1, "not_taken")
    assert "did not take" in channels.said_of(await _channel(db, alice))
    assert await work_off(None, outgoing) == 0
    post_office[0].answer = None
    await _passes(admin, BACKOFF[0] * 1.3)
    await work_off(None, outgoing)
    assert len(post_office[0].got) == 1
    assert channels.said_of(await _channel(db, alice)) is None
    post_office[0].answer = "554 never"
    await tell.happens(alice)
    await admin.execute("UPDATE notice_deliveries SET tries = %s WHERE status = 'waiting'", [len(BACKOFF)])
    await work_off(None, outgoing)
    assert sorted(one.status for one in await _deliveries(db, alice)) == ["delivered", "failed"]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_browser_that_unsubscribed_is_dropped(db, outgoing, alice, tell, status):
    async with Receiver(answer=status) as pushes:
        await tell.push(alice, pushes.url("/gone"))
        await tell.happens(alice)
        await work_off(None, outgoing)
        await tell.happens(alice)
        await work_off(None, outgoing)
    assert len(pushes.got) == 1
    async with db.as_user(alice) as session:
        assert (await session.scalars(select(Channel))).all() == []
    (told,) = await _failing(db, alice)
    assert told == "Firefox on Linux: The browser takes no pushes any more. Turn them on again there."


@pytest.mark.parametrize("title", ["\U0001f9f6" * 300, '"\\' * 500, "\x01" * 300, "a" * 5000, "short"])
async def test_a_push_is_taken_by_any_service_whatever_it_says(outgoing, settings, title):
    async with Receiver(answer=201) as pushes:
        browser = Browser(pushes.url("/p"))
        said = {"title": title, "body": title * 2, "url": "/notifications/1", "page": "/sales", "tag": "e1"}
        outcome = await push.send(
            outgoing.to_push, outgoing.vapid, browser.subscription, said, urgent=False, settings=settings
        )
    assert outcome.delivered
    (pushed,) = pushes.got
    assert len(pushed.body) <= 4096
    read = browser.read(pushed)
    assert (read["url"], read["page"]) == ("/notifications/1", "/sales")
    for name, whole in (("title", title), ("body", title * 2)):
        assert whole.startswith(read[name].removesuffix("…"))
        assert len(read[name]) > 100 or read[name] == whole


async def test_a_channel_that_fails_is_told_in_the_app_once_until_it_works_again(
    db, admin, outgoing, alice, bob, tell
):
    answer = 500
    async with Receiver(answer=lambda received: answer) as pushes:
        await tell.push(alice, pushes.url("/p"))
        await tell.push(bob, pushes.url("/b"))
        await tell.rules(alice, push=["sold", "channels"])

        async def fails(times):
            await tell.happens(alice)
            for _ in range(times):
                await work_off(None, outgoing)
                await _passes(admin, 20_000)

        await fails(TELL_AFTER - 1)
        assert await _failing(db, alice) == []
        await fails(3)
        (told,) = await _failing(db, alice)
        assert told.startswith("Firefox on Linux: The browser's push service refused it")
        answer = 201
        await work_off(None, outgoing)
        assert [one.status for one in await _deliveries(db, alice)] == ["delivered"] * 2  # not of itself
        answer = 500
        await fails(TELL_AFTER)
    assert len(await _failing(db, alice)) == 2
    assert await _failing(db, bob) == []


async def test_what_cannot_be_put_in_words_is_given_up_and_the_rest_is_told(db, outgoing, alice, bob, tell):
    """Of another version, or broken."""
    from everystall.notify import words

    async def happened(user, type, data):
        """Owed to the seller's channels, as a version that knows it would have it."""
        said = {"marketplace": "ebay", "browserProfileId": "bp_ebay_1", "listingId": None, "title": "A shirt"}
        async with db.as_user(user) as session:
            event = Event(user_id=user, type=type, data=said | data)
            session.add(event)
            await session.flush()
            session.add(Notice(user_id=user, event_id=event.id))
            for channel in await session.scalars(select(Channel)):
                session.add(NoticeDelivery(user_id=user, channel_id=channel.id, event_id=event.id))
            return event.id

    async with Receiver(answer=201) as pushes:
        browser, _ = await tell.push(alice, pushes.url("/p")), await tell.push(bob, pushes.url("/b"))
        broken = [
            await happened(alice, type, data)
            for type, data in (
                ("moon.rises", {}),
                ("sale.double", {"listingId": "no id"}),
                ("sale.detected", {"price": {"amount": "much"}}),
                ("publication.needs_you", {"needsYou": "a word"}),
                ("watch.failed", {"message": {"of": 1}}),
            )
        ]
        fine = await happened(alice, "sale.detected", {"listingId": "no id"})
        await happened(bob, "moon.rises", {})
        with capture_logs() as lines:
            assert await work_off(None, outgoing) == 2
            assert await work_off(None, outgoing) == 0
    (pushed,) = pushes.got
    assert browser.read(pushed)["title"] == "Sold on eBay"
    assert {(one.event_id, one.status, one.last_error) for one in await _deliveries(db, alice)} == {
        *((id, "failed", "no_words") for id in broken), (fine, "delivered", None)
    }  # fmt: skip
    assert {one.last_error for one in await _deliveries(db, bob)} == {"no_words"}
    assert {line["event_id"] for line in lines if line["event"] == "notice.no_words"} >= set(broken)
    async with db.as_user(alice) as session:
        events = list(await session.scalars(select(Event).order_by(Event.id)))
        titles = [one.title for one in await words.told(session, events)]
    assert titles == ["Something happened"] * 5 + ["Sold on eBay"]


@pytest.mark.longer
async def test_a_mail_that_asks_takes_the_place_of_the_one_that_waits(
    db, admin, vault, settings, outgoing, alice, bob, post_office
):
    post_office[0].answer = "451 not now"
    rows = {}
    for user, address in ((alice, "alice@example.com"), (bob, "bob@example.com")):
        async with db.as_user(user) as session:
            rows[user] = await channels.add_address(session, vault, settings, user, address)
    await work_off(None, outgoing)
    for _ in range(3):
        await admin.execute("UPDATE channels SET asked_at = asked_at - interval '3 minutes'")
        async with db.as_user(alice) as session:
            await channels.ask_again(session, vault, rows[alice].id)
    assert [len(await _deliveries(db, user)) for user in (alice, bob)] == [1, 1]
    post_office[0].answer = None
    await _passes(admin, 60)
    await work_off(None, outgoing)
    assert sorted(post_office[0].to) == [["alice@example.com"], ["bob@example.com"]]


async def test_a_browser_that_is_signed_out_takes_no_pushes(db, admin, outgoing, alice, tell):
    async with Receiver(answer=201) as pushes:
        await tell.push(alice, pushes.url("/p"))
        await tell.happens(alice)
        await admin.execute("DELETE FROM api_tokens WHERE kind = 'browser'")
        assert await work_off(None, outgoing) == 0
    assert pushes.got == []


@pytest.mark.longer
async def test_no_service_leads_into_our_own_network_by_name_redirect_or_file(
    db, vault, tmp_path, settings, outgoing, alice, tell, post_office
):
    outside = settings.model_copy(update={"webhook_allow_private": False})
    for url in ("json://127.0.0.1/x", "ntfys://localhost/x", "gotify://[::1]/token", "xml://192.168.0.7/x",
                "json://169.254.169.254/latest", "jsons://box.internal/x"):  # fmt: skip
        with pytest.raises(ChannelRefused, match="do not send to"):
            await services.check(url, outside)
    for url in ("syslog://", "dbus://", "file:///etc/passwd", "mailto://a:b@example.com", "nonsense"):
        with pytest.raises(ChannelRefused):
            await services.check(url, settings)
    with pytest.raises(ChannelRefused, match="something is missing"):
        await services.check("tgram://not-a-token", settings)
    async with Receiver() as inside:
        # a name that leads here is looked at when it is dialled
        outcome = await services.send(f"json://localhost:{inside.port}/x", "t", "b", outside)
        assert outcome.error == "refused_address"
        assert inside.connections == 0
    # nor does a mail server that an owner chose, where the environment does not allow it
    async with Receiver() as inside:
        for near in (f"smtp+plain://127.0.0.1:{inside.port}", f"smtp+plain://localhost:{inside.port}",
                     f"smtp+plain://2130706433:{inside.port}"):  # fmt: skip
            theirs = outside.choosing({"smtp_url": _secret(f"{near}?from=shop@example.com")})
            outcome = await services.send_mail("ann@example.com", "t", "b", theirs)
            assert outcome.error == "server_near"
        assert inside.connections == 0
        assert "SMTP_URL" in channels.said_of_error("server_near")
    # the environment's is, wherever it stands; and one that it lets an owner choose
    for allowed in (outside, settings.choosing({"smtp_url": settings.smtp_url})):
        assert (await services.send_mail("ann@example.com", "t", "b", allowed)).delivered
    assert len(post_office[0].got) == 2
    letter = tmp_path / "letter.json"  # some services take the path of a template
    letter.write_text('{"text": "a secret of this machine"}')
    gate = Gate("any")
    for event, args in (("open", (str(letter), "r", 0)), ("open", (zoneinfo.__file__, "w", 0)),
                        ("subprocess.Popen", ()), ("socket.bind", ())):  # fmt: skip
        with pytest.raises(Refused):
            gate(event, args)
    gate("open", (zoneinfo.__file__, "rb", 0))


@pytest.mark.longer
async def test_webhooks_do_not_wait_for_a_slow_service(db, vault, settings, outgoing, alice, tell):
    mail = Mail(db, vault, settings)
    async with Receiver(delay=3.5) as slow, Receiver() as receiver:
        await tell.service(alice, f"json://127.0.0.1:{slow.port}/x")
        await tell.happens(alice)
        working = asyncio.create_task(work_off(None, mail, outgoing))
        async with asyncio.timeout(60):
            while not slow.got:
                await asyncio.sleep(0.05)
        async with db.as_user(alice) as session:
            row = WebhookEndpoint(id=uuid4(), user_id=alice, url=receiver.url(), events=["job.finished"])
            await vault.seal_webhook(session, row, b"x" * 32)
            session.add(row)
        await tell.happens(alice, "job.finished")
        async with asyncio.timeout(60):
            while not receiver.got:
                await asyncio.sleep(0.05)
            assert not working.done()
            await working
    await mail.close()


async def test_a_channel_that_does_not_open_is_given_up_and_said_to_be_unusable(
    db, admin, outgoing, alice, tell, post_office
):
    await tell.mail(alice)
    await tell.happens(alice)
    await admin.execute("UPDATE channels SET sealed = 'broken'")
    assert await work_off(None, outgoing) == 1
    (delivery,) = await _deliveries(db, alice)
    assert (delivery.status, delivery.last_error) == ("failed", "unusable")
    await tell.happens(alice)
    await work_off(None, outgoing)
    (told,) = await _failing(db, alice)
    assert "not usable" in told
    assert "not usable" in channels.said_of(await _channel(db, alice))
    assert post_office[0].got == []


# ---- secrets ----------------------------------------------------------------------------------------


async def test_no_token_and_no_password_is_in_the_database_or_a_log(
    db, admin, outgoing, alice, tell, post_office, settings, capfd
):
    with capture_logs() as logs:
        async with Receiver(answer=500) as receiver:
            await tell.service(alice, f"json://user:swordfish@127.0.0.1:{receiver.port}/opensesame")
            browser = await tell.push(alice, receiver.url("/subscription-token"))
            await tell.mail(alice)
            post_office[0].answer = "554 no"
            await tell.happens(alice)
            await work_off(None, outgoing)
    tables = await (
        await admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    ).fetchall()
    held = str(logs) + "".join(capfd.readouterr())
    for table in tables:
        rows = await (await admin.execute(f"SELECT t::text AS t FROM {table['tablename']} t")).fetchall()
        held += "".join(row["t"] for row in rows)
    auth = browser.subscription["keys"]["auth"]
    for secret in ("swordfish", "opensesame", "subscription-token", "postmans-secret", auth):
        assert secret not in held
        assert secret.encode().hex() not in held
    assert "not_taken" in held
    key = settings.everystall_home / "keys" / "vapid"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text() not in held


async def test_a_vapid_key_that_is_none_stops_the_start(settings):
    with pytest.raises(Misconfigured, match="VAPID_PRIVATE_KEY"):
        Vapid.load(settings.model_copy(update={"vapid_private_key": _secret("not a key")}))
    made = Vapid.load(settings)
    assert Vapid.load(settings).public_key == made.public_key
    text = (settings.everystall_home / "keys" / "vapid").read_text()
    assert Vapid.load(settings.model_copy(update={"vapid_private_key": _secret(text)})).public_key == (
        made.public_key
    )


def _secret(value):
    from pydantic import SecretStr

    return SecretStr(value)


@pytest.mark.parametrize(
    "given",
    [None, {}, {"endpoint": "https://a.example"}, {"endpoint": 1, "keys": {"p256dh": "é", "auth": "x"}},
     {"endpoint": "http://169.254.169.254/x", "keys": Browser("").subscription["keys"]}],
)  # fmt: skip
def test_what_is_no_subscription_is_refused(given, tmp_path):
    with pytest.raises(ChannelRefused):
        push.check_subscription(given, Settings(_env_file=None, everystall_home=tmp_path))


@pytest.mark.parametrize("how", ["rewrap", "reencrypt"])
async def test_a_rotation_of_the_keys_loses_no_channel(
    db, vault, settings, outgoing, alice, bob, tell, database_urls, how
):
    admin, keyring = create_async_engine(database_urls.admin), vault._keyring
    async with Receiver(answer=201) as pushes:
        browser = await tell.push(alice, pushes.url("/alice"))
        await tell.push(bob, pushes.url("/bob"))
        was = keyring.current
        await rotation.rotate(admin, keyring, settings, **{how: True})
        await rotation.rotate(admin, keyring, settings, retire=was)
        await admin.dispose()
        await tell.happens(alice)
        await work_off(None, outgoing)
    (pushed,) = pushes.got
    assert browser.read(pushed)["title"] == "Sold on eBay"

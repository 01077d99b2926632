"""Mails about sales: whose they are, what they name, what their mailbox's server said of them."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import func, select

from everystall.inventory import sale_mails
from everystall.inventory.sale_mails import SaleTold, parse, read, read_raw
from everystall.models import Connection, DoubleSale, Event, Listing, Sale
from tests.selling import all_of, an_order, one_of, stands, take

MAILS = {
    "poshmark": ("Poshmark <orders@poshmark.com>", '"A shirt" just sold to @buyer on Poshmark!'),
    "mercari": ("Mercari <no-reply@mercari.com>", "You’ve made a sale: A shirt"),
    "ebay": ("eBay <ebay@ebay.com>", "You made the sale for A shirt"),
}


def mail(sender, subject, text="Hooray.", results=None, id="<1@example.com>"):
    head = f"Authentication-Results: {results}\r\n" if results else ""
    head += f"From: {sender}\r\nTo: alice@example.com\r\nSubject: {subject}\r\nMessage-ID: {id}\r\n"
    return f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}".encode()


@pytest.mark.parametrize("marketplace", MAILS)
def test_a_marketplaces_mail_about_a_sale_is_known(marketplace):
    told = read(parse(mail(*MAILS[marketplace])))
    assert (told.marketplace, told.title, told.proven) == (marketplace, "A shirt", False)


@pytest.mark.parametrize(
    ("sender", "subject"),
    [
        ("Poshmark <orders@poshmark.com.evil.example>", MAILS["poshmark"][1]),
        ("Poshmark <orders@notposhmark.com>", MAILS["poshmark"][1]),
        ('"orders@poshmark.com" <me@evil.example>', MAILS["poshmark"][1]),
        ("Poshmark <orders@poshmark.com>", "A shirt just dropped in price"),
        ("Mercari <no-reply@mercari.com>", "You've made a purchase: A shirt"),
        ("eBay <ebay@ebay.com>", MAILS["mercari"][1]),
        ("", MAILS["ebay"][1]),
    ],
)
def test_anybody_elses_and_anything_else_is_none(sender, subject):
    assert read(parse(mail(sender, subject))) is None


@pytest.mark.parametrize("prefix", ["Fwd: ", "FW: Fwd: "])
def test_a_mail_that_was_passed_on_is_the_same(prefix):
    sender, subject = MAILS["ebay"]
    assert read(parse(mail(f"<x@reply.{sender[6:-1].split('@')[1]}>", prefix + subject))).title == "A shirt"


def test_the_listings_id_is_found_in_its_words_and_its_links():
    told = read(parse(mail(*MAILS["mercari"], text="ID: m12345678901 Price $9.00")))
    assert told.remote_ids == ("m12345678901",)
    page = '<a href="https://www.ebay.com/itm/123456789012?x=1&amp;y=2">See</a> Item number: 123456789012'
    raw = mail(*MAILS["ebay"], text=page).replace(b"text/plain", b"text/html")
    assert read(parse(raw)).remote_ids == ("123456789012",)


@pytest.mark.parametrize(
    ("results", "proven"),
    [
        (None, False),
        ("mx.example.net; none", False),
        ("mx.example.net; dkim=pass header.i=@ebay.com header.s=x; spf=pass smtp.mailfrom=ebay.com", True),
        ("mx.example.net; dkim=pass (2048-bit) header.d=reply.ebay.com", True),
        ("mx.example.net; dmarc=pass (p=REJECT) header.from=ebay.com", True),
        ("mx.example.net; spf=pass smtp.mailfrom=bounce@e.ebay.com", True),
        ("mx.example.net; dkim=pass header.d=evil.example", False),
        ("mx.example.net; dkim=pass (header.d=ebay.com) header.d=evil.example", False),
        ("mx.example.net; dkim=pass header.d=notebay.com", False),
        ("mx.example.net; spf=fail smtp.mailfrom=ebay.com", False),  # passed on
        ("mx.example.net; dkim=none header.d=ebay.com", False),
        ('mx; spf=pass smtp.mailfrom="a; dmarc=pass header.from=ebay.com;"@evil.example', False),
        ('mx; spf=pass smtp.mailfrom="a\\"; dmarc=pass header.from=ebay.com;"@evil.example', False),
        ("mx; spf=pass (a (b) ; dmarc=pass header.from=ebay.com) smtp.mailfrom=evil.example", False),
        ("mx; arc=pass x-dmarc=pass header.from=ebay.com", False),
        ("spf=pass smtp.mailfrom=ebay.com; dkim=none", True),  # Outlook's names no server
        (f"mx; spf=none ({'x' * 4096}); dmarc=pass header.from=ebay.com", False),
    ],
)
def test_it_is_proven_where_the_mailboxs_server_says_so(results, proven):
    assert read(parse(mail(*MAILS["ebay"], results=results))).proven is proven


@pytest.mark.parametrize(
    "results",
    [
        "mx; dmarc=fail header.from=ebay.com",
        "mx; dkim=fail header.d=ebay.com",
        "mx; spf=pass smtp.mailfrom=ebay.com; dmarc=fail header.from=ebay.com",
        'mx; spf=pass smtp.mailfrom="a; dmarc=pass header.from=ebay.com;"@x; dmarc=fail header.from=ebay.com',
    ],
)
def test_what_its_server_calls_forged_is_left(results):
    assert read(parse(mail(*MAILS["ebay"], results=f"mx.example.net; {results}"))) is None


def test_only_the_word_of_the_last_server_counts():
    raw = mail(*MAILS["ebay"], results="mx.example.net; dkim=none")
    forged = b"Authentication-Results: mx.example.net; dkim=pass header.d=ebay.com\r\n"
    assert read(parse(raw.replace(b"From:", forged + b"From:", 1))).proven is False


PASSED = "dkim=pass header.d=ebay.com"


@pytest.mark.parametrize(
    ("host", "server", "proven"),
    [
        ("imap.gmail.com", "mx.google.com", True),
        ("IMAP.gmail.com", "MX.google.com 1", True),
        ("imap.fastmail.com", "phl-mx-07.messagingengine.com", True),
        ("imap.mail.yahoo.com", "atlas-production.v2-mail-prod1-gq1.omega.yahoo.com", True),
        ("mail.example.com", "mail.example.com", True),
        ("imap.example.com", "mx1.example.com", True),
        ("imap.example.com", "example.com", True),
        ("example.com", "example.com", True),
        ("example.co.uk", "mx1.example.co.uk", True),
        ("example.co.uk", "evil.co.uk", False),
        ("mail.com", "evil.com", False),
        ("imap.gmail.com", "mx.gmail.com.evil.example", False),
        ("imap.gmail.com", "evilgoogle.com", False),
        ("imap.example.com", "mx.google.com", False),  # of who passed it on, say
        ("imap.example.com", "(mx1.example.com) evil.example", False),
        ("imap.example.com", "", False),
        ("imap.example.com", f"{PASSED}", False),
        ("127.0.0.1", "evil.example", False),
    ],
)
def test_where_the_mailbox_is_known_only_its_own_servers_word_counts(host, server, proven):
    raw = mail(*MAILS["ebay"], results=f"{server}; {PASSED}")
    assert read_raw(raw, host).proven is proven
    if not proven:  # nor can somebody else's keep a mail from us
        fails = raw.replace(b"dkim=pass", b"dmarc=fail").replace(b"header.d", b"header.from")
        assert read_raw(fails, host) is not None


@pytest.mark.parametrize(
    "junk", [b"", b"\xff\xfe\x00", b"From: \r\n\r\n", b"Subject: =?x?q?=\r\n\r\n", b"\r\n" * 99]
)
def test_what_is_no_mail_is_none(junk):
    assert read(parse(junk)) is None


@pytest.mark.parametrize(
    "raw",
    [
        mail(*MAILS["ebay"], results=f"mx; dmarc=pass header.from={'a' * 100_000}!"),
        mail(MAILS["ebay"][0], MAILS["ebay"][1] + " a" * 100_000),
        mail("<" * 200_000 + "@ebay.com", MAILS["ebay"][1]),
        mail(*MAILS["ebay"]).replace(b"charset=utf-8", b"a=b; " * 50_000),
    ],
    ids=["verdict", "subject", "sender", "type"],
)
def test_no_head_of_a_mail_keeps_us_busy(raw):
    began = time.monotonic()
    told = read(parse(raw))
    assert told is None or not told.proven
    assert time.monotonic() - began < 5


def test_no_words_of_a_mail_keep_us_busy():
    raw = mail(*MAILS["ebay"], text="<" * 200_000).replace(b"text/plain", b"text/html")
    began = time.monotonic()
    assert read_raw(raw).title == "A shirt"
    assert time.monotonic() - began < 5


def nested(depth=1500):
    """A mail about a sale, with so many parts in each other that a parser gives up."""
    head = mail(*MAILS["mercari"], id="<deep@example.com>").partition(b"Content-Type:")[0]
    parts = [f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(depth)]
    return head + "".join(parts).encode()


@pytest.mark.parametrize("raw", [nested(), b"\0", mail("ebay@ebay.com", "=?utf-8?b?////?=")])
def test_what_nobody_can_read_is_none(raw):
    assert read_raw(raw) is None


def test_a_title_holds_nothing_that_no_database_takes():
    assert "\0" not in read_raw(mail(*MAILS["mercari"]).replace(b"A shirt", b"A =?utf-8?q?=00?= shirt")).title


# ---- what comes of it ----


async def _take(db, user, told):
    async with db.as_user(user) as session:
        await sale_mails.take(session, user, told)


def _told(marketplace="mercari", *, title="", ids=(), proven=True, key="1"):
    return SaleTold(marketplace, title, tuple(ids), proven, key)


async def _due(db, user):
    async with db.as_user(user) as session:
        due = select(Connection.id).where(Connection.next_check_at <= func.now())
        return set(await session.scalars(due))


async def _blind(db, account):
    async with db.as_user(account.user_id) as session:
        row = await session.get_one(Connection, account.id)
        row.needs_you = {"reason": "session_expired", "message": "Signed out.", "url": None}


async def test_a_mail_has_the_account_looked_at_and_is_no_sale(db, admin, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await _take(db, alice, _told(title="A shirt"))
    assert await _due(db, alice) == {here.id}
    woken = await admin.execute("SELECT lock FROM procrastinate.procrastinate_jobs")
    assert [row["lock"] for row in await woken.fetchall()] == [f"connection:{here.id}"]
    assert (await one_of(db, alice, Listing)).quantity_sold == 0


async def test_of_several_accounts_the_one_that_has_it_is_looked_at_else_all(db, admin, alice, stand):
    _, (here, there) = await stand("mercari", "mercari")
    await _take(db, alice, _told(ids=["r-2"]))
    assert await _due(db, alice) == {there.id}
    await _take(db, alice, _told(title="A shirt", key="2"))  # both have one of that name
    assert await _due(db, alice) == {here.id, there.id}


async def test_while_the_account_is_blind_a_proven_mail_is_the_sale_once(db, alice, stand):
    _, (here, _) = await stand("mercari", "ebay", quantity=1)
    await _blind(db, here)
    for _ in range(2):
        await _take(db, alice, _told(ids=["r-1"]))
    await _take(db, alice, _told(ids=["r-1"], key="2"))  # reminds of it
    sale = await one_of(db, alice, Sale)
    assert (sale.told_by, sale.order_id, sale.remote_id) == ("mail", None, "r-1")
    assert (await stands(db, alice))["ebay"] == ("live", "ended", "ending")
    (told,) = [one.data for one in await all_of(db, alice, Event) if one.type == "sale.detected"]
    assert told["toldBy"] == "mail"
    await take(db, here, an_order("o1", "r-1"))  # it sees again: the order takes its place
    sale = await one_of(db, alice, Sale)
    assert (sale.told_by, sale.order_id) == ("orders", "o1")
    assert (await one_of(db, alice, Listing)).quantity_sold == 1
    assert await all_of(db, alice, DoubleSale) == []


@pytest.mark.parametrize(
    "told", [_told(ids=["r-1"], proven=False), _told(title="Another shirt"), _told("mercari")]
)
async def test_while_it_is_blind_what_is_not_clear_is_told_and_no_sale(db, alice, stand, told):
    _, (here, _) = await stand("mercari", "ebay")
    await _blind(db, here)
    await _take(db, alice, told)
    assert await all_of(db, alice, Sale) == []
    (event,) = await all_of(db, alice, Event)
    assert (event.type, event.data["browserProfileId"]) == ("sale.unclear", here.public_id)


async def test_one_of_several_that_a_mail_tells_of_is_one_of_several(db, alice, stand):
    _, (here, _) = await stand("ebay", "mercari", quantity=3)
    await _blind(db, here)
    await _take(db, alice, _told("ebay", ids=["r-1"], key="1"))
    await _take(db, alice, _told("ebay", ids=["r-1"], key="2"))
    assert (await one_of(db, alice, Listing)).quantity_sold == 2
    assert {one[1] for one in (await stands(db, alice)).values()} == {"live"}


async def test_a_mail_of_a_marketplace_that_one_is_not_on_is_nothing(db, alice, bob, stand):
    await stand("mercari")
    await _take(db, bob, _told(title="A shirt", ids=["r-1"]))
    assert await _due(db, alice) == set()
    assert await all_of(db, bob, Event) == []


async def test_mail_upon_mail_has_an_account_looked_at_every_ten_seconds_at_most(db, admin, alice, stand):
    _, (here, there) = await stand("mercari", "mercari")
    await admin.execute(
        "UPDATE connections SET watched_at = now(), next_check_at = now() + interval '1 hour' WHERE id = %s",
        [here.id],
    )
    for number in range(3):
        await _take(db, alice, _told(title="A shirt", proven=False, key=str(number)))
    assert await _due(db, alice) == {there.id}  # nobody looked there yet
    woken = await admin.execute("SELECT lock FROM procrastinate.procrastinate_jobs")
    assert [row["lock"] for row in await woken.fetchall()] == [f"connection:{there.id}"]
    soon = await admin.execute(
        "SELECT next_check_at = watched_at + interval '10 s' AS soon FROM connections WHERE id = %s",
        [here.id],
    )
    assert (await soon.fetchone())["soon"]


async def test_that_something_may_have_sold_is_said_once_an_hour(db, admin, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await _blind(db, here)
    for number in range(3):
        await _take(db, alice, _told(title="A shirt", proven=False, key=str(number)))
    assert len(await all_of(db, alice, Event)) == 1
    await admin.execute("UPDATE events SET created_at = now() - interval '61 minutes'")
    await _take(db, alice, _told(title="A shirt", proven=False, key="later"))
    assert len(await all_of(db, alice, Event)) == 2

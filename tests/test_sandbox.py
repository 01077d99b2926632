"""The practice world itself: hosts, sessions, faults, buyers and the ledger."""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from PIL import Image

from everystall.sandbox.core import PASSWORD, World, difference_hash
from everystall.sandbox.poshmark import session_cookies
from everystall.sandbox.testing import Sandbox, start_in_thread

PAGE = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    sandbox = start_in_thread()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def site(running: Sandbox) -> Sandbox:
    running.reset()
    return running


def ask(
    site: Sandbox, path: str, host: str = "poshmark.localhost", cookies: str = "", **more
) -> httpx.Response:
    headers = {"host": f"{host}:{site.port}", **PAGE, **({"cookie": cookies} if cookies else {})}
    with httpx.Client(trust_env=False) as client:
        return client.request(
            more.pop("method", "GET"), f"http://127.0.0.1:{site.port}{path}", headers=headers
        )


def cookies_of(site: Sandbox, name: str = "alice") -> str:
    session = site.world.sign_in("poshmark", name, PASSWORD)
    assert session is not None
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in session_cookies(session))


def live(site: Sandbox, title: str = "A thing", sku: str | None = None, quantity: int = 1):
    account = site.world.account("poshmark", "alice")
    fields = {"title": title, "price": {"amount": 2500, "currency": "USD"}, "quantity": quantity}
    return site.world.publish(site.world.draft("poshmark", account, site.world.new_hex(), fields, sku=sku))


@pytest.mark.parametrize("host", ["example.com", "localhost.evil.example", "depop.localhost"])
def test_an_unknown_host_is_a_404(site, host):
    assert ask(site, "/", host=host).status_code == 404


def test_the_control_is_not_on_a_sites_host(site):
    assert ask(site, "/_control/ledger").status_code == 404


def test_only_the_practice_password_signs_in():
    world = World()
    assert world.sign_in("poshmark", "alice", "guess") is None
    assert world.sign_in("poshmark", "Alice", PASSWORD).account is world.account("poshmark", "alice")
    assert world.account("poshmark", "bob").hex_id != world.account("poshmark", "alice").hex_id


def test_a_private_page_needs_a_session(site):
    assert ask(site, "/create-listing").headers["location"].startswith("/login")
    assert ask(site, "/create-listing", cookies=cookies_of(site)).status_code == 200


def test_a_session_that_is_ended_is_ended(site):
    cookies = cookies_of(site)
    site.sessions("poshmark", "alice", lifetime_seconds=0)
    assert ask(site, "/create-listing", cookies=cookies).status_code == 302
    assert ask(site, "/create-listing", cookies=cookies_of(site)).status_code == 200


def test_a_used_token_is_replaced_and_its_reuse_after_the_grace_signs_everybody_out(site):
    old = cookies_of(site)
    site.sessions("poshmark", "alice", rotate=True, grace_seconds=2.0)
    answer = ask(site, "/feed", cookies=old)
    new = "; ".join(f"{k}={v}" for k, v in answer.cookies.items())
    assert answer.cookies["jwt"] not in old
    assert ask(site, "/feed", cookies=old).status_code == 200
    time.sleep(2.1)
    assert ask(site, "/feed", cookies=new).status_code == 200
    assert ask(site, "/feed", cookies=old).status_code == 302
    assert ask(site, "/feed", cookies=new).status_code == 302
    assert site.ledger()["entries"][-1]["event"] == "session_revoked"


@pytest.mark.parametrize(("kind", "status"), [("down", 503), ("captcha", 403), ("login_wall", 302)])
def test_faults_strike_as_often_as_was_said_and_only_that_account(site, kind, status):
    alice, bob = cookies_of(site), cookies_of(site, "bob")
    site.fault("poshmark", kind, times=1, account="alice")
    assert ask(site, "/feed", cookies=bob).status_code == 200
    assert ask(site, "/feed", cookies=alice).status_code == status
    assert ask(site, "/feed", cookies=alice).status_code == 200


def test_a_slow_page_is_slow(site):
    site.fault("poshmark", "latency", seconds=0.3, times=1)
    began = time.monotonic()
    assert ask(site, "/").status_code == 200
    assert time.monotonic() - began >= 0.3


def test_who_hangs_up_on_a_slow_site_is_served_all_the_same(site):
    """It has the whole request: a page that goes away meanwhile takes nothing back."""
    site.fault("poshmark", "slow", seconds=0.5, path="/login", times=1)
    body = f"login_form[username_email]=carol&login_form[password]={PASSWORD}"
    head = (
        f"POST /login HTTP/1.1\r\nHost: poshmark.localhost:{site.port}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall((head + body).encode())
        time.sleep(0.2)
    end = time.monotonic() + 5
    while not (signed_in := [one for one in site.world._sessions if one.account.name == "carol"]):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(signed_in) == 1


def test_an_unknown_fault_is_refused(site):
    with pytest.raises(httpx.HTTPStatusError):
        site.fault("poshmark", "earthquake")


@pytest.mark.parametrize(
    ("kind", "live_after"), [("reset_before", False), ("reset_after", True), ("late_commit", False)]
)
def test_a_cut_connection_before_or_after_the_commit(site, kind, live_after):
    cookies = cookies_of(site)
    photo = site.world.keep_photo(
        "poshmark", site.world.account("poshmark", "alice"), _picture(), "image/jpeg"
    )
    item = site.world.draft(
        "poshmark", site.world.account("poshmark", "alice"), site.world.new_hex(),
        {"title": "A", "description": "B", "category": ["Women", "Other"], "size": "OS", "condition": "Good",
         "price": {"amount": 300, "currency": "USD"}},
        [photo],
    )  # fmt: skip
    site.fault("poshmark", kind, seconds=0.3)
    csrf = next(part for part in cookies.split("; ") if part.startswith("_csrf=")).removeprefix("_csrf=")
    headers = {"host": f"poshmark.localhost:{site.port}", "cookie": cookies, "x-xsrf-token": csrf}
    with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=5)) as connection:

        def click() -> int:
            path = f"/vm-rest/posts/{item.id}/status/published"
            connection.request("PUT", path, body="{}", headers=headers)
            return connection.getresponse().status

        if kind == "late_commit":
            assert click() == 504
            assert item.state == "draft"
            time.sleep(0.5)
            assert item.state == "live"
            return
        # the cut may meet the request's own last bytes
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
            click()
    assert (item.state == "live") == live_after


def test_buyers_buy_by_id_sku_or_title_until_it_is_sold_out(site):
    one, two, three = live(site), live(site, sku="B-2 ~ABCDEF"), live(site, "Three", quantity=2)
    site.buy("poshmark", listing_id=one.id)
    site.buy("poshmark", sku="B-2")
    assert site.buy("poshmark", title="Three")["state"] == "live"
    assert site.buy("poshmark", title="Three")["state"] == "sold"
    assert [item.state for item in (one, two, three)] == ["sold"] * 3
    with pytest.raises(httpx.HTTPStatusError):
        site.buy("poshmark", title="Three")


def test_a_seller_edits_ends_marks_as_sold_and_posts_anew_by_hand(site):
    first, second = live(site, "One", sku="A ~ABCDEF"), live(site, "Two")
    site.by_hand("poshmark", "edit", first.id, title="Other")
    site.by_hand("poshmark", "end", first.id)
    again = site.by_hand("poshmark", "relist", first.id, description="Anew")
    site.by_hand("poshmark", "mark_sold", second.id)
    assert again["listing_id"] != first.id
    assert (again["fields"]["title"], again["fields"]["description"]) == ("Other", "Anew")
    assert again["sku"] == "A ~ABCDEF"
    now = {one["listing_id"]: (one["state"], one["orders"]) for one in site.ledger()["listings"]}
    assert now == {first.id: ("ended", []), second.id: ("sold", []), again["listing_id"]: ("live", [])}
    events = [entry["event"] for entry in site.ledger()["entries"]][-5:]
    assert events == ["edited", "ended", "draft", "published", "marked_sold"]
    with pytest.raises(httpx.HTTPStatusError):
        site.by_hand("poshmark", "burn", second.id)


def test_the_ledger_keeps_what_was_and_only_grows(site):
    item = live(site)
    site.world.edit(item, title="Renamed")
    site.world.end(item)
    entries = site.ledger(marketplace="poshmark")["entries"]
    assert [entry["event"] for entry in entries] == ["draft", "published", "edited", "ended"]
    assert [entry["fields"]["title"] for entry in entries] == ["A thing", "A thing", "Renamed", "Renamed"]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4]
    assert site.ledger(account="bob") == {"entries": [], "listings": []}


def test_a_recompressed_photo_looks_alike_and_is_not_the_same(site):
    account = site.world.account("poshmark", "alice")
    site.fault("poshmark", "recompress", times=1)
    photo = site.world.keep_photo("poshmark", account, _picture(), "image/jpeg")
    assert photo.served != _picture()
    assert (int(photo.dhash, 16) ^ int(difference_hash(photo.served), 16)).bit_count() <= 4
    with pytest.raises(ValueError, match="not an image"):
        site.world.keep_photo("poshmark", account, b"nonsense", "image/jpeg")


def _picture() -> bytes:
    image = Image.radial_gradient("L").resize((1200, 900)).convert("RGB")
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()

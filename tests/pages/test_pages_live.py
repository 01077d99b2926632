"""What moves is on an open page at once: over a WebSocket, or as a stream, for its own seller only."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from itertools import pairwise
from random import Random

import httpx
import pytest
import websockets
from playwright.async_api import Page, WebSocketRoute
from sqlalchemy import select
from websockets.asyncio.client import ClientConnection, connect

from everystall.models import Publication
from everystall.web import live, numbers
from everystall.web.pages.states import word_of
from tests.pages.conftest import House, sign_in, visiting
from tests.pages.standing import account, listing, publication
from tests.pages.test_pages_look import look, passes

WAIT = 20.0


async def _cookie(house: House, name: str) -> str:
    async with visiting(house, name) as visitor:
        return "; ".join(f"{one.name}={one.value}" for one in visitor.client.cookies.jar)


def _socket(house: House, cookie: str, **headers: str) -> connect:
    headers = {"Cookie": cookie, "Origin": house.url, **headers}
    return connect(f"{house.url.replace('http', 'ws')}/live", additional_headers=headers, proxy=None)


async def _publication(house: House, user_id: object, needs_you: bool = False) -> tuple[str, str]:
    """(its id, its listing's): one of this seller, on an account of its own."""
    (listing,) = await house.rows(
        "INSERT INTO listings (user_id, title) VALUES (:user, 'A shirt') RETURNING id", user=user_id
    )
    (account,) = await house.rows(
        "INSERT INTO connections (user_id, public_id, marketplace, base_url) "
        "VALUES (:user, gen_random_uuid()::text, 'mercari', 'http://mercari.localhost:1') RETURNING id",
        user=user_id,
    )
    (made,) = await house.rows(
        "INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted, wanted_revision) "
        "VALUES (:user, :listing, :account, 'mercari', 'live', 1) RETURNING id",
        user=user_id, listing=listing["id"], account=account["id"],
    )  # fmt: skip
    return str(made["id"]), str(listing["id"])


async def _ask(house: House, id: str) -> None:
    asks = '{"reason": "challenge", "message": "Look."}'
    await house.rows(
        "UPDATE publications SET needs_you = CAST(:asks AS jsonb) WHERE id = :id", asks=asks, id=id
    )


async def _until_told(socket: ClientConnection, listing: str) -> set[str]:
    """Everything that was told until this listing was."""
    told: set[str] = set()
    async with asyncio.timeout(WAIT):
        while listing not in told:
            told |= set(json.loads(await socket.recv()).get("listings", []))
    return told


async def _first(socket: ClientConnection) -> None:
    """From now on everything is told."""
    assert json.loads(await asyncio.wait_for(socket.recv(), WAIT)) == {"listings": ["*"]}


async def _made_long_ago(house: House, socket: ClientConnection, mine: tuple[str, str]) -> None:
    """What was told while these rows were made may still be on its way: nothing of it is any more."""
    await _ask(house, mine[0])
    await _until_told(socket, mine[1])


async def test_a_change_is_told_to_its_seller_and_to_nobody_else(house: House):
    alice, bob = await house.person("alice"), await house.person("bob")
    mine, others = await _publication(house, alice), await _publication(house, bob)
    async with _socket(house, await _cookie(house, "alice")) as socket:
        await _first(socket)
        await _made_long_ago(house, socket, mine)
        await _ask(house, others[0])
        await _ask(house, mine[0])
        assert await _until_told(socket, mine[1]) == {mine[1]}
    (row,) = await house.rows("SELECT version FROM publications WHERE id = :id", id=mine[0])
    assert row["version"] == 2


async def _sold(house: House, user_id: object, public_id: str, title: str) -> str:
    """An order on that account, seen just now."""
    (sale,) = await house.rows(
        "INSERT INTO sales (user_id, connection_id, order_id, title, price_cents, quantity, sold_at, "
        "sold_at_exact) SELECT :user, id, gen_random_uuid()::text, :title, 2500, 1, now(), true "
        "FROM connections WHERE public_id = :account RETURNING id",
        user=user_id, account=public_id, title=title,
    )  # fmt: skip
    return str(sale["id"])


async def _taken_down(house: House, user_id: object, sale: str) -> None:
    """It is to go on Mercari because of that."""
    await house.rows(
        "INSERT INTO take_downs (user_id, sale_id, marketplace) "
        "VALUES (:user, CAST(:sale AS uuid), 'mercari')",
        user=user_id, sale=sale,
    )  # fmt: skip


NEEDS_YOU = """UPDATE connections SET needs_you = '{"reason": "challenge", "message": "Look."}'
               WHERE user_id = :user"""


@pytest.mark.longer
async def test_what_becomes_of_an_account_or_a_sale_is_told_to_its_seller_alone(house: House):
    alice, bob = await house.person("alice"), await house.person("bob")
    for user, name in ((alice, "alice"), (bob, "bob")):
        ebay = await account(house, user, "ebay", name)
        await _taken_down(house, user, await _sold(house, user, ebay, "A"))
    mine = await _publication(house, alice)
    async with _socket(house, await _cookie(house, "alice")) as socket:
        await _first(socket)
        await _made_long_ago(house, socket, mine)
        for change, word in (
            (NEEDS_YOU, "accounts"),
            ("UPDATE connections SET paused_at = now() WHERE user_id = :user", "accounts"),
            ("UPDATE connections SET session_seq = session_seq + 1 WHERE user_id = :user", "accounts"),
            ("UPDATE connections SET last_visit_at = now() WHERE user_id = :user", "visits"),
            ("UPDATE sales SET cancelled_at = now() WHERE user_id = :user", "sales"),
            ("UPDATE take_downs SET started_at = now() WHERE user_id = :user", "sales"),
            ("UPDATE take_downs SET gone_at = now() WHERE user_id = :user", "sales"),
        ):
            await house.rows(change, user=bob)
            await house.rows("UPDATE connections SET lease_until = now(), place = NULL")  # as a visit does
            await house.rows(change, user=alice)
            assert await _until_told(socket, word) == {word}, change
        await _taken_down(house, alice, await _sold(house, alice, "bp_ebay_alice", "B"))
        assert await _until_told(socket, "sales") == {"sales"}
        await account(house, alice, "mercari", "alice")
        assert await _until_told(socket, "accounts") == {"accounts"}


async def test_a_change_of_more_than_a_hundred_is_one_message(house: House):
    alice = await house.person("alice")
    await _publication(house, alice)
    await house.rows("INSERT INTO listings (user_id) SELECT :user FROM generate_series(1, 150)", user=alice)
    async with _socket(house, await _cookie(house, "alice")) as socket:
        await _first(socket)
        await house.rows(
            """INSERT INTO publications
                   (user_id, listing_id, connection_id, marketplace, wanted, wanted_revision)
               SELECT l.user_id, l.id, c.id, 'mercari', 'live', 1 FROM listings l, connections c
               ON CONFLICT DO NOTHING"""
        )
        async with asyncio.timeout(WAIT):
            assert json.loads(await socket.recv()) == {"listings": ["*"]}


@pytest.mark.longer
async def test_pages_without_end_are_not_told_and_others_still_are(house: House):
    await house.person("alice")
    bob = await house.person("bob")
    cookie, bobs = await _cookie(house, "alice"), await _cookie(house, "bob")
    async with AsyncExitStack() as stack:
        refused = False
        for _ in range(live.MOST_PAGES + 1):
            try:
                await _first(await stack.enter_async_context(_socket(house, cookie)))
            except websockets.InvalidStatus:
                refused = True
        assert refused
        async with httpx.AsyncClient(base_url=house.url, headers={"Cookie": cookie}) as client:
            assert (await client.get("/live/events")).status_code == 429
        mine = await _publication(house, bob)
        async with _socket(house, bobs) as socket:
            await _first(socket)
            await _made_long_ago(house, socket, mine)
            await _ask(house, mine[0])
            assert await _until_told(socket, mine[1]) == {mine[1]}
    async with asyncio.timeout(WAIT):
        while True:
            with suppress(websockets.InvalidStatus):  # until it knows that they have gone
                async with _socket(house, cookie) as socket:
                    await _first(socket)
                    break


@pytest.mark.parametrize(
    ("cookie", "headers"),
    [
        ("", {}),
        ("everystall=not-one", {}),
        (None, {"Origin": "http://evil.example"}),
        (None, {"Host": "evil.example", "Origin": "http://evil.example"}),
        (None, {"Sec-Fetch-Site": "cross-site"}),
    ],
)
async def test_who_is_not_signed_in_or_not_a_page_of_ours_hears_nothing(house: House, cookie, headers):
    await house.person("alice")
    cookie = await _cookie(house, "alice") if cookie is None else cookie
    with pytest.raises((websockets.InvalidStatus, websockets.ConnectionClosed)):
        async with _socket(house, cookie, **headers) as socket:
            await socket.recv()


@pytest.mark.longer
async def test_who_signs_out_is_told_nothing_more(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("everystall.web.live.PING_SECONDS", 0.2)
    await house.person("alice")
    async with _socket(house, await _cookie(house, "alice")) as socket:
        await _first(socket)
        await house.rows("DELETE FROM api_tokens")
        await asyncio.wait_for(socket.wait_closed(), WAIT)
        assert socket.close_code == 1008


async def test_the_same_comes_as_a_stream(house: House):
    alice = await house.person("alice")
    id, listing = await _publication(house, alice)
    headers = {"Cookie": await _cookie(house, "alice")}
    async with (
        httpx.AsyncClient(base_url=house.url, headers=headers, timeout=WAIT) as client,
        client.stream("GET", "/live/events") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert json.loads((await anext(lines)).removeprefix("data: ")) == {"listings": ["*"]}
        await _ask(house, id)
        async for line in lines:
            if line.startswith("data: ") and json.loads(line.removeprefix("data: ")) == {
                "listings": [listing]
            }:
                break


@pytest.mark.browser
@pytest.mark.longer
async def test_an_open_page_counts_what_waits_at_once_and_after_the_line_was_cut(house: House):
    alice = await house.person("alice")
    first, second = await _publication(house, alice), await _publication(house, alice)
    page = await house.signed_in("alice")
    count = page.locator(".side .count")
    await page.wait_for_timeout(500)
    assert await count.count() == 0
    await _ask(house, first[0])
    await count.wait_for(timeout=20_000)  # polling would be a minute
    assert (await count.inner_text()).startswith("1")
    await house.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    await _ask(house, second[0])  # while nobody listens
    await page.locator(".side .count", has_text="2").wait_for(timeout=15_000)


#: The page's lines, to be cut; and of each stall every number that was shown, in their order.
_WATCHED = """
    const Line = WebSocket;
    window.lines = []; window.shown = {};
    window.WebSocket = class extends Line {
      constructor(...given) { super(...given); window.lines.push(this) }
    };
    setInterval(() => { for (const one of document.querySelectorAll(".stall[data-seq]")) {
      const seen = window.shown[one.id] ??= [], seq = Number(one.dataset.seq);
      if (seen.at(-1) !== seq) seen.push(seq);
    } }, 10);
"""


@pytest.mark.browser
@pytest.mark.longer
@pytest.mark.parametrize("seed", [11, *(pytest.param(seed, marks=pytest.mark.extended) for seed in (12, 13))])
async def test_lines_cut_at_any_moment_leave_what_the_database_says_and_never_something_older(
    house: House, seed: int
):
    dice = Random(seed)
    alice, bob = await house.person("alice"), await house.person("bob")
    shirt = await listing(house, alice)
    mine = {
        name: await publication(house, alice, shirt, await account(house, alice, name, f"alice-{name}"))
        for name in ("poshmark", "mercari", "ebay")
    }
    hers, _ = await _publication(house, bob)
    page = await (await house.context()).new_page()
    await page.add_init_script(_WATCHED)
    await sign_in(page, "alice")
    await page.goto(f"/listings/{shirt}/stalls")
    await page.wait_for_timeout(500)
    for _ in range(60):
        match dice.choice(("line", "database", "", "", "")):
            case "line":
                await page.evaluate("window.lines.forEach(one => one.close())")
            case "database":
                await _cut_the_line(house)
        for id in (*mine.values(), hers):
            await house.rows(
                "UPDATE publications SET state = :state WHERE id = :id",
                state=dice.choice(("waiting", "composing", "filling")), id=id,
            )  # fmt: skip
        await asyncio.sleep(dice.random() / 3)
    await page.evaluate("window.lines.forEach(one => one.close())")
    await _cut_the_line(house)
    for id in mine.values():  # while nobody is told
        await house.rows("UPDATE publications SET state = 'armed' WHERE id = :id", id=id)
    async with house.database.as_user(alice) as session:
        rows = (await session.scalars(select(Publication))).all()
    said = {row.marketplace: (str(row.version), word_of(row)[1]) for row in rows}
    for name, (seq, word) in said.items():
        stall = page.locator(f"#bp_{name}_alice-{name}[data-seq='{seq}']")
        await stall.wait_for(timeout=20_000)  # asking every so often would be half a minute
        assert await stall.locator(".chip").first.inner_text() == word
    seen = await page.evaluate("window.shown")
    assert set(seen) == {f"bp_{name}_alice-{name}" for name in mine}
    for shown in seen.values():
        assert len(shown) > 2
        assert all(earlier < later for earlier, later in pairwise(shown)), shown


#: As behind a proxy that does not know WebSockets.
REFUSED = "setTimeout(() => this.onclose({code: 1006}), 10)"
#: And behind one that lets them open, and drops them: what the server said at first came through.
DROPPED = (
    'setTimeout(() => { this.onopen?.({}); this.onmessage({data: \'{"listings": ["*"]}\'}) }, 10);'
    "setTimeout(() => this.onclose({code: 1006}), 30)"
)


async def _page_without_websockets(house: House, does: str) -> Page:
    page = await (await house.context()).new_page()
    await page.add_init_script(f"window.WebSocket = class {{ constructor() {{ {does} }} close() {{}} }}")
    return page


async def _is_told_of_hers(house: House, page: Page, hers: str, others: str) -> None:
    await _ask(house, others)
    await _ask(house, hers)
    await page.locator(".side .count").wait_for(timeout=20_000)
    assert (await page.locator(".side .count").inner_text()).startswith("1")


@pytest.mark.browser
@pytest.mark.longer
@pytest.mark.parametrize("does", [REFUSED, DROPPED], ids=["refused", "dropped"])
async def test_where_no_websocket_gets_through_the_page_is_told_all_the_same(house: House, does: str):
    alice, bob = await house.person("alice"), await house.person("bob")
    id, _ = await _publication(house, alice)
    others, _ = await _publication(house, bob)
    page = await _page_without_websockets(house, does)
    await sign_in(page, "alice")
    async with page.expect_request("**/live/events", timeout=15_000):
        pass
    await page.wait_for_timeout(500)
    await _is_told_of_hers(house, page, id, others)


@pytest.mark.browser
@pytest.mark.longer
async def test_where_nothing_gets_through_the_steps_of_a_post_are_shown_within_seconds(house: House):
    """Neither a WebSocket nor the stream, which a proxy keeps open and mute."""
    alice, _ = await house.person("alice"), await house.person("bob")
    id, shirt = await _publication(house, alice)
    await house.rows("UPDATE publications SET state = 'composing' WHERE id = CAST(:id AS uuid)", id=id)
    page = await _page_without_websockets(house, REFUSED)
    await page.route("**/live/events", lambda route: None)
    await sign_in(page, "alice")
    await page.goto(f"/listings/{shirt}/stalls")
    for state, said in (("filling", "Filling in"), ("reconciling", "Sent, looking for it")):
        await house.rows("UPDATE publications SET state = :state WHERE id = CAST(:id AS uuid)",
                         id=id, state=state)  # fmt: skip
        await page.locator(".stall", has_text=said).wait_for(timeout=12_000)


@pytest.mark.browser
@pytest.mark.longer
async def test_a_stream_that_was_answered_with_an_error_begins_again(house: House):
    alice, bob = await house.person("alice"), await house.person("bob")
    id, _ = await _publication(house, alice)
    others, _ = await _publication(house, bob)
    page = await _page_without_websockets(house, REFUSED)
    # as a proxy's 502, after which no browser asks again by itself
    await page.route("**/live/events", lambda route: route.fulfill(status=429), times=1)
    await sign_in(page, "alice")
    async with page.expect_response("**/live/events", timeout=15_000) as first:
        pass
    assert (await first.value).status == 429
    async with page.expect_response("**/live/events", timeout=15_000) as second:
        pass
    assert (await second.value).status == 200
    await _is_told_of_hers(house, page, id, others)


@pytest.mark.browser
@pytest.mark.longer
async def test_where_websockets_held_and_then_never_again_the_events_are_streamed(house: House):
    """As on a computer that is carried to where a proxy breaks them."""
    alice, bob = await house.person("alice"), await house.person("bob")
    id, _ = await _publication(house, alice)
    others, _ = await _publication(house, bob)
    page = await (await house.context()).new_page()
    lines: list[WebSocketRoute] = []

    async def through(line: WebSocketRoute) -> None:
        if lines:
            await line.close()
        else:
            line.connect_to_server()
        lines.append(line)

    await page.route_web_socket("**/live", through)
    # a line has held after 15 seconds; here they are half of one
    await page.add_init_script(
        "const now = performance.now.bind(performance); performance.now = () => now() * 30"
    )
    await sign_in(page, "alice")
    while not lines:
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    await _is_told_of_hers(house, page, id, others)
    async with page.expect_request("**/live/events", timeout=60_000):
        await lines[0].close()
    assert len(lines) == 5


@pytest.mark.browser
@pytest.mark.longer
async def test_a_tab_in_the_back_gives_its_stream_up_and_has_one_again_in_front(house: House):
    """Over HTTP/1.1 a browser has six connections to a host: the seventh such tab could show nothing."""
    alice, bob = await house.person("alice"), await house.person("bob")
    id, _ = await _publication(house, alice)
    others, _ = await _publication(house, bob)
    page = await _page_without_websockets(house, REFUSED)
    await sign_in(page, "alice")
    async with page.expect_request("**/live/events", timeout=15_000):
        pass
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    async with page.expect_event("requestfailed", lambda one: one.url.endswith("/live/events"), timeout=5000):
        await page.evaluate(hide, True)
    async with page.expect_request("**/live/events", timeout=15_000):
        await page.evaluate(hide, False)
    await page.wait_for_timeout(500)
    await _is_told_of_hers(house, page, id, others)


@pytest.mark.browser
@pytest.mark.longer
async def test_a_list_of_all_asks_every_two_seconds_at_most_and_shows_the_last_change(house: House):
    alice, bob = await house.person("alice"), await house.person("bob")
    id, _ = await _publication(house, alice)
    others, _ = await _publication(house, bob)
    page = await house.signed_in("alice")
    await page.goto("/inventory")
    await page.wait_for_timeout(500)
    for tries in range(1, 17):
        await house.rows("UPDATE publications SET tries = :tries WHERE id = :id", tries=tries, id=id)
        await asyncio.sleep(0.25)
    await _ask(house, others)
    await _ask(house, id)
    await page.locator("#results .chip", has_text="Needs you").wait_for(timeout=20_000)
    assert await page.locator("#results tbody tr").count() == 1
    asked = await page.evaluate(
        "performance.getEntriesByType('resource').filter(one => one.initiatorType === 'xmlhttprequest'"
        " && new URL(one.name).pathname.endsWith('/inventory')).map(one => one.startTime)"
    )
    assert len(asked) > 1
    assert all(later - earlier > 1900 for earlier, later in pairwise(asked)), asked


@pytest.mark.browser
@pytest.mark.longer
async def test_a_row_goes_on_changing_after_a_match_was_undone(house: House):
    alice, bob = await house.person("alice"), await house.person("bob")
    kept, listing = await _publication(house, alice)
    came, later = await _publication(house, alice)
    await _publication(house, bob)
    for tries in range(1, 6):  # what came along was changed more often than what was there
        await house.rows(
            "UPDATE publications SET listing_id = :listing, tries = :tries WHERE id = :id",
            listing=listing, tries=tries, id=came,
        )  # fmt: skip
    page = await house.signed_in("alice")
    await page.goto("/inventory")
    assert await page.locator("#results tbody tr").count() == 2
    await page.wait_for_timeout(500)
    await house.rows("UPDATE publications SET listing_id = :later WHERE id = :id", later=later, id=came)
    await _ask(house, kept)
    row = page.locator(f'#results tr[data-key="{listing}"]')
    await row.locator(".chip", has_text="Needs you").wait_for(timeout=20_000)


LOOKS = [
    pytest.param("light", 1440, id="desk"),
    pytest.param("dark", 390, id="phone", marks=pytest.mark.longer),
]


async def _cut_the_line(house: House) -> None:
    """Nobody listens for a second, and what is told meanwhile nobody hears."""
    await house.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")


async def _top(page: Page, of: str) -> float:
    return float(await page.locator(of).evaluate("one => one.getBoundingClientRect().top"))


@pytest.mark.longer
@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_an_account_moves_by_itself_around_what_its_seller_is_at(house: House, scheme: str, width: int):
    alice, bob = await house.person("alice"), await house.person("bob")
    hers = await account(house, alice, "poshmark", "alices_closet")
    await account(house, bob, "poshmark", "bobs_closet")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/connections")
    row, said = page.locator(f"#{hers}"), page.locator("#said")
    await row.get_by_text("Name, pace and defaults").click()
    await row.get_by_label("Your name for it").fill("The closet")
    await page.wait_for_timeout(500)
    before = await _top(page, f"#{hers}-label")
    await house.rows("UPDATE connections SET last_visit_at = now()")
    await row.get_by_text("just now").first.wait_for(timeout=20_000)  # polling would be half a minute
    await house.rows("UPDATE connections SET paused_at = now()")
    await row.locator(".chip", has_text="Paused").wait_for(timeout=20_000)
    assert "Poshmark, alices_closet: Paused." in await said.inner_text()
    await _cut_the_line(house)
    await house.rows(NEEDS_YOU, user=alice)
    await row.locator(".chip", has_text="Needs you").wait_for(timeout=15_000)
    await page.locator("nav .count").wait_for(state="attached", timeout=20_000)
    for words in ("Poshmark, alices_closet: Needs you.", "1 thing waits for you."):
        assert words in await said.inner_text()
    await account(house, alice, "ebay", "alice-sells")
    await page.locator("#ebay .account").wait_for(timeout=20_000)
    assert "eBay, alice-sells: Connected" in await said.inner_text()
    label = row.get_by_label("Your name for it")
    assert abs(await _top(page, f"#{hers}-label") - before) < 2
    assert await label.input_value() == "The closet"
    assert await label.evaluate("one => one === document.activeElement")
    await row.get_by_role("button", name="Go on").first.focus()
    await house.rows("UPDATE connections SET needs_you = NULL, paused_at = NULL")
    await row.locator(".chip", has_text="Connected").wait_for(timeout=20_000)
    assert "bobs_closet" not in await page.content()


@pytest.mark.longer
@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_first_account_comes_up_whatever_has_the_focus(house: House, scheme: str, width: int):
    alice, bob = await house.person("alice"), await house.person("bob")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/connections")
    await passes(page, "connections-none")
    await page.get_by_role("link", name="Get the extension").focus()
    await page.wait_for_timeout(500)
    await account(house, bob, "mercari", "bob_sells")
    hers = await account(house, alice, "ebay", "alice-sells")
    await page.locator(f"#{hers}").wait_for(timeout=20_000)
    await page.get_by_role("heading", name="Connect another account").wait_for(timeout=20_000)
    assert await page.locator("[data-rows=how-first] a").first.evaluate("it => it === document.activeElement")
    await page.get_by_role("button", name="Sign in here to Mercari").focus()
    await house.rows("UPDATE connections SET paused_at = now()")
    await page.locator(f"#{hers} .chip", has_text="Paused").wait_for(timeout=20_000)
    assert await page.get_by_role("heading", name="Connect your first account").count() == 0
    await passes(page, "connections-first-came")
    assert "bob_sells" not in await page.content()


@pytest.mark.longer
@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_a_sale_comes_up_and_its_times_fill_in_where_the_seller_reads(
    house: House, scheme: str, width: int
):
    alice, bob = await house.person("alice"), await house.person("bob")
    ebay, others = await account(house, alice, "ebay", "alice"), await account(house, bob, "ebay", "bob")
    for number in range(12):
        await _sold(house, alice, ebay, f"Earlier {number}")
    shirt = await _sold(house, alice, ebay, "Linen shirt")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/sales")
    rows, said = page.locator(".sold > li"), page.locator("#said")
    assert await rows.count() == 13
    await page.wait_for_timeout(500)
    await _taken_down(house, alice, shirt)
    down = rows.filter(has_text="Linen shirt").locator("details")
    await down.wait_for(timeout=20_000)  # polling would be a minute
    assert (await said.inner_text()).endswith("Linen shirt, Mercari: being taken down.")
    await down.locator("summary").click()
    await down.locator("summary").scroll_into_view_if_needed()
    before = await _top(page, ".sold details summary")
    await house.rows("UPDATE take_downs SET started_at = clock_timestamp()")
    await down.locator("dd .quiet").nth(1).wait_for(state="detached", timeout=20_000)  # only "Gone" is left
    await _sold(house, bob, others, "Bob's hat")
    await _sold(house, alice, ebay, "Wool hat")
    await rows.first.get_by_text("Wool hat", exact=True).wait_for(timeout=20_000)
    assert (await said.inner_text()).endswith("Sold on eBay: Wool hat.")
    assert "14 orders" in await page.locator(".takings").first.inner_text()
    assert abs(await _top(page, ".sold details summary") - before) < 2
    await _cut_the_line(house)
    await house.rows("UPDATE take_downs SET gone_at = clock_timestamp()")
    await down.get_by_text("gone after").wait_for(timeout=15_000)
    assert await down.locator("dd .quiet").count() == 0
    assert await down.locator("summary").evaluate("one => one === document.activeElement")
    assert await down.get_attribute("open") is not None
    assert "Linen shirt, Mercari: gone after" in await said.inner_text()
    assert await rows.count() == 14
    assert "Bob's hat" not in await page.content()


@pytest.mark.longer
async def test_a_time_is_said_by_the_server_as_the_pages_script_says_it(house: House):
    """Else all below it moves as soon as that runs."""
    alice = await house.person("alice")
    for seconds in (1, 100, 3600, 90_000, 259_200, 700_000, -18_000):
        await house.rows(
            "INSERT INTO listings (user_id, updated_at) VALUES (:user, now() - CAST(:age AS interval))",
            user=alice, age=timedelta(seconds=seconds),
        )  # fmt: skip
    found = await house.rows("SELECT id FROM listings ORDER BY updated_at")
    page = await house.signed_in("alice")
    for (id,) in [tuple(row.values()) for row in found]:
        await page.goto(f"/listings/{id}")
        said = page.locator("#saved time")
        await page.wait_for_function("document.querySelector('#saved time').title.match(/[AP]M$/)")
        served = await (await page.request.get(f"/listings/{id}", headers={"Accept": "text/html"})).text()
        (there,) = re.findall(r'id="saved"[^>]*>Saved <time[^>]*>([^<]+)<', served)
        assert await said.text_content() == there


@pytest.mark.browser
@pytest.mark.longer
async def test_that_no_worker_runs_goes_from_an_open_page_seconds_after_one_does(house: House, monkeypatch):
    alice, bob = await house.person("alice"), await house.person("bob")
    for who in (alice, bob):
        on = await account(house, who, "ebay", f"{who}"[:8])
        await publication(house, who, await listing(house, who), on, state="live", put="live")
    monkeypatch.setattr(numbers, "NONE_SECONDS", -1.0)
    pages = [await house.signed_in(name) for name in ("alice", "bob")]
    for page in pages:
        assert await page.locator("[data-live=status]").get_attribute("data-every") == "30"
        await page.get_by_text("No worker of Everystall runs now").wait_for()
    monkeypatch.setattr(numbers, "NONE_SECONDS", 1e9)
    for page in pages:
        await page.get_by_text("No worker of Everystall runs now").wait_for(state="detached", timeout=15_000)

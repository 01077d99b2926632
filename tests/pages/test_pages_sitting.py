"""The page on which a seller sees a worker's browser: mouse, wheel, keys and text go there while it is their
turn, and only then; whoever opens it elsewhere takes it along. The worker's side here is a seat at a page of
ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import websockets
from playwright.async_api import Page as RawPage
from sqlalchemy import event
from websockets.asyncio.client import ClientConnection, connect

from everystall.browser.page import Page
from everystall.browser.screen import Screen
from everystall.browser.targets import Site
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.web import sittings
from everystall.worker.seats import Seat, Seats
from tests.pages.conftest import House, visiting
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser

SHOP = """<!doctype html><title>Shop</title><style>
body{margin:0;font:17px system-ui;background:#fff;color:#222;min-height:2600px}
header{background:#7b1650;color:#fff;padding:16px 24px;font-weight:700}
form{max-width:340px;margin:36px auto;padding:0 20px;display:grid;gap:10px}
input,button{font:inherit;padding:10px;border:1px solid #999;border-radius:6px;width:100%}
*{box-sizing:border-box}
button{background:#7b1650;color:#fff}</style>
<header>Poshmark</header><form><h1>Log in</h1>
<label for=name>Username or e-mail</label><input id=name>
<label for=word>Password</label><input id=word type=password><button type=button id=go>Log in</button></form>
<script>document.querySelector('#go').onclick = () => document.title = 'Clicked'</script>"""
WHO = {"reason": "challenge", "message": "Poshmark asks whether you are a robot.", "url": None, "actions": []}


@dataclass
class Desk:
    """A sitting of Alice's, and the page at the worker's."""

    house: House
    seats: Seats
    id: UUID
    there: RawPage
    seat: Seat

    async def serve(self) -> None:
        await self.house.rows(
            "UPDATE sittings SET address = :address, opened_at = now() WHERE id = :id",
            id=self.id, address=self.seats.address,
        )  # fmt: skip
        await self.seat.turn_to("yours", "Poshmark asks you to sign in.")

    async def end(self, outcome: str, said: str) -> None:
        await self.house.rows(
            "UPDATE sittings SET ended_at = now(), address = NULL, outcome = :outcome, said = :said "
            "WHERE id = :id", id=self.id, outcome=outcome, said=said,
        )  # fmt: skip
        await self.seat.leave()


@pytest.fixture
async def desk(house: House) -> AsyncIterator[Desk]:
    alice = await house.person("alice")
    (account,) = await house.rows(
        "INSERT INTO connections (user_id, public_id, marketplace, account_name, base_url, needs_you) VALUES "
        "(:u, 'bp_poshmark_a', 'poshmark', 'alices_closet', 'https://poshmark.com', CAST(:asks AS jsonb)) "
        "RETURNING id",
        u=alice, asks=json.dumps(WHO),
    )  # fmt: skip
    (row,) = await house.rows(
        "INSERT INTO sittings (user_id, connection_id, purpose, asked_by, until) VALUES "
        "(:u, :c, 'challenge', 'Firefox on Linux', now() + interval '10 minutes') RETURNING id",
        u=alice, c=account["id"],
    )  # fmt: skip
    there = await (await house.browser.new_context(viewport={"width": 1280, "height": 900})).new_page()
    await there.set_content(SHOP)
    page = Page(there, site=Site((), ()), base_url="https://poshmark.com", settings=house.settings)
    seat = Seat(alice, account["id"], Screen(page))
    seats = Seats(house.database, Vault(house.database, Keyring.load(house.settings), house.settings),
                  house.settings)  # fmt: skip
    async with seats.open():
        with seats.seat(row["id"], seat):
            yield Desk(house, seats, row["id"], there, seat)
    await there.context.close()


async def _at(page: Any, desk: Desk, selector: str) -> tuple[float, float]:
    box = await desk.there.locator(selector).bounding_box()
    canvas = await page.locator("canvas").bounding_box()
    size = desk.there.viewport_size
    return (
        canvas["x"] + (box["x"] + box["width"] / 2) * canvas["width"] / size["width"],
        canvas["y"] + (box["y"] + box["height"] / 2) * canvas["height"] / size["height"],
    )


async def _until(page: Any, expression: str, value: Any) -> None:
    async with asyncio.timeout(20):
        while (found := await page.evaluate(expression)) != value:
            assert not isinstance(found, Exception)
            await asyncio.sleep(0.05)


@pytest.mark.longer
async def test_what_the_seller_does_reaches_the_page_on_their_turn_only(desk: Desk):
    page = await desk.house.signed_in("alice", viewport={"width": 1440, "height": 1000})
    await page.goto(f"/sittings/{desk.id}")
    assert await page.get_by_text("Opening a browser for you").is_visible()
    await desk.serve()
    await page.locator("[data-turn=yours][data-shows]").wait_for()
    name = "document.querySelector('#name').value"
    await page.mouse.click(*await _at(page, desk, "#name"))
    await page.keyboard.type("alicex")
    await page.keyboard.press("Backspace")
    await _until(desk.there, name, "alice")
    await page.keyboard.press("Control+a")
    await page.keyboard.insert_text("mail@example.com, pasted")
    await _until(desk.there, name, "mail@example.com, pasted")
    await page.keyboard.press("Tab")
    await page.keyboard.type("a word")
    await _until(desk.there, "document.querySelector('#word').value", "a word")
    await page.keyboard.press("Shift+Tab")
    await _until(desk.there, "document.activeElement.id", "name")
    assert await page.locator("#keys").input_value() == "·"
    await page.mouse.click(*await _at(page, desk, "#go"))
    await _until(desk.there, "document.title", "Clicked")
    await page.mouse.wheel(0, 400)
    await _until(desk.there, "scrollY > 200", True)
    await page.keyboard.press("Escape")
    assert await page.evaluate("document.activeElement.dataset.do") == "done"
    await page.get_by_role("button", name="I am done").click()
    await asyncio.wait_for(desk.seat.done.wait(), 10)
    # our turn: nothing reaches it, even from a page that does not know yet
    await desk.seat.turn_to("ours", "We look whether it is done.")
    await page.locator("[data-turn=ours]").wait_for()
    before = await desk.there.evaluate(name)
    await page.evaluate("document.querySelector('.sitting').dataset.turn = 'yours'")
    await page.evaluate("document.querySelector('#keys').disabled = false")
    await page.locator("#keys").focus()
    await page.keyboard.type("late")
    await desk.seat.turn_to("yours", "It is not done yet.")
    await page.get_by_text("It is not done yet.").wait_for()
    assert await desk.there.evaluate(name) == before
    await desk.end("done", "Poshmark lets us in again.")
    await page.get_by_text("Poshmark lets us in again.").wait_for()


@pytest.mark.longer
async def test_who_opens_it_elsewhere_takes_it_along(desk: Desk):
    await desk.serve()
    desk_page = await desk.house.signed_in("alice")
    await desk_page.goto(f"/sittings/{desk.id}")
    await desk_page.locator("[data-turn=yours][data-shows]").wait_for()
    phone = await desk.house.signed_in("alice", viewport={"width": 390, "height": 844}, has_touch=True)
    await phone.goto(f"/sittings/{desk.id}")
    await phone.locator("[data-turn=yours][data-shows]").wait_for()
    await desk_page.get_by_text("in another tab or on another device").wait_for()
    assert await phone.locator("[data-turn=yours]").is_visible()


async def _wanted(house: House, name: str) -> tuple[UUID, str]:
    """Somebody's sitting that waits for a worker, and the cookie of their browser."""
    (row,) = await house.rows(
        "WITH c AS (INSERT INTO connections (user_id, public_id, marketplace, base_url) VALUES "
        "(:u, :p, 'poshmark', 'https://poshmark.com') RETURNING id) "
        "INSERT INTO sittings (user_id, connection_id, purpose, asked_by, until) "
        "SELECT :u, id, 'challenge', 'x', now() + interval '10 minutes' FROM c RETURNING id",
        u=await house.person(name), p=f"bp_{name}",
    )  # fmt: skip
    async with visiting(house, name) as visitor:
        return row["id"], "; ".join(f"{one.name}={one.value}" for one in visitor.client.cookies.jar)


def _sit(house: House, id: UUID, cookie: str) -> connect:
    where = f"{house.url.replace('http', 'ws')}/sittings/{id}/live"
    return connect(where, additional_headers={"Cookie": cookie, "Origin": house.url}, proxy=None)


async def _waits(socket: ClientConnection) -> bool:
    return "wait" in json.loads(await asyncio.wait_for(socket.recv(), 20))


@pytest.mark.longer
async def test_more_pages_than_a_seller_needs_are_told_so_and_others_still_sit(house: House):
    (hers, alice), (his, bob) = await _wanted(house, "alice"), await _wanted(house, "bob")
    there = [await _sit(house, hers, alice) for _ in range(sittings.MOST_PAGES)]
    for one in there:
        assert await _waits(one)
    async with _sit(house, hers, alice) as refused:
        with pytest.raises(websockets.ConnectionClosed):
            await _waits(refused)
        assert (refused.close_code, refused.close_reason) == (1013, sittings.TOO_MANY)
    async with _sit(house, his, bob) as other:
        assert await _waits(other)
    with pytest.raises(websockets.InvalidStatus):  # hers is none of his
        await _sit(house, hers, bob)
    page = await house.signed_in("alice")
    await page.goto(f"/sittings/{hers}")
    await page.get_by_text("Too many of your pages").wait_for()
    await there.pop().close()
    async with asyncio.timeout(20):
        again = False
        while not again:  # until it knows that one has gone
            async with _sit(house, hers, alice) as socket:
                with suppress(websockets.ConnectionClosed):
                    again = await _waits(socket)
    for one in there:
        await one.close()


@pytest.mark.longer
async def test_a_page_that_waits_for_a_worker_looks_once_a_second(house: House):
    looks = 0

    def count(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        nonlocal looks
        looks += "FROM sittings" in statement

    engine = house.database.engine.sync_engine
    async with _sit(house, *await _wanted(house, "alice")) as socket:
        assert await _waits(socket)
        event.listen(engine, "before_cursor_execute", count)
        await asyncio.sleep(5)
        event.remove(engine, "before_cursor_execute", count)
    assert 1 <= looks <= 6


@pytest.mark.longer
async def test_who_signs_out_sees_no_more_of_it(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("everystall.web.sittings.SIGNED_IN_SECONDS", 0.2)
    await desk.serve()
    page = await desk.house.signed_in("alice")
    await page.goto(f"/sittings/{desk.id}")
    await page.locator("[data-turn=yours][data-shows]").wait_for()
    await desk.house.rows("DELETE FROM api_tokens")
    await page.get_by_label("E-mail address").wait_for(timeout=40_000)
    assert not desk.seat.attended


@pytest.mark.longer
async def test_where_no_websocket_gets_through_it_is_said_and_not_tried_for_ever(desk: Desk):
    await desk.house.rows("UPDATE users SET role = 'owner'")
    page = await desk.house.signed_in("alice")
    await page.add_init_script(  # as behind a proxy that does not know them
        "window.WebSocket = class { constructor() { setTimeout(() => this.onclose({code: 1006}), 10) }"
        " close() {} }; const later = setTimeout;"
        " window.setTimeout = (what, ms) => later(what, Math.min(ms, 100))"
    )
    await page.goto(f"/sittings/{desk.id}")
    said = page.locator("#no-way")
    await said.get_by_text("may not pass WebSockets on").wait_for()
    assert await said.get_by_role("link", name="Connection check").is_visible()
    assert await said.get_by_role("link", name="The extension").is_visible()
    assert await page.get_by_text("No connection to the browser came about.").is_visible()
    await desk.house.person("bob")
    bobs = await desk.house.signed_in("bob")
    answer = await bobs.goto(f"/sittings/{desk.id}")
    assert answer is not None
    assert answer.status == 404


async def test_without_a_script_it_is_said_and_can_be_closed(desk: Desk):
    other = await desk.house.signed_in("alice", java_script_enabled=False)
    await other.goto(f"/sittings/{desk.id}")
    assert await other.get_by_text("This page needs a script.").is_visible()
    await other.get_by_role("button", name="Close the browser").click()
    assert await other.get_by_text("The browser is closed.").is_visible()
    await other.get_by_role("button", name="Open it again").click()
    await other.wait_for_url("**/sittings/*")
    assert str(desk.id) not in other.url
    rows = await desk.house.rows("SELECT outcome FROM sittings ORDER BY asked_at")
    assert [row["outcome"] for row in rows] == ["closed", None]


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_pages_of_a_sitting(desk: Desk, scheme: str, width: int):
    page = await desk.house.signed_in("alice", **look(scheme, width))
    await page.goto(f"/sittings/{desk.id}")
    await passes(page, "sitting-waits")
    await desk.serve()
    await page.locator("[data-turn=yours][data-shows]").wait_for()
    await page.locator(".more summary").click()
    await asyncio.sleep(0.5)
    await passes(page, "sitting")
    await desk.end("left", "Nobody did anything for ten minutes, so the browser was closed.")
    await page.get_by_role("button", name="Open it again").wait_for()
    await passes(page, "sitting-ended")
    await page.goto("/account#sittings")
    await passes(page, "account-sittings")
    await page.goto("/connections")
    await passes(page, "connections-sitting")
    await page.goto("/needs-you")
    await passes(page, "needs-you-sitting")

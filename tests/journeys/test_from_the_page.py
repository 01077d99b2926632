"""Posted, answered and taken down by the buttons of the pages; the marketplaces' ledger says what came of
it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from everystall.web.browsers import cookie_name, open_browser
from tests.journeys.conftest import Seller, Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser]


class Reader:
    """A signed-in browser without scripts, by its cookie."""

    def __init__(self, seller: Seller, cookie: str) -> None:
        self.seller, self.headers = (
            seller,
            {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"},
        )

    @classmethod
    async def of(cls, stall: Stall, seller: Seller) -> Reader:
        async with stall.tools.db.as_user(seller.user_id) as session:
            token, _ = await open_browser(session, seller.user_id, None)
        return cls(seller, f"{cookie_name(stall.settings)}={token}")

    async def read(self, path: str) -> str:
        answer = await self.seller.client.get(path, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def send(self, path: str, page: str, **fields: Any) -> str:
        """A form of that page; where it leads."""
        csrf = re.search(r'name="csrf" value="(\w+)"', page)
        assert csrf is not None
        answer = await self.seller.client.post(path, data={"csrf": csrf[1], **fields}, headers=self.headers)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])


def _chips(page: str) -> list[str]:
    """All but those that say that it is practice."""
    chips = re.findall(r'class="chip" data-tone="\w+">([^<]+)<', page)
    return [one for one in chips if one != "Practice"]


@pytest.mark.longer
async def test_pressed_twice_it_is_posted_once_read_back_and_taken_down(stall: Stall, alice: Seller):
    mercari, poshmark = await stall.connect(alice, "mercari"), await stall.connect(alice, "poshmark")
    listing = await stall.listing(alice)
    reader, where = await Reader.of(stall, alice), f"/listings/{listing}/stalls"
    page = await reader.read(where)
    assert sorted(re.findall(r'name="account" value="(\w+)" checked', page)) == sorted([mercari, poshmark])
    key = re.search(r'name="key" value="(\w+)"', page)
    assert key is not None
    form = {"key": key[1], "account": [mercari, poshmark]}
    await asyncio.gather(*(reader.send(f"{where}/post", page, **form) for _ in range(2)))
    (job,) = await stall.rows("SELECT id FROM jobs")
    page = await reader.read(where)
    assert _chips(page) == ["Waiting", "Waiting", "No account yet"]
    done = await stall.until_done(alice, job["id"], mercari, poshmark)
    assert done["status"] == "done", done
    page = await reader.read(where)
    assert _chips(page) == ["Live", "Live", "No account yet"]
    for row in await stall.rows("SELECT url FROM publications"):
        assert f'href="{row["url"]}"' in page
    assert page.count("Its page was read back") == 2
    assert page.count('target="_blank"') == 2

    await reader.send(where, page, account=mercari, action="end")
    assert "Taking down" in await reader.read(where)
    await stall.visit(mercari, lane="urgent")
    assert _chips(await reader.read(where)) == ["Live", "Ended", "No account yet"]
    assert stall.live("mercari") == []
    assert len(stall.live("poshmark")) == 1
    for marketplace in ("mercari", "poshmark"):
        assert len(stall.events(marketplace, "published")) == 1


@pytest.mark.extended
async def test_a_question_comes_up_with_a_picture_of_the_page_and_is_answered_there(
    stall: Stall, alice: Seller
):
    mercari = await stall.connect(alice, "mercari")
    listing = await stall.listing(alice)
    job = await stall.post(alice, listing, ["mercari"])
    stall.sandbox.fault("mercari", kind="captcha", times=1000, path="/sell/")
    done = await stall.until_done(alice, job["jobId"], mercari)
    assert done["status"] == "needs_you", done
    reader = await Reader.of(stall, alice)
    page = await reader.read("/needs-you")
    assert "Mercari asks for a person" in page
    picture = re.search(r'src="(/needs-you/pictures/[0-9a-f-]+)"', page)
    assert picture is not None
    answer = await alice.client.get(picture[1], headers=reader.headers)
    assert answer.content.startswith(b"\x89PNG")
    stall.sandbox.clear_faults()  # the seller has answered it
    leads = await reader.send(
        "/needs-you/account", page, account=mercari, action="resume", reason="challenge", of=1
    )
    assert "did=resume" in leads
    assert "Nothing waits for you." in await reader.read(leads)
    await stall.visit(mercari)
    assert len(stall.live("mercari")) == 1
    assert "Live" in _chips(await reader.read(f"/listings/{listing}/stalls"))

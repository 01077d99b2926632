"""Pages are packed for our own pages and for a person's own hand, and how well says nothing of a secret."""

from __future__ import annotations

import re

import httpx

from everystall.web import browsers
from tests.pages.conftest import PASSWORD, furnish, visiting


async def test_the_proof_in_a_page_is_another_each_time_and_good_each_time(house):
    await house.person("alice")
    async with visiting(house, "alice") as alice:
        found = [re.search(r'name="csrf" value="(\w+)"', await alice.get("/account"))[1] for _ in range(2)]
        assert found[0] != found[1]
        for proof in found:
            answer = await alice.client.post("/theme", data={"csrf": proof, "theme": "dark"})
            assert answer.status_code == 200
        wrong = found[0][:-1] + ("0" if found[0][-1] != "0" else "1")
        for bad in (wrong, found[0][:64], found[0].upper(), "", "0" * 128):
            answer = await alice.client.post("/inventory/new", data={"csrf": bad})
            assert answer.status_code == 403
    assert await house.rows("SELECT 1 FROM listings") == []


def test_a_mask_comes_off_and_leaves_what_it_was():
    token = "0f" * 32
    assert len({browsers.masked(token) for _ in range(20)}) == 20
    assert browsers._unmasked(browsers.masked(token)) == token == browsers._unmasked(token)


async def test_who_asks_decides_whether_a_page_is_packed(house):
    await house.person("alice")
    async with visiting(house, "alice") as alice:
        for site in ("same-origin", "none", "cross-site", "same-site"):
            answer = await alice.client.get("/inventory", headers={"Sec-Fetch-Site": site})
            packed = answer.headers.get("content-encoding") == "gzip"
            assert packed == (site in ("same-origin", "none")), site
            assert "Sec-Fetch-Site" in answer.headers["vary"]
            assert "<h1>Inventory</h1>" in answer.text
        plain = await alice.client.get("/inventory", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
    async with httpx.AsyncClient(base_url=house.url, headers={"Accept": "text/html"}, timeout=60) as nobody:
        # a browser that does not say who asked, as all over plain http to another machine
        given = {"email": "alice@example.com", "password": PASSWORD}
        signed = await nobody.post("/sign-in", data=given, headers={"Origin": house.url})
        assert signed.status_code == 303
        nobody.headers["Cookie"] = signed.headers["set-cookie"].partition(";")[0]
        assert "<h1>Inventory</h1>" in (await nobody.get("/inventory")).text
        assert "content-encoding" not in (await nobody.get("/inventory")).headers


async def test_an_open_page_leaves_alone_what_says_the_same_with_another_proof(house):
    await furnish(house, await house.person("alice"))
    page = await house.signed_in("alice")
    await page.goto("/connections")
    await page.wait_for_load_state("networkidle")
    forms = "document.querySelector('[data-live=accounts] [data-key] form').closest('[data-key]')"
    await page.evaluate(f"{forms}.mark = 'the same'")
    async with page.expect_response(lambda answer: answer.request.headers.get("x-part") == "accounts"):
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.wait_for_timeout(500)
    assert await page.evaluate(f"{forms}.mark") == "the same"

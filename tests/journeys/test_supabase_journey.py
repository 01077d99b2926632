"""The whole way on a Supabase project: its database, and two of its people by their access tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.conftest import Urls
from tests.journeys.conftest import SHIRT, Seller, Stall
from tests.supabase import Auth, running

pytestmark = [pytest.mark.journey, pytest.mark.browser, pytest.mark.longer]


@pytest.fixture
def database_urls(supabase_urls: Urls) -> Urls:
    return supabase_urls


@pytest.fixture
async def auth(stall: Stall, alice: Seller) -> AsyncIterator[Auth]:
    async with running() as made:
        parts = _app(alice).state.parts
        parts.settings = parts.following.began = parts.settings.model_copy(update={"supabase_url": made.url})
        yield made


def _app(seller: Seller) -> Any:
    return seller.client._transport.app  # type: ignore[attr-defined]


async def test_a_person_of_supabases_posts_by_their_token_and_another_sees_nothing(
    stall: Stall, alice: Seller, auth: Auth
):
    ann, ben = (
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=_app(alice)), base_url="http://127.0.0.1", timeout=30,
            headers={"Authorization": f"Bearer {auth.token(name)}"},
        )
        for name in ("ann", "ben")
    )  # fmt: skip
    async with ann, ben:
        seller = Seller(auth.people["ann"], ann, "alice")
        profile = await stall.connect(seller, "mercari")
        listing = await stall.listing(seller)
        asked = await stall.post(seller, listing, ["mercari"])
        job = await stall.until_done(seller, asked["jobId"], profile, seconds=120)
        assert job["status"] == "done", job
        (item,) = stall.live("mercari")
        assert item["fields"]["title"] == SHIRT["title"]
        assert len(item["photos"]) == 2
        (row,) = await stall.rows("SELECT user_id FROM publications")
        assert row["user_id"] == auth.people["ann"]

        assert (await ben.get("/api/listings")).json()["listings"] == []
        for path in (f"/api/listings/{listing}", f"/api/jobs/{asked['jobId']}"):
            assert (await ann.get(path)).status_code == 200
            assert (await ben.get(path)).status_code == 404, path
        assert (await ben.get("/api/connections")).json()["connections"] == []

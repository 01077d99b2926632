"""What every adapter has to do alike, in a real Chromium against its practice site, whose ledger is the
judge. What only one of them does is tested beside it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Playwright, async_playwright

from everystall.browser.page import Page
from everystall.browser.session import Storage, open_browser
from everystall.inventory.sample import DEFAULTS
from everystall.marketplaces import MARKETPLACES, get_adapter, get_form
from everystall.marketplaces.base import Draft, ListingFacts, Money, Package, PhotoFacts, PhotoFile, Published
from everystall.sandbox.testing import Sandbox, sign_in_at, start_in_thread
from everystall.settings import Settings
from everystall.worker.compare import compare, differing
from tests.revising import revise

pytestmark = [
    pytest.mark.longer,
    # a browser for each of them, and all of its tests one after the other
    pytest.mark.parametrize("there", list(MARKETPLACES), indirect=True),
]
NEVER = datetime(2020, 1, 1, tzinfo=UTC)


def photo(place: int) -> PhotoFile:
    out = io.BytesIO()
    Image.effect_noise((320, 320), 60 + 40 * place).convert("RGB").save(out, "JPEG")
    return PhotoFile(f"photo-{place}.jpg", "image/jpeg", out.getvalue())


PHOTOS = [photo(place) for place in range(2)]
FACTS = ListingFacts(
    title="Linen shirt, hardly worn", description="A light linen shirt. Worn twice, washed cold, no flaws.",
    brand="Levi's", category="men.shirts.casual", size="M", condition="good", colors=("blue",),
    price=Money(amount=2500), shipping_payer="buyer", ships_from_zip="97205",
    package=Package(weight_oz=12, length_in=12, width_in=9, height_in=2),
    photos=tuple(PhotoFacts(sha256=str(n) * 64, width=800, height=800, content_type="image/jpeg")
                 for n in range(2)),
)  # fmt: skip


@dataclass
class There:
    """One practice marketplace, an account on it, and what the adapter told of."""

    name: str
    sandbox: Sandbox
    page: Page
    drafts: list[str] = field(default_factory=list)

    @property
    def adapter(self) -> Any:
        return get_adapter(self.name)

    def draft(self, **facts: Any) -> Draft:
        """As the worker would have it."""
        listing = FACTS.model_copy(update=facts)
        draft, problems, _ = get_form(self.name).compose(listing, DEFAULTS.get(self.name, {}))
        assert problems == []
        assert draft is not None
        marked = get_form(self.name).CAPABILITIES.marker_field
        return draft.model_copy(update={"sku": "A-17 ~K7Q2XM"}) if marked else draft

    async def post(self, draft: Draft) -> Published:
        async def arm(read: Any) -> None:
            assert differing(compare(draft, (await read()).fields)) == []

        async def drafted(draft_id: str) -> None:
            self.drafts.append(draft_id)

        return await self.adapter.publish(self.page, draft, PHOTOS, arm, drafted)  # type: ignore[no-any-return]

    def ledger(self) -> list[tuple[str, str]]:
        return [(one["listing_id"], one["state"]) for one in self.sandbox.ledger(self.name)["listings"]]

    def count(self, event: str) -> int:
        return sum(one["event"] == event for one in self.sandbox.ledger(self.name)["entries"])


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = start_in_thread()
    yield sandbox
    sandbox.stop()


@pytest.fixture(scope="module")
async def driver() -> AsyncIterator[Playwright]:
    async with async_playwright() as driver:
        yield driver


@pytest.fixture
async def there(
    request: Any, sandbox: Sandbox, driver: Playwright, tmp_path: Any
) -> AsyncIterator[There]:  # fmt: skip
    name = request.param
    sandbox.reset()
    settings = Settings(_env_file=None, everystall_home=tmp_path, page_seconds=20, locator_seconds=10)
    async with open_browser(
        site=get_adapter(name).site, base_url=sandbox.url(name), storage=Storage(), settings=settings,
        playwright=driver,
    ) as browser:  # fmt: skip
        await sign_in_at(browser.page.raw.context, sandbox.url(name), name, "ada")
        yield There(name, sandbox, browser.page)


async def test_a_listing_is_posted_read_back_found_changed_and_taken_down(there: There) -> None:
    draft = there.draft()
    id = (await there.post(draft)).remote_id
    assert there.ledger() == [(id, "live")]
    seen = await there.adapter.read(there.page, id)
    assert (seen.state, differing(compare(draft, seen.fields)), len(seen.photo_urls)) == ("live", [], 2)
    assert {"title", "price"} <= set(seen.fields)
    whole = await there.page.fetch(there.adapter.full_size(seen.photo_urls[0]))
    assert Image.open(io.BytesIO(whole)).size == (320, 320)

    (row,) = await there.adapter.find_active(there.page)
    assert (row.remote_id, row.state, row.title, row.price) == (id, "live", draft.title, draft.price)
    assert [one.remote_id for one in (await there.adapter.list_active(there.page, 1))[0]] == [id]

    other = there.draft(title="Linen shirt, never mended", price=Money(amount=1900))
    answer, _ = await revise(there.adapter, there.page, id, draft, other)
    assert answer.remote_id == id
    seen = await there.adapter.read(there.page, id)
    assert (seen.state, differing(compare(other, seen.fields))) == ("live", [])

    await there.adapter.delist(there.page, id)
    assert there.ledger() == [(id, "ended")]
    assert (await there.adapter.read(there.page, id)).state == "ended"
    await there.adapter.delist(there.page, id)
    assert (there.count("published"), there.count("edited"), there.count("ended")) == (1, 1, 1)


async def test_what_sells_is_an_order_and_what_is_cancelled_says_so(there: There) -> None:
    none: frozenset[str] = frozenset()
    assert await there.adapter.find_sales(there.page, known=none, since=NEVER) == []
    id = (await there.post(there.draft())).remote_id
    order = there.sandbox.buy(there.name, listing_id=id)["orders"][0]["order_id"]
    (sale,) = await there.adapter.find_sales(there.page, known=none, since=NEVER)
    assert (sale.remote_id, sale.title, sale.cancelled) == (id, FACTS.title, False)
    assert (await there.adapter.read(there.page, id)).state == "sold"
    await there.adapter.delist(there.page, id)
    assert there.ledger() == [(id, "sold")]
    there.sandbox.cancel(there.name, order)
    (again,) = await there.adapter.find_sales(there.page, known=none, since=NEVER)
    assert (again.order_id, again.cancelled) == (sale.order_id, True)

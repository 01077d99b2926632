import pytest
from playwright.async_api import async_playwright

from everystall.browser.session import Storage, open_browser
from everystall.marketplaces.ebay.adapter import ADAPTER
from everystall.sandbox.testing import sign_in_at, start_in_thread
from everystall.settings import Settings


@pytest.fixture(scope="session")
def ebay():
    """The practice eBay."""
    sandbox = start_in_thread()
    yield sandbox
    sandbox.stop()


@pytest.fixture(scope="session")
async def playwright():
    async with async_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    return Settings(_env_file=None, everystall_home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
async def browser(ebay, playwright, settings):
    async with open_browser(
        site=ADAPTER.site,
        base_url=ebay.url("ebay"),
        storage=Storage(),
        settings=settings,
        playwright=playwright,
    ) as browser:
        yield browser


@pytest.fixture
async def page(ebay, browser):
    """A page, signed in anew as ada in a new world."""
    ebay.reset()
    await browser.page.raw.context.clear_cookies()
    await sign_in_at(browser.page.raw.context, ebay.url("ebay"), "ebay", "ada")
    browser.navigations.clear()
    return browser.page

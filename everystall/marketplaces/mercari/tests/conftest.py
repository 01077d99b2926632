import pytest
from playwright.async_api import async_playwright

from everystall.browser.session import Storage, open_browser
from everystall.marketplaces.mercari.adapter import ADAPTER
from everystall.sandbox.testing import sign_in_at, start_in_thread
from everystall.settings import Settings


@pytest.fixture(scope="session")
def mercari():
    """The practice Mercari."""
    sandbox = start_in_thread()
    yield sandbox
    sandbox.stop()


@pytest.fixture(scope="session")
async def playwright():
    async with async_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    return Settings(_env_file=None, everystall_home=tmp_path_factory.mktemp("home"), page_seconds=6)


@pytest.fixture(scope="session")
async def browser(mercari, playwright, settings):
    base_url = mercari.url("mercari")
    async with open_browser(
        site=ADAPTER.site, base_url=base_url, storage=Storage(), settings=settings, playwright=playwright
    ) as browser:
        yield browser


@pytest.fixture
async def page(mercari, browser, playwright):
    """A page, signed in anew as ada in a new world."""
    mercari.reset()
    await browser.page.raw.context.clear_cookies()
    await sign_in_at(browser.page.raw.context, mercari.url("mercari"), "mercari", "ada")
    browser.navigations.clear()
    return browser.page

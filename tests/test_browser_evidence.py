"""Evidence shows what the page looked like and gives nobody's secret away."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from everystall.browser.evidence import capture, scrub
from everystall.browser.session import Storage, open_browser
from everystall.browser.targets import Site
from everystall.errors import MarketplaceBusy
from everystall.settings import Settings
from tests.browser_shop import shop

CANARY = "canary 4711 with blanks"
TOKEN = "eyJhbGciOiJIUzI1NiJ9abcdefghijklmnop"
PAGE = f"""<h1>Edit listing</h1>
    <p id=c>{CANARY}</p><p>ann@example.com</p><p>+1 (555) 123-4567</p><p>{TOKEN}</p>
    <label>Mail <input id=mail type=text value="ann@example.com"></label>
    <label>Word <input id=word type=password value="open sesame"></label>
    <label>Phone <input id=tel type=tel value="12"></label>
    <label>Title <input id=title value="Blue dress"></label>
    <iframe srcdoc="<p>{CANARY}</p>"></iframe>"""


@pytest.fixture
def settings(tmp_path):
    return Settings(_env_file=None, everystall_home=tmp_path / "home", page_seconds=5)


@pytest.fixture
async def opened(settings):
    given = Storage.from_json({"localStorage": {"token": CANARY}})
    with shop() as stall:
        stall.show("/sell", PAGE)
        async with open_browser(
            site=Site((), ()), base_url=stall.url(), storage=given, settings=settings
        ) as browser:
            await browser.page.goto(f"/sell?token={TOKEN}#frag")
            yield browser


class Kept(dict):
    """A store that keeps them here."""

    async def keep(self, name, data):
        self[name] = data


@pytest.mark.longer
@pytest.mark.browser
async def test_a_secret_is_in_no_file_of_the_evidence(opened):
    kept = Kept()
    got = await capture(opened.page, kept.keep, [CANARY, "short"])
    assert got["url"].endswith("/sell")
    assert set(kept) == {got["screenshot"], got["aria"]}
    outline = kept[got["aria"]].decode()
    assert "Edit listing" in outline
    assert "Blue dress" in outline
    for secret in (CANARY, TOKEN, "ann@example.com", "123-4567"):
        assert secret not in outline
    assert CANARY.encode() not in kept[got["screenshot"]]


@pytest.mark.longer
@pytest.mark.browser
async def test_the_picture_blots_what_is_private_and_shows_the_rest(opened):
    page, kept = opened.page, Kept()
    places = await page.read(
        "() => Object.fromEntries(['c', 'mail', 'word', 'tel', 'title'].map((id) => "
        "[id, document.getElementById(id).getBoundingClientRect().toJSON()]))"
    )
    frame = await page.read("() => document.querySelector('iframe').getBoundingClientRect().toJSON()")
    got = await capture(page, kept.keep, [CANARY])
    picture = Image.open(io.BytesIO(kept[got["screenshot"]])).convert("RGB")

    def colours(box, dx=0, dy=0):
        left, top = int(box["x"]) + 4 + dx, int(box["y"]) + 4 + dy
        return picture.crop((left, top, left + 40, top + 8)).getcolors(1000)

    for private in ("c", "mail", "word", "tel"):
        assert len(colours(places[private])) == 1, f"{private} can be read"
    assert len(colours(places["title"])) > 1
    assert len(colours(frame, dx=10, dy=20)) == 1, "the frame can be read"


@pytest.mark.longer
@pytest.mark.browser
async def test_evidence_of_a_browser_that_is_gone_is_an_error_of_ours(opened):
    await opened.page.raw.close()
    with pytest.raises(MarketplaceBusy):
        await capture(opened.page, Kept().keep, [])


def test_a_secret_within_a_longer_secret_leaves_no_part_of_it():
    assert scrub("x=abcdefgh-ijklmnop;", ["abcdefgh", "abcdefgh-ijklmnop"]) == "x=***;"
    assert scrub("price 25, size 10", ["25"]) == "price 25, size 10"

"""What an adapter may rely on: targets are found, obstacles are named, a commit is clicked once."""

from __future__ import annotations

import asyncio
import socket
import time
from email.utils import formatdate

import pytest

from everystall.browser.guard import Deadline
from everystall.browser.page import Page
from everystall.browser.session import open_browser
from everystall.browser.targets import Obstacle, Site, Target
from everystall.errors import (
    AccountLimited,
    ChallengeShown,
    LeaseLost,
    MarketplaceBusy,
    NotWanted,
    PageChanged,
    SessionExpired,
)
from everystall.marketplaces.base import PhotoFile
from everystall.settings import Settings
from tests.browser_shop import shop

pytestmark = pytest.mark.browser

SITE = Site(
    obstacles=(
        Obstacle(
            "login", "The shop asks you to sign in.", ("form#sign-in", "#sign-in-modal"), (r"/login\b",)
        ),
        Obstacle("captcha", "The shop asks whether you are a person.", ("#captcha",)),
        Obstacle("second_factor", "The shop asks for a code.", ("#code",)),
        Obstacle("blocked", "The shop takes you for a robot.", ("text=you look like a robot",)),
        Obstacle("limited", "You may list 3 things a day.", ("#limit",)),
        Obstacle("busy", "The shop says: try again later.", ("#busy",)),
    ),
    domains=("shop.localhost",),
)
TITLE = Target("the listing's title", ("#gone", 'internal:label="Title"i'))
PUBLISH = Target("the button that publishes", ("#publish", 'role=button[name="List"i]'), effect="commit")
FORM = """<label>Title <input id=title></label><input type=file id=files style="display:none" multiple>
    <button id=publish onclick="fetch('/published', {method: 'POST', keepalive: true})">List</button>"""


@pytest.fixture(scope="module")
def stall():
    with shop() as made:
        yield made


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(_env_file=None, everystall_home=tmp_path_factory.mktemp("home"), locator_seconds=1,
                    page_seconds=5, commit_click_seconds=1)  # fmt: skip


@pytest.fixture(scope="module")
async def browser(stall, settings):
    async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings) as opened:
        yield opened


@pytest.fixture
def page(browser, stall) -> Page:
    stall.pages.clear()
    stall.asked.clear()
    stall.posted.clear()
    stall.show("/", FORM)
    browser.page._rest_until = 0.0  # a test before this one may have been asked for one
    return browser.page


async def test_a_second_locator_finds_what_the_first_does_not(page):
    await page.goto("/", ready=TITLE)
    await page.fill(TITLE, "Blue dress")
    assert await page.value(TITLE) == "Blue dress"
    assert await page.has(TITLE)


async def test_a_target_that_is_nowhere_is_named_after_its_few_seconds(page):
    await page.goto("/")
    began = time.monotonic()
    with pytest.raises(PageChanged, match="the price"):
        await page.click(Target("the price", ("#price", "[name=price]")))
    assert 0.9 < time.monotonic() - began < 2.5


@pytest.mark.longer
@pytest.mark.parametrize(("host", "error"), [("poshmark", MarketplaceBusy), ("stranger", PageChanged)])
@pytest.mark.parametrize("fetched", [True, False])
async def test_a_page_whose_own_parts_did_not_arrive_has_not_changed(page, stall, host, error, fetched):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://{host}.localhost:{closed.getsockname()[1]}/form"
    stall.show(
        "/", f"<script>fetch('{address}')</script>" if fetched else f'<script src="{address}"></script>'
    )
    await page.goto("/")
    with pytest.raises(error):
        await page.fill(TITLE, "Blue dress")
    with pytest.raises(error):
        await page.first(TITLE, PUBLISH)
    stall.show("/", FORM)
    await page.goto("/")
    with pytest.raises(PageChanged):
        await page.click(Target("the price", ("#price", "[name=price]")))


async def test_a_target_that_is_there_twice_is_not_clicked(page, stall):
    stall.show("/", "<button onclick=fetch('/x',{method:'POST'})>Go</button>" * 2)
    await page.goto("/")
    with pytest.raises(PageChanged, match="2 times"):
        await page.click(Target("the button", ("role=button[name=Go]",)))
    assert stall.posted == []


async def test_hidden_twins_do_not_hide_the_visible_one(page, stall):
    stall.show("/", '<p class=t style="display:none">no</p><p class=t>yes</p>')
    await page.goto("/")
    target = Target("the text", (".t",))
    assert await page.text(target) == "yes"
    assert await page.count(target) == 1


async def test_what_is_mounted_late_is_waited_for(page, stall):
    stall.show("/", "<script>setTimeout(() => document.body.innerHTML = '<p id=late>here</p>', 400)</script>")
    await page.goto("/")
    assert await page.text(Target("the late one", ("#late",))) == "here"


async def test_a_target_inside_a_frame_is_found(page, stall):
    stall.show("/", '<iframe srcdoc="<input id=inner>"></iframe>')
    await page.goto("/")
    target = Target("the description", ("#inner",), frame="iframe")
    await page.fill(target, "<b>plain</b>")
    assert await page.value(target) == "<b>plain</b>"


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ("<form id=sign-in>…</form>", SessionExpired, "sign in"),
        ("<div id=captcha>…</div>", ChallengeShown, "a person"),
        ("<input id=code>", ChallengeShown, "a code"),
        ("<h1>Sorry, you look like a robot</h1>", ChallengeShown, "a robot"),
        ("<div id=limit>…</div>", AccountLimited, "3 things"),
        ("<div id=busy>…</div>", MarketplaceBusy, "try again later"),
    ],
)
async def test_an_obstacle_is_told_before_anything_is_looked_for(page, stall, body, error, says):
    stall.show("/", FORM + body)
    with pytest.raises(error, match=says):
        await page.goto("/")


async def test_an_obstacle_that_nobody_sees_is_none(page, stall):
    stall.show("/", FORM + '<div id=captcha style="display:none">…</div>')
    await page.goto("/", ready=TITLE)


async def test_a_redirect_to_the_sign_in_page_is_told_by_its_address(page, stall):
    stall.show("/", "", status=302, Location="/login?next=%2F")
    stall.show("/login", "<p>a sign-in page that we never saw before</p>")
    with pytest.raises(SessionExpired):
        await page.goto("/")


async def test_an_obstacle_that_comes_up_while_we_wait_is_told_at_once(page, stall):
    stall.show("/", """<script>setTimeout(() => document.body.innerHTML = '<div id=captcha>?</div>', 200)
        </script>""")  # fmt: skip
    await page.goto("/")
    began = time.monotonic()
    with pytest.raises(ChallengeShown):
        await page.wait_for(Target("the title", ("#title",)), seconds=10)
    assert time.monotonic() - began < 2


async def test_a_modal_that_covers_what_we_found_is_told_as_itself(page, stall):
    stall.show("/", FORM + """<button id=next>Next</button><div id=sign-in-modal
        style="position:fixed;inset:0">Sign in</div>""")  # fmt: skip
    stall.show("/open", FORM + """<button id=next>Next</button><div id=veil
        style="position:fixed;inset:0"></div>""")  # fmt: skip
    target = Target("the next button", ("#next",))
    with pytest.raises(SessionExpired):
        await page.goto("/")
    await page.goto("/open")
    with pytest.raises(PageChanged, match="cannot be used: the next button"):
        await page.click(target)


@pytest.mark.parametrize(
    ("status", "header", "wait"),
    [
        (429, "7", 7), (429, "soon", 60), (429, "", 60), (429, "-3", 0), (429, "999999", 3600),
        (503, "", None), (503, "120", 120),
    ],
)  # fmt: skip
async def test_a_marketplace_that_is_busy_says_for_how_long(page, stall, status, header, wait):
    stall.show("/", "<p>no</p>", status=status, Retry_After=header)
    with pytest.raises(MarketplaceBusy) as caught:
        await page.goto("/")
    assert caught.value.retry_after == wait


async def test_it_may_say_until_when(page, stall):
    stall.show("/", "<p>no</p>", status=429, Retry_After=formatdate(time.time() + 90, usegmt=True))
    with pytest.raises(MarketplaceBusy) as caught:
        await page.goto("/")
    assert 60 < caught.value.retry_after <= 90


@pytest.mark.parametrize("status", [429, 503])
async def test_a_page_known_as_busy_says_for_how_long_as_well(page, stall, status):
    stall.show("/", "<h1 id=busy>Back soon</h1>", status=status, Retry_After="120")
    with pytest.raises(MarketplaceBusy, match="try again later") as caught:
        await page.goto("/")
    assert 110 < caught.value.retry_after <= 120


@pytest.mark.parametrize(("host", "rests"), [("poshmark", True), ("stranger", False)])
async def test_an_answer_to_the_pages_own_request_that_asks_for_a_rest_is_heard(page, stall, host, rests):
    """A click's, say: from then on no page is opened and nothing committed."""
    address = f"{stall.url(host)}/api/listing"
    stall.show(
        "/", f"""{FORM}<button id=save onclick="fetch('{address}', {{mode: 'no-cors'}})">Save</button>"""
    )
    stall.show("/api/listing", "", status=429, Retry_After="120")
    await page.goto("/")
    await page.click(Target("the save button", ("#save",)))
    async with asyncio.timeout(30):
        while not stall.paths(host) or "/api/listing" not in stall.paths(host):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    assert (110 < page.rest <= 120) is rests
    asked = len(stall.asked)
    page.clicked = False
    for act in (page.goto("/"), page.commit(PUBLISH)):
        if not rests:
            await act
            continue
        with pytest.raises(MarketplaceBusy) as caught:
            await act
        assert 110 < caught.value.retry_after <= 120
    assert page.clicked is not rests
    assert (len(stall.asked) > asked) is not rests


async def test_nobody_listening_is_busy_and_no_address_is_told(settings, stall):
    async with open_browser(
        site=SITE, base_url="http://poshmark.localhost:9", storage=None, settings=settings
    ) as other:
        with pytest.raises(MarketplaceBusy) as caught:
            await other.page.goto("/?token=secret")
        assert "secret" not in str(caught.value)


async def test_a_page_never_leaves_for_another_host(page, stall):
    with pytest.raises(PageChanged, match=r"example\.test"):
        await page.goto("http://example.test/")
    with pytest.raises(PageChanged):
        await page.goto("file:///etc/hostname")
    with pytest.raises(PageChanged):
        await page.goto(f"http://shop.localhost.evil.localhost:{stall.port}/")
    assert stall.asked == []


async def test_photos_are_handed_over_as_bytes(page):
    await page.goto("/")
    photos = [PhotoFile(f"{n}.jpg", "image/jpeg", data) for n, data in ((1, b"one"), (2, b"two"))]
    await page.set_files(Target("the photos", ("#files",)), photos)
    said = await page.read(
        "async () => Promise.all([...document.querySelector('#files').files].map(async (f) => "
        "[f.name, f.type, await f.text()]))"
    )
    assert said == [["1.jpg", "image/jpeg", "one"], ["2.jpg", "image/jpeg", "two"]]


async def test_a_photo_of_the_page_is_fetched_with_the_session(page, stall):
    stall.show("/photo.jpg", bytes(range(256)) * 40)
    await page.goto("/")
    await page.read("() => { document.cookie = 'who=ann' }")
    assert await page.fetch("/photo.jpg") == bytes(range(256)) * 40
    assert "who=ann" in stall.asked[-1][2]["cookie"]
    with pytest.raises(MarketplaceBusy):
        await page.fetch("/none.jpg")
    with pytest.raises(PageChanged):
        await page.fetch("http://example.test/photo.jpg")


async def test_a_commit_is_clicked_exactly_once(page, stall):
    await page.goto("/")
    await page.commit(PUBLISH)
    await page.read("() => new Promise((done) => setTimeout(done, 300))")
    assert len(stall.posted) == 1


async def test_nothing_but_commit_may_publish(page, stall):
    await page.goto("/")
    with pytest.raises(PageChanged):
        await page.click(PUBLISH)
    with pytest.raises(PageChanged):
        await page.commit(TITLE)
    assert stall.posted == []


async def test_a_commit_that_is_not_enabled_is_not_clicked(page, stall):
    stall.show("/", FORM.replace("<button", "<button disabled"))
    await page.goto("/")
    with pytest.raises(PageChanged, match="does not let us"):
        await page.commit(PUBLISH)


async def test_in_a_rehearsal_nothing_is_clicked_that_publishes(browser, stall, settings):
    stall.posted.clear()
    stall.show("/sell", FORM)
    page = Page(browser.page.raw, site=SITE, base_url=stall.url(), settings=settings)
    page.dry = True
    await page.goto("/sell")
    with pytest.raises(NotWanted):
        await page.commit(PUBLISH)
    with pytest.raises(PageChanged):
        await page.click(PUBLISH)
    await asyncio.sleep(0.2)
    assert stall.posted == []
    assert not page.clicked


async def test_a_commit_after_the_deadline_is_not_clicked(browser, stall, settings):
    stall.show("/", FORM)
    deadline = Deadline(0)
    page = Page(browser.page.raw, site=SITE, base_url=stall.url(), settings=settings, deadline=deadline)
    await page.goto("/")
    stall.posted.clear()
    with pytest.raises(LeaseLost):
        await page.commit(PUBLISH)
    assert stall.posted == []


async def test_a_click_that_the_page_did_not_take_leaves_the_outcome_open(page, stall):
    stall.show("/", FORM + '<div style="position:fixed;inset:0"></div>')
    await page.goto("/")
    began = time.monotonic()
    with pytest.raises(MarketplaceBusy):
        await page.commit(PUBLISH)
    assert time.monotonic() - began < 2.5


async def test_the_question_before_a_draft_is_deleted_is_answered_yes_if_that_was_said(page, stall):
    stall.show("/", """<button id=draft onclick="document.title = confirm('Sure?')">Delete</button>
        <button id=other onclick="document.title = confirm('Other?')">Other</button>""")  # fmt: skip
    draft = Target("the button that deletes the draft", ("#draft",), effect="draft", heal=False)
    other = Target("another button", ("#other",))
    await page.goto("/")
    for target, yes, answer in ((draft, False, "false"), (draft, True, "true"), (other, True, "false"),
                                (draft, False, "false")):  # fmt: skip
        await page.click(target, accept_dialog=yes)
        assert await page.read("() => document.title") == answer


async def test_a_question_is_answered_no_but_for_the_one_behind_a_commit(page, stall):
    stall.show("/", """<button id=publish onclick="
        document.title = [confirm('Sure?'), confirm('Really?')].join()">Delete</button>
        <button id=other onclick="document.title = confirm('Other?')">Other</button>""")  # fmt: skip
    await page.goto("/")
    await page.click(Target("another button", ("#other",)))
    assert await page.read("() => document.title") == "false"
    await page.commit(PUBLISH, accept_dialog=True)
    assert await page.read("() => document.title") == "true,false"
    assert page.dialogs[-3:] == ["Other?", "Sure?", "Really?"]


async def test_a_half_filled_form_may_be_left(page, stall):
    stall.show("/", FORM + "<script>onbeforeunload = (e) => e.preventDefault()</script>")
    stall.show("/next", "<p id=next>next</p>")
    await page.goto("/")
    await page.click(Target("the title", ("#title",)))
    await page.type(Target("the title", ("#title",)), "x")
    await page.goto("/next", ready=Target("the next page", ("#next",)))


async def test_the_first_of_several_is_told(page, stall):
    stall.show("/", "<script>setTimeout(() => document.body.innerHTML = '<p id=no>no</p>', 200)</script>")
    await page.goto("/")
    assert await page.first(Target("yes", ("#yes",)), Target("no", ("#no",))) == 1
    with pytest.raises(PageChanged, match="maybe"):
        await page.first(Target("maybe", ("#maybe",)))


async def test_a_page_that_keeps_moving_on_is_no_error_of_its_own(page, stall):
    stall.show("/", "<p>hi</p><script>setTimeout(() => location.reload(), 20)</script>")
    await page.goto("/")
    with pytest.raises(PageChanged, match="nothing"):
        await page.wait_for(Target("nothing", ("#nothing",)))


async def test_reading_a_page_that_is_not_as_we_know_it_is_ours_to_mend(page):
    await page.goto("/")
    with pytest.raises(PageChanged):
        await page.read("() => document.querySelector('#none').innerText")


async def test_reading_several_at_once(page, stall):
    stall.show("/", "<li>one<li>two<input type=checkbox id=c checked><a id=a href=/x>x</a>")
    await page.goto("/")
    assert await page.texts(Target("the rows", ("li",)))
    box = Target("the box", ("#c",))
    assert await page.is_checked(box)
    await page.check(box, False)
    assert not await page.is_checked(box)
    assert await page.attribute(Target("the link", ("#a",)), "href") == "/x"
    assert await page.is_enabled(box)

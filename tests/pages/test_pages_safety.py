"""What pages must never do: run what somebody wrote, show what is another's, take a form from elsewhere."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute

from everystall.inventory.connections import DISCONNECTED, SignIn
from everystall.models import Channel, Connection
from everystall.notify import messages
from everystall.web.pages import PAGES
from everystall.web.pages.connections import STALE, matter_of
from everystall.web.render import FOLDER
from tests.pages.conftest import EVIL, EVIL_URL, PASSWORD, ROOT, furnish

TEMPLATES = sorted((FOLDER.parent / "templates").glob("*.html"))
HTML = {"Accept": "text/html,application/xhtml+xml"}
CORPUS = [
    EVIL,
    "</script><script>window.ran=4</script>",
    "' autofocus onfocus=window.ran=5 x='",
    "<svg onload=window.ran=6>",
    "javascript:window.ran=7",
    "{{ ''.__class__ }}{% for x in () %}",
    "<!--<img src=x onerror=window.ran=8>",
    "\u202e<b>right to left\u202c",
]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_marks_nothing_as_safe_and_holds_no_inline_style_or_script(template):
    text = template.read_text()
    assert not re.search(r"\|\s*safe\b|Markup|autoescape", text)
    assert not re.search(r"\sstyle\s*=", text)
    assert not re.search(r"<style|javascript:|srcdoc", text)
    assert not re.search(r"\son[a-z]+\s*=", text)
    for script in re.findall(r"<script[^>]*>(.*?)</script>", text, re.S):
        assert not script.strip()
    for address in re.findall(r"""(?:src|href|action)=["']([^"'{]+)""", text):
        assert address.startswith(("/", "#")), address


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_form_of_somebody_signed_in_carries_its_proof(template):
    # the first start's restore: whoever has the one-time link is all the proof there can be
    # and at the door nobody is signed in yet
    free = {"/sign-in", "/sign-in/code", "/sign-in/passkey", "/theme", "{{ here }}",
            "/first/restore?token={{ token | urlencode }}"}  # fmt: skip
    for form in re.findall(r"<form method=\"post\".*?</form>", template.read_text(), re.S):
        action = re.search(r'action="([^"]+)', form)[1]
        assert action in free or "csrf(reader)" in form, action


def test_scripts_touch_no_sink_of_trusted_types():
    for script in FOLDER.glob("*.js"):
        if re.search(r"-\d+\.\d+\.\d+", script.name):
            continue  # not ours; VENDORED.md names it
        assert not re.search(
            r"innerHTML|outerHTML\s*=|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser",
            script.read_text(),
        ), script.name


@pytest.mark.browser
@pytest.mark.parametrize(
    "evil", [CORPUS[0], *(pytest.param(one, marks=pytest.mark.longer) for one in CORPUS[1:])]
)
async def test_what_anybody_wrote_is_shown_and_never_run(house, evil):
    await furnish(house, await house.person("alice", "owner"), name=evil, url=EVIL_URL)
    await house.rows("UPDATE connections SET label = :evil, defaults = CAST(:d AS jsonb)", evil=evil,
                     d=json.dumps({"ships_from_zip": evil, "payment_policy": evil}))  # fmt: skip
    await house.rows("UPDATE vault_audit SET purpose = :evil", evil=evil)
    page = await house.signed_in("alice")
    for path in ("/", "/needs-you", "/connections", "/account"):
        await page.goto(path)
        assert await page.evaluate("window.ran") is None
        for link in await page.locator("a[href]").evaluate_all("all => all.map(one => one.protocol)"):
            assert link in ("http:", "https:")
    assert " ".join(evil.split())[:20] in " ".join((await page.locator("main").inner_text()).split())
    await page.get_by_role("button", name="Unpair").first.click()
    assert await page.get_by_role("dialog").is_visible()
    assert await page.evaluate("window.ran") is None


@pytest.mark.browser
async def test_a_script_that_got_in_all_the_same_would_not_run(house):
    page = await (await house.context()).new_page()
    await page.goto("/sign-in")
    said = await page.evaluate(
        """async () => {
        const script = document.createElement("script");
        try { script.textContent = "window.ran = 1"; document.body.append(script); } catch {}
        try { document.body.innerHTML = "<img src=x onerror='window.ran=2'>"; return "assigned"; }
        catch (error) { return error.name; }
        }"""
    )
    assert said == "TypeError"
    assert await page.evaluate("window.ran") is None
    assert any("require-trusted-types" in one or "policy:" in one for one in house.complaints)
    house.complaints.clear()


@pytest.mark.longer
@pytest.mark.browser
async def test_somebody_elses_accounts_are_not_there(house):
    alice = await house.person("alice")
    await furnish(house, alice)
    await house.signed_in("alice")
    await house.person("bob", "owner")
    told = await _told(house, alice)
    await house.rows(
        "INSERT INTO sittings (user_id, connection_id, purpose, asked_by, until) SELECT user_id, id, "
        "'sign_in', 'Chrome', now() + interval '1 hour' FROM connections LIMIT 1 RETURNING id"
    )
    hers: dict[str, list] = {
        "notifications": told,
        "connections": [row["public_id"] for row in await house.rows("SELECT public_id FROM connections")],
        "invitations": [row["id"] for row in await house.rows("SELECT id FROM invitations")],
        "matches": [uuid4()],  # plain/test_matches_page.py
        "healed": [uuid4()],  # an owner's alone: test_api_healed.py
        "listings": [row["id"] for row in await house.rows("SELECT id FROM listings")],
        "passkeys": [
            row["id"]
            for row in await house.rows(
                "INSERT INTO passkeys (user_id, name, credential_id, public_key, sign_count) "
                "VALUES (:id, 'Phone', 'x', 'x', 0) RETURNING id",
                id=alice,
            )
        ],
        "provider": [
            row["id"]
            for row in await house.rows(
                "INSERT INTO identities (user_id, issuer, subject) "
                "VALUES (:id, 'https://id.example.com', '7') RETURNING id",
                id=alice,
            )
        ],
    }
    hers["sittings"] = [row["id"] for row in await house.rows("SELECT id FROM sittings")]
    await house.rows(
        "INSERT INTO webhook_endpoints (user_id, url, dek_version, sealed) "
        "VALUES (:id, 'https://hooks.example.com/alice', 1, '')",
        id=alice,
    )
    hers["webhooks"] = [row["id"] for row in await house.rows("SELECT id FROM webhook_endpoints")]
    hers["sales"] = [row["id"] for row in await house.rows(
        "INSERT INTO sales (user_id, told_by, title, quantity) VALUES (:id, 'seller', 'alice', 1) "
        "RETURNING id",
        id=alice,
    )]  # fmt: skip
    hers["channels"] = [row["id"] for row in await house.rows("SELECT id FROM channels")]
    for row in await house.rows("SELECT id, kind FROM api_tokens"):
        kind = {"api": "tokens", "extension": "extensions", "browser": "browsers"}[row["kind"]]
        hers.setdefault(kind, []).append(row["id"])
    before = await _everything(house)
    page = await house.signed_in("bob")
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    forms = [
        route.path
        for router in PAGES
        for route in router.routes
        if isinstance(route, APIRoute)
        and "POST" in route.methods
        and "{" in route.path
        and not route.path.startswith("/listings/")  # test_pages_listing.py
    ]
    assert len(forms) >= 9  # each of them, of each kind that it can name
    paths = [
        form.replace("{id}", str(id)) for form in forms for id in hers[form.split("/{")[0].split("/")[-1]]
    ]
    for path in paths:
        answer = await page.request.post(
            path,
            form={"csrf": csrf, "label": "Bob's", "password": PASSWORD},
            headers={**HTML, "Origin": house.url},
            max_redirects=0,
        )
        assert answer.status == 404, path
        assert "alice" not in await answer.text()
    assert await _everything(house) == before


async def _told(house, user):
    """Something that she was told, and a channel; the former's id."""
    async with house.database.as_user(user) as session:
        event = await messages.record(session, user, "watch.failed", {"message": "for alice alone"})
        session.add(
            Channel(user_id=user, kind="service", label="alice's", key="x", dek_version=1, sealed=b"x")
        )
    return [event]


async def _everything(house):
    tables = (
        "connections", "user_marketplace_sessions", "invitations", "listings", "publications", "channels",
        "notice_deliveries", "webhook_endpoints", "sales",
    )  # fmt: skip
    return [await house.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables] + [
        await house.rows("SELECT id, name FROM api_tokens WHERE kind <> 'browser' ORDER BY id")
    ]


@pytest.mark.browser
async def test_a_form_from_another_site_changes_nothing(house):
    await furnish(house, await house.person("alice"))
    page = await house.signed_in("alice")
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    before = await _everything(house)
    tries = [
        ({"csrf": csrf}, {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}),
        ({"csrf": csrf}, {"Sec-Fetch-Site": "same-site"}),
        ({}, {"Sec-Fetch-Site": "same-origin"}),
        ({"csrf": "0" * 64}, {"Sec-Fetch-Site": "same-origin"}),
    ]
    for form, headers in tries:
        for path in ("/connections/pause", "/account/pair", "/account/tokens", "/sign-out"):
            answer = await page.request.post(path, form=form, headers={**HTML, **headers}, max_redirects=0)
            assert answer.status == 403, (path, headers)
            assert "text/html" in answer.headers["content-type"]
    assert await _everything(house) == before
    assert await house.rows("SELECT 1 FROM users WHERE paused_at IS NOT NULL") == []


@pytest.mark.browser
@pytest.mark.longer
async def test_what_goes_wrong_is_a_page_for_people_and_json_for_programs(house):
    async with httpx.AsyncClient(base_url=house.url) as client:
        for path, status in (
            ("/nothing", 404),
            ("/first?token=x", 404),
            ("/invitation", 404),
            ("/sign-out", 405),
        ):
            page = await client.get(path, headers=HTML)
            assert page.headers["content-type"].startswith("text/html"), path
            assert page.status_code == status
            assert "What to do:" in page.text
            assert "require-trusted-types-for" in page.headers["content-security-policy"]
            plain = await client.get(path)
            assert plain.json()["action"]
            assert plain.status_code == status
        assert (await client.get("/api/nothing", headers=HTML)).json()["error"] == "not_found"
        long = await client.post(
            "/sign-in", data={"email": "x" * 3000}, headers={**HTML, "Origin": house.url}
        )
        assert (long.status_code, "x" * 50 in long.text) == (422, False)
        await house.rows("ALTER FUNCTION everystall.look_at_invitation(bytea) RENAME TO away")
        broken = await client.get("/first?token=abc", headers=HTML)
        assert (broken.status_code, "Something went wrong" in broken.text) == (500, True)
        assert "require-trusted-types-for" in broken.headers["content-security-policy"]
        assert "look_at_invitation" not in broken.text
        for _ in range(30):
            limited = await client.post(
                "/sign-in", data={"email": "a"}, headers={**HTML, "Origin": house.url}
            )
        assert limited.status_code == 429
        assert int(limited.headers["retry-after"]) > 0
        assert "Wait" in limited.text


@pytest.mark.browser
async def test_files_are_kept_by_their_hash_and_pages_are_not_kept(house):
    async with httpx.AsyncClient(base_url=house.url) as client:
        page = await client.get("/sign-in")
        assert page.headers["cache-control"] == "no-store"
        named = re.findall(rf'"{ROOT}(/static/[^"]+)"', page.text)
        assert len(named) >= 5
        for path in named:
            file = await client.get(path)
            assert file.status_code == 200
            assert "immutable" in file.headers["cache-control"]
            assert file.headers["x-content-type-options"] == "nosniff"
            packed = path.partition("?")[0].endswith((".png", ".woff2"))  # by its format
            assert packed or file.headers["content-encoding"] == "gzip"
        plain = await client.get(named[0], headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == (await client.get(named[0])).content
        again = await client.get(named[0], headers={"If-None-Match": plain.headers["etag"]})
        assert again.status_code == 304
        font = await client.get("/static/inter-5.3.0-latin.woff2")
        assert font.headers["content-type"] == "font/woff2"
        assert "javascript" in (await client.get("/static/live.js")).headers["content-type"]
        for path in (
            "/static/../render.py",
            "/static/%2e%2e/render.py",
            "/static/..%2frender.py",
            "/static/",
        ):
            assert (await client.get(path)).status_code == 404


def _without_proof(page):
    """It is another in each answer."""
    return re.sub(r'name="csrf" value="\w+"', "", page)


@pytest.mark.browser
@pytest.mark.longer
async def test_a_part_of_a_page_is_what_the_whole_page_holds(house):
    await furnish(house, await house.person("alice", "owner"))
    page = await house.signed_in("alice")
    for path, parts in (
        ("/", ["status"]),
        ("/connections", ["accounts"]),
        ("/needs-you", ["waiting"]),
        ("/account", ["extensions", "browsers", "audit"]),
    ):
        whole = _without_proof(await (await page.request.get(path)).text())
        for part in parts:
            alone = _without_proof(await (await page.request.get(path, headers={"X-Part": part})).text())
            assert alone.strip(), (path, part)
            assert alone.strip() in whole, (path, part)
    answer = await page.request.get("/account", headers={"X-Part": "nothing-of-that-name"})
    assert "<!doctype html>" in await answer.text()


@pytest.mark.longer
@pytest.mark.browser
async def test_the_reference_names_every_operation_and_every_error(house):
    async with httpx.AsyncClient(base_url=house.url) as client:
        openapi = (await client.get("/openapi.json")).json()
        text = (await client.get("/api/docs")).text
    for path in openapi["paths"]:
        assert f"<code>{path}</code>" in text, path
    for code in ("listing_incomplete", "session_missing", "rate_limited", "cross_site"):
        assert f"<code>{code}</code>" in text
    assert PASSWORD not in text
    assert not any(path in openapi["paths"] for path in ("/sign-in", "/account", "/connections", "/"))


def test_an_account_that_was_taken_away_with_listings_live_says_what_to_do():
    row = Connection(
        marketplace="ebay", public_id="bp_ebay_1", base_url="https://www.ebay.com",
        needs_you={"reason": DISCONNECTED},
    )  # fmt: skip
    now = datetime.now(UTC)
    for live, tone in ((0, "off"), (1, "warn"), (2, "warn")):
        matter = matter_of(SignIn(row, "missing", None, None), "eBay", now, live)
        assert (matter.word, matter.tone, bool(matter.text)) == ("Disconnected", tone, live > 0)
    assert "2 listings are live" in matter.title


def test_a_sign_in_that_ends_soon_is_called_stale_before_it_does():
    now = datetime.now(UTC)
    row = Connection(marketplace="ebay", public_id="bp_ebay_1", base_url="https://www.ebay.com")
    for left, word in ((STALE * 2, "Connected"), (STALE - timedelta(hours=1), "Stale")):
        assert matter_of(SignIn(row, "connected", now + left, now), "eBay", now).word == word

"""Rows 4, 5 and 7 as far as the API goes: what a seller writes is never markup, and a name never a path.

Pages have tests of their own in a browser, files of listings in test_csv.py. There is no model yet: whoever
brings one brings the hostile pages.
"""

from __future__ import annotations

import hashlib

import httpx
import pytest

from tests.api.conftest import Site, photo
from tests.attacks.estate import Estate
from tests.attacks.operations import operations, send

XSS = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)",
    "{{7*7}}${7*7}#{7*7}",
    "</script><svg/onload=alert(1)>", "'-alert(1)-'", "<!--#exec cmd='id'-->", "\u2028alert(1)\u2029",
    "=cmd|' /C calc'!A0", "<iframe srcdoc='<script>alert(1)</script>'>", "&lt;script&gt;",
]  # fmt: skip


@pytest.mark.longer
async def test_every_answer_is_json_or_a_picture_that_no_browser_takes_for_a_page(estate: Estate):
    """With markup in every text that a seller writes."""
    alice, kinds = estate.alice, set()
    for evil in XSS:
        listing = await alice.listing(
            photos=0, title=evil, description=evil, brand=evil, specifics={"a": evil}
        )
        got = (await alice.get(f"/api/listings/{listing}")).json()
        assert (got["title"], got["specifics"]) == (evil, {"a": evil}), "kept as it was written"
    await alice.client.patch(f"/api/connections/{estate.ids['browserProfileId']}", json={"label": XSS[0]})
    for operation in operations(estate.site.app, estate.ids):
        if operation.method == "GET":
            kinds.add(_safe(await send(alice.client, operation, estate.ids)))
    for evil in XSS:
        for path in (f"/{evil}", f"/api/jobs/{evil}", f"/api/listings/{evil}"):
            answer = await alice.client.get(httpx.URL("https://everystall.test", raw_path=_raw(path)))
            assert answer.status_code == 404
            _safe(answer)
        _safe(await alice.post("/api/listings", {"title": 7, evil: evil}))
    csv = "text/csv; charset=utf-8; header=present"
    assert kinds == {"application/json", "application/zip", "image/png", csv}


def _safe(answer: httpx.Response) -> str:
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    kind = answer.headers["content-type"]
    if kind == "application/zip":
        assert answer.headers["content-disposition"].startswith("attachment")
    return kind


def _raw(path: str) -> bytes:
    return "".join(
        c if (c.isascii() and c.isalnum()) or c in "/" else f"%{ord(c) & 255:02x}" for c in path
    ).encode()


async def test_a_photo_that_is_a_page_too_is_sent_as_a_picture(site: Site):
    polyglot = photo(3) + b"<script>alert(1)</script>"
    alice = await site.seller("alice")
    path = f"/api/listings/{await alice.listing()}/photos"
    files = [("photos", ("x.html", polyglot, "text/html"))]
    added = await alice.client.post(path, files=files)
    assert added.status_code == 201, added.text
    got = await alice.get(added.json()["photos"][-1]["url"])
    assert _safe(got) == "image/png"


NAMES = [
    "../../../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd", "a\x00.png", "%2e%2e%2fkeys%2fring.json",
    "....//....//x", "photo.png/../../x", "~/x", "C:\\x", "a" * 5000, "\u202egnp.exe", "con.png", "", ".",
    "..",
]  # fmt: skip


async def test_the_name_of_a_file_is_no_path(site: Site):
    home, alice = site.settings.everystall_home, await site.seller("alice")
    listing = await alice.listing()
    before = {path for path in home.parent.rglob("*") if path.is_file()}
    for number, name in enumerate(NAMES):
        files = [("photos", (name, photo(number), "image/png"))]
        answer = await alice.client.post(f"/api/listings/{listing}/photos", files=files)
        assert answer.status_code in (201, 400, 422), (name, answer.text)
        after = {path for path in home.parent.rglob("*") if path.is_file()} - before
        hashes = {hashlib.sha256(photo(earlier)).hexdigest() for earlier in range(number + 1)}
        assert {path.name for path in after} <= hashes, name
        assert {path.parent for path in after} <= {home / "photos" / "originals"}, name


PATHS = [
    "/../../keys/ring.json", "/..%2f..%2fkeys%2fring.json", "/%2e%2e/%2e%2e/keys/ring.json", "/.%00",
    "//x", "/..%252f..%252fkeys/ring.json", "/%c0%ae%c0%ae/keys", "/....//keys/ring.json",
]  # fmt: skip


async def test_no_address_leads_out_of_the_photos(site: Site):
    alice = await site.seller("alice")
    listing = await alice.listing()
    for path in PATHS:
        raw = f"/api/listings/{listing}/photos{path}".encode()
        answer = await alice.client.get(httpx.URL("https://everystall.test", raw_path=raw))
        assert answer.status_code == 404, (path, answer.text)
        assert "ring" not in answer.text, path


async def test_a_link_in_the_store_is_not_followed_to_what_is_no_photo(site: Site):
    """Somebody who could write to the folder of photos still reads nothing through us."""
    home, alice = site.settings.everystall_home, await site.seller("alice")
    listing = await alice.listing()
    (shown,) = (await alice.get(f"/api/listings/{listing}")).json()["photos"]
    kept = home / "photos" / "originals" / shown["sha256"]
    assert kept.is_file()
    kept.unlink()
    kept.symlink_to(home / "keys" / "ring.json")
    answer = await alice.get(f"/api/listings/{listing}/photos/{shown['photoId']}")
    assert (answer.status_code, answer.json()["error"]) == (503, "photo_missing")
    assert b"keys" not in answer.content

"""What ships: the manifests word for word, nothing too broad in them, and the same bytes every time."""

from __future__ import annotations

import inspect
import io
import json
import posixpath
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from everystall import cli, extension
from everystall.extension import STORES, Store
from everystall.marketplaces import MARKETPLACES, get_form

ROOT = Path(__file__).parent.parent.parent
SNAPSHOTS = Path(__file__).parent / "manifests"
BUILDS = [(store, practice) for store in STORES for practice in (False, True)]
NEVER = (
    "eval(", "new Function", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write",
    "importScripts", "userScripts", "onMessageExternal", "onConnectExternal", "cookies.set",
    "cookies.remove", "style=",
)  # fmt: skip
HOMES = {get_form(name).BASE_URL for name in MARKETPLACES}
#: By hand, so that a change is looked at.
REAL = ["*://*.poshmark.com/*", "*://*.mercari.com/*", "*://*.ebay.com/*"]
PRACTICE = [f"*://{name}.localhost/*" for name in MARKETPLACES]


@pytest.mark.parametrize(("store", "practice"), BUILDS)
def test_each_manifest_is_as_it_was_approved(store: Store, practice: bool):
    """A change here is a change of what sellers allow: it needs store/permissions.md, and a look."""
    name = f"{store}{'-practice' if practice else ''}.json"
    approved = json.loads((SNAPSHOTS / name).read_text())
    assert extension.manifest(store, practice=practice) == approved


@pytest.mark.parametrize(("store", "practice"), BUILDS)
def test_nothing_is_asked_for_that_is_too_broad(store: Store, practice: bool):
    found = extension.manifest(store, practice=practice)
    assert sorted(found["permissions"]) == ["alarms", "cookies", "scripting", "storage"]
    assert found["optional_host_permissions"] == (PRACTICE if practice else REAL)
    for key in (
        "host_permissions", "optional_permissions", "content_scripts", "externally_connectable",
        "web_accessible_resources", "sandbox", "key", "update_url", "devtools_page",
    ):  # fmt: skip
        assert key not in found, key
    policy = found["content_security_policy"]["extension_pages"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert found["incognito"] == "not_allowed"


def test_a_broad_permission_would_be_found(monkeypatch: pytest.MonkeyPatch):
    """The test above is the only wall: the stores' linters let `<all_urls>` pass."""
    real = extension.marketplaces

    def broad(*, practice: bool) -> dict[str, dict[str, Any]]:
        return {**real(practice=practice), "all": {"hosts": ["<all_urls>"]}}

    monkeypatch.setattr(extension, "marketplaces", broad)
    with pytest.raises(AssertionError):
        test_nothing_is_asked_for_that_is_too_broad("chrome", False)


def test_the_kept_marketplaces_are_what_the_forms_say():
    for kept, made in extension.sources().items():
        assert kept.read_text() == made, f"{kept.name}: run `make extension`"
    manifest = json.loads((ROOT / "extension" / "manifest.json").read_text())
    assert manifest["optional_host_permissions"] == REAL


@pytest.mark.parametrize("store", STORES)
def test_no_store_gets_a_word_about_practice(store: Store):
    for name, content in extension.files(store).items():
        assert b".localhost" not in content or name == "lib/server.js", name  # which may be on this machine


@pytest.mark.parametrize("store", STORES)
def test_nothing_is_run_that_does_not_ship(store: Store):
    files = {name: content.decode() for name, content in extension.files(store).items() if ".png" not in name}
    for name, text in files.items():
        code = re.sub(r"^\s*(//|\*|/\*).*$", "", text, flags=re.M)
        for word in NEVER:
            assert word not in code, f"{word} in {name}"
        for url in re.findall(r"https?://[^\s'\"`*<>)]+", code):
            assert url in HOMES or name == "lib/server.js", url
        for module in re.findall(r"""(?:from|import\()\s*['"]([^'"]+)['"]""", code):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), module))
            assert path in files, f"{module} of {name}"


def test_the_same_sources_give_the_same_bytes():
    for store in STORES:
        once, again = (extension.zipped(store) for _ in range(2))
        assert once == again
        with zipfile.ZipFile(io.BytesIO(once)) as archive:
            assert archive.testzip() is None
            names = archive.namelist()
    for name in ("manifest.json", "popup/popup.html", "icons/128.png", "lib/marketplaces.js"):
        assert name in names
    assert not [name for name in names if re.search(r"test|node_modules|\.md|\.py|package", name)]


def test_every_permission_has_its_reason_in_the_stores_text():
    told = (ROOT / "extension" / "store" / "permissions.md").read_text()
    manifest = extension.manifest("firefox")
    for permission in [*manifest["permissions"], *manifest["optional_host_permissions"]]:
        assert f"| `{permission}` |" in told, permission
    listed = set(re.findall(r"^\| `([^`]+)` \|", told, re.M))
    assert listed == {*manifest["permissions"], *manifest["optional_host_permissions"]}
    data = (ROOT / "extension" / "store" / "data.md").read_text()
    for kind in manifest["browser_specific_settings"]["gecko"]["data_collection_permissions"]["required"]:
        assert f"`{kind}`" in data, kind


def test_the_practice_build_opens_the_practice_marketplaces_where_they_are():
    assert inspect.signature(cli.sandbox).parameters["port"].default == extension.PRACTICE_PORT
    assert "http://mercari.localhost:8730" in extension.marketplaces_js(practice=True)

"""Below a path of the host every address of ours begins with it; none stands where that is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse

from everystall.errors import Misconfigured
from everystall.settings import load
from everystall.web import render
from everystall.web.addresses import ATTRIBUTES, Rooted, address

WEB = Path(render.__file__).parent
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
SCRIPTS = sorted(path for path in (WEB / "static").glob("*.js") if not re.search(r"-\d+\.\d+", path.name))
PYTHON = sorted((WEB.parent).rglob("*.py"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_an_attribute_that_holds_an_address_is_one_of_those_that_are_rooted(path: Path):
    source = path.read_text()
    others = [name for name in re.findall(r'\s([a-z-]+)="/[a-z{]', source) if name not in ATTRIBUTES]
    assert others == [], "name it in ATTRIBUTES of web/addresses.py"
    begun = re.findall(rf'\s(?:{"|".join(ATTRIBUTES)})="\{{%[^"]*', source)
    assert begun == [], "write the choice as an expression, {{ a if b else c }}"
    compiled = render._ENVIRONMENT.preprocess(source)
    assert not re.search(rf'\s(?:{"|".join(ATTRIBUTES)})="/', compiled)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_has_an_address_of_its_own(path: Path):
    source = re.sub(r"//.*|/\*.*?\*/", "", path.read_text())
    assert re.findall(r"""["'`]/[a-z][^"'`]*["'`]""", source) == [], (
        "`${ROOT}/…`, or an attribute of the page"
    )


def test_no_style_asks_for_an_address_of_the_hosts_root():
    assert not re.search(r"url\(\s*[\"']?/", (WEB / "static/everystall.css").read_text())


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(WEB.parent)))
def test_a_link_begins_with_the_address_and_not_with_the_host_alone(path: Path):
    assert "public_url}/" not in path.read_text(), "Settings.address has the root path too"


@pytest.mark.parametrize("given", ["/stall/inventory?q=a", "/inventory?q=a"])
async def test_what_is_asked_for_is_found_below_the_root_whether_the_proxy_takes_it_away_or_not(given):
    app = FastAPI()

    @app.get("/inventory")
    async def inventory(request: Request) -> dict[str, str]:
        return {"path": request.url.path, "query": request.url.query, "link": address("/sales")}

    @app.get("/old")
    async def old() -> RedirectResponse:
        return RedirectResponse("/inventory#here")

    @app.get("/away")
    async def away() -> RedirectResponse:
        return RedirectResponse("https://elsewhere.example/inventory")

    app.add_middleware(Rooted, root="/stall")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        found = (await client.get(given)).json()
        assert found == {"path": "/inventory", "query": "q=a", "link": "/stall/sales"}
        assert (await client.get("/stall/old")).headers["location"] == "/stall/inventory#here"
        assert (await client.get("/stall/away")).headers["location"] == "https://elsewhere.example/inventory"
        slash = (await client.get("/stall/inventory/")).headers["location"]
        assert slash == "http://127.0.0.1/stall/inventory"
        assert (await client.get("/stallinventory")).status_code == 404


def test_what_is_not_ours_stays_as_it_is():
    for other in ("https://poshmark.com/listing/1", "//elsewhere.example", "#part", "?cursor=a", ""):
        assert address(other) == other


@pytest.mark.parametrize("wrong", ["everystall", "/a b", "/../etc", "//host", "https://host", '/"', "/a?b"])
def test_a_root_that_is_no_path_is_refused_at_the_start(wrong, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Misconfigured, match="EVERYSTALL_ROOT_PATH"):
        load(everystall_root_path=wrong)


def test_links_and_the_cookie_go_by_the_root(monkeypatch, tmp_path):
    from everystall.web.browsers import cookie_name

    monkeypatch.chdir(tmp_path)
    settings = load(public_url="https://example.com", everystall_root_path="/stall/")
    assert settings.address == "https://example.com/stall"
    assert settings.job_webhook_url == "https://example.com/stall/api/jobs/webhook"
    assert cookie_name(settings) == "__Secure-everystall"

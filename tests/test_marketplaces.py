"""Every place that a marketplace has to stand in, and the places in which none may be named. Who adds one
runs this first and is told what is missing (docs/adding-a-marketplace.md)."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from everystall.inventory.sample import LISTING, takers
from everystall.marketplaces import MARKETPLACES, base, get_adapter, get_form
from everystall.sandbox.app import SITES
from everystall.settings import Settings

ROOT = Path(__file__).parent.parent
EACH = pytest.mark.parametrize("name", MARKETPLACES)
#: Where a marketplace may be named, beside its own two folders. What a line here says of it is about that one
#: alone: an address that is a setting, a file that it exports.
NAMED = {
    "everystall/marketplaces/__init__.py": "the list of them",
    "everystall/settings.py": "its address",
    "everystall/inventory/sample.py": "what a seller there sets once",
    "everystall/inventory/incoming/__init__.py": "files that it exports",
    "everystall/inventory/incoming/files.py": "files that it exports",
    "everystall/inventory/incoming/ebay.py": "files that it exports",
    "everystall/inventory/imports.py": "files that it exports",
    "everystall/web/imports.py": "files that it exports",
    "everystall/web/pages/imports.py": "files that it exports",
    "everystall/web/templates/import.html": "files that it exports",
}


@EACH
def test_its_folder_is_whole(name):
    folder = ROOT / "everystall/marketplaces" / name
    for path in ("__init__.py", "NOTES.md", "form.py", "pages.py", "adapter.py"):
        assert (folder / path).is_file(), path
    for kind in ("form", "adapter", "revise", "sales"):
        assert (folder / f"tests/test_{name}_{kind}.py").is_file(), kind
    for path in ("__init__.py", "signin.py"):
        assert (ROOT / "everystall/sandbox" / name / path).is_file(), path
    assert name in SITES


@EACH
def test_its_form_and_its_adapter_are_whole(name):
    form, adapter = get_form(name), get_adapter(name)
    wanted = [*inspect.get_annotations(base.Form), *_verbs(base.Form)]
    assert [one for one in wanted if not hasattr(form, one)] == []
    assert MARKETPLACES[name] == form.LABEL
    for verb in _verbs(base.Adapter):
        given = inspect.signature(getattr(type(adapter), verb)).parameters
        assert list(given) == list(inspect.signature(getattr(base.Adapter, verb)).parameters), verb


@EACH
def test_its_notes_say_what_rotates_what_it_limits_and_what_was_guessed(name):
    notes = (ROOT / "everystall/marketplaces" / name / "NOTES.md").read_text().lower()
    for said in ("## session", "## limits", "## pages", "rotate", "sale mail", "fee", "guess"):
        assert said in notes, said
    for host in get_adapter(name).site.parts:
        assert host in notes, host


@EACH
def test_its_address_is_a_setting(name):
    assert Settings.model_fields[f"{name}_url"].default == get_form(name).BASE_URL


def test_no_adapter_imports_another():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (modules,) = (one["modules"] for one in contracts if one["type"] == "independence")
    assert modules == [f"everystall.marketplaces.{name}" for name in MARKETPLACES]


@EACH
def test_it_takes_the_listing_that_everybody_practises_with_if_it_has_a_place_for_it(name):
    assert (name in takers()) == (LISTING["category"] in get_form(name).CATEGORIES)


def test_nothing_else_is_said_of_one_marketplace_alone():
    """No page, style, script or rule asks which marketplace it is: what differs is in its form."""
    code = re.compile(rf"\b({'|'.join(MARKETPLACES)})\b", re.IGNORECASE)
    found = {}
    for path in (ROOT / "everystall").rglob("*"):
        where = path.relative_to(ROOT).as_posix()
        own = re.match(rf"everystall/(marketplaces|sandbox)/({'|'.join(MARKETPLACES)})/", where)
        if path.suffix in (".py", ".html", ".js", ".css") and not own and "vendor" not in where:
            lines = _plain(path) if path.suffix == ".py" else path.read_text().splitlines()
            hits = [line.strip() for line in lines if code.search(line)]
            if hits and where not in NAMED:
                found[where] = hits
    assert found == {}


def _verbs(protocol: type) -> list[str]:
    return [one for one, value in vars(protocol).items() if inspect.isfunction(value) and one[0] != "_"]


def _plain(path: Path) -> list[str]:
    """Its code without comments and docstrings, which may name one as an example."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        for one in ast.iter_child_nodes(node):
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
                one.value.value = ""
    return ast.unparse(tree).splitlines()


def test_every_form_and_adapter_is_loaded_by_its_name_alone():
    for name in MARKETPLACES:
        assert import_module(f"everystall.sandbox.{name}").site

"""What the docs say is so: every setting, every command, every link."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from everystall.choices import CHANGEABLE
from everystall.settings import _SECRETS, Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ENV = (ROOT / ".env.example").read_text()


def test_every_setting_is_in_env_example_and_nothing_else_is():
    listed = re.findall(r"^# ([A-Z][A-Z_0-9]+)=", ENV, re.M)
    assert sorted(listed) == sorted(name.upper() for name in Settings.model_fields)


def test_env_example_shows_the_defaults():
    for name, value in re.findall(r"^# ([A-Z][A-Z_0-9]+)=(.*)$", ENV, re.M):
        default = Settings.model_fields[name.lower()].default
        if isinstance(default, int | float | str):
            assert value == f"{default:g}" if isinstance(default, float) else value == str(default), name


def test_every_secret_is_said_to_be_one():
    for name in _SECRETS:
        before = ENV[: ENV.index(f"\n# {name}=")].rsplit("\n# ", 2)
        assert "Secret." in " ".join(before[-2:]), name


def test_each_setting_that_says_for_how_long_something_is_kept_is_in_the_table_of_that():
    page = (ROOT / "docs/operations.md").read_text()
    table = page[page.index("## How long things are kept") :]
    days = {name.upper() for name in Settings.model_fields if name.endswith("_days")}
    assert set(re.findall(r"`([A-Z_]+_DAYS)`", table)) == days


def test_the_page_of_settings_has_each_with_its_default_unit_and_whether_it_changes_while_it_runs():
    rows = re.findall(r"^\| `([A-Z][A-Z_0-9]+)` \| (.+?) \| (.+?) \| (yes|no) \| (.+) \|$",
                      (ROOT / "docs/settings.md").read_text(), re.M)  # fmt: skip
    assert sorted(row[0] for row in rows) == sorted(name.upper() for name in Settings.model_fields)
    units = {"_SECONDS": "seconds", "_DAYS": "days", "_CENTS": "cents"}
    for name, default, unit, changes, what in rows:
        field = Settings.model_fields[name.lower()]
        known = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
        if isinstance(field.default, int | float | str) and field.default != "":
            assert default == f"`{known}`", name
        else:
            assert not re.fullmatch(r"`[^`]*`", default), name
        for end, word in units.items():
            assert not name.endswith(end) or unit.startswith(word), name
        for limit in field.metadata:
            for bound in (getattr(limit, each, None) for each in ("ge", "gt", "le", "lt")):
                assert bound is None or f"{bound:,}" in unit, (name, bound)
        assert changes == ("yes" if name.lower() in CHANGEABLE else "no"), name
        assert ("**Secret.**" in what) == (name in _SECRETS), name


def test_the_page_of_errors_has_each_code_with_its_status_and_each_reason():
    from everystall import errors
    from everystall.inventory.publications import ACTIONS_FOR
    from everystall.marketplaces.base import Problem
    from everystall.web.pages.reasons import REASONS

    page = (ROOT / "docs/errors.md").read_text()
    requests, _, rest = page.partition("\n## What waits for its seller")
    waiting, _, listings = rest.partition("\n## What a listing lacks")
    known = {
        (one.code, str(one.status))
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.EverystallError) and "code" in vars(one)
    }
    said = re.findall(r"^\| `(\w+)` \| (\d{3})(?:, \d{3})* \| .+? \| .+? \|$", requests, re.M)
    assert len(said) == len(set(said))
    # a method that an address does not take is the framework's to refuse
    assert set(said) == known | {("method_not_allowed", "405")}
    reasons = [
        name
        for row in re.findall(r"^\| (`.+?) \| .+? \|$", waiting, re.M)
        for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(reasons) == sorted({*ACTIONS_FOR, *REASONS})
    lacks = re.findall(r"^\| `(\w+)` \| .+ \|$", listings, re.M)
    assert sorted(lacks) == sorted(Problem.model_fields["code"].annotation.__args__)  # type: ignore[union-attr]


def test_whatever_answers_with_a_code_of_its_own_has_it_in_the_page_of_errors():
    page = (ROOT / "docs/errors.md").read_text()
    code = [path for path in (ROOT / "everystall").rglob("*.py") if "sandbox" not in path.parts]
    said = {
        found
        for path in code
        for found in re.findall(
            r"""(?:"error": |error=|code(?:: \S+)? = )"([a-z]+(?:_[a-z]+)+)\"""", path.read_text()
        )
    }
    assert "method_not_allowed" in said
    assert {one for one in said if f"`{one}`" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, link


WAY = re.findall(r"^(?:\d\.|-) \[[^\]]+\]\(([a-z-]+\.md)\)", (ROOT / "docs/README.md").read_text(), re.M)
#: What `make bench` and the like write whole stands in one line of its own there, and ends as it is written.
WAY = WAY[: WAY.index("from-nextjs.md") + 1]


@pytest.mark.parametrize(("page", "then"), [*pairwise(WAY)])
def test_each_page_for_a_newcomer_leads_to_the_next(page: str, then: str):
    last = (ROOT / "docs" / page).read_text().rstrip().split("\n")[-1]
    assert re.match(rf"Next: \[[^\]]+\]\({re.escape(then)}\)", last)


def test_every_page_of_the_docs_is_in_their_order():
    listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", (ROOT / "docs/README.md").read_text()))
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert WAY[:6] == [
        "install.md",
        "practice.md",
        "extension.md",
        "real-marketplaces.md",
        "many-machines.md",
        "concepts.md",
    ]


def test_every_make_command_has_one_line_of_help():
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (.+)$", makefile, re.M))
    helped = re.findall(r"^([a-z0-9-]+):.*## .+$", makefile, re.M)
    assert sorted(helped) == sorted(phony)
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in shown for name in helped)


def test_what_make_starts_keeps_what_python_compiled_whatever_the_caller_says():
    """An image that says otherwise had each process compile all of it anew."""
    told = subprocess.run(
        ["make", "--eval", "told: ; @env", "told"], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert "PATH=" in told.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in told.stdout


def test_commands_of_make_that_the_docs_name_exist():
    makefile = (ROOT / "Makefile").read_text()
    named = {n for page in PAGES for n in re.findall(r"(?:^|`)make ([a-z0-9-]+)", page.read_text(), re.M)}
    assert named
    for name in named:
        assert re.search(rf"^{name}:", makefile, re.M), name


def test_what_is_told_stands_in_the_table_with_its_events_and_where_it_goes():
    from everystall.notify.notices import SUBJECTS

    rows = re.findall(r"^\| (\w[^|]*) \| [^|]+ \| (`[^|]+`) \| ([^|]+) \|$",
                      (ROOT / "docs/notifications.md").read_text(), re.M)  # fmt: skip
    said = [
        (name, set(re.findall(r"[a-z_]+\.[a-z_]+", types)), goes[:3] == "yes") for name, types, goes in rows
    ]
    assert said == [(one.name, set(one.types), one.tells) for one in SUBJECTS.values()]


def test_every_event_stands_in_the_page_of_webhooks():
    from everystall.notify.messages import TYPES

    page = (ROOT / "docs/webhooks.md").read_text()
    assert set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", page, re.M)) == set(TYPES)


def test_every_error_code_that_the_api_page_names_exists():
    from everystall import errors

    known = {getattr(each, "code", None) for each in vars(errors).values()}
    named = set(re.findall(r"4\d\d `(\w+)`", (ROOT / "docs/api.md").read_text()))
    assert named
    assert named <= known


def test_the_architecture_page_has_the_lanes_and_the_order_of_imports_as_they_are():
    from everystall.engine import LANES

    said = (ROOT / "ARCHITECTURE.md").read_text()
    (named,) = re.findall(r"^\w+ \*\*lanes\*\*, (.+?)\.\s", said, re.M | re.S)
    assert re.findall(r"`(\w+)`", named) == list(LANES)
    (order,) = re.findall(r"^cli > .+?(?=^```)", said, re.M | re.S)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert [" ".join(one.split()) for one in order.split(">")] == contracts[0]["layers"][1:]

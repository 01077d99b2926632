"""The browser is found where it is, and its absence is told with what mends it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from everystall.browser import chromium
from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.errors import Misconfigured
from everystall.settings import Settings


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with nothing on its PATH, in its applications or in Playwright's cache."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "cache"))
    monkeypatch.setattr(chromium, "PLACES", ())
    return tmp_path


def program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\necho Chromium 1\n")
    path.chmod(0o755)
    return path


def settings(**values):
    return Settings(_env_file=None, **values)


def test_no_chromium_is_told_with_the_command_that_mends_it(bare):
    with pytest.raises(Misconfigured) as caught:
        find_chromium(settings())
    assert "make chromium" in caught.value.action


def test_the_setting_comes_first_and_must_be_a_program(bare):
    program(bare / "bin" / "chromium")
    mine = program(bare / "mine")
    assert find_chromium(settings(chromium=mine)) == mine
    mine.chmod(0o644)
    with pytest.raises(Misconfigured, match="CHROMIUM"):
        find_chromium(settings(chromium=mine))


def test_an_installed_one_is_found_before_playwrights(bare):
    cached = program(bare / "cache" / "chromium-1200" / "chrome-linux" / "chrome")
    assert find_chromium(settings()) == cached
    newer = program(bare / "cache" / "chromium-1201" / "chrome-linux64" / "chrome")
    assert find_chromium(settings()) == newer
    installed = program(bare / "bin" / "google-chrome")
    assert find_chromium(settings()) == installed


def test_what_lies_behind_a_start_script_comes_before_the_script(bare, monkeypatch):
    program(bare / "bin" / "chromium")
    behind = program(bare / "lib" / "chromium")
    monkeypatch.setattr(chromium, "PLACES", (str(behind),))
    assert find_chromium(settings()) == behind


def test_a_browser_that_does_not_start_is_not_taken_for_one(bare):
    broken = program(bare / "broken")
    broken.write_text("#!/bin/sh\nexit 127\n")
    assert not chromium.starts(broken)
    assert chromium.starts(program(bare / "sound"))


@pytest.mark.browser
def test_make_prints_one_line_where_a_chromium_is_installed():
    done = subprocess.run(
        [sys.executable, "-m", "everystall.browser.chromium"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Chromium: /")
    assert done.stdout.count("\n") == 1


def test_no_crash_handler_may_outlive_the_browser():
    assert "--disable-breakpad" in LAUNCH_ARGS

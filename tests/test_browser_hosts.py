"""Hosts that an adapter does not list, kept for the doctor."""

from __future__ import annotations

import json

from everystall import doctor
from everystall.browser import hosts
from everystall.settings import Settings


def test_they_are_kept_with_the_day_and_nothing_else(tmp_path):
    hosts.remember(tmp_path, "mercari", {"cdn.example.com"})
    hosts.remember(tmp_path, "mercari", {"Pay.example.com", "no host/at?all=secret", ""})
    hosts.remember(tmp_path, "ebay", ())
    (file,) = (tmp_path / "run" / "hosts").iterdir()
    assert file.name == "mercari.json"
    assert file.stat().st_mode & 0o077 == 0
    assert set(json.loads(file.read_text())) == {"cdn.example.com", "pay.example.com"}
    assert "secret" not in file.read_text()


def test_what_is_damaged_or_cannot_be_written_is_no_failure(tmp_path):
    folder = tmp_path / "run" / "hosts"
    folder.mkdir(parents=True)
    (folder / "mercari.json").write_text("{")
    (folder / "ebay.json").write_text('["a"]')
    assert hosts.find(tmp_path) == {}
    hosts.remember(tmp_path, "mercari", {"cdn.example.com"})
    assert set(hosts.find(tmp_path)["mercari"]) == {"cdn.example.com"}
    hosts.remember(tmp_path / "run" / "hosts" / "ebay.json", "mercari", {"cdn.example.com"})


def test_no_more_than_the_last_ones_are_kept(tmp_path):
    hosts.remember(tmp_path, "mercari", {f"h{n}.example.com" for n in range(hosts.MOST + 50)})
    assert len(hosts.find(tmp_path)["mercari"]) == hosts.MOST


def test_the_doctor_shows_them_and_what_to_do(tmp_path):
    settings = Settings(_env_file=None, everystall_home=tmp_path)
    assert "no visit met" in doctor._hosts(settings, print)
    hosts.remember(tmp_path, "mercari", {"cdn.example.com"})
    said = doctor._hosts(settings, print)
    assert "Mercari: cdn.example.com (20" in said
    assert "NOTES.md" in said

"""What an owner changes while everything runs: at once, written down, and nobody else's to see or change."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

from everystall.choices import CHANGEABLE, Following, choose
from everystall.settings import Settings
from tests.api.conftest import ADDRESS

HTML = {"accept": "text/html"}


@pytest.fixture
async def owner(site):
    return await site.person("olga", "owner")


async def save(person, **values):
    form = {"csrf": person.csrf, **values}
    return await person.client.post("/settings", data=form, headers=HTML)


async def test_an_owner_changes_a_setting_and_who_did_it_is_written_down(site, owner):
    page = await owner.get("/settings", headers=HTML)
    assert page.status_code == 200
    assert 'name="watch_seconds" value="75"' in page.text
    saved = await save(owner, watch_seconds="120", pace_seconds="", event_days="30")
    assert saved.status_code == 303
    assert saved.headers["location"] == "/settings?said=settings"
    settings = site.app.state.parts.settings
    assert (settings.watch_seconds, settings.pace_seconds, settings.event_days) == (120, None, 30)
    assert settings.public_url == site.settings.public_url
    page = await owner.get("/settings", headers=HTML)
    assert "Look for sales: its default → 120" in page.text
    assert "olga@example.com" in page.text
    assert page.text.count(" → ") == 1  # what stayed as it was is no change
    await save(owner, watch_seconds="")
    assert site.app.state.parts.settings.watch_seconds == 75
    assert "Look for sales: 120 → its default" in (await owner.get("/settings", headers=HTML)).text


async def test_what_cannot_be_is_said_at_the_field_and_nothing_is_saved(site, owner):
    refused = await save(owner, watch_seconds="120", event_days="1", daily_cap="some", pace_seconds="inf")
    assert refused.status_code == 422
    assert refused.text.count('aria-invalid="true"') == 3
    assert 'name="daily_cap" value="some"' in refused.text
    assert "At least 2." in refused.text
    assert await site.rows("SELECT * FROM everystall.chosen_settings") == []
    assert site.app.state.parts.settings.watch_seconds == 75


async def test_a_seller_has_no_such_page_and_changes_nothing(site, owner):
    sam = await site.person("sam")
    for path in ("/settings", "/settings/connection"):
        assert (await sam.get(path, headers=HTML)).status_code == 404
    assert (await save(sam, watch_seconds="1")).status_code == 404
    with pytest.raises(DBAPIError, match="only an owner"):
        await choose(site.database, sam.user_id, {"watch_seconds": 1})
    with pytest.raises(ValueError, match="public_url"):
        await choose(site.database, owner.user_id, {"public_url": 1})
    assert await site.rows("SELECT * FROM everystall.setting_changes") == []


async def test_no_secret_is_shown(site, owner):
    parts = site.app.state.parts
    parts.settings = parts.following.began = site.settings.model_copy(
        update={
            "metrics_token": SecretStr("canary-of-a-token"),
            "api_url": "https://me:canary@api.example.com",
        }
    )
    page = await owner.get("/settings", headers=HTML)
    assert page.status_code == 200
    assert "set, and not shown" in page.text
    assert "https://api.example.com" in page.text
    assert "canary" not in page.text
    assert site.settings.database_url.get_secret_value() not in page.text


async def test_what_the_environment_says_wins_and_is_shown_as_such(site, owner, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WATCH_SECONDS", "60")
    parts = site.app.state.parts
    kept = ("everystall_home", "database_url", "public_url", "everystall_root_path")
    said = Settings(**{name: getattr(site.settings, name) for name in kept})
    parts.settings, parts.following = said, Following(said)
    page = await owner.get("/settings", headers=HTML)
    assert "Set in environment" in page.text
    assert 'name="watch_seconds"' not in page.text
    await save(owner, watch_seconds="120", event_days="40")
    assert (parts.settings.watch_seconds, parts.settings.event_days) == (60, 40)
    assert [row["name"] for row in await site.rows("SELECT name FROM everystall.chosen_settings")] == [
        "event_days"
    ]


async def test_another_process_follows_and_one_that_cannot_ask_keeps_what_it_had(site, owner):
    class Other:
        settings = site.settings

    other, following = Other(), Following(site.settings)
    await choose(site.database, owner.user_id, {"job_days": 100, "watch_seconds": 80, "page_seconds": 45})
    await following.follow(other, site.database)
    now = other.settings
    assert (now.job_days, now.watch_seconds, now.page_seconds) == (100, 80, 45)
    await choose(site.database, owner.user_id, {"job_days": 200})
    await following.follow(other, site.database)
    assert other.settings.job_days == 100  # asked a moment ago
    await site.rows("UPDATE everystall.chosen_settings SET value = '-4' WHERE name = 'watch_seconds'")
    await following.follow(other, site.database, at_once=True)
    assert (other.settings.job_days, other.settings.watch_seconds) == (200, 75)  # what cannot be is left out
    await site.rows("ALTER FUNCTION everystall.chosen_settings() RENAME TO away")
    await following.follow(other, site.database, at_once=True)
    assert other.settings.job_days == 200


def test_what_may_be_changed_is_no_secret_and_nothing_that_a_start_needs():
    for name in CHANGEABLE:
        assert Settings.model_fields[name].annotation in (int, float, int | None, float | None)


# ---- the connection check -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (
            {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.9"},
            ["Visitors are told apart", "192.0.2.9"],
        ),
        ({"x-forwarded-for": "192.0.2.9"}, ["The header X-Forwarded-Proto is missing"]),
        ({"x-forwarded-proto": "https"}, ["The header X-Forwarded-For is missing"]),
        (
            {"host": "127.0.0.1:8720", "x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.9"},
            ["The header Host is not passed on"],
        ),
        ({"host": "everystall.test:8443", "x-forwarded-proto": "https"}, ["another one than PUBLIC_URL"]),
        ({"host": "127.0.0.1:8720"}, ["You opened it on this machine itself"]),
    ],
)
async def test_the_check_says_which_header_is_missing(site, owner, headers, said):
    owner.client.base_url = ADDRESS.replace("https", "http")  # as a proxy asks us
    cookies = "; ".join(f"{name}={value}" for name, value in owner.client.cookies.items())
    page = await owner.get("/settings/connection", headers={**HTML, "cookie": cookies, **headers})
    assert page.status_code == 200
    for one in said:
        assert one in page.text
    missing = [name for name in ("Proto", "For") if f"The header X-Forwarded-{name} is missing" in page.text]
    for name in missing:
        assert f"X-Forwarded-{name} is missing" in " ".join(said) or "8443" in headers.get("host", "")
    assert "server_name everystall.test" in page.text


async def test_a_form_of_ours_shows_its_origin_and_one_of_anothers_is_refused(site, owner):
    ours = await owner.client.post("/settings/connection", data={"csrf": owner.csrf}, headers=HTML)
    assert ours.status_code == 200
    assert "Forms get through." in ours.text
    theirs = {**HTML, "origin": "https://elsewhere.example"}
    refused = await owner.client.post("/settings/connection", data={"csrf": owner.csrf}, headers=theirs)
    assert refused.status_code == 403

"""What an owner changes while everything runs: at once, written down, and nobody else's to see or change."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

from everystall import doctor
from everystall.choices import CHANGEABLE, KEPT, Following, choose
from everystall.content.model import Model
from everystall.settings import Settings
from tests.api.conftest import ADDRESS

HTML = {"accept": "text/html"}
SMTP = "smtps://post:canary-of-a-word@mail.example.com?from=shop@example.com"


def following(site, settings=None, tell=lambda newer: None):
    return Following(settings or site.settings, site.app.state.parts.vault.open_setting, tell)


async def choose_here(site, person, **values):
    await choose(site.database, person.user_id, values, site.app.state.parts.vault.seal_setting)


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
    assert "Look for sales on cross-listed accounts: its default → 120" in page.text
    assert "olga@example.com" in page.text
    assert page.text.count(" → ") == 1  # what stayed as it was is no change
    await save(owner, watch_seconds="")
    assert site.app.state.parts.settings.watch_seconds == 75
    page = await owner.get("/settings", headers=HTML)
    assert "Look for sales on cross-listed accounts: 120 → its default" in page.text


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
        await choose_here(site, sam, watch_seconds=1)
    with pytest.raises(ValueError, match="public_url"):
        await choose_here(site, owner, public_url="https://elsewhere.example")
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
    parts.settings, parts.following = said, following(site, said)
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

    other, follows = Other(), following(site)
    await choose_here(site, owner, job_days=100, watch_seconds=80, page_seconds=45)
    await follows.follow(other, site.database)
    now = other.settings
    assert (now.job_days, now.watch_seconds, now.page_seconds) == (100, 80, 45)
    await choose_here(site, owner, job_days=200)
    await follows.follow(other, site.database)
    assert other.settings.job_days == 100  # asked a moment ago
    await site.rows("UPDATE everystall.chosen_settings SET value = '-4' WHERE name = 'watch_seconds'")
    await follows.follow(other, site.database, at_once=True)
    assert (other.settings.job_days, other.settings.watch_seconds) == (200, 75)  # what cannot be is left out
    await site.rows("ALTER FUNCTION everystall.chosen_settings() RENAME TO away")
    await follows.follow(other, site.database, at_once=True)
    assert other.settings.job_days == 200


def test_every_setting_is_changed_here_or_says_why_not():
    kept = [name for names in KEPT.values() for name in names]
    assert sorted([*CHANGEABLE, *kept]) == sorted(Settings.model_fields)
    for name, choice in CHANGEABLE.items():
        assert choice.secret == ("SecretStr" in str(Settings.model_fields[name].annotation)), name


async def test_a_secret_is_sealed_shown_to_nobody_and_followed_at_once(site, owner):
    parts = site.app.state.parts
    page = await save(owner, smtp_url="mail.example.com", openrouter_api_key="canary-of-a-key")
    assert page.status_code == 422
    assert "It is written as smtps://user:password@mail.example.com" in page.text
    assert "canary" not in page.text
    saved = await save(owner, smtp_url=SMTP, openrouter_api_key="canary-of-a-key", openrouter_model="a/b")
    assert saved.status_code == 303
    assert parts.settings.smtp_url.get_secret_value() == SMTP
    assert (parts.model.ready, parts.model.name) == (True, "a/b")
    kept = await site.rows("SELECT name, value::text FROM everystall.chosen_settings")
    changes = await site.rows("SELECT before::text, after::text FROM everystall.setting_changes")
    page = await owner.get("/settings", headers=HTML)
    for said in (str(kept), str(changes), page.text):
        assert "canary" not in said
    assert "Mail server: not set → set" in page.text
    heard = []

    class Worker:
        settings = site.settings

    worker = Worker()
    await following(site, tell=heard.append).follow(worker, site.database)
    assert worker.settings.smtp_url.get_secret_value() == SMTP
    assert heard == [worker.settings]
    await save(owner, smtp_url="", watch_seconds="90")  # an empty field leaves it
    assert parts.settings.smtp_url is not None
    await save(owner, smtp_url="", take="smtp_url")
    assert parts.settings.smtp_url is None
    assert parts.model.ready


async def test_a_mail_server_in_our_own_network_is_for_the_environment_to_name(site, owner):
    parts = site.app.state.parts
    for host in ("127.0.0.1", "[::1]", "localhost", "10.0.0.5", "192.168.1.2", "169.254.169.254",
                 "relay.local", "[::ffff:10.0.0.5]", "[fd00::1]", "0.0.0.0"):  # fmt: skip
        page = await save(owner, smtp_url=f"smtp://post:canary-of-a-word@{host}:25?from=shop@example.com")
        assert page.status_code == 422, host
        assert "sets SMTP_URL there" in page.text, host
        assert "canary" not in page.text
    assert await site.rows("SELECT * FROM everystall.chosen_settings") == []
    assert "smtp_url" not in parts.settings.chosen
    # what is said nowhere of it, is looked at as it is dialled
    assert (await save(owner, smtp_url=SMTP)).status_code == 303
    assert parts.settings.chosen == {"smtp_url"}
    # an environment that allows it, does
    parts.settings = parts.following.began = site.settings.model_copy(update={"webhook_allow_private": True})
    near = "smtp+plain://10.0.0.5:25?from=shop@example.com"
    assert (await save(owner, smtp_url=near)).status_code == 303
    assert parts.settings.smtp_url.get_secret_value() == near
    # where errors are reported to nobody chooses here
    await save(owner, sentry_dsn="https://key@10.0.0.5/1", watch_seconds="90")
    assert parts.settings.sentry_dsn is None
    with pytest.raises(ValueError, match="sentry_dsn"):
        await choose_here(site, owner, sentry_dsn=SecretStr("https://key@10.0.0.5/1"))


async def test_a_secret_that_another_key_sealed_is_left_out_and_the_others_count(site, owner):
    await choose_here(site, owner, smtp_url=SecretStr(SMTP), job_days=100)
    await site.rows("UPDATE everystall.chosen_settings SET value = jsonb_set(value, '{sealed}', '\"AAAA\"') "
                    "WHERE name = 'smtp_url'")  # fmt: skip

    class Other:
        settings = site.settings

    other = Other()
    await following(site).follow(other, site.database)
    assert (other.settings.smtp_url, other.settings.job_days) == (None, 100)


async def test_how_long_a_sign_in_lasts_is_followed_by_the_vault(site, owner):
    await save(owner, session_days="3")
    assert site.app.state.parts.vault.settings.session_days == 3


async def test_the_page_is_sought_and_marks_what_differs(site, owner):
    await save(owner, watch_seconds="120")
    page = (await owner.get("/settings?q=mail+server", headers=HTML)).text
    assert 'name="smtp_url"' in page
    assert 'name="watch_seconds"' not in page
    page = (await owner.get("/settings?differs=yes", headers=HTML)).text
    assert 'name="watch_seconds" value="120"' in page
    assert 'name="event_days"' not in page
    page = (await owner.get("/settings?q=nothing+of+ours", headers=HTML)).text
    assert "Nothing here is like that." in page
    assert "Sign-ins, or a key, are sent there." in (await owner.get("/settings", headers=HTML)).text


# ---- the connection check -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (
            {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.9"},
            ["Visitors are told apart", "192.0.2.9"],
        ),
        ({"x-forwarded-for": "192.0.2.9"}, ["The header X-Forwarded-Proto is missing"]),
        (
            {"x-forwarded-proto": "http", "x-forwarded-for": "192.0.2.9"},
            ["The header X-Forwarded-Proto says http."],
        ),
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


async def test_the_check_says_of_a_proxy_that_it_is_not_believed(site, owner):
    cookies = "; ".join(f"{name}={value}" for name, value in owner.client.cookies.items())
    proxy = site.client(address="172.18.0.1")
    proxy.base_url = ADDRESS.replace("https", "http")
    sent = {"cookie": cookies, "x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.9"}
    page = await proxy.get("/settings/connection", headers={**HTML, **sent})
    assert "The header X-Forwarded-Proto is not believed." in page.text
    assert "It came from 172.18.0.1, which TRUSTED_PROXIES does not name." in page.text
    assert "believed from 127.0.0.1, ::1" in page.text


async def test_a_form_of_ours_shows_its_origin_and_one_of_anothers_is_refused(site, owner):
    ours = await owner.client.post("/settings/connection", data={"csrf": owner.csrf}, headers=HTML)
    assert ours.status_code == 200
    assert "Forms get through." in ours.text
    theirs = {**HTML, "origin": "https://elsewhere.example"}
    refused = await owner.client.post("/settings/connection", data={"csrf": owner.csrf}, headers=theirs)
    assert refused.status_code == 403


def test_what_a_setting_is_called_says_what_it_is_without_its_group():
    labels = [choice.label for choice in CHANGEABLE.values()]
    assert len(set(labels)) == len(labels)
    assert [one for one in labels if len(one.split()) < 2 or one.split()[0] in ("A", "And", "At")] == []


async def test_what_the_doctor_tells_goes_by_what_an_owner_chose(site, owner):
    assert not Model(await doctor._as_chosen(site.settings)).ready
    await choose_here(site, owner, openrouter_api_key="canary-of-a-key", openrouter_model="a/b")
    now = await doctor._as_chosen(site.settings)
    assert Model(now).ready
    assert now.openrouter_model == "a/b"

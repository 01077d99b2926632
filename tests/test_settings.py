"""Settings from the environment and from files: whatever is wrong is named, and its value never shown."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest

from everystall.errors import Misconfigured
from everystall.settings import _SECRETS, Settings, load

SECRET = "postgresql://everystall:hunter2-hunter2@db.example.com/everystall"
#: These have a form of their own.
WHSEC = "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg=="
SMTP = f"smtps://postman:{quote(SECRET, safe='')}@mail.example.com?from=shop@example.com"
DSN = "https://hunter2hunter2@sentry.example.com/7"
OTLP = f"x-key={quote(SECRET, safe='')},x-team=7"
FORMS = {
    "WEBHOOK_SECRET": WHSEC, "SMTP_URL": SMTP, "SENTRY_DSN": DSN, "OTEL_EXPORTER_OTLP_HEADERS": OTLP,
}  # fmt: skip
VALUES = {name: FORMS.get(name, SECRET) for name in _SECRETS}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of ours in the environment, and no .env where we run."""
    ours = {name.upper() for name in Settings.model_fields}
    for name in list(os.environ):
        if name.upper().removesuffix("_FILE") in ours:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _all_that_is_said(error: Misconfigured) -> str:
    """Everything that a log, a traceback or an answer could show of it, causes and all."""
    said, one = "", error
    while one is not None:
        said += f"{one!s} {one!r} {one.args}"
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return f"{said} {error.message} {error.action} {error.as_json()}"


@pytest.mark.parametrize("wrong", ["*", "caddy", "10.0.0.1/8", "127.0.0.1;::1", ""])
def test_a_proxy_that_is_no_address_is_refused_at_the_start(wrong):
    with pytest.raises(Misconfigured, match="TRUSTED_PROXIES"):
        load(trusted_proxies=wrong)


def test_proxies_are_addresses_and_networks():
    assert (
        load(trusted_proxies="127.0.0.1, 10.0.0.0/8,fd00::1").trusted_proxies
        == "127.0.0.1,10.0.0.0/8,fd00::1"
    )


def test_every_secret_setting_may_come_from_a_file():
    declared = {name.upper() for name, field in Settings.model_fields.items()
                if "SecretStr" in str(field.annotation)}  # fmt: skip
    assert declared == set(_SECRETS)


@pytest.mark.parametrize("name", _SECRETS)
def test_a_secret_comes_from_the_environment(monkeypatch, name):
    monkeypatch.setenv(name, VALUES[name])
    value = getattr(load(), name.lower())
    assert value.get_secret_value() == VALUES[name]
    assert VALUES[name] not in repr(load())


@pytest.mark.parametrize("name", _SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_comes_from_a_file_without_the_newline_at_its_end(monkeypatch, tmp_path, name, end):
    file = tmp_path / "secret"
    file.write_bytes((VALUES[name] + end).encode())
    monkeypatch.setenv(f"{name}_FILE", str(file))
    settings = load()
    assert getattr(settings, name.lower()).get_secret_value() == VALUES[name]
    assert VALUES[name] not in repr(settings)
    others = set(_SECRETS) - {name}
    assert {getattr(settings, other.lower()) for other in others} == {None}


@pytest.mark.parametrize("name", _SECRETS)
@pytest.mark.parametrize("what", ["missing", "a folder", "not text"])
def test_a_secret_file_that_cannot_be_read_is_named(monkeypatch, tmp_path, name, what):
    file = tmp_path / "secret"
    if what == "a folder":
        file.mkdir()
    elif what == "not text":
        file.write_bytes(b"hunter2\xff\xfe")
    monkeypatch.setenv(f"{name}_FILE", str(file))
    with pytest.raises(Misconfigured) as caught:
        load()
    said = _all_that_is_said(caught.value)
    assert f"{name}_FILE" in caught.value.message
    assert str(file) in said
    assert "hunter2" not in said


def test_what_the_caller_gives_wins_over_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "missing"))
    settings = load(database_url=SECRET)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVERYSTALL_PORT", "eighty-seven"),
        ("EVERYSTALL_PORT", "70007"),
        ("PBKDF2_ITERATIONS", "99999"),
        ("WORKER_VISITS", "0.75"),
        ("SESSION_DAYS", "-31337"),
        ("PACE_SECONDS", "-31337"),
        ("LOG_FORMAT", "hieroglyphs"),
        ("PHOTOS_URL", "s3:/bucket"),
        ("PHOTOS_URL", "S3//x"),
        ("PHOTOS_URL", "pictures"),
        ("PHOTOS_URL", "./photos"),
        ("PHOTOS_URL", "file://srv/hidden"),
        ("PHOTOS_S3_ENDPOINT", "s3.internal:9000"),
        ("PHOTOS_S3_ENDPOINT", "hunter2.internal"),
        ("PHOTOS_S3_ENDPOINT", "https://key:hunter2@s3.internal"),
        ("PHOTOS_S3_ENDPOINT", "https://s3.internal:hunter2"),
        ("SENTRY_DSN", "hunter2.sentry.example.com"),
        ("SENTRY_DSN", "https://sentry.example.com/hunter2"),
        ("OIDC_ISSUER", "http://id.example.com"),
        ("OIDC_ISSUER", "hunter2.example"),
        ("OIDC_ISSUER", "https://hunter2@id.example.com"),
        ("OIDC_DOMAINS", "@example"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2.collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://hunter2@collector.example.com"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter2,\nx: hunter2"),
        ("WORKER_PLACE", "At Home"),
        ("WORKER_PLACE", "-attic"),
        ("WEBHOOK_SECRET", "whsec_c2hvcnQtaHVudGVyMg=="),
        ("WEBHOOK_SECRET", "no-prefix-aHVudGVyMi1odW50ZXIyLWh1bnRlcjI="),
        ("WEBHOOK_SECRET", "whsec_not!base64-hunter2-hunter2-hunter2"),
    ],
)
def test_an_invalid_value_is_named_and_not_shown(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as caught:
        load()
    assert name in caught.value.message
    assert value not in _all_that_is_said(caught.value)
    assert not set("^{[\\") & set(caught.value.message), "said in words"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"OIDC_ISSUER": "https://id.example.com"}, "OIDC_CLIENT_ID"),
        ({"PASSWORD_SIGN_IN": "false"}, "no OIDC_ISSUER lets anybody in"),
    ],
)
def test_a_way_in_is_whole_or_refused(monkeypatch, given, said):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=said) as caught:
        load()
    assert ": : " not in caught.value.message


def test_the_domains_that_join_by_a_provider(monkeypatch):
    assert list(load().oidc_let_in) == []
    monkeypatch.setenv("OIDC_DOMAINS", " Shop.example,other.example, ")
    assert list(load().oidc_let_in) == ["shop.example", "other.example"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_URL", "other.supabase.co"), ("SUPABASE_URL", "http://other.supabase.co"),
        ("SUPABASE_URL", "https://other.supabase.co/auth/v1"), ("SUPABASE_URL", "https://u:p@x.supabase.co"),
        ("SUPABASE_JWT_SECRET", "short"), ("SUPABASE_OWNER", "you@example.com"),
    ],
)  # fmt: skip
def test_a_project_is_named_by_its_address_and_its_owner_by_number(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=name) as caught:
        load()
    assert value not in _all_that_is_said(caught.value)


def test_a_project_on_this_machine_is_asked_by_http(monkeypatch):
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:54321/")
    assert load().supabase_url == "http://127.0.0.1:54321"


@pytest.mark.parametrize("value", ["/srv/photos", "~/photos", "file:///srv/photos", "s3://bucket/path"])
def test_folders_from_the_root_and_addresses_are_photo_stores(monkeypatch, value):
    monkeypatch.setenv("PHOTOS_URL", value)
    assert load().photos_location == value


def test_every_wrong_setting_is_named_at_once_and_a_right_secret_beside_it_is_not_shown(monkeypatch):
    monkeypatch.setenv("EVERYSTALL_PORT", "eighty-seven")
    monkeypatch.setenv("LOG_FORMAT", "hieroglyphs")
    monkeypatch.setenv("DATABASE_URL", SECRET)
    with pytest.raises(Misconfigured) as caught:
        load()
    assert {"EVERYSTALL_PORT", "LOG_FORMAT"} <= set(caught.value.message.replace(":", "").split())
    assert "hunter2" not in _all_that_is_said(caught.value)


def test_a_wrong_port_is_one_complaint(monkeypatch):
    monkeypatch.setenv("EVERYSTALL_PORT", "notaport")
    with pytest.raises(Misconfigured) as caught:
        load()
    assert "PUBLIC_URL" not in caught.value.message
    assert caught.value.message.count(";") == 0


def test_an_env_file_beside_us_is_read(tmp_path):
    (tmp_path / ".env").write_text("EVERYSTALL_PORT=8901\nDATABASE_URL=" + SECRET + "\n")
    settings = load()
    assert settings.everystall_port == 8901
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == SECRET


@pytest.mark.parametrize("name", _SECRETS)
def test_an_env_file_may_name_a_secrets_file(tmp_path, name):
    (tmp_path / "secret").write_text(f"{VALUES[name]}\n")
    (tmp_path / ".env").write_text(f"{name}_FILE={tmp_path / 'secret'}\n")
    assert getattr(load(), name.lower()).get_secret_value() == VALUES[name]


@pytest.mark.parametrize("set_outside", ["DATABASE_URL", "DATABASE_URL_FILE"])
def test_the_environment_wins_over_what_an_env_file_names(monkeypatch, tmp_path, set_outside):
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / ".env").write_text(f"DATABASE_URL=postgresql://x\nDATABASE_URL_FILE={tmp_path / 'missing'}\n")
    value = SECRET if set_outside == "DATABASE_URL" else str(tmp_path / "secret")
    monkeypatch.setenv(set_outside, value)
    settings = load()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == SECRET


def test_a_secret_that_is_said_in_two_ways_in_one_place_is_refused_and_not_told(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://canary")
    with pytest.raises(Misconfigured, match="DATABASE_URL and DATABASE_URL_FILE are both set") as caught:
        load()
    assert "canary" not in f"{caught.value.message} {caught.value.action}"
    monkeypatch.setenv("DATABASE_URL", "")  # as compose has what is not set
    assert load().database_url.get_secret_value() == SECRET


def test_a_secrets_file_that_an_env_file_names_and_is_not_there_is_named(tmp_path):
    (tmp_path / ".env").write_text("DATABASE_URL_FILE=/nowhere/secret\nLOG_FORMAT=json\n")
    with pytest.raises(Misconfigured, match="DATABASE_URL_FILE names a file") as caught:
        load()
    assert "/nowhere/secret" in caught.value.action


def test_an_env_file_that_is_not_text_is_named_and_not_shown(tmp_path):
    (tmp_path / ".env").write_bytes(b"DATABASE_URL=hunter2\xff\xfe\n")
    with pytest.raises(Misconfigured, match=r"\.env here cannot be read") as caught:
        load()
    assert "hunter2" not in _all_that_is_said(caught.value)


@pytest.mark.parametrize(
    "url",
    ["mail.example.com", "https://mail.example.com?from=a@example.com", "smtps://mail.example.com",
     "smtps://mail.example.com?from=nobody", "smtps://?from=a@example.com", "smtp://host:port?from=a@b.c"],
)  # fmt: skip
def test_a_mail_server_that_cannot_be_one_is_named_without_its_password(monkeypatch, url):
    monkeypatch.setenv("SMTP_URL", url.replace("://", "://postman:hunter2@", 1))
    with pytest.raises(Misconfigured, match="SMTP_URL") as caught:
        load()
    assert "hunter2" not in _all_that_is_said(caught.value)

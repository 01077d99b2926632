"""Every setting, in one place. Names are the environment's; each secret may also come as `NAME_FILE`, and
either may stand in `.env`.

Nothing is read at import: `load()` reads the environment, an `.env` beside where we run, and files.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from email.utils import parseaddr
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

from everystall.errors import Misconfigured

_SECRETS = ("DATABASE_URL", "DATABASE_ADMIN_URL", "SESSION_ENCRYPTION_KEY", "SESSION_ENCRYPTION_PASSPHRASE",
            "REDIS_URL", "WEBHOOK_SECRET", "PHOTOS_S3_KEY_SECRET", "BROWSER_CDP_URL", "BACKUP_PASSPHRASE",
            "METRICS_TOKEN", "SENTRY_DSN", "SMTP_URL", "VAPID_PRIVATE_KEY", "OPENROUTER_API_KEY",
            "OIDC_CLIENT_SECRET", "SUPABASE_JWT_SECRET", "OTEL_EXPORTER_OTLP_HEADERS",
            "BROWSER_USE_API_KEY")  # fmt: skip

#: A header of OTEL_EXPORTER_OTLP_HEADERS.
_PAIR = re.compile(r"\s*([A-Za-z0-9-]+)\s*=\s*([!-+\--~]+)\s*")
#: A place's name: what a worker calls where it stands, and an account where it is to be visited from.
PLACE = r"^[a-z0-9][a-z0-9-]{0,39}$"


def place_name(value: str) -> str:
    """The same. Raises ValueError with what one is."""
    if not re.fullmatch(PLACE, value):
        raise ValueError(
            "is small letters, digits and hyphens (home, shop-2), the first no hyphen, 40 at most"
        )
    return value


def _not_to_be_guessed(value: SecretStr | None) -> SecretStr | None:
    if value is not None and len(value.get_secret_value()) < 16:
        raise ValueError("has 16 characters or more (openssl rand -hex 24)")
    return value


def _a_mail_server(value: SecretStr | None) -> SecretStr | None:
    if value is None or not value.get_secret_value():
        return None
    try:
        parts = urlsplit(value.get_secret_value())
        senders, _ = parse_qs(parts.query).get("from", [""]), parts.port
    except ValueError:
        raise ValueError("is not an address") from None
    if parts.scheme not in ("smtp", "smtps", "smtp+plain") or not parts.hostname:
        raise ValueError("is written as smtps://user:password@mail.example.com?from=shop@example.com")
    if "@" not in parseaddr(senders[0])[1]:
        raise ValueError("says in ?from= whom mails are from: ?from=shop@example.com")
    return value


def _a_dsn(value: SecretStr | None) -> SecretStr | None:
    if value is None or not value.get_secret_value():
        return None
    try:
        parts = urlsplit(value.get_secret_value())
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.username and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not parts.path.rpartition("/")[2].isdigit():
        raise ValueError("is written as https://key@sentry.example.com/1")
    return value


def _pairs(value: SecretStr | None) -> SecretStr | None:
    if value is None or not value.get_secret_value():
        return None
    if not all(_PAIR.fullmatch(one) for one in value.get_secret_value().split(",")):
        raise ValueError("is written as name=value,name=value, the values as in an address (%20 for a space)")
    return value


class Settings(BaseSettings):
    """Read once at start-up and passed on as an argument."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    #: Names of those that an owner chose while everything runs: not by who may write the environment.
    _chosen: frozenset[str] = PrivateAttr(frozenset())
    #: The data folder: embedded database, key ring, photos. Made with mode 0700.
    everystall_home: Path = Field(default_factory=lambda: _default_home())
    #: Where the web listens.
    everystall_port: int = Field(default=8720, ge=1, le=65535)
    #: On this machine alone, or on all its addresses: in a container, where a proxy comes from outside of it.
    everystall_listen: Literal["127.0.0.1", "0.0.0.0"] = "127.0.0.1"
    #: Whose X-Forwarded-For and -Proto are believed: addresses and networks.
    trusted_proxies: str = "127.0.0.1,::1"
    #: The address that people open, without a path; none = http://127.0.0.1:EVERYSTALL_PORT.
    public_url: str = Field(default_factory=lambda data: f"http://127.0.0.1:{data.get('everystall_port')}")
    #: The path of that host below which Everystall stands, where it has not all of it: /everystall.
    everystall_root_path: str = ""
    #: The login role's address; none = the embedded PostgreSQL.
    database_url: SecretStr | None = None
    #: Who migrates; none = the embedded server's owner, or DATABASE_URL's database by its owner.
    database_admin_url: SecretStr | None = None
    #: 32 bytes in base64, instead of the key ring file.
    session_encryption_key: SecretStr | None = None
    #: Wraps the key ring file (PBKDF2-HMAC-SHA256), asked for once at start-up.
    session_encryption_passphrase: SecretStr | None = None
    #: PBKDF2 rounds for a new passphrase; the floor is 100,000.
    pbkdf2_iterations: int = Field(default=600_000, ge=100_000)
    #: Where originals and renditions lie: a folder (default `EVERYSTALL_HOME/photos`) or an object store URL.
    photos_url: str | None = None
    #: An S3-compatible store that is not Amazon's: its address. Plain http is taken as it is said.
    photos_s3_endpoint: str | None = None
    #: Its region; none = AWS_REGION, else us-east-1.
    photos_s3_region: str | None = None
    #: Its keys; none = what AWS's own variables, files or machine roles say.
    photos_s3_key_id: str | None = None
    photos_s3_key_secret: SecretStr | None = None
    #: https://endpoint/bucket/key; false = https://bucket.endpoint/key.
    photos_s3_path_style: bool = True
    #: Where rate limits are counted when several webs run; none = in each web's memory. And where
    #: `bull-intake` finds its jobs.
    redis_url: SecretStr | None = None
    #: The BullMQ queue there.
    bull_queue: str = Field(default="listings", min_length=1, max_length=100, pattern=r"^[^:]+$")
    #: Days for which backups are kept, and what is said to who deletes an account; 0: none is made by itself,
    #: at night or before an upgrade.
    backup_days: int = Field(default=30, ge=0, le=3650)
    #: Opens backups on another machine; none: only where this key ring is.
    backup_passphrase: SecretStr | None = None
    #: Days for which events and the log of their messages, finished jobs, and pictures of failures are kept.
    event_days: int = Field(default=30, ge=2, le=3650)
    job_days: int = Field(default=365, ge=7, le=3650)
    evidence_days: int = Field(default=30, ge=1, le=3650)
    poshmark_url: str = "https://poshmark.com"
    mercari_url: str = "https://www.mercari.com"
    ebay_url: str = "https://www.ebay.com"
    #: An installed Chromium; none = searched for.
    chromium: Path | None = None
    #: A Chromium that runs elsewhere, by its DevTools address (http://, ws:// or wss://), instead of our own.
    browser_cdp_url: SecretStr | None = None
    #: Or one of Browser Use Cloud's for each visit, hired with this key; and where that is.
    browser_use_api_key: SecretStr | None = None
    browser_use_url: str = "https://api.browser-use.com/api/v3"
    #: Where this worker stands: it visits accounts of this place, and those that have none.
    worker_place: str | None = None
    #: Visits at once in one worker; each has a Chromium of its own (about 400 MB on a real site). Imports of
    #: live listings have half as many more.
    worker_visits: int = Field(default=3, ge=1, le=64)
    #: Slots of the urgent lane, beside the above.
    worker_urgent: int = Field(default=2, ge=1, le=64)
    #: Sellers at once at browsers of this worker, each in one of their own besides the above.
    worker_sittings: int = Field(default=2, ge=1, le=64)
    #: Where the web reaches this worker while a seller sits at its browser: http, a host and a port, where it
    #: then listens; none = a free port of 127.0.0.1.
    worker_url: str | None = None
    #: Where this worker answers /healthz and /readyz, at EVERYSTALL_LISTEN; none = nowhere.
    worker_health_port: int | None = Field(default=None, ge=1, le=65535)
    #: Seconds between two posts on one account; none = each marketplace's own human pace.
    pace_seconds: float | None = Field(default=None, ge=0)
    #: New listings per account and day; none = each marketplace's own.
    daily_cap: int | None = Field(default=None, ge=1)
    #: Seconds between two looks at an account's orders: while it holds something that is live elsewhere too,
    #: and while it does not.
    watch_seconds: float = Field(default=75, ge=1)
    watch_alone_seconds: float = Field(default=900, ge=1)
    #: Both at least that in the seller's night, 0:00 to 6:00 where the seller's browser is; 0 = as by day.
    watch_night_seconds: float = Field(default=0, ge=0)
    #: Days that a session stays usable after its last capture or proven signed-in visit.
    session_days: float = Field(default=7, gt=0, le=60)
    #: Days after the seller's last own hand-over when a session ends in any case.
    consent_days: float = Field(default=60, gt=0, le=365)
    #: Seconds. The lease of a visit, and how often it is renewed.
    lease_seconds: float = Field(default=12, gt=0)
    lease_renew_seconds: float = Field(default=2, gt=0)
    #: Seconds after the start of the last renewal when the guard kills the browser.
    guard_seconds: float = Field(default=7, gt=0)
    #: Seconds that the click of a commit target may take.
    commit_click_seconds: float = Field(default=3, gt=0)
    #: Seconds after arming during which we look by ourselves before the seller is asked.
    settle_seconds: float = Field(default=90, gt=0)
    #: Seconds that a locator may take.
    locator_seconds: float = Field(default=3, gt=0)
    #: Seconds that a navigation may take.
    page_seconds: float = Field(default=20, gt=0)
    #: Tell a back end of finished jobs, at API_URL/api/jobs/webhook.
    notifications_webhook_enabled: bool = False
    #: The back end's address; none = our own web.
    api_url: str | None = None
    #: Signs what is sent there, and proves what comes in: `whsec_` and base64; none = made of the key ring.
    webhook_secret: SecretStr | None = None
    #: Sellers' webhooks may lead to this machine and its network, by http and on any port; the services that
    #: they are told by too, and their mailboxes, by TLS.
    webhook_allow_private: bool = False
    #: The server that takes our mails to sellers: `smtps://user:password@host?from=address` (TLS), `smtp://…`
    #: (STARTTLS), `smtp+plain://…`; none = no mails.
    smtp_url: Annotated[SecretStr | None, AfterValidator(_a_mail_server)] = None
    #: What browsers that take pushes know us by, 32 bytes in base64url; none = a file beside the key ring.
    vapid_private_key: SecretStr | None = None
    #: json, or console for a person's eyes.
    log_format: Literal["json", "console"] = "console"
    #: The bearer token for /metrics; none = only this machine's own programs read it, and only where
    #: PUBLIC_URL is this machine's too.
    metrics_token: Annotated[SecretStr | None, AfterValidator(_not_to_be_guessed)] = None
    #: Opens the way to a language model (docs/content.md); none = all goes without.
    openrouter_api_key: SecretStr | None = None
    #: OpenRouter, or what speaks like it.
    openrouter_url: str = "https://openrouter.ai/api/v1"
    #: It sees pictures and calls tools. And who is asked where it does not answer usably; empty: nobody.
    openrouter_model: str = "google/gemini-2.5-flash"
    openrouter_fallback_model: str = "openai/gpt-4.1-mini"
    #: Cents that a seller's questions to it may cost in a month.
    model_budget_cents: int = Field(default=300, ge=0, le=1_000_000)
    #: Signing in by an identity provider (docs/sign-in.md): its issuer; https, or on this machine.
    oidc_issuer: str | None = None
    #: What Everystall is called there, and its secret; none = a public client.
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    #: Who may join by it without an invitation: whose verified address is of these domains, commas between.
    oidc_domains: str = ""
    #: False: nobody signs in with a password, but by the provider or a passkey.
    password_sign_in: bool = True
    #: A Supabase project whose people use Everystall by their access tokens (docs/supabase.md): its address.
    supabase_url: str | None = None
    #: What it signs these by, where it has no signing keys yet: the legacy JWT secret. None = its own keys.
    supabase_jwt_secret: SecretStr | None = None
    #: Who of its people is an owner here: their id there.
    supabase_owner: UUID | None = None
    #: Where errors are reported to (the extra `[sentry]`); none = nowhere.
    sentry_dsn: Annotated[SecretStr | None, AfterValidator(_a_dsn)] = None
    #: Who takes traces, by OTLP over http (docs/operations.md): `/v1/traces` below it; none = nobody.
    otel_exporter_otlp_endpoint: str | None = None
    #: What is sent with them, a key of theirs mostly: name=value,name=value.
    otel_exporter_otlp_headers: Annotated[SecretStr | None, AfterValidator(_pairs)] = None

    @property
    def browser_elsewhere(self) -> bool:
        """Visits are in a browser that this machine did not start."""
        return self.browser_cdp_url is not None or self.browser_use_api_key is not None

    @field_validator("everystall_home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("photos_url")
    @classmethod
    def _a_store(cls, value: str | None) -> str | None:
        """A slip of the pen (`s3:/bucket`) is not made as a folder. Which stores: content/photos.py."""
        if not value:
            return None
        scheme, there, rest = value.partition("://")
        if not value.startswith(("/", "~/")) and (not there or not scheme.isalnum() or not rest):
            raise ValueError(
                "is a folder from the root (/srv/photos), or an address such as s3://bucket/path"
            )
        if scheme == "file" and not rest.startswith("/"):
            raise ValueError("has three strokes where it is a file address: file:///srv/photos")
        return value

    @field_validator("photos_s3_endpoint")
    @classmethod
    def _a_server(cls, value: str | None) -> str | None:
        """Without a scheme or with a wrong port the store's library panics."""
        try:
            parts = urlsplit(value or "https://s3.amazonaws.com")
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.username is not None or parts.query or parts.fragment:
            raise ValueError("is written as https://s3.example.com:9000, or with http; its keys stand apart")
        return value or None

    @field_validator("worker_place")
    @classmethod
    def _a_name(cls, value: str | None) -> str | None:
        return place_name(value) if value is not None else None

    @field_validator("worker_url")
    @classmethod
    def _a_host_and_a_port(cls, value: str | None) -> str | None:
        try:
            parts = urlsplit(value or "http://127.0.0.1:1")
            plain = parts.scheme == "http" and parts.hostname and parts.port and parts.username is None
        except ValueError:
            plain = False
        if not plain or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("is written as http://10.0.0.5:8740: a host of this machine, and a port")
        return value.rstrip("/") if value else None

    @field_validator("browser_cdp_url", "browser_use_api_key")
    @classmethod
    def _nothing_is_none(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value() else None

    @field_validator("openrouter_url", "browser_use_url")
    @classmethod
    def _takes_a_key(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            raise ValueError("is not an address") from None
        if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
            raise ValueError("is written as https://openrouter.ai/api/v1; its key stands apart")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
            raise ValueError("is an https address, or one of this machine: the key goes there")
        return value.rstrip("/")

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _a_collector(cls, value: str | None) -> str | None:
        try:
            parts = urlsplit(value or "http://127.0.0.1:4318")
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.username is not None or parts.query or parts.fragment:
            raise ValueError(
                "is written as http://127.0.0.1:4318; a key stands in OTEL_EXPORTER_OTLP_HEADERS"
            )
        return value.rstrip("/") if value else None

    @property
    def otlp_headers(self) -> dict[str, str]:
        """Those of OTEL_EXPORTER_OTLP_HEADERS."""
        said = self.otel_exporter_otlp_headers
        pairs = [_PAIR.fullmatch(one) for one in said.get_secret_value().split(",")] if said else []
        return {found[1].lower(): unquote(found[2]) for found in pairs if found is not None}

    @field_validator("public_url")
    @classmethod
    def _an_origin(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            raise ValueError("is not an address") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("is written as https://everystall.example.com, or with http and a port")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("has no path: what stands below one is said by EVERYSTALL_ROOT_PATH")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        try:
            return ",".join(str(ip_network(one.strip())).removesuffix("/32").removesuffix("/128")
                            for one in value.split(","))  # fmt: skip
        except ValueError:
            raise ValueError("is addresses and networks with commas between: 127.0.0.1,10.0.0.0/8") from None

    @field_validator("everystall_root_path")
    @classmethod
    def _a_path(cls, value: str) -> str:
        path = value.rstrip("/")
        if path and not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,5}", path):
            raise ValueError("is a path such as /everystall: letters, digits, . _ ~ - between strokes")
        return path

    def choosing(self, chosen: Mapping[str, Any]) -> Settings:
        """These, but for what an owner chose."""
        newer = self.model_copy(update=chosen)
        newer._chosen = frozenset(chosen)
        return newer

    @property
    def chosen(self) -> frozenset[str]:
        return self._chosen

    @property
    def address(self) -> str:
        """What stands before every path of ours in a link: PUBLIC_URL and the root path."""
        return self.public_url + self.everystall_root_path

    @property
    def public_host(self) -> str:
        """The host name of PUBLIC_URL, in lower case."""
        return urlsplit(self.public_url).hostname or ""

    @property
    def secure_cookies(self) -> bool:
        """Whether browsers take cookies marked Secure from us: over https, and on this machine."""
        return self.public_url.startswith("https://") or is_loopback(self.public_host)

    @property
    def worker_reading(self) -> int:
        """Imports of live listings at once in one worker, besides its visits: half as many."""
        return (self.worker_visits + 1) // 2

    @property
    def photos_location(self) -> str:
        return self.photos_url or (self.everystall_home / "photos").as_uri()

    @property
    def photos_of_own_home(self) -> bool:
        """Over a database that others may share, photos lie where only who has this data folder looks."""
        return self.database_url is not None and self.photos_url is None

    @field_validator("oidc_issuer")
    @classmethod
    def _an_issuer(cls, value: str | None) -> str | None:
        """As it stands: it is compared letter by letter."""
        try:
            parts = urlsplit(value or "https://id.example.com")
            _ = parts.port
        except ValueError:
            raise ValueError("is not an address") from None
        if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
            raise ValueError("is written as https://id.example.com, just as the provider calls itself")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
            raise ValueError("is an https address, or one of this machine")
        return value or None

    @field_validator("supabase_url")
    @classmethod
    def _a_project(cls, value: str | None) -> str | None:
        try:
            parts = urlsplit(value or "https://project.supabase.co")
            _ = parts.port
        except ValueError:
            raise ValueError("is not an address") from None
        if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
            raise ValueError("is written as https://abcdefgh.supabase.co")
        if parts.path not in ("", "/"):
            raise ValueError("has no path: /auth/v1 is added to it")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
            raise ValueError("is an https address, or one of this machine")
        return value.rstrip("/") if value else None

    @field_validator("supabase_jwt_secret")
    @classmethod
    def _a_jwt_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("has 32 characters or more: who guesses it is everybody")
        return value

    @field_validator("oidc_domains")
    @classmethod
    def _domains(cls, value: str) -> str:
        names = [one.strip().lower() for one in value.split(",") if one.strip()]
        if not all(re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", one) for one in names):
            raise ValueError("is domains with commas between: example.com,example.org")
        return ",".join(names)

    @model_validator(mode="after")
    def _a_way_in(self) -> Self:
        if self.oidc_issuer is not None and not self.oidc_client_id:
            raise ValueError("OIDC_ISSUER needs OIDC_CLIENT_ID, what Everystall is called there")
        if not self.password_sign_in and self.oidc_issuer is None:
            raise ValueError("PASSWORD_SIGN_IN is false, and no OIDC_ISSUER lets anybody in")
        return self

    @property
    def oidc_let_in(self) -> Sequence[str]:
        """The domains of OIDC_DOMAINS."""
        return self.oidc_domains.split(",") if self.oidc_domains else ()

    @field_validator("webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        """`whsec_` and base64 of 24 bytes at least, as the standard has it."""
        if value is None:
            return None
        prefix, _, word = value.get_secret_value().partition("_")
        try:
            key = base64.b64decode(word, validate=True)
        except ValueError:
            key = b""
        if prefix != "whsec" or len(key) < 24:
            raise ValueError("is `whsec_` and at least 24 bytes in base64 (openssl rand -base64 32)")
        return value

    @property
    def job_webhook_url(self) -> str:
        """Where the worker tells of finished jobs."""
        return (self.api_url or self.address).rstrip("/") + "/api/jobs/webhook"

    def base_url(self, marketplace: str) -> str:
        """The base URL for a marketplace's new connections, without a slash at the end."""
        return str(getattr(self, f"{marketplace}_url")).rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine: 127.0.0.1, ::1, localhost and below."""
    return host in ("127.0.0.1", "::1", "localhost") or host.endswith(".localhost")


def load(**overrides: Any) -> Settings:
    """The settings from the environment. Raises Misconfigured, naming each wrong one and never its value."""
    try:
        sources = EnvSettingsSource(Settings), DotEnvSettingsSource(Settings)
    except (OSError, UnicodeDecodeError) as e:
        raise Misconfigured(
            f"The .env here cannot be read: {_why(e)}.",
            action="Save it as text in UTF-8 that this user may read, or move it away.",
        ) from None
    for name in _SECRETS:
        path = _file_of(name, [source.env_vars for source in sources])
        if path and name.lower() not in overrides:
            try:
                overrides[name.lower()] = Path(path).read_text().strip()
            except (OSError, UnicodeDecodeError) as e:
                raise Misconfigured(
                    f"{name}_FILE names a file that cannot be read: {_why(e)}.",
                    action=f"Make {path} readable for this user, or unset {name}_FILE.",
                ) from None
    try:
        return Settings(**overrides)
    except ValidationError as e:
        wrong = "; ".join(
            ": ".join([*(str(name).upper() for name in x["loc"]), x["msg"].removeprefix("Value error, ")])
            for x in e.errors()
            if x["type"] != "default_factory_not_called"  # what it is made of is wrong, and said
        )
        raise Misconfigured(
            f"These settings are not usable: {wrong}.", action="Correct them in the environment or in .env."
        ) from None


def sources() -> dict[str, str]:
    """Where each setting that is set comes from: "environment", ".env" or "a file" (NAME_FILE)."""
    found: dict[str, str] = {}
    places = ((DotEnvSettingsSource(Settings), ".env"), (EnvSettingsSource(Settings), "environment"))
    for source, label in places:
        said = {name.lower() for name in source.env_vars}
        found |= {name: label for name in Settings.model_fields if name in said}
        found |= {name.lower(): "a file" for name in _SECRETS if f"{name}_file".lower() in said}
    return found


def _file_of(name: str, places: Sequence[Mapping[str, str | None]]) -> str | None:
    """What NAME_FILE says in the first of the places (names in small letters) that has it or NAME itself.
    Raises Misconfigured where that has both: one of two databases would be taken without a word."""
    for place in places:
        if path := place.get(f"{name}_file".lower()):
            if place.get(name.lower()):
                raise Misconfigured(
                    f"{name} and {name}_FILE are both set.",
                    action=f"Take one of them out. In our compose.yaml {name}_FILE is a secret: write the "
                    f"value into its file, and take {name} out of .env.",
                )
            return path
        if name.lower() in place:
            return None
    return None


def _why(error: OSError | UnicodeDecodeError) -> str | None:
    return error.strerror if isinstance(error, OSError) else "it is not text"


def _default_home() -> Path:
    """/var/lib/everystall as root (PostgreSQL refuses to run as root, and its user must reach it)."""
    if os.geteuid() == 0:
        return Path("/var/lib/everystall")
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "everystall"

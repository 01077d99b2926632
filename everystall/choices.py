"""Settings that the installation's owner changes while everything runs: kept in the database, read again
every few seconds by each web and worker. What the environment says wins. A secret is sealed, and shown to
nobody; why the others are not changed here stands beside them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from pydantic import SecretStr, TypeAdapter, ValidationError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from everystall.db import Database
from everystall.errors import BadRequest, EverystallError
from everystall.marketplaces import MARKETPLACES
from everystall.settings import Settings

log = structlog.get_logger()

Value = float | int | str | SecretStr | None


@dataclass(frozen=True)
class Choice:
    """What a person calls it, its unit, and what it does."""

    label: str
    hint: str
    unit: str = ""
    secret: bool = False


#: By what they are about. Each label says what it is without its group: the log of changes shows it alone.
GROUPS: Final[Mapping[str, Mapping[str, Choice]]] = {
    "Posting": {
        "pace_seconds": Choice(
            "Time between two posts", "On one account. Empty: each marketplace's own.", "seconds"
        ),
        "daily_cap": Choice(
            "New posts a day", "On each account. Empty: each marketplace's own.", "listings"
        ),
        "settle_seconds": Choice(
            "Look for an unclear post by ourselves",
            "After a click of which nobody knows what it did; then you are asked.", "seconds",
        ),
        "locator_seconds": Choice(
            "Wait for a field of a page", "Until it turns up on a marketplace's page.", "seconds"
        ),
        "page_seconds": Choice(
            "Wait for a page to load", "Longer where a line or a marketplace is slow.", "seconds"
        ),
    },
    "Looking for sales": {
        "watch_seconds": Choice(
            "Look for sales on cross-listed accounts",
            "That often while an account holds what is live elsewhere too.", "seconds",
        ),
        "watch_alone_seconds": Choice(
            "Look for sales on other accounts", "That often while it holds nothing that is elsewhere.",
            "seconds",
        ),
        "watch_night_seconds": Choice(
            "Look for sales at night",
            "No more often than that from 0:00 to 6:00 of the seller; 0: as by day.", "seconds",
        ),
    },
    "Sign-ins": {
        "session_days": Choice(
            "Use a marketplace sign-in for", "After its last capture, or a visit that proved it.", "days"
        ),
        "consent_days": Choice(
            "Ask for a new sign-in after", "Used or not: so long after the seller's own last hand-over.",
            "days",
        ),
    },
    "Language model": {
        "openrouter_api_key": Choice("OpenRouter key", "Without it all goes without a model.", secret=True),
        "openrouter_model": Choice("Language model", "It sees pictures and calls tools."),
        "openrouter_fallback_model": Choice(
            "Second language model", "Asked where the first does not answer usably."
        ),
        "model_budget_cents": Choice(
            "Budget for the language model", "Per seller and month; docs/content.md.", "cents"
        ),
    },
    "Mail and figures": {
        "smtp_url": Choice(
            "Mail server", "smtps://user:password@mail.example.com?from=shop@example.com", secret=True
        ),
        "metrics_token": Choice(
            "Token for /metrics", "16 characters or more; without it only this machine reads them.",
            secret=True,
        ),
    },
    "How long things are kept": {
        "event_days": Choice("Keep events for", "And the log of the webhooks that told of them.", "days"),
        "job_days": Choice(
            "Keep finished jobs for", "With them go their Idempotency-Keys, and imports.", "days"
        ),
        "evidence_days": Choice(
            "Keep pictures of failures for", "What a page looked like when a step failed.", "days"
        ),
    },
}  # fmt: skip
CHANGEABLE: Final[Mapping[str, Choice]] = {
    name: choice for group in GROUPS.values() for name, choice in group.items()
}
#: Why the others are not: the reason → which. Each needs a start after it was changed in the environment.
KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    "Where everything lies: read before all else, and what is chosen here lies there.": (
        "everystall_home", "database_url", "database_admin_url",
    ),
    "Opens what is sealed, so it never stands beside it.": (
        "session_encryption_key", "session_encryption_passphrase", "pbkdf2_iterations", "backup_passphrase",
    ),
    "The address where this is found. A slip would lock everybody out of this page.": (
        "everystall_port", "everystall_listen", "trusted_proxies", "public_url", "everystall_root_path",
    ),
    "Sign-ins, or a key, are sent there.": (
        *(f"{name}_url" for name in MARKETPLACES), "openrouter_url", "browser_cdp_url",
        "browser_use_api_key", "browser_use_url",
    ),
    "Photos would be sought where they are not: they are moved while nothing runs.": (
        "photos_url", "photos_s3_endpoint", "photos_s3_region", "photos_s3_key_id", "photos_s3_key_secret",
        "photos_s3_path_style",
    ),
    "Of one process or machine, not of the installation.": (
        "chromium", "worker_place", "worker_visits", "worker_urgent", "worker_sittings", "worker_url",
        "worker_health_port",
        "log_format", "redis_url",
    ),
    "They keep two workers apart: all must have the same at any moment.": (
        "lease_seconds", "lease_renew_seconds", "guard_seconds", "commit_click_seconds",
    ),
    "Agreed upon with a program of your own.": (
        "notifications_webhook_enabled", "api_url", "webhook_secret", "bull_queue",
    ),
    "Who may come in. A slip would lock everybody out of this page.": (
        "oidc_issuer", "oidc_client_id", "oidc_client_secret", "oidc_domains", "password_sign_in",
        "supabase_url", "supabase_jwt_secret", "supabase_owner",
    ),
    "Opens this machine's network, or may lead into it: for who may write the environment to decide.": (
        "webhook_allow_private", "sentry_dsn",
    ),
    "Browsers know this installation by it; another one ends all pushes.": ("vapid_private_key",),
    "What is sent there is laid on as a process starts, and a key goes with it.": (
        "otel_exporter_otlp_endpoint", "otel_exporter_otlp_headers",
    ),
    "Read by everystall up, which looks after backups without the database.": ("backup_days",),
}  # fmt: skip
#: Seconds after which what was chosen is read again.
FOLLOW_SECONDS: Final = 2.0
#: Letters of a text.
LONGEST: Final = 500


class Follows(Protocol):
    """What has the settings for others, and gives them the newer ones."""

    settings: Settings


class Following:
    """The settings as they are now: those of the start, and what was chosen of those that it does not fix.

    `opens`: a sealed one's words, by its name. `tell`: is told of newer ones."""

    def __init__(
        self, began: Settings, opens: Callable[[str, Mapping[str, Any]], str],
        tell: Callable[[Settings], None],
    ) -> None:  # fmt: skip
        self.began = began
        self._opens, self._tell = opens, tell
        self._read_at = 0.0
        self._chosen: Mapping[str, Any] = {}

    def fixed(self, name: str) -> bool:
        """The environment says it, or .env: then it is not changed here."""
        return name in self.began.model_fields_set

    async def follow(self, parts: Follows, database: Database, *, at_once: bool = False) -> None:
        """Reads again what was chosen, if it is some seconds ago. A database that is away changes nothing."""
        now = time.monotonic()
        if not at_once and now - self._read_at < FOLLOW_SECONDS:
            return
        self._read_at = now
        try:
            row = await database.ask("SELECT everystall.chosen_settings() AS chosen")
        except (SQLAlchemyError, OSError):
            return
        chosen = row.chosen if row is not None else {}
        if chosen == self._chosen:  # most times
            return
        self._chosen, before = chosen, parts.settings
        newer = self.began.choosing(self._update(chosen))
        if newer == before:
            return
        parts.settings = newer
        self._tell(newer)

    def _update(self, chosen: Mapping[str, Any]) -> dict[str, Value]:
        update: dict[str, Value] = {}
        for name, value in chosen.items():
            if name in CHANGEABLE and not self.fixed(name):
                try:
                    words = self._opens(name, value) if isinstance(value, dict) else value
                    update[name] = checked(name, words)
                except BadRequest:  # another version's idea of it
                    continue
                except EverystallError as e:  # sealed by a key that is not here
                    log.error("setting.sealed", setting=name, error=e.code)
        return update


def checked(name: str, value: object) -> Value:
    """The value as the setting takes it. Raises BadRequest, which says what it has to be."""
    field = Settings.model_fields[name]
    if isinstance(value, str) and (len(value) > LONGEST or not value.isprintable()):
        raise BadRequest(f"One line, {LONGEST} letters at most.")
    adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
    try:
        found: Value = adapter.validate_python(value)
    except ValidationError as e:
        said = e.errors()[0]
        if said["type"] == "value_error":
            raise BadRequest(f"It {said['msg'].removeprefix('Value error, ')}.") from None
        limits = said.get("ctx", {})
        raise BadRequest(_COMPLAINTS.get(said["type"], "It has to be a number.").format_map(limits)) from None
    if isinstance(found, float) and not math.isfinite(found):
        raise BadRequest("It has to be a number.")
    return found


_COMPLAINTS: Final = {
    "greater_than_equal": "At least {ge:g}.",
    "less_than_equal": "At most {le:g}.",
    "greater_than": "More than {gt:g}.",
    "finite_number": "It has to be a number.",
    "int_from_float": "A whole number.",
    "int_parsing": "A whole number.",
}


async def choose(
    database: Database, owner: UUID, values: Mapping[str, Value],
    seals: Callable[[str, str], Mapping[str, Any]],
) -> None:  # fmt: skip
    """From now on they are these; None: as it is without a choice. Who changed what is written down. Raises
    DBAPIError for who is no owner."""
    if unknown := set(values) - set(CHANGEABLE):
        raise ValueError(f"not to be changed while everything runs: {sorted(unknown)}")
    async with database.as_app() as session:
        for name, value in values.items():
            kept = seals(name, value.get_secret_value()) if isinstance(value, SecretStr) else value
            await session.execute(
                text("SELECT everystall.choose_setting(:by, :name, CAST(:value AS jsonb))"),
                {"by": owner, "name": name, "value": None if kept is None else json.dumps(kept)},
            )

"""Settings that the installation's owner changes while everything runs: kept in the database, read again
every few seconds by each web and worker. What the environment says wins; never a secret, and nothing that a
start needs.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from everystall.db import Database
from everystall.errors import BadRequest
from everystall.settings import Settings

#: name → what a person calls it, its unit, what it does
CHANGEABLE: Final[Mapping[str, tuple[str, str, str]]] = {
    "pace_seconds": ("Pace", "seconds", "Between two posts on one account. Empty: each marketplace's own."),
    "daily_cap": ("Daily cap", "listings", "New ones per account and day. Empty: each marketplace's own."),
    "watch_seconds": ("Look for sales", "seconds", "While an account holds what is live elsewhere too."),
    "watch_alone_seconds": ("Look for sales, else", "seconds", "While it holds nothing that is elsewhere."),
    "watch_night_seconds": ("At night at least", "seconds", "From 0:00 to 6:00 of the seller; 0: as by day."),
    "page_seconds": ("A page may take", "seconds", "Longer where a line or a marketplace is slow."),
    "event_days": ("Keep events", "days", "And the log of the webhooks that told of them."),
    "job_days": ("Keep finished jobs", "days", "With them go their Idempotency-Keys, and imports."),
    "evidence_days": ("Keep pictures of failures", "days", "What a page looked like when a step failed."),
}
#: Seconds after which what was chosen is read again.
FOLLOW_SECONDS: Final = 2.0


class Follows(Protocol):
    """What has the settings for others, and gives them the newer ones."""

    settings: Settings


class Following:
    """The settings as they are now: those of the start, and what was chosen of those that it does not fix."""

    def __init__(self, began: Settings) -> None:
        self.began = began
        self._read_at = 0.0

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
        update = {}
        for name, value in (row.chosen if row is not None else {}).items():
            if name in CHANGEABLE and not self.fixed(name):
                try:
                    update[name] = checked(name, value)
                except BadRequest:  # another version's idea of it
                    continue
        newer = self.began.model_copy(update=update)
        if newer != parts.settings:
            parts.settings = newer


def checked(name: str, value: object) -> float | int | None:
    """The value as the setting takes it. Raises BadRequest, which says what it has to be."""
    field = Settings.model_fields[name]
    adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
    try:
        found: float | int | None = adapter.validate_python(value)
    except ValidationError as e:
        said = e.errors()[0]
        limits = said.get("ctx", {})
        raise BadRequest(_COMPLAINTS.get(said["type"], "It has to be a number.").format_map(limits)) from None
    if found is not None and not math.isfinite(found):
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


async def choose(database: Database, owner: UUID, values: Mapping[str, float | int | None]) -> None:
    """From now on they are these; None: as it is without a choice. Who changed what is written down. Raises
    DBAPIError for who is no owner."""
    if unknown := set(values) - set(CHANGEABLE):
        raise ValueError(f"not to be changed while everything runs: {sorted(unknown)}")
    async with database.as_app() as session:
        for name, value in values.items():
            await session.execute(
                text("SELECT everystall.choose_setting(:by, :name, CAST(:value AS jsonb))"),
                {"by": owner, "name": name, "value": None if value is None else json.dumps(value)},
            )

"""The JSON of the API, as types: what several routers share. Names are camelCase outside, ours inside.

A request never reaches the database before `Body` has seen it: no NUL, no broken Unicode, no number
that a column cannot hold, no nesting that is an attack. What the seller wrote is otherwise kept as it is.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel, to_snake

from everystall.inventory.blindness import told_of
from everystall.inventory.pairs import ActionOut as ActionOut
from everystall.inventory.pairs import NeedsYou as NeedsYou
from everystall.inventory.pairs import Pair as Pair
from everystall.inventory.pairs import Shape as Shape
from everystall.inventory.pricing import HIGHEST_PRICE as HIGHEST_PRICE
from everystall.inventory.publications import asked_now
from everystall.marketplaces import MARKETPLACES
from everystall.models import Connection, Publication

DEEPEST = 12

#: Half of a surrogate pair.
_HALF = re.compile("[\ud800-\udfff]")


class Body(Shape):
    """A request's body. A field that we do not know is refused, so that a slip of the pen is not lost."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        check_plain(value)
        return value


def check_plain(value: Any, where: str = "", depth: int = 0) -> None:
    """Raises ValueError for what PostgreSQL's text and jsonb cannot hold."""
    if depth > DEEPEST:
        raise ValueError(f"{where[:60]}: nested more than {DEEPEST} deep")
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError(f"{where[:60]}: holds a NUL character".lstrip(": "))
        if _HALF.search(value):
            raise ValueError(f"{where[:60]}: is not valid Unicode (half of a surrogate pair)".lstrip(": "))
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where[:60]}: is not a number that JSON knows".lstrip(": "))
    elif isinstance(value, int) and abs(value) > 2**53:
        raise ValueError(f"{where[:60]}: is too large a number".lstrip(": "))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            check_plain(key, f"{where}.(name)".lstrip("."), depth)
            check_plain(inner, f"{where}.{key}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            check_plain(inner, f"{where}.{place}".lstrip("."), depth + 1)


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def one_line(value: str) -> str:
    if any(unicodedata.category(letter) == "Cc" for letter in value):
        raise ValueError("holds a line break or another control character")
    return value


def _printable(value: str) -> str:
    if any(unicodedata.category(letter) == "Cc" and letter not in "\n\r\t" for letter in value):
        raise ValueError("holds a control character")
    return value


def written(pattern: str, said: str) -> AfterValidator:
    """A text that this pattern fits as a whole; else `said` is what the sender reads."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(said)
        return value

    return AfterValidator(check)


def _cents(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError('is a whole number of cents: {"amount": 2500, "currency": "USD"} is $25.00')
    if value < 1:
        raise ValueError("is at least 1 cent; leave the price out while it is not known")
    if value > HIGHEST_PRICE:
        raise ValueError(f"is at most {HIGHEST_PRICE} cents (${HIGHEST_PRICE // 100:,})")
    return value


_BLANK = BeforeValidator(_blank_is_none)
_ONE_LINE = AfterValidator(one_line)
#: The seller's own text, kept as it is; blank is "not told".
Line60 = Annotated[Annotated[str, Field(max_length=60), _ONE_LINE] | None, _BLANK]
Line100 = Annotated[Annotated[str, Field(max_length=100), _ONE_LINE] | None, _BLANK]
Line200 = Annotated[Annotated[str, Field(max_length=200), _ONE_LINE] | None, _BLANK]
Line1000 = Annotated[Annotated[str, Field(max_length=1000), _ONE_LINE] | None, _BLANK]
Prose = Annotated[Annotated[str, Field(max_length=50_000), AfterValidator(_printable)] | None, _BLANK]


class MoneyBody(Body):
    """`{"amount": 2500, "currency": "USD"}`: cents. The marketplaces we know sell in dollars only."""

    amount: Annotated[int, BeforeValidator(_cents)]
    currency: Literal["USD"] = "USD"


class CostBody(Body):
    """What one of it cost the seller, in cents. 0 is known too: it was a gift, or found."""

    amount: Annotated[int, Field(strict=True, ge=0, le=HIGHEST_PRICE)]
    currency: Literal["USD"] = "USD"


class MoneyOut(Shape):
    amount: int
    currency: str


def _marketplace(value: str) -> str:
    if value not in MARKETPLACES:
        raise ValueError(f"there is no marketplace {value[:40]!r} here; use {', '.join(MARKETPLACES)}")
    return value


Marketplace = Annotated[str, AfterValidator(_marketplace)]


def camel(values: Mapping[str, Any]) -> dict[str, Any]:
    """Our names → the API's, at the first level."""
    return {to_camel(name): value for name, value in values.items()}


def snake(values: Mapping[str, Any]) -> dict[str, Any]:
    """The API's names → ours, at the first level."""
    return {to_snake(name): value for name, value in values.items()}


class NoteOut(Shape):
    """One thing that is not sent. `field` as in a problem."""

    field: str
    message: str


class BlindOut(Shape):
    """We cannot see what sells on an account now."""

    #: Null: since a moment ago.
    since: datetime | None
    reason: str
    message: str


WaitsFor = Literal["pace", "rest", "retry"]


class PublicationOut(Pair):
    """The same, as it stands now: what is wanted, what we put there, what was last seen."""

    wanted: str
    put: str
    seen: str
    seen_at: datetime | None
    wanted_revision: int
    put_revision: int | None
    #: {field: true|false} of the last comparison of the live page with what we meant.
    read_back: dict[str, Any] | None
    #: What is not as the listing has it, and stays so: it stood there so, or is not to be changed there.
    notes: list[NoteOut]
    #: It is relisted: asked (up still) · begun (being taken down) · down (posted again next); else null.
    relist: str | None
    actions: list[ActionOut]
    #: It is live there and may sell without our noticing; null: we see the account, or it is not there.
    blind: BlindOut | None
    #: Why it is not gone on with at once; null: it is, or waits for nothing, or for you (`needsYou`).
    waits_for: WaitsFor | None = Field(
        description="pace: the account's pace or daily cap · rest: its marketplace asked for a rest "
        "(Retry-After) · retry: what failed passes by itself, and is tried again"
    )
    #: When it is gone on with, at the soonest.
    not_before: datetime | None

    @classmethod
    def now(cls, row: Publication, account: Connection, actions: list[ActionOut]) -> PublicationOut:
        blind = told_of(account) if row.put == "live" or row.looking else None
        waits_for, not_before = _waits_for(row, account)
        asked = asked_now(row)
        return cls(
            marketplace=row.marketplace,
            browser_profile_id=account.public_id,
            state=row.state,
            needs_you=NeedsYou(**asked) if asked else None,
            url=row.url,
            remote_id=row.remote_id,
            started_at=row.started_at,
            finished_at=row.finished_at,
            wanted=row.wanted,
            put=row.put,
            seen=row.seen,
            seen_at=row.seen_at,
            wanted_revision=row.wanted_revision,
            put_revision=row.put_revision,
            read_back=row.read_back,
            notes=[NoteOut(**note) for note in row.notes],
            relist=row.relist,
            actions=actions,
            blind=BlindOut(**blind) if blind else None,
            waits_for=waits_for,
            not_before=not_before,
        )


def _waits_for(row: Publication, account: Connection) -> tuple[WaitsFor | None, datetime | None]:
    """What one waits for by itself, and until when, as the rows say it."""
    now, rest = datetime.now(UTC), account.rest_until
    if row.needs_you is not None or not (row.unsettled or row.looking):
        return None, None
    if rest is not None and rest > now:
        return "rest", max(rest, row.next_try_at or rest)
    if row.looking or row.next_try_at is None or row.next_try_at <= now:
        return None, None
    return "pace" if row.next_try_at == row.paced_to else "retry", row.next_try_at


class ProblemOut(Shape):
    """One thing that one marketplace needs or cannot take. `field` is a name of the listing's JSON
    (`defaults.…`: of the account's defaults)."""

    marketplace: str
    browser_profile_id: str | None
    field: str
    code: str
    message: str
    limit: int | float | str | None


class Done(Shape):
    """What needs no more words."""

    success: Literal[True] = True
    message: str

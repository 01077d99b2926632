"""What a format makes of a file: one row per listing, and what is to be said of it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Protocol

#: What a cell's own words are cut to where they are said back.
SAID = 120


@dataclass(frozen=True)
class Finding:
    """One thing that the seller should know of a row."""

    #: The file's column; None: the row as a whole.
    column: str | None
    #: The listing's field (a name of ListingFacts), where it is about one.
    field: str | None
    code: str
    #: What is so.
    message: str
    #: What to do about it.
    action: str

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Line:
    """A record of the file: where it begins, and its cells by the column's name in lower case."""

    number: int
    cells: Mapping[str, str]

    def get(self, column: str) -> str:
        """The cell without space around it; "" where there is none."""
        return self.cells.get(column.lower(), "").strip()


@dataclass
class Row:
    """A listing as the file tells it."""

    line: int
    #: What it is known by when it comes again: from the same format, it is this listing.
    key: str
    #: Names and values as `POST /api/listings` takes them (snake_case), and `quantity_sold`, `created_at`,
    #: `updated_at`, `places` (marketplace → what that calls it) where the format has them. What is not in it
    #: was not told.
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    #: Where its photos are: addresses, or hashes of our own.
    photos: list[str] = field(default_factory=list)
    #: skipped · failed: decided by the file alone; None: that depends on what is there.
    outcome: str | None = None
    #: Field → the file's column, for what is found later.
    columns: Mapping[str, str] = field(default_factory=dict)

    def say(self, column: str | None, field: str | None, code: str, message: str, action: str) -> None:
        self.findings.append(Finding(column, field, code, message, action))

    def fail(self, column: str | None, code: str, message: str, action: str) -> None:
        self.outcome = "failed"
        self.say(column, None, code, message, action)

    def skip(self, column: str | None, code: str, message: str, action: str) -> None:
        self.outcome = "skipped"
        self.say(column, None, code, message, action)


class Format(Protocol):
    """A module of this folder."""

    #: Name, and what people call it.
    NAME: str
    LABEL: str

    def knows(self, header: Sequence[str]) -> bool:
        """Is this the first line of such a file?"""

    def takes(self, column: str) -> bool:
        """Has our listing a place for this column (in lower case), or does it say nothing new?"""

    def read(self, header: Sequence[str], lines: Iterable[Line]) -> list[Row]: ...


# ---- identity -------------------------------------------------------------------------------------


def hash_of(line: Line, lasting: Callable[[str], bool]) -> str:
    """Of what the record says in the columns that last."""
    cells = sorted(
        (name, cell.strip()) for name, cell in line.cells.items() if lasting(name) and cell.strip()
    )
    said = repr(cells).encode("utf-8", "backslashreplace")
    return f"row:{hashlib.sha256(said).hexdigest()}"


@dataclass
class Whole:
    """What is known of all of a file of which a part is read."""

    #: Of rows that no id names: how many have this SKU.
    skus: Counter[str] = field(default_factory=Counter)
    #: Key → the first line that has it, of the parts so far.
    first: dict[str, int] = field(default_factory=dict)


def known_by_sku(
    pairs: Sequence[tuple[Line, Row]], column: str, lasting: Callable[[str], bool], whole: Whole | None = None
) -> list[Row]:
    """Gives each row its key: its SKU, where no other row of the file has the same; else what it says in the
    columns that last: of the thing itself, and not its price, its number or a date."""
    if whole is None:
        whole = Whole(Counter(sku for _, row in pairs if (sku := row.facts.get("sku"))))
    counted = whole.skus
    for line, row in pairs:
        sku = row.facts.get("sku")
        row.key = f"sku:{sku}" if sku and counted[sku] == 1 else hash_of(line, lasting)
        if sku and counted[sku] > 1:
            row.say(
                column, "sku", "sku_not_alone",
                f"{counted[sku]} rows of this file have the SKU “{sku[:SAID]}”, so they are told apart by "
                "what they say of the thing.",
                "Nothing, if they are different things; with a SKU each, a later file can change them.",
            )  # fmt: skip
    return refuse_doubles([row for _, row in pairs], whole)


#: What rows of one key have in common.
_SHARED = {"listing": "listing_id", "handle": "Handle and options", "row": "words for the thing"}


def refuse_doubles(rows: list[Row], whole: Whole | None = None) -> list[Row]:
    """A key stands once in a file: the first row has it."""
    first = (whole or Whole()).first
    for row in rows:
        line = first.setdefault(row.key, row.line)
        if line != row.line and row.outcome is None:
            row.skip(
                None, "same_row", f"Line {line} has the same {_SHARED[row.key.partition(':')[0]]}.",
                "Nothing; or raise the quantity of that one, if you have several.",
            )  # fmt: skip
    return rows


# ---- cells ----------------------------------------------------------------------------------------

_MONEY = re.compile(r"(?:USD|US)?\s*\$?\s*(\d{1,3}(?:,\d{3})+|\d{1,9})(?:\.(\d{1,2}))?\s*(?:USD)?", re.ASCII)


def take_money(row: Row, field: str, column: str, cell: str) -> None:
    """`$1,234.50` → cents. Nothing, or 0, is a price not told."""
    if not cell:
        return
    found = _MONEY.fullmatch(cell)
    if found is None:
        row.say(
            column, field, "not_a_price", f"“{cell[:SAID]}” is no amount of dollars.",
            "Write it as 1234.50, in dollars, with a point before the cents.",
        )  # fmt: skip
        return
    cents = int(found[1].replace(",", "")) * 100 + int((found[2] or "").ljust(2, "0"))
    if cents:
        row.facts[field] = {"amount": cents, "currency": "USD"}


def whole(row: Row, field: str, column: str, cell: str) -> int | None:
    """A whole number; None for none, or one that is told to be none."""
    if not cell:
        return None
    if re.fullmatch(r"-?[0-9]{1,9}(\.0+)?", cell):
        return int(cell.partition(".")[0])
    row.say(
        column, field, "not_a_number", f"“{cell[:SAID]}” is no whole number.", "Write it in digits: 3.",
    )  # fmt: skip
    return None


def take_text(row: Row, field: str, cell: str) -> None:
    """The words as they are; blank is not told."""
    if cell:
        row.facts[field] = cell


def take_html(row: Row, field: str, column: str, cell: str) -> None:
    """HTML as the text that a browser would show."""
    if not cell:
        return
    text = text_of(cell)
    if text != cell:
        row.say(
            column, field, "html_made_text", "It is HTML: the tags were taken out, the words were kept.",
            "Look whether it reads well.",
        )  # fmt: skip
    if text:
        row.facts[field] = text


def listed(cell: str, at: str = ",") -> list[str]:
    """What stands between the commas, each once."""
    return list(dict.fromkeys(part for part in map(str.strip, cell.split(at)) if part))


def addresses(cell: str) -> list[str]:
    """Addresses in a cell, whatever stands between them."""
    parts = re.split(r"[\s|;]+|,(?=https?:|$)", re.sub(r",\s+", " ", cell))
    return list(dict.fromkeys(part for part in parts if re.match(r"https?://", part)))


_BREAKS = {"p", "div", "br", "li", "ul", "ol", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "table", "section"}
_UNSEEN = {"script", "style", "head", "title", "template"}


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _BREAKS:
            self.parts.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _BREAKS - {"br", "li"}:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"\s+", " ", data))


def text_of(html: str) -> str:
    """`<p>One</p><p>two</p>` → two lines. What holds no tag and no entity is left alone."""
    if not re.search(r"</?[a-zA-Z][^<>]*>|&(#\d+|#x[0-9a-fA-F]+|[a-zA-Z]+);", html):
        return html
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = [line.strip() for line in "".join(parser.parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

"""Bytes that somebody sent → rows: which encoding, which separator, whose format. All of the file or nothing:
what is no CSV is refused with the line where it stops being one. Our own export in an archive may be longer
than memory has room for: it is looked through, and then read in parts."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Final, TextIO, cast

from everystall.errors import ImportRefused, listed
from everystall.inventory.incoming import ebay, own, shopify, vendoo
from everystall.inventory.incoming.rows import Format, Line, Row, Whole

FORMATS: Final = tuple(cast(Format, each) for each in (own, vendoo, ebay, shopify))
#: Rows of a file, and characters of a cell: a listing's JSON is at most a megabyte, and so are its parts.
MOST_ROWS: Final = 20_000
LONGEST_CELL: Final = 1024 * 1024
#: Characters of a record: as many as a file by itself.
LONGEST_RECORD: Final = 20 * 1024 * 1024
#: Rows of a file in an archive, ten times the largest inventory that this is made for: what each is known by
#: is held in memory.
MOST_IN_ARCHIVE: Final = 500_000
#: Rows of a part.
PART: Final = 200
#: Records among which the header is looked for: eBay's begin with a line about the template.
_HEAD: Final = 8
#: Columns that are named of a file that nobody knows.
_NAMED: Final = 12
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
#: A letter of more than one byte, in UTF-8.
_UTF8_LETTER = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


@dataclass(frozen=True)
class File:
    format: Format
    #: utf-8 · utf-16 · windows-1252
    encoding: str
    rows: list[Row]
    #: Columns with something in them for which a listing has no place.
    columns_not_taken: list[str]


def read(data: bytes) -> File:
    """Raises ImportRefused."""
    text, encoding = decode(data)
    for separator in ",;\t":
        found = _find_header(text, separator)
        if found is not None:
            break
    else:
        raise _unknown(text)
    format, header, at = found
    used: set[str] = set()
    lines = list(_lines(io.StringIO(text, newline=""), separator, header, at, used, MOST_ROWS))
    left = _not_taken(format, header, used)
    ragged = [row for row in lines if isinstance(row, Row)]
    rows = format.read(header, (line for line in lines if isinstance(line, Line)))
    return File(format, encoding, sorted([*ragged, *rows], key=lambda row: row.line), left)


class Export:
    """Our own CSV in UTF-8, however long: looked through when it is made, and then read in parts, as often as
    somebody likes. `open` gives it from its beginning. Raises ImportRefused."""

    format = cast(Format, own)
    encoding = "utf-8"

    def __init__(self, open: Callable[[], IO[bytes]]) -> None:
        self._open = open
        try:
            head = self._text().read(LONGEST_CELL)
        except UnicodeDecodeError:
            raise _unreadable(1) from None
        for self._separator in ",;\t":
            found = _find_header(head, self._separator)
            if found is not None and found[0] is own:
                _, self._header, self._at = found
                break
        else:
            raise ImportRefused(
                "The first line of its listings.csv is not that of an export of Everystall.",
                action="Send the zip as it was exported.",
            )
        self._skus: Counter[str] = Counter()
        used: set[str] = set()
        for line in self._lines(used):
            if isinstance(line, Line):
                own.note_sku(line, self._skus)
        self.columns_not_taken = _not_taken(self.format, self._header, used)

    def parts(self) -> Iterator[list[Row]]:
        """In the file's order."""
        whole, lines = Whole(self._skus), self._lines(set())
        while some := list(islice(lines, PART)):
            rows = own.read(self._header, (line for line in some if isinstance(line, Line)), whole)
            ragged = [row for row in some if isinstance(row, Row)]
            yield sorted([*ragged, *rows], key=lambda row: row.line)

    def _lines(self, used: set[str]) -> Iterator[Line | Row]:
        return _lines(self._text(), self._separator, self._header, self._at, used, MOST_IN_ARCHIVE)

    def _text(self) -> TextIO:
        return io.TextIOWrapper(self._open(), "utf-8-sig", newline="")


def _not_taken(format: Format, header: list[str], used: set[str]) -> list[str]:
    names = [name for name in dict.fromkeys(header) if name and name.lower() in used]
    return [name for name in names if not format.takes(name.lower())]


def decode(data: bytes) -> tuple[str, str]:
    """(the text, its encoding). Windows-1252 is what is left; a damaged UTF-8 is not taken for it."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], encoding), encoding[:6].rstrip("-")
    head = data[:1000]
    if len(head) > 3 and head[1::2].count(0) > len(head) // 4:
        return _decoded(data, "utf-16-le"), "utf-16"
    if len(head) > 3 and head[::2].count(0) > len(head) // 4:
        return _decoded(data, "utf-16-be"), "utf-16"
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError as e:
        if _UTF8_LETTER.search(data):
            raise _undecodable(data, e.start) from None
    return _decoded(data, "windows-1252"), "windows-1252"


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as e:
        raise _undecodable(data, e.start) from None


def _undecodable(data: bytes, at: int) -> ImportRefused:
    return _unreadable(data[:at].count(10) + 1)


def _unreadable(line: int) -> ImportRefused:
    return ImportRefused(
        f"The file's letters can not be read from line {line} on.",
        action="Save it as CSV in UTF-8, and send it again.",
    )


class _Physical:
    """The lines of a text, of which no more than a record's is held."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self.held = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_RECORD + 1)
        self.held += len(line)
        if self.held > LONGEST_RECORD:
            raise csv.Error("too long")
        if not line:
            raise StopIteration
        return line


def _records(text: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line where it begins, cells) of each that is not blank. Raises ImportRefused where it is no CSV."""
    csv.field_size_limit(LONGEST_CELL)  # the process's; nothing else here reads CSV
    lines = _Physical(text)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    begins = 1
    while True:
        lines.held = 0
        try:
            cells = next(reader, None)
        except UnicodeDecodeError:
            raise _unreadable(begins) from None
        except csv.Error:
            raise ImportRefused(
                f"From line {begins} on it is no CSV: a quotation mark is open or stands within a cell, or a "
                f"cell has more than {LONGEST_CELL:,} characters.",
                action="Mend that line (a quotation mark within a cell is written twice), and send it again. "
                "Nothing was brought in.",
                line=begins,
            ) from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield begins, cells
        begins = reader.line_num + 1


def _find_header(text: str, separator: str) -> tuple[Format, list[str], int] | None:
    """Whose format it is, its header, and the line of that."""
    try:
        records = _records(io.StringIO(text, newline=""), separator)
        for _, (number, cells) in zip(range(_HEAD), records, strict=False):
            header = [cell.strip() for cell in cells]
            for format in FORMATS:
                if format.knows(header):
                    return format, header, number
    except ImportRefused:
        return None  # of another separator, perhaps
    return None


def _lines(
    text: TextIO, separator: str, header: list[str], at: int, used: set[str], most: int
) -> Iterator[Line | Row]:
    """Each record behind the header, or a row that failed where it has more cells than that. `used` gets the
    columns in which something stands."""
    names = [name.lower() for name in header]
    found = 0
    for number, cells in _records(text, separator):
        if number <= at:
            continue
        if (found := found + 1) > most:
            raise ImportRefused(
                f"The file has more than {most:,} rows.", action="Send it in parts, each with the header."
            )
        if any(cell.strip() for cell in cells[len(names) :]):
            ragged = Row(number, f"line:{number}")
            ragged.fail(
                None, "too_many_cells", f"It has {len(cells)} cells, and the header {len(names)}.",
                "Put cells with a comma in them in quotation marks.",
            )  # fmt: skip
            yield ragged
            continue
        told: dict[str, str] = {}
        for name, cell in zip(names, cells, strict=False):
            if name and cell and name not in told:
                told[name] = cell
        used |= {name for name, cell in told.items() if cell.strip()}
        yield Line(number, told)


def _unknown(text: str) -> ImportRefused:
    first = next(_records(io.StringIO(text, newline=""), ","), None)
    names = [cell.strip()[:40] for cell in first[1][:_NAMED]] if first else []
    known = listed([format.LABEL for format in FORMATS])
    return ImportRefused(
        f"This is no CSV of {known}: "
        + (f"its first line is {', '.join(names)}." if names else "it is empty."),
        action="Send the file as it was exported, with its header line.",
    )

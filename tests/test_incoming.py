"""Files of listings from elsewhere: which they are, what each says, and what is told instead of guessed."""

from __future__ import annotations

import contextlib
import csv
import io
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everystall.errors import ImportRefused
from everystall.inventory.incoming import files
from everystall.inventory.incoming.rows import Row, addresses, take_money, text_of
from everystall.inventory.incoming.words import take_category, take_colors, take_condition
from everystall.inventory.transfer import in_lines, unlisted
from everystall.marketplaces.taxonomy import CATEGORIES

VENDOO = [
    "Images",
    "Title",
    "Description",
    "Brand",
    "Condition",
    "Primary Color",
    "Secondary Color",
    "Tags",
    "Sku",
    "Category",
    "Price",
    "Status",
    "Listed Date",
    "Sold Date",
    "Shipped Date",
    "Listing Platforms",
    "Sold Platform",
    "Internal Notes",
    "Price Sold",
    "Cost of Goods",
    "Marketplace Fees",
    "Shipping Expenses",
    "Labels",
    "Quantity Left",
    "Quantity Sold",
]
EBAY = [
    "*Action(SiteID=US|Country=US|Currency=USD|Version=1193|CC=UTF-8)",
    "CustomLabel",
    "*Category",
    "*Title",
    "*ConditionID",
    "C:Brand",
    "C:Size",
    "C:Color",
    "C:Material",
    "PicURL",
    "*Description",
    "*Format",
    "*Duration",
    "*StartPrice",
    "*Quantity",
    "*Location",
    "*DispatchTimeMax",
    "Relationship",
    "RelationshipDetails",
]
SHOPIFY = [
    "Handle",
    "Title",
    "Body (HTML)",
    "Vendor",
    "Type",
    "Tags",
    "Published",
    "Option1 Name",
    "Option1 Value",
    "Option2 Name",
    "Option2 Value",
    "Variant SKU",
    "Variant Grams",
    "Variant Inventory Qty",
    "Variant Price",
    "Variant Compare At Price",
    "Image Src",
    "Image Position",
    "Variant Image",
]


def file(header: list[str], *rows: dict[str, str], before: str = "", **how: str) -> bytes:
    """A CSV; columns are named without eBay's star and brackets."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=how.get("delimiter", ","))
    writer.writerow(header)
    short = [name.lstrip("*").partition("(S")[0] for name in header]
    for row in rows:
        assert set(row) <= set(short)
        writer.writerow([row.get(name, "") for name in short])
    return (before + out.getvalue()).encode(how.get("encoding", "utf-8"))


def codes(row: Row) -> list[tuple[str | None, str]]:
    return [(finding.column, finding.code) for finding in row.findings]


# ---- bytes ----

SHIRT = {"Title": "Café shirt “blue”, size M", "Sku": "A-17", "Quantity Left": "1"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_whatever_a_spreadsheet_saves_is_read(encoding: str, delimiter: str):
    found = files.read(file(VENDOO, SHIRT, encoding=encoding, delimiter=delimiter))
    assert found.format.NAME == "vendoo"
    assert found.encoding == {"cp1252": "windows-1252"}.get(
        encoding, encoding[: 6 if "16" in encoding else 5]
    )
    assert [row.facts["title"] for row in found.rows] == [SHIRT["Title"]]


def test_a_damaged_utf8_is_refused_and_not_taken_for_another_encoding():
    with pytest.raises(ImportRefused, match="line 2"):
        files.read(file(VENDOO, SHIRT).replace("é".encode(), b"\xe9"))


def test_line_breaks_in_cells_and_lines_are_counted_as_an_editor_does():
    rows = [{"Title": "a", "Description": "one\r\ntwo\nthree"}, {"Title": "b"}]
    first, second = files.read(file(VENDOO, *rows)).rows
    assert (first.line, first.facts["description"]) == (2, "one\r\ntwo\nthree")
    assert second.line == 5


@pytest.mark.parametrize(
    ("tail", "line"),
    [
        (b'x,"never closed\r\nx,y\r\n', 3),
        (b'x,"a" b,c\r\n', 3),
        (b'x,"' + b"y" * (files.LONGEST_CELL + 1) + b'"', 3),
    ],
    ids=["open", "within", "long"],
)
def test_what_is_no_csv_is_refused_with_its_line_and_nothing_of_it_is_taken(tail: bytes, line: int):
    with pytest.raises(ImportRefused) as refused:
        files.read(file(VENDOO, SHIRT) + tail)
    assert refused.value.details == {"line": line}


@pytest.mark.parametrize(
    "data", [b"", b"\xef\xbb\xbf", b"a,b,c\r\n1,2,3", b"\x00\x01\x02", b"PK\x03\x04\x14" * 50]
)
def test_what_nobody_knows_is_refused(data: bytes):
    with pytest.raises(ImportRefused):
        files.read(data)


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: file(VENDOO, SHIRT) + tail))
def test_no_bytes_do_anything_but_be_read_or_refused(data: bytes):
    with contextlib.suppress(ImportRefused):
        files.read(data)


def test_an_export_in_parts_says_what_it_says_at_once(monkeypatch: pytest.MonkeyPatch):
    """Keys and SKUs of other parts, rows that fail, blank lines, records of several lines, semicolons."""
    monkeypatch.setattr(files, "PART", 2)
    ids = [str(UUID(int=number)) for number in (1, 2, 1)]
    text = "\ufefflisting_id,sku,title,tags,Mine\r\n" + "".join(
        f"{id},{sku},{title},\"a\nb\",\r\n\r\n"
        for id, sku, title in (
            (ids[0], "A", "Mug"), ("", "B", "Cup"), (ids[1], "B", "Bowl"), ("", "C", "Jar"), ("x", "", "Pot"),
            ("", "'=1", "Lid"), ("", "C", "Jar"), (ids[2], "D", "Mug"), ("", "C", "Urn"), ("", "", "Lid"),
            ("", "'=1", "Pan"),
        )
    ) + ",,cell,,mine,too many\r\n"  # fmt: skip
    for data in (text.encode(), text.replace(",", ";").encode()):
        whole, export = files.read(data), files.Export(lambda data=data: io.BytesIO(data))
        assert [row for part in export.parts() for row in part] == whole.rows
        assert [row for part in export.parts() for row in part] == whole.rows  # as often as one likes
        assert export.columns_not_taken == whole.columns_not_taken
    assert [code for row in whole.rows for _, code in codes(row)] == [
        "sku_not_alone", "not_an_id", "sku_not_alone", "sku_not_alone", "same_row", "same_row",
        "sku_not_alone", "same_row", "sku_not_alone", "too_many_cells",
    ]  # fmt: skip


@pytest.mark.longer
def test_too_many_rows_and_too_many_cells():
    whole = file(VENDOO, *[{"Title": f"n{n}"} for n in range(files.MOST_ROWS)])
    assert len(files.read(whole).rows) == files.MOST_ROWS
    with pytest.raises(ImportRefused, match="20,000 rows"):
        files.read(whole + b",one more\r\n")
    ragged, good = files.read(file(VENDOO) + b"x," * 30 + b"y\r\n,good\r\n").rows
    assert (ragged.outcome, codes(ragged)) == ("failed", [(None, "too_many_cells")])
    assert (good.outcome, good.facts["title"]) == (None, "good")


# ---- words ----


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("women.dresses.midi", "women.dresses.midi"),
        ("Women > Dresses > Midi dresses", "women.dresses.midi"),
        ("women > dresses > midi", "women.dresses.midi"),  # Poshmark's and Mercari's
        ("Women / Tops & blouses / Blouse", "women.tops.blouses"),  # Mercari's
        ("Women > Tops", None),  # of Poshmark: T-shirts and tank tops are there
        ("Women > Coats & jackets > Other", None),  # of Mercari: leather jackets are there, and more
        ("Dresses", None),
        ("Sneakers", None),  # women's or men's
        ("57991", None),
    ],
)
def test_a_category_is_known_by_what_only_it_is_called(text: str, key: str | None):
    row = Row(2, "")
    take_category(row, "Category", text)
    assert row.facts.get("category") == key
    assert codes(row) == ([] if key else [("Category", "not_mapped")])


@given(st.sampled_from(sorted(CATEGORIES)))
def test_each_of_our_own_labels_leads_to_its_category_or_to_several(key: str):
    row = Row(2, "")
    take_category(row, "Category", " > ".join(CATEGORIES[key].label))
    assert row.facts.get("category") == key


@pytest.mark.parametrize(
    ("text", "ours"),
    [("New with tags", "new_with_tags"), ("NWT", "new_with_tags"), ("NWOT", "new_without_tags"),
     ("Like New", "like_new"), ("Used - Good", "good"), ("poor", "poor"),
     ("New", None), ("Used", None), ("Pre-Owned", None), ("Excellent", None)],
)  # fmt: skip
def test_a_condition_that_may_be_several_is_asked_for(text: str, ours: str | None):
    row = Row(2, "")
    take_condition(row, "Condition", text)
    assert row.facts.get("condition") == ours
    assert codes(row) == ([] if ours else [("Condition", "not_mapped")])


def test_colours_are_ours_or_told():
    row = Row(2, "")
    take_colors(row, "Primary Color", "Navy Blue/Grey")
    take_colors(row, "Secondary Color", "teal, grey")
    assert row.facts["colors"] == ["navy", "gray"]
    assert codes(row) == [("Secondary Color", "not_mapped")]


@pytest.mark.parametrize(
    ("cell", "cents"),
    [("25", 2500), ("$25.00", 2500), ("1,234.5", 123450), ("USD 7.05", 705), ("0", None), ("", None)],
)
def test_a_price_is_cents(cell: str, cents: int | None):
    row = Row(2, "")
    take_money(row, "price", "Price", cell)
    assert (row.facts.get("price") or {}).get("amount") == cents
    assert codes(row) == []


@pytest.mark.parametrize("cell", ["25,50", "1.234,50", "€25", "-5", "25.005", "ask", "1e3", "٣٥"])
def test_what_may_be_another_price_is_told(cell: str):
    row = Row(2, "")
    take_money(row, "price", "Price", cell)
    assert row.facts == {}
    assert codes(row) == [("Price", "not_a_price")]


def test_html_is_read_as_a_browser_shows_it():
    assert text_of("<p>One &amp; two</p><ul><li>three</li></ul><script>four()</script>") == (
        "One & two\n\n- three"
    )
    assert text_of("1 < 2 & so on") == "1 < 2 & so on"


def test_addresses_are_found_whatever_stands_between_them():
    for between in (",", ", ", "|", ";", "\n", " "):
        assert addresses(between.join(["https://a.example/1.jpg?w=1,2", "http://b.example/2"])) == [
            "https://a.example/1.jpg?w=1,2", "http://b.example/2",
        ]  # fmt: skip
    assert addresses("C:\\photos\\1.jpg") == []


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), max_size=5))
def test_words_of_a_cell_come_back_as_they_were(words: list[str]):
    assert unlisted(in_lines(words)) == words


# ---- formats ----


def test_vendoo():
    first, sold, empty, other = files.read(
        file(
            VENDOO,
            {
                "Images": "https://a.example/1.jpg,https://a.example/2.jpg", "Title": "'=1+1 shirt",
                "Brand": "Levi's",
                "Description": "Worn twice.",
                "Condition": "Good", "Primary Color": "Blue", "Tags": "linen, summer",
                "Sku": "A-17", "Category": "Men > Shirts > Polos", "Price": "$25.00", "Status": "Active",
                "Quantity Left": "2", "Quantity Sold": "1", "Cost of Goods": "4",
                "Labels": "Spring drop, Bin 4", "Internal Notes": "of Ann",
            },
            {"Title": "Sold hat", "Sku": "A-18", "Status": "Sold"},
            {"Title": "Nothing", "Sku": "A-19", "Quantity Left": "0", "Quantity Sold": "0"},
            {"Title": "Belt", "Condition": "Used", "Price": "12,50", "Cost of Goods": "4,50"},
        )
    ).rows  # fmt: skip
    assert first.facts == {
        "title": "'=1+1 shirt", "brand": "Levi's", "description": "Worn twice.", "condition": "good",
        "colors": ["blue"], "tags": ["linen", "summer"], "sku": "A-17", "category": "men.shirts.polos",
        "price": {"amount": 2500, "currency": "USD"}, "quantity": 3, "quantity_sold": 1,
        "cost": {"amount": 400, "currency": "USD"}, "labels": ["Spring drop", "Bin 4"],
    }  # fmt: skip
    assert (first.key, first.photos) == ("sku:A-17", ["https://a.example/1.jpg", "https://a.example/2.jpg"])
    assert (sold.facts["quantity"], sold.facts["quantity_sold"]) == (1, 1)
    assert (empty.outcome, codes(empty)) == ("skipped", [("Quantity Left", "nothing_to_sell")])
    assert other.facts == {"title": "Belt"}
    assert codes(other) == [
        ("Price", "not_a_price"), ("Cost of Goods", "not_a_price"), ("Condition", "not_mapped"),
    ]  # fmt: skip


def test_columns_for_which_there_is_no_place_are_named_if_something_stands_in_them():
    found = files.read(file(VENDOO, {**SHIRT, "Internal Notes": "of Ann", "Price Sold": " "}))
    assert found.columns_not_taken == ["Internal Notes"]


def test_what_shares_a_sku_is_told_apart_and_what_is_the_same_comes_once():
    same = {"Title": "Mug", "Sku": "BIN-3"}
    rows = files.read(
        file(VENDOO, same, {"Title": "Cup", "Sku": "BIN-3"}, {**same, "Price": "5"}, {"Title": "x"})
    ).rows
    assert [row.outcome for row in rows] == [None, None, "skipped", None]
    assert len({row.key for row in rows}) == 3
    assert all(row.key.startswith("row:") for row in rows)
    assert codes(rows[2])[-1] == (None, "same_row")


def test_without_a_sku_a_new_price_does_not_make_another_thing():
    before, after = (
        files.read(file(VENDOO, {"Title": "Mug", "Price": price, "Status": status})).rows[0].key
        for price, status in (("5", "Draft"), ("4", "Active"))
    )
    assert before == after


def test_ebay():
    data = file(
        EBAY,
        {
            "Action": "Add", "CustomLabel": "A-17", "Category": "57991", "Title": "Linen shirt",
            "ConditionID": "1500",
            "C:Brand": "Levi's", "C:Size": "M", "C:Color": "Blue", "C:Material": "Linen",
            "Description": "<b>Nice</b>",
            "PicURL": "https://a.example/1.jpg|https://a.example/2.jpg", "Format": "FixedPrice",
            "StartPrice": "25.00",
            "Quantity": "2", "Location": "Portland, OR",
        },
        {"Action": "Add", "Title": "Bid", "Format": "Auction", "StartPrice": "0.99", "ConditionID": "3000"},
        {"Action": "End", "Title": "Old"},
        {"Action": "Add", "Title": "", "Relationship": "Variation"},
        before="Info,Version=1.0.0,Template=fx_category_template_EBAY_US\r\n",
    )  # fmt: skip
    found = files.read(data)
    shirt, bid, end, variation = found.rows
    assert (found.format.NAME, shirt.line, found.columns_not_taken) == ("ebay", 3, ["*Location"])
    assert shirt.facts == {
        "title": "Linen shirt", "sku": "A-17", "brand": "Levi's", "size": "M", "colors": ["blue"],
        "condition": "new_without_tags", "specifics": {"Material": "Linen"}, "description": "Nice",
        "price": {"amount": 2500, "currency": "USD"}, "quantity": 2,
    }  # fmt: skip
    assert codes(shirt) == [("Description", "html_made_text"), ("Category", "not_mapped")]
    assert len(shirt.photos) == 2
    assert bid.facts == {"title": "Bid"}
    assert codes(bid) == [("ConditionID", "not_mapped"), ("StartPrice", "not_a_price")]
    assert (end.outcome, variation.outcome) == ("skipped", "failed")


TEE = {
    "Action": "Add", "Title": "Tee", "Description": "Soft.", "ConditionID": "1000", "C:Brand": "Levi's",
    "C:Size": "one of several", "CustomLabel": "TEE", "PicURL": "https://a.example/1.jpg",
    "Format": "FixedPrice", "RelationshipDetails": "Size=S;M;L|Color=Blue;Red|Fit=Slim",
}  # fmt: skip


def of_tee(details: str, **more: str) -> dict[str, str]:
    return {"Relationship": "Variation", "RelationshipDetails": details, **more}


def test_each_variation_of_ebay_is_a_listing_and_what_they_vary_is_none():
    rows = files.read(
        file(
            EBAY,
            TEE,
            of_tee("Size=S|Color=Red|Fit=Slim", CustomLabel="TEE-S", StartPrice="15.00", Quantity="2"),
            of_tee("Color=Blue|Size=M|Fit=Slim", StartPrice="16.00", Quantity="1"),
            of_tee("Size=L|Color=Blue", StartPrice="16.00", Quantity="0"),
            {"Action": "Add", "Title": "Mug", "StartPrice": "5", "Quantity": "1"},
        )
    ).rows
    assert [row.line for row in rows] == [3, 4, 5, 6]
    small, medium, large, mug = rows
    assert small.facts == {
        "title": "Tee", "description": "Soft.", "brand": "Levi's", "condition": "new_with_tags",
        "size": "S", "colors": ["red"], "specifics": {"Fit": "Slim"}, "sku": "TEE-S",
        "price": {"amount": 1500, "currency": "USD"}, "quantity": 2,
    }  # fmt: skip
    assert (small.key, small.photos, codes(small)) == ("sku:TEE-S", ["https://a.example/1.jpg"], [])
    assert (medium.facts["size"], medium.facts["colors"], medium.facts["price"]["amount"]) == (
        "M", ["blue"], 1600
    )  # fmt: skip
    assert "sku" not in medium.facts
    assert (large.outcome, codes(large)) == ("skipped", [("Quantity", "nothing_to_sell")])
    assert mug.facts == {
        "title": "Mug", "price": {"amount": 500, "currency": "USD"}, "quantity": 1,
    }  # fmt: skip
    assert len({row.key for row in rows}) == 4


def test_a_variation_that_is_not_named_above_is_no_listing():
    rows = files.read(
        file(
            EBAY,
            {**TEE, "RelationshipDetails": "Size=S;M"},
            of_tee("Size=S", StartPrice="15"),
            of_tee("Size=S", StartPrice="19"),
            of_tee("Size=XL", StartPrice="15"),
            {**TEE, "Title": "Alone"},
            {**TEE, "Title": "Gone", "Action": "End", "RelationshipDetails": "Size=S"},
            of_tee("Size=S"),
        )
    ).rows
    assert [(row.line, row.outcome) for row in rows] == [
        (3, None), (4, "failed"), (5, "failed"), (6, "failed"), (8, "skipped")
    ]  # fmt: skip
    assert [codes(row) for row in rows[1:4]] == [
        [("Relationship", "variation")], [("Relationship", "variation")],
        [("RelationshipDetails", "variations")],
    ]  # fmt: skip


def test_ebays_prices_in_another_currency_are_told():
    data = file(EBAY, {"Action": "Add", "Title": "Shirt", "StartPrice": "25"}).replace(b"=USD", b"=GBP")
    (row,) = files.read(data).rows
    assert ("price" in row.facts, codes(row)) == (False, [("StartPrice", "not_dollars")])


def test_a_variants_own_picture_of_shopify_is_its_first():
    red, blue = files.read(
        file(
            SHOPIFY,
            {"Handle": "tee", "Title": "Tee", "Option1 Name": "Color", "Option1 Value": "Red",
             "Image Src": "https://a.example/1.jpg", "Image Position": "1"},
            {"Handle": "tee", "Option1 Value": "Blue", "Image Src": "https://a.example/2.jpg",
             "Image Position": "2", "Variant Image": "https://a.example/2.jpg"},
        )
    ).rows  # fmt: skip
    assert red.photos == ["https://a.example/1.jpg", "https://a.example/2.jpg"]
    assert blue.photos == ["https://a.example/2.jpg", "https://a.example/1.jpg"]


def test_shopify():
    found = files.read(
        file(
            SHOPIFY,
            {
                "Handle": "linen", "Title": "Linen shirt", "Body (HTML)": "<p>Nice</p>", "Vendor": "Levi's",
                "Type": "Men > Shirts > Polos", "Tags": "linen, summer", "Option1 Name": "Size",
                "Option1 Value": "M",
                "Option2 Name": "Fit", "Option2 Value": "Slim", "Variant SKU": "L-M", "Variant Grams": "454",
                "Variant Inventory Qty": "3", "Variant Price": "25.00", "Variant Compare At Price": "60.00",
                "Image Src": "https://a.example/2.jpg", "Image Position": "2",
            },
            {"Handle": "mug", "Title": "Mug", "Option1 Name": "Title", "Option1 Value": "Default Title"},
            {"Handle": "linen", "Option1 Value": "L", "Variant SKU": "L-L", "Variant Price": "26",
             "Variant Inventory Qty": "1"},
            {"Handle": "linen", "Option1 Value": "XL", "Variant Price": "26", "Variant Inventory Qty": "0"},
            {"Handle": "linen", "Image Src": "https://a.example/1.jpg", "Image Position": "1"},
            {"Handle": "", "Title": "Whose?"},
        )
    )  # fmt: skip
    medium, mug, large, none, whose = found.rows
    assert medium.facts == {
        "title": "Linen shirt", "description": "Nice", "brand": "Levi's", "category": "men.shirts.polos",
        "tags": ["linen", "summer"], "sku": "L-M", "size": "M", "specifics": {"Fit": "Slim"},
        "package": {"weight_oz": 16}, "quantity": 3, "price": {"amount": 2500, "currency": "USD"},
        "original_price": {"amount": 6000, "currency": "USD"},
    }  # fmt: skip
    assert medium.photos == large.photos == ["https://a.example/1.jpg", "https://a.example/2.jpg"]
    assert (large.line, large.facts["title"], large.facts["size"]) == (4, "Linen shirt", "L")
    assert (mug.facts, mug.key) == ({"title": "Mug"}, "handle:mug/Default Title//")
    assert (none.outcome, whose.outcome) == ("skipped", "failed")
    assert len({row.key for row in found.rows}) == 5

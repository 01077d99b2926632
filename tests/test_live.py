"""What a marketplace shows of a live listing, in our words."""

import pytest

from everystall.inventory.incoming.live import as_put, merged, read
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import CONDITIONS, Draft, Money, flat

PAGE = {
    "title": "Linen shirt", "description": "Light.", "price": Money(amount=2500), "brand": "Levi's",
    "size": "M", "category": ("Men", "Shirts", "Casual Button Down Shirts"), "condition": "Good",
}  # fmt: skip


def shown(**changes):
    return merged({**PAGE, **changes}, {})


def fields(came):
    return {note["field"] for note in came.notes}


def test_what_the_form_shows_is_nearer_and_what_it_lacks_is_the_pages():
    found = merged(
        {**PAGE, "shipping": {"payer": "buyer"}, "sku": "A-17"},
        {"title": "Linen  shirt", "sku": None, "shipping": {"payer": None, "weight_oz": 12}},
    )
    assert (found["title"], found["sku"]) == ("Linen  shirt", "A-17")
    assert found["shipping"] == {"payer": "buyer", "weight_oz": 12}


def test_words_that_mean_one_of_ours_become_ours():
    came = read("poshmark", shown(colors=("Blue",), sku="A-17 ~K7Q2XM"))
    assert came.columns["category"] == "men.shirts.casual"
    assert came.columns["condition"] == "good"
    assert came.columns["colors"] == ["blue"]
    assert came.columns["sku"] == "A-17"
    assert came.columns["price_cents"] == 2500
    assert came.columns["overrides"] == {}
    assert came.notes == []


def test_other_words_stay_as_the_sites_and_are_told():
    came = read("poshmark", shown(category=("Men", "Shirts"), condition="Boutique", colors=("Teal",)))
    assert came.columns.get("category") is None
    assert came.columns["overrides"] == {"poshmark": {"category": "Men > Shirts", "condition": "Boutique"}}
    assert fields(came) == {"category", "condition", "colors"}
    assert all("stays as it is on Poshmark" in note["message"] for note in came.notes)


@pytest.mark.parametrize(
    ("there", "here"), [("M (38-40)", "M"), ("M", "M"), ("Wide (60 x 80)", "Wide (60 x 80)"), (None, None)]
)
def test_a_size_is_ours_where_the_site_only_says_more(there, here):
    came = read("mercari", shown(category=("Men", "Tops", "Nowhere"), size=there))
    assert came.columns.get("size") == here


def test_a_brand_that_the_site_says_there_is_none_of_is_told_and_one_that_it_does_not_show_is_not():
    assert read("mercari", shown(brand=None)).columns["brand"] == "unbranded"
    assert "brand" not in read("mercari", merged({k: v for k, v in PAGE.items() if k != "brand"}, {})).columns


def test_what_only_one_site_asks_for_is_the_listings_setting_for_it():
    came = read(
        "mercari",
        shown(
            shipping={"payer": "seller", "carrier": "UPS", "weight_oz": 12, "ships_from_zip": "94110"},
            options={"smart_pricing": True}, specifics={"Smart Pricing floor": "12.50"},
        ),
    )  # fmt: skip
    assert came.columns["package"] == {"weight_oz": 12}
    assert (came.columns["ships_from_zip"], came.columns["shipping_payer"]) == ("94110", "seller")
    own = came.columns["overrides"]["mercari"]
    assert (own["carrier"], own["smart_pricing"], own["smart_pricing_floor"]) == ("UPS", True, 1250)
    came = read("ebay", shown(options={"offers": True, "promotion": False}, shipping={"payment_policy": "P"}))
    assert came.columns["overrides"]["ebay"].items() >= {"offers": True, "payment_policy": "P"}.items()


def test_facts_that_are_said_in_a_field_of_their_own_are_not_said_twice():
    came = read(
        "ebay",
        shown(
            colors=("Blue",),
            specifics={
                "Brand": "Levi's",
                "Size": "M",
                "Color": "Blue",
                "Size Type": "Regular",
                "Material": "Linen",
            },
        ),
    )
    assert came.columns["specifics"] == {"Size Type": "Regular", "Material": "Linen"}


@pytest.mark.parametrize("marketplace", MARKETPLACES)
def test_each_sites_conditions_lead_to_ours(marketplace):
    there = get_form(marketplace).CONDITIONS_THERE
    assert there
    assert set(there.values()) <= set(CONDITIONS)


def test_what_stands_otherwise_than_we_would_put_it_is_kept_apart():
    there = shown(colors=("Blue",), photos=("a" * 64,))
    put, adopted = as_put(None, there)
    assert adopted == {}
    meant = Draft.model_validate(put).model_copy(update={"condition": "Fair", "tags": ("x",)})
    draft, adopted = as_put(meant, there)
    assert (draft["condition"], adopted) == ("Fair", {"condition": "Good"})
    assert flat(draft)["photos"] == ["a" * 64]


def test_a_page_that_shows_little_is_taken_for_what_it_shows():
    put, _ = as_put(None, merged({"title": "X", "price": Money(amount=100), "quantity": None}, {}))
    assert (put["category"], put["description"], put["quantity"]) == ([], "", 1)

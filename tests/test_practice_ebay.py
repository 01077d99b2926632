"""The practice eBay checks on its server what its form checks: no script lists, ends or reads for another."""

import io
import json
import re
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from everystall.sandbox.ebay import menu
from everystall.sandbox.testing import Sandbox, start_in_thread

SHIRT = next(leaf for leaf in menu.LEAVES.values() if leaf.path.endswith("> Shirts > T-Shirts"))


@pytest.fixture(scope="module")
def world() -> Iterator[Sandbox]:
    sandbox = start_in_thread()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def ebay(world: Sandbox) -> Sandbox:
    world.reset()
    return world


class Seller:
    """A seller's browser without a screen: httpx keeps no Secure cookie of a plain http site, so by hand."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        port = sandbox.port
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"host": f"ebay.localhost:{port}"}, trust_env=False
        )
        answer = self.http.post("/signin/", data={"userid": name, "pass": "practice"})
        self.cookies = dict(
            re.findall(r"^([^=]+)=([^;]*)", line)[0] for line in answer.headers.get_list("set-cookie")
        )
        self.http.headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        self.http.headers["srt"] = self.data("/sl/prelist/identify", "prelist-data")["srt"]

    def data(self, path: str, id_: str) -> dict:
        page = self.http.get(path).text
        found = re.search(rf'id="{id_}" type="application/json">(.*?)</script>', page, re.DOTALL)
        assert found is not None, page
        return json.loads(found[1])

    def draft(self) -> tuple[str, dict]:
        """A new draft's number, and a form that the site takes."""
        wish = {"categoryId": SHIRT.id, "condition": "Pre-owned - Good"}
        number = self.http.post("/lstng/api/listing_draft", json=wish).json()["draftId"]
        form = self.data(f"/lstng?draftId={number}&mode=AddItem", "lstng-data")
        image = io.BytesIO()
        Image.new("RGB", (60, 40), "teal").save(image, "JPEG")
        photo = self.http.post("/lstng/api/media", files={"file": ("1.jpg", image.getvalue(), "image/jpeg")})
        values = form["values"] | {
            "title": "A shirt", "description": "Soft.", "price": "20.00", "photos": [photo.json()["id"]],
            "itemLocationZip": "97205", "customLabel": "A1", "bestOfferEnabled": False,
            "specifics": {
                "Brand": "Unbranded", "Size Type": "Regular", "Size": "M", "Color": "Blue",
                "Department": "Men", "Type": "T-Shirt",
            },
        }  # fmt: skip
        return number, values

    def publish(self, number: str, values: dict) -> dict:
        return self.http.post(f"/lstng/api/listing_draft/{number}/publish", json=values).json()


def test_a_complete_form_goes_live_and_is_recorded(ebay: Sandbox) -> None:
    ada = Seller(ebay, "ada")
    number, values = ada.draft()
    answer = ada.publish(number, values)
    item = answer["next"].rpartition("=")[2]
    assert re.fullmatch(r"\d{12}", item)
    assert "Your listing is live" in ada.http.get(answer["next"]).text
    live = ebay.ledger("ebay")["listings"][0]
    assert (live["listing_id"], live["state"], live["sku"]) == (item, "live", "A1")
    assert live["fields"]["options"] == {"offers": False, "promotion": True}
    assert live["fields"]["specifics"] == {"Size Type": "Regular", "Department": "Men", "Type": "T-Shirt"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "x" * 81}, "title"),
        ({"title": "A replica"}, "title"),
        ({"description": "x" * 4001}, "description"),
        ({"price": "0.50"}, "price"),
        ({"quantity": "0"}, "quantity"),
        ({"photos": []}, "photos"),
        ({"customLabel": "x" * 51}, "customLabel"),
        ({"itemLocationZip": ""}, "itemLocationZip"),
        ({"returnPolicyId": "1"}, "returnPolicyId"),
        ({"specifics": {}}, "search-box-attributesBrand"),
        ({"specifics": {"Size Type": "Wide"}}, "search-box-attributes.Size Type"),
    ],
)
def test_the_server_refuses_what_the_form_refuses(ebay: Sandbox, change: dict, field: str) -> None:
    ada = Seller(ebay, "ada")
    number, values = ada.draft()
    answer = ada.publish(number, values | change)
    assert field in [error["field"] for error in answer["errors"]]
    assert ebay.ledger("ebay")["listings"][0]["state"] == "draft"


def test_nobody_acts_for_another_seller_or_without_the_pages_token(ebay: Sandbox) -> None:
    ada, bob = Seller(ebay, "ada"), Seller(ebay, "bob")
    number, values = ada.draft()
    assert "errors" in bob.publish(number, values)
    item = ada.publish(number, values)["next"].rpartition("=")[2]
    wish = {"itemId": item, "reason": "NotAvailable"}
    assert "errors" in bob.http.post("/sh/api/end", json=wish).json()
    assert "errors" in ada.http.post("/sh/api/end", json={"itemId": item}).json()
    assert ada.http.post("/sh/api/end", json=wish, headers={"srt": "no"}).status_code == 401
    assert ebay.ledger("ebay")["listings"][0]["state"] == "live"
    assert ada.http.post("/sh/api/end", json=wish).json() == {"ended": item}
    assert "This listing was ended" in bob.http.get(f"/itm/{item}").text


def test_no_cookie_tells_whose_it_is(ebay: Sandbox) -> None:
    ada = Seller(ebay, "lovelace")
    assert set(ada.cookies) == {"s", "ds1", "ds2", "nonsession", "dp1", "ebay"}
    assert not any("lovelace" in value for value in ada.cookies.values())


def test_what_buyers_take_is_in_the_orders(ebay: Sandbox) -> None:
    ada = Seller(ebay, "ada")
    number, values = ada.draft()
    item = ada.publish(number, values | {"quantity": "2"})["next"].rpartition("=")[2]
    ebay.buy("ebay", sku="A1")
    assert "1 available" in ada.http.get(f"/itm/{item}").text
    assert f'data-id="{item}"' in ada.http.get("/sh/lst/active").text
    ebay.buy("ebay", sku="A1")
    assert "This listing sold on" in ada.http.get(f"/itm/{item}").text
    assert ada.http.get("/sh/ord").text.count("data-order-id") == 2
    assert f'data-id="{item}"' not in ada.http.get("/sh/lst/active").text

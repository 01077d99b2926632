"""The practice Mercari's pages and its internal API, after what is known of the real one (the adapter's
NOTES.md names each source). Everything is checked again on the server: a script cannot post by itself."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from everystall.sandbox.app import Site, visit_of
from everystall.sandbox.core import Account, Cookie, Item, ItemLimit, OddAnswer, Session, SoftReject, World
from everystall.sandbox.drift import Vocabulary
from everystall.sandbox.mercari import menu

NAME = "mercari"
#: Milliseconds until the form mounts; the real one takes some four seconds.
MOUNT_DELAY = 150
PER_PAGE = 20
#: A new account may have so many active listings, and as many more for each sale.
ACTIVE_CAP = 100
#: Words of a title that the site refuses.
PROHIBITED = ("replica", "counterfeit", "knockoff")
CONDITIONS = {"1": "New", "2": "Like new", "3": "Good", "4": "Fair", "5": "Poor"}

#: Operation → the hash of its persisted query. The first three are the real ones.
OPERATIONS = {
    "uploadTempListingPhotos": "9aa889ac01e549a01c66c7baabc968b0e4a7fa4cd0b6bd32b7599ce10ca09a10",
    "createListing": "265dab5d0d382d3c83dda7d65e9ad111f47c27aa5d92c7d9a4bacd890d5e32c0",
    "UpdateItemStatusMutation": "55bd4e7d2bc2936638e1451da3231e484993635d7603431d1a2978e3d59656f8",
} | {name: hashlib.sha256(name.encode()).hexdigest() for name in ("saveDraft", "editListing")}

_PAIRS = """Title Description Brand Size Price Toast ItemName ItemPrice EditButton DeleteButton
MyListings ListingRow ListingTitle WelcomeButton Size-option RemovePhotoButton"""
_NAMES = """ListButton EditSaveButton
SellPhotoInput PhotoUploadBox PhotoTiles UploadedPhoto SellCategoryFieldButton DialogWrapper
DialogTitle CategoryBreadcrumb NoBrandLink NoBrandChosen BrandNoResults ConditionNew ConditionLikeNew
ConditionGood ConditionFair ConditionPoor ShipsFromAddButton ShipsFromEditButton ShipsFromZip
ShipsFromSaveButton ZipCodeInput SelectShipping ShippingSummary ShippingTipButton ItemWeightInPounds
ItemWeightInOunces FitsInShoeboxYes FitsInShoeboxNo SelectCarrierButton SelectCarrierSaveButton
FreeShippingYesButton FreeShippingNoButton ShippingPayerOption SmartPricingButton SmartPricingTurnOffButton
SmartPricingFloorPrice SaveDraftButton DeactivateButton SellErrorMessage ErrorDialogMessage DraftNotice
ItemNotFound ItemNotEditable ItemDescription ItemDetailsCategory ItemDetailsBrand ItemDetailsSize
ItemDetailsCondition ItemDetailsShipping ItemPhoto SoldBadge InactiveBadge ListingRows sellName
sellDescription sellBrandId itemSizeId sellMinPriceForAutoPriceDrop sellPrice sellCondition"""
VOCABULARY = Vocabulary(
    names=[*_NAMES.split(), *(f"data-testid={name}" for name in _PAIRS.split()), "id=Price"],
    labels={
        "Select a category": ["Choose a category", "Category"],
        "No brand / Not sure": ["It has no brand", "No brand"],
        "Select size": ["Choose a size", "Pick your size"],
        "Select a shipping label": ["Choose a label", "Set up shipping"],
        "Offer free shipping?": ["Pay for the shipping?", "Free shipping"],
        "Yes (Recommended)": ["Yes, I pay", "Yes, free for the buyer"],
        "Turn off": ["Disable", "Switch off"],
        "Turn on": ["Enable", "Switch on"],
        "Get started": ["Start selling", "Let’s go"],
        "Got it": ["Okay", "I understand"],
        "Next": ["Continue", "Go on"],
        "Save": ["Done", "Keep"],
        "List": ["List item", "Publish"],
        "Save changes": ["Update", "Update listing"],
        "Delete": ["Delete listing", "Remove"],
        "My listings": ["Your listings", "Items you sell"],
    },
)


def site(world: World) -> Site:
    """The site, for app.SITES."""
    return Site(
        world, NAME, "Mercari",
        routes=[
            Route("/", home),
            Route("/search/", home),
            Route("/login/", login, methods=["GET", "POST"]),
            Route("/sell/", sell),
            Route("/sell/edit/{id}/", edit),
            Route("/us/item/{id}/", item_page),
            Route("/u/{number:int}/", profile),
            Route("/mypage/listings/{tab}/", listings),
            Route("/mypage/listings/draft/action-required/", listings, name="draft"),
            Route("/sell/kept/{id}/", kept),
            Route("/captcha/", captcha),
            Route("/photos/{id}", photo),
            Route("/v1/initialize", initialize),
            Route("/v1/shipping/labels", labels),
            Route("/v1/api", api, methods=["POST"]),
        ],
        token_of=token_of, cookies=cookies, vocabulary=VOCABULARY, folder=Path(__file__).parent,
        login_path="/login/", captcha_page=challenge,
    )  # fmt: skip


# ---- the session ----------------------------------------------------------------------------------


def access_token(session: Session) -> str:
    """Shaped as such tokens are: header, payload (`sub`: the member, `jti`: the session), signature."""
    payload = {"sub": str(session.account.number), "jti": session.token, "exp": int(session.expires_at)}
    return f"{_pack({'alg': 'ES256', 'typ': 'JWT'})}.{_pack(payload)}.practice"


def cookies(session: Session) -> list[Cookie]:
    return [
        Cookie("_mwus", _pack({"accessToken": access_token(session)}), http_only=True),
        Cookie("_mldvc", hashlib.sha256(session.account.name.encode()).hexdigest()[:16]),
    ]


def token_of(jar: dict[str, str]) -> str | None:
    return _session_token(str(_unpack(jar.get("_mwus", "")).get("accessToken", "")))


def _session_token(access: str) -> str | None:
    parts = access.split(".")
    found = _unpack(parts[1]).get("jti") if len(parts) == 3 else None
    return str(found) if found else None


def _pack(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _unpack(text: str) -> dict[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


async def login(request: Request) -> Response:
    here = visit_of(request)
    answered: Mapping[str, Any] = {}
    if request.method == "POST":
        async with request.form() as form:
            answered = dict(form)
    after = str(answered.get("next") or request.query_params.get("from") or "/mypage/listings/active/")
    if not after.startswith("/") or after.startswith("//"):
        after = "/"
    email = str(answered.get("email", ""))
    session = None
    if request.method == "POST":
        session = here.world.sign_in(NAME, email, str(answered.get("password", "")))
    if session is None:
        wrong = request.method == "POST"
        return here.site.page(
            request, "login.html", 401 if wrong else 200, title="Log in", email=email, next=after, wrong=wrong
        )
    return here.site.set_cookies(RedirectResponse(after, 303), session)


async def initialize(request: Request) -> Response:
    """The page's token, made anew. 401 when signed out."""
    session = visit_of(request).session
    if session is None:
        return _unauthenticated()
    return JSONResponse({"accessToken": access_token(session), "csrf": uuid4().hex})


async def captcha(request: Request) -> Response:
    return challenge(request)


def challenge(request: Request) -> Response:
    """The site's own check, or in the other layout the page of the guard before it."""
    here = visit_of(request)
    name = "blocked.html" if here.site.layout(request) == "b" else "captcha.html"
    return here.site.page(request, name, 403, title="Check")


# ---- pages ----------------------------------------------------------------------------------------


async def home(request: Request) -> Response:
    here = visit_of(request)
    items = [_card(item) for item in here.world.listed(NAME, None, "live")[:60]]
    wanted = request.query_params.get("keyword", "").lower()
    if wanted:
        items = [item for item in items if wanted in item["title"].lower()]
    return here.site.page(request, "home.html", title="For sale", items=items)


async def profile(request: Request) -> Response:
    here = visit_of(request)
    number = request.path_params["number"]
    items = [item for item in here.world.listed(NAME, None, "live") if item.account.number == number]
    return here.site.page(request, "home.html", title="Seller", items=[_card(item) for item in items])


async def sell(request: Request) -> Response:
    here = visit_of(request)
    if here.account is None:
        return here.site.login_wall(request)
    return here.site.page(request, "sell.html", title="Sell", data=_form_data(request, here.account, None))


async def edit(request: Request) -> Response:
    here = visit_of(request)
    if here.account is None:
        return here.site.login_wall(request)
    item = here.world.item(NAME, request.path_params["id"])
    if item is None or item.account is not here.account or item.state == "ended":
        return _gone(request)
    if item.state == "sold":
        return here.site.page(
            request, "gone.html", testid="ItemNotEditable", title="This item can no longer be edited",
            text="It has been sold.",
        )  # fmt: skip
    return here.site.page(request, "sell.html", title="Edit", data=_form_data(request, here.account, item))


async def item_page(request: Request) -> Response:
    here = visit_of(request)
    item = here.world.item(NAME, request.path_params["id"])
    mine = item is not None and item.account is here.account
    if item is None or not item.page_shown() or (item.state == "draft"):
        return here.site.page(request, "error.html", 404, status=404)
    inactive = bool(item.private.get("inactive"))
    if item.state == "ended" and not (inactive and mine):
        return _gone(request)
    photos = [f"/photos/{photo.id}?w=500&h=500" for photo in item.photos]
    available = {"live": "InStock", "sold": "SoldOut"}.get(item.state, "Discontinued")
    f = item.fields
    data = {
        "@context": "https://schema.org", "@type": "Product", "name": item.title,
        "description": f["description"], "image": [f"{str(request.base_url).rstrip('/')}{p}" for p in photos],
        "category": " > ".join(f["category"]),
        "offers": {
            "@type": "Offer", "price": f"{item.price / 100:.2f}", "priceCurrency": "USD",
            "availability": f"https://schema.org/{available}",
        },
    }  # fmt: skip
    if f.get("brand"):
        data["brand"] = {"@type": "Brand", "name": f["brand"]}
    cents = item.private.get("label_cents", 0)
    shipping = "Free shipping" if f["shipping"]["payer"] == "seller" else f"${cents / 100:.2f} shipping"
    return here.site.page(
        request, "item.html", title=item.title, item=item, f=f, photos=photos, ld=data, mine=mine,
        inactive=inactive, price=f"{item.price / 100:.2f}", shipping=shipping,
    )  # fmt: skip


async def listings(request: Request) -> Response:
    here = visit_of(request)
    account, world = here.account, here.world
    if account is None:
        return here.site.login_wall(request)
    week = time.time() - 7 * 86400
    sold = sorted(
        (item for item in world.listed(NAME, account, "sold", "live")
         if item.orders and (item.state == "sold" or item.cancelled)),
        key=lambda item: item.orders[-1]["at"], reverse=True,
    )  # fmt: skip
    lists = {
        "active": world.listed(NAME, account, "live"),
        "in_progress": [item for item in sold if (item.sold_at or time.time()) > week],
        "complete": [item for item in sold if (item.sold_at or time.time()) <= week],
        "draft": world.listed(NAME, account, "draft"),
    }
    tab = request.path_params.get("tab", "draft")
    if tab not in lists:
        return here.site.page(request, "error.html", 404, status=404)
    tabs = [
        (name, "draft/action-required" if name == "draft" else name, label, len(lists[name]))
        for name, label in (("active", "Active"), ("in_progress", "In progress"), ("complete", "Complete"),
                            ("draft", "Drafts"))
    ]  # fmt: skip
    words = request.query_params.get("page", "1")
    page = max(1, int(words)) if words.isdigit() else 1
    here_items = lists[tab][(page - 1) * PER_PAGE : page * PER_PAGE]
    notes = {"active": "Active", "in_progress": "Sold: ship it", "complete": "Complete", "draft": "Draft"}
    shown = [
        _card(item) | {
            "note": "Canceled" if item.cancelled and tab != "active" else notes[tab],
            "href": f"/sell/edit/{item.id}/" if tab == "draft" else f"/us/item/{item.id}/",
        }
        for item in here_items
    ]  # fmt: skip
    toast = {"listed": "Your item is listed!", "deleted": "Your listing was deleted."}
    return here.site.page(
        request, "listings.html", title="My listings", tabs=tabs, here=tab, items=shown, page=page,
        more=len(lists[tab]) > page * PER_PAGE, toast=toast.get(request.query_params.get("done", "")),
    )  # fmt: skip


async def kept(request: Request) -> Response:
    here = visit_of(request)
    if here.account is None:
        return here.site.login_wall(request)
    return here.site.page(request, "kept.html", title="Action required")


async def photo(request: Request) -> Response:
    found = visit_of(request).world.photos.get(request.path_params["id"])
    if found is None:
        return Response(status_code=404)
    width = request.query_params.get("w", "")
    data, kind = found.at_most(int(width)) if width.isdigit() else (found.served, found.content_type)
    return Response(data, media_type=kind)


def _gone(request: Request) -> Response:
    return visit_of(request).site.page(
        request, "gone.html", 404, testid="ItemNotFound", title="Sorry, this item is no longer available",
        text="It may have been deleted by its seller.",
    )  # fmt: skip


def _card(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "title": item.title or "Untitled",
        "price": f"${item.price / 100:,.2f}",
        "photo": f"/photos/{item.photos[0].id}" if item.photos else None,
    }


def _form_data(request: Request, account: Account, item: Item | None) -> dict[str, Any]:
    """What the sell page's script works with."""
    here = visit_of(request)
    groups = {
        " > ".join(path): menu.size_group(list(path))
        for top, middles in menu.TREE.items() for middle, leaves in middles.items() for leaf in leaves
        for path in [(top, middle, leaf)]
    }  # fmt: skip
    latest = next(iter(here.world.items(NAME, account)), None)
    data: dict[str, Any] = {
        "tree": menu.TREE, "sizes": menu.SIZES, "groups": groups, "brands": menu.BRANDS,
        "delay": MOUNT_DELAY, "operations": OPERATIONS, "variant": here.site.layout(request) == "b",
        "zip": latest.fields["shipping"].get("ships_from_zip") if latest else None, "item": None,
    }  # fmt: skip
    if item is not None:
        f = item.fields
        numbers = {label: number for number, label in CONDITIONS.items()}
        data["item"] = {
            "id": item.id, "state": item.state,
            "photos": [f"/photos/{p.id}" for p in item.photos], "photoIds": [p.id for p in item.photos],
            "fields": {
                **{name: f.get(name) for name in ("title", "description", "category", "brand", "size")},
                "noBrand": not f.get("brand"), "conditionId": numbers.get(f.get("condition") or ""),
                "price": item.price, "smart_pricing": f["options"]["smart_pricing"],
                "smart_floor": item.private.get("floor"), **item.private.get("label", {}), **f["shipping"],
            },
        }  # fmt: skip
    return data


# ---- the internal API -----------------------------------------------------------------------------


async def labels(request: Request) -> Response:
    weight = request.query_params.get("weight", "")
    if visit_of(request).session is None:
        return _unauthenticated()
    if not weight.isdigit() or not 1 <= int(weight) <= 2400:
        return _error("weight", "BAD_USER_INPUT")
    return JSONResponse({"labels": menu.labels_for(int(weight))})


async def api(request: Request) -> Response:
    here = visit_of(request)
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    theirs = here.world.session(NAME, _session_token(bearer))
    if here.session is None or theirs is not here.session or not request.headers.get("x-csrf-token"):
        return _unauthenticated()
    if request.headers.get("content-type", "").startswith("multipart/"):
        async with request.form() as form:
            return await _upload(request, form)
    call = await request.json()
    name = str(call.get("operationName", ""))
    if not _persisted(call, name):
        return _error("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
    wish = call.get("variables", {}).get("input", {})
    verbs = {"createListing": _create, "saveDraft": _save_draft, "editListing": _edit,
             "UpdateItemStatusMutation": _set_status}  # fmt: skip
    if name not in verbs:
        return _error(name, "BAD_USER_INPUT")
    return await verbs[name](request, wish)


def _persisted(call: Mapping[str, Any], name: str) -> bool:
    """Is it one of the queries that the site's own script sends?"""
    asked = call.get("extensions", {}).get("persistedQuery", {}).get("sha256Hash")
    return name in OPERATIONS and asked == OPERATIONS[name]


async def _upload(request: Request, form: Mapping[str, Any]) -> Response:
    """One photo per request."""
    here = visit_of(request)
    assert here.account is not None
    try:
        call = json.loads(str(form.get("operations", "")))
    except ValueError:
        call = {}
    if not _persisted(call, "uploadTempListingPhotos"):
        return _error("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
    file = form.get("0")
    if file is None or isinstance(file, str):
        return _error("no file", "BAD_USER_INPUT")
    try:
        kept_photo = here.world.keep_photo(NAME, here.account, await file.read(), file.content_type or "")
    except ValueError:
        return _error("This file is not a photo.", "BAD_USER_INPUT")
    return JSONResponse(
        {
            "data": {
                "uploadTempListingPhotos": {"uploadIds": [kept_photo.id], "url": f"/photos/{kept_photo.id}"}
            }
        }
    )


async def _create(request: Request, wish: dict[str, Any]) -> Response:
    here = visit_of(request)
    account, world = here.account, here.world
    assert account is not None
    wrong = _wrong(world, account, wish)
    refusal = wrong or _prohibited(wish)
    if refusal:
        world.refuse(account, refusal)
        return _error(refusal, "REJECTED")
    unfinished = world.item(NAME, str(wish.get("id") or ""))
    if unfinished is not None and (unfinished.account is not account or unfinished.state != "draft"):
        return _error("This draft is no more.", "REJECTED")

    def commit() -> Item:
        item = unfinished or _new(world, account, wish)
        return world.publish(_fill(world, item, wish))

    sold = len(world.items(NAME, account, "sold"))
    try:
        if len(world.items(NAME, account, "live")) >= ACTIVE_CAP * (1 + sold):
            world.refuse(account, "item_limit")
            raise ItemLimit
        item = await here.site.submit(request, commit)
    except OddAnswer as e:
        return _error(e.words, "REJECTED")
    except SoftReject:
        item = unfinished or _new(world, account, wish)
        return _next("createListing", _fill(world, item, wish).id, f"/sell/kept/{item.id}/")
    except ItemLimit:
        if here.site.layout(request) == "b":
            said = "You are listing too fast. Please wait a few minutes and try again."
            return _error(said, "DIALOG", title="You're listing too fast")
        said = f"You have reached the limit of {ACTIVE_CAP * (1 + sold)} active listings."
        return _error(said, "DIALOG", title="Listing limit reached")
    to = f"/us/item/{item.id}/"
    if here.site.layout(request) == "b":
        to = "/mypage/listings/active/?done=listed"
    return _next("createListing", item.id, to)


async def _save_draft(request: Request, wish: dict[str, Any]) -> Response:
    here = visit_of(request)
    assert here.account is not None
    known = here.world.item(NAME, str(wish.get("id") or ""))
    mine = known is not None and known.account is here.account and known.state == "draft"
    item = known if mine and known is not None else _new(here.world, here.account, wish)
    _fill(here.world, item, wish)
    return _next("saveDraft", item.id, "/mypage/listings/draft/action-required/")


async def _edit(request: Request, wish: dict[str, Any]) -> Response:
    here = visit_of(request)
    item = here.world.item(NAME, str(wish.get("id") or ""))
    if here.account is None or item is None or item.account is not here.account or item.state != "live":
        return _error("This item is no longer available.", "REJECTED")
    live = item
    wrong = _wrong(here.world, here.account, wish) or _prohibited(wish)
    if wrong:
        here.world.refuse(here.account, wrong, live)
        return _error(wrong, "REJECTED")

    def change() -> None:
        _fill(here.world, live, wish)

    try:
        await here.site.submit(request, lambda: here.world.revise(live, change))
    except OddAnswer as e:
        return _error(e.words, "REJECTED")
    except SoftReject:
        return _error("Please check the description.", "REJECTED")
    except ItemLimit:
        return _error("You are listing too fast. Please wait a few minutes.", "DIALOG",
                      title="You're listing too fast")  # fmt: skip
    return _next("editListing", item.id, f"/us/item/{item.id}/")


async def _set_status(request: Request, wish: dict[str, Any]) -> Response:
    """cancel: deleted at once. stop: deactivated. Repeatable: what is gone stays gone, and it says OK."""
    here = visit_of(request)
    item = here.world.item(NAME, str(wish.get("id", "")))
    if item is None or item.account is not here.account:
        return _error("no such item", "NOT_FOUND")
    if item.state == "sold":
        return _error("This item has been sold.", "REJECTED")
    item.private["inactive"] = wish.get("status") == "stop"
    was_draft = item.state == "draft"
    here.world.end(item)
    to = "/mypage/listings/draft/action-required/" if was_draft else "/mypage/listings/active/"
    return _next("UpdateItemStatusMutation", item.id, f"{to}?done=deleted")


def _wrong(world: World, account: Account, wish: dict[str, Any]) -> str | None:
    """Why the server does not take this, or None: the form's own rules again."""
    title, description = str(wish.get("name", "")).strip(), str(wish.get("description", "")).strip()
    path, group = list(wish.get("category") or []), None
    price, floor = wish.get("price"), wish.get("minPriceForAutoPriceDrop")
    if not 1 <= _length(title) <= 80:
        return "Please check the title."
    if _length(description) > 1000 or len(description.split()) < 5:
        return "Please check the description."
    if len(path) != 3 or path[2] not in menu.TREE.get(path[0], {}).get(path[1], []):
        return "Please select a category."
    group = menu.size_group(path)
    if (wish.get("size") not in menu.SIZES[group]) if group else wish.get("size") is not None:
        return "Please check the size."
    if wish.get("brand") is not None and wish["brand"] not in menu.BRANDS:
        return "Please select a brand."
    if wish.get("conditionId") not in CONDITIONS:
        return "Please select a condition."
    if type(price) is not int or not 100 <= price <= 200_000:
        return "Please check the price."
    if floor is not None and (type(floor) is not int or not 100 <= floor < price):
        return "Please check the floor price."
    weight = wish.get("shippingPackageWeight")
    offered = menu.labels_for(weight) if type(weight) is int and weight > 0 else []
    if wish.get("carrier") not in [label["carrier"] for label in offered]:
        return "Please select a shipping carrier."
    if wish.get("shippingPayerId") not in (1, 2) or len(str(wish.get("zipCode") or "")) != 5:
        return "Please check the shipping."
    photos = [world.photos.get(str(id_)) for id_ in wish.get("photoIds") or []]
    if not 1 <= len(photos) <= 12 or any(p is None or p.owner != account.name for p in photos):
        return "Please check the photos."
    return None


def _prohibited(wish: dict[str, Any]) -> str | None:
    words = str(wish.get("name", "")).lower()
    if any(word in words for word in PROHIBITED):
        return "This item may be prohibited. Replicas and counterfeits can not be sold."
    return None


def _new(world: World, account: Account, wish: dict[str, Any]) -> Item:
    return world.draft(NAME, account, f"m{world.new_number(11)}", _fields(wish), _photos(world, wish))


def _fill(world: World, item: Item, wish: dict[str, Any]) -> Item:
    item.fields.update(_fields(wish))
    item.photos = _photos(world, wish)
    if wish.get("carrier"):
        label = next(
            (x for x in menu.labels_for(wish["shippingPackageWeight"]) if x["carrier"] == wish["carrier"]), {}
        )
        item.private["label_cents"] = label.get("cents", 0)
        item.private["label"] = {name: label.get(name) for name in ("carrier", "service", "id")}
    item.private["floor"] = wish.get("minPriceForAutoPriceDrop")
    return item


def _photos(world: World, wish: dict[str, Any]) -> list[Any]:
    return [world.photos[str(id_)] for id_ in wish.get("photoIds") or [] if str(id_) in world.photos]


def _fields(wish: dict[str, Any]) -> dict[str, Any]:
    """What the seller sent, in Everystall's names, so that tests can compare."""
    package = wish.get("package") or {}
    return {
        "title": str(wish.get("name") or "").strip(),
        "description": str(wish.get("description") or "").strip(),
        "price": {"amount": wish.get("price") or 0, "currency": "USD"},
        "quantity": 1,
        "category": list(wish.get("category") or []),
        "brand": wish.get("brand"),
        "size": wish.get("size"),
        "condition": CONDITIONS.get(str(wish.get("conditionId"))),
        "shipping": {
            "payer": {1: "buyer", 2: "seller"}.get(wish.get("shippingPayerId") or 0),
            "ships_from_zip": wish.get("zipCode"),
            "weight_oz": wish.get("shippingPackageWeight"),
            "carrier": wish.get("carrier"),
            **package,
        },
        "options": {"smart_pricing": wish.get("minPriceForAutoPriceDrop") is not None},
    }


def _length(text: str) -> int:
    """As JavaScript counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _next(operation: str, id_: str, to: str) -> Response:
    return JSONResponse({"data": {operation: {"id": id_, "status": "OK", "next": to}}})


def _error(message: str, code: str, **more: Any) -> Response:
    return JSONResponse({"errors": [{"message": message, "extensions": {"code": code, **more}}]})


def _unauthenticated() -> Response:
    error = {"message": "Unauthorized", "status": 401, "extensions": {"code": "UNAUTHENTICATED"}}
    return JSONResponse({"errors": [error]}, 401)

"""The practice eBay's pages and its internal API, after what is known of the real one (the adapter's
NOTES.md names each source). Everything is checked again on the server: a script cannot list by itself."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from everystall.sandbox.app import Site, visit_of
from everystall.sandbox.core import (
    Account,
    Cookie,
    Item,
    ItemLimit,
    OddAnswer,
    Photo,
    Session,
    SoftReject,
    World,
)
from everystall.sandbox.ebay import menu
from everystall.sandbox.ebay.words import VOCABULARY

NAME = "ebay"
#: Milliseconds until the form mounts.
MOUNT_DELAY = 120
PER_PAGE = 50
MAX_PHOTOS = 24
#: An account may have so many listings live.
SELLING_LIMIT = 250
#: Words of a title that the site refuses.
PROHIBITED = ("replica", "counterfeit", "knockoff")
REASONS = {
    "NotAvailable": "the item is no longer available",
    "Incorrect": "there was an error in the listing",
    "LostOrBroken": "the item was lost or broken",
}
#: Field of the form → kind of policy.
POLICIES = {"paymentPolicyId": "payment", "shippingPolicyId": "shipping", "returnPolicyId": "return"}
#: The item specifics that are a size, and a colour.
SIZES = ("Size", "US Shoe Size", "Ring Size")
COLORS = ("Color", "Exterior Color")


def site(world: World) -> Site:
    """The site, for app.SITES."""
    made = Site(
        world, NAME, "eBay",
        routes=[
            Route("/", home),
            Route("/signin/", signin, methods=["GET", "POST"]),
            Route("/usr/{name}", profile),
            Route("/sl/sell", sell),
            Route("/sl/prelist/identify", prelist),
            Route("/sl/prelist/api/categories", categories),
            Route("/lstng", form),
            Route("/lstng/success", success),
            Route("/lstng/review", review),
            Route("/lstng/api/listing_draft", new_draft, methods=["POST"]),
            Route("/lstng/api/listing_draft/{draft}", save_draft, methods=["PUT"]),
            Route("/lstng/api/listing_draft/{draft}/publish", publish, methods=["POST"]),
            Route("/lstng/api/listing/{id}", revise, methods=["POST"]),
            Route("/lstng/api/media", media, methods=["POST"]),
            Route("/itm/{id}", item_page),
            Route("/itm/{id}/desc", description),
            Route("/images/g/{id}/s-l{pixels:int}.jpg", photo),
            Route("/sh/lst/{tab}", hub),
            Route("/sh/ord", hub, name="orders"),
            Route("/mesh/ord/details", order_page),
            Route("/sh/api/end", end, methods=["POST"]),
            Route("/sh/api/drafts/delete", delete_draft, methods=["POST"]),
        ],
        token_of=lambda jar: jar.get("s"), cookies=cookies, vocabulary=VOCABULARY,
        folder=Path(__file__).parent, login_path="/signin/", captcha_page=interruption,
    )  # fmt: skip
    made.templates.globals |= {"dollars": _dollars, "photo_url": _photo_url, "moment": _moment}
    return made


# ---- the session ----------------------------------------------------------------------------------


def cookies(session: Session) -> list[Cookie]:
    """`s` carries the session here; none of them tells whose it is. Which one does so really is a guess."""
    return [
        Cookie("s", session.token, http_only=True),
        Cookie("ds1", f"ats/{secrets.token_hex(8)}", http_only=True),
        Cookie("ds2", f"sotr/{secrets.token_urlsafe(12)}", http_only=True),
        Cookie("nonsession", secrets.token_urlsafe(24)),
        Cookie("dp1", f"bu1p/{secrets.token_urlsafe(18)}"),
        Cookie("ebay", f"sbf%3D%23{secrets.token_hex(6)}", max_age=None),
    ]


def _srt(account: Account) -> str:
    """What the site's own scripts send along with every change."""
    return hashlib.sha256(f"srt:{account.hex_id}".encode()).hexdigest()[:32]


def _caller(request: Request) -> Account | None:
    """Whose script asks; None without a session or its `srt`."""
    account = visit_of(request).account
    return account if account is not None and request.headers.get("srt") == _srt(account) else None


async def signin(request: Request) -> Response:
    """The name first, then the password, each on a page of its own."""
    here = visit_of(request)
    answered: Mapping[str, Any] = {}
    if request.method == "POST":
        async with request.form() as sent:
            answered = dict(sent)
    after = str(answered.get("from") or request.query_params.get("from") or "/")
    if not after.startswith("/") or after.startswith("//"):
        after = "/"
    userid, error = str(answered.get("userid", "")).strip(), None
    if "pass" in answered:
        session = here.world.sign_in(NAME, userid, str(answered["pass"]))
        if session is not None:
            return here.site.set_cookies(RedirectResponse(after, 303), session)
        error = "Oops, that's not a match. Please check your password and try again."
    elif request.method == "POST" and not userid:
        error = "Please enter your email or username."
    step = "pass" if userid else "userid"
    return here.site.page(
        request, "signin.html", title="Sign in", step=step, userid=userid, from_=after, error=error
    )


def interruption(request: Request) -> Response:
    """The guard before the site."""
    return visit_of(request).site.page(request, "interruption.html", 403)


# ---- public pages ---------------------------------------------------------------------------------


async def home(request: Request) -> Response:
    here = visit_of(request)
    wanted = request.query_params.get("_nkw", "").lower()
    items = [item for item in here.world.listed(NAME, None, "live") if wanted in item.title.lower()]
    return here.site.page(request, "home.html", title="For sale", items=items[:60])


async def profile(request: Request) -> Response:
    here, name = visit_of(request), request.path_params["name"].lower()
    items = [item for item in here.world.listed(NAME, None, "live") if item.account.name == name]
    return here.site.page(request, "home.html", title=f"{name}’s listings", items=items)


def _public(request: Request) -> Item | None:
    item = visit_of(request).world.item(NAME, request.path_params["id"])
    return item if item is not None and item.published_at is not None and item.page_shown() else None


async def item_page(request: Request) -> Response:
    here, item = visit_of(request), _public(request)
    if item is None:
        return _gone(request)
    f, mine = item.fields, item.account is here.account
    available = {"live": "InStock", "sold": "SoldOut"}.get(item.state, "Discontinued")
    data = {
        "@context": "https://schema.org", "@type": "Product", "name": item.title,
        "image": [f"{str(request.base_url).rstrip('/')}{_photo_url(p)}" for p in item.photos],
        "offers": {
            "@type": "Offer", "price": f"{item.price / 100:.2f}", "priceCurrency": "USD",
            "availability": f"https://schema.org/{available}",
        },
    }  # fmt: skip
    if f.get("brand"):
        data["brand"] = {"@type": "Brand", "name": f["brand"]}
    moment = item.ended_at or item.sold_at
    says = {policy["name"]: policy["says"] for policy in menu.POLICIES["shipping"]}
    notices = {"ended": "Your listing was ended.", "revised": "You’ve successfully revised your listing."}
    return here.site.page(
        request, "itm.html", title=item.title, item=item, f=f, ld=data, mine=mine,
        specifics=item.private["form"]["specifics"],
        left=item.quantity - item.quantity_sold, reason=REASONS.get(item.private.get("reason", "")),
        ended=f"{datetime.fromtimestamp(moment, UTC):%a, %b %d at %I:%M %p}" if moment else "",
        srt=_srt(item.account) if mine else None,
        shipping=says.get(f["shipping"]["shipping_policy"], "See details"),
        notice=next((text for word, text in notices.items() if word in request.query_params and mine), None),
    )  # fmt: skip


async def description(request: Request) -> Response:
    item = _public(request)
    if item is None:
        return Response(status_code=404)
    return visit_of(request).site.page(request, "desc.html", text=item.fields["description"])


async def photo(request: Request) -> Response:
    found = visit_of(request).world.photos.get(request.path_params["id"])
    if found is None:
        return Response(status_code=404)
    data, kind = found.at_most(request.path_params["pixels"])
    return Response(data, media_type=kind)


# ---- selling --------------------------------------------------------------------------------------


async def sell(request: Request) -> Response:
    return visit_of(request).site.page(request, "sell.html", title="Sell")


async def prelist(request: Request) -> Response:
    here = visit_of(request)
    if here.account is None:
        return here.site.login_wall(request)
    known = menu.LEAVES.get(request.query_params.get("caty", ""))
    data = {"srt": _srt(here.account), "categories": [_category(known)] if known else []}
    return here.site.page(request, "prelist.html", title="List an item", data=data)


async def categories(request: Request) -> Response:
    """Those that hold every word; a whole path finds its own first."""
    wanted = _words(request.query_params.get("q", ""))
    found = [leaf for leaf in menu.LEAVES.values() if wanted <= _words(leaf.path)]
    found.sort(key=lambda leaf: (len(_words(leaf.path) - wanted), leaf.path))
    return JSONResponse({"categories": [_category(leaf) for leaf in found[:12]]})


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower().replace("'", "").replace("’", "")))


def _category(leaf: menu.Leaf) -> dict[str, Any]:
    return {"id": leaf.id, "label": leaf.path, "conditions": menu.conditions(leaf)}


async def form(request: Request) -> Response:
    """The listing form, for a draft or for what is live."""
    here, asked = visit_of(request), request.query_params
    account, mode = here.account, asked.get("mode", "AddItem")
    if account is None:
        return here.site.login_wall(request)
    if mode == "ReviseItem":
        item = _mine(here.world, account, asked.get("itemId", ""), "live")
    else:
        item = _draft(here.world, account, asked.get("draftId", ""))
    if item is None:
        return _gone(request)
    leaf, values = _leaf(item), dict(item.private["form"])
    if mode == "ReviseItem":
        values |= {
            "title": item.title, "description": item.fields["description"],
            "price": f"{item.price / 100:.2f}", "quantity": str(item.quantity - item.quantity_sold),
        }  # fmt: skip
    data = {
        "mode": mode, "draftId": item.private["draft_id"], "itemId": item.id, "srt": _srt(account),
        "delay": MOUNT_DELAY, "category": leaf.path, "conditions": menu.conditions(leaf),
        "aspects": [
            {"name": aspect["name"], "input": _input_name(aspect["name"]), "options": aspect["values"],
             "required": aspect["required"], "own": aspect["own"]}
            for aspect in menu.aspects(leaf)
        ],
        "policies": {
            name: [(_policy_id(account, policy["name"]), policy["name"]) for policy in menu.POLICIES[kind]]
            for name, kind in POLICIES.items()
        },
        "values": values
        | {"photos": [{"id": one.id, "url": _photo_url(one)} for one in item.photos]},
    }  # fmt: skip
    return here.site.page(request, "lstng.html", title="Listing", data=data)


async def success(request: Request) -> Response:
    here = visit_of(request)
    if here.account is None:
        return here.site.login_wall(request)
    item = _mine(here.world, here.account, request.query_params.get("itemId", ""))
    if item is None or item.published_at is None:
        return _gone(request)
    return here.site.page(request, "done.html", title="Listed", heading="Your listing is live", item=item)


async def review(request: Request) -> Response:
    here = visit_of(request)
    if here.account is None:
        return here.site.login_wall(request)
    return here.site.page(request, "review.html", title="In review")


# ---- the form's API -------------------------------------------------------------------------------


async def new_draft(request: Request) -> Response:
    account, world = _caller(request), visit_of(request).world
    if account is None:
        return _unauthenticated()
    wish = await request.json()
    leaf = menu.LEAVES.get(str(wish.get("categoryId")))
    if leaf is None or wish.get("condition") not in menu.conditions(leaf):
        return _errors(("category", "Please choose a category and a condition."))
    latest = next(iter(world.items(NAME, account)), None)
    values = {
        "title": "", "customLabel": "", "description": "", "condition": wish["condition"], "price": "",
        "quantity": "1", "bestOfferEnabled": True, "promotedListing": True, "specifics": {},
        "majorWeight": "", "minorWeight": "", "packageLength": "", "packageWidth": "", "packageDepth": "",
        "itemLocationZip": latest.private["form"]["itemLocationZip"] if latest else "",
    } | {
        name: _policy_id(account, menu.POLICIES[kind][0]["name"]) for name, kind in POLICIES.items()
    }  # fmt: skip
    item = world.draft(NAME, account, world.new_number(12), _fields(account, leaf, values))
    item.private |= {"draft_id": world.new_number(13), "category": leaf.id, "form": values}
    return JSONResponse({"draftId": item.private["draft_id"]})


async def save_draft(request: Request) -> Response:
    account, world = _caller(request), visit_of(request).world
    if account is None:
        return _unauthenticated()
    item = _draft(world, account, request.path_params["draft"])
    if item is None:
        return _errors(("", "This draft is no longer there."))
    _fill(world, item, await request.json())
    return JSONResponse({"saved": True})


async def publish(request: Request) -> Response:
    """The click."""
    here, account = visit_of(request), _caller(request)
    world = here.world
    if account is None:
        return _unauthenticated()
    item = _draft(world, account, request.path_params["draft"])
    if item is None:
        return _errors(("", "This draft is no longer there."))
    wish = await request.json()
    wrong = _wrong(world, account, _leaf(item), wish)
    if wrong:
        world.refuse(account, "; ".join(message for _, message in wrong), item)
        return _errors(*wrong)
    _fill(world, item, wish)
    try:
        if len(world.items(NAME, account, "live")) >= SELLING_LIMIT:
            world.refuse(account, "item_limit")
            raise ItemLimit
        await here.site.submit(request, lambda: world.publish(item))
    except SoftReject:
        return JSONResponse({"next": f"/lstng/review?draftId={item.private['draft_id']}"})
    except ItemLimit:
        said = "You've reached the selling limit for this month. You can request a higher limit."
        return _errors(("", said))
    except OddAnswer as e:
        return _errors(("", e.words))
    return JSONResponse({"next": f"/lstng/success?itemId={item.id}"})


async def revise(request: Request) -> Response:
    account, world = _caller(request), visit_of(request).world
    if account is None:
        return _unauthenticated()
    item = _mine(world, account, request.path_params["id"], "live")
    if item is None:
        return _errors(("", "This listing has already ended."))
    live, wish = item, await request.json()
    wrong = _wrong(world, account, _leaf(item), wish)
    if wrong:
        world.refuse(account, "; ".join(message for _, message in wrong), item)
        return _errors(*wrong)

    def change() -> None:
        _fill(world, live, wish)
        live.fields["quantity"] += live.quantity_sold  # the form says what is left

    try:
        await visit_of(request).site.submit(request, lambda: world.revise(live, change))
    except SoftReject:
        return _errors(("description", "This listing may violate our links policy. Remove the link."))
    except ItemLimit:
        return _errors(
            ("", "You've reached the selling limit for this month. You can request a higher limit.")
        )
    except OddAnswer as e:
        return _errors(("", e.words))
    return JSONResponse({"next": f"/itm/{item.id}?revised=1"})


async def media(request: Request) -> Response:
    """One photo."""
    account = _caller(request)
    if account is None:
        return _unauthenticated()
    async with request.form() as sent:
        file = sent.get("file")
        if file is None or isinstance(file, str):
            return _errors(("photos", "No file."))
        data, kind = await file.read(), file.content_type or ""
    try:
        kept = visit_of(request).world.keep_photo(NAME, account, data, kind)
    except ValueError:
        return _errors(("photos", "We could not upload this photo. Please use a JPEG, PNG or WEBP file."))
    return JSONResponse({"id": kept.id, "url": _photo_url(kept)})


def _wrong(world: World, account: Account, leaf: menu.Leaf, wish: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(field, why) of everything that the server does not take: the form's own rules again."""
    wrong = []
    if not 1 <= _length(_text(wish, "title")) <= 80:
        wrong.append(("title", "Add a title of at most 80 characters."))
    if any(word in _text(wish, "title").lower() for word in PROHIBITED):
        wrong.append(("title", "This listing may violate our counterfeit policy. We can't list this item."))
    if _length(_text(wish, "customLabel")) > 50:
        wrong.append(("customLabel", "A custom label may have at most 50 characters."))
    if not 1 <= _length(_text(wish, "description")) <= 4000:
        wrong.append(("description", "Add a description of at most 4,000 characters."))
    if wish.get("condition") not in menu.conditions(leaf):
        wrong.append(("condition", "Select a condition."))
    cents = _cents(wish.get("price"))
    if cents is None or not 99 <= cents <= 99_999_999:
        wrong.append(("price", "Enter a price of at least $0.99."))
    if not re.fullmatch(r"[1-9]\d{0,3}", _text(wish, "quantity")):
        wrong.append(("quantity", "Enter a quantity."))
    photos = [world.photos.get(str(id_)) for id_ in wish.get("photos") or []]
    if not 1 <= len(photos) <= MAX_PHOTOS or any(p is None or p.owner != account.name for p in photos):
        wrong.append(("photos", f"Add between 1 and {MAX_PHOTOS} photos."))
    specifics = _specifics(wish)
    for aspect in menu.aspects(leaf):
        name, value = aspect["name"], specifics.get(aspect["name"], "")
        if aspect["required"] and not value:
            wrong.append((_input_name(name), f"{name} is required."))
        elif value and not aspect["own"] and value not in aspect["values"]:
            wrong.append((_input_name(name), f"{name}: please choose a value of the list."))
    if any(len(name) > 40 or len(value) > 65 for name, value in specifics.items()):
        wrong.append(("specifics", "An item specific is too long."))
    policies = _policies(account, wish)
    for field, kind in POLICIES.items():
        if not policies[kind]:
            wrong.append((field, f"Select a {kind} policy."))
    if policies["shipping"].get("name", "").startswith("Ground") and not _weight(wish):
        wrong.append(("majorWeight", "Enter the package weight."))
    if not re.fullmatch(r"\d{5}", _text(wish, "itemLocationZip")):
        wrong.append(("itemLocationZip", "Enter the ZIP code of your item."))
    return wrong


def _fill(world: World, item: Item, wish: Mapping[str, Any]) -> None:
    """What the form holds now, complete or not."""
    values = item.private["form"]
    values |= {key: wish[key] for key in values if key in wish}
    values["specifics"] = _specifics(wish)
    item.fields.update(_fields(item.account, _leaf(item), values))
    item.sku = _text(values, "customLabel") or None
    item.photos = [world.photos[str(id_)] for id_ in wish.get("photos") or [] if str(id_) in world.photos]


def _fields(account: Account, leaf: menu.Leaf, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the seller sent, in Everystall's names, so that tests can compare."""
    policies, quantity = _policies(account, values), _text(values, "quantity")
    rest = _specifics(values)
    brand = rest.pop("Brand", None)
    size = next((rest.pop(name) for name in SIZES if name in rest), None)
    color = next((rest.pop(name) for name in COLORS if name in rest), "")
    parcel = {
        "weight_oz": _weight(values), "length_in": _number(values.get("packageLength")),
        "width_in": _number(values.get("packageWidth")), "height_in": _number(values.get("packageDepth")),
    }  # fmt: skip
    return {
        "title": _text(values, "title"),
        "description": _text(values, "description"),
        "price": {"amount": _cents(values.get("price")) or 0, "currency": "USD"},
        "quantity": int(quantity) if quantity.isdigit() else 1,
        "category": leaf.path.split(" > "),
        "brand": None if brand == "Unbranded" else brand,
        "size": size,
        "condition": values.get("condition"),
        "colors": [one for one in color.split("/") if one],
        "specifics": rest,
        "shipping": {
            **{f"{kind}_policy": policy.get("name") for kind, policy in policies.items()},
            "ships_from_zip": _text(values, "itemLocationZip"),
            **{name: value for name, value in parcel.items() if value is not None},
        },
        "options": {
            "offers": bool(values.get("bestOfferEnabled")),
            "promotion": bool(values.get("promotedListing")),
        },
    }


def _policies(account: Account, values: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Kind → the policy that is chosen, or {}."""
    return {
        kind: next(
            (one for one in menu.POLICIES[kind] if _policy_id(account, one["name"]) == values.get(name)), {}
        )
        for name, kind in POLICIES.items()
    }


def _policy_id(account: Account, name: str) -> str:
    """Each account has its own numbers for them."""
    names = [policy["name"] for policies in menu.POLICIES.values() for policy in policies]
    return f"{account.number}{names.index(name) + 10}"


def _input_name(aspect: str) -> str:
    """With a dot when the aspect has spaces."""
    return f"search-box-attributes{'.' if ' ' in aspect else ''}{aspect}"


def _specifics(values: Mapping[str, Any]) -> dict[str, str]:
    given = values.get("specifics")
    return {str(k): str(v).strip() for k, v in given.items()} if isinstance(given, Mapping) else {}


def _text(values: Mapping[str, Any], name: str) -> str:
    return str(values.get(name) or "").strip()


def _cents(text: object) -> int | None:
    found = re.fullmatch(r"\$?(\d{1,7})(?:\.(\d{1,2}))?", str(text or "").replace(",", "").strip())
    return int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0")) if found else None


def _number(text: object) -> float | None:
    found = re.fullmatch(r"\d{1,3}(\.\d{1,2})?", str(text or "").strip())
    return float(found[0]) if found else None


def _weight(values: Mapping[str, Any]) -> int | None:
    """Ounces."""
    pounds, ounces = _text(values, "majorWeight") or "0", _text(values, "minorWeight") or "0"
    if not (pounds.isdigit() and ounces.isdigit()):
        return None
    return int(pounds) * 16 + int(ounces) or None


def _length(text: str) -> int:
    """As JavaScript counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


# ---- Seller Hub -----------------------------------------------------------------------------------


async def hub(request: Request) -> Response:
    here, asked = visit_of(request), request.query_params
    account, world = here.account, here.world
    if account is None:
        return here.site.login_wall(request)
    over = [item for item in world.listed(NAME, account, "ended", "sold") if item.published_at is not None]
    orders = [(item, order) for item in world.items(NAME, account) for order in item.orders]
    orders.sort(key=lambda pair: str(pair[1]["at"]), reverse=True)
    lists: dict[str, list[Any]] = {
        "active": world.listed(NAME, account, "live"),
        "drafts": world.items(NAME, account, "draft"),
        "scheduled": [],
        "ended": over,
        "orders": orders,
    }
    tab = request.path_params.get("tab", "orders")
    if tab not in lists:
        return _gone(request)
    rows, keyword = lists[tab], asked.get("keyword", "").strip()
    if keyword and tab != "orders":
        rows = [i for i in rows if keyword.lower() in f"{i.title}\n{i.id}\n{i.sku or ''}".lower()]
    if tab == "ended" and asked.get("status") == "UNSOLD_NOT_RELISTED":
        rows = [item for item in rows if not item.orders]
    words = asked.get("page", "1")
    page = max(1, int(words)) if words.isdigit() else 1
    labels = {
        "active": "Active listings", "drafts": "Drafts", "scheduled": "Scheduled", "ended": "Ended listings",
        "orders": "Orders",
    }  # fmt: skip
    notices = {
        "ended": "Your listing was ended.", "deleted": "Your draft was deleted.", "saved": "Draft saved.",
    }  # fmt: skip
    return here.site.page(
        request, "hub.html", title=labels[tab], here=tab, keyword=keyword, srt=_srt(account), page=page,
        rows=rows[(page - 1) * PER_PAGE : page * PER_PAGE], more=len(rows) > page * PER_PAGE,
        tabs=[
            (name, "/sh/ord" if name == "orders" else f"/sh/lst/{name}", label, len(lists[name]))
            for name, label in labels.items()
        ],
        notice=next((text for word, text in notices.items() if word in asked), None),
    )  # fmt: skip


async def order_page(request: Request) -> Response:
    here = visit_of(request)
    if here.account is None:
        return here.site.login_wall(request)
    wanted = request.query_params.get("orderid")
    for item in here.world.items(NAME, here.account):
        for order in item.orders:
            if order["order_id"] == wanted:
                return here.site.page(request, "order.html", title="Order details", item=item, order=order)
    return _gone(request)


async def end(request: Request) -> Response:
    """What is over stays so, and it says that."""
    account, world = _caller(request), visit_of(request).world
    if account is None:
        return _unauthenticated()
    wish = await request.json()
    item = _mine(world, account, str(wish.get("itemId", "")), "live")
    if item is None:
        return _errors(("", "This listing has already ended."))
    if wish.get("reason") not in REASONS:
        return _errors(("reason", "Please select a reason."))
    item.private["reason"] = wish["reason"]
    world.end(item)
    return JSONResponse({"ended": item.id})


async def delete_draft(request: Request) -> Response:
    account, world = _caller(request), visit_of(request).world
    if account is None:
        return _unauthenticated()
    item = _draft(world, account, str((await request.json()).get("draftId", "")))
    if item is not None:
        world.end(item)
    return JSONResponse({"deleted": True})


# ---- small things ---------------------------------------------------------------------------------


def _mine(world: World, account: Account, id_: str, state: str | None = None) -> Item | None:
    item = world.item(NAME, id_)
    return item if item and item.account is account and state in (None, item.state) else None


def _draft(world: World, account: Account, draft_id: str) -> Item | None:
    drafts = world.items(NAME, account, "draft")
    return next((item for item in drafts if item.private.get("draft_id") == draft_id), None)


def _leaf(item: Item) -> menu.Leaf:
    return menu.LEAVES[item.private["category"]]


def _gone(request: Request) -> Response:
    return visit_of(request).site.page(request, "gone.html", 404, title="Error page")


def _errors(*errors: tuple[str, str]) -> Response:
    return JSONResponse({"errors": [{"field": field, "message": message} for field, message in errors]})


def _unauthenticated() -> Response:
    return JSONResponse({"errors": [{"field": "", "message": "Please sign in."}]}, 401)


def _dollars(cents: int) -> str:
    return f"${cents / 100:,.2f}"


def _moment(at: str) -> str:
    """As the orders write it: "Jul 8, 2026 at 3:04pm PST"."""
    there = datetime.fromisoformat(at).astimezone(timezone(timedelta(hours=-8)))
    half = f"{there:%p}".lower()
    return f"{there:%b} {there.day}, {there.year} at {there.hour % 12 or 12}:{there:%M}{half} PST"


def _photo_url(photo: Photo) -> str:
    return f"/images/g/{photo.id}/s-l500.jpg"

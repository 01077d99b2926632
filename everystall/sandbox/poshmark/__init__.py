"""The practice Poshmark: the site that posts, as its sellers and buyers see it (facts of 2026-06 to -10).

Its form is mounted by the browser, saves a draft with the site's own JSON, and publishes with "Next" and
"List This Item". Only the site's own script talks to the JSON paths.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from everystall.sandbox.app import Site, visit_of
from everystall.sandbox.core import Account, Cookie, Item, ItemLimit, OddAnswer, Session, SoftReject, World
from everystall.sandbox.poshmark import menu
from everystall.sandbox.poshmark.words import VOCABULARY

NAME = "poshmark"
MAX_DRAFTS = 15
SALES_PER_PAGE = 20


def site(world: World) -> Site:
    """The site as an ASGI app."""
    made = Site(
        world, NAME, "Poshmark", routes=_ROUTES, token_of=_token_of, cookies=session_cookies,
        vocabulary=VOCABULARY, folder=Path(__file__).parent,
    )  # fmt: skip
    made.templates.globals |= {"slug": _slug, "dollars": _dollars, "photo_url": _photo_url, "day": _day}
    return made


# ---- sessions ----


def _token_of(cookies: dict[str, str]) -> str | None:
    """The last part of `jwt`."""
    return cookies.get("jwt", "").rsplit(".", 1)[-1] or None


def session_cookies(session: Session) -> list[Cookie]:
    """The cookies of a signed-in browser; `_csrf` is another at each render."""
    account, now = session.account, int(time.time())
    head = _base64({"alg": "HS256", "typ": "JWT"})
    body = _base64({"user_id": account.hex_id, "iat": now, "exp": int(session.expires_at)})
    ui = {"dh": account.name, "uid": account.hex_id, "em": "", "ge": "unspecified"}
    return [
        Cookie("jwt", f"{head}.{body}.{session.token}", http_only=True),
        Cookie("ui", quote(json.dumps(ui, separators=(",", ":")))),
        Cookie("_csrf", secrets.token_urlsafe(18)),
        Cookie("_poshmark_session", secrets.token_hex(16), http_only=True, max_age=None),
        Cookie("usegv3", account.hex_id[:12]),
        Cookie("vsegv3", "true"),
        Cookie("esid", secrets.token_hex(8), max_age=None),
        Cookie("ses_exp", str(int(session.expires_at))),
        Cookie("max_auth_exp", str(int(session.expires_at))),
    ]


def _base64(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _csrf_ok(request: Request) -> bool:
    return bool(request.headers.get("x-xsrf-token")) and (
        request.headers.get("x-xsrf-token") == request.cookies.get("_csrf")
    )


# ---- pages ----


async def front(request: Request) -> Response:
    items = visit_of(request).world.listed(NAME, None, "live")[:48]
    return visit_of(request).site.page(request, "front.html", items=items)


async def login(request: Request) -> Response:
    visit = visit_of(request)
    if request.method == "GET":
        return visit.site.page(request, "login.html", error=None)
    form = await request.form()
    session = visit.world.sign_in(
        NAME, str(form.get("login_form[username_email]", "")), str(form.get("login_form[password]", ""))
    )
    if session is None:
        return visit.site.page(request, "login.html", 200, error="Invalid username/email or password")
    answer = RedirectResponse("/feed", 303)
    return visit.site.set_cookies(answer, session)


async def feed(request: Request) -> Response:
    visit = visit_of(request)
    if visit.account is None:
        return visit.site.login_wall(request)
    created = request.query_params.get("created_listing_id")
    return visit.site.page(
        request, "feed.html", created=created, items=visit.world.listed(NAME, None, "live")[:24]
    )


async def closet(request: Request) -> Response:
    visit = visit_of(request)
    owner = visit.world.account(NAME, request.path_params["handle"].lower())
    wanted = request.query_params.get("availability", "all")
    states = {"available": ("live",), "sold_out": ("sold",)}.get(wanted, ("live", "sold"))
    items = visit.world.listed(NAME, owner, *states)
    page = max(1, int(request.query_params.get("page", "1")))
    return visit.site.page(
        request, "closet.html", owner=owner, wanted=wanted, items=items[(page - 1) * 48 : page * 48],
        next_page=page + 1 if len(items) > page * 48 else None,
    )  # fmt: skip


async def listing(request: Request) -> Response:
    visit = visit_of(request)
    match = re.search(r"([0-9a-f]{24})$", request.path_params["slug"])
    item = visit.world.item(NAME, match[1]) if match else None
    mine = item is not None and visit.account is item.account
    if item is None or not item.page_shown() or (item.state == "draft"):
        return visit.site.page(request, "error.html", 404, status=404)
    if item.state == "ended":
        return visit.site.page(request, "gone.html", 404)
    initial = {"id": item.id, "status": "published", "inventory": {"status": _inventory(item)}}
    if mine:
        initial["seller_private_info"] = {"sku": item.sku or ""}
    return visit.site.page(request, "listing.html", item=item, mine=mine, initial=initial)


async def editor(request: Request) -> Response:
    """/create-listing and /edit-listing/{id}: a skeleton; the browser mounts the form."""
    visit = visit_of(request)
    if visit.account is None:
        return visit.site.login_wall(request)
    item = None
    if "id" in request.path_params:
        item = visit.world.item(NAME, request.path_params["id"])
        if item is None or item.account is not visit.account or item.state not in ("live", "draft"):
            return visit.site.page(request, "gone.html", 404)
    initial = {
        "mode": "edit" if item else "create", "uid": visit.account.hex_id, "handle": visit.account.name,
        "catalog": menu.CATALOG, "sizes": menu.SIZES, "conditions": menu.CONDITIONS, "colors": menu.COLORS,
        "brands": menu.BRANDS, "discounts": menu.DISCOUNTS, "post": _post_json(item) if item else None,
    }  # fmt: skip
    return visit.site.page(request, "editor.html", initial=initial)


async def sales(request: Request) -> Response:
    visit = visit_of(request)
    if visit.account is None:
        return visit.site.login_wall(request)
    rows = [(item, order) for item in visit.world.items(NAME, visit.account) for order in item.orders]
    rows.sort(key=lambda row: row[1]["at"], reverse=True)
    wanted = request.path_params.get("id")
    if wanted is None:
        words = request.query_params.get("page", "1")
        first = (max(1, int(words)) - 1) * SALES_PER_PAGE if words.isdigit() else 0
        shown = rows[first : first + SALES_PER_PAGE]
        return visit.site.page(
            request, "sales.html", rows=shown, first=first, total=len(rows),
            page=first // SALES_PER_PAGE + 1,
        )  # fmt: skip
    one = next((row for row in rows if row[1]["order_id"] == wanted), None)
    if one is None:
        return visit.site.page(request, "error.html", 404, status=404)
    item, order = one
    line = {"product_id": item.id, "parent_post_id": item.id, "sku": item.sku or "", "status": "sold"}
    state = {"id": order["order_id"], "state": "sold", "line_items": [line]}
    return visit.site.page(request, "order.html", item=item, order=order, initial=state)


# ---- the site's own JSON ----


def _refused(message: str, kind: str = "InvalidInputError") -> Response:
    """Errors come with HTTP 200."""
    return JSONResponse(
        {"error": {"errorType": kind, "userMessage": message, "statusCode": 400}, "trace_id": _trace()}
    )


def _trace() -> str:
    return secrets.token_hex(8)


def _own(request: Request) -> tuple[Account | None, Item | None]:
    visit = visit_of(request)
    item = visit.world.item(NAME, request.path_params.get("id", ""))
    if item is not None and item.account is not visit.account:
        item = None
    return visit.account, item


async def new_post(request: Request) -> Response:
    visit = visit_of(request)
    account = visit.account
    if account is None or account.hex_id != request.path_params["uid"] or not _csrf_ok(request):
        return JSONResponse({"error": {"errorType": "UnauthorizedError", "statusCode": 401}}, 401)
    if len(visit.world.items(NAME, account, "draft")) >= MAX_DRAFTS:
        return _refused(f"You can keep up to {MAX_DRAFTS} drafts. Delete a draft to list something new.")
    item = visit.world.draft(NAME, account, visit.world.new_hex(), {})
    return JSONResponse({"id": item.id, "status": "draft", "pictures": [], "scratch_pictures": []})


async def scratch(request: Request) -> Response:
    account, item = _own(request)
    if account is None or item is None or not _csrf_ok(request):
        return JSONResponse({"error": {"errorType": "UnauthorizedError", "statusCode": 401}}, 401)
    async with request.form() as form:
        upload = form.get("file")
        data = await upload.read() if isinstance(upload, UploadFile) else b""
        kind = (upload.content_type or "") if isinstance(upload, UploadFile) else ""
    try:
        photo = visit_of(request).world.keep_photo(NAME, account, data, kind)
    except ValueError:
        return _refused("This photo cannot be used. Try another one.")
    urls = {f"url{tail}": _photo_url(item, photo.id, size) for tail, size in (("", "m"), ("_small", "s"))}
    return JSONResponse({"id": photo.id, "content_type": photo.content_type, **urls})


async def post(request: Request) -> Response:
    """GET a listing, POST its content, DELETE it."""
    visit = visit_of(request)
    account, item = _own(request)
    if account is None or item is None or item.state in ("ended", "sold"):
        return JSONResponse({"error": {"errorType": "NotFoundError", "statusCode": 404}}, 404)
    if request.method == "GET":
        return JSONResponse({"data": _post_json(item)})
    if not _csrf_ok(request):
        return JSONResponse({"error": {"errorType": "UnauthorizedError", "statusCode": 401}}, 401)
    if request.method == "DELETE":
        if item.state == "draft":
            visit.world.end(item)
        else:
            gone = item
            try:
                await visit.site.submit(request, lambda: visit.world.end(gone))
            except (SoftReject, ItemLimit, OddAnswer):
                return _refused("Sorry! You cannot currently perform this request.", "ServerError")
        return JSONResponse({"trace_id": _trace()})
    sent = (await request.json())["post"]
    if item.state == "draft" or item.private.pop("reopened", False):
        wrong = _save(visit.world, item, sent)
        return _refused(wrong) if wrong else JSONResponse({"trace_id": _trace()})
    return await _update(request, account, item, sent)


async def reopened(request: Request) -> Response:
    """A live listing's changes are kept back until it is published again; buyers see the old meanwhile."""
    account, item = _own(request)
    if account is None or item is None or item.state != "live" or not _csrf_ok(request):
        return JSONResponse({"error": {"errorType": "UnauthorizedError", "statusCode": 401}}, 401)
    item.private["reopened"] = True
    return JSONResponse({"id": item.id, "status": "published", "trace_id": _trace()})


async def _update(request: Request, account: Account, item: Item, sent: dict[str, Any]) -> Response:
    """What a live listing's form holds takes the place of what is there."""
    visit = visit_of(request)
    wrong, change = _read(visit.world, item, sent)
    if wrong or change is None:
        return _refused(wrong or "")
    draft = Item(item.id, NAME, account, "draft", dict(item.fields), photos=list(item.photos))
    _apply(draft, change)
    wrong = _incomplete(draft)
    if wrong:
        visit.world.refuse(account, wrong, item)
        return _refused(wrong, "ValidationError")
    try:
        await visit.site.submit(request, lambda: visit.world.revise(item, lambda: _apply(item, change)))
    except SoftReject:
        return _refused("Please enter a description without contact details.", "ValidationError")
    except ItemLimit:
        return _refused("You have reached the listing limit for now. Please try again later.",
                        "LimitExceededError")  # fmt: skip
    except OddAnswer as e:
        return _refused(e.words, "ServerError")
    return JSONResponse({"id": item.id, "status": "published", "trace_id": _trace()})


async def published(request: Request) -> Response:
    visit = visit_of(request)
    account, item = _own(request)
    if account is None or item is None or not _csrf_ok(request):
        return JSONResponse({"error": {"errorType": "UnauthorizedError", "statusCode": 401}}, 401)
    draft = item
    if item.state == "live" and "pending" in item.private:
        return await _update(request, account, item, item.private.pop("pending"))
    wrong = _incomplete(draft)
    if wrong:
        visit.world.refuse(account, wrong, draft)
        return _refused(wrong, "ValidationError")
    try:
        await visit.site.submit(request, lambda: visit.world.publish(draft))
    except SoftReject:
        return JSONResponse({"id": draft.id, "status": "draft", "review": True, "trace_id": _trace()})
    except ItemLimit:
        return _refused(
            "You have reached the limit of new listings for now. Please try again later.",
            "LimitExceededError",
        )
    except OddAnswer as e:
        return _refused(e.words, "ServerError")
    return JSONResponse({"id": draft.id, "status": "published", "trace_id": _trace()})


async def drafts(request: Request) -> Response:
    visit = visit_of(request)
    if visit.account is None:
        return JSONResponse({"error": {"errorType": "UnauthorizedError", "statusCode": 401}}, 401)
    found = visit.world.items(NAME, visit.account, "draft")
    return JSONResponse({"data": [_post_json(item) for item in found if item.fields]})


async def photo(request: Request) -> Response:
    kept = visit_of(request).world.photos.get(request.path_params["photo"])
    if kept is None:
        return JSONResponse({"error": "not found"}, 404)
    pixels = {"s": 200, "m": 580}.get(request.path_params["size"])
    data, kind = (kept.served, kept.content_type) if pixels is None else kept.at_most(pixels)
    return Response(data, media_type=kind)


# ---- content ----


def _save(world: World, item: Item, sent: dict[str, Any]) -> str | None:
    """Keeps what the form sent, in a draft or beside what is live; the site's refusal, or None."""
    wrong, change = _read(world, item, sent)
    if change is not None and item.state == "draft":
        _apply(item, change)
    elif change is not None:
        item.private["pending"] = sent
    return wrong


def _apply(item: Item, change: dict[str, Any]) -> None:
    item.private |= change["private"]
    item.sku, item.photos = change["sku"], change["photos"]
    item.fields.update(change["fields"])
    item.fields["quantity"] += item.quantity_sold  # the form says what is available


def _read(world: World, item: Item, sent: dict[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    """(why not, None), or (None, what the form sent)."""
    try:
        price, original = sent["price_amount"], sent.get("original_price_amount")
        fields = {
            "title": str(sent["title"]).strip(),
            "description": str(sent["description"]).strip(),
            "price": {"amount": round(float(price["val"]) * 100), "currency": "USD"} if price else None,
            "original_price": (
                {"amount": round(float(original["val"]) * 100), "currency": "USD"} if original else None
            ),
            "quantity": int(sent["inventory"]["size_quantities"][0]["quantity_available"]),
            "size": sent["inventory"]["size_quantities"][0]["size_id"],
            "condition": menu.CONDITIONS.get(sent["condition"]),
            "brand": sent.get("brand") or None,
            "colors": [color["name"] for color in sent["colors"]],
            "tags": [tag["name"] for tag in sent["style_tags"]],
            "options": {"smart_sell": bool(sent.get("smart_sell"))},
            "shipping": {
                "discount": menu.DISCOUNTS[sent.get("seller_shipping_discount", {}).get("id", "none")]
            },
        }
        catalog = sent["catalog"]
        found = menu.find_category(catalog["department"], catalog["category"])
        pictures = [world.photos[picture["id"]] for picture in sent["pictures"]]
    except (KeyError, IndexError, TypeError, ValueError):
        return "Sorry! You cannot currently perform this request.", None
    if len(fields["title"]) > 80 or len(fields["description"]) > 1500:
        return "The title or the description is too long.", None
    if len(pictures) > 16 or len(fields["colors"]) > 2 or len(fields["tags"]) > 3:
        return "There are too many photos, colors or tags.", None
    if found is not None:
        names = [found["department"]["name"], found["category"]["name"]]
        names += [f["name"] for f in found["category"]["features"] if f["id"] in catalog["category_features"]]
        fields["category"] = names
    private = {
        "catalog": catalog, "discount": sent.get("seller_shipping_discount", {}).get("id", "none"),
        "smart_floor": sent.get("smart_sell_minimum"),
    }  # fmt: skip
    sku = str((sent.get("seller_private_info") or {}).get("sku") or "") or None
    return None, {"fields": fields, "private": private, "sku": sku, "photos": pictures}


def _incomplete(item: Item) -> str | None:
    """Why it cannot be published, in the site's words."""
    fields = item.fields
    if not item.photos:
        return "Please add at least one photo."
    for name in ("title", "description", "category", "size", "condition"):
        if not fields.get(name):
            return f"Please enter the {name} of your listing."
    price = (fields.get("price") or {}).get("amount", 0)
    if price % 100:
        return "Whole dollar amount required."
    if not 300 <= price <= 100_000_000:
        return "The listing price must be between $3 and $1,000,000."
    return None


def _post_json(item: Item) -> dict[str, Any]:
    """A listing as the site's script gets it."""
    fields = item.fields
    return {
        "id": item.id, "status": "published" if item.state in ("live", "sold") else "draft",
        "title": fields.get("title", ""), "description": fields.get("description", ""),
        "catalog": item.private.get("catalog"), "category_names": fields.get("category", []),
        "size": fields.get("size"), "quantity": item.quantity - item.quantity_sold,
        "condition": next((k for k, v in menu.CONDITIONS.items() if v == fields.get("condition")), None),
        "brand": fields.get("brand"), "colors": fields.get("colors", []),
        "style_tags": fields.get("tags", []),
        "price": item.price // 100 or None,
        "original_price": (fields.get("original_price") or {}).get("amount", 0) // 100 or None,
        "inventory": {"status": _inventory(item)},
        "smart_sell": bool((fields.get("options") or {}).get("smart_sell")),
        "smart_sell_minimum": item.private.get("smart_floor"),
        "seller_shipping_discount": item.private.get("discount", "none"),
        "seller_private_info": {"sku": item.sku or ""},
        "pictures": [{"id": p.id, "url": _photo_url(item, p.id, "m")} for p in item.photos],
    }  # fmt: skip


def _inventory(item: Item) -> str:
    return "sold_out" if item.state == "sold" else "available"


def _photo_url(item: Item, photo_id: str, size: str = "m") -> str:
    """As the real ones: the listing's id is in the path."""
    day = time.strftime("%Y/%m/%d", time.gmtime(item.created_at))
    return f"/posts/{day}/{item.id}/{size}_{photo_id}.jpg"


def _slug(item: Item) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "-", item.title).strip("-") or "Listing"
    return f"{words}-{item.id}"


def _day(at: str) -> str:
    """As the table of sales writes it: "Jul 08, 2026"."""
    return datetime.fromisoformat(at).strftime("%b %d, %Y")


def _dollars(money: dict[str, Any] | None) -> str:
    return f"${(money or {}).get('amount', 0) // 100:,}"


_ROUTES = [
    Route("/", front),
    Route("/login", login, methods=["GET", "POST"]),
    Route("/feed", feed),
    Route("/closet/{handle}", closet),
    Route("/listing/{slug}", listing),
    Route("/create-listing", editor),
    Route("/edit-listing/{id}", editor),
    Route("/order/sales", sales),
    Route("/order/sales/{id}", sales),
    Route("/sell", lambda request: RedirectResponse("/create-listing", 302)),
    Route("/vm-rest/users/{uid}/posts", new_post, methods=["POST"]),
    Route("/vm-rest/users/{uid}/drafts", drafts),
    Route("/api/posts/{id}/media/scratch", scratch, methods=["POST"]),
    Route("/vm-rest/posts/{id}", post, methods=["GET", "POST", "DELETE"]),
    Route("/vm-rest/posts/{id}/draft", reopened, methods=["POST"]),
    Route("/vm-rest/posts/{id}/status/published", published, methods=["PUT"]),
    Route("/posts/{y}/{m}/{d}/{post}/{size}_{photo}.jpg", photo),
]

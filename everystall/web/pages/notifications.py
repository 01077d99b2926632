"""What the seller was told, and where and when they want to be told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID
from zoneinfo import available_timezones

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError

from everystall.errors import BadRequest, ChannelRefused, Conflict, EverystallError, NotFound
from everystall.notify import channels, notices
from everystall.notify.hours import PACES
from everystall.notify.notices import KINDS, SUBJECTS
from everystall.notify.push import Vapid
from everystall.web import browsers, notifications
from everystall.web.deps import AllParts, PageSeller, as_id
from everystall.web.limits import LETTER
from everystall.web.pages.opened import Opened, OpenedPage, go, opened

router = APIRouter()

#: On one page.
SHOWN: Final = 30
SETTINGS: Final = "/notifications/settings"
Text = Annotated[str, Form(max_length=4000)]


# ---- what was told ----------------------------------------------------------------------------------


@router.get("/notifications")
async def show_notifications(
    page: OpenedPage, cursor: Annotated[str | None, Query(max_length=200)] = None
) -> HTMLResponse:
    rows = await notifications.find_notices(
        page.session, limit=SHOWN + 1, before=notifications.read_place(cursor)
    )
    shown = rows[:SHOWN]
    return page.show(
        "notifications.html",
        rows=shown,
        first=cursor is None,
        next_cursor=shown[-1][0].event_id if len(rows) > SHOWN else None,
        elsewhere=[one for one in await channels.find_channels(page.session) if one.confirmed_at],
    )


@router.get("/live/notices")
async def show_bell(page: OpenedPage) -> HTMLResponse:
    """How many were not read: the count that stands on every page."""
    return page.show("bell.html")


@router.post("/notifications/read")
async def read_all(page: OpenedPage) -> Response:
    await notices.mark_read(page.session, page.who.user_id)
    return go("/notifications", "all-read")


@router.get("/notifications/settings")
async def show_settings(page: OpenedPage) -> HTMLResponse:
    return await _show(page)


@router.get("/notifications/confirm")
async def ask_to_confirm(page: OpenedPage, token: Annotated[str, Query(max_length=200)] = "") -> HTMLResponse:
    """Opening a link changes nothing: mail servers open them too."""
    row = await channels.find_asked(page.session, page.parts.vault, token)
    if row is None:
        raise NotFound(
            "This link does not work any more.", action="Have another mail sent: Notifications, Settings."
        )
    return page.show("confirm.html", address=row.key, token=token)


@router.post("/notifications/confirm")
async def confirm(page: OpenedPage, token: Text = "") -> Response:
    await channels.confirm(page.session, page.parts.vault, token)
    return go(SETTINGS, "confirmed", "email")


@router.get("/notifications/{id}")
async def open_one(id: str, page: OpenedPage) -> Response:
    """Read from now on, and on to what it is about. As with a letter, opening it is reading it."""
    place = _number(id)
    return go(await notifications.open_notice(page.session, page.who.user_id, place))


@router.post("/notifications/{id}/read")
async def read_one(id: str, page: OpenedPage) -> Response:
    await notifications.read_notice(page.session, page.who.user_id, _number(id))
    return go("/notifications")


def _number(id: str) -> int:
    if not id.isascii() or not id.isdigit() or len(id) > 18:
        raise NotFound("There is no such notification.")
    return int(id)


# ---- where and when ---------------------------------------------------------------------------------


async def _show(
    page: Opened, *, where: str | None = None, error: EverystallError | None = None, **given: Any
) -> HTMLResponse:
    """`where`: the form that was refused, `given` what it held."""
    rows = await channels.find_channels(page.session)
    rules = await channels.get_rules(page.session, page.who.user_id)
    quiet = notifications.quiet_of(rules)
    return page.show(
        "notification_settings.html",
        status=error.status if error else 200,
        home=SETTINGS if error else None,
        by_kind={kind: [one for one in rows if one.kind == kind] for kind in KINDS},
        said_of=channels.said_of,
        mine=page.who.token_id,
        key=Vapid.load(page.parts.settings).public_key,
        mails=page.parts.settings.smtp_url is not None,
        kinds=KINDS,
        subjects=SUBJECTS,
        chosen={kind: channels.chosen(rules, kind) for kind in KINDS},
        paces=PACES,
        rules=rules,
        quiet=quiet,
        zones=sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")),
        browser_zone=page.user.time_zone,
        now=datetime.now(UTC),
        where=where,
        error=error,
        given=given,
    )


@router.post("/notifications/rules")
async def save_rules(page: OpenedPage, request: Request) -> Response:
    form = await request.form()
    quiet = None
    if form.get("quiet") == "yes":
        quiet = {"begins": form.get("quiet_from"), "ends": form.get("quiet_until")}
    hour = str(form.get("digest_hour", ""))
    asked = {
        **{kind: [str(one) for one in form.getlist(kind)] for kind in KINDS},
        **{f"{kind}_pace": form.get(f"{kind}_pace") for kind in KINDS},
        "digest_hour": int(hour) if hour.isascii() and hour.isdigit() and len(hour) < 3 else None,
        "quiet": quiet,
        "urgent_passes": form.get("urgent_passes") == "yes",
        "time_zone": form.get("time_zone") or None,
    }
    try:
        body = notifications.RulesBody.model_validate(asked, by_name=True)
    except ValidationError as error:
        first = error.errors()[0]
        of_quiet = "quiet" in first["loc"]
        said = (
            "Say when quiet hours begin and when they end; two different times."
            if of_quiet
            else str(first["msg"])
        )
        return await _show(page, where="quiet" if of_quiet else "rules", error=BadRequest(said))
    await notifications.save_rules(page.session, page.who.user_id, body)
    return go(SETTINGS, "saved-rules", "what")


@router.post("/notifications/addresses")
async def add_address(request: Request, parts: AllParts, who: PageSeller, address: Text = "") -> Response:
    try:
        await notifications.add_address(parts, who.user_id, address)
    except ChannelRefused as error:
        async with opened(request, parts, who) as page:
            return await _show(page, where="email", error=error, address=address)
    return go(SETTINGS, "address-added", "email")


@router.post("/notifications/services")
async def add_service(
    request: Request, parts: AllParts, who: PageSeller, url: Text = "", label: Text = ""
) -> Response:
    try:
        named = " ".join(label.split())[:100] or None
        await notifications.add_service(parts, who.user_id, url, named)
    except ChannelRefused as error:
        async with opened(request, parts, who) as page:
            return await _show(page, where="service", error=error, url=url, label=label)
    return go(SETTINGS, "service-added", "service")


@router.post("/notifications/browsers")
async def add_browser(
    request: Request, parts: AllParts, who: PageSeller, subscription: Text = ""
) -> Response:
    try:
        given = json.loads(subscription)
    except ValueError:
        given = None
    name = browsers.name_of(request.headers.get("user-agent"))
    try:
        async with parts.database.as_user(who.user_id) as session:
            await channels.add_browser(
                session, parts.vault, parts.settings, who.user_id, who.token_id, given, name
            )
    except ChannelRefused as error:
        async with opened(request, parts, who) as page:
            return await _show(page, where="push", error=error)
    return go(SETTINGS, "browser-added", "push")


@router.post("/notifications/channels/{id}/{do}")
async def act(id: str, do: str, request: Request, parts: AllParts, who: PageSeller) -> Response:
    channel_id = as_id(id)
    part: str = "channels"
    if do == "again":
        await parts.limits.spend(LETTER, str(who.user_id))
    try:
        async with parts.database.as_user(who.user_id) as session:
            part = (await channels.get_channel(session, channel_id)).kind
            if do == "test":
                await channels.test(session, channel_id)
            elif do == "remove":
                await channels.remove(session, channel_id)
            elif do == "again":
                await notifications.count_letter(
                    parts, await channels.ask_again(session, parts.vault, channel_id)
                )
            else:
                raise NotFound
    except Conflict as error:
        async with opened(request, parts, who) as page:
            return await _show(page, where=part, error=error, at=UUID(id))
    return go(
        SETTINGS, {"test": "test-sent", "remove": "channel-removed", "again": "address-added"}[do], part
    )

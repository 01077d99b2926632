"""What is done about a sale: the seller's rules for after it and for accounts that cannot be seen, and the
mails by which it is seen sooner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError

from everystall.errors import BadRequest
from everystall.inventory.connections import find_sign_ins
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.web import hints, sales
from everystall.web.answers import complaint
from everystall.web.pages.opened import Opened, OpenedPage, go

router = APIRouter()

_PUT_BACK = {
    "ask": ("Ask me", "It waits for you under Needs you."),
    "always": (
        "Put it back",
        "For sale again, and posted again where it was taken down because of that order.",
    ),
    "never": ("Leave it sold", "Nothing is posted again by itself."),
}
_BLIND = {
    "keep": ("Leave it live elsewhere", "It may sell twice; you are told of both orders."),
    "end_elsewhere": (
        "Take it down elsewhere",
        "It cannot sell twice. It is put back there once the account shows that it did not sell.",
    ),
}


# ---- the rules ----------------------------------------------------------------------------------------


@router.get("/connections/rules")
async def show_rules(page: OpenedPage) -> HTMLResponse:
    return await _show_rules(page)


async def _show_rules(
    page: Opened, given: Mapping[str, str] | None = None, wrong: Mapping[str, str] | None = None
) -> HTMLResponse:
    rules = await sales.get_rules(page.session, page.who)
    accounts = {
        one.connection.public_id: " · ".join(
            filter(None, [MARKETPLACES[one.connection.marketplace],
                          one.connection.label or one.connection.account_name])
        )
        for one in await find_sign_ins(page.session) if not one.forgotten
    }  # fmt: skip
    values = {
        "put_back": rules.put_back, "blind": rules.blind, "blind_minutes": str(rules.blind_minutes),
        "last_unit_on": rules.last_unit_on or "", **(given or {}),
    }  # fmt: skip
    return page.show(
        "sale_rules.html", status=422 if wrong else 200, home="/connections/rules" if wrong else None,
        values=values, wrong=wrong or {}, accounts=accounts, put_back=_PUT_BACK, blind=_BLIND,
    )  # fmt: skip


@router.post("/connections/rules")
async def save_rules(page: OpenedPage, request: Request) -> Response:
    given = _texts(await request.form())
    values: dict[str, Any] = {
        "putBack": given.get("put_back"), "blind": given.get("blind"),
        "lastUnitOn": given.get("last_unit_on") or None,
    }  # fmt: skip
    minutes = given.get("blind_minutes", "")
    values["blindMinutes"] = int(minutes) if minutes.isascii() and minutes.isdigit() else minutes
    try:
        body = sales.RulesBody.model_validate(values)
    except ValidationError as error:
        wrong = {str(found["loc"][0]): complaint(found) for found in error.errors()}
        if "blindMinutes" in wrong:
            wrong["blindMinutes"] = "Write a whole number of minutes, 0 to 10,080 (a week)."
        return await _show_rules(page, given, wrong)
    await sales.patch_rules(body, page.session, page.who)
    return go("/connections/rules", "rules-saved")


# ---- mails about sales -----------------------------------------------------------------------------------


@router.get("/connections/mails")
async def show_mails(page: OpenedPage) -> HTMLResponse:
    return await _show_mails(page)


async def _show_mails(
    page: Opened,
    *,
    url: str | None = None,
    given: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """`url`: the address that was made, shown this once."""
    settings = page.parts.settings
    return page.show(
        "sale_mails.html",
        rests=settings.watch_night_seconds > settings.watch_seconds,
        status=422 if wrong else 200,
        home="/connections/mails" if wrong or url else None,
        address=await hints.get_mail_address(page.session, page.who),
        box=(await hints.get_mailbox(page.session, page.who)).mailbox,
        url=url,
        given=given or {},
        wrong=wrong or {},
        senders={label: get_form(name).SALE_MAIL.domain for name, label in MARKETPLACES.items()},
    )


@router.post("/connections/mails/address")
async def make_address(page: OpenedPage) -> HTMLResponse:
    made = await hints.make_mail_address(page.session, page.who, page.parts)
    return await _show_mails(page, url=made.url)


@router.post("/connections/mails/address/delete")
async def delete_address(page: OpenedPage) -> Response:
    await hints.delete_mail_address(page.session, page.who)
    return go("/connections/mails", "mail-gone")


@router.post("/connections/mails/mailbox")
async def save_mailbox(page: OpenedPage, request: Request) -> Response:
    given = _texts(await request.form())
    port = given.get("port", "")
    values = {
        "host": given.get("host", ""), "username": given.get("username", ""),
        "password": given.pop("password", ""),
        "port": int(port[:6]) if port.isascii() and port.isdigit() else port or 993,
    }  # fmt: skip
    try:
        body = hints.MailboxBody.model_validate(values)
    except ValidationError as error:
        wrong = {str(found["loc"][0]): _mailbox_wrong(found) for found in error.errors()}
        return await _show_mails(page, given=given, wrong=wrong)
    try:
        await hints.put_mailbox(body, page.session, page.who, page.parts)
    except BadRequest as error:
        return await _show_mails(page, given=given, wrong={"host": f"{error.message} {error.action}"})
    return go("/connections/mails", "mailbox-saved")


@router.post("/connections/mails/mailbox/delete")
async def delete_mailbox(page: OpenedPage) -> Response:
    await hints.delete_mailbox(page.session, page.who)
    return go("/connections/mails", "mailbox-gone")


@router.get("/connections/mails/{rest:path}")
async def lead_back(rest: str) -> Response:
    """The address of a form, opened by itself."""
    return go("/connections/mails")


def _mailbox_wrong(found: Any) -> str:
    said = {
        "host": "Write the name of its IMAP server, such as imap.example.com.",
        "port": "Write a number, 1 to 65535; IMAP by TLS has 993.",
        "username": "Write the name that you sign in to your mail with.",
        "password": "Write the password; it is never shown again, so it has to be typed anew.",
    }
    return said.get(str(found["loc"][0])) or complaint(found)


def _texts(form: Mapping[str, Any]) -> dict[str, str]:
    return {name: value.strip() for name, value in form.items() if isinstance(value, str)}

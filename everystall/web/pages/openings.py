"""What each account's sign-in was taken out of the vault for: a sentence about the last day, and the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import listed
from everystall.inventory.connections import get_connection
from everystall.marketplaces import MARKETPLACES
from everystall.models import Connection, VaultAudit
from everystall.web.account import read_audit
from everystall.web.pages.opened import OpenedPage

router = APIRouter()

#: Lines of one page.
SHOWN: Final = 50
#: As the vault's audit calls it → as its seller reads it.
PURPOSES: Final = {
    "post": "to post",
    "check": "to see what sold",
    "look": "to look at what is live",
    "take down": "to take down",
    "change": "to change what is live",
    "relist": "to relist",
    "import": "to bring in what is live",
    "extend": "to keep it longer",
    "keys rotate": "to seal it anew",
    "keys verify": "to prove that it opens",
    "open it for you": "to open it for you",
    "keep its storage": "to keep what its browser did not send again",
    "rehearse": "to see whether its form is as we know it",
    "restore": "to prove that it opens after a restore",
}


@dataclass(frozen=True)
class OpenedFor:
    """Of one account, in the last 24 hours: for what, and how often, the most often first."""

    label: str
    purposes: Sequence[tuple[str, int]]

    @property
    def said(self) -> str:
        """One sentence."""
        number = sum(times for _, times in self.purposes)
        if not number:
            return f"Your {self.label} session was not opened in the last 24 hours."
        what = listed([f"{said_of(purpose)} ({times:,})" for purpose, times in self.purposes])
        if len(self.purposes) == 1:
            what = said_of(self.purposes[0][0])
        times = "once" if number == 1 else f"{number:,} times"
        return f"Your {self.label} session was opened {times} in the last 24 hours: {what}."


def said_of(purpose: str) -> str:
    return PURPOSES.get(purpose, purpose)


async def of_the_day(session: AsyncSession) -> dict[str, OpenedFor]:
    """By the account's public id; each account has one."""
    rows = await session.execute(
        select(Connection.public_id, Connection.marketplace, VaultAudit.purpose, func.count(VaultAudit.id))
        .outerjoin(
            VaultAudit,
            (VaultAudit.connection_id == Connection.id)
            & (VaultAudit.user_id == Connection.user_id)
            & (VaultAudit.at > func.now() - timedelta(days=1)),
        )
        .group_by(Connection.public_id, Connection.marketplace, VaultAudit.purpose)
        .order_by(func.count(VaultAudit.id).desc(), VaultAudit.purpose)
    )
    found: dict[str, tuple[str, list[tuple[str, int]]]] = {}
    for public_id, marketplace, purpose, times in rows:
        _, purposes = found.setdefault(public_id, (MARKETPLACES[marketplace], []))
        if times:
            purposes.append((purpose, times))
    return {id: OpenedFor(label, purposes) for id, (label, purposes) in found.items()}


@router.get("/connections/{id}/openings")
async def show_openings(
    id: str, page: OpenedPage, cursor: Annotated[str | None, Query(max_length=500)] = None
) -> HTMLResponse:
    row = await get_connection(page.session, id)
    return page.show(
        "openings.html",
        id=id,
        label=MARKETPLACES[row.marketplace],
        account=row.label or row.account_name,
        day=(await of_the_day(page.session))[id],
        audit=await read_audit(page.session, cursor=cursor, limit=SHOWN, public_id=id),
        cursor=cursor,
        purposes=PURPOSES,
    )

"""Every operation of the API, from its own OpenAPI, with a body that gets past the form. One that is not
known here fails the tests: say what it takes, and the attacks are tried on it too."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from tests.api.conftest import PASSWORD, SHIRT, photo, signed_in_as

#: Operations that need nobody to be signed in.
OPEN = {
    "GET /healthz", "GET /readyz", "POST /api/sign-in", "POST /api/pairings/look",
    "POST /api/pairings/accept", "POST /api/jobs/webhook", "POST /api/sign-in/passkey/options",
    "POST /api/sign-in/passkey", "POST /api/hints/mail/{token}",
}  # fmt: skip
#: What the extension's token is for.
SESSIONS = {
    "POST /api/sessions/sync", "POST /api/sessions/validate", "POST /api/sessions/refresh",
    "GET /api/sessions/wanted", "POST /api/sessions/signed-out", "POST /api/sessions/forget",
    "POST /api/extensions/forget-me",
}  # fmt: skip
DROP = {"percent": 7, "everyDays": 7, "floor": {"amount": 1100}}
#: Parts of a path that are nobody's id.
WORDS = {"marketplace": "poshmark", "token": "a-guess"}


@dataclass(frozen=True)
class Upload:
    """A file of a form."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    body: Any
    #: Ids that go into the query.
    query: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def ids(self) -> list[str]:
        return [name for name in re.findall(r"\{(\w+)\}", self.path) if name not in WORDS]

    def address(self, ids: Mapping[str, str]) -> str:
        query = "&".join(f"{name}={ids[name]}" for name in self.query)
        return self.path.format_map({**WORDS, **ids}) + (f"?{query}" if query else "")


def operations(app: FastAPI, ids: Mapping[str, str]) -> list[Operation]:
    """All of them; bodies that name something name what `ids` has."""
    bodies = _bodies(ids)
    found = [
        f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods
    ]
    unknown, gone = set(found) - set(bodies), set(bodies) - set(found)
    assert not unknown, f"say in tests/attacks/operations.py what these take: {unknown}"
    assert not gone, f"these are not there any more: {gone}"
    return [Operation(*name.split(" "), bodies[name], _QUERIES.get(name, ())) for name in found]


#: Ids that are asked for in the query.
_QUERIES = {
    "GET /api/jobs": ("listingId",), "GET /api/account/audit": ("browserProfileId",),
    "GET /api/sales": ("listingId",),
}  # fmt: skip


def _zip(listings: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("listings.csv", listings)
    return out.getvalue()


def _bodies(ids: Mapping[str, str]) -> dict[str, Any]:
    listing, profile, photo_id = ids["listingId"], ids["browserProfileId"], ids["photoId"]
    sync = {
        "marketplace": "mercari", "cookies": signed_in_as("mercari", "somebody"), "isLoggedIn": True,
        "timestamp": "2999-01-01T00:00:00Z", "browserProfileId": profile,
    }  # fmt: skip
    return {
        "GET /healthz": None,
        "GET /readyz": None,
        "POST /api/sign-in": {"email": "alice@example.com", "password": "a guess of somebody"},
        "POST /api/sign-out": None,
        "GET /api/account": None,
        "DELETE /api/account": {"confirm": "alice@example.com", "password": "a guess of somebody"},
        "POST /api/account/password": {"old": "a guess of somebody", "new": "another word for it"},
        "GET /api/account/second-factor": None,
        "POST /api/account/second-factor": {"password": "a guess of somebody"},
        "POST /api/account/second-factor/confirm": {"ticket": "a guess", "code": "123456"},
        "POST /api/account/second-factor/recovery-codes": {"password": "a guess of somebody"},
        "DELETE /api/account/second-factor": {"password": "a guess of somebody", "code": "123456"},
        "GET /api/account/sign-in-changes": None,
        "POST /api/invitations/{invitationId}/reset-second-factor": None,
        "POST /api/sign-in/passkey/options": None,
        "POST /api/sign-in/passkey": {"ticket": "a guess", "credential": {}},
        "GET /api/account/passkeys": None,
        "POST /api/account/passkeys/options": {"name": "mine", "password": "a guess of somebody"},
        "POST /api/account/passkeys": {"ticket": "a guess", "credential": {}},
        "DELETE /api/account/passkeys/{passkeyId}": {"password": PASSWORD},
        "GET /api/account/identities": None,
        "DELETE /api/account/identities/{identityId}": {"password": PASSWORD},
        "GET /api/browsers": None,
        "DELETE /api/browsers/{browserId}": None,
        "GET /api/extensions": None,
        "DELETE /api/extensions/{extensionId}": None,
        "POST /api/extensions/forget-me": None,
        "GET /api/tokens": None,
        "POST /api/tokens": {"name": "mine"},
        "DELETE /api/tokens/{tokenId}": None,
        "GET /api/account/audit": None,
        "GET /api/invitations": None,
        "POST /api/invitations": {"email": "somebody@example.com"},
        "DELETE /api/invitations/{invitationId}": None,
        "POST /api/pairings": None,
        "POST /api/pairings/look": {"code": "ABCDEFGH"},
        "POST /api/pairings/accept": {"ticket": "a guess", "name": "x"},
        "POST /api/sessions/sync": sync,
        "POST /api/sessions/validate": {"browserProfileId": profile},
        "POST /api/sessions/refresh": {"browserProfileId": profile},
        "GET /api/sessions/wanted": None,
        "POST /api/sittings": {"browserProfileId": profile},
        "GET /api/sittings": None,
        "POST /api/sittings/{sittingId}/close": None,
        "POST /api/sessions/signed-out": {"marketplace": "poshmark", "browserProfileId": profile},
        "POST /api/sessions/forget": {"browserProfileId": profile},
        "GET /api/connections": None,
        "GET /api/connections/{browserProfileId}": None,
        "PATCH /api/connections/{browserProfileId}": {"label": "mine now"},
        "DELETE /api/connections/{browserProfileId}": None,
        "POST /api/connections/{browserProfileId}/pause": None,
        "POST /api/connections/{browserProfileId}/resume": None,
        "POST /api/pause": None,
        "POST /api/resume": None,
        "POST /api/listings/post": {"listingId": listing, "connections": [profile]},
        "GET /api/jobs": None,
        "GET /api/jobs/{jobId}": None,
        "POST /api/jobs/{jobId}/cancel": None,
        "POST /api/jobs/webhook": {"type": "job.finished", "data": {}},
        "GET /api/content": None,
        "PATCH /api/content": {"copyAtOnce": True},
        "POST /api/listings/{listingId}/reading": {"notes": "a shirt"},
        "POST /api/listings/{listingId}/copies/{marketplace}": None,
        "POST /api/listings": SHIRT,
        "GET /api/listings": None,
        "GET /api/listings/{listingId}": None,
        "PATCH /api/listings/{listingId}": {"title": "mine now"},
        "DELETE /api/listings/{listingId}": None,
        "GET /api/deleted-listings": None,
        "POST /api/deleted-listings/{deletedId}/restore": None,
        "GET /api/templates": None,
        "DELETE /api/templates/{templateId}": None,
        "POST /api/templates/{templateId}/listings": None,
        "POST /api/listings/{listingId}/templates": {"name": "Mine now"},
        "POST /api/listings/{listingId}/templates/{templateId}": None,
        "POST /api/listings/{listingId}/keep": None,
        "POST /api/listings/{listingId}/check": {"connections": [profile]},
        "POST /api/listings/{listingId}/photos": photo(7),
        "PUT /api/listings/{listingId}/photos": {"photoIds": [photo_id]},
        "PATCH /api/listings/{listingId}/photos/{photoId}": {"turn": 90},
        "DELETE /api/listings/{listingId}/photos/{photoId}": None,
        "GET /api/listings/{listingId}/photos/{photoId}": None,
        "GET /api/listings/{listingId}/publications": None,
        "POST /api/listings/{listingId}/publications/{browserProfileId}/{action}": {},
        "GET /api/sales": None,
        "POST /api/sales": {"listingId": listing, "place": "mine now"},
        "POST /api/sales/{saleId}/take-back": None,
        "PATCH /api/sales/{saleId}": {"cost": {"amount": 1}},
        "GET /api/sales/doubles": None,
        "GET /api/sales/rules": None,
        "PATCH /api/sales/rules": {"putBack": "always"},
        "GET /api/hints/mailbox": None,
        "PUT /api/hints/mailbox": {"host": "imap.example.com", "username": "mine", "password": "a guess"},
        "DELETE /api/hints/mailbox": None,
        "GET /api/hints/mail": None,
        "POST /api/hints/mail": None,
        "DELETE /api/hints/mail": None,
        "POST /api/hints/mail/{token}": b"From: somebody@example.com\r\n\r\n",
        "GET /api/prices/rules": None,
        "PUT /api/prices/rules/{marketplace}": {"markUpPercent": 77},
        "DELETE /api/prices/rules/{marketplace}": None,
        "POST /api/prices/changes": {
            "listingIds": [listing],
            "do": "set",
            "price": {"amount": 77},
            "token": "a guess",
        },
        "GET /api/prices/drops": None,
        "PUT /api/prices/drops": DROP,
        "DELETE /api/prices/drops": None,
        "GET /api/listings/{listingId}/price-drops": None,
        "PUT /api/listings/{listingId}/price-drops": DROP,
        "DELETE /api/listings/{listingId}/price-drops": None,
        "GET /api/relisting/rules": None,
        "PUT /api/relisting/rules/{marketplace}": {"afterDays": 77, "perDay": 7},
        "DELETE /api/relisting/rules/{marketplace}": None,
        "GET /api/relisting/preview": None,
        "POST /api/listings/{listingId}/publications/{browserProfileId}/relist": None,
        "GET /api/vocabulary": None,
        "GET /api/export": None,
        "GET /api/export/listings.csv": None,
        "GET /api/export/sales.csv": None,
        "POST /api/imports": Upload("mine.csv", b"listing_id,title\r\n,mine now\r\n"),
        "POST /api/imports/archive": Upload("mine.zip", _zip(b"listing_id,title\r\n,mine now\r\n")),
        "GET /api/imports/{importId}": None,
        "POST /api/connections/{browserProfileId}/import": None,
        "GET /api/connections/{browserProfileId}/import": None,
        "GET /api/matches": None,
        "POST /api/matches": None,
        "POST /api/matches/{matchId}/link": None,
        "POST /api/matches/{matchId}/apart": None,
        "POST /api/matches/{matchId}/propose": None,
        "GET /api/notifications": None,
        "POST /api/notifications/read": {},
        "GET /api/notifications/rules": None,
        "PUT /api/notifications/rules": {"email": ["sold"], "quiet": {"begins": "22:00", "ends": "07:00"}},
        "GET /api/notifications/channels": None,
        "POST /api/notifications/channels": {"kind": "service", "url": "json://example.com/mine"},
        "DELETE /api/notifications/channels/{channelId}": None,
        "POST /api/notifications/channels/{channelId}/test": None,
        "GET /api/webhooks": None,
        "POST /api/webhooks": {"url": "https://example.com/mine"},
        "GET /api/webhooks/{webhookId}": None,
        "PATCH /api/webhooks/{webhookId}": {"url": "https://example.com/mine"},
        "DELETE /api/webhooks/{webhookId}": None,
        "POST /api/webhooks/{webhookId}/rotate": None,
        "POST /api/webhooks/{webhookId}/pause": None,
        "POST /api/webhooks/{webhookId}/enable": None,
        "POST /api/webhooks/{webhookId}/test": None,
        "GET /api/webhooks/{webhookId}/deliveries": None,
        "POST /api/webhooks/{webhookId}/deliveries/{deliveryId}/redeliver": None,
    }


async def send(client: Any, operation: Operation, ids: Mapping[str, str], **more: Any) -> Any:
    """The answer; `ids` fill the path and the query."""
    if isinstance(operation.body, bytes):
        headers = {**more.pop("headers", {}), "content-type": "image/png"}
        more |= {"content": operation.body, "headers": headers}
    elif isinstance(operation.body, Upload):
        more["files"] = {"file": (operation.body.name, operation.body.data, "text/csv")}
    elif operation.body is not None:
        more["json"] = operation.body
    return await client.request(operation.method, operation.address(ids), **more)

"""Alice's estate: one of everything that a seller can own, and the words that only she may read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from tests.api.conftest import Person, Site
from tests.bringing import bring_in

EXTENSION = {"origin": "chrome-extension://abcdefghijklmnopabcdefghijklmnop"}
#: In every text that Alice writes.
CANARY = "only-alice-reads-this"


@dataclass(frozen=True)
class Estate:
    site: Site
    alice: Person
    #: Each path parameter of the API → what is Alice's.
    ids: dict[str, str]
    #: What nobody else may be told.
    words: frozenset[str]
    #: Her tokens: api, extension and the browser's cookie.
    tokens: dict[str, str]

    async def rows(self) -> list[Any]:
        """All that is hers, of every table, and the queue; not when her tokens were last used."""
        tables = await self.site.rows(
            """SELECT table_name AS name FROM information_schema.columns
               WHERE table_schema = 'public' AND column_name = 'user_id' ORDER BY 1"""
        )
        found: list[Any] = []
        for table in [row["name"] for row in tables]:
            found += await self.site.rows(
                f"SELECT '{table}' AS of, (to_jsonb(t) - 'last_used_at')::text AS row FROM {table} t "
                "WHERE user_id = :id ORDER BY 2",
                id=self.alice.user_id,
            )
        found += await self.site.rows("SELECT u::text FROM users u WHERE id = :id", id=self.alice.user_id)
        return found + await self.site.rows(
            "SELECT args::text, status FROM procrastinate.procrastinate_jobs ORDER BY id"
        )


async def furnish(site: Site) -> Estate:
    alice = await site.person("alice", role="owner")

    async def made(path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        answer = await alice.client.post(path, json=body, **more)
        assert answer.status_code < 300, answer.text
        return dict(answer.json())

    profile = await alice.connect("poshmark", "alice-at-poshmark")
    named = await alice.client.patch(f"/api/connections/{profile}", json={"label": f"closet {CANARY}"})
    assert named.status_code == 200, named.text
    ruled = await alice.client.put("/api/prices/rules/poshmark", json={"markUpCents": 100})
    assert ruled.status_code == 200, ruled.text
    relisted = await alice.client.put("/api/relisting/rules/poshmark", json={"afterDays": 60, "perDay": 3})
    assert relisted.status_code == 200, relisted.text
    listing = await alice.listing(title=f"A shirt, {CANARY}", sku="ALICE-17")
    for path in ("/api/prices/drops", f"/api/listings/{listing}/price-drops"):
        falls = {"cents": 100, "everyDays": 30, "floor": {"amount": 1000}}
        assert (await alice.client.put(path, json=falls)).status_code == 200
    thrown = await alice.listing(title=f"A coat, {CANARY}", sku="ALICE-19")
    assert (await alice.client.delete(f"/api/listings/{thrown}")).json()["deleted"]
    template = await made(
        f"/api/listings/{listing}/templates", {"name": f"Template {CANARY}", "footer": CANARY}
    )
    photo = (await alice.get(f"/api/listings/{listing}")).json()["photos"][0]
    hook = await made("/api/webhooks", {"url": f"https://example.com/{CANARY}", "label": CANARY})
    sent = await made(f"/api/webhooks/{hook['id']}/test")
    service = {"kind": "service", "url": f"json://example.com/{CANARY}", "label": f"till {CANARY}"}
    channel = await made("/api/notifications/channels", service)
    rules = await alice.client.put("/api/notifications/rules", json={"service": ["sold"], "digestHour": 9})
    assert rules.status_code == 200, rules.text
    job = (await alice.publish(listing, "poshmark")).json()
    await _sold_twice(site, listing)
    stand = await alice.listing(title=f"A stand, {CANARY}")
    marked = await made("/api/sales", {"listingId": stand, "place": f"A stall {CANARY}"})
    inbox = {"host": "imap.example.com", "username": CANARY, "password": f"password {CANARY}"}
    assert (await alice.client.put("/api/hints/mailbox", json=inbox)).status_code == 200
    mailed = (await made("/api/hints/mail"))["url"].rpartition("/")[2]
    assert (await alice.client.patch("/api/sales/rules", json={"putBack": "never"})).status_code == 200
    token = await made("/api/tokens", {"name": f"till {CANARY}"})
    invitation = await made("/api/invitations", {"email": "guest-of-alice@example.com"})
    stranger = site.client()
    code = (await made("/api/pairings"))["code"]
    ticket = (await stranger.post("/api/pairings/look", json={"code": code}, headers=EXTENSION)).json()
    paired = (
        await stranger.post(
            "/api/pairings/accept",
            json={"ticket": ticket["ticket"], "name": f"Firefox {CANARY}"},
            headers=EXTENSION,
        )
    ).json()
    await made("/api/pairings")  # and one that is open
    file = f"listing_id,title,sku,condition\r\n,A hat {CANARY},ALICE-18,so so {CANARY}\r\n".encode()
    brought = await made("/api/imports", files={"file": (f"{CANARY}.csv", file, "text/csv")})
    await bring_in(site.database, asyncio.Event())
    await made(f"/api/connections/{profile}/import")
    hat = (await alice.get(f"/api/imports/{brought['importId']}")).json()["rows"][0]["listingId"]
    (match,) = await site.rows(
        "INSERT INTO matches (user_id, one_id, other_id, points) VALUES (:u, :one, :other, 5) RETURNING id",
        u=alice.user_id, one=min(listing, hat), other=max(listing, hat),
    )  # fmt: skip
    (sitting,) = await site.rows(
        "INSERT INTO sittings (user_id, connection_id, purpose, asked_by, until, said) SELECT user_id, id, "
        "'challenge', :by, now() + interval '1 hour', :by FROM connections WHERE public_id = :id "
        "RETURNING id",
        id=profile, by=f"Firefox {CANARY}",
    )  # fmt: skip
    (passkey,) = await site.rows(
        "INSERT INTO passkeys (user_id, name, credential_id, public_key, sign_count) "
        "VALUES (:id, :name, 'x', 'x', 0) RETURNING id",
        id=alice.user_id, name=f"Phone {CANARY}",
    )  # fmt: skip
    (identity,) = await site.rows(
        "INSERT INTO identities (user_id, issuer, subject, email) "
        "VALUES (:id, 'https://id.example.com', '7', :email) RETURNING id",
        id=alice.user_id, email=f"{CANARY}@example.com",
    )  # fmt: skip
    browser = (await alice.get("/api/browsers")).json()["browsers"][0]["id"]
    extension = (await alice.get("/api/extensions")).json()["extensions"][0]["id"]
    ids = {
        "listingId": listing,
        "photoId": photo["photoId"],
        "jobId": job["jobId"],
        "browserProfileId": profile,
        "webhookId": hook["id"],
        "deliveryId": sent["id"],
        "channelId": channel["id"],
        "tokenId": token["id"],
        "browserId": browser,
        "extensionId": extension,
        "invitationId": invitation["id"],
        "importId": brought["importId"],
        "sittingId": str(sitting["id"]),
        "matchId": str(match["id"]),
        "passkeyId": str(passkey["id"]),
        "identityId": str(identity["id"]),
        "templateId": template["templateId"],
        "deletedId": thrown,
        "saleId": marked["saleId"],
    }
    tokens = {
        "api": token["token"],
        "extension": paired["token"],
        "browser": next(iter(alice.client.cookies.values())),
    }
    secrets = (hook["secret"], mailed, invitation["link"].partition("token=")[2], *tokens.values())
    words = {*ids.values(), *secrets, CANARY, "alice-at-poshmark", "ALICE-17", "ALICE-18", "ALICE-19",
             photo["sha256"], alice.email,
             "guest-of-alice@example.com", str(alice.user_id), alice.csrf}  # fmt: skip
    return Estate(site, alice, ids, frozenset(words), tokens)


async def _sold_twice(site: Site, listing: str) -> None:
    """An order of hers, which is also one too many."""
    await site.rows(
        """WITH sold AS (
            INSERT INTO sales (user_id, connection_id, order_id, listing_id, publication_id, title, quantity)
            SELECT user_id, connection_id, :order, listing_id, id, :title, 1 FROM publications
            WHERE listing_id = CAST(:listing AS uuid) RETURNING id, user_id, listing_id)
        INSERT INTO double_sales (user_id, listing_id, later_id) SELECT user_id, listing_id, id FROM sold""",
        order=f"order-{CANARY}", title=f"A shirt, {CANARY}", listing=listing,
    )  # fmt: skip

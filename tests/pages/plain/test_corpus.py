"""Whatever a seller, a marketplace, a mail or a machine may write stands on the pages as text.

Every text of every table is filled, but for those that are named below with the reason: a new column is
filled by itself, or must be thought of."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import ARRAY, Computed, Text
from sqlalchemy.dialects.postgresql import JSONB

from everystall.models import Base
from everystall.web.pages import PAGES
from tests.pages.conftest import furnish
from tests.pages.standing import attempt, listing, publication

EVIL = """"><img src=x onerror="window.ran=1"><script>window.ran=2</script>'{{7*7}}</title>"""
RAW = ("<img src=x", "<script>window.ran", 'href="javascript:', "{{7*7}}</title>")
#: Texts that nobody outside writes, and why: ours (a word of our own code, or an id that we make), hash,
#: known (one of a few words or of a pattern that the API holds to; anything else is no state that there can
#: be).
NOT_FILLED = {
    "ours": {
        "api_tokens.scopes", "connections.base_url", "connections.marketplace", "connections.public_id",
        "events.type",
        "imports.encoding", "imports.format", "jobs.id", "listing_automation_results.browser_profile_id",
        "listing_automation_results.job_id", "listing_automation_results.marketplace",
        "listing_sources.source", "pairings.handle",
        "price_rules.marketplace", "publications.marketplace", "publications.price_rule",
        "publications.read_back", "listing_automation_results.read_back", "price_rules.rule",
        "relist_rules.marketplace", "take_downs.marketplace", "user_keys.kid",
        "user_marketplace_sessions.marketplace", "vault_audit.kid", "webhook_receipts.id",
        "log_in_networks.network", "attempts.baseline", "attempts.revising", "matches.undo",
        "listing_photos.fingerprint", "listing_photos.content_type", "model_answers.kind",
        "sign_in_changes.what",
    },
    "hash": {
        "attempts.fields_hash", "attempts.photo_hashes", "imports.file_hash", "import_rows.originals",
        "jobs.request_hash", "listing_photos.sha256", "mails_seen.key", "model_answers.content_hash",
    },
    "known": {
        "connections.place", "listings.condition", "listings.currency", "listings.package",
        "listings.shipping_payer", "notice_rules.email", "notice_rules.push", "notice_rules.service",
        "sales.currency", "users.password_hash", "webhook_endpoints.events",
    },
}  # fmt: skip
#: What JSON is filled with; E stands for the evil text, U for an address that is none.
ASKS = {"reason": "page_changed", "message": "E", "url": "U", "actions": [], "letter_to_buyer": "E",
        "deadline": {"by": None, "said": "E", "source": "E", "checked": "2026-11-20"}}  # fmt: skip
SEEN = {"value": "E", "confidence": 0.9, "sources": ["photo 1"], "quote": "E"}
FILLED_WITH = {
    "attempts.adopted": {"title": "E"},
    "attempts.conflict": {"title": {"ours": "E", "theirs": "E"}},
    "attempts.draft": {"title": "E"},
    "attempts.stopped": {"clicked": True, "reason": "page_changed", "message": "E", "passes": False},
    "attempts.evidence": {"said": "E", "url": "U", "screenshot": "E", "at": datetime.now(UTC).isoformat()},
    "attempts.listed": {"title": "E"},
    "connections.defaults": {"ships_from_zip": "E", "payment_policy": "E"},
    "connections.needs_you": {**ASKS, "reason": "challenge"},
    "connections.policies": {"return_policy": ["E"]},
    "connections.watch_evidence": {"url": "U", "screenshot": "E", "at": datetime.now(UTC).isoformat()},
    "deleted_listings.described": {"listing": {"title": "E", "sku": "E"}, "listing_photos": []},
    "events.data": {
        "title": "E", "message": "E", "label": "E", "url": "U", "host": "E", "marketplace": "ebay",
        "needsYou": {"reason": "E", "message": "E"}, "orderId": "E",
        "earlier": {"marketplace": "ebay", "title": "E"},
        "later": {"marketplace": "ebay", "title": "E", "browserProfileId": "bp"}, "status": "failed",
        "listingId": str(UUID(int=0)), "browserProfileId": "bp",
    },
    "import_rows.facts": {"title": "E", "sku": "E", "description": "E"},
    "import_rows.findings": [{"column": "E", "field": "E", "code": "E", "message": "E", "action": "E"}],
    "listing_automation_results.needs_you": ASKS,
    "listing_sources.facts": {"title": "E"},
    "listing_templates.facts": {
        "ships_from_zip": "E", "footer": "E", "overrides": {"ebay": {"payment_policy": "E"}},
    },
    "listings.overrides": {"ebay": {"title": "E", "payment_policy": "E"}},
    "listings.specifics": {"E": "E"},
    "live_import_items.notes": [{"field": "E", "message": "E"}],
    "matches.doubts": ["E"],
    "matches.reasons": ["E"],
    "model_answers.answer": {
        "said": {
            "title": "E", "description": "E", "brand": SEEN, "flaws": [SEEN],
            "price": {**SEEN, "value": "24"}, "price_reason": "E",
        },
        "about": {"photos": ["E"], "notes": "E"},
    },
    "publications.needs_you": ASKS,
    "publications.notes": [{"field": "E", "message": "E"}],
}  # fmt: skip
#: On at least one page each.
SHOWN = {
    "api_tokens.name", "channels.label", "connections.label", "imports.file_name",
    "imports.columns_not_taken", "deleted_listings.described",
    "listing_templates.name", "listings.title", "listings.location", "listings.labels", "mailboxes.host",
    "identities.email", "identities.issuer", "mailboxes.username", "model_answers.answer", "passkeys.name",
    "sales.order_id", "sales.place", "sign_in_changes.about", "sittings.asked_by",
    "vault_audit.purpose", "webhook_endpoints.label",
    "webhook_endpoints.url", "worker.host", "worker.place",
}  # fmt: skip


def _columns():
    """(table, column) of every text and JSON that somebody may write."""
    left_out = {name for names in NOT_FILLED.values() for name in names}
    every = set()
    for table in Base.metadata.tables.values():
        words = {
            str(one.name).removesuffix("_known")
            for one in table.constraints
            if str(one.name).endswith("_known")
        }
        for column in table.columns:
            name = f"{table.name}.{column.name}"
            texts = isinstance(column.type, ARRAY | Text | JSONB)
            if texts and column.name not in words and not isinstance(column.computed, Computed):
                every.add(name)
                if name not in left_out:
                    yield table.name, column
    assert left_out <= every, f"no such text: {left_out - every}"


def _written(value, name):
    """`value` with what is evil in it, which says whose it is."""
    if isinstance(value, str):
        return {"E": f"{name} {EVIL}", "U": f"javascript:window.ran=3//{name} {EVIL}"}.get(value, value)
    if isinstance(value, list):
        return [_written(one, name) for one in value]
    if isinstance(value, dict):
        return {_written(key, name): _written(one, name) for key, one in value.items()}
    return value


async def _fill(house):
    for table, column in list(_columns()):
        name = f"{table}.{column.name}"
        if isinstance(column.type, JSONB):
            to, value = "CAST(:value AS jsonb)", json.dumps(_written(FILLED_WITH[name], name))
        elif isinstance(column.type, ARRAY):
            to, value = "ARRAY[:value]", _written("E", name)
        else:
            # what is unique stays so
            to, value = ":value || row_number", _written("U" if column.name.endswith("url") else "E", name)
        rows = await house.rows(
            f"UPDATE {table} t SET {column.name} = {to} FROM (SELECT ctid AS at, "
            f"(row_number() OVER ())::text AS row_number FROM {table}) n "
            "WHERE t.ctid = n.at RETURNING 1 AS one",
            value=value,
        )  # fmt: skip
        assert rows, f"{table} has no row: give it one below"


async def _stock(house, user):
    """A row in every table that has a text of somebody's; ids for the addresses of pages."""
    await furnish(house, user)
    for statement in (
        "passkeys (user_id, name, credential_id, public_key, sign_count) VALUES (:id, '', 'x', 'x', 0)",
        "identities (user_id, issuer, subject, email) VALUES (:id, '', '', '')",
        "sign_in_changes (user_id, what, about) VALUES (:id, 'passkey_added', '')",
    ):
        await house.rows(f"INSERT INTO {statement}", id=user)
    shirt = await listing(house, user)
    (ebay,) = await house.rows("SELECT id, public_id FROM connections WHERE marketplace = 'ebay'")
    asks = {"reason": "page_changed", "message": "x", "url": None, "actions": []}
    of = await publication(
        house, user, shirt, ebay["public_id"], needs_you=asks, put="live", state="live", url="x"
    )
    await attempt(house, user, of)
    both = [str(row["id"]) for row in await house.rows("SELECT id FROM listings ORDER BY id")]
    known = {"user": user, "c": ebay["id"], "l": shirt, "p": of, "one": both[0], "other": both[1]}
    made = {}
    for name, insert in {
        "sale": "sales "
        "(user_id, connection_id, order_id, remote_id, listing_id, publication_id, title, quantity) "
        "VALUES (:user, :c, 'o', 'r', CAST(:l AS uuid), CAST(:p AS uuid), 't', 1)",
        "sitting": "sittings (user_id, connection_id, purpose, asked_by, said, until) "
        "VALUES (:user, :c, 'challenge', 'x', 'x', now() + interval '1 hour')",
        "webhook": "webhook_endpoints "
        "(user_id, url, label, dek_version, sealed, disabled_at, disabled_why) "
        "VALUES (:user, 'u', 'l', 1, '', now(), 'w')",
        "channel": "channels "
        "(user_id, kind, label, key, dek_version, sealed, confirmed_at, failures, last_error) "
        "VALUES (:user, 'service', 'x', 'x', 1, '', now(), 1, 'x')",
        "import": "imports (user_id, file_name, file_hash, format, encoding, status, finished_at) "
        "VALUES (:user, 'f', 'h', 'vendoo', 'utf-8', 'done', now())",
        "live": "live_imports (user_id, connection_id, status, message) VALUES (:user, :c, 'running', 'x')",
        "template": "listing_templates (user_id, name, facts) VALUES (:user, 'x', '{}')",
        "reading": "model_answers (user_id, kind, content_hash, cost) VALUES (:user, 'reading', 'h', 1)",
        "copy": "model_answers (user_id, kind, content_hash, cost) VALUES (:user, 'copy', 'h', 1)",
        "deleted": "deleted_listings (id, user_id, described) VALUES (gen_random_uuid(), :user, '{}')",
        "view": "saved_views (user_id, name, query) VALUES (:user, 'x', 'q=x')",
        "match": "matches (user_id, one_id, other_id, points) "
        "VALUES (:user, CAST(:one AS uuid), CAST(:other AS uuid), 5)",
    }.items():
        (row,) = await house.rows(f"INSERT INTO {insert} RETURNING id", **known)
        made[name] = row["id"]
    for insert in (
        "double_sales (user_id, listing_id, later_id) VALUES (:user, CAST(:l AS uuid), :sale) RETURNING id",
        "mailboxes (user_id, host, port, username, dek_version, sealed, failing_since, failing_why) "
        "VALUES (:user, 'h', 993, 'u', 1, '', now(), 'x') RETURNING 1",
        "import_rows (user_id, import_id, line, key, facts, photos, outcome) "
        "VALUES (:user, :import, 2, 'k', '{}', '{x}', 'created') RETURNING 1",
        "listing_sources (user_id, source, key, listing_id, facts) "
        "VALUES (:user, 'vendoo', 'k', CAST(:l AS uuid), '{}') RETURNING 1",
        "live_import_items (user_id, import_id, remote_id, position, title, outcome) "
        "VALUES (:user, :live, 'r', 0, 't', 'created') RETURNING 1",
        "jobs (id, user_id, listing_id, idempotency_key) "
        "VALUES ('job_x', :user, CAST(:l AS uuid), 'k') RETURNING 1",
        "listing_automation_results (user_id, job_id, publication_id, listing_id, connection_id, "
        "marketplace, browser_profile_id, wanted_revision) "
        "VALUES (:user, 'job_x', CAST(:p AS uuid), CAST(:l AS uuid), :c, 'ebay', 'bp', 1) RETURNING 1",
        "price_steps (user_id, listing_id, number, after_cents, refused) "
        "VALUES (:user, CAST(:l AS uuid), 1, 5, 'x') RETURNING 1",
        "notice_rules (user_id, time_zone) VALUES (:user, 'x') RETURNING 1",
        *(
            f"events (user_id, type, data) VALUES (:user, '{type}', '{{}}') RETURNING id"
            for type in (
                "publication.live", "publication.needs_you", "sale.detected", "sale.double", "sale.unclear",
                "delist.late", "relist.skipped", "watch.failed", "mailbox.failed", "webhook.disabled",
                "import.finished", "session.expired",
            )
        ),
        "notices (user_id, event_id) SELECT :user, id FROM events RETURNING 1",
        "webhook_deliveries (user_id, endpoint_id, event_id, last_error) "
        "SELECT :user, :webhook, min(id), 'x' FROM events RETURNING 1",
        "notice_deliveries (user_id, channel_id, event_id, last_error) "
        "SELECT :user, :channel, min(id), 'x' FROM events RETURNING 1",
    ):  # fmt: skip
        assert await house.rows(f"INSERT INTO {insert}", **known, **made)
    await house.rows(
        "SELECT everystall.stand_worker(gen_random_uuid(), :host, 4711, :place, '0.1.0', 5, 0)",
        host=_written("E", "worker.host"), place=_written("E", "worker.place"),
    )  # fmt: skip
    (event,) = await house.rows("SELECT min(event_id) AS id FROM notices")
    (photo,) = await house.rows("SELECT id FROM listing_photos")
    (webhook,) = await house.rows("SELECT id FROM webhook_endpoints")
    return {
        "reading": made["reading"], "copy": made["copy"],
        "/connections/{id}/import": ebay["public_id"], "/connections/{id}/openings": ebay["public_id"],
        "/inventory/import/{id}": made["import"], "/listings/{id}": shirt, "/notifications/{id}": event["id"],
        "/notifications/webhooks/{id}": webhook["id"],
        "/sales/{id}": made["sale"], "/sittings/{id}": made["sitting"], "photo": photo["id"],
        "deleted": made["deleted"],
    }  # fmt: skip


def _addresses(ids):
    """Of every page, and those with something to seek in them."""
    for router in PAGES:
        for route in router.routes:
            if not isinstance(route, APIRoute) or "GET" not in route.methods:
                continue
            path = route.path
            if "{rest:path}" in path or path in ("/account/backup/{name}", "/extension/{file}", "/sw.js"):
                continue  # leads back, or a file
            if path in ("/needs-you/pictures/{id}", "/activity/healed/{id}.jpg"):
                continue
            of = next((known for known in ids if path.startswith(known)), None)
            assert of or "{" not in path, f"{path}: say of what"
            path = path.replace("{id}", str(ids[of])) if of else path
            path = path.replace("{photo}", str(ids["photo"])).replace("{place}", "ebay")
            yield path.replace("{answer}", str(ids["copy" if "/copy/" in path else "reading"]))
    yield from (
        f"/inventory?deleted={ids['deleted']}",
        "/inventory?q=x",
        "/inventory?look=grid",
        "/inventory/matches?state=linked",
        "/find?q=E",
    )


@pytest.mark.longer
async def test_nothing_that_anybody_wrote_is_markup_on_any_page(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await house.rows("UPDATE users SET role = 'owner' WHERE id = :id", id=alice.id)
    ids = await _stock(house, alice.id)
    await _fill(house)
    seen, wrong = "", []
    for path in _addresses(ids):
        answer = await alice.get(path)
        if answer.status_code not in (200, 303, 404):
            wrong.append((path, answer.status_code))
        if "html" not in answer.headers.get("content-type", ""):
            continue
        wrong += [(path, answer.text.partition(raw)[0][-80:]) for raw in RAW if raw in answer.text]
        seen += answer.text
    assert wrong == []
    missing = {name for name in SHOWN if f"{name} &#34;&gt;" not in seen}
    assert not missing, missing
    for path in ("/", "/needs-you", "/inventory", "/sales", "/notifications", "/account"):
        page = (await bob.get(path)).text
        assert [name for name in SHOWN - {"api_tokens.name"} if name in page] == [], path  # that is his own

"""`POST /api/jobs/webhook`: what is properly signed has its effect once, and nothing else has any."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from everystall.db import Database
from everystall.inventory.publications import change
from everystall.models import Publication
from everystall.notify import webhooks
from everystall.notify.send import Mail
from everystall.processes import free_port
from tests.api.conftest import Seller, Site
from tests.receiver import Receiver

PATH = "/api/jobs/webhook"
RESULTS = "SELECT state, url, remote_id, needs_you, finished_at FROM listing_automation_results ORDER BY id"


async def _posted(seller: Seller, *marketplaces: str) -> dict[str, Any]:
    for marketplace in marketplaces:
        await seller.connect(marketplace, seller.token[4:12])
    answer = await seller.publish(await seller.listing(), *marketplaces)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _said(seller: Seller, job: dict[str, Any], **changes: Any) -> dict[str, Any]:
    pairs = [
        {**pair, "state": "live", "url": "https://example.com/1", "remoteId": "r1", **changes}
        for pair in job["automationResults"]
    ]
    return {
        "type": "job.finished",
        "timestamp": "2026-11-25T10:00:00Z",
        "data": {"jobId": job["jobId"], "userId": str(seller.user_id), "status": "done",
                 "automationResults": pairs},
    }  # fmt: skip


def _signed(
    site: Site, message: Any, *, id: str | None = None, at: datetime | None = None, secret: str | None = None
) -> tuple[bytes, dict[str, str]]:
    body = message if isinstance(message, str) else json.dumps(message)
    secret = secret or webhooks.operator_secrets(site.settings, site.vault)[0]
    headers = webhooks.sign(id or f"msg_{secrets.token_hex(16)}", at or datetime.now(UTC), body, [secret])
    return body.encode(), {**headers, "content-type": "application/json"}


async def _send(site: Site, signed: tuple[bytes, dict[str, str]], **more: str) -> httpx.Response:
    body, headers = signed
    return await site.client().post(PATH, content=body, headers={**headers, **more})


async def test_a_signed_outcome_ends_the_pairs_and_wakes_a_look_and_no_publication_is_live(
    site: Site, alice: Seller
):
    job = await _posted(alice, "poshmark", "mercari")
    await site.forget_wakes()
    with capture_logs(processors=[merge_contextvars]) as lines:
        answer = await _send(site, _signed(site, _said(alice, job)))
    assert answer.status_code == 200, answer.text
    (received,) = [line for line in lines if line["event"] == "job_webhook.received"]
    assert (received["job_id"], received["user_id"]) == (job["jobId"], str(alice.user_id))
    rows = await site.rows(RESULTS)
    assert {(row["state"], row["url"], row["finished_at"] is not None) for row in rows} == {
        ("live", "https://example.com/1", True)
    }
    assert (await alice.get(f"/api/jobs/{job['jobId']}")).json()["status"] == "done"
    publications = await site.rows("SELECT put, state, url FROM publications")
    assert {(row["put"], row["state"], row["url"]) for row in publications} == {("nothing", "waiting", None)}
    assert len(await site.wakes()) == 2
    checks = await site.rows("SELECT next_check_at <= now() AS due FROM connections")
    assert all(row["due"] for row in checks)


async def test_the_same_message_twice_has_one_effect(site: Site, alice: Seller):
    job = await _posted(alice, "poshmark")
    signed = _signed(site, _said(alice, job))
    assert (await _send(site, signed)).status_code == 200
    after = await site.rows(RESULTS)
    await site.forget_wakes()
    again = await _send(site, signed)
    assert again.status_code == 200
    assert "before" in again.json()["message"]
    assert await site.rows(RESULTS) == after
    assert await site.wakes() == []


async def test_many_at_once_have_one_effect(site: Site, alice: Seller):
    job = await _posted(alice, "poshmark")
    signed = _signed(site, _said(alice, job))
    answers = await asyncio.gather(*(_send(site, signed) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum("1 open pairs" in answer.json()["message"] for answer in answers) == 1
    events = await site.rows("SELECT type FROM events WHERE type = 'job.finished'")
    assert len(events) == 1


@pytest.fixture
def two_webs(site: Site, tmp_path: Path) -> Iterator[list[str]]:
    """The addresses of two `everystall web`, processes of their own on one database and one key ring."""
    assert site.settings.database_url
    running, addresses = [], []
    for _ in range(2):
        port = free_port()
        env = {
            **os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "EVERYSTALL_PORT": str(port),
            "EVERYSTALL_HOME": str(site.settings.everystall_home),
            "DATABASE_URL": site.settings.database_url.get_secret_value(),
        }  # fmt: skip
        command = [sys.executable, "-m", "everystall", "web"]
        running.append(subprocess.Popen(command, env=env, cwd=tmp_path))
        addresses.append(f"http://127.0.0.1:{port}")
    yield addresses
    for process in running:
        process.terminate()
    for process in running:
        process.wait(20)


@pytest.mark.longer
async def test_two_webs_that_get_the_same_message_at_once_have_one_effect(
    site: Site, alice: Seller, two_webs: list[str]
):
    async with httpx.AsyncClient(timeout=60) as client:
        async with asyncio.timeout(180):
            for address in two_webs:
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        if (await client.get(f"{address}/healthz")).status_code == 200:
                            break
                    await asyncio.sleep(0.1)
        job = await _posted(alice, "poshmark")
        for said in (_said(alice, job, state="filling"), _said(alice, job)):  # the second has an effect
            await site.forget_wakes()
            body, headers = _signed(site, said)
            answers = await asyncio.gather(
                *(client.post(f"{two_webs[n % 2]}{PATH}", content=body, headers=headers) for n in range(24))
            )
            assert {answer.status_code for answer in answers} == {200}
            assert sum("before" not in answer.json()["message"] for answer in answers) == 1
    assert len(await site.wakes()) == 1
    assert len(await site.rows("SELECT * FROM webhook_receipts")) == 2
    assert len(await site.rows("SELECT * FROM events WHERE type = 'job.finished'")) == 1
    assert [row["state"] for row in await site.rows(RESULTS)] == ["live"]


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_an_old_or_a_future_message_is_refused(site: Site, alice: Seller, minutes: int):
    job = await _posted(alice, "poshmark")
    before = await site.everything_of(alice)
    late = datetime.now(UTC) + timedelta(minutes=minutes)
    answer = await _send(site, _signed(site, _said(alice, job), at=late))
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthenticated")
    assert await site.everything_of(alice) == before


@pytest.mark.parametrize("minutes", [-4, 4])
async def test_clocks_may_differ_by_minutes(site: Site, alice: Seller, minutes: int):
    job = await _posted(alice, "poshmark")
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    assert (await _send(site, _signed(site, _said(alice, job), at=at))).status_code == 200


GARBAGE = [
    {"webhook-signature": ""}, {"webhook-signature": "v1"}, {"webhook-signature": "v1,"},
    {"webhook-signature": "v1,%%%"}, {"webhook-signature": "v1,abc"}, {"webhook-signature": "v1,a,b"},
    {"webhook-signature": "v2,aaaa"}, {"webhook-signature": "v1,AAAA v1,AAAA"},
    {"webhook-signature": b"v1,\xff\xfe".decode("latin-1")}, {"webhook-timestamp": "nan"},
    {"webhook-timestamp": "inf"}, {"webhook-timestamp": "-1"}, {"webhook-timestamp": "soon"},
    {"webhook-timestamp": "9" * 400}, {"webhook-timestamp": ""}, {"webhook-id": ""}, {"webhook-id": "a.b"},
    {"webhook-id": "msg_other"}, {"webhook-id": "x" * 200}, {"webhook-id": "é"},
]  # fmt: skip


async def test_garbage_in_the_headers_is_401_and_changes_nothing(
    site: Site, alice: Seller, subtests: pytest.Subtests
):
    job = await _posted(alice, "poshmark")
    before = await site.everything_of(alice)
    for garbage in GARBAGE:
        with subtests.test(str(garbage)):
            body, headers = _signed(site, _said(alice, job))
            raw = {name.encode(): value.encode("latin-1") for name, value in {**headers, **garbage}.items()}
            answer = await site.client().post(PATH, content=body, headers=list(raw.items()))
            assert (answer.status_code, answer.json()["error"]) == (401, "unauthenticated")
            missing = {name: value for name, value in headers.items() if name not in garbage}
            assert (await _send(site, (body, missing))).status_code == 401
            assert await site.everything_of(alice) == before
            assert await site.rows("SELECT * FROM webhook_receipts") == []


async def test_a_dot_in_the_id_does_not_move_the_border_of_what_is_signed(site: Site, alice: Seller):
    """`id.time.body`: with id `msg_1.1764` a library that splits at dots could read another message."""
    signed = _signed(site, _said(alice, await _posted(alice, "poshmark")), id="msg_1.1764")
    assert (await _send(site, signed)).status_code == 401


@pytest.mark.parametrize("body", ["", "{", "not json", "[" * 100_000, '{"type": NaN'])
async def test_signed_garbage_is_401_or_400_and_never_500(site: Site, body: str):
    assert (await _send(site, _signed(site, body))).status_code in (400, 401)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"\x00", b"{}", b""])
async def test_unsigned_garbage_is_401(site: Site, body: bytes):
    answer = await site.client().post(PATH, content=body, headers={"webhook-id": "a"})
    assert answer.status_code == 401
    assert (await site.client().post(PATH)).status_code == 401


async def test_a_tampered_body_and_a_foreign_secret_are_refused(site: Site, alice: Seller):
    job = await _posted(alice, "poshmark")
    before = await site.everything_of(alice)
    body, headers = _signed(site, _said(alice, job))
    assert (await _send(site, (body.replace(b'"live"', b'"sold"'), headers))).status_code == 401
    other = webhooks.shown(webhooks.new_secret())
    assert (await _send(site, _signed(site, _said(alice, job), secret=other))).status_code == 401
    assert await site.everything_of(alice) == before


BROWSERS = [
    {"Origin": "http://everystall.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]  # fmt: skip


async def test_a_browser_is_turned_away_however_it_is_signed(
    site: Site, alice: Seller, subtests: pytest.Subtests
):
    job = await _posted(alice, "poshmark")
    before = await site.everything_of(alice)
    for header in BROWSERS:
        with subtests.test(str(header)):
            assert (await _send(site, _signed(site, _said(alice, job)), **header)).status_code == 403
            assert await site.everything_of(alice) == before


async def test_neither_a_cookie_nor_a_token_stands_for_a_signature(site: Site, alice: Seller):
    body = json.dumps(_said(alice, await _posted(alice, "poshmark")))
    answer = await alice.client.post(PATH, content=body, headers={"Cookie": "session=x"})
    assert answer.status_code == 401


async def test_a_message_that_names_another_seller_finds_nothing(site: Site, alice: Seller, bob: Seller):
    job = await _posted(alice, "poshmark")
    before = await site.everything_of(alice)
    answer = await _send(site, _signed(site, _said(bob, job)))
    assert answer.status_code == 200
    assert "0 open pairs" in answer.json()["message"]
    assert await site.everything_of(alice) == before


@pytest.mark.longer
async def test_what_is_finished_stays_as_it_is(site: Site, alice: Seller):
    job = await _posted(alice, "poshmark")
    await site.go_live(alice)
    before = await site.everything_of(alice)
    await site.forget_wakes()
    assert (await _send(site, _signed(site, _said(alice, job, state="sold")))).status_code == 200
    assert await site.everything_of(alice) == before
    assert await site.wakes() == []


async def test_a_pair_that_is_not_at_its_end_is_left_open(site: Site, alice: Seller):
    job = await _posted(alice, "poshmark")
    before = await site.everything_of(alice)
    assert (await _send(site, _signed(site, _said(alice, job, state="filling")))).status_code == 200
    assert await site.everything_of(alice) == before


async def test_a_question_to_the_seller_is_recorded_with_the_pair(site: Site, alice: Seller):
    job = await _posted(alice, "poshmark")
    asked = {"reason": "challenge", "message": "Poshmark asks for a code.", "url": None, "actions": []}
    await _send(site, _signed(site, _said(alice, job, state="waiting", needsYou=asked, url=None)))
    assert (await alice.get(f"/api/jobs/{job['jobId']}")).json()["status"] == "needs_you"
    (row,) = await site.rows(RESULTS)
    assert row["needs_you"]["reason"] == "challenge"


OTHER_FORMS: list[dict[str, Any]] = [
    {"state": "sneezed"}, {"marketplace": "x" * 99}, {"url": "x" * 3000}, {"url": "\x00"}, {"needsYou": 7},
]  # fmt: skip


async def test_a_signed_message_in_another_form_is_refused(
    site: Site, alice: Seller, subtests: pytest.Subtests
):
    job = await _posted(alice, "poshmark")
    for change_ in OTHER_FORMS:
        with subtests.test(str(change_)[:60]):
            answer = await _send(site, _signed(site, _said(alice, job, **change_)))
            assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


async def test_other_events_are_taken_and_left(site: Site):
    message = {"type": "sale.detected", "timestamp": "2026-11-25T10:00:00Z", "data": {}}
    assert (await _send(site, _signed(site, message))).status_code == 200


async def test_a_body_of_megabytes_is_refused(site: Site):
    body, headers = _signed(site, {"type": "x" * 3_000_000, "data": {}})
    assert (await _send(site, (body, headers))).status_code == 413


# ---- from our own worker ----


@pytest.fixture
async def telling(site: Site) -> AsyncIterator[Database]:
    """What the worker of an operator with NOTIFICATIONS_WEBHOOK_ENABLED works with."""
    database = Database(str(site.settings.database_url.get_secret_value()), tells_operator=True)  # type: ignore[union-attr]
    yield database
    await database.close()


async def _finish(database: Database, seller: Seller) -> None:
    async with database.as_user(seller.user_id) as session:
        for row in await session.scalars(select(Publication)):
            await change(session, row, state="live", put="live", put_revision=row.wanted_revision,
                         remote_id="r1", url="https://example.com/1")  # fmt: skip


async def test_a_finished_job_is_told_to_the_operators_back_end_and_our_own_takes_it(
    site: Site, alice: Seller, telling: Database
):
    job = await _posted(alice, "poshmark")
    async with Receiver() as back_end:
        object.__setattr__(site.settings, "api_url", back_end.url("/"))
        mail = Mail(telling, site.vault, site.settings)
        await _finish(telling, alice)
        assert await mail.deliver() == 1
        await mail.close()
    (got,) = back_end.got
    assert got.path == PATH
    message = got.verified_by(webhooks.operator_secrets(site.settings, site.vault)[0])
    assert message["data"]["userId"] == str(alice.user_id)
    assert message["data"]["jobId"] == job["jobId"]
    shown = (await alice.get(f"/api/jobs/{job['jobId']}")).json()
    assert message["data"]["automationResults"] == shown["automationResults"]
    signature = {name: value for name, value in got.headers.items() if name.startswith("webhook-")}
    answer = await _send(site, (got.body, signature))
    assert answer.status_code == 200
    (delivery,) = await site.rows("SELECT status, endpoint_id FROM webhook_deliveries")
    assert (delivery["status"], delivery["endpoint_id"]) == ("delivered", None)


async def test_it_is_tried_again_like_any_message(site: Site, alice: Seller, telling: Database):
    await _posted(alice, "poshmark")
    async with Receiver(answer=503) as back_end:
        object.__setattr__(site.settings, "api_url", back_end.url(""))
        mail = Mail(telling, site.vault, site.settings)
        await _finish(telling, alice)
        await mail.deliver()
        await site.rows("UPDATE webhook_deliveries SET next_try_at = now()")
        back_end.answer = 200
        await mail.deliver()
        await mail.close()
    assert len({got.id for got in back_end.got}) == 1
    rows = await site.rows("SELECT status, tries FROM webhook_deliveries")
    assert rows == [{"status": "delivered", "tries": 2}]


async def test_without_the_setting_nothing_is_told(site: Site, alice: Seller):
    await _posted(alice, "poshmark")
    await _finish(site.database, alice)
    assert await site.rows("SELECT * FROM webhook_deliveries") == []
    assert len(await site.rows("SELECT * FROM events WHERE type = 'job.finished'")) == 1


async def test_a_message_signed_before_the_key_ring_was_rotated_is_still_good(site: Site, alice: Seller):
    job = await _posted(alice, "poshmark")
    signed = _signed(site, _said(alice, job))
    site.vault._keyring.rotate()
    assert len(webhooks.operator_secrets(site.settings, site.vault)) == 2
    assert (await _send(site, signed)).status_code == 200


async def test_the_log_of_a_seller_does_not_show_what_the_operator_is_told(
    site: Site, alice: Seller, telling: Database
):
    made = (await alice.post("/api/webhooks", {"url": "https://example.com/hook"})).json()
    await _posted(alice, "poshmark")
    await _finish(telling, alice)
    log = (await alice.get(f"/api/webhooks/{made['id']}/deliveries")).json()["deliveries"]
    assert sorted(entry["type"] for entry in log) == ["job.finished", "publication.live"]
    assert all("userId" not in entry["data"] for entry in log)

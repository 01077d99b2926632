"""What the log says of a posting: each line of it whose it is, of which job, and where."""

from __future__ import annotations

import json
import uuid

import pytest
from structlog.contextvars import clear_contextvars, merge_contextvars
from structlog.testing import capture_logs

from everystall.inventory import blindness, matches
from everystall.models import WebhookEndpoint
from everystall.notify import webhooks
from everystall.notify.send import Mail
from tests.bringing import bring_in
from tests.journeys.conftest import Seller, Stall
from tests.receiver import Receiver
from tests.test_incoming import VENDOO, file

pytestmark = [pytest.mark.journey, pytest.mark.browser]


@pytest.mark.longer
async def test_each_line_of_a_posting_says_whose_it_is_of_which_job_and_where(
    stall: Stall, alice: Seller, bob: Seller
):
    """What fails is counted besides, for the owner's figures and for no seller."""
    profile, his = await stall.connect(alice, "poshmark"), await stall.connect(bob, "poshmark")
    listing, other = await stall.listing(alice), await stall.listing(bob)
    stall.sandbox.fault("poshmark", kind="captcha", account=bob.name, times=1000)
    with capture_logs(processors=[merge_contextvars]) as lines:
        job = await stall.post(alice, listing, ["poshmark"])
        await stall.post(bob, other, ["poshmark"])
        done = await stall.until_done(alice, job["jobId"], profile)
        await stall.visit(his)
    assert done["status"] == "done", done
    made = next(line for line in lines if line["event"] == "job.made")
    assert (made["job_id"], made["user_id"], made["pairs"]) == (job["jobId"], str(alice.user_id), 1)
    assert made["request_id"]
    steps = [line for line in lines if line.get("step") in ("publish", "look")]
    hers = [line for line in steps if line["user_id"] == str(alice.user_id)]
    at = {line["at"] for line in hers if line["event"] == "visit.at"}
    assert at >= {"fill", "arm", "click", "read-back"}
    for line in hers:
        assert line["job_id"] == job["jobId"], line
        assert line["marketplace"] == "poshmark"
        assert line["connection_id"]
        assert line["publication_id"]
    his_lines = [line for line in lines if line.get("user_id") == str(bob.user_id)]
    assert his_lines
    assert not {line.get("job_id") for line in his_lines} & {job["jobId"]}
    rows = await stall.rows("SELECT marketplace, code, number FROM everystall.failures")
    assert [(row["marketplace"], row["code"]) for row in rows] == [("poshmark", "challenge")]


#: Said before anybody is known: a visit that is about to ask for the account.
BEFORE = "claim"


@pytest.mark.longer
async def test_each_line_of_a_whole_life_says_whose_it_is_and_where_and_no_secret(
    stall: Stall, alice: Seller, bob: Seller
):
    """Two sellers post; one sells, is signed out and told so by webhooks; the other brings in a file."""
    tools = stall.tools
    mail = Mail(tools.db, tools.vault, stall.settings.model_copy(update={"webhook_allow_private": True}))
    secret = webhooks.new_secret()
    storage = await stall.sign_in("mercari", alice.name)
    async with Receiver() as receiver:
        async with tools.db.as_user(alice.user_id) as session:
            row = WebhookEndpoint(id=uuid.uuid4(), user_id=alice.user_id, url=receiver.url("/canary-path"))
            await tools.vault.seal_webhook(session, row, secret)
            session.add(row)
        with capture_logs(processors=[merge_contextvars]) as lines:
            hers = await stall.hand_over(alice, "mercari", storage)
            others, his = await stall.connect(alice, "ebay"), await stall.connect(bob, "mercari")
            job = await stall.post(alice, await stall.listing(alice), ["mercari", "ebay"])
            await stall.post(bob, await stall.listing(bob), ["mercari"])
            assert (await stall.until_done(alice, job["jobId"], hers, others))["status"] == "done"
            await stall.visit(his)
            (bought,) = stall.ledger("mercari", alice.name)
            stall.sandbox.buy("mercari", listing_id=bought["listing_id"])
            await _check(stall, hers)
            await stall.visit(others, lane="urgent")
            for there in stall.sandbox.world._sessions:
                there.revoked = True
            await _check(stall, hers)
            given = file(VENDOO, {"Title": "Mug", "Sku": "M-1", "Price": "5.00", "Quantity Left": "1"})
            answer = await bob.client.post("/api/imports", files={"file": ("mine.csv", given, "text/csv")})
            assert answer.status_code == 202, answer.text
            # what ticks and messages do, in a process that serves no seller
            clear_contextvars()
            await blindness.look_after(tools.db)
            await bring_in(tools.db, tools.stopping)
            await matches.compare_all(tools.db, tools.photos, tools.stopping)
            await mail.deliver()
    await mail.close()
    said = {line["event"] for line in lines}
    assert said >= {"job.made", "visit.at", "publication.live", "sale.detected", "publication.gone",
                   "step.failed", "account.blind", "webhook.tried"}  # fmt: skip
    for line in lines:
        if line.get("at") == BEFORE:
            continue
        assert line.get("user_id") in (str(alice.user_id), str(bob.user_id)), line
        if "request_id" not in line:
            assert line.get("marketplace") or line.get("type") == "job.finished", line
        if line.get("step") == "publish":
            assert line["job_id"].startswith("job_"), line
    sent = [line for line in lines if line["event"] == "webhook.tried"]
    assert {line["user_id"] for line in sent} == {str(alice.user_id)}
    assert {line.get("job_id") for line in sent if line["type"] == "job.finished"} == {job["jobId"]}
    assert {line["marketplace"] for line in sent if line["type"] == "publication.live"} == {"mercari", "ebay"}
    everything = json.dumps(lines, default=str)
    token = alice.client.headers["Authorization"].removeprefix("Bearer ")
    kept = [one["value"] for one in storage["cookies"] if len(one["value"]) >= 8]
    assert kept
    for hidden in (*kept, token, webhooks.shown(secret), "canary-path"):
        assert hidden not in everything


async def _check(stall: Stall, profile: str) -> None:
    """The time for a check of it has come."""
    await stall.rows(
        "UPDATE connections SET next_check_at = now() WHERE public_id = :id RETURNING id", id=profile
    )
    await stall.visit(profile)

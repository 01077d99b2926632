"""What others are told of a listing's whole life, by a real worker's steps: once each, signed."""

from __future__ import annotations

import uuid

import pytest

from everystall.models import WebhookEndpoint
from everystall.notify import webhooks
from everystall.notify.send import Mail
from tests.journeys.conftest import Seller, Stall
from tests.receiver import Receiver

pytestmark = [pytest.mark.journey, pytest.mark.browser]


@pytest.mark.longer
async def test_a_post_a_lost_sign_in_and_a_take_down_are_each_told_once(stall: Stall, alice: Seller):
    near = stall.settings.model_copy(update={"webhook_allow_private": True})
    mail = Mail(stall.tools.db, stall.tools.vault, near)
    secret = webhooks.new_secret()
    async with Receiver() as receiver:
        async with stall.tools.db.as_user(alice.user_id) as session:
            row = WebhookEndpoint(id=uuid.uuid4(), user_id=alice.user_id, url=receiver.url())
            await stall.tools.vault.seal_webhook(session, row, secret)
            session.add(row)
        profile = await stall.connect(alice, "mercari")
        listing = await stall.listing(alice)
        job = await stall.post(alice, listing, ["mercari"])
        assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
        for session_there in stall.sandbox.world._sessions:
            session_there.revoked = True
        answer = await alice.client.post(f"/api/listings/{listing}/publications/{profile}/end")
        assert answer.status_code == 200
        for _ in range(2):
            await stall.visit(profile, lane="urgent")
        await stall.connect(alice, "mercari")
        await stall.visit(profile)
        await mail.deliver()
    await mail.close()
    told = [got.verified_by(webhooks.shown(secret)) for got in receiver.got]
    assert sorted(message["type"] for message in told) == [
        "job.finished", "publication.ended", "publication.live", "publication.needs_you", "session.expired"
    ]  # fmt: skip
    (expired,) = [message["data"] for message in told if message["type"] == "session.expired"]
    assert expired["browserProfileId"] == profile
    assert "sign-in" in expired["message"]

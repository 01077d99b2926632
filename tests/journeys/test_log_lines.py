"""What the log says of a posting: each line of it whose it is, of which job, and where."""

from __future__ import annotations

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from tests.journeys.conftest import Seller, Stall

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

"""`everystall doctor MARKETPLACE`: a site's form is filled in, never published. The ledger is the judge."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.conftest import Stall
from tests.journeys.test_heals import DRIFT

pytestmark = [pytest.mark.journey, pytest.mark.browser, pytest.mark.longer]


@pytest.fixture
def doctor(stall: Stall, tmp_path: Path):
    """`everystall doctor …` on the stage's database and data folder: (exit code, what it says)."""
    settings = stall.settings
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVERYSTALL_TEST")},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "EVERYSTALL_HOME": str(settings.everystall_home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "DATABASE_ADMIN_URL": settings.database_admin_url.get_secret_value(),
        "COLUMNS": "400",
    }

    async def run(*arguments: str) -> tuple[int, str]:
        def work() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "everystall", "doctor", *arguments],
                env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240,
            )  # fmt: skip

        done = await asyncio.to_thread(work)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout + "".join(
            line for line in done.stderr.splitlines(keepends=True) if not line.startswith("{")
        )

    return run


def rows(said: str, name: str) -> list[str]:
    """What stands behind that name, a line each."""
    lines = [line for line in said.splitlines() if line.startswith(f"{name} ")]
    return [line.removeprefix(name).strip() for line in lines]


@pytest.mark.extended
async def test_a_form_is_filled_in_and_never_published(stall, alice, bob, marketplace, doctor):
    hers, his = await stall.connect(alice, marketplace), await stall.connect(bob, marketplace)
    await stall.listing(bob, title="A coat of his")
    job = await stall.post(alice, await stall.listing(alice), [marketplace])
    assert (await stall.until_done(alice, job["jobId"], hers, seconds=60))["status"] == "done"
    ledger = stall.ledger(marketplace)
    [live] = ledger

    code, said = await doctor(marketplace)  # of two accounts none is guessed
    assert code == 1
    assert hers in said
    assert his in said

    seed, strength = DRIFT[marketplace]
    stall.sandbox.drift(marketplace, seed=seed, strength=strength)
    code, said = await doctor(marketplace, "--connection", his)
    assert code == 0, said
    assert "A coat of his" in said
    assert "filled in and read back" in said
    assert rows(said, "missing") == []
    assert rows(said, "found")[0] != "none"
    assert rows(said, "hosts its own") == [f"{marketplace}.localhost"]
    assert [one for one in rows(said, "healed") if one.startswith("the listing's title, by likeness: ")]
    assert await stall.rows("SELECT * FROM everystall.locators") == []
    folder = stall.settings.everystall_home / "run" / "doctor" / marketplace
    assert (folder / "form.png").read_bytes()[1:4] == b"PNG"
    assert (folder / "healed-1.jpg").stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0

    for _ in range(2):  # what is known already is no better proved by another rehearsal
        code, said = await doctor(marketplace, "--connection", his, "--save")
        assert code == 0, said
        kept = await stall.rows("SELECT DISTINCT state, verified, by FROM everystall.locators")
        assert kept == [{"state": "candidate", "verified": 1, "by": "likeness"}]

    await stall.rows("DELETE FROM everystall.locators RETURNING id")
    await stall.rows("DELETE FROM everystall.looks RETURNING target")
    code, said = await doctor(marketplace, "--connection", his, "--save")
    assert code == 1, said
    assert rows(said, "missing")
    assert rows(said, "stopped")
    assert (folder / "stop.png").exists()
    assert await stall.rows("SELECT * FROM everystall.locators") == []

    assert stall.ledger(marketplace) == ledger
    assert stall.live(marketplace) == [live]
    jobs = await stall.rows("SELECT * FROM publications WHERE user_id = :id", id=bob.user_id)
    assert jobs == []
    opened = await stall.rows("SELECT purpose FROM vault_audit WHERE user_id = :id", id=bob.user_id)
    assert {row["purpose"] for row in opened} == {"rehearse"}


async def test_without_a_listing_or_an_account_nobody_goes_there(stall, alice, bob, marketplace, doctor):
    code, said = await doctor(marketplace)
    assert (code, "No " in said) == (1, True), said
    hers = await stall.connect(alice, marketplace)
    await stall.listing(bob)
    code, said = await doctor(marketplace)
    assert code == 1
    assert "no listing" in said
    code, said = await doctor(marketplace, "--connection", f"{hers}x")
    assert (code, "There is no" in said) == (1, True), said
    code, said = await doctor("etsy")
    assert (code, "no marketplace" in said) == (1, True), said
    assert await stall.rows("SELECT * FROM vault_audit") == []


@pytest.mark.extended
async def test_an_account_that_rests_or_waits_for_its_seller_is_left_alone(stall, alice, bob, doctor):
    hers, his = await stall.connect(alice, "mercari"), await stall.connect(bob, "mercari")
    for seller in (alice, bob):
        await stall.listing(seller)
    await stall.rows(
        "UPDATE connections SET rest_until = now() + interval '1 hour' WHERE public_id = :id RETURNING id",
        id=hers,
    )
    await stall.rows("UPDATE connections SET needs_you = '{}' WHERE public_id = :id RETURNING id", id=his)
    for one in (hers, his):
        code, said = await doctor("mercari", "--connection", one)
        assert code == 1
        assert "nobody visits the account before" in said

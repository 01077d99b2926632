"""A site that its makers changed: what one seller's posts saw before is found again for every seller, rightly
or not at all. The ledger is the judge."""

from __future__ import annotations

import asyncio
import json
import re
import time
from functools import partial
from importlib import import_module

import pytest

from everystall.content.model import Model
from everystall.sandbox import drift
from everystall.sandbox.drift import Vocabulary
from everystall.settings import Settings
from everystall.worker import heals
from tests.journeys.conftest import Seller, Stall
from tests.model_server import Asked, ModelServer

pytestmark = [pytest.mark.journey, pytest.mark.browser, pytest.mark.longer]

#: Seed and strength with which something loses all its locators, and what publishes does not.
DRIFT = {"poshmark": (1, 1), "mercari": (1, 1), "ebay": (8, 2)}
TITLE = "Wool coat, as good as new"


async def _posted(stall: Stall, seller: Seller, profile: str, marketplace: str, **fields: object) -> dict:
    job = await stall.post(seller, await stall.listing(seller, **fields), [marketplace])
    return await stall.until_done(seller, job["jobId"], profile, seconds=60)


async def test_what_a_site_renamed_is_found_again_for_every_seller(stall, alice, bob, marketplace):
    hers, his = await stall.connect(alice, marketplace), await stall.connect(bob, marketplace)
    assert (await _posted(stall, alice, hers, marketplace))["status"] == "done"
    [before] = stall.live(marketplace)
    assert await stall.rows("SELECT * FROM everystall.locators") == []
    seed, strength = DRIFT[marketplace]
    stall.sandbox.drift(marketplace, seed=seed, strength=strength)
    job = await _posted(stall, bob, his, marketplace, title=TITLE)
    assert job["status"] == "done", job
    [after] = [item for item in stall.live(marketplace) if item["account"] == "bob"]
    same = set(before["fields"]) - {"title", "sku"}
    assert after["fields"]["title"] == TITLE
    assert {name: after["fields"][name] for name in same} == {name: before["fields"][name] for name in same}
    assert len(after["photos"]) == 2
    healed = await stall.rows("SELECT target, state, verified, picture FROM everystall.locators")
    assert healed
    assert {(row["state"], row["verified"]) for row in healed} == {("candidate", 1)}
    assert any(row["picture"] for row in healed)
    known = str(await stall.rows("SELECT * FROM everystall.looks"))
    known += str(await stall.rows("SELECT target, layout, locator, before, after FROM everystall.locators"))
    for theirs in ("Linen shirt", "hardly worn", "Wool coat", "Levi's", "94110", "A-17", "alice", "bob"):
        assert not re.search(rf"\b{theirs}\b", known)
    await _posted(stall, alice, hers, marketplace, title=TITLE)
    verified = await stall.rows("SELECT DISTINCT verified FROM everystall.locators")
    assert [row["verified"] for row in verified] == [2]


#: The button that publishes and nothing else, by its names and its words.
BUTTON = {
    "poshmark": Vocabulary(["data-et-name=list"], {"List This Item": ["Publish Listing"]}),
    "mercari": Vocabulary(["ListButton"], {"List": ["Publish"]}),
    "ebay": Vocabulary([], {"List it": ["Publish listing"]}),
}


@pytest.mark.extended
async def test_where_the_button_that_publishes_is_lost_nothing_is_posted(
    stall, alice, bob, marketplace, monkeypatch
):
    hers, his = await stall.connect(alice, marketplace), await stall.connect(bob, marketplace)
    assert (await _posted(stall, alice, hers, marketplace))["status"] == "done"
    renamed = partial(drift.apply, vocabulary=BUTTON[marketplace], seed=1, strength=2)
    monkeypatch.setattr(drift, "apply", lambda text, *_: renamed(text))
    stall.sandbox.drift(marketplace, seed=1, strength=2)
    job = await _posted(stall, bob, his, marketplace, title=TITLE)
    [pair] = job["automationResults"]
    assert pair["needsYou"]["reason"] == "page_changed", pair
    pages = import_module(f"everystall.marketplaces.{marketplace}.pages")
    assert pages.LIST.intent in pair["needsYou"]["message"]
    assert [item for item in stall.live(marketplace) if item["account"] == "bob"] == []


# ---- a model is asked -----------------------------------------------------------------------------

#: What the field of the title is called where its attributes alone have changed.
CALLED = {"poshmark": "Title", "mercari": "Title", "ebay": "Item title"}


async def _only_a_model_knows_the_title(stall: Stall, marketplace: str) -> None:
    """All its locators lose it; what is remembered of it tells neither its words and names nor its place."""
    seed, strength = DRIFT[marketplace]
    stall.sandbox.drift(marketplace, seed=seed, strength=strength)
    blank = dict.fromkeys(("label", "heading", "name", "id", "placeholder", "place"), "")
    blank |= {trait: [] for trait in ("data", "classes", "path")}
    changed = await stall.rows(
        "UPDATE everystall.looks SET look = (look || CAST(:blank AS jsonb)) - CAST(:untold AS text[])"
        " WHERE target = :target RETURNING 1",
        blank=json.dumps(blank), untold=["near", "asks", "rank", "steps"], target="the listing's title",
    )  # fmt: skip
    assert len(changed) == 1


def _ref_of(asked: Asked, words: str) -> str:
    [line] = [line for line in asked.text.splitlines() if words in line and "[ref=" in line]
    return line.split("[ref=")[1].split("]")[0]


@pytest.mark.extended
async def test_what_likeness_cannot_tell_a_worker_with_a_key_asks_the_model(
    stall, alice, bob, marketplace, start_worker
):
    hers, _ = await stall.connect(alice, marketplace), await stall.connect(bob, marketplace)
    assert (await _posted(stall, alice, hers, marketplace))["status"] == "done"
    await _only_a_model_knows_the_title(stall, marketplace)
    words = f'textbox "{CALLED[marketplace]}'
    async with ModelServer(lambda asked: {"ref": _ref_of(asked, words)}) as server:
        start_worker(OPENROUTER_API_KEY=server.key, OPENROUTER_URL=server.url)
        job, end = await stall.post(bob, await stall.listing(bob, title=TITLE), [marketplace]), 300
        began = time.monotonic()
        while (now := await stall.job(bob, job["jobId"]))["status"] == "running":
            assert time.monotonic() < began + end, now
            await asyncio.sleep(0.5)
    assert now["status"] == "done", (now["automationResults"], [asked.text for asked in server.got])
    [live] = [item for item in stall.live(marketplace) if item["account"] == "bob"]
    assert live["fields"]["title"] == TITLE
    [asked] = server.got
    assert "the listing's title" in asked.text
    said = json.dumps(asked.body)
    for theirs in ("bob", "bob@example.com", TITLE, "Linen shirt", "94110", "A-17"):
        assert not re.search(rf"\b{theirs}\b", said, re.IGNORECASE)
    by = await stall.rows(
        "SELECT by, state FROM everystall.locators WHERE target = :target", target="the listing's title"
    )
    assert by == [{"by": "model", "state": "candidate"}]


@pytest.mark.extended
async def test_a_wrong_answer_none_and_what_is_no_answer_post_nothing(stall, alice, bob, marketplace):
    hers, his = await stall.connect(alice, marketplace), await stall.connect(bob, marketplace)
    assert (await _posted(stall, alice, hers, marketplace))["status"] == "done"
    await _only_a_model_knows_the_title(stall, marketplace)
    answers = [
        lambda asked: {"ref": _ref_of(asked, 'textbox "Desc')},
        lambda asked: {"ref": None},
        lambda asked: "Click the button that publishes.",
    ]
    async with ModelServer() as server:
        stall.tools.model = heals.Finder(Model(Settings(
            _env_file=None, openrouter_api_key=server.key, openrouter_url=server.url,
        )))  # fmt: skip
        for answer in answers:
            server.answer, before = answer, len(server.got)
            job = await _posted(stall, bob, his, marketplace, title=TITLE)
            [pair] = job["automationResults"]
            assert pair["needsYou"]["reason"] == "page_changed", pair
            assert len(server.got) > before
    assert [item for item in stall.live(marketplace) if item["account"] == "bob"] == []
    states = await stall.rows("SELECT DISTINCT state FROM everystall.locators")
    assert {row["state"] for row in states} <= {"demoted"}

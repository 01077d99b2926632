"""A worker's questions to the model: which element is it? Over real HTTP, within limits."""

from __future__ import annotations

import time

import pytest
from structlog.testing import capture_logs

from everystall.browser.heal import Question
from everystall.content.model import Model
from everystall.errors import ModelAway
from everystall.settings import Settings
from everystall.worker import heals
from tests.model_server import ModelServer

LOST = Question("the listing's title", '- textbox "Headline" [ref=e3]', frozenset({"e3", "e4"}))


@pytest.fixture
async def server():
    async with ModelServer({"ref": "e3"}) as server:
        yield server


def model_of(server: ModelServer) -> Model:
    return Model(Settings(_env_file=None, openrouter_api_key=server.key, openrouter_url=server.url))


async def test_the_answer_is_a_ref_or_none_and_the_log_has_what_it_cost_and_not_the_question(server):
    finder = heals.finder(model_of(server))
    assert finder is not None
    with capture_logs() as logs:
        assert await finder(LOST) == "e3"
        server.answer = {"ref": None}
        assert await finder(LOST) is None
    [asked, _] = server.got
    assert LOST.intent in asked.text
    assert LOST.outline in asked.text
    assert "e3, e4" in asked.text
    [told, _] = [one for one in logs if one["event"] == "model.answered"]
    assert (told["kind"], told["tokens_in"], told["tokens_out"], told["cost"]) == ("heal", 1000, 200, 2000)
    assert "Headline" not in str(logs)


def test_without_a_key_there_is_nobody_to_ask():
    assert heals.finder(Model(Settings(_env_file=None, openrouter_api_key=None))) is None


async def test_a_visit_is_not_held_for_long_by_a_model_that_does_not_answer(server, monkeypatch):
    monkeypatch.setattr(heals, "MODEL_SECONDS", 0.5)
    finder = heals.Finder(model_of(server))
    await finder(LOST)  # loads the library
    server.delay, began = 20, time.monotonic()
    with pytest.raises(ModelAway):
        await finder(LOST)
    assert time.monotonic() - began < 5


async def test_a_day_has_so_many_questions_and_no_more(server, monkeypatch):
    monkeypatch.setattr(heals, "MOST_QUESTIONS", 2)
    finder = heals.Finder(model_of(server))
    assert [await finder(LOST) for _ in range(3)] == ["e3", "e3", None]
    assert len(server.got) == 2
    monkeypatch.setattr(heals, "_DAY", 0.0)  # the next day
    assert await finder(LOST) == "e3"

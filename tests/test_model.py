"""The way to a language model, over real HTTP: what is asked, what comes of wrong answers, what it costs."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from everystall.content import model as content_model
from everystall.content.model import Model
from everystall.errors import ModelAway, ModelDenied, NoModel
from everystall.settings import Settings
from tests.model_server import ModelServer


class Colour(BaseModel):
    colour: str
    sure: float


BLUE = {"colour": "blue", "sure": 0.9}


def settings_for(server: ModelServer, **more) -> Settings:
    return Settings(
        _env_file=None, openrouter_api_key=server.key, openrouter_url=server.url, openrouter_model="a/first",
        openrouter_fallback_model="b/second", **more,
    )  # fmt: skip


@pytest.fixture
async def server():
    async with ModelServer(BLUE) as server:
        yield server


async def test_an_answer_comes_in_our_shape_with_who_said_it_and_what_it_cost(server):
    answer = await Model(settings_for(server)).answer("test", "Which colour?", [b"jpeg"], Colour)
    assert answer.said == Colour(colour="blue", sure=0.9)
    assert (answer.model, answer.tokens_in, answer.tokens_out, answer.cost) == ("a/first", 1000, 200, 2000)
    (asked,) = server.got
    assert asked.text.splitlines() == ["Which colour?", "Photo 1:"]
    assert asked.images == [b"jpeg"]
    assert asked.body["provider"] == {"data_collection": "deny"}
    assert await Model(settings_for(server)).ask("test", "Which colour?", [], Colour) == answer.said


async def test_without_a_key_it_says_so_and_nothing_is_asked(server):
    for key in (None, ""):
        model = Model(settings_for(server).model_copy(update={"openrouter_api_key": key}))
        if key is not None:
            model = Model(Settings(_env_file=None, openrouter_api_key=key, openrouter_url=server.url))
        assert not model.ready
        with pytest.raises(NoModel) as told:
            await model.ask("test", "Which colour?", [], Colour)
        assert "OPENROUTER_API_KEY" in told.value.action
    assert server.got == []


async def test_a_wrong_shape_is_asked_again_and_both_are_paid_for(server):
    server.answer = lambda asked: BLUE if len(server.got) == 2 else {"colour": "blue", "sure": "very"}
    answer = await Model(settings_for(server)).answer("test", "Which colour?", [], Colour)
    assert answer.said.sure == 0.9
    assert [asked.model for asked in server.got] == ["a/first", "a/first"]
    assert answer.cost == 4000


@pytest.mark.parametrize("said", [500, 503, 429, 404, 403, {"colour": 1}, "I would say blue"])
async def test_the_second_model_answers_where_the_first_does_not_usably(server, said):
    server.answer = lambda asked: BLUE if asked.model == "b/second" else said
    answer = await Model(settings_for(server)).answer("test", "Which colour?", [], Colour)
    assert answer.model == "b/second"
    assert {asked.model for asked in server.got} == {"a/first", "b/second"}


async def test_what_none_answers_usably_is_tried_again_later_and_its_cost_is_told(server):
    server.answer = {"colour": 1}
    with pytest.raises(ModelAway) as told:
        await Model(settings_for(server)).ask("test", "Which colour?", [], Colour)
    assert told.value.cost == 2000 * len(server.got)
    assert "colour" not in str(told.value.as_json())


async def test_a_key_that_is_not_taken_is_the_operators_and_no_secret_is_told(server):
    settings = settings_for(server)
    server.key = "another"
    with pytest.raises(ModelDenied) as told, capture_logs() as logs:
        await Model(settings).ask("test", "Which colour?", [], Colour)
    assert len(server.got) == 1
    assert "sk-or" not in f"{told.value!r} {told.value.as_json()} {logs}"


async def test_what_is_forbidden_with_all_models_is_the_operators(server):
    server.answer = 403
    with pytest.raises(ModelDenied):
        await Model(settings_for(server)).ask("test", "Which colour?", [], Colour)
    assert [asked.model for asked in server.got] == ["a/first", "b/second"]
    with pytest.raises(ModelDenied):
        await Model(settings_for(server)).chat("agent", [{"role": "user", "content": "Which?"}], None)
    assert len(server.got) == 4


async def test_a_model_that_dawdles_is_not_waited_for(server):
    server.delay = 5
    with pytest.raises(ModelAway) as told:
        await Model(settings_for(server)).answer("test", "Which colour?", [], Colour, seconds=0.5)
    assert told.value.cost is None  # nobody knows


async def test_a_first_model_that_dawdles_leaves_the_second_its_time(server, monkeypatch):
    async def dawdling(asked):
        if asked.model == "a/first":
            await asyncio.sleep(10)
        return BLUE if "tools" in asked.body else "blue"

    server.answer = dawdling
    model = Model(settings_for(server))
    answer = await model.answer("test", "Which colour?", [], Colour, seconds=4)
    assert (answer.model, answer.said.colour) == ("b/second", "blue")
    monkeypatch.setattr(content_model, "TRY_SECONDS", 1.0)
    turn = await model.chat("agent", [{"role": "user", "content": "Which?"}], None)
    assert turn.model == "b/second"


async def test_the_log_tells_of_a_question_what_it_cost_and_never_what_it_was(server):
    with capture_logs() as logs:
        await Model(settings_for(server)).ask("test", "Which colour has Alice's dress?", [b"jpeg"], Colour)
    (line,) = [line for line in logs if line["event"] == "model.answered"]
    assert (line["kind"], line["cost"], line["tokens_in"]) == ("test", 2000, 1000)
    assert "Alice" not in str(logs)


async def test_what_a_question_costs_is_known_before_by_the_models_price_list(server):
    cheap = Model(settings_for(server).model_copy(update={"openrouter_model": "google/gemini-2.5-flash"}))
    unknown = Model(settings_for(server))
    asked = ("Which colour?" * 100, 4, Colour)
    assert 1000 < await cheap.estimate(*asked) < await unknown.estimate(*asked) < 60_000
    server.cost = None  # and afterwards, where the answer does not say
    answer = await cheap.answer("test", "Which colour?", [], Colour)
    assert answer.cost == 1000 * 0.3 + 200 * 2.5


async def test_a_turn_of_a_conversation_is_answered_as_json_of_its_schema(server):
    server.answer = lambda asked: '{"colour": "blue"}' if asked.model == "b/second" else 503
    said = [{"role": "system", "content": "Rules."}, {"role": "user", "content": "Which?"}]
    answer = await Model(settings_for(server)).chat("agent", said, {"type": "object"})
    assert (answer.said, answer.model, answer.tokens_in, answer.cost) == (
        '{"colour": "blue"}', "b/second", 1000, 2000,
    )  # fmt: skip
    body = server.got[-1].body
    assert body["messages"] == said
    assert body["provider"] == {"data_collection": "deny"}
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


async def test_a_turn_whose_answer_does_not_say_what_was_used_counts_as_about_what_it_was(server):
    server.answer, server.tells = "blue", False
    said, model = [{"role": "user", "content": "Which?" * 100}], Model(settings_for(server))
    answer = await model.chat("agent", said, None)
    assert answer.said == "blue"
    assert answer.tokens_in > 100
    assert answer.cost == await model.estimate_chat(said, None) > 0


async def test_a_turn_that_nobody_answers_says_why_and_no_secret(server):
    settings = settings_for(server)
    for key, error in ((server.key, ModelAway), ("another", ModelDenied)):
        server.key, server.answer = key, 500
        with pytest.raises(error) as told, capture_logs() as logs:
            await Model(settings).chat("agent", [{"role": "user", "content": "Alice's"}], None)
        assert "sk-or" not in f"{told.value!r} {told.value.as_json()} {logs}"
        assert "Alice" not in str(logs)
    with pytest.raises(NoModel):
        await Model(settings.model_copy(update={"openrouter_api_key": None})).chat("agent", [], None)

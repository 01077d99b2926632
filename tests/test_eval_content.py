"""The evaluation set counts what it should, with a model that says what a test tells it to."""

from __future__ import annotations

import io

from PIL import Image

from benchmarks.content import TEXTS, THINGS, evaluate, judge, pictures, told
from everystall.content.model import Model
from everystall.content.read import Reading
from tests.model_server import ModelServer
from tests.test_model import settings_for


def _seen(value, quote=""):
    return {"value": value, "confidence": 0.9, "sources": ["photo 2"], "quote": quote}


async def test_right_empty_and_wrong_are_counted_and_so_is_what_it_costs():
    def answer(asked):
        if not asked.images:
            facts = TEXTS[0] if "501" in asked.text else TEXTS[1]
            lies = "Gucci " if "Poshmark" in asked.text else ""
            return {"title": lies + facts.title, "description": facts.description}
        if "no idea" in asked.text:  # a brand where there is none to be read
            return {"brand": _seen("Nike", "Nike")}
        return {"brand": _seen("LEVI'S", "LEVI'S"), "size": _seen("M", "SIZE M"),
                "category": _seen("men.shirts.tees"), "colors": [_seen("navy")]}  # fmt: skip

    async with ModelServer(answer) as server:
        score = await evaluate(Model(settings_for(server)), (THINGS[0], THINGS[2]))
    counts = {key: number for key, number in score.fields.items() if number}
    assert counts == {
        ("brand", "right"): 1, ("brand", "wrong"): 1, ("size", "right"): 2, ("category", "right"): 1,
        ("category", "empty"): 1, ("colors", "right"): 1, ("colors", "empty"): 1,
    }  # fmt: skip
    assert score.texts == {"used": 4, "refused": 2}
    assert (score.failed, score.cost) == (0, 8 * 2000)
    assert "brand 'Nike' for None" in told(score)


async def test_a_model_that_is_away_is_counted_as_failed():
    async with ModelServer(500) as server:
        score = await evaluate(Model(settings_for(server)), THINGS[:1], ())
    assert score.failed == 1


def test_every_thing_has_two_pictures_and_a_truth_of_ours():
    for thing in THINGS:
        assert [Image.open(io.BytesIO(one)).format for one in pictures(thing)] == ["JPEG", "JPEG"]
        assert set(thing.truth) <= set(Reading.model_fields)
    assert judge("size", None, None) == "right"
    assert judge("colors", ("red", "blue"), ("red",)) == "right"

"""A seller's questions to the model: within the budget, each paid once, and nobody else's."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel
from sqlalchemy import select

from everystall.content import asking
from everystall.content.asking import Question, ask, get_answer, spent
from everystall.content.model import Model
from everystall.errors import AskedAlready, BudgetSpent, ModelAway, NoModel, NotFound
from everystall.models import ModelAnswer
from everystall.settings import Settings
from tests.model_server import ModelServer
from tests.test_model import settings_for


class Colour(BaseModel):
    colour: str


WHICH = Question("reading", "Which colour?", [b"jpeg"], Colour)


@pytest.fixture
async def scripted():
    async with ModelServer({"colour": "blue"}) as scripted:
        yield scripted


@pytest.fixture
def model(scripted):
    return Model(settings_for(scripted))


async def spent_by(db, user_id, cents=300) -> int:
    async with db.as_user(user_id) as session:
        return (await spent(session, cents)).spent


@pytest.mark.longer
async def test_the_same_is_asked_and_paid_once_and_what_differs_again(db, alice, bob, model, scripted):
    first = await ask(db, alice, model, WHICH, 300)
    assert await ask(db, alice, model, WHICH, 300) == first
    assert (len(scripted.got), await spent_by(db, alice)) == (1, 2000)
    for other in (Question("reading", "Which colour, then?", [b"jpeg"], Colour),
                  Question("reading", "Which colour?", [b"another"], Colour)):  # fmt: skip
        assert await ask(db, alice, model, other, 300) != first
    assert (len(scripted.got), await spent_by(db, alice), await spent_by(db, bob)) == (3, 6000, 0)
    assert await ask(db, bob, model, WHICH, 300) != first  # one seller's answer is none of another's
    assert len(scripted.got) == 4
    async with db.as_user(bob) as session:
        with pytest.raises(NotFound):
            await get_answer(session, first, "reading", Colour)
    async with db.as_user(alice) as session:
        row, said = await get_answer(session, first, "reading", Colour)
        assert (said.colour, row.model, row.tokens_in, row.cost) == ("blue", "a/first", 1000, 2000)


@pytest.mark.longer
async def test_what_the_month_has_no_room_for_is_not_asked(db, admin, alice, bob, model, scripted):
    with pytest.raises(BudgetSpent) as told:
        await ask(db, alice, model, WHICH, 0)
    assert "of this month's $0.00 $0.00 are left" in told.value.message
    await admin.execute(
        "INSERT INTO model_answers (user_id, kind, content_hash, cost) VALUES (%s, 'copy', 'h', 2990000)",
        [alice],
    )
    with pytest.raises(BudgetSpent):
        await ask(db, alice, model, WHICH, 300)
    assert scripted.got == []
    await ask(db, bob, model, WHICH, 300)
    await admin.execute(
        "UPDATE model_answers SET asked_at = now() - interval '32 days' WHERE content_hash = 'h'"
    )
    await ask(db, alice, model, WHICH, 300)


async def test_two_presses_at_once_are_one_question(db, alice, bob, model, scripted):
    scripted.delay = 1
    one, other = await asyncio.gather(
        ask(db, alice, model, WHICH, 300), ask(db, alice, model, WHICH, 300), return_exceptions=True
    )
    assert {type(one), type(other)} >= {AskedAlready}
    assert len(scripted.got) == 1
    assert await ask(db, bob, model, WHICH, 300)


async def test_what_fails_costs_what_it_did_and_may_be_asked_again(db, admin, alice, model, scripted):
    scripted.answer = {"shade": 1}
    with pytest.raises(ModelAway):
        await ask(db, alice, model, WHICH, 300)
    assert await spent_by(db, alice) == 2000 * len(scripted.got) > 0
    scripted.answer = {"colour": "blue"}
    await ask(db, alice, model, WHICH, 300)
    # what a process left that ended is counted as it was set aside, and is in nobody's way after two minutes
    await admin.execute("UPDATE model_answers SET answer = NULL, answered_at = NULL")
    with pytest.raises(AskedAlready):
        await ask(db, alice, model, WHICH, 300)
    await admin.execute("UPDATE model_answers SET asked_at = now() - interval '3 minutes'")
    await ask(db, alice, model, WHICH, 300)


async def test_answers_are_kept_for_ninety_days(db, admin, alice, bob, model, scripted):
    for seller in (alice, bob):
        await ask(db, seller, model, WHICH, 300)
    await admin.execute("UPDATE model_answers SET asked_at = now() - interval '91 days'")
    await ask(db, alice, model, WHICH, 300)
    rows = await (await admin.execute("SELECT user_id FROM model_answers")).fetchall()
    assert sorted(row["user_id"] for row in rows) == sorted([alice, bob])


async def test_no_transaction_is_open_while_the_model_thinks(db, admin, alice, model, scripted):
    open_ = []

    async def look():
        await asyncio.sleep(0.5)
        rows = await admin.execute(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%' "
            "AND datname = current_database()"
        )
        open_.append((await rows.fetchone())["n"])

    scripted.delay = 1.5
    await asyncio.gather(ask(db, alice, model, WHICH, 300), look())
    assert open_ == [0]


async def test_without_a_key_nothing_is_asked_and_nothing_written(db, alice):
    with pytest.raises(NoModel):
        await ask(db, alice, Model(Settings(_env_file=None)), WHICH, 300)
    async with db.as_user(alice) as session:
        assert (await session.scalars(select(ModelAnswer))).all() == []


def test_costs_are_said_in_dollars():
    assert [asking.dollars(cost) for cost in (0, 20, 2000, 123_456, 1_234_567)] == [
        "$0.00", "$0.001", "$0.002", "$0.12", "$1.23",
    ]  # fmt: skip


async def test_turns_of_an_agent_count_to_their_sellers_month(db, alice, bob, model, scripted):
    scripted.answer = '{"colour": "blue"}'
    said = [{"role": "user", "content": "Which?"}]
    for _ in range(2):  # each is asked: the page is another
        answer = await asking.chat(db, alice, model, "agent", said, None, 300)
        assert answer.said == '{"colour": "blue"}'
    assert (len(scripted.got), await spent_by(db, alice), await spent_by(db, bob)) == (2, 4000, 0)
    with pytest.raises(BudgetSpent):
        await asking.chat(db, alice, model, "agent", said, None, 0)
    assert len(scripted.got) == 2


async def test_of_two_turns_at_once_one_is_asked_where_the_month_has_room_for_one(
    db, admin, alice, bob, model, scripted
):
    scripted.answer, scripted.delay = '{"colour": "blue"}', 1
    said = [{"role": "user", "content": "Which?"}]
    about = await model.estimate_chat(said, None)
    await admin.execute(
        "INSERT INTO model_answers (user_id, kind, content_hash, cost) VALUES (%s, 'copy', 'h', %s)",
        [alice, 3_000_000 - about * 3 // 2],
    )
    one, other, his = await asyncio.gather(
        *(asking.chat(db, who, model, "agent", said, None, 300) for who in (alice, alice, bob)),
        return_exceptions=True,
    )
    assert sorted(type(told).__name__ for told in (one, other)) == ["Answer", "BudgetSpent"]
    assert his.said == '{"colour": "blue"}'
    assert (len(scripted.got), await spent_by(db, bob)) == (2, 2000)
    assert await spent_by(db, alice) == 3_000_000 - about * 3 // 2 + 2000


async def test_a_turn_that_is_cut_off_counts_as_it_was_set_aside(db, alice, bob, model, scripted):
    scripted.answer, scripted.delay = '{"colour": "blue"}', 30
    said = [{"role": "user", "content": "Which?"}]
    asks = asyncio.create_task(asking.chat(db, alice, model, "agent", said, None, 300))
    while not scripted.got:
        await asyncio.sleep(0.05)
    asks.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asks
    assert await spent_by(db, alice) == await model.estimate_chat(said, None) > 0
    assert await spent_by(db, bob) == 0


async def test_a_turn_that_fails_costs_what_it_did(db, alice, bob, model, scripted):
    said = [{"role": "user", "content": "Which?"}]
    for answer, cost in ((500, 0), ("", 4000)):  # "": both models are asked, and paid
        scripted.answer = answer
        with pytest.raises(ModelAway):
            await asking.chat(db, alice, model, "agent", said, None, 300)
        assert await spent_by(db, alice) == cost
    assert await spent_by(db, bob) == 0

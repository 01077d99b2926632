"""A seller's questions to a model: counted before they are asked, within the month's budget, each asked once.

No transaction is open while the model thinks. What was set aside for a question whose process ended stays
counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.content.model import SECONDS, Answer, Model
from everystall.db import Database
from everystall.errors import AskedAlready, BudgetSpent, EverystallError, ModelAway, NoModel, NotFound
from everystall.models import ModelAnswer

T = TypeVar("T", bound=BaseModel)

#: Days for which answers and what they cost are kept.
KEPT_DAYS: Final = 90
#: Seconds after which a question that nobody answered was its process's last.
_OVER: Final = 2 * SECONDS


@dataclass(frozen=True)
class Question(Generic[T]):
    """`kind` as in ModelAnswer; `images` are JPEGs."""

    kind: str
    prompt: str
    images: Sequence[bytes]
    answer_type: type[T]
    #: What its answer is looked at with afterwards; all of it is of the prompt and the images.
    about: Mapping[str, Any] = field(default_factory=dict)

    def hash(self, model: str) -> str:
        parts = [
            self.kind,
            model,
            self.prompt,
            json.dumps(self.answer_type.model_json_schema(), sort_keys=True),
        ]
        parts += [hashlib.sha256(image).hexdigest() for image in self.images]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Spent:
    """Millionths of a dollar, this month (UTC): of one seller, and what they may."""

    spent: int
    budget: int

    @property
    def left(self) -> int:
        return max(0, self.budget - self.spent)


async def spent(session: AsyncSession, budget_cents: int) -> Spent:
    month = func.date_trunc("month", func.now(), "UTC")
    said = await session.scalar(
        select(func.coalesce(func.sum(ModelAnswer.cost), 0)).where(ModelAnswer.asked_at >= month)
    )
    return Spent(int(said or 0), budget_cents * 10_000)


async def estimate(model: Model, question: Question[T]) -> int:
    """Millionths of a dollar that it will cost, about."""
    return await model.estimate(question.prompt, len(question.images), question.answer_type)


async def ask(db: Database, user_id: UUID, model: Model, question: Question[T], budget_cents: int) -> UUID:
    """The id of its answer, new or kept. Raises NoModel, BudgetSpent, AskedAlready, ModelDenied,
    ModelAway."""
    if not model.ready:
        raise NoModel
    name, cost = question.hash(model.name), await estimate(model, question)
    async with _alone(db, user_id) as session:
        if (kept := await _find_kept(session, name)) is not None:
            return kept
        id = await _set_aside(session, user_id, question.kind, name, cost, budget_cents)
    async with _settled_if_it_fails(db, user_id, id):
        answer = await model.answer(question.kind, question.prompt, question.images, question.answer_type)
    await _settle(db, user_id, id, {
        **_paid(answer), "answer": {"said": answer.said.model_dump(mode="json"), "about": question.about},
    })  # fmt: skip
    return id


async def chat(
    db: Database, user_id: UUID, model: Model, kind: str, messages: Sequence[Mapping[str, Any]],
    schema: Mapping[str, Any] | None, budget_cents: int,
) -> Answer[str]:  # fmt: skip
    """One turn of a conversation on a page, which is never asked again. Raises as `ask` does."""
    if not model.ready:
        raise NoModel
    name = hashlib.sha256(json.dumps([kind, list(messages)]).encode()).hexdigest()
    cost = await model.estimate_chat(messages, schema)
    async with _alone(db, user_id) as session:
        id = await _set_aside(session, user_id, kind, name, cost, budget_cents)
    async with _settled_if_it_fails(db, user_id, id):
        answer = await model.chat(kind, messages, schema)
    await _settle(db, user_id, id, _paid(answer))
    return answer


async def get_answer(
    session: AsyncSession, id: UUID, kind: str, answer_type: type[T]
) -> tuple[ModelAnswer, T]:
    """An answer of the seller's own to such a question, as long as it is kept and has that shape. Raises
    NotFound."""
    row = await session.get(ModelAnswer, id)
    if row is None or row.kind != kind or row.answer is None:
        raise NotFound
    try:
        return row, answer_type.model_validate(row.answer["said"])
    except ValidationError:  # of a version before
        raise NotFound from None


async def find_answer(session: AsyncSession, model: Model, question: Question[T]) -> UUID | None:
    """The one that is kept: to ask that again shows it, and costs nothing."""
    name = question.hash(model.name)
    kept = await session.scalars(
        select(ModelAnswer.id).where(ModelAnswer.content_hash == name, ModelAnswer.answer.is_not(None))
        .order_by(ModelAnswer.asked_at.desc()).limit(1)
    )  # fmt: skip
    return kept.first()


def dollars(cost: int) -> str:
    """2000 → "$0.002", 1234567 → "$1.23" """
    return f"${cost / 1e6:.2f}" if cost >= 100_000 or cost == 0 else f"${max(cost, 1000) / 1e6:.3f}"


@asynccontextmanager
async def _alone(db: Database, user_id: UUID) -> AsyncIterator[AsyncSession]:
    """One at a time: two at once would both find room in the month."""
    async with db.as_user(user_id) as session:
        await session.execute(
            text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"everystall.model {user_id}"}
        )
        yield session


async def _set_aside(
    session: AsyncSession, user_id: UUID, kind: str, name: str, cost: int, budget_cents: int
) -> UUID:
    """What it will cost, before it is asked. The row's id. Raises BudgetSpent."""
    now = await spent(session, budget_cents)
    if cost > now.left:
        raise BudgetSpent(
            f"This would cost about {dollars(cost)}, and of this month's {dollars(now.budget)} "
            f"{dollars(now.left)} are left."
        )
    row = ModelAnswer(user_id=user_id, kind=kind, content_hash=name, cost=cost)
    session.add(row)
    await session.flush()
    return row.id


@asynccontextmanager
async def _settled_if_it_fails(db: Database, user_id: UUID, id: UUID) -> AsyncIterator[None]:
    """With what it cost all the same. What is cut off, or costs nobody knows what, stays as it was set
    aside."""
    try:
        yield
    except EverystallError as e:
        lost = e.cost if isinstance(e, ModelAway) else 0
        await _settle(db, user_id, id, {} if lost is None else {"cost": lost})
        raise


def _paid(answer: Answer[Any]) -> dict[str, object]:
    return {"model": answer.model, "tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out,
            "cost": answer.cost}  # fmt: skip


async def _find_kept(session: AsyncSession, name: str) -> UUID | None:
    old = func.now() - timedelta(days=KEPT_DAYS)
    await session.execute(delete(ModelAnswer).where(ModelAnswer.asked_at < old))
    rows = await session.execute(
        select(ModelAnswer.id, ModelAnswer.answered_at, ModelAnswer.answer.is_not(None).label("said"),
               (ModelAnswer.asked_at > func.now() - timedelta(seconds=_OVER)).label("young"))
        .where(ModelAnswer.content_hash == name).order_by(ModelAnswer.asked_at.desc())
    )  # fmt: skip
    for row in rows:
        if row.said:
            return UUID(str(row.id))
        if row.answered_at is None and row.young:
            raise AskedAlready
    return None


async def _settle(db: Database, user_id: UUID, id: UUID, values: dict[str, object]) -> None:
    async with db.as_user(user_id) as session:
        row = await session.get(ModelAnswer, id)
        if row is None:  # with its seller
            return
        for name, value in values.items():
            setattr(row, name, value)
        row.answered_at = func.now()

"""What is remembered of a marketplace's pages between visits (browser/heal.py): read when a browser starts,
written once a step ended as it should, or a healed locator turned out wrong. Nothing of a seller's.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from everystall.browser.heal import Healed, Healing, Question
from everystall.content import prompts
from everystall.content.model import Model
from everystall.marketplaces import is_practice
from everystall.marketplaces.base import Draft, flat, strip_marker
from everystall.models import User
from everystall.worker import failures

if TYPE_CHECKING:
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: Before the layouts of the practice marketplaces.
PRACTICE = "practice "
#: What every live page shows as it was put: where it does not, the form was filled in wrongly.
TOLD = ("title", "description", "price")
#: Seconds for which a visit waits for a model; the browser is open meanwhile.
MODEL_SECONDS: Final = 20.0
#: Questions of one worker in a day. They are the installation's cost, under a cent each, and no seller's.
MOST_QUESTIONS: Final = 200
_DAY: Final = 24 * 3600.0


class Which(BaseModel):
    """Which of them it is. `ref`: one of those that were named, or none where it is not there or not sure."""

    ref: str | None


class Finder:
    """Asks the settings' model which element of a page is the one that was lost (browser/heal.py)."""

    def __init__(self, model: Model) -> None:
        self._model = model
        #: When it was asked in the last day, by time.monotonic().
        self._asked: deque[float] = deque()

    async def __call__(self, question: Question) -> str | None:
        """Raises ModelAway, ModelDenied. What was asked is in no log; tokens and cost are."""
        now = time.monotonic()
        while self._asked and self._asked[0] < now - _DAY:
            self._asked.popleft()
        if len(self._asked) >= MOST_QUESTIONS:
            log.warning("heals.not_asked", asked=MOST_QUESTIONS)
            return None
        self._asked.append(now)
        prompt = prompts.render(
            "finding", intent=question.intent, refs=", ".join(sorted(question.refs)), outline=question.outline
        )
        answer = await self._model.answer("heal", prompt, [], Which, seconds=MODEL_SECONDS)
        return answer.said.ref


def finder(model: Model) -> Finder | None:
    """None without a key: that rung is absent."""
    return Finder(model) if model.ready else None


async def remembered(visit: Visit) -> Healing:
    """What is known of the account's marketplace."""
    row = await visit.tools.db.ask(
        "SELECT * FROM everystall.known_targets(%(marketplace)s)", marketplace=visit.connection.marketplace
    )
    assert row is not None
    site = _site(visit)
    async with visit.tools.db.as_user(visit.lease.user_id) as session:
        email = await session.scalar(select(User.email))
    return Healing(
        looks={
            (target, layout.removeprefix(site)): look
            for target, layout, look in row.looks
            if layout.startswith(PRACTICE) == bool(site)
        },
        healed=[
            Healed(target, layout.removeprefix(site), *found)
            for target, layout, *found in row.locators
            if layout.startswith(PRACTICE) == bool(site)
        ],
        model=visit.tools.model,
        scrub=partial(failures.without_secrets, visit),
        names=_names(visit) | ({email} if email else set()),
    )


def _site(visit: Visit) -> str:
    """What stands before a layout: the practice marketplaces' pages are no others'."""
    return PRACTICE if is_practice(visit.connection.base_url) else ""


def keep_names_out(visit: Visit) -> None:
    """Whose account it is was just learned."""
    if visit.healing is not None:
        visit.healing.names |= _names(visit)


def _names(visit: Visit) -> set[str]:
    """The account's, as the site tells it and as the session does."""
    said = visit.form.read_account(visit.stored.to_json()) if visit.stored is not None else None
    known = (visit.connection.account_name, visit.connection.account_id, said and said.name, said and said.id)
    return {one for one in known if one}


def keep_out(visit: Visit, draft: Draft) -> None:
    """The seller's own words, which a page may show before they are written into it."""
    if visit.healing is not None:
        own = (
            draft.title, draft.description, draft.brand, draft.sku, strip_marker(draft.sku),
            draft.shipping.get("ships_from_zip"),
        )  # fmt: skip
        visit.healing.written.update(words for words in own if words)


def judge(visit: Visit, wrong: Sequence[str], shown: Mapping[str, Any], *, live: bool) -> None:
    """The form, or the live page after it, was compared with what we put. Where a live page differs in what
    sites may write their own way, nothing of it is known to be wrong, nor is what was healed known to be
    right."""
    healing = visit.healing
    if healing is None:
        return
    fields, all_right = flat(shown), not wrong
    wrong = [name for name in wrong if not live or name in TOLD]
    if not wrong:
        healing.good = healing.good or live
        healing.proved = healing.proved or (live and all_right)
    elif any(fields.get(name) not in (None, "", []) for name in wrong):  # not only what nobody can read
        for one in list(healing.used.values()):
            healing.fail(one)


def prove(visit: Visit) -> None:
    """What the step was to do is done, by the listing's own page."""
    if visit.healing is not None:
        visit.healing.good = visit.healing.proved = True


async def keep(visit: Visit) -> None:
    """A step ended: what came of it. Never the reason for which the step fails."""
    if visit.healing is None:
        return
    try:
        await _keep(visit, visit.healing)
    except (SQLAlchemyError, OSError) as e:
        log.warning("heals.not_kept", error=type(e).__name__)
    visit.healing.begin(noting=False)


async def keep_new(visit: Visit, known: Sequence[Healed]) -> int:
    """After a rehearsal (rehearse.py) whose form was as meant: what it found that was not `known` before,
    each as after its first verified run, since no live page followed; and what was wrong. How many of the
    first."""
    healing = visit.healing
    assert healing is not None
    for one in healing.failed:
        await _note(visit, one, worked=False)
    new = [one for one in healing.used.values() if one not in known]
    for one in new:
        await _note(visit, one, worked=True)
    return len(new)


async def _keep(visit: Visit, healing: Healing) -> None:
    for one in healing.failed:
        await _note(visit, one, worked=False)
    if healing.proved:
        for one in healing.used.values():
            if one.state != "promoted":
                await _note(visit, one, worked=True)
    if healing.good:
        for (target, layout), look in healing.changed().items():
            await visit.tools.db.ask(
                "SELECT everystall.remember_look(%(marketplace)s, %(target)s, %(layout)s, %(look)s)",
                marketplace=visit.connection.marketplace, target=target, layout=_site(visit) + layout,
                look=json.dumps(look),
            )  # fmt: skip
            healing.looks[target, layout] = look


async def _note(visit: Visit, one: Healed, *, worked: bool) -> None:
    await visit.tools.db.ask(
        "SELECT everystall.note_heal(%(marketplace)s, %(target)s, %(layout)s, %(locator)s, %(worked)s, "
        "%(by)s, %(before)s, %(after)s, %(picture)s)",
        marketplace=visit.connection.marketplace, target=one.target, layout=_site(visit) + one.layout,
        locator=one.locator, worked=worked, by=one.by, before=json.dumps(one.before),
        after=json.dumps(one.after), picture=one.picture,
    )  # fmt: skip

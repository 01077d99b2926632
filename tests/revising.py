"""A live listing changed by an adapter as the worker has it done, where nobody else touches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from everystall.marketplaces.base import Adapter, Draft, Filled, PhotoFile, Published, ReadBack, flat


def changes(before: Draft, draft: Draft) -> frozenset[str]:
    """The names of the fields that are other."""
    was, now = flat(before.model_dump(mode="json")), flat(draft.model_dump(mode="json"))
    return frozenset(name for name in {*was, *now} if was.get(name) != now.get(name))


async def revise(
    adapter: Adapter, page: Any, remote_id: str, before: Draft, draft: Draft,
    photos: Sequence[PhotoFile] = (), *, refused: Exception | None = None,
) -> tuple[Published, Filled]:  # fmt: skip
    """What the site answered, and what the form showed at last. `refused`: what arming raises."""
    forms: list[Filled] = []

    async def choose(form: Filled) -> frozenset[str]:
        forms.append(form)
        return changes(before, draft)

    async def arm(read: ReadBack) -> None:
        form = await read()
        forms.append(form)
        if refused is not None:
            raise refused

    answer = await adapter.revise(page, remote_id, draft, photos, choose, arm)
    return answer, forms[-1]

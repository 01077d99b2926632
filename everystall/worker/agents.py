"""The last rung of a publish on a site that changed (browser/agent.py): whether it is there, and what it is
given."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from everystall.browser import agent
from everystall.browser.agent import Absent, Agent, Said
from everystall.browser.looks import SHORT, nameless
from everystall.content import asking, prompts
from everystall.content.model import Model
from everystall.marketplaces import get_commits
from everystall.marketplaces.base import Draft, PhotoFile, flat, strip_marker
from everystall.settings import Settings
from everystall.worker import failures

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.worker.visit import Visit

#: Words of a listing that a model may read: what is chosen from a site's menus. All others have their name in
#: their place.
TOLD = frozenset({"category", "brand", "size", "condition", "colors", "shipping.payer", "shipping.carrier"})


def why_absent(settings: Settings) -> str | None:
    """In words; None: it is there."""
    if not agent.is_installed():
        return "it is not installed (`make agent`)"
    if not Model(settings).ready:
        return "there is no key for a model (OPENROUTER_API_KEY)"
    if settings.browser_cdp_url is not None:
        return "browsers run elsewhere (BROWSER_CDP_URL), where visits share one"
    return None


@contextmanager
def helping(
    visit: Visit, page: Page, draft: Draft, photos: Sequence[PhotoFile], before: Callable[[], Awaitable[None]]
) -> Iterator[None]:
    """Meanwhile it is asked where the page's other rungs stop. `before`: awaited before each of its acts."""
    page.helper = _helper(visit, draft, photos, before)
    try:
        yield
    finally:
        page.helper = None


def _helper(
    visit: Visit, draft: Draft, photos: Sequence[PhotoFile], before: Callable[[], Awaitable[None]]
) -> Agent | Absent:
    model, browser = visit.tools.agent, visit.browser
    if model is None or browser is None:
        return Absent(why_absent(visit.tools.settings) or "this worker has none")

    async def chat(messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None) -> Said:
        tools = visit.tools
        said = await asking.chat(
            tools.db, visit.lease.user_id, model, "agent", messages, schema, tools.settings.model_budget_cents
        )
        return Said(said.said, said.tokens_in, said.tokens_out)

    fields = {name: value for name, value in flat(draft.model_dump(mode="json")).items() if name != "photos"}
    hidden = {name: words for name, value in fields.items() if (words := _hidden(name, value))}
    if own := strip_marker(draft.sku):  # as a page may show it, too
        hidden["sku"].append(own)
    told = {name: f"{{{name}}}" if name in hidden else value for name, value in fields.items()}
    return Agent(
        browser, chat, fields, told, photos, get_commits(visit.connection.marketplace),
        prompts.render, scrub=partial(_impersonal, visit, hidden), before=before,
    )  # fmt: skip


def _hidden(name: str, value: Any) -> list[str]:
    """The words of a field that a model does not read."""
    if name in TOLD or name.startswith("specifics."):
        return []
    return [one for one in (value if isinstance(value, list) else [value]) if one and isinstance(one, str)]


def _impersonal(visit: Visit, hidden: Mapping[str, Sequence[str]], text: str) -> str:
    """What a model reads: no session, no name or e-mail of the account's or its seller's, and of the
    listing's words only those that it needs."""
    text = failures.without_secrets(visit, text)
    parts = [(part, name) for name, words in hidden.items() for one in words for part in _parts(one)]
    for part, name in sorted(parts, key=lambda pair: len(pair[0]), reverse=True):
        said = r"(?:\W|%[0-9a-f]{2})+".join(map(re.escape, part))
        place = f"{{{name}}}"
        text = re.sub(rf"(?<!\w){said}(?!\w)", place, text, flags=re.IGNORECASE)
        text = re.sub(rf"{re.escape(place)}(?:\W{{0,3}}{re.escape(place)})+", place, text)
    return nameless(text, visit.healing.names if visit.healing is not None else ())


def _parts(words: str) -> list[list[str]]:
    """A page may show only a part of a text, or write it its own way."""
    every = re.findall(r"\w+", words)
    if len("".join(every)) < SHORT:
        return []
    starts = range(0, max(len(every) - 4, 1), 5)
    return [every[start : start + 5 if start + 10 <= len(every) else None] for start in starts]

"""What we look for on a page, as data: an intent in words and the locators that find it, in order.

An adapter's pages.py is made of these and of nothing else that knows the site. No Playwright here, so
that targets can be read, stored and compared anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

#: none: reading, opening menus, filling · draft: the site keeps something only the seller sees ·
#: commit: a buyer can see the outcome. A commit target never heals and is clicked once.
Effect = Literal["none", "draft", "commit"]

#: login: signed out · second_factor: a code is asked for · captcha · blocked: "you look like a robot" ·
#: limited: an item or speed limit · busy: the site's own "try again later" page
ObstacleKind = Literal["login", "second_factor", "captcha", "blocked", "limited", "busy"]


@dataclass(frozen=True)
class Target:
    """One thing on a page. Each locator is a Playwright selector (`#id`, `[data-testid=x]`,
    `role=button[name="List"i]`, `text=…`, `internal:label="Title"i`), tried in order."""

    #: In words a stranger understands: "the listing's title". Healing and evidence read it.
    intent: str
    #: Two or more, most durable first.
    locators: tuple[str, ...]
    #: A selector of the frame the target is in, or none for the page itself.
    frame: str | None = None
    #: Never for a commit target, whatever is said here.
    heal: bool = True
    #: A model may say which one it is, or an agent do it. Not where nobody would see that it was another: a
    #: field that a site does without, and whose value no page shows.
    guess: bool = True
    effect: Effect = "none"
    #: The intent before its places were filled in: what heal.py remembers it by.
    key: str = ""
    #: What `named` filled them with.
    values: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.effect == "commit":
            object.__setattr__(self, "heal", False)
        if not self.key:
            object.__setattr__(self, "key", self.intent)

    def named(self, **values: str) -> Target:
        """The same target with `{name}` places filled in, quotes and backslashes escaped."""
        named = replace(self, intent=_fill(self.intent, values), values=tuple(values.items()))
        return replace(named, locators=tuple(named.filled(text) for text in self.locators))

    def filled(self, locator: str) -> str:
        """A locator with this target's values in its places."""
        safe = {k: v.replace("\\", "\\\\").replace('"', '\\"') for k, v in self.values}
        return _fill(locator, safe)


@dataclass(frozen=True)
class Obstacle:
    """A page that is not ours to work on: looked for before anything else, at every step."""

    kind: ObstacleKind
    #: What the seller reads, e.g. "Poshmark asks you to sign in".
    says: str
    #: Any visible one of these means the obstacle is there.
    locators: tuple[str, ...] = ()
    #: Any of these (regular expressions) found in the page's URL means it is there.
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """The walls round one marketplace's pages."""

    #: The obstacles, most telling first.
    obstacles: tuple[Obstacle, ...]
    #: Registrable domains that top-level pages may be on, without the base URL's own host ("poshmark.com").
    domains: tuple[str, ...]
    #: Further domains that a page may load parts from (CDN, captcha, payment), each with its source
    #: in NOTES.md; others are allowed and recorded.
    parts: tuple[str, ...] = ()


def _fill(text: str, values: dict[str, str]) -> str:
    """Like str.format for the named places only: selectors hold braces of their own."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text

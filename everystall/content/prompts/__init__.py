"""What a model is asked, a file each: words with {names} for what is put in. No session and no personal data
gets in: who renders one gives it a listing's text through `bare`, and nothing of accounts. What the agent is
asked (agent, step) has names in place of such texts (worker/agents.py).
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from string import Formatter


def render(name: str, **given: str) -> str:
    """The prompt, with exactly what it asks for. Raises KeyError where one is missing or too much."""
    text = _text(name)
    wanted = {field for _, field, _, _ in Formatter().parse(text) if field}
    if wanted != given.keys():
        raise KeyError(f"{name}: {sorted(wanted ^ given.keys())}")
    return text.format(**given)


def bare(text: str) -> str:
    """Without addresses of mails and pages, handles, telephone numbers and the like."""
    return _PERSONAL.sub(" ", text).strip() if _PERSONAL.search(text) else text


_PERSONAL = re.compile(
    r"\S+@\S+\.\w+|(?:https?://|www\.)\S+|(?<!\w)@\w{2,}"
    r"|(?<![\w$.])\+?(?:\(\d{3}\)[ .-]?|\d{3}[ .-])\d{3}[ .-]\d{4}(?!\w)|(?<!\w)\+\d[\d .()-]{8,}\d"
    r"|(?:venmo|paypal|cashapp|zelle|whatsapp|instagram|insta|ig|tel|phone|text me)\b\s*[:@]\s*\S+",
    re.IGNORECASE,
)


@cache
def _text(name: str) -> str:
    return (files(__package__) / f"{name}.md").read_text()

"""The marketplaces, by name. A form or an adapter is imported when it is asked for, never before."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from everystall.errors import BadRequest, listed

if TYPE_CHECKING:
    from everystall.browser.targets import Target
    from everystall.marketplaces.base import Adapter, Form

#: Name → label, in the order in which they are shown.
MARKETPLACES = {"poshmark": "Poshmark", "mercari": "Mercari", "ebay": "eBay"}


def get_form(marketplace: str) -> Form:
    """The pure half of a marketplace. Raises BadRequest for a name that is none."""
    _check(marketplace)
    return cast("Form", import_module(f"everystall.marketplaces.{marketplace}.form"))


def get_adapter(marketplace: str) -> Adapter:
    """The half that works a browser; for the worker only."""
    _check(marketplace)
    return cast("Adapter", import_module(f"everystall.marketplaces.{marketplace}.adapter").ADAPTER)


def get_commits(marketplace: str) -> list[Target]:
    """What publishes, saves or takes down there."""
    _check(marketplace)
    return [
        one
        for one in vars(import_module(f"everystall.marketplaces.{marketplace}.pages")).values()
        if getattr(one, "effect", None) == "commit"
    ]


def is_practice(url: str) -> bool:
    """Whether that is a practice marketplace's address: `everystall sandbox` serves them below .localhost."""
    return (urlsplit(url).hostname or "").endswith(".localhost")


def _check(marketplace: str) -> None:
    if marketplace not in MARKETPLACES:
        raise BadRequest(
            f"There is no marketplace {marketplace[:40]!r} here.",
            action=f"Use {listed(list(MARKETPLACES))}.",
        )

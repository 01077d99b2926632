"""Amounts as people type them into a form. What cannot be read raises ValueError, in words for its field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from everystall.inventory.pricing import HIGHEST_PRICE

T = TypeVar("T")
_DOLLARS: Final = re.compile(r"([+-]?)\s*\$?\s*(\d{1,8})(?:\.(\d{1,2}))?", re.ASCII)
_PERCENT: Final = re.compile(r"([+-]?)\s*(\d{1,4}(?:\.\d{1,2})?)\s*%?", re.ASCII)


def dollars_of(text: str, *, signed: bool = False) -> int:
    """ "12", "$12.50", with `signed` also "-2" → cents"""
    found = _DOLLARS.fullmatch(_plain(text))
    if found is None or (found[1] == "-" and not signed):
        raise ValueError("Write an amount in dollars, such as 12 or 12.50.")
    cents = int(found[2]) * 100 + int((found[3] or "").ljust(2, "0"))
    if cents > HIGHEST_PRICE:
        raise ValueError("That is more than a price here may be.")
    return -cents if found[1] == "-" else cents


def percent_of(text: str, least: float, most: float) -> float:
    found = _PERCENT.fullmatch(_plain(text))
    if found is None:
        raise ValueError("Write a percentage, such as 12 or 12.5.")
    percent = float(found[1] + found[2])
    if not least <= percent <= most:
        raise ValueError(f"That is {least:g} to {most:g} per cent.")
    return percent


def whole_of(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:9]) <= most:
        raise ValueError(f"Write a whole number, {least:,} to {most:,}.")
    return int(text)


def _plain(text: str) -> str:
    return text.replace(",", "").replace("\u2212", "-").strip()


class Typed:
    """A form's texts, and what is wrong with which of them."""

    def __init__(self, form: Mapping[str, Any]) -> None:
        self.texts = {
            name: value.replace("\x00", "").strip()[:200]
            for name, value in form.items()
            if isinstance(value, str)
        }
        self.wrong: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    def read(self, name: str, how: Callable[[str], T], unsaid: T) -> T:
        """What the field says; `unsaid` where it is empty, or wrong."""
        if not self[name]:
            return unsaid
        try:
            return how(self[name])
        except ValueError as error:
            self.wrong[name] = str(error)
            return unsaid

    def needed(self, name: str, how: Callable[[str], T], unsaid: T) -> T:
        """As `read`; an empty field is wrong, too."""
        if not self[name]:
            self.wrong[name] = "This is needed."
        return self.read(name, how, unsaid)

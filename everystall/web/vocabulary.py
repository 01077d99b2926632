"""The words that a listing is written in: categories and the sizes they take, conditions, colours."""

from __future__ import annotations

from fastapi import APIRouter

from everystall.marketplaces.base import COLORS, CONDITIONS
from everystall.marketplaces.taxonomy import CATEGORIES, SIZE_SCALES
from everystall.web.deps import Seller
from everystall.web.shapes import Shape

#: Where an error sends somebody who looks for a word.
PATH = "/api/vocabulary"

router = APIRouter(prefix=PATH, tags=["listings"])


class CategoryOut(Shape):
    #: What a listing's `category` names.
    id: str
    #: What a person reads, top to bottom.
    label: list[str]
    #: A key of `sizeScales`; null where no size is asked for.
    size_scale: str | None


class ConditionOut(Shape):
    id: str
    label: str


class VocabularyOut(Shape):
    categories: list[CategoryOut]
    #: The sizes of each scale as they are written here, smallest first.
    size_scales: dict[str, tuple[str, ...]]
    conditions: list[ConditionOut]
    colors: tuple[str, ...]


@router.get("")
async def get_vocabulary(who: Seller) -> VocabularyOut:
    return VocabularyOut(
        categories=[
            CategoryOut(id=one.key, label=list(one.label), size_scale=one.size_scale)
            for one in CATEGORIES.values()
        ],
        size_scales=SIZE_SCALES,
        conditions=[ConditionOut(id=key, label=label) for key, label in CONDITIONS.items()],
        colors=COLORS,
    )

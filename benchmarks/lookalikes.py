"""A seller's listings on three marketplaces, made up, with the truth beside them: which are the same thing,
which only look so, and what was edited on each. Seeded: the same seed makes the same listings."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from random import Random

from PIL import Image

from benchmarks import pictures
from everystall.content.imaging import fingerprint
from everystall.content.photos import Fingerprint
from everystall.inventory.traits import LiveListing
from everystall.marketplaces.base import Money

#: Makers as they are: of one word and of several, with apostrophes and ampersands, alike among themselves.
BRANDS = (
    "Northfell", "Alder & Finch", "Maren's", "Coastline Supply", "Hollis", "Hollister Park", "Vantro",
    "Belrose", "Tarn Outdoor", "Kestrel", "Lowe & Sons", "Juniper Lane", "Oakhurst", "Merrow",
    "Stellan", "Piet Vandal", "Arden", "Ardene Row", "Ferncliff", "Sable Street", "Quill", "Westmark",
    "Ridgeway", "Solveig", "Ombra", "Calder", "Calderwood", "Tessaly", "Bright Harbor", "Nuvola",
    "Field Theory", "Hartwell", "Petra K.", "Umber",
)  # fmt: skip
COLORS: dict[str, pictures.Color] = {
    "red": (190, 40, 45), "pink": (230, 150, 170), "orange": (225, 120, 50), "yellow": (230, 200, 80),
    "green": (60, 120, 70), "blue": (70, 110, 180), "purple": (110, 70, 140), "black": (35, 35, 38),
    "gray": (130, 130, 132), "white": (238, 238, 235), "cream": (235, 225, 200), "brown": (105, 70, 45),
    "navy": (30, 40, 80), "burgundy": (100, 25, 45),
}  # fmt: skip
STYLES = (
    "Relaxed", "Slim", "Cropped", "Oversized", "Classic", "Vintage", "Boho", "Retro", "Quilted", "Ribbed",
    "Lined", "Distressed", "Embroidered", "Floral", "Striped", "Graphic", "Western", "Pleated", "Ruffle",
    "Minimalist",
)  # fmt: skip
STUFFS = (
    "Cotton", "Linen", "Wool", "Denim", "Leather", "Silk", "Cashmere", "Corduroy", "Fleece", "Suede",
    "Canvas", "Velvet", "Knit", "Nylon", "Flannel", "Satin",
)  # fmt: skip
LETTERS = ("XS", "S", "M", "L", "XL", "XXL")
NUMBERS = tuple(str(n) for n in range(0, 18, 2))
SHOES = tuple(f"{n / 2:g}" for n in range(11, 26))
WAISTS = tuple(f"{w}x{i}" for w in (28, 30, 32, 33, 34, 36, 38) for i in (30, 32, 34))


@dataclass(frozen=True)
class Kind:
    """What is sold: its name and what other sellers call it, and how each site files it."""

    names: tuple[str, ...]
    category: tuple[str, ...]
    sizes: tuple[str, ...]
    cut: str


KINDS = (
    Kind(("Shirt", "Button Down", "Oxford Shirt"), ("Men", "Shirts"), LETTERS, "long sleeves"),
    Kind(("Tee", "T-Shirt", "Short Sleeve Top"), ("Women", "Tops"), LETTERS, "top"),
    Kind(("Hoodie", "Hooded Sweatshirt", "Pullover Hoodie"), ("Men", "Hoodies"), LETTERS, "long sleeves"),
    Kind(("Sweater", "Pullover", "Jumper"), ("Women", "Sweaters"), LETTERS, "long sleeves"),
    Kind(("Cardigan", "Cardigan Sweater", "Open Cardigan"), ("Women", "Sweaters"), LETTERS, "long sleeves"),
    Kind(("Jacket", "Coat", "Outerwear Jacket"), ("Men", "Jackets"), LETTERS, "long sleeves"),
    Kind(("Midi Dress", "Dress", "Sundress"), ("Women", "Dresses"), NUMBERS, "dress"),
    Kind(("Maxi Dress", "Long Dress", "Dress"), ("Women", "Dresses"), LETTERS, "dress"),
    Kind(("Jeans", "Denim Pants", "Straight Jeans"), ("Men", "Jeans"), WAISTS, "trousers"),
    Kind(("Chinos", "Khaki Pants", "Trousers"), ("Men", "Pants"), WAISTS, "trousers"),
    Kind(("Leggings", "Yoga Pants", "Athletic Leggings"), ("Women", "Pants"), LETTERS, "trousers"),
    Kind(("Sneakers", "Trainers", "Running Shoes"), ("Men", "Shoes"), SHOES, "shoe"),
    Kind(("Ankle Boots", "Booties", "Boots"), ("Women", "Shoes"), SHOES, "shoe"),
    Kind(("Loafers", "Slip Ons", "Flats"), ("Women", "Shoes"), SHOES, "shoe"),
    Kind(("Tote Bag", "Tote", "Shoulder Bag"), ("Women", "Bags"), (), "bag"),
    Kind(("Crossbody", "Crossbody Bag", "Purse"), ("Women", "Bags"), (), "bag"),
    Kind(("Board Game", "Game", "Tabletop Game"), ("Toys", "Games"), (), "box"),
    Kind(("Headphones", "Wireless Headphones", "Over Ear Headphones"), ("Electronics", "Audio"), (), "round"),
    Kind(("Dinner Plate", "Plate", "Serving Plate"), ("Home", "Dining"), (), "round"),
)


@dataclass(frozen=True)
class Thing:
    """One piece that a seller has."""

    id: int
    kind: Kind
    brand: str
    style: str
    stuff: str
    color: str
    size: str | None
    model: str
    condition: int
    cents: int
    sku: str
    look: pictures.Look
    photos: tuple[Image.Image, ...]


@dataclass
class World:
    """What `match` gets, and what it should find."""

    listings: list[LiveListing] = field(default_factory=list)
    #: By place in `listings`: the piece, and what was edited on that site.
    piece: list[int] = field(default_factory=list)
    edits: list[frozenset[str]] = field(default_factory=list)
    #: (i, j) of different accounts that look alike and are not the same: what kind of trap it is.
    traps: dict[tuple[int, int], str] = field(default_factory=dict)

    def truth(self) -> set[tuple[int, int]]:
        places: dict[int, list[int]] = {}
        for i, piece in enumerate(self.piece):
            places.setdefault(piece, []).append(i)
        return {
            (i, j)
            for held in places.values()
            for i, j in combinations(held, 2)
            if self.listings[i].account != self.listings[j].account
        }


@dataclass(frozen=True)
class Site:
    """What a marketplace asks for and does to photos. Odds of 1."""

    name: str
    sku: float
    colors: float
    quantities: bool
    square: float
    four_thirds: float
    frame: float
    conditions: tuple[str, ...]
    title: int


SITES = (
    Site("poshmark", 0.6, 0.85, False, 0.6, 0.0, 0.2,
         ("New With Tags (NWT)", "Like New", "Like New", "Good", "Fair"), 80),
    Site("mercari", 0.0, 0.4, False, 0.1, 0.6, 0.0, ("New", "Like new", "Like new", "Good", "Fair"), 40),
    Site("ebay", 0.75, 0.7, True, 0.1, 0.0, 0.2,
         ("New with tags", "New without tags", "Pre-owned - Excellent", "Pre-owned - Good",
          "Pre-owned - Fair"), 80),
)  # fmt: skip


class Seller:
    """Makes things up and lists them. `look_at` turns one photo as a site shows it into a fingerprint."""

    def __init__(
        self, seed: int, look_at: Callable[[Image.Image, Random], Fingerprint] | None = None
    ) -> None:
        self.rng = Random(seed)
        self.world = World()
        self._ground = self.rng.choice(pictures.GROUNDS)
        self._things = 0

    def new_thing(self) -> Thing:
        rng, kind = self.rng, self.rng.choice(KINDS)
        color = rng.choice(list(COLORS))
        look = pictures.new_look(rng, kind.cut, COLORS[color], self._ground)
        return self._again(
            Thing(
                id=0, kind=kind, brand=rng.choice(BRANDS), style=rng.choice(STYLES), stuff=rng.choice(STUFFS),
                color=color, size=rng.choice(kind.sizes) if kind.sizes else None,
                model=_model(rng) if rng.random() < 0.3 else "",
                condition=rng.choice((0, 1, 2, 3, 3, 3, 4)), cents=rng.randint(8, 120) * 100,
                sku="", look=look, photos=(),
            )
        )  # fmt: skip

    def _again(self, thing: Thing, shoot: bool = True, **changes: object) -> Thing:
        """Another piece like it."""
        self._things += 1
        made = replace(thing, id=self._things, sku=self._new_sku(), **changes)  # type: ignore[arg-type]
        if not shoot:
            return made
        shots = self.rng.choice((1, 2, 3, 3, 4, 4, 5))
        return replace(made, photos=tuple(self._shoot(made.look, shots)))

    def _shoot(self, look: pictures.Look, shots: int) -> list[Image.Image]:
        return pictures.shoot(look, shots, self.rng.getrandbits(32))

    def _new_sku(self) -> str:
        return f"{self.rng.choice('ABCDE')}{self.rng.randint(1, 40)}-{self._things}"

    # ---- a listing ----

    def list_on(self, site: Site, thing: Thing, quantity: int = 1) -> int:
        """Its place in the world's listings."""
        rng, edits = self.rng, set[str]()
        brand = self._brand(thing, edits)
        condition = site.conditions[thing.condition]
        self.world.listings.append(
            LiveListing(
                account=site.name,
                key=f"{rng.getrandbits(40):010x}",
                title=self._title(thing, site, brand, edits),
                brand=brand,
                size=self._size(thing, edits),
                price=Money(amount=self._price(thing, edits)),
                sku=self._told_sku(thing, site, edits),
                condition=condition,
                category=thing.kind.category,
                colors=(thing.color,) if rng.random() < site.colors else (),
                quantity=quantity if site.quantities else None,
                photos=self._photos(thing, site, edits),
            )
        )
        self.world.piece.append(thing.id)
        self.world.edits.append(frozenset(edits))
        return len(self.world.listings) - 1

    def _brand(self, thing: Thing, edits: set[str]) -> str | None:
        draw = self.rng.random()
        if draw < 0.12:
            edits.add("brand dropped")
            return None
        if draw < 0.2:
            edits.add("brand misspelt")
            at = self.rng.randrange(1, len(thing.brand) - 1)
            return thing.brand[:at] + thing.brand[at + 1 :]
        return thing.brand

    def _title(self, thing: Thing, site: Site, brand: str | None, edits: set[str]) -> str:
        rng = self.rng
        words = [brand or "", thing.model, thing.style, thing.stuff, thing.kind.names[0]]
        if rng.random() < 0.6:
            words.append(thing.color.capitalize())
        if thing.size and rng.random() < 0.5:
            words.append(f"Size {thing.size}")
        if rng.random() < 0.45:
            edits.add("retitled")
            words[4] = rng.choice(thing.kind.names)
            if rng.random() < 0.4:
                words[rng.choice((2, 3))] = ""
            if rng.random() < 0.3:
                words.append(rng.choice(("NWT", "Rare", "EUC", "Cute", "Trendy", "Y2K", "Must See")))
            if rng.random() < 0.4:
                rng.shuffle(words)
        title = " ".join(filter(None, words))
        if len(title) > site.title:
            title = title[: site.title].rsplit(" ", 1)[0]
        return title.upper() if rng.random() < 0.05 else title

    def _size(self, thing: Thing, edits: set[str]) -> str | None:
        size = thing.size
        if size is None:
            return "OS" if self.rng.random() < 0.3 else None
        draw = self.rng.random()
        if draw < 0.04:
            edits.add("size left out")
            return None
        if draw < 0.6:
            return size
        edits.add("size in other words")
        if size in LETTERS:
            long = {"XS": "X-Small", "S": "Small", "M": "Medium", "L": "Large", "XL": "X-Large", "XXL": "2XL"}
            return self.rng.choice((long[size], f"US {size}"))
        if "x" in size:
            waist, inseam = size.split("x")
            return self.rng.choice((f"W{waist} L{inseam}", f"{waist} x {inseam}", waist))
        return self.rng.choice((f"US {size}", f"{size} US", size.replace(".5", " 1/2")))

    def _price(self, thing: Thing, edits: set[str]) -> int:
        if self.rng.random() < 0.4:
            return thing.cents
        edits.add("price moved")
        return max(300, round(thing.cents * self.rng.uniform(0.75, 1.3) / 100) * 100)

    def _told_sku(self, thing: Thing, site: Site, edits: set[str]) -> str | None:
        if self.rng.random() < site.sku:
            return thing.sku
        edits.add("no SKU")
        return None

    def _photos(self, thing: Thing, site: Site, edits: set[str]) -> tuple[Fingerprint, ...]:
        rng, photos = self.rng, list(thing.photos)
        if len(photos) > 1 and rng.random() < 0.3:
            edits.add("photos reordered")
            rng.shuffle(photos)
        if len(photos) > 1 and rng.random() < 0.35:
            edits.add("fewer photos")
            photos = photos[: rng.randint(1, len(photos) - 1)]
        draw = rng.random()
        shaped: Callable[[Image.Image], Image.Image] = _as_it_is
        if draw < site.square:
            edits.add("cut to a square")
            shaped = _squared
        elif draw < site.square + site.four_thirds:
            edits.add("cut to 4:3")
            shaped = _four_thirds
        elif draw < site.square + site.four_thirds + site.frame:
            edits.add("framed on white")
            shaped = pictures.framed
        edits.add("recompressed")
        longest = rng.choice((120, 160, 200, 320))
        if longest < 320:
            edits.add("shrunk")
        return tuple(_fingerprint(pictures.resized(shaped(photo), longest), rng) for photo in photos)

    # ---- what looks alike and is not ----

    def trap(self, kind: str) -> None:
        """Two or more pieces that are easily taken for one another, on two sites."""
        if kind == "pieces":
            self._pieces()
            return
        make_pair = {"two sizes": self._two_sizes, "two colours": self._two_colours,
                     "stock photo": self._stock_photo, "relisted": self._relisted}[kind]  # fmt: skip
        one, other = make_pair(self.new_thing())
        here, there = self.rng.sample(SITES, 2)
        a, b = self.list_on(here, one), self.list_on(there, other)
        self.world.traps[a, b] = kind
        if kind == "relisted" or self.rng.random() < 0.5:  # the right one is there too
            c = self.list_on(here, other)
            if kind != "relisted":
                d = self.list_on(there, one)
                self.world.traps[c, d] = kind

    def _two_sizes(self, one: Thing) -> tuple[Thing, Thing]:
        while not one.kind.sizes:
            one = self.new_thing()
        sizes = one.kind.sizes
        at = sizes.index(one.size or "")
        size = sizes[at + 1 if at + 1 < len(sizes) else at - 1]
        other = self._again(one, shoot=self.rng.random() < 0.4, size=size)
        return one, replace(other, sku=one.sku) if self.rng.random() < 0.2 else other

    def _two_colours(self, one: Thing) -> tuple[Thing, Thing]:
        color = self.rng.choice([c for c in COLORS if c != one.color])
        look = one.look.in_color(COLORS[color])
        if self.rng.random() < 0.5:
            return one, self._again(one, color=color, look=look)
        # the maker's own pictures: the same but for the colour
        seed, shots = self.rng.getrandbits(32), len(one.photos)
        first, second = (tuple(pictures.shoot(each, shots, seed)) for each in (one.look, look))
        other = self._again(one, shoot=False, color=color, look=look, photos=second)
        return replace(one, photos=first), other

    def _stock_photo(self, one: Thing) -> tuple[Thing, Thing]:
        """Something else of the same maker and kind, with the same first photo."""
        rng = self.rng
        other = self._again(
            one, shoot=False,
            style=rng.choice([s for s in STYLES if s != one.style]),
            stuff=rng.choice([s for s in STUFFS if s != one.stuff]),
            model=_model(rng) if one.model else "",
            condition=rng.randrange(5), cents=rng.randint(8, 120) * 100,
            size=rng.choice(one.kind.sizes) if one.kind.sizes else None,
        )  # fmt: skip
        own = self._shoot(replace(one.look, seed=rng.getrandbits(32)), rng.randint(0, 3) + 1)[1:]
        return one, replace(other, photos=(one.photos[0], *own))

    def _relisted(self, one: Thing) -> tuple[Thing, Thing]:
        """The same once more, listed again while the old one still stands there."""
        cents = round(one.cents * self.rng.uniform(0.8, 1.0) / 100) * 100
        return one, self._again(one, shoot=False, cents=cents)

    def _pieces(self) -> None:
        """Several of the same: one listing of three on a site that counts, three on a site that does not; or
        two and two."""
        one = self.new_thing()
        counts = next(site for site in SITES if site.quantities)
        single = self.rng.choice([site for site in SITES if not site.quantities])
        twins = [self._again(one, shoot=False) for _ in range(3)]
        if self.rng.random() < 0.5:
            many = self.list_on(counts, one, quantity=3)
            for twin in twins:
                self.world.traps[many, self.list_on(single, twin)] = "pieces"
            return
        here = [self.list_on(counts, twin) for twin in twins[:2]]
        there = [self.list_on(single, twin) for twin in twins[:2]]
        self.world.traps[here[0], there[1]] = self.world.traps[here[1], there[0]] = "pieces"


TRAPS = ("two sizes", "two colours", "stock photo", "relisted", "pieces")


def make(seed: int, things: int, traps: int) -> World:
    """`things` pieces on two or three sites each, a quarter as many on one alone, `traps` of each kind."""
    seller = Seller(seed)
    for _ in range(things):
        thing = seller.new_thing()
        for site in seller.rng.sample(SITES, seller.rng.choice((2, 2, 3))):
            seller.list_on(site, thing)
    for _ in range(things // 4):
        seller.list_on(seller.rng.choice(SITES), seller.new_thing())
    for kind in TRAPS:
        for _ in range(traps):
            seller.trap(kind)
    return seller.world


# ---- parts ----------------------------------------------------------------------------------------


def _model(rng: Random) -> str:
    return f"{rng.choice(string.ascii_uppercase)}{rng.randint(10, 990)}"


def _as_it_is(photo: Image.Image) -> Image.Image:
    return photo


def _squared(photo: Image.Image) -> Image.Image:
    return pictures.cropped(photo, 1.0)


def _four_thirds(photo: Image.Image) -> Image.Image:
    return pictures.cropped(photo, 4 / 3 if photo.width >= photo.height else 3 / 4)


def _fingerprint(photo: Image.Image, rng: Random) -> Fingerprint:
    return Fingerprint.of(fingerprint(pictures.jpeg(photo, rng.choice((35, 50, 70, 85)))))

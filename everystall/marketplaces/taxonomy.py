"""What resellers sell, in our own words: categories and the sizes that go with them.

Each adapter's form.py maps these keys to its own site's menu. A category that a site has no place for
is a Problem there, never the nearest guess. Nothing here knows a site.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache


@dataclass(frozen=True)
class Category:
    """One leaf: what a listing's `category` names."""

    #: Dotted, stable for ever: listings store it ("women.dresses.midi").
    key: str
    #: What a person reads, top to bottom: ("Women", "Dresses", "Midi dresses").
    label: tuple[str, ...]
    #: A key of SIZE_SCALES, or None where a size is not asked for.
    size_scale: str | None = None

    @property
    def department(self) -> str:
        """The first part of the key: "women", "home", …"""
        return self.key.split(".", 1)[0]


def _halves(first: float, last: float, suffix: str = "") -> tuple[str, ...]:
    """ "5", "5.5", "6", … as sizes are written."""
    return tuple(f"{n / 2:g}{suffix}" for n in range(int(first * 2), int(last * 2) + 1))


_ALPHA = ("XXS", "XS", "S", "M", "L", "XL", "XXL", "3XL", "4XL", "5XL")
_PLUS = ("1X", "2X", "3X", "4X", "5X")
_EVEN = ("00", *map(str, range(0, 34, 2)))
_ODD = tuple(map(str, range(1, 18, 2)))
_TALL = ("MT", "LT", "XLT", "XXLT", "3XLT", "4XLT")
_CUPS = ("AA", "A", "B", "C", "D", "DD", "DDD", "G")
_WAISTS = (*range(26, 41), 42, 44, 46, 48, 50)

#: Scale → its sizes as they are written here, smallest first. US sizes.
SIZE_SCALES: dict[str, tuple[str, ...]] = {
    # letters, plus sizes, misses' numbers (even), juniors' numbers (odd)
    "women_clothing": (*_ALPHA, *_PLUS, *_EVEN, *_ODD, "One Size"),
    # the same; from 23 up, a bare number up to 34 is the waist in inches
    "women_pants": (*_ALPHA, *_PLUS, "00", *map(str, range(0, 22, 2)), *_ODD[:-1], *map(str, range(22, 35))),
    # band and cup
    "bras": tuple(f"{band}{cup}" for band in range(30, 46, 2) for cup in _CUPS),
    "men_clothing": (*_ALPHA, *_TALL, "One Size"),
    # waist, or waist x inseam, in inches; letters for what has elastic
    "men_pants": (
        *_ALPHA,
        *map(str, _WAISTS),
        *(f"{waist}x{inseam}" for waist in _WAISTS for inseam in range(28, 37)),
    ),
    # chest and length (Short, Regular, Long)
    "men_suits": tuple(f"{chest}{length}" for chest in range(34, 58, 2) for length in "SRL"),
    "women_shoes": _halves(4, 14),
    "men_shoes": _halves(5, 16),
    # C: infants and toddlers, Y: youth
    "kids_shoes": (*_halves(0, 13.5, "C"), *_halves(1, 7, "Y")),
    # by age
    "baby": (
        "Preemie", "Newborn", "0-3 Months", "3-6 Months", "6-9 Months", "9-12 Months", "12-18 Months",
        "18-24 Months", "2T", "3T", "4T", "5T", "One Size",
    ),
    "kids": (
        "XS", "S", "M", "L", "XL",
        "4", "5", "6", "6X", "7", "8", "10", "12", "14", "16", "18", "20", "One Size",
    ),
    "rings": _halves(3, 15),
    "hats": (
        "One Size", "XS", "S", "M", "L", "XL", "XXL", "S/M", "L/XL",
        "6 7/8", "7", "7 1/8", "7 1/4", "7 3/8", "7 1/2", "7 5/8", "7 3/4", "7 7/8", "8",
    ),
    "belts": ("XS", "S", "M", "L", "XL", "XXL", *map(str, range(24, 52, 2)), "One Size"),
    "accessories": ("One Size", "XS", "S", "M", "L", "XL", "S/M", "L/XL"),
    "bedding": (
        "Crib", "Twin", "Twin XL", "Full", "Full/Queen", "Queen", "King", "California King", "One Size",
    ),
    "pets": ("XXS", "XS", "S", "M", "L", "XL", "XXL", "One Size"),
    "one_size": ("One Size",),
}  # fmt: skip

# One line is one leaf: key | what the leaf is called | size scale (or nothing). The headings above it
# make the rest of the label.
_TABLE = """
# Women > Dresses
women.dresses.mini | Mini dresses | women_clothing
women.dresses.midi | Midi dresses | women_clothing
women.dresses.maxi | Maxi dresses | women_clothing
women.dresses.formal | Formal & prom dresses | women_clothing
women.dresses.wedding | Wedding dresses | women_clothing
# Women > Tops
women.tops.blouses | Blouses | women_clothing
women.tops.button_downs | Button-down shirts | women_clothing
women.tops.tees | T-shirts | women_clothing
women.tops.tanks | Tank tops & camisoles | women_clothing
women.tops.bodysuits | Bodysuits | women_clothing
women.tops.tunics | Tunics | women_clothing
women.tops.hoodies | Hoodies & sweatshirts | women_clothing
# Women > Sweaters
women.sweaters.cardigans | Cardigans | women_clothing
women.sweaters.crewnecks | Crew-neck sweaters | women_clothing
women.sweaters.v_necks | V-neck sweaters | women_clothing
women.sweaters.turtlenecks | Turtlenecks & cowl necks | women_clothing
# Women > Coats & jackets
women.coats.blazers | Blazers & suit jackets | women_clothing
women.coats.jean_jackets | Jean jackets | women_clothing
women.coats.leather | Leather jackets | women_clothing
women.coats.puffers | Puffer jackets | women_clothing
women.coats.trench | Trench coats | women_clothing
women.coats.pea_coats | Pea coats | women_clothing
women.coats.vests | Vests | women_clothing
# Women > Jeans
women.jeans.skinny | Skinny jeans | women_pants
women.jeans.straight | Straight-leg jeans | women_pants
women.jeans.boot_cut | Boot-cut jeans | women_pants
women.jeans.wide_leg | Flare & wide-leg jeans | women_pants
women.jeans.overalls | Overalls | women_pants
# Women > Pants & shorts
women.pants.trousers | Trousers & dress pants | women_pants
women.pants.leggings | Leggings | women_clothing
women.pants.joggers | Track pants & joggers | women_clothing
women.pants.capris | Capris & cropped pants | women_pants
women.pants.jumpsuits | Jumpsuits & rompers | women_clothing
women.shorts.denim | Denim shorts | women_pants
women.shorts.athletic | Athletic shorts | women_clothing
women.shorts.bermuda | Bermuda shorts | women_pants
# Women > Skirts
women.skirts.mini | Mini skirts | women_clothing
women.skirts.midi | Midi skirts | women_clothing
women.skirts.maxi | Maxi skirts | women_clothing
women.skirts.pencil | Pencil skirts | women_clothing
# Women > Swim & intimates
women.swim.bikinis | Bikinis & two-pieces | women_clothing
women.swim.one_pieces | One-piece swimsuits | women_clothing
women.swim.coverups | Cover-ups | women_clothing
women.intimates.bras | Bras | bras
women.intimates.sports_bras | Sports bras | women_clothing
women.intimates.pajamas | Pajamas | women_clothing
women.intimates.robes | Robes | women_clothing
# Women > Shoes
women.shoes.sneakers | Sneakers | women_shoes
women.shoes.athletic | Athletic shoes | women_shoes
women.shoes.boots | Boots | women_shoes
women.shoes.ankle_boots | Ankle boots & booties | women_shoes
women.shoes.heels | Heels | women_shoes
women.shoes.flats | Flats & loafers | women_shoes
women.shoes.sandals | Sandals | women_shoes
women.shoes.mules | Mules & clogs | women_shoes
women.shoes.slippers | Slippers | women_shoes
# Women > Bags
women.bags.totes | Tote bags | one_size
women.bags.crossbody | Crossbody bags | one_size
women.bags.shoulder | Shoulder bags | one_size
women.bags.satchels | Satchels | one_size
women.bags.hobos | Hobo bags | one_size
women.bags.backpacks | Backpacks | one_size
women.bags.clutches | Clutches & wristlets | one_size
women.bags.cosmetic | Cosmetic bags | one_size
women.bags.wallets | Wallets | one_size
# Women > Accessories
women.accessories.belts | Belts | belts
women.accessories.hats | Hats | hats
women.accessories.scarves | Scarves & wraps | one_size
women.accessories.sunglasses | Sunglasses | one_size
women.accessories.gloves | Gloves & mittens | accessories
women.accessories.hair | Hair accessories | one_size
women.accessories.watches | Watches | one_size
# Women > Jewelry
women.jewelry.necklaces | Necklaces | one_size
women.jewelry.earrings | Earrings | one_size
women.jewelry.bracelets | Bracelets | one_size
women.jewelry.rings | Rings | rings
women.jewelry.brooches | Brooches & pins | one_size
# Men > Shirts
men.shirts.tees | T-shirts | men_clothing
men.shirts.polos | Polo shirts | men_clothing
men.shirts.casual | Casual button-down shirts | men_clothing
men.shirts.dress | Dress shirts | men_clothing
men.shirts.hoodies | Hoodies & sweatshirts | men_clothing
men.shirts.tanks | Tank tops | men_clothing
men.shirts.jerseys | Jerseys | men_clothing
# Men > Sweaters
men.sweaters.cardigans | Cardigans | men_clothing
men.sweaters.crewnecks | Crew-neck sweaters | men_clothing
men.sweaters.v_necks | V-neck sweaters | men_clothing
# Men > Coats & jackets
men.coats.bombers | Bomber & varsity jackets | men_clothing
men.coats.puffers | Puffer jackets | men_clothing
men.coats.pea_coats | Pea coats | men_clothing
men.coats.rain | Raincoats | men_clothing
men.coats.windbreakers | Windbreakers | men_clothing
men.coats.vests | Vests | men_clothing
men.suits.blazers | Blazers & sport coats | men_suits
men.suits.suits | Suits | men_suits
# Men > Jeans, pants & shorts
men.jeans.straight | Straight-leg jeans | men_pants
men.jeans.slim | Slim jeans | men_pants
men.jeans.relaxed | Relaxed jeans | men_pants
men.jeans.boot_cut | Boot-cut jeans | men_pants
men.pants.chinos | Chinos & khakis | men_pants
men.pants.cargo | Cargo pants | men_pants
men.pants.dress | Dress pants | men_pants
men.pants.joggers | Sweatpants & joggers | men_clothing
men.shorts.athletic | Athletic shorts | men_clothing
men.shorts.cargo | Cargo shorts | men_pants
men.shorts.chino | Chino & flat-front shorts | men_pants
men.swim.trunks | Swim trunks & board shorts | men_pants
# Men > Shoes
men.shoes.sneakers | Sneakers | men_shoes
men.shoes.athletic | Athletic shoes | men_shoes
men.shoes.boots | Boots | men_shoes
men.shoes.loafers | Loafers & slip-ons | men_shoes
men.shoes.oxfords | Oxfords & dress shoes | men_shoes
men.shoes.sandals | Sandals & flip-flops | men_shoes
# Men > Accessories
men.accessories.belts | Belts | belts
men.accessories.hats | Hats | hats
men.accessories.ties | Ties | one_size
men.accessories.sunglasses | Sunglasses | one_size
men.accessories.watches | Watches | one_size
men.accessories.wallets | Wallets | one_size
men.accessories.jewelry | Jewelry | one_size
men.bags.backpacks | Backpacks | one_size
men.bags.briefcases | Briefcases & messenger bags | one_size
# Kids > Girls
kids.girls.tops | Tops & T-shirts | kids
kids.girls.dresses | Dresses | kids
kids.girls.bottoms | Bottoms | kids
kids.girls.coats | Coats & jackets | kids
kids.girls.swim | Swimwear | kids
kids.girls.shoes | Shoes | kids_shoes
# Kids > Boys
kids.boys.tops | Tops & T-shirts | kids
kids.boys.bottoms | Bottoms | kids
kids.boys.coats | Coats & jackets | kids
kids.boys.swim | Swimwear | kids
kids.boys.shoes | Shoes | kids_shoes
# Kids > Baby & toddler
kids.baby.girls_tops | Girls' tops | baby
kids.baby.girls_bottoms | Girls' bottoms | baby
kids.baby.girls_dresses | Girls' dresses | baby
kids.baby.girls_one_pieces | Girls' one-pieces | baby
kids.baby.boys_tops | Boys' tops | baby
kids.baby.boys_bottoms | Boys' bottoms | baby
kids.baby.boys_one_pieces | Boys' one-pieces | baby
# Toys & games
toys.action_figures | Action figures & playsets
toys.building | Building sets & blocks
toys.vehicles | Cars & vehicles
toys.dolls | Dolls & accessories
toys.plush | Stuffed animals
toys.board_games | Board games
toys.puzzles | Puzzles
toys.learning | Learning toys
# Home > Decor
home.wall_art | Wall art, prints & posters
home.mirrors | Mirrors
home.clocks | Clocks
home.vases | Vases
home.candles | Candles & candle holders
home.pillows | Accent pillows
home.picture_frames | Picture frames
home.baskets | Baskets & bins
home.curtains | Curtains & drapes
home.sculptures | Sculptures & figurines
home.holiday | Holiday decor
# Home > Kitchen & dining
home.kitchen.bakeware | Bakeware
home.kitchen.cookware | Cookware
home.kitchen.utensils | Cooking utensils
home.kitchen.storage | Food storage
home.kitchen.knives | Knives & cutlery
home.kitchen.coffee | Coffee & tea accessories
home.dining.dinnerware | Dinnerware
home.dining.drinkware | Glasses & drinkware
home.dining.mugs | Mugs
home.dining.flatware | Flatware
home.dining.serveware | Serveware
home.dining.linens | Table linens
# Home > Bed & bath
home.bedding.blankets | Blankets & throws
home.bedding.comforters | Comforters | bedding
home.bedding.duvets | Duvet covers | bedding
home.bedding.quilts | Quilts | bedding
home.bedding.sheets | Sheets | bedding
home.bath.towels | Bath towels
home.bath.shower_curtains | Shower curtains
# Electronics
electronics.phones | Cell phones
electronics.phone_cases | Phone cases
electronics.tablets | Tablets
electronics.laptops | Laptops
electronics.headphones | Headphones
electronics.speakers | Portable speakers
electronics.cameras | Digital cameras
electronics.film_cameras | Film cameras
electronics.lenses | Camera lenses
electronics.smartwatches | Smartwatches
electronics.consoles | Game consoles
electronics.controllers | Game controllers
electronics.video_games | Video games
electronics.keyboards | Computer keyboards
# Music, films & books
media.vinyl | Vinyl records
media.cds | CDs
media.dvds | DVDs & Blu-ray discs
books.fiction | Fiction books
books.nonfiction | Nonfiction books
books.children | Children's books
books.textbooks | Textbooks
books.cookbooks | Cookbooks
# Collectibles
collectibles.trading_cards | Trading cards
collectibles.sports_cards | Sports trading cards
collectibles.comics | Comic books
collectibles.figurines | Figurines
collectibles.postcards | Postcards
# Sports & outdoors
sports.water_bottles | Water bottles
sports.yoga | Yoga mats & gear
sports.golf_clubs | Golf clubs
sports.cycling | Bike parts & accessories
sports.camping | Camping gear
# Beauty
beauty.makeup.eyes | Eye makeup
beauty.makeup.face | Face makeup
beauty.makeup.lips | Lip makeup
beauty.skincare | Skin care
beauty.hair | Hair care
beauty.fragrance | Perfume & cologne
# Pets
pets.dog.clothing | Dog clothing | pets
pets.dog.collars | Dog collars & leashes | pets
pets.dog.toys | Dog toys
pets.cat.toys | Cat toys
"""


def _leaves() -> Iterator[Category]:
    above: tuple[str, ...] = ()
    for line in filter(None, map(str.strip, _TABLE.splitlines())):
        if line.startswith("#"):
            above = tuple(line.removeprefix("#").strip().split(" > "))
            continue
        key, label, scale, *_ = (*map(str.strip, line.split("|")), "")
        yield Category(key, (*above, label), scale or None)


#: Key → leaf, in the order in which they are shown.
CATEGORIES: dict[str, Category] = {category.key: category for category in _leaves()}

#: Ways of writing that mean one of ours.
_SAME = {
    "OS": "One Size", "OSFA": "One Size", "O/S": "One Size", "2XS": "XXS", "2XL": "XXL", "XXXL": "3XL",
    "XXXXL": "4XL", "2XLT": "XXLT", "XSMALL": "XS", "SMALL": "S", "MEDIUM": "M", "LARGE": "L", "XLARGE": "XL",
    "EXTRASMALL": "XS", "EXTRALARGE": "XL", "NB": "Newborn", "CALKING": "California King",
}  # fmt: skip


def find_category(key: str | None) -> Category | None:
    """The leaf of that key, or None."""
    return CATEGORIES.get(key or "")


def find_size(scale: str, text: str) -> str | None:
    """`text` as the scale writes it ("xl" → "XL", "32 X 30" → "32x30", "0-3 mos" → "0-3 Months"), or None
    when the scale has no such size."""
    ours = {_bare(size): size for size in SIZE_SCALES[scale]}
    bare = _bare(
        re.sub(r"\b(months?|mos?)\b\.?|(?<=\d)m(os?)?$", "Months", text.strip(), flags=re.IGNORECASE)
    )
    bare = re.sub(r"^US|(?<=\d)US$", "", bare)
    return ours.get(bare) or ours.get(_bare(_SAME.get(bare, "")))


def scales_at(places: Mapping[str, tuple[str, ...]], path: tuple[str, ...], key: str | None) -> list[str]:
    """The size scales of what a site keeps at `path` of its menu. `places`: our keys → its paths. Where the
    listing's own `key` leads there, that one's alone, since it knows more of the thing."""
    keys = [key] if key and places.get(key) == path else [one for one in places if places[one] == path]
    found = (find_category(one) for one in keys)
    return list(dict.fromkeys(one.size_scale for one in found if one and one.size_scale))


def find_size_in(scales: Sequence[str], text: str) -> str | None:
    """As `find_size`, in the first of these that has it."""
    return next(filter(None, (find_size(scale, text) for scale in scales)), None)


def search(text: str, limit: int = 20) -> list[Category]:
    """The leaves whose labels hold every word of `text` (by its beginning), nearest first."""
    words = _words(text)
    if not words:
        return []
    found = []
    for place, category in enumerate(CATEGORIES.values()):
        leaf, whole = _words(category.label[-1]), _words(" ".join(category.label))
        if all(any(have.startswith(word) for have in whole) for word in words):
            in_leaf = sum(any(have.startswith(word) for have in leaf) for word in words)
            found.append((-in_leaf, len(leaf), place, category))
    return [category for *_, category in sorted(found, key=lambda row: row[:3])[:limit]]


def near(text: str, limit: int = 3) -> list[Category]:
    """What somebody may have meant by a key that is none: the leaves that share most words with it, in key
    or label, slips of the pen forgiven ("sneeker" → "women.shoes.sneakers"). None rather than a guess where
    only the department is shared."""
    words = list(dict.fromkeys(_words(text)))[:8]
    likeness = cache(_likeness)
    found = []
    for place, category in enumerate(CATEGORIES.values()):
        department, _, path = category.key.replace("_", " ").partition(".")
        above = _words(f"{department} {category.label[0]}")
        own = _words(" ".join([path, *category.label[1:]]))
        leaf = _words(category.label[-1])
        shared = sum(max(likeness(word, have) for have in own) for word in words)
        in_department = sum(word in above for word in words)
        if shared or (words and in_department == len(words)):
            spread = sum(have in words for have in own) + sum(have in words for have in leaf) / len(leaf)
            found.append(((-shared, -in_department), (-spread, place), category))
    found.sort(key=lambda row: row[:2])
    return [category for rank, _, category in found[:limit] if rank == found[0][0]]


def _likeness(word: str, have: str) -> float:
    """1 for the same, less for its beginning or a slip of the pen, 0 for another word."""
    if word == have:
        return 1.0
    if len(word) < 4:
        return 0.0
    if have.startswith(word):
        return 0.9
    return 0.8 if SequenceMatcher(None, word, have).ratio() >= 0.8 else 0.0


def _bare(text: str) -> str:
    return (
        re.sub(r"[\s_-]+", "", text).upper() if "/" not in text else re.sub(r"\s+", " ", text.strip()).upper()
    )


def _words(text: str) -> list[str]:
    return [_singular(word) for word in re.findall(r"[a-z0-9]+", text.lower().replace("'", ""))]


def _singular(word: str) -> str:
    if re.search(r"(ss|sh|ch|x)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word

"""Mercari's menu as far as we sell into it: our categories and sizes in the site's own words.

A category that Mercari has no place for is left out, never put in the nearest one. Sizes are found by
what the site's label itself says ("M (8-10)" holds an 8), never by likeness. Sources in NOTES.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from everystall.marketplaces import taxonomy

# key | the site's menu from the top | size group (or nothing: the site asks for no size there)
# {age}: the last step depends on the size; see kids_leaf.
_TABLE = """
women.dresses.mini | Women > Dresses > Above knee, mini | women
women.dresses.midi | Women > Dresses > Midi | women
women.dresses.maxi | Women > Dresses > Maxi | women
women.dresses.formal | Women > Dresses > Other | women
women.dresses.wedding | Women > Dresses > Other | women
women.tops.blouses | Women > Tops & blouses > Blouse | women
women.tops.button_downs | Women > Tops & blouses > Button down shirt | women
women.tops.tees | Women > Tops & blouses > T-shirts | women
women.tops.tanks | Women > Tops & blouses > Tank Tops | women
women.tops.bodysuits | Women > Tops & blouses > Bodysuits | women
women.tops.tunics | Women > Tops & blouses > Tunic | women
women.tops.hoodies | Women > Athletic apparel > Athletic Hoodies | women
women.sweaters.cardigans | Women > Sweaters > Cardigan | women
women.sweaters.crewnecks | Women > Sweaters > Crewneck | women
women.sweaters.v_necks | Women > Sweaters > V-neck | women
women.sweaters.turtlenecks | Women > Sweaters > Turtleneck Sweaters | women
women.coats.blazers | Women > Suits & blazers > Blazer | women
women.coats.jean_jackets | Women > Coats & jackets > Jean jacket | women
women.coats.leather | Women > Coats & jackets > Other | women
women.coats.puffers | Women > Coats & jackets > Puffer | women
women.coats.trench | Women > Coats & jackets > Trench | women
women.coats.pea_coats | Women > Coats & jackets > Peacoat | women
women.coats.vests | Women > Coats & jackets > Vest | women
women.jeans.skinny | Women > Jeans > Skinny Jeans | pants
women.jeans.straight | Women > Jeans > Straight leg | pants
women.jeans.boot_cut | Women > Jeans > Boot cut | pants
women.jeans.wide_leg | Women > Jeans > Wide leg | pants
women.jeans.overalls | Women > Jeans > Overalls | pants
women.pants.trousers | Women > Pants > Dress pants | pants
women.pants.leggings | Women > Athletic apparel > Athletic Leggings | women
women.pants.joggers | Women > Athletic apparel > Athletic Sweat Pants | women
women.pants.capris | Women > Pants > Capri Pants | pants
women.pants.jumpsuits | Women > Dresses > Jumpsuits & Rompers | women
women.shorts.denim | Women > Shorts > Denim | pants
women.shorts.athletic | Women > Athletic apparel > Shorts | women
women.shorts.bermuda | Women > Shorts > Bermuda | pants
women.skirts.mini | Women > Skirts > Mini | women
women.skirts.midi | Women > Skirts > Other | women
women.skirts.maxi | Women > Skirts > Maxi | women
women.skirts.pencil | Women > Skirts > Straight, pencil | women
women.swim.bikinis | Women > Swimwear > Two-piece | women
women.swim.one_pieces | Women > Swimwear > One-piece | women
women.swim.coverups | Women > Swimwear > Cover-ups | women
women.intimates.bras | Women > Underwear > Bras | bras
women.intimates.sports_bras | Women > Athletic apparel > Sports bras | women
women.intimates.pajamas | Women > Sleepwear & robes > Pajama sets | women
women.intimates.robes | Women > Sleepwear & robes > Robes | women
women.shoes.sneakers | Women > Shoes > Fashion sneakers | women_shoes
women.shoes.athletic | Women > Shoes > Athletic | women_shoes
women.shoes.boots | Women > Shoes > Boots | women_shoes
women.shoes.ankle_boots | Women > Shoes > Boots | women_shoes
women.shoes.heels | Women > Shoes > Heels | women_shoes
women.shoes.flats | Women > Shoes > Flats | women_shoes
women.shoes.sandals | Women > Shoes > Sandals | women_shoes
women.shoes.mules | Women > Shoes > Mules | women_shoes
women.shoes.slippers | Women > Shoes > Slippers | women_shoes
women.bags.totes | Women > Women's handbags > Tote Bags
women.bags.crossbody | Women > Women's handbags > Crossbody Bags
women.bags.shoulder | Women > Women's handbags > Shoulder Bags
women.bags.satchels | Women > Women's handbags > Satchel
women.bags.hobos | Women > Women's handbags > Hobo Bags
women.bags.backpacks | Women > Women's handbags > Backpacks
women.bags.clutches | Women > Women's handbags > Other
women.bags.cosmetic | Women > Women's handbags > Cosmetic bags
women.bags.wallets | Women > Women's accessories > Wallets
women.accessories.belts | Women > Women's accessories > Belts
women.accessories.hats | Women > Women's accessories > Hats
women.accessories.scarves | Women > Women's accessories > Scarves
women.accessories.sunglasses | Women > Women's accessories > Sunglasses
women.accessories.gloves | Women > Women's accessories > Fashion Gloves
women.accessories.hair | Women > Women's accessories > Hair accessories
women.accessories.watches | Women > Women's accessories > Watches
women.jewelry.necklaces | Women > Jewelry > Necklaces
women.jewelry.earrings | Women > Jewelry > Earrings
women.jewelry.bracelets | Women > Jewelry > Bracelets
women.jewelry.rings | Women > Jewelry > Rings
women.jewelry.brooches | Women > Jewelry > Pins
men.shirts.tees | Men > Tops > T-shirts | men
men.shirts.polos | Men > Tops > Polos | men
men.shirts.casual | Men > Tops > Button-front | men
men.shirts.dress | Men > Tops > Dress shirts | men
men.shirts.hoodies | Men > Sweats & hoodies > Hoodie | men
men.shirts.tanks | Men > Tops > Tank | men
men.shirts.jerseys | Men > Athletic apparel > Jerseys | men
men.sweaters.cardigans | Men > Sweaters > Cardigan | men
men.sweaters.crewnecks | Men > Sweaters > Crewneck | men
men.sweaters.v_necks | Men > Sweaters > V-neck | men
men.coats.bombers | Men > Coats & jackets > Flight/bomber | men
men.coats.puffers | Men > Coats & jackets > Puffer | men
men.coats.pea_coats | Men > Coats & jackets > Peacoat | men
men.coats.rain | Men > Coats & jackets > Rainwear | men
men.coats.windbreakers | Men > Coats & jackets > Windbreaker | men
men.coats.vests | Men > Coats & jackets > Vest | men
men.suits.blazers | Men > Blazers & sport coats > Other | suits
men.suits.suits | Men > Suits > Other | suits
men.jeans.straight | Men > Jeans > Classic, straight leg | pants
men.jeans.slim | Men > Jeans > Slim Jeans | pants
men.jeans.relaxed | Men > Jeans > Relaxed | pants
men.jeans.boot_cut | Men > Jeans > Boot cut | pants
men.pants.chinos | Men > Pants > Khakis, chinos | pants
men.pants.cargo | Men > Pants > Cargo | pants
men.pants.dress | Men > Pants > Other | pants
men.pants.joggers | Men > Sweats & hoodies > Sweat Pants | men
men.shorts.athletic | Men > Shorts > Athletic | men
men.shorts.cargo | Men > Shorts > Cargo | pants
men.shorts.chino | Men > Shorts > Khakis, chinos | pants
men.swim.trunks | Men > Swimwear > Swim trunks | pants
men.shoes.sneakers | Men > Shoes > Fashion sneakers | men_shoes
men.shoes.athletic | Men > Shoes > Athletic | men_shoes
men.shoes.boots | Men > Shoes > Boots | men_shoes
men.shoes.loafers | Men > Shoes > Loafers | men_shoes
men.shoes.oxfords | Men > Shoes > Oxfords | men_shoes
men.shoes.sandals | Men > Shoes > Sandals | men_shoes
men.accessories.belts | Men > Men's accessories > Belts
men.accessories.hats | Men > Men's accessories > Hats
men.accessories.ties | Men > Men's accessories > Ties
men.accessories.sunglasses | Men > Men's accessories > Sunglasses
men.accessories.watches | Men > Men's accessories > Watches
men.accessories.wallets | Men > Men's accessories > Wallets
men.bags.backpacks | Men > Men's accessories > Backpacks
men.bags.briefcases | Men > Men's accessories > Briefcases
kids.girls.tops | Kids > Girls tops & t-shirts > Girls (4+) | kids
kids.girls.dresses | Kids > Girls dresses > Girls (4+) | kids
kids.girls.bottoms | Kids > Girls bottoms > Girls (4+) | kids
kids.girls.coats | Kids > Girls coats & jackets > Girls (4+) | kids
kids.girls.swim | Kids > Girls swimwear > Girls (4+) | kids
kids.girls.shoes | Kids > Girls shoes > Girls {age} | kids_shoes
kids.boys.tops | Kids > Boys tops & t-shirts > Boys (4+) | kids
kids.boys.bottoms | Kids > Boys bottoms > Boys (4+) | kids
kids.boys.coats | Kids > Boys coats & jackets > Boys (4+) | kids
kids.boys.swim | Kids > Boys swimwear > Boys (4+) | kids
kids.boys.shoes | Kids > Boys shoes > Boys {age} | kids_shoes
kids.baby.girls_tops | Kids > Girls tops & t-shirts > Girls {age} | baby
kids.baby.girls_bottoms | Kids > Girls bottoms > Girls {age} | baby
kids.baby.girls_dresses | Kids > Girls dresses > Girls {age} | baby
kids.baby.girls_one_pieces | Kids > Girls one-pieces > Girls {age} | baby
kids.baby.boys_tops | Kids > Boys tops & t-shirts > Boys {age} | baby
kids.baby.boys_bottoms | Kids > Boys bottoms > Boys {age} | baby
kids.baby.boys_one_pieces | Kids > Boys one-pieces > Boys {age} | baby
toys.action_figures | Toys & Collectibles > Action Figures & Accessories > Action Figures
toys.building | Toys & Collectibles > Building Toys > Toy Building Blocks
toys.vehicles | Toys & Collectibles > Remote Control Toys & Vehicles > Play Vehicles
toys.dolls | Toys & Collectibles > Collectibles & Hobbies > Dolls
toys.plush | Toys & Collectibles > Stuffed Animals & Plush > Stuffed Animals
toys.board_games | Toys & Collectibles > Games & Puzzles > Board Games
toys.puzzles | Toys & Collectibles > Games & Puzzles > Jigsaw Puzzles
toys.learning | Toys & Collectibles > Learning & Education Toys > Learning & Development Toys
home.wall_art | Home > Artwork > Art Prints
home.mirrors | Home > Home decor > Mirrors
home.clocks | Home > Home decor > Clocks
home.vases | Home > Home decor > Vases
home.candles | Home > Home decor > Home Candles
home.pillows | Home > Home decor > Decorative pillows
home.picture_frames | Home > Home decor > Picture Frames
home.baskets | Home > Home decor > Baskets
home.curtains | Home > Home decor > Window treatments
home.sculptures | Home > Home decor > Home decor accents
home.holiday | Home > Seasonal decor > Other
home.kitchen.bakeware | Home > Kitchen & dining > Other
home.kitchen.cookware | Home > Kitchen Cookware > Other Cookware
home.kitchen.utensils | Home > Kitchen Utensils > Other Kitchen Utensils
home.kitchen.storage | Home > Kitchen Storage > Food Storage Containers
home.kitchen.knives | Home > Kitchen & dining > Other
home.kitchen.coffee | Home > Kitchen & dining > Other
home.dining.dinnerware | Home > Kitchen Dinnerware > Other Dinnerware
home.dining.drinkware | Home > Kitchen Drinkware > Drinking Glasses
home.dining.mugs | Home > Kitchen Drinkware > Coffee Mugs
home.dining.flatware | Home > Kitchen Flatware > Flatware Sets
home.dining.serveware | Home > Kitchen & dining > Other
home.dining.linens | Home > Kitchen & Table Linens > Other Kitchen Linens
home.bedding.blankets | Home > Bedding > Blankets
home.bedding.comforters | Home > Bedding > Comforters
home.bedding.duvets | Home > Bedding > Duvet Covers
home.bedding.quilts | Home > Bedding > Quilts
home.bedding.sheets | Home > Bedding > Bed Sheets
home.bath.towels | Home > Bath > Towels
home.bath.shower_curtains | Home > Bath > Bathroom accessories
electronics.phones | Electronics > Cell phones & accessories > Cell phones & smartphones
electronics.phone_cases | Electronics > Cell phones & accessories > Cell Phone Cases
electronics.tablets | Electronics > Tablets & E-readers > iPad/tablet/ebook readers
electronics.laptops | Electronics > Computers & Laptops > Laptops
electronics.headphones | Electronics > Headphones & MP3 Players > Headphones
electronics.speakers | Electronics > Home Audio > Bluetooth Speakers
electronics.cameras | Electronics > Cameras & photography > Digital cameras
electronics.film_cameras | Electronics > Cameras & photography > Film & Polaroid Cameras
electronics.lenses | Electronics > Cameras & photography > Camera Lenses
electronics.smartwatches | Electronics > Wearables > Smart Watches
electronics.consoles | Electronics > Video games & consoles > Consoles
electronics.controllers | Electronics > Video games & consoles > Accessories
electronics.video_games | Electronics > Video games & consoles > Games
electronics.keyboards | Electronics > Computers & Laptops > Computer Accessories
media.vinyl | Electronics > Media > Other
media.cds | Electronics > Media > CD
media.dvds | Electronics > Media > DVD
books.fiction | Books > Fiction Books > Other Fiction Books
books.nonfiction | Books > Nonfiction Books > Other Nonfiction Books
books.children | Books > Fiction Books > Fictional Children's Books
books.textbooks | Books > Reference Books > Textbooks
books.cookbooks | Books > Reference Books > Cookbooks
collectibles.trading_cards | Toys & Collectibles > Trading Cards > Other Trading Cards
collectibles.sports_cards | Toys & Collectibles > Sports Trading Cards > Other Sports Trading Cards
collectibles.comics | Toys & Collectibles > Collectibles & Hobbies > Comics
collectibles.figurines | Toys & Collectibles > Collectibles & Hobbies > Figurines
collectibles.postcards | Vintage & collectibles > Paper ephemera > Postcard
sports.water_bottles | Home > Kitchen Drinkware > Water Bottles
sports.yoga | Sports & outdoors > Yoga Equipment > Other Yoga Equipment
sports.golf_clubs | Sports & outdoors > Golf > Other
sports.cycling | Sports & outdoors > Outdoors > Biking Equipment
sports.camping | Sports & outdoors > Camping Equipment > Other Camping Equipment
beauty.makeup.eyes | Beauty > Makeup > Eyes
beauty.makeup.face | Beauty > Makeup > Face
beauty.makeup.lips | Beauty > Makeup > Lips
beauty.skincare | Beauty > Skin care > Other
beauty.hair | Beauty > Hair care > Other
beauty.fragrance | Beauty > Fragrance > Other
pets.dog.clothing | Pet Supplies > Dog Supplies > Other Dog Supplies
pets.dog.collars | Pet Supplies > Dog Supplies > Dog Collars
pets.dog.toys | Pet Supplies > Dog Supplies > Dog Toys
pets.cat.toys | Pet Supplies > Cat Supplies > Cat Toys
"""

#: Our key → (the site's menu, size group or None). men.accessories.jewelry is left out: the site wants
#: to know which piece of jewellery.
CATEGORIES: dict[str, tuple[tuple[str, ...], str | None]] = {
    key: (tuple(path.split(" > ")), group or None)
    for key, path, group in (
        (*map(str.strip, line.split("|")), "")[:3] for line in _TABLE.strip().splitlines()
    )
}

#: The last step of the menu of a child's thing, where {age} stands.
_AGES = {"baby": ("0-24 mos", "2T-5T"), "kids_shoes": ("0-24 mos", "2T-5T", "(4+)")}
#: The site's menu as far as we hold it → size group or None.
PATHS: dict[tuple[str, ...], str | None] = {
    (*path[:-1], path[-1].replace("{age}", age)): group
    for path, group in CATEGORIES.values()
    for age in (_AGES[group or ""] if "{age}" in path[-1] else ("",))
}
#: Beside what is for four years and more the site has the same for younger ones.
PATHS |= {
    (*path[:-1], path[-1].replace("(4+)", age)): "baby"
    for path, group in CATEGORIES.values()
    if group == "kids"
    for age in _AGES["baby"]
}

_WAISTS = (*range(23, 35), *range(36, 58, 2))
_LETTERS = ("XXS and Below", "XS", "S", "M", "L", "XL", "2X", "3XL", "4XL+", "One Size")
_EURO_WOMEN = {4: 35, 4.5: 35, **{n / 2: f"{35 + (n - 9) / 2:g}" for n in range(10, 28)}}
_EURO_MEN = {n / 2: f"{38 + (n - 10) / 2:g}" for n in range(10, 33)} | {
    6: 39, 6.5: "39.5", **{n / 2: f"{40 + (n - 14) / 2:g}" for n in range(14, 33)}
}  # fmt: skip


def _cups() -> Iterable[str]:
    names = {"E": "E (DD)", "F": "F (DDD)", "G": "G (4D)", "H": "H (5D)"}
    for band in range(32, 46, 2):
        yield from (f"{band}{names.get(cup, cup)}" for cup in "ABCDEFGH")
    yield from ("30A (XX-Small)", "30B (XX-Small)", "30C (X-Small)", "30D (X-Small)", "30E (30DD US)",
                "30F (30DDD US)", "30G US", "32AA")  # fmt: skip


#: Size group → the site's labels, as in its own menu.
SIZES: dict[str, tuple[str, ...]] = {
    "women": (
        "XXS (00)", "XS (0-2)", "S (4-6)", "M (8-10)", "L (12-14)", "XL (16-18)", "2XL (20-22)",
        "3XL (24-26)", "4XL (28-30)", "5XL (32-34)", "1X (16-18)", "XS (0-1)", "S (3-5)", "M (7-9)",
        "L (11-13)", "XL (15-17)", "One Size",
    ),
    "men": (
        "XS (30-32)", "S (34-36)", "M (38-40)", "L (42-44)", "XL (46-48)", "XXL (50-52)", "3XL (54-56)",
        "4XL (58-60)", "5XL (62-64)", "One Size",
    ),
    "pants": (*(f"{waist} in." for waist in _WAISTS), "58+ in.", *_LETTERS),
    "suits": (
        "34R", "35R", "36S", "36R", *(f"{chest}{length}" for chest in range(38, 58, 2) for length in "SRL"),
        *_LETTERS,
    ),
    "women_shoes": (
        "3.5 and below",
        *(f"{size:g} ({euro})" for size, euro in sorted(_EURO_WOMEN.items())),
        "14 & Up (44.5)",
    ),
    "men_shoes": tuple(f"{size:g} ({euro})" for size, euro in sorted(_EURO_MEN.items())),
    "kids": ("XS (4-5)", "S (6-7)", "M (8)", "L (10-12)", "XL (14-16)", "2XL (18)", "One Size"),
    "baby": (
        "Newborn", "0-3 Months", "3-6 Months", "6-9 Months", "9-12 Months", "12-18 Months", "24 Months",
        "2T", "3T", "4T", "5T", "One Size", "Not Specified",
    ),
    "kids_shoes": (*(f"{n / 2:g}" for n in range(0, 28)),),
    "bras": (*_cups(), *_LETTERS),
}  # fmt: skip

#: Sizes that both are, in other letters.
_SAME = {"XXL": "2XL", "2XL": "XXL", "XXS": "XXS and Below", "2X": "2XL", "3X": "3XL", "4X": "4XL",
         "5X": "5XL", "18-24 Months": "24 Months"}  # fmt: skip


def find_label(group: str, size: str) -> str | None:
    """The site's label for our size ("M" or "8" → "M (8-10)", "32x30" → "32 in."), or None where it has
    none that says so itself. A label of the site's own is taken as it is."""
    labels = SIZES[group]
    if size in labels:
        return size
    if group == "pants":
        waist = re.match(r"(\d+)(?:x\d+)?$", size)
        wanted = f"{waist[1]} in." if waist else {"XXL": "2X", "2X": "2X"}.get(size, _SAME.get(size, ""))
        return wanted if wanted in labels else None
    if group == "bras":
        size = re.sub("DDD$", "F", size)
        size = re.sub("DD$", "E", size)
    if group == "kids_shoes":
        size = size.rstrip("CY")
    if group == "kids" and size == "6X":
        return "S (6-7)"
    names = (size, _SAME.get(size, size))
    return next((label for label in labels if _name(label) in names or size in _numbers(label)), None)


def sizes_at(path: Sequence[str], group: str) -> tuple[str, ...]:
    """What there is to choose from: of a child's thing, what belongs to the age that the path ends with.
    Where the size decides that, what says an age: of shoes our own words (4C, 4Y), the site's say none."""
    age, by_size = age_at(path), "{age}" in path[-1]
    if group not in _AGES or not (age or by_size):
        return SIZES[group]
    if group == "kids_shoes":
        ours = taxonomy.SIZE_SCALES[group]
        there = {size.rstrip("CY") for size in ours if kids_leaf(group, size) == age}
        return ours if by_size else tuple(size for size in SIZES[group] if size in there)
    said = {size: kids_leaf(group, size) for size in SIZES[group]}
    return tuple(size for size, leaf in said.items() if (leaf if by_size else leaf in (None, age)))


def age_at(path: Sequence[str]) -> str | None:
    """The age that the path ends with, if it says one."""
    return next((age for age in _AGES["kids_shoes"] if path and path[-1].endswith(age)), None)


def kids_leaf(group: str, size: str) -> str | None:
    """The last step of the menu that a child's size belongs to, or None: "One Size" says no age, nor does a
    bare number of shoes of which there are both, 4C and 4Y."""
    if group == "kids_shoes":
        named = (size, f"{size}C", f"{size}Y")
        leaves = {_shoes_leaf(one) for one in named if one in taxonomy.SIZE_SCALES[group]}
        return leaves.pop() if len(leaves) == 1 else None
    if re.fullmatch(r"[2-5]T", size):
        return "2T-5T"
    return "0-24 mos" if re.search(r"Months|Newborn", size) else None


def _shoes_leaf(size: str) -> str:
    number = float(size.rstrip("CY"))
    if size.endswith("Y") or number > 10:
        return "(4+)"
    return "0-24 mos" if number < 5 else "2T-5T"


def _name(label: str) -> str:
    """ "M (8-10)" → "M"; "32E (DD)" → "32E"; "30G US" → "30G"; "14 & Up (44.5)" → "14"."""
    return re.sub(r"\s*(\(.*\)|US|& Up.*)$", "", label).strip()


def _numbers(label: str) -> set[str]:
    """The sizes in numbers that a label of letters names: "M (8-10)" → {"8", "10"}. Misses' sizes are even,
    juniors' odd; children's ages ("XS (4-5)") are both."""
    found = re.fullmatch(r"[\dX]*[SML](?:\w*) \((\d+)(?:-(\d+))?\)|\dX \((\d+)-(\d+)\)", label)
    if not found:
        return set()
    if found[1] == "00":
        return {"00"}
    first, last = found[1] or found[3], found[2] or found[4] or found[1] or found[3]
    step = 1 if (int(last) - int(first)) % 2 else 2
    return {str(n) for n in range(int(first), int(last) + 1, step)}

"""The practice eBay's own menus: categories, the item specifics of each, conditions, policies. A part of
the real ones (NOTES.md of the adapter has the sources); the adapter has its own map and never reads this."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

# A heading is a path and its group; below it the leaves, which may go down further.
_TREE = """
# Clothing, Shoes & Accessories > Women > Women's Clothing | clothing
Dresses ; Tops ; T-Shirts ; Hoodies & Sweatshirts ; Sweaters ; Suits & Suit Separates
Coats, Jackets & Vests ; Jeans ; Jumpsuits & Rompers ; Pants ; Leggings ; Shorts ; Skirts ; Swimwear
Activewear > Activewear Tops ; Intimates & Sleep > Bras & Bra Sets ; Intimates & Sleep > Sleepwear & Robes
# Clothing, Shoes & Accessories > Specialty > Wedding & Formal Occasion | clothing
Wedding Dresses ; Bridesmaids & Formal Dresses
# Clothing, Shoes & Accessories > Women > Women's Shoes | shoes
Athletic Shoes ; Boots ; Heels ; Flats ; Sandals ; Slippers ; Comfort Shoes
# Clothing, Shoes & Accessories > Women | bags
Women's Bags & Handbags
# Clothing, Shoes & Accessories > Women > Women's Accessories | accessories
Makeup Bags & Cases ; Wallets ; Scarves & Wraps ; Sunglasses ; Hair Accessories ; Umbrellas
# Clothing, Shoes & Accessories > Women > Women's Accessories | sized
Belts ; Hats ; Gloves & Mittens
# Clothing, Shoes & Accessories > Men > Men's Clothing | clothing
Activewear > Hoodies & Sweatshirts ; Activewear > Activewear Tops ; Shirts > T-Shirts ; Shirts > Polos
Shirts > Casual Button-Down Shirts ; Shirts > Dress Shirts ; Sweaters ; Coats, Jackets & Vests
Suits & Suit Separates ; Jeans ; Pants ; Shorts ; Swimwear
# Clothing, Shoes & Accessories > Men > Men's Shoes | shoes
Athletic Shoes ; Boots ; Casual Shoes ; Dress Shoes ; Sandals
# Clothing, Shoes & Accessories > Men > Men's Accessories | sized
Belts ; Hats
# Clothing, Shoes & Accessories > Men > Men's Accessories | accessories
Ties, Bow Ties & Ascots ; Sunglasses ; Wallets ; Bags
# Clothing, Shoes & Accessories > Kids > Girls > Girls' Clothing (Sizes 4 & Up) | kids
Tops, Shirts & T-Shirts ; Dresses ; Bottoms ; Outerwear ; Swimwear
# Clothing, Shoes & Accessories > Kids > Girls | shoes
Girls' Shoes
# Clothing, Shoes & Accessories > Kids > Boys > Boys' Clothing (Sizes 4 & Up) | kids
Tops, Shirts & T-Shirts ; Bottoms ; Outerwear ; Swimwear
# Clothing, Shoes & Accessories > Kids > Boys | shoes
Boys' Shoes
# Clothing, Shoes & Accessories > Baby > Girls' Clothing (Newborn-5T) | kids
Tops & T-Shirts ; Bottoms ; Dresses ; One-Pieces
# Clothing, Shoes & Accessories > Baby > Boys' Clothing (Newborn-5T) | kids
Tops & T-Shirts ; Bottoms ; One-Pieces
# Jewelry & Watches > Watches, Parts & Accessories > Watches | watches
Wristwatches ; Pocket Watches
# Jewelry & Watches > Fashion Jewelry | jewelry
Necklaces & Pendants ; Earrings ; Bracelets & Charms ; Brooches & Pins
# Jewelry & Watches > Fashion Jewelry | rings
Rings
# Jewelry & Watches | jewelry
Men's Jewelry
# Toys & Hobbies | branded
Action Figures & Accessories > Action Figures ; Building Toys > LEGO & Building Sets
Diecast & Toy Vehicles > Cars, Trucks & Vans ; Stuffed Animals > Other Stuffed Animals
Games > Board & Traditional Games ; Puzzles > Jigsaws ; Educational > Learning Toys
# Dolls & Bears > Dolls, Clothing & Accessories | branded
Dolls & Doll Playsets
# Art | plain
Art Prints ; Art Sculptures ; Paintings ; Art Posters ; Art Photographs
# Home & Garden > Home Décor | branded
Mirrors ; Clocks > Wall Clocks ; Vases ; Candles & Candle Holders ; Pillows ; Frames > Picture Frames
Baskets ; Posters & Prints
# Home & Garden > Window Treatments & Hardware | branded
Curtains, Drapes & Valances
# Home & Garden > Holiday & Seasonal Décor | plain
Other Holiday & Seasonal Décor
# Home & Garden > Kitchen, Dining & Bar | branded
Bakeware > Other Bakeware ; Cookware > Other Cookware ; Kitchen Tools & Gadgets > Cooking Utensils
Kitchen Storage & Organization > Food Storage ; Flatware, Knives & Cutlery > Kitchen Knives
Small Kitchen Appliances > Coffee & Tea Accessories ; Dinnerware & Serveware > Dinnerware
Dinnerware & Serveware > Serveware ; Glassware & Drinkware > Glassware ; Glassware & Drinkware > Mugs
Flatware, Knives & Cutlery > Flatware ; Linens & Textiles > Table Linens
# Home & Garden > Bedding | branded
Blankets & Throws
# Home & Garden > Bedding | bedding
Comforters & Sets ; Duvet Covers & Sets ; Quilts, Bedspreads & Coverlets ; Sheets & Pillowcases
# Home & Garden > Bath | branded
Towels & Washcloths ; Shower Curtains
# Cell Phones & Accessories | electronics
Cell Phones & Smartphones ; Smart Watches
# Cell Phones & Accessories | branded
Cell Phone Accessories > Cases, Covers & Skins
# Computers/Tablets & Networking | electronics
Tablets & eBook Readers ; Laptops & Netbooks > PC Laptops & Netbooks
Keyboards, Mice & Pointers > Keyboards & Keypads
# Consumer Electronics > Portable Audio & Headphones | electronics
Headphones ; Audio Docks & Mini Speakers
# Cameras & Photo | electronics
Digital Cameras ; Film Photography > Film Cameras ; Lenses & Filters > Lenses
# Video Games & Consoles | consoles
Video Game Consoles
# Video Games & Consoles | electronics
Video Game Accessories > Controllers & Attachments
# Video Games & Consoles | games
Video Games
# Music | music
Vinyl Records ; CDs
# Movies & TV | films
DVDs & Blu-ray Discs
# Books & Magazines | books
Books ; Textbooks
# Toys & Hobbies > Collectible Card Games | cards
CCG Individual Cards
# Sports Mem, Cards & Fan Shop > Sports Trading Cards | sports_cards
Trading Card Singles
# Collectibles | comics
Comic Books & Memorabilia > Comics & Graphic Novels
# Collectibles | plain
Decorative Collectibles > Figurines ; Postcards & Supplies > Postcards
# Sporting Goods | branded
Camping & Hiking > Water Bottles ; Fitness, Running & Yoga > Yoga & Pilates ; Golf > Golf Clubs & Equipment
Cycling > Bicycle Components & Parts ; Camping & Hiking > Other Camping & Hiking Gear
# Health & Beauty | branded
Makeup > Eyes ; Makeup > Face ; Makeup > Lips ; Skin Care > Other Skin Care
Hair Care & Styling > Other Hair Care & Styling
# Health & Beauty > Fragrances | fragrance
Perfume & Cologne
# Pet Supplies > Dog Supplies | pets
Clothing & Shoes ; Leashes, Collars & Harnesses
# Pet Supplies | branded
Dog Supplies > Toys ; Cat Supplies > Toys
"""


@dataclass(frozen=True)
class Leaf:
    """A category that things can be listed in."""

    path: str
    group: str

    @property
    def id(self) -> str:
        """Five or six digits."""
        return str(zlib.crc32(self.path.encode()) % 900_000 + 10_000)


def _leaves() -> list[Leaf]:
    found, above, group = [], "", ""
    for line in filter(None, map(str.strip, _TREE.splitlines())):
        if line.startswith("#"):
            above, group = map(str.strip, line.lstrip("# ").split("|"))
        else:
            found += [Leaf(f"{above} > {leaf.strip()}", group) for leaf in line.split(" ; ")]
    return found


LEAVES = {leaf.id: leaf for leaf in _leaves()}

_NEW = ("New with tags", "New without tags", "New with imperfections")
_WORN = ("Pre-owned - Excellent", "Pre-owned - Good", "Pre-owned - Fair")
CONDITIONS = {
    "clothing": (*_NEW, *_WORN),
    "shoes": ("New with box", "New without box", "New with defects", *_WORN),
    "jewelry": ("New with tags", "New without tags", "New with defects", "Pre-owned"),
    "general": ("New", "New other (see details)", "Used", "For parts or not working"),
    "books": ("Brand New", "Like New", "Very Good", "Good", "Acceptable"),
    "cards": ("Graded", "Ungraded"),
}
#: Group → its conditions, its required item specifics.
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "clothing": ("clothing", ("Brand", "Size Type", "Size", "Color", "Department", "Type")),
    "kids": ("clothing", ("Brand", "Size", "Color", "Department", "Type")),
    "shoes": ("shoes", ("Brand", "US Shoe Size", "Color", "Department", "Type")),
    "bags": ("clothing", ("Brand", "Style", "Exterior Color", "Exterior Material")),
    "accessories": ("clothing", ("Brand", "Color", "Department")),
    "sized": ("clothing", ("Brand", "Size", "Color", "Department")),
    "jewelry": ("jewelry", ("Brand", "Type")),
    "rings": ("jewelry", ("Brand", "Type", "Ring Size")),
    "watches": ("jewelry", ("Brand", "Department", "Type")),
    "plain": ("general", ()),
    "branded": ("general", ("Brand",)),
    "bedding": ("general", ("Brand", "Size")),
    "pets": ("general", ("Brand", "Size")),
    "electronics": ("general", ("Brand", "Model")),
    "consoles": ("general", ("Brand", "Platform", "Model")),
    "games": ("books", ("Platform", "Game Name")),
    "music": ("books", ("Artist", "Release Title")),
    "films": ("books", ("Movie/TV Title",)),
    "books": ("books", ("Author", "Book Title", "Language")),
    "cards": ("cards", ("Game",)),
    "sports_cards": ("cards", ("Sport",)),
    "comics": ("general", ("Series Title",)),
    "fragrance": ("general", ("Brand", "Fragrance Name", "Volume")),
}
_OPTIONAL = ("Brand", "Color", "Material", "Pattern", "Country/Region of Manufacture")


def _halves(first: float, last: float, suffix: str = "") -> list[str]:
    return [f"{n / 2:g}{suffix}" for n in range(int(first * 2), int(last * 2) + 1)]


_LETTERS = ["XXS", "XS", "S", "M", "L", "XL", "2XL", "3XL", "4XL", "5XL"]
_MORE = ["1X", "2X", "3X", "4X", "5X", "MT", "LT", "XLT", "2XLT", "3XLT", "4XLT", "00", "One Size"]
_BRAS = [f"{b}{c}" for b in range(30, 46, 2) for c in ("AA", "A", "B", "C", "D", "DD", "DDD", "G")]
_SUITS = [f"{chest}{length}" for chest in range(34, 58, 2) for length in "SRL"]
_BABY = ["Preemie", "Newborn", "0-3 Months", "3-6 Months", "6-9 Months", "9-12 Months", "12-18 Months",
         "18-24 Months", "2T", "3T", "4T", "5T", "One Size"]  # fmt: skip
_KIDS = ["XS", "S", "M", "L", "XL", "4", "5", "6", "6X", "7", "8", "10", "12", "14", "16", "18", "20"]
_HATS = ["S/M", "L/XL", "6 7/8", "7", "7 1/8", "7 1/4", "7 3/8", "7 1/2", "7 5/8", "7 3/4", "7 7/8", "8"]
_BEDS = ["Crib", "Twin", "Twin XL", "Full", "Full/Queen", "Queen", "King", "California King", "One Size"]
SIZES = {
    "clothing": [*_LETTERS, *_MORE, *map(str, range(0, 51)), *_BRAS, *_SUITS],
    "kids": list(dict.fromkeys([*_KIDS, *_BABY])),
    "shoes": [*_halves(4, 16), *_halves(0, 13.5, "C"), *_halves(1, 7, "Y")],
    "sized": [*_LETTERS, "One Size", *_HATS, *map(str, range(24, 52, 2))],
    "rings": _halves(3, 15),
    "bedding": _BEDS,
    "pets": ["XXS", "XS", "S", "M", "L", "XL", "2XL", "One Size"],
}
_VALUES = {
    "Brand": ["Unbranded", "Adidas", "Anthropologie", "Apple", "Banana Republic", "Coach", "Everlane", "Gap",
              "J.Crew", "Levi's", "Lululemon", "Madewell", "Nike", "Patagonia", "Ralph Lauren", "Sony"],
    "Size Type": ["Regular", "Petites", "Plus", "Tall", "Big & Tall", "Juniors", "Maternity"],
    "Department": ["Women", "Men", "Girls", "Boys", "Baby & Toddler", "Unisex Adults", "Unisex Kids"],
    "Material": ["Cotton", "Denim", "Leather", "Linen", "Polyester", "Silk", "Wool"],
    "Exterior Material": ["Canvas", "Fabric", "Faux Leather", "Leather", "Nylon", "Suede"],
    "Pattern": ["Solid", "Striped", "Floral", "Plaid", "Animal Print"],
    "Language": ["English", "French", "German", "Spanish"],
}  # fmt: skip
_COLORS = ["Beige", "Black", "Blue", "Brown", "Gold", "Gray", "Green", "Ivory", "Multicolor", "Orange",
           "Pink", "Purple", "Red", "Silver", "White", "Yellow"]  # fmt: skip
#: Only what is listed: eBay takes no other sizes for clothes and shoes since August 2026.
_CLOSED = ("Size", "US Shoe Size", "Ring Size", "Size Type", "Department")


def aspects(leaf: Leaf) -> list[dict[str, Any]]:
    """The item specifics of a category, the required ones first."""
    required = GROUPS[leaf.group][1]
    found = []
    for name in dict.fromkeys([*required, *_OPTIONAL]):
        values = _VALUES.get(name, [])
        if name in ("Size", "US Shoe Size", "Ring Size"):
            values = SIZES[leaf.group]
        elif name.endswith("Color"):
            values = _COLORS
        found.append(
            {"name": name, "required": name in required, "values": values, "own": name not in _CLOSED}
        )
    return found


def conditions(leaf: Leaf) -> tuple[str, ...]:
    return CONDITIONS[GROUPS[leaf.group][0]]


#: Each practice seller's business policies; the first of a kind is the one that the form begins with.
POLICIES: dict[str, list[dict[str, str]]] = {
    "payment": [{"name": "eBay managed payments"}, {"name": "Immediate payment"}],
    "return": [
        {"name": "No returns accepted"},
        {"name": "30 days, buyer pays"},
        {"name": "30 days, seller pays"},
        {"name": "No returns"},
    ],
    "shipping": [
        {"name": "Flat rate, buyer pays", "payer": "buyer", "says": "$6.90 shipping"},
        {"name": "Ground, buyer pays", "payer": "buyer", "says": "$8.45 shipping"},
        {"name": "Ground, free shipping", "payer": "seller", "says": "Free shipping"},
        {"name": "Free shipping", "payer": "seller", "says": "Free shipping"},
    ],
}

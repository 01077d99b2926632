"""Our categories, sizes, colours and conditions in eBay's words, and the item specifics that eBay asks for
per kind of thing. Data only; the sources, and what is a guess, are in NOTES.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

#: Where a required item specific comes from: the listing's brand, size or colours, or its `specifics`.
Source = Literal["brand", "size", "size_type", "colors", "asked", "department", "type"]


@dataclass(frozen=True)
class Kind:
    """What a group of eBay's categories has in common."""

    #: A key of CONDITIONS.
    conditions: str
    #: Item specific → where its value comes from.
    required: dict[str, Source]


@dataclass(frozen=True)
class Place:
    """One leaf of eBay's menu, for one leaf of ours."""

    path: tuple[str, ...]
    kind: str
    department: str | None = None
    #: What the leaf itself says of the thing ("Dress", "Sneaker").
    type: str | None = None


KINDS = {
    "clothing": Kind(
        "clothing",
        {"Brand": "brand", "Size Type": "size_type", "Size": "size", "Color": "colors",
         "Department": "department", "Type": "type"},
    ),
    "kids": Kind("clothing", {"Brand": "brand", "Size": "size", "Color": "colors",
                              "Department": "department", "Type": "type"}),
    "shoes": Kind("shoes", {"Brand": "brand", "US Shoe Size": "size", "Color": "colors",
                            "Department": "department", "Type": "type"}),
    "bags": Kind("clothing", {"Brand": "brand", "Style": "type", "Exterior Color": "colors",
                              "Exterior Material": "asked"}),
    "accessories": Kind("clothing", {"Brand": "brand", "Color": "colors", "Department": "department"}),
    "sized": Kind("clothing", {"Brand": "brand", "Size": "size", "Color": "colors",
                               "Department": "department"}),
    "jewelry": Kind("jewelry", {"Brand": "brand", "Type": "type"}),
    "rings": Kind("jewelry", {"Brand": "brand", "Type": "type", "Ring Size": "size"}),
    "watches": Kind("jewelry", {"Brand": "brand", "Department": "department", "Type": "type"}),
    "plain": Kind("general", {}),
    "branded": Kind("general", {"Brand": "brand"}),
    "bedding": Kind("general", {"Brand": "brand", "Size": "size"}),
    "pets": Kind("general", {"Brand": "brand", "Size": "size"}),
    "electronics": Kind("general", {"Brand": "brand", "Model": "asked"}),
    "consoles": Kind("general", {"Brand": "brand", "Platform": "asked", "Model": "asked"}),
    "games": Kind("books", {"Platform": "asked", "Game Name": "asked"}),
    "music": Kind("books", {"Artist": "asked", "Release Title": "asked"}),
    "films": Kind("books", {"Movie/TV Title": "asked"}),
    "books": Kind("books", {"Author": "asked", "Book Title": "asked", "Language": "asked"}),
    "cards": Kind("cards", {"Game": "asked"}),
    "sports_cards": Kind("cards", {"Sport": "asked"}),
    "comics": Kind("general", {"Series Title": "asked"}),
    "fragrance": Kind("general", {"Brand": "brand", "Fragrance Name": "asked", "Volume": "asked"}),
}  # fmt: skip

#: Group → our condition → the site's label. What is not there has no word on eBay: a Problem.
CONDITIONS: dict[str, dict[str, str]] = {
    "clothing": {
        "new_with_tags": "New with tags",
        "new_without_tags": "New without tags",
        "new_with_flaws": "New with imperfections",
        "like_new": "Pre-owned - Excellent",
        "good": "Pre-owned - Good",
        "fair": "Pre-owned - Fair",
    },
    # eBay's "with box" means the original box and/or tags
    "shoes": {
        "new_with_tags": "New with box",
        "new_without_tags": "New without box",
        "new_with_flaws": "New with defects",
        "like_new": "Pre-owned - Excellent",
        "good": "Pre-owned - Good",
        "fair": "Pre-owned - Fair",
    },
    "jewelry": {
        "new_with_tags": "New with tags",
        "new_without_tags": "New without tags",
        "new_with_flaws": "New with defects",
        "like_new": "Pre-owned",
        "good": "Pre-owned",
        "fair": "Pre-owned",
    },
    "general": {
        "new_with_tags": "New",
        "new_without_tags": "New other (see details)",
        "like_new": "Used",
        "good": "Used",
        "fair": "Used",
    },
    "books": {
        "new_with_tags": "Brand New",
        "new_without_tags": "Brand New",
        "like_new": "Like New",
        "good": "Good",
        "fair": "Acceptable",
    },
    # a card is graded by a company or it is not: only the seller can say
    "cards": {},
}
#: Group → labels that only the seller can choose, as what is set for eBay alone.
MORE_CONDITIONS = {
    "general": ("For parts or not working",),
    "books": ("Very Good",),
    "cards": ("Graded", "Ungraded"),
}

#: Our colour → eBay's word; what is in no list of eBay's is written as an own value.
COLORS = {
    "red": "Red", "pink": "Pink", "orange": "Orange", "yellow": "Yellow", "green": "Green", "blue": "Blue",
    "purple": "Purple", "gold": "Gold", "silver": "Silver", "black": "Black", "gray": "Gray",
    "white": "White", "cream": "Ivory", "brown": "Brown", "tan": "Tan", "beige": "Beige", "navy": "Navy",
    "burgundy": "Burgundy", "khaki": "Khaki", "multicolor": "Multicolor",
}  # fmt: skip

#: Our size → eBay's where they differ.
SIZES = {"XXL": "2XL", "XXLT": "2XLT"}


def size_type(category: str | None, size: str | None) -> str:
    """eBay's Size Type. Our scales hold regular sizes, but for those that say themselves what they are:
    1X (plus), 7 (juniors), XLT (tall). Petites and maternity are the seller's to tell (`specifics`)."""
    size = (size or "").strip().upper()
    if (category or "").startswith("women."):
        if re.fullmatch(r"[1-5]X", size):
            return "Plus"
        return "Juniors" if re.fullmatch(r"[13579]|1[1357]", size) else "Regular"
    return "Big & Tall" if re.fullmatch(r"(M|X*L|[2-4]XL)T", size) else "Regular"


# A heading: the path down to the leaf | kind | department. A line: our key | leaf | what the leaf says.
_TABLE = """
# Clothing, Shoes & Accessories > Women > Women's Clothing | clothing | Women
women.dresses.mini | Dresses | Dress
women.dresses.midi | Dresses | Dress
women.dresses.maxi | Dresses | Dress
women.dresses.formal | Dresses | Dress
women.tops.blouses | Tops | Blouse
women.tops.button_downs | Tops | Button-Up
women.tops.tees | T-Shirts | T-Shirt
women.tops.tanks | Tops | Tank
women.tops.bodysuits | Tops | Bodysuit
women.tops.tunics | Tops | Tunic
women.tops.hoodies | Hoodies & Sweatshirts | Sweatshirt
women.sweaters.cardigans | Sweaters | Cardigan
women.sweaters.crewnecks | Sweaters | Pullover
women.sweaters.v_necks | Sweaters | Pullover
women.sweaters.turtlenecks | Sweaters | Pullover
women.coats.blazers | Suits & Suit Separates | Blazer
women.coats.jean_jackets | Coats, Jackets & Vests | Jacket
women.coats.leather | Coats, Jackets & Vests | Jacket
women.coats.puffers | Coats, Jackets & Vests | Jacket
women.coats.trench | Coats, Jackets & Vests | Coat
women.coats.pea_coats | Coats, Jackets & Vests | Coat
women.coats.vests | Coats, Jackets & Vests | Vest
women.jeans.skinny | Jeans | Jeans
women.jeans.straight | Jeans | Jeans
women.jeans.boot_cut | Jeans | Jeans
women.jeans.wide_leg | Jeans | Jeans
women.jeans.overalls | Jumpsuits & Rompers | Overalls
women.pants.trousers | Pants | Pants
women.pants.leggings | Leggings | Leggings
women.pants.joggers | Pants | Pants
women.pants.capris | Pants | Pants
women.pants.jumpsuits | Jumpsuits & Rompers | Jumpsuit
women.shorts.denim | Shorts | Shorts
women.shorts.athletic | Shorts | Shorts
women.shorts.bermuda | Shorts | Shorts
women.skirts.mini | Skirts | Skirt
women.skirts.midi | Skirts | Skirt
women.skirts.maxi | Skirts | Skirt
women.skirts.pencil | Skirts | Skirt
women.swim.bikinis | Swimwear | Bikini
women.swim.one_pieces | Swimwear | One-Piece
women.swim.coverups | Swimwear | Cover-Up
# Clothing, Shoes & Accessories > Women > Women's Clothing > Intimates & Sleep | clothing | Women
women.intimates.bras | Bras & Bra Sets | Bra
women.intimates.sports_bras | Bras & Bra Sets | Sports Bra
women.intimates.pajamas | Sleepwear & Robes | Pajamas
women.intimates.robes | Sleepwear & Robes | Robe
# Clothing, Shoes & Accessories > Specialty > Wedding & Formal Occasion | clothing | Women
women.dresses.wedding | Wedding Dresses | Wedding Dress
# Clothing, Shoes & Accessories > Women > Women's Shoes | shoes | Women
women.shoes.sneakers | Athletic Shoes | Sneaker
women.shoes.athletic | Athletic Shoes | Athletic
women.shoes.boots | Boots | Boot
women.shoes.ankle_boots | Boots | Boot
women.shoes.heels | Heels | Heel
women.shoes.flats | Flats | Flat
women.shoes.sandals | Sandals | Sandal
women.shoes.mules | Flats | Mule
women.shoes.slippers | Slippers | Slipper
# Clothing, Shoes & Accessories > Women | bags | Women
women.bags.totes | Women's Bags & Handbags | Tote
women.bags.crossbody | Women's Bags & Handbags | Crossbody
women.bags.shoulder | Women's Bags & Handbags | Shoulder Bag
women.bags.satchels | Women's Bags & Handbags | Satchel
women.bags.hobos | Women's Bags & Handbags | Hobo
women.bags.backpacks | Women's Bags & Handbags | Backpack
women.bags.clutches | Women's Bags & Handbags | Clutch
# Clothing, Shoes & Accessories > Women > Women's Accessories | accessories | Women
women.bags.cosmetic | Makeup Bags & Cases |
women.bags.wallets | Wallets |
women.accessories.scarves | Scarves & Wraps |
women.accessories.sunglasses | Sunglasses |
women.accessories.hair | Hair Accessories |
# Clothing, Shoes & Accessories > Women > Women's Accessories | sized | Women
women.accessories.belts | Belts |
women.accessories.hats | Hats |
women.accessories.gloves | Gloves & Mittens |
# Jewelry & Watches > Watches, Parts & Accessories > Watches | watches | Women
women.accessories.watches | Wristwatches | Wristwatch
# Jewelry & Watches > Watches, Parts & Accessories > Watches | watches | Men
men.accessories.watches | Wristwatches | Wristwatch
# Jewelry & Watches > Fashion Jewelry | jewelry
women.jewelry.necklaces | Necklaces & Pendants | Necklace
women.jewelry.earrings | Earrings | Earrings
women.jewelry.bracelets | Bracelets & Charms | Bracelet
women.jewelry.brooches | Brooches & Pins | Brooch
# Jewelry & Watches > Fashion Jewelry | rings
women.jewelry.rings | Rings | Ring
# Clothing, Shoes & Accessories > Men > Men's Clothing | clothing | Men
men.shirts.hoodies | Activewear > Hoodies & Sweatshirts | Sweatshirt
men.shirts.jerseys | Activewear > Activewear Tops | Jersey
men.shirts.tees | Shirts > T-Shirts | T-Shirt
men.shirts.tanks | Shirts > T-Shirts | Tank
men.shirts.polos | Shirts > Polos | Polo
men.shirts.casual | Shirts > Casual Button-Down Shirts | Button-Up
men.shirts.dress | Shirts > Dress Shirts | Dress Shirt
men.sweaters.cardigans | Sweaters | Cardigan
men.sweaters.crewnecks | Sweaters | Pullover
men.sweaters.v_necks | Sweaters | Pullover
men.coats.bombers | Coats, Jackets & Vests | Jacket
men.coats.puffers | Coats, Jackets & Vests | Jacket
men.coats.pea_coats | Coats, Jackets & Vests | Coat
men.coats.rain | Coats, Jackets & Vests | Coat
men.coats.windbreakers | Coats, Jackets & Vests | Jacket
men.coats.vests | Coats, Jackets & Vests | Vest
men.suits.blazers | Suits & Suit Separates | Blazer
men.suits.suits | Suits & Suit Separates | Suit
men.jeans.straight | Jeans | Jeans
men.jeans.slim | Jeans | Jeans
men.jeans.relaxed | Jeans | Jeans
men.jeans.boot_cut | Jeans | Jeans
men.pants.chinos | Pants | Pants
men.pants.cargo | Pants | Pants
men.pants.dress | Pants | Pants
men.pants.joggers | Pants | Pants
men.shorts.athletic | Shorts | Shorts
men.shorts.cargo | Shorts | Shorts
men.shorts.chino | Shorts | Shorts
men.swim.trunks | Swimwear | Swim Trunks
# Clothing, Shoes & Accessories > Men > Men's Shoes | shoes | Men
men.shoes.sneakers | Athletic Shoes | Sneaker
men.shoes.athletic | Athletic Shoes | Athletic
men.shoes.boots | Boots | Boot
men.shoes.loafers | Casual Shoes | Loafer
men.shoes.oxfords | Dress Shoes | Oxford
men.shoes.sandals | Sandals | Sandal
# Clothing, Shoes & Accessories > Men > Men's Accessories | sized | Men
men.accessories.belts | Belts |
men.accessories.hats | Hats |
# Clothing, Shoes & Accessories > Men > Men's Accessories | accessories | Men
men.accessories.ties | Ties, Bow Ties & Ascots |
men.accessories.sunglasses | Sunglasses |
men.accessories.wallets | Wallets |
men.bags.backpacks | Bags |
men.bags.briefcases | Bags |
# Jewelry & Watches | jewelry
men.accessories.jewelry | Men's Jewelry |
# Clothing, Shoes & Accessories > Kids > Girls > Girls' Clothing (Sizes 4 & Up) | kids | Girls
kids.girls.tops | Tops, Shirts & T-Shirts | Top
kids.girls.dresses | Dresses | Dress
kids.girls.bottoms | Bottoms | Bottoms
kids.girls.coats | Outerwear | Jacket
kids.girls.swim | Swimwear | Swimwear
# Clothing, Shoes & Accessories > Kids > Girls | shoes | Girls
kids.girls.shoes | Girls' Shoes |
# Clothing, Shoes & Accessories > Kids > Boys > Boys' Clothing (Sizes 4 & Up) | kids | Boys
kids.boys.tops | Tops, Shirts & T-Shirts | Top
kids.boys.bottoms | Bottoms | Bottoms
kids.boys.coats | Outerwear | Jacket
kids.boys.swim | Swimwear | Swimwear
# Clothing, Shoes & Accessories > Kids > Boys | shoes | Boys
kids.boys.shoes | Boys' Shoes |
# Clothing, Shoes & Accessories > Baby > Girls' Clothing (Newborn-5T) | kids | Baby & Toddler
kids.baby.girls_tops | Tops & T-Shirts | Top
kids.baby.girls_bottoms | Bottoms | Bottoms
kids.baby.girls_dresses | Dresses | Dress
kids.baby.girls_one_pieces | One-Pieces | One-Piece
# Clothing, Shoes & Accessories > Baby > Boys' Clothing (Newborn-5T) | kids | Baby & Toddler
kids.baby.boys_tops | Tops & T-Shirts | Top
kids.baby.boys_bottoms | Bottoms | Bottoms
kids.baby.boys_one_pieces | One-Pieces | One-Piece
# Toys & Hobbies | branded
toys.action_figures | Action Figures & Accessories > Action Figures |
toys.building | Building Toys > LEGO & Building Sets |
toys.vehicles | Diecast & Toy Vehicles > Cars, Trucks & Vans |
toys.plush | Stuffed Animals > Other Stuffed Animals |
toys.board_games | Games > Board & Traditional Games |
toys.puzzles | Puzzles > Jigsaws |
toys.learning | Educational > Learning Toys |
# Dolls & Bears > Dolls, Clothing & Accessories | branded
toys.dolls | Dolls & Doll Playsets |
# Art | plain
home.wall_art | Art Prints |
home.sculptures | Art Sculptures |
# Home & Garden > Home Décor | branded
home.mirrors | Mirrors |
home.clocks | Clocks > Wall Clocks |
home.vases | Vases |
home.candles | Candles & Candle Holders |
home.pillows | Pillows |
home.picture_frames | Frames > Picture Frames |
home.baskets | Baskets |
# Home & Garden > Window Treatments & Hardware | branded
home.curtains | Curtains, Drapes & Valances |
# Home & Garden > Holiday & Seasonal Décor | plain
home.holiday | Other Holiday & Seasonal Décor |
# Home & Garden > Kitchen, Dining & Bar | branded
home.kitchen.bakeware | Bakeware > Other Bakeware |
home.kitchen.cookware | Cookware > Other Cookware |
home.kitchen.utensils | Kitchen Tools & Gadgets > Cooking Utensils |
home.kitchen.storage | Kitchen Storage & Organization > Food Storage |
home.kitchen.knives | Flatware, Knives & Cutlery > Kitchen Knives |
home.kitchen.coffee | Small Kitchen Appliances > Coffee & Tea Accessories |
home.dining.dinnerware | Dinnerware & Serveware > Dinnerware |
home.dining.serveware | Dinnerware & Serveware > Serveware |
home.dining.drinkware | Glassware & Drinkware > Glassware |
home.dining.mugs | Glassware & Drinkware > Mugs |
home.dining.flatware | Flatware, Knives & Cutlery > Flatware |
home.dining.linens | Linens & Textiles > Table Linens |
# Home & Garden > Bedding | branded
home.bedding.blankets | Blankets & Throws |
# Home & Garden > Bedding | bedding
home.bedding.comforters | Comforters & Sets |
home.bedding.duvets | Duvet Covers & Sets |
home.bedding.quilts | Quilts, Bedspreads & Coverlets |
home.bedding.sheets | Sheets & Pillowcases |
# Home & Garden > Bath | branded
home.bath.towels | Towels & Washcloths |
home.bath.shower_curtains | Shower Curtains |
# Cell Phones & Accessories | electronics
electronics.phones | Cell Phones & Smartphones |
electronics.smartwatches | Smart Watches |
# Cell Phones & Accessories | branded
electronics.phone_cases | Cell Phone Accessories > Cases, Covers & Skins |
# Computers/Tablets & Networking | electronics
electronics.tablets | Tablets & eBook Readers |
electronics.laptops | Laptops & Netbooks > PC Laptops & Netbooks |
electronics.keyboards | Keyboards, Mice & Pointers > Keyboards & Keypads |
# Consumer Electronics > Portable Audio & Headphones | electronics
electronics.headphones | Headphones |
electronics.speakers | Audio Docks & Mini Speakers |
# Cameras & Photo | electronics
electronics.cameras | Digital Cameras |
electronics.film_cameras | Film Photography > Film Cameras |
electronics.lenses | Lenses & Filters > Lenses |
# Video Games & Consoles | consoles
electronics.consoles | Video Game Consoles |
# Video Games & Consoles | electronics
electronics.controllers | Video Game Accessories > Controllers & Attachments |
# Video Games & Consoles | games
electronics.video_games | Video Games |
# Music | music
media.vinyl | Vinyl Records |
media.cds | CDs |
# Movies & TV | films
media.dvds | DVDs & Blu-ray Discs |
# Books & Magazines | books
books.fiction | Books |
books.nonfiction | Books |
books.children | Books |
books.cookbooks | Books |
books.textbooks | Textbooks |
# Toys & Hobbies > Collectible Card Games | cards
collectibles.trading_cards | CCG Individual Cards |
# Sports Mem, Cards & Fan Shop > Sports Trading Cards | sports_cards
collectibles.sports_cards | Trading Card Singles |
# Collectibles | comics
collectibles.comics | Comic Books & Memorabilia > Comics & Graphic Novels |
# Collectibles | plain
collectibles.figurines | Decorative Collectibles > Figurines |
collectibles.postcards | Postcards & Supplies > Postcards |
# Sporting Goods | branded
sports.water_bottles | Camping & Hiking > Water Bottles |
sports.yoga | Fitness, Running & Yoga > Yoga & Pilates |
sports.golf_clubs | Golf > Golf Clubs & Equipment |
sports.cycling | Cycling > Bicycle Components & Parts |
sports.camping | Camping & Hiking > Other Camping & Hiking Gear |
# Health & Beauty | branded
beauty.makeup.eyes | Makeup > Eyes |
beauty.makeup.face | Makeup > Face |
beauty.makeup.lips | Makeup > Lips |
beauty.skincare | Skin Care > Other Skin Care |
beauty.hair | Hair Care & Styling > Other Hair Care & Styling |
# Health & Beauty > Fragrances | fragrance
beauty.fragrance | Perfume & Cologne |
# Pet Supplies > Dog Supplies | pets
pets.dog.clothing | Clothing & Shoes |
pets.dog.collars | Leashes, Collars & Harnesses |
# Pet Supplies | branded
pets.dog.toys | Dog Supplies > Toys |
pets.cat.toys | Cat Supplies > Toys |
"""


def _places() -> Iterator[tuple[str, Place]]:
    above, kind, department = "", "", ""
    for line in filter(None, map(str.strip, _TABLE.splitlines())):
        if line.startswith("#"):
            above, kind, department, *_ = (*map(str.strip, line.lstrip("# ").split("|")), "")
            continue
        key, leaf, type_, *_ = (*map(str.strip, line.split("|")), "")
        yield key, Place(tuple(f"{above} > {leaf}".split(" > ")), kind, department or None, type_ or None)


#: Our category → its place on eBay.
PLACES: dict[str, Place] = dict(_places())


def find_place(path: tuple[str, ...]) -> Place | None:
    """The place of a path that the seller named himself, if we know its like."""
    return next((place for place in PLACES.values() if place.path == path), None)

"""What the practice Poshmark offers to choose from: a part of the real menu, in the site's words
(department and category names and the department ids: the site's own, seen 2026-08; sizes: a guess, the
real size tree was not found)."""

from __future__ import annotations

import hashlib
from typing import Any

DEPARTMENTS = {
    "Women": "000e8975d97b4e80ef00a955",
    "Men": "01008c10d97b4e1245005764",
    "Kids": "20008c10d97b4e1245005764",
    "Home": "5b3b13d30640fd0aeb9c5cb6",
    "Pets": "af08bf904024037d7a7b5fad",
    "Electronics": "583c7d134024035188906153",
}

# department > category | size set | subcategories
_TABLE = """
Women > Accessories | accessories | Belts; Gloves & Mittens; Hair Accessories; Hats; Scarves & Wraps; Sunglasses; Watches
Women > Bags | one | Backpacks; Clutches & Wristlets; Cosmetic Bags & Cases; Crossbody Bags; Hobos; Laptop Bags; Mini Bags; Satchels; Shoulder Bags; Totes; Wallets
Women > Dresses | women | High Low; Long Sleeve; Maxi; Midi; Mini; Prom; Strapless; Wedding
Women > Hair | one | Color; Conditioner; Shampoo; Styling; Tools
Women > Intimates & Sleepwear | women | Bras; Pajamas; Robes; Shapewear; Sports Bras
Women > Jackets & Coats | women | Blazers & Suit Jackets; Bomber Jackets; Jean Jackets; Leather Jackets; Pea Coats; Puffers; Trench Coats; Vests
Women > Jeans | women_bottoms | Ankle & Cropped; Boot Cut; Boyfriend; Flare & Wide Leg; Overalls; Skinny; Straight Leg
Women > Jewelry | rings | Bracelets; Brooches; Earrings; Necklaces; Rings
Women > Makeup | one | Blush; Brows; Eyeliner; Eyeshadow; Foundation; Lip Balm & Gloss; Lipstick; Mascara
Women > Pants & Jumpsuits | women_bottoms | Capris; Jumpsuits & Rompers; Leggings; Skinny; Straight Leg; Track Pants & Joggers; Trousers; Wide Leg
Women > Shoes | women_shoes | Ankle Boots & Booties; Athletic Shoes; Combat & Moto Boots; Flats & Loafers; Heeled Boots; Heels; Mules & Clogs; Sandals; Slippers; Sneakers; Winter & Rain Boots
Women > Shorts | women_bottoms | Athletic Shorts; Bermudas; Bike Shorts; Jean Shorts
Women > Skincare | one | Cleanser & Exfoliant; Mask; Moisturizer; Serum & Face Oil
Women > Skirts | women | A-Line or Full; Maxi; Midi; Mini; Pencil
Women > Sweaters | women | Cardigans; Cowl & Turtlenecks; Crew & Scoop Necks; V-Necks
Women > Swim | women | Bikinis; Coverups; One Pieces
Women > Tops | women | Blouses; Bodysuits; Button Down Shirts; Camisoles; Crop Tops; Sweatshirts & Hoodies; Tank Tops; Tees - Long Sleeve; Tees - Short Sleeve; Tunics
Women > Other | one |
Men > Accessories | accessories | Belts; Gloves; Hats; Jewelry; Scarves; Sunglasses; Ties; Watches
Men > Bags | one | Backpacks; Briefcases; Duffel Bags; Laptop Bags; Messenger Bags; Wallets
Men > Grooming | one | Cleanser; Hair Care; Moisturizer; Shaving
Men > Jackets & Coats | men | Bomber & Varsity; Lightweight & Shirt Jackets; Pea Coats; Puffers; Raincoats; Trench Coats; Vests; Windbreakers
Men > Jeans | men_bottoms | Bootcut; Relaxed; Skinny; Slim; Slim Straight; Straight
Men > Pants | men_bottoms | Cargo; Chinos & Khakis; Corduroy; Dress; Sweatpants & Joggers
Men > Shirts | men | Casual Button Down Shirts; Dress Shirts; Jerseys; Polos; Sweatshirts & Hoodies; Tank Tops; Tees - Long Sleeve; Tees - Short Sleeve
Men > Shoes | men_shoes | Athletic Shoes; Boots; Loafers & Slip-Ons; Oxfords & Derbys; Sandals & Flip-Flops; Sneakers
Men > Shorts | men_bottoms | Athletic; Cargo; Flat Front; Jean Shorts
Men > Suits & Blazers | men_suits | Sport Coats & Blazers; Suits; Tuxedos
Men > Sweaters | men | Cardigan; Crewneck; Turtleneck; V-Neck
Men > Swim | men_bottoms | Board Shorts; Rash Guards; Swim Trunks
Men > Other | one |
Kids > Bottoms | kids | Casual; Jeans; Leggings; Overalls; Shorts; Skirts
Kids > Dresses | kids | Casual; Formal
Kids > Jackets & Coats | kids | Jean Jackets; Puffers; Raincoats; Vests
Kids > One Pieces | kids | Bodysuits; Footies
Kids > Shirts & Tops | kids | Blouses; Button Down Shirts; Sweaters; Sweatshirts & Hoodies; Tees - Short Sleeve
Kids > Shoes | kids_shoes | Boots; Dress Shoes; Sandals & Flip Flops; Sneakers
Kids > Swim | kids | Bikinis; One Piece; Rashguards; Swim Trunks
Kids > Toys | one | Action Figures & Playsets; Building Sets & Blocks; Cars & Vehicles; Dolls & Accessories; Learning Toys; Puzzles & Games; Stuffed Animals; Trading Cards
Kids > Other | one |
Home > Accents | one | Accent Pillows; Baskets & Bins; Candles & Holders; Curtains & Drapes; Decor; Picture Frames; Vases
Home > Art | one | Ceramics; Drawing & Illustrations; Painting; Photography; Posters; Prints; Sculpture
Home > Bath | one | Bath Accessories; Bath Towels; Hand Towels; Shower Curtains; Vanity Mirrors
Home > Bedding | bedding | Blankets & Throws; Comforters; Duvet Covers; Pillows; Quilts; Sheets
Home > Dining | one | Bar Accessories; Dinnerware; Drinkware; Flatware; Mugs; Serveware; Table Linens; Water Bottles & Thermoses
Home > Games | one | Board Games; Card Games; Outdoor Games; Puzzles
Home > Holiday | one | Garland; Holiday Decor; Ornaments; Wreaths
Home > Kitchen | one | Bakeware; Coffee & Tea Accessories; Cookbooks; Cooking Utensils; Cookware; Food Storage; Kitchen Tools; Knives & Cutlery
Home > Wall Decor | one | Art & Decals; Clocks; Mirrors; Tapestries
Home > Other | one |
Pets > Dog | pets | Clothing & Accessories; Collars, Leashes & Harnesses; Toys
Pets > Cat | pets | Beds; Clothing & Accessories; Toys
Pets > Other | one |
Electronics > Cameras, Photo & Video | one | Digital Cameras; Film Photography; Lenses; Tripods & Monopods; Video
Electronics > Cell Phones & Accessories | one | Cell Phones; Cases; Chargers; Screen Protectors
Electronics > Computers, Laptops & Parts | one | Laptops; Keyboards; Mice; Webcams
Electronics > Headphones | one | Earbud Headphones; On-Ear Headphones; Over-Ear Headphones
Electronics > Media | one | CDs; DVDs & Blu-ray Discs; Vinyl Records
Electronics > Portable Audio & Video | one | MP3 & MP4 Players; Portable Speakers; Radios
Electronics > Tablets & Accessories | one | Tablets; eBook Readers; Cases; Chargers
Electronics > Video Games & Consoles | one | Consoles; Handheld Consoles; Controllers; Video Games
Electronics > Wearables | one | Smartwatches; Smartwatch Cases
Electronics > Other | one |
"""  # noqa: E501 (one line is one category)


def _numbers(first: int, last: int, step: int = 1) -> list[str]:
    return [str(n) for n in range(first, last + 1, step)]


def _halves(first: float, last: float) -> list[str]:
    return [f"{n / 2:g}" for n in range(int(first * 2), int(last * 2) + 1)]


_LETTERS = ["XXS", "XS", "S", "M", "L", "XL", "XXL"]
#: Size set → tab → sizes. Every set but "one" also has the tab Custom, with a free text.
SIZES: dict[str, dict[str, list[str]]] = {
    "women": {
        "Standard": [*_LETTERS, "00", *_numbers(0, 20, 2), "OS"],
        "Plus": ["1X", "2X", "3X", "4X", "5X"],
        "Petite": [f"{size}P" for size in ("XS", "S", "M", "L", "XL")],
    },
    "women_bottoms": {
        "Standard": [*_LETTERS, "00", *_numbers(0, 20, 2), *_numbers(22, 34)],
        "Plus": ["1X", "2X", "3X", "4X", "5X"],
        "Petite": [f"{size}P" for size in ("XS", "S", "M", "L", "XL")],
    },
    "women_shoes": {"Standard": _halves(4, 13)},
    "men": {"Standard": [*_LETTERS[1:], "3XL", "OS"], "Big & Tall": ["LT", "XLT", "XXLT", "4XL", "5XL"]},
    "men_bottoms": {"Standard": [*_LETTERS[1:], *_numbers(26, 44)]},
    "men_shoes": {"Standard": _halves(5, 15)},
    "men_suits": {"Standard": [f"{chest}{length}" for chest in range(34, 52, 2) for length in "SRL"]},
    "kids": {
        "Baby": ["Preemie", "Newborn", "0-3 Months", "3-6 Months", "6-9 Months", "12 Months", "18 Months"],
        "Girls": ["2T", "3T", "4T", "5T", "4", "5", "6", "6X", "7", "8", "10", "12", "14", "16", "OS"],
        "Boys": ["2T", "3T", "4T", "5T", "4", "5", "6", "7", "8", "10", "12", "14", "16", "18", "20", "OS"],
    },
    "kids_shoes": {"Baby": _numbers(0, 10), "Girls": _halves(1, 6), "Boys": _halves(1, 6)},
    "rings": {"Standard": ["OS", *_halves(4, 12)]},
    "accessories": {"Standard": ["OS", "XS", "S", "M", "L", "XL"]},
    "bedding": {"Standard": ["OS", "Twin", "Twin XL", "Full", "Queen", "King", "California King"]},
    "pets": {"Standard": ["OS", "XXS", "XS", "S", "M", "L", "XL", "XXL"]},
    "one": {"Standard": ["OS"]},
}

CONDITIONS = {"nwt": "New With Tags (NWT)", "uln": "Like New", "ug": "Good", "uf": "Fair"}
COLORS = {
    "Red": "#c62828", "Pink": "#f48fb1", "Orange": "#fb8c00", "Yellow": "#fdd835", "Green": "#2e7d32",
    "Blue": "#1565c0", "Purple": "#6a1b9a", "Gold": "#c9a227", "Silver": "#b0b7bd", "Black": "#111111",
    "Gray": "#8a8a8a", "White": "#ffffff", "Cream": "#fff3d6", "Brown": "#6d4c41", "Tan": "#d2b48c",
}  # fmt: skip
#: A few that the brand field suggests; any other may be typed.
BRANDS = [
    "Adidas", "American Eagle Outfitters", "Anthropologie", "Apple", "Banana Republic", "Coach",
    "Free People", "Gap", "J. Crew", "kate spade", "Lego", "Levi's", "lululemon athletica", "Madewell",
    "Michael Kors", "Nike", "Old Navy", "Patagonia", "Polo by Ralph Lauren", "Sony", "The North Face",
    "Torrid", "Vans", "Zara",
]  # fmt: skip
#: Discount on the buyer's postage that the seller may give: value → words.
DISCOUNTS = {"none": "None", "partial": "-$1.50", "free": "-$6.49 (free)"}


def _id(*path: str) -> str:
    return hashlib.sha256("/".join(path).encode()).hexdigest()[:24]


def _catalog() -> list[dict[str, Any]]:
    departments: dict[str, dict[str, Any]] = {
        name: {"id": id_, "name": name, "key": name.lower(), "categories": []}
        for name, id_ in DEPARTMENTS.items()
    }
    for line in filter(None, map(str.strip, _TABLE.splitlines())):
        path, sizes, subs = (*map(str.strip, line.split("|")), "")[:3]
        department, category = path.split(" > ")
        departments[department]["categories"].append(
            {
                "id": _id(department, category),
                "name": category,
                "size_set": sizes,
                "features": [
                    {"id": _id(department, category, sub), "name": sub}
                    for sub in filter(None, map(str.strip, subs.split(";")))
                ],
            }
        )
    return list(departments.values())


CATALOG = _catalog()


def find_category(department: str, category: str) -> dict[str, Any] | None:
    """By ids."""
    for one in CATALOG:
        for two in one["categories"]:
            if (one["id"], two["id"]) == (department, category):
                return {"department": one, "category": two}
    return None

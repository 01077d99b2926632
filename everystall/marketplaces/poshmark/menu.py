"""Our categories and sizes in Poshmark's words. What Poshmark has no one place for is left out: then the
seller is asked. Names seen 2026-08; the size tree was not found, so sizes outside `STANDARD` go into the
site's own "Custom" field as the seller writes them."""

from __future__ import annotations

from everystall.marketplaces import taxonomy

# our key | the site's department > category > subcategory (which is optional there: left away where ours
# says less than theirs, as a T-shirt that does not tell its sleeves)
_TABLE = """
women.dresses.mini | Women > Dresses > Mini
women.dresses.midi | Women > Dresses > Midi
women.dresses.maxi | Women > Dresses > Maxi
women.dresses.formal | Women > Dresses > Prom
women.dresses.wedding | Women > Dresses > Wedding
women.tops.blouses | Women > Tops > Blouses
women.tops.button_downs | Women > Tops > Button Down Shirts
women.tops.tees | Women > Tops
women.tops.tanks | Women > Tops
women.tops.bodysuits | Women > Tops > Bodysuits
women.tops.tunics | Women > Tops > Tunics
women.tops.hoodies | Women > Tops > Sweatshirts & Hoodies
women.sweaters.cardigans | Women > Sweaters > Cardigans
women.sweaters.crewnecks | Women > Sweaters > Crew & Scoop Necks
women.sweaters.v_necks | Women > Sweaters > V-Necks
women.sweaters.turtlenecks | Women > Sweaters > Cowl & Turtlenecks
women.coats.blazers | Women > Jackets & Coats > Blazers & Suit Jackets
women.coats.jean_jackets | Women > Jackets & Coats > Jean Jackets
women.coats.leather | Women > Jackets & Coats > Leather Jackets
women.coats.puffers | Women > Jackets & Coats > Puffers
women.coats.trench | Women > Jackets & Coats > Trench Coats
women.coats.pea_coats | Women > Jackets & Coats > Pea Coats
women.coats.vests | Women > Jackets & Coats > Vests
women.jeans.skinny | Women > Jeans > Skinny
women.jeans.straight | Women > Jeans > Straight Leg
women.jeans.boot_cut | Women > Jeans > Boot Cut
women.jeans.wide_leg | Women > Jeans > Flare & Wide Leg
women.jeans.overalls | Women > Jeans > Overalls
women.pants.trousers | Women > Pants & Jumpsuits > Trousers
women.pants.leggings | Women > Pants & Jumpsuits > Leggings
women.pants.joggers | Women > Pants & Jumpsuits > Track Pants & Joggers
women.pants.capris | Women > Pants & Jumpsuits > Capris
women.pants.jumpsuits | Women > Pants & Jumpsuits > Jumpsuits & Rompers
women.shorts.denim | Women > Shorts > Jean Shorts
women.shorts.athletic | Women > Shorts > Athletic Shorts
women.shorts.bermuda | Women > Shorts > Bermudas
women.skirts.mini | Women > Skirts > Mini
women.skirts.midi | Women > Skirts > Midi
women.skirts.maxi | Women > Skirts > Maxi
women.skirts.pencil | Women > Skirts > Pencil
women.swim.bikinis | Women > Swim > Bikinis
women.swim.one_pieces | Women > Swim > One Pieces
women.swim.coverups | Women > Swim > Coverups
women.intimates.bras | Women > Intimates & Sleepwear > Bras
women.intimates.sports_bras | Women > Intimates & Sleepwear > Sports Bras
women.intimates.pajamas | Women > Intimates & Sleepwear > Pajamas
women.intimates.robes | Women > Intimates & Sleepwear > Robes
women.shoes.sneakers | Women > Shoes > Sneakers
women.shoes.athletic | Women > Shoes > Athletic Shoes
women.shoes.boots | Women > Shoes
women.shoes.ankle_boots | Women > Shoes > Ankle Boots & Booties
women.shoes.heels | Women > Shoes > Heels
women.shoes.flats | Women > Shoes > Flats & Loafers
women.shoes.sandals | Women > Shoes > Sandals
women.shoes.mules | Women > Shoes > Mules & Clogs
women.shoes.slippers | Women > Shoes > Slippers
women.bags.totes | Women > Bags > Totes
women.bags.crossbody | Women > Bags > Crossbody Bags
women.bags.shoulder | Women > Bags > Shoulder Bags
women.bags.satchels | Women > Bags > Satchels
women.bags.hobos | Women > Bags > Hobos
women.bags.backpacks | Women > Bags > Backpacks
women.bags.clutches | Women > Bags > Clutches & Wristlets
women.bags.cosmetic | Women > Bags > Cosmetic Bags & Cases
women.bags.wallets | Women > Bags > Wallets
women.accessories.belts | Women > Accessories > Belts
women.accessories.hats | Women > Accessories > Hats
women.accessories.scarves | Women > Accessories > Scarves & Wraps
women.accessories.sunglasses | Women > Accessories > Sunglasses
women.accessories.gloves | Women > Accessories > Gloves & Mittens
women.accessories.hair | Women > Accessories > Hair Accessories
women.accessories.watches | Women > Accessories > Watches
women.jewelry.necklaces | Women > Jewelry > Necklaces
women.jewelry.earrings | Women > Jewelry > Earrings
women.jewelry.bracelets | Women > Jewelry > Bracelets
women.jewelry.rings | Women > Jewelry > Rings
women.jewelry.brooches | Women > Jewelry > Brooches
men.shirts.tees | Men > Shirts
men.shirts.polos | Men > Shirts > Polos
men.shirts.casual | Men > Shirts > Casual Button Down Shirts
men.shirts.dress | Men > Shirts > Dress Shirts
men.shirts.hoodies | Men > Shirts > Sweatshirts & Hoodies
men.shirts.tanks | Men > Shirts > Tank Tops
men.shirts.jerseys | Men > Shirts > Jerseys
men.sweaters.cardigans | Men > Sweaters > Cardigan
men.sweaters.crewnecks | Men > Sweaters > Crewneck
men.sweaters.v_necks | Men > Sweaters > V-Neck
men.coats.bombers | Men > Jackets & Coats > Bomber & Varsity
men.coats.puffers | Men > Jackets & Coats > Puffers
men.coats.pea_coats | Men > Jackets & Coats > Pea Coats
men.coats.rain | Men > Jackets & Coats > Raincoats
men.coats.windbreakers | Men > Jackets & Coats > Windbreakers
men.coats.vests | Men > Jackets & Coats > Vests
men.suits.blazers | Men > Suits & Blazers > Sport Coats & Blazers
men.suits.suits | Men > Suits & Blazers > Suits
men.jeans.straight | Men > Jeans > Straight
men.jeans.slim | Men > Jeans > Slim
men.jeans.relaxed | Men > Jeans > Relaxed
men.jeans.boot_cut | Men > Jeans > Bootcut
men.pants.chinos | Men > Pants > Chinos & Khakis
men.pants.cargo | Men > Pants > Cargo
men.pants.dress | Men > Pants > Dress
men.pants.joggers | Men > Pants > Sweatpants & Joggers
men.shorts.athletic | Men > Shorts > Athletic
men.shorts.cargo | Men > Shorts > Cargo
men.shorts.chino | Men > Shorts > Flat Front
men.swim.trunks | Men > Swim
men.shoes.sneakers | Men > Shoes > Sneakers
men.shoes.athletic | Men > Shoes > Athletic Shoes
men.shoes.boots | Men > Shoes > Boots
men.shoes.loafers | Men > Shoes > Loafers & Slip-Ons
men.shoes.oxfords | Men > Shoes > Oxfords & Derbys
men.shoes.sandals | Men > Shoes > Sandals & Flip-Flops
men.accessories.belts | Men > Accessories > Belts
men.accessories.hats | Men > Accessories > Hats
men.accessories.ties | Men > Accessories > Ties
men.accessories.sunglasses | Men > Accessories > Sunglasses
men.accessories.watches | Men > Accessories > Watches
men.accessories.wallets | Men > Bags > Wallets
men.accessories.jewelry | Men > Accessories > Jewelry
men.bags.backpacks | Men > Bags > Backpacks
men.bags.briefcases | Men > Bags
kids.girls.tops | Kids > Shirts & Tops
kids.girls.dresses | Kids > Dresses
kids.girls.bottoms | Kids > Bottoms
kids.girls.coats | Kids > Jackets & Coats
kids.girls.swim | Kids > Swim
kids.girls.shoes | Kids > Shoes
kids.boys.tops | Kids > Shirts & Tops
kids.boys.bottoms | Kids > Bottoms
kids.boys.coats | Kids > Jackets & Coats
kids.boys.swim | Kids > Swim
kids.boys.shoes | Kids > Shoes
kids.baby.girls_tops | Kids > Shirts & Tops
kids.baby.girls_bottoms | Kids > Bottoms
kids.baby.girls_dresses | Kids > Dresses
kids.baby.girls_one_pieces | Kids > One Pieces
kids.baby.boys_tops | Kids > Shirts & Tops
kids.baby.boys_bottoms | Kids > Bottoms
kids.baby.boys_one_pieces | Kids > One Pieces
toys.action_figures | Kids > Toys > Action Figures & Playsets
toys.building | Kids > Toys > Building Sets & Blocks
toys.vehicles | Kids > Toys > Cars & Vehicles
toys.dolls | Kids > Toys > Dolls & Accessories
toys.plush | Kids > Toys > Stuffed Animals
toys.board_games | Home > Games > Board Games
toys.puzzles | Home > Games > Puzzles
toys.learning | Kids > Toys > Learning Toys
home.wall_art | Home > Art
home.mirrors | Home > Wall Decor > Mirrors
home.clocks | Home > Wall Decor > Clocks
home.vases | Home > Accents > Vases
home.candles | Home > Accents > Candles & Holders
home.pillows | Home > Accents > Accent Pillows
home.picture_frames | Home > Accents > Picture Frames
home.baskets | Home > Accents > Baskets & Bins
home.curtains | Home > Accents > Curtains & Drapes
home.sculptures | Home > Art > Sculpture
home.holiday | Home > Holiday > Holiday Decor
home.kitchen.bakeware | Home > Kitchen > Bakeware
home.kitchen.cookware | Home > Kitchen > Cookware
home.kitchen.utensils | Home > Kitchen > Cooking Utensils
home.kitchen.storage | Home > Kitchen > Food Storage
home.kitchen.knives | Home > Kitchen > Knives & Cutlery
home.kitchen.coffee | Home > Kitchen > Coffee & Tea Accessories
home.dining.dinnerware | Home > Dining > Dinnerware
home.dining.drinkware | Home > Dining > Drinkware
home.dining.mugs | Home > Dining > Mugs
home.dining.flatware | Home > Dining > Flatware
home.dining.serveware | Home > Dining > Serveware
home.dining.linens | Home > Dining > Table Linens
home.bedding.blankets | Home > Bedding > Blankets & Throws
home.bedding.comforters | Home > Bedding > Comforters
home.bedding.duvets | Home > Bedding > Duvet Covers
home.bedding.quilts | Home > Bedding > Quilts
home.bedding.sheets | Home > Bedding > Sheets
home.bath.towels | Home > Bath > Bath Towels
home.bath.shower_curtains | Home > Bath > Shower Curtains
electronics.phones | Electronics > Cell Phones & Accessories > Cell Phones
electronics.phone_cases | Electronics > Cell Phones & Accessories > Cases
electronics.tablets | Electronics > Tablets & Accessories > Tablets
electronics.laptops | Electronics > Computers, Laptops & Parts > Laptops
electronics.headphones | Electronics > Headphones
electronics.speakers | Electronics > Portable Audio & Video > Portable Speakers
electronics.cameras | Electronics > Cameras, Photo & Video > Digital Cameras
electronics.film_cameras | Electronics > Cameras, Photo & Video > Film Photography
electronics.lenses | Electronics > Cameras, Photo & Video > Lenses
electronics.smartwatches | Electronics > Wearables > Smartwatches
electronics.consoles | Electronics > Video Games & Consoles > Consoles
electronics.controllers | Electronics > Video Games & Consoles > Controllers
electronics.video_games | Electronics > Video Games & Consoles > Video Games
electronics.keyboards | Electronics > Computers, Laptops & Parts > Keyboards
media.vinyl | Electronics > Media > Vinyl Records
media.cds | Electronics > Media > CDs
media.dvds | Electronics > Media > DVDs & Blu-ray Discs
books.cookbooks | Home > Kitchen > Cookbooks
collectibles.trading_cards | Kids > Toys > Trading Cards
collectibles.sports_cards | Kids > Toys > Trading Cards
collectibles.figurines | Home > Art > Sculpture
sports.water_bottles | Home > Dining > Water Bottles & Thermoses
beauty.makeup.eyes | Women > Makeup
beauty.makeup.face | Women > Makeup
beauty.makeup.lips | Women > Makeup
beauty.skincare | Women > Skincare
beauty.hair | Women > Hair
pets.dog.clothing | Pets > Dog > Clothing & Accessories
pets.dog.collars | Pets > Dog > Collars, Leashes & Harnesses
pets.dog.toys | Pets > Dog > Toys
pets.cat.toys | Pets > Cat > Toys
"""

#: Our category → the site's menu, top to bottom.
CATEGORIES: dict[str, tuple[str, ...]] = {
    key.strip(): tuple(path.strip().split(" > "))
    for key, path in (line.split("|") for line in _TABLE.strip().splitlines())
}

DEPARTMENTS = ("Women", "Men", "Kids", "Home", "Pets", "Electronics")
#: The tab of the size panel for what is no button there: a free text.
CUSTOM = "Custom"
ONE_SIZE = "OS"

_LETTERS = ("XXS", "XS", "S", "M", "L", "XL", "XXL")
_PLUS = ("1X", "2X", "3X", "4X", "5X")
_EVEN = ("00", *(str(n) for n in range(0, 21, 2)))


def _halves(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"{n / 2:g}" for n in range(first * 2, last * 2 + 1))


#: Our size scale → tab of the site's size panel → the sizes that have a button there (guess: NOTES.md).
STANDARD: dict[str, dict[str, tuple[str, ...]]] = {
    "women_clothing": {"Standard": (*_LETTERS, *_EVEN, ONE_SIZE), "Plus": _PLUS},
    "women_pants": {"Standard": (*_LETTERS, *_EVEN, *map(str, range(22, 35))), "Plus": _PLUS},
    "women_shoes": {"Standard": _halves(4, 13)},
    "men_clothing": {"Standard": (*_LETTERS[1:], "3XL", ONE_SIZE)},
    "men_pants": {"Standard": (*_LETTERS[1:], *map(str, range(26, 45)))},
    "men_shoes": {"Standard": _halves(5, 15)},
    "men_suits": {"Standard": tuple(f"{chest}{length}" for chest in range(34, 52, 2) for length in "SRL")},
    "rings": {"Standard": (ONE_SIZE, *_halves(4, 12))},
    "accessories": {"Standard": (ONE_SIZE, "XS", "S", "M", "L", "XL")},
    "bedding": {"Standard": (ONE_SIZE, "Twin", "Twin XL", "Full", "Queen", "King", "California King")},
    "pets": {"Standard": (ONE_SIZE, "XXS", "XS", "S", "M", "L", "XL", "XXL")},
    "one_size": {"Standard": (ONE_SIZE,)},
}


def find_size(scale: str | None, text: str | None) -> str | None:
    """The size as the site writes it, or None where ours has no such size. What asks for no size, and
    what comes in one size only, is "OS" there."""
    if scale in (None, "one_size"):
        return text.strip() if text and text.strip().lower() not in ("one size", "os") else ONE_SIZE
    found = taxonomy.find_size(scale, text or "")
    return ONE_SIZE if found == "One Size" else found


def find_tab(category: str | None, scale: str | None, size: str) -> str:
    """The tab of the size panel in which the size's button should be."""
    for part, tab in (("kids.girls", "Girls"), ("kids.boys", "Boys"), ("kids.baby", "Baby")):
        if (category or "").startswith(part):
            return tab
    tabs = STANDARD.get(scale or "one_size", {})
    found = next((tab for tab, sizes in tabs.items() if size in sizes), None)
    return found or ("Standard" if scale is None else CUSTOM)

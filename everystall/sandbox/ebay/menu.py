"""The practice eBay's own menu: categories, conditions, item specifics, the sellers' policies. A small part
of the real one, good for trying everything; several numbers are the real ones, none is relied on."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Aspect:
    """One item specific."""

    name: str
    options: tuple[str, ...] = ()
    required: bool = False
    #: Several values may be chosen.
    many: bool = False

    @property
    def input_name(self) -> str:
        """As the form names it: with a dot when the aspect has spaces."""
        dot = "." if " " in self.name else ""
        return f"search-box-attributes{dot}{self.name}"


@dataclass(frozen=True)
class Leaf:
    """A category that items are listed in."""

    id: int
    path: tuple[str, ...]
    group: str
    #: Its own required aspects.
    own: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return " > ".join(self.path)


# id | path below the heading | group | aspect = options, all required ; …
_TABLE = """
# Clothing, Shoes & Accessories > Women > Women's Clothing
63861 | Dresses | women | Type = Dress ; Dress Length = Short, Knee-Length, Midi, Long
15720 | Formal & Prom Dresses | women | Type = Dress
15724 | Wedding Dresses | women | Type = Wedding Dress
53159 | Tops | women | Type = Blouse, Button-Up, T-Shirt, Tank, Camisole, Tunic, Top
63867 | Bodysuits | women | Type = Bodysuit
155226 | Hoodies & Sweatshirts | women | Type = Hoodie, Sweatshirt
63866 | Sweaters | women | Type = Cardigan, Pullover ; Neckline = Crew Neck, V-Neck, Turtleneck
63865 | Suits & Suit Separates | women | Type = Blazer, Suit Jacket, Pantsuit
63862 | Coats, Jackets & Vests | women | Type = Coat, Jacket, Vest ; Style = jackets
11554 | Jeans | women | Type = Jeans ; Style = Skinny, Straight, Bootcut, Flared, Wide-Leg, Overalls
63863 | Pants | women | Type = Pants ; Style = Dress Pants, Jogger, Track Pants, Capri, Cropped, Chino
169001 | Leggings | women | Type = Leggings
3009 | Jumpsuits & Rompers | women | Type = Jumpsuit, Romper
11555 | Shorts | women | Type = Shorts ; Style = Denim, Athletic, Bermuda, Casual
63864 | Skirts | women | Type = Skirt ; Style = Mini, Midi, Maxi, Pencil, A-Line
63868 | Swimwear | women | Type = Bikini Set, One-Piece, Cover-Up, Tankini
63853 | Bras & Bra Sets | bras | Type = Bra
185082 | Sports Bras | women | Type = Sports Bra
63855 | Sleepwear & Robes | women | Type = Pajama Set, Robe, Nightgown
# Clothing, Shoes & Accessories > Women > Women's Shoes
95672 | Athletic Shoes | women_shoes | Type = Athletic ; Style = Sneaker, Running, Training, Walking
53557 | Boots | women_shoes | Type = Boot ; Style = Ankle Boot, Mid-Calf Boot, Knee-High Boot, Hiking Boot
55793 | Heels | women_shoes | Type = Heel ; Style = Pump, Strappy, Slingback, Stiletto
45333 | Flats | women_shoes | Type = Flat ; Style = Loafer, Ballet, Oxford
62107 | Sandals | women_shoes | Type = Sandal ; Style = Strappy, Slide, Flip Flop, Wedge
53548 | Mules & Clogs | women_shoes | Type = Clog, Mule ; Style = Mule, Clog, Slide
11632 | Slippers | women_shoes | Type = Slipper ; Style = Slipper
# Clothing, Shoes & Accessories > Women > Women's Bags & Handbags
169291 | Handbags | women_bags | Style = handbags
169292 | Backpacks | women_bags | Style = Backpack
# Clothing, Shoes & Accessories > Women > Women's Accessories
45220 | Wallets | women_accessories | Type = Wallet, Coin Purse, Card Case
45223 | Makeup Bags & Cases | women_accessories | Type = Makeup Bag, Cosmetic Case
3003 | Belts | women_sized | Type = Belt
45230 | Hats | women_sized | Type = Hat, Beanie, Baseball Cap, Sun Hat
45238 | Scarves & Wraps | women_accessories | Type = Scarf, Wrap, Shawl
45246 | Sunglasses & Sunglasses Accessories | women_accessories | Type = Sunglasses
105559 | Gloves & Mittens | women_sized | Type = Gloves, Mittens
45221 | Hair Accessories | women_accessories | Type = Headband, Scrunchie, Hair Clip, Hair Accessory
# Jewelry & Watches > Fashion Jewelry
155101 | Necklaces & Pendants | jewelry | Type = Necklace, Pendant
50647 | Earrings | jewelry | Type = Earrings
261987 | Bracelets & Charms | jewelry | Type = Bracelet, Bangle
67681 | Rings | rings | Type = Ring
50677 | Brooches & Pins | jewelry | Type = Brooch, Pin
# Jewelry & Watches > Men's Jewelry
137843 | Other Men's Jewelry | jewelry | Type = Necklace, Bracelet, Ring, Cufflinks, Jewelry
# Jewelry & Watches > Watches, Parts & Accessories > Watches
31387 | Wristwatches | watches | Type = Wristwatch
# Clothing, Shoes & Accessories > Men > Men's Clothing
15687 | Shirts > T-Shirts | men | Type = T-Shirt
185101 | Shirts > Polos | men | Type = Polo
57990 | Shirts > Casual Shirts & Tops | men | Type = Button-Up, Casual Shirt
57991 | Shirts > Dress Shirts | men | Type = Dress Shirt
185700 | Shirts > Tank Tops | men | Type = Tank
185702 | Shirts > Jerseys | men | Type = Jersey
155183 | Activewear > Hoodies & Sweatshirts | men | Type = Hoodie, Sweatshirt
11484 | Sweaters | men | Type = Cardigan, Pullover ; Neckline = Crew Neck, V-Neck, Turtleneck
57988 | Coats, Jackets & Vests | men | Type = Coat, Jacket, Vest ; Style = jackets
3002 | Suits & Suit Separates > Blazers & Sport Coats | men | Type = Blazer, Sport Coat
183014 | Suits & Suit Separates > Suits | men | Type = Suit
11483 | Jeans | men | Type = Jeans ; Style = Straight, Slim, Relaxed, Bootcut
57989 | Pants | men | Type = Pants ; Style = Chino, Cargo, Dress Pants, Jogger, Sweatpants
15689 | Shorts | men | Type = Shorts ; Style = Athletic, Cargo, Chino
15690 | Swimwear | men | Type = Swim Trunks, Board Shorts
# Clothing, Shoes & Accessories > Men > Men's Shoes
15709 | Athletic Shoes | men_shoes | Type = Athletic ; Style = Sneaker, Running, Training, Basketball
11498 | Boots | men_shoes | Type = Boot ; Style = Boot, Chelsea, Work Boot, Hiking Boot
24087 | Casual Shoes | men_shoes | Type = Casual ; Style = Loafer, Slip On, Boat Shoe
53120 | Dress Shoes | men_shoes | Type = Dress ; Style = Oxford, Derby, Monk Strap
11504 | Sandals | men_shoes | Type = Sandal ; Style = Flip Flop, Slide, Sport Sandal
# Clothing, Shoes & Accessories > Men > Men's Accessories
2993 | Belts | men_sized | Type = Belt
52365 | Hats | men_sized | Type = Hat, Beanie, Baseball Cap
15662 | Ties, Bow Ties & Ascots | men_accessories | Type = Tie, Bow Tie
79720 | Sunglasses & Sunglasses Accessories | men_accessories | Type = Sunglasses
2996 | Wallets | men_accessories | Type = Wallet, Money Clip
52357 | Bags | men_bags | Style = Backpack, Briefcase, Messenger Bag
# Clothing, Shoes & Accessories > Kids > Girls > Girls' Clothing (Sizes 4 & Up)
175521 | Tops, Shirts & T-Shirts | girls | Type = T-Shirt, Top, Blouse
51581 | Dresses | girls | Type = Dress
175522 | Bottoms | girls | Type = Pants, Jeans, Shorts, Skirt, Leggings, Bottoms
51580 | Outerwear | girls | Type = Coat, Jacket, Outerwear
51585 | Swimwear | girls | Type = Swimwear
# Clothing, Shoes & Accessories > Kids > Girls
57929 | Girls' Shoes | girls_shoes | Type = Sneaker, Boot, Sandal, Shoe
# Clothing, Shoes & Accessories > Kids > Boys > Boys' Clothing (Sizes 4 & Up)
175523 | Tops, Shirts & T-Shirts | boys | Type = T-Shirt, Top, Shirt
175524 | Bottoms | boys | Type = Pants, Jeans, Shorts, Bottoms
51933 | Outerwear | boys | Type = Coat, Jacket, Outerwear
51955 | Swimwear | boys | Type = Swimwear
# Clothing, Shoes & Accessories > Kids > Boys
57974 | Boys' Shoes | boys_shoes | Type = Sneaker, Boot, Sandal, Shoe
# Clothing, Shoes & Accessories > Baby > Girls' Clothing (Newborn-5T)
182080 | Tops & T-Shirts | baby_girls | Type = Top, T-Shirt
182081 | Bottoms | baby_girls | Type = Bottoms, Pants, Leggings
260004 | Dresses | baby_girls | Type = Dress
163424 | One-Pieces | baby_girls | Type = One-Piece
# Clothing, Shoes & Accessories > Baby > Boys' Clothing (Newborn-5T)
182082 | Tops & T-Shirts | baby_boys | Type = Top, T-Shirt
182083 | Bottoms | baby_boys | Type = Bottoms, Pants
163425 | One-Pieces | baby_boys | Type = One-Piece
# Toys & Hobbies
261068 | Action Figures & Accessories > Action Figures | plain | Type = Action Figure, Playset
183446 | Building Toys > LEGO (R) & Building Sets | plain | Type = Building Set, Blocks
222 | Diecast & Toy Vehicles > Cars, Trucks & Vans | plain | Type = Car, Truck, Vehicle
2624 | Stuffed Animals > Other Stuffed Animals | plain | Type = Stuffed Animal
180349 | Games > Board & Traditional Games | plain | Type = Board Game
2613 | Puzzles > Jigsaw Puzzles | plain | Type = Jigsaw Puzzle
11731 | Educational > Learning Toys | plain | Type = Learning Toy
# Dolls & Bears
262346 | Dolls, Clothing & Accessories > Dolls & Doll Playsets | plain | Type = Doll, Doll Accessory
# Home & Garden > Home Décor
41511 | Posters & Prints | home | Type = Print, Poster, Wall Art
20580 | Mirrors | home | Type = Mirror
20562 | Clocks | home | Type = Clock
101415 | Vases | home | Type = Vase
46782 | Candles | home | Type = Candle, Candle Holder
20563 | Pillows | home | Type = Pillow, Throw Pillow
79654 | Frames | home | Type = Picture Frame
36015 | Baskets & Boxes | home | Type = Basket, Bin
45515 | Curtains, Drapes & Valances | home | Type = Curtain, Drape
36029 | Sculptures & Figurines | home | Type = Sculpture, Figurine
170090 | Holiday & Seasonal Décor | home | Type = Holiday Decoration
# Home & Garden > Kitchen, Dining & Bar
25464 | Bakeware | home | Type = Bakeware, Baking Pan
98845 | Cookware | home | Type = Cookware, Pot, Pan
20635 | Kitchen Tools & Gadgets | home | Type = Utensil, Kitchen Tool
20652 | Kitchen Storage & Organization | home | Type = Food Storage, Container
177009 | Kitchen & Steak Knives | home | Type = Knife, Knife Set
38252 | Coffee & Tea Makers | home | Type = Coffee Maker, Teapot, Accessory
36027 | Dinnerware & Serving Dishes | home | Type = Dinnerware, Plate, Bowl, Serving Dish
13897 | Glassware & Drinkware | home | Type = Glass, Drinkware
20696 | Mugs | home | Type = Mug
20693 | Flatware, Knives & Cutlery | home | Type = Flatware
20657 | Table Linens | home | Type = Tablecloth, Napkin, Table Linen
# Home & Garden > Bedding
175750 | Blankets & Throws | home | Type = Blanket, Throw
66730 | Comforters & Sets | bedding | Type = Comforter
37644 | Duvet Covers & Sets | bedding | Type = Duvet Cover
175749 | Quilts, Bedspreads & Coverlets | bedding | Type = Quilt, Bedspread
20460 | Sheets & Pillowcases | bedding | Type = Sheet Set, Sheet, Pillowcase
# Home & Garden > Bath
40587 | Towels & Washcloths | home | Type = Bath Towel
20442 | Shower Curtains | home | Type = Shower Curtain
# Cell Phones & Accessories
9355 | Cell Phones & Smartphones | device | Model = | Storage Capacity = 64 GB, 128 GB, 256 GB, 512 GB
20349 | Cases, Covers & Skins | electronics | Type = Case, Cover
178893 | Smart Watches | electronics | Type = Smart Watch
# Computers/Tablets & Networking
171485 | Tablets & eBook Readers | device | Type = Tablet, eBook Reader
177 | Laptops & Netbooks > PC Laptops & Netbooks | device | Type = Laptop
33963 | Keyboards, Mice & Pointers > Keyboards & Keypads | electronics | Type = Keyboard
# Consumer Electronics > Portable Audio & Headphones
112529 | Headphones | electronics | Type = Over-Ear, On-Ear, In-Ear, Headphones
111694 | Audio Docks & Mini Speakers | electronics | Type = Portable Speaker
# Cameras & Photo
31388 | Digital Cameras | device | Type = Digital Camera, Mirrorless, DSLR, Compact
15230 | Film Photography > Film Cameras | device | Type = Film Camera, SLR, Point & Shoot, Instant
3323 | Lenses & Filters > Lenses | electronics | Type = Lens
# Video Games & Consoles
139971 | Video Game Consoles | platform | Type = Home Console, Handheld Console
117042 | Video Game Accessories > Controllers & Attachments | electronics | Type = Controller
139973 | Video Games | game | Game Name =
# Music
176985 | Vinyl Records | record | Release Title =
176984 | CDs | record | Release Title =
# Movies & TV
617 | DVDs & Blu-ray Discs | film | Movie/TV Title =
# Books & Magazines > Books
171228 | Fiction Books | book | Book Title =
171243 | Nonfiction Books | book | Book Title =
171229 | Children's Books | book | Book Title =
171230 | Textbooks | book | Book Title =
171231 | Cookbooks | book | Book Title =
# Collectibles
183454 | Collectible Card Games > CCG Individual Cards | card | Game = card games
259104 | Comic Books & Memorabilia > Comics & Graphic Novels | series | Series Title =
10860 | Decorative Collectibles > Figurines | plain | Type = Figurine
914 | Postcards & Supplies > Postcards | none |
# Sports Mem, Cards & Fan Shop > Sports Trading Cards
261328 | Trading Card Singles | card | Sport = Baseball, Basketball, Football, Ice Hockey, Soccer, Other
# Sporting Goods
23805 | Camping & Hiking > Water Bottles | plain | Type = Water Bottle
158929 | Fitness, Running & Yoga > Yoga Mats | plain | Type = Yoga Mat, Yoga Gear
115280 | Golf > Golf Clubs | plain | Type = Golf Club, Golf Club Set
57262 | Cycling > Bicycle Components & Parts | plain | Type = Bicycle Part, Bicycle Accessory
16034 | Camping & Hiking > Camping Gear | plain | Type = Tent, Sleeping Bag, Camping Gear
# Health & Beauty
172021 | Makeup > Eyes | beauty | Type = Eye Shadow, Mascara, Eyeliner, Eye Makeup
172024 | Makeup > Face | beauty | Type = Foundation, Concealer, Blush, Face Makeup
172025 | Makeup > Lips | beauty | Type = Lipstick, Lip Gloss, Lip Makeup
11863 | Skin Care > Moisturizers | beauty | Type = Moisturizer, Serum, Skin Care
11854 | Hair Care & Styling > Shampoos & Conditioners | beauty | Type = Shampoo, Conditioner, Hair Care
180345 | Fragrances > Perfume & Cologne | beauty | Type = Eau de Parfum, Eau de Toilette, Cologne, Perfume
# Pet Supplies
52352 | Dog Supplies > Clothing & Shoes | pets | Type = Dog Clothing
63057 | Dog Supplies > Collars & Leashes | pets | Type = Dog Collar, Leash
20749 | Dog Supplies > Toys | plain | Type = Dog Toy
20741 | Cat Supplies > Toys | plain | Type = Cat Toy
"""

BRANDS = (
    "Unbranded", "Adidas", "Aerie", "American Eagle", "Anthropologie", "Apple", "Ariat", "Athleta",
    "Banana Republic", "Barbour", "Birkenstock", "Burberry", "Calvin Klein", "Canon", "Carhartt", "Champion",
    "Coach", "Columbia", "Converse", "Corelle", "Dansko", "Dr. Martens", "Eddie Bauer", "Everlane", "Fossil",
    "Frye", "Gap", "Guess", "Gymboree", "H&M", "Hanna Andersson", "Hasbro", "J. Crew", "Janie and Jack",
    "Kate Spade", "KitchenAid", "L.L.Bean", "LEGO", "Levi's", "Lodge", "lululemon", "Madewell", "Mattel",
    "Michael Kors", "Nike", "Nikon", "Nintendo", "Old Navy", "Patagonia", "Pendleton", "Polo Ralph Lauren",
    "Puma", "Pyrex", "Ray-Ban", "Reformation", "Rothy's", "Sam Edelman", "Samsung", "Sony", "Starbucks",
    "The North Face", "Tommy Hilfiger", "Tory Burch", "UGG", "Under Armour", "Vans", "Wrangler", "Yeti",
    "Zara",
)  # fmt: skip
COLORS = (
    "Beige", "Black", "Blue", "Brown", "Gold", "Gray", "Green", "Ivory", "Multicolor", "Orange", "Pink",
    "Purple", "Red", "Silver", "White", "Yellow",
)  # fmt: skip
MATERIALS = (
    "Acrylic",
    "Canvas",
    "Cashmere",
    "Cotton",
    "Denim",
    "Leather",
    "Linen",
    "Polyester",
    "Silk",
    "Wool",
)

_ALPHA = ("XXS", "XS", "S", "M", "L", "XL", "2XL", "3XL", "4XL", "5XL", "One Size")
_NUMBERS = ("00", *map(str, range(23)), "24", "26", "28", "30", "32")
_BABY = (
    "Preemie", "Newborn", "0-3 Months", "3-6 Months", "6-9 Months", "9-12 Months", "12-18 Months",
    "18-24 Months", "2T", "3T", "4T", "5T", "One Size",
)  # fmt: skip
_KIDS = ("XS", "S", "M", "L", "XL", *map(str, range(4, 21)), "One Size")
_SHOES = tuple(f"{n / 2:g}" for n in range(8, 33))
_BRAS = ("32B", "32C", "34A", "34B", "34C", "34D", "36B", "36C", "36D", "38C", "38D")
_BED = ("Crib", "Twin", "Twin XL", "Full", "Full/Queen", "Queen", "King", "California King", "One Size")


def _clothing(department: str, types: tuple[str, ...], sizes: tuple[str, ...]) -> list[Aspect]:
    return [
        Aspect("Brand", BRANDS, True),
        Aspect("Department", (department,), True),
        *([Aspect("Size Type", types, True)] if types else []),
        Aspect("Size", sizes, True),
        Aspect("Color", COLORS, True),
    ]


def _shoes(department: str) -> list[Aspect]:
    return [
        Aspect("Brand", BRANDS, True),
        Aspect("Department", (department,), True),
        Aspect("US Shoe Size", _SHOES, True),
        Aspect("Color", COLORS, True),
    ]


def _accessories(department: str, sizes: tuple[str, ...] = ()) -> list[Aspect]:
    sized = [Aspect("Size", sizes, True)] if sizes else []
    return [
        Aspect("Brand", BRANDS, True),
        Aspect("Department", (department,), True),
        *sized,
        Aspect("Color", COLORS, True),
    ]


_WOMEN = ("Regular", "Petites", "Plus", "Tall", "Juniors", "Maternity")
_MEN = ("Regular", "Big & Tall")
_BRAND = Aspect("Brand", BRANDS, True)
_COLOR = Aspect("Color", COLORS)
#: Group → the aspects that all its leaves ask for; a leaf's own come after them.
GROUPS: dict[str, list[Aspect]] = {
    "women": _clothing("Women", _WOMEN, (*_ALPHA, "1X", "2X", "3X", *_NUMBERS)),
    "bras": _clothing("Women", _WOMEN, _BRAS),
    "men": _clothing("Men", _MEN, (*_ALPHA, *map(str, range(26, 51)))),
    "girls": _clothing("Girls", (), _KIDS),
    "boys": _clothing("Boys", (), _KIDS),
    "baby_girls": _clothing("Baby & Toddler Girls", (), _BABY),
    "baby_boys": _clothing("Baby & Toddler Boys", (), _BABY),
    "women_shoes": _shoes("Women"),
    "men_shoes": _shoes("Men"),
    "girls_shoes": _shoes("Girls"),
    "boys_shoes": _shoes("Boys"),
    "women_bags": _accessories("Women"),
    "men_bags": _accessories("Men"),
    "women_accessories": _accessories("Women"),
    "men_accessories": _accessories("Men"),
    "women_sized": _accessories("Women", _ALPHA),
    "men_sized": _accessories("Men", _ALPHA),
    "jewelry": [_BRAND, _COLOR],
    "rings": [_BRAND, Aspect("Ring Size", tuple(f"{n / 2:g}" for n in range(6, 31)), True), _COLOR],
    "watches": [_BRAND, Aspect("Department", ("Women", "Men", "Unisex Adults"), True), _COLOR],
    "home": [_BRAND, _COLOR],
    "bedding": [_BRAND, Aspect("Size", _BED, True), Aspect("Color", COLORS, True)],
    "electronics": [_BRAND, Aspect("Model"), _COLOR],
    "device": [_BRAND, Aspect("Model", (), True), _COLOR],
    "platform": [_BRAND, Aspect("Platform"), Aspect("Model", (), True), _COLOR],
    "game": [Aspect("Platform", ("Nintendo Switch", "Sony PlayStation 5", "Microsoft Xbox One", "PC"), True)],
    "record": [Aspect("Artist", (), True), Aspect("Format", ("Record", "CD"))],
    "film": [Aspect("Format", ("DVD", "Blu-ray"), True)],
    "book": [Aspect("Author", (), True), Aspect("Language", ("English", "Spanish"), True)],
    "card": [Aspect("Card Name"), Aspect("Set")],
    "series": [Aspect("Publisher")],
    "beauty": [_BRAND, Aspect("Shade"), Aspect("Size")],
    "pets": [_BRAND, Aspect("Size", ("XXS", "XS", "S", "M", "L", "XL", "XXL", "One Size"), True), _COLOR],
    "plain": [_BRAND, _COLOR],
    "none": [],
}  # fmt: skip
#: What anything may have beside them.
OPTIONAL = (
    Aspect("Style"),
    Aspect("Material", MATERIALS, many=True),
    Aspect("Pattern"),
    Aspect("Theme"),
    Aspect("MPN"),
)

_CLOTHING = (
    "New with tags", "New without tags", "New with imperfections", "Pre-owned - Excellent",
    "Pre-owned - Good", "Pre-owned - Fair",
)  # fmt: skip
_SHOE_BOX = (
    "New with box", "New without box", "New with defects", "Pre-owned - Excellent", "Pre-owned - Good",
    "Pre-owned - Fair",
)  # fmt: skip
_OTHER = ("New", "Open box", "Used", "For parts or not working")

#: What a seller has set up for the account: (label of the select, name of the input, the policies).
POLICIES = {
    "paymentPolicyId": ("Immediate payment", "Payment on checkout"),
    "shippingPolicyId": ("Ground, buyer pays", "Ground, free shipping", "Free shipping"),
    "returnPolicyId": ("30 days, buyer pays", "30 days, free returns", "No returns"),
}


#: Lists that are too long for the table.
_LISTS = {
    "jackets": (
        "Bomber", "Jean Jacket", "Leather Jacket", "Pea Coat", "Puffer Jacket", "Raincoat", "Trench Coat",
        "Vest", "Windbreaker",
    ),
    "handbags": ("Backpack", "Clutch", "Crossbody", "Hobo", "Satchel", "Shoulder Bag", "Tote", "Wristlet"),
    "card games": ("Magic: The Gathering", "Pokémon", "Yu-Gi-Oh!", "Other"),
}  # fmt: skip


def _leaves() -> dict[int, Leaf]:
    found: dict[int, Leaf] = {}
    above: tuple[str, ...] = ()
    for line in filter(None, map(str.strip, _TABLE.splitlines())):
        if line.startswith("# "):
            above = tuple(line[2:].split(" > "))
            continue
        number, path, group, *own = (part.strip() for part in line.split("|"))
        aspects = {}
        for text in filter(None, (x.strip() for part in own for x in part.split(";"))):
            name, _, options = text.partition("=")
            listed = tuple(filter(None, (x.strip() for x in options.split(","))))
            aspects[name.strip()] = _LISTS.get(options.strip(), listed)
        found[int(number)] = Leaf(int(number), (*above, *path.split(" > ")), group, aspects)
    return found


#: Every category, by number.
LEAVES: dict[int, Leaf] = _leaves()


def search(text: str, limit: int = 12) -> list[Leaf]:
    """The categories that hold every word, as a full path finds exactly its own; all for nothing."""
    wanted = _words(text)
    found = [leaf for leaf in LEAVES.values() if wanted <= _words(leaf.label)]
    return sorted(found, key=lambda leaf: (len(_words(leaf.label) - wanted), leaf.label))[:limit]


def _words(text: str) -> set[str]:
    return {word for word in "".join(c if c.isalnum() else " " for c in text.lower()).split() if word != "s"}


def conditions(leaf: Leaf) -> tuple[str, ...]:
    """What an item there may be."""
    if leaf.group.endswith("_shoes"):
        return _SHOE_BOX
    if leaf.path[0] in ("Clothing, Shoes & Accessories", "Jewelry & Watches"):
        return _CLOTHING
    return _OTHER


def aspects(leaf: Leaf) -> list[Aspect]:
    """The item specifics it is asked for, required ones first."""
    own = {name: Aspect(name, options, True) for name, options in leaf.own.items()}
    shared = [own.pop(aspect.name, aspect) for aspect in GROUPS[leaf.group]]
    known = {aspect.name for aspect in shared} | set(own)
    every = [*shared, *own.values(), *(aspect for aspect in OPTIONAL if aspect.name not in known)]
    return sorted(every, key=lambda aspect: not aspect.required)


def policy_id(account_number: int, name: str) -> str:
    """Each account has its own numbers for them."""
    place = [policy for policies in POLICIES.values() for policy in policies].index(name)
    return f"{account_number}{place + 10}"

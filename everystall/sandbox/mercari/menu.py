"""The practice Mercari's own menus: categories, size scales, brands, carriers. A part of the real ones,
in their words (NOTES.md of the adapter has the sources); the adapter has its own map and never reads this."""

from __future__ import annotations

# One heading is a department; each line below it a category and its leaves.
_TREE = """
# Women
Dresses: Above knee, mini | Knee-length | Midi | Maxi | High Low | Other | Jumpsuits & Rompers
Tops & blouses: Blouse | Button down shirt | Halter | Knit top | Polo shirt | T-shirts | Tunic |
  Turtleneck | Other | Bodysuits | Tank Tops
Sweaters: Cardigan | Collared | Cowl neck | Crewneck | Full zip | Henley | V-neck | Other |
  Turtleneck Sweaters
Jeans: Boot cut | Boyfriend | Cargo | Flare | Leggings | Overalls | Straight leg | Wide leg |
  Other | Skinny Jeans
Pants: Cargo | Casual pants | Corduroys | Dress pants | Khakis, chinos | Other | Capri Pants
Skirts: A-line | Asymmetrical | Bubble | Full skirt | Maxi | Mini | Straight, pencil | Other
Coats & jackets: Cape | Fleece jacket | Jean jacket | Military | Motorcycle | Peacoat | Puffer |
  Trench | Vest | Other
Suits & blazers: Blazer | Dress suit | Pant suit | Skirt suit | Other
Athletic apparel: Jackets | Jerseys | Shorts | Socks | Sports bras | Vests | Other |
  Athletic Leggings | Athletic Hoodies | Athletic Sweat Pants
Swimwear: One-piece | Two-piece | Cover-ups | Beach accessories
Women's handbags: Shoulder Bags | Tote Bags | Crossbody Bags | Satchel | Hobo Bags | Backpacks |
  Cosmetic bags | Other | Waist Bags & Fanny Packs | Messenger Bags | Bucket Bags
Women's accessories: Sunglasses | Wallets | Belts | Hats | Hair accessories | Watches | Other |
  Scarves | Wraps | Bandanas | Fascinators | Fashion Gloves | Headbands
Jewelry: Rings | Necklaces | Earrings | Bracelets | Nose Rings | Toe Rings | Pins
Shoes: Athletic | Boots | Fashion sneakers | Flats | Outdoor | Oxfords | Heels | Sandals |
  Slippers | Work & safety | Other | Loafers | Mules
Underwear: G-strings & thongs | Panties | Thermal underwear | Bras | Other
Shorts: Bermuda | Bike | Cargo | Chino & khaki | Denim | High-waisted | Other
Sleepwear & robes: Nightgowns & sleep shirts | Pajama pants | Pajama sets | Pajama shorts |
  Pajama tops | Robes | Other
# Men
Tops: Button-front | Dress shirts | Hawaiian | Henley | Tank | T-shirts | Turtleneck | Other |
  Polos | Rugby Shirts
Sweats & hoodies: Hoodie | Sweatshirt, pullover | Sweat Pants | Sweatsuits | Track jacket | Other
Sweaters: Cardigan | Crewneck | Full zip | Polo | Turtleneck | Vest | V-neck | Other
Jeans: Baggy, loose | Boot cut | Cargo | Carpenter | Classic, straight leg | Overalls | Relaxed |
  Other | Slim Jeans
Pants: Cargo | Carpenter | Casual pants | Corduroys | Dress - flat front | Khakis, chinos | Other
Shorts: Athletic | Board, surf | Cargo | Carpenter, utility | Casual shorts | Corduroys |
  Khakis, chinos | Other
Coats & jackets: Fleece jacket | Flight/bomber | Jean jacket | Military | Motorcycle | Peacoat |
  Puffer | Rainwear | Vest | Windbreaker | Other
Blazers & sport coats: Double breasted | Four button | One button | Three button | Other
Suits: One button | Two button | Three button | Four button | Other
Athletic apparel: Competitive swimwear | Jackets | Jerseys | Pants | Shorts | Other | Jerseys
Swimwear: Board shorts | Swim briefs | Swim trunks
Men's accessories: Belts | Hats | Sunglasses | Ties | Watches | Other | Wallets | Backpacks |
  Bags | Briefcases | Bandanas | Bow Ties | Collar Stays
Shoes: Athletic | Boots | Fashion sneakers | Outdoor | Oxfords | Sandals | Slippers |
  Work & safety | Loafers | Slip-Ons
# Kids
Girls bottoms: Girls 0-24 mos | Girls 2T-5T | Girls (4+)
Girls coats & jackets: Girls 0-24 mos | Girls 2T-5T | Girls (4+)
Girls dresses: Girls 0-24 mos | Girls 2T-5T | Girls (4+)
Girls one-pieces: Girls 0-24 mos | Girls 2T-5T
Girls shoes: Girls 0-24 mos | Girls 2T-5T | Girls (4+)
Girls swimwear: Girls 0-24 mos | Girls 2T-5T | Girls (4+)
Girls tops & t-shirts: Girls 0-24 mos | Girls 2T-5T | Girls (4+)
Boys bottoms: Boys 0-24 mos | Boys 2T-5T | Boys (4+)
Boys coats & jackets: Boys 0-24 mos | Boys 2T-5T | Boys (4+)
Boys one-pieces: Boys 0-24 mos | Boys 2T-5T
Boys swimwear: Boys 0-24 mos | Boys 2T-5T | Boys (4+)
Boys shoes: Boys 0-24 mos | Boys 2T-5T | Boys (4+)
Boys tops & t-shirts: Boys 0-24 mos | Boys 2T-5T | Boys (4+)
# Home
Kitchen & dining: Other | Home Brewing Supplies | Wine Making Supplies | Cutlery Accessories |
  Water Coolers
Bedding: Quilts | Bed pillows | Bed in a bag | Mattress pads | Inflatable beds | Other |
  Comforters | Duvet Covers | Bed Sheets | Blankets
Bath: Bath linen sets | Bath rugs | Bathroom accessories | Bathroom furniture sets | Towels | Other
Home decor: Baskets | Clocks | Decorative pillows | Doormats | Doorstops | Draft stoppers |
  Home decor accents | Home fragrance | Mirrors | Window treatments | Vases | Other |
  Home Candles | Picture Frames
Artwork: Drawings | Paintings | Photographs | Other | Etchings | Art Prints
Seasonal decor: Christmas | Easter | Halloween | Valentine | Other
Kitchen Cookware: Casserole Pans | Cookware Sets | Dutch Ovens | Fry Pans | Other Cookware
Kitchen Dinnerware: Appetizer Plates | Bowls | Dinner Plates | Dinnerware Sets | Other Dinnerware
Kitchen & Table Linens: Kitchen Aprons | Kitchen Cloth Napkins | Kitchen Napkin Holders |
  Kitchen Napkin Rings | Other Kitchen Linens
Kitchen Utensils: Cooking Food Turners | Cooking Ladles | Kitchen Basting Brushes |
  Kitchen Choppers | Other Kitchen Utensils
Kitchen Storage: Food Storage Bags | Food Storage Containers | Fruit Baskets |
  Kitchen Bread Boxes | Kitchen Canisters
Kitchen Drinkware: Coffee Mugs | Drinking Glasses | Glassware Collections | Straws | Tea Cups |
  Travel Mugs | Water Bottles
Kitchen Flatware: Butter Knives | Chopstick Holders | Chopsticks | Dinner Knives | Flatware Sets
# Vintage & collectibles
Paper ephemera: Postcard | Advertisement | Map | Stamps | Game | Other
# Beauty
Fragrance: Women | Men | Kids | Sets | Other
Hair care: Conditioners | Hair & scalp treatments | Hair color | Hair loss products | Other
Makeup: Body | Eyes | Face | Lips | Makeup palettes | Makeup remover | Makeup sets | Other
Skin care: Body | Eyes | Face | Feet | Other
# Electronics
Cameras & photography: Digital cameras | Camcorders | Camera & photo accessories |
  Lighting & studio | Film & Polaroid Cameras | Other | Camera Filters | Camera Lenses
Computers & Laptops: Networking & connectivity | Other | Monitors & Screens |
  Computer Accessories | Laptops | Netbooks | Desktops Computers
Cell phones & accessories: Cell phones & smartphones | Cell phone accessories | Headsets |
  Screen protectors | Batteries | Other | Cell Phone Cases
Video games & consoles: Games | Consoles | Accessories | Strategy guides |
  Replacement parts & tools | Other | PC Gaming
Media: Blu-ray | DVD | CD | VHS | Other
Wearables: Smart Watches | Smart Watch Accessories | Fitness Trackers
Home Audio: Other Home Audio | Audio Accessories | Studio recording equipment |
  Bluetooth Speakers | Docking Stations
Headphones & MP3 Players: Headphones | MP3 Players | Bluetooth Headphones
Tablets & E-readers: iPad/tablet/ebook readers | Tablet Accessories | Tablet Cases |
  Tablet Covers | Tablet Skins
# Sports & outdoors
Golf: Men's golf clubs | Women's golf clubs | Golf apparel | Golf shoes | Other
Outdoors: Water sports | Indoor/outdoor games | Boating | Other | Biking Equipment |
  Skating Equipment
Yoga Equipment: Yoga Blankets | Yoga Blocks | Yoga Bolsters & Cushions | Yoga Mat Bags |
  Other Yoga Equipment
Camping Equipment: Camping Canopies | Camping Chairs | Camping Coolers & Ice Chests |
  Camping Tables | Other Camping Equipment
# Books
Fiction Books: Comics | Sci-fi & Fantasy Books | Literary Fiction Books |
  Fictional Children's Books | Manga | Other Fiction Books
Nonfiction Books: Craft Books | Business & Finance Books | Politics Books |
  Religion & Spirituality Books | Other Nonfiction Books
Reference Books: Cookbooks | Other Reference Books | Educational & Instructional Books |
  Dictionaries | Thesauruses | Textbooks
# Pet Supplies
Cat Supplies: Cat Beds | Cat Bowls & Feeders | Cat Brushes | Cat Carriers | Cat Toys
Dog Supplies: Dog Cages | Dog Beds | Dog Blankets | Dog Bowls & Feeders | Dog Collars | Dog Toys |
  Other Dog Supplies
# Toys & Collectibles
Action Figures & Accessories: Action Figures | Action Figure Accessories | Action Figure Playsets
Collectibles & Hobbies: Model Vehicles | Model Kits | Squishies | Figurines | Glass | Dolls |
  Comics | Other
Building Toys: Stacking Blocks | Wooden Blocks | Magnetic Construction | Building Kit Accessories |
  Toy Building Blocks
Games & Puzzles: Board Games | Card Games | Chess & Checkers | Tile Games | Stacking Games |
  Jigsaw Puzzles
Remote Control Toys & Vehicles: Remote Control Vehicles & Animals | Kids Drones & Flying Toys |
  Play Vehicles | Racetracks & Playsets | Robotics
Stuffed Animals & Plush: Stuffed Animals | Stuffed Animal Accessories | Beanbag Plushies |
  Plush Puppets | Plush Figures
Learning & Education Toys: Music & Art Learning Toys | Math Toys | Counting Toys | Alphabet Toys |
  Learning & Development Toys
Trading Cards: Other Trading Cards | Booster Packs | Trading Card Boxes | Trading Card Decks |
  Single Cards
Sports Trading Cards: Other Sports Trading Cards | Auto Racing Trading Cards |
  Baseball Trading Cards | Basketball Trading Cards | Boxing Trading Cards
"""


def _tree() -> dict[str, dict[str, list[str]]]:
    tree: dict[str, dict[str, list[str]]] = {}
    department = ""
    for line in _TREE.strip().splitlines():
        if line.startswith("# "):
            department = line[2:]
            tree[department] = {}
        elif line.startswith("  "):
            tree[department][next(reversed(tree[department]))] += line.strip(" |").split(" | ")
        else:
            name, _, leaves = line.partition(": ")
            tree[department][name] = leaves.strip(" |").split(" | ")
    return tree


#: Department → category → leaves.
TREE = _tree()

#: Size group → labels, in the order of the site's list.
SIZES: dict[str, list[str]] = {
    "1": [
        "XXS (00)", "XS (0-2)", "S (4-6)", "M (8-10)", "L (12-14)", "XL (16-18)", "2XL (20-22)",
        "3XL (24-26)", "4XL (28-30)", "5XL (32-34)", "One Size", "1X (16-18)", "XS (0-1)", "S (3-5)",
        "M (7-9)", "L (11-13)", "XL (15-17)",
    ],
    "2": [
        "XS (30-32)", "S (34-36)", "M (38-40)", "L (42-44)", "XL (46-48)", "XXL (50-52)", "3XL (54-56)",
        "4XL (58-60)", "5XL (62-64)", "One Size", "Big 1X", "Big 2X", "Big 3X", "Big 4X+",
    ],
    "3": [
        *(f"{n} in." for n in (*range(23, 35), *range(36, 58, 2))), "58+ in.", "XXS and Below", "XS", "S",
        "M", "L", "XL", "2X", "3XL", "4XL+", "One Size",
    ],
    "4": [
        "34R", "35R", "36S", "36R", *(f"{n}{x}" for x in "SRL" for n in range(38, 58, 2)),
        "XXS and Below", "XS", "S", "M", "L", "XL", "2X", "3XL", "4XL+", "One Size",
    ],
    "5": [
        "3.5 and below", "4 (35)", "4.5 (35)", "5 (35.5)", "5.5 (36)", "6 (36.5)", "6.5 (37)", "7 (37.5)",
        "7.5 (38)", "8 (38.5)", "8.5 (39)", "9 (39.5)", "9.5 (40)", "10 (40.5)", "10.5 (41)", "11 (41.5)",
        "11.5 (42)", "12 (42.5)", "12.5 (43)", "13 (43.5)", "13.5 (44)", "14 & Up (44.5)",
    ],
    "8": [
        "Newborn", "0-3 Months", "3-6 Months", "6-9 Months", "9-12 Months", "12-18 Months", "24 Months",
        "One Size", "Not Specified",
    ],
    "8T": ["2T", "3T", "4T", "5T", "One Size", "Not Specified"],
    "8K": ["XS (4-5)", "S (6-7)", "M (8)", "L (10-12)", "XL (14-16)", "2XL (18)", "One Size"],
    "10": ["0", "0.5", "1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5"],
    "10T": [f"{n / 2:g}" for n in range(10, 21)],
    "10K": ["10.5", "11", "11.5", "12", "12.5", "13", "13.5", *(f"{n / 2:g}" for n in range(2, 15))],
    "11": [
        "5 (38)", "5.5 (38.5)", "6 (39)", "6.5 (39.5)", "7 (40)", "7.5 (40.5)", "8 (41)", "8.5 (41.5)",
        "9 (42)", "9.5 (42.5)", "10 (43)", "10.5 (43.5)", "11 (44)", "11.5 (44.5)", "12 (45)",
        "12.5 (45.5)", "13 (46)", "13.5 (46.5)", "14 (47)", "14.5 (47.5)", "15 (48)", "15.5 (48.5)",
        "16 (49)", "17 (49.5)", "18 (50)",
    ],
    "12": [
        "30A (XX-Small)", "30B (XX-Small)", "30C (X-Small)", "30D (X-Small)", "30E (30DD US)",
        "30F (30DDD US)", "30G US", "32AA",
        *(f"{n}{x}" for x in ("A", "B", "C", "D", "E (DD)", "F (DDD)", "G (4D)", "H (5D)")
          for n in range(32, 46, 2)),
        "XS", "S", "M", "L", "XL",
    ],
}  # fmt: skip

_NO_SIZE = {"Women's handbags", "Women's accessories", "Men's accessories", "Jewelry"}
_WAISTED = {"Jeans", "Pants", "Shorts"}


def size_group(path: list[str]) -> str | None:
    """Which size scale a category asks for, or None."""
    top, middle, leaf = (*path, "", "", "")[:3]
    if top not in ("Women", "Men", "Kids") or middle in _NO_SIZE:
        return None
    if top == "Kids":
        group = "10" if "shoes" in middle else "8"
        return group + ("K" if "(4+)" in leaf else "T" if "2T-5T" in leaf else "")
    if middle == "Shoes":
        return "5" if top == "Women" else "11"
    if top == "Women":
        return "12" if leaf == "Bras" else "3" if middle in _WAISTED else "1"
    if middle in ("Suits", "Blazers & sport coats"):
        return "4"
    return "3" if (middle in _WAISTED and leaf != "Athletic") or middle == "Swimwear" else "2"


BRANDS = sorted(
    {
        *"""Abercrombie & Fitch;Acne Studios;Adidas;Aerie;Aeropostale;Allbirds;American Eagle;Ann Taylor;
        Anthropologie;Apple;Arc'teryx;Asics;Athleta;Aveda;Banana Republic;Barbour;Betsey Johnson;Birkenstock;
        Bose;Brooks;Brooks Brothers;Burberry;Callaway;Calvin Klein;Canon;Carhartt;Carter's;Casio;Champion;
        Chanel;Chloé;Clarks;Coach;Cole Haan;Columbia;Converse;Corelle;Crate & Barrel;Crocs;Cuisinart;Diesel;
        Disney;DKNY;Dooney & Bourke;Dr. Martens;Eddie Bauer;Eileen Fisher;Everlane;Fender;Fila;Filson;
        Fisher-Price;Fitbit;Fjällräven;Forever 21;Fossil;Frame;Free People;Frye;Fujifilm;Funko;Gap;Garmin;
        GoPro;Gucci;Guess;H&M;Hanna Andersson;Harley-Davidson;Hasbro;Hermès;Hollister;HP;Hunter;IKEA;
        Instant Pot;J. Crew;Jansport;JBL;Jordan;Kate Spade;Keen;KitchenAid;Kodak;L.L. Bean;Lacoste;Lands' End;
        Le Creuset;LEGO;Leica;Lenovo;Levi's;Lilly Pulitzer;LOFT;Logitech;Longchamp;Louis Vuitton;Lucky Brand;
        Lululemon;MAC;Madewell;Marc Jacobs;Marvel;Mattel;Melissa & Doug;Merrell;Michael Kors;Microsoft;
        Moncler;Mossimo;Nautica;NBA;New Balance;Nike;Nikon;Nine West;Nintendo;Nordstrom;Old Navy;On;
        OshKosh;Osprey;Pandora;Patagonia;Pendleton;Pokémon;Polo Ralph Lauren;Pottery Barn;Prada;Puma;Pyrex;
        Ralph Lauren;
        Ray-Ban;Reebok;REI;Rolex;Salomon;Samsonite;Samsung;Sephora;Sony;Sorel;Speedo;Sperry;Stanley;
        Starbucks;Steve Madden;Stussy;Supreme;Swarovski;Talbots;Target;Teva;The North Face;Theory;
        Tiffany & Co.;
        Timberland;TOMS;Tommy Bahama;Tommy Hilfiger;Tory Burch;True Religion;UGG;Under Armour;Uniqlo;
        Urban Outfitters;Vans;Vera Bradley;Versace;Victoria's Secret;Vineyard Vines;Vintage;Walt Disney;
        Wrangler;Yeti;Zara""".replace("\n        ", "").split(";"),
    },
    key=str.lower,
)

#: (carrier, service, most ounces, cents up to 16 oz, cents per further pound). USPS class ids: see CLASSES.
CARRIERS = [
    ("USPS", "Ground Advantage", 1120, 549, 130),
    ("UPS", "Ground", 2400, 899, 95),
    ("FedEx", "Ground Economy", 1120, 829, 110),
]
#: Most ounces → USPS class id.
CLASSES = {4: 2549, 8: 2550, 12: 2509, 16: 2552, 32: 2553, 48: 2554, 64: 2555, 80: 2556, 96: 2557}


def labels_for(weight_oz: int) -> list[dict[str, object]]:
    """The prepaid labels that are offered for a weight: carrier, service, class id, cents."""
    offered: list[dict[str, object]] = []
    for place, (carrier, service, most, first, more) in enumerate(CARRIERS):
        if weight_oz > most:
            continue
        cents = first + more * max(0, -(-(weight_oz - 16) // 16))
        known = next((number for limit, number in CLASSES.items() if weight_oz <= limit), 0)
        class_id = known if carrier == "USPS" and known else 3000 + 100 * place + -(-weight_oz // 16)
        offered.append({"carrier": carrier, "service": service, "id": class_id, "cents": cents})
    return offered

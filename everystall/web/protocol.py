"""HTTP as uvicorn reads it, with an end to what it keeps before we are asked: httptools' parser holds the
address, headers and trailers of a request until each is whole, however long it is."""

from __future__ import annotations

import json
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes without anything whole among them. What browsers and extensions send of headers is a few kB.
LONGEST: Final = 64 * 1024


class Protocol(HttpToolsProtocol):
    #: Bytes since the last head, piece of a body or end of a request.
    _pending = 0

    def data_received(self, data: bytes) -> None:
        self._pending += len(data)
        super().data_received(data)
        if self._pending > LONGEST and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")

    def send_400_response(self, msg: str) -> None:
        """What no application saw is refused in its shape too."""
        said = {"error": "bad_request", "message": msg, "action": "Mend the request and send it again."}
        body = json.dumps(said).encode()
        head = (
            f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def on_headers_complete(self) -> None:
        self._pending = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._pending = 0
        super().on_message_complete()

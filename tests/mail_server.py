"""A mail server on this machine, and what came to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult


class MailServer:
    """`answer`: what it says to a mail instead of taking it. `password`: what lets `postman` in."""

    def __init__(self, password: str) -> None:
        self.got: list[EmailMessage] = []
        self.to: list[list[str]] = []
        self.answer: str | None = None
        self.password = password

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # aiosmtpd's own name
        if self.answer is not None:
            return self.answer
        self.got.append(message_from_bytes(envelope.content, policy=policy.default))
        self.to.append(envelope.rcpt_tos)
        return "250 taken"

    def text(self) -> str:
        """Of the last that came."""
        body = self.got[-1].get_body(("plain",))
        assert body is not None
        return str(body.get_content())

    def _lets_in(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == self.password.encode(), handled=False)

    def _greet(self) -> SMTP:
        return SMTP(self, authenticator=self._lets_in, auth_required=True, auth_require_tls=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its SMTP_URL."""
        server = await asyncio.get_running_loop().create_server(self._greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"smtp+plain://postman:{self.password}@127.0.0.1:{port}?from=Everystall <shop@example.com>"
        finally:
            server.close()

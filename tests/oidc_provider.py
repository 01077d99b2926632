"""An OpenID provider on this machine, over HTTP: it knows PKCE and its client's secret, signs whoever is sent
to it in as the person that the test names, and lies where it is told to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "everystall", "the client's own secret"


@dataclass
class Provider:
    issuer: str
    key: RSAKey
    #: Who is at the browser.
    person: dict[str, Any] = field(default_factory=dict)
    #: What the ID token says otherwise than it is; None: it lacks it.
    lies: dict[str, Any] = field(default_factory=dict)
    #: Signs instead of `key`.
    forger: Any = None
    header: dict[str, Any] = field(default_factory=dict)
    #: What is done with a token before it is sent.
    twist: Any = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    #: What came to the token endpoint.
    asked: list[dict[str, str]] = field(default_factory=list)

    def token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce,
            **self.person, **self.lies,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": self.key.kid, **self.header}
        made = jwt.encode(header, claims, self.forger or self.key, algorithms=[header["alg"]])
        return str(self.twist(made) if self.twist else made)


def _app(provider: Provider) -> FastAPI:
    app = FastAPI()

    @app.get("/.well-known/openid-configuration")
    async def discovery() -> dict[str, Any]:
        return {
            "issuer": provider.issuer,
            "authorization_endpoint": f"{provider.issuer}/authorize",
            "token_endpoint": f"{provider.issuer}/token",
            "jwks_uri": f"{provider.issuer}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }

    @app.get("/keys")
    async def keys() -> dict[str, Any]:
        return {"keys": [provider.key.as_dict(private=False)]}

    @app.get("/authorize")
    async def authorize(request: Request) -> Response:
        asked = dict(request.query_params)
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        provider.codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"], "iss": provider.issuer})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", 303)

    @app.post("/token")
    async def token(
        request: Request, code: str = Form(), code_verifier: str = Form(), redirect_uri: str = Form()
    ) -> Response:
        provider.asked.append({"code": code})
        known = base64.b64decode(request.headers.get("authorization", " ").split(" ")[1]).decode()
        asked = provider.codes.pop(code, None)
        digest = hashlib.sha256(code_verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if known.partition(":")[0] != CLIENT:
            return JSONResponse({"error": "invalid_client"}, 401)
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != redirect_uri:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse(
            {
                "access_token": "opaque", "token_type": "Bearer",
                "id_token": provider.token(asked["nonce"]),
            }
        )  # fmt: skip

    return app


@asynccontextmanager
async def running() -> AsyncIterator[Provider]:
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    issuer = f"http://127.0.0.1:{listening.getsockname()[1]}"
    provider = Provider(issuer, RSAKey.generate_key(2048, {"kid": "one"}))
    config = uvicorn.Config(_app(provider), lifespan="off", log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield provider
    finally:
        server.should_exit = True
        await serving

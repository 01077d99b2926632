"""The web with one route more, which gives what `GET /api/tokens` gives without asking who is there and past
row-level security: what the walls cost is the difference between two requests to one process."""

from __future__ import annotations

import asyncio
import os
from argparse import ArgumentParser
from uuid import UUID

import uvicorn
from sqlalchemy import func, select

from everystall.db import Database
from everystall.models import ApiToken
from everystall.processes import end_with_parent
from everystall.settings import load
from everystall.web.account import TokenOut, TokensOut
from everystall.web.app import create_app

ROUTE = "/open/tokens"


async def serve(port: int) -> None:
    app, admin = create_app(load()), Database(os.environ["DATABASE_ADMIN_URL"])

    @app.get(f"{ROUTE}/{{user_id}}")
    async def list_tokens(user_id: UUID) -> TokensOut:
        alive = ApiToken.expires_at.is_(None) | (ApiToken.expires_at > func.now())
        wanted = select(ApiToken).where(
            ApiToken.user_id == user_id, ApiToken.kind == "api", ApiToken.revoked_at.is_(None), alive
        )
        async with admin.as_app() as session:
            rows = list(await session.scalars(wanted.order_by(ApiToken.created_at.desc(), ApiToken.id)))
        return TokensOut(
            tokens=[
                TokenOut(
                    id=row.id, name=row.name, scopes=row.scopes or ["*"], created_at=row.created_at,
                    last_used_at=row.last_used_at, expires_at=row.expires_at,
                )
                for row in rows
            ]
        )  # fmt: skip

    config = uvicorn.Config(app, port=port, log_level="warning", access_log=False, proxy_headers=False)
    await uvicorn.Server(config).serve()


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--with-parent", action="store_true")
    given = parser.parse_args()
    if given.with_parent:
        end_with_parent()
    asyncio.run(serve(given.port))


if __name__ == "__main__":
    main()

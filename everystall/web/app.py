"""The web: receives sessions, listings and wishes, commits rows and wake-ups together,
answers in JSON and in pages.

Never imports a browser: a listing is checked by the marketplaces' forms alone. Nothing happens at import.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute, Match
from starlette.types import Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from everystall import __version__
from everystall.content.photo_store import know_store
from everystall.content.photos import Photos
from everystall.db import Database
from everystall.errors import Misconfigured
from everystall.settings import Settings
from everystall.vault import rotation
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.web import (
    account,
    answers,
    archives,
    captures,
    connections,
    content,
    deleted,
    export,
    factors,
    health,
    hints,
    identities,
    imports,
    invitations,
    job_webhook,
    jobs,
    listing_templates,
    listings,
    live,
    live_imports,
    matches,
    metrics,
    notifications,
    pairings,
    passkeys,
    price_changes,
    price_drops,
    prices,
    publications,
    relisting,
    sales,
    sessions,
    sittings,
    vocabulary,
    webhooks,
)
from everystall.web import photos as listing_photos
from everystall.web.addresses import Rooted
from everystall.web.deps import Parts
from everystall.web.draining import Draining
from everystall.web.edge import Edge
from everystall.web.limits import Limited, Limits
from everystall.web.listening import Listening
from everystall.web.pages import PAGES, reference
from everystall.web.render import Files
from everystall.web.traced import Traced

#: `/api/listings/post` stands before `/api/listings/{listingId}`, `…/relist` before `…/{action}`.
ROUTERS = (
    health.router,
    account.router,
    factors.router,
    passkeys.router,
    identities.router,
    invitations.router,
    pairings.router,
    sessions.router,
    sittings.router,
    connections.router,
    jobs.router,
    listings.router,
    content.router,
    deleted.router,
    listing_templates.router,
    listing_photos.router,
    relisting.router,
    publications.router,
    sales.router,
    hints.router,
    prices.router,
    price_changes.router,
    price_drops.router,
    vocabulary.router,
    export.router,
    imports.router,
    archives.router,
    live_imports.router,
    matches.router,
    notifications.router,
    webhooks.router,
    job_webhook.router,
)


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    vault: Vault | None = None,
    photos: Photos | None = None,
    limits: Limits | None = None,
) -> FastAPI:
    """The application. What is not given is made at start-up from the settings, and closed at the end.

    Raises Misconfigured at start-up: no database, a login that could bypass row-level security, no key.
    """

    limits = limits or Limits(settings.redis_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.parts = await _parts(settings, database, vault, photos, limits, stack)
            yield

    app = FastAPI(
        title="Everystall",
        version=__version__,
        summary="Write a listing once; sell it at every stall.",
        lifespan=lifespan,
        # their pages load scripts from other people's servers
        docs_url=None,
        redoc_url=None,
        # paths in the API's answers are below this, as those of its description are
        servers=[{"url": settings.everystall_root_path}] if settings.everystall_root_path else None,
    )
    if database is not None and vault is not None and photos is not None:
        app.state.parts = Parts(settings, database, vault, photos, limits, *_listening(database))
    answers.install(app)
    app.router.routes.extend(_routes())
    app.mount("/static", Files())
    # the last is the outermost
    app.add_middleware(Limited, settings=settings)
    app.add_middleware(Traced)
    app.state.draining = Draining()
    app.add_middleware(Edge, settings=settings, draining=app.state.draining)
    # who is behind a proxy is taken from X-Forwarded-For, if the proxy is one that we know
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxies)
    app.add_middleware(Rooted, root=settings.everystall_root_path)
    return app


class _Pages(APIRouter):
    """What the API is asked does not go past each page first."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.NONE, {}) if scope["path"].startswith("/api/") else super().matches(scope)


@cache
def _routes() -> Sequence[BaseRoute]:
    """Everything but files. Once a process: to read what each takes costs 0.2 s at an application's first
    request, and tests make one each. A request asks one router after the other: what open pages ask again and
    again stands first, the API last."""
    routes, pages = APIRouter(), _Pages(include_in_schema=False)
    for router in (live.router, sittings.live, metrics.router):
        routes.include_router(router)
    for page in PAGES:
        pages.include_router(page)
    routes.include_router(reference.router, include_in_schema=False)  # the page at /api/docs
    routes.include_router(pages)
    for router in ROUTERS:
        routes.include_router(router, responses=answers.refusals())
    return routes.routes


async def _parts(
    settings: Settings,
    database: Database | None,
    vault: Vault | None,
    photos: Photos | None,
    limits: Limits,
    stack: AsyncExitStack,
) -> Parts:
    if database is None:
        if settings.database_url is None:
            raise Misconfigured("The web was given no database.")
        database = Database(
            settings.database_url.get_secret_value(), tells_operator=settings.notifications_webhook_enabled
        )
        stack.push_async_callback(database.close)
        await database.check_login()
    if vault is None:
        keyring = Keyring.load(settings)
        vault = Vault(database, keyring, settings)
        async with database.as_app() as session:
            await rotation.check(session, keyring)
    if photos is None:
        photos = Photos(settings)
        stack.push_async_callback(photos.close)
        if await photos.check():
            await know_store(database, photos)
    listening = _listening(database)
    for each in listening:
        stack.push_async_callback(each.close)
    return Parts(settings, database, vault, photos, limits, *listening)


def _listening(database: Database) -> tuple[Listening, Listening]:
    return Listening(database, captures.CHANNEL), Listening(database, live.CHANNEL)

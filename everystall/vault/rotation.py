"""Changing keys while sellers sleep: rotate, rewrap, reencrypt, retire, verify, and the check at start.

Row-level security gives the login role no rows of two sellers at once, on purpose; so all of this runs
over the admin URL (DATABASE_ADMIN_URL, or the embedded server's owner), by an operator, and never in
the web or a worker. `rewrap` touches wrapped data keys only and sees no session. `reencrypt` and
`verify` open sessions: they do it as each user (role and claims set for one transaction, so the policies
hold and the audit row is the user's own), with "keys rotate" or "keys verify" in the seller's audit.

Everything may be stopped at any moment and run again: what is done is not done twice. A row that does
not open is logged and left as it is; the others go on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import delete, func, select, text, union_all, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from everystall.errors import EverystallError, Misconfigured, SealBroken, SessionMissing
from everystall.models import Channel, Mailbox, MarketplaceSession, Totp, UserKey, WebhookEndpoint
from everystall.settings import Settings
from everystall.vault import envelope
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import LOCK, Vault, binding, make_data_key

log = structlog.get_logger()

BATCH = 500

#: `progress(done, total)`, after each batch or user.
Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


class AsUser:
    """An admin engine that acts as one user at a time: `db.Database.as_user`, without its login role."""

    def __init__(self, admin: AsyncEngine) -> None:
        self._admin = admin

    @asynccontextmanager
    async def as_user(self, user_id: UUID) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(self._admin, expire_on_commit=False) as session, session.begin():
            await session.execute(
                text(
                    "SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', "
                    "json_build_object('sub', CAST(:user AS text), 'role', 'authenticated')::text, true)"
                ),
                {"user": str(user_id)},
            )
            if await session.scalar(text("SELECT current_user")) != "authenticated":
                raise RuntimeError("Nobody becomes a seller outside of a transaction.")
            yield session


@dataclass
class Verified:
    """What `verify` found: how many data keys, sessions, sellers' other secrets and secret settings open, and
    which do not, with the reason."""

    keys: int = 0
    sessions: int = 0
    secrets: int = 0
    settings: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.broken


@dataclass(frozen=True)
class Kind:
    """One kind of what a data key seals besides sessions: rows with a `dek_version`, each bound to its user,
    and to its own id where a user has several."""

    name: str
    table: Any
    seal: Callable[..., bytes]
    unseal: Callable[..., envelope.SecretBytes]
    several: bool = True
    columns: Sequence[str] = ("sealed",)

    @property
    def id(self) -> Any:
        return self.table.id if self.several else self.table.user_id

    def id_of(self, row: Any) -> UUID:
        found: UUID = row.id if self.several else row.user_id
        return found

    def bound_to(self, row: Any) -> tuple[UUID, ...]:
        return (row.user_id, row.id) if self.several else (row.user_id,)


KINDS: Final = (
    Kind("webhook", WebhookEndpoint, envelope.seal_webhook, envelope.unseal_webhook,
         columns=("sealed", "previous_sealed")),
    Kind("mailbox", Mailbox, envelope.seal_mailbox, envelope.unseal_mailbox, several=False),
    Kind("channel", Channel, envelope.seal_channel, envelope.unseal_channel),
    Kind("second factor", Totp, envelope.seal_totp, envelope.unseal_totp, several=False),
)  # fmt: skip


# ---- at start -------------------------------------------------------------------------------------


async def check(connection: AsyncConnection | AsyncSession, keyring: Keyring) -> None:
    """Is this the ring of this database? At start, before anything is sealed: two machines that each made a
    ring of their own would seal for themselves only. Raises Misconfigured unless the database knows a key of
    it, or none at all yet, and each is the one that it knows under its name; what it does not know yet is
    known from now on. Who sees all sellers' rows also unwraps one data key per ring key."""
    if await sees_everyone(connection):
        await check_opens(connection, keyring)
    values = keyring.check_values()
    known = await connection.execute(text("SELECT everystall.knows_ring(:kids)"), {"kids": list(values)})
    if not known.scalar_one():
        raise _another_ring(f"None of the ring keys here ({', '.join(values)}) is one")
    for kid, value in values.items():
        known = await connection.execute(
            text("SELECT everystall.know_key(:kid, :value)"), {"kid": kid, "value": value}
        )
        if not known.scalar_one():
            raise _another_ring(f"Ring key {kid!r} here is not the one")


async def check_opens(connection: AsyncConnection | AsyncSession, keyring: Keyring) -> None:
    """Does this ring open what is there, whatever version's tables those are? One data key per ring key is
    unwrapped. Raises Misconfigured."""
    rows = await connection.execute(
        select(UserKey.kid, UserKey.wrapped, UserKey.user_id, UserKey.version)
        .ext(distinct_on(UserKey.kid))
        .order_by(UserKey.kid, UserKey.created_at)
    )
    for kid, wrapped, user_id, version in rows.all():
        try:
            keyring.unwrap(wrapped, kid, user_id, version).wipe()
        except SealBroken:
            raise _another_ring(f"Ring key {kid!r} here is not the one") from None


def _another_ring(what: str) -> Misconfigured:
    return Misconfigured(
        f"{what} that this database's vault was sealed with.",
        action="Put the right SESSION_ENCRYPTION_KEY, or the keys/ring.json of the machine that was there "
        "first, or of its backup, in place and start again. Nothing stored was changed. Where no account was "
        "ever connected, stop every web and worker and run `everystall migrate`: it forgets the first ring.",
    )


# ---- rotation -------------------------------------------------------------------------------------


async def rotate(
    admin: AsyncEngine,
    keyring: Keyring,
    settings: Settings,
    *,
    rewrap: bool = False,
    reencrypt: bool = False,
    retire: str | None = None,
    progress: Progress = _silent,
) -> str:
    """`everystall keys rotate [--rewrap] [--reencrypt] [--retire KID]`; the current kid afterwards.

    Makes a new ring key, except where an earlier rotation is unfinished and this one is to finish it
    (rewrap or reencrypt, and data keys are left under an older key), where only a key is to be retired,
    or where the environment holds the keys (the operator puts the new one in front).
    """
    async with admin.begin() as connection:
        await check(connection, keyring)
    working = rewrap or reencrypt
    unfinished = working and await _count_older(admin, keyring.current) > 0
    if not unfinished and (working or retire is None) and not (keyring.path is None and working):
        keyring.rotate()
    if reencrypt:
        await reencrypt_all(admin, keyring, settings, progress=progress)
    if rewrap:
        await rewrap_all(admin, keyring, progress=progress)
    if retire is not None:
        await retire_key(admin, keyring, retire)
    return keyring.current


async def rewrap_all(admin: AsyncEngine, keyring: Keyring, *, progress: Progress = _silent) -> int:
    """Wraps every data key by the current ring key; how many. No session is opened. In batches of 500,
    each a transaction; rows that another run holds are left to it, and waited for at the end."""
    done, total, skip = 0, await _count_older(admin, keyring.current), True
    broken: list[UUID] = []
    while True:
        async with _everyone(admin) as connection:
            rows = (
                await connection.execute(
                    select(UserKey.id, UserKey.kid, UserKey.wrapped, UserKey.user_id, UserKey.version)
                    .where(UserKey.kid != keyring.current, UserKey.id.not_in(broken))
                    .order_by(UserKey.id)
                    .limit(BATCH)
                    .with_for_update(skip_locked=skip)
                )
            ).all()
            for row in rows:
                try:
                    data_key = keyring.unwrap(row.wrapped, row.kid, row.user_id, row.version)
                except SealBroken:
                    log.error("keys.broken", user_key=str(row.id), kid=row.kid, user_id=str(row.user_id))
                    broken.append(row.id)
                    continue
                with data_key as key:
                    kid, wrapped = keyring.wrap(key, row.user_id, row.version)
                await connection.execute(
                    update(UserKey).where(UserKey.id == row.id).values(kid=kid, wrapped=wrapped)
                )
        done += len(rows)
        if rows:
            progress(done, max(done, total))
        elif not skip:
            await _reseal_settings(admin, keyring)
            return done - len(broken)
        else:
            skip = False


async def reencrypt_all(
    admin: AsyncEngine, keyring: Keyring, settings: Settings, *, progress: Progress = _silent
) -> int:
    """Gives every user whose data key hangs on an older ring key a new one, seals their sessions with it
    and deletes the old ones; how many users. For when a data key may be known to somebody."""
    async with _everyone(admin) as connection:
        users = (
            await connection.execute(
                select(UserKey.user_id).where(UserKey.kid != keyring.current).group_by(UserKey.user_id)
            )
        ).scalars().all()  # fmt: skip
    for done, user_id in enumerate(users, 1):
        await _reencrypt_user(admin, keyring, settings, user_id)
        progress(done, len(users))
    await _reseal_settings(admin, keyring)
    return len(users)


async def _reencrypt_user(admin: AsyncEngine, keyring: Keyring, settings: Settings, user_id: UUID) -> None:
    as_user = AsUser(admin)
    vault = Vault(as_user, keyring, settings)
    async with as_user.as_user(user_id) as session:
        newest = (
            await session.execute(
                select(UserKey.version, UserKey.kid)
                .where(UserKey.user_id == user_id)
                .order_by(UserKey.version.desc())
                .limit(1)
                .with_for_update()
            )
        ).one()
        version = newest.version
        if newest.kid != keyring.current:
            version += 1
            await make_data_key(session, keyring, user_id, version)
    for kind in KINDS:
        await _reseal_secrets(as_user, keyring, kind, user_id, version)
    old = MarketplaceSession.dek_version < version
    broken: list[UUID] = []
    while True:
        async with as_user.as_user(user_id) as session:
            left = select(MarketplaceSession.id).where(old, MarketplaceSession.id.not_in(broken))
            rows = (await session.execute(left)).scalars().all()
        if not rows:
            break
        for row_id in rows:
            try:
                await _reseal(as_user, vault, keyring, user_id, row_id, version)
            except SealBroken:
                log.error("keys.session_broken", session_id=str(row_id), user_id=str(user_id))
                broken.append(row_id)
    async with _everyone(admin) as connection:
        # Expired sessions are invisible to everyone and waiting for the clean-up; without their data key
        # they would only be in its way.
        await connection.execute(
            delete(MarketplaceSession).where(
                MarketplaceSession.user_id == user_id, old, MarketplaceSession.expires_at <= func.now()
            )
        )
        still = union_all(
            *(
                select(table.dek_version).where(table.user_id == user_id)
                for table in (MarketplaceSession, *(kind.table for kind in KINDS))
            )
        )
        await connection.execute(
            delete(UserKey).where(
                UserKey.user_id == user_id, UserKey.version < version, UserKey.version.not_in(still)
            )
        )


async def _reseal(
    as_user: AsUser, vault: Vault, keyring: Keyring, user_id: UUID, row_id: UUID, version: int
) -> None:
    """One session under the new data key; the audit's row was committed before it was opened."""
    try:
        opened = await vault.reopen(user_id, row_id, purpose="keys rotate")
    except SessionMissing:
        return  # deleted or expired meanwhile
    with opened.secret as plain:
        async with as_user.as_user(user_id) as session:
            row = (
                await session.execute(
                    select(MarketplaceSession).where(MarketplaceSession.id == row_id).with_for_update()
                )
            ).scalar_one_or_none()
            if row is None:
                return
            key = (
                await session.execute(
                    select(UserKey).where(UserKey.user_id == user_id, UserKey.version == version)
                )
            ).scalar_one()
            with keyring.unwrap(key.wrapped, key.kid, user_id, version) as data_key:
                row.sealed = envelope.seal(data_key, plain, binding(row))
            row.dek_version = version


async def _reseal_secrets(as_user: AsUser, keyring: Keyring, kind: Kind, user_id: UUID, version: int) -> None:
    """The user's secrets of this kind under the new data key."""
    async with as_user.as_user(user_id) as session:
        keys = {key.version: key for key in await session.scalars(select(UserKey))}
        new = keys[version]
        rows = await session.scalars(
            select(kind.table).where(kind.table.dek_version < version).with_for_update()
        )
        for row in rows:
            try:
                with keyring.unwrap(new.wrapped, new.kid, user_id, version) as key:
                    sealed = {
                        column: _under(key, plain, kind, row)
                        for column, plain in _open(keyring, keys.get(row.dek_version), kind, row)
                    }
            except SealBroken:
                log.error("keys.secret_broken", kind=kind.name, id=str(kind.id_of(row)))
                continue
            for column, value in sealed.items():
                setattr(row, column, value)
            row.dek_version = version


def _open(
    keyring: Keyring, key: UserKey | None, kind: Kind, row: Any
) -> Iterator[tuple[str, envelope.SecretBytes]]:
    """Which column, and what was sealed in it. `key`: the data key of the row's version. Or SealBroken."""
    if key is None:
        raise SealBroken
    with keyring.unwrap(key.wrapped, key.kid, key.user_id, key.version) as data_key:
        for column in kind.columns:
            if (sealed := getattr(row, column)) is not None:
                yield column, kind.unseal(data_key, sealed, *kind.bound_to(row))


def _under(data_key: envelope.Readable, secret: envelope.SecretBytes, kind: Kind, row: Any) -> bytes:
    with secret as plain:
        return kind.seal(data_key, plain, *kind.bound_to(row))


async def _reseal_settings(admin: AsyncEngine, keyring: Keyring) -> None:
    """The owner's secret settings under the current ring key."""
    async with _everyone(admin) as connection:
        rows = await connection.execute(
            text("SELECT name, value FROM everystall.chosen_settings "
                 "WHERE value ->> 'kid' <> :kid ORDER BY name FOR UPDATE"),
            {"kid": keyring.current},
        )  # fmt: skip
        for name, value in rows.all():
            try:
                with keyring.open_setting(name, value) as plain:
                    sealed = keyring.seal_setting(name, plain)
            except SealBroken:
                log.error("keys.setting_broken", setting=name)
                continue
            await connection.execute(
                text(
                    "UPDATE everystall.chosen_settings SET value = CAST(:value AS jsonb) WHERE name = :name"
                ),
                {"name": name, "value": json.dumps(sealed)},
            )


async def retire_key(admin: AsyncEngine, keyring: Keyring, kid: str) -> None:
    """Destroys a ring key for good. Refused while a data key needs it; no data key can be made while we
    count. Backups taken before it was rewrapped stay sealed for ever without it: that is the point."""
    async with _everyone(admin) as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": LOCK})
        used = await connection.execute(select(func.count()).select_from(UserKey).where(UserKey.kid == kid))
        sealed = await connection.execute(
            text("SELECT count(*) FROM everystall.chosen_settings WHERE value ->> 'kid' = :kid"), {"kid": kid}
        )
        keyring.retire(kid, in_use=used.scalar_one() + sealed.scalar_one())


# ---- verify ---------------------------------------------------------------------------------------


async def verify(
    admin: AsyncEngine, keyring: Keyring, settings: Settings, *, progress: Progress = _silent
) -> Verified:
    """`everystall keys verify`: unwraps every data key, and opens every secret setting, all secrets of
    sellers, and every session that has not expired; these two as their owner, sessions with an audit row.
    Names what does not open; changes nothing else."""
    found = Verified()
    as_user = AsUser(admin)
    vault = Vault(as_user, keyring, settings)
    async with _everyone(admin) as connection:
        keys = (
            await connection.execute(
                select(UserKey.id, UserKey.kid, UserKey.wrapped, UserKey.user_id, UserKey.version)
            )
        ).all()
        sessions: Sequence[tuple[UUID, UUID]] = [
            (row.user_id, row.id)
            for row in await connection.execute(
                select(MarketplaceSession.user_id, MarketplaceSession.id)
                .where(MarketplaceSession.expires_at > func.now())
                .order_by(MarketplaceSession.user_id, MarketplaceSession.id)
            )
        ]
        secrets = [
            (kind, user_id, id)
            for kind in KINDS
            for user_id, id in await connection.execute(select(kind.table.user_id, kind.id))
        ]
        chosen = (
            await connection.execute(
                text("SELECT name, value FROM everystall.chosen_settings "
                     "WHERE jsonb_typeof(value) = 'object' ORDER BY name")
            )
        ).all()  # fmt: skip
    total = len(keys) + len(sessions) + len(secrets) + len(chosen)
    for done, row in enumerate(keys, 1):
        try:
            keyring.unwrap(row.wrapped, row.kid, row.user_id, row.version).wipe()
            found.keys += 1
        except EverystallError as e:
            found.broken.append(f"data key {row.id} (ring key {row.kid}): {e.message}")
        progress(done, total)
    for done, (user_id, row_id) in enumerate(sessions, len(keys) + 1):
        try:
            (await vault.reopen(user_id, row_id, purpose="keys verify")).secret.wipe()
            found.sessions += 1
        except SessionMissing:
            pass  # forgotten or expired meanwhile
        except EverystallError as e:
            found.broken.append(f"session {row_id}: {e.message}")
        progress(done, total)
    for done, (kind, user_id, id) in enumerate(secrets, len(keys) + len(sessions) + 1):
        try:
            async with as_user.as_user(user_id) as session:
                held = await session.scalar(select(kind.table).where(kind.id == id))
                if held is not None:
                    key = await session.scalar(select(UserKey).where(UserKey.version == held.dek_version))
                    for _, secret in _open(keyring, key, kind, held):
                        secret.wipe()
                    found.secrets += 1
        except EverystallError as e:
            found.broken.append(f"secret of {kind.name} {id}: {e.message}")
        progress(done, total)
    for done, (name, value) in enumerate(chosen, total - len(chosen) + 1):
        try:
            keyring.open_setting(name, value).wipe()
            found.settings += 1
        except EverystallError as e:
            found.broken.append(f"setting {name.upper()}: {e.message}")
        progress(done, total)
    return found


# ---- parts ----------------------------------------------------------------------------------------


@asynccontextmanager
async def _everyone(admin: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction that sees all users' rows. Misconfigured if this login would see none."""
    async with admin.begin() as connection:
        if not await sees_everyone(connection):
            raise Misconfigured(
                "The vault's keys are all sellers', and this login sees no more than one's.",
                action="Set DATABASE_ADMIN_URL to a login that is superuser or has BYPASSRLS.",
            )
        yield connection


async def sees_everyone(connection: AsyncConnection | AsyncSession) -> bool:
    found = await connection.execute(
        text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    )
    return bool(found.scalar_one())


async def _count_older(admin: AsyncEngine, kid: str) -> int:
    async with _everyone(admin) as connection:
        counted = await connection.execute(
            select(func.count()).select_from(UserKey).where(UserKey.kid != kid)
        )
        return int(counted.scalar_one())

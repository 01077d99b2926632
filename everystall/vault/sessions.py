"""Keeps and opens sealed sessions. No audit row, no plaintext: `open` commits the row of the audit in a
transaction of its own before it decrypts anything.

Two rows at most per connection: the newest, and the last one that worked. The seal binds user,
marketplace, row, sequence number and expiry, so a row that is moved, swapped or given more days in the
database does not open. A payload is the storage as JSON; it is never logged and never in an exception.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID, uuid4

from sqlalchemy import delete, exists, false, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from everystall.errors import BadRequest, NotFound, SealBroken, SessionMissing
from everystall.models import (
    Channel,
    Connection,
    Mailbox,
    MarketplaceSession,
    Totp,
    UserKey,
    VaultAudit,
    WebhookEndpoint,
)
from everystall.settings import Settings
from everystall.vault import envelope
from everystall.vault.envelope import KEY_BYTES, Binding, SecretBytes
from everystall.vault.keyring import Keyring

#: A data key is made under this lock (shared); a ring key is retired under it (exclusive), so that no
#: data key can be committed under a ring key that is just being destroyed.
LOCK = "everystall.vault"

#: Not found signed out, or found signed in since.
_usable = or_(
    MarketplaceSession.failed_at.is_(None),
    func.coalesce(MarketplaceSession.worked_at > MarketplaceSession.failed_at, false()),
)
_alive = MarketplaceSession.expires_at > func.now()


class ActsAsUser(Protocol):
    """db.Database, or rotation.AsUser."""

    def as_user(self, user_id: UUID, /) -> AbstractAsyncContextManager[AsyncSession]:
        """One transaction with that user's rights and no others'."""
        ...


@dataclass(frozen=True, repr=False)
class Opened:
    """A session, open: `with opened.secret as plain:` lends the storage's JSON as a bytearray, once."""

    session_id: UUID
    seq: int
    secret: SecretBytes
    #: When the seller's browser or a visit took it, and when the seller last handed one over.
    captured_at: datetime
    consented_at: datetime
    expires_at: datetime
    #: A visit saw it signed in before.
    proved: bool

    def __repr__(self) -> str:
        return f"Opened(session_id={self.session_id}, seq={self.seq}, secret=***)"


class Vault:
    """The sessions of all sellers, each opened as that seller only."""

    def __init__(self, db: ActsAsUser, keyring: Keyring, settings: Settings) -> None:
        self._db = db
        self._keyring = keyring
        #: Newer ones take their place (everystall/choices.py).
        self.settings = settings

    # ---- keeping ----

    async def save(
        self,
        session: AsyncSession,
        user_id: UUID,
        connection: Connection,
        storage: Mapping[str, Any],
        *,
        captured_at: datetime,
        origin: Literal["extension", "worker"] = "extension",
    ) -> int:
        """Seals what the seller hands over, inside the caller's transaction; its sequence number. Of origin
        `worker` a visit has just seen it signed in.

        A capture time in the future counts as now. BadRequest if it is older than a session may be.
        """
        await session.flush()
        row = (
            await session.execute(
                update(Connection)
                .where(Connection.id == connection.id, Connection.user_id == user_id)
                .values(session_seq=Connection.session_seq + 1)
                .returning(Connection.session_seq, Connection.marketplace, func.clock_timestamp())
                .execution_options(synchronize_session=False)
            )
        ).one_or_none()
        if row is None:
            raise NotFound
        seq, marketplace, now = row
        captured_at = min(captured_at, now)
        expires_at = self._expiry(proved_at=captured_at, consented_at=now)
        if expires_at <= now:
            raise BadRequest(
                f"That session was captured more than {self.settings.session_days:g} days ago.",
                action="Open the marketplace, so that it is captured anew, and send that.",
            )
        worked_at = now if origin == "worker" else None
        await self._keep(session, user_id, connection.id, marketplace, seq, _payload(storage), origin,
                         captured_at, now, expires_at, worked_at=worked_at)  # fmt: skip
        return int(seq)

    async def save_rotated(
        self,
        user_id: UUID,
        connection_id: UUID,
        storage: Mapping[str, Any],
        *,
        opened_seq: int,
        fence: int,
    ) -> int | None:
        """Writes back what a visit's cookies rotated to; the new sequence number, or None and nothing
        written: the lease is not ours any more, or the seller handed over a newer one (one that was
        found signed out does not count). Extends the expiry, since the visit was signed in."""
        async with self._db.as_user(user_id) as session:
            held = (
                await session.execute(
                    select(Connection.session_seq, Connection.marketplace, func.clock_timestamp())
                    .where(
                        Connection.id == connection_id,
                        Connection.lease_fence == fence,
                        Connection.lease_until > func.clock_timestamp(),
                    )
                    .with_for_update(key_share=True)
                )
            ).one_or_none()
            if held is None:
                return None
            last_seq, marketplace, now = held
            of_account = MarketplaceSession.connection_id == connection_id
            opened = (
                await session.execute(
                    select(MarketplaceSession.consented_at)
                    .where(of_account, MarketplaceSession.seq == opened_seq)
                    .with_for_update()
                )
            ).one_or_none()
            newer = await session.execute(
                select(MarketplaceSession.seq)
                .where(of_account, MarketplaceSession.seq > opened_seq, _usable)
                .limit(1)
            )
            if opened is None or newer.first() is not None:
                return None
            expires_at = self._expiry(proved_at=now, consented_at=opened.consented_at)
            if expires_at <= now:
                return None
            seq = int(last_seq) + 1
            await session.execute(
                update(Connection)
                .where(Connection.id == connection_id)
                .values(session_seq=seq)
                .execution_options(synchronize_session=False)
            )
            await self._keep(session, user_id, connection_id, marketplace, seq, _payload(storage), "visit",
                             now, opened.consented_at, expires_at, worked_at=now)  # fmt: skip
            return seq

    async def mark(self, user_id: UUID, session_id: UUID, worked: bool) -> None:
        """What a visit found: signed in (the expiry moves on, older ones go) or signed out."""
        if not worked:
            async with self._db.as_user(user_id) as session:
                await session.execute(
                    update(MarketplaceSession)
                    .where(MarketplaceSession.id == session_id)
                    .values(failed_at=func.now())
                    .execution_options(synchronize_session=False)
                )
            return
        async with self._db.as_user(user_id) as session:
            marked = (
                await session.execute(
                    update(MarketplaceSession)
                    .where(MarketplaceSession.id == session_id)
                    .values(worked_at=func.now(), failed_at=None)
                    .returning(
                        MarketplaceSession.connection_id,
                        MarketplaceSession.consented_at,
                        MarketplaceSession.expires_at,
                        func.now(),
                    )
                    .execution_options(synchronize_session=False)
                )
            ).one_or_none()
            if marked is None:
                return
            connection_id, consented_at, expires_at, now = marked
            await self._forget_older(session, connection_id)
        until = self._expiry(proved_at=now, consented_at=consented_at)
        # Every visit would seal anew for minutes gained; a tenth of the days is soon enough.
        if until - expires_at > timedelta(days=self.settings.session_days / 10):
            await self._extend(user_id, session_id, until)

    async def forget(self, session: AsyncSession, connection_id: UUID) -> None:
        """Deletes the connection's sessions, inside the caller's transaction. Final."""
        await session.execute(
            delete(MarketplaceSession)
            .where(MarketplaceSession.connection_id == connection_id)
            .execution_options(synchronize_session=False)
        )

    def subkey(self, purpose: str) -> bytes:
        """A key for something else than sessions (csrf, …), of the current ring key."""
        return self._keyring.subkey(purpose)

    # ---- opening ----

    async def open(
        self,
        user_id: UUID,
        connection_id: UUID,
        *,
        purpose: str,
        which: Literal["newest", "last_good"] = "newest",
    ) -> Opened:
        """The account's session, its opening audited and committed first. `purpose` is what the seller
        reads ("post", "check", "take down").

        newest: the newest that was not found signed out, else the newest · last_good: beside the newest,
        the last one that worked. SessionMissing: there is none, or it has expired.
        """
        rows = select(MarketplaceSession).where(MarketplaceSession.connection_id == connection_id, _alive)
        if which == "newest":
            rows = rows.order_by(_usable.desc(), MarketplaceSession.seq.desc())
        else:
            newest = (
                select(func.max(MarketplaceSession.seq))
                .where(MarketplaceSession.connection_id == connection_id)
                .scalar_subquery()
            )
            rows = rows.where(
                MarketplaceSession.worked_at.is_not(None), _usable, MarketplaceSession.seq != newest
            ).order_by(MarketplaceSession.worked_at.desc())
        async with self._db.as_user(user_id) as session:
            row, key = await self._audited(session, rows.limit(1), purpose)
        return self._unseal(row, key)

    async def reopen(self, user_id: UUID, session_id: UUID, *, purpose: str) -> Opened:
        """One row by its id, audited likewise: for rotation and `keys verify`."""
        async with self._db.as_user(user_id) as session:
            row, key = await self._audited(
                session,
                select(MarketplaceSession).where(MarketplaceSession.id == session_id, _alive),
                purpose,
            )
        return self._unseal(row, key)

    async def _audited(
        self, session: AsyncSession, rows: Any, purpose: str
    ) -> tuple[MarketplaceSession, UserKey]:
        """The first of the rows and its data key, and a row of the audit; the caller commits."""
        found = (await session.execute(rows.add_columns(func.clock_timestamp()))).first()
        if found is None or found[0].expires_at <= found[1]:
            raise SessionMissing
        row = found[0]
        key = (
            await session.execute(
                select(UserKey).where(UserKey.user_id == row.user_id, UserKey.version == row.dek_version)
            )
        ).scalar_one()
        await session.execute(
            insert(VaultAudit).values(
                user_id=row.user_id, connection_id=row.connection_id, session_id=row.id, seq=row.seq,
                kid=key.kid, purpose=purpose,
            )
        )  # fmt: skip
        session.expunge_all()
        return row, key

    def _unseal(self, row: MarketplaceSession, key: UserKey) -> Opened:
        """Only after the audit's transaction has committed."""
        with self._keyring.unwrap(key.wrapped, key.kid, key.user_id, key.version) as data_key:
            secret = envelope.unseal(data_key, row.sealed, binding(row))
        return Opened(row.id, row.seq, secret, row.captured_at, row.consented_at, row.expires_at,
                      proved=row.worked_at is not None)  # fmt: skip

    # ---- webhooks' secrets ----

    async def seal_webhook(
        self,
        session: AsyncSession,
        row: WebhookEndpoint,
        secret: envelope.Readable,
        *,
        keep_previous: bool = False,
    ) -> None:
        """Gives the endpoint this secret, in the caller's transaction; the one that it has becomes the
        previous one, unless that is kept. The row has its id and user."""
        version, data_key = await self._data_key(session, row.user_id)
        known = await self.open_webhook(session, row, previous=keep_previous) if row.sealed else []
        with data_key as key:
            for old in known:  # the oldest comes last
                with old as plain:
                    row.previous_sealed = envelope.seal_webhook(key, plain, row.user_id, row.id)
            row.sealed = envelope.seal_webhook(key, secret, row.user_id, row.id)
        row.dek_version = version

    async def open_webhook(
        self, session: AsyncSession, row: WebhookEndpoint, *, previous: bool
    ) -> list[SecretBytes]:
        """The endpoint's secret; with `previous` the one before it too, if it has one."""
        key = await self._key_of(session, row)
        sealed = [row.sealed, row.previous_sealed if previous else None]
        with self._keyring.unwrap(key.wrapped, key.kid, key.user_id, key.version) as data_key:
            return [
                envelope.unseal_webhook(data_key, one, row.user_id, row.id)
                for one in sealed
                if one is not None
            ]

    # ---- mailboxes' passwords ----

    async def seal_mailbox(self, session: AsyncSession, row: Mailbox, password: envelope.Readable) -> None:
        """Gives the mailbox this password, in the caller's transaction. The row has its user."""
        row.dek_version, data_key = await self._data_key(session, row.user_id)
        with data_key as key:
            row.sealed = envelope.seal_mailbox(key, password, row.user_id)

    async def open_mailbox(self, session: AsyncSession, row: Mailbox) -> SecretBytes:
        key = await self._key_of(session, row)
        with self._keyring.unwrap(key.wrapped, key.kid, key.user_id, key.version) as data_key:
            return envelope.unseal_mailbox(data_key, row.sealed, row.user_id)

    # ---- where a seller is told ----

    async def seal_channel(self, session: AsyncSession, row: Channel, secret: envelope.Readable) -> None:
        """Gives the channel this secret, in the caller's transaction. The row has its id and user."""
        row.dek_version, data_key = await self._data_key(session, row.user_id)
        with data_key as key:
            row.sealed = envelope.seal_channel(key, secret, row.user_id, row.id)

    async def open_channel(self, session: AsyncSession, row: Channel) -> SecretBytes:
        key = await self._key_of(session, row)
        with self._keyring.unwrap(key.wrapped, key.kid, key.user_id, key.version) as data_key:
            return envelope.unseal_channel(data_key, row.sealed, row.user_id, row.id)

    # ---- what one-time codes are made of ----

    async def seal_totp(self, session: AsyncSession, user_id: UUID, secret: envelope.Readable) -> Totp:
        """A row for this secret, in the caller's transaction and not yet part of it."""
        version, data_key = await self._data_key(session, user_id)
        with data_key as key:
            sealed = envelope.seal_totp(key, secret, user_id)
        return Totp(user_id=user_id, dek_version=version, sealed=sealed)

    async def open_totp(self, session: AsyncSession, row: Totp) -> SecretBytes:
        key = await self._key_of(session, row)
        with self._keyring.unwrap(key.wrapped, key.kid, key.user_id, key.version) as data_key:
            return envelope.unseal_totp(data_key, row.sealed, row.user_id)

    async def _key_of(
        self, session: AsyncSession, row: WebhookEndpoint | Mailbox | Channel | Totp
    ) -> UserKey:
        key = await session.scalar(
            select(UserKey).where(UserKey.user_id == row.user_id, UserKey.version == row.dek_version)
        )
        if key is None:
            raise SealBroken
        return key

    # ---- secret settings ----

    def seal_setting(self, name: str, value: str) -> dict[str, str]:
        """What an owner's secret setting is kept as: under the ring's key, since it is nobody's own."""
        return self._keyring.seal_setting(name, value.encode())

    def open_setting(self, name: str, sealed: Mapping[str, Any]) -> str:
        """Raises SealBroken, Misconfigured."""
        with self._keyring.open_setting(name, sealed) as plain:
            return plain.decode()

    def subkeys(self, purpose: str) -> list[bytes]:
        """Keys of the ring for something else than sessions, the current one first."""
        return self._keyring.subkeys(purpose)

    # ---- parts ----

    def _expiry(self, *, proved_at: datetime, consented_at: datetime) -> datetime:
        return min(
            proved_at + timedelta(days=self.settings.session_days),
            consented_at + timedelta(days=self.settings.consent_days),
        )

    async def _keep(
        self,
        session: AsyncSession,
        user_id: UUID,
        connection_id: UUID,
        marketplace: str,
        seq: int,
        payload: bytes,
        origin: str,
        captured_at: datetime,
        consented_at: datetime,
        expires_at: datetime,
        *,
        worked_at: datetime | None,
    ) -> None:
        row_id = uuid4()
        version, data_key = await self._data_key(session, user_id)
        with data_key as key:
            sealed = envelope.seal(key, payload, Binding(user_id, marketplace, row_id, seq, expires_at))
        await session.execute(
            insert(MarketplaceSession).values(
                id=row_id, user_id=user_id, connection_id=connection_id, marketplace=marketplace, seq=seq,
                dek_version=version, sealed=sealed, origin=origin, captured_at=captured_at,
                consented_at=consented_at, expires_at=expires_at, worked_at=worked_at,
            )
        )  # fmt: skip
        await self._forget_older(session, connection_id)

    async def _data_key(self, session: AsyncSession, user_id: UUID) -> tuple[int, SecretBytes]:
        """The user's newest data key; made where there is none."""
        newest = (
            select(UserKey.version, UserKey.kid, UserKey.wrapped)
            .where(UserKey.user_id == user_id)
            .order_by(UserKey.version.desc())
            .limit(1)
        )
        found = (await session.execute(newest)).one_or_none()
        if found is None:
            await make_data_key(session, self._keyring, user_id, 1)
            found = (await session.execute(newest)).one()
        return found.version, self._keyring.unwrap(found.wrapped, found.kid, user_id, found.version)

    async def forget_earlier(self, session: AsyncSession, connection_ids: Sequence[UUID]) -> None:
        """Leaves the newest only: the seller signed out, and no earlier sign-in goes on without them."""
        newer = aliased(MarketplaceSession)
        await session.execute(
            delete(MarketplaceSession)
            .where(
                MarketplaceSession.connection_id.in_(connection_ids),
                exists().where(
                    newer.connection_id == MarketplaceSession.connection_id,
                    newer.seq > MarketplaceSession.seq,
                ),
            )
            .execution_options(synchronize_session=False)
        )

    async def _forget_older(self, session: AsyncSession, connection_id: UUID) -> None:
        """Leaves the newest, and the last one that worked."""
        of_account = MarketplaceSession.connection_id == connection_id
        newest = select(func.max(MarketplaceSession.seq)).where(of_account).scalar_subquery()
        last_good = (
            select(MarketplaceSession.seq)
            .where(of_account, MarketplaceSession.worked_at.is_not(None), _usable)
            .order_by(MarketplaceSession.worked_at.desc(), MarketplaceSession.seq.desc())
            .limit(1)
            .scalar_subquery()
        )
        await session.execute(
            delete(MarketplaceSession)
            .where(
                of_account,
                MarketplaceSession.seq != newest,
                MarketplaceSession.seq.is_distinct_from(last_good),
            )
            .execution_options(synchronize_session=False)
        )

    async def _extend(self, user_id: UUID, session_id: UUID, until: datetime) -> None:
        """Seals the row anew with a later expiry, which is bound into the seal. Dropped if the row
        changed or went meanwhile."""
        try:
            opened = await self.reopen(user_id, session_id, purpose="extend")
        except SessionMissing:
            return
        async with self._db.as_user(user_id) as session:
            row = (
                await session.execute(
                    select(MarketplaceSession)
                    .where(MarketplaceSession.id == session_id, MarketplaceSession.expires_at < until)
                    .with_for_update()
                )
            ).scalar_one_or_none()
            with opened.secret as plain:
                if row is None:
                    return
                row.expires_at = until
                row.dek_version, data_key = await self._data_key(session, user_id)
                with data_key as key:
                    row.sealed = envelope.seal(key, plain, binding(row))


def binding(row: MarketplaceSession) -> Binding:
    """What the row's seal is bound to."""
    return Binding(row.user_id, row.marketplace, row.id, row.seq, row.expires_at)


async def make_data_key(session: AsyncSession, keyring: Keyring, user_id: UUID, version: int) -> None:
    """32 random bytes, wrapped by the current ring key; another transaction's same version stands."""
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(hashtext(:name))"), {"name": LOCK})
    fresh = SecretBytes(bytearray(os.urandom(KEY_BYTES)))
    with fresh as key:
        kid, wrapped = keyring.wrap(key, user_id, version)
    await session.execute(
        pg_insert(UserKey)
        .values(user_id=user_id, version=version, kid=kid, wrapped=wrapped)
        .on_conflict_do_nothing(index_elements=["user_id", "version"])
    )


def _payload(storage: Mapping[str, Any]) -> bytes:
    return json.dumps(storage, separators=(",", ":"), ensure_ascii=False).encode()

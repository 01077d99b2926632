"""The tables. Policies, functions and grants are in migrations/; nothing here knows a business rule.

Every table that holds a seller's data has `user_id`, forced row-level security and foreign keys over
(user_id, id): a row of one seller can never point at another's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

#: States of a publication and of a pair of a job, in the order of a life (ARCHITECTURE.md).
STATES = ("waiting", "composing", "filling", "armed", "reconciling", "live", "revising", "ending",
          "ended", "sold", "cancelled")  # fmt: skip
#: How an attempt ended; null while it is open.
OUTCOMES = ("live", "ended", "sold", "rejected", "draft_only", "unresolved")


def _in(column: str, words: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class Base(DeclarativeBase):
    type_annotation_map = {
        datetime: DateTime(timezone=True),
        # None is SQL NULL, never a JSON null: `needs_you IS NULL` must mean what it says
        dict[str, Any]: JSONB(none_as_null=True),
        list[Any]: JSONB(none_as_null=True),
        list[str]: ARRAY(TEXT),
        bytes: LargeBinary,
        str: TEXT,
    }


def _id() -> Mapped[UUID]:
    return mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


class Owned:
    """A table of the sellers': `user_id`, and (user_id, id) for others to point at."""

    #: False where another index begins with user_id.
    own_index = True

    @declared_attr
    def user_id(cls) -> Mapped[UUID]:
        return mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=cls.own_index)


def _points_to(table: str, column: str, ondelete: str = "CASCADE") -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["user_id", column], [f"{table}.user_id", f"{table}.id"], ondelete=ondelete)


def _owned(table: str) -> UniqueConstraint:
    return UniqueConstraint("user_id", "id", name=f"{table}_user_id_id_key")


class User(Base):
    """A seller. Its policy is `id = auth.uid()`."""

    __tablename__ = "users"
    id: Mapped[UUID] = _id()
    #: Lower case.
    email: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = _now()
    #: argon2id; null = signs in nowhere, has API tokens only.
    password_hash: Mapped[str | None]
    #: owner: may invite others · seller. Nobody changes it but an invitation.
    role: Mapped[str] = mapped_column(server_default="seller")
    #: Tries since then from networks from which nobody signed in before (everystall.begin_log_in); a good
    #: one sets them back.
    log_in_tries: Mapped[int] = mapped_column(server_default=text("0"))
    log_in_since: Mapped[datetime | None]
    #: Holiday, ban scare: nothing is posted on any account while set; delists still run.
    paused_at: Mapped[datetime | None]
    __table_args__ = (_in("role", ("owner", "seller")),)


class LogInNetwork(Base):
    """Where somebody tried to sign in from. `good_at`: somebody did, when last."""

    __tablename__ = "log_in_networks"
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    #: /24 of IPv4, /56 of IPv6.
    network: Mapped[str] = mapped_column(primary_key=True)
    #: Tries since then; a good one sets them back.
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    since: Mapped[datetime] = _now()
    good_at: Mapped[datetime | None]


class ApiToken(Owned, Base):
    """What a request is known by, stored as SHA-256 of its 256 random bits: an API token (`evs_…`), a paired
    extension's token, or a signed-in browser's cookie."""

    __tablename__ = "api_tokens"
    own_index = False
    id: Mapped[UUID] = _id()
    #: What the seller calls it; of a browser what it says of itself.
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(server_default="api")
    user_agent: Mapped[str | None]
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    __table_args__ = (_owned("api_tokens"), _in("kind", ("api", "browser", "extension")))


class Invitation(Base):
    """A link that makes an account, once. The first start's has no inviter and no address: whoever has the
    terminal becomes the owner."""

    __tablename__ = "invitations"
    id: Mapped[UUID] = _id()
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    email: Mapped[str | None]
    role: Mapped[str] = mapped_column(server_default="seller")
    created_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    #: Who invited.
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: Whose account it made, and goes with.
    joined_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    __table_args__ = (
        _in("role", ("owner", "seller")),
        CheckConstraint("(user_id IS NULL) = (email IS NULL)", name="first_or_addressed"),
        CheckConstraint("joined_id IS NULL OR used_at IS NOT NULL", name="joined_when_used"),
    )


class Pairing(Owned, Base):
    """A code that the seller types into the extension: 2 letters that find it, 6 that prove it. Looking at it
    spends it for a ticket, which the extension trades for its token when the seller has said yes."""

    __tablename__ = "pairings"
    id: Mapped[UUID] = _id()
    handle: Mapped[str]
    secret_hash: Mapped[bytes]
    ticket_hash: Mapped[bytes | None] = mapped_column(unique=True)
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime]
    looked_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    __table_args__ = (
        Index("pairings_one_open", "handle", unique=True, postgresql_where=text("looked_at IS NULL")),
        Index("pairings_by_expiry", "expires_at"),
    )


class Listing(Owned, Base):
    """What the seller wrote once (ListingFacts). `revision` counts changes of content."""

    __tablename__ = "listings"
    own_index = False
    id: Mapped[UUID] = _id()
    title: Mapped[str | None]
    description: Mapped[str | None]
    brand: Mapped[str | None]
    category: Mapped[str | None]
    size: Mapped[str | None]
    condition: Mapped[str | None]
    colors: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    tags: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    price_cents: Mapped[int | None] = mapped_column(BigInteger)
    original_price_cents: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(server_default="USD")
    quantity: Mapped[int] = mapped_column(server_default=text("1"))
    quantity_sold: Mapped[int] = mapped_column(server_default=text("0"))
    sku: Mapped[str | None]
    #: base.Package
    package: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    ships_from_zip: Mapped[str | None]
    shipping_payer: Mapped[str | None]
    specifics: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    overrides: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    #: Set by DELETE ?end=true: the row goes when its last publication has ended.
    delete_asked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    __table_args__ = (
        _owned("listings"),
        CheckConstraint("quantity >= 0 AND quantity_sold >= 0", name="quantity_not_negative"),
        Index("listings_by_user", "user_id", text("created_at DESC"), text("id DESC")),
        Index("listings_by_sku", "user_id", "sku", postgresql_where=text("sku IS NOT NULL")),
    )


class ListingPhoto(Owned, Base):
    """An original in the object store, under the hash of its bytes, at a place in the order."""

    __tablename__ = "listing_photos"
    own_index = False
    id: Mapped[UUID] = _id()
    listing_id: Mapped[UUID]
    #: 0 is the cover.
    position: Mapped[int]
    sha256: Mapped[str]
    content_type: Mapped[str]
    #: Pixels, upright.
    width: Mapped[int]
    height: Mapped[int]
    byte_size: Mapped[int]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        _points_to("listings", "listing_id"),
        UniqueConstraint("listing_id", "position", deferrable=True, initially="DEFERRED",
                         name="listing_photos_place"),
        UniqueConstraint("listing_id", "sha256", name="listing_photos_once"),
        Index("listing_photos_by_listing", "user_id", "listing_id", "position"),
        Index("listing_photos_by_hash", "sha256"),
    )  # fmt: skip


class Connection(Owned, Base):
    """A seller's account at a marketplace, and the lease of the worker that is on it."""

    __tablename__ = "connections"
    own_index = False
    id: Mapped[UUID] = _id()
    #: `bp_<marketplace>_<id>`, the document's browserProfileId.
    public_id: Mapped[str] = mapped_column(unique=True)
    marketplace: Mapped[str]
    #: The marketplace's own id of the account, where the session tells it.
    account_id: Mapped[str | None]
    account_name: Mapped[str | None]
    label: Mapped[str | None]
    base_url: Mapped[str]
    #: The account's defaults for what a listing leaves open (Form.DEFAULTS).
    defaults: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    paused_at: Mapped[datetime | None]
    #: Where it is visited from: a worker's WORKER_PLACE; null = from anywhere.
    place: Mapped[str | None]
    #: Seconds between two posts; null = the setting, else the marketplace's own default.
    pace_seconds: Mapped[float | None]
    #: Why the account cannot be visited, as the seller reads it (a NeedsYou), or null.
    needs_you: Mapped[dict[str, Any] | None]
    last_post_at: Mapped[datetime | None]
    #: The marketplace asked for it (Retry-After): no post and no change before this.
    rest_until: Mapped[datetime | None]
    last_visit_at: Mapped[datetime | None]
    next_check_at: Mapped[datetime | None]
    #: The seller asked for a new capture of the session; the next hand-over clears it.
    refresh_asked_at: Mapped[datetime | None]
    #: The number of the last session kept (vault/sessions.py); only grows, whatever expires or is deleted.
    session_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    #: Who is on it: a number that only grows, and until when (the database's clock).
    lease_fence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    lease_holder: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        _owned("connections"),
        CheckConstraint("place ~ '^[a-z0-9][a-z0-9-]{0,39}$'", name="place"),
        Index("connections_by_place", "place", postgresql_where=text("place IS NOT NULL")),
        Index("connections_one_per_account", "user_id", "marketplace", "account_id", unique=True,
              postgresql_where=text("account_id IS NOT NULL")),
        Index("connections_due", "next_check_at", postgresql_where=text("next_check_at IS NOT NULL")),
    )  # fmt: skip


class MarketplaceSession(Owned, Base):
    """A sealed sign-in. Two at most per connection: the newest, and the last one that worked."""

    __tablename__ = "user_marketplace_sessions"
    id: Mapped[UUID] = _id()
    connection_id: Mapped[UUID]
    marketplace: Mapped[str]
    #: Counts uploads and write-backs of this connection; bound into the seal.
    seq: Mapped[int] = mapped_column(BigInteger)
    dek_version: Mapped[int]
    sealed: Mapped[bytes]
    #: extension: handed over by the seller · visit: written back by a worker
    origin: Mapped[str]
    captured_at: Mapped[datetime]
    #: Bound into the seal. At most 7 days after the last proof, 60 after the last consent.
    expires_at: Mapped[datetime]
    consented_at: Mapped[datetime]
    #: When a visit last saw it signed in; null = not tried yet.
    worked_at: Mapped[datetime | None]
    #: When a visit found it signed out; null = not found so.
    failed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        _points_to("connections", "connection_id"),
        UniqueConstraint("connection_id", "seq", name="sessions_seq"),
        _in("origin", ("extension", "visit")),
        Index("sessions_by_expiry", "expires_at"),
    )


class UserKey(Owned, Base):
    """A seller's data key, wrapped by a key of the ring (vault/envelope.py)."""

    __tablename__ = "user_keys"
    own_index = False
    id: Mapped[UUID] = _id()
    version: Mapped[int]
    #: Which key of the ring wraps it.
    kid: Mapped[str]
    wrapped: Mapped[bytes]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (UniqueConstraint("user_id", "version", name="user_keys_version"),
                      Index("user_keys_by_kid", "kid"))  # fmt: skip


class VaultAudit(Owned, Base):
    """One row before every opening of a session. Insert and select only; no one may change it."""

    __tablename__ = "vault_audit"
    own_index = False
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    connection_id: Mapped[UUID]
    session_id: Mapped[UUID]
    seq: Mapped[int] = mapped_column(BigInteger)
    kid: Mapped[str]
    #: What for, in the seller's words: "post", "check", "take down", "keys rotate".
    purpose: Mapped[str]
    at: Mapped[datetime] = _now()
    __table_args__ = (Index("vault_audit_by_connection", "user_id", "connection_id", text("at DESC")),)


class Publication(Owned, Base):
    """One listing on one account, for ever: what is wanted, what we put there, what was seen."""

    __tablename__ = "publications"
    own_index = False
    id: Mapped[UUID] = _id()
    listing_id: Mapped[UUID]
    connection_id: Mapped[UUID]
    marketplace: Mapped[str]
    #: Changed only by the seller, a rule that the seller set, or a sale.
    wanted: Mapped[str] = mapped_column(server_default="live")
    wanted_revision: Mapped[int]
    #: What we last put there and read back.
    put: Mapped[str] = mapped_column(server_default="nothing")
    put_revision: Mapped[int | None]
    #: wanted ≠ put, so there is something to do; or it is wanted again while it is being taken down.
    unsettled: Mapped[bool] = mapped_column(
        Computed("(wanted = 'live' AND (put <> 'live' OR put_revision IS DISTINCT FROM wanted_revision "
                 "OR state = 'ending')) OR (wanted = 'ended' AND put = 'live')", persisted=True)
    )  # fmt: skip
    #: An armed attempt is open: someone has to look, whatever is wanted meanwhile.
    looking: Mapped[bool] = mapped_column(server_default=text("false"))
    #: What was last seen, by anyone's doing.
    seen: Mapped[str] = mapped_column(server_default="unknown")
    seen_at: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(server_default="waiting")
    #: {reason, message, url, actions[]}: a flag on any state.
    needs_you: Mapped[dict[str, Any] | None]
    #: Not before this; null = now.
    next_try_at: Mapped[datetime | None]
    #: Where it is the same time, the account's pace is all that it waits for.
    paced_to: Mapped[datetime | None]
    #: Failures in a row of the kind that passes by itself.
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    remote_id: Mapped[str | None]
    url: Mapped[str | None]
    #: {field: true|false} of the last read-back of the live page.
    read_back: Mapped[dict[str, Any] | None]
    #: [{field, message}]: what is not as the listing has it, and stays so (base.Note).
    notes: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    asked_at: Mapped[datetime] = _now()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    __table_args__ = (
        _owned("publications"),
        _points_to("listings", "listing_id"),
        _points_to("connections", "connection_id"),
        UniqueConstraint("listing_id", "connection_id", name="publications_once"),
        _in("wanted", ("live", "ended")),
        _in("put", ("nothing", "live", "ended", "sold")),
        _in("seen", ("unknown", "live", "ended", "sold")),
        _in("state", STATES),
        Index("publications_due", "user_id", "connection_id", "wanted", "asked_at",
              postgresql_where=text("unsettled OR looking")),
        Index("publications_due_at", text("next_try_at NULLS FIRST"),
              postgresql_where=text("looking OR (unsettled AND needs_you IS NULL)")),
        Index("publications_by_connection", "user_id", "connection_id"),
    )  # fmt: skip


class Attempt(Owned, Base):
    """One try to publish. Its row is written before the click, so a crash leaves a question to
    answer by looking, never a second click. Once live, it is what we last put there."""

    __tablename__ = "attempts"
    id: Mapped[UUID] = _id()
    publication_id: Mapped[UUID]
    connection_id: Mapped[UUID]
    listing_revision: Mapped[int]
    #: `~` + 6 base32 characters, in the private SKU field where the site has one.
    marker: Mapped[str | None]
    #: base.Draft as JSON, and what it hashes to; after a change, as we last put it.
    draft: Mapped[dict[str, Any]]
    fields_hash: Mapped[str]
    #: Perceptual hashes of the renditions sent, in order.
    photo_hashes: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    #: Ids already there before the click: active, drafts and sold. Emptied once it is settled and a later
    #: attempt on the account has armed with what it knew.
    baseline: Mapped[list[str] | None]
    fence: Mapped[int] = mapped_column(BigInteger)
    #: The site's id of what only the seller sees.
    draft_id: Mapped[str | None]
    #: It was seen unpublished long enough after the click, and we discarded it: it was there, and went.
    draft_discarded_at: Mapped[datetime | None]
    #: Set only once a buyer could see it.
    remote_id: Mapped[str | None]
    url: Mapped[str | None]
    outcome: Mapped[str | None]
    armed_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    #: The seller pressed "Post again": the next look that finds nothing makes this one unresolved.
    repost_asked_at: Mapped[datetime | None]
    looks: Mapped[int] = mapped_column(server_default=text("0"))
    #: After "unresolved" its looks go on until this is null.
    next_look_at: Mapped[datetime | None]
    #: Screenshot and aria snapshot of the failure: {"screenshot": key, "aria": key, "at": …}
    evidence: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    #: Armed and not settled: {revision, draft, photo_hashes, names} that a click may have put there.
    revising: Mapped[dict[str, Any] | None]
    revising_at: Mapped[datetime | None]
    #: {field: value} as the seller changed it there by hand (names of base.flat).
    adopted: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    #: {field: {ours, theirs}} changed both here and there: the seller is asked.
    conflict: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = _now()
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        _points_to("publications", "publication_id"),
        _points_to("connections", "connection_id"),
        _in("outcome", OUTCOMES),
        Index("attempts_one_open_or_live", "publication_id", unique=True,
              postgresql_where=text("outcome IS NULL OR outcome = 'live'")),
        UniqueConstraint("connection_id", "remote_id", name="attempts_remote_id_once"),
        Index("attempts_by_publication", "publication_id", text("created_at DESC")),
        Index("attempts_to_look", "connection_id", "next_look_at",
              postgresql_where=text("next_look_at IS NOT NULL")),
        Index("attempts_by_armed", "connection_id", text("armed_at DESC"),
              postgresql_where=text("armed_at IS NOT NULL")),
        Index("attempts_due", "next_look_at", postgresql_where=text("outcome = 'unresolved'")),
    )  # fmt: skip


class Job(Owned, Base):
    """What a seller asked for at one moment: pairs of (listing, connection)."""

    __tablename__ = "jobs"
    own_index = False
    #: `job_…`
    id: Mapped[str] = mapped_column(primary_key=True)
    #: Null once the listing is deleted: the job's history stays.
    listing_id: Mapped[UUID | None]
    idempotency_key: Mapped[str | None]
    #: Of what was asked for with the key, so that the key is good for nothing else.
    request_hash: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="running")
    created_at: Mapped[datetime] = _now()
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("user_id", "id", name="jobs_user_id_id_key"),
        _points_to("listings", "listing_id", "SET NULL (listing_id)"),
        UniqueConstraint("user_id", "idempotency_key", name="jobs_idempotency"),
        _in("status", ("running", "done", "needs_you", "cancelled")),
        Index("jobs_by_user", "user_id", text("created_at DESC"), text("id DESC")),
        Index("jobs_by_status", "user_id", "status", text("created_at DESC"), text("id DESC")),
        Index("jobs_by_end", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index("jobs_by_listing", "user_id", "listing_id"),
    )


class AutomationResult(Owned, Base):
    """A pair of a job: follows its publication until the pair is finished, then stands for ever."""

    __tablename__ = "listing_automation_results"
    own_index = False
    id: Mapped[UUID] = _id()
    job_id: Mapped[str]
    #: Null once the listing is deleted.
    publication_id: Mapped[UUID | None]
    listing_id: Mapped[UUID]
    connection_id: Mapped[UUID]
    marketplace: Mapped[str]
    #: The connection's public id.
    browser_profile_id: Mapped[str]
    wanted_revision: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="waiting")
    needs_you: Mapped[dict[str, Any] | None]
    url: Mapped[str | None]
    remote_id: Mapped[str | None]
    read_back: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "job_id"], ["jobs.user_id", "jobs.id"], ondelete="CASCADE"),
        _points_to("publications", "publication_id", "SET NULL (publication_id)"),
        UniqueConstraint("job_id", "publication_id", name="results_once"),
        _in("state", STATES),
        Index("results_open", "publication_id", postgresql_where=text("finished_at IS NULL")),
        Index("results_by_publication", "user_id", "publication_id"),
    )


class Import(Owned, Base):
    """A file of listings that is brought in, row by row; one at once per seller. Finished ones are kept for
    JOB_DAYS."""

    __tablename__ = "imports"
    own_index = False
    id: Mapped[UUID] = _id()
    #: As its sender calls it.
    file_name: Mapped[str | None]
    #: SHA-256 of its bytes.
    file_hash: Mapped[str]
    #: Name of a format (inventory/incoming/).
    format: Mapped[str]
    encoding: Mapped[str]
    #: Columns with something in them for which a listing has no place.
    columns_not_taken: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    status: Mapped[str] = mapped_column(server_default="running")
    #: A worker is at it until then.
    claimed_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        _owned("imports"),
        _in("status", ("running", "done")),
        Index("imports_one_running", "user_id", unique=True, postgresql_where=text("status = 'running'")),
        Index("imports_due", "claimed_until", postgresql_where=text("status = 'running'")),
        Index("imports_by_end", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )


class ImportRow(Owned, Base):
    """A listing as the file tells it. Its outcome is written in the transaction that makes the listing."""

    __tablename__ = "import_rows"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    import_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: Where it begins in the file.
    line: Mapped[int] = mapped_column(primary_key=True)
    #: What it is known by when it comes again (ListingSource.key).
    key: Mapped[str]
    #: Columns of `listings` and their values; of our own export also when it was made and changed.
    facts: Mapped[dict[str, Any]]
    #: [{column, field, code, message, action}]
    findings: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    #: Where its photos are: they are not taken.
    photos: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    #: Null: waits.
    outcome: Mapped[str | None]
    #: What it became, or is; stays when that is deleted.
    listing_id: Mapped[UUID | None]
    __table_args__ = (
        _points_to("imports", "import_id"),
        _in("outcome", ("created", "updated", "skipped", "failed")),
        Index("import_rows_waiting", "import_id", "line", postgresql_where=text("outcome IS NULL")),
    )


class ListingSource(Owned, Base):
    """Where a listing came from, and what that said of it last: so the same row is never a second listing,
    and only what changed there is changed here."""

    __tablename__ = "listing_sources"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    #: Name of a format.
    source: Mapped[str] = mapped_column(primary_key=True)
    #: sku:… · handle:… · listing:… · row: and a hash of what the row said
    key: Mapped[str] = mapped_column(primary_key=True)
    listing_id: Mapped[UUID]
    #: The import that made it; null once that is gone.
    import_id: Mapped[UUID | None]
    facts: Mapped[dict[str, Any]]
    __table_args__ = (
        _points_to("listings", "listing_id"),
        _points_to("imports", "import_id", "SET NULL (import_id)"),
        Index("listing_sources_by_listing", "user_id", "listing_id"),
        Index("listing_sources_by_import", "user_id", "import_id"),
    )


class Event(Owned, Base):
    """Something that happened to a seller's things (notify/messages.py). Insert and select only; kept
    for EVENT_DAYS."""

    __tablename__ = "events"
    own_index = False
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    type: Mapped[str]
    #: As others read it: names in camelCase, no secret.
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (_owned("events"), Index("events_by_age", "created_at"))


class WebhookEndpoint(Owned, Base):
    """An address of the seller's own that is told of events."""

    __tablename__ = "webhook_endpoints"
    own_index = False
    id: Mapped[UUID] = _id()
    #: May have a token of the receiver's in it: shown to its seller only, never logged.
    url: Mapped[str]
    label: Mapped[str | None]
    #: Types that it wants; none = all.
    events: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    #: The secret that signs, sealed by the seller's data key of that version; until then, the one before too.
    dek_version: Mapped[int]
    sealed: Mapped[bytes]
    previous_sealed: Mapped[bytes | None]
    previous_until: Mapped[datetime | None]
    #: Since when, and how often in a row, it did not take a message; null and 0 after one that it took.
    failing_since: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    disabled_at: Mapped[datetime | None]
    disabled_why: Mapped[str | None]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (_owned("webhook_endpoints"),)


class WebhookDelivery(Owned, Base):
    """One event for one endpoint, until it is delivered or given up."""

    __tablename__ = "webhook_deliveries"
    own_index = False
    #: The message's id is made of it (`msg_…`), the same at each try.
    id: Mapped[UUID] = _id()
    #: None: the operator's own (API_URL).
    endpoint_id: Mapped[UUID | None]
    event_id: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(server_default="waiting")
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    next_try_at: Mapped[datetime] = _now()
    #: A worker is at it until then; also the fence of what it records.
    claimed_until: Mapped[datetime | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        _points_to("webhook_endpoints", "endpoint_id"),
        _points_to("events", "event_id"),
        _in("status", ("waiting", "delivered", "failed")),
        Index("webhook_deliveries_by_event", "user_id", "event_id"),
        Index("webhook_deliveries_by_endpoint", "endpoint_id", text("created_at DESC"), text("id DESC")),
        Index("webhook_deliveries_due", "next_try_at", postgresql_where=text("status = 'waiting'")),
        Index("webhook_deliveries_due_by_endpoint", "endpoint_id", "next_try_at",
              postgresql_where=text("status = 'waiting'")),
        Index("webhook_deliveries_claimed", "claimed_until",
              postgresql_where=text("claimed_until IS NOT NULL")),
    )  # fmt: skip


class WebhookReceipt(Base):
    """A message that came in, so that it has no effect twice. No seller's data."""

    __tablename__ = "webhook_receipts"
    id: Mapped[str] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = _now()
    __table_args__ = (Index("webhook_receipts_by_age", "received_at"),)

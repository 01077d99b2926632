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
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
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
    #: And while it is, nothing is taken down either.
    pause_ends: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Where the seller is (IANA), as the browser said with the last session that it handed over.
    time_zone: Mapped[str | None]
    #: A model's copy for a marketplace is used without a look at it first, where it says the same.
    copy_at_once: Mapped[bool] = mapped_column(server_default=text("false"))
    #: The moment of the backup that was restored; null once they went on posting after it.
    restored_to: Mapped[datetime | None]
    #: Of the inventory's table.
    hidden_columns: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    __table_args__ = (
        _in("role", ("owner", "seller")),
        CheckConstraint(
            "hidden_columns <@ ARRAY['sku', 'status', 'where', 'qty', 'price', 'cost', 'age']",
            name="hidden_columns_known",
        ),
    )


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


class Totp(Owned, Base):
    """An app's one-time codes: while it is there, a password alone signs nobody in."""

    __tablename__ = "totps"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    #: The secret, sealed by the seller's data key of that version.
    dek_version: Mapped[int]
    sealed: Mapped[bytes]
    #: The step of 30 seconds whose code was taken last; none of it or before it is taken again.
    last_step: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    #: Codes that were tried since one was right, and until when none is looked at.
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    rests_until: Mapped[datetime | None]
    made_at: Mapped[datetime] = _now()


class RecoveryCode(Owned, Base):
    """What stands in for a one-time code, once. SHA-256: it has 80 random bits."""

    __tablename__ = "recovery_codes"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(primary_key=True)
    used_at: Mapped[datetime | None]


class Passkey(Owned, Base):
    """A key of a device of the seller's, which signs in without a password."""

    __tablename__ = "passkeys"
    own_index = False
    id: Mapped[UUID] = _id()
    name: Mapped[str]
    credential_id: Mapped[bytes]
    public_key: Mapped[bytes]
    #: What the device counted when it signed last; 0 for ever where it does not count.
    sign_count: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = _now()
    last_used_at: Mapped[datetime | None]
    __table_args__ = (UniqueConstraint("user_id", "credential_id", name="passkeys_once"),)


class ProviderIdentity(Owned, Base):
    """Who the seller is at an identity provider. No account is ever found by `email`."""

    __tablename__ = "identities"
    id: Mapped[UUID] = _id()
    issuer: Mapped[str]
    subject: Mapped[str]
    #: As the provider said it last, for the seller's eyes.
    email: Mapped[str | None]
    created_at: Mapped[datetime] = _now()
    last_used_at: Mapped[datetime | None]
    __table_args__ = (UniqueConstraint("issuer", "subject", name="identities_once"),)


class SignInChange(Owned, Base):
    """What was changed in how the seller signs in. Insert and select only; no one may change it."""

    __tablename__ = "sign_in_changes"
    own_index = False
    id: Mapped[UUID] = _id()
    at: Mapped[datetime] = _now()
    #: A word of web/factors.py.
    what: Mapped[str]
    #: The passkey's name, the provider's, or who did it.
    about: Mapped[str | None]
    __table_args__ = (Index("sign_in_changes_by_time", "user_id", "at"),)


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


#: Title, brand and SKU; an entry of a B-tree holds 2,704 bytes, a character takes up to 4.
WORDS = (
    "lower(\"left\"(COALESCE(title, ''::text), 300) || ' '::text || \"left\"(COALESCE(brand, ''::text), 100) "
    "|| ' '::text || \"left\"(COALESCE(sku, ''::text), 100))"
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
    #: The seller's own, never sent anywhere (listings.PRIVATE): where it lies, what one of it cost, labels.
    location: Mapped[str | None]
    cost_cents: Mapped[int | None] = mapped_column(BigInteger)
    labels: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    #: Set by DELETE ?end=true: the row goes when its last publication has ended.
    delete_asked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    #: What is searched, in lower case: title, brand and SKU, as far as an index holds them.
    words: Mapped[str] = mapped_column(Computed(WORDS, persisted=True), deferred=True)
    #: By which it is ordered: the SKU, or nothing.
    sku_order: Mapped[str] = mapped_column(Computed("coalesce(sku, ''::text)", persisted=True), deferred=True)
    __table_args__ = (
        _owned("listings"),
        CheckConstraint("quantity >= 0 AND quantity_sold >= 0", name="quantity_not_negative"),
        CheckConstraint("cost_cents >= 0", name="cost_not_negative"),
        Index("listings_by_user", "user_id", text("created_at DESC"), text("id DESC")),
        Index("listings_by_sku", "user_id", "sku", postgresql_where=text("sku IS NOT NULL")),
        Index("listings_in_order_of_sku", "user_id", "sku_order", "id"),
        Index("listings_by_price", "user_id", text("coalesce(price_cents, 0)"), "id"),
        # a seller's inventory is sought in this index alone (inventory/stock.py)
        Index("listings_sought", "user_id", text("created_at DESC"), text("id DESC"),
              postgresql_include=["words", "price_cents", "quantity", "quantity_sold"]),
        Index("listings_by_location", "user_id", "location", text("created_at DESC"), text("id DESC"),
              postgresql_where=text("location IS NOT NULL")),
        Index("listings_labelled", "user_id", text("created_at DESC"), text("id DESC"),
              postgresql_include=["labels"], postgresql_where=text("labels <> '{}'")),
    )  # fmt: skip


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
    #: Degrees clockwise by which it is turned wherever it is shown or sent; the original stays as it is.
    turn: Mapped[int] = mapped_column(server_default=text("0"))
    #: photos.Fingerprint, by which it is known on a marketplace; null: not looked at yet.
    fingerprint: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        _points_to("listings", "listing_id"),
        CheckConstraint("turn IN (0, 90, 180, 270)", name="turn_known"),
        UniqueConstraint("listing_id", "position", deferrable=True, initially="DEFERRED",
                         name="listing_photos_place"),
        UniqueConstraint("listing_id", "sha256", name="listing_photos_once"),
        Index("listing_photos_by_listing", "user_id", "listing_id", "position"),
        Index("listing_photos_by_hash", "sha256"),
    )  # fmt: skip


class DeletedListing(Owned, Base):
    """A listing that its seller deleted, with all that went with its row (inventory/deleted.py). Insert,
    select and delete only."""

    __tablename__ = "deleted_listings"
    own_index = False
    #: The listing's.
    id: Mapped[UUID] = mapped_column(primary_key=True)
    deleted_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    #: deleted.describe
    described: Mapped[dict[str, Any]]
    #: Hashes of the photos in it, for who may read no more of it (everystall.unnamed_photos).
    photos: Mapped[list[Any]] = mapped_column(
        Computed("jsonb_path_query_array(described, '$.listing_photos[*].sha256')", persisted=True)
    )
    __table_args__ = (
        Index("deleted_listings_newest", "user_id", text("deleted_at DESC"), text("id DESC")),
        Index("deleted_listings_by_age", "deleted_at"),
        Index("deleted_listings_by_photo", "photos", postgresql_using="gin"),
    )


class SavedView(Owned, Base):
    """What of the inventory a seller looks at again and again, under a name of theirs."""

    __tablename__ = "saved_views"
    own_index = False
    id: Mapped[UUID] = _id()
    name: Mapped[str]
    #: The page's address behind its `?`.
    query: Mapped[str]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (UniqueConstraint("user_id", "name", name="saved_views_once"),)


class ListingTemplate(Owned, Base):
    """What several listings begin with: parcel, postage, policies, the end of the description."""

    __tablename__ = "listing_templates"
    own_index = False
    id: Mapped[UUID] = _id()
    name: Mapped[str]
    #: inventory/templates.py
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (UniqueConstraint("user_id", "name", name="listing_templates_once"),)


class ModelAnswer(Owned, Base):
    """One question to a language model, from before it is asked (content/asking.py)."""

    __tablename__ = "model_answers"
    own_index = False
    id: Mapped[UUID] = _id()
    #: reading · copy · agent (browser/agent.py)
    kind: Mapped[str]
    #: Of all that was asked: the same has the same answer.
    content_hash: Mapped[str]
    asked_at: Mapped[datetime] = _now()
    #: Null: under way, or its process ended.
    answered_at: Mapped[datetime | None]
    model: Mapped[str | None]
    tokens_in: Mapped[int | None]
    tokens_out: Mapped[int | None]
    #: Millionths of a dollar; what it may cost, until it is answered.
    cost: Mapped[int] = mapped_column(BigInteger)
    #: `said`: as the model said it; `about`: what it is looked at with. Null: it said nothing usable.
    answer: Mapped[dict[str, Any] | None]
    __table_args__ = (
        Index("model_answers_asked", "user_id", "asked_at"),
        Index("model_answers_same", "user_id", "content_hash"),
    )


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
    #: What its form last had to choose from: {"return_policy": ["No returns accepted", …]} (Form.POLICIES).
    policies: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    paused_at: Mapped[datetime | None]
    #: And while it is, nothing is taken down there either.
    pause_ends: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Where it is visited from: a worker's WORKER_PLACE; null = from anywhere.
    place: Mapped[str | None]
    #: Seconds between two posts; null = the setting, else the marketplace's own default.
    pace_seconds: Mapped[float | None]
    #: New listings a day; null = the setting, else the marketplace's own default.
    daily_cap: Mapped[int | None]
    #: Why the account cannot be visited, as the seller reads it (a NeedsYou), or null.
    needs_you: Mapped[dict[str, Any] | None]
    last_post_at: Mapped[datetime | None]
    #: The marketplace asked for it (Retry-After): nothing is visited there before this, for whatever.
    rest_until: Mapped[datetime | None]
    last_visit_at: Mapped[datetime | None]
    #: When it is looked at again: is somebody signed in, did anything sell.
    next_check_at: Mapped[datetime | None]
    #: Checks in a row of which nothing was written down: whoever was at it ended without a word.
    checks_cut_off: Mapped[int] = mapped_column(server_default=text("0"))
    #: When its list of orders was last read; null = never: what it shows then is only remembered.
    watched_at: Mapped[datetime | None]
    #: When its list of what is live is next read beside them (worker/hands.py).
    next_list_at: Mapped[datetime] = _now()
    #: The ids of what that list held last, in its order, where it is long (worker/list_order.py).
    live_ids: Mapped[list[str] | None] = mapped_column(deferred=True)
    #: Of such a list, the page whose turn it is.
    list_turn: Mapped[int] = mapped_column(server_default=text("2"))
    #: Since when reading it fails for another reason than the sign-in, and when the seller was told so.
    watch_failing_since: Mapped[datetime | None]
    watch_told_at: Mapped[datetime | None]
    #: What the page looked like then, as `attempts.evidence`.
    watch_evidence: Mapped[dict[str, Any] | None]
    #: Since when we cannot see what sells there, and when what is live there was ended elsewhere, by the
    #: seller's rule. Null again once it was looked at.
    blind_since: Mapped[datetime | None]
    blind_ended_at: Mapped[datetime | None]
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
        CheckConstraint("daily_cap > 0", name="daily_cap"),
        Index("connections_by_place", "place", postgresql_where=text("place IS NOT NULL")),
        Index("connections_one_per_account", "user_id", "marketplace", "account_id", unique=True,
              postgresql_where=text("account_id IS NOT NULL")),
        Index("connections_due", "next_check_at", postgresql_where=text("next_check_at IS NOT NULL")),
        Index("connections_blind", "id", postgresql_where=text(
            "needs_you IS NOT NULL OR watch_told_at IS NOT NULL OR blind_since IS NOT NULL")),
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
    #: extension: handed over by the seller · visit: written back by a worker · worker: the seller signed in
    #: there, in the worker's browser
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
        _in("origin", ("extension", "visit", "worker")),
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


class Sitting(Owned, Base):
    """A seller at a worker's browser: a challenge is answered there, or a sign-in made. Nobody deletes
    one."""

    __tablename__ = "sittings"
    own_index = False
    id: Mapped[UUID] = _id()
    connection_id: Mapped[UUID]
    #: challenge: with the account's session · sign_in: with none
    purpose: Mapped[str]
    #: The browser or the token that asked for it, by its name.
    asked_by: Mapped[str]
    asked_at: Mapped[datetime] = _now()
    #: It is over then; moved on while the seller is there.
    until: Mapped[datetime]
    #: Where the worker serves it; null while nobody does.
    address: Mapped[str | None]
    #: Of the last ticket that was given out and not used yet.
    ticket_hash: Mapped[bytes | None]
    opened_at: Mapped[datetime | None]
    #: When the seller was last there.
    seen_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    #: done · closed: the seller left it at that · left: nobody was there for ten minutes · long: it took half
    #: an hour · failed: the browser could not be opened
    outcome: Mapped[str | None]
    #: What came of it, as its seller reads it.
    said: Mapped[str | None]
    __table_args__ = (
        _owned("sittings"),
        _points_to("connections", "connection_id"),
        _in("purpose", ("challenge", "sign_in")),
        _in("outcome", ("done", "closed", "left", "long", "failed")),
        Index("sittings_by_user", "user_id", text("asked_at DESC")),
        Index("sittings_by_connection", "user_id", "connection_id"),
        Index("sittings_one_open", "connection_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    )


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
    #: The price rule by which it is wanted there (pricing.Rule); null: none. A rule that the seller changes
    #: later is not the one of what is live, until he has it applied.
    price_rule: Mapped[dict[str, Any] | None]
    #: What we last put there and read back; live without a revision: some sold there, and how many it offers
    #: now is to be seen.
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
    #: It goes down to be posted again, in a new attempt: asked (still live) · begun (a click may have taken
    #: it down) · down (gone by its own page). Null once it is live again, or not wanted any more.
    relist: Mapped[str | None]
    #: When that was last asked for.
    relist_asked_at: Mapped[datetime | None]
    #: It was wanted live until all of its listing was to be deleted.
    end_by_delete: Mapped[bool] = mapped_column(server_default=text("false"))
    #: {reason, message, url, actions[]}: a flag on any state.
    needs_you: Mapped[dict[str, Any] | None]
    #: Not before this; null = now.
    next_try_at: Mapped[datetime | None]
    #: Where it is the same time, the account's pace is all that it waits for.
    paced_to: Mapped[datetime | None]
    #: Since when it offers more than are left, or may, as some sold; when its seller was told so.
    lower_asked_at: Mapped[datetime | None]
    lower_told_at: Mapped[datetime | None]
    #: Failures in a row of the kind that passes by itself.
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    #: When a step of it began of which nothing was written down yet; and how many before it in a row ended
    #: without a word, though PostgreSQL stood: their worker died, say.
    begun_at: Mapped[datetime | None]
    cut_off: Mapped[int] = mapped_column(server_default=text("0"))
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
    #: Counted up by the database with each change: which of two readings is the newer.
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    #: Kept by the database with each wish: the trace in which it was made.
    traceparent: Mapped[str | None]
    __table_args__ = (
        _owned("publications"),
        _points_to("listings", "listing_id"),
        _points_to("connections", "connection_id"),
        UniqueConstraint("user_id", "listing_id", "connection_id", name="publications_once"),
        _in("wanted", ("live", "ended")),
        _in("put", ("nothing", "live", "ended", "sold")),
        _in("seen", ("unknown", "live", "ended", "sold")),
        _in("state", STATES),
        _in("relist", ("asked", "begun", "down")),
        Index("publications_relisting", "connection_id", postgresql_where=text("relist IS NOT NULL")),
        Index("publications_due", "user_id", "connection_id", "wanted", "asked_at",
              postgresql_where=text("unsettled OR looking")),
        Index("publications_due_at", text("next_try_at NULLS FIRST"),
              postgresql_where=text(
                  "looking OR (unsettled AND (needs_you IS NULL OR (put = 'live' AND (needs_you ->> 'reason' "
                  "IN ('sold_twice', 'sale_cancelled') OR ((wanted = 'ended' OR lower_asked_at IS NOT NULL) "
                  "AND needs_you ->> 'reason' IN ('marketplace_busy', 'page_changed'))))))")),
        Index("publications_lower", "user_id", "lower_asked_at",
              postgresql_where=text("lower_asked_at IS NOT NULL")),
        Index("publications_by_connection", "user_id", "connection_id"),
        # where each listing is, or was, or shall be, without a look at the rows themselves
        Index("publications_standing", "user_id", "listing_id", "put", "marketplace",
              postgresql_include=["asked_at", "relist_asked_at"],
              postgresql_where=text("wanted = 'live' OR put <> 'nothing'")),
        Index("publications_that_wait", "user_id", text("updated_at DESC"),
              postgresql_where=text("needs_you IS NOT NULL")),
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
    #: When we last let something happen that may publish: our click, or an act of an agent's in the form.
    armed_at: Mapped[datetime | None]
    #: {clicked, reason, message, passes}: an agent acted, and no click of ours was promised after it.
    #: `clicked`: it came to one all the same. The others, of what stopped it, are told once nothing came of
    #: it. `passes`: by itself.
    stopped: Mapped[dict[str, Any] | None]
    answered_at: Mapped[datetime | None]
    #: The seller pressed "Post again": the next look that finds nothing makes this one unresolved.
    repost_asked_at: Mapped[datetime | None]
    looks: Mapped[int] = mapped_column(server_default=text("0"))
    #: After "unresolved" its looks go on until this is null.
    next_look_at: Mapped[datetime | None]
    #: Screenshot and aria snapshot of the failure, where the photos are: {"screenshot": name, "aria": name,
    #: "url": …, "at": …}
    evidence: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    #: Armed and not settled: {revision, draft, photo_hashes, names} that a click may have put there.
    revising: Mapped[dict[str, Any] | None]
    revising_at: Mapped[datetime | None]
    #: {field: value} of what stands there otherwise than in `draft` (names of base.flat): changed there by
    #: hand, or so since it came in or was linked.
    adopted: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    #: {title, price}: what the account's list showed of it, where its own page said otherwise.
    listed: Mapped[dict[str, Any] | None]
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


class Sale(Owned, Base):
    """An item of an order on an account: all that its list of orders showed, also what is none of ours. And
    what its seller sold elsewhere, and said so."""

    __tablename__ = "sales"
    own_index = False
    id: Mapped[UUID] = _id()
    #: Null: it was sold elsewhere, on no account.
    connection_id: Mapped[UUID | None]
    #: Null: the listing's own page said that it is sold, and no order was seen yet; or there is none.
    order_id: Mapped[str | None]
    #: orders: the account's list of them · page: the listing's own · mail: the marketplace's mail alone ·
    #: seller: who sold it elsewhere
    told_by: Mapped[str] = mapped_column(server_default="orders")
    #: Which of the order's items.
    line: Mapped[int] = mapped_column(server_default=text("0"))
    #: The site's id of the listing, where it told.
    remote_id: Mapped[str | None]
    #: What of ours it was; null = none, or deleted since.
    listing_id: Mapped[UUID | None]
    publication_id: Mapped[UUID | None]
    title: Mapped[str]
    price_cents: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(server_default="USD")
    quantity: Mapped[int]
    #: As the site tells it: its moment if `sold_at_exact`, else its day; null = it does not.
    sold_at: Mapped[datetime | None]
    sold_at_exact: Mapped[bool] = mapped_column(server_default=text("false"))
    observed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    #: When it was first seen cancelled there, or its seller said that it is, or took it back.
    cancelled_at: Mapped[datetime | None]
    #: Since when its list, read as far as that, does not show it; null = it does, or its seller said that the
    #: order stands all the same. And when its seller was asked whether it was cancelled.
    missing_at: Mapped[datetime | None]
    missing_asked_at: Mapped[datetime | None]
    #: How many of the listing's `quantity_sold` are its own: fewer than `quantity` if it came too late.
    counted: Mapped[int] = mapped_column(server_default=text("0"))
    #: When what a cancelled order leaves was put back, or it was decided that it is not; of an order from
    #: before its listing came in, when that did: it has nothing of what was left then.
    settled_at: Mapped[datetime | None]
    #: What its fee goes by, and what one of it cost: as the listing said when it sold, else as it said first
    #: since (takings.fill_in).
    category: Mapped[str | None]
    cost_cents: Mapped[int | None] = mapped_column(BigInteger)
    #: Of what was sold elsewhere: where, in its seller's words, and what selling it cost there.
    place: Mapped[str | None]
    fee_cents: Mapped[int | None] = mapped_column(BigInteger)
    __table_args__ = (
        _owned("sales"),
        _points_to("connections", "connection_id"),
        _points_to("listings", "listing_id", "SET NULL (listing_id)"),
        _points_to("publications", "publication_id", "SET NULL (publication_id)"),
        UniqueConstraint("connection_id", "order_id", "line", name="sales_once"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        _in("told_by", ("orders", "page", "mail", "seller")),
        CheckConstraint("(connection_id IS NULL) = (told_by = 'seller')", name="of_an_account"),
        Index("sales_by_connection", "user_id", "connection_id", text("observed_at DESC")),
        Index("sales_by_user", "user_id", text("observed_at DESC"), text("id DESC")),
        Index("sales_by_listing", "user_id", "listing_id"),
        Index("sales_by_publication", "user_id", "publication_id"),
        Index("sales_by_remote_id", "connection_id", "remote_id",
              postgresql_where=text("remote_id IS NOT NULL")),
    )  # fmt: skip


class TakeDown(Owned, Base):
    """A publication that is taken down because of a sale elsewhere. With the sale's sold_at and observed_at:
    how long a sold thing stayed for sale."""

    __tablename__ = "take_downs"
    own_index = False
    id: Mapped[UUID] = _id()
    sale_id: Mapped[UUID]
    publication_id: Mapped[UUID | None]
    marketplace: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    #: When a visit first went to take it down, and when its own page said that it is gone.
    started_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]
    #: When the seller was told that it is late.
    told_at: Mapped[datetime | None]
    #: When the seller decided on it since: it is not put back because of the sale's order.
    settled_at: Mapped[datetime | None]
    __table_args__ = (
        _points_to("sales", "sale_id"),
        _points_to("publications", "publication_id", "SET NULL (publication_id)"),
        UniqueConstraint("sale_id", "publication_id", name="take_downs_once"),
        Index("take_downs_by_publication", "user_id", "publication_id"),
        Index("take_downs_by_sale", "user_id", "sale_id"),
        Index("take_downs_late", "asked_at", postgresql_where=text("gone_at IS NULL AND told_at IS NULL")),
        Index("take_downs_open", "asked_at", postgresql_where=text("gone_at IS NULL")),
    )


class DoubleSale(Owned, Base):
    """More was sold than there was. The earlier order has it; the later is for the seller to settle."""

    __tablename__ = "double_sales"
    own_index = False
    id: Mapped[UUID] = _id()
    listing_id: Mapped[UUID | None]
    #: Null: the listing said that it is sold, and we saw no order of it.
    earlier_id: Mapped[UUID | None]
    later_id: Mapped[UUID]
    detected_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    #: When one of the two was cancelled there.
    settled_at: Mapped[datetime | None]
    __table_args__ = (
        _points_to("listings", "listing_id", "SET NULL (listing_id)"),
        _points_to("sales", "earlier_id"),
        _points_to("sales", "later_id"),
        Index("double_sales_by_earlier", "user_id", "earlier_id"),
        Index("double_sales_by_later", "user_id", "later_id"),
        Index("double_sales_by_listing", "user_id", "listing_id"),
    )


class SaleRules(Owned, Base):
    """What the seller wants done after a sale without being asked; one row per seller, none: the defaults."""

    __tablename__ = "sale_rules"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    #: A cancelled order: is what was taken down because of it posted again?
    put_back: Mapped[str] = mapped_column(server_default="ask")
    #: What is live on an account that we cannot see: does the rest of it stay for sale elsewhere?
    blind: Mapped[str] = mapped_column(server_default="keep")
    #: For so long it stays in any case.
    blind_minutes: Mapped[int] = mapped_column(server_default=text("30"))
    #: Where the last one of several stays; null: everywhere.
    last_unit_on: Mapped[UUID | None]
    __table_args__ = (
        _points_to("connections", "last_unit_on", "SET NULL (last_unit_on)"),
        _in("put_back", ("ask", "always", "never")),
        _in("blind", ("keep", "end_elsewhere")),
        CheckConstraint("blind_minutes >= 0", name="blind_minutes_not_negative"),
        Index("sale_rules_by_last_unit", "user_id", "last_unit_on"),
    )


class BlindEnd(Owned, Base):
    """A publication that is ended because the same is live on an account that we cannot see, until we do."""

    __tablename__ = "blind_ends"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    publication_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: The account that is blind.
    connection_id: Mapped[UUID]
    ended_at: Mapped[datetime] = _now()
    __table_args__ = (
        _points_to("publications", "publication_id"),
        _points_to("connections", "connection_id"),
        Index("blind_ends_by_connection", "user_id", "connection_id"),
    )


class MailAddress(Owned, Base):
    """Where a seller's sale mails may be sent to: an address of our API with a token in it, of which we keep
    the SHA-256."""

    __tablename__ = "mail_addresses"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    made_at: Mapped[datetime] = _now()
    #: When something came there last, and when a sale mail did.
    used_at: Mapped[datetime | None]
    sale_at: Mapped[datetime | None]


class Mailbox(Owned, Base):
    """A seller's own mailbox, watched by IMAP for mails about sales."""

    __tablename__ = "mailboxes"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    host: Mapped[str]
    port: Mapped[int]
    username: Mapped[str]
    #: The password, sealed by the seller's data key of that version.
    dek_version: Mapped[int]
    sealed: Mapped[bytes]
    #: A worker watches it until then; also the fence of what it records.
    claimed_until: Mapped[datetime | None]
    #: What of it was read last: a number, and what numbers are valid for.
    uid_validity: Mapped[int | None] = mapped_column(BigInteger)
    last_uid: Mapped[int | None] = mapped_column(BigInteger)
    checked_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    #: refused: not tried again before it is changed; else the kind of failure.
    failing_why: Mapped[str | None]
    told_at: Mapped[datetime | None]
    made_at: Mapped[datetime] = _now()


class MailSeen(Owned, Base):
    """A hash of each sale mail, so that it has its effect once."""

    __tablename__ = "mails_seen"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime] = _now()
    #: What it is proven to tell of, where it was only a hint: the sale, if its account turns out to be blind.
    publication_id: Mapped[UUID | None]
    __table_args__ = (
        _points_to("publications", "publication_id", "SET NULL (publication_id)"),
        Index("mails_seen_by_age", "user_id", "seen_at"),
        Index("mails_seen_by_publication", "user_id", "publication_id"),
    )


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
    #: W3C Trace Context of the request that asked, where traces are sent (everystall/traces.py).
    traceparent: Mapped[str | None]
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
        UniqueConstraint("user_id", "job_id", "publication_id", name="results_once"),
        _in("state", STATES),
        Index("results_open", "publication_id", postgresql_where=text("finished_at IS NULL")),
        Index("results_by_publication", "user_id", "publication_id"),
        # of all sellers, for the figures of whoever runs this (everystall.post_numbers)
        Index("results_by_end", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )


class PriceRule(Owned, Base):
    """What a marketplace's price is made of the listing's, where the listing has no own price for it."""

    __tablename__ = "price_rules"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    marketplace: Mapped[str] = mapped_column(primary_key=True)
    #: pricing.Rule
    rule: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = _now()


class PriceDrop(Owned, Base):
    """A schedule by which prices fall: of one listing, or of all that have none of their own."""

    __tablename__ = "price_drops"
    own_index = False
    id: Mapped[UUID] = _id()
    #: Null: the seller's.
    listing_id: Mapped[UUID | None]
    #: Of each step: hundredths of a per cent of the price, or cents.
    percent: Mapped[int] = mapped_column(server_default=text("0"))
    cents: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    every_days: Mapped[int]
    floor_cents: Mapped[int] = mapped_column(BigInteger)
    #: When it was set.
    began_at: Mapped[datetime] = _now()
    #: When a worker looks what is due.
    next_look_at: Mapped[datetime] = _now()
    __table_args__ = (
        _points_to("listings", "listing_id"),
        UniqueConstraint("user_id", "listing_id", name="price_drops_of_listing"),
        CheckConstraint(
            "(percent > 0) <> (cents > 0) AND percent >= 0 AND cents >= 0", name="percent_or_cents"
        ),
        CheckConstraint("every_days > 0 AND floor_cents > 0", name="positive"),
        Index("price_drops_of_seller", "user_id", unique=True, postgresql_where=text("listing_id IS NULL")),
        Index("price_drops_due", "next_look_at"),
    )


class PriceStep(Owned, Base):
    """A step down that a schedule made, or could not make. Its key is what makes it happen once."""

    __tablename__ = "price_steps"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    listing_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    before_cents: Mapped[int | None] = mapped_column(BigInteger)
    after_cents: Mapped[int] = mapped_column(BigInteger)
    #: Why the price stayed as it was.
    refused: Mapped[str | None]
    made_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (_points_to("listings", "listing_id"),)


class RelistRule(Owned, Base):
    """When what is live on a marketplace is taken down and posted again by itself."""

    __tablename__ = "relist_rules"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    marketplace: Mapped[str] = mapped_column(primary_key=True)
    #: Since it was posted.
    after_days: Mapped[int]
    #: Between two of one listing.
    between_days: Mapped[int]
    #: On each account.
    per_day: Mapped[int]
    #: When a worker looks what is due.
    next_look_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    __table_args__ = (
        CheckConstraint("after_days > 0 AND between_days > 0 AND per_day > 0", name="positive"),
        Index("relist_rules_due", "next_look_at"),
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
    #: Where its photos are that are not taken.
    photos: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    #: Addresses of those that a worker fetches yet, in order.
    to_fetch: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    #: Originals that came with it, or were fetched, and are in the store, in order (content.StoredPhoto as
    #: JSON).
    originals: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    #: Null: waits.
    outcome: Mapped[str | None]
    #: What it became, or is; stays when that is deleted.
    listing_id: Mapped[UUID | None]
    __table_args__ = (
        _points_to("imports", "import_id"),
        _in("outcome", ("created", "updated", "skipped", "failed")),
        Index("import_rows_waiting", "import_id", "line", postgresql_where=text("outcome IS NULL")),
        Index("import_rows_to_fetch", "import_id", "line", postgresql_where=text("to_fetch <> '{}'")),
    )


class ListingSource(Owned, Base):
    """Where a listing came from, and what that said of it last: so the same row is never a second listing,
    and only what changed there is changed here."""

    __tablename__ = "listing_sources"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    #: Name of a format; or of a marketplace, where it is or was.
    source: Mapped[str] = mapped_column(primary_key=True)
    #: sku:… · handle:… · listing:… · row: and a hash of what the row said; of a marketplace: id: and its own
    #: id of it
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


class LiveImport(Owned, Base):
    """An account's live listings come in: its list page by page, then each listing by its own page; one at
    once per account. Of the finished ones the last of each account is kept."""

    __tablename__ = "live_imports"
    own_index = False
    id: Mapped[UUID] = _id()
    connection_id: Mapped[UUID]
    status: Mapped[str] = mapped_column(server_default="running")
    #: Pages of the account's list that were read, and when the last was.
    pages_read: Mapped[int] = mapped_column(server_default=text("0"))
    listed_at: Mapped[datetime | None]
    #: Not before this.
    next_step_at: Mapped[datetime] = _now()
    #: Failures in a row.
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    #: Steps in a row of which nothing was written down: whoever was at it ended without a word.
    cut_off: Mapped[int] = mapped_column(server_default=text("0"))
    #: What stands in its way, or ended it.
    message: Mapped[str | None]
    created_at: Mapped[datetime] = _now()
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        _owned("live_imports"),
        _points_to("connections", "connection_id"),
        _in("status", ("running", "done", "failed")),
        Index("live_imports_by_connection", "user_id", "connection_id", text("created_at DESC")),
        Index("live_imports_one_running", "connection_id", unique=True,
              postgresql_where=text("status = 'running'")),
    )  # fmt: skip


class LiveImportItem(Owned, Base):
    """A live listing of the account, as its list shows it. Its outcome is written in the transaction that
    makes the listing."""

    __tablename__ = "live_import_items"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    import_id: Mapped[UUID] = mapped_column(primary_key=True)
    remote_id: Mapped[str] = mapped_column(primary_key=True)
    #: In the list, from 0.
    position: Mapped[int]
    title: Mapped[str]
    #: Where the list tells it, with a marker if it has one.
    sku: Mapped[str | None]
    #: created · known: it was ours · gone: not live any more · failed; null: waits.
    outcome: Mapped[str | None]
    #: What it became, or is; stays when that is deleted.
    listing_id: Mapped[UUID | None]
    #: [{field, message}]: what did not come over as it is there.
    notes: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    __table_args__ = (
        _points_to("live_imports", "import_id"),
        _in("outcome", ("created", "known", "gone", "failed")),
        Index("live_import_items_waiting", "import_id", "position",
              postgresql_where=text("outcome IS NULL")),
    )  # fmt: skip


class Matching(Owned, Base):
    """A seller's live listings are to be compared with each other, or were."""

    __tablename__ = "matchings"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    #: Null: nobody waits for it.
    asked_at: Mapped[datetime | None]
    #: A worker is at it until then.
    claimed_until: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    __table_args__ = (Index("matchings_due", "asked_at", postgresql_where=text("asked_at IS NOT NULL")),)


class Match(Owned, Base):
    """Two listings that may be one thing, or are, or are not: `one_id` is the lesser. Linked, one of the two
    lives on in the other, and `undo` has what it was."""

    __tablename__ = "matches"
    own_index = False
    id: Mapped[UUID] = _id()
    one_id: Mapped[UUID]
    other_id: Mapped[UUID]
    state: Mapped[str] = mapped_column(server_default="proposed")
    points: Mapped[float] = mapped_column(Double)
    #: What speaks for it and what against, for the seller to read.
    reasons: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    doubts: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    #: links.Undo
    undo: Mapped[dict[str, Any] | None]
    #: Hashes of the photos in it, for who may read no more of it (everystall.unnamed_photos).
    undo_photos: Mapped[list[Any] | None] = mapped_column(
        Computed("jsonb_path_query_array(undo, '$.listing_photos[*].sha256')", persisted=True)
    )
    #: When a comparison last found it.
    seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        UniqueConstraint("user_id", "one_id", "other_id", name="matches_once"),
        _in("state", ("proposed", "linked", "apart")),
        _in("decided_by", ("everystall", "seller")),
        Index("matches_by_state", "user_id", "state", text("points DESC"), "id"),
        Index("matches_by_other", "user_id", "other_id"),
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


class Notice(Owned, Base):
    """Something that a seller is told in the app: an event that is one (notify/notices.py)."""

    __tablename__ = "notices"
    own_index = False
    event_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    read_at: Mapped[datetime | None]
    __table_args__ = (
        _points_to("events", "event_id"),
        Index("notices_newest", "user_id", text("event_id DESC")),
        Index("notices_unread", "user_id", postgresql_where=text("read_at IS NULL")),
    )


class NoticeRules(Owned, Base):
    """What of it goes where else, and when. Who never said anything has no row."""

    __tablename__ = "notice_rules"
    own_index = False
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    #: Subjects that go to channels of that kind; null: what goes there unless the seller says otherwise.
    email: Mapped[list[str] | None]
    push: Mapped[list[str] | None]
    service: Mapped[list[str] | None]
    email_pace: Mapped[str] = mapped_column(server_default="at_once")
    push_pace: Mapped[str] = mapped_column(server_default="at_once")
    service_pace: Mapped[str] = mapped_column(server_default="at_once")
    #: When what is told once a day is told.
    digest_hour: Mapped[int] = mapped_column(SmallInteger, server_default=text("8"))
    #: Minutes of the seller's day between which nothing is sent; null: it always is.
    quiet_from: Mapped[int | None] = mapped_column(SmallInteger)
    quiet_until: Mapped[int | None] = mapped_column(SmallInteger)
    #: What is urgent waits for neither.
    urgent_passes: Mapped[bool] = mapped_column(server_default=text("true"))
    #: IANA; null: that of the seller's browser (`users.time_zone`).
    time_zone: Mapped[str | None]
    __table_args__ = tuple(
        _in(f"{kind}_pace", ("at_once", "hourly", "daily")) for kind in ("email", "push", "service")
    )


class Channel(Owned, Base):
    """A way to a seller: an address for mails, a browser that takes pushes, another service."""

    __tablename__ = "channels"
    own_index = False
    id: Mapped[UUID] = _id()
    kind: Mapped[str]
    #: What the seller knows it by; holds no secret.
    label: Mapped[str]
    #: Of an address itself, else a hash of where it leads: none is there twice.
    key: Mapped[str]
    #: The service's URL, the browser's subscription, or what confirms an address; sealed by the seller's data
    #: key of that version.
    dek_version: Mapped[int]
    sealed: Mapped[bytes]
    #: The signed-in browser that takes pushes: it ends when that is signed out.
    token_id: Mapped[UUID | None]
    #: When the mail that asks for it to be confirmed was last asked for.
    asked_at: Mapped[datetime | None]
    #: Null: nothing is sent there yet.
    confirmed_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    #: Since when, how often in a row and why it took nothing; null, 0 and null after what it took.
    failing_since: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        _owned("channels"),
        _points_to("api_tokens", "token_id"),
        _in("kind", ("email", "push", "service")),
        Index("channels_once", "user_id", "kind", "key", unique=True),
        Index("channels_by_token", "user_id", "token_id"),
    )


class NoticeDelivery(Owned, Base):
    """One event for one channel, until it is delivered or given up; or a test, or a confirmation's mail."""

    __tablename__ = "notice_deliveries"
    own_index = False
    id: Mapped[UUID] = _id()
    channel_id: Mapped[UUID]
    event_id: Mapped[int | None] = mapped_column(BigInteger)
    what: Mapped[str] = mapped_column(server_default="event")
    #: Waits for no quiet hours and no digest.
    urgent: Mapped[bool] = mapped_column(server_default=text("false"))
    status: Mapped[str] = mapped_column(server_default="waiting")
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    next_try_at: Mapped[datetime] = _now()
    #: A worker is at it until then; also the fence of what it records.
    claimed_until: Mapped[datetime | None]
    last_error: Mapped[str | None]
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        _points_to("channels", "channel_id"),
        _points_to("events", "event_id"),
        _in("status", ("waiting", "delivered", "failed")),
        _in("what", ("event", "test", "confirm")),
        CheckConstraint("(what = 'event') = (event_id IS NOT NULL)", name="event_named"),
        Index("notice_deliveries_by_event", "user_id", "event_id"),
        Index("notice_deliveries_once", "channel_id", "event_id", unique=True),
        Index("notice_deliveries_due", "next_try_at", postgresql_where=text("status = 'waiting'")),
        Index("notice_deliveries_due_by_channel", "channel_id", "next_try_at",
              postgresql_where=text("status = 'waiting'")),
        Index("notice_deliveries_claimed", "claimed_until",
              postgresql_where=text("claimed_until IS NOT NULL")),
    )  # fmt: skip


class WebhookReceipt(Base):
    """A message that came in, so that it has no effect twice. No seller's data."""

    __tablename__ = "webhook_receipts"
    id: Mapped[str] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = _now()
    __table_args__ = (Index("webhook_receipts_by_age", "received_at"),)

"""ES1: what is sealed opens for its own row and no other, unchanged in every bit; a secret never shows."""

import copy
import logging
import pickle
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from everystall.errors import SealBroken
from everystall.vault import envelope
from everystall.vault.envelope import Binding, SecretBytes

CANARY = b"CANARY-4f1c2d7e90ab4f1c2d7e90ab4f1c2d7e"
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
KEYS = st.binary(min_size=32, max_size=32)
BINDINGS = st.builds(
    Binding,
    user_id=st.uuids(),
    marketplace=st.sampled_from(["poshmark", "mercari", "ebay"]),
    row_id=st.uuids(),
    seq=st.integers(1, 2**62),
    expires_at=MOMENTS,
)
SUBKEY = "15e33626e75bd844523a69533f6186f4bd3f50169abb851bc9fe854d587912f5"
SEALED = "45533101371648b29657f85ae485da7c2940b82f7c84e16b8bbeab1b2cf6c7b4e1b4f3e3313f47"
ONE = Binding(UUID(int=1), "ebay", UUID(int=2), 3, datetime(2026, 12, 1, tzinfo=UTC))


@given(KEYS, st.binary(max_size=4000), BINDINGS)
def test_what_is_sealed_opens_again(key, payload, row):
    sealed = envelope.seal(key, payload, row)
    assert sealed.startswith(b"ES1\x01")
    assert len(sealed) == len(payload) + 32
    with envelope.unseal(key, sealed, row) as plain:
        assert plain == payload


@given(KEYS, st.binary(max_size=300), BINDINGS, BINDINGS, st.data())
def test_any_swap_of_user_marketplace_row_seq_or_expiry_is_refused(key, payload, row, other, data):
    name = data.draw(st.sampled_from(["user_id", "marketplace", "row_id", "seq", "expires_at"]))
    assume(getattr(row, name) != getattr(other, name))
    swapped = Binding(**{**vars(row), name: getattr(other, name)})
    with pytest.raises(SealBroken):
        envelope.unseal(key, envelope.seal(key, payload, row), swapped)


@given(st.integers(1, 10**9))
def test_not_a_microsecond_can_be_added_to_the_expiry(more):
    key = b"k" * 32
    later = Binding(**{**vars(ONE), "expires_at": ONE.expires_at + timedelta(microseconds=more)})
    with pytest.raises(SealBroken):
        envelope.unseal(key, envelope.seal(key, b"x", ONE), later)


@given(KEYS, st.binary(min_size=1, max_size=200), st.data())
def test_any_flipped_bit_is_refused(key, payload, data):
    sealed = bytearray(envelope.seal(key, payload, ONE))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        envelope.unseal(key, bytes(sealed), ONE)


def test_every_single_flipped_bit_of_one_row_is_refused():
    sealed = envelope.seal(b"k" * 32, CANARY, ONE)
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            envelope.unseal(b"k" * 32, bytes(changed), ONE)


@given(st.binary(max_size=80))
def test_what_was_never_sealed_is_refused(data):
    for each in (data, b"ES1\x01" + data):
        with pytest.raises(SealBroken):
            envelope.unseal(b"k" * 32, each, ONE)


@given(KEYS, KEYS)
def test_another_key_is_refused(key, other):
    assume(key != other)
    with pytest.raises(SealBroken):
        envelope.unseal(other, envelope.seal(key, b"x", ONE), ONE)


@given(KEYS, KEYS, st.uuids(), st.integers(1, 1000), st.sampled_from(["k1", "k2"]))
def test_a_data_key_unwraps_for_its_user_version_and_ring_key_only(ring, data_key, user, version, kid):
    wrapped = envelope.wrap(ring, data_key, kid, user, version)
    with envelope.unwrap(ring, wrapped, kid, user, version) as plain:
        assert plain == data_key
    for changed in (
        (kid + "0", user, version),
        (kid, UUID(int=user.int ^ 1), version),
        (kid, user, version + 1),
    ):
        with pytest.raises(SealBroken):
            envelope.unwrap(ring, wrapped, *changed)


def test_the_same_payload_never_seals_the_same_twice():
    assert len({envelope.seal(b"k" * 32, b"x", ONE) for _ in range(500)}) == 500


@given(st.lists(st.text(max_size=6), max_size=5), st.lists(st.text(max_size=6), max_size=5))
def test_no_two_lists_of_fields_look_alike(one, other):
    assume(one != other)
    assert envelope.lp(*one) != envelope.lp(*other)


def test_keys_of_different_purposes_have_nothing_in_common():
    made = {envelope.subkey(b"k" * 32, purpose) for purpose in ("wrap", "webhook", "csrf", "token-index")}
    assert len(made) == 4
    assert envelope.subkey(b"k" * 32, "wrap") == envelope.subkey(bytearray(b"k" * 32), "wrap")


def test_the_scheme_stays_what_it_was():
    """Known answers: rows sealed by an earlier release must open in this one."""
    assert envelope.lp("es1/dek", "k1", UUID(int=1), 7) == (
        b"\0\0\0\x07es1/dek\0\0\0\x02k1\0\0\0\x2400000000-0000-0000-0000-000000000001\0\0\0\x017"
    )
    assert envelope.microseconds(datetime(2026, 12, 1, 0, 0, 0, 5, tzinfo=UTC)) == 1_796_083_200_000_005
    assert envelope.subkey(b"k" * 32, "wrap").hex() == SUBKEY
    sealed = bytes.fromhex(SEALED)
    with envelope.unseal(b"k" * 32, sealed, ONE) as plain:
        assert plain == b"storage"


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(TypeError):
        envelope.microseconds(datetime(2026, 1, 1))


# ---- SecretBytes ----------------------------------------------------------------------------------


def test_a_secret_shows_as_three_stars_everywhere(caplog):
    secret = SecretBytes(bytearray(CANARY))
    logging.getLogger("x").warning("opened %s %r", secret, secret)
    shown = f"{secret} {secret!r} {[secret]} {secret:>10} {secret!s}" + caplog.text
    assert CANARY.decode() not in shown
    assert "***" in shown
    with pytest.raises(TypeError):
        bytes(secret)


def test_a_secret_is_zeroed_when_its_block_ends_and_opens_once():
    buffer = bytearray(CANARY)
    secret = SecretBytes(buffer)
    with secret as plain:
        assert plain == CANARY
    assert buffer == bytes(len(CANARY))
    with pytest.raises(ValueError, match="wiped"), secret:
        pass


def test_a_secret_is_zeroed_when_its_block_fails_or_nobody_holds_it():
    buffer = bytearray(CANARY)
    with pytest.raises(RuntimeError), SecretBytes(buffer):
        raise RuntimeError
    assert not any(buffer)
    buffer = bytearray(CANARY)
    SecretBytes(buffer)
    assert not any(buffer)


def test_a_secret_is_neither_pickled_nor_copied_nor_compared():
    secret = SecretBytes(bytearray(CANARY))
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(secret)
    assert secret != SecretBytes(bytearray(CANARY))
    assert secret != CANARY


def test_a_refusal_tells_nothing_of_the_secret():
    sealed = bytearray(envelope.seal(b"k" * 32, CANARY, ONE))
    sealed[-1] ^= 1
    with pytest.raises(SealBroken) as refused:
        envelope.unseal(b"k" * 32, bytes(sealed), ONE)
    assert refused.value.__cause__ is None
    assert "CANARY" not in repr(refused.value) + str(refused.value.as_json())

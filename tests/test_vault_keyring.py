"""The key ring: made once, opened by its owner only, and every wrong key gets a clear answer."""

import base64
import hashlib
import json
import os
import pickle
import subprocess
import sys
from uuid import UUID

import pytest

from everystall.errors import Misconfigured, SealBroken
from everystall.settings import Settings
from everystall.vault import keyring as keyring_module
from everystall.vault.keyring import ITERATIONS_FLOOR, Keyring, Lock

USER = UUID(int=1)
KEY = hashlib.sha256(b"a key of 32 bytes").digest()


@pytest.fixture
def make(tmp_path):
    """Settings with a data folder of their own; few rounds, so that a test takes milliseconds."""

    def settings(**more):
        return Settings(_env_file=None, **{"everystall_home": tmp_path, "pbkdf2_iterations": 100_000, **more})

    return settings


def ring_file(tmp_path):
    return tmp_path / "keys" / "ring.json"


def opens(ring, kid, wrapped, version=1):
    with ring.unwrap(wrapped, kid, USER, version) as plain:
        return bytes(plain)


# ---- the file -------------------------------------------------------------------------------------


def test_first_use_makes_a_ring_that_only_its_owner_reads(make, tmp_path):
    ring = Keyring.load(make())
    assert ring.kids == ("k1",)
    assert ring_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert ring_file(tmp_path).parent.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in ring_file(tmp_path).parent.iterdir() if p.name != ".lock"] == ["ring.json"]


def test_the_second_start_finds_the_same_ring(make):
    kid, wrapped = Keyring.load(make()).wrap(KEY, USER, 1)
    assert opens(Keyring.load(make()), kid, wrapped) == KEY


def test_many_processes_that_start_together_make_one_ring(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom everystall.settings import Settings\n"
        "from everystall.vault.keyring import Keyring\n"
        "print(Keyring.load(Settings(_env_file=None, everystall_home=Path(sys.argv[1]))).subkey('t').hex())\n"
    )
    ran = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = {process.communicate(timeout=60)[0].split()[-1] for process in ran}
    assert len(said) == 1
    assert len(said.pop()) == 64


@pytest.mark.parametrize(
    "broken",
    ["", "{", "[]", "{}", '{"format": "other"}',
     '{"format": "everystall-keyring-1", "keys": {}, "current": "k1"}',
     '{"format": "everystall-keyring-1", "keys": {"k1": {"key": "AAAA"}}, "current": "k1"}',
     '{"format": "everystall-keyring-1", "kdf": {}, "sealed": ""}'],
)  # fmt: skip
def test_a_damaged_ring_is_said_to_be_and_left_alone(make, tmp_path, broken):
    Keyring.load(make())
    ring_file(tmp_path).write_text(broken)
    with pytest.raises(Misconfigured, match="damaged") as refused:
        Keyring.load(make())
    assert "backup" in refused.value.action
    assert ring_file(tmp_path).read_text() == broken


def test_a_folder_that_cannot_be_written_is_said_to_be(make, tmp_path):
    (tmp_path / "keys").write_text("a file is in the way")
    with pytest.raises(Misconfigured, match="cannot be written"):
        Keyring.load(make())


# ---- SESSION_ENCRYPTION_KEY -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [base64.b64encode(KEY), base64.urlsafe_b64encode(KEY), base64.b64encode(KEY).rstrip(b"="),
     KEY.hex().encode(), KEY.hex().upper().encode(), b"  " + base64.b64encode(KEY) + b"\n"],
)  # fmt: skip
def test_a_key_in_the_environment_is_the_ring_however_it_is_written(make, tmp_path, written):
    ring = Keyring.load(make(session_encryption_key=written.decode()))
    plain = Keyring.load(make(session_encryption_key=KEY.hex()))
    assert ring.kids == plain.kids
    assert opens(plain, *ring.wrap(KEY, USER, 1)) == KEY
    assert not (tmp_path / "keys").exists()
    assert KEY.hex()[:8] not in ring.current


@pytest.mark.parametrize(
    "written", ["", " ", "hunter2", "correct horse battery staple", base64.b64encode(KEY[:31]).decode(),
                base64.b64encode(KEY + b"x").decode(), KEY.hex()[:-1], KEY.hex() + "0", "ä" * 43]
)  # fmt: skip
def test_a_key_that_is_not_32_bytes_is_refused_and_not_stretched(make, written):
    with pytest.raises(Misconfigured, match="not 32 bytes") as refused:
        Keyring.load(make(session_encryption_key=written))
    assert "SESSION_ENCRYPTION_PASSPHRASE" in refused.value.action
    assert not written.strip() or written not in refused.value.message + refused.value.action


def test_another_key_is_told_apart_by_its_name(make):
    kid, wrapped = Keyring.load(make(session_encryption_key=KEY.hex())).wrap(KEY, USER, 1)
    other = Keyring.load(make(session_encryption_key=os.urandom(32).hex()))
    with pytest.raises(Misconfigured, match="wrong one for this database") as refused:
        other.unwrap(wrapped, kid, USER, 1)
    assert "SESSION_ENCRYPTION_KEY" in refused.value.action
    assert "Nothing stored was changed" in refused.value.action


def test_a_new_key_in_front_of_the_old_opens_what_the_old_wrapped(make):
    new = os.urandom(32).hex()
    kid, wrapped = Keyring.load(make(session_encryption_key=KEY.hex())).wrap(KEY, USER, 1)
    both = Keyring.load(make(session_encryption_key=f"{new}, {KEY.hex()}"))
    assert opens(both, kid, wrapped) == KEY
    assert both.current != kid
    with pytest.raises(Misconfigured, match="not ours to change"):
        both.rotate()


# ---- the passphrase -------------------------------------------------------------------------------


def test_a_passphrase_wraps_the_ring_and_no_key_lies_open(make, tmp_path):
    ring = Keyring.load(make(session_encryption_passphrase="correct horse"))
    stored = json.loads(ring_file(tmp_path).read_text())
    assert "keys" not in stored
    assert stored["kdf"]["name"] == "PBKDF2-HMAC-SHA256"
    assert stored["kdf"]["iterations"] == 100_000
    assert len(base64.b64decode(stored["kdf"]["salt"])) == 32
    again = Keyring.load(make(session_encryption_passphrase="correct horse"))
    assert opens(again, *ring.wrap(KEY, USER, 1)) == KEY


def test_600000_rounds_are_the_default_and_the_floor_is_100000(make, tmp_path):
    assert Settings(_env_file=None).pbkdf2_iterations == 600_000
    assert ITERATIONS_FLOOR >= 100_000
    with pytest.raises(ValueError, match="100000"):
        make(pbkdf2_iterations=99_999)
    with pytest.raises(Misconfigured, match="99,999"):
        Lock.make("correct horse", 99_999)


def test_a_ring_whose_header_asks_for_too_few_rounds_is_refused(make, tmp_path):
    Keyring.load(make(session_encryption_passphrase="correct horse"))
    stored = json.loads(ring_file(tmp_path).read_text())
    for rounds in (1, 99_999, 10**12):
        stored["kdf"]["iterations"] = rounds
        ring_file(tmp_path).write_text(json.dumps(stored))
        with pytest.raises(Misconfigured, match="not accepted"):
            Keyring.load(make(session_encryption_passphrase="correct horse"))


@pytest.mark.parametrize(
    ("given", "match"), [("wrong", "does not open"), (None, "this process lacks"), ("", "empty")]
)
def test_a_wrong_or_missing_passphrase_is_said_to_be_and_loses_nothing(make, tmp_path, given, match):
    Keyring.load(make(session_encryption_passphrase="correct horse"))
    before = ring_file(tmp_path).read_bytes()
    with pytest.raises(Misconfigured, match=match):
        Keyring.load(make(session_encryption_passphrase=given))
    assert ring_file(tmp_path).read_bytes() == before
    Keyring.load(make(session_encryption_passphrase="correct horse"))


def test_a_passphrase_set_later_wraps_the_ring_that_is_there(make, tmp_path):
    kid, wrapped = Keyring.load(make()).wrap(KEY, USER, 1)
    assert opens(Keyring.load(make(session_encryption_passphrase="correct horse")), kid, wrapped) == KEY
    assert "keys" not in json.loads(ring_file(tmp_path).read_text())


def test_a_changed_passphrase_rewraps_the_ring_only(make):
    ring = Keyring.load(make(session_encryption_passphrase="correct horse"))
    kid, wrapped = ring.wrap(KEY, USER, 1)
    ring.change_passphrase("battery staple", iterations=100_000)
    with pytest.raises(Misconfigured, match="does not open"):
        Keyring.load(make(session_encryption_passphrase="correct horse"))
    assert opens(Keyring.load(make(session_encryption_passphrase="battery staple")), kid, wrapped) == KEY


def test_the_passphrase_is_stretched_once_at_start(make, monkeypatch):
    counted = []
    real = keyring_module.PBKDF2HMAC
    monkeypatch.setattr(keyring_module, "PBKDF2HMAC", lambda *a, **k: counted.append(1) or real(*a, **k))
    Keyring.load(make(session_encryption_passphrase="correct horse"))
    ring = Keyring.load(make(session_encryption_passphrase="correct horse"))
    assert len(counted) == 2
    for version in range(50):
        opens(ring, *ring.wrap(KEY, USER, version), version)
    ring.rotate()
    assert len(counted) == 2


# ---- rotating -------------------------------------------------------------------------------------


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_after_a_rotation_a_running_process_goes_on_with_the_new_key(make, passphrase):
    running = Keyring.load(make(session_encryption_passphrase=passphrase))
    old = running.wrap(KEY, USER, 1)
    other = Keyring.load(make(session_encryption_passphrase=passphrase))
    assert other.rotate() == "k2"
    new = other.wrap(KEY, USER, 2)
    assert opens(running, *new, 2) == KEY
    assert opens(other, *old) == KEY
    assert running.wrap(KEY, USER, 3)[0] == "k2"


def test_two_rotations_at_once_make_two_keys_and_lose_none(make):
    one, other = Keyring.load(make()), Keyring.load(make())
    assert {one.rotate(), other.rotate()} == {"k2", "k3"}
    assert Keyring.load(make()).kids == ("k1", "k2", "k3")


def test_a_key_is_retired_only_when_nothing_needs_it(make):
    ring = Keyring.load(make())
    kid, wrapped = ring.wrap(KEY, USER, 1)
    with pytest.raises(Misconfigured, match="current"):
        ring.retire("k1", in_use=0)
    ring.rotate()
    with pytest.raises(Misconfigured, match="3 data keys"):
        ring.retire("k1", in_use=3)
    with pytest.raises(Misconfigured, match="no ring key"):
        ring.retire("k9", in_use=0)
    assert opens(ring, kid, wrapped) == KEY
    ring.retire("k1", in_use=0)
    with pytest.raises(Misconfigured, match="k1"):
        Keyring.load(make()).unwrap(wrapped, kid, USER, 1)


def test_a_key_is_never_tried_on_what_another_wrapped(make):
    ring = Keyring.load(make())
    _, wrapped = ring.wrap(KEY, USER, 1)
    ring.rotate()
    with pytest.raises(SealBroken):
        ring.unwrap(wrapped, "k2", USER, 1)


def test_a_stopped_write_leaves_the_ring_as_it_was(make, tmp_path, monkeypatch):
    ring = Keyring.load(make())
    before = ring_file(tmp_path).read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Misconfigured, match="No space left"):
            ring.rotate()
    assert ring_file(tmp_path).read_bytes() == before
    assert Keyring.load(make()).rotate() == "k2"


def test_a_ring_shows_no_key_and_is_not_pickled(make):
    ring = Keyring.load(make(session_encryption_key=KEY.hex()))
    shown = repr(ring) + str(ring) + repr(Lock.make("correct horse", 100_000))
    assert KEY.hex() not in shown
    assert base64.b64encode(KEY).decode() not in shown
    assert "correct horse" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(ring)

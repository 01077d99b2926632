"""A backup of an installation with so many gigabytes of photos, and its restore elsewhere: how long, and how
much memory each takes. Both are the commands, as processes; what came back is counted and its hashes compared
(a restore does that itself, too)."""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks import commit
from benchmarks.engine import Place, place

PAGE = Path(__file__).resolve().parent.parent / "docs/backup.md"
BEGIN, END = "<!-- make bench-archive writes this -->\n", "<!-- to here -->\n"
#: Bytes of a photo, as a phone's.
PHOTO = 4_000_000
PASSPHRASE = "four stalls in the rain"


@dataclass(frozen=True)
class Took:
    seconds: float
    processor: float
    megabytes: float


def fill(here: Place, size: int) -> int:
    """Two sellers with listings of ten photos each, `size` bytes in all; how many photos."""
    folder = here.home / "photos/originals"
    folder.mkdir(parents=True)
    number = max(20, size // PHOTO)
    with psycopg.connect(here.admin) as connection:
        for who in ("alice", "bob"):
            made = connection.execute(
                "INSERT INTO users (email) VALUES (%s) RETURNING id", [f"{who}@example.com"]
            )
            (user,) = made.fetchone() or (None,)
            for at in range(number // 2):
                if at % 10 == 0:
                    made = connection.execute(
                        "INSERT INTO listings (user_id, title) VALUES (%s, %s) RETURNING id",
                        [user, f"Shirt {at}"],
                    )
                    (listing,) = made.fetchone() or (None,)
                data = os.urandom(PHOTO)  # as little to be packed as a JPEG
                sha256 = hashlib.sha256(data).hexdigest()
                (folder / sha256).write_bytes(data)
                connection.execute(
                    "INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, "
                    "height, byte_size) VALUES (%s, %s, %s, %s, 'image/jpeg', 1, 1, %s)",
                    [user, listing, at % 10, sha256, PHOTO],
                )
    return number // 2 * 2


def run(here: Place, *arguments: str) -> Took:
    env = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(PAGE.parent.parent), "EVERYSTALL_HOME": str(here.home),
        "DATABASE_URL": here.login, "DATABASE_ADMIN_URL": here.admin, "BACKUP_PASSPHRASE": PASSPHRASE,
    }  # fmt: skip
    began, highest = time.monotonic(), 0.0
    child = os.posix_spawn(sys.executable, [sys.executable, "-m", "everystall", *arguments], env)
    # the kernel's own figure of a child's peak begins with its parent's
    while (ended := os.wait4(child, os.WNOHANG))[0] == 0:
        highest = max(highest, peak(child))
        time.sleep(0.1)
    _, status, used = ended
    if status:
        sys.exit(f"everystall {arguments[0]} ended with {status}")
    return Took(time.monotonic() - began, used.ru_utime + used.ru_stime, highest)


def peak(pid: int) -> float:
    """MB that a process had in memory at most; 0 of one that just ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def originals(here: Place) -> set[str]:
    return {path.name for path in (here.home / "photos/originals").iterdir()}


def measure(folder: Path, size: int) -> str:
    file = folder / "all.everystall"
    with place(folder / "here") as here, place(folder / "there") as there:
        photos = fill(here, size)
        made = run(here, "backup", "--to", str(file))
        back = run(there, "restore", str(file))
        same = originals(here) == originals(there)
    if not same:
        sys.exit("what came back is not what was there")
    gigabytes = file.stat().st_size / 1e9
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    told = [
        f"{what} {took.seconds:.0f} s ({took.processor:.0f} s of a processor) and **{took.megabytes:.0f} MB**"
        for what, took in (("The backup took", made), ("the restore on another database", back))
    ]
    return (
        f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}{commit()}: two sellers, {photos} photos of "
        f"{PHOTO / 1e6:.0f} MB, a file of {gigabytes:.2f} GB. {', '.join(told)} of memory at most; "
        f"all photos came back. On {os.cpu_count()} cores ({platform.machine()}) with {memory:.0f} GB "
        "and other work beside it "
        f"(load {os.getloadavg()[1]:.0f}).\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-archive", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, help="where there is room for three times as much")
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="everystall-archive-", dir=given.folder))
    try:
        said = measure(folder, int(given.gigabytes * 1e9))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(said)
    if not given.no_write:
        page = PAGE.read_text()
        head, rest = page.split(BEGIN)
        PAGE.write_text(head + BEGIN + said + END + rest.split(END)[1])


if __name__ == "__main__":
    main()

"""The browser extension, made from its sources in extension/: unpacked folders, and zips for the stores.

Which hosts and cookies belong to a marketplace is said in one place, its form.py; what the extension may
ask for is written from that. The practice build knows the practice marketplaces only, the other the real
ones only.
`python -m everystall.extension [--practice]` is what `make extension` runs.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from everystall.errors import Misconfigured
from everystall.marketplaces import MARKETPLACES, get_form

Store = Literal["chrome", "firefox"]
STORES: tuple[Store, ...] = ("chrome", "firefox")
#: Where `everystall sandbox` listens if nothing else is said.
PRACTICE_PORT = 8730
#: What of extension/ ships, in this order; all else there is for developers.
SHIPPED = ("manifest.json", "background.js", "session-capture.js", "lib/*.js", "popup/*", "icons/*.png")
#: The oldest moment that a zip can tell: the same sources give the same bytes.
_MOMENT = (1980, 1, 1, 0, 0, 0)

_HEAD = """\
// Written by `make extension` from everystall/marketplaces/*/form.py; not by hand. What belongs to a
// marketplace: its cookies' domains, the hosts that the seller is asked for, the cookies that are there only
// while somebody is signed in, and the pages that it shows to who is not.

/**
 * @typedef {object} Marketplace
 * @property {string} label
 * @property {string} home
 * @property {string[]} domains whose cookies are its own
 * @property {string[]} hosts match patterns; with http, because a cookie that is not Secure counts as http's
 * @property {string[]} signIn cookies that are all there while somebody is signed in
 * @property {string[]} signInPages regular expressions of addresses
 */

/** @type {Readonly<Record<string, Marketplace>>} */
export const MARKETPLACES = """


def source() -> Path:
    """The extension's sources. Raises Misconfigured where they were not installed."""
    here = Path(__file__).resolve().parent
    for folder in (here / "extension_files", here.parent / "extension"):  # in the wheel; in the repository
        if (folder / "manifest.json").is_file():
            return folder
    raise Misconfigured("The extension's sources are not here.", action="Use a clone of the repository.")


def marketplaces(*, practice: bool, homes: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """lib/marketplaces.js as data. `homes`: where the popup opens each, if not where it is usually."""
    known = {}
    for name, label in MARKETPLACES.items():
        form = get_form(name)
        domains = [f"{name}.localhost"] if practice else list(form.COOKIE_DOMAINS)
        known[name] = {
            "label": label,
            "home": (homes or {}).get(name)
            or (f"http://{name}.localhost:{PRACTICE_PORT}" if practice else form.BASE_URL),
            "domains": domains,
            "hosts": [f"*://{domain}/*" if practice else f"*://*.{domain}/*" for domain in domains],
            "signIn": list(form.SIGN_IN_COOKIES),
            "signInPages": list(form.SIGN_IN_PAGES),
        }
    return known


def marketplaces_js(*, practice: bool = False, homes: Mapping[str, str] | None = None) -> str:
    return f"{_HEAD}{json.dumps(marketplaces(practice=practice, homes=homes), indent=2)};\n"


def sources() -> dict[Path, str]:
    """Those of the sources that the forms say, as they should be."""
    script, manifest = source() / "lib" / "marketplaces.js", source() / "manifest.json"
    hosts = json.dumps([host for one in marketplaces(practice=False).values() for host in one["hosts"]])
    said = re.sub(r'(?<="optional_host_permissions": )\[[^]]*\]', lambda _: hosts, manifest.read_text())
    return {script: marketplaces_js(), manifest: said}


def manifest(store: Store, *, practice: bool = False) -> dict[str, Any]:
    """What one store gets: without the other's words, each of which only warns there."""
    made: dict[str, Any] = json.loads((source() / "manifest.json").read_text())
    made["optional_host_permissions"] = [
        host for one in marketplaces(practice=practice).values() for host in one["hosts"]
    ]
    if practice:
        made["name"] = f"{made['name']} (practice)"
    if store == "chrome":
        del made["browser_specific_settings"], made["background"]["scripts"]
    else:
        del made["minimum_chrome_version"], made["background"]["service_worker"]
    return made


def files(
    store: Store, *, practice: bool = False, homes: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """Everything that ships, by its path."""
    folder = source()
    found = [path for pattern in SHIPPED for path in sorted(folder.glob(pattern))]
    made = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if path.is_file()}
    made["manifest.json"] = f"{json.dumps(manifest(store, practice=practice), indent=2)}\n".encode()
    made["lib/marketplaces.js"] = marketplaces_js(practice=practice, homes=homes).encode()
    return made


def unpack(folder: Path, store: Store = "chrome", *, practice: bool = False) -> Path:
    """Into a folder that a browser can load."""
    for name, content in files(store, practice=practice).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def zipped(store: Store, *, practice: bool = False, homes: Mapping[str, str] | None = None) -> bytes:
    """The zip, always the same bytes for the same sources: stored, because compressors differ."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files(store, practice=practice, homes=homes).items():
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.external_attr, entry.create_system = 0o644 << 16, 3
            archive.writestr(entry, content)
    return made.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make extension", description=__doc__)
    parser.add_argument("--practice", action="store_true", help="for the practice marketplaces")
    parser.add_argument("--into", type=Path, default=Path("dist"))
    given = parser.parse_args()
    for kept, made in sources().items():
        if not kept.exists() or kept.read_text() != made:
            kept.write_text(made)
            sys.stdout.write(f"{kept} written anew: the marketplaces' hosts or cookies changed.\n")
    suffix = "-practice" if given.practice else ""
    for store in STORES:
        unpacked = unpack(given.into / f"everystall-{store}{suffix}", store, practice=given.practice)
        packed = given.into / f"everystall-{store}{suffix}.zip"
        packed.write_bytes(zipped(store, practice=given.practice))
        sys.stdout.write(f"{packed}  ({packed.stat().st_size // 1024} kB; unpacked: {unpacked}/)\n")


if __name__ == "__main__":
    main()

"""Finds the Chromium of this machine; `python -m everystall.browser.chromium` installs one where none is.

Never downloads by itself while Everystall runs: only the command does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from everystall.errors import Misconfigured
from everystall.settings import Settings, load

#: Names on PATH, then places that are not on it.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Before what is on the PATH: Debian's /usr/bin/chromium is a script that asks a dozen programs and adds
#: flags of its own (rasterization by the GPU, extensions from elsewhere), a tenth of what starting it costs.
PLACES = (
    "/usr/lib/chromium/chromium",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
#: Playwright's own browsers, newest last.
CACHED = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/Chromium.app/Contents/MacOS/Chromium")

#: Features that are switched off. Of several such lists Chromium takes the last, so this one repeats
#: Playwright's (1.65) and adds the address bar's own pages, which no visit shows: they are two more
#: renderers, busy while the marketplace's first page loads.
FEATURES_OFF = (
    "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding",
    "ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints",
    "NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch",
    "WebUIOmniboxPopup", "WebUIOmniboxFullPopup", "WebUIOmniboxAimPopup",
)  # fmt: skip
#: What a visit's Chromium is started with: no calls home, no crash handler that outlives it. The sandbox
#: is off only for root, where Chromium refuses to start otherwise.
LAUNCH_ARGS: tuple[str, ...] = (
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-dev-shm-usage",
    "--disable-features=" + ",".join(FEATURES_OFF),
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    *(("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()),
)


def find_chromium(settings: Settings) -> Path:
    """The executable. Raises Misconfigured with the command that installs one."""
    if settings.chromium is not None:
        if os.access(settings.chromium, os.X_OK):
            return settings.chromium
        raise Misconfigured(
            f"CHROMIUM names {settings.chromium}, which is not a program that this user can start.",
            action="Correct CHROMIUM, or unset it to have an installed one found.",
        )
    found = _find()
    if found is None:
        raise Misconfigured(
            "There is no Chromium on this machine.",
            action="Run `make chromium`, or install one (Debian: apt-get install chromium) and try again.",
        )
    return found


def _find() -> Path | None:
    for place in PLACES:
        if os.access(place, os.X_OK):
            return Path(place)
    for name in NAMES:
        path = shutil.which(name)
        if path is not None:
            return Path(path)
    cache = Path(
        os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
        or Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "ms-playwright"
    )
    cached = sorted(path for pattern in CACHED for path in cache.glob(pattern))
    return cached[-1] if cached else None


def install() -> Path:
    """An installed one, else Playwright's, else Debian's. Raises Misconfigured if none can be had."""
    settings = load()
    found = (settings.chromium and find_chromium(settings)) or _find()
    if found is not None and starts(found):
        return found
    tries = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        tries += [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]]
    for command in tries:
        subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        found = _find()
        if found is not None and starts(found):
            return found
    raise Misconfigured(
        f"{found} is there but does not start." if found else "No Chromium could be installed.",
        action="Install one (Debian or Ubuntu: sudo apt-get install chromium), or set CHROMIUM to its path.",
    )


def starts(chromium: Path) -> bool:
    """A downloaded one may lack libraries of the system; then not even its version can be asked."""
    try:
        done = subprocess.run([chromium, "--version"], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def main() -> None:
    try:
        sys.stdout.write(f"Chromium: {install()}\n")
    except Misconfigured as e:
        sys.exit(f"{e.message} {e.action}")


if __name__ == "__main__":
    main()

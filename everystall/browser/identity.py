"""Who the browser says it is: the seller's own user agent, with client hints that say the same.

What the user agent does not tell (the exact system version, the processor) stays empty: nothing is made
up. `navigator.webdriver` and all else stay as they are: we fake no fingerprints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

#: What a Chromium that calls itself this in the user agent puts in its brand list.
_BRANDS = (("Edg/", "Microsoft Edge"), ("OPR/", "Opera"), ("Chrome/", "Google Chrome"))
#: The meaningless brand that Chromium adds to every list, so that sites do not rely on its order.
_GREASE = {"brand": "Not/A)Brand", "version": "24"}
_PLATFORMS = (
    ("Android", "Android"),
    ("CrOS", "Chrome OS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def override(user_agent: str, languages: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments of CDP `Emulation.setUserAgentOverride`. A browser that is not made of Chromium sends no
    client hints: without metadata none are sent (tried with Chromium 156). Without
    languages they stay its own."""
    said: dict[str, Any] = {"userAgent": user_agent}
    if languages:
        said["acceptLanguage"] = ",".join(languages)
    chromium = re.search(r"\bChrome/((\d+)[\d.]*)", user_agent)
    if chromium is None:
        return said
    full = [{"brand": "Chromium", "version": chromium[1]}]
    for mark, brand in _BRANDS:
        found = re.search(re.escape(mark) + r"([\d.]+)", user_agent)
        if found:
            full.append({"brand": brand, "version": found[1]})
            break
    full.append({**_GREASE, "version": _GREASE["version"] + ".0.0.0"})
    mobile = " Mobile " in user_agent
    return {
        **said,
        "userAgentMetadata": {
            "brands": [{**one, "version": one["version"].split(".")[0]} for one in full],
            "fullVersionList": full,
            "platform": next((name for mark, name in _PLATFORMS if mark in user_agent), ""),
            "platformVersion": "",
            "architecture": "",
            "model": "",
            "mobile": mobile,
        },
    }

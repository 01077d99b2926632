"""Hands one message to another service, or to the operator's mail server, by apprise: runs only as a child
process of services.py, with an empty environment, under limits of memory and time.

The URL is a seller's word, and what apprise does with it is not ours: so every connection of this process is
looked at as it is dialled, after the name was resolved and whatever redirect led there, and one to an address
that is not allowed is not made. It opens no file but Python's own (some services take a template's path),
starts no program, and answers one word. It imports nothing of Everystall.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import sysconfig
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from ssrfguard import Policy

MEMORY_BYTES: Final = 1_000_000_000
CPU_SECONDS: Final = 20
#: Where sockets may lead besides; a name server is asked by the system's own code, which is not looked at.
NEARBY: Final = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
_PORTS: Final = (80, 443)
_NEVER: Final = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "pty.",
                 "ctypes.dlopen", "socket.sendto", "socket.bind")  # fmt: skip


class Refused(OSError):
    """Not an address that is sent to."""


class Gate:
    """What this process may still do. `reach`: internet · public (the same, at any port) · nearby (and this
    machine's own network) · any."""

    def __init__(self, reach: str) -> None:
        self.refused = False
        self._reach = reach
        self._policy = Policy(
            allowed_networks=NEARBY if reach == "nearby" else (),  # type: ignore[arg-type]
            allowed_ports=frozenset(range(1, 65536)),
        )
        self._own = tuple(
            {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
        )

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            self._check(args[1])
        elif event == "open":
            path, mode = args[0], args[1]
            if isinstance(path, int):
                return
            if (mode or "r").strip("bt") != "r" or not str(path).startswith(self._own):
                raise Refused(f"not a file of Python's: {mode}")
        elif event.startswith(_NEVER):
            raise Refused(event)

    def _check(self, address: Any) -> None:
        if self._reach == "any":
            return
        there = isinstance(address, tuple) and self._policy.permits_address(address[0])
        if not there or (self._reach == "internet" and address[1] not in _PORTS):
            self.refused = True
            raise Refused("not an address that is sent to")


def main() -> None:
    request = json.load(sys.stdin.buffer)
    logging.disable(logging.CRITICAL)
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CPU: CPU_SECONDS,
              resource.RLIMIT_AS: MEMORY_BYTES}  # fmt: skip
    for what, most in limits.items():
        with suppress(ValueError, OSError):  # macOS has no RLIMIT_AS
            resource.setrlimit(what, (most, most))
    sys.stdout.write(json.dumps({"outcome": outcome_of(request)}))


def outcome_of(request: dict[str, Any]) -> str:
    """sent · usable (for a check) · unusable · refused_address · not_taken"""
    from apprise import AppriseAsset, NotifyType

    plugin = getattr(import_module(f"apprise.plugins.{request['module']}"), request["name"])
    asset = AppriseAsset(app_id="Everystall", app_desc="Everystall", app_url=request["from"])
    asset.image_url_mask = asset.image_url_logo = ""  # no picture of apprise's own
    gate = Gate(request["reach"])
    sys.addaudithook(gate)
    try:
        given = request.get("given") or plugin.parse_url(request["url"])
        if not given:
            return "unusable"
        service = plugin(**{**given, "asset": asset})
    except Exception:  # whatever a service's own reading raises: its text may hold a token
        return "unusable"
    if request["do"] == "check":
        return "usable"
    try:
        taken = service.notify(body=request["body"], title=request["title"], notify_type=NotifyType.INFO)
    except Exception:
        taken = False
    if taken:
        return "sent"
    return "refused_address" if gate.refused else "not_taken"


if __name__ == "__main__":
    main()

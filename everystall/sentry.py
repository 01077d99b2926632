"""Errors, told to a Sentry where SENTRY_DSN names one: which line of the log, and where in our code.

What is sent is picked, not cleaned: no request, header, cookie, local variable, breadcrumb or machine's name,
and of an exception its type and the lines it went through, never its words, which may hold what it stumbled
over.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from everystall import __version__

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint
    from structlog.typing import EventDict, WrappedLogger

#: Of a log line, what goes with its name. Ids, codes and words of our own.
TAGS: Final = ("error", "kind", "step", "lane", "marketplace", "request_id", "user_id", "job_id",
               "publication_id", "connection_id", "fate")  # fmt: skip
_FRAME: Final = ("filename", "module", "function", "lineno", "in_app")
_KEPT: Final = ("event_id", "timestamp", "platform", "level", "release", "message", "tags", "sdk",
                "environment")  # fmt: skip


class _Reports:
    #: Somebody is told.
    on = False


def start(dsn: str) -> None:
    """Somebody is told from now on."""
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration

    sentry_sdk.init(
        dsn,
        release=f"everystall@{__version__}",
        before_send=pick,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[AtexitIntegration(callback=lambda pending, timeout: None)],
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        send_default_pii=False,
        server_name="",
    )
    _Reports.on = True


def report(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """One of structlog's processors: tells of each line that is an error, and leaves it as it is."""
    if _Reports.on and line.get("level") in ("error", "critical"):
        import sentry_sdk
        from sentry_sdk.utils import event_from_exception

        told: Event = {"level": "error"}
        failure = sys.exc_info()
        if failure[0] is not None:
            told, _ = event_from_exception(failure, client_options=sentry_sdk.get_client().options)
        told["message"] = str(line.get("event"))
        told["tags"] = {name: str(line[name]) for name in TAGS if line.get(name) is not None}
        sentry_sdk.capture_event(told)
    return line


def pick(event: Event, hint: Hint) -> Event | None:
    """`before_send`: what may leave, and nothing else."""
    whole: Mapping[str, Any] = event
    kept: dict[str, Any] = {name: whole[name] for name in _KEPT if name in whole}
    failures = [_of_exception(one) for one in (whole.get("exception") or {}).get("values", [])]
    if failures:
        kept["exception"] = {"values": failures}
    return cast("Event", kept)


def _of_exception(one: Mapping[str, Any]) -> dict[str, Any]:
    frames = (one.get("stacktrace") or {}).get("frames", [])
    where = [{name: frame[name] for name in _FRAME if name in frame} for frame in frames]
    return {"type": one.get("type"), "module": one.get("module"), "stacktrace": {"frames": where}}

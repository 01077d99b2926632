"""Log lines, to standard error: for a person's eyes, or as JSON with what they belong to (request_id,
user_id, job_id, marketplace …: bound where it becomes known). Never a local variable of a traceback, which
could be a secret.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import structlog

from everystall import sentry, traces
from everystall.absence import ends_with_it
from everystall.settings import Settings

log = structlog.get_logger()


def set_up(settings: Settings) -> None:
    """For this process. What libraries say by Python's own logging comes out the same way."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor
    if settings.log_format == "json":
        last = structlog.processors.JSONRenderer()
        before: list[structlog.typing.Processor] = [structlog.processors.format_exc_info]
    else:
        last = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        before = []
    structlog.configure(
        processors=[*shared, sentry.report, traces.report, *before, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *before, last],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    if settings.sentry_dsn is None:
        return
    if find_spec("sentry_sdk") is None:
        log.warning("sentry.not_installed", action="docs/operations.md, Sentry; or unset SENTRY_DSN")
    else:
        sentry.start(settings.sentry_dsn.get_secret_value())


@contextmanager
def chore(name: str, **whose: object) -> Iterator[None]:
    """One of several things that have nothing to do with each other: where it fails, the log says so, and
    what comes after the block goes on. An error's own words are left out: they may hold what it stumbled
    over. That the database is away is said elsewhere (absence.py)."""
    try:
        with ends_with_it():
            yield
    except Exception as e:
        known = {key: str(value) for key, value in whose.items()}
        at = "".join(traceback.format_tb(e.__traceback__))
        log.error("chore.failed", chore=name, error=type(e).__name__, traceback=at, **known)

"""Traces by OpenTelemetry, sent to who OTEL_EXPORTER_OTLP_ENDPOINT names; nothing of it is loaded without.

What a span says is picked, as for a Sentry: names, ids and codes of our own. Never an address that somebody
asked for, a header, a parameter of a query, an error's words, or anything that a seller or a page wrote.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from everystall import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, Span, Tracer
    from structlog.typing import EventDict, WrappedLogger

    from everystall.settings import Settings

#: Of a log line that is told within a span, what goes with its name.
TAGS: Final = ("error", "kind", "fate", "job_id", "publication_id", "marketplace")
#: Seconds for what is left when a process ends.
END_SECONDS: Final = 5
#: W3C Trace Context, version 0.
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class _Sending:
    provider: TracerProvider | None = None
    tracer: Tracer | None = None


class Part:
    """A span under way, and within it where the work is: each place a span of its own, until the next."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self._place: Span | None = None

    def at(self, place: str | None) -> None:
        if self._place is not None:
            self._place.end()
        self._place = None if place is None else begin(place, self.span)

    def failed(self, code: str) -> None:
        """By its code or the name of its class, never by its words."""
        from opentelemetry.trace import StatusCode

        self.span.set_attribute("error.type", code)
        self.span.set_status(StatusCode.ERROR)


#: What this task works on.
_part: ContextVar[Part | None] = ContextVar("part", default=None)


def on() -> bool:
    return _Sending.tracer is not None


@contextmanager
def sent(settings: Settings, process: str) -> Iterator[None]:
    """While in the block, the spans of this process (`web`, `worker`) are sent, if anybody takes them. It is
    called so, unless OpenTelemetry's own variables say otherwise."""
    if settings.otel_exporter_otlp_endpoint is None:
        yield
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # each try that fails is a warning of its own
    known = {"service.version": __version__}
    if str(Resource.create().attributes["service.name"]).startswith("unknown_service"):
        known["service.name"] = f"everystall-{process}"
    # no global one: what libraries would tell by it is not picked
    provider = TracerProvider(resource=Resource.create(known), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(
        settings.otel_exporter_otlp_endpoint.rstrip("/") + "/v1/traces",
        headers=settings.otlp_headers, timeout=END_SECONDS,
    )  # fmt: skip
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _Sending.provider, _Sending.tracer = provider, provider.get_tracer("everystall", __version__)
    try:
        yield
    finally:
        _Sending.provider = _Sending.tracer = None
        provider.shutdown()


def begin(
    name: str, parent: Span | str | None = None, known: Mapping[str, object] | None = None, *,
    seconds_ago: float = 0.0, link: str | None = None, asked: bool = False,
) -> Span:  # fmt: skip
    """A span that the caller ends. `known`: ids and codes of ours. `parent`, `link`: a span of ours, or
    another's traceparent. `asked`: by somebody outside. Only while `on()`."""
    from opentelemetry.trace import SpanKind

    assert _Sending.tracer is not None
    return _Sending.tracer.start_span(
        name,
        context=_context(parent),
        kind=SpanKind.SERVER if asked else SpanKind.INTERNAL,
        attributes={key: str(value) for key, value in (known or {}).items() if value is not None},
        links=[one for one in [_link(link)] if one is not None],
        start_time=time.time_ns() - int(seconds_ago * 1e9),
    )


@contextmanager
def part(span: Span) -> Iterator[Part]:
    """While in the block, what is logged in this task is told in the span, which ends with the block."""
    one = Part(span)
    before = _part.set(one)
    try:
        yield one
    except BaseException as e:
        one.failed(type(e).__name__)
        raise
    finally:
        _part.reset(before)
        one.at(None)
        span.end()


def traceparent() -> str | None:
    """What takes the trace of this task elsewhere."""
    one = _part.get()
    return traceparent_of(one.span) if one is not None else None


def traceparent_of(span: Span) -> str:
    known = span.get_span_context()
    return f"00-{known.trace_id:032x}-{known.span_id:016x}-{known.trace_flags:02x}"


def same(one: str, other: str) -> bool:
    """Two traceparents of one trace."""
    return one[3:35] == other[3:35]


def report(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """One of structlog's processors: tells the span under way of each line, and leaves it as it is."""
    if (one := _part.get()) is not None:
        name = str(line.get("event"))
        if name == "visit.at":
            one.at(str(line["at"]))
        else:
            one.span.add_event(name, _tags(line))
            if name == "step.failed":
                one.failed(str(line.get("error")))
    return line


def _tags(line: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(line[name]) for name in TAGS if line.get(name) is not None}


def _context(parent: Span | str | None) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    if isinstance(parent, str):
        known = _link(parent)
        return Context() if known is None else set_span_in_context(NonRecordingSpan(known.context), Context())
    return Context() if parent is None else set_span_in_context(parent, Context())


def _link(traceparent: str | None) -> Link | None:
    """None for what is no traceparent."""
    from opentelemetry.trace import Link, SpanContext, TraceFlags

    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None:
        return None
    trace, span, flags = (int(each, 16) for each in found.groups())
    known = SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags))
    return Link(known) if known.is_valid else None

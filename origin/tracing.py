"""Traces across the tiers, by OpenTelemetry. They are off by default, and nothing of it is imported then.

A trace begins where an event comes in (a webhook, a vendor's document). Its W3C ``traceparent`` goes into the
event's record in the log, from there beside the delta over the bus, and so to the stream tier: three
processes on three machines write spans of one trace. What viewers receive has nothing of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from origin.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OpenTelemetrySpan

__all__ = ["NO_TRACES", "Span", "Tracer", "monotonic_to_ns", "open_tracer", "read_traceparent"]

# Version 00 alone, in the one form that it has: what is read here goes into the log.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# A collector that is away must cost little memory, and must not hold up the end of a process for long.
_QUEUE_MAX: Final = 4_096
_EXPORT_TIMEOUT_S: Final = 3.0
_EXPORT_EACH_MS: Final = 1_000


def read_traceparent(text: str | None) -> str:
    """A ``traceparent`` as it is if it can be used, else an empty text: then a new trace begins.

    Args:
        text: what a stranger or a record says; None for nothing.
    """
    return text if text is not None and _TRACEPARENT.fullmatch(text) else ""


def monotonic_to_ns(moment_s: float) -> int:
    """A moment of the monotonic clock as UTC nanoseconds, by what both clocks say now."""
    return time.time_ns() - round((time.monotonic() - moment_s) * 1e9)


class Span(Protocol):
    """One step of a trace, from when it began."""

    @property
    def traceparent(self) -> str:
        """What the next step begins with; empty if this trace is not recorded."""

    def end(self, attributes: Mapping[str, str | int] | None = None, *, error: str = "") -> None:
        """The step is over.

        Args:
            attributes: what is known of it now.
            error: why it failed; empty if it did not.
        """


class Tracer(Protocol):
    """Makes spans.

    Attributes:
        on: whether anybody wants spans. Callers ask before they compute what a span would say.
    """

    on: bool

    def start(
        self,
        name: str,
        parent: str = "",
        *,
        start_ns: int | None = None,
        attributes: Mapping[str, str | int] | None = None,
    ) -> Span:
        """Begin a step.

        Args:
            name: what it is.
            parent: the ``traceparent`` of the step before; empty begins a new trace.
            start_ns: when it began, UTC nanoseconds; None for now.
            attributes: what is known of it.
        """

    def close(self) -> None:
        """Send what waits, for a few seconds at most, and end."""


class _NoSpan:
    traceparent = ""

    def end(self, attributes: Mapping[str, str | int] | None = None, *, error: str = "") -> None:
        """Nothing."""


class _NoTraces:
    on = False

    def start(
        self,
        name: str,
        parent: str = "",
        *,
        start_ns: int | None = None,
        attributes: Mapping[str, str | int] | None = None,
    ) -> Span:
        """See ``Tracer.start``."""
        del name, parent, start_ns, attributes
        return _NO_SPAN

    def close(self) -> None:
        """See ``Tracer.close``."""


_NO_SPAN: Final[Span] = _NoSpan()
#: The tracer where traces are off.
NO_TRACES: Final[Tracer] = _NoTraces()


def open_tracer(url: str, ratio: float, service: str) -> Tracer:
    """The tracer that a process has: one for all of its parts. After fork, never before: it has a thread.

    Args:
        url: where spans go, OTLP over HTTP: ``http://collector:4318/v1/traces``; empty: traces are off.
        ratio: of the traces that begin here, so many are recorded, 0 to 1. Of a trace that began elsewhere,
            its beginner has decided.
        service: the name of this process in the traces.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if not url:
        return NO_TRACES
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise ConfigError(
            "TOUCHLINE_TRACES_URL needs a package that is not installed (pip install 'touchline[tracing]'):"
            f" {error}"
        ) from None
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource.create({"service.name": service}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=url, timeout=_EXPORT_TIMEOUT_S)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=_QUEUE_MAX, schedule_delay_millis=_EXPORT_EACH_MS)
    )
    return _OpenTelemetry(provider)


class _OpenTelemetry:
    """Spans of OpenTelemetry's SDK."""

    on = True

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("touchline")
        self._propagator = TraceContextTextMapPropagator()
        self._consumer, self._server = trace.SpanKind.CONSUMER, trace.SpanKind.SERVER

    def start(
        self,
        name: str,
        parent: str = "",
        *,
        start_ns: int | None = None,
        attributes: Mapping[str, str | int] | None = None,
    ) -> Span:
        """See ``Tracer.start``."""
        from opentelemetry.context import Context

        # A context of its own: what this thread did before is no part of the trace.
        context = self._propagator.extract({"traceparent": parent} if parent else {}, Context())
        kind = self._server if name == "ingest" else self._consumer
        return _Recorded(
            self._tracer.start_span(
                name, context, kind=kind, attributes=dict(attributes or {}), start_time=start_ns
            )
        )

    def close(self) -> None:
        """See ``Tracer.close``."""
        self._provider.force_flush(round(_EXPORT_TIMEOUT_S * 1_000))
        self._provider.shutdown()


class _Recorded:
    def __init__(self, span: OpenTelemetrySpan) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """See ``Span.traceparent``."""
        found = self._span.get_span_context()
        if not found.trace_flags.sampled:
            return ""
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"

    def end(self, attributes: Mapping[str, str | int] | None = None, *, error: str = "") -> None:
        """See ``Span.end``."""
        from opentelemetry.trace import StatusCode

        if attributes:
            self._span.set_attributes(dict(attributes))
        if error:
            self._span.set_status(StatusCode.ERROR, error)
        self._span.end()

"""Traces of runs for OpenTelemetry, as an option: nothing of it is imported, and nothing is called, where it is off.

Every part derives the ids of a run's trace from the run itself: the trace is the run's UUID, a span is named by what
it is and by the attempt. So the scheduler's spans and those of an executor belong together without anything being
carried between them, and also after any of them was restarted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from dts.domain.errors import InvalidArgument

SAMPLED = 0x01


class Traces(Protocol):
    """Takes spans that are over."""

    def span(
        self,
        name: str,
        run_id: UUID,
        attempt: int,
        *,
        parent: str,
        begin: datetime,
        end: datetime,
        about: Mapping[str, str | int],
        error: str = "",
    ) -> None:
        """One span of a run.

        Args:
            name: what it is: tick, claim, prepare or run.
            run_id: of the run, whose trace it is.
            attempt: of the run; 0 for what belongs to no attempt.
            parent: name of the span around it, of the same attempt; empty for the first one.
            begin: when it began.
            end: when it was over.
            about: attributes.
            error: why it failed; empty if it did not.
        """
        ...


def span_id(run_id: UUID, name: str, attempt: int) -> int:
    """The id of a span, the same wherever it is worked out; never 0, which OpenTelemetry takes for none."""
    digest = hashlib.blake2b(run_id.bytes + f"{name} {attempt}".encode(), digest_size=8, person=b"dts-span").digest()
    return int.from_bytes(digest, "big") or 1


def traceparent(run_id: UUID, attempt: int) -> str:
    """What the work of an attempt is told, so that its own spans go on from there: https://www.w3.org/TR/trace-context."""
    return f"00-{run_id.hex}-{span_id(run_id, 'run', attempt):016x}-{SAMPLED:02x}"


def open_traces(*, service: str, version: str) -> OpenTelemetryTraces:
    """Sends spans where the variables OTEL_… say, by OTLP over HTTP.

    Raises:
        InvalidArgument: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        why = "is otlp, and OpenTelemetry is not installed: pip install 'dts[otel]'"
        raise InvalidArgument.of("DTS_TRACES", "settings.missing", why) from error
    return OpenTelemetryTraces(BatchSpanProcessor(OTLPSpanExporter()), service=service, version=version)


class OpenTelemetryTraces:
    """Spans by the SDK of OpenTelemetry.

    Args:
        processor: of the SDK; takes spans and sends them on a thread of its own.
        service: name of this process in traces.
        version: of dts.
    """

    def __init__(self, processor: Any, *, service: str, version: str) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

        self._ids = _ids()
        resource = Resource.create({"service.name": service, "service.version": version})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("dts", version)

    def span(
        self,
        name: str,
        run_id: UUID,
        attempt: int,
        *,
        parent: str,
        begin: datetime,
        end: datetime,
        about: Mapping[str, str | int],
        error: str = "",
    ) -> None:
        """One span of a run."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        self._ids.trace, self._ids.span = run_id.int, span_id(run_id, name, attempt)
        span = self._tracer.start_span(
            name,
            context=_within(run_id, parent, attempt),
            start_time=_nanoseconds(begin),
            attributes={"dts.run": str(run_id), "dts.attempt": attempt, **about},
        )
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(_nanoseconds(end))

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import IdGenerator  # noqa: PLC0415

    class Given(IdGenerator):
        """The ids that were worked out for the span that is begun."""

        trace = span = 0

        def generate_trace_id(self) -> int:
            return self.trace

        def generate_span_id(self) -> int:
            return self.span

    return Given()


def _within(run_id: UUID, parent: str, attempt: int) -> Any:
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context  # noqa: PLC0415

    if not parent:
        return Context()
    around = SpanContext(run_id.int, span_id(run_id, parent, attempt), is_remote=True, trace_flags=TraceFlags(SAMPLED))
    return set_span_in_context(NonRecordingSpan(around), Context())


def _nanoseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1_000_000) * 1000

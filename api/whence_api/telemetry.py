"""What a server tells of itself: metrics, traces, and one line for each request.

None of it holds what a request said: no headers, no query, no body.
"""

import json
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whence_api import answers
from whence_catalog import cache, verbs
from whence_catalog.errors import ErrorKind, NotReady, WhenceError

log = logging.getLogger("whence.server")
requests_log = logging.getLogger("whence.requests")

_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
# Asked every few seconds by machines: a line each would bury the rest.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# As long as a server may wait for a collector that is away, when it ends.
_EXPORT_SECONDS = 5.0
# The client was gone before it was answered: what proxies write for that.
_GONE = 499


# ── metrics ──────────────────────────────────────────────────────────────────────────────────────


class Metrics:
    """What is counted, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self.requests = Counter(
            "whence_requests", "Requests answered", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "whence_request_seconds",
            "From a request's head to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("whence_requests_in_flight", "Requests not answered yet", registry=registry)
        self._items = Counter("whence_items", "Items of calls, carried out", ["verb"], registry=registry)
        self._errors = Counter(
            "whence_errors", "Items, or whole calls, that were refused", ["verb", "kind"], registry=registry
        )
        self._reservations = Counter(
            "whence_reservations", "What reserve answered, and why", ["answer", "reason"], registry=registry
        )
        self._facts = Counter(
            "whence_facts",
            "Facts acknowledged; one that was said again counts again",
            ["verb"],
            registry=registry,
        )
        self._sequenced_at = time.monotonic()
        self._lag = Gauge(
            "whence_sequencer_lag_seconds",
            "Since every fact that was committed by then had its position",
            registry=registry,
        )
        self._lag.set_function(lambda: time.monotonic() - self._sequenced_at)
        self._sequenced = Counter(
            "whence_facts_sequenced", "Facts given a position by this server", registry=registry
        )
        self._swept = Counter(
            "whence_runs_presumed_aborted", "Runs that were not heard of", registry=registry
        )

    def refused(self, verb: str, error: WhenceError) -> None:
        """Count a call that was refused whole."""
        self._errors.labels(verb, error.kind.value).inc()

    def answered(self, verb: verbs.Verb, answer: object) -> None:
        """Count what a call answered, item by item."""
        if not (verb.writes and isinstance(answer, Sequence)):
            self._items.labels(verb.name).inc()
            return
        self._items.labels(verb.name).inc(len(answer))
        facts = 0
        for result in answer:
            if isinstance(result, WhenceError):
                self.refused(verb.name, result)
            elif isinstance(result, cache.Reuse | cache.Verify | cache.Wait | cache.Execute):
                self._count_reservation(result)
                facts += isinstance(result, cache.Reuse | cache.Execute)
            else:
                facts += 1
        self._facts.labels(verb.name).inc(facts)

    def _count_reservation(self, answer: cache.Answer) -> None:
        reason = answer.reason.value if isinstance(answer, cache.Execute) else ""
        self._reservations.labels(type(answer).__name__.lower(), reason).inc()

    def sequenced(self, facts: int) -> None:
        """Count what a round of the sequencer gave positions to."""
        self._sequenced_at = time.monotonic()
        self._sequenced.inc(facts)

    def swept(self, runs: int) -> None:
        """Count Runs that a sweep ended."""
        self._swept.inc(runs)

    def page(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


# ── traces ───────────────────────────────────────────────────────────────────────────────────────


class Tracer:
    """Spans of requests, sent to an OTLP endpoint; part of the client's trace where it names one."""

    def __init__(self, endpoint: str) -> None:
        """Nothing is sent yet.

        Raises:
            NotReady: OpenTelemetry is not installed.
        """
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ModuleNotFoundError as error:
            raise NotReady(
                "trace_endpoint is set, but OpenTelemetry is not installed; run: pip install 'whence[otel]'",
                ErrorKind.EXTRA_MISSING,
            ) from error
        self._provider = TracerProvider(resource=Resource.create({"service.name": "whence"}))
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=_EXPORT_SECONDS))
        )
        self._tracer = self._provider.get_tracer("whence")
        self._from_headers = TraceContextTextMapPropagator().extract
        self._server = trace.SpanKind.SERVER
        self._failed = trace.StatusCode.ERROR

    def request(self, scope: Scope) -> AbstractContextManager[Any]:
        """The span of a request."""
        headers = {name: answers.header(scope, name.encode()) for name in ("traceparent", "tracestate")}
        return self._tracer.start_as_current_span(
            scope["method"],
            context=self._from_headers({name: value for name, value in headers.items() if value}),
            kind=self._server,
            attributes={"http.request.method": scope["method"], "url.path": scope["path"][:200]},
        )

    def describe(self, span: Any, method: str, route: str, status: int) -> str:
        """Say in a request's span how it ended; answers the id of its trace."""
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(self._failed)
        return format(span.get_span_context().trace_id, "032x")

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


class Watch:
    """Outermost: counts, times, traces and logs each request; answers 500 where the server is at fault."""

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, routes: frozenset[str], tracer: Tracer | None
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        asked = answers.header(scope, b"x-request-id")
        request_id = asked if _REQUEST_ID.fullmatch(asked) else os.urandom(8).hex()
        told: dict[str, Any] = scope.setdefault("state", {})
        told["request_id"] = request_id
        status = sent_bytes = 0

        async def watched(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            else:
                sent_bytes += len(message.get("body", b""))
            await send(message)

        self._metrics.in_flight.inc()
        span: AbstractContextManager[Any] = (
            nullcontext() if self._tracer is None else self._tracer.request(scope)
        )
        try:
            with span as traced:
                try:
                    await self._app(scope, receive, watched)
                except Exception:
                    log.exception("request %s failed", request_id)
                    if not status:
                        await answers.refuse(watched, answers.broken(request_id), status=500)
                finally:
                    route = scope["path"] if scope["path"] in self._routes else "unknown"
                    if self._tracer is not None:
                        told["trace_id"] = self._tracer.describe(
                            traced, scope["method"], route, status or _GONE
                        )
        finally:
            seconds = time.perf_counter() - began
            self._metrics.in_flight.dec()
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, status or _GONE).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            _log_request(scope, status or _GONE, seconds, sent_bytes)


def _log_request(scope: Scope, status: int, seconds: float, sent_bytes: int) -> None:
    level = logging.DEBUG if scope["path"] in PROBES else logging.INFO
    if not requests_log.isEnabledFor(level):
        return
    told = answers.state(scope)
    client = scope.get("client")
    fields: dict[str, object] = {
        "method": scope["method"][:20],
        "path": scope.get("raw_path", scope["path"].encode())[:200].decode("ascii", "replace"),
        "status": status,
        "ms": round(seconds * 1000, 2),
        "sent_bytes": sent_bytes,
        "from": client[0] if client else None,
        "actor": told.get("actor"),
        "request": told["request_id"],
        "trace": told.get("trace_id"),
    }
    requests_log.log(
        level,
        "request",
        extra={"fields": {name: value for name, value in fields.items() if value is not None}},
    )


# ── lines ────────────────────────────────────────────────────────────────────────────────────────


class Lines(logging.Formatter):
    """Each record on one line, whatever it holds; as JSON, or as text with `name=value` at its end."""

    def __init__(self, form: Literal["text", "json"]) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: Mapping[str, object] = getattr(record, "fields", {})
        message = record.getMessage()
        trace = self.formatException(record.exc_info) if record.exc_info else None
        if self._form == "json":
            line: dict[str, object] = {
                "at": at,
                "level": record.levelname.lower(),
                "message": message,
                **fields,
            }
            return json.dumps(line | ({"traceback": trace} if trace else {}), default=str)
        said = " ".join(f"{name}={_shown(value)}" for name, value in fields.items())
        text = f"{at} {record.levelname.lower()} {_in_one_line(message)}" + (f" {said}" if said else "")
        return f"{text}\n{trace}" if trace else text


def _shown(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def _in_one_line(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def log_to_stderr(form: Literal["text", "json"]) -> None:
    """Write what the server logs to standard error: each request, and what goes wrong."""
    target = logging.StreamHandler()
    target.setFormatter(Lines(form))
    levels = {"whence": logging.INFO, "uvicorn": logging.WARNING, "opentelemetry": logging.WARNING}
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.addHandler(target)
        logger.setLevel(level)
        logger.propagate = False

"""A server serves the verbs of a catalog, says how it is, and ends when it is told to."""

import fcntl
import json
import logging
import os
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests import postgres, servers
from tests.server.conftest import Api, refusal
from tests.simulator import World
from whence_api import __main__ as server
from whence_api import telemetry
from whence_api.settings import Settings
from whence_catalog import cache, verbs
from whence_catalog.catalog import Catalog
from whence_catalog.errors import WhenceError
from whence_catalog.sql import tables
from whence_catalog.sql.catalog import SqlCatalog


@contextmanager
def api_of(url: str) -> Iterator[Api]:
    made = Api(url)
    yield made
    made.close()


def metric(api: Api, line: str) -> float:
    """The value of a metric, by its name and labels as they are printed."""
    page = api.ask("GET", "/metrics").data.decode()
    return next(
        (float(found.rpartition(" ")[2]) for found in page.splitlines() if found.startswith(line)), 0.0
    )


def wait_until(is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < give_up_at, "it never came to be so"
        threading.Event().wait(0.02)


def behind_its_back(catalog: Catalog) -> sqlite3.Connection:
    """What nobody should use: the database of an embedded catalog."""
    return sqlite3.connect(catalog.identity().url)


# ── verbs ──


def test_a_run_that_is_recorded_over_http_is_in_the_catalog(api: Api, world: World) -> None:
    call = world.call("train")
    (begun,) = api.call("reserve", calls=[call])
    assert isinstance(begun, cache.Execute)
    (finished,) = api.call("finish_runs", reports=[world.report(call, {"model:m": b"w"}, begun.token)])
    assert world.catalog.run(str(call.run)).outputs == finished.outputs


def test_every_verb_has_a_route_and_nothing_else_has(api: Api) -> None:
    for name in verbs.VERBS:
        assert api.ask("POST", f"/v1/{name}", b"[]").status == 400, name
        assert api.refusal("GET", f"/v1/{name}")[:2] == (405, "no-such-route")
    for path in ("/v1/close", "/v1/", "/v1/reserve/", "/v1/ping", "/v2", "/", "/v1/..%2f..%2fetc", "/docs"):
        assert api.refusal("POST", path, b"{}")[:2] == (404, "no-such-route"), path


def test_it_says_what_it_serves_and_where_bytes_go(serve: Callable[..., Api]) -> None:
    said = json.loads(serve(blobs="s3://bucket/blobs").ask("GET", "/v1").data)
    assert said["blobs"] == "s3://bucket/blobs"
    assert said["oldest_protocol"] <= said["protocol"] == verbs.PROTOCOL
    assert set(said["verbs"]) == set(verbs.VERBS)


def test_connections_are_kept_and_used_again(api: Api) -> None:
    at = urlsplit(api.url)
    with closing(socket.create_connection((at.hostname, at.port))) as sock:
        for _ in range(3):
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += sock.recv(10_000)
            assert b" 200 " in answer.splitlines()[0]


def test_many_clients_at_once_are_all_answered(api: Api, world: World) -> None:
    def record(number: int) -> object:
        call = world.plain_call(f"job{number}")
        return api.call("record_runs", runs=[(call, world.report(call, {f"model:m{number % 4}": b"w"}))])[
            0
        ].run.uid

    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(record, range(64)))
    assert len(made) == 64
    assert len(world.catalog.runs(limit=100)) == 64


# ── versions of the client ──


@pytest.mark.parametrize("spoken", range(verbs.OLDEST_PROTOCOL, verbs.PROTOCOL + 1))
def test_the_current_protocol_and_the_one_before_are_served(api: Api, spoken: int) -> None:
    given = {"content-type": "application/json", verbs.PROTOCOL_HEADER: str(spoken)}
    answer = api.ask("POST", "/v1/identity", b"{}", given)
    assert answer.status == 200
    assert answer.headers[verbs.PROTOCOL_HEADER] == str(verbs.PROTOCOL)


@pytest.mark.parametrize(
    ("spoken", "upgrade"), [(verbs.PROTOCOL + 1, "the server"), (verbs.OLDEST_PROTOCOL - 1, "the client")]
)
def test_another_protocol_is_refused_with_what_to_upgrade(api: Api, spoken: int, upgrade: str) -> None:
    given = {"content-type": "application/json", verbs.PROTOCOL_HEADER: str(spoken)}
    status, kind, told = api.refusal("POST", "/v1/identity", b"{}", headers=given)
    assert (status, kind) == (426, "protocol")
    assert f"upgrade {upgrade}" in told


# ── how it is ──


def test_it_lives_and_is_ready(api: Api) -> None:
    assert api.ask("GET", "/healthz").status == 200
    assert api.ask("GET", "/readyz").status == 200


def test_it_is_not_ready_when_its_database_is_gone_but_lives_and_comes_back() -> None:
    with postgres.server() as database, ExitStack() as stack:
        database.prepare()
        url = stack.enter_context(database.database())
        catalog = stack.enter_context(closing(SqlCatalog.connect(url, timeout_seconds=0.5)))
        api = stack.enter_context(api_of(stack.enter_context(servers.in_thread(catalog))))
        assert api.ask("GET", "/readyz").status == 200
        database.stop()
        for method, path in (("GET", "/readyz"), ("POST", "/v1/tokens")):
            status, kind, told = api.refusal(method, path, b"{}" if method == "POST" else None)
            assert (status, kind) == (503, "unreachable")
            assert str(database.folder) not in told
            assert "postgres" not in told
        assert api.ask("GET", "/healthz").status == 200
        database.start()
        wait_until(lambda: api.ask("GET", "/readyz").status == 200)
        assert api.ask("POST", "/v1/tokens", b"{}").status == 200


def test_what_is_answered_is_counted(api: Api, world: World) -> None:
    call = world.call("train")
    (begun,) = api.call("reserve", calls=[call])
    api.call("finish_runs", reports=[world.report(call, {"model:m": b"w"}, begun.token)])
    again = world.call("train")
    absent = world.plain_call()
    api.call("finish_runs", reports=[world.report(absent)])
    api.call("reserve", calls=[again, world.plain_call()])
    assert metric(api, 'whence_reservations_total{answer="execute",reason="no entry"}') == 1
    assert metric(api, 'whence_reservations_total{answer="execute",reason="not asked"}') == 1
    assert (
        sum(metric(api, f'whence_reservations_total{{answer="{a}",reason=""}}') for a in ("reuse", "verify"))
        == 1
    )
    assert metric(api, 'whence_items_total{verb="reserve"}') == 3
    assert metric(api, 'whence_facts_total{verb="finish_runs"}') == 1
    assert metric(api, 'whence_errors_total{kind="no-such-run",verb="finish_runs"}') == 1
    assert metric(api, 'whence_requests_total{method="POST",route="/v1/reserve",status="200"}') == 2
    assert metric(api, 'whence_request_seconds_count{route="/v1/reserve"}') == 2


def test_what_a_client_makes_up_makes_no_new_metrics(api: Api) -> None:
    for number in range(5):
        api.ask("POST", f"/v1/made-up-{number}", b"{}")
        api.ask(f"VERB{number}", "/v1")
    page = api.ask("GET", "/metrics").data.decode()
    assert "made-up" not in page
    assert "VERB" not in page
    assert metric(api, 'whence_requests_total{method="POST",route="unknown",status="404"}') == 5


# ── what it does by itself ──


def test_runs_that_are_not_heard_of_are_presumed_aborted(serve: Callable[..., Api], world: World) -> None:
    call = world.plain_call()
    world.begin(call)
    with closing(behind_its_back(world.catalog)) as database, database:
        database.execute("UPDATE beat SET until = 1")
    serve(sweep_seconds=0.05)
    wait_until(lambda: world.catalog.run(str(call.run)).run.state.value == "aborted")


def test_facts_get_their_positions_without_anybody_asking() -> None:
    with postgres.shared().database() as url, closing(SqlCatalog.connect(url)) as catalog:
        world = World(catalog)
        with servers.in_thread(catalog, sequence_seconds=0.05) as at, api_of(at) as api:
            world.note("one", {"dataset:d": b"1"})

            def is_sequenced() -> bool:
                with closing(psycopg.connect(url)) as database:
                    rows = database.execute("SELECT count(*) FROM fact WHERE position IS NULL").fetchone()
                return rows == (0,)

            wait_until(is_sequenced)
            assert metric(api, "whence_facts_sequenced_total") >= 1
            assert metric(api, "whence_sequencer_lag_seconds") >= 0


def test_an_outage_is_logged_once_for_each_timer(caplog: pytest.LogCaptureFixture) -> None:
    with postgres.server() as database, ExitStack() as stack:
        database.prepare()
        url = stack.enter_context(database.database())
        catalog = stack.enter_context(closing(SqlCatalog.connect(url, timeout_seconds=0.1)))
        api = stack.enter_context(
            api_of(stack.enter_context(servers.in_thread(catalog, sweep_seconds=0.05, sequence_seconds=0.05)))
        )
        with caplog.at_level(logging.WARNING, "whence.server"):
            database.stop()
            for _ in range(3):
                assert api.ask("GET", "/readyz").status == 503
                threading.Event().wait(0.3)
            database.start()
            wait_until(lambda: len([1 for r in caplog.records if "works again" in r.message]) == 2)
        failures = [record.message.split()[0] for record in caplog.records if "fails" in record.message]
        assert sorted(failures) == ["sequence", "sweep"]


def test_any_number_of_servers_share_a_database() -> None:
    with postgres.shared().database() as url, ExitStack() as stack:
        apis = [
            stack.enter_context(
                api_of(stack.enter_context(servers.process(url, WHENCE_SEQUENCE_SECONDS="0.05")).url)
            )
            for _ in range(2)
        ]
        world = World(stack.enter_context(closing(SqlCatalog.connect(url))))

        def record(number: int) -> Any:
            call = world.plain_call(f"job{number}")
            report = world.report(call, {"model:m": str(number).encode()})
            return apis[number % 2].call("record_runs", runs=[(call, report)])[0].outputs[0].version.number

        with ThreadPoolExecutor(8) as pool:
            numbers = sorted(pool.map(record, range(20)))
        assert numbers == list(range(1, 21))
        assert [fact.position for fact in apis[0].call("facts")] == list(range(1, 21))


# ── what it tells ──


def lines_of(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines()]


def test_each_request_is_one_line_and_holds_no_secret(tmp_path: Path) -> None:
    with servers.process(tmp_path / ".whence", WHENCE_LOG_FORMAT="json") as process:
        with api_of(process.url) as api:
            given = {
                "content-type": "application/json",
                "authorization": "Bearer hunter2",
                "x-request-id": "mine-1",
            }
            assert (
                api.ask("POST", "/v1/identity?token=hunter2", b"{}", given).headers["x-request-id"]
                == "mine-1"
            )
            api.ask("POST", "/v1/no%0Asuch", b'{"password": "hunter2"}', {"x-request-id": "not\tan id"})
            api.ask("GET", "/healthz")
        assert process.terminate() == 0
        first, second = lines_of(process.said)
        assert "hunter2" not in process.said
    assert (first["path"], first["status"], first["request"]) == ("/v1/identity", 200, "mine-1")
    assert first["actor"]
    assert first["ms"] > 0
    assert (second["path"], second["status"]) == ("/v1/no%0Asuch", 404)


def test_a_line_of_text_stays_one_line_whatever_it_holds() -> None:
    record = logging.LogRecord("whence", logging.INFO, "", 0, "it\nsaid %s", ("a\x1b[2J",), None)
    record.fields = {"path": "/a b", "actor": 'me"\n'}
    line = telemetry.Lines("text").format(record)
    assert line.isprintable()
    assert 'path="/a b"' in line


def test_a_fault_of_the_server_is_logged_by_the_id_that_the_client_is_told(
    serve: Callable[..., Api], catalog: SqlCatalog, caplog: pytest.LogCaptureFixture
) -> None:
    api = serve(sweep_seconds=0)
    with closing(behind_its_back(catalog)) as database, database:
        database.execute("DROP TABLE token")
    with caplog.at_level(logging.ERROR, "whence.server"):
        answer = api.ask("POST", "/v1/tokens", b"{}")
    told = refusal(answer.status, answer.data)[2]
    assert answer.status == 500
    assert answer.headers["x-request-id"] in told
    assert answer.headers["x-request-id"] in caplog.text
    assert "no such table" in caplog.text
    assert "table" not in told


class Collector(HTTPServer):
    """Takes traces, as an OTLP collector does."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        spans = self.spans

        class Take(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        spans.extend(scope.spans)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Take)


def test_a_trace_of_the_client_goes_on_in_the_server(catalog: SqlCatalog) -> None:
    with Collector() as collector:
        taking = threading.Thread(target=collector.serve_forever)
        taking.start()
        try:
            to = f"http://127.0.0.1:{collector.server_port}/v1/traces"
            with servers.in_thread(catalog, trace_endpoint=to) as at, api_of(at) as api:
                given = {"content-type": "application/json", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
                assert api.ask("POST", "/v1/identity", b"{}", given).status == 200
        finally:
            collector.shutdown()
            taking.join()
        (span,) = [found for found in collector.spans if found.name == "POST /v1/identity"]
    assert span.trace_id.hex() == "a" * 32
    assert span.parent_span_id.hex() == "b" * 16


# ── how it begins and ends ──


def test_it_prints_its_address_and_nothing_else(tmp_path: Path) -> None:
    with servers.process(tmp_path / ".whence") as process, api_of(process.url) as api:
        assert api.ask("GET", "/readyz").status == 200
        assert process.terminate() == 0
        assert process.rest_of_output == ""


def test_it_begins_on_an_embedded_catalog_without_any_option(tmp_path: Path) -> None:
    with servers.process(tmp_path / ".whence") as process, api_of(process.url) as api:
        world = World(SqlCatalog.open(tmp_path / ".whence" / "catalog.db"))
        noted = world.note("one", {"dataset:d": b"1"})
        assert api.call("run", prefix=str(noted.run.uid)).run == noted.run
        world.catalog.close()


def test_what_runs_when_it_is_told_to_end_is_answered(tmp_path: Path) -> None:
    with servers.process(tmp_path / ".whence", WHENCE_SWEEP_SECONDS="0") as process, ExitStack() as stack:
        api = stack.enter_context(api_of(process.url))
        assert api.ask("GET", "/readyz").status == 200
        lock = stack.enter_context((tmp_path / ".whence" / "catalog.db.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        world = World(stack.enter_context(closing(SqlCatalog.open(tmp_path / ".whence" / "catalog.db"))))
        call = world.plain_call()
        recording = pool.submit(api.call, "record_runs", runs=[(call, world.report(call))])
        with api_of(process.url) as other:
            wait_until(lambda: metric(other, "whence_requests_in_flight") == 2)
        os.kill(process.pid, 15)
        threading.Event().wait(0.3)
        assert process.is_running
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert recording.result()[0].run.uid == call.run
        assert process.wait() == 0


def test_it_says_that_it_ends_before_it_stops_listening(tmp_path: Path) -> None:
    with servers.process(tmp_path / ".whence", WHENCE_SHUTDOWN_DELAY_SECONDS="600") as process:
        with api_of(process.url) as api:
            os.kill(process.pid, 15)
            wait_until(lambda: api.ask("GET", "/readyz").status == 503)
            assert "shutting down" in api.refusal("GET", "/readyz")[2]
            assert api.ask("POST", "/v1/identity", b"{}").status == 200
        os.kill(process.pid, 15)  # at once, this time
        assert process.wait() == 0


def test_what_does_not_end_within_the_grace_is_cut_short(tmp_path: Path) -> None:
    told = {"WHENCE_SWEEP_SECONDS": "0", "WHENCE_SHUTDOWN_SECONDS": "1"}
    with servers.process(tmp_path / ".whence", **told) as process, ExitStack() as stack:
        api = stack.enter_context(api_of(process.url))
        assert api.ask("GET", "/readyz").status == 200
        lock = stack.enter_context((tmp_path / ".whence" / "catalog.db.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        beat = verbs.VERBS["beat"].encode_call({"runs": [uuid4()], "lasting": timedelta(seconds=60)})
        beating = pool.submit(api.ask, "POST", "/v1/beat", beat)
        with api_of(process.url) as other:
            wait_until(lambda: metric(other, "whence_requests_in_flight") == 2)
        assert process.terminate() == 1
        assert "cut short" in process.said
        assert beating.exception() or beating.result().status >= 500


def refusal_to_begin(url: str | Path, **settings: Any) -> str:
    with pytest.raises(WhenceError) as caught:
        server.serve(Settings(**{"url": str(url), "port": 0, **settings}))
    return str(caught.value)


def test_it_refuses_a_port_that_is_taken_in_one_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(AssertionError) as caught:
            servers.Process(str(tmp_path / ".whence"), "--port", port)
    told = str(caught.value)
    assert told.startswith("the server ended with 1: whence: ")
    assert port in told
    assert told.count("\n") == 1
    assert not (tmp_path / ".whence").exists()


def test_it_refuses_a_database_that_is_away_or_is_no_catalog() -> None:
    away = "postgresql://someone:hunter2@127.0.0.1:1/whence"
    told = refusal_to_begin(away, timeout=0.1)
    assert "does not answer" in told
    assert "hunter2" not in told
    with postgres.shared().database("template0") as empty:
        assert "whence migrate" in refusal_to_begin(empty)


def test_it_refuses_a_schema_that_is_older(catalog: SqlCatalog, tmp_path: Path) -> None:
    with closing(behind_its_back(catalog)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (tables.KNOWN_REVISIONS[0],))
    assert "whence migrate" in refusal_to_begin(tmp_path / "catalog")


def test_it_refuses_traces_that_it_cannot_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)  # as if it were not installed
    told = refusal_to_begin(tmp_path / ".whence", trace_endpoint="http://127.0.0.1:1/v1/traces")
    assert "whence[otel]" in told


# ── the command ──


@contextmanager
def whence_serve(folder: Path, *arguments: str, url: str = "", **variables: str) -> Iterator[servers.Process]:
    """`whence serve` in a folder; an empty `url` is none."""
    command = ("-m", "whence", "serve")
    started = servers.Process(url, *arguments, command=command, folder=folder, **variables)
    try:
        yield started
    finally:
        started.kill()


def test_whence_serve_serves_the_catalog_of_its_folder(tmp_path: Path) -> None:
    with closing(SqlCatalog.open(tmp_path / ".whence" / "catalog.db")) as opened:
        noted = World(opened).note("one", {"dataset:d": b"1"})
    (tmp_path / "below").mkdir()
    with whence_serve(tmp_path / "below", "--port", "0") as process, api_of(process.url) as api:
        assert api.call("run", prefix=str(noted.run.uid)).run == noted.run
        said = json.loads(api.ask("GET", "/v1").data)
        assert said["blobs"] == (tmp_path / ".whence" / "blobs").as_uri()
        assert process.terminate() == 0


def test_whence_serve_serves_the_catalog_that_its_settings_name(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(f'url = "{tmp_path}/elsewhere"\n')
    with whence_serve(tmp_path, "--config", str(file)) as process:
        assert process.terminate() == 0
    assert (tmp_path / "elsewhere" / "catalog.db").exists()
    assert not (tmp_path / ".whence").exists()


def test_whence_serve_does_not_serve_a_server(tmp_path: Path) -> None:
    refused = "ended with 1: whence: WHENCE_URL names a server"
    with pytest.raises(AssertionError, match=refused), whence_serve(tmp_path, url="http://127.0.0.1:1"):
        pass

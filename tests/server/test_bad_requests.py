"""Whatever is sent, the answer is an error in the one form, and tells nothing of what is behind the server."""

import json
import random
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import postgres, servers
from tests.server.conftest import JSON, Api, refusal
from tests.simulator import World
from whence_catalog import verbs
from whence_catalog.errors import NotFound
from whence_catalog.sql.catalog import SqlCatalog

# What no answer may hold.
SECRETS = (
    "traceback",
    'file "',
    "site-packages",
    "sqlite",
    "psycopg",
    "select ",
    "insert ",
    "catalog.db",
    "/tmp",
)
# Makes calls and reports; there is no catalog to ask.
simulator = World(None)  # type: ignore[arg-type]
NOTHING = "00000000-0000-7000-8000-000000000000"


def _sqlite(folder: Path) -> AbstractContextManager[SqlCatalog]:
    return closing(SqlCatalog.open(folder / "catalog.db", synchronous="NORMAL"))


@contextmanager
def _postgresql(_: Path) -> Iterator[SqlCatalog]:
    with postgres.shared().database() as url, closing(SqlCatalog.connect(url)) as opened:
        yield opened


@contextmanager
def _served(catalog: SqlCatalog) -> Iterator[Api]:
    with servers.in_thread(catalog, sweep_seconds=0) as url, closing(Api(url)) as made:
        yield made


@pytest.fixture(scope="module", params=[_sqlite, _postgresql], ids=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server on each database."""
    with request.param(tmp_path_factory.mktemp("catalog")) as catalog, _served(catalog) as made:
        yield made


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server for all tests of requests that never get as far as its database."""
    with _sqlite(tmp_path_factory.mktemp("catalog")) as catalog, _served(catalog) as made:
        yield made


def refused(api: Api, path: str, body: bytes, **headers: str) -> tuple[int, str, str]:
    """(status, kind, message) of what must be refused by the rules."""
    answer = api.ask("POST", path, body, {**JSON, **{n.replace("_", "-"): v for n, v in headers.items()}})
    assert 400 <= answer.status < 500, answer.data
    assert answer.headers["content-type"] == "application/json"
    assert not [word for word in SECRETS if word in answer.data.decode().lower()], answer.data
    return refusal(answer.status, answer.data)


BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "text": b"hello",
    "not UTF-8": b'{"prefix": "\xff"}',
    "a list": b"[]",
    "null": b"null",
    "a number too long": b"1" * 100_000,
    "deep": b"[" * 100_000,
    "deep and whole": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b'{"prefix": NaN}',
    "two documents": b"{}{}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"prefix": "x"}'.encode("utf-16"),
    "zeros": b"\0" * 100,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_a_body_that_is_no_call_is_refused_by_every_verb(one: Api, body: bytes) -> None:
    for name in verbs.VERBS:
        status, kind, _ = refused(one, f"/v1/{name}", body)
        assert (status, kind) == (400, "bad-value"), name


@pytest.mark.parametrize("verb", verbs.VERBS.values(), ids=lambda verb: verb.name)
def test_an_argument_of_a_wrong_type_is_refused_with_the_path_to_it(one: Api, verb: verbs.Verb) -> None:
    for junk in (None, True, -1, 1.5, "x", [], {}, [None], {"a": 1}, "'; DROP TABLE fact; --"):
        for parameter in verb.parameters:
            body = json.dumps({parameter.name: {"junk": [junk]}}).encode()
            status, _, told = refused(one, f"/v1/{verb.name}", body)
            assert status == 400
            assert told.startswith("$"), told
        status, _, told = refused(one, f"/v1/{verb.name}", json.dumps({"no_such_argument": junk}).encode())
        assert status == 400
        assert "no_such_argument" in told


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("run", {"prefix": "short"}),
        ("run", {"prefix": "0" * 1_000_000}),
        ("run", {"prefix": "%_%_%_%_%"}),
        ("run", {"prefix": "\0" * 10}),
        ("run", {"prefix": "ü" * 10}),
        ("explain", {"run": NOTHING}),
        ("series", {"run": NOTHING}),
        ("runs", {"limit": 0}),
        ("runs", {"limit": -(2**63)}),
        ("runs", {"limit": 2**200}),
        ("runs", {"states": ["walking"]}),
        ("lineage", {"roots": ["model:absent"], "direction": "up", "bounds": {}}),
        ("lineage", {"roots": ["model:a"], "direction": "sideways", "bounds": {}}),
        ("lineage", {"roots": [NOTHING], "direction": "up", "bounds": {}, "frontier": "made up"}),
        ("resolve", {"references": ["no reference"]}),
        ("resolve", {"references": ["model:x@0"]}),
        ("productions", {"artifact": "Model:x"}),
        ("revoke_token", {"uid": NOTHING}),
        ("audit", {"subject": "model:absent", "policy": {}}),
        ("plan_rerun", {"run": "01234567", "unavailable": ["sha256:" + "0" * 63]}),
        ("beat", {"runs": [], "lasting": "long"}),
        ("beat", {"runs": [NOTHING], "lasting": 1e300}),
        ("facts", {"after": 2**64}),
        ("facts", {"limit": -5}),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused(
    api: Api, verb: str, arguments: dict[str, object]
) -> None:
    assert refused(api, f"/v1/{verb}", json.dumps(arguments).encode())[0] in (400, 404)


@pytest.mark.parametrize(
    "text",
    ["a\0b", "\ud800", "x" * 1_000_000, "\u202e", "'\"`;--", "\x7f", "${jndi:x}", "../../etc"],
    ids=["zero", "surrogate", "long", "direction", "quotes", "delete", "template", "path"],
)
@pytest.mark.parametrize("place", ["job", "error", "filename", "role", "labels", "params"])
def test_odd_text_is_kept_or_refused(api: Api, text: str, place: str) -> None:
    call = simulator.plain_call()
    report = simulator.report(call, {"model:m": b"w"})
    said = json.loads(verbs.VERBS["record_runs"].encode_call({"runs": [(call, report)]}))
    begun, ended = said["runs"][0]
    part = {"error": ended, "filename": ended["outputs"][0], "role": ended["outputs"][0]}.get(place, begun)
    part[place] = {text: text} if place in ("labels", "params") else text
    answer = api.ask("POST", "/v1/record_runs", json.dumps(said).encode())
    assert answer.status in (200, 400), answer.data[:300]
    told = answer.data.decode().replace(text, "").lower()
    assert not [word for word in SECRETS if word in told]


# ── heads ──


@pytest.mark.parametrize(
    "said", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_a_form_that_a_page_may_send_unasked_is_refused(one: Api, said: str) -> None:
    assert "application/json" in refused(one, "/v1/sweep", b"{}", content_type=said)[2]


@pytest.mark.parametrize("said", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_by_any_spelling_is_taken(one: Api, said: str) -> None:
    assert one.ask("POST", "/v1/identity", b"{}", {"content-type": said}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7475", "localhost.evil.example", "", "[::2]"])
def test_a_page_that_leads_here_by_a_name_of_its_own_is_refused(one: Api, host: str) -> None:
    for method, path in (("POST", "/v1/identity"), ("GET", "/v1"), ("GET", "/openapi.json")):
        answer = one.ask(method, path, b"{}", {**JSON, "host": host})
        assert refusal(answer.status, answer.data)[:2] == (403, "not-granted")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:7475", "[::1]", "[::1]:80"])
def test_this_machine_by_its_names_is_let_in(one: Api, host: str) -> None:
    assert one.ask("POST", "/v1/identity", b"{}", {**JSON, "host": host}).status == 200


@pytest.mark.parametrize("said", [b"", b"one", b"-1", b"1.0", b"\xb2", b"9" * 30, b"1, 1"])
def test_a_protocol_that_is_no_number_is_refused(one: Api, said: bytes) -> None:
    head = b"POST /v1/identity HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = raw(one, head + b"Whence-Protocol: " + said + b"\r\nContent-Length: 2\r\n\r\n{}")
    assert answer.split(b" ", 2)[1] == b"400"
    assert b"Whence-Protocol" in answer


def raw(api: Api, *parts: bytes) -> bytes:
    """What is answered to bytes, until the server closes."""
    at = urlsplit(api.url)
    with closing(socket.create_connection((at.hostname, at.port))) as sock:
        # A server that refuses early closes while the rest is still being said: any of these calls may
        # find it gone, and what it answered may be lost with the connection.
        with suppress(OSError), sock.makefile("rb") as stream:
            for part in parts:
                sock.sendall(part)
            sock.shutdown(socket.SHUT_WR)
            return stream.read()
        return b""


@pytest.mark.parametrize(
    "said",
    [
        b"\0\1\2\3",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"POST /v1/identity HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/identity HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/identity HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_harms_nobody(one: Api, said: bytes) -> None:
    answer = raw(one, said)
    assert answer == b"" or answer.split(b" ", 2)[1] in (b"400", b"403", b"404", b"431"), answer
    assert one.ask("POST", "/v1/identity", b"{}").status == 200


def test_noise_is_refused_and_harms_nobody(one: Api) -> None:
    noise = random.Random(7)
    for _ in range(50):
        raw(one, noise.randbytes(noise.randrange(1, 2000)))
        status = one.ask("POST", "/v1/reserve", noise.randbytes(200)).status
        assert status == 400
    assert one.ask("POST", "/v1/identity", b"{}").status == 200
    assert 'status="500"' not in one.ask("GET", "/metrics").data.decode()


def test_a_batch_refuses_an_item_and_carries_out_the_others(api: Api) -> None:
    good = simulator.plain_call()
    absent = simulator.report(simulator.plain_call())
    api.call("reserve", calls=[good])
    refused_one, finished = api.call("finish_runs", reports=[absent, simulator.report(good)])
    assert isinstance(refused_one, NotFound)
    assert finished.run.uid == good.run

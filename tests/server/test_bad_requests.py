"""Whatever is sent, the answer is an error in the one form, and tells nothing of what is behind the server."""

import json
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests import postgres, servers
from tests.server.conftest import JSON, Api, refusal
from tests.simulator import World, claim
from whence_catalog import verbs
from whence_catalog.errors import InvalidInput, NotFound, WhenceError
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
NOTHING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    """A server on each database."""
    if request.param == "sqlite":
        with closing(SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")) as opened:
            with servers.in_thread(opened, sweep_seconds=0) as url, closing(Api(url)) as made:
                yield made
    else:
        with postgres.shared().database() as database, closing(SqlCatalog.connect(database)) as opened:
            with servers.in_thread(opened, sweep_seconds=0) as url, closing(Api(url)) as made:
                yield made


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Api]:
    """A server on the embedded database, where it makes no difference which it is."""
    with closing(SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")) as opened:
        with servers.in_thread(opened, sweep_seconds=0) as url, closing(Api(url)) as made:
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


@pytest.mark.parametrize(
    "junk", [None, True, -1, 1.5, "x", [], {}, [None], {"a": 1}, "'; DROP TABLE fact; --"]
)
def test_an_argument_of_a_wrong_type_is_refused_with_the_path_to_it(one: Api, junk: object) -> None:
    for name, verb in verbs.VERBS.items():
        for parameter in verb.parameters:
            others = {p.name: None for p in verb.parameters if p.is_required}
            body = json.dumps({**others, parameter.name: {"junk": [junk]}}).encode()
            status, _, told = refused(one, f"/v1/{name}", body)
            assert status == 400
            assert told.startswith("$"), (name, told)
        status, _, told = refused(one, f"/v1/{name}", json.dumps({"no_such_argument": junk}).encode())
        assert status == 400
        assert "no_such_argument" in told or "missing" in told


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
    "text", ["a\0b", "\ud800", "x" * 1_000_000, "‮", "'\"`;--", "\x7f", "${jndi:x}", "../../etc"]
)
def test_odd_text_is_kept_or_refused_item_by_item(api: Api, text: str) -> None:
    world = World(SqlCatalog.open(Path(":memory:")) if False else None)  # type: ignore[arg-type]
    for field in ("job", "error", "filename", "role", "label", "param"):
        call = world.plain_call(text if field == "job" else "job")
        said = verbs.VERBS["record_runs"]
        made = claim("model:m", b"w")
        report = world.report(call, {"model:m": b"w"})
        body = json.loads(said.encode_call({"runs": [(call, report)]}))
        started, ended = body["runs"][0]
        ended["error"] = text if field == "error" else None
        ended["outputs"][0]["filename"] = text if field == "filename" else made.filename
        ended["outputs"][0]["role"] = text if field == "role" else made.role
        started["labels"] = {text: text} if field == "label" else {}
        started["params"] = {text: text} if field == "param" else {}
        answer = api.ask("POST", "/v1/record_runs", json.dumps(body).encode())
        assert answer.status in (200, 400), (field, answer.data[:300])
        assert not [
            word for word in SECRETS if word in answer.data.decode().lower().replace(text.lower(), "")
        ], field


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


@pytest.mark.parametrize("said", ["one", "-1", "1.0", "²", "9" * 30, " "])
def test_a_protocol_that_is_no_number_is_refused(one: Api, said: str) -> None:
    answer = one.ask("POST", "/v1/identity", b"{}", {**JSON, verbs.PROTOCOL_HEADER: said.encode("utf-8")})  # type: ignore[dict-item]
    assert answer.status in (400, 200 if not said.strip() else 400)


def raw(api: Api, *parts: bytes) -> bytes:
    """What is answered to bytes, until the server closes."""
    at = urlsplit(api.url)
    with closing(socket.create_connection((at.hostname, at.port))) as sock:
        for part in parts:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as stream:
            return stream.read()


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
    assert answer == b"" or answer.split(b" ", 2)[1] in (b"400", b"404", b"431"), answer
    assert one.ask("POST", "/v1/identity", b"{}").status == 200


def test_noise_is_refused_and_harms_nobody(one: Api) -> None:
    noise = random.Random(7)
    for _ in range(50):
        raw(one, noise.randbytes(noise.randrange(1, 2000)))
        status = one.ask("POST", "/v1/reserve", noise.randbytes(200)).status
        assert status == 400
    assert one.ask("POST", "/v1/identity", b"{}").status == 200
    assert 'status="500"' not in one.ask("GET", "/metrics").data.decode()


def test_a_batch_refuses_items_and_carries_out_the_others(one: Api) -> None:
    world = World(None)  # type: ignore[arg-type]
    good, bad = world.plain_call(), world.plain_call()
    results = one.call(
        "record_runs",
        runs=[
            (bad, world.report(bad, inputs=())),
            (good, world.report(good)),
        ],
    )
    assert [isinstance(result, WhenceError) for result in results] == [False, False]
    absent = world.report(world.plain_call())
    (refused_item,) = one.call("finish_runs", reports=[absent])
    assert isinstance(refused_item, NotFound)


def test_a_call_that_says_it_is_someone_else_s_is_not_believed(
    one: Api, uuid: Callable[[], object] = uuid4
) -> None:
    with pytest.raises(InvalidInput):
        one.call("runs", limit=0)

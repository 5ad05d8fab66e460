"""What a server bears from one client ends somewhere, and the others do not feel it."""

import fcntl
import gzip
import hashlib
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.server.conftest import JSON, Api, refusal
from whence_api import limits
from whence_catalog import access, verbs
from whence_catalog.errors import ErrorKind, Unreachable, WhenceError
from whence_catalog.sql.catalog import SqlCatalog

SMALL = 4096
GZIP = {**JSON, "content-encoding": "gzip"}


@pytest.fixture
def small(serve: Callable[..., Api]) -> Api:
    """A server that takes no more than `SMALL` bytes."""
    return serve(max_body_bytes=SMALL)


def padded(size: int) -> bytes:
    return b'{"references":[]' + b" " * (size - 17) + b"}"


def connect(api: Api) -> socket.socket:
    at = urlsplit(api.url)
    return socket.create_connection((at.hostname, at.port))


def head(path: str, *lines: str) -> bytes:
    told = ("Host: localhost", "Content-Type: application/json", *lines)
    return "\r\n".join((f"POST {path} HTTP/1.1", *told, "", "")).encode()


def token_of(catalog: SqlCatalog, name: str) -> str:
    """A new token of somebody who may read everything."""
    secret = "whence_" + secrets.token_urlsafe(32)
    grants = access.Grants({access.EVERY_PROJECT: frozenset({access.Grant.READ})})
    hashed = hashlib.sha256(secret.encode()).digest()
    catalog.add_token(access.Token(uuid4(), name, name, hashed, grants, datetime.now(UTC)))
    return secret


def everything(from_server: socket.socket) -> bytes:
    """All that the server says until it closes."""
    with from_server.makefile("rb") as stream:
        return stream.read()


# ── bytes ──


def test_a_body_of_the_largest_size_is_taken_and_one_more_byte_is_not(small: Api) -> None:
    assert small.ask("POST", "/v1/resolve", padded(SMALL)).status == 200
    status, kind, told = small.refusal("POST", "/v1/resolve", padded(SMALL + 1))
    assert (status, kind) == (413, "too-large")
    assert str(SMALL) in told


def test_ten_megabytes_are_refused_by_default(api: Api) -> None:
    assert api.refusal("POST", "/v1/resolve", padded(10_000_000))[:2] == (413, "too-large")


def test_a_body_whose_size_is_not_declared_has_the_same_limit(small: Api) -> None:
    with closing(connect(small)) as sock:
        sock.sendall(head("/v1/resolve", "Transfer-Encoding: chunked"))
        for _ in range(3):
            sock.sendall(b"800\r\n" + b" " * 0x800 + b"\r\n")
        sock.sendall(b"0\r\n\r\n")
        answer = everything(sock)
    assert b" 413 " in answer.splitlines()[0]


def test_who_declares_a_flood_is_refused_before_sending_it(small: Api) -> None:
    with closing(connect(small)) as sock:
        sock.sendall(head("/v1/resolve", f"Content-Length: {10**12}"))
        assert b" 413 " in everything(sock).splitlines()[0]


def test_who_asks_first_is_refused_without_sending_anything(small: Api) -> None:
    with closing(connect(small)) as sock:
        sock.sendall(head("/v1/resolve", f"Content-Length: {SMALL + 1}", "Expect: 100-continue"))
        assert b" 413 " in everything(sock).splitlines()[0]


def test_who_asks_first_and_sends_little_is_let_in(small: Api) -> None:
    with closing(connect(small)) as sock:
        sock.sendall(head("/v1/resolve", "Content-Length: 17", "Expect: 100-continue", "Connection: close"))
        assert b"100 Continue" in sock.recv(1000)
        sock.sendall(padded(17))
        assert b" 200 " in everything(sock).splitlines()[0]


def test_all_bodies_together_take_no_more_than_so_much(serve: Callable[..., Api]) -> None:
    api = serve(max_body_bytes=1024)
    with ExitStack() as stack:
        for _ in range(limits.HELD_BODIES):
            slow = stack.enter_context(closing(connect(api)))
            slow.sendall(head("/v1/resolve", "Content-Length: 1024") + b" " * 1023)
        while (
            b"whence_requests_in_flight %d.0" % (limits.HELD_BODIES + 1)
            not in api.ask("GET", "/metrics").data
        ):
            pass  # they have not all arrived yet
        assert api.refusal("POST", "/v1/resolve", padded(1024))[:2] == (503, "unreachable")
        assert api.ask("POST", "/v1/resolve", padded(17)).status == 200
    while b"whence_requests_in_flight 1.0" not in api.ask("GET", "/metrics").data:
        pass  # they are not all gone yet
    assert api.ask("POST", "/v1/resolve", padded(1024)).status == 200


# ── gzip ──


def test_a_compressed_body_is_taken(api: Api) -> None:
    assert api.ask("POST", "/v1/resolve", gzip.compress(padded(5000)), GZIP).status == 200


def test_the_limit_holds_for_what_is_unpacked(small: Api) -> None:
    bomb = gzip.compress(padded(50_000_000))
    assert small.refusal("POST", "/v1/resolve", gzip.compress(padded(SMALL + 1)), headers=GZIP)[0] == 413
    assert len(bomb) > SMALL
    with pytest.raises(WhenceError) as caught:
        limits.unzipped(bomb, SMALL)
    assert caught.value.kind is ErrorKind.TOO_LARGE


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"",
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}")[:5],
        gzip.compress(b"{}") + b"more",
        gzip.compress(b"{}") * 2,
        gzip.compress(b"{}")[:-8] + b"\0" * 8,
    ],
    ids=["plain", "empty", "cut", "header", "tail", "two", "checksum"],
)
def test_what_says_it_is_gzip_and_is_not_is_refused(api: Api, body: bytes) -> None:
    status, kind, told = api.refusal("POST", "/v1/identity", body, headers=GZIP)
    assert (status, kind) == (400, "bad-value")
    assert "gzip" in told


def test_other_encodings_are_refused(api: Api) -> None:
    for encoding in ("br", "deflate", "gzip, gzip"):
        answer = api.ask("POST", "/v1/identity", b"{}", {**JSON, "content-encoding": encoding})
        assert refusal(answer.status, answer.data)[0] == 400


def test_a_large_answer_is_compressed_for_who_takes_it(api: Api) -> None:
    small = api.ask("GET", "/v1", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in small.headers
    large = api.ask("GET", "/openapi.json", headers={"accept-encoding": "gzip, deflate"})
    assert large.headers["content-encoding"] == "gzip"
    for accepts in ("identity", "br"):
        plain = api.ask("GET", "/openapi.json", headers={"accept-encoding": accepts})
        assert "content-encoding" not in plain.headers
        assert plain.data == large.data


# ── time ──


def test_a_client_that_sends_its_body_slowly_is_cut_off_and_others_are_served(
    serve: Callable[..., Api],
) -> None:
    api = serve(request_seconds=0.5, threads=1)
    with closing(connect(api)) as slow:
        slow.sendall(head("/v1/identity", "Content-Length: 100") + b"{")
        assert api.ask("POST", "/v1/identity", b"{}").status == 200
        answer = everything(slow)
    assert b" 408 " in answer.splitlines()[0]
    assert refusal(408, answer.partition(b"\r\n\r\n")[2])[1] == "unreachable"


@pytest.mark.parametrize("said", [b"", b"POST /v1/identity HTTP/1.1\r\nHost: local"])
def test_a_client_that_does_not_finish_its_head_is_cut_off(serve: Callable[..., Api], said: bytes) -> None:
    api = serve(request_seconds=0.5)
    with closing(connect(api)) as slow:
        slow.sendall(said)
        assert everything(slow) == b""


def test_a_client_that_is_patient_between_requests_is_not_cut_off(serve: Callable[..., Api]) -> None:
    api = serve(request_seconds=0.2)
    request = head("/v1/identity", "Content-Length: 2") + b"{}"
    with closing(connect(api)) as sock:
        for _ in range(2):
            sock.sendall(request)
            answer = b""
            while not answer.endswith(b"}}"):
                answer += sock.recv(100_000)
            assert b" 200 " in answer.splitlines()[0]
            threading.Event().wait(0.5)


def test_a_client_that_goes_away_does_no_harm(api: Api) -> None:
    for sent in (b"", b"{", b'{"references":[]}'):
        with closing(connect(api)) as sock:
            sock.sendall(head("/v1/resolve", "Content-Length: 17") + sent)
    assert api.ask("POST", "/v1/identity", b"{}").status == 200
    assert b'route="/v1/resolve",status="500"' not in api.ask("GET", "/metrics").data


def test_what_is_not_done_in_time_is_said_so_and_others_are_served(
    serve: Callable[..., Api], tmp_path: Path
) -> None:
    api = serve(request_seconds=0.3, sweep_seconds=0)
    with (tmp_path / "catalog" / "catalog.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as another process that writes
        beat = verbs.VERBS["beat"].encode_call({"runs": [uuid4()], "lasting": timedelta(seconds=60)})
        status, kind, told = api.refusal("POST", "/v1/beat", beat)
        assert (status, kind) == (503, "unreachable")
        assert "send it again" in told
        assert api.ask("POST", "/v1/identity", b"{}").status == 200


def test_beyond_what_it_can_serve_at_once_it_refuses_and_still_says_how_it_is(
    serve: Callable[..., Api],
) -> None:
    api = serve(connections=1)
    with closing(connect(api)) as slow:
        slow.sendall(head("/v1/identity", "Content-Length: 2") + b"{")
        while b"whence_requests_in_flight 2.0" not in api.ask("GET", "/metrics").data:
            pass  # it has not arrived yet
        assert api.refusal("POST", "/v1/identity", b"{}")[:2] == (503, "unreachable")
        assert api.ask("GET", "/healthz").status == 200
        slow.sendall(b"}")
        assert b" 200 " in slow.recv(100).splitlines()[0]


# ── requests ──


def test_a_client_that_asks_too_often_is_told_so(serve: Callable[..., Api]) -> None:
    api = serve(requests_per_second=0.01, requests_at_once=3)
    answers = [api.ask("POST", "/v1/identity", b"{}") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert refusal(429, answers[3].data)[1] == "too-many-requests"
    assert answers[3].headers["retry-after"]
    assert api.ask("GET", "/healthz").status == 200


def test_requests_come_back_with_time_and_each_client_has_its_own() -> None:
    rate = limits.Rate(per_second=2, at_once=2)

    def allowed(client: str, now: float) -> bool:
        try:
            rate.take(client, now)
        except Unreachable as error:
            return error.kind is not ErrorKind.TOO_MANY
        return True

    assert [allowed("a", 10.0) for _ in range(3)] == [True, True, False]
    assert allowed("b", 10.0)
    assert not allowed("a", 10.4)
    assert allowed("a", 10.5)
    assert [allowed("a", 99.0) for _ in range(3)] == [True, True, False]


def test_a_rate_of_none_lets_everything_in() -> None:
    rate = limits.Rate(per_second=0, at_once=1)
    for _ in range(100):
        rate.take("a", 1.0)


def test_who_is_let_in_is_counted_by_name_and_who_is_not_by_address(
    serve: Callable[..., Api], catalog: SqlCatalog
) -> None:
    api = serve(authentication="tokens", requests_per_second=0.01, requests_at_once=4)
    asked = {name: {**JSON, "authorization": f"Bearer {token_of(catalog, name)}"} for name in ("a", "b")}
    statuses = [api.ask("GET", "/v1", headers=asked["a"]).status for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]
    assert api.ask("GET", "/v1", headers=asked["b"]).status == 200
    # Each look-up of somebody new counted for this address, as do tokens that are made up.
    made_up = {**JSON, "authorization": "Bearer whence_" + "x" * 43}
    assert [api.ask("GET", "/v1", headers=made_up).status for _ in range(3)] == [401, 401, 429]
    assert api.ask("GET", "/v1", headers=asked["b"]).status == 200


def test_the_address_that_a_proxy_tells_counts_only_if_the_proxy_is_trusted(
    serve: Callable[..., Api],
) -> None:
    once = {"requests_per_second": 0.01, "requests_at_once": 1}

    def statuses(api: Api) -> list[int]:
        told = ({**JSON, "x-forwarded-for": f"192.0.2.{number}"} for number in (1, 2, 1))
        return [api.ask("POST", "/v1/identity", b"{}", headers).status for headers in told]

    assert statuses(serve(**once)) == [200, 429, 429]
    assert statuses(serve(**once, trusted_proxies=("127.0.0.1",))) == [200, 200, 429]

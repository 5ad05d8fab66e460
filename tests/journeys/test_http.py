"""The catalog over HTTP, when all goes well and when it does not."""

import contextlib
import http.server
import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import whence
from tests import servers
from tests.conftest import Project
from tests.simulator import World, one, uid
from whence import client as clients
from whence.http import HttpCatalog
from whence_catalog import cache, catalog, errors, model, verbs
from whence_catalog.errors import Denied, ErrorKind, InvalidInput, NotReady, Unreachable
from whence_catalog.sql.catalog import SqlCatalog


@dataclass
class Between:
    """What stands between client and server, as a proxy of a company might: it counts, and misbehaves as told.

    `then` is what it does with the next calls, in order: a status with headers and body to answer itself,
    `lose` (the server hears, its answer is lost), `hang`. After these it passes everything on.
    """

    server: str
    then: list[Any] = field(default_factory=list)
    heard: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def lose(self, *calls: Any) -> None:
        self.then += calls


@contextlib.contextmanager
def between(server: str) -> Iterator[Between]:
    state = Between(server)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            state.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.heard.append((self.path, dict(self.headers), body))
            what = state.then.pop(0) if state.then else "pass"
            if what == "hang":
                state.released.wait()
                self.close_connection = True
                return
            if isinstance(what, tuple):
                status, headers, answer = what
            else:
                status, headers, answer = self._passed_on(body)
            if what == "lose":
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def _passed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            asked = urllib.request.Request(state.server + self.path, body, dict(self.headers))
            try:
                with urllib.request.urlopen(asked) as answer:
                    encoding = answer.headers.get("Content-Encoding")
                    kept = {"Content-Encoding": encoding} if encoding else {}
                    return answer.status, kept, answer.read()
            except urllib.error.HTTPError as refused:
                with refused:
                    return refused.code, {}, refused.read()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        state.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield state
        finally:
            state.released.set()
            listening.shutdown()
            thread.join()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[SqlCatalog, str]]:
    """A catalog, and the address of its server."""
    opened = SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")
    try:
        with servers.in_thread(opened) as url:
            yield opened, url
    finally:
        opened.close()


@pytest.fixture
def middle(served: tuple[SqlCatalog, str]) -> Iterator[Between]:
    with between(served[1]) as state:
        yield state


@contextlib.contextmanager
def reached(url: str, token: str | None = None, seconds: float = 30.0) -> Iterator[Any]:
    opened = HttpCatalog(url, token, timeout_seconds=seconds)
    try:
        yield opened
    finally:
        opened.close()


HTML = {"Content-Type": "text/html"}


def test_every_verb_of_the_catalog_is_there() -> None:
    for name in verbs.VERBS:
        said, mine = getattr(catalog.Catalog, name), getattr(HttpCatalog, name)
        assert mine.__doc__ == said.__doc__
    assert not {n for n in vars(catalog.Catalog) if n[0] != "_"} - {n for n in vars(HttpCatalog)}


def test_what_got_no_answer_is_said_again_and_recorded_once(
    served: tuple[SqlCatalog, str], middle: Between
) -> None:
    with reached(middle.url) as opened:
        world = World(opened)
        middle.then = ["lose", (502, HTML, b"<html>Bad Gateway"), (503, {"Retry-After": "0"}, b""), "lose"]
        begun = world.begin(call := world.call())
        middle.then = ["lose", (504, HTML, b"")]
        finished = world.finish(world.report(call, {"model:m": b"1"}, begun.token))
        assert finished.publication.outcome is model.Outcome.ENTERED
    assert [fact.fact.verb for fact in served[0].facts()] == ["start", "finish"]
    assert [path for path, _, _ in middle.heard] == ["/v1/reserve"] * 5 + ["/v1/finish_runs"] * 3


def test_too_many_calls_wait_as_long_as_they_are_told(middle: Between) -> None:
    refused = verbs.encode_error(Unreachable("slowly", ErrorKind.TOO_MANY))
    with reached(middle.url) as opened:
        middle.then = [(429, {"Retry-After": "1"}, refused)]
        since = time.monotonic()
        opened.identity()
        assert time.monotonic() - since >= 1
        middle.then = [(429, {"Retry-After": "3600"}, refused)]
        with pytest.raises(Unreachable) as caught:
            opened.identity()
        assert caught.value.kind is ErrorKind.TOO_MANY


@pytest.mark.parametrize(
    "answer",
    [
        (200, HTML, b"<html>Welcome to the guest network"),
        (200, {}, b'{"answer": {"uid": 7}}'),
        (404, HTML, b"<html>Not Found"),
        (500, {}, b""),
        (302, {"Location": "https://elsewhere.example"}, b""),
        (200, {"Content-Encoding": "gzip"}, b"no gzip"),
    ],
    ids=lambda answer: f"{answer[0]} {answer[2][:12].decode()}",
)
def test_what_no_server_of_whence_would_answer_is_unreachable_and_names_the_address(
    middle: Between, answer: Any
) -> None:
    middle.then = [answer] * 6
    with reached(middle.url) as opened, pytest.raises(Unreachable, match=middle.url):
        opened.identity()


def test_a_server_that_answers_nobody_is_asked_once_until_it_answers(middle: Between) -> None:
    with reached(middle.url, seconds=0.3) as opened:
        middle.then = ["hang"] * 3
        for _ in range(3):
            with pytest.raises(Unreachable, match="no answer came in time"):
                opened.identity()
        assert len(middle.heard) == 3
        opened.identity()
        middle.then = ["lose"]
        opened.identity()
        assert len(middle.heard) == 6


def test_errors_are_those_that_the_catalog_raised(middle: Between) -> None:
    with reached(middle.url) as opened:
        with pytest.raises(errors.NotFound) as caught:
            opened.run("0" * 20)
        assert caught.value.kind is ErrorKind.NO_SUCH_RUN
        answers = opened.resolve([model.Reference.parse("model:nothing")])
        assert [type(answer) for answer in answers] == [errors.NotFound]
        newer = verbs.encode_error(NotReady("this server speaks protocols 7 to 9", ErrorKind.PROTOCOL))
        middle.then = [(426, {}, newer)]
        with pytest.raises(NotReady, match="protocols 7 to 9"):
            opened.identity()
    assert {headers["Whence-Protocol"] for _, headers, _ in middle.heard} == {str(verbs.PROTOCOL)}


def test_large_bodies_are_compressed_both_ways(middle: Between) -> None:
    with reached(middle.url) as opened:
        world = World(opened)
        calls = [world.plain_call(labels={"note": "x" * 100}) for _ in range(200)]
        opened.reserve(calls)
        assert middle.heard[-1][1]["Content-Encoding"] == "gzip"
        assert len(middle.heard[-1][2]) < 50_000
        assert {run.uid for run in opened.runs(limit=500)} == {call.run for call in calls}


def test_threads_share_few_connections_which_are_kept(middle: Between) -> None:
    with reached(middle.url) as opened, ThreadPoolExecutor(8) as pool:
        assert len({found.uid for found in pool.map(lambda _: opened.identity(), range(200))}) == 1
    assert middle.connections <= 8


def test_a_forked_child_has_connections_of_its_own(project: Project) -> None:
    with servers.process(project.url) as server:
        project.write("""
            catalog = whence.current().catalog
            def ask():
                for _ in range(50): assert catalog.identity() == known
            known = catalog.identity()
            children = []
            for _ in range(3):
                child = os.fork()
                if not child:
                    try: ask()
                    except BaseException: os._exit(1)
                    os._exit(0)
                children.append(child)
            ask()
            show([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
            """)
        blobs = (project.folder / "blobs").as_uri()
        assert project.run(WHENCE_URL=server.url, WHENCE_BLOBS=blobs) == [0, 0, 0]

"""The catalog over HTTP, when all goes well and when it does not."""

import contextlib
import http.server
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import whence
from tests import servers
from tests.conftest import Project
from tests.simulator import World
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
    assert not {n for n in dir(catalog.Catalog) if n[0] != "_"} - set(vars(HttpCatalog))


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


# ── who calls ────────────────────────────────────────────────────────────────────────────────────


def test_the_token_is_said_to_the_server_and_to_nobody_else(
    middle: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str | None:
        return middle.heard[-1][1].get("Authorization")

    with reached(middle.url, "secret-1") as opened:
        opened.identity()
        assert said() == "Bearer secret-1"
        assert "secret" not in repr(opened)
    with reached(middle.url) as opened:
        opened.identity()
        assert said() is None
        file = tmp_path / "token"
        file.write_text("secret-2\n")
        monkeypatch.setenv("WHENCE_TOKEN_FILE", str(file))
        opened.identity()
        assert said() == "Bearer secret-2"
        file.write_text("secret-3\n")  # whoever gives tokens replaces them
        opened.identity()
        assert said() == "Bearer secret-3"
        monkeypatch.setenv("WHENCE_TOKEN", "secret-4")
        opened.identity()
        assert said() == "Bearer secret-4"
        monkeypatch.setenv("WHENCE_TOKEN", "secret 5")
        with pytest.raises(InvalidInput) as caught:
            opened.identity()
        assert "secret" not in str(caught.value)
        monkeypatch.delenv("WHENCE_TOKEN")
        file.unlink()
        with pytest.raises(NotReady, match="WHENCE_TOKEN_FILE"):
            opened.identity()


def test_a_client_hands_on_a_token_only_where_the_environment_gave_it(
    middle: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = (tmp_path / "blobs").as_uri()
    with contextlib.closing(
        whence.connecting.open_client(middle.url, blobs_url=blobs, token="secret")
    ) as client:
        assert "secret" not in str(client.env)
        monkeypatch.setenv("WHENCE_TOKEN", "told")
        assert client.env["WHENCE_TOKEN"] == "told"


def test_whom_the_server_does_not_know_is_told_so(tmp_path: Path) -> None:
    opened = SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")
    with (
        contextlib.closing(opened),
        servers.in_thread(opened, authentication="tokens") as url,
        reached(url) as nobody,
        pytest.raises(Denied) as caught,
    ):
        nobody.identity()
    assert caught.value.kind is ErrorKind.UNAUTHENTICATED


# ── connecting ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://host:port",
        "https://user:word@host",
        "https://host/?a=b",
        "ftp://host",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        whence.connecting.open_client(url, blobs_url=(tmp_path / "blobs").as_uri())
    assert "word" not in str(caught.value)


def test_bytes_go_where_the_environment_says_else_where_the_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")
    offered, own = (tmp_path / "offered").as_uri(), (tmp_path / "own").as_uri()
    with contextlib.closing(opened):
        with servers.in_thread(opened, blobs=offered) as url:
            with contextlib.closing(whence.connecting.open_client(url)) as client:
                assert client.blobs.url == offered
            monkeypatch.setenv("WHENCE_BLOBS", own)
            with contextlib.closing(whence.connecting.open_client(url)) as client:
                assert client.blobs.url == own
            monkeypatch.delenv("WHENCE_BLOBS")
        with (
            servers.in_thread(opened, url="postgresql://elsewhere/whence") as url,
            pytest.raises(NotReady, match="WHENCE_BLOBS"),
        ):
            whence.connecting.open_client(url)


@pytest.mark.parametrize("url", ["http://me.invalid", "postgresql://me:hunter2@127.0.0.1:1/whence"])
def test_without_a_place_for_bytes_the_error_names_the_setting(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHENCE_TIMEOUT", "0.2")
    with pytest.raises((NotReady, Unreachable), match="WHENCE_BLOBS") as caught:
        whence.connecting.open_client(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_connecting_to_nobody_does_not_fail_and_steps_run(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHENCE_TIMEOUT", "0.5")
    monkeypatch.setenv("WHENCE_OUTBOX", str(tmp_path / "outbox"))
    url = f"{scheme}://me:hunter2@127.0.0.1:1/whence" if scheme == "postgresql" else "http://127.0.0.1:1"
    client = whence.connecting.open_client(url, blobs_url=(tmp_path / "blobs").as_uri())
    with contextlib.closing(client):
        with client.run("note") as run:
            made = run.publish("model:m", b"1")
        assert made.number == 0
        assert made.ref == f"model:m@{made.digest}"
        with pytest.raises(Unreachable):
            client.get("model:m")
    kept = [path.read_text() for path in (tmp_path / "outbox").glob("*/*.json")]
    assert len(kept) == 3
    assert "hunter2" not in str(kept)


# ── a step ───────────────────────────────────────────────────────────────────────────────────────


def test_steps_are_reused_over_http_also_from_asyncio(project: Project) -> None:
    project.write("""
        import asyncio

        @whence.step(version="1")
        async def square(n: int):
            mark(f"square-{n}")
            await asyncio.sleep(0)
            return n * n

        async def every():
            return await asyncio.gather(*(square(n) for n in range(20)))
        show(asyncio.run(every()))
        """)
    with servers.process(project.url) as server:
        environment = {"WHENCE_URL": server.url, "WHENCE_BLOBS": (project.folder / "blobs").as_uri()}
        assert project.run(**environment) == [n * n for n in range(20)]
        assert len(project.executed()) == 20
        assert project.run(**environment) == [n * n for n in range(20)]
        assert project.executed() == []
    assert {run.state for run in project.client.catalog.runs(limit=100)} == {
        model.RunState.COMPLETE,
        model.RunState.REUSED,
    }


def test_a_start_whose_answer_is_lost_is_not_left_running_nor_reused_and_executed_at_once(
    served: tuple[SqlCatalog, str], middle: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHENCE_OUTBOX", str(tmp_path / "outbox"))
    catalog = served[0]
    client = whence.connecting.open_client(middle.url, blobs_url=(tmp_path / "blobs").as_uri())
    with contextlib.closing(client):
        world = World(client.catalog)
        for known in (False, True):
            call = world.call(c=str(known))
            if known:
                world.finish(world.report(call, {"model:m": b"1"}, world.begin(call).token))
                call = world.call(c=str(known))
            middle.then = ["lose"] * 6
            answer = client.writer.reserve(call)
            assert isinstance(answer, cache.Execute)
            assert (answer.reason, answer.token) == (cache.Reason.UNREACHABLE, None)
            assert answer.run is not None
            client.writer.finish(world.report(call, {"model:m": b"2"}, run=answer.run.uid))
            middle.then = []
            assert client.writer.flush()[1].stopped is None
            first, second = catalog.run(str(call.run)).run, catalog.run(str(answer.run.uid)).run
            assert (second.state, second.outcome) == (model.RunState.COMPLETE, "none")
            assert first.state is (model.RunState.REUSED if known else model.RunState.ABORTED)
    assert catalog.runs(states=[model.RunState.RUNNING]) == []
    assert catalog.check().problems == ()


def test_while_nobody_answers_steps_do_not_ask_again_and_again(
    middle: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHENCE_OUTBOX", str(tmp_path / "outbox"))
    monkeypatch.setenv("WHENCE_TIMEOUT", "0.5")
    client = whence.connecting.open_client(middle.url, blobs_url=(tmp_path / "blobs").as_uri())
    middle.then = ["hang"] * 1000
    with contextlib.closing(client):
        for n in range(100):
            with client.run(f"note {n}"):
                pass
        asked = len(middle.heard)
        middle.then = []
        client.writer.flush()
    # One that waited for its answer, and whatever a thread tried since, which nobody waits for.
    assert asked < 20
    assert (
        len(
            {path for path, _, _ in middle.heard[:asked]}
            - {"/v1/reserve", "/v1/projects_of", "/v1/record_runs"}
        )
        == 0
    )

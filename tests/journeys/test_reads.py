"""What a step touches while it runs is told with its Run: by steps that touch things."""

import asyncio
import contextvars
import copy
import json
import multiprocessing
import os
import pickle
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

import whence
from tests.conftest import Project
from tests.interpreters import interpreters
from whence import reads, recorder
from whence.client import Client
from whence_catalog import observation
from whence_catalog.errors import InvalidInput
from whence_catalog.model import Observed, Run, Watching


def run_of(client: Client, name: str) -> Run:
    return next(run for run in client.catalog.runs() if run.job.endswith(name))


def seen(client: Client, name: str = "touch") -> Observed:
    """What the last Run of that name was seen to touch."""
    found = client.catalog.run(str(run_of(client, name).uid)).observed
    assert found is not None
    return found


def touching(
    client: Client, work: Callable[[], object], how: Literal["note", "strict", "off"] | None = None
) -> Observed:
    """What a step that does `work` is seen to touch."""

    @whence.step(name="touch", version="1", cache="record", reads=how)
    def touch() -> None:
        work()

    touch()
    return seen(client)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file that no step was given."""
    path = tmp_path / "data.csv"
    path.write_text("1,2\n")
    return path


# ── files ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "read",
    [
        lambda path: path.read_text(),
        lambda path: open(os.fsencode(path)).close(),
        lambda path: os.close(os.open(path, os.O_RDONLY)),
        lambda path: shutil.copyfile(path, f"{path}.copy"),
        lambda path: os.rename(path, f"{path}.moved"),
        lambda path: (os.symlink(path, f"{path}.link"), open(f"{path}.link").close()),
        lambda path: (os.link(path, f"{path}.link"), open(f"{path}.link").close()),
        lambda path: open(path, "r+").close(),
        lambda path: open(f"{path.parent}//./{path.name}").close(),
    ],
)
def test_a_file_that_is_read_is_told(client: Client, data: Path, read: Callable[[Path], object]) -> None:
    assert touching(client, lambda: read(data)).files == (str(data),)


def test_a_relative_path_is_of_the_folder_that_the_step_was_in_when_it_opened_it(
    client: Client, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").touch()
    before = Path.cwd()

    def work() -> None:
        for name in ("one", "two"):
            os.chdir(tmp_path / name)
            open("a").close()

    try:
        found = touching(client, work).files
    finally:
        os.chdir(before)
    assert found == (str(tmp_path / "one" / "a"), str(tmp_path / "two" / "a"))


def test_a_file_that_was_not_there_is_told_too(client: Client, tmp_path: Path) -> None:
    def work() -> None:
        with pytest.raises(FileNotFoundError):
            (tmp_path / "settings.toml").open()

    assert touching(client, work).files == (str(tmp_path / "settings.toml"),)


def test_a_folder_that_is_listed_is_told(client: Client, data: Path) -> None:
    folder = f"{data.parent}/"
    assert touching(client, lambda: os.listdir(data.parent)).files == (folder,)
    assert touching(client, lambda: list(data.parent.glob("*.csv"))).files == (folder,)


def test_a_database_that_is_opened_is_told(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    # One that is new is so because nothing lay there.
    assert touching(client, lambda: sqlite3.connect(path).close()).files == (str(path),)
    path.write_bytes(b"")
    assert touching(client, lambda: sqlite3.connect(path).close()).files == (str(path),)
    uri = f"file:{path}?mode=ro"
    assert touching(client, lambda: sqlite3.connect(uri, uri=True).close()).files == (str(path),)
    assert touching(client, lambda: sqlite3.connect(":memory:").close()).files == ()


def test_what_the_step_made_itself_is_not_told(client: Client, tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "a").write_text("x")
        os.replace(tmp_path / "a", tmp_path / "b")
        (tmp_path / "b").read_text()
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(f"{folder}/inside")
            Path(folder, "inside", "c").write_text("x")
            shutil.copytree(folder, tmp_path / "copied")
            Path(folder, "inside", "c").read_text()
            os.listdir(tmp_path / "copied")
        with tempfile.TemporaryFile() as file:
            file.write(b"x")

    found = touching(client, work)
    assert found.files == ()
    assert not [spot for spot in found.blind_spots if "native readers" not in spot]


def test_what_was_there_before_the_step_wrote_to_it_is_told(client: Client, data: Path) -> None:
    def work() -> None:
        with open(data, "a") as file:
            file.write("x")
        data.read_text()

    assert touching(client, work).files == (str(data),)
    # Read, and only then written.
    assert touching(client, lambda: (data.read_text(), data.write_text("y"))).files == (str(data),)
    # What it moves into a folder of its own is no more its own for that.
    assert touching(
        client, lambda: (os.mkdir(data.parent / "own"), os.rename(data, data.parent / "own" / "d"))
    ).files == (str(data),)


def test_what_the_key_stands_for_is_not_told(client: Client, data: Path) -> None:
    images = client.publish("dataset:images", data)

    @whence.step
    def covered(images: whence.Handle, path: Path) -> None:
        import wave  # noqa: F401 - of Python's own library

        images.path.read_text()
        path.read_text()
        Path(sys.executable).open("rb").close()

    covered(images, data)
    assert seen(client, "covered") == Observed(Watching.NOTE, blind_spots=seen(client, "covered").blind_spots)


def test_source_that_is_in_the_key_is_not_told_and_other_source_is(project: Project) -> None:
    project.write("def helped(): return 1", "helping.py")
    project.write("def unused(): return 1", "unused.py")
    project.write(
        """
        from helping import helped

        @whence.step
        def touch():
            open("helping.py").close()
            open("unused.py").close()
            return helped()

        if __name__ == "__main__":
            touch()
        """
    )
    project.run()
    assert seen(project.client).files == ("unused.py",)


def test_a_long_list_is_cut_and_counted(client: Client, tmp_path: Path) -> None:
    for number in range(Observed.MOST + 3):
        (tmp_path / f"{number:04}").touch()
    found = touching(client, lambda: [path.read_text() for path in tmp_path.glob("0*")])
    assert len(found.files) == Observed.MOST
    assert found.more == {"files": 4}  # and the folder


# ── network, programs, variables ─────────────────────────────────────────────────────────────────


def test_a_connection_is_told(client: Client, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = touching(client, lambda: socket.create_connection(("127.0.0.1", port)).close())
    assert found.sockets == (f"127.0.0.1:{port}",)
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def work() -> None:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(path)

        assert touching(client, work).sockets == (f"unix:{path}",)


def test_what_listens_and_what_sends_is_told(client: Client) -> None:
    def work() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            one.sendto(b"x", ("127.0.0.1", 9))

    assert touching(client, work).sockets == ("127.0.0.1:9", "listening at 127.0.0.1:0")


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (lambda: subprocess.run(["true"], check=True), "true"),
        (lambda: os.system("PGPASSWORD=hunter2 true # it is"), "true"),
        (lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0), "/bin/true"),
        (lambda: asyncio.run(_starts("true")), "true"),
    ],
)
def test_a_program_is_told_and_that_its_reads_were_not_seen(
    client: Client, start: Callable[[], object], told: str
) -> None:
    found = touching(client, start)
    assert found.subprocesses == (told,)
    assert "programs were started: what they read was not seen" in found.blind_spots


async def _starts(program: str) -> None:
    started = await asyncio.create_subprocess_exec(program)
    await started.wait()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_of_multiprocessing_is_told(client: Client, method: Literal["fork", "spawn"]) -> None:
    def work() -> None:
        child = multiprocessing.get_context(method).Process(target=int)
        child.start()
        child.join()

    assert "multiprocessing" in touching(client, work).subprocesses


def test_a_child_that_is_forked_is_told_and_its_own_reads_are_its_own(client: Client, data: Path) -> None:
    def work() -> None:
        child = os.fork()
        if not child:
            try:
                data.read_text()
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    found = touching(client, work)
    assert (found.files, found.subprocesses) == ((), ("fork",))


@pytest.mark.parametrize(
    "read",
    [
        lambda: os.environ["COLOUR"],
        lambda: os.getenv("COLOUR"),
        lambda: os.environ.get("COLOUR", "x"),
        lambda: "COLOUR" in os.environ,
        lambda: os.environb[b"COLOUR"],
        lambda: os.getenvb(b"COLOUR"),
        lambda: os.path.expandvars("$COLOUR"),
    ],
)
def test_a_variable_that_is_read_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch, read: Callable[[], object]
) -> None:
    monkeypatch.setenv("COLOUR", "blue")
    found = touching(client, read)
    assert "COLOUR" in found.variables or found.variables == (observation.ALL_VARIABLES,)


def test_whoever_goes_through_all_variables_has_read_all(client: Client) -> None:
    everything = (observation.ALL_VARIABLES,)
    assert touching(client, lambda: os.environ.copy()).variables == everything
    assert touching(client, lambda: {**os.environ}).variables == everything
    assert touching(client, lambda: list(os.environ.items())).variables == everything


def test_a_variable_that_the_step_set_is_its_own(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLOUR", raising=False)

    def work() -> None:
        os.environ["COLOUR"] = "red"
        assert os.environ["COLOUR"] == "red"
        del os.environ["COLOUR"]

    assert touching(client, work).variables == ()


def test_the_environment_answers_as_ever_while_it_tells(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLOUR", "blue")
    environ, kind, everything = os.environ, type(os.environ), dict(os.environ)

    def work() -> None:
        assert os.environ is environ
        assert isinstance(os.environ, kind)
        assert repr(type(os.environ)) == repr(kind)
        assert dict(os.environ) == everything == os.environ.copy()
        assert repr(os.environ).startswith("environ({")
        assert len(os.environ) == len(everything)
        assert os.environ | {"x": "y"} == everything | {"x": "y"}
        with pytest.raises(KeyError, match="NO_SUCH"):
            os.environ["NO_SUCH"]
        with pytest.raises(TypeError, match="str expected"):
            os.environ[1]  # type: ignore[index]
        os.environ["COLOUR"] = "red"
        shown = subprocess.run(["printenv", "COLOUR"], capture_output=True, text=True, check=True).stdout
        assert shown == "red\n"
        assert os.environb[b"COLOUR"] == b"red"
        assert copy.copy(os.environ)["COLOUR"] == "red"
        with pytest.raises((AttributeError, pickle.PicklingError)):  # as ever
            pickle.dumps(os.environ)
        assert os.environ.pop("COLOUR") == "red"
        assert os.environ.setdefault("COLOUR", "green") == "green"

    touching(client, work)
    assert (os.environ, type(os.environ)) == (environ, kind)
    assert os.environ["COLOUR"] == "green"


# ── whose it is ──────────────────────────────────────────────────────────────────────────────────


def test_a_thread_belongs_to_the_only_step(client: Client, data: Path) -> None:
    def work() -> None:
        thread = threading.Thread(target=data.read_text)
        thread.start()
        thread.join()

    assert touching(client, work).files == (str(data),)


def test_a_pool_that_was_there_before_belongs_to_the_only_step(client: Client, data: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        assert touching(client, lambda: pool.submit(data.read_text).result()).files == (str(data),)


def test_two_steps_at_once_are_told_apart(client: Client, tmp_path: Path) -> None:
    meet = threading.Barrier(2)
    for name in ("one", "two"):
        (tmp_path / name).touch()

    @whence.step(version="1", cache="record")
    def touch(name: str) -> None:
        meet.wait(30)
        (tmp_path / name).read_text()
        meet.wait(30)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(touch, ["one", "two"]))
    runs = [client.catalog.run(str(run.uid)) for run in client.catalog.runs()]
    found = {str(record.run.params["name"]): record.observed for record in runs}
    for name in ("one", "two"):
        observed = found[name]
        assert observed is not None
        assert observed.files == (str(tmp_path / name),)


def test_what_no_one_step_can_have_done_is_a_blind_spot_of_all(client: Client, data: Path) -> None:
    meet = threading.Barrier(2)

    @whence.step(version="1", cache="record")
    def touch(number: int) -> None:
        meet.wait(30)
        if number:
            thread = threading.Thread(target=data.read_text)
            thread.start()
            thread.join()
        meet.wait(30)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(touch, [0, 1]))
    for run in client.catalog.runs():
        found = client.catalog.run(str(run.uid)).observed
        assert found is not None
        told = f"in threads or tasks of no one run: it read files that are no inputs: {data}"
        assert (found.files, told in found.blind_spots) in {((), True), ((str(data),), False)}
        if sys.version_info < (3, 14):  # from then on, a thread may have the context of its maker
            assert found.files == ()


def test_tasks_of_one_loop_are_told_apart(client: Client, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).touch()

    @whence.step(version="1", cache="record")
    async def touch(name: str) -> None:
        await asyncio.sleep(0)
        await asyncio.gather(asyncio.to_thread((tmp_path / name).read_text), asyncio.sleep(0))

    async def both() -> None:
        await asyncio.gather(touch("one"), touch("two"))

    asyncio.run(both())
    for run in client.catalog.runs():
        found = client.catalog.run(str(run.uid)).observed
        assert found is not None
        assert found.files == (str(tmp_path / str(run.params["name"])),)


def test_another_task_of_the_loop_is_not_the_step(client: Client, data: Path) -> None:
    @whence.step(version="1", cache="record")
    async def touch(begun: asyncio.Event, done: asyncio.Event) -> None:
        begun.set()
        await done.wait()

    async def program() -> None:
        begun, done = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(touch(begun, done), context=contextvars.Context())
        await begun.wait()
        data.read_text()
        done.set()
        await task

    asyncio.run(program())
    found = seen(client)
    assert found.files == ()
    assert any(str(data) in spot for spot in found.blind_spots)


def test_what_a_step_within_touches_is_part_of_what_the_outer_one_did(client: Client, data: Path) -> None:
    @whence.step(version="1")
    def inner() -> int:
        return len(data.read_text())

    @whence.step(version="1")
    def outer() -> int:
        return inner()

    outer()
    assert seen(client, "inner").files == seen(client, "outer").files == (str(data),)

    @whence.step(version="2")
    def other() -> int:
        return inner()

    other()
    assert run_of(client, "inner").origin is not None
    (spot,) = [spot for spot in seen(client, "other").blind_spots if "reused" in spot]
    assert "inner" in spot


def test_a_step_that_raises_is_told_of_too(client: Client, data: Path) -> None:
    def work() -> None:
        data.read_text()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        touching(client, work)
    assert seen(client).files == (str(data),)


def test_a_block_is_watched(client: Client, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with client.run("touch"):
        data.read_text()
    assert seen(client).files == (str(data),)
    monkeypatch.setenv(reads.VARIABLE, "off")
    with client.run("touch"):
        data.read_text()
    assert seen(client) == observation.not_watched()


def test_what_whence_does_in_a_step_is_not_the_steps(client: Client, data: Path) -> None:
    images = client.publish("dataset:images", data)

    def work() -> None:
        active = recorder.current()
        assert active is not None
        active.publish("file:copy", data)
        active.log(loss=1.0)
        active.flush()
        whence.get(images.ref).path.read_text()

    found = touching(client, work)
    assert (found.files, found.sockets, found.subprocesses, found.variables) == ((), (), (), ())


@pytest.mark.parametrize(
    "go_on",
    [
        lambda path: open(path, "a+").close(),
        lambda path: os.close(os.open(path, os.O_RDWR | os.O_CREAT)),
        lambda path: [open(path, "a").close(), open(path).close()],
    ],
    ids=["a+", "O_RDWR", "a and read"],
)
def test_a_file_that_is_gone_on_in_is_read_even_if_there_was_none(
    client: Client, tmp_path: Path, go_on: Callable[[Path], object]
) -> None:
    # With something in it, the step would have made something else.
    path = tmp_path / "log.txt"
    assert touching(client, lambda: go_on(path)).files == (str(path),)


# ── strict, note, off ────────────────────────────────────────────────────────────────────────────

STRICT = """
@whence.step(reads="strict", variables=["MARKS"])
def clean(n):
    mark("clean")
    return n

@whence.step(reads="strict", variables=["MARKS"])
def dirty(n):
    mark("dirty")
    {touch}
    return n

if __name__ == "__main__":
    show([clean(1), dirty(1)])
"""


@pytest.mark.parametrize(
    ("touch", "told"),
    [
        ("open('data.csv').read()", "it read files that are no inputs: data.csv"),
        ("os.environ.get('COLOUR')", "it read environment variables: COLOUR"),
        ("os.system('true')", "it started programs: true"),
        ("import pyarrow", "native readers loaded: pyarrow"),
    ],
)
def test_strict_reuses_nothing_of_a_step_that_touched_something(
    project: Project, touch: str, told: str
) -> None:
    (project.folder / "data.csv").write_text("x")
    project.write(STRICT.format(touch=touch))
    assert (project.run(), project.executed()) == ([1, 1], ["clean", "dirty"])
    assert (project.run(), project.executed()) == ([1, 1], ["dirty"])
    run = run_of(project.client, "dirty")
    assert run.state == "complete"
    assert any(told in text for text in run.warnings), run.warnings


def test_noted_reads_are_reused_and_strict_takes_nothing_that_was_only_noted(
    project: Project,
) -> None:
    (project.folder / "data.csv").write_text("x")
    script = project.write(STRICT.format(touch="open('data.csv').read()").replace("strict", "note"))
    assert (project.run(), project.executed()) == ([1, 1], ["clean", "dirty"])
    assert (project.run(), project.executed()) == ([1, 1], [])
    script.write_text(script.read_text().replace("note", "strict"))
    assert (project.run(), project.executed()) == ([1, 1], ["clean", "dirty"])


def test_off_has_no_hook_and_the_environment_is_as_it_was(project: Project) -> None:
    project.write(
        """
        from whence import reads, recorder

        @whence.step
        def look():
            open("data.csv").close()
            show([type(os.environ) is os._Environ, reads.has_hook()])

        if __name__ == "__main__":
            look()
        """
    )
    (project.folder / "data.csv").touch()
    assert project.run(WHENCE_READS="off") == [True, False]
    (run,) = project.client.catalog.runs()
    assert project.client.catalog.run(str(run.uid)).observed == observation.not_watched()
    assert project.run(WHENCE_READS="note", WHENCE_CACHE="record") == [False, True]


def test_a_way_of_watching_that_there_is_not_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match="it is one of note, strict, off"):
        whence.step(reads="often")  # type: ignore[call-overload]
    monkeypatch.setenv(reads.VARIABLE, "often")
    with pytest.raises(InvalidInput, match="WHENCE_READS is 'often'"):
        touching(client, int)


# ── the hook does no harm ────────────────────────────────────────────────────────────────────────


class Hostile:
    """A path that says another thing each time, and at last raises."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = 0

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    def __fspath__(self) -> str:
        return str(self.path)


def test_what_cannot_be_noted_breaks_nothing_and_is_a_blind_spot(client: Client, data: Path) -> None:
    found: list[str] = []

    def work() -> None:
        with open(Hostile(data)) as file:
            found.append(file.read())
        sys.audit("open", Hostile(data), "r", 0)
        sys.audit("open")
        sys.audit("socket.connect", 1)
        sys.audit("subprocess.Popen")

    observed = touching(client, work)
    assert found == ["1,2\n"]
    assert "4 events could not be noted" in observed.blind_spots


def test_a_step_at_the_end_of_the_stack_goes_on(client: Client, data: Path) -> None:
    def deep() -> int:
        try:
            return deep() + 1
        except RecursionError:
            return 0

    def work() -> None:
        assert deep() > 100
        data.read_text()

    assert touching(client, work).files == (str(data),)


def test_an_interrupt_in_the_hook_is_the_programs(client: Client) -> None:
    class Interrupting:
        def __hash__(self) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        touching(client, lambda: sys.audit("open", Interrupting(), "r", 0))
    assert run_of(client, "touch").state == "aborted"


def test_another_hook_that_refuses_ours_leaves_a_blind_spot(project: Project) -> None:
    project.write(
        """
        def refuse(event, args):
            if event == "sys.addaudithook":
                raise RuntimeError("no more hooks")

        @whence.step
        def touch():
            open("data.csv").close()

        if __name__ == "__main__":
            sys.addaudithook(refuse)
            touch()
        """
    )
    (project.folder / "data.csv").touch()
    project.run()
    found = seen(project.client)
    assert found.files == ()
    assert any("tells no events" in spot for spot in found.blind_spots)


def test_the_interpreter_ends_in_silence(project: Project) -> None:
    project.write(
        """
        import threading

        class Late:
            def __del__(self):
                open("data.csv").close()
                os.environ.get("COLOUR")

        kept = Late()
        sys.kept = Late()

        @whence.step
        def touch():
            def forever():
                while True:
                    open("data.csv").close()
            threading.Thread(target=forever, daemon=True).start()

        if __name__ == "__main__":
            touch()
        """
    )
    (project.folder / "data.csv").touch()
    process = project.start()
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")


def test_threads_that_open_at_once_lose_nothing(client: Client, tmp_path: Path) -> None:
    many = 8 * 700  # more than is kept before it is looked at
    folder = tmp_path / "many"
    folder.mkdir()

    def work() -> None:
        def read(start: int) -> None:
            for number in range(start, many, 8):
                try:
                    (folder / str(number)).read_text()
                except FileNotFoundError:
                    continue

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read, range(8)))

    found = touching(client, work)
    assert len(found.files) + found.more["files"] == many


@pytest.fixture(autouse=True)
def _nothing_is_watched_afterwards() -> Iterator[None]:
    yield
    assert type(os.environ) is os._Environ
    assert not reads._watches


def test_every_python_tells_the_same(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    (tmp_path / "a").touch()
    (tmp_path / "late").touch()
    (tmp_path / "folder").mkdir()
    for python in interpreters():
        (tmp_path / "made").unlink(missing_ok=True)
        done = subprocess.run(
            [python, str(Path(__file__).with_name("watched.py")), str(root / "sdk"), str(root / "catalog")],
            cwd=tmp_path,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, ""), python
        found = json.loads(done.stdout)
        assert found["files"] == ["a", "folder/"], python
        assert found["sockets"] == ["127.0.0.1:9"], python
        assert len(found["subprocesses"]) == 1, python
        assert "COLOUR" in found["variables"], python

"""Whatever is wrong is said in words that help, under a kind that programs can rely on, and loses nothing."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import whence
from tests.conftest import Project
from whence import connecting
from whence.client import Client
from whence_catalog.errors import (
    Conflict,
    Denied,
    ErrorKind,
    InvalidInput,
    NotFound,
    NotReady,
    Unreachable,
    WhenceError,
)

NOBODY = 65534


@pytest.fixture
def stocked(client: Client) -> Client:
    client.publish("dataset:images", [1])
    client.publish("dataset:images", [2])
    client.publish("model:detector", b"weights")
    client.alias("model:detector@1", "prod")
    return client


@pytest.mark.parametrize(
    ("reference", "error", "kind", "says"),
    [
        ("images", InvalidInput, ErrorKind.BAD_REFERENCE, "expected .*kind:name.* for example"),
        ("dataset:", InvalidInput, ErrorKind.BAD_REFERENCE, "not a reference"),
        ("dataset:images@", InvalidInput, ErrorKind.BAD_REFERENCE, "not a reference"),
        ("dataset:images@0", InvalidInput, ErrorKind.BAD_REFERENCE, "they start at 1"),
        ("dataset:50%", InvalidInput, ErrorKind.BAD_REFERENCE, "% is written %25"),
        ("Data Set:images", InvalidInput, ErrorKind.BAD_NAME, "not a kind.*lower-case"),
        ("dataset:a\nb", InvalidInput, ErrorKind.BAD_NAME, "control characters"),
        ("dataset:\ud800", InvalidInput, ErrorKind.BAD_NAME, "UTF-8"),
        ("a:b/dataset:x", NotFound, ErrorKind.NO_SUCH_ARTIFACT, "no artifact a:b/dataset:x"),
        ("/dataset:x", InvalidInput, ErrorKind.BAD_NAME, "not a project name"),
        ("dataset:images@sha256:12", InvalidInput, ErrorKind.BAD_DIGEST, "not a digest"),
        ("dataset:image", NotFound, ErrorKind.NO_SUCH_ARTIFACT, "dataset:images"),
        ("model:detectr@prod", NotFound, ErrorKind.NO_SUCH_ARTIFACT, "model:detector"),
        ("dataset:images@7", NotFound, ErrorKind.NO_SUCH_VERSION, "dataset:images"),
        ("model:detector@prd", NotFound, ErrorKind.NO_SUCH_ALIAS, "prod"),
        (f"dataset:images@sha256:{'0' * 64}", NotFound, ErrorKind.NO_SUCH_VERSION, "dataset:images"),
    ],
)
def test_what_is_no_reference_or_means_nothing_is_said(
    stocked: Client, reference: str, error: type[WhenceError], kind: ErrorKind, says: str
) -> None:
    with whence.run("train") as run:
        for call in (whence.get, run.use):
            with pytest.raises(error, match=f"(?s){says}") as refused:
                call(reference)
            assert refused.value.kind is kind
    assert stocked.catalog.runs(limit=1)[0].state == "complete", "and the run goes on"


@pytest.mark.parametrize("name", ["latest", "7", "sha256:x", "", "a/b", "a\tb"])
def test_what_already_selects_a_version_is_no_alias(stocked: Client, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        whence.alias("model:detector@1", name)
    assert refused.value.kind is ErrorKind.BAD_NAME


def test_an_alias_that_moved_meanwhile_is_a_conflict(stocked: Client) -> None:
    with pytest.raises(Conflict, match="prod") as refused:
        whence.alias("model:detector@1", "prod", expected=0)
    assert refused.value.kind is ErrorKind.ALIAS_MOVED


def test_a_bad_name_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidInput, match="not a kind"):
        whence.artifact("No Kind", "x", b"")
    with pytest.raises(InvalidInput, match="control characters"):
        whence.model("a\nb", b"")


@pytest.mark.parametrize(
    "name", ["a b", "ä/ö", "-rf", "%", "50%25", "at@home", "x" * 500, "日本", "'; DROP TABLE run"]
)
def test_odd_names_of_artifacts_are_names(client: Client, name: str) -> None:
    made = client.publish(str(whence.client.model.Artifact("default", "dataset", name)), [1])
    assert made.name == name
    assert client.get(made.ref).digest == made.digest


@pytest.mark.parametrize(
    "name", ["a b", "-rf", "new\nline", "%41", "ä", "a\u0308", "CON", ".hidden", "x" * 255, "a'b\"c`"]
)
def test_odd_names_of_files_come_back(client: Client, tmp_path: Path, name: str) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    file = tmp_path / "in" / "deep" / name
    file.write_bytes(name.encode())
    alone, within = client.publish("file:one", file), client.publish("file:tree", tmp_path / "in")
    assert alone.path.name == name
    assert alone.path.read_bytes() == name.encode()
    assert [path.name for path in (within.path / "deep").iterdir()] == [name]
    target = tmp_path / "out"
    client.blobs.copy_tree(within.version.digest, target)
    assert (target / "deep" / name).read_bytes() == name.encode()


def test_a_file_name_that_is_no_text_is_refused(client: Client, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/\xff.bin"))
    file.write_bytes(b"x")
    for path in (file, tmp_path / "in"):
        with pytest.raises(InvalidInput, match="UTF-8") as refused:
            client.publish("file:x", path)
        assert refused.value.kind is ErrorKind.BAD_PATH
    assert not client.catalog.artifacts()


def test_files_that_cannot_be_taken_say_why(client: Client, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    cases: list[tuple[str, type[WhenceError], ErrorKind, str]] = [
        ("absent", NotFound, ErrorKind.NO_SUCH_FILE, "no such file or folder: .*absent"),
        ("gone", NotFound, ErrorKind.NO_SUCH_FILE, "no such file or folder: .*gone"),
        ("loop", InvalidInput, ErrorKind.BAD_PATH, "loop: Too many levels of symbolic links"),
        ("pipe", InvalidInput, ErrorKind.BAD_PATH, "pipe is not a file"),
    ]
    for name, target, says in (
        ("escape", "/etc/hostname", "leads out of the folder"),
        ("broken", "nothing", "leads nowhere"),
        ("round", "..", "leads"),
    ):
        folder = tmp_path / name
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "link").symlink_to(target)
        cases.append((name, InvalidInput, ErrorKind.BAD_PATH, f"the link deep/link {says}"))
    for name, error, kind, says in cases:
        with pytest.raises(error, match=says) as refused:
            client.publish("file:x", tmp_path / name)
        assert refused.value.kind is kind, name
    assert not client.catalog.artifacts()
    assert client.catalog.check().problems == ()


def test_a_link_inside_a_folder_counts_as_what_it_leads_to(client: Client, tmp_path: Path) -> None:
    for name in ("linked", "plain"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(b"a")
    (tmp_path / "linked" / "b").symlink_to("a")
    (tmp_path / "plain" / "b").write_bytes(b"a")
    one, other = (client.publish(f"file:{name}", tmp_path / name) for name in ("linked", "plain"))
    assert one.digest == other.digest


# ── as somebody who may not ──────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to everything: in a child process, since ids are of a process."""
    if os.getuid() == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
            os.setegid(0)


@pytest.fixture
def open_tmp(tmp_path: Path) -> Path:
    """A folder that anybody can reach: pytest's own are closed to others."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/tmp"):
            with contextlib.suppress(PermissionError):
                folder.chmod(0o755)
    return tmp_path


def test_a_file_that_may_not_be_read_is_denied(open_tmp: Path) -> None:
    (open_tmp / "mine").mkdir()
    (open_tmp / "mine").chmod(0o777)
    secret, closed = open_tmp / "secret", open_tmp / "closed"
    secret.write_bytes(b"x")
    (closed / "deep").mkdir(parents=True)
    secret.chmod(0)
    closed.chmod(0)

    @whence.step(version="1")
    def look(path: Path) -> int:
        return 1

    connecting.connect(open_tmp / "roots")
    look(secret)  # root may; and all that this imports is there, which nobody may read
    connecting.current().close()
    with as_nobody():
        client = connecting.connect(open_tmp / "mine" / "catalog")
        for path in (secret, closed, closed / "deep"):
            with pytest.raises(Denied, match="no permission for") as refused:
                client.publish("file:x", path)
            assert refused.value.kind is ErrorKind.PERMISSION
        assert look(secret) == 1
        assert "no permission for" in client.catalog.runs(limit=1)[0].warnings[0]
        client.close()
    closed.chmod(0o755)


def test_a_catalog_that_may_not_be_written_refuses_every_write_and_says_so(open_tmp: Path) -> None:
    url = open_tmp / "catalog"
    made = connecting.open_client(url)
    made.publish("dataset:d", [1])
    made.close()
    for path in (url, *url.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    before = (url / "catalog.db").read_bytes()
    with as_nobody():
        client = connecting.open_client(url)
        assert client.get("dataset:d").number == 1, "it can be read"
        with pytest.raises(NotReady, match="cannot be written") as refused:
            client.publish("dataset:d", [2])
        assert refused.value.kind is ErrorKind.READ_ONLY
        client.close()
    assert (url / "catalog.db").read_bytes() == before


def test_a_catalog_in_a_folder_that_may_not_be_written_says_so(open_tmp: Path) -> None:
    url = open_tmp / "catalog"
    connecting.open_client(url).close()
    for path in (url, *url.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with as_nobody(), pytest.raises(NotReady, match=r"catalog.* cannot be (opened|written)"):
        connecting.open_client(url)
    for path in (url, *url.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_folder_where_none_may_be_made_is_denied(open_tmp: Path) -> None:
    (open_tmp / "closed").mkdir(mode=0o555)
    with as_nobody(), pytest.raises(WhenceError, match="closed") as refused:
        connecting.open_client(open_tmp / "closed" / ".whence")
    assert refused.value.kind is ErrorKind.PERMISSION


# ── catalogs in a bad way ────────────────────────────────────────────────────────────────────────


def test_a_catalog_that_another_process_holds_is_locked(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.publish("dataset:d", [1])
    monkeypatch.setenv("WHENCE_TIMEOUT", "0.2")
    impatient = connecting.open_client(client.url)
    with contextlib.closing(sqlite3.connect(Path(client.url) / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(
            Unreachable, match=r"locked by another process; find it with `fuser .*try again"
        ) as refused:
            impatient.alias("dataset:d@1", "prod")
        assert refused.value.kind is ErrorKind.LOCKED
        assert time.monotonic() - began < 25, "the setting counts, not the default of 30 s"
        assert impatient.get("dataset:d").number == 1, "reading goes on"
        connecting.open_client(client.url).close()
        other.execute("ROLLBACK")
    assert impatient.publish("dataset:d", [2]).number == 2
    impatient.close()


def test_a_step_whose_end_can_neither_be_recorded_nor_kept_raises_and_keeps_what_it_raised(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("WHENCE_OUTBOX", str(tmp_path / "a file"))
    monkeypatch.setenv("WHENCE_TIMEOUT", "0.1")
    connecting.connect(client.url)
    holder = sqlite3.connect(Path(client.url) / "catalog.db", isolation_level=None)
    fail = True

    @whence.step(version="1")
    def work() -> int:
        holder.execute("BEGIN EXCLUSIVE")
        if fail:
            raise ValueError("its own")
        return 1

    with pytest.raises(ValueError, match="its own") as raised:
        work()
    assert "could not record that run" in raised.value.__notes__[0]
    holder.execute("ROLLBACK")
    client.catalog.sweep()
    fail = False
    holder.execute("UPDATE beat SET until = 1")
    holder.execute("UPDATE reservation SET until = 1")
    with pytest.raises(Unreachable, match="locked"):
        work()
    holder.execute("ROLLBACK")
    holder.close()
    assert client.catalog.check().problems == ()


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_a_timeout_is_a_number_of_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("WHENCE_TIMEOUT", text)
    with pytest.raises(InvalidInput, match=r"WHENCE_TIMEOUT is .*a number of seconds"):
        connecting.open_client(tmp_path / "catalog")
    monkeypatch.setenv("WHENCE_TIMEOUT", "1")
    monkeypatch.setenv("WHENCE_SYNC", "sometimes")
    with pytest.raises(InvalidInput, match=r"WHENCE_SYNC is .*FULL or NORMAL"):
        connecting.open_client(tmp_path / "catalog")


def test_what_is_no_catalog_is_not_touched(tmp_path: Path) -> None:
    for name, says in (("noise", "not a whence catalog"), ("other", "tables of another program")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "catalog.db"
        if name == "noise":
            file.write_bytes(b"no database " * 100)
        else:
            with contextlib.closing(sqlite3.connect(file)) as database, database:
                database.execute("CREATE TABLE theirs (x)")
        before = file.read_bytes()
        with pytest.raises(NotReady, match=says) as refused:
            connecting.open_client(tmp_path / name)
        assert refused.value.kind is ErrorKind.NOT_A_CATALOG
        assert file.read_bytes()[100:] == before[100:]
    (tmp_path / "plain").write_text("a file where a folder should be")
    with pytest.raises(WhenceError, match="plain"):
        connecting.open_client(tmp_path / "plain")
    with pytest.raises(InvalidInput, match="no catalog at ftp://"):
        connecting.open_client("ftp://whence.example")


def test_a_catalog_of_a_newer_whence_says_to_upgrade(client: Client) -> None:
    client.close()
    with contextlib.closing(sqlite3.connect(Path(client.url) / "catalog.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999_future'")
    with pytest.raises(NotReady, match=r"9999_future.*pip install -U whence") as refused:
        connecting.open_client(client.url)
    assert refused.value.kind is ErrorKind.SCHEMA_NEWER


# ── a disk that is full ──────────────────────────────────────────────────────────────────────────

FULL = """
import whence, sys, json
client = whence.connect(sys.argv[1])
done, kinds = 0, []
for n in range(400):
    try:
        whence.publish("file:noise", n.to_bytes(2, "big") * 20_000)
        done += 1
    except whence.WhenceError as error:
        kinds.append([error.kind.value, str(error)])
        if len(kinds) == 3:
            break
print(json.dumps([done, kinds]))
"""


def full(folder: Path, limit_bytes: int | None = None) -> tuple[int, list[tuple[str, str]]]:
    import resource

    def limited() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    variables = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder)],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
    )
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout))  # type: ignore[return-value]


def test_a_full_disk_is_said_and_what_was_recorded_stays(small_disk: Path) -> None:
    if small_disk.is_mount():
        done, refused = full(small_disk / "catalog")
        assert {kind for kind, _ in refused} == {"disk-full"}
        assert all("nothing was recorded" in text for _, text in refused)
    else:
        done, refused = full(small_disk / "catalog", limit_bytes=300_000)
    assert done > 0
    assert refused
    # With room again, all that was acknowledged is there, and recording goes on.
    moved = small_disk.parent / "roomy"
    shutil.copytree(small_disk / "catalog", moved)
    client = connecting.open_client(moved)
    assert client.catalog.check().problems == ()
    assert client.get("file:noise").number == done
    outputs = client.catalog.productions(client.get("file:noise").version.artifact)
    named = frozenset(output.version.digest for output in outputs)
    assert client.blobs.verify_deep(named).present == named
    assert client.publish("file:noise", b"more").number == done + 1
    client.close()


def test_a_project_that_cannot_write_its_outputs_fails_with_its_own_error(project: Project) -> None:
    project.write(
        """
        @whence.step
        def make():
            return Path("never-written")
        try:
            make()
        except whence.NotFound as error:
            show([error.kind.value, str(error)])
        """
    )
    kind, text = project.run()
    assert (kind, text) == ("no-such-file", "no such file or folder: never-written")
    (run,) = project.client.catalog.runs()
    assert run.state == "failed"

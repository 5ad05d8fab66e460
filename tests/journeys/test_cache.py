"""What executes again, what is reused, and why: by journeys through a catalog that is kept."""

from collections.abc import Callable
from pathlib import Path

import pytest

import whence
from tests.conftest import Project
from whence import Handle
from whence.client import Client
from whence_catalog.digest import Digest, digest_of_bytes
from whence_catalog.errors import InvalidInput
from whence_catalog.model import Mode, RunState

PIPELINE = """
@whence.step
def load(count):
    mark("load")
    return whence.dataset("raw", [n * 1.0 for n in range(count)])

def clean(values):
    return [value * 2 for value in values]

@whence.step
def prepare(raw):
    mark("prepare")
    return whence.dataset("clean", clean(raw.load()))

@whence.step
def train(data, rate=0.5):
    mark("train")
    return {"mean": sum(data.load()) * rate}

if __name__ == "__main__":
    show(train(prepare(load(3)), rate=float((sys.argv[1:] or ["0.5"])[0])))
"""


def test_only_what_a_change_reaches_executes(project: Project) -> None:
    script = project.write(PIPELINE)
    assert (project.run(), project.executed()) == ({"mean": 3.0}, ["load", "prepare", "train"])
    assert (project.run(), project.executed()) == ({"mean": 3.0}, [])
    assert (project.run("1.0"), project.executed()) == ({"mean": 6.0}, ["train"])
    # Other code, the same bytes: what comes after it is reused.
    script.write_text(script.read_text().replace("value * 2 ", "value + value "))
    assert (project.run(), project.executed()) == ({"mean": 3.0}, ["prepare"])
    # Other code, other bytes.
    script.write_text(script.read_text().replace("value + value ", "value * 3 "))
    assert (project.run(), project.executed()) == ({"mean": 4.5}, ["prepare", "train"])
    # Comments and formatting are no code; and what was made by the first form of it is still known.
    script.write_text(
        script.read_text().replace("value * 3 ", "value * 2  ").replace("def clean", "# tidy\ndef clean")
    )
    assert (project.run(), project.executed()) == ({"mean": 3.0}, [])
    catalog = project.client.catalog
    trained = next(run for run in catalog.runs() if run.job == "pipeline.train" and run.outcome == "entered")
    changes = {verdict.name for verdict in catalog.explain(str(trained.uid)).changes}
    assert changes == {"inputs/data"}
    assert catalog.check().problems == ()


def ran_in(client: Client, times: list[int]) -> tuple[int, list[str | None]]:
    """(how many bodies ran, what each Run did to the cache, oldest first)."""
    return len(times), [run.outcome for run in reversed(client.catalog.runs())]


@pytest.fixture
def times() -> list[int]:
    return []


def test_refresh_executes_and_replaces_what_was_there(client: Client, times: list[int]) -> None:
    def now(name: str) -> int:
        times.append(1)
        return len(times)

    reuse, refresh = (whence.step(version="1", name="now", cache=mode)(now) for mode in ("reuse", "refresh"))  # type: ignore[arg-type]
    assert [reuse("a"), reuse("a"), refresh("a"), reuse("a")] == [1, 1, 2, 2]
    assert ran_in(client, times)[1] == [
        "entered",
        None,
        "superseded: refreshed; other bytes for return",
        None,
    ]


def test_record_keeps_the_key_and_neither_looks_up_nor_enters(client: Client, times: list[int]) -> None:
    def now(name: str) -> int:
        times.append(1)
        return len(times)

    reuse, record = (whence.step(version="1", name="now", cache=mode)(now) for mode in ("reuse", "record"))  # type: ignore[arg-type]
    assert [record("a"), record("a"), reuse("a"), record("a"), reuse("a")] == [1, 2, 3, 4, 3]
    runs = client.catalog.runs()
    assert len({run.key for run in runs}) == 1
    assert [run.outcome for run in reversed(runs)] == ["none", "none", "entered", "none", None]


def test_off_has_no_key_and_the_variable_overrides_every_step(
    client: Client, times: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    @whence.step(version="1")
    def now() -> int:
        times.append(1)
        return len(times)

    monkeypatch.setenv("WHENCE_CACHE", "off")
    assert [now(), now()] == [1, 2]
    assert {(run.mode, run.key, run.warnings) for run in client.catalog.runs()} == {(Mode.OFF, None, ())}
    monkeypatch.setenv("WHENCE_CACHE", "always")
    with pytest.raises(
        InvalidInput, match="WHENCE_CACHE is 'always'; it is one of reuse, refresh, record, off"
    ):
        now()
    monkeypatch.delenv("WHENCE_CACHE")
    assert [now(), now()] == [3, 3]


def test_max_age_executes_again_what_is_too_old(client: Client, times: list[int]) -> None:
    def now() -> int:
        times.append(1)
        return 7

    fresh, always = (whence.step(version="1", name="now", max_age=age)(now) for age in (3600, 0))
    assert [fresh(), fresh(), always(), fresh()] == [7] * 4
    assert ran_in(client, times) == (2, ["entered", None, "renewed", None])


def test_a_version_stands_for_the_code(client: Client, times: list[int]) -> None:
    for version in ("1", "1", "2"):

        @whence.step(version=version, name="stated")
        def stated(bump: int = len(times)) -> int:
            times.append(bump)
            return 1

        stated(0)
    assert len(times) == 2


def test_who_does_not_wait_executes_beside_and_publishes_nothing(client: Client, times: list[int]) -> None:
    def now(name: str) -> int:
        times.append(1)
        return beside(name) if len(times) == 1 else len(times)

    first = whence.step(version="1", name="now")(now)
    beside = whence.step(version="1", name="now", max_wait=0)(now)
    assert first("a") == 2, "what computes the same inside of it does not wait for it"
    inner, outer = client.catalog.runs()
    assert (inner.outcome, outer.outcome) == ("none", "entered")
    assert inner.parent == outer.uid
    assert inner.warnings[0].startswith("waited 0 s for ")


def blob(client: Client, named: Digest) -> Path:
    (found,) = [
        path
        for path in (Path(client.url) / "blobs").rglob("*")
        if path.is_file() and path.parent.name + path.name == named.hex
    ]
    return found


@pytest.mark.parametrize(
    "harm",
    [Path.unlink, lambda path: (path.chmod(0o600), path.write_bytes(b"worm"))],
    ids=["lost", "altered"],
)
@pytest.mark.parametrize("as_folder", [False, True], ids=["file", "folder"])
def test_a_lost_or_altered_output_is_made_again_and_mended(
    client: Client, times: list[int], tmp_path: Path, harm: Callable[[Path], object], as_folder: bool
) -> None:
    @whence.step(version="1")
    def make() -> Handle:
        times.append(1)
        (tmp_path / "made").mkdir(exist_ok=True)
        (tmp_path / "made" / "a.bin").write_bytes(b"weights")
        return whence.model("m", tmp_path / "made" if as_folder else b"weights")

    made = make()
    stored = digest_of_bytes(b"weights")
    harm(blob(client, stored))
    again = make()
    assert (again.ref, again.digest, len(times)) == (made.ref, made.digest, 2)
    assert client.catalog.runs(limit=1)[0].outcome == "renewed"
    make()
    assert len(times) == 2
    assert client.blobs.verify_deep([stored]).present


def test_a_materialised_input_that_the_step_changes_is_a_warning_and_not_cached(
    client: Client, times: list[int]
) -> None:
    @whence.step(version="1")
    def scribble(data: whence.Dataset) -> int:
        times.append(1)
        data.path.chmod(0o600)
        data.path.write_bytes(b"[9]")
        return len(times)

    data = client.publish("dataset:d", [1, 2])
    assert [scribble(data), scribble(client.get("dataset:d"))] == [1, 2]  # type: ignore[arg-type]
    for run in client.catalog.runs(limit=2):
        assert run.state is RunState.COMPLETE
        assert run.warnings == ("input <dataset:d@1> was changed while the step ran",)
        assert run.outcome == "refused: input <dataset:d@1> was changed while the step ran"
    assert client.get("dataset:d").load() == [1, 2], "what is lent next is as it was"


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_file_named_by_its_path_counts_by_its_bytes(
    client: Client, times: list[int], tmp_path: Path, kind: str
) -> None:
    @whence.step(version="1")
    def size(path: Path) -> int:
        times.append(1)
        return sum(len(file.read_bytes()) for file in (path.iterdir() if path.is_dir() else [path]))

    path, file = tmp_path / "data", tmp_path / "data"
    if kind == "folder":
        path.mkdir()
        file = path / "a.csv"
    elif kind == "link":
        file = tmp_path / "real.csv"
        path.symlink_to(file)
    file.write_bytes(b"1,2")
    assert [size(path), size(path)] == [3, 3]
    file.write_bytes(b"1,2,3")
    assert [size(path), size(path)] == [5, 5]
    assert len(times) == 2


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_file_that_changes_while_the_step_reads_it_is_a_warning_and_not_cached(
    client: Client, times: list[int], tmp_path: Path, kind: str
) -> None:
    @whence.step(version="1")
    def append(path: Path, where: str) -> int:
        times.append(1)
        with (path / where).open("ab") as file:
            file.write(b"more")
        return 1

    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "log").write_bytes(b"first")
    assert append(folder, "log" if kind == "file" else "new") == 1
    (run,) = client.catalog.runs()
    assert run.warnings == ("path (data) was changed while the step ran; nothing is reused from this run",)
    assert str(run.outcome).startswith("refused: path (data) was changed")


def test_a_path_that_cannot_be_identified_is_executed_and_said(
    client: Client, times: list[int], tmp_path: Path
) -> None:
    @whence.step(version="1")
    def look(path: Path) -> int:
        times.append(1)
        return 1

    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "escape").symlink_to("/etc/hostname")
    for name, why in (("loop", "symbolic links"), ("folder", "leads out of the folder")):
        look(tmp_path / name)
        look(tmp_path / name)
        (warning,) = client.catalog.runs(limit=1)[0].warnings
        assert warning.startswith("path names what cannot be identified: ")
        assert why in warning
    assert len(times) == 4


def test_the_salt_and_the_project_keep_results_apart(
    client: Client, times: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    @whence.step(version="1")
    def one() -> int:
        times.append(1)
        return 1

    one()
    monkeypatch.setenv("WHENCE_SALT", "today")
    one()
    monkeypatch.delenv("WHENCE_SALT")
    client.project = "elsewhere"
    one()
    one()
    assert len(times) == 3


def test_every_place_of_a_mapping_has_a_role_of_its_own(client: Client) -> None:
    one, other = (client.publish(f"dataset:{name}", name) for name in ("one", "other"))

    @whence.step(version="1")
    def read(options: dict[object, object]) -> str:
        return repr(options)

    for first, second, roles in (
        ({"x": {"y": one}, "x.y": other}, {"x.y": one, "x": {"y": other}}, {"options.x.y", "options.x%2Ey"}),
        ({1: one, "1": other}, {"1": one, 1: other}, {"options[1]", "options.1"}),
        ({"[1]": one, 1: other}, {1: one, "[1]": other}, {"options.%5B1]", "options[1]"}),
        ({"a%2Eb": one, "a.b": other}, {"a.b": one, "a%2Eb": other}, {"options.a%252Eb", "options.a%2Eb"}),
    ):
        assert read(first) != read(second)
        run = client.catalog.run(str(client.catalog.runs(limit=1)[0].uid))
        assert {taken.role for taken in run.inputs} == roles


class Alike:
    def __repr__(self) -> str:
        return "Alike()"


def test_two_keys_that_are_written_the_same_are_refused_where_they_lead_to_inputs(client: Client) -> None:
    ran: list[object] = []

    @whence.step(version="1")
    def read(options: dict[object, object]) -> None:
        ran.append(options)

    read({Alike(): 1, Alike(): 2})
    with pytest.raises(InvalidInput, match="two keys of options are written the same"):
        read({Alike(): client.publish("dataset:d", [1]), Alike(): 2})
    assert len(ran) == 1


def test_a_global_handle_that_is_bound_to_another_version_executes_again(project: Project) -> None:
    project.write(
        """
        DATA = whence.get("dataset:d")

        @whence.step
        def read():
            mark("read")
            return DATA.load()

        if __name__ == "__main__":
            show(read())
        """
    )
    project.client.publish("dataset:d", [1])
    assert [project.run(), project.run(), project.executed()] == [[1], [1], ["read"]]
    project.client.publish("dataset:d", [2])
    assert [project.run(), project.executed()] == [[2], ["read"]]

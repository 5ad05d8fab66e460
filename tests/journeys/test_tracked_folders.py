"""A step that tracks a folder is reused by what it asked about in it, and never by less."""

import hashlib
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import whence
from whence.client import Client
from whence_catalog.errors import Conflict, InvalidInput
from whence_catalog.model import RunState

Files = Mapping[str, str]
_numbers = itertools.count()


@dataclass
class Looking:
    """A step over a tracked folder, and how often its body ran."""

    step: Callable[..., object]
    times: list[int]
    place: Path

    def __call__(self, files: Files) -> tuple[object, bool]:
        """(what it gave, whether it executed) for a folder that holds `files`; an empty folder ends with a slash."""
        before = len(self.times)
        return self.step(whence.dataset("pictures", laid_out(self.place, files))), len(self.times) > before


def opened(place: Any) -> str:
    with place.open() as source:
        return str(source.read())


def laid_out(place: Path, files: Files) -> Path:
    folder = place / str(next(_numbers))
    folder.mkdir()
    for path, text in files.items():
        target = folder / path
        if path.endswith("/"):
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    return folder


def looking(body: Callable[[Any], object], place: Path, **options: Any) -> Looking:
    times: list[int] = []

    def look(data: object) -> object:
        times.append(1)
        return body(data)

    options = {"version": "1", "name": f"look {next(_numbers)}", "tracked": ["data"], **options}
    return Looking(whence.step(**options)(look), times, place)


FILES = {"a.txt": "A", "b.txt": "B", "sub/c.txt": "C", "sub/deep/d.csv": "D"}


@pytest.mark.parametrize(
    ("read", "same", "other"),
    [
        (lambda d: (d / "a.txt").read_text(), {"b.txt": "x", "z": ""}, {"a.txt": "x"}),
        (lambda d: (d / "sub" / "c.txt").read_bytes().decode(), {"a.txt": "x"}, {"sub/c.txt": "x"}),
        (lambda d: opened(d / "a.txt"), {"b.txt": "x"}, {"a.txt": "x"}),
        (lambda d: Path(d / "a.txt").read_text(), {"b.txt": "x"}, {"a.txt": "x"}),
        (lambda d: os.stat(d / "a.txt").st_size, {"b.txt": "x"}, {"a.txt": "longer"}),
        (lambda d: Path(str(d.joinpath("sub", "c.txt"))).read_text(), {"b.txt": "x"}, {"sub/c.txt": "x"}),
        (lambda d: (d / "a.txt").size(), {"a.txt": "x", "b.txt": ""}, {"a.txt": "longer"}),
        (lambda d: (d / "z").exists(), {"a.txt": "x", "y": ""}, {"z/y": ""}),
        (lambda d: (d / "a.txt").exists(), {"a.txt": "x"}, {"a.txt": None}),
        (lambda d: (d / "sub").is_dir(), {"sub/c.txt": "x"}, {"sub/c.txt": None, "sub/deep/d.csv": None}),
        (lambda d: (d / "sub").is_file(), {"sub/c.txt": None}, {"sub/c.txt": None, "sub/deep/d.csv": None, "sub": ""}),
        (lambda d: [m.name for m in d.iterdir()], {"a.txt": "x", "sub/new": ""}, {"new/": ""}),
        (lambda d: [m.is_dir() for m in d.iterdir()], {"sub/new": ""}, {"a.txt": None, "a.txt/": ""}),
        (lambda d: [m.as_posix() for m in (d / "sub").iterdir()], {"a.txt": None}, {"sub/new": ""}),
        (lambda d: d.listing(), {"a.txt": "x"}, {"sub/deep/new": ""}),
        (lambda d: (d / "sub").listing(), {"new": "x"}, {"sub/deep/new": ""}),
        (lambda d: [m.as_posix() for m in d.glob("*.txt")], {"sub/x.txt": ""}, {"x.txt": ""}),
        (lambda d: [m.as_posix() for m in d.glob("*/c.*")], {"sub/deep/c.x": ""}, {"sub/c.x": ""}),
        (lambda d: [m.read_text() for m in d.rglob("*.csv")], {"a.txt": "x"}, {"sub/deep/d.csv": "x"}),
        (lambda d: [m.read_text() for m in sorted(d.glob("*.txt"))], {"sub/c.txt": "x"}, {"b.txt": "x"}),
        (lambda d: [names for _, _, names in d.walk()], {"a.txt": "x"}, {"sub/new": ""}),
        (lambda d: (d / "b.txt").with_name("a.txt").read_text(), {"b.txt": "x"}, {"a.txt": "x"}),
        (lambda d: (d / "a.csv").with_suffix(".txt").read_text(), {"b.txt": "x"}, {"a.txt": "x"}),
        (lambda d: [m.name for m in (d / "sub" / "c.txt").parent.iterdir()], {"a.txt": "x"}, {"sub/e": ""}),
    ],
)  # fmt: skip
def test_each_way_of_asking_notes_what_it_told_and_nothing_else(
    client: Client,
    tmp_path: Path,
    read: Callable[[Any], object],
    same: Mapping[str, str | None],
    other: Mapping[str, str | None],
) -> None:
    look = looking(read, tmp_path)
    made, executed = look(FILES)
    assert executed
    assert look(changed(same)) == (made, False)
    found, executed = look(changed(other))
    assert executed
    assert found != made


def changed(by: Mapping[str, str | None]) -> Files:
    return {path: text for path, text in {**FILES, **by}.items() if text is not None}


@pytest.mark.parametrize(
    "read",
    [
        lambda d: sorted(os.listdir(d)),
        lambda d: sorted(os.listdir(d / "sub")),
        lambda d: sorted(path.name for path in d.path.iterdir()),
        lambda d: sorted(path.name for path in d.load().iterdir()),
        lambda d: len(repr(d)) > 0,
        lambda d: d.digest,
        lambda d: whence.whole(d).name,
        lambda d: d,
        lambda d: whence.dataset("new", b"x", derived_from=[d]),
        lambda d: whence.dataset("new", b"x", metadata={"from": d.ref}),
    ],
)
def test_who_takes_the_folder_by_its_path_or_as_an_artifact_has_read_it_all(
    client: Client, tmp_path: Path, read: Callable[[Any], object]
) -> None:
    look = looking(read, tmp_path)
    assert look(FILES)[1]
    assert not look(FILES)[1]
    assert look({**FILES, "a.txt": "other"})[1]


def test_a_reuse_names_the_folder_that_it_was_called_with(client: Client, tmp_path: Path) -> None:
    look = looking(lambda d: (d / "a.txt").read_text(), tmp_path)
    look(FILES)
    look({**FILES, "b.txt": "other"})
    reused, executed = (
        next(run for run in client.catalog.runs() if run.state is state and run.job.startswith("look"))
        for state in (RunState.REUSED, RunState.COMPLETE)
    )
    assert reused.origin == executed.uid
    (mine,), (before,) = (client.catalog.run(str(run.uid)).inputs for run in (reused, executed))
    assert (mine.version.number, before.version.number) == (2, 1)
    assert client.catalog.check().problems == ()


def test_only_what_is_opened_is_fetched(client: Client, tmp_path: Path) -> None:
    look = looking(lambda d: sorted(os.listdir(Path(d / "a.txt").parent)), tmp_path)
    assert look(FILES) == (["a.txt"], True)
    assert look({**FILES, "b.txt": "x"}) == (["a.txt"], False)


def test_what_is_opened_through_the_view_is_an_input_to_who_watches(client: Client, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    aside.write_text("not handed in")
    look = looking(lambda d: opened(d / "a.txt") + aside.read_text(), tmp_path, reads="note")
    look(FILES)
    executed = next(run for run in client.catalog.runs() if run.job.startswith("look"))
    observed = client.catalog.run(str(executed.uid)).observed
    assert observed is not None
    assert [Path(path).name for path in observed.files] == ["aside"]


def test_what_is_not_there_is_told_as_by_a_path(client: Client, tmp_path: Path) -> None:
    def body(data: Any) -> list[str]:
        told = []
        for asked in (
            lambda: (data / "z").read_text(),
            lambda: (data / "sub").read_text(),
            lambda: (data / "sub").size(),
            lambda: list((data / "z").iterdir()),
            lambda: list((data / "a.txt").iterdir()),
            lambda: (data / "a.txt").open("w"),
            lambda: data / "../up",
        ):
            with pytest.raises((OSError, ValueError)) as raised:
                asked()
            told.append(type(raised.value).__name__)
        return told

    look = looking(body, tmp_path)
    made, _ = look(FILES)
    assert made == [
        "FileNotFoundError",
        "IsADirectoryError",
        "IsADirectoryError",
        "FileNotFoundError",
        "NotADirectoryError",
        "PermissionError",
        "ValueError",
    ]
    assert look({**FILES, "b.txt": "x"}) == (made, False)


def test_a_view_of_a_folder_ends_with_its_call_and_what_it_lent_must_stay_as_it_is(
    client: Client, tmp_path: Path
) -> None:
    kept: list[Any] = []
    keeping = looking(lambda d: kept.append(d), tmp_path)
    keeping(FILES)
    with pytest.raises(Conflict, match="has ended"):
        (kept[0] / "a.txt").read_text()

    def write(data: Any) -> int:
        lent = Path(data / "a.txt")
        lent.chmod(0o644)
        lent.write_text("changed")
        return 1

    writing = looking(write, tmp_path)
    assert writing(FILES) == (1, True)
    assert writing(FILES) == (1, True), "what changed its input is reused by nobody"


def test_a_step_inside_takes_the_folder_whole(client: Client, tmp_path: Path) -> None:
    inner = whence.step(version="1", name="inner")(lambda data: sorted(os.listdir(data.path)))
    look = looking(lambda d: inner(d) if (d / "a.txt").exists() else None, tmp_path)
    assert look(FILES)[1]
    assert not look(FILES)[1]
    assert look({**FILES, "b.txt": "x"})[1]


def test_what_is_no_folder_of_our_store_is_refused(client: Client) -> None:
    look = whence.step(version="1", name="look", tracked=["data"])(lambda data: 1)
    with pytest.raises(InvalidInput, match="no folder"):
        look(whence.dataset("d", b"x"))


# ── any program, any folders ─────────────────────────────────────────────────────────────────────

TREES = st.dictionaries(
    st.sampled_from(["a", "b", "s/a", "s/b", "s/t/a", "s/t/", "t/", "t/a"]), st.sampled_from(["", "x", "yy"]), max_size=6
).map(lambda files: {p: t for p, t in files.items() if not any(q != p and q.startswith(p) for q in files if p.endswith("/"))})  # fmt: skip


def branching(data: Any, seed: int) -> str:
    """A program whose every question depends on all answers before, and whose result tells them all.

    It runs on a view as on a path.
    """
    told: list[str] = []

    def choose(among: int) -> int:
        drawn = hashlib.sha256(repr((seed, told)).encode()).digest()
        return int.from_bytes(drawn[:8]) % among

    known = [data]
    for _ in range(choose(6) + 1):
        place = known[choose(len(known))] / ["a", "b", "s", "t", "s/t", "s/a", "."][choose(7)]
        told.append("next")
        match choose(9):
            case 0:
                told.append(repr(place.exists()))
            case 1:
                told.append(repr(place.is_file()))
            case 2:
                told.append(repr(place.is_dir()))
                known.append(place)
            case 3:
                told.append(tried(place, lambda file: file.read_text(), Path.is_file))
            case 4:
                told.append(tried(place, size_of, Path.is_file))
            case 5:
                told.append(tried(place, listed, Path.is_dir))
                if place.is_dir():
                    known += sorted(place.iterdir())
            case 6:
                told.append(repr((place.is_dir(), listed(place) if place.is_dir() else None)))
                known += sorted(place.glob("*"))
            case 7 if place.is_dir():
                told.append(repr((place.is_dir(), below(place))))
                known += sorted(place.rglob("a"))
            case 7:
                told.append("no folder")
            case _:
                told.append(repr(contents(Path(os.fspath(data)))))
    return repr(told)


def tried(place: Any, ask: Callable[[Any], object], fits: Callable[[Path], bool]) -> str:
    """What it says; or what there is instead, as a view tells it."""
    if isinstance(place, Path) and not fits(place):
        return "something else" if place.exists() else "nothing"
    try:
        return repr(ask(place))
    except FileNotFoundError:
        return "nothing"
    except (IsADirectoryError, NotADirectoryError):
        return "something else"


def listed(place: Any) -> list[tuple[str, bool]]:
    return sorted((member.name, member.is_dir()) for member in place.iterdir())


def below(place: Any) -> list[object]:
    return [listed(place), *(below(member) for member in sorted(place.iterdir()) if member.is_dir())]


def contents(folder: Path) -> list[tuple[str, str]]:
    files = sorted(path for path in folder.rglob("*"))
    return [(p.relative_to(folder).as_posix(), p.read_text() if p.is_file() else "/") for p in files]


def size_of(place: Any) -> int:
    return place.stat().st_size if isinstance(place, Path) else int(place.size())


@given(st.integers(0, 10**6), st.lists(TREES, min_size=2, max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_call_is_a_hit_exactly_where_executing_on_the_present_folder_would_be_told_the_same(
    client: Client, tmp_path: Path, seed: int, trees: list[Files]
) -> None:
    look = looking(lambda data: branching(data, seed), tmp_path)
    seen: set[str] = set()
    for files in trees:
        expected = branching(laid_out(tmp_path, files), seed)
        # Sound: what it hands out is what executing gives. Precise: what cannot be told apart is a hit.
        assert look(files) == (expected, expected not in seen)
        seen.add(expected)

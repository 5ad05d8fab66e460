"""Recorded code runs in an empty folder and a fresh environment, by uv and without a network. 5 s."""

import csv
import importlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from tests import wheels
from whence import bundle, entries, environment, environments, wheel
from whence.environment import Distribution, Environment
from whence.room import Room
from whence_catalog import digest
from whence_catalog.blobs import BlobStore
from whence_catalog.digest import Digest
from whence_catalog.errors import ErrorKind, InvalidInput, NotReady, Unreachable

SIX = Distribution("six", metadata.version("six"))
INICONFIG = Distribution("iniconfig", metadata.version("iniconfig"))
FACTS = """
import json, os, sys
import iniconfig, six
import rsteps.fit
print(json.dumps({
    "result": rsteps.fit.fit(2), "python": sys.prefix, "home": os.listdir(os.environ["HOME"]),
    "folder": os.getcwd(), "six": six.__file__, "variables": dict(os.environ), "path": sys.path,
}))
"""


@pytest.fixture(autouse=True)
def uv_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """uv keeps its cache, and whoever runs it has an empty home."""
    cache = subprocess.run(
        [environments._uv_binary(), "cache", "dir"], capture_output=True, text=True, check=True
    )
    (tmp_path / "no-home").mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", cache.stdout.strip())
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "no-home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore.open(str(tmp_path / "blobs"))


@pytest.fixture
def recorded() -> Environment:
    """This environment with two packages, and a hash seed."""
    here = environment.capture()
    return replace(here, distributions=(INICONFIG, SIX), variables={"PYTHONHASHSEED": "0"}, paths=("src",))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blobs: BlobStore) -> Iterator[Digest]:
    """The Bundle of a project that is gone: nested packages, and a module from elsewhere."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "src/rsteps").mkdir(parents=True)
    elsewhere.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "R.Steps"\nscripts.fit-steps = "rsteps.fit:main"\n\n[tool.uv]\nexclude-newer = "2001-01-01"\n'
    )
    (project / "src/rsteps/__init__.py").write_text("")
    (project / "src/rsteps/fit.py").write_text(
        "import rshared\n\ndef fit(x):\n    return rshared.twice(x) + 1\n\ndef main():\n    print('fitted')\n"
    )
    (elsewhere / "rshared.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(str(elsewhere))
    monkeypatch.syspath_prepend(str(project / "src"))
    importlib.invalidate_caches()
    fit = importlib.import_module("rsteps.fit")
    found = bundle.collect(project, {}, None)
    assert entries.find(fit.fit, project, found).rerunnable
    stored = bundle.store(found, blobs)
    shutil.rmtree(project)
    shutil.rmtree(elsewhere)
    yield stored
    for name in ("rsteps", "rsteps.fit", "rshared"):
        del sys.modules[name]


def test_recorded_code_runs_after_its_project_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    made = Room.make(tmp_path / "room", recorded, source, blobs)
    done = made.python(["-c", FACTS])
    assert done.returncode == 0, done.last_lines
    facts = json.loads(done.stdout.read_text())
    assert facts["result"] == 5
    assert facts["home"] == []
    assert facts["folder"] == str(made.source)
    assert facts["six"].startswith(str(made.made.python.parents[1]))
    assert facts["path"][:2] == [str(made.source / "src"), str(made.source / "@outside")]
    assert set(facts["variables"]) - {"LC_CTYPE"} == {
        "HOME",
        "PATH",
        "PYTHONHASHSEED",
        "PYTHONPATH",
    }
    installed = made.python(
        ["-c", "from importlib import metadata as m; print(*(d.name for d in m.distributions()))"]
    )
    assert set(installed.stdout.read_text().split()) == {
        "iniconfig",
        "six",
        "whence",
        "fsspec",
        "msgspec",
        "urllib3",
    }


def test_whence_itself_is_there_and_is_the_one_that_runs(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    made = Room.make(tmp_path / "room", recorded, source, blobs)
    script = "import whence_catalog.digest as d; print(d.__file__, d.digest_of('a/1', 1))"
    done = made.python(["-c", script], {"PYTHONPATH": ""})
    file, name = done.stdout.read_text().split()
    assert Path(file).is_relative_to(made.made.python.parents[1])
    assert name == str(digest.digest_of("a/1", 1))


def test_it_says_what_differs_from_what_was_recorded(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    before = replace(
        recorded,
        python=recorded.minor + ".99",
        whence="0.0.1",
        variables={},
        distributions=(
            SIX,
            Distribution("gone", "1.0", editable=True),
            Distribution("r-steps", "1.0", editable=True),
            Distribution("rshared", "1.0", editable=True),
            Distribution("whence", "0.0.1", editable=True),
            Distribution("carried", "2.0", files_digest="sha256:" + "0" * 64),
            *(
                each
                for each in environment.capture().distributions
                if each.name in ("fsspec", "msgspec", "urllib3")
            ),
        ),
    )
    made = Room.make(tmp_path / "room", before, source, blobs, offline=True)
    assert made.could_not_restore == (
        f"Python: was {before.python}, is {recorded.python}",
        f"whence: was 0.0.1, is {recorded.whence}",
        "hash seed: was random, and not recorded",
        "gone 1.0: was a development install, and its source was not recorded",
        "carried 2.0: was installed from a local path, and its source was not recorded",
    )
    asks = "from importlib.metadata import entry_points as e, version as v; print(v('R.Steps'), v('rshared'), e(name='fit-steps'))"
    done = made.python(["-c", asks])
    assert done.returncode == 0, done.last_lines
    assert done.stdout.read_text().startswith("1.0 1.0 [EntryPoint(name='fit-steps', value='rsteps.fit:main'")
    (made.source / "t.sh").write_text("#!/no/such\n")
    (made.source / "t.sh").chmod(0o755)
    with pytest.raises(NotReady, match=r"t\.sh cannot be started: .* names an interpreter that is not there"):
        made.run_command([str(made.source / "t.sh")])
    assert made.run_command(["fit-steps"]).stdout.read_text() == "fitted\n", "a project has its own commands"


def test_what_cannot_be_installed_is_named_with_what_uv_says(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = replace(recorded, distributions=(SIX, Distribution("whence-no-such-thing", "1.0")))
    with pytest.raises(
        NotReady,
        match=r"cannot install whence-no-such-thing 1\.0; --nearest takes the nearest version there is; uv says:\nerror: ",
    ):
        Room.make(tmp_path / "room", before, source, blobs)
    assert list((tmp_path / "room").iterdir()) == []
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://me:hunter2@127.0.0.1:9/simple")
    with pytest.raises(Unreachable, match=r"cannot install .*; uv says:\nerror: Failed to fetch") as why:
        Room.make(tmp_path / "room", before, source, blobs, nearest=True)
    assert "127.0.0.1:9" in str(why.value), "it says where it looked"
    assert "hunter2" not in str(why.value)
    assert "--nearest" not in str(why.value), "nobody said that it is gone"


def test_who_has_no_place_for_a_cache_of_uv_makes_environments_without(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheels").mkdir()
    wheels.installed(tmp_path / "wheels", ["fsspec", "msgspec", "urllib3", "iniconfig", "six"])
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "file" / "cache"))
    made = Room.make(tmp_path / "room", recorded, source, blobs)
    assert made.python(["-c", "import iniconfig, six"]).returncode == 0


def test_a_disk_without_room_for_an_environment_is_told(
    small_disk: Path, tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    if not small_disk.is_mount():
        pytest.skip("nobody may mount a disk here")
    os.environ["XDG_CACHE_HOME"] = str(small_disk)
    (small_disk / "filled").write_bytes(bytes(3_900_000))
    with pytest.raises(
        NotReady, match="the disk is full; nothing was recorded; make room and call again"
    ) as why:
        Room.make(tmp_path / "room", recorded, source, blobs)
    assert why.value.kind is ErrorKind.DISK_FULL
    (small_disk / "filled").unlink()
    assert [path.name for path in (small_disk / "whence/environments").iterdir() if path.is_dir()] == []


def test_a_python_that_is_not_there_is_named(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    with pytest.raises(NotReady, match=r"no CPython 3\.5 to run in"):
        Room.make(tmp_path / "room", replace(recorded, python="3.5.1"), source, blobs, offline=True)


def test_a_room_needs_a_folder_of_its_own(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    with pytest.raises(InvalidInput, match="not empty"):
        Room.make(tmp_path, recorded, source, blobs)


def test_equal_environments_are_made_once_and_kept(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    said: list[str] = []
    one, two = (
        Room.make(tmp_path / name, recorded, source, blobs, progress=said.append) for name in ("one", "two")
    )
    other = Room.make(
        tmp_path / "three", replace(recorded, distributions=(SIX,)), source, blobs, offline=True
    )
    assert one.made.python == two.made.python != other.made.python
    assert len(said) == 1
    kept = tmp_path / "no-home" / ".cache" / "whence" / "environments"
    folders = [each for each in kept.iterdir() if each.is_dir()]
    assert sorted(folders) == sorted([one.made.python.parents[1], other.made.python.parents[1]])
    for made in (one, two):
        done = made.python(["-c", FACTS])
        assert done.returncode == 0, done.last_lines
    assert other.python(["-c", "import iniconfig"]).returncode == 1


def test_of_several_who_need_an_environment_at_once_one_makes_it_and_the_others_wait(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        going = [
            pool.submit(Room.make, tmp_path / str(place), recorded, source, blobs, progress=said.append)
            for place in range(3)
        ]
    assert len({each.result().made.python for each in going}) == 1
    assert sum(text.startswith("making an environment: ") for text in said) == 1


def test_an_environment_that_nobody_used_for_long_goes_when_another_is_made(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    other = replace(recorded, distributions=(SIX,))
    old, used = (
        Room.make(tmp_path / str(n), replace(other, python=recorded.minor + f".9{n}"), source, blobs)
        for n in (1, 2)
    )
    for made in (old, used):
        os.utime(made.made.python.parents[1], (0, 0))
    Room.make(tmp_path / "again", replace(other, python=recorded.minor + ".92"), source, blobs)
    Room.make(tmp_path / "new", other, source, blobs)
    assert not old.made.python.exists()
    assert used.made.python.exists()


def test_a_kept_environment_that_does_not_work_any_more_is_made_anew(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    one = Room.make(tmp_path / "one", recorded, source, blobs)
    one.made.python.unlink()
    one.made.python.symlink_to(tmp_path / "gone")
    leftover = one.made.python.parents[2] / f".{one.made.python.parents[1].name}-killed"
    leftover.mkdir()
    two = Room.make(tmp_path / "two", recorded, source, blobs)
    assert one.made.python == two.made.python
    assert two.python(["-c", FACTS]).returncode == 0
    assert not leftover.exists()


def test_an_environment_that_was_installed_into_is_taken_by_nobody_and_left_to_who_runs_in_it(
    tmp_path: Path, blobs: BlobStore, recorded: Environment, source: Digest
) -> None:
    one = Room.make(tmp_path / "one", recorded, source, blobs)
    assert one.python(["-c", FACTS]).returncode == 0
    (one.made.python.parents[1] / "what it wrote").write_text("is no package")
    same = Room.make(tmp_path / "same", recorded, source, blobs)
    assert same.made.python == one.made.python, "to run in it, and to compile it, changes nothing"
    (site,) = one.made.python.parents[1].glob("lib/python*/site-packages")
    (site / "intruder.py").write_text("")
    two, three = (Room.make(tmp_path / name, recorded, source, blobs) for name in ("two", "three"))
    assert two.made.python == three.made.python != one.made.python
    assert two.python(["-c", "import intruder"]).returncode == 1
    assert two.python(["-c", FACTS]).returncode == one.python(["-c", "import intruder"]).returncode == 0


def test_whences_wheel_is_the_same_each_time_and_what_its_record_says(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    packed = wheel.of_whence(tmp_path / "a")
    assert packed.read_bytes() == wheel.of_whence(tmp_path / "b").read_bytes()
    assert packed.name == f"whence-{metadata.version('whence')}-py3-none-any.whl"
    with zipfile.ZipFile(packed) as archive:
        names = set(archive.namelist())
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
        assert {"whence/room.py", "whence_catalog/digest.py", "whence_api/__init__.py"} <= names
        assert not [name for name in names if "__pycache__" in name]
        assert {row[0] for row in rows} == names
        for path, hashed, size_bytes in rows:
            if hashed:
                assert (hashed, int(size_bytes)) == (
                    f"sha256={wheel._hash(archive.read(path))}",
                    len(archive.read(path)),
                )


def test_a_wheel_of_whence_can_be_made_from_one_that_is_installed(tmp_path: Path) -> None:
    """Without network: a bare environment that borrows whence's dependencies from this one."""
    packed = wheel.of_whence(tmp_path)
    uv = environments._uv_binary()
    subprocess.run([uv, "venv", "--no-project", "--python", sys.executable, "venv"], cwd=tmp_path, check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--no-deps", "--python", str(python), str(packed)], check=True)
    specs = [importlib.util.find_spec(name) for name in ("msgspec", "fsspec", "urllib3")]
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for spec in specs:
        assert spec is not None
        assert spec.origin is not None
        (borrowed / Path(spec.origin).parent.name).symlink_to(Path(spec.origin).parent)
    again = tmp_path / "again"
    again.mkdir()
    script = (
        f"from pathlib import Path; from whence import wheel; print(wheel.of_whence(Path({str(again)!r})))"
    )
    variables = {**os.environ, "PYTHONPATH": str(borrowed)}
    done = subprocess.run(
        [str(python), "-c", script], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (again / packed.name).read_bytes() == packed.read_bytes()

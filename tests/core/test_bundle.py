"""Which source a Run takes along, and whether it can run again from it. 2 s."""

import importlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from whence import bundle
from whence_catalog import manifest
from whence_catalog.blobs import BlobStore
from whence_catalog.errors import InvalidInput


class Project:
    """A project in a folder, and another folder on the path beside it; forgotten after the test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = folder / "project"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.root.mkdir()
        self._before = set(sys.modules)
        monkeypatch.syspath_prepend(str(self.elsewhere))
        monkeypatch.syspath_prepend(str(self.root))

    def write(self, files: Mapping[str, str], folder: Path | None = None) -> None:
        for path, text in files.items():
            file = (folder or self.root) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def load(self, name: str) -> ModuleType:
        importlib.invalidate_caches()
        return importlib.import_module(name)

    def collect(self, **files: str) -> bundle.Bundle:
        return bundle.collect(self.root, files, None)

    def forget(self) -> None:
        for name in set(sys.modules) - self._before:
            del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    made = Project(tmp_path, monkeypatch)
    yield made
    made.forget()


def test_it_holds_what_is_loaded_what_that_imports_and_the_metadata(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[project]\n",
            "requirements-dev.txt": "six\n",
            "notes.txt": "no",
            "bpkg_unused.py": "",
            "bpkg/__init__.py": "",
            "bpkg/deep/__init__.py": "",
            "bpkg/deep/steps.py": "from . import nearby\nfrom .. import above\nimport os, six\n",
            "bpkg/deep/nearby.py": "",
            "bpkg/above.py": "def late():\n    import bpkg_late\n    from bpkg.lazily import thing\n",
            "bpkg/lazily.py": "thing = 1\n",
            "bpkg_late.py": "import bpkg_later\n",
            "bpkg_later.py": "",
        }
    )
    project.load("bpkg.deep.steps")
    found = project.collect()
    assert set(found.files) == {
        "pyproject.toml",
        "requirements-dev.txt",
        "bpkg/__init__.py",
        "bpkg/deep/__init__.py",
        "bpkg/deep/steps.py",
        "bpkg/deep/nearby.py",
        "bpkg/above.py",
        "bpkg/lazily.py",
        "bpkg_late.py",
        "bpkg_later.py",
    }
    assert (found.notes, found.because) == ((), None)
    assert found.root_digest == manifest.build(found.entries, manifest.BUNDLE).root


def test_a_module_from_elsewhere_comes_under_outside_with_its_package(project: Project) -> None:
    project.write({"bsteps.py": "import bshared.tools\n"})
    project.write(
        {
            "bshared/__init__.py": "",
            "bshared/tools.py": "from .inner import x\n",
            "bshared/inner.py": "x = 1\n",
            "bother.py": "",
        },
        project.elsewhere,
    )
    project.load("bother")
    project.load("bsteps")
    assert set(project.collect().files) == {
        "bsteps.py",
        "@outside/bshared/__init__.py",
        "@outside/bshared/tools.py",
        "@outside/bshared/inner.py",
    }


def test_covered_files_and_the_entry_are_taken_though_nothing_loaded_them(project: Project) -> None:
    project.write({"bcovered.py": "", "bentry.py": "import bcovered_too\n", "bcovered_too.py": ""})
    files = {"bcovered.py": str(project.root / "bcovered.py")}
    found = bundle.collect(project.root, files, str(project.root / "bentry.py"))
    assert set(found.files) == {"bcovered.py", "bentry.py", "bcovered_too.py"}


def test_whences_own_code_and_installed_code_are_never_taken(project: Project) -> None:
    project.write({"bimports.py": "import whence.bundle, whence_catalog.digest, six, json, pytest\n"})
    project.load("bimports")
    own = {"whence/bundle.py": str(bundle.__file__)}
    assert set(bundle.collect(project.root, own, None).files) == {"bimports.py"}


def test_files_that_look_secret_are_left_out_and_code_among_them_stands_in_the_way(project: Project) -> None:
    names = [".env", ".env.local", "tls.pem", "my_key.json", "credentials.json", "CREDENTIALS", "data.json"]
    project.write(dict.fromkeys(names, "hunter2"))
    project.write({"credentials.py": "", "api_keys.py": "", "monkey.py": "import credentials, keyboard\n"})
    project.write(
        {"keyboard.py": "", "requirements.txt": "--index-url https://me:hunter2@example.org/simple\n"}
    )
    covered = {name: str(project.root / name) for name in [*names, "monkey.py", "api_keys.py"]}
    found = bundle.collect(project.root, covered, None)
    assert set(found.files) == {"data.json", "monkey.py", "keyboard.py"}
    assert len(found.notes) == 9
    assert sorted(note.split()[0] for note in found.obstacles) == ["api_keys.py", "credentials.py"]


def test_the_executable_bit_and_unreadable_python_are_kept(project: Project) -> None:
    project.write({"brun.py": "print(\n"})
    (project.root / "brun.py").chmod(0o755)
    found = project.collect(**{"brun.py": str(project.root / "brun.py")})
    assert [(entry.path, entry.executable) for entry in found.entries] == [("brun.py", True)]


def test_over_the_limit_there_is_no_digest_but_a_reason(project: Project, tmp_path: Path) -> None:
    project.write({"bbig.py": "#" * 2000})
    files = {"bbig.py": str(project.root / "bbig.py")}
    found = bundle.collect(project.root, files, None, limit_bytes=1000)
    assert found.root_digest is None
    assert found.because == "the source is 2,000 bytes, more than the limit of 1,000"
    assert found.because in found.notes
    with pytest.raises(InvalidInput, match="2,000 bytes"):
        bundle.store(found, BlobStore.open(str(tmp_path / "blobs")))


def test_what_is_stored_comes_back(project: Project, tmp_path: Path) -> None:
    project.write({"bone/__init__.py": "", "bone/two.py": "x = 1\n"})
    project.load("bone.two")
    blobs = BlobStore.open(str(tmp_path / "blobs"))
    found = project.collect()
    assert bundle.store(found, blobs) == bundle.store(found, blobs) == found.root_digest
    blobs.copy_tree(bundle.store(found, blobs), tmp_path / "back")
    back = {file.relative_to(tmp_path / "back").as_posix() for file in (tmp_path / "back").rglob("*.py")}
    assert back == {"bone/__init__.py", "bone/two.py"}
    assert (tmp_path / "back/bone/two.py").read_text() == "x = 1\n"


def test_a_file_saved_between_collecting_and_storing_is_stored_as_it_is_then(
    project: Project, tmp_path: Path
) -> None:
    project.write({"bmoving.py": "x = 1\n"})
    project.load("bmoving")
    before = project.collect()
    project.write({"bmoving.py": "x = 22\n"})
    blobs = BlobStore.open(str(tmp_path / "blobs"))
    stored = bundle.store(before, blobs)
    assert stored != before.root_digest
    assert stored == project.collect().root_digest
    blobs.copy_tree(stored, tmp_path / "back")
    assert (tmp_path / "back/bmoving.py").read_text() == "x = 22\n"


@pytest.mark.parametrize(
    ("after", "is_edited"),
    [
        ("LR = 0.1\n\ndef fit():\n    return LR\n", False),
        ("# a remark\nLR = 0.1\n\n\ndef fit():\n    return LR  # another\n", False),
        ("LR = 0.1\n\ndef fit():\n    return -LR\n", True),
        ("LR = 0.2\n\ndef fit():\n    return LR\n", True),
        ("LR = 0.1\n\ndef fit(:\n", True),
    ],
)
def test_code_edited_after_its_import_is_noted(
    project: Project, monkeypatch: pytest.MonkeyPatch, after: str, is_edited: bool
) -> None:
    project.write({"bedited.py": "LR = 0.1\n\ndef fit():\n    return LR\n"})
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    project.load("bedited")
    later = time.time() + 3
    project.write({"bedited.py": after})
    os.utime(project.root / "bedited.py", (later, later))
    obstacles = ("module bedited differs from its file (edited after import)",) if is_edited else ()
    assert project.collect().obstacles == obstacles


def test_a_second_step_is_answered_from_memory(project: Project) -> None:
    names = [f"bmany{number}" for number in range(100)]
    project.write({f"{name}.py": f"import os\nimport bmany{99}\n" for name in names})
    for name in names:
        project.load(name)
    # Until the file system's clock has moved on, a file may change and look the same.
    while time.time_ns() < (project.root / f"{names[-1]}.py").stat().st_ctime_ns + 150_000_000:
        time.sleep(0.01)
    first = project.collect()
    assert len(first.files) == 100
    assert project.collect() is first

"""Programs: what a command starts, and how that is told from another.

A program of the project is part of its source. Any other is known by the bytes of its file, and a Python (or a
script that starts with one) by what is installed for it, too.
"""

import filecmp
import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from whence import environment
from whence_catalog import digest
from whence_catalog.blobs import BlobStore
from whence_catalog.errors import Conflict, ErrorKind, NotFound

_SECONDS = 30.0
_INSTALLED = (
    "import importlib.metadata as m, json, sys; print(json.dumps([sys.version,"
    " sorted((d.metadata['Name'] or '') + '==' + d.version for d in m.distributions()),"
    " {d.metadata['Name']: json.loads(d.read_text('direct_url.json') or '{}') for d in m.distributions()}]))"
)


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its file, and the Python that runs it, where it is one or names one in its first line."""

    path: Path
    interpreter: Path | None

    @property
    def identity(self) -> str:
        """The digest of its file."""
        return f"{self.path.name} {BlobStore.hash_file(os.path.realpath(self.path)).digest}"

    @property
    def is_ours(self) -> bool:
        """Whether it is run by the Python that runs whence, with what is installed for that."""
        ours = Path(sys.executable)
        return (
            self.interpreter is not None
            and self.interpreter.parent == ours.parent
            and _is_the_same(self.interpreter, ours)
        )

    @property
    def is_foreign_python(self) -> bool:
        """Whether it is run by another Python, whose packages nobody recorded."""
        return self.interpreter is not None and not self.is_ours

    @property
    def environment(self) -> str | Mapping[str, str]:
        """What of the place counts in its key."""
        if self.is_ours:
            return "packages"
        uname = os.uname()
        image = next((os.environ[n] for n in environment.IMAGE_VARIABLES if os.environ.get(n)), None)
        place = {"system": uname.sysname, "machine": uname.machine}
        return place if image is None else {**place, "image": image}

    @property
    def packages(self) -> str | None:
        """The digest of what is installed for a Python that is not ours; None for anything else.

        Raises:
            NotFound: it does not answer.
        """
        if not self.is_foreign_python:
            return None
        version, installed, _ = _installed(str(self.interpreter))
        return digest.digest_of("whence.packages/1", version, list(installed)).text

    @property
    def editable(self) -> Mapping[str, str]:
        """The folders of what is installed for its Python so that its source is what runs, by name.

        Raises:
            NotFound: it does not answer.
        """
        if not self.is_foreign_python:
            return environment.editable()
        return dict(_installed(str(self.interpreter))[2])

    @property
    def is_installed_with_ours(self) -> bool:
        """Whether it lies beside the Python that runs whence: a rerun has it from there, under its name."""
        return self.is_ours and self.path.parent == Path(sys.executable).parent

    def told_from(self, root: Path) -> tuple[str, ...]:
        """The words that start it elsewhere, before its own name; none where that says enough.

        A script whose first line names what is installed with ours, by its place on this machine, is run by what has that
        name there.

        Raises:
            Conflict: its first line names a place in the project at `root` that is no part of its source.
        """
        first, *options = _first_line(self.path) or ("",)
        if not os.path.isabs(first):
            return ()
        if os.path.dirname(first) == os.path.dirname(sys.executable):
            return (os.path.basename(first), *options)
        if Path(first).is_relative_to(root):
            raise Conflict(
                f"the first line of {self.path.name} names {first}, which is no part of the source; let it say"
                f" #!/usr/bin/env {os.path.basename(first)}",
                ErrorKind.NOT_RERUNNABLE,
            )
        return ()

    @property
    def distribution(self) -> str | None:
        """The distribution that it is a command of, where it is installed with ours and one says so."""
        found = metadata.entry_points(group="console_scripts", name=self.path.name)
        names = [entry.dist.name for entry in found if entry.dist is not None]
        return environment.normal(names[0]) if names and self.is_installed_with_ours else None

    @property
    def folders(self) -> tuple[str, ...]:
        """Where what it consists of lies: its file, and the Python that runs it."""
        if self.interpreter is None:
            return (str(self.path),)
        real = Path(os.path.realpath(self.interpreter))
        searched = [entry for entry in sys.path if entry] if self.is_ours else []
        return (str(self.path), str(self.interpreter.parent.parent), str(real.parent.parent), *searched)


@functools.cache
def _installed(interpreter: str) -> tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The version of another Python, its distributions, and the folders of the editable ones."""
    asked = [interpreter, "-I", "-c", _INSTALLED]
    try:
        said = subprocess.run(
            asked, capture_output=True, timeout=_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
        version, installed, origins = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise NotFound(
            f"{interpreter} does not say what is installed: {error}", ErrorKind.NO_SUCH_FILE
        ) from error
    found = {
        name: environment.folder_of(str(origin.get("url", "")))
        for name, origin in origins.items()
        if origin.get("dir_info", {}).get("editable")
    }
    editable = tuple((name, folder) for name, folder in sorted(found.items()) if folder is not None)
    return version, tuple(installed), editable


def find(name: str, here: Path) -> Program:
    """The program that a shell would start under that name, from this folder.

    Raises:
        NotFound: there is none.
    """
    found = str(here / name) if os.sep in name else shutil.which(name)
    if found is None or not os.path.isfile(found):
        raise NotFound(f"no program {name}; is it installed, and on PATH?", ErrorKind.NO_SUCH_FILE)
    if not os.access(found, os.X_OK):
        raise NotFound(
            f"{name} is no program: it may not be executed; say `chmod +x {name}`, or name its interpreter",
            ErrorKind.NO_SUCH_FILE,
        )
    path = Path(os.path.normpath(found))
    return Program(path, _interpreter(path))


def _is_the_same(one: Path, other: Path) -> bool:
    """Whether both start one Python: a system has several of them in one folder."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return filecmp.cmp(one, other, shallow=False)  # as where links were copied
    except OSError:
        return False


def _interpreter(path: Path) -> Path | None:
    if os.path.basename(os.path.realpath(path)).startswith(("python", "pypy")):
        return path
    words = list(_first_line(path))
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-")]
    named = shutil.which(words[0]) if words else None
    if named is None or not os.path.basename(named).startswith(("python", "pypy")):
        return None
    return Path(named)


def _first_line(path: Path) -> tuple[str, ...]:
    """The words of a script's first line that say what runs it."""
    try:
        with path.open("rb") as file:
            first = file.readline(1024)
    except OSError:
        return ()
    return tuple(os.fsdecode(first[2:]).split()) if first.startswith(b"#!") else ()

"""Room: an empty folder and an environment, in which recorded code runs.

    <folder>/source          the Bundle, as it was recorded
    <folder>/home            an empty home
    <folder>/local, commands what the source's own distributions say of themselves, and are started by (`local`)
    <folder>/stdout, stderr  what it says
    <folder>/catalog         where a command records that adds to its Run (`aside`)
    <folder>/venv            its environment, where it could not be kept for others (`environments`)

Decides what recorded code sees when it runs again, and that nobody is left running when whoever asked for it is
gone. Leaves to others what to run in it and how its results compare (`replay`).
"""

import contextlib
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from whence import bundle, environments, group, local
from whence.environment import Environment
from whence_catalog import errors
from whence_catalog.blobs import BlobStore, disk
from whence_catalog.digest import Digest
from whence_catalog.errors import ErrorKind

# Is told what the code in a room says, as it says it.
Heard: TypeAlias = Callable[[bytes], None]

_IS_WINDOWS = os.name == "nt"
_LAST_LINES = 50
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Ended:
    """How code in a room ended. `returncode` is negative for a signal; `stdout` and `stderr` are files."""

    returncode: int
    stdout: Path
    stderr: Path
    last_lines: tuple[str, ...]

    @property
    def how(self) -> str:
        """Its exit code or its signal, in words."""
        return f"exit code {self.returncode}" if self.returncode >= 0 else f"signal {-self.returncode}"


@dataclass(frozen=True, slots=True)
class Room:
    """A restored place to run in. `could_not_restore` lists what differs from the one that was recorded."""

    folder: Path
    source: Path
    made: environments.Made
    paths: tuple[Path, ...]
    variables: Mapping[str, str]
    could_not_restore: tuple[str, ...]

    @classmethod
    def make(
        cls,
        folder: Path,
        recorded: Environment,
        bundle_root: Digest,
        blobs: BlobStore,
        *,
        env: environments.Which = "recorded",
        nearest: bool = False,
        offline: bool = False,
        progress: environments.Progress = lambda text: None,
    ) -> "Room":
        """Restore source and environment in `folder`, which is new or empty. What fails leaves it as it was.

        Args:
            env, nearest, offline: see `environments.Options`. Rooms of one environment share it: what runs in them
                must not write into it.

        Raises:
            InvalidInput: where `folder` holds something.
            Damaged: where part of the Bundle is missing or altered.
            NotReady: where there is no uv, no such Python, or a distribution cannot be installed, or the disk is full.
        """
        folder = folder.absolute()
        require_empty(folder)
        source = folder / "source"
        (folder / "home").mkdir(parents=True)
        try:
            blobs.copy_tree(bundle_root, source)
            options = environments.Options(env, nearest, offline)
            made = environments.make(recorded, source, folder, options, progress)
            about = folder / "local"
            lost = local.restore(
                [each for each in recorded.distributions if each.is_local],
                source,
                made.python,
                about,
                folder / "commands",
            )
        except BaseException:
            for name in ("home", "source", "venv", "local", "commands"):
                shutil.rmtree(folder / name, ignore_errors=True)
            raise
        paths = [source / path for path in recorded.paths or (".", "src")]
        return cls(
            folder,
            source,
            made,
            tuple(path for path in (*paths, source / bundle.OUTSIDE, about) if path.is_dir()),
            dict(recorded.variables),
            (*made.could_not_restore, *lost),
        )

    def run(
        self,
        entry: str,
        arguments: Path,
        results: Path,
        variables: Mapping[str, str] | None = None,
        heard: Heard | None = None,
    ) -> Ended:
        """Call `entry` (`module:qualified.name`) with what the file `arguments` holds; it writes `results`."""
        command = ["-m", "whence.replayed", entry, str(arguments.absolute()), str(results.absolute())]
        return self.python(command, variables, heard)

    def python(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str] | None = None,
        heard: Heard | None = None,
    ) -> Ended:
        """Run the room's Python in the restored folder, and wait for it.

        It sees the recorded variables, an empty home, the room's own folders on its path, and `variables`;
        nothing else of the caller's.
        """
        # -P: the search path is the recorded one, and not the current folder before it.
        return self.run_command([str(self.made.python), "-P", *arguments], variables, None, heard)

    def program(self, name: str) -> Path:
        """What a command of that name starts here.

        Raises:
            NotFound: there is no such command in the room, nor in the folders where a system has its own.
        """
        found = shutil.which(name, path=self._variables()["PATH"])
        if found is None:
            raise errors.NotFound(f"no command {name} here", ErrorKind.NO_SUCH_FILE)
        return Path(found)

    def is_of_environment(self, program: Path) -> bool:
        """Whether a program is one of those that were made with the packages."""
        return program.parent in (self.made.scripts, self.folder / "commands")

    def run_command(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        heard: Heard | None = None,
    ) -> Ended:
        """Run any command in the restored folder, or in the folder `cwd` of it, and wait for it.

        It sees what `python` does. Should this process be interrupted, the command and all that it started end.

        Raises:
            NotFound: as `program`.
        """
        program = str(self.program(command[0]))
        variables = self._variables() | dict(env or {})
        out, err = self.folder / "stdout", self.folder / "stderr"
        last: deque[str] = deque(maxlen=_LAST_LINES)
        with disk.explained(str(self.folder)), contextlib.ExitStack() as stack:
            files = [stack.enter_context(open(path, "wb")) for path in (out, err)]
            process = stack.enter_context(
                group.started([program, *command[1:]], variables, self.source / (cwd or "."))
            )
            readers = [
                threading.Thread(target=_copy, args=(pipe, file, last, heard), daemon=True)
                for pipe, file in zip((process.stdout, process.stderr), files, strict=True)
            ]
            for reader in readers:
                reader.start()
            returncode = group.ended(process)
            for reader in readers:
                reader.join(group.GRACE_SECONDS)  # what it left running may hold its ends for ever
        return Ended(returncode, out, err, tuple(last))

    def _variables(self) -> dict[str, str]:
        home = str(self.folder / "home")
        own = self.folder / "commands"
        places = [*([str(own)] if own.is_dir() else []), str(self.made.scripts), os.defpath]
        needed = {"HOME": home, "PATH": os.pathsep.join(places)}
        if _IS_WINDOWS:
            needed |= {"USERPROFILE": home, "SYSTEMROOT": os.environ.get("SYSTEMROOT", "")}
        return needed | dict(self.variables) | {"PYTHONPATH": os.pathsep.join(map(str, self.paths))}


def require_empty(folder: Path) -> None:
    """Nothing, where a room can be made in `folder`.

    Raises:
        InvalidInput: it holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise errors.InvalidInput(
            f"{folder} is not empty; a room needs a folder of its own", ErrorKind.BAD_PATH
        )


def _copy(pipe: IO[bytes], file: IO[bytes], last: deque[str], heard: Heard | None) -> None:
    """All that comes out of a pipe into a file and to who listens; the last lines are remembered."""
    rest = b""
    while True:
        try:
            chunk = os.read(pipe.fileno(), _CHUNK_BYTES)
        except (OSError, ValueError):
            break
        if not chunk:
            break
        with contextlib.suppress(OSError, ValueError):  # a full disk must not stop what runs
            file.write(chunk)
        if heard is not None:
            try:
                heard(chunk)
            except OSError:  # who listened is gone; what runs must not wait for them
                heard = None
        *lines, rest = (rest + chunk).split(b"\n")
        last.extend(line.decode("utf-8", "replace") for line in lines)
        rest = rest[-_CHUNK_BYTES:]
    if rest:
        last.append(rest.decode("utf-8", "replace"))

"""Environments made again: a virtual one for a recorded Environment, kept for the next room that needs it.

    <cache folder>/environments/<digest>         by uv; whole, or not there; <digest>-2, where what ran there changed it
    <cache folder>/environments/<digest>.lock    held while it is made, so that others wait for it

The digest is of all that is in it: Python, the exact distributions, and the whence that runs. The cache folder
is this user's ($XDG_CACHE_HOME/whence, or WHENCE_CACHE_DIR); where there can be none, an environment is made for one
room and goes with it. A kept one that does not work any more is made anew.

Decides how a recorded Environment comes back, and says what of it did not. Leaves to others what runs in it
(`room`). Needs uv, which makes environments from its own cache; the network is asked for what is not there.
"""

import contextlib
import dataclasses
import itertools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias

from whence import environment, group, interrupts, settings, wheel
from whence.environment import Distribution, Environment
from whence_catalog import digest, errors
from whence_catalog.errors import ErrorKind, InvalidInput

Progress: TypeAlias = Callable[[str], None]
Which: TypeAlias = Literal["recorded", "current"]

# These would make uv, or what it starts, work on another environment than the room's.
_NOT_FOR_UV = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONPATH",
    "PYTHONHOME",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
)
# Exact versions are asked for, so a limit on their age (a project may set one) can only refuse them.
_NO_AGE_LIMIT = {"UV_EXCLUDE_NEWER": "9000-01-01T00:00:00Z"}
_IS_WINDOWS = os.name == "nt"
# An environment that no rerun took for so long goes when another one is made.
_KEPT_SECONDS = 60 * 24 * 3600
# One that what ran in it has changed: nobody takes it any more, and somebody may still be running in it.
_KEPT_CHANGED_SECONDS = 24 * 3600
# In an environment: what was installed in it when it was made.
_HOLDS = ".whence-holds"
# How many packages are named in one line, at most.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Options:
    """Which environment code is made to run in again.

    Args:
        env: `recorded`: it is made again with uv; `current`: this interpreter's, and what differs is told.
        nearest: where a version of a package is gone, take the nearest there is, and tell; it is refused otherwise.
        offline: take nothing from the network.

    Raises:
        InvalidInput: the current one is meant, and how another is to be made.
    """

    env: Which = "recorded"
    nearest: bool = False
    offline: bool = False

    def __post_init__(self) -> None:
        for name, is_said in (("nearest", self.nearest), ("offline", self.offline)):
            if is_said and self.env == "current":
                raise InvalidInput(f"{name} has no meaning in the current environment: nothing is installed")


AS_RECORDED = Options()


@dataclass(frozen=True, slots=True)
class Made:
    """A Python to run in, what it is, and what of the recorded environment is there as it was, and what otherwise."""

    python: Path
    environment: Environment
    restored: tuple[str, ...]
    could_not_restore: tuple[str, ...]

    @property
    def scripts(self) -> Path:
        """The folder of its commands."""
        return self.python.parent


def make(
    recorded: Environment,
    source: Path,
    folder: Path,
    options: Options,
    progress: Progress = lambda text: None,
) -> Made:
    """The environment in which what was recorded in `recorded` runs again.

    Args:
        source: the restored source, where a project may name its own package index.
        folder: where one is made that cannot be kept.

    Raises:
        NotReady: there is no uv, no such Python, or a distribution cannot be installed; it is named.
        Unreachable: no index answers.
    """
    if options.env == "current":
        return _current(recorded)
    with tempfile.TemporaryDirectory(prefix="whence-wheel-") as temporary:
        maker = _Maker(recorded, source, wheel.of_whence(Path(temporary)), options.offline, progress)
        wanted, replaced = _requirements(recorded), dict[str, str]()
        kept = settings.cache_folder()
        while True:
            try:
                if kept is None:
                    python = maker.fill(folder / "venv", wanted)
                else:
                    python = _kept(kept / "environments", maker, wanted)
                break
            except _Gone as gone:
                if gone.is_unanswered:
                    raise errors.Unreachable(gone.told(True)) from None
                fresh = {each.name: each for each in gone.packages if each.name not in replaced}
                if not (options.nearest and fresh):
                    raise errors.NotReady(gone.told(options.nearest), ErrorKind.EXTRA_MISSING) from None
                for each in fresh.values():
                    replaced[each.name] = maker.nearest(each)
                wanted = [
                    f"{each.name}=={replaced[each.name]}" if each.name in replaced else _requirement(each)
                    for each in _installed(recorded)
                ]
        version = _version(python)
        if version is None:  # as where what it stands on went in the same moment
            raise errors.NotReady(f"{python} was made, and does not run; call again", ErrorKind.EXTRA_MISSING)
    has = [
        replace(each, version=replaced[each.name]) if each.name in replaced else each
        for each in _installed(recorded)
    ]
    versions = {each.name: each.version for each in _installed(recorded)}
    told = (
        *_differences(recorded, version),
        *(
            f"{name}: was {versions[name]}, which could not be installed; {now} is the nearest there is"
            for name, now in replaced.items()
        ),
        *(f"{each.name}: {each.version} was added, since whence needs it" for each in _added(recorded)),
    )
    as_they_were = len(_installed(recorded)) - len(_added(recorded)) - len(replaced)
    here = replace(environment.capture(), implementation=recorded.implementation, python=version)
    return Made(python, _inside(here, recorded, has), _as_it_was(recorded, version, as_they_were), told)


def _inside(here: Environment, recorded: Environment, distributions: Sequence[Distribution]) -> Environment:
    """What a room with these distributions is, on this machine: the variables and search paths are the recorded ones."""
    own = Distribution("whence", here.whence)
    every = {each.name: each for each in (*distributions, own)}
    return replace(
        here,
        distributions=tuple(every[name] for name in sorted(every)),
        variables=recorded.variables,
        paths=recorded.paths,
    )


def _as_it_was(recorded: Environment, python: str, packages: int) -> tuple[str, ...]:
    same = (f"Python {python}",) if python == recorded.python else ()
    return (*same, f"{packages} packages at their versions") if packages else same


def _current(recorded: Environment) -> Made:
    """This interpreter, and what is otherwise in it."""
    here = environment.capture()
    had = {each.name: each for each in recorded.distributions if each.name != "whence"}
    has = {each.name: each for each in here.distributions if each.name != "whence"}
    told = list(_differences(recorded, here.python))
    told += [f"{name}: was {had[name].version}, and is not here" for name in sorted(had.keys() - has.keys())]
    told += [
        f"{name}: was {had[name].told}, is {has[name].told}"
        for name in sorted(had.keys() & has.keys())
        if had[name] != has[name]
    ]
    if extra := sorted(has.keys() - had.keys()):
        more = f" and {len(extra) - _NAMED} more" if len(extra) > _NAMED else ""
        told.append(f"packages that were not there: {', '.join(extra[:_NAMED])}{more}")
    same = sum(has.get(name) == each for name, each in had.items())
    inside = _inside(here, recorded, here.distributions)
    return Made(Path(sys.executable), inside, _as_it_was(recorded, here.python, same), tuple(told))


# ── kept ─────────────────────────────────────────────────────────────────────────────────────────


def _kept(folder: Path, maker: "_Maker", wanted: Sequence[str]) -> Path:
    """The Python of the environment with exactly `wanted`: made here once, by one process at a time."""
    made_of: list[digest.Framed] = [
        maker.recorded.implementation,
        maker.recorded.python,
        list(wanted),
        maker.wheel.read_bytes(),
    ]
    named = digest.digest_of("whence.room/1", made_of).hex
    shared = _free(folder, named)
    if shared.exists() and _version(_python_of(shared)) is not None:
        _touch(shared)
        return _python_of(shared)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f"{named}.lock", maker.progress):
        shared = _free(folder, named)
        if shared.exists() and _version(_python_of(shared)) is not None:
            return _python_of(shared)
        # What somebody left who was killed in the middle, and what does not work any more.
        for left in folder.glob(f".{named}-*"):
            shutil.rmtree(left, ignore_errors=True)
        beside = Path(tempfile.mkdtemp(dir=folder, prefix=f".{named}-"))
        try:
            if shared.exists():
                shared.rename(beside / "old")
            maker.fill(beside / "venv", wanted)
            (beside / "venv" / _HOLDS).write_bytes(_holds(beside / "venv"))
            with contextlib.suppress(FileExistsError):  # without locks, of two at once the first stays
                (beside / "venv").rename(shared)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    _forget(folder)
    return _python_of(shared)


def _free(folder: Path, named: str) -> Path:
    """Where an environment is kept: the first place of its name that nobody installed anything else into.

    One that was changed is left to who may be running in it.
    """
    names = itertools.chain([named], (f"{named}-{n}" for n in itertools.count(2)))
    return next(place for place in map(folder.joinpath, names) if not _is_changed(place))


def _is_changed(venv: Path) -> bool:
    try:
        return (venv / _HOLDS).read_bytes() != _holds(venv)
    except OSError:
        return False


def _holds(venv: Path) -> bytes:
    """What is installed there: by name, and when its installer last wrote what it installed."""
    rows: list[digest.Framed] = []
    for place in sorted([*venv.glob("lib*/python*/site-packages"), *venv.glob("Lib/site-packages")]):
        for each in sorted(os.listdir(place)):
            record = place / each / "RECORD"
            stamp = record.stat().st_mtime_ns if each.endswith(".dist-info") and record.exists() else 0
            if each != "__pycache__":
                rows.append([place.relative_to(venv).as_posix(), each, stamp])
    return digest.frame(rows)


def _forget(folder: Path) -> None:
    """Let go of what nobody used for long: to make it again costs time only."""
    for each in folder.iterdir():
        with contextlib.suppress(OSError):
            kept = _KEPT_CHANGED_SECONDS if _is_changed(each) else _KEPT_SECONDS
            if each.is_dir() and each.stat().st_mtime < time.time() - kept:
                shutil.rmtree(each, ignore_errors=True)


def _touch(shared: Path) -> None:
    with contextlib.suppress(OSError):  # somebody else's; then it is theirs to say when it was used
        os.utime(shared)


@contextlib.contextmanager
def _alone(lock: Path, progress: Progress) -> Iterator[None]:
    """Holds a lock, once nobody else does; whoever is killed holds nothing."""
    if _IS_WINDOWS:
        yield
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _locked(descriptor):
            progress("waiting for another process that makes the same environment")
            while not _locked(descriptor):
                interrupts.pause(interrupts.LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# ── making ───────────────────────────────────────────────────────────────────────────────────────


class _Gone(Exception):
    """Distributions that cannot be installed; `said` are uv's words."""

    def __init__(self, packages: Sequence[Distribution], said: str) -> None:
        super().__init__(said)
        self.packages = packages
        self.said = said

    @property
    def is_unanswered(self) -> bool:
        """Whether nobody said that they are gone, since no index answered."""
        return "error sending request" in self.said

    def told(self, was_nearest_asked: bool) -> str:
        what = ", ".join(f"{each.name} {each.version}" for each in self.packages)
        remedy = "; --nearest takes the nearest version there is" if what and not was_nearest_asked else ""
        return f"cannot install {what or 'the recorded distributions'}{remedy}; uv says:\n{self.said}"


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes virtual environments for one recorded Environment; relocatable ones, since they are moved."""

    recorded: Environment
    source: Path
    wheel: Path
    offline: bool
    progress: Progress

    def fill(self, venv: Path, wanted: Sequence[str]) -> Path:
        """Its Python, once it has exactly `wanted`.

        Raises:
            _Gone: something cannot be installed.
        """
        self.progress(f"making an environment: Python {self.recorded.python}, {len(wanted)} packages")
        try:
            self._create(venv)
            self._install(venv, wanted)
        except BaseException:
            shutil.rmtree(venv, ignore_errors=True)
            raise
        return _python_of(venv)

    def nearest(self, gone: Distribution) -> str:
        """The version nearest to one that is gone: the next of its minor series, the next, the one before.

        Raises:
            NotReady: there is no other.
        """
        series = ".".join(gone.version.split(".")[:2])
        for wanted, order in (
            (f"{gone.name}=={series}.*,>{gone.version}", "lowest"),
            (f"{gone.name}>{gone.version}", "lowest"),
            (f"{gone.name}<{gone.version}", "highest"),
        ):
            with tempfile.TemporaryDirectory(prefix="whence-nearest-") as folder:
                asked, answer = Path(folder) / "asked.in", Path(folder) / "answer.txt"
                asked.write_text(wanted + "\n", encoding="utf-8")
                compile_one = ["pip", "compile", "--no-deps", "--no-header", "--no-annotate"]
                compile_one += ["--resolution", order, "--python-version", self.recorded.minor]
                network = ["--offline"] if self.offline else []
                failed = _uv(self.source, [*compile_one, *network, "--output-file", str(answer), str(asked)])
                if not failed and (found := re.search(r"==([^\s;]+)", answer.read_text(encoding="utf-8"))):
                    return found[1]
        raise errors.NotReady(
            f"cannot install {gone.name} {gone.version}, nor any other version of it", ErrorKind.EXTRA_MISSING
        )

    def _install(self, venv: Path, wanted: Sequence[str]) -> None:
        listed = self.wheel.parent / "requirements.txt"
        listed.write_text("".join(line + "\n" for line in wanted), encoding="utf-8")
        install = ["pip", "install", "--no-deps", "--python", str(_python_of(venv))]
        install_all = [*install, "--requirements", str(listed)]
        failed = ""
        for network, variables in itertools.product(
            [["--offline"]] if self.offline else [["--offline"], []], ({}, *_with_pythons_own())
        ):
            failed = _uv(self.source, [*install_all, *network], variables)
            if not failed:
                break
        if failed:
            raise _Gone(_named_in(failed, self.recorded), failed)
        if failed := _uv(self.source, [*install, "--offline", "--no-cache", str(self.wheel)]):
            raise errors.NotReady(
                f"whence could not be installed in {venv}:\n{failed}", ErrorKind.EXTRA_MISSING
            )

    def _create(self, venv: Path) -> None:
        """An empty environment on the recorded Python, or else on another patch of it."""
        recorded = self.recorded
        name = recorded.implementation.lower()
        never = {"UV_PYTHON_DOWNLOADS": "never"}
        tries = [(f"{name}@{recorded.python}", never), (f"{name}@{recorded.minor}", never)]
        here = environment.capture()
        if (here.implementation, here.python) == (recorded.implementation, recorded.python):
            tries.insert(0, (str(getattr(sys, "_base_executable", sys.executable)), never))
        if not self.offline:
            tries.append((f"{name}@{recorded.minor}", {}))  # as the person's own settings have it
        failed = ""
        for python, variables in tries:
            command = ["venv", "--no-project", "--relocatable", "--python", python, str(venv)]
            failed = _uv(self.source, command, variables)
            if not failed:
                return
        raise errors.NotReady(
            f"no {recorded.implementation} {recorded.minor} to run in; install one, for example with "
            f"uv python install {recorded.minor}\n{failed}",
            ErrorKind.EXTRA_MISSING,
        )


def _with_pythons_own() -> Iterator[dict[str, str]]:
    """Where uv finds what `python -m venv` installs: it came from there, and never was in uv's cache.

    It is a variable, since an option would take the place of where this user finds packages.
    """
    bundled = Path(sysconfig.get_path("stdlib")) / "ensurepip" / "_bundled"
    if bundled.is_dir():
        yield {"UV_FIND_LINKS": ",".join(filter(None, [os.environ.get("UV_FIND_LINKS"), str(bundled)]))}


def _uv(folder: Path, arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
    """What uv said on failing; empty on success. Run in the source, where a project names its own index.

    Raises:
        NotReady: the disk is full.
        Interrupted: this thread was told to end; uv has ended, too.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_UV}
    given = kept | _NO_AGE_LIMIT | dict(variables or {})
    returncode, said = _ran_uv(folder, arguments, given)
    if returncode and "Failed to initialize cache" in said:  # of who has no home, say
        returncode, said = _ran_uv(folder, [*arguments, "--no-cache"], given)
    if returncode and re.search(r"os error (28|122|27)\b", said):  # no space, quota, too large
        raise errors.NotReady(
            f"the disk is full; nothing was recorded; make room and call again. uv says:\n{said}",
            ErrorKind.DISK_FULL,
        )
    return "" if returncode == 0 else said or f"uv exited with {returncode}"


def _ran_uv(folder: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
    """How it ended, and what it said."""
    with tempfile.TemporaryFile() as file:
        with group.started([_uv_binary(), "--quiet", *arguments], variables, folder, file) as process:
            returncode = group.ended(process)
        file.seek(0)
        return returncode, file.read().decode("utf-8", "replace").strip()


def _uv_binary() -> str:
    try:
        import uv  # optional: comes with whence[local]

        return uv.find_uv_bin()
    except (ImportError, FileNotFoundError):
        if found := shutil.which("uv"):
            return found
    raise errors.NotReady(
        "reruns make their environments with uv: pip install 'whence[local]'", ErrorKind.EXTRA_MISSING
    )


# ── what is in it ────────────────────────────────────────────────────────────────────────────────


def _requirements(recorded: Environment) -> list[str]:
    return [_requirement(each) for each in _installed(recorded)]


def _requirement(each: Distribution) -> str:
    return f"{each.name} @ {each.url}" if each.url else f"{each.name}=={each.version}"


def _installed(recorded: Environment) -> list[Distribution]:
    """What is installed: all that was and can be, and what whence needs besides. whence itself comes apart."""
    found = [each for each in recorded.distributions if not each.is_local and each.name != "whence"]
    return found + _added(recorded)


def _added(recorded: Environment) -> list[Distribution]:
    """What the running whence needs and the recorded environment did not have."""
    had = {each.name for each in recorded.distributions}
    needed = {
        re.split(r"[^\w.-]", each)[0].lower()
        for whence in [*metadata.distributions(name="whence")][:1]
        for each in whence.requires or ()
        if "extra ==" not in each
    }
    return [each for each in environment.capture().distributions if each.name in needed - had]


def _named_in(said: str, recorded: Environment) -> list[Distribution]:
    """The distributions that uv's words name; those that it says it has no version of, where it says so."""
    lacking = set(re.findall(r"no versions? of ([\w.-]+)==", said))
    found = [
        each
        for each in recorded.distributions
        if re.search(rf"(?<![\w.-]){re.escape(each.name)}(?![\w-])", said)
    ]
    return [each for each in found if each.name in lacking] or found


def _python_of(venv: Path) -> Path:
    return venv / "Scripts" / "python.exe" if _IS_WINDOWS else venv / "bin" / "python"


def _version(python: Path) -> str | None:
    """What the interpreter says that it is; None where it does not run, as when what it stands on is gone."""
    asked = [str(python), "-I", "-S", "-c", "import platform; print(platform.python_version())"]
    try:
        done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def _differences(recorded: Environment, python: str) -> Iterator[str]:
    here = environment.capture()
    facts = {
        "Python": (recorded.python, python),
        "operating system": (_words(recorded.platform), _words(here.platform)),
        "processor": (_words(recorded.cpu), _words(here.cpu)),
        "graphics processors": (", ".join(recorded.gpus) or "none", ", ".join(here.gpus) or "none"),
        "image": (recorded.image or "none", here.image or "none"),
        "whence": (recorded.whence, here.whence),
    }
    for name, (before, now) in facts.items():
        if before != now:
            yield f"{name}: was {before}, is {now}"
    if "PYTHONHASHSEED" not in recorded.variables:
        yield "hash seed: was random, and not recorded"


def _words(facts: environment.Platform | environment.Cpu) -> str:
    return " ".join(str(each) for each in dataclasses.astuple(facts) if each is not None)

"""Room: an empty folder and a fresh virtual environment, in which recorded code runs.

    <folder>/source     the Bundle, as it was recorded
    <folder>/venv       the recorded distributions, and the running whence (elsewhere if there is a cache)
    <folder>/home       an empty home

Decides how a recorded Environment comes back, and says what of it did not. Leaves to others what to run
in it and how its results compare (`replay`). Needs uv, which makes environments from its cache.
"""

import base64
import dataclasses
import hashlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from whence import bundle, environment
from whence.environment import Environment
from whence_catalog import digest, errors
from whence_catalog.blobs import BlobStore
from whence_catalog.digest import Digest
from whence_catalog.errors import ErrorKind

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
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_IS_WINDOWS = os.name == "nt"


@dataclasses.dataclass(frozen=True, slots=True)
class Room:
    """A restored place to run in. `could_not_restore` lists what differs from the one that was recorded."""

    folder: Path
    source: Path
    venv: Path
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
        offline: bool = False,
        cache: Path | None = None,
    ) -> "Room":
        """Restore source and environment in `folder`, which is new or empty.

        Packages come from uv's own cache where it has them, and from the network only if not `offline`.
        With `cache`, a folder, equal environments are made there once and shared: rooms must not write
        into them.

        What fails leaves the folder as it was.

        Raises:
            InvalidInput: where `folder` holds something.
            Damaged: where part of the Bundle is missing or altered.
            NotReady: where there is no uv, no such Python, or a distribution cannot be installed.
        """
        folder = folder.absolute()
        if folder.exists() and any(folder.iterdir()):
            raise errors.InvalidInput(
                f"{folder} is not empty; a room needs a folder of its own", ErrorKind.BAD_PATH
            )
        source = folder / "source"
        (folder / "home").mkdir(parents=True)
        try:
            blobs.copy_tree(bundle_root, source)
            venv = _make_venv(folder, source, recorded, offline, cache)
        except BaseException:
            for made in ("home", "source", "venv"):
                shutil.rmtree(folder / made, ignore_errors=True)
            raise
        lost = [each for each in recorded.distributions if each.is_local and not _is_in(source, each.name)]
        paths = [source / path for path in recorded.paths or (".", "src")] + [source / bundle.OUTSIDE]
        return cls(
            folder,
            source,
            venv,
            tuple(path for path in paths if path.is_dir()),
            dict(recorded.variables),
            (
                *_differences(recorded, _version_of(venv)),
                *(
                    f"{each.name}: {each.version} was added, since whence needs it"
                    for each in _added(recorded)
                ),
                *map(_lost, lost),
            ),
        )

    def run(
        self,
        entry: str,
        arguments: Path,
        results: Path,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Call `entry` (`module:qualified.name`) with what the file `arguments` holds; it writes `results`."""
        command = ["-m", "whence.replayed", entry, str(arguments.absolute()), str(results.absolute())]
        return self.python(command, variables)

    def python(
        self, arguments: Sequence[str], variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the room's Python in the restored folder, and wait for it; its output is captured as text.

        It sees the recorded variables, an empty home, the room's own folders on its path, and
        `variables`; nothing else of the caller's.
        """
        # -P: the search path is the recorded one, and not the current folder before it.
        command = [str(_python_of(self.venv)), "-P", *arguments]
        return subprocess.run(
            command,
            cwd=self.source,
            env=self._variables() | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    def _variables(self) -> dict[str, str]:
        home = str(self.folder / "home")
        needed = {"HOME": home, "PATH": f"{_python_of(self.venv).parent}{os.pathsep}{os.defpath}"}
        if _IS_WINDOWS:
            needed |= {"USERPROFILE": home, "SYSTEMROOT": os.environ.get("SYSTEMROOT", "")}
        return needed | dict(self.variables) | {"PYTHONPATH": os.pathsep.join(map(str, self.paths))}


# ── the virtual environment ──────────────────────────────────────────────────────────────────────


def _make_venv(folder: Path, source: Path, recorded: Environment, offline: bool, cache: Path | None) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        wheel = wheel_of_whence(Path(temporary))
        requirements = _requirements(recorded)
        listed = Path(temporary) / "requirements.txt"
        listed.write_text("".join(line + "\n" for line in requirements), encoding="utf-8")
        if cache is None:
            return _fill(folder / "venv", source, recorded, listed, wheel, offline)
        made_of: list[digest.Framed] = [
            recorded.implementation,
            recorded.python,
            requirements,
            wheel.read_bytes(),
        ]
        shared = cache.absolute() / digest.digest_of("whence.room/1", made_of).hex
        if not shared.exists():
            cache.mkdir(parents=True, exist_ok=True)
            # Beside it, so that its name appears whole; of two at once the first stays.
            beside = Path(tempfile.mkdtemp(dir=cache, prefix="tmp-"))
            try:
                _fill(beside / "venv", source, recorded, listed, wheel, offline)
                (beside / "venv").rename(shared)
            except OSError:
                if not shared.exists():
                    raise
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        return shared


def _fill(
    venv: Path, source: Path, recorded: Environment, requirements: Path, wheel: Path, offline: bool
) -> Path:
    """Make `venv` with exactly these; relocatable, since a shared one is moved."""
    _create(venv, source, recorded, offline)
    install = ["pip", "install", "--no-deps", "--python", str(_python_of(venv))]
    # What `python -m venv` installed came from here, and never was in uv's cache.
    bundled = Path(sysconfig.get_path("stdlib")) / "ensurepip" / "_bundled"
    from_python = ["--find-links", str(bundled)] if bundled.is_dir() else []
    failed = ""
    for network in [["--offline"]] if offline else [["--offline"], []]:
        failed = _uv(source, [*install, *network, *from_python, "--requirements", str(requirements)])
        if not failed:
            break
    if failed:
        raise errors.NotReady(_failure(failed, recorded), ErrorKind.EXTRA_MISSING)
    if failed := _uv(source, [*install, "--offline", "--no-cache", str(wheel)]):
        raise errors.NotReady(f"whence could not be installed in {venv}:\n{failed}", ErrorKind.EXTRA_MISSING)
    return venv


def _create(venv: Path, source: Path, recorded: Environment, offline: bool) -> None:
    """An empty environment on the recorded Python, or else on another patch of it."""
    name = recorded.implementation.lower()
    never = {"UV_PYTHON_DOWNLOADS": "never"}
    tries = [(f"{name}@{recorded.python}", never), (f"{name}@{recorded.minor}", never)]
    here = environment.capture()
    if (here.implementation, here.python) == (recorded.implementation, recorded.python):
        tries.insert(0, (str(getattr(sys, "_base_executable", sys.executable)), never))
    if not offline:
        tries.append((f"{name}@{recorded.minor}", {}))  # as the person's own settings have it
    failed = ""
    for python, variables in tries:
        command = ["venv", "--no-project", "--relocatable", "--python", python, str(venv)]
        failed = _uv(source, command, variables)
        if not failed:
            return
    raise errors.NotReady(
        f"no {recorded.implementation} {recorded.minor} to run in; install one, for example with "
        f"uv python install {recorded.minor}\n{failed}",
        ErrorKind.EXTRA_MISSING,
    )


def _uv(folder: Path, arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
    """What uv said on failing; empty on success. Run in the source, where a project names its own index."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_UV}
    done = subprocess.run(
        [_uv_binary(), "--quiet", *arguments],
        cwd=folder,
        env=kept | _NO_AGE_LIMIT | dict(variables or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr.strip() or f"uv exited with {done.returncode}"


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


def _requirements(recorded: Environment) -> list[str]:
    found = [each for each in recorded.distributions if not each.is_local and each.name != "whence"]
    recorded_ones = [
        f"{each.name} @ {each.url}" if each.url else f"{each.name}=={each.version}" for each in found
    ]
    return recorded_ones + [f"{each.name}=={each.version}" for each in _added(recorded)]


def _added(recorded: Environment) -> list[environment.Distribution]:
    """What the running whence needs and the recorded environment did not have."""
    had = {each.name for each in recorded.distributions}
    needed = {
        re.split(r"[^\w.-]", each)[0].lower()
        for whence in [*metadata.distributions(name="whence")][:1]
        for each in whence.requires or ()
        if "extra ==" not in each
    }
    return [each for each in environment.capture().distributions if each.name in needed - had]


def _failure(said: str, recorded: Environment) -> str:
    named = [each for each in recorded.distributions if re.search(rf"(?<![\w.-]){each.name}(?![\w-])", said)]
    what = ", ".join(f"{each.name} {each.version}" for each in named) or "the recorded distributions"
    return f"cannot install {what}; uv says:\n{said}"


def _python_of(venv: Path) -> Path:
    return venv / "Scripts" / "python.exe" if _IS_WINDOWS else venv / "bin" / "python"


def _version_of(venv: Path) -> str:
    lines = (venv / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    facts = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return facts.get("version_info") or facts.get("version", "")


# ── what is not as it was ────────────────────────────────────────────────────────────────────────


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


def _lost(each: environment.Distribution) -> str:
    how = "a development install" if each.editable else "installed from a local path"
    return f"{each.name} {each.version}: was {how}, and its source was not recorded"


def _is_in(source: Path, name: str) -> bool:
    """Whether the restored source is that of the distribution `name`: by its metadata, or a module's name."""
    if name == "whence":
        return True
    declared = source / "pyproject.toml"
    text = declared.read_text(encoding="utf-8", errors="replace") if declared.exists() else ""
    names = re.findall(r"""^name\s*=\s*["']([^"']+)["']""", text, re.MULTILINE)
    if name in {re.sub(r"[-_.]+", "-", each).lower() for each in names}:
        return True
    module = name.replace("-", "_")
    places = [source, source / "src", source / bundle.OUTSIDE]
    return any((at / module).is_dir() or (at / f"{module}.py").exists() for at in places)


# ── whence itself ────────────────────────────────────────────────────────────────────────────────


def wheel_of_whence(dest: Path) -> Path:
    """A wheel of the whence that runs, written in `dest`; the same bytes for the same code.

    Packed from the imported packages, so that it needs neither network nor build, and is the same from a
    development install as from a wheel.
    """
    version = environment.whence_version()
    files: dict[str, bytes] = {}
    for name in bundle.OWN_PACKAGES:
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for file in sorted(Path(folder).rglob("*")):
                if file.is_file() and file.suffix != ".pyc":
                    files[f"{name}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()
    about = f"whence-{version}.dist-info"
    files[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: whence\nVersion: {version}\n".encode()
    installed = next(iter(metadata.distributions(name="whence")), None)
    for name in ("METADATA", "entry_points.txt"):
        if installed is not None and (text := installed.read_text(name)):
            files[f"{about}/{name}"] = text.encode()
    files[f"{about}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: whence\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    lines = [f"{path},sha256={_hash(data)},{len(data)}\n" for path, data in files.items()]
    files[f"{about}/RECORD"] = "".join([*lines, f"{about}/RECORD,,\n"]).encode()
    wheel = dest / f"whence-{version}-py3-none-any.whl"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, _ZIP_TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    wheel.write_bytes(packed.getvalue())
    return wheel


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()

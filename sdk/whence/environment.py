"""Environment: what a Run ran in.

Decides which facts about Python, packages, machine and variables are kept, and their canonical bytes.
Leaves to others: making such a place again (`room`), the source itself (`bundle`), and which of the
code's packages make a result another one (`fingerprint`).

Nothing here holds a secret: only the variables named below are read, and URLs lose their credentials.
"""

import contextlib
import dataclasses
import functools
import json
import marshal
import os
import platform
import re
import sys
import sysconfig
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from whence import addresses, shelf, worktree
from whence_catalog import digest, later
from whence_catalog.errors import ErrorKind, InvalidInput

if TYPE_CHECKING:
    import msgspec
else:
    msgspec = later.Later("msgspec")

DOMAIN = "whence.environment/1"
# The image that this process runs in: `registry/name@sha256:…`, or its digest alone.
IMAGE_VARIABLES = ("WHENCE_IMAGE", "WHENCE_IMAGE_DIGEST")
POLICIES = ("python", "packages")

# Variables that change results or their order, and that by their nature never hold a secret.
# fmt: off
CHOSEN_VARIABLES = (
    "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONUTF8", "TZ", "LANG", "LC_ALL", "SOURCE_DATE_EPOCH",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "POLARS_MAX_THREADS", "TOKENIZERS_PARALLELISM",
    "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "TF_DETERMINISTIC_OPS",
)
# fmt: on

_HEAD = digest.frame(DOMAIN)
_NAME = re.compile(r"^Name:[ \t]*(\S+)", re.MULTILINE)
_VERSION = re.compile(r"^Version:[ \t]*(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Distribution:
    """An installed package.

    `url` says where a VCS or archive install came from, as pip would be told. `files_digest` stands for
    the files that the installer of a path, archive or VCS install wrote down. What has neither an URL
    nor a registry behind it (`is_local`) can only come back with the source. `source` is the commit that the
    source of an editable install was at, as pip would be told, with ` (changed)` behind it where it was not all of it.
    """

    name: str
    version: str
    editable: bool = False
    url: str | None = None
    files_digest: str | None = None
    source: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether it was installed from a folder or a file of its machine."""
        return self.editable or (self.url is None and self.files_digest is not None)

    @property
    def told(self) -> str:
        """Its version; with what makes another of the same one."""
        source = self.url or ("a development install" if self.editable else self.files_digest)
        return self.version if source is None else f"{self.version} ({source})"


@dataclass(frozen=True, slots=True)
class Platform:
    """The operating system, for example Linux, its kernel's release, x86_64 and `glibc 2.36`."""

    system: str
    release: str
    machine: str
    libc: str | None = None


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor, and how many of its cores the process may use."""

    model: str
    count: int


@dataclass(frozen=True, slots=True)
class Environment:
    """What a Run ran in. The names of the fields are those of the recorded form.

    `paths` are the entries of `sys.path` under the project's root, relative to it (`.` is the root).
    """

    python: str
    implementation: str
    distributions: tuple[Distribution, ...]
    platform: Platform
    cpu: Cpu
    whence: str
    image: str | None = None
    gpus: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()

    @property
    def minor(self) -> str:
        """The Python version without its patch: `3.11`."""
        return ".".join(self.python.split(".")[:2])


def capture(root: Path | None = None) -> Environment:
    """The Environment of this process, with the search paths under `root`; read once per process.

    It is read again when `sys.path`, a folder of installed packages or a chosen variable changes.
    """
    variables = tuple((name, os.environ[name]) for name in CHOSEN_VARIABLES if name in os.environ)
    image = next((os.environ[name] for name in IMAGE_VARIABLES if os.environ.get(name)), None)
    # Not the source's own folders: a step that writes beside its source would have it read every time.
    stamps = _stamps([entry for entry in sys.path if is_installed(entry + os.sep)])
    return _capture(tuple(sys.path), stamps, variables, image, root)


def editable() -> dict[str, str]:
    """The folders of the editable installs of this Python by their names; whence's own is told by its version."""
    stamps = _stamps([entry for entry in sys.path if is_installed(entry + os.sep)])
    rows = _installed(tuple(sys.path), stamps)
    found = {name: folder_of(origin) for name, _, is_editable, _, _, origin in rows if is_editable}
    return {name: at for name, at in found.items() if at is not None and name != "whence"}


def folder_of(url: str) -> str | None:
    """The folder that a `file:` address names."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.unquote(parts.path) if parts.scheme == "file" else None


def encode(environment: Environment) -> bytes:
    """The canonical bytes of an Environment: equal bytes exactly where all recorded facts are equal."""
    return _HEAD + digest.frame(cast("digest.Framed", _present(environment)))


def decode(data: bytes) -> Environment:
    """The Environment that `encode` wrote; facts that this version does not know are passed over.

    Raises:
        InvalidInput: where the bytes are not an Environment.
    """
    if not data.startswith(_HEAD):
        raise InvalidInput(f"not an environment: it does not begin with {DOMAIN}", ErrorKind.MALFORMED_FRAME)
    try:
        return msgspec.convert(digest.unframe(data[len(_HEAD) :]), Environment)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"not an environment: {error}", ErrorKind.MALFORMED_FRAME) from error


def key_environment(environment: Environment, policy: str = "python") -> dict[str, str]:
    """The value of the key component `environment`: the Python minor version, and the image if known.

    By the policy `packages` it is every installed distribution, too, by the digest of all of them.

    Raises:
        InvalidInput: no such policy.
    """
    if policy not in POLICIES:
        raise InvalidInput(f"environment is {policy!r}; it is one of {', '.join(POLICIES)}, or a mapping")
    value = {"python": environment.minor}
    if environment.image is not None:
        value["image"] = environment.image
    if policy == "packages":
        rows = cast("digest.Framed", [_identity(each) for each in environment.distributions])
        value["packages"] = digest.digest_of(DOMAIN, rows).text
    return value


def _identity(each: Distribution) -> dict[str, object]:
    """What of a distribution counts in a key: what an editable install holds counts as code."""
    return cast("dict[str, object]", _present(dataclasses.replace(each, source=None)))


@functools.cache
def is_installed(file: str) -> bool:
    """Whether `file` belongs to Python itself or to an installed package, and not to somebody's source."""
    if "/site-packages/" in file or "/dist-packages/" in file:
        return True
    return file.startswith(_installation())


def normal(name: str) -> str:
    """The name of a distribution, however it is written."""
    return re.sub(r"[-_.]+", "-", name).lower()


def whence_version() -> str:
    """The version of whence that runs; `0+unknown` where it is used without being installed."""
    try:
        return metadata.version("whence")
    except metadata.PackageNotFoundError:
        return "0+unknown"


# ── capture ──────────────────────────────────────────────────────────────────────────────────────


@functools.lru_cache(maxsize=16)
def _capture(
    path: tuple[str, ...],
    stamps: tuple[int, ...],
    variables: tuple[tuple[str, str], ...],
    image: str | None,
    root: Path | None,
) -> Environment:
    distributions = _distributions(path, stamps)
    return Environment(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        distributions=distributions,
        platform=Platform(platform.system(), platform.release(), platform.machine(), _libc()),
        cpu=_cpu(),
        # Asking for one by its name loads what parses e-mail.
        whence=next((each.version for each in distributions if each.name == "whence"), None)
        or whence_version(),
        image=image,
        gpus=_gpus(),
        variables=dict(variables),
        paths=_paths_under(root, path) if root is not None else (),
    )


def _stamps(paths: Sequence[str]) -> tuple[int, ...]:
    stamps = []
    for path in paths:
        try:
            stamps.append(os.stat(path or ".").st_mtime_ns)
        except OSError:
            stamps.append(0)
    return tuple(stamps)


_Row: TypeAlias = tuple[str, str, bool, str | None, str | None, str]


@functools.lru_cache(maxsize=4)
def _distributions(path: tuple[str, ...], stamps: tuple[int, ...]) -> tuple[Distribution, ...]:
    """Everything installed; of two with one name, the one that an import would find."""
    return tuple(
        Distribution(name, version, editable, url, files_digest, _commit(name, origin) if editable else None)
        for name, version, editable, url, files_digest, origin in _installed(path, stamps)
    )


def _installed(path: tuple[str, ...], stamps: tuple[int, ...]) -> Sequence[_Row]:
    """A row for each distribution, with where an editable one lies; kept for the next process.

    To read what hundreds of packages say of themselves takes a tenth of a second. Folders may have been made with
    the same times, so what is in them by name counts, too.
    """
    seen = [[name for name in _names(entry) if name.endswith(("-info", ".egg-link"))] for entry in path]
    made_of = digest.frame(["whence.distributions/2", list(path), list(stamps), seen])
    kept_as = f"installed-{digest.digest_of_bytes(made_of + sys.version.encode()).hex}"
    data = shelf.read(kept_as)
    if data is not None:
        with contextlib.suppress(ValueError, TypeError, EOFError):
            return cast("Sequence[_Row]", marshal.loads(data))
    found: dict[str, _Row] = {}
    for each in metadata.distributions(path=list(path)):
        # Not `each.metadata`: the e-mail parser is most of the time. A lone file is Debian's old form.
        text = each.read_text("METADATA") or each.read_text("PKG-INFO") or each.read_text("") or ""
        head = text.partition("\n\n")[0]
        named, version = _NAME.search(head), _VERSION.search(head)
        if named is None or version is None:
            continue  # a folder that a broken install left behind
        name = normal(named[1])
        if name not in found:
            found[name] = _row(name, version[1], each)
    rows = [found[each] for each in sorted(found)]
    shelf.write(kept_as, marshal.dumps(rows))
    return rows


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except OSError:
        return []


def _row(name: str, version: str, found: metadata.Distribution) -> _Row:
    try:
        origin = json.loads(found.read_text("direct_url.json") or "null")
    except ValueError:
        origin = None
    if not isinstance(origin, dict):
        # A development install of the old kind leaves its .egg-info beside the source.
        beside_source = found.read_text("RECORD") is None and not is_installed(f"{found.locate_file('')}/")
        folder = Path(os.path.abspath(str(found.locate_file(""))))
        return name, version, beside_source, None, None, folder.as_uri() if beside_source else ""
    if origin.get("dir_info", {}).get("editable"):
        return name, version, True, None, None, str(origin.get("url", ""))
    return name, version, False, _requirement(origin), _files_digest(found), ""


def _commit(name: str, url: str) -> str | None:
    """Where the source of an editable install stood in git; whence's own is told by its version."""
    folder = folder_of(url)
    if name == "whence" or folder is None:
        return None
    facts = worktree.facts(Path(folder))
    if "commit" not in facts:
        return None
    changed = " (changed)" if facts.get("dirty") == "yes" else ""
    return f"git+{facts.get('remote', '')}@{facts['commit']}{changed}"


def _requirement(origin: Mapping[str, object]) -> str | None:
    """The URL that installs what `direct_url.json` describes; None for a path of one machine."""
    url = str(origin.get("url", ""))
    if url.startswith("file:"):
        return None
    vcs, archive = origin.get("vcs_info"), origin.get("archive_info")
    fragments = []
    clean = addresses.without_credentials(url)
    if isinstance(vcs, dict):
        clean = f"{vcs.get('vcs')}+{clean}@{vcs.get('commit_id')}"
    elif isinstance(archive, dict):
        sha256 = (archive.get("hashes") or {}).get("sha256")
        fragments += [f"sha256={sha256}"] if sha256 else []
    if subdirectory := origin.get("subdirectory"):
        fragments.append(f"subdirectory={subdirectory}")
    return clean + ("#" + "&".join(fragments) if fragments else "")


def _files_digest(found: metadata.Distribution) -> str | None:
    """The identity of the files that its installer hashed; scripts name the machine and do not count."""
    rows = [line.split(",") for line in (found.read_text("RECORD") or "").splitlines()]
    files = sorted(
        [path, hashed]
        for path, hashed, _ in (row for row in rows if len(row) == 3)
        if hashed and not path.startswith("..") and ".dist-info/" not in path
    )
    return digest.digest_of("whence.installed/1", cast("digest.Framed", files)).text if files else None


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        return " ".join(filter(None, platform.libc_ver())) or None


def _cpu() -> Cpu:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            named = next((line for line in lines if line.startswith("model name")), "")
    except OSError:
        named = ""
    return Cpu(named.partition(":")[2].strip() or platform.machine(), count)


def _gpus(drivers: Path = Path("/proc/driver")) -> tuple[str, ...]:
    files = sorted(drivers.glob("nvidia/gpus/*/information"))
    text = "\n".join(file.read_text(errors="replace") for file in files)
    return tuple(re.findall(r"^Model:[ \t]*(.+)$", text, re.MULTILINE))


def _paths_under(root: Path, path: Sequence[str]) -> tuple[str, ...]:
    under: dict[str, None] = {}
    base = os.path.realpath(root)
    for entry in path:
        at = os.path.realpath(entry or ".")
        # The folder of `python` is there when a console script runs; a virtual environment may be inside.
        is_ours = (at + os.sep).startswith(base + os.sep) and not is_installed(at + os.sep)
        if is_ours and os.path.isdir(at) and at != os.path.dirname(sys.executable):
            under[Path(at).relative_to(base).as_posix()] = None
    return tuple(under)


@functools.cache
def _installation() -> tuple[str, ...]:
    places = sysconfig.get_paths()
    folders = {places[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {os.path.realpath(folder) for folder in folders}
    return tuple(sorted(folder + os.sep for folder in folders))


def _present(value: object) -> object:
    """`value` as frames take it, without the facts that are absent."""
    if dataclasses.is_dataclass(value):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _present(item) for key, item in value.items() if item is not None}
    return [_present(item) for item in value] if isinstance(value, (list, tuple)) else value

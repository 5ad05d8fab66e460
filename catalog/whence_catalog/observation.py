"""Decides what is told of all that a Run was seen to touch: what no part of its key stands for.

Leaves to others: seeing it (the SDK), and what an audit makes of it (`audit`). Paths are absolute and
normal here, with `/`; whether two of them are one file is for whoever looks at the disk.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from whence_catalog import model

NOT_WATCHED = "files and network read outside the inputs were not observed"
# A variable's name, where somebody went through all of them.
ALL_VARIABLES = "(all of them)"
_SHOWN = 5

# What tells of the machine and not of the work, or is nothing, or noise. What comes in through a
# descriptor may be anything, so `/dev/stdin` and its like are none of these.
_MACHINE = ("/proc/", "/sys/", "/dev/pts/")
_DEVICES = frozenset({"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"})
_DESCRIPTORS = re.compile(r"/dev/(stdin|fd/.*)|/proc/[^/]+(/task/[^/]+)?/fd/.*")
# Where scratch files go, where programs lie: these name places, and what is read or started there is told.
_PLACES = frozenset({"TMPDIR", "TEMP", "TMP", "PATH"})
_COMPILED = re.compile(r"(.*/)?__pycache__/([^/]+?)\.[^./]+(\.opt-[^./]+)?\.pyc")


@dataclass(frozen=True, slots=True)
class Cover:
    """What the key of a Run stands for already, or whence's own: touching it is nothing to tell.

    `folders` cover all that is in them.
    """

    root: str
    files: frozenset[str] = frozenset()
    folders: tuple[str, ...] = ()
    variables: frozenset[str] = frozenset()
    _inside: tuple[str, ...] = field(init=False, repr=False)
    _prefixes: tuple[str, ...] = field(init=False, repr=False)
    _names: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        inside = tuple(dict.fromkeys(folder.rstrip("/") + "/" for folder in self.folders))
        object.__setattr__(self, "_inside", inside)
        # One look for what is neither, which is asked of each file that a Run opens.
        object.__setattr__(self, "_prefixes", inside + _MACHINE)
        object.__setattr__(self, "_names", self.files.union(_DEVICES, (folder[:-1] for folder in inside)))

    def covers(self, path: str) -> bool:
        """Whether touching that file or folder is nothing to tell. Compiled code stands for its source."""
        if path.startswith(self._prefixes):
            return path.startswith(self._inside) or _DESCRIPTORS.fullmatch(path) is None
        if path in self._names:
            return True
        if path.endswith(".pyc") and (found := _COMPILED.fullmatch(path)):
            return f"{found[1] or ''}{found[2]}.py" in self.files
        return False

    def uncovered(self, paths: Iterable[str]) -> set[str]:
        """Those that are not covered. A Run may open millions of files: no call is made for one of them."""
        prefixes, names = self._prefixes, self._names
        return {
            path
            for path in paths
            if not (path.startswith(prefixes) or path in names or path.endswith(".pyc"))
            or not self.covers(path)
        }

    def covers_variable(self, name: str) -> bool:
        """Whether reading that environment variable is nothing to tell."""
        return name in self.variables or name in _PLACES or name.startswith("WHENCE_")

    def shown(self, path: str) -> str:
        """How a path is told: from the project's root, where it is in it; as UTF-8 whatever bytes it has."""
        inside = self.root.rstrip("/") + "/"
        is_inside = len(inside) > 1 and path.startswith(inside)
        told = (path[len(inside) :] or "./") if is_inside else path
        return told.encode("utf-8", "backslashreplace").decode()


@dataclass(slots=True)
class Touched:
    """What a Run touched: files (folders that it listed end with `/`), addresses, programs, variables."""

    files: set[str] = field(default_factory=set)
    sockets: set[str] = field(default_factory=set)
    subprocesses: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)

    def add(self, other: "Touched") -> None:
        """Have touched what `other` has, too."""
        self.files |= other.files
        self.sockets |= other.sockets
        self.subprocesses |= other.subprocesses
        self.variables |= other.variables
        self.unseen |= other.unseen


def observed(
    watching: model.Watching, cover: Cover, touched: Touched, uncounted: Mapping[str, int] = {}
) -> model.Observed:
    """What is told of a Run: sorted, cut, and without what is covered.

    Args:
        uncounted: by the name of a list, what came after it was too long to be remembered.
    """
    files = sorted({cover.shown(path) for path in touched.files if not cover.covers(path)})
    variables = sorted(name for name in touched.variables if not cover.covers_variable(name))
    lists = {
        "files": files,
        "sockets": sorted(touched.sockets),
        "subprocesses": sorted(touched.subprocesses),
        "variables": variables,
    }
    most = model.Observed.MOST
    more = {name: len(rows[most:]) + uncounted.get(name, 0) for name, rows in lists.items()}
    spots = set(touched.unseen)
    if touched.subprocesses:
        spots.add("programs were started: what they read was not seen")
    return model.Observed(
        watching,
        files=tuple(files[:most]),
        sockets=tuple(lists["sockets"][:most]),
        subprocesses=tuple(lists["subprocesses"][:most]),
        variables=tuple(variables[:most]),
        more={name: count for name, count in more.items() if count},
        blind_spots=tuple(sorted(spots)),
    )


def not_watched() -> model.Observed:
    """What is told of a Run that nobody watched."""
    return model.Observed(model.Watching.OFF, blind_spots=(NOT_WATCHED,))


def touched(seen: model.Observed) -> tuple[str, ...]:
    """What a Run was seen to touch, a sentence for each kind, cut to a few names."""
    return tuple(_sentences(seen))


def reasons(seen: model.Observed) -> tuple[str, ...]:
    """Why what a Run made must not be reused: what ran beside the code in its key; what it read, if reads are strict."""
    ran: tuple[str, ...] = (
        f"code ran that is no part of its key: {_few(seen.holes, 0)}; it counts from the next call on",
    )
    ran = ran if seen.holes else ()
    if seen.watching is not model.Watching.STRICT:
        return ran
    return ran + tuple(
        f"reads are strict, and {why}"
        for why in (*_sentences(seen), *(f"something was out of sight: {spot}" for spot in seen.blind_spots))
    )


def unseen(seen: model.Observed | None) -> tuple[str, ...]:
    """What keeps a reader of the record from saying that nothing else shaped the outcome of a Run."""
    if seen is None:
        return (NOT_WATCHED,)
    return (*_sentences(seen), *seen.blind_spots)


def _sentences(seen: model.Observed) -> Iterator[str]:
    for what, name, rows in (
        ("it read files that are no inputs", "files", seen.files),
        ("it spoke to the network", "sockets", seen.sockets),
        ("it started programs", "subprocesses", seen.subprocesses),
        ("it read environment variables", "variables", seen.variables),
    ):
        if rows:
            yield f"{what}: {_few(rows, seen.more.get(name, 0))}"


def _few(rows: Iterable[str], more: int) -> str:
    names = list(rows)
    left = len(names[_SHOWN:]) + more
    return ", ".join(names[:_SHOWN]) + (f" and {left} more" if left else "")


def normal(path: str, folder: str) -> str:
    """A path as this module has them: absolute, from `folder` where it is relative, without `.` and `..`."""
    if path.startswith("/") and "//" not in path and "/." not in path:
        return path.rstrip("/") or "/"
    return "/" + posixpath.normpath(posixpath.join(folder, path)).lstrip("/")

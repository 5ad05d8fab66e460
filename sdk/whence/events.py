"""Reads the events that Python audits: what code touches, from the arguments of `open`, `socket.connect`, ….

Nothing here raises an event of these itself, and an open costs little more than a look into a set: what a
path means is found out later, at the latest before the folder, or what lies there, changes.
"""

import contextlib
import itertools
import os
import sys
import types
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

from whence import native
from whence_catalog import observation

Event: TypeAlias = tuple[object, ...]

_MANY = 4096
# What is remembered of one Run; after that it is counted.
_MOST = 50_000
# How many paths are followed to where they lead, at the end.
_LINKS = 1000
_WRITES = os.O_WRONLY | os.O_RDWR
_HERE = frozenset({__file__, __file__.removesuffix("events.py") + "reads.py"})
# Python's library asks these of the machine, on behalf of nobody's data.
_FINDING_ITS_WAY = frozenset({"ctypes.util", "platform", "uuid"})
_IMPORTING = ("importlib", "_frozen_importlib", "zipimport", "pkgutil")


class Notes:
    """What the events of one Run say, in the order they came."""

    def __init__(self, cover: observation.Cover) -> None:
        self.cover = cover
        self.touched = observation.Touched()
        self.uncounted: dict[str, int] = {}
        # As they were given to `open`: those that need not be looked at again, and those not looked at yet.
        self.known: set[object] = set()
        self._pending: list[object] = []
        self._made: set[str] = set()
        self._made_folders: tuple[str, ...] = ()
        self._set: set[str] = set()

    # ── files ────────────────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Find out what was opened so far."""
        names: list[str] = []
        take = self._pending.pop
        with contextlib.suppress(IndexError):  # another thread may take of them, too
            while True:
                path = take()
                # The common case of `_absolute`.
                if type(path) is str and path[:1] == "/" and "//" not in path and "/." not in path:
                    names.append(path)
                else:
                    self._look_up(path, names)
        if names:
            new = self.cover.uncovered(names) - self.touched.files
            if self._made or self._made_folders:
                new = {name for name in new if not self._is_made(name)}
            self._add_files(new)

    def _look_up(self, path: object, names: list[str]) -> None:
        try:
            names.append(_absolute(path))
        except (OSError, TypeError, ValueError):  # the working folder is gone; no path at all
            self.touched.unseen.add("a file was opened whose place could not be found out")

    def read(self, path: object) -> None:
        """That file is read."""
        self.known.add(path)
        self._pending.append(path)
        if len(self._pending) > _MANY:
            self.settle()
            if len(self.known) > _MOST:
                self.known.clear()

    def move_to(self) -> None:
        """The working folder becomes another one: what is relative names other files from now on."""
        self.settle()
        self.known.clear()

    def look_behind_links(self, cover: observation.Cover) -> None:
        """Forget the files that `cover` covers by another path."""
        for name in itertools.islice(list(self.touched.files), _LINKS):
            real = os.path.realpath(name)
            if real != name and (cover.covers(real) or self._is_made(real)):
                self.touched.files.discard(name)

    def _note_file(self, name: str) -> None:
        if name not in self.touched.files and not self.cover.covers(name) and not self._is_made(name):
            self._add_files({name})

    def _add_files(self, names: set[str]) -> None:
        room = _MOST - len(self.touched.files)
        if len(names) <= room:
            self.touched.files |= names
        else:
            self.touched.files |= set(itertools.islice(names, max(0, room)))
            self.uncounted["files"] = self.uncounted.get("files", 0) + len(names) - max(0, room)

    def _is_made(self, name: str) -> bool:
        return name in self._made or f"{name}/".startswith(self._made_folders)

    def write(self, path: object, flags: int) -> None:
        """That file is opened for writing: what is in it afterwards is the Run's own, if it is emptied or new.

        What is opened to go on in it is new only because nothing lay there: that was read, too.
        """
        self.settle()
        name = _absolute(path)
        empties = bool(flags & (os.O_TRUNC | os.O_EXCL)) and not _is_temporary(flags)
        is_there = os.path.lexists(name)
        if empties and (not is_there or (not flags & os.O_EXCL and os.access(name, os.W_OK))):
            self._made.add(name)
        elif flags & os.O_RDWR and not empties and not _is_temporary(flags):
            self._note_file(name)

    def list_folder(self, path: object) -> None:
        """The names in that folder are read."""
        if not isinstance(path, int) and not _caller(2).startswith(_IMPORTING):
            self._note_file(_absolute("." if path is None else path).rstrip("/") + "/")

    def make_folder(self, path: object) -> None:
        """All that will be in that folder is the Run's own, if it is new."""
        name = _absolute(path)
        if not os.path.lexists(name):
            self._made_folders += (name + "/",)

    def move(self, source: object, target: object) -> None:
        """What was at `source` will be at `target`."""
        self.settle()
        was, will_be = _absolute(source), _absolute(target)
        if not self._is_made(was):
            self._note_file(was)
        if os.path.isdir(was):
            self._made_folders += (will_be + "/",)
        self._made.add(will_be)

    def link(self, source: object, target: object, is_symbolic: bool) -> None:
        """What is at `source` will be at `target` too."""
        self.settle()
        will_be = _absolute(target)
        seen_from = os.path.dirname(will_be) if is_symbolic else None
        self._note_file(_absolute(source, seen_from))
        self._made.add(will_be)

    def open_beneath(self, name: object) -> None:
        """A file was opened by a relative name, perhaps from a folder's descriptor, which nobody tells."""
        if os.path.lexists(cast("str", name)):
            self.read(name)
        elif _caller(2) != "shutil":  # that removes a folder so
            self.touched.unseen.add("a file was opened by its name in a folder that is not known")

    # ── the rest ─────────────────────────────────────────────────────────────────────────────────

    def speak(self, address: object, how: str = "") -> None:
        """Something is said to that address, or awaited there."""
        if isinstance(address, tuple):
            host, port = (*address, None)[:2]
            shown = _text(host) if port is None else f"{_text(host)}:{port}"
        else:
            path = _absolute(address)
            if self._is_made(path):
                return
            shown = f"unix:{self.cover.shown(path)}"
        self._note("sockets", how + shown)

    def start(self, program: object) -> None:
        """A program is started."""
        self._note("subprocesses", _text(program))

    def load_library(self, name: object) -> None:
        """A library is loaded by `ctypes`: what is called in it is out of sight."""
        by = _caller(2, "ctypes")
        package = by.partition(".")[0]
        own = self.cover.shown(_absolute(name)) if "/" in _text(name) else _text(name)
        if package not in sys.stdlib_module_names and native.is_reader(package):
            self.touched.unseen.add(f"{own} was loaded by {by}: what is called in it was not seen")

    def read_variable(self, name: str) -> None:
        """That environment variable is read."""
        variables = self.touched.variables
        if name not in self._set and observation.ALL_VARIABLES not in variables:
            self._note("variables", _text(name))

    def set_variable(self, name: str) -> None:
        """That environment variable is the Run's own from now on."""
        self._set.add(name)

    def _note(self, kind: str, name: str) -> None:
        rows: set[str] = getattr(self.touched, kind)
        if len(rows) < _MOST:
            rows.add(name)
        elif name not in rows:
            self.uncounted[kind] = self.uncounted.get(kind, 0) + 1

    def take_over(self, inner: "Notes") -> None:
        """Have seen what another saw, which ran as part of this one."""
        self.settle()
        inner.settle()
        for name in inner.touched.files:
            self._note_file(name)
        self._made |= inner._made
        self._made_folders += inner._made_folders
        inner_rest = inner.touched
        self.touched.add(
            observation.Touched(
                set(),
                inner_rest.sockets,
                inner_rest.subprocesses,
                {name for name in inner_rest.variables if name not in self._set},
                inner_rest.unseen,
            )
        )
        for kind, count in inner.uncounted.items():
            self.uncounted[kind] = self.uncounted.get(kind, 0) + count


def _absolute(path: object, folder: str | None = None) -> str:
    text = os.fsdecode(cast("str", path))
    if not text.startswith("/"):
        return observation.normal(text, folder or os.getcwd())
    return observation.normal(text, "/")


def _text(value: object) -> str:
    text = os.fsdecode(value) if isinstance(value, str | bytes | os.PathLike) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()


def _is_temporary(flags: int) -> bool:
    nameless = getattr(os, "O_TMPFILE", 0)
    return bool(nameless) and flags & nameless == nameless


def _caller(depth: int, but: str = "") -> str:
    """The module of the code that an event comes from, which is not `but` or beneath it."""
    frame: types.FrameType | None = sys._getframe(depth)
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        is_passed_by = but and (name == but or name.startswith(f"{but}."))
        if frame.f_code.co_filename not in _HERE and not is_passed_by:
            return name
        frame = frame.f_back
    return ""


# ── the events ───────────────────────────────────────────────────────────────────────────────────


def _open(notes: Notes, event: Event) -> None:
    path, mode, flags = cast("tuple[object, object, int]", event)
    if type(path) is int or path in notes.known:
        return
    if flags & _WRITES:
        notes.write(path, flags)
    elif mode is None and not _is_rooted(path):
        notes.open_beneath(path)
    else:
        notes.read(path)


def _is_rooted(path: object) -> bool:
    return path[:1] == "/" if type(path) is str else _text(path).startswith("/")


def _rename(notes: Notes, event: Event) -> None:
    notes.move(event[0], event[1])


def _link(notes: Notes, event: Event) -> None:
    notes.link(event[0], event[1], is_symbolic=False)


def _symlink(notes: Notes, event: Event) -> None:
    notes.link(event[0], event[1], is_symbolic=True)


def _mkdir(notes: Notes, event: Event) -> None:
    if event[2] == -1:
        notes.make_folder(event[0])


def _list(notes: Notes, event: Event) -> None:
    notes.list_folder(event[0])


def _chdir(notes: Notes, event: Event) -> None:
    notes.move_to()


def _input(notes: Notes, event: Event) -> None:
    notes.read("/dev/stdin")


def _database(notes: Notes, event: Event) -> None:
    name = os.fsdecode(cast("str", event[0]))
    if name.startswith("file:"):
        name, _, said = name[5:].partition("?")
        name = "/" + name.lstrip("/") if name.startswith("//") else name
        name = "" if "mode=memory" in said else name
    if name and name != ":memory:":
        notes.write(name, os.O_RDWR | os.O_CREAT)


def _connect(notes: Notes, event: Event) -> None:
    if event[1] is not None:
        notes.speak(event[1])


def _bind(notes: Notes, event: Event) -> None:
    notes.speak(event[1], "listening at ")


def _look_up(notes: Notes, event: Event) -> None:
    host, port = (*event, None)[:2]
    if host is not None:
        notes.speak((host, port))


def _look_up_host(notes: Notes, event: Event) -> None:
    notes.speak((event[0], None))


def _name_of(notes: Notes, event: Event) -> None:
    notes.speak(event[0])


def _popen(notes: Notes, event: Event) -> None:
    if _caller(2, "subprocess") not in _FINDING_ITS_WAY:
        notes.start(event[0])


def _system(notes: Notes, event: Event) -> None:
    # What is set before the program may be a secret.
    words = [word for word in _text(event[0]).split() if "=" not in word]
    notes.start(words[0] if words else "sh")


def _first(notes: Notes, event: Event) -> None:
    notes.start(event[0])


def _second(notes: Notes, event: Event) -> None:
    notes.start(event[1])


def _fork(notes: Notes, event: Event) -> None:
    notes.start("fork")


def _pty(notes: Notes, event: Event) -> None:
    notes.start(cast("list[object]", event[0])[0])


def _dlopen(notes: Notes, event: Event) -> None:
    if event[0]:
        notes.load_library(event[0])


HANDLERS: Mapping[str, Callable[[Notes, Event], None]] = {
    "open": _open,
    "os.listdir": _list,
    "os.scandir": _list,
    "os.chdir": _chdir,
    "os.rename": _rename,
    "os.link": _link,
    "os.symlink": _symlink,
    "os.mkdir": _mkdir,
    "builtins.input": _input,
    "sqlite3.connect": _database,
    "socket.connect": _connect,
    "socket.sendto": _connect,
    "socket.sendmsg": _connect,
    "socket.bind": _bind,
    "socket.getaddrinfo": _look_up,
    "socket.gethostbyname": _look_up_host,
    "socket.gethostbyaddr": _look_up_host,
    "socket.getnameinfo": _name_of,
    "subprocess.Popen": _popen,
    "os.system": _system,
    "os.exec": _first,
    "os.posix_spawn": _first,
    "os.spawn": _second,
    "os.fork": _fork,
    "os.forkpty": _fork,
    "pty.spawn": _pty,
    "ctypes.dlopen": _dlopen,
}

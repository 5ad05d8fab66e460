"""Watches what a Run touches while it runs: files, sockets, programs, environment variables.

Python's audit events tell of all but the last. A hook on them cannot be removed, so there is one for the
process, made when something is first to be watched; until then, and where nobody watches, there is none.
Whose event it is says the context; in a thread without one, it is that of the only Run that is watched.
What whence does itself is nobody's. Leaves to others: what an event says (`events`), and which of it is
told (`observation`).
"""

import contextlib
import contextvars
import enum
import functools
import itertools
import os
import sys
import sysconfig
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeAlias, TypeVar

from whence import events, loops, native
from whence import variables as environ
from whence_catalog import model, observation
from whence_catalog.errors import InvalidInput

if TYPE_CHECKING:
    from whence.client import Client

P = ParamSpec("P")
R = TypeVar("R")

ReadsName: TypeAlias = Literal["note", "strict", "off"]

VARIABLE = "WHENCE_READS"
_PROBE = "whence.reads.probe"


class _Own(enum.Enum):
    """Whose is what whence does itself, or a step that is not to be watched."""

    UNWATCHED = "unwatched"


class Watch:
    """What is seen of one Run."""

    def __init__(
        self, watching: model.Watching, cover: observation.Cover, around: "Watch | None" = None
    ) -> None:
        self.watching = watching
        self.around = around
        self.is_open = True
        # Beside the Run's own: what happened where nothing says whose it is.
        self.notes = events.Notes(cover)
        self.strays = events.Notes(cover)
        self.mine = (self.notes,)
        self.known = self.notes.known
        self.failures = 0
        self.thread = threading.get_ident()
        self.is_task = loops.is_running()
        self.unseen: set[str] = set()
        self._started = _processes_started()

    def miss(self, what: str) -> None:
        """Something was out of sight."""
        self.unseen.add(what)

    def close(self) -> None:
        """See nothing more. What was seen was part of the Run around it, too."""
        self.is_open = False
        try:
            self._conclude()
        except Exception as error:  # of a module that is none, say; the step did not fail
            self.miss(f"what was seen could not all be read: {type(error).__name__}")

    def _conclude(self) -> None:
        if _processes_started() != self._started:
            self.notes.start("multiprocessing")
        if _has_workers():
            self.miss("processes of multiprocessing were there: what they read was not seen")
        if loaded := native.readers():
            self.miss(f"native readers loaded: {', '.join(loaded)}")
        if self.failures:
            self.miss(f"{self.failures} events could not be noted")
        self.notes.settle()
        self.strays.settle()
        if self.around is not None:
            self.around.notes.take_over(self.notes)
            self.around.unseen |= self.unseen

    def seen(self, lent: Iterable[str] = ()) -> model.Observed:
        """What it was seen to touch, and what of that was out of sight; `lent` are the paths of its inputs."""
        if self.watching is model.Watching.OFF:
            return observation.not_watched()
        cover = self.notes.cover
        paths = frozenset(lent)
        whole = observation.Cover(cover.root, cover.files | paths, (*cover.folders, *paths), cover.variables)
        self.notes.look_behind_links(whole)
        touched = self.notes.touched
        touched.unseen |= self.unseen
        touched.unseen |= self._strayed(whole)
        return observation.observed(self.watching, whole, touched, self.notes.uncounted)

    def _strayed(self, cover: observation.Cover) -> set[str]:
        strayed = observation.observed(self.watching, cover, self.strays.touched, self.strays.uncounted)
        return {f"in threads or tasks of no one run: {text}" for text in observation.touched(strayed)}


# ── whose an event is ────────────────────────────────────────────────────────────────────────────

_whose: "contextvars.ContextVar[Watch | _Own | None]" = contextvars.ContextVar("whence_watch", default=None)
_watches: "list[Watch]" = []
# How many steps run now that are not to be watched.
_unwatched_steps: list[None] = []


def _notes() -> "tuple[events.Notes, ...]":
    """Where an event of this thread, now, is to be noted."""
    mine = _whose.get()
    if mine is None:
        return _notes_without_context()
    if mine is _Own.UNWATCHED or not mine.is_open:
        return ()
    return mine.mine


def _notes_without_context() -> "tuple[events.Notes, ...]":
    around = list(_watches)
    here = threading.get_ident()
    nested = all(inner.around is outer for outer, inner in itertools.pairwise(around))
    if nested and not _unwatched_steps and around:
        inner = around[-1]
        # Another task of the same loop belongs to somebody else.
        if not (inner.is_task and inner.thread == here):
            return inner.mine
    return tuple(watch.strays for watch in around)


@contextlib.contextmanager
def watched(watching: model.Watching, cover: observation.Cover) -> Iterator[Watch]:
    """Around the code of a Run alone: what it touches is noted, but for what `cover` covers."""
    before = _whose.get()
    watch = Watch(watching, cover, before if isinstance(before, Watch) else None)
    if watching is model.Watching.OFF:
        with _not_watched(before):
            yield watch
        return
    if not _install():
        watch.miss("this interpreter tells no events: files, network and programs were not observed")
    if not environ.begin():
        watch.miss("environment variables were not observed: os.environ was replaced")
    token = _whose.set(watch)
    _watches.append(watch)
    try:
        yield watch
    finally:
        with contextlib.suppress(ValueError):  # a fork has none
            _watches.remove(watch)
        _whose.reset(token)
        environ.end()
        watch.close()


@contextlib.contextmanager
def _not_watched(before: "Watch | _Own | None") -> Iterator[None]:
    """As part of a Run that is watched it is watched with that; else it is nobody's."""
    if before is not None:
        yield
        return
    token = _whose.set(_Own.UNWATCHED)
    _unwatched_steps.append(None)
    try:
        yield
    finally:
        _unwatched_steps.pop()
        _whose.reset(token)


def unwatched(function: Callable[P, R]) -> Callable[P, R]:
    """Make what `function` does whence's own: no Run is said to have done it."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _whose.set(_Own.UNWATCHED)
        try:
            return function(*args, **kwargs)
        finally:
            _whose.reset(token)

    return call


def current() -> Watch | None:
    """The watch that this code is under, where its context says so."""
    mine = _whose.get()
    return mine if isinstance(mine, Watch) else None


def _after_fork() -> None:
    _watches.clear()
    _unwatched_steps.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# ── the hook ─────────────────────────────────────────────────────────────────────────────────────

_installing = threading.Lock()
_heard: list[object] = []
_is_installed = False


def _hook(
    watches: Sequence[Watch],
    handlers: Mapping[str, Callable[[events.Notes, events.Event], None]],
    whose: "Callable[[], Watch | _Own | None]",
    notes: Callable[[], "tuple[events.Notes, ...]"],
    watch_type: type[Watch],
) -> Callable[[str, events.Event], None]:
    """What hears every event of the process. Its names are its own, since modules lose theirs as Python ends."""

    def hear(event: str, args: events.Event) -> None:
        if watches and event in handlers:
            try:
                mine = whose()
                if type(mine) is watch_type:
                    # What is done most, by the shortest way: a file that was opened before is opened again.
                    if mine.is_open and not (event == "open" and args[0] in mine.known):
                        handlers[event](mine.notes, args)
                else:
                    for each in notes():
                        handlers[event](each, args)
            # What is raised here is raised in the user's `open`. An interrupt is meant for them; else nothing may.
            except Exception:
                for watch in watches:
                    watch.failures += 1

    return hear


def _probe(notes: events.Notes, event: events.Event) -> None:
    _heard.append(event)


def _install() -> bool:
    """Have the hook; whether it hears: an interpreter may have no audit, or another hook refuse this one."""
    global _is_installed
    with _installing:
        if not _is_installed and hasattr(sys, "addaudithook"):
            sys.addaudithook(_hook(_watches, {**events.HANDLERS, _PROBE: _probe}, _whose.get, _notes, Watch))
            _try_out()
        _is_installed = True
    return bool(_heard)


def has_hook() -> bool:
    """Whether this process hears events by now."""
    return bool(_heard)


def _try_out() -> None:
    listener = Watch(model.Watching.OFF, observation.Cover("/"))
    token = _whose.set(listener)
    _watches.append(listener)
    try:
        sys.audit(_PROBE)
    finally:
        _watches.remove(listener)
        _whose.reset(token)


def _read_variable(name: str) -> None:
    try:
        for each in _notes():
            each.read_variable(name)
    except Exception:
        for watch in _watches:
            watch.failures += 1


def _wrote_variable(name: str) -> None:
    for each in _notes():
        each.set_variable(name)


environ.tell(_read_variable, _wrote_variable)


# ── processes, and what is covered ───────────────────────────────────────────────────────────────


def _processes_started() -> str:
    """A text that is another one once `multiprocessing` has started a process; not all of these tell of it."""
    module = sys.modules.get("multiprocessing.process")
    return repr(getattr(module, "_process_counter", itertools.count(1)))


def _has_workers() -> bool:
    module = sys.modules.get("multiprocessing.process")
    return bool(getattr(module, "_children", ()))


def cover(
    client: "Client",
    root: Path,
    files: Iterable[str] = (),
    folders: Iterable[str] = (),
    variables: Iterable[str] = (),
) -> observation.Cover:
    """What touching says nothing of: these, Python and its packages, and where `client` keeps what is whence's."""
    own = [os.fspath(client.writer.box.folder)]
    if "://" not in client.url:
        own.append(client.url)
    if client.blobs.url.startswith("file://"):
        own.append(urllib.parse.unquote(urllib.parse.urlsplit(client.blobs.url).path))
    python_files, python_folders = _of_python()
    return observation.Cover(
        os.fspath(root),
        python_files.union(files),
        (*python_folders, *own, *folders),
        frozenset(variables),
    )


@functools.lru_cache(1)
def _of_python() -> tuple[frozenset[str], tuple[str, ...]]:
    """(files, folders) of this interpreter and of all that is installed for it, whence too."""
    import whence
    import whence_catalog

    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    installed += [place for place in sys.path if place.endswith(("site-packages", "dist-packages"))]
    installed += [
        f"{os.path.dirname(place)}/python{sys.version_info[0]}{sys.version_info[1]}.zip"
        for place in installed[:1]
    ]
    installed += [sys.pycache_prefix] if sys.pycache_prefix else []
    installed += [place for package in (whence, whence_catalog) for place in package.__path__]
    folders = dict.fromkeys([*installed, *map(os.path.realpath, installed)])
    files = [sys.executable, os.path.realpath(sys.executable), os.path.join(sys.prefix, "pyvenv.cfg")]
    return frozenset(files), tuple(folders)


def default() -> model.Watching:
    """How closely to watch where nobody says: as WHENCE_READS has it, else the reads are noted."""
    return named(os.environ.get(VARIABLE) or model.Watching.NOTE.value, VARIABLE)


def named(text: str, where: str) -> model.Watching:
    """The way of watching of that name.

    Raises:
        InvalidInput: there is none.
    """
    try:
        return model.Watching(text)
    except ValueError as error:
        raise InvalidInput(f"{where} is {text!r}; it is one of {', '.join(model.Watching)}") from error

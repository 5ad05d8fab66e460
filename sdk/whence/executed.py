"""Executed: whether the project's code that ran is the code that the key stands for.

From Python 3.12 on the interpreter tells of each code object as it starts, and of none twice where it is
told so; what a step runs a million times costs once. What ran of the project and is not covered is a hole:
named, and kept for the job, so that the next call covers it. Leaves to others: what is covered (`reach`),
and that nothing is published beside a hole (`recorder`).

Whose code it is says the context. A thread without one may run anybody's: there, it is that of every
comparison that is going on in other threads.
"""

import contextlib
import contextvars
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from whence import covered, fingerprint, origins
from whence.origins import Origin

_NAME = "whence"
# The others are a debugger's, a coverage tool's, a profiler's and an optimizer's.
_TOOLS = (4, 3)


class Comparison:
    """What ran of the project's code, beside what is covered of it.

    `covered` is None where it was not compared: on Python 3.11, or where other tools have taken what there is
    to listen with. `holes` are the symbols that ran and are not covered, by their full names.
    """

    def __init__(self, coverage: covered.Coverage, root: str) -> None:
        self.covered: bool | None = None
        self.holes: tuple[str, ...] = ()
        self.missed: tuple[covered.Place, ...] = ()
        self.thread = threading.get_ident()
        self._coverage = coverage
        self._root = root
        self._strange: dict[int, types.CodeType] = {}
        self._seen: dict[int, types.CodeType] = {}

    def note(self, code: types.CodeType) -> None:
        """It ran."""
        if id(code) not in self._seen:
            self._seen[id(code)] = code
            if not self._coverage.has(code):
                self._strange[id(code)] = code

    def knows(self, code: types.CodeType) -> bool:
        """Whether hearing of it again would tell nothing."""
        return id(code) in self._seen or self._coverage.has(code)

    def conclude(self) -> None:
        """Say what is to be said of it."""
        places = {self._place(code) for code in list(self._strange.values())}
        # What a module defines ran only because the module did.
        whole = {place.file for place in places if place.qualname == "<module>"}
        self.missed = tuple(
            sorted(place for place in places if place.qualname == "<module>" or place.file not in whole)
        )
        self.holes = tuple(sorted({place.symbol for place in self.missed}))
        self.covered = not self.holes

    def _place(self, code: types.CodeType) -> covered.Place:
        file = origins.real_path(code.co_filename)
        module = origins.module_name({"__name__": "", "__file__": file}, self._root)
        return covered.Place(module or os.path.splitext(os.path.basename(file))[0], code.co_qualname, file)


_mine: "contextvars.ContextVar[Comparison | None]" = contextvars.ContextVar("whence_compared", default=None)


class _Listener:
    """Hears what starts, for all comparisons of the process; has a tool's number while there are any."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._tool: int | None = None
        self._going: tuple[Comparison, ...] = ()
        # Those inside of which another one goes on, in the same context.
        self._waiting: frozenset[int] = frozenset()
        self._is_project: dict[str, bool] = {}

    def enter(self, comparison: Comparison, around: Comparison | None) -> bool:
        """Begin to hear for a comparison; whether that can be."""
        monitoring: Any = getattr(sys, "monitoring", None)
        if monitoring is None:
            return False
        with self._guard:
            if self._tool is None:
                self._tool = next((tool for tool in _TOOLS if monitoring.get_tool(tool) is None), None)
                if self._tool is None:
                    return False
                monitoring.use_tool_id(self._tool, _NAME)
                monitoring.register_callback(
                    self._tool, monitoring.events.PY_START, self._heard(monitoring.DISABLE)
                )
                monitoring.set_events(self._tool, monitoring.events.PY_START)
            self._going = (*self._going, comparison)
            if around is not None:
                self._waiting |= {id(around)}
            # What one of them was told no more of, the next one wants to hear.
            monitoring.restart_events()
        return True

    def leave(self, comparison: Comparison, around: Comparison | None) -> None:
        """Hear no more for it, and give the number back with the last one."""
        monitoring: Any = getattr(sys, "monitoring", None)
        with self._guard:
            self._going = tuple(item for item in self._going if item is not comparison)
            if around is not None:
                self._waiting -= {id(around)}
            if self._going:
                monitoring.restart_events()
            else:
                self.stop()

    def _heard(self, disable: object) -> Callable[[types.CodeType, int], object]:
        def start(code: types.CodeType, _: int) -> object:
            try:
                return disable if self._has_told(code) else None
            except Exception:  # raised here, it would be raised in the user's function
                return None

        return start

    def _has_told(self, code: types.CodeType) -> bool:
        """Take it in; whether nobody needs to hear of it again."""
        file = code.co_filename
        if file not in self._is_project:
            # What has no file has no place that could be covered: it was made by what widens.
            self._is_project[file] = file[:1] != "<" and origins.of_file(file) is Origin.PROJECT
        if not self._is_project[file]:
            return True
        mine = _mine.get()
        for item in self._going if mine is None else (mine,):
            if mine is not None or item.thread != threading.get_ident():
                item.note(code)
        return all(item.knows(code) for item in self._going if id(item) not in self._waiting)

    def stop(self) -> None:
        """Give the number back, whoever is still going on: in a forked child nobody is compared."""
        if self._tool is not None:
            monitoring: Any = getattr(sys, "monitoring", None)
            monitoring.set_events(self._tool, 0)
            monitoring.register_callback(self._tool, monitoring.events.PY_START, None)
            monitoring.free_tool_id(self._tool)
            self._tool = None


_listener = _Listener()


def _after_fork() -> None:
    global _listener
    _listener.stop()
    _listener = _Listener()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def compared(code: "fingerprint.CodeIdentity | None", root: Path) -> Iterator[Comparison]:
    """Around the call of a step's function alone: compares what runs of the project with `code`.

    What is None is no code of this process, and compared with nothing. The answer is there once it ended.
    """
    around = _mine.get()
    comparison = Comparison(covered.Coverage() if code is None else code.coverage, os.path.realpath(root))
    # A step inside another one is on its own, whether or not it can be compared.
    token = _mine.set(comparison)
    listener = _listener
    is_heard = code is not None and listener.enter(comparison, around)
    try:
        yield comparison
    finally:
        _mine.reset(token)
        if is_heard and listener is _listener:  # a fork has another one
            listener.leave(comparison, around)
            comparison.conclude()

"""Fingerprint: what code a step runs, as a map of symbols to digests, and what the step is called.

The map is the value of the key's component `code`. Leaves to others: which code is reached (`reach`), what
of its syntax counts (`normal_form`), and what was read while the step ran.
"""

import collections
import functools
import os
import pathlib
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from whence import covered, forms, loaded, normal_form, origins, reach
from whence_catalog import digest as digests
from whence_catalog.errors import ErrorKind, InvalidInput


@dataclass(frozen=True, slots=True)
class CodeIdentity:
    """What code a step runs.

    `files` are the project's files that it stands in: their absolute path by that from the project's
    root. `widened` says why everything in the project counts, where it does. The symbols in
    `interpreter_bound` have no source that compiles to what is loaded, so their bytecode counts. Each
    entry of `uncacheable` names a value that nothing stands for: with one, the step has no key. `entry`
    is the symbol of the step itself. `coverage` tells of a piece of loaded code whether it is covered.
    """

    rows: Mapping[str, bytes]
    files: Mapping[str, str]
    widened: tuple[str, ...]
    interpreter_bound: tuple[str, ...]
    uncacheable: tuple[str, ...]
    entry: str
    coverage: covered.Coverage = field(default_factory=covered.Coverage, compare=False, repr=False)

    @property
    def digest(self) -> digests.Digest:
        """The identity of all of it."""
        return digests.digest_of(normal_form.DOMAIN, dict(self.rows))


def code_identity(
    function: Callable[..., object],
    root: pathlib.Path,
    arguments: Sequence[object] = (),
    further: Sequence[covered.Place] = (),
) -> CodeIdentity:
    """What code `function` runs, for the project at `root`, as it is loaded now.

    The classes of `arguments` are covered as if the function named them, where they are the project's; so are
    the `further` places, which an earlier call ran and no name led to.
    """
    real = os.path.realpath(root)
    roots = reach.roots(arguments)
    name = (id(function), real, tuple(map(id, roots)), tuple(further))
    with _guard:
        known = _known.get(name)
        if known is not None and known.walk.still_holds():
            _known.move_to_end(name)
            return known.identity
    walk, identity = _walked(function, real, roots, further)
    with _guard:
        _known.pop(name, None)
        if walk.witness.is_complete and not walk.widened:
            _known[name] = _Known(function, roots, walk, identity)
            if len(_known) > _MOST_KNOWN:
                _known.popitem(last=False)
    return identity


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found of a function and its arguments' code, which are kept so that their addresses are."""

    function: object
    roots: Sequence[object]
    walk: reach.Walk
    identity: CodeIdentity


_MOST_KNOWN = 128
_known: "collections.OrderedDict[tuple[object, ...], _Known]" = collections.OrderedDict()
# Whether something still holds is asked of the walk that found it, by one thread at a time.
_guard = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_guard.release)


def _walked(
    function: Callable[..., object], root: str, roots: Sequence[object], further: Sequence[covered.Place]
) -> tuple[reach.Walk, CodeIdentity]:
    walk = reach.Walk(root, keep_docstrings=False)
    entry = walk.run(function, roots, further)
    if walk.reads_docstrings:
        # Then docstrings count everywhere: which ones are read cannot be told.
        walk = reach.Walk(root, keep_docstrings=True)
        entry = walk.run(function, roots, further)
    return walk, CodeIdentity(
        dict(sorted(walk.rows.items())),
        dict(sorted(walk.files.items())),
        tuple(sorted(walk.widened)),
        tuple(sorted(walk.interpreter_bound)),
        tuple(sorted(walk.uncacheable)),
        entry,
        walk.coverage,
    )


def job_name(function: Callable[..., object], root: pathlib.Path) -> str:
    """The name of the step's job: its module's path from the project's root, and its qualified name.

    Raises:
        InvalidInput: the function is from a notebook or a prompt, so that no file names it.
    """
    subject = _subject(function)
    qualname = getattr(subject, "__qualname__", "function")
    module = origins.module_name(loaded.namespace_of(subject), os.path.realpath(root))
    if module in origins.MAIN_MODULES:
        raise InvalidInput(
            f"{qualname} is defined in a notebook or at a prompt, where no file names its job; "
            f'pass a name: @whence.step(name="{qualname}")',
            ErrorKind.BAD_NAME,
        )
    return f"{module}.{qualname}"


def _subject(function: object) -> object:
    """The function or class behind wrappers, partials and bound methods."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif forms.is_wrapper(function):
            function = loaded.wrapped(function)
        else:
            return function if isinstance(function, types.FunctionType | type) else type(function)

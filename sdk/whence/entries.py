"""Entries: how the code of a Run is reached to run it again, and whether it can be.

Decides that when the Run is recorded: a function of a module, or of the script that was started, is reached by
importing its file, if that runs no step; one that a notebook's cells made, by a module made from those cells
(`notebook`); one that is made inside another function, by its code in the file and the values of its free variables.
What cannot be restored makes the Run one that cannot be made again, and says why.

Leaves to others: which source there is (`bundle`), and calling the entry in a room (`replayed`).
"""

import ast
import functools
import inspect
import os
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whence import bundle, closures, contents, notebook, origins, statements
from whence.bundle import Bundle
from whence_catalog import digest, model
from whence_catalog.errors import InvalidInput

# What of a class runs when something is made of it.
_MAKES = ("__new__", "__init__", "__post_init__")
# What starts an application that another package made, besides calling it.
_STARTS = frozenset({"main", "run"})
# Of what an application holds, how much is looked through for its commands (as `registered_commands[0].callback`).
_MOST_HELD = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a function is found again. Exactly one of `rerunnable` and `because` speaks.

    `closure` are values that are not in the source: free variables, and global ones that an import does not
    bind; `made` are source files that are in no folder, by their paths in the Bundle; `notes` say what is not in them.
    """

    name: str
    source: model.Reached
    because: str | None = None
    closure: Mapping[str, digest.Framed] = field(default_factory=dict)
    made: Mapping[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rerunnable(self) -> bool:
        """Whether it can be called again."""
        return self.because is None


def find(
    function: Callable[..., object], root: Path, source: Bundle, arguments: Sequence[object] = ()
) -> Entry:
    """How `function`, which is called now, is reached from `source`, and if it is not, why not.

    It can be, if its file is in the Bundle, if the code there is what ran, if importing that file runs no step and
    binds its name to it, and if the values that it finds in neither can be stored. An import is judged on the statements that it
    executes, so not on function bodies nor on what stands under `if __name__ == "__main__"`: none may call a step, or
    hand one to a call, or use a whence client, or call a function of the source that does so in turn.

    Args:
        arguments: that it is called with; a notebook's module has their classes, too.
    """
    inner = inspect.unwrap(function)
    code = getattr(inner, "__code__", None)
    qualname = str(getattr(inner, "__qualname__", inner))
    in_script = getattr(inner, "__module__", None) in origins.MAIN_MODULES
    reached = model.Reached.SCRIPT if in_script else model.Reached.MODULE
    if not isinstance(inner, types.FunctionType) or not isinstance(code, types.CodeType):
        return Entry(qualname, reached, f"{qualname} is not a Python function")
    if not os.path.isfile(code.co_filename):
        return _of_notebook(function, inner, root, source, arguments)
    name = f"{_module_of(inner, root)}:{qualname}"
    path = source.path_of(code.co_filename)
    if source.root_digest is None:
        return Entry(name, reached, source.because)
    if path is None:
        return Entry(name, reached, f"{code.co_filename} is not among the recorded source")
    if source.obstacles:
        return Entry(name, reached, "; ".join(source.obstacles))
    if called := called_at_import(code.co_filename, inner):
        return Entry(
            name,
            reached,
            f"importing {path} would run the whole pipeline again, since it calls {called}; "
            'put that under if __name__ == "__main__":',
        )
    if not closures.is_nested(qualname) and (other := _otherwise_reached(function, inner)):
        return Entry(name, reached, other)
    try:
        found = closures.of(function, root)
        if in_script:
            found |= closures.globals_of(function, _guarded(code.co_filename), root)
    except InvalidInput as error:
        return Entry(name, reached, str(error))
    return Entry(name, reached, closure=found)


def _of_notebook(
    function: Callable[..., object],
    inner: types.FunctionType,
    root: Path,
    source: Bundle,
    arguments: Sequence[object],
) -> Entry:
    reached = model.Reached.NOTEBOOK
    name = f"{notebook.MODULE}:{inner.__qualname__}"
    cells = notebook.cells()
    if cells is None:
        return Entry(name, reached, f"{inner.__qualname__} was typed into a session; no file holds it")
    hidden = ", ".join(map(str, sorted(notebook.left_out(cells))))
    notes = (
        (f"of the notebook, cells {hidden} were left out: what looks secret stands in them",)
        if hidden
        else ()
    )
    if source.root_digest is None or source.obstacles:
        because = source.because or "; ".join(source.obstacles)
        return Entry(name, reached, because, made=notebook.files(cells, None), notes=notes)
    try:
        module, values = notebook.module_of(
            inner, cells, functools.partial(_leads_on, function=inner), arguments
        )
        found = {**closures.of(function, root), **closures.values_of(values, root)}
    except InvalidInput as error:
        return Entry(name, reached, str(error), made=notebook.files(cells, None), notes=notes)
    return Entry(name, reached, None, found, notebook.files(cells, module), notes)


def _leads_on(value: object, function: types.FunctionType) -> bool:
    return _leads_to_step(value, function, set())


def _module_of(function: types.FunctionType, root: Path) -> str:
    """What an import calls its module; for a script, what an import from the project's root would."""
    named = function.__module__
    in_script = named in origins.MAIN_MODULES
    return origins.module_name(function.__globals__, os.path.realpath(root)) if in_script else named


def _otherwise_reached(function: Callable[..., object], inner: types.FunctionType) -> str | None:
    """Why an import does not reach it by its name."""
    first, *rest = inner.__qualname__.split(".")
    found = inner.__globals__.get(first)
    for part in rest:
        found = inspect.getattr_static(found, part, None)
    there, called = closures.made_step(_bare(found)), closures.without_step(function)
    # A module that was loaded anew has it once more.
    is_anew = called is inner and _is_written_as(there, inner)
    if there is not called and not is_anew:
        return (
            f"the name {inner.__qualname__} does not stand for the function that was made a step: it was bound again, or"
            " decorated in another way; put @whence.step over it, and give it a name of its own"
        )
    if not closures.is_imported(inner):
        return f'{inner.__qualname__} is made under if __name__ == "__main__":, which no import runs; put it above'
    return None


def _bare(found: object) -> object:
    return found.__func__ if isinstance(found, staticmethod) else found


def _is_written_as(there: object, function: types.FunctionType) -> bool:
    return isinstance(there, types.FunctionType) and bundle.alike(there.__code__, function.__code__)


# ── what a script binds for itself ───────────────────────────────────────────────────────────────


def _guarded(file: str) -> frozenset[str]:
    """The names that a script binds under `if __name__ == "__main__"`, which an import does not, or otherwise."""
    return _bound_under_guard(file, contents.stamp(file) or ())


@functools.lru_cache(maxsize=64)
def _bound_under_guard(file: str, stamp: contents.Stamp) -> frozenset[str]:
    try:
        body = ast.parse(Path(file).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    return frozenset(statements.bound_by(statements.halves(body)[0]))


# ── what an import would run ─────────────────────────────────────────────────────────────────────


def called_at_import(file: str, function: types.FunctionType) -> str | None:
    """What an import of `file` would call that is, or leads to, a step."""
    names = function.__globals__
    try:
        calls = _calls_at_import(file, contents.stamp(file) or ())
    except (OSError, SyntaxError, ValueError):
        return "what could not be read"
    for node in calls:
        if _leads_to_step(_named(node.func, names), function, set()):
            return ast.unparse(node.func) + "()"
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if _is_step(_bound(_named(argument, names)), function):
                return f"{ast.unparse(node.func)}({ast.unparse(argument)})"
    return None


@functools.lru_cache(maxsize=64)
def _calls_at_import(file: str, stamp: contents.Stamp) -> tuple[ast.Call, ...]:
    return statements.calls_in(ast.parse(Path(file).read_bytes()).body)


@dataclass(frozen=True, slots=True)
class _Method:
    """A function that is called as an attribute of `owner`, a class, and may call what else that has."""

    function: object
    owner: type


def _named(node: ast.expr, names: Mapping[str, object]) -> object:
    """What a name or a dotted name stands for; what a class makes is told by the class."""
    match node:
        case ast.Name(id=name):
            return names.get(name)
        case ast.Attribute(value=value, attr=name):
            return _attribute(_named(value, names), name)
        case ast.Call(func=called):
            made = _bound(_named(called, names))
            return _Made(made) if isinstance(made, type) else None
        case _:
            return None


@dataclass(frozen=True, slots=True)
class _Made:
    """Something that a class makes, and that is not there yet."""

    type: type


def _attribute(owner: object, name: str) -> object:
    """An attribute, looked up without running anything; of what is whence's, the thing itself."""
    if isinstance(owner, _Method):
        owner = owner.function
    if isinstance(owner, types.ModuleType):
        return vars(owner).get(name)
    kind = owner.type if isinstance(owner, _Made) else owner if isinstance(owner, type) else type(owner)
    if _is_whences(owner):
        return owner
    held = {} if isinstance(owner, (type, _Made)) else _kept_in(owner)
    if name in held:
        return held[name]
    found = inspect.getattr_static(kind, name, None)
    if found is None:
        return None
    if not isinstance(owner, (type, _Made)) and name in _STARTS and not _is_ours(found):
        return owner  # it is what it holds that this starts
    return _Method(found, kind)


def _bound(value: object) -> object:
    """The thing itself, whoever it is an attribute of."""
    return value.function if isinstance(value, _Method) else value


def _is_ours(value: object) -> bool:
    inner = _function_of(value)
    return inner is not None and not bundle.is_foreign(inner.__code__.co_filename)


def _function_of(value: object) -> types.FunctionType | None:
    """The function behind what is not one, but calls one."""
    while not isinstance(value, types.FunctionType):
        match value:
            case types.MethodType() | classmethod() | staticmethod():
                value = value.__func__
            case functools.partial() | functools.partialmethod() | functools.cached_property():
                value = value.func
            case property():
                value = value.fget
            case _:
                return None
    return value


def _is_step(value: object, function: types.FunctionType) -> bool:
    """Whether it is `function`, or something of whence's: a step, a client, a Run."""
    if isinstance(value, types.FunctionType):
        inner = inspect.unwrap(value)
        return inner is function or (inner is not value and bundle.is_own(value.__code__.co_filename))
    return _is_whences(value)


def _is_whences(value: object) -> bool:
    is_instance = not isinstance(value, (type, types.ModuleType, _Made, _Method))
    return is_instance and type(value).__module__.partition(".")[0] in bundle.OWN_PACKAGES


def _leads_to_step(value: object, function: types.FunctionType, seen: set[tuple[int, object]]) -> bool:
    """Whether calling it is, or leads to, calling a step, as far as names and values tell."""
    value, owner = (value.function, value.owner) if isinstance(value, _Method) else (value, None)
    if _is_step(value, function):
        return True
    if (id(value), owner) in seen:
        return False
    seen.add((id(value), owner))
    return any(_leads_to_step(each, function, seen) for each in _called_by(value, owner))


def _called_by(value: object, owner: type | None) -> Iterator[object]:
    """What calling it may call."""
    if isinstance(value, type):
        made = (inspect.getattr_static(value, name, None) for name in _MAKES)
        yield from (_Method(each, value) for each in made if _is_ours(each))
        return
    inner = _function_of(value)
    if inner is None:
        if callable(value):
            called = inspect.getattr_static(type(value), "__call__", None)
            yield _Method(called, type(value)) if _is_ours(called) else None
            yield from _held(value)
        return
    if bundle.is_foreign(inner.__code__.co_filename):
        return
    used = {name for code in bundle.codes(inner.__code__) for name in code.co_names}
    around = [cell.cell_contents for cell in inner.__closure__ or () if _is_filled(cell)]
    found = [*(inner.__globals__.get(name) for name in used), *around]
    yield from (each for each in found if not isinstance(each, types.ModuleType) and callable(each))
    owners = [*found, *([] if owner is None else [_Made(owner)])]
    for each in owners:
        owns = isinstance(each, (types.ModuleType, type, _Made)) or _is_ours_made(each)
        yield from (_attribute(each, name) for name in used) if owns else ()


def _is_ours_made(value: object) -> bool:
    """Whether it was made by a class of the source."""
    return any(_is_ours(each) for each in vars(type(value)).values())


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _held(value: object) -> Iterator[object]:
    """The functions that something holds, as an application holds its commands; not those that it is made of."""
    waiting, known = deque([value]), {id(value)}
    while waiting and len(known) < _MOST_HELD:
        match held := waiting.popleft():
            case types.FunctionType():
                yield held
                continue
            case type() | types.ModuleType():
                continue
            case dict():
                inner = list(held.values())
            case list() | tuple() | set() | frozenset():
                inner = list(held)
            case _:
                inner = list(_kept_in(held).values())
        fresh = [each for each in inner[:_MOST_HELD] if id(each) not in known]
        known |= {id(each) for each in fresh}
        waiting += fresh


def _kept_in(value: object) -> Mapping[str, object]:
    """The attributes that an instance has for itself."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except Exception:  # one that stands for another is asked for that one's, which may not be there
        return {}
    return found if isinstance(found, dict) else {}

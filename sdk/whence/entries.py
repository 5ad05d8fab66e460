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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whence import bundle, closures, contents, notebook, origins, statements
from whence.bundle import Bundle
from whence_catalog import digest, model
from whence_catalog.errors import InvalidInput


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

    It can be, if its file is in the Bundle, if the code there is what ran, if importing that file runs no step,
    and if the values that it finds in neither can be stored. An import is judged on the statements that it
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
    guards = [node for node in body if isinstance(node, ast.If) and statements.is_guard(node)]
    return frozenset(name for node in guards for name in statements.bound_by(node.body))


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
            if _is_step(_named(argument, names), function):
                return f"{ast.unparse(node.func)}({ast.unparse(argument)})"
    return None


@functools.lru_cache(maxsize=64)
def _calls_at_import(file: str, stamp: contents.Stamp) -> tuple[ast.Call, ...]:
    return statements.calls_in(ast.parse(Path(file).read_bytes()).body)


def _named(node: ast.expr, names: Mapping[str, object]) -> object:
    """What a name or a dotted name stands for; beyond modules, the thing that an attribute is asked of."""
    if isinstance(node, ast.Attribute):
        owner = _named(node.value, names)
        return vars(owner).get(node.attr) if isinstance(owner, types.ModuleType) else owner
    return names.get(node.id) if isinstance(node, ast.Name) else None


def _is_step(value: object, function: types.FunctionType) -> bool:
    """Whether it is `function`, or something of whence's: a step, a client, a Run."""
    if isinstance(value, types.FunctionType):
        inner = inspect.unwrap(value)
        return inner is function or (inner is not value and bundle.is_own(value.__code__.co_filename))
    is_instance = not isinstance(value, (type, types.ModuleType))
    return is_instance and type(value).__module__.partition(".")[0] in bundle.OWN_PACKAGES


def _leads_to_step(value: object, function: types.FunctionType, seen: set[object]) -> bool:
    if _is_step(value, function):
        return True
    if (
        not isinstance(value, types.FunctionType)
        or value in seen
        or bundle.is_foreign(value.__code__.co_filename)
    ):
        return False
    seen.add(value)
    used = {name for code in bundle.codes(value.__code__) for name in code.co_names}
    found: Sequence[object] = [value.__globals__.get(name) for name in used]
    found = [
        *found,
        *(vars(each).get(name) for each in found if isinstance(each, types.ModuleType) for name in used),
    ]
    return any(_leads_to_step(each, function, seen) for each in found)

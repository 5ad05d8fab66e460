"""Source: a file of Python as it is written, before anything is known of what its names mean.

Decides where a function or class of a given name and line stands, which statements bind a name, and which
run at import for their effect. Leaves to others: what a piece of it reads (`reading`), how syntax becomes
a digest (`normal_form`), and what the names refer to in the running process (`fingerprint`).
"""

import ast
import copy
import functools
import linecache
import os
import threading
import types
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from whence import normal_form, reading
from whence.reading import Chain, Imported, Reading

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_IMPORTS = (ast.Import, ast.ImportFrom)
_ALTERNATIVES = (ast.If, ast.Try, ast.TryStar)
# Run once for several statements, so that an effect inside cannot be told from the rest.
_BLOCKS = (ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Match)


# What a decorator is called that puts what it decorates where others find it.
_REGISTERING = ("register", "implement", "overload", "hook", "listen", "custom")


@dataclass(frozen=True, slots=True)
class Decorator:
    """One decorator: `head` is the name called or applied, where it is a dotted one."""

    head: Chain | None
    reading: Reading


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, lambda or class, without its decorators; `names` are those bound in its own body."""

    reading: Reading
    decorators: tuple[Decorator, ...]
    names: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
    scopes: tuple[ast.AST, ...]

    @property
    def first_line(self) -> int:
        """The line that the compiler gives it: its first decorator's, if it has any."""
        return min([self.node.lineno, *(item.lineno for item in reading.decorators(self.node))])


class Source:
    """One file, or one cell of a notebook, as it is written."""

    def __init__(self, data: bytes | str, filename: str) -> None:
        """Take in the text.

        Raises:
            SyntaxError, ValueError: where it is not Python of this version.
        """
        self._data = data
        self.filename = filename
        with _quiet:
            self._tree = _parse(data, filename)
        self._future = sorted(
            alias.name
            for node in self._tree.body
            if isinstance(node, ast.ImportFrom) and node.module == "__future__"
            for alias in node.names
        )
        self._readings: dict[ast.AST, Reading] = {}
        self._definitions: dict[_Place, Definition] = {}

    @functools.cached_property
    def digest(self) -> bytes:
        """The identity of the whole file, without its docstrings."""
        return normal_form.digest_of_node(self._tree)

    @functools.cached_property
    def documented_digest(self) -> bytes:
        """The identity of the whole file, with its docstrings."""
        return normal_form.digest_of_node(self._tree, keep_docstrings=True)

    @functools.cached_property
    def whole(self) -> Reading:
        """The whole file, with everything any function in it reads."""
        return self._reading(self._tree)

    @functools.cached_property
    def effects(self) -> tuple[Reading, ...]:
        """The statements that run at import and do more than bind names, in order."""
        return tuple(self._reading(node) for node in self._outline.effects)

    @functools.cached_property
    def calls(self) -> tuple[tuple[str, Reading], ...]:
        """The statements that give a name what a call answers, by that name."""
        return tuple((name, self._reading(node)) for name, node in self._outline.calls)

    @functools.cached_property
    def applied(self) -> tuple[tuple[Chain, Reading], ...]:
        """The definitions that a decorator may keep somewhere, by the decorator's name."""
        return tuple((head, self._reading(node)) for head, node in self._outline.applied)

    @property
    def sequence(self) -> tuple[Imported | None, ...]:
        """What it imports and, for None, does, in the order of it."""
        return tuple(self._outline.sequence)

    @property
    def imports(self) -> tuple[Imported, ...]:
        """What the file imports when it is imported itself."""
        return tuple(self._outline.imports)

    @functools.cached_property
    def every_import(self) -> tuple[Imported, ...]:
        """What the file imports at any time."""
        nodes = (node for node in ast.walk(self._tree) if isinstance(node, _IMPORTS))
        return tuple(module for node in nodes for module in reading.imported(node))

    def bindings(self, name: str) -> tuple[Reading, ...]:
        """The statements outside functions that bind `name`, or change what it holds."""
        return tuple(self._reading(node) for node in self._outline.statements.get(name, ()))

    def imports_of(self, name: str) -> tuple[tuple[Imported, str], ...]:
        """The modules `name` may have come from, the last import first, and its name there.

        Empty where anything but an import binds it. `from m import *` may bind any name.
        """
        statements = self._outline.statements.get(name, ())
        if not all(isinstance(node, _IMPORTS) for node in statements):
            return ()
        found = [
            (Imported(node.module or "", node.level), name if alias.name == "*" else alias.name)
            for node in [*self._outline.stars, *statements]
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.name == "*" or (alias.asname or alias.name) == name
        ]
        return tuple(reversed(found))

    def is_ambiguous(self, qualname: str) -> bool:
        """Whether several definitions share this name, as lambdas do."""
        return len(self._places.get(normal_form.plain_qualname(qualname), ())) > 1

    def definition(self, code: types.CodeType) -> Definition | None:
        """Where `code` was written, found by its name, line and, for a lambda, column."""
        places = self._places.get(normal_form.plain_qualname(code.co_qualname), [])
        if len(places) > 1:
            places = [item for item in places if item.first_line == code.co_firstlineno] or places
        if len(places) > 1 and (column := _column(code)) is not None:
            places = [item for item in places if _spans(item.node, column)] or places
        elif len(places) > 1:
            # What only returns a constant has no column on Python 3.12; its text compiles alone.
            loaded = normal_form.digest_of_code(code)
            places = [item for item in places if loaded in _alone(item.node)] or places
        return self._combined(places)

    def class_definition(self, qualname: str, method_lines: Iterable[int]) -> Definition | None:
        """Where a class was written; its methods' lines tell several of one name apart."""
        places = self._places.get(qualname, [])
        if len(places) > 1:
            lines = set(method_lines)
            places = [
                item
                for item in places
                if any(item.node.lineno <= line <= (item.node.end_lineno or 0) for line in lines)
            ] or places
        return self._combined(places)

    def compiles_to(self, code: types.CodeType) -> bool:
        """Whether this source, compiled now, gives `code`: it may have been edited since it was loaded."""
        return normal_form.digest_of_code(code) in self._bytecode.get(
            normal_form.plain_qualname(code.co_qualname), ()
        )

    @functools.cached_property
    def _bytecode(self) -> dict[str, set[bytes]]:
        found: dict[str, set[bytes]] = {}
        with _quiet:
            todo = [compile(self._data, self.filename, "exec", dont_inherit=True)]
        while todo:
            code = todo.pop()
            name = normal_form.plain_qualname(code.co_qualname)
            found.setdefault(name, set()).add(normal_form.digest_of_code(code))
            todo += [item for item in code.co_consts if isinstance(item, types.CodeType)]
        return found

    def _combined(self, places: Sequence[_Place]) -> Definition | None:
        definitions = [self._define(place) for place in places]
        if len(definitions) < 2:
            return definitions[0] if definitions else None
        # Which of them is loaded cannot be told: all of them count, so that none can change unseen.
        return Definition(
            reading.union([item.reading for item in definitions]),
            tuple(decorator for item in definitions for decorator in item.decorators),
            frozenset().union(*(item.names for item in definitions)),
        )

    def _define(self, place: _Place) -> Definition:
        if place not in self._definitions:
            enclosing = self._enclosing(place)
            node = copy.copy(place.node)
            names: frozenset[str] = frozenset()
            if not isinstance(node, ast.Lambda):
                node.decorator_list = []
                names = reading.bound_names(node.body)[0]
            self._definitions[place] = Definition(
                reading.of(node, enclosing, self._future),
                tuple(
                    Decorator(
                        reading.dotted(item.func if isinstance(item, ast.Call) else item),
                        reading.of(item, enclosing, self._future),
                    )
                    for item in reading.decorators(place.node)
                ),
                names,
            )
        return self._definitions[place]

    def _reading(self, node: ast.AST) -> Reading:
        if node not in self._readings:
            self._readings[node] = reading.of(node, frozenset(), self._future)
        return self._readings[node]

    @functools.cached_property
    def _places(self) -> dict[str, list[_Place]]:
        """Every function, lambda and class, under the qualified name the compiler gives it."""
        places: dict[str, list[_Place]] = {}
        todo: list[tuple[ast.AST, str, tuple[ast.AST, ...]]] = [(self._tree, "", ())]
        while todo:
            node, prefix, scopes = todo.pop()
            children = list(ast.iter_child_nodes(node))
            # What is written in the body is inside; defaults, bases and decorators are not.
            body: list[ast.AST] = []
            inside = (prefix, scopes)
            if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
                body = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
                name = prefix + ("<lambda>" if isinstance(node, ast.Lambda) else node.name)
                inside = (f"{name}.<locals>.", (*scopes, node))
                places.setdefault(name, []).append(_Place(node, scopes))
            elif isinstance(node, ast.ClassDef):
                body = list(node.body)
                name = prefix + node.name
                inside = (f"{name}.", (*scopes, node))
                places.setdefault(name, []).append(_Place(node, scopes))
            elif isinstance(node, _COMPREHENSIONS):
                body = children
                inside = (prefix, (*scopes, node))
            within = set(body)
            for child in reversed(children):
                todo.append((child, *(inside if child in within else (prefix, scopes))))
        return places

    def _enclosing(self, place: _Place) -> frozenset[str]:
        """The names that are bound around a definition, and so never looked up among the globals."""
        return frozenset[str]().union(*(reading.names_for_inner(scope) for scope in place.scopes))

    @functools.cached_property
    def _outline(self) -> "_Outline":
        outline = _Outline()
        outline.survey(self._tree.body)
        return outline


class _Outline:
    """What stands outside functions: by the names it binds, and by its effects."""

    def __init__(self) -> None:
        self.statements: dict[str, list[ast.stmt]] = {}
        self.stars: list[ast.ImportFrom] = []
        self.effects: list[ast.AST] = []
        self.imports: list[Imported] = []
        # What is imported and, for None, done, in the order of it.
        self.sequence: list[Imported | None] = []
        # Calls whose answer a name takes, by that name; and definitions handed to a decorator.
        self.calls: list[tuple[str, ast.AST]] = []
        self.applied: list[tuple[Chain, ast.AST]] = []

    def survey(self, body: Sequence[ast.stmt]) -> None:
        """Sort the statements that run at import by the names they bind and by their effects."""
        for node in body:
            if isinstance(node, ast.If) and _asks_for_main(node.test):
                continue  # it does not run when the module is imported
            if isinstance(node, ast.If) and _asks_for_type_checker(node.test):
                self.survey(node.orelse)
                continue
            for name in _changed_names(node):
                self.statements.setdefault(name, []).append(node)
            if isinstance(node, _IMPORTS):
                self._import(reading.imported(node))
                if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                    self.stars.append(node)
            elif isinstance(node, _ALTERNATIVES):
                before = len(self.effects)
                for branch in _branches(node):
                    self.survey(branch)
                if isinstance(node, ast.If) and len(self.effects) > before:
                    self._act(node.test)
            elif isinstance(node, _DEFINITIONS):
                self.applied += [(head, node) for head in _registering(node)]
            else:
                if isinstance(node, _BLOCKS):
                    for item in ast.walk(node):
                        if isinstance(item, _IMPORTS):
                            self._import(reading.imported(item))
                if _has_effect(node):
                    self._act(node)
                elif (target := _target_of_call(node)) is not None:
                    self.calls.append((target, node))

    def _import(self, modules: Iterable[Imported]) -> None:
        found = list(modules)
        self.imports += found
        self.sequence += found

    def _act(self, node: ast.AST) -> None:
        self.effects.append(node)
        self.sequence.append(None)


def _column(code: types.CodeType) -> int | None:
    if not code.co_qualname.endswith("<lambda>"):
        return None
    # The first instructions stand at column 0 whatever the lambda's place is.
    return next((column for _, _, column, _ in code.co_positions() if column), None)


def _alone(node: ast.AST) -> set[bytes]:
    """The bytecode of a lambda that returns a constant; nothing for anything else."""
    if not isinstance(node, ast.Lambda) or not isinstance(node.body, ast.Constant):
        return set()
    with _quiet:
        around = compile(ast.Expression(node), "<alone>", "eval", dont_inherit=True)
    codes = [item for item in around.co_consts if isinstance(item, types.CodeType)]
    return {normal_form.digest_of_code(item) for item in codes}


def _spans(node: ast.AST, column: int) -> bool:
    start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", 0)
    return bool(start <= column < end) or getattr(node, "lineno", 0) != getattr(node, "end_lineno", 0)


def _target_of_call(node: ast.stmt) -> str | None:
    """The one name that takes what a call answers: it may have been called for something else."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.Call):
        target = node.targets[0]
        return target.id if isinstance(target, ast.Name) else None
    return None


def _registering(node: ast.AST) -> Iterator[Chain]:
    """The names of decorators that, as they are called, keep what they decorate."""
    for item in reading.decorators(node):
        head = reading.dotted(item.func if isinstance(item, ast.Call) else item)
        if head is not None and any(word in head[-1].lower() for word in _REGISTERING):
            yield head


def _asks_for_main(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def _asks_for_type_checker(test: ast.expr) -> bool:
    return (reading.dotted(test) or ("",))[-1] == "TYPE_CHECKING"


def _branches(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        yield getattr(node, name, [])
    for handler in getattr(node, "handlers", ()):
        yield handler.body


def _changed_names(node: ast.stmt) -> frozenset[str]:
    """The names a statement binds, and those whose values it may change: `D[k] = v`, `L.append(v)`."""
    if isinstance(node, _DEFINITIONS):
        return frozenset({node.name})
    changed = set(reading.bound_names([node])[0])
    for item in ast.walk(node):
        subject: ast.expr | None = None
        if isinstance(item, ast.Subscript | ast.Attribute) and not isinstance(item.ctx, ast.Load):
            subject = item.value
        elif isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute):
            subject = item.func.value
        if isinstance(subject, ast.Name):
            changed.add(subject.id)
    return frozenset(changed)


def _has_effect(node: ast.stmt) -> bool:
    """Whether a statement does more at import than give names of its module a value."""
    if isinstance(node, ast.Pass) or normal_form.is_docstring(node):
        return False
    if isinstance(node, ast.Expr) or not _changed_names(node):
        return True
    for item in ast.walk(node):
        if isinstance(item, ast.Attribute) and not isinstance(item.ctx, ast.Load):
            return True
        if isinstance(item, ast.Subscript) and not isinstance(item.ctx, ast.Load):
            if not isinstance(item.value, ast.Name):
                return True
        elif isinstance(node, _BLOCKS) and isinstance(item, ast.Expr) and not normal_form.is_docstring(item):
            return True
    return False


class _Quiet:
    """Without the warnings that the file's own import has already given, or was told to raise.

    The filters belong to the process, so two threads that swapped them at once could leave them swapped.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._filters: list[warnings.catch_warnings[None]] = []

    def __enter__(self) -> None:
        self._lock.acquire()
        self._filters.append(warnings.catch_warnings())
        self._filters[-1].__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        self._filters.pop().__exit__(None, None, None)
        self._lock.release()


_quiet = _Quiet()
_files: dict[str, tuple[tuple[int, int], Source | None]] = {}
_cells: dict[str, tuple[str, Source | None]] = {}


def _parse(data: bytes | str, filename: str) -> ast.Module:
    return ast.parse(data, filename)


def of_file(path: str) -> Source | None:
    """What stands in a file, read again when its size or time changed; None if it is not readable Python."""
    try:
        status = os.stat(path)
        stamp = (status.st_mtime_ns, status.st_size)
        if path not in _files or _files[path][0] != stamp:
            with open(path, "rb") as file:
                _files[path] = (stamp, _source(file.read(), path))
        return _files[path][1]
    except OSError:
        return None


def of_cell(filename: str) -> Source | None:
    """What a notebook or a prompt ran under this name, as far as it kept the text."""
    text = "".join(linecache.getlines(filename))
    if not text:
        return None
    if filename not in _cells or _cells[filename][0] != text:
        _cells[filename] = (text, _source(text, filename))
    return _cells[filename][1]


def _source(data: bytes | str, filename: str) -> Source | None:
    try:
        return Source(data, filename)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None

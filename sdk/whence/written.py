"""Written: a survey of a file of Python, from its syntax tree and from what it compiles to.

Decides which definitions stand in a file and what they are called, which statements bind a name, and which
run at import for their effect. The survey is plain data that can be kept; `source` answers from it. Leaves to
others: what a piece of the file reads (`reading`), and how syntax becomes a digest (`normal_form`).
"""

import ast
import copy
import threading
import types
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
    scopes: tuple[ast.AST, ...]

    @property
    def first_line(self) -> int:
        """The line that the compiler gives it: its first decorator's, if it has any."""
        return min([self.node.lineno, *(item.lineno for item in reading.decorators(self.node))])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a function, lambda or class is written, without its decorators; `names` are bound in its own body.

    `first_line` is the one that the compiler gives it. `alone` is the bytecode of a lambda that returns a
    constant. Each decorator has the dotted name that is called or applied, where it is one.
    """

    first_line: int
    lines: tuple[int, int]
    columns: tuple[int, int]
    alone: bytes | None
    reading: Reading
    decorators: tuple[tuple[Chain | None, Reading], ...]
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Survey:
    """What is to be known of a file, or of a cell of a notebook.

    `sequence` is what it imports and, for None, does, in order. `calls` give a name what a call answers;
    `applied` are the definitions that a decorator may keep somewhere, by the decorator's name. `imports_of`
    are the modules that a name is imported from, with its name there, in order; `stars` those that may bind
    any name; `bound_otherwise` the names that something else binds too.
    """

    digest: bytes
    documented_digest: bytes
    whole: Reading
    every_import: tuple[Imported, ...]
    imports: tuple[Imported, ...]
    sequence: tuple[Imported | None, ...]
    effects: tuple[Reading, ...]
    calls: tuple[tuple[str, Reading], ...]
    applied: tuple[tuple[Chain, Reading], ...]
    bindings: Mapping[str, tuple[Reading, ...]]
    imports_of: Mapping[str, tuple[tuple[Imported, str], ...]]
    stars: tuple[Imported, ...]
    bound_otherwise: frozenset[str]
    places: Mapping[str, tuple[Place, ...]]
    bytecode: Mapping[str, frozenset[bytes]]


def survey(data: bytes | str) -> Survey:
    """What there is to be known of a text.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: where it is not Python of this version.
    """
    return _Survey(data).survey()


class _Survey:
    def __init__(self, data: bytes | str) -> None:
        self._data = data
        with quiet:
            self._tree = ast.parse(data)
        self._future = sorted(
            alias.name
            for node in self._tree.body
            if isinstance(node, ast.ImportFrom) and node.module == "__future__"
            for alias in node.names
        )
        self._readings: dict[ast.AST, Reading] = {}

    def survey(self) -> Survey:
        """All of it."""
        outline = _Outline()
        outline.survey(self._tree.body)
        statements = outline.statements
        whole = self._reading(self._tree)
        body = normal_form.digest_of_node(self._tree)
        has_docstrings = whole.digest != whole.documented_digest
        return Survey(
            digest=body,
            documented_digest=(
                normal_form.digest_of_node(self._tree, keep_docstrings=True) if has_docstrings else body
            ),
            whole=whole,
            every_import=tuple(
                module
                for node in ast.walk(self._tree)
                if isinstance(node, _IMPORTS)
                for module in reading.imported(node)
            ),
            imports=tuple(outline.imports),
            sequence=tuple(outline.sequence),
            effects=tuple(map(self._reading, outline.effects)),
            calls=tuple((name, self._reading(node)) for name, node in outline.calls),
            applied=tuple((head, self._reading(node)) for head, node in outline.applied),
            bindings={name: tuple(map(self._reading, nodes)) for name, nodes in statements.items()},
            imports_of={name: tuple(_imports_of(name, nodes)) for name, nodes in statements.items()},
            stars=tuple(Imported(node.module or "", node.level) for node in outline.stars),
            bound_otherwise=frozenset(
                name
                for name, nodes in statements.items()
                if not all(isinstance(node, _IMPORTS) for node in nodes)
            ),
            places={name: tuple(map(self._place, places)) for name, places in self._places().items()},
            bytecode=self._bytecode(),
        )

    def _place(self, place: _Node) -> Place:
        enclosing = self._enclosing(place)
        node = copy.copy(place.node)
        names: frozenset[str] = frozenset()
        if not isinstance(node, ast.Lambda):
            node.decorator_list = []
            names = reading.bound_names(node.body)[0]
        return Place(
            place.first_line,
            (node.lineno, node.end_lineno or 0),
            (node.col_offset, node.end_col_offset or 0),
            _alone(node),
            reading.of(node, enclosing, self._future),
            tuple(
                (
                    reading.dotted(item.func if isinstance(item, ast.Call) else item),
                    reading.of(item, enclosing, self._future),
                )
                for item in reading.decorators(place.node)
            ),
            names,
        )

    def _reading(self, node: ast.AST) -> Reading:
        if node not in self._readings:
            self._readings[node] = reading.of(node, frozenset(), self._future)
        return self._readings[node]

    def _places(self) -> dict[str, list[_Node]]:
        """Every function, lambda and class, under the qualified name the compiler gives it."""
        places: dict[str, list[_Node]] = {}
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
                places.setdefault(name, []).append(_Node(node, scopes))
            elif isinstance(node, ast.ClassDef):
                body = list(node.body)
                name = prefix + node.name
                inside = (f"{name}.", (*scopes, node))
                places.setdefault(name, []).append(_Node(node, scopes))
            elif isinstance(node, _COMPREHENSIONS):
                body = children
                inside = (prefix, (*scopes, node))
            within = set(body)
            for child in reversed(children):
                todo.append((child, *(inside if child in within else (prefix, scopes))))
        return places

    def _enclosing(self, place: _Node) -> frozenset[str]:
        """The names that are bound around a definition, and so never looked up among the globals."""
        return frozenset[str]().union(*(reading.names_for_inner(scope) for scope in place.scopes))

    def _bytecode(self) -> Mapping[str, frozenset[bytes]]:
        found: dict[str, set[bytes]] = {}
        try:
            with quiet:
                todo = [compile(self._data, "<surveyed>", "exec", dont_inherit=True)]
        except SyntaxError:  # it parses, and the compiler takes it all the same for none
            return {}
        while todo:
            code = todo.pop()
            name = normal_form.plain_qualname(code.co_qualname)
            found.setdefault(name, set()).add(normal_form.digest_of_code(code))
            todo += [item for item in code.co_consts if isinstance(item, types.CodeType)]
        return {name: frozenset(codes) for name, codes in found.items()}


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


def _alone(node: ast.AST) -> bytes | None:
    """The bytecode of a lambda that returns a constant; None for anything else."""
    if not isinstance(node, ast.Lambda) or not isinstance(node.body, ast.Constant):
        return None
    with quiet:
        around = compile(ast.Expression(node), "<alone>", "eval", dont_inherit=True)
    codes = [item for item in around.co_consts if isinstance(item, types.CodeType)]
    return normal_form.digest_of_code(codes[0]) if codes else None


def _imports_of(name: str, nodes: Sequence[ast.stmt]) -> Iterator[tuple[Imported, str]]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == "*" or (alias.asname or alias.name) == name:
                    yield Imported(node.module or "", node.level), name if alias.name == "*" else alias.name


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


quiet = _Quiet()

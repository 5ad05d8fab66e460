"""Reading: what a piece of source says, as far as its text alone can tell.

Decides which dotted names it reads that no function around them binds, which constructs in it choose code
at run time, what it imports when it is called, and which attributes it writes. Leaves to others: finding
the piece (`source`), and what the names refer to in the running process (`fingerprint`).
"""

import ast
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from whence import normal_form
from whence_catalog import digest

Chain = tuple[str, ...]

# Code chosen at run time, as far as spelling shows. As attributes only those whose name is not common:
# `model.eval()`, `re.compile` and `model.modules()` choose nothing.
# fmt: off
_DYNAMIC_ANYWHERE = frozenset({
    "__import__", "import_module", "find_spec", "spec_from_file_location", "run_path", "run_module",
    "entry_points", "iter_modules", "walk_packages", "__subclasses__",
    "_getframe", "currentframe", "f_globals", "__globals__", "__builtins__",
})
# These read code as it is written: then its layout and comments count too.
TEXT_READERS = frozenset({
    "getsource", "getsourcelines", "findsource", "getcomments", "getframeinfo",
    "co_firstlineno", "co_lines", "co_positions", "co_linetable", "co_lnotab",
})
# Reached under another name (`from importlib import import_module as load`) they choose code all the same.
DYNAMIC_STANDARD = frozenset({
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.globals", "builtins.locals",
    "builtins.vars", "builtins.__import__", "importlib.import_module", "importlib.util.find_spec",
    "importlib.metadata.entry_points", "pkgutil.iter_modules", "pkgutil.walk_packages",
    "runpy.run_path", "runpy.run_module", "sys.modules", "sys._getframe", "inspect.currentframe",
    *(f"inspect.{name}" for name in TEXT_READERS),
})
# These may load any package that is installed.
PACKAGE_CHOOSERS = frozenset({
    "__import__", "import_module", "find_spec", "run_path", "run_module", "entry_points", "iter_modules",
    "walk_packages", "eval", "exec", "compile", "spec_from_file_location",
})
DOCSTRING_READERS = frozenset({"inspect.getdoc", "pydoc.getdoc", "pydoc.render_doc", "pydoc.help", "builtins.help"})
# fmt: on
DYNAMIC_BARE = _DYNAMIC_ANYWHERE | TEXT_READERS | {"eval", "exec", "compile", "globals", "locals", "vars"}
_BY_NAME = frozenset({"getattr", "hasattr", "setattr", "delattr"})
_GETTERS = frozenset({"attrgetter", "methodcaller"})


@dataclass(frozen=True, slots=True, order=True)
class Imported:
    """A module as an import statement spells it: `level` leading dots, then `module`."""

    module: str
    level: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a piece of source says.

    `chains` are the dotted names it reads that no function around them binds; `dynamic` names the
    constructs that choose code at run time; `stores` are the attributes it writes on such names.
    """

    digest: bytes
    documented_digest: bytes
    chains: tuple[Chain, ...] = ()
    dynamic: tuple[str, ...] = ()
    late_imports: tuple[Imported, ...] = ()
    stores: tuple[Chain, ...] = ()
    reads_docstrings: bool = False
    # Where it stands in its file; no part of what it says.
    lines: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where a node stands: the names that functions around it bind, and whether it runs at import."""

    bound: frozenset[str]
    runs_at_import: bool


class _Reader:
    """Collects a Reading; with a stack of its own, since a long sum nests deeper than calls may."""

    def __init__(self) -> None:
        self.chains: set[Chain] = set()
        self.dynamic: set[str] = set()
        self.late_imports: set[Imported] = set()
        self.stores: set[Chain] = set()
        self.reads_docstrings = False
        self.has_docstrings = False
        self._todo: list[tuple[ast.AST, _Scope]] = []

    def read(self, nodes: Iterable[ast.AST], enclosing: frozenset[str]) -> None:
        """Take in `nodes`, which stand in functions that bind the names `enclosing`."""
        scope = _Scope(enclosing, runs_at_import=True)
        self._todo += [(node, scope) for node in nodes]
        while self._todo:
            self._read(*self._todo.pop())

    def _later(self, nodes: Iterable[ast.AST | None], scope: _Scope) -> None:
        self._todo += [(node, scope) for node in nodes if node is not None]

    def _read(self, node: ast.AST, scope: _Scope) -> None:
        if isinstance(node, ast.Expr) and normal_form.is_docstring(node):
            self.has_docstrings = True
        match node:
            case ast.Name(ctx=ast.Load()):
                self._add((node.id,), scope)
            case ast.Attribute():
                self._read_attribute(node, scope)
            case ast.Call():
                self._read_call(node, scope)
            case ast.Import() | ast.ImportFrom():
                if not scope.runs_at_import:
                    self.late_imports.update(imported(node))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                self._read_function(node, scope)
            case ast.ClassDef():
                self._later([*node.decorator_list, *node.bases, *node.keywords], scope)
                inside = _Scope(scope.bound | type_parameters(node), runs_at_import=False)
                self._later([*getattr(node, "type_params", ()), *node.body], inside)
            case ast.AnnAssign():
                self._annotations([node.annotation], scope)
                self._later([node.target, node.value], scope)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # The first iterable is evaluated outside, where a target's name may mean something else.
                self._later([node.generators[0].iter], scope)
                inside = _Scope(scope.bound | targets(node), scope.runs_at_import)
                self._later(ast.iter_child_nodes(node), inside)
            case _:
                self._later(ast.iter_child_nodes(node), scope)

    def _annotations(self, nodes: Iterable[ast.expr | None], scope: _Scope) -> None:
        """Take in annotations; what is in quotes is read as what it will be once somebody resolves it."""
        for node in nodes:
            if node is None:
                continue
            self._later([node], scope)
            for item in ast.walk(node):
                if isinstance(item, ast.Constant) and isinstance(item.value, str):
                    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                        self._later([ast.parse(item.value.strip(), mode="eval").body], scope)

    def _add(self, chain: Chain, scope: _Scope) -> None:
        if chain[-1] == "__doc__":
            self.reads_docstrings = True
        if chain[0] in scope.bound:
            return
        self.chains.add(chain)
        if len(chain) == 1 and chain[0] in DYNAMIC_BARE:
            self.dynamic.add(chain[0])

    def _read_attribute(self, node: ast.Attribute, scope: _Scope) -> None:
        if node.attr in _DYNAMIC_ANYWHERE or node.attr in TEXT_READERS:
            self.dynamic.add(node.attr)
        if node.attr in ("__doc__", "getdoc"):
            self.reads_docstrings = True
        chain = dotted(node)
        if chain is None:
            self._later([node.value], scope)
            return
        if chain[:2] == ("sys", "modules"):
            self.dynamic.add("sys.modules")
        if isinstance(node.ctx, ast.Load):
            self._add(chain, scope)
        elif chain[0] not in scope.bound:
            self.stores.add(chain)

    def _read_call(self, node: ast.Call, scope: _Scope) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        last = node.func.attr if isinstance(node.func, ast.Attribute) else name
        rest: list[ast.AST] = [node.func, *node.args, *node.keywords]
        if last in _GETTERS and not all(_is_text(item) for item in node.args):
            self.dynamic.add(last)
        if name in _BY_NAME and len(node.args) > 1:
            subject, attribute = node.args[0], node.args[1]
            chain = dotted(subject)
            if not isinstance(attribute, ast.Constant) or not isinstance(attribute.value, str):
                self.dynamic.add(name)
            elif chain is not None and chain[0] not in scope.bound:
                # As good as `subject.attribute`: the subject is not used as a value of its own.
                chain = (*chain, attribute.value)
                if name in ("getattr", "hasattr"):
                    self._add(chain, scope)
                else:
                    self.stores.add(chain)
                rest.remove(subject)
        self._later(rest, scope)

    def _read_function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: _Scope
    ) -> None:
        signature = parameters(node.args)
        self._later(decorators(node), scope)
        self._later([*node.args.defaults, *node.args.kw_defaults], scope)
        self._annotations([parameter.annotation for parameter in signature], scope)
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
        if not isinstance(node, ast.Lambda):
            self._annotations([node.returns], scope)
        local, declared_global = bound_names(body)
        bound = scope.bound | local | {item.arg for item in signature} | type_parameters(node)
        # A function that rebinds a global depends on the value it finds there.
        self.chains.update((name,) for name in declared_global)
        inside = _Scope(bound - declared_global, runs_at_import=False)
        self._later([*getattr(node, "type_params", ()), *body], inside)


def dotted(node: ast.AST) -> Chain | None:
    """`a.b.c` as its names; None for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return (node.id, *reversed(names))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def decorators(node: ast.AST) -> list[ast.expr]:
    """What is applied to a definition; nothing for a lambda."""
    return list(getattr(node, "decorator_list", ()))


def type_parameters(node: ast.AST) -> frozenset[str]:
    """The names in its brackets, which Python has from 3.12 on."""
    return frozenset(item.name for item in getattr(node, "type_params", ()))


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """Every parameter."""
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return named + [item for item in (arguments.vararg, arguments.kwarg) if item is not None]


def targets(node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> frozenset[str]:
    """The names that its `for` clauses bind."""
    return frozenset(
        item.id
        for generator in node.generators
        for item in ast.walk(generator.target)
        if isinstance(item, ast.Name)
    )


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[Imported]:
    """The modules that an import statement may load."""
    if isinstance(node, ast.Import):
        yield from (Imported(alias.name, 0) for alias in node.names)
        return
    module = node.module or ""
    yield Imported(module, node.level)
    # What is imported from a package may be one of its modules.
    for alias in node.names:
        yield Imported(f"{module}.{alias.name}" if module else alias.name, node.level)


def bound_names(body: Iterable[ast.AST]) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a scope binds, not those of scopes inside it; and those it declares global."""
    local: set[str] = set()
    declared_global: set[str] = set()
    todo = list(body)
    while todo:
        node = todo.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                local.add(node.name)
                todo += node.decorator_list
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # `:=` inside binds in the scope around the comprehension; its targets do not.
                local |= {
                    item.target.id
                    for item in ast.walk(node)
                    if isinstance(item, ast.NamedExpr) and isinstance(item.target, ast.Name)
                }
                continue
            case ast.Name(ctx=ast.Store() | ast.Del()):
                local.add(node.id)
            case ast.Import() | ast.ImportFrom():
                local |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            case ast.Global():
                declared_global |= set(node.names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                local.add(name)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                local.add(name)
            case _:
                pass
        todo += ast.iter_child_nodes(node)
    return frozenset(local - declared_global), frozenset(declared_global)


def names_for_inner(scope: ast.AST) -> frozenset[str]:
    """The names that functions inside `scope` see as bound; a class shows them its type parameters only."""
    match scope:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            body: list[ast.AST] = [scope.body] if isinstance(scope, ast.Lambda) else list(scope.body)
            named = {item.arg for item in parameters(scope.args)}
            return bound_names(body)[0] | named | type_parameters(scope)
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return targets(scope)
        case _:
            return type_parameters(scope)


def of(node: ast.AST, enclosing: frozenset[str], future: Sequence[str]) -> Reading:
    """The Reading of `node`, which stands in functions that bind the names `enclosing`.

    `future` are the `__future__` features of its file: they change what the same syntax means.
    """
    reader = _Reader()
    reader.read([node], enclosing)
    body = digest.raw_digest_of(normal_form.DOMAIN, normal_form.digest_of_node(node), list(future))
    documented = normal_form.digest_of_node(node, keep_docstrings=True) if reader.has_docstrings else None
    return Reading(
        body,
        body if documented is None else digest.raw_digest_of(normal_form.DOMAIN, documented, list(future)),
        tuple(sorted(reader.chains)),
        tuple(sorted(reader.dynamic)),
        tuple(sorted(reader.late_imports)),
        tuple(sorted(reader.stores)),
        reader.reads_docstrings,
        _lines(node),
    )


def _lines(node: ast.AST) -> tuple[int, int]:
    first = min([getattr(node, "lineno", 0), *(item.lineno for item in decorators(node))])
    return first, getattr(node, "end_lineno", 0) or 0


def union(readings: Sequence[Reading]) -> Reading:
    """All of them at once, for source of which it cannot be told which part is loaded."""

    def merged(digests: Iterable[bytes]) -> bytes:
        return digest.raw_digest_of(normal_form.DOMAIN, "alternatives", frozenset(digests))

    return Reading(
        merged(item.digest for item in readings),
        merged(item.documented_digest for item in readings),
        tuple(sorted({chain for item in readings for chain in item.chains})),
        tuple(sorted({name for item in readings for name in item.dynamic})),
        tuple(dict.fromkeys(module for item in readings for module in item.late_imports)),
        tuple(sorted({chain for item in readings for chain in item.stores})),
        any(item.reads_docstrings for item in readings),
    )

"""Notebook: a module made from the cells that were executed, so that a step of a notebook can be reached again.

Decides which statements of which cells belong to a function: the last ones that bind it and, in turn, what it reads.
Functions, classes and imports come as they are written; a value that can be stored is stored, as it was when the
function was called; any other comes by the statement that bound it, unless that would run a step. The module holds
nothing else, so that importing it makes nothing. All cells are kept beside it, in the order they were executed.

Leaves to others: how values are kept (`closures`), and executing the module (`replayed`).
"""

import ast
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from whence import bundle, closures, origins, reach, secrecy, statements
from whence_catalog.errors import InvalidInput

MODULE = "notebook"
MODULE_PATH = "@notebook/module.py"
CELLS_PATH = "@notebook/cells.py"
_LEFT_OUT = "# left out: what looks secret stands in it"


@dataclass(frozen=True, slots=True)
class Cell:
    """What was executed as the cell of that number: as it was typed, and as Python was given it."""

    number: int
    typed: str
    text: str


@dataclass(frozen=True, slots=True)
class _Statement:
    node: ast.stmt
    text: str
    binds: frozenset[str]

    @property
    def is_definition(self) -> bool:
        """Whether what it binds is written in it, and its execution makes nothing else."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
        return isinstance(self.node, kinds)


def cells() -> tuple[Cell, ...] | None:
    """What this IPython session executed, in its order; None where this is none."""
    asked = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = asked() if callable(asked) else None
    history = getattr(shell, "history_manager", None)
    if history is None:
        return None
    typed, parsed = list(history.input_hist_raw), list(history.input_hist_parsed)
    pairs = enumerate(zip(typed, parsed, strict=False))
    return tuple(Cell(number, as_typed, text) for number, (as_typed, text) in pairs if text.strip())


def files(executed: Sequence[Cell], module: str | None) -> Mapping[str, bytes]:
    """What a Bundle holds of a notebook, by path. A cell that holds what looks secret is left out, and told."""
    hidden = left_out(executed)
    told = "\n".join(
        f"# %% [{cell.number}]\n{_LEFT_OUT if cell.number in hidden else cell.typed.rstrip()}\n"
        for cell in executed
    )
    found = {CELLS_PATH: told.encode("utf-8", "replace")}
    return found if module is None else {**found, MODULE_PATH: module.encode("utf-8", "replace")}


def left_out(executed: Sequence[Cell]) -> frozenset[int]:
    """The numbers of the cells in which something stands that looks secret."""
    known = secrecy.known()
    return frozenset(cell.number for cell in executed if secrecy.stands_in(cell.typed, known))


def module_of(
    function: types.FunctionType,
    executed: Sequence[Cell],
    leads_to_step: Callable[[object], bool],
    arguments: Sequence[object] = (),
) -> tuple[str, Mapping[str, object]]:
    """The text of a module that binds `function`, and the values that are to be bound in it beside.

    Args:
        leads_to_step: whether calling this would run a step.
        arguments: whose classes it binds, too, where cells define them; so it does for values that it stores.

    Raises:
        InvalidInput: there is no such module; the message says why.
    """
    around = function.__globals__
    written = [statement for cell in executed for statement in _statements(cell)]
    wanted = [function.__qualname__.partition(".")[0], *_classes_of(arguments)]
    taken: set[int] = set()
    values: dict[str, object] = {}
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in seen or name not in around:
            continue
        seen.add(name)
        place = next((at for at in reversed(range(len(written))) if name in written[at].binds), None)
        if place is None:
            if _is_of_session(name, around[name]):
                continue
            raise InvalidInput(f"{name}, which {function.__qualname__} reads, is bound in no cell")
        statement = written[place]
        if not statement.is_definition:
            if closures.is_kept(around[name]):
                values[name] = around[name]
                wanted += _classes_of([around[name]])
                continue
            if called := _called(statement, around, leads_to_step):
                raise InvalidInput(
                    f"{name}, which {function.__qualname__} reads, can be neither stored nor made again, since a cell"
                    f" binds it by calling {called}; hand it in as an argument"
                )
        taken.add(place)
        wanted += statements.read_in(statement.node)
    _check(function, [written[place] for place in sorted(taken)])
    text = "\n\n".join(written[place].text for place in sorted(taken)) + "\n"
    if secrecy.stands_in(text, secrecy.known()):
        raise InvalidInput(f"what looks secret stands in a cell that {function.__qualname__} needs")
    return text, values


def _classes_of(values: Sequence[object]) -> list[str]:
    """The names of the classes of these values, and of what they hold, that cells may define."""
    kinds = [found if isinstance(found, type) else type(found) for found in reach.roots(values)]
    return [kind.__qualname__.partition(".")[0] for kind in kinds if kind.__module__ in origins.MAIN_MODULES]


def _is_of_session(name: str, value: object) -> bool:
    """Whether a name is one that IPython binds by itself, or a builtin that a cell's text happens to name."""
    return name.startswith("_") or name in {"In", "Out", "exit", "quit", "get_ipython", "open", "display"}


def _called(
    statement: _Statement, around: Mapping[str, object], leads_to_step: Callable[[object], bool]
) -> str | None:
    for call in statements.calls_in([statement.node]):
        named = call.func
        while isinstance(named, ast.Attribute):
            named = named.value
        if isinstance(named, ast.Name) and leads_to_step(around.get(named.id)):
            return f"{ast.unparse(call.func)}()"
    return None


def _statements(cell: Cell) -> list[_Statement]:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        tree = compile(cell.text, "<cell>", "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError):
        return []  # it was executed, and failed at that
    assert isinstance(tree, ast.Module)
    lines = cell.text.splitlines()
    found = []
    for at, node in enumerate(tree.body):
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
        last = node.end_lineno or node.lineno
        beside = [other for other in tree.body[max(at - 1, 0) : at + 2] if other is not node]
        is_alone = all((other.end_lineno or 0) < first or other.lineno > last for other in beside)
        text = "\n".join(lines[first - 1 : last]) if is_alone else ast.unparse(node)
        found.append(_Statement(node, text, frozenset(statements.bound_by([node]))))
    return found


def _check(function: types.FunctionType, taken: Sequence[_Statement]) -> None:
    """Refuse where none of these statements is the one that made `function`.

    Each is compiled by itself, as IPython does: an import beside it makes other instructions of the same call.
    """
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for statement in taken:
        compiled = compile(ast.Module([statement.node], []), "<cell>", "exec", flags, dont_inherit=True)
        if any(
            code.co_qualname == function.__code__.co_qualname and bundle.alike(code, function.__code__)
            for code in bundle.codes(compiled)
        ):
            return
    raise InvalidInput(f"no cell holds {function.__qualname__} as it runs")

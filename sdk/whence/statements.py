"""Statements: which names a piece of a module binds and reads, and what of it an import executes."""

import ast
from collections.abc import Iterable, Iterator, Sequence


def bound_by(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that executing these statements binds in their module."""
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
                continue
            case ast.Lambda():
                continue
            case ast.Import() | ast.ImportFrom():
                found |= {each.asname or each.name.partition(".")[0] for each in node.names}
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                found.add(name)
            case _:
                pass
        waiting += ast.iter_child_nodes(node)
    return found


def read_in(node: ast.AST) -> set[str]:
    """The names that are read anywhere in a statement, bodies of functions included."""
    return {
        each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
    }


def told_apart(node: ast.AST) -> tuple[Sequence[ast.stmt], Sequence[ast.stmt]] | None:
    """Of `if __name__ == "__main__"`, or its opposite: what only a script runs, and what an import may run.

    None of anything else.
    """
    if not isinstance(node, ast.If):
        return None
    match _says_script(node.test):
        case True:
            return node.body, node.orelse
        case False:
            return node.orelse, node.body
        case None:
            return None


def halves(nodes: Iterable[ast.stmt]) -> tuple[Sequence[ast.stmt], Sequence[ast.stmt]]:
    """The statements of a module that only a script runs, and those that an import may run."""
    for_script: list[ast.stmt] = []
    for_import: list[ast.stmt] = []
    for node in nodes:
        guarded, others = told_apart(node) or ((), (node,))
        for_script += guarded
        for_import += others
    return for_script, for_import


def _says_script(test: ast.expr) -> bool | None:
    """True where it holds in a script alone, False where it fails in one alone, None where neither is sure."""
    match test:
        case ast.Compare(ops=[ast.Eq() | ast.In()]):
            return True if _is_of_name(test) else None
        case ast.Compare(ops=[ast.NotEq() | ast.NotIn()]):
            return False if _is_of_name(test) else None
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            said = _says_script(operand)
            return None if said is None else not said
        case ast.BoolOp(op=op, values=values):
            wanted = isinstance(op, ast.And)
            return wanted if any(_says_script(each) is wanted for each in values) else None
        case _:
            return None


def _is_of_name(test: ast.Compare) -> bool:
    parts = list(ast.walk(test))
    is_name = any(isinstance(each, ast.Name) and each.id == "__name__" for each in parts)
    return is_name and any(isinstance(each, ast.Constant) and each.value == "__main__" for each in parts)


def executed(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What runs when a module is imported: no bodies of functions, nothing under the guard, no decorators."""
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from executed([*node.args.defaults, *filter(None, node.args.kw_defaults)])
        elif isinstance(node, ast.ClassDef):
            yield from executed(node.body)
        elif isinstance(node, ast.If) and (parts := told_apart(node)) is not None:
            yield from executed([node.test, *parts[1]])
        elif not isinstance(node, ast.Lambda):
            yield node
            yield from executed(ast.iter_child_nodes(node))


def calls_in(nodes: Iterable[ast.AST]) -> tuple[ast.Call, ...]:
    """Every call that an import of these statements makes."""
    return tuple(node for node in executed(nodes) if isinstance(node, ast.Call))

"""Statements: which names a piece of a module binds and reads, and what of it an import executes."""

import ast
from collections.abc import Iterable, Iterator


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


def is_guard(node: ast.AST) -> bool:
    """Whether it is `if __name__ == "__main__"`, or that and more: its body is nothing that an import runs."""
    return isinstance(node, ast.If) and _asks_main(node.test, ast.Eq)


def _asks_main(test: ast.expr, how: type[ast.cmpop]) -> bool:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(_asks_main(each, how) for each in test.values)
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], how):
        return False
    sides = {ast.unparse(side) for side in (test.left, *test.comparators)}
    return sides == {"__name__", "'__main__'"}


def executed(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What runs when a module is imported: no bodies of functions, nothing under the guard, no decorators."""
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from executed([*node.args.defaults, *filter(None, node.args.kw_defaults)])
        elif isinstance(node, ast.ClassDef):
            yield from executed(node.body)
        elif isinstance(node, ast.If) and is_guard(node):
            yield from executed([node.test, *node.orelse])
        elif isinstance(node, ast.If) and _asks_main(node.test, ast.NotEq):
            yield from executed(node.body)
        elif not isinstance(node, ast.Lambda):
            yield node
            yield from executed(ast.iter_child_nodes(node))


def calls_in(nodes: Iterable[ast.AST]) -> tuple[ast.Call, ...]:
    """Every call that an import of these statements makes."""
    return tuple(node for node in executed(nodes) if isinstance(node, ast.Call))

"""Normal form: what of a piece of Python syntax, or of loaded bytecode, makes it another program.

Decides which fields of the syntax tree count and how constants are told apart, so that the same source
has the same digest on every Python from 3.11 on. Left out: positions, comments, docstrings (unless asked
for), how a literal was spelled. Leaves to others: finding the syntax (`source`), and what the names in it
mean (`fingerprint`).

    form  = L[token, …]
    token = S "(Name" | S ".field" | S "[" | S "]" | S ")" | T(constant)

A constant is a tuple and everything else is text, so no constant can pass for structure.
"""

import ast
import re
import sys
import types
from collections.abc import Iterator

from whence_catalog import digest

DOMAIN = "whence.code/1"

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

# `ctx` follows from the place, `kind` is the u of u"…", `str` repeats a template's source.
_WITHOUT_MEANING = frozenset({"ctx", "type_comment", "kind", "type_ignores", "str"})
_HAS_DOCSTRING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
_COMPREHENSION = re.compile(r"<(listcomp|setcomp|dictcomp|genexpr)>(\.<locals>\.)?")
# `str(int)` refuses more than 4,300 digits; a hexadecimal literal may have them all the same.
_MOST_BITS = 14_000


def digest_of_node(node: ast.AST, keep_docstrings: bool = False) -> bytes:
    """The identity of a piece of syntax: equal for every spelling that means the same program.

    A docstring counts only where the program can read it, which only the caller knows.
    """
    return digest.raw_digest_of(DOMAIN, "syntax", list(_tokens(node, keep_docstrings)))


def _tokens(root: ast.AST, keep_docstrings: bool) -> Iterator[digest.Framed]:
    # A stack of our own: a sum of a thousand terms is a tree a thousand deep, which the compiler takes.
    todo: list[object] = [root]
    while todo:
        item = todo.pop()
        if isinstance(item, _Token):
            yield item.text
        elif isinstance(item, ast.Constant):
            yield constant(item.value)
        elif isinstance(item, ast.AST):
            yield f"({type(item).__name__}"
            todo.append(_Token(")"))
            for name in sorted(_fields(item), reverse=True):
                value = _field(item, name, keep_docstrings)
                # Fields that are new in a later Python are empty wherever the older one can be written.
                if value is None or value == [] or (name == "level" and value == 0):
                    continue
                todo += [value, _Token(f".{name}")]
        elif isinstance(item, list):
            yield "["
            todo.append(_Token("]"))
            todo.extend(reversed(item))
        else:
            yield constant(item)


class _Token:
    """A piece of structure that waits on the stack."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _fields(node: ast.AST) -> list[str]:
    return [name for name in node._fields if name not in _WITHOUT_MEANING]


def _field(node: ast.AST, name: str, keep_docstrings: bool) -> object:
    value = getattr(node, name, None)
    if name == "body" and not keep_docstrings and isinstance(node, _HAS_DOCSTRING):
        return without_docstring(node)
    if name == "values" and isinstance(node, ast.JoinedStr):
        return _merge_text(node.values)
    return value


def is_docstring(statement: ast.stmt) -> bool:
    """Whether the statement is nothing but a string."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def without_docstring(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module,
) -> list[ast.stmt]:
    """The body of `node` after its docstring; `pass` where nothing else is in it."""
    if node.body and is_docstring(node.body[0]):
        return node.body[1:] or [ast.Pass()]
    return node.body


def _merge_text(pieces: list[ast.expr]) -> list[ast.expr]:
    # Pythons differ in where they cut the text of an f-string, and in whether they keep empty pieces.
    merged: list[ast.expr] = []
    for piece in pieces:
        if not isinstance(piece, ast.Constant):
            merged.append(piece)
        elif merged and isinstance(merged[-1], ast.Constant):
            merged[-1] = ast.Constant(str(merged[-1].value) + str(piece.value))
        elif piece.value != "":
            merged.append(piece)
    return merged


def constant(value: object) -> tuple[digest.Framed, ...]:
    """A constant with its type; a tuple of one for what has a frame of its own."""
    if value is Ellipsis:
        return ("ellipsis", None)
    if isinstance(value, bool) or value is None or isinstance(value, float | bytes):
        return (value,)
    if isinstance(value, int):
        return (value,) if value.bit_length() < _MOST_BITS else ("hex", hex(value))
    if isinstance(value, complex):
        return ("complex", value.real, value.imag)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, tuple):
        return ("tuple", [constant(item) for item in value])
    if isinstance(value, frozenset):
        return ("frozenset", sorted_by_frame([constant(item) for item in value]))
    if isinstance(value, slice):
        return ("slice", [constant(item) for item in (value.start, value.stop, value.step)])
    raise TypeError(f"{type(value).__name__} is no constant of Python's")


def text(value: str) -> tuple[digest.Framed, ...]:
    """Text as a constant; also that which UTF-8 cannot encode, since source may hold it as an escape."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return ("surrogates", value.encode("utf-8", "surrogatepass"))
    return (value,)


def sorted_by_frame(values: list[tuple[digest.Framed, ...]]) -> list[digest.Framed]:
    """The values in an order that depends on nothing but them (a set's own follows the hash seed)."""
    return sorted(values, key=digest.frame)


def digest_of_code(code: types.CodeType) -> bytes:
    """The identity of loaded bytecode: what runs, without positions. It holds on this Python only."""
    return digest.raw_digest_of(DOMAIN, "bytecode", sys.implementation.cache_tag or "", _code(code))


def _code(code: types.CodeType) -> list[digest.Framed]:
    return [
        code.co_code,
        list(code.co_names),
        list(code.co_varnames),
        list(code.co_freevars),
        list(code.co_cellvars),
        [code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount],
        code.co_exceptiontable,
        [_code(item) if isinstance(item, types.CodeType) else constant(item) for item in code.co_consts],
    ]


def plain_qualname(qualname: str) -> str:
    """A qualified name without its comprehensions: from 3.12 on most of them are no scope of their own."""
    return _COMPREHENSION.sub("", qualname).removesuffix(".<locals>.")

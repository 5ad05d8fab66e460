"""Normal form: what of a piece of Python syntax, or of loaded bytecode, makes it another program.

Decides which fields of the syntax tree count and how constants are told apart, so that the same source
has the same digest on every Python from 3.11 on. Left out: positions, comments, docstrings (unless asked
for), how a literal was spelled. Leaves to others: finding the syntax (`source`), and what the names in it
mean (`fingerprint`).

    node      = "(" name {"." field value} ")"     fields by name, empty ones left out
    value     = node | "[" {value} "]" | constant
    constant  = letter length ":" text              so that no text can pass for structure
"""

import ast
import re
import sys
import types

from whence_catalog import digest

DOMAIN = "whence.code/1"

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

# `ctx` follows from the place, `kind` is the u of u"…", `str` repeats a template's source.
_WITHOUT_MEANING = frozenset({"ctx", "type_comment", "kind", "type_ignores", "str"})
_HAS_DOCSTRING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
_COMPREHENSION = re.compile(r"<(listcomp|setcomp|dictcomp|genexpr)>(\.<locals>)?\.?")
_known_fields: dict[str, tuple[str, ...]] = {}
# `str(int)` refuses more than 4,300 digits; a hexadecimal literal may have them all the same.
_MOST_BITS = 14_000


def digest_of_node(node: ast.AST, keep_docstrings: bool = False) -> bytes:
    """The identity of a piece of syntax: equal for every spelling that means the same program.

    A docstring counts only where the program can read it, which only the caller knows.
    """
    written = "".join(_written(node, keep_docstrings))
    # Source may hold, as an escape, what UTF-8 cannot encode.
    return digest.raw_digest_of(DOMAIN, "syntax", written.encode("utf-8", "surrogatepass"))


def _written(root: ast.AST, keep_docstrings: bool) -> list[str]:
    out: list[str] = []
    write = out.append
    # A stack of our own: a sum of a thousand terms is a tree a thousand deep, which the compiler takes.
    # On it, a tuple of one is structure that was put off until what stands before it is written.
    todo: list[object] = [root]
    while todo:
        item = todo.pop()
        if type(item) is tuple:
            write(item[0])
        elif isinstance(item, ast.Constant):
            write(_constant(item.value))
        elif isinstance(item, ast.AST):
            write(f"({type(item).__name__}")
            todo.append((")",))
            for name in _fields(item):
                value = getattr(item, name, None)
                if name == "body" and not keep_docstrings and isinstance(item, _HAS_DOCSTRING):
                    value = without_docstring(item)
                elif name == "values" and isinstance(item, ast.JoinedStr):
                    value = _merge_text(item.values)
                # Fields that are new in a later Python are empty wherever the older one can be written.
                if value is not None and value != [] and (value != 0 or name != "level"):
                    todo += (value, (f".{name}",))
        elif isinstance(item, list):
            write("[")
            todo.append(("]",))
            todo.extend(reversed(item))
        else:
            write(_constant(item))
    return out


def _fields(node: ast.AST) -> tuple[str, ...]:
    kind = type(node).__name__
    if kind not in _known_fields:
        # From the last to the first, since they go on a stack.
        counting = (name for name in node._fields if name not in _WITHOUT_MEANING)
        _known_fields[kind] = tuple(sorted(counting, reverse=True))
    return _known_fields[kind]


def _constant(value: object) -> str:
    if isinstance(value, str):
        return f"s{len(value)}:{value}"
    if value is None or value is Ellipsis or isinstance(value, bool):
        letter, text = "k", repr(value)
    elif isinstance(value, int):
        letter, text = "i", hex(value)  # `str` refuses more than 4,300 digits
    elif isinstance(value, float):
        letter, text = "f", value.hex()
    elif isinstance(value, complex):
        letter, text = "c", f"{value.real.hex()} {value.imag.hex()}"
    elif isinstance(value, bytes):
        letter, text = "b", value.hex()
    else:
        raise TypeError(f"{type(value).__name__} is no constant of Python's syntax")
    return f"{letter}{len(text)}:{text}"


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
    """A constant of loaded code, or plain data, to be framed; a tuple of one for what has its own frame."""
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

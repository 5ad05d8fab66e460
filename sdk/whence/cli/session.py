"""What every command shares: the catalog that it opens, its common options, how it prints and refuses."""

import contextlib
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, NoReturn

import typer

from whence import client, connecting
from whence.cli import printing
from whence_catalog.errors import InvalidInput, WhenceError

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Ref = Annotated[
    str, typer.Argument(help="A version: `model:digits@3`, `model:digits@prod`, `dataset:x@latest`.")
]
RunId = Annotated[str, typer.Argument(help="A run: its id, or the first eight or more characters of it.")]

# What a command opened, and leaves when it is done.
scope = contextlib.ExitStack()


def open_client(url: str | None = None) -> client.Client:
    """The catalog that this command is about; closed when the command is done."""
    opened = connecting.open_client(url)
    scope.callback(opened.close)
    return opened


def show(json: bool, value: object, text: Callable[[], None]) -> None:
    """Print `value` as JSON, or as `text` does."""
    if json:
        printing.as_json(value)
    else:
        text()


def pair(text: str, what: str) -> tuple[str, str]:
    """The two sides of `NAME=VALUE`.

    Raises:
        InvalidInput: it has no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(f"not a {what}: {text!r}; write it as NAME=VALUE")
    return name, value


def pairs(given: Iterable[str] | None, what: str) -> dict[str, str]:
    """Each `NAME=VALUE` that an option was given with, by its name.

    Raises:
        InvalidInput: one has no `=`, or two have one name.
    """
    found: dict[str, str] = {}
    for name, value in (pair(text, what) for text in given or ()):
        if name in found:
            raise InvalidInput(f"{name} is given twice; say which is meant")
        found[name] = value
    return found


def refuse(error: WhenceError) -> NoReturn:
    """Print what whence refuses, in one line, and end with exit code 1."""
    printing.error(str(error))
    sys.exit(1)

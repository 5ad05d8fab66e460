"""Pages of lists, for many subjects at once: one statement for each question, however many subjects it is about.

A page of many subjects is found in two steps of one statement: for each subject the key of the last item
of its page, from an index, then the items up to that one. `row_number() OVER (PARTITION BY …)` would read every
item of every subject.

Only what has a position is listed, and a cursor says up to which one its list goes. So the pages of a list
are of one state of the log, whatever is recorded meanwhile.
"""

import base64
import functools
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CTE,
    Select,
    Subquery,
    TableValuedAlias,
    Text,
    bindparam,
    column,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from whence_catalog import catalog, digest, model
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound, WhenceError
from whence_catalog.sql import artifacts, engine, runs, tables
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Record, Statement, Transaction

CURSOR_DOMAIN = "whence.cursor/1"

_FACT = tables.table(tables.FactRow)
_REDACTABLE = tables.table(tables.RedactableRow)
_PROJECT = tables.table(tables.ProjectRow)
_JOB = tables.table(tables.JobRow)
_ARTIFACT = tables.table(tables.ArtifactRow)
_VERSION = tables.table(tables.VersionRow)
_RUN = tables.table(tables.RunRow)
_INPUT = tables.table(tables.InputRow)
_OUTPUT = tables.table(tables.OutputRow)
_DERIVED = tables.table(tables.DerivedRow)
_ALIAS = tables.table(tables.AliasRow)
_ACTOR = tables.table(tables.ActorRow)

T = TypeVar("T")
S = TypeVar("S")
Key: TypeAlias = "tuple[int | str, ...]"


# ── rows that are given ──────────────────────────────────────────────────────────────────────────


class _Given(FunctionElement[Any]):
    name = "given"

    def __init__(self, parameter: str, columns: Mapping[str, TypeEngine[Any]]) -> None:
        self.given = columns
        super().__init__(bindparam(parameter))


@compiles(_Given, "sqlite")
def _(element: _Given, compiler: Any, **keywords: Any) -> str:
    named = ", ".join(f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(element.given))
    return f"(SELECT {named} FROM json_each({compiler.process(element.clauses, **keywords)}))"


@compiles(_Given, "postgresql")
def _(element: _Given, compiler: Any, **keywords: Any) -> str:
    named = ", ".join(
        f"CAST(row ->> {place} AS {compiler.dialect.type_compiler.process(kind)}) AS {name}"
        for place, (name, kind) in enumerate(element.given.items())
    )
    rows = compiler.process(element.clauses, **keywords)
    return f"(SELECT {named} FROM json_array_elements(CAST({rows} AS json)) AS rows(row))"


def _given(parameter: str = "given", **columns: TypeEngine[Any]) -> TableValuedAlias:
    """Rows that are given as one parameter, whatever their number: see `_rows`."""
    named = [column(name, kind) for name, kind in columns.items()]
    return _Given(parameter, columns).table_valued(*named, name=parameter)


def _rows(rows: Iterable[Sequence[int | str]]) -> str:
    """The value of a parameter that holds rows."""
    return json.dumps([list(row) for row in rows])


def _texts(texts: Iterable[str]) -> str:
    return _rows([text] for text in sorted(texts))


# ── cursors ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class List:
    """One list: what it is of, and whose. `size` and `after` are of the page that is asked for."""

    what: str
    of: str
    size: int
    after: str | None

    def cursor(self, head: int, key: Key) -> str:
        """Where an item stands in this list, of a log up to `head`."""
        said = digest.frame([head, *key])
        return base64.urlsafe_b64encode(self._checksum(said) + said).decode()

    def _checksum(self, said: bytes) -> bytes:
        return digest.raw_digest_of(CURSOR_DOMAIN, self.what, self.of, said)[:8]

    def place(self, head: int, *kinds: type) -> tuple[int, Key | None]:
        """Up to where in the log this page looks, and the key of the item before it.

        Args:
            head: the last position of the log, which a first page looks up to.
            kinds: of what types the parts of a key are.

        Raises:
            InvalidInput: `after` is no cursor of this list.
        """
        if self.after is None:
            return head, None
        try:
            text = base64.b64decode(self.after, b"-_", validate=True)
            if self._checksum(text[8:]) == text[:8]:
                up_to, *key = cast("list[int | str]", digest.unframe(text[8:]))
                if isinstance(up_to, int) and [type(part) for part in key] == list(kinds):
                    return up_to, tuple(key)
        except (ValueError, InvalidInput):
            pass
        raise InvalidInput(
            f"not a cursor of these {self.what}: {self.after[:20]!r}; give one back as it came, to the same list, or"
            " leave it out for the first page"
        )


def checked_size(first: int) -> int:
    """`first`, if a page can hold so many.

    Raises:
        InvalidInput: it cannot.
    """
    if not 1 <= first <= catalog.MOST_AT_ONCE:
        raise InvalidInput(f"first is {first}; a page has 1 to {catalog.MOST_AT_ONCE} items")
    return first

"""Pages of lists, for many subjects at once: one statement for each question, however many subjects it is about.

A statement answers for each subject the keys of one page, which an index gives in order and no further than the
page goes: `row_number() OVER (PARTITION BY …)` would read every item of every subject. A second one describes
the items of all pages.

Only what has a position is listed, and a cursor says up to which one its list goes. So the pages of a list
are of one state of the log, whatever is recorded meanwhile.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    bindparam,
    exists,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from whence_catalog import catalog, digest, model, replies
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound, WhenceError
from whence_catalog.sql import artifacts, engine, named, past, tables, times
from whence_catalog.sql.engine import Given, Record, Statement, Transaction

CURSOR_DOMAIN = "whence.cursor/1"

_FACT = tables.FACT
_PROJECT = tables.PROJECT
_JOB = tables.JOB
_ARTIFACT = tables.ARTIFACT
_VERSION = tables.VERSION
_RUN = tables.RUN
_INPUT = tables.INPUT
_OUTPUT = tables.OUTPUT
_ALIAS = tables.ALIAS
_ACTOR = tables.ACTOR

S = TypeVar("S")
P = TypeVar("P")
Key: TypeAlias = tuple[int | str, ...]


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


# ── statements ───────────────────────────────────────────────────────────────────────────────────

_ONE: ColumnElement[int] = literal_column("1")
# Before all keys, and behind them.
_LOWEST, HIGHEST = -1, 2**62


def sequenced(fact: Any) -> Any:
    """Whether the fact with that number is in the log up to `head`."""
    return engine.place(fact) <= bindparam("head")


class _Rows(FunctionElement[Any]):
    name = "rows"


@compiles(_Rows, "sqlite")
def _(element: _Rows, compiler: Any, **keywords: Any) -> str:
    return f"json_group_array(json_array({compiler.process(element.clauses, **keywords)}))"


@compiles(_Rows, "postgresql")
def _(element: _Rows, compiler: Any, **keywords: Any) -> str:
    return f"json_agg(json_build_array({compiler.process(element.clauses, **keywords)}))"


def _paged(keys: Select[Any], *, newest_first: bool = True) -> Statement:
    """The first `many` items behind a bound, of each subject that is given: (subject, rows as JSON).

    Args:
        keys: what is listed, of every subject: `subject`; `key`, and `minor` where it takes two to order the
            items; and what else of an item is wanted.
        newest_first: keys fall; else they rise.
    """
    given = named.given(id=BigInteger())
    listed = keys.subquery("listed")
    order: list[Any] = [listed.c[name] for name in ("key", "minor") if name in listed.c]
    here: Any = tuple_(*order) if len(order) > 1 else order[0]
    bound: Any = tuple_(bindparam("bound"), bindparam("minor")) if len(order) > 1 else bindparam("bound")
    wanted = [part for part in listed.c if part.name != "subject"]
    page = (
        select(*wanted)
        # By its name: SQLAlchemy does not correlate a subquery in FROM, though databases do.
        .where(listed.c.subject == literal_column("given.id"), here < bound if newest_first else here > bound)
        .order_by(*(part.desc() if newest_first else part for part in order))
        .limit(bindparam("many"))
        .subquery("page")
    )
    return Statement(select(given.c.id, select(_Rows(*page.c)).scalar_subquery()))


_other_taking = _INPUT.alias("other_taking")
_parent = _RUN.alias("parent_")

_versions = _paged(
    select(_VERSION.c.artifact_id.label("subject"), _VERSION.c.number.label("key"), _VERSION.c.id).where(
        exists(select(_ONE).where(_OUTPUT.c.version_id == _VERSION.c.id, sequenced(_OUTPUT.c.fact)))
    )
)
_alias_keys = (engine.place(_ALIAS.c.fact).label("key"), _ALIAS.c.id)
_aliases_of_artifact = _paged(
    select(_ALIAS.c.artifact_id.label("subject"), *_alias_keys).where(sequenced(_ALIAS.c.fact))
)
_aliases_of_version = _paged(
    select(_ALIAS.c.version_id.label("subject"), *_alias_keys).where(sequenced(_ALIAS.c.fact))
)
_stands = engine.unknown(_ALIAS.c.end_fact, "head")
_standing_of_artifact = _paged(
    select(_ALIAS.c.artifact_id.label("subject"), *_alias_keys).where(sequenced(_ALIAS.c.fact), _stands)
)
_standing_of_version = _paged(
    select(_ALIAS.c.version_id.label("subject"), *_alias_keys).where(sequenced(_ALIAS.c.fact), _stands)
)
_production_keys = (
    engine.place(_OUTPUT.c.fact).label("key"),
    _OUTPUT.c.place.label("minor"),
    _OUTPUT.c.run_id,
    _OUTPUT.c.role,
)
_productions = _paged(
    select(_OUTPUT.c.version_id.label("subject"), *_production_keys).where(sequenced(_OUTPUT.c.fact))
)
_outputs = _paged(
    select(_OUTPUT.c.run_id.label("subject"), *_production_keys).where(sequenced(_OUTPUT.c.fact)),
    newest_first=False,
)
# A Run stands in a list where its row does: rows come in the order of recording, and are what is indexed.
_consumers = _paged(
    select(
        _INPUT.c.version_id.label("subject"),
        _INPUT.c.run_id.label("key"),
        engine.place(_RUN.c.start_fact).label("position"),
    )
    .join(_RUN, _RUN.c.id == _INPUT.c.run_id)
    .where(
        sequenced(_INPUT.c.fact),
        # A Run that took it in several roles is listed once.
        ~exists(
            select(_ONE).where(
                _other_taking.c.version_id == _INPUT.c.version_id,
                _other_taking.c.run_id == _INPUT.c.run_id,
                sequenced(_other_taking.c.fact),
                tuple_(_other_taking.c.role, _other_taking.c.ordinal)
                < tuple_(_INPUT.c.role, _INPUT.c.ordinal),
            )
        ),
    )
)
_children = _paged(
    select(
        _parent.c.id.label("subject"),
        _RUN.c.id.label("key"),
        engine.place(_RUN.c.start_fact).label("position"),
    )
    .join(_parent, _parent.c.uid == _RUN.c.parent)
    .where(sequenced(_RUN.c.start_fact))
)
_inputs = _paged(
    select(
        _INPUT.c.run_id.label("subject"),
        _INPUT.c.role.label("key"),
        _INPUT.c.ordinal.label("minor"),
        _INPUT.c.run_id,
    ).where(sequenced(_INPUT.c.fact)),
    newest_first=False,
)

_taken = named.given(run=BigInteger(), role=Text(), ordinal=BigInteger())
_described_inputs = Statement(
    select(*artifacts.VERSION_COLUMNS, _INPUT.c.run_id, _INPUT.c.role, _INPUT.c.ordinal, _RUN.c.uid)
    .select_from(_taken)
    .join(
        _INPUT,
        (_INPUT.c.run_id == _taken.c.run)
        & (_INPUT.c.role == _taken.c.role)
        & (_INPUT.c.ordinal == _taken.c.ordinal),
    )
    .join(_VERSION, _VERSION.c.id == _INPUT.c.version_id)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .outerjoin(_RUN, _RUN.c.id == _INPUT.c.producer_run_id)
)
_run_at = Statement(
    select(_RUN.c.id).join(_FACT, _FACT.c.uid == _RUN.c.uid).where(_FACT.c.position == bindparam("position"))
)
_numbered = named.given(id=BigInteger())
_newest_number = Statement(
    select(
        _numbered.c.id,
        select(_VERSION.c.number)
        .where(
            _VERSION.c.artifact_id == _numbered.c.id,
            exists(select(_ONE).where(_OUTPUT.c.version_id == _VERSION.c.id, sequenced(_OUTPUT.c.fact))),
        )
        .order_by(_VERSION.c.number.desc())
        .limit(_ONE)
        .scalar_subquery(),
    )
)
_described_aliases = Statement(
    select(
        *artifacts.VERSION_COLUMNS,
        _ALIAS.c.id,
        _ALIAS.c.name,
        _ALIAS.c.since,
        _ALIAS.c.until,
        _ACTOR.c.name,
        _ACTOR.c.authenticated,
        _ALIAS.c.replaced,
        engine.place(_ALIAS.c.end_fact),
        _ALIAS.c.fact,
    )
    .select_from(_ALIAS)
    .join(_VERSION, _VERSION.c.id == _ALIAS.c.version_id)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .join(_ACTOR, _ACTOR.c.id == _ALIAS.c.actor_id)
    .where(engine.among(_ALIAS.c.id, "ids"))
)


# ── pages ────────────────────────────────────────────────────────────────────────────────────────


class Listing(NamedTuple):
    """A kind of list: its statement, and how an item's key stands in a cursor.

    `parts` are the columns of an item's row that a cursor holds. `lowest` is before the first item.
    """

    what: str
    statement: Statement
    parts: tuple[int, ...]
    kinds: tuple[type, ...]
    lowest: Mapping[str, Given]
    is_of_runs: bool = False


_FALLING: Mapping[str, Given] = {"bound": HIGHEST, "minor": 0}
_RISING: Mapping[str, Given] = {"bound": _LOWEST, "minor": 0}

VERSIONS = Listing("versions", _versions, (0,), (int,), _FALLING)
ALIASES_OF_ARTIFACT = Listing("aliases of an artifact", _aliases_of_artifact, (0,), (int,), _FALLING)
ALIASES_OF_VERSION = Listing("aliases of a version", _aliases_of_version, (0,), (int,), _FALLING)
STANDING_OF_ARTIFACT = Listing("standing aliases", _standing_of_artifact, (0,), (int,), _FALLING)
STANDING_OF_VERSION = Listing("standing aliases of a version", _standing_of_version, (0,), (int,), _FALLING)
PRODUCTIONS = Listing("productions", _productions, (0, 1), (int, int), _FALLING)
OUTPUTS = Listing("outputs", _outputs, (0, 1), (int, int), _RISING)
INPUTS = Listing("inputs", _inputs, (0, 1), (str, int), {"bound": "", "minor": _LOWEST})
CONSUMERS = Listing("consumers", _consumers, (1,), (int,), _FALLING, is_of_runs=True)
CHILDREN = Listing("children", _children, (1,), (int,), _FALLING, is_of_runs=True)


class Subject(NamedTuple):
    """Whose list it is: its row, and its name in cursors."""

    row: int
    name: str


class Part(NamedTuple):
    """What was found for one page, of the log up to a position: its rows, their cursors, where the next page begins."""

    up_to: int
    rows: list[Record]
    cursors: tuple[str, ...]
    end: str | None


def _parts(
    tx: Transaction,
    listing: Listing,
    subjects: Mapping[S, catalog.Result[Subject]],
    first: int,
    after: str | None,
    as_of: int | None = None,
) -> dict[S, catalog.Result[Part]]:
    """The page of each subject."""
    head = up_to = times.head(tx, as_of)
    results: dict[S, catalog.Result[Part]] = {}
    lists: dict[S, tuple[int, List]] = {}
    bound = listing.lowest
    for subject, found in subjects.items():
        if isinstance(found, WhenceError):
            results[subject] = found
            continue
        asked = List(listing.what, times.named(found.name, as_of), first, after)
        try:
            up_to, key = asked.place(head, *listing.kinds)
            if key is not None:
                bound = _bound(tx, listing, key)
        except WhenceError as error:
            results[subject] = error
        else:
            lists[subject] = (found.row, asked)
    given = named.listed([row] for row in sorted({row for row, _ in lists.values()}))
    pages = tx.all(listing.statement, given=given, many=first + 1, head=up_to, **bound) if lists else []
    by_row = {row: _decoded(rows) for row, rows in pages}
    for subject, (row_id, asked) in lists.items():
        mine = by_row[row_id]
        shown = mine[:first]
        cursors = tuple(asked.cursor(up_to, tuple(row[part] for part in listing.parts)) for row in shown)
        results[subject] = Part(up_to, shown, cursors, cursors[-1] if len(mine) > first else None)
    return results


def _decoded(rows: Any) -> list[Record]:
    """Rows that came as JSON: as text from SQLite, from PostgreSQL as what it means, or none for none."""
    found: list[list[Any]] = json.loads(rows) if isinstance(rows, str) else rows or []
    return [tuple(row) for row in found]


def _bound(tx: Transaction, listing: Listing, key: Key) -> Mapping[str, Given]:
    if not listing.is_of_runs:
        return {"bound": key[0], "minor": key[1] if len(key) > 1 else 0}
    return {"bound": run_row(tx, cast("int", key[0])), "minor": 0}


def run_row(tx: Transaction, position: int) -> int:
    """The row of the Run whose first fact has that position.

    Raises:
        InvalidInput: there is none.
    """
    row = tx.one(_run_at, position=position)
    if row is None:
        raise InvalidInput("not a cursor of this catalog; ask for the first page again")
    return cast("int", row[0])


def _pages(parts: Mapping[S, catalog.Result[Part]], page: Callable[[Part], P]) -> dict[S, catalog.Result[P]]:
    return {subject: part if isinstance(part, WhenceError) else page(part) for subject, part in parts.items()}


def _in_order(subjects: Sequence[S], pages: Mapping[S, catalog.Result[P]]) -> list[catalog.Result[P]]:
    return [pages[subject] for subject in subjects]


def _rows_of(parts: Mapping[S, catalog.Result[Part]]) -> list[Record]:
    return [row for part in parts.values() if not isinstance(part, WhenceError) for row in part.rows]


def _version_subjects(
    tx: Transaction, references: Iterable[model.Reference], as_of: int | None = None
) -> dict[model.Reference, catalog.Result[Subject]]:
    return {
        reference: found if isinstance(found, WhenceError) else Subject(found.id, found.version.ref)
        for reference, found in named.named_versions(tx, set(references), as_of).items()
    }


def _artifact_subjects(
    tx: Transaction, wanted: Iterable[model.Artifact]
) -> dict[model.Artifact, catalog.Result[Subject]]:
    return {
        artifact: found if isinstance(found, WhenceError) else Subject(found, str(artifact))
        for artifact, found in named.named_artifacts(tx, set(wanted)).items()
    }


def _run_subjects(
    tx: Transaction,
    uids: Iterable[UUID],
    row_of: Callable[[named.RunPlace], int],
    as_of: int | None,
) -> dict[UUID, catalog.Result[Subject]]:
    places = named.run_places(tx, uids)
    known = places.keys() if as_of is None else past.known(tx, uids, as_of)
    return {
        uid: Subject(row_of(places[uid]), str(uid))
        if uid in known
        else past.unknown(uid, cast("int", as_of))
        if uid in places
        else NotFound(f"no run {uid} is recorded", ErrorKind.NO_SUCH_RUN)
        for uid in uids
    }


def versions_of(
    tx: Transaction, wanted: Sequence[model.Artifact], first: int, after: str | None, as_of: int | None
) -> list[catalog.Result[replies.VersionPage]]:
    """The Versions of each Artifact, the highest number first."""
    subjects = _artifact_subjects(tx, wanted)
    parts = _parts(tx, VERSIONS, subjects, first, after, as_of)
    described = named.versions_with_ids(tx, [row[1] for row in _rows_of(parts)])
    counted = named.listed([found.row] for found in subjects.values() if isinstance(found, Subject))
    counts = {row[0]: row[1] for row in tx.all(_newest_number, given=counted, head=times.head(tx, as_of))}

    def total(artifact: model.Artifact) -> int:
        subject = subjects[artifact]
        return (counts[subject.row] or 0) if isinstance(subject, Subject) else 0

    return [
        part
        if isinstance(part := parts[artifact], WhenceError)
        else replies.VersionPage(
            cursors=part.cursors,
            end=part.end,
            masked=0,
            items=tuple(described[row[1]].version for row in part.rows),
            total=total(artifact),
        )
        for artifact in wanted
    ]


def aliases_of(
    tx: Transaction,
    references: Sequence[model.Reference],
    standing: bool,
    first: int,
    after: str | None,
    as_of: int | None,
) -> list[catalog.Result[replies.AliasPage]]:
    """What the aliases of each Artifact meant, or which meant each Version, the newest first."""
    of_artifacts = {reference for reference in references if reference.selector is None}
    of_versions = set(references) - of_artifacts
    by_artifact = _artifact_subjects(tx, [reference.artifact for reference in of_artifacts])
    parts = _parts(
        tx,
        STANDING_OF_ARTIFACT if standing else ALIASES_OF_ARTIFACT,
        {reference: by_artifact[reference.artifact] for reference in of_artifacts},
        first,
        after,
        as_of,
    ) | _parts(
        tx,
        STANDING_OF_VERSION if standing else ALIASES_OF_VERSION,
        _version_subjects(tx, of_versions, as_of) if of_versions else {},
        first,
        after,
        as_of,
    )

    ids: dict[int, list[int]] = {}
    for part in parts.values():
        if not isinstance(part, WhenceError):
            ids.setdefault(part.up_to, []).extend(row[1] for row in part.rows)
    # All pages together: they look up to one position, unless cursors say otherwise.
    described = {up_to: aliases_with_ids(tx, found, up_to) for up_to, found in ids.items()}

    def page(part: Part) -> replies.AliasPage:
        items = tuple(described[part.up_to][row[1]] for row in part.rows)
        return replies.AliasPage(cursors=part.cursors, end=part.end, masked=0, items=items)

    return _in_order(references, _pages(parts, page))


def aliases_with_ids(tx: Transaction, ids: Iterable[int], up_to: int) -> dict[int, model.Alias]:
    """The aliases in these rows, each by its own, as they were known at a position."""
    rows = tx.all(_described_aliases, ids=sorted(set(ids)))
    clear = named.texts_of(tx, [row[-1] for row in rows])
    return {row[9]: _alias(row, clear[row[-1]].get("reason"), up_to) for row in rows}


def _alias(row: Record, reason: str | None, up_to: int) -> model.Alias:
    version = artifacts.version_of(row)
    name, since, until, actor, authenticated, replaced, ended, _ = row[10:]
    if ended is not None and ended > up_to:
        until = None
    return model.Alias(
        artifact=version.artifact,
        name=name,
        version=version,
        since=model.moment(since),
        until=None if until is None else model.moment(until),
        actor=model.Actor(actor, bool(authenticated)),
        reason=reason,
        replaced=replaced,
    )


def productions_of(
    tx: Transaction, references: Sequence[model.Reference], first: int, after: str | None, as_of: int | None
) -> list[catalog.Result[replies.ProductionPage]]:
    """The productions of each Version, the newest first."""
    parts = _parts(tx, PRODUCTIONS, _version_subjects(tx, references, as_of), first, after, as_of)
    return _in_order(references, _production_pages(tx, parts))


def outputs_of(
    tx: Transaction, uids: Sequence[UUID], first: int, after: str | None, as_of: int | None
) -> list[catalog.Result[replies.ProductionPage]]:
    """What each Run made, or its origin, in the order in which it was said."""
    subjects = _run_subjects(tx, uids, lambda place: place.executed, as_of)
    return _in_order(uids, _production_pages(tx, _parts(tx, OUTPUTS, subjects, first, after, as_of)))


def _production_pages(
    tx: Transaction, parts: Mapping[S, catalog.Result[Part]]
) -> dict[S, catalog.Result[replies.ProductionPage]]:
    made = named.outputs(tx, [row[2:4] for row in _rows_of(parts)])

    def page(part: Part) -> replies.ProductionPage:
        items = tuple(made[row[2], row[3]] for row in part.rows)
        return replies.ProductionPage(cursors=part.cursors, end=part.end, masked=0, items=items)

    return _pages(parts, page)


def inputs_of(
    tx: Transaction, uids: Sequence[UUID], first: int, after: str | None, as_of: int | None
) -> list[catalog.Result[replies.InputPage]]:
    """What each Run took, or its origin where it took nothing itself, by role and ordinal."""
    subjects = _run_subjects(tx, uids, lambda place: place.id if place.has_inputs else place.executed, as_of)

    parts = _parts(tx, INPUTS, subjects, first, after, as_of)
    asked = named.listed((run, role, ordinal) for role, ordinal, run in _rows_of(parts))
    described = {row[9:12]: _input(row) for row in tx.all(_described_inputs, given=asked)}

    def page(part: Part) -> replies.InputPage:
        items = tuple(described[run, role, ordinal] for role, ordinal, run in part.rows)
        return replies.InputPage(cursors=part.cursors, end=part.end, masked=0, items=items)

    return _in_order(uids, _pages(parts, page))


def _input(row: Record) -> model.Input:
    producer = None if row[12] is None else UUID(bytes=row[12])
    return model.Input(row[10], artifacts.version_of(row), producer, row[11])


def consumers_of(
    tx: Transaction, references: Sequence[model.Reference], first: int, after: str | None, as_of: int | None
) -> list[catalog.Result[replies.RunPage]]:
    """The Runs that took each Version, the newest first."""
    parts = _parts(tx, CONSUMERS, _version_subjects(tx, references, as_of), first, after, as_of)
    return _in_order(references, _run_pages(tx, parts, as_of))


def children_of(
    tx: Transaction, uids: Sequence[UUID], first: int, after: str | None, as_of: int | None
) -> list[catalog.Result[replies.RunPage]]:
    """The Runs whose parent is each Run, the newest first."""
    subjects = _run_subjects(tx, uids, lambda place: place.id, as_of)
    return _in_order(uids, _run_pages(tx, _parts(tx, CHILDREN, subjects, first, after, as_of), as_of))


def _run_pages(
    tx: Transaction, parts: Mapping[S, catalog.Result[Part]], as_of: int | None
) -> dict[S, catalog.Result[replies.RunPage]]:
    ids = [row[0] for row in _rows_of(parts)]
    described = named.runs_with_ids(tx, ids) if as_of is None else past.runs(tx, ids, as_of)

    def page(part: Part) -> replies.RunPage:
        items = tuple(described[row[0]] for row in part.rows)
        return replies.RunPage(cursors=part.cursors, end=part.end, masked=0, items=items)

    return _pages(parts, page)

"""Many things at once, by their names: one statement for each kind of thing, however many are asked for.

What is said of one thing alone (`artifacts`, `runs`) is said here of many, in the same words.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    TableValuedAlias,
    Text,
    bindparam,
    column,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from whence_catalog import catalog, digest, model
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound, WhenceError
from whence_catalog.sql import artifacts, engine, labels, runs, tables
from whence_catalog.sql.engine import Record, Statement, Transaction

_REDACTABLE = tables.REDACTABLE
_PROJECT = tables.PROJECT
_ARTIFACT = tables.ARTIFACT
_VERSION = tables.VERSION
_RUN = tables.RUN
_INPUT = tables.INPUT
_OUTPUT = tables.OUTPUT
_DERIVED = tables.DERIVED
_ALIAS = tables.ALIAS

# No Version has a number of more than 64 bits.
_BEYOND = 2**63


# ── rows that are given ──────────────────────────────────────────────────────────────────────────


class _Given(FunctionElement[Any]):
    name = "given"

    def __init__(self, parameter: str, columns: Mapping[str, TypeEngine[Any]]) -> None:
        self.given = columns
        super().__init__(bindparam(parameter))


@compiles(_Given, "sqlite")
def _(element: _Given, compiler: Any, **keywords: Any) -> str:
    named = ", ".join(
        f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(element.given)
    )
    return f"(SELECT {named} FROM json_each({compiler.process(element.clauses, **keywords)}))"


@compiles(_Given, "postgresql")
def _(element: _Given, compiler: Any, **keywords: Any) -> str:
    named = ", ".join(
        f"CAST(item ->> {place} AS {compiler.dialect.type_compiler.process(kind)}) AS {name}"
        for place, (name, kind) in enumerate(element.given.items())
    )
    rows = compiler.process(element.clauses, **keywords)
    return f"(SELECT {named} FROM json_array_elements(CAST({rows} AS json)) AS given(item))"


def given(parameter: str = "given", **columns: TypeEngine[Any]) -> TableValuedAlias:
    """Rows that are given as one parameter, whatever their number: see `listed`."""
    named = [column(name, kind) for name, kind in columns.items()]
    return _Given(parameter, columns).table_valued(*named, name=parameter)


def listed(rows: Iterable[Sequence[int | str]]) -> str:
    """The value of a parameter that holds rows."""
    return json.dumps([list(row) for row in rows])


# ── what is named, many at once ──────────────────────────────────────────────────────────────────

_artifact_rows = given(project=Text(), kind=Text(), name=Text())
_artifact_ids = Statement(
    select(*_artifact_rows.c, _ARTIFACT.c.id)
    .select_from(_artifact_rows)
    .join(_PROJECT, _PROJECT.c.name == _artifact_rows.c.project)
    .join(
        _ARTIFACT,
        (_ARTIFACT.c.project_id == _PROJECT.c.id)
        & (_ARTIFACT.c.kind == _artifact_rows.c.kind)
        & (_ARTIFACT.c.name == _artifact_rows.c.name),
    )
)
_described_version = (
    select(*artifacts.VERSION_COLUMNS, _VERSION.c.id)
    .select_from(_VERSION)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
)
_versions_with_ids = Statement(_described_version.where(engine.among(_VERSION.c.id, "ids")))
_numbers = given(artifact=BigInteger(), number=BigInteger())
_aliased = given(artifact=BigInteger(), alias=Text())
_ids = given(id=BigInteger())


class _Selecting(NamedTuple):
    """How Versions are looked up by what selects them."""

    numbered: Statement
    digested: Statement
    aliased: Statement
    latest: Statement


def _selecting(is_as_of: bool) -> _Selecting:
    """Of all that is committed, or of what was known at the position `as_of`."""
    numbered = select(_numbers.c.artifact, _numbers.c.number, _VERSION.c.id).join_from(
        _numbers,
        _VERSION,
        (_VERSION.c.artifact_id == _numbers.c.artifact) & (_VERSION.c.number == _numbers.c.number),
    )
    digested = select(_VERSION.c.artifact_id, _VERSION.c.digest, _VERSION.c.id).where(
        engine.among_bytes(_VERSION.c.digest, "digests")
    )
    aliased = select(_aliased.c.artifact, _aliased.c.alias, _ALIAS.c.version_id).join_from(
        _aliased, _ALIAS, (_ALIAS.c.artifact_id == _aliased.c.artifact) & (_ALIAS.c.name == _aliased.c.alias)
    )
    newest = select(_OUTPUT.c.version_id).where(_OUTPUT.c.artifact_id == _ids.c.id)
    if is_as_of:
        was_made = exists(
            select(literal_column("1")).where(
                _OUTPUT.c.version_id == _VERSION.c.id, engine.known(_OUTPUT.c.fact)
            )
        )
        numbered, digested = numbered.where(was_made), digested.where(was_made)
        aliased = aliased.where(engine.known(_ALIAS.c.fact), engine.unknown(_ALIAS.c.end_fact))
        newest = newest.where(engine.known(_OUTPUT.c.fact))
    else:
        aliased = aliased.where(_ALIAS.c.until.is_(None))
    newest = newest.order_by(engine.place(_OUTPUT.c.fact).desc(), _OUTPUT.c.place.desc())
    latest = select(_ids.c.id, newest.limit(literal_column("1")).scalar_subquery())
    return _Selecting(Statement(numbered), Statement(digested), Statement(aliased), Statement(latest))


_NOW, KNOWN_THEN = _selecting(is_as_of=False), _selecting(is_as_of=True)
_newest_known = Statement(
    select(_ids.c.id, _OUTPUT.c.run_id, _OUTPUT.c.role)
    .select_from(_ids)
    .join(_OUTPUT, _OUTPUT.c.version_id == _ids.c.id)
    .where(engine.known(_OUTPUT.c.fact))
    .order_by(_ids.c.id, engine.place(_OUTPUT.c.fact), _OUTPUT.c.place)
)
_runs_with_ids = Statement(runs.select_runs().where(engine.among(_RUN.c.id, "ids")))
_runs_with_uids = Statement(runs.select_runs().where(engine.among_bytes(_RUN.c.uid, "uids")))
_run_ids = Statement(
    select(
        _RUN.c.uid,
        _RUN.c.id,
        func.coalesce(_RUN.c.origin_id, _RUN.c.id),
        exists(select(literal_column("1")).where(_INPUT.c.run_id == _RUN.c.id)),
    ).where(engine.among_bytes(_RUN.c.uid, "uids"))
)
_opened = Statement(
    select(_REDACTABLE.c.fact, _REDACTABLE.c.path, _REDACTABLE.c.value).where(
        engine.among(_REDACTABLE.c.fact, "facts")
    )
)
_made = given(run=BigInteger(), role=Text())
_outputs_named = Statement(
    artifacts.select_productions().join(
        _made, (_made.c.run == _OUTPUT.c.run_id) & (_made.c.role == _OUTPUT.c.role)
    )
)
_sources = given(version=BigInteger(), run=BigInteger())
_made_by = Statement(
    select(_OUTPUT.c.version_id, _OUTPUT.c.run_id, func.min(_OUTPUT.c.role))
    .join(_sources, (_sources.c.version == _OUTPUT.c.version_id) & (_sources.c.run == _OUTPUT.c.run_id))
    .group_by(_OUTPUT.c.version_id, _OUTPUT.c.run_id)
)
_derived = Statement(
    select(
        _DERIVED.c.run_id,
        _DERIVED.c.role,
        _PROJECT.c.name,
        _ARTIFACT.c.kind,
        _ARTIFACT.c.name,
        _VERSION.c.digest,
        _RUN.c.uid,
    )
    .select_from(_DERIVED)
    .join(_VERSION, _VERSION.c.id == _DERIVED.c.version_id)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .outerjoin(_RUN, _RUN.c.id == _DERIVED.c.producer_run_id)
    .where(engine.among(_DERIVED.c.run_id, "ids"))
    .order_by(_DERIVED.c.run_id, _DERIVED.c.role, _DERIVED.c.ordinal)
)


class Named(NamedTuple):
    """A Version with where it lies."""

    id: int
    version: model.Version


class RunPlace(NamedTuple):
    """Where a Run lies, and the one that executed for it: itself, or its origin."""

    id: int
    executed: int
    has_inputs: bool


def named_artifacts(
    tx: Transaction, named: Collection[model.Artifact]
) -> dict[model.Artifact, catalog.Result[int]]:
    """The row of each Artifact."""
    asked = listed((artifact.project, artifact.kind, artifact.name) for artifact in named)
    found = {model.Artifact(*parts): row for *parts, row in tx.all(_artifact_ids, given=asked)}
    return {
        artifact: found.get(artifact) or _no_artifact(tx, artifact, len(named) == 1) for artifact in named
    }


def _no_artifact(tx: Transaction, artifact: model.Artifact, alone: bool) -> WhenceError:
    # To look for near names is to read them all: not for each of many.
    if alone:
        try:
            artifacts.find(tx, artifact)
        except NotFound as error:
            return error
    return NotFound(f"no artifact {artifact} is recorded", ErrorKind.NO_SUCH_ARTIFACT)


def named_versions(
    tx: Transaction, references: Collection[model.Reference], as_of: int | None = None
) -> dict[model.Reference, catalog.Result[Named]]:
    """The Version that each reference means, or meant as far as was known at a position."""
    of = named_artifacts(tx, {reference.artifact for reference in references})
    results: dict[model.Reference, catalog.Result[Named]] = {}
    wanted: dict[model.Reference, int] = {}
    for reference in references:
        artifact_id = of[reference.artifact]
        if isinstance(artifact_id, WhenceError):
            results[reference] = artifact_id
        else:
            wanted[reference] = artifact_id
    ids = _selected(tx, wanted, as_of)
    described = versions_with_ids(tx, ids.values())
    for reference in wanted:
        found = ids.get(reference)
        results[reference] = (
            _no_version(tx, reference, len(references) == 1, as_of) if found is None else described[found]
        )
    return results


def known_version(tx: Transaction, reference: model.Reference, as_of: int) -> int:
    """The row of the Version that a reference meant, as far as was known at a position.

    Raises:
        NotFound: none was known.
    """
    found = named_versions(tx, {reference}, as_of)[reference]
    if isinstance(found, WhenceError):
        raise found
    return found.id


def versions_with_ids(tx: Transaction, ids: Iterable[int]) -> dict[int, Named]:
    """The Versions in these rows, each by its own."""
    rows = tx.all(_versions_with_ids, ids=sorted(set(ids)))
    return {row[9]: Named(row[9], artifacts.version_of(row)) for row in rows}


def _no_version(tx: Transaction, reference: model.Reference, alone: bool, as_of: int | None) -> WhenceError:
    kind = ErrorKind.NO_SUCH_VERSION if reference.alias is None else ErrorKind.NO_SUCH_ALIAS
    if as_of is not None:
        return NotFound(f"no version {reference} was known at position {as_of}", kind)
    if alone and (reference.number or 0) < _BEYOND:
        try:
            artifacts.version_id(tx, reference)
        except NotFound as error:
            return error
    return NotFound(f"no version {reference} is recorded", kind)


def _selected(
    tx: Transaction, wanted: Mapping[model.Reference, int], as_of: int | None
) -> dict[model.Reference, int]:
    """The row of the Version that each reference means, of the Artifact in that row; where there is one."""
    find, then = (_NOW, {}) if as_of is None else (KNOWN_THEN, {"as_of": as_of})
    by_number = {(row, ref.number): ref for ref, row in wanted.items() if ref.number is not None}
    by_digest = {(row, ref.digest.raw): ref for ref, row in wanted.items() if ref.digest is not None}
    by_alias = {(row, ref.alias): ref for ref, row in wanted.items() if ref.alias is not None}
    latest = {ref: row for ref, row in wanted.items() if ref.is_latest}
    numbers = [(row, number) for row, number in by_number if number is not None and number < _BEYOND]
    found: dict[model.Reference, int] = {}
    if numbers:
        found |= {by_number[row[:2]]: row[2] for row in tx.all(find.numbered, given=listed(numbers), **then)}
    if by_digest:
        rows = tx.all(find.digested, digests=[raw for _, raw in by_digest], **then)
        found |= {by_digest[key]: row for *at, row in rows if (key := (at[0], bytes(at[1]))) in by_digest}
    if by_alias:
        given = listed((row, alias or "") for row, alias in by_alias)
        found |= {by_alias[row[:2]]: row[2] for row in tx.all(find.aliased, given=given, **then)}
    if latest:
        given = listed([row] for row in {*latest.values()})
        newest = {row[0]: row[1] for row in tx.all(find.latest, given=given, **then) if row[1] is not None}
        found |= {ref: newest[row] for ref, row in latest.items() if row in newest}
    return found


def productions(
    tx: Transaction, references: Sequence[model.Reference], as_of: int
) -> list[catalog.Result[model.Output]]:
    """The newest production, as far as was known at a position, of the Version that each reference meant then."""
    found = named_versions(tx, set(references), as_of)
    rows = {version.id for version in found.values() if not isinstance(version, WhenceError)}
    newest = {row[0]: row[1:] for row in tx.all(_newest_known, given=listed([r] for r in rows), as_of=as_of)}
    made = outputs(tx, newest.values())
    return [
        result if isinstance(result, WhenceError) else made[newest[result.id]]
        for result in (found[reference] for reference in references)
    ]


def versions(
    tx: Transaction, references: Sequence[model.Reference], as_of: int | None
) -> list[catalog.Result[model.Version]]:
    """The Version that each reference means, or meant as far as was known at a position."""
    found = named_versions(tx, set(references), as_of)
    return [
        result if isinstance(result, WhenceError) else result.version
        for result in (found[reference] for reference in references)
    ]


def runs_with_ids(tx: Transaction, ids: Iterable[int]) -> dict[int, model.Run]:
    """The Runs in these rows, each by its own."""
    return with_texts(tx, tx.all(_runs_with_ids, ids=sorted(set(ids))))


def run_places(tx: Transaction, uids: Iterable[UUID]) -> dict[UUID, RunPlace]:
    """Where these Runs lie; one that is not recorded is absent."""
    return {
        UUID(bytes=uid): RunPlace(row, executed, bool(has_inputs))
        for uid, row, executed, has_inputs in tx.all(_run_ids, uids=_raw(uids))
    }


def named_runs(tx: Transaction, uids: Sequence[UUID]) -> dict[UUID, model.Run]:
    """The Runs with these ids that are recorded."""
    return {run.uid: run for run in with_texts(tx, tx.all(_runs_with_uids, uids=_raw(uids))).values()}


def _raw(uids: Iterable[UUID]) -> list[bytes]:
    return sorted({uid.bytes for uid in uids})


def named_productions(tx: Transaction, sources: Sequence[model.Source]) -> list[catalog.Result[model.Output]]:
    """Each Version as the Run that its source names made it."""
    references = {source: model.Reference(source.artifact, source.digest.text) for source in sources}
    found = named_versions(tx, set(references.values()))
    made_by = [source.producer for source in sources if source.producer is not None]
    places = run_places(tx, made_by)
    pairs = {
        source: (version.id, places[source.producer].id)
        for source, reference in references.items()
        if source.producer in places and not isinstance(version := found[reference], WhenceError)
    }
    roles = {(v, r): (r, role) for v, r, role in tx.all(_made_by, given=listed(sorted(set(pairs.values()))))}
    made = outputs(tx, roles.values())

    def result(source: model.Source) -> catalog.Result[model.Output]:
        if source.producer is None:
            return InvalidInput(
                f"{source.artifact} {source.digest.short} is said to come from no run; name one"
            )
        version = found[references[source]]
        if isinstance(version, WhenceError):
            return version
        place = roles.get(pairs.get(source, (0, 0)))
        return (
            made[place]
            if place
            else NotFound(
                f"run {source.producer} did not make {version.version.ref}", ErrorKind.NO_SUCH_VERSION
            )
        )

    return [result(source) for source in sources]


# ── what rows stand for ──────────────────────────────────────────────────────────────────────────


def texts_of(tx: Transaction, facts: Iterable[int | None]) -> dict[int, dict[str, str]]:
    """What the commitments of these facts stand for; see `facts.opened`."""
    asked = sorted({fact for fact in facts if fact is not None})
    clear: dict[int, dict[str, str]] = {fact: {} for fact in asked}
    for fact, path, value in tx.all(_opened, facts=asked) if asked else ():
        clear[fact][path] = str(digest.unframe_own(value))
    return clear


def with_texts(tx: Transaction, rows: Iterable[Record]) -> dict[int, model.Run]:
    """The Runs in these rows, each by its own; see `runs.with_texts`."""
    stored = [runs.stored_of(row) for row in rows]
    clear = texts_of(tx, [found.finish_fact for found in stored])
    own = labels.of_runs(tx, [found.id for found in stored])
    return {
        found.id: replace(
            found.run,
            labels=own[found.id],
            error=None if found.finish_fact is None else clear[found.finish_fact].get("error"),
        )
        for found in stored
    }


def outputs(tx: Transaction, places: Iterable[tuple[int, str]]) -> dict[tuple[int, str], model.Output]:
    """The productions at these (run, role)."""
    asked = sorted(set(places))
    rows = tx.all(_outputs_named, given=listed(asked)) if asked else []
    clear = texts_of(tx, [row[16] for row in rows])
    derived: dict[tuple[int, str], list[model.Source]] = {}
    deriving = sorted({row[18] for row in rows if row[15]})
    for run_id, role, project, kind, name, raw, uid in tx.all(_derived, ids=deriving) if deriving else ():
        made_by = None if uid is None else UUID(bytes=uid)
        source = model.Source(model.Artifact(project, kind, name), digest.Digest.of(raw), made_by)
        derived.setdefault((run_id, role), []).append(source)
    made = {}
    for row in rows:
        plain = artifacts.output_of(tx, (*row[:15], 0, *row[16:]), clear[row[16]])
        said = tuple(derived.get((row[18], row[10]), ())) if row[15] else None
        made[row[18], row[10]] = replace(plain, derived_from=said)
    return made

"""Artifacts, their Versions, productions and aliases."""

import difflib
from collections.abc import Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import Select, bindparam, func, insert, select, update

from whence_catalog import digest, facts, intervals, model, replies
from whence_catalog.errors import Conflict, ErrorKind, NotFound
from whence_catalog.sql import engine, grams, tables
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Asked, Record, Statement, Transaction

_PROJECT = tables.PROJECT
_ARTIFACT = tables.ARTIFACT
_VERSION = tables.VERSION
_OUTPUT = tables.OUTPUT
_DERIVED = tables.DERIVED
_INPUT = tables.INPUT
_RUN = tables.RUN
_ALIAS = tables.ALIAS
_ACTOR = tables.ACTOR

_named = (
    (_PROJECT.c.name == bindparam("project"))
    & (_ARTIFACT.c.kind == bindparam("kind"))
    & (_ARTIFACT.c.name == bindparam("name"))
)

_find_project = Statement(select(_PROJECT.c.id).where(_PROJECT.c.name == bindparam("name")))
_make_project = Statement(insert(_PROJECT).values(name=bindparam("name")).returning(_PROJECT.c.id))
_find_artifact = Statement(select(_ARTIFACT.c.id).join(_PROJECT).where(_named))
_make_artifact = Statement(
    insert(_ARTIFACT)
    .values(project_id=bindparam("project_id"), kind=bindparam("kind"), name=bindparam("name"))
    .returning(_ARTIFACT.c.id)
)
_find_version = Statement(
    select(_VERSION.c.id, _VERSION.c.number).where(
        _VERSION.c.artifact_id == bindparam("artifact_id"), _VERSION.c.digest == bindparam("digest")
    )
)
_find_content = Statement(
    select(_ARTIFACT.c.id, _VERSION.c.id)
    .select_from(_ARTIFACT)
    .join(_PROJECT)
    .outerjoin(
        _VERSION, (_VERSION.c.artifact_id == _ARTIFACT.c.id) & (_VERSION.c.digest == bindparam("digest"))
    )
    .where(_named)
)
# What a Version is, and what one production says of it: the columns of `version_of` and `output_of`.
VERSION_COLUMNS = (
    _PROJECT.c.name,
    _ARTIFACT.c.kind,
    _ARTIFACT.c.name,
    _VERSION.c.number,
    _VERSION.c.digest,
    _VERSION.c.strength,
    _VERSION.c.form,
    _VERSION.c.size_bytes,
    _VERSION.c.created_at,
)
_OUTPUT_COLUMNS = (
    *VERSION_COLUMNS,
    _RUN.c.uid,
    _OUTPUT.c.role,
    _OUTPUT.c.filename,
    _OUTPUT.c.format,
    _OUTPUT.c.location,
    _OUTPUT.c.described,
    _OUTPUT.c.derives,
    _OUTPUT.c.fact,
    _OUTPUT.c.place,
    _OUTPUT.c.run_id,
)


def select_productions() -> Select[tuple[object, ...]]:
    """A query of productions, whose rows `output_of` reads."""
    return (
        select(*_OUTPUT_COLUMNS)
        .select_from(_OUTPUT)
        .join(_RUN, _RUN.c.id == _OUTPUT.c.run_id)
        .join(_VERSION, _VERSION.c.id == _OUTPUT.c.version_id)
        .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
        .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    )


_newest_first = (engine.place(_OUTPUT.c.fact).desc(), _OUTPUT.c.place.desc())
_made_by_run = (
    select_productions()
    .where(_OUTPUT.c.run_id == bindparam("run_id"))
    .order_by(engine.place(_OUTPUT.c.fact), _OUTPUT.c.place)
)
_outputs_of_run = Statement(_made_by_run)
_outputs_known = Statement(_made_by_run.where(engine.known(_OUTPUT.c.fact)))
_productions_of_artifact = Statement(
    select_productions().where(_OUTPUT.c.artifact_id == bindparam("artifact_id")).order_by(*_newest_first)
)
# Found by what it is ordered by alone, and then read: on PostgreSQL all that were made are looked at.
_made = _OUTPUT.alias("made")
_newest = (
    select(_made.c.run_id, _made.c.role)
    .where(_made.c.artifact_id == bindparam("artifact_id"))
    .order_by(engine.place(_made.c.fact).desc(), _made.c.place.desc())
    .limit(1)
    .subquery("newest")
)
_latest = Statement(
    select_productions()
    .join(_newest, (_newest.c.run_id == _OUTPUT.c.run_id) & (_newest.c.role == _OUTPUT.c.role))
    .order_by(*_newest_first)
)
_newest_of_version = Statement(
    select_productions()
    .where(_OUTPUT.c.version_id == bindparam("version_id"))
    .order_by(*_newest_first)
    .limit(1)
)
_version_numbered = Statement(
    select(_VERSION.c.id).where(
        _VERSION.c.artifact_id == bindparam("artifact_id"), _VERSION.c.number == bindparam("number")
    )
)
_version_digested = Statement(
    select(_VERSION.c.id).where(
        _VERSION.c.artifact_id == bindparam("artifact_id"), _VERSION.c.digest == bindparam("digest")
    )
)
_standing = Statement(
    select(_ALIAS.c.version_id, _VERSION.c.number, _ALIAS.c.since)
    .join(_VERSION, _VERSION.c.id == _ALIAS.c.version_id)
    .where(
        _ALIAS.c.artifact_id == bindparam("artifact_id"),
        _ALIAS.c.name == bindparam("alias"),
        _ALIAS.c.until.is_(None),
    )
)
_count_versions = Statement(
    select(func.count()).select_from(_VERSION).where(_VERSION.c.artifact_id == bindparam("artifact_id"))
)
_every_artifact = Statement(
    select(_ARTIFACT.c.id, _PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name)
    .join(_PROJECT)
    .order_by(_PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name)
)
_derived_of = Statement(
    select(_PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name, _VERSION.c.digest, _RUN.c.uid)
    .select_from(_DERIVED)
    .join(_VERSION, _VERSION.c.id == _DERIVED.c.version_id)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .outerjoin(_RUN, _RUN.c.id == _DERIVED.c.producer_run_id)
    .where(_DERIVED.c.run_id == bindparam("run_id"), _DERIVED.c.role == bindparam("role"))
    .order_by(_DERIVED.c.ordinal)
)
_end_alias = Statement(
    update(_ALIAS)
    .where(
        _ALIAS.c.artifact_id == bindparam("of_artifact"),
        _ALIAS.c.name == bindparam("of_name"),
        _ALIAS.c.until.is_(None),
    )
    .values(until=bindparam("ended"), end_fact=bindparam("by_fact"))
)
_put_alias = Statement(
    insert(_ALIAS).values(
        artifact_id=bindparam("artifact_id"),
        name=bindparam("name"),
        version_id=bindparam("version_id"),
        since=bindparam("since"),
        fact=bindparam("fact"),
        actor_id=bindparam("actor_id"),
        replaced=bindparam("replaced"),
    )
)
_aliases = (
    select(
        *VERSION_COLUMNS,
        _ALIAS.c.name,
        _ALIAS.c.since,
        _ALIAS.c.until,
        _ACTOR.c.name,
        _ACTOR.c.authenticated,
        _ALIAS.c.replaced,
        _ALIAS.c.fact,
    )
    .select_from(_ALIAS)
    .join(_VERSION, _VERSION.c.id == _ALIAS.c.version_id)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .join(_ACTOR, _ACTOR.c.id == _ALIAS.c.actor_id)
    .order_by(engine.place(_ALIAS.c.fact).desc())
)
_aliases_of = Statement(_aliases.where(_ALIAS.c.artifact_id == bindparam("artifact_id")))
_aliases_with_ids = Statement(_aliases.add_columns(_ALIAS.c.id).where(engine.among(_ALIAS.c.id, "ids")))
_standing_aliases = Statement(
    _aliases.where(_ALIAS.c.until.is_(None), engine.among(_ALIAS.c.version_id, "ids"))
)


# ── writing (projections: only what a fact says) ─────────────────────────────────────────────────


def find_project(tx: Transaction, name: str) -> int | None:
    """The project's row."""
    row = tx.one(_find_project, name=name)
    return None if row is None else row[0]


def find_versions(
    tx: Transaction, wanted: Sequence[tuple[model.Artifact, bytes | None]]
) -> list[tuple[model.Artifact, int | None, bool]]:
    """Of each: the Artifact, its row, and whether it has a Version with that digest."""
    found = tx.each(*asked_versions(wanted))
    return [
        (named, rows[0][0], rows[0][1] is not None) if rows else (named, None, False)
        for (named, _), rows in zip(wanted, found, strict=True)
    ]


def asked_versions(wanted: Sequence[tuple[model.Artifact, bytes | None]]) -> Asked:
    """What `find_versions` asks."""
    return _find_content, [
        {"project": named.project, "kind": named.kind, "name": named.name, "digest": raw or b""}
        for named, raw in wanted
    ]


def known_version(tx: Transaction, artifact: model.Artifact, content: digest.Digest) -> int | None:
    """The row of the Version with that content, if there is one."""
    named = {"project": artifact.project, "kind": artifact.kind, "name": artifact.name}
    row = tx.one(_find_content, **named, digest=content.raw)
    return None if row is None else row[1]


def known(tx: Transaction, artifact: model.Artifact, content: digest.Digest) -> int:
    """The row of the Version with that content.

    Raises:
        NotFound: the Artifact has no such Version.
    """
    row = tx.one(_find_version, artifact_id=find(tx, artifact), digest=content.raw)
    if row is None:
        raise NotFound(f"{artifact} has no version with content {content.short}…", ErrorKind.NO_SUCH_VERSION)
    return row[0]  # type: ignore[no-any-return]


def project_id(tx: Transaction, name: str) -> int:
    """The project of that name, made if need be."""
    row = tx.one(_find_project, name=name) or tx.one(_make_project, name=name)
    return cast("Record", row)[0]  # type: ignore[no-any-return]


def ensure(tx: Transaction, artifact: model.Artifact) -> int:
    """The Artifact's row, made if need be."""
    row = tx.one(_find_artifact, project=artifact.project, kind=artifact.kind, name=artifact.name)
    if row is None:
        of = project_id(tx, artifact.project)
        row = cast("Record", tx.one(_make_artifact, project_id=of, kind=artifact.kind, name=artifact.name))
        tx.fill((grams.OF_ARTIFACTS, grams.rows(artifact.name, of, row[0])))
    return row[0]  # type: ignore[no-any-return]


def put_alias(tx: Transaction, move: model.AliasMove, actor_id: int, fact: int, at: int) -> None:
    """End what the alias meant, and begin what it means.

    Raises:
        NotFound: the Artifact has no such Version.
        Conflict: it does not point where the mover believes, or pointed there only after it is said to be moved.
        InvalidInput: it is said to be moved later than it is said.
    """
    artifact_id = find(tx, move.artifact)
    row = tx.one(_find_version, artifact_id=artifact_id, digest=move.digest.raw)
    if row is None:
        raise NotFound(
            f"{move.artifact} has no version with content {move.digest.short}…", ErrorKind.NO_SUCH_VERSION
        )
    standing = tx.one(_standing, artifact_id=artifact_id, alias=move.name)
    replaced = None if standing is None else standing[1]
    if move.expected is not None and move.expected != (replaced or 0):
        found = "nothing" if replaced is None else f"version {replaced}"
        raise Conflict(
            f"{move.artifact}@{move.name} points at {found}, not at version {move.expected or 'none'};"
            " somebody moved it: look again",
            ErrorKind.ALIAS_MOVED,
        )
    before = None if standing is None else model.moment(standing[2])
    since = model.microseconds(intervals.begin(move.since, model.moment(at), before))
    tx.run(_end_alias, of_artifact=artifact_id, of_name=move.name, ended=since, by_fact=fact)
    tx.run(
        _put_alias,
        artifact_id=artifact_id,
        name=move.name,
        version_id=row[0],
        since=since,
        fact=fact,
        actor_id=actor_id,
        replaced=replaced,
    )


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def version_of(row: Record) -> model.Version:
    """The Version in the first nine columns of a row (VERSION_COLUMNS)."""
    project, kind, name, number, raw, strength, form, size_bytes, created_at = row[:9]
    content = model.Content(digest.Digest.of(raw), model.Strength(strength), model.Form(form), size_bytes)
    return model.Version(model.Artifact(project, kind, name), number, content, model.moment(created_at))


def output_of(tx: Transaction, row: Record, clear: dict[str, str]) -> model.Output:
    """The production in a row of `select_productions`; `clear` is what its fact says in clear."""
    uid, role, filename, form, location, described, derives, _, place, run_id = row[9:]
    says = cast("facts.Body", digest.unframe_own(described))
    return model.Output(
        role=role,
        version=version_of(row),
        run=UUID(bytes=uid),
        filename=filename,
        format=form,
        location=location,
        metadata=cast("facts.Body", says["metadata"]),
        metrics=cast("dict[str, float]", says["metrics"]),
        description=clear.get(f"outputs/{place}/description"),
        derived_from=_derived(tx, run_id, role) if derives else None,
    )


def _derived(tx: Transaction, run_id: int, role: str) -> tuple[model.Source, ...]:
    return tuple(
        model.Source(
            model.Artifact(project, kind, name),
            digest.Digest.of(raw),
            None if uid is None else UUID(bytes=uid),
        )
        for project, kind, name, raw, uid in tx.all(_derived_of, run_id=run_id, role=role)
    )


def _described(tx: Transaction, rows: list[Record]) -> tuple[model.Output, ...]:
    clear = {fact: fact_log.opened(tx, fact) for fact in {row[16] for row in rows}}
    return tuple(output_of(tx, row, clear[row[16]]) for row in rows)


def outputs_of(tx: Transaction, run_id: int, as_of: int | None = None) -> tuple[model.Output, ...]:
    """What a Run made, or was known to have made at a position."""
    if as_of is not None:
        return _described(tx, tx.all(_outputs_known, run_id=run_id, as_of=as_of))
    return _described(tx, tx.all(_outputs_of_run, run_id=run_id))


def productions(tx: Transaction, artifact: model.Artifact) -> tuple[model.Output, ...]:
    """All productions of an Artifact, newest first."""
    return _described(tx, tx.all(_productions_of_artifact, artifact_id=find(tx, artifact)))


def find(tx: Transaction, artifact: model.Artifact) -> int:
    """The Artifact's row.

    Raises:
        NotFound: with near names.
    """
    row = tx.one(_find_artifact, project=artifact.project, kind=artifact.kind, name=artifact.name)
    if row is None:
        # Names of other projects are not for everyone who may ask for this one.
        every = [model.Artifact(*parts) for _, *parts in tx.all(_every_artifact)]
        known = [str(other) for other in every if other.project == artifact.project]
        raise NotFound(
            f"no artifact {artifact} is recorded{near(str(artifact), known)}", ErrorKind.NO_SUCH_ARTIFACT
        )
    return row[0]  # type: ignore[no-any-return]


def near(name: str, known: list[str]) -> str:
    """The end of a message about an unknown name: what may have been meant."""
    if not known:
        return "; nothing is, yet"
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    shown = ", ".join(known[:5])
    return f"; there are {shown}" + (f" and {len(known) - 5} more" if len(known) > 5 else "")


def version_id(tx: Transaction, reference: model.Reference) -> int:
    """The row of the Version that a reference means.

    Raises:
        NotFound: with near names.
    """
    artifact_id = find(tx, reference.artifact)
    if reference.is_latest:
        row = tx.one(_latest, artifact_id=artifact_id)
        assert row is not None, "an Artifact is made with its first production"
        row = tx.one(_version_numbered, artifact_id=artifact_id, number=row[3])
    elif reference.number is not None:
        row = tx.one(_version_numbered, artifact_id=artifact_id, number=reference.number)
    elif reference.digest is not None:
        row = tx.one(_version_digested, artifact_id=artifact_id, digest=reference.digest.raw)
    else:
        row = tx.one(_standing, artifact_id=artifact_id, alias=reference.selector)
        if row is None:
            known = [alias.name for alias in aliases(tx, reference.artifact) if alias.until is None]
            raise NotFound(
                f"{reference.artifact} has no alias {reference.selector!r}"
                + near(str(reference.selector), known),
                ErrorKind.NO_SUCH_ALIAS,
            )
    if row is None:
        count = cast("Record", tx.one(_count_versions, artifact_id=artifact_id))[0]
        held = "one version" if count == 1 else f"{count} versions"
        raise NotFound(f"no version {reference}; {reference.artifact} has {held}", ErrorKind.NO_SUCH_VERSION)
    return row[0]  # type: ignore[no-any-return]


def resolve(tx: Transaction, reference: model.Reference) -> model.Output:
    """The newest production of the Version that a reference means.

    Raises:
        NotFound: with near names.
    """
    row = tx.one(_newest_of_version, version_id=version_id(tx, reference))
    assert row is not None, "a Version is made with its first production"
    return _described(tx, [row])[0]


def aliases(tx: Transaction, artifact: model.Artifact) -> tuple[model.Alias, ...]:
    """All that an Artifact's aliases ever meant, newest first."""
    return tuple(_alias_of(tx, row) for row in tx.all(_aliases_of, artifact_id=find(tx, artifact)))


def standing_aliases(tx: Transaction, version_ids: Sequence[int]) -> tuple[model.Alias, ...]:
    """The aliases that mean one of these Versions now."""
    return tuple(_alias_of(tx, row) for row in tx.all(_standing_aliases, ids=list(version_ids)))


def aliases_with_ids(tx: Transaction, ids: Sequence[int]) -> dict[int, model.Alias]:
    """The aliases in these rows, each by its own."""
    return {row[-1]: _alias_of(tx, row[:-1]) for row in tx.all(_aliases_with_ids, ids=list(ids))}


def _alias_of(tx: Transaction, row: Record) -> model.Alias:
    version = version_of(row)
    name, since, until, actor, authenticated, replaced, fact = row[9:]
    return model.Alias(
        artifact=version.artifact,
        name=name,
        version=version,
        since=model.moment(since),
        until=None if until is None else model.moment(until),
        actor=model.Actor(actor, bool(authenticated)),
        reason=fact_log.opened(tx, fact).get("reason"),
        replaced=replaced,
    )


def summaries(tx: Transaction, project: str | None, kind: str | None) -> tuple[replies.ArtifactSummary, ...]:
    """Every Artifact (of that project and kind, where given) at a glance."""
    return tuple(
        replies.ArtifactSummary(
            artifact=named,
            versions=cast("Record", tx.one(_count_versions, artifact_id=artifact_id))[0],
            latest=version_of(cast("Record", tx.one(_latest, artifact_id=artifact_id))),
            aliases=tuple(alias for alias in aliases(tx, named) if alias.until is None),
        )
        for artifact_id, *parts in tx.all(_every_artifact)
        if (named := model.Artifact(*parts))
        and project in (None, named.project)
        and kind in (None, named.kind)
    )

"""What Runs make and take: Versions as they are published, the productions that they are, and who names them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import bindparam, func, insert, literal_column, select

from whence_catalog import digest, model
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound
from whence_catalog.sql import artifacts, metrics, tables
from whence_catalog.sql.engine import Asked, Filling, Given, Record, Statement, Transaction, Value

_PROJECT = tables.PROJECT
_ARTIFACT = tables.ARTIFACT
_VERSION = tables.VERSION
_OUTPUT = tables.OUTPUT
_INPUT = tables.INPUT
_RUN = tables.RUN

_named = (
    (_PROJECT.c.name == bindparam("project"))
    & (_ARTIFACT.c.kind == bindparam("kind"))
    & (_ARTIFACT.c.name == bindparam("name"))
)
_numbered = _VERSION.alias("numbered")
# An Artifact, its Version of a content if there is one, and its last number.
_find_content = Statement(
    select(
        _ARTIFACT.c.id,
        _VERSION.c.id,
        _VERSION.c.number,
        _VERSION.c.strength,
        _VERSION.c.form,
        _VERSION.c.size_bytes,
        _VERSION.c.created_at,
        select(func.coalesce(func.max(_numbered.c.number), literal_column("0")))
        .where(_numbered.c.artifact_id == _ARTIFACT.c.id)
        .correlate(_ARTIFACT)
        .scalar_subquery(),
    )
    .select_from(_ARTIFACT)
    .join(_PROJECT)
    .outerjoin(
        _VERSION, (_VERSION.c.artifact_id == _ARTIFACT.c.id) & (_VERSION.c.digest == bindparam("digest"))
    )
    .where(_named)
)
# A source: its Version, the Run it is said to come from, and whether that Run made it.
_find_source = Statement(
    select(_VERSION.c.id, _RUN.c.id, _OUTPUT.c.run_id)
    .select_from(_VERSION)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .outerjoin(_RUN, _RUN.c.uid == bindparam("producer"))
    .outerjoin(_OUTPUT, (_OUTPUT.c.run_id == _RUN.c.id) & (_OUTPUT.c.version_id == _VERSION.c.id))
    .where(_named, _VERSION.c.digest == bindparam("digest"))
    .limit(literal_column("1"))
)
_taken_by = Statement(
    select(_INPUT.c.version_id, _INPUT.c.producer_run_id).where(_INPUT.c.run_id == bindparam("run_id"))
)
_put_derived = Statement(insert(tables.DERIVED))
_VERSIONS = Filling(
    _VERSION, "id", "artifact_id", "number", "digest", "strength", "form", "size_bytes", "created_at"
)
_OUTPUTS = Filling(
    _OUTPUT,
    *("run_id", "role", "version_id", "artifact_id", "fact", "place", "filename", "format", "location"),
    *("described", "derives"),
)

# The rows of a Version and of the Run that made it, where one is named.
SourceIds: TypeAlias = tuple[int, int | None]
# What was found of a source, or nothing.
FoundSource: TypeAlias = Sequence[Record]
_Filled: TypeAlias = tuple[Filling, Sequence[tuple[Value, ...]]]


class Productions:
    """Outputs of any number of Runs, which are looked up at once and written at once.

    Versions get their numbers in the order in which `make` is told of them.
    """

    def __init__(self, tx: Transaction, claims: Iterable[model.OutputClaim]) -> None:
        """`claims` are all that `make` will be told of."""
        wanted = _wanted(claims)
        self._versions: dict[tuple[str, ...], tuple[int, int, model.Version]] = {}
        self._artifacts: dict[tuple[str, ...], int] = {}
        self._last: dict[int, int] = {}
        for (name, claim), rows in zip(
            wanted.items(), tx.each(_find_content, _contents(wanted)), strict=True
        ):
            named, content = claim.artifact, claim.content.digest
            if not rows:
                self._artifacts[name[:3]] = artifacts.ensure(tx, named)
                continue
            artifact_id, version_id, number, strength, form, size_bytes, created_at, last = rows[0]
            self._artifacts[name[:3]], self._last[artifact_id] = artifact_id, last
            if version_id is not None:
                known = model.Content(content, model.Strength(strength), model.Form(form), size_bytes)
                version = model.Version(named, number, known, model.moment(created_at))
                self._versions[name] = artifact_id, version_id, version
        # Some are left over where Versions were there; numbers are cheap.
        self._ids = iter(tx.numbers("version", len(wanted)) if wanted else ())
        self._made: list[tuple[Value, ...]] = []
        self._rows: list[tuple[Value, ...]] = []
        self._measured: list[tuple[Value, ...]] = []

    def make(
        self, run_id: int, run: UUID, claims: Sequence[model.OutputClaim], fact: int, at: int
    ) -> tuple[model.Output, ...]:
        """What a Run made, as a fact said it; answers that."""
        return tuple(self._make(run_id, run, place, claim, fact, at) for place, claim in enumerate(claims))

    def _make(
        self, run_id: int, run: UUID, place: int, claim: model.OutputClaim, fact: int, at: int
    ) -> model.Output:
        artifact_id, version_id, version = self._versions.get(_name(claim)) or self._publish(claim, at)
        described: dict[str, digest.Framed] = {
            "metadata": dict(claim.metadata),
            "metrics": model.floats(claim.metrics),
        }
        self._rows.append(
            (
                *(run_id, claim.role, version_id, artifact_id, fact, place),
                *(claim.filename, claim.format, claim.location),
                *(digest.frame(described), int(claim.derived_from is not None)),
            )
        )
        self._measured += metrics.output_rows(run_id, claim.role, version_id, claim.metrics)
        return model.Output(
            claim.role,
            version,
            run,
            claim.filename,
            claim.format,
            claim.location,
            claim.metadata,
            claim.metrics,
            claim.description,
            claim.derived_from,
        )

    def _publish(self, claim: model.OutputClaim, at: int) -> tuple[int, int, model.Version]:
        name, content = _name(claim), claim.content
        artifact_id, version_id = self._artifacts[name[:3]], next(self._ids)
        number = self._last[artifact_id] = self._last.get(artifact_id, 0) + 1
        self._made.append(
            (
                *(version_id, artifact_id, number, content.digest.raw, content.strength.value),
                *(content.form.value, content.size_bytes, at),
            )
        )
        made = artifact_id, version_id, model.Version(claim.artifact, number, content, model.moment(at))
        self._versions[name] = made
        return made

    def made(self, source: model.Source) -> int | None:
        """The Version that a source means, if it was there when this began or was made since."""
        named = source.artifact
        known = self._versions.get((named.project, named.kind, named.name, source.digest.text))
        return None if known is None else known[1]

    @property
    def version_ids(self) -> Iterator[int]:
        """The Versions of all outputs there were."""
        return (version_id for _, version_id, _ in self._versions.values())

    @property
    def filled(self) -> tuple[_Filled, _Filled, _Filled]:
        """The rows to write."""
        return (_VERSIONS, self._made), (_OUTPUTS, self._rows), (metrics.OF_OUTPUTS, self._measured)


def _name(claim: model.OutputClaim) -> tuple[str, str, str, str]:
    named = claim.artifact
    return named.project, named.kind, named.name, claim.content.digest.text


def _wanted(claims: Iterable[model.OutputClaim]) -> dict[tuple[str, str, str, str], model.OutputClaim]:
    return {_name(claim): claim for claim in claims}


def _contents(wanted: Mapping[tuple[str, str, str, str], model.OutputClaim]) -> list[dict[str, Given]]:
    return [
        {"project": project, "kind": kind, "name": name, "digest": claim.content.digest.raw}
        for (project, kind, name, _), claim in wanted.items()
    ]


def asked(
    claims: Iterable[model.OutputClaim], sources: Iterable[model.Source]
) -> tuple[int, tuple[Asked, Asked]]:
    """How many Versions may be made of these outputs, and what will be asked of them and of these sources."""
    wanted = _wanted(claims)
    return len(wanted), (
        (_find_content, _contents(wanted)),
        (_find_source, [_asked(source) for source in sources]),
    )


def put_outputs(
    tx: Transaction, run_id: int, run: UUID, claims: Sequence[model.OutputClaim], fact: int, at: int
) -> tuple[model.Output, ...]:
    """Record productions of a Run, made known by that fact; answers them."""
    if not claims:
        return ()
    productions = Productions(tx, claims)
    made = productions.make(run_id, run, claims, fact, at)
    tx.fill(*productions.filled)
    put_derived(tx, run_id, claims)
    return made


def put_derived(tx: Transaction, run_id: int, claims: Sequence[model.OutputClaim]) -> None:
    """Record what outputs of a Run are said to come from, once its inputs are recorded.

    Raises:
        InvalidInput: one is said to come from what the Run did not take.
        NotFound: one is said to come from what is not recorded.
    """
    rows: list[dict[str, Value]] = []
    for claim in claims:
        for ordinal, source in enumerate(claim.derived_from or ()):
            from_id, producer_id = source_ids(tx, source)
            if (from_id, producer_id) not in tx.all(_taken_by, run_id=run_id):
                raise InvalidInput(
                    f"output {claim.role!r} is said to come from {source.artifact} {source.digest.short}, which is no"
                    " input of its run; record that as an input too"
                )
            rows.append(
                {
                    "run_id": run_id,
                    "role": claim.role,
                    "ordinal": ordinal,
                    "version_id": from_id,
                    "producer_run_id": producer_id,
                }
            )
    tx.many(_put_derived, rows)


def source_ids(tx: Transaction, source: model.Source) -> SourceIds:
    """(version, producing run) that a source names.

    Raises:
        NotFound: the Version is not recorded, or that Run did not make it.
    """
    return ids_of(source, tx.all(_find_source, **_asked(source)))


def sources_ids(tx: Transaction, sources: Sequence[model.Source]) -> list[SourceIds]:
    """As `source_ids`, of many."""
    return [ids_of(source, rows) for source, rows in zip(sources, find_sources(tx, sources), strict=True)]


def find_sources(tx: Transaction, sources: Sequence[model.Source]) -> Sequence[FoundSource]:
    """What is recorded of each of these, for `ids_of`."""
    return tx.each(_find_source, [_asked(source) for source in sources])


def _asked(source: model.Source) -> dict[str, Given]:
    named = source.artifact
    return {
        "project": named.project,
        "kind": named.kind,
        "name": named.name,
        "digest": source.digest.raw,
        "producer": None if source.producer is None else source.producer.bytes,
    }


def ids_of(source: model.Source, rows: FoundSource) -> SourceIds:
    """(version, producing run) of what was found of a source; raises as `source_ids` does."""
    if not rows:
        raise NotFound(
            f"{source.artifact} has no version with content {source.digest.short}…; publish it first",
            ErrorKind.NO_SUCH_VERSION,
        )
    version_id, producer_id, made_by = rows[0]
    if source.producer is not None and producer_id is None:
        raise NotFound(f"no run {source.producer} is recorded", ErrorKind.NO_SUCH_RUN)
    if producer_id is not None and made_by is None:
        raise NotFound(f"run {source.producer} did not make {source.artifact}", ErrorKind.NO_SUCH_VERSION)
    return version_id, producer_id

"""The schema, declared with SQLModel. Statements are of `tables`, which is written from this: see below.

Edges are narrow integers; the client-made UUID of a Run is `run.uid` alone. Times are microseconds
since the epoch. Structured values are frames. Nothing is updated that can be appended.

A fact has a number as soon as it is written, which every row that it made names. Its position comes
with it where there is one writer at a time (SQLite: then the two are equal), and a moment later on
PostgreSQL, from whoever sequences: `ordinal` keeps the order in which facts were written until then.

`fact` is the truth. `PROJECTIONS` can be rebuilt from it; `EXEMPT` tables cannot and need not: losing
them costs time, never truth. `redactable` opens what facts hold as commitments.

After a change here, `python -m tests.golden.core_tables` writes `tables`, and a test sees that it was done: so no
process that only uses the tables loads SQLModel, with pydantic and an ORM.
"""

from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

# The Alembic revision that these declarations are; a test holds the two together.
REVISION = "0004"
# Revisions that this whence can upgrade from, oldest first.
KNOWN_REVISIONS = ("0001", "0002", "0003", "0004")

# Marks a SQLite file as a whence catalog ("whnc").
APPLICATION_ID = 0x77686E63

_WITHOUT_ROWID = {"sqlite_with_rowid": False}


def _id(counted: bool = True) -> Column[int]:
    # SQLite gives a rowid only to a column declared exactly INTEGER.
    number = BigInteger().with_variant(Integer, "sqlite")
    return Column(number, primary_key=True, autoincrement="auto" if counted else False)


def _to(target: str, primary: bool = False, optional: bool = False) -> Column[int]:
    return Column(BigInteger, ForeignKey(target), primary_key=primary, nullable=optional)


def _int(optional: bool = False, primary: bool = False) -> Column[int]:
    return Column(BigInteger, nullable=optional, primary_key=primary, autoincrement=False)


def _blob(optional: bool = False, primary: bool = False) -> Column[bytes]:
    return Column(LargeBinary, nullable=optional, primary_key=primary)


def _text(optional: bool = False, primary: bool = False) -> Column[str]:
    return Column(Text, nullable=optional, primary_key=primary)


class Row(SQLModel):
    """What all tables share: one MetaData of their own, apart from the caller's SQLModel tables.

    The condition of a partial index is said once, as SQLite's: `schema` makes it PostgreSQL's too. To say it here, and so
    in `tables`, would load SQLAlchemy's PostgreSQL, which a process with an embedded catalog has no use for.
    """

    metadata: ClassVar[MetaData] = MetaData()


class CatalogRow(Row, table=True):
    """One row: which catalog this is, and its own secret."""

    __tablename__ = "catalog"
    __table_args__ = (CheckConstraint("id = 1"),)
    id: int = Field(sa_column=_id())
    uid: bytes = Field(sa_column=_blob())
    key: bytes = Field(sa_column=_blob())
    created_at: int = Field(sa_column=_int())


class FactRow(Row, table=True):
    """The log: the canonical bytes of each fact; `leaf` is its Merkle leaf."""

    __tablename__ = "fact"
    __table_args__ = (
        Index("fact_by_position", "position", unique=True),
        Index(
            "fact_unsequenced",
            "ordinal",
            sqlite_where=text("position IS NULL"),
        ),
    )
    id: int = Field(sa_column=_id(counted=False))
    uid: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    verb: str = Field(sa_column=_text())
    canonical: bytes = Field(sa_column=_blob())
    leaf: bytes = Field(sa_column=_blob())
    ordinal: int | None = Field(sa_column=_int(optional=True))
    position: int | None = Field(sa_column=_int(optional=True))
    sequenced_at: int | None = Field(sa_column=_int(optional=True))


class RedactableRow(Row, table=True):
    """What opens a commitment in a fact. Erasing a row erases the value."""

    __tablename__ = "redactable"
    __table_args__ = _WITHOUT_ROWID
    fact: int = Field(sa_column=_int(primary=True))
    path: str = Field(sa_column=_text(primary=True))
    salt: bytes = Field(sa_column=_blob())
    value: bytes = Field(sa_column=_blob())


class ProjectRow(Row, table=True):
    """A namespace."""

    __tablename__ = "project"
    id: int = Field(sa_column=_id())
    name: str = Field(sa_column=Column(Text, nullable=False, unique=True))


class ActorRow(Row, table=True):
    """Who or what is responsible."""

    __tablename__ = "actor"
    __table_args__ = (UniqueConstraint("name", "authenticated"),)
    id: int = Field(sa_column=_id())
    name: str = Field(sa_column=_text())
    authenticated: int = Field(sa_column=_int())


class JobRow(Row, table=True):
    """A named unit of work."""

    __tablename__ = "job"
    __table_args__ = (UniqueConstraint("project_id", "name"),)
    id: int = Field(sa_column=_id())
    project_id: int = Field(sa_column=_to("project.id"))
    name: str = Field(sa_column=_text())


class ArtifactRow(Row, table=True):
    """A named thing with a kind."""

    __tablename__ = "artifact"
    __table_args__ = (UniqueConstraint("project_id", "kind", "name"),)
    id: int = Field(sa_column=_id())
    project_id: int = Field(sa_column=_to("project.id"))
    kind: str = Field(sa_column=_text())
    name: str = Field(sa_column=_text())


class VersionRow(Row, table=True):
    """One immutable content of an Artifact."""

    __tablename__ = "version"
    __table_args__ = (
        UniqueConstraint("artifact_id", "number"),
        UniqueConstraint("artifact_id", "digest"),
        Index("version_by_digest", "digest"),
        Index("version_by_time", "created_at", "id"),
    )
    id: int = Field(sa_column=_id())
    artifact_id: int = Field(sa_column=_to("artifact.id"))
    number: int = Field(sa_column=_int())
    digest: bytes = Field(sa_column=_blob())
    strength: str = Field(sa_column=_text())
    form: str = Field(sa_column=_text())
    size_bytes: int | None = Field(sa_column=_int(optional=True))
    created_at: int = Field(sa_column=_int())


class RunRow(Row, table=True):
    """One execution of a Job, or the standing-in for one. Its parent may be recorded later, so it is a uid."""

    __tablename__ = "run"
    __table_args__ = (
        Index("run_by_job", "job_id", "id"),
        Index("run_by_time", "started_at", "id"),
        # With the time, so that an entry's hits in a span, and its last one, are read from the index alone.
        Index(
            "run_by_origin",
            "origin_id",
            "started_at",
            sqlite_where=text("origin_id IS NOT NULL"),
        ),
        Index(
            "run_by_parent",
            "parent",
            sqlite_where=text("parent IS NOT NULL"),
        ),
        Index(
            "run_running",
            "state",
            sqlite_where=text("state = 'running'"),
        ),
    )
    id: int = Field(sa_column=_id())
    uid: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    project_id: int = Field(sa_column=_to("project.id"))
    job_id: int = Field(sa_column=_to("job.id"))
    actor_id: int = Field(sa_column=_to("actor.id"))
    state: str = Field(sa_column=_text())
    mode: str = Field(sa_column=_text())
    key: str | None = Field(sa_column=_text(optional=True))
    origin_id: int | None = Field(sa_column=_to("run.id", optional=True))
    parent: bytes | None = Field(sa_column=_blob(optional=True))
    retry_of: bytes | None = Field(sa_column=_blob(optional=True))
    rerun_of: bytes | None = Field(sa_column=_blob(optional=True))
    started_at: int = Field(sa_column=_int())
    finished_at: int | None = Field(sa_column=_int(optional=True))
    presumed: int = Field(sa_column=_int())
    outcome: str | None = Field(sa_column=_text(optional=True))
    params: bytes = Field(sa_column=_blob())
    metrics: bytes = Field(sa_column=_blob())
    warnings: bytes = Field(sa_column=_blob())
    capture: bytes = Field(sa_column=_blob())
    start_fact: int = Field(sa_column=_int())
    finish_fact: int | None = Field(sa_column=_int(optional=True))
    reason: str | None = Field(sa_column=_text(optional=True))
    presume_fact: int | None = Field(sa_column=_int(optional=True))


class InputRow(Row, table=True):
    """A Version that a Run took; (producer_run_id, version_id) is the production it was taken from."""

    __tablename__ = "input"
    __table_args__ = (Index("input_by_version", "version_id", "run_id"), _WITHOUT_ROWID)
    run_id: int = Field(sa_column=_to("run.id", primary=True))
    role: str = Field(sa_column=_text(primary=True))
    ordinal: int = Field(sa_column=_int(primary=True))
    version_id: int = Field(sa_column=_to("version.id"))
    producer_run_id: int | None = Field(sa_column=_to("run.id", optional=True))
    fact: int = Field(sa_column=_int())


class OutputRow(Row, table=True):
    """One production."""

    __tablename__ = "output"
    __table_args__ = (
        Index("output_by_version", "version_id", "run_id"),
        Index("output_by_artifact", "artifact_id", "fact"),
        _WITHOUT_ROWID,
    )
    run_id: int = Field(sa_column=_to("run.id", primary=True))
    role: str = Field(sa_column=_text(primary=True))
    version_id: int = Field(sa_column=_to("version.id"))
    artifact_id: int = Field(sa_column=_to("artifact.id"))
    fact: int = Field(sa_column=_int())
    place: int = Field(sa_column=_int())
    filename: str | None = Field(sa_column=_text(optional=True))
    format: str | None = Field(sa_column=_text(optional=True))
    location: str | None = Field(sa_column=_text(optional=True))
    described: bytes = Field(sa_column=_blob())
    derives: int = Field(sa_column=_int())


class DerivedRow(Row, table=True):
    """What an Output says it came from."""

    __tablename__ = "derived"
    __table_args__ = _WITHOUT_ROWID
    run_id: int = Field(sa_column=_to("run.id", primary=True))
    role: str = Field(sa_column=_text(primary=True))
    ordinal: int = Field(sa_column=_int(primary=True))
    version_id: int = Field(sa_column=_to("version.id"))
    producer_run_id: int | None = Field(sa_column=_to("run.id", optional=True))


class ComponentRow(Row, table=True):
    """One part of the key of a Run that executed; a reused Run's are its origin's."""

    __tablename__ = "component"
    __table_args__ = _WITHOUT_ROWID
    run_id: int = Field(sa_column=_to("run.id", primary=True))
    place: int = Field(sa_column=_int(primary=True))
    name: str = Field(sa_column=_text())
    kind: str = Field(sa_column=_text())
    digest: bytes = Field(sa_column=_blob())
    ignored: int = Field(sa_column=_int())


class ObservedRow(Row, table=True):
    """What a Run was seen to touch outside its key; absent where nothing was said of that."""

    __tablename__ = "observed"
    __table_args__ = _WITHOUT_ROWID
    run_id: int = Field(sa_column=_to("run.id", primary=True))
    seen: bytes = Field(sa_column=_blob())


class TraceRow(Row, table=True):
    """What a Run really read of its tracked arguments; `whole` is the key under which it began."""

    __tablename__ = "trace"
    __table_args__ = (Index("trace_by_base", "base"), Index("trace_by_whole", "whole"))
    run_id: int = Field(sa_column=_to("run.id", primary=True))
    base: str = Field(sa_column=_text())
    key: str = Field(sa_column=_text())
    whole: str = Field(sa_column=_text())
    arguments: bytes = Field(sa_column=_blob())
    observations: bytes = Field(sa_column=_blob())


class PlaceRow(Row, table=True):
    """What lies outside the store at a location, as the last Run of a project that wrote there left it."""

    __tablename__ = "place"
    __table_args__ = _WITHOUT_ROWID
    project_id: int = Field(sa_column=_to("project.id", primary=True))
    location: str = Field(sa_column=_text(primary=True))
    run_id: int = Field(sa_column=_to("run.id"))
    digest: bytes = Field(sa_column=_blob())


class CacheEntryRow(Row, table=True):
    """A reusable result. Superseded and evicted ones stay; at most one of a key is live.

    A revoked one is live until a publish supersedes it: look-ups find it, and say that it will not do.
    """

    __tablename__ = "cache_entry"
    __table_args__ = (
        Index(
            "cache_entry_live",
            "key",
            unique=True,
            sqlite_where=text("superseded_at IS NULL AND evicted_at IS NULL"),
        ),
        Index("cache_entry_by_key", "key", "id"),
        Index("cache_entry_by_job", "job_id", "id"),
    )
    id: int = Field(sa_column=_id())
    key: str = Field(sa_column=_text())
    run_id: int = Field(sa_column=_to("run.id"))
    job_id: int = Field(sa_column=_to("job.id"))
    created_at: int = Field(sa_column=_int())
    validated_at: int = Field(sa_column=_int())
    superseded_at: int | None = Field(sa_column=_int(optional=True))
    revoked_at: int | None = Field(sa_column=_int(optional=True))
    evicted_at: int | None = Field(sa_column=_int(optional=True))
    withdrawn: int | None = Field(sa_column=_int(optional=True))


class DivergenceRow(Row, table=True):
    """The same key gave other bytes."""

    __tablename__ = "divergence"
    __table_args__ = (Index("divergence_by_key", "key"), _WITHOUT_ROWID)
    run_id: int = Field(sa_column=_to("run.id", primary=True))
    entry_run_id: int = Field(sa_column=_to("run.id"))
    key: str = Field(sa_column=_text())
    cause: str = Field(sa_column=_text())
    at: int = Field(sa_column=_int())


class AliasRow(Row, table=True):
    """What an alias meant, from when to when. `until` is absent while it stands."""

    __tablename__ = "alias"
    __table_args__ = (
        Index(
            "alias_standing",
            "artifact_id",
            "name",
            unique=True,
            sqlite_where=text("until IS NULL"),
        ),
        Index("alias_by_artifact", "artifact_id", "fact"),
        Index("alias_by_name", "artifact_id", "name", "since"),
        Index("alias_by_version", "version_id", "fact"),
    )
    id: int = Field(sa_column=_id())
    artifact_id: int = Field(sa_column=_to("artifact.id"))
    name: str = Field(sa_column=_text())
    version_id: int = Field(sa_column=_to("version.id"))
    since: int = Field(sa_column=_int())
    until: int | None = Field(sa_column=_int(optional=True))
    fact: int = Field(sa_column=_int())
    actor_id: int = Field(sa_column=_to("actor.id"))
    replaced: int | None = Field(sa_column=_int(optional=True))
    end_fact: int | None = Field(sa_column=_int(optional=True))


class QuarantineRow(Row, table=True):
    """A Version declared bad, from when to when. `until` is absent while it stands."""

    __tablename__ = "quarantine"
    __table_args__ = (
        Index("quarantine_by_version", "version_id"),
        Index("quarantine_by_artifact", "artifact_id", "fact"),
        Index(
            "quarantine_standing",
            "version_id",
            sqlite_where=text("until IS NULL"),
        ),
    )
    id: int = Field(sa_column=_id())
    uid: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    fact: int = Field(sa_column=_int())
    actor_id: int = Field(sa_column=_to("actor.id"))
    since: int = Field(sa_column=_int())
    until: int | None = Field(sa_column=_int(optional=True))
    end_fact: int | None = Field(sa_column=_int(optional=True))
    end_actor_id: int | None = Field(sa_column=_to("actor.id", optional=True))
    version_id: int = Field(sa_column=_to("version.id"))
    # For the timeline of an Artifact, which may have many Versions. Never empty: but SQLite adds no other column.
    artifact_id: int | None = Field(sa_column=_to("artifact.id", optional=True))


class TaintRow(Row, table=True):
    """A production that a standing quarantine names or reaches: an index, kept with every write."""

    __tablename__ = "taint"
    __table_args__ = (
        Index("taint_by_version", "version_id"),
        Index("taint_by_quarantine", "quarantine_id"),
        _WITHOUT_ROWID,
    )
    run_id: int = Field(sa_column=_to("run.id", primary=True))
    version_id: int = Field(sa_column=_to("version.id", primary=True))
    quarantine_id: int = Field(sa_column=_to("quarantine.id", primary=True))


class HoldRow(Row, table=True):
    """A Version that must be kept, from when to when. `until` is absent while it stands."""

    __tablename__ = "hold"
    __table_args__ = (
        Index("hold_by_version", "version_id"),
        Index("hold_by_artifact", "artifact_id", "fact"),
    )
    id: int = Field(sa_column=_id())
    uid: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    fact: int = Field(sa_column=_int())
    actor_id: int = Field(sa_column=_to("actor.id"))
    since: int = Field(sa_column=_int())
    until: int | None = Field(sa_column=_int(optional=True))
    end_fact: int | None = Field(sa_column=_int(optional=True))
    end_actor_id: int | None = Field(sa_column=_to("actor.id", optional=True))
    version_id: int = Field(sa_column=_to("version.id"))
    artifact_id: int | None = Field(sa_column=_to("artifact.id", optional=True))


class ApprovalRow(Row, table=True):
    """A decision on a Version."""

    __tablename__ = "approval"
    __table_args__ = (
        Index("approval_by_version", "version_id"),
        Index("approval_by_artifact", "artifact_id", "fact"),
    )
    id: int = Field(sa_column=_id())
    uid: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    fact: int = Field(sa_column=_int())
    actor_id: int = Field(sa_column=_to("actor.id"))
    version_id: int = Field(sa_column=_to("version.id"))
    at: int = Field(sa_column=_int())
    decision: str = Field(sa_column=_text())
    artifact_id: int | None = Field(sa_column=_to("artifact.id", optional=True))


class DeploymentRow(Row, table=True):
    """What served at a target of a project, from when to when. `until` is absent while it does."""

    __tablename__ = "deployment"
    __table_args__ = (
        Index("deployment_by_version", "version_id"),
        Index("deployment_by_artifact", "artifact_id", "fact"),
        Index("deployment_by_target", "project_id", "target", "id"),
        Index(
            "deployment_standing",
            "project_id",
            "target",
            unique=True,
            sqlite_where=text("until IS NULL"),
        ),
    )
    id: int = Field(sa_column=_id())
    uid: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    fact: int = Field(sa_column=_int())
    actor_id: int = Field(sa_column=_to("actor.id"))
    since: int = Field(sa_column=_int())
    until: int | None = Field(sa_column=_int(optional=True))
    end_fact: int | None = Field(sa_column=_int(optional=True))
    end_actor_id: int | None = Field(sa_column=_to("actor.id", optional=True))
    project_id: int = Field(sa_column=_to("project.id"))
    target: str = Field(sa_column=_text())
    version_id: int = Field(sa_column=_to("version.id"))
    replaced_id: int | None = Field(sa_column=_to("version.id", optional=True))
    artifact_id: int | None = Field(sa_column=_to("artifact.id", optional=True))


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition)}


class LabelRow(Row, table=True):
    """A label of a Run or of a Version, from when to when. `until` is absent while it stands.

    It is searched by `mark`, a number made of name and value: those may be longer than an index takes.
    Whoever erases what opens a label erases its row: `check` tells of one that was left.
    """

    __tablename__ = "label"
    __table_args__ = (
        Index("label_of_run", "run_id", **_where("run_id IS NOT NULL")),
        Index("label_of_version", "version_id", **_where("version_id IS NOT NULL")),
        Index("label_by_mark_of_run", "mark", "run_id", **_where("run_id IS NOT NULL")),
        Index("label_by_mark_of_version", "mark", "version_id", **_where("version_id IS NOT NULL")),
    )
    id: int = Field(sa_column=_id())
    run_id: int | None = Field(sa_column=_to("run.id", optional=True))
    version_id: int | None = Field(sa_column=_to("version.id", optional=True))
    name: str = Field(sa_column=_text())
    value: str = Field(sa_column=_text())
    mark: int = Field(sa_column=_int())
    since: int = Field(sa_column=_int())
    until: int | None = Field(sa_column=_int(optional=True))
    fact: int = Field(sa_column=_int())
    end_fact: int | None = Field(sa_column=_int(optional=True))


class RunMetricRow(Row, table=True):
    """The last value of a Run's metric; `mark` is a number made of its name. Ordered as ranges are searched."""

    __tablename__ = "run_metric"
    __table_args__ = _WITHOUT_ROWID
    mark: int = Field(sa_column=_int(primary=True))
    value: float = Field(sa_column=Column(Double, primary_key=True))
    run_id: int = Field(sa_column=_to("run.id", primary=True))


class OutputMetricRow(Row, table=True):
    """A production's metric; as those of Runs."""

    __tablename__ = "output_metric"
    __table_args__ = _WITHOUT_ROWID
    mark: int = Field(sa_column=_int(primary=True))
    value: float = Field(sa_column=Column(Double, primary_key=True))
    version_id: int = Field(sa_column=_to("version.id", primary=True))
    run_id: int = Field(sa_column=_to("run.id", primary=True))
    role: str = Field(sa_column=_text(primary=True))


class ArtifactGramRow(Row, table=True):
    """That the name of an Artifact has those three characters; see `grams`. Ordered as it is looked through."""

    __tablename__ = "artifact_gram"
    __table_args__ = _WITHOUT_ROWID
    gram: int = Field(sa_column=_int(primary=True))
    project_id: int = Field(sa_column=_to("project.id", primary=True))
    artifact_id: int = Field(sa_column=_to("artifact.id", primary=True))


class JobGramRow(Row, table=True):
    """As those of Artifacts."""

    __tablename__ = "job_gram"
    __table_args__ = _WITHOUT_ROWID
    gram: int = Field(sa_column=_int(primary=True))
    project_id: int = Field(sa_column=_to("project.id", primary=True))
    job_id: int = Field(sa_column=_to("job.id", primary=True))


class SeriesRow(Row, table=True):
    """The points of one flush of a Run's metric series."""

    __tablename__ = "series"
    __table_args__ = _WITHOUT_ROWID
    run_id: int = Field(sa_column=_to("run.id", primary=True))
    fact: int = Field(sa_column=_int(primary=True))
    points: bytes = Field(sa_column=_blob())


class ReservationRow(Row, table=True):
    """The fenced right to compute a key. Never deleted, so that its token only grows."""

    __tablename__ = "reservation"
    __table_args__ = (Index("reservation_by_run", "run_uid"), _WITHOUT_ROWID)
    key: str = Field(sa_column=_text(primary=True))
    owner: str = Field(sa_column=_text())
    run_uid: bytes = Field(sa_column=_blob())
    reason: str = Field(sa_column=_text())
    token: int = Field(sa_column=_int())
    since: int = Field(sa_column=_int())
    until: int = Field(sa_column=_int())


class BeatRow(Row, table=True):
    """Until when a running Run is believed to live."""

    __tablename__ = "beat"
    __table_args__ = _WITHOUT_ROWID
    run_uid: bytes = Field(sa_column=_blob(primary=True))
    until: int = Field(sa_column=_int())


class BlobRow(Row, table=True):
    """When a project last knew a Blob to be in the store: by its own word, not by another project's."""

    __tablename__ = "blob"
    __table_args__ = _WITHOUT_ROWID
    project_id: int = Field(sa_column=_to("project.id", primary=True))
    digest: bytes = Field(sa_column=_blob(primary=True))
    known_at: int = Field(sa_column=_int())


class TokenRow(Row, table=True):
    """A bearer token; `hash` is the SHA-256 of its secret."""

    __tablename__ = "token"
    __table_args__ = _WITHOUT_ROWID
    uid: bytes = Field(sa_column=_blob(primary=True))
    name: str = Field(sa_column=_text())
    actor: str = Field(sa_column=_text())
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    grants: bytes = Field(sa_column=_blob())
    created_at: int = Field(sa_column=_int())
    expires_at: int | None = Field(sa_column=_int(optional=True))
    revoked_at: int | None = Field(sa_column=_int(optional=True))


# On PostgreSQL, where writers work side by side: numbers for facts, taken many at once, and their order.
FACT_NUMBER = Sequence("fact_number", metadata=Row.metadata, increment=50)
FACT_ORDINAL = Sequence("fact_ordinal", metadata=Row.metadata)
# Those columns of a row that name the fact that made it.
FACT_COLUMNS = frozenset({"start_fact", "finish_fact", "fact", "end_fact", "presume_fact", "withdrawn"})

PROJECTIONS: tuple[type[Row], ...] = (
    ProjectRow,
    ActorRow,
    JobRow,
    ArtifactRow,
    VersionRow,
    RunRow,
    InputRow,
    OutputRow,
    DerivedRow,
    ComponentRow,
    ObservedRow,
    TraceRow,
    PlaceRow,
    CacheEntryRow,
    DivergenceRow,
    AliasRow,
    QuarantineRow,
    TaintRow,
    HoldRow,
    ApprovalRow,
    DeploymentRow,
    LabelRow,
    RunMetricRow,
    OutputMetricRow,
    ArtifactGramRow,
    JobGramRow,
    SeriesRow,
)
EXEMPT: tuple[type[Row], ...] = (CatalogRow, ReservationRow, BeatRow, BlobRow, TokenRow)

"""Runs in the order of recording, and what has a text in its name: what is looked for in the whole catalog."""

import functools
from dataclasses import dataclass
from typing import cast

from sqlalchemy import ColumnElement, Text, bindparam, exists, func, literal_column, select, tuple_

from whence_catalog import digest, model, replies
from whence_catalog.errors import InvalidInput
from whence_catalog.sql import artifacts, engine, named, pages, tables
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Record, Statement, Transaction

_PROJECT = tables.table(tables.ProjectRow)
_JOB = tables.table(tables.JobRow)
_ARTIFACT = tables.table(tables.ArtifactRow)
_VERSION = tables.table(tables.VersionRow)
_RUN = tables.table(tables.RunRow)
_OUTPUT = tables.table(tables.OutputRow)

_ONE: ColumnElement[int] = literal_column("1")


def list_runs(
    tx: Transaction,
    projects: frozenset[str] | None,
    job: str | None,
    states: frozenset[model.RunState],
    first: int,
    after: str | None,
) -> replies.RunPage:
    """Runs, the newest first."""
    shown = (None if projects is None else sorted(projects), job, sorted(states))
    asked = pages.List("runs", repr(shown), first, after)
    head, key = asked.place(fact_log.head(tx), int)
    rows = tx.all(
        _runs_listed(projects is not None, job is not None, bool(states)),
        head=head,
        bound=pages.HIGHEST if key is None else pages.run_row(tx, cast("int", key[0])),
        many=first + 1,
        projects=named.listed([project] for project in projects or ()),
        job=job,
        states=named.listed([state.value] for state in states),
    )
    described = named.runs_with_ids(tx, [row[0] for row in rows[:first]])
    cursors = tuple(asked.cursor(head, (row[1],)) for row in rows[:first])
    return replies.RunPage(
        cursors=cursors,
        end=cursors[-1] if len(rows) > first else None,
        masked=0,
        items=tuple(described[row[0]] for row in rows[:first]),
    )


@functools.cache
def _runs_listed(by_project: bool, by_job: bool, by_state: bool) -> Statement:
    # A statement for each set of filters: one that has them all, and says which count, finds no index.
    projects = select(named.given("projects", name=Text()).c.name)
    listed = select(_RUN.c.id, engine.place(_RUN.c.start_fact)).where(
        _RUN.c.id < bindparam("bound"), pages.sequenced(_RUN.c.start_fact)
    )
    if by_job:
        jobs = select(_JOB.c.id).where(_JOB.c.name == bindparam("job"))
        if by_project:
            jobs = jobs.join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id).where(
                _PROJECT.c.name.in_(projects)
            )
        listed = listed.where(_RUN.c.job_id.in_(jobs))
    elif by_project:
        listed = listed.where(
            _RUN.c.project_id.in_(select(_PROJECT.c.id).where(_PROJECT.c.name.in_(projects)))
        )
    if by_state:
        listed = listed.where(_RUN.c.state.in_(select(named.given("states", name=Text()).c.name)))
    return Statement(listed.order_by(_RUN.c.id.desc()).limit(bindparam("many")))


LONGEST_TEXT = 256


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for. `projects` None: in all; `kinds` and `types` empty: any."""

    text: str
    types: frozenset[replies.HitType]
    projects: frozenset[str] | None
    kinds: frozenset[str]

    def __post_init__(self) -> None:
        if len(self.text) > LONGEST_TEXT or any(ord(character) < 32 for character in self.text):
            raise InvalidInput(
                f"what is searched for has at most {LONGEST_TEXT} characters, and no control characters"
            )

    def finds(self, type: replies.HitType) -> bool:
        """Whether anything of that type can be found."""
        if type is replies.HitType.VERSION and self.digest is None:
            return False
        if type is replies.HitType.JOB and self.kinds:
            return False
        return not self.types or type in self.types

    @property
    def digest(self) -> digest.Digest | None:
        """The content that is looked for, if the text is a digest, with or without `sha256:`."""
        text = self.text.strip()
        try:
            return digest.Digest(text if text.startswith("sha256:") else f"sha256:{text}")
        except InvalidInput:
            return None

    @property
    def pattern(self) -> str:
        """What a name is LIKE."""
        escaped = self.text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        return f"%{escaped}%"


# The order in which hits come.
_SECTIONS = (replies.HitType.VERSION, replies.HitType.ARTIFACT, replies.HitType.JOB)


def search(tx: Transaction, wanted: Search, first: int, after: str | None) -> replies.HitPage:
    """What has the text in its name, or is of that content: section by section, by name."""
    shown = (
        wanted.text,
        sorted(wanted.types),
        None if wanted.projects is None else sorted(wanted.projects),
        sorted(wanted.kinds),
    )
    asked = pages.List("hits", repr(shown), first, after)
    head, key = asked.place(fact_log.head(tx), int, str, str, str)
    section, *names = (0, "", "", "") if key is None else key
    found: list[tuple[pages.Key, replies.Hit]] = []
    for place, type in enumerate(_SECTIONS):
        if place < cast("int", section) or len(found) > first or not wanted.finds(type):
            continue
        behind = names if place == section else ("", "", "")
        rows = tx.all(
            _section(type, wanted.projects is not None, bool(wanted.kinds)),
            head=head,
            project=behind[0],
            kind=behind[1],
            name=behind[2],
            digest=b"" if wanted.digest is None else wanted.digest.raw,
            pattern=wanted.pattern,
            projects=named.listed([project] for project in wanted.projects or ()),
            kinds=named.listed([kind] for kind in wanted.kinds),
            many=first + 1 - len(found),
        )
        found += [((place, *row[:3]), _hit(type, row)) for row in rows]
    cursors = tuple(asked.cursor(head, at) for at, _ in found[:first])
    return replies.HitPage(
        cursors=cursors,
        end=cursors[-1] if len(found) > first else None,
        masked=0,
        items=tuple(hit for _, hit in found[:first]),
    )


def _hit(type: replies.HitType, row: Record) -> replies.Hit:
    match type:
        case replies.HitType.VERSION:
            return replies.Hit(version=artifacts.version_of(row))
        case replies.HitType.ARTIFACT:
            return replies.Hit(artifact=model.Artifact(*row))
        case replies.HitType.JOB:
            return replies.Hit(job=replies.Job(row[0], row[2]))


@functools.cache
def _section(type: replies.HitType, by_project: bool, by_kind: bool) -> Statement:
    """Each row begins with what it is ordered by: project, kind (a job has none) and name."""
    is_named = func.lower(bindparam("pattern"))
    if type is replies.HitType.JOB:
        found = (
            select(_PROJECT.c.name, literal_column("''").label("kind"), _JOB.c.name)
            .join_from(_JOB, _PROJECT, _PROJECT.c.id == _JOB.c.project_id)
            .where(
                tuple_(_PROJECT.c.name, _JOB.c.name) > tuple_(bindparam("project"), bindparam("name")),
                func.lower(_JOB.c.name).like(is_named, escape="!"),
                exists(select(_ONE).where(_RUN.c.job_id == _JOB.c.id, pages.sequenced(_RUN.c.start_fact))),
            )
            .order_by(_PROJECT.c.name, _JOB.c.name)
        )
    else:
        order = (_PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name)
        behind = tuple_(*order) > tuple_(bindparam("project"), bindparam("kind"), bindparam("name"))
        if type is replies.HitType.VERSION:
            found = (
                select(*artifacts.VERSION_COLUMNS)
                .select_from(_VERSION)
                .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
                .where(_VERSION.c.digest == bindparam("digest"))
            )
            made = _OUTPUT.c.version_id == _VERSION.c.id
        else:
            found = select(*order).where(func.lower(_ARTIFACT.c.name).like(is_named, escape="!"))
            made = _OUTPUT.c.artifact_id == _ARTIFACT.c.id
        found = (
            found.join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
            .where(behind, exists(select(_ONE).where(made, pages.sequenced(_OUTPUT.c.fact))))
            .order_by(*order)
        )
        if by_kind:
            found = found.where(_ARTIFACT.c.kind.in_(select(named.given("kinds", name=Text()).c.name)))
    if by_project:
        found = found.where(_PROJECT.c.name.in_(select(named.given("projects", name=Text()).c.name)))
    return Statement(found.limit(bindparam("many")))

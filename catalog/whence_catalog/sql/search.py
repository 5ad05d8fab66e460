"""Runs in the order of recording, and what is looked for in the whole catalog, by name or by what it has."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, TypeVar, cast

from sqlalchemy import ColumnElement, Text, bindparam, exists, literal_column, select, tuple_

from whence_catalog import digest, model, replies
from whence_catalog.errors import InvalidInput
from whence_catalog.sql import (
    artifacts,
    by_name,
    candidates,
    engine,
    judgements,
    named,
    pages,
    past,
    tables,
    times,
)
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Statement, Transaction

T = TypeVar("T")
_PROJECT = tables.PROJECT
_JOB = tables.JOB
_ARTIFACT = tables.ARTIFACT
_VERSION = tables.VERSION
_RUN = tables.RUN
_OUTPUT = tables.OUTPUT

_ONE: ColumnElement[int] = literal_column("1")


def list_runs(
    tx: Transaction,
    projects: frozenset[str] | None,
    job: str | None,
    states: frozenset[model.RunState],
    first: int,
    after: str | None,
    as_of: int | None,
) -> replies.RunPage:
    """Runs, the newest first; as of a position, in the states that they were in as far as was known."""
    shown = (None if projects is None else sorted(projects), job, sorted(states))
    asked = pages.List("runs", times.named(repr(shown), as_of), first, after)
    head, key = asked.place(times.head(tx, as_of), int)
    rows = tx.all(
        _runs_listed(
            None if projects is None else len(projects) == 1,
            job is not None,
            bool(states),
            as_of is not None,
        ),
        head=head,
        bound=pages.HIGHEST if key is None else pages.run_row(tx, cast("int", key[0])),
        many=first + 1,
        projects=named.listed([project] for project in projects or ()),
        job=job,
        states=named.listed([state.value] for state in states),
    )
    ids = [row[0] for row in rows[:first]]
    described = named.runs_with_ids(tx, ids) if as_of is None else past.runs(tx, ids, as_of)
    cursors = tuple(asked.cursor(head, (row[1],)) for row in rows[:first])
    return replies.RunPage(
        cursors=cursors,
        end=cursors[-1] if len(rows) > first else None,
        masked=0,
        items=tuple(described[row[0]] for row in rows[:first]),
    )


@functools.cache
def _runs_listed(by_project: bool | None, by_job: bool, by_state: bool, is_as_of: bool) -> Statement:
    """`by_project` says whether it is the only one; None: of all projects."""
    # A statement for each set of filters: one that has them all, and says which count, finds no index.
    projects = select(named.given("projects", name=Text()).c.name)
    listed = select(_RUN.c.id, engine.place(_RUN.c.start_fact)).where(
        _RUN.c.id < bindparam("bound"), pages.sequenced(_RUN.c.start_fact)
    )
    if by_job:
        jobs = select(_JOB.c.id).where(_JOB.c.name == bindparam("job"))
        if by_project is not None:
            jobs = jobs.join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id).where(
                _PROJECT.c.name.in_(projects)
            )
        # Of one project it is one job, whose runs PostgreSQL then takes in order, and does not sort them all.
        listed = listed.where(
            _RUN.c.job_id == jobs.scalar_subquery() if by_project else _RUN.c.job_id.in_(jobs)
        )
    elif by_project is not None:
        listed = listed.where(
            _RUN.c.project_id.in_(select(_PROJECT.c.id).where(_PROJECT.c.name.in_(projects)))
        )
    if by_state:
        listed = listed.where(
            (past.STATE if is_as_of else _RUN.c.state).in_(select(named.given("states", name=Text()).c.name))
        )
    return Statement(listed.order_by(_RUN.c.id.desc()).limit(bindparam("many")))


LONGEST_TEXT = 256


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for. `projects` None: in all; of the rest, what is empty: any."""

    text: str = ""
    types: frozenset[replies.HitType] = frozenset()
    projects: frozenset[str] | None = None
    kinds: frozenset[str] = frozenset()
    labels: frozenset[tuple[str, str]] = frozenset()
    metrics: tuple[model.MetricRange, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if len(self.text) > LONGEST_TEXT or any(ord(character) < 32 for character in self.text):
            raise InvalidInput(
                f"what is searched for has at most {LONGEST_TEXT} characters, and no control characters"
            )

        if any(moment is not None and moment.tzinfo is None for moment in (self.since, self.until)):
            raise InvalidInput("a time without its zone; give one, as in 2026-05-03T12:00:00Z")

    def finds(self, type: replies.HitType) -> bool:
        """Whether anything of that type can be found."""
        is_asked = type in self.types
        if self.types and not is_asked:
            return False
        is_narrow = self.wanted.is_narrow
        match type:
            case replies.HitType.VERSION:
                return is_asked or is_narrow or self.digest is not None
            # A whole digest is looked up as content, and no name is looked at.
            case replies.HitType.ARTIFACT:
                return not is_narrow and self.digest is None
            case replies.HitType.JOB:
                return not is_narrow and not self.kinds and self.digest is None
            case replies.HitType.RUN:
                return (is_asked or is_narrow) and not self.kinds and self.digest is None

    @property
    def wanted(self) -> candidates.Wanted:
        """What a Version or a Run must be."""
        return candidates.Wanted(
            self.text,
            self.digest,
            self.projects,
            self.kinds,
            self.labels,
            self.metrics,
            self.since,
            self.until,
        )

    @property
    def is_by_content(self) -> bool:
        """Whether Versions are found by their content alone, and so by name."""
        return self.digest is not None and not self.wanted.is_narrow

    @property
    def digest(self) -> digest.Digest | None:
        """The content that is looked for, if the text is a digest, with or without `sha256:`."""
        text = self.text.strip()
        try:
            return digest.Digest(text if text.startswith("sha256:") else f"sha256:{text}")
        except InvalidInput:
            return None

    @property
    def said(self) -> str:
        """All that is looked for, as one text."""
        projects = None if self.projects is None else sorted(self.projects)
        lists = (sorted(self.types), projects, sorted(self.kinds), sorted(self.labels))
        return repr((self.text, *lists, self.metrics, self.since, self.until))


# The order in which hits come.
_SECTIONS = (
    replies.HitType.VERSION,
    replies.HitType.ARTIFACT,
    replies.HitType.JOB,
    replies.HitType.RUN,
)

_Found: TypeAlias = list[tuple[pages.Key, replies.Hit]]


def search(tx: Transaction, wanted: Search, first: int, after: str | None) -> replies.HitPage:
    """What is looked for: section by section."""
    asked = pages.List("hits", wanted.said, first, after)
    head, key = asked.place(fact_log.head(tx), int, str, str, str)
    section, *names = (0, "", "", "") if key is None else key
    found: _Found = []
    onward: pages.Key | None = None
    for place, type in enumerate(_SECTIONS):
        if place < cast("int", section) or len(found) > first or onward or not wanted.finds(type):
            continue
        behind = tuple(map(str, names)) if place == section else ("", "", "")
        many = first + 1 - len(found)
        match type:
            case replies.HitType.ARTIFACT | replies.HitType.JOB:
                more, onward = _called(tx, type, wanted, place, behind, head, many)
            case replies.HitType.VERSION if wanted.is_by_content:
                more = _of_content(tx, wanted, place, behind, head, many)
            case _:
                more, onward = _looked_at(tx, type, wanted, place, behind, head, many)
        found += more
    cursors = tuple(asked.cursor(head, at) for at, _ in found[:first])
    end = asked.cursor(head, onward) if onward else None
    return replies.HitPage(
        cursors=cursors,
        end=cursors[-1] if len(found) > first else end,
        masked=0,
        items=tuple(hit for _, hit in found[:first]),
    )


def _number(text: str, read: Callable[[str], T]) -> T:
    """A number that a cursor holds: whoever made one up is told so."""
    try:
        return read(text)
    except (ValueError, OverflowError):
        raise InvalidInput(
            "not a cursor of these hits; give one back as it came, to the same search"
        ) from None


def _called(
    tx: Transaction,
    type: replies.HitType,
    wanted: Search,
    place: int,
    behind: tuple[str, ...],
    head: int,
    many: int,
) -> tuple[_Found, pages.Key | None]:
    """Artifacts or jobs among so many names; and where to go on, if that was not all of them."""
    after = by_name.Place(_number(behind[0], int), _number(behind[1], int)) if behind[0] else by_name.START
    of = by_name.ARTIFACTS if type is replies.HitType.ARTIFACT else by_name.JOBS
    name = by_name.Wanted(wanted.text, wanted.projects, wanted.kinds)
    looked = by_name.look(tx, of, name, head, after, many)

    def key(at: by_name.Place) -> pages.Key:
        return place, str(at.project), str(at.row), ""

    is_short = looked.onward is not None and len(looked.found) < many
    onward = key(looked.onward) if is_short and looked.onward is not None else None
    return [(key(at), hit) for at, hit in looked.found], onward


def _of_content(
    tx: Transaction, wanted: Search, place: int, behind: tuple[str, ...], head: int, many: int
) -> _Found:
    """Versions of one content, each of another Artifact, by the names of those."""
    assert wanted.digest is not None
    rows = tx.all(
        _contents(wanted.projects is not None, bool(wanted.kinds)),
        head=head,
        project=behind[0],
        kind=behind[1],
        name=behind[2],
        digest=wanted.digest.raw,
        projects=named.listed([project] for project in wanted.projects or ()),
        kinds=named.listed([kind] for kind in wanted.kinds),
        many=many,
    )
    return [((place, *row[:3]), replies.Hit(version=artifacts.version_of(row))) for row in rows]


def _looked_at(
    tx: Transaction,
    type: replies.HitType,
    wanted: Search,
    place: int,
    behind: tuple[str, ...],
    head: int,
    many: int,
) -> tuple[_Found, pages.Key | None]:
    """Runs or Versions among so many candidates; and where to go on, if that was not all of them."""
    after = (
        candidates.Place(_number(behind[0], float.fromhex), _number(behind[1], int))
        if behind[0]
        else candidates.START
    )
    of = candidates.RUNS if type is replies.HitType.RUN else candidates.VERSIONS
    looked = candidates.look(tx, of, wanted.wanted, head, after, many)
    ids = [at.row for at in looked.found]
    hits: dict[int, replies.Hit]
    if type is replies.HitType.RUN:
        hits = {row: replies.Hit(run=run) for row, run in named.runs_with_ids(tx, ids).items()}
    else:
        hits = {row: replies.Hit(version=one) for row, one in judgements.versions(tx, ids).items()}

    def key(at: candidates.Place) -> pages.Key:
        return place, float(at.value).hex(), str(at.row), ""

    is_short = looked.onward is not None and len(looked.found) < many
    onward = key(looked.onward) if is_short and looked.onward is not None else None
    return [(key(at), hits[at.row]) for at in looked.found], onward


@functools.cache
def _contents(by_project: bool, by_kind: bool) -> Statement:
    """Each row begins with what it is ordered by: project, kind and name."""
    order = (_PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name)
    found = (
        select(*artifacts.VERSION_COLUMNS)
        .select_from(_VERSION)
        .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
        .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
        .where(
            _VERSION.c.digest == bindparam("digest"),
            tuple_(*order) > tuple_(bindparam("project"), bindparam("kind"), bindparam("name")),
            exists(
                select(_ONE).where(_OUTPUT.c.version_id == _VERSION.c.id, pages.sequenced(_OUTPUT.c.fact))
            ),
        )
        .order_by(*order)
    )
    if by_kind:
        found = found.where(_ARTIFACT.c.kind.in_(select(named.given("kinds", name=Text()).c.name)))
    if by_project:
        found = found.where(_PROJECT.c.name.in_(select(named.given("projects", name=Text()).c.name)))
    return Statement(found.limit(bindparam("many")))

"""Artifacts and jobs by a text in their names, whatever its case: a page at a time.

Who looks for a text follows the gram of it that the fewest names have, and reads each of those names. So a look at so
many names costs the same however many there are. The rows of a gram lie project by project: a look in some projects
passes over nothing of others, so neither a page nor its cursor tells how much there is of those.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Table, Text, bindparam, exists, func, literal_column, select, tuple_

from whence_catalog import model, replies
from whence_catalog.sql import engine, grams, named, pages, tables
from whence_catalog.sql.engine import Record, Statement, Transaction

_PROJECT = tables.PROJECT
_JOB = tables.JOB
_ARTIFACT = tables.ARTIFACT
_RUN = tables.RUN
_OUTPUT = tables.OUTPUT

_ONE: ColumnElement[int] = literal_column("1")

# How many names are looked at for one page, and how many at once at first.
MOST_LOOKED_AT = 5000
_AT_ONCE = 100
# Up to how many names with a gram are counted, and of how many grams of a text.
_COUNTED, _TRIED = 1000, 16
# Before every row.
_HIGHEST = 2**62


class Place(NamedTuple):
    """Where a name stands: the project's row, and its own."""

    project: int
    row: int


# Before the first of all.
START = Place(_HIGHEST, _HIGHEST)


class Wanted(NamedTuple):
    """What a name must hold. `projects` None and `kinds` empty: any."""

    text: str
    projects: frozenset[str] | None
    kinds: frozenset[str]


class Looked(NamedTuple):
    """What was found, each with its place; and behind which the next look goes on, if there is more to look at."""

    found: list[tuple[Place, replies.Hit]]
    onward: Place | None


class Subject(NamedTuple):
    """Whose names are looked at: how the index is followed in all projects, or in one; and what is there."""

    counted: Statement
    counted_in: Statement
    everywhere: Statement
    in_project: Statement
    called: Statement
    there: Statement
    hit: Callable[[Record], replies.Hit]


def _subject(
    table: Table, called: Statement, there: Statement, hit: Callable[[Record], replies.Hit]
) -> Subject:
    own = list(table.c)[-1]
    has_gram = table.c.gram == bindparam("gram")
    most = select(_ONE.label("one")).where(has_gram).limit(_COUNTED)
    some = most.where(engine.among(table.c.project_id, "projects"))
    own_place = table.c.project_id, own
    walk = select(*own_place).where(has_gram).limit(bindparam("many"))
    order = (table.c.project_id.desc(), own.desc())
    return Subject(
        Statement(select(func.count()).select_from(most.subquery("most"))),
        Statement(select(func.count()).select_from(some.subquery("some"))),
        Statement(
            walk.where(tuple_(*own_place) < tuple_(bindparam("project"), bindparam("row"))).order_by(*order)
        ),
        Statement(
            walk.where(table.c.project_id == bindparam("project"), own < bindparam("row")).order_by(
                own.desc()
            )
        ),
        called,
        there,
        hit,
    )


ARTIFACTS = _subject(
    tables.ARTIFACT_GRAM,
    Statement(
        select(_ARTIFACT.c.id, _PROJECT.c.name, _ARTIFACT.c.name, _ARTIFACT.c.kind)
        .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
        .where(engine.among(_ARTIFACT.c.id, "ids"))
    ),
    Statement(
        select(_ARTIFACT.c.id).where(
            engine.among(_ARTIFACT.c.id, "ids"),
            exists(
                select(_ONE).where(_OUTPUT.c.artifact_id == _ARTIFACT.c.id, pages.sequenced(_OUTPUT.c.fact))
            ),
        )
    ),
    lambda row: replies.Hit(artifact=model.Artifact(row[1], row[3], row[2])),
)
JOBS = _subject(
    tables.JOB_GRAM,
    Statement(
        select(_JOB.c.id, _PROJECT.c.name, _JOB.c.name, literal_column("NULL"))
        .join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id)
        .where(engine.among(_JOB.c.id, "ids"))
    ),
    Statement(
        select(_JOB.c.id).where(
            engine.among(_JOB.c.id, "ids"),
            exists(select(_ONE).where(_RUN.c.job_id == _JOB.c.id, pages.sequenced(_RUN.c.start_fact))),
        )
    ),
    lambda row: replies.Hit(job=replies.Job(row[1], row[2])),
)
_projects = Statement(
    select(_PROJECT.c.id)
    .where(_PROJECT.c.name.in_(select(named.given("projects", name=Text()).c.name)))
    .order_by(_PROJECT.c.id.desc())
)


def projects_named(tx: Transaction, names: Iterable[str]) -> list[int]:
    """The rows of those of these projects that are recorded, the last first."""
    return [row[0] for row in tx.all(_projects, projects=named.listed([name] for name in names))]


def look(tx: Transaction, of: Subject, wanted: Wanted, head: int, after: Place, many: int) -> Looked:
    """The next of those with such a name, `many` at most, among so many names behind `after`.

    Project by project, and of each the newest first; only what the log up to `head` tells of.
    """
    among = None
    if wanted.projects is not None:
        among = projects_named(tx, wanted.projects)
    gram = _rarest(tx, of, wanted.text, among)
    found: list[tuple[Place, replies.Hit]] = []
    left, size = MOST_LOOKED_AT, max(many, _AT_ONCE)
    while left:
        asked = min(size, left)
        places = _next(tx, of, gram, among, after, asked)
        found += _passing(tx, of, wanted, head, places)
        if len(found) >= many:
            return Looked(found[:many], found[many - 1][0])
        if len(places) < asked:
            return Looked(found, None)
        left -= len(places)
        after, size = places[-1], size * 2
    return Looked(found, after)


def _rarest(tx: Transaction, of: Subject, text: str, among: Sequence[int] | None) -> int:
    """That gram of a text which the fewest names have. Any other would find the same, at the same places."""
    own = sorted(grams.of(text) - {grams.ANY})
    if len(own) < 2:
        return own[0] if own else grams.ANY
    tried = own[:: -(-len(own) // _TRIED)]
    if among is None:
        counts = tx.each(of.counted, [{"gram": gram} for gram in tried])
    else:
        counts = tx.each(of.counted_in, [{"gram": gram, "projects": among} for gram in tried])
    return min(zip((row[0][0] for row in counts), tried, strict=True))[1]


def _next(
    tx: Transaction, of: Subject, gram: int, among: Sequence[int] | None, after: Place, many: int
) -> list[Place]:
    """The places behind one, in all projects or in those: fewer than `many` are the last."""
    if among is None:
        rows = tx.all(of.everywhere, gram=gram, project=after.project, row=after.row, many=many)
        return [Place(*row) for row in rows]
    places: list[Place] = []
    for project in among:
        if project <= after.project and len(places) < many:
            behind = after.row if project == after.project else _HIGHEST
            rows = tx.all(of.in_project, gram=gram, project=project, row=behind, many=many - len(places))
            places += (Place(*row) for row in rows)
    return places


def _passing(
    tx: Transaction, of: Subject, wanted: Wanted, head: int, places: Sequence[Place]
) -> list[tuple[Place, replies.Hit]]:
    text = wanted.text.casefold()
    rows = {
        row[0]: row
        for row in tx.all(of.called, ids=sorted(place.row for place in places))
        if text in row[2].casefold() and (not wanted.kinds or row[3] in wanted.kinds)
    }
    there = {row[0] for row in tx.all(of.there, ids=sorted(rows), head=head)} if rows else set()
    return [(place, of.hit(rows[place.row])) for place in places if place.row in there]

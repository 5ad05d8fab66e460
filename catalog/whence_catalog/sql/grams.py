"""The names of Artifacts and jobs, by the threes of characters in them: an index in which any part of a name is found.

A row is three numbers: a gram, the project and whose name it is; see `by_name` for how it is followed. A name is there
under `ANY` too, for texts that are too short to have a gram. `pg_trgm` and the trigrams of SQLite's FTS5 each have
rules of their own for case and for what a character is; these are the same wherever the catalog lies.
"""

from whence_catalog.sql import tables
from whence_catalog.sql.engine import Filling, Value

OF_ARTIFACTS = Filling(tables.ARTIFACT_GRAM, "gram", "project_id", "artifact_id")
OF_JOBS = Filling(tables.JOB_GRAM, "gram", "project_id", "job_id")

# The gram that every name has.
ANY = 0
_LONG = 3
# A character takes so many bits.
_BITS = 21


def of(text: str) -> frozenset[int]:
    """All threes of characters in a text, each as one number, whatever their case; and `ANY`."""
    points = [ord(character) for character in text.casefold()]
    threes = zip(*(points[begin:] for begin in range(_LONG)), strict=False)
    return frozenset({ANY, *(one << 2 * _BITS | two << _BITS | three for one, two, three in threes)})


def rows(name: str, project_id: int, of_id: int) -> list[tuple[Value, ...]]:
    """The rows of `OF_ARTIFACTS` or `OF_JOBS` for a name."""
    return [(gram, project_id, of_id) for gram in sorted(of(name))]

"""Mistakes that the fault suite must notice, each made in a process before anything is imported there.

A mutant puts pieces of modules' source in place of others. One whose piece is not there exactly once is
refused: whoever rewords that line rewords the mutant too, and sees that it is still noticed.

    python -m tests.faults.mutants <mutant> <module> [<argument> …]     runs a module with the mistake in it
"""

import importlib.abc
import importlib.machinery
import importlib.util
import runpy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType


@dataclass(frozen=True, slots=True)
class Edit:
    """In `module`, `right` becomes `wrong`."""

    module: str
    right: str
    wrong: str


MUTANTS: Mapping[str, Sequence[Edit]] = {
    "no token check": [
        Edit(
            "whence_catalog.sql.recording",
            "(held.owner, held.token) == (report.owner, report.token)",
            "True",
        )
    ],
    "no second look-up": [
        Edit(
            "whence_catalog.sql.recording",
            "(decision, found) if tx.is_sequencing else _decide_begin(tx, call)",
            "(decision, found)",
        )
    ],
    "a lapsed lease publishes": [
        Edit("whence_catalog.sql.recording", "and held.until > tx.micros", "and held.until != 0")
    ],
    "a live lease can be taken": [
        Edit(
            "whence_catalog.sql.reservations",
            "(_RESERVATION.c.owner == new.excluded.owner)",
            "(_RESERVATION.c.key == new.excluded.key)",
        )
    ],
    "a clock that is ahead decides": [
        Edit("whence_catalog.sql.reservations", "since=tx.micros,", "since=tx.micros + 3_600_000_000,")
    ],
    "anybody lets go": [
        Edit(
            "whence_catalog.sql.reservations",
            '.where(_RESERVATION.c.key == bindparam("of_key"), _RESERVATION.c.run_uid == bindparam("of_run"))',
            '.where(_RESERVATION.c.key == bindparam("of_key"))',
        )
    ],
    "a beat extends nothing": [
        Edit(
            "whence_catalog.sql.reservations",
            "extended = tx.run(_extend, of_run=run.bytes, moment=tx.micros, lasts=until)",
            "extended = 1",
        )
    ],
    "a sweep takes the lease of who lives": [
        Edit(
            "whence_catalog.sql.runs",
            '(_BEAT.c.until < bindparam("moment"))',
            '(_BEAT.c.until > bindparam("moment"))',
        ),
        Edit(
            "whence_catalog.sql.reservations",
            "return row is not None and row[0] >= tx.micros",
            "return False",
        ),
    ],
    "tokens do not grow": [
        Edit(
            "whence_catalog.sql.reservations",
            'engine.larger(_RESERVATION.c.token + literal_column("1"), new.excluded.token)',
            "_RESERVATION.c.token",
        )
    ],
    "a publish displaces what lives": [
        Edit(
            "whence_catalog.cache",
            "if live is None:\n        return model.Publication",
            "if True:\n        return model.Publication",
        )
    ],
}


def edited(module: str, edits: Sequence[Edit]) -> str:
    """The source of `module` with these mistakes in it."""
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).read_text("utf-8")
    for edit in edits:
        count = source.count(edit.right)
        if count != 1:
            raise AssertionError(
                f"{edit.right!r} is {count} times in {module}, not once; reword it in tests/faults/mutants.py"
            )
        source = source.replace(edit.right, edit.wrong)
    return source


class _Loader(importlib.abc.InspectLoader):
    def __init__(self, source: str) -> None:
        self._source = source

    def get_source(self, fullname: str) -> str:
        return self._source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, f"<a mutant of {fullname}>", "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._sources:
            return None
        return importlib.machinery.ModuleSpec(fullname, _Loader(self._sources[fullname]))


def apply(name: str) -> None:
    """Make the mistake in this process."""
    edits = MUTANTS[name]
    modules = {edit.module for edit in edits}
    assert modules.isdisjoint(sys.modules), "a mutant comes before all that it is a mutant of"
    sources = {module: edited(module, [e for e in edits if e.module == module]) for module in modules}
    sys.meta_path.insert(0, _Finder(sources))


if __name__ == "__main__":
    _, mutant, module, *sys.argv[1:] = sys.argv
    apply(mutant)
    runpy.run_module(module, run_name="__main__", alter_sys=True)

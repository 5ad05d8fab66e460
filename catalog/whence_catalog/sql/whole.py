"""What facts of whole Runs do to the tables: any number of Runs at once, in a few statements.

One at a time or many together, the same rows come of the same facts. What takes an order among those of
one batch (a Run that took what an earlier one made, the numbers of Versions) goes by the order they are given in.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from whence_catalog import model
from whence_catalog.errors import ErrorKind, NotFound
from whence_catalog.sql import labels, metrics, places, productions, runs, taint
from whence_catalog.sql.engine import Asked, Transaction, Value


class Whole(NamedTuple):
    """A Run that began and ended in one fact, at that time, and touched the cache in no way."""

    fact: int
    at: datetime
    run: model.Run
    call: model.Call
    report: model.Report


def put(tx: Transaction, wholes: Sequence[Whole]) -> list[tuple[int, tuple[model.Output, ...]]]:
    """Record them, in that order; answers each one's row and outputs.

    Raises:
        NotFound: a Version, or the Run it is said to come from, is not recorded, nor made by an earlier one.
        InvalidInput: two inputs of a Run have the same role and ordinal; an output comes from what is no input.
        taint.Reached: there are several, and a standing quarantine reaches one of them.
    """
    names = runs.names_of(tx, [each.run for each in wholes])
    run_ids = tx.numbers("run", len(wholes))
    made = productions.Productions(tx, [claim for each in wholes for claim in each.report.outputs])
    sources = _Sources(tx, wholes)
    run_rows: list[tuple[Value, ...]] = []
    input_rows: list[tuple[Value, ...]] = []
    component_rows: list[tuple[Value, ...]] = []
    metric_rows: list[tuple[Value, ...]] = []
    taken: set[int] = set()
    answers: list[tuple[int, tuple[model.Output, ...]]] = []
    for run_id, named, (fact, at, run, call, report) in zip(run_ids, names, wholes, strict=True):
        run_rows.append(runs.row_of(run_id, run, named, fact, fact, None))
        claims = (*call.inputs, *report.inputs)
        ids = [sources.ids(claim.source, made) for claim in claims]
        taken.update(version_id for version_id, _ in ids)
        input_rows += runs.input_rows(run_id, fact, claims, ids, {})
        component_rows += runs.component_rows(run_id, call.components)
        metric_rows += metrics.run_rows(run_id, run.metrics)
        outputs = made.make(run_id, run.uid, report.outputs, fact, model.microseconds(at))
        sources.add(run_id, run.uid, outputs)
        answers.append((run_id, outputs))
    versions, output_rows, measured = made.filled
    tx.fill(
        runs.filled(run_rows),
        versions,
        (runs.INPUTS, input_rows),
        (runs.COMPONENTS, component_rows),
        output_rows,
        measured,
        (metrics.OF_RUNS, metric_rows),
    )
    for (run_id, _), each in zip(answers, wholes, strict=True):
        runs.put_observed(tx, run_id, each.report.observed)
        productions.put_derived(tx, run_id, each.report.outputs)
        places.put(tx, run_id, each.report.outputs)
        labels.begin(tx, each.fact, model.microseconds(each.at), run_id, each.call.labels)
    taint.inherit_all(tx, run_ids, taken, frozenset(made.version_ids))
    return answers


def asked(
    items: Sequence[tuple[model.Call, model.Report]],
) -> tuple[Mapping[str, int], Sequence[Asked]]:
    """How many new rows of which tables `put` will make of these, and what it will ask."""
    batch = {call.run for call, _ in items} if len(items) > 1 else frozenset()
    sources = {
        _name(claim.source): claim.source
        for call, report in items
        for claim in (*call.inputs, *report.inputs)
        if claim.source.producer not in batch
    }
    versions, of_these = productions.asked(
        [claim for _, report in items for claim in report.outputs], sources.values()
    )
    rows = {"run": len(items), "version": versions} if versions else {"run": len(items)}
    return rows, (*of_these, taint.ASKED)


class _Sources:
    """What the inputs of a batch name: recorded before, or made by an earlier one of the batch."""

    def __init__(self, tx: Transaction, wholes: Sequence[Whole]) -> None:
        self._made: dict[UUID, tuple[int, tuple[model.Output, ...]]] = {}
        batch = {each.run.uid for each in wholes} if len(wholes) > 1 else frozenset()
        asked = {
            _name(source): source
            for each in wholes
            for source in _taken(each)
            if source.producer not in batch
        }
        found = productions.find_sources(tx, list(asked.values()))
        self._found: Mapping[_Name, productions.FoundSource] = dict(zip(asked, found, strict=True))

    def ids(self, source: model.Source, made: productions.Productions) -> productions.SourceIds:
        """(version, producing run) that a source names.

        Raises:
            NotFound: it names none.
        """
        found = self._found.get(_name(source))
        if found is not None:
            if source.producer is None and not found and (version_id := made.made(source)):
                return version_id, None
            return productions.ids_of(source, found)
        assert source.producer is not None
        if source.producer not in self._made:
            raise NotFound(f"no run {source.producer} is recorded", ErrorKind.NO_SUCH_RUN)
        run_id, outputs = self._made[source.producer]
        version_id = made.made(source)
        if version_id is None or not any(_is_of(output.version, source) for output in outputs):
            raise NotFound(f"run {source.producer} did not make {source.artifact}", ErrorKind.NO_SUCH_VERSION)
        return version_id, run_id

    def add(self, run_id: int, run: UUID, outputs: tuple[model.Output, ...]) -> None:
        """Let later ones take what this Run made."""
        self._made[run] = run_id, outputs


_Name = tuple[str, str, str, str, UUID | None]


def _name(source: model.Source) -> _Name:
    named = source.artifact
    return named.project, named.kind, named.name, source.digest.text, source.producer


def _is_of(version: model.Version, source: model.Source) -> bool:
    return version.artifact == source.artifact and version.digest == source.digest


def _taken(each: Whole) -> Iterator[model.Source]:
    for claim in (*each.call.inputs, *each.report.inputs):
        yield claim.source

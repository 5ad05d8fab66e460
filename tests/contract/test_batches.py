"""Runs that are recorded together: the same facts, rows and answers as one by one, whatever is in the batch."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import postgres, simulator
from tests.simulator import ACTOR, claim
from whence_catalog import catalog, model, replies
from whence_catalog.errors import Conflict, InvalidInput, NotFound, WhenceError
from whence_catalog.sql import check, tables
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.catalog import SqlCatalog

# Each is written by the clock, which moves on between one transaction and the next.
TIMES = {"started_at", "finished_at", "created_at", "since", "until", "at"}
Item = tuple[model.Call, model.Report]

NEVER = datetime(2026, 1, 1, tzinfo=UTC)


def one_by_one(of: SqlCatalog, items: Sequence[Item]) -> list[catalog.Result[replies.Finished]]:
    return [result for item in items for result in of.record_runs([item])]


def told(results: Sequence[catalog.Result[replies.Finished]]) -> list[object]:
    """Results without their times."""
    return [
        (type(result), str(result))
        if isinstance(result, WhenceError)
        else (
            replace(result.run, started_at=NEVER, finished_at=None),
            [replace(output, version=replace(output.version, created_at=NEVER)) for output in result.outputs],
        )
        for result in results
    ]


def rows(of: SqlCatalog) -> Mapping[str, object]:
    """All that the tables hold, without numbers of rows and times."""
    while of.sequence():
        pass
    with of._database.reading() as tx:
        logged = list(fact_log.every(tx))
        places = {fact.id: fact.position for fact in logged}
        found: dict[str, object] = {"fact": [(fact.uid, fact.verb, fact.position) for fact in logged]}
        for table in tables.PROJECTIONS:
            named = [column.name for column in table.c if column.name != "id"]
            kept = [place for place, name in enumerate(named) if name not in TIMES]
            counted = check.by_natural_key(tx, table, places)
            found[str(table.name)] = sorted(
                repr([row[place] for place in kept]) for row in counted.elements()
            )
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SqlCatalog, SqlCatalog]]:
    """Two empty catalogs; when the test is done, the facts of both must make their projections."""
    with ExitStack() as stack:
        opened = []
        for name in ("together", "apart"):
            if request.param == "sqlite":
                opened.append(SqlCatalog.open(tmp_path / f"{name}.db", synchronous="NORMAL"))
            else:
                opened.append(SqlCatalog.connect(stack.enter_context(postgres.shared().database())))
            stack.callback(opened[-1].close)
        yield opened[0], opened[1]
        for each in opened:
            assert each.check().problems == ()


def note(
    outputs: Mapping[str, bytes], inputs: Sequence[model.InputClaim] = (), job: str = "note", **fields: object
) -> Item:
    call = model.Call(simulator.uid(), "default", job, ACTOR, inputs=tuple(inputs))
    claims = tuple(claim(name, content) for name, content in outputs.items())
    report = model.Report(simulator.uid(), call.run, model.RunState.COMPLETE, ACTOR, outputs=claims)
    return replace(call, **fields), report  # type: ignore[arg-type]


def source(item: Item, place: int = 0, *, producer: bool = True) -> model.Source:
    call, report = item
    made = report.outputs[place]
    return model.Source(made.artifact, made.content.digest, call.run if producer else None)


ARTIFACTS = ("dataset:a", "dataset:b", "other/model:c")
# What else an item may have to it; each is drawn now and then.
TWISTS = (
    "",
    "",
    "",
    "derived",
    "derived of no input",
    "place",
    "twice",
    "unknown run",
    "roles",
    "texts",
    "observed",
)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Item], list[Item], bool]:
    """(what is recorded before, a batch, whether what is first is quarantined in between)."""
    items: list[Item] = []
    for _ in range(draw(st.integers(2, 9))):
        earlier = [item for item in items if item[1].outputs]
        chosen = draw(st.lists(st.sampled_from(range(len(earlier))), max_size=2)) if earlier else []
        claims = [
            model.InputClaim(f"in-{n}", source(earlier[one], producer=draw(st.booleans())))
            for n, one in enumerate(chosen)
        ]
        names = draw(st.lists(st.sampled_from(ARTIFACTS), max_size=2, unique=True))
        outputs = {name: draw(st.sampled_from((b"1", b"2", b"3"))) for name in names}
        call, report = note(outputs, claims, job=draw(st.sampled_from(("one", "two"))))
        match draw(st.sampled_from(TWISTS)):
            case "derived" if report.outputs and claims:
                said = replace(report.outputs[0], derived_from=(claims[0].source,))
                report = replace(report, outputs=(said, *report.outputs[1:]))
            case "derived of no input" if report.outputs and earlier:
                said = replace(report.outputs[0], derived_from=(source(earlier[0]),))
                report = replace(report, outputs=(said, *report.outputs[1:]))
            case "place" if report.outputs:
                said = replace(report.outputs[0], location=f"s3://somewhere/{draw(st.integers(0, 1))}")
                report = replace(report, outputs=(said, *report.outputs[1:]))
            case "twice" if items:
                call, report = draw(st.sampled_from(items))
                report = draw(st.sampled_from((report, replace(report, metrics={"other": 1.0}))))
            case "unknown run" if claims:
                other = replace(claims[0], source=replace(claims[0].source, producer=simulator.uid()))
                call = replace(call, inputs=(other, *call.inputs[1:]))
            case "roles" if claims:
                report = replace(report, inputs=(replace(claims[0], source=source(earlier[-1])),))
            case "texts":
                part = model.Component("params/a", "params", bytes(32), preview="1")
                call = replace(call, labels={"team": "red"}, components=(part,))
                report = replace(report, error="no", metrics={"loss": 0.5}, warnings=("slow",))
            case "observed":
                report = replace(report, observed=model.Observed(model.Watching.NOTE, files=("x",)))
        items.append((call, report))
    before = draw(st.integers(0, len(items) - 2))
    return items[:before], items[before:], draw(st.booleans())


def test_a_batch_says_and_keeps_what_its_items_would_one_by_one(pair: tuple[SqlCatalog, SqlCatalog]) -> None:
    together, apart = pair

    @settings(max_examples=60, deadline=None)
    @given(batches())
    def holds(drawn: tuple[list[Item], list[Item], bool]) -> None:
        before, batch, condemns = drawn
        for each in pair:
            one_by_one(each, before)
        made = [source(item) for item in before if item[1].outputs]
        if condemns and made:
            claimed = model.QuarantineClaim(simulator.uid(), made[0].artifact, made[0].digest, ACTOR, "bad")
            for each in pair:
                each.quarantine([claimed])
        assert told(together.record_runs(batch)) == told(one_by_one(apart, batch))
        if condemns and made:
            ending = model.Release(simulator.uid(), claimed.uid, ACTOR, "good")
            for each in pair:
                each.release([ending])
        assert rows(together) == rows(apart)

    holds()


def test_a_batch_said_again_is_what_it_was(pair: tuple[SqlCatalog, SqlCatalog]) -> None:
    together, _ = pair
    first = note({"dataset:a": b"1"})
    batch = [first, note({"model:m": b"2"}, [model.InputClaim("in", source(first))])]
    said = told(together.record_runs(batch))
    kept = rows(together)
    assert told(together.record_runs(batch)) == said
    assert rows(together) == kept


def test_a_large_batch_is_recorded_whole_with_numbers_in_its_order(
    pair: tuple[SqlCatalog, SqlCatalog],
) -> None:
    together, apart = pair
    batch = [note({"dataset:a": b"%d" % (n % 130), f"model:m{n % 7}": b"%d" % n}) for n in range(150)]
    for place in range(1, len(batch)):
        call, report = batch[place]
        taken = model.InputClaim("in", source(batch[place - 1]))
        batch[place] = replace(call, inputs=(taken,)), report
    assert told(together.record_runs(batch)) == told(one_by_one(apart, batch))
    assert rows(together) == rows(apart)


def test_one_that_is_refused_takes_nothing_from_the_others(pair: tuple[SqlCatalog, SqlCatalog]) -> None:
    together, _ = pair
    first, late = note({"dataset:a": b"1"}), note({"dataset:b": b"2"})
    takes_later = note({"model:m": b"3"}, [model.InputClaim("in", source(late))])
    doubled = note({"model:n": b"4"})
    doubled = replace(doubled[0], inputs=(model.InputClaim("in", source(first)),) * 2), doubled[1]
    answers = together.record_runs([first, takes_later, doubled, late, (late[0], first[1])])
    assert [type(answer) for answer in answers] == [
        *(replies.Finished, NotFound, InvalidInput, replies.Finished, InvalidInput)
    ]
    other = replace(late[0], params={"x": 1}), late[1]
    assert isinstance(together.record_runs([other, note({})])[0], Conflict)

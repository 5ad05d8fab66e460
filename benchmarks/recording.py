"""What it costs to record: a run in one call, a hundred in one call, a step in two."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks import beside, history, measure, raw
from whence_catalog import cache, model
from whence_catalog.errors import WhenceError


def benchmarks(runs: int) -> list[measure.Benchmark]:
    """All of this module, on catalogs that hold a history of that many runs."""
    wall, cpu = measure.Clock.WALL, measure.Clock.CPU
    return [
        measure.Benchmark("record-one-full", 1.5, wall, partial(_records, runs, 1, "FULL"), operations=20),
        measure.Benchmark(
            "record-one-normal", 2.0, cpu, partial(_records, runs, 1, "NORMAL"), 20, stretch=1.5
        ),
        measure.Benchmark("record-100", 2.0, wall, partial(_records, runs, 100, "FULL"), stretch=1.43),
        measure.Benchmark("step", 1.5, wall, partial(_steps, runs), operations=10),
    ]


@contextmanager
def _records(runs: int, many: int, synchronous: str) -> Iterator[measure.Contenders]:
    with beside.writing(history.file(runs), synchronous) as both:
        ours, floor = itertools.count(runs), itertools.count(runs)

        def recorded_by_whence() -> Callable[[], object]:
            items = [_whole(place, runs) for place in itertools.islice(ours, many)]

            def operation() -> None:
                for result in both.ours.record_runs(items):
                    if isinstance(result, WhenceError):
                        raise result

            return operation

        def recorded_by_hand() -> Callable[[], object]:
            places = list(itertools.islice(floor, many))
            rows = [raw.recorded(*_whole(place, runs), history.at(place)) for place in places]

            def operation() -> None:
                with raw.writing(both.floor):
                    for began, ended in rows:
                        raw.record(both.floor, began, ended)

            return operation

        folder = both.folder if synchronous == "FULL" else None
        yield measure.Contenders(recorded_by_whence, recorded_by_hand, folder)


def _whole(place: int, runs: int) -> tuple[model.Call, model.Report]:
    return history.call(place, runs, model.Mode.RECORD), history.report(place)


@contextmanager
def _steps(runs: int) -> Iterator[measure.Contenders]:
    with beside.writing(history.file(runs)) as both:
        ours, floor = itertools.count(runs), itertools.count(runs)

        def step_by_whence() -> Callable[[], object]:
            call, report = _step(next(ours), runs)

            def operation() -> None:
                answer = beside.only(both.ours.reserve([call]))
                assert isinstance(answer, cache.Execute), "its key is new"
                beside.only(both.ours.finish_runs([dataclasses.replace(report, token=answer.token)]))

            return operation

        def step_by_hand() -> Callable[[], object]:
            place = next(floor)
            call, report = _step(place, runs)
            began, ended = raw.begun(call, history.at(place)), raw.ended(report, history.at(place), call)

            def operation() -> None:
                with raw.writing(both.floor):
                    token = raw.reserve(both.floor, began)
                with raw.writing(both.floor):
                    raw.finish(both.floor, ended, token)

            return operation

        yield measure.Contenders(step_by_whence, step_by_hand, both.folder)


def _step(place: int, runs: int) -> tuple[model.Call, model.Report]:
    call = dataclasses.replace(history.call(place, runs), components=history.components(place))
    return call, history.report(place)

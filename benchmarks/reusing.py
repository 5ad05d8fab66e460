"""What it costs not to run: the look-up of a key alone, and a whole reuse, recorded."""

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from benchmarks import beside, history, measure, raw
from whence_catalog import cache, model


def benchmarks(runs: int, entries: int) -> list[measure.Benchmark]:
    """All of this module: reuses are recorded among that many runs, and entries looked up among so many."""
    wall, cpu = measure.Clock.WALL, measure.Clock.CPU
    return [
        measure.Benchmark("look-up", 4.0, cpu, partial(_look_ups, entries), operations=200, unit="µs"),
        measure.Benchmark("reuse", 3.0, wall, partial(_reuses, runs), operations=20),
    ]


@contextmanager
def _look_ups(runs: int) -> Iterator[measure.Contenders]:
    with beside.reading(runs) as both:
        ours, floor, places = random.Random(1), random.Random(1), itertools.count(runs)

        def looked_up_by_whence() -> Callable[[], object]:
            # Blobs that were never seen lately enough: it answers that they are to be looked at.
            call = dataclasses.replace(
                _again(ours.randrange(runs), next(places), runs), presence_age=timedelta(0)
            )

            def operation() -> None:
                answer = beside.only(both.ours.reserve([call]))
                assert isinstance(answer, cache.Verify), "nothing was seen lately enough"

            return operation

        def looked_up_by_hand() -> Callable[[], object]:
            return partial(raw.look_up, both.floor, history.key(floor.randrange(runs)))

        yield measure.Contenders(looked_up_by_whence, looked_up_by_hand)


@contextmanager
def _reuses(runs: int) -> Iterator[measure.Contenders]:
    with beside.writing(runs) as both:
        ours, floor = itertools.count(runs), itertools.count(runs)
        which_ours, which_floor = random.Random(2), random.Random(2)

        def reused_by_whence() -> Callable[[], object]:
            call = _again(which_ours.randrange(runs), next(ours), runs)

            def operation() -> None:
                answer = beside.only(both.ours.reserve([call]))
                assert isinstance(answer, cache.Reuse), "its key is entered"

            return operation

        def reused_by_hand() -> Callable[[], object]:
            origin, place = which_floor.randrange(runs), next(floor)
            call = _again(origin, place, runs)
            began = raw.reused(call, history.uid(origin), history.at(place))

            def operation() -> None:
                with raw.writing(both.floor):
                    raw.reuse(both.floor, began)

            return operation

        yield measure.Contenders(reused_by_whence, reused_by_hand, both.folder)


def _again(origin: int, place: int, runs: int) -> model.Call:
    """The call of an earlier run, made once more."""
    return dataclasses.replace(
        history.call(origin, runs), run=history.uid(place), components=history.components(origin)
    )

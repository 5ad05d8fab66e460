"""One beater says for a whole process that its Runs live, and tells each what it must know."""

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import cast
from uuid import UUID

from whence import calls
from whence.beater import Beater
from whence_catalog import catalog
from whence_catalog.errors import Unreachable

LEASE = timedelta(seconds=0.3)


class Heard:
    """A catalog that hears beats: it answers with what it was told to, or not at all."""

    def __init__(self, lost: frozenset[UUID] | None) -> None:
        self.lost = lost
        self.beats: list[tuple[Sequence[UUID], timedelta]] = []
        self.was_beaten = threading.Event()

    def beat(self, runs: Sequence[UUID], lasting: timedelta) -> frozenset[UUID]:
        self.beats.append((runs, lasting))
        self.was_beaten.set()
        if self.lost is None:
            raise Unreachable("nobody answers")
        return self.lost


def beating(heard: Heard, runs: int) -> tuple[Beater, dict[UUID, threading.Event]]:
    beater = Beater(cast("catalog.Catalog", heard), LEASE)
    told = {calls.new_uid(): threading.Event() for _ in range(runs)}
    for run, event in told.items():
        beater.add(run, event.set)
    return beater, told


def test_all_runs_of_a_process_are_beaten_for_in_one_call() -> None:
    heard = Heard(frozenset())
    beater, told = beating(heard, 5)
    assert heard.was_beaten.wait(30)
    beater.close()
    runs, lasting = heard.beats[0]
    assert (set(runs), lasting) == (set(told), LEASE)
    assert not any(event.is_set() for event in told.values())


def test_a_run_hears_that_its_lease_is_lost_and_no_other_does() -> None:
    heard = Heard(None)
    beater, told = beating(heard, 2)
    first, second = told
    heard.lost = frozenset({first})
    assert told[first].wait(30)
    beater.close()
    assert not told[second].is_set()


def test_after_two_beats_without_an_answer_every_run_hears_that_its_lease_may_be_lost() -> None:
    heard = Heard(None)
    beater, told = beating(heard, 2)
    for event in told.values():
        assert event.wait(30)
    assert len(heard.beats) >= 2
    beater.close()

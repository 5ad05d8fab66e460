"""The run state machine."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.simulator import ACTOR
from whence_catalog import lifecycle, model
from whence_catalog.errors import Conflict, InvalidInput

NOW, LATER = datetime(2026, 5, 3, tzinfo=UTC), datetime(2026, 5, 4, tzinfo=UTC)
CALL = model.Call(UUID(int=1), "default", "train", ACTOR, uncacheable=("no rule for x",))
ENDS = [model.RunState.COMPLETE, model.RunState.FAILED, model.RunState.ABORTED]


def report(state: model.RunState) -> model.Report:
    return model.Report(UUID(int=2), CALL.run, state, ACTOR, metrics={"loss": 1.0}, warnings=("late",))


@pytest.mark.parametrize("state", ENDS)
def test_a_run_begins_running_and_ends_once(state: model.RunState) -> None:
    begun = lifecycle.start(CALL, NOW)
    assert (begun.state, begun.warnings) == (model.RunState.RUNNING, ("no rule for x",))
    ended = lifecycle.finish(begun, report(state), "none", LATER)
    assert (ended.state, ended.started_at, ended.finished_at) == (state, NOW, LATER)
    assert ended.warnings == ("no rule for x", "late")
    with pytest.raises(Conflict):
        lifecycle.finish(ended, report(model.RunState.COMPLETE), "none", LATER)


@pytest.mark.parametrize("state", ENDS)
def test_a_run_that_is_recorded_whole_is_what_it_would_be_if_it_had_begun_and_ended(
    state: model.RunState,
) -> None:
    call = replace(
        CALL,
        params={"x": 1},
        labels={"team": "red"},
        parent=UUID(int=3),
        retry_of=UUID(int=4),
        rerun_of=UUID(int=5),
        trusted=("an input",),
        reason="refreshed",
        capture=model.Capture(python="3.11"),
    )
    said = replace(report(state), error="no")
    begun = lifecycle.start(call, NOW)
    assert lifecycle.record(call, said, "none", NOW) == lifecycle.finish(begun, said, "none", NOW)


@pytest.mark.parametrize("state", [model.RunState.RUNNING, model.RunState.REUSED])
def test_what_is_no_end_ends_nothing(state: model.RunState) -> None:
    with pytest.raises(InvalidInput):
        lifecycle.finish(lifecycle.start(CALL, NOW), report(state), "none", LATER)


@pytest.mark.parametrize("state", ENDS)
def test_a_presumption_is_superseded_by_the_run_s_own_word(state: model.RunState) -> None:
    presumed = lifecycle.presume_aborted(lifecycle.start(CALL, NOW), LATER)
    assert (presumed.state, presumed.is_final) == (model.RunState.ABORTED, False)
    ended = lifecycle.finish(presumed, report(state), "none", LATER)
    assert (ended.state, ended.presumed, ended.is_final) == (state, False, True)


def test_only_a_running_run_is_presumed_aborted_or_added_to() -> None:
    ended = lifecycle.finish(lifecycle.start(CALL, NOW), report(model.RunState.FAILED), "none", LATER)
    with pytest.raises(Conflict):
        lifecycle.presume_aborted(ended, LATER)
    with pytest.raises(Conflict):
        lifecycle.refuse_additions(ended)


def test_a_reused_run_is_final_and_names_its_origin() -> None:
    reused = lifecycle.reuse(CALL, UUID(int=9), NOW)
    assert (reused.state, reused.origin, reused.is_final) == (model.RunState.REUSED, UUID(int=9), True)

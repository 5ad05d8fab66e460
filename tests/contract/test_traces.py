"""What a step really read answers later calls: by its key, by the whole that it was found for, and never by another."""

from dataclasses import replace

import pytest

from tests.simulator import ACTOR, World, claim, taken, uid
from whence_catalog import cache, digest, model, traces
from whence_catalog.errors import InvalidInput

STATE: dict[str, digest.Framed] = {"a": 1, "b": 1}


def ran(world: World, state: digest.Framed, *keys: str, made: bytes = b"M") -> model.Call:
    """A call that executed on `state`, looked at `keys`, and was published."""
    call = world.tracking_call("train", state)
    token = world.begin(call).token
    world.finish(world.report(call, {"model:m": made}, token, trace=world.read(call, state, *keys)))
    return call


def known(world: World, call: model.Call) -> tuple[traces.Trace, ...]:
    assert call.base is not None
    (found,) = world.catalog.traces(world.project, [call.base])
    return found


def test_what_was_read_is_the_key_of_the_run_and_is_told_to_who_asks(world: World) -> None:
    call = ran(world, STATE, "a")
    trace = world.read(call, STATE, "a")
    assert known(world, call) == (trace,)
    run = world.catalog.run(str(call.run)).run
    assert (run.key, run.outcome) == (trace.key, "entered")
    names = {verdict.name for verdict in world.catalog.explain(str(call.run)).verdicts}
    assert "reads/state" in names
    assert "params/state" not in names


def test_another_whole_of_which_the_same_was_read_is_a_hit(world: World) -> None:
    first = ran(world, STATE, "a")
    other = world.tracking_call("train", {**STATE, "b": 2})
    (trace,) = known(world, other)
    assert traces.match(trace, traces.asking({"state": {**STATE, "b": 2}}))
    answer = world.ask(world.as_traced(other, trace))
    assert isinstance(answer, cache.Reuse)
    assert answer.entry.run == first.run


def test_the_same_whole_is_a_hit_by_its_own_key(world: World) -> None:
    first = ran(world, STATE, "a")
    answer = world.ask(world.tracking_call("train", STATE))
    assert isinstance(answer, cache.Reuse)
    assert answer.entry.run == first.run
    assert isinstance(world.ask(world.tracking_call("train", {**STATE, "b": 2})), cache.Execute)


def test_who_wants_the_same_whole_waits_and_is_handed_what_the_other_made(world: World) -> None:
    call, waiter = world.tracking_call("train", STATE), world.tracking_call("train", STATE)
    token = world.begin(call).token
    assert isinstance(world.ask(waiter), cache.Wait)
    world.finish(world.report(call, {"model:m": b"M"}, token, trace=world.read(call, STATE, "a")))
    answer = world.ask(waiter)
    assert isinstance(answer, cache.Reuse)
    assert answer.entry.run == call.run


@pytest.mark.parametrize(
    ("made", "outcome", "diverges"),
    [(b"M", model.Outcome.RENEWED, False), (b"N", model.Outcome.DIVERGED, True)],
)
def test_two_wholes_of_which_the_same_was_read_are_one_entry(
    world: World, made: bytes, outcome: model.Outcome, diverges: bool
) -> None:
    states: list[digest.Framed] = [STATE, {**STATE, "b": 2}]
    calls = [world.tracking_call("train", state) for state in states]
    tokens = [world.begin(call).token for call in calls]
    said = [
        world.finish(world.report(call, {"model:m": content}, token, trace=world.read(call, state, "a")))
        for call, token, state, content in zip(calls, tokens, states, [b"M", made], strict=True)
    ]
    assert said[0].publication.outcome is model.Outcome.ENTERED
    assert (said[1].publication.outcome, said[1].publication.is_divergence) == (outcome, diverges)
    assert len(known(world, calls[0])) == 1
    for state in states:  # each of the two is remembered as answered
        answer = world.ask(world.tracking_call("train", state))
        assert isinstance(answer, cache.Reuse)
        assert answer.entry.run == calls[0].run


def test_an_entry_whose_output_is_gone_is_made_again_under_the_key_of_its_trace(world: World) -> None:
    call = ran(world, STATE, "a")
    (trace,) = known(world, call)
    gone = frozenset({claim("model:m", b"M").content.digest})
    again = replace(world.as_traced(world.tracking_call("train", {**STATE, "b": 2}), trace), missing=gone)
    begun = world.begin(again)
    assert begun.reason is cache.Reason.OUTPUT_MISSING
    finished = world.finish(world.report(again, {"model:m": b"N"}, begun.token, trace=trace))
    assert finished.publication.outcome is model.Outcome.SUPERSEDED
    assert known(world, call) == (trace,)


def test_what_was_wrong_under_one_key_displaces_nothing_under_another(world: World) -> None:
    call = ran(world, STATE, "a")
    (trace,) = known(world, call)
    other = ran(world, {"a": 2, "b": 1}, "a")
    gone = frozenset({claim("model:m", b"M").content.digest})
    again = replace(world.as_traced(call, trace), missing=gone)
    begun = world.begin(again)
    # It asked otherwise this time, as if something that nobody sees had changed.
    read = world.read(other, {"a": 2}, "a")
    finished = world.finish(world.report(again, {"model:m": b"N"}, begun.token, trace=read))
    assert finished.publication.outcome is model.Outcome.DIVERGED


def test_a_trace_that_is_not_of_its_run_is_refused_and_leaves_nothing(world: World) -> None:
    call, victim = world.tracking_call("train", STATE), world.tracking_call("other", STATE)
    token = world.begin(call).token
    forged = [
        world.read(victim, STATE, "a"),
        replace(world.read(call, STATE, "a"), key=str(victim.key)),
        replace(world.read(call, STATE, "a"), observations=()),
    ]
    for trace in forged:
        with pytest.raises(InvalidInput, match="a trace"):
            world.finish(world.report(call, {"model:m": b"M"}, token, trace=trace))
    assert world.catalog.run(str(call.run)).run.state is model.RunState.RUNNING
    assert known(world, call) == known(world, victim) == ()


def test_a_trace_of_a_run_that_was_recorded_without_a_lease_answers_nobody(world: World) -> None:
    call = world.tracking_call("train", STATE)
    world.begin(call)
    finished = world.finish(world.report(call, {"model:m": b"M"}, None, trace=world.read(call, STATE, "a")))
    assert finished.publication.outcome is model.Outcome.REFUSED
    assert known(world, call) == ()
    assert isinstance(world.ask(world.tracking_call("train", STATE)), cache.Execute)


def test_traces_are_of_their_own_project(world: World) -> None:
    call = ran(world, STATE, "a")
    assert world.catalog.traces("elsewhere", [str(call.base)]) == [()]


def test_a_finish_with_a_trace_said_twice_is_one_fact(world: World) -> None:
    call = world.tracking_call("train", STATE)
    report = world.report(
        call, {"model:m": b"M"}, world.begin(call).token, trace=world.read(call, STATE, "a")
    )
    assert world.finish(report) == world.finish(report)


@pytest.mark.parametrize(
    ("bad", "reason"), [("dataset:new", cache.Reason.QUARANTINED), ("dataset:raw", cache.Reason.TAINTED)]
)
def test_a_match_by_who_takes_what_is_condemned_is_no_hit(
    world: World, bad: str, reason: cache.Reason
) -> None:
    (raw,) = world.note("collect", {"dataset:raw": b"R"}).outputs
    (old,) = world.note("load", {"dataset:old": b"O"}).outputs
    (new,) = world.note("load", {"dataset:new": b"N"}, [taken(raw)]).outputs
    first = world.tracking_call("train", STATE, inputs=(taken(old, "state"),))
    token = world.begin(first).token
    world.finish(world.report(first, {"model:m": b"M"}, token, trace=world.read(first, STATE, "a")))
    (trace,) = known(world, first)

    def asked() -> model.Call:
        call = world.tracking_call("train", {**STATE, "b": 2}, inputs=(taken(new, "state"),))
        return world.as_traced(call, trace)

    reused = asked()
    assert isinstance(world.ask(reused), cache.Reuse)
    assert [item.version for item in world.catalog.run(str(reused.run)).inputs] == [new.version]
    version = {"dataset:new": new, "dataset:raw": raw}[bad].version
    said = model.QuarantineClaim(uid(), version.artifact, version.digest, ACTOR, "labels are wrong")
    world.catalog.quarantine([said])
    (foreseen,) = world.catalog.explain_calls([asked()])
    assert isinstance(foreseen, cache.Explanation)
    assert foreseen.answer == cache.Execute(reason)
    call = asked()
    begun = world.begin(call)
    assert begun.reason is reason
    finished = world.finish(world.report(call, {"model:m": b"M"}, begun.token, trace=trace))
    assert finished.publication.outcome is model.Outcome.REFUSED
    world.catalog.release([model.Release(uid(), said.uid, ACTOR, "it was right")])
    answer = world.ask(asked())
    assert isinstance(answer, cache.Reuse)
    assert answer.entry.run == first.run

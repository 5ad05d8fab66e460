"""Quarantine and taint, and what else is judged: the contract of every catalog."""

from collections.abc import Mapping

import pytest

from tests import simulator
from tests.simulator import ACTOR, World, claim, taken
from whence_catalog import cache, model, replies
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound


def quarantine(world: World, output: model.Output, reason: str = "labels are wrong") -> model.Quarantine:
    version = output.version
    said = model.QuarantineClaim(simulator.uid(), version.artifact, version.digest, ACTOR, reason)
    found: model.Quarantine = simulator.one(world.catalog.quarantine([said]))
    return found


def release(world: World, of: model.Quarantine | model.Hold) -> model.Quarantine | model.Hold:
    said = model.Release(simulator.uid(), of.uid, ACTOR, "it was right after all")
    found: model.Quarantine | model.Hold = simulator.one(world.catalog.release([said]))
    return found


def judgements(world: World, reference: str) -> replies.Judgements:
    found: replies.Judgements = simulator.one(world.catalog.judgements([model.Reference.parse(reference)]))
    return found


def taints(world: World, reference: str) -> Mapping[object, set[str]]:
    """Run → the quarantined Versions that reach what it made."""
    found: dict[object, set[str]] = {}
    for taint in judgements(world, reference).taints:
        found.setdefault(taint.run, set()).add(taint.quarantine.version.ref)
    return found


def test_a_quarantine_taints_all_that_was_made_of_the_version_and_nothing_else(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    (good,) = world.note("load", {"dataset:good": b"G"}).outputs
    train = world.run("train", {"model:m": b"M", "report:r": b"R"}, inputs=[taken(bad), taken(good)])
    score = world.note("score", {"report:s": b"S"}, [taken(train.outputs[0])])
    world.note("other", {"report:o": b"O"}, [taken(good)])
    made = quarantine(world, bad)
    assert (made.reason, made.until, made.version) == ("labels are wrong", None, bad.version)
    reached = {"dataset:bad@1"}
    assert taints(world, "dataset:bad") == {bad.run: reached}
    assert taints(world, "model:m") == taints(world, "report:r") == {train.run.uid: reached}
    assert taints(world, "report:s") == {score.run.uid: reached}
    assert taints(world, "report:o") == taints(world, "dataset:good") == {}
    release(world, made)
    assert not any(taints(world, name) for name in ("dataset:bad", "model:m", "report:r", "report:s"))


def test_a_version_is_live_until_it_is_quarantined_or_something_it_was_made_of_is(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    world.note("train", {"model:m": b"M"}, inputs=[taken(bad)])
    names = ["model:m", "dataset:bad@1", "dataset:bad@latest", "dataset:none"]
    references = [model.Reference.parse(name) for name in names]

    def states() -> list[object]:
        *found, absent = world.catalog.states(references)
        assert isinstance(absent, NotFound)
        return [str(state) for state in found]

    assert states() == ["live"] * 3
    made = quarantine(world, bad)
    assert states() == ["tainted", "quarantined", "quarantined"]
    release(world, made)
    assert states() == ["live"] * 3


def test_taint_follows_what_a_run_took_and_not_only_what_an_output_says(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    (good,) = world.note("load", {"dataset:good": b"G"}).outputs
    call = world.plain_call("mix", [taken(bad, "bad"), taken(good, "good")])
    world.begin(call)
    said = claim("model:m", b"M", derived_from=(taken(good).source,))
    report = world.report(call)
    world.catalog.finish_runs([model.Report(report.uid, call.run, report.state, ACTOR, outputs=(said,))])
    quarantine(world, bad)
    assert taints(world, "model:m") == {call.run: {"dataset:bad@1"}}


def test_what_is_made_later_of_what_is_tainted_is_tainted(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    began = world.plain_call("began before", [taken(bad)])
    world.begin(began)
    quarantine(world, bad)
    (first,) = world.finish(world.report(began, {"model:a": b"A"})).outputs
    late = world.plain_call("takes it late")
    world.begin(late)
    world.finish(world.report(late, {"model:b": b"B"}, inputs=(taken(first),)))
    (noted,) = world.note("note", {"model:c": b"C"}, [taken(first)]).outputs
    for name in ("model:a", "model:b", "model:c"):
        assert [*taints(world, name).values()] == [{"dataset:bad@1"}], name
    call = world.plain_call("add")
    world.begin(call)
    (added,) = simulator.one(
        world.catalog.add(
            [model.Addition(simulator.uid(), call.run, ACTOR, outputs=(claim("model:d", b"D"),))]
        )
    )
    below = world.note("below", {"model:e": b"E"}, [taken(added)])
    assert taints(world, "model:d") == taints(world, "model:e") == {}
    # An input that is said after the outputs taints those too, and what was made of them meanwhile.
    simulator.one(world.catalog.add([model.Addition(simulator.uid(), call.run, ACTOR, (taken(noted),))]))
    assert taints(world, "model:d") == {call.run: {"dataset:bad@1"}}
    assert taints(world, "model:e") == {below.run.uid: {"dataset:bad@1"}}


def test_only_the_production_that_was_taken_counts(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    (of_bad,) = world.note("from bad", {"model:m": b"M"}, [taken(bad)]).outputs
    (of_nothing,) = world.note("from nothing", {"model:m": b"M"}).outputs
    assert of_bad.version == of_nothing.version
    world.note("use", {"report:of-bad": b"1"}, [taken(of_bad)])
    world.note("use", {"report:of-nothing": b"2"}, [taken(of_nothing)])
    world.note("use", {"report:ambiguous": b"3"}, [taken(of_nothing, producer=False)])
    quarantine(world, bad)
    assert [*taints(world, "report:of-bad").values()] == [{"dataset:bad@1"}]
    assert taints(world, "report:of-nothing") == {}
    assert [*taints(world, "report:ambiguous").values()] == [{"dataset:bad@1"}]
    # A Version is tainted as soon as one production of it is.
    assert taints(world, "model:m") == {of_bad.run: {"dataset:bad@1"}}


def test_an_ambiguous_input_counts_only_what_was_recorded_before_its_run_started(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    (clean,) = world.note("from nothing", {"model:m": b"M"}).outputs
    early = world.plain_call("early", [taken(clean, producer=False)])
    world.begin(early)
    quarantine(world, bad)
    world.note("from bad", {"model:m": b"M"}, [taken(bad)])
    late = world.plain_call("late", [taken(clean, producer=False)])
    world.begin(late)
    world.finish(world.report(early, {"report:early": b"1"}))
    world.finish(world.report(late, {"report:late": b"2"}))
    assert taints(world, "report:early") == {}
    assert taints(world, "report:late") == {late.run: {"dataset:bad@1"}}


def test_one_of_two_quarantines_released_leaves_the_other(world: World) -> None:
    (one,) = world.note("load", {"dataset:one": b"1"}).outputs
    (two,) = world.note("load", {"dataset:two": b"2"}).outputs
    world.note("mix", {"model:m": b"M"}, [taken(one), taken(two)])
    first, second, again = quarantine(world, one), quarantine(world, two), quarantine(world, one, "worse")
    assert [*taints(world, "model:m").values()] == [{"dataset:one@1", "dataset:two@1"}]
    release(world, second)
    assert [*taints(world, "model:m").values()] == [{"dataset:one@1"}]
    release(world, first)
    assert [*taints(world, "model:m").values()] == [{"dataset:one@1"}]
    release(world, again)
    assert taints(world, "model:m") == {}


def test_the_same_bytes_published_again_are_quarantined_too(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    quarantine(world, bad)
    (again,) = world.note("load", {"dataset:bad": b"B"}).outputs
    assert taints(world, "dataset:bad") == {bad.run: {"dataset:bad@1"}, again.run: {"dataset:bad@1"}}


def test_nothing_tainted_is_reused_and_released_it_is_again(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    world.run("train", {"model:m": b"M"}, inputs=[taken(bad, "data")])
    assert isinstance(world.ask(world.call(inputs=[taken(bad, "data")])), cache.Reuse)
    made = quarantine(world, bad)
    tainted = world.call(inputs=[taken(bad, "data")])
    begun = world.begin(tainted)
    assert begun.reason is cache.Reason.TAINTED
    refused = world.finish(world.report(tainted, {"model:m": b"M"}, begun.token)).publication
    assert (refused.outcome, refused.why) == (model.Outcome.REFUSED, "quarantined")
    release(world, made)
    assert isinstance(world.ask(world.call(inputs=[taken(bad, "data")])), cache.Reuse)
    quarantine(world, world.produced["model:m"])
    assert world.begin(world.call(inputs=[taken(bad, "data")])).reason is cache.Reason.QUARANTINED


def test_what_is_downstream_of_the_quarantined_version_is_refused_as_tainted(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    quarantine(world, bad)
    (made,) = world.note("clean", {"dataset:cleaned": b"C"}, [taken(bad)]).outputs
    refused = world.run("train", {"model:m": b"M"}, inputs=[taken(made)]).publication
    assert (refused.outcome, refused.why) == (model.Outcome.REFUSED, "tainted")


@pytest.mark.parametrize("same", [True, False])
def test_a_sound_result_takes_the_place_of_a_tainted_one(world: World, same: bool) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    (from_bad,) = world.note("clean", {"dataset:cleaned": b"C"}, [taken(bad)]).outputs
    world.run("train", {"model:m": b"M"}, inputs=[taken(from_bad, "data")])
    quarantine(world, bad)
    # The same bytes, made otherwise: the key is the same, and what it took is not tainted.
    (from_good,) = world.note("clean", {"dataset:cleaned": b"C"}).outputs
    call = world.call(inputs=[taken(from_good, "data")])
    begun = world.begin(call)
    assert begun.reason is cache.Reason.TAINTED
    made = world.finish(world.report(call, {"model:m": b"M" if same else b"N"}, begun.token)).publication
    assert (made.outcome, made.is_divergence) == (model.Outcome.SUPERSEDED, not same)
    reused = world.ask(world.call(inputs=[taken(from_good, "data")]))
    assert isinstance(reused, cache.Reuse)
    assert reused.entry.run == call.run


def test_what_is_made_of_a_reused_output_depends_on_its_origin(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    origin = world.run("train", {"model:m": b"M"}, inputs=[taken(bad, "data")])
    reused = world.ask(world.call(inputs=[taken(bad, "data")]))
    assert isinstance(reused, cache.Reuse)
    world.note("score", {"report:r": b"R"}, [taken(reused.outputs[0])])
    quarantine(world, bad)
    assert [*taints(world, "report:r").values()] == [{"dataset:bad@1"}]
    assert taints(world, "model:m") == {origin.run.uid: {"dataset:bad@1"}}


def test_a_judgement_said_twice_is_one_and_another_under_its_id_is_refused(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    version = bad.version
    said = model.QuarantineClaim(simulator.uid(), version.artifact, version.digest, ACTOR, "wrong")
    first = simulator.one(world.catalog.quarantine([said]))
    assert simulator.one(world.catalog.quarantine([said])) == first
    other = model.QuarantineClaim(said.uid, version.artifact, version.digest, ACTOR, "other")
    with pytest.raises(Conflict):
        simulator.one(world.catalog.quarantine([other]))
    end = model.Release(simulator.uid(), said.uid, ACTOR, "right")
    ended = simulator.one(world.catalog.release([end]))
    assert ended == simulator.one(world.catalog.release([end]))
    assert (ended.released_because, ended.released_by) == ("right", ACTOR)
    assert ended.until is not None
    with pytest.raises(Conflict) as refused:
        simulator.one(world.catalog.release([model.Release(simulator.uid(), said.uid, ACTOR, "right")]))
    assert refused.value.kind is ErrorKind.WRONG_STATE
    assert len(world.catalog.facts()) == 3


def test_what_is_not_there_cannot_be_judged_nor_for_no_reason(world: World) -> None:
    (made,) = world.note("load", {"dataset:d": b"D"}).outputs
    artifact, absent = made.version.artifact, simulator.digest_of(b"never seen")
    claims = [model.QuarantineClaim(simulator.uid(), artifact, absent, ACTOR, "wrong")]
    claims += [model.QuarantineClaim(simulator.uid(), artifact, made.version.digest, ACTOR, " ")]
    (unknown, silent) = world.catalog.quarantine(claims)
    assert isinstance(unknown, NotFound)
    assert isinstance(silent, InvalidInput)
    (nothing,) = world.catalog.release([model.Release(simulator.uid(), simulator.uid(), ACTOR, "right")])
    assert isinstance(nothing, NotFound)
    assert nothing.kind is ErrorKind.NO_SUCH_JUDGEMENT
    assert len(world.catalog.facts()) == 1


def test_approvals_holds_and_deployments_are_told_with_who_when_and_why(world: World) -> None:
    (one,) = world.note("train", {"model:m": b"1"}).outputs
    (two,) = world.note("train", {"model:m": b"2"}).outputs
    named = (one.version.artifact, one.version.digest)
    approve = model.ApprovalClaim(simulator.uid(), *named, ACTOR, model.Decision.APPROVED, "reviewed")
    approval = simulator.one(world.catalog.approve([approve]))
    keep = model.HoldClaim(simulator.uid(), *named, ACTOR, "in court")
    hold = simulator.one(world.catalog.hold([keep]))
    first = model.DeploymentClaim(simulator.uid(), *named, "shop", ACTOR, "best so far")
    second = model.DeploymentClaim(
        simulator.uid(), two.version.artifact, two.version.digest, "shop", ACTOR, "better"
    )
    assert [found.until for found in world.catalog.deploy([first, second])] == [None, None]  # type: ignore[union-attr]
    told = judgements(world, "model:m@1")
    assert (told.approvals, told.holds) == ((approval,), (hold,))
    assert (approval.decision, approval.reason) == (model.Decision.APPROVED, "reviewed")
    (was,) = told.deployments
    (now,) = judgements(world, "model:m@2").deployments
    assert (was.until, was.ended_because, now.replaced) == (now.since, "better", one.version)
    nothing = model.DeploymentClaim(simulator.uid(), named[0], None, "shop", ACTOR, "closed")
    ended = simulator.one(world.catalog.deploy([nothing]))
    assert ended == simulator.one(world.catalog.deploy([nothing]))
    assert (ended.uid, ended.ended_because) == (second.uid, "closed")
    with pytest.raises(Conflict, match="no version of model:m serves"):
        simulator.one(world.catalog.deploy([model.DeploymentClaim(simulator.uid(), *nothing_of(nothing))]))
    assert release(world, hold).until is not None
    assert world.catalog.judged([hold.uid, simulator.uid()]) == {hold.uid: one.version}
    assert world.catalog.judged([second.uid]) == {second.uid: two.version}


def nothing_of(said: model.DeploymentClaim) -> tuple[model.Artifact, None, str, model.Actor]:
    return said.artifact, None, said.target, said.actor


def test_what_a_quarantine_reaches_is_told_with_the_way_there(world: World) -> None:
    (bad,) = world.note("load", {"dataset:bad": b"B"}).outputs
    train = world.run("train", {"model:m": b"M"}, inputs=[taken(bad)])
    made = train.outputs[0]
    (score,) = world.note("score", {"report:s": b"S"}, [taken(made)]).outputs
    named = (made.version.artifact, made.version.digest)
    simulator.one(
        world.catalog.move_aliases([model.AliasMove(simulator.uid(), named[0], "prod", named[1], ACTOR)])
    )
    simulator.one(
        world.catalog.deploy([model.DeploymentClaim(simulator.uid(), *named, "shop", ACTOR, "best")])
    )
    before = reach(world, "dataset:bad")
    assert [
        (each.version.ref, [(step.run, step.ref) for step in each.path]) for each in before.productions
    ] == [
        ("dataset:bad@1", [(bad.run, "dataset:bad@1")]),
        ("model:m@1", [(made.run, "model:m@1")]),
        ("report:s@1", [(made.run, "model:m@1"), (score.run, "report:s@1")]),
    ]
    assert [step.job for step in before.productions[2].path] == ["train", "score"]
    assert [alias.name for alias in before.aliases] == ["prod"]
    assert [deployment.target for deployment in before.deployments] == ["shop"]
    assert [entry.run for entry in before.entries] == [train.run.uid]
    assert before.counts == {
        "productions": 3, "versions": 3, "runs": 3, "aliases": 1, "deployments": 1, "entries": 1
    }  # fmt: skip
    quarantine(world, bad)
    assert reach(world, "dataset:bad") == before
    cut = reach(world, "dataset:bad", 1)
    assert (len(cut.productions), cut.counts) == (1, before.counts)
    with pytest.raises(InvalidInput):
        reach(world, "dataset:bad", 0)


def reach(world: World, reference: str, first: int = 100) -> replies.Reach:
    found: replies.Reach = simulator.one(world.catalog.reach([model.Reference.parse(reference)], first))
    return found

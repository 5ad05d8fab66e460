"""What a rerun would do, and how its outputs compare with the original's."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence_catalog import digest, lineage, model, rerun
from whence_catalog.errors import NotFound
from whence_catalog.lineage import Edge, EdgeType, Node, NodeType

T0 = datetime(2026, 5, 3, tzinfo=UTC)
SOURCE = digest.digest_of_bytes(b"source")
ENVIRONMENT = digest.digest_of_bytes(b"environment")


def uid(number: int) -> UUID:
    return UUID(int=number)


def version(name: str, data: bytes, strength: model.Strength = model.Strength.CONTENT) -> model.Version:
    content = model.Content(digest.digest_of_bytes(data), strength, size_bytes=len(data))
    return model.Version(model.Artifact("default", "dataset", name), 1, content, T0)


def recorded(**changes: object) -> model.RunRecord:
    """A Run that can be made again, but for `changes` to it or to its capture."""
    capture = model.Capture(
        entry="train:train", bundle=SOURCE, environment=ENVIRONMENT, rerunnable=True, because=None
    )
    names = model.Capture.__dataclass_fields__
    capture = replace(capture, **{k: v for k, v in changes.items() if k in names})  # type: ignore[arg-type]
    run = model.Run(
        uid=uid(1),
        project="default",
        job="train",
        state=model.RunState.COMPLETE,
        actor=model.Actor("ada"),
        started_at=T0,
        params={"c": 1.0},
        capture=capture,
    )
    run = replace(run, **{k: v for k, v in changes.items() if k not in names})  # type: ignore[arg-type]
    taken = model.Input("data", version("images", b"images"), uid(7))
    return model.RunRecord(run, (taken,), ())


# ── the plan for one Run ─────────────────────────────────────────────────────────────────────────


def test_a_run_with_all_that_it_needs_is_executed_and_the_plan_says_what_comes_back() -> None:
    planned = rerun.plan(recorded())
    assert planned.steps == (rerun.PlannedRun(uid(1), "train", rerun.Execute("it was asked for")),)
    assert planned.is_possible
    assert planned.restored == (
        f"source {SOURCE}",
        f"environment {ENVIRONMENT}",
        f"input data: dataset:images@1 {digest.digest_of_bytes(b'images')}",
        "parameters c",
    )
    assert planned.cannot == ()


def test_a_run_that_cannot_be_made_again_is_blocked_in_its_own_words() -> None:
    planned = rerun.plan(recorded(rerunnable=False, because="it was typed into a session"))
    assert planned.steps[0].step == rerun.Blocked(("it was typed into a session",))
    assert not planned.is_possible


def test_every_lost_blob_is_named() -> None:
    lost = frozenset({SOURCE, ENVIRONMENT, digest.digest_of_bytes(b"images")})
    step = rerun.plan(recorded(), lost).steps[0].step
    assert isinstance(step, rerun.Blocked)
    assert len(step.why) == 3
    for gone, why in zip((SOURCE, ENVIRONMENT, digest.digest_of_bytes(b"images")), step.why, strict=True):
        assert str(gone) in why


def test_a_lost_blob_of_something_else_blocks_nothing() -> None:
    assert rerun.plan(recorded(), frozenset({digest.digest_of_bytes(b"other")})).is_possible


def test_an_input_that_was_not_kept_blocks() -> None:
    record = recorded()
    taken = replace(record.inputs[0], version=version("images", b"images", model.Strength.PROVIDER))
    step = rerun.plan(replace(record, inputs=(taken,))).steps[0].step
    assert step == rerun.Blocked(
        ("input data (dataset:images@1) is identified by provider only, so its bytes were not kept",)
    )


def test_an_input_that_is_quarantined_or_came_from_what_is_says_by_whom_and_why() -> None:
    (taken,) = recorded().inputs
    raw = version("raw", b"raw")
    ada = model.Actor("ada")
    marks = {
        "is quarantined by ada, because a child is in it": model.Quarantine(
            uid(20), taken.version, T0, None, ada, "a child is in it"
        ),
        "came from dataset:raw@1, which is quarantined by ada, because of what was erased": model.Quarantine(
            uid(21), raw, T0, None, ada, None
        ),
    }
    taints = [model.Taint(uid(7), taken.version, quarantine) for quarantine in marks.values()]
    assert rerun.unfit(taken, taints) == tuple(f"input data (dataset:images@1) {why}" for why in marks)
    elsewhere = [replace(taint, run=uid(8)) for taint in taints]
    assert rerun.unfit(taken, elsewhere) == (), "another production of the same bytes is another"
    ended = [replace(t, quarantine=replace(t.quarantine, until=T0)) for t in taints]
    assert rerun.unfit(taken, ended) == ()


def test_a_reused_run_points_to_the_one_that_ran() -> None:
    step = rerun.plan(recorded(state=model.RunState.REUSED, origin=uid(9))).steps[0].step
    assert isinstance(step, rerun.Blocked)
    assert str(uid(9)) in step.why[0]


def test_a_running_run_is_not_made_again() -> None:
    assert rerun.obstacles(recorded(state=model.RunState.RUNNING)) == ("it is still running",)


def test_a_claim_to_be_rerunnable_without_source_is_not_believed() -> None:
    assert not rerun.plan(recorded(bundle=None)).is_possible


def test_a_run_without_an_environment_is_not_made_again_in_another() -> None:
    assert rerun.obstacles(recorded(environment=None)) == ("its environment was not recorded",)


def test_what_could_not_be_seen_is_among_what_cannot_be_restored() -> None:
    planned = rerun.plan(recorded(blind_spots=("native readers loaded",)))
    assert planned.is_possible
    assert planned.cannot == ("native readers loaded",)


# ── the plan for all that a Run came from ────────────────────────────────────────────────────────


def graph_of(
    flows: set[tuple[int, int]], runs: int, reuses: frozenset[tuple[int, int]] = frozenset()
) -> lineage.Graph:
    """Runs 1 … n; each flow (a, b) is a Version that a made and b took."""
    nodes = []
    for run in range(1, runs + 1):
        started_at = T0 + timedelta(seconds=run)
        nodes.append(Node(str(uid(run)), NodeType.RUN, f"job{run}", "complete", started_at))
    edges = []
    for a, b in sorted(flows):
        made = f"dataset:d{a}-{b}@1"
        nodes.append(Node(made, NodeType.VERSION, f"d{a}-{b}", "live", T0, "dataset"))
        edges.append(Edge(str(uid(a)), made, EdgeType.OUTPUT, "out", 0, None, False, a))
        edges.append(Edge(made, str(uid(b)), EdgeType.INPUT, "in", 0, str(uid(a)), False, b))
    edges += [
        Edge(str(uid(a)), str(uid(b)), EdgeType.REUSED, "", 0, None, False, b) for a, b in sorted(reuses)
    ]
    return lineage.Graph((str(uid(runs)),), tuple(nodes), tuple(edges), lineage.Completeness(True))


CHAIN = graph_of({(1, 2), (2, 3)}, 3)
ALL = frozenset({uid(1), uid(2), uid(3)})


def steps(plan: rerun.RerunPlan) -> dict[int, rerun.RerunStep]:
    return {planned.run.int: planned.step for planned in plan.steps}


def test_where_nothing_changed_everything_is_reused() -> None:
    assert steps(rerun.plan_chain(CHAIN, uid(3), ALL, {}, {})) == {
        1: rerun.Reuse(),
        2: rerun.Reuse(),
        3: rerun.Reuse(),
    }


def test_what_follows_a_run_that_executes_depends_on_what_it_makes() -> None:
    plan = rerun.plan_chain(CHAIN, uid(3), ALL, {uid(1): "its code changed"}, {})
    assert steps(plan) == {
        1: rerun.Execute("its code changed"),
        2: rerun.Conditional((uid(1),)),
        3: rerun.Conditional((uid(2),)),
    }
    assert [planned.job for planned in plan.steps] == ["job1", "job2", "job3"]


def test_a_run_without_an_entry_executes_although_nothing_changed() -> None:
    plan = steps(rerun.plan_chain(CHAIN, uid(3), ALL - {uid(2)}, {}, {}))
    assert isinstance(plan[1], rerun.Reuse)
    assert isinstance(plan[2], rerun.Execute)
    assert isinstance(plan[3], rerun.Conditional)


def test_a_blocked_run_blocks_all_that_needs_it() -> None:
    plan = rerun.plan_chain(CHAIN, uid(3), ALL, {uid(1): "its code changed"}, {uid(1): ("no source",)})
    assert steps(plan)[1] == rerun.Blocked(("no source",))
    assert steps(plan)[2] == rerun.Blocked((f"it takes what run {uid(1)} made, which is blocked",))
    assert isinstance(steps(plan)[3], rerun.Blocked)
    assert not plan.is_possible


def test_an_obstacle_to_what_can_be_reused_blocks_nothing() -> None:
    assert rerun.plan_chain(CHAIN, uid(3), ALL, {}, {uid(1): ("no source",)}).is_possible


def test_an_obstacle_that_may_come_to_matter_is_said() -> None:
    plan = rerun.plan_chain(CHAIN, uid(3), ALL, {uid(1): "its code changed"}, {uid(2): ("no source",)})
    assert steps(plan)[2] == rerun.Conditional((uid(1),), ("no source",))


def test_a_reused_run_stands_as_its_origin_does() -> None:
    graph = graph_of({(1, 2)}, 3, frozenset({(2, 3)}))
    usable = frozenset({uid(1), uid(2)})
    assert isinstance(steps(rerun.plan_chain(graph, uid(3), usable, {}, {}))[3], rerun.Reuse)
    stopped = rerun.plan_chain(graph, uid(3), usable, {}, {uid(2): ("no source",)})
    assert isinstance(steps(stopped)[3], rerun.Reuse)


def test_runs_that_the_wanted_one_did_not_come_from_are_left_alone() -> None:
    assert steps(rerun.plan_chain(CHAIN, uid(2), ALL, {}, {})).keys() == {1, 2}


def test_a_plan_over_part_of_a_lineage_says_so() -> None:
    for completeness in (
        lineage.Completeness(False, ("depth 5 reached",), "…"),
        lineage.Completeness(True, ambiguous=1),
        lineage.Completeness(True, unknown_producers=1),
    ):
        plan = rerun.plan_chain(replace(CHAIN, completeness=completeness), uid(3), ALL, {}, {})
        assert not plan.complete
        assert plan.cannot[0].startswith("not all that it came from is known: ")


def test_a_run_outside_the_graph_has_no_plan() -> None:
    with pytest.raises(NotFound):
        rerun.plan_chain(CHAIN, uid(8), ALL, {}, {})


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_plan_promises_no_more_than_its_facts_allow(seed: int, runs: int) -> None:
    chance = Random(seed)
    pairs = itertools.combinations(range(1, runs + 1), 2)
    flows = {pair for pair in pairs if chance.random() < 0.4}
    usable = frozenset(uid(run) for run in range(1, runs + 1) if chance.random() < 0.7)
    changed = {uid(run): "changed" for run in range(1, runs + 1) if chance.random() < 0.2}
    stuck = {uid(run): ("stuck",) for run in range(1, runs + 1) if chance.random() < 0.3}
    planned = steps(rerun.plan_chain(graph_of(flows, runs), uid(runs), usable, changed, stuck))
    for run, step in planned.items():
        before = [planned[a] for a, b in flows if b == run]
        settled = all(isinstance(s, rerun.Reuse) for s in before)
        holds = uid(run) in usable and uid(run) not in changed
        match step:
            case rerun.Reuse():
                assert settled
                assert holds
            case rerun.Execute():
                assert settled
                assert not holds
                assert uid(run) not in stuck
            case rerun.Conditional(on):
                assert not any(isinstance(s, rerun.Blocked) for s in before)
                assert {o.int for o in on} == {
                    a for a, b in flows if b == run and not isinstance(planned[a], rerun.Reuse)
                }
            case rerun.Blocked():
                lost = any(isinstance(s, rerun.Blocked) for s in before)
                assert lost or (settled and not holds and uid(run) in stuck)


def test_each_step_can_be_told_to_people() -> None:
    assert rerun.describe(rerun.Reuse()) == "reuse"
    assert rerun.describe(rerun.Execute("its code changed")) == "execute: its code changed"
    assert rerun.describe(rerun.Blocked(("a", "b"))) == "blocked: a; b"
    assert rerun.describe(rerun.Conditional((uid(1),), ("no source",))) == (
        f"depends on what {uid(1)} will make; if it has to run, it cannot: no source"
    )

"""The verb `plan`, over real catalogs: real keys, entries, quarantines and histories."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.simulator import ACTOR, World, digest_of, one, taken, uid
from whence_catalog import cache, digest, inventory, model, plans
from whence_catalog.errors import InvalidInput, NotFound
from whence_catalog.sql.catalog import SqlCatalog

CAPTURE = model.Capture(
    entry="pipeline:step",
    bundle=digest_of(b"source"),
    environment=digest_of(b"environment"),
    rerunnable=True,
    because=None,
)


@dataclass
class Pipeline:
    """Steps whose keys are made as the SDK makes them; what each made is known by the name of its job."""

    world: World
    made: dict[str, model.Output] = field(default_factory=dict)

    def publish(self, name: str, content: bytes) -> model.Output:
        """Data from outside, of a Run that has no key."""
        (output,) = self.world.note("whence.publish", {f"dataset:{name}": content}).outputs
        self.made[name] = output
        return output

    def step(
        self,
        job: str,
        takes: Sequence[str] = (),
        content: bytes | None = None,
        *,
        c: object = 1,
        capture: model.Capture = CAPTURE,
        state: model.RunState = model.RunState.COMPLETE,
        uncovered: tuple[str, ...] = (),
        **fields: object,
    ) -> uuid.UUID:
        """Run a step for real, publish what it made; answers its Run. What was `uncovered` by its key is told in the end."""
        world = self.world
        inputs = tuple(replace(taken(self.made[name]), role=name) for name in takes)
        components = components_of(job, c, {i.role: i.source.digest for i in inputs})
        call = world.call(
            job,
            c,
            inputs,
            key=cache.key(components),
            components=components,
            capture=capture,
            **fields,
        )
        begun = world.begin(call)
        outputs = {f"model:{job}": content or job.encode()} if state is model.RunState.COMPLETE else {}
        finished = world.finish(world.report(call, outputs, begun.token, state, uncacheable=uncovered))
        for output in finished.outputs:
            self.made[job] = output
        return call.run

    def plan(self, *targets: str, projects: Sequence[str] | None = None, **asked: object) -> plans.RerunPlan:
        request = plans.PlanRequest(uid(), tuple(targets), **asked)  # type: ignore[arg-type]
        return self.world.catalog.plan(request, projects)

    def instead(self, name: str, **asked: object) -> Mapping[str, plans.Replacement]:
        """A recorded production, in place of every version of `dataset:x`."""
        output = self.made[name]
        return {"dataset:x": plans.Replacement(output.version.artifact, output.version.content, output.run)}


def components_of(job: str, c: object, inputs: Mapping[str, digest.Digest]) -> tuple[model.Component, ...]:
    parts: list[model.Component] = [
        cache.component("scope", "default"),
        cache.component("job", job),
        cache.component("params", c, "params/c"),  # type: ignore[arg-type]
    ]
    for role, named in inputs.items():
        parts.append(cache.component("inputs", [["content", named.raw]], f"inputs/{role}"))
    return tuple(parts)


def words(plan: plans.RerunPlan) -> dict[str, str]:
    return {each.job: plans.name(each.step) for each in plan.steps}


@pytest.fixture
def pipeline(world: World) -> Pipeline:
    """x → clean → train → score, and y → other, which nothing takes."""
    made = Pipeline(world)
    made.publish("x", b"x1")
    made.step("clean", ["x"])
    made.step("train", ["clean"])
    made.step("score", ["train", "x"])
    return made


def test_nothing_has_to_be_done_where_nothing_changed(pipeline: Pipeline) -> None:
    plan = pipeline.plan("model:score")
    assert words(plan) == {
        "whence.publish": "reuse",
        "clean": "reuse",
        "train": "reuse",
        "score": "reuse",
    }
    assert plan.complete
    assert plan.targets == (pipeline.made["score"].run,)
    assert plan.position == pipeline.world.catalog.facts(0, 1000)[-1].position


def test_other_data_is_executed_from_where_it_goes_in(pipeline: Pipeline) -> None:
    other = pipeline.publish("x", b"x2")
    plan = pipeline.plan("model:score@1", inputs=pipeline.instead("x"))
    assert words(plan) == {"clean": "execute", "train": "conditional", "score": "conditional"}
    (clean, _, score) = plan.steps
    assert clean.takes[0].content == other.version.content
    assert clean.takes[0].producer == other.run
    assert clean.key == cache.key(components_of("clean", 1, {"x": other.version.digest}))
    assert {taken.role: taken.step for taken in score.takes} == {
        "train": pipeline.made["train"].run,
        "x": None,
    }


def test_only_the_selected_version_is_replaced(pipeline: Pipeline) -> None:
    pipeline.publish("x", b"x2")
    swaps = pipeline.instead("x")
    with pytest.raises(InvalidInput, match="took"):
        pipeline.plan("model:score@1", inputs={"dataset:x@2": swaps["dataset:x"]})
    plan = pipeline.plan("model:score@1", inputs={"dataset:x@1": swaps["dataset:x"]})
    assert words(plan)["clean"] == "execute"
    # However often it is named, one thing takes its place.
    by_digest = f"dataset:x@{digest_of(b'x1').text}"
    twice = {"dataset:x@1": swaps["dataset:x"], by_digest: swaps["dataset:x"]}
    assert pipeline.plan("model:score@1", inputs=twice).steps == plan.steps
    twice[by_digest] = replace(swaps["dataset:x"], content=model.Content(digest_of(b"x3")))
    with pytest.raises(InvalidInput, match=f"dataset:x@1 and {by_digest} are one version"):
        pipeline.plan("model:score@1", inputs=twice)


def test_a_plan_equals_what_a_reserve_would_answer(pipeline: Pipeline) -> None:
    """The key that is planned is found by an ordinary call, and the other way round."""
    pipeline.publish("x", b"x2")
    request = pipeline.instead("x")
    pipeline.step("clean", ["x"], b"clean")  # an ordinary call, which makes the same bytes as before
    plan = pipeline.plan("model:score@1", inputs=request)
    assert words(plan) == {"clean": "reuse", "train": "reuse", "score": "execute"}
    reuse = plan.steps[0].step
    assert isinstance(reuse, plans.Reuse)
    assert reuse.run == pipeline.made["clean"].run
    assert [made.content.digest for made in reuse.outputs] == [digest_of(b"clean")]


def test_another_parameter_of_one_job(pipeline: Pipeline) -> None:
    plan = pipeline.plan("model:score", params={"train": {"c": 2}})
    assert words(plan) == {
        "whence.publish": "reuse",
        "clean": "reuse",
        "train": "execute",
        "score": "conditional",
    }
    with pytest.raises(InvalidInput, match="no run of nobody"):
        pipeline.plan("model:score", params={"nobody": {"c": 2}})


def test_what_came_of_a_version_is_followed_downstream(pipeline: Pipeline) -> None:
    pipeline.publish("y", b"y1")
    pipeline.step("other", ["y", "train"])
    plan = pipeline.plan(downstream_of=("dataset:x@1",), inputs=pipeline.instead("x"))
    assert words(plan) == dict.fromkeys(("clean", "train", "score", "other"), "reuse")
    pipeline.publish("x", b"x2")
    plan = pipeline.plan(downstream_of=("dataset:x@1",), inputs=pipeline.instead("x"))
    assert words(plan) == {
        "clean": "execute",
        "train": "conditional",
        "score": "conditional",
        "other": "conditional",
    }


def test_what_lies_between_is_planned_where_both_ends_are_named(pipeline: Pipeline) -> None:
    plan = pipeline.plan("model:train", downstream_of=("dataset:x@1",))
    assert words(plan) == {"clean": "reuse", "train": "reuse"}


def test_a_run_whose_key_was_refused_has_none_in_a_plan(pipeline: Pipeline) -> None:
    why = ("it ran code that its key does not cover: f",)
    run = pipeline.step("holey", ["clean"], uncovered=why)
    assert str(pipeline.world.catalog.run(str(run)).run.outcome) == f"refused: {why[0]}"
    planned = pipeline.plan("model:holey").steps[-1]
    assert planned.key is None
    assert planned.step == plans.Reuse(
        run, "it has no key, and nothing that it took changed", planned.step.outputs
    )
    planned = pipeline.plan("model:holey", params={"holey": {"c": 2}}).steps[-1]
    assert isinstance(planned.step, plans.Execute)
    assert (planned.key, planned.components) == (None, ())


def test_a_failed_run_needs_what_it_took_and_itself(pipeline: Pipeline) -> None:
    failed = pipeline.step("deploy", ["score"], state=model.RunState.FAILED)
    plan = pipeline.plan(str(failed))
    assert words(plan) == {
        "whence.publish": "reuse",
        "clean": "reuse",
        "train": "reuse",
        "score": "reuse",
        "deploy": "execute",
    }


def again(pipeline: Pipeline, job: str, content: bytes, **fields: object) -> uuid.UUID:
    """Make a step's Run once more, as `whence rerun` does: without a key, pointing to the first."""
    world, record = pipeline.world, pipeline.world.catalog.run(str(pipeline.made[job].run))
    taken_ = tuple(
        model.InputClaim(i.role, model.Source(i.version.artifact, i.version.digest, i.producer), i.ordinal)
        for i in record.inputs
    )
    known = {"rerun_of": record.run.uid, "params": record.run.params, "capture": CAPTURE}
    call = world.plain_call(job, taken_, **{**known, **fields})
    begun = world.begin(call)
    for output in world.finish(world.report(call, {f"model:{job}": content}, begun.token)).outputs:
        pipeline.made[job] = output
    return call.run


def test_what_was_made_once_more_as_it_was_is_planned_as_the_first(pipeline: Pipeline) -> None:
    first = pipeline.made["clean"].run
    repeated = again(pipeline, "clean", b"clean")
    pipeline.step("later", ["clean"])  # takes the newest production
    plan = pipeline.plan("model:clean", "model:later", params={"clean": {"c": 2}})
    steps = {each.job: each for each in plan.steps}
    assert plan.targets[0] == repeated
    assert (steps["clean"].run, steps["clean"].recipe) == (repeated, first)
    assert steps["clean"].key == cache.key(components_of("clean", 2, {"x": digest_of(b"x1")}))
    assert isinstance(steps["later"].step, plans.Conditional)
    assert words(pipeline.plan("model:clean")) == {"whence.publish": "reuse", "clean": "reuse"}
    # One that came out otherwise, or was another call, speaks for itself.
    for content, fields in (
        (b"other", {}),
        (b"clean", {"capture": replace(CAPTURE, entry="pipeline:other")}),
    ):
        repeated = again(pipeline, "clean", content, **fields)
        step = pipeline.plan(str(repeated)).steps[-1]
        assert (step.run, step.recipe, step.key) == (repeated, repeated, None)


def test_what_was_made_once_more_leads_to_nothing_and_is_planned_all_the_same(pipeline: Pipeline) -> None:
    nobody = again(pipeline, "clean", b"clean", rerun_of=uuid.uuid4())
    far = again(pipeline, "train", b"train", rerun_of=uuid.uuid4())
    for _ in range(2):
        far = again(pipeline, "train", b"train", rerun_of=far)
    itself = uuid.uuid4()
    again(pipeline, "score", b"score", run=itself, rerun_of=itself)
    plan = pipeline.plan(str(nobody), str(far), str(itself))
    assert {step.run for step in plan.steps} >= {nobody, far, itself}


def test_what_came_of_a_version_is_no_failed_attempt_and_no_repetition(pipeline: Pipeline) -> None:
    failed = pipeline.step("clean", ["x"], c=7, state=model.RunState.FAILED)
    again(pipeline, "clean", b"clean")
    again(pipeline, "train", b"comes out otherwise")
    downstream = {"downstream_of": ("dataset:x@1",)}
    assert pipeline.plan(**downstream).counts == {"reuse": 3, "execute": 0, "conditional": 0, "blocked": 0}
    assert words(pipeline.plan(str(failed), **downstream)) == {"clean": "execute"}
    # What something takes from a repetition is a part, and so is that.
    pipeline.step("deploy", ["train"])
    assert len(pipeline.plan(**downstream).steps) == 5


def test_a_call_that_was_answered_by_what_was_really_read_is_known_under_that(pipeline: Pipeline) -> None:
    world, state = pipeline.world, {"a": 1, "b": 2}
    first = world.tracking_call("reader", state, capture=CAPTURE)
    begun = world.begin(first)
    report = world.report(first, {"model:reader": b"read"}, begun.token)
    world.finish(replace(report, trace=world.read(first, state, "a")))
    asked = world.tracking_call("reader", state, capture=CAPTURE)
    assert isinstance(world.ask(asked), cache.Reuse)
    for run in (first.run, asked.run):
        assert words(pipeline.plan(str(run))) == {"reader": "reuse"}


def test_a_reused_run_stands_for_its_origin(pipeline: Pipeline) -> None:
    call = pipeline.world.call(
        "clean",
        1,
        [replace(taken(pipeline.made["x"]), role="x")],
        key=(key := cache.key(parts := components_of("clean", 1, {"x": digest_of(b"x1")}))),
        components=parts,
    )
    assert isinstance(pipeline.world.ask(call), cache.Reuse), key
    plan = pipeline.plan(str(call.run))
    planned = plan.steps[-1]
    assert planned.run == call.run
    assert planned.recipe == pipeline.made["clean"].run
    assert isinstance(planned.step, plans.Reuse)


def test_an_entry_that_was_revoked_is_executed_again(pipeline: Pipeline) -> None:
    key = cache.key(components_of("train", 1, {"clean": digest_of(b"clean")}))
    revocation = inventory.Revocation(uid(), "default", (key,), ACTOR, "it is wrong")
    one(pipeline.world.catalog.revoke_entries([revocation]))
    before = pipeline.plan("model:score")
    assert words(before)["train"] == "execute"
    assert words(before)["score"] == "conditional"
    read = {each.name: each for each in before.read}
    assert read[key].said == f"run {pipeline.made['train'].run}, revoked"


def test_what_a_plan_read_is_compared_with_what_is_so_now(pipeline: Pipeline) -> None:
    before = pipeline.plan("model:score", params={"train": {"c": 2}})
    again = pipeline.world.catalog.plan(replace(before.request, as_of=before.position))
    assert plans.differences(before, again) == ()
    run = pipeline.step("train", ["clean"], b"other", c=2)
    again = pipeline.world.catalog.plan(replace(before.request, as_of=before.position))
    (difference,) = plans.differences(before, again)
    assert difference.endswith(f"was none, is run {run}")
    assert plans.differences(before, again, own=frozenset({run})) == ()


def test_an_alias_that_moved_shows_and_the_plan_is_still_of_what_it_meant(pipeline: Pipeline) -> None:
    catalog = pipeline.world.catalog

    def point(version: model.Version) -> None:
        move = model.AliasMove(uid(), version.artifact, "prod", version.digest, ACTOR, "it is good")
        one(catalog.move_aliases([move]))

    point(pipeline.made["score"].version)
    point(pipeline.publish("x", b"x2").version)
    # One says what is planned, the other what is taken in the place of something.
    swap = replace(pipeline.instead("x")["dataset:x"], named="dataset:x@prod")
    before = pipeline.plan("model:score@prod", inputs={"dataset:x@1": swap})
    pipeline.step("score", ["train", "x"], b"better", c=3)
    point(pipeline.made["score"].version)
    point(pipeline.publish("x", b"x3").version)
    again = catalog.plan(replace(before.request, as_of=before.position))
    assert again.targets == before.targets
    assert plans.differences(before, again) == (
        "alias model:score@prod: was model:score@1, is model:score@2",
        "alias dataset:x@prod: was dataset:x@2, is dataset:x@3",
    )


def test_a_quarantined_input_blocks_and_a_replacement_unblocks(pipeline: Pipeline) -> None:
    bad = pipeline.made["x"].version
    pipeline.publish("x", b"x2")
    one(
        pipeline.world.catalog.quarantine(
            [model.QuarantineClaim(uid(), bad.artifact, bad.digest, ACTOR, "mislabelled")]
        )
    )
    downstream = {"downstream_of": ("dataset:x@1",)}
    plan = pipeline.plan(**downstream)
    assert set(words(plan).values()) == {"blocked"}
    assert isinstance(plan.steps[0].step, plans.Blocked)
    assert "quarantined" in plan.steps[0].step.why[0]
    assert words(pipeline.plan(**downstream, inputs=pipeline.instead("x")))["clean"] == "execute"


def test_a_run_that_nobody_can_make_again_is_blocked_with_the_reason(pipeline: Pipeline) -> None:
    pipeline.step("closed", ["score"], capture=model.Capture(because="it is a lambda"))
    plan = pipeline.plan("model:closed", params={"closed": {"c": 5}})
    assert plan.steps[-1].step == plans.Blocked(("it is a lambda",))
    plan = pipeline.plan("model:score", unavailable=frozenset({digest_of(b"source"), digest_of(b"score")}))
    lost = "is missing or altered in the store"
    assert plan.steps[-1].step == plans.Blocked(
        (f"what it made {lost}", f"its source {digest_of(b'source')} {lost}")
    )


def test_an_input_without_a_producer_is_of_the_newest_before_and_the_plan_is_not_complete(
    world: World,
) -> None:
    made = Pipeline(world)
    made.publish("x", b"x1")
    first = made.publish("x", b"x1")
    inputs = (replace(taken(first, producer=False), role="x"),)
    parts = components_of("clean", 1, {"x": digest_of(b"x1")})
    call = world.call("clean", 1, inputs, key=cache.key(parts), components=parts, capture=CAPTURE)
    begun = world.begin(call)
    world.finish(world.report(call, {"model:clean": b"clean"}, begun.token))
    plan = made.plan("model:clean")
    assert not plan.complete
    assert plan.reasons == ("1 inputs may be of several productions; the newest is taken",)
    assert plan.steps[-1].takes[0].may_be


def test_runs_beyond_the_bound_are_taken_as_they_stand_and_the_plan_says_so(pipeline: Pipeline) -> None:
    plan = pipeline.plan("model:score", max_runs=1)
    assert words(plan) == {"score": "reuse"}
    assert not plan.complete
    assert "more than 1 runs" in plan.reasons[0]


def test_what_is_expected_comes_from_the_last_runs_of_the_job(pipeline: Pipeline) -> None:
    plan = pipeline.plan("model:score", params={"train": {"c": 2}, "score": {"c": 2}})
    expected = {each.job: each.expected for each in plan.steps}
    assert expected["clean"] is None
    train = expected["train"]
    assert train is not None
    assert train.runs == 1
    assert train.seconds is not None
    assert train.seconds >= 0


def test_runs_of_other_projects_are_counted_and_what_they_made_is_not_told(world: World) -> None:
    elsewhere = World(world.catalog, "secret")
    (output,) = elsewhere.note("whence.publish", {"secret/dataset:x": b"x1"}).outputs
    made = Pipeline(world, {"x": output})
    made.step("clean", ["x"])
    assert len(made.plan("model:clean").steps) == 2
    plan = made.plan("model:clean", projects=["default"])
    assert words(plan) == {"clean": "reuse"}
    assert not plan.complete
    assert "secret" not in str(plan)
    assert digest_of(b"x1").text not in str(plan)


def test_what_another_project_has_under_a_key_is_not_told(tmp_path: Path) -> None:
    """Servers refuse a key that is of another project; nobody keeps that from whoever opens the database."""
    opened = SqlCatalog.open(tmp_path / "catalog.db")
    here, there = Pipeline(World(opened)), Pipeline(World(opened, "secret"))
    here.publish("x", b"x1")
    mine = str(here.step("clean", ["x"]))
    there.made["x"] = here.made["x"]
    theirs = str(there.step("clean", ["x"], c=2))
    changed = {"params": {"clean": {"c": 2}}}
    assert theirs in str(here.plan(mine, **changed))
    assert theirs not in str(here.plan(mine, projects=["default"], **changed))
    opened.close()


def test_what_is_not_recorded_cannot_be_planned(pipeline: Pipeline) -> None:
    with pytest.raises(NotFound):
        pipeline.plan("model:nothing")
    with pytest.raises(InvalidInput, match="nothing"):
        pipeline.plan()

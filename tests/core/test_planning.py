"""Which of Reuse, Execute, Conditional and Blocked a recorded Run comes to."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator

from whence import planned
from whence_catalog import cache, digest, model, planning, plans, wire
from whence_catalog.errors import InvalidInput

PROJECT = "default"


def run_id(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


def artifact(name: str) -> model.Artifact:
    return model.Artifact(PROJECT, "file", name)


def content(text: str) -> model.Content:
    return model.Content(digest.digest_of_bytes(text.encode()), size_bytes=len(text))


def made(run: int, role: str, text: str) -> plans.Made:
    return plans.Made(role, artifact(role), content(text), run_id(run))


def took(role: str, name: str, text: str, *producers: int, may_be: bool = False) -> planning.Take:
    return planning.Take(
        role, 0, artifact(name), content(text), tuple(run_id(p) for p in producers), may_be=may_be
    )


@dataclass
class Recorded:
    """What is recorded, by hand: recipes with keys of real components, and the entries that there are."""

    recipes: list[planning.Recipe] = field(default_factory=list)
    parts: dict[uuid.UUID, tuple[model.Component, ...]] = field(default_factory=dict)
    found: dict[str, planning.Entry] = field(default_factory=dict)
    why_not: dict[uuid.UUID, tuple[str, ...]] = field(default_factory=dict)
    bad: dict[tuple[model.Artifact, digest.Digest], model.VersionState] = field(default_factory=dict)
    past: dict[tuple[str, str], plans.Expected] = field(default_factory=dict)

    def step(
        self,
        number: int,
        takes: Sequence[planning.Take] = (),
        output: str = "out",
        *,
        c: object = 1,
        job: str | None = None,
        is_entered: bool = True,
        is_keyed: bool = True,
        state: model.RunState = model.RunState.COMPLETE,
    ) -> planning.Recipe:
        """A recorded Run of job `j<number>`, which made `output` in the role of that name."""
        job = job or f"j{number}"
        components = components_of(job, c, {take.role: [take.content] for take in takes})
        key = cache.key(components) if is_keyed else None
        outputs = (made(number, f"o{number}", output),) if state is model.RunState.COMPLETE else ()
        recipe = planning.Recipe(
            run_id(number), run_id(number), PROJECT, job, state, key, tuple(takes), outputs
        )
        self.recipes.append(recipe)
        self.parts[recipe.run] = components
        if key is not None and is_entered and outputs:
            self.found[key] = planning.Entry(recipe.run, outputs)
        return recipe

    def entries(self, keys: Sequence[str]) -> Mapping[str, planning.Entry]:
        return {key: self.found[key] for key in keys if key in self.found}

    def components(self, runs: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Sequence[model.Component]]:
        return {run: self.parts[run] for run in runs if run in self.parts}

    def obstacles(self, runs: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, tuple[str, ...]]:
        return {run: self.why_not[run] for run in runs if run in self.why_not}

    def states(
        self, versions: Sequence[tuple[model.Artifact, digest.Digest]]
    ) -> Mapping[tuple[model.Artifact, digest.Digest], model.VersionState]:
        return {each: self.bad[each] for each in versions if each in self.bad}

    def history(self, jobs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], plans.Expected]:
        return {job: self.past[job] for job in jobs if job in self.past}

    def plan(self, *swaps: tuple[str, str], **asked: object) -> dict[int, plans.PlannedRun]:
        """What becomes of each, by its number; a swap puts text in the place of an artifact's content."""
        return by_number(self.whole(*swaps, **asked))  # type: ignore[arg-type]

    def whole(
        self, *swaps: tuple[str, str], targets: Sequence[int] = (), path: str | None = None, **asked: object
    ) -> plans.RerunPlan:
        """All of the plan: what becomes of each, and what that rests on. A swap is recorded, unless it is at a path."""
        request = plans.PlanRequest(run_id(99), **asked)  # type: ignore[arg-type]
        by = run_id(50) if path is None else None
        replaced = {
            (artifact(name), None): plans.Replacement(artifact(name), content(text), by, path)
            for name, text in swaps
        }
        planned = planning.plan(request, replaced, self.recipes, self, frozenset(map(run_id, targets)))
        return plans.RerunPlan(
            run_id(99), 7, request, (), planned.steps, planned.read, reasons=planned.reasons
        )


def by_number(plan: plans.RerunPlan) -> dict[int, plans.PlannedRun]:
    return {each.run.int: each for each in plan.steps}


def components_of(
    job: str, c: object, inputs: Mapping[str, Sequence[model.Content]]
) -> tuple[model.Component, ...]:
    rows: list[model.Component] = [
        cache.component("scope", PROJECT),
        cache.component("job", job),
        cache.component("params", c, "params/c"),  # type: ignore[arg-type]
    ]
    for role, members in inputs.items():
        ordered: list[digest.Framed] = [[m.strength.value, m.digest.raw] for m in members]
        rows.append(cache.component("inputs", ordered, f"inputs/{role}"))
    return tuple(rows)


def chain(recorded: Recorded) -> None:
    """x → 1 → 2 → 3, each with an entry."""
    recorded.step(1, [took("data", "x", "x1")], "one")
    recorded.step(2, [took("data", "o1", "one", 1)], "two")
    recorded.step(3, [took("data", "o2", "two", 2)], "three")


def words(planned: Mapping[int, plans.PlannedRun]) -> dict[int, str]:
    return {number: plans.name(each.step) for number, each in planned.items()}


def test_where_nothing_changed_all_is_reused() -> None:
    recorded = Recorded()
    chain(recorded)
    assert words(recorded.plan()) == {1: "reuse", 2: "reuse", 3: "reuse"}


def test_a_changed_input_is_executed_and_what_takes_its_output_waits_for_that() -> None:
    recorded = Recorded()
    chain(recorded)
    planned = recorded.plan(("x", "x2"))
    assert words(planned) == {1: "execute", 2: "conditional", 3: "conditional"}
    assert planned[2].step == plans.Conditional((run_id(1),))
    assert planned[3].step == plans.Conditional((run_id(2),))
    assert planned[1].changed == ("inputs/data",)


def test_the_new_key_is_that_of_an_ordinary_call() -> None:
    recorded = Recorded()
    chain(recorded)
    ordinary = cache.key(components_of("j1", 1, {"data": [content("x2")]}))
    planned = recorded.plan(("x", "x2"))
    assert planned[1].key == ordinary
    assert cache.key(planned[1].components) == ordinary


def test_what_the_same_call_made_before_is_reused_and_goes_on_from_there() -> None:
    recorded = Recorded()
    chain(recorded)
    before = cache.key(components_of("j1", 1, {"data": [content("x0")]}))
    recorded.found[before] = planning.Entry(run_id(7), (made(7, "o1", "other"),))
    planned = recorded.plan(("x", "x0"))
    assert words(planned) == {1: "reuse", 2: "execute", 3: "conditional"}
    assert planned[2].takes[0].producer == run_id(7)


def test_the_same_bytes_from_another_run_end_the_change() -> None:
    recorded = Recorded()
    chain(recorded)
    before = cache.key(components_of("j1", 1, {"data": [content("x0")]}))
    recorded.found[before] = planning.Entry(run_id(7), (made(7, "o1", "one"),))
    assert words(recorded.plan(("x", "x0"))) == {1: "reuse", 2: "reuse", 3: "reuse"}


def test_a_changed_parameter_changes_the_key_of_its_job_alone() -> None:
    recorded = Recorded()
    chain(recorded)
    planned = recorded.plan(params={"j2": {"c": 2}})
    assert words(planned) == {1: "reuse", 2: "execute", 3: "conditional"}
    assert planned[2].changed == ("params/c",)


def test_a_parameter_that_has_that_value_already_changes_nothing() -> None:
    recorded = Recorded()
    chain(recorded)
    assert words(recorded.plan(params={"j2": {"c": 1}})) == {1: "reuse", 2: "reuse", 3: "reuse"}


def test_other_code_changes_the_key_and_says_how_it_would_be_run() -> None:
    recorded = Recorded()
    chain(recorded)
    new = plans.NewCode((cache.component("code", {"f": b"2"}),), model.Capture(rerunnable=True))
    planned = recorded.plan(code={"j3": new})
    assert words(planned) == {1: "reuse", 2: "reuse", 3: "execute"}
    assert planned[3].changed == ("code",)


def test_of_jobs_with_one_name_only_that_of_the_project_that_is_meant_is_changed() -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one", job="train")
    theirs = replace(recorded.step(2, [took("data", "o1", "one", 1)], "two", job="train"), project="theirs")
    recorded.recipes[1] = theirs
    new = plans.NewCode((cache.component("code", {"f": b"2"}),), model.Capture(rerunnable=True))
    for changed in ({"params": {"train": {"c": 2}}}, {"code": {"train": new}}):
        planned = recorded.plan(**changed, meant={"train": "theirs"})
        assert words(planned) == {1: "reuse", 2: "execute"}
        assert planned[1].changed == ()
        with pytest.raises(InvalidInput, match=f"{PROJECT} and theirs have a job train in this plan"):
            recorded.plan(**changed)


def test_code_that_says_whose_it_is_is_refused() -> None:
    for part in (cache.component("scope", "secret"), cache.component("inputs", [], "inputs/x")):
        with pytest.raises(InvalidInput, match="no part of a key that says which code"):
            plans.NewCode((part,), model.Capture())
        with pytest.raises(InvalidInput, match="no part of a key that says which code"):
            plans.NewCode((), model.Capture(), without=(part.name,))


def test_other_code_of_one_run_is_not_that_of_its_job() -> None:
    recorded = Recorded()
    for run in (1, 2):
        recorded.step(run, [took("data", "x", "x1")], f"one {run}", job="j")
    new = plans.NewCode((cache.component("extra", "b", "extra/b"),), model.Capture(rerunnable=True))
    planned = recorded.plan(code={str(run_id(2)): new})
    assert words(planned) == {1: "reuse", 2: "execute"}
    assert planned[2].changed == ("extra/b",)


def test_a_part_that_a_key_has_no_more_makes_another_key() -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one")
    (had,) = (part for part in recorded.components([run_id(1)])[run_id(1)] if part.kind == "params")
    new = plans.NewCode((), model.Capture(rerunnable=True), without=(had.name, "extra/it never had"))
    planned = recorded.plan(code={str(run_id(1)): new})
    assert planned[1].changed == (had.name,)
    assert had.name not in {part.name for part in planned[1].components}


def test_what_has_no_key_any_more_is_executed_and_says_why() -> None:
    recorded = Recorded()
    chain(recorded)
    planned = recorded.plan(
        code={"j1": plans.NewCode((), model.Capture(rerunnable=True), uncacheable=("of it",))}
    )
    assert planned[1].step == plans.Execute("code changed; of it")
    assert (planned[1].key, planned[1].components) == (None, ())


def test_what_lies_outside_the_store_is_gone_once_its_place_is_vacant() -> None:
    recorded = Recorded()
    kept = recorded.step(1, [took("data", "x", "x1")], "one")
    left = replace(kept.made[0], location="/there")
    recorded.found[str(kept.key)] = planning.Entry(kept.run, (left,))
    in_store = frozenset({left.content.digest})
    assert words(recorded.plan(unavailable=in_store)) == {1: "reuse"}
    assert words(recorded.plan(vacant=frozenset({"/there"}))) == {1: "execute"}


def test_of_two_calls_that_are_the_same_that_which_can_be_run_is() -> None:
    recorded = Recorded()
    for number in (1, 2):
        recorded.step(number, [took("data", "x", "x1")], "one", job="twice", is_entered=False)
    recorded.step(3, [took("data", "o1", "one", 1)], "three")
    for cannot, can in ((1, 2), (2, 1)):
        recorded.why_not = {run_id(cannot): ("it was typed into a session",)}
        planned = recorded.plan()
        assert words(planned) == {can: "execute", cannot: "conditional", 3: "conditional"}
        assert planned[cannot].step == plans.Conditional((run_id(can),), ("it was typed into a session",))


def test_a_run_without_a_key_stands_while_what_it_took_does() -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one", is_keyed=False)
    recorded.step(2, [took("data", "o1", "one", 1)], "two")
    assert words(recorded.plan()) == {1: "reuse", 2: "reuse"}
    assert words(recorded.plan(("x", "x2"))) == {1: "execute", 2: "conditional"}


@pytest.mark.parametrize(
    ("outcome", "stands"),
    [
        (None, True),
        ("entered", True),
        ("diverged: other bytes for out", True),
        ("none", True),
        ("refused: lease lost", True),
        ("refused: quarantined", True),
        ("refused: tainted", True),
        ("refused: it ran code that its key does not cover: f", False),
        ("refused: quarantined; it took data while it ran", False),
        ("refused: output out has no identity of its own", False),
    ],
)
def test_a_key_that_was_refused_for_what_it_does_not_cover_is_none(outcome: str | None, stands: bool) -> None:
    assert plans.standing_key("wk1:k", outcome) == ("wk1:k" if stands else None)
    assert plans.standing_key(None, outcome) is None


def test_what_is_said_anew_of_a_run_without_a_key_and_is_as_it_was_changes_nothing() -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one", is_keyed=False)
    assert words(recorded.plan(params={"j1": {"c": 1}})) == {1: "reuse"}
    assert words(recorded.plan(params={"j1": {"c": 2}})) == {1: "execute"}
    recorded.parts.clear()  # nothing is known of what it depended on
    assert words(recorded.plan(params={"j1": {"c": 1}})) == {1: "execute"}


def test_a_run_that_takes_what_was_made_of_what_it_handed_on_is_after_that() -> None:
    """A block that publishes, calls a step with that, and takes what came of it; something else takes from the block."""
    recorded = Recorded()
    recorded.step(2, [took("data", "o3", "three", 3)], "two")
    recorded.step(3, [took("data", "o2", "two", 2)], "three", is_keyed=False)
    recorded.step(4, [took("data", "o3", "three", 3)], "four")
    started = {2: 20, 3: 10, 4: 40}
    recorded.recipes = [replace(each, started=started[each.run.int]) for each in recorded.recipes]
    plan = recorded.whole()
    assert words(by_number(plan)) == {2: "reuse", 3: "reuse", 4: "reuse"}
    assert list(by_number(plan)) == [2, 3, 4]
    (why,) = plan.reasons
    assert why.startswith(f"run {run_id(3)} (j3): what others took of it while it ran")
    planned = recorded.plan(params={"j2": {"c": 2}})
    assert words(planned) == {2: "execute", 3: "conditional", 4: "conditional"}


def test_a_run_that_was_to_make_nothing_and_has_no_key_stands() -> None:
    recorded = Recorded()
    recipe = recorded.step(1, [took("data", "x", "x1")], is_keyed=False)
    recorded.recipes[0] = replace(recipe, made=())
    assert words(recorded.plan()) == {1: "reuse"}
    assert words(recorded.plan(("x", "x2"))) == {1: "execute"}
    recorded.recipes[0] = replace(recipe, made=(), state=model.RunState.FAILED)
    assert words(recorded.plan()) == {1: "execute"}


def test_an_entry_that_is_gone_is_executed_again() -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one", is_entered=False)
    planned = recorded.plan()
    assert planned[1].step == plans.Execute("no result of that is known")


def test_an_entry_that_will_not_do_says_why() -> None:
    recorded = Recorded()
    recipe = recorded.step(1, [took("data", "x", "x1")], "one")
    assert recipe.key is not None
    recorded.found[recipe.key] = planning.Entry(recipe.run, recipe.made, cache.Reason.REVOKED)
    assert recorded.plan()[1].step == plans.Execute(f"the result of run {recipe.run} is revoked")


def test_a_failed_run_is_executed_and_what_it_needs_is_reused() -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one")
    recorded.step(2, [took("data", "o1", "one", 1)], state=model.RunState.FAILED)
    assert words(recorded.plan()) == {1: "reuse", 2: "execute"}


@pytest.mark.parametrize("state", [model.RunState.FAILED, model.RunState.ABORTED])
def test_what_a_failed_run_left_does_not_do_where_it_is_asked_for(state: model.RunState) -> None:
    recorded = Recorded()
    failed = recorded.step(1, [took("data", "x", "x1")], "log", is_keyed=False)
    recorded.recipes[0] = replace(failed, state=state)
    recorded.step(2, [took("log", "o1", "log", 1)], "two")
    assert words(recorded.plan(targets=[1])) == {1: "execute", 2: "conditional"}
    assert words(recorded.plan(targets=[2])) == {1: "reuse", 2: "reuse"}


def test_what_cannot_be_made_again_is_blocked_and_all_behind_it() -> None:
    recorded = Recorded()
    chain(recorded)
    recorded.why_not[run_id(1)] = ("its source was not kept",)
    planned = recorded.plan(("x", "x2"))
    assert planned[1].step == plans.Blocked(("its source was not kept",))
    assert words(planned) == {1: "blocked", 2: "blocked", 3: "blocked"}


def test_what_may_have_to_be_run_and_cannot_says_so() -> None:
    recorded = Recorded()
    chain(recorded)
    recorded.why_not[run_id(2)] = ("its source was not kept",)
    assert recorded.plan(("x", "x2"))[2].step == plans.Conditional((run_id(1),), ("its source was not kept",))


@pytest.mark.parametrize("state", [model.VersionState.QUARANTINED, model.VersionState.TAINTED])
def test_an_input_that_nobody_may_use_blocks(state: model.VersionState) -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one", is_entered=False)
    recorded.bad[artifact("x"), content("x1").digest] = state
    step = recorded.plan()[1].step
    assert isinstance(step, plans.Blocked)
    assert str(state) in step.why[0]


@pytest.mark.parametrize("path", [None, "other.txt"])
def test_a_replacement_that_nobody_may_use_blocks_wherever_it_lies(path: str | None) -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one")
    recorded.bad[artifact("x"), content("x2").digest] = model.VersionState.QUARANTINED
    step = recorded.plan(("x", "x2"), path=path)[1].step
    assert isinstance(step, plans.Blocked)
    assert "quarantined" in step.why[0]


def test_an_input_whose_bytes_are_gone_blocks_only_what_has_to_be_run() -> None:
    recorded = Recorded()
    chain(recorded)
    gone = frozenset({content("x1").digest})
    assert words(recorded.plan(unavailable=gone)) == {1: "reuse", 2: "reuse", 3: "reuse"}
    recorded.found.clear()
    assert words(recorded.plan(unavailable=gone))[1] == "blocked"


@pytest.mark.parametrize("is_keyed", [True, False])
def test_what_is_gone_and_cannot_be_made_again_blocks_only_what_needs_its_bytes(is_keyed: bool) -> None:
    recorded = Recorded()
    recorded.step(1, [], "one", is_keyed=is_keyed)
    recorded.step(2, [took("data", "o1", "one", 1)], "two")
    recorded.step(3, [took("data", "o1", "one", 1)], "three", is_entered=False)
    recorded.step(4, [took("data", "o2", "two", 2)], "four", is_entered=False)
    recorded.why_not[run_id(1)] = ("nothing about its code was recorded",)
    planned = recorded.plan(unavailable=frozenset({content("one").digest}))
    assert words(planned) == {1: "blocked", 2: "reuse", 3: "blocked", 4: "execute"}
    gone = "what it made is missing or altered in the store"
    assert planned[1].step == plans.Blocked((gone, "nothing about its code was recorded"))
    named = (
        f"the bytes of input data ({artifact('o1')}@{content('one').digest.short}), {content('one').digest}"
    )
    assert planned[3].step == plans.Blocked((f"{named}, are missing or altered in the store",))


def test_what_nobody_may_use_is_not_handed_on_though_it_cannot_be_made_again() -> None:
    recorded = Recorded()
    one = recorded.step(1, [took("data", "x", "x1")], "one")
    recorded.step(2, [took("data", "o1", "one", 1)], "two")
    assert one.key is not None
    recorded.found[one.key] = recorded.found[one.key]._replace(wrong=cache.Reason.REVOKED)
    recorded.why_not[run_id(1)] = ("its source was not kept",)
    planned = recorded.plan(unavailable=frozenset({content("one").digest}))
    assert planned[1].step == plans.Blocked(("its source was not kept",))
    assert words(planned)[2] == "blocked"


def test_a_result_whose_bytes_are_gone_is_made_again() -> None:
    recorded = Recorded()
    chain(recorded)
    planned = recorded.plan(unavailable=frozenset({content("two").digest}))
    assert words(planned) == {1: "reuse", 2: "execute", 3: "conditional"}


def test_the_same_call_twice_is_executed_once() -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one", job="j")
    recorded.step(2, [took("data", "x", "x1")], "one", job="j")
    planned = recorded.plan(("x", "x2"))
    assert planned[1].key == planned[2].key
    assert words(planned) == {1: "execute", 2: "conditional"}


def test_what_was_read_of_a_tracked_argument_says_nothing_of_another() -> None:
    recorded = Recorded()
    recipe = recorded.step(1, [took("data", "x", "x1")], "one")
    recorded.parts[recipe.run] += (cache.component("reads", [], "reads/data"),)
    planned = recorded.plan(("x", "x2"))
    assert words(planned) == {1: "execute"}
    assert (planned[1].key, planned[1].components) == (None, ())


def test_an_ignored_input_does_not_change_the_key() -> None:
    recorded = Recorded()
    recipe = recorded.step(1, [took("data", "x", "x1")], "one")
    parts = (*components_of("j1", 1, {}), cache.component("inputs", [], "inputs/data", ignored=True))
    key = cache.key(parts)
    recorded.recipes[0] = replace(recipe, key=key)
    recorded.parts[recipe.run] = parts
    recorded.found[key] = planning.Entry(recipe.run, recipe.made)
    assert words(recorded.plan(("x", "x2"))) == {1: "reuse"}


def test_an_input_of_unknown_production_takes_the_newest_and_says_so() -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one")
    recorded.step(2, [took("data", "o1", "one", 1, may_be=True)], "two")
    planned = recorded.plan(("x", "x2"))
    assert planned[2].takes[0].may_be
    assert planned[2].step == plans.Conditional((run_id(1),))


def test_what_is_expected_is_that_of_the_last_runs_of_the_job() -> None:
    recorded = Recorded()
    chain(recorded)
    recorded.past[PROJECT, "j1"] = plans.Expected(2.0, 10, 3)
    planned = recorded.plan(("x", "x2"))
    assert planned[1].expected == plans.Expected(2.0, 10, 3)
    assert planned[2].expected == plans.Expected(None, None, 0)
    whole = plan_of(planned)
    assert plans.total(whole) == (plans.Expected(2.0, 10, 1), plans.Expected(2.0, 10, 1))


def test_to_change_what_no_run_has_is_refused_with_what_there_is() -> None:
    recorded = Recorded()
    chain(recorded)
    with pytest.raises(InvalidInput, match="there are runs of j1, j2, j3"):
        recorded.plan(params={"nobody": {"c": 2}})
    with pytest.raises(InvalidInput, match="they took file:o1, file:o2, file:x"):
        recorded.plan(("y", "x2"))


def plan_of(planned: Mapping[int, plans.PlannedRun]) -> plans.RerunPlan:
    return plans.RerunPlan(run_id(99), 7, plans.PlanRequest(run_id(99)), (), tuple(planned.values()))


def test_a_plan_reads_back_as_it_was() -> None:
    recorded = Recorded()
    chain(recorded)
    recorded.why_not[run_id(3)] = ("because",)
    plan = plan_of(recorded.plan(("x", "x2"), params={"j1": {"c": (1, 2)}}))
    codec = wire.codec(plans.RerunPlan)
    assert wire.decode_as(codec, wire.encode_as(codec, plan)) == plan


def test_what_a_plan_read_that_is_no_longer_so_is_named() -> None:
    entry = plans.Read(plans.ReadType.ENTRY, "wk1:1", "none")
    before = replace(plan_of({}), read=(entry,))
    now = replace(before, read=(replace(entry, said=f"run {run_id(5)}", run=run_id(5)),))
    assert plans.differences(before, before) == ()
    assert plans.differences(before, now) == (f"entry wk1:1: was none, is run {run_id(5)}",)
    assert plans.differences(before, now, own=frozenset({run_id(5)})) == ()


def test_a_plan_rests_on_the_state_of_what_a_run_without_a_key_hands_on() -> None:
    """Nothing else would tell that data from outside, say, was declared bad since."""
    recorded = Recorded()
    recorded.step(1, (), "root", job="whence.publish", is_keyed=False)
    noted = recorded.step(2, [took("data", "o1", "root", 1)], "noted", is_keyed=False)
    recorded.step(3, [took("data", "o1", "root", 1), took("also", "o2", "noted", 2)], "three")
    before = recorded.whole(params={"j3": {"c": 2}})
    assert words(by_number(before)) == {1: "reuse", 2: "reuse", 3: "execute"}
    assert {each.name: each.said for each in before.read if each.type is plans.ReadType.STATE} == {
        f"{artifact(role)}@{content(text).digest.text}": "live"
        for role, text in (("o1", "root"), ("o2", "noted"))
    }
    recorded.bad[artifact("o2"), content("noted").digest] = model.VersionState.QUARANTINED
    recorded.recipes[1] = replace(noted, condemned=cache.Reason.QUARANTINED)
    recorded.why_not[noted.run] = ("because",)
    named = f"state {artifact('o2')}@{content('noted').digest.text}"
    difference, *_ = plans.differences(before, recorded.whole(params={"j3": {"c": 2}}))
    assert difference == f"{named}: was live, is quarantined"


def test_what_a_run_without_a_key_made_is_no_matter_where_it_may_be_made_again() -> None:
    recorded = Recorded()
    recorded.step(1, [took("data", "x", "x1")], "one", is_keyed=False)
    recorded.step(2, [took("data", "o1", "one", 1)], "two", is_keyed=False)
    before = recorded.whole(("x", "x2"))
    assert [each.name.partition("@")[0] for each in before.read] == ["file:x"]
    assert by_number(before)[2].stands


def test_the_schema_that_is_published_is_that_of_plans() -> None:
    published = Path(__file__).parents[2] / "docs" / "plan.schema.json"
    # Print it anew with: whence plan --schema > docs/plan.schema.json
    assert json.loads(published.read_text("utf-8")) == planned.schema()


def test_a_plan_is_what_its_schema_says() -> None:
    recorded = Recorded()
    chain(recorded)
    recorded.why_not[run_id(3)] = ("because",)
    plan = plan_of(recorded.plan(("x", "x2"), params={"j1": {"c": (1, 2)}}))
    Draft202012Validator(planned.schema()).validate(json.loads(wire.encode(plan)))


def test_another_value_of_a_parameter_is_of_the_kind_that_was_recorded() -> None:
    recorded: dict[str, dict[str, digest.Framed]] = {"m.train": {"c": 0.5, "n": 3, "on": True}, "load": {}}
    found = plans.given([("m.train", "c", 1), ("m.train", "n", 1)], recorded)
    assert (found, type(found["m.train"]["c"])) == ({"m.train": {"c": 1.0, "n": 1}}, float)
    # True is no whole number that was meant as a float, and no float is as large as that.
    for value in (True, 10**400, "1", None):
        kept = plans.given([("m.train", "c", value)], recorded)["m.train"]["c"]
        assert (kept, type(kept)) == (value, type(value))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([("", "c", 1)], "^c names no parameter of a job of this plan; there are the jobs load, train"),
        ([("fit", "c", 1)], "fit.c names no parameter of a job of this plan; there are the jobs load, train"),
        ([("train", "d", 1)], "train has no parameter d; it has c"),
        ([("load", "c", 1)], "load has no parameter c; it has none"),
        ([("train", "c", 1), ("train", "c", 2)], "train.c is given twice"),
    ],
)
def test_a_parameter_that_is_not_there_or_given_twice_is_refused(
    said: list[tuple[str, str, digest.Framed]], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        plans.given(said, {"train": {"c": 0.5}, "load": {}})


def test_a_parameter_is_found_whatever_dots_there_are() -> None:
    recorded: dict[str, dict[str, digest.Framed]] = {"a": {"b.c": 1, "d": 1}, "a.b": {"e": 1}}
    told = {text: plans.parameter_of(text, recorded) for text in ("a.b.c", "a.d", "a.b.e", "a.b.x", "x")}
    assert told == {
        "a.b.c": ("a", "b.c"),
        "a.d": ("a", "d"),
        "a.b.e": ("a.b", "e"),
        "a.b.x": ("a.b", "x"),
        "x": ("", "x"),
    }
    with pytest.raises(InvalidInput, match=r"a\.b\.c is a parameter of a and of a\.b"):
        plans.parameter_of("a.b.c", {**recorded, "a.b": {"c": 1}})

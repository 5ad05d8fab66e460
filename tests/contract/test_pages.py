"""Lists in pages, and many things at once: what every Catalog answers, whatever is recorded meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests import simulator
from tests.simulator import World, artifact, claim, digest_of, taken
from whence_catalog import catalog, model, replies
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound, WhenceError

reference = model.Reference.parse


def every_page(ask: Callable[[str | None], Any], meanwhile: Callable[[], object] = lambda: None) -> list[Any]:
    """The items of all pages, while something happens between them."""
    items: list[Any] = []
    after = None
    while True:
        page = ask(after)
        assert len(page.items) == len(page.cursors)
        assert page.end in (None, page.cursors[-1] if page.cursors else None)
        items += page.items
        if page.end is None:
            return items
        after = page.end
        meanwhile()


def only(results: Sequence[object]) -> Any:
    return simulator.one(results)


# ── pages of one subject ─────────────────────────────────────────────────────────────────────────


def test_pages_of_versions_do_not_shift_while_more_are_made(world: World) -> None:
    for n in range(7):
        world.note("make", {"model:m": b"%d" % n})
    numbers = [
        version.number
        for version in every_page(
            lambda after: only(world.catalog.versions_of([artifact("model:m")], 3, after)),
            lambda: world.note("make", {"model:m": simulator.uid().bytes}),
        )
    ]
    assert numbers == [7, 6, 5, 4, 3, 2, 1]
    assert only(world.catalog.versions_of([artifact("model:m")], 1)).total == 9


def test_pages_of_productions_do_not_shift_while_more_are_made(world: World) -> None:
    made = [world.note("make", {"model:m": b"M"}).run.uid for _ in range(5)]
    seen = every_page(
        lambda after: only(world.catalog.productions_of([reference("model:m@1")], 2, after)),
        lambda: world.note("make", {"model:m": b"M"}),
    )
    assert [output.run for output in seen] == made[::-1]


def test_productions_of_one_run_stand_apart_in_pages(world: World) -> None:
    call = world.plain_call()
    same = tuple(claim("model:m", b"M", role=f"copy {n}") for n in range(5))
    world.begin(call)
    world.finish(world.report(call, outputs=None))
    other = world.plain_call()
    simulator.one(world.catalog.record_runs([(other, replace(world.report(other), outputs=same))]))
    by_version = every_page(
        lambda after: only(world.catalog.productions_of([reference("model:m@1")], 2, after))
    )
    by_run = every_page(lambda after: only(world.catalog.outputs_of([other.run], 2, after)))
    assert [output.role for output in by_run] == [f"copy {n}" for n in range(5)]
    assert by_version == by_run[::-1]
    assert only(world.catalog.outputs_of([call.run])).items == ()


def test_a_production_in_a_page_is_what_the_run_says_of_it(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    call = world.plain_call(inputs=(taken(data),))
    made = claim(
        "model:m",
        b"M",
        metadata={"layers": 3},
        metrics={"loss": 0.5},
        description="the first",
        location="s3://there",
        derived_from=(model.Source(data.version.artifact, data.version.digest, data.run),),
    )
    (output,) = simulator.one(
        world.catalog.record_runs([(call, replace(world.report(call), outputs=(made,)))])
    ).outputs
    assert only(world.catalog.productions_of([reference("model:m@1")])).items == (output,)
    assert only(world.catalog.outputs_of([call.run])).items == (output,)
    source = model.Source(output.version.artifact, output.version.digest, call.run)
    assert world.catalog.named_productions([source]) == [output]


def test_consumers_come_newest_first_and_once_each(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    runs = []
    for n in range(5):
        twice = (taken(data, "train", ordinal=n), taken(data, "test", producer=False))
        runs.append(world.note(f"use {n}", inputs=twice).run)
    seen = every_page(
        lambda after: only(world.catalog.consumers_of([reference("dataset:d@1")], 2, after)),
        lambda: world.note("use", inputs=(taken(data),)),
    )
    assert [run.uid for run in seen] == [run.uid for run in runs[::-1]]


def test_children_come_newest_first(world: World) -> None:
    parent = world.plain_call("pipeline")
    world.begin(parent)

    def child() -> UUID:
        call = world.plain_call(parent=parent.run)
        world.begin(call)
        return call.run

    children = [child() for _ in range(5)]
    seen = every_page(lambda after: only(world.catalog.children_of([parent.run], 2, after)), child)
    assert [run.uid for run in seen] == children[::-1]
    assert only(world.catalog.children_of([children[0]])).items == ()


def test_inputs_come_by_role_and_ordinal(world: World) -> None:
    data = [world.note("load", {"dataset:d": b"%d" % n}).outputs[0] for n in range(5)]
    claims = [taken(output, "shard", ordinal=n) for n, output in enumerate(data)]
    run = world.note("use", inputs=(*claims, taken(data[0], "b", producer=False), taken(data[1], "zoo"))).run
    seen = every_page(lambda after: only(world.catalog.inputs_of([run.uid], 2, after)))
    assert [(taken.role, taken.ordinal) for taken in seen] == [
        ("b", 0),
        *(("shard", n) for n in range(5)),
        ("zoo", 0),
    ]
    assert tuple(seen) == world.catalog.run(str(run.uid)).inputs


def test_a_reused_run_hands_out_what_its_origin_took_and_made(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    first = world.run("train", {"model:m": b"M"}, inputs=(taken(data),))
    again = world.call("train", inputs=(taken(data),))
    world.ask(again)
    record = world.catalog.run(str(again.run))
    assert record.run.state is model.RunState.REUSED
    assert only(world.catalog.outputs_of([again.run])).items == record.outputs == first.outputs
    assert only(world.catalog.inputs_of([again.run])).items == record.inputs


def test_aliases_come_newest_first_of_an_artifact_or_of_a_version(world: World) -> None:
    made = [world.note("make", {"model:m": b"%d" % n}).outputs[0].version for n in range(3)]

    def move(name: str, version: model.Version, reason: str | None = None) -> object:
        return simulator.one(
            world.catalog.move_aliases(
                [
                    model.AliasMove(
                        simulator.uid(), version.artifact, name, version.digest, simulator.ACTOR, reason
                    )
                ]
            )
        )

    for version in made:
        move("prod", version, f"better than before: {version.number}")
    move("best", made[0])
    named = reference("model:m")
    every = every_page(lambda after: only(world.catalog.aliases_of([named], False, 2, after)))
    assert tuple(every) == tuple(world.catalog.aliases(artifact("model:m")))
    assert [alias.reason for alias in every][1] == "better than before: 3"
    standing = every_page(lambda after: only(world.catalog.aliases_of([named], True, 1, after)))
    assert [(alias.name, alias.version.number) for alias in standing] == [("best", 1), ("prod", 3)]
    of_first, of_second = world.catalog.aliases_of([reference("model:m@1"), reference("model:m@2")])
    assert [alias.name for alias in of_first.items] == ["best", "prod"]  # type: ignore[union-attr]
    assert [alias.replaced for alias in of_second.items] == [1]  # type: ignore[union-attr]
    assert only(world.catalog.aliases_of([reference("model:m@2")], True)).items == ()


# ── many at once ─────────────────────────────────────────────────────────────────────────────────


def test_many_subjects_have_a_page_each_and_one_that_is_absent_stops_no_other(world: World) -> None:
    for name in "ab":
        for n in range(4):
            world.note("make", {f"model:{name}": b"%d" % n})
    a, none, b = world.catalog.versions_of([artifact(f"model:{name}") for name in ("a", "none", "b")], 2)
    assert isinstance(none, NotFound)
    assert none.kind is ErrorKind.NO_SUCH_ARTIFACT
    for page, name in ((a, "a"), (b, "b")):
        assert isinstance(page, replies.VersionPage)
        assert [version.ref for version in page.items] == [f"model:{name}@4", f"model:{name}@3"]
        assert page.total == 4


def test_versions_are_found_by_every_kind_of_reference_at_once(world: World) -> None:
    made = [world.note("make", {"model:m": content}).outputs[0].version for content in (b"A", b"B", b"A")]
    move = model.AliasMove(simulator.uid(), made[1].artifact, "prod", made[1].digest, simulator.ACTOR)
    simulator.one(world.catalog.move_aliases([move]))
    asked = ["model:m@1", f"model:m@{digest_of(b'B')}", "model:m@prod", "model:m@latest", "model:m"]
    found = world.catalog.versions([reference(text) for text in asked])
    assert [version.number for version in found] == [1, 2, 2, 1, 1]  # type: ignore[union-attr]
    assert found[0] == made[0]


def test_versions_that_are_absent_are_said_to_be_one_by_one(world: World) -> None:
    world.note("make", {"model:m": b"A"})
    absent = ["model:m@2", f"model:m@{digest_of(b'?')}", "model:m@prod", "model:none@1", f"model:m@{10**30}"]
    found = world.catalog.versions([reference(text) for text in ["model:m@1", *absent]])
    assert isinstance(found[0], model.Version)
    assert [type(result) for result in found[1:]] == [NotFound] * 5
    for text in absent[:-1]:
        (alone,) = world.catalog.versions([reference(text)])
        with pytest.raises(NotFound) as refused:
            simulator.one(world.catalog.resolve([reference(text)]))
        assert str(alone) == str(refused.value)


def test_runs_are_found_by_their_ids_with_their_labels_and_errors(world: World) -> None:
    call = world.plain_call(labels={"team": "perception"})
    world.begin(call)
    world.finish(world.report(call, state=model.RunState.FAILED, error="ValueError: no"))
    other = world.note("other").run
    found = world.catalog.named_runs([call.run, simulator.uid(), other.uid, call.run])
    assert found == {uid: world.catalog.run(str(uid)).run for uid in (call.run, other.uid)}
    assert found[call.run].labels == {"team": "perception"}
    assert found[call.run].error == "ValueError: no"


def test_a_production_is_found_only_by_the_run_that_made_it(world: World) -> None:
    output = world.note("make", {"model:m": b"M"}).outputs[0]
    other = world.note("other", {"model:n": b"N"}).run.uid
    named = model.Source(output.version.artifact, output.version.digest, output.run)
    unmade, unrecorded, unsaid = (
        replace(named, producer=other),
        replace(named, producer=simulator.uid()),
        replace(named, producer=None),
    )
    found = world.catalog.named_productions([unmade, named, unrecorded, unsaid])
    assert [type(result).__name__ for result in found] == ["NotFound", "Output", "NotFound", "InvalidInput"]
    assert found[1] == output


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_asked_is_nothing_answered(world: World, count: int) -> None:
    for _ in range(count):
        world.note("make", {"model:m": b"M"})
    found = world.catalog
    assert list(found.versions([])) == list(found.named_productions([])) == list(found.versions_of([])) == []
    assert list(found.inputs_of([])) == list(found.children_of([])) == list(found.aliases_of([])) == []
    assert found.named_runs([]) == {}


# ── what is looked for ───────────────────────────────────────────────────────────────────────────


def test_runs_are_listed_by_project_job_and_state(world: World) -> None:
    elsewhere = World(world.catalog, project="other")
    for _ in range(3):
        world.note("train")
        elsewhere.note("train")
        world.note("test")
    running = world.plain_call("train")
    world.begin(running)

    def listed(**filters: Any) -> list[model.Run]:
        seen = every_page(lambda after: world.catalog.list_runs(first=2, after=after, **filters))
        assert [run.uid for run in seen] == sorted((run.uid for run in seen), reverse=True)
        return seen

    assert len(listed()) == 10
    assert {(run.project, run.job) for run in listed(job="train")} == {
        ("default", "train"),
        ("other", "train"),
    }
    assert [run.project for run in listed(projects=["other"])] == ["other"] * 3
    assert len(listed(projects=["default", "other"], job="train")) == 7
    assert len(listed(projects=["default"], job="train", states=[model.RunState.COMPLETE])) == 3
    assert [run.uid for run in listed(states=[model.RunState.RUNNING])] == [running.run]
    assert listed(projects=[]) == listed(job="none") == []


def test_pages_of_runs_do_not_shift_while_more_begin(world: World) -> None:
    runs = [world.note("make").run.uid for _ in range(6)]
    seen = every_page(lambda after: world.catalog.list_runs(first=2, after=after), lambda: world.note("make"))
    assert [run.uid for run in seen] == runs[::-1]


def test_a_search_finds_names_in_any_case_and_digests_exactly(world: World) -> None:
    world.note("Train Detector", {"model:Detector": b"M", "dataset:images": b"I"})
    found = world.catalog.search("detect").items
    assert [str(hit.artifact) if hit.artifact else hit.job for hit in found] == [
        "model:Detector",
        replies.Job("default", "Train Detector"),
    ]
    for text in (str(digest_of(b"M").text), digest_of(b"M").hex):
        (hit,) = world.catalog.search(text).items
        assert hit.version is not None
        assert hit.version.ref == "model:Detector@1"
    assert world.catalog.search(digest_of(b"M").hex[:20]).items == ()


def test_what_is_searched_is_text_and_no_pattern(world: World) -> None:
    world.note("make", {"dataset:a_b": b"1", "dataset:axb": b"2", "dataset:100%25!": b"3"})
    for text, expected in (("_", ["a_b"]), ("%", ["100%!"]), ("!", ["100%!"]), ("A_B", ["a_b"])):
        found = world.catalog.search(text).items
        assert [hit.artifact.name for hit in found if hit.artifact] == expected


def test_a_search_is_of_types_projects_and_kinds(world: World) -> None:
    elsewhere = World(world.catalog, project="other")
    for where in (world, elsewhere):
        where.note("make", {"model:x": b"M", "dataset:x": b"D"})
    elsewhere.note("make", {"other/model:x": b"M"})

    def found(**filters: Any) -> list[str]:
        hits = every_page(lambda after: world.catalog.search(first=1, after=after, **filters))
        return [str(hit.artifact or hit.job or (hit.version and hit.version.ref)) for hit in hits]

    jobs = [str(replies.Job(project, "make")) for project in ("other", "default")]
    assert found() == ["other/model:x", "dataset:x", "model:x", *jobs]
    assert found(projects=["other"]) == ["other/model:x", jobs[0]]
    assert found(projects=["default", "none", "other"]) == found()
    assert found(kinds=["dataset"]) == ["dataset:x"]
    assert found(types=[replies.HitType.JOB]) == jobs
    versions = found(types=[replies.HitType.VERSION])
    assert (versions[0], set(versions[1:])) == ("other/model:x@1", {"model:x@1", "dataset:x@1"})
    assert found(text=digest_of(b"M").hex) == ["model:x@1", "other/model:x@1"]


def test_pages_of_a_search_do_not_shift_while_more_is_made(world: World) -> None:
    for name in "bdfh":
        world.note("make", {f"model:{name}": b"M"})
    before = iter("acegikmo")
    seen = every_page(
        lambda after: world.catalog.search(first=1, after=after, types=[replies.HitType.ARTIFACT]),
        lambda: world.note("make", {f"model:{next(before)}": b"M"}),
    )
    assert [hit.artifact.name for hit in seen] == list("hfdb")


# ── bad input ────────────────────────────────────────────────────────────────────────────────────


def pages_of(found: catalog.Catalog, first: int, after: str | None) -> list[Callable[[], Any]]:
    uid = found.list_runs(job="use").items[0].uid
    return [
        lambda: found.versions_of([artifact("model:m")], first, after),
        lambda: found.productions_of([reference("model:m@1")], first, after),
        lambda: found.consumers_of([reference("model:m@1")], first, after),
        lambda: found.aliases_of([reference("model:m")], False, first, after),
        lambda: found.aliases_of([reference("model:m@1")], True, first, after),
        lambda: found.children_of([uid], first, after),
        lambda: found.inputs_of([uid], first, after),
        lambda: found.outputs_of([uid], first, after),
        lambda: [found.list_runs(first=first, after=after)],
        lambda: [found.search(first=first, after=after)],
    ]


@pytest.fixture
def used(world: World) -> World:
    output = world.note("make", {"model:m": b"M"}).outputs[0]
    world.note("make", {"model:m": b"N"})
    world.note("use", {"report:r": b"R"}, inputs=(taken(output),))
    return world


@pytest.mark.parametrize("first", [0, -1, catalog.MOST_AT_ONCE + 1, 2**70])
def test_a_page_of_a_size_that_cannot_be_is_refused(used: World, first: int) -> None:
    for ask in pages_of(used.catalog, first, None):
        with pytest.raises(InvalidInput, match="items"):
            ask()


def test_a_cursor_that_is_none_or_of_another_list_is_refused(used: World) -> None:
    foreign = only(used.catalog.productions_of([reference("model:m@2")])).cursors[0]
    for after in ("", "x", "é", "AAAA", foreign, foreign[:-4], foreign.swapcase(), "A" * 10_000):
        for ask in pages_of(used.catalog, 5, after):
            with pytest.raises(InvalidInput, match="cursor") as refused:
                only(ask())
            assert len(str(refused.value)) < 300


def test_a_cursor_is_good_for_its_own_subject_among_many(used: World) -> None:
    cursor = only(used.catalog.versions_of([artifact("model:m")], 1)).end
    mine, other = used.catalog.versions_of([artifact("model:m"), artifact("report:r")], 1, cursor)
    assert [version.number for version in mine.items] == [1]  # type: ignore[union-attr]
    assert isinstance(other, InvalidInput)


def test_filters_that_change_between_pages_are_refused(used: World) -> None:
    end = used.catalog.list_runs(job="make", first=1).end
    with pytest.raises(InvalidInput, match="cursor"):
        used.catalog.list_runs(job="use", first=1, after=end)


def test_an_unrecorded_subject_is_not_found(used: World) -> None:
    uid = simulator.uid()
    for ask in (used.catalog.children_of, used.catalog.inputs_of, used.catalog.outputs_of):
        (result,) = ask([uid])
        assert isinstance(result, WhenceError)
        assert result.kind is ErrorKind.NO_SUCH_RUN

"""The log as events: what each fact changed, in the order of positions, whoever is asked."""

import pytest

from tests.simulator import ACTOR, World, one, taken, uid
from whence_catalog import catalog, changes, model
from whence_catalog.errors import InvalidInput


def told(world: World, after: int = 0) -> list[changes.Change]:
    return list(world.catalog.changes(after, 1000).items)


def test_each_fact_is_one_change_with_its_position(world: World) -> None:
    call = world.call("train", 1.0, [taken(world.note("load", {"dataset:raw": b"raw"}).outputs[0])])
    token = world.begin(call).token
    world.finish(world.report(call, {"model:net": b"net"}, token))
    found = told(world)
    assert [change.position for change in found] == list(range(1, len(found) + 1))
    loaded, began, ended = found
    assert (loaded.verb, loaded.job, loaded.state) == ("record", "load", model.RunState.COMPLETE)
    assert [str(made.artifact) for made in loaded.made] == ["dataset:raw"]
    assert (began.verb, began.run, began.state) == ("start", call.run, model.RunState.RUNNING)
    assert [str(source.artifact) for source in began.took] == ["dataset:raw"]
    assert (ended.verb, ended.run, ended.job, ended.state) == (
        "finish",
        call.run,
        "train",
        model.RunState.COMPLETE,
    )
    assert [(str(made.artifact), made.role) for made in ended.made] == [("model:net", "model:net")]
    assert all(change.project == "default" and change.actor == ACTOR for change in found)


def test_what_is_said_of_a_version_names_it(world: World) -> None:
    made = world.note("train", {"model:net": b"net"}).outputs[0].version
    claim = model.QuarantineClaim(uid(), made.artifact, made.digest, ACTOR, "bad")
    one(world.catalog.quarantine([claim]))
    one(world.catalog.release([model.Release(uid(), claim.uid, ACTOR, "it was not")]))
    one(world.catalog.move_aliases([model.AliasMove(uid(), made.artifact, "prod", made.digest, ACTOR)]))
    one(world.catalog.deploy([model.DeploymentClaim(uid(), made.artifact, made.digest, "eu", ACTOR)]))
    one(world.catalog.deploy([model.DeploymentClaim(uid(), made.artifact, None, "eu", ACTOR)]))
    found = told(world, 1)
    assert [(change.verb, change.name) for change in found] == [
        ("quarantine", None),
        ("release-quarantine", None),
        ("alias", "prod"),
        ("deploy", "eu"),
        ("deploy", "eu"),
    ]
    assert all(change.subject == made.artifact for change in found)
    assert [change.content for change in found] == [made.digest] * 4 + [None]
    assert [change.judgement for change in found[:2]] == [claim.uid] * 2


def test_labels_are_told_of_what_has_them(world: World) -> None:
    done = world.note("train", {"model:net": b"net"})
    version = done.outputs[0].version
    subjects = (str(done.run.uid), version.ref)
    claims = [model.LabelClaim(uid(), subject, ACTOR, {"team": "vision"}) for subject in subjects]
    for claim in claims:
        one(world.catalog.label([claim]))
    of_run, of_version = told(world, 1)
    assert (of_run.verb, of_run.run, of_run.job) == ("label", done.run.uid, "train")
    assert (of_version.verb, of_version.subject, of_version.content) == (
        "label",
        version.artifact,
        version.digest,
    )


def test_to_go_on_after_a_page_loses_none_and_repeats_none(world: World) -> None:
    for n in range(7):
        world.note("make", {"model:m": b"%d" % n})
    after, found = 0, []
    while after < world.catalog.changes(after, 1).last:
        page = world.catalog.changes(after, 3)
        found += page.items
        after = page.end
    assert found == told(world)
    end = world.catalog.changes(after)
    assert (end.items, end.end) == ((), after)


def test_changes_are_told_of_those_projects_that_are_asked_for(world: World) -> None:
    other = World(world.catalog, "other")
    other.note("make", {"other/model:m": b"1"})
    world.note("make", {"model:m": b"2"})
    world.note("give", {"other/model:gift": b"3"})
    page = world.catalog.changes(projects=["other"])
    assert [change.position for change in page.items] == [1, 3]
    assert page.end == 3
    nobody = world.catalog.changes(projects=[])
    assert (nobody.items, nobody.end) == ((), 3)


@pytest.mark.parametrize(("after", "first"), [(-1, 10), (0, 0), (0, catalog.MOST_AT_ONCE + 1)])
def test_a_question_that_cannot_be_meant_is_refused(world: World, after: int, first: int) -> None:
    with pytest.raises(InvalidInput):
        world.catalog.changes(after, first)

"""Paths, roots, common ancestors and impact: the contract of every catalog."""

import pytest

from tests import simulator
from tests.simulator import ACTOR, World, taken
from whence_catalog import lineage, model, replies
from whence_catalog.errors import InvalidInput, NotFound
from whence_catalog.replies import ImpactType


def deploy(world: World, output: model.Output, target: str) -> model.Deployment:
    version = output.version
    said = model.DeploymentClaim(simulator.uid(), version.artifact, version.digest, target, ACTOR, "go")
    found: model.Deployment = simulator.one(world.catalog.deploy([said]))
    return found


def alias(world: World, output: model.Output, name: str) -> None:
    version = output.version
    move = model.AliasMove(simulator.uid(), version.artifact, name, version.digest, ACTOR)
    simulator.one(world.catalog.move_aliases([move]))


def diamond(world: World) -> dict[str, model.Output]:
    """raw → clean → two models → a report of both; and a model that came of neither."""
    (raw,) = world.note("load", {"dataset:raw": b"R"}).outputs
    (clean,) = world.note("clean", {"dataset:clean": b"C"}, [taken(raw)]).outputs
    (a,) = world.note("fit", {"model:a": b"A"}, [taken(clean)]).outputs
    (b,) = world.note("fit", {"model:b": b"B"}, [taken(clean)]).outputs
    (both,) = world.note("compare", {"report:both": b"AB"}, [taken(a), taken(b)]).outputs
    (other,) = world.note("fit", {"model:other": b"O"}).outputs
    return {"raw": raw, "clean": clean, "a": a, "b": b, "both": both, "other": other}


def ids(nodes: "tuple[lineage.Node, ...]") -> list[str]:
    return [node.id for node in nodes]


def named(way: "tuple[lineage.Node, ...]") -> list[str]:
    return [node.job or node.id for node in way]


def items(found: replies.Impact) -> list[tuple[str, str]]:
    return [(item.type.value, item.version.id) for item in found.items]


def test_paths_are_all_the_ways_the_shortest_first(world: World) -> None:
    made = diamond(world)
    found = world.catalog.paths("dataset:raw", "report:both@1")
    assert {tuple(named(way)) for way in found.paths} == {
        ("dataset:raw@1", "clean", "dataset:clean@1", "fit", name, "compare", "report:both@1")
        for name in ("model:a@1", "model:b@1")
    }
    assert [node.depth for node in found.paths[0]] == [0, 1, 1, 2, 2, 3, 3]
    assert found.completeness.complete
    cut = world.catalog.paths("dataset:raw", "report:both", limit=1)
    assert cut.paths == found.paths[:1]
    assert cut.completeness.reasons == ("limit 1 reached",)
    assert not cut.completeness.complete
    by_run = world.catalog.paths(str(made["clean"].run), str(made["a"].run)[:23])
    assert [named(way) for way in by_run.paths] == [["clean", "dataset:clean@1", "fit"]]
    assert by_run.paths[0][0].depth == 0
    assert world.catalog.paths("report:both", "dataset:raw").paths == ()
    assert world.catalog.paths("model:other", "report:both").completeness.complete
    assert [ids(way) for way in world.catalog.paths("model:a", "model:a").paths] == [["model:a@1"]]


def test_counts_are_those_of_the_whole_lineage(world: World) -> None:
    diamond(world)
    for direction in lineage.Direction:
        graph = world.catalog.lineage(["dataset:clean"], direction, lineage.Bounds(max_nodes=None))
        found = world.catalog.lineage_counts(["dataset:clean"], direction)
        assert found.total == len(graph.nodes)
        assert sum(found.by_type.values()) == sum(found.by_state.values()) == found.total
        assert found.by_project == {"default": found.total}
        assert found.completeness == graph.completeness
    down = world.catalog.lineage_counts(["dataset:clean"], lineage.Direction.DOWN)
    assert down.by_type == {"run": 3, "version": 4}
    assert down.by_kind == {"dataset": 1, "model": 2, "report": 1}
    with pytest.raises(NotFound):
        world.catalog.lineage_counts(["dataset:nothing"], lineage.Direction.UP)


def test_a_path_leads_into_a_deployment(world: World) -> None:
    served = f"deployment/{deploy(world, diamond(world)['a'], 'shop/eu').uid}"
    (way,) = world.catalog.paths("dataset:clean", served).paths
    assert [node.type for node in way[-2:]] == [lineage.NodeType.VERSION, lineage.NodeType.DEPLOYMENT]
    assert (way[-1].id, way[-1].name, way[-1].state) == (served, "shop/eu", "serving")
    assert len(world.catalog.paths(served, served).paths) == 1
    assert world.catalog.paths(served, "model:a").paths == ()


def test_roots_and_common_ancestors_are_the_nearest_first(world: World) -> None:
    diamond(world)
    roots = world.catalog.roots_of(["report:both", "model:other"])
    assert [(node.id, node.depth) for node in roots.items] == [("model:other@1", 0), ("dataset:raw@1", 3)]
    assert (roots.total, roots.end) == (2, None)
    common = world.catalog.common_ancestors(["model:a", "model:b"])
    assert common.items[0].id == "dataset:clean@1"
    assert [node.depth for node in common.items] == [1, 2, 2, 3]
    assert {named((node,))[0] for node in common.items} == {
        "dataset:clean@1",
        "clean",
        "dataset:raw@1",
        "load",
    }
    itself = world.catalog.common_ancestors(["dataset:clean", "report:both"])
    assert itself.items[0].id != "report:both@1"
    assert "dataset:clean@1" in ids(itself.items)
    assert world.catalog.common_ancestors(["model:a", "model:other"]).items == ()


def test_a_list_goes_on_from_its_cursor_and_stays_as_it_was(world: World) -> None:
    made = diamond(world)
    whole = world.catalog.common_ancestors(["model:a", "model:b"])
    first = world.catalog.common_ancestors(["model:a", "model:b"], first=3)
    assert first.end == first.cursors[-1]
    world.note("clean", {"dataset:clean": b"C"}, [taken(made["other"])])
    world.note("fit", {"model:a": b"A"}, [taken(made["both"])])
    rest = world.catalog.common_ancestors(["model:a", "model:b"], first=3, after=first.end)
    assert first.items + rest.items == whole.items
    assert rest.end is None
    with pytest.raises(InvalidInput, match="not a cursor"):
        world.catalog.common_ancestors(["model:b", "model:a"], after=first.end)
    with pytest.raises(InvalidInput, match="not a cursor"):
        world.catalog.roots_of(["model:a", "model:b"], after=first.end)


def test_impact_counts_first_and_tells_where_it_is_used(world: World) -> None:
    made = diamond(world)
    deploy(world, made["b"], "shop/eu")
    deploy(world, made["a"], "shop/us")
    deploy(world, made["b"], "shop/us")
    deploy(world, made["other"], "shop/asia")
    alias(world, made["a"], "prod")
    alias(world, made["clean"], "good")
    found = world.catalog.impact("dataset:raw")
    assert found.counts == {"deployments": 2, "aliases": 2, "versions": 4, "runs": 4}
    assert found.kinds == {"dataset": 1, "model": 2, "report": 1}
    assert items(found) == [
        ("deployment", "model:b@1"),
        ("deployment", "model:b@1"),
        ("alias", "dataset:clean@1"),
        ("alias", "model:a@1"),
        ("version", "model:a@1"),
        ("version", "model:b@1"),
    ]
    assert {item.deployment.target for item in found.items if item.deployment} == {"shop/eu", "shop/us"}
    assert [item.alias.name for item in found.items if item.alias] == ["good", "prod"]
    for item in found.items:
        assert item.path[-1] == item.version
        assert item.path[0].id == "dataset:raw@1"
        assert item.version.depth == len([node for node in item.path if node.job])
    assert found.completeness.complete
    every = world.catalog.impact("dataset:raw", kinds=())
    assert [v for _, v in items(every)[4:]] == ["dataset:clean@1", "model:a@1", "model:b@1", "report:both@1"]
    own = world.catalog.impact("model:b")
    assert items(own) == [("deployment", "model:b@1")] * 2
    assert ids(own.items[0].path) == ["model:b@1"]
    assert world.catalog.impact(str(made["clean"].run)).counts["versions"] == 4


def test_pages_of_an_impact_are_its_whole(world: World) -> None:
    made = diamond(world)
    deploy(world, made["b"], "shop/eu")
    alias(world, made["a"], "prod")
    whole = world.catalog.impact("dataset:raw", kinds=())
    assert len(whole.items) == 6
    for size in (1, 2, 4):
        after, found = None, []
        while True:
            page = world.catalog.impact("dataset:raw", kinds=(), first=size, after=after)
            assert page.counts == whole.counts
            found += page.items
            # What is recorded meanwhile is in none of its pages.
            world.note("late", {"model:late": b"L"}, [taken(made["clean"])])
            if page.end is None:
                break
            after = page.end
        assert tuple(found) == whole.items
        whole = world.catalog.impact("dataset:raw", kinds=())


def test_what_was_known_then_is_answered_as_of_a_position(world: World) -> None:
    made = diamond(world)
    deploy(world, made["a"], "shop")
    alias(world, made["a"], "prod")
    then = len(world.catalog.facts())
    before = world.catalog.impact("dataset:raw", as_of=then)
    deploy(world, made["b"], "shop")
    alias(world, made["other"], "prod")
    (late,) = world.note("fit", {"model:late": b"L"}, [taken(made["raw"])]).outputs
    assert world.catalog.impact("dataset:raw", as_of=then) == before
    assert [item.deployment.until for item in before.items if item.deployment] == [None]
    with pytest.raises(NotFound):
        world.catalog.paths("dataset:raw", "model:b", as_of=2)
    assert len(world.catalog.roots_of(["model:b"], as_of=then).items) == 1
    with pytest.raises(NotFound):
        world.catalog.paths("dataset:raw", "model:late", as_of=then)
    with pytest.raises(NotFound):
        world.catalog.impact(str(late.run), as_of=then)
    with pytest.raises(InvalidInput, match="position"):
        world.catalog.impact("dataset:raw", as_of=10_000)


def test_what_became_of_nodes_since_is_not_told_as_of_a_position(world: World) -> None:
    made = diamond(world)
    served = deploy(world, made["a"], "shop")
    then = len(world.catalog.facts())

    def asked(as_of: int | None) -> list[object]:
        questions = [
            world.catalog.paths("dataset:raw", f"deployment/{served.uid}", as_of=as_of).paths,
            world.catalog.roots_of(["model:a", "model:b"], as_of=as_of).items,
            world.catalog.common_ancestors(["model:a", "model:b"], as_of=as_of).items,
            world.catalog.impact("dataset:raw", as_of=as_of).items,
        ]
        return [repr(found) for found in questions]

    before = asked(then)
    first = world.catalog.roots_of(["model:a", "model:other"], first=1)
    assert [node.state for node in first.items] == ["live"]
    deploy(world, made["b"], "shop")
    for output in (made["raw"], made["other"]):
        version = output.version
        bad = model.QuarantineClaim(simulator.uid(), version.artifact, version.digest, ACTOR, "mislabelled")
        simulator.one(world.catalog.quarantine([bad]))
    assert asked(then) == before
    assert all(now != told for now, told in zip(asked(None), before, strict=True))
    rest = world.catalog.roots_of(["model:a", "model:other"], first=1, after=first.end)
    assert [node.state for node in rest.items] == ["live"]


def test_the_flow_of_an_ambiguous_input_is_counted_as_such(world: World) -> None:
    (raw,) = world.note("load", {"dataset:raw": b"R"}).outputs
    (again,) = world.note("copy", {"dataset:raw": b"R"}, [taken(raw)]).outputs
    world.note("fit", {"model:m": b"M"}, [taken(again, producer=False)])
    assert world.catalog.impact("dataset:raw").completeness.ambiguous == 1
    assert world.catalog.roots_of(["model:m"]).completeness.ambiguous == 1


def test_what_cannot_be_asked_is_refused(world: World) -> None:
    served = f"deployment/{deploy(world, diamond(world)['a'], 'shop').uid}"
    for asking in (
        lambda: world.catalog.paths("dataset:nothing", "model:a"),
        lambda: world.catalog.paths("model:a@9", "model:a"),
        lambda: world.catalog.roots_of(["00000000-0000-7000-8000-000000000000"]),
        lambda: world.catalog.impact("deployment/00000000-0000-7000-8000-000000000000"),
    ):
        with pytest.raises(NotFound):
            asking()
    for refused in (
        lambda: world.catalog.paths("model:a", "model:b", limit=0),
        lambda: world.catalog.paths("model:a", "model:b", limit=101),
        lambda: world.catalog.paths("model:", "model:b"),
        lambda: world.catalog.paths("deployment/x", "model:b"),
        lambda: world.catalog.roots_of([]),
        lambda: world.catalog.roots_of(["model:a"], first=0),
        lambda: world.catalog.common_ancestors(["model:a"]),
        lambda: world.catalog.impact(served),
        lambda: world.catalog.impact("model:a", after="nonsense"),
    ):
        with pytest.raises(InvalidInput):
            refused()
    assert ImpactType.VERSION == "version"

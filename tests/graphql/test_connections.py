"""Lists, as Relay reads them: cursors go on where they were, and nothing that is recorded meanwhile moves them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests import simulator
from tests.graphql.conftest import Schema
from tests.simulator import World, taken
from whence_catalog import model

PAGE = (
    "pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { %s } } nodes { %s }"
)

# The way to each list of `world`, and what tells its items apart.
LISTS = {
    "versions": ('artifact(ref: "model:m") { ... on Artifact { list: versions(%s) { %s } } }', "number"),
    "aliases": ('artifact(ref: "model:m") { ... on Artifact { list: aliases(%s) { %s } } }', "since"),
    "aliases of a version": (
        'resolve(ref: "model:m@1") { ... on Version { list: aliases(%s) { %s } } }',
        "since",
    ),
    "productions": (
        'resolve(ref: "model:m@1") { ... on Version { list: productions(%s) { %s } } }',
        "run { uid }",
    ),
    "consumers": ('resolve(ref: "model:m@1") { ... on Version { list: consumers(%s) { %s } } }', "uid"),
    "children": ('run(id: "RUN") { ... on Run { list: children(%s) { %s } } }', "uid"),
    "inputs": ('run(id: "TAKER") { ... on Run { list: inputs(%s) { %s } } }', "role ordinal"),
    "outputs": ('run(id: "TAKER") { ... on Run { list: outputs(%s) { %s } } }', "role"),
    "runs": ("list: runs(%s) { %s }", "uid"),
    "search": ("list: search(%s) { %s }", "__typename ... on Artifact { ref } ... on Job { name }"),
}


class Shelf:
    """A history in which every list has several items, and can be given more."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ask = Schema(world.catalog)
        self.parent = world.plain_call("pipeline")
        world.begin(self.parent)
        self.made = [world.note("make", {"model:m": b"%d" % n}).outputs[0] for n in range(3)]
        for _ in range(3):
            self.add_more()
        taker = world.plain_call("take")
        claims = tuple(taken(self.made[0], "shard", ordinal=n) for n in range(5))
        outputs = {f"report:{n}": b"R" for n in range(5)}
        simulator.one(world.catalog.record_runs([(taker, world.report(taker, outputs, inputs=claims))]))
        self.taker = taker.run

    def add_more(self) -> None:
        """One item more of most lists."""
        world = self.world
        world.note(
            "make again", {"model:m": b"0", f"dataset:{simulator.uid()}": b"D"}, inputs=(taken(self.made[0]),)
        )
        world.note("make", {"model:m": simulator.uid().bytes})
        world.begin(world.plain_call(parent=self.parent.run))
        for version in (self.made[1].version, self.made[0].version):
            move = model.AliasMove(simulator.uid(), version.artifact, "prod", version.digest, simulator.ACTOR)
            simulator.one(world.catalog.move_aliases([move]))

    def page(self, name: str, **arguments: object) -> Any:
        """A page of a list; for its errors, `answer`."""
        answer = self.answer(name, **arguments)
        assert answer.errors == []
        data = answer.data
        return data["list"] if "list" in data else next(iter(data.values()))["list"]

    def answer(self, name: str, **arguments: object) -> Any:
        way, told = LISTS[name]
        given = ", ".join(f"{key}: {value}" for key, value in arguments.items()) or "first: 25"
        query = way.replace("RUN", str(self.parent.run)).replace("TAKER", str(self.taker))
        return self.ask("{ " + query % (given, PAGE % (told, told)) + " }")


@pytest.fixture
def shelf(world: World) -> Shelf:
    return Shelf(world)


def every(shelf: Shelf, name: str, size: int, meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
    nodes: list[Any] = []
    arguments: dict[str, object] = {"first": size}
    while True:
        page = shelf.page(name, **arguments)
        info = page["pageInfo"]
        assert [edge["node"] for edge in page["edges"]] == page["nodes"]
        assert len(page["nodes"]) <= size
        assert info["hasPreviousPage"] is ("after" in arguments)
        assert info["startCursor"] == (page["edges"][0]["cursor"] if page["edges"] else None)
        assert info["endCursor"] == (page["edges"][-1]["cursor"] if page["edges"] else None)
        nodes += page["nodes"]
        if not info["hasNextPage"]:
            return nodes
        assert len(page["nodes"]) == size
        arguments["after"] = f'"{info["endCursor"]}"'
        meanwhile()


@pytest.mark.parametrize("name", LISTS)
def test_pages_make_up_the_list_whatever_is_recorded_meanwhile(shelf: Shelf, name: str) -> None:
    whole = shelf.page(name, first=100)["nodes"]
    assert len(whole) >= 3
    seen = every(shelf, name, 2, shelf.add_more)
    assert seen == whole


@pytest.mark.parametrize("name", LISTS)
def test_the_same_page_is_answered_again_to_the_letter(shelf: Shelf, name: str) -> None:
    first = shelf.page(name, first=2)
    after = f'"{first["edges"][0]["cursor"]}"'
    before = shelf.page(name, first=2, after=after)
    shelf.add_more()
    assert shelf.page(name, first=2, after=after) == before


@pytest.mark.parametrize("name", LISTS)
def test_a_page_goes_on_behind_any_cursor(shelf: Shelf, name: str) -> None:
    whole = shelf.page(name, first=100)
    for place, edge in enumerate(whole["edges"]):
        rest = shelf.page(name, first=100, after=f'"{edge["cursor"]}"')
        assert rest["nodes"] == whole["nodes"][place + 1 :]


@pytest.mark.parametrize("name", LISTS)
def test_a_cursor_of_another_list_is_refused(shelf: Shelf, name: str) -> None:
    for other in LISTS:
        cursor = shelf.page(other, first=1)["edges"][0]["cursor"]
        answer = shelf.answer(name, after=f'"{cursor}"')
        assert answer.codes == ([] if other == name else ["bad-value"]), other


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("after", ["", "x", "é", "AAAA", "WzFd" * 500])
def test_what_is_no_cursor_is_refused(shelf: Shelf, name: str, after: str) -> None:
    answer = shelf.answer(name, after=f'"{after}"')
    assert answer.codes == ["bad-value"]
    assert "cursor" in answer.errors[0]["message"]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("first", [0, -1, 101, 2**31 - 1])
def test_a_size_that_cannot_be_is_refused_before_anything_is_asked(
    shelf: Shelf, name: str, first: int
) -> None:
    shelf.ask.asked.clear()
    answer = shelf.answer(name, first=first)
    assert (answer.data, answer.codes) == (None, ["bad-value"])
    assert "expected 1 to 100" in answer.errors[0]["message"]
    assert shelf.ask.asked == []


def test_the_number_of_versions_is_told_where_it_costs_nothing(shelf: Shelf) -> None:
    found = shelf.ask.data(
        '{ artifact(ref: "model:m") { ... on Artifact { versions(first: 1) { totalCount } } } }'
    )
    assert found["artifact"]["versions"]["totalCount"] == 6


def test_standing_aliases_leave_out_what_was(shelf: Shelf) -> None:
    query = '{ artifact(ref: "model:m") { ... on Artifact { aliases(standing: true) { nodes { name until version { number } } } } } }'
    (prod,) = shelf.ask.data(query)["artifact"]["aliases"]["nodes"]
    assert prod == {"name": "prod", "until": None, "version": {"number": 1}}


def test_runs_are_chosen_by_job_state_and_project(shelf: Shelf) -> None:
    def found(arguments: str) -> list[str]:
        nodes = shelf.ask.data("{ runs(" + arguments + ") { nodes { job { name } state } } }")["runs"][
            "nodes"
        ]
        return [f"{node['job']['name']} {node['state']}" for node in nodes]

    assert found('job: "take"') == ["take COMPLETE"]
    assert found("states: [RUNNING], first: 2") == ["note RUNNING"] * 2
    assert found('projects: ["other"]') == []
    assert len(found('projects: [], states: [], job: "make"')) == 6

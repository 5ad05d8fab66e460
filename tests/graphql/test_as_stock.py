"""The short ways of execution answer what Strawberry and graphql-core make of the same question, to the byte.

Both ask the real schema and the real catalog; on the other side nothing is written out by column, and no node or edge
of a lineage comes out of columns.
"""

import asyncio
import functools
import gc
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import strawberry
from graphql import ExecutionContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strawberry.schema.config import StrawberryConfig

from tests import histories, simulator
from tests.graphql.conftest import Schema
from tests.simulator import World, taken
from whence_api import access
from whence_api.graphql import columns, execution, rows
from whence_api.graphql.limits import GraphqlLimits
from whence_api.graphql.loaders import Context, LineageBounds
from whence_catalog import lineage, model
from whence_catalog.access import Grant, Grants, Viewer
from whence_catalog.columns import times
from whence_catalog.errors import Unreachable
from whence_catalog.sql.catalog import SqlCatalog

GUEST = Viewer(model.Actor("guest", authenticated=True), Grants({"default": frozenset({Grant.READ})}))


@functools.cache
def stock() -> strawberry.Schema:
    """The same schema by Strawberry alone: its own execution, and no cache of documents."""
    ours = execution.Schema(GraphqlLimits())
    return strawberry.Schema(
        ours.query,
        ours.mutation,
        types=execution.TYPES,
        execution_context_class=ExecutionContext,
        config=StrawberryConfig(scalar_map=ours.config.scalar_map),
    )


def answers(ask: Schema, query: str, variables: dict[str, Any]) -> tuple[bytes, bytes]:
    """What both answer, as it is sent."""

    async def objects(verb: str, /, **arguments: object) -> Any:
        found = access.carry_out(ask.viewer, verb, arguments, ask.catalog)
        if isinstance(found, lineage.Graph):
            found = lineage.Graph(found.roots, found.nodes, found.edges, found.completeness)
        return found

    def of(schema: Any, put: Callable[..., Any]) -> Any:
        bounds = LineageBounds(ask.limits.lineage_nodes, ask.limits.lineage_seconds)
        return asyncio.run(schema.execute(query, variables, Context(put, bounds, ask.viewer.actor)))

    ours, plain = of(ask.schema, ask._ask), of(stock(), objects)
    # The words of an error are the server's own, however it came about.
    told = [execution._told(error, "").formatted for error in plain.errors or ()]
    return (
        _named(rows.encode({"data": ours.data, "errors": [error.formatted for error in ours.errors or ()]})),
        _named(msgspec.json.encode({"data": plain.data, "errors": told})),
    )


def _named(answer: bytes) -> bytes:
    """An answer in which what is masked has the same names each time: they are made up anew for each."""
    made_up = dict.fromkeys(re.findall(rb"masked-[0-9a-f]{32}", answer))
    for place, name in enumerate(made_up):
        answer = answer.replace(name, b"masked-%d" % place)
    return answer


@pytest.fixture
def past(world: World) -> World:
    """Data, two models of it and what was decided on them, in two projects; one Run failed, one was reused."""
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    other = World(world.catalog, project="secret")
    hidden = other.note("load", {"secret/dataset:s": b"S"}).outputs[0]
    both = (taken(data, "data"), taken(hidden, "more"))
    first = world.run("train", {"model:m": b"M"}, c=1.0, inputs=both)
    world.run("train", {"model:m": b"N", "metrics:q": b"{}"}, c=2.0, inputs=(taken(data, "data"),))
    other.run("train", {"secret/model:x": b"X"}, c=3.0, inputs=(taken(first.outputs[0], "model"),))
    version = first.outputs[0].version
    move = model.AliasMove(simulator.uid(), version.artifact, "prod", version.digest, simulator.ACTOR, "good")
    simulator.one(world.catalog.move_aliases([move]))
    deployed = model.DeploymentClaim(
        simulator.uid(), version.artifact, version.digest, "eu", simulator.ACTOR, "it serves"
    )
    simulator.one(world.catalog.deploy([deployed]))
    return world


@pytest.fixture(params=["everyone", "guest"])
def ask(request: pytest.FixtureRequest, past: World) -> Schema:
    return Schema(past.catalog) if request.param == "everyone" else Schema(past.catalog, viewer=GUEST)


NODES = "nodes { id type masked ref name kind project state at depth hiddenUpstream hiddenDownstream }"
EDGES = "edges { source target type role ordinal producer ambiguous }"
COMPLETENESS = "completeness { complete reasons masked erased ambiguous unknownProducers filtered }"
LINEAGE = f"""query($roots: [ID!]!, $up: Direction = UP, $bounds: Bounds, $with: Boolean = true) {{
  lineage(roots: $roots, direction: $up, bounds: $bounds) {{
    __typename
    ... on Lineage {{ roots {NODES} {EDGES} {COMPLETENESS} }}
    ... on Error {{ kind message }} }} }}"""

CORPUS: list[tuple[str, dict[str, Any]]] = [
    # flat lists, by fragment, by alias, by directive
    (LINEAGE, {"roots": ["model:m@1"]}),
    (LINEAGE, {"roots": ["dataset:d"], "up": "DOWN"}),
    (LINEAGE, {"roots": ["model:m@1", "model:m@2"], "up": "BOTH", "bounds": {"depth": 1}}),
    (LINEAGE, {"roots": ["model:none"]}),
    (
        """query($yes: Boolean = true) { lineage(roots: ["model:m@1"], direction: UP) { ... on Lineage {
           nodes { a: id b: id __typename ...N @include(if: $yes) ...O @skip(if: $yes) } e: edges { type: type }
           edges { target @skip(if: $yes) source } } } }
           fragment N on LineageNode { ref at ...O } fragment O on LineageNode { depth state }""",
        {},
    ),
    (
        """query($yes: Boolean = true) { lineage(roots: ["model:m@1"], direction: UP) { ... on Lineage {
           nodes { a: id b: id __typename ...N @include(if: $yes) ...O @skip(if: $yes) } } } }
           fragment N on LineageNode { ref at } fragment O on LineageNode { depth state }""",
        {"yes": False},
    ),
    ('{ lineage(roots: ["model:m@1"], direction: UP) { ... on Lineage { nodes { __typename } } } }', {}),
    (
        '{ lineage(roots: ["model:m@1"], direction: UP) { ... on Lineage { n: nodes { id } n: nodes { at } } } }',
        {},
    ),
    # unions, interfaces, what is not there
    (
        """query($refs: [ID!]!) { nodes(ids: $refs) { __typename id ... on Version { ref state artifact { id ref } }
           ... on Run { uid } ... on Artifact { kind name } } }""",
        {"refs": ["VmVyc2lvbjptb2RlbDptQDE", "QXJ0aWZhY3Q6bW9kZWw6bQ", "QXJ0aWZhY3Q6bW9kZWw6bm9uZQ"]},
    ),
    (
        '{ resolve(ref: "model:m@9") { __typename ... on Error { kind message } ... on NotFound { kind } } }',
        {},
    ),
    (
        '{ a: resolve(ref: "model:m@prod") { ...V } b: resolve(ref: "dataset:d") { ...V } } '
        "fragment V on Version { ref number digest sizeBytes createdAt strength }",
        {},
    ),
    (
        '{ search(text: "m") { nodes { __typename ... on Artifact { ref } ... on Version { ref } ... on Job { name } } } }',
        {},
    ),
    # lists in lists
    (
        """query($first: Int = 2) { artifact(ref: "model:m") { ... on Artifact { versions(first: $first) { totalCount
           pageInfo { hasNextPage endCursor } edges { cursor node { number
             productions { masked nodes { role run { job { name } inputs { masked nodes { role version { ref } } } } } } } } } } } }""",
        {},
    ),
    (
        """{ runs(first: 10) { masked nodes { job { project name } state outputs { nodes { role version { ref aliases {
             nodes { name actor { name } } } } } } params metrics { name number } labels { name value } } } }""",
        {},
    ),
    (
        '{ impact(of: "dataset:d") { ... on ImpactConnection { deploymentCount versionCount runCount nodes { type '
        "version { ref } deployment { target } alias { name } path { nodes { ref name } } } } } }",
        {},
    ),
    (
        '{ roots(of: ["model:m@1"]) { ... on LineageNodeConnection { totalCount nodes { ref at state } edges { cursor } } } }',
        {},
    ),
    (
        '{ lineageCounts(roots: ["model:m@1"], direction: UP) { ... on LineageCounts { total byType { name count } } } }',
        {},
    ),
    (
        '{ paths(from: "dataset:d", to: "model:m@1") { ... on Paths { paths { length nodes { ref name } edges { type role } } } } }',
        {},
    ),
    # the schema itself
    ('{ __typename __type(name: "LineageNode") { name fields { name type { kind ofType { name } } } } }', {}),
    # errors: in the middle of a list, where null goes up, by a variable, by the document
    (
        """{ artifact(ref: "model:m") { ... on Artifact { name versions { nodes { number productions(after: "no") {
             masked } } } } } run(id: "none") { __typename } }""",
        {},
    ),
    ('{ node(id: "no id") { id } resolve(ref: "model:m") { __typename } }', {}),
    ('{ nodes(ids: ["QXJ0aWZhY3Q6bW9kZWw6bQ", "no id"]) { id } }', {}),
    ("query($ref: String!) { resolve(ref: $ref) { __typename } }", {}),
    ("query($ref: String!) { resolve(ref: $ref) { __typename } }", {"ref": 5}),
    ("query($up: Direction!) { lineage(roots: [], direction: $up) { __typename } }", {"up": "SIDEWAYS"}),
    ("{ nothing }", {}),
    ("{ resolve(ref: 5) { ref } }", {}),
    ("{ resolve(", {}),
    ("query A { __typename } fragment F on Run { id }", {}),
]


def test_a_question_is_answered_as_strawberry_does(ask: Schema) -> None:
    for query, variables in CORPUS:
        ours, plain = answers(ask, query, variables)
        assert ours == plain, query
        # What was read, found valid and measured once is answered as it was the first time.
        assert answers(ask, query, variables)[0] == ours, query


class Failing:
    """A catalog that cannot tell some things."""

    def __init__(self, catalog: Any, verb: str) -> None:
        self._catalog = catalog
        self._verb = verb

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object, **__: object) -> Any:
            raise Unreachable("the database does not answer; try again later")

        return fail if name == self._verb else getattr(self._catalog, name)


# graphql-core leaves what stands beside a field that failed.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore:Exception ignored in. <coroutine:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("verb", ["productions_of", "states", "named_runs", "lineage_with_hidden"])
def test_what_fails_in_the_middle_is_told_as_strawberry_does(past: World, verb: str) -> None:
    ask = Schema(Failing(past.catalog, verb))
    query = f"""{{ a: artifact(ref: "model:m") {{ ... on Artifact {{ versions {{ nodes {{ number state
                   productions {{ nodes {{ role run {{ uid }} }} }} }} }} }} }}
                  l: lineage(roots: ["model:m@1"], direction: UP) {{ __typename ... on Lineage {{ {NODES} }} }} }}"""
    ours, plain = answers(ask, query, {})
    assert ours == plain
    assert b"does not answer" in ours
    gc.collect()


FIELDS = [
    "id",
    "type",
    "masked",
    "ref",
    "name",
    "kind",
    "project",
    "state",
    "at",
    "depth",
    "hiddenUpstream",
    "hiddenDownstream",
    "__typename",
]


def test_lineage_of_any_history_and_selection_is_answered_as_strawberry_does(tmp_path: Path) -> None:
    @settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.integers(0, 2**32), st.integers(1, 18), st.lists(st.sampled_from(FIELDS), min_size=1, unique=True)
    )
    def each(seed: int, acts: int, fields: list[str]) -> None:
        for left in tmp_path.glob("catalog.db*"):
            left.unlink()
        with closing(SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")) as catalog:
            told, chance = histories.record(catalog, seed, acts), Random(seed)
            if not (known := told.nodes()):
                return
            ask = Schema(catalog)
            ids = columns.Names(()).of(chance.choices(known, k=2))
            query = LINEAGE.replace(NODES, f"nodes {{ {' '.join(fields)} }}")
            for up in lineage.Direction:
                asked = {"roots": ids, "up": up.name, "bounds": {"maxNodes": chance.randint(1, 12)}}
                ours, plain = answers(ask, query, asked)
                assert ours == plain

    each()


@given(st.lists(st.integers(-(2**40), 2**33 * 1_000_000), max_size=5))
def test_a_time_is_told_to_the_microsecond(micros: list[int]) -> None:
    assert list(columns._times(micros)) == list(times(micros))

"""Lineage of random histories through GraphQL, page by page, beside what networkx says of them."""

from contextlib import closing
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import histories
from tests.graphql.conftest import Schema
from whence_api.graphql import relay
from whence_catalog.lineage import DEPLOYMENT, Direction
from whence_catalog.sql.catalog import SqlCatalog

LINEAGE = """query($roots: [ID!]!, $direction: Direction!, $bounds: Bounds, $frontier: String, $asOf: AsOf) {
  lineage(roots: $roots, direction: $direction, bounds: $bounds, frontier: $frontier, asOf: $asOf) {
    __typename ... on Error { kind message }
    ... on Lineage { nodes { id } edges { source target type producer } completeness { complete frontier } } } }"""


def global_ids(names: list[str]) -> dict[str, str]:
    typed = [
        f"Deployment:{name.removeprefix(DEPLOYMENT)}"
        if name.startswith(DEPLOYMENT)
        else f"Version:{name}"
        if ":" in name
        else f"Run:{name}"
        for name in names
    ]
    return dict(zip(names, map(str, relay.ids_of(typed)), strict=True))


def test_lineage_through_graphql_is_what_the_rule_reaches(tmp_path: Path) -> None:
    @settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(0, 2**32), st.integers(1, 22))
    def each(seed: int, acts: int) -> None:
        for left in tmp_path.glob("catalog.db*"):
            left.unlink()
        with closing(SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")) as empty:
            told, chance = histories.record(empty, seed, acts), Random(seed)
            as_of = chance.choice([None, chance.randint(0, told.position)])
            if not (known := told.nodes(as_of)):
                return
            ask, ids = Schema(empty), global_ids(told.nodes())
            for direction in Direction:
                roots = chance.choices(known, k=2)
                nodes = set().union(*(told.reached(root, direction, as_of) for root in roots))
                edges = {
                    (ids[source], ids[target], type.upper(), producer and ids[producer])
                    for source, target, type, producer in told.edges(nodes, as_of)
                }
                for most in (2000, chance.randint(1, 4)):
                    found, steps, frontier = [], set(), None
                    while True:
                        page = ask.data(
                            LINEAGE,
                            roots=[ids[root] for root in roots],
                            direction=direction.name,
                            bounds={"maxNodes": most},
                            frontier=frontier,
                            asOf=as_of,
                        )["lineage"]
                        assert page["__typename"] == "Lineage", page
                        found += [node["id"] for node in page["nodes"]]
                        steps |= {
                            (e["source"], e["target"], e["type"], e["producer"])
                            for e in page["edges"]
                            if e["type"] != "DERIVED"
                        }
                        frontier = page["completeness"]["frontier"]
                        assert page["completeness"]["complete"] == (frontier is None)
                        if frontier is None:
                            break
                    assert sorted(found) == sorted(ids[node] for node in nodes)
                    assert steps == edges

    each()

"""A request that asks for too much is refused before any of it is carried out, and told what is too much."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from graphql import get_introspection_query

from tests import simulator
from tests.graphql.conftest import Schema, send
from tests.simulator import World
from whence_api import app
from whence_api.graphql.limits import GraphqlLimits
from whence_api.settings import Settings
from whence_catalog import access, model
from whence_catalog.sql.catalog import SqlCatalog

LIMITS = GraphqlLimits()


def nested(levels: int, inner: str = "uid") -> str:
    return "{ runs(first: 1) { nodes { " + "parent { " * levels + inner + " }" * levels + " } } }"


def refused(ask: Schema, query: str, **variables: object) -> str:
    """Why a request is refused; that it is, before anything was asked of the catalog."""
    ask.asked.clear()
    answer = ask(query, **variables)
    assert answer.data is None
    assert ask.asked == []
    (error,) = answer.errors
    assert "path" not in error
    assert error["extensions"]["code"] in ("too-large", "bad-value")
    message: str = error["message"]
    return message


# ── one limit each ───────────────────────────────────────────────────────────────────────────────


def test_fields_may_stand_so_deep_and_no_deeper(ask: Schema) -> None:
    ask.data(nested(LIMITS.depth - 3))
    assert f"more than {LIMITS.depth} deep" in refused(ask, nested(LIMITS.depth - 2))
    spread = "fragment F on Run { " + "parent { " * 12 + "uid" + " }" * 12 + " } "
    assert "deep" in refused(ask, spread + nested(12, "...F"))


def test_so_many_fields_may_be_renamed_and_no_more(ask: Schema) -> None:
    def renamed(count: int) -> str:
        return "{ " + " ".join(f"a{n}: __typename" for n in range(count)) + " }"

    ask.data(renamed(LIMITS.aliases))
    assert "renamed" in refused(ask, renamed(LIMITS.aliases + 1))
    spread = "fragment F on Query { " + " ".join(f"a{n}: __typename" for n in range(20)) + " } { ...F ...F }"
    assert "renamed" in refused(ask, spread)


def test_a_document_may_have_so_many_words_and_no_more(ask: Schema) -> None:
    assert "tokens" in refused(ask, "{ " + "__typename " * LIMITS.tokens + "}")
    assert "characters" in refused(ask, "{ __typename } #" + "x" * LIMITS.characters)


def test_lists_in_lists_may_have_so_many_items_and_no_more(ask: Schema) -> None:
    query = """query($n: Int!) { runs(first: $n) { nodes { children(first: $n) { nodes { children(first: 2) {
                 nodes { uid } } } } } } }"""
    ask.data(query, n=100)
    deeper = query.replace("first: 2", "first: $n")
    assert "items" in refused(ask, deeper, n=28)
    ask.data(deeper, n=27)


def test_what_is_asked_with_a_value_that_is_none_lets_nothing_pass_later(ask: Schema) -> None:
    query = """query($n: Int!, $states: [RunState!]) { runs(first: $n, states: $states) { nodes {
                 children(first: $n) { nodes { children(first: $n) { nodes { uid } } } } } } }"""
    assert ask(query, n=28, states=["NONSENSE"]).errors
    assert "items" in refused(ask, query, n=28, states=["COMPLETE"])


def test_an_answer_may_have_so_many_values_and_no_more(ask: Schema) -> None:
    leaves = "uid state presumed seconds error params startedAt finishedAt project id warnings"
    head, tail = "query($n: Int!) { runs(first: 100) { nodes { children(first: $n) { nodes { ", " } } } } }"
    query = head + leaves + tail
    ask.data(query, n=80)
    assert "values" in refused(ask, query, n=100)


def test_a_size_may_be_given_in_any_way_and_is_judged_all_the_same(ask: Schema) -> None:
    plain = "query($n: Int! = 101) { runs(first: $n) { nodes { uid } } }"
    assert "first is 101" in refused(ask, plain)
    assert "first is 0" in refused(ask, plain, n=0)
    ask.data(plain, n=100)
    inside = """query { ...A } fragment A on Query { runs { ...B } }
                fragment B on RunConnection { nodes { ... on Node { ... on Run { children(first: 101) { nodes { uid } } } } } }"""
    assert "first is 101" in refused(ask, inside)
    skipped = "{ runs @skip(if: true) { nodes { children(first: 101) { nodes { uid } } } } }"
    assert "first is 101" in refused(ask, skipped)


def test_so_many_ids_are_answered_at_once_and_no_more(ask: Schema) -> None:
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    assert "101 ids" in refused(ask, query, ids=["x"] * 101)
    query = "query($ids: [ID!]!) { lineage(roots: $ids, direction: UP) { __typename } }"
    assert "101 roots" in refused(ask, query, ids=["x"] * 101)


def test_what_reads_much_is_asked_of_one_thing_at_a_time(world: World, ask: Schema) -> None:
    world.note("make", {"model:m": b"M"})
    explain = "{ runs(first: %d) { nodes { cache { explanation { note } } } } }"
    assert "one at a time" in refused(ask, explain % 2)
    ask.data(explain % 1)
    walk = '{ artifact(ref: "model:m") { ... on Artifact { versions(first: %d) { nodes { lineage(direction: UP) { roots } } } } } }'
    assert "one at a time" in refused(ask, walk % 2)
    ask.data(walk % 1)


def test_a_lineage_is_judged_by_the_nodes_that_it_may_have(ask: Schema) -> None:
    walk = 'lineage(roots: ["x"], direction: UP, bounds: {maxNodes: 10000}) { ...L }'
    shown = "nodes { id type masked ref name kind project state at depth } edges { source target type role }"
    fragment = " } fragment L on Lineage { " + shown + " }"
    ask.data("{ " + walk + fragment)
    several = " ".join(f"l{n}: {walk}" for n in range(8))
    assert "values" in refused(ask, "{ " + several + fragment)


# ── attacks ──────────────────────────────────────────────────────────────────────────────────────


def test_fragments_that_double_are_measured_without_being_unfolded(ask: Schema) -> None:
    parts = [f"fragment F{n} on Run {{ parent {{ ...F{n + 1} }} ...F{n + 1} }}" for n in range(60)]
    began = time.process_time()
    refused(ask, " ".join(parts) + " fragment F60 on Run { uid } { runs { nodes { ...F0 } } }")
    assert time.process_time() - began < 30  # unfolded, it would be for ever


def test_the_schema_asked_for_in_circles_is_refused(ask: Schema) -> None:
    circle = "fields { type { " * 6 + "name" + " } }" * 6
    assert refused(ask, "{ __schema { types { " + circle + " } } }")


@pytest.mark.parametrize(
    "query",
    [
        "{" * 1500,
        "{ a " * 1500 + "}" * 1500,
        "{ runs(states: " + "[" * 1500 + "]" * 1500 + ") { masked } }",
        nested(600),
        "query($a: " + "[" * 900 + "Int" + "]" * 900 + ") { __typename }",
        '{ node(id: "' + "\\u0041" * 10_000 + '") { id } }',
    ],
)
def test_nesting_without_end_is_refused_as_what_was_asked_and_no_fault_of_ours(
    ask: Schema, query: str, logged: pytest.LogCaptureFixture
) -> None:
    answer = ask(query)
    assert set(answer.codes) <= {"bad-value", "too-large", "bad-reference"}
    assert answer.codes
    assert logged.records == []


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("", {}),
        ("{", {}),
        ("{ nothing }", {}),
        ("query A { __typename } query B { __typename }", {}),
        ("mutation { x }", {}),
        ("subscription { x }", {}),
        ("{ runs(first: 9999999999999) { masked } }", {}),
        ("query($n: Int!) { runs(first: $n) { masked } }", {}),
        ("query($n: Int!) { runs(first: $n) { masked } }", {"n": "5"}),
        ("query($n: Int) { runs(first: $n) { masked } }", {"n": None}),
        ("query($n: Int!) { runs(first: $n) { masked } }", {"n": 2**40}),
        ("query($f: SearchFilter) { search(filter: $f) { nodes { __typename } } }", {"f": {"kinds": 3}}),
        ("{ ...F } fragment F on Query { ...F }", {}),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_code(
    served: FastAPI, query: str, variables: dict[str, Any]
) -> None:
    answer = send(
        served,
        {"query": query, "variables": variables},
        headers={"accept": "application/graphql-response+json"},
    )
    assert answer.status_code == 400
    found = answer.json()
    assert "data" not in found
    for error in found["errors"]:
        assert error["extensions"]["code"] == "bad-value"


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────


def test_a_request_is_answered_and_a_batch_is_not(served: FastAPI) -> None:
    assert send(served, {"query": "{ __typename }"}).json() == {"data": {"__typename": "Query"}}
    assert send(served, [{"query": "{ __typename }"}]).status_code == 400


def test_a_request_whose_answer_was_partly_found_is_answered(served: FastAPI) -> None:
    answer = send(served, {"query": '{ __typename node(id: "x") { id } }'})
    assert answer.status_code == 200
    assert answer.json()["data"] == {"__typename": "Query", "node": None}
    assert answer.json()["errors"][0]["extensions"] == {"code": "bad-reference", "type": "InvalidInput"}


def test_who_shows_no_token_is_shown_the_page_and_nothing_else(world: World) -> None:
    guarded = _served(world, authentication="tokens")
    page = send(guarded, method="GET", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
    for asked in (
        send(guarded, {"query": "{ __typename }"}),
        send(guarded, {"query": "{ __schema { types { name } } }"}, headers={"authorization": "Bearer x"}),
        send(guarded, method="GET", params={"query": "{ __typename }"}, headers={"accept": "text/html"}),
    ):
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Bearer")
        assert asked.json()["errors"][0]["extensions"]["code"] == "unauthenticated"


def test_who_shows_a_token_sees_what_it_grants(world: World) -> None:
    assert isinstance(world.catalog, SqlCatalog)
    World(world.catalog, project="shut").note("gather")
    World(world.catalog, project="open").note("train")
    secret, grants = "whence_" + "a" * 43, access.Grants.parse(["read:open"])
    now = datetime.now(UTC)
    world.catalog.add_token(access.Token(simulator.uid(), "t", "robot", access.hash_of(secret), grants, now))
    answer = send(
        _served(world, authentication="tokens"),
        {"query": "{ runs { nodes { project job { name } } } }"},
        headers={"authorization": f"Bearer {secret}"},
    )
    assert answer.json() == {"data": {"runs": {"nodes": [{"project": "open", "job": {"name": "train"}}]}}}


def test_a_database_that_is_gone_is_not_told_about(served: FastAPI, world: World) -> None:
    world.catalog.close()
    answer = send(served, {"query": "{ runs { nodes { uid } } }"})
    assert answer.json()["data"] is None
    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"code": "unreachable", "type": "Unreachable"}
    assert "catalog.db" not in answer.text
    assert "/" not in error["message"]


def _served(world: World, **settings: Any) -> FastAPI:
    return app.create_app(world.catalog, Settings(**settings))  # type: ignore[arg-type]


def test_limits_are_settings_of_the_server(world: World) -> None:
    strict = _served(world, graphql_items=5, graphql_depth=3)
    told = [
        send(strict, {"query": query}).json()["errors"][0]["message"]
        for query in ("{ runs(first: 6) { masked } }", nested(2))
    ]
    assert "expected 1 to 5" in told[0]
    assert "more than 3 deep" in told[1]
    assert Settings().graphql_limits == GraphqlLimits()


def test_tools_may_ask_for_the_schema_however_strict_the_limits_are(world: World) -> None:
    strict = Schema(world.catalog, replace(LIMITS, depth=2, cost=10, breadth=1))
    answer = strict(get_introspection_query(descriptions=True, input_value_deprecation=True))
    assert answer.errors == []
    twice = "{ a: __schema { types { fields { args { name } } } } b: __schema { types { name } } }"
    strict.data(twice)
    deep = "{ __schema { queryType { " + "ofType { " * 17 + "name" + " }" * 17 + " } } }"
    strict.data(deep)
    assert "deep" in refused(strict, deep.replace("name", "ofType { name }"))


def test_limits_are_declared_in_one_place_and_may_be_others(world: World) -> None:
    strict = Schema(world.catalog, replace(LIMITS, items=5, depth=3))
    assert "expected 1 to 5" in refused(strict, "{ runs(first: 6) { masked } }")
    assert "more than 3 deep" in refused(strict, nested(2))
    assert (
        model.RunState.RUNNING.name
        in strict.data('{ __type(name: "RunState") { enumValues { name } } }')["__type"]["enumValues"][
            0
        ].values()
    )

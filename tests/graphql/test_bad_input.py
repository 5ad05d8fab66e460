"""Whatever is sent to a real server, the answer says what is wrong with it, nothing of the server, and the next is answered."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests import postgres, servers, simulator
from tests.graphql.test_fuzz import KINDS
from tests.simulator import World, taken
from whence_api.graphql import relay
from whence_catalog import access, model
from whence_catalog.sql.catalog import SqlCatalog

NOTHING = UUID(int=7)
# What no answer may hold.
SECRETS = (
    "traceback",
    'file "',
    "site-packages",
    "sqlite",
    "psycopg",
    "select *",
    "from fact",
    "catalog.db",
    "/tmp",
)
JSON = "application/json"


def _sqlite(folder: Path) -> AbstractContextManager[SqlCatalog]:
    return closing(SqlCatalog.open(folder / "catalog.db", synchronous="NORMAL"))


@contextmanager
def _postgresql(_: Path) -> Iterator[SqlCatalog]:
    with postgres.shared().database() as url, closing(SqlCatalog.connect(url)) as opened:
        yield opened


class Asked:
    """A server, asked by somebody who may read one project of two."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"authorization": f"Bearer {token}", "accept": "application/graphql-response+json"}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60)

    def answer(self, query: str, **variables: object) -> Any:
        """What is answered to a question, be it refused or not; and that it tells nothing of the server."""
        return self.checked(self.http.post("/graphql", json={"query": query, "variables": variables}))

    def checked(self, response: httpx.Response) -> Any:
        """The answer in a response."""
        assert response.status_code < 500, response.text
        assert not [word for word in SECRETS if word in response.text.lower()], response.text[:500]
        found = response.json()
        for error in found.get("errors", ()):
            assert error["extensions"]["code"] in KINDS, error
            assert len(error["message"]) < 1000
        return found

    def refused(self, query: str, **variables: object) -> set[str]:
        """Of what kinds the errors are with which a question was refused: beside the data, or in its place."""
        found = self.answer(query, **variables)
        kinds = {error["extensions"]["code"] for error in found.get("errors", ())}
        typed = [part for part in (found.get("data") or {}).values() if part and "kind" in part]
        assert kinds or typed, found
        return kinds | {part["kind"] for part in typed}


@pytest.fixture(scope="module", params=[_sqlite, _postgresql], ids=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A server on each database: d → train → m, three times; d is of a project that may not be read too."""
    with request.param(tmp_path_factory.mktemp("catalog")) as catalog:
        world = World(catalog)
        data = world.note("load", {"dataset:d": b"D"}).outputs[0]
        for n in range(3):
            made = world.note("train", {"model:m": b"%d" % n}, inputs=(taken(data),)).outputs[0].version
            move = model.AliasMove(
                simulator.uid(), made.artifact, f"a{n}", made.digest, simulator.ACTOR, "good"
            )
            simulator.one(catalog.move_aliases([move]))
            serve = model.DeploymentClaim(
                simulator.uid(), made.artifact, made.digest, f"t{n}", simulator.ACTOR
            )
            simulator.one(catalog.deploy([serve]))
        World(catalog, project="shut").note("hide", {"shut/model:secret": b"S"})
        secret, grants = (
            "whence_" + "a" * 43,
            access.Grants.parse(["read:default", "promote:default", "approve:default"]),
        )
        catalog.add_token(
            access.Token(simulator.uid(), "t", "dora", access.hash_of(secret), grants, datetime.now(UTC))
        )
        before = len(catalog.facts())
        with servers.in_thread(
            catalog, authentication="tokens", sweep_seconds=0, requests_per_second=0
        ) as url:
            asked = Asked(url, secret)
            yield asked
            assert asked.answer("{ __typename }") == {"data": {"__typename": "Query"}}
            asked.http.close()
        # Nothing of all that was written down.
        assert len(catalog.facts()) == before


# ── ids and cursors ──────────────────────────────────────────────────────────────────────────────

BY_ID = {
    "node": "query($id: ID!) { found: node(id: $id) { id } }",
    "run": "query($id: ID!) { found: run(id: $id) { ... on Error { kind } } }",
    "artifact": "query($id: String!) { found: artifact(ref: $id) { ... on Error { kind } } }",
    "resolve": "query($id: String!) { found: resolve(ref: $id) { ... on Error { kind } } }",
    "lineage": "query($id: ID!) { found: lineage(roots: [$id], direction: UP) { ... on Error { kind } } }",
    "lineageCounts": "query($id: ID!) { found: lineageCounts(roots: [$id], direction: UP) { ... on Error { kind } } }",
    "paths": 'query($id: ID!) { found: paths(from: $id, to: "model:m") { ... on Error { kind } } }',
    "roots": "query($id: ID!) { found: roots(of: [$id]) { ... on Error { kind } } }",
    "commonAncestors": 'query($id: ID!) { found: commonAncestors(of: [$id, "model:m"]) { ... on Error { kind } } }',
    "impact": "query($id: ID!) { found: impact(of: $id) { ... on Error { kind } } }",
    "difference": 'query($id: ID!) { found: difference(left: $id, right: "model:m") { ... on Error { kind } } }',
    "explain": "query($id: ID!) { found: explain(run: $id) { ... on Error { kind } } }",
    "aliasAt": 'query($id: ID!) { found: aliasAt(artifact: $id, alias: "a0", at: "2100-01-01T00:00:00Z") { ... on Error { kind } } }',
}
MALFORMED = [
    "",
    " ",
    "\0",
    "x" * 10_000,
    "😀",
    "' OR 1=1 --",
    "model:m@-1",
    "model:m@" + "9" * 4000,
    "VmVyc2lvbjo",  # Version, and no key
    "../../etc/passwd",
    "\u202e:\u202e",
]


@pytest.mark.parametrize("field", sorted(BY_ID))
def test_a_malformed_id_is_refused_by_every_question(server: Asked, field: str) -> None:
    for id in MALFORMED:
        kinds = server.refused(BY_ID[field], id=id)
        assert {kind.partition("-")[0] for kind in kinds} <= {"bad", "no", "too", "ambiguous"}, id[:20]


@pytest.mark.parametrize("field", sorted(set(BY_ID) - {"node"}))
def test_what_is_not_there_and_what_may_not_be_read_are_answered_alike(server: Asked, field: str) -> None:
    def told(name: str) -> str:
        return json.dumps(server.answer(BY_ID[field], id=name)).replace(name, "it")

    of = "{}/model:secret" if field in ("artifact", "aliasAt") else "{}/model:secret@1"
    hidden, absent = (told(of.format(project)) for project in ("shut", "none"))
    assert hidden.replace("shut", "none") == absent
    assert "kind" in hidden or "errors" in hidden


def test_a_node_that_may_not_be_read_is_nothing(server: Asked) -> None:
    for project in ("shut", "none"):
        for type, key in (
            (relay.NodeType.VERSION, f"{project}/model:secret@1"),
            (relay.NodeType.ARTIFACT, f"{project}/model:secret"),
            (relay.NodeType.RUN, NOTHING),
            (relay.NodeType.DEPLOYMENT, NOTHING),
        ):
            assert server.answer(BY_ID["node"], id=relay.id_of(type, key)) == {"data": {"found": None}}


_PAGE = "... on {0} {{ pageInfo {{ endCursor }} }} ... on Error {{ kind }}"
IMPACT_PAGE = _PAGE.format("ImpactConnection")
NODES_PAGE = _PAGE.format("LineageNodeConnection")
PAGED = {
    "runs": "runs(first: 1, after: $after) { pageInfo { endCursor } }",
    "runs of a job": 'runs(job: "train", first: 1, after: $after) { pageInfo { endCursor } }',
    "deployments": "deployments(first: 1, after: $after) { pageInfo { endCursor } }",
    "deployments there": 'deployments(target: "t1", first: 1, after: $after) { pageInfo { endCursor } }',
    "search": 'search(text: "m", first: 1, after: $after) { pageInfo { endCursor } }',
    "search of all": "search(first: 1, after: $after) { pageInfo { endCursor } }",
    "roots": f'roots(of: ["model:m"], first: 1, after: $after) {{ {NODES_PAGE} }}',
    "common": f'commonAncestors(of: ["model:m@1", "model:m@2"], first: 1, after: $after) {{ {NODES_PAGE} }}',
    "impact": f'impact(of: "dataset:d", first: 1, after: $after) {{ {IMPACT_PAGE} }}',
    "impact of a model": f'impact(of: "model:m@1", first: 1, after: $after) {{ {IMPACT_PAGE} }}',
    "versions": 'artifact(ref: "model:m") { ... on Artifact { versions(first: 1, after: $after) { pageInfo { endCursor } } } }',
    "timeline": 'artifact(ref: "model:m") { ... on Artifact { timeline(first: 1, after: $after) { pageInfo { endCursor } } } }',
    "timeline of a version": 'resolve(ref: "model:m@1") { ... on Version { timeline(first: 1, after: $after) { pageInfo { endCursor } } } }',
    "timeline then": 'artifact(ref: "model:m") { ... on Artifact { timeline(asOf: 4, first: 1, after: $after) { pageInfo { endCursor } } } }',
    "consumers": 'resolve(ref: "dataset:d") { ... on Version { consumers(first: 1, after: $after) { pageInfo { endCursor } } } }',
    "cache entries": "cacheEntries(first: 1, after: $after) { pageInfo { endCursor } }",
    "divergences": "divergences(first: 1, after: $after) { pageInfo { endCursor } }",
}


def _paged(name: str) -> str:
    return f"query($after: String) {{ found: {PAGED[name]} }}"


@pytest.mark.parametrize("name", sorted(PAGED))
def test_a_cursor_of_another_question_and_what_is_no_cursor_are_refused(server: Asked, name: str) -> None:
    cursors = {}
    for other in PAGED:
        part = server.answer(_paged(other))["data"]["found"]
        while part and "pageInfo" not in part:
            (part,) = part.values()
        if part["pageInfo"]["endCursor"]:
            cursors[other] = part["pageInfo"]["endCursor"]
    assert len(set(cursors.values())) == len(cursors) >= 13
    own = cursors.pop(name, None)
    for other, cursor in cursors.items():
        assert server.refused(_paged(name), after=cursor) == {"bad-value"}, other
    broken = () if own is None else (own[:-4], own[4:], own + own, own.swapcase())
    for text in ("", "x", "😀", "\0", "A" * 5000, *broken):
        assert server.refused(_paged(name), after=text) == {"bad-value"}, text


def test_a_frontier_of_another_question_and_what_is_none_are_refused(server: Asked) -> None:
    query = """query($root: ID!, $frontier: String) { found: lineage(roots: [$root], direction: UP, bounds: {maxNodes: 1}, frontier: $frontier)
               { ... on Lineage { completeness { frontier } } ... on Error { kind } } }"""
    frontier = server.answer(query, root="model:m")["data"]["found"]["completeness"]["frontier"]
    assert server.answer(query, root="model:m", frontier=frontier)["data"]["found"]["completeness"]
    for root, text in (
        ("dataset:d", frontier),
        ("model:m@1", frontier),
        ("model:m", frontier[:-6]),
        ("model:m", ""),
        ("model:m", "A" * 5000),
    ):
        assert server.refused(query, root=root, frontier=text) == {"bad-value"}


# ── too much ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "bounds",
    [
        {"depth": -1},
        {"depth": -(2**31)},
        {"maxNodes": 0},
        {"maxNodes": -5},
        {"maxNodes": 2**31 - 1},
        {"maxNodes": 2**80},
        {"seconds": -1},
        {"seconds": 1e308},
        {"seconds": "1"},
        {"depth": 1.5},
        {"depth": "deep"},
    ],
    ids=str,
)
def test_bounds_that_cannot_be_are_refused(server: Asked, bounds: dict[str, object]) -> None:
    query = """query($b: Bounds) { found: lineage(roots: ["model:m"], direction: UP, bounds: $b) { ... on Error { kind } ... on Lineage { roots } } }"""
    assert server.refused(query, b=bounds) <= {"bad-value", "too-large"}


def test_a_depth_that_nothing_reaches_is_as_good_as_none(server: Asked) -> None:
    query = """query($d: Int) { found: lineage(roots: ["model:m"], direction: BOTH, bounds: {depth: $d}) { ... on Lineage { nodes { id } completeness { complete } } } }"""
    assert server.answer(query, d=2**31 - 1) == server.answer(query)


def _cycle(count: int) -> str:
    parts = (f"fragment F{n} on Run {{ parent {{ ...F{(n + 1) % count} }} }}" for n in range(count))
    return "{ runs { nodes { ...F0 } } } " + " ".join(parts)


DOUBLED = "fragment F60 on Run { uid } { runs { nodes { ...F0 } } } " + " ".join(
    f"fragment F{n} on Run {{ parent {{ ...F{n + 1} }} ...F{n + 1} }}" for n in range(60)
)
TOO_MUCH = {
    "deep fields": "{ runs(first: 1) { nodes { " + "parent { " * 100 + "uid" + " }" * 100 + " } } }",
    "deeper than a stack": "{ a " * 30_000,
    "deep values": "{ runs(states: " + "[" * 30_000 + "]" * 30_000 + ") { masked } }",
    "deep types": "query($a: " + "[" * 30_000 + "Int" + "]" * 30_000 + ") { __typename }",
    "wide lists": "{ runs(first: 100) { nodes { children(first: 100) { nodes { children(first: 100) { nodes { uid } } } } } } }",
    "one list too long": "{ runs(first: 2147483647) { nodes { uid } } }",
    "many aliases": "{ " + " ".join(f"a{n}: __typename" for n in range(500)) + " }",
    "many looks at all": "{ "
    + " ".join(f'a{n}: impact(of: "model:m") {{ __typename }}' for n in range(25))
    + " }",
    "many ids": "{ nodes(ids: [" + '"x",' * 101 + "]) { id } }",
    "many roots": "{ lineage(direction: UP, roots: [" + '"x",' * 101 + "]) { __typename } }",
    "many words": "{ " + "__typename " * 20_000 + "}",
    "a long document": "{ __typename } #" + "x" * 200_000,
    "a fragment of itself": "{ ...F } fragment F on Query { __typename ...F }",
    "a circle of fragments": _cycle(2),
    "a long circle of fragments": _cycle(90),
    "fragments that double": DOUBLED,
    "many operations": " ".join(f"query Q{n} {{ __typename }}" for n in range(200)),
    "the schema in circles": "{ __schema { types { "
    + "fields { type { " * 8
    + "name"
    + " } }" * 8
    + " } } }",
    "directives without end": "{ __typename " + "@skip(if: false) " * 5000 + "}",
}


@pytest.mark.parametrize("name", sorted(TOO_MUCH))
def test_what_asks_for_too_much_is_refused_before_it_is_carried_out(server: Asked, name: str) -> None:
    found = server.answer(TOO_MUCH[name])
    assert "data" not in found
    assert {error["extensions"]["code"] for error in found["errors"]} <= {"too-large", "bad-value"}


@pytest.mark.parametrize(
    "given",
    [
        {"kinds": ["x" * 1_000_000]},
        {"kinds": ["k"] * 100_000},
        {"projects": ["p"] * 100_000},
        {"labels": [{"name": "n", "value": "v"}] * 20_000},
        {"metrics": [{"name": "m", "low": 0}] * 20_000},
        {"kinds": "\0"},
        {"labels": {"a": {"b": {"c": 1}}}},
        {"nothing": 1},
    ],
    ids=range(8),
)
def test_variables_however_large_are_answered_or_refused(server: Asked, given: dict[str, object]) -> None:
    """That it is no fault is what `answer` looks at."""
    query = "query($f: SearchFilter) { found: search(filter: $f) { nodes { __typename } } }"
    assert server.answer(query, f=given)


def test_variables_that_are_nested_without_end_are_refused(server: Asked) -> None:
    for value in ("[" * 200_000 + "]" * 200_000, '{"a":' * 200_000 + "1" + "}" * 200_000):
        body = '{"query": "query($f: SearchFilter) { search(filter: $f) { masked: __typename } }", "variables": {"f": %s}}'
        response = server.http.post("/graphql", content=body % value, headers={"content-type": JSON})
        assert server.checked(response)["errors"]
        assert 400 <= response.status_code < 500


def test_a_body_that_is_too_large_is_refused_before_it_is_read(server: Asked) -> None:
    body = json.dumps({"query": "{ __typename }", "variables": {"x": "y" * 70_000_000}})
    response = server.http.post("/graphql", content=body, headers={"content-type": JSON})
    assert response.status_code == 413


# ── by what means ────────────────────────────────────────────────────────────────────────────────


def test_a_mutation_by_get_or_as_a_form_changes_nothing(server: Asked) -> None:
    """That nothing was written down is looked at when the server ends."""
    change = 'mutation { quarantine(input: {version: "model:m", reason: "x"}) { __typename } }'
    got = server.http.get("/graphql", params={"query": change})
    assert (got.status_code, "errors" in server.checked(got)) == (400, True)
    for headers, content in (
        ({"content-type": "text/plain"}, json.dumps({"query": change})),
        ({"content-type": "application/x-www-form-urlencoded"}, f"query={change}"),
        ({"content-type": "application/graphql"}, change),
        ({}, json.dumps({"query": change})),
    ):
        posted = server.http.post("/graphql", content=content, headers=headers)
        assert posted.status_code == 415
        assert server.checked(posted)["errors"]

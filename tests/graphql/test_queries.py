"""What is asked, and what is answered: references, ids, errors, lineage, and what somebody may not see."""

import asyncio
import base64
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import simulator
from tests.contract.conftest import CATALOGS
from tests.graphql.conftest import Schema
from tests.simulator import World, artifact, claim, digest_of, taken
from whence_api.graphql import relay
from whence_api.graphql.limits import GraphqlLimits
from whence_catalog import cache, model
from whence_catalog.access import Grant, Grants, Viewer

RESOLVE = "query($ref: String!) { resolve(ref: $ref) { __typename ... on Version { id ref } ... on Error { kind message } } }"


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world on an empty catalog, of either database."""
    with CATALOGS[request.param](tmp_path) as opened:
        yield World(opened)


@pytest.fixture
def pipeline(world: World) -> World:
    """d → train → m, of which prod is the first Version."""
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    first = world.run("train", {"model:m": b"M"}, c=1.0, inputs=(taken(data, "data"),))
    world.run("train", {"model:m": b"N"}, c=2.0, inputs=(taken(data, "data"),))
    version = first.outputs[0].version
    move = model.AliasMove(
        simulator.uid(), version.artifact, "prod", version.digest, simulator.ACTOR, "it is good"
    )
    simulator.one(world.catalog.move_aliases([move]))
    return world


# ── references and ids ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("model:m", "model:m@2"),
        ("model:m@latest", "model:m@2"),
        ("model:m@1", "model:m@1"),
        ("model:m@prod", "model:m@1"),
        (f"model:m@{digest_of(b'N')}", "model:m@2"),
    ],
)
def test_a_reference_means_a_version(pipeline: World, ask: Schema, reference: str, found: str) -> None:
    assert ask.data(RESOLVE, ref=reference)["resolve"]["ref"] == found


@pytest.mark.parametrize(
    ("reference", "type", "kind"),
    [
        ("model:none", "NotFound", "no-such-artifact"),
        ("model:m@3", "NotFound", "no-such-version"),
        ("model:m@best", "NotFound", "no-such-alias"),
        (f"model:m@{10**40}", "NotFound", "no-such-version"),
        ("m", "InvalidInput", "bad-reference"),
        ("model:m@0", "InvalidInput", "bad-reference"),
        ("", "InvalidInput", "bad-reference"),
    ],
)
def test_a_reference_that_means_nothing_is_a_typed_error(
    pipeline: World, ask: Schema, reference: str, type: str, kind: str
) -> None:
    found = ask.data(RESOLVE, ref=reference)["resolve"]
    assert (found["__typename"], found["kind"]) == (type, kind)
    assert found["message"]


def test_what_has_an_id_is_found_again_by_it(pipeline: World, ask: Schema) -> None:
    named = ask.data(
        """{ resolve(ref: "model:m@prod") { ... on Version {
               id artifact { id } productions { nodes { run { id } } } } } }"""
    )["resolve"]
    ids = [named["id"], named["artifact"]["id"], named["productions"]["nodes"][0]["run"]["id"]]
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
    assert ask.data(query, ids=ids)["nodes"] == [
        {"__typename": type, "id": id} for type, id in zip(["Version", "Artifact", "Run"], ids, strict=True)
    ]
    for id in ids:
        assert ask.data("query($id: ID!) { node(id: $id) { id } }", id=id)["node"] == {"id": id}


def test_a_version_has_one_id_by_whatever_reference_it_was_found(pipeline: World, ask: Schema) -> None:
    references = ("model:m@1", "model:m@prod", f"model:m@{digest_of(b'M')}")
    assert len({ask.data(RESOLVE, ref=reference)["resolve"]["id"] for reference in references}) == 1


def test_an_id_of_nothing_is_null_among_others(pipeline: World, ask: Schema) -> None:
    names = [
        (relay.NodeType.VERSION, "model:m@9"),
        (relay.NodeType.ARTIFACT, "model:none"),
        (relay.NodeType.RUN, simulator.uid()),
        (relay.NodeType.VERSION, "model:m@1"),
    ]
    ids = [str(relay.id_of(type, key)) for type, key in names]
    found = ask.data("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids)["nodes"]
    assert found == [None, None, None, {"id": ids[-1]}]


@pytest.mark.parametrize(
    "id", ["", "x", "model:m@1", "é", "VmVyc2lvbg", "VmVyc2lvbjo", "Sm9iOng", "A" * 5000]
)
def test_what_is_no_id_is_refused(ask: Schema, id: str) -> None:
    answer = ask("query($id: ID!) { node(id: $id) { id } }", id=id)
    assert answer.codes == ["bad-reference"]
    assert len(answer.errors[0]["message"]) < 200


def test_an_id_in_another_writing_is_refused(pipeline: World, ask: Schema) -> None:
    id = ask.data(RESOLVE, ref="model:m@1")["resolve"]["id"]
    answer = ask("query($id: ID!) { node(id: $id) { id } }", id=f"{id}=")
    assert answer.codes == ["bad-reference"]


@pytest.mark.parametrize("key", ["Run:x", "Version:m", "Artifact:@"])
def test_an_id_whose_name_cannot_be_is_refused(ask: Schema, key: str) -> None:
    id = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
    assert ask("query($id: ID!) { node(id: $id) { id } }", id=id).codes == ["bad-reference"]


def test_a_run_is_found_by_the_start_of_its_id(pipeline: World, ask: Schema) -> None:
    run = pipeline.catalog.list_runs(job="train").items[0]
    query = "query($id: ID!) { run(id: $id) { __typename ... on Run { uid } ... on Error { kind } } }"
    assert ask.data(query, id=run.short)["run"] == {"__typename": "Run", "uid": str(run.uid)}
    assert ask.data(query, id="ffffffff")["run"] == {"__typename": "NotFound", "kind": "no-such-run"}
    assert ask.data(query, id="x")["run"] == {"__typename": "InvalidInput", "kind": "bad-reference"}


def test_an_artifact_is_found_by_its_name_and_not_by_a_version_of_it(pipeline: World, ask: Schema) -> None:
    query = """query($ref: String!) { artifact(ref: $ref) { __typename ... on Artifact {
                 ref kind project name best: version(selector: "prod") { number } none: version(selector: "9") { id }
                 versions { totalCount nodes { number } } } ... on Error { kind } } }"""
    assert ask.data(query, ref="model:m")["artifact"] == {
        "__typename": "Artifact",
        "ref": "model:m",
        "kind": "model",
        "project": "default",
        "name": "m",
        "best": {"number": 1},
        "none": None,
        "versions": {"totalCount": 2, "nodes": [{"number": 2}, {"number": 1}]},
    }
    assert ask.data(query, ref="model:n")["artifact"]["kind"] == "no-such-artifact"
    assert ask.data(query, ref="model:m@1")["artifact"]["kind"] == "bad-reference"


def test_a_version_is_found_by_its_number(pipeline: World, ask: Schema) -> None:
    query = """query($n: Int!) { version(artifact: "model:m", number: $n) {
                 ... on Version { number } ... on Error { kind } } }"""
    assert ask.data(query, n=2)["version"] == {"number": 2}
    assert ask.data(query, n=3)["version"] == {"kind": "no-such-version"}
    assert ask.data(query, n=-1)["version"]["kind"] in ("no-such-alias", "bad-reference")


# ── values ───────────────────────────────────────────────────────────────────────────────────────


def test_a_version_tells_where_it_came_from_and_who_took_it(pipeline: World, ask: Schema) -> None:
    found = ask.data(
        """{ resolve(ref: "model:m@1") { ... on Version {
             digest strength form sizeBytes
             aliases { nodes { name reason until actor { name authenticated } version { number } } }
             productions { nodes { role run { job { name } state cache { mode reused outcome reason key }
               inputs { nodes { role ordinal ambiguous version { ref }
                 production { role run { job { name } } version { consumers { nodes { job { name } } } } } } }
               outputs { nodes { version { number } } } } } } } } }"""
    )["resolve"]
    assert found["digest"] == digest_of(b"M").text
    assert (found["strength"], found["form"], found["sizeBytes"]) == ("CONTENT", "FILE", 1)
    assert found["aliases"]["nodes"] == [
        {
            "name": "prod",
            "reason": "it is good",
            "until": None,
            "actor": {"name": "tester", "authenticated": False},
            "version": {"number": 1},
        }
    ]
    run = found["productions"]["nodes"][0]["run"]
    assert (run["state"], run["job"]["name"]) == ("COMPLETE", "train")
    assert run["cache"]["outcome"] == "entered"
    assert run["cache"]["key"].startswith("wk1:")
    assert run["outputs"]["nodes"] == [{"version": {"number": 1}}]
    (took,) = run["inputs"]["nodes"]
    assert (took["role"], took["version"]["ref"], took["ambiguous"]) == ("data", "dataset:d@1", False)
    assert took["production"]["run"]["job"]["name"] == "load"
    assert [job["job"]["name"] for job in took["production"]["version"]["consumers"]["nodes"]] == [
        "train"
    ] * 2


def test_what_json_cannot_say_is_said_in_words(world: World, ask: Schema) -> None:
    call = world.plain_call(params={"rate": math.inf, "n": 2**70, "raw": b"\x00\xff"})
    made = claim("model:m", b"M", metrics={"loss": math.nan}, metadata={"best": -math.inf})
    report = replace(world.report(call, metrics={"loss": math.nan, "acc": 0.5}), outputs=(made,))
    simulator.one(world.catalog.record_runs([(call, report)]))
    (run,) = ask.data(
        """{ runs { nodes { params metrics { name value text } outputs { nodes { metadata metrics { value text } } } } } }"""
    )["runs"]["nodes"]
    assert run["params"] == {"rate": "Infinity", "n": 2**70, "raw": "00ff"}
    assert run["metrics"] == [
        {"name": "acc", "value": 0.5, "text": "0.5"},
        {"name": "loss", "value": None, "text": "NaN"},
    ]
    (output,) = run["outputs"]["nodes"]
    assert output == {"metadata": {"best": "-Infinity"}, "metrics": [{"value": None, "text": "NaN"}]}


def test_a_run_tells_its_labels_its_error_and_its_kin(world: World, ask: Schema) -> None:
    parent = world.plain_call("pipeline")
    world.begin(parent)
    first = world.plain_call(parent=parent.run, labels={"team": "perception"})
    world.begin(first)
    world.finish(world.report(first, state=model.RunState.FAILED, error="ValueError: no", warnings=("odd",)))
    world.begin(world.plain_call(parent=parent.run, retry_of=first.run))
    again, failed, above = ask.data(
        """{ runs { nodes { state error warnings labels { name value } seconds finishedAt
             parent { job { name } } retryOf { error } origin { id } children { nodes { state } } } } }"""
    )["runs"]["nodes"]
    assert (failed["state"], failed["error"], failed["warnings"]) == ("FAILED", "ValueError: no", ["odd"])
    assert failed["labels"] == [{"name": "team", "value": "perception"}]
    assert failed["seconds"] >= 0
    assert again["retryOf"] == {"error": "ValueError: no"}
    assert (again["seconds"], again["finishedAt"], again["origin"]) == (None, None, None)
    assert again["parent"] == failed["parent"] == {"job": {"name": "pipeline"}}
    assert [child["state"] for child in above["children"]["nodes"]] == ["RUNNING", "FAILED"]


def test_a_reused_run_names_its_origin_and_why_its_key_is_the_same(pipeline: World, ask: Schema) -> None:
    data = pipeline.catalog.list_runs(job="load").items[0]
    output = simulator.one(pipeline.catalog.outputs_of([data.uid])).items[0]
    again = pipeline.call("train", c=1.0, inputs=(taken(output, "data"),))
    pipeline.ask(again)
    query = """query($id: ID!) { run(id: $id) { ... on Run { state origin { cache { outcome } }
                 outputs { nodes { version { ref } run { state } } }
                 cache { reused explanation { note against components { name change } } } } } }"""
    found = ask.data(query, id=str(again.run))["run"]
    assert (found["state"], found["origin"]) == ("REUSED", {"cache": {"outcome": "entered"}})
    assert found["outputs"]["nodes"] == [{"version": {"ref": "model:m@1"}, "run": {"state": "COMPLETE"}}]
    explained = found["cache"]["explanation"]
    assert explained["note"] == "reused: every component is the same"
    assert {component["change"] for component in explained["components"]} == {"SAME"}


def test_an_explanation_names_what_changed(pipeline: World, ask: Schema) -> None:
    run = pipeline.catalog.list_runs(job="train").items[0]
    query = """query($id: ID!) { run(id: $id) { ... on Run { cache { explanation {
                 against components { name change before after } } } } } }"""
    explained = ask.data(query, id=str(run.uid))["run"]["cache"]["explanation"]
    changed = [part for part in explained["components"] if part["change"] == "CHANGED"]
    assert changed == [{"name": "params/c", "change": "CHANGED", "before": "1.0", "after": "2.0"}]


EXPLAIN = """query($run: ID, $key: String, $against: ID) { explain(run: $run, key: $key, against: $against) {
    __typename ... on Error { message }
    ... on Explanation { key run against reason note answer { decision reason run }
      components { name change before after } causes { role run against job through note
        components { name before after } } lookedAt isNearestOfAll } } }"""


def test_a_run_or_a_key_is_explained_beside_the_nearest_or_the_one_that_is_asked_for(
    world: World, ask: Schema
) -> None:
    runs = [world.run("train", {"model:m": b"M"}, c=float(n)).run for n in range(3)]
    found = ask.data(EXPLAIN, run=str(runs[2].uid), against=str(runs[0].uid))["explain"]
    changed = [(part["before"], part["after"]) for part in found["components"] if part["change"] == "CHANGED"]
    assert changed == [("0.0", "2.0")]
    assert (found["reason"], found["answer"], found["causes"]) == ("no entry", None, [])
    by_key = ask.data(EXPLAIN, key=runs[2].key)["explain"]
    assert by_key["answer"] == {"decision": "REUSE", "reason": None, "run": by_key["run"]}
    assert by_key["against"] != found["against"]
    for wrong in ({}, {"run": str(runs[0].uid), "key": runs[0].key}):
        assert ask.data(EXPLAIN, **wrong)["explain"]["__typename"] == "InvalidInput"
    assert ask.data(EXPLAIN, key="wk1:00000000")["explain"]["__typename"] == "NotFound"


def test_the_run_upstream_that_began_it_is_shown(world: World, ask: Schema) -> None:
    runs = []
    for content in (b"A", b"B"):
        data = world.note("publish", {"dataset:d": content})
        claim = taken(data.outputs[0], "all")
        runs.append((data.run, world.run("train", {"model:m": content}, inputs=[claim]).run))
    found = ask.data(EXPLAIN, run=str(runs[1][1].uid))["explain"]
    (cause,) = found["causes"]
    assert (cause["role"], cause["job"], cause["through"]) == ("all", "publish", [])
    assert cause["run"] == str(relay.id_of(relay.NodeType.RUN, runs[1][0].uid))
    assert "has no key" in cause["note"]


def test_what_the_cache_decided_for_a_run_and_why_is_shown(world: World, ask: Schema) -> None:
    run = world.run("train", {"model:m": b"M"}).run
    again = world.call()
    world.ask(again)
    query = "query($id: ID!) { run(id: $id) { ... on Run { cache { decision executedBecause } } } }"
    cached = [ask.data(query, id=str(uid))["run"]["cache"] for uid in (run.uid, again.run)]
    assert cached == [
        {"decision": "EXECUTE", "executedBecause": "no entry"},
        {"decision": "REUSE", "executedBecause": None},
    ]


def test_what_an_output_says_it_came_from_is_shown(world: World, ask: Schema) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    call = world.plain_call(inputs=(taken(data),))
    source = model.Source(data.version.artifact, data.version.digest, data.run)
    made = claim("model:m", b"M", derived_from=(source,), description="the first", location="s3://there")
    simulator.one(world.catalog.record_runs([(call, replace(world.report(call), outputs=(made,)))]))
    query = """query($ref: String!) { resolve(ref: $ref) { ... on Version { productions { nodes {
                 description location derivedFromCount
                 derivedFrom { version { ref } production { run { job { name } } } } } } } } }"""
    (found,) = ask.data(query, ref="model:m")["resolve"]["productions"]["nodes"]
    assert found == {
        "description": "the first",
        "location": "s3://there",
        "derivedFromCount": 1,
        "derivedFrom": [
            {"version": {"ref": "dataset:d@1"}, "production": {"run": {"job": {"name": "load"}}}}
        ],
    }
    (silent,) = ask.data(query, ref="dataset:d")["resolve"]["productions"]["nodes"]
    assert (silent["derivedFromCount"], silent["derivedFrom"]) == (None, None)


# ── search ───────────────────────────────────────────────────────────────────────────────────────

SEARCH = """query($text: String, $filter: SearchFilter) { search(text: $text, filter: $filter) { nodes {
    __typename ... on Artifact { ref } ... on Version { ref } ... on Job { name } } } }"""


def test_a_search_finds_artifacts_jobs_and_content(pipeline: World, ask: Schema) -> None:
    def found(text: str, **filter: object) -> list[tuple[str, str]]:
        hits = ask.data(SEARCH, text=text, filter=filter)["search"]["nodes"]
        return [(hit["__typename"], hit.get("ref") or hit["name"]) for hit in hits]

    assert found("RAI") == [("Job", "train")]
    assert found("m") == [("Artifact", "model:m")]
    assert found(digest_of(b"N").hex) == [("Version", "model:m@2")]
    assert found("", kinds=["dataset"]) == [("Artifact", "dataset:d")]
    assert found("", types=["JOB"]) == [("Job", "train"), ("Job", "load")]
    assert found("", projects=["other"]) == []
    assert found("nothing") == []


def test_a_search_finds_what_has_a_label_a_metric_or_a_time(world: World, ask: Schema) -> None:
    def found(**filter: object) -> list[str]:
        query = """query($filter: SearchFilter) { search(filter: $filter) { nodes { __typename
                     ... on Version { ref } ... on Run { job { name } metrics { value } } } } }"""
        hits = ask.data(query, filter=filter)["search"]["nodes"]
        return [hit.get("ref") or f"{hit['job']['name']} {hit['metrics'][0]['value']}" for hit in hits]

    for n, loss in enumerate((0.5, 0.1, 0.9)):
        call = world.plain_call(f"train {n}", labels={"team": "vision" if n else "speech"})
        simulator.one(world.catalog.record_runs([(call, world.report(call, metrics={"loss": loss}))]))
    vision = {"name": "team", "value": "vision"}
    assert found(labels=[vision], types=["RUN"]) == ["train 2 0.9", "train 1 0.1"]
    assert found(metrics=[{"name": "loss", "high": 0.5}]) == ["train 0 0.5", "train 1 0.1"]
    assert found(metrics=[{"name": "loss", "low": 0.2, "high": 0.5}], labels=[vision]) == []
    assert found(until="2001-01-01T00:00:00Z") == []
    assert len(found(since="2001-01-01T00:00:00+02:00", types=["RUN"])) == 3


@pytest.mark.parametrize(
    "filter",
    [
        {"metrics": [{"name": ""}]},
        {"metrics": [{"name": "loss", "low": "NaN"}]},
        {"since": "2001-01-01T00:00:00"},
        {"since": "yesterday"},
        {"labels": [{"name": "team"}]},
    ],
)
def test_a_search_that_cannot_be_is_refused(world: World, ask: Schema, filter: dict[str, object]) -> None:
    answer = ask(SEARCH, text="", filter=filter)
    assert (answer.data, set(answer.codes)) == (None, {"bad-value"})


# ── lineage ──────────────────────────────────────────────────────────────────────────────────────

LINEAGE = """query($roots: [ID!]!, $direction: Direction!, $bounds: Bounds, $filter: LineageFilter, $frontier: String) {
  lineage(roots: $roots, direction: $direction, bounds: $bounds, filter: $filter, frontier: $frontier) {
    __typename ... on Error { kind message }
    ... on Lineage { roots nodes { id type ref name kind state masked depth }
      edges { source target type role producer ambiguous }
      completeness { complete reasons frontier masked ambiguous filtered } } } }"""


def version_id(ask: Schema, reference: str) -> str:
    id: str = ask.data(RESOLVE, ref=reference)["resolve"]["id"]
    return id


def test_lineage_is_of_nodes_that_can_be_asked_for(pipeline: World, ask: Schema) -> None:
    root = version_id(ask, "model:m@1")
    found = ask.data(LINEAGE, roots=[root], direction="UP")["lineage"]
    assert found["roots"] == [root]
    assert [(node["type"], node["name"], node["depth"]) for node in found["nodes"]] == [
        ("VERSION", "model:m", 0),
        ("RUN", "train", 1),
        ("VERSION", "dataset:d", 1),
        ("RUN", "load", 2),
    ]
    ids = [node["id"] for node in found["nodes"]]
    assert {edge["source"] for edge in found["edges"]} | {edge["target"] for edge in found["edges"]} == set(
        ids
    )
    assert [
        node["id"] for node in ask.data("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids)["nodes"]
    ] == ids
    assert found["completeness"]["complete"]


def test_lineage_of_one_thing_is_the_same_as_of_a_root(pipeline: World, ask: Schema) -> None:
    root = version_id(ask, "model:m@1")
    whole = ask.data(LINEAGE, roots=[root], direction="UP")["lineage"]
    query = """query($id: ID!) { node(id: $id) { ... on Version { lineage(direction: UP) { nodes { id } } }
                 ... on Run { lineage(direction: DOWN) { nodes { name } } } } }"""
    assert [node["id"] for node in ask.data(query, id=root)["node"]["lineage"]["nodes"]] == [
        node["id"] for node in whole["nodes"]
    ]
    loaded = ask.data(query, id=whole["nodes"][-1]["id"])["node"]["lineage"]["nodes"]
    assert [node["name"] for node in loaded].count("model:m") == 2


def test_lineage_that_was_cut_says_so_and_goes_on(pipeline: World, ask: Schema) -> None:
    root = version_id(ask, "model:m@1")
    whole = ask.data(LINEAGE, roots=[root], direction="UP")["lineage"]
    nodes: list[Any] = []
    edges: list[Any] = []
    frontier, pages = None, 0
    while pages == 0 or frontier:
        page = ask.data(LINEAGE, roots=[root], direction="UP", bounds={"maxNodes": 1}, frontier=frontier)[
            "lineage"
        ]
        nodes, edges, pages = nodes + page["nodes"], edges + page["edges"], pages + 1
        frontier = page["completeness"]["frontier"]
        assert page["completeness"]["complete"] is (frontier is None)
        assert bool(page["completeness"]["reasons"]) is (frontier is not None)
    assert pages == 4
    assert [node["id"] for node in nodes] == [node["id"] for node in whole["nodes"]]
    assert {tuple(edge.values()) for edge in edges} == {tuple(edge.values()) for edge in whole["edges"]}
    assert len(edges) == len(whole["edges"])


def test_a_filter_leaves_nodes_out_counts_them_and_makes_no_edge(pipeline: World, ask: Schema) -> None:
    root = version_id(ask, "model:m@1")
    found = ask.data(LINEAGE, roots=[root], direction="UP", filter={"kinds": ["model"]})["lineage"]
    assert [node["name"] for node in found["nodes"]] == ["model:m", "train", "load"]
    assert [(edge["type"]) for edge in found["edges"]] == ["OUTPUT"]
    assert found["completeness"]["filtered"] == 1
    failed = ask.data(LINEAGE, roots=[root], direction="UP", filter={"states": ["failed"]})["lineage"]
    assert [node["type"] for node in failed["nodes"]] == ["VERSION", "VERSION"]
    assert failed["edges"] == []
    assert failed["completeness"]["filtered"] == 2
    none = ask.data(LINEAGE, roots=[root], direction="UP", filter={"projects": ["other"]})["lineage"]
    assert [node["id"] for node in none["nodes"]] == [root]
    every = ask.data(LINEAGE, roots=[root], direction="UP", filter={"kinds": [], "projects": []})["lineage"]
    assert every["completeness"]["filtered"] == 0


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"bounds": {"depth": 0}}, "bad-value"),
        ({"bounds": {"maxNodes": 0}}, "bad-value"),
        ({"bounds": {"maxNodes": 10_001}}, "bad-value"),
        ({"bounds": {"seconds": 1e9}}, "bad-value"),
        ({"bounds": {"seconds": -1}}, "bad-value"),
        ({"frontier": "x"}, "bad-value"),
        ({"roots": ["x"]}, "bad-reference"),
        ({"roots": ["QXJ0aWZhY3Q6bW9kZWw6bQ"]}, "bad-reference"),
        ({"roots": ["VmVyc2lvbjptb2RlbDptQDk"]}, "no-such-version"),
    ],
)
def test_lineage_that_cannot_be_is_a_typed_error(
    pipeline: World, ask: Schema, asked: dict[str, object], kind: str
) -> None:
    given = {"roots": [version_id(ask, "model:m@1")], "direction": "UP", **asked}
    assert ask.data(LINEAGE, **given)["lineage"]["kind"] == kind


# ── access ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def outsider(world: World) -> Schema:
    """Somebody who may read the project `open`, where a dataset of project `shut` was used, and one made for it."""
    shut, opened = World(world.catalog, project="shut"), World(world.catalog, project="open")
    secret = shut.note("gather", {"shut/dataset:secret": b"S"}).outputs[0]
    made = opened.note("train", {"open/model:m": b"M"}, inputs=(taken(secret, "data"),)).outputs[0]
    shut.note("evaluate", {"shut/report:r": b"R"}, inputs=(taken(made, "model"),))
    reads = Grants({"open": frozenset({Grant.READ})})
    return Schema(world.catalog, viewer=Viewer(model.Actor("guest", authenticated=True), reads))


def test_what_may_not_be_read_does_not_exist(outsider: Schema) -> None:
    assert outsider.data(RESOLVE, ref="shut/dataset:secret")["resolve"]["kind"] == "no-such-artifact"
    assert outsider.data("{ runs { nodes { project } } }")["runs"]["nodes"] == [{"project": "open"}]
    assert outsider.data(SEARCH, text="")["search"]["nodes"] == [
        {"__typename": "Artifact", "ref": "open/model:m"},
        {"__typename": "Job", "name": "train"},
    ]
    every = Schema(outsider.catalog).data("{ runs { nodes { id } } }")["runs"]["nodes"]
    seen = outsider.data("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[run["id"] for run in every])
    assert [node is None for node in seen["nodes"]] == [True, False, True]


def test_what_hangs_on_what_may_be_read_is_masked_and_counted(outsider: Schema) -> None:
    found = outsider.data(
        """{ resolve(ref: "open/model:m") { ... on Version {
             consumers { masked nodes { id } edges { cursor } }
             productions { nodes { run { inputs { masked nodes { id: role } } } } }
             lineage(direction: BOTH) { nodes { id type masked name state project at } completeness { masked } } } } }"""
    )["resolve"]
    assert found["consumers"] == {"masked": 1, "nodes": [], "edges": []}
    assert found["productions"]["nodes"][0]["run"]["inputs"] == {"masked": 1, "nodes": []}
    hidden = [node for node in found["lineage"]["nodes"] if node["masked"]]
    assert found["lineage"]["completeness"]["masked"] == len(hidden) == 4
    for node in hidden:
        assert (node["name"], node["state"], node["project"], node["at"]) == (None, "masked", None, None)
        assert node["id"].startswith("masked-")
        assert outsider("query($id: ID!) { node(id: $id) { id } }", id=node["id"]).codes == ["bad-reference"]


def test_a_filter_never_leaves_out_what_is_masked(outsider: Schema) -> None:
    found = outsider.data(
        """{ resolve(ref: "open/model:m") { ... on Version { lineage(direction: BOTH,
             filter: {projects: ["open"], kinds: ["model"], states: ["failed"]}) { nodes { masked } completeness { masked filtered } } } } }"""
    )["resolve"]["lineage"]
    assert [node["masked"] for node in found["nodes"]].count(True) == 4
    assert found["completeness"] == {"masked": 4, "filtered": 1}


# ── troubles ─────────────────────────────────────────────────────────────────────────────────────


def test_an_error_of_our_own_says_nothing_of_the_server(
    world: World, logged: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def list_runs(self, **_: object) -> object:
            raise RuntimeError("SELECT secret FROM /var/lib/whence")

    answer = Schema(Broken())("{ runs { nodes { id } } }")
    assert answer.data is None
    assert answer.codes == ["broken"]
    assert "SELECT" not in str(answer.errors)
    assert "SELECT secret" in logged.text


def test_what_takes_too_long_is_given_up(world: World) -> None:
    schema = Schema(world.catalog, GraphqlLimits(seconds=0.05))

    async def never(verb: str, /, **arguments: object) -> Any:
        await asyncio.sleep(60)

    schema._ask = never  # type: ignore[method-assign]
    answer = schema("{ runs { nodes { id } } }")
    assert (answer.data, answer.codes) == (None, ["unreachable"])


def test_one_field_that_fails_leaves_the_others(pipeline: World, ask: Schema) -> None:
    answer = ask('{ good: artifact(ref: "model:m") { __typename } bad: node(id: "x") { id } }')
    assert answer.data == {"good": {"__typename": "Artifact"}, "bad": None}
    assert [error["path"] for error in answer.errors] == [["bad"]]


def test_names_of_other_writings_are_kept(world: World, ask: Schema) -> None:
    world.note("größe", {"dataset:50%25 %40 ünïcode/😀": b"D"})
    (hit,) = ask.data(SEARCH, text="😀")["search"]["nodes"]
    assert hit["ref"] == "dataset:50%25 %40 ünïcode/😀"
    assert ask.data(RESOLVE, ref=hit["ref"])["resolve"]["ref"] == f"{artifact(hit['ref'])}@1"


# ── as of a position ─────────────────────────────────────────────────────────────────────────────


def test_an_artifact_is_found_as_it_was_known_then(pipeline: World, ask: Schema) -> None:
    query = """query($ref: String!, $asOf: AsOf) { artifact(ref: $ref, asOf: $asOf) { __typename
      ... on Artifact { versions(asOf: $asOf) { totalCount } } ... on Error { kind } } }"""
    assert ask.data(query, ref="model:m", asOf=0)["artifact"] == {
        "__typename": "NotFound",
        "kind": "no-such-artifact",
    }
    assert ask.data(query, ref="dataset:d", asOf=1)["artifact"]["versions"]["totalCount"] == 1
    assert ask.data(query, ref="model:m", asOf=1)["artifact"]["__typename"] == "NotFound"
    assert ask.data(query, ref="model:m")["artifact"]["versions"]["totalCount"] == 2


def test_runs_around_a_run_are_told_as_they_were_known_then(world: World, ask: Schema) -> None:
    parent = world.call("pipeline")
    token = world.begin(parent).token
    begun = world.catalog.changes(0, 500).last
    first = world.run("train", {"model:m": b"M"}, c=1.0, parent=parent.run).run
    one = world.catalog.changes(0, 500).last
    again = world.ask(world.call("train", c=1.0, parent=parent.run))
    assert isinstance(again, cache.Reuse)
    world.finish(world.report(parent, token=token))
    told = """query($run: ID!, $asOf: AsOf) { run(id: $run) { ... on Run {
      parent(asOf: $asOf) { state }
      children(asOf: $asOf) { nodes { uid } } } } }"""
    assert [
        len(ask.data(told, run=str(parent.run), asOf=at)["run"]["children"]["nodes"])
        for at in (begun, one, None)
    ] == [0, 1, 2]
    assert ask.data(told, run=str(first.uid), asOf=one)["run"]["parent"] == {"state": "RUNNING"}
    assert ask.data(told, run=str(first.uid))["run"]["parent"] == {"state": "COMPLETE"}
    origin = (
        "query($run: ID!, $asOf: AsOf) { run(id: $run) { ... on Run { origin(asOf: $asOf) { state } } } }"
    )
    reused = str(again.run.uid)
    assert ask.data(origin, run=reused, asOf=begun)["run"]["origin"] is None
    assert ask.data(origin, run=reused, asOf=one)["run"]["origin"] == {"state": "COMPLETE"}

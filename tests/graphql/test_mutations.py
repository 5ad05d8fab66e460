"""What people change: in whose name, once for each uid, and what is refused as a typed error."""

import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from tests import simulator
from tests.graphql.conftest import Schema, send
from tests.simulator import World
from whence_api.graphql import relay
from whence_catalog import model
from whence_catalog.access import Grant, Grants, Viewer


def mutation(field: str, input: str, answer: str) -> str:
    """A mutation of one field, and of what is answered if it is carried out, or why it is not."""
    asked = "mutation($input: INPUT!) { FIELD(input: $input) { __typename ... on Error { kind message } ANSWER } }"
    return asked.replace("INPUT", input).replace("FIELD", field).replace("ANSWER", answer)


SET_ALIAS = mutation(
    "setAlias",
    "SetAliasInput",
    "... on Alias { name replaced reason until actor { name authenticated } version { ref } }",
)
DEPLOY = mutation(
    "deploy",
    "DeployInput",
    "... on Deployment { id uid target project reason until actor { name } version { ref } replaced { ref } }",
)
WITHDRAW = mutation(
    "withdraw", "WithdrawInput", "... on Deployment { uid endedBecause endedBy { name } version { ref } }"
)
APPROVE = mutation(
    "approve", "ApproveInput", "... on Approval { uid decision reason actor { name } version { ref } }"
)
QUARANTINE = mutation(
    "quarantine", "QuarantineInput", "... on Quarantine { uid reason until actor { name } version { ref } }"
)
HOLD = mutation("hold", "HoldInput", "... on Hold { uid reason until actor { name } version { ref } }")
RELEASE = mutation(
    "release",
    "ReleaseInput",
    "... on Quarantine { uid releasedBecause releasedBy { name } }"
    " ... on Hold { uid releasedBecause releasedBy { name } }",
)
# Each with an input that can be carried out on `made`.
CHANGES = {
    "setAlias": (SET_ALIAS, {"version": "model:m@1", "alias": "next"}),
    "deploy": (DEPLOY, {"version": "model:m@1", "target": "eu"}),
    "approve": (APPROVE, {"version": "model:m@1"}),
    "quarantine": (QUARANTINE, {"version": "model:m@1", "reason": "it leaks"}),
    "hold": (HOLD, {"version": "model:m@1", "reason": "a lawsuit"}),
}


@pytest.fixture
def made(world: World) -> World:
    """Two Versions of model:m."""
    world.note("train", {"model:m": b"M"})
    world.note("train", {"model:m": b"N"})
    return world


def change(ask: Schema, query: str, **input: object) -> Any:
    """The answer to the one field of a mutation."""
    (found,) = ask.data(query, input=input).values()
    return found


# ── what they do ─────────────────────────────────────────────────────────────────────────────────


def test_an_alias_moves_with_a_reason_and_says_what_it_replaced(made: World, ask: Schema) -> None:
    first = change(ask, SET_ALIAS, version="model:m@1", alias="prod", expected=0)
    assert (first["version"], first["replaced"], first["until"]) == ({"ref": "model:m@1"}, None, None)
    second = change(ask, SET_ALIAS, version="model:m@2", alias="prod", expected=1, reason="better")
    assert second["version"] == {"ref": "model:m@2"}
    assert (second["replaced"], second["reason"]) == (1, "better")


def test_who_says_what_an_alias_means_overtakes_nobody(made: World, ask: Schema) -> None:
    change(ask, SET_ALIAS, version="model:m@1", alias="prod")
    for expected in (0, 2):
        late = change(ask, SET_ALIAS, version="model:m@2", alias="prod", expected=expected)
        assert (late["__typename"], late["kind"]) == ("Conflict", "alias-moved")
    assert ask.data('{ resolve(ref: "model:m@prod") { ... on Version { number } } }')["resolve"] == {
        "number": 1
    }


def test_a_version_serves_in_place_of_another_until_it_is_withdrawn(made: World, ask: Schema) -> None:
    change(ask, DEPLOY, version="model:m@1", target="eu")
    second = change(ask, DEPLOY, version="model:m@2", target="eu", reason="better")
    assert (second["replaced"], second["project"]) == ({"ref": "model:m@1"}, "default")
    ended = change(ask, WITHDRAW, artifact="model:m", target="eu", reason="the end")
    assert ended == {
        "__typename": "Deployment",
        "uid": second["uid"],
        "endedBecause": "the end",
        "endedBy": {"name": "anyone"},
        "version": {"ref": "model:m@2"},
    }
    nothing = change(ask, WITHDRAW, artifact="model:m", target="eu")
    assert (nothing["__typename"], nothing["kind"]) == ("Conflict", "wrong-state")


def test_a_deployment_is_found_again_by_its_id(made: World, ask: Schema) -> None:
    ids = [change(ask, DEPLOY, version=f"model:m@{n}", target=f"t{n}")["id"] for n in (1, 2)]
    unknown = str(relay.id_of(relay.NodeType.DEPLOYMENT, uuid4()))
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Deployment { target version { number } } } }"
    assert ask.data(query, ids=[ids[1], unknown, ids[0]])["nodes"] == [
        {"id": ids[1], "target": "t2", "version": {"number": 2}},
        None,
        {"id": ids[0], "target": "t1", "version": {"number": 1}},
    ]
    odd = str(relay.id_of(relay.NodeType.DEPLOYMENT, "x"))
    assert ask(query, ids=[odd]).codes == ["bad-reference"]


def test_a_quarantine_and_a_hold_last_until_they_are_released(made: World, ask: Schema) -> None:
    for query, reason in ((QUARANTINE, "it leaks"), (HOLD, "a lawsuit")):
        said = change(ask, query, version="model:m@1", reason=reason)
        assert (said["reason"], said["until"], said["version"]) == (reason, None, {"ref": "model:m@1"})
        ended = change(ask, RELEASE, of=said["uid"], reason="settled")
        assert ended == {
            "__typename": said["__typename"],
            "uid": said["uid"],
            "releasedBecause": "settled",
            "releasedBy": {"name": "anyone"},
        }
        again = change(ask, RELEASE, of=said["uid"], reason="settled")
        assert (again["__typename"], again["kind"]) == ("Conflict", "wrong-state")


def test_a_decision_is_an_approval_unless_it_says_otherwise(made: World, ask: Schema) -> None:
    assert change(ask, APPROVE, version="model:m@1")["decision"] == "APPROVED"
    refused = change(ask, APPROVE, version="model:m@1", decision="REJECTED", reason="biased")
    assert (refused["decision"], refused["reason"]) == ("REJECTED", "biased")


def test_a_version_may_be_named_by_its_id_or_in_any_other_way(made: World, ask: Schema) -> None:
    id = ask.data('{ resolve(ref: "model:m@1") { ... on Version { id artifact { id } } } }')["resolve"]
    named = [id["id"], "model:m@1", f"model:m@{simulator.digest_of(b'M')}"]
    assert {change(ask, APPROVE, version=name)["version"]["ref"] for name in named} == {"model:m@1"}
    for newest in (id["artifact"]["id"], "model:m"):
        assert change(ask, APPROVE, version=newest)["version"]["ref"] == "model:m@2"


def test_what_was_changed_is_read_anew_by_the_fields_behind_it(made: World, ask: Schema) -> None:
    move = (
        'setAlias(input: {version: "model:m@%d", alias: "prod"}) { ... on Alias { version { artifact {'
        ' best: version(selector: "prod") { number } aliases(standing: true) { nodes { version { number } } } } } } }'
    )
    found = ask.data("mutation { first: " + move % 1 + " second: " + move % 2 + " }")
    for n, name in enumerate(("first", "second"), 1):
        assert found[name]["version"]["artifact"] == {
            "best": {"number": n},
            "aliases": {"nodes": [{"version": {"number": n}}]},
        }


def test_a_change_that_is_refused_leaves_the_others(made: World, ask: Schema) -> None:
    approve = 'approve(input: {version: "%s"}) { __typename }'
    fields = " ".join(f"{name}: {approve % f'model:m@{n}'}" for name, n in (("a", 1), ("b", 9), ("c", 2)))
    found = ask.data("mutation { " + fields + " }")
    assert [answer["__typename"] for answer in found.values()] == ["Approval", "NotFound", "Approval"]


# ── once for each uid ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_claim_is_recorded_once_and_another_under_its_uid_is_a_conflict(
    made: World, ask: Schema, name: str
) -> None:
    query, input = CHANGES[name]
    uid = str(uuid4())
    first = change(ask, query, **input, uid=uid)
    assert first["__typename"] not in ("Conflict", "NotFound", "InvalidInput", "Denied")
    before = len(made.catalog.facts())
    assert change(ask, query, **input, uid=uid) == first
    assert len(made.catalog.facts()) == before
    other = change(ask, query, **{**input, "version": "model:m@2"}, uid=uid)
    assert (other["__typename"], other["kind"]) == ("Conflict", "other-content")


@pytest.mark.parametrize("name", CHANGES)
def test_claims_without_a_uid_are_several(made: World, ask: Schema, name: str) -> None:
    query, input = CHANGES[name]
    before = len(made.catalog.facts())
    change(ask, query, **input)
    change(ask, query, **input)
    assert len(made.catalog.facts()) == before + 2


# ── what cannot be ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    ("given", "type", "kind"),
    [
        ({"version": "model:m@9"}, "NotFound", "no-such-version"),
        ({"version": "model:none"}, "NotFound", "no-such-artifact"),
        ({"version": "model:m@best"}, "NotFound", "no-such-alias"),
        ({"version": "m"}, "InvalidInput", "bad-reference"),
        ({"version": ""}, "InvalidInput", "bad-reference"),
        ({"version": str(relay.id_of(relay.NodeType.RUN, uuid4()))}, "InvalidInput", "bad-reference"),
        ({"uid": "x"}, "InvalidInput", "bad-reference"),
        ({"uid": ""}, "InvalidInput", "bad-reference"),
    ],
)
def test_what_cannot_be_meant_is_a_typed_error_and_changes_nothing(
    made: World, ask: Schema, name: str, given: dict[str, str], type: str, kind: str
) -> None:
    query, input = CHANGES[name]
    before = len(made.catalog.facts())
    found = change(ask, query, **{**input, **given})
    assert (found["__typename"], found["kind"]) == (type, kind)
    assert len(made.catalog.facts()) == before


@pytest.mark.parametrize(
    ("query", "input"),
    [
        (SET_ALIAS, {"version": "model:m@1", "alias": "7"}),
        (SET_ALIAS, {"version": "model:m@1", "alias": "latest"}),
        (SET_ALIAS, {"version": "model:m@1", "alias": "a/b"}),
        (SET_ALIAS, {"version": "model:m@1", "alias": ""}),
        (DEPLOY, {"version": "model:m@1", "target": ""}),
        (DEPLOY, {"version": "model:m@1", "target": "a\nb"}),
        (QUARANTINE, {"version": "model:m@1", "reason": ""}),
        (HOLD, {"version": "model:m@1", "reason": " "}),
        (WITHDRAW, {"artifact": "model:m@1", "target": "eu"}),
        (RELEASE, {"of": "x", "reason": "y"}),
    ],
)
def test_names_and_reasons_that_cannot_be_are_typed_errors(
    made: World, ask: Schema, query: str, input: dict[str, str]
) -> None:
    assert change(ask, query, **input)["__typename"] == "InvalidInput"


def test_a_release_of_nothing_is_not_found(made: World, ask: Schema) -> None:
    found = change(ask, RELEASE, of=str(uuid4()), reason="x")
    assert (found["__typename"], found["kind"]) == ("NotFound", "no-such-judgement")


# ── in whose name ────────────────────────────────────────────────────────────────────────────────


def as_viewer(world: World, *grants: str, name: str = "ada") -> Schema:
    return Schema(
        world.catalog, viewer=Viewer(model.Actor(name, authenticated=True), Grants.parse(list(grants)))
    )


def test_the_actor_is_who_asks(made: World, ask: Schema) -> None:
    ada = as_viewer(made, "administer:default")
    assert change(ada, SET_ALIAS, version="model:m@1", alias="prod")["actor"] == {
        "name": "ada",
        "authenticated": True,
    }
    assert change(ask, SET_ALIAS, version="model:m@2", alias="prod")["actor"] == {
        "name": "anyone",
        "authenticated": False,
    }
    inputs = [name for name in ask.schema._schema.type_map if name.endswith("Input")]
    fields = {field for name in inputs for field in ask.schema._schema.type_map[name].fields}  # type: ignore[union-attr]
    assert not any("actor" in field.lower() for field in fields)


@pytest.mark.parametrize("name", CHANGES)
def test_who_may_only_read_changes_nothing_and_is_told_why(made: World, name: str) -> None:
    query, input = CHANGES[name]
    before = len(made.catalog.facts())
    found = change(as_viewer(made, "read:default", "record:default"), query, **input)
    assert (found["__typename"], found["kind"]) == ("Denied", "not-granted")
    assert len(made.catalog.facts()) == before


@pytest.mark.parametrize("name", CHANGES)
def test_what_may_not_be_read_is_not_there_to_be_changed(made: World, name: str) -> None:
    query, input = CHANGES[name]
    elsewhere = as_viewer(made, "administer:other")
    assert change(elsewhere, query, **input)["kind"] == "no-such-artifact"
    said = change(Schema(made.catalog), HOLD, version="model:m@1", reason="a lawsuit")
    assert change(elsewhere, RELEASE, of=said["uid"], reason="x")["kind"] == "no-such-judgement"
    served = change(Schema(made.catalog), DEPLOY, version="model:m@1", target="here")
    assert elsewhere.data("query($id: ID!) { node(id: $id) { id } }", id=served["id"])["node"] is None


def test_each_change_needs_its_own_grant(made: World) -> None:
    needed = {
        "setAlias": Grant.PROMOTE,
        "deploy": Grant.PROMOTE,
        "approve": Grant.APPROVE,
        "quarantine": Grant.APPROVE,
        "hold": Grant.APPROVE,
    }
    for name, grant in needed.items():
        query, input = CHANGES[name]
        for held in (Grant.PROMOTE, Grant.APPROVE):
            may = change(as_viewer(made, f"{held}:default"), query, **input)["__typename"] != "Denied"
            assert may is (held is grant), (name, held)


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────

APPROVE_FIRST = 'approve(input: {version: "model:m@1"}) { __typename }'
APPROVING = "mutation { " + APPROVE_FIRST + " }"
BODY = json.dumps({"query": APPROVING})


def test_a_change_is_asked_for_by_post_in_json_and_in_no_way_that_a_page_could_forge(
    made: World, served: FastAPI
) -> None:
    before = len(made.catalog.facts())
    assert send(served, method="GET", params={"query": APPROVING}).status_code in (400, 405)
    for form in (
        {"data": {"query": APPROVING}},
        {"files": {"query": ("q", APPROVING)}},
        {
            "content": BODY,
            "headers": {"content-type": "text/plain"},
        },
        {"content": BODY},
        {"content": APPROVING, "headers": {"content-type": "application/graphql"}},
        {
            "content": BODY,
            "headers": {"content-type": "text/plain; a=application/json"},
        },
        {
            "content": BODY,
            "headers": {"content-type": "application/json-patch+json"},
        },
    ):
        answer = posted(served, **form)
        assert 400 <= answer.status_code < 500, form
        assert answer.json()["errors"][0]["extensions"]["code"] == "bad-value"
    assert len(made.catalog.facts()) == before
    assert send(served, {"query": APPROVING}).json() == {"data": {"approve": {"__typename": "Approval"}}}
    assert len(made.catalog.facts()) == before + 1


def posted(served: FastAPI, **given: Any) -> httpx.Response:
    async def sent() -> httpx.Response:
        transport = httpx.ASGITransport(served)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/graphql", **given)

    return asyncio.run(sent())


def test_a_change_counts_for_many_values(made: World, ask: Schema) -> None:
    strict = Schema(made.catalog, replace(ask.limits, cost=2000))
    strict.data(APPROVING)
    assert strict("mutation { a: " + APPROVE_FIRST + " b: " + APPROVE_FIRST + " }").codes == ["too-large"]


def test_uids_that_the_server_made_are_uuids(made: World, ask: Schema) -> None:
    assert UUID(change(ask, APPROVE, version="model:m@1")["uid"]).version == 4

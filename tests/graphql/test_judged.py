"""What was said of Versions, what the cache holds and what Runs touched: as it is shown, and to whom it is not."""

from typing import Any

import pytest

from tests import simulator
from tests.graphql.conftest import Schema
from tests.simulator import ACTOR, World, taken
from whence_catalog import inventory, model
from whence_catalog.access import Grants, Viewer

JUDGEMENTS = """query($ref: String!, $first: Int!, $after: String) { resolve(ref: $ref) { ... on Version { state judgements {
  quarantines(first: $first) { nodes { uid reason version { ref } } pageInfo { hasNextPage } }
  approvals(first: $first, after: $after) { nodes { reason decision } pageInfo { hasNextPage endCursor } }
  holds(first: $first) { nodes { reason } }
  deployments(first: $first) { nodes { target until } }
  taints(first: $first) { nodes { run { job { name } } quarantine { reason version { ref } } } pageInfo { endCursor } }
} } } }"""


def said(world: World, version: model.Version, reason: str = "so") -> dict[str, Any]:
    return {
        "uid": simulator.uid(),
        "artifact": version.artifact,
        "digest": version.digest,
        "actor": ACTOR,
        "reason": reason,
    }


def quarantine(world: World, version: model.Version, reason: str = "it leaks") -> model.Quarantine:
    claim = model.QuarantineClaim(**said(world, version, reason))
    found: model.Quarantine = simulator.one(world.catalog.quarantine([claim]))
    return found


def judged(ask: Schema, ref: str, first: int = 25, after: str | None = None) -> Any:
    return ask.data(JUDGEMENTS, ref=ref, first=first, after=after)["resolve"]


def test_what_was_said_of_a_version_is_shown_the_newest_first(world: World, ask: Schema) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    made = world.note("train", {"model:m": b"M"}, inputs=(taken(data),)).outputs[0].version
    for n in range(3):
        claim = model.ApprovalClaim(**said(world, made, f"no. {n}"), decision=model.Decision.APPROVED)
        simulator.one(world.catalog.approve([claim]))
    simulator.one(world.catalog.hold([model.HoldClaim(**said(world, made, "a lawsuit"))]))
    simulator.one(world.catalog.deploy([model.DeploymentClaim(**said(world, made), target="eu")]))
    assert judged(ask, "model:m")["state"] == "LIVE"
    quarantine(world, data.version)
    found = judged(ask, "model:m")
    assert found["state"] == "TAINTED"
    told = found["judgements"]
    assert [node["reason"] for node in told["approvals"]["nodes"]] == ["no. 2", "no. 1", "no. 0"]
    assert told["quarantines"]["nodes"] == []
    assert told["holds"]["nodes"] == [{"reason": "a lawsuit"}]
    assert told["deployments"]["nodes"] == [{"target": "eu", "until": None}]
    assert told["taints"]["nodes"] == [
        {
            "run": {"job": {"name": "train"}},
            "quarantine": {"reason": "it leaks", "version": {"ref": "dataset:d@1"}},
        }
    ]
    bad = judged(ask, "dataset:d")
    assert (bad["state"], len(bad["judgements"]["quarantines"]["nodes"])) == ("QUARANTINED", 1)


def test_pages_of_what_was_said_hold_while_more_is_said(world: World, ask: Schema) -> None:
    made = world.note("train", {"model:m": b"M"}).outputs[0].version

    def approve(reason: str) -> None:
        claim = model.ApprovalClaim(**said(world, made, reason), decision=model.Decision.APPROVED)
        simulator.one(world.catalog.approve([claim]))

    for n in range(5):
        approve(str(n))
    after, seen, pages = None, [], 0
    while pages == 0 or after:
        page = judged(ask, "model:m", 2, after)["judgements"]["approvals"]
        seen += [node["reason"] for node in page["nodes"]]
        after, pages = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None, pages + 1
        approve("later")
    assert (seen, pages) == (["4", "3", "2", "1", "0"], 3)


def test_a_cursor_of_another_list_is_refused(world: World, ask: Schema) -> None:
    one, two = (world.note("train", {f"model:{n}": b"M%d" % n}).outputs[0].version for n in range(2))
    for version in (one, two):
        claim = model.ApprovalClaim(**said(world, version), decision=model.Decision.APPROVED)
        simulator.one(world.catalog.approve([claim]))
        quarantine(world, version)
    page = judged(ask, "model:0", 1)["judgements"]
    for cursor, ref in (
        (page["approvals"]["pageInfo"]["endCursor"], "model:1"),
        (page["taints"]["pageInfo"]["endCursor"], "model:0"),
        ("x", "model:0"),
        ("", "model:0"),
    ):
        answer = ask(JUDGEMENTS, ref=ref, first=1, after=cursor)
        assert (answer.data, answer.codes) == (None, ["bad-value"])


def test_what_a_run_touched_is_shown(world: World, ask: Schema) -> None:
    call = world.plain_call("train")
    observed = model.Observed(
        model.Watching.STRICT, files=("a.csv",), more={"files": 3}, blind_spots=("threads",)
    )
    silent = world.note("load").run
    report = world.report(call, observed=observed)
    simulator.one(world.catalog.record_runs([(call, report)]))
    query = "query($id: ID!) { run(id: $id) { ... on Run { reads { watching files sockets more blindSpots covered } } } }"
    assert ask.data(query, id=str(call.run))["run"]["reads"] == {
        "watching": "STRICT",
        "files": ["a.csv"],
        "sockets": [],
        "more": {"files": 3},
        "blindSpots": ["threads"],
        "covered": None,
    }
    assert ask.data(query, id=str(silent.uid))["run"]["reads"] is None


# ── the cache ────────────────────────────────────────────────────────────────────────────────────

ENTRIES = """query($projects: [String!], $job: String, $states: [CacheEntryState!]) {
  cacheEntries(projects: $projects, job: $job, states: $states) { nodes { key state hits project job { name } run { uid } } } }"""


def diverged(world: World) -> list[model.Run]:
    """Two Runs of one key that made different things."""
    first = world.run("train", {"model:m": b"M"}).run
    again = world.call("train", mode=model.Mode.REFRESH)
    begun = world.begin(again)
    second = world.finish(world.report(again, {"model:m": b"N"}, begun.token)).run
    return [first, second]


def test_what_the_cache_holds_is_listed_by_project_job_and_state(world: World, ask: Schema) -> None:
    first, second = diverged(world)
    world.run("other", {"report:r": b"R"})
    live = ask.data(ENTRIES, states=["LIVE"])["cacheEntries"]["nodes"]
    assert [entry["job"]["name"] for entry in live] == ["other", "train"]
    (gone,) = ask.data(ENTRIES, states=["SUPERSEDED"])["cacheEntries"]["nodes"]
    assert (gone["run"]["uid"], gone["key"]) == (str(first.uid), second.key)
    assert len(ask.data(ENTRIES, job="train")["cacheEntries"]["nodes"]) == 2
    assert ask.data(ENTRIES, projects=["other"])["cacheEntries"]["nodes"] == []


def test_where_the_same_key_gave_other_bytes_is_listed(world: World, ask: Schema) -> None:
    first, second = diverged(world)
    shown = "key cause run { uid } against { uid } differenceCount differences { role before { ref } after { ref } }"
    (found,) = ask.data("{ divergences { nodes { " + shown + " } } }")["divergences"]["nodes"]
    assert found == {
        "key": first.key,
        "cause": "refreshed; other bytes for model:m",
        "run": {"uid": str(second.uid)},
        "against": {"uid": str(first.uid)},
        "differenceCount": 1,
        "differences": [{"role": "model:m", "before": {"ref": "model:m@1"}, "after": {"ref": "model:m@2"}}],
    }
    of_job = ask.data(
        "query($id: ID!) { run(id: $id) { ... on Run { job { divergences { nodes { key } }"
        " cacheEntries { nodes { key } } runs { nodes { uid } } } } } }",
        id=str(first.uid),
    )["run"]["job"]
    assert of_job["divergences"]["nodes"] == [{"key": first.key}]
    assert (len(of_job["cacheEntries"]["nodes"]), len(of_job["runs"]["nodes"])) == (2, 2)


def test_all_that_is_known_of_a_key_is_shown(world: World, ask: Schema) -> None:
    first, second = diverged(world)
    holding = world.call("train", 7.0)
    world.begin(holding)
    query = """query($key: String!) { cacheKey(key: $key) { __typename ... on Error { kind } ... on KeyRecord {
      key job { name } entry { run { uid } } history { state } historyCount divergenceCount divergences { cause }
      holder { owner reason } } } }"""
    found = ask.data(query, key=first.key)["cacheKey"]
    assert found["entry"] == {"run": {"uid": str(second.uid)}}
    assert found["history"] == [{"state": "LIVE"}, {"state": "SUPERSEDED"}]
    assert (found["historyCount"], found["divergenceCount"], found["holder"]) == (2, 1, None)
    held = ask.data(query, key=holding.key)["cacheKey"]
    assert (held["entry"], held["holder"]) == (None, {"owner": holding.owner, "reason": "NO_ENTRY"})
    assert ask.data(query, key="wk1:00000000")["cacheKey"]["kind"] == "no-such-key"
    assert ask.data(query, key="x")["cacheKey"]["__typename"] == "InvalidInput"


def test_a_revoked_entry_says_who_revoked_it_and_why(world: World, ask: Schema) -> None:
    run = world.run("train", {"model:m": b"M"}).run
    assert run.key is not None
    revoke = inventory.Revocation(simulator.uid(), "default", (run.key,), ACTOR, "wrong labels")
    simulator.one(world.catalog.revoke_entries([revoke]))
    (found,) = ask.data("{ cacheEntries { nodes { state because by { name } until } } }")["cacheEntries"][
        "nodes"
    ]
    assert (found["state"], found["because"], found["by"]) == ("REVOKED", "wrong labels", {"name": "tester"})


# ── access ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def guest(world: World) -> Schema:
    """Somebody who may read `open`, whose model learned from a quarantined dataset of `shut`."""
    shut, opened = World(world.catalog, project="shut"), World(world.catalog, project="open")
    secret = shut.note("gather", {"shut/dataset:secret": b"S"}).outputs[0]
    opened.note("train", {"open/model:m": b"M"}, inputs=(taken(secret),))
    quarantine(world, secret.version, "what nobody else is to know")
    for each in (shut, opened):
        each.run("step", {f"{each.project}/report:r": b"R"})
        again = each.call("step", mode=model.Mode.REFRESH)
        begun = each.begin(again)
        each.finish(each.report(again, {f"{each.project}/report:r": b"Q"}, begun.token))
    viewer = Viewer(model.Actor("guest", authenticated=True), Grants.parse(["read:open"]))
    return Schema(world.catalog, viewer=viewer)


def test_a_quarantine_elsewhere_is_known_only_by_its_effect(guest: Schema) -> None:
    answer = guest(JUDGEMENTS, ref="open/model:m", first=25)
    found = answer.data["resolve"]
    assert found["state"] == "TAINTED"
    assert found["judgements"]["taints"]["nodes"] == [{"run": {"job": {"name": "train"}}, "quarantine": None}]
    assert "secret" not in str(answer.data)
    assert "nobody" not in str(answer.data)


def test_the_cache_of_other_projects_is_not_told_of(guest: Schema) -> None:
    entries = guest.data("{ cacheEntries { nodes { project } } }")["cacheEntries"]["nodes"]
    assert {entry["project"] for entry in entries} == {"open"}
    parted = guest.data("{ divergences { nodes { project } } }")["divergences"]["nodes"]
    assert {found["project"] for found in parted} == {"open"}
    assert guest.data(ENTRIES, projects=["shut"])["cacheEntries"]["nodes"] == []
    (theirs,) = [
        entry.key
        for entry in guest.catalog.cache_entries(projects=["shut"]).items
        if entry.state is inventory.EntryState.LIVE
    ]
    query = "query($key: String!) { cacheKey(key: $key) { __typename ... on Error { kind } } }"
    assert guest.data(query, key=theirs)["cacheKey"] == {"__typename": "NotFound", "kind": "no-such-key"}

"""Who may do what: every verb for every grant, what is hidden of answers, and that no route is without a rule.

Two projects, `vision` and `speech`, that take from one another. The viewers have grants in `vision` alone.
"""

import dataclasses
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from starlette.routing import Mount

from tests import servers
from tests.simulator import World, artifact, claim, taken, uid
from whence_api import access as rules
from whence_api import app, auth
from whence_api.settings import Settings
from whence_catalog import access, audit, cache, inventory, lineage, model, plans, verbs
from whence_catalog.access import Grant, Grants
from whence_catalog.errors import Denied, ErrorKind, InvalidInput, NotFound, WhenceError
from whence_catalog.sql.catalog import SqlCatalog

OWN, OTHER = "vision", "speech"
ADA = model.Actor("ada", authenticated=True)
SOMEBODY = model.Actor("somebody else", authenticated=True)
NOW = datetime(2026, 5, 3, tzinfo=UTC)


def viewer(*grants: str) -> access.Viewer:
    return access.Viewer(ADA, Grants.parse(grants))


def ask(catalog: SqlCatalog, who: access.Viewer, verb: str, **arguments: object) -> Any:
    return rules.carry_out(who, verb, arguments, catalog)


class Past:
    """What both projects did: each has data, a model made of it, an alias, a Run that still runs, and a token."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self.catalog = catalog
        self.data: dict[str, model.Output] = {}
        self.models: dict[str, model.Output] = {}
        self.running: dict[str, model.Call] = {}
        self.tokens: dict[str, access.Token] = {}
        for project in (OWN, OTHER):
            world = World(catalog, project)
            (self.data[project],) = world.note(
                "load", {f"{project}/dataset:raw": b"raw" + project.encode()}
            ).outputs
            given = [taken(self.data[project], "data")]
            (self.models[project],) = world.run("train", {f"{project}/model:net": b"1"}, inputs=given).outputs
            world.run("train", {f"{project}/model:net": b"2"}, c=2.0, inputs=given)
            again = world.call("train", mode=model.Mode.REFRESH)
            begun = world.begin(again)
            world.finish(world.report(again, {f"{project}/model:other": b"diverged"}, begun.token))
            self.running[project] = world.call("train", 3.0)
            world.begin(self.running[project])
            made = self.models[project].version
            move = model.AliasMove(uid(), made.artifact, "prod", made.digest, SOMEBODY, "it is good")
            catalog.move_aliases([move])
            self.tokens[project] = catalog.add_token(token(f"read:{project}"))


def token(*grants: str) -> access.Token:
    held = Grants.parse(grants)
    return access.Token(uuid.uuid4(), "nightly", "robot", access.hash_of(str(uuid.uuid4())), held, NOW)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqlCatalog]:
    opened = SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")
    yield opened
    assert opened.check().problems == ()
    opened.close()


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """A past that all tests share, and add to."""
    opened = SqlCatalog.open(tmp_path_factory.mktemp("past") / "catalog.db", synchronous="NORMAL")
    yield Past(opened)
    assert opened.check().problems == ()
    opened.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlCatalog]:
    """A catalog in which nothing was ever recorded."""
    opened = SqlCatalog.open(tmp_path_factory.mktemp("empty") / "catalog.db", synchronous="NORMAL")
    yield opened
    opened.close()


# ── every verb × every grant × both projects ─────────────────────────────────────────────────────


def _reserve(past: Past, project: str) -> dict[str, object]:
    return {"calls": [World(past.catalog, project).call("train", 9.0)]}


def _finish(past: Past, project: str) -> dict[str, object]:
    world = World(past.catalog, project)
    return {"reports": [world.report(_begun(past, project), {f"{project}/model:net": b"3"})]}


def _begun(past: Past, project: str) -> model.Call:
    """A Run that still runs."""
    world = World(past.catalog, project)
    call = world.plain_call("slow")
    world.begin(call)
    return call


def _record(past: Past, project: str) -> dict[str, object]:
    world = World(past.catalog, project)
    call = world.plain_call("note", [taken(past.data[project])])
    return {"runs": [(call, world.report(call, {f"{project}/report:r": b"r"}))]}


def _traces(past: Past, project: str) -> dict[str, object]:
    world, state = World(past.catalog, project), {"a": 1}
    call = world.tracking_call("look", state, mode=model.Mode.REFRESH)
    world.finish(world.report(call, token=world.begin(call).token, trace=world.read(call, state, "a")))
    return {"project": project, "bases": [call.base]}


def _add(past: Past, project: str) -> dict[str, object]:
    made = (claim(f"{project}/report:r", b"r"),)
    return {"additions": [model.Addition(uid(), _begun(past, project).run, SOMEBODY, outputs=made)]}


def _log(past: Past, project: str) -> dict[str, object]:
    return {"series": [model.Series(uid(), past.running[project].run, SOMEBODY, {"loss": ((1, 0.5),)})]}


def _move(past: Past, project: str) -> dict[str, object]:
    version = past.models[project].version
    return {"moves": [model.AliasMove(uid(), version.artifact, "next", version.digest, SOMEBODY)]}


def _judging(kind: Callable[..., object], **says: object) -> Callable[["Past", str], dict[str, object]]:
    def ask(past: Past, project: str) -> dict[str, object]:
        version = past.data[project].version
        return {"claims": [kind(uid(), version.artifact, version.digest, actor=SOMEBODY, **says)]}

    return ask


def _deployed(past: Past, project: str) -> dict[str, object]:
    past.catalog.deploy(_judging(model.DeploymentClaim, target="shop")(past, project)["claims"])  # type: ignore[arg-type]
    return {"projects": [project]}


def _release(past: Past, project: str) -> dict[str, object]:
    version = past.data[project].version
    claim = model.HoldClaim(uid(), version.artifact, version.digest, SOMEBODY, "keep it")
    past.catalog.hold([claim])
    return {"releases": [model.Release(uid(), claim.uid, SOMEBODY, "no more")]}


def _held(past: Past, project: str) -> dict[str, object]:
    release = _release(past, project)["releases"][0]  # type: ignore[index]
    return {"uids": [release.of]}


def _key(past: Past, project: str) -> str:
    return str(World(past.catalog, project).call("train").key)


def _revoke(past: Past, project: str) -> dict[str, object]:
    """Of an entry of its own, since a revoked one is superseded by the next who asks for it."""
    finished = World(past.catalog, project).run("spoil", {f"{project}/report:spoilt": b"s"}, c=str(uid()))
    keys = (str(finished.run.key),)
    return {"revocations": [inventory.Revocation(uid(), project, keys, SOMEBODY, "wrong")]}


def _eviction(past: Past, project: str) -> inventory.Eviction:
    return inventory.Eviction(uid(), project, inventory.Limits(entries=0), SOMEBODY, "spoil")


def _labels(past: Past, project: str) -> dict[str, object]:
    subject = f"{project}/model:net@1"
    return {"claims": [model.LabelClaim(uid(), subject, SOMEBODY, {"team": "perception"})]}


def _prefix(past: Past, project: str) -> str:
    return str(past.models[project].run)[:23]


def _up(past: Past, project: str) -> dict[str, object]:
    bounds = lineage.Bounds()
    return {"roots": [f"{project}/model:net@1"], "direction": lineage.Direction.UP, "bounds": bounds}


@dataclass(frozen=True)
class Needs:
    """What a verb needs where, and what becomes of a call without it."""

    grant: Grant | None  # None: nothing, of itself
    ask: Callable[[Past, str], dict[str, object]]
    refusal: type[WhenceError] | None = (
        NotFound  # to who may not read; None: it is answered as if nothing was there
    )
    everywhere: bool = False  # in every project


# Written by hand, beside RULES: where the two part, one of them is wrong.
TABLE: Mapping[str, Needs] = {
    "identity": Needs(None, lambda p, o: {}),
    "reserve": Needs(Grant.RECORD, _reserve, Denied),
    "finish_runs": Needs(Grant.RECORD, _finish),
    "record_runs": Needs(Grant.RECORD, _record, Denied),
    "add": Needs(Grant.RECORD, _add),
    "log": Needs(Grant.RECORD, _log),
    "move_aliases": Needs(Grant.PROMOTE, _move),
    "quarantine": Needs(Grant.APPROVE, _judging(model.QuarantineClaim, reason="it is wrong")),
    "release": Needs(Grant.APPROVE, _release),
    "approve": Needs(Grant.APPROVE, _judging(model.ApprovalClaim, decision=model.Decision.APPROVED)),
    "hold": Needs(Grant.APPROVE, _judging(model.HoldClaim, reason="keep it")),
    "deploy": Needs(Grant.PROMOTE, _judging(model.DeploymentClaim, target="shop")),
    "label": Needs(Grant.RECORD, _labels),
    "judgements": Needs(Grant.READ, lambda p, o: {"references": [model.Reference.parse(f"{o}/dataset:raw")]}),
    "reach": Needs(Grant.READ, lambda p, o: {"references": [model.Reference.parse(f"{o}/dataset:raw")]}),
    "judged": Needs(Grant.READ, _held, None),
    "beat": Needs(
        Grant.RECORD, lambda p, o: {"runs": [p.running[o].run], "lasting": timedelta(hours=1)}, None
    ),
    "sweep": Needs(Grant.ADMINISTER, lambda p, o: {}, Denied, everywhere=True),
    "resolve": Needs(Grant.READ, lambda p, o: {"references": [model.Reference.parse(f"{o}/model:net@prod")]}),
    "traces": Needs(Grant.READ, _traces, None),
    "artifacts": Needs(Grant.READ, lambda p, o: {"project": o}, None),
    "productions": Needs(Grant.READ, lambda p, o: {"artifact": artifact(f"{o}/model:net")}),
    "aliases": Needs(Grant.READ, lambda p, o: {"artifact": artifact(f"{o}/model:net")}),
    "run": Needs(Grant.READ, lambda p, o: {"prefix": _prefix(p, o)}),
    "runs": Needs(Grant.READ, lambda p, o: {"project": o, "job": "train"}, None),
    "projects_of": Needs(Grant.READ, lambda p, o: {"runs": [p.models[o].run]}, None),
    "series": Needs(Grant.READ, lambda p, o: {"run": p.models[o].run}),
    "lineage": Needs(Grant.READ, _up),
    "closure": Needs(
        Grant.READ, lambda p, o: {"roots": [f"{o}/model:net@1"], "direction": lineage.Direction.UP}
    ),
    "lineage_with_hidden": Needs(Grant.READ, _up),
    "lineage_counts": Needs(
        Grant.READ, lambda p, o: {"roots": [f"{o}/model:net@1"], "direction": lineage.Direction.UP}
    ),
    "paths": Needs(Grant.READ, lambda p, o: {"start": f"{o}/dataset:raw@1", "end": f"{o}/model:net@1"}),
    "roots_of": Needs(Grant.READ, lambda p, o: {"of": [f"{o}/model:net@1"]}),
    "common_ancestors": Needs(Grant.READ, lambda p, o: {"of": [f"{o}/model:net@1", f"{o}/model:net@2"]}),
    "impact": Needs(Grant.READ, lambda p, o: {"of": f"{o}/dataset:raw@1"}),
    "difference": Needs(Grant.READ, lambda p, o: {"left": f"{o}/model:net@1", "right": f"{o}/model:net@2"}),
    "explain": Needs(Grant.READ, lambda p, o: {"run": _prefix(p, o)}),
    "explain_key": Needs(Grant.READ, lambda p, o: {"key": _key(p, o), "projects": [o]}),
    "explain_calls": Needs(Grant.READ, lambda p, o: {"calls": [World(p.catalog, o).call("train")]}, Denied),
    "plan": Needs(
        Grant.READ,
        lambda p, o: {"request": plans.PlanRequest(uid(), targets=(f"{o}/model:net@1",)), "projects": [o]},
    ),
    "plan_rerun": Needs(Grant.READ, lambda p, o: {"run": _prefix(p, o), "unavailable": frozenset()}),
    "audit": Needs(
        Grant.READ, lambda p, o: {"subject": f"{o}/model:net@1", "policy": audit.Policy.default()}
    ),
    "versions": Needs(Grant.READ, lambda p, o: {"references": [model.Reference.parse(f"{o}/model:net@2")]}),
    "states": Needs(Grant.READ, lambda p, o: {"references": [model.Reference.parse(f"{o}/model:net@2")]}),
    "named_productions": Needs(Grant.READ, lambda p, o: {"sources": [taken(p.models[o]).source]}),
    "named_runs": Needs(Grant.READ, lambda p, o: {"runs": [p.models[o].run]}, None),
    "versions_of": Needs(Grant.READ, lambda p, o: {"artifacts": [artifact(f"{o}/model:net")]}),
    "aliases_of": Needs(Grant.READ, lambda p, o: {"subjects": [model.Reference.parse(f"{o}/model:net")]}),
    "productions_of": Needs(
        Grant.READ, lambda p, o: {"versions": [model.Reference.parse(f"{o}/model:net@1")]}
    ),
    "consumers_of": Needs(
        Grant.READ, lambda p, o: {"versions": [model.Reference.parse(f"{o}/dataset:raw@1")]}
    ),
    "children_of": Needs(Grant.READ, lambda p, o: {"runs": [p.models[o].run]}),
    "inputs_of": Needs(Grant.READ, lambda p, o: {"runs": [p.models[o].run]}),
    "outputs_of": Needs(Grant.READ, lambda p, o: {"runs": [p.models[o].run]}),
    "list_runs": Needs(Grant.READ, lambda p, o: {"projects": [o]}, None),
    "search": Needs(Grant.READ, lambda p, o: {"text": "net", "projects": [o]}, None),
    "cache_entries": Needs(Grant.READ, lambda p, o: {"projects": [o]}, None),
    "cache_key": Needs(Grant.READ, lambda p, o: {"key": _key(p, o), "projects": [o]}),
    "divergences": Needs(Grant.READ, lambda p, o: {"projects": [o]}, None),
    "cache_statistics": Needs(Grant.READ, lambda p, o: {"projects": [o]}, None),
    "evictable": Needs(Grant.ADMINISTER, lambda p, o: {"eviction": _eviction(p, o)}, Denied),
    "revoke_entries": Needs(Grant.ADMINISTER, _revoke, Denied),
    "evict_entries": Needs(Grant.ADMINISTER, lambda p, o: {"evictions": [_eviction(p, o)]}, Denied),
    "alias_at": Needs(
        Grant.READ,
        lambda p, o: {"artifact": artifact(f"{o}/model:net"), "alias": "prod", "at": datetime.now(UTC)},
    ),
    "timeline": Needs(Grant.READ, lambda p, o: {"subject": model.Reference.parse(f"{o}/model:net")}),
    "deployments": Needs(Grant.READ, _deployed, None),
    "position_at": Needs(None, lambda p, o: {"moment": datetime.now(UTC)}, Denied),
    "changes": Needs(Grant.READ, lambda p, o: {"first": 1000, "projects": [o]}, None),
    "facts": Needs(Grant.ADMINISTER, lambda p, o: {"after": 0, "limit": 10}, Denied, everywhere=True),
    "check": Needs(Grant.ADMINISTER, lambda p, o: {}, Denied, everywhere=True),
    "add_token": Needs(Grant.ADMINISTER, lambda p, o: {"token": token(f"read:{o}")}, Denied),
    "tokens": Needs(Grant.ADMINISTER, lambda p, o: {}, Denied),
    "revoke_token": Needs(Grant.ADMINISTER, lambda p, o: {"uid": p.tokens[o].uid}, Denied),
}
BATCHED = {"reserve", "finish_runs", "record_runs", "add", "log", "move_aliases", "resolve", "versions"}
BATCHED |= {"traces"}
BATCHED |= {"named_productions", "versions_of", "aliases_of", "productions_of", "consumers_of", "children_of"}
BATCHED |= {"inputs_of", "outputs_of", "quarantine", "release", "approve", "hold", "deploy", "judgements"}
BATCHED |= {"revoke_entries", "evict_entries", "explain_calls"}
PAGED = {"changes", "deployments", "timeline", "list_runs", "search", "cache_entries", "divergences"}
BATCHED |= {"reach", "label", "states"}
INCLUDES = {grant: {grant, Grant.READ} for grant in Grant} | {Grant.ADMINISTER: set(Grant)}


def outcome(catalog: SqlCatalog, who: access.Viewer, verb: str, arguments: dict[str, object]) -> Any:
    """What is answered, or why it is refused; of a batch of one, its only result; of a page, its items."""
    try:
        answer = ask(catalog, who, verb, **arguments)
    except WhenceError as error:
        return error
    answer = answer[0] if verb in BATCHED else answer
    if verb == "cache_statistics":
        return answer.jobs
    return answer.items if verb in PAGED else answer


def test_every_verb_has_a_rule_and_stands_in_the_table() -> None:
    assert set(rules.RULES) == set(verbs.VERBS) == set(TABLE)


@pytest.mark.parametrize("project", [OWN, OTHER])
@pytest.mark.parametrize("verb", sorted(TABLE))
def test_a_verb_is_carried_out_for_those_grants_alone_that_the_table_says(
    past: Past, verb: str, project: str
) -> None:
    needs = TABLE[verb]
    for grant in Grant:
        arguments = needs.ask(past, project)
        before = len(past.catalog.facts())
        found = outcome(past.catalog, viewer(f"{grant}:{OWN}"), verb, arguments)
        if needs.grant is None or (
            needs.grant in INCLUDES[grant] and (project == OWN or verb == "tokens") and not needs.everywhere
        ):
            assert not isinstance(found, WhenceError), (grant, found)
            assert found != []
            continue
        assert len(past.catalog.facts()) == before, grant
        if project == OTHER and needs.refusal is None:
            assert not found, grant
        elif project == OTHER and verb == "revoke_token" and grant is Grant.ADMINISTER:
            assert isinstance(found, NotFound)
        elif project == OTHER and needs.refusal is NotFound:
            assert isinstance(found, NotFound), (grant, found)
        else:
            # What they may read exists: they are told what they lack.
            assert isinstance(found, Denied), (grant, found)
            assert found.kind is ErrorKind.NOT_GRANTED


@pytest.mark.parametrize("verb", sorted(TABLE))
def test_who_has_no_grant_at_all_is_told_nothing(past: Past, verb: str) -> None:
    found = outcome(past.catalog, viewer(), verb, TABLE[verb].ask(past, OWN))
    if verb == "identity":
        assert found.key == b""
    elif TABLE[verb].refusal is None:
        assert not found
    else:
        assert isinstance(found, TABLE[verb].refusal or WhenceError)


@pytest.mark.parametrize("verb", sorted(TABLE))
def test_who_administers_every_project_may_do_all_in_any(past: Past, verb: str) -> None:
    for project in (OWN, OTHER):
        found = outcome(past.catalog, viewer("administer:*"), verb, TABLE[verb].ask(past, project))
        assert not isinstance(found, WhenceError), found


@pytest.mark.parametrize(
    "verb", [verb for verb in sorted(TABLE) if TABLE[verb].grant and TABLE[verb].refusal is NotFound]
)
def test_what_may_not_be_read_is_refused_in_the_words_of_what_is_absent(
    past: Past, empty: SqlCatalog, verb: str
) -> None:
    arguments = TABLE[verb].ask(past, OTHER)
    hidden = outcome(past.catalog, viewer(f"administer:{OWN}"), verb, arguments)
    absent = outcome(empty, auth.EVERYONE, verb, arguments)
    assert isinstance(hidden, NotFound)
    assert (str(hidden), hidden.kind) == (str(absent), absent.kind)


# ── what is hidden of answers ────────────────────────────────────────────────────────────────────


class Crossing:
    """Data that flows from `speech` into `vision`, back, and once more into each.

    speech/dataset:secret → train → vision/model:net → covert.gift → vision/report:gift → score → vision/report:score
    → covert.use → speech/report:secret; and covert.gift makes speech/report:aside too.
    """

    def __init__(self, catalog: SqlCatalog) -> None:
        self.catalog = catalog
        spy = model.Actor("mata", authenticated=True)
        vision, speech = World(catalog, OWN), World(catalog, OTHER)

        def hidden(
            job: str, outputs: dict[str, bytes], *inputs: model.InputClaim, **says: Any
        ) -> tuple[model.Output, ...]:
            call = speech.plain_call(job, inputs, actor=spy, labels={"team": "covert"})
            report = speech.report(call, outputs, actor=spy, **says)
            (finished,) = catalog.record_runs([(call, report)])
            assert not isinstance(finished, WhenceError)
            return finished.outputs

        (self.secret,) = hidden("covert.load", {f"{OTHER}/dataset:secret": b"hidden"})
        took = [taken(self.secret, "data.key")]
        held = f"{{'key': <{self.secret.version.ref}>}}"
        # As an argument stands, and as it does where it is tracked.
        arguments = [cache.component(kind, [], f"{kind}/data", preview=held) for kind in ("params", "reads")]
        for place, c in enumerate((1.0, 2.0)):
            shown = cache.component("inputs", c, "inputs/data.key", preview=self.secret.version.ref)
            parts = (*vision.components("train", c), shown, *arguments)
            call = vision.call("train", c, took, components=parts, key=cache.key(parts))
            made = claim(f"{OWN}/model:net", b"net %d" % place, derived_from=(took[0].source,))
            begun = vision.begin(call)
            report = dataclasses.replace(vision.report(call, token=begun.token), outputs=(made,))
            (self.net,) = vision.finish(report).outputs
        self.gift, self.aside = hidden(
            "covert.gift", {f"{OWN}/report:gift": b"gift", f"{OTHER}/report:aside": b"aside"}, taken(self.net)
        )
        call = vision.plain_call("score", [taken(self.gift), taken(self.net)], parent=self.gift.run)
        (finished,) = catalog.record_runs([(call, vision.report(call, {f"{OWN}/report:score": b"score"}))])
        assert not isinstance(finished, WhenceError)
        (self.score,) = finished.outputs
        (self.used,) = hidden("covert.use", {f"{OTHER}/report:secret": b"used"}, taken(self.score))
        bad = self.secret.version
        move = model.AliasMove(uid(), self.net.version.artifact, "prod", self.net.version.digest, ADA)
        catalog.move_aliases([move])
        catalog.deploy([model.DeploymentClaim(uid(), bad.artifact, bad.digest, "covert target", spy)])
        self.quarantine = model.QuarantineClaim(uid(), bad.artifact, bad.digest, spy, "covert suspicion")
        catalog.quarantine([self.quarantine])

    @property
    def secrets(self) -> list[str]:
        """What nobody may come across who may not read `speech`."""
        made = [self.secret, self.aside, self.used]
        runs = [str(output.run) for output in made if output.run != self.gift.run]
        return [OTHER, "covert", "secret", "aside", "mata", *runs, *(o.version.digest.hex for o in made)]


@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crossing]:
    opened = SqlCatalog.open(tmp_path_factory.mktemp("crossing") / "catalog.db", synchronous="NORMAL")
    yield Crossing(opened)
    assert opened.check().problems == ()
    opened.close()


READER = viewer(f"read:{OWN}")
ALL_WAYS = lineage.Direction.BOTH


def reads(c: Crossing) -> Iterator[tuple[str, dict[str, object]]]:
    """Every reading verb, about all that a reader of `vision` can name."""
    artifacts = [artifact(f"{OWN}/{name}") for name in ("model:net", "report:gift", "report:score")]
    references = [model.Reference(found) for found in artifacts]
    mine, runs = [c.net.run, c.score.run], [c.net.run, c.score.run, c.gift.run, c.secret.run]
    yield "identity", {}
    yield "resolve", {"references": references}
    yield "versions", {"references": references}
    yield "states", {"references": references}
    yield "artifacts", {}
    yield "runs", {}
    yield "list_runs", {}
    yield "changes", {"first": 1000}
    yield "search", {"text": ""}
    yield "deployments", {}
    head = c.catalog.position_at(datetime.now(UTC))
    for found in references:
        yield "timeline", {"subject": found}
    yield "alias_at", {"artifact": artifacts[0], "alias": "prod", "at": datetime.now(UTC)}
    yield "deployments", {"as_of": head}
    yield "artifacts", {"as_of": head}
    yield "named_runs", {"runs": runs, "as_of": head}
    yield "consumers_of", {"versions": references, "as_of": head}
    for verb in ("children_of", "inputs_of", "outputs_of"):
        yield verb, {"runs": runs, "as_of": head}
    for run in mine:
        yield "run", {"prefix": str(run), "as_of": head}
        yield "series", {"run": run, "as_of": head}
    yield "list_runs", {"as_of": head}
    for verb in ("resolve", "versions", "judgements"):
        yield verb, {"references": references, "as_of": head}
    yield "versions_of", {"artifacts": artifacts, "as_of": head}
    yield "aliases_of", {"subjects": references, "as_of": head}
    yield "productions_of", {"versions": references, "as_of": head}
    yield "position_at", {"moment": datetime.now(UTC)}
    yield "search", {"text": c.secret.version.digest.hex}
    yield "named_runs", {"runs": runs}
    yield "projects_of", {"runs": runs}
    yield "named_productions", {"sources": [taken(output).source for output in (c.net, c.gift, c.score)]}
    yield "versions_of", {"artifacts": artifacts}
    yield "aliases_of", {"subjects": references}
    yield "productions_of", {"versions": references}
    yield "consumers_of", {"versions": references}
    yield "judgements", {"references": references}
    yield "reach", {"references": references}
    for project in (OWN, OTHER):
        yield "traces", {"project": project, "bases": [f"base of {project[:2]}"]}
    yield "judged", {"uids": [c.quarantine.uid]}
    yield "children_of", {"runs": runs}
    yield "inputs_of", {"runs": runs}
    yield "outputs_of", {"runs": runs}
    for found in artifacts:
        yield "productions", {"artifact": found}
        for other in artifacts:
            yield "paths", {"start": str(found), "end": str(other)}
            yield "common_ancestors", {"of": [str(found), str(other)], "first": 2}
        yield "roots_of", {"of": [str(found)]}
        yield "plan", {"request": plans.PlanRequest(uid(), targets=(str(found),))}
        yield "plan", {"request": plans.PlanRequest(uid(), downstream_of=(str(found),))}
        yield "lineage_counts", {"roots": [str(found)], "direction": ALL_WAYS}
        yield "difference", {"left": f"{OWN}/model:net@1", "right": f"{OWN}/model:net@2"}
        yield "difference", {"left": str(c.net.run), "right": str(c.score.run)}
        yield "impact", {"of": str(found), "kinds": ()}
        yield "aliases", {"artifact": found}
        yield "audit", {"subject": str(found), "policy": audit.Policy.default()}
        for ways in lineage.Direction:
            yield "lineage", {"roots": [str(found)], "direction": ways, "bounds": lineage.Bounds()}
            whole = {"roots": [str(found)], "direction": ways, "bounds": lineage.Bounds()}
            yield "lineage_with_hidden", whole
            yield "closure", {"roots": [str(found)], "direction": ways}
            yield "lineage", {"roots": [str(found)], "direction": ways, "bounds": lineage.Bounds(max_nodes=1)}
    for run in mine:
        yield "run", {"prefix": str(run)}
        yield "series", {"run": run}
        yield "explain", {"run": str(run)}
        yield "plan_rerun", {"run": str(run), "unavailable": frozenset()}
    for run in mine:
        if key := c.catalog.run(str(run)).run.key:
            yield "cache_key", {"key": key}
            yield "explain_key", {"key": key}
    yield "explain_calls", {"calls": [World(c.catalog, OWN).call("train", 7.0)]}
    yield "cache_entries", {}
    yield "divergences", {}
    yield "cache_statistics", {}


def test_nothing_of_a_project_that_may_not_be_read_is_in_any_answer(crossing: Crossing) -> None:
    asked = set()
    for verb, arguments in reads(crossing):
        answer = ask(crossing.catalog, READER, verb, **arguments)
        told = verbs.VERBS[verb].encode_answer(answer).decode()
        # What they named themselves is no news.
        told = told.replace(f"no run {crossing.secret.run} is recorded", "")
        for secret in crossing.secrets:
            assert secret not in told, (verb, arguments)
        asked.add(verb)
    assert asked >= set(TABLE) - set(verbs.WRITING) - {"facts", "check", "tokens", "evictable"}


def test_the_same_answers_hold_all_of_it_for_who_may_read_both(crossing: Crossing) -> None:
    found = {
        secret
        for verb, arguments in reads(crossing)
        for secret in crossing.secrets
        if secret
        in verbs.VERBS[verb]
        .encode_answer(ask(crossing.catalog, viewer("read:*"), verb, **arguments))
        .decode()
    }
    assert found == set(crossing.secrets)


def whole(
    catalog: SqlCatalog, who: access.Viewer, root: str = f"{OWN}/model:net@2", **bounds: Any
) -> lineage.Graph:
    graph = ask(catalog, who, "lineage", roots=[root], direction=ALL_WAYS, bounds=lineage.Bounds(**bounds))
    assert isinstance(graph, lineage.Graph)
    return graph


def test_a_lineage_is_of_the_same_shape_for_whoever_sees_it(crossing: Crossing) -> None:
    full, seen = whole(crossing.catalog, viewer("read:*")), whole(crossing.catalog, READER)
    assert [(n.type, n.depth) for n in seen.nodes] == [(n.type, n.depth) for n in full.nodes]
    names = dict(zip((n.id for n in full.nodes), (n.id for n in seen.nodes), strict=True))
    assert [(e.type, e.source, e.target) for e in seen.edges] == [
        (e.type, names[e.source], names[e.target]) for e in full.edges
    ]
    masked = [node for node in seen.nodes if node.is_masked]
    assert [node.id for node in masked] == [names[n.id] for n in full.nodes if n.project == OTHER]
    assert seen.completeness == dataclasses.replace(full.completeness, masked=len(masked))
    assert {(n.name, n.kind, n.at, n.project, n.ref, n.job) for n in masked} == {
        ("", None, datetime(1970, 1, 1, tzinfo=UTC), "", None, None)
    }


def test_masked_nodes_of_two_answers_cannot_be_told_to_be_the_same(crossing: Crossing) -> None:
    answers = [whole(crossing.catalog, READER) for _ in range(3)]
    ids = [{node.id for node in graph.nodes if node.is_masked} for graph in answers]
    assert all(ids)
    assert not ids[0] & ids[1]
    assert not ids[1] & ids[2]
    for graph in answers:
        masked = {node.id for node in graph.nodes if node.is_masked}
        for edge in graph.edges:
            told_by = edge.source if edge.type is lineage.EdgeType.OUTPUT else edge.target
            if told_by in masked:
                assert (edge.role, edge.ordinal, edge.position) == ("", 0, 0)


def test_the_pages_of_a_masked_lineage_make_up_the_whole(crossing: Crossing) -> None:
    root, nodes, edges, masked = f"{OWN}/model:net@2", 0, 0, 0
    frontier, pages = None, []
    while True:
        graph = ask(
            crossing.catalog,
            READER,
            "lineage",
            roots=[root],
            direction=ALL_WAYS,
            bounds=lineage.Bounds(max_nodes=2),
            frontier=frontier,
        )
        nodes, edges, masked = (
            nodes + len(graph.nodes),
            edges + len(graph.edges),
            masked + graph.completeness.masked,
        )
        pages.append(graph)
        frontier = graph.completeness.frontier
        if frontier is None:
            break
    full = whole(crossing.catalog, READER)
    assert (nodes, edges, masked) == (len(full.nodes), len(full.edges), full.completeness.masked)
    assert len(pages) > 2


def test_a_frontier_cannot_be_read_or_made_by_who_may_not_see_all(crossing: Crossing) -> None:
    catalog, root = crossing.catalog, f"{OWN}/model:net@2"
    open_one = whole(catalog, viewer("read:*"), max_nodes=2).completeness.frontier
    sealed = whole(catalog, READER, max_nodes=2).completeness.frontier
    assert open_one is not None
    assert sealed is not None
    for forged in (open_one, sealed[:-8] + "AAAAAAA=", "", "nonsense", sealed[::-1]):
        with pytest.raises(InvalidInput, match="not a frontier"):
            ask(
                catalog,
                READER,
                "lineage",
                roots=[root],
                direction=ALL_WAYS,
                bounds=lineage.Bounds(),
                frontier=forged,
            )


def test_a_run_stands_with_all_that_it_took_and_what_may_not_be_seen_of_it_is_masked(
    crossing: Crossing,
) -> None:
    record = ask(crossing.catalog, READER, "run", prefix=str(crossing.net.run))
    (hidden,) = record.inputs
    assert (hidden.role, hidden.version.number, hidden.producer) == ("data.key", 0, None)
    assert hidden.version.content.strength is model.Strength.NONE
    (made,) = record.outputs
    assert made.version == crossing.net.version
    assert [source.artifact.kind for source in made.derived_from] == ["masked"]
    scored = ask(crossing.catalog, READER, "run", prefix=str(crossing.score.run))
    assert scored.run.parent is None
    assert [taken.version.ref for taken in scored.inputs] == [f"{OWN}/model:net@2", f"{OWN}/report:gift@1"]


def test_a_production_names_its_run_whoever_made_it_so_that_inputs_are_bound_to_it(
    crossing: Crossing,
) -> None:
    (gift,) = ask(
        crossing.catalog, READER, "resolve", references=[model.Reference.parse(f"{OWN}/report:gift")]
    )
    assert gift.run == crossing.gift.run
    with pytest.raises(NotFound):
        ask(crossing.catalog, READER, "run", prefix=str(gift.run))
    recorder = viewer(f"record:{OWN}")
    call = World(crossing.catalog, OWN).plain_call("after", [taken(gift)])
    (answer,) = ask(crossing.catalog, recorder, "reserve", calls=[call])
    assert isinstance(answer, cache.Execute)
    assert crossing.catalog.run(str(call.run)).inputs[0].producer == crossing.gift.run


def test_a_rerun_that_needs_what_may_not_be_read_is_blocked(crossing: Crossing) -> None:
    plan = ask(crossing.catalog, READER, "plan_rerun", run=str(crossing.net.run), unavailable=frozenset())
    assert not plan.is_possible


def test_an_audit_over_what_may_not_be_read_is_not_clean_and_says_so(crossing: Crossing) -> None:
    policy = audit.Policy("lenient", audit.ALWAYS_REQUIRED)
    subject = f"{OWN}/model:net@2"
    seen = ask(crossing.catalog, READER, "audit", subject=subject, policy=policy)
    complete = next(finding for finding in seen.findings if finding.id == "complete")
    assert complete.verdict is audit.Verdict.UNKNOWN
    assert any("may not be seen" in line for line in complete.evidence)
    assert seen.verdict is not audit.Verdict.PASS
    again = ask(crossing.catalog, READER, "audit", subject=subject, policy=policy)
    assert dataclasses.replace(again, at=seen.at) == seen


def test_an_audit_within_what_may_be_read_is_the_same_for_all(past: Past) -> None:
    given = {"subject": f"{OWN}/model:net@1", "policy": audit.Policy.default()}
    full = ask(past.catalog, viewer("administer:*"), "audit", **given)
    seen = ask(past.catalog, READER, "audit", **given)
    assert dataclasses.replace(seen, at=full.at) == full


def test_an_explanation_hides_the_names_of_inputs_that_may_not_be_read(crossing: Crossing) -> None:
    call = World(crossing.catalog, OWN).call("train", 2.0)
    key = crossing.catalog.run(str(crossing.net.run)).run.key
    for explained in (
        ask(crossing.catalog, READER, "explain", run=str(crossing.net.run)),
        ask(crossing.catalog, READER, "explain_key", key=key),
        ask(crossing.catalog, READER, "explain_calls", calls=[call])[0],
    ):
        shown = {verdict.name: (verdict.before, verdict.after) for verdict in explained.verdicts}
        assert shown["inputs/data.key"] == shown["params/data"] == shown["reads/data"] == (None, None)
        assert shown["params/c"][1] == "2.0"


def test_the_parts_of_a_key_hide_the_names_of_inputs_that_may_not_be_read(crossing: Crossing) -> None:
    key = crossing.catalog.run(str(crossing.net.run)).run.key
    seen = {
        part.name: part.preview for part in ask(crossing.catalog, READER, "cache_key", key=key).components
    }
    assert (seen["inputs/data.key"], seen["params/data"], seen["reads/data"]) == (None, None, None)
    both = ask(crossing.catalog, viewer("read:*"), "cache_key", key=key)
    assert {p.name for p in both.components if "secret" in (p.preview or "")} == {
        "inputs/data.key",
        "params/data",
        "reads/data",
    }


def test_what_needs_an_entry_in_a_project_that_may_not_be_read_is_not_named(catalog: SqlCatalog) -> None:
    world = World(catalog, OWN)
    key = world.run("train", {f"{OTHER}/model:secret": b"S"}).run.key
    made = catalog.productions(artifact(f"{OTHER}/model:secret"))[0].version
    named = (made.artifact, made.digest)
    catalog.move_aliases([model.AliasMove(uid(), made.artifact, "covert", made.digest, SOMEBODY)])
    catalog.hold([model.HoldClaim(uid(), *named, SOMEBODY, "covert dispute")])
    catalog.deploy([model.DeploymentClaim(uid(), *named, "covert target", SOMEBODY)])
    asked = inventory.Eviction(uid(), OWN, inventory.Limits(entries=0), SOMEBODY)
    who = viewer(f"administer:{OWN}")
    planned = ask(catalog, who, "evictable", eviction=asked)
    (done,) = ask(catalog, who, "evict_entries", evictions=[asked])
    for verb, answer in (("evictable", planned), ("evict_entries", [done])):
        told = verbs.VERBS[verb].encode_answer(answer).decode()
        assert not [secret for secret in (OTHER, "secret", "covert") if secret in told], verb
    (kept,) = planned.kept
    assert (kept.key, len(kept.pins), planned.gone) == (key, 3, ())
    whole = ask(catalog, viewer("administer:*"), "evictable", eviction=asked)
    assert {str(pin).split()[0] for pin in whole.kept[0].pins} == {"alias", "a", "deployment"}


def _step(world: World, job: str, made: str, c: int, *inputs: model.InputClaim) -> model.Output:
    """A step with a part of its key for each input, as they are named."""
    shown = [
        cache.component("inputs", i.source.digest.raw, f"inputs/{i.role}", preview=str(i.source.artifact))
        for i in inputs
    ]
    parts = (*world.components(job, c), *shown)
    call = world.call(job, c, inputs, components=parts, key=cache.key(parts))
    content = made.encode() + bytes([c]) + b"".join(i.source.digest.raw for i in inputs)
    finished = world.finish(world.report(call, {made: content}, world.begin(call).token))
    return finished.outputs[0]


@pytest.mark.parametrize("begins_in", [OWN, OTHER])
def test_where_an_input_began_to_differ_is_not_told_through_a_project_that_may_not_be_read(
    catalog: SqlCatalog, begins_in: str
) -> None:
    vision, speech = World(catalog, OWN), World(catalog, OTHER)
    first = World(catalog, begins_in)
    for c in (1, 2):
        began = _step(first, "begin", f"{begins_in}/dataset:begun", c)
        between = _step(speech, "covert.mix", f"{OTHER}/dataset:secret", 0, taken(began, "data"))
        last = _step(vision, "train", f"{OWN}/model:net", 0, taken(between, "data"))
    (full,) = ask(catalog, viewer("read:*"), "explain", run=str(last.run)).causes
    assert (full.run, full.through, full.job) == (began.run, (between.run,), "begin")
    answers = [
        ("explain", ask(catalog, READER, "explain", run=str(last.run))),
        ("explain_key", ask(catalog, READER, "explain_key", key=catalog.run(str(last.run)).run.key)),
    ]
    for verb, answer in answers:
        told = verbs.VERBS[verb].encode_answer(answer).decode()
        hidden = [str(between.run), str(began.run), "covert", "secret", OTHER]
        assert not [secret for secret in hidden if secret in told], verb
    ((cause,),) = [answers[0][1].causes]
    assert (cause.role, cause.run, cause.note) == ("data", None, "of a project that you may not read")


def test_what_is_reached_in_other_projects_is_counted_and_no_more(crossing: Crossing) -> None:
    asked = [model.Reference.parse(f"{OWN}/model:net")]
    (full,) = ask(crossing.catalog, viewer("read:*"), "reach", references=asked)
    (seen,) = ask(crossing.catalog, READER, "reach", references=asked)
    assert seen.counts == full.counts
    assert seen.masked == len(full.productions) - len(seen.productions) > 0
    assert {reached.version.artifact.project for reached in seen.productions} == {OWN}


def test_lists_of_what_may_be_of_any_project_leave_out_and_count(crossing: Crossing) -> None:
    (page,) = ask(
        crossing.catalog, READER, "consumers_of", versions=[model.Reference.parse(f"{OWN}/model:net@2")]
    )
    assert (page.masked, [run.job for run in page.items], len(page.cursors)) == (1, ["score"], 1)
    (page,) = ask(crossing.catalog, READER, "inputs_of", runs=[crossing.net.run])
    assert (page.masked, page.items, page.cursors) == (1, (), ())


def test_pages_go_on_over_what_is_left_out_and_their_cursors_tell_nothing(crossing: Crossing) -> None:
    versions = [model.Reference.parse(f"{OWN}/model:net@2")]
    found, masked, after = [], 0, None
    while True:
        (page,) = ask(crossing.catalog, READER, "consumers_of", versions=versions, first=1, after=after)
        found += page.items
        masked += page.masked
        after = page.end
        if after is None:
            break
    assert ([run.job for run in found if run.job != "after"], masked) == (["score"], 1)
    (seen,) = ask(crossing.catalog, READER, "productions_of", versions=versions)
    (raw,) = ask(crossing.catalog, viewer("read:*"), "productions_of", versions=versions)
    assert len(seen.cursors) == len(raw.cursors) == 1
    assert seen.cursors != raw.cursors
    (raw,) = ask(crossing.catalog, viewer("read:*"), "consumers_of", versions=versions, first=1)
    for forged in (raw.end, "nonsense", ""):
        (refused,) = (
            outcome(
                crossing.catalog, READER, "consumers_of", {"versions": versions, "first": 1, "after": forged}
            ),
        )
        assert isinstance(refused, InvalidInput)


def test_the_key_of_the_catalog_is_for_those_who_record(past: Past) -> None:
    keys = {grant: ask(past.catalog, viewer(f"{grant}:{OWN}"), "identity").key for grant in Grant}
    assert {grant for grant, key in keys.items() if key} == {Grant.RECORD, Grant.ADMINISTER}
    assert keys[Grant.RECORD] == keys[Grant.ADMINISTER] == ask(past.catalog, auth.EVERYONE, "identity").key
    # What is sealed is sealed with another one.
    assert keys[Grant.RECORD] != past.catalog.identity().key
    assert ask(past.catalog, auth.EVERYONE, "identity").url == ""


# ── whose name, whose key, whose inputs ──────────────────────────────────────────────────────────


RECORDER = viewer(f"record:{OWN}")
WORDS = model.Actor("who I say I am", authenticated=True)


def said_by(catalog: SqlCatalog, who: access.Viewer) -> set[model.Actor]:
    """Who said what, after every kind of item was said in the name of `WORDS`."""
    world, known = World(catalog, OWN), len(catalog.facts())
    call = world.call("sign", str(uid()), actor=WORDS)
    (begun,) = ask(catalog, who, "reserve", calls=[call])
    ask(
        catalog,
        who,
        "add",
        additions=[model.Addition(uid(), call.run, WORDS, outputs=(claim(f"{OWN}/file:a", b"a"),))],
    )
    ask(catalog, who, "log", series=[model.Series(uid(), call.run, WORDS, {"loss": ((1, 0.5),)})])
    ended = world.report(call, {f"{OWN}/file:b": b"b"}, begun.token, actor=WORDS)
    (finished,) = ask(catalog, who, "finish_runs", reports=[ended])
    again = world.call("sign", call.params["c"], actor=WORDS)
    (reused,) = ask(catalog, who, "reserve", calls=[again])
    assert isinstance(reused, cache.Reuse)
    whole = world.plain_call("note", actor=WORDS)
    ask(catalog, who, "record_runs", runs=[(whole, world.report(whole, actor=WORDS))])
    version = finished.outputs[0].version
    ask(
        catalog,
        who,
        "move_aliases",
        moves=[model.AliasMove(uid(), version.artifact, "x", version.digest, WORDS)],
    )
    named = (version.artifact, version.digest, WORDS)
    ask(catalog, who, "deploy", claims=[model.DeploymentClaim(uid(), *named[:2], "shop", WORDS)])
    ask(catalog, who, "approve", claims=[model.ApprovalClaim(uid(), *named, model.Decision.REJECTED)])
    ask(catalog, who, "hold", claims=[held := model.HoldClaim(uid(), *named, "keep it")])
    ask(catalog, who, "release", releases=[model.Release(uid(), held.uid, WORDS, "no more")])
    ask(catalog, who, "quarantine", claims=[model.QuarantineClaim(uid(), *named, "it is wrong")])
    said = catalog.facts(known)
    assert {stored.fact.verb for stored in said} == {
        "start",
        "add",
        "log",
        "finish",
        "reuse",
        "record",
        "alias",
        "deploy",
        "approve",
        "hold",
        "release",
        "quarantine",
    }
    return {stored.fact.actor for stored in said} | {reused.run.actor, finished.run.actor}


def test_whoever_was_authenticated_is_the_actor_of_all_that_they_say(catalog: SqlCatalog) -> None:
    assert said_by(catalog, viewer(f"record:{OWN}", f"promote:{OWN}", f"approve:{OWN}")) == {ADA}


def test_without_authentication_a_name_is_kept_and_never_taken_to_be_checked(catalog: SqlCatalog) -> None:
    assert said_by(catalog, auth.EVERYONE) == {model.Actor("who I say I am", authenticated=False)}


def test_a_key_that_is_not_its_own_projects_is_refused(past: Past) -> None:
    own, other = World(past.catalog, OWN), World(past.catalog, OTHER)
    theirs, mine = other.call("train", 1.0), own.call("train", 1.0)
    scope = cache.component("scope", OWN)
    wrong = {
        "another project's key and components": {"key": theirs.key, "components": theirs.components},
        "another project's key": {"key": theirs.key},
        "another project's components": {"components": theirs.components},
        "any key": {"key": "wk1:" + "0" * 64},
        "no scope": {"components": mine.components[1:], "key": cache.key(mine.components[1:])},
        "two scopes": _keyed(*theirs.components, dataclasses.replace(scope, name="scope/2")),
        "a scope that is called otherwise": _keyed(
            dataclasses.replace(scope, name="s"), *theirs.components[1:]
        ),
        "a scope that is of another kind": _keyed(
            dataclasses.replace(theirs.components[0], kind="extra"), dataclasses.replace(scope, name="own")
        ),
        "an ignored scope": _keyed(cache.component("scope", OWN, ignored=True), *mine.components[1:]),
    }
    for how, change in wrong.items():
        call = dataclasses.replace(own.call("train", 1.0), **change)  # type: ignore[arg-type]
        (answer,) = ask(past.catalog, RECORDER, "reserve", calls=[call])
        assert isinstance(answer, InvalidInput), how
        (answer,) = ask(past.catalog, RECORDER, "record_runs", runs=[(call, own.report(call))])
        assert isinstance(answer, InvalidInput), how
    (answer,) = ask(past.catalog, RECORDER, "reserve", calls=[own.call("train", 1.0)])
    assert not isinstance(answer, WhenceError)


def _keyed(*components: model.Component) -> dict[str, object]:
    return {"components": components, "key": cache.key(components)}


def test_what_may_not_be_read_can_be_no_input_and_nothing_can_be_derived_from_it(
    past: Past, empty: SqlCatalog
) -> None:
    world = World(past.catalog, OWN)
    theirs, mine = taken(past.data[OTHER]), past.data[OWN]
    call = _begun(past, OWN)
    derived = claim(f"{OWN}/report:r", b"r", derived_from=(theirs.source,))
    plain = world.plain_call("note")
    refused = [
        *ask(past.catalog, RECORDER, "reserve", calls=[world.call("t", 1.0, [theirs])]),
        *ask(past.catalog, RECORDER, "add", additions=[model.Addition(uid(), call.run, SOMEBODY, (theirs,))]),
        *ask(
            past.catalog,
            RECORDER,
            "add",
            additions=[model.Addition(uid(), call.run, SOMEBODY, (), (derived,))],
        ),
        *ask(past.catalog, RECORDER, "finish_runs", reports=[world.report(call, inputs=(theirs,))]),
        *ask(
            past.catalog,
            RECORDER,
            "record_runs",
            runs=[(plain, dataclasses.replace(world.report(plain), outputs=(derived,)))],
        ),
    ]
    (absent,) = ask(empty, auth.EVERYONE, "reserve", calls=[world.call("t", 1.0, [theirs])])
    assert {(str(error), error.kind) for error in refused} == {(str(absent), absent.kind)}
    (answer,) = ask(past.catalog, RECORDER, "reserve", calls=[world.plain_call("t", [taken(mine)])])
    assert isinstance(answer, cache.Execute)


def test_that_a_run_of_another_project_is_there_is_not_told_by_naming_it_as_a_producer(past: Past) -> None:
    world, version = World(past.catalog, OWN), past.data[OWN].version
    answers = []
    for producer in (past.data[OTHER].run, uuid.UUID(int=7)):
        source = model.Source(version.artifact, version.digest, producer)
        call = world.plain_call("t", [model.InputClaim("data", source)])
        (answer,) = ask(past.catalog, RECORDER, "reserve", calls=[call])
        answers.append((str(answer).replace(str(producer), "it"), answer.kind))
    assert answers[0] == answers[1]


def test_nothing_is_made_in_a_project_in_which_one_may_not_record(past: Past) -> None:
    reads_both = viewer(f"record:{OWN}", f"read:{OTHER}")
    world = World(past.catalog, OWN)
    call = _begun(past, OWN)
    for who in (RECORDER, reads_both):
        (answer,) = ask(
            past.catalog, who, "finish_runs", reports=[world.report(call, {f"{OTHER}/model:planted": b"p"})]
        )
        assert isinstance(answer, Denied)
        assert answer.kind is ErrorKind.NOT_GRANTED
    (answer,) = ask(
        past.catalog, reads_both, "log", series=[model.Series(uid(), past.running[OTHER].run, ADA, {})]
    )
    assert isinstance(answer, Denied)
    with pytest.raises(Denied):
        ask(past.catalog, reads_both, "beat", runs=[past.running[OTHER].run], lasting=timedelta(seconds=1))


def test_in_a_batch_what_is_refused_stands_beside_what_was_carried_out(past: Past) -> None:
    own, other = World(past.catalog, OWN), World(past.catalog, OTHER)
    calls = [
        own.plain_call("a"),
        other.plain_call("b"),
        own.plain_call("c"),
        own.call("d", 1.0, key="wk1:" + "0" * 64),
    ]
    answers = ask(past.catalog, RECORDER, "reserve", calls=calls)
    assert [type(answer) for answer in answers] == [cache.Execute, Denied, cache.Execute, InvalidInput]
    recorded = past.catalog.projects_of([call.run for call in calls])
    assert set(recorded) == {calls[0].run, calls[2].run}
    assert ask(past.catalog, RECORDER, "reserve", calls=[]) == []


# ── prefixes, lists, tokens ──────────────────────────────────────────────────────────────────────


def _with_ids(catalog: SqlCatalog, *ids: tuple[str, str]) -> None:
    """Runs of these ids in these projects."""
    for project, hexadecimal in ids:
        world = World(catalog, project)
        call = world.plain_call("named", run=uuid.UUID(hexadecimal.ljust(32, "0")))
        catalog.record_runs([(call, world.report(call))])


def test_runs_that_may_not_be_read_do_not_make_a_prefix_ambiguous(catalog: SqlCatalog) -> None:
    _with_ids(catalog, (OWN, "aaaaaaaa1"), (OTHER, "aaaaaaaa2"), (OTHER, "aaaaaaaa3"))
    _with_ids(catalog, (OTHER, "bbbbbbbb1"), (OTHER, "bbbbbbbb2"), (OTHER, "bbbbbbbb3"))
    _with_ids(catalog, (OWN, "cccccccc1"), (OWN, "cccccccc2"), (OTHER, "cccccccc3"), (OTHER, "dddddddd1"))
    with pytest.raises(InvalidInput):
        ask(catalog, auth.EVERYONE, "run", prefix="aaaaaaaa")
    assert ask(catalog, READER, "run", prefix="AAAAAAAA").run.project == OWN
    assert ask(catalog, READER, "explain", run="aaaaaaaa-").run == uuid.UUID("aaaaaaaa1".ljust(32, "0"))
    for verb, name in (("run", "prefix"), ("explain", "run"), ("plan_rerun", "run")):
        for prefix in ("bbbbbbbb", "dddddddd", "eeeeeeee"):
            with pytest.raises(NotFound) as refused:
                ask(catalog, READER, verb, **{name: prefix})
            assert str(refused.value) == f"no run {prefix} is recorded; `whence log` lists them"
    with pytest.raises(InvalidInput) as ambiguous:
        ask(catalog, READER, "run", prefix="cccccccc")
    assert ambiguous.value.kind is ErrorKind.AMBIGUOUS_RUN
    assert str(ambiguous.value).count("cccccccc-") == 2
    with pytest.raises(InvalidInput):
        ask(catalog, READER, "run", prefix="short")


def test_a_list_over_several_projects_is_whole_and_in_order(catalog: SqlCatalog) -> None:
    worlds = [World(catalog, project) for project in (OWN, OTHER, "third", "fourth")]
    for place in range(24):
        worlds[place % 4].note(f"job {place}")
    full = [run.uid for run in catalog.runs(limit=100) if run.project in (OWN, "third")]
    who = viewer(f"read:{OWN}", "record:third")
    found: list[uuid.UUID] = []
    while len(page := ask(catalog, who, "runs", limit=5, before=found[-1] if found else None)) == 5:
        found += [run.uid for run in page]
    assert [*found, *(run.uid for run in page)] == full
    assert [run.uid for run in ask(catalog, who, "list_runs", first=100).items] == full
    with pytest.raises(InvalidInput):
        ask(catalog, who, "runs", limit=0)
    hidden = next(run.uid for run in catalog.runs(limit=100) if run.project == OTHER)
    with pytest.raises(NotFound):
        ask(catalog, who, "runs", before=hidden)


def test_a_token_is_never_wider_than_who_gives_it_may_give(past: Past) -> None:
    head = viewer(f"administer:{OWN}", f"record:{OTHER}")
    for grants in ([f"read:{OTHER}"], [f"record:{OWN}", f"read:{OTHER}"], ["read:*"], ["administer:*"], []):
        with pytest.raises(Denied):
            ask(past.catalog, head, "add_token", token=token(*grants))
    made = ask(past.catalog, head, "add_token", token=token(f"administer:{OWN}"))
    assert made in past.catalog.tokens()
    for who in (viewer(f"record:{OWN}", f"promote:{OWN}", f"approve:{OWN}"), READER, viewer()):
        with pytest.raises(Denied):
            ask(past.catalog, who, "add_token", token=token(f"read:{OWN}"))


def test_tokens_that_reach_beyond_ones_projects_are_not_there(past: Past) -> None:
    head = viewer(f"administer:{OWN}")
    beyond = [
        past.catalog.add_token(token(*grants))
        for grants in (["read:*"], [f"read:{OWN}", f"read:{OTHER}"], [])
    ]
    within = past.catalog.add_token(token(f"record:{OWN}"))
    listed = ask(past.catalog, head, "tokens")
    assert within in listed
    assert not [found for found in listed if found in [*beyond, past.tokens[OTHER]]]
    for hidden in [*beyond, past.tokens[OTHER]]:
        with pytest.raises(NotFound) as refused:
            ask(past.catalog, head, "revoke_token", uid=hidden.uid)
        assert str(refused.value) == f"no token {hidden.uid}; `whence token ls` lists them"
    assert ask(past.catalog, head, "revoke_token", uid=within.uid).revoked_at is not None
    everything = ask(past.catalog, viewer("administer:*"), "tokens")
    assert all(found in everything for found in beyond)


# ── routes ───────────────────────────────────────────────────────────────────────────────────────


# Beside the verbs': what each route needs. Those that need nothing tell nothing of the catalog.
ROUTES = {
    ("GET", "/healthz"): "nothing",
    ("GET", "/readyz"): "nothing",
    ("GET", "/metrics"): "nothing",
    ("GET", "/openapi.json"): "nothing",
    ("GET", "/v1"): "to be known",
    ("GET", "/graphql/ide"): "nothing: the page's own files",
    ("POST", "/graphql"): "to be known; each field as its verb",
    ("GET", "/graphql"): "to be known; each field as its verb",
    ("?", "/graphql"): "nothing: a socket, over which no protocol is served",
}


def _served(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of each route; of an included router's too, and of folders of files as GET."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _served(included.routes, "/graphql")
        elif isinstance(route, Mount):
            yield "GET", f"{prefix}{route.path}"
        else:
            methods = getattr(route, "methods", None) or {"?"}
            yield from ((method, f"{prefix}{route.path}") for method in methods - {"HEAD"})


def test_no_route_is_without_a_rule(catalog: SqlCatalog) -> None:
    application = app.create_app(catalog, Settings())
    served = set(_served(application.routes))
    by_verb = {("POST", f"/v1/{verb}") for verb in rules.RULES}
    assert by_verb <= served
    assert served - by_verb <= set(ROUTES)


def test_a_route_of_a_verb_lets_nobody_in_without_a_token(catalog: SqlCatalog) -> None:
    with servers.in_thread(catalog, authentication="tokens") as url:
        for verb in rules.RULES:
            answer = urllib3.request("POST", f"{url}/v1/{verb}", json={})
            assert answer.status == 401, verb
            assert answer.json()["error"]["kind"] == "unauthenticated"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert urllib3.request("GET", f"{url}/v1").status == 401


def test_over_http_a_token_may_what_its_grants_say(past: Past) -> None:
    secret = "whence_" + "p" * 43
    held = Grants.parse([f"record:{OWN}"])
    past.catalog.add_token(access.Token(uuid.uuid4(), "ci", "robot", access.hash_of(secret), held, NOW))
    with servers.in_thread(past.catalog, authentication="tokens") as url:

        def said(verb: str, **arguments: object) -> tuple[int, Any]:
            body = verbs.VERBS[verb].encode_call(arguments)
            headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
            answer = urllib3.request("POST", f"{url}/v1/{verb}", body=body, headers=headers)
            return answer.status, answer.json()

        status, found = said("artifacts")
        assert status == 200
        assert {item["artifact"].partition("/")[0] for item in found["answer"]} == {OWN}
        assert said("productions", artifact=artifact(f"{OTHER}/model:net"))[0] == 404
        assert said("facts")[0] == 403
        calls = [World(past.catalog, project).plain_call("over http") for project in (OWN, OTHER)]
        status, found = said("reserve", calls=calls)
        assert status == 200
        assert found["answer"][0]["run"]["actor"] == {"name": "robot", "authenticated": True}
        assert found["answer"][1]["error"]["kind"] == "not-granted"

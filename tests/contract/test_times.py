"""What was true when, and what was known when."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests import simulator
from tests.simulator import ACTOR, World, artifact, uid
from whence_catalog import digest, lineage, model, replies
from whence_catalog.errors import Conflict, InvalidInput, NotFound

# ── positions and times ──────────────────────────────────────────────────────────────────────────


def test_a_time_is_the_last_position_of_the_log_then(world: World) -> None:
    assert world.catalog.position_at(datetime(2020, 1, 1, tzinfo=UTC)) == 0
    for n in range(9):
        world.note("make", {"model:m": b"%d" % n})
    told = world.catalog.facts()
    for before, stored in zip([None, *told], told, strict=False):
        just_before = stored.sequenced_at - timedelta(microseconds=1)
        same = [other.position for other in told if other.sequenced_at == stored.sequenced_at]
        assert world.catalog.position_at(stored.sequenced_at) == max(same)
        earlier = [other.position for other in told if other.sequenced_at <= just_before]
        assert world.catalog.position_at(just_before) == max(earlier, default=0), before
    assert world.catalog.position_at(datetime(2999, 1, 1, tzinfo=UTC)) == 9


# ── since when something is true ─────────────────────────────────────────────────────────────────

HOUR = timedelta(hours=1)
MODEL = artifact("model:m")


def made(world: World, content: bytes) -> digest.Digest:
    """A Version of `model:m`."""
    return world.note("make", {"model:m": content}).outputs[0].version.digest


def move(world: World, content: bytes, since: datetime | None = None, name: str = "prod") -> model.Alias:
    """Have an alias point at the Version of that content."""
    asked = model.AliasMove(uid(), MODEL, name, simulator.digest_of(content), ACTOR, "why", since=since)
    moved: model.Alias = simulator.one(world.catalog.move_aliases([asked]))
    return moved


def deploy(
    world: World, content: bytes | None, since: datetime | None = None, target: str = "shop"
) -> model.Deployment:
    """Have the Version of that content serve at a target, or nothing."""
    named = None if content is None else simulator.digest_of(content)
    asked = model.DeploymentClaim(uid(), MODEL, named, target, ACTOR, "why", since)
    said: model.Deployment = simulator.one(world.catalog.deploy([asked]))
    return said


def test_what_is_recorded_late_is_true_since_it_was(world: World) -> None:
    for content in (b"1", b"2", b"3"):
        made(world, content)
    now = datetime.now(UTC)
    move(world, b"1", now - 3 * HOUR)
    moved = move(world, b"2", now - 2 * HOUR)
    assert (moved.since, moved.until, moved.replaced) == (now - 2 * HOUR, None, 1)
    newest, first = world.catalog.aliases(MODEL)
    assert (newest, first.until) == (moved, now - 2 * HOUR)
    deploy(world, b"1", now - 3 * HOUR)
    ended = deploy(world, None, now - 2 * HOUR)
    assert (ended.since, ended.until) == (now - 3 * HOUR, now - 2 * HOUR)
    assert deploy(world, b"3", now - HOUR).since == now - HOUR


@pytest.mark.parametrize("change", [move, deploy])
def test_what_was_before_the_last_change_stays(
    world: World, change: Callable[..., model.Alias | model.Deployment]
) -> None:
    made(world, b"1")
    now = datetime.now(UTC)
    change(world, b"1", now - HOUR)
    before = len(world.catalog.facts())
    with pytest.raises(Conflict, match="cannot be changed"):
        change(world, b"1", now - 2 * HOUR)
    with pytest.raises(InvalidInput, match="to come"):
        change(world, b"1", now + HOUR)
    assert len(world.catalog.facts()) == before


def test_what_ended_is_not_begun_before_it_did(world: World) -> None:
    made(world, b"1")
    now = datetime.now(UTC)
    deploy(world, b"1", now - 3 * HOUR)
    deploy(world, None, now - HOUR)
    with pytest.raises(Conflict):
        deploy(world, b"1", now - 2 * HOUR)


def test_a_late_word_said_again_is_one_fact(world: World) -> None:
    made(world, b"1")
    asked = model.AliasMove(
        uid(), MODEL, "prod", simulator.digest_of(b"1"), ACTOR, since=datetime.now(UTC) - HOUR
    )
    first = simulator.one(world.catalog.move_aliases([asked]))
    assert simulator.one(world.catalog.move_aliases([asked])) == first
    assert len(world.catalog.facts()) == 2


# ── what was true at a time ──────────────────────────────────────────────────────────────────────


def test_what_an_alias_meant_at_a_time_is_told_with_who_why_and_what_it_replaced(world: World) -> None:
    for content in (b"1", b"2"):
        made(world, content)
    now = datetime.now(UTC)
    first = move(world, b"1", now - 3 * HOUR)
    move(world, b"2", now - 3 * HOUR, name="next")
    known = world.catalog.position_at(datetime(2999, 1, 1, tzinfo=UTC))
    second = move(world, b"2", now - HOUR)
    at = world.catalog.alias_at
    assert at(MODEL, "prod", now - 4 * HOUR) is None
    then = at(MODEL, "prod", now - 2 * HOUR)
    assert then is not None
    assert (then.version.number, then.actor, then.reason, then.replaced) == (1, ACTOR, "why", None)
    assert (then.since, then.until) == (now - 3 * HOUR, now - HOUR)
    assert at(MODEL, "prod", now - HOUR) == at(MODEL, "prod", now) == second
    assert second.replaced == 1
    # What was not known yet is not told.
    assert at(MODEL, "prod", now, known) == at(MODEL, "prod", now - 2 * HOUR, known) == first
    with pytest.raises(NotFound, match="model:m@prod was known at position 0"):
        at(MODEL, "prod", now, 0)
    with pytest.raises(NotFound, match="no alias 'prd'; did you mean prod"):
        at(MODEL, "prd", now)
    with pytest.raises(NotFound):
        at(artifact("model:other"), "prod", now)


def test_what_served_at_a_time_is_listed_by_project_target_and_artifact(world: World) -> None:
    for content in (b"1", b"2"):
        made(world, content)
    now = datetime.now(UTC)
    deploy(world, b"1", now - 3 * HOUR)
    deploy(world, b"2", now - 3 * HOUR, target="lab")
    known = world.catalog.position_at(datetime(2999, 1, 1, tzinfo=UTC))
    deploy(world, b"2", now - 2 * HOUR)
    deploy(world, None, now - HOUR)

    def served(**asked: object) -> list[tuple[int, str]]:
        page = world.catalog.deployments(**asked)  # type: ignore[arg-type]
        return [(found.version.number, found.target) for found in page.items]

    assert served() == [(2, "shop"), (2, "lab"), (1, "shop")]
    assert served(target="shop", at=now - 2.5 * HOUR) == [(1, "shop")]
    assert served(target="shop", at=now - 2 * HOUR) == [(2, "shop")]
    assert served(target="shop", at=now - HOUR) == []
    assert served(standing=True) == [(2, "lab")]
    assert served(standing=True, as_of=known) == [(2, "lab"), (1, "shop")]
    assert served(at=now, as_of=known) == [(2, "lab"), (1, "shop")]
    assert [found.until for found in world.catalog.deployments(as_of=known).items] == [None, None]
    assert served(projects=["other"]) == served(artifact=artifact("model:other")) == []
    assert len(served(artifact=MODEL, projects=["default"])) == 3


def test_all_that_happened_to_a_version_is_told_in_one_list(world: World) -> None:
    for content in (b"1", b"2"):
        made(world, content)
    now = datetime.now(UTC)
    move(world, b"1", now - HOUR)
    deploy(world, b"1")
    named = simulator.digest_of(b"1")
    bad = model.QuarantineClaim(uid(), MODEL, named, ACTOR, "bad")
    kept = model.HoldClaim(uid(), MODEL, named, ACTOR, "court")
    world.catalog.quarantine([bad])
    world.catalog.hold([kept])
    world.catalog.approve([model.ApprovalClaim(uid(), MODEL, named, ACTOR, model.Decision.REJECTED, "no")])
    world.catalog.release([model.Release(uid(), of, ACTOR, "fine") for of in (bad.uid, kept.uid)])
    move(world, b"2")
    deploy(world, b"2")

    def happened(ref: str, first: int) -> list[replies.Event]:
        found: list[replies.Event] = []
        after = None
        while True:
            page = world.catalog.timeline(model.Reference.parse(ref), None, first, after)
            found += page.items
            if page.end is None:
                return found
            after = page.end
            # What happens meanwhile is of another page.
            move(world, b"2", name=f"other{len(found)}")

    of_version = happened("model:m@1", 100)
    assert happened("model:m@1", 2) == of_version
    kinds = replies.EventType
    assert [event.type for event in of_version] == [
        *(
            kinds.DEPLOYMENT_ENDED,
            kinds.ALIASED,
            kinds.HOLD_RELEASED,
            kinds.QUARANTINE_RELEASED,
            kinds.REJECTED,
            kinds.HELD,
        ),
        *(kinds.QUARANTINED, kinds.DEPLOYED, kinds.ALIASED, kinds.PRODUCED),
    ]
    away, to = (event for event in of_version if event.type is kinds.ALIASED)
    assert (away.version.number, away.replaced and away.replaced.number, away.name) == (2, 1, "prod")
    assert (to.version.number, to.replaced, to.at) == (1, None, now - HOUR)
    assert to.recorded_at > to.at
    assert [event.reason for event in of_version if event.uid == bad.uid] == ["fine", "bad"]
    of_artifact = happened("model:m", 100)
    assert set(map(repr, of_version)) <= set(map(repr, of_artifact))
    assert sorted((e.position for e in of_artifact), reverse=True) == [e.position for e in of_artifact]
    known = to.position
    (again, produced) = world.catalog.timeline(model.Reference.parse("model:m@1"), known).items
    assert (again, produced) == (to, of_version[-1])
    with pytest.raises(NotFound):
        world.catalog.timeline(model.Reference.parse("model:m@1"), 0)


def test_a_cursor_as_of_one_position_is_none_as_of_another(world: World) -> None:
    for content in (b"1", b"2"):
        made(world, content)
    end = world.catalog.timeline(model.Reference.parse("model:m"), 2, 1).end
    assert world.catalog.timeline(model.Reference.parse("model:m"), 2, 1, end).items
    for other in (None, 1):
        with pytest.raises(InvalidInput, match="cursor"):
            world.catalog.timeline(model.Reference.parse("model:m"), other, 1, end)
    with pytest.raises(InvalidInput, match="as of position 3"):
        world.catalog.timeline(model.Reference.parse("model:m"), 3)


# ── what was known at a position ─────────────────────────────────────────────────────────────────


def _each_run(world: World, run: UUID, as_of: int) -> object:
    try:
        return world.catalog.run(str(run), as_of), world.catalog.series(run, as_of)
    except NotFound as error:
        return error


def _known(world: World, as_of: int, runs: Sequence[UUID] = ()) -> str:
    """All that can be asked as of a position."""
    asked = world.catalog
    references = [model.Reference.parse(f"model:m{tail}") for tail in ("", "@1", "@2", "@3", "@prod")]
    now = datetime(2999, 1, 1, tzinfo=UTC)
    told: list[object] = [
        asked.resolve(references, as_of),
        asked.versions(references, as_of),
        asked.judgements(references, as_of),
        asked.versions_of([MODEL], as_of=as_of),
        asked.productions_of(references, as_of=as_of),
        [asked.aliases_of(references, standing, as_of=as_of) for standing in (True, False)],
        [asked.list_runs(states=some, as_of=as_of) for some in ([], *([state] for state in model.RunState))],
        [asked.deployments(standing=standing, as_of=as_of) for standing in (True, False)],
        [_meant(world, at, as_of) for at in (now, datetime.now(UTC) - 9 * HOUR)],
        asked.timeline(MODEL_REF, as_of) if as_of else None,
        asked.artifacts(as_of=as_of),
        asked.consumers_of(references, as_of=as_of),
        [_each_run(world, run, as_of) for run in runs],
        asked.named_runs(runs, as_of),
        asked.children_of(runs, as_of=as_of),
        asked.inputs_of(runs, as_of=as_of),
        asked.outputs_of(runs, as_of=as_of),
    ]
    # What is not known then may be known of now, or may not: it is refused in other words.
    return re.sub(r"NotFound\((\"[^\"]*\"|'[^']*')\)", "not known", repr(told))


def _meant(world: World, at: datetime, as_of: int) -> object:
    try:
        return world.catalog.alias_at(MODEL, "prod", at, as_of)
    except NotFound as error:
        return error


MODEL_REF = model.Reference(MODEL)


def test_what_was_known_at_a_position_is_the_same_for_ever(world: World) -> None:
    """Late commits, late claims, moves, releases, presumptions and what supersedes them change no answer."""
    start = datetime.now(UTC) - 10 * HOUR
    begun = [world.plain_call("slow"), world.plain_call("lost", labels={"team": "a"})]
    begun[1] = replace(begun[1], parent=begun[0].run)
    runs = [call.run for call in begun]
    held: list[model.QuarantineClaim] = []

    def quarantined() -> None:
        held.append(model.QuarantineClaim(uid(), MODEL, simulator.digest_of(b"1"), ACTOR, "bad"))
        world.catalog.quarantine(held)

    def taken_late() -> tuple[model.InputClaim, ...]:
        output = simulator.one(world.catalog.resolve([model.Reference.parse("model:m@1")]))
        return (simulator.taken(output, "a"), simulator.taken(output, "b"))

    def retrained() -> None:
        (output,) = (simulator.one(world.catalog.resolve([model.Reference.parse("model:m@1")])),)
        world.note("again", {"model:m": b"3"}, [simulator.taken(output, producer=False)])

    steps: list[Callable[[], object]] = [
        lambda: made(world, b"1"),
        lambda: [world.begin(call) for call in begun],
        lambda: world.catalog.log([model.Series(uid(), begun[0].run, ACTOR, {"loss": ((1, 0.5),)})]),
        lambda: move(world, b"1", start),
        lambda: deploy(world, b"1", start),
        quarantined,
        retrained,
        lambda: world.catalog.log([model.Series(uid(), begun[0].run, ACTOR, {"loss": ((2, 0.25),)})]),
        lambda: made(world, b"2"),
        lambda: move(world, b"2", start + HOUR),
        lambda: deploy(world, b"2", start + 2 * HOUR),
        lambda: world.catalog.add([model.Addition(uid(), runs[0], ACTOR, taken_late())]),
        lambda: world.finish(world.report(begun[0], {"model:m": b"1"}, metrics={"auc": 1.0})),
        lambda: world.catalog.release([model.Release(uid(), held[0].uid, ACTOR, "fine")]),
        lambda: world.finish(world.report(begun[1], claimed_at=start)),
        lambda: deploy(world, None),
        lambda: made(world, b"1"),
    ]
    told: dict[int, str] = {}
    for step in steps:
        step()
        head = world.catalog.position_at(datetime(2999, 1, 1, tzinfo=UTC))
        told[head] = _known(world, head, runs)
    assert len(set(told.values())) == len(told)
    for position, before in told.items():
        assert _known(world, position, runs) == before, position


def test_as_of_now_is_what_is_said_without(world: World) -> None:
    made(world, b"1")
    call = world.plain_call("slow")
    world.begin(call)
    move(world, b"1")
    world.catalog.quarantine([model.QuarantineClaim(uid(), MODEL, simulator.digest_of(b"1"), ACTOR, "bad")])
    (output,) = world.catalog.resolve([MODEL_REF])
    assert isinstance(output, model.Output)
    world.note("use", {"model:n": b"N"}, [simulator.taken(output)])
    head = world.catalog.position_at(datetime(2999, 1, 1, tzinfo=UTC))
    asked = [MODEL_REF, model.Reference.parse("model:n"), model.Reference.parse("model:m@prod")]
    assert world.catalog.resolve(asked, head) == world.catalog.resolve(asked)
    assert world.catalog.versions(asked, head) == world.catalog.versions(asked)
    told = world.catalog.judgements(asked)
    assert world.catalog.judgements(asked, head) == told
    assert [len(item.taints) for item in told if isinstance(item, replies.Judgements)] == [1, 1, 1]
    assert world.catalog.list_runs(as_of=head).items == world.catalog.list_runs().items
    runs = [run.uid for run in world.catalog.list_runs().items]
    now = world.catalog
    assert now.artifacts(as_of=head) == now.artifacts()
    assert now.artifacts(None, "model", head) == now.artifacts(None, "model")
    assert not now.artifacts("other", as_of=head)
    assert not now.artifacts(as_of=0)
    assert [now.run(str(run), head) for run in runs] == [now.run(str(run)) for run in runs]
    assert [now.series(run, head) for run in runs] == [now.series(run) for run in runs]
    assert now.named_runs(runs, head) == now.named_runs(runs)
    assert now.named_runs(runs, 0) == {}
    with pytest.raises(NotFound, match="known at position 0"):
        now.run(str(runs[0]), 0)
    assert [
        len(page.items) for page in now.consumers_of([asked[0]]) if isinstance(page, replies.RunPage)
    ] == [1]
    for verb, subjects in (
        (now.consumers_of, [MODEL_REF]),
        (now.children_of, runs),
        (now.inputs_of, runs),
        (now.outputs_of, runs),
    ):
        pages = [verb(subjects, as_of=as_of) for as_of in (head, None)]
        assert [page.items for page in pages[0]] == [page.items for page in pages[1]]
        assert all(isinstance(refused, NotFound) for refused in verb(subjects, as_of=0))
    assert isinstance(world.catalog.resolve(asked, 0)[0], NotFound)


# ── lineage as of a position ─────────────────────────────────────────────────────────────────────


def test_a_name_means_in_lineage_what_it_meant_at_the_position(world: World) -> None:
    """`@prod` and `@latest` move between the position and now; one `@next` was not known then."""
    first = world.note("get", {"dataset:d": b"1"}).outputs[0]
    world.note("fit", {"model:m": b"1"}, [simulator.taken(first)])
    move(world, b"1")
    then = world.catalog.position_at(datetime(2999, 1, 1, tzinfo=UTC))
    second = world.note("get", {"dataset:d": b"2"}).outputs[0]
    world.note("fit", {"model:m": b"2"}, [simulator.taken(second)])
    move(world, b"2")
    move(world, b"2", name="next")
    asked = world.catalog
    for name in ("model:m@prod", "model:m@latest", "model:m"):
        for as_of, number in ((then, 1), (None, 2)):
            ref, data = f"model:m@{number}", f"dataset:d@{number}"
            up = asked.lineage([name], lineage.Direction.UP, lineage.Bounds(), as_of=as_of)
            versions = [node.id for node in up.nodes if node.type is lineage.NodeType.VERSION]
            assert sorted(versions) == [data, ref]
            assert asked.lineage_counts([name], lineage.Direction.UP, as_of=as_of).total == 4
            way = asked.paths("dataset:d@latest", name, as_of=as_of).paths[0]
            assert (way[0].id, way[-1].id) == (data, ref)
            assert [node.id for node in asked.roots_of([name], as_of).items] == [data]
            common = asked.common_ancestors([name, "dataset:d"], as_of).items
            assert common[0].id == data
            assert asked.impact("dataset:d@latest", as_of=as_of).subject.id == data
    for ask in (
        lambda: asked.lineage(["model:m@next"], lineage.Direction.UP, lineage.Bounds(), as_of=then),
        lambda: asked.roots_of(["model:m@next"], then),
        lambda: asked.impact("model:m@2", as_of=then),
        lambda: asked.paths("dataset:d@2", "model:m@1", as_of=then),
    ):
        with pytest.raises(NotFound, match=f"known at position {then}"):
            ask()
    with pytest.raises(NotFound, match="did you mean next"):
        asked.roots_of(["model:m@nxt"])


def test_a_later_page_is_of_what_a_name_meant_on_the_first(world: World) -> None:
    data = world.note("get", {"dataset:d": b"1"}).outputs[0]
    world.note("fit", {"model:m": b"1"}, [simulator.taken(data)])
    few = lineage.Bounds(max_nodes=2)
    page = world.catalog.lineage(["model:m"], lineage.Direction.UP, few)
    ancestors = world.catalog.common_ancestors(["model:m", "model:m@1"], first=1)
    world.note("fit", {"model:m": b"2"})
    rest = world.catalog.lineage(["model:m"], lineage.Direction.UP, few, page.completeness.frontier)
    assert len({node.id for node in (*page.nodes, *rest.nodes)}) == 4
    more = world.catalog.common_ancestors(["model:m", "model:m@1"], after=ancestors.end)
    assert ancestors.total == more.total == 4

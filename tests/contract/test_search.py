"""Search by labels, ranges of metrics and time: the contract of every catalog."""

import dataclasses
import math
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import simulator
from tests.simulator import ACTOR, World, claim
from whence_catalog import catalog, model, replies
from whence_catalog.errors import InvalidInput
from whence_catalog.model import MetricRange
from whence_catalog.replies import HitType
from whence_catalog.sql import candidates, pages, search
from whence_catalog.sql.catalog import SqlCatalog

NAN = math.nan


def trained(world: World, job: str = "train", labels: dict[str, str] | None = None, **metrics: float) -> str:
    """A Run with these labels and metrics; answers its id."""
    call = world.plain_call(job, labels=labels or {})
    simulator.one(world.catalog.record_runs([(call, world.report(call, metrics=metrics))]))
    return str(call.run)


def made(world: World, name: str, content: bytes, job: str = "train", **metrics: float) -> str:
    """A Version, and a production of it with these metrics; answers its reference."""
    call = world.plain_call(job)
    report = dataclasses.replace(world.report(call), outputs=(claim(name, content, metrics=metrics),))
    (output,) = simulator.one(world.catalog.record_runs([(call, report)])).outputs
    ref: str = output.version.ref
    return ref


def named(hit: replies.Hit) -> str:
    if hit.run is not None:
        return str(hit.run.uid)
    return hit.version.ref if hit.version else str(hit.artifact or hit.job)


def found(world: World, meanwhile: Callable[[], object] = lambda: None, **asked: Any) -> list[str]:
    """What all pages hold, two items each."""
    seen: list[str] = []
    after: str | None = None
    while True:
        page = world.catalog.search(first=2, after=after, **asked)
        assert len(page.items) == len(page.cursors) <= 2
        seen += map(named, page.items)
        if page.end is None:
            return seen
        after = page.end
        meanwhile()


def above(name: str, low: float | None, high: float | None = None) -> list[MetricRange]:
    return [MetricRange(name, low, high)]


def test_runs_are_found_by_labels_the_newest_first(world: World) -> None:
    first = trained(world, labels={"team": "perception", "stage": "beta"})
    trained(world, labels={"team": "planning"})
    trained(world)
    second = trained(world, labels={"team": "perception"})
    assert found(world, labels=[("team", "perception")]) == [second, first]
    assert found(world, labels=[("team", "perception"), ("stage", "beta")]) == [first]
    assert found(world, labels=[("team", "perception"), ("team", "planning")]) == []
    assert found(world, labels=[("team", "percep")]) == found(world, labels=[("perception", "team")]) == []


def test_a_label_of_later_is_found_and_one_that_was_removed_is_not(world: World) -> None:
    run, version = trained(world, labels={"draft": "yes"}), made(world, "model:m", b"M")
    for subject in (run, version):
        said = model.LabelClaim(simulator.uid(), subject, ACTOR, {"team": "perception"}, frozenset({"draft"}))
        simulator.one(world.catalog.label([said]))
    assert found(world, labels=[("team", "perception")]) == [version, run]
    assert found(world, labels=[("draft", "yes")]) == []
    assert found(world, labels=[("team", "perception")], types=[HitType.RUN]) == [run]
    assert found(world, labels=[("team", "perception")], kinds=["dataset"]) == []
    assert found(world, labels=[("team", "perception")], kinds=["model"]) == [version]


def test_runs_are_found_by_a_range_of_a_metric_the_highest_first(world: World) -> None:
    runs = {auc: trained(world, auc=auc) for auc in (0.5, 0.9, 0.7, 0.9999, math.inf, -math.inf)}
    trained(world, auc=NAN)
    trained(world, loss=0.9)
    assert found(world, metrics=above("auc", 0.7)) == [runs[v] for v in (math.inf, 0.9999, 0.9, 0.7)]
    assert found(world, metrics=above("auc", 0.7, 0.9)) == [runs[0.9], runs[0.7]]
    assert found(world, metrics=above("auc", None, 0.5)) == [runs[0.5], runs[-math.inf]]
    assert len(found(world, metrics=above("auc", None))) == 6
    with pytest.raises(InvalidInput, match="no greater"):
        above("auc", 0.8, 0.7)
    assert found(world, metrics=above("loss", -1.0), text="TRAIN") != []
    assert found(world, metrics=above("loss", -1.0), text="other") == []


def test_runs_with_the_same_value_are_each_found_once(world: World) -> None:
    runs = [trained(world, auc=1.0) for _ in range(5)]
    assert found(world, metrics=above("auc", 0.9)) == runs[::-1]


def test_all_that_is_asked_for_must_hold(world: World) -> None:
    good = trained(world, labels={"team": "a"}, auc=0.9, loss=0.1)
    trained(world, labels={"team": "a"}, auc=0.9, loss=0.9)
    trained(world, labels={"team": "b"}, auc=0.95, loss=0.1)
    both = [MetricRange("auc", 0.8), MetricRange("loss", None, 0.2)]
    assert found(world, metrics=both, labels=[("team", "a")]) == [good]


def test_the_last_value_that_was_logged_is_found(world: World) -> None:
    call = world.plain_call("train")
    world.begin(call)
    for step, loss in enumerate((0.9, 0.5, NAN, 0.1)):
        series = model.Series(simulator.uid(), call.run, ACTOR, {"loss": ((step, loss),)})
        simulator.one(world.catalog.log([series]))
        within = found(world, metrics=above("loss", loss, loss)) if not math.isnan(loss) else []
        assert within == ([] if math.isnan(loss) else [str(call.run)])
        assert len(found(world, metrics=above("loss", None))) == (not math.isnan(loss))
    world.finish(world.report(call, metrics={"loss": 0.05, "auc": 0.8}))
    assert found(world, metrics=above("loss", 0.1)) == []
    assert (
        found(world, metrics=above("loss", 0.05))
        == found(world, metrics=above("auc", 0.8))
        == [str(call.run)]
    )


def test_versions_are_found_by_the_metrics_of_a_production_each_once(world: World) -> None:
    good = made(world, "model:m", b"1", auc=0.8)
    assert made(world, "model:m", b"1", job="again", auc=0.95) == good
    better = made(world, "model:m", b"2", auc=0.9)
    made(world, "model:m", b"3", loss=0.9)
    assert found(world, metrics=above("auc", 0.7)) == [good, better]
    assert found(world, metrics=above("auc", 0.7, 0.9)) == [better, good]
    assert found(world, metrics=[MetricRange("auc", 0.7), MetricRange("loss", 0.0)]) == []
    content = simulator.digest_of(b"2").text
    assert found(world, text=content, metrics=above("auc", 0.7)) == [better]
    assert found(world, text=content, metrics=above("auc", 0.95)) == []


def test_a_whole_digest_is_content_and_no_name(world: World) -> None:
    content = simulator.digest_of(b"1").text
    plain = content.removeprefix("sha256:")
    version = made(world, "model:m", b"1", job=f"train-{plain}")
    made(world, f"model:{plain}", b"2")
    assert found(world, text=content) == found(world, text=plain) == [version]
    assert found(world, text=plain, types=[HitType.ARTIFACT, HitType.JOB]) == []
    assert found(world, text=plain[:63], types=[HitType.ARTIFACT]) == [f"model:{plain}"]


def test_runs_and_versions_are_found_by_time_and_by_type(world: World) -> None:
    before = datetime.now(UTC) - timedelta(days=1)
    run, version = trained(world, job="evaluate"), made(world, "model:m", b"1")
    later = datetime.now(UTC) + timedelta(days=1)
    everything = found(world, since=before, until=later)
    assert everything[0] == version
    assert everything[-1] == run
    assert len(everything) == 3
    assert found(world, since=later) == found(world, until=before) == []
    assert found(world, types=[HitType.RUN], text="eval") == [run]
    assert found(world, types=[HitType.VERSION], text="M") == [version]
    started = world.catalog.run(run).run.started_at
    assert run in found(world, since=started)
    assert found(world, until=started, types=[HitType.RUN]) == []


def test_pages_do_not_shift_while_more_is_recorded(world: World) -> None:
    runs = [trained(world, labels={"a": "1"}, auc=n / 10) for n in range(5)]

    def more() -> None:
        trained(world, labels={"a": "1"}, auc=0.15)
        said = model.LabelClaim(simulator.uid(), runs[0], ACTOR, {}, frozenset({"a"}))
        simulator.one(world.catalog.label([said]))

    assert found(world, more, metrics=above("auc", 0.0)) == runs[::-1]
    for asked in ({"labels": [("a", "1")]}, {"types": [HitType.RUN]}):
        runs_now = found(world, **asked)
        assert found(world, more, **asked) == runs_now


def test_of_projects(world: World) -> None:
    trained(world, labels={"a": "1"}, auc=0.5)
    elsewhere = trained(World(world.catalog, project="other"), labels={"a": "1"}, auc=0.5)
    for asked in ({"labels": [("a", "1")]}, {"metrics": above("auc", 0.0)}, {"types": [HitType.RUN]}):
        assert found(world, projects=["other"], **asked) == [elsewhere]
        assert len(found(world, **asked)) == 2
        assert found(world, projects=[], **asked) == []


def test_a_cursor_is_of_one_search(world: World) -> None:
    for _ in range(3):
        trained(world, auc=0.5)
    after = world.catalog.search(metrics=above("auc", 0.1), first=1).end
    assert after is not None
    for other in (above("auc", 0.2), above("auc", 0.1, 0.9), above("loss", 0.1)):
        with pytest.raises(InvalidInput, match="cursor"):
            world.catalog.search(metrics=other, first=1, after=after)


def test_a_cursor_that_somebody_made_up_is_refused(world: World) -> None:
    wanted = search.Search(metrics=above("auc", 0.1))
    made_up = pages.List("hits", wanted.said, 1, None)
    for key in ((0, "x", "y", ""), (0, "1", "", ""), (3, "0x1p99999", "1", ""), (3, "much", "1", "")):
        with pytest.raises(InvalidInput, match="cursor"):
            world.catalog.search(metrics=above("auc", 0.1), first=1, after=made_up.cursor(1, key))


def test_what_cannot_be_a_range_or_a_time_is_refused(world: World) -> None:
    for name, low, high in (("", 0.0, 1.0), ("auc", NAN, None), ("auc", None, NAN)):
        with pytest.raises(InvalidInput):
            MetricRange(name, low, high)


def test_no_page_is_longer_than_any_list(world: World) -> None:
    with pytest.raises(InvalidInput):
        world.catalog.search(types=[HitType.RUN], first=catalog.MOST_AT_ONCE + 1)


def test_a_page_looks_at_so_many_and_goes_on_from_there(tmp_path: Path) -> None:
    with closing(SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")) as opened:
        world = World(opened)
        rare = trained(world, labels={"a": "1", "b": "2"})
        calls = [world.plain_call("train", labels={"a": "1"}) for _ in range(candidates.MOST_LOOKED_AT)]
        opened.record_runs([(call, world.report(call)) for call in calls])
        asked = [("a", "1"), ("b", "2")]
        page = opened.search(labels=asked, types=[HitType.RUN])
        assert page.items == ()
        assert page.end is not None, "it has not looked at all of them"
        (hit,) = opened.search(labels=asked, types=[HitType.RUN], after=page.end).items
        assert named(hit) == rare


def test_who_may_read_some_projects_is_not_told_how_much_others_have(tmp_path: Path) -> None:
    """No page is empty and goes on for what lies elsewhere, nor does its cursor say where that lies."""
    with closing(SqlCatalog.open(tmp_path / "catalog.db", synchronous="OFF")) as opened:
        mine, theirs = World(opened, project="mine"), World(opened, project="theirs")
        run = trained(mine, labels={"a": "1"}, auc=0.1)
        version = made(mine, "mine/model:m", b"1", auc=0.1)
        calls = [theirs.plain_call("train", labels={"a": "1"}) for _ in range(candidates.MOST_LOOKED_AT + 1)]
        opened.record_runs(
            [
                (call, theirs.report(call, {"theirs/model:m": b"%d" % n}, metrics={"auc": 0.9}))
                for n, call in enumerate(calls)
            ]
        )
        for asked in ({"labels": [("a", "1")]}, {"metrics": above("auc", 0.0)}, {"types": list(HitType)}):
            page = opened.search(projects=["mine"], **asked)  # type: ignore[arg-type]
            assert page.end is None, asked
            assert run in map(named, page.items), asked
        assert [named(hit) for hit in opened.search(projects=["mine"], metrics=above("auc", 0.0)).items] == [
            version,
            run,
        ]
        first = opened.search(projects=["mine"], types=[HitType.VERSION, HitType.RUN], first=1)
        assert first.end == first.cursors[-1]

"""The benchmarks' own rules: what the figures prove, what is printed, and that both sides do the same work."""

import contextlib
import itertools
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks import __main__ as command
from benchmarks import (
    build,
    catalogs,
    entries,
    grown,
    growth,
    history,
    measure,
    processes,
    raw,
    recording,
    reusing,
    upstream,
)
from whence_catalog import cache, model
from whence_catalog.sql import catalog

RUNS = 60
# More than a run's inputs lie back.
ENTRIES = 300


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories are kept here, and not where those of real runs are."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def figures(low: float, high: float, goal: float = 1.5) -> measure.Figures:
    spread = measure.Spread(3.0, 4.0)
    return measure.Figures("record", 3.0, 2.0, "ms", 1.4, low, high, goal, 9, "wall time", spread, spread)


# ── statistics ───────────────────────────────────────────────────────────────────────────────────


def test_nine_ratios_are_bound_by_all_but_the_two_at_the_ends() -> None:
    ratios = [1.5, 1.1, 1.9, 1.2, 1.8, 1.3, 1.7, 1.4, 1.6]
    assert measure.bound(ratios) == (1.2, 1.8)


def test_five_ratios_cannot_be_bound_more_closely_than_by_their_range() -> None:
    assert measure.bound([1.0, 2.0, 3.0, 4.0, 5.0]) == (1.0, 5.0)


def test_more_ratios_bound_the_median_more_closely() -> None:
    ratios = [1 + n / 100 for n in range(101)]
    low, high = measure.bound(ratios)
    assert (low, high) == (1.4, 1.6)  # the 41st and the 61st of 101: binomial tables


def test_one_slow_pair_in_nine_moves_no_bound() -> None:
    calm = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8]
    assert measure.bound([*calm[:-1], 900.0]) == measure.bound(calm)


def test_the_median_lies_within_the_bound_as_often_as_it_says() -> None:
    chance = random.Random(7)
    within = 0
    for _ in range(500):
        low, high = measure.bound([chance.lognormvariate(0, 0.5) for _ in range(15)])
        within += low <= 1.0 <= high
    assert within >= 0.95 * 500 - 15


@pytest.mark.parametrize(
    ("low", "high", "verdict", "ok"),
    [
        (1.2, 1.4, measure.Verdict.UNDER, True),
        (1.2, 1.5, measure.Verdict.UNDER, True),
        (1.4, 1.6, measure.Verdict.STRADDLES, True),
        (1.5, 1.6, measure.Verdict.STRADDLES, True),
        (1.6, 1.9, measure.Verdict.OVER, False),
    ],
)
def test_only_a_bound_wholly_over_the_goal_fails(
    low: float, high: float, verdict: measure.Verdict, ok: bool
) -> None:
    judged = figures(low, high)
    assert (judged.verdict, judged.is_ok) == (verdict, ok)


# ── running ──────────────────────────────────────────────────────────────────────────────────────


def test_pairs_are_taken_until_there_are_nine_and_each_contender_does_as_many_operations() -> None:
    done = {"ours": 0, "floor": 0}

    @contextlib.contextmanager
    def contenders() -> Iterator[measure.Contenders]:
        def contender(name: str) -> measure.Contender:
            def operation() -> None:
                done[name] += 1
                sum(range(20_000 if name == "ours" else 2_000))

            return lambda: operation

        yield measure.Contenders(contender("ours"), contender("floor"))

    found = measure.run(measure.Benchmark("sums", 2.0, measure.Clock.CPU, contenders, 3), seconds=0)
    assert found.pairs == measure.MINIMUM_PAIRS
    assert done["ours"] == done["floor"] == 3 * (measure.MINIMUM_PAIRS + 1)  # one before the clock runs
    assert found.verdict is measure.Verdict.OVER


def test_the_spread_of_single_operations_is_told_beside_their_ratio() -> None:
    @contextlib.contextmanager
    def contenders() -> Iterator[measure.Contenders]:
        told = itertools.cycle([measure.Spent(wall, 0.5) for wall in [1.0] * 98 + [8.0, 9.0]])
        yield measure.Contenders(lambda: lambda: next(told), lambda: lambda: measure.Spent(0.5, 0.25))

    found = measure.run(
        measure.Benchmark("told", 2.0, measure.Clock.WALL, contenders, 100, unit="s"), seconds=0
    )
    assert (found.ours_each, found.floor_each) == (measure.Spread(1.0, 8.0), measure.Spread(0.5, 0.5))


def test_what_is_synced_to_the_disk_is_told_with_the_disk_s_own_time(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def contenders() -> Iterator[measure.Contenders]:
        busy = [lambda: sum(range(2_000))] * 2
        yield measure.Contenders(lambda: busy[0], lambda: busy[1], tmp_path)

    found = measure.run(measure.Benchmark("sums", 2.0, measure.Clock.WALL, contenders), seconds=0)
    assert "fdatasync alone" in found.note


def test_memory_is_measured_where_a_process_tells_of_it() -> None:
    @contextlib.contextmanager
    def contenders() -> Iterator[measure.Contenders]:
        yield measure.Contenders(
            lambda: lambda: measure.Spent(1.0, 0.5, 60e6), lambda: lambda: measure.Spent(1.0, 0.25, 150e6)
        )

    found = measure.run(
        measure.Benchmark("told", 0.5, measure.Clock.MEMORY, contenders, unit="MB"), seconds=0
    )
    assert (found.ours, found.floor, found.ratio) == (60.0, 150.0, 0.4)
    assert found.ours_each == (60.0, 60.0)
    assert found.note == "peak memory; by cpu 2.00"


def test_a_new_process_is_measured_as_a_whole() -> None:
    held = bytearray(150_000_000)
    used = processes.spent([sys.executable, "-c", "held = bytearray(60_000_000); sum(range(2_000_000))"])
    assert 60_000_000 < used.memory < 100_000_000  # and not what this process holds
    assert used.cpu > 0
    assert used.wall > 0
    assert len(held) == 150_000_000
    with pytest.raises(OSError, match="ended with 3"):
        processes.spent([sys.executable, "-c", "raise SystemExit(3)"])


# ── what is printed ──────────────────────────────────────────────────────────────────────────────


def test_json_has_the_agreed_keys() -> None:
    wire = command.wire(figures(1.2, 1.4))
    assert list(wire)[:7] == ["name", "ours", "floor", "unit", "ratio", "goal", "ok"]
    assert set(wire) - {"name", "ours", "floor", "unit", "ratio", "goal", "ok"} == {
        *("low", "high", "pairs", "note", "stretch", "limit"),
        *("ours_p50", "ours_p99", "floor_p50", "floor_p99"),
    }
    assert json.loads(json.dumps(wire)) == wire


def test_the_name_of_every_benchmark_is_its_own() -> None:
    names = [benchmark.name for benchmark in [*command.catalogue(quick=False), *command.beside_peers()]]
    assert len(set(names)) == len(names)


def test_an_unknown_name_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--quick", "--only", "no-such"]) == 2
    assert "record-100" in capsys.readouterr().err


def test_a_benchmark_runs_from_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    code = command.run(reusing.benchmarks(ENTRIES)[:1], seconds=0, as_json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["unit"], code) == ("look-up-sqlite", "µs", 0 if found["ok"] else 1)
    assert found["low"] <= found["ratio"] <= found["high"]
    assert 0 < found["ours_p50"] <= found["ours_p99"]


# ── the floor is a fair one ──────────────────────────────────────────────────────────────────────


def test_the_history_is_a_catalog_in_which_whence_finds_no_fault(tmp_path: Path) -> None:
    history.write(tmp_path / "history.db", RUNS)
    checked = catalog.SqlCatalog.open(tmp_path / "history.db").check()
    assert (checked.facts, checked.problems) == (2 * RUNS, ())


# ── a catalog that grows ─────────────────────────────────────────────────────────────────────────


def test_a_build_that_was_ended_goes_on_where_it_was(tmp_path: Path) -> None:
    class Ended(Exception):
        pass

    def ended(done: int, rate: float) -> None:
        raise Ended

    with contextlib.closing(catalog.SqlCatalog.open(tmp_path / "grown.db")) as opened:
        with pytest.raises(Ended):
            build.build(opened, build.BATCH, ended)
        more = grown.MOVED + build.BATCH
        assert build.build(opened, more) == grown.MOVED
        assert build.build(opened, more) == 0
        assert build.next_place(opened) == more
        checked = opened.check()
        moved = opened.aliases(grown.PROD)
        served = opened.resolve([model.Reference(grown.PROD, "prod")])
    assert (checked.facts, checked.problems) == (more + 3, ())  # two moves and a deployment
    assert [alias.version.number for alias in moved] == [51, 1]  # every twentieth run makes one
    assert isinstance(served[0], model.Output)


def test_what_a_run_takes_lies_as_near_in_a_long_history_as_in_a_short_one() -> None:
    for place in (100, 9_999, 1_000_000):
        taken = {claim.source.producer for claim in grown.call(place).inputs}
        assert taken <= {history.uid(earlier) for earlier in range(place - 75, place)}
        assert len(taken) == 3


@pytest.fixture(scope="module")
def grown_catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[catalog.SqlCatalog]:
    file = tmp_path_factory.mktemp("grown") / "grown.db"
    with contextlib.closing(catalog.SqlCatalog.open(file)) as opened:
        build.build(opened, 1_500)
        yield opened


@pytest.mark.parametrize("name", growth.QUESTIONS)
def test_each_question_of_growth_is_answered_wherever_it_is_drawn(
    name: str, grown_catalog: catalog.SqlCatalog
) -> None:
    question, _ = growth.QUESTIONS[name]
    drawn = random.Random(3)
    answers = [question(grown_catalog, 1_500, drawn)() for _ in range(5)]
    assert all(answer is not None for answer in answers)


def test_a_benchmark_that_cannot_be_run_fails_and_does_not_keep_others_from_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @contextlib.contextmanager
    def broken() -> Iterator[measure.Contenders]:
        raise OSError("the disk is full")
        yield

    @contextlib.contextmanager
    def alike() -> Iterator[measure.Contenders]:
        yield measure.Contenders(lambda: lambda: sum(range(999)), lambda: lambda: sum(range(999)))

    ran = [measure.Benchmark(name, 9.0, measure.Clock.CPU, of) for name, of in (("a", broken), ("b", alike))]
    assert command.run(ran, seconds=0, as_json=False) == 1
    said = capsys.readouterr().out
    assert "a                       cannot be run" in said
    assert "OSError: the disk is full" in said
    assert "1 of 2 measured; over their goals: none" in said


def test_a_peer_is_told_of_the_same_run_as_we_record() -> None:
    call, report = grown.whole(1_000)
    told = json.loads(json.dumps(catalogs.told(call, report)))
    assert [taken["digest"] for taken in told["inputs"]] == [i.source.digest.text for i in call.inputs]
    assert [made["digest"] for made in told["outputs"]] == [o.content.digest.text for o in report.outputs]
    assert (len(told["inputs"]), len(told["outputs"]), len(told["params"]), len(told["metrics"])) == (
        3,
        2,
        8,
        4,
    )


@contextlib.contextmanager
def _in_sqlite() -> Iterator[str]:
    yield str(entries.file(ENTRIES))


@contextlib.contextmanager
def _in_postgresql() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", None)  # a socket's path is short
        with entries.database(ENTRIES) as url:
            yield url


@pytest.mark.parametrize("loaded", [_in_sqlite, _in_postgresql])
def test_a_loaded_run_is_reused_as_a_recorded_one_is(
    loaded: Callable[[], contextlib.AbstractContextManager[str]],
) -> None:
    with loaded() as url, contextlib.closing(catalog.open_url(url)) as opened:
        place = entries.asked(ENTRIES)[-1]
        (answer,) = opened.reserve([entries.call(place, ENTRIES)])
        assert isinstance(answer, cache.Reuse)
        assert answer.entry.run == history.uid(place)
        assert {output.role: output.version.digest for output in answer.outputs} == {
            role: history.content(place, role) for role in ("table", "model")
        }


@pytest.mark.parametrize(
    "benchmark",
    [
        *recording.benchmarks(RUNS),
        *(one for one in reusing.benchmarks(ENTRIES) if one.name in ("look-up-sqlite", "reuse")),
    ],
    ids=lambda benchmark: benchmark.name,
)
def test_both_sides_write_the_same_number_of_rows(benchmark: measure.Benchmark, tmp_path: Path) -> None:
    with benchmark.contenders() as contenders:
        for contender in (contenders.ours, contenders.floor):
            contender()()
        written = [_rows(file) for name in ("ours.db", "floor.db") for file in tmp_path.rglob(name)]
    assert written[:1] == written[1:]


BY_NAME = {benchmark.name: benchmark for benchmark in upstream.benchmarks(RUNS)}


@pytest.mark.parametrize("name", [name for name in BY_NAME if name.startswith("lineage")])
def test_both_sides_find_the_same_ancestry(name: str) -> None:
    with BY_NAME[name].contenders() as contenders:
        (nodes, edges), rows = cast("Any", contenders.ours()()), contenders.floor()()
    assert isinstance(rows, raw.Ancestry)
    assert len(edges) == len([row for row in rows.taken if row[3] is not None]) + len(rows.made)
    assert len(nodes) <= len(rows.runs) + len(rows.versions)


def test_both_sides_find_the_same_closure() -> None:
    (name,) = [name for name in BY_NAME if name.startswith("closure")]
    with BY_NAME[name].contenders() as contenders:
        found, rows = cast("Any", contenders.ours()()), cast("Any", contenders.floor()())
    assert [len(found.runs), len(found.versions)] == [len(each) for each in rows[:2]]


def _rows(file: Path) -> dict[str, int]:
    connection = raw.connect(file)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}
    connection.close()
    return counts

"""What a question, and a write, costs in a long history beside a short one: the same code on both.

The long one is built by `python -m benchmarks.build --runs 1000000`, the short one of 10,000 runs too; each run lies as
far from what it came from in both. A ratio of 1 is no growth. What is asked about is drawn from the whole history, or
is its end, as people do.

Both files are in the system's cache, as a machine for that many runs is to have them: what a page costs that has to
come from the disk is the disk's doing, and stands in docs/operations.md.
"""

import contextlib
import functools
import itertools
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import build, entries, grown, history, kept, measure, reusing
from whence_catalog import lineage, model
from whence_catalog.sql import catalog

_GOAL = 1.5
SHORT = 10_000
_LONGER = (1_000_000, 100_000)
_FEW_ENTRIES, _ENTRIES = 10_000, 1_000_000
_PAGE = 25
# From among how many of the last runs those are drawn that people ask for most.
_RECENT = 1_000

# Makes a question about a history of that many runs, ready to be asked.
_Question: TypeAlias = Callable[[catalog.SqlCatalog, int, random.Random], Callable[[], object]]


def _resolve(of: catalog.SqlCatalog, _: int, drawn: random.Random) -> Callable[[], object]:
    at = 2 * drawn.randrange(10)
    reference = model.Reference(
        grown.artifact(at, "model"), drawn.choice(("latest", str(drawn.randrange(1, 50))))
    )
    return lambda: _answered(of.resolve([reference]))


def _resolve_alias(of: catalog.SqlCatalog, _: int, __: random.Random) -> Callable[[], object]:
    return lambda: _answered(of.resolve([model.Reference(grown.PROD, "prod")]))


def _show_run(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    uid = str(history.uid(runs - 1 - drawn.randrange(_RECENT)))
    return lambda: of.run(uid)


def _show_run_anywhere(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    uid = str(history.uid(drawn.randrange(runs)))
    return lambda: of.run(uid)


def _list_runs(of: catalog.SqlCatalog, _: int, __: random.Random) -> Callable[[], object]:
    return lambda: of.list_runs(["bench"], first=_PAGE).items[_PAGE - 1]


def _list_runs_of_job(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    job = grown.job(drawn.randrange(runs))
    return lambda: of.list_runs(["bench"], job=job, first=_PAGE).items[_PAGE - 1]


def _versions_of(of: catalog.SqlCatalog, _: int, drawn: random.Random) -> Callable[[], object]:
    artifact = grown.artifact(2 * drawn.randrange(10), "table")
    return lambda: _answered(of.versions_of([artifact], first=_PAGE))


def _upstream(depth: int) -> _Question:
    bounds = lineage.Bounds(depth=depth, max_nodes=None)

    def question(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
        root = str(history.uid(runs - 1 - drawn.randrange(_RECENT)))
        return lambda: of.lineage([root], lineage.Direction.UP, bounds).edges[0]

    return question


def _downstream(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    root = str(history.uid(drawn.randrange(runs - _RECENT)))
    bounds = lineage.Bounds(depth=5, max_nodes=None)
    return lambda: of.lineage([root], lineage.Direction.DOWN, bounds)


def _search_name(of: catalog.SqlCatalog, _: int, drawn: random.Random) -> Callable[[], object]:
    text = grown.artifact(2 * drawn.randrange(10) + 1, "model").name
    return lambda: of.search(text, first=_PAGE).items[0]


def _search_digest(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    text = history.content(drawn.randrange(runs), "model").text
    return lambda: of.search(text).items[0]


def _search_label(of: catalog.SqlCatalog, _: int, drawn: random.Random) -> Callable[[], object]:
    """A label that a fifth of all runs have: the newest of them."""
    labels = [("team", drawn.choice(grown.TEAMS))]
    return lambda: of.search(labels=labels, first=_PAGE).items[_PAGE - 1]


def _search_labels(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    """Two labels that 200 runs have, of any age."""
    campaign = f"c{drawn.randrange(runs // grown.CAMPAIGN)}"
    labels = [("team", drawn.choice(grown.TEAMS)), ("campaign", campaign)]
    return lambda: of.search(labels=labels, first=_PAGE).items[_PAGE - 1]


def _search_metric(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    """The first of a hundredth of all runs, by their metric; of more, where that is no full page."""
    width = max(0.01, 3 * _PAGE / runs)
    low = drawn.uniform(0.0, 0.99 - width)
    ranges = [model.MetricRange("accuracy", low, low + width)]
    return lambda: of.search(metrics=ranges, first=_PAGE).items[_PAGE - 1]


def _search_metric_label(of: catalog.SqlCatalog, _: int, drawn: random.Random) -> Callable[[], object]:
    ranges = [model.MetricRange("accuracy", 0.9)]
    labels = [("team", drawn.choice(grown.TEAMS))]
    return lambda: of.search(metrics=ranges, labels=labels, first=_PAGE).items[_PAGE - 1]


def _named(runs: int) -> int:
    """A position from which on the alias means something: it is moved behind the first batch of runs."""
    return max(runs // 10, grown.MOVED)


def _alias_at(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    at = _moment(of, drawn.randrange(_named(runs), runs))
    return lambda: of.alias_at(grown.PROD, "prod", at)


def _alias_known(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    """What it meant, as far as was known at a position."""
    position = drawn.randrange(_named(runs), runs)
    at = _moment(of, position)
    return lambda: of.alias_at(grown.PROD, "prod", at, position)


def _resolve_known(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    artifact = grown.artifact(2 * drawn.randrange(10), "model")
    position = drawn.randrange(runs // 10, runs)
    return lambda: _answered(of.resolve([model.Reference(artifact, "latest")], position))


def _timeline(of: catalog.SqlCatalog, _: int, drawn: random.Random) -> Callable[[], object]:
    """Of Artifacts with ever more productions; `prod` is one of the first's aliases."""
    subject = model.Reference(grown.artifact(2 * drawn.randrange(10), "model"))
    return lambda: of.timeline(subject, first=_PAGE).items[_PAGE - 1]


def _timeline_known(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    subject = model.Reference(grown.artifact(2 * drawn.randrange(10), "model"))
    position = drawn.randrange(runs // 10, runs)
    return lambda: of.timeline(subject, position, first=_PAGE).items[0]


def _position_at(of: catalog.SqlCatalog, runs: int, drawn: random.Random) -> Callable[[], object]:
    at = _moment(of, drawn.randrange(runs))
    return lambda: of.position_at(at)


def _moment(of: catalog.SqlCatalog, position: int) -> datetime:
    return of.facts(position, limit=1)[0].sequenced_at


# What is asked, and how often between two looks at the clock.
QUESTIONS: dict[str, tuple[_Question, int]] = {
    "resolve": (_resolve, 20),
    "resolve-alias": (_resolve_alias, 20),
    "show-run": (_show_run, 20),
    # Its pages are in no cache of SQLite's own where the history is long: that is what this one tells.
    "show-run-anywhere": (_show_run_anywhere, 20),
    "list-runs": (_list_runs, 10),
    "list-runs-of-job": (_list_runs_of_job, 10),
    "versions-of": (_versions_of, 10),
    "lineage-5": (_upstream(5), 4),
    "lineage-20": (_upstream(20), 1),
    "downstream-5": (_downstream, 4),
    "search-name": (_search_name, 10),
    "search-digest": (_search_digest, 20),
    "search-label": (_search_label, 4),
    "search-labels": (_search_labels, 4),
    "search-metric": (_search_metric, 4),
    "search-metric-label": (_search_metric_label, 4),
    "alias-at": (_alias_at, 20),
    "alias-at-known": (_alias_known, 20),
    "resolve-known": (_resolve_known, 20),
    "timeline": (_timeline, 4),
    "timeline-known": (_timeline_known, 4),
    "position-at": (_position_at, 20),
}


def benchmarks() -> list[measure.Benchmark]:
    """All of this module that can be run here: beside the longest history that was built, on each database."""
    found = []
    wall, cpu = measure.Clock.WALL, measure.Clock.CPU
    for runs in itertools.islice(filter(_is_built, _LONGER), 1):
        opened = partial(_on_sqlite, runs)
        found += [_asked(f"grown-{runs // 1000}k", name, opened, runs, cpu) for name in QUESTIONS]
        found.append(
            measure.Benchmark(
                f"grown-{runs // 1000}k-record-one", _GOAL, wall, partial(_recorded, opened), operations=20
            )
        )
    for runs in itertools.islice(filter(_is_kept, _LONGER), 1):
        opened = partial(_on_postgresql, runs)
        found += [_asked(f"grown-{runs // 1000}k-pg", name, opened, runs, wall) for name in QUESTIONS]
        found.append(
            measure.Benchmark(
                f"grown-{runs // 1000}k-pg-record-one", _GOAL, wall, partial(_recorded, opened), operations=20
            )
        )
    return found


def look_ups() -> list[measure.Benchmark]:
    """Of a key among 1,000,000 entries, beside one among 10,000."""
    return [
        measure.Benchmark(
            "grown-1000k-look-up", _GOAL, measure.Clock.CPU, _looked_up, operations=200, unit="µs"
        )
    ]


def _is_built(runs: int) -> bool:
    return build.file(runs).exists()


def _is_kept(runs: int) -> bool:
    return build.server(runs).exists() and build.server(SHORT).exists()


def _asked(prefix: str, name: str, opened: "_Opened", runs: int, clock: measure.Clock) -> measure.Benchmark:
    question, operations = QUESTIONS[name]
    return measure.Benchmark(
        f"{prefix}-{name}", _GOAL, clock, partial(_questions, opened, runs, question), operations=operations
    )


# ── where it is asked ────────────────────────────────────────────────────────────────────────────

_Both: TypeAlias = tuple[catalog.SqlCatalog, catalog.SqlCatalog]
_Opened: TypeAlias = Callable[[], contextlib.AbstractContextManager[_Both]]


@contextmanager
def _on_sqlite(runs: int) -> Iterator[_Both]:
    short = build.file(SHORT)
    _read_ahead(build.file(runs))
    with contextlib.ExitStack() as stack:
        long, other = (
            stack.enter_context(contextlib.closing(catalog.SqlCatalog.open(file)))
            for file in (build.file(runs), short)
        )
        if build.held(other, SHORT) != SHORT:
            build.build(other, SHORT)
        yield long, other


@functools.cache
def _read_ahead(file: Path) -> None:
    with file.open("rb", buffering=0) as opened:
        while opened.read(1 << 24):
            pass


@contextmanager
def _on_postgresql(runs: int) -> Iterator[_Both]:
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(kept.postgresql(build.server(many))) for many in (runs, SHORT)]
        long, short = (
            stack.enter_context(contextlib.closing(catalog.SqlCatalog.connect(url))) for url in urls
        )
        yield long, short


@contextmanager
def _questions(opened: _Opened, runs: int, question: _Question) -> Iterator[measure.Contenders]:
    with opened() as (long, short):
        ours, floor = random.Random(1), random.Random(1)
        yield measure.Contenders(partial(question, long, runs, ours), partial(question, short, SHORT, floor))


@contextmanager
def _recorded(opened: _Opened) -> Iterator[measure.Contenders]:
    """Both go on with their history: what they record is what a longer one would have held."""
    with opened() as (long, short), tempfile.TemporaryDirectory(dir=build.folder()) as where:
        yield measure.Contenders(_recording(long), _recording(short), Path(where))


def _recording(into: catalog.SqlCatalog) -> measure.Contender:
    places = itertools.count(build.next_place(into))

    def ready() -> Callable[[], object]:
        runs = [grown.whole(next(places))]
        return lambda: _answered(into.record_runs(runs))

    return ready


@contextmanager
def _looked_up() -> Iterator[measure.Contenders]:
    with (
        contextlib.closing(catalog.SqlCatalog.open(entries.file(_ENTRIES))) as long,
        contextlib.closing(catalog.SqlCatalog.open(entries.file(_FEW_ENTRIES))) as short,
    ):
        yield measure.Contenders(reusing.looks_up(long, _ENTRIES), reusing.looks_up(short, _FEW_ENTRIES))


def _answered(results: Any) -> object:
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results

"""Runs the benchmarks: `python -m benchmarks [--quick] [--json] [--only NAME] [--profile NAME]`.

Ends with 1 where one of them is proven to be over its goal.
"""

import argparse
import cProfile
import json
import os
import pstats
import sys
import traceback
from collections.abc import Sequence

from benchmarks import (
    captures,
    catalogs,
    environments,
    fingerprints,
    graphql,
    growth,
    hooks,
    leasing,
    many,
    measure,
    peers,
    plans,
    processes,
    recording,
    recording_elsewhere,
    reusing,
    streamed,
    upstream,
)

# How long the histories are. Writing costs the same in both: only the shorter one is copied.
_RUNS, _MANY_RUNS = 10_000, 100_000
# How many entries are looked up among.
_FEW_ENTRIES, _ENTRIES = 50_000, 1_000_000
# How many tasks are mapped at once.
_FEW_TASKS, _TASKS = 320, 10_000
# How long a benchmark that has its pairs goes on.
_QUICK_SECONDS, _FULL_SECONDS = 1.5, 15.0
_PROFILED_OPERATIONS, _PROFILED_ROWS = 200, 25


def catalogue(quick: bool) -> list[measure.Benchmark]:
    """Every benchmark that can be run here: those beside peers where `make bench-peers` has installed them."""
    found = [
        *recording.benchmarks(_RUNS),
        *recording_elsewhere.benchmarks(),
        *reusing.benchmarks(_FEW_ENTRIES if quick else _ENTRIES),
        *leasing.benchmarks(),
        *hooks.benchmarks(),
        *fingerprints.benchmarks(),
        *captures.benchmarks(quick),
        *upstream.benchmarks(_RUNS),
        *plans.benchmarks(_RUNS),
        *graphql.benchmarks(_RUNS),
        *many.benchmarks(_FEW_TASKS if quick else _TASKS),
    ]
    if environments.is_installed(environments.REUSE):
        found += peers.benchmarks()
    if catalogs.are_installed():
        found += [*catalogs.benchmarks(), *processes.benchmarks()]
    if not quick:
        found += [*growth.look_ups(), *growth.benchmarks()]
    long = [
        *upstream.benchmarks(_MANY_RUNS),
        *plans.benchmarks(_MANY_RUNS),
        *streamed.benchmarks(_MANY_RUNS),
    ]
    return found if quick else [*found, *long]


def beside_peers() -> list[measure.Benchmark]:
    """Those beside peers, which install what they need."""
    return [*peers.benchmarks(), *catalogs.benchmarks(), *processes.benchmarks()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; answers the exit code."""
    asked = _parser().parse_args(arguments)
    benchmarks = beside_peers() if asked.peers else catalogue(asked.quick)
    wanted = asked.profile or asked.only or ""
    chosen = [benchmark for benchmark in benchmarks if benchmark.name.startswith(wanted)]
    if not chosen:
        print(f"no benchmark {wanted}; there are {', '.join(b.name for b in benchmarks)}", file=sys.stderr)
        return 2
    if asked.profile:
        for benchmark in chosen:
            profile(benchmark)
        return 0
    return run(chosen, _QUICK_SECONDS if asked.quick else _FULL_SECONDS, as_json=asked.json)


def run(benchmarks: Sequence[measure.Benchmark], seconds: float, as_json: bool) -> int:
    """Run them, print their figures as they come; answers the exit code."""
    figures = []
    told = sys.stderr if as_json else sys.stdout
    for benchmark in benchmarks:
        try:
            figures.append(measure.run(benchmark, seconds))
        except Exception:  # the others are measured all the same
            print(f"{benchmark.name:<24}cannot be run: {traceback.format_exc()}", file=told, flush=True)
        else:
            print(line(figures[-1]), file=told, flush=True)
    if as_json:
        print(json.dumps([wire(one) for one in figures], ensure_ascii=False, indent=1))
    over = [one.name for one in figures if not one.is_ok]
    print(
        f"{len(figures)} of {len(benchmarks)} measured; over their goals: {', '.join(over) or 'none'}; load",
        end=" ",
        file=told,
    )
    print(*(f"{load:.1f}" for load in os.getloadavg()), file=told)
    return 0 if len(figures) == len(benchmarks) and not over else 1


def profile(benchmark: measure.Benchmark) -> None:
    """Print where the time of `ours` goes."""
    many = min(_PROFILED_OPERATIONS, 10 * benchmark.operations)
    with benchmark.contenders() as contenders:
        contenders.ours()()  # compiles statements
        ready = [contenders.ours() for _ in range(many)]
        profiler = cProfile.Profile()
        profiler.enable()
        for operation in ready:
            operation()
        profiler.disable()
    print(f"{benchmark.name}: {many} operations")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(_PROFILED_ROWS)


def line(figures: measure.Figures) -> str:
    """The figures, for people."""
    mine, raw = figures.ours_each, figures.floor_each
    more = "" if figures.stretch is None else f", to get to {figures.stretch:.3g}"
    limit = "" if figures.limit is None else f"; p50 is to be at most {figures.limit:g} {figures.unit}"
    return (
        f"{figures.name:<24}{figures.ours:>10.3f} {figures.unit} /{figures.floor:>9.3f} {figures.unit}"
        f" ={figures.ratio:>6.2f} [{figures.low:.2f}–{figures.high:.2f}]  goal {figures.goal:.3g}{more}:"
        f" {figures.verdict:<9} ({figures.pairs} pairs, {figures.note})\n"
        f"{'':<24}p50 {mine.p50:.3f} / {raw.p50:.3f}, p99 {mine.p99:.3f} / {raw.p99:.3f} {figures.unit}{limit}"
    )


def wire(figures: measure.Figures) -> dict[str, object]:
    """The figures, for programs."""
    return {
        "name": figures.name,
        "ours": round(figures.ours, 6),
        "floor": round(figures.floor, 6),
        "unit": figures.unit,
        "ratio": round(figures.ratio, 4),
        "goal": figures.goal,
        "ok": figures.is_ok,
        "low": round(figures.low, 4),
        "high": round(figures.high, 4),
        "pairs": figures.pairs,
        "stretch": figures.stretch,
        "limit": figures.limit,
        "ours_p50": round(figures.ours_each.p50, 6),
        "ours_p99": round(figures.ours_each.p99, 6),
        "floor_p50": round(figures.floor_each.p50, 6),
        "floor_p99": round(figures.floor_each.p99, 6),
        "note": f"{figures.verdict}; {figures.note}",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes: 10,000 runs, 50,000 entries")
    parser.add_argument(
        "--peers", action="store_true", help="those beside peers, which are installed if need be"
    )
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    parser.add_argument("--only", metavar="NAME", help="the benchmarks whose names begin so")
    parser.add_argument("--profile", metavar="NAME", help="where the time of ours goes, instead of figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())

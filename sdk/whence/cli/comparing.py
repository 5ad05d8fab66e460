"""Shows what changed from one version, or run, to another."""

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.markup import escape

from whence import differences, drawing
from whence.cli import explaining, printing
from whence_catalog import cache, difference, wire

_out = Console(emoji=False, highlight=False, soft_wrap=True)
_STYLE = {"same": "dim", "changed": "yellow", "unknown": "magenta"}
# How many lines of each list are shown, unless all are asked for.
_FEW = 10


def plain(found: differences.Differences) -> dict[str, object]:
    """What `--json` prints: what the catalog says, and beside it what lies in the Blob store."""
    return {
        "recorded": wire.plain(found.recorded),
        "source": wire.plain(found.source),
        "environment": wire.plain(found.environment),
        "tree": wire.plain(found.tree),
        "notes": list(found.notes),
    }


def show(found: differences.Differences, whole: bool) -> None:
    """Print a difference: each part with its verdict, and under it what changed."""
    told = found.recorded
    for mark, side in (("−", told.left), ("+", told.right)):
        version = "" if side.version is None else f"{side.version.ref}, made by "
        reused = f", which reused {side.executed.short}" if side.executed.uid != side.run.uid else ""
        _out.print(
            f"[bold]{mark} {escape(version + side.run.job)}[/bold] {side.run.uid}"
            f" {printing.time(side.run.started_at)}{reused}"
        )
    lines = {
        "content": _tree(found),
        "job": []
        if told.job.verdict is difference.Verdict.SAME
        else [f"{told.left.run.job} → {told.right.run.job}"],
        "data": _inputs(told.inputs),
        "code": _components(told.components),
        "params": _params(told.param_changes),
        "environment": _environment(found.environment),
        "metrics": _metrics(told.metric_changes),
        "upstream": _upstream(told.upstream),
    }
    for name, part in told.parts.items():
        _part(name, part, list(lines[name]), whole)
        if name == "code" and found.source is not None:
            explaining.show_source(found.source, whole)
    for note in found.notes:
        _out.print(f"[yellow]{escape(note)}[/yellow]")
    if told.masked:
        _out.print(f"[yellow]{told.masked} things are of projects that you may not read[/yellow]")


def _part(name: str, part: difference.Part, lines: list[str], whole: bool) -> None:
    note = f"  [dim]{escape(part.note)}[/dim]" if part.note else ""
    counts = ", ".join(f"{count} {what}" for what, count in part.counts.items())
    shown = f"  [dim]{counts}[/dim]" if len(part.counts) > 1 else ""
    _out.print(f"{name:<12}[{_STYLE[part.verdict]}]{part.verdict}[/]{shown}{note}")
    for line in lines if whole else lines[:_FEW]:
        _out.print(f"            {escape(line)}")
    if not whole and len(lines) > _FEW:
        _out.print("            [dim]and more; --whole shows all[/dim]")


def _tree(found: differences.Differences) -> Iterator[str]:
    left, right = found.recorded.left.version, found.recorded.right.version
    if left is not None and right is not None and left.digest != right.digest:
        sizes = [printing.size(side.content.size_bytes) for side in (left, right)]
        yield f"{left.digest.short} → {right.digest.short}, {sizes[0]} → {sizes[1]}"
    if found.tree is not None:
        for file in found.tree.files:
            yield f"{file.path}  {_sizes(file.before)} → {_sizes(file.after)}"
        if found.tree.count > len(found.tree.files):
            yield f"and {found.tree.count - len(found.tree.files)} more files"


def _sizes(size_bytes: int | None) -> str:
    return "nothing" if size_bytes is None else printing.size(size_bytes)


def _inputs(items: Iterable[difference.InputChange]) -> Iterator[str]:
    for item in items:
        if item.verdict is difference.Verdict.SAME:
            continue
        place = f"{item.role}[{item.ordinal}]" if item.ordinal else item.role
        before = "nothing" if item.before is None else item.before.ref
        after = "nothing" if item.after is None else item.after.ref
        unsure = "  (not identified by its bytes)" if item.verdict is difference.Verdict.UNKNOWN else ""
        yield f"{place}: {before} → {after}{unsure}"


def _components(items: Iterable[cache.ComponentVerdict]) -> Iterator[str]:
    changed = [part.name for part in cache.changed(items)]
    if changed:
        yield f"parts of the key that differ: {', '.join(changed)}"


def _params(items: Iterable[difference.ValueChange]) -> Iterator[str]:
    for item in items:
        match item.change:
            case cache.Change.SAME:
                continue
            case cache.Change.ADDED:
                yield f"{item.name}: nothing → {wire.plain(item.after)!r}"
            case cache.Change.REMOVED:
                yield f"{item.name}: {wire.plain(item.before)!r} → nothing"
            case _:
                yield f"{item.name}: {wire.plain(item.before)!r} → {wire.plain(item.after)!r}"


def _metrics(items: Iterable[difference.MetricChange]) -> Iterator[str]:
    for item in items:
        if item.change is cache.Change.SAME:
            continue
        before = "nothing" if item.before is None else f"{item.before:.6g}"
        after = "nothing" if item.after is None else f"{item.after:.6g}"
        delta = "" if item.delta is None else f"  ({item.delta:+.6g})"
        of = "" if item.of is None else f" of {item.of}"
        yield f"{item.name}{of}: {before} → {after}{delta}"


def _environment(found: differences.EnvironmentChange | None) -> Iterator[str]:
    if found is None:
        return
    if found.python is not None:
        yield f"Python {found.python[0]} → {found.python[1]}"
    for package in found.packages:
        yield f"{package.name}: {package.before or 'nothing'} → {package.after or 'nothing'}"
    for name, (was, now) in found.others.items():
        yield f"{name}: {was or 'nothing'} → {now or 'nothing'}"


def _upstream(found: difference.Upstream) -> Iterator[str]:
    shared = f"{found.shared_runs:,} runs and {found.shared_versions:,} versions"
    if found.shared_runs or found.shared_versions:
        yield f"both came from {shared}"
    for mark, side in (("−", found.left), ("+", found.right)):
        if side.runs or side.versions:
            jobs = ", ".join(job.name for job in side.job_names)
            of = f", of jobs that the other has none of: {jobs}" if jobs else ""
            yield f"{mark} alone came from {side.runs:,} runs and {side.versions:,} versions{of}"
            for node in side.nodes:
                yield f"  {drawing.one_line(drawing.name_of(node))}"

"""Shows the values that commands get: text with colour on a terminal, or the wire's JSON."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from whence import drawing
from whence_catalog import audit, lineage, model, observation, replies, wire
from whence_catalog.errors import ErrorKind, InvalidInput

if TYPE_CHECKING:
    from whence.cli import backup as backups

_out = Console(emoji=False, highlight=False, soft_wrap=True)
_err = Console(stderr=True, emoji=False, highlight=False, soft_wrap=True)

_EVIDENCE = 5
# In characters: no table is wider, whatever it holds.
_WIDEST = 180
_WHOLE = ("run", "job", "state", "started", "seconds", "artifact", "version", "output", "recorded")
_STATE_STYLE = {
    "complete": "green",
    "reused": "cyan",
    "running": "yellow",
    "failed": "red",
    "aborted": "red",
    "pass": "green",
    "quarantined": "red",
    "tainted": "red",
    "expired": "yellow",
    "erased": "yellow",
    "serving": "green",
    "fail": "bold red",
    "unknown": "yellow",
}


def as_json(value: object) -> None:
    """Print the wire's JSON of a value."""
    sys.stdout.write(to_json(value) + "\n")


def to_json(value: object) -> str:
    """The wire's JSON of a value, for people to read."""
    return wire.encode(value, indent=2).decode()


def write_lines(lines: Iterable[str], out: Path | None) -> None:
    """Write lines as they come, to standard output or in place of what is in the file `out`."""
    if out is None:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        return
    try:
        with out.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise InvalidInput(
            f"{out} cannot be written: {error.strerror or error}", ErrorKind.PERMISSION
        ) from error


def error(text: str) -> None:
    """Say in one line what was refused."""
    _err.print(f"[red]whence:[/red] {escape(text)}")


def warn(text: str) -> None:
    """Say on standard error what a value that was printed lacks."""
    _err.print(f"[yellow]whence:[/yellow] {escape(text)}")


def progress(quiet: bool) -> Callable[[str], None]:
    """Says what a long work is at, on standard error; nothing where JSON was asked for."""
    return lambda text: None if quiet else _err.print(f"[dim]·[/dim] {escape(text)} [dim]…[/dim]")


def state(text: str) -> str:
    """A state or verdict in its colour."""
    return f"[{_STATE_STYLE.get(text, 'white')}]{text}[/]"


def time(moment: datetime | None) -> str:
    """A time to the second, in UTC."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def size(size_bytes: int | None) -> str:
    """A size that people can read."""
    if size_bytes is None:
        return "?"
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def numbers(metrics: Mapping[str, float]) -> str:
    """Metrics on one line."""
    return ", ".join(f"{name}={value:.6g}" for name, value in sorted(metrics.items()))


def show_catalog(identity: replies.Identity) -> None:
    _out.print(f"catalog [bold]{escape(identity.url)}[/bold]")
    _out.print(f"[dim]{identity.uid}[/dim]")


def show_artifacts(found: Sequence[replies.ArtifactSummary]) -> None:
    if not found:
        _out.print("nothing is recorded yet; try [bold]whence demo[/bold]")
        return
    table = _table("artifact", "latest", "versions", "aliases", "size", "recorded")
    for item in found:
        aliases = ", ".join(f"{alias.name}→{alias.version.number}" for alias in item.aliases)
        table.add_row(
            f"[bold]{escape(str(item.artifact))}[/bold]",
            f"@{item.latest.number}",
            str(item.versions),
            escape(aliases),
            size(item.latest.content.size_bytes),
            time(item.latest.created_at),
        )
    _out.print(table)


def show_version(
    output: model.Output,
    made_by: model.RunRecord,
    aliases: Sequence[model.Alias],
    judged: Sequence[tuple[str, str]],
) -> None:
    version = output.version
    _out.print(f"[bold]{escape(version.ref)}[/bold]  {version.digest}")
    _line(
        "content",
        f"{version.content.form}, {size(version.content.size_bytes)}, {version.content.strength} identity",
    )
    _line("description", output.description)
    _line("metrics", numbers(output.metrics))
    _line("metadata", ", ".join(f"{k}={wire.plain(v)}" for k, v in output.metadata.items()))
    _line("made by", f"{made_by.run.job} {made_by.run.uid} {time(made_by.run.started_at)}")
    _line("from", ", ".join(f"{i.version.ref} ({i.role})" for i in made_by.inputs))
    for alias in aliases:
        if alias.version.number == version.number:
            _line("alias", _alias(alias))
    for what, text in judged:
        _line(what, text)


def show_run(record: model.RunRecord, series: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    run = record.run
    _out.print(f"[bold]{escape(run.job)}[/bold]  {run.uid}  {state(run.state)}")
    seconds = (
        "" if run.finished_at is None else f", {(run.finished_at - run.started_at).total_seconds():.2f} s"
    )
    _line("started", f"{time(run.started_at)}{seconds}")
    _line("by", run.actor.name + ("" if run.actor.authenticated else " (not authenticated)"))
    for name, uid in (("origin", run.origin), ("rerun of", run.rerun_of), ("parent", run.parent)):
        _line(name, None if uid is None else str(uid))
    _line("params", ", ".join(f"{name}={wire.plain(value)}" for name, value in run.params.items()))
    _line("labels", ", ".join(f"{name}={value}" for name, value in run.labels.items()))
    for taken in record.inputs:
        _line("took", f"{taken.version.ref} as {taken.role}")
    for made in record.outputs:
        _line("made", f"{made.version.ref} as {made.role}  {numbers(made.metrics)}")
    _line("metrics", numbers(run.metrics))
    for name, points in series.items():
        _line("series", f"{name}: {len(points)} points, last {points[-1][1]:.6g} at step {points[-1][0]}")
    _line(
        "cache",
        " · ".join(part for part in (run.mode.value, run.outcome, run.key and run.key[:20] + "…") if part),
    )
    _line("executed", None if run.reason is None else f"because: {run.reason}")
    _line("code", run.capture.entry)
    _line("commit", run.capture.git.get("commit", ""))
    can = "yes" if run.capture.rerunnable else f"no, because {run.capture.because}"
    _line("rerunnable", can)
    if record.observed is not None:
        _show_observed(record.observed)
    for text in run.warnings:
        _line("warning", f"[yellow]{escape(text)}[/yellow]", markup=True)
    if run.error:
        _line("error", f"[red]{escape(run.error)}[/red]", markup=True)


def _show_observed(seen: model.Observed) -> None:
    _line("reads", seen.watching.value)
    _line(
        "code",
        {
            True: "nothing ran besides",
            False: "more ran than its key stands for",
            None: "coverage not checked",
        }[seen.covered],
    )
    for symbol in seen.holes:
        _line("ran besides", symbol)
    for text in observation.touched(seen):
        _line("touched", text)
    for text in seen.blind_spots:
        _line("not seen", text)


def show_runs(found: Sequence[model.Run]) -> None:
    if not found:
        _out.print("no such run is recorded")
        return
    table = _table("run", "job", "state", "started", "seconds", "params")
    for run in found:
        took = "" if run.finished_at is None else f"{(run.finished_at - run.started_at).total_seconds():.2f}"
        params = ", ".join(f"{name}={wire.plain(value)}" for name, value in run.params.items())
        shown = params if len(params) <= 48 else params[:47] + "…"
        table.add_row(run.short, escape(run.job), state(run.state), time(run.started_at), took, escape(shown))
    wide(table)


def show_lineage(graph: lineage.Graph, direction: lineage.Direction) -> None:
    for branch in drawing.branches(graph, direction):
        _out.print(_branch(branch))
    whole = graph.completeness
    is_sure = whole.complete and not (whole.ambiguous or whole.unknown_producers or whole.masked)
    colour = "dim" if is_sure else "yellow"
    _out.print(f"[{colour}]{escape(drawing.summary(graph))}[/{colour}]")


def _branch(branch: drawing.Branch) -> str:
    node = branch.node
    if node is None:
        named = escape(branch.id)
    elif node.is_masked:
        named = f"[dim]a {node.type} of a project that you may not read[/dim]"
    elif node.type is lineage.NodeType.RUN:
        named = f"[cyan]{escape(node.name)}[/cyan] [dim]{node.id[:18]}[/dim] {state(node.state)}"
    else:
        told = "" if node.state == "live" else f" {state(node.state)}"
        named = f"[bold]{escape(drawing.name_of(node))}[/bold]{told}"
    remark = f"  [dim]{escape(drawing.one_line(branch.remark))}[/dim]" if branch.remark else ""
    again = "  [dim]↑ shown above[/dim]" if branch.is_again else ""
    return f"[dim]{branch.rails}[/dim]{named}{remark}{again}"


def show_audit(report: audit.AuditReport) -> None:
    _out.print(f"[bold]{escape(report.subject)}[/bold]  {report.digest}")
    for finding in report.findings:
        needed = "" if finding.required else " [dim](not required)[/dim]"
        _out.print(
            f"{state(finding.verdict)}{' ' * (8 - len(finding.verdict))}{escape(finding.question)}{needed}"
        )
        _out.print(f"        {escape(finding.summary)}")
        shown = [text for text in finding.evidence if text not in finding.summary]
        for text in shown[:_EVIDENCE]:
            _out.print(f"        [dim]· {escape(text)}[/dim]")
        if len(shown) > _EVIDENCE:
            _out.print(f"        [dim]· and {len(shown) - _EVIDENCE} more[/dim]")
    _out.print(f"verdict of the policy {escape(report.policy)}: {state(report.verdict)}")


def _alias(alias: model.Alias) -> str:
    until = "now" if alias.until is None else time(alias.until)
    replaced = f", in place of version {alias.replaced}" if alias.replaced else ""
    reason = f": {alias.reason}" if alias.reason else ""
    return f"{alias.name} from {time(alias.since)} to {until}, by {alias.actor.name}{replaced}{reason}"


def show_alias(alias: model.Alias) -> None:
    _out.print(f"[bold]{escape(alias.version.ref)}[/bold] is {escape(_alias(alias))}")


def show_published(output: model.Output) -> None:
    version = output.version
    _out.print(f"[bold]{escape(version.ref)}[/bold]  {version.digest}  {size(version.content.size_bytes)}")


def show_got(output: model.Output, target: Path) -> None:
    _out.print(f"[bold]{escape(output.version.ref)}[/bold] → {escape(str(target))}")


def show_check(report: replies.CheckReport) -> None:
    _out.print(f"{report.facts} facts, {report.rows} rows made from them; exempt: {', '.join(report.exempt)}")
    if report.unopened:
        _out.print(f"[yellow]{report.unopened} redactable values are not there: erased, or lost[/yellow]")
    for problem in report.problems:
        _out.print(f"[red]{escape(problem)}[/red]")
    _out.print("[red]they do not agree[/red]" if report.problems else "[green]they agree[/green]")


def show_migration(before: str, after: str) -> None:
    same = before == after
    _out.print(f"schema {after}: nothing to do" if same else f"schema {before} → [green]{after}[/green]")


def show_copied(done: "backups.Copied") -> None:
    _out.print(f"{escape(done.source)} → [green]{escape(done.target)}[/green]")
    _line("position", f"{done.checkpoint.position:,}  leaf {done.checkpoint.leaf.hex()[:16]}")
    _line("bytes", "left where they are" if done.blobs is None else f"{done.blobs:,} blobs copied")
    for name in done.missing:
        _out.print(f"[yellow]nowhere:[/yellow] {name.text}")


def show_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = _table(*columns)
    for row in rows:
        table.add_row(*(escape(drawing.one_line(text)) for text in row))
    wide(table)


def show_pairs(pairs: Mapping[str, str]) -> None:
    for name, value in sorted(pairs.items()):
        _out.print(f"[bold]{escape(drawing.one_line(name))}[/bold]={escape(drawing.one_line(value))}")
    if not pairs:
        _out.print("no labels")


def show_text(text: str) -> None:
    _out.print(text)


def show_plain(text: str) -> None:
    """A line without markup, whatever is in it."""
    _out.print(escape(text))


def show_pass(title: str, executed: Sequence[str], reused: int, seconds: float, why: Sequence[str]) -> None:
    ran = f"[green]{len(executed)} executed[/green] ({', '.join(executed)})" if executed else "0 executed"
    _out.print(
        f"[bold]{escape(title):<20}[/bold] {ran}, [cyan]{reused} reused[/cyan] [dim]{seconds:.1f} s[/dim]"
    )
    for line in why:
        _out.print(f"  [dim]{escape(line)}[/dim]")


def heading(text: str) -> None:
    _out.print(f"\n[bold]{escape(text)}[/bold]")


def _line(name: str, value: str | None, *, markup: bool = False) -> None:
    if value:
        _out.print(f"  [dim]{name:<12}[/dim]{value if markup else escape(value)}")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in columns:
        # Ids and digests are of use whole; a table may rather be wider than the terminal.
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    return table


def wide(table: Table) -> None:
    """Print a table whose ids and times are of use whole: rather wider than the terminal, as far as a screen is."""
    wanted = min(_WIDEST, Measurement.get(_out, _out.options.update(width=_WIDEST), table).maximum)
    Console(emoji=False, highlight=False, soft_wrap=True, width=max(_out.width, wanted)).print(table)


def readable(table: Table) -> None:
    """Print a table as wide as the terminal, and wider where a column would be less than it has to be."""
    least = min(_WIDEST, Measurement.get(_out, _out.options.update(width=_WIDEST), table).minimum)
    Console(emoji=False, highlight=False, soft_wrap=True, width=max(_out.width, least)).print(table)

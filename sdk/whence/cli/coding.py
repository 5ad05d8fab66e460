"""What `whence why --code` does: names all that counts as the code of a step or of a run, and what is left open."""

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from whence import client, code_report
from whence.cli import explaining

_out = Console(emoji=False, highlight=False, soft_wrap=True)


def report(opened: client.Client, what: str) -> code_report.CodeReport:
    """What counts as the code of `module:function`, or counted as that of a run."""
    if ":" in what:
        return code_report.of_step(explaining.step_named(what))
    return code_report.of_run(opened, what)


def show(said: code_report.CodeReport) -> None:
    """Print it for people."""
    _out.print(f"[bold]{escape(said.job)}[/bold]" + (f"  {said.digest}" if said.digest else ""))
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in ("what counts", "where", "digest"):
        table.add_column(column, overflow="fold", no_wrap=column == "digest")
    for row in said.covered:
        table.add_row(escape(row.symbol), escape(row.where or ""), row.digest)
    _out.print(table)
    if not said.covered:
        _out.print("no component of its key is the code of this project")
    _say("all of the project counts", said.widened)
    _say("counts by its bytecode, for this Python only", said.interpreter_bound)
    _say("no key", said.uncacheable)
    _say("ran before, and counts since", said.further)
    _say("ran, and is no part of the key", said.holes)
    if said.digest is not None:
        return  # of a step that has not run, nothing was compared
    match said.compared:
        case True:
            _out.print("what ran was compared with what counts: nothing else ran")
        case False:
            _out.print("[yellow]what ran was compared with what counts: more ran[/yellow]")
        case None:
            _out.print("[dim]coverage not checked[/dim]")


def _say(what: str, rows: Iterable[str]) -> None:
    for row in rows:
        _out.print(f"[yellow]{what}:[/yellow] {escape(row)}")

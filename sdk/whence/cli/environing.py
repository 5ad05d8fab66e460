"""`whence env`: what a run ran in, for people or as a lock file for installers."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from whence import environment, recorded
from whence.cli import printing, session
from whence.cli.session import Json, RunId

commands = typer.Typer()
_out = Console(emoji=False, highlight=False, soft_wrap=True)


@commands.command(
    epilog="Examples: `whence env 01a2139b-beef` · `whence env 01a2139b-beef --pylock > pylock.toml`"
)
def env(
    run: RunId,
    pylock: Annotated[
        bool,
        typer.Option("--pylock", help="Write it as a lock file (PEP 751), which uv and pip can install."),
    ] = False,
    json: Json = False,
) -> None:
    """Show what a run ran in: Python, packages, machine.

    With --pylock, what no installer could be told of is named on standard error.
    """
    opened = session.open_client()
    if pylock:
        lock = recorded.pylock_of(opened, run)
        typer.echo(lock.text, nl=False)
        for name, why in lock.left_out.items():
            printing.error(f"{name} is not in the lock: {why}")
        return
    found = recorded.environment_of(opened, run)
    session.show(json, found, lambda: _show(found))


def _show(found: environment.Environment) -> None:
    here, gpus = found.platform, ", ".join(found.gpus)
    for name, value in {
        "python": f"{found.implementation} {found.python}",
        "platform": f"{here.system} {here.release} {here.machine} {here.libc or ''}".rstrip(),
        "processor": f"{found.cpu.model}, {found.cpu.count} cores",
        "graphics": gpus,
        "image": found.image or "",
        "variables": ", ".join(f"{name}={value}" for name, value in found.variables.items()),
        "whence": found.whence,
    }.items():
        if value:
            _out.print(f"[dim]{name:<10}[/dim] {escape(value)}")
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in ("package", "version", "from"):
        table.add_column(column, overflow="fold")
    for each in found.distributions:
        where = each.source or each.url or ("a path of its machine" if each.is_local else "")
        table.add_row(escape(each.name), escape(each.version), escape(where))
    _out.print(table)

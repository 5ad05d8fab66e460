"""`whence rerun`: a run made again, and what is the same, what is not, and what could not be restored."""

import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, assert_never

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from whence import ancestry, environments, replay
from whence.cli import printing, session
from whence.cli.session import Json
from whence_catalog import likeness
from whence_catalog.errors import InvalidInput

commands = typer.Typer()
_out = Console(emoji=False, highlight=False, soft_wrap=True)


class Env(StrEnum):
    """Which environment a run is made again in."""

    RECORDED = "recorded"
    CURRENT = "current"


@commands.command(
    epilog="Examples: `whence rerun 01a2139b-beef` · `whence rerun 01a2139b-beef --times 5` ·"
    " `whence rerun 01a2139b-beef --env current --rtol 1e-6 --atol 1e-9` · `whence rerun model:digits@3 --whole -j 4`"
)
def rerun(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN|VERSION",
            help="A run: its id, or the first eight or more characters of it. With --whole, a version.",
        ),
    ],
    env: Annotated[
        Env,
        typer.Option(
            help="The recorded environment, made again with uv; or the one that this command runs in."
        ),
    ] = Env.RECORDED,
    nearest: Annotated[
        bool,
        typer.Option("--nearest", help="Take the nearest version of a package that is gone, and say so."),
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Take nothing from the network.")] = False,
    rtol: Annotated[
        float, typer.Option(help="How far numbers may be apart, as a share of what they were.")
    ] = 0.0,
    atol: Annotated[float, typer.Option(help="How far numbers may be apart, at any size.")] = 0.0,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="Make everything again that the version came from, from the data where it begins."
        ),
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="With --whole: how many runs at a time.")
    ] = 1,
    times: Annotated[int, typer.Option(min=1, help="Make it so often, and name the outputs that vary.")] = 1,
    keep: Annotated[
        Path | None, typer.Option(help="Leave the room (source, what it said) in this folder.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not show what the run says.")] = False,
    json: Json = False,
) -> None:
    """Make a run again, in its environment and an empty folder, and compare what it makes.

    Exit code 0: identical, or equal within the tolerance asked for; 2: different; 3: not comparable; 1: it could not
    be made.
    """
    _refuse_without_effect(whole, jobs, times, keep, quiet)
    options = environments.Options(env.value, nearest, offline)
    tolerance = likeness.Tolerance(rtol, atol)
    if whole:
        made = ancestry.rerun(
            session.open_client(),
            what,
            options=options,
            tolerance=tolerance,
            jobs=jobs,
            progress=printing.progress(json),
        )
        session.show(json, ancestry.plain(made), lambda: show_whole(made))
        raise typer.Exit(exit_code(made.likeness))
    outcome = replay.rerun(
        session.open_client(),
        what,
        times=times,
        options=options,
        tolerance=tolerance,
        keep=keep,
        progress=printing.progress(json),
        heard=None if quiet else _pass_on,
    )
    session.show(json, outcome, lambda: show(outcome))
    raise typer.Exit(exit_code(outcome.likeness))


def _refuse_without_effect(whole: bool, jobs: int, times: int, keep: Path | None, quiet: bool) -> None:
    """Refuse what would be passed over: whoever said it means it."""
    alone = {"--times": times != 1, "--keep": keep is not None, "--quiet": quiet}
    for name in (name for name, is_said in alone.items() if is_said and whole):
        raise InvalidInput(
            f"{name} has no meaning with --whole: it makes many runs, each once, in rooms that go"
        )
    if jobs != 1 and not whole:
        raise InvalidInput("--jobs has no meaning without --whole: there is one run to make")


def _pass_on(said: bytes) -> None:
    """What the run says, wherever it says it: standard output is for the answer."""
    sys.stderr.buffer.write(said)
    sys.stderr.buffer.flush()


def exit_code(found: likeness.Likeness) -> int:
    """What a judgement is to a script."""
    match found:
        case likeness.Identical() | likeness.WithinTolerance():
            return 0
        case likeness.Different():
            return 2
        case likeness.NotComparable():
            return 3
        case _:
            assert_never(found)


def show(done: replay.Rerun) -> None:
    """Print a rerun: each output beside what it was, then what was captured, restored, and could not be."""
    as_run = (
        f"as run {done.run}"
        if len(done.runs) < 2
        else f"{len(done.runs)} times, as runs {', '.join(done.runs)}"
    )
    _out.print(f"[bold]{escape(done.job)}[/bold] was made again {as_run}, in {done.seconds:.1f} s")
    heads = ["output", "version", "before", "after", ""] + (["each time"] if len(done.runs) > 1 else [])
    table = Table(*heads, box=None, header_style="dim", pad_edge=False)
    for output in done.outputs:
        before = "" if output.before is None else output.before.short
        after = "" if output.after is None else output.after.short
        among = [] if output.varies is None else ["[red]varies[/red]" if output.varies else "the same"]
        table.add_row(
            escape(output.role), escape(output.ref), before, after, _coloured(output.likeness), *among
        )
    _out.print(table)
    for output in done.outputs:
        _listed(output.role, list(_how(output.likeness)))
    _listed("captured", done.captured)
    _listed("restored", done.restored)
    _listed("could not be restored", done.could_not_restore)
    _out.print(f"all in all: {_coloured(done.likeness)}")
    if done.varying:
        _out.print(f"[red]not the same each time: {escape(', '.join(done.varying))}[/red]")


def show_whole(made: ancestry.Whole) -> None:
    """Print an ancestry made again: each step beside its original, in the order in which they were run."""
    count = sum(step.run is not None for step in made.steps)
    _out.print(
        f"[bold]{escape(made.of)}[/bold]: {count} of {len(made.steps)} runs were made again, as run {made.run}"
    )
    table = Table("job", "original", "again", "seconds", "", box=None, header_style="dim", pad_edge=False)
    for step in made.steps:
        judged = "[yellow]not made again[/yellow]" if step.likeness is None else _coloured(step.likeness)
        again = "" if step.run is None else step.run[:18]
        took = "" if step.run is None else f"{step.seconds:.1f}"
        table.add_row(escape(step.job), step.original[:18], again, took, judged)
    _out.print(table)
    for step in made.steps:
        lines = [step.why] if step.why else []
        lines += [] if step.likeness is None else list(_how(step.likeness))
        lines += [f"{role} was other than the original's" for role in step.given_others]
        lines += [f"{role} stands as it was recorded" for role in step.given_recorded]
        _listed(step.job, lines)
    _listed("it begins with", made.roots)
    _listed("not known for certain", made.unknown)
    _listed("could not be restored", list(dict.fromkeys(t for s in made.steps for t in s.could_not_restore)))
    _out.print(f"all in all: {_coloured(made.likeness)}")


def _listed(head: str, lines: Sequence[str]) -> None:
    if lines:
        _out.print(f"[bold]{escape(head)}[/bold]")
    for line in lines:
        _out.print("[dim]  ·[/dim] " + escape(line.replace("\n", "\n    ")))


def _how(found: likeness.Likeness) -> Iterator[str]:
    match found:
        case likeness.Identical():
            return
        case likeness.WithinTolerance(how) | likeness.Different(how):
            yield from how
        case likeness.NotComparable(why):
            yield why
        case _:
            assert_never(found)


def _coloured(found: likeness.Likeness) -> str:
    match found:
        case likeness.Identical():
            return "[green]identical[/green]"
        case likeness.WithinTolerance():
            return "[green]equal within tolerance[/green]"
        case likeness.Different():
            return "[red]different[/red]"
        case likeness.NotComparable():
            return "[yellow]not comparable[/yellow]"
        case _:
            assert_never(found)

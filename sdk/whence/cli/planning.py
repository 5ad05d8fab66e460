"""`whence plan`, `whence recover`, `whence apply`: what would be made again, and the making of it."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, assert_never
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from whence import applying, drawing, due, environments, planned
from whence.cli import carrying, explaining, printing, session
from whence.cli.rerunning import Env
from whence.cli.session import Json, RunId
from whence.client import Client
from whence_catalog import plans, wire
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound

commands = typer.Typer()
_out = Console(emoji=False, highlight=False, soft_wrap=True)
_STYLE = {"reuse": "cyan", "execute": "yellow", "conditional": "magenta", "blocked": "red"}
# In characters.
_WIDEST_JOB = 48
_NARROWEST_WHY = 30


class On(StrEnum):
    """Who carries out the Runs of a plan."""

    HERE = "here"
    RAY = "ray"


Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Keep the plan in this file, for `whence apply`.")
]
All = Annotated[bool, typer.Option("--all", help="Show what is reused, too.")]
Mermaid = Annotated[bool, typer.Option("--mermaid", help="Draw it, as a Mermaid flowchart.")]


def _show_schema(asked: bool) -> None:
    if asked:
        printing.as_json(planned.schema())
        raise typer.Exit


@commands.command(
    epilog="Examples: `whence plan --with dataset:images=data/new --for model:digits -o new.json` ·"
    " `whence plan --param pipeline.train.c=0.5 --for model:digits@prod` ·"
    " `whence plan --downstream-of dataset:images@3 --with dataset:images@3=dataset:images@4` ·"
    " `whence plan --code now --for model:digits`"
)
def plan(
    for_: Annotated[
        list[str] | None, typer.Option("--for", help="A version, or a run: it, and all it came from.")
    ] = None,
    downstream_of: Annotated[
        list[str] | None, typer.Option(help="A version: all that came of it. With --for: what lies between.")
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="REF=PATH|REF",
            help="Take this in the place of an artifact, or of one version of it.",
        ),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="JOB.NAME=VALUE", help="Another value: JSON, or else text.")
    ] = None,
    code: Annotated[
        str | None, typer.Option(metavar="now", help="`now`: take the code as it is in this folder.")
    ] = None,
    out: Out = None,
    every: All = False,
    mermaid: Mermaid = False,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", callback=_show_schema, is_eager=True, help="Print the JSON Schema of plans."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Say what would have to be run again, in which order, and why; nothing is recorded, and nothing run.

    Exit code 0: it can be carried out; 2: something in it is blocked.
    """
    if code not in (None, "now"):
        raise InvalidInput(f"--code {code}: it is `now`, or not given")
    _refuse_two_forms(mermaid, json)
    found = planned.plan(
        session.open_client(),
        for_ or (),
        downstream_of or (),
        session.pairs(with_, "replacement"),
        {name: explaining.value(text) for name, text in session.pairs(param, "parameter").items()},
        code_now=code is not None,
    )
    _print(found, out, every, mermaid, json)


@commands.command(
    epilog="Examples: `whence recover 01a2139b-beef -o rest.json`, then `whence apply rest.json`"
)
def recover(
    run: RunId,
    out: Out = None,
    every: All = False,
    mermaid: Mermaid = False,
    json: Json = False,
) -> None:
    """Say what a run that failed, or was aborted, needs to be brought to its end. It is a plan as others are.

    Exit code 0: it can be carried out; 2: something in it is blocked.
    """
    _refuse_two_forms(mermaid, json)
    _print(planned.recover(session.open_client(), run), out, every, mermaid, json)


@commands.command(
    epilog="Examples: `whence apply new.json` · `whence apply new.json -j 4` · `whence apply new.json --anew`"
    " · `RAY_ADDRESS=127.0.0.1:6379 whence apply new.json --on ray`"
)
def apply(
    plan: Annotated[Path, typer.Argument(help="The file that `whence plan -o` wrote; - for standard input.")],
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="How many at a time; as many as processors.")
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Plan again first: what changed is no matter.")
    ] = False,
    env: Annotated[
        Env, typer.Option(help="The recorded environments, made again with uv; or the one of this command.")
    ] = Env.RECORDED,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Take the nearest version of a package that is gone.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Take nothing from the network.")] = False,
    on: Annotated[
        On, typer.Option(help="Here, or on Ray: at RAY_ADDRESS, or one of its own on this machine.")
    ] = On.HERE,
    json: Json = False,
) -> None:
    """Carry a plan out: run what is to be run, several at a time, each as soon as all that it takes is there.

    Ctrl-C lets what runs end, and begins nothing more; a second one ends it, too. The same plan then goes on
    where it stood, whatever the end was. With --json: a line for each event, and the outcome as the last. With --anew
    the file then holds the plan that is carried out.

    Exit code 0: all of it was done; 2: something failed, or was blocked; 130: it was told to stop.
    """
    make = due.InRoom(environments.Options(env.value, nearest, offline))
    opened = session.open_client()
    shown = carrying.Shown(json)
    chosen = _anew(opened, plan, shown) if anew else read(plan)
    with (
        _executor(on, opened, make, jobs or os.cpu_count() or 1, shown) as (executor, end),
        _stopping(shown, end) as stop,
        shown.bar(),
    ):
        done = applying.apply(opened, chosen, executor, shown.heard, stop)
    session.show(False, done, lambda: shown.outcome(done))
    raise typer.Exit(130 if done.was_stopped else 0 if done.is_whole else 2)


def _anew(client: Client, path: Path, shown: carrying.Shown) -> plans.RerunPlan:
    """The plan in a file made again, and kept there: it is what the same command goes on with, without --anew."""
    found = planned.again(client, read(path))
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items() if count)
    shown.say(f"planned anew: {counts or 'nothing'}")
    if str(path) != "-":
        printing.write_lines([printing.to_json(found)], path)
        shown.say(f"{path} holds that plan now; to go on with it, leave out --anew")
    return found


@contextmanager
def _executor(
    on: On, client: Client, make: due.Maker, jobs: int, shown: carrying.Shown
) -> Iterator[tuple[applying.Executor, Callable[[], None]]]:
    """What carries out the tasks of a plan, and what ends those that run."""
    match on:
        case On.HERE:
            here = applying.Here(client, jobs, make, shown.said)
            try:
                yield here, here.interrupt
            finally:
                here.close()
        case On.RAY:
            from whence.adapters import ray

            with ray.opened(client, make, jobs, shown.say) as there:
                # What is elsewhere ends with this process, as nobody hears of it any more.
                yield there, lambda: os._exit(130)
        case _:
            assert_never(on)


def read(path: Path) -> plans.RerunPlan:
    """The plan in a file.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no plan.
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise NotFound(f"no plan in {path}: {error.strerror}", ErrorKind.NO_SUCH_FILE) from error
    try:
        found: plans.RerunPlan = wire.decode_as(wire.codec(plans.RerunPlan), data)
    except InvalidInput as error:
        raise InvalidInput(f"{path} is no plan: {error}") from error
    return found


@contextmanager
def _stopping(shown: carrying.Shown, end: Callable[[], None]) -> Iterator[threading.Event]:
    """A word to stop, which the first interrupt gives; the second ends what runs, the third the process."""
    stop, is_ending = threading.Event(), threading.Event()

    def told(number: int, frame: FrameType | None) -> None:
        if is_ending.is_set():
            # Rooms end with the process that made them; what they ran is presumed aborted in a minute.
            os._exit(130)
        if stop.is_set():
            is_ending.set()
            shown.say("ending what runs")
            end()
        else:
            stop.set()
            shown.say("stopping: what runs ends first; once more to end it at once")

    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_two_forms(mermaid: bool, json: bool) -> None:
    if mermaid and json:
        raise InvalidInput(
            "--mermaid and --json are two forms of one answer: say one of them; -o keeps the JSON, too"
        )


# ── printing ─────────────────────────────────────────────────────────────────────────────────────


def _print(found: plans.RerunPlan, out: Path | None, every: bool, mermaid: bool, json: bool) -> None:
    if out is not None:
        printing.write_lines([printing.to_json(found)], out)
    if mermaid:
        printing.write_lines(drawn(found, every), None)
    else:
        session.show(json, found, lambda: show(found, every, out))
    raise typer.Exit(0 if found.is_possible else 2)


def show(found: plans.RerunPlan, every: bool, out: Path | None) -> None:
    """Print a plan as a table, in the order in which it would be carried out."""
    named = {step.run: place for place, step in enumerate(found.steps, 1)}
    shown = [step for step in found.steps if every or not isinstance(step.step, plans.Reuse)]
    if shown:
        table = Table(box=None, header_style="dim", pad_edge=False)
        table.add_column("#", justify="right", no_wrap=True)
        table.add_column("job", overflow="fold", max_width=_WIDEST_JOB)
        table.add_column("", no_wrap=True)
        table.add_column("why", overflow="fold", min_width=_NARROWEST_WHY)
        table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("makes", justify="right", no_wrap=True)
        table.add_column("run", no_wrap=True)
        for step in shown:
            table.add_row(
                str(named[step.run]),
                f"[bold]{escape(step.job)}[/bold]",
                _coloured(plans.name(step.step)),
                escape(_why(step.step, named)),
                *_expected(step),
                str(step.run)[:18],
            )
        printing.readable(table)
    counts = ", ".join(f"{count} {_coloured(name)}" for name, count in found.counts.items() if count)
    _out.print(f"{counts or 'nothing'}")
    sure, most = plans.total(found)
    if found.pending:
        _out.print(
            f"expected: {_seconds(sure)} for what is sure to be run, {_seconds(most)} for all that may have to be"
        )
    for reason in found.reasons:
        _out.print(f"[yellow]{'not complete: ' if not found.complete else ''}[/yellow]{escape(reason)}")
    if out is not None and found.pending:
        _out.print(f"carry it out with: whence apply {escape(str(out))}")


def _why(step: plans.Step, named: Mapping[UUID, int]) -> str:
    match step:
        case plans.Reuse(_, why):
            return why
        case plans.Execute(why):
            return why
        case plans.Conditional(on, obstacles):
            waits = f"as {', '.join(f'#{named[run]}' for run in on)} turns out"
            return waits + (f"; cannot be run: {'; '.join(obstacles)}" if obstacles else "")
        case plans.Blocked(why):
            return "; ".join(why)


def _expected(step: plans.PlannedRun) -> tuple[str, str]:
    if step.expected is None:
        return "", ""
    seconds = "unknown" if step.expected.seconds is None else f"{step.expected.seconds:.1f}"
    makes = "unknown" if step.expected.size_bytes is None else printing.size(step.expected.size_bytes)
    return seconds, makes


def _seconds(expected: plans.Expected) -> str:
    if expected.seconds is None:
        return "an unknown time"
    return f"{expected.seconds:.1f} s ({printing.size(expected.size_bytes)})"


def _coloured(word: str) -> str:
    return f"[{_STYLE.get(word, 'white')}]{word}[/]"


def drawn(found: plans.RerunPlan, every: bool = True) -> Iterator[str]:
    """A plan as a Mermaid flowchart, a line at a time."""
    shown = {
        step.run: f"r{place}"
        for place, step in enumerate(found.steps, 1)
        if every or not isinstance(step.step, plans.Reuse)
    }
    yield "flowchart LR"
    for step in found.steps:
        if step.run in shown:
            name = plans.name(step.step)
            yield f'  {shown[step.run]}["{drawing.mermaid_text(step.job)}<br/>{name}"]:::{name}'
    for step in found.steps:
        sources = dict.fromkeys(taken.step for taken in step.takes if taken.step is not None)
        for source in sources:
            if step.run in shown and source in shown:
                arrow = "-->" if isinstance(step.step, plans.Reuse) else "==>"
                yield f"  {shown[source]} {arrow} {shown[step.run]}"
    for name, colours in (
        ("reuse", "fill:#e0f7fa,stroke:#00838f"),
        ("execute", "fill:#fff8e1,stroke:#ff8f00"),
        ("conditional", "fill:#f3e5f5,stroke:#6a1b9a"),
        ("blocked", "fill:#ffebee,stroke:#c62828"),
    ):
        yield f"  classDef {name} {colours}"

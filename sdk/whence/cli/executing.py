"""`whence exec`: any command as a run."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from whence import child, commands, modes
from whence.cli import explaining, printing, session
from whence_catalog import model

_err = Console(stderr=True, emoji=False, highlight=False, soft_wrap=True)

group = typer.Typer()

_EPILOG = (
    "Examples: `whence exec --in images=data/images --out model=out/model.bin --param rate=0.1 -- python train.py"
    " {images} {model} --rate {rate}` · `whence exec --in data=dataset:raw@prod --out table=clean.csv --as"
    " table=dataset:clean -- ./clean.sh {data} {table}`"
)


@group.command("exec", epilog=_EPILOG, context_settings={"allow_interspersed_args": False})
def exec_(
    argv: Annotated[
        list[str],
        typer.Argument(
            metavar="-- CMD [ARGS]...",
            help="The command; `{name}` stands for what has that name.",
            show_default=False,
        ),
    ],
    takes: Annotated[
        list[str] | None,
        typer.Option(
            "--in",
            metavar="NAME=PATH|REF",
            help="An input: a file, a folder, or a version such as `dataset:images@3`.",
        ),
    ] = None,
    makes: Annotated[
        list[str] | None,
        typer.Option(
            "--out", metavar="NAME=PATH", help="An output: the file or folder that it leaves there."
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="A parameter: JSON, or else text."),
    ] = None,
    named: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            metavar="NAME=KIND:NAME",
            help="What artifact an input or output is; `file:` and its path otherwise.",
        ),
    ] = None,
    job: Annotated[
        str | None, typer.Option("--job", help="Its name; that of the script, or of the program, otherwise.")
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(
            "--code",
            metavar="PATH",
            help="A file or folder that is its code; the whole project's source otherwise.",
        ),
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME", help="An environment variable that its result depends on."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label of the run.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="A file that it leaves, a JSON object of numbers: metrics of the run."
        ),
    ] = None,
    cache: Annotated[
        str, typer.Option(help="`reuse` what the same command made; `refresh`, `record` or `off`.")
    ] = "reuse",
    max_age: Annotated[float | None, typer.Option(help="How old, in seconds, a result may be.")] = None,
    max_wait: Annotated[
        float | None,
        typer.Option(help="How long, in seconds, to wait for another process that computes the same."),
    ] = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Let it read our standard input; then it is not reused.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Outputs may replace files that are kept nowhere else.")
    ] = False,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="See what it opens, and tell what is neither input nor code (Linux)."),
    ] = False,
    sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox",
            help="Let it read nothing else, and write only into the folders around its outputs (Linux).",
        ),
    ] = False,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print what came of it as JSON, on standard error: standard output is the command's.",
        ),
    ] = False,
) -> None:
    """Run any command as a run: recorded, and not run again while nothing that it depends on has changed.

    Its exit code, its output and its signals pass through. On a hit its outputs are put where they were, and what
    it said is said again.
    """
    command = commands.Command(
        argv=tuple(argv),
        inputs=session.pairs(takes, "name of an input"),
        outputs=session.pairs(makes, "name of an output"),
        artifacts=session.pairs(named, "name of an artifact"),
        params={
            name: explaining.value(text) for name, text in session.pairs(param, "name of a parameter").items()
        },
        job=job,
        code=tuple(code or ()),
        variables=tuple(variable or ()),
        labels=session.pairs(label, "name of a label"),
        metrics=metrics,
        mode=modes.mode(cache, "--cache").value,
        max_age=max_age,
        max_wait=max_wait,
        takes_input=stdin,
        overwrite=overwrite,
        trace=trace,
        sandbox=sandbox,
    )
    ended = commands.run(session.open_client(), command, printing.progress(json))
    _tell(ended, json)
    session.scope.close()
    raise typer.Exit(child.end_like(ended.how))


def _tell(ended: commands.Ended, json: bool) -> None:
    """On standard error, since standard output is the command's."""
    if json:
        sys.stderr.write(printing.to_json(ended) + "\n")
        return
    made = ", ".join(ref for role, ref in ended.outputs.items() if role != commands.LOG)
    took = f"{ended.seconds:.1f} s"
    if ended.state is model.RunState.REUSED:
        said = f"{printing.state('reused')} what run {str(ended.origin)[:18]} made, in {took}"
    else:
        said = f"{printing.state(ended.state.value)} in {took}"
    _err.print(f"[bold]{escape(ended.job)}[/bold] {said}" + (f" → {escape(made)}" if made else ""))
    if ended.error is not None and ended.how.by is None and ended.how.code in (0, 1):
        _err.print(escape(ended.error.splitlines()[0]))
    _err.print(f"[dim]run {ended.run}[/dim]")

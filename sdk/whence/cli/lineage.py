"""`whence lineage`: what versions and runs came from, or what came from them, in the form that is asked for."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from whence import drawing
from whence.cli import printing, session
from whence.cli.session import Json
from whence_catalog.lineage import Bounds, Direction, Graph

commands = typer.Typer()


class Form(StrEnum):
    """How an answer is written."""

    TREE = "tree"
    TABLE = "table"
    MERMAID = "mermaid"
    DOT = "dot"
    GRAPHML = "graphml"
    JSON = "json"
    JSONL = "jsonl"


@commands.command(
    epilog="Examples: `whence lineage model:digits@prod` · `whence lineage dataset:raw --down --depth 2 --json` ·"
    " `whence lineage model:digits@prod --both --whole --format graphml --out digits.graphml`"
)
def lineage(
    root: Annotated[list[str], typer.Argument(help="Versions or runs to start from.")],
    up: Annotated[bool, typer.Option("--up", help="What it came from (the default).")] = False,
    down: Annotated[bool, typer.Option("--down", help="What came from it.")] = False,
    both: Annotated[bool, typer.Option("--both", help="Each of the two.")] = False,
    depth: Annotated[int | None, typer.Option(min=1, help="How many runs away, at most.")] = None,
    max_nodes: Annotated[int, typer.Option(min=1, help="How many nodes, at most.")] = 2000,
    whole: Annotated[bool, typer.Option("--whole", help="However many nodes there are.")] = False,
    frontier: Annotated[
        str | None,
        typer.Option("--after", "--frontier", help="Go on from this frontier of an earlier answer."),
    ] = None,
    format: Annotated[Form, typer.Option(help="How to write it; only tree has colours.")] = Form.TREE,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file, in place of what is there.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what versions and runs came from, or what came from them.

    An answer that was cut short says so on standard error, with how to go on.
    """
    direction = Direction.BOTH if both or (up and down) else Direction.DOWN if down else Direction.UP
    opened = session.open_client()
    roots = [opened.full_name(text) for text in root]
    bounds = Bounds(depth, None, None) if whole else Bounds(depth, max_nodes)
    graph = opened.catalog.lineage(roots, direction, bounds, frontier)
    write(graph, direction, Form.JSON if json else format, out)


def write(graph: Graph, direction: Direction, form: Form, out: Path | None) -> None:
    """Write an answer in that form, to that file or to standard output; what it lacks is said beside it."""
    if form is Form.TREE and out is None:
        printing.show_lineage(graph, direction)
    else:
        printing.write_lines(_lines(graph, direction, form), out)
    if not graph.completeness.complete:
        told = drawing.completeness(graph.completeness)
        printing.warn(f"{told}; go on with --after {graph.completeness.frontier}")


def _lines(graph: Graph, direction: Direction, form: Form) -> Iterator[str]:
    match form:
        case Form.TREE:
            yield from drawing.tree(graph, direction)
            yield drawing.summary(graph)
        case Form.JSON:
            yield printing.to_json(graph)
        case _:
            yield from drawing.draw(drawing.Format(form), [graph])

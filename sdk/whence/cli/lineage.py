"""`whence lineage`: what versions and runs came from, or what came from them, in the form that is asked for."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from whence import drawing, times
from whence.cli import printing, session
from whence.cli.session import Json
from whence_catalog.lineage import Bounds, Completeness, Direction, Filter, Graph, NodeType, Which

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


_Many = list[str] | None
_SHOW, _WALK = "What of it to show", "How to go"


@commands.command(
    epilog="Examples: `whence lineage model:digits@prod` · `whence lineage dataset:raw --down --depth 2 --json` ·"
    " `whence lineage dataset:raw@3 --down --kind model --label team=perception` ·"
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
    type: Annotated[list[NodeType] | None, typer.Option(help="Only these.", rich_help_panel=_SHOW)] = None,
    kind: Annotated[
        _Many, typer.Option(help="Of versions, only those of this kind.", rich_help_panel=_SHOW)
    ] = None,
    project: Annotated[
        _Many, typer.Option(help="Only what is of this project.", rich_help_panel=_SHOW)
    ] = None,
    state: Annotated[
        _Many, typer.Option(help="Only what is in this state, as failed or tainted.", rich_help_panel=_SHOW)
    ] = None,
    label: Annotated[
        _Many, typer.Option(metavar="NAME=VALUE", help="Only what has this label.", rich_help_panel=_SHOW)
    ] = None,
    collapse_reuse: Annotated[
        bool,
        typer.Option("--collapse-reuse", help="A reused run is shown as its origin.", rich_help_panel=_SHOW),
    ] = False,
    stop_at_kind: Annotated[
        _Many, typer.Option(help="Go no further than versions of this kind.", rich_help_panel=_WALK)
    ] = None,
    stop_at_project: Annotated[
        _Many, typer.Option(help="Go no further than what is of this project.", rich_help_panel=_WALK)
    ] = None,
    through_kind: Annotated[
        _Many,
        typer.Option(help="Go through versions of this kind without showing them.", rich_help_panel=_WALK),
    ] = None,
    through_project: Annotated[
        _Many,
        typer.Option(help="Go through what is of this project without showing it.", rich_help_panel=_WALK),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="As it was known then: a time, or a position of the log.", rich_help_panel=_WALK),
    ] = None,
    format: Annotated[Form, typer.Option(help="How to write it.")] = Form.TREE,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file, in place of what is there.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what versions and runs came from, or what came from them.

    An answer that was cut short says so on standard error, with how to go on.
    """
    direction = Direction.BOTH if both or (up and down) else Direction.DOWN if down else Direction.UP
    labels = frozenset(session.pair(text, "label") for text in label or ())
    show = Which(_set(kind), _set(project), _set(state), labels, frozenset(type or ()))
    stop = _some(Which(_set(stop_at_kind), _set(stop_at_project)), NodeType.VERSION if stop_at_kind else None)
    through = _some(
        Which(_set(through_kind), _set(through_project)), NodeType.VERSION if through_kind else None
    )
    opened = session.open_client()
    roots = [opened.full_name(text) for text in root]
    position, form = times.position(opened, as_of), Form.JSON if json else format
    wanted = Filter(show, stop, through, collapse_reuse)
    if whole and frontier is None and form not in (Form.TREE, Form.JSON):
        write_pages(opened.catalog.lineage_pages(roots, direction, depth, wanted, position), form, out)
        return
    bounds = Bounds(depth, None, None) if whole else Bounds(depth, max_nodes)
    write(opened.catalog.lineage(roots, direction, bounds, frontier, wanted, position), direction, form, out)


def _set(given: Sequence[str] | None) -> frozenset[str]:
    return frozenset(given or ())


def _some(which: Which, of: NodeType | None) -> Which | None:
    """Those nodes; None where nothing was said of them. A kind alone would let every Run pass."""
    if which == Which():
        return None
    types = frozenset() if of is None else frozenset({of})
    return Which(which.kinds, which.projects, types=types)


def write(graph: Graph, direction: Direction, form: Form, out: Path | None) -> None:
    """Write an answer in that form, to that file or to standard output; what it lacks is said beside it."""
    if form is Form.TREE and out is None:
        printing.show_lineage(graph, direction)
    else:
        printing.write_lines(_lines(graph, direction, form), out)
    _say_what_is_left(graph.completeness)


def write_pages(pages: Iterable[Graph], form: Form, out: Path | None) -> None:
    """Write an answer page by page, each of which goes when it is written; what it lacks is said beside it."""
    last: list[Completeness] = []
    coming = iter(pages)
    # What is refused is refused with the first page, before a file is written over.
    first = next(coming)

    def passed() -> Iterator[Graph]:
        for page in chain([first], coming):
            last[:] = [page.completeness]
            yield page

    printing.write_lines(drawing.draw(drawing.Format(form), passed()), out)
    for completeness in last:
        _say_what_is_left(completeness)


def _say_what_is_left(whole: Completeness) -> None:
    if not whole.complete:
        printing.warn(f"{drawing.completeness(whole)}; go on with --after {whole.frontier}")


def _lines(graph: Graph, direction: Direction, form: Form) -> Iterator[str]:
    match form:
        case Form.TREE:
            yield from drawing.tree(graph, direction)
            yield drawing.summary(graph)
        case Form.JSON:
            yield printing.to_json(graph)
        case _:
            yield from drawing.draw(drawing.Format(form), [graph])

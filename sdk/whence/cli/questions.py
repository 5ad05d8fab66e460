"""Commands that ask more of lineage than its graph: `paths`, `roots`, `impact` and `diff`."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from whence import differences, drawing, questions
from whence.cli import comparing, printing, session
from whence.cli.session import Json, Ref
from whence.client import Client
from whence_catalog import lineage, replies
from whence_catalog.errors import InvalidInput
from whence_catalog.replies import ImpactType

commands = typer.Typer()

AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of", help="What was known then: a position of the log, or a time such as 2026-05-03T12:00Z."
    ),
]


class Form(StrEnum):
    """How an answer is written."""

    TEXT = "text"
    TABLE = "table"
    MERMAID = "mermaid"
    DOT = "dot"
    GRAPHML = "graphml"
    JSON = "json"
    JSONL = "jsonl"


_Format = Annotated[Form, typer.Option("--format", help="How to write it.")]


@commands.command(
    epilog="Examples: `whence paths dataset:raw model:digits@prod` ·"
    " `whence paths dataset:raw@3 01a2139b-beef --limit 20 --format mermaid`"
)
def paths(
    start: Annotated[str, typer.Argument(help="Where data came from: a version, or a run.")],
    end: Annotated[str, typer.Argument(help="Where it went: a version, a run, or `deployment/` and its id.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many, at most.")] = 5,
    as_of: AsOf = None,
    format: _Format = Form.TEXT,
    json: Json = False,
) -> None:
    """Show the ways in which data went from one thing to another, the shortest first."""
    opened = session.open_client()
    found = questions.paths(opened, start, end, limit, position(opened, as_of))
    _write(Form.JSON if json else format, found, found.paths, found.completeness, _ways(found))


@commands.command(
    epilog="Examples: `whence roots model:digits@prod` · `whence roots model:a model:b --common`"
)
def roots(
    refs: Annotated[list[str], typer.Argument(metavar="REF…", help="Versions or runs.")],
    common: Annotated[
        bool, typer.Option("--common", help="Instead, all that every one of them came from.")
    ] = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show where the data begins that versions or runs came from, the nearest first."""
    opened = session.open_client()
    ask = questions.common_ancestors if common else questions.roots
    pages = list(ask(opened, refs, position(opened, as_of)))
    session.show(
        json,
        {
            "items": [node for page in pages for node in page.items],
            "total": pages[0].total,
            "completeness": pages[0].completeness,
        },
        lambda: show_nodes(pages, "common ancestor" if common else "root"),
    )


@commands.command(
    epilog="Examples: `whence impact dataset:raw@3` · `whence impact dataset:raw@3 --kind model --kind report --json` ·"
    " `whence impact dataset:raw --kind any --format dot`"
)
def impact(
    ref: Annotated[str, typer.Argument(help="A version, or a run.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Tell of versions of this kind; models otherwise. `any` for all of them."),
    ] = None,
    as_of: AsOf = None,
    format: _Format = Form.TEXT,
    json: Json = False,
) -> None:
    """Show what came of a version: how much, where it serves, which aliases mean it, and which models learned from it.

    Each with a shortest way there. There is no limit: all are told, as they are found.
    """
    opened, kinds = session.open_client(), tuple(kind or ("model",))
    found = questions.impact(opened, ref, () if "any" in kinds else kinds, position(opened, as_of))
    form = Form.JSON if json else format
    if form is Form.TEXT:
        show_impact(found)
        return
    items = list(_watched(found))
    whole = {
        "subject": found.first.subject,
        "counts": found.first.counts,
        "kinds": found.first.kinds,
        "position": found.first.position,
        "completeness": found.first.completeness,
        "items": items,
    }
    _write(form, whole, [_served(item) for item in items], found.first.completeness, iter(()))


@commands.command(
    epilog="Examples: `whence diff model:digits@2 model:digits@prod` · `whence diff 01a2139b-beef 01a2139c-cafe --whole`"
)
def diff(
    left: Ref,
    right: Ref,
    whole: Annotated[
        bool, typer.Option("--whole", "--diff", help="Show diffs and lists to their end.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what changed from one version to another, or from one run to another: data, code, params, metrics, …

    A version stands for its newest production. What was not recorded is unknown, never the same.
    """
    found = differences.compare(session.open_client(), left, right, 1000 if whole or json else 20)
    session.show(json, comparing.plain(found), lambda: comparing.show(found, whole))


def position(opened: Client, text: str | None) -> int | None:
    """The position of the log that a position or a time means.

    Raises:
        InvalidInput: it is neither.
    """
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            f"not a position or a time: {text!r}; expected 1234, or 2026-05-03T12:00Z"
        ) from error
    return opened.catalog.position_at(moment if moment.tzinfo else moment.astimezone())


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def _write(
    form: Form,
    value: object,
    ways: Iterable[Iterable[lineage.Node]],
    whole: lineage.Completeness,
    text: Iterator[str],
) -> None:
    match form:
        case Form.TEXT:
            for line in text:
                printing.show_plain(line)
        case Form.JSON:
            printing.as_json(value)
        case _:
            graph = questions.graph_of(ways, whole)
            printing.write_lines(drawing.draw(drawing.Format(form), [graph]), None)


def _ways(found: replies.Paths) -> Iterator[str]:
    for way in found.paths:
        yield way_text(way)
    count = len(found.paths)
    said = "no way" if not count else f"{count} way{'s' if count > 1 else ''}"
    yield f"{said}; {_sureness(found.completeness)}"


def way_text(way: Iterable[lineage.Node]) -> str:
    """A way in a line."""
    return " → ".join(_name(node) for node in way)


def _name(node: lineage.Node) -> str:
    return drawing.one_line(drawing.name_of(node))


def _sureness(whole: lineage.Completeness) -> str:
    told = ["complete" if whole.complete else f"not complete: {'; '.join(whole.reasons)}"]
    for count, what in (
        (whole.ambiguous, "may have been taken from another production"),
        (whole.unknown_producers, "made by nobody known"),
        (whole.masked, "of projects that you may not read"),
    ):
        if count:
            told.append(f"{count} {what}")
    return ", ".join(told)


def show_nodes(pages: list[replies.NodePage], what: str) -> None:
    """Nodes with how far they are."""
    for page in pages:
        for node in page.items:
            runs = "" if node.depth == 1 else "s"
            printing.show_plain(f"{_name(node)}  {node.depth} run{runs} away")
    masked = sum(page.masked for page in pages)
    whole = pages[0].completeness
    unsure = f"; {_sureness(whole)}" if whole.ambiguous or whole.unknown_producers else ""
    hidden = f"; {masked} of projects that you may not read" if masked else ""
    count = pages[0].total
    printing.show_plain(f"{count} {what}{'' if count == 1 else 's'}{unsure}{hidden}")


def show_impact(found: questions.Impact) -> None:
    """Counts, then items as they come."""
    first = found.first
    kinds = ", ".join(f"{count} {kind}" for kind, count in first.kinds.items())
    counts = first.counts
    printing.show_plain(
        f"{_name(first.subject)} went into {counts['runs']:,} runs and {counts['versions']:,} versions"
        f"{f' ({kinds})' if kinds else ''}"
    )
    printing.show_plain(f"deployments: {counts['deployments']:,}, aliases: {counts['aliases']:,}")
    section, masked = None, 0
    for item in _watched(found):
        if item.type is not section:
            section = item.type
            printing.show_plain(_HEADS[section])
        masked += item.version.is_masked
        for line in _item(item):
            printing.show_plain(f"  {line}")
    if masked:
        printing.show_plain(f"{masked} of them are of projects that you may not read")
    if first.completeness.ambiguous:
        printing.show_plain(_sureness(first.completeness))


_HEADS = {
    ImpactType.DEPLOYMENT: "serving:",
    ImpactType.ALIAS: "aliases:",
    ImpactType.VERSION: "versions:",
}


def _item(item: replies.Impacted) -> Iterator[str]:
    """What it is, and under it what lies between that and the subject."""
    named = _name(item.version)
    match item.type:
        case ImpactType.DEPLOYMENT:
            where = item.deployment.target if item.deployment else "a target that you may not see"
            yield f"{drawing.one_line(where)} serves {named}"
        case ImpactType.ALIAS:
            alias = item.alias.name if item.alias else "an alias that you may not see"
            yield f"{drawing.one_line(alias)} means {named}"
        case ImpactType.VERSION:
            yield named
    yield from folded([_name(node) for node in item.path[1:-1]], "  by ", "   → ")


# A terminal is often no wider.
_WIDTH = 98


def folded(steps: Sequence[str], first: str, others: str) -> Iterator[str]:
    """A way in as many lines as it takes, each of whole steps."""
    line = ""
    for step in steps:
        longer = f"{line} → {step}" if line else f"{first}{step}"
        if line and len(longer) > _WIDTH:
            yield line
            longer = f"{others}{step}"
        line = longer
    if line:
        yield line


def _watched(found: questions.Impact) -> Iterator[replies.Impacted]:
    """Its items; how far it is with many is said on standard error."""
    say = printing.progress(quiet=False)
    for place, item in enumerate(found):
        if place and place % 5000 == 0:
            say(f"{place:,} items")
        yield item


def _served(item: replies.Impacted) -> tuple[lineage.Node, ...]:
    """The way of an item, into the Deployment where it is of one."""
    deployed = item.deployment
    if deployed is None:
        return item.path
    end = lineage.Node(
        f"deployment/{deployed.uid}",
        lineage.NodeType.DEPLOYMENT,
        deployed.target,
        "serving",
        deployed.since,
        depth=item.version.depth,
        project=item.version.project,
    )
    return (*item.path, end)

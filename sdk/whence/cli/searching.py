"""`whence search`: versions, artifacts, jobs and runs, by name or by what they have."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from whence import times
from whence.cli import printing, session
from whence.cli.session import Json
from whence_catalog import model, replies
from whence_catalog.errors import InvalidInput

commands = typer.Typer()

_NUMBER = r"[-+]?(?:inf|\d+(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)"
_RANGE = re.compile(rf"\s*(?P<name>[^<>=]+?)\s*(?P<sign>>=|<=|=)\s*(?P<number>{_NUMBER})\s*", re.IGNORECASE)
_BETWEEN = re.compile(
    rf"\s*(?P<low>{_NUMBER})\s*<=\s*(?P<name>[^<>=]+?)\s*<=\s*(?P<high>{_NUMBER})\s*", re.IGNORECASE
)


@commands.command(
    epilog="Examples: `whence search digits` · `whence search --label team=perception --type run` ·"
    " `whence search --metric 'auc>=0.9' --since 2026-05-01` · `whence search --metric '0.1<=loss<=0.2' train`"
)
def search(
    text: Annotated[str, typer.Argument(help="What is in its name; a digest finds that content.")] = "",
    type: Annotated[list[replies.HitType] | None, typer.Option(help="What to find.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only artifacts and versions of this kind.")] = None,
    project: Annotated[list[str] | None, typer.Option(help="Only in this project.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What has this label.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="RANGE", help="As `auc>=0.9`, `loss<=0.1` or `0.8<=auc<=0.9`.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Recorded at this time or later; ISO 8601, else UTC.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Recorded before this time.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 25,
    json: Json = False,
) -> None:
    """Find versions, artifacts, jobs and runs: by name, or by their labels, metrics and times.

    With a metric the highest comes first; else versions and runs come newest first.
    """
    found = session.open_client().search(
        text,
        types=type or (),
        kinds=kind or (),
        projects=project,
        labels=[session.pair(given, "label") for given in label or ()],
        metrics=[metric_range(given) for given in metric or ()],
        since=None if since is None else times.beginning(since),
        until=None if until is None else times.beginning(until),
        limit=limit,
    )
    session.show(json, found, lambda: show(found, metric or ()))


def metric_range(text: str) -> model.MetricRange:
    """The range that a text means.

    Raises:
        InvalidInput: it means none.
    """
    if between := _BETWEEN.fullmatch(text):
        return model.MetricRange(between["name"], float(between["low"]), float(between["high"]))
    if asked := _RANGE.fullmatch(text):
        number = float(asked["number"])
        low = None if asked["sign"] == "<=" else number
        return model.MetricRange(asked["name"], low, None if asked["sign"] == ">=" else number)
    raise InvalidInput(f"not a range of a metric: {text!r}; write it as auc>=0.9, loss<=0.1 or 0.8<=auc<=0.9")


def show(found: Sequence[replies.Hit], metrics: Sequence[str]) -> None:
    """Print what was found, as a table."""
    if not found:
        printing.show_plain("nothing was found")
        return
    printing.show_rows(("type", "found", "recorded", "state", "tells"), map(list, _rows(found, metrics)))


def _rows(found: Sequence[replies.Hit], metrics: Sequence[str]) -> Iterator[tuple[str, str, str, str, str]]:
    asked = {metric_range(text).name for text in metrics}
    for hit in found:
        if (run := hit.run) is not None:
            told = [f"{name}={value:.6g}" for name, value in sorted(run.metrics.items()) if name in asked]
            told += [f"{name}={value}" for name, value in sorted(run.labels.items())]
            yield "run", f"{run.job} {run.short}", printing.time(run.started_at), run.state, ", ".join(told)
        elif (version := hit.version) is not None:
            told = [version.digest.short, printing.size(version.content.size_bytes)]
            yield "version", version.ref, printing.time(version.created_at), "", ", ".join(told)
        elif hit.artifact is not None:
            yield "artifact", str(hit.artifact), "", "", ""
        elif (job := hit.job) is not None:
            prefix = "" if job.project == model.DEFAULT_PROJECT else f"{job.project}/"
            yield "job", f"{prefix}{job.name}", "", "", ""

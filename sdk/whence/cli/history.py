"""Commands about two times: what was true then, and what was known then."""

from typing import Annotated

import typer

from whence import times
from whence.cli import judging, printing, session
from whence.cli.session import Json
from whence_catalog import model, replies

commands = typer.Typer()

At = Annotated[
    str | None, typer.Option("--at", help="What was true then: `2026-05-03` (its end), `2026-05-03T14:30Z`.")
]
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="What was known then: a time, or a position of the log.")
]
First = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")]
After = Annotated[str | None, typer.Option("--after", help="Go on after this cursor of an earlier answer.")]


@commands.command(
    epilog="Examples: `whence history model:digits` · `whence history model:digits@prod --at 2026-05-03`, what it was"
    " that day · `whence history model:digits@3 --as-of 2026-05-03`"
)
def history(
    ref: Annotated[str, typer.Argument(help="An artifact, a version, or an alias: `model:digits@prod`.")],
    at: At = None,
    as_of: AsOf = None,
    limit: First = 25,
    after: After = None,
    json: Json = False,
) -> None:
    """Show all that happened to an artifact or a version, or what an alias meant, the newest first."""
    opened = session.open_client()
    named = model.Reference.parse(ref, opened.project)
    if at is not None:
        meant = opened.alias_at(ref, at, as_of)
        session.show(json, meant, lambda: _show_meant(ref, meant))
    elif named.alias is not None:
        moves = times.alias_history(opened, named, as_of, limit)
        session.show(json, moves, lambda: _show_moves(moves))
    else:
        page = opened.timeline(ref, as_of, limit, after)
        session.show(json, page, lambda: _show_events(page))


@commands.command(
    epilog="Examples: `whence deployments` · `whence deployments --target shop/eu --at 2026-05-03` ·"
    " `whence deployments --all --of model:digits`"
)
def deployments(
    target: Annotated[str | None, typer.Option(help="Only at this target.")] = None,
    of: Annotated[str | None, typer.Option(help="Only versions of this artifact.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    at: At = None,
    as_of: AsOf = None,
    limit: First = 25,
    after: After = None,
    json: Json = False,
) -> None:
    """List what serves where, or served at a time, the newest first."""
    opened = session.open_client()
    page = (
        opened.deployments(target, of, at, as_of, limit, after)
        if every or at is not None
        else times.standing_deployments(opened, target, of, as_of, limit, after)
    )
    session.show(json, page, lambda: _show_deployments(page))


# ── printing ─────────────────────────────────────────────────────────────────────────────────────


def _show_meant(ref: str, meant: model.Alias | None) -> None:
    if meant is None:
        printing.show_plain(f"{ref} meant nothing then")
    else:
        printing.show_alias(meant)


def _show_moves(moves: tuple[model.Alias, ...]) -> None:
    for move in moves:
        printing.show_alias(move)


def _show_events(page: replies.EventPage) -> None:
    for event in page.items:
        printing.show_plain(f"{printing.time(event.at)}  {_event(event)}")
    _more(page)


def _event(event: replies.Event) -> str:
    ref, by = event.version.ref, f"by {event.actor.name}"
    place = f", in place of {event.replaced.ref}" if event.replaced else ""
    match event.type:
        case replies.EventType.ALIASED:
            text = f"{event.name} moved to {ref}{place}, {by}"
        case replies.EventType.DEPLOYED:
            text = f"{ref} deployed to {event.name}{place}, {by}"
        case replies.EventType.DEPLOYMENT_ENDED:
            text = f"{ref} no longer served at {event.name}, {by}"
        case replies.EventType.PRODUCED:
            text = f"{ref} produced by run {str(event.run)[:18]} {event.job or ''}, {by}"
        case said:
            text = f"{ref} {said}, {by}"
    late = (event.recorded_at - event.at).total_seconds() >= 1
    known = f" (known since {printing.time(event.recorded_at)})" if late else ""
    return text + ("" if event.reason is None else f": {event.reason}") + known


def _show_deployments(page: replies.DeploymentPage) -> None:
    for found in page.items:
        printing.show_plain(judging.deployment(found))
    if not page.items:
        printing.show_plain("nothing is deployed there")
    _more(page)


def _more(page: replies.Page) -> None:
    if page.end is not None:
        printing.show_plain(f"there is more: --after {page.end}")

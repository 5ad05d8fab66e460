"""Commands that judge versions: quarantine and its end, approvals, holds, deployments."""

from typing import Annotated

import typer

from whence.cli import printing, session
from whence.cli.session import Json, Ref
from whence_catalog import model, replies

commands = typer.Typer()

Why = Annotated[str, typer.Option("--reason", help="Why; it is kept, and shown.")]
Since = Annotated[
    str | None,
    typer.Option("--since", help="When it began to be so, where that was before now: `2026-05-03T14:30Z`."),
]
MaybeWhy = Annotated[str | None, typer.Option("--reason", help="Why; it is kept, and shown.")]


@commands.command(
    epilog='Examples: `whence quarantine dataset:raw@3 --reason "labels are shifted" --dry` shows what it would'
    " reach · the same without `--dry` does it"
)
def quarantine(
    ref: Ref,
    reason: Why,
    dry: Annotated[bool, typer.Option("--dry", help="Only show what it would reach.")] = False,
    first: Annotated[int, typer.Option(min=1, max=1000, help="How many of each to show.")] = 20,
    json: Json = False,
) -> None:
    """Declare a version bad, and show what that reaches: nothing made of it is reused any more."""
    opened = session.open_client()
    said = None if dry else opened.quarantine(ref, reason=reason)
    reach = opened.reach(ref, first)
    session.show(json, {"quarantine": said, "reach": reach}, lambda: show_quarantine(said, reach))


@commands.command(
    epilog='Examples: `whence release dataset:raw@3 --reason "labels were right"` ·'
    " `whence release 01a2139b-…` where several stand"
)
def release(
    what: Annotated[str, typer.Argument(help="A version, or the id of a quarantine or a hold.")],
    reason: Why,
    json: Json = False,
) -> None:
    """End a quarantine or a hold."""
    ended = session.open_client().release(what, reason=reason)
    session.show(json, ended, lambda: show_released(ended))


@commands.command(
    epilog="Examples: `whence label model:digits@3 team=perception` ·"
    " `whence label 01a2139b-beef reviewed=yes --remove draft`"
)
def label(
    what: Annotated[str, typer.Argument(help="A version, or a run by its id.")],
    given: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE", help="Labels to set.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="The name of a label to remove.")] = None,
    json: Json = False,
) -> None:
    """Set and remove labels of a version or a run, and show all that it then has."""
    labels = dict(session.pair(text, "label") for text in given or ())
    standing = session.open_client().label(what, remove=remove or (), **labels)
    session.show(json, standing, lambda: printing.show_pairs(standing))


@commands.command(epilog='Example: `whence approve model:digits@3 --reason "reviewed on Monday"`')
def approve(
    ref: Ref,
    reject: Annotated[bool, typer.Option("--reject", help="The decision is no.")] = False,
    reason: MaybeWhy = None,
    json: Json = False,
) -> None:
    """Record a decision on a version: approved, or rejected."""
    decision = model.Decision.REJECTED if reject else model.Decision.APPROVED
    made = session.open_client().approve(ref, decision=decision, reason=reason)
    session.show(json, made, lambda: printing.show_plain(approval(made)))


@commands.command(epilog='Example: `whence hold model:digits@3 --reason "in court"`')
def hold(ref: Ref, reason: Why, json: Json = False) -> None:
    """Keep a version until it is released, whatever retention says."""
    made = session.open_client().hold(ref, reason=reason)
    session.show(json, made, lambda: printing.show_plain(interval("held", made)))


@commands.command(epilog='Example: `whence deploy model:digits@3 shop/eu --reason "accuracy 0.97"`')
def deploy(
    ref: Ref,
    target: Annotated[str, typer.Argument(help="Where it serves, such as `shop/eu`.")],
    reason: MaybeWhy = None,
    since: Since = None,
    json: Json = False,
) -> None:
    """Say that a version serves at a target from now on, in place of what did."""
    made = session.open_client().deploy(ref, target, reason=reason, since=since)
    session.show(json, made, lambda: printing.show_plain(deployment(made)))


@commands.command(epilog="Example: `whence withdraw model:digits shop/eu`")
def withdraw(
    artifact: Annotated[str, typer.Argument(help="What served there: `model:digits`.")],
    target: Annotated[str, typer.Argument(help="Where it served, such as `shop/eu`.")],
    reason: MaybeWhy = None,
    since: Since = None,
    json: Json = False,
) -> None:
    """Say that nothing serves at a target any more."""
    ended = session.open_client().withdraw(artifact, target, reason=reason, since=since)
    session.show(json, ended, lambda: printing.show_plain(deployment(ended)))


# ── printing ─────────────────────────────────────────────────────────────────────────────────────


def show_quarantine(said: model.Quarantine | None, reach: replies.Reach) -> None:
    """What was said, if anything was, and what it reaches."""
    ref = reach.version.ref
    if said is None:
        printing.show_plain(f"a quarantine of {ref} would reach:")
    else:
        printing.show_plain(f"{interval('quarantined', said)}\nid {said.uid}; it reaches:")
    for reached in reach.productions:
        printing.show_plain(f"  {_way(ref, reached)}")
    _more(reach, "productions", len(reach.productions))
    for alias in reach.aliases:
        printing.show_plain(f"  alias {alias.artifact}@{alias.name} points at {alias.version.ref}")
    _more(reach, "aliases", len(reach.aliases))
    for found in reach.deployments:
        printing.show_plain(f"  {found.version.ref} serves at {found.target}")
    _more(reach, "deployments", len(reach.deployments))
    for entry in reach.entries:
        printing.show_plain(f"  cache entry {entry.key[:20]}… of run {entry.run} is not reused")
    _more(reach, "entries", len(reach.entries))
    printing.show_plain(", ".join(f"{count} {name}" for name, count in reach.counts.items()))
    if reach.masked:
        printing.show_plain(f"{reach.masked} of them are of projects that you may not read")


def _way(ref: str, reached: replies.Reached) -> str:
    steps = [f"{step.job} {str(step.run)[:18] if step.run else ''} → {step.ref}" for step in reached.path]
    # A production of the quarantined Version itself is where the way begins.
    head = "" if reached.path[0].ref == ref else f"{ref} → "
    return head + " → ".join(steps)


def _more(reach: replies.Reach, name: str, shown: int) -> None:
    left = reach.counts[name] - shown
    if left > 0:
        printing.show_plain(f"  and {left} more {name}; show them with --first")


def show_released(ended: model.Quarantine | model.Hold) -> None:
    """What was ended."""
    was = "held" if isinstance(ended, model.Hold) else "quarantined"
    printing.show_plain(interval(was, ended))


def interval(what: str, found: model.Quarantine | model.Hold) -> str:
    """A quarantine or a hold in a line."""
    text = f"{found.version.ref} is {what} since {printing.time(found.since)} by {found.actor.name}{_why(found.reason)}"
    if found.until is None:
        return text
    by = found.released_by.name if found.released_by else "nobody known"
    was = text.replace(f" is {what} since ", f" was {what} from ", 1)
    return f"{was}; released {printing.time(found.until)} by {by}{_why(found.released_because)}"


def approval(found: model.Approval) -> str:
    """A decision in a line."""
    when = printing.time(found.at)
    return f"{found.version.ref} was {found.decision} {when} by {found.actor.name}{_why(found.reason)}"


def deployment(found: model.Deployment) -> str:
    """A deployment in a line."""
    place = f", in place of {found.replaced.ref}" if found.replaced else ""
    until = "now" if found.until is None else printing.time(found.until)
    said = f"by {found.actor.name}{place}{_why(found.reason)}"
    text = (
        f"{found.version.ref} serves at {found.target} from {printing.time(found.since)} to {until}, {said}"
    )
    if found.ended_by is None:
        return text
    return f"{text}; ended by {found.ended_by.name}{_why(found.ended_because)}"


def _why(reason: str | None) -> str:
    return "" if reason is None else f": {reason}"


def lines(told: replies.Judgements) -> list[tuple[str, str]]:
    """Everything that was said of a Version, and what taints it: (what, text)."""
    found = [("quarantine", f"{interval('quarantined', q)} ({q.uid})") for q in told.quarantines]
    found += [
        (
            "tainted",
            f"as run {str(taint.run)[:18]} made it, by the quarantine of {taint.quarantine.version.ref}"
            f"{_why(taint.quarantine.reason)}",
        )
        for taint in told.taints
        if taint.quarantine.version != told.version
    ]
    found += [("approval", approval(a)) for a in told.approvals]
    found += [("label", f"{name}={value}") for name, value in told.labels.items()]
    found += [("hold", f"{interval('held', h)} ({h.uid})") for h in told.holds]
    return found + [("deployment", deployment(d)) for d in told.deployments]

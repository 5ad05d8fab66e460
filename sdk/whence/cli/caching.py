"""What `whence cache` does: what the cache holds, what it saved, where it diverged, and what of it may go."""

import contextlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from whence import calls
from whence.cli import explaining, printing, session
from whence.cli.session import Json
from whence_catalog import catalog, inventory, replies
from whence_catalog.errors import InvalidInput

_out = Console(emoji=False, highlight=False, soft_wrap=True)
_LASTING = re.compile(r"([0-9]{1,6})([smhdw])")
_LONGEST = timedelta(days=36_525)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(B|kB|MB|GB|TB)")
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_COLOURS = {"live": "green", "revoked": "red", "superseded": "dim", "evicted": "yellow"}
# `wk1:` and what tells keys apart; enough of it to be given back.
_SHOWN = 20

group = typer.Typer(help="What the cache holds, saved, and may forget.", no_args_is_help=True)

Project = Annotated[str | None, typer.Option(help="Only of this project.")]
Job = Annotated[str | None, typer.Option(help="Only of this job.")]
Many = Annotated[int, typer.Option("--limit", "-n", min=1, max=catalog.MOST_AT_ONCE, help="How many.")]
After = Annotated[str | None, typer.Option(help="Go on after the page that ended with this.")]
Key = Annotated[str, typer.Argument(help="A cache key: `wk1:…`, or eight or more of its first digits.")]


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


@group.command("ls", epilog="Examples: `whence cache ls` · `whence cache ls --state live --older 30d`")
def list_entries(
    project: Project = None,
    job: Job = None,
    state: Annotated[list[inventory.EntryState] | None, typer.Option(help="Only in this state.")] = None,
    older: Annotated[str | None, typer.Option(help="Only entered that long ago: `12h`, `30d`.")] = None,
    limit: Many = 25,
    after: After = None,
    json: Json = False,
) -> None:
    """List cache entries, the newest first."""
    page = session.open_client().catalog.cache_entries(
        _one(project), job, state or (), _lasting(older, "--older"), limit, after
    )
    session.show(json, page, lambda: show_entries(page))


@group.command("show", epilog="Example: `whence cache show wk1:4fd7a1c2`")
def show_key(key: Key, json: Json = False) -> None:
    """Show a key: its parts, its entries, where it diverged, and who computes it now."""
    record = session.open_client().catalog.cache_key(key)
    session.show(json, record, lambda: show_record(record))


@group.command(
    "explain", epilog="Examples: `whence cache explain wk1:4fd7a1c2` · `whence why RUN` for a run."
)
def explain(key: Key, json: Json = False) -> None:
    """Say what the cache would answer to a key, and how it differs from the nearest earlier one of its job."""
    opened = session.open_client()
    why = opened.explain(key if key.startswith("wk1:") else f"wk1:{key}")
    session.show(json, explaining.plain(why), lambda: explaining.show(why, whole=False))


@group.command("revoke", epilog='Example: `whence cache revoke wk1:4fd7a1c2 --reason "a broken GPU"`')
def revoke(
    keys: Annotated[list[str], typer.Argument(help="Cache keys, each by eight or more of its first digits.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
    json: Json = False,
) -> None:
    """Let nobody reuse the results of keys any more, until they are made again."""
    opened = session.open_client()
    found = [opened.catalog.cache_key(key, [opened.project]).key for key in keys]
    asked = inventory.Revocation(calls.new_uid(), opened.project, tuple(found), opened.actor, reason)
    done = calls.one(opened.catalog.revoke_entries([asked]))
    session.show(json, done, lambda: show_revoked(done))


@group.command(
    "evict",
    epilog="Examples: `whence cache evict --unused 30d` shows what would go · `whence cache evict --max-size 50GB --yes`",
)
def evict(
    unused: Annotated[str | None, typer.Option(help="What was not used for so long: `30d`.")] = None,
    older: Annotated[str | None, typer.Option(help="What was entered or renewed so long ago.")] = None,
    max_entries: Annotated[int | None, typer.Option(min=0, help="Beyond so many, the least used.")] = None,
    max_size: Annotated[
        str | None, typer.Option(help="Beyond so many bytes, the least used: `50GB`.")
    ] = None,
    job: Job = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Evict; otherwise only what would go is shown.")] = False,
    json: Json = False,
) -> None:
    """Forget results that are old, unused or too many. Nothing that an alias, a hold or a deployment needs."""
    opened = session.open_client()
    limits = inventory.Limits(
        _lasting(unused, "--unused"), _lasting(older, "--older"), max_entries, _size(max_size)
    )
    asked = inventory.Eviction(calls.new_uid(), opened.project, limits, opened.actor, job, reason)
    evict_now = opened.catalog.evict_entries
    done = calls.one(evict_now([asked])) if yes else opened.catalog.evictable(asked)
    session.show(json, done, lambda: show_evicted(done, yes))


@group.command("stats", epilog="Examples: `whence cache stats` · `whence cache stats --since 7d --json`")
def stats(
    project: Project = None,
    job: Job = None,
    since: Annotated[str | None, typer.Option(help="Only what happened in so long: `7d`.")] = None,
    json: Json = False,
) -> None:
    """Show by job what the cache saved, and what it missed and why."""
    lasting = _lasting(since, "--since")
    begun = None if lasting is None else datetime.now(UTC) - lasting
    found = session.open_client().catalog.cache_statistics(_one(project), job, begun)
    session.show(json, found, lambda: show_statistics(found))


@group.command("divergences", epilog="Example: `whence cache divergences --job pipeline.train`")
def divergences(
    project: Project = None, job: Job = None, limit: Many = 25, after: After = None, json: Json = False
) -> None:
    """List where the same key gave other bytes: the same code on the same inputs, and yet another result."""
    page = session.open_client().catalog.divergences(_one(project), job, limit, after)
    session.show(json, page, lambda: show_divergences(page))


# ── what is given ────────────────────────────────────────────────────────────────────────────────


def _one(project: str | None) -> list[str] | None:
    return None if project is None else [project]


def _lasting(text: str | None, option: str) -> timedelta | None:
    if text is None:
        return None
    found = _LASTING.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{option} is {text!r}; it is a number and one of s, m, h, d, w, such as 30d")
    with contextlib.suppress(OverflowError):
        lasting = timedelta(**{_UNITS[found[2]]: int(found[1])})
        if lasting <= _LONGEST:
            return lasting
    raise InvalidInput(f"{option} is {text!r}; it may be a hundred years at most")


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidInput(
            f"--max-size is {text!r}; it is a number and one of B, kB, MB, GB, TB, such as 50GB"
        )
    return int(float(found[1]) * _BYTES[found[2]])


# ── showing ──────────────────────────────────────────────────────────────────────────────────────


def show_entries(page: replies.EntryPage) -> None:
    """Print entries as a table."""
    if not page.items:
        _out.print("no such entry is in the cache")
        return
    table = _table("key", "job", "state", "entered", "hits", "last used", "seconds", "size")
    for entry in page.items:
        table.add_row(
            entry.key[:_SHOWN],
            escape(entry.job),
            _state(entry),
            printing.time(entry.created_at),
            str(entry.hits),
            printing.time(entry.last_used_at) or "never",
            f"{entry.seconds:.2f}",
            printing.size(entry.size_bytes),
        )
    printing.wide(table)
    _onward(page)


def _state(entry: inventory.Entry) -> str:
    shown = f"[{_COLOURS[entry.state]}]{entry.state}[/]"
    return shown if entry.condemned is None else f"{shown}, [red]{entry.condemned}[/red]"


def _ended(entry: inventory.Entry) -> str:
    by = "" if entry.by is None else f" by {entry.by.name}"
    because = "" if entry.because is None else f": {entry.because}"
    # A result that was revoked, and superseded since, was not superseded by who revoked it.
    is_past = by and entry.state is inventory.EntryState.SUPERSEDED
    return escape(f"{printing.time(entry.until)}{', revoked' if is_past else ''}{by}{because}")


def _onward(page: replies.Page) -> None:
    if page.end is not None:
        _out.print(f"[dim]go on with --after {page.end}[/dim]")


def show_record(record: inventory.KeyRecord) -> None:
    """Print all that is known of a key."""
    _out.print(f"[bold]{record.key}[/bold]  {escape(record.job)}  [dim]{escape(record.project)}[/dim]")
    holder = record.holder
    if holder is not None:
        _out.print(
            f"[yellow]computed now[/yellow] by {escape(holder.owner)}, run {holder.run}, because: {holder.reason}; since"
            f" {printing.time(holder.since)}, until {printing.time(holder.until)} unless it says more"
        )
    parts = _table("part of the key", "")
    for part in record.components:
        parts.add_row(escape(part.name), "ignored" if part.ignored else escape(_shortened(part.preview)))
    printing.wide(parts)
    if record.history:
        _out.print()
        table = _table(
            "run", "state", "entered", "validated", "until", "hits", "last used", "seconds", "size"
        )
        for entry in record.history:
            table.add_row(
                str(entry.run),
                _state(entry),
                printing.time(entry.created_at),
                printing.time(entry.validated_at),
                _ended(entry),
                str(entry.hits),
                printing.time(entry.last_used_at) or "never",
                f"{entry.seconds:.2f}",
                printing.size(entry.size_bytes),
            )
        printing.wide(table)
    for found in record.divergences:
        _out.print()
        _show_divergence(found)
    for name, count in record.more.items():
        _out.print(f"[yellow]{count} more in {name}, which are older[/yellow]")


def _shortened(preview: str | None) -> str:
    if preview is None:
        return ""
    lines = preview.count("\n") + 1
    return f"{lines} symbols" if lines > 1 else preview[:120]


def show_revoked(done: Sequence[inventory.Entry]) -> None:
    """Print which entries were revoked."""
    for entry in done:
        _out.print(f"{_state(entry)} {entry.key}  {escape(entry.job)}: the next who asks computes it again")


def show_evicted(done: inventory.Evicted, was_done: bool) -> None:
    """Print what went, or would go, and what had to stay."""
    table = _table("key", "went" if was_done else "would go")
    for gone in done.gone:
        table.add_row(gone.key[:_SHOWN], escape(gone.because))
    if done.gone:
        printing.wide(table)
    for kept in done.kept:
        pins = ", ".join(str(pin) for pin in kept.pins)
        _out.print(
            f"[cyan]stays[/cyan] {kept.key[:_SHOWN]}  needed by {escape(pins)}  [dim]{escape(kept.because)}[/dim]"
        )
    if done.kept_in_all > len(done.kept):
        _out.print(f"[cyan]stay[/cyan] {done.kept_in_all - len(done.kept)} more that something needs")
    verb = "went" if was_done else "would go"
    staying = (
        f"{done.entries} entries with {printing.size(done.size_bytes)} {'stay' if was_done else 'would stay'}"
    )
    _out.print(f"{len(done.gone)} entries {verb}; {staying}")
    if done.more:
        _out.print(f"[yellow]{done.more} more are beyond the limits; run it again[/yellow]")
    elif not done.is_enough:
        _out.print("[yellow]the limits do not hold: what is left is needed[/yellow]")
    if not was_done and done.gone:
        _out.print("[dim]nothing was evicted; say --yes to do it[/dim]")


def show_statistics(found: inventory.Statistics) -> None:
    """Print what the cache saved, by job."""
    since = "ever" if found.since is None else f"since {printing.time(found.since)}"
    if not found.jobs:
        _out.print(f"the cache was not asked for anything, {since}")
        return
    table = _table(
        "job", "entries", "hits", "missed", "saved", "bytes saved", "divergences", "misses by reason"
    )
    for job in found.jobs:
        table.add_row(escape(job.job), *_sums(job), _reasons(job))
    if len(found.jobs) > 1:
        table.add_row("[bold]all[/bold]", *_sums(found.total), _reasons(found.total))
    printing.wide(table)
    _out.print(f"[dim]{since}, until {printing.time(found.until)}[/dim]")
    if found.total.unsized:
        _out.print(f"[yellow]{found.total.unsized} hits handed out outputs of unknown size[/yellow]")


def _sums(job: inventory.JobStatistics) -> tuple[str, ...]:
    return (
        str(job.entries),
        str(job.hits),
        str(sum(job.misses.values())),
        _duration(job.seconds),
        printing.size(job.size_bytes),
        f"[red]{job.divergences}[/red]" if job.divergences else "0",
    )


def _reasons(job: inventory.JobStatistics) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in job.misses.items())


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def show_divergences(page: replies.DivergencePage) -> None:
    """Print divergences."""
    if not page.items:
        _out.print("no key gave other bytes")
        return
    for place, found in enumerate(page.items):
        if place:
            _out.print()
        _show_divergence(found)
    _onward(page)


def _show_divergence(found: inventory.Divergence) -> None:
    _out.print(f"[bold]{escape(found.job)}[/bold]  {found.key[:_SHOWN]}  {printing.time(found.at)}")
    _out.print(f"  [red]{escape(found.cause)}[/red]")
    table = _table("  output", "before", "after")
    for difference in found.differences:
        before, after = (
            "(not there)" if made is None else f"{escape(made.ref)} {made.digest.short}"
            for made in (difference.before, difference.after)
        )
        table.add_row(f"  {escape(difference.role)}", before, after)
    table.add_row("  [dim]run[/dim]", f"[dim]{found.against}[/dim]", f"[dim]{found.run}[/dim]")
    printing.wide(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in ("", "until", "misses by reason"))
    return table

"""What `whence why` does: explains runs, keys, and calls that were not made yet."""

import importlib
import inspect
import json as codec
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from whence import changes, client, handles
from whence.cli import printing
from whence_catalog import cache, wire
from whence_catalog.errors import ErrorKind, InvalidInput

_out = Console(emoji=False, highlight=False, soft_wrap=True)
# How many lines of a diff are shown, unless all are asked for.
_LINES = 40
_DIFF = {"+": "green", "-": "red", "@": "cyan"}


def of_call(opened: client.Client, what: str, given: Sequence[str]) -> changes.Why:
    """Why a call that is not made would have its key.

    Args:
        what: `module:function`, or `path/of/script.py:function`, from this folder.
        given: its arguments, each `name=value`: JSON, or else text; where the function takes a handle, a reference.

    Raises:
        InvalidInput: there is no such step, or it cannot be called so.
    """
    step = step_named(what)
    signature = inspect.signature(step)
    taken: dict[str, object] = {}
    for text in given:
        name, equals, given_as = text.partition("=")
        if not equals or not name.isidentifier():
            raise InvalidInput(f"not an argument: {text!r}; expected name=value, such as c=1.0")
        taken[name] = opened.get(given_as) if _takes_handles(step, name) else value(given_as)
    try:
        signature.bind(**taken)
    except TypeError as error:
        raise InvalidInput(f"{what}{signature} cannot be called so: {error}") from error
    return changes.explain_call(opened, step, **taken)


def step_named(what: str) -> Callable[..., object]:
    """The function that `module:function` names, from this folder.

    Raises:
        InvalidInput: there is none.
    """
    module, colon, name = what.partition(":")
    if not colon or not name:
        raise InvalidInput(f"not a step: {what!r}; expected module:function, such as pipeline:train")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: object = importlib.import_module(module.removesuffix(".py").replace("/", "."))
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"no step {what}: {error}", ErrorKind.BAD_REFERENCE) from error
    if not callable(found):
        raise InvalidInput(f"{what} is no function")
    return found


def _takes_handles(step: Callable[..., object], name: str) -> bool:
    try:
        hint = typing.get_type_hints(inspect.unwrap(step)).get(name)
    except Exception:  # annotations are anybody's code
        return False
    return isinstance(hint, type) and issubclass(hint, handles.Handle)


def value(text: str) -> object:
    """What `NAME=VALUE` gives: JSON, or else text."""
    try:
        return codec.loads(text)
    except ValueError:
        return text


def plain(why: changes.Why) -> dict[str, object]:
    """What `--json` prints: the explanation, and with it what changed in the source."""
    return {**cast("dict[str, object]", wire.plain(why.explanation)), "source": wire.plain(why.source)}


# ── showing ──────────────────────────────────────────────────────────────────────────────────────


def show(why: changes.Why, whole: bool) -> None:
    """Print an explanation; `whole` prints diffs to their end."""
    found = why.explanation
    named = "a call that was not made" if found.run is None else str(found.run)
    ran = f"  executed because: [bold]{escape(found.reason)}[/bold]" if found.reason else ""
    _out.print(f"[bold]{escape(found.job or '')}[/bold]  {named}{ran}")
    if found.key is not None:
        _out.print(f"[dim]{found.key}[/dim]")
    if found.answer is not None:
        _out.print(_answer(found.answer))
    if found.note:
        _out.print(escape(found.note))
    if found.verdicts:
        _show_verdicts(found)
    for cause in found.causes:
        _show_cause(cause)
    if why.source is not None:
        show_source(why.source, whole)


def _answer(answer: cache.Answer) -> str:
    match answer:
        case cache.Reuse(entry):
            return f"[green]it would be reused[/green]: run {entry.run} made it, {printing.time(entry.created_at)}"
        case cache.Verify(entry, unknown, _, places):
            where = [
                *([f"its {len(unknown)} contents are still in the store"] if unknown else []),
                *(f"{escape(place.location)} still holds what was left there" for place in places),
            ]
            return (
                f"[green]it would be reused[/green], if {' and '.join(where)}: run {entry.run} made it,"
                f" {printing.time(entry.created_at)}"
            )
        case cache.Wait(holder, since, until):
            return (
                f"[yellow]it would wait[/yellow] for {escape(holder)}, who computes it since {printing.time(since)},"
                f" until {printing.time(until)} or longer"
            )
        case cache.Execute(reason, digests):
            gone = f": {', '.join(named.short for named in digests)}" if digests else ""
            return f"[yellow]it would execute[/yellow]: {reason}{gone}"
        case _:
            assert_never(answer)


def _show_verdicts(found: cache.Explanation) -> None:
    if found.against is not None:
        among = f", the nearest of the last {found.looked_at} keys" if not found.is_nearest_of_all else ""
        _out.print(f"[dim]beside {found.against}{among}[/dim]")
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in ("part of the key", "", "before", "after"):
        table.add_column(column, overflow="fold")
    for verdict in found.verdicts:
        changed = verdict.change not in (cache.Change.SAME, cache.Change.IGNORED)
        before, after = _beside(verdict.before, verdict.after) if changed else ("", verdict.after or "")
        style = "yellow" if changed and found.against is not None else "dim"
        shown = after if changed or "\n" not in after else f"{after.count(chr(10)) + 1} symbols"
        table.add_row(
            f"[{style}]{escape(verdict.name)}[/]",
            f"[{style}]{verdict.change}[/]",
            escape(before[:300]),
            f"[{style}]{escape(shown[:300])}[/]",
        )
    _out.print(table)


def _show_cause(cause: cache.Cause) -> None:
    if cause.run is None:
        _out.print(f"inputs/{escape(cause.role)} differs; {escape(cause.note or '')}")
        return
    steps = f", {len(cause.through)} runs upstream" if cause.through else ""
    _out.print(
        f"inputs/{escape(cause.role)} began to differ with [bold]{escape(cause.job or '')}[/bold] {cause.run}{steps}"
        f" [dim]beside {cause.against}[/dim]"
    )
    for verdict in cause.verdicts:
        before, after = _beside(verdict.before, verdict.after)
        _out.print(f"  [yellow]{escape(verdict.name)}[/yellow] {escape(before)} → {escape(after)}")
    if cause.note:
        _out.print(f"  {escape(cause.note)}")


def show_source(source: changes.SourceChange, whole: bool) -> None:
    """Print what changed in the source; `whole` prints diffs to their end."""
    for file in source.files:
        lines = file.diff.splitlines()
        shown = lines if whole else lines[:_LINES]
        for line in shown:
            style = "bold" if line[:3] in ("---", "+++") else _DIFF.get(line[:1], "dim")
            _out.print(escape(line), style=style)
        if len(lines) > len(shown):
            _out.print(
                f"[dim]… {len(lines) - len(shown)} more lines of {escape(file.path)}; --diff shows all[/dim]"
            )
    if source.others:
        _out.print(f"[dim]changed too, but no part of this key: {escape(', '.join(source.others))}[/dim]")
    for note in source.notes:
        _out.print(f"[yellow]{escape(note)}[/yellow]")


def _beside(before: str | None, after: str | None) -> tuple[str, str]:
    """Two previews; of those with many lines (the symbols of code), only the lines that differ."""
    old, new = (before or "").splitlines(), (after or "").splitlines()
    if len(old) <= 1 and len(new) <= 1:
        return before or "(not there)", after or "(not there)"
    was, now = _symbols(old), _symbols(new)
    names = [name for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name)]
    return (
        "\n".join(f"{name} {was.get(name, '(not there)')[:10]}" for name in names),
        "\n".join(f"{name} {now.get(name, '(not there)')[:10]}" for name in names),
    )


def _symbols(lines: list[str]) -> dict[str, str]:
    return {name: named for name, _, named in (line.rpartition(" ") for line in lines)}

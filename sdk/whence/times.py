"""What was true at a time, and what was known then: asked with times as people write them.

A time is an ISO date or date and time; without an offset it is of UTC. A date alone is the whole day: what was
true or known on it is asked of its end, and what began on it began at its beginning.
"""

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, TypeAlias

from whence import calls
from whence_catalog import model, replies
from whence_catalog.errors import ErrorKind, InvalidInput

if TYPE_CHECKING:
    from whence.client import Client

When: TypeAlias = datetime | date | str
# A position of the log, or a time.
Known: TypeAlias = int | When

_LAST = timedelta(days=1) - timedelta(microseconds=1)


def end(when: When) -> datetime:
    """The time that is meant by what was true, or known, then: of a day, its last moment.

    Raises:
        InvalidInput: it is no time.
    """
    day = _day(when)
    return _moment(when) if day is None else datetime.combine(day, time(), UTC) + _LAST


def beginning(when: When) -> datetime:
    """The time that is meant by what began then: of a day, its first moment.

    Raises:
        InvalidInput: it is no time.
    """
    day = _day(when)
    return _moment(when) if day is None else datetime.combine(day, time(), UTC)


def _day(when: When) -> date | None:
    if isinstance(when, datetime):
        return None
    if isinstance(when, date):
        return when
    if not re.fullmatch(r"\d{4}-?\d{2}-?\d{2}|\d{4}-?W\d{2}-?\d", when.strip()):
        return None
    try:
        return date.fromisoformat(when.strip())
    except ValueError as error:
        raise _no_time(when) from error


def _moment(when: When) -> datetime:
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when.strip())
        except ValueError as error:
            raise _no_time(when) from error
    assert isinstance(when, datetime)
    try:
        return when.replace(tzinfo=UTC) if when.utcoffset() is None else when.astimezone(UTC)
    except OverflowError as error:
        raise _no_time(when) from error


def _no_time(text: object) -> InvalidInput:
    return InvalidInput(
        f"not a time: {text!r}; write 2026-05-03, 2026-05-03T14:30 (of UTC) or 2026-05-03T14:30:00+02:00"
    )


def position(opened: "Client", known: Known | None) -> int | None:
    """The position of the log that is meant by what was known then; None stays None: what is known now.

    Of today, that is what is known by now.

    Raises:
        InvalidInput: it is no time, or one to come: what will be known then may still be said.
    """
    if known is None or isinstance(known, int):
        return known
    if isinstance(known, str) and known.strip().isdecimal():
        return int(known)
    try:
        began = beginning(known)
    except InvalidInput as error:
        raise InvalidInput(f"{error}; or a position of the log, as 1200") from error
    if began > datetime.now(UTC):
        raise InvalidInput(f"as of {known}: that is to come, and what will be known then may still be said")
    return opened.catalog.position_at(end(known))


def alias_at(opened: "Client", reference: str, at: When, as_of: Known | None) -> model.Alias | None:
    """What `kind:name@alias` meant at a time.

    Raises:
        InvalidInput: it names no alias.
    """
    named = model.Reference.parse(reference, opened.project)
    if named.alias is None:
        raise InvalidInput(
            f"{reference} names no alias; what an alias meant at a time is asked as {named.artifact}@prod",
            ErrorKind.BAD_REFERENCE,
        )
    return opened.catalog.alias_at(named.artifact, named.alias, end(at), position(opened, as_of))


def alias_history(
    opened: "Client", reference: model.Reference, as_of: Known | None, first: int
) -> tuple[model.Alias, ...]:
    """All that one alias of an Artifact meant, the newest first.

    Raises:
        NotFound: it has no such alias, or none was known then.
    """
    then = position(opened, as_of)
    moves = (alias for alias in aliases(opened, reference.artifact, then) if alias.name == reference.alias)
    found = tuple(itertools.islice(moves, first))
    if not found:
        # An alias that was ever known means something.
        calls.one(opened.catalog.versions([reference], then))
    return found


def aliases(opened: "Client", artifact: model.Artifact, as_of: int | None) -> Iterator[model.Alias]:
    """All that the aliases of an Artifact meant, the newest first."""
    after = None
    while True:
        page = calls.one(opened.catalog.aliases_of([model.Reference(artifact)], False, 100, after, as_of))
        yield from page.items
        after = page.end
        if after is None:
            return


def timeline(
    opened: "Client", reference: str, as_of: Known | None, first: int, after: str | None
) -> replies.EventPage:
    """All that happened to an Artifact or a Version."""
    subject = model.Reference.parse(reference, opened.project)
    return opened.catalog.timeline(subject, position(opened, as_of), first, after)


def deployments(
    opened: "Client",
    target: str | None,
    artifact: str | None,
    at: When | None,
    as_of: Known | None,
    first: int,
    after: str | None,
) -> replies.DeploymentPage:
    """What served where; of every project, or that of the Artifact."""
    named = None if artifact is None else opened.named(artifact)
    moment = None if at is None else end(at)
    then = position(opened, as_of)
    return opened.catalog.deployments(None, target, named, moment, then, first, after)


def standing_deployments(
    opened: "Client",
    target: str | None,
    artifact: str | None,
    as_of: Known | None,
    first: int,
    after: str | None,
) -> replies.DeploymentPage:
    """What serves where, and has not ended."""
    named = None if artifact is None else opened.named(artifact)
    then = position(opened, as_of)
    return opened.catalog.deployments(None, target, named, None, then, first, after, standing=True)

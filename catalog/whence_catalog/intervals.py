"""From when on something is true that is said now: the rule of aliases and deployments.

Two times are never mixed: since when something is true, and since when it is known. What is said is true from
the time of saying, unless it is said to have been true before: recorded late, or brought from elsewhere. What
one thing takes the place of ends when it begins. So the changes of one alias, or at one target, are true in
the order in which they became known: a change cannot be put before one that is already known.
"""

from datetime import datetime

from whence_catalog.errors import Conflict, ErrorKind, InvalidInput


def begin(claimed: datetime | None, recorded: datetime, before: datetime | None) -> datetime:
    """Since when it is true.

    Args:
        claimed: since when it is said to be; None: since it is said.
        recorded: when it is said, by the catalog's clock.
        before: since when the last change of the same is true; None: it is the first.

    Raises:
        InvalidInput: it is to be true only later.
        Conflict: it is to be true since before the last change.
    """
    if claimed is None:
        # A clock that was set back does not put it before what it takes the place of.
        return recorded if before is None else max(recorded, before)
    if claimed > recorded:
        raise InvalidInput(
            f"it is said to be true since {claimed.isoformat()}, which is to come: it is {recorded.isoformat()} by"
            " the catalog's clock; say it then"
        )
    if before is not None and claimed < before:
        raise Conflict(
            f"it is said to be true since {claimed.isoformat()}, but the last change of it is known to be of"
            f" {before.isoformat()}; what was before cannot be changed",
            ErrorKind.WRONG_STATE,
        )
    return claimed

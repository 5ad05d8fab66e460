"""Errors that a caller expects, as values of the answer. All others stand beside the data, with a code."""

import strawberry

from whence_catalog import errors
from whence_catalog.errors import WhenceError


@strawberry.interface(description="Why there is no answer, in words for people, and in a kind for programs.")
class Error:
    """Why there is no answer."""

    message: str = strawberry.field(description="What was found, what was expected, and what to do next.")
    kind: str = strawberry.field(
        description="What went wrong, such as `no-such-version`. Kinds never change."
    )


@strawberry.type(description="Nothing that you may read has that name or id.")
class NotFound(Error):
    """Nothing has that name or id."""


@strawberry.type(description="What was given cannot be meant.")
class InvalidInput(Error):
    """What was given cannot be meant."""


@strawberry.type(description="You may not.")
class Denied(Error):
    """The caller may not."""


@strawberry.type(
    description="It contradicts what is recorded, or somebody was first: look again, then decide."
)
class Conflict(Error):
    """It contradicts what is recorded."""


def of_question(error: WhenceError) -> NotFound | InvalidInput | Denied:
    """Why a question has no answer.

    Raises:
        WhenceError: nobody expects this one.
    """
    match error:
        case errors.NotFound():
            return NotFound(message=str(error), kind=error.kind.value)
        case errors.InvalidInput():
            return InvalidInput(message=str(error), kind=error.kind.value)
        case errors.Denied():
            return Denied(message=str(error), kind=error.kind.value)
        case _:
            raise error


def of_change(error: WhenceError) -> NotFound | Conflict | InvalidInput | Denied:
    """Why nothing was changed.

    Raises:
        WhenceError: nobody expects this one.
    """
    if isinstance(error, errors.Conflict):
        return Conflict(message=str(error), kind=error.kind.value)
    return of_question(error)

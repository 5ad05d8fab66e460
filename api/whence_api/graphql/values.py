"""Small values of GraphQL's own: scalars, and what has no name that it could be asked for by."""

import contextlib
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, NewType, TypeAlias, cast

import strawberry
from strawberry.scalars import JSON

from whence_catalog import digest, model, wire
from whence_catalog.errors import InvalidInput

BigInt = NewType("BigInt", int)
Digest = NewType("Digest", str)
# A position of the log, or a time that says its offset from UTC.
AsOf = NewType("AsOf", object)


def _as_of(given: object) -> int | datetime:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if isinstance(given, str):
        with contextlib.suppress(ValueError):
            return model.checked_moment(datetime.fromisoformat(given))
    raise InvalidInput(
        f"asOf is {str(given)[:40]!r}; expected a position of the log, or a time such as 2026-05-03T12:00:00Z"
    )


SCALARS: Mapping[object, Any] = {
    AsOf: strawberry.scalar(
        name="AsOf",
        description="What was known then: a position of the log, or a time (ISO 8601, with its offset from UTC),"
        " which stands for the last position at it.",
        parse_value=_as_of,
    ),
    BigInt: strawberry.scalar(
        name="BigInt", description="A whole number of up to 64 bits, as a JSON number.", parse_value=int
    ),
    Digest: strawberry.scalar(
        name="Digest",
        description="The SHA-256 of some content, as `sha256:` and 64 hexadecimal digits.",
        parse_value=str,
    ),
}


@strawberry.type(description="Who or what is responsible.")
class Actor:
    """Who or what is responsible."""

    name: str = strawberry.field(description="The name.")
    authenticated: bool = strawberry.field(description="Whether somebody checked that it is they.")


def actor(value: model.Actor) -> Actor:
    """An Actor as it is shown."""
    return Actor(name=value.name, authenticated=value.authenticated)


@strawberry.type(
    description="A measured value. A metric may be no number, or infinite, which JSON cannot say."
)
class Metric:
    """A measured value."""

    name: str = strawberry.field(description="What was measured.")
    value: float | None = strawberry.field(description="The value; null where it is not finite.")
    text: str = strawberry.field(description="The value as text: a number, NaN, Infinity or -Infinity.")


def metrics(values: Mapping[str, float]) -> list[Metric]:
    """Metrics as they are shown, by name."""
    return [
        Metric(name=name, value=value if math.isfinite(value) else None, text=_as_text(value))
        for name, value in sorted(values.items())
    ]


def _as_text(value: float) -> str:
    return repr(value) if math.isfinite(value) else cast("str", wire.plain(value))


def as_json(values: Mapping[str, digest.Framed]) -> JSON:
    """Named values as JSON; what it has not is written as text."""
    return JSON(wire.plain(values))


@strawberry.type(description="A free name and value.")
class Label:
    """A free name and value."""

    name: str = strawberry.field(description="Its name.")
    value: str = strawberry.field(description="Its value.")


@strawberry.input(description="A label, by its name.")
class LabelInput:
    """A label."""

    name: str = strawberry.field(description="Its name.")
    value: str = strawberry.field(description="Its value.")


@strawberry.type(description="The code that a Run ran, and whether it can be made again.")
class Code:
    """The code that a Run ran."""

    entry: str | None = strawberry.field(description="What was called, as `module:qualified.name`.")
    bundle: Digest | None = strawberry.field(description="The Manifest of its source.")
    python: str | None = strawberry.field(description="The version of Python.")
    environment: Digest | None = strawberry.field(description="The Blob of its Environment.")
    git: JSON = strawberry.field(description="What git said: remote, commit, whether anything was changed.")
    diff: Digest | None = strawberry.field(
        description="The Blob of a patch to that commit, which stands in where the source is too large."
    )
    source: model.Reached | None = strawberry.field(
        description="How it is reached; null where nothing was captured."
    )
    argv: list[str] = strawberry.field(description="The program's command line.")
    command: list[str] = strawberry.field(description="The command line of a Run that is a command.")
    cwd: str | None = strawberry.field(
        description="Its working folder, relative to the root of the source where it is inside."
    )
    search: list[str] = strawberry.field(
        description="The entries of `sys.path` that are the project's, in their order."
    )
    closure: JSON = strawberry.field(description="The values of its free variables, by name.")
    pod: JSON = strawberry.field(description="Facts of the Kubernetes pod that it ran in, by name.")
    rerunnable: bool = strawberry.field(description="Whether the Run can be made again.")
    because: str | None = strawberry.field(description="Why it cannot.")
    blind_spots: list[str] = strawberry.field(description="What of it could not be seen.")


def code(capture: model.Capture) -> Code:
    """A Capture as it is shown."""
    return Code(
        entry=capture.entry,
        bundle=None if capture.bundle is None else Digest(capture.bundle.text),
        python=capture.python,
        environment=None if capture.environment is None else Digest(capture.environment.text),
        git=JSON(dict(capture.git)),
        diff=None if capture.diff is None else Digest(capture.diff.text),
        source=capture.source,
        argv=list(capture.argv),
        command=list(capture.command),
        cwd=capture.cwd,
        search=list(capture.search),
        closure=as_json(capture.closure),
        pod=JSON(dict(capture.pod)),
        rerunnable=capture.rerunnable,
        because=capture.because,
        blind_spots=list(capture.blind_spots),
    )


def labels(found: Mapping[str, str]) -> list[Label]:
    """Labels as they are shown, by name."""
    return [Label(name=name, value=value) for name, value in sorted(found.items())]


RunStates: TypeAlias = Annotated[
    list[model.RunState] | None,
    strawberry.argument(description="That are in one of these states by now; null or none for any."),
]
AsOfArgument: TypeAlias = Annotated[
    AsOf | None,
    strawberry.argument(description="Answer with what was known then; null for all that is known now."),
]

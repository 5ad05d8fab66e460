"""whence: where a model came from, and how to make it again.

import whence
from whence import Dataset, Model

@whence.step
def train(images: Dataset, c: float = 1.0) -> Model: ...

with whence.run("train", params={"c": 1.0}) as run: ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, cast

from whence_catalog import later as _later

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from typing import Unpack
    from uuid import UUID

    from whence import block as _block
    from whence import connecting as _connecting
    from whence import handles as _handles
    from whence import recorder as _recorder
    from whence import values as _values
    from whence.changes import Why
    from whence.client import Client
    from whence.connecting import connect, current
    from whence.described import Bundle, Call, Image
    from whence.handles import Dataset, File, Handle, Metrics, Model, Report, Says
    from whence.locations import located
    from whence.recorder import Recorder
    from whence.split import (
        Completed,
        Completion,
        Execute,
        Reuse,
        Verify,
        Wait,
        beat,
        complete,
        complete_all,
        fail,
        held,
        open,
        open_all,
    )
    from whence.steps import step
    from whence.tickets import Ticket
    from whence.tracked import whole
    from whence.values import Pickled
    from whence_catalog.errors import (
        Conflict,
        Damaged,
        Denied,
        InvalidInput,
        NotFound,
        NotReady,
        Unreachable,
        WhenceError,
    )
    from whence_catalog.model import Alias
else:
    _block, _connecting, _handles, _recorder, _values = _later.modules(
        "whence", "block", "connecting", "handles", "recorder", "values"
    )
    __getattr__ = _later.names(
        globals(),
        {
            "whence.changes": ("Why",),
            "whence.client": ("Client",),
            "whence.connecting": ("connect", "current"),
            "whence.described": ("Bundle", "Call", "Image"),
            "whence.handles": ("Dataset", "File", "Handle", "Metrics", "Model", "Report", "Says"),
            "whence.locations": ("located",),
            "whence.recorder": ("Recorder",),
            "whence.split": (
                *("Completed", "Completion", "Execute", "Reuse", "Verify", "Wait"),
                *("beat", "complete", "complete_all", "fail", "held", "open", "open_all"),
            ),
            "whence.steps": ("step",),
            "whence.tickets": ("Ticket",),
            "whence.tracked": ("whole",),
            "whence.values": ("Pickled",),
            "whence_catalog.errors": (
                *("Conflict", "Damaged", "Denied", "InvalidInput", "NotFound", "NotReady", "Unreachable"),
                "WhenceError",
            ),
            "whence_catalog.model": ("Alias",),
        },
    )


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "Alias",
    "Bundle",
    "Call",
    "Client",
    "Completed",
    "Completion",
    "Conflict",
    "Damaged",
    "Dataset",
    "Denied",
    "Execute",
    "File",
    "Handle",
    "Image",
    "InvalidInput",
    "Metrics",
    "Model",
    "NotFound",
    "NotReady",
    "Pickled",
    "Recorder",
    "Report",
    "Reuse",
    "Says",
    "Ticket",
    "Unreachable",
    "Verify",
    "Wait",
    "WhenceError",
    "Why",
    "alias",
    "artifact",
    "attach",
    "beat",
    "complete",
    "complete_all",
    "connect",
    "current",
    "dataset",
    "fail",
    "file",
    "get",
    "held",
    "located",
    "log",
    "metrics",
    "model",
    "open",
    "open_all",
    "pickled",
    "publish",
    "report",
    "run",
    "step",
    "whole",
    "why",
]

_P = ParamSpec("_P")


def run(
    job: str,
    *,
    params: Mapping[str, object] | None = None,
    labels: Mapping[str, str] | None = None,
    retry_of: UUID | None = None,
) -> AbstractContextManager[_recorder.Recorder]:
    """A Run of `job`, for a `with` block: begun on entry, ended on exit, failed if the block raises."""
    return _connecting.current().run(job, params=params, labels=labels, retry_of=retry_of)


def attach() -> AbstractContextManager[_recorder.Recorder]:
    """A `with` block that adds to the Run of another process, named by WHENCE_RUN."""
    return _block.attach(_connecting.current())


def get(reference: str) -> Handle:
    """A handle of the Version that `reference` means, such as `dataset:images@latest`.

    Inside a Run it is an input of that Run; a step that takes one so is not cached, since the next call
    might find another Version: hand it in as an argument.
    """
    active = _recorder.current()
    return _connecting.current().get(reference) if active is None else active.use(reference)


def publish(reference: str, content: object, **says: Unpack[Says]) -> Handle:
    """Record content that no Run of ours made, such as data from outside; see `Says`."""
    return _connecting.current().publish(reference, content, **says)


def alias(reference: str, name: str, *, reason: str | None = None, expected: int | None = None) -> Alias:
    """Point an alias at the Version that `reference` means; `expected` is the number that it replaces."""
    return _connecting.current().alias(reference, name, reason=reason, expected=expected)


def why(step: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> Why:
    """What a step would be answered if it was called so now, and why. Nothing is recorded, and nothing executed."""
    return _connecting.current().explain_call(step, *args, **kwargs)


def log(step: int | None = None, **series: float) -> None:
    """Append points to the metric series of the Run that this code is part of; nothing outside of one."""
    active = _recorder.current()
    if active is not None:
        active.log(step, **series)


def pickled(value: object) -> Pickled:
    """Keep a value as a pickle. Reading one runs code: prefer a file, a table or plain values."""
    return _values.Pickled(value)


def artifact(kind: str, name: str, content: object, **says: Unpack[Says]) -> Handle:
    """A draft of any kind, to return from a step or to hand to one; see `whence.model` and its like.

    Args:
        kind: `dataset`, `model`, `metrics`, `report`, `file`, or one of your own.
        name: of the artifact.
        content: a path to a file or a folder, bytes, a table, an array, a plain value.
        says: `metrics`, `metadata`, `description`, `derived_from`; see `Says`.
    """
    return _handles.draft(kind, name, content, **says)


def dataset(name: str, content: object, **says: Unpack[Says]) -> Dataset:
    """A draft dataset; see `whence.artifact`."""
    return cast("Dataset", _handles.draft("dataset", name, content, **says))


def model(name: str, content: object, **says: Unpack[Says]) -> Model:
    """A draft model; see `whence.artifact`."""
    return cast("Model", _handles.draft("model", name, content, **says))


def metrics(name: str, values: Mapping[str, float], *, description: str | None = None) -> Metrics:
    """Draft numbers: kept as JSON, and found by."""
    numbers = dict(values)
    return cast("Metrics", _handles.draft("metrics", name, numbers, metrics=numbers, description=description))


def report(name: str, content: object, **says: Unpack[Says]) -> Report:
    """A draft of something for people to read; see `whence.artifact`."""
    return cast("Report", _handles.draft("report", name, content, **says))


def file(name: str, content: object, **says: Unpack[Says]) -> File:
    """A draft of any other bytes; see `whence.artifact`."""
    return cast("File", _handles.draft("file", name, content, **says))

"""The `with` form: a Run of a block of code, or a part in the Run of another process.

`with whence.run("train") as run:` begins one on entry and ends it on exit. `with whence.attach() as run:`
adds to the one that WHENCE_RUN names; its owner ends it.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import UUID

from whence import calls, parameters, reads, recorder, secrecy
from whence_catalog import cache, later, model
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound, Unreachable

if TYPE_CHECKING:
    from whence import bundle, capture, origins
    from whence.client import Client
else:
    bundle, capture, origins = later.modules("whence", "bundle", "capture", "origins")


@contextlib.contextmanager
def begin(
    client: "Client",
    job: str,
    params: Mapping[str, object],
    labels: Mapping[str, str],
    retry_of: UUID | None,
) -> Iterator[recorder.Recorder]:
    """A block that records a Run of `job`: failed or aborted if it raises.

    Raises:
        InvalidInput: a parameter has no canonical form.
    """
    canonical = parameters.Canonical(Path.cwd())
    call = model.Call(
        run=calls.new_uid(),
        project=client.project,
        job=job,
        actor=client.actor,
        params={
            name: parameters.keep(
                secrecy.without(canonical.of(value, name), name, secrecy.known()), client.blobs
            )
            for name, value in params.items()
        },
        parent=recorder.current_uid(),
        retry_of=retry_of,
        labels=dict(labels),
        capture=_captured(client),
        claimed_at=datetime.now(UTC),
    )
    answer = cast("cache.Execute", client.writer.reserve(call))
    begun = recorder.Recorder(client, cast("model.Run", answer.run))
    begun.begin()
    with begun.recorded():
        with recorder.running(begun), _watched(client, begun):
            yield begun
        if begun.is_own:
            begun.end(model.RunState.COMPLETE)


def _captured(client: "Client") -> model.Capture:
    """The program that the block stands in, by the file that says `with`."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_globals.get("__name__") == "contextlib" or bundle.is_own(frame.f_code.co_filename)
    ):
        frame = frame.f_back
    file = frame.f_code.co_filename
    at = file if os.path.isfile(file) else None
    return capture.capture_block(client, at, origins.root_of(at))


@contextlib.contextmanager
def _watched(client: "Client", begun: recorder.Recorder) -> Iterator[None]:
    """Note what the block touches, unless WHENCE_READS says `off`: it has no key that could be kept from it."""
    off = reads.default() is model.Watching.OFF
    watching = model.Watching.OFF if off else model.Watching.NOTE
    watch = None
    try:
        with reads.watched(watching, reads.cover(client, Path.cwd())) as watch:
            yield
    finally:
        if watch is not None:
            begun.saw(watch.seen(begun.lent))


@contextlib.contextmanager
def attach(client: "Client") -> Iterator[recorder.Recorder]:
    """A block that adds to the Run that WHENCE_RUN names.

    Raises:
        InvalidInput: it names none.
        NotFound: no such Run is recorded.
        Conflict: it has ended.
    """
    named = os.environ.get(recorder.RUN_VARIABLE)
    if not named:
        raise InvalidInput(
            f"{recorder.RUN_VARIABLE} names no run; start this process with env=run.env of the owner"
        )
    run = _running(client, named)
    attached = recorder.Recorder(client, run)
    try:
        with recorder.running(attached):
            yield attached
    finally:
        attached.detach()


def _running(client: "Client", named: str) -> model.Run:
    """The Run of that id, while it runs; believed to, where nobody answers or its start is in an outbox."""
    if not client.writer.is_silent:
        try:
            run = client.catalog.run(named).run
        except Unreachable:
            pass
        except NotFound:
            if not client.writer.holds(named):
                raise
        else:
            if run.state is model.RunState.RUNNING:
                return run
            raise Conflict(
                f"run {run.uid} is already {run.state}; nothing can be added to it", ErrorKind.WRONG_STATE
            )
    try:
        uid = UUID(named)
    except ValueError as error:
        raise InvalidInput(f"{recorder.RUN_VARIABLE} is {named!r}; it is the id of a run, in full") from error
    client.writer.expect(uid)
    now = datetime.now(UTC)
    return model.Run(uid, client.project, "", model.RunState.RUNNING, client.actor, now)

"""Pipelines that run in this process, over a real client: real keys, entries and bytes; steps that are arithmetic.

What a step makes follows from its job, its parameter and the contents that it took, so that whoever knows these knows
what is right, without asking a catalog.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from whence import calls, handing, recorder, replay
from whence.client import Client
from whence_catalog import cache, digest, model
from whence_catalog.errors import Conflict, ErrorKind

# What a call is: the job, its parameter, and the contents that it takes, by role.
Called = tuple[str, int, tuple[bytes, ...]]

CAPTURE = model.Capture(
    entry="pipeline:step",
    bundle=digest.digest_of_bytes(b"source"),
    environment=digest.digest_of_bytes(b"environment"),
    rerunnable=True,
    because=None,
)


def made_of(called: Called, coarse: bool) -> bytes:
    """What the step makes. A `coarse` one makes one of two things, so that changes often end there."""
    job, c, taken = called
    hashed = hashlib.sha256(repr((c, taken)).encode()).hexdigest()
    return f"{job} {int(hashed, 16) % 2 if coarse else hashed}".encode()


@dataclass
class Arithmetic:
    """`due.Maker`: makes Runs again in this process, and keeps what it was asked to make.

    `wrong` are jobs that raise when they are made; `before` is called before each. Some jobs have `captures` of their own.
    """

    coarse: frozenset[str] = frozenset()
    executed: list[Called] = field(default_factory=list)
    wrong: frozenset[str] = frozenset()
    before: Callable[[str], None] = lambda job: None
    captures: Mapping[str, model.Capture] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(
        self,
        client: Client,
        record: model.RunRecord,
        inputs: Mapping[replay.Place, model.Output],
        params: Mapping[str, digest.Framed],
        *,
        capture: model.Capture | None,
        keyed: handing.Keyed | None,
        parent: UUID,
        progress: Callable[[str], None],
    ) -> replay.Executed:
        taken = []
        for used in record.inputs:
            instead = inputs.get((used.role, used.ordinal))
            version = used.version if instead is None else instead.version
            taken.append(
                (
                    used.role,
                    model.Source(
                        version.artifact, version.digest, used.producer if instead is None else instead.run
                    ),
                )
            )
        c = params.get("c", record.run.params["c"])
        assert isinstance(c, int)
        return self.call(client, record.run.job, c, taken, keyed, parent, record.run.uid)

    def call(
        self,
        client: Client,
        job: str,
        c: int,
        taken: Sequence[tuple[str, model.Source]],
        keyed: handing.Keyed | None,
        parent: UUID | None = None,
        rerun_of: UUID | None = None,
        retry_of: UUID | None = None,
    ) -> replay.Executed:
        """An ordinary call: asked for under its key, executed if need be, published."""
        uid = calls.new_uid()
        call = model.Call(
            run=uid,
            project=client.project,
            job=job,
            actor=client.actor,
            mode=model.Mode.RECORD if keyed is None else model.Mode.REUSE,
            params={"c": c},
            inputs=tuple(model.InputClaim(role, source) for role, source in taken),
            key=None if keyed is None else keyed.key,
            components=() if keyed is None else keyed.components,
            parent=parent,
            rerun_of=rerun_of,
            retry_of=retry_of,
            capture=self.captures.get(job, CAPTURE),
            owner=recorder.owner_of(uid),
            claimed_at=datetime.now(UTC),
            presence_age=timedelta(0),
        )
        while isinstance(answer := client.writer.reserve(call), cache.Wait | cache.Verify):
            if isinstance(answer, cache.Verify):
                present, missing, altered = client.look(answer.unknown, answer.trees)
                call = replace(call, present=present, missing=missing, altered=altered)
        assert answer.run is not None
        if isinstance(answer, cache.Reuse):
            return replay.Executed(answer.run, answer.outputs, reused=True)
        called = job, c, tuple(client.blobs.read_bytes(source.digest) for _, source in taken)
        self.before(job)
        with self._guard:
            self.executed.append(called)
        report = model.Report(
            calls.new_uid(), uid, model.RunState.COMPLETE, client.actor, token=answer.token, owner=call.owner
        )
        if job in self.wrong:
            client.writer.finish(replace(report, state=model.RunState.FAILED, error="it is wrong"))
            raise Conflict(f"{job} is wrong", ErrorKind.NOT_RERUNNABLE)
        content = made_of(called, job in self.coarse)
        named = client.blobs.put_bytes(content)
        claim = model.OutputClaim(
            "out", model.Artifact(client.project, "file", job), model.Content(named, size_bytes=len(content))
        )
        return replay.Executed(answer.run, client.writer.finish(replace(report, outputs=(claim,))))


def keyed(client: Client, job: str, c: int, taken: Sequence[tuple[str, model.Source]]) -> handing.Keyed:
    """The key of an ordinary call, made as the SDK makes one."""
    components = (
        cache.component("scope", client.project),
        cache.component("job", job),
        cache.component("params", c, "params/c"),
        *(
            cache.component("inputs", [["content", source.digest.raw]], f"inputs/{role}")
            for role, source in taken
        ),
    )
    return handing.Keyed(cache.key(components), components)

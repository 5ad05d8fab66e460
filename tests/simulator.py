"""A small world that talks to a real Catalog: builds histories in a line or two."""

import itertools
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from whence_catalog import cache, catalog, digest, model, replies, traces
from whence_catalog.errors import WhenceError

ACTOR = model.Actor("tester", authenticated=False)

# A read that never ends.
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT (i + 1) % 7 FROM n) SELECT count(*) FROM n"


def digest_of(content: bytes) -> digest.Digest:
    return digest.digest_of_bytes(content)


def artifact(text: str) -> model.Artifact:
    return model.Reference.parse(text).artifact


_counter = itertools.count()


def uid() -> uuid.UUID:
    """A UUIDv7 whose order is the order of calls, even within a millisecond."""
    millis, count = time.time_ns() // 1_000_000, next(_counter) & 0xFFF
    tail = int.from_bytes(os.urandom(7))
    return uuid.UUID(int=millis << 80 | 0x7 << 76 | count << 64 | 0b10 << 62 | tail)


@dataclass
class World:
    """Calls, reports and what came of them, against `catalog`."""

    catalog: catalog.Catalog
    project: str = "default"
    produced: dict[str, model.Output] = field(default_factory=dict)

    def components(
        self, job: str, c: object = 1.0, inputs: Sequence[model.InputClaim] = ()
    ) -> tuple[model.Component, ...]:
        taken: list[digest.Framed] = [["content", claim.source.digest.raw] for claim in inputs]
        return (
            cache.component("scope", self.project, preview=self.project),
            cache.component("job", job, preview=job),
            cache.component("params", c, "params/c", preview=repr(c)),  # type: ignore[arg-type]
            cache.component("inputs", taken, "inputs/all", preview=str(len(taken))),
        )

    def call(
        self, job: str = "train", c: object = 1.0, inputs: Sequence[model.InputClaim] = (), **fields: object
    ) -> model.Call:
        run = uid()
        components = self.components(job, c, inputs)
        call = model.Call(
            run=run,
            project=self.project,
            job=job,
            actor=ACTOR,
            mode=model.Mode.REUSE,
            params={"c": c},  # type: ignore[dict-item]
            inputs=tuple(inputs),
            key=cache.key(components),
            components=components,
            owner=f"owner of {run}",
        )
        return replace(call, **fields)  # type: ignore[arg-type]

    def tracking_call(self, job: str, state: digest.Framed, **fields: object) -> model.Call:
        """A call of a step that is handed `state`, and tracks it."""
        components = (*self.components(job), cache.component("params", state, "params/state"))
        base = cache.key(cache.base(components, ["state"]))
        return self.call(job, key=cache.key(components), components=components, base=base, **fields)

    def read(self, call: model.Call, state: digest.Framed, *keys: str) -> traces.Trace:
        """The trace of such a call that looked at these keys of its state, and at nothing else."""
        seen = [
            traces.Observation(
                "state", (key,), traces.Question.GET, traces.answer(state, (key,), traces.Question.GET)
            )
            for key in keys
        ]
        return cache.trace_of(call.components, ["state"], seen)

    def as_traced(self, call: model.Call, trace: traces.Trace) -> model.Call:
        """The same call, asked as who found that the trace matches asks it."""
        components = cache.traced(call.components, trace)
        return replace(call, run=uid(), key=trace.key, components=components)

    def plain_call(
        self, job: str = "note", inputs: Sequence[model.InputClaim] = (), **fields: object
    ) -> model.Call:
        """A call that neither looks up nor publishes."""
        call = model.Call(uid(), self.project, job, ACTOR, inputs=tuple(inputs))
        return replace(call, **fields)  # type: ignore[arg-type]

    def ask(self, call: model.Call) -> cache.Answer:
        return one(self.catalog.reserve([call]))

    def begin(self, call: model.Call) -> cache.Execute:
        answer = self.ask(call)
        assert isinstance(answer, cache.Execute), answer
        return answer

    def report(
        self,
        call: model.Call,
        outputs: Mapping[str, bytes] | None = None,
        token: int | None = None,
        state: model.RunState = model.RunState.COMPLETE,
        **fields: object,
    ) -> model.Report:
        claims = tuple(claim(name, content) for name, content in (outputs or {}).items())
        report = model.Report(uid(), call.run, state, ACTOR, outputs=claims, token=token, owner=call.owner)
        return replace(report, **fields)  # type: ignore[arg-type]

    def finish(self, report: model.Report) -> replies.Finished:
        finished = one(self.catalog.finish_runs([report]))
        for output in finished.outputs:
            self.produced[output.role] = output
        return finished

    def run(
        self,
        job: str = "train",
        outputs: Mapping[str, bytes] | None = None,
        c: object = 1.0,
        inputs: Sequence[model.InputClaim] = (),
        **fields: object,
    ) -> replies.Finished:
        """A whole run of a step that executes: asked, begun, finished, published."""
        call = self.call(job, c, inputs, **fields)
        begun = self.begin(call)
        return self.finish(self.report(call, outputs, begun.token))

    def note(
        self, job: str, outputs: Mapping[str, bytes] | None = None, inputs: Sequence[model.InputClaim] = ()
    ) -> replies.Finished:
        """A whole run without a key, in one fact."""
        call = self.plain_call(job, inputs)
        report = self.report(call, outputs)
        return one(self.catalog.record_runs([(call, report)]))


def claim(name: str, content: bytes, **fields: object) -> model.OutputClaim:
    """An output whose role is its artifact's text form."""
    made = model.OutputClaim(name, artifact(name), model.Content(digest_of(content), size_bytes=len(content)))
    return replace(made, **fields)  # type: ignore[arg-type]


def taken(
    output: model.Output, role: str | None = None, *, producer: bool = True, ordinal: int = 0
) -> model.InputClaim:
    """An input that takes that production; without `producer`, its run is not said."""
    source = model.Source(output.version.artifact, output.version.digest, output.run if producer else None)
    return model.InputClaim(role or output.role, source, ordinal)


def one(results: Sequence[object]):  # type: ignore[no-untyped-def]
    (result,) = results
    if isinstance(result, WhenceError):
        raise result
    return result


NEVER_FRESH = timedelta(0)

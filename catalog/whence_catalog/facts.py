"""The canonical bytes of each acknowledged verb, and what of them can be redacted.

A fact is frame(M) of {v, verb, uid, at, actor, body}. Absent fields are left out. What may have to go
one day (labels, free text, previews) stands in it as a salted commitment; salt and value are kept
beside it, and can be erased without breaking the log.

Writing and reading stand side by side, so that the projections can be rebuilt from the facts alone.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias, cast
from uuid import UUID

from whence_catalog import digest, model, traces
from whence_catalog.errors import Damaged, ErrorKind

Body: TypeAlias = dict[str, digest.Framed]

# Closed: it only grows.
VERBS = frozenset(
    {"start", "finish", "record", "reuse", "add", "log", "alias", "presume"}
    | {"quarantine", "release", "approve", "hold", "deploy", "withdraw", "label"}
)

# What the path of each label's commitment begins with.
LABELS = "labels/"
COMMITMENT_DOMAIN = "whence.commitment/1"


@dataclass(slots=True)
class Redactor:
    """Turns redactable values into commitments, and keeps what opens them.

    `salt` gives 16 random bytes for a path; `fixed` are commitments to repeat where the salt is gone.
    """

    salt: Callable[[str], bytes]
    fixed: Mapping[str, digest.Framed] = field(default_factory=dict)
    opened: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    def commit(self, path: str, value: str) -> digest.Framed:
        """The commitment to `value`, unique to this fact; `opened` gains (path, salt, framed value)."""
        if path in self.fixed:
            return self.fixed[path]
        salt = self.salt(path)
        self.opened.append((path, salt, digest.frame(value)))
        return digest.Record("whence.commitment", digest.raw_digest_of(COMMITMENT_DOMAIN, salt, value))


@dataclass(frozen=True, slots=True)
class Fact:
    """One decoded fact."""

    verb: str
    uid: UUID
    at: datetime
    actor: model.Actor
    body: Body


def encode(verb: str, uid: UUID, at: datetime, actor: model.Actor, body: Body) -> bytes:
    """The canonical bytes."""
    if verb not in VERBS:
        raise ValueError(f"not a verb: {verb!r}")
    return digest.frame(
        {
            "v": 1,
            "verb": verb,
            "uid": uid.bytes,
            "at": model.microseconds(at),
            "actor": {"name": actor.name, "authenticated": actor.authenticated},
            "body": body,
        }
    )


def decode(data: bytes) -> Fact:
    """The fact whose bytes are `data`.

    Raises:
        Damaged: where they are not the canonical bytes of a fact.
    """
    try:
        outer = cast("Mapping[str, digest.Framed]", digest.unframe(data))
        actor = cast("Mapping[str, digest.Framed]", outer["actor"])
        return Fact(
            verb=cast("str", outer["verb"]),
            uid=UUID(bytes=cast("bytes", outer["uid"])),
            at=model.moment(cast("int", outer["at"])),
            actor=model.Actor(cast("str", actor["name"]), cast("bool", actor["authenticated"])),
            body=cast("Body", outer["body"]),
        )
    except Exception as error:
        raise Damaged(f"a fact cannot be read: {error}", ErrorKind.FACT_ALTERED) from error


def leaf(data: bytes) -> bytes:
    """The Merkle leaf of a fact (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def commitments(framed: digest.Framed, path: str = "") -> dict[str, digest.Framed]:
    """Every commitment inside a body, by path; the two halves of a `record` have paths of their own."""
    if isinstance(framed, digest.Record):
        return {path: framed} if framed.name == "whence.commitment" else {}
    if isinstance(framed, Mapping):
        pairs = [(str(name), item) for name, item in framed.items() if isinstance(name, str)]
    elif isinstance(framed, list):
        pairs = [(str(place), item) for place, item in enumerate(framed)]
    else:
        return {}
    found: dict[str, digest.Framed] = {}
    for name, item in pairs:
        is_half = not path and name in ("start", "finish")
        found |= commitments(item, "" if is_half else f"{path}/{name}" if path else name)
    return found


# ── what each verb says ──────────────────────────────────────────────────────────────────────────


def present(**fields: digest.Framed) -> Body:
    """A body of those of these fields that say something."""
    # Most say something, and what is true does: so the rest is asked of few.
    return {
        name: value
        for name, value in fields.items()
        if value or (value is not None and value not in ([], {}))
    }


def _uid(uid: UUID | None) -> bytes | None:
    return None if uid is None else uid.bytes


def time(moment: datetime | None) -> int | None:
    """How a time stands in a body."""
    return None if moment is None else model.microseconds(moment)


def _raw(named: digest.Digest | None) -> bytes | None:
    return None if named is None else named.raw


def _source(source: model.Source) -> Body:
    named = source.artifact
    said: Body = {
        "project": named.project,
        "kind": named.kind,
        "name": named.name,
        "digest": source.digest.raw,
    }
    if source.producer is not None:
        said["producer"] = source.producer.bytes
    return said


def _inputs(claims: Sequence[model.InputClaim]) -> list[digest.Framed]:
    return [{"role": c.role, "ordinal": c.ordinal, **_source(c.source)} for c in claims]


def _outputs(claims: Sequence[model.OutputClaim], redactor: Redactor) -> list[digest.Framed]:
    return [_output(claim, redactor, f"outputs/{place}") for place, claim in enumerate(claims)]


def _output(claim: model.OutputClaim, redactor: Redactor, path: str) -> Body:
    described = claim.description
    derived = claim.derived_from
    body = present(
        role=claim.role,
        project=claim.artifact.project,
        kind=claim.artifact.kind,
        name=claim.artifact.name,
        digest=claim.content.digest.raw,
        strength=claim.content.strength.value,
        form=claim.content.form.value,
        size=claim.content.size_bytes,
        filename=claim.filename,
        format=claim.format,
        location=claim.location,
        metadata=dict(claim.metadata),
        metrics=model.floats(claim.metrics),
        description=None if described is None else redactor.commit(f"{path}/description", described),
    )
    if derived is not None:  # derived from nothing is a statement; not saying is none
        body["derived_from"] = [_source(source) for source in derived]
    return body


def _components(components: Sequence[model.Component], redactor: Redactor) -> list[digest.Framed]:
    rows: list[digest.Framed] = []
    for place, part in enumerate(components):
        row: Body = {"name": part.name, "kind": part.kind, "digest": part.digest}
        if part.ignored:
            row["ignored"] = True
        if part.preview is not None:
            row["preview"] = redactor.commit(f"components/{place}/preview", part.preview)
        rows.append(row)
    return rows


def capture(seen: model.Capture) -> Body:
    """How a Capture stands in a body."""
    return present(
        entry=seen.entry,
        bundle=_raw(seen.bundle),
        environment=_raw(seen.environment),
        python=seen.python,
        git=dict(seen.git),
        argv=list(seen.argv),
        rerunnable=seen.rerunnable,
        because=seen.because,
        blind_spots=list(seen.blind_spots),
        source=None if seen.source is None else seen.source.value,
        cwd=seen.cwd,
        search=list(seen.search),
        command=list(seen.command),
        closure=dict(seen.closure),
        diff=_raw(seen.diff),
        pod=dict(seen.pod),
        places=dict(seen.places),
        code=list(seen.code),
    )


def observed(seen: model.Observed) -> Body:
    """How an Observed stands in a body."""
    return present(
        watching=seen.watching.value,
        files=list(seen.files),
        sockets=list(seen.sockets),
        subprocesses=list(seen.subprocesses),
        variables=list(seen.variables),
        more=dict(seen.more),
        blind_spots=list(seen.blind_spots),
        covered=seen.covered,
        holes=list(seen.holes),
    )


def read_observed(body: Body) -> model.Observed:
    """The Observed that a body holds."""

    def texts(name: str) -> tuple[str, ...]:
        return tuple(cast("Sequence[str]", body.get(name, [])))

    return model.Observed(
        watching=model.Watching(cast("str", body["watching"])),
        files=texts("files"),
        sockets=texts("sockets"),
        subprocesses=texts("subprocesses"),
        variables=texts("variables"),
        more=cast("Mapping[str, int]", body.get("more", {})),
        blind_spots=texts("blind_spots"),
        covered=cast("bool | None", body.get("covered")),
        holes=texts("holes"),
    )


def trace(read: traces.Trace) -> Body:
    """How a Trace stands in a body."""
    return present(
        base=read.base,
        key=read.key,
        arguments=list(read.arguments),
        observations=observations(read.observations),
    )


def read_trace(body: Body) -> traces.Trace:
    """The Trace that a body holds."""
    return traces.Trace(
        cast("str", body["base"]),
        cast("str", body["key"]),
        tuple(cast("Sequence[str]", body.get("arguments", []))),
        read_observations(body.get("observations", [])),
    )


def observations(seen: Sequence[traces.Observation]) -> list[digest.Framed]:
    """How observations stand in a body."""
    return [[each.argument, list(each.path), each.question.value, each.answer] for each in seen]


def read_observations(framed: digest.Framed) -> tuple[traces.Observation, ...]:
    """The observations that a body holds."""
    rows = cast("Sequence[tuple[str, Sequence[digest.Framed], str, bytes]]", framed)
    return tuple(
        traces.Observation(argument, tuple(path), traces.Question(question), answer)
        for argument, path, question, answer in rows
    )


def start(call: model.Call, redactor: Redactor) -> Body:
    """What `start` says: all of the call that is not advice for the decision."""
    return present(
        run=call.run.bytes,
        project=call.project,
        job=call.job,
        mode=call.mode.value,
        params=dict(call.params),
        inputs=_inputs(call.inputs),
        key=call.key,
        components=_components(call.components, redactor),
        uncacheable=list(call.uncacheable),
        parent=_uid(call.parent),
        retry_of=_uid(call.retry_of),
        rerun_of=_uid(call.rerun_of),
        labels={name: redactor.commit(LABELS + name, text) for name, text in call.labels.items()},
        capture=capture(call.capture),
        trusted=list(call.trusted),
        reason=call.reason,
        claimed_at=time(call.claimed_at),
    )


def read_start(body: Body) -> model.Call:
    """The call that a `start` or `reuse` body says; redactable values are left out."""
    return model.Call(
        run=UUID(bytes=cast("bytes", body["run"])),
        project=cast("str", body["project"]),
        job=cast("str", body["job"]),
        actor=model.Actor(""),
        mode=model.Mode(cast("str", body["mode"])),
        params=cast("Body", body.get("params", {})),
        inputs=_read_inputs(body),
        key=cast("str | None", body.get("key")),
        components=tuple(
            model.Component(
                cast("str", row["name"]),
                cast("str", row["kind"]),
                cast("bytes", row["digest"]),
                None,
                bool(row.get("ignored", False)),
            )
            for row in cast("Sequence[Body]", body.get("components", []))
        ),
        uncacheable=tuple(cast("Sequence[str]", body.get("uncacheable", []))),
        parent=_read_uid(body.get("parent")),
        retry_of=_read_uid(body.get("retry_of")),
        rerun_of=_read_uid(body.get("rerun_of")),
        capture=read_capture(cast("Body", body.get("capture", {}))),
        trusted=tuple(cast("Sequence[str]", body.get("trusted", []))),
        reason=cast("str | None", body.get("reason")),
        claimed_at=read_time(body.get("claimed_at")),
    )


def read_capture(body: Body) -> model.Capture:
    """The Capture that a body holds."""
    source = cast("str | None", body.get("source"))
    return model.Capture(
        entry=cast("str | None", body.get("entry")),
        bundle=read_digest(body.get("bundle")),
        environment=read_digest(body.get("environment")),
        python=cast("str | None", body.get("python")),
        git=cast("Mapping[str, str]", body.get("git", {})),
        argv=tuple(cast("Sequence[str]", body.get("argv", []))),
        rerunnable=bool(body.get("rerunnable", False)),
        because=cast("str | None", body.get("because")),
        blind_spots=tuple(cast("Sequence[str]", body.get("blind_spots", []))),
        source=None if source is None else model.Reached(source),
        cwd=cast("str | None", body.get("cwd")),
        search=tuple(cast("Sequence[str]", body.get("search", []))),
        command=tuple(cast("Sequence[str]", body.get("command", []))),
        closure=cast("Body", body.get("closure", {})),
        diff=read_digest(body.get("diff")),
        pod=cast("Mapping[str, str]", body.get("pod", {})),
        places=cast("Mapping[str, str]", body.get("places", {})),
        code=tuple(cast("Sequence[str]", body.get("code", []))),
    )


def _read_uid(framed: digest.Framed) -> UUID | None:
    return None if framed is None else UUID(bytes=cast("bytes", framed))


def read_time(framed: digest.Framed) -> datetime | None:
    """The time that stands in a body."""
    return None if framed is None else model.moment(cast("int", framed))


def read_digest(framed: digest.Framed) -> digest.Digest | None:
    """The digest that stands in a body."""
    return None if framed is None else digest.Digest.of(cast("bytes", framed))


def read_artifact(body: Body) -> model.Artifact:
    """The Artifact that a body names."""
    return model.Artifact(cast("str", body["project"]), cast("str", body["kind"]), cast("str", body["name"]))


def _read_source(body: Body) -> model.Source:
    raw = cast("bytes", body["digest"])
    return model.Source(read_artifact(body), digest.Digest.of(raw), _read_uid(body.get("producer")))


def _read_inputs(body: Body) -> tuple[model.InputClaim, ...]:
    rows = cast("Sequence[Body]", body.get("inputs", []))
    return tuple(
        model.InputClaim(cast("str", row["role"]), _read_source(row), cast("int", row["ordinal"]))
        for row in rows
    )


def _read_outputs(body: Body) -> tuple[model.OutputClaim, ...]:
    return tuple(_read_output(row) for row in cast("Sequence[Body]", body.get("outputs", [])))


def _read_output(row: Body) -> model.OutputClaim:
    derived = cast("Sequence[Body] | None", row.get("derived_from"))
    return model.OutputClaim(
        role=cast("str", row["role"]),
        artifact=read_artifact(row),
        content=model.Content(
            digest.Digest.of(cast("bytes", row["digest"])),
            model.Strength(cast("str", row["strength"])),
            model.Form(cast("str", row["form"])),
            cast("int | None", row.get("size")),
        ),
        filename=cast("str | None", row.get("filename")),
        format=cast("str | None", row.get("format")),
        location=cast("str | None", row.get("location")),
        metadata=cast("Body", row.get("metadata", {})),
        metrics=cast("Mapping[str, float]", row.get("metrics", {})),
        derived_from=None if derived is None else tuple(_read_source(source) for source in derived),
    )


def finish(report: model.Report, outcome: model.Publication, redactor: Redactor) -> Body:
    """What `finish` says. What it did to the cache is part of it: leases, which decided that, are no facts."""
    return present(
        run=report.run.bytes,
        state=report.state.value,
        inputs=_inputs(report.inputs),
        outputs=_outputs(report.outputs, redactor),
        metrics=model.floats(report.metrics),
        warnings=list(report.warnings),
        error=None if report.error is None else redactor.commit("error", report.error),
        uncacheable=list(report.uncacheable),
        trust=None if report.trust is None else redactor.commit("trust", report.trust),
        outcome=outcome.outcome.value,
        outcome_why=outcome.why,
        divergence=outcome.is_divergence or None,
        observed=None if report.observed is None else observed(report.observed),
        trace=None if report.trace is None else trace(report.trace),
        claimed_at=time(report.claimed_at),
    )


def read_finish(uid: UUID, body: Body) -> tuple[model.Report, model.Publication]:
    """The report and the cache's outcome that a `finish` body says; redactable values are left out."""
    report = model.Report(
        uid=uid,
        run=UUID(bytes=cast("bytes", body["run"])),
        state=model.RunState(cast("str", body["state"])),
        actor=model.Actor(""),
        inputs=_read_inputs(body),
        outputs=_read_outputs(body),
        metrics=cast("Mapping[str, float]", body.get("metrics", {})),
        warnings=tuple(cast("Sequence[str]", body.get("warnings", []))),
        uncacheable=tuple(cast("Sequence[str]", body.get("uncacheable", []))),
        observed=read_observed(cast("Body", body["observed"])) if "observed" in body else None,
        trace=read_trace(cast("Body", body["trace"])) if "trace" in body else None,
        claimed_at=read_time(body.get("claimed_at")),
    )
    outcome = model.Publication(
        model.Outcome(cast("str", body["outcome"])),
        cast("str | None", body.get("outcome_why")),
        bool(body.get("divergence", False)),
    )
    return report, outcome


def reuse(call: model.Call, origin: UUID, redactor: Redactor) -> Body:
    """What `reuse` says: the call, and the Run whose outputs it was handed.

    The components are the origin's, since the keys are equal; only the origin holds them.
    """
    body = start(replace(call, components=(), reason=None), redactor)
    body.pop("capture", None)
    body["origin"] = origin.bytes
    return body


def read_origin(body: Body) -> UUID:
    """The origin that a `reuse` body names."""
    return UUID(bytes=cast("bytes", body["origin"]))


def add(addition: model.Addition, redactor: Redactor) -> Body:
    """What `add` says."""
    return present(
        run=addition.run.bytes,
        inputs=_inputs(addition.inputs),
        outputs=_outputs(addition.outputs, redactor),
    )


def read_add(uid: UUID, body: Body) -> model.Addition:
    """The addition that an `add` body says."""
    run = UUID(bytes=cast("bytes", body["run"]))
    return model.Addition(uid, run, model.Actor(""), _read_inputs(body), _read_outputs(body))


def log(series: model.Series) -> Body:
    """What `log` says: the points of one flush."""
    points: Body = {
        name: [[step, float(value)] for step, value in rows] for name, rows in series.points.items()
    }
    return {"run": series.run.bytes, "points": points}


def read_log(uid: UUID, body: Body) -> model.Series:
    """The points that a `log` body says."""
    rows = cast("Mapping[str, Sequence[tuple[int, float]]]", body["points"])
    points = {name: tuple((step, value) for step, value in series) for name, series in rows.items()}
    return model.Series(uid, UUID(bytes=cast("bytes", body["run"])), model.Actor(""), points)


def alias(move: model.AliasMove, redactor: Redactor) -> Body:
    """What `alias` says. `expected` guarded the write; it is part of what was asked."""
    return present(
        project=move.artifact.project,
        kind=move.artifact.kind,
        name=move.artifact.name,
        alias=move.name,
        digest=move.digest.raw,
        expected=move.expected,
        reason=None if move.reason is None else redactor.commit("reason", move.reason),
        since=time(move.since),
    )


def read_alias(uid: UUID, body: Body) -> model.AliasMove:
    """The move that an `alias` body says; the reason is left out."""
    return model.AliasMove(
        uid,
        read_artifact(body),
        cast("str", body["alias"]),
        digest.Digest.of(cast("bytes", body["digest"])),
        model.Actor(""),
        expected=cast("int | None", body.get("expected")),
        since=read_time(body.get("since")),
    )


def presume(run: UUID) -> Body:
    """What `presume` says: this Run was not heard of and is taken to have been aborted."""
    return {"run": run.bytes}


def read_presume(body: Body) -> UUID:
    """The Run that a `presume` body names."""
    return UUID(bytes=cast("bytes", body["run"]))


def record(began: Body, ended: Body) -> Body:
    """What `record` says: a whole Run in one fact."""
    return {"start": began, "finish": ended}


def blobs(fact: Fact) -> dict[digest.Digest, model.Form]:
    """The contents in the Blob store that a fact names: what its Run made, its source, its large parameters.

    What lies elsewhere, or is identified by less than its bytes, is not in the store.
    """
    match fact.verb:
        case "start" | "reuse":
            return _blobs_of_call(read_start(fact.body))
        case "finish":
            return _blobs_of_outputs(read_finish(fact.uid, fact.body)[0].outputs)
        case "record":
            report, _ = read_finish(fact.uid, cast("Body", fact.body["finish"]))
            return _blobs_of_call(read_start(cast("Body", fact.body["start"]))) | _blobs_of_outputs(
                report.outputs
            )
        case "add":
            return _blobs_of_outputs(read_add(fact.uid, fact.body).outputs)
        case _:
            return {}


def _blobs_of_outputs(claims: Sequence[model.OutputClaim]) -> dict[digest.Digest, model.Form]:
    return {
        claim.content.digest: claim.content.form
        for claim in claims
        if claim.content.strength is model.Strength.CONTENT and claim.location is None
    }


def _blobs_of_call(call: model.Call) -> dict[digest.Digest, model.Form]:
    captured = call.capture
    found = {
        digest.Digest.of(raw): model.Form.FILE
        for value in (*call.params.values(), *captured.closure.values())
        for raw in _large(value)
    }
    found |= {named: model.Form.FILE for named in (captured.environment, captured.diff) if named is not None}
    if captured.bundle is not None:
        found[captured.bundle] = model.Form.TREE
    return found


def _large(value: digest.Framed) -> Iterator[bytes]:
    """The digests of parameters that were put into the Blob store for their size."""
    if isinstance(value, digest.Record):
        if value.name == "whence.blob":
            yield cast("Sequence[bytes]", value.value)[0]
        else:
            yield from _large(value.value)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _large(part)
    elif isinstance(value, list | tuple | frozenset):
        for part in value:
            yield from _large(part)

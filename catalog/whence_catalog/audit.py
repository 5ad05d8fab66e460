"""Judges how a Version came to be, from evidence that is handed in, under a named policy.

Each finding answers one question with pass, fail or unknown; what was not recorded is never taken for
good. Two questions no policy can wave through: a verdict over a lineage that is cut, ambiguous or begins
with nobody, or over what nobody looked at, is not a clean one.

Leaves to others: gathering the evidence (`sql.graph`), looking at bytes (`blobs`), comparing reruns
(`rerun`) and writing reports (`exports`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from whence_catalog import digest, lineage, model
from whence_catalog.errors import InvalidInput

POLICY_DOMAIN = "whence.policy/1"


class Presence(StrEnum):
    """What was seen of some bytes. What is not mentioned is unchecked."""

    PRESENT = "present"
    MISSING = "missing"
    ALTERED = "altered"
    UNCHECKED = "unchecked"


class Verdict(StrEnum):
    """Unknown is not no: the evidence does not say."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Need(StrEnum):
    """What a finding counts for: the verdict, the report alone, or nothing (it is then not judged)."""

    REQUIRED = "required"
    WANTED = "wanted"
    IGNORED = "ignored"


# Closed and append-only, in the order of a report.
QUESTIONS: Mapping[str, str] = {
    "identity": "Is it identified exactly, by the digest of its bytes?",
    "bytes": "Are its bytes, and those of all it came from, intact?",
    "lineage": "Is all that it came from known?",
    "blind-spots": "Was everything that could have shaped it looked at?",
    "data": "Which data does it come from?",
    "upstream-identity": "Is all that it came from identified by the digest of its bytes?",
    "code": "Is the code that made it recorded?",
    "environment": "Is the environment that it was made in recorded?",
    "rerunnable": "Can the runs that made it be made again?",
    "remade": "Has it been made again, with the same result?",
    "runs": "Did all runs that it came from end well?",
    "warnings": "Did those runs go without warnings?",
    "actors": "Who made it, and did anything check that it was them?",
    "alias": "What was it put to, when, by whom, and in place of what?",
    "approval": "Who approved it?",
}
ALWAYS_REQUIRED = frozenset({"lineage", "blind-spots"})
_WANTED = frozenset({"remade", "warnings", "actors", "alias", "approval"})


@dataclass(frozen=True, slots=True)
class Policy:
    """What is asked of a subject: a need for each question."""

    name: str
    needs: Mapping[str, Need]

    def __post_init__(self) -> None:
        if self.needs.keys() != QUESTIONS.keys():
            raise InvalidInput("a policy has a need for each question; Policy.parse fills in the usual ones")
        for question in sorted(ALWAYS_REQUIRED):
            if self.needs[question] is not Need.REQUIRED:
                raise InvalidInput(
                    f"policy {self.name}: {question} is always required, since no verdict is clean without it"
                )

    @classmethod
    def default(cls) -> "Policy":
        """Everything is required but what the outside has to add: checked actors, approvals, a rerun."""
        return cls("default", {q: Need.WANTED if q in _WANTED else Need.REQUIRED for q in QUESTIONS})

    @classmethod
    def parse(cls, mapping: Mapping[str, object]) -> "Policy":
        """The policy in a TOML file: `name`, and a table `needs` of question = "required" and so on.

        A question that is not named has the need that it has in the default policy.

        Raises:
            InvalidInput: for an unknown key, question or need; names those there are.
        """
        _refuse_unknown(mapping.keys(), ("name", "needs"), "policy key")
        name, needs = mapping.get("name"), mapping.get("needs", {})
        if not isinstance(name, str) or not name:
            raise InvalidInput(f'a policy has a name, not {name!r}; write name = "…" at its head')
        if not isinstance(needs, Mapping):
            raise InvalidInput(
                f'policy {name}: needs is {needs!r}; expected a table, such as code = "required"'
            )
        _refuse_unknown(needs.keys(), tuple(QUESTIONS), f"question of policy {name}")
        for need in needs.values():
            _refuse_unknown([need], tuple(Need), f"need of policy {name}")
        return cls(
            name, {**cls.default().needs, **{question: Need(need) for question, need in needs.items()}}
        )

    @property
    def digest(self) -> digest.Digest:
        """The identity of what it asks, whatever file it was read from."""
        return digest.digest_of(POLICY_DOMAIN, self.name, {q: str(need) for q, need in self.needs.items()})


def _refuse_unknown(found: Iterable[object], known: Sequence[str], what: str) -> None:
    for word in found:
        if word not in known:
            raise InvalidInput(f"not a {what}: {word!r}; there are {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Remade:
    """That a Run was made again: `verdict` is pass where all came out identical, unknown where it could
    not be compared; `how` says it in words."""

    run: UUID
    by: UUID
    verdict: Verdict
    how: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a review goes by.

    `graph` is upstream of the subject; `runs` are the records of the Runs in it; `aliases` is all that
    the subject's Artifact was ever called, any Version of it; `as_of` the position up to which this holds.
    """

    subject: model.Version
    graph: lineage.Graph
    runs: Sequence[model.RunRecord]
    as_of: int
    aliases: Sequence[model.Alias] = ()
    remade: Sequence[Remade] = ()
    presence: Mapping[digest.Digest, Presence] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question. `evidence` are lines that bear it out, in a stable order."""

    id: str
    question: str
    need: Need
    verdict: Verdict
    summary: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The verdict on one Version, with what it rests on. The same evidence gives the same report."""

    subject: str
    digest: digest.Digest
    at: datetime
    as_of: int
    policy: str
    policy_digest: digest.Digest
    verdict: Verdict
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]


def review(evidence: Evidence, policy: Policy, at: datetime) -> AuditReport:
    """Judge the subject: fail if a required finding fails, else unknown if one is, else pass.

    Raises:
        NotFound: the subject is not in the graph.
    """
    case = _Case.of(evidence)
    findings = []
    for question, (judge, need) in {q: (_JUDGES[q], policy.needs[q]) for q in QUESTIONS}.items():
        if need is not Need.IGNORED:
            verdict, summary, lines = judge(case)
            findings.append(Finding(question, QUESTIONS[question], need, verdict, summary, tuple(lines)))
    required = [finding.verdict for finding in findings if finding.need is Need.REQUIRED]
    counts = {str(v): sum(finding.verdict is v for finding in findings) for v in Verdict}
    counts["ignored"] = len(QUESTIONS) - len(findings)
    return AuditReport(
        subject=evidence.subject.ref,
        digest=evidence.subject.digest,
        at=at,
        as_of=evidence.as_of,
        policy=policy.name,
        policy_digest=policy.digest,
        verdict=_worst(required),
        findings=tuple(findings),
        counts=counts,
    )


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    found = set(verdicts)
    return next((v for v in (Verdict.FAIL, Verdict.UNKNOWN) if v in found), Verdict.PASS)


# ── the questions ────────────────────────────────────────────────────────────────────────────────

_Judgement: TypeAlias = tuple[Verdict, str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Case:
    """The evidence, laid out: what lies upstream of the subject, and nothing else of the graph."""

    evidence: Evidence
    subject: model.Version
    records: tuple[model.RunRecord, ...]  # in the order of the flow of data
    unrecorded: tuple[str, ...]  # Runs and Versions of which there is no record
    versions: Mapping[str, model.Version]
    roots: tuple[str, ...]

    @classmethod
    def of(cls, evidence: Evidence) -> "_Case":
        subject = evidence.subject
        above = {node.id for node in lineage.upstream(evidence.graph, subject.ref)} | {subject.ref}
        known = {str(record.run.uid): record for record in evidence.runs}
        order = [node.id for node in lineage.order(evidence.graph) if node.id in above]
        versions = {subject.ref: subject}
        for record in evidence.runs:
            for edge in (*record.inputs, *record.outputs):
                if edge.version.ref in above:
                    versions[edge.version.ref] = edge.version
        return cls(
            evidence,
            subject,
            tuple(known[run] for run in order if run in known),
            tuple(sorted(above - versions.keys() - known.keys())),
            dict(sorted(versions.items())),
            tuple(sorted(node.id for node in lineage.roots(evidence.graph) if node.id in above)),
        )

    @property
    def steps(self) -> tuple[model.RunRecord, ...]:
        """The Runs that made something of something: not reused, and not only bringing data in."""
        return tuple(r for r in self.records if r.inputs and r.run.state is not model.RunState.REUSED)

    @property
    def makers(self) -> frozenset[UUID]:
        """The Runs that made the subject itself."""
        return frozenset(
            r.run.uid for r in self.records for made in r.outputs if made.version.ref == self.subject.ref
        )


def _identity(case: _Case) -> _Judgement:
    content = case.subject.content
    line = f"{case.subject.ref} is {content.form} {content.digest}, identified by {content.strength}"
    return *_identified(case.subject), [line]


def _identified(version: model.Version) -> tuple[Verdict, str]:
    match version.content.strength:
        case model.Strength.CONTENT:
            return Verdict.PASS, f"{version.ref} is identified by the digest of its bytes."
        case model.Strength.PROVIDER | model.Strength.ASSERTED:
            return Verdict.UNKNOWN, f"What {version.ref} is rests on the word of whoever stored it."
        case model.Strength.WEAK | model.Strength.NONE:
            return Verdict.FAIL, f"{version.ref} is not identified by all of its bytes."


def _upstream_identity(case: _Case) -> _Judgement:
    others = [version for ref, version in case.versions.items() if ref != case.subject.ref]
    judged = [(v, *_identified(v)) for v in others]
    lines = [summary for _, verdict, summary in judged if verdict is not Verdict.PASS]
    if not lines:
        return Verdict.PASS, f"All {len(others)} versions upstream are identified by their bytes.", []
    summary = f"{len(lines)} of {len(others)} versions upstream are not identified by their bytes."
    return _worst(verdict for _, verdict, _ in judged), summary, lines


def _bytes(case: _Case) -> _Judgement:
    seen = {v.ref: case.evidence.presence.get(v.digest, Presence.UNCHECKED) for v in case.versions.values()}
    lines = [f"{ref}: {presence}" for ref, presence in seen.items()]
    lines += [f"{ref}: not in evidence" for ref in case.unrecorded]
    bad = sum(presence in (Presence.MISSING, Presence.ALTERED) for presence in seen.values())
    open_ = sum(presence is Presence.UNCHECKED for presence in seen.values()) + len(case.unrecorded)
    if bad:
        return Verdict.FAIL, f"{bad} of {len(seen)} versions are missing or altered.", lines
    if open_:
        return Verdict.UNKNOWN, f"The bytes of {open_} of {len(seen)} versions were not looked at.", lines
    return Verdict.PASS, f"The bytes of all {len(seen)} versions are what their digests say.", lines


def _lineage(case: _Case) -> _Judgement:
    found = case.evidence.graph.completeness
    lines = [f"cut short: {reason}" for reason in found.reasons]
    if not found.complete and not lines:
        lines.append("cut short: no reason given")
    for count, what in (
        (found.ambiguous, "inputs do not say which of several runs made what they took"),
        (found.unknown_producers, "inputs were made by nobody known"),
        (found.masked, "nodes are hidden from whoever asked"),
        (found.erased, "nodes were erased"),
        (len(case.unrecorded), f"nodes have no record in evidence: {', '.join(case.unrecorded)}"),
    ):
        lines += [f"{count} {what}"] if count else []
    if not case.makers:
        lines.append(f"no run is known to have made {case.subject.ref}")
    size = f"{len(case.records)} runs and {len(case.versions)} versions"
    if lines:
        return Verdict.UNKNOWN, f"Not all that it came from is known; what is has {size}.", lines
    outputs = [made for record in case.steps for made in record.outputs]
    undeclared = sum(made.derived_from is None for made in outputs)
    note = f"{undeclared} of {len(outputs)} outputs do not say which inputs they came from: all were counted"
    return Verdict.PASS, f"All that it came from is known: {size}.", [note] if undeclared else []


def _blind_spots(case: _Case) -> _Judgement:
    spots: dict[str, list[str]] = {}
    for record in case.records:
        for spot in record.run.capture.blind_spots:
            spots.setdefault(spot, []).append(_named(record))
    if not spots:
        return Verdict.PASS, "No run says that it left something unseen.", []
    lines = [f"{spot} ({', '.join(sorted(set(runs)))})" for spot, runs in sorted(spots.items())]
    return Verdict.UNKNOWN, "Something that could have shaped it was not looked at.", lines


def _data(case: _Case) -> _Judgement:
    taken: dict[str, set[str]] = {}
    for record in case.records:
        for entry in record.inputs:
            taken.setdefault(entry.version.ref, set()).add(f"as {entry.role} by {_named(record)}")
    made = {edge.target for edge in case.evidence.graph.edges if edge.type is lineage.EdgeType.OUTPUT}
    lines, unknown = [], 0
    for ref in case.roots:
        nobody = "" if ref in made else "; made by nobody known"
        unknown += bool(nobody)
        content = case.versions[ref].digest if ref in case.versions else "digest not in evidence"
        used = f", taken {', '.join(sorted(taken[ref]))}" if ref in taken else ""
        lines.append(f"{ref} {content}{used}{nobody}")
    if case.subject.ref in case.roots and case.subject.artifact.kind not in ("dataset", "file"):
        return Verdict.UNKNOWN, "A run made it of nothing that was recorded as an input.", lines
    count = f"It comes from {len(lines)} versions that were not made of others"
    if unknown:
        return Verdict.UNKNOWN, f"{count}, {unknown} of them made by nobody known.", lines
    if not case.evidence.graph.completeness.complete or case.unrecorded:
        return Verdict.UNKNOWN, f"{count}, as far as its lineage is known.", lines
    return Verdict.PASS, f"{count}.", lines


def _code(case: _Case) -> _Judgement:
    lines, lacking = [], 0
    for record in case.steps:
        captured = record.run.capture
        commit = f", git commit {captured.git['commit']}" if "commit" in captured.git else ""
        if captured.bundle is None:
            lacking += 1
            lines.append(f"{_named(record)}: source not recorded{commit}")
        else:
            lines.append(f"{_named(record)}: {captured.entry}, source {captured.bundle}{commit}")
    return _recorded(case, lacking, "the source of", lines)


def _environment(case: _Case) -> _Judgement:
    captured = [(_named(record), record.run.capture) for record in case.steps]
    lines = [
        f"{name}: not recorded" if c.environment is None else f"{name}: Python {c.python}, {c.environment}"
        for name, c in captured
    ]
    return _recorded(case, sum(c.environment is None for _, c in captured), "the environment of", lines)


def _recorded(case: _Case, lacking: int, what: str, lines: Sequence[str]) -> _Judgement:
    total = len(case.steps)
    if lacking:
        return Verdict.FAIL, f"Of {total} runs that made it, {what} {lacking} was not recorded.", lines
    return _or_no_steps(case, f"{what} all {total} runs that made it is recorded.".capitalize(), lines)


def _or_no_steps(case: _Case, summary: str, lines: Sequence[str]) -> _Judgement:
    """Pass, unless there was nothing to look at."""
    if case.steps:
        return Verdict.PASS, summary, lines
    return Verdict.UNKNOWN, "No run is known that made it of anything.", lines


def _rerunnable(case: _Case) -> _Judgement:
    lines = []
    for record in case.steps:
        captured = record.run.capture
        if not captured.rerunnable:
            lines.append(f"{_named(record)}: {captured.because or 'no reason given'}")
        for what, kept in (("source", captured.bundle), ("environment", captured.environment)):
            seen = case.evidence.presence.get(kept) if kept else None
            if seen in (Presence.MISSING, Presence.ALTERED):
                lines.append(f"{_named(record)}: its {what} {kept} is {seen}")
    if lines:
        return Verdict.FAIL, "Not all runs that made it can be made again.", lines
    return _or_no_steps(case, f"All {len(case.steps)} runs that made it can be made again.", [])


def _remade(case: _Case) -> _Judgement:
    found = sorted(
        (r for r in case.evidence.remade if r.run in case.makers), key=lambda r: (r.run.hex, r.by.hex)
    )
    lines = [f"run {r.run} made again by run {r.by}: {r.how}" for r in found]
    match _worst(r.verdict for r in found) if found else Verdict.UNKNOWN:
        case Verdict.FAIL:
            return Verdict.FAIL, "It was made again, and came out otherwise.", lines
        case Verdict.PASS:
            return Verdict.PASS, f"It was made again {len(found)} times, with the same bytes.", lines
        case Verdict.UNKNOWN:
            how = "what came out could not be compared" if found else "nobody has made it again"
            return Verdict.UNKNOWN, f"Whether it would come out the same is not known: {how}.", lines


def _runs(case: _Case) -> _Judgement:
    lines, verdicts = [], []
    for record in case.records:
        run = record.run
        if run.state in (model.RunState.FAILED, model.RunState.ABORTED):
            presumed = ", presumed since it was not heard of" if run.presumed else ""
            lines.append(f"{_named(record)}: {run.state}{presumed}{f': {run.error}' if run.error else ''}")
            verdicts.append(Verdict.UNKNOWN if run.presumed else Verdict.FAIL)
        elif run.state is model.RunState.RUNNING:
            lines.append(f"{_named(record)}: still running")
            verdicts.append(Verdict.UNKNOWN)
    if lines:
        return _worst(verdicts), f"It came from {len(lines)} runs that did not end well, or not yet.", lines
    if case.records:
        return Verdict.PASS, f"All {len(case.records)} runs ended well.", []
    return Verdict.UNKNOWN, "No run is known that it came from.", []


def _warnings(case: _Case) -> _Judgement:
    lines = [f"{_named(record)}: {text}" for record in case.records for text in record.run.warnings]
    if lines:
        return Verdict.UNKNOWN, f"{len(lines)} warnings that a person has to weigh.", lines
    return Verdict.PASS, "No run left a warning.", []


def _actors(case: _Case) -> _Judgement:
    ran: dict[model.Actor, list[str]] = {}
    for record in case.records:
        ran.setdefault(record.run.actor, []).append(_named(record))
    people = sorted(ran.items(), key=lambda item: (item[0].name, item[0].authenticated))
    lines = [f"{_who(actor)} ran {', '.join(sorted(runs))}" for actor, runs in people]
    unchecked = sorted({actor.name for actor in ran if not actor.authenticated})
    if unchecked:
        names = ", ".join(unchecked)
        return Verdict.UNKNOWN, f"Nothing checked that it was {names}: the name is a claim.", lines
    if not ran:
        return Verdict.UNKNOWN, "Nobody is known to have made it.", []
    return Verdict.PASS, f"{len(ran)} actors made it, all authenticated.", lines


def _alias(case: _Case) -> _Judgement:
    mine = [alias for alias in case.evidence.aliases if alias.artifact == case.subject.artifact]
    lines = []
    for alias in sorted(mine, key=lambda a: (a.since, a.name, a.version.number)):
        until = f"until {_when(alias.until)}" if alias.until else "and still"
        replaced = f", in place of @{alias.replaced}" if alias.replaced else ", in place of nothing"
        reason = f", because: {alias.reason}" if alias.reason else ", no reason given"
        lines.append(
            f"{alias.name} was {alias.version.ref} from {_when(alias.since)} {until};"
            f" moved by {_who(alias.actor)}{replaced}{reason}"
        )
    here = [alias for alias in mine if alias.version.ref == case.subject.ref]
    if not here:
        return Verdict.PASS, f"No alias ever meant {case.subject.ref}.", lines
    standing = sorted({alias.name for alias in here if alias.until is None})
    now = f"; now it is {', '.join(standing)}" if standing else "; none means it now"
    summary = f"Aliases were put on it {len(here)} times{now}."
    if all(alias.actor.authenticated for alias in here):
        return Verdict.PASS, summary, lines
    return Verdict.UNKNOWN, f"{summary} Nothing checked who moved them.", lines


def _approval(case: _Case) -> _Judgement:
    return Verdict.UNKNOWN, "No approval is recorded; that nobody approved it does not follow.", []


def _named(record: model.RunRecord) -> str:
    return f"{record.run.job} {record.run.uid}"


def _who(actor: model.Actor) -> str:
    return actor.name if actor.authenticated else f"{actor.name} (not authenticated)"


def _when(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


_JUDGES = {
    "identity": _identity,
    "bytes": _bytes,
    "lineage": _lineage,
    "blind-spots": _blind_spots,
    "data": _data,
    "upstream-identity": _upstream_identity,
    "code": _code,
    "environment": _environment,
    "rerunnable": _rerunnable,
    "remade": _remade,
    "runs": _runs,
    "warnings": _warnings,
    "actors": _actors,
    "alias": _alias,
    "approval": _approval,
}

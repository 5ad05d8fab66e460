"""Judges how a Version came to be, from evidence that is handed in, under a named policy.

Each finding answers one question with pass, fail or unknown, and names what it rests on; what was not
recorded is never taken for good. A policy says which answers a clean verdict needs. Two no policy can
waive: that all the Version came from is known, and that nothing which could have shaped it went unseen.

Leaves to others: gathering the evidence (`sql.graph`), looking at bytes (`blobs`), making Runs again and
comparing (`rerun`), and the form of a report (`wire`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias

from whence_catalog import digest, lineage, model, observation, paths
from whence_catalog.errors import InvalidInput

POLICY_DOMAIN = "whence.policy/1"


class Verdict(StrEnum):
    """What is said about a question. Unknown is not no: the evidence does not say."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Presence(StrEnum):
    """What was seen of some bytes. Those that nothing is said of are unchecked."""

    PRESENT = "present"
    MISSING = "missing"
    ALTERED = "altered"
    UNCHECKED = "unchecked"


# Append-only, in the order of a report.
QUESTIONS: Mapping[str, str] = {
    "identity": "Are it and all that it came from identified by their bytes?",
    "intact": "Are its bytes, and those of all that it came from, as they were recorded?",
    "complete": "Is all that it came from known?",
    "seen": "Was everything looked at that could have shaped it?",
    "data": "Which data does it come from?",
    "code": "Which code made it?",
    "environment": "In which environment was it made?",
    "rerunnable": "Can the runs that made it be made again?",
    "remade": "Has it been made again, and did the same come out?",
    "sound": "Did all runs that it came from end well, without a warning?",
    "people": "Who ran what it came from, and was that checked?",
    "approved": "Who approved it?",
    "aliases": "What was it called, from when to when, who said so, and what did it replace?",
    "untainted": "Is neither it nor anything that it came from quarantined?",
}
ALWAYS_REQUIRED = frozenset({"complete", "seen"})


@dataclass(frozen=True, slots=True)
class Policy:
    """The questions whose answer must be pass. All are answered and shown."""

    name: str
    required: frozenset[str]

    def __post_init__(self) -> None:
        if unknown := sorted(self.required - QUESTIONS.keys()):
            raise InvalidInput(
                f"policy {self.name} requires {', '.join(unknown)}; the questions are {', '.join(QUESTIONS)}"
            )
        if waived := sorted(ALWAYS_REQUIRED - self.required):
            raise InvalidInput(f"policy {self.name} does not require {', '.join(waived)}; every policy does")

    @classmethod
    def default(cls) -> "Policy":
        """All but what somebody has to add: a checked name, an approval, an alias, a rerun."""
        return cls("default", frozenset(QUESTIONS.keys() - {"remade", "people", "approved", "aliases"}))

    @classmethod
    def parse(cls, said: Mapping[str, object]) -> "Policy":
        """The policy of a TOML file: `name = "…"` and `required = ["identity", …]`.

        `complete` and `seen` are required whether they are named or not.

        Raises:
            InvalidInput: for an unknown key or question, with the known ones.
        """
        if unknown := sorted(said.keys() - {"name", "required"}):
            raise InvalidInput(f"a policy has the keys name and required, not {', '.join(unknown)}")
        name, required = said.get("name"), said.get("required")
        if not isinstance(name, str) or not name:
            raise InvalidInput(f'the name of a policy is {name!r}; expected text, such as name = "release"')
        if not isinstance(required, list) or not all(isinstance(question, str) for question in required):
            raise InvalidInput(
                f'policy {name} requires {required!r}; expected questions, such as required = ["identity"]'
            )
        return cls(name, frozenset(required) | ALWAYS_REQUIRED)

    @property
    def digest(self) -> digest.Digest:
        """The identity of what it asks, whatever file it was read from."""
        return digest.digest_of(POLICY_DOMAIN, self.name, self.required)


@dataclass(frozen=True, slots=True)
class Remade:
    """A Run by which one that made the subject was made again, of the same inputs, parameters and source.

    `digest` is of what it made in the subject's place, None where it made nothing there.
    """

    run: model.Run
    digest: digest.Digest | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a review goes by.

    `graph` is upstream of the subject; `runs` are the records of its Runs; `aliases` all that any Version
    of the subject's Artifact was ever called; `as_of` the position up to which all this holds. `approvals`
    are of the subject, the newest first; `taints` are what now reaches its productions; `reruns` are of the Runs
    that made it.
    """

    subject: model.Version
    graph: lineage.Graph
    runs: Sequence[model.RunRecord]
    as_of: int
    aliases: Sequence[model.Alias] = ()
    approvals: Sequence[model.Approval] = ()
    taints: Sequence[model.Taint] = ()
    presence: Mapping[digest.Digest, Presence] = field(default_factory=dict)
    reruns: Sequence[Remade] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question; `evidence` are the lines that it rests on."""

    id: str
    question: str
    verdict: Verdict
    required: bool
    summary: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The verdict on one Version, with its reasons. `counts` are of findings, Runs and Versions."""

    policy: str
    policy_digest: digest.Digest
    subject: str
    digest: digest.Digest
    at: datetime
    as_of: int
    verdict: Verdict
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]


def review(evidence: Evidence, policy: Policy, at: datetime) -> AuditReport:
    """Answer every question. Fail if a required answer is fail, else unknown if one is, else pass.

    The same evidence in any order, policy and time give the same report.

    Raises:
        NotFound: the subject is not in the graph.
    """
    case = _Case.of(evidence)
    findings = []
    for name, question in QUESTIONS.items():
        verdict, summary, lines = _JUDGES[name](case)
        required = name in policy.required
        findings.append(Finding(name, question, verdict, required, summary, tuple(lines)))
    counts = {str(v): sum(finding.verdict is v for finding in findings) for v in Verdict}
    return AuditReport(
        policy=policy.name,
        policy_digest=policy.digest,
        subject=evidence.subject.ref,
        digest=evidence.subject.digest,
        at=at,
        as_of=evidence.as_of,
        verdict=_worst(finding.verdict for finding in findings if finding.required),
        findings=tuple(findings),
        counts={**counts, "runs": len(case.records), "versions": len(case.versions)},
    )


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    found = set(verdicts)
    return next((verdict for verdict in (Verdict.FAIL, Verdict.UNKNOWN) if verdict in found), Verdict.PASS)


# ── the questions ────────────────────────────────────────────────────────────────────────────────

_Answer: TypeAlias = tuple[Verdict, str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Case:
    """The evidence, laid out: what lies upstream of the subject, and nothing else that the graph holds."""

    evidence: Evidence
    subject: model.Version
    records: Sequence[model.RunRecord]  # each after those it came from
    versions: Mapping[str, model.Version]  # by reference, in its order
    roots: Sequence[str]
    unrecorded: Sequence[str]  # what is in the graph, and of which there is no record

    @classmethod
    def of(cls, evidence: Evidence) -> "_Case":
        graph, subject = evidence.graph, evidence.subject
        above = {node.id for node in paths.upstream(graph, subject.ref)} | {subject.ref}
        known = {str(record.run.uid): record for record in evidence.runs}
        versions = {subject.ref: subject}
        for record in evidence.runs:
            versions |= {taken.version.ref: taken.version for taken in record.inputs}
            versions |= {made.version.ref: made.version for made in record.outputs}
        return cls(
            evidence=evidence,
            subject=subject,
            records=[known[n.id] for n in paths.order(graph) if n.id in above and n.id in known],
            versions={ref: versions[ref] for ref in sorted(above & versions.keys())},
            roots=sorted(node.id for node in paths.roots(graph) if node.id in above),
            unrecorded=sorted(above - known.keys() - versions.keys()),
        )

    @property
    def steps(self) -> Sequence[model.RunRecord]:
        """The Runs that did something: not those that were reused, or only brought content in."""
        return [r for r in self.records if r.run.origin is None and not _brought_in(r)]


def _brought_in(record: model.RunRecord) -> bool:
    return not record.inputs and record.run.origin is None and record.run.capture.entry is None


def _identity(case: _Case) -> _Answer:
    lines, verdicts = [], []
    for ref, version in case.versions.items():
        match version.content.strength:
            case model.Strength.CONTENT:
                continue
            case model.Strength.PROVIDER | model.Strength.ASSERTED:
                verdicts.append(Verdict.UNKNOWN)  # on somebody's word
            case model.Strength.WEAK | model.Strength.NONE:
                verdicts.append(Verdict.FAIL)
        lines.append(f"{ref}: {version.content.strength} identity")
    if lines:
        weak = f"{len(lines)} of {len(case.versions)} versions are not identified by their bytes"
        return _worst(verdicts), weak, lines
    return Verdict.PASS, f"{case.subject.ref} is {case.subject.digest}", []


def _intact(case: _Case) -> _Answer:
    seen = {ref: case.evidence.presence.get(v.digest, Presence.UNCHECKED) for ref, v in case.versions.items()}
    lines = [f"{ref}: {state}" for ref, state in seen.items() if state is not Presence.PRESENT]
    lines += [f"{name}: no record of it is in evidence" for name in case.unrecorded]
    bad = sum(state in (Presence.MISSING, Presence.ALTERED) for state in seen.values())
    if bad:
        return Verdict.FAIL, f"{bad} of {len(seen)} versions are missing or altered", lines
    if lines:
        return Verdict.UNKNOWN, f"the bytes of {len(lines)} versions were not checked", lines
    return Verdict.PASS, f"the bytes of {len(seen)} versions are as they were recorded", []


def _complete(case: _Case) -> _Answer:
    whole = case.evidence.graph.completeness
    gaps = list(whole.reasons)
    if not whole.complete and not gaps:
        gaps.append("the lineage was cut short")
    for count, what in (
        (whole.ambiguous, "inputs do not say which run they were taken from"),
        (whole.unknown_producers, "inputs or versions have no run that is known to have made them"),
        (whole.masked, "nodes may not be seen by whoever asks"),
        (whole.erased, "nodes were erased"),
        (len(case.unrecorded), f"nodes have no record in evidence: {', '.join(case.unrecorded)}"),
    ):
        if count:
            gaps.append(f"{count} {what}")
    size = f"{len(case.records)} runs and {len(case.versions)} versions"
    if gaps:
        return Verdict.UNKNOWN, f"not all that it came from is known, beyond {size}", gaps
    made = [output for record in case.steps for output in record.outputs]
    silent = sum(output.derived_from is None for output in made)
    # Lineage goes through the Run, which may be more than the output really came from.
    note = f"{silent} of {len(made)} outputs do not say which of their run's inputs they came from"
    return Verdict.PASS, f"{size}, down to the roots", [f"{note}: all were counted"] if silent else []


def _seen(case: _Case) -> _Answer:
    spots: dict[str, list[str]] = {}
    for record in case.steps:
        unseen = (*record.run.capture.blind_spots, *observation.unseen(record.observed))
        if record.run.capture.bundle is None:
            unseen += ("its code was not recorded, so nothing says what else it read",)
        for spot in unseen:
            spots.setdefault(spot, []).append(_named(record))
    if spots:
        lines = [f"{spot} ({', '.join(sorted(set(runs)))})" for spot, runs in sorted(spots.items())]
        return (
            Verdict.UNKNOWN,
            f"{len(spots)} things could have shaped it and are no input, or were not looked at",
            lines,
        )
    return Verdict.PASS, "no run touched what is no input, or says that it left anything unseen", []


def _data(case: _Case) -> _Answer:
    makers: dict[str, list[str]] = {}
    uses: dict[str, set[str]] = {}
    for record in case.records:
        for made in record.outputs:
            makers.setdefault(made.version.ref, []).append(f"{_named(record)} by {_who(record.run.actor)}")
        for taken in record.inputs:
            uses.setdefault(taken.version.ref, set()).add(f"as {taken.role} by {record.run.job}")
    lines = []
    for ref in case.roots:
        content = case.versions[ref].digest if ref in case.versions else "not in evidence"
        by = ", ".join(makers.get(ref, ["nobody known"]))
        used = f", taken {', '.join(sorted(uses[ref]))}" if ref in uses else ""
        lines.append(f"{ref} {content}, recorded in {by}{used}")
    nobody = sum(ref not in makers for ref in case.roots)
    subject = case.subject
    if subject.ref in case.roots and subject.artifact.kind not in ("dataset", "file"):
        return Verdict.UNKNOWN, "it was recorded without inputs: what it was made of is not known", lines
    summary = f"it comes from {', '.join(case.roots) or 'no root that is known'}"
    if nobody:
        return Verdict.UNKNOWN, f"{summary}; nobody is known to have made {nobody} of them", lines
    if not lines or not case.evidence.graph.completeness.complete or case.unrecorded:
        return Verdict.UNKNOWN, f"{summary}, as far as is known", lines
    return Verdict.PASS, summary, lines


def _code(case: _Case) -> _Answer:
    def shown(captured: model.Capture) -> str | None:
        if captured.bundle is None:
            return None
        dirty = " with uncommitted changes" if captured.git.get("dirty") == "yes" else ""
        commit = f", commit {captured.git['commit']}{dirty}" if "commit" in captured.git else ""
        return f"{captured.entry}, source {captured.bundle}{commit}"

    return _recorded(case, "source", {_named(r): shown(r.run.capture) for r in case.steps})


def _environment(case: _Case) -> _Answer:
    def shown(captured: model.Capture) -> str | None:
        return None if captured.environment is None else f"Python {captured.python}, {captured.environment}"

    return _recorded(case, "environment", {_named(r): shown(r.run.capture) for r in case.steps})


def _recorded(case: _Case, what: str, shown: Mapping[str, str | None]) -> _Answer:
    if not shown:
        return Verdict.UNKNOWN, "no run is known that made it of anything", []
    lines = [f"{run}: {kept or 'not recorded'}" for run, kept in shown.items()]
    lacking = sum(kept is None for kept in shown.values())
    if lacking:
        return Verdict.FAIL, f"{lacking} of {len(shown)} runs recorded no {what}", lines
    return Verdict.PASS, f"all {len(shown)} runs recorded their {what}", lines


def _rerunnable(case: _Case) -> _Answer:
    lines = []
    for record in case.steps:
        captured = record.run.capture
        if not captured.rerunnable:
            lines.append(f"{_named(record)}: {captured.because or 'it is not said why'}")
        for what, kept in (("source", captured.bundle), ("environment", captured.environment)):
            state = case.evidence.presence.get(kept) if kept else None
            if state in (Presence.MISSING, Presence.ALTERED):
                lines.append(f"{_named(record)}: its {what} {kept} is {state}")
    if lines:
        return Verdict.FAIL, f"{len(lines)} things keep its runs from being made again", lines
    if not case.steps:
        return Verdict.UNKNOWN, "no run is known that made it of anything", []
    return Verdict.PASS, f"all {len(case.steps)} runs could be made again, by what they recorded", []


def _remade(case: _Case) -> _Answer:
    reruns = sorted(case.evidence.reruns, key=lambda again: (again.run.started_at, str(again.run.uid)))
    other = sum(again.digest != case.subject.digest for again in reruns)
    lines = [
        f"made again with {_outcome(again.digest, case.subject.digest)} by run {again.run.short} of"
        f" {_who(again.run.actor)} on {_when(again.run.started_at)}"
        for again in reruns
    ]
    if other:
        return Verdict.FAIL, f"made again {len(reruns)} times, it came out otherwise {other} times", lines
    if reruns:
        return Verdict.PASS, f"it was made again {len(reruns)} times, with the same bytes", lines
    return Verdict.UNKNOWN, "nobody has made it again", []


def _outcome(made: digest.Digest | None, subject: digest.Digest) -> str:
    if made is None:
        return "no output in its place"
    return "identical outputs" if made == subject else f"other bytes, {made},"


def _sound(case: _Case) -> _Answer:
    lines, verdicts = [], []
    for record in case.records:
        run = record.run
        if run.state in (model.RunState.FAILED, model.RunState.ABORTED):
            # A presumption is not its own word.
            verdicts.append(Verdict.UNKNOWN if run.presumed else Verdict.FAIL)
            why = "not heard of again" if run.presumed else run.error or "it did not say why"
            lines.append(f"{_named(record)}: {run.state}, {why}")
        elif run.state is model.RunState.RUNNING:
            verdicts.append(Verdict.UNKNOWN)
            lines.append(f"{_named(record)}: still running")
        verdicts += [Verdict.UNKNOWN] * bool(run.warnings)
        lines += [f"{_named(record)}: {text}" for text in run.warnings]
    if lines:
        return _worst(verdicts), f"{len(lines)} things on the way have to be weighed by a person", lines
    if not case.records:
        return Verdict.UNKNOWN, "no run is known that it came from", []
    return Verdict.PASS, f"all {len(case.records)} runs ended well, without a warning", []


def _people(case: _Case) -> _Answer:
    ran: dict[str, list[str]] = {}
    for record in case.records:
        ran.setdefault(_who(record.run.actor), []).append(_named(record))
    lines = [f"{who}: {', '.join(sorted(runs))}" for who, runs in sorted(ran.items())]
    summary = f"run by {', '.join(sorted(ran)) or 'nobody known'}"
    checked = bool(ran) and all(record.run.actor.authenticated for record in case.records)
    return (Verdict.PASS if checked else Verdict.UNKNOWN), summary, lines


def _approved(case: _Case) -> _Answer:
    given = sorted(case.evidence.approvals, key=lambda a: (a.at, str(a.uid)))
    if not given:
        return Verdict.UNKNOWN, "no approval is recorded; that does not say that nobody gave one", []
    lines = [
        f"{a.decision} by {_who(a.actor)} on {_when(a.at)}{f': {a.reason}' if a.reason else ''}"
        for a in given
    ]
    last = given[-1]
    summary = f"the last word is {last.decision}, by {_who(last.actor)}"
    if last.decision is model.Decision.REJECTED:
        return Verdict.FAIL, summary, lines
    return (Verdict.PASS if last.actor.authenticated else Verdict.UNKNOWN), summary, lines


def _untainted(case: _Case) -> _Answer:
    lines = sorted(
        f"{case.subject.ref} as run {t.run} made it, by the quarantine of {t.quarantine.version.ref}"
        f" by {_who(t.quarantine.actor)} on {_when(t.quarantine.since)}"
        f"{f': {t.quarantine.reason}' if t.quarantine.reason else ''}"
        for t in case.evidence.taints
    )
    if any(t.quarantine.version == case.subject for t in case.evidence.taints):
        return Verdict.FAIL, "it is quarantined", lines
    if lines:
        of = sorted({t.quarantine.version.ref for t in case.evidence.taints})
        return Verdict.FAIL, f"it came from what is quarantined: {', '.join(of)}", lines
    return Verdict.PASS, "no quarantine reaches it", []


def _aliases(case: _Case) -> _Answer:
    of_artifact = [a for a in case.evidence.aliases if a.artifact == case.subject.artifact]
    of_artifact.sort(key=lambda a: (a.since, a.name, a.version.number))
    lines = [
        f"{a.name} was {a.version.ref} from {_when(a.since)} to {_when(a.until) if a.until else 'now'}, by"
        f" {_who(a.actor)}, in place of {f'@{a.replaced}' if a.replaced else 'nothing'}"
        f"{f': {a.reason}' if a.reason else ''}"
        for a in of_artifact
    ]
    mine = [a for a in of_artifact if a.version.ref == case.subject.ref]
    standing = ", ".join(sorted(a.name for a in mine if a.until is None))
    summary = f"it is {standing} now" if standing else "it is called nothing now"
    if not all(a.actor.authenticated for a in mine):
        return Verdict.UNKNOWN, f"{summary}; who said so was not always checked", lines
    return Verdict.PASS, summary, lines


def _named(record: model.RunRecord) -> str:
    return f"{record.run.job} {record.run.short}"


def _who(actor: model.Actor) -> str:
    return actor.name if actor.authenticated else f"{actor.name} (not checked)"


def _when(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


_JUDGES = {
    "identity": _identity,
    "intact": _intact,
    "complete": _complete,
    "seen": _seen,
    "data": _data,
    "code": _code,
    "environment": _environment,
    "rerunnable": _rerunnable,
    "remade": _remade,
    "sound": _sound,
    "people": _people,
    "approved": _approved,
    "aliases": _aliases,
    "untainted": _untainted,
}

"""Judges how a Version came to be: evidence in, findings out.

Each finding answers one question with pass, fail or unknown, and names its evidence. A policy says which
questions a clean verdict needs. What could not be seen is *unknown*, never passed over: no clean verdict
stands on part of a graph, on an ambiguity, or on a blind spot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from whence_catalog import digest, lineage, model
from whence_catalog.errors import InvalidInput


class Verdict(StrEnum):
    """What is said about a question. Unknown is not no."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Presence(StrEnum):
    """What was seen of some bytes."""

    PRESENT = "present"
    MISSING = "missing"
    ALTERED = "altered"
    UNCHECKED = "unchecked"


QUESTIONS: Mapping[str, str] = {
    "identity": "Is it known exactly which bytes this is?",
    "intact": "Are its bytes, and those of everything it came from, as they were recorded?",
    "complete": "Is everything that it came from known?",
    "data": "Which data does it come from?",
    "code": "Which code made it?",
    "environment": "In which environment was it made?",
    "rerunnable": "Can the run that made it be made again?",
    "sound": "Did every run that it came from end well, with its inputs unchanged?",
    "seen": "Was everything that its runs did observed?",
    "people": "Who ran what it came from, and was that checked?",
    "approved": "Did somebody approve it?",
    "aliases": "What was it called, when, and who said so?",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The questions that must be answered with pass. All others are answered too, and shown."""

    name: str
    required: frozenset[str]

    @classmethod
    def default(cls) -> "Policy":
        """What anyone would want: known, intact, whole, with code and environment."""
        wanted = {"identity", "intact", "complete", "code", "environment", "sound", "seen"}
        return cls("default", frozenset(wanted))

    @classmethod
    def parse(cls, said: Mapping[str, object]) -> "Policy":
        """A policy from a TOML table: `name = "…"`, `required = ["identity", …]`.

        Raises:
            InvalidInput: for an unknown key or question, with the known ones.
        """
        unknown = said.keys() - {"name", "required"}
        if unknown:
            raise InvalidInput(f"a policy has a name and required, not {', '.join(sorted(unknown))}")
        required = said.get("required", [])
        if not isinstance(required, list) or not all(isinstance(item, str) for item in required):
            raise InvalidInput("required in a policy is a list of questions")
        strange = [item for item in required if item not in QUESTIONS]
        if strange:
            raise InvalidInput(f"no question {strange[0]!r} is asked; there are {', '.join(QUESTIONS)}")
        return cls(str(said.get("name", "unnamed")), frozenset(required))

    @property
    def digest(self) -> digest.Digest:
        """Which policy this is."""
        return digest.digest_of("whence.policy/1", {"name": self.name, "required": self.required})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the catalog holds about a Version, and what somebody saw of its bytes.

    `runs` are the Runs upstream, the one that made the subject first; `presence` is by digest.
    """

    subject: model.Version
    graph: lineage.Graph
    runs: Sequence[model.RunRecord]
    aliases: Sequence[model.Alias]
    presence: Mapping[digest.Digest, Presence]
    as_of: int
    identical_reruns: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One question, answered."""

    id: str
    question: str
    verdict: Verdict
    required: bool
    summary: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The answers, and the verdict of the policy over them. `as_of` is the position of the last fact seen."""

    subject: str
    digest: digest.Digest
    at: datetime
    as_of: int
    policy: str
    policy_digest: digest.Digest
    verdict: Verdict
    findings: tuple[Finding, ...]
    runs: int = 0
    versions: int = 0


@dataclass(slots=True)
class _Review:
    evidence: Evidence
    policy: Policy
    findings: list[Finding] = field(default_factory=list)

    def say(self, name: str, verdict: Verdict, summary: str, evidence: Sequence[str] = ()) -> None:
        required = name in self.policy.required
        self.findings.append(Finding(name, QUESTIONS[name], verdict, required, summary, tuple(evidence)))


def review(evidence: Evidence, policy: Policy, at: datetime) -> AuditReport:
    """Answer every question. The same evidence, policy and time give the same report."""
    review = _Review(evidence, policy)
    for ask in (_identity, _intact, _complete, _data, _code, _environment, _rerunnable, _sound, _seen):
        ask(review)
    for ask in (_people, _approved, _aliases):
        ask(review)
    needed = [finding.verdict for finding in review.findings if finding.required]
    verdict = (
        Verdict.FAIL
        if Verdict.FAIL in needed
        else Verdict.UNKNOWN
        if Verdict.UNKNOWN in needed
        else Verdict.PASS
    )
    nodes = evidence.graph.nodes
    return AuditReport(
        subject=evidence.subject.ref,
        digest=evidence.subject.digest,
        at=at,
        as_of=evidence.as_of,
        policy=policy.name,
        policy_digest=policy.digest,
        verdict=verdict,
        findings=tuple(review.findings),
        runs=sum(node.type == "run" for node in nodes),
        versions=sum(node.type == "version" for node in nodes),
    )


def versions_of(evidence: Evidence) -> dict[digest.Digest, model.Version]:
    """The subject, and every Version that its Runs took or made, by digest."""
    found = {evidence.subject.digest: evidence.subject}
    for record in evidence.runs:
        for version in (*(i.version for i in record.inputs), *(o.version for o in record.outputs)):
            found.setdefault(version.digest, version)
    return found


def _identity(review: _Review) -> None:
    versions = versions_of(review.evidence).values()
    weak = [v for v in versions if v.content.strength is not model.Strength.CONTENT]
    subject = review.evidence.subject
    if not weak:
        review.say("identity", Verdict.PASS, f"{subject.ref} is {subject.digest}", [subject.digest.text])
        return
    shown = [f"{v.ref}: {v.content.strength} identity" for v in weak]
    review.say(
        "identity", Verdict.UNKNOWN, f"{len(weak)} versions are not identified by their content", shown
    )


def _intact(review: _Review) -> None:
    by_state: dict[Presence, list[str]] = {state: [] for state in Presence}
    for named, version in versions_of(review.evidence).items():
        state = review.evidence.presence.get(named, Presence.UNCHECKED)
        by_state[state].append(f"{version.ref}: {state}")
    bad = by_state[Presence.MISSING] + by_state[Presence.ALTERED]
    if bad:
        review.say("intact", Verdict.FAIL, f"{len(bad)} versions are missing or altered", bad)
    elif by_state[Presence.UNCHECKED]:
        unseen = by_state[Presence.UNCHECKED]
        review.say("intact", Verdict.UNKNOWN, f"the bytes of {len(unseen)} versions were not checked", unseen)
    else:
        count = len(by_state[Presence.PRESENT])
        review.say("intact", Verdict.PASS, f"the bytes of {count} versions are as they were recorded")


def _complete(review: _Review) -> None:
    whole = review.evidence.graph.completeness
    gaps = list(whole.reasons)
    for count, what in (
        (whole.ambiguous, "inputs do not say which run they were taken from"),
        (whole.unknown_producers, "versions have no run that is known to have made them"),
        (whole.masked, "nodes may not be seen by whoever asks"),
        (whole.erased, "nodes were erased"),
    ):
        if count:
            gaps.append(f"{count} {what}")
    if gaps or not whole.complete:
        review.say("complete", Verdict.UNKNOWN, "not all that it came from is known", gaps)
    else:
        nodes = review.evidence.graph.nodes
        runs = sum(node.type == "run" for node in nodes)
        review.say(
            "complete", Verdict.PASS, f"{runs} runs and {len(nodes) - runs} versions, down to the roots"
        )


def _data(review: _Review) -> None:
    roots = [node.id for node in lineage.roots(review.evidence.graph)]
    datasets = [node.id for node in review.evidence.graph.nodes if node.kind == "dataset"]
    verdict = Verdict.PASS if roots else Verdict.UNKNOWN
    summary = f"it comes from {', '.join(roots)}" if roots else "no root is known"
    review.say("data", verdict, summary, datasets)


def _executed(review: _Review) -> list[model.RunRecord]:
    """The Runs that did something, but for those that only brought data in from outside."""
    return [r for r in review.evidence.runs if r.run.origin is None and r.run.job != "whence.publish"]


def _recorded(review: _Review, name: str, has: Mapping[str, str | None], what: str) -> None:
    lacking = [run for run, shown in has.items() if shown is None]
    if not has:
        review.say(name, Verdict.UNKNOWN, "no run of ours made it")
    elif lacking:
        review.say(name, Verdict.FAIL, f"{len(lacking)} of {len(has)} runs recorded no {what}", lacking)
    else:
        shown = [f"{run}: {value}" for run, value in has.items()]
        review.say(name, Verdict.PASS, f"all {len(has)} runs recorded their {what}", shown)


def _code(review: _Review) -> None:
    def shown(run: model.Run) -> str | None:
        if run.capture.bundle is None:
            return None
        commit = run.capture.git.get("commit")
        dirty = " with uncommitted changes" if run.capture.git.get("dirty") == "yes" else ""
        return f"{run.capture.entry}, source {run.capture.bundle.short}" + (
            f", commit {commit}{dirty}" if commit else ""
        )

    _recorded(review, "code", {_named(r.run): shown(r.run) for r in _executed(review)}, "source")


def _environment(review: _Review) -> None:
    def shown(run: model.Run) -> str | None:
        named = run.capture.environment
        return None if named is None else f"Python {run.capture.python}, environment {named.short}"

    _recorded(review, "environment", {_named(r.run): shown(r.run) for r in _executed(review)}, "environment")


def _rerunnable(review: _Review) -> None:
    cannot = [
        f"{_named(r.run)}: {r.run.capture.because}" for r in _executed(review) if not r.run.capture.rerunnable
    ]
    times = review.evidence.identical_reruns
    if cannot:
        review.say("rerunnable", Verdict.FAIL, f"{len(cannot)} runs cannot be made again", cannot)
    elif times:
        review.say("rerunnable", Verdict.PASS, f"it was made again {times} times, with the same bytes")
    else:
        review.say("rerunnable", Verdict.UNKNOWN, "it could be made again from its record; nobody has tried")


def _sound(review: _Review) -> None:
    bad = [f"{_named(r.run)}: {r.run.state}" for r in review.evidence.runs if r.run.state not in _GOOD]
    bad += [f"{_named(r.run)}: {text}" for r in review.evidence.runs for text in r.run.warnings]
    if bad:
        review.say("sound", Verdict.FAIL, f"{len(bad)} things went wrong on the way", bad)
    else:
        review.say(
            "sound", Verdict.PASS, f"all {len(review.evidence.runs)} runs completed, without a warning"
        )


_GOOD = frozenset({model.RunState.COMPLETE, model.RunState.REUSED})


def _seen(review: _Review) -> None:
    spots: dict[str, int] = {}
    for record in _executed(review):
        for spot in record.run.capture.blind_spots or ():
            spots[spot] = spots.get(spot, 0) + 1
    if spots:
        shown = [f"{spot} ({count} runs)" for spot, count in sorted(spots.items())]
        review.say("seen", Verdict.UNKNOWN, f"{len(spots)} things were not observed", shown)
    else:
        review.say("seen", Verdict.PASS, "nothing was left unobserved")


def _people(review: _Review) -> None:
    actors = {r.run.actor for r in review.evidence.runs}
    shown = sorted(f"{a.name}{'' if a.authenticated else ' (nobody checked)'}" for a in actors)
    checked = all(actor.authenticated for actor in actors)
    verdict = Verdict.PASS if actors and checked else Verdict.UNKNOWN
    review.say("people", verdict, f"run by {', '.join(shown) or 'nobody known'}", shown)


def _approved(review: _Review) -> None:
    review.say("approved", Verdict.UNKNOWN, "no approval is recorded")


def _aliases(review: _Review) -> None:
    subject = review.evidence.subject
    mine = [alias for alias in review.evidence.aliases if alias.version.number == subject.number]
    shown = [
        f"{a.name} from {a.since:%Y-%m-%d %H:%M:%S} UTC"
        + (f" to {a.until:%Y-%m-%d %H:%M:%S} UTC" if a.until else "")
        + f", by {a.actor.name}"
        + (f", in place of version {a.replaced}" if a.replaced else "")
        + (f": {a.reason}" if a.reason else "")
        for a in mine
    ]
    now = ", ".join(sorted(a.name for a in mine if a.until is None))
    summary = f"it is {now} now" if now else "no alias points at it now"
    review.say("aliases", Verdict.PASS, summary, shown)


def _named(run: model.Run) -> str:
    return f"{run.job} {run.short}"

"""Taint, as plainly as it can be said: from the facts, from the start, each time that it is asked."""

from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from whence_catalog import catalog, facts, judging, model, replies

Content = tuple[model.Artifact, str]


@dataclass(frozen=True, slots=True)
class Tainted:
    """What `run` made as `version`, and the quarantine that reaches it."""

    run: UUID
    version: Content
    quarantine: UUID


@dataclass
class PlainTaint:
    """What was made of what, and what stands in quarantine, as far as the facts were taken in."""

    started: dict[UUID, int] = field(default_factory=dict)
    taken: dict[UUID, list[model.Source]] = field(default_factory=dict)
    made: dict[tuple[UUID, Content], int] = field(default_factory=dict)
    standing: dict[UUID, Content] = field(default_factory=dict)

    def take_in(self, stored: replies.StoredFact) -> None:
        """Note what a fact says; they come in their order."""
        fact, position = stored.fact, stored.position
        match fact.verb:
            case "start":
                self._start(position, facts.read_start(fact.body))
            case "record":
                self._start(position, facts.read_start(cast("facts.Body", fact.body["start"])))
                report, _ = facts.read_finish(fact.uid, cast("facts.Body", fact.body["finish"]))
                self._add(position, report.run, report)
            case "finish":
                report, _ = facts.read_finish(fact.uid, fact.body)
                self._add(position, report.run, report)
            case "add":
                addition = facts.read_add(fact.uid, fact.body)
                self._add(position, addition.run, addition)
            case "quarantine":
                claim = judging.read_quarantine(fact.uid, fact.body)
                self.standing[fact.uid] = (claim.artifact, str(claim.digest))
            case "release":
                self.standing.pop(judging.read_release(fact.uid, fact.body).of, None)
            case _:
                pass

    def _start(self, position: int, call: model.Call) -> None:
        self.started[call.run] = position
        self.taken[call.run] = [claim.source for claim in call.inputs]

    def _add(self, position: int, run: UUID, said: model.Report | model.Addition) -> None:
        self.taken[run] += [claim.source for claim in said.inputs]
        for claim in said.outputs:
            self.made.setdefault((run, (claim.artifact, str(claim.content.digest))), position)

    def tainted(self) -> set[Tainted]:
        """Every production that a standing quarantine reaches."""
        return {
            Tainted(run, version, quarantine)
            for quarantine, bad in self.standing.items()
            for run, version in self._reached(bad)
        }

    def _reached(self, bad: Content) -> set[tuple[UUID, Content]]:
        reached = {made for made in self.made if made[1] == bad}
        while True:
            runs = {
                run
                for run, sources in self.taken.items()
                if any(self._is_reached(source, run, bad, reached) for source in sources)
            }
            more = {made for made in self.made if made[0] in runs} - reached
            if not more:
                return reached
            reached |= more

    def _is_reached(
        self, source: model.Source, run: UUID, bad: Content, reached: set[tuple[UUID, Content]]
    ) -> bool:
        version = (source.artifact, str(source.digest))
        if version == bad:
            return True
        if source.producer is not None:
            return (source.producer, version) in reached
        return any(
            other == version and self.made[maker, other] < self.started[run] for maker, other in reached
        )


def kept(opened: catalog.Catalog, versions: set[Content], as_of: int | None = None) -> set[Tainted]:
    """What the catalog's own index says of these Versions, or what was known at a position."""
    references = [
        model.Reference.parse(f"{artifact}@{digest}")
        for artifact, digest in sorted(versions, key=lambda v: (str(v[0]), v[1]))
    ]
    found: set[Tainted] = set()
    for answer in opened.judgements(references, as_of):
        assert isinstance(answer, replies.Judgements), answer
        for taint in answer.taints:
            version = (taint.version.artifact, str(taint.version.digest))
            found.add(Tainted(taint.run, version, taint.quarantine.uid))
    return found


def facts_of(opened: catalog.Catalog) -> list[replies.StoredFact]:
    """All facts, in their order."""
    found: list[replies.StoredFact] = []
    while page := opened.facts(after=len(found), limit=1000):
        found += page
    return found

"""What processes asked of a catalog and heard from it, as each wrote it down itself; and what the catalog says.

A process writes one line before each call and one after it, into a file of its own, so that whatever
kills it leaves all that it said and heard until then. Times of different processes compare: all run on one
machine. `mono` is the order of events (nanoseconds); `wall` is what the catalog's clock said (microseconds).
"""

import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from whence import calls
from whence_catalog import cache, catalog, facts, model, replies


@dataclass(frozen=True, slots=True)
class Moment:
    mono: int
    wall: int


@dataclass(frozen=True, slots=True)
class Span:
    """From when a call was made until it was answered; no end: nobody heard an answer."""

    began: Moment
    ended: Moment | None


@dataclass(frozen=True, slots=True)
class Reserve:
    """Asked what to do for a key. Granted with a token, told to reuse an origin's outputs, to wait, or not told."""

    process: str
    key: str
    run: str
    span: Span
    token: int | None = None
    reason: str | None = None
    since: int = 0
    origin: str | None = None
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """Said how a Run ended. `outcome` is what that did to the cache, None where no answer was heard."""

    process: str
    key: str
    run: str
    span: Span
    token: int | None
    outputs: tuple[str, ...]
    outcome: str | None = None
    state: str = "complete"


@dataclass(frozen=True, slots=True)
class Beat:
    """Said that Runs live; `lost` are those that were told to have lost their lease."""

    process: str
    runs: tuple[str, ...]
    span: Span
    lasting: int
    lost: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact of the catalog about a Run with a key, as far as it matters here."""

    verb: str
    run: str
    key: str
    outcome: str | None = None
    origin: str | None = None
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """All that was asked and heard, and the catalog's facts in their order."""

    reserves: Sequence[Reserve] = ()
    finishes: Sequence[Finish] = ()
    beats: Sequence[Beat] = ()
    facts: Sequence[Fact] = ()


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def _now() -> dict[str, int]:
    return {"mono": time.monotonic_ns(), "wall": time.time_ns() // 1000}


@dataclass
class Witness:
    """One client of a catalog, which writes down what it says and hears. Safe from threads."""

    to: catalog.Catalog
    folder: Path
    process: str
    _calls: "itertools.count[int]" = field(default_factory=itertools.count)
    _file: int = field(init=False)

    def __post_init__(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(self.folder / f"{self.process}.history", flags, 0o600)

    def _write(self, number: int, what: str, **more: object) -> None:
        line = json.dumps({"process": self.process, "call": number, "what": what, **_now(), **more})
        os.write(self._file, line.encode() + b"\n")

    def reserve(self, key: str, call: model.Call, **more: object) -> cache.Answer:
        """What to do for `key`."""
        number = next(self._calls)
        self._write(number, "reserve", key=key, run=str(call.run))
        answer = calls.one(self.to.reserve([call]))
        match answer:
            case cache.Execute():
                assert answer.run is not None
                since = int(answer.run.started_at.timestamp() * 1e6)
                told = {"token": answer.token, "reason": str(answer.reason), "since": since}
                self._write(number, "granted", **told, **more)
            case cache.Reuse():
                outputs = [str(output.version.digest) for output in answer.outputs]
                self._write(number, "reused", origin=str(answer.entry.run), outputs=outputs)
            case cache.Verify() | cache.Wait():
                self._write(number, "waiting")
        return answer

    def finish(self, key: str, report: model.Report) -> replies.Finished:
        """End a Run."""
        number = next(self._calls)
        outputs = [str(claim.content.digest) for claim in report.outputs]
        said = {"run": str(report.run), "token": report.token, "state": str(report.state)}
        self._write(number, "finish", key=key, outputs=outputs, **said)
        finished = calls.one(self.to.finish_runs([report]))
        self._write(number, "finished", outcome=str(finished.publication.outcome))
        return finished

    def beat(self, runs: Sequence[UUID], lasting: timedelta) -> frozenset[UUID]:
        """Say that these Runs live."""
        number = next(self._calls)
        micros = lasting // timedelta(microseconds=1)
        self._write(number, "beat", runs=[str(run) for run in runs], lasting=micros)
        lost = self.to.beat(runs, lasting)
        self._write(number, "beaten", lost=[str(run) for run in lost])
        return lost

    def note(self, what: str, **more: object) -> None:
        """Write down something else."""
        self._write(next(self._calls), what, **more)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def lines(folder: Path) -> Iterator[Mapping[str, Any]]:
    """What all wrote so far, process by process; the last line of one that was killed may be cut."""
    for file in sorted(folder.glob("*.history")):
        for line in file.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


def read(written: Iterable[Mapping[str, Any]], recorded: Sequence[Fact] = ()) -> History:
    """The history that these lines tell."""
    asked: dict[tuple[str, int], Mapping[str, Any]] = {}
    answered: dict[tuple[str, int], Mapping[str, Any]] = {}
    for line in written:
        of = (line["process"], line["call"])
        (asked if line["what"] in ("reserve", "finish", "beat") else answered)[of] = line
    reserves, finishes, beats = [], [], []
    for of, line in asked.items():
        heard = answered.get(of, {})
        span = Span(_moment(line), _moment(heard) if heard else None)
        match line["what"]:
            case "reserve":
                told = {name: heard[name] for name in ("token", "reason", "since", "origin") if name in heard}
                outputs = tuple(heard.get("outputs", ()))
                reserves.append(
                    Reserve(line["process"], line["key"], line["run"], span, **told, outputs=outputs)
                )
            case "finish":
                said = (line["token"], tuple(line["outputs"]), heard.get("outcome"), line["state"])
                finishes.append(Finish(line["process"], line["key"], line["run"], span, *said))
            case _:
                lost = tuple(heard["lost"]) if heard else None
                beats.append(Beat(line["process"], tuple(line["runs"]), span, line["lasting"], lost))
    return History(reserves, finishes, beats, recorded)


def _moment(line: Mapping[str, Any]) -> Moment:
    return Moment(line["mono"], line["wall"])


def recorded(opened: catalog.Catalog, names: Mapping[str, str]) -> tuple[Fact, ...]:
    """What the catalog's facts say of Runs whose keys have a name in `names`."""
    found: list[Fact] = []
    keys: dict[UUID, str] = {}
    after = 0
    while page := opened.facts(after=after, limit=1000):
        after = page[-1].position
        for stored in page:
            fact = stored.fact
            if fact.verb in ("start", "reuse"):
                call = facts.read_start(fact.body)
                if call.key not in names:
                    continue
                keys[call.run] = names[call.key]
                origin = str(facts.read_origin(fact.body)) if fact.verb == "reuse" else None
                found.append(Fact(fact.verb, str(call.run), keys[call.run], origin=origin))
            elif fact.verb == "finish":
                report, publication = facts.read_finish(fact.uid, fact.body)
                if report.run in keys:
                    outputs = tuple(str(claim.content.digest) for claim in report.outputs)
                    outcome = str(publication.outcome)
                    found.append(Fact("finish", str(report.run), keys[report.run], outcome, outputs=outputs))
    return tuple(found)

"""Cache, reservation and taint against a model of them: whatever comes after whatever, both say the same."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule

from tests import plain_taint, postgres, simulator
from tests.simulator import ACTOR, World, taken
from whence_catalog import cache, catalog, inventory, model, replies
from whence_catalog.cache import Reason
from whence_catalog.errors import Conflict
from whence_catalog.model import Mode, Outcome, RunState
from whence_catalog.sql.catalog import SqlCatalog

HOUR = timedelta(hours=1)
CONTENTS = st.sampled_from([b"A", b"B"])
WORDS = st.sampled_from(["", "", "present", "missing", "altered"])
# Whether it is to be one that goes on, and which.
Which: TypeAlias = tuple[bool, int]
RUNS = st.tuples(st.sampled_from([True, True, True, False]), st.integers(0, 3))
PUBLISHING = (Mode.REUSE, Mode.REFRESH)


@dataclass
class Entry:
    """What a look-up finds."""

    run: UUID
    made: dict[str, bytes]
    revoked: bool = False


@dataclass
class Lease:
    """Who was last given a key; `live` as long as it holds it."""

    owner: str
    run: UUID
    token: int
    reason: Reason
    live: bool = True


@dataclass
class Begun:
    """A Run that executes, and what it was told."""

    call: model.Call
    token: int | None
    state: RunState = RunState.RUNNING
    is_presumed: bool = False
    is_silent: bool = False

    @property
    def wants_key(self) -> bool:
        return self.call.key is not None and self.call.mode in PUBLISHING

    @property
    def is_over(self) -> bool:
        return self.state is not RunState.RUNNING and not self.is_presumed


@dataclass
class Plain:
    """The rules of the cache, as simply as they can be said. What taints what is told by the facts."""

    entries: dict[str, Entry] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    runs: dict[UUID, Begun] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)
    divergences: int = 0

    def decide(self, call: model.Call, words: str, taint: "Judged") -> Reason | str:
        """Why it executes; or "reuse", or "verify"."""
        assert call.key is not None
        entry = self.entries.get(call.key)
        if call.mode is Mode.REFRESH:
            return Reason.REFRESHED
        if entry is None:
            return Reason.NO_ENTRY
        if condemned := taint.of_run(entry.run):
            return condemned
        if entry.revoked:
            return Reason.REVOKED
        if call.max_age == timedelta(0):
            return Reason.EXPIRED
        if words == "missing":
            return Reason.OUTPUT_MISSING
        if words == "altered":
            return Reason.OUTPUT_ALTERED
        if call.verify_rate:
            return Reason.SAMPLED
        is_known = (
            call.presence_age is None or words == "present" or self.seen.issuperset(entry.made.values())
        )
        return "reuse" if is_known else "verify"

    def is_held_by_another(self, call: model.Call) -> bool:
        lease = self.leases.get(call.key or "")
        return lease is not None and lease.live and lease.owner != call.owner

    def take(self, call: model.Call, token: int | None, reason: Reason) -> None:
        assert call.key is not None
        assert token is not None
        before = self.leases.get(call.key)
        assert before is None or token > before.token, "a token only grows"
        self.leases[call.key] = Lease(call.owner, call.run, token, reason)

    def lease_of(self, begun: Begun) -> Lease | None:
        lease = self.leases.get(begun.call.key or "")
        return lease if lease is not None and lease.run == begun.call.run else None

    def holds(self, begun: Begun) -> bool:
        lease = self.lease_of(begun)
        return lease is not None and lease.live

    def let_go(self, begun: Begun) -> None:
        if (lease := self.lease_of(begun)) is not None:
            lease.live = False

    def publish(
        self,
        begun: Begun,
        made: dict[str, bytes],
        token: int | None,
        taint: "Judged",
        condemned: Reason | None,
    ) -> Outcome:
        """What a complete Run does to the entries."""
        key = begun.call.key
        if key is None or not begun.wants_key:
            return Outcome.NONE
        entry, lease = self.entries.get(key), self.leases.get(key)
        differs = entry is not None and entry.made != made
        is_fenced = (
            lease is not None and lease.live and (lease.owner, lease.token) == (begun.call.owner, token)
        )
        if condemned or not is_fenced or lease is None:
            self.divergences += differs
            return Outcome.REFUSED
        self.divergences += differs
        if entry is None:
            outcome = Outcome.ENTERED
        else:
            was_bad = taint.of_run(entry.run) is not None or entry.revoked
            reasons = {Reason.EXPIRED, Reason.OUTPUT_MISSING, Reason.OUTPUT_ALTERED, Reason.REFRESHED}
            is_worse = lease.reason in (Reason.QUARANTINED, Reason.TAINTED, Reason.REVOKED)
            if not differs:
                outcome = Outcome.SUPERSEDED if was_bad or is_worse else Outcome.RENEWED
            else:
                gives_way = was_bad or is_worse or lease.reason in reasons
                outcome = Outcome.SUPERSEDED if gives_way else Outcome.DIVERGED
        if outcome in (Outcome.ENTERED, Outcome.SUPERSEDED):
            self.entries[key] = Entry(begun.call.run, made)
        return outcome


class Judged:
    """What is tainted now, by the facts."""

    def __init__(self, opened: catalog.Catalog) -> None:
        self.plain = plain_taint.PlainTaint()
        for stored in plain_taint.facts_of(opened):
            self.plain.take_in(stored)
        self.tainted = self.plain.tainted()

    def of_run(self, run: UUID) -> Reason | None:
        """What is wrong with what a Run made."""
        marks = [one for one in self.tainted if one.run == run]
        if any(self.plain.standing[one.quarantine] == one.version for one in marks):
            return Reason.QUARANTINED
        return Reason.TAINTED if marks else None

    def foreseen(self, run: UUID, late: list[model.InputClaim], made: dict[str, bytes]) -> Reason | None:
        """What is wrong with what a Run is about to have made."""
        bad = set(self.plain.standing.values())
        sources = [*self.plain.taken[run], *(taken.source for taken in late)]
        touched = {(source.artifact, str(source.digest)) for source in sources}
        touched |= {(simulator.artifact(name), str(simulator.digest_of(what))) for name, what in made.items()}
        if touched & bad:
            return Reason.QUARANTINED
        for source in sources:
            version = (source.artifact, str(source.digest))
            for one in self.tainted:
                if one.version == version and (
                    source.producer == one.run
                    if source.producer is not None
                    else self.plain.made[one.run, version] < self.plain.started[run]
                ):
                    return Reason.TAINTED
        return None


class CacheMachine(RuleBasedStateMachine):
    outputs = Bundle("outputs")
    quarantines = Bundle("quarantines")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.catalog = self.stack.enter_context(self.opened())
        self.world = World(self.catalog)
        self.plain = Plain()

    @contextmanager
    def opened(self) -> Iterator[SqlCatalog]:
        """A new catalog."""
        with (
            tempfile.TemporaryDirectory() as folder,
            closing(SqlCatalog.open(Path(folder) / "catalog.db", synchronous="OFF")) as made,
        ):
            yield made

    def teardown(self) -> None:
        with self.stack:
            judged = Judged(self.catalog)
            versions = {version for _, version in judged.plain.made}
            assert plain_taint.kept(self.catalog, versions) == judged.tainted
            assert len(self.catalog.divergences(first=1000).items) == self.plain.divergences
            assert self.catalog.check().problems == ()

    def _begun(self, which: Which) -> Begun | None:
        """One of the Runs that have begun: of those that are not over, where it is to be one of these."""
        is_open, place = which
        some = [begun for begun in self.plain.runs.values() if not (is_open and begun.is_over)]
        return some[-1 - place % len(some)] if some else None

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────

    @rule(target=outputs, content=CONTENTS)
    def bring_in(self, content: bytes) -> model.Output:
        (output,) = self.world.note("bring in", {"dataset:d": content}).outputs
        self.plain.seen.add(content)
        return output

    @rule(
        source=st.none() | outputs,
        is_named=st.booleans(),
        mode=st.sampled_from([Mode.REUSE] * 5 + [Mode.REFRESH, Mode.RECORD]),
        max_age=st.sampled_from([None, None, HOUR, timedelta(0)]),
        presence_age=st.sampled_from([None, HOUR]),
        rate=st.sampled_from([0.0, 0.0, 1.0]),
        words=WORDS,
        of_holder=st.sampled_from([False, False, True]),
    )
    def ask(
        self,
        source: model.Output | None,
        is_named: bool,
        mode: Mode,
        max_age: timedelta | None,
        presence_age: timedelta | None,
        rate: float,
        words: str,
        of_holder: bool,
    ) -> None:
        """Somebody asks what to do; or whoever holds the key asks for another Run."""
        inputs = [] if source is None else [taken(source, "in", producer=is_named)]
        call = self.world.call("make", 1, inputs, mode=mode, max_age=max_age, presence_age=presence_age)
        assert call.key is not None
        call = replace(call, verify_rate=rate)
        if of_holder and call.key in self.plain.leases:
            call = replace(call, owner=self.plain.leases[call.key].owner)
        entry = self.plain.entries.get(call.key)
        if words and entry is not None:
            call = replace(call, **{words: frozenset(map(simulator.digest_of, entry.made.values()))})
        else:
            words = ""
        decided = (
            self.plain.decide(call, words, Judged(self.catalog)) if mode in PUBLISHING else Reason.NOT_ASKED
        )
        answer = self.world.ask(call)
        if mode in PUBLISHING and entry is not None:
            if words == "present":
                self.plain.seen |= set(entry.made.values())
            elif words:
                self.plain.seen -= set(entry.made.values())
        self._heard(call, decided, answer)

    @rule(target=outputs, source=st.none() | outputs, content=CONTENTS)
    def call(self, source: model.Output | None, content: bytes) -> object:
        """A step as it mostly goes: asked, computed where it must be, and entered."""
        inputs = [] if source is None else [taken(source, "in")]
        return self._computed(self.world.call("make", 1, inputs), content)

    @rule(target=outputs, content=CONTENTS, is_taken=st.booleans())
    def come_too_late(self, content: bytes, is_taken: bool) -> object:
        """A step that is not heard of for a lease, and completes all the same; perhaps past another."""
        late, other = (self.world.call("make", 1, mode=Mode.REFRESH) for _ in range(2))
        self._heard(late, Reason.REFRESHED, self.world.ask(late))
        begun = self.plain.runs.get(late.run)
        if begun is None:
            return multiple()
        self._be_silent(begun)
        if is_taken:
            self._heard(other, Reason.REFRESHED, self.world.ask(other))
        return self._completed(begun, content, [], begun.token, ())

    def _computed(self, call: model.Call, content: bytes) -> object:
        decided = self.plain.decide(call, "", Judged(self.catalog))
        self._heard(call, decided, self.world.ask(call))
        if call.run not in self.plain.runs:
            return multiple()
        return self._completed(self.plain.runs[call.run], content, [], self.plain.runs[call.run].token, ())

    @rule(target=outputs, content=CONTENTS)
    def call_the_same(self, content: bytes) -> object:
        """The key that is asked for most."""
        return self._computed(self.world.call("make", 1), content)

    @rule(
        target=outputs, content=CONTENTS, rate=st.sampled_from([0.0, 1.0]), mode=st.sampled_from(PUBLISHING)
    )
    def compute_again(self, content: bytes, rate: float, mode: Mode) -> object:
        """Compared with what was there, or in its place."""
        return self._computed(self.world.call("make", 1, mode=mode, verify_rate=rate), content)

    def _heard(self, call: model.Call, decided: Reason | str, answer: cache.Answer) -> None:
        if decided == "reuse":
            assert isinstance(answer, cache.Reuse)
            entry = self.plain.entries[call.key or ""]
            assert answer.entry.run == entry.run
            assert {o.role: o.version.digest for o in answer.outputs} == {
                role: simulator.digest_of(made) for role, made in entry.made.items()
            }
            return
        if decided == "verify":
            assert isinstance(answer, cache.Verify)
            made = self.plain.entries[call.key or ""].made.values()
            assert answer.unknown == {simulator.digest_of(w) for w in made if w not in self.plain.seen}
            return
        if call.mode in PUBLISHING and self.plain.is_held_by_another(call):
            assert isinstance(answer, cache.Wait)
            assert answer.holder == self.plain.leases[call.key or ""].owner
            return
        assert isinstance(answer, cache.Execute)
        assert answer.reason == decided
        begun = self.plain.runs[call.run] = Begun(call, answer.token)
        if begun.wants_key:
            self.plain.take(call, answer.token, answer.reason)
        else:
            assert answer.token is None

    @rule(which=RUNS)
    def ask_again(self, which: Which) -> None:
        """The answer was lost on the way."""
        begun = self._begun(which)
        if begun is None:
            return
        (answer,) = self.catalog.reserve([begun.call])
        if begun.is_over:
            assert isinstance(answer, Conflict)
            return
        assert not isinstance(answer, Conflict)
        if not begun.wants_key:
            assert isinstance(answer, cache.Execute)
        elif self.plain.is_held_by_another(begun.call):
            assert isinstance(answer, cache.Wait)
        else:
            assert isinstance(answer, cache.Execute)
            lease = self.plain.lease_of(begun)
            if lease is not None:
                assert answer.reason == lease.reason
            self.plain.take(begun.call, answer.token, answer.reason)
            begun.token, begun.is_silent = answer.token, False

    @rule(
        target=outputs,
        which=RUNS,
        content=CONTENTS,
        late=st.none() | outputs,
        token=st.sampled_from(["own"] * 6 + ["stale", "none"]),
        is_cacheable=st.sampled_from([True] * 6 + [False]),
    )
    def complete(
        self, which: Which, content: bytes, late: model.Output | None, token: str, is_cacheable: bool
    ) -> object:
        begun = self._begun(which)
        if begun is None:
            return multiple()
        given = {"own": begun.token, "stale": (begun.token or 1) - 1, "none": None}[token]
        inputs = [] if late is None else [taken(late, "late")]
        return self._completed(begun, content, inputs, given, () if is_cacheable else ("it saw the clock",))

    def _completed(
        self,
        begun: Begun,
        content: bytes,
        late: list[model.InputClaim],
        token: int | None,
        uncacheable: tuple[str, ...],
    ) -> object:
        made = {"model:m": content}
        report = self.world.report(begun.call, made, token, inputs=tuple(late), uncacheable=uncacheable)
        judged = Judged(self.catalog)
        (finished,) = self.catalog.finish_runs([report])
        if begun.is_over:
            assert isinstance(finished, Conflict)
            return multiple()
        assert isinstance(finished, replies.Finished)
        condemned = judged.foreseen(begun.call.run, late, made)
        if uncacheable and condemned is None and begun.wants_key:
            expected = Outcome.REFUSED
        else:
            expected = self.plain.publish(begun, made, token, judged, condemned)
        assert finished.publication.outcome == expected
        self._over(begun, RunState.COMPLETE)
        self.plain.seen.add(content)
        return finished.outputs[0]

    @rule(which=RUNS, state=st.sampled_from([RunState.FAILED, RunState.ABORTED]))
    def end_badly(self, which: Which, state: RunState) -> None:
        begun = self._begun(which)
        if begun is None:
            return
        (finished,) = self.catalog.finish_runs([self.world.report(begun.call, {}, begun.token, state)])
        if begun.is_over:
            assert isinstance(finished, Conflict)
            return
        assert isinstance(finished, replies.Finished)
        assert finished.publication.outcome is Outcome.NONE
        self._over(begun, state)

    def _over(self, begun: Begun, state: RunState) -> None:
        self.plain.let_go(begun)
        begun.state, begun.is_presumed = state, False

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    @rule(which=RUNS)
    def beat(self, which: Which) -> None:
        begun = self._begun(which)
        if begun is None:
            return
        lost = self.catalog.beat([begun.call.run], catalog.LEASE)
        assert (begun.call.run in lost) == (
            not begun.is_over and begun.wants_key and not self.plain.holds(begun)
        )
        begun.is_silent = False

    @rule(which=RUNS, is_swept=st.booleans())
    def let_a_lease_pass(self, which: Which, is_swept: bool) -> None:
        """A Run is not heard of for that long."""
        begun = self._begun(which)
        if begun is None:
            return
        self._be_silent(begun)
        if is_swept:
            self._sweep()

    def _be_silent(self, begun: Begun) -> None:
        self.catalog.beat([begun.call.run], timedelta(microseconds=-1))
        begun.is_silent = True
        if not begun.is_over:
            self.plain.let_go(begun)

    def _sweep(self) -> None:
        silent = {
            run
            for run, begun in self.plain.runs.items()
            if begun.is_silent and begun.state is RunState.RUNNING
        }
        assert set(self.catalog.sweep()) == silent
        for run in silent:
            begun = self.plain.runs[run]
            begun.state, begun.is_presumed = RunState.ABORTED, True
            self.plain.let_go(begun)

    # ── what is wrong with an entry ──────────────────────────────────────────────────────────────

    @rule(target=quarantines, output=outputs)
    def quarantine(self, output: model.Output) -> model.Quarantine:
        version = output.version
        said = model.QuarantineClaim(simulator.uid(), version.artifact, version.digest, ACTOR, "bad")
        found: model.Quarantine = simulator.one(self.catalog.quarantine([said]))
        return found

    @rule(quarantined=consumes(quarantines))
    def release(self, quarantined: model.Quarantine) -> None:
        simulator.one(self.catalog.release([model.Release(simulator.uid(), quarantined.uid, ACTOR, "good")]))

    @rule(data=st.data(), is_evicted=st.sampled_from([False, False, True]))
    def withdraw(self, data: st.DataObject, is_evicted: bool) -> None:
        """Revoke one entry, or evict all."""
        if is_evicted:
            asked = inventory.Eviction(simulator.uid(), "default", inventory.Limits(entries=0), ACTOR)
            evicted: inventory.Evicted = simulator.one(self.catalog.evict_entries([asked]))
            assert {gone.key for gone in evicted.gone} == self.plain.entries.keys()
            self.plain.entries = {}
        elif self.plain.entries:
            key = data.draw(st.sampled_from(sorted(self.plain.entries)))
            revoked = inventory.Revocation(simulator.uid(), "default", (key,), ACTOR)
            simulator.one(self.catalog.revoke_entries([revoked]))
            self.plain.entries[key].revoked = True


class PostgresCacheMachine(CacheMachine):
    @contextmanager
    def opened(self) -> Iterator[SqlCatalog]:
        with postgres.shared().database() as url, closing(SqlCatalog.connect(url)) as made:
            yield made


UNHURRIED = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

TestCacheOnAFile = CacheMachine.TestCase
TestCacheOnAFile.settings = settings(UNHURRIED, max_examples=60, stateful_step_count=40)
TestCacheOnPostgres = PostgresCacheMachine.TestCase
TestCacheOnPostgres.settings = settings(UNHURRIED, max_examples=10, stateful_step_count=30)

"""SqlCatalog: the Catalog over SQL. Each verb is one transaction; see `recording` for what it does with an item."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from uuid import UUID

from whence_catalog import (
    access,
    cache,
    catalog,
    inventory,
    later,
    model,
    replies,
)
from whence_catalog.errors import ErrorKind, InvalidInput, NotReady, Unreachable, WhenceError
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql import (
    judging,
    labelling,
    locks,
    reading,
    recording,
    reservations,
    runs,
    schema,
)
from whence_catalog.sql.engine import Engine, Gate, Transaction
from whence_catalog.sql.sqlite import SqliteEngine

if TYPE_CHECKING:
    from whence_catalog.sql import check as checking
    from whence_catalog.sql import copying, tokens
else:
    checking, copying, tokens = later.modules("whence_catalog.sql", "check", "copying", "tokens")

I = TypeVar("I")  # noqa: E741 - an item of a batch
R = TypeVar("R")

# What a verb that judges a Version is told.
_Judging: TypeAlias = model.QuarantineClaim | model.Release | model.ApprovalClaim | model.HoldClaim


def open_url(
    url: str,
    *,
    synchronous: str = "FULL",
    timeout_seconds: float = 30.0,
    lease: timedelta = catalog.LEASE,
    read_seconds: float | None = None,
) -> "SqlCatalog":
    """The catalog in a SQLite file (its path), or in a PostgreSQL database (`postgresql://…`).

    Args:
        url: where it is.
        synchronous: FULL: what was acknowledged survives a power cut. NORMAL: on SQLite, the last may not.
        timeout_seconds: how long to try while another process holds what is needed, or nobody answers.
        lease: how long a Run lives, and holds its key, without being heard of; the same for all who use it.
        read_seconds: how long a read may take (on PostgreSQL: each of its statements); for who serves others.

    Raises:
        NotReady: it cannot be used; the message says what to run.
        InvalidInput: the lease lasts no time.
    """
    if "://" in url:
        return SqlCatalog.connect(
            url, timeout_seconds=timeout_seconds, lease=lease, read_seconds=read_seconds
        )
    return SqlCatalog.open(
        Path(url),
        synchronous=synchronous,
        timeout_seconds=timeout_seconds,
        lease=lease,
        read_seconds=read_seconds,
    )


class SqlCatalog(reading.Reading):
    """A Catalog in one SQL database. Safe from threads and after a fork; see `catalog.Catalog`."""

    def __init__(self, database: Engine[Any], url: str, lease: timedelta = catalog.LEASE) -> None:
        self._database = database
        self._url = url
        self._lease_micros = _checked_lease(lease)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        synchronous: str = "FULL",
        timeout_seconds: float = 30.0,
        lease: timedelta = catalog.LEASE,
        read_seconds: float | None = None,
    ) -> "SqlCatalog":
        """The catalog in the file `path`, made now if nothing is there; see `open_url`."""
        database = SqliteEngine(
            path, synchronous=synchronous, timeout_seconds=timeout_seconds, read_seconds=read_seconds
        )
        try:
            schema.ensure(database)
            return cls(database, str(path), lease)
        except BaseException:
            database.close()
            raise

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        timeout_seconds: float = 30.0,
        lease: timedelta = catalog.LEASE,
        read_seconds: float | None = None,
    ) -> "SqlCatalog":
        """The catalog in a PostgreSQL database, which `whence migrate` has made; see `open_url`."""
        if not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            raise InvalidInput(
                f"no catalog at {url.partition('://')[0]}://…; expected postgresql://user@host/database",
                ErrorKind.BAD_SETTING,
            )
        try:
            from whence_catalog.sql.postgres import PostgresEngine
        except ImportError as error:
            raise NotReady(
                "a catalog in PostgreSQL needs psycopg, which is not installed; run: pip install 'whence[postgres]'",
                ErrorKind.EXTRA_MISSING,
            ) from error
        database = PostgresEngine(url, timeout_seconds=timeout_seconds, read_seconds=read_seconds)
        try:
            schema.require(database)
            return cls(database, database.url, lease)
        except BaseException:
            database.close()
            raise

    def identity(self) -> replies.Identity:
        uid, key = self._database.read(schema.identity)
        return replies.Identity(uid, key, self._url)

    def ping(self) -> None:
        """Return if the database answers.

        Raises:
            Unreachable, NotReady: it does not, or has another schema.
        """
        found = self._database.read(schema.revision)
        if found is None:
            raise NotReady(f"{self._url} holds no whence catalog any more", ErrorKind.NOT_A_CATALOG)
        schema.refuse_revision(found, self._url)

    def close(self) -> None:
        self._database.close()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def _each(
        self,
        items: Sequence[I],
        carry_out: Callable[[Transaction, I], R],
        hold: Callable[[Transaction, Sequence[I]], None] | None = None,
        gate: Gate | None = None,
        together: Callable[[Transaction, Sequence[I]], Sequence[R]] | None = None,
    ) -> list[catalog.Result[R]]:
        """The result of each item; `hold` takes the locks that all of them need, before any of them looks.

        `together` carries out several that nothing is the matter with; else each is carried out by itself.
        """

        def one(tx: Transaction) -> R:
            if hold is not None:
                hold(tx, items)
            return carry_out(tx, items[0])

        def many(tx: Transaction) -> list[catalog.Result[R]]:
            if hold is not None:
                hold(tx, items)
            if together is not None:
                try:
                    with tx.savepoint():
                        return list(together(tx, items))
                except (WhenceError, recording.OneByOne):
                    pass  # it will be said of the one that it is of
            results: list[catalog.Result[R]] = []
            for item in items:
                try:
                    with tx.savepoint():
                        results.append(carry_out(tx, item))
                except WhenceError as error:
                    results.append(error)
            return results

        if not items:
            return []
        if len(items) > 1:
            try:
                return self._database.write(many, gate=gate)
            except InvalidInput:
                # The database itself refused what one of them holds, and with it the whole transaction.
                return [result for item in items for result in self._each([item], carry_out, hold, gate)]
        try:
            return [self._database.write(one, gate=gate)]  # the transaction is the savepoint
        except (Unreachable, NotReady):
            raise
        except WhenceError as error:
            return [error]

    def reserve(self, calls: Sequence[model.Call]) -> Sequence[catalog.Result[cache.Answer]]:
        answers: dict[int, catalog.Result[cache.Answer]] = {}
        advised = [place for place, call in enumerate(calls) if recording.may_be_advised(call)]
        if advised:
            found = self._database.glance(
                lambda tx: [recording.advice(tx, calls[place]) for place in advised]
            )
            answers |= {place: answer for place, answer in zip(advised, found, strict=True) if answer}
            if len(answers) == len(calls):
                return [answers[place] for place in range(len(calls))]
        # In the order of keys: two batches that want the same ones must not wait for each other.
        begun = sorted((p for p in range(len(calls)) if p not in answers), key=lambda p: calls[p].key or "")
        results = self._each([calls[place] for place in begun], self._begin, _hold_names, Gate.PASSED)
        answers |= dict(zip(begun, results, strict=True))
        return [answers[place] for place in range(len(calls))]

    def _begin(self, tx: Transaction, call: model.Call) -> cache.Answer:
        return recording.begin(tx, call, self._lease_micros)

    def finish_runs(self, reports: Sequence[model.Report]) -> Sequence[catalog.Result[replies.Finished]]:
        return self._each(reports, recording.finish, _hold_reported, Gate.PASSED)

    def record_runs(
        self, runs: Sequence[tuple[model.Call, model.Report]]
    ) -> Sequence[catalog.Result[replies.Finished]]:
        return self._each(runs, recording.record, _hold_recorded, Gate.PASSED, recording.record_together)

    def add(self, additions: Sequence[model.Addition]) -> Sequence[catalog.Result[tuple[model.Output, ...]]]:
        return self._each(additions, recording.add, _hold_added, Gate.PASSED)

    def log(self, series: Sequence[model.Series]) -> Sequence[catalog.Result[None]]:
        return self._each(series, recording.log, _hold_runs)

    def move_aliases(self, moves: Sequence[model.AliasMove]) -> Sequence[catalog.Result[model.Alias]]:
        return self._each(moves, recording.move_alias, _hold_moved)

    def quarantine(
        self, claims: Sequence[model.QuarantineClaim]
    ) -> Sequence[catalog.Result[model.Quarantine]]:
        return self._each(claims, judging.quarantine, _hold_actors, Gate.CLOSED)

    def release(
        self, releases: Sequence[model.Release]
    ) -> Sequence[catalog.Result[model.Quarantine | model.Hold]]:
        return self._each(releases, judging.release, _hold_actors, Gate.CLOSED)

    def approve(self, claims: Sequence[model.ApprovalClaim]) -> Sequence[catalog.Result[model.Approval]]:
        return self._each(claims, judging.approve, _hold_actors)

    def hold(self, claims: Sequence[model.HoldClaim]) -> Sequence[catalog.Result[model.Hold]]:
        return self._each(claims, judging.hold, _hold_held)

    def deploy(self, claims: Sequence[model.DeploymentClaim]) -> Sequence[catalog.Result[model.Deployment]]:
        return self._each(claims, judging.deploy, _hold_deployed)

    def label(self, claims: Sequence[model.LabelClaim]) -> Sequence[catalog.Result[Mapping[str, str]]]:
        return self._each(claims, labelling.label, _hold_labelled)

    def revoke_entries(
        self, revocations: Sequence[inventory.Revocation]
    ) -> Sequence[catalog.Result[tuple[inventory.Entry, ...]]]:
        return self._each(revocations, recording.revoke, _hold_revoked)

    def evict_entries(
        self, evictions: Sequence[inventory.Eviction]
    ) -> Sequence[catalog.Result[inventory.Evicted]]:
        return self._each(evictions, recording.evict)

    def beat(self, runs: Sequence[UUID], lasting: timedelta = catalog.LEASE) -> frozenset[UUID]:
        # Whatever a client says, a key is free again a lease after it was last heard of.
        micros = min(_micros(lasting), self._lease_micros)

        def extend(tx: Transaction) -> frozenset[UUID]:
            _hold_runs_of(tx, runs)
            return frozenset(run for run in runs if not reservations.beat(tx, run, micros))

        return self._database.write(extend, durable=False)

    def sweep(self) -> Sequence[UUID]:
        silent = self._database.read(lambda tx: runs.silent(tx, self._lease_micros))
        results = self._each(silent, recording.presume, _hold_runs_of)
        return [
            run for run, result in zip(silent, results, strict=True) if not isinstance(result, WhenceError)
        ]

    def sequence(self) -> int:
        """Give positions to facts that have none yet, unless somebody else is at it; answers to how many.

        On SQLite they have them from the start. On PostgreSQL a server does this several times a second.
        """
        return self._sequenced(fact_log.sequence)

    # ── access ───────────────────────────────────────────────────────────────────────────────────

    def add_token(self, token: access.Token) -> access.Token:
        return self._database.write(lambda tx: tokens.add(tx, token))

    def tokens(self) -> Sequence[access.Token]:
        return self._database.read(tokens.every)

    def revoke_token(self, uid: UUID) -> access.Token:
        return self._database.write(lambda tx: tokens.revoke(tx, uid))

    def find_token(self, hash: bytes) -> access.Token | None:
        """The token whose secret has that SHA-256, whatever became of it."""
        return self._database.read(lambda tx: tokens.find(tx, hash))

    # ── upkeep ───────────────────────────────────────────────────────────────────────────────────

    def copy_into(
        self, target: "SqlCatalog", progress: Callable[[int, int], None] = lambda done, of: None
    ) -> replies.Checkpoint:
        """Make an empty catalog, in whatever database, what this one is now; see `copying.copy`."""
        self._settle_positions()
        return copying.copy(self._database, target._database, progress)

    def check(self) -> replies.CheckReport:
        self._settle_positions()
        return checking.check(self._database)


# ── locks ────────────────────────────────────────────────────────────────────────────────────────


def _hold_names(tx: Transaction, calls: Sequence[model.Call]) -> None:
    locks.hold_names(tx, [(call.project, call.job, call.actor) for call in calls])


def _hold_runs_of(tx: Transaction, uids: Sequence[UUID]) -> None:
    locks.hold_keys(tx, locks.hold_runs(tx, uids))


def _hold_runs(tx: Transaction, series: Sequence[model.Series]) -> None:
    locks.hold_runs(tx, [item.run for item in series])


def _hold_reported(tx: Transaction, reports: Sequence[model.Report]) -> None:
    keys = locks.hold_runs(tx, [report.run for report in reports])
    locks.hold_names(tx, made=_made(claim for report in reports for claim in report.outputs))
    locks.hold_places(tx, [claim for report in reports for claim in report.outputs])
    read = [report.trace.key for report in reports if report.trace is not None]
    locks.hold_keys(tx, keys, unreserved=read)


def _hold_recorded(tx: Transaction, items: Sequence[tuple[model.Call, model.Report]]) -> None:
    claims = [claim for _, report in items for claim in report.outputs]
    calls = [(call.project, call.job, call.actor) for call, _ in items]
    if any(claim.location is not None for claim in claims):
        # What these hold is waited for before anything is looked up.
        locks.hold_names(tx, calls, made=_made(claims))
        locks.hold_places(tx, claims)
        calls, claims = [], []
    rows, asked = recording.asked_of_recorded(items)
    locks.hold_named(tx, calls, _made(claims), rows, *asked)


def _hold_added(tx: Transaction, additions: Sequence[model.Addition]) -> None:
    locks.hold_runs(tx, [addition.run for addition in additions])
    locks.hold_names(tx, made=_made(claim for addition in additions for claim in addition.outputs))
    locks.hold_places(tx, [claim for addition in additions for claim in addition.outputs])


def _hold_moved(tx: Transaction, moves: Sequence[model.AliasMove]) -> None:
    locks.hold_names(
        tx, actors=[move.actor for move in moves], made=[(move.artifact, None) for move in moves]
    )
    locks.pass_pins(tx)


def _hold_actors(tx: Transaction, items: Sequence[_Judging]) -> None:
    locks.hold_names(tx, actors=[item.actor for item in items])


def _hold_held(tx: Transaction, claims: Sequence[model.HoldClaim]) -> None:
    _hold_actors(tx, claims)
    locks.pass_pins(tx)


def _hold_deployed(tx: Transaction, claims: Sequence[model.DeploymentClaim]) -> None:
    # Two that deploy to one project take turns: what stands at a target is ended by one of them.
    locks.hold_names(
        tx, actors=[claim.actor for claim in claims], made=[(claim.artifact, None) for claim in claims]
    )
    locks.pass_pins(tx)


def _hold_labelled(tx: Transaction, claims: Sequence[model.LabelClaim]) -> None:
    locks.hold_runs(tx, labelling.runs_named(claims))
    locks.hold_names(
        tx,
        actors=[claim.actor for claim in claims],
        made=[(artifact, None) for artifact in labelling.artifacts_named(claims)],
    )


def _hold_revoked(tx: Transaction, revocations: Sequence[inventory.Revocation]) -> None:
    locks.hold_many_keys(tx, {key for asked in revocations for key in asked.keys})


def _made(claims: Iterable[model.OutputClaim]) -> list[tuple[model.Artifact, bytes | None]]:
    return [(claim.artifact, claim.content.digest.raw) for claim in claims]


def _micros(lasting: timedelta) -> int:
    return lasting // timedelta(microseconds=1)


def _checked_lease(lease: timedelta) -> int:
    if lease <= timedelta(0):
        raise InvalidInput(
            f"a lease of {lease.total_seconds():g} s; it is longer than nothing", ErrorKind.BAD_SETTING
        )
    return _micros(lease)

"""Plans over SQL: `planning.Known` in one transaction, a query for each question about however many Runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import bindparam, func, select

from whence_catalog import cache, digest, facts, gathering, lineage, model, planning, plans, rerun
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound
from whence_catalog.sql import artifacts, engine, named, questions, runs, states, tables, taint, times
from whence_catalog.sql.engine import Record, Statement, Transaction

_RUN = tables.RUN
_ORIGIN = _RUN.alias("origin")
_JOB = tables.JOB
_PROJECT = tables.PROJECT
_INPUT = tables.INPUT
_OUTPUT = tables.OUTPUT
_VERSION = tables.VERSION
_ARTIFACT = tables.ARTIFACT
_ENTRY = tables.CACHE_ENTRY
_COMPONENT = tables.COMPONENT
_PLACE = tables.PLACE

_runs = Statement(
    select(
        *(_RUN.c.id, _RUN.c.uid, _PROJECT.c.name, _JOB.c.name, _RUN.c.state),
        # The key of what was reused is that under which it is known: what was asked may have been another.
        func.coalesce(_ORIGIN.c.key, _RUN.c.key),
        func.coalesce(_ORIGIN.c.outcome, _RUN.c.outcome),
        *(_RUN.c.origin_id, _RUN.c.rerun_of),
    )
    .select_from(_RUN)
    .outerjoin(_ORIGIN, _ORIGIN.c.id == _RUN.c.origin_id)
    .join(_JOB, _JOB.c.id == _RUN.c.job_id)
    .join(_PROJECT, _PROJECT.c.id == _RUN.c.project_id)
    .where(engine.among(_RUN.c.id, "ids"))
)
_condemned = Statement(select(_RUN.c.id, taint.WORST).where(engine.among(_RUN.c.id, "ids")))
_uids = Statement(select(_RUN.c.id, _RUN.c.uid).where(engine.among(_RUN.c.id, "ids")))
_versions = Statement(
    select(
        *(_VERSION.c.id, _PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name),
        *(_VERSION.c.digest, _VERSION.c.strength, _VERSION.c.form, _VERSION.c.size_bytes),
    )
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .where(engine.among(_VERSION.c.id, "ids"))
)
_outputs = Statement(
    select(_OUTPUT.c.run_id, _OUTPUT.c.role, _OUTPUT.c.version_id, _OUTPUT.c.location)
    .where(engine.among(_OUTPUT.c.run_id, "ids"))
    .order_by(_OUTPUT.c.run_id, _OUTPUT.c.place, _OUTPUT.c.role)
)
_repeated = Statement(
    select(_RUN.c.uid, _RUN.c.id, _RUN.c.rerun_of, _RUN.c.key, _RUN.c.outcome).where(
        engine.among_bytes(_RUN.c.uid, "uids"), _RUN.c.origin_id.is_(None)
    )
)
_calls = Statement(
    select(_RUN.c.id, _RUN.c.project_id, _RUN.c.job_id, _RUN.c.params, _RUN.c.capture).where(
        engine.among(_RUN.c.id, "ids")
    )
)
_inputs = Statement(
    select(_INPUT.c.run_id, _INPUT.c.role, _INPUT.c.ordinal, _INPUT.c.version_id).where(
        engine.among(_INPUT.c.run_id, "ids")
    )
)
_entries = Statement(
    select(_ENTRY.c.key, _ENTRY.c.run_id, _RUN.c.uid, _ENTRY.c.revoked_at, taint.WORST, _PROJECT.c.name)
    .join(_RUN, _RUN.c.id == _ENTRY.c.run_id)
    .join(_PROJECT, _PROJECT.c.id == _RUN.c.project_id)
    .where(
        engine.among_texts(_ENTRY.c.key, "keys"),
        _ENTRY.c.superseded_at.is_(None),
        _ENTRY.c.evicted_at.is_(None),
    )
)
# Outputs in places outside the store where another Run has written something else since.
_overwritten = Statement(
    select(_OUTPUT.c.run_id)
    .join(_RUN, _RUN.c.id == _OUTPUT.c.run_id)
    .join(_VERSION, _VERSION.c.id == _OUTPUT.c.version_id)
    .join(_PLACE, (_PLACE.c.project_id == _RUN.c.project_id) & (_PLACE.c.location == _OUTPUT.c.location))
    .where(
        engine.among(_OUTPUT.c.run_id, "ids"),
        _OUTPUT.c.location.is_not(None),
        _PLACE.c.digest != _VERSION.c.digest,
    )
)
_components = Statement(
    select(
        *(_COMPONENT.c.run_id, _COMPONENT.c.name, _COMPONENT.c.kind, _COMPONENT.c.digest),
        _COMPONENT.c.ignored,
    )
    .where(engine.among(_COMPONENT.c.run_id, "ids"))
    .order_by(_COMPONENT.c.run_id, _COMPONENT.c.place)
)
_captures = Statement(
    select(_RUN.c.uid, _PROJECT.c.name, _JOB.c.name, _RUN.c.state, _RUN.c.capture)
    .join(_JOB, _JOB.c.id == _RUN.c.job_id)
    .join(_PROJECT, _PROJECT.c.id == _RUN.c.project_id)
    .where(engine.among(_RUN.c.id, "ids"))
)
_version_rows = Statement(
    select(_VERSION.c.id, _ARTIFACT.c.kind, _ARTIFACT.c.name, _PROJECT.c.name, _VERSION.c.digest)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .where(engine.among_bytes(_VERSION.c.digest, "digests"))
)
_versions_of = Statement(select(_VERSION.c.id).where(_VERSION.c.artifact_id == bindparam("artifact_id")))
_RECENT = 5
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_lately = (
    select(_RUN.c.id, _RUN.c.started_at, _RUN.c.finished_at)
    .join(_JOB, _JOB.c.id == _RUN.c.job_id)
    .join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id)
    .where(
        _PROJECT.c.name == bindparam("project"),
        _JOB.c.name == bindparam("job"),
        _RUN.c.state == bindparam("state"),
        _RUN.c.finished_at.is_not(None),
    )
    .order_by(_RUN.c.id.desc())
    .limit(_RECENT)
    .subquery()
)
_history = Statement(
    select(
        _lately.c.id,
        _lately.c.finished_at - _lately.c.started_at,
        func.count(_OUTPUT.c.role),
        func.sum(_VERSION.c.size_bytes),
    )
    .select_from(_lately)
    .outerjoin(_OUTPUT, _OUTPUT.c.run_id == _lately.c.id)
    .outerjoin(_VERSION, _VERSION.c.id == _OUTPUT.c.version_id)
    .group_by(_lately.c.id, _lately.c.started_at, _lately.c.finished_at)
)


def plan(tx: Transaction, request: plans.PlanRequest, projects: frozenset[str] | None) -> plans.RerunPlan:
    """What bringing up to date what the request names would do.

    Raises:
        NotFound, InvalidInput: as the verb.
    """
    if not request.targets and not request.downstream_of:
        raise InvalidInput("a plan of nothing: name a version or a run, or what to follow downstream")
    if request.max_runs < 1:
        raise InvalidInput(f"a plan of at most {request.max_runs} runs: expected one or more")
    position = times.head(tx, request.as_of)
    asked = _Asked(tx, request, position)
    targets = [asked.run(text) for text in request.targets]
    roots = [asked.version(text) for text in request.downstream_of]
    swaps, replaced = asked.swaps()
    ask = questions.edges(tx, position)
    found = gathering.gather(ask, targets, roots, replaced, request.max_runs)
    known = _Known(tx, request, projects)
    looked = known.looked_at(found)
    if roots:
        looked.leave_out(gathering.superfluous(found, frozenset(targets), *looked.may_go))
    wanted = tuple(known.uid(run) for run in targets)
    planned = planning.plan(request, swaps, known.recipes(looked), known, frozenset(wanted))
    reasons = [*found.reasons, *planned.reasons]
    # Of what may not be seen, not even how many.
    ambiguous = sum(found.ambiguous[run] for run in looked.runs)
    unmade = sum(found.unmade[run] for run in looked.runs)
    masked = looked.masked
    if ambiguous:
        reasons.append(f"{ambiguous} inputs may be of several productions; the newest is taken")
    if unmade:
        reasons.append(f"{unmade} inputs were made by nobody known; they are taken as they are")
    if masked:
        reasons.append(f"{masked} runs may not be seen; what they made is taken as it is")
    return plans.RerunPlan(
        request.uid,
        position,
        request,
        wanted,
        planned.steps,
        (*asked.aliases, *planned.read),
        # What nobody made is data from outside: nothing is missing there.
        complete=not (found.reasons or planned.reasons or ambiguous or masked),
        reasons=tuple(reasons),
    )


@dataclass(slots=True)
class _Asked:
    """What a request names, as rows; `aliases` are those that it names, and what they mean now."""

    tx: Transaction
    request: plans.PlanRequest
    position: int
    aliases: list[plans.Read] = field(default_factory=list)

    def version(self, text: str) -> int:
        """The row of a Version."""
        reference = model.Reference.parse(text)
        self._rest_on(reference)
        if self.request.as_of is None:
            return artifacts.version_id(self.tx, reference)
        return named.known_version(self.tx, reference, self.position)

    def _rest_on(self, reference: model.Reference) -> None:
        """Note what it means now, if somebody may have it mean something else."""
        if reference.alias is not None:
            self.aliases.append(plans.Read(plans.ReadType.ALIAS, str(reference), self._meaning(reference)))

    def _meaning(self, reference: model.Reference) -> str:
        try:
            row = artifacts.version_id(self.tx, reference)
        except NotFound:
            return "nothing"
        return named.versions_with_ids(self.tx, [row])[row].version.ref

    def run(self, text: str) -> int:
        """The row of a Run, by its id; or of that which made a Version, by a reference."""
        if ":" not in text:
            return runs.get(self.tx, runs.prefixed(self.tx, text)).id
        made = questions.edges(self.tx, self.position).producers_of([self.version(text)])
        if not made:
            raise NotFound(f"no run is known to have made {text}", ErrorKind.NO_SUCH_RUN)
        # A Version stands for its newest production, as everywhere.
        return max(made, key=lambda row: (row[3], row[0]))[0]

    def swaps(self) -> tuple[planning.Swaps, frozenset[int]]:
        """What stands in the place of what, and the rows of the Versions that are replaced.

        Raises:
            InvalidInput: two things are said of one Version.
        """
        found: dict[tuple[model.Artifact, digest.Digest | None], plans.Replacement] = {}
        said: dict[tuple[model.Artifact, digest.Digest | None], str] = {}
        replaced: set[int] = set()
        for text, replacement in self.request.inputs.items():
            reference = model.Reference.parse(text)
            which: digest.Digest | None = None
            if reference.selector is None:
                artifact_id = artifacts.find(self.tx, reference.artifact)
                replaced.update(row for (row,) in self.tx.all(_versions_of, artifact_id=artifact_id))
            else:
                row = self.version(text)
                replaced.add(row)
                which = named.versions_with_ids(self.tx, [row])[row].version.digest
            place = reference.artifact, which
            if found.setdefault(place, replacement) != replacement:
                raise InvalidInput(f"{said[place]} and {text} are one version, and two are to take its place")
            said.setdefault(place, text)
            if replacement.named is not None:
                self._rest_on(model.Reference.parse(replacement.named))
        return found, frozenset(replaced)


class _First(NamedTuple):
    """A Run that another one repeats, and of which run it is a repetition itself, if of any."""

    row: int
    before: bytes | None
    key: str | None


@dataclass(slots=True)
class _Looked:
    """The Runs of a plan, by their rows: what is known of each, its key, and what it repeats.

    `masked` is how many may not be seen.
    """

    found: gathering.Gathered
    rows: Mapping[int, Record]
    runs: list[int]
    keys: Mapping[int, str | None]
    repeats: Mapping[int, _First]
    masked: int

    @property
    def may_go(self) -> tuple[frozenset[int], Mapping[int, int]]:
        """Those that failed, and of those that repeat another, that one."""
        bad = (model.RunState.FAILED.value, model.RunState.ABORTED.value)
        failed = frozenset(run for run in self.runs if self.rows[run][4] in bad)
        return failed, {run: first.row for run, first in self.repeats.items()}

    def leave_out(self, gone: AbstractSet[int]) -> None:
        """Say nothing of these."""
        self.runs = [run for run in self.runs if run not in gone]


@dataclass(slots=True)
class _Known:
    """`planning.Known`; what is of other projects than `projects` (None: of none) is not told."""

    tx: Transaction
    request: plans.PlanRequest
    projects: frozenset[str] | None
    _rows: dict[UUID, int] = field(default_factory=dict)
    _names: dict[int, UUID] = field(default_factory=dict)
    _seen: dict[int, tuple[model.Artifact, model.Content]] = field(default_factory=dict)
    _artifacts: dict[tuple[str, str, str], model.Artifact] = field(default_factory=dict)
    _makes: dict[int, tuple[plans.Made, ...]] = field(default_factory=dict)
    _why_not: dict[tuple[str, bytes | int], tuple[str, ...]] = field(default_factory=dict)

    def _ask(self, statement: Statement, ids: Iterable[int]) -> list[Record]:
        rows = sorted(set(ids))
        return self.tx.all(statement, ids=rows) if rows else []

    def uid(self, row: int) -> UUID:
        """The id of the Run in that row."""
        if row not in self._names:
            self._name([row])
        return self._names[row]

    def _name(self, rows: Iterable[int]) -> None:
        for row, uid in self._ask(_uids, (row for row in rows if row not in self._names)):
            self._names[row] = UUID(bytes=uid)
            self._rows[self._names[row]] = row

    def _look_at(self, versions: Iterable[int]) -> None:
        fresh = [row for row in versions if row not in self._seen]
        for row, project, kind, name, raw, strength, form, size in self._ask(_versions, fresh):
            if self.projects is not None and project not in self.projects:
                artifact = model.Artifact(lineage.MASKED, lineage.MASKED, f"masked-{len(self._seen)}")
                self._seen[row] = artifact, model.Content(digest.Digest.of(bytes(32)), model.Strength.NONE)
                continue
            named = project, kind, name
            artifact_ = self._artifacts.get(named)
            if artifact_ is None:
                artifact_ = self._artifacts[named] = model.Artifact(*named)
            self._seen[row] = (
                artifact_,
                model.Content(digest.Digest.of(raw), model.Strength(strength), model.Form(form), size),
            )

    def _made(self, of_runs: Sequence[int]) -> Mapping[int, tuple[plans.Made, ...]]:
        """What these Runs made, and others that were asked about before."""
        fresh = [run for run in of_runs if run not in self._makes]
        rows = self._ask(_outputs, fresh)
        self._look_at(version for _, _, version, _ in rows)
        self._name({run for run, *_ in rows})
        found: dict[int, list[plans.Made]] = {run: [] for run in fresh}
        for run, role, version, location in rows:
            artifact, content = self._seen[version]
            lies = None if artifact.project == lineage.MASKED else location
            found[run].append(plans.Made(role, artifact, content, self._names[run], lies))
        self._makes.update({run: tuple(each) for run, each in found.items()})
        return self._makes

    def looked_at(self, found: gathering.Gathered) -> "_Looked":
        """The Runs that may be seen; and which of them are repetitions."""
        rows = {row[0]: row for row in self._ask(_runs, found.runs)}
        seen = [run for run in found.runs if self.projects is None or rows[run][2] in self.projects]
        keys = {run: plans.standing_key(rows[run][5], rows[run][6]) for run in seen}
        again = {
            run: bytes(rows[run][8])
            for run in seen
            if keys[run] is None and rows[run][7] is None and rows[run][8] is not None
        }
        return _Looked(found, rows, seen, keys, self._repetitions(again), len(found.runs) - len(seen))

    def _repetitions(self, again: Mapping[int, bytes]) -> Mapping[int, "_First"]:
        """Of Runs that were made once more, that with this id: the first that was the same call, if one was."""
        firsts: dict[bytes, _First] = {}
        asked = tried = set(again.values())
        while asked:
            rows = self.tx.all(_repeated, uids=sorted(asked))
            for uid, row, before, key, outcome in rows:
                firsts[bytes(uid)] = _First(row, before and bytes(before), plans.standing_key(key, outcome))
            asked = {first.before for first in firsts.values() if first.before} - tried
            tried |= asked
        called = self._called([*again, *(first.row for first in firsts.values())]) if firsts else {}
        found: dict[int, _First] = {}
        for run, uid in again.items():
            at: bytes | None = uid
            passed = set()  # nothing keeps two Runs from each saying that it is the other once more
            while at not in passed and (first := firsts.get(at or b"")) and called[first.row] == called[run]:
                passed.add(at)
                found[run] = first
                at = first.before
        return found

    def _called(self, runs: Sequence[int]) -> Mapping[int, tuple[object, ...]]:
        """What each of these Runs was a call of: the same code, with the same parameters and inputs."""
        taken: dict[int, set[tuple[str, int, int]]] = {}
        for run, *what in self._ask(_inputs, runs):
            taken.setdefault(run, set()).add(tuple(what))
        said = {}
        for run, project, job, params, framed in self._ask(_calls, runs):
            code = _captured(framed)
            how = code.bundle, code.entry, code.command
            said[run] = project, job, bytes(params), how, frozenset(taken.get(run, ()))
        return said

    def recipes(self, looked: "_Looked") -> list[planning.Recipe]:
        """These Runs as a plan looks at them."""
        found, rows, seen = looked.found, looked.rows, looked.runs
        self._look_at({take[2] for run in seen for take in found.takes.get(run, ())})
        makers = {run: rows[run][7] or run for run in seen}
        keys = dict(looked.keys)
        made = self._made([*makers.values(), *(first.row for first in looked.repeats.values())])
        for run, first in looked.repeats.items():
            # What came out as it was before is as good as that, which has a key.
            if run in makers and first.key is not None and _same(made[run], made[first.row]):
                makers[run], keys[run] = first.row, first.key
        self._name(
            [*seen, *(producer for run in seen for take in found.takes.get(run, ()) for producer in take[3])]
        )
        self._name(makers.values())
        keyless = [maker for run, maker in makers.items() if keys[run] is None]
        worst: dict[int, int | None] = dict(self._ask(_condemned, keyless))
        recipes = []
        for run in seen:
            _, uid, project, job, state, *_ = rows[run]
            maker = makers[run]
            takes = tuple(
                planning.Take(
                    *(role, ordinal, *self._seen[version]),
                    # Who made what may not be seen is not told either, unless they are seen themselves.
                    tuple(
                        self._names[p]
                        for p in producers
                        if p in makers or self._seen[version][0].project != lineage.MASKED
                    ),
                    may_be,
                )
                for role, ordinal, version, producers, may_be in sorted(found.takes.get(run, ()))
            )
            recipes.append(
                planning.Recipe(
                    *(UUID(bytes=uid), self._names[maker], project, job, model.RunState(state), keys[run]),
                    takes,
                    made.get(maker, ()),
                    taint.condemned(worst.get(maker)),
                    found.started.get(run, 0),
                )
            )
        return recipes

    # ── planning.Known ───────────────────────────────────────────────────────────────────────────

    def entries(self, keys: Sequence[str]) -> Mapping[str, planning.Entry]:
        rows = self.tx.all(_entries, keys=list(keys))
        of_runs = [row[1] for row in rows]
        made = self._made(of_runs)
        written_over = {run for (run,) in self._ask(_overwritten, of_runs)}
        found = {}
        for key, run, uid, revoked_at, worst, project in rows:
            if self.projects is not None and project not in self.projects:
                continue
            wrong = taint.condemned(worst)
            if wrong is None and revoked_at is not None:
                wrong = cache.Reason.REVOKED
            if wrong is None and run in written_over:
                wrong = cache.Reason.OVERWRITTEN
            found[key] = planning.Entry(UUID(bytes=uid), made.get(run, ()), wrong)
        return found

    def components(self, runs: Sequence[UUID]) -> Mapping[UUID, Sequence[model.Component]]:
        found: dict[UUID, list[model.Component]] = {}
        for row, name, kind, raw, ignored in self._ask(_components, (self._rows[run] for run in runs)):
            found.setdefault(self._names[row], []).append(
                model.Component(name, kind, raw, None, bool(ignored))
            )
        return found

    def obstacles(self, runs: Sequence[UUID]) -> Mapping[UUID, tuple[str, ...]]:
        return {uid: why for uid, why in self._obstacles(runs) if why}

    def _obstacles(self, uids: Sequence[UUID]) -> Iterator[tuple[UUID, tuple[str, ...]]]:
        for raw, project, job, state, captured in self._ask(_captures, (self._rows[uid] for uid in uids)):
            uid = UUID(bytes=raw)
            new = self.request.code_of(uid, project, job)
            # Runs of one process share what was captured of it.
            same = state, captured if new is None else id(new)
            if same not in self._why_not:
                capture = new.capture if new is not None else _captured(captured)
                run = model.Run(
                    *(uid, "", job, model.RunState(state), model.Actor(""), _NEVER), capture=capture
                )
                # Of its inputs the plan knows more: they may be others.
                self._why_not[same] = rerun.obstacles(model.RunRecord(run, (), ()), self.request.unavailable)
            yield uid, self._why_not[same]

    def states(
        self, versions: Sequence[tuple[model.Artifact, digest.Digest]]
    ) -> Mapping[tuple[model.Artifact, digest.Digest], model.VersionState]:
        wanted = set(versions)
        rows = {}
        for row, kind, name, project, raw in self.tx.all(
            _version_rows, digests=list({each.raw for _, each in wanted})
        ):
            known = model.Artifact(project, kind, name), digest.Digest.of(raw)
            if known in wanted:
                rows[row] = known
        return {rows[row]: state for row, state in states.in_rows(self.tx, rows).items()}

    def history(self, jobs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], plans.Expected]:
        asked: list[dict[str, Any]] = [
            {"project": project, "job": job, "state": model.RunState.COMPLETE.value} for project, job in jobs
        ]
        told = zip(jobs, self.tx.each(_history, asked), strict=True)
        return {job: _expected(rows) for job, rows in told if rows}


def _same(some: Sequence[plans.Made], others: Sequence[plans.Made]) -> bool:
    """Whether these are the same things with the same bytes."""
    return {(m.role, m.artifact, m.content.digest) for m in some} == {
        (m.role, m.artifact, m.content.digest) for m in others
    }


def _captured(framed: bytes) -> model.Capture:
    return facts.read_capture(cast("facts.Body", digest.unframe_own(framed)))


def _expected(rows: Sequence[Record]) -> plans.Expected:
    """What the last Runs of a job took: the one in the middle. A size that was not recorded leaves it unknown."""
    sizes = [0 if not made else size for _, _, made, size in rows]
    known = [int(size) for size in sizes if size is not None]
    return plans.Expected(
        median(micros / 1e6 for _, micros, _, _ in rows),
        int(median(known)) if len(known) == len(sizes) else None,
        len(rows),
    )

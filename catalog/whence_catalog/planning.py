"""The rule of plans: which of Reuse, Execute, Conditional and Blocked each recorded Run comes to.

Runs are looked at in the order in which data goes, a level at a time. One whose inputs are all known gets the key that
it would have now, from the components of the one it had and what is no longer as it was; that key has a usable
entry, or it has none. What an entry's Run made is what goes on from there: where that is the same bytes as before,
nothing behind it changes (early cutoff).

A Run without a key says nothing of what it depends on. As long as all that it took is as it was, what it made stands;
else it is run.

Leaves to others: what is recorded (`Known`), and which Runs are looked at (`gathering`).
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias
from uuid import UUID

from whence_catalog import cache, digest, gathering, model, rekeyed
from whence_catalog.errors import InvalidInput
from whence_catalog.plans import (
    Blocked,
    Conditional,
    Execute,
    Expected,
    Made,
    NewCode,
    PlannedRun,
    PlanRequest,
    Read,
    ReadType,
    Replacement,
    Reuse,
    Step,
    Taken,
)

# An Artifact, and the digest of the Version of it that is replaced; None: every one of it.
Swaps: TypeAlias = Mapping[tuple[model.Artifact, digest.Digest | None], Replacement]


@dataclass(frozen=True, slots=True)
class Take:
    """What a Run took: a Version, and the Runs that it can have been taken from, the newest first."""

    role: str
    ordinal: int
    artifact: model.Artifact
    content: model.Content
    producers: tuple[UUID, ...] = ()
    may_be: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recorded Run as a plan looks at it. `made_by` is the Run that executed: itself, or its origin.

    `made` is what it made, and `condemned` why nobody may use that. `started` is where in history it began.
    """

    run: UUID
    made_by: UUID
    project: str
    job: str
    state: model.RunState
    key: str | None
    takes: tuple[Take, ...]
    made: tuple[Made, ...]
    condemned: cache.Reason | None = None
    started: int = 0


class Entry(NamedTuple):
    """What a look-up of a key finds, and what is wrong with it."""

    run: UUID
    outputs: tuple[Made, ...]
    wrong: cache.Reason | None = None


class Known(Protocol):
    """What is recorded. Each question is about many at once."""

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """The live entries of these keys."""
        ...

    def components(self, runs: Sequence[UUID]) -> Mapping[UUID, Sequence[model.Component]]:
        """The components of the keys of these Runs."""
        ...

    def obstacles(self, runs: Sequence[UUID]) -> Mapping[UUID, tuple[str, ...]]:
        """Why some of these Runs cannot be made again, whatever they take."""
        ...

    def states(
        self, versions: Sequence[tuple[model.Artifact, digest.Digest]]
    ) -> Mapping[tuple[model.Artifact, digest.Digest], model.VersionState]:
        """Where some of these Versions stand; one that is live may be absent."""
        ...

    def history(self, jobs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Expected]:
        """What the last Runs of these jobs of projects took."""
        ...


# ── the rule ─────────────────────────────────────────────────────────────────────────────────────


class Planned(NamedTuple):
    """What each Run comes to, in the order in which data goes, what that rests on, and what could not be followed."""

    steps: tuple[PlannedRun, ...]
    read: tuple[Read, ...]
    reasons: tuple[str, ...] = ()


def plan(
    request: PlanRequest,
    swaps: Swaps,
    recipes: Sequence[Recipe],
    known: Known,
    targets: AbstractSet[UUID] = frozenset(),
) -> Planned:
    """What becomes of each of these Runs.

    Args:
        targets: those of them that were asked for: of one that failed, what it left does not do.

    Raises:
        InvalidInput: what is changed by the request is nothing that these Runs have.
    """
    _refuse_what_is_not_there(request, swaps, recipes)
    rule = _Rule(request, swaps, known, targets)
    levels, around = _levels(recipes)
    for level in levels:
        rule.decide(level)
    steps, read = rule.planned()
    return Planned(steps, read, tuple(map(_around, around)))


def _around(recipe: Recipe) -> str:
    what = "what others took of it while it ran, and it then took something of theirs, is taken as it stands"
    return f"run {recipe.run} ({recipe.job}): {what}"


def _refuse_what_is_not_there(request: PlanRequest, swaps: Swaps, recipes: Sequence[Recipe]) -> None:
    jobs: dict[str, set[str]] = {}
    for recipe in recipes:
        jobs.setdefault(recipe.job, set()).add(recipe.project)
    ran = {str(recipe.made_by) for recipe in recipes}
    for job in (*request.params, *(named for named in request.code if named not in ran)):
        if job not in jobs or request.meant.get(job) not in (None, *jobs[job]):
            raise InvalidInput(f"no run of {job} is in this plan; there are runs of {_listed(jobs)}")
        if job not in request.meant and len(jobs[job]) > 1:
            projects = " and ".join(sorted(jobs[job]))
            raise InvalidInput(f"{projects} have a job {job} in this plan, and it is not said whose is meant")
    taken = {(take.artifact, take.content.digest) for recipe in recipes for take in recipe.takes}
    artifacts = {artifact for artifact, _ in taken}
    for artifact, named in swaps:
        if (artifact, named) not in taken and (named is not None or artifact not in artifacts):
            which = f"{artifact}@{named.short}" if named else str(artifact)
            raise InvalidInput(
                f"none of these {len(recipes)} runs took {which}; they took {_listed(map(str, artifacts))}"
            )


def _listed(names: Iterable[str], most: int = 8) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more if ordered else "nothing"


def _levels(recipes: Sequence[Recipe]) -> tuple[list[list[Recipe]], list[Recipe]]:
    """The Runs in levels, and those that others took from before they took what came of that."""
    by_run = {recipe.run: recipe for recipe in recipes}
    before = {
        recipe.run: {
            p for take in recipe.takes for p in take.producers[:1] if p in by_run and p != recipe.run
        }
        for recipe in recipes
    }
    ordered = gathering.in_order(before, lambda run: (by_run[run].started, run))
    return [[by_run[run] for run in level] for level in ordered.levels], [
        by_run[run] for run in ordered.around
    ]


_BAD = (model.RunState.FAILED, model.RunState.ABORTED)
_LOST = "what it made is missing or altered in the store"


@dataclass(slots=True)
class _Looked:
    """A Run whose inputs were looked at: what it takes, what of it changed, what it waits for, and what it lacks."""

    recipe: Recipe
    takes: tuple[Taken, ...]
    changed: tuple[str, ...] = ()
    pending: tuple[UUID, ...] = ()
    blocked: tuple[UUID, ...] = ()
    lacking: tuple[str, ...] = ()
    key: str | None = None
    has_unknown_key: bool = False
    components: tuple[model.Component, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether all that it takes is there."""
        return all(taken.content is not None for taken in self.takes)


class _Rule:
    def __init__(self, request: PlanRequest, swaps: Swaps, known: Known, targets: AbstractSet[UUID]) -> None:
        self._request = request
        self._targets = targets
        self._swaps = swaps
        self._known = known
        self._steps: dict[UUID, PlannedRun] = {}
        self._outputs: dict[UUID, Mapping[str, Made]] = {}
        self._recipes: dict[UUID, Recipe] = {}
        self._by_key: dict[str, UUID] = {}
        self._read: dict[tuple[ReadType, str], Read] = {}
        self._history: dict[tuple[str, str], Expected] = {}

    def planned(self) -> tuple[tuple[PlannedRun, ...], tuple[Read, ...]]:
        return tuple(self._steps.values()), tuple(self._read.values())

    def decide(self, level: Sequence[Recipe]) -> None:
        """Say what becomes of the Runs of one level, all those before them being known."""
        standing = self._states(level)
        looked = [self._look(recipe, standing) for recipe in level]
        self._find_keys(looked)
        for each in looked:
            # No entry says what became of it since. What stands or falls with what is run is asked about then.
            for made in each.recipe.made if each.is_known and self._would_stand(each) else ():
                self._note_state(made.artifact, made.content.digest, standing)
        keys = list(dict.fromkeys(each.key for each in looked if each.key is not None))
        entries = self._known.entries(keys) if keys else {}
        settled = [(each, self._reuse(each, entries)) for each in looked]
        running = [each for each, reuse in settled if reuse is None]
        self._give_components(running)
        obstacles = self._known.obstacles([each.recipe.made_by for each in running]) if running else {}
        self._ask_history(running)
        # Of calls that are the same, one that can be run makes it for those that cannot.
        settled.sort(key=lambda one: one[0].recipe.made_by in obstacles)
        for each, reuse in settled:
            recipe = each.recipe
            step: Step
            if reuse is not None:
                step = reuse
                self._outputs[recipe.run] = {made.role: made for made in reuse.outputs}
            else:
                step = self._step(each, entries, obstacles.get(recipe.made_by, ()))
                if isinstance(step, Blocked) and (lost := self._lost(each, entries)):
                    # It is known what that was: only what needs the bytes of it waits for them in vain.
                    step = Blocked((_LOST, *step.why))
                    self._outputs[recipe.run] = {made.role: made for made in lost}
            self._recipes[recipe.run] = recipe
            if each.key is not None:
                self._by_key.setdefault(each.key, recipe.run)
                self._note_entry(each, entries)
            self._steps[recipe.run] = PlannedRun(
                run=recipe.run,
                recipe=recipe.made_by,
                project=recipe.project,
                job=recipe.job,
                step=step,
                takes=each.takes,
                key=each.key,
                components=each.components if isinstance(step, Execute | Conditional) else (),
                changed=each.changed,
                expected=self._history[recipe.project, recipe.job]
                if isinstance(step, Execute | Conditional)
                else None,
                stands=isinstance(step, Conditional) and self._stands(each),
            )

    def _ask_history(self, running: Sequence[_Looked]) -> None:
        jobs = {(each.recipe.project, each.recipe.job) for each in running}
        fresh = sorted(jobs - self._history.keys())
        known = self._known.history(fresh) if fresh else {}
        self._history.update({job: known.get(job, Expected()) for job in fresh})

    def _note_entry(self, each: _Looked, entries: Mapping[str, Entry]) -> None:
        assert each.key is not None
        entry = entries.get(each.key)
        said = "none" if entry is None else f"run {entry.run}" + (f", {entry.wrong}" if entry.wrong else "")
        self._read[ReadType.ENTRY, each.key] = Read(
            ReadType.ENTRY, each.key, said, None if entry is None else entry.run
        )

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────

    def _swap(self, take: Take) -> Replacement | None:
        if not self._swaps:
            return None
        exact = self._swaps.get((take.artifact, take.content.digest))
        return exact or self._swaps.get((take.artifact, None))

    def _states(
        self, level: Sequence[Recipe]
    ) -> Mapping[tuple[model.Artifact, digest.Digest], model.VersionState]:
        """Where that stands which these Runs take from no Run of the plan, and what those without a key made."""
        outside: dict[tuple[model.Artifact, digest.Digest], None] = {}
        handed_on: dict[tuple[model.Artifact, digest.Digest], None] = {}
        for recipe in level:
            if recipe.key is None:
                handed_on |= dict.fromkeys((made.artifact, made.content.digest) for made in recipe.made)
            for take in recipe.takes:
                swap = self._swap(take)
                if swap is not None:
                    # What lies at a path may be content that somebody has declared bad.
                    outside[swap.artifact, swap.content.digest] = None
                elif not take.producers or take.producers[0] not in self._steps:
                    outside[take.artifact, take.content.digest] = None
        asked = list(outside | handed_on)
        found = self._known.states(asked) if asked else {}
        for artifact, named in outside:
            self._note_state(artifact, named, found)
        return found

    def _note_state(
        self,
        artifact: model.Artifact,
        named: digest.Digest,
        standing: Mapping[tuple[model.Artifact, digest.Digest], model.VersionState],
    ) -> None:
        state = standing.get((artifact, named), model.VersionState.LIVE)
        name = f"{artifact}@{named.text}"
        self._read[ReadType.STATE, name] = Read(ReadType.STATE, name, state.value)

    def _look(
        self,
        recipe: Recipe,
        standing: Mapping[tuple[model.Artifact, digest.Digest], model.VersionState],
    ) -> _Looked:
        takes: list[Taken] = []
        pending: dict[UUID, None] = {}
        blocked: dict[UUID, None] = {}
        lacking: list[str] = []
        changed: dict[str, None] = {}
        for take in recipe.takes:
            taken = self._taken(take)
            if isinstance(taken, str):
                lacking.append(taken)
                taken = Taken(take.role, take.ordinal, take.artifact)
            takes.append(taken)
            if taken.step is not None and taken.content is None:
                is_blocked = isinstance(self._steps[taken.step].step, Blocked)
                (blocked if is_blocked else pending)[taken.step] = None
            if taken.content is not None:
                why = self._unfit(taken, standing)
                lacking += [why] if why else []
                was = (take.content.strength, take.content.digest)
                if (taken.content.strength, taken.content.digest) != was:
                    changed[f"inputs/{take.role}"] = None
        changed |= dict.fromkeys(self._changed_otherwise(recipe))
        return _Looked(recipe, tuple(takes), tuple(changed), tuple(pending), tuple(blocked), tuple(lacking))

    def _taken(self, take: Take) -> Taken | str:
        """What is taken in the place of what was; a text says why nothing can be."""
        swap = self._swap(take)
        if swap is not None:
            return Taken(take.role, take.ordinal, swap.artifact, swap.content, swap.producer)
        source = take.producers[0] if take.producers else None
        role = None if source is None or source not in self._steps else self._role(source, take)
        if source is None or role is None:
            return Taken(
                take.role,
                take.ordinal,
                take.artifact,
                take.content,
                None if take.may_be else source,
                may_be=take.may_be,
            )
        made = self._outputs.get(source)
        if made is None:
            return Taken(take.role, take.ordinal, take.artifact, step=source, output=role, may_be=take.may_be)
        there = made.get(role)
        if there is None:
            return (
                f"input {take.role}: run {source} made {role}, and what is reused for it has no such output"
            )
        return Taken(
            take.role,
            take.ordinal,
            there.artifact,
            there.content,
            there.run,
            step=source,
            output=role,
            may_be=take.may_be,
        )

    def _role(self, source: UUID, take: Take) -> str | None:
        """The role under which the Run made what was taken from it."""
        for made in self._recipes[source].made:
            if made.content.digest == take.content.digest and made.artifact == take.artifact:
                return made.role
        return None

    def _unfit(
        self,
        taken: Taken,
        standing: Mapping[tuple[model.Artifact, digest.Digest], model.VersionState],
    ) -> str | None:
        """Why what is known cannot be handed to a Run that is run."""
        content = taken.content
        assert content is not None
        if taken.step is None:
            state = standing.get((taken.artifact, content.digest), model.VersionState.LIVE)
            if state is not model.VersionState.LIVE:
                return f"{_input(taken, content)} is {state}"
        if content.strength is not model.Strength.CONTENT:
            kept = f"is identified by {content.strength} only, so its bytes were not kept"
            return f"{_input(taken, content)} {kept}"
        if content.digest in self._request.unavailable:
            named = _input(taken, content)
            return f"the bytes of {named}, {content.digest}, are missing or altered in the store"
        return None

    def _changed_otherwise(self, recipe: Recipe) -> list[str]:
        """Those parts of its key, beside its inputs, for which the request has others."""
        params, code = self._instead(recipe)
        return [*(f"params/{name}" for name in params), *(() if code is None else code.names)]

    def _instead(self, recipe: Recipe) -> tuple[Mapping[str, digest.Framed], NewCode | None]:
        """The parameters and the code that the request has for it."""
        request, project, job = self._request, recipe.project, recipe.job
        return request.params_of(project, job), request.code_of(recipe.made_by, project, job)

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────

    def _find_keys(self, looked: Sequence[_Looked]) -> None:
        """Give each of these the key that it would have now; none where that cannot be known."""
        moved = []
        for each in looked:
            if each.is_known and each.changed:
                moved.append(each)
            elif each.is_known:
                each.key = each.recipe.key
        parts = self._known.components([each.recipe.made_by for each in moved]) if moved else {}
        for each in moved:
            recorded = parts.get(each.recipe.made_by, ())
            now = rekeyed.components(recorded, each.takes, each.changed, *self._instead(each.recipe))
            has_key = each.recipe.key is not None
            if now is None or not recorded:
                each.has_unknown_key = has_key
                continue
            before = {part.name: part.digest for part in recorded}
            gone = before.keys() - {part.name for part in now}
            each.changed = (
                *(part.name for part in now if before.get(part.name) != part.digest),
                *sorted(gone),
            )
            if has_key:
                each.components = now
                each.key = cache.key(now)

    def _give_components(self, running: Sequence[_Looked]) -> None:
        """Give those that may be run the parts of their keys: what they take may be known only then."""
        bare = [
            each
            for each in running
            if each.recipe.key is not None and not each.components and not each.has_unknown_key
        ]
        parts = self._known.components([each.recipe.made_by for each in bare]) if bare else {}
        for each in bare:
            recorded = parts.get(each.recipe.made_by, ())
            now = rekeyed.components(recorded, (), (), *self._instead(each.recipe))
            each.components = now or ()

    # ── what becomes of it ───────────────────────────────────────────────────────────────────────

    def _reuse(self, each: _Looked, entries: Mapping[str, Entry]) -> Reuse | None:
        """What stands in its place, if it need not be run."""
        recipe = each.recipe
        if not each.is_known or each.has_unknown_key:
            return None
        if each.key is not None:
            entry = entries.get(each.key)
            if entry is None or entry.wrong is not None or self._gone(entry.outputs):
                return None
            if entry.run == recipe.made_by:
                why = "nothing that it depends on changed"
            else:
                why = "the same call gave this" if not each.changed else "what it would take gave this before"
            return Reuse(entry.run, why, entry.outputs)
        if not self._stands(each):
            return None
        return Reuse(recipe.made_by, "it has no key, and nothing that it took changed", recipe.made)

    def _lost(self, each: _Looked, entries: Mapping[str, Entry]) -> tuple[Made, ...]:
        """What would stand in its place, were the bytes of that not gone."""
        if not each.is_known or each.has_unknown_key:
            return ()
        if each.key is not None:
            entry = entries.get(each.key)
            return () if entry is None or entry.wrong is not None else entry.outputs
        return each.recipe.made if self._was_to_stand(each) and each.recipe.condemned is None else ()

    def _stands(self, each: _Looked) -> bool:
        """Whether what it made without a key may go on being taken, as long as what it takes is as it was."""
        return self._would_stand(each) and each.recipe.condemned is None

    def _would_stand(self, each: _Looked) -> bool:
        """Whether it may, if nobody declared it bad."""
        return self._was_to_stand(each) and not self._gone(each.recipe.made)

    def _was_to_stand(self, each: _Looked) -> bool:
        """Whether it may, if its bytes are there, too."""
        recipe = each.recipe
        is_to_be_mended = recipe.run in self._targets and recipe.state in _BAD
        return (
            not each.changed
            and recipe.key is None
            and recipe.state is not model.RunState.RUNNING
            and not is_to_be_mended
            # One that was to make nothing has made it; one that failed has not.
            and (bool(recipe.made) or recipe.state not in _BAD)
        )

    def _gone(self, outputs: Iterable[Made]) -> list[Made]:
        return [made for made in outputs if self._request.has_lost(made)]

    def _step(self, each: _Looked, entries: Mapping[str, Entry], of_recipe: tuple[str, ...]) -> Step:
        lost = tuple(f"it takes what run {source} would make, which is blocked" for source in each.blocked)
        obstacles = (*of_recipe, *each.lacking)
        if lost or (each.lacking and not each.pending):
            return Blocked((*lost, *obstacles))
        if each.pending:
            # The key depends on bytes that do not exist yet; if they come out as they were, it is a hit.
            return Conditional(each.pending, obstacles)
        twin = self._by_key.get(each.key) if each.key is not None else None
        if twin is not None and not isinstance(self._steps[twin].step, Blocked):
            return Conditional((twin,), obstacles)
        if obstacles:
            return Blocked(obstacles)
        return Execute(self._why(each, entries))

    def _why(self, each: _Looked, entries: Mapping[str, Entry]) -> str:
        what = f"{_listed(each.changed)} changed" if each.changed else ""
        if each.has_unknown_key:
            _, code = self._instead(each.recipe)
            why = "; ".join(() if code is None else code.uncacheable)
            return f"{what}; {why or 'what it would then read is not known before'}"
        if each.key is None:
            state = each.recipe.state
            if state in _BAD:
                return what or f"it {'failed' if state is model.RunState.FAILED else 'was aborted'}"
            if each.recipe.condemned is not None:
                return what or f"what it made is {each.recipe.condemned}, and it has no key"
            return f"{what}; it has no key" if what else "what it made is not there any more"
        entry = entries.get(each.key)
        if entry is None:
            why = "no result of that is known"
        elif entry.wrong is not None:
            why = f"the result of run {entry.run} is {entry.wrong}"
        else:
            why = f"what run {entry.run} made is missing or altered"
        return f"{what}; {why}" if what else why


def _input(taken: Taken, content: model.Content) -> str:
    return f"input {taken.role} ({taken.artifact}@{content.digest.short})"

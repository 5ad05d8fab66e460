"""Plans as a person asks for them: by references, paths and names, with the bytes behind them looked at.

A plan records nothing. A path that is to take the place of data is only identified; what lies there is published when
the plan is carried out (`applying`), and refused if it is something else by then.

Leaves to others: what a plan says (`whence_catalog.planning`), and how it is printed.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from whence import applying, calls, described_now, parameters, places, secrecy
from whence.client import Client
from whence_catalog import cache, digest, model, plans, wire
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound

_AT_ONCE = 1000
_SHOWN = 5
_BAD = (model.RunState.FAILED, model.RunState.ABORTED)


def plan(
    client: Client,
    targets: Sequence[str] = (),
    downstream_of: Sequence[str] = (),
    instead: Mapping[str, str] | None = None,
    params: Mapping[str, object] | None = None,
    *,
    code_now: bool = False,
) -> plans.RerunPlan:
    """What bringing these up to date would do. Nothing is recorded.

    Args:
        targets: Versions by a reference, and Runs by their ids.
        downstream_of: Versions of which all is followed that came of them.
        instead: what is taken in the place of an Artifact, or of one Version of it: a path, or a reference.
        params: other values, each by `job.name`.
        code_now: take the code of the jobs as it is in this project now, in an environment as this one.

    Raises:
        NotFound, InvalidInput: what is named is not there.
        Conflict: the code of a job as it is now cannot be called as it was.
    """
    request = plans.PlanRequest(
        calls.new_uid(),
        tuple(map(client.full_name, targets)),
        tuple(map(client.full_name, downstream_of)),
        dict(_replacement(client, name, what) for name, what in (instead or {}).items()),
    )
    found = client.catalog.plan(request)
    if params:
        request = dataclasses.replace(
            request, params=_params(client, found, params), meant=_meant(client, found)
        )
        found = client.catalog.plan(request)
    return _looked_at(client, found) if not code_now else _of_code_now(client, found)


def recover(client: Client, prefix: str) -> plans.RerunPlan:
    """What a Run that failed or was aborted needs to be brought to its end; of one that nothing can call alone, as a
    block, its parts that did.

    Of an apply it is the plan that it carried out: what was made of that is not made again.

    Raises:
        NotFound, InvalidInput: as `Catalog.run`.
        Conflict: nothing of it failed; or the plan of an apply was not kept.
    """
    run = client.catalog.run(prefix).run
    if run.job == applying.JOB and run.state is not model.RunState.COMPLETE:
        return applying.plan_of(client, run)
    lost = _lost(client, run)
    if not lost:
        parts = "" if run.state is model.RunState.RUNNING else ", and so is all that it began"
        raise Conflict(
            f"run {run.uid} ({run.job}) is {run.state}{parts}: there is nothing to recover",
            ErrorKind.WRONG_STATE,
        )
    return plan(client, [str(each.uid) for each in lost])


def _lost(client: Client, run: model.Run) -> list[model.Run]:
    """What failed of a Run: itself, where it can be made again, else those of its parts that did."""
    is_bad = run.state in _BAD
    if is_bad and run.capture.rerunnable:
        return [run]
    parts = list(applying.children(client, [run.uid])) if run.job != applying.JOB else []
    # Of what was tried again, the last attempt says how it went.
    tried_again = {part.retry_of for part in parts}
    found = [
        each
        for part in parts
        if part.state in _BAD and part.uid not in tried_again
        for each in _lost(client, part)
    ]
    return found or ([run] if is_bad else [])


def again(client: Client, before: plans.RerunPlan) -> plans.RerunPlan:
    """The same request, as of now: another plan, of what lies at its paths and what its references mean now, and of the
    code as it is now.

    Raises:
        NotFound: a path is not there any more.
        Conflict: as `plan`.
    """
    inputs = {name: _identified_anew(client, each) for name, each in before.request.inputs.items()}
    request = dataclasses.replace(
        before.request,
        uid=calls.new_uid(),
        as_of=None,
        unavailable=frozenset(),
        vacant=frozenset(),
        inputs=inputs,
        code={},
    )
    found = client.catalog.plan(request)
    return _of_code_now(client, found) if before.request.code else _looked_at(client, found)


def schema() -> dict[str, object]:
    """The JSON Schema of a plan as it is kept in a file."""
    components: wire.Schema = {}
    root = wire.schema(plans.RerunPlan, components)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A plan of whence",
        **root,
        "components": {"schemas": dict(sorted(components.items()))},
    }


# ── what is put in the place of what ─────────────────────────────────────────────────────────────


def _replacement(client: Client, name: str, what: str) -> tuple[str, plans.Replacement]:
    reference = model.Reference.parse(name, client.project)
    path = Path(what)
    if path.exists():
        content = applying.identified(path)
        return str(reference), plans.Replacement(reference.artifact, content, path=str(path.resolve()))
    if ":" not in what:
        raise NotFound(f"{what} is neither a file or a folder, nor a reference", ErrorKind.NO_SUCH_FILE)
    return str(reference), _named(client, client.full_name(what))


def _named(client: Client, reference: str) -> plans.Replacement:
    output = client.get(reference).output
    return plans.Replacement(output.version.artifact, output.version.content, output.run, named=reference)


def _identified_anew(client: Client, replacement: plans.Replacement) -> plans.Replacement:
    if replacement.named is not None:
        return _named(client, replacement.named)
    if replacement.path is None:
        return replacement
    path = Path(replacement.path)
    if not path.exists():
        raise NotFound(f"{path} is not there any more", ErrorKind.NO_SUCH_FILE)
    return dataclasses.replace(replacement, content=applying.identified(path))


def _params(
    client: Client, found: plans.RerunPlan, params: Mapping[str, object]
) -> dict[str, dict[str, digest.Framed]]:
    """Each value by job and name, as a step would be given it."""
    recorded = {job: run.params for job, run in _runs_of(client, found).items()}
    said = []
    for named, value in params.items():
        job, name = plans.parameter_of(named, recorded)
        kept = parameters.Canonical(Path.cwd()).of(value, name)
        if (hidden := secrecy.find(kept, name, secrecy.known())) is not None:
            which = named if hidden == name else f"{named} ({hidden})"
            raise InvalidInput(
                f"the value of {which} looks secret, and a plan is kept: have the step read it from the environment"
            )
        said.append((job, name, kept))
    return plans.given(said, recorded)


def _runs_of(client: Client, found: plans.RerunPlan) -> dict[str, model.Run]:
    """The last Run of each job of a plan, by the job; of several projects' jobs with one name, of that which is meant."""
    meant = _meant(client, found)
    last = {
        step.job: step.recipe for step in found.steps if meant.get(step.job, step.project) == step.project
    }
    known = _named_runs(client, last.values())
    return {job: known[uid] for job, uid in last.items() if uid in known}


def _projects_of(found: plans.RerunPlan) -> dict[str, set[str]]:
    """The projects that have a job of that name in a plan."""
    projects: dict[str, set[str]] = {}
    for step in found.steps:
        projects.setdefault(step.job, set()).add(step.project)
    return projects


def _meant(client: Client, found: plans.RerunPlan) -> dict[str, str]:
    """Of jobs with one name, that of this client's project."""
    ours = client.project
    return {
        job: ours for job, projects in _projects_of(found).items() if len(projects) > 1 and ours in projects
    }


def _named_runs(client: Client, uids: Iterable[UUID]) -> dict[UUID, model.Run]:
    wanted = list(dict.fromkeys(uids))
    found: dict[UUID, model.Run] = {}
    for at in range(0, len(wanted), _AT_ONCE):
        found.update(client.catalog.named_runs(wanted[at : at + _AT_ONCE]))
    return found


# ── code as it is now ────────────────────────────────────────────────────────────────────────────


def _of_code_now(client: Client, found: plans.RerunPlan) -> plans.RerunPlan:
    """The same plan with the code as it is now; of what that is not known, it says so, and is not complete."""
    meant, projects = _meant(client, found), _projects_of(found)
    theirs = {
        job: f"{job}: {' and '.join(sorted(names))} have one, and neither is this project"
        for job, names in projects.items()
        if len(names) > 1 and job not in meant
    }
    ours = [
        step
        for step in found.steps
        if step.job not in theirs and meant.get(step.job, step.project) == step.project
    ]
    last = {step.job: step.recipe for step in ours}
    roles = {step.recipe: frozenset(taken.role for taken in step.takes) for step in ours}
    runs = _named_runs(client, roles)
    now = described_now.of(client, [(run, roles[uid], last.get(run.job) == uid) for uid, run in runs.items()])
    left = (*(f"with the code that it had, {each}" for each in theirs.values()), *now.left)
    if not now.new:
        raise Conflict(
            "; ".join(["no run of this plan was recorded with code that could be found here", *left]),
            ErrorKind.NOT_RERUNNABLE,
        )
    request = dataclasses.replace(found.request, code=now.new, meant=meant)
    found = _looked_at(client, client.catalog.plan(request))
    return dataclasses.replace(found, complete=found.complete and not left, reasons=(*found.reasons, *left))


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────


def _looked_at(client: Client, found: plans.RerunPlan) -> plans.RerunPlan:
    """The plan, once all that it would use is there; what is not there is no result, and nothing to take."""
    seen: set[digest.Digest] = set()
    looked: set[cache.Place] = set()
    while True:
        wanted, trees = _used(client, found)
        fresh, elsewhere = wanted - seen, _elsewhere(found) - looked
        seen |= fresh
        looked |= elsewhere
        _, missing, altered = client.look(frozenset(fresh), frozenset(trees & fresh))
        gone = missing | altered
        vacant = {
            each.location for each in places.look(elsewhere) if each.standing is not model.Standing.PRESENT
        }
        if not gone and not vacant:
            return found
        request = dataclasses.replace(
            found.request,
            unavailable=found.request.unavailable | gone,
            vacant=found.request.vacant | vacant,
            as_of=found.position,
        )
        found = client.catalog.plan(request)


def _handed_out(found: plans.RerunPlan) -> Iterator[plans.Made]:
    """What carrying a plan out hands out in the end, without running anything for it."""
    for step in found.steps:
        if step.run in found.targets and isinstance(step.step, plans.Reuse):
            yield from step.step.outputs


def _elsewhere(found: plans.RerunPlan) -> set[cache.Place]:
    """Of that, what lies outside the store."""
    return {
        cache.Place(made.content.digest, made.location, made.content.strength)
        for made in _handed_out(found)
        if made.location is not None
    }


def _used(client: Client, found: plans.RerunPlan) -> tuple[set[digest.Digest], set[digest.Digest]]:
    """What carrying a plan out reads, and hands out in the end: of that, what is a tree."""
    ours: set[model.Content] = set()
    trees: set[digest.Digest] = set()
    for step in found.pending:
        ours.update(taken.content for taken in step.takes if taken.content is not None)
    ours.update(made.content for made in _handed_out(found) if made.location is None)
    paths = {each.content.digest for each in found.request.inputs.values() if each.path is not None}
    kept = {
        content
        for content in ours
        if content.strength is model.Strength.CONTENT and content.digest not in paths
    }
    trees |= {content.digest for content in kept if content.form is model.Form.TREE}
    wanted = {content.digest for content in kept}
    for run in _named_runs(client, (step.recipe for step in found.pending)).values():
        new = found.request.code_of(run.uid, run.project, run.job)
        capture = run.capture if new is None else new.capture
        wanted |= {named for named in (capture.bundle, capture.environment) if named is not None}
        trees |= {capture.bundle} if capture.bundle is not None else set()
    return wanted, trees

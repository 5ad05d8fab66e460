"""What each reading verb needs of its caller, and what of its answer they do not see."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast
from uuid import UUID

from whence_api import admission, masks
from whence_api.admission import Admission
from whence_catalog import audit as audits
from whence_catalog import cache, catalog, digest, inventory, masking, model, replies, rerun
from whence_catalog import lineage as lineages
from whence_catalog.access import EVERY_PROJECT, Grant
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound, WhenceError

# How many Runs are read at once where some of them are left out.
_PAGE = 200
# The argument in which an input was handed in is the head of its role: `x`, `x.key`, `x[1]`.
_ARGUMENT = re.compile(r"[.\[]")


def identity(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; its key is told to who may record somewhere."""
    found = asked.catalog.identity()
    # Who may record needs a key, for HMACs of what must not be recorded in clear. It is made of the catalog's
    # own, which stays here: what is sealed is sealed with that. Where the database is, is nobody's
    # business: a client knows by which address it came.
    key = b""
    if asked.viewer.grants.allows_somewhere(Grant.RECORD):
        key = catalog.client_key(found.key)
    return dataclasses.replace(found, key=key, url="")


def resolve(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact."""
    references = cast("Sequence[model.Reference]", arguments["references"])

    def admit(reference: model.Reference) -> model.Reference:
        asked.require_artifact(reference.artifact)
        return reference

    as_of = cast("int | None", arguments.get("as_of"))
    return asked.each(references, admit, lambda some: asked.catalog.resolve(some, as_of))


def traces(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project; of another there are none."""
    project, bases = cast("str", arguments["project"]), cast("Sequence[str]", arguments["bases"])
    return asked.catalog.traces(project, bases) if asked.may_read(project) else [() for _ in bases]


def artifacts(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; those of projects that may be read are listed."""
    project = cast("str | None", arguments.get("project"))
    kind = cast("str | None", arguments.get("kind"))
    as_of = cast("int | None", arguments.get("as_of"))
    if asked.sees_all:
        return asked.catalog.artifacts(project, kind, as_of)
    named = sorted(asked.viewer.grants.by_project) if project is None else [project]
    readable = [name for name in named if asked.may_read(name)]
    return [found for name in readable for found in asked.catalog.artifacts(name, kind, as_of)]


def productions(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of the artifact."""
    artifact = cast("model.Artifact", arguments["artifact"])
    asked.require_artifact(artifact)
    return asked.shown(asked.catalog.productions(artifact))


def aliases(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of the artifact."""
    artifact = cast("model.Artifact", arguments["artifact"])
    asked.require_artifact(artifact)
    return asked.catalog.aliases(artifact)


def alias_at(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of the artifact."""
    asked.require_artifact(cast("model.Artifact", arguments["artifact"]))
    return asked.catalog.alias_at(**arguments)  # type: ignore[arg-type]


def run(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of the run."""
    found = _record(asked, cast("str", arguments["prefix"]))
    as_of = cast("int | None", arguments.get("as_of"))
    return asked.shown(found if as_of is None else asked.catalog.run(str(found.run.uid), as_of))


def _record(asked: Admission, prefix: str) -> model.RunRecord:
    """The Run of that id or prefix, among those that may be read."""
    try:
        found = asked.catalog.run(prefix)
    except InvalidInput as error:
        if error.kind is not ErrorKind.AMBIGUOUS_RUN or asked.sees_all:
            raise
        return _record_among(asked, prefix)
    if not asked.may_read(found.run.project):
        raise _no_run_named(prefix)
    return found


def _record_among(asked: Admission, prefix: str) -> model.RunRecord:
    # The others of that prefix do not exist.
    head = prefix.replace("-", "").lower()
    every = (run.uid for project in asked.viewer.grants.by_project for run in _readable_runs(asked, project))
    named = sorted((uid for uid in every if uid.hex.startswith(head)), reverse=True)
    if not named:
        raise _no_run_named(prefix)
    if len(named) > 1:
        shown = ", ".join(str(uid) for uid in named[:3])
        raise InvalidInput(
            f"several runs begin with {prefix}: {shown}{' …' if len(named) > 3 else ''}; give more of it",
            ErrorKind.AMBIGUOUS_RUN,
        )
    return asked.catalog.run(str(named[0]))


def _no_run_named(prefix: str) -> NotFound:
    return NotFound(f"no run {prefix} is recorded; `whence log` lists them", ErrorKind.NO_SUCH_RUN)


def runs(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; those of projects that may be read are listed."""
    before = cast("UUID | None", arguments.get("before"))
    if before is not None:
        asked.require_run(Grant.READ, before)
    limit = cast("int", arguments.get("limit", 25))
    if asked.sees_all or limit < 1:
        return asked.catalog.runs(**arguments)  # type: ignore[arg-type]
    project, job = cast("str | None", arguments.get("project")), cast("str | None", arguments.get("job"))
    states = cast("Iterable[model.RunState]", arguments.get("states", ()))
    readable = list(asked.viewer.grants.by_project) if project is None else [project]
    readable = [name for name in readable if asked.may_read(name)]
    if not readable:
        return []
    if len(readable) == 1:
        return asked.shown(asked.catalog.runs(readable[0], job, states, limit, before))
    found = _readable_runs(asked, None, job, states, before)
    return asked.shown(list(itertools.islice(found, limit)))


def _readable_runs(
    asked: Admission,
    project: str | None = None,
    job: str | None = None,
    states: Iterable[model.RunState] = (),
    before: UUID | None = None,
) -> Iterator[model.Run]:
    """The Runs that may be read, newest first, read a page at a time."""
    while True:
        page = asked.catalog.runs(project, job, states, _PAGE, before)
        yield from (run for run in page if asked.may_read(run.project))
        if len(page) < _PAGE:
            return
        before = page[-1].uid


def projects_of(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; runs of projects that may not be read are absent."""
    found = asked.catalog.projects_of(cast("Sequence[UUID]", arguments["runs"]))
    return {uid: project for uid, project in found.items() if asked.may_read(project)}


def series(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of the run."""
    run = cast("UUID", arguments["run"])
    asked.require_run(Grant.READ, run)
    return asked.catalog.series(run, cast("int | None", arguments.get("as_of")))


# ── the cache ────────────────────────────────────────────────────────────────────────────────────


def cache_key(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; a key of projects that may be read is found."""
    found = asked.catalog.cache_key(cast("str", arguments["key"]), readable(asked, arguments))
    if asked.sees_all:
        return found
    # A preview shows the names of inputs, and of handles inside parameters: those that may be read.
    silent = {
        name for run in _runs_behind(found) for name in silent_parts(asked, asked.catalog.run(str(run)))
    }
    parts = tuple(
        dataclasses.replace(part, preview=None) if part.name in silent else part for part in found.components
    )
    return dataclasses.replace(asked.shown(found), components=parts)


def _runs_behind(found: inventory.KeyRecord) -> list[UUID]:
    """The Run whose components stand for the key."""
    if found.history:
        return [found.history[0].run]
    return [] if found.holder is None else [found.holder.run]


def cache_statistics(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; jobs of projects that may be read are counted."""
    rest = {name: value for name, value in arguments.items() if name != "projects"}
    return asked.catalog.cache_statistics(readable(asked, arguments), **rest)  # type: ignore[arg-type]


def evictable(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Administer in the project of the eviction."""
    asked.require(Grant.ADMINISTER, cast("inventory.Eviction", arguments["eviction"]).project)
    return asked.shown(asked.catalog.evictable(**arguments))  # type: ignore[arg-type]


def readable(asked: Admission, arguments: Mapping[str, object]) -> frozenset[str] | None:
    """The projects that are asked for, as far as they may be read; None for all there are."""
    wanted = cast("Iterable[str] | None", arguments.get("projects"))
    if asked.sees_all:
        return None if wanted is None else frozenset(wanted)
    named = asked.viewer.grants.by_project if wanted is None else wanted
    return frozenset(project for project in named if asked.may_read(project))


def position_at(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in some project: how long the log is, is told to everybody who may read anything of it."""
    if not asked.viewer.grants.allows_somewhere(Grant.READ):
        asked.require(Grant.READ, EVERY_PROJECT)
    return asked.catalog.position_at(**arguments)  # type: ignore[arg-type]


def facts(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Administer every project."""
    asked.require(Grant.ADMINISTER, EVERY_PROJECT)
    return asked.catalog.facts(**arguments)  # type: ignore[arg-type]


def check(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Administer every project."""
    asked.require(Grant.ADMINISTER, EVERY_PROJECT)
    return asked.catalog.check()


# ── what a run or a version came from ────────────────────────────────────────────────────────────


def lineage(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the projects of the roots; the rest is masked."""
    return _lineage(asked, arguments, asked.catalog.lineage)


def closure(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the projects of the roots; what may not be read is counted, and not named."""
    roots = [root(asked, text) for text in cast("Sequence[str]", arguments["roots"])]
    depth, as_of = (cast("int | None", arguments.get(name)) for name in ("depth", "as_of"))
    direction = cast("lineages.Direction", arguments["direction"])
    if asked.sees_all:
        return asked.catalog.closure(roots, direction, depth, as_of)
    bounds = lineages.Bounds(depth, max_nodes=None)
    seen = _seen(asked, asked.catalog.lineage(roots, direction, bounds, as_of=as_of), masks.new_id)
    ids: dict[lineages.NodeType, list[str]] = {type: [] for type in lineages.NodeType}
    for node in seen.nodes:
        if not node.is_masked:
            ids[node.type].append(node.id)
    runs, versions, deployments = (
        tuple(ids[type])
        for type in (lineages.NodeType.RUN, lineages.NodeType.VERSION, lineages.NodeType.DEPLOYMENT)
    )
    completeness = dataclasses.replace(seen.completeness, frontier=None)
    return replies.Closure(runs, versions, deployments, completeness)


def lineage_with_hidden(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the projects of the roots; the rest is masked, and what is hidden beside it is not told."""
    return _lineage(asked, arguments, asked.catalog.lineage_with_hidden)


def _lineage(
    asked: Admission, arguments: Mapping[str, object], ask: Callable[..., lineages.Graph]
) -> lineages.Graph:
    roots = [root(asked, text) for text in cast("Sequence[str]", arguments["roots"])]
    frontier = cast("str | None", arguments.get("frontier"))
    direction = cast("lineages.Direction", arguments["direction"])
    bounds = cast("lineages.Bounds", arguments["bounds"])
    wanted = cast("lineages.Filter", arguments.get("filter", lineages.EVERYTHING))
    as_of = cast("int | None", arguments.get("as_of"))
    if asked.sees_all:
        return ask(roots, direction, bounds, frontier, wanted, as_of)
    closing = asked.seal()
    opened = None if frontier is None else closing.open(frontier)
    speaking = dataclasses.replace(wanted, within=_spoken_of(asked))
    found = ask(roots, direction, bounds, opened, speaking, as_of)
    graph = _seen(asked, found, masks.new_id)
    onward = graph.completeness.frontier
    kept = None if onward is None else closing.close(onward)
    return dataclasses.replace(graph, completeness=dataclasses.replace(graph.completeness, frontier=kept))


def root(asked: Admission, text: str) -> str:
    """A root, if it may be read: a reference or a Deployment as it is, a Run by its whole id."""
    if text.startswith(lineages.DEPLOYMENT):
        if not all(map(asked.may_read, _targets(asked, [text]).values())):
            raise NotFound(f"no {text} is recorded", ErrorKind.NO_SUCH_JUDGEMENT)
        return text
    if ":" in text:
        asked.require_artifact(model.Reference.parse(text).artifact)
        return text
    return str(_record(asked, text).run.uid)


def _spoken_of(asked: Admission) -> frozenset[str]:
    """The projects that they may read, who may not read all."""
    return frozenset(filter(asked.may_read, asked.viewer.grants.by_project))


def _targets(asked: Admission, deployments: Sequence[str]) -> Mapping[str, str]:
    """The project in which each of these Deployments is."""
    if not deployments:
        return {}
    bounds = lineages.Bounds(depth=1, max_nodes=len(deployments))
    found = asked.catalog.lineage(deployments, lineages.Direction.DOWN, bounds)
    return {node.id: node.project for node in found.nodes}


def _seen(asked: Admission, graph: lineages.Graph, new_id: Callable[[], str]) -> lineages.Graph:
    if asked.sees_all:
        return graph
    beyond = masking.beyond(graph)
    elsewhere = {name: model.Reference.parse(name).artifact.project for name in beyond if ":" in name}
    elsewhere |= _targets(asked, sorted(name for name in beyond if name.startswith(lineages.DEPLOYMENT)))
    runs = {UUID(name) for name in beyond - elsewhere.keys()}
    asked.know(runs)
    elsewhere |= {str(uid): asked.projects[uid] for uid in runs if uid in asked.projects}
    return masking.mask(graph, asked.may_read, new_id, elsewhere)


def explain(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the projects of the run and of the one that it is compared with; the rest is masked."""
    record = _record(asked, cast("str", arguments["run"]))
    return _explained(asked, asked.catalog.explain(str(record.run.uid), _against(asked, arguments)), record)


def explain_key(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of the key; the rest is masked."""
    against, seen = _against(asked, arguments), readable(asked, arguments)
    key = cast("str", arguments["key"])
    explained = asked.catalog.explain_key(key, seen, against)
    if asked.sees_all:
        return explained
    found = [asked.catalog.run(str(run)) for run in _runs_behind(asked.catalog.cache_key(key, seen))]
    return _explained(asked, explained, *found)


def explain_calls(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each call and of its inputs; the rest is masked."""
    calls = cast("Sequence[model.Call]", arguments["calls"])

    def admit(call: model.Call) -> model.Call:
        asked.require(Grant.READ, call.project)
        for claim in call.inputs:
            asked.require_source(claim.source)
        if call.key is not None:
            admission.require_own_key(call, call.key)
        return call

    def ask(admitted: Sequence[model.Call]) -> list[object]:
        found = asked.catalog.explain_calls(admitted)
        return [e if isinstance(e, WhenceError) else _explained(asked, e) for e in found]

    return asked.each(calls, admit, ask)


def _against(asked: Admission, arguments: Mapping[str, object]) -> str | None:
    named = cast("str | None", arguments.get("against"))
    return None if named is None else str(_record(asked, named).run.uid)


def _explained(
    asked: Admission, explained: cache.Explanation, *records: model.RunRecord
) -> cache.Explanation:
    """As far as it may be seen; `records` are the Runs that it is of."""
    if asked.sees_all:
        return explained
    named = (explained.against, *(v.made_by for v in explained.verdicts), *masks.runs_of(explained.causes))
    asked.know(uid for uid in named if uid)
    mask = asked.mask(explained.answer)
    against = None if explained.against is None or mask.hides_run(explained.against) else explained.against
    compared = [*records, *([] if against is None else [asked.catalog.run(str(against))])]
    silent = {name for each in compared for name in silent_parts(asked, each)}
    verdicts = tuple(
        dataclasses.replace(
            verdict,
            before=None if against is None or verdict.name in silent else verdict.before,
            after=None if verdict.name in silent else verdict.after,
            made_by=None if verdict.made_by and mask.hides_run(verdict.made_by) else verdict.made_by,
        )
        for verdict in explained.verdicts
    )
    return dataclasses.replace(
        explained,
        against=against,
        verdicts=verdicts,
        answer=mask.shown(explained.answer),
        causes=tuple(_cause_shown(asked, mask, found) for found in explained.causes),
    )


def _cause_shown(asked: Admission, mask: masks.Mask, found: cache.Cause) -> cache.Cause:
    """Where an input began to differ, if all that led there may be read."""
    if any(mask.hides_run(uid) for uid in masks.runs_of([found])):
        return cache.Cause(found.role, None, None, None, note="of a project that you may not read")
    ends = [asked.catalog.run(str(uid)) for uid in (found.run, found.against) if uid is not None]
    silent = {name for each in ends for name in silent_parts(asked, each)}
    verdicts = tuple(
        dataclasses.replace(verdict, before=None, after=None) if verdict.name in silent else verdict
        for verdict in found.verdicts
    )
    return dataclasses.replace(found, verdicts=verdicts)


def silent_parts(asked: Admission, record: model.RunRecord) -> set[str]:
    """The parts of a Run's key whose previews show names of what may not be read.

    They show the names of handles: those of the input, and those in the argument that held it, which
    stands under `reads/` where it is tracked.
    """
    unread = {taken.role for taken in record.inputs if not _may_take(asked, taken)}
    held = {_ARGUMENT.split(role)[0] for role in unread}
    return {
        *(f"inputs/{role}" for role in unread),
        *(f"{kind}/{argument}" for argument in held for kind in ("params", "reads")),
    }


def _may_take(asked: Admission, taken: model.Input) -> bool:
    return asked.may_read(taken.version.artifact.project)


def plan_rerun(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of the run."""
    record = _record(asked, cast("str", arguments["run"]))
    unavailable = cast("frozenset[digest.Digest]", arguments.get("unavailable", frozenset()))
    seen = asked.shown(record)
    if seen == record:
        return asked.catalog.plan_rerun(str(record.run.uid), unavailable)
    return rerun.plan(seen, unavailable)


def audit(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of the subject; the rest is masked."""
    reference = model.Reference.parse(cast("str", arguments["subject"]))
    asked.require_artifact(reference.artifact)
    report = asked.catalog.audit(**arguments)  # type: ignore[arg-type]
    if asked.sees_all:
        return report
    # Asked for after the report: it holds all that the report could rest on.
    graph = asked.catalog.lineage([report.subject], lineages.Direction.UP, lineages.Bounds(max_nodes=None))
    if all(asked.may_read(node.project) for node in graph.nodes):
        return report
    policy = cast("audits.Policy", arguments["policy"])
    presence = cast("Sequence[tuple[digest.Digest, audits.Presence]]", arguments.get("presence", ()))
    return _judged_anew(asked, report, graph, policy, dict(presence))


def _judged_anew(
    asked: Admission,
    report: audits.AuditReport,
    graph: lineages.Graph,
    policy: audits.Policy,
    presence: Mapping[digest.Digest, audits.Presence],
) -> audits.AuditReport:
    """What can be said of the same Version to somebody who may not see all that it came from."""
    subject = model.Reference.parse(report.subject)
    (output,) = asked.catalog.resolve([subject])
    if isinstance(output, WhenceError):
        raise output
    # The same grants give the same report, to the byte: its masks are numbered.
    numbers = itertools.count(1)

    def new_id() -> str:
        return f"{lineages.MASKED}-{next(numbers)}"

    seen = _seen(asked, graph, new_id)
    mine = [node.id for node in seen.nodes if node.type is lineages.NodeType.RUN and not node.is_masked]
    (judged,) = asked.catalog.judgements([subject])
    if isinstance(judged, WhenceError):
        raise judged
    evidence = audits.Evidence(
        subject=output.version,
        graph=seen,
        runs=[asked.shown(asked.catalog.run(uid)) for uid in mine],
        aliases=asked.catalog.aliases(subject.artifact),
        approvals=judged.approvals,
        taints=[asked.mask(None).taint(taint, new_id) for taint in judged.taints],
        presence=presence,
        as_of=report.as_of,
    )
    anew = audits.review(evidence, policy, report.at)
    # How often it was made again, and whether the same came out, is of the Version; by which Runs may not be seen.
    counted = {f.id: dataclasses.replace(f, evidence=()) for f in report.findings if f.id == "remade"}
    findings = tuple(counted.get(finding.id, finding) for finding in anew.findings)
    counts = {**anew.counts, **{v.value: sum(f.verdict is v for f in findings) for v in audits.Verdict}}
    return dataclasses.replace(anew, findings=findings, counts=counts, verdict=_verdict(findings))


def _verdict(findings: Sequence[audits.Finding]) -> audits.Verdict:
    found = {finding.verdict for finding in findings if finding.required}
    return next((v for v in (audits.Verdict.FAIL, audits.Verdict.UNKNOWN) if v in found), audits.Verdict.PASS)

"""What the questions about lineage need of their caller; what may not be read is masked in their answers, and counted."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar, cast

from whence_api import masks, reading
from whence_api.admission import Admission
from whence_catalog import difference, lineage, model, plans, replies, verbs
from whence_catalog import paths as rule
from whence_catalog.errors import ErrorKind, NotFound

P = TypeVar("P", bound=replies.Page)

_DEPLOYMENT = "deployment/"
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def lineage_counts(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the projects of the roots; of what may not be read only the types are counted."""
    if asked.sees_all:
        return asked.catalog.lineage_counts(**arguments)  # type: ignore[arg-type]
    # What somebody sees of the whole is what is counted of it.
    whole = {**arguments, "bounds": lineage.Bounds(max_nodes=None)}
    return rule.counts(cast("lineage.Graph", reading.lineage(asked, whole)))


def paths(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the projects of both ends; the rest is masked."""
    ends = {end: _subject(asked, cast("str", arguments[end])) for end in ("start", "end")}
    found = asked.catalog.paths(**{**arguments, **ends})  # type: ignore[arg-type]
    if asked.sees_all:
        return found
    veil = _Veil(asked)
    return dataclasses.replace(
        found,
        paths=tuple(tuple(map(veil.node, way)) for way in found.paths),
        completeness=veil.counted(found.completeness),
    )


def plan(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the projects of all that it names; the rest is not planned, and counted."""
    request = cast("plans.PlanRequest", arguments["request"])
    named = [model.Reference.parse(text) for text in (*request.downstream_of, *request.inputs)]
    for artifact in (
        *(reference.artifact for reference in named),
        *(replacement.artifact for replacement in request.inputs.values()),
    ):
        asked.require_artifact(artifact)
    targets = tuple(_subject(asked, text) for text in request.targets)
    return asked.catalog.plan(
        dataclasses.replace(request, targets=targets), reading.readable(asked, arguments)
    )


def roots_of(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the projects of all that they are of; the rest is masked."""
    return _nodes(asked, arguments, asked.catalog.roots_of)


def common_ancestors(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the projects of all that they are of; the rest is masked."""
    return _nodes(asked, arguments, asked.catalog.common_ancestors)


def impact(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of what it is of; the rest is masked, and counted."""
    of = _subject(asked, cast("str", arguments["of"]))
    if asked.sees_all:
        return asked.catalog.impact(**{**arguments, "of": of})  # type: ignore[arg-type]
    # Of what may not be read not even the kind is told: of which kind it is, is not asked of the catalog.
    kinds = frozenset(cast("Iterable[str]", arguments.get("kinds", verbs.VERBS["impact"].defaults["kinds"])))
    found = _paged(asked, {**arguments, "of": of, "kinds": ()}, asked.catalog.impact)
    veil, mask = _Veil(asked), asked.mask(None)

    def seen(item: replies.Impacted) -> replies.Impacted:
        is_seen = asked.may_read(item.version.project)
        return replies.Impacted(
            item.type,
            veil.node(item.version),
            tuple(map(veil.node, item.path)),
            mask.deployment(item.deployment) if item.deployment is not None and is_seen else None,
            item.alias if is_seen else None,
        )

    def is_asked_for(item: replies.Impacted) -> bool:
        is_other = item.type is replies.ImpactType.VERSION and kinds and item.version.kind not in kinds
        return item.version.is_masked or not is_other

    placed = [(item, at) for item, at in zip(map(seen, found.items), found.cursors, strict=True)]
    kept = [(item, at) for item, at in placed if is_asked_for(item)]
    return dataclasses.replace(
        found,
        items=tuple(item for item, _ in kept),
        cursors=tuple(at for _, at in kept),
        kinds={},
        masked=sum(item.version.is_masked for item, _ in kept),
        completeness=veil.counted(found.completeness),
    )


def _nodes(
    asked: Admission, arguments: Mapping[str, object], ask: Callable[..., replies.NodePage]
) -> replies.NodePage:
    of = [_subject(asked, text) for text in cast("Sequence[str]", arguments["of"])]
    if asked.sees_all:
        return ask(**{**arguments, "of": of})
    found, veil = _paged(asked, {**arguments, "of": of}, ask), _Veil(asked)
    items = tuple(map(veil.node, found.items))
    masked = sum(node.is_masked for node in items)
    return dataclasses.replace(
        found, items=items, masked=masked, completeness=veil.counted(found.completeness)
    )


def _paged(asked: Admission, arguments: Mapping[str, object], ask: Callable[..., P]) -> P:
    """A page whose cursors are closed: they hold rows, of what may not be read too."""
    seal, after = asked.seal(), cast("str | None", arguments.get("after"))
    page = ask(**{**arguments, "after": None if after is None else seal.open(after)})
    cursors = tuple(map(seal.close, page.cursors))
    return dataclasses.replace(page, cursors=cursors, end=None if page.end is None else cursors[-1])


def _subject(asked: Admission, text: str) -> str:
    """What a question is about, if it may be read; see `reading.root`."""
    if not text.startswith(_DEPLOYMENT):
        return reading.root(asked, text)
    if not asked.sees_all:
        (way,) = asked.catalog.paths(text, text, 1).paths
        if not asked.may_read(way[0].project):
            raise NotFound(f"no {text} is recorded", ErrorKind.NO_SUCH_JUDGEMENT)
    return text


@dataclass(slots=True)
class _Veil:
    """Hides the nodes of one answer that may not be read; one that stands there twice has one id."""

    asked: Admission
    hidden: dict[str, str] = field(default_factory=dict)

    def node(self, node: lineage.Node) -> lineage.Node:
        """The node, as far as it may be seen."""
        if self.asked.may_read(node.project):
            return node
        if node.id not in self.hidden:
            self.hidden[node.id] = masks.new_id()
        return lineage.Node(self.hidden[node.id], node.type, "", lineage.MASKED, _NEVER, depth=node.depth)

    def counted(self, whole: lineage.Completeness) -> lineage.Completeness:
        """With how many nodes were hidden."""
        return dataclasses.replace(whole, masked=whole.masked + len(self.hidden))


# ── difference ───────────────────────────────────────────────────────────────────────────────────


def compared(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the projects of both; the rest is masked."""
    ends = {end: _subject(asked, cast("str", arguments[end])) for end in ("left", "right")}
    found = asked.catalog.difference(**{**arguments, **ends})  # type: ignore[arg-type]
    if asked.sees_all:
        return found
    for side in (found.left, found.right):
        # A Version may have been made by a Run of another project: nothing of that is to be compared.
        if not asked.may_read(side.run.project):
            raise NotFound(
                f"the run that made {side.version.ref if side.version else side.run.uid} is of a project that you"
                " may not read",
                ErrorKind.NO_SUCH_RUN,
            )
    records = [asked.catalog.run(str(side.run.uid)) for side in (found.left, found.right)]
    silent = {name for record in records for name in reading.silent_parts(asked, record)}
    unread = {
        made.role
        for record in records
        for made in record.outputs
        if not asked.may_read(made.version.artifact.project)
    }
    mask, veil = asked.mask(tuple(side.run for side in (found.left, found.right))), _Veil(asked)
    inputs = tuple(
        dataclasses.replace(item, before=mask.version(item.before), after=mask.version(item.after))
        for item in found.inputs
    )
    metrics = tuple(item for item in found.metric_changes if item.of not in unread)
    left, right = (_only(asked, veil, side) for side in (found.upstream.left, found.upstream.right))
    hidden = sum(seen != item for seen, item in zip(inputs, found.inputs, strict=True))
    jobs = sum(
        len(old.job_names) - len(new.job_names)
        for old, new in ((found.upstream.left, left), (found.upstream.right, right))
    )
    upstream = dataclasses.replace(
        found.upstream, left=left, right=right, completeness=veil.counted(found.upstream.completeness)
    )
    return dataclasses.replace(
        found,
        left=_side(mask, found.left),
        right=_side(mask, found.right),
        inputs=inputs,
        components=tuple(
            dataclasses.replace(part, before=None, after=None) if part.name in silent else part
            for part in found.components
        ),
        metric_changes=metrics,
        upstream=upstream,
        masked=hidden + len(found.metric_changes) - len(metrics) + jobs + len(veil.hidden),
    )


def _side(mask: masks.Mask, side: difference.Compared) -> difference.Compared:
    return dataclasses.replace(side, run=mask.shown(side.run), executed=mask.shown(side.executed))


def _only(asked: Admission, veil: _Veil, only: difference.Only) -> difference.Only:
    return dataclasses.replace(
        only,
        nodes=tuple(map(veil.node, only.nodes)),
        job_names=tuple(job for job in only.job_names if asked.may_read(job.project)),
    )

"""A catalog and the bytes beside it, as the steps of a process and its user see them."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeAlias, Unpack, cast

from whence import (
    beater,
    block,
    calls,
    handles,
    locations,
    outbox,
    reads,
    recorder,
    settings,
    values,
    writer,
)
from whence_catalog import blobs, catalog, digest, later, lineage, model
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound, Unreachable, WhenceError

if TYPE_CHECKING:
    from whence import changes, differences, judging, places, questions, searching, spill, times
    from whence_catalog import audit, replies
else:
    changes, differences, judging, places, questions, searching, times = later.modules(
        "whence", "changes", "differences", "judging", "places", "questions", "searching", "times"
    )
    (audit,) = later.modules("whence_catalog", "audit")

P = ParamSpec("P")

_TOKEN_VARIABLES = ("WHENCE_TOKEN", "WHENCE_TOKEN_FILE")

# A way to look at Blobs: the store's quick one, or the one that hashes.
Verify: TypeAlias = "Callable[[Iterable[digest.Digest]], blobs.Presence]"


@dataclass(slots=True)
class Client:
    """A catalog, the bytes beside it, and in whose name and project it is used."""

    catalog: catalog.Catalog
    blobs: blobs.BlobStore
    project: str
    actor: model.Actor
    url: str
    box: outbox.Outbox | None = None
    copies: spill.Spill | None = None
    beater: beater.Beater = field(init=False)
    _key: bytes | None = field(init=False, default=None, repr=False)
    writer: writer.Writer = field(init=False)

    def __post_init__(self) -> None:
        self.beater = beater.Beater(self.catalog, settings.lease())
        self.box = self.box or outbox.Outbox(Path(self.url) / settings.OUTBOX, self.url)
        self.writer = writer.Writer(self.catalog, self.box, self.copies)

    @property
    def env(self) -> dict[str, str]:
        """The environment in which another process is connected as this one is."""
        mine = {"WHENCE_URL": self.url, "WHENCE_PROJECT": self.project, "WHENCE_BLOBS": self.blobs.url}
        # Who said its token to the environment has it there; another is nobody else's.
        return mine | {name: os.environ[name] for name in _TOKEN_VARIABLES if name in os.environ}

    def close(self) -> None:
        """Let go of the catalog, once what was kept for it had a last try.

        Idempotent; handles that have no path yet get none any more.
        """
        self.beater.close()
        self.writer.close()
        self.catalog.close()

    @property
    def key(self) -> bytes:
        """The secret for HMACs of what must not be recorded in clear: one, however its catalog is reached.

        Empty, where it is kept from whoever may not record.

        Raises:
            Unreachable: nobody says it.
        """
        if self._key is None:
            told = self.catalog.identity().key
            self._key = told if self.url.startswith(("http://", "https://")) else catalog.client_key(told)
        return self._key

    # ── records ──────────────────────────────────────────────────────────────────────────────────

    def run(
        self,
        job: str,
        *,
        params: Mapping[str, object] | None = None,
        labels: Mapping[str, str] | None = None,
        retry_of: uuid.UUID | None = None,
    ) -> contextlib.AbstractContextManager[recorder.Recorder]:
        """A Run of `job`, for a `with` block: begun on entry, ended on exit, failed if the block raises."""
        return block.begin(self, job, params or {}, labels or {}, retry_of)

    def publish(self, reference: str, content: object, **says: Unpack[handles.Says]) -> handles.Handle:
        """Record content that no Run of ours made, such as data from outside; see `handles.Says`."""
        named = self.named(reference)
        made = handles.draft(named.kind, named.name, content, **says)
        return self.publish_draft(made, named.project)

    @reads.unwatched
    def publish_draft(self, draft: handles.Handle, project: str | None = None) -> handles.Handle:
        """Record a draft in a Run of its own, whose inputs are what the draft says it comes from, if anything."""
        run, now = calls.new_uid(), datetime.now(UTC)
        with tempfile.TemporaryDirectory(prefix="whence-") as folder:
            claim = self.store(draft, role="output", folder=Path(folder), project=project, run=run)
        call = model.Call(
            run,
            project or self.project,
            "whence.publish",
            self.actor,
            inputs=tuple(
                model.InputClaim("derived from", source, place)
                for place, source in enumerate(dict.fromkeys(claim.derived_from or ()))
            ),
            parent=recorder.current_uid(),
            claimed_at=now,
        )
        report = model.Report(
            calls.new_uid(), run, model.RunState.COMPLETE, self.actor, outputs=(claim,), claimed_at=now
        )
        (output,) = self.writer.record(call, report)
        return handles.bound(output, self)

    @reads.unwatched
    def alias(
        self,
        reference: str,
        name: str,
        *,
        reason: str | None = None,
        expected: int | None = None,
        since: times.When | None = None,
    ) -> model.Alias:
        """Point an alias at the Version that `reference` means.

        Args:
            expected: the version number that it is believed to replace (0: none); anything else is a Conflict.
            since: when it began to be so, where that was before now.
        """
        version = self.get(reference).version
        move = model.AliasMove(
            calls.new_uid(),
            version.artifact,
            name,
            version.digest,
            self.actor,
            reason,
            expected,
            None if since is None else times.beginning(since),
        )
        return calls.one(self.catalog.move_aliases([move]))

    @reads.unwatched
    def quarantine(self, reference: str, *, reason: str) -> model.Quarantine:
        """Declare a Version bad: all that was or will be made of it is tainted, and reused no more."""
        return judging.quarantine(self, reference, reason)

    def reach(self, reference: str, first: int = 100) -> replies.Reach:
        """What a quarantine of a Version reaches, or would; each list has `first` items at most."""
        return judging.reach(self, reference, first)

    def release(self, what: str, *, reason: str) -> model.Quarantine | model.Hold:
        """End a quarantine or a hold, by its id or by the Version of which it is the only one that stands."""
        return judging.release(self, what, reason)

    def approve(
        self,
        reference: str,
        *,
        decision: model.Decision = model.Decision.APPROVED,
        reason: str | None = None,
    ) -> model.Approval:
        """Record a decision on a Version."""
        return judging.approve(self, reference, decision, reason)

    def hold(self, reference: str, *, reason: str) -> model.Hold:
        """Have a Version kept until it is released, whatever retention says."""
        return judging.hold(self, reference, reason)

    def deploy(
        self, reference: str, target: str, *, reason: str | None = None, since: times.When | None = None
    ) -> model.Deployment:
        """Say that a Version serves at `target`, in place of what did, from now on or since a time that is past."""
        return judging.deploy(self, reference, target, reason, since)

    def withdraw(
        self, artifact: str, target: str, *, reason: str | None = None, since: times.When | None = None
    ) -> model.Deployment:
        """Say that an Artifact serves at `target` no more; answers the Deployment that ended."""
        return judging.withdraw(self, artifact, target, reason, since)

    def alias_at(
        self, reference: str, at: times.When, as_of: times.Known | None = None
    ) -> model.Alias | None:
        """What `kind:name@alias` meant at a time, since when, who moved it there, why, and what it replaced."""
        return times.alias_at(self, reference, at, as_of)

    def timeline(
        self, reference: str, as_of: times.Known | None = None, first: int = 25, after: str | None = None
    ) -> replies.EventPage:
        """All that happened to an Artifact or a Version, the newest first."""
        return times.timeline(self, reference, as_of, first, after)

    def deployments(
        self,
        target: str | None = None,
        artifact: str | None = None,
        at: times.When | None = None,
        as_of: times.Known | None = None,
        first: int = 25,
        after: str | None = None,
    ) -> replies.DeploymentPage:
        """What serves and served where, the newest first; with `at`, what served then."""
        return times.deployments(self, target, artifact, at, as_of, first, after)

    def label(self, what: str, /, *, remove: Iterable[str] = (), **labels: str) -> Mapping[str, str]:
        """Set and remove labels of a Version, or of a Run by its id; answers all that it then has."""
        return judging.label(self, what, labels, remove)

    def search(self, text: str = "", **asked: Unpack[searching.Asked]) -> tuple[replies.Hit, ...]:
        """Versions, Artifacts, jobs and Runs, by name or by what they have; see `searching.search`."""
        return searching.search(self, text, **asked)

    def judgements(self, reference: str, as_of: times.Known | None = None) -> replies.Judgements:
        """What was said of a Version, and what taints it, as far as is known now or was then."""
        return judging.judgements(self, reference, as_of)

    def get(self, reference: str, as_of: times.Known | None = None) -> handles.Handle:
        """A handle of the Version that `reference` means, or meant as far as was known then."""
        parsed = model.Reference.parse(reference, self.project)
        self.writer.settle()
        then = times.position(self, as_of)
        try:
            found = calls.one(self.catalog.resolve([parsed], then))
        except NotFound:
            # It answers; what it was not told yet may be what is asked for.
            if not self.writer.deliver():
                raise
            found = calls.one(self.catalog.resolve([parsed], then))
        return handles.bound(found, self)

    @reads.unwatched
    def known(self, handle: handles.Handle) -> handles.Handle:
        """A handle from elsewhere (another process, another catalog), if this catalog has what it names.

        Where nobody answers, or what it names lies in an outbox still, it is believed: its digest says all.

        Raises:
            NotFound: it has not.
        """
        named = model.Reference(handle.version.artifact, handle.digest)
        may_be_absent = self.expect(handle)
        if not self.writer.is_silent:
            try:
                calls.one(self.catalog.resolve([named]))
            except Unreachable:
                pass
            except NotFound:
                if not may_be_absent:
                    raise
        return handles.bound(handle.output, self)

    def expect(self, handle: handles.Handle) -> bool:
        """Whether what a handle names was made while the catalog did not answer, and may not be recorded yet."""
        if not handle.number:
            self.writer.expect(handle.run)
        return not handle.number

    def full_name(self, text: str) -> str:
        """A reference with this client's project, where it names none; a Run's id as it is."""
        return str(model.Reference.parse(text, self.project)) if ":" in text else text

    @reads.unwatched
    def audit(self, subject: str, policy: audit.Policy) -> audit.AuditReport:
        """Judge how the Version that `subject` means came to be, after hashing all the bytes behind it."""
        ref = self.get(subject).ref
        graph = self.catalog.lineage([ref], lineage.Direction.UP, lineage.Bounds(max_nodes=None))
        seen = [node for node in graph.nodes if not node.is_masked]
        versions = [node.id for node in seen if node.type is lineage.NodeType.VERSION]
        found = self.catalog.resolve([model.Reference.parse(name) for name in versions])
        # What was handed on by reference is where its system keeps it, and was never in the store.
        held = [item for item in found if isinstance(item, model.Output) and item.location is None]
        contents = [item.version.content for item in held]
        ours = [content for content in contents if content.strength is model.Strength.CONTENT]
        trees = {content.digest for content in ours if content.form is model.Form.TREE}
        asked = {content.digest for content in ours}
        for node in seen:
            if node.type is lineage.NodeType.RUN:
                captured = self.catalog.run(node.id).run.capture
                trees |= {captured.bundle} if captured.bundle else set()
                asked |= {kept for kept in (captured.bundle, captured.environment) if kept}
        # Every byte is hashed: a quick look would miss what a failing disk altered.
        present, missing, altered = self.look(frozenset(asked), frozenset(trees), self.blobs.verify_deep)
        presence = dict.fromkeys(present, audit.Presence.PRESENT)
        presence |= dict.fromkeys(missing, audit.Presence.MISSING)
        presence |= dict.fromkeys(altered, audit.Presence.ALTERED)
        return self.catalog.audit(ref, policy, tuple(presence.items()))

    def explain(self, what: str, against: str | None = None) -> changes.Why:
        """Why a Run, by its id, or a key (`wk1:…`) is what it is; see `changes.explain`."""
        return changes.explain(self, what, against)

    def explain_call(self, step: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> changes.Why:
        """What a step would be answered if it was called so now, and why; see `changes.explain_call`."""
        return changes.explain_call(self, step, *args, **kwargs)

    def difference(self, left: str, right: str) -> differences.Differences:
        """What changed from one Version, or Run, to another; see `differences.compare`."""
        return differences.compare(self, left, right)

    def paths(self, start: str, end: str, limit: int = 5, as_of: int | None = None) -> replies.Paths:
        """The ways in which data went from one thing to another, the shortest first."""
        return questions.paths(self, start, end, limit, as_of)

    def impact(
        self, of: str, kinds: Iterable[str] = ("model",), as_of: int | None = None
    ) -> questions.Impact:
        """What came of a Version or a Run: counts at once, then all of it, as it is iterated over."""
        return questions.impact(self, of, kinds, as_of)

    def roots(self, of: Iterable[str], as_of: int | None = None) -> Iterator[replies.NodePage]:
        """Where the data begins that these came from, page by page."""
        return questions.roots(self, of, as_of)

    def common_ancestors(self, of: Iterable[str], as_of: int | None = None) -> Iterator[replies.NodePage]:
        """What all of these came from, page by page."""
        return questions.common_ancestors(self, of, as_of)

    def named(self, reference: str) -> model.Artifact:
        """The Artifact that a name for publishing means.

        Raises:
            InvalidInput: it selects a version.
        """
        parsed = model.Reference.parse(reference, self.project)
        if parsed.selector is not None:
            raise InvalidInput(
                f"{reference} selects a version; publishing makes one: name {parsed.artifact} alone",
                ErrorKind.BAD_REFERENCE,
            )
        return parsed.artifact

    # ── bytes ────────────────────────────────────────────────────────────────────────────────────

    @reads.unwatched
    def store(
        self,
        item: handles.Handle,
        *,
        role: str,
        folder: Path,
        project: str | None = None,
        run: uuid.UUID | None = None,
    ) -> model.OutputClaim:
        """Put a handle's content into the store; answers the claim that a report, of `run`, makes of it.

        Blobs first, facts last: a crash in between leaves an orphan Blob, never a fact without bytes.
        """
        if not item.is_draft:
            return self._claim_again(item, role)
        kind, name = handles.kind_and_name(item)
        draft = item.draft
        for source in draft.derived_from or ():
            self.expect(source)
        place = draft.content if isinstance(draft.content, locations.Located) else None
        if place is None:
            staged = values.stage(draft.content, folder)
        else:
            staged = values.Staged("reference", "")
            self._require_here(place)
        metadata = _plain(draft.metadata, f"metadata of {kind}:{name}")
        derived = draft.derived_from
        return model.OutputClaim(
            role=role,
            artifact=model.Artifact(project or self.project, kind, name),
            content=self._put(staged)
            if place is None
            else self._identified(place, run or calls.new_uid(), role),
            filename=staged.filename or None,
            format=None if place else staged.format,
            location=None if place is None else place.location,
            metadata=metadata,
            metrics={metric: calls.number(metric, value) for metric, value in draft.metrics.items()},
            description=draft.description,
            derived_from=None if derived is None else tuple(handle.source for handle in derived),
        )

    def _put(self, staged: values.Staged) -> model.Content:
        if staged.data is not None:
            return model.Content(self.blobs.put_bytes(staged.data), size_bytes=len(staged.data))
        path = cast("Path", staged.path)
        if os.path.isdir(path):
            tree = self.blobs.put_tree(path)
            return model.Content(tree.digest, form=model.Form.TREE, size_bytes=tree.size_bytes)
        stored = self.blobs.put_file(path)
        return model.Content(stored.digest, size_bytes=stored.size_bytes)

    def _identified(self, place: locations.Located, run: uuid.UUID, role: str) -> model.Content:
        if place.is_asked and place.location is not None:
            return places.content(place.location)
        return locations.identified(place, run, role)

    def _require_here(self, place: locations.Located) -> None:
        """Nothing, if what is named by its digest alone is in the store."""
        if place.content is not None and place.location is None:
            asked = frozenset({place.content.digest})
            present, _, _ = self.look(asked, asked if place.form is model.Form.TREE else frozenset())
            if not present:
                raise NotFound(
                    f"{place.content.digest} is not in the store {self.blobs.url}; say its location, or hand in its"
                    " bytes",
                    ErrorKind.BLOB_MISSING,
                )

    def _claim_again(self, item: handles.Handle, role: str) -> model.OutputClaim:
        output = item.output
        self.expect(item)
        return model.OutputClaim(
            role=role,
            artifact=output.version.artifact,
            content=output.version.content,
            filename=output.filename,
            format=output.format,
            location=output.location,
            metadata=output.metadata,
            metrics=output.metrics,
            derived_from=(item.source,),
        )

    @reads.unwatched
    def look(
        self,
        asked: frozenset[digest.Digest],
        trees: frozenset[digest.Digest],
        verify: Verify | None = None,
    ) -> tuple[frozenset[digest.Digest], frozenset[digest.Digest], frozenset[digest.Digest]]:
        """(present, missing, altered) of these contents; one that is in `trees` is all the Blobs of a tree.

        `verify` is how closely to look: the store's quick way unless given.
        """
        members = {named: self._members(named) if named in trees else {named} for named in asked}
        every = frozenset().union(*[found for found in members.values() if found is not None])
        seen = (verify or self.blobs.verify)(every)
        missing = frozenset(n for n, m in members.items() if m is None or m & seen.missing)
        altered = frozenset(n for n, m in members.items() if m is not None and m & seen.altered) - missing
        return asked - missing - altered, missing, altered

    def _members(self, root: digest.Digest) -> frozenset[digest.Digest] | None:
        try:
            return self.blobs.digests_of_tree(root)
        except WhenceError:
            return None  # a node is gone or altered: the tree is not there


def _plain(metadata: Mapping[str, object], what: str) -> Mapping[str, digest.Framed]:
    try:
        digest.frame(cast("digest.Framed", dict(metadata)))
    except WhenceError as error:
        raise InvalidInput(f"{what}: {error}; metadata holds plain values only", error.kind) from error
    return cast("Mapping[str, digest.Framed]", dict(metadata))

"""What a viewer sees of an answer: what is of projects that they may not read is hidden, and never dropped.

A masked Version stands as `masked/masked:<id of this answer>@0`, with an identity that proves nothing, so that who
would take it finds that they cannot. Of a masked Run no id is told, with one exception: an Output or an Input of a
Version that may be read names the Run that made it, whoever's that is. That id is the production's own name, to
which inputs are bound; to ask for the Run itself finds nothing.

Leaves lineage to `masking.mask`, and to others what may be asked at all (`access`).
"""

import dataclasses
import secrets
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar, cast
from uuid import UUID

from whence_catalog import cache, digest, inventory, lineage, model, replies

T = TypeVar("T")
_Listed: TypeAlias = model.Run | model.Input | model.Output

_NOTHING = model.Content(digest.Digest.of(bytes(32)), model.Strength.NONE)
_NEEDED = inventory.Pin("something of a project that you may not read", None)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> str:
    """An id of one answer: it says nothing, and comes never again."""
    return f"masked-{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class Mask:
    """Hides what is of projects that may not be read.

    `projects` are those of the Runs that the answer names; a Run that is in none was never recorded.
    """

    may_read: Callable[[str], bool]
    projects: Mapping[UUID, str]

    def hides_run(self, uid: UUID) -> bool:
        """Whether a Run is of a project that may not be read."""
        project = self.projects.get(uid)
        return project is not None and not self.may_read(project)

    def hides(self, artifact: model.Artifact) -> bool:
        """Whether an Artifact is of a project that may not be read."""
        return not self.may_read(artifact.project)

    def shown(self, value: T) -> T:
        """`value`, as far as it may be seen: what a writing verb answers, or a Run, an Output, or several."""
        hidden: object
        match value:
            case model.Run():
                hidden = self._run(value)
            case model.Output():
                hidden = self._output(value)
            case model.RunRecord(run, inputs, outputs, observed):
                taken = tuple(self._input(item) for item in inputs)
                hidden = model.RunRecord(self._run(run), taken, self.shown(outputs), observed)
            case replies.Finished(run, outputs, publication):
                hidden = replies.Finished(self._run(run), self.shown(outputs), publication)
            case cache.Reuse(entry, run, outputs):
                hidden = cache.Reuse(entry, self.shown(run), self.shown(outputs))
            case cache.Execute():
                hidden = dataclasses.replace(value, run=self.shown(value.run))
            case replies.RunPage() | replies.InputPage() | replies.ProductionPage():
                hidden = self._page(value)
            case replies.EventPage(items=items):
                hidden = dataclasses.replace(value, items=tuple(map(self._event, items)))
            case replies.DivergencePage():
                hidden = dataclasses.replace(value, items=self.shown(value.items))
            case inventory.KeyRecord():
                hidden = dataclasses.replace(value, divergences=self.shown(value.divergences))
            case inventory.Divergence(differences=differences):
                parted = tuple(map(self._difference, differences))
                hidden = dataclasses.replace(value, differences=parted)
            case inventory.Evicted(kept=kept):
                hidden = dataclasses.replace(value, kept=tuple(map(self._kept, kept)))
            case tuple():
                hidden = tuple(self.shown(item) for item in value)
            case list():
                hidden = [self.shown(item) for item in value]
            case _:
                return value
        return hidden  # type: ignore[return-value]

    def _page(self, page: replies.RunPage | replies.InputPage | replies.ProductionPage) -> replies.Page:
        """What of it may be seen; the rest is left out, with its cursors, and counted."""
        kept = [
            (item, cursor)
            for item, cursor in zip(cast("Sequence[_Listed]", page.items), page.cursors, strict=True)
            if self.may_read(_project_of(item))
        ]
        return dataclasses.replace(
            page,
            items=tuple(self.shown(item) for item, _ in kept),  # type: ignore[arg-type]
            cursors=tuple(cursor for _, cursor in kept),
            masked=page.masked + len(page.items) - len(kept),
        )

    def _run(self, run: model.Run) -> model.Run:
        return dataclasses.replace(
            run,
            origin=self._uid(run.origin),
            parent=self._uid(run.parent),
            retry_of=self._uid(run.retry_of),
            rerun_of=self._uid(run.rerun_of),
        )

    def _event(self, event: replies.Event) -> replies.Event:
        if event.run is None or not self.hides_run(event.run):
            return event
        return dataclasses.replace(event, actor=model.Actor(lineage.MASKED), job=None)

    def _uid(self, uid: UUID | None) -> UUID | None:
        return None if uid is None or self.hides_run(uid) else uid

    def _input(self, taken: model.Input) -> model.Input:
        if not self.hides(taken.version.artifact):
            return taken
        return model.Input(taken.role, _version(), None, taken.ordinal)

    def _output(self, made: model.Output) -> model.Output:
        if self.hides(made.version.artifact):
            return model.Output(made.role, _version(), made.run)
        if made.derived_from is None:
            return made
        return dataclasses.replace(made, derived_from=tuple(map(self._source, made.derived_from)))

    def taint(self, taint: model.Taint, named: Callable[[], str]) -> model.Taint:
        """A taint without what names a Version that may not be read, or says who judged it, when and why.

        `named` gives that Version an id, which is of this answer alone.
        """
        if not self.hides(taint.quarantine.version.artifact):
            return taint
        version = model.Version(model.Artifact(lineage.MASKED, lineage.MASKED, named()), 0, _NOTHING, _NEVER)
        hidden = model.Quarantine(uuid.uuid4(), version, _NEVER, None, model.Actor(lineage.MASKED), None)
        return dataclasses.replace(taint, quarantine=hidden)

    def version(self, found: model.Version | None) -> model.Version | None:
        """A Version, as far as it may be seen."""
        return None if found is None else _version() if self.hides(found.artifact) else found

    def deployment(self, found: model.Deployment) -> model.Deployment:
        """A Deployment of a Version that may be read, without one that may not which it took the place of."""
        if found.replaced is None or not self.hides(found.replaced.artifact):
            return found
        return dataclasses.replace(found, replaced=_version())

    def _difference(self, parted: inventory.Difference) -> inventory.Difference:
        before, after = (
            _version() if made is not None and self.hides(made.artifact) else made
            for made in (parted.before, parted.after)
        )
        return inventory.Difference(parted.role, before, after)

    def _kept(self, kept: inventory.Kept) -> inventory.Kept:
        pins = (pin if pin.artifact is None or not self.hides(pin.artifact) else _NEEDED for pin in kept.pins)
        return dataclasses.replace(kept, pins=tuple(pins))

    def _source(self, source: model.Source) -> model.Source:
        return model.Source(_artifact(), _NOTHING.digest) if self.hides(source.artifact) else source


def _project_of(item: _Listed) -> str:
    return item.project if isinstance(item, model.Run) else item.version.artifact.project


def _artifact() -> model.Artifact:
    return model.Artifact(lineage.MASKED, lineage.MASKED, new_id())


def _version() -> model.Version:
    # Numbers start at 1: no Version of anybody is called so.
    return model.Version(_artifact(), 0, _NOTHING, _NEVER)


def runs_of(causes: Iterable[cache.Cause]) -> list[UUID]:
    """The Runs that causes name."""
    return [uid for found in causes for uid in (found.run, found.against, *found.through) if uid is not None]


def named_runs(value: object) -> Iterator[UUID]:
    """The Runs beside the one it is about that `Mask.shown` has to know of."""
    match value:
        case model.Run():
            yield from (u for u in (value.origin, value.parent, value.retry_of, value.rerun_of) if u)
        case model.RunRecord() | replies.Finished() | cache.Reuse() | cache.Execute():
            yield from named_runs(value.run)
        case replies.RunPage(items=items):
            yield from named_runs(items)
        case replies.EventPage(items=items):
            yield from (event.run for event in items if event.run is not None)
        case tuple() | list():
            for item in value:
                yield from named_runs(item)

"""One call of a viewer: what they may do, what was looked up to judge it, and what they see of its answer.

What may not be read does not exist: each refusal is in the words, and of the kind, of what is absent.
Leaves to others which verb needs what (`access`), and how values are masked (`masks`).
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from whence_api import masks
from whence_api import seal as seals
from whence_catalog import access, cache, catalog, inventory, model
from whence_catalog.access import EVERY_PROJECT, Grant
from whence_catalog.errors import Denied, ErrorKind, InvalidInput, NotFound, WhenceError

T = TypeVar("T")
_Signed = TypeVar(
    "_Signed",
    model.Call,
    model.Report,
    model.Addition,
    model.Series,
    model.AliasMove,
    model.QuarantineClaim,
    model.Release,
    model.ApprovalClaim,
    model.HoldClaim,
    model.DeploymentClaim,
    model.LabelClaim,
    inventory.Revocation,
    inventory.Eviction,
)


@dataclass(slots=True)
class Admission:
    """One call: who asks, and what was looked up to judge it."""

    viewer: access.Viewer
    catalog: catalog.Catalog
    projects: dict[UUID, str] = field(default_factory=dict)
    looked_up: set[UUID] = field(default_factory=set)

    @property
    def sees_all(self) -> bool:
        """Whether they may read every project."""
        return self.viewer.may(Grant.READ, EVERY_PROJECT)

    def may_read(self, project: str) -> bool:
        """Whether they may read that project."""
        return self.viewer.may(Grant.READ, project)

    def require(self, grant: Grant, project: str) -> None:
        """Refuse, unless they may do that there. Whether there is such a project is not told."""
        if not self.viewer.may(grant, project):
            where = "every project" if project == EVERY_PROJECT else f"project {project}"
            raise Denied(
                f"{self.viewer.actor.name} may not {grant} in {where}; ask who administers it for"
                f" the grant {grant}:{project}",
                ErrorKind.NOT_GRANTED,
            )

    def know(self, runs: Iterable[UUID]) -> None:
        """Look up the projects of these Runs, all at once."""
        fresh = sorted(set(runs) - self.looked_up)
        if fresh:
            self.projects.update(self.catalog.projects_of(fresh))
            self.looked_up.update(fresh)

    def require_run(self, grant: Grant, run: UUID) -> None:
        """Refuse a Run that may not be read, as one that is not recorded; and one of which they may not that."""
        if self.viewer.may(grant, EVERY_PROJECT):
            return  # if it is not recorded, the catalog will say so
        self.know([run])
        project = self.projects.get(run)
        if project is None or not self.may_read(project):
            raise no_run(run)
        self.require(grant, project)

    def require_artifact(self, artifact: model.Artifact, *, alone: bool = True) -> None:
        """Refuse what may not be read, as an Artifact of a project in which there is nothing.

        Of one that is not asked for `alone`, nobody is told near names.
        """
        if not self.may_read(artifact.project):
            near = "; nothing is, yet" if alone else ""
            raise NotFound(f"no artifact {artifact} is recorded{near}", ErrorKind.NO_SUCH_ARTIFACT)

    def require_source(self, source: model.Source) -> None:
        """Refuse a source that may not be read, as one that is not recorded."""
        if not self.may_read(source.artifact.project):
            raise NotFound(
                f"{source.artifact} has no version with content {source.digest.short}…; publish it first",
                ErrorKind.NO_SUCH_VERSION,
            )
        if source.producer is None or self.sees_all:
            return
        self.know([source.producer])
        project = self.projects.get(source.producer)
        if project is None or self.may_read(project):
            return
        # Of a Run that they may not read they know its productions in projects that they may, and no more.
        made = self.catalog.productions(source.artifact)
        if not any(o.run == source.producer and o.version.digest == source.digest for o in made):
            raise no_run(source.producer)

    def signed(self, said: _Signed) -> _Signed:
        """The item in the name of whoever was authenticated; else in the name it gives, as not checked."""
        known = self.viewer.actor
        actor = known if known.authenticated else model.Actor(said.actor.name, authenticated=False)
        return dataclasses.replace(said, actor=actor)

    def seal(self) -> seals.Seal:
        """What closes the texts of this catalog that a client is to give back as they came."""
        return seals.Seal.of(self.catalog.identity().key)

    def mask(self, answer: object) -> masks.Mask:
        """What hides of `answer` that which they may not read."""
        self.know(masks.named_runs(answer))
        return masks.Mask(self.may_read, self.projects)

    def shown(self, answer: T) -> T:
        """`answer`, as far as they may see it."""
        return answer if self.sees_all else self.mask(answer).shown(answer)

    def each(
        self,
        items: Sequence[T],
        admit: Callable[[T], T],
        carry_out: Callable[[Sequence[T]], Sequence[object]],
    ) -> list[object]:
        """The result of each item: the catalog's, as far as it may be seen; else why it was not admitted."""
        results: dict[int, object] = {}
        admitted: dict[int, T] = {}
        for place, item in enumerate(items):
            try:
                admitted[place] = admit(item)
            except WhenceError as error:
                results[place] = error
        if admitted:
            results |= zip(admitted, self.shown(list(carry_out(list(admitted.values())))), strict=True)
        return [results[place] for place in range(len(items))]


def no_run(named: object) -> NotFound:
    """That there is no such Run."""
    return NotFound(f"no run {named} is recorded", ErrorKind.NO_SUCH_RUN)


def require_own_key(call: model.Call, key: str) -> None:
    """Refuse a key that is not what its components make, or that asks for another project's results."""
    if cache.key(call.components) != key:
        raise InvalidInput(f"the key of run {call.run} is not that of its components; send them as they are")
    scope = cache.component("scope", call.project).digest
    said = [p for p in call.components if "scope" in (p.name, p.kind)]
    if [(part.name, part.kind, part.digest) for part in said] != [("scope", "scope", scope)]:
        raise InvalidInput(
            f"the key of run {call.run} is not of its own project; its component scope is to be {call.project!r}"
        )

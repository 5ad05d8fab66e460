"""What the Catalog is asked about where things came from, what came of them, and why they are as they are.

`as_of` is a position, as in `catalog`; `first` and `after` are as in `pages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from whence_catalog import lineage

# `verbs` resolves what signatures say: who calls in process has no need of all that a catalog can answer.
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from whence_catalog import audit, cache, difference, digest, model, paths, plans, replies, rerun
    from whence_catalog.errors import Result


class Questions(Protocol):
    """The part of the Catalog that answers questions of lineage."""

    def lineage_counts(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> paths.Counts:
        """How much `lineage` without bounds would answer: by type, kind, project and state; and how sure that is.

        Raises:
            NotFound, InvalidInput: as `lineage`.
        """
        ...

    def closure(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        depth: int | None = None,
        as_of: int | None = None,
    ) -> replies.Closure:
        """The ids of what the roots came from, or of what came from them, themselves included: all, or `depth` Runs deep.

        Those of `lineage` with the same bound, without anything else that it tells, and for a fraction of its price.

        Raises:
            NotFound: as `lineage`.
            InvalidInput: `depth` is not 1 or more; no such position yet.
        """
        ...

    def lineage_pages(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        depth: int | None = None,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> Iterator[lineage.Graph]:
        """`lineage` of any number of nodes in pages, of which no more than one need be in memory.

        It is no verb of its own: behind a server, frontiers are followed. In process it is one reading transaction,
        which lasts until the last page was taken or the iterator is closed.

        Raises:
            NotFound, InvalidInput: as `lineage`, when the first page is taken.
        """
        ...

    def lineage_with_hidden(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        bounds: lineage.Bounds,
        frontier: str | None = None,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> lineage.Graph:
        """As `lineage`, and each node says how many neighbours of it are hidden: on no page yet, in both directions.

        To count them costs about as much as to find the nodes. A frontier of the one goes on with the other.

        Raises:
            NotFound, InvalidInput: as `lineage`.
        """
        ...

    def lineage(
        self,
        roots: Sequence[str],
        direction: lineage.Direction,
        bounds: lineage.Bounds,
        frontier: str | None = None,
        filter: lineage.Filter = lineage.EVERYTHING,
        as_of: int | None = None,
    ) -> lineage.Graph:
        """What the roots came from, or what came from them.

        A root is a reference, a Run's id, or `deployment/` and the id of a Deployment. `frontier` is of the Graph
        before this one, which was asked for with the same roots, direction, filter and position, to go on
        from there. `as_of` is a position: what was known then is answered, and nothing that was recorded since.

        Raises:
            NotFound: a root is not recorded, or was not then.
            InvalidInput: no such frontier, or no such position yet.
        """
        ...

    def paths(self, start: str, end: str, limit: int = 5, as_of: int | None = None) -> replies.Paths:
        """The ways in which data went from one thing to another, the shortest first; at most `limit` of them.

        Each is a Version by a reference, a Run by its id, or `deployment/` and the id of a Deployment, as in `lineage`;
        so is `as_of`. The search is bounded: an answer that may lack ways says so.

        Raises:
            NotFound: one of them is not recorded, or was not then.
            InvalidInput: `limit` is not 1 to 100; no such position yet.
        """
        ...

    def roots_of(
        self, of: Sequence[str], as_of: int | None = None, first: int = 100, after: str | None = None
    ) -> replies.NodePage:
        """The Versions where the data begins that these came from, the nearest first.

        One begins it if nobody is known to have made it, or if it was taken from a Run that took nothing.

        Raises:
            NotFound, InvalidInput: as `paths`; `first` or `after`, as below.
        """
        ...

    def common_ancestors(
        self, of: Sequence[str], as_of: int | None = None, first: int = 100, after: str | None = None
    ) -> replies.NodePage:
        """The Versions and Runs that all of these came from, themselves counted, the nearest first.

        The depth of each is that from the one of them which is farthest.

        Raises:
            NotFound, InvalidInput: as `roots_of`; fewer than two are named.
        """
        ...

    def impact(
        self,
        of: str,
        kinds: Iterable[str] = ("model",),
        as_of: int | None = None,
        first: int = 100,
        after: str | None = None,
    ) -> replies.Impact:
        """What came of a Version or a Run, and where it is used now: counts, then items in pages without end.

        The Deployments that serve a Version that came of it, then the aliases that stand on one, then such Versions of
        these kinds (none: of any), each with a shortest way there.

        Raises:
            NotFound, InvalidInput: as `roots_of`; it is of a Deployment.
        """
        ...

    def difference(self, left: str, right: str, first: int = 100) -> difference.Difference:
        """What changed from one Version to another, or from one Run to another, part by part.

        A Version stands for its newest production: to compare another, name the Run that made it. Each list has `first`
        items at most.

        Raises:
            NotFound: one of them is not recorded.
            InvalidInput: one is a Version and the other a Run; `first`, as below.
        """
        ...

    def explain(self, run: str, against: str | None = None) -> cache.Explanation:
        """Why a Run has the key that it has, beside that of the Run `against`, or the nearest earlier of its job."""
        ...

    def explain_key(
        self, key: str, projects: Iterable[str] | None = None, against: str | None = None
    ) -> cache.Explanation:
        """As `explain`, of the Run that entered or computes a key, which `cache_key` finds; with what it would answer.

        Raises:
            NotFound, InvalidInput: as `cache_key`.
        """
        ...

    def explain_calls(self, calls: Sequence[model.Call]) -> Sequence[Result[cache.Explanation]]:
        """What `reserve` would answer to each call now, and why its key is what it is. Nothing is recorded."""
        ...

    def plan(self, request: plans.PlanRequest, projects: Iterable[str] | None = None) -> plans.RerunPlan:
        """What bringing Versions and Runs up to date would do: reuse, execute, wait to see, or not to be done.

        A Run is executed if and only if its key, computed when its inputs are known, has no usable entry. Runs of other
        `projects` (None: of none) are not looked at: what they made is taken as it is. Nothing is recorded.

        Raises:
            NotFound: one of those that are named is not recorded, or was not then.
            InvalidInput: nothing is named, or what is to be changed is nothing that these Runs have.
        """
        ...

    def plan_rerun(self, run: str, unavailable: frozenset[digest.Digest]) -> rerun.Prospect:
        """What making a Run again would come to; `unavailable` are Blobs that the caller found gone."""
        ...

    def audit(
        self,
        subject: str,
        policy: audit.Policy,
        presence: Sequence[tuple[digest.Digest, audit.Presence]] = (),
    ) -> audit.AuditReport:
        """Judge how the Version that `subject` names came to be. `presence` is what the caller saw of its bytes."""
        ...

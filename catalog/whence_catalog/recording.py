"""What the Catalog records: the verbs that write what happened.

They take a sequence and give one answer per item, in the order given: a result, or the `WhenceError` that this
item alone met. Items are independent: one that fails leaves no trace and stops none of the others. All that
succeeded is durable when the call returns. Every write is idempotent on its uid: the same item again is the same
fact; another content under the same uid is a `Conflict`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

# `verbs` resolves what signatures say: who calls in process has no need of all that a catalog can answer.
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from uuid import UUID

    from whence_catalog import cache, inventory, model, replies
    from whence_catalog.errors import Result


class Recording(Protocol):
    """The part of the Catalog that records what happened, and decides what can be reused."""

    def reserve(self, calls: Sequence[model.Call]) -> Sequence[Result[cache.Answer]]:
        """Decide what each call is to do, and begin it: one transaction, one round trip.

        `Reuse` and `Execute` have recorded their Run. `Verify` and `Wait` have recorded nothing: look
        at the Blobs, or wait, and ask again with the same call.
        A call in mode `record` or `off`, or without a key, is answered `Execute` and holds no lease.
        """
        ...

    def finish_runs(self, reports: Sequence[model.Report]) -> Sequence[Result[replies.Finished]]:
        """End each Run, with what it made; publish it under its key if it holds a live lease on it.

        Raises (as results):
            NotFound: no such Run.
            Conflict: it has ended by its own word, or the uid was used for another report.
        """
        ...

    def record_runs(
        self, runs: Sequence[tuple[model.Call, model.Report]]
    ) -> Sequence[Result[replies.Finished]]:
        """Record whole Runs, each in one fact. They touch the cache in no way."""
        ...

    def add(self, additions: Sequence[model.Addition]) -> Sequence[Result[tuple[model.Output, ...]]]:
        """Add inputs and outputs to Runs that are running; answers the outputs, with their numbers."""
        ...

    def log(self, series: Sequence[model.Series]) -> Sequence[Result[None]]:
        """Append points of metric series to Runs."""
        ...

    def move_aliases(self, moves: Sequence[model.AliasMove]) -> Sequence[Result[model.Alias]]:
        """Point aliases at Versions, from now on, or since the time that a move says.

        Raises (as results):
            NotFound: the Artifact has no such Version.
            Conflict: it does not point at the version number that was expected; or it was moved after the time
                that the move says.
            InvalidInput: that time is to come.
        """
        ...

    def quarantine(self, claims: Sequence[model.QuarantineClaim]) -> Sequence[Result[model.Quarantine]]:
        """Declare Versions bad: each of their productions, and all that was or will be made of those, is tainted.

        When this returns, nothing tainted is handed out of the cache any more, nor entered into it.

        Raises (as results):
            NotFound: the Artifact has no such Version.
        """
        ...

    def release(self, releases: Sequence[model.Release]) -> Sequence[Result[model.Quarantine | model.Hold]]:
        """End quarantines and holds, which others may outlast; answers each as it now stands.

        Raises (as results):
            NotFound: there is neither of that id.
            Conflict: it was released before.
        """
        ...

    def approve(self, claims: Sequence[model.ApprovalClaim]) -> Sequence[Result[model.Approval]]:
        """Record decisions on Versions: approved, or rejected.

        Raises (as results):
            NotFound: the Artifact has no such Version.
        """
        ...

    def hold(self, claims: Sequence[model.HoldClaim]) -> Sequence[Result[model.Hold]]:
        """Have Versions kept until they are released, whatever retention says.

        Raises (as results):
            NotFound: the Artifact has no such Version.
        """
        ...

    def deploy(self, claims: Sequence[model.DeploymentClaim]) -> Sequence[Result[model.Deployment]]:
        """Say what serves at targets from now on, in place of what did; without a digest, answers what ended.

        Where a claim says a time, since then.

        Raises (as results):
            NotFound: the Artifact has no such Version.
            Conflict: nothing is to serve there any more, and nothing of that Artifact does; or something changed
                there after the time that the claim says.
            InvalidInput: that time is to come.
        """
        ...

    def label(self, claims: Sequence[model.LabelClaim]) -> Sequence[Result[Mapping[str, str]]]:
        """Set and remove labels of Runs and Versions; answers all that each of them then has.

        A label that is there already gets the new value; to remove one that is not there changes nothing.

        Raises (as results):
            NotFound: the Run or the Version is not recorded.
            InvalidInput: the subject does not name one Version for ever, a name or a value is no label's, or
                nothing is set or removed.
        """
        ...

    def revoke_entries(
        self, revocations: Sequence[inventory.Revocation]
    ) -> Sequence[Result[tuple[inventory.Entry, ...]]]:
        """Let nobody reuse the results of these keys until they are made again; answers the entries.

        A look-up then answers `Execute(REVOKED)`, and the next publish supersedes the entry: a Divergence
        where it made other bytes. All keys of an item, or none.

        Raises (as results):
            NotFound: no entry of that project is looked up under one of the keys.
            InvalidInput: no key is given, or more than `inventory.MOST_EVICTED`.
        """
        ...

    def evict_entries(self, evictions: Sequence[inventory.Eviction]) -> Sequence[Result[inventory.Evicted]]:
        """Forget the entries that go beyond the limits; answers what went, what had to stay, and why.

        What a standing alias, a hold or a deployment needs stays. A look-up of what went finds no entry;
        Runs, Versions and bytes stay. Said again, the answer is what that eviction took, and no more is taken.
        """
        ...

    def beat(self, runs: Sequence[UUID], lasting: timedelta) -> frozenset[UUID]:
        """Say that these Runs' processes live, and extend their leases; answers those that lost theirs.

        `lasting` is how long from now; no longer than the catalog's own lease is.
        """
        ...

    def sweep(self) -> Sequence[UUID]:
        """Presume aborted the Runs that have not been heard of; answers them."""
        ...

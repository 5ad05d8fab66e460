"""What the Catalog tells in pages, and of many subjects at once.

Each verb answers for all its subjects in one go. `first` is how many items a page has at most, for each subject;
`after` is a cursor of the list that is asked for. Raises InvalidInput where `first` is not 1 to
`catalog.MOST_AT_ONCE`; answers InvalidInput where `after` is no cursor of that list, and NotFound where the
subject is not recorded. `as_of` is a position, as in `catalog`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

# `verbs` resolves what signatures say: who calls in process has no need of all that a catalog can answer.
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from whence_catalog import model, replies
    from whence_catalog.errors import Result


class Pages(Protocol):
    """The part of the Catalog that lists, in pages."""

    def versions(
        self, references: Sequence[model.Reference], as_of: int | None = None
    ) -> Sequence[Result[model.Version]]:
        """The Version that each reference means, without what any production says of it."""
        ...

    def states(self, references: Sequence[model.Reference]) -> Sequence[Result[model.VersionState]]:
        """Where the Version that each reference means stands now."""
        ...

    def named_productions(self, sources: Sequence[model.Source]) -> Sequence[Result[model.Output]]:
        """Each Version as the Run that its source names made it; an InvalidInput where it names none."""
        ...

    def named_runs(self, runs: Sequence[UUID], as_of: int | None = None) -> Mapping[UUID, model.Run]:
        """The Runs with these ids; one that is not recorded is absent."""
        ...

    def versions_of(
        self,
        artifacts: Sequence[model.Artifact],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.VersionPage]]:
        """The Versions of each Artifact."""
        ...

    def aliases_of(
        self,
        subjects: Sequence[model.Reference],
        standing: bool = False,
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.AliasPage]]:
        """What the aliases of each Artifact meant; or, where a Version is named, the aliases that meant it.

        `standing` leaves out those that mean something else by now.
        """
        ...

    def productions_of(
        self,
        versions: Sequence[model.Reference],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.ProductionPage]]:
        """The productions of each Version."""
        ...

    def consumers_of(
        self,
        versions: Sequence[model.Reference],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.RunPage]]:
        """The Runs that took each Version, from whatever production."""
        ...

    def children_of(
        self,
        runs: Sequence[UUID],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.RunPage]]:
        """The Runs whose parent is each Run."""
        ...

    def inputs_of(
        self,
        runs: Sequence[UUID],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.InputPage]]:
        """What each Run took; a reused Run that has none of its own took its origin's."""
        ...

    def outputs_of(
        self,
        runs: Sequence[UUID],
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> Sequence[Result[replies.ProductionPage]]:
        """What each Run made; a reused Run hands out its origin's."""
        ...

    def list_runs(
        self,
        projects: Iterable[str] | None = None,
        job: str | None = None,
        states: Iterable[model.RunState] = (),
        first: int = 25,
        after: str | None = None,
        as_of: int | None = None,
    ) -> replies.RunPage:
        """Runs of these projects (None: of all), of that job, that are in one of these states by now (none: any).

        Raises:
            InvalidInput: `first` or `after`, as above.
        """
        ...

    def alias_at(
        self, artifact: model.Artifact, alias: str, at: datetime, as_of: int | None = None
    ) -> model.Alias | None:
        """What an alias of an Artifact meant at a time, since when, who moved it there, why, and what it replaced.

        None where it meant nothing then.

        Raises:
            NotFound: no such Artifact is recorded, or it had no such alias as far as was known.
            InvalidInput: the time says no offset from UTC.
        """
        ...

    def timeline(
        self, subject: model.Reference, as_of: int | None = None, first: int = 25, after: str | None = None
    ) -> replies.EventPage:
        """All that happened to an Artifact or, where one is selected, to a Version.

        Moves of aliases, deployments and their ends, decisions, quarantines, holds and their ends, productions.
        An alias that was moved away from a Version happened to that too.

        Raises:
            NotFound: with near names.
            InvalidInput: `first` or `after`, as above.
        """
        ...

    def deployments(
        self,
        projects: Iterable[str] | None = None,
        target: str | None = None,
        artifact: model.Artifact | None = None,
        at: datetime | None = None,
        as_of: int | None = None,
        first: int = 25,
        after: str | None = None,
        standing: bool = False,
    ) -> replies.DeploymentPage:
        """Deployments in these projects (None: in all), at that target, of that Artifact; what served at a time.

        `standing` leaves out those that have ended.

        Raises:
            InvalidInput: `first` or `after`, as above; the time says no offset from UTC.
        """
        ...

    def search(
        self,
        text: str = "",
        types: Iterable[replies.HitType] = (),
        projects: Iterable[str] | None = None,
        kinds: Iterable[str] = (),
        first: int = 25,
        after: str | None = None,
        labels: Iterable[tuple[str, str]] = (),
        metrics: Iterable[model.MetricRange] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> replies.HitPage:
        """Artifacts and jobs with `text` in their name, in whatever case; if it is a digest, Versions of it alone.

        Of these projects (None: of all), and of these kinds and types (none: any). A job or a Run has no kind.

        With labels, metrics, `since` or `until`: the Versions and Runs that have all these labels, a metric by
        now in each of these ranges (a Version: of one of its productions), and began, or were first recorded,
        from `since` until before `until`; `text` is then in the name of the Artifact or the job. So are Versions
        and Runs found without any of these, where `types` names them.

        Raises:
            InvalidInput: `first` or `after`, as above.
        """
        ...

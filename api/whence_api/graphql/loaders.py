"""What a request asks the catalog, many at once: resolvers that run side by side make one call of a verb together.

Each request has loaders of its own, so that what one viewer may see is never remembered for another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast
from uuid import UUID

import strawberry
from strawberry.dataloader import DataLoader
from strawberry.fastapi import BaseContext

from whence_api.feed import Feed
from whence_catalog import model, replies
from whence_catalog.access import Viewer
from whence_catalog.errors import InvalidInput, NotFound, WhenceError

S = TypeVar("S")
P = TypeVar("P")

# How many subjects one call is about at most.
_AT_ONCE = 1000


class Ask(Protocol):
    """Has a verb carried out for whoever makes this request; see `access.carry_out`."""

    def __call__(self, verb: str, /, **arguments: object) -> Awaitable[Any]:
        """What the verb answers."""
        ...


class Wanted(NamedTuple):
    """A page of the list of one subject."""

    subject: Any
    first: int
    after: str | None
    rest: tuple[tuple[str, object], ...] = ()


class Pages:
    """Loads pages of the lists that one verb answers."""

    def __init__(self, ask: Ask, verb: str, subjects: str) -> None:
        self._ask = ask
        self._verb = verb
        self._subjects = subjects
        self._loader: DataLoader[Wanted, Any] = DataLoader(self._load, max_batch_size=_AT_ONCE)

    async def load(self, subject: object, first: int, after: str | None, **rest: object) -> Any:
        """The page of one subject.

        Raises:
            WhenceError: the catalog's answer for this subject.
        """
        return await self._loader.load(Wanted(subject, first, after, tuple(rest.items())))

    async def _load(self, keys: list[Wanted]) -> list[Any]:
        # As many calls as the query has lists with other arguments, however many subjects each is about.
        groups: dict[Wanted, list[Wanted]] = {}
        for key in keys:
            groups.setdefault(key._replace(subject=None), []).append(key)
        found: dict[Wanted, object] = {}
        for alike, members in groups.items():
            subjects = [key.subject for key in members]
            results = await self._ask(
                self._verb,
                **{self._subjects: subjects, "first": alike.first, "after": alike.after, **dict(alike.rest)},
            )
            found.update(zip(members, results, strict=True))
        return [found[key] for key in keys]


class Known:
    """Loads what one verb answers to each of many subjects, as it is or as it was known at a position."""

    def __init__(self, ask: Ask, verb: str, subjects: str) -> None:
        self._ask = ask
        self._verb = verb
        self._subjects = subjects
        self._loader: DataLoader[tuple[Any, int | None], Any] = DataLoader(
            self._load, max_batch_size=_AT_ONCE
        )

    async def load(self, subject: object, as_of: int | None) -> Any:
        """What is answered to one subject.

        Raises:
            WhenceError: the catalog's answer for this subject.
        """
        return await self._loader.load((subject, as_of))

    async def _load(self, keys: list[tuple[Any, int | None]]) -> list[Any]:
        found: dict[tuple[Any, int | None], object] = {}
        for as_of in dict.fromkeys(known for _, known in keys):
            members = [key for key in keys if key[1] == as_of]
            subjects = [subject for subject, _ in members]
            results = await self._ask(self._verb, **{self._subjects: subjects, "as_of": as_of})
            found.update(zip(members, results, strict=True))
        return [found[key] for key in keys]


class Loaders:
    """The loaders of one request."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.versions_of = Pages(ask, "versions_of", "artifacts")
        self.aliases_of = Pages(ask, "aliases_of", "subjects")
        self.productions_of = Pages(ask, "productions_of", "versions")
        self.consumers_of = Pages(ask, "consumers_of", "versions")
        self.children_of = Pages(ask, "children_of", "runs")
        self.inputs_of = Pages(ask, "inputs_of", "runs")
        self.outputs_of = Pages(ask, "outputs_of", "runs")
        self._versions = Known(ask, "versions", "references")
        self._states = self._of(model.Reference, "states", "references")
        self._judgements = Known(ask, "judgements", "references")
        self._productions = self._of(model.Source, "named_productions", "sources")
        self._deployments: DataLoader[UUID, model.Deployment | None] = DataLoader(
            self._load_deployments, max_batch_size=_AT_ONCE
        )
        self._runs: DataLoader[tuple[UUID, int | None], model.Run | None] = DataLoader(
            self._load_runs, max_batch_size=_AT_ONCE
        )

    def _of(self, subject: type[S], verb: str, parameter: str) -> "DataLoader[S, Any]":
        async def load(subjects: list[S]) -> Sequence[Any]:
            return cast("Sequence[Any]", await self.ask(verb, **{parameter: subjects}))

        return DataLoader(load, max_batch_size=_AT_ONCE)

    async def _load_runs(self, keys: list[tuple[UUID, int | None]]) -> list[model.Run | None]:
        found: dict[tuple[UUID, int | None], model.Run] = {}
        for as_of in dict.fromkeys(known for _, known in keys):
            uids = [uid for uid, known in keys if known == as_of]
            told: Mapping[UUID, model.Run] = await self.ask("named_runs", runs=uids, as_of=as_of)
            found.update(((uid, as_of), run) for uid, run in told.items())
        return [found.get(key) for key in keys]

    async def _load_deployments(self, uids: list[UUID]) -> list[model.Deployment | None]:
        of: Mapping[UUID, model.Version] = await self.ask("judged", uids=uids)
        versions = {version.ref: version for version in of.values()}
        references = [model.Reference(v.artifact, str(v.number)) for v in versions.values()]
        told = await asyncio.gather(*map(self.judgements, references), return_exceptions=True)
        found = {
            said.uid: said for one in told if isinstance(one, replies.Judgements) for said in one.deployments
        }
        return [found.get(uid) for uid in uids]

    async def version(self, reference: model.Reference, as_of: int | None = None) -> model.Version:
        """The Version that a reference means, or meant as far as was known at a position.

        Raises:
            WhenceError: there is none, or it may not be read.
        """
        return cast("model.Version", await self._versions.load(reference, as_of))

    async def version_if_any(
        self, reference: model.Reference, as_of: int | None = None
    ) -> model.Version | None:
        """As `version`; None if there is none, or none that may be read."""
        try:
            return await self.version(reference, as_of)
        except NotFound:
            return None

    async def state(self, reference: model.Reference) -> model.VersionState:
        """Where the Version that a reference means stands.

        Raises:
            WhenceError: there is none, or it may not be read.
        """
        return cast("model.VersionState", await self._states.load(reference))

    async def judgements(self, reference: model.Reference, as_of: int | None = None) -> replies.Judgements:
        """What was said of the Version that a reference means, as far as was known at a position.

        Raises:
            WhenceError: there is none, or it may not be read.
        """
        return cast("replies.Judgements", await self._judgements.load(reference, as_of))

    async def run(self, uid: UUID | None, as_of: int | None = None) -> model.Run | None:
        """The Run with that id, as it is or as it was known at a position; None if there is none that may be read."""
        return None if uid is None else await self._runs.load((uid, as_of))

    async def deployment(self, uid: UUID) -> model.Deployment | None:
        """The Deployment with that id; None if there is none, or none of a Version that may be read."""
        return await self._deployments.load(uid)

    async def production(self, source: model.Source) -> model.Output | None:
        """The production that a source names; None if it is not known, or may not be read."""
        if source.producer is None:
            return None
        try:
            return cast("model.Output", await self._productions.load(source))
        except (NotFound, InvalidInput):
            return None


class Following(NamedTuple):
    """What a subscription follows, and whom it is for: asked again and again, since that may end."""

    feed: Feed
    viewer: Callable[[], Awaitable[Viewer]]


class Context(BaseContext):
    """What resolvers are given: the loaders of their request, how many nodes a lineage may have, and who asks."""

    def __init__(
        self, ask: Ask, bounds: "LineageBounds", actor: model.Actor, following: Following | None = None
    ) -> None:
        super().__init__()
        self.following = following
        self.loaders = Loaders(ask)
        self.bounds = bounds
        self.actor = actor
        self._positions: dict[datetime, asyncio.Future[int]] = {}

    async def position(self, as_of: object) -> int | None:
        """The position that is meant by what `AsOf` took. A time means the same one in all of a request.

        Raises:
            WhenceError: the catalog's answer.
        """
        if not isinstance(as_of, datetime):
            return cast("int | None", as_of)
        if as_of not in self._positions:
            self._positions[as_of] = asyncio.ensure_future(self.loaders.ask("position_at", moment=as_of))
        return await self._positions[as_of]

    def forget(self) -> None:
        """Read anew what is asked for from here on."""
        self.loaders = Loaders(self.loaders.ask)

    async def write(self, verb: str, items: str, claim: object) -> Any:
        """What a verb that writes answers to one claim. What was read before is read anew after it.

        Raises:
            WhenceError: the catalog's answer.
        """
        ask = self.loaders.ask
        try:
            (found,) = await ask(verb, **{items: [claim]})
        finally:
            self.loaders = Loaders(ask)
        if isinstance(found, WhenceError):
            raise found
        return found


class LineageBounds(NamedTuple):
    """How far one lineage may be asked for."""

    nodes: int
    seconds: float


Info: TypeAlias = strawberry.Info[Context, None]

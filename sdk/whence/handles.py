"""What user code holds of an artifact: a handle. Passed to a step it is an input, returned it is an output.

A handle is *bound* (it names a recorded Version and knows which Run it was taken from) or a *draft*
(content that a step is about to hand over). Bytes are fetched when `path` or `load()` first asks.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypedDict, Unpack
from uuid import UUID

from whence import reads, values
from whence_catalog import model
from whence_catalog.digest import Digest
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound

if TYPE_CHECKING:
    from whence.client import Client

Signature: TypeAlias = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """Content that is to become a Version, and what its maker says of it."""

    name: str
    content: object
    metrics: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    description: str | None = None
    derived_from: "Sequence[Handle] | None" = None


class Handle:
    """An artifact of any kind; see the subclasses for the built-in ones."""

    kind: ClassVar[str] = ""

    def __init__(
        self,
        *,
        kind: str,
        draft: Draft | None = None,
        output: model.Output | None = None,
        client: "Client | None" = None,
        path: Path | None = None,
    ) -> None:
        self._kind = kind
        self._draft = draft
        self._output = output
        self._client = client
        self._path = path
        self._seen: Signature | None = None
        self._members: dict[Path, Signature] = {}

    # ── what it is ───────────────────────────────────────────────────────────────────────────────

    @property
    def is_draft(self) -> bool:
        """Whether it is not recorded yet."""
        return self._output is None

    def is_of(self, client: "Client") -> bool:
        """Whether it was got from that client, whose catalog then knows it."""
        return self._client is client

    @property
    def draft(self) -> Draft:
        """What is to be recorded."""
        if self._draft is None:
            raise InvalidInput(f"{self} is recorded already")
        return self._draft

    @property
    def output(self) -> model.Output:
        """The production that it was taken from."""
        if self._output is None:
            raise InvalidInput(
                f"{self} is not recorded yet; return it from a step, or hand it to run.publish()"
            )
        return self._output

    @property
    def version(self) -> model.Version:
        """The recorded Version."""
        return self.output.version

    @property
    def name(self) -> str:
        """The artifact's name."""
        return self._draft.name if self._output is None and self._draft else self.version.artifact.name

    @property
    def ref(self) -> str:
        """`kind:name@N`."""
        return self.version.ref

    @property
    def number(self) -> int:
        """The version number."""
        return self.version.number

    @property
    def digest(self) -> str:
        """The identity of its content."""
        return self.version.digest.text

    @property
    def run(self) -> UUID:
        """The Run that it was taken from."""
        return self.output.run

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics that its maker gave it."""
        return self._draft.metrics if self._output is None and self._draft else self.output.metrics

    @property
    def metadata(self) -> Mapping[str, object]:
        """What else its maker said of it."""
        return self._draft.metadata if self._output is None and self._draft else dict(self.output.metadata)

    @property
    def source(self) -> model.Source:
        """How a Run names it as an input."""
        return model.Source(self.version.artifact, self.version.digest, self.output.run)

    def __repr__(self) -> str:
        if self._output is None:
            return f"<{self._kind}:{self.name}, not recorded yet>"
        return f"<{self.ref}>"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_client": None, "_path": None, "_seen": None, "_members": {}}

    # ── its bytes ────────────────────────────────────────────────────────────────────────────────

    @property
    def path(self) -> Path:
        """A local path with its bytes: a file, or a folder. Read-only.

        Raises:
            Damaged: the store no longer has them as they were.
        """
        if self._path is None:
            if self._output is None and isinstance(self.draft.content, os.PathLike):
                return Path(self.draft.content)
            self._path = self._materialise()
            self._seen = signature(self._path)
        return self._path

    @property
    def lent(self) -> tuple[Path, ...]:
        """The paths that `path` and `member` answered."""
        return (*(() if self._path is None else (self._path,)), *self._members)

    @reads.unwatched
    def load(self, *, unpickle: bool = False) -> object:
        """The value that was published: a table, an array, a JSON value; the path, where it was a path."""
        if self._output is None and not isinstance(self.draft.content, os.PathLike):
            return self.draft.content
        return values.load(
            self.path, None if self._output is None else self._output.format, unpickle=unpickle
        )

    @reads.unwatched
    def _materialise(self) -> Path:
        content, output = self.version.content, self.output
        if content.strength is not model.Strength.CONTENT:
            raise NotFound(
                f"{self.ref} is known by {content.strength} identity only; its bytes are at {output.location}",
                ErrorKind.NO_SUCH_FILE,
            )
        if output.location is not None:
            raise NotFound(
                f"{self.ref} was handed on by reference: its bytes are at {output.location}, where it was left",
                ErrorKind.NO_SUCH_FILE,
            )
        if content.form is model.Form.TREE:
            return self._opened().blobs.materialise_tree(content.digest)
        return self._opened().blobs.materialise_file(content.digest, output.filename or "content")

    @reads.unwatched
    def member(self, content: Digest, filename: str) -> Path:
        """A local path with the bytes of one file in it, and with nothing else beside. Read-only.

        Raises:
            Damaged: the store no longer has them as they were.
        """
        lent = self._opened().blobs.materialise_file(content, filename)
        self._members.setdefault(lent, signature(lent))
        return lent

    def _opened(self) -> "Client":
        if self._client is None:
            # It came from another process. Imported here since `connecting` stands on handles.
            from whence import connecting

            self._client = connecting.current()
        return self._client

    def raise_if_changed(self) -> None:
        """Nothing, unless somebody wrote into the bytes that this handle lent out.

        Raises:
            Conflict: they are not as they were lent.
        """
        lent = dict(self._members)
        if self._seen is not None and self._path is not None:
            lent[self._path] = self._seen
        if any(signature(path) != seen for path, seen in lent.items()):
            raise Conflict(f"input {self} was changed while the step ran", ErrorKind.INPUT_CHANGED)


def signature(path: Path) -> Signature:
    """(name, size, mtime in ns) of everything under a path: moves when somebody writes."""
    try:
        if not path.is_dir():
            found = path.stat()
            return ((path.name, found.st_size, found.st_mtime_ns),)
    except OSError:
        return ()
    rows: list[tuple[str, int, int]] = []
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            try:
                found = os.stat(os.path.join(folder, name))
            except OSError:
                continue
            rows.append((os.path.join(folder, name), found.st_size, found.st_mtime_ns))
    return tuple(rows)


class Dataset(Handle):
    """Data to learn from, or to judge by."""

    kind = "dataset"


class Model(Handle):
    """Something that was trained."""

    kind = "model"


class Metrics(Handle):
    """Numbers about something."""

    kind = "metrics"


class Report(Handle):
    """Something for people to read."""

    kind = "report"


class File(Handle):
    """Any other bytes."""

    kind = "file"


_CLASSES: Mapping[str, type[Handle]] = {c.kind: c for c in (Dataset, Model, Metrics, Report, File)}


def bound(output: model.Output, client: "Client | None" = None, path: Path | None = None) -> Handle:
    """The handle of a recorded production."""
    kind = output.version.artifact.kind
    return _CLASSES.get(kind, Handle)(kind=kind, output=output, client=client, path=path)


class Says(TypedDict, total=False):
    """What its maker says of an artifact.

    metrics: numbers to find it by. metadata: plain values about it. description: for people.
    derived_from: the inputs that it really came from; absent means that nobody says.
    """

    metrics: Mapping[str, float] | None
    metadata: Mapping[str, object] | None
    description: str | None
    derived_from: Sequence[Handle] | None


def draft(kind: str, name: str, content: object, **says: Unpack[Says]) -> Handle:
    """A draft of any kind.

    Args:
        name: of the artifact, in the project of whoever records it.
        content: a path to a file or a folder, bytes, a table, an array, a plain value.
        says: see `Says`.
    """
    if unknown := says.keys() - Says.__annotations__.keys():
        raise TypeError(f"no argument {sorted(unknown)[0]!r}; there are {', '.join(Says.__annotations__)}")
    model.Artifact(model.DEFAULT_PROJECT, kind, name)  # refuses a bad kind or name where it is written
    made = Draft(
        name,
        content,
        dict(says.get("metrics") or {}),
        dict(says.get("metadata") or {}),
        says.get("description"),
        says.get("derived_from"),
    )
    return _CLASSES.get(kind, Handle)(kind=kind, draft=made)


def kind_and_name(handle: Handle) -> tuple[str, str]:
    """(kind, name) of a handle, recorded or not."""
    return handle._kind, handle.name

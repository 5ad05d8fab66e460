"""Aside: a catalog of a room's own, for a command that adds to its Run by `whence.attach()`.

There is no other in a room: what runs there neither reads nor writes what is recorded. What it published is handed on
to who made the room; what it logged is not, as of a step.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from uuid import UUID

from whence import calls, connecting, recorder
from whence.client import Client
from whence_catalog import blobs, cache, model

_PYTHON = (".py", ".ipynb")
_NAME = b"whence"


@dataclass(frozen=True, slots=True)
class Aside:
    """A catalog in `folder`, and the Run `run` of `project` in it that stands for the one that is made again."""

    folder: Path
    project: str
    run: UUID

    @property
    def variables(self) -> Mapping[str, str]:
        """What a process is told to add to that Run."""
        return {
            recorder.RUN_VARIABLE: str(self.run),
            "WHENCE_URL": str(self.folder),
            "WHENCE_BLOBS": self._blobs,
            "WHENCE_PROJECT": self.project,
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While it lasts, the Run runs."""
        with self._client() as client:
            now = datetime.now(UTC)
            call = model.Call(self.run, self.project, "room", client.actor, claimed_at=now)
            answer = cast("cache.Execute", client.writer.reserve(call))
            begun = recorder.Recorder(client, cast("model.Run", answer.run))
            begun.begin()
            with begun.recorded():
                yield
                begun.end(model.RunState.COMPLETE)

    def published(self, into: Client, scratch: Path) -> tuple[model.OutputClaim, ...]:
        """What was published, its bytes moved into the store of another client."""
        claims = []
        with self._client() as client:
            for place, output in enumerate(client.catalog.run(str(self.run)).outputs):
                move(into, client.blobs, output.version.content, scratch / f"published-{place}")
                claims.append(
                    model.OutputClaim(
                        role=output.role,
                        artifact=output.version.artifact,
                        content=output.version.content,
                        filename=output.filename,
                        format=output.format,
                        metadata=output.metadata,
                        metrics=output.metrics,
                    )
                )
        return tuple(claims)

    @property
    def _blobs(self) -> str:
        return (self.folder / "blobs").as_uri()

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        client = connecting.open_client(self.folder, project=self.project, blobs_url=self._blobs)
        try:
            yield client
        finally:
            client.close()


def of(folder: Path, source: Path, words: Sequence[str], project: str) -> Aside | None:
    """The one for a command of these words, whose source lies at `source`; None where nothing there names whence."""
    names_it = any(_NAME in os.fsencode(word) for word in words) or any(
        _is_script_that_names_it(Path(at, name)) for at, _, names in os.walk(source) for name in names
    )
    return Aside(folder, project, calls.new_uid()) if names_it else None


def _is_script_that_names_it(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        head = opened.read(2)
        return (head == b"#!" or file.name.endswith(_PYTHON)) and _NAME in head + opened.read()


def move(client: Client, own: blobs.BlobStore, content: model.Content, through: Path) -> None:
    """Have what one store holds in that of `client`."""
    if content.form is model.Form.TREE:
        own.copy_tree(content.digest, through)
        client.blobs.put_tree(through)
        shutil.rmtree(through)
    else:
        own.copy_file(content.digest, through)
        client.blobs.put_file(through)
        through.unlink()

"""Recorded: the environment of a Run that was recorded, and the lock file that is made of it."""

from typing import TYPE_CHECKING

from whence import environment, pylock
from whence_catalog import manifest, model
from whence_catalog.errors import ErrorKind, NotFound

if TYPE_CHECKING:
    from whence.client import Client


def environment_of(client: "Client", prefix: str) -> environment.Environment:
    """What a Run ran in; what its origin ran in, where it was reused.

    Raises:
        NotFound: no such Run, or its environment was not recorded.
    """
    return _environment(client, _captured(client, prefix))


def pylock_of(client: "Client", prefix: str) -> pylock.Pylock:
    """The lock file of a Run's environment, with the files that the locks in its source name.

    Raises:
        NotFound: as `environment_of`.
    """
    captured = _captured(client, prefix)
    locks: dict[str, bytes] = {}
    if captured.bundle is not None:
        load = client.blobs.read_bytes
        for entry in manifest.read(captured.bundle, load):
            if entry.path.rpartition("/")[2] in pylock.LOCKS and entry.digest is not None:
                locks[entry.path] = load(entry.digest)
    return pylock.write(_environment(client, captured), pylock.files_of(locks))


def _captured(client: "Client", prefix: str) -> model.Capture:
    record = client.catalog.run(prefix)
    if record.run.origin is not None:
        record = client.catalog.run(str(record.run.origin))
    return record.run.capture


def _environment(client: "Client", captured: model.Capture) -> environment.Environment:
    if captured.environment is None:
        raise NotFound("the environment of this run was not recorded", ErrorKind.NO_SUCH_RUN)
    return environment.decode(client.blobs.read_bytes(captured.environment))

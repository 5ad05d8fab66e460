"""A PostgreSQL server that is kept: its folder stays when it is stopped, and is gone on with later."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests import postgres


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The URL of the one catalog in that folder's server, made if nothing is there; the server ends with this."""
    is_new = not (folder / "d").exists()
    folder.mkdir(exist_ok=True)
    server = postgres.Server(folder)
    server.start()
    try:
        if is_new:
            server.prepare()
        yield server.url(postgres.TEMPLATE)
    finally:
        server.stop("fast")  # what is acknowledged is kept, also without fsync

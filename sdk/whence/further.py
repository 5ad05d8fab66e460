"""Further roots: the code that earlier calls of a job ran, and that no name in it leads to.

They are covered by the next call of the job, which so has another key, and can be reused. They are kept in
the process and on the shelf; on a machine that begins empty, the first call finds them again and is not
published, and the second has the key that every other machine came to.
"""

import hashlib
import json
import os
from collections.abc import Iterable

from whence import shelf
from whence.covered import Place

_known: dict[tuple[str, str], frozenset[Place]] = {}


def of(root: str, job: str) -> tuple[Place, ...]:
    """The further roots of a job of the project at `root`, in order."""
    if (root, job) not in _known:
        _known[root, job] = _kept(root, job)
    return tuple(sorted(_known[root, job]))


def keep(root: str, job: str, places: Iterable[Place]) -> None:
    """Have these be roots of the job from now on."""
    # Another process may have found others.
    every = frozenset(of(root, job)) | _kept(root, job) | frozenset(places)
    _known[root, job] = every
    rows = [[item.module, item.qualname, os.path.relpath(item.file, root)] for item in sorted(every)]
    shelf.write(_name(root, job), json.dumps(rows).encode())


def _kept(root: str, job: str) -> frozenset[Place]:
    data = shelf.read(_name(root, job))
    if data is None:
        return frozenset()
    try:
        return frozenset(
            Place(module, qualname, os.path.normpath(os.path.join(root, file)))
            for module, qualname, file in json.loads(data)
        )
    except (ValueError, TypeError):  # somebody else's: as if it were not there
        return frozenset()


def _name(root: str, job: str) -> str:
    return "roots-" + hashlib.sha256(f"{root}\0{job}".encode("utf-8", "surrogatepass")).hexdigest()

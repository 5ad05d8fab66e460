"""Captures, as a step starts, what making it again would need: source, environment, entry point.

All of it is remembered in the process, so that the second step costs next to nothing.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from whence import bundle, environment, fingerprint, origins
from whence_catalog import digest, model

if TYPE_CHECKING:
    from whence.client import Client

# What nobody looked at. An audit says so, instead of passing over it.
UNCHECKED = ("the code that was executed was not compared with the code that was covered",)

_stored: dict[tuple[str, digest.Digest], bool] = {}
_encoded: tuple[environment.Environment, bytes, digest.Digest] | None = None


def capture(
    client: "Client", function: Callable[..., object], root: Path, code: fingerprint.CodeIdentity
) -> model.Capture:
    """What a Run of `function` keeps, with its Blobs stored."""
    found = environment.capture(root)
    source = bundle.collect(root, code.files, function.__code__.co_filename)
    rerunnable, because = bundle.rerunnable(function, root, source)
    stored = None
    if source.root_digest is not None:
        stored = source.root_digest
        if (client.url, stored) not in _stored:
            stored = bundle.store(source, client.blobs)
            _stored[client.url, stored] = True
    return model.Capture(
        entry=f"{_module_of(function, root)}:{function.__qualname__}",
        bundle=stored,
        environment=_store_environment(client, found),
        python=found.minor,
        git=environment.git_facts(root),
        argv=tuple(sys.argv),
        rerunnable=rerunnable,
        because=because,
        blind_spots=(*UNCHECKED, *code.widened, *source.notes),
    )


def _module_of(function: Callable[..., object], root: Path) -> str:
    """What an import calls its module; for a script, what an import from the project's root would."""
    named = function.__module__
    in_script = named in origins.MAIN_MODULES
    return origins.module_name(function.__globals__, os.path.realpath(root)) if in_script else named


def _store_environment(client: "Client", found: environment.Environment) -> digest.Digest:
    global _encoded
    kept = _encoded
    if kept is None or kept[0] is not found:
        # One lasts for most of a process, and has hundreds of rows.
        data = environment.encode(found)
        _encoded = kept = (found, data, digest.digest_of_bytes(data))
    _, data, named = kept
    if (client.url, named) not in _stored:
        client.blobs.put_bytes(data)
        _stored[client.url, named] = True
    return named

"""Captures, as a Run starts, what making it again would need: source, environment, entry point.

All of it is remembered in the process, so that the second step costs next to nothing.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whence import bundle, environment, origins, parameters, patches, pods, secrecy
from whence_catalog import digest, later, model

if TYPE_CHECKING:
    from whence import entries, fingerprint
    from whence.client import Client
else:
    (entries,) = later.modules("whence", "entries")

# What nobody looked at. An audit says so, instead of passing over it.
UNCHECKED = ("the code that was executed was not compared with the code that was covered",)
# Of a diff that stands in for source.
LARGEST_DIFF_BYTES = 64 << 20

_stored: dict[tuple[str, digest.Digest], bool] = {}
_encoded: tuple[environment.Environment, bytes, digest.Digest] | None = None
_with_made: dict[object, bundle.Bundle] = {}


def capture(
    client: "Client",
    function: Callable[..., object],
    root: Path,
    code: "fingerprint.CodeIdentity",
    arguments: Sequence[object] = (),
) -> model.Capture:
    """What a Run of `function`, called with these arguments, keeps, with its Blobs stored."""
    found = environment.capture(root)
    source = bundle.collect(root, code.files, function.__code__.co_filename)
    entry = entries.find(function, root, source, arguments)
    source = _beside(source, entry.made)
    diff, notes = _diff(client, root, source)
    argv, hidden = _command_line()
    closure = {name: parameters.keep(value, client.blobs) for name, value in entry.closure.items()}
    return model.Capture(
        entry=entry.name,
        bundle=_store_source(client, source),
        environment=_store_environment(client, found),
        python=found.minor,
        git=source.git,
        argv=argv,
        rerunnable=entry.rerunnable,
        because=entry.because,
        blind_spots=(*UNCHECKED, *code.widened, *source.notes, *entry.notes, *notes, *hidden),
        source=entry.source,
        cwd=_from_root(origins.current_folder(), root),
        search=_search(root),
        closure=closure,
        diff=diff,
        pod=pods.facts(),
    )


def capture_block(client: "Client", file: str | None, root: Path) -> model.Capture:
    """What a Run of a block of code keeps: the program that it is inside of. `file` is where it is written."""
    found = environment.capture(root)
    source = bundle.collect(root, {}, file)
    diff, notes = _diff(client, root, source)
    argv, hidden = _command_line()
    return model.Capture(
        bundle=_store_source(client, source),
        environment=_store_environment(client, found),
        python=found.minor,
        git=source.git,
        argv=argv,
        because="it is a block inside a program, which nothing can call alone: make it a step, or run the whole"
        " program with `whence exec`",
        blind_spots=(*source.notes, *notes, *hidden),
        source=model.Reached.BLOCK,
        cwd=_from_root(origins.current_folder(), root),
        search=_search(root),
        diff=diff,
        pod=pods.facts(),
    )


def restored_closure(client: "Client", captured: model.Capture) -> Mapping[str, digest.Framed]:
    """The values of the entry's free variables, those that were stored for their size among them.

    Raises:
        NotFound, Damaged: one of those is gone.
    """
    return {name: parameters.kept(value, client.blobs) for name, value in captured.closure.items()}


def _beside(source: bundle.Bundle, made: Mapping[str, bytes]) -> bundle.Bundle:
    if not made:
        return source
    key = (source.root_digest, tuple(sorted(made.items())))
    if key not in _with_made:
        _with_made.clear()  # a notebook only goes on
        _with_made[key] = bundle.with_made(source, made)
    return _with_made[key]


def _store_source(client: "Client", source: bundle.Bundle) -> digest.Digest | None:
    stored = source.root_digest
    if stored is not None and (client.url, stored) not in _stored:
        stored = bundle.store(source, client.blobs)
        _stored[client.url, stored] = True
    return stored


def _diff(
    client: "Client", root: Path, source: bundle.Bundle
) -> tuple[digest.Digest | None, tuple[str, ...]]:
    """The Blob of the diff that stands in for source that is too much, and what is to be said of it."""
    if not source.stands_in:
        return None, ()
    stored = patches.store(root, LARGEST_DIFF_BYTES, client.blobs)
    if stored is None:
        return None, ("there is no diff: git could not make it, or it is too large",)
    return stored, ()


def _command_line() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of our command line without what looks secret in them, and what is to be said of that."""
    words = _texts(sys.argv)
    told = secrecy.masked(words, secrecy.known())
    if told == words:
        return words, ()
    return told, ("the command line holds what looks secret: that was not kept",)


def _texts(values: list[str]) -> tuple[str, ...]:
    """What the system hands over as bytes may be no text."""
    return tuple(value.encode("utf-8", "replace").decode() for value in values)


def _from_root(path: str, root: Path) -> str:
    """A path relative to the project's root; itself where it is outside of it, or nowhere."""
    if not path:
        return path
    base, real = os.path.realpath(root), os.path.realpath(path)
    if real == base:
        return "."
    inside = real.startswith(base + os.sep)
    (text,) = _texts([real[len(base) + 1 :].replace(os.sep, "/") if inside else real])
    return text


def _search(root: Path) -> tuple[str, ...]:
    """The entries of `sys.path` that are somebody's source, in their order."""
    folders = [entry or origins.current_folder() for entry in sys.path]
    ours = (
        folder
        for folder in folders
        if os.path.isdir(folder)
        and not environment.is_installed(folder + os.sep)
        and os.path.realpath(folder) != os.path.dirname(os.path.realpath(sys.executable))
        and not any(bundle.is_own(os.path.join(folder, name, "_")) for name in bundle.OWN_PACKAGES)
    )
    return tuple(dict.fromkeys(_from_root(folder, root) for folder in ours))


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

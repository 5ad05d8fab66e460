"""Shelf: small things that this user's processes keep for the next one, in the user's cache folder.

A file is written beside its place and moved there, so that nobody reads half of it; it begins with the digest
of what follows, so that a damaged one is as if it were not there. Nothing depends on it: where the folder
cannot be read or written, what would be on it is made anew. It is the folder `code` where WHENCE_CACHE_DIR says;
WHENCE_CODE_CACHE names another folder, and with `off` nothing is kept. Leaves to others: what is kept, and under which name it can never be stale.
"""

import contextlib
import hashlib
import os
import tempfile

VARIABLE = "WHENCE_CODE_CACHE"
_LENGTH = hashlib.sha256().digest_size


def folder() -> str | None:
    """Where things are kept; None where they are not."""
    named = os.environ.get(VARIABLE, "")
    if named:
        return None if named == "off" else os.path.abspath(os.path.expanduser(named))
    if shared := os.environ.get("WHENCE_CACHE_DIR", ""):
        return os.path.join(os.path.abspath(os.path.expanduser(shared)), "code")
    around = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(around):
        around = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(around, "whence", "code")


def read(name: str) -> bytes | None:
    """What was put there under that name, if it is intact."""
    place = folder()
    if place is None:
        return None
    try:
        with open(os.path.join(place, name), "rb") as file:
            data = file.read()
    except OSError:
        return None
    said, kept = data[:_LENGTH], data[_LENGTH:]
    return kept if hashlib.sha256(kept).digest() == said else None


def write(name: str, data: bytes) -> None:
    """Keep it for the next process, if that can be done."""
    place = folder()
    if place is None:
        return
    beside = ""
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(dir=place, prefix=".")
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
        os.replace(beside, os.path.join(place, name))
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)

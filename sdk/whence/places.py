"""Looks at what lies outside the store: whether a place still holds what a Run left there.

A file of this machine is hashed where it lies. Of anything else its own store is asked, through fsspec: for the
generation of an object (Google), its version (S3, where versions are kept) or its ETag (S3, Azure, HTTP). Each of
these is another after every write of other bytes. A size and a time of change are not: two writes can share them, so
that a store that says nothing better gives no identity.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import fsspec

from whence import located
from whence_catalog import cache, digest, model
from whence_catalog.errors import ErrorKind, InvalidInput, WhenceError

# What fsspec's `info` says → what that is called, the surest first.
_SAID = (("generation", "generation"), ("VersionId", "version"), ("ETag", "etag"), ("etag", "etag"))


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of places, by the digests of what was left there; of those in none, nobody here can tell."""

    present: frozenset[digest.Digest] = frozenset()
    missing: frozenset[digest.Digest] = frozenset()
    altered: frozenset[digest.Digest] = frozenset()


def look(places: Sequence[cache.Place]) -> Seen:
    """Whether what was left at each place is still there."""
    found = {place.digest: _is_there(place) for place in places}

    def those(answer: str) -> frozenset[digest.Digest]:
        return frozenset(named for named, is_there in found.items() if is_there == answer)

    return Seen(those("present"), those("missing"), those("altered"))


def _is_there(place: cache.Place) -> str:
    try:
        there = list(contents(place.location))
    except FileNotFoundError:
        return "missing"
    except Exception:  # whatever stands in the way, of whichever store: somebody else may be able to look
        return "nobody can tell"
    if all(content.strength is not place.strength for content in there):
        return "nobody can tell"  # what is told of it there is not what was noted of it
    return "present" if any(content.digest == place.digest for content in there) else "altered"


def content(location: str) -> model.Content:
    """What lies there now, as its store tells it apart from all else that ever lay there.

    Raises:
        InvalidInput: nothing is there, or its store does not say enough.
    """
    try:
        there = next(contents(location), None)
    except WhenceError:
        raise
    except Exception as error:
        raise InvalidInput(f"{location} cannot be looked at: {error}", ErrorKind.NO_SUCH_FILE) from error
    if there is None:
        raise InvalidInput(
            f"the store of {location} says nothing that is another after each write; give its digest, or copy it in",
            ErrorKind.BAD_VALUE,
        )
    return there


def contents(location: str) -> Iterator[model.Content]:
    """What lies there now, in each way that it may have been identified; nothing, where there is no sure one.

    Raises:
        FileNotFoundError: nothing is there. And whatever a store raises that cannot be asked.
    """
    path = located.path_of(location)
    if path is not None:
        if not path.exists():
            raise FileNotFoundError(location)
        yield located.hashed(path)
        return
    filesystem, inside = fsspec.core.url_to_fs(location)
    filesystem.invalidate_cache()  # what it remembers of a listing is of before
    said: Mapping[str, object] = filesystem.info(inside)
    size = said.get("size")
    for field, kind in _SAID:
        value = said.get(field)
        # A weak ETag stands for what is as good as the same; S3 calls the only version of an object null.
        if value and value != "null" and not str(value).startswith("W/"):
            identity = kind, str(value).strip('"')
            yield located.foreign(
                location, identity, model.Form.FILE, size if isinstance(size, int) else None
            )

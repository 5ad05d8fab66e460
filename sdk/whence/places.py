"""Looks at what lies outside the store: whether a place still holds what a Run left there.

A file of this machine is hashed where it lies. Of anything else its own store is asked, through fsspec: for the
generation of an object (Google), its version (S3, where versions are kept) or its ETag (S3, Azure, HTTP). Each of
these is another after every write of other bytes. A size and a time of change are not: two writes can share them, so
that a store that says nothing better gives no identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from whence import locations
from whence_catalog import later, model
from whence_catalog.errors import ErrorKind, InvalidInput, WhenceError

if TYPE_CHECKING:
    import fsspec

    from whence_catalog import cache
else:
    fsspec = later.Later("fsspec")

# What fsspec's `info` says → what that is called, the surest first.
_SAID = (("generation", "generation"), ("VersionId", "version"), ("ETag", "etag"), ("etag", "etag"))


def look(places: Iterable[cache.Place]) -> tuple[model.Sighting, ...]:
    """What is seen at each place of what was left there; nothing of those of which nobody here can tell."""
    found = {place: _standing(place) for place in places}
    return tuple(
        model.Sighting(place.digest, place.location, standing)
        for place, standing in found.items()
        if standing is not None
    )


def _standing(place: cache.Place) -> model.Standing | None:
    try:
        there = list(contents(place.location))
    except FileNotFoundError:
        return model.Standing.MISSING
    except Exception:  # whatever stands in the way, of whichever store: somebody else may be able to look
        return None
    if all(content.strength is not place.strength for content in there):
        return None  # what is told of it there is not what was noted of it
    is_there = any(content.digest == place.digest for content in there)
    return model.Standing.PRESENT if is_there else model.Standing.ALTERED


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
    path = locations.path_of(location)
    if path is not None:
        if not path.exists():
            raise FileNotFoundError(location)
        yield locations.hashed(path)
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
            yield locations.foreign(
                location, identity, model.Form.FILE, size if isinstance(size, int) else None
            )

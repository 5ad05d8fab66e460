"""What is handed on by reference: content that its system keeps where it is, and that nobody serialises again.

It is named by a location, by a digest, or by both. How much its identity proves is part of it: a digest of ours
stands for the content; a store's own word (an ETag, a generation) is weaker; a location alone names nothing.
"""

import os
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Unpack
from uuid import UUID

from whence import addresses, handles
from whence_catalog import blobs, digest, model
from whence_catalog.errors import ErrorKind, InvalidInput

_CHECKSUMS = re.compile(r"(md5|sha1|sha512|crc32c?|xxh64|blake[23][a-z0-9]*)")


@dataclass(frozen=True, slots=True)
class Located:
    """Content at `location` (None: in the Blob store), as far as it is known (`content` None: not at all).

    `is_asked`: its store is asked when it is recorded.
    """

    location: str | None
    content: model.Content | None
    form: model.Form = model.Form.FILE
    is_asked: bool = False


def located(
    kind: str,
    name: str,
    location: str | os.PathLike[str] | None = None,
    *,
    digest: str | None = None,
    identity: tuple[str, str] | Literal["ask"] | None = None,
    is_tree: bool = False,
    size_bytes: int | None = None,
    **says: Unpack[handles.Says],
) -> handles.Handle:
    """A draft of an artifact whose bytes stay where they are: an input, or an output, by reference.

    Args:
        kind, name: of the artifact.
        location: where it lies, as its system says it: an URL, or a path. None: in the Blob store, by its `digest`.
        digest: `sha256:…` of its bytes; of its Manifest, where it `is_tree`.
        identity: what its store says in place of that: `("etag", "…")`, `("generation", "…")`, or a checksum,
            `("md5", "…")`. It proves less, so that nothing is reused by it unless the call says `trust=`.
            `"ask"`: its store is asked, when this is recorded; see `whence.places`. To be sure that nobody
            else wrote in between, give what the store answered to the write.
        is_tree: whether it is a folder.
        size_bytes: of it, where that is known.
        says: see `whence.Says`.

    A file or a folder of this machine that is named by its path is hashed where it lies, unless a digest is given.

    Raises:
        InvalidInput: it is named by nothing.
    """
    form = model.Form.TREE if is_tree else model.Form.FILE
    place = None if location is None else os.fspath(location)
    if digest is None and place is None:
        raise InvalidInput(f"{kind}:{name} is named by nothing; give its location, its digest, or both")
    if digest is not None and identity is not None:
        raise InvalidInput(f"{kind}:{name} has a digest, which says all that identity={identity!r} could")
    if identity == "ask":
        return handles.draft(kind, name, Located(place, None, form, is_asked=True), **says)
    return handles.draft(
        kind, name, Located(place, _content(place, digest, identity, form, size_bytes), form), **says
    )


def identified(place: Located, run: UUID, role: str) -> model.Content:
    """The content of what `run` made in that role; where nothing is known of it, it is what that Run made so."""
    if place.content is not None:
        return place.content
    named = digest.digest_of("whence.production/1", run.bytes, role)
    return model.Content(named, model.Strength.NONE, place.form)


def _content(
    place: str | None, named: str | None, identity: tuple[str, str] | None, form: model.Form, size: int | None
) -> model.Content | None:
    if named is not None:
        return model.Content(digest.Digest(named), form=form, size_bytes=size)
    if identity is not None and place is not None:
        return foreign(place, identity, form, size)
    path = path_of(place or "")
    return None if path is None or not path.exists() else hashed(path)


def hashed(path: Path) -> model.Content:
    """What lies there on this machine."""
    if path.is_dir():
        tree = blobs.BlobStore.hash_tree(path)
        return model.Content(tree.digest, form=model.Form.TREE, size_bytes=tree.size_bytes)
    file = blobs.BlobStore.hash_file(path)
    return model.Content(file.digest, size_bytes=file.size_bytes)


def foreign(place: str, identity: tuple[str, str], form: model.Form, size: int | None) -> model.Content:
    """The identity that another system gave it."""
    try:
        kind, value = identity
    except ValueError as error:
        raise InvalidInput(
            f"identity is {identity!r}; it is what it is called and what it is, as in ('etag', '33a6…')",
            ErrorKind.BAD_VALUE,
        ) from error
    if _CHECKSUMS.fullmatch(kind):
        named = digest.digest_of("whence.asserted/1", kind, value)
        return model.Content(named, model.Strength.ASSERTED, form, size)
    # An ETag or a generation is of its object alone.
    named = digest.digest_of("whence.provider/1", addresses.without_credentials(place), kind, value)
    return model.Content(named, model.Strength.PROVIDER, form, size)


def path_of(place: str) -> Path | None:
    """The local path that a location names."""
    if place.startswith("file://"):
        return Path(urllib.parse.unquote(urllib.parse.urlsplit(place).path))
    return Path(place) if place and "://" not in place else None

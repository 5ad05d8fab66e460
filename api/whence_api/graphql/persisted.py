"""Automatic persisted queries: a document that was sent once is asked for again by its SHA-256 alone.

Decides which documents are kept, for how long, and what a client is told whose document is not there: to send it with
its hash. A document is text and no more: it is read, limited and carried out as if it had been sent each time, for
whoever asks, by the method that they ask by.

https://www.apollographql.com/docs/apollo-server/performance/apq
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

from cross_web import HTTPException

# What a client of the protocol looks for, to the letter.
NOT_FOUND = "PersistedQueryNotFound"
NOT_FOUND_CODE = "PERSISTED_QUERY_NOT_FOUND"

_VERSION = 1


class NotKept(HTTPException):
    """The document of a hash is not kept here; it is to be sent with it."""

    def __init__(self) -> None:
        super().__init__(200, NOT_FOUND)


class Documents:
    """Documents by their hash: those that were asked for last, of so many characters together.

    Args:
        characters: how many all have at most.
        longest: how many one may have that is kept.
    """

    def __init__(self, characters: int, longest: int) -> None:
        self._room = characters
        self._longest = longest
        self._kept: OrderedDict[str, str] = OrderedDict()

    def document(self, query: str | None, extensions: Mapping[str, object] | None) -> str | None:
        """The document that a request means: what it says, or what was kept under the hash that it gives.

        Raises:
            NotKept: only a hash is given, and nothing is kept under it.
            HTTPException: the hash is none, or of another document.
        """
        given = (extensions or {}).get("persistedQuery")
        if given is None:
            return query
        if not isinstance(given, dict) or given.get("version") != _VERSION:
            raise HTTPException(400, f"persistedQuery is to be an object of version {_VERSION}; correct it")
        named = given.get("sha256Hash")
        if not isinstance(named, str):
            raise HTTPException(400, "persistedQuery has no sha256Hash; give the document's, in hexadecimal")
        named = named.lower()
        if query is None:
            return self._found(named)
        if hashlib.sha256(query.encode(errors="surrogatepass")).hexdigest() != named:
            raise HTTPException(
                400, "provided sha256Hash does not match query; send the hash of this document"
            )
        self._keep(named, query)
        return query

    def _found(self, named: str) -> str:
        if named not in self._kept:
            raise NotKept
        self._kept.move_to_end(named)
        return self._kept[named]

    def _keep(self, named: str, query: str) -> None:
        if len(query) > self._longest:
            return  # it is refused for its length, whenever it comes
        if named not in self._kept:
            self._room -= len(query)
        self._kept[named] = query
        self._kept.move_to_end(named)
        while self._room < 0:
            _, dropped = self._kept.popitem(last=False)
            self._room += len(dropped)

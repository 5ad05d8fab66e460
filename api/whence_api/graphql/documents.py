"""Documents as they were read: parsed, found valid, and found to ask no more than they may, once for all who send them.

Holds nothing of anybody: of what a document was asked with it keeps no text, only what an answer's size depends on.
"""

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from graphql import DocumentNode, GraphQLError, GraphQLSchema, parse, validate

from whence_api.graphql import limits as limiting
from whence_api.graphql.limits import GraphqlLimits

# How many documents are kept. Each is no longer than the limit.
_KEPT = 256
# How many ways of asking them are kept that are within the limits, and how long the variables of one may be.
_MEASURED, _LONGEST = 1024, 2000


class Reader:
    """Reads documents of one schema."""

    def __init__(self, schema: GraphQLSchema, limits: GraphqlLimits) -> None:
        self._schema = schema
        self._limits = limits
        self._measured: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self.parsed = functools.lru_cache(maxsize=_KEPT)(self._parse)
        self.faults = functools.lru_cache(maxsize=_KEPT)(self._validate)

    def _parse(self, text: str) -> DocumentNode:
        """The document.

        Raises:
            GraphQLError: it is none, or has too many tokens.
        """
        return parse(text, max_tokens=self._limits.tokens)

    def _validate(self, text: str) -> Sequence[GraphQLError]:
        """What is wrong with the document of this text, by the schema."""
        return tuple(validate(self._schema, self.parsed(text)))

    def check(self, text: str, named: str | None, variables: Mapping[str, Any] | None) -> None:
        """That a valid document asks no more than it may; see `limits.check`.

        Raises:
            GraphQLError: it asks more.
        """
        is_short = not variables or len(msgspec.json.encode(variables)) <= _LONGEST
        key = (text, named, _shape(variables or {})) if is_short else None
        if key is not None and key in self._measured:
            self._measured.move_to_end(key)
            return
        measured = limiting.check(self._limits, self._schema, self.parsed(text), named, variables)
        # Whether a text is a value at all, its shape does not say.
        if key is not None and measured is not None:
            self._measured[key] = None
            if len(self._measured) > _MEASURED:
                self._measured.popitem(last=False)


def _shape(value: object) -> object:
    """What the size of an answer depends on: numbers, and how many things there are; not what a text says."""
    match value:
        case str():
            return str
        case dict():
            return tuple((name, _shape(inside)) for name, inside in value.items())
        case list():
            return (list, *map(_shape, value))
    return type(value), value

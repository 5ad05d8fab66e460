"""The verbs of `/v1`: each method of the Catalog as data, derived from its signature.

`POST /v1/<name>` takes a JSON object of the method's parameters and answers `{"answer": …}`, or an error.
What is written here by hand is what a signature does not say: which verbs write, and which HTTP status an
error has. Leaves to others: how a value stands in JSON (`wire`), who carries the bytes (`whence.http`,
`whence_api`), and who may (`whence_api.access`).
"""

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from uuid import UUID

from whence_catalog import (
    access,
    audit,
    cache,
    catalog,
    difference,
    digest,
    errors,
    inventory,
    model,
    paths,
    plans,
    replies,
    rerun,
    traces,
    wire,
)
from whence_catalog.errors import ErrorKind

# The protocol that is spoken here, and the oldest that is understood. A client says its own in this header.
PROTOCOL = 1
OLDEST_PROTOCOL = 1
PROTOCOL_HEADER = "Whence-Protocol"

WRITING = frozenset(
    {
        "reserve",
        "finish_runs",
        "record_runs",
        "add",
        "log",
        "move_aliases",
        "quarantine",
        "release",
        "approve",
        "hold",
        "deploy",
        "label",
        "revoke_entries",
        "evict_entries",
        "beat",
        "sweep",
        "add_token",
        "revoke_token",
    }
)

# What is done where the catalog is, or by other verbs.
NOT_SAID = frozenset({"close", "lineage_pages"})

# By kind where it has a status of its own, else by class.
STATUS: Mapping[type[errors.WhenceError] | ErrorKind, HTTPStatus] = MappingProxyType(
    {
        errors.InvalidInput: HTTPStatus.BAD_REQUEST,
        ErrorKind.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        errors.NotFound: HTTPStatus.NOT_FOUND,
        errors.Conflict: HTTPStatus.CONFLICT,
        errors.Denied: HTTPStatus.FORBIDDEN,
        ErrorKind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
        errors.Damaged: HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
        ErrorKind.PROTOCOL: HTTPStatus.UPGRADE_REQUIRED,
        errors.Unreachable: HTTPStatus.SERVICE_UNAVAILABLE,
        ErrorKind.TOO_MANY: HTTPStatus.TOO_MANY_REQUESTS,
    }
)


@dataclass(frozen=True, slots=True)
class Verb:
    """One method of the Catalog. One that `writes` is idempotent on the uids inside its arguments."""

    name: str
    promise: str
    writes: bool
    parameters: tuple[wire.Field, ...]
    defaults: Mapping[str, object]
    answers: Any

    def encode_call(self, arguments: Mapping[str, object]) -> bytes:
        """The JSON of a call: an object of its arguments by name. Those with a default may be left out.

        Raises:
            InvalidInput: an argument holds what cannot be sent.
            TypeError: the method takes other arguments.
        """
        return wire.encode_as(_call(self.name), arguments)

    def decode_call(self, body: bytes) -> dict[str, object]:
        """The arguments of a call, with the defaults of those that were left out.

        Raises:
            InvalidInput: with the path to what the method does not take.
        """
        arguments: dict[str, object] = wire.decode_as(_call(self.name), body)
        return arguments

    def encode_answer(self, answer: object) -> bytes:
        """The JSON of what the method answered: an object with the key `answer`."""
        return wire.encode_as(_answer(self.name), answer)

    def decode_answer(self, body: bytes) -> object:
        """What the method answered.

        Raises:
            InvalidInput: with the path to what the method would not answer.
        """
        return wire.decode_as(_answer(self.name), body)

    def schemas(self, components: wire.Schema) -> tuple[wire.Schema, wire.Schema]:
        """The JSON Schemas of call and answer; `components` gains what they refer to."""
        return _call(self.name).schema(components), _answer(self.name).schema(components)


# What the signatures of the Catalog name, and its module has for the type check only.
_NAMED: Mapping[str, object] = MappingProxyType(
    {
        "Iterable": Iterable,
        "Mapping": Mapping,
        "Result": errors.Result,
        "Sequence": Sequence,
        "UUID": UUID,
        "access": access,
        "audit": audit,
        "cache": cache,
        "datetime": datetime,
        "difference": difference,
        "digest": digest,
        "inventory": inventory,
        "model": model,
        "paths": paths,
        "plans": plans,
        "replies": replies,
        "rerun": rerun,
        "timedelta": timedelta,
        "traces": traces,
    }
)


def _verb(name: str, method: Callable[..., object]) -> Verb:
    signature = inspect.signature(method)
    hints = typing.get_type_hints(method, localns=dict(_NAMED))
    taken = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    defaults = {given.name: given.default for given in taken if given.default is not given.empty}
    return Verb(
        name,
        (method.__doc__ or "").partition("\n")[0],
        name in WRITING,
        tuple(wire.Field(given.name, hints[given.name], given.name not in defaults) for given in taken),
        MappingProxyType(defaults),
        hints["return"],
    )


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        name: _verb(name, method)
        for part in catalog.Catalog.__mro__
        for name, method in vars(part).items()
        if inspect.isfunction(method) and not name.startswith("_") and name not in NOT_SAID
    }
)


# Codecs are made when a verb is first used: an SDK that starts inside a step needs but few of them.
@functools.cache
def _call(name: str) -> wire.Codec:
    verb = VERBS[name]
    encoders = {given.name: wire.codec(given.hint).encode for given in verb.parameters}
    required = {given.name for given in verb.parameters if given.is_required}

    def encode(arguments: Mapping[str, object]) -> dict[str, Any]:
        if wrong := (arguments.keys() - encoders.keys()) | (required - arguments.keys()):
            takes = ", ".join(encoders) or "nothing"
            raise TypeError(f"{name} takes {takes}; unknown or missing: {', '.join(sorted(wrong))}")
        return {given: encoders[given](value) for given, value in arguments.items()}

    def make(**given: object) -> dict[str, object]:
        return {**verb.defaults, **given}

    return wire.record("", verb.promise, verb.parameters, make, encode)


@functools.cache
def _answer(name: str) -> wire.Codec:
    hint = VERBS[name].answers
    there = wire.codec(hint).encode
    field = wire.Field("answer", hint, True)
    return wire.record("", "", [field], lambda answer: answer, lambda answer: {"answer": there(answer)})


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


def encode_error(error: errors.WhenceError) -> bytes:
    """`{"error": {"type": …, "kind": …, "message": …}}`."""
    return wire.encode_as(wire.ERROR, error)


def decode_error(body: bytes) -> errors.WhenceError:
    """The error that was encoded. One whose type or kind is not known here can still be shown.

    Raises:
        InvalidInput: it is no such error.
    """
    error: errors.WhenceError = wire.decode_as(wire.ERROR, body)
    return error


def status_of(error: errors.WhenceError) -> HTTPStatus:
    """The HTTP status that says `error`."""
    by_kind = STATUS.get(error.kind)
    return by_kind or STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)

"""The OpenAPI 3.1 document of a server, made from the verbs: every route, what it takes, answers and refuses."""

import functools
import inspect
from importlib import metadata
from typing import Any

from whence_api.settings import Settings
from whence_catalog import catalog, verbs, wire
from whence_catalog.errors import WhenceError

_WHEN: dict[str, str] = {
    "400": "What was sent cannot be meant: not JSON, not this form, a name that is none. Nothing was done.",
    "401": "Who asks did not say so, or shows what lets nobody in.",
    "403": "Who asks may not.",
    "404": "Nothing has that name or id, or nothing that who asks may see.",
    "405": "This route takes another method.",
    "408": "The request did not arrive in time.",
    "409": "It contradicts what is recorded.",
    "413": "The request is larger than what is taken, as it is or unpacked.",
    "422": "Recorded bytes are missing or altered.",
    "426": "The client speaks a protocol that this server does not; the message says what to upgrade.",
    "429": "Too many requests from one client.",
    "500": "A fault of the server; it wrote down why.",
    "503": "The catalog does not answer, or cannot be used. Send it again later.",
}
_OF_VERBS = ("400", "401", "403", "404", "408", "409", "413", "422", "426", "429", "500", "503")
_OF_WELCOME = ("401", "403", "429", "500", "503")
_REFUSAL = {"$ref": "#/components/schemas/errors.WhenceError"}


def document(settings: Settings) -> bytes:
    """The document, as JSON."""
    return _document(settings.authentication)


@functools.cache
def _document(authentication: str) -> bytes:
    components: dict[str, Any] = {}
    wire.schema(WhenceError, components)
    paths: dict[str, Any] = {"/v1": {"get": _welcome()}}
    for verb in verbs.VERBS.values():
        paths[f"/v1/{verb.name}"] = {"post": _operation(verb, components)}
    paths |= _about()
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "whence",
            "version": metadata.version("whence"),
            "description": "Records what happened, decides what can be reused, and answers where things came from.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {status: _refused(status) for status in _WHEN},
        },
    }
    if authentication == "tokens":
        made["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "A token of whence, or a JWT."}
        }
        made["security"] = [{"bearer": []}]
    return wire.encode(made)


def _operation(verb: verbs.Verb, components: dict[str, Any]) -> dict[str, Any]:
    call, answered = verb.schemas(components)
    return {
        "operationId": verb.name,
        "summary": verb.promise,
        "description": inspect.getdoc(getattr(catalog.Catalog, verb.name)),
        "parameters": [
            {
                "name": verbs.PROTOCOL_HEADER,
                "in": "header",
                "description": f"Which protocol the client speaks, of {verbs.OLDEST_PROTOCOL} to {verbs.PROTOCOL};"
                " the newest, where it does not say.",
                # Without bounds: what is beyond them is refused by a status of its own (426).
                "schema": {"type": "integer"},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": call}}},
        "responses": {"200": _answered("What was answered.", answered), **_refusals(_OF_VERBS)},
    }


def _welcome() -> dict[str, Any]:
    whole: dict[str, Any] = {
        "protocol": {"type": "integer"},
        "oldest_protocol": {"type": "integer"},
        "verbs": {"type": "array", "items": {"type": "string"}},
        "max_body_bytes": {"type": "integer"},
        "blobs": {"type": ["string", "null"], "description": "Where clients keep bytes, as an fsspec URL."},
    }
    schema = {"type": "object", "properties": whole, "required": list(whole)}
    return {
        "operationId": "welcome",
        "summary": "Which protocols and verbs are served, and where clients keep bytes.",
        "responses": {"200": _answered("What is served.", schema), **_refusals(_OF_WELCOME)},
    }


def _about() -> dict[str, Any]:
    def route(name: str, summary: str, kind: str, refusals: tuple[str, ...] = ()) -> dict[str, Any]:
        schema = {"type": "string"} if kind == "text/plain" else {"type": "object"}
        answered = {"description": summary, "content": {kind: {"schema": schema}}}
        operation: dict[str, Any] = {
            "operationId": name,
            "summary": summary,
            "security": [],
            "responses": {"200": answered, **_refusals((*refusals, "403", "500"))},
        }
        return {"get": operation}

    return {
        "/healthz": route("healthz", "The process lives.", "application/json"),
        "/readyz": route(
            "readyz", "The database answers, and requests are served.", "application/json", ("503",)
        ),
        "/metrics": route("metrics", "What was counted, as Prometheus reads it.", "text/plain"),
        "/openapi.json": route("openapi", "This document.", "application/json"),
    }


def _answered(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refused(status: str) -> dict[str, Any]:
    return _answered(_WHEN[status], _REFUSAL)


def _refusals(statuses: tuple[str, ...]) -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in sorted(set(statuses))}

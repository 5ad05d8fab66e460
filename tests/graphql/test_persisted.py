"""Documents that are asked for by their hash: those that are kept, and no other; within the same limits, by the same
methods, and by nobody who could not have sent them."""

import hashlib
import json
from typing import Any

import httpx
import pytest
from cross_web import HTTPException
from fastapi import FastAPI

from tests.graphql.conftest import send
from tests.simulator import World
from whence_api import app
from whence_api.graphql import persisted
from whence_api.settings import Settings

QUERY = "{ __typename }"
NOT_FOUND = {
    "errors": [{"message": "PersistedQueryNotFound", "extensions": {"code": "PERSISTED_QUERY_NOT_FOUND"}}]
}


def hash_of(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def extensions(document: str, **changed: Any) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": hash_of(document), **changed}}


def get(served: FastAPI, document: str, **parameters: str) -> httpx.Response:
    asked = {"extensions": json.dumps(extensions(document)), **parameters}
    return send(served, method="GET", params=asked, headers={"accept": "application/json"})


def test_a_document_that_was_sent_with_its_hash_is_asked_for_by_the_hash_alone(served: FastAPI) -> None:
    by_hash = {"extensions": extensions(QUERY)}
    unknown = send(served, by_hash)
    assert (unknown.status_code, unknown.json()) == (200, NOT_FOUND)
    assert send(served, {"query": QUERY, **by_hash}).json() == {"data": {"__typename": "Query"}}
    assert send(served, by_hash).json() == {"data": {"__typename": "Query"}}
    assert get(served, QUERY).json() == {"data": {"__typename": "Query"}}


def test_in_graphqls_own_media_type_a_hash_of_nothing_is_a_bad_request(served: FastAPI) -> None:
    accept = {"accept": "application/graphql-response+json"}
    answer = send(served, {"extensions": extensions(QUERY)}, headers=accept)
    assert (answer.status_code, answer.json()) == (400, NOT_FOUND)


def test_variables_are_the_requests_own(served: FastAPI) -> None:
    document = "query($yes: Boolean!) { __typename @include(if: $yes) }"
    send(served, {"query": document, "variables": {"yes": True}, "extensions": extensions(document)})
    answer = get(served, document, variables=json.dumps({"yes": False}))
    assert answer.json() == {"data": {}}


@pytest.mark.parametrize(
    "given",
    [
        {"persistedQuery": {"version": 1, "sha256Hash": hash_of("{ other }")}},
        {"persistedQuery": {"version": 2, "sha256Hash": hash_of(QUERY)}},
        {"persistedQuery": {"version": 1}},
        {"persistedQuery": {"version": 1, "sha256Hash": 5}},
        {"persistedQuery": "yes"},
    ],
)
def test_a_hash_that_is_not_the_documents_is_refused_and_keeps_nothing(
    served: FastAPI, given: dict[str, Any]
) -> None:
    assert send(served, {"query": QUERY, "extensions": given}).status_code == 400
    for named in (QUERY, "{ other }"):
        assert send(served, {"extensions": extensions(named)}).json() == NOT_FOUND


def test_a_mutation_that_is_kept_is_not_carried_out_by_get(served: FastAPI, world: World) -> None:
    document = "mutation { __typename }"
    kept = send(served, {"query": document, "extensions": extensions(document)})
    assert kept.json() == {"data": {"__typename": "Mutation"}}
    assert get(served, document).status_code == 400


def test_a_document_that_is_kept_is_within_the_same_limits(served: FastAPI) -> None:
    document = "{ " + " ".join(f"a{n}: __typename" for n in range(31)) + " }"
    asked = {"extensions": extensions(document)}
    first = send(served, {"query": document, **asked}).json()
    assert first["errors"][0]["extensions"]["code"] == "too-large"
    assert send(served, asked).json() == first


def test_who_shows_no_token_asks_for_nothing_by_a_hash(world: World) -> None:
    guarded = app.create_app(world.catalog, Settings(authentication="tokens"))  # type: ignore[call-arg, arg-type]
    assert send(guarded, {"extensions": extensions(QUERY)}).status_code == 401
    assert get(guarded, QUERY).status_code == 401


def test_of_many_documents_those_are_kept_that_were_asked_for_last() -> None:
    kept = persisted.Documents(characters=29, longest=20)
    first, second, third = (f"{{ query{n} }}" for n in range(3))
    for document in (first, second):
        kept.document(document, extensions(document))
    assert kept.document(None, extensions(first)) == first
    kept.document(third, extensions(third))
    assert kept.document(None, extensions(first)) == first
    with pytest.raises(persisted.NotKept):
        kept.document(None, extensions(second))


def test_one_document_that_is_too_long_drops_no_other() -> None:
    kept = persisted.Documents(characters=30, longest=20)
    kept.document(QUERY, extensions(QUERY))
    long = "{ " + "a" * 40 + " }"
    assert kept.document(long, extensions(long)) == long
    assert kept.document(None, extensions(QUERY)) == QUERY
    with pytest.raises(persisted.NotKept):
        kept.document(None, extensions(long))


def test_a_request_without_a_hash_is_what_it_says() -> None:
    kept = persisted.Documents(characters=30, longest=20)
    assert kept.document(QUERY, None) == QUERY
    assert kept.document(None, {}) is None
    with pytest.raises(HTTPException):
        kept.document(None, {"persistedQuery": []})

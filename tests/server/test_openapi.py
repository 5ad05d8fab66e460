"""The OpenAPI document says what the server does: schemathesis asks what it allows, and what it does not."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, reject, settings, strategies
from jsonschema_rs import Draft202012Validator
from schemathesis import checks
from schemathesis.errors import UnsupportedSchema

from tests import servers
from tests.server.conftest import Api
from tests.simulator import World
from whence_api import openapi
from whence_api.settings import Settings
from whence_catalog import verbs
from whence_catalog.sql.catalog import SqlCatalog

DOCUMENT: dict[str, Any] = json.loads(openapi.document(Settings()))
PROMISES = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]

# What is not meant is refused by these; of two faults in a request, either may be told.
REFUSED = [400, 404, 409, 426]
schema = schemathesis.openapi.from_dict(
    DOCUMENT,
    config=schemathesis.Config.from_dict(
        {
            "checks": {"negative_data_rejection": {"expected-statuses": REFUSED}},
            # It asks for every boundary of every field, which takes minutes; without it they are drawn.
            "phases": {"coverage": {"enabled": False}},
        }
    ),
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("catalog") / "catalog.db"
    with closing(SqlCatalog.open(path, synchronous="NORMAL")) as catalog:
        World(catalog).run("train", {"model:m": b"w"})
        with servers.in_thread(catalog, sweep_seconds=0, requests_per_second=0) as served:
            yield served


OPERATIONS = {result.ok().label: result.ok() for result in schema.get_all_operations()}


@strategies.composite
def cases(draw: strategies.DrawFn, operation: schemathesis.APIOperation) -> schemathesis.Case:
    """A request that the document allows, or one that it does not."""
    meant = draw(strategies.sampled_from(schemathesis.GenerationMode))
    try:
        case: schemathesis.Case = draw(operation.as_strategy(generation_mode=meant))
    except UnsupportedSchema:
        reject()  # of some mutations of a schema the library cannot say what they allow
    return case


@pytest.mark.parametrize("label", OPERATIONS)
def test_no_request_meets_what_the_document_does_not_tell(label: str, url: str) -> None:
    @given(case=cases(OPERATIONS[label]))
    @settings(
        max_examples=10,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def holds(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=url, checks=PROMISES)

    holds()


def test_the_document_is_the_one_that_is_served(url: str) -> None:
    with closing(Api(url)) as api:
        assert json.loads(api.ask("GET", "/openapi.json").data) == DOCUMENT


def test_every_route_is_told_and_says_how_it_refuses() -> None:
    assert {path for path in DOCUMENT["paths"] if path.startswith("/v1/")} == {
        f"/v1/{name}" for name in verbs.VERBS
    }
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert {"200", "500"} <= operation["responses"].keys(), path


def test_the_schemas_are_schemas_and_refer_to_nothing_that_is_absent() -> None:
    for name, made in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator({**made, "components": DOCUMENT["components"]})
        assert name
    text = json.dumps(DOCUMENT)
    for name in DOCUMENT["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text, f"nothing is a {name}"


def test_where_tokens_are_asked_for_the_document_says_so() -> None:
    told = json.loads(openapi.document(Settings(authentication="tokens")))
    assert told["security"] == [{"bearer": []}]
    assert told["paths"]["/healthz"]["get"]["security"] == []
    assert "securitySchemes" not in DOCUMENT["components"]

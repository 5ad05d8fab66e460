"""What GraphQL over HTTP asks beyond the audits: bad requests, media types, and a page that loads nothing foreign."""

import asyncio
import base64
import hashlib
import re
from typing import NamedTuple

import httpx
import pytest
import strawberry
from starlette.applications import Starlette
from strawberry.fastapi import BaseContext

from whence_api.graphql import over_http

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"


@strawberry.type
class Query:
    @strawberry.field
    def greeting(self, name: str = "you") -> str:
        return f"hello {name}"

    @strawberry.field
    def broken(self) -> str:
        raise ValueError("as it should")


@strawberry.type
class Mutation:
    @strawberry.mutation
    def change(self) -> str:
        return "changed"


class Answer(NamedTuple):
    status: int
    media_type: str
    body: dict[str, object]


async def context_of(_: object) -> BaseContext:
    return BaseContext()


APP = Starlette(routes=over_http.Endpoint(strawberry.Schema(Query, Mutation), context_of).routes("/graphql"))


def send(method: str, url: str, body: bytes | None = None, **headers: str) -> httpx.Response:
    async def sent() -> httpx.Response:
        transport = httpx.ASGITransport(APP)
        async with httpx.AsyncClient(transport=transport, base_url="http://whence") as client:
            return await client.request(method, url, content=body, headers=headers)

    return asyncio.run(sent())


def ask(body: bytes, accept: str = JSON) -> Answer:
    answered = send("POST", "/graphql", body, accept=accept, **{"content-type": JSON})
    return Answer(answered.status_code, answered.headers["content-type"].partition(";")[0], answered.json())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"3",
        b"null",
        b"[]",
        b'[{"query":"{greeting}"}]',
        b"{",
        b'"\xff"',
        b'{"query":"\\ud800"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"query":"{greeting}","operationName":3}',
        b'{"query":"{greeting}","operationName":"Other"}',
        b'{"query":"{greeting}","variables":[]}',
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
def test_what_is_no_request_is_refused_in_the_form_of_an_answer(body: bytes, accept: str) -> None:
    answer = ask(body, accept)
    assert (answer.status, answer.media_type) == (400, accept)
    assert list(answer.body) == ["errors"]


def test_a_document_that_cannot_be_carried_out_is_400_only_in_graphqls_own_media_type() -> None:
    for query in (b"{", b"{nothing}", b"query($n:String!){greeting(name:$n)}"):
        body = b'{"query":"%s"}' % query
        assert ask(body, JSON)[:2] == (200, JSON)
        assert ask(body, GRAPHQL)[:2] == (400, GRAPHQL)
        assert "data" not in ask(body).body


def test_a_field_that_fails_is_still_an_answer() -> None:
    answer = ask(b'{"query":"{broken}"}', GRAPHQL)
    assert answer.status == 200
    assert answer.body["data"] is None


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", JSON),
        ("", JSON),
        (f"{GRAPHQL};q=0.5, {JSON}", JSON),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{GRAPHQL.upper()}", GRAPHQL),
        (f"{GRAPHQL};q=0", JSON),
        (f"{GRAPHQL};q=lots", JSON),
    ],
)
def test_the_media_type_is_the_one_that_is_preferred(accept: str, answered: str) -> None:
    assert ask(b'{"query":"{greeting}"}', accept) == (200, answered, {"data": {"greeting": "hello you"}})


def test_a_get_changes_nothing() -> None:
    answered = send("GET", "/graphql?query=mutation{change}", accept=GRAPHQL)
    assert answered.status_code == 400
    assert "not allowed" in answered.json()["errors"][0]["message"]


def test_the_page_loads_nothing_but_files_that_ship_and_are_what_was_vendored() -> None:
    answered = send("GET", "/graphql", accept="text/html")
    assert "default-src 'none'" in answered.headers["content-security-policy"]
    assert answered.text == (over_http.IDE / "index.html").read_text("utf-8")
    loaded = re.findall(r'<(?:script|link)\b[^>]*(?:src|href)="([^"]*)"([^>]*)>', answered.text)
    vendored = (over_http.IDE / "VENDORED.md").read_text("utf-8")
    for address, attributes in loaded:
        if address == "data:,":
            continue
        name = address.removeprefix("graphql/ide/")
        told = re.search(r'integrity="(sha384-[^"]+)"', attributes)
        found = base64.b64encode(hashlib.sha384((over_http.IDE / name).read_bytes()).digest()).decode()
        assert name.startswith("start.") if told is None else told[1] == f"sha384-{found}"
        assert told is None or f"`{told[1]}`" in vendored
    ours = {"index.html", "VENDORED.md", "LICENSES.txt"}
    assert {path.name for path in over_http.IDE.iterdir()} - ours == {
        address.removeprefix("graphql/ide/") for address, _ in loaded if address != "data:,"
    }

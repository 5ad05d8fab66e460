"""Clients that go away or fall behind, over real sockets whose buffers are small: nothing is held for them."""

import contextlib
import json
import secrets
import socket
import struct
import threading
from collections.abc import AsyncGenerator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests import servers
from tests.graphql.test_subscriptions import RUNS, Told, listening
from tests.simulator import World, one
from whence_api import auth, graphql
from whence_api.feed import Feed
from whence_api.graphql.limits import GraphqlLimits
from whence_api.settings import Settings
from whence_api.threads import Threads
from whence_catalog import replies
from whence_catalog.changes import Change
from whence_catalog.sql.catalog import SqlCatalog

_SMALL = 4096
# Of SO_LINGER: a connection is cut, and what was not yet read with it.
_AT_ONCE = struct.pack("ii", 1, 0)
# What a listener may fall behind.
_HELD = 5


class Watched(Feed):
    """A feed that tells when nobody listens to it any more, and when it has given out all up to a position."""

    def __init__(self, catalog: SqlCatalog, threads: Threads) -> None:
        self.gave = threading.Condition()
        self.given = 0
        self.left = threading.Event()

        async def read(after: int) -> replies.ChangePage:
            # What was read before this was given out before this.
            with self.gave:
                self.given = max(self.given, after)
                self.gave.notify_all()
            return await threads.read(catalog.changes, after, 500)

        super().__init__(read, poll_seconds=0.01, held=_HELD)

    async def follow(self, after: int | None = None) -> AsyncGenerator[Change | None, None]:
        self.left.clear()
        try:
            async with aclosing(super().follow(after)) as told:
                async for change in told:
                    yield change
        finally:
            with self.gave:
                self.left.set()
                self.gave.notify_all()

    def await_given(self, position: int) -> None:
        """Wait until all up to that position was given out, or whoever listened was cut off before."""
        with self.gave:
            self.gave.wait_for(lambda: self.given >= position or self.left.is_set())


@dataclass
class Served:
    url: str
    feed: Watched
    connections: AbstractSet[Any]

    def unsent(self) -> int:
        """How many bytes are kept for clients that do not read."""
        return sum(connection.transport.get_write_buffer_size() for connection in tuple(self.connections))


@pytest.fixture
def served(world: World) -> Iterator[Served]:
    """GraphQL over that catalog, by a server whose connections are seen."""
    assert isinstance(world.catalog, SqlCatalog)
    threads = Threads(4, 30)
    feed = Watched(world.catalog, threads)
    application = FastAPI()
    graphql.mount(application, world.catalog, lambda _: auth.EVERYONE, threads, GraphqlLimits(), feed)

    told = Settings(port=0, shutdown_seconds=5)
    with servers.running(application, told, feed.end) as (url, server):
        yield Served(url, feed, server.server_state.connections)
    threads.close(5)


def small(url: str) -> socket.socket:
    """A connection that holds little of what was sent and not yet read."""
    host, _, port = url.removeprefix("http://").partition(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
    made.connect((host, int(port)))
    return made


def large(world: World, many: int) -> int:
    """So many Runs whose params are long; answers the position of the last of them."""
    for _ in range(many):
        call = world.plain_call("large", params={"text": secrets.token_hex(100_000)})
        one(world.catalog.record_runs([(call, world.report(call))]))
    page = world.catalog.changes(0, 500)
    return page.last


@contextlib.contextmanager
def slow(url: str, query: str, **variables: Any) -> Iterator[Told]:
    """A subscription of a client that reads no more than it is made to."""
    with (
        closing(small(url)) as made,
        connect(
            url.replace("http", "ws", 1) + "/graphql",
            sock=made,
            subprotocols=[Subprotocol("graphql-transport-ws")],
            max_size=None,
            max_queue=1,
            close_timeout=0,
        ) as opened,
    ):
        told = Told(opened)
        told.send(type="connection_init", payload={})
        assert told.hear() == {"type": "connection_ack"}
        told.subscribe(query, **variables)
        yield told


LARGE = "subscription($after: BigInt) { runs(after: $after) { position run { params } } }"


def test_a_client_that_goes_away_in_the_middle_of_an_answer_is_let_go(world: World, served: Served) -> None:
    large(world, 60)
    asked = json.dumps({"query": "{ runs(first: 60) { nodes { params } } }"}).encode()
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(asked)}\r\n\r\n"
    with closing(small(served.url)) as client:
        client.sendall(head.encode() + asked)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        while not served.unsent():
            pass  # the kernel takes it yet
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    while served.connections:
        pass  # it was not yet seen that it is gone
    with listening(served.url):
        assert not served.unsent()  # others are served


def test_a_subscriber_that_goes_away_in_the_middle_of_an_event_is_let_go(
    world: World, served: Served
) -> None:
    large(world, 30)
    with slow(served.url, LARGE, after=0) as told:
        told.data()
        told.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        told.socket.socket.close()
    served.feed.left.wait()
    assert served.feed.listening == 0


def test_a_subscriber_that_lags_is_dropped_with_a_reason_and_resumes(world: World, served: Served) -> None:
    world.note("first")
    with slow(served.url, LARGE, after=0) as told:
        heard = [told.data()["position"]]
        last = large(world, 60)
        served.feed.await_given(last)
        while (message := told.hear())["type"] == "next" and "errors" not in message["payload"]:
            heard.append(message["payload"]["data"]["runs"]["position"])
    (error,) = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
    assert error["extensions"]["code"] == "too-many-requests"
    assert "waited to be taken" in error["message"]
    assert error["extensions"]["position"] == heard[-1] < last
    with listening(served.url) as told:
        told.subscribe(RUNS, after=heard[-1])
        while heard[-1] < last:
            heard.append(told.data()["position"])
    assert heard == sorted(set(heard))
    assert len(heard) == 61


def test_beyond_the_sockets_that_it_can_serve_it_refuses_and_answers_requests_still(world: World) -> None:
    assert isinstance(world.catalog, SqlCatalog)
    with servers.in_thread(world.catalog, connections=1) as url, listening(url) as told:
        with pytest.raises(InvalidStatus) as refused, listening(url):
            pass
        assert refused.value.response.status_code == 503
        assert b"try again later" in refused.value.response.body
        told.subscribe(RUNS, after=0)
        world.note("still")
        assert told.data()["position"] == 1

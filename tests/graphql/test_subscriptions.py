"""What is recorded is told as it is recorded, over WebSocket and server-sent events, by real servers on loopback."""

import contextlib
import http.client
import json
import secrets
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests import postgres, servers
from tests.simulator import ACTOR, World, one, taken, uid
from whence_catalog import access, model
from whence_catalog.sql.catalog import SqlCatalog

RUNS = "subscription($job: String, $states: [RunState!], $after: BigInt) { runs(job: $job, states: $states, after: $after)"
RUNS += " { position verb state run { id job { name } } } }"


class Told:
    """A client of graphql-transport-ws."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def hear(self) -> dict[str, Any]:
        return json.loads(self.socket.recv())  # type: ignore[no-any-return]

    def subscribe(self, query: str, name: str = "1", **variables: Any) -> None:
        self.send(type="subscribe", id=name, payload={"query": query, "variables": variables})

    def data(self) -> Any:
        """The data of the next event."""
        heard = self.hear()
        assert heard["type"] == "next", heard
        assert "errors" not in heard["payload"], heard
        (found,) = heard["payload"]["data"].values()
        return found

    def close_code(self) -> int:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.hear()
        return self.socket.close_code or 0


@contextlib.contextmanager
def opened(url: str, payload: dict[str, Any] | None = None, **headers: str) -> Iterator[Told]:
    with connect(
        url.replace("http", "ws", 1) + "/graphql",
        subprotocols=[Subprotocol("graphql-transport-ws")],
        additional_headers=headers,
        max_size=None,
    ) as socket:
        told = Told(socket)
        told.send(type="connection_init", payload=payload or {})
        yield told


@contextlib.contextmanager
def listening(url: str, payload: dict[str, Any] | None = None, **headers: str) -> Iterator[Told]:
    with opened(url, payload, **headers) as told:
        assert told.hear() == {"type": "connection_ack"}
        yield told


@pytest.fixture
def url(world: World) -> Iterator[str]:
    assert isinstance(world.catalog, SqlCatalog)
    with servers.in_thread(world.catalog) as address:
        yield address


@contextlib.contextmanager
def stream(url: str, query: str, **variables: Any) -> Iterator[http.client.HTTPResponse]:
    """The answer as server-sent events."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    body = json.dumps({"query": query, "variables": variables})
    headers = {"content-type": "application/json", "accept": "text/event-stream"}
    connection.request("POST", "/graphql", body, headers)
    with contextlib.closing(connection), connection.getresponse() as response:
        yield response


def events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    name = ""
    for raw in response:
        line = raw.decode().strip()
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            told = line.removeprefix("data:").strip()
            yield name, json.loads(told) if told else None


def test_runs_are_told_with_their_positions_as_they_are_recorded(world: World, url: str) -> None:
    world.note("before")
    with listening(url) as told:
        told.subscribe(RUNS, after=1)
        done = world.note("after", {"model:net": b"net"})
        event = told.data()
        assert (event["position"], event["verb"], event["state"]) == (2, "record", "COMPLETE")
        assert event["run"]["job"]["name"] == "after"
        call = world.call("train")
        token = world.begin(call).token
        assert told.data()["state"] == "RUNNING"
        world.finish(world.report(call, {}, token))
        assert told.data()["state"] == "COMPLETE"
        assert done.run.job == "after"


def test_only_what_was_asked_for_is_told(world: World, url: str) -> None:
    with listening(url) as told:
        told.subscribe(RUNS, job="wanted", states=["COMPLETE"], after=0)
        world.note("other")
        world.begin(world.call("wanted"))
        world.note("wanted")
        assert told.data()["position"] == 3


def test_each_kind_of_event_is_told(world: World, url: str) -> None:
    made = world.note("train", {"model:net": b"net"}).outputs[0].version
    claim = model.QuarantineClaim(uid(), made.artifact, made.digest, ACTOR, "bad")
    one(world.catalog.quarantine([claim]))
    one(world.catalog.release([model.Release(uid(), claim.uid, ACTOR, "it was not")]))
    one(world.catalog.move_aliases([model.AliasMove(uid(), made.artifact, "prod", made.digest, ACTOR)]))
    one(world.catalog.deploy([model.DeploymentClaim(uid(), made.artifact, made.digest, "eu", ACTOR)]))
    one(world.catalog.deploy([model.DeploymentClaim(uid(), made.artifact, None, "eu", ACTOR)]))
    asked = {
        'versions(artifact: "model:net", after: 0) { position role version { ref } run { job { name } } }': [
            {
                "position": 1,
                "role": "model:net",
                "version": {"ref": "model:net@1"},
                "run": {"job": {"name": "train"}},
            }
        ],
        "quarantines(after: 0) { position released version { ref } }": [
            {"position": 2, "released": False, "version": {"ref": "model:net@1"}},
            {"position": 3, "released": True, "version": {"ref": "model:net@1"}},
        ],
        'aliasMoves(artifact: "model:net", after: 0) { position alias version { ref } actor { name } }': [
            {"position": 4, "alias": "prod", "version": {"ref": "model:net@1"}, "actor": {"name": "tester"}}
        ],
        "deployments(after: 0) { position target version { ref } }": [
            {"position": 5, "target": "eu", "version": {"ref": "model:net@1"}},
            {"position": 6, "target": "eu", "version": None},
        ],
    }
    for query, expected in asked.items():
        with listening(url) as told:
            told.subscribe(f"subscription {{ {query} }}")
            assert [told.data() for _ in expected] == expected


def test_the_same_is_told_as_server_sent_events(world: World, url: str) -> None:
    world.note("one")
    world.note("two")
    with stream(url, RUNS, after=0) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        heard = events(response)
        found = [next(heard) for _ in range(2)]
    assert [name for name, _ in found] == ["next", "next"]
    assert [told["data"]["runs"]["position"] for _, told in found] == [1, 2]


def test_who_resumes_behind_a_position_loses_none_and_repeats_none(world: World, url: str) -> None:
    positions: list[int] = []
    for n in range(5):
        world.note(f"job {n}")
        with listening(url) as told:
            told.subscribe(RUNS, after=positions[-1] if positions else 0)
            positions.append(told.data()["position"])
    assert positions == [1, 2, 3, 4, 5]


def test_a_client_that_goes_away_frees_what_it_held(world: World) -> None:
    assert isinstance(world.catalog, SqlCatalog)
    with servers.in_thread(world.catalog) as url:
        world.note("one")
        with listening(url) as told:
            told.subscribe(RUNS, after=0)
            told.data()
            told.socket.socket.close()  # as a machine that is cut off
        with stream(url, RUNS, after=0) as response:
            next(events(response))
        # What is still served says that all is well; the server ends without waiting for either.
        with listening(url) as other:
            other.subscribe(RUNS, after=0)
            assert other.data()["position"] == 1


def test_a_server_that_ends_tells_where_to_go_on(world: World) -> None:
    assert isinstance(world.catalog, SqlCatalog)
    with contextlib.ExitStack() as reading, contextlib.ExitStack() as serving:
        url = serving.enter_context(servers.in_thread(world.catalog))
        world.note("one")
        heard = events(reading.enter_context(stream(url, RUNS, after=0)))
        next(heard)
        serving.close()
        name, told = next(heard)
        (error,) = told["errors"]
        assert (name, error["extensions"]["position"]) == ("next", 1)
        assert "shutting down" in error["message"]
        assert next(heard)[0] == "complete"


def test_two_servers_agree_and_a_client_of_one_that_is_killed_goes_on_at_the_other() -> None:
    with (
        postgres.shared().database() as database,
        contextlib.closing(SqlCatalog.connect(database)) as catalog,
    ):
        world = World(catalog)
        with servers.process(database) as first, servers.process(database) as second:
            with listening(first.url) as told:
                told.subscribe(RUNS, after=0)
                for n in range(3):
                    world.note(f"job {n}")
                before = [told.data() for _ in range(2)]
                first.kill()
            with listening(second.url) as told:
                told.subscribe(RUNS, after=before[-1]["position"])
                world.note("job 3")
                rest = [told.data() for _ in range(2)]
            with listening(second.url) as told:
                told.subscribe(RUNS, after=0)
                assert [told.data() for _ in range(4)] == before + rest
    assert [event["run"]["job"]["name"] for event in before + rest] == [f"job {n}" for n in range(4)]


# ── who may hear ─────────────────────────────────────────────────────────────────────────────────


def token(catalog: SqlCatalog, *grants: str) -> tuple[str, uuid.UUID]:
    secret = "whence_" + secrets.token_urlsafe(32)
    held = access.Grants.parse(grants)
    now = datetime.now(UTC)
    added = catalog.add_token(access.Token(uid(), "robot", "robot", access.hash_of(secret), held, now))
    return secret, added.uid


def test_a_viewer_hears_only_of_what_they_may_read(world: World) -> None:
    catalog = world.catalog
    assert isinstance(catalog, SqlCatalog)
    secret, _ = token(catalog, "read:mine")
    World(catalog, "theirs").note("secret", {"theirs/model:net": b"1"})
    World(catalog, "mine").note("known", {"mine/model:net": b"2"})
    with (
        servers.in_thread(catalog, authentication="tokens") as url,
        listening(url, {"authorization": f"Bearer {secret}"}) as told,
    ):
        told.subscribe(RUNS, after=0)
        assert told.data()["run"]["job"]["name"] == "known"


def test_who_shows_no_token_is_not_let_in(world: World) -> None:
    assert isinstance(world.catalog, SqlCatalog)
    with servers.in_thread(world.catalog, authentication="tokens") as url:
        with opened(url) as told:
            assert told.close_code() == 4403
        with stream(url, RUNS) as response:
            assert response.status == 401


def test_a_token_that_is_revoked_hears_no_more(world: World) -> None:
    catalog = world.catalog
    assert isinstance(catalog, SqlCatalog)
    secret, named = token(catalog, "read:*")
    with (
        servers.in_thread(catalog, authentication="tokens", token_cache_seconds=0) as url,
        listening(url, {"authorization": f"Bearer {secret}"}) as told,
    ):
        told.subscribe(RUNS, after=0)
        world.note("one")
        assert told.data()["position"] == 1
        catalog.revoke_token(named)
        heard = told.hear()
        assert heard["payload"]["errors"][0]["extensions"]["code"] == "unauthenticated"
        assert told.hear() == {"type": "complete", "id": "1"}


def test_a_page_of_another_place_is_not_let_in(url: str) -> None:
    with pytest.raises(InvalidStatus), opened(url, Origin="http://elsewhere.example"):
        pass
    with listening(url, Origin=url):
        pass


# ── bad requests ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        (RUNS, {"after": -1}),
        (RUNS, {"after": 1_000_000}),
        ('subscription { versions(artifact: "no such thing") { position } }', {}),
        ("{ __typename }", {}),
        ("subscription { " + " ".join(f"a{n}: runs {{ position }}" for n in range(2)) + " }", {}),
        ("subscription { runs { " + " ".join(f"a{n}: position" for n in range(31)) + " } }", {}),
    ],
)
def test_a_subscription_that_cannot_be_meant_is_refused(
    url: str, query: str, variables: dict[str, Any]
) -> None:
    with listening(url) as told:
        told.subscribe(query, **variables)
        heard = told.hear()
        errors = heard["payload"] if heard["type"] == "error" else heard["payload"]["errors"]
        assert errors[0]["extensions"]["code"] in ("bad-value", "bad-reference", "too-large", "bad-name")


def test_more_subscriptions_than_one_connection_may_have_are_refused(url: str) -> None:
    with listening(url) as told:
        for n in range(21):
            told.subscribe(RUNS, name=str(n))
        assert told.hear()["type"] == "error"


def test_a_subscription_by_plain_post_is_refused_and_says_how_to_ask(url: str) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    body = json.dumps({"query": RUNS, "variables": {"after": 0}})
    connection.request("POST", "/graphql", body, {"content-type": "application/json"})
    with contextlib.closing(connection), connection.getresponse() as response:
        (told,) = json.load(response)["errors"]
        assert told["extensions"]["code"] == "bad-value"
        assert "text/event-stream" in told["message"]


# ── what comes to a lineage ──────────────────────────────────────────────────────────────────────

CHANGED = """subscription($root: ID!, $direction: Direction!, $depth: Int = 3, $after: BigInt) {
  lineageChanged(root: $root, direction: $direction, depth: $depth, after: $after) {
    position complete nodes { ref name depth } edges { type role } } }"""


def grown(told: Told) -> tuple[int, list[str], list[str]]:
    event = told.data()
    assert event["complete"]
    return (
        event["position"],
        [node["ref"] or node["name"] for node in event["nodes"]],
        [edge["type"] for edge in event["edges"]],
    )


def test_what_comes_to_a_lineage_is_told_once_each_and_again_to_who_resumes(world: World, url: str) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    world.note("elsewhere", {"dataset:e": b"E"})
    with listening(url) as told:
        told.subscribe(CHANGED, root="dataset:d", direction="DOWN", after=2)
        model_ = world.note("train", {"model:m": b"M"}, [taken(data, "data")]).outputs[0]
        world.note("apart", {"model:x": b"X"})
        made = model_.version
        one(world.catalog.deploy([model.DeploymentClaim(uid(), made.artifact, made.digest, "eu", ACTOR)]))
        world.note("score", {"report:r": b"R"}, [taken(model_, "model")])
        heard = [grown(told) for _ in range(3)]
    assert heard == [
        (3, ["train", "model:m@1"], ["INPUT", "OUTPUT"]),
        (5, ["eu"], ["DEPLOYED"]),
        (6, ["score", "report:r@1"], ["INPUT", "OUTPUT"]),
    ]
    with listening(url) as told:
        told.subscribe(CHANGED, root="dataset:d", direction="DOWN", after=3)
        assert [grown(told) for _ in range(2)] == heard[1:]
    with listening(url) as told:
        told.subscribe(CHANGED, root="dataset:d", direction="DOWN", depth=1, after=2)
        assert [grown(told) for _ in range(2)] == heard[:2]  # a report is two Runs away


def test_another_production_comes_to_the_lineage_upstream(world: World, url: str) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    world.note("train", {"model:m": b"M"}, [taken(data, "data")])
    with listening(url) as told:
        told.subscribe(CHANGED, root="model:m@1", direction="UP", after=2)
        world.note("again", {"model:m": b"M"})
        assert grown(told) == (3, ["again"], ["OUTPUT"])


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"root": "dataset:none", "direction": "UP"}, "no-such-artifact"),
        ({"root": "artifact", "direction": "UP"}, "bad-reference"),
        ({"root": "dataset:d", "direction": "UP", "depth": 11}, "bad-value"),
        ({"root": "dataset:d", "direction": "UP", "depth": 0}, "bad-value"),
    ],
)
def test_a_lineage_that_cannot_be_followed_is_refused(
    world: World, url: str, asked: dict[str, Any], code: str
) -> None:
    world.note("load", {"dataset:d": b"D"})
    with listening(url) as told:
        told.subscribe(CHANGED, **asked)
        message = told.hear()
        errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        assert errors[0]["extensions"]["code"] == code


def test_what_may_not_be_read_does_not_come_to_a_lineage(world: World) -> None:
    assert isinstance(world.catalog, SqlCatalog)
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    secret, _ = token(world.catalog, "read:default")
    with (
        servers.in_thread(world.catalog, authentication="tokens") as url,
        listening(url, {"authorization": f"Bearer {secret}"}) as told,
    ):
        told.subscribe(CHANGED, root="dataset:d", direction="DOWN", after=1)
        theirs = World(world.catalog, project="hidden")
        theirs.note("train", {"hidden/model:m": b"M"}, [taken(data, "data")])
        world.note("train", {"model:m": b"M"}, [taken(data, "data")])
        assert grown(told) == (3, ["train", "model:m@1"], ["INPUT", "OUTPUT"])

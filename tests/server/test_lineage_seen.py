"""A filter, and a Deployment as a root, tell nobody of what they may not read; asked of a server, by tokens."""

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import servers
from tests.server.test_access import ADA, OTHER, OWN, Crossing
from tests.simulator import one, uid
from whence.http import HttpCatalog
from whence_catalog import access, lineage, model
from whence_catalog.errors import NotFound
from whence_catalog.lineage import DEPLOYMENT, Bounds, Direction, Filter, NodeType, Which
from whence_catalog.sql.catalog import SqlCatalog

WHOLE = Bounds(max_nodes=None)
ROOT = f"{OWN}/model:net@2"
COVERT = Which(labels=frozenset({("team", "covert")}), types=frozenset({NodeType.RUN}))
# What each says is true of some of what is hidden, and of some of it not.
ASKED = [
    Which(labels=frozenset({("team", "covert")})),
    Which(labels=frozenset({("team", "perception")})),
    Which(projects=frozenset({OTHER})),
    Which(kinds=frozenset({"dataset"}), types=frozenset({NodeType.VERSION})),
    Which(states=frozenset({"quarantined"}), types=frozenset({NodeType.VERSION})),
    Which(states=frozenset({"serving"}), types=frozenset({NodeType.DEPLOYMENT})),
]


class Served:
    """`Crossing`, served, with one who may read all and one who may read `vision`."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self.told = Crossing(catalog)
        self.deployed: dict[str, model.Deployment] = {}
        for project, made in ((OWN, self.told.net), (OTHER, self.told.secret)):
            of = made.version
            said = model.DeploymentClaim(uid(), of.artifact, of.digest, f"shop of {project}", ADA)
            self.deployed[project] = one(catalog.deploy([said]))
        self.secrets = {"read:*": "whence_" + "a" * 43, f"read:{OWN}": "whence_" + "o" * 43}
        now = datetime.now(UTC)
        for grant, secret in self.secrets.items():
            held = access.Grants.parse([grant])
            catalog.add_token(access.Token(uuid.uuid4(), grant, "robot", access.hash_of(secret), held, now))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, HttpCatalog, HttpCatalog]]:
    folder: Path = tmp_path_factory.mktemp("seen")
    with contextlib.closing(SqlCatalog.open(folder / "catalog.db", synchronous="NORMAL")) as opened:
        told = Served(opened)
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(servers.in_thread(opened, authentication="tokens"))
            clients = [
                stack.enter_context(contextlib.closing(HttpCatalog(url, secret)))
                for secret in told.secrets.values()
            ]
            yield told, clients[0], clients[1]


def hidden(graph: lineage.Graph) -> list[tuple[NodeType, int]]:
    return [(node.type, node.depth) for node in graph.nodes if node.is_masked]


@pytest.mark.parametrize("which", ASKED)
@pytest.mark.parametrize("direction", list(Direction))
def test_no_filter_says_anything_of_what_may_not_be_read(
    both: tuple[Served, HttpCatalog, HttpCatalog], which: Which, direction: Direction
) -> None:
    _, _, reader = both
    plain = reader.lineage([ROOT], direction, WHOLE)
    assert hidden(plain)
    shown = reader.lineage([ROOT], direction, WHOLE, filter=Filter(show=which))
    assert hidden(shown) == hidden(plain)
    assert shown.completeness.masked == plain.completeness.masked


@pytest.mark.parametrize("direction", list(Direction))
def test_what_may_not_be_read_is_gone_through_and_shown_masked_whatever_a_filter_says_of_it(
    both: tuple[Served, HttpCatalog, HttpCatalog], direction: Direction
) -> None:
    _, _, reader = both
    plain = reader.lineage([ROOT], direction, WHOLE)
    for which in (COVERT, Which(projects=frozenset({OTHER}))):
        for filter in (Filter(stop_at=which), Filter(pass_through=which)):
            found = reader.lineage([ROOT], direction, WHOLE, filter=filter)
            assert [(n.type, n.depth, n.is_masked) for n in found.nodes] == [
                (n.type, n.depth, n.is_masked) for n in plain.nodes
            ]
            assert (found.completeness.filtered, len(found.edges)) == (0, len(plain.edges))


def test_who_may_read_all_has_the_very_same_filters_speak_of_all(
    both: tuple[Served, HttpCatalog, HttpCatalog],
) -> None:
    _, everyone, reader = both
    stopped = everyone.lineage([ROOT], Direction.BOTH, WHOLE, filter=Filter(stop_at=COVERT))
    passed = everyone.lineage([ROOT], Direction.BOTH, WHOLE, filter=Filter(pass_through=COVERT))
    plain = reader.lineage([ROOT], Direction.BOTH, WHOLE)
    assert len(stopped.nodes) < len(plain.nodes)
    assert passed.completeness.filtered == 3


def test_a_deployment_is_a_root_for_who_may_read_where_it_is(
    both: tuple[Served, HttpCatalog, HttpCatalog],
) -> None:
    told, everyone, reader = both
    mine, secret = (f"{DEPLOYMENT}{told.deployed[project].uid}" for project in (OWN, OTHER))
    own = reader.lineage([mine], Direction.UP, WHOLE)
    assert own.roots == (mine,)
    assert {told.told.net.version.ref, mine} <= {node.id for node in own.nodes}
    assert not [node.id for node in own.nodes if node.project == OTHER]
    assert hidden(own)
    absent = f"{DEPLOYMENT}{uuid.uuid4()}"
    for direction in Direction:
        assert everyone.lineage([secret], direction, WHOLE).nodes
        for roots in ([secret], [mine, secret]):
            with pytest.raises(NotFound) as refused:
                reader.lineage(roots, direction, WHOLE)
            with pytest.raises(NotFound) as nothing:
                reader.lineage([absent], direction, WHOLE)
            said = str(nothing.value).replace(
                absent.removeprefix(DEPLOYMENT), secret.removeprefix(DEPLOYMENT)
            )
            assert (str(refused.value), refused.value.kind) == (said, nothing.value.kind)

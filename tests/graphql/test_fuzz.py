"""Whatever the schema allows to be asked is answered: schemathesis makes the questions up."""

from collections.abc import Iterator
from contextlib import closing
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis_graphql import nodes

from tests import servers, simulator
from tests.simulator import World, taken
from whence_api.graphql import execution, relay
from whence_api.graphql.limits import GraphqlLimits
from whence_catalog import model
from whence_catalog.errors import ErrorKind
from whence_catalog.sql.catalog import SqlCatalog

# What no answer may hold.
SECRETS = (
    "traceback",
    'file "',
    "site-packages",
    "sqlite",
    "psycopg",
    "select ",
    "insert ",
    "catalog.db",
    "/tmp",
)
KINDS = {kind.value for kind in ErrorKind} - {ErrorKind.UNREACHABLE.value, ErrorKind.BROKEN.value}

# Names of what is there beside whatever text can be: else nothing would ever be found.
RUN = UUID(int=7)
NAMES = ["model:m", "model:m@prod", "dataset:d@1", "train", "default", "model", "latest", "1"]
IDS = [
    relay.id_of(relay.NodeType.VERSION, "model:m@1"),
    relay.id_of(relay.NodeType.VERSION, "dataset:d@1"),
    relay.id_of(relay.NodeType.ARTIFACT, "model:m"),
    relay.id_of(relay.NodeType.RUN, RUN),
    relay.id_of(relay.NodeType.DEPLOYMENT, RUN),
    str(RUN),
    "model:m",
    "dataset:d@1",
]
schemathesis.graphql.scalar("String", (st.sampled_from(NAMES) | st.text()).map(nodes.String))
schemathesis.graphql.scalar("ID", (st.sampled_from(IDS) | st.text(max_size=20)).map(nodes.String))
schemathesis.graphql.scalar(
    "AsOf", (st.integers(-1, 9) | st.just(2**70)).map(nodes.Int) | st.text().map(nodes.String)
)
schemathesis.graphql.scalar("Int", (st.integers(1, 100) | st.integers(-(2**31), 2**31 - 1)).map(nodes.Int))

SCHEMA = execution.Schema(GraphqlLimits())
schema = schemathesis.graphql.from_dict({"data": SCHEMA.introspect()})


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with closing(SqlCatalog.open(tmp_path_factory.mktemp("catalog") / "catalog.db")) as catalog:
        world = World(catalog)
        call = world.plain_call("train", run=RUN)
        simulator.one(catalog.record_runs([(call, world.report(call))]))
        data = world.note("load", {"dataset:d": b"D"}).outputs[0]
        version = world.run("train", {"model:m": b"M"}, inputs=(taken(data),)).outputs[0].version
        move = model.AliasMove(simulator.uid(), version.artifact, "prod", version.digest, simulator.ACTOR)
        simulator.one(catalog.move_aliases([move]))
        with servers.in_thread(catalog, sweep_seconds=0, requests_per_second=0) as served:
            yield served
        assert catalog.check().problems == ()


@schema.parametrize()
@settings(
    max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_no_question_meets_a_fault_or_tells_of_the_server(case: schemathesis.Case, url: str) -> None:
    answer = case.call(base_url=f"{url}/graphql")
    assert answer.status_code == 200, answer.text
    assert not [word for word in SECRETS if word in answer.text.lower()]
    for error in answer.json().get("errors", ()):
        assert error["extensions"]["code"] in KINDS, error

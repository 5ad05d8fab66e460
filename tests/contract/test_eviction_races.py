"""Evictions that race publishes and what comes to need a result, on PostgreSQL: checked by the facts, one by one."""

import random
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import closing
from typing import cast
from uuid import UUID

import psycopg
import pytest

from tests import postgres, simulator
from tests.simulator import ACTOR, World, artifact, digest_of, one
from whence_catalog import cache, facts, inventory, model
from whence_catalog import judging as judging_facts
from whence_catalog.inventory import EntryState
from whence_catalog.sql import catalog as sql_catalog
from whence_catalog.sql import judging, recording
from whence_catalog.sql.catalog import SqlCatalog
from whence_catalog.sql.engine import Transaction

KEYS, EACH = 4, 25
NET = artifact("model:m")
ALIASES = ("prod", "next")


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.shared().database() as found:
        yield found


def everything() -> inventory.Eviction:
    return inventory.Eviction(simulator.uid(), "default", inventory.Limits(entries=0), ACTOR)


def content(c: int) -> bytes:
    return b"made with %d" % c


def moved(c: int, alias: str) -> model.AliasMove:
    return model.AliasMove(simulator.uid(), NET, alias, digest_of(content(c)), ACTOR)


def _publish(opened: SqlCatalog, chance: random.Random) -> None:
    world = World(opened)
    for _ in range(EACH):
        c = chance.randrange(KEYS)
        call = world.call("train", c)
        answer = world.ask(call)
        if isinstance(answer, cache.Execute):
            world.finish(world.report(call, {"model:m": content(c)}, answer.token))


def _need(opened: SqlCatalog, chance: random.Random) -> None:
    for _ in range(EACH):
        one(opened.move_aliases([moved(chance.randrange(KEYS), chance.choice(ALIASES))]))


def _evict(opened: SqlCatalog, _: random.Random) -> None:
    for _ in range(EACH):
        one(opened.evict_entries([everything()]))


class History:
    """What is live and what is needed, as the facts say in their order; knows no index and no locks."""

    def __init__(self) -> None:
        self.keys: dict[UUID, str | None] = {}
        self.made: dict[UUID, set[bytes]] = {}
        self.live: dict[str, UUID] = {}
        self.needed: dict[str, bytes] = {}
        self.wrong: list[str] = []
        self.evicted = 0

    def read(self, position: int, fact: facts.Fact) -> None:
        match fact.verb:
            case "start":
                call = facts.read_start(fact.body)
                self.keys[call.run] = call.key
            case "finish":
                report, publication = facts.read_finish(fact.uid, fact.body)
                self.made[report.run] = {made.content.digest.raw for made in report.outputs}
                if publication.outcome in (model.Outcome.ENTERED, model.Outcome.SUPERSEDED):
                    self.live[cast("str", self.keys[report.run])] = report.run
            case "alias":
                said = facts.read_alias(fact.uid, fact.body)
                self.needed[said.name] = said.digest.raw
            case "withdraw":
                for key in judging_facts.read_withdrawal(fact.body).keys:
                    self.evict(position, key)

    def evict(self, position: int, key: str) -> None:
        self.evicted += 1
        run = self.live.pop(key, None)
        if run is None:
            self.wrong.append(f"fact {position} evicts {key}, which is not entered")
        elif self.made[run] & set(self.needed.values()):
            self.wrong.append(f"fact {position} evicts {key}, which an alias needs")


def test_nothing_that_is_needed_is_evicted_and_no_publish_is_lost_among_many_writers(url: str) -> None:
    work = (_publish, _publish, _publish, _need, _need, _evict, _evict)
    with closing(SqlCatalog.connect(url)) as opened:
        for c in range(KEYS):
            World(opened).run("train", {"model:m": content(c)}, c=c)
        with futures.ThreadPoolExecutor(len(work)) as beside:
            begun = [beside.submit(each, opened, random.Random(n)) for n, each in enumerate(work)]
            for each in begun:
                each.result()
        report = opened.check()
        history = History()
        for stored in opened.facts(limit=100_000):
            history.read(stored.position, stored.fact)
        page = opened.cache_entries(states=[EntryState.LIVE])
    assert report.problems == ()
    assert history.wrong == []
    assert history.evicted > 0
    assert history.live == {entry.key: entry.run for entry in page.items}


_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def _by_alias(tx: Transaction) -> None:
    move = moved(0, "prod")
    sql_catalog._hold_moved(tx, [move])
    recording.move_alias(tx, move)


def _by_hold(tx: Transaction) -> None:
    claim = model.HoldClaim(simulator.uid(), NET, digest_of(content(0)), ACTOR, "a dispute")
    sql_catalog._hold_held(tx, [claim])
    judging.hold(tx, claim)


def _by_deployment(tx: Transaction) -> None:
    claim = model.DeploymentClaim(simulator.uid(), NET, digest_of(content(0)), "eu", ACTOR)
    sql_catalog._hold_deployed(tx, [claim])
    judging.deploy(tx, claim)


@pytest.mark.parametrize("need", [_by_alias, _by_hold, _by_deployment])
def test_an_eviction_waits_for_who_is_about_to_need_a_result_and_keeps_it(
    url: str, need: Callable[[Transaction], None]
) -> None:
    with closing(SqlCatalog.connect(url)) as opened, closing(psycopg.connect(url, autocommit=True)) as seen:
        World(opened).run("train", {"model:m": content(0)}, c=0)
        with futures.ThreadPoolExecutor() as beside:
            with opened._database.writing() as tx:
                need(tx)
                waits = beside.submit(opened.evict_entries, [everything()])
                while seen.execute(_WAITING).fetchone() == (0,):
                    assert not waits.done()
            found = one(waits.result())
        assert (found.gone, len(found.kept)) == ((), 1)
        assert opened.check().problems == ()

"""What each fact does to the tables. Recording and rebuilding go through the same functions.

Nothing here decides, and nothing here reads what is exempt from facts: the same facts in the same
order make the same tables.
"""

from dataclasses import replace
from datetime import datetime
from typing import cast
from uuid import UUID

from whence_catalog import facts, lifecycle, model
from whence_catalog.sql import artifacts, reservations, runs
from whence_catalog.sql.engine import Transaction


def start(tx: Transaction, position: int, run: model.Run, call: model.Call) -> int:
    """A Run began; answers its row."""
    run_id = runs.insert_run(tx, run, position, None)
    runs.put_inputs(tx, run_id, call.inputs, artifacts.RunIds(tx))
    runs.put_components(tx, run_id, call.components)
    return run_id


def reuse(tx: Transaction, position: int, run: model.Run, call: model.Call, origin: UUID) -> int:
    """A Run stands for not running. Its inputs are kept only where they are not exactly the origin's."""
    run_ids = artifacts.RunIds(tx)
    origin_id = run_ids.get(origin)
    run_id = runs.insert_run(tx, run, position, origin_id)
    if not runs.takes_the_same(tx, origin_id, call.inputs, run_ids):
        runs.put_inputs(tx, run_id, call.inputs, run_ids)
    return run_id


def finish(
    tx: Transaction,
    position: int,
    at: datetime,
    run_id: int,
    after: model.Run,
    report: model.Report,
    publication: model.Publication,
) -> None:
    """A Run ended."""
    run_ids = artifacts.RunIds(tx)
    micros = model.microseconds(at)
    runs.put_inputs(tx, run_id, report.inputs, run_ids)
    artifacts.put_outputs(tx, run_id, report.outputs, position, micros, run_ids)
    runs.replace_run(tx, run_id, after, position)
    if after.key is not None:
        reservations.put_publication(tx, run_id, after.key, publication, micros)


def add(tx: Transaction, position: int, at: datetime, run_id: int, addition: model.Addition) -> None:
    """An attached process added to a Run."""
    run_ids = artifacts.RunIds(tx)
    runs.put_inputs(tx, run_id, addition.inputs, run_ids)
    artifacts.put_outputs(tx, run_id, addition.outputs, position, model.microseconds(at), run_ids)


def alias(tx: Transaction, position: int, at: datetime, actor: model.Actor, move: model.AliasMove) -> None:
    """An alias was moved."""
    artifacts.put_alias(tx, move, runs.actor_id(tx, actor), position, model.microseconds(at))


def replay(tx: Transaction, position: int, fact: facts.Fact) -> None:
    """Do what a stored fact says."""
    match fact.verb:
        case "start":
            call = replace(facts.read_start(fact.body), actor=fact.actor)
            start(tx, position, lifecycle.start(call, fact.at), call)
        case "reuse":
            call = replace(facts.read_start(fact.body), actor=fact.actor)
            origin = facts.read_origin(fact.body)
            reuse(tx, position, lifecycle.reuse(call, origin, fact.at), call, origin)
        case "finish":
            _replay_finish(tx, position, fact, fact.body)
        case "record":
            began = cast("facts.Body", fact.body["start"])
            call = replace(facts.read_start(began), actor=fact.actor)
            start(tx, position, lifecycle.start(call, fact.at), call)
            _replay_finish(tx, position, fact, cast("facts.Body", fact.body["finish"]))
        case "add":
            addition = facts.read_add(fact.uid, fact.body)
            add(tx, position, fact.at, runs.get(tx, addition.run).id, addition)
        case "log":
            series = facts.read_log(fact.uid, fact.body)
            runs.put_series(tx, runs.get(tx, series.run).id, series, position)
        case "alias":
            alias(tx, position, fact.at, fact.actor, facts.read_alias(fact.uid, fact.body))
        case "presume":
            stored = runs.get(tx, facts.read_presume(fact.body))
            runs.replace_run(tx, stored.id, lifecycle.presume_aborted(stored.run, fact.at), position)
        case verb:
            raise AssertionError(f"a fact with the verb {verb} has no projection")


def _replay_finish(tx: Transaction, position: int, fact: facts.Fact, body: facts.Body) -> None:
    report, publication = facts.read_finish(fact.uid, body)
    stored = runs.get(tx, report.run)
    after = lifecycle.finish(stored.run, report, str(publication), fact.at)
    finish(tx, position, fact.at, stored.id, after, report, publication)

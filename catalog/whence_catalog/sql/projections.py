"""What each fact does to the tables. Recording and rebuilding go through the same functions.

Nothing here decides, and nothing here reads what is exempt from facts: the same facts in the same
order make the same tables.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import cast
from uuid import UUID

from whence_catalog import facts, judging, lifecycle, model
from whence_catalog.sql import (
    artifacts,
    judgements,
    labels,
    metrics,
    places,
    productions,
    reservations,
    runs,
    taint,
    traces,
    whole,
)
from whence_catalog.sql.engine import Transaction


def start(tx: Transaction, fact: int, run: model.Run, call: model.Call) -> int:
    """A Run began; answers its row."""
    run_id = runs.insert_run(tx, run, fact, None, None)
    runs.begin_inputs(tx, run_id, fact, call.inputs)
    runs.put_components(tx, run_id, call.components)
    labels.begin(tx, fact, model.microseconds(run.started_at), run_id, call.labels)
    return run_id


def reuse(tx: Transaction, fact: int, run: model.Run, call: model.Call, origin_id: int) -> int:
    """A Run stands for not running. Its inputs are kept only where they are not exactly the origin's."""
    run_id = runs.insert_run(tx, run, fact, None, origin_id)
    if not runs.takes_the_same(tx, origin_id, call.inputs):
        runs.begin_inputs(tx, run_id, fact, call.inputs)
    labels.begin(tx, fact, model.microseconds(run.started_at), run_id, call.labels)
    return run_id


def finish(
    tx: Transaction,
    fact: int,
    at: datetime,
    run_id: int,
    before: model.Run,
    after: model.Run,
    report: model.Report,
    publication: model.Publication,
) -> tuple[model.Output, ...]:
    """A Run ended; answers the outputs that its report names."""
    micros = model.microseconds(at)
    runs.put_inputs(tx, run_id, fact, report.inputs)
    made = productions.put_outputs(tx, run_id, after.uid, report.outputs, fact, micros)
    places.put(tx, run_id, report.outputs)
    taint.inherit(tx, run_id)
    traces.put(tx, run_id, report.trace)
    runs.replace_run(tx, run_id, after, fact)
    metrics.replace_of_run(tx, run_id, after.metrics, before.metrics)
    runs.put_observed(tx, run_id, report.observed)
    if after.key is not None:
        reservations.put_publication(tx, run_id, after.key, publication, micros)
    return made


def add(tx: Transaction, fact: int, at: datetime, run_id: int, addition: model.Addition) -> None:
    """Something was added to a Run that goes on: what it published, or what an attached process did."""
    runs.put_inputs(tx, run_id, fact, addition.inputs)
    productions.put_outputs(tx, run_id, addition.run, addition.outputs, fact, model.microseconds(at))
    places.put(tx, run_id, addition.outputs)
    taint.inherit(tx, run_id)


def log(
    tx: Transaction, fact: int, run_id: int, before: model.Run, after: model.Run, series: model.Series
) -> None:
    """Points of metric series were logged."""
    runs.put_series(tx, run_id, series, fact)
    runs.replace_metrics(tx, run_id, after)
    metrics.replace_of_run(tx, run_id, after.metrics, before.metrics)


def alias(tx: Transaction, fact: int, at: datetime, actor: model.Actor, move: model.AliasMove) -> None:
    """An alias was moved."""
    artifacts.put_alias(tx, move, runs.actor_id(tx, actor), fact, model.microseconds(at))


def quarantine(
    tx: Transaction, fact: int, at: datetime, actor: model.Actor, claim: model.QuarantineClaim
) -> None:
    """A Version was declared bad: all its productions are tainted, and all that was made of them."""
    version_id = artifacts.known(tx, claim.artifact, claim.digest)
    quarantine_id = judgements.put_quarantine(tx, claim.uid, version_id, judgements.Said(fact, at, actor))
    taint.mark(tx, quarantine_id, version_id)


def release(tx: Transaction, fact: int, at: datetime, actor: model.Actor, said: model.Release) -> None:
    """A quarantine or a hold was ended."""
    quarantine_id = judgements.end(tx, said.of, judgements.Said(fact, at, actor))
    if quarantine_id is not None:
        taint.lift(tx, quarantine_id)


def approve(tx: Transaction, fact: int, at: datetime, actor: model.Actor, claim: model.ApprovalClaim) -> None:
    """Somebody decided on a Version."""
    version_id = artifacts.known(tx, claim.artifact, claim.digest)
    judgements.put_approval(tx, claim, version_id, judgements.Said(fact, at, actor))


def hold(tx: Transaction, fact: int, at: datetime, actor: model.Actor, claim: model.HoldClaim) -> None:
    """A Version is to be kept."""
    version_id = artifacts.known(tx, claim.artifact, claim.digest)
    judgements.put_hold(tx, claim.uid, version_id, judgements.Said(fact, at, actor))


def deploy(
    tx: Transaction, fact: int, at: datetime, actor: model.Actor, claim: model.DeploymentClaim
) -> None:
    """A Version serves at a target in place of what did, or nothing does any more."""
    judgements.put_deployment(tx, claim, judgements.Said(fact, at, actor))


def withdraw(tx: Transaction, fact: int, at: datetime, said: judging.Withdrawal) -> None:
    """The live entries of these keys were revoked, or evicted."""
    reservations.withdraw(tx, said.keys, said.cause == judging.EVICTED, fact, model.microseconds(at))


def label(tx: Transaction, fact: int, at: datetime, said: judging.Labelled, given: Mapping[str, str]) -> None:
    """Labels of a Run or a Version were set, or removed. `given` are those of them that are not erased."""
    subject, row = labelled(tx, said.subject)
    labels.change(tx, fact, model.microseconds(at), subject, row, given, said.names | said.removed)


def labelled(tx: Transaction, subject: UUID | model.Source) -> tuple[labels.Subject, int]:
    """The row of what is labelled.

    Raises:
        NotFound: it is not recorded.
    """
    if isinstance(subject, UUID):
        return "run_id", runs.get(tx, subject).id
    return "version_id", artifacts.known(tx, subject.artifact, subject.digest)


def presume(tx: Transaction, fact: int, run_id: int, after: model.Run) -> None:
    """A Run was presumed aborted."""
    runs.replace_run(tx, run_id, after, fact)
    runs.put_presumption(tx, run_id, fact)


def replay(tx: Transaction, number: int, fact: facts.Fact, given: Mapping[str, str]) -> None:
    """Do what a stored fact says. `given` are the labels in it that are not erased."""
    match fact.verb:
        case "start":
            call = replace(facts.read_start(fact.body), actor=fact.actor, labels=given)
            start(tx, number, lifecycle.start(call, fact.at), call)
        case "reuse":
            call = replace(facts.read_start(fact.body), actor=fact.actor, labels=given)
            origin = facts.read_origin(fact.body)
            run = lifecycle.reuse(call, origin, fact.at)
            reuse(tx, number, run, call, runs.get(tx, origin).id)
        case "finish":
            report, publication = facts.read_finish(fact.uid, fact.body)
            stored = runs.get(tx, report.run)
            after = lifecycle.finish(stored.run, report, str(publication), fact.at)
            finish(tx, number, fact.at, stored.id, stored.run, after, report, publication)
        case "record":
            began = cast("facts.Body", fact.body["start"])
            call = replace(facts.read_start(began), actor=fact.actor, labels=given)
            report, publication = facts.read_finish(fact.uid, cast("facts.Body", fact.body["finish"]))
            after = lifecycle.record(call, report, str(publication), fact.at)
            whole.put(tx, [whole.Whole(number, fact.at, after, call, report)])
        case "add":
            addition = facts.read_add(fact.uid, fact.body)
            add(tx, number, fact.at, runs.get(tx, addition.run).id, addition)
        case "log":
            series = facts.read_log(fact.uid, fact.body)
            stored = runs.get(tx, series.run)
            log(tx, number, stored.id, stored.run, lifecycle.log(stored.run, series), series)
        case "alias":
            alias(tx, number, fact.at, fact.actor, facts.read_alias(fact.uid, fact.body))
        case "quarantine":
            quarantine(tx, number, fact.at, fact.actor, judging.read_quarantine(fact.uid, fact.body))
        case "release":
            release(tx, number, fact.at, fact.actor, judging.read_release(fact.uid, fact.body))
        case "approve":
            approve(tx, number, fact.at, fact.actor, judging.read_approve(fact.uid, fact.body))
        case "hold":
            hold(tx, number, fact.at, fact.actor, judging.read_hold(fact.uid, fact.body))
        case "deploy":
            deploy(tx, number, fact.at, fact.actor, judging.read_deploy(fact.uid, fact.body))
        case "label":
            label(tx, number, fact.at, judging.read_label(fact.body), given)
        case "withdraw":
            withdraw(tx, number, fact.at, judging.read_withdrawal(fact.body))
        case "presume":
            stored = runs.get(tx, facts.read_presume(fact.body))
            presume(tx, number, stored.id, lifecycle.presume_aborted(stored.run, fact.at))
        case verb:
            raise AssertionError(f"a fact with the verb {verb} has no projection")

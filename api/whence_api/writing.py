"""What each writing verb needs of its caller, item by item where it takes several.

Whoever was authenticated is the Actor of all that they say; of anybody else the name that they gave is
kept, as unauthenticated.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import cast
from uuid import UUID

from whence_api import admission
from whence_api.admission import Admission
from whence_catalog import access, inventory, model
from whence_catalog.access import EVERY_PROJECT, Grant
from whence_catalog.errors import ErrorKind, NotFound

# ── writing, item by item ────────────────────────────────────────────────────────────────────────


def reserve(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Record in the project of each call, read in those of its inputs."""
    calls = cast("Sequence[model.Call]", arguments["calls"])
    _look_up(asked, [], (call.inputs for call in calls))
    return asked.each(calls, lambda call: _admitted_call(asked, call), asked.catalog.reserve)


def finish_runs(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Record in the projects of each run and of its outputs, read in those of its inputs."""
    reports = cast("Sequence[model.Report]", arguments["reports"])
    _look_up(asked, [report.run for report in reports], (report.inputs for report in reports))

    def admit(report: model.Report) -> model.Report:
        asked.require_run(Grant.RECORD, report.run)
        return _admitted_report(asked, report)

    return asked.each(reports, admit, asked.catalog.finish_runs)


def record_runs(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Record in the projects of each run and of its outputs, read in those of its inputs."""
    runs = cast("Sequence[tuple[model.Call, model.Report]]", arguments["runs"])
    _look_up(asked, [], (said.inputs for pair in runs for said in pair))

    def admit(pair: tuple[model.Call, model.Report]) -> tuple[model.Call, model.Report]:
        return _admitted_call(asked, pair[0]), _admitted_report(asked, pair[1])

    return asked.each(runs, admit, asked.catalog.record_runs)


def add(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Record in the projects of each run and of its outputs, read in those of its inputs."""
    additions = cast("Sequence[model.Addition]", arguments["additions"])
    _look_up(asked, [item.run for item in additions], (item.inputs for item in additions))

    def admit(addition: model.Addition) -> model.Addition:
        asked.require_run(Grant.RECORD, addition.run)
        _require_edges(asked, addition.inputs, addition.outputs)
        return asked.signed(addition)

    return asked.each(additions, admit, asked.catalog.add)


def log(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Record in the project of each run."""
    series = cast("Sequence[model.Series]", arguments["series"])
    _look_up(asked, [item.run for item in series], ())

    def admit(item: model.Series) -> model.Series:
        asked.require_run(Grant.RECORD, item.run)
        return asked.signed(item)

    return asked.each(series, admit, asked.catalog.log)


def move_aliases(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Promote in the project of each artifact."""
    moves = cast("Sequence[model.AliasMove]", arguments["moves"])

    def admit(move: model.AliasMove) -> model.AliasMove:
        asked.require_artifact(move.artifact)
        asked.require(Grant.PROMOTE, move.artifact.project)
        return asked.signed(move)

    return asked.each(moves, admit, asked.catalog.move_aliases)


def revoke_entries(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Administer in the project of each revocation."""
    revocations = cast("Sequence[inventory.Revocation]", arguments["revocations"])

    def admit(revocation: inventory.Revocation) -> inventory.Revocation:
        asked.require(Grant.ADMINISTER, revocation.project)
        return asked.signed(revocation)

    return asked.each(revocations, admit, asked.catalog.revoke_entries)


def evict_entries(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Administer in the project of each eviction."""
    evictions = cast("Sequence[inventory.Eviction]", arguments["evictions"])

    def admit(eviction: inventory.Eviction) -> inventory.Eviction:
        asked.require(Grant.ADMINISTER, eviction.project)
        return asked.signed(eviction)

    return asked.each(evictions, admit, asked.catalog.evict_entries)


def _look_up(asked: Admission, written: Sequence[UUID], taken: Iterable[Sequence[model.InputClaim]]) -> None:
    """Look up what judging these items needs, all at once: whose Runs are written, and taken from."""
    if not asked.viewer.may(Grant.RECORD, EVERY_PROJECT):
        asked.know(written)
    if not asked.sees_all:
        producers = (claim.source.producer for claims in taken for claim in claims)
        asked.know(uid for uid in producers if uid is not None)


def _admitted_call(asked: Admission, call: model.Call) -> model.Call:
    asked.require(Grant.RECORD, call.project)
    _require_edges(asked, call.inputs, ())
    if call.key is not None:
        admission.require_own_key(call, call.key)
    return asked.signed(call)


def _admitted_report(asked: Admission, report: model.Report) -> model.Report:
    _require_edges(asked, report.inputs, report.outputs)
    return asked.signed(report)


def _require_edges(
    asked: Admission, inputs: Sequence[model.InputClaim], outputs: Sequence[model.OutputClaim]
) -> None:
    for claim in inputs:
        asked.require_source(claim.source)
    for made in outputs:
        asked.require(Grant.RECORD, made.artifact.project)
        for source in made.derived_from or ():
            asked.require_source(source)


# ── writing, as a whole ──────────────────────────────────────────────────────────────────────────


def beat(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Record in the project of each run; others are passed over."""
    runs = cast("Sequence[UUID]", arguments["runs"])
    _look_up(asked, runs, ())
    mine = []
    for run in runs:
        # Of one that is not recorded, and of one that may not be read, there is nothing to say.
        with contextlib.suppress(NotFound):
            asked.require_run(Grant.RECORD, run)
            mine.append(run)
    rest = {name: value for name, value in arguments.items() if name != "runs"}
    return asked.catalog.beat(mine, **cast("dict[str, timedelta]", rest))


def sweep(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Administer every project."""
    asked.require(Grant.ADMINISTER, EVERY_PROJECT)
    return asked.catalog.sweep()


def add_token(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Administer every project in which the token grants something."""
    token = cast("access.Token", arguments["token"])
    for project in token.grants.by_project or (EVERY_PROJECT,):
        asked.require(Grant.ADMINISTER, project)
    return asked.catalog.add_token(token)


def tokens(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Administer some project; tokens that reach beyond are not listed."""
    if not asked.viewer.grants.allows_somewhere(Grant.ADMINISTER):
        asked.require(Grant.ADMINISTER, EVERY_PROJECT)
    return [token for token in asked.catalog.tokens() if _is_own(asked, token)]


def _is_own(asked: Admission, token: access.Token) -> bool:
    everywhere = asked.viewer.may(Grant.ADMINISTER, EVERY_PROJECT)
    return everywhere or (bool(token.grants.by_project) and asked.viewer.grants.may_give(token.grants))


def revoke_token(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Administer every project in which the token grants something."""
    uid = cast("UUID", arguments["uid"])
    known = cast("list[access.Token]", tokens(asked, {}))
    if all(token.uid != uid for token in known):
        raise NotFound(f"no token {uid}; `whence token ls` lists them", ErrorKind.NO_SUCH_TOKEN)
    return asked.catalog.revoke_token(uid)

"""Facts: written, read back, and what of them can be erased."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator import ACTOR, claim, digest_of
from whence_catalog import cache, digest, facts, judging, model, traces
from whence_catalog.errors import Damaged

NOW = datetime(2026, 5, 3, tzinfo=UTC)
SOURCE = model.Source(model.Artifact("p", "dataset", "d"), digest_of(b"D"), UUID(int=7))
CALL = model.Call(
    run=UUID(int=1),
    project="p",
    job="train",
    actor=ACTOR,
    mode=model.Mode.REUSE,
    params={"c": 1.0, "deep": {"list": [1, (2, None)]}},
    inputs=(model.InputClaim("d", SOURCE, 3),),
    key="wk1:0",
    components=(cache.component("params", 1.0, "params/c", preview="secret"),),
    uncacheable=("why",),
    parent=UUID(int=2),
    retry_of=UUID(int=3),
    rerun_of=UUID(int=4),
    labels={"team": "secret"},
    capture=model.Capture(
        "m:f",
        digest_of(b"B"),
        digest_of(b"E"),
        "3.11",
        {"commit": "c"},
        ("x",),
        True,
        None,
        ("spot",),
        source=model.Reached.SCRIPT,
        cwd="jobs",
        search=(".", "src"),
        command=("make", "all"),
        closure={"rate": 0.5, "table": digest.Record("whence.blob", [digest_of(b"T").raw, 1])},
        diff=digest_of(b"D"),
        pod={"namespace": "ml"},
    ),
    claimed_at=NOW,
)
REPORT = model.Report(
    uid=UUID(int=5),
    run=UUID(int=1),
    state=model.RunState.FAILED,
    actor=ACTOR,
    inputs=(model.InputClaim("e", SOURCE),),
    outputs=(replace(claim("model:m", b"M"), description="secret", derived_from=()),),
    metrics={"loss": float("inf")},
    warnings=("late",),
    error="secret",
    uncacheable=("changed",),
    observed=model.Observed(
        model.Watching.NOTE,
        files=("data/a.csv",),
        sockets=("127.0.0.1:5432",),
        subprocesses=("git",),
        variables=("HOME",),
        more={"files": 3},
        blind_spots=("native readers",),
        covered=False,
        holes=("pipeline.helper",),
    ),
    trace=cache.trace_of(
        CALL.components,
        ("c",),
        [traces.Observation("c", ("a", (0, 2, None), -1), traces.Question.GET, b"answer")],
    ),
    claimed_at=NOW,
)
PUBLICATION = model.Publication(model.Outcome.REFUSED, "lease lost", is_divergence=True)


def fresh() -> facts.Redactor:
    return facts.Redactor(lambda path: path.encode().ljust(16, b".")[:16])


def said(verb: str, body: facts.Body) -> facts.Fact:
    return facts.decode(facts.encode(verb, UUID(int=1), NOW, ACTOR, body))


def test_a_start_reads_back_but_for_what_is_redactable() -> None:
    read = facts.read_start(said("start", facts.start(CALL, fresh())).body)
    hidden = replace(CALL.components[0], preview=None)
    assert replace(read, actor=ACTOR) == replace(CALL, labels={}, components=(hidden,))


def test_a_finish_reads_back_but_for_what_is_redactable() -> None:
    read, publication = facts.read_finish(
        REPORT.uid, said("finish", facts.finish(REPORT, PUBLICATION, fresh())).body
    )
    outputs = tuple(replace(made, description=None) for made in REPORT.outputs)
    assert replace(read, actor=ACTOR) == replace(REPORT, error=None, outputs=outputs)
    assert publication == PUBLICATION


def test_no_redactable_text_stands_in_a_fact() -> None:
    redactor = fresh()
    body = facts.record(facts.start(CALL, redactor), facts.finish(REPORT, PUBLICATION, redactor))
    assert b"secret" not in facts.encode("record", UUID(int=1), NOW, ACTOR, body)
    assert {path for path, _, _ in redactor.opened} == set(facts.commitments(body)) == {
        "labels/team", "components/0/preview", "outputs/0/description", "error"
    }  # fmt: skip


def test_the_same_text_under_other_salts_cannot_be_recognised() -> None:
    one, other = (facts.Redactor(lambda _, salt=salt: salt) for salt in (b"1" * 16, b"2" * 16))
    assert facts.start(CALL, one)["labels"] != facts.start(CALL, other)["labels"]


def test_a_reuse_says_nothing_that_its_origin_says() -> None:
    body = facts.reuse(CALL, UUID(int=9), fresh())
    assert facts.read_origin(body) == UUID(int=9)
    assert not {"components", "capture"} & body.keys()


def test_a_start_names_all_that_its_capture_keeps_in_the_store() -> None:
    files = {digest_of(b"E"), digest_of(b"D"), digest_of(b"T")}
    assert facts.blobs(said("start", facts.start(CALL, fresh()))) == {
        digest_of(b"B"): model.Form.TREE,
        **dict.fromkeys(files, model.Form.FILE),
    }


def test_what_a_capture_does_not_say_is_not_in_its_body() -> None:
    older = model.Capture(entry="m:f", python="3.11")
    assert facts.capture(older).keys() == {"entry", "python", "rerunnable", "because"}
    assert facts.read_capture(facts.capture(older)) == older


@given(st.binary(max_size=200))
def test_bytes_that_are_no_fact_are_refused(data: bytes) -> None:
    with pytest.raises(Damaged):
        facts.decode(data)


def test_a_changed_byte_is_another_leaf() -> None:
    data = facts.encode("start", UUID(int=1), NOW, ACTOR, facts.start(CALL, fresh()))
    for place in range(0, len(data), 37):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert facts.leaf(changed) != facts.leaf(data)


def test_an_unknown_verb_is_a_bug() -> None:
    with pytest.raises(ValueError, match="not a verb"):
        facts.encode("guess", UUID(int=1), NOW, ACTOR, {})


def test_a_series_reads_back_in_order() -> None:
    series = model.Series(UUID(int=1), UUID(int=2), ACTOR, {"loss": ((3, 0.5), (1, float("-inf")))})
    read = facts.read_log(series.uid, said("log", facts.log(series)).body)
    assert replace(read, actor=ACTOR) == series


def test_an_alias_move_reads_back() -> None:
    move = model.AliasMove(
        UUID(int=1), SOURCE.artifact, "prod", digest.digest_of_bytes(b"M"), ACTOR, "because", 3
    )
    for claimed in (move, replace(move, since=NOW)):
        read = facts.read_alias(move.uid, said("alias", facts.alias(claimed, fresh())).body)
        assert replace(read, actor=ACTOR) == replace(claimed, reason=None)
    assert "since" not in facts.alias(move, fresh())


def test_what_was_judged_reads_back_and_why_is_a_commitment() -> None:
    artifact, named = SOURCE.artifact, digest.digest_of_bytes(b"M")
    bad = model.QuarantineClaim(UUID(int=1), artifact, named, ACTOR, "secret")
    redactor = fresh()
    body = judging.quarantine(bad, redactor)
    assert [path for path, _, _ in redactor.opened] == ["reason"]
    assert replace(judging.read_quarantine(bad.uid, body), actor=ACTOR, reason="secret") == bad
    end = model.Release(UUID(int=2), bad.uid, ACTOR, "secret")
    assert (
        replace(judging.read_release(end.uid, judging.release(end, fresh())), actor=ACTOR, reason="secret")
        == end
    )
    decided = model.ApprovalClaim(UUID(int=3), artifact, named, ACTOR, model.Decision.REJECTED, "secret")
    read = judging.read_approve(decided.uid, judging.approve(decided, fresh()))
    assert replace(read, actor=ACTOR, reason="secret") == decided
    kept = model.HoldClaim(UUID(int=4), artifact, named, ACTOR, "secret")
    assert (
        replace(judging.read_hold(kept.uid, judging.hold(kept, fresh())), actor=ACTOR, reason="secret")
        == kept
    )
    for what, since in ((named, None), (None, None), (named, NOW), (None, NOW)):
        serves = model.DeploymentClaim(UUID(int=5), artifact, what, "shop", ACTOR, since=since)
        assert (
            replace(judging.read_deploy(serves.uid, judging.deploy(serves, fresh())), actor=ACTOR) == serves
        )
    for body in (
        judging.release(end, fresh()),
        judging.approve(decided, fresh()),
        judging.hold(kept, fresh()),
    ):
        assert b"secret" not in facts.encode("release", UUID(int=6), NOW, ACTOR, body)

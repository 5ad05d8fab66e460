"""The verdict on a Version: what makes it clean, and that nothing which is not known does."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence_catalog import audit, digest, lineage, model, observation
from whence_catalog.audit import Presence, Verdict
from whence_catalog.errors import InvalidInput, NotFound
from whence_catalog.lineage import Edge, EdgeType, Node, NodeType

T0 = datetime(2026, 5, 3, 9, tzinfo=UTC)
ADA, EVE = model.Actor("ada", authenticated=True), model.Actor("eve")
SOURCE = digest.digest_of_bytes(b"source")
ENVIRONMENT = digest.digest_of_bytes(b"environment")
CAPTURE = model.Capture(
    entry="train:train",
    bundle=SOURCE,
    environment=ENVIRONMENT,
    python="3.11",
    git={"commit": "abc"},
    rerunnable=True,
    because=None,
)
SEEN = model.Observed(model.Watching.NOTE)
WHOLE = lineage.Completeness(complete=True)
EVERYTHING = audit.Policy("everything", frozenset(audit.QUESTIONS))


def version(kind: str, name: str) -> model.Version:
    content = model.Content(digest.digest_of_bytes(name.encode()), size_bytes=1)
    return model.Version(model.Artifact("default", kind, name), 1, content, T0)


IMAGES, FEATURES, MODEL = version("dataset", "images"), version("dataset", "features"), version("model", "m")


def record(
    number: int,
    job: str,
    made: model.Version,
    *taken: tuple[model.Version, int],
    capture: model.Capture = CAPTURE,
) -> model.RunRecord:
    run = model.Run(
        uid=UUID(int=number),
        project="default",
        job=job,
        state=model.RunState.COMPLETE,
        actor=ADA,
        started_at=T0 + timedelta(minutes=number),
        capture=capture,
    )
    inputs = tuple(model.Input("data", item, UUID(int=by), place) for place, (item, by) in enumerate(taken))
    return model.RunRecord(run, inputs, (model.Output("out", made, run.uid, derived_from=()),), SEEN)


def graph_of(*records: model.RunRecord, completeness: lineage.Completeness = WHOLE) -> lineage.Graph:
    nodes: dict[str, Node] = {}
    edges = []
    for place, found in enumerate(records):
        run = found.run
        nodes[str(run.uid)] = Node(str(run.uid), NodeType.RUN, run.job, run.state, run.started_at)
        for item in (*(i.version for i in found.inputs), *(o.version for o in found.outputs)):
            kind = item.artifact.kind
            nodes[item.ref] = Node(item.ref, NodeType.VERSION, item.artifact.name, "live", T0, kind)
        for i in found.inputs:
            producer = str(i.producer) if i.producer else None
            edges.append(
                Edge(i.version.ref, str(run.uid), EdgeType.INPUT, i.role, i.ordinal, producer, False, place)
            )
        for o in found.outputs:
            edges.append(Edge(str(run.uid), o.version.ref, EdgeType.OUTPUT, o.role, 0, None, False, place))
    return lineage.Graph((MODEL.ref,), tuple(nodes.values()), tuple(edges), completeness)


def alias(name: str, of: model.Version, since: int, until: int | None, **changes: object) -> model.Alias:
    moved = model.Alias(
        of.artifact,
        name,
        of,
        T0 + timedelta(days=since),
        None if until is None else T0 + timedelta(days=until),
        ADA,
    )
    return replace(moved, **changes)  # type: ignore[arg-type]


OTHER = digest.digest_of_bytes(b"other weights")
IMPORT = record(1, "whence.publish", IMAGES, capture=model.Capture())
PREPARE = record(2, "prepare", FEATURES, (IMAGES, 1))
TRAIN = record(3, "train", MODEL, (FEATURES, 2))


def made_again(number: int, made: digest.Digest | None) -> audit.Remade:
    again = replace(
        TRAIN.run, uid=UUID(int=number), rerun_of=TRAIN.run.uid, started_at=T0 + timedelta(days=number)
    )
    return audit.Remade(again, made)


def evidence(*records: model.RunRecord) -> audit.Evidence:
    """Of a clean history (or of `records`): all present, made again, and by somebody who was checked."""
    records = records or (IMPORT, PREPARE, TRAIN)
    versions = (IMAGES, FEATURES, MODEL)
    return audit.Evidence(
        subject=MODEL,
        graph=graph_of(*records),
        runs=records,
        as_of=42,
        aliases=(alias("prod", MODEL, 1, None, reason="it passed the trials"),),
        presence={item.digest: Presence.PRESENT for item in versions},
        reruns=(made_again(20, MODEL.digest),),
    )


def review(found: audit.Evidence, policy: audit.Policy = EVERYTHING) -> audit.AuditReport:
    return audit.review(found, policy, T0)


def finding(found: audit.Evidence, name: str) -> audit.Finding:
    return next(answer for answer in review(found).findings if answer.id == name)


def verdict(found: audit.Evidence, name: str) -> Verdict:
    return finding(found, name).verdict


def with_run(found: model.RunRecord, **changes: object) -> model.RunRecord:
    return replace(found, run=replace(found.run, **changes))  # type: ignore[arg-type]


def with_capture(found: model.RunRecord, **changes: object) -> model.RunRecord:
    return with_run(found, capture=replace(found.run.capture, **changes))  # type: ignore[arg-type]


# ── the verdict ──────────────────────────────────────────────────────────────────────────────────


def test_a_clean_history_passes_the_default_policy() -> None:
    report = review(evidence(), audit.Policy.default())
    assert {f.id: f.verdict for f in report.findings if f.verdict is not Verdict.PASS} == {
        "approved": Verdict.UNKNOWN
    }
    assert report.verdict is Verdict.PASS
    assert (report.subject, report.digest, report.as_of) == ("model:m@1", MODEL.digest, 42)
    assert report.counts == {"pass": 13, "fail": 0, "unknown": 1, "runs": 3, "versions": 3}
    assert [f.id for f in report.findings] == list(audit.QUESTIONS)


def lost(found: audit.Evidence) -> audit.Evidence:
    return replace(found, presence={**found.presence, IMAGES.digest: Presence.MISSING})


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        (None, "files and network read outside the inputs were not observed (train"),
        (observation.not_watched(), "files and network read outside the inputs were not observed (train"),
        (
            model.Observed(model.Watching.NOTE, files=("a.csv",)),
            "it read files that are no inputs: a.csv (train",
        ),
        (model.Observed(model.Watching.STRICT, blind_spots=("h5py",)), "h5py (train"),
    ],
)
def test_what_a_run_touched_or_could_not_be_seen_to_touch_is_never_clean(
    seen: model.Observed | None, line: str
) -> None:
    found = finding(evidence(IMPORT, PREPARE, replace(TRAIN, observed=seen)), "seen")
    assert found.verdict is Verdict.UNKNOWN
    assert found.evidence[0].startswith(line)


SPOILERS: dict[str, Callable[[audit.Evidence], audit.Evidence]] = {
    "cut": lambda e: replace(e, graph=replace(e.graph, completeness=lineage.Completeness(False))),
    "ambiguous": lambda e: replace(
        e, graph=replace(e.graph, completeness=lineage.Completeness(True, ambiguous=1))
    ),
    "unknown producer": lambda e: replace(
        e, graph=replace(e.graph, completeness=lineage.Completeness(True, unknown_producers=1))
    ),
    "masked": lambda e: replace(e, graph=replace(e.graph, completeness=lineage.Completeness(True, masked=1))),
    "erased": lambda e: replace(e, graph=replace(e.graph, completeness=lineage.Completeness(True, erased=1))),
    "a record that is not in evidence": lambda e: replace(e, runs=e.runs[1:]),
    "a blind spot": lambda e: replace(
        e, runs=(*e.runs[:2], with_capture(e.runs[2], blind_spots=("network",)))
    ),
}


@pytest.mark.parametrize("spoiler", SPOILERS)
@pytest.mark.parametrize("required", [[], ["identity"], sorted(audit.Policy.default().required)])
def test_no_policy_gives_a_clean_verdict_over_what_is_not_known(spoiler: str, required: list[str]) -> None:
    policy = audit.Policy.parse({"name": "lax", "required": required})
    assert review(evidence(), policy).verdict is Verdict.PASS
    assert review(SPOILERS[spoiler](evidence()), policy).verdict is Verdict.UNKNOWN


def test_a_failure_outweighs_what_is_unknown() -> None:
    report = review(lost(SPOILERS["cut"](evidence())), audit.Policy.default())
    assert report.verdict is Verdict.FAIL


def test_what_a_policy_does_not_require_is_answered_and_does_not_count() -> None:
    report = review(lost(evidence()), audit.Policy.parse({"name": "lax", "required": []}))
    intact = next(f for f in report.findings if f.id == "intact")
    assert (intact.verdict, intact.required, report.verdict) == (Verdict.FAIL, False, Verdict.PASS)


def test_a_policy_that_needs_a_checked_name_gets_no_clean_verdict_without_one() -> None:
    policy = audit.Policy.parse({"name": "strict", "required": ["people"]})
    assert review(evidence(), policy).verdict is Verdict.PASS
    anonymous = evidence(IMPORT, with_run(PREPARE, actor=EVE), TRAIN)
    assert review(anonymous, policy).verdict is Verdict.UNKNOWN
    assert "eve (not checked)" in finding(anonymous, "people").summary


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_the_order_of_the_evidence_changes_nothing(seed: int) -> None:
    def shuffled(items: tuple) -> tuple:  # type: ignore[type-arg]
        return tuple(Random(seed).sample(items, len(items)))

    moves = (*(alias(name, MODEL, 1, 2) for name in "abc"), alias("prod", MODEL, 3, None))
    extra = with_capture(record(4, "other", MODEL, (FEATURES, 2)), blind_spots=("a", "b"))
    found = replace(evidence(IMPORT, PREPARE, TRAIN, extra), aliases=moves)
    graph = replace(found.graph, nodes=shuffled(found.graph.nodes), edges=shuffled(found.graph.edges))
    again = replace(found, runs=shuffled(tuple(found.runs)), aliases=shuffled(moves), graph=graph)
    assert review(again) == review(found)


def test_a_subject_that_is_not_in_the_graph_is_not_judged() -> None:
    with pytest.raises(NotFound):
        review(replace(evidence(), subject=version("model", "other")))


def test_what_is_not_upstream_of_the_subject_is_not_judged() -> None:
    later = with_run(record(4, "deploy", version("report", "r"), (MODEL, 3)), state=model.RunState.FAILED)
    report = review(evidence(IMPORT, PREPARE, TRAIN, later))
    assert report.counts["runs"] == 3
    assert all(f.verdict is not Verdict.FAIL for f in report.findings)


# ── the findings ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        (model.Strength.CONTENT, Verdict.PASS),
        (model.Strength.PROVIDER, Verdict.UNKNOWN),
        (model.Strength.ASSERTED, Verdict.UNKNOWN),
        (model.Strength.WEAK, Verdict.FAIL),
        (model.Strength.NONE, Verdict.FAIL),
    ],
)
def test_an_identity_is_never_shown_as_stronger_than_it_is(
    strength: model.Strength, expected: Verdict
) -> None:
    images = replace(IMAGES, content=replace(IMAGES.content, strength=strength))
    found = evidence(record(1, "publish", images), record(2, "prepare", FEATURES, (images, 1)), TRAIN)
    assert verdict(found, "identity") is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Presence.PRESENT, Verdict.PASS),
        (Presence.MISSING, Verdict.FAIL),
        (Presence.ALTERED, Verdict.FAIL),
        (Presence.UNCHECKED, Verdict.UNKNOWN),
    ],
)
def test_bytes_that_were_not_checked_are_not_called_intact(state: Presence, expected: Verdict) -> None:
    found = evidence()
    found = replace(found, presence={**found.presence, FEATURES.digest: state})
    assert verdict(found, "intact") is expected
    if state is not Presence.PRESENT:
        assert finding(found, "intact").evidence == (f"dataset:features@1: {state}",)


def test_bytes_that_nobody_mentions_are_unchecked() -> None:
    assert verdict(replace(evidence(), presence={}), "intact") is Verdict.UNKNOWN


def test_the_reasons_for_a_cut_are_told() -> None:
    cut = lineage.Completeness(False, ("depth 5 reached",), "…", ambiguous=2)
    found = replace(evidence(), graph=graph_of(IMPORT, PREPARE, TRAIN, completeness=cut))
    assert finding(found, "complete").evidence == (
        "depth 5 reached",
        "2 inputs do not say which run they were taken from",
    )


def test_lineage_through_a_run_says_that_it_is() -> None:
    quiet = replace(TRAIN, outputs=(replace(TRAIN.outputs[0], derived_from=None),))
    found = finding(evidence(IMPORT, PREPARE, quiet), "complete")
    assert found.verdict is Verdict.PASS
    assert found.evidence[0].startswith("1 of 2 outputs do not say which")


def test_the_data_is_traced_to_its_roots_with_who_brought_it_and_who_took_it() -> None:
    found = finding(evidence(), "data")
    assert found.summary == "it comes from dataset:images@1"
    assert found.evidence == (
        f"dataset:images@1 {IMAGES.digest}, recorded in whence.publish {IMPORT.run.short} by ada,"
        " taken as data by prepare",
    )


def test_a_root_that_nobody_is_known_to_have_made_is_not_a_declared_root() -> None:
    orphan = replace(PREPARE, inputs=(replace(PREPARE.inputs[0], producer=None),))
    found = finding(evidence(orphan, TRAIN), "data")
    assert found.verdict is Verdict.UNKNOWN
    assert "recorded in nobody known" in found.evidence[0]


def test_a_model_made_of_nothing_has_unknown_data() -> None:
    assert verdict(evidence(record(3, "train", MODEL)), "data") is Verdict.UNKNOWN


def test_a_dataset_may_be_its_own_root() -> None:
    found = replace(evidence(IMPORT), subject=IMAGES)
    assert verdict(found, "data") is Verdict.PASS
    assert verdict(found, "code") is Verdict.UNKNOWN


def test_a_run_without_recorded_code_fails_and_is_a_blind_spot() -> None:
    found = evidence(IMPORT, replace(PREPARE, run=replace(PREPARE.run, capture=model.Capture())), TRAIN)
    assert verdict(found, "code") is Verdict.FAIL
    assert verdict(found, "environment") is Verdict.FAIL
    assert verdict(found, "seen") is Verdict.UNKNOWN
    assert verdict(found, "rerunnable") is Verdict.FAIL
    assert f"prepare {PREPARE.run.short}: not recorded" in finding(found, "code").evidence


def test_content_that_was_only_brought_in_needs_no_code() -> None:
    assert verdict(evidence(), "code") is Verdict.PASS
    assert len(finding(evidence(), "code").evidence) == 2


def test_uncommitted_changes_are_told() -> None:
    found = evidence(IMPORT, with_capture(PREPARE, git={"commit": "abc", "dirty": "yes"}), TRAIN)
    assert any("commit abc with uncommitted changes" in line for line in finding(found, "code").evidence)


def test_a_run_that_cannot_be_made_again_says_why() -> None:
    found = evidence(IMPORT, PREPARE, with_capture(TRAIN, rerunnable=False, because="a lambda"))
    assert finding(found, "rerunnable").evidence == (f"train {TRAIN.run.short}: a lambda",)
    assert verdict(found, "rerunnable") is Verdict.FAIL


def test_source_that_was_lost_cannot_be_made_to_run() -> None:
    found = evidence()
    found = replace(found, presence={**found.presence, SOURCE: Presence.MISSING})
    assert verdict(found, "rerunnable") is Verdict.FAIL


@pytest.mark.parametrize(
    ("same", "other", "expected"),
    [(0, 0, Verdict.UNKNOWN), (2, 0, Verdict.PASS), (2, 1, Verdict.FAIL), (0, 1, Verdict.FAIL)],
)
def test_one_rerun_that_came_out_otherwise_outweighs_those_that_did_not(
    same: int, other: int, expected: Verdict
) -> None:
    reruns = [made_again(20 + n, MODEL.digest) for n in range(same)] + [made_again(30, OTHER)] * other
    assert verdict(replace(evidence(), reruns=reruns), "remade") is expected


def test_a_rerun_is_evidence_that_names_its_run_its_time_and_who_asked_for_it() -> None:
    reruns = (made_again(22, None), made_again(21, OTHER), made_again(20, MODEL.digest))
    assert finding(replace(evidence(), reruns=reruns), "remade").evidence == (
        f"made again with identical outputs by run {str(UUID(int=20))[:18]} of ada on 2026-05-23 09:00:00 UTC",
        f"made again with other bytes, {OTHER}, by run {str(UUID(int=21))[:18]} of ada on 2026-05-24 09:00:00 UTC",
        f"made again with no output in its place by run {str(UUID(int=22))[:18]} of ada on 2026-05-25 09:00:00 UTC",
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": model.RunState.FAILED}, Verdict.FAIL),
        ({"state": model.RunState.ABORTED}, Verdict.FAIL),
        ({"state": model.RunState.ABORTED, "presumed": True}, Verdict.UNKNOWN),
        ({"state": model.RunState.RUNNING}, Verdict.UNKNOWN),
        ({"warnings": ("data was changed while the step ran",)}, Verdict.UNKNOWN),
    ],
)
def test_a_run_upstream_that_did_not_go_well_is_told(changes: dict[str, object], expected: Verdict) -> None:
    found = evidence(IMPORT, with_run(PREPARE, **changes), TRAIN)
    assert verdict(found, "sound") is expected
    assert finding(found, "sound").evidence[0].startswith(f"prepare {PREPARE.run.short}: ")


def test_the_aliases_are_a_timeline_of_the_artifact() -> None:
    older = replace(MODEL, number=2)
    moves = (
        alias("prod", MODEL, 5, None, reason="back again", replaced=2),
        alias("prod", older, 1, 5, actor=EVE),
    )
    found = finding(replace(evidence(), aliases=moves), "aliases")
    assert found.summary == "it is prod now"
    assert found.evidence == (
        "prod was model:m@2 from 2026-05-04 09:00:00 UTC to 2026-05-08 09:00:00 UTC, by eve (not checked),"
        " in place of nothing",
        "prod was model:m@1 from 2026-05-08 09:00:00 UTC to now, by ada, in place of @2: back again",
    )


def test_an_alias_that_anybody_may_have_moved_is_not_proof() -> None:
    found = replace(evidence(), aliases=(alias("prod", MODEL, 1, None, actor=EVE),))
    assert verdict(found, "aliases") is Verdict.UNKNOWN


def test_no_approval_on_record_is_not_a_refusal() -> None:
    assert verdict(evidence(), "approved") is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("decision", "actor", "expected"),
    [
        (model.Decision.APPROVED, ADA, Verdict.PASS),
        (model.Decision.APPROVED, EVE, Verdict.UNKNOWN),
        (model.Decision.REJECTED, EVE, Verdict.FAIL),
    ],
)
def test_the_last_decision_is_the_one_that_counts(
    decision: model.Decision, actor: model.Actor, expected: Verdict
) -> None:
    first = model.Approval(UUID(int=1), MODEL, T0, ADA, model.Decision.APPROVED)
    last = model.Approval(UUID(int=2), MODEL, T0 + timedelta(days=1), actor, decision, "looked again")
    found = replace(evidence(), approvals=(last, first))
    assert verdict(found, "approved") is expected
    assert finding(found, "approved").evidence[-1].endswith(": looked again")


def test_a_quarantine_of_it_or_of_what_it_came_from_fails() -> None:
    assert verdict(evidence(), "untainted") is Verdict.PASS
    for bad, told in ((MODEL, "it is quarantined"), (IMAGES, "what is quarantined: dataset:images@1")):
        why = model.Quarantine(UUID(int=9), bad, T0, None, EVE, "labels are shifted")
        found = replace(evidence(), taints=(model.Taint(TRAIN.run.uid, MODEL, why),))
        assert verdict(found, "untainted") is Verdict.FAIL
        assert told in finding(found, "untainted").summary
        assert finding(found, "untainted").evidence[0].endswith("UTC: labels are shifted")
        assert audit.review(found, audit.Policy.default(), T0).verdict is Verdict.FAIL


# ── policies ─────────────────────────────────────────────────────────────────────────────────────


def test_a_policy_is_read_from_its_table_and_always_has_what_none_can_waive() -> None:
    policy = audit.Policy.parse({"name": "release", "required": ["code"]})
    assert policy.required == {"code", "complete", "seen"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"name": "p", "required": [], "requires": []}, "not requires"),
        ({"name": "p", "required": ["cdoe"]}, "cdoe; the questions are identity"),
        ({"required": []}, "name of a policy"),
        ({"name": "p"}, "expected questions"),
        ({"name": "p", "required": "code"}, "expected questions"),
        ({"name": "p", "required": [1]}, "expected questions"),
    ],
)
def test_a_policy_that_is_not_understood_is_refused(said: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        audit.Policy.parse(said)


@pytest.mark.parametrize("waived", sorted(audit.ALWAYS_REQUIRED))
def test_a_policy_cannot_waive_what_every_verdict_rests_on(waived: str) -> None:
    with pytest.raises(InvalidInput, match=waived):
        audit.Policy("lax", frozenset(audit.QUESTIONS) - {waived})


def test_a_policy_is_identified_by_what_it_asks() -> None:
    one = audit.Policy.parse({"name": "p", "required": ["code", "data"]})
    assert one.digest == audit.Policy.parse({"name": "p", "required": ["data", "code", "seen"]}).digest
    assert one.digest != audit.Policy.parse({"name": "p", "required": ["code"]}).digest
    assert one.digest != audit.Policy.parse({"name": "q", "required": ["code", "data"]}).digest

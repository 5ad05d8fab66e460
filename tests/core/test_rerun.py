"""What a rerun would do, and how its outputs compare with the original's."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from whence_catalog import digest, model, rerun

T0 = datetime(2026, 5, 3, tzinfo=UTC)
SOURCE = digest.digest_of_bytes(b"source")
ENVIRONMENT = digest.digest_of_bytes(b"environment")


def uid(number: int) -> UUID:
    return UUID(int=number)


def version(name: str, data: bytes, strength: model.Strength = model.Strength.CONTENT) -> model.Version:
    content = model.Content(digest.digest_of_bytes(data), strength, size_bytes=len(data))
    return model.Version(model.Artifact("default", "dataset", name), 1, content, T0)


def recorded(**changes: object) -> model.RunRecord:
    """A Run that can be made again, but for `changes` to it or to its capture."""
    capture = model.Capture(
        entry="train:train", bundle=SOURCE, environment=ENVIRONMENT, rerunnable=True, because=None
    )
    names = model.Capture.__dataclass_fields__
    capture = replace(capture, **{k: v for k, v in changes.items() if k in names})  # type: ignore[arg-type]
    run = model.Run(
        uid=uid(1),
        project="default",
        job="train",
        state=model.RunState.COMPLETE,
        actor=model.Actor("ada"),
        started_at=T0,
        params={"c": 1.0},
        capture=capture,
    )
    run = replace(run, **{k: v for k, v in changes.items() if k not in names})  # type: ignore[arg-type]
    taken = model.Input("data", version("images", b"images"), uid(7))
    return model.RunRecord(run, (taken,), ())


# ── the plan for one Run ─────────────────────────────────────────────────────────────────────────


def test_a_run_with_all_that_it_needs_is_executed_and_the_plan_says_what_comes_back() -> None:
    planned = rerun.plan(recorded())
    assert (planned.run, planned.why) == (uid(1), ())
    assert planned.is_possible
    assert planned.restored == (
        f"source {SOURCE}",
        f"environment {ENVIRONMENT}",
        f"input data: dataset:images@1 {digest.digest_of_bytes(b'images')}",
        "parameters c",
    )
    assert planned.cannot == ()


def test_what_lay_outside_of_the_project_is_told_since_no_room_has_it() -> None:
    inside = rerun.plan(recorded(cwd="work", search=(".", "src"), blind_spots=("nobody looked",)))
    assert inside.cannot == ("nobody looked",)
    outside = rerun.plan(recorded(cwd="/data/today", search=("/home/ada/lib", ".")))
    assert outside.cannot == (
        "working folder: was /data/today, which is outside of the project; it is the project's root",
        "search path: had /home/ada/lib, which is outside of the project; what was imported from there is part of the source",
    )


def test_a_run_that_cannot_be_made_again_is_blocked_in_its_own_words() -> None:
    planned = rerun.plan(recorded(rerunnable=False, because="it was typed into a session"))
    assert planned.why == ("it was typed into a session",)
    assert not planned.is_possible


def test_every_lost_blob_is_named() -> None:
    lost = frozenset({SOURCE, ENVIRONMENT, digest.digest_of_bytes(b"images")})
    told = rerun.plan(recorded(), lost).why
    assert len(told) == 3
    for gone, why in zip((SOURCE, ENVIRONMENT, digest.digest_of_bytes(b"images")), told, strict=True):
        assert str(gone) in why


def test_a_lost_blob_of_something_else_blocks_nothing() -> None:
    assert rerun.plan(recorded(), frozenset({digest.digest_of_bytes(b"other")})).is_possible


def test_an_input_that_was_not_kept_blocks() -> None:
    record = recorded()
    taken = replace(record.inputs[0], version=version("images", b"images", model.Strength.PROVIDER))
    assert rerun.plan(replace(record, inputs=(taken,))).why == (
        "input data (dataset:images@1) is identified by provider only, so its bytes were not kept",
    )


def test_an_input_that_is_quarantined_or_came_from_what_is_says_by_whom_and_why() -> None:
    (taken,) = recorded().inputs
    raw = version("raw", b"raw")
    ada = model.Actor("ada")
    marks = {
        "is quarantined by ada, because a child is in it": model.Quarantine(
            uid(20), taken.version, T0, None, ada, "a child is in it"
        ),
        "came from dataset:raw@1, which is quarantined by ada, because of what was erased": model.Quarantine(
            uid(21), raw, T0, None, ada, None
        ),
    }
    taints = [model.Taint(uid(7), taken.version, quarantine) for quarantine in marks.values()]
    assert rerun.unfit(taken, taints) == tuple(f"input data (dataset:images@1) {why}" for why in marks)
    elsewhere = [replace(taint, run=uid(8)) for taint in taints]
    assert rerun.unfit(taken, elsewhere) == (), "another production of the same bytes is another"
    ended = [replace(t, quarantine=replace(t.quarantine, until=T0)) for t in taints]
    assert rerun.unfit(taken, ended) == ()


def test_a_reused_run_points_to_the_one_that_ran() -> None:
    (why,) = rerun.plan(recorded(state=model.RunState.REUSED, origin=uid(9))).why
    assert str(uid(9)) in why


def test_a_running_run_is_not_made_again() -> None:
    assert rerun.obstacles(recorded(state=model.RunState.RUNNING)) == ("it is still running",)


def test_a_claim_to_be_rerunnable_without_source_is_not_believed() -> None:
    assert not rerun.plan(recorded(bundle=None)).is_possible


def test_a_run_without_an_environment_is_not_made_again_in_another() -> None:
    assert rerun.obstacles(recorded(environment=None)) == ("its environment was not recorded",)


def test_what_could_not_be_seen_is_among_what_cannot_be_restored() -> None:
    planned = rerun.plan(recorded(blind_spots=("native readers loaded",)))
    assert planned.is_possible
    assert planned.cannot == ("native readers loaded",)

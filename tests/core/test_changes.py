"""What of a change somebody hears."""

import uuid
from datetime import UTC, datetime

from whence_catalog import changes, digest, model

HERE = model.Artifact("here", "model", "net")
THERE = model.Artifact("there", "model", "net")
CONTENT = digest.digest_of_bytes(b"net")
CHANGE = changes.Change(
    position=7,
    at=datetime(2026, 5, 3, tzinfo=UTC),
    verb="finish",
    project="here",
    actor=model.Actor("ann"),
    run=uuid.UUID(int=1),
    job="train",
    state=model.RunState.COMPLETE,
    took=(model.Source(HERE, CONTENT), model.Source(THERE, CONTENT)),
    made=(changes.Made(HERE, CONTENT, "mine"), changes.Made(THERE, CONTENT, "yours")),
)


def test_who_may_read_all_hears_all() -> None:
    assert changes.heard(CHANGE, lambda _: True) is CHANGE


def test_who_may_read_the_runs_project_hears_nothing_of_another() -> None:
    found = changes.heard(CHANGE, lambda project: project == "here")
    assert found is not None
    assert "there" not in repr(found)
    assert (found.run, found.job, len(found.took), len(found.made)) == (CHANGE.run, "train", 1, 1)


def test_of_another_projects_run_is_heard_what_it_made_in_ones_own() -> None:
    found = changes.heard(CHANGE, lambda project: project == "there")
    assert found == changes.Change(7, CHANGE.at, "finish", "there", made=(CHANGE.made[1],))


def test_what_is_of_no_project_that_may_be_read_is_not_heard() -> None:
    assert changes.heard(CHANGE, lambda project: project == "elsewhere") is None

"""References and names: what people write to mean a version."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence_catalog import model
from whence_catalog.errors import InvalidInput

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(lambda s: "\x7f" not in s)
PROJECTS = NAMES.filter(lambda s: not set(s) & set("/:@"))
KINDS = st.from_regex(r"[a-z][a-z0-9_-]*", fullmatch=True)
SELECTORS = st.one_of(
    st.none(),
    st.integers(min_value=1).map(str),
    st.just("latest"),
    st.just("sha256:" + "ab" * 32),
    st.sampled_from(["prod", "v1.2", "größer"]),
)


@given(PROJECTS, KINDS, NAMES, SELECTORS)
def test_a_reference_reads_back_as_it_was_written(
    project: str, kind: str, name: str, selector: str | None
) -> None:
    reference = model.Reference(model.Artifact(project, kind, name), selector)
    assert model.Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("model:detector", "latest"),
        ("model:detector@latest", "latest"),
        ("model:detector@3", "number"),
        ("model:detector@prod", "alias"),
        ("dataset:images@sha256:" + "0" * 64, "digest"),
        ("team/model:a/b:c@x", "alias"),
    ],
)
def test_a_selector_means_one_thing(text: str, means: str) -> None:
    reference = model.Reference.parse(text)
    said = {
        "latest": reference.is_latest,
        "number": reference.number is not None,
        "digest": reference.digest is not None,
        "alias": reference.alias is not None,
    }
    assert [name for name, holds in said.items() if holds] == [means]


@pytest.mark.parametrize(
    "text",
    ["", "model", ":name", "model:", "model:x@", "Model:x", "model:x@0", "model:x@007", "model:x@sha256:12",
     "a/b/model:x", "model:x%41", "model:a\nb", "model:x@a/b", "model:x@y@z\x00", "mo del:x", "model:\ud800"],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        model.Reference.parse(text)


def test_the_message_for_a_bad_reference_shows_a_good_one() -> None:
    with pytest.raises(InvalidInput, match="model:detector@prod"):
        model.Reference.parse("detector")


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)))
def test_times_come_back_to_the_microsecond(naive: datetime) -> None:
    aware = naive.replace(tzinfo=UTC)
    assert model.moment(model.microseconds(aware)) == aware


def test_a_time_that_says_no_zone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="offset"):
        model.checked_moment(datetime(2026, 5, 3))
    assert model.checked_moment(datetime(2026, 5, 3, tzinfo=UTC)) == datetime(2026, 5, 3, tzinfo=UTC)

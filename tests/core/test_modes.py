"""Which mode a call is in, where WHENCE_CACHE has a word in it."""

import pytest

from whence import modes
from whence_catalog.errors import InvalidInput
from whence_catalog.model import Mode


@pytest.mark.parametrize(
    ("selectors", "job", "expected"),
    [
        ("", "pipeline.train", Mode.RECORD),
        ("refresh", "pipeline.train", Mode.REFRESH),
        ("train=refresh,*=reuse", "pipeline.train", Mode.REFRESH),
        ("train=refresh,*=reuse", "pipeline.evaluate", Mode.REUSE),
        ("train=refresh", "pipeline.evaluate", Mode.RECORD),
        ("train=refresh, train=off", "train", Mode.REFRESH),
        ("tr*=off", "pipeline.train", Mode.OFF),
        ("pipeline.*=off", "pipeline.train", Mode.OFF),
        ("pipeline.*=off", "other.pipeline.train", Mode.RECORD),
        ("train=off", "train.later", Mode.RECORD),
        ("Train=off", "train", Mode.RECORD),
        ("a=b=off", "a=b", Mode.OFF),
        ("train=refresh,off", "evaluate", Mode.OFF),
    ],
)
def test_the_first_selector_that_matches_counts_and_else_what_the_code_says(
    selectors: str, job: str, expected: Mode
) -> None:
    assert modes.chosen(selectors, job, Mode.RECORD) is expected


@pytest.mark.parametrize(
    ("selectors", "wrong"),
    [
        ("always", "WHENCE_CACHE is 'always'"),
        ("train=refresh,eval=always", r"part 2 \('eval=always'\) has the mode 'always'"),
        ("train=refresh,,*=off", r"part 2 \(''\) is no selector"),
        ("=off", r"part 1 \('=off'\) is no selector"),
        ("train=", r"part 1 \('train='\) is no selector"),
    ],
)
def test_a_part_without_meaning_is_named_whether_it_matches_or_not(selectors: str, wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        modes.chosen(selectors, "train", Mode.REUSE)

"""What is found by a part of a name, and that a page of it looks at so many names and no more."""

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator import World
from whence_catalog import replies
from whence_catalog.replies import HitType
from whence_catalog.sql import by_name, grams
from whence_catalog.sql.catalog import SqlCatalog

words = st.text(st.sampled_from("aAbßSs éÉ-/🙂İ"), max_size=9)


@given(words, words, words)
def test_a_name_has_all_the_grams_of_its_parts(before: str, text: str, behind: str) -> None:
    for name in (before + text + behind, text.upper(), text.lower()):
        if text.casefold() in name.casefold():
            assert grams.of(text) <= grams.of(name)


@given(words, words)
def test_texts_of_three_characters_have_the_same_gram_only_if_they_are_the_same(one: str, other: str) -> None:
    one, other = one.casefold()[:3], other.casefold()[:3]
    if len(one) == len(other) == 3:
        assert (grams.of(one) == grams.of(other)) == (one.casefold() == other.casefold())
    assert all(0 <= gram < 2**63 for gram in grams.of(one + "\U0010ffff" * 3))


def called(hit: replies.Hit) -> str:
    return hit.artifact.name if hit.artifact else hit.job.name if hit.job else ""


def found(world: World, text: str, first: int = 2, **asked: object) -> list[str]:
    seen: list[str] = []
    after = None
    while True:
        page = world.catalog.search(text, first=first, after=after, **asked)  # type: ignore[arg-type]
        seen += map(called, page.items)
        if page.end is None:
            return seen
        after = page.end


NAMES = (
    "digits",
    "Digits-test",
    "big/digit",
    "Straße",
    "STRASSE 9",
    "日本語の模型",
    "ab",
    "a_b",
    "%a",
    "x" * 300,
)


def test_any_part_of_a_name_finds_it_in_any_case(world: World) -> None:
    world.note("make", {f"model:{name}".replace("%", "%25"): b"1" for name in NAMES})
    texts = {
        part for name in NAMES for part in (name, name[:1], name[1:3], name[-4:], name.upper(), "zz", "ß-")
    }
    for text in sorted({"", "gits", "strasse", "本語", *texts}):
        expected = [name for name in NAMES if text.casefold() in name.casefold()]
        assert found(world, text[:256], types=[HitType.ARTIFACT]) == expected[::-1], text


def test_jobs_are_found_as_artifacts_are(world: World) -> None:
    for name in NAMES:
        world.note(name)
    assert found(world, "DIGIT") == ["big/digit", "Digits-test", "digits"]
    assert found(world, "sse") == ["STRASSE 9", "Straße"]


def test_what_is_named_in_a_project_is_found_there_alone(world: World) -> None:
    for project in ("a", "b", "c"):
        other = World(world.catalog, project=project)
        for n in range(3):
            other.note(f"train-{n}")
    for projects in (["a"], ["a", "c"], ["none"], []):
        expected = [f"train-{n}" for _ in {*projects} - {"none"} for n in (2, 1, 0)]
        assert found(world, "train", projects=projects) == expected


@pytest.fixture
def crowded(tmp_path: Path) -> World:
    """Two projects: what the first has, the second has more of than a page looks at."""
    opened = SqlCatalog.open(tmp_path / "catalog.db", synchronous="OFF")
    with closing(opened):
        mine, theirs = World(opened, project="mine"), World(opened, project="theirs")
        mine.note("the training of mine")
        calls = [theirs.plain_call(f"training {n}") for n in range(by_name.MOST_LOOKED_AT + 5)]
        opened.record_runs([(call, theirs.report(call)) for call in calls])
        mine.note("training again")
        yield mine  # type: ignore[misc]
        assert opened.check().problems == ()


def test_a_page_looks_at_so_many_names_and_goes_on_from_there(crowded: World) -> None:
    # Each part of it is in very many names.
    page = crowded.catalog.search("ing ing")
    assert (page.items, page.end is None) == ((), True), "no name has `g i`"
    page = crowded.catalog.search("training m", types=[HitType.JOB])
    assert page.items == ()
    rare = crowded.catalog.search("the training", types=[HitType.JOB])
    assert [called(hit) for hit in rare.items] == ["the training of mine"]
    assert rare.end is None
    short = crowded.catalog.search("of", types=[HitType.JOB])
    assert short.items == ()
    assert short.end is not None
    (hit,) = crowded.catalog.search("of", types=[HitType.JOB], after=short.end).items
    assert called(hit) == "the training of mine"


def test_who_looks_in_a_project_is_not_told_that_others_have_more(crowded: World) -> None:
    page = crowded.catalog.search("of", projects=["mine"], types=[HitType.JOB])
    assert [called(hit) for hit in page.items] == ["the training of mine"]
    assert page.end is None

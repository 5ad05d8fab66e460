"""What an edit does to a step's identity, for small projects that each try to hide one from it."""

import functools
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.core.code_pairs import HOLES, PAIRS, SAME, Pair
from tests.core.test_code_identity import REPOSITORY, Answer, interpreters, job, probe

PYTHONS = interpreters() or [sys.executable]
DOCUMENT = REPOSITORY / "docs/code-identity.md"
_DECIDED = [pair for pair in PAIRS if pair.expected != "may"]


@functools.cache
def version_of(python: str) -> tuple[int, int]:
    asked = "import sys; print(*sys.version_info[:2])"
    said = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    major, minor = map(int, said.stdout.split())
    return major, minor


@functools.cache
def answers(python: str) -> Mapping[str, tuple[Answer, Answer]]:
    """What the identity and the result of every project is, before and after its edit."""
    known = [pair for pair in PAIRS if pair.since <= version_of(python)]
    jobs = [
        job(files, pair.name, argument=pair.argument) for pair in known for files in (pair.before, pair.after)
    ]
    told = iter(probe(jobs, python))
    return {pair.name: (next(told), next(told)) for pair in known}


def changed(before: Answer, after: Answer) -> list[str]:
    return [
        symbol
        for symbol in sorted({**before["rows"], **after["rows"]})
        if before["rows"].get(symbol) != after["rows"].get(symbol)
    ]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("pair", _DECIDED, ids=lambda pair: pair.name)
def test_an_edit_changes_the_identity_exactly_if_it_changes_the_result(pair: Pair, python: str) -> None:
    if pair.since > version_of(python):
        assert pair.since > (3, 11), "only syntax that is newer than the oldest Python may be left out"
        return
    before, after = answers(python)[pair.name]
    assert (before["result"] != after["result"]) == (pair.expected in ("change", "hole")), "the pair's claim"
    symbols = changed(before, after)
    assert bool(symbols) == (pair.expected == "change"), symbols
    assert any(pair.widens in why for why in before["widened"]) or not pair.widens, before["widened"]


def test_the_identity_of_every_project_is_the_same_on_every_python() -> None:
    here = answers(PYTHONS[0])
    for python in PYTHONS[1:]:
        there = answers(python)
        for name in here:
            for one, other in zip(here[name], there[name], strict=True):
                bound = [*one["interpreter_bound"], *other["interpreter_bound"]]
                # Every Python here has packages of its own, of which some code may choose any.
                differing = [symbol for symbol in changed(one, other) if symbol != "installed"]
                assert not differing or bound, (name, python)


def test_no_edit_that_changes_nothing_is_made_behind_a_needless_widening() -> None:
    widened = {pair.name for pair in SAME for answer in answers(PYTHONS[0])[pair.name] if answer["widened"]}
    assert widened == {"hidden and generated folders behind a dynamic construct"}


def test_every_hole_is_named_in_the_documentation() -> None:
    text = " ".join(DOCUMENT.read_text().split())
    assert [pair.name for pair in HOLES if pair.says not in text or not pair.says] == []


def test_the_corpus_has_the_size_that_the_documentation_says() -> None:
    many = {name: sum(pair.expected == name for pair in PAIRS) for name in ("change", "same", "may", "hole")}
    said = "{change} must change the identity, {same} must not, {may} may, and {hole} are holes"
    assert said.format_map(many) in " ".join(DOCUMENT.read_text().split())

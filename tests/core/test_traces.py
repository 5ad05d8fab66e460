"""Verifying traces: a result is handed out again exactly when nothing that was asked has another answer."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence_catalog import digest, traces
from whence_catalog.traces import Observation, Question

NAMES = st.sampled_from(["a", "b", "c", 0, 1, True, 1.0, None])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 2),
    st.sampled_from([0.0, 1.0, "", "a", "1", b"a", (1, "a"), ()]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, max_size=4), st.lists(inner, max_size=3), st.tuples(inner, inner)
    ),
    max_leaves=12,
)
STATES = st.dictionaries(NAMES, VALUES, max_size=4)


@dataclass
class Reader:
    """A program whose every question depends on all answers before, and whose result tells them all.

    It runs on plain Python values; what it asks is noted beside, as a step's view would.
    """

    seed: int
    state: digest.Framed
    told: list[str] = field(default_factory=list)
    noted: list[Observation] = field(default_factory=list)

    def choose(self, among: int) -> int:
        drawn = hashlib.sha256(repr((self.seed, self.told)).encode()).digest()
        return int.from_bytes(drawn[:8]) % among

    def run(self) -> str:
        known: list[tuple[traces.Path, digest.Framed]] = [((), self.state)]
        for _ in range(self.choose(7) + 1):
            path, value = known[self.choose(len(known))]
            question = list(Question)[self.choose(len(Question))]
            keys: list[digest.Framed] = ["a", "b", "c", 0, 1, -1, 2, None]
            key = keys[self.choose(8)]
            match question:
                case Question.GET | Question.HAS if isinstance(value, dict):
                    self.tell(question, (*path, key), key in value)
                    if question is Question.GET and key in value:
                        known.append(((*path, key), self.got(value[key])))
                case Question.GET if isinstance(value, list | tuple):
                    place = self.choose(3) - 1
                    found = -len(value) <= place < len(value)
                    self.tell(question, (*path, place), found)
                    if found:
                        known.append(((*path, place), self.got(value[place])))
                case Question.LENGTH | Question.EMPTY if traces.is_container(value):
                    self.tell(question, path, len(value) if question is Question.LENGTH else not value)  # type: ignore[arg-type]
                case Question.NAMES if isinstance(value, dict):
                    self.tell(question, path, list(value))
                case Question.WHOLE if traces.is_container(value):
                    self.tell(question, path, value)
                case _:
                    self.told.append("nothing to ask")
        return repr(self.told)

    def got(self, value: digest.Framed) -> digest.Framed:
        """What a view hands out: a leaf whole, of anything else only what it is."""
        self.told.append(type(value).__name__ if traces.is_container(value) else repr(value))
        return value

    def tell(self, question: Question, path: traces.Path, heard: object) -> None:
        self.told.append(repr((question, path, heard)))
        self.noted.append(Observation("state", path, question, traces.answer(self.state, path, question)))


def ran(seed: int, state: digest.Framed) -> tuple[str, traces.Trace]:
    reader = Reader(seed, state)
    result = reader.run()
    return result, traces.Trace("base", "key", ("state",), tuple(reader.noted))


def answers(state: digest.Framed) -> traces.Ask:
    return traces.asking({"state": state})


@given(st.integers(0, 50), st.lists(STATES, min_size=2, max_size=6))
@settings(max_examples=400, deadline=None)
def test_a_trace_matches_exactly_where_executing_would_hear_the_same(
    seed: int, states: list[digest.Framed]
) -> None:
    seen: list[tuple[str, traces.Trace]] = []
    for state in states:
        result, trace = ran(seed, state)
        for earlier, recorded in seen:
            # Sound: what it hands out is what executing gives. Precise: what cannot be told apart is a hit.
            assert traces.match(recorded, answers(state)) is (earlier == result)
        seen.append((result, trace))


@given(st.integers(0, 50), STATES, STATES, st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_a_trace_that_was_cut_short_says_no_less(
    seed: int, state: digest.Framed, other: digest.Framed, most: int
) -> None:
    result, trace = ran(seed, state)
    short = traces.bounded(trace.observations, answers(state), most)
    assert len(short) <= most
    assert all(answers(state)(s.argument, s.path, s.question) == s.answer for s in short)
    cut = traces.Trace("base", "key", ("state",), short)
    if traces.match(cut, answers(other)):
        assert ran(seed, other)[0] == result


@given(STATES, STATES)
def test_what_is_asked_for_whole_tells_any_two_values_apart(one: digest.Framed, other: digest.Framed) -> None:
    heard = [traces.answer(state, (), Question.WHOLE) for state in (one, other)]
    assert (heard[0] == heard[1]) is (repr(one) == repr(other))


@dataclass
class Counting:
    ask: Callable[[str, traces.Path, Question], bytes]
    paths: list[traces.Path] = field(default_factory=list)

    def __call__(self, argument: str, path: traces.Path, question: Question) -> bytes:
        self.paths.append(path)
        return self.ask(argument, path, question)


def test_the_first_answer_that_differs_is_the_last_question() -> None:
    was: dict[str, digest.Framed] = {"kind": "a", "a": {"n": 1}, "b": {"n": 1}}
    noted = [
        Observation("state", path, Question.GET, traces.answer(was, path, Question.GET))
        for path in (("kind",), ("a",), ("a", "n"))
    ]
    trace = traces.Trace("base", "key", ("state",), tuple(noted))
    asked = Counting(answers({**was, "kind": "b"}))
    assert not traces.match(trace, asked)
    assert asked.paths == [("kind",)]
    asked = Counting(answers({**was, "b": "something else"}))
    assert traces.match(trace, asked)
    assert asked.paths == [("kind",), ("a",), ("a", "n")]


ONE = digest.Record("decimal", "1")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"x": 1}, {"x": 1.0}),
        ({"x": 1}, {"x": True}),
        ({"x": {}}, {"x": []}),
        ({"x": [1]}, {"x": (1,)}),
        ({"x": None}, {}),
        ({}, {"x": None}),
        # In Python, Decimal(1) as a key is found by 1.
        ({}, {ONE: 1}),
    ],
)
def test_getting_tells_apart_what_python_takes_for_equal(
    before: Mapping[digest.Framed, digest.Framed], after: Mapping[digest.Framed, digest.Framed]
) -> None:
    for question in Question.GET, Question.WHOLE:
        heard = [traces.answer(state, (key,), question) for state in (before, after) for key in ("x", 1)]
        assert heard[:2] != heard[2:]


def test_a_slice_is_asked_about_by_itself() -> None:
    path: traces.Path = ((0, 2, None),)
    one, two, three = ([1] * n for n in (1, 2, 3))
    length = [traces.answer(value, path, Question.LENGTH) for value in (one, two, three)]
    assert length[0] != length[1] == length[2]
    last = [traces.answer(value, (*path, -1), Question.GET) for value in ([1, 2, 3], [1, 2, 4], [1, 3])]
    assert last[0] == last[1] != last[2]


def test_what_was_asked_most_about_counts_as_asked_for_whole() -> None:
    state: dict[str, digest.Framed] = {"many": list(range(50)), "one": {"n": 1}, "clock": 0}
    ask = answers(state)
    paths: list[traces.Path] = [("one",), ("one", "n"), ("many",), *[("many", n) for n in range(50)]]
    noted = [Observation("state", path, Question.GET, ask("state", path, Question.GET)) for path in paths]
    short = traces.bounded(noted, ask, 5)
    assert [(seen.path, seen.question) for seen in short] == [
        (("one",), Question.GET),
        (("one", "n"), Question.GET),
        (("many",), Question.WHOLE),
    ]
    trace = traces.Trace("base", "key", ("state",), short)
    assert traces.match(trace, answers({**state, "clock": 1}))
    assert not traces.match(trace, answers({**state, "many": [*range(49), 0]}))

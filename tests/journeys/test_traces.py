"""A step that is handed everything is reused by what it really read of it, and never by less."""

import asyncio
import copy
import dataclasses
import hashlib
import itertools
import json
import operator
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import whence
from tests.core.test_traces import STATES
from whence.client import Client
from whence_catalog import cache, traces
from whence_catalog.errors import Conflict, InvalidInput
from whence_catalog.model import RunState

State = Mapping[object, object]


@dataclass
class Box:
    """What is in it, and how it is called."""

    label: str
    items: list[int]

    @property
    def total(self) -> int:
        return sum(self.items)


@dataclass
class Told:
    """A step over a tracked `state`, and how often its body ran."""

    step: Callable[..., object]
    times: list[int]

    def __call__(self, state: object) -> tuple[object, bool]:
        """(what it gave, whether it executed)."""
        before = len(self.times)
        return self.step(state), len(self.times) > before


_numbers = itertools.count()


def tracking(body: Callable[..., object]) -> Told:
    times: list[int] = []

    def look(state: object) -> object:
        times.append(1)
        return body(state)

    return Told(whence.step(version="1", name=f"look {next(_numbers)}", tracked=["state"])(look), times)


def test_a_change_that_nothing_asked_about_is_a_hit_and_any_other_is_none(client: Client) -> None:
    look = tracking(lambda state: state["a"]["n"] + len(state["c"]) + ("z" in state))
    state = {"a": {"n": 1, "m": 1}, "b": 1, "c": [1, 2]}
    assert look(state) == (3, True)
    assert look({**state, "b": 2, "y": 0}) == (3, False)
    assert look({**state, "a": {"n": 1}, "c": [3, 4]}) == (3, False)
    assert look({**state, "c": [1]}) == (2, True)
    assert look({**state, "z": 0}) == (4, True)
    assert look({"c": "ab", "b": 7, "a": {"n": 1}}) == (3, True), "text is no list, and was read as it is"
    reused = [run for run in client.catalog.runs() if run.state is RunState.REUSED]
    assert len(reused) == 2
    assert client.catalog.check().problems == ()


@pytest.mark.parametrize(
    "read",
    [
        lambda s: repr(s),
        lambda s: f"{s}",
        lambda s: s == {"a": 1},
        lambda s: json.dumps(s, default=whence.whole),
        lambda s: len(pickle.dumps(s)),
        lambda s: copy.copy(s),
        lambda s: copy.deepcopy(s),
        lambda s: s | {},
        lambda s: s.copy(),
        lambda s: whence.whole(s),
        lambda s: s,
        lambda s: {"inside": [s]},
        lambda s: whence.dataset("state", s).draft.content == {},
    ],
)
def test_who_looks_past_the_questions_has_read_it_all(
    client: Client, read: Callable[[State], object]
) -> None:
    look = tracking(read)
    assert look({"a": 1, "b": {"c": 1}})[1]
    assert not look({"a": 1, "b": {"c": 1}})[1]
    assert look({"b": {"c": 1}, "a": 1})[1], "another order"
    assert look({"a": 1, "b": {"c": 2}})[1]


@pytest.mark.parametrize(
    ("read", "same", "other"),
    [
        (lambda s: list(s), {"a": 2, "b": 1}, {"b": 1, "a": 1}),
        (lambda s: dict(s.items())["a"], {"a": 1, "b": 1}, {"a": 1, "b": 2}),
        (lambda s: bool(s), {"z": 0}, {}),
        (lambda s: s.get("z", 0), {"a": 2, "b": 3}, {"a": 1, "b": 1, "z": 0}),
        (lambda s: list(reversed(s)), {"a": 3, "b": 3}, {"b": 1, "a": 1}),
        (lambda s: len(s), {"x": 1, "y": 2}, {"x": 1}),
        (lambda s: sorted(s.keys() & {"a"}), {"a": 5, "c": 5}, {"b": 1}),
    ],
)
def test_each_way_of_asking_notes_what_it_told(
    client: Client, read: Callable[[State], object], same: State, other: State
) -> None:
    look = tracking(read)
    made, _ = look({"a": 1, "b": 1})
    assert look(same) == (made, False)
    assert look(other) == (read(other), True)


def test_lists_are_asked_about_place_by_place(client: Client) -> None:
    look = tracking(lambda state: [state["x"][0], state["x"][-1], *state["x"][1:2]])
    assert look({"x": [1, 2, 3]}) == ([1, 3, 2], True)
    assert look({"x": [1, 2, 9, 3]}) == ([1, 3, 2], False)
    assert look({"x": [1, 3, 3]}) == ([1, 3, 3], True)
    assert look({"x": (1, 2, 3)})[1], "a tuple of plain values is one, and was read as it is"


def test_a_dataclass_is_asked_about_field_by_field(client: Client) -> None:
    label = tracking(lambda state: (state["box"].label, isinstance(state["box"], Box)))
    assert label({"box": Box("a", [1])}) == (("a", True), True)
    assert label({"box": Box("a", [2])}) == (("a", True), False)
    total = tracking(lambda state: state["box"].total)
    assert total({"box": Box("a", [1])}) == (1, True)
    assert total({"box": Box("b", [1])}) == (1, True), "what a property looks at is not seen: it read all"


def test_a_view_passes_for_what_it_is_of(client: Client) -> None:
    def kinds(state: State) -> object:
        held = [state["d"], state["l"], state["t"], state["box"]]
        return [[isinstance(each, kind) for kind in (dict, list, tuple, Box)] for each in held]

    box = Box("b", [1])
    state = {"d": {"x": 1}, "l": [1], "t": ([1], 2), "box": box}
    assert tracking(kinds)(state)[0] == kinds(state)

    def rebuilt(value: object) -> object:
        if isinstance(value, dict):
            return type(value)((key, rebuilt(item)) for key, item in value.items())
        if isinstance(value, list | tuple):
            return type(value)(rebuilt(item) for item in value)
        return value if not isinstance(value, Box) else value.label

    def remade(state: State) -> object:
        made = rebuilt(state)
        assert type(made) is dict
        return repr(made)

    assert tracking(remade)(state)[0] == remade(state)


@dataclass
class Spoken:
    """Says more of itself than its fields."""

    x: int

    def __str__(self) -> str:
        return f"at {self.x}"

    def __rmul__(self, other: object) -> tuple[object, int]:
        return other, self.x

    def update(self) -> str:
        return f"updated {self.x}"


def test_what_is_done_with_a_view_gives_what_it_would_with_the_value(client: Client) -> None:
    def done(state: State) -> object:
        said, listed, grown = cast("Any", state["said"]), cast("Any", state["l"]), [0]
        kept = grown
        kept += listed
        return [
            grown,
            str(said),
            "%s" % said,  # noqa: UP031
            list(2 * said),
            said.update(),
            listed is state["l"],
            hasattr(listed, "append"),
        ]

    state = {"said": Spoken(1), "l": [1, 2]}
    assert tracking(done)(state)[0] == done(state)


def test_what_a_dataclass_is_asked_by_its_module_is_answered(client: Client) -> None:
    def told(state: State) -> object:
        box = cast("Box", state["box"])
        return [
            dataclasses.is_dataclass(box),
            [each.name for each in dataclasses.fields(box)],
            dataclasses.asdict(box),
            list(dataclasses.astuple(box)),
            dataclasses.replace(box, label="new").label,
            vars(box),
        ]

    state = {"box": Box("b", [1, 2])}
    assert tracking(told)(state)[0] == told(state)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: operator.setitem(state, "new", 1),
        lambda state: operator.delitem(state, "l"),
        lambda state: operator.setitem(state["l"], 0, 1),
        lambda state: operator.delitem(state["l"], 0),
    ],
)
def test_who_changes_a_view_is_told_to_take_a_copy(
    client: Client, change: Callable[[object], object]
) -> None:
    with pytest.raises(TypeError, match=r"state is tracked, and cannot be changed.*whence\.whole"):
        tracking(change)({"l": [1]})


def test_what_is_tracked_cannot_be_changed_nor_kept(client: Client) -> None:
    kept: list[State] = []

    def body(state: State) -> int:
        kept.append(state)
        with pytest.raises(TypeError):
            state["a"] = 2  # type: ignore[index]
        with pytest.raises(TypeError, match="tracked"):
            state.update(a=2)  # type: ignore[attr-defined]
        return 1

    look = tracking(body)
    assert look({"a": 1}) == (1, True)
    with pytest.raises(Conflict, match="has ended"):
        kept[0]["a"]
    assert look({"a": 2}) == (1, False), "it asked for nothing"


def test_a_step_inside_is_handed_what_was_read_whole(client: Client) -> None:
    inner = whence.step(version="1", name="inner")(lambda part: sum(part.values()))
    look = tracking(lambda state: inner(state["a"]))
    assert look({"a": {"n": 1}, "b": 1}) == (1, True)
    assert look({"a": {"n": 1}, "b": 2}) == (1, False)
    assert look({"a": {"n": 2}, "b": 2}) == (2, True)


def test_more_questions_than_a_trace_holds_read_it_all(client: Client) -> None:
    look = tracking(lambda state: sum(state["many"]) + state["one"])
    many = list(range(3000))
    assert look({"many": many, "one": 1, "clock": 0})[1]
    assert not look({"many": many, "one": 1, "clock": 1})[1]
    assert look({"many": [*many[:-1], 0], "one": 1, "clock": 1})[1]


def test_tracking_what_is_no_value_is_refused(client: Client) -> None:
    for tracked, handed in (["nothing"], 1), (["state"], whence.dataset("d", b"x")):
        look = whence.step(version="1", name="look", tracked=tracked)(lambda state: 1)
        with pytest.raises(InvalidInput, match=r"tracked|artifact"):
            look(handed)


def test_a_step_that_fails_leaves_no_trace(client: Client) -> None:
    def body(state: State) -> int:
        if state["a"] == 1:
            raise ValueError("no")
        return 1

    look = tracking(body)
    with pytest.raises(ValueError, match="no"):
        look({"a": 1})
    assert look({"a": 2}) == (1, True)
    assert look({"a": 2, "b": 1}) == (1, False)


def test_async_steps_track_too(client: Client) -> None:
    times: list[int] = []

    @whence.step(version="1", name="look later", tracked=["state"])
    async def look(state: State) -> object:
        times.append(1)
        return state["a"]

    for clock in (1, 2):
        assert asyncio.run(look({"a": 1, "clock": clock})) == 1
    assert times == [1]


def test_why_says_what_a_call_would_be_answered_and_which_answer_changed(client: Client) -> None:
    look = tracking(lambda state: (state["a"], "z" in state))
    look({"a": 1, "b": 1})
    facts = len(client.catalog.facts())
    same = whence.why(look.step, {"a": 1, "b": 2}).explanation
    assert isinstance(same.answer, cache.Reuse | cache.Verify)
    assert same.changes == ()
    other = whence.why(look.step, {"a": 2, "b": 2}).explanation
    assert other.answer == cache.Execute(cache.Reason.NO_ENTRY)
    (changed,) = other.changes
    assert changed.name == "reads/state"
    assert [line.rpartition(" ")[0] for line in differing(changed)] == ["get state['a']"]
    assert len(client.catalog.facts()) == facts
    assert look({"a": 1, "b": 2}) == ((1, False), False)
    assert look({"a": 2, "b": 2}) == ((2, False), True)
    runs = [run for run in client.catalog.runs() if run.job == client.catalog.runs()[0].job]
    newest = next(run for run in runs if run.state is RunState.COMPLETE)
    (recorded,) = (verdict for verdict in client.explain(str(newest.uid)).explanation.changes)
    assert [line.rpartition(" ")[0] for line in differing(recorded)] == ["get state['a']"]


def differing(verdict: cache.ComponentVerdict) -> list[str]:
    before, after = (str(text).splitlines() for text in (verdict.before, verdict.after))
    return [line for line in after if line not in before]


# ── any program, any values ──────────────────────────────────────────────────────────────────────


class Hearing:
    """Keeps all that the questions of a program reveal, as the program runs on a plain value."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def of(self, *answers: object) -> None:
        self.heard.append(repr(answers))

    def is_there(self, value: Mapping[object, object], key: object) -> None:
        """Of a key that is no plain text or number, only all names can tell."""
        self.of(key in value, list(value) if type(key) is float else None)


def kind(value: object) -> str:
    """What is told of a value that is handed out: what it is; of a leaf, which."""
    return type(value).__name__ if traces.is_container(value) else repr(value)  # type: ignore[arg-type]


def branching(state: object, seed: int, hearing: Hearing | None = None) -> str:
    """A program whose every question depends on all answers before; it runs on a view as on what it is a view of."""
    told: list[str] = []

    def choose(among: int) -> int:
        drawn = hashlib.sha256(repr((seed, told)).encode()).digest()
        return int.from_bytes(drawn[:8]) % among

    def took(value: object) -> object:
        is_leaf = isinstance(value, str | bytes) or not isinstance(value, Mapping | Sequence)
        told.append(repr(value) if is_leaf else "…")
        if hearing:
            hearing.of(kind(value))
        return value

    known: list[object] = [state]
    for _ in range(choose(6) + 1):
        value = known[choose(len(known))]
        told.append("next")
        key = ["a", "b", "c", 0, 1, None, True, 1.0][choose(8)]
        if isinstance(value, Mapping):
            match choose(7):
                case 0:
                    told.append(repr(key in value))
                    if hearing:
                        hearing.is_there(value, key)
                case 1:
                    if hearing:
                        hearing.is_there(value, key)
                    known.append(took(value.get(key, "absent")))
                case 2:
                    told.append(repr(list(value)))
                case 3:
                    told.append(repr(len(value)))
                case 4:
                    told.append(repr(bool(value)))
                case 5:
                    if hearing:
                        hearing.of(list(value))
                    known += [took(item) for item in value.values()]
                case _:
                    told.append(repr(value))
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            match choose(5):
                case 0:
                    told.append(repr(len(value)))
                case 1:
                    part = value[choose(3) - 1 : choose(3)]
                    if hearing:
                        hearing.of(len(part))
                    known += [took(item) for item in part]
                case 2:
                    if hearing:
                        hearing.of(len(value))
                    known += [took(item) for item in value]
                case 3:
                    told.append(repr(1 in value))
                    if hearing:
                        hearing.of(value)
                case _:
                    told.append(repr(value))
    return repr(told)


@given(st.integers(0, 10**6), st.lists(STATES, min_size=2, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_hit_is_what_executing_on_the_present_value_would_give_and_what_cannot_be_told_apart_is_one(
    client: Client, seed: int, states: list[State]
) -> None:
    look = tracking(lambda state: branching(state, seed))
    seen: set[str] = set()
    for state in states:
        hearing = Hearing()
        expected = branching(state, seed, hearing)
        heard = repr((expected, hearing.heard))
        made, executed = look(state)
        assert made == expected
        assert not (executed and heard in seen), "nothing that it asked has another answer"
        seen.add(heard)

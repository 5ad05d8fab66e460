"""The checker of histories, on histories made by hand: each rule is broken, and only by what breaks it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.faults import checker, history
from tests.faults.checker import Rule
from tests.faults.history import Beat, Fact, Finish, History, Moment, Reserve, Span

LEASE = 100


def span(began: int, ended: int | None) -> Span:
    """The clock and the order of events are the same thing here."""
    return Span(Moment(began, began), None if ended is None else Moment(ended, ended))


def granted(run: str, at: int, token: int | None = None, reason: str = "no entry") -> Reserve:
    return Reserve(run, "k", run, span(at - 1, at + 1), token=token or at, reason=reason, since=at)


def reused(run: str, at: int, origin: str, *outputs: str) -> Reserve:
    return Reserve(run, "k", run, span(at - 1, at + 1), origin=origin, outputs=outputs)


def finished(run: str, at: int, outcome: str | None, *outputs: str, token: int = 0) -> Finish:
    ended = None if outcome is None else at + 1
    return Finish(run, "k", run, span(at - 1, ended), token, outputs or (run,), outcome)


def beaten(run: str, at: int, lost: bool = False, heard: bool = True) -> Beat:
    told = (run,) if lost else ()
    return Beat(run, (run,), span(at - 1, at + 1 if heard else None), LEASE, told if heard else None)


def started(run: str) -> Fact:
    return Fact("start", run, "k")


def entered(run: str, outcome: str = "entered", *outputs: str) -> Fact:
    return Fact("finish", run, "k", outcome, outputs=outputs or (run,))


def broken(
    *events: Reserve | Finish | Beat, facts: Sequence[Fact] = (), survivors: Sequence[str] = ()
) -> set[Rule]:
    told = History(
        [event for event in events if isinstance(event, Reserve)],
        [event for event in events if isinstance(event, Finish)],
        [event for event in events if isinstance(event, Beat)],
        facts,
    )
    return {found.rule for found in checker.check(told, LEASE, ["k"], survivors)}


SOUND: tuple[Reserve | Finish, ...] = (
    granted("a", 10),
    finished("a", 20, "entered"),
    reused("b", 30, "a", "a"),
)
SOUND_FACTS = (started("a"), entered("a"), Fact("reuse", "b", "k", origin="a"))


def test_one_computes_and_another_reuses() -> None:
    assert broken(*SOUND, facts=SOUND_FACTS, survivors=["a", "b"]) == set()


def test_who_lives_and_has_no_answer_hangs() -> None:
    assert broken(*SOUND, facts=SOUND_FACTS, survivors=["a", "b", "c"]) == {Rule.ANSWERED}
    unheard = (granted("a", 10), finished("a", 20, None))
    assert broken(*unheard, facts=SOUND_FACTS[:2], survivors=["a"]) == {Rule.ANSWERED}


def test_a_publish_after_the_key_was_granted_to_another_is_stale() -> None:
    late = (granted("a", 10), granted("b", 150), finished("a", 200, "entered"))
    assert Rule.STALE in broken(*late)
    refused = replace(late[2], outcome="refused")
    assert broken(*late[:2], refused) == set()


def test_a_stale_publish_that_nobody_heard_of_is_found_in_the_facts() -> None:
    unheard = (granted("a", 10), granted("b", 150), finished("a", 200, None))
    assert Rule.STALE in broken(*unheard, facts=[started("a"), started("b"), entered("a")])


def test_a_publish_on_its_way_while_the_key_is_granted_may_have_come_first() -> None:
    slow = Finish("a", "k", "a", span(105, 200), 10, ("a",), "entered")
    assert broken(granted("a", 10), slow, granted("b", 150, reason="refreshed")) == set()


def test_a_publish_after_its_lease_has_lapsed() -> None:
    assert broken(granted("a", 10), finished("a", 130, "entered")) == {Rule.LAPSED}
    assert broken(granted("a", 10), beaten("a", 50), finished("a", 130, "entered")) == set()
    assert broken(granted("a", 10), beaten("a", 50, heard=False), finished("a", 130, "entered")) == set()
    assert broken(granted("a", 10), finished("a", 130, "refused")) == set()


def test_a_grant_while_the_holder_lives_and_beats() -> None:
    assert broken(granted("a", 10), granted("b", 60)) == {Rule.OVERLAP}
    assert broken(granted("a", 10), granted("b", 111)) == set()
    assert broken(granted("a", 10), beaten("a", 50), granted("b", 111)) == {Rule.OVERLAP}


def test_a_beat_that_was_not_heard_or_found_the_lease_lost_holds_nothing() -> None:
    for beat in (beaten("a", 50, heard=False), beaten("a", 50, lost=True)):
        assert broken(granted("a", 10), beat, granted("b", 111)) == set()


def test_a_beat_of_a_run_that_has_ended_holds_nothing() -> None:
    late = (granted("a", 10), granted("b", 150), finished("a", 200, "refused"), beaten("a", 210))
    assert broken(*late) == set()


def test_a_grant_after_the_holder_let_go() -> None:
    failed = replace(finished("a", 30, "none"), state="failed")
    assert broken(granted("a", 10), failed, granted("b", 60)) == set()


def test_tokens_that_are_equal_or_shrink() -> None:
    assert broken(granted("a", 10, 7), granted("b", 150, 7)) == {Rule.TOKENS}
    assert broken(granted("a", 10, 500), granted("b", 150, 400)) == {Rule.TOKENS}


def test_two_grants_at_the_same_time_may_have_come_in_either_order() -> None:
    one = Reserve("a", "k", "a", span(10, 300), token=290, reason="no entry", since=290)
    other = Reserve("b", "k", "b", span(100, 200), token=150, reason="no entry", since=150)
    assert broken(one, other) == set()
    assert broken(one, replace(other, token=195, since=195)) == {Rule.OVERLAP}


def test_what_was_published_is_not_computed_for_want_of_an_entry() -> None:
    again = (granted("a", 10), finished("a", 20, "entered"), granted("b", 30))
    assert broken(*again) == {Rule.AGAIN}
    assert broken(*again[:2], granted("b", 30, reason="expired")) == set()


def test_a_holder_that_is_refused_while_it_holds_the_key() -> None:
    assert broken(granted("a", 10), finished("a", 20, "refused")) == {Rule.REFUSED}
    assert broken(granted("a", 10), finished("a", 130, "refused")) == set()


@pytest.mark.parametrize(
    "facts",
    [
        [entered("a"), entered("b")],
        [entered("a", "superseded")],
        [entered("a", "renewed")],
        [entered("a"), entered("b", "renewed")],
        [entered("a"), entered("b", "diverged", "a")],
        [started("a")],
    ],
)
def test_facts_that_give_a_key_no_entry_or_two(facts: Sequence[Fact]) -> None:
    assert broken(facts=facts) == {Rule.ONE_ENTRY}


def test_facts_in_which_an_entry_is_renewed_diverged_from_and_superseded() -> None:
    facts = [entered("a"), entered("b", "renewed", "a"), entered("c", "diverged"), entered("d", "superseded")]
    assert broken(facts=[*facts, Fact("reuse", "e", "k", origin="d")]) == set()


def test_a_reuse_of_what_is_not_the_live_entry() -> None:
    assert broken(facts=[entered("a"), Fact("reuse", "b", "k", origin="c")]) == {Rule.REUSE}
    other = reused("b", 30, "a", "something else")
    assert broken(*SOUND[:2], other, facts=SOUND_FACTS) == {Rule.REUSE}


def test_what_was_acknowledged_and_is_not_there() -> None:
    assert broken(*SOUND, facts=[*SOUND_FACTS[:2]]) == {Rule.ACKNOWLEDGED}
    assert broken(*SOUND, facts=[started("a"), entered("a", "entered", "z"), SOUND_FACTS[2]]) == {
        Rule.ACKNOWLEDGED,
        Rule.REUSE,
    }
    assert broken(granted("a", 10), facts=[entered("b")]) == {Rule.ACKNOWLEDGED}


def test_what_a_killed_process_wrote_is_read_up_to_where_it_was_cut() -> None:
    lines = [
        {"process": "p", "call": 0, "what": "reserve", "mono": 1, "wall": 2, "key": "k", "run": "r"},
        {
            "process": "p",
            "call": 0,
            "what": "granted",
            "mono": 3,
            "wall": 4,
            "token": 5,
            "reason": "x",
            "since": 3,
        },
        {"process": "p", "call": 1, "what": "beat", "mono": 5, "wall": 6, "runs": ["r"], "lasting": 9},
    ]
    told = history.read(lines)
    assert told.reserves == [
        Reserve("p", "k", "r", Span(Moment(1, 2), Moment(3, 4)), token=5, reason="x", since=3)
    ]
    assert told.beats == [Beat("p", ("r",), Span(Moment(5, 6), None), 9)]

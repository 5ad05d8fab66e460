"""A plan in two attempts, and whatever happens between them: nothing is made of what is wrong, nor made twice."""

import threading
from collections import Counter
from dataclasses import replace
from enum import StrEnum

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.pipelines import made_of
from tests.stateful.drawn import SLOW, Case, Step, World, cases, target_of
from whence import applying, calls, due
from whence.client import Client
from whence_catalog.errors import Conflict


class Since(StrEnum):
    """What happens between two attempts at a plan."""

    NOTHING = "nothing"
    REVOKED = "what was made is revoked"
    QUARANTINED = "what was made is declared bad"
    LOST = "what was made is gone from the store"
    ANOTHER = "another plan of the same is carried out"


KEY_KNOWN_LATER = Case(
    (
        Step(("x",), (), False, False, None),
        Step((), (0,), True, False, None),
        Step((), (1,), False, False, None),
    ),
    (),
    frozenset(),
    2,
    {"x": b"1"},
)


@settings(max_examples=20, suppress_health_check=SLOW)
@given(
    case=cases(),
    jobs=st.integers(1, 2),
    many=st.integers(1, 4),
    since=st.sampled_from(Since),
    at=st.integers(0, 3),
)
# Of what waits for another the plan knew no key: that its entry is gone shows when it is gone on with, and not before.
@example(case=KEY_KNOWN_LATER, jobs=1, many=2, since=Since.REVOKED, at=1)
def test_whatever_happens_between_two_attempts_nothing_is_made_of_what_is_wrong_nor_made_twice(
    client: Client, case: Case, jobs: int, many: int, since: Since, at: int
) -> None:
    world = World(client, case)
    for content in (*case.earlier, b"0"):
        world.record(content)
    recorded = {ran.output.version.digest for ran in world.ran.values()}
    plan = client.catalog.plan(world.request())
    expected, content = world.expected()
    world.maker.executed.clear()
    stop = threading.Event()

    def begun(job: str) -> None:
        if len(world.maker.executed) + 1 >= many:
            stop.set()

    world.maker.before = begun
    here = applying.Here(client, jobs, world.maker)
    first = applying.apply(client, plan, here, stop=stop)
    world.maker.before = lambda job: None
    before = list(world.maker.executed)
    made = [each.outputs[0] for each in first.done if each.end is due.End.EXECUTED]
    one = made[at % len(made)] if made else None
    if since is Since.LOST and one is not None and one.version.digest in recorded:
        one = None
    bad = None if one is None else world.read(one)
    match since:
        case Since.REVOKED if one is not None:
            world.revoke_entry_of(one)
        case Since.QUARANTINED if one is not None:
            world.declare_bad(one)
        case Since.LOST if one is not None:
            client.blobs.delete(one.version.digest)
        case Since.ANOTHER:
            another = replace(plan.request, uid=calls.new_uid())
            assert applying.apply(client, client.catalog.plan(another), here).is_whole
    is_anew = False
    try:
        last = applying.apply(client, plan, here)
    except Conflict:
        if since in (Since.NOTHING, Since.LOST):
            raise
        is_anew = True
        plan = client.catalog.plan(replace(plan.request, uid=calls.new_uid()))
        last = applying.apply(client, plan, here)
    here.close()
    after = world.maker.executed[len(before) :]
    if since is Since.QUARANTINED and bad is not None:
        assert all(bad not in taken for _, _, taken in after)
        return
    assert last.is_whole
    assert target_of(client, plan, last) == content
    assert not Counter(expected) - Counter(world.maker.executed), "all that was needed was made"
    again = Counter(world.maker.executed) - Counter(expected)
    if is_anew or since is Since.ANOTHER:
        # Another apply knows nothing of what this one made without a key.
        again = Counter({called: n for called, n in again.items() if world.has_key(called[0])})
    match since:
        case Since.REVOKED if one is not None and world.has_key(one.version.artifact.name):
            assert again == Counter([world.call_of(one)]), "what was revoked is made again, and nothing else"
        case Since.LOST if one is not None:
            # Without a key, the same call is made as often as it was.
            assert all(again[called] <= before.count(called) for called in again)
            assert {made_of(called, called[0] in world.coarse) for called in again} == {bad}
        case _:
            assert not again

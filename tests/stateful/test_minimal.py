"""What is executed of a plan, beside brute force: it is minimal and sufficient; and without the rule it would not be."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.stateful.drawn import SLOW, Case, World, carried_out, cases, target_of
from whence import calls, due
from whence.client import Client
from whence_catalog import cache, model, planning, plans, rekeyed
from whence_catalog.sql import planning as recorded

Performing: TypeAlias = Callable[[Client, due.Due, due.Maker, Callable[[str], None]], due.Done]


@settings(max_examples=40, suppress_health_check=SLOW)
@given(case=cases(), jobs=st.integers(1, 2))
def test_what_is_executed_is_minimal_and_sufficient(client: Client, case: Case, jobs: int) -> None:
    holds(client, case, jobs)


def holds(client: Client, case: Case, jobs: int) -> None:
    """The law: what is executed of a plan is what has to be, each once, and the target is then what it should be."""
    world = World(client, case)
    for content in (*case.earlier, b"0"):
        world.record(content)
    for at in sorted(case.revoked):
        world.revoke(at)
    plan = client.catalog.plan(world.request())
    expected, content = world.expected()
    world.maker.executed.clear()
    applied = carried_out(world, plan, jobs)
    assert applied.is_whole, applied
    assert sorted(world.maker.executed) == sorted(expected)
    assert {each.run for each in plan.pending} == {each.step for each in applied.done}
    assert target_of(client, plan, applied) == content
    # What is asked for again is there: nothing is left to do, and nothing is done.
    carried_out(world, plan, jobs)
    assert sorted(world.maker.executed) == sorted(expected)


# ── the law has teeth ────────────────────────────────────────────────────────────────────────────


def no_early_cutoff(
    client: Client, one: due.Due, make: due.Maker, progress: Callable[[str], None], *, perform: Performing
) -> due.Done:
    """What takes something of what is executed is executed, whatever came out of that."""
    step = one.step
    if isinstance(step.step, plans.Conditional):
        salted = (*step.components, cache.component("salt", str(calls.new_uid())))
        step = replace(step, components=salted if step.components else (), stands=False)
    return perform(client, replace(one, step=step), make, progress)


def inputs_do_not_count(name: str, takes: Sequence[plans.Taken], is_ignored: bool) -> model.Component:
    """A key that is the same whatever is taken."""
    return cache.component("inputs", [], name, "", is_ignored)


def nothing_stands(rule: object, each: object) -> bool:
    """What has no key is always executed."""
    return False


def repetitions_are_others(some: object, others: object) -> bool:
    """What was made once more as it was has no key, although the first has."""
    return False


@pytest.mark.parametrize(
    ("where", "named", "mistake"),
    [
        (due, "_perform", partial(no_early_cutoff, perform=due._perform)),
        (rekeyed, "_inputs", inputs_do_not_count),
        (planning._Rule, "_stands", nothing_stands),
        (recorded, "_same", repetitions_are_others),
    ],
    ids=["no early cutoff", "inputs do not count", "nothing stands", "repetitions are others"],
)
def test_with_a_mistake_in_the_rule_the_law_does_not_hold(
    where: object,
    named: str,
    mistake: Callable[..., object],
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @settings(
        max_examples=60,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=SLOW,
    )
    @given(case=cases(), jobs=st.just(1))
    def law(case: Case, jobs: int) -> None:
        # Once is enough: what a mistake does may depend on what was done before, and need not come again.
        if not broken:
            try:
                holds(client, case, jobs)
            except AssertionError as error:
                broken.append(error)

    broken: list[AssertionError] = []
    monkeypatch.setattr(where, named, mistake)
    law()
    assert broken

"""What every Catalog must do, whatever it stands on. Each test ends with a rebuild of the projections."""

import threading
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from tests import simulator
from tests.simulator import NEVER_FRESH, World, claim, digest_of, taken
from whence_catalog import audit, cache, lineage, model
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound

UP, DOWN, WHOLE = lineage.Direction.UP, lineage.Direction.DOWN, lineage.Bounds(max_nodes=None)


# ── recording ────────────────────────────────────────────────────────────────────────────────────


def test_the_same_content_is_the_same_version_and_numbers_rise_by_one(world: World) -> None:
    numbers = [
        world.note("make", {"model:m": content}).outputs[0].version.number
        for content in (b"A", b"B", b"A", b"C")
    ]
    assert numbers == [1, 2, 1, 3]


def test_latest_is_the_version_of_the_newest_production(world: World) -> None:
    for content in (b"A", b"B", b"A"):
        world.note("make", {"model:m": content})
    found = simulator.one(world.catalog.resolve([model.Reference.parse("model:m@latest")]))
    assert found.version.number == 1


def test_a_start_said_twice_is_one_fact(world: World) -> None:
    call = world.plain_call(labels={"team": "perception"})
    first, second = world.begin(call), world.begin(call)
    assert first.run == second.run
    assert len(world.catalog.facts()) == 1


def test_another_content_under_the_same_run_id_is_a_conflict(world: World) -> None:
    call = world.plain_call(labels={"team": "perception"})
    world.begin(call)
    for other in (
        replace(call, job="other"),
        replace(call, labels={"team": "planning"}),
        replace(call, params={"c": 1}),
    ):
        with pytest.raises(Conflict) as refused:
            world.begin(other)
        assert refused.value.kind is ErrorKind.OTHER_CONTENT


def test_a_finish_said_twice_is_one_fact_and_the_same_answer(world: World) -> None:
    call = world.plain_call()
    world.begin(call)
    report = world.report(call, {"model:m": b"A"}, metrics={"loss": 0.5}, error=None)
    assert world.finish(report) == world.finish(report)
    assert len(world.catalog.facts()) == 2


def test_a_finish_with_other_content_under_the_same_uid_is_a_conflict(world: World) -> None:
    call = world.plain_call()
    world.begin(call)
    report = world.report(call, {"model:m": b"A"})
    world.finish(report)
    with pytest.raises(Conflict):
        world.finish(replace(report, metrics={"loss": 1.0}))


def test_an_id_that_said_one_thing_says_no_other(world: World) -> None:
    call = world.plain_call()
    world.begin(call)
    said = [
        lambda: world.finish(replace(world.report(call), uid=call.run)),
        lambda: simulator.one(
            world.catalog.log([model.Series(call.run, call.run, simulator.ACTOR, {"x": ((0, 1.0),)})])
        ),
        lambda: simulator.one(world.catalog.add([model.Addition(call.run, call.run, simulator.ACTOR)])),
        lambda: simulator.one(world.catalog.record_runs([(call, world.report(call))])),
    ]
    for again in said:
        with pytest.raises(Conflict) as refused:
            again()
        assert refused.value.kind is ErrorKind.OTHER_CONTENT
    report = world.report(call)
    world.finish(report)
    for other in (world.plain_call(run=report.uid), world.call(run=report.uid, presence_age=NEVER_FRESH)):
        with pytest.raises(Conflict):
            world.ask(other)


def test_a_run_that_ended_by_its_own_word_ends_once(world: World) -> None:
    call = world.plain_call()
    world.begin(call)
    world.finish(world.report(call, state=model.RunState.FAILED, error="ValueError: no"))
    with pytest.raises(Conflict) as refused:
        world.finish(world.report(call, {"model:m": b"A"}))
    assert refused.value.kind is ErrorKind.WRONG_STATE
    with pytest.raises(NotFound):
        world.catalog.productions(simulator.artifact("model:m"))


def test_one_bad_item_of_a_batch_leaves_no_trace_and_stops_no_other(world: World) -> None:
    calls = [world.plain_call(f"job {n}") for n in range(3)]
    for call in calls:
        world.begin(call)
    unknown = model.InputClaim("x", model.Source(simulator.artifact("dataset:none"), digest_of(b"?")))
    reports = [
        world.report(calls[0], {"model:a": b"A"}),
        world.report(calls[1], {"model:b": b"B"}, inputs=(unknown,)),
        world.report(calls[2], {"model:c": b"C"}),
    ]
    results = world.catalog.finish_runs(reports)
    assert [type(result).__name__ for result in results] == ["Finished", "NotFound", "Finished"]
    assert [str(s.artifact) for s in world.catalog.artifacts()] == ["model:a", "model:c"]
    assert world.catalog.run(str(calls[1].run)).run.state is model.RunState.RUNNING


def test_inputs_must_be_recorded_and_made_by_the_run_they_name(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    other = world.note("else", {"dataset:e": b"E"})
    lie = model.InputClaim("d", model.Source(data.version.artifact, data.version.digest, other.run.uid))
    with pytest.raises(NotFound):
        world.begin(world.plain_call(inputs=[lie]))


def test_two_inputs_of_one_role_need_an_order(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    with pytest.raises(InvalidInput):
        world.begin(world.plain_call(inputs=[taken(data), taken(data)]))
    call = world.plain_call(inputs=[taken(data, "x", ordinal=0), taken(data, "x", ordinal=1)])
    world.begin(call)
    assert [i.ordinal for i in world.catalog.run(str(call.run)).inputs] == [0, 1]


def test_the_same_input_said_twice_is_one_and_another_in_its_role_is_refused(world: World) -> None:
    data, other = (world.note("load", {"dataset:d": c}).outputs[0] for c in (b"D", b"E"))
    call = world.plain_call(inputs=[taken(data, "x")])
    world.begin(call)
    again = world.report(call, {"model:m": b"M"}, inputs=(taken(other, "x"),))
    with pytest.raises(InvalidInput):
        world.finish(again)
    world.finish(replace(again, inputs=(taken(data, "x"),)))
    assert len(world.catalog.run(str(call.run)).inputs) == 1


def test_what_an_output_comes_from_must_be_an_input(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    made = claim("model:m", b"M", derived_from=(taken(data).source,))
    call = world.plain_call()
    with pytest.raises(InvalidInput, match="no input of its run"):
        simulator.one(world.catalog.record_runs([(call, replace(world.report(call), outputs=(made,)))]))
    with pytest.raises(NotFound):
        world.catalog.run(str(call.run))


def test_a_job_has_a_name(world: World) -> None:
    for name in ("", "a\nb"):
        with pytest.raises(InvalidInput):
            world.begin(world.plain_call(name))


def test_an_attached_process_adds_to_a_run_while_it_runs_and_no_longer(world: World) -> None:
    call = world.plain_call()
    world.begin(call)
    addition = model.Addition(simulator.uid(), call.run, simulator.ACTOR, outputs=(claim("report:r", b"R"),))
    (first,) = simulator.one(world.catalog.add([addition]))
    (second,) = simulator.one(world.catalog.add([addition]))
    assert first == second
    world.finish(world.report(call, {"model:m": b"M"}))
    assert {o.role for o in world.catalog.run(str(call.run)).outputs} == {"report:r", "model:m"}
    late = replace(addition, uid=simulator.uid(), outputs=(claim("report:s", b"S"),))
    with pytest.raises(Conflict):
        simulator.one(world.catalog.add([late]))


def test_series_come_back_in_the_order_they_were_logged(world: World) -> None:
    call = world.plain_call()
    world.begin(call)
    flushes = [{"loss": ((0, 1.0), (1, float("nan")))}, {"loss": ((2, float("inf")),), "lr": ((0, 0.1),)}]
    for points in flushes:
        simulator.one(world.catalog.log([model.Series(simulator.uid(), call.run, simulator.ACTOR, points)]))
    series = world.catalog.series(call.run)
    assert [step for step, _ in series["loss"]] == [0, 1, 2]
    assert series["loss"][2][1] == float("inf")
    assert series["lr"] == ((0, 0.1),)
    assert world.catalog.run(str(call.run)).run.metrics == {"loss": float("inf"), "lr": 0.1}


def test_what_an_output_says_comes_back(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    call = world.plain_call(inputs=[taken(data)])
    said = claim(
        "model:m",
        b"M",
        filename="m.bin",
        format="bytes",
        metadata={"layers": [1, 2], "loss": float("inf")},
        metrics={"accuracy": 0.5},
        description="secret words",
        derived_from=(taken(data).source,),
    )
    report = replace(world.report(call), outputs=(said,))
    made = simulator.one(world.catalog.record_runs([(call, report)])).outputs[0]
    assert (made.filename, made.format, made.description) == ("m.bin", "bytes", "secret words")
    assert made.metadata == said.metadata
    assert made.metrics == said.metrics
    assert made.derived_from == said.derived_from
    # Free text is a commitment in the fact, never clear.
    (fact,) = [stored.fact for stored in world.catalog.facts() if stored.fact.uid == call.run]
    assert "secret words" not in repr(fact.body)


def test_positions_are_dense_and_times_never_fall(world: World) -> None:
    for n in range(5):
        world.note(f"job {n}", {"model:m": bytes([n])})
    stored = world.catalog.facts()
    assert [fact.position for fact in stored] == list(range(1, 6))
    assert [fact.sequenced_at for fact in stored] == sorted(fact.sequenced_at for fact in stored)
    assert [fact.position for fact in world.catalog.facts(after=3, limit=1)] == [4]


# ── the cache ────────────────────────────────────────────────────────────────────────────────────


def test_a_call_that_was_made_before_is_reused_and_recorded_as_such(world: World) -> None:
    first = world.run(outputs={"model:m": b"M"})
    answer = world.ask(call := world.call())
    assert isinstance(answer, cache.Reuse)
    assert answer.run is not None
    assert (answer.run.state, answer.run.origin) == (model.RunState.REUSED, first.run.uid)
    assert [output.run for output in answer.outputs] == [first.run.uid]
    assert world.ask(call) == replace(answer, entry=world.ask(call).entry)  # said again: the same Run
    assert len(world.catalog.productions(simulator.artifact("model:m"))) == 1


def test_another_parameter_executes(world: World) -> None:
    world.run(outputs={"model:m": b"M"}, c=1.0)
    assert world.begin(world.call(c=2.0)).reason is cache.Reason.NO_ENTRY
    assert world.begin(world.call(c=1)).reason is cache.Reason.NO_ENTRY  # 1 is not 1.0


def test_while_it_is_computed_others_wait_and_then_reuse(world: World) -> None:
    call = world.call()
    begun = world.begin(call)
    waiting = world.ask(world.call())
    assert isinstance(waiting, cache.Wait)
    assert waiting.holder == call.owner
    world.finish(world.report(call, {"model:m": b"M"}, begun.token))
    assert isinstance(world.ask(world.call()), cache.Reuse)


def test_a_failure_lets_the_next_one_compute(world: World) -> None:
    call = world.call()
    begun = world.begin(call)
    world.finish(world.report(call, token=begun.token, state=model.RunState.FAILED, error="no"))
    assert world.begin(world.call()).reason is cache.Reason.NO_ENTRY


def test_a_hit_whose_bytes_are_not_known_to_be_there_is_to_be_verified_first(world: World) -> None:
    world.run(outputs={"model:m": b"M"})
    call = world.call(presence_age=NEVER_FRESH)
    before = len(world.catalog.facts())
    answer = world.ask(call)
    assert isinstance(answer, cache.Verify)
    assert answer.unknown == {digest_of(b"M")}
    assert len(world.catalog.facts()) == before
    assert isinstance(world.ask(replace(call, present=answer.unknown)), cache.Reuse)


@pytest.mark.parametrize(
    ("seen", "reason"), [("missing", cache.Reason.OUTPUT_MISSING), ("altered", cache.Reason.OUTPUT_ALTERED)]
)
def test_a_hit_whose_bytes_are_gone_executes_and_the_next_publish_repairs_it(
    world: World, seen: str, reason: cache.Reason
) -> None:
    world.run(outputs={"model:m": b"M"})
    gone = frozenset({digest_of(b"M")})
    call = world.call(presence_age=NEVER_FRESH, **{seen: gone})
    begun = world.begin(call)
    assert (begun.reason, begun.digests) == (reason, gone)
    finished = world.finish(world.report(call, {"model:m": b"M"}, begun.token))
    assert finished.publication.outcome is model.Outcome.RENEWED
    assert isinstance(world.ask(world.call()), cache.Reuse)


def test_a_refresh_that_makes_other_bytes_supersedes_and_is_a_divergence(world: World) -> None:
    world.run(outputs={"model:m": b"M"})
    slow = world.call(mode=model.Mode.REFRESH)
    begun = world.begin(slow)
    assert begun.reason is cache.Reason.REFRESHED
    finished = world.finish(world.report(slow, {"model:m": b"N"}, begun.token))
    assert finished.publication == model.Publication(
        model.Outcome.SUPERSEDED, "refreshed; other bytes for model:m", is_divergence=True
    )
    answer = world.ask(world.call())
    assert isinstance(answer, cache.Reuse)
    assert answer.entry.run == slow.run


def test_a_token_that_is_not_the_live_one_publishes_nothing(world: World) -> None:
    call = world.call()
    begun = world.begin(call)
    finished = world.finish(world.report(call, {"model:m": b"M"}, (begun.token or 0) - 1))
    assert finished.publication.outcome is model.Outcome.REFUSED
    assert finished.outputs  # it stays an ordinary run
    assert isinstance(world.ask(world.call()), cache.Execute)


def test_who_lost_the_lease_publishes_nothing_but_is_compared(world: World) -> None:
    slow, quick = world.call(), world.call()
    begun = world.begin(slow)
    world.catalog.beat([slow.run], timedelta(0))
    world.finish(world.report(quick, {"model:m": b"M"}, world.begin(quick).token))
    late = world.finish(world.report(slow, {"model:m": b"N"}, begun.token))
    assert late.publication == model.Publication(model.Outcome.REFUSED, "lease lost", is_divergence=True)
    answer = world.ask(world.call())
    assert isinstance(answer, cache.Reuse)
    assert answer.entry.run == quick.run


def test_tokens_only_grow(world: World) -> None:
    tokens = []
    for _ in range(5):
        call = world.call()
        begun = world.begin(call)
        tokens.append(begun.token)
        world.finish(world.report(call, token=begun.token, state=model.RunState.ABORTED))
    assert tokens == sorted(set(tokens))


def test_what_is_uncacheable_is_not_published_and_says_why(world: World) -> None:
    call = world.call()
    begun = world.begin(call)
    report = world.report(call, {"model:m": b"M"}, begun.token, uncacheable=("input d was changed",))
    assert world.finish(report).publication == model.Publication(model.Outcome.REFUSED, "input d was changed")
    assert isinstance(world.ask(world.call()), cache.Execute)


def test_a_result_that_is_too_old_executes(world: World) -> None:
    world.run(outputs={"model:m": b"M"})
    assert isinstance(world.ask(world.call(max_age=timedelta(hours=1))), cache.Reuse)
    assert world.begin(world.call(max_age=timedelta(0))).reason is cache.Reason.EXPIRED


def test_the_modes_record_and_off_neither_look_up_nor_publish(world: World) -> None:
    world.run(outputs={"model:m": b"M"})
    for mode in (model.Mode.RECORD, model.Mode.OFF):
        begun = world.begin(call := world.call(mode=mode))
        assert (begun.reason, begun.token) == (cache.Reason.NOT_ASKED, None)
        assert world.finish(world.report(call, {"model:m": b"N"})).publication.outcome is model.Outcome.NONE


def test_a_lease_is_kept_by_beating_and_a_run_without_one_loses_none(world: World) -> None:
    holding, plain = world.call(), world.plain_call()
    world.begin(holding)
    world.begin(plain)
    assert world.catalog.beat([holding.run, plain.run], timedelta(seconds=60)) == frozenset()
    world.catalog.beat([holding.run], timedelta(0))
    assert world.catalog.beat([holding.run], timedelta(seconds=60)) == {holding.run}
    assert world.begin(world.call()).token is not None  # somebody else may compute it now


def test_a_run_that_is_not_heard_of_is_presumed_aborted_until_it_reports(world: World) -> None:
    call = world.call()
    begun = world.begin(call)
    assert world.catalog.sweep() == []
    world.catalog.beat([call.run], timedelta(microseconds=-1))
    assert world.catalog.sweep() == [call.run]
    assert world.catalog.run(str(call.run)).run.presumed
    finished = world.finish(world.report(call, {"model:m": b"M"}, begun.token))
    assert finished.run.state is model.RunState.COMPLETE
    assert finished.publication.outcome is model.Outcome.REFUSED  # its lease was given up


def test_reused_inputs_are_kept_only_where_they_differ(world: World) -> None:
    first = world.note("load", {"dataset:d": b"D"}).outputs[0]
    again = world.note("load", {"dataset:d": b"D"}).outputs[0]
    world.run("train", {"model:m": b"M"}, inputs=[taken(first)])
    same, other = world.call("train", inputs=[taken(first)]), world.call("train", inputs=[taken(again)])
    assert isinstance(world.ask(same), cache.Reuse)
    assert isinstance(world.ask(other), cache.Reuse)
    producers = [world.catalog.run(str(c.run)).inputs[0].producer for c in (same, other)]
    assert producers == [first.run, again.run]


def test_why_names_what_changed_before_and_after(world: World) -> None:
    world.run(outputs={"model:m": b"M"}, c=1.0)
    world.run(outputs={"model:m": b"N"}, c=2.0)
    third = world.run(outputs={"model:m": b"O"}, c=3.0)
    explained = world.catalog.explain(str(third.run.uid))
    assert [(v.name, v.before, v.after) for v in explained.changes] == [("params/c", "2.0", "3.0")]


def test_threads_that_want_the_same_compute_it_once(world: World) -> None:
    executed: list[UUID] = []
    barrier = threading.Barrier(6)

    def want() -> None:
        barrier.wait()
        call = world.call()
        while True:
            match world.ask(call):
                case cache.Execute(token=token):
                    executed.append(call.run)
                    world.finish(world.report(call, {"model:m": b"M"}, token))
                    return
                case cache.Reuse():
                    return
                case _:
                    threading.Event().wait(0.005)

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(executed) == 1


# ── lineage, rerun, audit ────────────────────────────────────────────────────────────────────────


def _chain(world: World) -> tuple[model.Output, model.Output, model.Output]:
    raw = world.note("ingest", {"dataset:raw": b"R"}).outputs[0]
    clean = world.note("clean", {"dataset:clean": b"C"}, [taken(raw)]).outputs[0]
    trained = world.note("train", {"model:m": b"M"}, [taken(clean)]).outputs[0]
    return raw, clean, trained


def test_lineage_follows_the_production_that_was_taken_and_no_other(world: World) -> None:
    raw, clean, _ = _chain(world)
    other_raw = world.note("ingest", {"dataset:other": b"O"}).outputs[0]
    world.note("clean", {"dataset:clean": b"C"}, [taken(other_raw)])  # the same bytes, made otherwise
    graph = world.catalog.lineage(["model:m@1"], UP, WHOLE)
    assert {node.id for node in graph.nodes if node.type == "version"} == {
        "model:m@1",
        "dataset:clean@1",
        "dataset:raw@1",
    }
    assert graph.completeness == lineage.Completeness(complete=True)
    assert clean.run in {UUID(node.id) for node in graph.nodes if node.type == "run"}
    assert raw.version.ref == "dataset:raw@1"


def test_an_input_that_names_no_run_is_ambiguous_and_counted(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    world.note("load", {"dataset:d": b"D"})
    world.note("train", {"model:m": b"M"}, [taken(data, producer=False)])
    world.note("load", {"dataset:d": b"D"})  # after the fact: it changes nothing about what came before
    graph = world.catalog.lineage(["model:m@1"], UP, WHOLE)
    assert graph.completeness.ambiguous == 1
    assert sum(node.name == "load" for node in graph.nodes) == 2


def test_downstream_finds_everything_that_came_of_it(world: World) -> None:
    raw, _, _ = _chain(world)
    graph = world.catalog.lineage([raw.version.ref], DOWN, WHOLE)
    assert {node.id for node in graph.nodes if node.type == "version"} == {
        "dataset:raw@1",
        "dataset:clean@1",
        "model:m@1",
    }


def test_a_run_that_takes_what_it_makes_ends_the_walk(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    world.note("touch", {"dataset:d": b"D"}, [taken(data, "in")])
    for direction, runs in (
        (UP, ["load", "touch"]),
        (DOWN, ["touch"]),
        (lineage.Direction.BOTH, ["load", "touch"]),
    ):
        graph = world.catalog.lineage(["dataset:d@1"], direction, WHOLE)
        assert graph.completeness.complete
        assert sorted(node.name for node in graph.nodes if node.type == "run") == runs


def test_an_answer_cut_short_says_so_and_its_pages_make_the_whole(world: World) -> None:
    _chain(world)
    whole = world.catalog.lineage(["model:m@1"], UP, WHOLE)
    pages, after = [], None
    while True:
        page = world.catalog.lineage(["model:m@1"], UP, lineage.Bounds(max_nodes=2), after)
        pages.append(page)
        after = page.completeness.frontier
        if page.completeness.complete:
            break
    assert len(pages) > 1
    assert sum(len(page.edges) for page in pages) == len(whole.edges)
    assert {edge for page in pages for edge in page.edges} == set(whole.edges)


def test_a_run_recorded_without_code_cannot_be_made_again_and_says_why(world: World) -> None:
    made = world.note("train", {"model:m": b"M"})
    plan = world.catalog.plan_rerun(str(made.run.uid), frozenset())
    assert not plan.is_possible
    assert "code" in "; ".join(plan.why)


def test_an_audit_over_bytes_that_nobody_checked_is_not_clean(world: World) -> None:
    _, _, trained = _chain(world)
    report = world.catalog.audit(trained.version.ref, audit.Policy.default())
    assert report.verdict is not audit.Verdict.PASS


# ── names, aliases, pages ────────────────────────────────────────────────────────────────────────


def test_an_alias_has_a_history(world: World) -> None:
    made = [world.note("make", {"model:m": content}).outputs[0] for content in (b"A", b"B")]
    for output, reason in zip(made, ("first", "better"), strict=True):
        move = model.AliasMove(
            simulator.uid(), output.version.artifact, "prod", output.version.digest, simulator.ACTOR, reason
        )
        assert simulator.one(world.catalog.move_aliases([move])) == simulator.one(
            world.catalog.move_aliases([move])
        )
    now, before = world.catalog.aliases(made[0].version.artifact)
    assert (now.version.number, now.until, now.reason, now.replaced) == (2, None, "better", 1)
    assert (before.version.number, before.until) == (1, now.since)
    assert simulator.one(world.catalog.resolve([model.Reference.parse("model:m@prod")])).version.number == 2


def test_an_alias_that_somebody_moved_is_not_moved_blindly(world: World) -> None:
    made = world.note("make", {"model:m": b"A"}).outputs[0]
    move = model.AliasMove(
        simulator.uid(), made.version.artifact, "prod", made.version.digest, simulator.ACTOR, expected=7
    )
    with pytest.raises(Conflict) as refused:
        simulator.one(world.catalog.move_aliases([move]))
    assert refused.value.kind is ErrorKind.ALIAS_MOVED


@pytest.mark.parametrize("name", ["7", "latest", "sha256:" + "0" * 64, "", "a/b", "a@b"])
def test_what_selects_otherwise_is_no_alias(world: World, name: str) -> None:
    made = world.note("make", {"model:m": b"A"}).outputs[0]
    move = model.AliasMove(simulator.uid(), made.version.artifact, name, made.version.digest, simulator.ACTOR)
    with pytest.raises(InvalidInput):
        simulator.one(world.catalog.move_aliases([move]))


def test_an_unknown_name_suggests_near_ones(world: World) -> None:
    world.note("make", {"model:detector": b"A"})
    for text, hint in (
        ("model:detectr", "model:detector"),
        ("model:detector@9", "one version"),
        ("model:detector@prd", "alias"),
    ):
        (missing,) = world.catalog.resolve([model.Reference.parse(text)])
        assert isinstance(missing, NotFound)
        assert hint in str(missing)


def test_a_run_is_found_by_a_prefix_that_is_long_enough_and_unique(world: World) -> None:
    runs = [world.note("make").run.uid for _ in range(2)]
    assert world.catalog.run(str(runs[0])).run.uid == runs[0]
    for bad in (
        "",
        "0123",
        "not-a-run-id",
        str(runs[0])[:8] if str(runs[0])[:8] == str(runs[1])[:8] else "zz",
    ):
        with pytest.raises(InvalidInput):
            world.catalog.run(bad)
    with pytest.raises(NotFound):
        world.catalog.run("00000000-0000")


def test_runs_come_newest_first_in_pages(world: World) -> None:
    made = [world.note(f"job {n % 2}").run.uid for n in range(7)]
    first = world.catalog.runs(limit=3)
    rest = world.catalog.runs(limit=10, before=first[-1].uid)
    assert [run.uid for run in (*first, *rest)] == made[::-1]
    assert [run.uid for run in world.catalog.runs(job="job 1")] == made[1::2][::-1]
    assert world.catalog.runs(states=[model.RunState.FAILED]) == []


def test_projects_keep_names_and_results_apart(world: World) -> None:
    world.run(outputs={"model:m": b"M"})
    other = World(world.catalog, project="other")
    assert other.begin(other.call()).reason is cache.Reason.NO_ENTRY


def test_a_role_is_made_once_in_a_run(world: World) -> None:
    call = world.plain_call()
    world.begin(call)
    first = model.Addition(simulator.uid(), call.run, simulator.ACTOR, outputs=(claim("model:m", b"A"),))
    simulator.one(world.catalog.add([first]))
    again = replace(first, uid=simulator.uid(), outputs=(claim("model:m", b"B"),))
    with pytest.raises(Conflict, match="another role"):
        simulator.one(world.catalog.add([again]))
    with pytest.raises(Conflict, match="another role"):
        world.finish(world.report(call, {"model:m": b"C"}))
    assert world.finish(world.report(call)).outputs[0].version.number == 1


def test_what_a_caller_saw_counts_for_the_entry_that_it_asked_for_alone(world: World) -> None:
    world.run("train", {"model:m": b"M"})
    gone = frozenset({digest_of(b"M")})
    world.ask(world.call("other", missing=gone, presence_age=timedelta(hours=1)))
    answer = world.ask(world.call("train", presence_age=timedelta(hours=1)))
    assert isinstance(answer, cache.Reuse)

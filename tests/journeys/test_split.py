"""A call is opened by one process, and completed by another, as orchestrators do it."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import whence
from tests.conftest import Project
from whence.client import Client
from whence_catalog.digest import digest_of_bytes
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound
from whence_catalog.model import Mode, RunState

OPENER = """
call = whence.Call(
    system="airflow", job="train", inputs={"rate": float(sys.argv[1])}, code="v1", native={"try_number": sys.argv[2]}
)
answer = whence.open(call)
if isinstance(answer, whence.Execute):
    show({"ticket": answer.ticket.plain, "reason": answer.reason})
elif isinstance(answer, whence.Reuse):
    show({"reused": answer.outputs["model"].load(), "origin": answer.origin})
else:
    show({"waits": answer.holder})
"""

WORKER = """
ticket = json.loads(sys.argv[1])
with whence.held(ticket) as lease:
    Path("made").mkdir(exist_ok=True)
if len(sys.argv) > 2:
    whence.fail(ticket, sys.argv[2])
else:
    done = whence.complete(ticket, {"model": [1, 2]}, metrics={"loss": 0.5})
    show({"outcome": done.outcome, "ref": done.outputs["model"].ref})
"""


def test_one_process_opens_a_call_and_another_completes_it(project: Project) -> None:
    project.write(OPENER, "opener.py")
    project.write(WORKER, "worker.py")

    def opened(rate: str, attempt: str) -> Any:
        return project.end(project.start(rate, attempt, script="opener.py"))

    def worked(ticket: Any, *error: str) -> Any:
        return project.end(project.start(json.dumps(ticket), *error, script="worker.py"))

    first = opened("0.5", "1")
    assert first["reason"] == "no entry"
    assert opened("0.5", "1")["waits"] == first["ticket"]["owner"], (
        "a process that has gone may have handed it on"
    )
    assert "ticket" in opened("0.7", "1"), "another input is another key"
    assert worked(first["ticket"]) == {"outcome": "entered", "ref": "file:train.model@1"}
    assert opened("0.5", "2") == {"reused": [1, 2], "origin": first["ticket"]["run"]}

    run = project.client.catalog.run(first["ticket"]["run"]).run
    assert (run.state, run.reason, run.metrics) == (RunState.COMPLETE, "no entry", {"loss": 0.5})
    assert run.labels == {"system": "airflow", "airflow.try_number": "1"}
    assert project.client.catalog.check().problems == ()


def test_a_call_that_failed_elsewhere_frees_its_key_and_a_retry_is_a_new_owner(project: Project) -> None:
    project.write(OPENER, "opener.py")
    project.write(WORKER, "worker.py")
    first = project.end(project.start("0.5", "1", script="opener.py"))["ticket"]
    project.end(project.start(json.dumps(first), "out of memory", script="worker.py"))
    again = project.end(project.start("0.5", "2", script="opener.py"))["ticket"]
    assert again["owner"] != first["owner"]
    assert again["token"] > first["token"]
    run = project.client.catalog.run(first["run"]).run
    assert (run.state, run.error) == (RunState.FAILED, "out of memory")


def call(**fields: Any) -> whence.Call:
    return whence.Call(**{"job": "train", "inputs": {"rate": 0.5}, "code": "v1", **fields})


def executed(answer: object) -> whence.Execute:
    assert isinstance(answer, whence.Execute), answer
    return answer


def test_a_run_is_ended_once_and_a_ticket_is_what_was_given(client: Client) -> None:
    opened = executed(whence.open(call()))
    whence.complete(opened.ticket.plain)
    with pytest.raises(Conflict, match="already complete"):
        whence.complete(opened.ticket)
    for wrong in ({}, {**opened.ticket.plain, "run": "x"}, {**opened.ticket.plain, "token": "1"}):
        with pytest.raises(InvalidInput, match="not a ticket"):
            whence.complete(wrong)


def test_a_stale_ticket_is_recorded_and_enters_nothing(client: Client) -> None:
    first = executed(whence.open(call()))
    client.catalog.beat([first.ticket.uid], -client.beater.lease)
    assert whence.beat([first]) == {first.run}
    second = executed(whence.open(call(retry_of=first.ticket.uid)))
    assert whence.complete(first, {"model": 1}).outcome == "refused: lease lost"
    assert whence.complete(second, {"model": 2}).outcome == "entered"
    assert client.catalog.run(second.run).run.retry_of == first.ticket.uid


def test_neither_the_system_nor_its_names_nor_what_steers_the_look_up_is_in_the_key(client: Client) -> None:
    whence.complete(executed(whence.open(call())))
    for same in (
        {"system": "prefect", "native": {"flow_run": "7"}, "labels": {"team": "a"}},
        {"max_age": 3600, "max_wait": 1, "on_max_wait": "fail"},
        {"parent": client.catalog.runs()[0].uid},
    ):
        assert isinstance(whence.open(call(**same)), whence.Reuse), same
    for other in ({"inputs": {"rate": 0.6}}, {"inputs": {"speed": 0.5}}, {"code": "v2"}, {"job": "fit"}):
        whence.fail(executed(whence.open(call(**other))), "not this one")


def test_unknown_code_is_recorded_and_never_reused(client: Client) -> None:
    for _ in range(2):
        opened = executed(whence.open(call(code=None)))
        assert (opened.reason, opened.token) == ("uncacheable", None)
        assert opened.details == ("its code is not known",)
        assert whence.complete(opened, {"model": 1}).outcome == "none"
        run = client.catalog.run(opened.run).run
        assert (run.mode, run.key, run.reason) == (Mode.RECORD, None, "uncacheable")


def test_a_step_and_a_call_that_say_the_same_have_one_key(client: Client) -> None:
    def double(n: int) -> int:
        return 2 * n

    assert whence.step(double)(4) == 8
    (made,) = client.catalog.runs()
    opened = whence.open(whence.Call(job=made.job, inputs={"n": 4}, code=double))
    assert isinstance(opened, whence.Reuse)
    assert opened.outputs["return"].load() == 8


@pytest.mark.parametrize("way", ["content", "generation", "md5", "location"])
def test_outputs_are_handed_on_by_reference_as_far_as_their_identity_goes(client: Client, way: str) -> None:
    said: dict[str, Any] = {
        "content": {"digest": digest_of_bytes(b"net").text},
        "generation": {"identity": ("generation", "17")},
        "md5": {"identity": ("md5", "33a6")},
        "location": {},
    }[way]
    made = {"model": whence.located("model", "net", "gs://bucket/net", **said)}
    outcomes = []
    for trust in (None, "the bucket keeps its generations"):
        opened = executed(whence.open(call(inputs={"rate": 0.5, "trusted": bool(trust)})))
        outcomes.append(whence.complete(opened, made, trust=trust).outcome.partition(":")[0])
    assert (
        outcomes
        == {
            "content": ["entered", "entered"],
            "generation": ["refused", "entered"],
            "md5": ["refused", "entered"],
            "location": ["refused", "refused"],
        }[way]
    )
    answer = whence.open(call(inputs={"rate": 0.5, "trusted": True}))
    if way == "location":
        assert isinstance(answer, whence.Execute)
        return
    assert isinstance(answer, whence.Verify)
    assert answer.locations == ("gs://bucket/net",)
    assert isinstance(whence.open(answer.call, seen={"gs://elsewhere": True}), whence.Verify)
    reused = whence.open(answer.call, seen={"gs://bucket/net": True})
    assert isinstance(reused, whence.Reuse)
    assert reused.outputs["model"].output.location == "gs://bucket/net"
    with pytest.raises(NotFound, match="its bytes are at gs://bucket/net"):
        _ = reused.outputs["model"].path
    # What was seen then says nothing of now, and what is gone is made again.
    asked = whence.open(call(inputs={"rate": 0.5, "trusted": True}))
    assert isinstance(asked, whence.Verify)
    gone = executed(whence.open(asked.call, seen={"gs://bucket/net": False}))
    assert gone.reason == "output missing"
    assert client.catalog.run(gone.run).run.reason == "output missing"


def test_an_input_that_is_known_by_less_than_its_content_is_reused_on_trust_alone(client: Client) -> None:
    data = client.publish_draft(whence.located("dataset", "d", "s3://bucket/d", identity=("etag", "33a6")))
    weak = executed(whence.open(call(inputs={"data": data})))
    assert weak.details == (
        "input data is known by its provider identity only; say trust= to reuse all the same",
    )
    trusted = call(inputs={"data": data}, trust="nobody writes there twice")
    whence.complete(executed(whence.open(trusted)))
    (run,) = [run for run in client.catalog.runs() if run.key]
    assert run.warnings == ("input data is known by its provider identity only; taken on trust",)
    assert run.labels == {"trust": "nobody writes there twice"}
    assert isinstance(whence.open(trusted), whence.Reuse)


def test_a_digest_alone_names_what_is_in_the_store(client: Client, tmp_path: Path) -> None:
    client.publish("file:a", b"bytes")
    here = whence.located("file", "b", digest=digest_of_bytes(b"bytes").text)
    done = whence.complete(executed(whence.open(call())), {"b": here})
    assert done.outputs["b"].path.read_bytes() == b"bytes"
    opened = executed(whence.open(call(code="v2")))
    with pytest.raises(NotFound, match="is not in the store"):
        whence.complete(opened, {"b": whence.located("file", "b", digest=digest_of_bytes(b"other").text)})
    (tmp_path / "net").write_bytes(b"net")
    hashed = whence.complete(opened, {"net": whence.located("model", "net", tmp_path / "net")})
    assert hashed.outputs["net"].digest == digest_of_bytes(b"net").text


def test_many_calls_are_opened_and_ended_together_and_one_that_is_wrong_stops_no_other(
    client: Client,
) -> None:
    calls = [call(inputs={"rate": n}) for n in (1, 2, 3)]
    wrong = call(inputs={"held": {whence.dataset("d", [1])}})
    *opened, refused = whence.open_all([*calls, wrong])
    assert isinstance(refused, InvalidInput)
    ended = whence.complete_all(
        [
            *(
                whence.Completion(opened=executed(each), outputs={"n": n})
                for n, each in enumerate(opened[:2])
            ),
            whence.Completion(opened=executed(opened[2]), error="no"),
            whence.Completion(opened={}),
        ]
    )
    assert [getattr(each, "outcome", type(each).__name__) for each in ended] == [
        "entered",
        "entered",
        "none",
        "InvalidInput",
    ]
    again = whence.open_all(calls)
    assert [type(each).__name__ for each in again] == ["Reuse", "Reuse", "Execute"]


def test_who_waited_for_as_long_as_it_may_executes_or_fails_as_it_asked(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    holder = executed(whence.open(call()))
    with caplog.at_level(logging.INFO, "whence"):
        waits = whence.open(call())
        assert isinstance(waits, whence.Wait)
        assert isinstance(whence.open(waits.call), whence.Wait)
    assert waits.holder == holder.ticket.owner
    assert waits.since < waits.until
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        f"train waits for {holder.ticket.owner}"
    ], "said once"
    with pytest.raises(Conflict, match="train waited 0 s for ") as refused:
        whence.open(call(max_wait=0, on_max_wait="fail"))
    assert refused.value.kind is ErrorKind.STILL_COMPUTED
    beside = executed(whence.open(call(max_wait=0)))
    assert (beside.reason, beside.token) == ("waited", None)
    assert client.catalog.run(beside.run).run.reason == "waited"
    # Who is granted the key after a wait looks up once more.
    whence.complete(holder)
    assert isinstance(whence.open(waits.call), whence.Reuse)


def test_a_file_that_changed_between_opening_and_completing_is_a_warning_and_not_reused(
    client: Client, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    asked = call(files=["config.json"], root=tmp_path)
    opened = executed(whence.open(asked))
    (tmp_path / "config.json").write_text("{ }")
    assert whence.complete(opened).outcome.startswith("refused: config.json (config.json) was changed")


def test_code_may_be_an_image_or_a_bundle_by_its_digest(client: Client) -> None:
    pinned, bundle = "registry/train@sha256:" + "a" * 64, "sha256:" + "b" * 64
    for code in (whence.Image(pinned), whence.Bundle(bundle), bundle, pinned):
        whence.complete(executed(whence.open(call(code=code))))
        assert isinstance(whence.open(call(code=code)), whence.Reuse)
    tagged = executed(whence.open(call(code=whence.Image("registry/train:3"))))
    assert tagged.reason == "uncacheable"
    whence.complete(
        executed(whence.open(call(code=whence.Image("registry/train:3"), trust="it never moves")))
    )
    assert isinstance(
        whence.open(call(code=whence.Image("registry/train:3"), trust="so they say")), whence.Reuse
    )
    # A Bundle that is not in the store is named by the key alone, not as source that could be restored.
    assert {run.capture.bundle for run in client.catalog.runs()} == {None}


def test_two_threads_that_want_the_same_wait_for_each_other(client: Client) -> None:
    first, second = executed(whence.open(call())), whence.open(call())
    with whence.held(first) as lease:
        assert isinstance(second, whence.Wait)
        assert not lease.lease_lost
    whence.complete(first, {"n": 1})
    assert isinstance(whence.open(second.call), whence.Reuse)


def test_a_location_that_the_caller_does_not_name_stays_unknown(client: Client) -> None:
    def opened() -> object:
        return whence.open(whence.Call(job="two", inputs={"n": 1}, code="v"))

    named = digest_of_bytes(b"zz").text
    places = ["gs://bucket/p1", "gs://bucket/p2"]
    whence.complete(
        executed(opened()),
        {
            name: whence.located("file", name, place, digest=named)
            for name, place in zip("ab", places, strict=True)
        },
    )
    answer = opened()
    assert isinstance(answer, whence.Verify)
    assert answer.locations == tuple(places)
    half = whence.open(answer.call, seen={places[0]: True})
    assert isinstance(half, whence.Verify)
    assert half.locations == (places[1],)
    assert isinstance(whence.open(half.call, seen={places[1]: True}), whence.Reuse)
    other = opened()
    assert isinstance(other, whence.Verify)
    gone = executed(whence.open(other.call, seen=dict(zip(places, (True, False), strict=True))))
    assert gone.reason == "output missing"

"""What is shown while a plan is carried out: a bar on a terminal, lines elsewhere, events where JSON is asked for."""

import io
import json
import uuid

import pytest
from rich.console import Console

from whence import applying
from whence.cli import carrying, planning
from whence_catalog import plans

_STEP = plans.PlannedRun(
    uuid.UUID(int=1), uuid.UUID(int=1), "default", "pipeline.train", plans.Execute("why")
)


def event(
    what: str, step: int = 1, done: int = 0, seconds: float | None = None, text: str | None = None
) -> applying.Event:
    return applying.Event(what, uuid.UUID(int=step), "pipeline.train", done, 4, seconds=seconds, text=text)


def shown(is_terminal: bool, as_json: bool = False) -> tuple[carrying.Shown, io.StringIO]:
    to = io.StringIO()
    console = Console(file=to, force_terminal=is_terminal, width=90, color_system=None)
    return carrying.Shown(as_json, console), to


def told(one: carrying.Shown) -> None:
    with one.bar():
        one.heard(event("started"))
        one.said(_STEP, "executing")
        one.say("stopping")
        one.heard(event("started", 2))
        one.heard(event("executed", done=1, seconds=2.0))
        one.heard(event("failed", 2, done=2, text="ValueError: [too] much"))


def test_where_there_is_no_terminal_there_is_a_line_for_all_that_happens() -> None:
    one, to = shown(is_terminal=False)
    told(one)
    assert to.getvalue().splitlines() == [
        "0/4 started pipeline.train",
        "· pipeline.train: executing",
        "· stopping",
        "0/4 started pipeline.train",
        "1/4 executed pipeline.train in 2.0 s",
        "2/4 failed pipeline.train: ValueError: [too] much",
    ]


def test_on_a_terminal_a_bar_says_how_far_it_is_and_what_runs() -> None:
    one, to = shown(is_terminal=True)
    told(one)
    drawn = to.getvalue()
    assert "0/4 " in drawn
    assert "pipeline.train: executing" in drawn
    assert "pipeline.train ×2" in drawn
    assert "2/4 ━" in drawn
    assert "1/4 executed pipeline.train in 2.0 s\n" in drawn
    # What runs is told by the bar alone, which goes when all is done.
    assert "started" not in drawn
    assert drawn.rstrip("\n").endswith("\x1b[2K")


def test_with_json_there_are_events_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    one, to = shown(is_terminal=True, as_json=True)
    told(one)
    assert to.getvalue() == ""
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["what"] for each in events] == ["started", "said", "started", "executed", "failed"]


def test_who_looks_no_more_stops_nothing() -> None:
    one, to = shown(is_terminal=False)
    to.close()
    told(one)


def test_a_plan_can_be_read_and_drawn_whatever_its_jobs_are_called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ["`md`", 'a "[red]job" <b>#35;', "a.very.long.name." * 9]
    ids = [uuid.UUID(int=number << 64) for number in range(1, 4)]
    steps = tuple(
        plans.PlannedRun(run, run, "default", name, plans.Execute("params/rate changed; no result is known"))
        for run, name in zip(ids, names, strict=True)
    )
    request = plans.PlanRequest(uuid.UUID(int=9), ("model:m",))
    plan = plans.RerunPlan(uuid.UUID(int=9), 7, request, (), steps)
    planning.show(plan, every=False, out=None)
    said = capsys.readouterr().out
    # What stands in a column is there, on as many lines as it takes.
    assert " why " in said.splitlines()[0]
    assert '"[red]job"' in said
    assert all(str(run)[:18] in said for run in ids)
    assert said.count("params/rate") == 3
    drawn = list(planning.drawn(plan))
    assert drawn[1] == '  r1["#96;md#96;<br/>execute"]:::execute'
    assert drawn[2] == '  r2["a #34;#91;red#93;job#34; #60;b#62;#35;35#59;<br/>execute"]:::execute'

"""What is shown while a plan is carried out: a bar on a terminal, lines elsewhere, events where JSON is asked for."""

import io
import json
import uuid

import pytest
from rich.console import Console

from whence import applying
from whence.cli import carrying
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

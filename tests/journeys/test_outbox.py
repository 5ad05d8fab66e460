"""The catalog does not answer; what was made is not lost, nor recorded twice, nor reused wrongly."""

import contextlib
import dataclasses
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import servers, simulator
from tests.conftest import Project
from tests.simulator import World
from whence import delivery, outbox
from whence_catalog import cache, lineage, model
from whence_catalog.model import Mode, RunState
from whence_catalog.sql.catalog import SqlCatalog


class Team:
    """A project whose catalog is behind a server, which goes down and comes up again at the same address."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.folder.parent
        self.catalog = project.client.catalog
        self.port = 0
        self.up()
        self.environment = {
            "WHENCE_URL": self.url,
            "WHENCE_TIMEOUT": "1",
            "WHENCE_BLOBS": (self.folder / "blobs").as_uri(),
            "WHENCE_CACHE_DIR": str(self.folder / "cache"),
            "WHENCE_OUTBOX": str(self.folder / "outbox"),
        }

    def down(self) -> None:
        self.server.close()

    def up(self) -> None:
        self.server = contextlib.ExitStack()
        self.url = self.server.enter_context(servers.in_thread(self.catalog, port=self.port))
        self.port = int(self.url.rpartition(":")[2])

    def run(self, *arguments: str, expect: int = 0, **variables: str) -> Any:
        return self.project.run(*arguments, expect=expect, **{**self.environment, **variables})

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        return self.project.start(*arguments, **{**self.environment, **variables})

    def command(self, *arguments: str, expect: int = 0, **variables: str) -> Any:
        """What a command of whence prints."""
        ran = subprocess.run(
            [sys.executable, "-m", "whence", *arguments],
            env={**os.environ, **self.environment, **variables},
            cwd=self.project.folder,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == expect, ran.stdout + ran.stderr
        return json.loads(ran.stdout) if "--json" in arguments or "show" in arguments else ran.stdout

    @property
    def kept(self) -> list[str]:
        """The verbs of what waits to be delivered, in order."""
        files = sorted((self.folder / "outbox").glob("*/*.json"), key=lambda path: path.name)
        return [path.name.split(".")[1] for path in files]

    def runs(self) -> dict[str, list[model.Run]]:
        """The Runs that are recorded, by the last part of their job, oldest first."""
        found: dict[str, list[model.Run]] = {}
        for run in reversed(self.project.client.catalog.runs(limit=1000)):
            found.setdefault(run.job.rpartition(".")[2], []).append(run)
        return found

    def sound(self) -> None:
        assert self.project.client.catalog.check().problems == ()


@pytest.fixture
def team(project: Project) -> Iterator[Team]:
    made = Team(project)
    yield made
    made.down()


PIPELINE = """
    @whence.step(version="1")
    def prepare(n: int):
        mark("prepare")
        return whence.dataset("numbers", b"1 2 3" * n)

    @whence.step(version="1")
    def train(numbers):
        mark("train")
        return whence.model("sum", numbers.path.read_bytes()[::-1])

    @whence.step(version="1")
    def judge(model, numbers):
        mark("judge")
        return whence.metrics("score", {"size": float(len(model.path.read_bytes()))})

    def all_three(n=2):
        numbers = prepare(n)
        model = train(numbers)
        return [numbers.ref, model.ref, judge(model, numbers).ref]
"""
ALL_THREE = PIPELINE + "\n    show(all_three())\n"
STEPS = ["prepare", "train", "judge"]


def until(said: Callable[[], bool]) -> None:
    """Wait until it is so."""
    give_up_at = time.monotonic() + 60
    while not said():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def test_a_pipeline_runs_while_the_server_is_down_and_is_recorded_once_it_is_up(team: Team) -> None:
    team.project.write(ALL_THREE)
    team.down()
    refs = team.run()
    assert [ref.partition("@")[2][:7] for ref in refs] == ["sha256:"] * 3
    assert team.kept == ["reserve", "finish_runs"] * 3
    team.up()
    assert team.command("outbox", "flush", "--json") == {"collected": 6, "delivered": 6, "left": []}
    assert team.kept == []
    recorded = team.runs()
    assert {job: [run.state for run in runs] for job, runs in recorded.items()} == {
        job: [RunState.COMPLETE] for job in STEPS
    }
    catalog = team.project.client.catalog
    judged = catalog.run(str(recorded["judge"][0].uid))
    assert {taken.role: taken.producer for taken in judged.inputs} == {
        "model": recorded["train"][0].uid,
        "numbers": recorded["prepare"][0].uid,
    }
    graph = catalog.lineage([refs[2]], lineage.Direction.UP, lineage.Bounds())
    assert [node.type for node in graph.nodes].count(lineage.NodeType.VERSION) == 3
    team.sound()


def test_what_was_made_while_nobody_answered_is_never_reused(team: Team) -> None:
    team.project.write(ALL_THREE)
    team.down()
    team.run()
    team.up()
    team.command("outbox", "flush")
    team.project.executed()
    team.run()
    assert team.project.executed() == STEPS
    team.run()
    assert team.project.executed() == []


def test_a_process_that_lives_on_delivers_by_itself(team: Team) -> None:
    team.project.write(
        PIPELINE
        + """
    refs = all_three()
    mark("waiting")
    while not Path("up").exists(): time.sleep(0.05)
    # What was kept is delivered before something is asked.
    while True:
        try: found = whence.get(refs[1]); break
        except whence.Unreachable: time.sleep(0.05)
    show([found.ref, found.number])
    """
    )
    team.down()
    process = team.start()
    team.project.wait_for_mark(process, "waiting")
    team.up()
    (team.project.folder / "up").touch()
    assert team.project.end(process) == ["model:sum@1", 1]
    assert team.kept == []
    assert sorted(team.runs()) == sorted(STEPS)
    team.sound()


def test_killed_between_keeping_and_delivering_loses_nothing_and_the_next_process_delivers(
    team: Team,
) -> None:
    team.project.write(
        PIPELINE
        + """
    if sys.argv[1] == "die":
        numbers = prepare(2)
        with whence.run("note", params={"a": 1}) as run:
            run.log(loss=0.5)
            run.flush()
            os.kill(os.getpid(), 9)
    whence.current()
    until = time.monotonic() + 60
    while any(Path(os.environ["WHENCE_OUTBOX"]).glob("*/*.json")) and time.monotonic() < until: time.sleep(0.05)
    """
    )
    team.down()
    team.run("die", expect=-signal.SIGKILL)
    assert team.kept == ["reserve", "finish_runs", "reserve", "log"]
    team.up()
    team.run("live")
    assert team.kept == []
    recorded = team.runs()
    assert recorded["prepare"][0].state is RunState.COMPLETE
    assert recorded["note"][0].state is RunState.RUNNING
    assert team.project.client.catalog.series(recorded["note"][0].uid) == {"loss": ((0, 0.5),)}
    team.project.let_a_minute_pass()
    assert team.project.client.catalog.sweep() == [recorded["note"][0].uid]
    team.sound()


def test_a_block_with_steps_in_it_is_recorded_in_the_order_it_was_said(team: Team) -> None:
    team.project.write(
        PIPELINE
        + """
    with whence.run("whole", params={"n": 2}) as run:
        run.log(loss=0.5)
        numbers = run.use(prepare(2))
        run.log(loss=0.25)
        summed = run.publish("model:summed", b"9", derived_from=[numbers])
        train(summed)
    show([run.id, summed.ref])
    """
    )
    team.down()
    run, summed = team.run()
    team.up()
    assert team.command("outbox", "flush", "--json")["left"] == []
    catalog = team.project.client.catalog
    whole = catalog.run(run)
    assert whole.run.state is RunState.COMPLETE
    assert catalog.series(whole.run.uid) == {"loss": ((0, 0.5), (1, 0.25))}
    assert {child.parent for job in ("prepare", "train") for child in team.runs()[job]} == {whole.run.uid}
    (made,) = whole.outputs
    assert summed == f"model:summed@{made.version.digest}"
    assert made.derived_from is not None
    assert made.derived_from[0].producer == team.runs()["prepare"][0].uid
    team.sound()


REFUSED = """
    from whence import calls, handles
    from whence_catalog import model

    client = whence.current()
    with whence.run("before"): pass
    call = model.Call(calls.new_uid(), "default", "bad", client.actor)
    client.writer.reserve(call)
    content = model.Content(client.blobs.put_bytes(b"x"))
    claim = model.OutputClaim("x", model.Artifact("default", "file", "x"), content)
    # Nobody but the catalog refuses it: two outputs in one role.
    said = model.Report(calls.new_uid(), call.run, model.RunState.COMPLETE, client.actor, outputs=(claim, claim))
    made, _ = client.writer.finish(said)
    train(handles.bound(made, client))
    with whence.run("after"): pass
"""


def test_what_is_refused_is_set_aside_and_blocks_only_what_depends_on_it(team: Team) -> None:
    team.project.write(PIPELINE + REFUSED)
    team.down()
    team.run()
    team.up()
    done = team.command("outbox", "flush", "--json", expect=2)
    assert done["delivered"] == 4
    assert sorted(team.runs()) == ["after", "before"]
    shown = [(row["verb"], row["state"]) for row in team.command("outbox", "ls", "--json")["records"]]
    assert shown == [
        ("reserve", "refused"),
        ("finish_runs", "refused"),
        ("reserve", "waiting"),
        ("finish_runs", "waiting"),
    ]
    (refused,) = {row["run"] for row in done["left"] if row["state"] == "refused"}
    pages = team.command("outbox", "show", refused)
    assert [page["error"]["type"] for page in pages] == ["InvalidInput", "InvalidInput"]
    assert pages[0]["call"]["calls"][0]["job"] == "bad"
    # Refused again, if asked again; and nothing is lost by that.
    assert len(team.command("outbox", "flush", "--again", "--json", expect=2)["left"]) == 4
    # What it waits for may lie in another outbox; after a day it is refused for good.
    for path in [
        *(team.folder / "outbox").glob("*/*.json"),
        *(team.folder / "blobs").glob("outbox/*/*.json"),
    ]:
        at, rest = path.name[:17], path.name[17:]
        path.rename(path.with_name(f"{int(at) - 25 * 3600 * 10**6:017d}{rest}"))
    left = team.command("outbox", "flush", "--json", expect=2)["left"]
    assert [row["state"] for row in left] == ["refused"] * 4
    team.sound()


def test_a_record_that_a_disk_tore_is_set_aside_and_the_rest_is_delivered(team: Team) -> None:
    team.project.write(ALL_THREE)
    team.down()
    team.run()
    _, _, _, torn, _, _ = sorted((team.folder / "outbox").glob("*/*.json"), key=lambda path: path.name)
    torn.write_bytes(torn.read_bytes()[:-7])
    (torn.parent / ".0123456789abcdef").write_bytes(b"half of a rec")
    team.up()
    done = team.command("outbox", "flush", "--json", expect=2)
    by_state = {(row["verb"], row["state"]) for row in done["left"]}
    assert ("finish_runs", "refused") in by_state
    assert "torn" in next(row["why"] for row in done["left"] if row["state"] == "refused")
    assert team.runs()["prepare"][0].state is RunState.COMPLETE
    # The step that was to take what train made cannot say so.
    assert "judge" not in team.runs()
    team.sound()


def test_two_processes_that_flush_at_once_deliver_each_thing_once(team: Team) -> None:
    team.project.write(PIPELINE + "\n    show([prepare(n).ref for n in range(1, 31)])\n")
    team.down()
    team.run()
    assert len(team.kept) == 60
    team.up()
    environment = {**os.environ, **team.environment}
    command = [sys.executable, "-m", "whence", "outbox", "flush", "--json"]
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=team.project.folder)
        for _ in range(2)
    ]
    said = [json.loads(process.communicate()[0]) for process in both]
    assert sum(done["delivered"] for done in said) == 60
    assert [done["left"] for done in said] == [[], []]
    assert len(team.runs()["prepare"]) == 30
    team.sound()


def test_what_is_left_when_a_process_ends_is_copied_to_the_blob_store_and_collected_anywhere(
    team: Team,
) -> None:
    team.project.write(ALL_THREE)
    team.down()
    team.run()
    copies = sorted((team.folder / "blobs" / "outbox").rglob("*.json"))
    assert len(copies) == 6
    elsewhere = {"WHENCE_OUTBOX": str(team.folder / "another machine")}
    listed = team.command("outbox", "ls", "--json", **elsewhere)["records"]
    assert listed == []
    team.up()
    done = team.command("outbox", "flush", "--json", **elsewhere)
    assert done == {"collected": 6, "delivered": 6, "left": []}
    assert [path for path in (team.folder / "blobs" / "outbox").rglob("*") if path.is_file()] == []
    # The first machine lives after all: what it delivers again is there already.
    assert team.command("outbox", "flush", "--json")["delivered"] == 6
    assert {job: len(runs) for job, runs in team.runs().items()} == dict.fromkeys(STEPS, 1)
    team.sound()


def test_a_handle_goes_to_another_process_and_machine_before_its_run_is_recorded(team: Team) -> None:
    team.project.write(
        PIPELINE
        + """
    import pickle
    if sys.argv[1] == "make":
        Path("handle").write_bytes(pickle.dumps(prepare(2)))
    else:
        numbers = pickle.loads(Path("handle").read_bytes())
        show(train(numbers).ref)
    """
    )
    team.down()
    team.run("make")
    team.up()
    # The server is up, but what this takes lies on a machine that is gone, and in the Blob store.
    elsewhere = {"WHENCE_OUTBOX": str(team.folder / "another machine")}
    (kept,) = (team.folder / "outbox").iterdir()
    for path in kept.glob("*.json"):
        path.unlink()
    assert team.run("take", **elsewhere).startswith("model:sum@sha256:")
    assert team.runs() == {}
    assert team.command("outbox", "flush", "--json", **elsewhere)["left"] == []
    (trained,) = team.runs()["train"]
    (taken,) = team.project.client.catalog.run(str(trained.uid)).inputs
    assert taken.producer == team.runs()["prepare"][0].uid
    team.sound()


def test_a_finish_that_comes_late_is_published_while_its_lease_lasts_and_never_after(team: Team) -> None:
    team.project.write(
        PIPELINE
        + """
    @whence.step(version="1")
    def slow(n: int):
        mark("begun")
        while not Path("go").exists(): time.sleep(0.02)
        return n

    slow(int(sys.argv[1]))
    """
    )
    for number, outcome in (("1", "entered"), ("2", "refused: lease lost")):
        (team.project.folder / "go").unlink(missing_ok=True)
        process = team.start(number)
        team.project.wait_for_mark(process, "begun")
        team.down()
        (team.project.folder / "go").touch()
        team.project.end(process)
        assert team.kept == ["finish_runs"]
        if number == "2":
            team.project.let_a_minute_pass()
        team.up()
        assert team.command("outbox", "flush", "--json")["left"] == []
        assert team.runs()["slow"][-1].outcome == outcome
        team.project.executed()
    team.sound()


def test_a_forked_child_keeps_and_delivers_its_own(team: Team) -> None:
    team.project.write(
        PIPELINE
        + """
    numbers = prepare(1)
    ended = [apart(train, numbers), apart(judge, train(numbers), numbers)]
    show(ended)
    """
    )
    team.down()
    assert team.run() == [0, 0]
    team.up()
    assert team.command("outbox", "flush", "--json")["left"] == []
    assert {job: len(runs) for job, runs in team.runs().items()} == {"prepare": 1, "train": 2, "judge": 1}
    team.sound()


def test_an_attached_process_adds_to_a_run_that_nobody_recorded_yet(team: Team) -> None:
    team.project.write(
        """
    import subprocess
    if "WHENCE_RUN" in os.environ:
        with whence.attach() as run:
            run.publish("model:part", b"2")
    else:
        with whence.run("whole") as run:
            subprocess.run([sys.executable, __file__], env={**os.environ, **run.env}, check=True)
    """
    )
    team.down()
    team.run()
    team.up()
    assert team.command("outbox", "flush", "--json")["left"] == []
    (whole,) = team.runs()["whole"]
    assert [made.version.ref for made in team.project.client.catalog.run(str(whole.uid)).outputs] == [
        "model:part@1"
    ]
    team.sound()


def test_what_only_the_catalog_knows_is_unreachable_and_what_is_at_hand_is_not(team: Team) -> None:
    team.project.write(
        PIPELINE
        + """
    numbers = prepare(2)
    try: whence.get("dataset:numbers@prod")
    except whence.Unreachable as error: asked = str(error)
    try: whence.alias(numbers.ref, "prod")
    except whence.Unreachable as error: moved = str(error)
    show([asked, moved, numbers.load().read_bytes().decode() if hasattr(numbers.load(), "read_bytes") else str(numbers.load())])
    """
    )
    team.down()
    asked, moved, value = team.run()
    assert "does not answer" in asked
    assert "does not answer" in moved
    assert "1 2 3" in value


def test_without_a_folder_to_keep_it_in_the_error_names_the_setting(team: Team) -> None:
    team.project.write(ALL_THREE)
    team.down()
    (team.folder / "a file").touch()
    process = team.start(WHENCE_OUTBOX=str(team.folder / "a file"))
    _, err = process.communicate()
    assert process.returncode == 1
    assert "WHENCE_OUTBOX" in err


def test_an_embedded_catalog_that_somebody_holds_is_told_later(project: Project) -> None:
    project.write(ALL_THREE)
    assert project.client.catalog.runs() == []
    with open(project.url / "catalog.db.lock", "r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        project.run(WHENCE_TIMEOUT="0.1")
    assert [path.name.split(".")[1] for path in sorted((project.url / "outbox").glob("*.json"))] == [
        *["reserve", "finish_runs"] * 3
    ]
    assert project.client.catalog.runs() == []
    project.client.writer.flush()
    assert [run.job.rpartition(".")[2] for run in reversed(project.client.catalog.runs())] == STEPS
    assert project.client.catalog.check().problems == ()


def test_records_are_for_their_owner_alone(team: Team) -> None:
    team.project.write(ALL_THREE)
    team.down()
    team.run()
    (kept,) = (team.folder / "outbox").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in kept.glob("*.json")} == {0o600}


def _marks(team: Team) -> int:
    return len(team.project.marks.read_text().split()) if team.project.marks.exists() else 0


def test_killed_at_any_moment_everything_that_was_acknowledged_is_recorded_once(team: Team) -> None:
    team.project.write(
        PIPELINE + "\n    for n in range(10_000): mark(prepare(n + 1000 * int(sys.argv[1])).run.hex)\n"
    )
    team.down()
    for number in range(4):
        process = team.start(str(number))
        before = _marks(team)
        while _marks(team) < before + 3:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(random.random())
        team.project.kill(process)
    team.up()
    assert team.command("outbox", "flush", "--json")["left"] == []
    acknowledged = [mark for mark in team.project.executed() if mark != "prepare"]
    recorded = team.project.client.catalog.runs(limit=100_000)
    complete = [run.uid.hex for run in recorded if run.state is RunState.COMPLETE]
    assert len(acknowledged) > 4
    assert set(acknowledged) <= set(complete)
    # One for each process may be begun, or ended and not acknowledged.
    assert len(recorded) <= len(acknowledged) + 4
    team.sound()


def test_the_run_that_was_asked_for_first_is_ended_though_whoever_delivered_was_killed_before(
    tmp_path: Path,
) -> None:
    with closing(SqlCatalog.open(tmp_path / "catalog.db")) as opened:
        world = World(opened)
        first = world.call()
        world.begin(first)  # its answer is lost, and the process goes on as another Run
        instead = dataclasses.replace(first, run=simulator.uid(), mode=Mode.RECORD)
        box = outbox.Outbox(tmp_path / "outbox", "here")
        box.keep("reserve", instead, first.run)
        opened.reserve([instead])  # and was killed as it had delivered this much
        assert delivery.deliver(box, opened).delivered == 1
        assert opened.run(str(first.run)).run.state is RunState.ABORTED
        assert isinstance(world.ask(world.call()), cache.Execute), "nobody waits for a lease that nobody uses"


SPLIT = """
    if sys.argv[1] == "open":
        answer = whence.open(whence.Call(job="train", inputs={"rate": 0.5}, code="v1"))
        show(answer.ticket.plain)
    else:
        done = whence.complete(json.loads(sys.argv[1]), {"model": [1]})
        show({"outcome": done.outcome, "ref": done.outputs["model"].ref})
"""


@pytest.mark.parametrize("elsewhere", [False, True], ids=["on one machine", "on another machine"])
def test_what_was_opened_while_nobody_answered_is_completed_by_another_process_and_delivered_later(
    team: Team, elsewhere: bool
) -> None:
    team.project.write(SPLIT)
    team.down()
    opener = team.start("open")
    out, said = opener.communicate(timeout=60)
    ticket = json.loads(out)
    assert (ticket["reason"], ticket["token"]) == ("unreachable", None)
    assert said.count("This process goes on") == 1, "it warns once"
    # The other one finds the catalog up again; what the first one said may not have come there yet.
    variables = {"WHENCE_OUTBOX": str(team.folder / "another outbox")} if elsewhere else {}
    if elsewhere:
        team.up()
    done = team.run(json.dumps(ticket), **variables)
    assert done["outcome"] == ("none: it is not told to the catalog yet" if elsewhere else done["outcome"])
    if not elsewhere:
        team.up()
    team.command("outbox", "flush")
    team.command("outbox", "flush", **variables)
    (run,) = team.runs()["train"]
    assert (str(run.uid), run.state, run.mode) == (ticket["run"], RunState.COMPLETE, Mode.RECORD)
    assert run.reason == "unreachable"
    assert len(team.catalog.run(str(run.uid)).outputs) == 1
    assert team.catalog.check().problems == ()

"""Runs are made again from their record alone: the project is gone, and so is the environment it ran in."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Project
from whence import applying, calls, due, environment, environments, handing, replay
from whence.cli import rerunning
from whence.client import Client
from whence_catalog import audit, cache, model, plans
from whence_catalog.errors import Conflict, ErrorKind
from whence_catalog.likeness import Identical

pytestmark = pytest.mark.usefixtures("no_network_and_an_empty_home")


def ran(project: Project, venv: Path, name: str = "pipeline.py") -> Client:
    """Run the project in its own environment, and delete it; answers the catalog that is left."""
    variables = {"PATH": os.defpath, "HOME": os.environ["HOME"], "WHENCE_URL": str(project.url)}
    command = [str(venv / "bin" / "python"), name]
    done = subprocess.run(
        command, cwd=project.folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(project.folder)
    return project.client


def of_job(client: Client, job: str) -> model.Run:
    (run,) = [run for run in client.catalog.runs() if run.job == job and run.rerun_of is None]
    return run


TWO_STEPS = """
from steps.numbers import collect, summarise

if __name__ == "__main__":
    summarise(collect(5), unit="m")
"""
STEPS = """
from steps.shared import describe

@whence.step
def collect(count):
    return whence.dataset("numbers", [n * n for n in range(count)])

@whence.step
def summarise(numbers, unit):
    folder = Path("summary")
    folder.mkdir()
    values = numbers.load()
    (folder / "sum.json").write_text(json.dumps(describe(sum(values), unit)))
    (folder / "count.txt").write_text(str(len(values)))
    return {"text": folder, "mean": whence.metrics("mean", {"mean": sum(values) / len(values)})}
"""


def test_a_pipeline_is_made_again_when_project_home_and_environment_are_gone(
    project: Project, venv: Path, tmp_path: Path
) -> None:
    project.write(TWO_STEPS)
    project.write(STEPS, "steps/numbers.py")
    project.write(
        "def describe(total, unit):\n    return {'total': total, 'unit': unit}\n", "steps/shared.py"
    )
    client = ran(project, venv)
    original = of_job(client, "steps.numbers.summarise")
    before = client.catalog.run(str(original.uid)).outputs
    (tmp_path / "elsewhere").mkdir()
    home = Path(os.environ["HOME"])
    in_home = sorted(home.rglob("*"))
    away = venv.rename(venv.with_name("moved-away"))
    try:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "whence"), "rerun", str(original.uid), "--json"],
            cwd=tmp_path / "elsewhere",
            env={
                "HOME": os.environ["HOME"],
                "UV_CACHE_DIR": os.environ["UV_CACHE_DIR"],
                "UV_OFFLINE": "1",
                "WHENCE_URL": str(project.url),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        away.rename(venv)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {each["role"]: each["after"] for each in said["outputs"]} == {
        output.role: str(output.version.digest) for output in before
    }
    assert all(each["before"] == each["after"] for each in said["outputs"])
    assert len(said["outputs"]) == 2
    again = client.catalog.run(said["run"])
    assert (again.run.state, again.run.rerun_of) == (model.RunState.COMPLETE, original.uid)
    assert [output.version.ref for output in again.outputs] == [output.version.ref for output in before]
    assert client.catalog.check().problems == ()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    # What whence learns of files and environments is kept for the next process; nothing else is left.
    own = home / ".cache" / "whence"
    left = {path for path in home.rglob("*") if not path.is_relative_to(own)}
    assert left == {path for path in in_home if not path.is_relative_to(own)}


EVERY_KIND = """
import asyncio, dataclasses, datetime, decimal, enum, uuid

class Colour(enum.Enum):
    RED = "r"

class Way(enum.Flag):
    UP = 1
    DOWN = 2

@dataclasses.dataclass(frozen=True)
class Config:
    rate: float
    inner: "Config | None" = None

def said(value):
    if isinstance(value, dict):
        return sorted(([said(key), said(item)] for key, item in value.items()), key=str)
    if isinstance(value, (set, frozenset)):
        return ["set", *sorted(map(said, value), key=str)]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(said, value)]
    if isinstance(value, Path):
        return value.name
    return f"{type(value).__name__} {value!r}"

@whence.step
def every(a, /, b, *more, c=-0.0, large=(), **rest):
    assert isinstance(a, Config) and a.inner.rate == 2.0
    return json.dumps(said([a, b, more, c, large, rest]))

@whence.step
def join(parts, named, *, weights):
    return json.dumps([
        [part.load() for part in parts], {key: part.load() for key, part in sorted(named.items()) if key != "n"},
        named["n"], [[inner.load() for inner in pair] for pair in weights], [part.ref for part in parts],
    ])

@whence.step
async def later(seconds):
    await asyncio.sleep(seconds)
    nested = await inside(3)
    return {"slept": seconds, "nested": nested}

@whence.step
async def inside(n):
    return n + 1

@whence.step
def needs_a_file():
    return (Path(__file__).parent / "beside.txt").read_text()

@whence.step
def opens(path):
    return path.read_text()

@whence.step
def lucky(n):
    return os.urandom(n)

@whence.step
def takes(thing):
    return 1

if __name__ == "__main__":
    every(
        Config(1.0, Config(2.0)), [True, 1, 2**70, 0.1, "ä", None, b"\\x00", (1, (2,)), float("nan"), float("inf")],
        Colour.RED, Way.UP | Way.DOWN, Way(0), {1, 2}, {frozenset({1, 2}): {"x"}, (3, frozenset({4})): 5, 1: "one"},
        large=list(range(30000)),
        times=[datetime.datetime(2026, 5, 3, 1, 2, 3, 4, datetime.UTC), datetime.datetime(2026, 5, 3),
               datetime.date(2026, 5, 3), datetime.time(1, 2), datetime.timedelta(microseconds=-1)],
        numbers=[decimal.Decimal("1.10"), uuid.UUID(int=7), 1 + 2j], where=Path("made") / "later",
    )
    one, two, three = (whence.publish(f"dataset:part{n}", [n]) for n in range(3))
    join([two, one, two], {"third": three, "first": one, "n": 7}, weights=[(one, two), [three]])
    asyncio.run(later(0.01))
    Path("beside.txt").write_text("beside")
    needs_a_file()
    opens(Path("beside.txt"))
    lucky(8)
    takes(object())
    with whence.run("block"):
        pass
"""


@pytest.fixture
def every_kind(project: Project, venv: Path) -> Client:
    project.write(EVERY_KIND)
    return ran(project, venv)


def test_every_kind_of_call_is_made_again_or_says_why_not(
    every_kind: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    def again(job: str) -> replay.Rerun:
        original = of_job(every_kind, job)
        return replay.rerun(every_kind, str(original.uid), keep=None, progress=lambda text: None)

    for job in ("pipeline.every", "pipeline.join", "pipeline.later"):
        done = again(job)
        assert isinstance(done.likeness, Identical), (job, done)
        assert every_kind.catalog.run(done.run).run.rerun_of == of_job(every_kind, job).uid
    differs = again("pipeline.lucky")
    assert not differs.identical
    assert [output.role for output in differs.outputs] == ["return"]
    rerunning.show(differs)
    assert "all in all: different" in capsys.readouterr().out

    with pytest.raises(Conflict, match=r"beside\.txt") as failed:
        again("pipeline.needs_a_file")
    assert failed.value.kind is ErrorKind.NOT_RERUNNABLE
    assert "was started again and failed (exit code 1):" in str(failed.value)
    newest = every_kind.catalog.runs(limit=1)[0]
    assert (newest.job, newest.state) == ("pipeline.needs_a_file", model.RunState.FAILED)
    assert newest.rerun_of == of_job(every_kind, "pipeline.needs_a_file").uid
    assert "FileNotFoundError" in str(every_kind.catalog.run(str(newest.uid)).run.error)

    count = len(every_kind.catalog.runs(limit=100))
    for job, why in (
        (
            "pipeline.opens",
            "path is the path of beside.txt, whose bytes were not kept; hand it in as an artifact",
        ),
        ("pipeline.takes", "thing is a builtins.object, which has no stable identity"),
        ("block", "it is a block inside a program, which nothing can call alone"),
        ("whence.publish", None),
    ):
        uid = next(run.uid for run in every_kind.catalog.runs(limit=100) if run.job == job)
        with pytest.raises(Conflict, match="cannot be made again: ") as blocked:
            replay.rerun(every_kind, str(uid), keep=None, progress=lambda text: None)
        assert why is None or why in str(blocked.value)
    assert len(every_kind.catalog.runs(limit=100)) == count, "what is blocked begins nothing"
    assert every_kind.catalog.check().problems == ()


def test_a_reused_run_is_made_again_by_making_its_origin_and_lost_bytes_block_it(
    project: Project, venv: Path, tmp_path: Path
) -> None:
    project.write(
        """
        @whence.step
        def double(data):
            return [2 * n for n in data.load()]
        if __name__ == "__main__":
            data = whence.publish("dataset:d", [1, 2])
            double(data)
            double(data)
        """
    )
    client = ran(project, venv)
    reused, origin = (run for run in client.catalog.runs() if run.job == "pipeline.double")
    assert reused.origin == origin.uid
    done = replay.rerun(client, str(reused.uid), keep=tmp_path / "kept", progress=lambda text: None)
    assert (done.original, done.identical) == (str(origin.uid), True)
    assert (tmp_path / "kept" / "source" / "pipeline.py").exists()

    shutil.rmtree(project.url / "blobs")
    shutil.rmtree(project.url / "cache", ignore_errors=True)
    with pytest.raises(Conflict, match=r"cannot be made again: .*missing or altered") as blocked:
        replay.rerun(client, str(origin.uid), keep=None, progress=lambda text: None)
    assert blocked.value.kind is ErrorKind.NOT_RERUNNABLE


def test_a_run_is_made_again_of_other_inputs_and_parameters_and_enters_the_cache_under_the_key_given(
    project: Project, venv: Path
) -> None:
    project.write(
        """
        @whence.step
        def scaled(data, by):
            return [by * n for n in data.load()]
        @whence.step(name="naming")
        def named(data, by):
            return {"plain": b"1", "own": whence.dataset(f"by{by}", b"2"), "same": data}
        if __name__ == "__main__":
            scaled(whence.publish("dataset:d", [1, 2]), 2)
            named(whence.get("dataset:d"), 2)
        """
    )
    client = ran(project, venv)
    original = client.catalog.run(str(of_job(client, "pipeline.scaled").uid))
    other = client.publish("dataset:d", [10]).output
    here = environments.Options("current")

    def keyed(*parts: model.Component) -> handing.Keyed:
        components = (cache.component("job", "pipeline.scaled"), cache.component("salt", "other"), *parts)
        return handing.Keyed(cache.key(components), components)

    done = replay.execute(client, original, {("data", 0): other}, {"by": 3}, keyed=keyed(), options=here)
    again = client.catalog.run(str(done.run.uid))
    assert (again.run.rerun_of, again.run.outcome) == (original.run.uid, "entered")
    assert [taken.version for taken in again.inputs] == [other.version]
    assert again.run.params == {"by": 3}
    (made,) = done.outputs
    assert client.get(made.version.ref).load() == [30]
    assert done.comparison is None
    reused = replay.execute(client, original, {("data", 0): other}, {"by": 3}, keyed=keyed(), options=here)
    assert (reused.reused, reused.outputs) == (True, done.outputs)
    assert original.run.capture.environment is not None
    recorded = environment.decode(client.blobs.read_bytes(original.run.capture.environment))
    another = environment.Distribution("somebody", "1.0")
    told = environment.encode(replace(recorded, distributions=(*recorded.distributions, another)))
    elsewhere = replace(original.run.capture, environment=client.blobs.put_bytes(told))
    for parts, capture, why in (
        ((cache.component("extra", "strict", "reads"),), None, "its reads are strict"),
        ((cache.component("envvar", b"hidden", "envvar/MODE", "set"),), None, "the variable MODE counts"),
        ((cache.component("extra", "a", "extra/a"),), elsewhere, "somebody nothing in place of 1.0"),
    ):
        untrue = replay.execute(
            client,
            original,
            {("data", 0): other},
            {"by": 3},
            capture=capture,
            keyed=keyed(*parts),
            options=here,
        )
        outcome = str(client.catalog.run(str(untrue.run.uid)).run.outcome)
        assert outcome.startswith("refused"), outcome
        assert why in outcome, outcome

    naming = client.catalog.run(str(of_job(client, "naming").uid))
    named = replay.execute(client, naming, {("data", 0): other}, {"by": 3}, options=here).outputs
    assert {each.role: str(each.version.artifact) for each in named} == {
        "return.plain": "file:naming.plain",
        "return.own": "dataset:by3",
        "return.same": "dataset:d",
    }, "as an ordinary call would name them"
    assert next(each for each in named if each.role == "return.same").version == other.version

    # What was made of something else says nothing of the original.
    report = client.audit(original.outputs[0].version.ref, audit.Policy.default())
    assert next(f for f in report.findings if f.id == "remade").verdict is audit.Verdict.UNKNOWN
    assert client.catalog.check().problems == ()


LISTS_READS_AND_COMMANDS = """
from whence import commands, connecting

@whence.step
def part(data: whence.Handle, n: int):
    return whence.dataset(f"part{n}", data.path.read_bytes() + str(n).encode())

@whence.step
def joined(parts: list):
    return whence.dataset("joined", b"+".join(part.path.read_bytes() for part in parts))

@whence.step(tracked=["options"])
def begun(data: whence.Handle, options: dict):
    return whence.report("begun", data.path.read_bytes()[:options["first"]])

if __name__ == "__main__":
    data = whence.publish("dataset:x", sys.argv[1].encode())
    both = joined([part(data, 1), part(data, 2)])
    begun(both, {"first": 3, "unread": 0})
    argv = ("python", "double.py", "{it}", "{twice}")
    twice = commands.Command(argv=argv, inputs={"it": both.ref}, outputs={"twice": "out/twice"}, job="double")
    show(commands.run(connecting.current(), twice, print).state)
"""


def test_lists_what_was_read_and_commands_are_made_again_by_a_plan_in_the_recorded_environment(
    project: Project, venv: Path
) -> None:
    """And what is made there under its key is what an ordinary call, in that environment, finds."""
    project.write(LISTS_READS_AND_COMMANDS)
    project.write("open(sys.argv[2], 'w').write(open(sys.argv[1]).read() * 2)", "double.py")
    variables = {"PATH": f"{venv / 'bin'}{os.pathsep}{os.defpath}", "HOME": os.environ["HOME"]}

    def ordinary(word: str) -> dict[str, model.RunState]:
        command = [str(venv / "bin" / "python"), "pipeline.py", word]
        done = subprocess.run(
            command,
            cwd=project.folder,
            env={**variables, "WHENCE_URL": str(project.url)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return {run.job.rpartition(".")[2]: run.state for run in project.client.catalog.runs(limit=6)}

    ordinary("old")
    client = project.client
    other = client.publish("dataset:y", b"new").output
    (twice,) = client.catalog.runs(job="double")
    (begun,) = client.catalog.runs(job="pipeline.begun")
    request = plans.PlanRequest(
        calls.new_uid(),
        (str(twice.uid), str(begun.uid)),
        inputs={"dataset:x": plans.Replacement(other.version.artifact, other.version.content, other.run)},
    )
    here = applying.Here(client, 2)
    applied = applying.apply(client, client.catalog.plan(request), here)
    here.close()
    assert [each.end for each in applied.done] == [due.End.EXECUTED] * 5, applied
    made = {each.job: each.outputs for each in applied.done}
    assert client.get(made["pipeline.joined"][0].version.ref).path.read_bytes() == b"new1+new2"
    assert client.get(made["pipeline.begun"][0].version.ref).path.read_bytes() == b"new"
    (output,) = [output for output in made["double"] if output.role == "twice"]
    assert client.get(output.version.ref).path.read_bytes() == b"new1+new2new1+new2"
    assert ordinary("new") == {
        "publish": model.RunState.COMPLETE,
        "part": model.RunState.REUSED,
        "joined": model.RunState.REUSED,
        # What it would read of other data is known to nobody before.
        "begun": model.RunState.COMPLETE,
        "double": model.RunState.REUSED,
    }
    assert client.catalog.check().problems == ()

"""Commands as a plan with `--code now` sees them, beside what `whence exec` makes of them at that moment."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from whence import command_source, commands, connecting, planned
from whence.client import Client
from whence.words import Command
from whence_catalog import model, plans
from whence_catalog.errors import Conflict

_COMMAND = Command(
    argv=("tool", "prep.sh", "data.bin", "{rows}", "{total}", "{factor}"),
    inputs={"rows": "rows.csv"},
    outputs={"total": "out/total.txt"},
    params={"factor": 2},
    job="prep",
    variables=("FLAVOUR",),
)


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work tree, the program `tool` beside it, and this process in it."""
    monkeypatch.setenv("WHENCE_CODE_CACHE", str(tmp_path / "shelf"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FLAVOUR", "sweet")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin/tool"
    tool.write_text('#!/bin/sh\nexec sh "$@"\n')
    tool.chmod(0o755)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/lib.py").write_text("1")
    root = tmp_path / "project"
    root.mkdir()
    files = {
        "prep.sh": 'cat "$2" > "$3"\n',
        "other.sh": "1",
        "rows.csv": "1\n",
        "data.bin": "1",
        ".env": "A=1",
    }
    for path, text in {**files, ".gitignore": "data.bin\n.env\nout/\n"}.items():
        (root / path).write_text(text)
    (root / "link.sh").symlink_to("prep.sh")
    git(root, "init")
    git(root, "add", ".")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def client(here: Path) -> Iterator[Client]:
    opened = connecting.open_client(here.parent / "catalog")
    yield opened
    opened.close()


def executed(client: Client, command: Command = _COMMAND) -> model.Run:
    ended = commands.run(client, command, lambda text: None)
    assert ended.error is None
    return client.catalog.run(ended.run).run


def step_of(client: Client, run: model.Run) -> plans.PlannedRun:
    found = planned.plan(client, [str(run.uid)], code_now=True)
    assert found.complete, found.reasons
    (step,) = (step for step in found.steps if step.run == run.uid)
    return step


def write(path: str, text: str = "another one") -> Callable[[Path], object]:
    return lambda root: (root / path).write_text(text)


def relink(root: Path) -> None:
    (root / "link.sh").unlink()
    (root / "link.sh").symlink_to("other.sh")


_CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda root: None,
    "a file that was touched": lambda root: os.utime(root / "other.sh"),
    "data that no word names": write("more.csv"),
    "a new file": write("new.sh"),
    "a file of the source": write("other.sh"),
    "an executable bit": lambda root: (root / "other.sh").chmod(0o755),
    "where a link leads": relink,
    "a file that is gone": lambda root: (root / "other.sh").unlink(),
    "a secret beside the source": write(".env", "A=2"),
    "the program": write("../bin/tool", '#!/bin/sh\n\nexec sh "$@"\n'),
    "a file that a word names": write("data.bin"),
    "a file that a word names and is gone": lambda root: (root / "data.bin").unlink(),
    "PYTHONPATH": lambda root: os.environ.update(PYTHONPATH=str(root.parent / "lib")),
    "a folder of PYTHONPATH": write("../lib/lib.py"),
    "no PYTHONPATH": lambda root: os.environ.pop("PYTHONPATH"),
    "a variable": lambda root: os.environ.update(FLAVOUR="sour"),
    "a salt": lambda root: os.environ.update(WHENCE_SALT="a grain"),
}


def test_a_plan_has_a_command_executed_exactly_where_exec_would_execute_it(
    here: Path, client: Client
) -> None:
    first = executed(client)
    would, did, keys = {}, {}, {}
    for what, change in _CHANGES.items():
        change(here)
        step = step_of(client, first)
        now = executed(client)
        would[what] = plans.name(step.step)
        did[what] = "reuse" if now.state is model.RunState.REUSED else "execute"
        keys[what] = step.key == now.key
    assert would == did
    assert keys == dict.fromkeys(_CHANGES, True)
    same = ("nothing", "a file that was touched", "data that no word names", "no PYTHONPATH")
    assert [what for what, word in would.items() if word == "reuse"] == list(same)


def test_each_command_of_a_job_stands_for_itself(here: Path, client: Client) -> None:
    asked = {
        path: replace(
            _COMMAND, argv=("../bin/tool", path, *_COMMAND.argv[2:]), code=(path,), sandbox=path == "prep.sh"
        )
        for path in ("prep.sh", "other.sh")
    }
    (here / "other.sh").write_text('cat "$2" "$2" > "$3"\n')
    runs = {path: executed(client, command) for path, command in asked.items()}
    assert {plans.name(step_of(client, run).step) for run in runs.values()} == {"reuse"}
    (here / "other.sh").write_text('cat "$2" "$2" "$2" > "$3"\n')
    (here / "new.sh").write_text("1")
    found = planned.plan(client, [str(run.uid) for run in runs.values()], code_now=True)
    words = {step.run: (plans.name(step.step), step.changed) for step in found.steps}
    assert words[runs["prep.sh"].uid] == ("reuse", ())
    assert words[runs["other.sh"].uid] == ("execute", ("code",))
    assert executed(client, asked["prep.sh"]).state is model.RunState.REUSED


def test_code_as_it_is_now_is_that_of_the_moment_when_it_is_planned_anew(here: Path, client: Client) -> None:
    first = executed(client)
    before = planned.plan(client, [str(first.uid)], code_now=True)
    assert planned.again(client, before).counts["execute"] == 0
    (here / "new.sh").write_text("1")
    assert planned.again(client, before).counts["execute"] == 1


def test_a_command_that_would_have_no_key_now_would_be_executed(
    here: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = executed(client)
    monkeypatch.setattr(command_source, "MOST_FILES", 0)
    monkeypatch.setenv("PYTHONPATH", str(here.parent / "lib"))
    step = step_of(client, first)
    assert isinstance(step.step, plans.Execute)
    assert step.step.why.startswith("code changed; PYTHONPATH: there are more than 0 files of code under")
    assert (step.key, executed(client).key) == (None, None)


def test_what_a_word_hid_is_said_not_to_be_known(here: Path, client: Client) -> None:
    first = executed(client, replace(_COMMAND, argv=(*_COMMAND.argv, "--password", "hunter22")))

    def told() -> tuple[plans.Step, tuple[str, ...]]:
        found = planned.plan(client, [str(first.uid)], code_now=True)
        assert not found.complete
        (step,) = (step.step for step in found.steps if step.run == first.uid)
        return step, found.reasons

    step, reasons = told()
    assert isinstance(step, plans.Reuse)
    assert reasons == (
        "prep: words of it look secret and were not kept: what they name may be other files now",
    )
    (here / "new.sh").write_text("1")
    step, _ = told()
    assert isinstance(step, plans.Blocked)
    assert "a word of it looks secret" in str(step.why)


def test_a_command_of_which_nothing_is_here_is_said_to_be_as_it_was(
    here: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = executed(client)
    (here.parent / "elsewhere").mkdir()
    (here.parent / "elsewhere/pyproject.toml").write_text("")
    monkeypatch.chdir(here.parent / "elsewhere")
    with pytest.raises(Conflict, match="nothing of its source is in "):
        planned.plan(client, [str(first.uid)], code_now=True)
    monkeypatch.chdir(here)
    (here.parent / "bin/tool").unlink()
    with pytest.raises(Conflict, match="with the code that it had, prep: no program tool"):
        planned.plan(client, [str(first.uid)], code_now=True)

"""Steps of scripts, of functions inside functions and of notebooks are made again once what they ran in is gone."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Project
from whence import environments, replay
from whence.cli import printing
from whence.client import Client
from whence_catalog import model
from whence_catalog.errors import Conflict
from whence_catalog.likeness import Identical

# The environment is not the point here.
HERE = environments.Options("current")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def run(project: Project, command: list[str], cwd: Path) -> None:
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**inherited, "WHENCE_URL": str(project.url)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def original(client: Client, job: str) -> model.RunRecord:
    (found,) = [each for each in client.catalog.runs(limit=100) if each.job == job and each.rerun_of is None]
    return client.catalog.run(str(found.uid))


def again(client: Client, job: str) -> replay.Rerun:
    return replay.rerun(
        client, str(original(client, job).run.uid), options=HERE, keep=None, progress=lambda text: None
    )


TRAIN = """
import beside, settings.defaults

LIMIT = int(sys.argv[2])

@whence.step
def fit(values):
    config = Path("config.toml").read_text()
    out = Path("made.txt")
    out.write_text(config)
    return {"sum": sum(values) * SCALE + LIMIT + beside.ONE + settings.defaults.TWO, "argv": sys.argv[1:],
            "config": config, "here": Path.cwd().name, "kept": Path("notes.txt").read_text()}

if __name__ == "__main__":
    SCALE = float(sys.argv[1])
    fit([1, 2, 3])
"""


def test_a_step_of_a_script_finds_its_command_line_its_folder_and_its_neighbours(project: Project) -> None:
    project.write(TRAIN, "jobs/train.py")
    project.write("ONE = 1\n", "jobs/beside.py")
    project.write("TWO = 2\n", "settings/defaults.py")
    (project.folder / "work").mkdir()
    (project.folder / "work/notes.txt").write_text("committed")
    git(project.folder, "init")
    git(project.folder, "add", "work/notes.txt", "pyproject.toml")
    git(project.folder, "commit", "--message", "first")
    # Nothing but code is taken of what is not committed.
    (project.folder / "work/config.toml").write_text("rate = 1\n")
    (project.folder / "work/data.bin").write_bytes(b"\0" * 1000)
    inherited = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(project.folder), inherited]))
    run(project, ["../jobs/train.py", "0.5", "40"], project.folder / "work")
    shutil.rmtree(project.folder)
    client = project.client
    captured = original(client, "jobs.train.fit").run.capture
    assert (captured.source, captured.entry) == (model.Reached.SCRIPT, "jobs.train:fit")
    assert captured.argv == ("../jobs/train.py", "0.5", "40")
    assert (captured.cwd, captured.search) == ("work", ("jobs", "."))
    assert captured.closure == {"SCALE": 0.5}
    assert captured.git["dirty"] == "yes"
    assert any("work/data.bin left out" in note for note in captured.blind_spots)
    done = again(client, "jobs.train.fit")
    assert isinstance(done.likeness, Identical), done


NESTED = """
def make(rate, names):
    def scaled(value):
        return value * rate
    @whence.step(name="nested")
    def fit(values):
        return {name: scaled(value) for name, value in zip(names, values)}
    return fit

def make_with(thing):
    @whence.step(name="opaque")
    def fit():
        return repr(thing)
    return fit

times = whence.step(lambda x: x * 3)

if __name__ == "__main__":
    make(0.25, ["a", "b"])([4, 8])
    make_with(object())()
    times(5)
    with whence.run("block") as run_of_block:
        pass
"""


def test_a_step_made_inside_a_function_is_made_again_from_the_values_around_it(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write(NESTED)
    run(project, ["pipeline.py"], project.folder)
    shutil.rmtree(project.folder)
    client = project.client
    assert original(client, "nested").run.capture.entry == "pipeline:make.<locals>.fit"
    for job in ("nested", "pipeline.<lambda>"):
        assert isinstance(again(client, job).likeness, Identical), job
    why = "thing is a builtins.object, which has no stable identity"
    assert why in str(original(client, "opaque").run.capture.because)
    with pytest.raises(Conflict, match=why):
        again(client, "opaque")

    block = original(client, "block").run.capture
    assert block.source is model.Reached.BLOCK
    assert block.bundle is not None
    assert block.environment is not None
    assert block.argv == ("pipeline.py",)
    printing.show_run(original(client, "block"), {})
    assert "no, because it is a block inside a program" in capsys.readouterr().out
    printing.show_run(original(client, "nested"), {})
    assert re.search(r"^  rerunnable +yes$", capsys.readouterr().out, re.MULTILINE)


def test_a_script_that_would_run_all_again_says_so_when_it_is_recorded(project: Project) -> None:
    project.write("@whence.step\ndef fit(x):\n    return x\n\nfit(1)\n")
    run(project, ["pipeline.py"], project.folder)
    captured = original(project.client, "pipeline.fit").run.capture
    assert not captured.rerunnable
    assert captured.because == (
        "importing pipeline.py would run the whole pipeline again, since it calls fit();"
        ' put that under if __name__ == "__main__":'
    )


CELLS = [
    "import dataclasses, math\nimport whence\nimport lib.tools",
    "rate = 0.5\nTABLE = {'a': 1}\nprint('a cell that prints')",
    "@dataclasses.dataclass\nclass Config:\n    size: int\n\ndef scaled(x):\n    return x",
    "def scaled(x):  # the second one is the one that runs\n    return x * rate + lib.tools.ONE\n",
    "@whence.step(name='fit')\ndef fit(config, values):\n    return [scaled(v) + TABLE['a'] + config.size + math.floor(0.5)"
    " for v in values]\n",
    "rate = 2.0; TABLE['b'] = 2\n!true\nfit(Config(3), [1, 2])",
    "data = fit(Config(4), [1])",
    "@whence.step(name='late')\ndef late():\n    return len(data)\nlate()",
]


def test_a_step_of_a_notebook_is_made_again_from_its_cells(project: Project) -> None:
    import nbclient
    import nbformat

    project.write("ONE = 1\n", "lib/tools.py")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    os.environ["WHENCE_URL"] = str(project.url)
    os.environ["IPYTHONDIR"] = str(project.folder.parent / "ipython")
    nbclient.NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(project.folder)}}, timeout=120
    ).execute()
    shutil.rmtree(project.folder)
    client = project.client
    runs = [each for each in client.catalog.runs(limit=100) if each.job == "fit"]
    for each in runs:
        captured = each.capture
        assert (captured.source, captured.because) == (model.Reached.NOTEBOOK, None)
        assert captured.closure == {"rate": 2.0, "TABLE": {"a": 1, "b": 2}}
        assert captured.bundle is not None
        made = replay.rerun(client, str(each.uid), options=HERE, keep=None, progress=lambda text: None)
        assert isinstance(made.likeness, Identical), made
    assert runs[0].capture.bundle is not None
    client.blobs.copy_tree(runs[0].capture.bundle, project.folder)
    cells = (project.folder / "@notebook/cells.py").read_text()
    assert cells.startswith("# %% [1]\nimport dataclasses, math\n")
    assert "# %% [6]\nrate = 2.0; TABLE['b'] = 2\n!true\n" in cells
    module = (project.folder / "@notebook/module.py").read_text()
    assert "prints" not in module
    assert "true" not in module
    assert module.count("def scaled") == 1
    late = original(client, "late").run.capture
    assert (late.rerunnable, late.closure) == (True, {"data": [8.0]})

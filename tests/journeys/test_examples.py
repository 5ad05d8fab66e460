"""What `examples/` holds: a real project, recorded by its commands, and made again when it is gone."""

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from whence import connecting

_EXAMPLE = Path(__file__).parents[2] / "examples" / "diabetes"
_SCRIPTS = Path(sysconfig.get_path("scripts"))


def test_the_example_is_recorded_reused_and_made_again_to_the_bit_when_it_is_gone(tmp_path: Path) -> None:
    home, project, elsewhere = (tmp_path / name for name in ("home", "diabetes", "elsewhere"))
    home.mkdir()
    elsewhere.mkdir()
    shutil.copytree(_EXAMPLE, project)
    variables = {
        **os.environ,
        "PATH": f"{_SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "WHENCE_URL": str(tmp_path / "catalog"),
    }

    def say(folder: Path, *words: str, expect: int = 0) -> str:
        said = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)
        assert said.returncode == expect, said.stderr
        return said.stdout

    def rerun(run: object, *options: str, expect: int = 0) -> Any:
        words = ("whence", "rerun", str(run), "--env", "current", "--json", *options)
        return json.loads(say(elsewhere, *words, expect=expect))

    git = ("git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.invalid")
    (project / "columns.py").rename(tmp_path / "columns.py")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "first")):
        say(project, *git, *words)
    (tmp_path / "columns.py").rename(project / "columns.py")
    with (project / "train.py").open("a") as file:
        file.write("# tried\n")
    assert say(project, *git, "status", "--short") == " M train.py\n?? columns.py\n"

    heard = say(project, "./run.sh")
    assert say(project, "./run.sh") == heard, "what they said is said again"
    named = ["--in", "rows=rows", "--out", "sample=sample.json", "--out", "counts=counts.json"]
    say(project, "whence", "exec", *named, "--", "python", "sample.py", "{rows}", "{sample}", "{counts}")
    client = connecting.open_client(tmp_path / "catalog")
    try:
        states = {(run.job, run.state.value) for run in client.catalog.runs(limit=100)}
        jobs = ("table", "prepare", "train", "evaluate")
        assert {(job, state) for job in jobs for state in ("complete", "reused")} <= states
        made = {run.job: run for run in client.catalog.runs(limit=100) if run.state.value == "complete"}
    finally:
        client.close()
    assert made["train"].capture.rerunnable, made["train"].capture.because
    assert json.loads((project / "metrics.json").read_text()) == made["evaluate"].metrics

    shutil.rmtree(project)
    for job in ("train", "evaluate"):
        outputs = rerun(made[job].uid)["outputs"]
        assert [output["likeness"]["type"] for output in outputs] == ["identical"], job
    outputs = rerun(made["sample"].uid, "--times", "2", expect=2)["outputs"]
    assert {output["role"]: output["varies"] for output in outputs} == {"sample": True, "counts": False}

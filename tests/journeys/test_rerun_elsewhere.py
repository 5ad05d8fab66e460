"""A model is made again by another person: another user, home and folder; project and environment are gone. 20 s."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import wheels
from whence import connecting, environments, wheel
from whence_catalog import audit, model

NOBODY = 65534

DIABETES = """
import json
from pathlib import Path

import whence
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split


@whence.step
def load():
    data = load_diabetes()
    return whence.dataset("diabetes", json.dumps([data.data.tolist(), data.target.tolist()]).encode())


@whence.step
def train(diabetes, alpha, l1_ratio):
    x, y = json.loads(diabetes.path.read_bytes())
    x, x_test, y, y_test = train_test_split(x, y, random_state=42)
    fitted = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, random_state=42).fit(x, y)
    said = fitted.predict(x_test)
    metrics = {"r2": r2_score(y_test, said), "mae": mean_absolute_error(y_test, said)}
    weights = json.dumps({"coef": fitted.coef_.tolist(), "intercept": fitted.intercept_})
    Path("report.md").write_text(f"r2 {metrics['r2']!r}")
    return {"model": whence.model("diabetes", weights.encode(), metrics=metrics), "report": Path("report.md")}


if __name__ == "__main__":
    train(load(), alpha=0.05, l1_ratio=0.5)
"""


def python_for_all() -> str:
    """An interpreter of this version that any user may start."""
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    base = str(getattr(sys, "_base_executable", sys.executable))
    for candidate in (base, f"/usr/bin/{minor}", f"/usr/local/bin/{minor}"):
        place = Path(candidate).resolve()
        if place.exists() and all(folder.stat().st_mode & 0o001 for folder in place.parents):
            return candidate
    return base


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that any user may go through; a test's own is for its user alone."""
    folder = Path(tempfile.mkdtemp(prefix="whence-elsewhere-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def ran(*command: object, **more: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, **more)  # type: ignore[call-overload, no-any-return]


def test_another_person_makes_a_model_again_to_the_bit_with_nothing_but_the_catalog(
    open_to_all: Path,
) -> None:
    at, uv = open_to_all, open_to_all / "bin" / "uv"
    uv.parent.mkdir()
    shutil.copy2(environments._uv_binary(), uv)
    (at / "wheels").mkdir()
    tools = ["sqlmodel", "alembic", "typer", "rich", "fsspec", "msgspec", "urllib3"]
    wheels.installed(at / "wheels", [*tools, "scikit-learn"])
    whence = wheel.of_whence(at / "wheels")
    without_network = {"UV_FIND_LINKS": str(at / "wheels"), "UV_NO_INDEX": "1", "UV_OFFLINE": "1"}
    base = {
        **without_network,
        "PATH": f"{uv.parent}{os.pathsep}{os.defpath}",
        "WHENCE_URL": str(at / "catalog"),
    }

    def environment(name: str, *packages: str) -> Path:
        variables = {**base, "UV_CACHE_DIR": str(at / "uv-cache")}
        for arguments in (
            ["venv", "--no-project", "--python", python_for_all(), at / name],
            ["pip", "install", "--python", at / name / "bin" / "python", whence, *packages],
        ):
            done = ran(uv, *arguments, env=variables)
            assert done.returncode == 0, done.stderr
        return at / name / "bin" / "python"

    # The first person, who has all of it in a project, a home and an environment.
    theirs = environment("theirs", *tools[:2], "scikit-learn")
    for name in ("project", "home"):
        (at / name).mkdir()
    (at / "project" / "pyproject.toml").touch()
    (at / "project" / "fit.py").write_text(DIABETES)
    done = ran(
        theirs, "fit.py", cwd=at / "project", env={**base, "HOME": str(at / "home"), "PYTHONHASHSEED": "0"}
    )
    assert done.returncode == 0, done.stderr
    client = connecting.open_client(at / "catalog")
    trained = client.get("model:diabetes@latest").output
    before = client.audit("model:diabetes@1", audit.Policy.default())
    client.close()
    for gone in ("project", "home", "theirs", "uv-cache"):
        shutil.rmtree(at / gone)

    # The second one, who has a whence and may read the catalog.
    ours = environment("ours", *tools)
    for name in ("home-2", "elsewhere"):
        (at / name).mkdir()
    mine = {**base, "HOME": str(at / "home-2"), "LANG": "C"}
    as_nobody: dict[str, object] = {}
    if os.geteuid() == 0:
        as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for folder in (at / "catalog", at / "home-2", at / "elsewhere"):
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    def again(*arguments: str) -> dict[str, object]:
        command = [ours, "-m", "whence", "rerun", trained.run, "--json", *arguments]
        done = ran(*command, cwd=at / "elsewhere", env=mine, **as_nobody)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    said = again()
    outputs = said["outputs"]
    assert isinstance(outputs, list)
    assert [output["role"] for output in outputs] == ["return.model", "return.report"]
    assert all(output["before"] == output["after"] for output in outputs)
    assert said["likeness"] == {"type": "identical"}
    assert [list(map(str, (at / "elsewhere").iterdir())), said["original"]] == [[], str(trained.run)]
    kept = [
        path for path in (at / "home-2" / ".cache" / "whence" / "environments").iterdir() if path.is_dir()
    ]
    assert len(kept) == 1
    made_at = kept[0].stat().st_ino
    again("--quiet")
    assert [path.stat().st_ino for path in kept] == [made_at], "the next rerun takes it as it is"

    client = connecting.open_client(at / "catalog")
    rerun = client.catalog.run(str(said["run"]))
    assert rerun.run.rerun_of == trained.run
    (made,) = [output for output in rerun.outputs if output.role == "return.model"]
    assert (made.version, made.metrics) == (trained.version, trained.metrics)
    after = client.audit("model:diabetes@1", audit.Policy.default())
    assert client.catalog.check().problems == ()
    client.close()
    assert after.verdict is before.verdict
    found = {finding.id: finding for finding in after.findings}
    assert found["remade"].verdict is audit.Verdict.PASS
    assert (
        found["remade"]
        .evidence[0]
        .startswith(
            f"made again with identical outputs by run {rerun.run.short} of {rerun.run.actor.name} (not checked) on 20"
        )
    )
    assert {f.id: f.verdict for f in before.findings} | {"remade": audit.Verdict.PASS} == {
        name: finding.verdict for name, finding in found.items()
    }, "a rerun makes no other answer worse"
    assert rerun.run.state is model.RunState.COMPLETE

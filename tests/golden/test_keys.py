"""A call has one key: in every process, on every Python, whatever the hash seed, from one release to the next."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden import keys
from tests.interpreters import interpreters
from whence import described
from whence.client import Client
from whence_catalog import cache

GOLDEN: dict[str, str] = json.loads(keys.FILE.read_text())


def made_by(python: str, folder: Path, **environment: str) -> dict[str, str]:
    done = subprocess.run(
        [python, str(keys.ROOT / "tests/golden/keys.py"), str(keys.ROOT / "sdk"), str(keys.ROOT / "catalog")],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("seed", ["0", "1", "4294967295"])
def test_the_keys_are_the_golden_ones_whatever_the_hash_seed_and_the_folder(
    tmp_path: Path, seed: str
) -> None:
    assert made_by(sys.executable, tmp_path, PYTHONHASHSEED=seed) == GOLDEN


def test_the_keys_are_the_same_on_every_python(tmp_path: Path) -> None:
    for python in interpreters():
        made = made_by(python, tmp_path)
        # numpy and pydantic may not be installed beside that Python.
        assert [name for name in GOLDEN.keys() - made.keys() if ": " not in name] == [], python
        assert made == {name: GOLDEN[name] for name in made}, python


def test_no_two_kinds_of_value_have_one_key() -> None:
    assert len(set(GOLDEN.values())) == len(GOLDEN)


def test_the_key_of_a_call_is_the_golden_one(client: Client) -> None:
    values = keys.values()
    assert values.keys() == GOLDEN.keys()
    for name, value in values.items():
        call = described.Call(
            job=keys.JOB, inputs={"value": value}, code="1", environment={"python": "3.11"}, root=keys.ROOT
        )
        assert described.describe(client, call).call.key == GOLDEN[name], name


def test_the_key_of_a_call_with_all_that_can_be_in_one_is_the_golden_one(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHENCE_SALT", "today")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.toml").write_bytes(b"rate = 1\n")
    call = described.Call(
        job=keys.JOB,
        inputs={
            "rate": 0.5,
            "n_jobs": 4,
            "data": client.publish("dataset:d", b"bytes"),
            "path": tmp_path / "conf",
        },
        code=described.Image("registry/train@sha256:" + "a" * 64),
        environment={"python": "3.11", "image": "registry/train:3@sha256:" + "a" * 64},
        seed=7,
        variables=["ABSENT"],
        files=["conf/a.toml"],
        extra={"schema": [1, 2]},
        ignore=["n_jobs"],
        root=tmp_path,
    )
    found = described.describe(client, call).call
    assert [part.name for part in found.components if part.ignored] == ["params/n_jobs"]
    assert {part.name for part in found.components} == {
        "scope",
        "job",
        "signature",
        "environment",
        "code",
        "params/rate",
        "params/n_jobs",
        "params/path",
        "inputs/data",
        "files/path",
        "files/./conf/a.toml",
        "envvar/ABSENT",
        "extra/schema",
        "seed",
        "salt",
    }
    assert all(part.preview is not None for part in found.components)
    # What a trace stands for is in the key of a trace alone.
    assert {part.kind for part in found.components} == cache.KINDS - {"reads"}
    assert found.key == "wk1:11271a48a27f23997612cca517d1589600e30e09a204fa3913b0dcddb7fb8da8"

"""A backup is a catalog: it can be opened, checked, asked, and brought back, into whatever database."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import whence
from tests import postgres
from whence.client import Client


def command(url: str, *arguments: str, expect: int = 0, blobs: str = "") -> object:
    from os import environ

    given = {**environ, "WHENCE_URL": url, **({"WHENCE_BLOBS": blobs} if blobs else {})}
    given.pop("WHENCE_CACHE_DIR", None)
    if not blobs:
        given.pop("WHENCE_BLOBS", None)
    ran = subprocess.run(
        [sys.executable, "-m", "whence", *arguments, "--json"], env=given, capture_output=True, text=True
    )
    assert ran.returncode == expect, ran.stderr
    return json.loads(ran.stdout) if ran.stdout else ran.stderr


@pytest.fixture
def made(client: Client, tmp_path: Path) -> Client:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("A")
    data = whence.publish("dataset:d", tmp_path / "data")
    with client.run("train", params={"large": "x" * 100_000}) as run:
        run.use(data)
        run.publish("model:m", b"weights")
    return client


def test_a_backup_holds_catalog_and_bytes_and_can_be_asked(made: Client, tmp_path: Path) -> None:
    done = command(made.url, "backup", str(tmp_path / "monday"), "--blobs")
    assert isinstance(done, dict)
    assert (done["missing"], done["checkpoint"]["position"]) == ([], len(made.catalog.facts()))
    assert command(str(tmp_path / "monday"), "check")
    command(str(tmp_path / "monday"), "get", "model:m", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == b"weights"


def test_a_backup_is_restored_into_postgresql_and_goes_on_there(made: Client, tmp_path: Path) -> None:
    command(made.url, "backup", str(tmp_path / "monday"), "--blobs")
    blobs = (tmp_path / "shared").as_uri()
    with postgres.shared().database() as url:
        command(url, "restore", str(tmp_path / "monday"), blobs=blobs)
        command(url, "get", "dataset:d", str(tmp_path / "got"), blobs=blobs)
        assert (tmp_path / "got" / "a.txt").read_text() == "A"
        (tmp_path / "new").write_text("B")
        command(url, "publish", str(tmp_path / "new"), "--as", "dataset:d", blobs=blobs)
        assert command(url, "check", blobs=blobs)
        refused = command(url, "restore", str(tmp_path / "monday"), blobs=blobs, expect=1)
        assert "empty place" in str(refused)


def test_bytes_that_are_nowhere_are_named(made: Client, tmp_path: Path) -> None:
    made.blobs.delete(made.get("model:m").version.digest)
    done = command(made.url, "backup", str(tmp_path / "monday"), "--blobs")
    assert isinstance(done, dict)
    assert done["missing"] == [made.get("model:m").version.digest.text]


def test_a_folder_that_holds_something_is_refused(made: Client, tmp_path: Path) -> None:
    assert "not empty" in str(command(made.url, "backup", str(tmp_path / "data"), expect=1))
    assert "no backup" in str(command(made.url, "restore", str(tmp_path / "data"), expect=1))

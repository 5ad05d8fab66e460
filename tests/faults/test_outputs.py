"""What a step made is deleted, cut or altered behind the catalog's back: a miss, which is mended and recorded."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Project

STEP = """
@whence.step(version="1")
def make():
    mark("make")
    return whence.model("m", bytes(range(256)) * 64)

if __name__ == "__main__":
    show(make().ref)
"""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(Path.unlink, "output missing"), (cut, "output altered"), (alter_one_byte, "output altered")],
    ids=["deleted", "cut", "altered by one byte"],
)
def test_an_output_that_was_harmed_between_runs_is_a_miss_mended_and_recorded(
    project: Project, harm: Callable[[Path], None], reason: str
) -> None:
    project.write(STEP)
    ref = project.run()
    assert (project.run(), project.executed()) == (ref, ["make"])
    (made,) = project.client.catalog.run(str(project.client.catalog.runs()[-1].uid)).outputs
    named = made.version.digest
    (stored,) = [
        path
        for path in (project.url / "blobs").rglob("*")
        if path.is_file() and path.parent.name + path.name == named.hex
    ]
    stored.chmod(0o600)
    harm(stored)
    assert (project.run(), project.executed()) == (ref, ["make"])
    newest = project.client.catalog.runs()[0]
    assert (newest.reason, newest.outcome) == (reason, "renewed")
    assert project.client.blobs.verify_deep([named]).present == {named}
    assert (project.run(), project.executed()) == (ref, [])
    assert project.client.catalog.check().problems == ()

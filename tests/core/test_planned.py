"""What is asked of plans beside the catalog: the code as it is now."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipelines import CAPTURE, Arithmetic, keyed
from whence import connecting, planned
from whence.client import Client
from whence_catalog import digest, manifest
from whence_catalog.errors import Conflict, ErrorKind


def bundled(client: Client, files: Mapping[str, bytes]) -> digest.Digest:
    """The Bundle of these files, stored."""
    tree = manifest.build(
        [
            manifest.Entry(path, "f", len(data), client.blobs.put_bytes(data), executable=False)
            for path, data in sorted(files.items())
        ],
        manifest.BUNDLE,
    )
    client.blobs.put_nodes(tree)
    return tree.root


def test_code_that_cannot_be_told_is_said_to_be_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here_now.py").write_text("import whence\n\n@whence.step\ndef told(c): return c\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    client = connecting.open_client(tmp_path / ".whence")
    (tmp_path / "prep.sh").write_text("echo 1")
    source = bundled(client, {"prep.sh": b"echo 0", "gone.sh": b"", "same.sh": b"x"})
    (tmp_path / "same.sh").write_text("x")
    same = bundled(client, {"same.sh": b"x"})
    maker = Arithmetic(
        captures={
            "told": replace(CAPTURE, entry="here_now:told"),
            "elsewhere": replace(CAPTURE, entry="not_here:elsewhere"),
            "command": replace(CAPTURE, entry=None, command=("sh", "prep.sh"), bundle=source),
            "like": replace(CAPTURE, entry=None, command=("sh", "as_it_was.sh"), bundle=same),
        }
    )
    runs = {
        job: maker.call(client, job, 0, (), None if job == "keyless" else keyed(client, job, 0, ())).run.uid
        for job in ("told", "elsewhere", "command", "like", "keyless")
    }
    found = planned.plan(client, [str(run) for run in runs.values()], code_now=True)
    assert list(found.request.code) == ["told"]
    assert not found.complete
    assert {reason.partition(": ")[0]: reason.partition(": ")[2] for reason in found.reasons} == {
        "with the code that it had, elsewhere": (
            f"the code of elsewhere is not found in {tmp_path}: No module named 'not_here'"
        ),
        "with the code that it had, command": (
            "it is a command, and of its source is other here: gone.sh, prep.sh"
        ),
        "with the code that it had, keyless": "it has no key, so that nothing says whether that changed",
    }
    with pytest.raises(Conflict, match="it is a command") as refused:
        planned.plan(client, [str(runs["command"])], code_now=True)
    assert refused.value.kind is ErrorKind.NOT_RERUNNABLE
    assert planned.plan(client, [str(runs["like"])], code_now=True).complete
    client.close()
    sys.modules.pop("here_now")

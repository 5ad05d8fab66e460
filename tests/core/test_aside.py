"""Whether a command may add to its Run, so that a room has a catalog for it, is told by its words and its scripts."""

from pathlib import Path

import pytest

from whence import aside


@pytest.mark.parametrize(
    ("name", "text", "may_add"),
    [
        ("train.py", "import whence", True),
        ("train", "#!/usr/bin/env python3\nimport whence", True),
        ("train.sh", "#!/bin/sh\npython -c 'import whence'", True),
        ("train.py", "import json", False),
        ("notes.txt", "whence", False),
    ],
)
def test_a_command_may_add_to_its_run_where_a_script_names_whence(
    tmp_path: Path, name: str, text: str, may_add: bool
) -> None:
    (tmp_path / name).write_text(text)
    assert (aside.of(tmp_path / "catalog", tmp_path, ["./train"], "default") is not None) is may_add

"""What a command starts, and whether that runs with what is installed for us."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from whence import programs
from whence_catalog.errors import Conflict


def test_of_the_pythons_in_one_folder_only_that_which_runs_us_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "bin"
    here.mkdir()
    (here / "python3.11").symlink_to(os.path.realpath(sys.executable))
    (here / "python3").symlink_to("python3.11")
    (here / "python").symlink_to("python3")
    shutil.copy(os.path.realpath(sys.executable), here / "python-copied")
    shutil.copy("/bin/sh", here / "python3.99")
    shutil.copy("/bin/sh", here / "pypy3")
    for name, python in (("ours", "python3"), ("another", "python3.99")):
        (here / name).write_text(f"#!{here / python}\n")
        (here / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(here / "python"))
    monkeypatch.setenv("PATH", str(here))
    found = {name: programs.find(name, tmp_path) for name in os.listdir(here)}
    ours = {name for name, program in found.items() if program.is_ours}
    assert ours == {"python", "python3", "python3.11", "python-copied", "ours"}
    assert {name for name in found if found[name].is_foreign_python} == set(found) - ours


def test_a_script_is_told_by_what_runs_it_where_its_first_line_says_a_place_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/bin/python"))

    def told(first: str) -> tuple[str, ...]:
        (tmp_path / "t").write_text(f"{first}\n")
        (tmp_path / "t").chmod(0o755)
        return programs.find("./t", tmp_path).told_from(tmp_path)

    for first in ("#!/bin/sh -e", "#!/usr/bin/env python3", "#!/opt/other/bin/python", "echo"):
        assert told(first) == (), "it is its machine's, or is looked for where it runs"
    assert told(f"#!{tmp_path}/venv/bin/python -u") == ("python", "-u")
    with pytest.raises(Conflict, match="let it say #!/usr/bin/env ruby"):
        told(f"#!{tmp_path}/vendor/bin/ruby")

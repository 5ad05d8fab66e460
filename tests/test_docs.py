"""What README and docs say is so: their examples run, their commands, files and settings exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from whence.cli import app
from whence_api.settings import CONFIG, PREFIX, Settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# What the examples take for granted: data, a folder, and something that trains.
PRELUDE = """
import pathlib, whence
folder = pathlib.Path("made")
folder.mkdir(exist_ok=True)
(folder / "weights.txt").write_text("1 2 3")

def fit(images: pathlib.Path, c: float) -> pathlib.Path:
    assert images.is_dir()
    (folder / "weights.txt").write_text(str(c))
    return folder

whence.publish("dataset:digits-train", folder)
"""


def examples(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [p for p in PAGES if examples(p)], ids=lambda p: p.name)
def test_every_example_runs(page: Path, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text("\n".join([PRELUDE, *examples(page)]))
    environment = {**os.environ, "WHENCE_URL": str(tmp_path / ".whence"), "WHENCE_SYNC": "NORMAL"}
    ran = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_readme_opens_with_the_example_and_then_exactly_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    shells = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert [len(block.strip().splitlines()) for block in shells] == [1, 1]
    assert shells[0].strip().endswith("uv run whence demo")
    assert shells[1].strip() == "make test"
    assert text.index("```python") < text.index("```sh")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_that_is_named_exists(page: Path) -> None:
    known = set(get_command(app.cli).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"`whence ([a-z]+)", page.read_text()))
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_file_that_is_linked_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_setting_is_told_and_every_setting_told_is_one() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "sdk" / "whence").rglob("*.py"))
    used = set(re.findall(r'"(WHENCE_[A-Z_]+)"', source)) | {CONFIG}
    used |= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    told = set(re.findall(r"`(WHENCE_[A-Z_]+)`", (ROOT / "docs" / "operations.md").read_text()))
    assert used == told

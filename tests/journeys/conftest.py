"""What journeys share: an environment with whence, where environments are kept, and a disk that is soon full."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from whence import environments, wheel


def requirements_of_whence() -> list[str]:
    """What an embedded catalog needs, at the versions that are installed here."""
    found: dict[str, str] = {}
    waiting = ["sqlmodel", "alembic", "fsspec", "msgspec", "urllib3"]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        distribution = metadata.distribution(name)
        found[name] = distribution.version
        for line in distribution.requires or ():
            if "extra ==" not in line:
                needed = re.split(r"[^\w.-]", line)[0]
                if any(metadata.distributions(name=needed)):
                    waiting.append(needed)
    return [f"{name}=={version}" for name, version in found.items()]


def uv(*arguments: str) -> str:
    done = subprocess.run(
        [environments._uv_binary(), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with whence, as a wheel, and what it needs: all out of uv's cache."""
    folder = tmp_path_factory.mktemp("installed")
    packed = wheel.of_whence(folder)
    uv("venv", "--no-project", "--python", sys.executable, str(folder / "venv"))
    python = str(folder / "venv" / "bin" / "python")
    uv("pip", "install", "--offline", "--no-deps", "--python", python, str(packed), *requirements_of_whence())
    return folder / "venv"


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where environments are kept from one test to the next."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def no_network_and_an_empty_home(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of reruns: whoever asks for one has nothing, and packages come from where they are already."""
    monkeypatch.setenv("UV_CACHE_DIR", uv("cache", "dir"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    monkeypatch.setenv("UV_OFFLINE", "1")
    (tmp_path / "no-home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "no-home"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes, where we may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        os.getuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)

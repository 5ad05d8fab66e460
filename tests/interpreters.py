"""The Pythons that are on this machine."""

import os
import pathlib
import shutil
import subprocess


def interpreters() -> list[str]:
    """One of each version that whence runs on; those that are not here are printed."""
    versions = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv", "versions")
    found = []
    for minor in ("3.11", "3.12", "3.13", "3.14"):
        named = [path / "bin/python" for path in sorted(versions.glob(f"{minor}*"))]
        on_path = shutil.which(f"python{minor}")
        for python in [*map(str, named), *([on_path] if on_path else [])]:
            # A shim on the path may stand for a version that is not chosen.
            said = subprocess.run(
                [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
            )
            if said.stdout.strip() == minor:
                found.append(python)
                break
        else:
            print(f"Python {minor} is not here, so nothing was compared with it")
    return found

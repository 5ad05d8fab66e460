"""Environments of the others' own: each is made once on a machine, under the temporary folder.

What they need does not fit together, and nothing of it is to be imported beside whence.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

# ML Metadata has wheels for CPython 3.11 at most, and needs the protobuf of its time.
REUSE = ("dvc==3.67.1", "joblib==1.6.0", "prefect==3.9.1")
MLFLOW = ("mlflow==3.17.0",)
ML_METADATA = ("ml-metadata==1.17.1", "protobuf<5")
ALL = (REUSE, MLFLOW, ML_METADATA)


def is_installed(requirements: tuple[str, ...]) -> bool:
    """Whether they were installed on this machine before."""
    return (_folder(requirements) / "ready").exists()


def python(requirements: tuple[str, ...]) -> Path:
    """The Python that has them, made now if it is not there.

    Raises:
        CalledProcessError: they cannot be installed here; it has said why.
    """
    environment = _folder(requirements)
    made = environment / "bin" / "python"
    if not is_installed(requirements):
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, str(environment)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "-p", str(made), *requirements], check=True)
        (environment / "ready").touch()
    return made


def _folder(requirements: tuple[str, ...]) -> Path:
    versions = "-".join(required.replace("==", "-").replace("<", "-below-") for required in requirements)
    return Path(tempfile.gettempdir()) / "whence-benchmarks" / f"peers-{versions}"


def main() -> int:
    """Install all of them; answers the exit code: 1 where one of them could not be."""
    failed = 0
    for requirements in ALL:
        try:
            print(f"{', '.join(requirements)}: {python(requirements)}", flush=True)
        except subprocess.CalledProcessError:
            print(f"{', '.join(requirements)}: cannot be installed here; see above", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())

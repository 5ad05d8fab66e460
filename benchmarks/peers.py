"""A step that is reused, beside the answers of others for the same step: Prefect, joblib.Memory, DVC.

Each has a long-lived process of its own, warm, that is told over a pipe to call the step once more and tells
what that took; see `peer`, where it stands what each of them does. They are installed in an environment of
their own, made once on a machine.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import environments, measure

_PEER = Path(__file__).with_name("peer.py")
_NAMES = ("joblib", "prefect", "dvc")


def benchmarks() -> list[measure.Benchmark]:
    """All of this module: ours is to cost no more than theirs."""
    return [
        measure.Benchmark(
            f"step-reused-{name}", 1.0, measure.Clock.WALL, partial(_beside, name), operations=5
        )
        for name in _NAMES
    ]


@contextmanager
def _beside(name: str) -> Iterator[measure.Contenders]:
    with (
        _started("whence", Path(sys.executable)) as ours,
        _started(name, environments.python(environments.REUSE)) as theirs,
    ):
        yield measure.Contenders(lambda: ours, lambda: theirs)


@contextmanager
def _started(name: str, python: Path) -> Iterator[Callable[[], measure.Spent]]:
    """Calls that peer's step once more."""
    with tempfile.TemporaryDirectory(prefix="whence-benchmark-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [str(python), str(_PEER), name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        said, answers = process.stdin, process.stdout

        def call() -> measure.Spent:
            said.write("\n")
            said.flush()
            return measure.Spent(*json.loads(answers.readline() or "null"))

        try:
            assert answers.readline() == "ready\n", f"{name} did not begin"
            yield call
        finally:
            said.close()  # it ends by itself
            process.wait()
            answers.close()

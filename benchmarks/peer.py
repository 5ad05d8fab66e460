"""One of those who can answer a step again, in a process of its own: `python peer.py NAME FOLDER`.

Run as a file, by a Python that has it installed: nothing of whence is imported unless it is `whence`. It makes
the step's answer once; then each line in is one more call of the step, and each line out the seconds that it
took: by the clock on the wall, and of CPU. A call that executed the step again is an error.

The step is the same for all: three inputs of 64 KiB and a number, from which it makes 64 KiB.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

INPUTS = tuple(bytes([n]) * 65536 for n in range(3))
executions = 0


def own_output() -> TextIO:
    """Standard output, for the seconds alone: what others print there goes where errors go."""
    mine = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return mine


def combined(a: bytes, b: bytes, c: bytes, scale: int) -> bytes:
    """What the step does."""
    return bytes((x + y + z) * scale % 256 for x, y, z in zip(a, b, c, strict=True))


def counted(a: bytes, b: bytes, c: bytes, scale: int) -> bytes:
    """The step, which counts how often it was executed."""
    global executions
    executions += 1
    return combined(a, b, c, scale)


def whence(folder: Path, answer: Callable[[Callable[[], object]], None]) -> None:
    """Inputs are handles, which know what they hold. The reuse is recorded on the disk, with its lineage."""
    import whence as library

    connected = library.connect(folder / ".whence")
    a, b, c = (library.publish(f"file:input-{n}", content) for n, content in enumerate(INPUTS))

    @library.step
    def combine(a: library.Handle, b: library.Handle, c: library.Handle, scale: int) -> library.File:
        made = combined(a.path.read_bytes(), b.path.read_bytes(), c.path.read_bytes(), scale)
        return library.file("combined", made)

    first = combine(a, b, c, scale=2)

    def again() -> None:
        made = combine(a, b, c, scale=2)
        assert made.run == first.run, "the step was executed again"
        made.path.read_bytes()  # as the others do

    answer(again)
    connected.close()


def joblib(folder: Path, answer: Callable[[Callable[[], object]], None]) -> None:
    """Hashes every argument each time, reads the result and unpickles it. Records nothing of the call."""
    from joblib import Memory

    remembered = Memory(folder, verbose=0).cache(counted)
    answer(lambda: remembered(*INPUTS, scale=2))


def prefect(folder: Path, answer: Callable[[Callable[[], object]], None]) -> None:
    """A task called in a flow: hashes arguments and the task's own source, reads the result; tells its server."""
    os.environ |= {"PREFECT_HOME": str(folder), "PREFECT_LOGGING_LEVEL": "ERROR"}
    os.environ |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    import prefect as library
    from prefect.cache_policies import INPUTS as BY_INPUTS
    from prefect.cache_policies import TASK_SOURCE

    combine = library.task(counted, persist_result=True, cache_policy=BY_INPUTS + TASK_SOURCE)

    def flow() -> None:
        answer(lambda: combine(*INPUTS, scale=2))

    library.flow(flow)()


def dvc(folder: Path, answer: Callable[[Callable[[], object]], None]) -> None:
    """A stage that is up to date: looks at its files (by stat, where they did not change). Records nothing."""
    os.environ |= {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / "site")}
    from dvc.repo import Repo

    os.chdir(folder)
    for n, content in enumerate(INPUTS):
        Path(f"input-{n}").write_bytes(content)
    made = "; ".join(
        [
            "import pathlib",
            "a, b, c = (pathlib.Path(f'input-{n}').read_bytes() for n in range(3))",
            "pathlib.Path('combined').write_bytes(bytes((x + y + z) * 2 % 256 for x, y, z in zip(a, b, c)))",
        ]
    )
    Path("combine.py").write_text(made)
    repo = Repo.init(no_scm=True)
    inputs = ["combine.py", *(f"input-{n}" for n in range(3))]
    repo.run(name="combine", deps=inputs, outs=["combined"], cmd=f"{sys.executable} combine.py")

    def again() -> None:
        assert not repo.reproduce(), "the stage was carried out again"

    answer(again)
    repo.close()


def serve(told: TextIO, call: Callable[[], object]) -> None:
    """Make the answer once, then answer each line."""
    call()
    first = executions
    print("ready", file=told, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        assert executions == first, "the step was executed again"
        print(json.dumps([wall, cpu]), file=told, flush=True)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: what is imported by these names lies elsewhere
    named = {"whence": whence, "joblib": joblib, "prefect": prefect, "dvc": dvc}
    named[sys.argv[1]](Path(sys.argv[2]), functools.partial(serve, own_output()))

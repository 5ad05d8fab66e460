"""A process that does what an audit hook hears of, and tells how long it took; see `hooks`.

bare      no step ran
off       inside a step that is not watched
idle      after a step whose reads were noted
noting    inside such a step
"""

import copy
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import whence

VALUE = {number: [number, str(number)] for number in range(200)}


def look_at_ids(path: str) -> int:
    value = VALUE
    for _ in range(5000):
        id(value)
    return 5000


def copy_deeply(path: str) -> int:
    for _ in range(10):
        copy.deepcopy(VALUE)
    return 10


def open_files(path: str) -> int:
    for _ in range(500):
        with open(path):
            pass
    return 500


def open_new_files(path: str) -> int:
    """Each of them for the first time, as far as whoever watches can know: a name may be another file's now."""
    os.chdir(os.curdir)
    for number in range(500):
        with open(f"{path}-{number}"):
            pass
    return 500


WORK: dict[str, Callable[[str], int]] = {
    "id": look_at_ids,
    "deepcopy": copy_deeply,
    "open": open_files,
    "open-new": open_new_files,
}


def serve(path: str) -> None:
    """Answer each line, which names some work, with the seconds of one of it: by the clock, and of the CPU."""
    print("ready", flush=True)
    for line in sys.stdin:
        work = WORK[line.strip()]
        wall, cpu = time.perf_counter(), time.process_time()
        many = work(path)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(json.dumps([wall / many, cpu / many]), flush=True)


def main(how: str) -> None:
    with tempfile.TemporaryDirectory(prefix="whence-benchmark-") as folder:
        whence.connect(Path(folder) / "catalog")
        path = str(Path(folder) / "data")
        for name in (path, *(f"{path}-{number}" for number in range(500))):
            Path(name).touch()

        @whence.step(name="off", reads="off", version="1", cache="off")
        def off() -> None:
            serve(path)

        @whence.step(name="noting", reads="note", version="1", cache="off")
        def noting(work: bool) -> None:
            if work:
                serve(path)

        if how == "off":
            off()
        elif how == "noting":
            noting(True)
        else:
            if how == "idle":
                noting(False)
            serve(path)
        whence.current().close()


if __name__ == "__main__":
    main(sys.argv[1])

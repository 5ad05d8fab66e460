"""Many processes at once: one that imports what is needed and forks them, and whoever looks after them.

The first prints (name, pid) of each process, then (name, exit code) of each as it ends, as lines of JSON.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class Named(Protocol):
    """What a process is to do."""

    @property
    def name(self) -> str: ...


def seed() -> int:
    """What FAULT_SEED says, or a new one; a test that fails shows it."""
    drawn = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
    print(f"FAULT_SEED={drawn}")
    return drawn


# ── in the process that forks ────────────────────────────────────────────────────────────────────


def told() -> list[dict[str, Any]]:
    """What the processes are to do, as the command line says it."""
    asked: list[dict[str, Any]] = json.loads(sys.argv[1])
    return asked


def fork(tasks: Sequence[Named], carry_out: Callable[[Any], object]) -> None:
    """Carry out each task in a process of its own, and wait for all of them."""
    names: dict[int, str] = {}
    for task in tasks:
        pid = os.fork()
        if not pid:
            try:
                carry_out(task)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        names[pid] = task.name
        print(json.dumps([task.name, pid]), flush=True)
    while names:
        pid, status = os.wait()
        print(json.dumps([names.pop(pid), os.waitstatus_to_exitcode(status)]), flush=True)


# ── in the test ──────────────────────────────────────────────────────────────────────────────────


@dataclass
class Crowd:
    """The processes, and who of them still goes."""

    process: "subprocess.Popen[str]"
    pids: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            name, number = json.loads(line)
            (self.codes if name in self.pids else self.pids)[name] = number

    @property
    def going(self) -> list[str]:
        return sorted(self.pids.keys() - self.codes.keys())

    @property
    def has_ended(self) -> bool:
        return not self._listener.is_alive()

    def signal(self, name: str, number: signal.Signals) -> None:
        # It is not waited for but by its parent, which says so first: no other process has that number.
        if name not in self.codes:
            with suppress(ProcessLookupError):
                os.kill(self.pids[name], number)

    def close(self) -> None:
        for name in self.going:
            self.signal(name, signal.SIGKILL)
        self._listener.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()


@contextmanager
def started(module: str, tasks: Sequence[Any]) -> Iterator[Crowd]:
    """Processes in which `module` carries out these tasks."""
    asked = json.dumps([asdict(task) for task in tasks])
    process = subprocess.Popen([sys.executable, "-m", module, asked], stdout=subprocess.PIPE, text=True)
    with closing(Crowd(process)) as made:
        yield made

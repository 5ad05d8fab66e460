"""A thread that was told to end leaves whatever it waits for, and nobody is left running. 2 s."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import psutil
import pytest

from whence import environments, group, interrupts


def left(waits: Callable[[], object]) -> BaseException | None:
    """What a thread raises that heeds an interrupt, which is said once it has begun to wait."""
    interrupt, began, raised = interrupts.Interrupt(), threading.Event(), list[BaseException]()

    def run() -> None:
        interrupt.heed()
        began.set()
        try:
            waits()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    began.wait()
    interrupt.set()
    thread.join(30)
    assert not thread.is_alive(), "it waits for ever"
    return raised[0] if raised else None


def test_whoever_waits_for_somebody_else_s_environment_hears_that_it_is_to_end(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def waits() -> None:
            with environments._alone(tmp_path / "lock", lambda text: None):
                pass

        assert isinstance(left(waits), interrupts.Interrupted)
    finally:
        os.close(lock)


@pytest.mark.parametrize("waits", [lambda: interrupts.pause(60), lambda: interrupts.wait(threading.Event())])
def test_a_pause_and_a_wait_end_with_the_word(waits: Callable[[], object]) -> None:
    assert isinstance(left(waits), interrupts.Interrupted)


def test_the_word_may_be_said_by_a_handler_that_comes_while_it_is_said() -> None:
    """Where it was an event, the second word waited for the lock that the first one held."""
    interrupt, said = interrupts.Interrupt(), threading.Event()
    held = vars(threading.Condition)["notify_all"].__code__

    def handler(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code is held:
            sys.setprofile(None)
            interrupt.set()

    def says() -> None:
        sys.setprofile(handler)
        interrupt.set()
        sys.setprofile(None)
        said.set()

    threading.Thread(target=says, daemon=True).start()
    assert said.wait(10)


def test_a_program_ends_with_the_thread_that_waits_for_it(tmp_path: Path) -> None:
    started: list[psutil.Process] = []

    def waits() -> None:
        with group.started(["/bin/sh", "-c", "sleep 60 & sleep 60"], {}, tmp_path) as process:
            started.append(psutil.Process(process.pid))
            group.ended(process)

    assert isinstance(left(waits), interrupts.Interrupted)
    assert not started[0].is_running()


# It is asked to end twice: the second time while it waits for the program to end in its own way.
_IMPATIENT = """
import os, pathlib, signal, threading
from whence import group

says = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]
with group.started(says, {}, pathlib.Path()) as process:
    process.stdout.readline()
    print(process.pid, flush=True)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    signal.raise_signal(signal.SIGINT)
"""


def test_who_is_impatient_leaves_nobody_running(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _IMPATIENT], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert not psutil.pid_exists(int(done.stdout))

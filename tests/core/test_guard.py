"""A group of processes ends when whoever started it is gone, in whatever way, and hears what it was sent. 4 s."""

import os
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from whence import guard

# Its child tells its group before it starts anything; it tells the number of a child of that one.
_STARTS = """
import os, subprocess, sys, time
from whence import guard

guard.SHELL = sys.argv[1]
with guard.over_group() as tell:
    subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!; wait"], start_new_session=True, preexec_fn=lambda: tell(os.getpid())
    )
    if sys.argv[2] == "stays":
        time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells when a process of others ends")
@pytest.mark.parametrize("shell", ["/bin/sh", "/no/such/shell"])
def test_a_group_ends_with_who_watches_over_it_and_not_before(shell: str) -> None:
    for how in ("stays", "leaves"):
        command = [sys.executable, "-c", _STARTS, shell, how]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            left = os.pidfd_open(int(process.stdout.readline()))
            try:
                if how == "stays":
                    process.kill()
                assert process.wait(30) == (-9 if how == "stays" else 0)
                ended = bool(select.select([left], [], [], 30 if how == "stays" else 0)[0])
                assert ended is (how == "stays"), "once it is left, the group is nobody's matter any more"
            finally:
                if how == "leaves":
                    os.kill(-os.getpgid(_pid_of(left)), 9)
                os.close(left)


def test_what_a_group_is_told_when_its_guard_is_gone_ends_nobody() -> None:
    with guard.over_group() as tell:
        (standing,) = (each for each in psutil.Process().children() if guard.SHELL in each.cmdline())
        standing.kill()
        standing.wait(30)
        tell(1)  # where nobody read, this was a broken pipe


# It says "ready" as soon as it would hear a signal.
_PASSES_ON = """
import os, pathlib, sys
from whence import child

folder = pathlib.Path(sys.argv[1])
says = ["/bin/sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"]
ended = child.run(child.Program(says, folder, dict(os.environ), folder / "stdout", folder / "stderr"))
sys.exit(ended.code)
"""


def test_a_signal_is_passed_on_however_early_it_comes(tmp_path: Path) -> None:
    """Where whence waited for a lock without looking up, a fifth of these waited for ever."""

    def how_it_ends(number: int) -> int:
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, "-c", _PASSES_ON, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                process.terminate()
                return process.wait(30)
            finally:
                process.kill()

    with ThreadPoolExecutor(8) as at_once:
        assert set(at_once.map(how_it_ends, range(24))) == {3}


def _pid_of(process: int) -> int:
    with open(f"/proc/self/fdinfo/{process}") as told:
        return int(next(line for line in told if line.startswith("Pid:")).split()[1])

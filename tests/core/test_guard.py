"""A group of processes ends when whoever started it is gone, in whatever way. 2 s."""

import os
import select
import subprocess
import sys

import pytest

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


def _pid_of(process: int) -> int:
    with open(f"/proc/self/fdinfo/{process}") as told:
        return int(next(line for line in told if line.startswith("Pid:")).split()[1])

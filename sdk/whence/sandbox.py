"""A sandbox for commands: what is not declared cannot be read, and nothing but the outputs be written.

Linux only, by Landlock (kernel 5.13 and later; https://docs.kernel.org/userspace-api/landlock.html): a process
gives up rights to files, for itself and its children, and needs no privilege for that. A file that is out of reach
is `Permission denied` to the command. Network is not kept from it.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from whence_catalog.errors import ErrorKind, NotReady

# The numbers are the same on every architecture of Linux that is younger than these calls.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
# What each version of Landlock handles of the file system: 13 rights, then REFER, TRUNCATE, IOCTL_DEV.
_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
# The system's own: programs, libraries, settings. What lies under these is none of a command's data.
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/proc",
    "/sys",
    "/run",
    "/dev",
    "/nix",
)


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _version() -> int:
    """Which Landlock the kernel has; 0 or less: none."""
    if sys.platform != "linux":
        return 0
    return int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG))


def require() -> None:
    """Nothing, where this machine can confine a command.

    Raises:
        NotReady: it cannot.
    """
    if _version() < 1:
        raise NotReady(
            "--sandbox needs Linux 5.13 or later, with Landlock enabled, and this machine has none; leave it out, or"
            " run the command in a container that sees only its inputs",
            ErrorKind.UNSUPPORTED_VALUE,
        )


def confinement(readable: Iterable[str], outputs: Sequence[Path], scratch: Path) -> Callable[[], None]:
    """What is to be called in the child: from then on it reads `readable`, and writes `outputs` and in `scratch`.

    An output is made anew, so what is granted is the folder around it: other files can be written there, and not read.
    """
    version = _version()
    handled = _HANDLED[min(version, max(_HANDLED))]
    rules = [(path, rights & handled) for path, rights in _rules(readable, outputs, scratch)]

    def confine() -> None:
        libc = ctypes.CDLL(None, use_errno=True)

        def call(number: int, *arguments: object) -> int:
            answer = int(libc.syscall(number, *arguments))
            if answer < 0:
                raise OSError(ctypes.get_errno(), f"the sandbox could not be set up (call {number})")
            return answer

        attributes = _Ruleset(handled)
        ruleset = call(_CREATE, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
        for path, rights in rules:
            try:
                at = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            if not os.path.isdir(path):
                rights &= _OF_FILES
            rule = _Beneath(rights, at)
            call(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
            os.close(at)
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "the sandbox could not be set up")
        call(_RESTRICT, ruleset, 0)
        os.close(ruleset)

    return confine


def _rules(readable: Iterable[str], outputs: Sequence[Path], scratch: Path) -> Iterator[tuple[str, int]]:
    everything = -1
    for path in (*_SYSTEM, *readable):
        yield path, _READING
    for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/shm", "/proc/self"):
        yield path, everything
    yield str(scratch), everything
    for output in outputs:
        yield str(output.parent), everything & ~_READING | _READ_DIR
        yield str(output), everything

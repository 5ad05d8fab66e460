"""What a command is seen to open, start and speak to: it and all its children, in whatever language.

Linux only, and without privilege. The child asks its kernel to stop at a handful of calls (a seccomp filter, see
seccomp(2)) and to be traced by us (ptrace(2)): every other call is at full speed. What is opened by a name is seen;
what only looks whether a file is there is not, nor what comes in through memory that is shared.
"""

import contextlib
import ctypes
import errno
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Iterator

from whence_catalog import model, observation
from whence_catalog.errors import ErrorKind, NotReady

# Numbers of the calls that open a file by its name, and of `connect`, by what `uname -m` says.
_CALLS = {
    "x86_64": {"open": 2, "creat": 85, "openat": 257, "openat2": 437, "connect": 42},
    "aarch64": {"openat": 56, "openat2": 437, "connect": 203},
}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_TRACEME, _CONT, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 7, 24, 0x4200, 0x420E
_FORK, _VFORK, _CLONE, _EXEC, _SECCOMP = 1, 2, 3, 4, 7
# Of each of these events, and: calls are told from signals; a tracer that is gone takes the command with it.
_OPTIONS = 1 | 1 << _FORK | 1 << _VFORK | 1 << _CLONE | 1 << _EXEC | 1 << _SECCOMP | 1 << 20
_ALL_OF_THIS_THREAD = (
    0x40000000 | 0x20000000
)  # __WALL, and __WNOTHREAD: what other threads wait for is theirs
_OF_A_CALL = signal.SIGTRAP | 0x80
_PROCESS_HERE = -100  # AT_FDCWD: relative to the working folder
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _TRACE, _KILL = 0x7FFF0000, 0x7FF00000, 0x80000000
_LONGEST_PATH = 4096
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix")
BLIND_SPOT = f"what was read under {', '.join(_SYSTEM)} is its machine's, and is not told"


class _SyscallInfo(ctypes.Structure):
    """`struct ptrace_syscall_info`: of a call that begins or of one that ends."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("words", ctypes.c_uint64 * 8),
    )


_ENDS = 2


def require() -> None:
    """Nothing, where this machine can trace a command.

    Raises:
        NotReady: it cannot.
    """
    release = tuple(int(part) for part in platform.release().split(".")[:2] if part.isdigit())
    if sys.platform != "linux" or platform.machine() not in _CALLS or release < (5, 3):
        raise NotReady(
            f"--trace needs Linux 5.3 or later on {' or '.join(_CALLS)}; this is {platform.system()}"
            f" {platform.release()} on {platform.machine()}. Leave it out: then the run says that nobody looked",
            ErrorKind.UNSUPPORTED_VALUE,
        )


class Trace:
    """What one command does to its surroundings. `begin` is called in the child, the rest in the one thread that
    started it.
    """

    def __init__(self, cover: observation.Cover) -> None:
        self._cover = cover
        self._calls = {number: name for name, number in _CALLS[platform.machine()].items()}
        self._touched = observation.Touched()
        self._denied: set[str] = set()
        self._opening: dict[int, str] = {}
        self._new: set[int] = set()

    @property
    def denied(self) -> tuple[str, ...]:
        """The files that were there, and that it was not allowed to read."""
        return tuple(sorted(self._cover.shown(path) for path in self._denied))

    def seen(self) -> model.Observed:
        """What it touched that is no part of its key."""
        cover = self._cover
        system = observation.Cover(cover.root, cover.files, (*cover.folders, *_SYSTEM), cover.variables)
        self._touched.unseen.add(BLIND_SPOT)
        # A folder is listed to find the code in it: an interpreter does so with each that it searches.
        code = (*cover.files, *cover.folders)
        listed = {path for path in self._touched.files if path.endswith("/")}
        self._touched.files -= {path for path in listed if any(each.startswith(path) for each in code)}
        return observation.observed(model.Watching.NOTE, system, self._touched)

    # ── in the child ─────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """From here on the child is traced, and stops at the calls that are looked at."""
        libc = ctypes.CDLL(None, use_errno=True)
        program = self._filter()
        packed = ctypes.create_string_buffer(program)
        header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(packed))
        if (
            libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
            or libc.ptrace(_TRACEME, 0, None, None)
            or libc.prctl(_SET_SECCOMP, _FILTER, header, 0, 0)
        ):
            raise OSError(ctypes.get_errno(), "the trace could not be set up")

    def _filter(self) -> bytes:
        """In the language of seccomp: stop at these calls of this architecture, and let every other pass."""

        def line(code: int, yes: int, no: int, value: int) -> bytes:
            return struct.pack("HBBI", code, yes, no, value)

        load, equal, give = 0x20, 0x15, 0x06
        numbers = sorted(self._calls)
        lines = [
            line(load, 0, 0, 4),
            line(equal, 1, 0, _AUDIT_ARCH[platform.machine()]),
            line(give, 0, 0, _ALLOW),
        ]
        lines.append(line(load, 0, 0, 0))
        lines += [line(equal, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
        lines += [line(give, 0, 0, _ALLOW), line(give, 0, 0, _TRACE)]
        return b"".join(lines)

    # ── in the tracer ────────────────────────────────────────────────────────────────────────────

    def __call__(self, child: int) -> int:
        """Follow the child, and what it starts, to the end of all; answers how it ended, as `subprocess` has it."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
        ended: int | None = None
        is_set_up = False
        while True:
            try:
                pid, status = os.waitpid(-1, _ALL_OF_THIS_THREAD)
            except ChildProcessError:
                return 0 if ended is None else ended
            if not os.WIFSTOPPED(status):
                self._opening.pop(pid, None)
                self._new.discard(pid)
                if pid == child:
                    ended = os.waitstatus_to_exitcode(status)
                continue
            if not is_set_up and pid == child:
                libc.ptrace(_SETOPTIONS, pid, None, _OPTIONS)
                is_set_up = True
                self._note_program(pid)
                libc.ptrace(_CONT, pid, None, None)
                continue
            request, number = self._stopped(libc, pid, status)
            libc.ptrace(request, pid, None, number or None)

    def _stopped(self, libc: ctypes.CDLL, pid: int, status: int) -> tuple[int, int]:
        """What to do with a process that stopped: (how it goes on, the signal that it gets)."""
        event, number = status >> 16, os.WSTOPSIG(status)
        if event == _SECCOMP:
            return (_SYSCALL if self._call_begins(libc, pid) else _CONT), 0
        if event == _EXEC:
            self._note_program(pid)
        if event:
            return _CONT, 0
        if number == _OF_A_CALL:
            self._call_ends(libc, pid)
            return _CONT, 0
        if number == signal.SIGSTOP and pid not in self._new:
            self._new.add(pid)  # a new process or thread stops once, for us
            return _CONT, 0
        return _CONT, number

    def _call_begins(self, libc: ctypes.CDLL, pid: int) -> bool:
        """Note what the call is about; whether its end is to be seen."""
        found = _SyscallInfo()
        libc.ptrace(_GET_SYSCALL_INFO, pid, ctypes.sizeof(found), ctypes.addressof(found))
        name, words = self._calls.get(found.words[0]), found.words
        with contextlib.suppress(OSError, ValueError):
            match name:
                case "open":
                    self._note_open(pid, _PROCESS_HERE, words[1], words[2])
                case "openat":
                    self._note_open(pid, ctypes.c_int32(words[1] & 0xFFFFFFFF).value, words[2], words[3])
                case "openat2":
                    flags = struct.unpack("Q", _memory(pid, words[3], 8))[0]
                    self._note_open(pid, ctypes.c_int32(words[1] & 0xFFFFFFFF).value, words[2], flags)
                case "connect":
                    self._touched.sockets.update(_addresses(_memory(pid, words[2], min(words[3], 128))))
        return pid in self._opening

    def _note_open(self, pid: int, folder: int, address: int, flags: int) -> None:
        if flags & os.O_ACCMODE == os.O_WRONLY or flags & os.O_TRUNC:
            return
        path = os.fsdecode(_text(pid, address))
        at = f"/proc/{pid}/cwd" if folder == _PROCESS_HERE else f"/proc/{pid}/fd/{folder}"
        whole = observation.normal(path, "/" if path.startswith("/") else os.readlink(at))
        self._opening[pid] = whole + ("/" if flags & os.O_DIRECTORY else "")

    def _call_ends(self, libc: ctypes.CDLL, pid: int) -> None:
        path = self._opening.pop(pid, None)
        found = _SyscallInfo()
        libc.ptrace(_GET_SYSCALL_INFO, pid, ctypes.sizeof(found), ctypes.addressof(found))
        if path is None or found.op != _ENDS:
            return
        answer = ctypes.c_int64(found.words[0]).value
        if answer >= 0:
            # Whether it is a link is for us to say, who know what our inputs are called.
            self._touched.files.add(path if path.endswith("/") else os.path.realpath(path))
        elif answer in (-errno.EACCES, -errno.EPERM) and os.path.exists(path):
            self._denied.add(path)

    def _note_program(self, pid: int) -> None:
        with contextlib.suppress(OSError):
            self._touched.files.add(os.readlink(f"/proc/{pid}/exe"))


def _memory(pid: int, address: int, size: int) -> bytes:
    at = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        return os.pread(at, size, address)
    finally:
        os.close(at)


def _text(pid: int, address: int) -> bytes:
    """The text that ends with a zero byte there. It is read page by page: the next one may not be there."""
    found = b""
    while len(found) < _LONGEST_PATH:
        here = address + len(found)
        part = _memory(pid, here, 4096 - here % 4096)
        text, zero, _ = part.partition(b"\0")
        found += text
        if zero or not part:
            break
    return found


def _addresses(raw: bytes) -> Iterator[str]:
    family = struct.unpack_from("H", raw)[0]
    if family == socket.AF_UNIX:
        path = raw[2:].lstrip(b"\0").partition(b"\0")[0]
        yield f"unix:{os.fsdecode(path)}"
    elif family in (socket.AF_INET, socket.AF_INET6):
        port = struct.unpack_from("!H", raw, 2)[0]
        host = socket.inet_ntop(family, raw[4:8] if family == socket.AF_INET else raw[8:24])
        yield f"{host}:{port}" if family == socket.AF_INET else f"[{host}]:{port}"

"""A program as a child process: what it says is passed on and kept, and signals go through to it.

Leaves to others: what it is a Run of (`commands`), and what it may read, or is seen to (`sandbox`, `tracing`).
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import BinaryIO, cast

from whence import guard, interrupts
from whence_catalog.blobs import disk
from whence_catalog.errors import ErrorKind, NotReady

# What whoever started us may send, and means for the program.
_FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# Those that ask it to end: a program that ends after one was stopped, and did not fail.
STOPPING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_CHUNK_BYTES = 1 << 16
_DIES_WITH_PARENT = 1  # of prctl(2)


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be started.

    `stdout` and `stderr` are files that are made, and keep what it says. Without `takes_input` it reads nothing
    from our standard input. `confine` is called in the child before the program is loaded.
    """

    argv: Sequence[str]
    folder: Path
    variables: Mapping[str, str]
    stdout: Path
    stderr: Path
    takes_input: bool = False
    confine: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: by itself, with an exit code, or by a signal.

    `stopped` are the signals that we passed on. Where it `is_cut`, the files lack part of what it said.
    """

    code: int | None
    by: int | None = None
    stopped: tuple[signal.Signals, ...] = ()
    is_cut: bool = False

    @property
    def is_well(self) -> bool:
        """Whether it says that it did what it was to do."""
        return self.code == 0

    @property
    def is_aborted(self) -> bool:
        """Whether somebody ended it, rather than an error of its own."""
        return not self.is_well and any(each in STOPPING for each in self.stopped)

    def __str__(self) -> str:
        if self.by is not None:
            return f"it was ended by {_named(self.by)}"
        return f"it ended with exit code {self.code}"


def _named(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of real time, which have no names
        return f"signal {number}"


@dataclass(slots=True)
class _Streams:
    """Where what it says goes: ours, as long as somebody reads that, and the files."""

    threads: list[threading.Thread] = field(default_factory=list)
    is_cut: bool = False

    def follow(self, pipe: BinaryIO, to: int, kept: BinaryIO) -> None:
        thread = threading.Thread(target=self._copy, args=(pipe, to, kept), daemon=True)
        thread.start()
        self.threads.append(thread)

    def settle(self) -> None:
        for thread in self.threads:
            while thread.is_alive():
                thread.join(interrupts.LOOK_SECONDS)

    def _copy(self, pipe: BinaryIO, to: int, kept: BinaryIO) -> None:
        with pipe:
            is_cut = False
            while data := os.read(pipe.fileno(), _CHUNK_BYTES):
                if not is_cut:
                    try:
                        _write(kept.fileno(), data)
                    except OSError:  # a full disk is no matter of what runs
                        self.is_cut = is_cut = True
                try:
                    _write(to, data)
                except OSError:
                    return  # nobody reads it any more: the program is told so, as it would be without us


def _write(to: int, data: bytes) -> None:
    while data:
        data = data[os.write(to, data) :]


def run(program: Program, watch: Callable[[int], int] | None = None) -> Ended:
    """Start it, pass on what it says and what is sent to it, and wait for its end.

    Args:
        watch: is told the process's id, waits until it has ended, and answers its exit code, or the number of the
            signal that ended it, negative.

    What it starts itself, and leaves behind with our streams, is waited for.

    Raises:
        NotReady: it cannot be started, or there is no room for what it says.
    """
    passed: list[signal.Signals] = []
    # What reads from a terminal has to be in the group that the terminal talks to, which is ours.
    shares_group = program.takes_input and os.isatty(0)
    with (
        contextlib.ExitStack() as held,
        guard.over_group() as tell,
        _forwarding(passed, shares_group) as told,
    ):
        streams = _Streams()
        # Before anything runs, so that a disk that is full by then is told, and nothing was done.
        with disk.explained(str(program.stdout.parent)):
            kept = [
                held.enter_context(each.open("wb", buffering=0)) for each in (program.stdout, program.stderr)
            ]

        def to_its_end() -> int:
            process = _started(program, None if shares_group else tell, is_watched=watch is not None)
            told(process.pid)
            streams.follow(cast("BinaryIO", process.stdout), 1, kept[0])
            streams.follow(cast("BinaryIO", process.stderr), 2, kept[1])
            if watch is None:
                return process.wait()
            process.returncode = watch(process.pid)
            return process.returncode

        # Who watches hears of each child of its thread, and would wait for those that are none of its business.
        with ThreadPoolExecutor(1, "whence exec") as apart:
            ended = apart.submit(to_its_end)
            while wait([ended], interrupts.LOOK_SECONDS).not_done:
                pass  # our signals are handled
            code = ended.result()
        streams.settle()
    if code < 0:
        return Ended(None, -code, tuple(passed), streams.is_cut)
    return Ended(code, None, tuple(passed), streams.is_cut)


def not_started(program: str, error: OSError) -> NotReady:
    """The error for a program that the system does not start, though it is there."""
    why = f"{program} cannot be started: {error.strerror}"
    if isinstance(error, FileNotFoundError):
        why += "; its first line names an interpreter that is not there"
    elif os.path.isfile(program):
        why += "; if it is a script, let its first line name what runs it, such as #!/bin/sh"
    return NotReady(why, ErrorKind.UNSUPPORTED_VALUE)


def _started(
    program: Program, tell: Callable[[int], None] | None, is_watched: bool
) -> "subprocess.Popen[bytes]":
    """Its process; it tells its number, where it is in a group of its own."""
    try:
        return subprocess.Popen(
            program.argv,
            cwd=program.folder,
            env=dict(program.variables),
            stdin=None if program.takes_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=None if tell is None else 0,
            preexec_fn=_prepared(tell, program.confine),
            # Ours are closed by themselves; to look for others would be calls that a trace stops at, too early.
            close_fds=not is_watched,
        )
    except OSError as error:
        raise not_started(program.argv[0], error) from error
    except subprocess.SubprocessError as error:
        raise NotReady(
            f"{program.argv[0]} cannot be started: {error}", ErrorKind.UNSUPPORTED_VALUE
        ) from error


def _prepared(tell: Callable[[int], None] | None, confine: Callable[[], None] | None) -> Callable[[], None]:
    """What the child does before its program is loaded: it sees to it that it dies with us.

    If we are killed, its Run is given up, and another one may write to the same places.
    """
    parent = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None

    def prepare() -> None:
        if libc is not None:
            libc.prctl(_DIES_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
        if tell is not None:
            tell(os.getpid())
        if os.getppid() != parent:  # we were killed before it said so
            os._exit(1)
        if confine is not None:
            confine()

    return prepare


@contextlib.contextmanager
def _forwarding(passed: list[signal.Signals], shares_group: bool) -> Iterator[Callable[[int], None]]:
    """While it lasts, signals that reach us go to the process that we are told of, and to its children."""
    process: list[int] = []
    waiting: deque[int] = deque()

    def send() -> None:
        # Whoever comes second, of the signal and the process, sends it: they are on two threads.
        with contextlib.suppress(IndexError):
            while process:
                _send(process[0], waiting.popleft(), shares_group)

    def forward(number: int, _: FrameType | None) -> None:
        passed.append(signal.Signals(number))
        waiting.append(number)
        send()

    def told(pid: int) -> None:
        process.append(pid)
        send()

    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    # What we were told to ignore (`nohup`) the program ignores, too.
    before = {each: signal.getsignal(each) for each in _FORWARDED}
    mine = [each for each, handler in before.items() if handler is not signal.SIG_IGN]
    for each in mine:
        signal.signal(each, forward)
    try:
        yield told
    finally:
        for each in mine:
            signal.signal(each, before[each])


def _send(pid: int, number: int, shares_group: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        if not shares_group:
            os.killpg(pid, number)
            if number in STOPPING:
                os.killpg(
                    pid, signal.SIGCONT
                )  # it may have been stopped, as by asking a terminal that is not its own
        elif number not in (signal.SIGINT, signal.SIGQUIT):  # the terminal sent these to it, too
            os.kill(pid, number)


def end_like(ended: Ended) -> int:
    """The exit code of a process that passes `ended` on; where a signal ended it, it is ended by the same."""
    if ended.by is None:
        return cast("int", ended.code)
    with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler to be reset
        signal.signal(ended.by, signal.SIG_DFL)
    # A core of ours would say nothing of the program.
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), ended.by)
    return 128 + ended.by

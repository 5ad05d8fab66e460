"""What is shown of a plan that is carried out: a bar on a terminal, lines where there is none, events as JSON."""

import contextlib
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from whence import applying
from whence.due import End
from whence_catalog import plans, wire

_out = Console(emoji=False, highlight=False, soft_wrap=True)
_STYLE = {"reused": "cyan", "executed": "green", "failed": "red", "blocked": "red", "stopped": "yellow"}
_BAR_CHARACTERS = 30
# What a console raises when nobody reads it any more: no reason for what runs to stop.
_GONE = (OSError, ValueError, SystemExit)


class Shown:
    """Hears of a plan that is carried out, from any thread. What is for people goes to standard error.

    On a terminal a bar says how many of all have ended, how long it has taken, and what runs.
    """

    def __init__(self, json: bool, to: Console | None = None) -> None:
        self._json = json
        self._to = to or Console(stderr=True, emoji=False, highlight=False)
        self._events = sys.stdout
        self._guard = threading.Lock()
        self._bar: tuple[Progress, TaskID] | None = None
        # Of each that runs, its job, and what making it is at.
        self._running: dict[UUID, tuple[str, str]] = {}

    @contextlib.contextmanager
    def bar(self) -> Iterator[None]:
        """While this lasts there is a bar, on a terminal; it leaves nothing behind."""
        if self._json or not self._to.is_terminal:
            yield
            return
        progress = Progress(
            TextColumn("{task.fields[so_far]}"),
            BarColumn(_BAR_CHARACTERS),
            TimeElapsedColumn(),
            TextColumn(
                "[dim]{task.fields[at]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
            console=self._to,
            transient=True,
            expand=True,
        )
        with progress:
            self._bar = progress, progress.add_task("", total=None, so_far="", at="")
            try:
                yield
            finally:
                self._bar = None

    def say(self, text: str) -> None:
        """A line beside the events."""
        if not self._json:
            self._print(f"[dim]· {escape(text)}[/dim]")

    def said(self, step: plans.PlannedRun, text: str) -> None:
        """What making a Run again is at."""
        if self._json:
            self._event(applying.Event("said", step.run, step.job, 0, 0, text=text))
        elif self._bar is None:
            self.say(f"{step.job}: {text}")
        else:
            self._running[step.run] = step.job, text
            self._draw()

    def heard(self, event: applying.Event) -> None:
        """Something happened."""
        if self._json:
            self._event(event)
            return
        if event.what == "started":
            self._running[event.step] = event.job, ""
        else:
            self._running.pop(event.step, None)
        if event.what != "started" or self._bar is None:
            seconds = f" in {event.seconds:.1f} s" if event.seconds else ""
            why = f": {escape(event.text.splitlines()[-1])}" if event.text else ""
            self._print(f"{event.done}/{event.of} {coloured(event.what)} {escape(event.job)}{seconds}{why}")
        self._draw(event)

    def _draw(self, event: applying.Event | None = None) -> None:
        """The bar as it is now."""
        bar = self._bar
        if bar is None:
            return
        progress, task = bar
        running = list(self._running.values())
        jobs = Counter(job for job, _ in running)
        at = ", ".join(job if many == 1 else f"{job} ×{many}" for job, many in jobs.items())
        if len(running) == 1 and running[0][1]:
            at = f"{at}: {running[0][1]}"
        with contextlib.suppress(*_GONE):
            if event is not None:
                progress.update(task, completed=event.done, total=event.of, so_far=f"{event.done}/{event.of}")
            progress.update(task, at=escape(at), refresh=True)

    def _print(self, line: str) -> None:
        with contextlib.suppress(*_GONE):
            self._to.print(line, soft_wrap=True)

    def _event(self, value: object) -> None:
        with self._guard, contextlib.suppress(*_GONE):
            self._events.write(wire.encode(value).decode() + "\n")
            self._events.flush()

    def outcome(self, done: applying.Applied) -> None:
        """What it came to."""
        if self._json:
            self._event(done)
            return
        counts = ", ".join(f"{count} {coloured(name)}" for name, count in done.counts.items() if count)
        _out.print(f"run {done.run}: {counts or 'nothing was to be done'}, in {done.seconds:.1f} s")
        for each in done.done:
            for output in each.outputs if each.end is End.EXECUTED else ():
                _out.print(f"  {escape(output.version.ref)}  by {escape(each.job)} {each.run}")
            if each.end in (End.FAILED, End.BLOCKED):
                _out.print(f"  {coloured(each.end.value)} {escape(each.job)}: {escape(each.why or '')}")
        if done.was_stopped:
            _out.print("it was told to stop; the same command goes on")


def coloured(word: str) -> str:
    """How a Run ended, in its colour."""
    return f"[{_STYLE.get(word, 'white')}]{word}[/]"

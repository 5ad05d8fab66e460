"""Runs the demo's pipeline as a user would, and reports what happened.

What executed is counted by the marks that the steps' own bodies leave, not by the catalog's word.
"""

import itertools
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from whence import replay
from whence.cli import printing, rerunning
from whence.client import Client
from whence.described import SALT_VARIABLE
from whence_catalog import audit, cache, lineage, model
from whence_catalog.errors import ErrorKind, NotReady

FOLDER = "whence-demo"
MODEL = "model:digits"
_STEPS = 4


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of the pipeline: the steps whose bodies ran, and how many were reused."""

    executed: tuple[str, ...]
    reused: int
    seconds: float
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tour:
    """What the demo did and found."""

    folder: Path
    first: Pass
    second: Pass
    changed: Pass
    early_cutoff: Pass
    rerun: replay.Rerun
    graph: lineage.Graph
    report: audit.AuditReport
    seconds: float


def run(client: Client, say: Callable[[str], None]) -> Tour:
    """Run the tour in `./whence-demo`, against `client`'s catalog.

    Raises:
        NotReady: scikit-learn is not installed, or the pipeline failed; its own words are in the message.
    """
    if util.find_spec("sklearn") is None:
        raise NotReady(
            "the demo needs scikit-learn, which is not installed; run: pip install 'whence[demo]'",
            ErrorKind.EXTRA_MISSING,
        )
    began = time.monotonic()
    folder = Path.cwd() / FOLDER
    _lay_out(folder)
    # A salt of its own: the tour starts cold even where it ran before, and displaces nothing.
    pipeline = _Pipeline(client, folder, {SALT_VARIABLE: f"demo {secrets.token_hex(4)}"})
    say("running the pipeline for the first time: nothing is known, all of it executes")
    first = pipeline.run()
    trained = client.get(f"{MODEL}@latest")
    say("running it again: nothing changed, all of it is reused")
    second = pipeline.run()
    say("running it with c=0.5: only what depends on c executes")
    changed = pipeline.run("--c", "0.5")
    say("editing a step so that other code makes the same bytes: what comes after it is reused")
    source = folder / "features.py"
    source.write_text(source.read_text().replace("pixels / 16.0", "pixels * 0.0625"))
    cutoff = pipeline.run()
    say("making the first training run again from its record, in a fresh environment and an empty folder")
    again = replay.rerun(client, str(trained.run), keep=None, progress=say)
    graph = client.catalog.lineage([trained.ref], lineage.Direction.UP, lineage.Bounds(max_nodes=None))
    report = client.audit(trained.ref, audit.Policy.default())
    return Tour(folder, first, second, changed, cutoff, again, graph, report, time.monotonic() - began)


def _lay_out(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    template = Path(__file__).parent / "project"
    for file in template.iterdir():
        if file.is_file():
            shutil.copyfile(file, folder / file.name)


class _Pipeline:
    """The demo's project, run in a process of its own."""

    def __init__(self, client: Client, folder: Path, variables: Mapping[str, str]) -> None:
        self._client = client
        self._folder = folder
        self._variables = {**variables, **client.env}

    def run(self, *arguments: str) -> Pass:
        """Run it; the steps that executed by their own marks, with the catalog's reasons."""
        ledger = self._folder / ".executed"
        ledger.unlink(missing_ok=True)
        last = next(iter(self._client.catalog.runs(limit=1)), None)
        began = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "pipeline.py", *arguments],
            cwd=self._folder,
            env=self._environment(ledger),
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            raise NotReady(f"the demo's pipeline failed:\n{ended.stderr.strip()}", ErrorKind.EXTRA_MISSING)
        seconds = time.monotonic() - began
        executed = tuple(ledger.read_text().split()) if ledger.exists() else ()
        ledger.unlink(missing_ok=True)
        runs = self._since(last)
        reused = sum(run.state is model.RunState.REUSED for run in runs)
        return Pass(executed, reused, seconds, self._reasons(runs))

    def _environment(self, ledger: Path) -> dict[str, str]:
        # Without compiled modules every process would spend seconds on compiling its imports.
        inherited = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**inherited, **self._variables, "DEMO_LEDGER": str(ledger)}

    def _since(self, last: model.Run | None) -> list[model.Run]:
        """The Runs that were recorded since `last`, in the order they began."""
        newest = self._client.catalog.runs(limit=20)
        fresh = itertools.takewhile(lambda run: last is None or run.uid != last.uid, newest)
        return list(fresh)[::-1]

    def _reasons(self, runs: Sequence[model.Run]) -> tuple[str, ...]:
        """Why each step that executed did."""
        return tuple(
            f"{run.job}: {_differs(self._client.catalog.explain(str(run.uid)))}"
            for run in runs
            if run.state is model.RunState.COMPLETE and run.key is not None
        )


def _differs(explained: cache.Explanation) -> str:
    if explained.against is None:
        return "it never ran before"
    parts = []
    for verdict in explained.changes:
        if verdict.name.startswith("params/"):
            parts.append(f"{verdict.name} was {verdict.before}, is {verdict.after}")
        elif verdict.name.startswith("inputs/"):
            parts.append(f"{verdict.name} changed, since run {str(verdict.made_by)[:18]} made other bytes")
        elif verdict.name != "salt":
            parts.append(f"{verdict.name} changed")
    return "; ".join(parts) or "it never ran before in this tour"


# ── telling ──────────────────────────────────────────────────────────────────────────────────────


def summary(tour: Tour) -> dict[str, object]:
    """What `whence demo --json` prints."""

    def counts(done: Pass) -> dict[str, object]:
        return {"executed": len(done.executed), "reused": done.reused}

    outputs = [
        {"role": o.role, "ref": o.ref, "before": o.before, "after": o.after} for o in tour.rerun.outputs
    ]
    return {
        "first": counts(tour.first),
        "second": counts(tour.second),
        "changed": {**counts(tour.changed), "why": tour.changed.why},
        "early_cutoff": {**counts(tour.early_cutoff), "why": tour.early_cutoff.why},
        "rerun": {"identical": tour.rerun.identical, "outputs": outputs},
        "lineage": {
            "nodes": len(tour.graph.nodes),
            "edges": len(tour.graph.edges),
            "complete": tour.graph.completeness.complete,
        },
        "audit": {"verdict": tour.report.verdict, "findings": tour.report.findings},
        "seconds": round(tour.seconds, 1),
    }


def show(tour: Tour) -> None:
    """Print the tour for people."""
    for title, done in (
        ("first", tour.first),
        ("again", tour.second),
        ("with c=0.5", tour.changed),
        ("with a step edited", tour.early_cutoff),
    ):
        printing.show_pass(title, done.executed, done.reused, done.seconds, done.why)
    printing.heading("the training run, made again from its record")
    rerunning.show(tour.rerun)
    printing.heading("where the model came from")
    printing.show_lineage(tour.graph, lineage.Direction.UP)
    printing.heading("what an auditor would be told")
    printing.show_audit(tour.report)
    printing.heading("explore it")
    printing.show_text(
        "whence ls · whence log · whence lineage model:digits@latest · whence why RUN · whence audit model:digits@prod"
    )
    printing.show_text(f"[dim]the pipeline is in {tour.folder}; all this took {tour.seconds:.0f} s[/dim]")

"""What is to be said of the code that a step runs: everything that counts, where it stands, and what is left open.

Of a step it is found in the process; of a Run, as it was recorded. Leaves to others: finding it (`fingerprint`),
and what of it changed since an earlier Run (`changes`).
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from whence import described, fingerprint, further, origins
from whence_catalog import model
from whence_catalog.errors import InvalidInput

if TYPE_CHECKING:
    from whence.client import Client

# What stands before the name in the symbol of a whole file; see `reach`.
_FILES = ("file ", "project ")
_MODULES = ("effects ", "order ")


@dataclass(frozen=True, slots=True)
class Covered:
    """One symbol that counts. `where` is its file from the project's root, or the version of a distribution."""

    symbol: str
    digest: str
    where: str | None


@dataclass(frozen=True, slots=True)
class CodeReport:
    """What counts as the code of a job.

    `widened` says why all of the project counts, where it does; the symbols in `interpreter_bound` count by their
    bytecode; with anything in `uncacheable` there is no key. `further` are the symbols that earlier calls ran and
    no name led to. `compared` says whether what ran was compared with what is covered (None: it was not, or
    nothing has run), and `holes` what ran besides.
    """

    job: str
    covered: tuple[Covered, ...]
    digest: str | None = None
    widened: tuple[str, ...] = ()
    interpreter_bound: tuple[str, ...] = ()
    uncacheable: tuple[str, ...] = ()
    further: tuple[str, ...] = ()
    compared: bool | None = None
    holes: tuple[str, ...] = ()


def of_step(step: Callable[..., object]) -> CodeReport:
    """What counts as the code of a step, or of any function, as it is loaded now; but for its arguments' classes."""
    root = described.project_root(step)
    try:
        job = described.call_of(step).job
    except (InvalidInput, TypeError):  # no step, or one that wants arguments
        job = fingerprint.job_name(step, root)
    roots = further.of(os.path.realpath(root), job)
    identity = fingerprint.code_identity(step, root, (), roots)
    modules = {
        origins.module_name({"__name__": "", "__file__": file}, os.path.realpath(root)): path
        for path, file in identity.files.items()
    }
    shown = ((symbol, raw.hex()[:16]) for symbol, raw in identity.rows.items())
    return CodeReport(
        job,
        tuple(_covered(shown, modules)),
        identity.digest.text,
        identity.widened,
        identity.interpreter_bound,
        identity.uncacheable,
        tuple(place.symbol for place in roots),
    )


def of_run(opened: "Client", run: str) -> CodeReport:
    """What counted as the code of a Run, as far as its record says.

    Raises:
        NotFound: there is no such Run.
    """
    explained = opened.catalog.explain(run)
    record = opened.catalog.run(run)
    previews = [item.after for item in explained.verdicts if item.name == "code" and item.after]
    lines = [line.rpartition(" ") for preview in previews for line in preview.splitlines()]
    seen = record.observed
    return CodeReport(
        record.run.job,
        tuple(_covered(((symbol, text) for symbol, _, text in lines), {})),
        uncacheable=_reasons(seen),
        compared=None if seen is None else seen.covered,
        holes=() if seen is None else seen.holes,
    )


def _reasons(seen: model.Observed | None) -> tuple[str, ...]:
    return (f"code ran that is no part of its key: {', '.join(seen.holes)}",) if seen and seen.holes else ()


def _covered(rows: Iterable[tuple[str, str]], modules: Mapping[str, str]) -> Iterable[Covered]:
    for symbol, shown in sorted(rows):
        yield Covered(symbol, shown, _where(symbol, modules))


def _where(symbol: str, modules: Mapping[str, str]) -> str | None:
    for prefix in _FILES:
        if symbol.startswith(prefix):
            return symbol.removeprefix(prefix)
    for prefix in _MODULES:
        if symbol.startswith(prefix):
            return modules.get(symbol.removeprefix(prefix))
    if symbol.startswith("distribution ") and modules:
        try:
            return metadata.version(symbol.removeprefix("distribution "))
        except metadata.PackageNotFoundError:
            return None
    return modules.get(symbol.partition(":")[0])

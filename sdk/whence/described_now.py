"""The code of recorded Runs as it is in the project in this folder now: what a plan with `--code now` puts in its place.

A step is described as it would be if it were called, a command as `whence exec` would describe it: by the same code, so
that both have the key that they would have then. Of what cannot be told here it is said why.
"""

import contextlib
import dataclasses
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import cast

from whence import (
    arguments,
    command_key,
    connecting,
    counted,
    described,
    origins,
    parameters,
    programs,
    secrecy,
)
from whence.client import Client
from whence_catalog import cache, digest, manifest, model, plans
from whence_catalog.errors import Conflict, Damaged, ErrorKind, InvalidInput, NotFound


@dataclasses.dataclass(frozen=True, slots=True)
class Now:
    """What is `new`, as a request takes it, by job or by Run; and of what is `left` as it was, and why."""

    new: dict[str, plans.NewCode] = dataclasses.field(default_factory=dict)
    left: list[str] = dataclasses.field(default_factory=list)


def of(client: Client, runs: Iterable[tuple[model.Run, AbstractSet[str], bool]]) -> Now:
    """The code of these Runs as it is now.

    Args:
        runs: Runs that ran, each with the roles of what it took, and whether it is the last of its job: the code of a
            step is that of its job, and each command stands for itself.
    """
    now = Now()
    for run, roles, is_last in runs:
        try:
            if run.capture.command and run.key is not None:
                now.new[str(run.uid)] = _of_command(client, run, roles, now.left)
            elif not is_last and not run.capture.command:
                pass
            elif run.key is not None and run.capture.entry is not None:
                now.new[run.job] = _of_step(client, run)
            elif run.key is not None:
                why = "it was recorded without an entry point, so that its code is not found here"
                raise Conflict(why, ErrorKind.NOT_RERUNNABLE)
            elif run.capture.bundle is not None:
                why = "it has no key, so that nothing says whether that changed"
                raise Conflict(why, ErrorKind.NOT_RERUNNABLE)
        except (Conflict, InvalidInput, NotFound, Damaged) as error:
            now.left.append(f"with the code that it had, {run.job}: {error}")
    return Now(now.new, list(dict.fromkeys(now.left)))


def _parts(client: Client, run: model.Run) -> list[str]:
    """The parts of the key of a Run, by name: of one that is compared with itself all are the same."""
    return [part.name for part in client.catalog.explain(str(run.uid), str(run.uid)).verdicts]


def _new(
    components: Sequence[model.Component], obstacles: Sequence[str], seen: model.Capture, had: Sequence[str]
) -> plans.NewCode:
    """Code that is these parts now, or has no key, in the place of one whose key had parts of these names."""
    if obstacles:
        return plans.NewCode((), seen, uncacheable=tuple(obstacles))
    names = {part.name for part in components}
    gone = [name for name in had if name not in names and name.startswith(_AROUND)]
    return plans.NewCode(tuple(components), seen, tuple(gone))


# Parts of a key that are there or not, whatever is handed to it.
_AROUND = ("extra", "envvar", "seed", "salt", "files/./")


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


def _of_command(client: Client, run: model.Run, roles: AbstractSet[str], left: list[str]) -> plans.NewCode:
    captured = run.capture
    if not captured.argv:
        raise Conflict("it was recorded without its words", ErrorKind.NOT_RERUNNABLE)
    root = origins.root_around(Path.cwd())
    here = root / (captured.cwd or ".")
    if not here.is_dir():
        raise NotFound(f"no folder {here}, in which it ran", ErrorKind.NO_SUCH_FILE)
    place = counted.Place(origins.root_around(here), here)
    had = _parts(client, run)
    hidden = f"extra/{counted.HIDDEN}"
    lies = {name: root / told for name, told in captured.places.items()}
    stated = command_key.Stated(
        place,
        captured.argv,
        {name: path for name, path in lies.items() if name in roles},
        {name: path for name, path in lies.items() if name not in roles},
        code=[root / told for told in captured.code],
        variables=[name.partition("/")[2] for name in had if name.startswith("envvar/")],
        is_sandboxed=f"extra/{command_key.SANDBOX}" in had,
        is_masked=hidden in had and any(secrecy.HIDDEN in word for word in captured.argv),
    )
    known = command_key.known(stated, programs.find(captured.argv[0], place.here))
    _refuse_another_project(client, captured, known)
    call = known.call(client, run.job)
    components, obstacles, seen = described.code_of(client, call)
    # What it takes is not in the call; and nobody can tell any more what was hidden: they are taken for what they were.
    kept = {"signature", *([hidden] if stated.is_masked else [])}
    if stated.is_masked:
        left.append(
            f"{run.job}: words of it look secret and were not kept: what they name may be other files now"
        )
    new = [part for part in components if part.name not in kept]
    return _new(new, obstacles, seen, [name for name in had if name not in kept])


def _refuse_another_project(client: Client, captured: model.Capture, known: command_key.Known) -> None:
    """Nothing, if some file of the source of a command is here.

    Raises:
        Conflict: none is: this is another project.
    """
    had = [] if captured.bundle is None else manifest.read(captured.bundle, client.blobs.read_bytes)
    paths = {entry.path for entry in had}
    if paths and paths.isdisjoint(known.source.files):
        raise Conflict(f"nothing of its source is in {known.stated.place.root}", ErrorKind.NOT_RERUNNABLE)


# ── steps ────────────────────────────────────────────────────────────────────────────────────────


def _of_step(client: Client, run: model.Run) -> plans.NewCode:
    step = _step(run)
    names = inspect.signature(step).parameters
    root = Path.cwd()
    used = client.catalog.run(str(run.uid)).inputs
    had = dict.fromkeys([*run.params, *(arguments.argument_of(each.role) for each in used)])
    if gone := [name for name in had if name not in names]:
        raise Conflict(
            f"it was called with {', '.join(gone)}, which it does not take any more", ErrorKind.NOT_RERUNNABLE
        )
    given = {
        name: parameters.restore(parameters.kept(value, client.blobs), root)
        for name, value in run.params.items()
        if not _holds_inputs(value)
    }
    missing = {name for name, p in names.items() if p.default is p.empty and name not in given}
    if needed := [name for name in names if name in missing and name not in had]:
        raise Conflict(
            f"it needs {', '.join(needed)} now, which it was not called with", ErrorKind.NOT_RERUNNABLE
        )
    try:
        # What it takes is no part of its code: anything stands for it.
        call = described.call_of(step, **given, **dict.fromkeys(missing))
    except TypeError as error:
        raise Conflict(f"{run.job} cannot be called as it was: {error}", ErrorKind.NOT_RERUNNABLE) from error
    components, obstacles, seen = described.code_of(client, call)
    new = [
        cache.component(
            "params", parameters.Canonical(root).of(value, name), f"params/{name}", parameters.preview(value)
        )
        for name, value in call.inputs.items()
        if name not in had
    ]
    return _new((*components, *new), obstacles, seen, _parts(client, run))


def _holds_inputs(value: digest.Framed) -> bool:
    """Whether an Artifact stands somewhere in a parameter."""
    if isinstance(value, digest.Record):
        return value.name == "whence.input" or _holds_inputs(value.value)
    if isinstance(value, Mapping):
        return any(map(_holds_inputs, cast("Iterable[digest.Framed]", value.values())))
    return isinstance(value, list | tuple | frozenset) and any(map(_holds_inputs, value))


def _step(run: model.Run) -> Callable[..., object]:
    """The step that a Run was of, as it is in the project in this folder: imported, and nothing of it run that records.

    Raises:
        Conflict: it is not there, or an import fails, or would run it.
    """
    module, _, name = cast("str", run.capture.entry).partition(":")
    here = Path.cwd()
    sys.path[:0] = [str(here / place) for place in (".", *run.capture.search)]
    runs_it = f'importing {module} would run it: put that under if __name__ == "__main__":'
    try:
        # Standard output is for the plan.
        with connecting.unused(runs_it), contextlib.redirect_stdout(sys.stderr):
            found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Conflict:
        raise
    except (ImportError, AttributeError) as error:
        raise Conflict(
            f"the code of {run.job} is not found in {here}: {error}", ErrorKind.NOT_RERUNNABLE
        ) from error
    except (Exception, SystemExit) as error:
        said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        raise Conflict(f"{module} cannot be imported in {here}: {said}", ErrorKind.NOT_RERUNNABLE) from error
    return cast("Callable[..., object]", found)

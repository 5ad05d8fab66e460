"""Calls a recorded entry point again, inside a room. Started by `room`; speaks to `replay` by files.

    python -m whence.replayed MODULE:NAME ARGUMENTS RESULTS

ARGUMENTS is a frame of what `replay` wrote; RESULTS is a folder, in which `reached` (empty), `code` (where it was asked
which code this is), `outputs` (a frame) and a Blob store appear. There is no catalog here: steps called by the step run as plain functions.
"""

import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import cast
from uuid import UUID

from whence import calls, client, closures, handles, notebook, outputs, parameters
from whence.steps import REPLAY_VARIABLE
from whence_catalog import blobs, cache, catalog, digest, facts, model

NOTHING: Mapping[str, digest.Framed] = MappingProxyType({})
STORE = "blobs"
OUTPUTS = "outputs"
# It is there from when the entry point was found: what fails later is the step itself.
REACHED = "reached"
# The component of a key that says which code runs here.
CODE = "code"


def main(entry: str, arguments: Path, results: Path) -> None:
    """Call `entry` and leave what it made in `results`."""
    root, said = Path.cwd(), _read(arguments)
    _take_place(said, root)
    step = _found(entry, said, root)
    results.mkdir(exist_ok=True)
    (results / REACHED).touch()
    bound = _bind(step, said, root)
    if said["is_keyed"]:
        _tell_code(step, list(bound.arguments.values()), root, results)
    made = step(*bound.args, **bound.kwargs)
    if inspect.iscoroutine(made):
        import asyncio

        made = asyncio.run(made)
    own = _own_client(results, cast("str", said["project"]))
    staging = results / "staging"
    staging.mkdir(parents=True)
    claims = outputs.store(outputs.take_apart(made, cast("str", said["job"]), root), own, staging)
    said_of = model.Addition(calls.new_uid(), calls.new_uid(), own.actor, outputs=claims)
    body = facts.add(said_of, facts.Redactor(lambda _: b""))
    (results / OUTPUTS).write_bytes(digest.frame(body))


def _tell_code(step: Callable[..., object], arguments: Sequence[object], root: Path, results: Path) -> None:
    """Leave which code this is, with the values that it reads, as a key would say it; nothing, where it has no identity."""
    from whence import fingerprint  # what a plain rerun never needs

    found = fingerprint.code_identity(inspect.unwrap(step), root, arguments)
    if not found.uncacheable:
        (results / CODE).write_bytes(cache.component("code", dict(found.rows)).digest)


def _take_place(said: Mapping[str, digest.Framed], root: Path) -> None:
    """Have this process stand where the recorded one did: command line, search path, working folder.

    What lay outside of the project is nowhere: then it stands at the root.
    """
    if argv := cast("Sequence[str]", said.get("argv", ())):
        sys.argv[:] = argv
    search = [str(root / path) for path in cast("Sequence[str]", said.get("search", ()))]
    inside = [folder for folder in dict.fromkeys(search) if Path(folder).is_relative_to(root)]
    sys.path[:] = [*inside, *(entry for entry in sys.path if entry not in inside)]
    folder = root / cast("str", said.get("cwd", "."))
    if folder.is_relative_to(root):
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)


def _found(entry: str, said: Mapping[str, digest.Framed], root: Path) -> Callable[..., object]:
    """What was made a step, reached as it was recorded that it can be."""
    name, _, qualname = entry.partition(":")
    around = cast("Mapping[str, digest.Framed]", said.get("closure", {}))
    is_notebook = said.get("source") == model.Reached.NOTEBOOK.value
    module = _notebook(root, around) if is_notebook else _module(name, root)
    if closures.is_nested(qualname):
        rebuilt = closures.rebuild(qualname, around, module, root)
        if not is_notebook:
            closures.restore_globals(around, inspect.unwrap(rebuilt).__code__.co_freevars, module, root)
        return rebuilt
    if not is_notebook:
        closures.restore_globals(around, (), module, root)
    found: object = module
    for part in qualname.split("."):
        found = getattr(found, part)
    return cast("Callable[..., object]", closures.made_step(found))


def _module(name: str, root: Path) -> types.ModuleType:
    """The module of that name; a script is in no package, and may be in a folder that no import goes through."""
    try:
        return parameters.module_named(name, root)
    except ModuleNotFoundError:
        file = next((at for at in (root, root / "src") if (at / _path(name)).is_file()), None)
        spec = importlib.util.spec_from_file_location(name, file / _path(name)) if file is not None else None
        if spec is None or spec.loader is None:
            raise
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _path(name: str) -> Path:
    return Path(*name.split(".")).with_suffix(".py")


def _notebook(root: Path, around: Mapping[str, digest.Framed]) -> types.ModuleType:
    """The module that was made from a notebook's cells. It is `__main__`, as their classes are called."""
    file = root / notebook.MODULE_PATH
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    # Not as __file__: what stands in no file of the project is named by that it has none.
    vars(module)[closures.FILE] = str(file)
    closures.restore_globals(around, (), module, root, only_values=True)
    exec(compile(file.read_bytes(), str(file), "exec", dont_inherit=True), vars(module))
    closures.restore_globals(around, (), module, root)
    return module


def _own_client(results: Path, project: str) -> client.Client:
    store = blobs.BlobStore.open((results / STORE).as_uri(), cache=results / "cache")
    nowhere = cast("catalog.Catalog", None)  # a room has no catalog, and `store` asks for none
    return client.Client(nowhere, store, project, model.Actor("replay"), str(results))


def write(
    path: Path,
    params: Mapping[str, digest.Framed],
    taken: Sequence[tuple[model.Input, model.Output, Path]],
    run: model.Run,
    captured: model.Capture | None = None,
    closure: Mapping[str, digest.Framed] = NOTHING,
    *,
    is_keyed: bool = False,
) -> None:
    """Write the arguments of a call: its parameters, where each input lies, and where the process stood.

    What it makes is named as what `run` made was: by its job, in its project.
    `closure` is that of `captured`, with what was stored for its size in place. Where the call `is_keyed`, it is to be told
    which code runs.
    """
    captured = captured or model.Capture()
    claims = tuple(
        model.OutputClaim(
            role=f"{place}",
            artifact=output.version.artifact,
            content=output.version.content,
            filename=output.filename,
            format=output.format,
            metadata=output.metadata,
            metrics=output.metrics,
        )
        for place, (_, output, _) in enumerate(taken)
    )
    said = model.Addition(calls.new_uid(), calls.new_uid(), model.Actor("replay"), outputs=claims)
    places: list[digest.Framed] = [
        [used.role, output.version.number, output.run.bytes, str(lies)] for used, output, lies in taken
    ]
    path.write_bytes(
        digest.frame(
            {
                "project": run.project,
                "job": run.job,
                "params": dict(params),
                "inputs": facts.add(said, facts.Redactor(lambda _: b"")),
                "places": places,
                "argv": list(captured.argv),
                "cwd": captured.cwd or ".",
                "search": list(captured.search),
                "source": (captured.source or model.Reached.MODULE).value,
                "closure": dict(closure),
                "is_keyed": is_keyed,
            }
        )
    )


def _read(path: Path) -> Mapping[str, digest.Framed]:
    return cast("Mapping[str, digest.Framed]", digest.unframe(path.read_bytes()))


def _bind(
    step: Callable[..., object], said: Mapping[str, digest.Framed], root: Path
) -> inspect.BoundArguments:
    """The arguments as the step was called with them."""
    params = cast("Mapping[str, digest.Framed]", said["params"])
    taken = _handles(said)
    signature = inspect.signature(step)
    bound = signature.bind_partial()
    for name in signature.parameters:
        if name in params:
            bound.arguments[name] = parameters.restore(_filled(params[name], taken), root)
        elif taken.get(name):
            bound.arguments[name] = taken[name].pop(0)
    return bound


def _handles(said: Mapping[str, digest.Framed]) -> dict[str, list[handles.Handle]]:
    claims = facts.read_add(calls.new_uid(), cast("facts.Body", said["inputs"])).outputs
    places = cast("Sequence[tuple[str, int, bytes, str]]", said["places"])
    found: dict[str, list[handles.Handle]] = {}
    for claim, (role, number, run, lies) in zip(claims, places, strict=True):
        version = model.Version(claim.artifact, number, claim.content, model.moment(0))
        output = model.Output(
            role=claim.role,
            version=version,
            run=UUID(bytes=run),
            filename=claim.filename,
            format=claim.format,
            metadata=claim.metadata,
            metrics=claim.metrics,
        )
        found.setdefault(role, []).append(handles.bound(output, path=Path(lies)))
    return found


def _filled(value: digest.Framed, taken: Mapping[str, list[handles.Handle]]) -> digest.Framed:
    """A parameter with its handles in their places."""
    if isinstance(value, digest.Record) and value.name == "whence.input":
        return cast("digest.Framed", taken[cast("str", value.value)].pop(0))
    if isinstance(value, list):
        return [_filled(item, taken) for item in value]
    if isinstance(value, tuple):
        return tuple(_filled(item, taken) for item in value)
    if isinstance(value, Mapping):
        return {cast("str", key): _filled(item, taken) for key, item in value.items()}
    return value


if __name__ == "__main__":
    os.environ[REPLAY_VARIABLE] = "1"
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))

"""A recorded command, run again in a room: its inputs where they lay, its words filled in anew, its outputs collected."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whence import aside, commands, handing, handles, in_place, parameters, room, words
from whence.client import Client
from whence_catalog import digest, model
from whence_catalog.errors import Conflict, ErrorKind

Taken = Sequence[tuple[model.Input, model.Output, Path]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A command that can be run in `made`; it leaves its outputs at `places`, by name, and others `beside`."""

    made: room.Room
    argv: Sequence[str]
    variables: Mapping[str, str]
    folder: str
    places: Mapping[str, Path]
    beside: aside.Aside | None

    def started(self) -> handing.Started:
        """The program that it starts.

        Raises:
            NotFound: there is none.
        """
        program = self.made.program(self.argv[0])
        return handing.Started(program, self.made.is_of_environment(program))

    def run(self, heard: room.Heard | None) -> room.Ended:
        """Run it, and wait for it."""
        for path in self.places.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        if self.beside is None:
            return self.made.run_command(self.argv, self.variables, self.folder, heard)
        with self.beside.running():
            told = {**self.variables, **self.beside.variables}
            return self.made.run_command(self.argv, told, self.folder, heard)

    def failed(self, ended: room.Ended) -> str:
        """How it failed, in words."""
        return f"failed ({ended.how})"

    def claims(
        self, client: Client, record: model.RunRecord, ended: room.Ended, scratch: Path
    ) -> tuple[model.OutputClaim, ...]:
        """What it made, in the store, named as the original named it; what it said is among it.

        Raises:
            Conflict: an output is not there.
        """
        original = {output.role: output for output in record.outputs}
        claims = []
        for place, (name, path) in enumerate(self.places.items()):
            lay = record.run.capture.places[name]
            if not path.exists():
                raise Conflict(
                    f"the command ended well, and left no {lay}, the output {name}",
                    ErrorKind.NOT_RERUNNABLE,
                )
            twin = original.get(name)
            artifact = (
                model.Artifact(record.run.project, "file", lay) if twin is None else twin.version.artifact
            )
            says = {commands.PATH: lay, **in_place.programs(path)}
            draft = handles.draft(artifact.kind, artifact.name, path, metadata=says)
            claims.append(_stored(client, draft, name, scratch / f"output-{place}", artifact.project))
        claims += () if self.beside is None else self.beside.published(client, scratch)
        if ended.stdout.stat().st_size or ended.stderr.stat().st_size:
            log = scratch / "log"
            log.mkdir()
            for stream, file in zip(commands.STREAMS, (ended.stdout, ended.stderr), strict=True):
                shutil.copyfile(file, log / stream)
            draft = handles.draft("report", f"{record.run.job}.log", log, metadata={model.ASIDE: True})
            claims.append(_stored(client, draft, commands.LOG, scratch / "output-log", record.run.project))
        return tuple(claims)


def _stored(
    client: Client, draft: handles.Handle, role: str, folder: Path, project: str
) -> model.OutputClaim:
    folder.mkdir()
    return client.store(draft, role=role, folder=folder, project=project)


def prepare(
    made: room.Room, capture: model.Capture, taken: Taken, params: Mapping[str, digest.Framed], project: str
) -> Prepared:
    """The command of `capture` in a room, with these inputs and parameters, as a Run of `project`.

    An input that lay in the project is copied to its place; any other, and what a reference named, is read where
    the catalog lends it. An output that lay elsewhere is left in the room.
    """
    folder = capture.cwd or "."
    here = made.source / folder
    here.mkdir(parents=True, exist_ok=True)
    values = {name: words.text(parameters.restore(value, made.source)) for name, value in params.items()}
    inputs = {used.role: lies for used, _, lies in taken}
    metadata = {used.role: output.metadata for used, output, _ in taken}
    for name, lies in inputs.items():
        place = capture.places.get(name)
        if place is not None and not os.path.isabs(place):
            there = made.source / place
            _put(lies, there)
            in_place.mark(there, metadata[name])
            values[name] = os.path.relpath(there, here)
        else:
            values[name] = str(lies)
    places: dict[str, Path] = {}
    for name, place in capture.places.items():
        if name not in inputs:
            elsewhere = os.path.isabs(place)
            places[name] = made.folder / "outputs" / name if elsewhere else made.source / place
            values[name] = str(places[name]) if elsewhere else os.path.relpath(places[name], here)
    first, *rest = capture.command
    if os.sep in first and not os.path.isabs(first):
        first = str(here / first)
    variables = words.variables(values, inputs, places, params)
    filled = [first, *(words.filled(word, values) for word in rest)]
    beside = aside.of(made.folder / "catalog", made.source, filled, project)
    return Prepared(made, filled, variables, folder, places, beside)


def _put(lies: Path, there: Path) -> None:
    """A copy of its own: the command may do with it what it did with the first."""
    there.parent.mkdir(parents=True, exist_ok=True)
    in_place.remove(there)
    if lies.is_dir():
        shutil.copytree(lies, there, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(lies, there)

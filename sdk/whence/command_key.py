"""What a command is known by, beside what it takes: its words, its program, the source around it, what counts beside.

It is asked when a command begins (`commands`), and when a plan wants to know which key it would have now (`described_now`):
here, so that both have one answer.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from whence import (
    bundle,
    command_source,
    counted,
    described,
    environment,
    local,
    programs,
    secrecy,
    worktree,
)
from whence_catalog import model
from whence_catalog.errors import Conflict

if TYPE_CHECKING:
    from whence.client import Client

# The part of a key that says that it ran in a sandbox.
SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True)
class Stated:
    """A command in its place, as somebody states it, or as a Run says of itself.

    Args:
        argv: its words.
        inputs: those that lie where they were named, by name; `lent` is where others lie.
        outputs: where each is left.
        code: files and folders that are its code; the whole project's source unless given.
        variables: environment variables that its result depends on.
        is_masked: whether the words are as they were recorded, without what looks secret.
    """

    place: counted.Place
    argv: tuple[str, ...]
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    lent: Sequence[Path] = ()
    code: Sequence[Path] = ()
    variables: Sequence[str] = ()
    is_sandboxed: bool = False
    takes_input: bool = False
    is_masked: bool = False

    @property
    def touched(self) -> tuple[Path, ...]:
        """Where all that lies which it takes and makes."""
        return (*self.outputs.values(), *self.inputs.values(), *self.lent)


@dataclass(frozen=True, slots=True)
class Known:
    """What a command is known by. `words` are those of its key, `argv` the same as they may be recorded."""

    stated: Stated
    program: programs.Program
    words: tuple[str, ...]
    argv: tuple[str, ...]
    source: bundle.Bundle
    identity: described.Bundle
    counted: counted.Counted

    @property
    def files(self) -> frozenset[str]:
        """The files that are its source."""
        return frozenset(self.source.files.values())

    @property
    def is_masked(self) -> bool:
        """Whether a word of it looks secret, so that it is recorded without."""
        return self.stated.is_masked or self.argv != self.words

    def call(self, client: "Client", job: str) -> described.Call:
        """What is described of it, without its inputs and parameters; its source is stored."""
        program, place = self.program, self.stated.place
        seen: dict[str, object] = {
            "command": list(self.argv),
            "outputs": sorted(self.stated.outputs),
            # The same words mean other files in another folder.
            "folder": place.told(place.here),
        }
        if str(program.path) not in self.files:
            seen["program"] = program.identity
        if (packages := program.packages) is not None:
            seen["packages"] = packages
        if self.stated.is_sandboxed:
            seen[SANDBOX] = True
        return described.Call(
            job=job,
            code=self.identity,
            obstacles=[
                *self.counted.obstacles,
                *(
                    ["what it reads from its standard input has no identity"]
                    if self.stated.takes_input
                    else []
                ),
            ],
            environment=program.environment,
            variables=self.stated.variables,
            extra={**seen, **self.counted.seen},
            hidden=self.counted.hidden,
            root=place.root,
            captured=self._captured(client),
        )

    def _captured(self, client: "Client") -> model.Capture:
        program, stated, place = self.program, self.stated, self.stated.place
        here = environment.capture(place.root)
        kept = client.blobs.put_bytes(environment.encode(here))
        stored = None if self.source.root_digest is None else bundle.store(self.source, client.blobs)
        why = [] if self.source.because is None else [self.source.because]
        why += self._elsewhere()
        if self.is_masked:
            why.append(
                "a word of it looks secret, and was not kept; have it read a variable, named with --env"
            )
        if stated.takes_input:
            why.append("what it read from its standard input was not kept")
        if program.is_foreign_python:
            why.append(
                f"its interpreter {program.path} is not the one that whence runs in, and is not recorded"
            )
        why += self._of_an_unknown_package(here)
        kept_words = self.argv
        if str(program.path) in self.files:
            # By its path: nothing of the source is on PATH in a room.
            own = os.path.join(os.curdir, os.path.relpath(program.path, place.here))
            try:
                kept_words = (*program.told_from(place.root), own, *self.argv[1:])
            except Conflict as error:
                why.append(str(error))
        return model.Capture(
            bundle=stored,
            environment=kept,
            python=here.minor,
            git=worktree.facts(place.root),
            # As it was typed: which of the programs of one name it was is told by that alone.
            argv=secrecy.masked(stated.argv, secrecy.known()),
            rerunnable=not why,
            because="; ".join(why) or None,
            blind_spots=(*self.source.notes, *self.counted.notes, *self._unkept()),
            source=model.Reached.COMMAND,
            cwd=place.told(place.here),
            command=kept_words,
            places={name: place.told(path) for name, path in {**stated.outputs, **stated.inputs}.items()},
            code=tuple(map(place.told, stated.code)),
        )

    def _elsewhere(self) -> Iterator[str]:
        """Why it would not run what was kept: words that say where things lie on this machine."""
        root = self.stated.place.root
        for word in self.argv:
            if f"{root}{os.sep}" in word or word == str(root):
                yield f"{word} names the project by its place on this machine; name it from the folder it runs in"

    def _of_an_unknown_package(self, here: environment.Environment) -> Iterator[str]:
        """Why a command of a package that is somebody's source would not be there."""
        name = self.program.distribution
        if name is not None and any(each.is_local for each in here.distributions if each.name == name):
            declared = [Path(file) for file in self.files if os.path.basename(file) == local.DECLARED]
            if name != "whence" and self.program.path.name not in local.commands_of(declared, name):
                yield (
                    f"{self.program.path.name} is a command of {name}, which is installed from a folder, and no"
                    f" {local.DECLARED} of the source says so"
                )

    def _unkept(self) -> Iterator[str]:
        program = self.program
        if not program.is_installed_with_ours and str(program.path) not in self.files:
            yield f"the program {program.path} is its machine's, and is not kept"
        for name in self.stated.variables:
            if name in os.environ:
                yield f"the variable {name} was set, and its value was not kept"


def known(stated: Stated, program: programs.Program) -> Known:
    """What a command is known by that starts this program, as all lies there now.

    Raises:
        NotFound, InvalidInput: as `command_source.collect`; or another Python does not say what is installed for it.
    """
    # Ours has another folder on every machine.
    first = program.path.name if program.is_installed_with_ours else stated.argv[0]
    words = (first, *stated.argv[1:])
    argv = secrecy.masked(words, secrecy.known())  # as it is recorded
    source = command_source.collect(stated.place.root, stated.code, stated.touched)
    told = list(zip(words, argv, strict=True))
    beside = counted.of(stated.place, told, source, stated.touched, program)
    return Known(stated, program, words, argv, source.bundle, described.Bundle(source.identity.text), beside)

"""Whether one Run can be made again, with the inputs that it had, and what of it would be as it was.

Leaves to others: making it (`whence.replay`), many Runs, some of them with other inputs (`planning`), reading bytes, and
how what came of it compares with what was there (`likeness`).
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from uuid import UUID

from whence_catalog import digest, model


@dataclass(frozen=True, slots=True)
class Prospect:
    """What making `run` again would come to: `why` it cannot be, or what would be as it was, and what would not."""

    run: UUID
    why: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()

    @property
    def is_possible(self) -> bool:
        """Whether nothing keeps it from being made."""
        return not self.why


def plan(record: model.RunRecord, unavailable: AbstractSet[digest.Digest] = frozenset()) -> Prospect:
    """What making one Run again, with the inputs it had, would come to.

    Args:
        unavailable: Blobs that are known to be gone or altered. What is not in it is taken to be there.
    """
    return Prospect(record.run.uid, obstacles(record, unavailable), *_restored(record))


def obstacles(
    record: model.RunRecord, unavailable: AbstractSet[digest.Digest] = frozenset()
) -> tuple[str, ...]:
    """All the reasons for which a Run cannot be made again; none if it can."""
    run, captured = record.run, record.run.capture
    if run.state is model.RunState.REUSED:
        return (f"it did not run: what it handed out was made by run {run.origin}; make that one again",)
    why = []
    if run.state is model.RunState.RUNNING:
        why.append("it is still running")
    if not captured.rerunnable:
        why.append(captured.because or "its recording does not say how it could be")
    elif (captured.entry is None and not captured.command) or captured.bundle is None:
        why.append("its entry point or its source was not recorded")
    elif captured.environment is None:
        why.append("its environment was not recorded")
    for what, kept in (("source", captured.bundle), ("environment", captured.environment)):
        if kept in unavailable:
            why.append(f"its {what} {kept} is missing or altered in the store")
    for taken in record.inputs:
        content = taken.version.content
        named = f"input {taken.role} ({taken.version.ref})"
        if content.strength is not model.Strength.CONTENT:
            why.append(f"{named} is identified by {content.strength} only, so its bytes were not kept")
        elif content.digest in unavailable:
            why.append(f"the bytes of {named}, {content.digest}, are missing or altered in the store")
    return tuple(why)


def unfit(taken: model.Input, taints: Sequence[model.Taint]) -> tuple[str, ...]:
    """Why nothing is to be made of what a Run took: the Quarantines that reach it, by `taints` of its Version."""
    named = f"input {taken.role} ({taken.version.ref})"
    reached = (t.quarantine for t in taints if taken.producer in (None, t.run))
    found = {each.uid: each for each in reached if each.until is None}
    return tuple(
        f"{named} {_how_unfit(each, taken.version)} by {each.actor.name}, because {each.reason or 'of what was erased'}"
        for each in sorted(found.values(), key=lambda each: (each.since, str(each.uid)))
    )


def _how_unfit(quarantine: model.Quarantine, version: model.Version) -> str:
    if quarantine.version == version:
        return "is quarantined"
    return f"came from {quarantine.version.ref}, which is quarantined"


def out_of_place(captured: model.Capture) -> tuple[str, ...]:
    """Where its process stood that no room has, since it was not in the project."""
    told = []
    if captured.cwd is not None and _is_outside(captured.cwd):
        told.append(
            f"working folder: was {captured.cwd}, which is outside of the project; it is the project's root"
        )
    told += [
        f"search path: had {folder}, which is outside of the project; what was imported from there is part of the source"
        for folder in captured.search
        if _is_outside(folder)
    ]
    return tuple(told)


def _is_outside(folder: str) -> bool:
    return PurePosixPath(folder).is_absolute() or PureWindowsPath(folder).is_absolute()


def _restored(record: model.RunRecord) -> tuple[tuple[str, ...], tuple[str, ...]]:
    captured = record.run.capture
    restored = []
    if captured.bundle is not None:
        restored.append(f"source {captured.bundle}")
    if captured.environment is not None:
        restored.append(f"environment {captured.environment}")
    restored += [f"input {taken.role}: {taken.version.ref} {taken.version.digest}" for taken in record.inputs]
    if record.run.params:
        restored.append(f"parameters {', '.join(sorted(record.run.params))}")
    return tuple(restored), (*out_of_place(captured), *captured.blind_spots)

"""What changed from one Version to another, or from one Run to another, down to lines, packages and files.

The catalog compares what is recorded; what lies in the Blob store only a client reads: the source of both Bundles, the
packages of both Environments, the files of both trees. What cannot be read is told as such, and never as the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whence import changes, environment
from whence_catalog import difference, digest, manifest, model
from whence_catalog.errors import WhenceError

if TYPE_CHECKING:
    from whence.client import Client

# How many files of a tree, and of source, are named at most.
MOST_FILES = 1000


@dataclass(frozen=True, slots=True)
class PackageChange:
    """A package of one environment beside its namesake: versions, None where it is not there."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class EnvironmentChange:
    """What is different between two environments: Python, packages, and everything else by name."""

    python: tuple[str, str] | None
    packages: tuple[PackageChange, ...]
    others: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file of a tree beside itself: sizes, None where it is not there."""

    path: str
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class TreeChange:
    """The files of two trees that differ, by path: the first `MOST_FILES` of `count`."""

    files: tuple[FileChange, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Differences:
    """What the catalog says, and what the Blob store does: each is None where there is nothing to show.

    `notes` say what could not be read.
    """

    recorded: difference.Difference
    source: changes.SourceChange | None = None
    environment: EnvironmentChange | None = None
    tree: TreeChange | None = None
    notes: tuple[str, ...] = ()


def compare(client: "Client", left: str, right: str, first: int = 100) -> Differences:
    """What changed from one Version, or Run, to another.

    Raises:
        NotFound, InvalidInput: as `Catalog.difference`.
    """
    client.writer.settle()
    found = client.catalog.difference(client.full_name(left), client.full_name(right), first)
    notes: list[str] = []
    before, after = found.left.executed.capture, found.right.executed.capture
    source = tree = places = None
    if before.bundle is not None and after.bundle is not None and before.bundle != after.bundle:
        source = changes.between(client, before.bundle, after.bundle)
    if before.environment is not None and after.environment is not None:
        places = _environments(client, before.environment, after.environment, notes)
    if found.left.version is not None and found.right.version is not None:
        tree = _trees(client, found.left.version, found.right.version, notes)
    return Differences(found, source, places, tree, tuple(notes))


def _environments(
    client: "Client", before: digest.Digest, after: digest.Digest, notes: list[str]
) -> EnvironmentChange | None:
    if before == after:
        return None
    try:
        old, new = (environment.decode(client.blobs.read_bytes(named)) for named in (before, after))
    except WhenceError as error:
        notes.append(f"the environments cannot be compared: {error}")
        return None
    packages = {one.name: one for one in old.distributions}, {one.name: one for one in new.distributions}
    changed = tuple(
        PackageChange(name, _shown(packages[0].get(name)), _shown(packages[1].get(name)))
        for name in sorted(packages[0].keys() | packages[1].keys())
        if packages[0].get(name) != packages[1].get(name)
    )
    others = {name: (was, now) for name, (was, now) in _other(old, new).items() if was != now}
    python = None if old.python == new.python else (old.python, new.python)
    return EnvironmentChange(python, changed, others)


def _shown(package: environment.Distribution | None) -> str | None:
    if package is None:
        return None
    # Of one version, but from elsewhere, or with other files: that is to be seen.
    source = package.url or ("editable" if package.editable else package.files_digest)
    return package.version if source is None else f"{package.version} ({source})"


def _other(old: environment.Environment, new: environment.Environment) -> dict[str, tuple[str, str]]:
    def told(of: environment.Environment) -> dict[str, str]:
        system = of.platform
        return {
            "implementation": of.implementation,
            "platform": f"{system.system} {system.release} {system.machine} {system.libc or ''}".strip(),
            "cpu": f"{of.cpu.model}, {of.cpu.count} cores",
            "gpus": ", ".join(of.gpus),
            "image": of.image or "",
            "whence": of.whence,
            **{f"variable {name}": value for name, value in of.variables.items()},
        }

    was, now = told(old), told(new)
    return {name: (was.get(name, ""), now.get(name, "")) for name in sorted(was.keys() | now.keys())}


def _trees(
    client: "Client", left: model.Version, right: model.Version, notes: list[str]
) -> TreeChange | None:
    if left.digest == right.digest or model.Form.TREE not in (left.content.form, right.content.form):
        return None
    if left.content.form is not right.content.form:
        notes.append(f"{left.ref} is a {left.content.form}, and {right.ref} a {right.content.form}")
        return None
    try:
        old, new = (
            {entry.path: entry for entry in manifest.read(version.digest, client.blobs.read_bytes)}
            for version in (left, right)
        )
    except WhenceError as error:
        notes.append(f"the files cannot be compared: {error}")
        return None
    paths = [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]
    return TreeChange(
        tuple(
            FileChange(
                path,
                old[path].size_bytes if path in old else None,
                new[path].size_bytes if path in new else None,
            )
            for path in paths[:MOST_FILES]
        ),
        len(paths),
    )

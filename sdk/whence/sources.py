"""The source that a command is known by: the project's, or a part of it, without what the command takes and makes.

In a git work tree it is what a Bundle takes of that; elsewhere, the files that are code by their names.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whence import bundle
from whence_catalog import manifest
from whence_catalog.blobs import BlobStore
from whence_catalog.digest import Digest
from whence_catalog.errors import ErrorKind, NotFound

# What tools make beside the source, and nobody wrote.
_MADE = frozenset({"__pycache__", "node_modules", "venv", "site-packages", "build", "dist"})
# fmt: off
_CODE = frozenset({
    "py", "pyi", "pyx", "ipynb", "toml", "cfg", "ini", "yaml", "yml", "sh", "bash", "sql", "r", "rmd", "jl", "pl", "rb", "lua",
    "java", "kt", "scala", "js", "ts", "c", "h", "cc", "cpp", "hpp", "cu", "rs", "go", "f90", "awk", "sed", "mk", "smk",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Source:
    """Files by their path from the project's root. `because` is why they cannot be kept, where they cannot."""

    entries: tuple[manifest.Entry, ...]
    files: Mapping[str, str]
    notes: tuple[str, ...]
    because: str | None

    @property
    def identity(self) -> Digest:
        """The digest of the tree that they are."""
        return manifest.build(self.entries, manifest.BUNDLE).root

    @property
    def paths(self) -> frozenset[str]:
        """Where they lie."""
        return frozenset(self.files[entry.path] for entry in self.entries)

    def store(self, blobs: BlobStore) -> Digest | None:
        """The digest of the tree, once all of it is in `blobs`; None where it cannot be kept."""
        if self.because is not None:
            return None
        missing = blobs.missing(entry.digest for entry in self.entries if entry.digest)
        wanted = [entry.path for entry in self.entries if entry.digest in missing]
        stored = dict(zip(wanted, blobs.put_files([self.files[path] for path in wanted]), strict=True))
        entries = [
            replace(entry, digest=stored[entry.path].digest, size_bytes=stored[entry.path].size_bytes)
            if entry.path in stored
            else entry
            for entry in self.entries
        ]
        tree = manifest.build(entries, manifest.BUNDLE)
        blobs.put_nodes(tree)
        return tree.root


def collect(root: Path, only: Sequence[Path], without: Sequence[Path]) -> Source:
    """The source of the project at `root`.

    Args:
        only: files and folders that are all of it; everything unless given.
        without: files and folders that are none of it.

    Raises:
        NotFound: one of `only` is not there.
    """
    for path in only:
        if not path.exists():
            raise NotFound(f"no file {path}, which is to be the command's code", ErrorKind.NO_SUCH_FILE)
    is_tree = any((folder / ".git").exists() for folder in (root, *root.parents))
    named = {} if is_tree and not only else dict(_walked(root, only or [root]))
    found = bundle.collect(root, named, None)
    files = found.files

    def is_wanted(path: str) -> bool:
        at = Path(files[path])
        if any(at == place or place in at.parents for place in without):
            return False
        return not only or any(at == place or place in at.parents for place in only)

    entries = tuple(entry for entry in found.entries if is_wanted(entry.path))
    because = found.because if found.root_digest is None else None
    return Source(entries, files, (*found.notes, *found.obstacles), because)


def _walked(root: Path, places: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """(Path from the root, file) of each file that is code, under `places`; a file that is one of them is."""
    for place in places:
        if place.is_file():
            yield _path(root, place), str(place)
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(
                name
                for name in folders
                if name not in _MADE
                and not name.startswith(".")
                and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
            )
            for name in sorted(names):
                file = Path(folder, name)
                is_code = name.rpartition(".")[2].lower() in _CODE or name.lower() in (
                    "makefile",
                    "dockerfile",
                )
                if (is_code or os.access(file, os.X_OK)) and file.is_file():
                    yield _path(root, file), str(file)


def _path(root: Path, file: Path) -> str:
    if file.is_relative_to(root):
        return file.relative_to(root).as_posix()
    return f"{bundle.OUTSIDE}/{file.name}"

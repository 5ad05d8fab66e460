"""Covered: what a walk over code has found so far, and what of it counts by file or by version.

Decides how a file of the project, a module that is not loaded yet, and somebody else's package are covered;
and, where code is chosen at run time, that the whole project is. Leaves to others: what is reached, and
what is covered as it is loaded (`reach`).
"""

import functools
import hashlib
import os
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from whence import normal_form, origins, source, witness
from whence.origins import Origin
from whence.reading import PACKAGE_CHOOSERS, TEXT_READERS, Imported, Reading
from whence_catalog import digest

_DOMAIN = normal_form.DOMAIN


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where code stands: its module, its qualified name there (`<module>` for all of it), and the file."""

    module: str
    qualname: str
    file: str

    @property
    def symbol(self) -> str:
        """What it is called, for people."""
        return self.module if self.qualname == "<module>" else f"{self.module}.{self.qualname}"


@dataclass(slots=True)
class Coverage:
    """Which code is covered: as it is loaded, by the lines where it stands, or with all of its file."""

    codes: dict[int, types.CodeType] = field(default_factory=dict)
    lines: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    _known: dict[int, tuple[types.CodeType, bool]] = field(default_factory=dict)

    def add(self, code: types.CodeType) -> None:
        """Cover a piece of loaded code, with all that is defined in it."""
        todo = [code]
        while todo:
            item = todo.pop()
            self.codes[id(item)] = item
            todo += [constant for constant in item.co_consts if isinstance(constant, types.CodeType)]

    def add_lines(self, file: str, lines: tuple[int, int]) -> None:
        """Cover what is written there."""
        self.lines.setdefault(origins.real_path(file), set()).add(lines)

    def has(self, code: types.CodeType) -> bool:
        """Whether it is covered. What is written somewhere counts for what runs if it compiles to it."""
        if id(code) in self.codes:
            return True
        known = self._known.get(id(code))
        if known is None:
            known = self._known[id(code)] = (code, self._is_written(code))
        return known[1]

    def _is_written(self, code: types.CodeType) -> bool:
        file = origins.real_path(code.co_filename)
        is_within = file in self.files or any(
            first <= code.co_firstlineno <= last for first, last in self.lines.get(file, ())
        )
        if not is_within:
            return False
        text = source.of_file(file)
        return text is not None and text.compiles_to(code)


class Covered:
    """What is covered of the project at `root` (a real path)."""

    def __init__(self, root: str, keep_docstrings: bool) -> None:
        self.rows: dict[str, bytes] = {}
        self.files: dict[str, str] = {}
        self.widened: set[str] = set()
        self.interpreter_bound: set[str] = set()
        self.uncacheable: set[str] = set()
        self.reads_docstrings = False
        self._root = root
        self._keep_docstrings = keep_docstrings
        self._reads_text = False
        self._chooses_packages = False
        # What is left to cover; a stack of our own, since calls go deeper than Python's.
        self._todo: list[Callable[[], None]] = []
        self.coverage = Coverage()
        self.witness = witness.Witness()
        # One walk sees one state of each file.
        self._sources: dict[str, source.Source | None] = {}
        self._names: dict[tuple[object, object], str] = {}
        self._noted: set[str] = set()
        self._modules: dict[str, None] = {}
        self._done: set[str] = set()
        # What is being covered, for the reasons that are given.
        self._at = "the step"

    def _digest(self, kind: str, *parts: digest.Framed) -> bytes:
        return digest.raw_digest_of(_DOMAIN, kind, *parts)

    def _add(self, symbol: str, row: bytes) -> None:
        # Two that share a name, as classes made by one factory do, are one row of both.
        known = self.rows.get(symbol, row)
        self.rows[symbol] = row if known == row else self._digest("both", frozenset({known, row}))

    def _body(self, reading: Reading) -> bytes:
        return reading.documented_digest if self._keep_docstrings else reading.digest

    def _widen(self, construct: str) -> None:
        self.widened.add(f"{self._at} uses {construct}")
        name = construct.rpartition(".")[2]
        self._reads_text |= name in TEXT_READERS
        self._chooses_packages |= name in PACKAGE_CHOOSERS

    def _cover_distribution(self, top: str) -> None:
        try:
            self.rows.update(origins.distribution_rows(top))
        except origins.UnknownDistribution as error:
            self.uncacheable.add(f"{self._at}: {error}")

    def _cover_import(self, name: str) -> None:
        """Cover an import of something that is not the project's, whether or not it succeeds."""
        top = name.partition(".")[0]
        if not top or top in origins.OWN_PACKAGES or top in sys.stdlib_module_names:
            return
        if top in sys.modules:
            is_installed = origins.of_module(top) is Origin.DISTRIBUTION
        else:
            is_own = origins.is_of_project(top)
            self.witness.answer(origins.is_of_project, (top,), is_own)
            is_installed = not is_own
        if is_installed:
            self._cover_distribution(top)

    def _cover_late_import(self, imported: Imported, file: str | None) -> None:
        """Cover a module imported inside a function by its files: it may not be loaded yet."""
        folder = os.path.dirname(file or os.path.join(self._root, "_"))
        symbol = f"{imported.level} {imported.module} {folder if imported.level else ''}"
        if symbol in self._done:
            return
        self._done.add(symbol)
        parts = imported.module.split(".") if imported.module else []
        if parts and not imported.level and parts[0] in origins.OWN_PACKAGES:
            return
        folders = [self._root, os.path.join(self._root, "src"), *origins.project_folders()]
        if imported.level:
            for _ in range(imported.level - 1):
                folder = os.path.dirname(folder)
            folders = [folder]
        for folder in folders:
            found = origins.module_files(folder, parts)
            self.witness.answer(origins.module_files, (folder, parts), found)
            for path in found:
                self._cover_file(path)
            if found:
                return
        if parts and not imported.level:
            self._cover_import(parts[0])

    def _cover_file(self, path: str) -> None:
        symbol = f"file {self._path(path)}"
        if symbol in self._done or origins.of_file(path) is not Origin.PROJECT:
            return
        self._done.add(symbol)
        text = self._text_of(path)
        if text is None:
            self._cover_bytes(symbol, path)
            return
        self._at = symbol
        self.coverage.files.add(origins.real_path(path))
        self._add(symbol, self._body(text.whole))
        self._cover_path(path)
        for name in text.whole.dynamic:
            self._widen(name)
        self.reads_docstrings |= text.whole.reads_docstrings
        for imported in text.every_import:
            self._todo.append(functools.partial(self._cover_late_import, imported, path))

    def _cover_bytes(self, symbol: str, path: str) -> None:
        self.witness.file(path)
        with open(path, "rb") as file:
            self._add(symbol, hashlib.file_digest(file, "sha256").digest())
        self._cover_path(path)

    def _cover_project(self) -> None:
        """Cover every file of the project: what is chosen at run time may be in any of them."""
        files = [origins.file_of(sys.modules.get(name)) for name in self._modules]
        outside = [file for file in files if file and origins.of_file(file) is Origin.PROJECT]
        if self._chooses_packages:
            self.rows["installed"] = self._digest("installed", list(origins.installed(tuple(sys.path))))
        for path in [*origins.python_files(self._root), *outside]:
            symbol = f"project {self._path(path)}"
            self.coverage.files.add(origins.real_path(path))
            if symbol in self.rows or not path.endswith(".py"):
                continue
            text = self._text_of(path)
            if text is None or self._reads_text:
                self._cover_bytes(symbol, path)
                continue
            for imported in text.every_import:
                if not imported.level and imported.module:
                    self._cover_import(imported.module)
            self._add(symbol, text.documented_digest if self._keep_docstrings else text.digest)
            self._cover_path(path)

    def _text_of(self, file: str) -> source.Source | None:
        if file not in self._sources:
            # First: what is written in between is seen by the one, and missed by the other.
            self.witness.file(file)
            self._sources[file] = source.of_file(file)
        return self._sources[file]

    def _module_name(self, namespace: Mapping[str, object]) -> str:
        """What a module is called in every process."""
        name = (namespace.get("__name__"), namespace.get("__file__"))
        if name not in self._names:
            self._names[name] = origins.module_name(namespace, self._root)
        return self._names[name]

    def _cover_path(self, file: object) -> None:
        if isinstance(file, str) and file not in self._noted:
            self._noted.add(file)
            real = origins.real_path(file)
            if real.startswith(self._root + os.sep) and os.path.isfile(real):
                self.files[self._path(real)] = real

    def _path(self, file: str) -> str:
        """A file's path from the project's root; elsewhere, from the folder it is imported from."""
        real = origins.real_path(file)
        if real.startswith(self._root + os.sep):
            return os.path.relpath(real, self._root).replace(os.sep, "/")
        for folder in origins.project_folders():
            if real.startswith(folder + os.sep):
                return os.path.relpath(real, folder).replace(os.sep, "/")
        return os.path.basename(real)

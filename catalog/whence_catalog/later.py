"""Modules that are loaded when something of them is first asked for.

A step in a pod is a new process, which records and ends: what only a question needs (a comparison, a search, a
drawing, a database that this process does not use) is not to cost it the time to load. Whoever names such modules so
says to the type checker and to import-linter, under `TYPE_CHECKING`, that it imports them.
"""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType


class Later(ModuleType):
    """Stands for a module. Safe from threads, as importing is."""

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(self.__name__), name)


def modules(package: str, *names: str) -> list[ModuleType]:
    """What stands for these modules of `package`, none of which is loaded by that."""
    return [Later(f"{package}.{name}") for name in names]


def names(namespace: dict[str, object], of: Mapping[str, tuple[str, ...]]) -> Callable[[str], object]:
    """The `__getattr__` (PEP 562) of a package whose names stand in these modules, by module: each is taken once.

    None may be called as a module of the package is, which would take its place.
    """
    modules_of = {name: module for module, some in of.items() for name in some}

    def taken(name: str) -> object:
        if name not in modules_of:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}", name=name)
        namespace[name] = found = getattr(importlib.import_module(modules_of[name]), name)
        return found

    return taken

"""Local: distributions that are somebody's source, as a room has them: what they say of themselves, and their commands.

A development install is a folder and a few lines that name it. The folder is part of the recorded source; the lines are
written anew from the recorded version and from what its `pyproject.toml` says.
"""

import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from whence import bundle
from whence.environment import Distribution, normal

# Where a source says what its distribution is called, and is started by.
DECLARED = "pyproject.toml"
_SCRIPTS = "console_scripts"
# What may be the name of a file: a source is not to write anywhere else.
_PLAIN = re.compile(r"\w[\w.+!-]*")
# Python's own way to start a command from a path of any length, as installers have it.
_COMMAND = """#!/bin/sh
'''exec' {python} "$0" "$@"
' '''
import importlib, functools, sys
sys.exit(functools.reduce(getattr, {name!r}.split("."), importlib.import_module({module!r}))())
"""


def restore(
    local: Sequence[Distribution], source: Path, python: Path, metadata: Path, commands: Path
) -> tuple[str, ...]:
    """Write what is installed of those whose source is restored; answers what is lost of the others.

    Args:
        metadata: a folder for what they say of themselves; it is to be searched by Python.
        commands: a folder for what they can be started by.
    """
    told = _told(source.rglob(DECLARED))
    lost = []
    for each in local:
        if each.name == "whence":
            continue
        if each.name not in told and not _has_module(source, each.name):
            how = "a development install" if each.editable else "installed from a local path"
            lost.append(f"{each.name} {each.version}: was {how}, and its source was not recorded")
            continue
        groups = told.get(each.name, {})
        _write_metadata(metadata, each, groups)
        for name, entry in groups.get(_SCRIPTS, {}).items():
            if _PLAIN.fullmatch(name):
                _write_command(commands / name, entry, python)
    return tuple(lost)


def commands_of(files: Iterable[Path], name: str) -> frozenset[str]:
    """The commands that a distribution has, as one of these `pyproject.toml` says."""
    return frozenset(_told(files).get(name, {}).get(_SCRIPTS, {}))


def _told(files: Iterable[Path]) -> dict[str, dict[str, dict[str, str]]]:
    """The entry points, by group and name, of each distribution that says its name in one of these files."""
    return dict(_declared(file) for file in sorted(files) if _name_in(_read(file)))


def _declared(file: Path) -> tuple[str, dict[str, dict[str, str]]]:
    said = _read(file)
    project, poetry = _table(said, "project"), _table(said, "tool", "poetry")
    groups = {group: _table(project, "entry-points", group) for group in _table(project, "entry-points")}
    groups[_SCRIPTS] = {**_table(poetry, "scripts"), **_table(project, "scripts")}
    groups["gui_scripts"] = _table(project, "gui-scripts")
    texts = {
        group: {name: entry for name, entry in named.items() if isinstance(entry, str)}
        for group, named in groups.items()
    }
    return normal(str(_name_in(said))), {group: named for group, named in texts.items() if named}


def _name_in(said: Mapping[str, object]) -> str | None:
    found = _table(said, "project").get("name") or _table(said, "tool", "poetry").get("name")
    return found if isinstance(found, str) else None


def _read(file: Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _table(said: Mapping[str, object], *names: str) -> Mapping[str, object]:
    found: object = said
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _has_module(source: Path, name: str) -> bool:
    module = name.replace("-", "_")
    places = [source, source / "src", source / bundle.OUTSIDE]
    return any((at / module).is_dir() or (at / f"{module}.py").exists() for at in places)


def _write_metadata(folder: Path, each: Distribution, groups: Mapping[str, Mapping[str, str]]) -> None:
    about = folder / f"{each.name.replace('-', '_')}-{each.version}.dist-info"
    if not _PLAIN.fullmatch(about.name):
        return
    about.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {each.name}\nVersion: {each.version}\n"
    (about / "METADATA").write_text(head, encoding="utf-8")
    (about / "entry_points.txt").write_text("\n".join(_lines(groups)), encoding="utf-8")


def _lines(groups: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for group, named in groups.items():
        yield f"[{group}]"
        yield from (f"{name} = {entry}" for name, entry in named.items())


def _write_command(file: Path, entry: str, python: Path) -> None:
    module, _, name = entry.partition("[")[0].strip().partition(":")
    file.parent.mkdir(parents=True, exist_ok=True)
    text = _COMMAND.format(python=shlex.quote(str(python)), module=module.strip(), name=name.strip())
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)

"""Pylock: a recorded Environment as the lock file of PEP 751, which installers read without resolving anything.

Decides how each distribution stands in it: one from a repository by its commit, one from an archive by its address
and hash, one from an index by the files that a lock of the project names for exactly that version. Such an entry has
to name files and their hashes; what no one knows them of is not in the lock, and is told. No address holds credentials.

https://packaging.python.org/en/latest/specifications/pylock-toml/
"""

import json
import re
import tomllib
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from whence import addresses
from whence.environment import Distribution, Environment
from whence_catalog.errors import InvalidInput

LOCKS = ("uv.lock", "pylock.toml")
_VCS = re.compile(r"(?P<type>git|hg|bzr|svn)\+(?P<url>.+)@(?P<commit>[0-9a-f]{7,64})(?:#(?P<rest>.*))?")


@dataclass(frozen=True, slots=True)
class Pylock:
    """The text of a lock file, and what could not be put into it, by name."""

    text: str
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class File:
    """A file of a distribution, as an index names it."""

    name: str
    url: str
    hashes: Mapping[str, str]
    size_bytes: int | None = None

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel; a source distribution otherwise."""
        return self.name.endswith(".whl")


Files = Mapping[tuple[str, str], Sequence[File]]


def write(recorded: Environment, known: Files) -> Pylock:
    """The lock file of an Environment. `known` are the files of distributions, by name and version."""
    left_out: dict[str, str] = {}
    lines = [
        'lock-version = "1.0"',
        f"requires-python = {_text(f'=={recorded.minor}.*')}",
        'created-by = "whence"',
    ]
    for each in sorted(recorded.distributions, key=lambda each: each.name):
        try:
            entry = _package(each, known)
        except InvalidInput as error:
            left_out[each.name] = str(error)
        else:
            lines += ["", "[[packages]]", f"name = {_text(each.name)}", *entry]
    if len(left_out) == len(recorded.distributions):
        lines.append("packages = []")  # a lock has to say that, too
    return Pylock("\n".join(lines) + "\n", left_out)


def files_of(locks: Mapping[str, bytes]) -> Files:
    """The files that a project's own locks name, by name and version. What is no lock names none."""
    found: dict[tuple[str, str], list[File]] = {}
    for path, data in locks.items():
        try:
            said = tomllib.loads(data.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            continue
        for package in _tables(said.get("package" if path.endswith("uv.lock") else "packages")):
            name, version = package.get("name"), package.get("version")
            if isinstance(name, str) and isinstance(version, str):
                found.setdefault((_normal(name), version), []).extend(_files(package))
    return found


def _files(package: Mapping[str, object]) -> Iterator[File]:
    for said in (*_tables(package.get("wheels")), *_tables([package.get("sdist")])):
        url, hashes = said.get("url"), said.get("hashes")
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            continue
        if isinstance(one := said.get("hash"), str) and ":" in one:  # as uv writes it
            hashes = dict([one.split(":", 1)])
        if isinstance(hashes, Mapping) and hashes:
            clean = addresses.without_credentials(url)
            name = str(said.get("name") or urllib.parse.unquote(clean.rpartition("/")[2]))
            size = said.get("size")
            yield File(
                name, clean, {str(k): str(v) for k, v in hashes.items()}, size if type(size) is int else None
            )


def _package(each: Distribution, known: Files) -> list[str]:
    """The lines of one entry.

    Raises:
        InvalidInput: nothing that an installer could take is known of it.
    """
    if each.editable:
        if each.source is None or not (vcs := _VCS.fullmatch(each.source)):
            raise InvalidInput("it was a development install, and its source stood at no commit")
        return _vcs(vcs)
    if each.url is not None:
        if vcs := _VCS.fullmatch(each.url):
            return _vcs(vcs)
        return _archive(each.url)
    if each.files_digest is not None:
        raise InvalidInput("it was installed from a path of its machine")
    files = known.get((each.name, each.version), ())
    if not files:
        raise InvalidInput("no lock of the project names files and hashes of it")
    lines = [f"version = {_text(each.version)}"]
    if sdist := next((file for file in files if not file.is_wheel), None):
        lines.append(f"sdist = {_file(sdist)}")
    if wheels := [_file(file) for file in files if file.is_wheel]:
        lines += ["wheels = [", *(f"    {wheel}," for wheel in wheels), "]"]
    return lines


def _vcs(found: "re.Match[str]") -> list[str]:
    url = found["url"]
    if "://" not in url:
        raise InvalidInput("its repository has no address that others could use")
    parts = {"type": found["type"], "url": url, "commit-id": found["commit"]}
    rest = dict(urllib.parse.parse_qsl(found["rest"] or ""))
    if "subdirectory" in rest:
        parts["subdirectory"] = rest["subdirectory"]
    return [f"vcs = {_table(parts)}"]


def _archive(address: str) -> list[str]:
    url, _, rest = address.partition("#")
    said = dict(urllib.parse.parse_qsl(rest))
    if "sha256" not in said:
        raise InvalidInput("it was installed from an archive whose hash was not recorded")
    inner = f"url = {_text(url)}, hashes = {_table({'sha256': said['sha256']})}"
    if "subdirectory" in said:
        inner += f", subdirectory = {_text(said['subdirectory'])}"
    return [f"archive = {{ {inner} }}"]


def _file(file: File) -> str:
    size = "" if file.size_bytes is None else f", size = {file.size_bytes}"
    return f"{{ name = {_text(file.name)}, url = {_text(file.url)}{size}, hashes = {_table(dict(file.hashes))} }}"


def _table(values: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{name} = {_text(value)}" for name, value in values.items()) + " }"


def _text(value: str) -> str:
    # A basic string of TOML is one of JSON, but for what is beyond the first plane, and for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _tables(value: object) -> list[Mapping[str, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

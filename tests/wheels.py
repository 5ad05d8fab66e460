"""Wheels for a folder that stands for a package index: small ones made up, and those of what is installed here."""

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

_TIME = (1980, 1, 1, 0, 0, 0)


def small(folder: Path, name: str, version: str, source: str) -> Path:
    """A wheel of one module, named as the package is."""
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source.encode(),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    return _pack(folder / f"{name}-{version}-py3-none-any.whl", about, files)


def installed(folder: Path, names: Iterable[str]) -> None:
    """Wheels of packages that are installed here, and of what they need."""
    done: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in done or not any(metadata.distributions(name=name)):
            continue
        done.add(name)
        found = metadata.distribution(name)
        waiting += [re.split(r"[^\w.-]", line)[0] for line in found.requires or () if "extra ==" not in line]
        files = {
            str(path): Path(str(path.locate())).read_bytes()
            for path in found.files or ()
            if not str(path).startswith("..") and path.suffix != ".pyc" and path.name != "RECORD"
            # Who packs another's distribution with their own may leave out its tests.
            if Path(str(path.locate())).is_file()
        }
        about = next(path.partition("/")[0] for path in files if path.endswith(".dist-info/METADATA"))
        tags = re.findall(r"^Tag: (\S+)", found.read_text("WHEEL") or "", re.MULTILINE)
        parts = zip(*(tag.split("-") for tag in tags), strict=True)  # as in a name: py2.py3-none-any
        tag = "-".join(".".join(dict.fromkeys(part)) for part in parts)
        _pack(folder / f"{about.removesuffix('.dist-info')}-{tag}.whl", about, files)


def _pack(wheel: Path, about: str, files: dict[str, bytes]) -> Path:
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in files.items()
    ]
    files = {**files, f"{about}/RECORD": "".join([*rows, f"{about}/RECORD,,\n"]).encode()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, _TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return wheel

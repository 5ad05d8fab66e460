"""The whence that runs, as a wheel: what a room runs is the same code that made it."""

import base64
import hashlib
import importlib.util
import io
import zipfile
from importlib import metadata
from pathlib import Path

from whence import bundle, environment

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def of_whence(dest: Path) -> Path:
    """A wheel of the whence that runs, written in `dest`; the same bytes for the same code.

    Packed from the imported packages, so that it needs neither network nor build, and is the same from a
    development install as from a wheel.
    """
    version = environment.whence_version()
    files: dict[str, bytes] = {}
    for name in bundle.OWN_PACKAGES:
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for file in sorted(Path(folder).rglob("*")):
                if file.is_file() and file.suffix != ".pyc":
                    files[f"{name}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()
    about = f"whence-{version}.dist-info"
    files[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: whence\nVersion: {version}\n".encode()
    installed = next(iter(metadata.distributions(name="whence")), None)
    for name in ("METADATA", "entry_points.txt"):
        if installed is not None and (text := installed.read_text(name)):
            files[f"{about}/{name}"] = text.encode()
    files[f"{about}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: whence\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    lines = [f"{path},sha256={_hash(data)},{len(data)}\n" for path, data in files.items()]
    files[f"{about}/RECORD"] = "".join([*lines, f"{about}/RECORD,,\n"]).encode()
    wheel = dest / f"whence-{version}-py3-none-any.whl"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, _ZIP_TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    wheel.write_bytes(packed.getvalue())
    return wheel


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()

"""Begins a server over the catalog that this folder, the environment or a file of settings names."""

import contextlib
import importlib.util
import os
import sys
import tomllib
from pathlib import Path
from typing import NoReturn

from whence import settings
from whence_catalog.errors import ErrorKind, InvalidInput, NotReady

# What a server needs beside the catalog, by the names under which it is imported.
_NEEDED = ("whence_api", "fastapi", "uvicorn", "pydantic_settings", "prometheus_client", "jwt", "strawberry")


def serve(host: str | None, port: int | None, config: Path | None) -> NoReturn:
    """Become a server; this process is it from now on.

    Raises:
        NotReady: the server is not installed.
        InvalidInput: WHENCE_URL names a server, which another server cannot serve.
    """
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise NotReady(
            f"a server needs {absent[0]}, which is not installed; run: pip install 'whence[server]'",
            ErrorKind.EXTRA_MISSING,
        )
    arguments = [
        *(() if host is None else ("--host", host)),
        *(() if port is None else ("--port", str(port))),
        *(() if config is None else ("--config", str(config))),
    ]
    environment = {**os.environ, **_catalog(config)}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "whence_api", *arguments], environment)


def _catalog(config: Path | None) -> dict[str, str]:
    """The environment that names the catalog, where the settings do not."""
    named = os.environ.get("WHENCE_URL", "")
    if named.startswith("postgres"):
        return {}
    if "://" in named:
        raise InvalidInput(
            "WHENCE_URL names a server; to begin one, name the catalog that it is to serve: a folder, or"
            " postgresql://…",
            ErrorKind.BAD_SETTING,
        )
    if not named and _says_where(config):
        return {}
    return {"WHENCE_URL": str(settings.embedded_folder())}


def _says_where(config: Path | None) -> bool:
    file = config or os.environ.get("WHENCE_CONFIG")
    # What is wrong with the file, the server itself says.
    with contextlib.suppress(OSError, ValueError):
        return bool(file) and "url" in tomllib.loads(Path(str(file)).read_text("utf-8"))
    return False

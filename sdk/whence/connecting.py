"""Opens the catalog that a process uses and the bytes beside it, as `settings` has them."""

import contextlib
import gc
import getpass
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from whence import outbox, settings
from whence.client import Client
from whence_catalog import blobs, catalog, later, model
from whence_catalog.blobs import disk
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotReady, Unreachable, WhenceError

if TYPE_CHECKING:
    from whence import spill
else:
    (spill,) = later.modules("whence", "spill")

_guard = threading.Lock()
_default: Client | None = None
# Why nobody is to use it, while code is only looked at.
_refused: str | None = None


def connect(
    url: str | os.PathLike[str] | None = None,
    *,
    project: str | None = None,
    blobs_url: str | None = None,
    token: str | None = None,
) -> Client:
    """Connect to a catalog, and make it this process's own: steps and runs go to it from now on.

    Those of the processes that this one starts do too, since the environment says so; but for the token, which
    they need to be given as WHENCE_TOKEN.

    Args:
        url: a folder for an embedded catalog, `https://…` or `postgresql://…`; absent, as `settings` says.
        project: that names belong to.
        blobs_url: where bytes go, as an fsspec URL; absent, beside an embedded catalog, or where the server says.
        token: says to a server who calls; WHENCE_TOKEN, or the file that WHENCE_TOKEN_FILE names, unless given.

    Raises:
        NotReady: it cannot be used; the message says what to run.
    """
    global _default
    client = open_client(url, project=project, blobs_url=blobs_url, token=token)
    os.environ.update(client.env)
    with _guard:
        _default = client
    return client


def open_client(
    url: str | os.PathLike[str] | None = None,
    *,
    project: str | None = None,
    blobs_url: str | None = None,
    token: str | None = None,
) -> Client:
    """As `connect`, without making it this process's own."""
    named = os.fspath(url or os.environ.get("WHENCE_URL") or settings.find_folder(Path.cwd()))
    bytes_at = blobs_url or os.environ.get("WHENCE_BLOBS")
    make = _remote if "://" in named else _embedded
    client = make(
        named, bytes_at, project or os.environ.get("WHENCE_PROJECT") or model.DEFAULT_PROJECT, token
    )
    if not client.writer.box.is_empty:
        client.writer.begin()  # what a process before this one could not deliver
    return client


def _embedded(named: str, bytes_at: str | None, project: str, _: str | None) -> Client:
    folder = settings.embedded_folder(named)
    kept_in = os.environ.get("WHENCE_OUTBOX")
    return Client(
        catalog=_open_embedded(folder),
        blobs=blobs.BlobStore.open(
            bytes_at or (folder / "blobs").as_uri(),
            cache=Path(os.environ.get("WHENCE_CACHE_DIR") or folder / "cache"),
        ),
        project=project,
        actor=operating_system_actor(),
        url=str(folder),
        box=outbox.Outbox(Path(kept_in).absolute() / settings.short(str(folder)), str(folder))
        if kept_in
        else None,
    )


def _remote(named: str, bytes_at: str | None, project: str, token: str | None) -> Client:
    if named.lower().startswith(("http://", "https://")):
        from whence import http

        named = http.address_of(named)
        server = http.HttpCatalog(named, token, timeout_seconds=settings.timeout_seconds())
        opened, bytes_at = cast("catalog.Catalog", server), bytes_at or _offered(server.offered_blobs)
    else:
        opened = _open_database(named)
    if not bytes_at:
        raise NotReady(
            f"the catalog {settings.shown(named)} does not say where bytes go: set WHENCE_BLOBS to the store that all who"
            " use it share, such as s3://bucket/path, gs://bucket/path, or file:///a/shared/folder",
            ErrorKind.BAD_SETTING,
        )
    shown = settings.shown(named)
    kept_in = (
        os.environ.get("WHENCE_OUTBOX")
        or settings.user_folder("XDG_STATE_HOME", ".local/state") / settings.OUTBOX
    )
    store = blobs.BlobStore.open(bytes_at, cache=settings.cache_folder())
    return Client(
        catalog=opened,
        blobs=store,
        project=project,
        actor=operating_system_actor(),
        url=named,
        box=outbox.Outbox(Path(kept_in).absolute() / settings.short(shown), shown),
        copies=spill.Spill(store.url, settings.short(shown)),
    )


def _offered(ask: Callable[[], str | None]) -> str | None:
    try:
        return ask()
    except Unreachable as error:
        raise Unreachable(
            f"{error}. Where bytes go, only it knows: with WHENCE_BLOBS set, steps run while it is away",
            error.kind,
        ) from error


def _open_database(url: str) -> catalog.Catalog:
    try:
        with _uncollected():
            from whence_catalog.sql import catalog as sql_catalog
    except ModuleNotFoundError as error:
        raise NotReady(
            f"a catalog in PostgreSQL needs {error.name}, which is not installed;"
            " run: pip install 'whence[postgres]'",
            ErrorKind.EXTRA_MISSING,
        ) from error

    return _at_once_or_later(
        lambda: sql_catalog.open_url(url, timeout_seconds=settings.timeout_seconds(), lease=settings.lease())
    )


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage while modules are made, which stay: a tenth of the time that it takes a new process to connect."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _at_once_or_later(opened: Callable[[], catalog.Catalog]) -> catalog.Catalog:
    try:
        return opened()
    except Unreachable:
        return cast("catalog.Catalog", _Later(opened))


class _Later:
    """A catalog that did not answer when it was connected to: whoever uses it tries again."""

    def __init__(self, opened: Callable[[], catalog.Catalog]) -> None:
        self._opened = opened
        self._catalog: catalog.Catalog | None = None
        self._lock = threading.Lock()

    def __getattr__(self, verb: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            with self._lock:
                if self._catalog is None:
                    self._catalog = self._opened()
            return getattr(self._catalog, verb)(*args, **kwargs)

        return call

    def close(self) -> None:
        if self._catalog is not None:
            self._catalog.close()


def _open_embedded(folder: Path) -> catalog.Catalog:
    try:
        with _uncollected():
            from whence_catalog.sql import catalog as sql_catalog
    except ModuleNotFoundError as error:
        raise NotReady(
            f"an embedded catalog needs {error.name}, which is not installed; run: pip install 'whence[local]'",
            ErrorKind.EXTRA_MISSING,
        ) from error
    synchronous = os.environ.get("WHENCE_SYNC", "FULL").upper()
    if synchronous not in ("FULL", "NORMAL"):
        raise InvalidInput(f"WHENCE_SYNC is {synchronous!r}; it is FULL or NORMAL")
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(
            f"{folder} is a file; an embedded catalog is named by its folder, such as {folder.parent}",
            ErrorKind.BAD_PATH,
        )

    def opened() -> catalog.Catalog:
        with disk.explained(str(folder)):
            return sql_catalog.SqlCatalog.open(
                folder / settings.DATABASE,
                synchronous=synchronous,
                timeout_seconds=settings.timeout_seconds(),
                lease=settings.lease(),
            )

    made = _at_once_or_later(opened)
    # What cannot be written can still be read.
    with contextlib.suppress(OSError):
        if not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text("# Made by whence: a catalog is not source.\n*\n")
    with contextlib.suppress(WhenceError):
        made.sweep()
    return made


def operating_system_actor() -> model.Actor:
    """Who runs this process, as the operating system has it; nobody checked."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = f"uid {os.getuid()}"
    return model.Actor(f"{user}@{socket.gethostname()}", authenticated=False)


@contextlib.contextmanager
def unused(why: str) -> Iterator[None]:
    """While this lasts, who would use this process's client is refused: code is imported to be looked at, not to run."""
    global _refused
    before, _refused = _refused, why
    try:
        yield
    finally:
        _refused = before


def current() -> Client:
    """This process's client, connected now if it was not.

    Raises:
        Conflict: nobody is to use it now; see `unused`.
    """
    global _default
    if _refused is not None:
        raise Conflict(_refused, ErrorKind.NOT_RERUNNABLE)
    with _guard:
        if _default is None:
            _default = open_client()
        return _default

"""Connects a process to a catalog and to the bytes beside it.

WHENCE_URL      the catalog: a folder (embedded), `https://…` (a server), or `postgresql://…`. Absent: the
                nearest `.whence` upwards from the working folder; made there if there is none.
WHENCE_PROJECT  the project that names belong to (`default`).
WHENCE_BLOBS    where bytes go, as an fsspec URL (an embedded catalog's own folder, or where its server says).
WHENCE_OUTBOX   where what could not be told to the catalog yet is kept.
WHENCE_SYNC     FULL (default) or NORMAL: whether an acknowledged record survives a power cut.
WHENCE_TIMEOUT  seconds to wait for the catalog's answer, or for another process that is writing into it (30).
WHENCE_LEASE    seconds that a Run lives, and holds its key, without being heard of (60); the same for all who use
                the catalog, its servers among them.
"""

import contextlib
import getpass
import hashlib
import os
import re
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ParamSpec, TypeAlias, Unpack, cast

from whence import (
    beater,
    block,
    calls,
    changes,
    handles,
    judging,
    located,
    outbox,
    places,
    reads,
    recorder,
    spill,
    values,
    writer,
)
from whence_catalog import audit, blobs, catalog, digest, lineage, model
from whence_catalog import catalog as catalogs
from whence_catalog.blobs import disk
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound, NotReady, Unreachable, WhenceError

P = ParamSpec("P")

FOLDER = ".whence"
DATABASE = "catalog.db"
OUTBOX = "outbox"

_TOKEN_VARIABLES = ("WHENCE_TOKEN", "WHENCE_TOKEN_FILE")


# A way to look at Blobs: the store's quick one, or the one that hashes.
_Verify: TypeAlias = Callable[[Iterable[digest.Digest]], blobs.Presence]


@dataclass(slots=True)
class Client:
    """A catalog, the bytes beside it, and in whose name and project it is used."""

    catalog: catalog.Catalog
    blobs: blobs.BlobStore
    project: str
    actor: model.Actor
    url: str
    box: outbox.Outbox | None = None
    copies: spill.Spill | None = None
    beater: "beater.Beater" = field(init=False)
    _key: bytes | None = field(init=False, default=None, repr=False)
    writer: "writer.Writer" = field(init=False)

    def __post_init__(self) -> None:
        self.beater = beater.Beater(self.catalog, _lease())
        self.box = self.box or outbox.Outbox(Path(self.url) / OUTBOX, self.url)
        self.writer = writer.Writer(self.catalog, self.box, self.copies)

    @property
    def env(self) -> dict[str, str]:
        """The environment in which another process is connected as this one is."""
        mine = {"WHENCE_URL": self.url, "WHENCE_PROJECT": self.project, "WHENCE_BLOBS": self.blobs.url}
        # Who said its token to the environment has it there; another is nobody else's.
        return mine | {name: os.environ[name] for name in _TOKEN_VARIABLES if name in os.environ}

    def close(self) -> None:
        """Let go of the catalog, once what was kept for it had a last try.

        Idempotent; handles that have no path yet get none any more.
        """
        self.beater.close()
        self.writer.close()
        self.catalog.close()

    @property
    def key(self) -> bytes:
        """The secret for HMACs of what must not be recorded in clear: one, however its catalog is reached.

        Empty, where it is kept from whoever may not record.

        Raises:
            Unreachable: nobody says it.
        """
        if self._key is None:
            told = self.catalog.identity().key
            self._key = told if self.url.startswith(("http://", "https://")) else catalog.client_key(told)
        return self._key

    # ── records ──────────────────────────────────────────────────────────────────────────────────

    def run(
        self,
        job: str,
        *,
        params: Mapping[str, object] | None = None,
        labels: Mapping[str, str] | None = None,
        retry_of: uuid.UUID | None = None,
    ) -> contextlib.AbstractContextManager[recorder.Recorder]:
        """A Run of `job`, for a `with` block: begun on entry, ended on exit, failed if the block raises."""
        return block.begin(self, job, params or {}, labels or {}, retry_of)

    def publish(self, reference: str, content: object, **says: Unpack[handles.Says]) -> handles.Handle:
        """Record content that no Run of ours made, such as data from outside; see `handles.Says`."""
        named = self.named(reference)
        made = handles.draft(named.kind, named.name, content, **says)
        return self.publish_draft(made, named.project)

    @reads.unwatched
    def publish_draft(self, draft: handles.Handle, project: str | None = None) -> handles.Handle:
        """Record a draft in a Run of its own, whose inputs are what the draft says it comes from, if anything."""
        run, now = calls.new_uid(), datetime.now(UTC)
        with tempfile.TemporaryDirectory(prefix="whence-") as folder:
            claim = self.store(draft, role="output", folder=Path(folder), project=project, run=run)
        call = model.Call(
            run,
            project or self.project,
            "whence.publish",
            self.actor,
            inputs=tuple(
                model.InputClaim("derived from", source, place)
                for place, source in enumerate(dict.fromkeys(claim.derived_from or ()))
            ),
            parent=recorder.current_uid(),
            claimed_at=now,
        )
        report = model.Report(
            calls.new_uid(), run, model.RunState.COMPLETE, self.actor, outputs=(claim,), claimed_at=now
        )
        (output,) = self.writer.record(call, report)
        return handles.bound(output, self)

    @reads.unwatched
    def alias(
        self, reference: str, name: str, *, reason: str | None = None, expected: int | None = None
    ) -> model.Alias:
        """Point an alias at the Version that `reference` means.

        Args:
            expected: the version number that it is believed to replace (0: none); anything else is a Conflict.
        """
        version = self.get(reference).version
        move = model.AliasMove(
            calls.new_uid(), version.artifact, name, version.digest, self.actor, reason, expected
        )
        return calls.one(self.catalog.move_aliases([move]))

    @reads.unwatched
    def quarantine(self, reference: str, *, reason: str) -> model.Quarantine:
        """Declare a Version bad: all that was or will be made of it is tainted, and reused no more."""
        return judging.quarantine(self, reference, reason)

    def reach(self, reference: str, first: int = 100) -> catalogs.Reach:
        """What a quarantine of a Version reaches, or would; each list has `first` items at most."""
        return judging.reach(self, reference, first)

    def release(self, what: str, *, reason: str) -> model.Quarantine | model.Hold:
        """End a quarantine or a hold, by its id or by the Version of which it is the only one that stands."""
        return judging.release(self, what, reason)

    def approve(
        self,
        reference: str,
        *,
        decision: model.Decision = model.Decision.APPROVED,
        reason: str | None = None,
    ) -> model.Approval:
        """Record a decision on a Version."""
        return judging.approve(self, reference, decision, reason)

    def hold(self, reference: str, *, reason: str) -> model.Hold:
        """Have a Version kept until it is released, whatever retention says."""
        return judging.hold(self, reference, reason)

    def deploy(self, reference: str, target: str, *, reason: str | None = None) -> model.Deployment:
        """Say that a Version serves at `target` from now on, in place of what did."""
        return judging.deploy(self, reference, target, reason)

    def withdraw(self, artifact: str, target: str, *, reason: str | None = None) -> model.Deployment:
        """Say that an Artifact serves at `target` no more; answers the Deployment that ended."""
        return judging.withdraw(self, artifact, target, reason)

    def judgements(self, reference: str) -> catalogs.Judgements:
        """What was said of a Version, and what taints it now."""
        return judging.judgements(self, reference)

    def get(self, reference: str) -> handles.Handle:
        """A handle of the Version that `reference` means."""
        parsed = model.Reference.parse(reference, self.project)
        self.writer.settle()
        try:
            found = calls.one(self.catalog.resolve([parsed]))
        except NotFound:
            # It answers; what it was not told yet may be what is asked for.
            if not self.writer.deliver():
                raise
            found = calls.one(self.catalog.resolve([parsed]))
        return handles.bound(found, self)

    @reads.unwatched
    def known(self, handle: handles.Handle) -> handles.Handle:
        """A handle from elsewhere (another process, another catalog), if this catalog has what it names.

        Where nobody answers, or what it names lies in an outbox still, it is believed: its digest says all.

        Raises:
            NotFound: it has not.
        """
        named = model.Reference(handle.version.artifact, handle.digest)
        may_be_absent = self.expect(handle)
        if not self.writer.is_silent:
            try:
                calls.one(self.catalog.resolve([named]))
            except Unreachable:
                pass
            except NotFound:
                if not may_be_absent:
                    raise
        return handles.bound(handle.output, self)

    def expect(self, handle: handles.Handle) -> bool:
        """Whether what a handle names was made while the catalog did not answer, and may not be recorded yet."""
        if not handle.number:
            self.writer.expect(handle.run)
        return not handle.number

    def full_name(self, text: str) -> str:
        """A reference with this client's project, where it names none; a Run's id as it is."""
        return str(model.Reference.parse(text, self.project)) if ":" in text else text

    @reads.unwatched
    def audit(self, subject: str, policy: audit.Policy) -> audit.AuditReport:
        """Judge how the Version that `subject` means came to be, after hashing all the bytes behind it."""
        ref = self.get(subject).ref
        graph = self.catalog.lineage([ref], lineage.Direction.UP, lineage.Bounds(max_nodes=None))
        seen = [node for node in graph.nodes if not node.is_masked]
        versions = [node.id for node in seen if node.type is lineage.NodeType.VERSION]
        found = self.catalog.resolve([model.Reference.parse(name) for name in versions])
        # What was handed on by reference is where its system keeps it, and was never in the store.
        held = [item for item in found if isinstance(item, model.Output) and item.location is None]
        contents = [item.version.content for item in held]
        ours = [content for content in contents if content.strength is model.Strength.CONTENT]
        trees = {content.digest for content in ours if content.form is model.Form.TREE}
        asked = {content.digest for content in ours}
        for node in seen:
            if node.type is lineage.NodeType.RUN:
                captured = self.catalog.run(node.id).run.capture
                trees |= {captured.bundle} if captured.bundle else set()
                asked |= {kept for kept in (captured.bundle, captured.environment) if kept}
        # Every byte is hashed: a quick look would miss what a failing disk altered.
        present, missing, altered = self.look(frozenset(asked), frozenset(trees), self.blobs.verify_deep)
        presence = dict.fromkeys(present, audit.Presence.PRESENT)
        presence |= dict.fromkeys(missing, audit.Presence.MISSING)
        presence |= dict.fromkeys(altered, audit.Presence.ALTERED)
        return self.catalog.audit(ref, policy, tuple(presence.items()))

    def explain(self, what: str, against: str | None = None) -> "changes.Why":
        """Why a Run, by its id, or a key (`wk1:…`) is what it is; see `changes.explain`."""
        return changes.explain(self, what, against)

    def explain_call(self, step: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> "changes.Why":
        """What a step would be answered if it was called so now, and why; see `changes.explain_call`."""
        return changes.explain_call(self, step, *args, **kwargs)

    def named(self, reference: str) -> model.Artifact:
        """The Artifact that a name for publishing means.

        Raises:
            InvalidInput: it selects a version.
        """
        parsed = model.Reference.parse(reference, self.project)
        if parsed.selector is not None:
            raise InvalidInput(
                f"{reference} selects a version; publishing makes one: name {parsed.artifact} alone",
                ErrorKind.BAD_REFERENCE,
            )
        return parsed.artifact

    # ── bytes ────────────────────────────────────────────────────────────────────────────────────

    @reads.unwatched
    def store(
        self,
        item: handles.Handle,
        *,
        role: str,
        folder: Path,
        project: str | None = None,
        run: uuid.UUID | None = None,
    ) -> model.OutputClaim:
        """Put a handle's content into the store; answers the claim that a report, of `run`, makes of it.

        Blobs first, facts last: a crash in between leaves an orphan Blob, never a fact without bytes.
        """
        if not item.is_draft:
            return self._claim_again(item, role)
        kind, name = handles.kind_and_name(item)
        draft = item.draft
        for source in draft.derived_from or ():
            self.expect(source)
        place = draft.content if isinstance(draft.content, located.Located) else None
        if place is None:
            staged = values.stage(draft.content, folder)
        else:
            staged = values.Staged("reference", "")
            self._require_here(place)
        metadata = _plain(draft.metadata, f"metadata of {kind}:{name}")
        derived = draft.derived_from
        return model.OutputClaim(
            role=role,
            artifact=model.Artifact(project or self.project, kind, name),
            content=self._put(staged)
            if place is None
            else self._identified(place, run or calls.new_uid(), role),
            filename=staged.filename or None,
            format=None if place else staged.format,
            location=None if place is None else place.location,
            metadata=metadata,
            metrics={metric: calls.number(metric, value) for metric, value in draft.metrics.items()},
            description=draft.description,
            derived_from=None if derived is None else tuple(handle.source for handle in derived),
        )

    def _put(self, staged: values.Staged) -> model.Content:
        if staged.data is not None:
            return model.Content(self.blobs.put_bytes(staged.data), size_bytes=len(staged.data))
        path = cast("Path", staged.path)
        if os.path.isdir(path):
            tree = self.blobs.put_tree(path)
            return model.Content(tree.digest, form=model.Form.TREE, size_bytes=tree.size_bytes)
        stored = self.blobs.put_file(path)
        return model.Content(stored.digest, size_bytes=stored.size_bytes)

    def _identified(self, place: located.Located, run: uuid.UUID, role: str) -> model.Content:
        if place.is_asked and place.location is not None:
            return places.content(place.location)
        return located.identified(place, run, role)

    def _require_here(self, place: located.Located) -> None:
        """Nothing, if what is named by its digest alone is in the store."""
        if place.content is not None and place.location is None:
            asked = frozenset({place.content.digest})
            present, _, _ = self.look(asked, asked if place.form is model.Form.TREE else frozenset())
            if not present:
                raise NotFound(
                    f"{place.content.digest} is not in the store {self.blobs.url}; say its location, or hand in its"
                    " bytes",
                    ErrorKind.BLOB_MISSING,
                )

    def _claim_again(self, item: handles.Handle, role: str) -> model.OutputClaim:
        output = item.output
        self.expect(item)
        return model.OutputClaim(
            role=role,
            artifact=output.version.artifact,
            content=output.version.content,
            filename=output.filename,
            format=output.format,
            location=output.location,
            metadata=output.metadata,
            metrics=output.metrics,
            derived_from=(item.source,),
        )

    @reads.unwatched
    def look(
        self,
        asked: frozenset[digest.Digest],
        trees: frozenset[digest.Digest],
        verify: _Verify | None = None,
    ) -> tuple[frozenset[digest.Digest], frozenset[digest.Digest], frozenset[digest.Digest]]:
        """(present, missing, altered) of these contents; one that is in `trees` is all the Blobs of a tree.

        `verify` is how closely to look: the store's quick way unless given.
        """
        members = {named: self._members(named) if named in trees else {named} for named in asked}
        every = frozenset().union(*[found for found in members.values() if found is not None])
        seen = (verify or self.blobs.verify)(every)
        missing = frozenset(n for n, m in members.items() if m is None or m & seen.missing)
        altered = frozenset(n for n, m in members.items() if m is not None and m & seen.altered) - missing
        return asked - missing - altered, missing, altered

    def _members(self, root: digest.Digest) -> frozenset[digest.Digest] | None:
        try:
            return self.blobs.digests_of_tree(root)
        except WhenceError:
            return None  # a node is gone or altered: the tree is not there


def _plain(metadata: Mapping[str, object], what: str) -> Mapping[str, digest.Framed]:
    try:
        digest.frame(cast("digest.Framed", dict(metadata)))
    except WhenceError as error:
        raise InvalidInput(f"{what}: {error}; metadata holds plain values only", error.kind) from error
    return cast("Mapping[str, digest.Framed]", dict(metadata))


# ── connecting ───────────────────────────────────────────────────────────────────────────────────

_guard = threading.Lock()
_default: Client | None = None


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
        url: a folder for an embedded catalog, `https://…` or `postgresql://…`; absent, as the module says.
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
    named = os.fspath(url or os.environ.get("WHENCE_URL") or find_folder(Path.cwd()))
    bytes_at = blobs_url or os.environ.get("WHENCE_BLOBS")
    make = _remote if "://" in named else _embedded
    client = make(
        named, bytes_at, project or os.environ.get("WHENCE_PROJECT") or model.DEFAULT_PROJECT, token
    )
    if not client.writer.box.is_empty:
        client.writer.begin()  # what a process before this one could not deliver
    return client


def _embedded(named: str, bytes_at: str | None, project: str, _: str | None) -> Client:
    folder = embedded_folder(named)
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
        box=outbox.Outbox(Path(kept_in).absolute() / _short(str(folder)), str(folder)) if kept_in else None,
    )


def _remote(named: str, bytes_at: str | None, project: str, token: str | None) -> Client:
    if named.lower().startswith(("http://", "https://")):
        from whence import http

        named = http.address_of(named)
        server = http.HttpCatalog(named, token, timeout_seconds=_timeout_seconds())
        opened, bytes_at = cast("catalog.Catalog", server), bytes_at or _offered(server.offered_blobs)
    else:
        opened = _open_database(named)
    if not bytes_at:
        raise NotReady(
            f"the catalog {_shown(named)} does not say where bytes go: set WHENCE_BLOBS to the store that all who"
            " use it share, such as s3://bucket/path, gs://bucket/path, or file:///a/shared/folder",
            ErrorKind.BAD_SETTING,
        )
    shown = _shown(named)
    kept_in = os.environ.get("WHENCE_OUTBOX") or _user_folder("XDG_STATE_HOME", ".local/state") / OUTBOX
    store = blobs.BlobStore.open(bytes_at, cache=_cache_folder())
    return Client(
        catalog=opened,
        blobs=store,
        project=project,
        actor=operating_system_actor(),
        url=named,
        box=outbox.Outbox(Path(kept_in).absolute() / _short(shown), shown),
        copies=spill.Spill(store.url, _short(shown)),
    )


def _offered(ask: Callable[[], str | None]) -> str | None:
    try:
        return ask()
    except Unreachable as error:
        raise Unreachable(
            f"{error}. Where bytes go, only it knows: with WHENCE_BLOBS set, steps run while it is away",
            error.kind,
        ) from error


def _shown(url: str) -> str:
    """An address without user and password."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _short(url: str) -> str:
    """A folder's name for a catalog."""
    readable = "-".join(re.findall(r"[A-Za-z0-9.]+", url.partition("://")[2] or url))
    return f"{readable[-40:].strip('-.')}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _user_folder(variable: str, otherwise: str) -> Path:
    """Where this user's programs keep things (XDG Base Directory)."""
    named = os.environ.get(variable, "")
    return (
        Path(named if os.path.isabs(named) else os.path.join(os.path.expanduser("~"), otherwise)) / "whence"
    )


def _cache_folder() -> Path | None:
    """What is lent to steps outlives this process, where this user can keep files at all."""
    if named := os.environ.get("WHENCE_CACHE_DIR"):
        return Path(named)
    folder = _user_folder("XDG_CACHE_HOME", ".cache").absolute()
    is_there = next(parent for parent in folder.parents if parent.exists())
    return folder if os.access(is_there, os.W_OK) else None


def database_url() -> str:
    """The database that the environment names: an embedded catalog's file, or a `postgresql://` address."""
    named = os.environ.get("WHENCE_URL", "")
    return named if named.startswith("postgres") else str(embedded_folder() / DATABASE)


def embedded_folder(url: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the embedded catalog that `url`, or else the environment, names.

    Raises:
        InvalidInput: it names a server.
    """
    named = os.fspath(url or os.environ.get("WHENCE_URL") or find_folder(Path.cwd()))
    if "://" in named:
        raise InvalidInput(f"{_shown(named)} is no embedded catalog, which is named by a folder")
    return Path(named).expanduser().absolute()


def _open_database(url: str) -> catalog.Catalog:
    try:
        from whence_catalog.sql import catalog as sql_catalog
    except ModuleNotFoundError as error:
        raise NotReady(
            f"a catalog in PostgreSQL needs {error.name}, which is not installed;"
            " run: pip install 'whence[postgres]'",
            ErrorKind.EXTRA_MISSING,
        ) from error

    return _at_once_or_later(
        lambda: sql_catalog.open_url(url, timeout_seconds=_timeout_seconds(), lease=_lease())
    )


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
                folder / DATABASE,
                synchronous=synchronous,
                timeout_seconds=_timeout_seconds(),
                lease=_lease(),
            )

    made = _at_once_or_later(opened)
    # What cannot be written can still be read.
    with contextlib.suppress(OSError):
        if not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text("# Made by whence: a catalog is not source.\n*\n")
    with contextlib.suppress(WhenceError):
        made.sweep()
    return made


def _timeout_seconds() -> float:
    text = os.environ.get("WHENCE_TIMEOUT") or "30"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < 1e6:
        raise InvalidInput(f"WHENCE_TIMEOUT is {text!r}; it is a number of seconds")
    return seconds


def _lease() -> timedelta:
    text = os.environ.get("WHENCE_LEASE")
    if not text:
        return catalog.LEASE
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds <= 86400:
        raise InvalidInput(f"WHENCE_LEASE is {text!r}; it is a number of seconds, more than none")
    return timedelta(seconds=seconds)


def find_folder(start: Path) -> Path:
    """The nearest `.whence` from `start` upwards; else the one that would be made in `start`."""
    for folder in (start, *start.parents):
        if (folder / FOLDER / DATABASE).exists():
            return folder / FOLDER
    return start / FOLDER


def operating_system_actor() -> model.Actor:
    """Who runs this process, as the operating system has it; nobody checked."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = f"uid {os.getuid()}"
    return model.Actor(f"{user}@{socket.gethostname()}", authenticated=False)


def current() -> Client:
    """This process's client, connected now if it was not."""
    global _default
    with _guard:
        if _default is None:
            _default = open_client()
        return _default

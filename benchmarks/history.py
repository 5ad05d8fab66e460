"""A history that is always the same: every run of it is a function of its place.

The runs lie in layers, and each takes three outputs of runs in the two layers before its own, so that
the history is hundreds of runs deep. A run beyond the last is what a benchmark records next.
"""

import hashlib
import random
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from benchmarks import raw
from whence_catalog import cache, digest, model
from whence_catalog.sql import catalog

# Raised when the runs below change, so that files of older ones are not taken for these.
_RECIPE = 3
_LAYERS = 400
_JOBS = 20
_ROLES = ("table", "model")
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_PROJECT = "bench"
_ACTOR = model.Actor("bench")
_OWNER = "bench-1"


def at(place: int) -> datetime:
    """When a run began."""
    return _BEGAN + timedelta(seconds=place)


def uid(place: int, what: str = "run") -> UUID:
    """An id that rises with time, as a client's UUIDv7 does."""
    tail = hashlib.sha256(f"{what} {place}".encode()).digest()[:10]
    return UUID(bytes=(model.microseconds(at(place)) // 1000).to_bytes(6, "big") + tail)


def key(place: int) -> str:
    """The key under which a run's outputs are reused."""
    return "wk1:" + hashlib.sha256(f"key {place}".encode()).hexdigest()


def content(place: int, role: str) -> digest.Digest:
    """What a run made in a role."""
    return digest.digest_of_bytes(f"{role} {place}".encode())


def artifact(place: int, role: str) -> model.Artifact:
    """The Artifact that it is a Version of."""
    return model.Artifact(_PROJECT, "model" if role == "model" else "dataset", f"{role}-{place % _JOBS}")


def job(place: int) -> str:
    """The job that a run is of."""
    return f"job-{place % _JOBS}"


def source(place: int, role: str) -> model.Source:
    """The production of a run in a role."""
    return model.Source(artifact(place, role), content(place, role), uid(place))


def sources(place: int, runs: int) -> tuple[model.Source, ...]:
    """What a run takes, in a history of that many runs."""
    width = max(4, runs // _LAYERS)
    end = place // width * width
    choice = random.Random(place)
    return tuple(
        source(earlier, role)
        for earlier in (choice.sample(range(max(0, end - 2 * width), end), 3) if end else ())
        for role in [choice.choice(_ROLES)]
    )


def call(place: int, runs: int, mode: model.Mode = model.Mode.REUSE) -> model.Call:
    """The start of a run: 3 inputs, 8 params."""
    return model.Call(
        run=uid(place),
        project=_PROJECT,
        job=job(place),
        actor=_ACTOR,
        mode=mode,
        params={f"param-{n}": place + n if n % 2 else f"text {n}" for n in range(8)},
        inputs=tuple(model.InputClaim(f"input-{n}", source) for n, source in enumerate(sources(place, runs))),
        key=key(place) if mode is model.Mode.REUSE else None,
        owner=_OWNER,
    )


def report(place: int) -> model.Report:
    """The end of a run: 2 outputs, 4 metrics."""
    return model.Report(
        uid=uid(place, "report"),
        run=uid(place),
        state=model.RunState.COMPLETE,
        actor=_ACTOR,
        outputs=tuple(
            model.OutputClaim(
                role,
                artifact(place, role),
                model.Content(content(place, role), size_bytes=1000 + place),
                filename=f"{role}.bin",
                format="bytes",
                metadata={"rows": place, "columns": ["a", "b", "c"]},
            )
            for role in _ROLES
        ),
        metrics={f"metric-{n}": place / (n + 1) for n in range(4)},
        owner=_OWNER,
    )


def components(place: int) -> tuple[model.Component, ...]:
    """Ten parts of a key, each with a preview, as a step of three inputs and two params has them."""
    kinds = ("scope", "job", "signature", "environment", "code")
    named = ("inputs/a", "inputs/b", "inputs/c", "params/a", "params/b")
    return tuple(
        cache.component(name.partition("/")[0], place, name, preview=f"{name} {place}")
        for name in (*kinds, *named)
    )


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def write(path: Path, runs: int) -> None:
    """Make a catalog at `path` that holds the history."""
    catalog.SqlCatalog.open(path).close()
    connection = raw.connect(path, "OFF")
    with raw.writing(connection):
        raw.name(connection, _PROJECT, _ACTOR.name, [job(place) for place in range(_JOBS)])
        raw.name_artifacts(connection, [artifact(place, role) for place in range(_JOBS) for role in _ROLES])
        for place in range(runs):
            begins = call(place, runs)
            token = raw.reserve(connection, raw.begun(begins, at(place)))
            raw.finish(connection, raw.ended(report(place), at(place), begins), token)
    connection.close()


def _schema_name() -> str:
    """Changes whenever a table or an index does."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "empty.db"
        catalog.SqlCatalog.open(path).close()
        connection = raw.connect(path)
        rows = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
        connection.close()
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:12]


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The file of that name: made once on a machine for each schema, and never written again."""
    folder = Path(tempfile.gettempdir()) / "whence-benchmarks"
    made = folder / f"{name}-{_RECIPE}-{_schema_name()}.db"
    if not made.exists():
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as where:
            make(Path(where) / "made.db")
            (Path(where) / "made.db").replace(made)
    return made


def file(runs: int) -> Path:
    """The file of that history."""
    return kept(str(runs), lambda path: write(path, runs))


def copied(original: Path, to: Path) -> Path:
    """A copy of a file at `to`, on the disk, so that its own pages are not synced on our time."""
    shutil.copyfile(original, to)
    raw.sync(to)
    return to

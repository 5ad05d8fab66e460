"""Ray as an executor of plans: each planned Run is one task of Ray, which opens the catalog where it runs.

Ray decides where and when; what can be begun, `applying` knows, and what is recorded, whoever makes the Run. The
pattern for other orchestrators: a task is a small value, and whoever is handed it needs nothing but the catalog's URL.
"""

import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence import connecting
from whence.client import Client
from whence.due import Done, Due, End, Maker, perform
from whence_catalog import plans
from whence_catalog.errors import Conflict, ErrorKind, NotReady, WhenceError

if TYPE_CHECKING:
    from ray import ObjectRef

# A task whose worker dies is begun once more, as another Run.
_RETRIES = 1
# Of a Ray of our own: what tasks hand each other is small.
_STORE_BYTES = 80 << 20
_OWN = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # However it is named, this has a Ray for one machine listen on the loopback address alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Workers run in this environment. Else, where `uv run` started us, each would have uv make one of its own.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


@contextlib.contextmanager
def opened(
    client: Client, make: Maker, jobs: int, progress: Callable[[str], None] = lambda text: None
) -> Iterator["OnRay"]:
    """An executor on the Ray that this process is connected to, or that RAY_ADDRESS names, or on one of its own.

    One of its own is on this machine, has `jobs` processors, listens on no network, and ends with this. What Ray says
    on its own account goes to standard error.

    Args:
        make: is sent to where the tasks run, so it can be pickled.

    Raises:
        NotReady: Ray is not installed, or cannot be reached or started.
        Conflict: the catalog is a folder of this machine, and Ray has others.
    """
    with contextlib.redirect_stdout(sys.stderr), _connected(jobs, progress):
        yield OnRay(client, make)


@contextlib.contextmanager
def _connected(jobs: int, progress: Callable[[str], None]) -> Iterator[None]:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        os.environ.update(_OWN | {name: os.environ[name] for name in _OWN if name in os.environ})
    try:
        import ray
    except ModuleNotFoundError as error:
        raise NotReady(
            f"to carry a plan out on Ray needs {error.name}, which is not installed; run: pip install 'whence[ray]'",
            ErrorKind.EXTRA_MISSING,
        ) from error
    if ray.is_initialized():
        yield
        return
    # Ray's sockets are in its folder, and their paths have to be short: not where temporary files are.
    folder = (
        None
        if address
        else Path(tempfile.mkdtemp(prefix="whence-ray-", dir=os.environ.get("RAY_TMPDIR", "/tmp")))
    )
    try:
        progress(f"connecting to Ray at {address}" if address else "starting a Ray on this machine")
        own: dict[str, Any] = {
            "num_cpus": jobs,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": str(folder),
        }
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else own),
            )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            where = f"Ray at {address} cannot be reached" if address else "Ray cannot be started"
            raise NotReady(f"{where}: {_line(error)}", ErrorKind.UNREACHABLE) from error
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class OnRay:
    """Carries out tasks on the Ray that this process is connected to."""

    def __init__(self, client: Client, make: Maker) -> None:
        import ray

        refuse_out_of_reach(client.url, ray.nodes())  # type: ignore[no-untyped-call]
        self._begin = ray.remote(num_cpus=1, max_retries=_RETRIES)(carry_out)
        self._make = ray.put(make)

    def submit(self, due: Due) -> "Future[Done]":
        """As `Executor`."""
        return _Pending(due.step, self._begin.remote(due, self._make))


class _Pending(Future[Done]):
    """What becomes of a task that Ray has."""

    def __init__(self, step: plans.PlannedRun, ref: "ObjectRef[Done]") -> None:
        super().__init__()
        self._ref = ref
        self._is_taken_back = False
        ref.future().add_done_callback(lambda ended: self.set_result(_outcome(step, ended)))

    def cancel(self) -> bool:
        """Take it back, if it was not begun: then it ends, a little later, as one that was stopped."""
        import ray

        if not self._is_taken_back:
            self._is_taken_back = True
            ray.cancel(self._ref, force=False)
        return False


def _outcome(step: plans.PlannedRun, ended: "Future[Done]") -> Done:
    from ray import exceptions

    try:
        return ended.result()
    except exceptions.TaskCancelledError:
        return Done(step.run, step.job, End.STOPPED)
    except exceptions.WorkerCrashedError:
        why = f"the process that made it died, {_RETRIES + 1} times; what these had begun is aborted in a minute"
        return Done(step.run, step.job, End.FAILED, why=why)
    except Exception as error:
        return Done(step.run, step.job, End.FAILED, why=f"Ray did not carry it out: {_line(error)}")


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def refuse_out_of_reach(url: str, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Nothing, if whoever runs a task can open the catalog: a folder is here, and a server anywhere.

    Raises:
        Conflict: the catalog is a folder, and tasks may run on another machine.
    """
    here = socket.gethostname()
    others = sorted(
        {
            str(node["NodeManagerHostname"])
            for node in nodes
            if node["Alive"] and node["Resources"].get("CPU") and node["NodeManagerHostname"] != here
        }
    )
    if others and "://" not in url:
        raise Conflict(
            f"the catalog is a folder of this machine, {url}, and Ray runs tasks on {', '.join(others[:3])}, too:"
            " serve it (whence serve), and set WHENCE_URL to the server's address",
            ErrorKind.BAD_SETTING,
        )


# ── in a worker of Ray ───────────────────────────────────────────────────────────────────────────


def carry_out(due: Due, make: Maker) -> Done:
    """Carry a task out in this process, with the catalog opened here.

    To take a task back Ray interrupts it: one that has begun goes on to its end.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        client = connecting.open_client(due.url, project=due.project, blobs_url=due.blobs)
        try:
            return perform(client, due, make, lambda text: None)
        finally:
            client.close()
    except WhenceError as error:
        return Done(due.step.run, due.step.job, End.FAILED, why=str(error))
    finally:
        signal.signal(signal.SIGINT, before)

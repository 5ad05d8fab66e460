"""How a look-up is steered from outside, what is made again because its bytes are gone, and who holds a key meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest

import whence
from tests.conftest import Project
from whence.client import Client
from whence_catalog.digest import digest_of_bytes

PIPELINE = """
@whence.step
def load():
    mark("load")
    return whence.dataset("raw", b"0123456789")

@whence.step
def train(raw):
    mark("train")
    return raw.path.stat().st_size

if __name__ == "__main__":
    show(train(load()))
"""


def test_selectors_are_read_at_run_time_and_the_first_that_matches_counts(project: Project) -> None:
    project.write(PIPELINE)
    assert (project.run(), project.executed()) == (10, ["load", "train"])
    for selectors, executed in (
        ("train=refresh,*=reuse", ["train"]),
        ("*.load=refresh", ["load"]),
        ("reuse", []),
        ("pipeline.*=refresh", ["load", "train"]),
        ("tr*=reuse,record", ["load"]),
    ):
        assert (project.run(WHENCE_CACHE=selectors), project.executed()) == (10, executed), selectors
    wrong = project.start(WHENCE_CACHE="train=refresh,load=never")
    _, said = wrong.communicate(timeout=60)
    assert "WHENCE_CACHE: part 2 ('load=never') has the mode 'never'" in said
    assert project.executed() == []


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def altered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(Path.unlink, "output missing"), (shortened, "output altered"), (altered, "output altered")],
    ids=["deleted", "truncated", "one bit altered"],
)
def test_an_output_that_is_not_as_it_was_is_a_miss_made_again_and_recorded_with_its_reason(
    project: Project, harm: Callable[[Path], None], reason: str
) -> None:
    project.write(PIPELINE)
    assert (project.run(), project.executed()) == (10, ["load", "train"])
    made = digest_of_bytes(b"0123456789")
    (stored,) = (project.url / "blobs").rglob(made.hex[2:])
    stored.chmod(0o600)
    harm(stored)
    assert (project.run(), project.executed()) == (10, ["load"])
    catalog = project.client.catalog
    again = next(run for run in catalog.runs() if run.job == "pipeline.load")
    assert (again.reason, again.outcome) == (reason, "renewed")
    assert project.client.blobs.verify_deep([made]).present
    assert (project.run(), project.executed()) == (10, [])
    assert catalog.check().problems == ()


def test_a_share_of_the_hits_is_executed_and_compared(client: Client) -> None:
    made: list[int] = []

    def step(verify_rate: float, code: Callable[[], int]) -> int:
        def once(n: int) -> int:
            made.append(n)
            return code()

        answer: int = whence.step(version="1", name="once", verify_rate=verify_rate)(once)(1)
        return answer

    assert [step(0, lambda: 7), step(0, lambda: 8), step(1, lambda: 7)] == [7, 7, 7]
    assert step(1, lambda: 9) == 9, "whoever executed has what it made"
    assert step(0, lambda: 0) == 7, "and displaces nothing"
    runs = [(run.reason, run.outcome) for run in reversed(client.catalog.runs())]
    assert runs == [
        ("no entry", "entered"),
        (None, None),
        ("sampled", "renewed"),
        ("sampled", "diverged: other bytes for return"),
        (None, None),
    ]
    assert len(made) == 3


HOLDER = """
import ctypes, sqlite3

def until():
    with sqlite3.connect(Path(os.environ["WHENCE_URL"]) / "catalog.db") as database:
        return database.execute("SELECT max(until) FROM reservation").fetchone()[0]

@whence.step
def hold(n):
    mark("hold")
    for _ in range(3):
        before = until()
        # Half a lease in which no other thread of the process runs: PyDLL does not let go of the GIL.
        ctypes.PyDLL(None).usleep(1_500_000)
        while until() == before:
            time.sleep(0.01)
    return whence.current() is not None

if __name__ == "__main__":
    show(hold(1))
"""


def test_a_lease_outlives_half_of_it_without_the_gil_again_and_again(project: Project) -> None:
    project.write(HOLDER)
    holder = project.start(WHENCE_LEASE="3")
    project.wait_for_mark(holder, "hold")
    waiter = project.start(WHENCE_LEASE="3")
    assert project.end(holder) is True
    assert project.end(waiter) is True
    assert project.executed() == ["hold"], "the other one waited, and was handed what was made"
    runs = project.client.catalog.runs()
    assert sorted((run.state.value, run.outcome) for run in runs) == [
        ("complete", "entered"),
        ("reused", None),
    ]

"""What a step leaves at a place of its own: handed out again as long as that place holds it."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import whence
from whence import Handle
from whence.client import Client
from whence_catalog.digest import digest_of_bytes
from whence_catalog.errors import InvalidInput, NotFound
from whence_catalog.model import Strength


class Bucket(MemoryFileSystem):
    """A store that counts the generations of each object, as Google's does."""

    protocol = "bucket"
    store: dict[str, object] = {}  # noqa: RUF012 - fsspec's own
    pseudo_dirs = [""]  # noqa: RUF012
    generations: dict[int, int] = {}  # noqa: RUF012
    numbers = itertools.count(1)

    def info(self, path: str, **said: object) -> dict[str, object]:
        found: dict[str, object] = super().info(path, **said)
        written = self.store[self._strip_protocol(path)]
        # Each write makes another object.
        generation = getattr(written, "generation", None) or next(self.numbers)
        written.generation = generation  # type: ignore[attr-defined]
        return {**found, "generation": str(generation)}

    def write(self, path: str, data: bytes) -> None:
        self.pipe_file(path, data)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    opened = Bucket()
    yield opened
    opened.store.clear()


def writing(place: str, times: list[str], **said: object) -> Callable[[str], Handle]:
    @whence.step(version="1", name="fill", trust="the bucket counts its generations")
    def fill(text: str) -> Handle:
        times.append(text)
        if "://" in place:
            Bucket().write(place, text.encode())
        else:
            Path(place).write_text(text)
        return whence.located("dataset", "table", place, **said)  # type: ignore[arg-type]

    return fill


def reasons(client: Client) -> list[str | None]:
    return [run.reason for run in reversed(client.catalog.runs())]


def test_what_stands_in_a_bucket_is_reused_until_somebody_writes_there(
    client: Client, bucket: Bucket
) -> None:
    times: list[str] = []
    fill = writing("bucket://b/table", times, identity="ask")
    made = fill("a")
    assert made.version.content.strength is Strength.PROVIDER
    assert fill("a").digest == made.digest
    bucket.write("bucket://b/table", b"a")  # the same bytes, by somebody else: it is another generation
    fill("a")
    bucket.rm("bucket://b/table")
    fill("a")
    fill("b")
    fill("a")
    fill("a")
    assert times == ["a", "a", "a", "b", "a"]
    assert reasons(client) == [
        "no entry", None, "output altered", "output missing", "no entry", "overwritten", None
    ]  # fmt: skip
    assert client.catalog.check().problems == ()


@pytest.mark.parametrize("as_url", [False, True])
def test_what_lies_on_this_machine_is_reused_while_its_bytes_are_those(
    client: Client, tmp_path: Path, as_url: bool
) -> None:
    times: list[str] = []
    place = tmp_path / "table.csv"

    @whence.step(version="1", name="fill")
    def fill(text: str) -> Handle:
        times.append(text)
        place.write_text(text)
        return whence.located("dataset", "table", place.as_uri() if as_url else place)

    assert fill("a").version.content.strength is Strength.CONTENT
    fill("a")
    place.write_text("x")
    fill("a")
    place.unlink()
    fill("a")
    fill("b")
    fill("a")
    assert times == ["a", "a", "a", "b", "a"]
    assert reasons(client)[2:] == ["output altered", "output missing", "no entry", "overwritten"]


def test_a_store_that_says_nothing_sure_gives_no_identity(client: Client) -> None:
    with fsspec.open("memory://nowhere/table", "wb") as file:
        file.write(b"a")
    for place, why in (
        ("memory://nowhere/table", "says nothing that is another after each write"),
        ("memory://nowhere/absent", "cannot be looked at"),
    ):
        with pytest.raises(InvalidInput, match=why):
            client.publish_draft(whence.located("dataset", "table", place, identity="ask"))


@pytest.mark.parametrize("number", range(3), ids=["checksum", "digest", "elsewhere"])
def test_a_place_that_nobody_here_can_judge_is_left_to_who_can(
    client: Client, bucket: Bucket, number: int
) -> None:
    bucket.write("bucket://b/table", b"a")
    said: list[dict[str, Any]] = [{"identity": ("md5", "0c")}, {"digest": digest_of_bytes(b"a").text}]
    place, told = ("bucket://b/table", said[number]) if number < 2 else ("elsewhere://b/table", said[1])

    @whence.step(version="1", name="fill", trust="told by another system")
    def fill() -> Handle:
        return whence.located("dataset", "table", place, **told)

    fill()
    with pytest.raises(NotFound, match="only that system can look at"):
        fill()


def test_a_step_whose_input_is_written_over_while_it_runs_publishes_nothing(
    client: Client, bucket: Bucket
) -> None:
    bucket.write("bucket://b/table", b"a")
    table = client.publish_draft(whence.located("dataset", "table", "bucket://b/table", identity="ask"))
    meddles = [True, False]

    @whence.step(version="1", trust="the bucket counts its generations")
    def count(table: Handle) -> int:
        if meddles.pop(0):
            bucket.write("bucket://b/table", b"b")
        return 1

    count(table)
    (run, *_) = client.catalog.runs()
    assert str(run.outcome).startswith(
        "refused: input <dataset:table@1> is no longer what lies at bucket://b/table"
    )
    again = client.publish_draft(whence.located("dataset", "table", "bucket://b/table", identity="ask"))
    count(again)
    assert client.catalog.runs()[0].outcome == "entered"


def test_the_same_bytes_at_two_places_are_looked_at_in_each(client: Client, tmp_path: Path) -> None:
    times: list[int] = []
    one, other = tmp_path / "one.bin", tmp_path / "other.bin"

    @whence.step(version="1")
    def both(n: int) -> dict[str, Handle]:
        times.append(n)
        one.write_bytes(b"same")
        other.write_bytes(b"same")
        return {"a": whence.located("file", "a", one), "b": whence.located("file", "b", other)}

    @whence.step(version="1")
    def over(n: int) -> Handle:
        one.write_bytes(b"other")
        return whence.located("file", "w", one)

    both(1)
    both(1)
    for harm in (
        lambda: one.write_bytes(b"altered"),
        lambda: other.write_bytes(b"altered"),
        one.unlink,
        other.unlink,
        lambda: over(1),
    ):
        harm()
        both(1)
        assert (one.read_bytes(), other.read_bytes()) == (b"same", b"same")
        both(1)
    assert len(times) == 6


def test_a_result_in_the_store_is_looked_for_there_though_its_bytes_lie_at_a_place_too(
    client: Client, tmp_path: Path
) -> None:
    times: list[int] = []
    place = tmp_path / "place.bin"

    @whence.step(version="1")
    def mixed(n: int) -> dict[str, Handle]:
        times.append(n)
        place.write_bytes(b"mixed")
        return {"a": whence.located("file", "a", place), "b": whence.dataset("b", b"mixed")}

    mixed(1)
    mixed(1)
    assert len(times) == 1
    (blob,) = [
        found
        for found in Path(client.blobs.url.removeprefix("file://")).rglob("*")
        if found.is_file() and found.read_bytes() == b"mixed"
    ]
    blob.parent.chmod(0o755)
    blob.unlink()
    assert mixed(1)["b"].load() == b"mixed"
    assert len(times) == 2

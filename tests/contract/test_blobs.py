"""A store holds under a digest the bytes of that digest, or says that it does not."""

import concurrent.futures
import contextlib
import errno
import gc
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest

from whence_catalog import blobs, digest, errors, manifest
from whence_catalog.blobs import disk
from whence_catalog.errors import ErrorKind

NOBODY = 65534
MIB = 1 << 20


class Objects(fsspec.AbstractFileSystem):
    """An object store in this process: whole objects, uploads in parts that count once completed."""

    protocol = "objects"
    held: ClassVar[dict[str, bytes]] = {}
    failure: ClassVar[Exception | None] = None
    during_upload: ClassVar[Callable[[], None] | None] = None

    def info(self, path: str, **_: object) -> dict[str, object]:
        if Objects.failure:
            raise Objects.failure
        return {"name": path, "size": len(self.cat_file(path)), "type": "file"}

    def find(self, path: str, *_: object, **__: object) -> list[str]:
        return [key for key in self.held if key.startswith(self._strip_protocol(path))]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: object) -> None:
        if mode == "create" and self._strip_protocol(path) in self.held:
            raise FileExistsError(path)
        self.held[self._strip_protocol(path)] = value

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        if self._strip_protocol(path) not in self.held:
            raise FileNotFoundError(path)
        return self.held[self._strip_protocol(path)][start:end]

    def rm_file(self, path: str) -> None:
        if self.held.pop(self._strip_protocol(path), None) is None:
            raise FileNotFoundError(path)

    def rm(self, path: str, *_: object, **__: object) -> None:
        self.rm_file(path)

    def _open(self, path: str, mode: str = "rb", **options: object) -> fsspec.spec.AbstractBufferedFile:
        return Upload(self, path, mode, **options)


class Upload(fsspec.spec.AbstractBufferedFile):
    def _initiate_upload(self) -> None:
        self.parts: list[bytes] = []

    def _upload_chunk(self, final: bool = False) -> bool:
        self.parts.append(self.buffer.getvalue())
        if Objects.during_upload:
            Objects.during_upload()
        if final:
            self.fs.pipe_file(self.path, b"".join(self.parts))
        return True


fsspec.register_implementation("objects", Objects, clobber=True)


@dataclass(frozen=True)
class World:
    """A store, and the hand of whoever damages it."""

    store: blobs.BlobStore
    cache: Path

    def path(self, name: digest.Digest) -> str:
        _, root = fsspec.core.url_to_fs(self.store.url)
        return f"{root}/sha256/{name.hex[:2]}/{name.hex[2:]}"

    def overwrite(self, name: digest.Digest, data: bytes) -> None:
        fs, _ = fsspec.core.url_to_fs(self.store.url)
        if self.store.is_local:
            os.chmod(self.path(name), 0o644)
        fs.pipe_file(self.path(name), data)

    def lose(self, name: digest.Digest) -> None:
        fs, _ = fsspec.core.url_to_fs(self.store.url)
        fs.rm(self.path(name))

    def names(self) -> set[str]:
        """Every Blob that can be found under a name."""
        fs, root = fsspec.core.url_to_fs(self.store.url)
        return {"sha256:" + "".join(path.split("/")[-2:]) for path in fs.find(f"{root}/sha256")}

    def leftovers(self) -> list[str]:
        return sorted(os.listdir(self.path(digest.digest_of_bytes(b"")).split("/sha256/")[0] + "/tmp"))


@pytest.fixture(params=["file", "memory", "objects"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    place = f"{tmp_path}/store" if request.param == "file" else secrets.token_hex(8)
    url = f"{request.param}://{place}"
    yield World(blobs.BlobStore.open(url, tmp_path / "cache"), tmp_path / "cache")
    Objects.held.clear()
    if request.param == "memory" and fsspec.filesystem("memory").exists(url):
        fsspec.filesystem("memory").rm(url, recursive=True)


@pytest.fixture
def local(tmp_path: Path) -> World:
    return World(blobs.BlobStore.open(str(tmp_path / "store"), tmp_path / "cache"), tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what folders have."""
    root = tmp_path / "data"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a.txt").write_bytes(b"alpha")
    (root / "deep" / "er" / "b.bin").write_bytes(b"\0" * 3000)
    (root / "deep" / "zero").write_bytes(b"")
    return root


def name_of(data: bytes) -> digest.Digest:
    return digest.digest_of_bytes(data)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below: a file's bytes, or None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


@contextlib.contextmanager
def unprivileged() -> Iterator[Path]:
    """Be a user whom permissions bind, with a folder of one's own."""
    own = Path(tempfile.mkdtemp())
    was_root = os.geteuid() == 0
    if was_root:
        os.chown(own, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield own
    finally:
        if was_root:
            os.seteuid(0)
        disk.remove(own)


# Files


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB])
def test_what_was_put_is_read_back(world: World, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    stored = world.store.put_file(tmp_path / "source")
    assert stored == blobs.Stored(name_of(data), size) == world.store.hash_file(tmp_path / "source")
    assert world.store.put_bytes(data) == stored.digest
    assert world.store.read_bytes(stored.digest) == data
    with world.store.stream(stored.digest) as stream:
        assert stream.read() == data
    assert world.store.materialise_file(stored.digest, "x.bin").read_bytes() == data
    world.store.copy_file(stored.digest, tmp_path / "out" / "copy")
    assert (tmp_path / "out" / "copy").read_bytes() == data
    assert world.names() == {stored.digest.text}


def test_bytes_that_were_never_put_are_missing(world: World) -> None:
    held, other = world.store.put_bytes(b"held"), name_of(b"other")
    assert world.store.missing([held, other]) == {other}
    assert world.store.verify([held, other]) == blobs.Presence(
        frozenset({held}), frozenset({other}), frozenset()
    )
    with pytest.raises(errors.Damaged) as caught:
        world.store.read_bytes(other)
    assert caught.value.kind is ErrorKind.BLOB_MISSING


def test_putting_again_writes_nothing(world: World, folder: Path) -> None:
    assert world.store.put_tree(folder).written == 4
    assert world.store.put_tree(folder).written == 0
    (folder / "new").write_bytes(b"new")
    assert world.store.put_tree(folder).written == 2


def test_hashing_writes_nothing(world: World, folder: Path) -> None:
    hashed = world.store.hash_tree(folder)
    assert world.names() == set()
    stored = world.store.put_tree(folder)
    assert (hashed.digest, hashed.size_bytes, hashed.files) == (
        stored.digest,
        stored.size_bytes,
        stored.files,
    )


def test_a_deleted_blob_is_gone_from_store_and_cache(world: World) -> None:
    name = world.store.put_bytes(b"x")
    world.store.materialise_file(name, "x")
    world.store.delete(name)
    world.store.delete(name)
    with pytest.raises(errors.Damaged):
        world.store.read_bytes(name)


def test_a_link_to_a_file_counts_as_the_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"real")
    (tmp_path / "link").symlink_to("real")
    assert world.store.put_file(tmp_path / "link").digest == name_of(b"real")


@pytest.mark.parametrize("what", ["folder", "fifo"])
def test_a_file_is_expected_where_a_file_is_put(world: World, tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(errors.InvalidInput, match=what) as caught:
        world.store.put_file(tmp_path / what)
    assert caught.value.kind is ErrorKind.BAD_PATH


def test_a_folder_is_expected_where_a_tree_is_put(world: World, folder: Path) -> None:
    with pytest.raises(errors.InvalidInput):
        world.store.put_tree(folder / "a.txt")


def test_an_absent_source_is_not_found(world: World, tmp_path: Path) -> None:
    for put in (world.store.put_file, world.store.put_tree, world.store.hash_file, world.store.hash_tree):
        with pytest.raises(errors.NotFound, match="absent") as caught:
            put(tmp_path / "absent")
        assert caught.value.kind is ErrorKind.NO_SUCH_FILE


def test_a_source_that_may_not_be_read_is_denied_by_name(tmp_path: Path) -> None:
    with unprivileged() as own:
        (own / "data").mkdir()
        (own / "data" / "secret").write_bytes(b"x")
        (own / "data" / "secret").chmod(0)
        store = blobs.BlobStore.open(str(own / "store"))
        for put in (lambda: store.put_file(own / "data" / "secret"), lambda: store.put_tree(own / "data")):
            with pytest.raises(errors.Denied, match="secret") as caught:
                put()
            assert caught.value.kind is ErrorKind.PERMISSION


# Trees


def test_a_tree_comes_back_as_it_was(world: World, folder: Path, tmp_path: Path) -> None:
    stored = world.store.put_tree(folder)
    assert (stored.files, stored.size_bytes) == (3, 3005)
    lent = world.store.materialise_tree(stored.digest)
    world.store.copy_tree(stored.digest, tmp_path / "copy")
    assert contents(lent) == contents(tmp_path / "copy") == contents(folder)
    assert "empty" in contents(lent)


def test_an_empty_tree_comes_back(world: World, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    stored = world.store.put_tree(tmp_path / "void")
    assert contents(world.store.materialise_tree(stored.digest)) == {}
    assert stored.digest == manifest.build([]).root


def test_a_tree_is_not_its_only_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a").write_bytes(b"x")
    assert (
        world.store.put_tree(tmp_path / "one").digest != world.store.put_file(tmp_path / "one" / "a").digest
    )


@pytest.mark.parametrize(
    "name", ["a b", "ä", "a\nb", "-rf", "...", "e\u0301", "🐟", "a\\b", "%41", "x" * 255]
)
def test_odd_names_come_back(world: World, tmp_path: Path, name: str) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / name).write_bytes(b"x")
    stored = world.store.put_tree(tmp_path / "odd")
    assert contents(world.store.materialise_tree(stored.digest)) == {name: b"x"}
    assert world.store.materialise_file(name_of(b"x"), name).name == name


def test_a_name_that_is_not_utf8_is_refused_and_shown(world: World, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "odd") + b"/caf\xe9")).write_bytes(b"x")
    with pytest.raises(errors.InvalidInput, match=r"caf\\udce9") as caught:
        world.store.put_tree(tmp_path / "odd")
    assert caught.value.kind is ErrorKind.BAD_PATH
    assert world.store.put_tree(tmp_path / "odd", skip=lambda path: path.startswith("caf")).files == 0


def test_what_is_skipped_is_left_out_with_all_below(world: World, folder: Path) -> None:
    asked: list[str] = []

    def skip(path: str) -> bool:
        asked.append(path)
        return path == "deep"

    stored = world.store.put_tree(folder, skip=skip)
    assert set(contents(world.store.materialise_tree(stored.digest))) == {"a.txt", "empty"}
    assert set(asked) == {"a.txt", "empty", "deep"}


def test_progress_ends_at_the_whole(world: World, folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    world.store.put_tree(folder, progress=lambda files, size_bytes: seen.append((files, size_bytes)))
    assert seen == sorted(seen)
    assert seen[-1] == (3, 3005)


def test_links_inside_a_tree_count_as_what_they_lead_to(world: World, folder: Path) -> None:
    (folder / "file-link").symlink_to("deep/zero")
    (folder / "folder-link").symlink_to(folder / "deep" / "er")
    (folder / "deep" / "twice").symlink_to("../folder-link")
    stored = world.store.put_tree(folder)
    lent = contents(world.store.materialise_tree(stored.digest))
    assert lent["file-link"] == b""
    assert lent["folder-link/b.bin"] == lent["deep/twice/b.bin"] == b"\0" * 3000


def test_a_tree_may_be_given_by_a_link(world: World, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert world.store.put_tree(tmp_path / "link").digest == world.store.put_tree(folder).digest


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("self", "self"),
        ("here", "."),
        ("deep/up", ".."),
        ("deep/er/up", "../../deep"),
        ("out", "../outside"),
        ("root", "/"),
        ("sibling", "../data-too"),
        ("nowhere", "absent"),
        ("deep/device", "/dev/null"),
    ],
)
def test_a_link_around_out_or_nowhere_is_refused_by_name(
    world: World, folder: Path, tmp_path: Path, link: str, target: str
) -> None:
    (tmp_path / "outside").write_bytes(b"x")
    (tmp_path / "data-too").mkdir()
    (folder / link).symlink_to(target)
    with pytest.raises(errors.InvalidInput, match=f"the link {link}") as caught:
        world.store.put_tree(folder)
    assert caught.value.kind is ErrorKind.BAD_PATH
    assert world.names() == set()


def test_links_that_lead_to_one_another_are_refused(world: World, folder: Path) -> None:
    (folder / "left").mkdir()
    (folder / "right").mkdir()
    (folder / "left" / "over").symlink_to("../right")
    (folder / "right" / "back").symlink_to("../left")
    with pytest.raises(errors.InvalidInput, match="leads back"):
        world.store.put_tree(folder)


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_what_is_neither_file_nor_folder_is_refused_by_name(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "odd").mkdir()
    monkeypatch.chdir(tmp_path / "odd")  # the path of a socket is short
    if kind == "fifo":
        os.mkfifo("fifo")
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
    with pytest.raises(errors.InvalidInput, match=f"{kind} is neither"):
        world.store.put_tree(".")


def test_a_bundle_comes_back_with_its_executable_bits(world: World, tmp_path: Path) -> None:
    entries = [
        manifest.Entry("run.sh", "f", 2, world.store.put_bytes(b"#!"), executable=True),
        manifest.Entry("lib/x.py", "f", 1, world.store.put_bytes(b"x"), executable=False),
    ]
    bundle = manifest.build(entries, manifest.BUNDLE)
    world.store.put_nodes(bundle)
    world.store.copy_tree(bundle.root, tmp_path / "copy")
    assert os.access(tmp_path / "copy" / "run.sh", os.X_OK)
    assert not (tmp_path / "copy" / "lib" / "x.py").stat().st_mode & 0o111
    assert world.store.digests_of_tree(bundle.root) == {bundle.root, name_of(b"#!"), name_of(b"x")}


def test_the_digests_of_a_tree_are_all_it_needs(world: World, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(300):
        (many / f"{number:04}").write_bytes(b"%d" % (number % 7))
    stored = world.store.put_tree(many)
    needed = world.store.digests_of_tree(stored.digest)
    assert {name.text for name in needed} == world.names()
    assert stored.written == len(needed) > 7 + 1
    assert world.store.verify(needed).present == needed
    assert contents(world.store.materialise_tree(stored.digest)) == contents(many)


# Sources that do not hold still


def test_a_file_that_changes_while_it_is_put_is_a_conflict(local: World, tmp_path: Path) -> None:
    source = tmp_path / "growing"
    with source.open("wb") as file:
        file.truncate(128 * MIB)

    def touch_once_it_is_being_read() -> None:
        while not (tmp_path / "store" / "tmp").exists():
            time.sleep(0.0005)
        os.utime(source, (1, 1))

    with concurrent.futures.ThreadPoolExecutor() as pool:
        touched = pool.submit(touch_once_it_is_being_read)
        with pytest.raises(errors.Conflict) as caught:
            local.store.put_file(source)
        touched.result()
    assert caught.value.kind is ErrorKind.INPUT_CHANGED
    assert local.names() == set()
    assert local.leftovers() == []


@pytest.mark.parametrize("change", ["write", "add", "remove", "replace"])
def test_a_tree_that_changes_while_it_is_put_is_a_conflict(world: World, folder: Path, change: str) -> None:
    done: list[str] = []

    def disturb(_files: int, _size_bytes: int) -> None:
        match change:
            case _ if done:
                return
            case "write":
                (folder / "a.txt").write_bytes(b"other bytes")
            case "add":
                (folder / "empty" / "new").touch()
            case "remove":
                (folder / "a.txt").unlink()
            case "replace":
                shutil.copy2(folder / "a.txt", folder / "b.txt")
                (folder / "b.txt").replace(folder / "a.txt")
        done.append(change)

    with pytest.raises(errors.Conflict, match=r"a\.txt|empty") as caught:
        world.store.put_tree(folder, progress=disturb)
    assert caught.value.kind is ErrorKind.INPUT_CHANGED


# Damage


def test_other_bytes_under_a_name_are_never_given(world: World, folder: Path, tmp_path: Path) -> None:
    stored = world.store.put_tree(folder)
    name = name_of(b"alpha")
    world.overwrite(name, b"ALPHA")
    for read in (
        lambda: world.store.read_bytes(name),
        lambda: world.store.stream(name).read(),
        lambda: world.store.materialise_file(name, "a"),
        lambda: world.store.materialise_tree(stored.digest),
        lambda: world.store.copy_file(name, tmp_path / "out"),
        lambda: world.store.copy_tree(stored.digest, tmp_path / "out"),
    ):
        with pytest.raises(errors.Damaged, match=name.text) as caught:
            read()
        assert caught.value.kind is ErrorKind.BLOB_ALTERED
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("harm", [b"", b"alph", b"alphA", b"alpha and more"])
def test_a_deep_check_tells_present_missing_and_altered_apart(world: World, harm: bytes) -> None:
    whole, lost, harmed = (world.store.put_bytes(data) for data in (b"whole", b"lost", b"alpha"))
    world.lose(lost)
    world.overwrite(harmed, harm)
    told = blobs.Presence(frozenset({whole}), frozenset({lost}), frozenset({harmed}))
    assert world.store.verify_deep([whole, lost, harmed]) == told
    assert world.store.missing([whole, lost, harmed]) == {lost}
    if world.store.is_local:
        assert world.store.verify([whole, lost, harmed]) == told


def test_a_cheap_check_hashes_nothing_that_was_not_touched(local: World) -> None:
    name = local.store.put_bytes(b"x" * 100)
    seen = os.stat(local.path(name))
    local.overwrite(name, b"y" * 100)
    os.utime(local.path(name), ns=(seen.st_mtime_ns, seen.st_mtime_ns))
    assert local.store.verify([name]).present == {name}  # the limit that is documented
    assert local.store.verify_deep([name]).altered == {name}


def test_a_blob_that_was_touched_and_is_right_is_sealed_again(local: World) -> None:
    name = local.store.put_bytes(b"x")
    before = os.stat(local.path(name))
    local.overwrite(name, b"x")
    assert local.store.verify([name]).present == {name}
    after = os.stat(local.path(name))
    assert (after.st_mtime_ns, after.st_mode) == (before.st_mtime_ns, before.st_mode)


def test_putting_again_mends(world: World, tmp_path: Path) -> None:
    data = b"x" * 2 * MIB
    (tmp_path / "source").write_bytes(data)
    for put in (
        lambda: world.store.put_bytes(data),
        lambda: world.store.put_file(tmp_path / "source").digest,
    ):
        name = put()
        for harm in (data[:-1], b"", *([data[:-1] + b"y"] if world.store.is_local else [])):
            world.overwrite(name, harm)
            assert put() == name
            assert world.store.read_bytes(name) == data
        world.lose(name)
        assert put() == name
        assert world.store.verify_deep([name]).present == {name}


def test_a_missing_node_is_damage(world: World, folder: Path) -> None:
    stored = world.store.put_tree(folder)
    world.lose(stored.digest)
    for use in (world.store.digests_of_tree, world.store.materialise_tree):
        with pytest.raises(errors.Damaged) as caught:
            use(stored.digest)
        assert caught.value.kind is ErrorKind.BLOB_MISSING


# What is lent, and what is given


def test_what_is_lent_is_read_only_and_what_is_copied_is_not(
    world: World, folder: Path, tmp_path: Path
) -> None:
    stored = world.store.put_tree(folder)
    lent = world.store.materialise_tree(stored.digest)
    modes = {stat.filemode(path.stat().st_mode) for path in (lent, *lent.rglob("*"))}
    assert modes == {"dr-xr-xr-x", "-r--r--r--"}
    file = world.store.materialise_file(name_of(b"alpha"), "a.txt")
    assert stat.filemode(file.stat().st_mode) == "-r--r--r--"
    world.store.copy_tree(stored.digest, tmp_path / "copy")
    assert all(path.stat().st_mode & 0o200 for path in (tmp_path / "copy").rglob("*"))


def test_a_user_whom_permissions_bind_is_lent_files_that_cannot_be_written() -> None:
    with unprivileged() as own:
        (own / "data" / "sub").mkdir(parents=True)
        (own / "data" / "sub" / "a").write_bytes(b"x")
        store = blobs.BlobStore.open(str(own / "store"))
        stored = store.put_tree(own / "data")
        lent = store.materialise_tree(stored.digest)
        for write in ((lent / "sub" / "a").open, (lent / "sub" / "new").open, (lent / "new").open):
            with pytest.raises(PermissionError):
                write("w")
        (lent / "sub").chmod(0o755)
        (lent / "sub" / "new").touch()
        assert contents(store.materialise_tree(stored.digest)) == contents(own / "data")
        store.copy_tree(stored.digest, own / "copy")


def _write_in_place(path: Path) -> None:
    os.chmod(path, 0o644)
    with path.open("r+b") as file:
        file.write(b"X")


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _replace(path: Path) -> None:
    path.parent.chmod(0o755)
    path.unlink()
    path.write_bytes(b"other")


def _remove(path: Path) -> None:
    path.parent.chmod(0o755)
    path.unlink()


def _add(path: Path) -> None:
    path.parent.chmod(0o755)
    (path.parent / "added").write_bytes(b"x")


def _add_folder(path: Path) -> None:
    path.parent.chmod(0o755)
    (path.parent / "added").mkdir()


def _link(path: Path) -> None:
    _remove(path)
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    "harm",
    [_write_in_place, _append, _replace, _remove, _add, _add_folder, _link],
    ids=lambda harm: harm.__name__,
)
def test_a_step_that_writes_into_its_input_harms_no_other(world: World, folder: Path, harm: object) -> None:
    assert callable(harm)
    stored = world.store.put_tree(folder)
    lent = world.store.materialise_tree(stored.digest)
    file = world.store.materialise_file(name_of(b"alpha"), "model.txt")
    if os.geteuid() != 0:  # what permissions keep from happening, root does
        os.chmod(file, 0o644)
        os.chmod(lent / "a.txt", 0o644)
    harm(lent / "a.txt")
    harm(file)
    assert contents(world.store.materialise_tree(stored.digest)) == contents(folder)
    assert world.store.materialise_file(name_of(b"alpha"), "model.txt").read_bytes() == b"alpha"
    assert [path.name for path in file.parent.iterdir()] == ["model.txt"]
    assert world.store.verify_deep(world.store.digests_of_tree(stored.digest)).altered == frozenset()


def test_a_loan_is_the_same_while_nobody_touches_it(world: World, folder: Path) -> None:
    stored = world.store.put_tree(folder)
    lent = world.store.materialise_tree(stored.digest)
    before = lent.stat().st_ino
    world.lose(name_of(b"alpha"))
    assert world.store.materialise_tree(stored.digest) == lent
    assert lent.stat().st_ino == before


def test_one_blob_is_lent_under_several_names(world: World) -> None:
    name = world.store.put_bytes(b"x")
    first, second = (world.store.materialise_file(name, filename) for filename in ("a.csv", "b.csv"))
    assert (first.name, second.name) == ("a.csv", "b.csv")
    assert first.read_bytes() == second.read_bytes() == b"x"


@pytest.mark.parametrize("filename", ["", ".", "..", "a/b", "/a", "a\0b", "../a"])
def test_a_filename_is_one_segment(world: World, filename: str) -> None:
    name = world.store.put_bytes(b"x")
    with pytest.raises(errors.InvalidInput) as caught:
        world.store.materialise_file(name, filename)
    assert caught.value.kind is ErrorKind.BAD_PATH


def test_a_copy_replaces_nothing(world: World, folder: Path, tmp_path: Path) -> None:
    stored = world.store.put_tree(folder)
    (tmp_path / "taken").write_bytes(b"mine")
    for copy in (
        lambda: world.store.copy_file(name_of(b"alpha"), tmp_path / "taken"),
        lambda: world.store.copy_tree(stored.digest, tmp_path / "taken"),
    ):
        with pytest.raises(errors.InvalidInput, match="exists"):
            copy()
    assert (tmp_path / "taken").read_bytes() == b"mine"


def test_a_cache_that_was_not_given_goes_with_the_store() -> None:
    store = blobs.BlobStore.open(f"memory://{secrets.token_hex(8)}")
    lent = store.materialise_file(store.put_bytes(b"x"), "x")
    assert lent.read_bytes() == b"x"
    root = lent.parents[3]
    del store
    gc.collect()
    assert not root.exists()


# Several at once, and those that die


def test_threads_may_put_and_take_the_same(world: World, folder: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        (root,) = {stored.digest for stored in pool.map(world.store.put_tree, [folder] * 8)}
        (lent,) = set(pool.map(world.store.materialise_tree, [root] * 8))
    assert contents(lent) == contents(folder)
    names = world.store.digests_of_tree(root)
    assert world.store.verify_deep(names).present == names


PUT = """
import sys
from whence_catalog import blobs
store = blobs.BlobStore.open(sys.argv[1])
print("ready", flush=True)
for path in sys.argv[2:]:
    sys.stdin.readline()
    print(store.put_file(path).digest, flush=True)
"""


def start(*args: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PUT, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_may_put_the_same(local: World, tmp_path: Path) -> None:
    sources = []
    for number in range(20):
        sources.append(tmp_path / f"source-{number}")
        sources[-1].write_bytes(bytes([number]) * (MIB + number))
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(start(str(tmp_path / "store"), *map(str, sources))) for _ in range(4)
        ]
        outputs = [process.communicate("\n" * len(sources))[0].split() for process in processes]
    names = [name_of(source.read_bytes()) for source in sources]
    assert outputs == [[name.text for name in names]] * 4
    assert local.store.verify_deep(names).present == set(names)
    assert local.leftovers() == []


def test_a_process_that_is_killed_leaves_no_half_blob(local: World, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(256 * MIB)
    with start(str(tmp_path / "store"), str(source)) as process:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
        half = tmp_path / "store" / "tmp"
        while not (half.exists() and any(path.stat().st_size for path in half.iterdir())):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(local.leftovers()) == 1
    assert local.names() == set()
    with source.open("wb") as file:
        file.truncate(2 * MIB)
    assert local.store.put_file(source).digest == name_of(bytes(2 * MIB))


# Where there is no store


def test_opening_makes_nothing(tmp_path: Path) -> None:
    store = blobs.BlobStore.open(str(tmp_path / "store"))
    assert store.missing([name_of(b"")]) == {name_of(b"")}
    assert store.is_local
    assert list(tmp_path.iterdir()) == []


def test_a_path_and_its_url_are_one_store(tmp_path: Path) -> None:
    path = tmp_path / "50%25 ä b"
    store = blobs.BlobStore.open(str(path))
    name = store.put_bytes(b"x")
    assert blobs.BlobStore.open(store.url).read_bytes(name) == b"x"
    assert (store.url, {one.name for one in tmp_path.iterdir()}) == (path.as_uri(), {path.name})


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [("s3://b/p", "s3fs", "s3"), ("gs://b/p", "gcsfs", "gcs"), ("az://c/p", "adlfs", "azure")],
)
def test_an_absent_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(errors.NotReady, match=rf"pip install 'whence\[{extra}\]'") as caught:
        blobs.BlobStore.open(url)
    assert caught.value.kind is ErrorKind.EXTRA_MISSING


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(errors.InvalidInput, match="nope"):
        blobs.BlobStore.open("nope://x")


def test_a_store_that_cannot_be_connected_to_is_unreachable() -> None:
    with pytest.raises(errors.Unreachable):
        blobs.BlobStore.open("ftp://127.0.0.1:9/x")  # nobody listens on the port of discard


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (RuntimeError("an error of its own"), ErrorKind.UNREACHABLE),
        (ConnectionResetError("reset"), ErrorKind.UNREACHABLE),
        (PermissionError("no such key"), ErrorKind.PERMISSION),
    ],
)
def test_a_store_that_does_not_answer_says_neither_yes_nor_no(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: ErrorKind
) -> None:
    store = blobs.BlobStore.open("objects://down")
    monkeypatch.setattr(Objects, "failure", failure)
    for use in (store.missing, store.verify, lambda names: store.put_bytes(names[0].raw)):
        with pytest.raises((errors.Unreachable, errors.Denied)) as caught:
            use([name_of(b"x")])
        assert caught.value.kind is kind


def test_a_large_file_is_uploaded_in_parts(tmp_path: Path) -> None:
    world = World(blobs.BlobStore.open("objects://large", tmp_path / "cache"), tmp_path / "cache")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(33 * MIB)
    stored = world.store.put_file(tmp_path / "large")
    assert stored == world.store.put_file(tmp_path / "large") == world.store.hash_file(tmp_path / "large")
    assert world.store.verify_deep([stored.digest]).present == {stored.digest}
    Objects.held.clear()


def test_a_file_that_changes_between_parts_gets_no_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(33 * MIB)

    def change() -> None:
        with source.open("r+b") as file:
            file.seek(32 * MIB)
            file.write(b"changed")

    monkeypatch.setattr(Objects, "during_upload", staticmethod(change))
    with pytest.raises(errors.Conflict) as caught:
        blobs.BlobStore.open("objects://changing").put_file(source)
    assert caught.value.kind is ErrorKind.INPUT_CHANGED
    assert Objects.held == {}


def test_a_full_disk_and_a_read_only_one_are_told() -> None:
    with pytest.raises(errors.NotReady, match="nothing was recorded") as caught, disk.explained("x"):
        Path("/dev/full").write_bytes(b"x")
    assert caught.value.kind is ErrorKind.DISK_FULL
    with pytest.raises(errors.NotReady, match="read-only") as caught, disk.explained("x"):
        raise OSError(errno.EROFS, "read-only", "/some/file")
    assert caught.value.kind is ErrorKind.READ_ONLY

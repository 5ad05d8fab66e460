"""A tree has one digest, whatever its history, and what is read back is what was put."""

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence_catalog import digest, errors, manifest
from whence_catalog.errors import ErrorKind
from whence_catalog.manifest import Entry

GOLDEN_SMALL = "sha256:8c343cd4db8ed2611b52646981b44f321d4069416ed28af43e36b5b245d7ac63"
GOLDEN_1000 = "sha256:b2cf2bb338da2c5b7090b65258ab54daba918985473c1c4f2e51e8b26f16bcd0"

SEGMENTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=4)
PATHS = (
    st.lists(SEGMENTS.filter(lambda segment: segment not in (".", "..")), min_size=1, max_size=4)
    .map("/".join)
    .filter(bool)
)


def name_of(path: str) -> digest.Digest:
    return digest.digest_of_bytes(path.encode(errors="surrogatepass"))


def file(path: str, size_bytes: int = 1) -> Entry:
    return Entry(path, "f", size_bytes, name_of(path))


def folder(path: str) -> Entry:
    return Entry(path, "d", 0, None)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    paths = draw(st.sets(PATHS, max_size=40))
    parents = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(1, path.count("/") + 1)}
    return [
        folder(path) if draw(st.booleans()) else file(path, draw(st.integers(0, 2**70)))
        for path in sorted(paths - parents)
    ]


def names(count: int) -> list[Entry]:
    return [file(f"day={i // 100:04}/part-{i:06}.parquet", i) for i in range(count)]


def read(tree: manifest.Tree) -> list[Entry]:
    return list(manifest.read(tree.root, tree.nodes.__getitem__))


def by_path(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.path.encode())


def framed(tag: bytes, payload: bytes) -> bytes:
    return tag + len(payload).to_bytes(8, "big") + payload


def cut(path: bytes, level: int) -> bool:
    first = hashlib.sha256(b"whence.manifest/1\0" + path).digest()[:8]
    bits = "".join(f"{byte:08b}" for byte in first)
    return len(bits) - len(bits.rstrip("0")) >= 6 * (level + 1)


def reference_root(entries: list[Entry]) -> str:
    """The layout once more, written from its description alone."""

    def integer(value: int) -> bytes:
        return framed(b"I", str(value).encode())

    rows = [
        (
            entry.path.encode(),
            int(entry.kind == "f"),
            entry.size_bytes,
            framed(b"S", entry.path.encode())
            + framed(b"S", entry.kind.encode())
            + integer(entry.size_bytes)
            + framed(b"Y", entry.digest.raw if entry.digest else b""),
        )
        for entry in by_path(entries)
    ]
    level = 0
    while True:
        groups: list[list[tuple[bytes, int, int, bytes]]] = [[]]
        for row in rows:
            groups[-1].append(row)
            if cut(row[0], level):
                groups.append([])
        groups = [group for group in groups if group] or [[]]
        raws = [
            hashlib.sha256(
                framed(b"S", b"whence.manifest/1")
                + integer(level)
                + framed(b"L", b"".join(framed(b"L", row[3]) for row in group))
            ).digest()
            for group in groups
        ]
        if len(raws) == 1:
            return "sha256:" + raws[0].hex()
        rows = [
            (
                group[-1][0],
                files := sum(row[1] for row in group),
                size := sum(row[2] for row in group),
                framed(b"S", group[-1][0]) + integer(files) + integer(size) + framed(b"Y", raw),
            )
            for group, raw in zip(groups, raws, strict=True)
        ]
        level += 1


@given(trees(), st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_entries(
    entries: list[Entry], shuffler: random.Random
) -> None:
    shuffled = entries.copy()
    shuffler.shuffle(shuffled)
    assert manifest.build(shuffled) == manifest.build(entries)


@given(trees())
def test_what_is_read_is_what_was_built_in_the_order_of_bytes(entries: list[Entry]) -> None:
    assert read(manifest.build(entries)) == by_path(entries)


@given(trees(), PATHS)
def test_find_agrees_with_read(entries: list[Entry], other: str) -> None:
    tree = manifest.build(entries)
    listed = {entry.path: entry for entry in entries}
    for path in (*listed, other):
        assert manifest.find(tree.root, path, tree.nodes.__getitem__) == listed.get(path)


@given(trees())
def test_the_layout_is_the_one_that_is_described(entries: list[Entry]) -> None:
    assert manifest.build(entries).root.text == reference_root(entries)


def test_a_small_tree_keeps_its_digest_for_ever() -> None:
    entries = [
        file("a.txt", 3),
        file("data/ä.csv", 10),
        folder("data/empty"),
        Entry("z", "f", 0, name_of("z")),
    ]
    assert manifest.build(entries).root.text == GOLDEN_SMALL == reference_root(entries)


def test_a_tree_of_a_thousand_names_keeps_its_digest_for_ever() -> None:
    tree = manifest.build(names(1000))
    assert tree.root.text == GOLDEN_1000 == reference_root(names(1000))
    assert (tree.files, tree.size_bytes) == (1000, 499500)


def test_a_tree_of_many_names_has_many_levels_and_reads_back() -> None:
    entries = names(20_000)
    tree = manifest.build(entries)
    assert tree.root.text == reference_root(entries)
    assert read(tree) == entries
    loaded: list[digest.Digest] = []

    def load(name: digest.Digest) -> bytes:
        loaded.append(name)
        return tree.nodes[name]

    assert manifest.find(tree.root, entries[12_345].path, load) == entries[12_345]
    assert manifest.find(tree.root, "day=9999/none", load) is None
    assert len(loaded) <= 6


@pytest.mark.parametrize("position", [0, 7_000, 20_000])
def test_one_per_cent_of_neighbouring_names_rewrites_a_few_per_cent_of_the_bytes(position: int) -> None:
    before = manifest.build(names(20_000))
    anchor = names(20_001)[position].path
    new = [file(f"{anchor.removesuffix('.parquet')}-{i:03}.parquet") for i in range(200)]
    after = manifest.build([*names(20_000), *new])
    written = sum(len(data) for name, data in after.nodes.items() if name not in before.nodes)
    assert written < 0.06 * sum(map(len, after.nodes.values()))


def test_nodes_come_children_first() -> None:
    tree = manifest.build(names(1000))
    assert list(tree.nodes)[-1] == tree.root


def test_an_empty_tree_is_one_node_without_entries() -> None:
    tree = manifest.build([])
    assert (read(tree), len(tree.nodes), tree.files, tree.size_bytes) == ([], 1, 0, 0)
    assert manifest.find(tree.root, "a", tree.nodes.__getitem__) is None


def test_a_file_is_not_a_folder_with_that_file() -> None:
    assert manifest.build([file("a")]).root != name_of("a")


def test_an_empty_folder_counts() -> None:
    assert manifest.build([file("a"), folder("b")]).root != manifest.build([file("a")]).root


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "../a", "a\0b", "bad\udce4name"]
)
def test_a_path_that_is_unsafe_or_undecodable_is_refused_by_name(path: str) -> None:
    with pytest.raises(errors.InvalidInput, match="not") as caught:
        file(path)
    assert caught.value.kind is ErrorKind.BAD_PATH
    assert repr(path) in str(caught.value)


@pytest.mark.parametrize("path", ["a b", "ä", "a\nb", "...", "-", "a\\b", "C:", "e\u0301", "\u00e9", "🐟"])
def test_an_odd_path_is_a_path(path: str) -> None:
    assert [entry.path for entry in read(manifest.build([file(path)]))] == [path]


@pytest.mark.parametrize(
    "entries",
    [
        [file("a"), file("a")],
        [file("a"), folder("a")],
        [file("a"), file("a-b"), file("a/b")],
        [folder("a"), file("a!"), file("a/b/c")],
        [file("a/b"), file("a/b/c"), file("a/b-")],
    ],
)
def test_a_path_that_comes_twice_or_is_both_file_and_folder_is_refused(entries: list[Entry]) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        manifest.build(entries)
    assert caught.value.kind is ErrorKind.BAD_PATH


@pytest.mark.parametrize(
    ("kind", "size_bytes", "name", "executable"),
    [
        ("f", 1, None, None),
        ("f", -1, name_of("a"), None),
        ("d", 1, None, None),
        ("d", 0, name_of("a"), None),
        ("d", 0, None, False),
        ("l", 0, None, None),
    ],
)
def test_an_entry_is_a_file_or_an_empty_folder(
    kind: str, size_bytes: int, name: digest.Digest | None, executable: bool | None
) -> None:
    with pytest.raises(errors.InvalidInput):
        Entry("a", kind, size_bytes, name, executable)  # type: ignore[arg-type]


def test_a_bundle_keeps_executable_bits_and_is_not_the_plain_tree() -> None:
    entries = [replace(file("run.sh"), executable=True), replace(file("x.py"), executable=False), folder("e")]
    tree = manifest.build(entries, manifest.BUNDLE)
    plain = manifest.build([replace(entry, executable=None) for entry in entries])
    assert read(tree) == by_path(entries)
    assert tree.root != plain.root


@pytest.mark.parametrize(
    ("executable", "domain"), [(None, manifest.BUNDLE), (True, manifest.MANIFEST), (None, "whence.other/1")]
)
def test_executable_bits_belong_to_bundles_only(executable: bool | None, domain: str) -> None:
    with pytest.raises(errors.InvalidInput):
        manifest.build([replace(file("a"), executable=executable)], domain)


def row(path: str, size: digest.Framed = 1, kind: str = "f") -> digest.Framed:
    return [path, kind, size, name_of(path).raw]


def node(rows: digest.Framed, level: digest.Framed = 0, domain: str = manifest.MANIFEST) -> bytes:
    return digest.frame(domain) + digest.frame(level) + digest.frame(rows)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hello", id="a file"),
        pytest.param(node([row("a")])[:-1], id="cut short"),
        pytest.param(node([row("a")]) + digest.frame(1), id="a frame too many"),
        pytest.param(node([row("a")], domain="whence.key/1"), id="another domain"),
        pytest.param(node([row("a")], domain=manifest.BUNDLE), id="no executable bit"),
        pytest.param(node([row("b"), row("a")]), id="out of order"),
        pytest.param(node([row("a"), row("a")]), id="twice"),
        pytest.param(node([row("a"), row("a/b")]), id="file and folder"),
        pytest.param(node([row("../a")]), id="an escape"),
        pytest.param(node([row("a", kind="l")]), id="an unknown kind"),
        pytest.param(node([row("a", size=True)]), id="a boolean size"),
        pytest.param(node([row("a", size=-1)]), id="a negative size"),
        pytest.param(node((row("a"),)), id="a tuple of rows"),
        pytest.param(node([["a", "f", 1, b"short"]]), id="a short digest"),
        pytest.param(node([["a", "f", 1]]), id="a short row"),
        pytest.param(node([row("a")], level=False), id="a boolean level"),
        pytest.param(node([["a", 1, 1, name_of("a").raw]] * 2, level=True), id="a boolean upper level"),
        pytest.param(node([row("a")], level=-1), id="a negative level"),
        pytest.param(node([], level=1), id="an empty upper node"),
        pytest.param(node([["a", 1, 1, name_of("a").raw]], level=1), id="a level too many"),
    ],
)
def test_bytes_that_are_no_node_are_damage(data: bytes) -> None:
    root = digest.digest_of_bytes(data)
    with pytest.raises(errors.Damaged) as caught:
        list(manifest.read(root, {root: data}.__getitem__))
    assert caught.value.kind is ErrorKind.MALFORMED_FRAME
    assert root.text in str(caught.value)


def test_bytes_that_their_digest_does_not_name_are_damage() -> None:
    tree = manifest.build([file("a")])
    for bad in (b"", next(iter(tree.nodes.values())) + b"\0"):
        with pytest.raises(errors.Damaged) as caught:
            list(manifest.read(tree.root, lambda _, bad=bad: bad))  # type: ignore[misc]
        assert caught.value.kind is ErrorKind.BLOB_ALTERED


def upper(children: list[tuple[str, int, int, bytes]]) -> tuple[digest.Digest, Mapping[digest.Digest, bytes]]:
    """A two-level tree whose upper rows say what is given."""
    nodes = {digest.digest_of_bytes(data): data for *_, data in children}
    rows = [[path, files, size, digest.digest_of_bytes(data).raw] for path, files, size, data in children]
    data = node(rows, level=1)
    root = digest.digest_of_bytes(data)
    return root, {**nodes, root: data}


def test_a_tree_that_is_cut_elsewhere_or_contradicts_itself_is_damage() -> None:
    ending = next(path for path in map(str, range(1000)) if cut(path.encode(), 0))
    left, right = node([row(ending)]), node([row("x")])
    sound, nodes = upper([(ending, 1, 1, left), ("x", 1, 1, right)])
    assert manifest.build([file(ending), file("x")]).root == sound
    assert [entry.path for entry in manifest.read(sound, nodes.__getitem__)] == [ending, "x"]
    for children in (
        [("a", 1, 1, node([row("a")])), ("x", 1, 1, right)],  # `a` ends no node
        [(ending, 2, 1, left), ("x", 1, 1, right)],
        [(ending, 1, 2, left), ("x", 1, 1, right)],
        [(ending, 1, 1, left), ("y", 1, 1, right)],
        [("x", 1, 1, right), (ending, 1, 1, left)],
        [(ending, 1, 1, left), ("x", 1, 1, node([row("x")], domain=manifest.BUNDLE))],
        [(ending, 1, 1, left), ("", 0, 0, node([]))],
        [(ending, 1, 1, left), ("x", 1, 1, node([["x", 1, 1, left]], level=1))],
    ):
        root, nodes = upper(children)
        with pytest.raises(errors.Damaged):
            list(manifest.read(root, nodes.__getitem__))

"""What lies in two outputs whose bytes differ is read as what it is, and what differs is told."""

import csv
import json
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy
import pandas
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence import likeness, tables
from whence.client import Client
from whence_catalog import digest, model
from whence_catalog.likeness import EXACT, Reading, Tolerance, Unread

NEAR = Tolerance(rtol=0.01)


def read(
    tmp_path: Path, name: str, before: bytes, after: bytes, tolerance: Tolerance = EXACT
) -> Reading | Unread:
    old, new = tmp_path / "before" / name, tmp_path / "after" / name
    for path, data in ((old, before), (new, after)):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return likeness.files(old, new, None, tolerance)


def written(tmp_path: Path, write: Callable[[Path], None]) -> bytes:
    write(tmp_path / "written")
    return (tmp_path / "written").read_bytes()


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────────

TABLE = b"name,score,n\na,0.5,1\nb,0.25,2\nc,nan,3\n"


def test_a_csv_that_is_only_written_otherwise_holds_the_same(tmp_path: Path) -> None:
    after = b'name,n,score\r\n"a",1,0.50\r\nb,2,2.5e-1\r\nc,3,NaN\r\n'
    assert read(tmp_path, "t.csv", TABLE, after) == Reading("table")


def test_floats_of_a_csv_are_near_whole_numbers_are_the_same_or_not(tmp_path: Path) -> None:
    near = read(tmp_path, "t.csv", TABLE, TABLE.replace(b"0.5", b"0.501"), NEAR)
    assert near == Reading(
        "table",
        ("column score: 1 of 3 values differ, by at most 0.001 (first in row 1: '0.5' became '0.501')",),
    )
    far = read(tmp_path, "t.csv", TABLE, TABLE.replace(b",2\n", b",3\n"), Tolerance(rtol=1.0))
    assert far == Reading(
        "table",
        far=(
            "1 of 3 rows differ",
            "column n: 1 of 3 values differ, by at most 1 (first in row 2: '2' became '3')",
        ),
    )


def test_rows_and_columns_that_came_and_went_are_told(tmp_path: Path) -> None:
    after = b"name,points\na,7\nb,8\n"
    assert read(tmp_path, "t.csv", TABLE, after) == Reading(
        "table",
        far=("without the columns score, n", "with new columns points", "it had 3 rows and has 2"),
    )


def test_rows_in_another_order_are_different_and_it_says_so(tmp_path: Path) -> None:
    head, *rows = TABLE.splitlines(keepends=True)
    found = read(tmp_path, "t.csv", TABLE, head + b"".join(reversed(rows)))
    assert isinstance(found, Reading)
    assert found.far[0] == "the same rows, in another order"


def test_a_csv_without_names_is_compared_by_place(tmp_path: Path) -> None:
    found = read(tmp_path, "t.tsv", b"1\tx\n2\ty\n", b"1\tx\n2\tz\n")
    assert found == Reading(
        "table", far=("1 of 2 rows differ", "column 2: 1 of 2 values differ (first in row 2: 'y' became 'z')")
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"# scores\nname,score\na,0.25\n", b"# scores\nname,score\na,0.75\n"),
        (b"\nname,score\na,0.25\n", b"\nname,score\na,0.75\n"),
        (b"n\na,1\n", b"n\na,2\n"),
        (b"zip\n01234\n", b"zip\n1234\n"),
        (b"commit\n12e4\n", b"commit\n120000\n"),
        (b"n\n1_0\n", b"n\n10\n"),
        (b"n\n" + b"9" * 400 + b"\n", b"n\n" + b"9" * 399 + b"8\n"),
        (b"n\n" + b"9" * 5000 + b"\n", b"n\n1\n"),
    ],
)
def test_what_is_no_float_is_the_same_or_not_wherever_it_stands(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    found = read(tmp_path, "t.csv", before, after, Tolerance())
    assert isinstance(found, Reading)
    assert found.far


def test_floats_are_what_programs_write_as_such(tmp_path: Path) -> None:
    before, after = b"x\n1e-05\n-inf\nnan\n1.0\n+3\n", b"x\n0.00001\n-Infinity\nNaN\n1\n3\n"
    assert read(tmp_path, "t.csv", before, after, Tolerance()) == Reading("table")


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"9007199254740993", b"9007199254740992.0"), (b"1" + b"0" * 400, b"1.5"), (b"[1e999]", b"[1.5]")],
)
def test_numbers_that_no_float_holds_are_the_same_or_not(tmp_path: Path, before: bytes, after: bytes) -> None:
    found = read(tmp_path, "v.json", before, after, Tolerance(rtol=1e-9))
    assert isinstance(found, Reading)
    assert found.far


def test_a_json_that_says_a_name_twice_is_not_read_as_if_it_said_it_once(tmp_path: Path) -> None:
    found = read(tmp_path, "v.json", b'{"a": 1, "a": 2}', b'{"a": 2}')
    assert isinstance(found, Unread)


def test_a_csv_that_is_none_is_told_by_its_bytes(tmp_path: Path) -> None:
    found = read(tmp_path, "t.csv", b"a\n\xff\xfe", b"a\n\xff\xff")
    assert isinstance(found, Unread)
    assert found.why.endswith("; 4 bytes, which differ from byte 3 on")


def test_a_large_csv_is_read_a_piece_at_a_time(tmp_path: Path) -> None:
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    for path, last in ((before, 0.0), (after, 1.0)):
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["n", "x", "text"])
            rows.writerows([n, n / 7, "x" * 50] for n in range(60_000))
            rows.writerow([60_000, last, ""])
    tracemalloc.start()
    found = likeness.files(before, after, None, EXACT)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, Reading)
    assert "1 of 60,001 rows differ" in found.far
    assert most < before.stat().st_size / 4


# ── Parquet and Arrow ────────────────────────────────────────────────────────────────────────────

FRAME = pandas.DataFrame(
    {"x": [0.5, float("nan"), 3.0], "n": [1, 2, 3], "t": ["a", None, "c"], "l": [[1.0], [2.0, 3.0], None]}
)
FORMS: dict[str, Callable[[Any, Path], None]] = {
    "t.parquet": lambda table, path: pyarrow.parquet.write_table(table, path, row_group_size=2),
    "t.feather": lambda table, path: pyarrow.feather.write_feather(table, path, chunksize=2),
}


def stream(table: Any, path: Path) -> None:
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)


def arrow(tmp_path: Path, frame: pandas.DataFrame, name: str) -> bytes:
    table = pyarrow.Table.from_pandas(frame)
    return written(tmp_path, lambda path: FORMS[name](table, path))


@pytest.mark.parametrize("name", FORMS)
def test_a_table_is_told_column_by_column(tmp_path: Path, name: str) -> None:
    other = FRAME.assign(x=[0.501, float("nan"), 3.0], t=["a", "b", "c"], l=[[1.0], [2.0, 3.5], None])
    found = read(tmp_path, name, arrow(tmp_path, FRAME, name), arrow(tmp_path, other, name), NEAR)
    assert found == Reading(
        "table",
        ("column x: 1 of 3 values differ, by at most 0.001 (first in row 1: 0.5 became 0.501)",),
        (
            "1 of 3 rows differ",
            "column t: 1 of 3 values differ (first in row 2: None became 'b')",
            "column l: 1 of 3 values differ, by at most 0.5 (first in row 2: [2.0, 3.0] became [2.0, 3.5])",
        ),
    )


def test_a_parquet_that_is_only_written_otherwise_holds_the_same(tmp_path: Path) -> None:
    table = pyarrow.Table.from_pandas(FRAME)
    other = written(tmp_path, lambda path: pyarrow.parquet.write_table(table, path, compression="gzip"))
    assert read(tmp_path, "t.parquet", arrow(tmp_path, FRAME, "t.parquet"), other) == Reading("table")


def test_a_null_is_no_nan(tmp_path: Path) -> None:
    one, other = (pyarrow.table({"x": pyarrow.array([1.0, value])}) for value in (None, float("nan")))
    files = [written(tmp_path, lambda path, t=t: stream(t, path)) for t in (one, other)]
    found = read(tmp_path, "t.arrow", *files)
    assert isinstance(found, Reading)
    assert found.far[0] == "1 of 2 rows differ"


def test_other_types_and_counts_of_rows_are_told(tmp_path: Path) -> None:
    other = FRAME.assign(n=[1.0, 2.0, 3.0])[:2]
    found = read(
        tmp_path, "t.parquet", arrow(tmp_path, FRAME, "t.parquet"), arrow(tmp_path, other, "t.parquet")
    )
    assert isinstance(found, Reading)
    assert found.far == ("column n was int64 and is double", "it had 3 rows and has 2")


def test_table_rows_in_another_order_are_told(tmp_path: Path) -> None:
    other = FRAME[::-1].reset_index(drop=True)
    found = read(
        tmp_path, "t.parquet", arrow(tmp_path, FRAME, "t.parquet"), arrow(tmp_path, other, "t.parquet")
    )
    assert isinstance(found, Reading)
    assert found.far[0] == "the same rows, in another order"


def test_a_table_that_is_none_is_told_by_its_bytes(tmp_path: Path) -> None:
    for name in ("t.parquet", "t.arrow"):
        found = read(tmp_path, name, b"one", b"two")
        assert isinstance(found, Unread)
        assert found.why.startswith("not comparable as a table: ")


def test_without_the_library_a_table_is_told_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"one")
    (tmp_path / "b.parquet").write_bytes(b"ones")
    probe = """
import sys
sys.modules["pyarrow"] = sys.modules["numpy"] = None
from pathlib import Path
from whence import likeness
from whence_catalog.likeness import EXACT
for suffix in ("parquet", "npz"):
    print(likeness.files(Path("a.parquet"), Path("b.parquet"), "npy" if suffix == "npz" else "pandas", EXACT).why)
"""
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "not comparable as a table: pyarrow is not here; 3 bytes became 4, which differ from byte 3 on",
        "not comparable as an array: numpy is not here; 3 bytes became 4, which differ from byte 3 on",
    ]


# ── arrays ───────────────────────────────────────────────────────────────────────────────────────


def npy(tmp_path: Path, array: Any) -> bytes:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            numpy.save(file, array)

    return written(tmp_path, write)


def test_arrays_are_near_or_tell_where_they_differ(tmp_path: Path) -> None:
    one = numpy.arange(6, dtype="float32").reshape(2, 3)
    other = one.copy()
    other[1, 1] = 4.01
    files = npy(tmp_path, one), npy(tmp_path, other)
    assert read(tmp_path, "a.npy", *files, NEAR) == Reading(
        "array",
        (
            "the array: 1 of 6 values differ, by at most 0.0100002 (first in element 4: 4.0 became 4.010000228881836)",
        ),
    )
    far = read(tmp_path, "a.npy", *files)
    assert isinstance(far, Reading)
    assert far.far
    assert not far.near


def test_other_shapes_and_types_are_different(tmp_path: Path) -> None:
    found = read(tmp_path, "a.npy", npy(tmp_path, numpy.zeros(3)), npy(tmp_path, numpy.zeros((1, 3))))
    assert found == Reading(
        "array", far=("the array was float64 of shape (3,) and is float64 of shape (1, 3)",)
    )


def test_arrays_of_records_and_of_text_are_compared(tmp_path: Path) -> None:
    kind = numpy.dtype([("x", "f8"), ("pair", "i4", (2,)), ("name", "U3")])
    one = numpy.array([(1.0, (1, 2), "a"), (2.0, (3, 4), "b")], dtype=kind)
    other = one.copy()
    other["pair"][1, 0] = 5
    other["name"][0] = "z"
    found = read(tmp_path, "a.npy", npy(tmp_path, one), npy(tmp_path, other))
    assert isinstance(found, Reading)
    assert found.far == ("the array: 2 of 2 values differ, by at most 2 (first in element 1: 3 became 5)",)


def test_named_arrays_are_compared_by_their_names(tmp_path: Path) -> None:
    def archive(**arrays: Any) -> bytes:
        def write(path: Path) -> None:
            with path.open("wb") as file:
                numpy.savez_compressed(file, **arrays)

        return written(tmp_path, write)

    before = archive(w=numpy.array([1.0, 2.0]), gone=numpy.array(1))
    after = archive(w=numpy.array([1.0, 2.001]), fresh=numpy.array(1))
    assert read(tmp_path, "a.npz", before, after, NEAR) == Reading(
        "array",
        ("array w: 1 of 2 values differ, by at most 0.001 (first in element 1: 2.0 became 2.001)",),
        ("without gone.npy", "with a new fresh.npy"),
    )


def test_an_array_of_python_objects_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> object:
            return (exec, ("raise SystemExit(3)",))

    def objects(count: int) -> bytes:
        held = numpy.empty(count, dtype=object)
        held[:] = [Trap() for _ in range(count)]
        return npy(tmp_path, held)

    found = read(tmp_path, "a.npy", objects(1), objects(2))
    assert isinstance(found, Unread)
    assert "it holds Python objects, and to read them runs code" in found.why


def test_a_truncated_array_is_told_by_its_bytes(tmp_path: Path) -> None:
    whole = npy(tmp_path, numpy.arange(100.0))
    assert isinstance(read(tmp_path, "a.npy", whole, whole[:-8]), Unread)
    assert isinstance(read(tmp_path, "a.npz", b"one", b"two"), Unread)


numbers = st.floats() | st.sampled_from(
    [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1.0, 1.0 + 2**-52]
)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8), st.floats(0, 10), st.floats(0, 10))
def test_arrays_columns_and_plain_values_are_judged_by_one_rule(
    pairs: list[tuple[float, float]], rtol: float, atol: float
) -> None:
    tolerance = Tolerance(rtol, atol)
    one, other = (numpy.array([pair[side] for pair in pairs]) for side in (0, 1))
    tally = tables.Tally()
    far = tables._compare_pieces(one, other, tolerance, tally, 0)
    alone = [tables.compare_values(a, b, tolerance)[0] for a, b in pairs]
    assert far == {place for place, verdict in enumerate(alone) if verdict > 0}
    assert (tally.near, tally.far) == (alone.count(-1), alone.count(1))
    assert all(tolerance.allows(a, b) == (v <= 0) for (a, b), v in zip(pairs, alone, strict=True))


# ── values, text, pickles ────────────────────────────────────────────────────────────────────────


def test_json_is_compared_value_by_value(tmp_path: Path) -> None:
    before = {"f1": 0.5, "loss": [1.0, 2.0], "name": "a", "gone": 1, "n": 3}
    after = {"n": 3, "name": "b", "loss": [1.0, 2.001, 3.0], "f1": 0.5001, "fresh": None}
    found = read(tmp_path, "m.json", json.dumps(before).encode(), json.dumps(after, indent=1).encode(), NEAR)
    assert found == Reading(
        "value",
        ("f1 was 0.5 and is 0.5001", "loss[1] was 2.0 and is 2.001"),
        (
            "loss (a list) had 2 items and has 3",
            "name was 'a' and is 'b'",
            "gone is not there any more",
            "fresh is new",
        ),
    )


def test_json_in_another_order_holds_the_same_and_true_is_not_one(tmp_path: Path) -> None:
    assert read(tmp_path, "m.json", b'{"a": 1, "b": 2.0}', b'{"b": 2, "a": 1}') == Reading("value")
    found = read(tmp_path, "m.json", b"[true]", b"[1]")
    assert isinstance(found, Reading)
    assert found.far


def test_values_that_json_cannot_hold_are_compared_too(tmp_path: Path) -> None:
    one, other = (digest.frame(digest.Record("complex", [1.0, part])) for part in (2.0, 2.001))
    old, new = tmp_path / "a.frame", tmp_path / "b.frame"
    old.write_bytes(one)
    new.write_bytes(other)
    assert likeness.files(old, new, "frame", NEAR) == Reading("value", ("[1] was 2.0 and is 2.001",))


@pytest.mark.parametrize("broken", [b"{", b"[" * 100_000, b"\xff"])
def test_json_that_is_none_is_told_by_its_bytes(tmp_path: Path, broken: bytes) -> None:
    assert isinstance(read(tmp_path, "m.json", b"{}", broken), Unread)


def test_text_is_told_as_a_diff_that_obeys_nobody(tmp_path: Path) -> None:
    found = read(tmp_path, "report.txt", b"one\ntwo\nthree\n", b"one\n2\x1b[31m\nthree")
    assert isinstance(found, Reading)
    assert found.far[0].splitlines() == [
        "4 lines differ:",
        "@@ -1,3 +1,3 @@",
        " one",
        "-two",
        "-three",
        "+2\\x1b[31m",
        "+three (without an end of line)",
    ]


def test_a_long_text_is_told_by_a_bounded_diff(tmp_path: Path) -> None:
    before = b"".join(b"%d\n" % n for n in range(1000))
    found = read(tmp_path, "report.txt", before, before.replace(b"5\n", b"x\n"))
    assert isinstance(found, Reading)
    assert len(found.far[0].splitlines()) == 22
    longer = b"".join(b"%d\n" % n for n in range(6000))
    found = read(tmp_path, "report.txt", longer, longer.replace(b"\n77\n", b"\nx\n"))
    assert found == Reading("text", far=("its lines differ from line 78 on",))


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> object:
            return (exec, ("raise SystemExit(3)",))

    for name in ("model.pkl", "model.joblib"):
        found = read(tmp_path, name, pickle.dumps(1), pickle.dumps(Trap()))
        assert isinstance(found, Unread)
        assert found.why.endswith("a pickle is not opened, since that runs code")


def test_a_tree_is_told_file_by_file(tmp_path: Path, client: Client) -> None:
    def folder(name: str, **files: bytes) -> model.Content:
        for file, data in files.items():
            path = tmp_path / name / file.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return model.Content(client.blobs.put_tree(tmp_path / name).digest, form=model.Form.TREE)

    def told(before: model.Content, after: model.Content) -> Reading | Unread:
        artifact = model.Artifact("default", "model", "m")
        made = model.Output("m", model.Version(artifact, 1, before, model.moment(0)), UUID(int=1))
        return likeness.readings(client, [made], [model.OutputClaim("m", artifact, after)], NEAR)["m"]

    before = folder("one", a__m_json=b'{"f1": 0.5}', b_txt=b"same", c_pkl=b"1", gone=b"")
    assert told(
        before, folder("two", a__m_json=b'{"f1": 0.5001}', b_txt=b"same", c_pkl=b"2", fresh=b"")
    ) == Reading(
        "tree",
        ("a/m.json: f1 was 0.5 and is 0.5001",),
        (
            "4 of 5 files differ, the first is c.pkl",
            "c.pkl: 1 bytes, which differ from byte 0 on; a pickle is not opened, since that runs code",
            "fresh: only the rerun has it",
            "gone: only the original has it",
        ),
    )
    near = folder("three", a__m_json=b'{"f1": 0.5}', b_txt=b"same", c_pkl=b"1", gone=b"")
    assert near.digest == before.digest
    near = folder("four", a__m_json=b'{"f1":0.5}', b_txt=b"same", c_pkl=b"1", gone=b"")
    assert told(before, near) == Reading(
        "tree", ("a/m.json: the value holds the same values, written otherwise",)
    )


def test_other_bytes_are_told_by_where_they_begin_to_differ(tmp_path: Path) -> None:
    found = read(tmp_path, "weights.bin", b"\0" * (3 << 20) + b"a", b"\0" * (3 << 20) + b"bc")
    assert found == Unread("3,145,729 bytes became 3,145,730, which differ from byte 3,145,728 on")

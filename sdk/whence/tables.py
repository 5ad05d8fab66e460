"""Two tables, or two arrays, read side by side: how many values differ, by how much, in which columns.

Both are read a piece at a time, so that no more than two pieces are in memory. Floats may differ within the tolerance;
whole numbers and all else are the same or not. pyarrow and numpy are imported only if there is something to read with
them; `Lacking` says which is not here. Nothing is unpickled.
"""

import csv
import hashlib
import itertools
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from whence_catalog.likeness import Reading, Tolerance

if TYPE_CHECKING:
    import numpy

    _Array: TypeAlias = numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.generic]]

_BATCH_ROWS = 1 << 16
_BATCH_BYTES = 1 << 22
# Up to here it is worth telling that the rows are the same, in another order.
_ORDERED_ROWS = 500_000
_SHOWN = 10


class Lacking(Exception):
    """What would read it is not installed."""


class Unreadable(Exception):
    """It is not what its name or its format says."""


@dataclass(slots=True)
class Tally:
    """What differs in one column or array: of `compared` values, how many within the tolerance and how many by more."""

    compared: int = 0
    near: int = 0
    far: int = 0
    most: float = 0.0
    first: str = ""

    def count(self, near: int, far: int, most: float, first: str) -> None:
        """Add a piece, of which `first` tells of the first difference."""
        self.first = self.first or first
        self.near, self.far = self.near + near, self.far + far
        if most > self.most or math.isnan(most):
            self.most = most

    def told(self, what: str) -> str:
        """One line for people."""
        by = f", by at most {self.most:.6g}" if self.most and math.isfinite(self.most) else ""
        return f"{what}: {self.near + self.far:,} of {self.compared:,} values differ{by} ({self.first})"


@dataclass(slots=True)
class Tallies:
    """What differs, by the name of a column, and in how many rows by more than is allowed."""

    columns: dict[str, Tally] = field(default_factory=dict)
    far_rows: int = 0
    rows: int = 0

    def reading(self, kind: str, far: Sequence[str]) -> Reading:
        """What it comes to, beside what else is `far`."""
        by_more = [tally.told(f"column {name}") for name, tally in self.columns.items() if tally.far]
        within = [
            tally.told(f"column {name}")
            for name, tally in self.columns.items()
            if tally.near and not tally.far
        ]
        rows = [f"{self.far_rows:,} of {self.rows:,} rows differ"] if self.far_rows else []
        return Reading(kind, few(within), tuple(far) + tuple(rows) + few(by_more))


def few(lines: Sequence[str]) -> tuple[str, ...]:
    """The first of them, and how many there are more."""
    more = len(lines) - _SHOWN
    return tuple(lines[:_SHOWN]) + ((f"and {more:,} more",) if more > 0 else ())


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────────


# As programs write them: an exponent without a point has its sign, or it may be a name such as `12e4`.
_FLOAT = re.compile(
    r"[+-]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-][0-9]+|inf(?:inity)?|nan)",
    re.IGNORECASE,
)
_WHOLE = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_LONGEST_WHOLE = 300


def csv_files(before: Path, after: Path, tolerance: Tolerance, delimiter: str = ",") -> Reading:
    """Two files of separated values; columns are matched by their names, where the first row has such.

    Raises:
        Unreadable: one is no such text.
    """
    try:
        return _csv_files(before, after, tolerance, delimiter)
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(str(error)) from error


def _csv_files(before: Path, after: Path, tolerance: Tolerance, delimiter: str) -> Reading:
    first = [next(_rows(path, delimiter), []) for path in (before, after)]
    names, places, far = _columns(*first)
    beyond = 0
    found = Tallies()
    tallies = {name: found.columns.setdefault(name, Tally()) for name in places}
    counts = [0, 0]
    pairs = itertools.zip_longest(_rows(before, delimiter), _rows(after, delimiter))
    if names:
        next(pairs, None)
    for old, new in pairs:
        counts[0] += old is not None
        counts[1] += new is not None
        if old is None or new is None:
            continue
        row_is_far = False
        for name, (here, there) in places.items():
            was, now = _cell(old, here), _cell(new, there)
            tally = tallies[name]
            tally.compared += 1
            if was != now:
                row_is_far |= _compare_cells(was, now, tolerance, tally, found.rows + 1)
        if old[len(first[0]) :] != new[len(first[1]) :]:
            beyond += 1
            row_is_far = True
        found.rows += 1
        found.far_rows += row_is_far
    if beyond:
        far.append(f"other values in {beyond:,} rows, beyond the columns of the first row")
    far += _counts(*counts)
    is_worth_it = counts[0] == counts[1] <= _ORDERED_ROWS and found.far_rows > 0 and not far
    if is_worth_it and _bag(_rows(before, delimiter)) == _bag(_rows(after, delimiter)):
        far.append("the same rows, in another order")
    return found.reading("table", far)


def _rows(path: Path, delimiter: str) -> Iterator[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.reader(file, delimiter=delimiter)


def _columns(
    before: Sequence[str], after: Sequence[str]
) -> tuple[bool, Mapping[str, tuple[int, int]], list[str]]:
    """Whether the first rows are names; where each column that both have stands in either; what is amiss."""
    has_names = all(
        row and len(set(row)) == len(row) and not any(map(_is_number, row)) for row in (before, after)
    )
    if has_names:
        return (
            True,
            {name: (before.index(name), after.index(name)) for name in before if name in after},
            _amiss(before, after),
        )
    places = {str(place + 1): (place, place) for place in range(min(len(before), len(after)))}
    far = [] if len(before) == len(after) else [f"it had {len(before)} columns and has {len(after)}"]
    return False, places, far


def _amiss(before: Iterable[str], after: Iterable[str]) -> list[str]:
    old, new = list(before), list(after)
    gone, fresh = [n for n in old if n not in new], [n for n in new if n not in old]
    far = [f"without the columns {', '.join(gone[:_SHOWN])}"] if gone else []
    return far + ([f"with new columns {', '.join(fresh[:_SHOWN])}"] if fresh else [])


def _counts(before: int, after: int) -> list[str]:
    return [] if before == after else [f"it had {before:,} rows and has {after:,}"]


def _cell(row: Sequence[str], place: int) -> str | None:
    return row[place] if place < len(row) else None


def _is_number(text: str) -> bool:
    return _FLOAT.fullmatch(text) is not None or _WHOLE.fullmatch(text) is not None


def _compare_cells(was: str | None, now: str | None, tolerance: Tolerance, tally: Tally, row: int) -> bool:
    """Whether two cells that are written differently differ by more than is allowed.

    Only what is written as a float is one: `01234` and `12e4` may be names, and whole numbers are the same or not.
    """
    shown = f"first in row {row}: {was!r} became {now!r}"
    if was is None or now is None or not (_is_number(was) and _is_number(now)):
        tally.count(0, 1, 0.0, shown)
        return True
    if not (_FLOAT.fullmatch(was) or _FLOAT.fullmatch(now)):
        if was.lstrip("+") == now.lstrip("+"):
            return False
        is_small = max(len(was), len(now)) <= _LONGEST_WHOLE
        tally.count(0, 1, float(abs(int(was) - int(now))) if is_small else math.inf, shown)
        return True
    one, other = float(was), float(now)
    if one == other or (math.isnan(one) and math.isnan(other)):
        return False  # 1.0 and 1.00
    is_near = tolerance.allows(one, other)
    tally.count(int(is_near), int(not is_near), abs(one - other), shown)
    return not is_near


def _bag(rows: Iterable[object]) -> int:
    """The same for the same rows in any order; told apart by 128 bits otherwise."""
    total = 0
    for row in rows:
        total += int.from_bytes(
            hashlib.blake2b(repr(row).encode("utf-8", "replace"), digest_size=16).digest()
        )
    return total


# ── Parquet, Arrow ───────────────────────────────────────────────────────────────────────────────


def arrow_files(before: Path, after: Path, tolerance: Tolerance, form: str) -> Reading:
    """Two Parquet or Arrow files (`form` says which); columns are matched by their names.

    Raises:
        Lacking: pyarrow is not here.
        Unreadable: one is no such file.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise Lacking("pyarrow") from error
    try:
        return _arrow_files(before, after, tolerance, form)
    except (pyarrow.ArrowException, OSError) as error:
        raise Unreadable(str(error)) from error


def _arrow_files(before: Path, after: Path, tolerance: Tolerance, form: str) -> Reading:
    with _Batches(before, form) as old, _Batches(after, form) as new:
        if any(len(set(side.schema.names)) < len(side.schema.names) for side in (old, new)):
            raise Unreadable("two of its columns have one name")
        names = [name for name in old.schema.names if name in new.schema.names]
        far = _amiss(old.schema.names, new.schema.names)
        far += [
            f"column {name} was {old.schema.field(name).type} and is {new.schema.field(name).type}"
            for name in names
            if old.schema.field(name).type != new.schema.field(name).type
        ]
        found = Tallies({name: Tally() for name in names})
        counts = [0, 0]
        for one, other in _aligned(old, new):
            counts[0] += 0 if one is None else one.num_rows
            counts[1] += 0 if other is None else other.num_rows
            if one is not None and other is not None:
                _compare_batches(one, other, names, tolerance, found)
    far += _counts(*counts)
    if counts[0] == counts[1] <= _ORDERED_ROWS and found.far_rows and not far:
        bags = []
        for path in (before, after):
            with _Batches(path, form) as read:
                bags.append(_bag(tuple(row[n] for n in names) for b in read for row in b.to_pylist()))
        if bags[0] == bags[1]:
            far.append("the same rows, in another order")
    return found.reading("table", far)


class _Batches:
    """The record batches of a file, and its schema; closed at the end of a `with` block."""

    def __init__(self, path: Path, form: str) -> None:
        import pyarrow

        self._file: Any = pyarrow.OSFile(str(path), "rb")
        try:
            if form == "parquet":
                import pyarrow.parquet

                reader = pyarrow.parquet.ParquetFile(self._file)
                self.schema: Any = reader.schema_arrow
                self._read: Callable[[], Iterator[Any]] = lambda: reader.iter_batches(_BATCH_ROWS)
            else:
                import pyarrow.ipc

                reader = self._ipc(pyarrow)
                self.schema = reader.schema
                self._read = lambda: (
                    (reader.get_batch(place) for place in range(reader.num_record_batches))
                    if hasattr(reader, "get_batch")
                    else iter(reader)
                )
        except BaseException:
            self._file.close()
            raise

    def _ipc(self, pyarrow: Any) -> Any:
        try:
            return pyarrow.ipc.open_file(self._file)
        except pyarrow.ArrowInvalid:
            self._file.seek(0)
            return pyarrow.ipc.open_stream(self._file)

    def __enter__(self) -> "_Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return self._read()


def _aligned(old: Iterable[Any], new: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Pieces of as many rows from both; what only one has comes with None."""
    sides = [iter(old), iter(new)]
    held: list[Any] = [None, None]
    while True:
        for place in (0, 1):
            while held[place] is None or held[place].num_rows == 0:
                held[place] = next(sides[place], None)
                if held[place] is None:
                    break
        if held[0] is None and held[1] is None:
            return
        if held[0] is None or held[1] is None:
            yield held[0], held[1]
            held = [None, None]
            continue
        rows = min(held[0].num_rows, held[1].num_rows)
        yield held[0].slice(0, rows), held[1].slice(0, rows)
        held = [each.slice(rows) for each in held]


def _compare_batches(
    one: Any, other: Any, names: Sequence[str], tolerance: Tolerance, found: Tallies
) -> None:
    far_rows: set[int] = set()
    for name in names:
        was, now = one.column(name), other.column(name)
        tally = found.columns[name]
        tally.compared += len(was)
        if not was.equals(now):
            far_rows |= _compare_columns(was, now, tolerance, tally, found.rows)
    found.far_rows += len(far_rows)
    found.rows += one.num_rows


def _compare_columns(was: Any, now: Any, tolerance: Tolerance, tally: Tally, at: int) -> set[int]:
    """The rows in which two pieces of a column differ by more than is allowed."""
    import pyarrow
    import pyarrow.compute as compute

    rows: Iterable[int] = range(len(was))
    if was.type == now.type and not pyarrow.types.is_nested(was.type):
        # Both are null, or neither is and they are equal: the rest is looked at one by one.
        nulls = was.is_null(), now.is_null()
        if pyarrow.types.is_floating(was.type) and nulls[0].equals(nulls[1]) and _has_numpy():
            pieces = [each.to_numpy(zero_copy_only=False) for each in (was, now)]
            return _compare_pieces(pieces[0], pieces[1], tolerance, tally, at, "row", 1)
        same = compute.or_(compute.and_(*nulls), compute.fill_null(compute.equal(was, now), False))
        rows = compute.indices_nonzero(compute.invert(same)).to_pylist()
    far_rows = set()
    for row in rows:
        one, other = was[row].as_py(), now[row].as_py()
        verdict, apart = compare_values(one, other, tolerance)
        if verdict:
            shown = f"first in row {at + row + 1}: {_short(one)} became {_short(other)}"
            tally.count(int(verdict < 0), int(verdict > 0), apart, shown)
        if verdict > 0:
            far_rows.add(row)
    return far_rows


def compare_values(was: object, now: object, tolerance: Tolerance) -> tuple[int, float]:
    """(0 the same, -1 within the tolerance, 1 by more; how far apart numbers are) of two values, however nested."""
    if isinstance(was, float) or isinstance(now, float):
        if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in (was, now)):
            return 1, 0.0
        if was == now:  # exactly, also a whole number beside a float
            return 0, 0.0
        try:
            one, other = float(was), float(now)  # type: ignore[arg-type]
        except OverflowError:
            return 1, math.inf
        if math.isnan(one) and math.isnan(other):
            return 0, 0.0
        if one == other:  # a whole number that no float holds
            return 1, 0.0
        return (-1 if tolerance.allows(one, other) else 1), abs(one - other)
    if isinstance(was, Mapping) and isinstance(now, Mapping) and was.keys() == now.keys():
        return _worst(compare_values(was[key], now[key], tolerance) for key in was)
    if isinstance(was, list | tuple) and isinstance(now, list | tuple) and len(was) == len(now):
        return _worst(map(compare_values, was, now, itertools.repeat(tolerance)))
    if was == now and isinstance(was, bool) == isinstance(now, bool):
        return 0, 0.0
    is_number = isinstance(was, int) and isinstance(now, int)
    return 1, float(abs(was - now)) if is_number and abs(was - now) < 1 << 1000 else 0.0  # type: ignore[operator]


def _worst(found: Iterable[tuple[int, float]]) -> tuple[int, float]:
    every = list(found)
    verdicts = {verdict for verdict, _ in every}
    worst = 1 if 1 in verdicts else min(verdicts, default=0)
    return worst, max((apart for _, apart in every), default=0.0)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


# ── NumPy ────────────────────────────────────────────────────────────────────────────────────────


def npy_files(before: Path, after: Path, tolerance: Tolerance) -> Reading:
    """Two `.npy` files.

    Raises:
        Lacking: numpy is not here.
        Unreadable: one is no such file, or holds Python objects.
    """
    _require_numpy()
    with before.open("rb") as old, after.open("rb") as new:
        near, far = _arrays(old, new, "the array", tolerance)
    return Reading("array", near, far)


def npz_files(before: Path, after: Path, tolerance: Tolerance) -> Reading:
    """Two `.npz` files; arrays are matched by their names.

    Raises:
        Lacking, Unreadable: as `npy_files`.
    """
    _require_numpy()
    try:
        with zipfile.ZipFile(before) as old, zipfile.ZipFile(after) as new:
            names, others = old.namelist(), new.namelist()
            far = [f"without {name}" for name in names if name not in others]
            far += [f"with a new {name}" for name in others if name not in names]
            near: list[str] = []
            for name in [name for name in names if name in others]:
                with old.open(name) as one, new.open(name) as other:
                    within, by_more = _arrays(one, other, f"array {name.removesuffix('.npy')}", tolerance)
                near += within
                far += by_more
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise Unreadable(str(error)) from error
    return Reading("array", few(near), few(far))


def _require_numpy() -> None:
    if not _has_numpy():
        raise Lacking("numpy")


def _has_numpy() -> bool:
    try:
        import numpy  # noqa: F401
    except ImportError:
        return False
    return True


def _arrays(
    before: IO[bytes], after: IO[bytes], what: str, tolerance: Tolerance
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(What is within the tolerance, what is further apart) of two arrays, read a piece at a time."""
    (shape, order, dtype), (shape_now, order_now, dtype_now) = _head(before), _head(after)
    if shape != shape_now or dtype != dtype_now:
        return (), (f"{what} was {dtype} of shape {shape} and is {dtype_now} of shape {shape_now}",)
    if order != order_now and len(shape) > 1:
        raise Unreadable("its elements are written in another order")
    tally, left = Tally(compared=math.prod(shape)), math.prod(shape)
    at_once = max(1, _BATCH_BYTES // max(1, dtype.itemsize))
    while left:
        count = min(left, at_once)
        one, other = (_piece(stream, count, dtype) for stream in (before, after))
        _compare_pieces(one, other, tolerance, tally, tally.compared - left)
        left -= count
    if tally.far:
        return (), (tally.told(what),)
    return ((tally.told(what),) if tally.near else ()), ()


def _head(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, "numpy.dtype[Any]"]:
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(stream)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, order, dtype = read(stream)
    except (ValueError, KeyError, EOFError) as error:
        raise Unreadable(f"it is no array that can be read here: {error}") from error
    if dtype.hasobject:
        raise Unreadable("it holds Python objects, and to read them runs code")
    return shape, order, dtype


def _piece(stream: IO[bytes], count: int, dtype: "numpy.dtype[Any]") -> "_Array":
    import numpy

    wanted = count * dtype.itemsize
    data = b""
    while len(data) < wanted and (chunk := stream.read(wanted - len(data))):
        data += chunk
    if len(data) < wanted:
        raise Unreadable("it ends in the middle")
    return numpy.frombuffer(data, dtype, count)


def _compare_pieces(
    one: Any, other: Any, tolerance: Tolerance, tally: Tally, at: int, what: str = "element", since: int = 0
) -> set[int]:
    """The places at which two pieces of an array differ by more than is allowed; `at` is where they begin."""
    import numpy

    if one.dtype.names is not None:
        fields = [(one[name], other[name]) for name in one.dtype.names]
        found = [_compare_pieces(*pair, tolerance, tally, at, what, since) for pair in fields]
        return set().union(*found)
    if one.ndim > 1:  # a field that is an array itself
        one, other = (each.reshape(len(each), -1) for each in (one, other))
        found = [
            _compare_pieces(one[:, place], other[:, place], tolerance, tally, at, what, since)
            for place in range(one.shape[1])
        ]
        return set().union(*found)
    with numpy.errstate(all="ignore"):
        differ, apart = one != other, None
        near = numpy.zeros_like(differ)
        if one.dtype.kind in "fc":
            differ &= ~(numpy.isnan(one) & numpy.isnan(other))
            apart = numpy.abs(other - one)
            allowed = apart <= tolerance.atol + tolerance.rtol * numpy.abs(one)
            near = differ & allowed & numpy.isfinite(one) & numpy.isfinite(other)
        elif one.dtype.kind in "iu":
            apart = numpy.abs(other.astype(float) - one.astype(float))
    if not differ.any():
        return set()
    far, place = differ & ~near, int(numpy.flatnonzero(differ)[0])
    shown = f"first in {what} {at + place + since}: {_short(one[place].item())} became {_short(other[place].item())}"
    most = 0.0 if apart is None else float(numpy.max(apart[differ]))
    tally.count(int(near.sum()), int(far.sum()), most, shown)
    return set(numpy.flatnonzero(far).tolist())

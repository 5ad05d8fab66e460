"""Names the loaded libraries that open files and connections without Python's knowledge.

A compiled module may open what it likes. Those in `_THROUGH_PYTHON` are known to leave that to Python, so
that it is seen; any other, and those in `_READERS`, which hide their compiled part, are named.
"""

import importlib.machinery
import sys
import sysconfig

_SUFFIXES = tuple(importlib.machinery.EXTENSION_SUFFIXES)
_STDLIB = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))

# fmt: off
# Python's own, and packages whose compiled part is no module of Python.
_READERS = frozenset([
    "_dbm", "_gdbm", "catboost", "faiss", "lightgbm", "llama_cpp", "pyogrio", "pyodbc", "soundfile",
    "tiledb", "tkinter", "xgboost",
])
_THROUGH_PYTHON = frozenset([
    "Levenshtein", "PIL", "_brotli", "_cffi_backend", "_yaml", "aiohttp", "asyncpg", "bcrypt", "blake3",
    "bottleneck", "charset_normalizer", "contourpy", "coverage", "crc32c", "cryptography", "cytoolz",
    "fastavro", "frozenlist", "google_crc32c", "greenlet", "httptools", "immutables", "kiwisolver", "lz4",
    "markupsafe", "matplotlib", "msgpack", "msgspec", "multidict", "murmurhash", "nacl", "numba", "numexpr",
    "numpy", "orjson", "pandas", "patsy", "preshed", "propcache", "psutil", "pydantic_core", "pyrsistent",
    "rapidfuzz", "regex", "rpds", "ruamel", "scipy", "setproctitle", "shapely", "simplejson", "skimage",
    "sklearn", "snappy", "sqlalchemy", "srsly", "statsmodels", "tiktoken", "tornado", "ujson", "websockets",
    "wrapt", "xxhash", "yaml", "yarl", "zopfli", "zstandard",
])
# fmt: on
# A package that leaves most to Python may have one part that does not.
_READING_PARTS = frozenset({"PIL._imagingft", "scipy.io._fast_matrix_market._fmm_core"})

_known: set[str] = set()
_readers: set[str] = set()
_size = 0


def readers() -> tuple[str, ...]:
    """The packages, loaded by now, whose reads nobody sees."""
    global _size
    if len(sys.modules) != _size:
        _size = len(sys.modules)
        # A copy, since other threads import.
        for name in frozenset(list(sys.modules)) - _known:
            _known.add(name)
            _consider(name)
    return tuple(sorted(_readers))


def is_reader(package: str) -> bool:
    """Whether what a package's compiled code opens is out of sight."""
    return package not in _THROUGH_PYTHON and not package.endswith("__mypyc")


def _consider(name: str) -> None:
    package = name.partition(".")[0]
    if package in _readers:
        return
    if name in _READERS or name in _READING_PARTS:
        _readers.add(package)
        return
    spec = getattr(sys.modules.get(name), "__spec__", None)
    origin = getattr(spec, "origin", None)
    if not isinstance(origin, str) or not origin.endswith(_SUFFIXES):
        return
    is_of_python = origin.startswith(_STDLIB) and "site-packages" not in origin
    if not is_of_python and is_reader(package):
        _readers.add(package)

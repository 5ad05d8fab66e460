"""A small project, and edits to it, each with what it must do to the code's identity.

`change`: what the step computes may be another thing, so the identity must be too. `same`: it cannot be,
so a cached result must survive. `may`: either answer is sound. The step is `pipe.step`.

Run as a script it is the probe: it answers the identities of projects that it reads as JSON, and needs
nothing but the standard library and the two packages named, so that any interpreter can run it.
"""

import importlib
import json
import os
import pathlib
import sys
import tempfile
import traceback
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Replace:
    """In `file`, the first `old` becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Edit:
    """`change` is made to the project as `before` leaves it, with `environment` set."""

    name: str
    expected: Literal["change", "same", "may"]
    change: tuple[Replace, ...]
    before: tuple[Replace, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


PROJECT = {
    "pipe.py": '''\
"""Doc of module."""
from __future__ import annotations
import math
import lib.util as U
from lib import consts, shapes
from lib.util import helper, deco, Registry
from lib.star import *
from lib.reexp import moved
from lib.cond import backend
import lib.side
from functools import partial, wraps
import logging, random
log = logging.getLogger(__name__)
THRESH = 0.5
TABLE = {"a": 1, "b": 2}
_memo = {}
unused_const = 3
half = partial(helper, k=2)
sq = lambda x: x * x
pair = (lambda x: x + 1, lambda x: x + 2)
def unrelated():
    return 1
def callback(x):
    return x + 3
def make(k):
    def inner(x):
        return x * k
    return inner
times3 = make(3)
def step(x, factor=2):
    """Docstring."""
    # comment
    y = helper(x) + U.scale(x) + consts.RATE * THRESH
    y += half(x) + sq(x) + pair[0](x) + times3(x) + star_fn(x) + moved(x) + backend(x)
    s = shapes.Square(x)
    y += s.area() + TABLE["a"] + decorated(x) + math.pi
    y += sum(map(callback, [1, 2])) + U.dispatch("one", x) + shapes.Color.RED.value + shapes.Cfg().lr
    y += list(x2 for x2 in [x])[0]
    log.info("hi %s", y)
    from lib import lazy
    return y + lazy.f(x)
@deco(times=2)
def decorated(x):
    return x
''',
    "lib/__init__.py": "",
    "lib/util.py": """\
import os
from lib.deep import deep
from functools import wraps, lru_cache, singledispatch
class Registry(dict): pass
def helper(x, k=1):
    return deep(x) * k
def scale(x):
    return cached(x) + kind(x)
@lru_cache(maxsize=None)
def cached(x):
    return x + 7
@singledispatch
def kind(x):
    return 0
@kind.register
def _(x: int):
    return 5
def deco(times=1):
    def outer(f):
        @wraps(f)
        def wrapper(*a, **k):
            return f(*a, **k) * times
        return wrapper
    return outer
def one(x): return 1
def two(x): return 2
OPS = {"one": one, "two": two}
def dispatch(n, x):
    return OPS[n](x)
def not_called(): return 99
""",
    "lib/deep.py": """\
def deep(x):
    assert x is not None
    return deeper(x) + 1
def deeper(x):
    return x - 1
""",
    "lib/consts.py": """\
RATE = 2 * 0.5
OTHER = 9
""",
    "lib/star.py": """\
__all__ = ['star_fn']
def star_fn(x): return x
def _hidden(x): return 0
""",
    "lib/reexp.py": """\
from lib._impl import moved
""",
    "lib/_impl.py": """\
def moved(x): return x + 10
def moved2(x): return x + 11
""",
    "lib/cond.py": """\
import os
if os.environ.get('GPU'):
    def backend(x): return x * 2
else:
    def backend(x): return x
""",
    "lib/side.py": """\
import random
random.seed(0)
""",
    "lib/lazy.py": """\
from lib import lazy2
def f(x): return lazy2.g(x)
""",
    "lib/lazy2.py": """\
def g(x): return x
""",
    "lib/shapes.py": '''\
import enum
from dataclasses import dataclass, field
class Shape:
    K = 1
    def area(self): return self._a() * self.K
    def _a(self): return 0
class Square(Shape):
    """Doc."""
    __slots__ = ("s",)
    def __init__(self, s): self.s = s
    def _a(self): return self.s ** 2
    @property
    def size(self): return self.s
    @staticmethod
    def st(): return 1
class Lonely:
    def m(self): return 1
class Color(enum.Enum):
    RED = 1
    BLUE = 2
@dataclass
class Cfg:
    lr: float = 0.1
    tags: list = field(default_factory=list)
''',
}

EDITS = (
    Edit("comment changed", "same", (Replace("pipe.py", "# comment", "# other"),)),
    Edit("docstring of step", "same", (Replace("pipe.py", '"""Docstring."""', '"""New."""'),)),
    Edit("module docstring", "same", (Replace("pipe.py", "Doc of module", "x"),)),
    Edit(
        "blank lines/reformat",
        "same",
        (Replace("pipe.py", "y += half(x) + sq(x)", "y += (half(x)\n          + sq( x ))"),),
    ),
    Edit("lines inserted above", "same", (Replace("pipe.py", "THRESH = 0.5", "\n\n\nTHRESH = 0.5"),)),
    Edit(
        "docstring removed",
        "same",
        (Replace("pipe.py", '    """Docstring."""\n', ""),),
    ),
    Edit("class docstring", "same", (Replace("lib/shapes.py", '"""Doc."""', '"""Other."""'),)),
    Edit("quote style, implicit concat", "same", (Replace("pipe.py", '"hi %s"', "'hi' ' %s'"),)),
    Edit("numeric spelling 0.5 -> .50", "same", (Replace("pipe.py", "THRESH = 0.5", "THRESH = .50"),)),
    Edit("const expression same value", "same", (Replace("lib/consts.py", "2 * 0.5", "1.0"),)),
    Edit(
        "unrelated function body",
        "same",
        (Replace("pipe.py", "def unrelated():\n    return 1", "def unrelated():\n    return 2"),),
    ),
    Edit(
        "unrelated function added",
        "same",
        (Replace("pipe.py", "def unrelated", "def zzz(): pass\ndef unrelated"),),
    ),
    Edit("unused const", "same", (Replace("pipe.py", "unused_const = 3", "unused_const = 4"),)),
    Edit("other const in module read", "same", (Replace("lib/consts.py", "OTHER = 9", "OTHER = 10"),)),
    Edit("uncalled fn in helper module", "same", (Replace("lib/util.py", "return 99", "return 98"),)),
    Edit("unused import added", "same", (Replace("pipe.py", "import math", "import math, json"),)),
    Edit(
        "unused class in used module",
        "same",
        (
            Replace(
                "lib/shapes.py",
                "class Lonely:\n    def m(self): return 1",
                "class Lonely:\n    def m(self): return 2",
            ),
        ),
    ),
    Edit("hidden fn of star module", "same", (Replace("lib/star.py", "return 0", "return 1"),)),
    Edit(
        "functions reordered",
        "same",
        (
            Replace(
                "lib/deep.py",
                PROJECT["lib/deep.py"],
                "def deeper(x):\n    return x - 1\ndef deep(x):\n    assert x is not None\n    return deeper(x) + 1\n",
            ),
        ),
    ),
    Edit(
        "CRLF line ends",
        "same",
        (Replace("lib/deep.py", PROJECT["lib/deep.py"], PROJECT["lib/deep.py"].replace("\n", "\r\n")),),
    ),
    Edit(
        "untaken branch of conditional def", "same", (Replace("lib/cond.py", "return x * 2", "return x * 3"),)
    ),
    Edit("type: comment", "same", (Replace("pipe.py", "THRESH = 0.5", "THRESH = 0.5  # type: float"),)),
    Edit("step literal", "change", (Replace("pipe.py", "for x2 in [x]", "for x2 in [x, 1]"),)),
    Edit("helper body 1 away", "change", (Replace("lib/util.py", "deep(x) * k", "deep(x) * k + 1"),)),
    Edit(
        "helper body 2 away",
        "change",
        (Replace("lib/deep.py", "return deeper(x) + 1", "return deeper(x) + 2"),),
    ),
    Edit("helper body 3 away", "change", (Replace("lib/deep.py", "x - 1", "x - 2"),)),
    Edit("default arg of step", "change", (Replace("pipe.py", "factor=2", "factor=3"),)),
    Edit(
        "default arg of helper",
        "change",
        (Replace("lib/util.py", "def helper(x, k=1)", "def helper(x, k=2)"),),
    ),
    Edit("const own module", "change", (Replace("pipe.py", "THRESH = 0.5", "THRESH = 0.6"),)),
    Edit("const through module", "change", (Replace("lib/consts.py", "2 * 0.5", "3 * 0.5"),)),
    Edit("dict const value", "change", (Replace("pipe.py", '"a": 1', '"a": 5'),)),
    Edit("partial keyword", "change", (Replace("pipe.py", "partial(helper, k=2)", "partial(helper, k=3)"),)),
    Edit("module lambda", "change", (Replace("pipe.py", "x * x", "x * x * x"),)),
    Edit("2nd lambda on a line", "change", (Replace("pipe.py", "lambda x: x + 2", "lambda x: x + 9"),)),
    Edit("1st lambda on a line", "change", (Replace("pipe.py", "lambda x: x + 1,", "lambda x: x + 8,"),)),
    Edit("closure cell value", "change", (Replace("pipe.py", "make(3)", "make(4)"),)),
    Edit("closure body", "change", (Replace("pipe.py", "return x * k", "return x * k + 1"),)),
    Edit(
        "factory around closure (dead after)",
        "same",
        (Replace("pipe.py", "def make(k):\n", "def make(k):\n    unused = 1\n"),),
    ),
    Edit("decorator arg", "change", (Replace("pipe.py", "@deco(times=2)", "@deco(times=3)"),)),
    Edit(
        "decorator wrapper body",
        "change",
        (Replace("lib/util.py", "f(*a, **k) * times", "f(*a, **k) * times + 1"),),
    ),
    Edit(
        "decorated fn body",
        "change",
        (Replace("pipe.py", "def decorated(x):\n    return x", "def decorated(x):\n    return x + 1"),),
    ),
    Edit("decorator removed", "change", (Replace("pipe.py", "@deco(times=2)\n", ""),)),
    Edit("lru_cached body", "change", (Replace("lib/util.py", "x + 7", "x + 8"),)),
    Edit("singledispatch impl", "change", (Replace("lib/util.py", "return 5", "return 6"),)),
    Edit(
        "dispatch table function",
        "change",
        (Replace("lib/util.py", "def two(x): return 2", "def two(x): return 3"),),
    ),
    Edit("dispatch table entry", "change", (Replace("lib/util.py", '"two": two', '"two": one'),)),
    Edit("callback passed by name", "change", (Replace("pipe.py", "x + 3", "x + 4"),)),
    Edit(
        "star-import fn body",
        "change",
        (Replace("lib/star.py", "star_fn(x): return x", "star_fn(x): return x+1"),),
    ),
    Edit(
        "re-export target switched",
        "change",
        (Replace("lib/reexp.py", "import moved", "import moved2 as moved"),),
    ),
    Edit("re-exported body", "change", (Replace("lib/_impl.py", "x + 10", "x + 12"),)),
    Edit("taken branch of cond def", "change", (Replace("lib/cond.py", "return x\n", "return x + 1\n"),)),
    Edit("env switches conditional def", "change", (), environment={"GPU": "1"}),
    Edit("method of used class", "change", (Replace("lib/shapes.py", "self.s ** 2", "self.s ** 3"),)),
    Edit(
        "inherited method in base",
        "change",
        (Replace("lib/shapes.py", "self._a() * self.K", "self._a() * self.K + 1"),),
    ),
    Edit("class attr of base", "change", (Replace("lib/shapes.py", "K = 1", "K = 2"),)),
    Edit(
        "base class added",
        "change",
        (
            Replace(
                "lib/shapes.py",
                "class Square(Shape)",
                "class X:\n    def area(self): return 0\nclass Square(X, Shape)",
            ),
        ),
    ),
    Edit("enum value", "change", (Replace("lib/shapes.py", "RED = 1", "RED = 3"),)),
    Edit("dataclass default", "change", (Replace("lib/shapes.py", "lr: float = 0.1", "lr: float = 0.2"),)),
    Edit("import-time effect: seed", "change", (Replace("lib/side.py", "seed(0)", "seed(1)"),)),
    Edit("lazy import body", "change", (Replace("lib/lazy.py", "lazy2.g(x)", "lazy2.g(x) + 1"),)),
    Edit("lazy import 2 deep", "change", (Replace("lib/lazy2.py", "return x", "return x + 1"),)),
    Edit("assert in helper", "change", (Replace("lib/deep.py", "x is not None", "x is None"),)),
    Edit(
        "two aliases swapped",
        "change",
        (Replace("pipe.py", "one as aa, two as bb", "one as bb, two as aa"),),
        before=(
            Replace(
                "pipe.py",
                "from lib.util import helper, deco",
                "from lib.util import helper, deco, one as aa, two as bb",
            ),
            Replace("pipe.py", "    return y + lazy.f(x)", "    return y + aa(1) * 3 + bb(1)"),
        ),
    ),
    Edit(
        "method monkeypatched at import",
        "change",
        (Replace("pipe.py", "def unrelated", "shapes.Square._a = lambda self: 7\ndef unrelated"),),
    ),
    Edit(
        "module fn monkeypatched",
        "change",
        (
            Replace(
                "pipe.py", "def unrelated", "import lib.deep\nlib.deep.deeper = lambda x: x\ndef unrelated"
            ),
        ),
    ),
    Edit(
        "log message setup (opaque value source)",
        "change",
        (Replace("pipe.py", "getLogger(__name__)", "getLogger('other')"),),
    ),
    Edit(
        "__future__ removed",
        "change",
        (Replace("pipe.py", "from __future__ import annotations\n", ""),),
    ),
    Edit(
        "unused method of used class",
        "may",
        (Replace("lib/shapes.py", "def st(): return 1", "def st(): return 2"),),
    ),
    Edit("parameter annotation", "may", (Replace("pipe.py", "def step(x,", "def step(x: int,"),)),
    Edit(
        "helper renamed everywhere",
        "may",
        (Replace("lib/deep.py", PROJECT["lib/deep.py"], PROJECT["lib/deep.py"].replace("deeper", "dp")),),
    ),
    Edit("local variable renamed", "may", (Replace("pipe.py", "x2 for x2", "x3 for x3"),)),
    Edit("dict order of const", "may", (Replace("pipe.py", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),)),
    Edit(
        "memo dict filled before call",
        "may",
        (Replace("pipe.py", "def unrelated", "TABLE['z'] = 0\ndef unrelated"),),
    ),
    Edit(
        "getattr(mod, name)()",
        "change",
        (Replace("lib/util.py", "x + 7", "x + 70"),),
        before=(Replace("pipe.py", "    log.info", "    y = getattr(U, 'sc' + 'ale')(x) + y\n    log.info"),),
    ),
    Edit(
        "globals()[n]()",
        "change",
        (Replace("pipe.py", "def unrelated():\n    return 1", "def unrelated():\n    return 2"),),
        before=(Replace("pipe.py", "    log.info", "    y += globals()['unre' + 'lated']()\n    log.info"),),
    ),
    Edit(
        "eval string",
        "change",
        (Replace("pipe.py", "def unrelated():\n    return 1", "def unrelated():\n    return 2"),),
        before=(Replace("pipe.py", "    log.info", "    y += eval('unrelated()')\n    log.info"),),
    ),
    Edit(
        "importlib computed",
        "change",
        (Replace("lib/deep.py", "x - 1", "x - 20"),),
        before=(
            Replace(
                "pipe.py",
                "    log.info",
                "    import importlib; y += importlib.import_module('lib.' + 'deep').deep(x)\n    log.info",
            ),
        ),
    ),
    Edit(
        "__subclasses__",
        "change",
        (Replace("lib/shapes.py", "class Lonely:", "class Lonely(Shape):"),),
        before=(
            Replace("pipe.py", "    log.info", "    y += len(shapes.Shape.__subclasses__())\n    log.info"),
        ),
    ),
    Edit(
        "module as value",
        "change",
        (Replace("lib/consts.py", "OTHER", "OTHER2"),),
        before=(Replace("pipe.py", "    log.info", "    y += len(dir(consts))\n    log.info"),),
    ),
    Edit(
        "instance passed in; its class is not named in step",
        "change",
        (Replace("lib/shapes.py", "def m(self): return 1", "def m(self): return 2"),),
        before=(
            Replace(
                "pipe.py", "    log.info", "    y += x.real if not hasattr(x, 'zz') else x.zz()\n    log.info"
            ),
        ),
    ),
)

# Named in docs/code-identity.md. The class of an argument is covered once the argument is known.
KNOWN_HOLES = frozenset({"instance passed in; its class is not named in step"})


def edited(edits: Iterable[Replace], project: Mapping[str, str] = PROJECT) -> dict[str, str]:
    """The project after `edits`.

    Raises:
        AssertionError: one of them would change nothing.
    """
    files = dict(project)
    for edit in edits:
        assert edit.old in files[edit.file], edit
        files[edit.file] = files[edit.file].replace(edit.old, edit.new, 1)
    return files


def load_fingerprint(sdk: str, catalog: str) -> types.ModuleType:
    """`whence.fingerprint`, without the packages that the rest of whence needs."""
    sys.path.insert(0, catalog)
    package = types.ModuleType("whence")
    package.__path__ = [os.path.join(sdk, "whence")]
    sys.modules["whence"] = package
    return importlib.import_module("whence.fingerprint")


def report(
    fingerprint: types.ModuleType,
    step: Callable[..., object],
    root: pathlib.Path,
    arguments: Sequence[object] = (),
    *,
    call: bool = False,
) -> str:
    """A step's identity, as a line of JSON; with what it answers to `arguments`, if it is to be called."""
    identity = fingerprint.code_identity(step, root, arguments)
    return json.dumps(
        {
            "rows": {symbol: row.hex() for symbol, row in identity.rows.items()},
            "files": sorted(identity.files),
            "widened": identity.widened,
            "interpreter_bound": identity.interpreter_bound,
            "uncacheable": identity.uncacheable,
            "entry": identity.entry,
            "job": fingerprint.job_name(step, root),
            "digest": identity.digest.text,
            **(_called(identity, step, root, arguments) if call else {}),
        }
    )


def _called(
    identity: Any, step: Callable[..., object], root: pathlib.Path, arguments: Sequence[object]
) -> dict[str, object]:
    executed = importlib.import_module("whence.executed")
    with executed.compared(identity, root) as comparison:
        result = repr(step(*arguments))
    return {"result": result, "covered": comparison.covered, "holes": comparison.holes}


def main(sdk: str, catalog: str) -> None:
    """Answer, as a line of JSON each, what the identity of every job on standard input is.

    A job is a project's `files`, the `module` and the name of the `step`, and the `environment`; with an
    `argument`, an expression, the step is also called. One process forks for each: a fresh interpreter
    costs ten times as much.
    """
    fingerprint = load_fingerprint(sdk, catalog)
    sys.dont_write_bytecode = True
    for job in json.load(sys.stdin):
        with tempfile.TemporaryDirectory() as folder:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    print(_answer(fingerprint, pathlib.Path(folder, "project"), job), flush=True)
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(status)
            if os.waitpid(child, 0)[1]:
                raise SystemExit(f"the probe failed for {job['name']}")


def write(root: pathlib.Path, files: Mapping[str, str]) -> None:
    """Make the project's files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


def _answer(fingerprint: types.ModuleType, root: pathlib.Path, job: Mapping[str, Any]) -> str:
    write(root, job["files"])
    os.chdir(root)
    os.environ.update(job["environment"])
    sys.path.insert(0, str(root))
    module = importlib.import_module(job["module"])
    if job["edited_after"]:
        write(root, job["edited_after"])
    arguments = [eval(job["argument"], {})] if job.get("argument") else []
    return report(fingerprint, getattr(module, job["step"]), root, arguments, call=bool(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])

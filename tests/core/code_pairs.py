"""Small projects with one edit each, and what the edit must do to the code's identity.

An edit is written in its place: `«1¦2»` is 1 before and 2 after. `change` and `same` mean what they mean in
`code_corpus`, and the test holds them against what `step(3)` answers before and after, so that no pair can
claim what is not so. `may`: either answer is sound. `hole`: the result changes and the identity does not;
`says` is the sentence of docs/code-identity.md that names the hole. `widens` is a reason that must be given.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_EDIT = re.compile("«([^¦»]*)¦([^»]*)»")


@dataclass(frozen=True)
class Pair:
    """One edit to the project `files`; text alone is its pipe.py. `since` is the Python that can read it."""

    name: str
    expected: Literal["change", "same", "may", "hole"]
    files: str | Mapping[str, str]
    widens: str = ""
    says: str = ""
    since: tuple[int, int] = (3, 11)
    argument: str = "3"
    # The result differs only where this test cannot look: at the end of the process, at another time.
    is_silent: bool = False

    @property
    def before(self) -> dict[str, str]:
        """The project without the edit."""
        return {name: _EDIT.sub(r"\1", text) for name, text in self._texts.items()}

    @property
    def after(self) -> dict[str, str]:
        """The project with the edit."""
        return {name: _EDIT.sub(r"\2", text) for name, text in self._texts.items()}

    @property
    def _texts(self) -> Mapping[str, str]:
        return {"pipe.py": self.files} if isinstance(self.files, str) else self.files


# A folder that Python takes for one of installed packages, as `pip install --target` makes it.
_DEPENDENCY = {
    "pipe.py": """\
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "site-packages"))
import dependency
def step(x): return dependency.f(x)
""",
    "site-packages/dependency/__init__.py": "from needed import g\ndef f(x): return g(x)\n",
    "site-packages/dependency-1.0.dist-info/METADATA": "Name: dependency\nVersion: 1.0\nRequires-Dist: needed\n",
    "site-packages/dependency-1.0.dist-info/RECORD": "dependency/__init__.py,,\n",
    "site-packages/needed/__init__.py": "def g(x): return x\n",
    "site-packages/needed-1.0.dist-info/METADATA": "Name: needed\nVersion: 1.0\n",
    "site-packages/needed-1.0.dist-info/RECORD": "needed/__init__.py,,\n",
}
_DEFINITIONS = "def one(x): return x + 1\ndef two(x): return x + 2\n"

CHANGES = (
    # ── decorators, closures, partials ───────────────────────────────────────────────────────────
    Pair(
        "argument of a decorator that is a class",
        "change",
        """\
class Times:
    def __init__(self, n): self.n = n
    def __call__(self, f): return lambda x: f(x) * self.n
@Times(«2¦3»)
def helper(x): return x
def step(x): return helper(x)
""",
    ),
    Pair(
        "order of two decorators",
        "change",
        """\
def plus(f): return lambda x: f(x) + 1
def twice(f): return lambda x: f(x) * 2
@«plus¦twice»
@«twice¦plus»
def helper(x): return x
def step(x): return helper(x)
""",
    ),
    Pair(
        "decorator that throws its function away",
        "change",
        """\
def instead(f): return lambda x: «1¦2»
@instead
def helper(x): return x
def step(x): return helper(x)
""",
    ),
    Pair(
        "a cell that was changed after the closure was made",
        "change",
        """\
def make():
    n = 0
    def get(): return n
    def add(k):
        nonlocal n
        n += k
    return get, add
get, add = make()
add(«1¦2»)
def step(x): return x + get()
""",
    ),
    Pair(
        "a list in a cell",
        "change",
        """\
def make(items):
    def get(): return sum(items)
    return get
get = make([1, «2¦3»])
def step(x): return x + get()
""",
    ),
    Pair(
        "a function in a cell",
        "change",
        _DEFINITIONS
        + "def make(f):\n    return lambda x: f(x)\nget = make(«one¦two»)\ndef step(x): return get(x)\n",
    ),
    Pair(
        "positional argument of a partial",
        "change",
        "from functools import partial\nfirst = partial(pow, «2¦3»)\ndef step(x): return first(x)\n",
    ),
    Pair(
        "partial of a partial",
        "change",
        "from functools import partial\nf = partial(partial(dict, a=1), b=«2¦3»)\ndef step(x): return f()\n",
    ),
    Pair(
        "partialmethod",
        "change",
        """\
from functools import partialmethod
class A:
    def m(self, x, k): return x * k
    twice = partialmethod(m, k=«2¦3»)
def step(x): return A().twice(x)
""",
    ),
    Pair(
        "cached_property",
        "change",
        """\
from functools import cached_property
class A:
    @cached_property
    def p(self): return «1¦2»
def step(x): return A().p + x
""",
    ),
    Pair(
        "singledispatch registration added",
        "change",
        """\
from functools import singledispatch
@singledispatch
def kind(x): return 0
«¦@kind.register(int)»
def other(x): return 1
def step(x): return kind(x)
""",
    ),
    Pair(
        "singledispatchmethod registration",
        "change",
        """\
from functools import singledispatchmethod
class A:
    @singledispatchmethod
    def kind(self, x): return 0
    @kind.register
    def _(self, x: int): return «1¦2»
def step(x): return A().kind(x)
""",
    ),
    Pair(
        "singledispatch registered in another module",
        "change",
        {
            "pipe.py": "from kinds import kind\nimport more\ndef step(x): return kind(x)\n",
            "kinds.py": "from functools import singledispatch\n@singledispatch\ndef kind(x): return 0\n",
            "more.py": "from kinds import kind\n@kind.register\ndef _(x: int): return «1¦2»\n",
        },
    ),
    Pair(
        "wraps over a method of a class",
        "change",
        """\
from functools import wraps
def logged(f):
    @wraps(f)
    def inner(self, *a): return f(self, *a)
    return inner
class A:
    @logged
    def m(self, x): return x + «1¦2»
def step(x): return A().m(x)
""",
    ),
    Pair(
        "contextmanager",
        "change",
        """\
from contextlib import contextmanager
@contextmanager
def lent():
    yield «1¦2»
def step(x):
    with lent() as k: return x + k
""",
    ),
    # ── classes ──────────────────────────────────────────────────────────────────────────────────
    Pair(
        "property",
        "change",
        "class A:\n    @property\n    def p(self): return «1¦2»\ndef step(x): return A().p + x\n",
    ),
    Pair(
        "setter of a property",
        "change",
        """\
class A:
    @property
    def p(self): return self._p
    @p.setter
    def p(self, v): self._p = v + «1¦2»
def step(x):
    a = A(); a.p = x
    return a.p
""",
    ),
    Pair(
        "descriptor",
        "change",
        """\
class D:
    def __get__(self, one, kind): return «1¦2»
class A:
    d = D()
def step(x): return A().d + x
""",
    ),
    Pair(
        "what a descriptor holds",
        "change",
        """\
class D:
    def __init__(self, k): self.k = k
    def __get__(self, one, kind): return self.k
class A:
    d = D(«1¦2»)
def step(x): return A().d + x
""",
    ),
    Pair(
        "__set_name__",
        "change",
        """\
class D:
    def __set_name__(self, owner, name): self.k = len(name) + «1¦2»
    def __get__(self, one, kind): return self.k
class A:
    d = D()
def step(x): return A().d + x
""",
    ),
    Pair(
        "metaclass",
        "change",
        """\
class M(type):
    def __call__(cls, *a): return super().__call__(*a).k + «1¦2»
class A(metaclass=M):
    k = 1
def step(x): return A() + x
""",
    ),
    Pair(
        "metaclass of a base",
        "change",
        """\
class M(type):
    @property
    def k(cls): return «1¦2»
class A(metaclass=M): pass
class B(A): pass
def step(x): return B.k + x
""",
    ),
    Pair(
        "__init_subclass__",
        "change",
        """\
class A:
    def __init_subclass__(cls, **kw): cls.k = «1¦2»
class B(A): pass
def step(x): return B.k + x
""",
    ),
    Pair(
        "keyword of a class statement",
        "change",
        """\
class A:
    def __init_subclass__(cls, k): cls.k = k
class B(A, k=«1¦2»): pass
def step(x): return B.k + x
""",
    ),
    Pair(
        "class decorator",
        "change",
        """\
def marked(cls):
    cls.k = «1¦2»
    return cls
@marked
class A: pass
def step(x): return A.k + x
""",
    ),
    Pair(
        "attribute of a class, set after it",
        "change",
        "class A:\n    k = 1\nA.k = «2¦3»\ndef step(x): return A.k + x\n",
    ),
    Pair(
        "attribute of a class, set by a loop",
        "change",
        "class A: pass\nfor n in ('a', 'b'):\n    setattr(A, n, «2¦3»)\ndef step(x): return A.a + x\n",
    ),
    Pair(
        "method of an instance",
        "change",
        """\
import types
class A: pass
a = A()
a.m = types.MethodType(lambda self, x: x + «1¦2», a)
def step(x): return a.m(x)
""",
    ),
    Pair(
        "method replaced from another module",
        "change",
        {
            "pipe.py": "import patches\nfrom shapes import A\ndef step(x): return A().m(x)\n",
            "shapes.py": "class A:\n    def m(self, x): return x\n",
            "patches.py": "import shapes\ndef m(self, x): return x + «1¦2»\nshapes.A.m = m\n",
        },
    ),
    Pair(
        "attribute of a function",
        "change",
        "def helper(x): return x + helper.k\nhelper.k = «1¦2»\ndef step(x): return helper(x)\n",
    ),
    Pair(
        "operator reached by arithmetic",
        "change",
        """\
class V:
    def __init__(self, n): self.n = n
    def __add__(self, other): return V(self.n + other.n + «0¦1»)
def step(x): return (V(x) + V(1)).n
""",
    ),
    Pair(
        "reflected operator",
        "change",
        "class V:\n    def __radd__(self, other): return other + «1¦2»\ndef step(x): return x + V()\n",
    ),
    Pair(
        "truth of an object",
        "change",
        "class V:\n    def __bool__(self): return «True¦False»\ndef step(x): return x if V() else 0\n",
    ),
    Pair(
        "__getattr__ of a class",
        "change",
        "class V:\n    def __getattr__(self, name): return «1¦2»\ndef step(x): return V().anything + x\n",
    ),
    Pair(
        "__exit__ that swallows",
        "change",
        """\
class Quiet:
    def __enter__(self): return self
    def __exit__(self, *error): return «True¦False»
def step(x):
    try:
        with Quiet(): raise ValueError
    except ValueError: return 1
    return 2
""",
    ),
    Pair(
        "__del__",
        "change",
        """\
SEEN = []
class V:
    def __del__(self): SEEN.append(«1¦2»)
def step(x):
    V()
    return list(SEEN)
""",
    ),
    Pair(
        "super through a mixin",
        "change",
        """\
class A:
    def m(self): return 1
class Mixin:
    def m(self): return super().m() + «1¦2»
class B(Mixin, A): pass
def step(x): return B().m()
""",
    ),
    Pair(
        "order of bases",
        "change",
        """\
class A:
    def m(self): return 1
class B:
    def m(self): return 2
class C(«A, B¦B, A»): pass
def step(x): return C().m()
""",
    ),
    Pair(
        "__class_getitem__",
        "change",
        "class A:\n    def __class_getitem__(cls, k): return «1¦2»\ndef step(x): return A[int] + x\n",
    ),
    Pair(
        "__call__ of an object in a global",
        "change",
        "class A:\n    def __call__(self, x): return x + «1¦2»\na = A()\ndef step(x): return a(x)\n",
    ),
    Pair(
        "what an object in a global holds",
        "change",
        "class A:\n    def __init__(self, k): self.k = k\na = [A(«1¦2»)]\ndef step(x): return a[0].k + x\n",
    ),
    Pair(
        "bound method in a global",
        "change",
        """\
class A:
    def __init__(self, k): self.k = k
    def m(self, x): return x + self.k
f = A(«1¦2»).m
def step(x): return f(x)
""",
    ),
    Pair(
        "class made by a function",
        "change",
        """\
def made(k):
    class A:
        def m(self): return k
    return A
A = made(«1¦2»)
def step(x): return A().m() + x
""",
    ),
    Pair(
        "class made by type()",
        "change",
        """\
def m(self): return «1¦2»
A = type("A", (), {"m": m})
def step(x): return A().m() + x
""",
    ),
    Pair(
        "attribute of a class made by type()",
        "change",
        'A = type("A", (), {"k": «1¦2»})\ndef step(x): return A.k + x\n',
    ),
    Pair(
        "class that only a helper returns",
        "change",
        {
            "pipe.py": "from made import make\ndef step(x): return make().m() + x\n",
            "made.py": "class A:\n    def m(self): return «1¦2»\ndef make(): return A()\n",
        },
    ),
    Pair(
        "abstract class, implementation in a registry of subclasses",
        "change",
        """\
import abc
class A(abc.ABC):
    known = {}
    def __init_subclass__(cls): A.known[cls.__name__] = cls
    @abc.abstractmethod
    def m(self): ...
class B(A):
    def m(self): return «1¦2»
def step(x): return A.known["B"]().m() + x
""",
    ),
    Pair(
        "field default of a dataclass that is a number",
        "change",
        """\
from dataclasses import dataclass
@dataclass
class C:
    k: int = «1¦2»
def step(x): return C().k + x
""",
    ),
    Pair(
        "default_factory of a dataclass",
        "change",
        """\
from dataclasses import dataclass, field
@dataclass
class C:
    k: list = field(default_factory=lambda: [«1¦2»])
def step(x): return C().k
""",
    ),
    Pair(
        "__post_init__ of a base that is a dataclass",
        "change",
        """\
from dataclasses import dataclass
@dataclass
class B:
    k: int = 1
    def __post_init__(self): self.k += «1¦2»
@dataclass
class C(B): pass
def step(x): return C().k
""",
    ),
    Pair(
        "order=True of a dataclass",
        "change",
        """\
from dataclasses import dataclass
@dataclass(order=«True¦False»)
class C:
    k: int
def step(x): return hasattr(C, "__lt__") and C.__lt__ is not object.__lt__
""",
    ),
    Pair(
        "order of an enum's members",
        "change",
        "import enum\nclass E(enum.Enum):\n    «A¦B» = enum.auto()\n    «B¦A» = enum.auto()\ndef step(x): return E.A.value\n",
    ),
    Pair(
        "method of an enum",
        "change",
        "import enum\nclass E(enum.Enum):\n    A = 1\n    def m(self): return «1¦2»\ndef step(x): return E.A.m()\n",
    ),
    Pair(
        "member of a flag",
        "change",
        "import enum\nclass E(enum.Flag):\n    A = 1\n    B = «2¦4»\ndef step(x): return (E.A | E.B).value\n",
    ),
    Pair(
        "default in a NamedTuple",
        "change",
        "from typing import NamedTuple\nclass P(NamedTuple):\n    k: int = «1¦2»\ndef step(x): return P().k + x\n",
    ),
    Pair(
        "method of a NamedTuple",
        "change",
        """\
from typing import NamedTuple
class P(NamedTuple):
    k: int = 1
    def m(self): return self.k + «1¦2»
def step(x): return P().m()
""",
    ),
    Pair(
        "fields of a namedtuple",
        "change",
        'from collections import namedtuple\nP = namedtuple("P", "«a b¦b a»")\ndef step(x): return P(1, 2).a\n',
    ),
    Pair(
        "__match_args__",
        "change",
        """\
class P:
    __match_args__ = ("«a¦b»",)
    a, b = 1, 2
def step(x):
    match P():
        case P(k): return k
""",
    ),
    Pair(
        "__slots__",
        "change",
        """\
class P:
    __slots__ = ("a"«¦, "b"»,)
def step(x): return hasattr(P(), "__dict__"), P.__slots__
""",
    ),
    Pair(
        "class of an argument",
        "change",
        {
            "pipe.py": "def step(x): return x.m()\n",
            "shapes.py": "class A:\n    def m(self): return «1¦2»\n",
        },
        argument="__import__('shapes').A()",
    ),
    Pair(
        "class of an object in a list that is an argument",
        "change",
        {
            "pipe.py": "def step(x): return x['a'][0].m()\n",
            "shapes.py": "class A:\n    def m(self): return «1¦2»\n",
        },
        argument="{'a': [__import__('shapes').A()]}",
    ),
    Pair(
        "class of an attribute of an argument",
        "change",
        {
            "pipe.py": "def step(x): return x.inner.m()\n",
            "shapes.py": """\
class A:
    def m(self): return «1¦2»
class Outer:
    pass
def made():
    one = Outer()
    one.inner = A()
    return one
""",
        },
        argument="__import__('shapes').made()",
    ),
    Pair(
        "function that is an argument",
        "change",
        {
            "pipe.py": "def step(x): return x(3)\n",
            "shapes.py": "def f(x): return x + «1¦2»\n",
        },
        argument="__import__('shapes').f",
    ),
    # ── syntax ───────────────────────────────────────────────────────────────────────────────────
    Pair(
        "literal of a case",
        "change",
        "def step(x):\n    match x:\n        case «3¦4»: return 1\n        case _: return 2\n",
    ),
    Pair(
        "guard of a case",
        "change",
        "def step(x):\n    match x:\n        case n if n > «2¦5»: return 1\n    return 2\n",
    ),
    Pair("walrus", "change", "def step(x):\n    if (y := x + «1¦2») > 0: return y\n"),
    Pair("walrus in a comprehension", "change", "def step(x): return [y := n + «1¦2» for n in (1, 2)], y\n"),
    Pair(
        "generator",
        "change",
        "def each(n):\n    yield n\n    yield «1¦2»\ndef step(x): return list(each(x))\n",
    ),
    Pair(
        "yield from",
        "change",
        "def inner(): yield «1¦2»\ndef outer(): yield from inner()\ndef step(x): return list(outer())\n",
    ),
    Pair(
        "async helper",
        "change",
        "import asyncio\nasync def helper(x): return x + «1¦2»\ndef step(x): return asyncio.run(helper(x))\n",
    ),
    Pair(
        "async generator and its consumer",
        "change",
        """\
import asyncio
async def each():
    yield «1¦2»
async def total(): return [n async for n in each()]
def step(x): return asyncio.run(total())
""",
    ),
    Pair(
        "nested function", "change", "def step(x):\n    def inner(): return x + «1¦2»\n    return inner()\n"
    ),
    Pair(
        "class inside a function",
        "change",
        "def step(x):\n    class A:\n        def m(self): return «1¦2»\n    return A().m()\n",
    ),
    Pair(
        "lambda in a dict",
        "change",
        'OPS = {"a": lambda x: x + 1, "b": lambda x: x + «2¦3»}\ndef step(x): return OPS["b"](x)\n',
    ),
    Pair(
        "lambdas made by a comprehension",
        "change",
        "ALL = [lambda x, k=k: x + k for k in (1, «2¦3»)]\ndef step(x): return [f(x) for f in ALL]\n",
    ),
    Pair(
        "two lambdas of one line swapped",
        "change",
        "a, b = «lambda: 1¦lambda: 2», «lambda: 2¦lambda: 1»\ndef step(x): return a(), b()\n",
    ),
    Pair(
        "format specification",
        "change",
        'def step(x): return f"{x:>«5¦6»}"\n',
    ),
    Pair("conversion in an f-string", "change", "def step(x): return f\"{'a'«¦!r»}\"\n"),
    Pair("type of a number", "change", "K = «1¦1.0»\ndef step(x): return [K]\n"),
    Pair("True and 1", "change", "K = {'a': «True¦1»}\ndef step(x): return [K]\n"),
    Pair("sign of zero", "change", "K = «0.0¦-0.0»\ndef step(x): return str(K)\n"),
    Pair("text and bytes", "change", "def step(x): return «''¦b''»\n"),
    Pair("list and tuple in a global", "change", "K = «[1]¦(1,)»\ndef step(x): return K\n"),
    Pair(
        "set and frozenset in a global", "change", "K = «{1}¦frozenset({1})»\ndef step(x): return repr(K)\n"
    ),
    Pair(
        "keyword-only default",
        "change",
        "def helper(x, *, k=«1¦2»): return x + k\ndef step(x): return helper(x)\n",
    ),
    Pair(
        "default that is an object",
        "change",
        """\
class A:
    def __init__(self, k): self.k = k
def helper(x, a=A(«1¦2»)): return x + a.k
def step(x): return helper(x)
""",
    ),
    Pair(
        "default that reads a global",
        "change",
        "K = «1¦2»\ndef helper(x, k=K): return x + k\nK = 0\ndef step(x): return helper(x)\n",
    ),
    Pair(
        "global that the step rebinds",
        "change",
        "K = «1¦2»\ndef step(x):\n    global K\n    K = K + 1\n    return K\n",
    ),
    Pair(
        "global that an imported function rebinds",
        "change",
        "K = 0\ndef set_up():\n    global K\n    K = «1¦2»\nset_up()\ndef step(x): return K\n",
    ),
    Pair(
        "assert that fails",
        "change",
        "def step(x):\n    try:\n        assert x «>¦<» 1\n    except AssertionError: return 1\n",
    ),
    Pair(
        "message of an assert",
        "change",
        "def step(x):\n    try:\n        assert not x, «1¦2»\n    except AssertionError as e: return str(e)\n",
    ),
    Pair(
        "annotation that is read",
        "change",
        "def helper(x: «int¦str»): return x\ndef step(x): return str(helper.__annotations__)\n",
    ),
    Pair(
        "annotation resolved by its name",
        "change",
        """\
import typing
class Config:
    k = «1¦2»
def helper(x: "Config"): return x
def step(x): return typing.get_type_hints(helper)["x"].k
""",
    ),
    Pair(
        "annotation of a class's field, in quotes",
        "change",
        """\
import typing
class Config:
    k = «1¦2»
class Holder:
    config: "typing.Optional[Config]" = None
def step(x): return typing.get_args(typing.get_type_hints(Holder)["config"])[0].k
""",
    ),
    Pair(
        "generic function",
        "change",
        "def helper[T](x: T) -> T: return x + «1¦2»\ndef step(x): return helper(x)\n",
        since=(3, 12),
    ),
    Pair(
        "generic class",
        "change",
        "class A[T]:\n    def m(self, x: T) -> T: return x + «1¦2»\ndef step(x): return A().m(x)\n",
        since=(3, 12),
    ),
    Pair(
        "bound of a type parameter that is read",
        "change",
        "def helper[T: «int¦str»](x: T) -> T: return x\ndef step(x): return str(helper.__type_params__[0].__bound__)\n",
        since=(3, 12),
    ),
    Pair(
        "type alias",
        "change",
        "type Pair = «int¦str»\ndef step(x): return str(Pair.__value__)\n",
        since=(3, 12),
    ),
    Pair(
        "star in an except",
        "change",
        """\
def step(x):
    try:
        raise ExceptionGroup("", [ValueError(), TypeError()])
    except* ValueError: y = 1
    except* TypeError: y = «2¦3»
    return y
""",
    ),
    Pair(
        "default in the signature that is read",
        "change",
        """\
import inspect
def helper(x, k=«1¦2»): return x
def step(x): return str(inspect.signature(helper))
""",
    ),
    Pair(
        "name of a parameter that is passed by keyword",
        "change",
        "def helper(**kw): return sorted(kw)\ndef step(x): return helper(«a¦b»=1)\n",
    ),
    # ── modules and imports ──────────────────────────────────────────────────────────────────────
    Pair(
        "which of two star imports comes last",
        "change",
        {
            "pipe.py": "from «a¦b» import *\nfrom «b¦a» import *\ndef step(x): return f(x)\n",
            "a.py": "def f(x): return 1\n",
            "b.py": "def f(x): return 2\n",
        },
    ),
    Pair(
        "__all__ of a module that is imported by star",
        "change",
        {
            "pipe.py": "def f(x): return 0\nfrom a import *\ndef step(x): return f(x)\n",
            "a.py": "__all__ = [«¦'f'»]\ndef f(x): return 1\n",
        },
    ),
    Pair(
        "relative import",
        "change",
        {
            "pipe.py": "from pkg.a import f\ndef step(x): return f(x)\n",
            "pkg/__init__.py": "",
            "pkg/a.py": "from .b import g\nfrom . import c\ndef f(x): return g(x) + c.K\n",
            "pkg/b.py": "def g(x): return x\n",
            "pkg/c.py": "K = «1¦2»\n",
        },
    ),
    Pair(
        "attribute of a package",
        "change",
        {
            "pipe.py": "import pkg.sub.deep\ndef step(x): return pkg.sub.deep.f(x)\n",
            "pkg/__init__.py": "",
            "pkg/sub/__init__.py": "",
            "pkg/sub/deep.py": "def f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "relative import inside a method",
        "change",
        {
            "pipe.py": "from pkg.a import A\ndef step(x): return A().m(x)\n",
            "pkg/__init__.py": "",
            "pkg/a.py": "class A:\n    def m(self, x):\n        from .b import g\n        return g(x)\n",
            "pkg/b.py": "def g(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "import inside a nested function",
        "change",
        {
            "pipe.py": "def step(x):\n    def inner():\n        import late\n        return late.f(x)\n    return inner()\n",
            "late.py": "def f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "import inside a lambda's callee, of a package's own file",
        "change",
        {
            "pipe.py": "def late():\n    import pkg\n    return pkg.K\nf = lambda: late()\ndef step(x): return f()\n",
            "pkg/__init__.py": "K = «1¦2»\n",
        },
    ),
    Pair(
        "star import inside what is imported late",
        "change",
        {
            "pipe.py": "def step(x):\n    import late\n    return late.f(x)\n",
            "late.py": "from deeper import *\n",
            "deeper.py": "def f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "a module that was not there",
        "change",
        {
            "pipe.py": "try:\n    from «absent_one¦fast» import f\nexcept ImportError:\n    def f(x): return x\ndef step(x): return f(x)\n",
            "fast.py": "def f(x): return x + 1\n",
        },
    ),
    Pair(
        "alternative in an except",
        "change",
        "try:\n    from absent_one import f\nexcept ImportError:\n    def f(x): return x + «1¦2»\ndef step(x): return f(x)\n",
    ),
    Pair(
        "registry that plug-ins fill as they are imported",
        "change",
        {
            "pipe.py": "from registry import KNOWN\nimport plugin\ndef step(x): return KNOWN['a'](x)\n",
            "registry.py": "KNOWN = {}\ndef register(name):\n    return lambda f: KNOWN.setdefault(name, f)\n",
            "plugin.py": "from registry import register\n@register('a')\ndef f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "name under which a plug-in registers",
        "change",
        {
            "pipe.py": "from registry import KNOWN\nimport plugin\ndef step(x): return list(KNOWN)\n",
            "registry.py": "KNOWN = {}\ndef register(name):\n    return lambda f: KNOWN.setdefault(name, f)\n",
            "plugin.py": "from registry import register\n@register('«a¦b»')\ndef f(x): return x\n",
        },
    ),
    Pair(
        "__getattr__ of a module",
        "change",
        {
            "pipe.py": "import late\ndef step(x): return late.anything + x\n",
            "late.py": "def __getattr__(name):\n    if name == 'anything': return «1¦2»\n    raise AttributeError(name)\n",
        },
    ),
    Pair(
        "from-import through __getattr__ of a module",
        "change",
        {
            "pipe.py": "from late import anything\ndef step(x): return anything(x)\n",
            "late.py": "def __getattr__(name):\n    if name != 'anything': raise AttributeError(name)\n    import deep\n    return deep.f\n",
            "deep.py": "def f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "lazy package: __getattr__ imports",
        "change",
        {
            "pipe.py": "import pkg\ndef step(x): return pkg.deep.f(x)\n",
            "pkg/__init__.py": "import importlib\ndef __getattr__(name):\n    return importlib.import_module('pkg.' + name)\n",
            "pkg/deep.py": "def f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "order in which two modules with effects are imported",
        "change",
        {
            "pipe.py": "import state\nimport «a¦b»\nimport «b¦a»\ndef step(x):\n    import random\n    return random.Random(state.get()).random()\n",
            "state.py": "_found = iter(())\ndef put(k):\n    global _found\n    _found = iter((k,))\ndef get(): return next(_found)\n",
            "a.py": "import state\nstate.put(1)\n",
            "b.py": "import state\nstate.put(2)\n",
        },
    ),
    Pair(
        "place of an effect between imports",
        "change",
        {
            "pipe.py": "import random\n«random.seed(1)\n¦»import a\n«¦random.seed(1)\n»def step(x): return random.random()\n",
            "a.py": "import random\nrandom.seed(2)\n",
        },
    ),
    Pair(
        "effect in a statement that binds a name",
        "change",
        "import random\n_ = random.seed(«1¦2»)\ndef step(x): return random.random()\n",
    ),
    Pair(
        "builtin replaced at import",
        "change",
        "import builtins\nbuiltins.ascii = lambda x: «1¦2»\ndef step(x): return ascii(x)\n",
    ),
    Pair(
        "function of Python's replaced at import",
        "change",
        "import textwrap\ntextwrap.dedent = lambda x: «1¦2»\ndef step(x): return textwrap.dedent(x)\n",
    ),
    Pair(
        "environment set at import",
        "change",
        'import os\nos.environ["SOME_NAME"] = "«1¦2»"\ndef step(x): return os.environ["SOME_NAME"]\n',
    ),
    Pair(
        "effect deep in a package that is imported for it",
        "change",
        {
            "pipe.py": "import pkg.setup\ndef step(x):\n    import random\n    return random.random()\n",
            "pkg/__init__.py": "import random\nrandom.seed(«1¦2»)\n",
            "pkg/setup.py": "",
        },
    ),
    Pair(
        "with at import",
        "change",
        {
            "pipe.py": "import os\nwith open(os.path.join(os.path.dirname(__file__), 'k.txt')) as f:\n    K = int(f.read())\ndef step(x): return K + x\n",
            "k.txt": "«1¦2»",
        },
    ),
    Pair(
        "data file read at import",
        "change",
        {
            "pipe.py": "import json, pathlib\nK = json.loads(pathlib.Path(__file__).with_name('k.json').read_text())\ndef step(x): return K['a'][0] + x\n",
            "k.json": '{"a": [«1¦2»]}',
        },
    ),
    Pair(
        "data file that an object of a class holds",
        "change",
        {
            "pipe.py": "import pathlib\nclass Rules:\n    def __init__(self, text): self.text = text\nRULES = Rules(pathlib.Path(__file__).with_name('k.txt').read_text())\ndef step(x): return RULES.text\n",
            "k.txt": "«1¦2»",
        },
    ),
    Pair(
        "what exec made at import",
        "change",
        "exec('def f(x): return x + «1¦2»')\ndef step(x): return f(x)\n",
    ),
    Pair(
        "what exec made at import in a module, from a file",
        "change",
        {
            "pipe.py": "import loader\ndef step(x): return loader.f(x)\n",
            "loader.py": "import os\nexec(compile(open(os.path.join(os.path.dirname(__file__), 'f.txt')).read(), 'f.txt', 'exec'))\n",
            "f.txt": "def f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "package beside the project, installed in place",
        "change",
        {
            "pipe.py": "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), 'beside'))\nfrom beside_one import f\ndef step(x): return f(x)\n",
            "../beside/beside_one/__init__.py": "from .inner import f\n",
            "../beside/beside_one/inner.py": "def f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "module with a computed name in a table",
        "change",
        {
            "pipe.py": "import a, b\nBY_NAME = {m.__name__: m for m in (a, b)}\ndef step(x): return BY_NAME['b'].f(x)\n",
            "a.py": "def f(x): return 0\n",
            "b.py": "def f(x): return x + «1¦2»\n",
        },
        widens="uses the module a as a value",
    ),
    # ── what is chosen at run time ───────────────────────────────────────────────────────────────
    Pair(
        "exec of a text in the step",
        "change",
        "def hidden(): return «1¦2»\ndef step(x):\n    found = {}\n    exec('y = hid' + 'den()', globals(), found)\n    return found['y']\n",
        widens="uses exec",
    ),
    Pair(
        "name looked up in sys.modules",
        "change",
        {
            "pipe.py": "import sys, a\ndef step(x): return getattr(sys.modules['a'], 'f')(x)\n",
            "a.py": "def f(x): return x + «1¦2»\n",
        },
        widens="uses sys.modules",
    ),
    Pair(
        "vars of a module",
        "change",
        {
            "pipe.py": "import a\ndef step(x): return vars(a)['f'](x)\n",
            "a.py": "def f(x): return x + «1¦2»\n",
        },
        widens="uses vars",
    ),
    Pair(
        "__dict__ of a module",
        "change",
        {
            "pipe.py": "import a\ndef step(x): return a.__dict__['f'](x)\n",
            "a.py": "def f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "__dict__ of an imported package's module, by a name of its own",
        "change",
        {
            "pipe.py": "from a import __dict__ as everything\ndef step(x): return everything['f'](x)\n",
            "a.py": "def f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "__globals__ of a function",
        "change",
        {
            "pipe.py": "from a import g\ndef step(x): return g.__globals__['f'](x)\n",
            "a.py": "def g(): pass\ndef f(x): return x + «1¦2»\n",
        },
        widens="uses __globals__",
    ),
    Pair(
        "computed getattr on an object",
        "change",
        {
            "pipe.py": "import a\none = a.A()\ndef step(x): return getattr(one, 'm' + str(x))()\n",
            "a.py": "class A:\n    def m3(self): return «1¦2»\n",
        },
        widens="uses getattr",
    ),
    Pair(
        "computed getattr by another name",
        "change",
        {
            "pipe.py": "import a\nfetch = getattr\ndef step(x): return fetch(a, 'f')(x)\n",
            "a.py": "def f(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "getattr handed to map",
        "change",
        {
            "pipe.py": "import lib\nHOLD = [lib.A]\ndef step(x): return list(map(getattr, HOLD, ['k']))\n",
            "lib.py": "class A: pass\nA.k = «1¦2»\n",
        },
    ),
    Pair(
        "attrgetter with a computed path",
        "change",
        {
            "pipe.py": "import a, operator\ndef step(x): return operator.attrgetter('f' + '')(a)(x)\n",
            "a.py": "def f(x): return x + «1¦2»\n",
        },
        widens="uses attrgetter",
    ),
    Pair(
        "import by a computed name",
        "change",
        {
            "pipe.py": "import importlib\ndef step(x): return importlib.import_module('ho' + 'p').f(x)\n",
            "hop.py": "import far\ndef f(x): return far.f(x)\n",
            "far.py": "def f(x): return x + «1¦2»\n",
        },
        widens="uses import_module",
    ),
    Pair(
        "plug-in of a package that an entry point names",
        "change",
        {
            **_DEPENDENCY,
            "pipe.py": """\
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "site-packages"))
from importlib.metadata import entry_points
def step(x):
    (one,) = entry_points(group="things")
    return one.load()(x), one.dist.version
""",
            "site-packages/needed-1.0.dist-info/METADATA": "Name: needed\nVersion: «1.0¦1.1»\n",
            "site-packages/needed-1.0.dist-info/entry_points.txt": "[things]\na = needed:g\n",
        },
        widens="uses entry_points",
    ),
    Pair(
        "distribution that only a file behind a dynamic construct imports",
        "change",
        {
            **_DEPENDENCY,
            "pipe.py": """\
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "site-packages"))
def step(x): return eval("__import__('hidden').f(x)")
""",
            "hidden.py": "import needed\nfrom importlib import metadata\ndef f(x): return metadata.version('needed')\n",
            "site-packages/needed-1.0.dist-info/METADATA": "Name: needed\nVersion: «1.0¦1.1»\n",
        },
        widens="uses eval",
    ),
    Pair(
        "docstring read by inspect",
        "change",
        "import inspect\ndef helper():\n    '«one¦two»'\ndef step(x): return inspect.getdoc(helper)\n",
    ),
    Pair(
        "docstring of the module",
        "change",
        "'''«one¦two»'''\ndef step(x): return __doc__\n",
    ),
    Pair(
        "source read by inspect",
        "change",
        "import inspect\ndef helper():\n    return 1  # «one¦two»\ndef step(x): return inspect.getsource(helper)\n",
    ),
    Pair(
        "line that a function stands on",
        "change",
        "«¦\n\n»def helper(): pass\ndef step(x): return helper.__code__.co_firstlineno\n",
    ),
    Pair(
        "body of a caller's frame",
        "change",
        "import sys\nHIDDEN = «1¦2»\ndef helper(): return sys._getframe(1).f_globals['HID' + 'DEN']\ndef step(x): return helper()\n",
        widens="uses _getframe",
    ),
    # ── other people's code ──────────────────────────────────────────────────────────────────────
    Pair(
        "version of a dependency",
        "change",
        {
            **_DEPENDENCY,
            "pipe.py": _DEPENDENCY["pipe.py"].replace("dependency.f(x)", "dependency.K"),
            "site-packages/dependency/__init__.py": "K = '«1.0¦1.1»'\n",
            "site-packages/dependency-1.0.dist-info/METADATA": "Name: dependency\nVersion: «1.0¦1.1»\n",
        },
    ),
    Pair(
        "version of what a dependency requires",
        "change",
        {
            **_DEPENDENCY,
            "site-packages/needed/__init__.py": "def g(x): return x + «1¦2»\n",
            "site-packages/needed-1.0.dist-info/METADATA": "Name: needed\nVersion: «1.0¦1.1»\n",
        },
    ),
    Pair(
        "function of Python's in a table",
        "change",
        "import math\nOPS = {'a': math.«sin¦cos»}\ndef step(x): return OPS['a'](x)\n",
    ),
    Pair(
        "operator handed to reduce",
        "change",
        "import functools, operator\ndef step(x): return functools.reduce(operator.«add¦mul», [1, 2, x + 1])\n",
    ),
    Pair(
        "pattern in a global",
        "change",
        "import re\nP = re.compile('a«+¦*»')\ndef step(x): return bool(P.match('b'))\n",
    ),
    Pair(
        "flags of a pattern",
        "change",
        "import re\nP = re.compile('a'«¦, re.I»)\ndef step(x): return bool(P.match('A'))\n",
    ),
    Pair(
        "key of itemgetter",
        "change",
        "import operator\nf = operator.itemgetter(«0¦1»)\ndef step(x): return f((1, 2))\n",
    ),
    Pair(
        "object of Python's that has no form, by its statement",
        "change",
        "import string\nT = string.Template('«a¦b» $x')\ndef step(x): return T.substitute(x=x)\n",
    ),
    Pair(
        "object without a form that another module makes from a constant",
        "change",
        {
            "pipe.py": "from made import T\ndef step(x): return T.substitute(x=x)\n",
            "made.py": "import string\nfrom texts import TEXT\nT = string.Template(TEXT)\n",
            "texts.py": "TEXT = '«a¦b» $x'\n",
        },
    ),
)

SAME = (
    Pair("comment", "same", "def step(x): return x  # «one¦two»\n"),
    Pair(
        "continued line and semicolon",
        "same",
        "def step(x):\n    y = x «+ 1¦\\\n        + 1»«\n    ¦; »return y\n",
    ),
    Pair("tabs for spaces", "same", "def step(x):\n«    ¦\t»return x\n"),
    Pair("brackets and trailing comma", "same", "def step(x): return «x, 1¦(x, 1,)»\n"),
    Pair("underscores in a number", "same", "def step(x): return «1000¦1_000»\n"),
    Pair("hexadecimal", "same", "def step(x): return «16¦0x10»\n"),
    Pair("escape in a text", "same", 'def step(x): return "«\\x41¦A»"\n'),
    Pair("raw text", "same", "def step(x): return «'\\\\d'¦r'\\d'»\n"),
    Pair("three quotes", "same", "def step(x): return «'a'¦'''a'''»\n"),
    Pair("pieces of an f-string", "same", 'def step(x): return «f"{x} a"¦f"{x}" " " "a"»\n'),
    Pair("cut of an f-string", "same", 'def step(x): return «f"a{x}b"¦"a" f"{x}" f"b"»\n'),
    Pair("encoding that is the default", "same", "«¦# -*- coding: utf-8 -*-\n»def step(x): return x\n"),
    Pair("exponent", "same", "def step(x): return «1e3¦1000.0»\n"),
    Pair(
        "else and if for elif",
        "same",
        "def step(x):\n    if x: return 1\n    «elif x > 1: return 2¦else:\n        if x > 1: return 2»\n",
    ),
    Pair("global by another expression", "same", "DAY = «86400¦24 * 60 * 60»\ndef step(x): return x * DAY\n"),
    Pair(
        "global by other code", "same", "ALL = «[1, 2]¦[n + 1 for n in range(2)]»\ndef step(x): return ALL\n"
    ),
    Pair(
        "global that moves to another module",
        "same",
        {
            "pipe.py": "«K = 1¦from consts import K»\ndef step(x): return K + x\n",
            "consts.py": "K = 1\n",
        },
    ),
    Pair(
        "docstring of a class and a method",
        "same",
        'class A:\n    "«one¦two»"\n    def m(self):\n        "«one¦two»"\n        return 1\ndef step(x): return A().m()\n',
    ),
    Pair(
        "docstring that only uncovered code reads",
        "same",
        'def helper():\n    "«one¦two»"\ndef usage(): return helper.__doc__\ndef step(x): return helper()\n',
    ),
    Pair(
        "method of a class that is not reached",
        "same",
        "class A:\n    def m(self): return «1¦2»\ndef step(x): return x\n",
    ),
    Pair(
        "what a script does when it is run",
        "same",
        "def step(x): return x\nif __name__ == '__main__':\n    print(step(«1¦2»))\n",
    ),
    Pair(
        "imports for the type checker",
        "same",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import «json¦decimal»\ndef step(x): return x\n",
    ),
    Pair(
        "stub",
        "same",
        {
            "pipe.py": "from a import f\ndef step(x): return f(x)\n",
            "a.py": "def f(x): return x\n",
            "a.pyi": "def f(x: «int¦float»): ...\n",
        },
    ),
    Pair(
        "file that nothing imports", "same", {"pipe.py": "def step(x): return x\n", "other.py": "K = «1¦2»\n"}
    ),
    Pair(
        "test of the project",
        "same",
        {
            "pipe.py": "def step(x): return x\n",
            "tests/test_pipe.py": "from pipe import step\ndef test_it(): assert step(«1¦2»)\n",
        },
    ),
    Pair(
        "notes and settings beside the code",
        "same",
        {"pipe.py": "def step(x): return x\n", "README.md": "«one¦two»", "settings.toml": "k = «1¦2»"},
    ),
    Pair(
        "module that is imported for other names",
        "same",
        {
            "pipe.py": "from a import f\ndef step(x): return f(x)\n",
            "a.py": "from b import g, h\ndef f(x): return g(x)\ndef other(x): return h(x)\n",
            "b.py": "def g(x): return x\ndef h(x): return x + «1¦2»\n",
        },
    ),
    Pair(
        "entry of a table that another function reads",
        "same",
        "A = {'a': 1}\nB = {'b': «1¦2»}\ndef other(): return B\ndef step(x): return A['a']\n",
    ),
    Pair(
        "attribute of a module that is read beside others",
        "same",
        {
            "pipe.py": "import consts\ndef step(x): return consts.A\n",
            "consts.py": "A = 1\nB = «1¦2»\n",
        },
    ),
    Pair(
        "alias of an import",
        "same",
        {
            "pipe.py": "«import consts as c¦import consts as c, consts as d»\ndef step(x): return c.A\n",
            "consts.py": "A = 1\n",
        },
    ),
    Pair(
        "path that an import takes to one function",
        "same",
        {
            "pipe.py": "from «a¦b» import f\ndef step(x): return f(x)\n",
            "a.py": "from b import f\n",
            "b.py": "def f(x): return x\n",
        },
    ),
    Pair(
        "order of definitions",
        "same",
        "«def one(): return 1\n¦»def two(): return 2\n«¦def one(): return 1\n»def step(x): return one() + two()\n",
    ),
    Pair(
        "order of imports without effects",
        "same",
        {
            "pipe.py": "import «a¦b»\nimport «b¦a»\ndef step(x): return a.K + b.K\n",
            "a.py": "K = 1\n",
            "b.py": "K = 2\n",
        },
    ),
    Pair(
        "hidden and generated folders behind a dynamic construct",
        "same",
        {
            "pipe.py": "def step(x): return eval('x')\n",
            ".cache/a.py": "K = «1¦2»\n",
            "node_modules/a.py": "K = «1¦2»\n",
            "env/pyvenv.cfg": "",
            "env/a.py": "K = «1¦2»\n",
        },
    ),
    Pair(
        "version of a dependency that covered code does not import",
        "same",
        {
            **_DEPENDENCY,
            "pipe.py": "def step(x): return x\n",
            "site-packages/dependency-1.0.dist-info/METADATA": "Name: dependency\nVersion: «1.0¦1.1»\n",
        },
    ),
    Pair(
        "order of a set in a global",
        "same",
        "K = {«'a', 'b', 'c'¦'c', 'b', 'a'»}\ndef step(x): return sorted(K)\n",
    ),
    Pair(
        "name of the module of types in an annotation that is not covered",
        "same",
        "def other(x: «int¦str»): return x\ndef step(x): return x\n",
    ),
    Pair(
        "line ends of a file",
        "same",
        {
            "pipe.py": "from a import f\ndef step(x): return f(x)\n",
            "a.py": "def f(x):«\n¦\r\n»    return x\n",
        },
    ),
    Pair(
        "lines that move a covered function down",
        "same",
        "«¦\n\nUNUSED = 1\n\n»def helper(): return 1\ndef step(x): return helper()\n",
    ),
    Pair("type: ignore", "same", "def step(x): return x«¦  # type: ignore[no-any-return]»\n"),
)

MAY = (
    Pair("name of a local variable", "may", "def step(x):\n    «y¦z» = x\n    return «y¦z»\n"),
    Pair("name of a helper", "may", "def «one¦two»(): return 1\ndef step(x): return «one¦two»()\n"),
    Pair(
        "order of two methods",
        "may",
        "class A:\n    «def a(self): return 1\n    ¦»def b(self): return 2\n    «¦def a(self): return 1\n»\ndef step(x): return A().a()\n",
    ),
    Pair(
        "method that is not called, of a class that is",
        "may",
        "class A:\n    def a(self): return 1\n    def b(self): return «1¦2»\ndef step(x): return A().a()\n",
    ),
    Pair(
        "annotation that is not read",
        "may",
        "def helper(x: «int¦float»): return x\ndef step(x): return helper(x)\n",
    ),
    Pair("annotation of a local variable", "may", "def step(x):\n    y: «int¦float» = x\n    return y\n"),
    Pair("folded constant in a body", "may", "def step(x): return x + «60 * 60¦3600»\n"),
    Pair("branch that is never taken", "may", "def step(x):\n    if False: return «1¦2»\n    return x\n"),
    Pair("pass", "may", "def step(x):\n    «¦pass\n    »return x\n"),
    Pair("% for an f-string", "may", "def step(x): return «'%s' % x¦f'{x}'»\n"),
    Pair(
        "size of a cache",
        "may",
        "from functools import lru_cache\n@lru_cache(maxsize=«1¦2»)\ndef f(x): return x\ndef step(x): return f(x)\n",
    ),
    Pair(
        "message of a log",
        "may",
        "import logging\nlog = logging.getLogger('a')\ndef step(x):\n    log.info('«one¦two»')\n    return x\n",
    ),
    Pair("unused import", "may", "«¦import decimal\n»def step(x): return x\n"),
    Pair(
        "effect that nothing covered can see",
        "may",
        {
            "pipe.py": "import a\ndef step(x): return x\n",
            "a.py": "SEEN = []\nSEEN.append(«1¦2»)\nprint(end='')\n",
        },
    ),
    Pair(
        "what is done at the end of the process",
        "may",
        "import atexit\natexit.register(lambda: «1¦2»)\ndef step(x): return x\n",
    ),
    Pair(
        "generic syntax for a function",
        "may",
        "def f«¦[T]»(x): return x\ndef step(x): return f(x)\n",
        since=(3, 12),
    ),
)

# Undecidable, or left undecided: each is named in docs/code-identity.md.
HOLES = (
    Pair(
        "what a function does besides, where a statement at import binds what it answers",
        "hole",
        {
            "pipe.py": "import random\ndef set_up():\n    random.seed(«1¦2»)\n    return 1\nREADY = set_up()\ndef step(x): return random.random()\n",
        },
        says="inside a statement that binds a name",
    ),
    Pair(
        "data file behind an object that has no form",
        "hole",
        {
            "pipe.py": "import pathlib, string\nT = string.Template(pathlib.Path(__file__).with_name('k.txt').read_text())\ndef step(x): return T.template\n",
            "k.txt": "«1¦2»",
        },
        says="a file that such a statement reads",
    ),
    Pair(
        "bytes at a path that a global names",
        "hole",
        {
            "pipe.py": "import pathlib\nP = pathlib.Path(__file__).with_name('k.txt')\ndef step(x): return P.read_text()\n",
            "k.txt": "«1¦2»",
        },
        says="The bytes of a file that a global `Path` names",
    ),
    Pair(
        "class that only unpickling brings in",
        "hole",
        {
            "pipe.py": "import pickle\ndef step(x): return pickle.loads(b'cshapes\\nA\\n)R.').m()\n",
            "shapes.py": "class A:\n    def m(self): return «1¦2»\n",
        },
        says="only unpickling brings in",
    ),
    Pair(
        "file of a dependency that was edited in place",
        "hole",
        {**_DEPENDENCY, "site-packages/needed/__init__.py": "def g(x): return x + «1¦2»\n"},
        says="A file of an installed package that was edited in place",
    ),
    Pair(
        "file read when the step runs",
        "hole",
        {
            "pipe.py": "import os\ndef step(x): return open(os.path.join(os.path.dirname(__file__), 'k.txt')).read()\n",
            "k.txt": "«1¦2»",
        },
        says="Files, environment variables and the network",
    ),
)

# ── a literal in the statement that binds a value, wherever the value lies ──────────────────────────────
_MODULES = "import array, collections, datetime, decimal, fractions, functools, itertools, io, pathlib, random, threading, types, uuid"
_OBJECTS = {
    "subclass of deque": "class D(collections.deque): pass\n|D([#])|list(v)",
    "length of a subclass of deque": "class D(collections.deque): pass\n|D([], maxlen=#)|v.maxlen",
    "deque that keeps only so many": "|collections.deque([], maxlen=#)|v.maxlen",
    "subclass of Exception": "class D(Exception): pass\n|D(#)|v.args",
    "subclass of OSError": "class D(OSError): pass\n|D(#, 'no')|v.errno",
    "exception": "|ValueError(#)|v.args",
    "subclass of Decimal": "class D(decimal.Decimal): pass\n|D(#)|str(v)",
    "subclass of date": "class D(datetime.date): pass\n|D(2020, 1, #)|v.day",
    "subclass of datetime": "class D(datetime.datetime): pass\n|D(2020, 1, #)|v.day",
    "subclass of time": "class D(datetime.time): pass\n|D(#)|v.hour",
    "subclass of timedelta": "class D(datetime.timedelta): pass\n|D(#)|v.days",
    "datetime in a zone of the project's": "class Z(datetime.tzinfo):\n    def __init__(self, n): self.n = n\n    def utcoffset(self, when): return datetime.timedelta(hours=self.n)\n    def __repr__(self): return 'Z'\n|datetime.datetime(2020, 1, 1, tzinfo=Z(#))|str(v)",
    "subclass of complex": "class D(complex): pass\n|D(#)|v.real",
    "subclass of bytearray": "class D(bytearray): pass\n|D([#])|v[0]",
    "subclass of array": "class D(array.array): pass\n|D('i', [#])|v[0]",
    "subclass of itertools.count": "class D(itertools.count): pass\n|D(#)|repr(v)",
    "subclass of Counter": "class D(collections.Counter): pass\n|D(a=#)|v['a']",
    "subclass of OrderedDict": "class D(collections.OrderedDict): pass\n|D(a=#)|v['a']",
    "factory of a subclass of defaultdict": "class D(collections.defaultdict): pass\n|D(lambda: #)|v.default_factory()",
    "subclass of ChainMap": "class D(collections.ChainMap): pass\n|D({'a': #})|v['a']",
    "subclass of UserDict": "class D(collections.UserDict): pass\n|D({'a': #})|v['a']",
    "subclass of SimpleNamespace": "class D(types.SimpleNamespace): pass\n|D(a=#)|v.a",
    "subclass of Fraction": "class D(fractions.Fraction): pass\n|D(#)|int(v)",
    "subclass of Random": "class D(random.Random): pass\n|D(#)|random.Random.getstate(v)[1][1]",
    "subclass of StringIO": "class D(io.StringIO): pass\n|D('#')|v.getvalue()",
    "subclass of a path": "class D(type(pathlib.PurePath())): pass\n|D('#')|str(v)",
    "subclass of partial": "class D(functools.partial): pass\n|D(int, #)|v()",
    "class above a subclass of tuple": "class A:\n    K = #\nclass D(A, tuple): pass\n|D()|v.K",
    "bytearray": "|bytearray([#])|v[0]",
    "array": "|array.array('i', [#])|v[0]",
    "memoryview": "|memoryview(bytes([#]))|v[0]",
    "ChainMap": "|collections.ChainMap({'a': #})|v['a']",
    "wrapper that holds something": "class W:\n    def __init__(self, f, n):\n        self.n = n\n        functools.update_wrapper(self, f)\ndef inner(): return 1\n|W(inner, #)|v.n",
    "wrapper with slots": "class W:\n    __slots__ = ('n', '__wrapped__')\n    def __init__(self, f, n):\n        self.n = n\n        self.__wrapped__ = f\ndef inner(): return 1\n|W(inner, #)|v.n",
    "function with an attribute": "def give(f, n):\n    f.n = n\n    return f\n|give(lambda: 1, #)|v.n",
    "partial with an attribute": "def give(f, n):\n    f.n = n\n    return f\n|give(functools.partial(int), #)|v.n",
    "cached function with an attribute": "def give(f, n):\n    f.n = n\n    return f\n|give(functools.cache(int), #)|v.n",
}
# Where it lies: what binds it, and how the step comes to it.
_POSITIONS = {
    "in a global": ("V = {}\n", "V"),
    "in a table": ("V = dict(a=[{}])\n", "V['a'][0]"),
    "in an attribute": ("class Holder: pass\nh = Holder()\nh.v = {}\n", "h.v"),
    "in a closure": ("def make(v): return lambda: v\nget = make({})\n", "get()"),
    "in a default": ("def get(v={}): return v\n", "get()"),
}
# What has no form, and can be bound where no statement stands for it: then the step has no key at all.
_FORMLESS = frozenset(
    {"subclass of OSError", "subclass of itertools.count", "subclass of Random", "subclass of StringIO"}
)


def _table() -> "list[Pair]":
    made = []
    for (kind, said), (position, (binding, access)) in itertools.product(
        _OBJECTS.items(), _POSITIONS.items()
    ):
        if kind in _FORMLESS and position in ("in a closure", "in a default"):
            continue
        before, value, read = said.split("|")
        text = (
            f"{_MODULES}\n{before}{binding.format(value)}def step(x):\n    v = {access}\n    return {read}\n"
        )
        made.append(Pair(f"{kind} {position}", "change", text.replace("#", "«1¦2»")))
    return made


BOUND = (
    *_table(),
    Pair(
        "attribute of a decorated function",
        "change",
        """\
import functools
def counted(f):
    @functools.wraps(f)
    def w(): return f() + w.bias
    w.bias = «1¦2»
    return w
@counted
def helper(): return 1
def step(x): return helper()
""",
    ),
    *(
        Pair(
            f"what a file says, {name}",
            "change",
            {
                "pipe.py": "import functools, pathlib\ndef read(): return int(pathlib.Path(__file__).with_name('n.txt').read_text())\n"
                + text,
                "n.txt": "«1¦2»",
            },
        )
        for name, text in {
            "in an attribute of a function": "def f(): return f.n\nf.n = read()\ndef step(x): return f()\n",
            "in a wrapper": "class W:\n    def __init__(self, f, n):\n        self.f, self.n = f, n\n        functools.update_wrapper(self, f)\n    def __call__(self): return self.f() + self.n\n@functools.partial(W, n=read())\ndef f(): return 1\ndef step(x): return f()\n",
            "in the attribute of what is decorated": "def counted(f):\n    @functools.wraps(f)\n    def w(): return f() + w.n\n    w.n = read()\n    return w\n@counted\ndef f(): return 1\ndef step(x): return f()\n",
            "in a docstring that is read": "def f(): 'd'\nf.__doc__ = str(read())\ndef step(x): return f.__doc__\n",
            "in the name of a function": "def f(): 'd'\nf.__name__ = str(read())\ndef step(x): return f.__name__\n",
        }.items()
    ),
)

PAIRS = (*CHANGES, *BOUND, *SAME, *MAY, *HOLES)

"""What counts as a step's code: no edit that can matter goes unseen, and as few others as can be cost a hit."""

import functools
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.core import code_corpus
from tests.core.code_corpus import EDITS, KNOWN_HOLES, PROJECT, edited
from tests.interpreters import interpreters
from whence import fingerprint
from whence.client import Client
from whence_catalog.errors import InvalidInput

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROBE = [str(REPOSITORY / "tests/core/code_corpus.py"), str(REPOSITORY / "sdk"), str(REPOSITORY / "catalog")]
Answer = Mapping[str, Any]


def job(files: Mapping[str, str], name: str = "a job", **more: object) -> dict[str, object]:
    common = {"module": "pipe", "step": "step", "environment": {}, "edited_after": {}}
    return {"name": name, "files": files, **common, **more}


def probe(jobs: Sequence[object], python: str = sys.executable, **environment: str) -> list[Answer]:
    done = subprocess.run(
        [python, "-W", "ignore", *PROBE],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def identity_of(source: str, **more: object) -> Answer:
    return probe([job({"pipe.py": source}, **more)])[0]


def rows_of(*sources: str) -> list[Mapping[str, str]]:
    return [answer["rows"] for answer in probe([job({"pipe.py": source}) for source in sources])]


@functools.cache
def answers_to_the_corpus() -> Mapping[str, tuple[Answer, Answer]]:
    jobs = [job(PROJECT, "the project")]
    for edit in EDITS:
        if edit.before:
            jobs.append(job(edited(edit.before), f"before {edit.name}"))
        files = edited([*edit.before, *edit.change])
        jobs.append(job(files, edit.name, environment=edit.environment))
    answers = iter(probe(jobs))
    base = next(answers)
    return {edit.name: (next(answers) if edit.before else base, next(answers)) for edit in EDITS}


@pytest.mark.parametrize(
    "edit", [edit for edit in EDITS if edit.expected != "may"], ids=lambda edit: edit.name
)
def test_an_edit_changes_the_identity_exactly_if_it_can_change_the_result(edit: code_corpus.Edit) -> None:
    before, after = answers_to_the_corpus()[edit.name]
    changed = [
        symbol
        for symbol in {**before["rows"], **after["rows"]}
        if before["rows"].get(symbol) != after["rows"].get(symbol)
    ]
    expected = "same" if edit.name in KNOWN_HOLES else edit.expected
    assert ("change" if changed else "same") == expected, changed


def test_every_dynamic_construct_of_the_corpus_says_why_the_project_counts() -> None:
    widened = {
        name: answer["widened"] for name, (_, answer) in answers_to_the_corpus().items() if answer["widened"]
    }
    assert widened == {
        "getattr(mod, name)()": ["pipe:step uses getattr", "pipe:step uses the module lib.util as a value"],
        "globals()[n]()": ["pipe:step uses globals"],
        "eval string": ["pipe:step uses eval"],
        "importlib computed": ["pipe:step uses import_module"],
        "__subclasses__": ["pipe:step uses __subclasses__"],
        "module as value": ["pipe:step uses the module lib.consts as a value"],
    }


GOLDEN = [
    "sha256:f26e71ad1daee553c41b58fa926313a3b1100ccf0f89a5c4ffb361f8ef022cc4",
    "sha256:cca6d2d85cdb9a2a0c6f056e004cc28a46ebba4bd22733dd46ba7a86225bb6d6",
]
SYNTAX = """
import enum, pathlib, collections, dataclasses, functools, typing
Point = collections.namedtuple("Point", "x y")
class Level(str, enum.Enum):
    LOW = "low"
class Where(pathlib.PurePosixPath): ...
class Shape(typing.NamedTuple):
    width: int = 1
@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    rate: float = 0.1
    names: tuple = ()
def step(x, *, level=Level.LOW, config=Config()):
    width, y = 5, [1, 2]
    texts = f"{x!r:>{width}}", f"{x:}", f"" f"a{x}b" "c", f"{x=}", f"{{}}", f"{x:%Y-%m}", u"u"
    nested = [lambda: item for item in y], [[f for f in g] for g in [y]], {k: v for k, v in []}
    try:
        with open(x) as a, open(x) as b: pass
    except* OSError as error:
        pass
    match x:
        case {"a": 1, **rest} if rest: return rest
        case [Point(x=0), *_] | Config(): return -0.0, 1e999, 10**5, 1j, b"\\xff", ...
    def inner(n): return inner(n - 1) if n else y
    return texts, nested, inner(2), Shape(), Where("a"), y[1:2], x[..., 1], (yield), Level("low").value
"""


def test_the_identity_is_the_same_on_every_python() -> None:
    jobs = [job(PROJECT), job(edited(EDITS[0].change)), job({"pipe.py": SYNTAX})]
    here = [answer["rows"] for answer in probe(jobs)]
    # A change of these is a miss for every step of every user: it takes a new `normal_form.DOMAIN`.
    assert [probe(jobs)[place]["digest"] for place in (0, 2)] == GOLDEN
    for python in interpreters():
        answers = probe(jobs, python)
        assert [answer["rows"] for answer in answers] == here, python
        assert [answer["interpreter_bound"] for answer in answers] == [[], [], []], python


def test_neither_the_hash_seed_nor_the_place_of_the_project_counts() -> None:
    constants = (
        PROJECT["pipe.py"]
        + "\nimport pathlib\nHERE = pathlib.Path(__file__).parent\nKINDS = {'a', 'b', 'c'}\n"
    )
    files = {
        **PROJECT,
        "pipe.py": constants.replace("y = helper(x)", "y = helper(x) + len(KINDS) + len(str(HERE))"),
    }
    answers = [probe([job(files)], PYTHONHASHSEED=seed)[0] for seed in ("1", "2", "random")]
    assert answers[0] == answers[1] == answers[2]
    assert not answers[0]["uncacheable"]


def test_a_script_and_the_module_it_is_are_one_job_with_one_identity(tmp_path: pathlib.Path) -> None:
    script = f"""{PROJECT["pipe.py"]}
def report():
    import pathlib, sys
    sys.path.append({PROBE[0].rpartition("/")[0]!r})
    import code_corpus
    loaded = code_corpus.load_fingerprint({PROBE[1]!r}, {PROBE[2]!r})
    print(code_corpus.report(loaded, step, pathlib.Path({str(tmp_path)!r})))
if __name__ == "__main__":
    report()
"""
    files = {f"jobs/{name}": text for name, text in PROJECT.items()}
    code_corpus.write(tmp_path, {**files, "jobs/pipe.py": script})
    ways = (
        ["jobs/pipe.py"],
        ["-c", "import sys; sys.path.insert(0, 'jobs'); import pipe; pipe.report()"],
        [
            "-c",
            "import sys; sys.path.insert(0, 'jobs'); import runpy; runpy.run_module('pipe', None, '__main__', True)",
        ],
    )
    runs = [
        subprocess.run([sys.executable, *way], cwd=tmp_path, capture_output=True, text=True) for way in ways
    ]
    assert [run.stderr for run in runs] == ["", "", ""]
    answers = [json.loads(run.stdout) for run in runs]
    assert answers[0] == answers[1] == answers[2]
    assert (answers[0]["job"], answers[0]["entry"]) == ("jobs.pipe.step", "jobs.pipe:step")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "import threading\ndef step(x, lock=threading.Lock()): return x",
            "pipe:step has a default for lock: _thread.lock",
        ),
        (
            "import threading\ndef make(lock):\n  def inner(x): return lock\n  return inner\n"
            "step = make(threading.Lock())",
            "pipe:make.<locals>.inner closes over lock: _thread.lock",
        ),
        (
            "def step(x): return model\nglobals()['model'] = iter([])",
            "pipe:step reads model: builtins.list_iterator",
        ),
        (
            "import functools, threading\nstep = functools.partial(print, threading.Lock())\n"
            "step.__module__, step.__qualname__ = __name__, 'step'",
            "the step: _thread.lock",
        ),
    ],
)
def test_a_value_that_nothing_stands_for_is_named(source: str, reason: str) -> None:
    assert identity_of(source)["uncacheable"] == [reason]


def test_a_sentinel_a_registry_and_a_getter_have_a_rule() -> None:
    source = """
import functools, operator
_MISSING = object()
first = operator.itemgetter(0)
class Registry(dict): ...
KNOWN = Registry(a=1)
@functools.singledispatch
def kind(x): return 0
def step(x, y=_MISSING): return first(x), KNOWN, kind(x)
"""
    answer, other = probe([job({"pipe.py": source}), job({"pipe.py": source.replace("a=1", "a=2")})])
    assert answer["uncacheable"] == []
    assert answer["rows"] != other["rows"]


def test_what_is_loaded_counts_once_the_file_was_edited() -> None:
    source = "class A:\n    def m(self): return 1\ndef helper(): return A\ndef step(x): return helper()\n"
    later = source.replace("return 1", "return 2").replace("return helper()", "return helper")
    answer = identity_of(source, edited_after={"pipe.py": later})
    assert answer["interpreter_bound"] == ["pipe:A", "pipe:A.m", "pipe:step"]
    # A comment is no edit: the file still says what runs.
    commented = identity_of(source, edited_after={"pipe.py": "# new\n" + source.replace(":\n", ":  # new\n")})
    assert commented["interpreter_bound"] == []


def test_code_without_a_file_counts_by_its_bytecode() -> None:
    made = "exec(compile('def step(x): return x + {}', '<made>', 'exec'))"
    answers = probe([job({"pipe.py": made.format(number)}) for number in (1, 1, 2)])
    assert answers[0]["interpreter_bound"] == ["pipe:step"]
    assert answers[0]["rows"] == answers[1]["rows"] != answers[2]["rows"]


def test_widening_leaves_out_what_is_not_the_projects() -> None:
    files = {
        "pipe.py": "def step(x): return eval(x)",
        "lib/other.py": "",
        "broken.py": "def",
        ".hidden/a.py": "",
        "env/pyvenv.cfg": "",
        "env/lib/a.py": "",
        "node_modules/a.py": "",
        "vendor/site-packages/a.py": "",
    }
    (answer,) = probe([job(files)])
    assert [symbol for symbol in answer["rows"] if symbol.startswith("project ")] == [
        "project broken.py",
        "project lib/other.py",
        "project pipe.py",
    ]
    assert answer["files"] == ["broken.py", "lib/other.py", "pipe.py"]


@pytest.mark.parametrize("call", ["model.eval()", "re.compile('a')", "model.modules()", "x.compile()"])
def test_methods_that_share_a_dynamic_name_do_not_widen(call: str) -> None:
    assert identity_of(f"import re\ndef step(x, model=None): return {call}")["widened"] == []


def test_an_alias_of_a_dynamic_function_widens() -> None:
    source = "from importlib import import_module as load\ndef step(x): return load(x)"
    assert identity_of(source)["widened"] == ["pipe:step uses importlib.import_module"]


def test_docstrings_count_where_covered_code_reads_one() -> None:
    source = 'def helper():\n    "{}"\ndef step(x):\n    return helper.__doc__\n'
    one, other = rows_of(source.format("one"), source.format("other"))
    assert one != other


def test_what_a_module_does_besides_binding_names_counts_wherever_it_stands() -> None:
    source = "import random\nfor number in (1, 2):\n    random.seed({})\ndef step(x): return x"
    one, other = rows_of(source.format(1), source.format(2))
    assert one != other
    condition = "import random\nif {}:\n    random.seed(1)\ndef step(x): return x"
    one, other = rows_of(condition.format("0"), condition.format("1"))
    assert one != other


def test_functions_that_call_themselves_or_each_other_end() -> None:
    source = """
def make():
    def odd(n): return n and even(n - 1)
    def even(n): return not n or odd(n - 1)
    return even
even = make()
def step(x): return even(x), step
"""
    one, other = rows_of(source, source.replace("not n or", "n == 0 or"))
    assert one != other


def test_a_sum_of_a_thousand_terms_is_no_deeper_than_the_walk() -> None:
    assert identity_of(f"def step(x): return {' + '.join(['x'] * 1500)}")["uncacheable"] == []


def test_the_classes_of_arguments_are_covered(tmp_path: pathlib.Path) -> None:
    argument = load_one("class Argument: ...", tmp_path, "argument_module")()
    function = load_one("def step(x): return x.m()", tmp_path, "step_module")
    alone = fingerprint.code_identity(function, tmp_path)
    with_it = fingerprint.code_identity(function, tmp_path, [argument])
    assert set(with_it.rows) - set(alone.rows) == {"argument_module:Argument"}
    assert with_it.digest != alone.digest


def load_one(source: str, root: pathlib.Path, name: str) -> Any:
    """The one function or class that `source` defines, loaded from a module under `root`."""
    path = root / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return next(value for key, value in vars(module).items() if not key.startswith("__"))


def test_whences_own_code_is_never_covered_and_its_decorators_say_nothing(tmp_path: pathlib.Path) -> None:
    source = """
import whence
@DECORATED
def helper(x): return x
@DECORATED
def step(x): return helper(x), whence.Dataset
"""
    variants = ("@whence.step", "@whence.step(name='other', max_age=5)")
    identities = []
    for variant in variants:
        load_one(source.replace("@DECORATED", variant), tmp_path, "decorated")
        function = sys.modules["decorated"].step
        identities.append(fingerprint.code_identity(function, tmp_path))
        assert fingerprint.job_name(function, tmp_path) == "decorated.step"
    assert identities[0].rows == identities[1].rows
    assert set(identities[0].rows) == {"decorated:helper", "decorated:step", "entry"}
    assert identities[0].uncacheable == identities[0].interpreter_bound == identities[0].widened == ()
    by_itself = fingerprint.code_identity(sys.modules["decorated"].step.__wrapped__, tmp_path)
    assert by_itself.rows == identities[0].rows


def test_third_party_code_counts_by_the_versions_of_what_it_needs(tmp_path: pathlib.Path) -> None:
    function = load_one("def step(x):\n    import pandas\n    return pandas", tmp_path, "third_party")
    identity = fingerprint.code_identity(function, tmp_path)
    assert {"distribution pandas", "distribution numpy", "distribution six"} <= set(identity.rows)
    assert "distribution pytest" not in identity.rows  # only what an extra of pandas asks for


def test_compiled_functions_count_by_name_and_version(tmp_path: pathlib.Path) -> None:
    source = """
def step(x): return KNOWN
import numpy, pandas
from sklearn.metrics import pairwise
KNOWN = {"a": numpy.add, "b": str.upper, "c": pandas._libs.lib.infer_dtype, "d": pandas.DataFrame.mean,
         "e": pairwise.cosine_similarity, "f": [].append, "g": numpy.float32(1), "h": numpy.arange(3)}
"""
    identity = fingerprint.code_identity(load_one(source, tmp_path, "compiled"), tmp_path)
    assert identity.uncacheable == identity.widened == identity.interpreter_bound == ()
    assert {"distribution pandas", "distribution numpy", "distribution scikit-learn"} <= set(identity.rows)


def test_a_package_that_is_looked_for_in_vain_counts_as_absent() -> None:
    source = "def step(x):\n    try:\n        import no_such_package\n    except ImportError: return x"
    assert "absent no_such_package" in identity_of(source)["rows"]


def test_a_job_is_named_after_its_module_and_function(tmp_path: pathlib.Path) -> None:
    (tmp_path / "src" / "package").mkdir(parents=True)
    function = load_one("def train(): ...", tmp_path, "pipeline")
    inside = load_one("def train(): ...", tmp_path / "src" / "package", "module")
    assert fingerprint.job_name(function, tmp_path) == "pipeline.train"
    assert fingerprint.job_name(inside, tmp_path) == "package.module.train"
    assert (
        fingerprint.job_name(functools.partial(functools.lru_cache(function), 1), tmp_path)
        == "pipeline.train"
    )
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def train(): ...", namespace)
    with pytest.raises(InvalidInput, match="name="):
        fingerprint.job_name(namespace["train"], tmp_path)


@pytest.mark.parametrize(
    "bind",
    ["DATA = {}", "DATA = {{'a': [{}]}}", "DATA = {{'lock': iter([]), 'a': {}}}"],
)
def test_a_handle_in_a_global_counts_by_its_content(
    client: Client, tmp_path: pathlib.Path, bind: str
) -> None:
    versions = [client.publish("dataset:d", [number]) for number in (1, 2)]
    function = load_one(f"def step(x): return DATA\nGIVEN = None\n{bind.format('GIVEN')}", tmp_path, "holder")
    identities = []
    for given in (versions[0], client.get("dataset:d@1"), versions[1]):
        exec(bind.format("GIVEN"), {"GIVEN": given}, made := {})
        function.__globals__["DATA"] = made["DATA"]
        identities.append(fingerprint.code_identity(function, tmp_path))
    assert [identity.uncacheable for identity in identities] == [()] * 3
    assert identities[0].rows == identities[1].rows != identities[2].rows


@pytest.mark.parametrize("bind", ["{}", "{{'a': {}}}", "{{'lock': iter([]), 'a': {}}}"])
def test_a_draft_in_a_global_is_named_and_leaves_no_key(tmp_path: pathlib.Path, bind: str) -> None:
    source = f"def step(x): return DATA\nimport whence\nDATA = {bind.format('whence.dataset(str(1), [])')}"
    identity = fingerprint.code_identity(load_one(source, tmp_path, "drafts"), tmp_path)
    (why,) = identity.uncacheable
    assert why.startswith("drafts:step reads DATA: <dataset:1, not recorded yet>; publish it first")


def test_a_draft_that_a_script_hands_to_its_step_is_no_part_of_the_code(tmp_path: pathlib.Path) -> None:
    source = "def step(x): return x\nimport whence\nDATA = whence.dataset('d', [])\nprint(step(DATA))"
    assert fingerprint.code_identity(load_one(source, tmp_path, "script"), tmp_path).uncacheable == ()


def test_a_matrix_is_no_array_of_the_same_numbers(tmp_path: pathlib.Path) -> None:
    source = "def step(x): return x @ DATA\nimport numpy\nDATA = numpy.eye(2)"
    function = load_one(source, tmp_path, "algebra")
    before = fingerprint.code_identity(function, tmp_path)
    function.__globals__["DATA"] = function.__globals__["DATA"].view(function.__globals__["numpy"].matrix)
    assert fingerprint.code_identity(function, tmp_path).rows != before.rows

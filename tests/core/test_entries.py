"""How the code of a Run is reached again, and what stands in the way. 3 s."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.test_bundle import Project
from whence import closures, entries, replayed
from whence_catalog import digest, model


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    made = Project(tmp_path, monkeypatch)
    yield made
    made.forget()


SCRIPT = """
import functools

def step(function):
    @functools.wraps(function)
    def run(*args):
        return function(*args)
    return run

class Config:
    size = int("3")

@step
def fit(x=max(1, 2)):
    return x

def main():
    return fit()

def load():
    return Config()

class Pipeline:
    limit = 3

    def __init__(self, name="p"):
        self.name = name

    def run(self):
        return self.all()

    def all(self):
        return fit(self.limit)

    def say(self):
        return self.name

    @classmethod
    def at_once(cls):
        return cls().run()

class Eager:
    def __init__(self):
        fit(1)

class App:
    def __init__(self):
        self.commands = []

    def command(self, function):
        self.commands.append({"callback": function})
        return function

    def __call__(self):
        return [each["callback"]() for each in self.commands]

def timed(function):
    def run():
        return function()
    return run

@timed
def timely():
    return main()

CONFIG, NAMES, PIPELINE, APP = load(), [print("loading")], Pipeline("q"), App()
later = functools.partial(main)
"""


@pytest.mark.parametrize(
    ("ending", "called"),
    [
        ("", None),
        ('if __name__ == "__main__":\n    main()\n', None),
        ("if '__main__' == __name__:\n    fit()\nelse:\n    load()\n", None),
        ("main()\n", "main()"),
        ("RESULT = [fit(1)]\n", "fit()"),
        ("with open(__file__) as f:\n    fit(f)\n", "fit()"),
        ("RESULT = list(map(fit, [1, 2]))\n", "map(fit)"),
        ("for x in range(2):\n    if x:\n        main()\n", "main()"),
        ("class Later:\n    made = main()\n", "main()"),
        ("run = lambda: main()\n", None),
        ('if __name__ != "elsewhere":\n    main()\n', "main()"),
        ('if __name__ != "__main__":\n    main()\n', "main()"),
        ('if __name__ != "__main__":\n    load()\nelse:\n    main()\n', None),
        ('if __name__ == "__main__" and load():\n    main()\n', None),
        ('if __name__ == "__main__" or load():\n    main()\n', "main()"),
        ("Pipeline().run()\n", "Pipeline().run()"),
        ("PIPELINE.run()\n", "PIPELINE.run()"),
        ("Pipeline.at_once()\n", "Pipeline.at_once()"),
        ("def go():\n    Pipeline().run()\ngo()\n", "go()"),
        ("PIPELINE.say(); str(Pipeline().name)\n", None),
        ("Eager()\n", "Eager()"),
        ("timely()\n", "timely()"),
        ("later()\n", "later()"),
        ("APP.command(main)\n", None),
        ("APP.command(main)\nAPP()\n", "APP()"),
        ("import click\nmade = click.command()(main)\n", None),
        ("import click\nmade = click.command()(main)\ndef hold():\n    made()\n", None),
        ('if __name__ in ("__main__", "__mp_main__") and not None:\n    main()\n', None),
        ('if not (__name__ == "__main__"):\n    main()\n', "main()"),
    ],
)
def test_code_whose_import_would_run_a_step_cannot_run_again(
    project: Project, ending: str, called: str | None
) -> None:
    project.write({"bscript.py": SCRIPT + ending})
    script = project.load("bscript")
    found = entries.find(script.fit, project.root, project.collect())
    assert found.rerunnable is (called is None)
    assert (
        (found.because is None) if found.rerunnable else (f"since it calls {called};" in str(found.because))
    )


def test_a_command_line_that_is_called_as_a_script_is_imported_is_found_behind_its_callbacks(
    project: Project,
) -> None:
    project.write(
        {
            "bapp.py": SCRIPT
            + "import typer\napp = typer.Typer()\nmain = app.command()(main)\nif 0:\n    app()\n"
        }
    )
    found = entries.find(project.load("bapp").fit, project.root, project.collect())
    assert "since it calls app();" in str(found.because)


def test_what_was_typed_into_a_session_cannot_run_again(project: Project) -> None:
    typed: dict[str, Callable[..., object]] = {}
    exec("def fit():\n    pass\n", typed)
    found = entries.find(typed["fit"], project.root, project.collect())
    assert found.because == "fit was typed into a session; no file holds it"


def test_code_that_was_not_recorded_or_has_changed_cannot_run_again(project: Project) -> None:
    project.write({"blost.py": "def fit():\n    pass\n"})
    lost = project.load("blost")
    found = project.collect()
    assert entries.find(lost.fit, project.root, found).rerunnable
    cases = {
        "is not among the recorded source": replace(found, contents={}),
        "too large": replace(found, root_digest=None, because="too large"),
        "edited": replace(found, obstacles=("edited",)),
    }
    for expected, each in cases.items():
        assert expected in str(entries.find(lost.fit, project.root, each).because)


RENAMED = """
import functools
from whence import steps

def twice(function):
    @functools.wraps(function)
    def run(x):
        return 2 * function(x)
    return run

def fit(x):
    return x + 1
first = fit
def fit(x):
    return x * 100
def plain(x):
    return x
(outer,) = map(twice, [plain])
@twice
@steps.step
@twice
def both(x):
    return x + 1
below = both.__wrapped__.__wrapped__
class Of:
    @staticmethod
    def fit(x):
        return x - 1
of_fit = Of.fit
def gone(x):
    return x
kept = gone
del gone
"""


def test_a_name_that_stands_for_another_function_reaches_none(project: Project) -> None:
    project.write({"brenamed.py": RENAMED})
    module = project.load("brenamed")
    found = project.collect()
    said = {
        each: entries.find(getattr(module, each), project.root, found).because
        for each in ("first", "fit", "plain", "outer", "below", "of_fit", "kept")
    }
    assert {each for each, because in said.items() if because is None} == {"fit", "plain", "below", "of_fit"}
    assert "the name fit does not stand for the function that was made a step" in str(said["first"])
    reached = replayed._found("brenamed:both", {"closure": {}}, project.root)
    assert reached is module.below, "what decorates a step was called before it was recorded what that got"
    old = module.fit
    project.load("brenamed")
    assert entries.find(old, project.root, found).rerunnable, "it is there again"


def test_a_script_is_recorded_and_judged_like_a_module(project: Project) -> None:
    judge = f"""
import sys
from pathlib import Path
from whence import bundle, entries
import bbeside

def fit():
    return bbeside.x

if __name__ == "__main__":
    found = bundle.collect(Path({str(project.root)!r}), {{}}, None)
    print(sorted(found.files), entries.find(fit, Path({str(project.root)!r}), found))
"""
    project.write({"scripts/btrain.py": judge, "scripts/bbeside.py": "x = 1\n"})
    done = subprocess.run(
        [sys.executable, str(project.root / "scripts/btrain.py")], capture_output=True, text=True, check=True
    )
    expected = entries.Entry("scripts.btrain:fit", model.Reached.SCRIPT)
    assert done.stdout.strip() == f"['scripts/bbeside.py', 'scripts/btrain.py'] {expected}"


# ── what is made inside functions, and what a script binds for itself ────────────────────────────

NESTED = """
import functools, math, operator
import bhelp

class Config:
    def __init__(self): self.rate = 2

def scaled(x):
    return 10 * x

def doubled(function):
    @functools.wraps(function)
    def run(*args, **kwargs):
        return 2 * function(*args, **kwargs)
    return run

def make(value):
    def fit(x):
        return x, value
    return fit

def make_many(rate, offset=3):
    def inner(x, more=offset):
        return scaled(x) + rate + more
    def fit(x):
        if x > 100:
            return fit(x - 100)
        return inner(x) + bhelp.ONE + math.floor(0.5) + operator.neg(0) + isinstance(x, Config)
    return fit

def make_decorated(rate):
    @doubled
    def fit(x):
        return x + rate
    return fit

def make_opaque():
    thing = object()
    def fit():
        return thing
    return fit

def make_late():
    def fit():
        return late
    found = fit
    yield found
    late = 1

def make_either(flag):
    if flag:
        def fit(): return flag, 1
    else:
        def fit(): return flag, 2
    return fit

times = lambda x: x * 3
"""


@pytest.fixture
def nested(project: Project) -> ModuleType:
    project.write({"bnested.py": NESTED, "bhelp.py": "ONE = 1\n"})
    return project.load("bnested")


def rebuilt(project: Project, function: Callable[..., object], module: ModuleType) -> Callable[..., object]:
    """The function as another process makes it, of what is recorded."""
    found = entries.find(function, project.root, project.collect())
    assert found.because is None
    digest.frame(dict(found.closure))
    qualname = found.name.partition(":")[2]
    return closures.rebuild(qualname, found.closure, module, project.root)


def test_a_function_made_inside_another_is_made_again_with_all_that_is_around_it(
    project: Project, nested: ModuleType
) -> None:
    for made in (nested.make_many(0.5), nested.make_decorated(7), nested.times):
        again = rebuilt(project, made, nested)
        assert again is not made
        assert [again(x) for x in (1, 2, 250)] == [made(x) for x in (1, 2, 250)]
        assert inspect.signature(again) == inspect.signature(made)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
    ),
    max_leaves=8,
)


@given(plain)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
def test_whatever_a_parameter_can_be_a_free_variable_can(
    project: Project, nested: ModuleType, value: object
) -> None:
    kept = closures.of(nested.make(value), project.root)
    again = closures.rebuild("make.<locals>.fit", kept, nested, project.root)
    assert digest.frame(list(again(1))) == digest.frame([1, value])


def test_what_is_around_a_function_and_cannot_be_kept_is_named(project: Project, nested: ModuleType) -> None:
    found = project.collect()
    late = next(nested.make_late())
    for function, because in (
        (nested.make_opaque(), "thing is a builtins.object, which has no stable identity"),
        (late, "late, which make_late.<locals>.fit takes from around it, has no value yet"),
        (nested.make_either(True), "2 functions in bnested.py are called make_either.<locals>.fit"),
        (nested.make(Path("bnested.py").absolute().parent), None),
    ):
        said = entries.find(function, project.root, found).because
        assert because is None or because in str(said), said


GUARDED = """
import json, sys
from pathlib import Path
from whence import bundle, entries

def scaled(x):
    return x * RATE

def fit(x):
    return scaled(x) + BIAS

def odd():
    return THING

def again(x):
    return x

def other(x):
    return x

def calls(x):
    return other(x)

def helped(x):
    return helper(x)

def named(x):
    return x.API_KEY, x.load(), RATE

def asks():
    return API_KEY

def answers():
    return ANSWER, CONFIG

BIAS = 1
if __name__ != "__main__":
    UNREAD = 1
else:
    RATE, THING, UNREAD = 2.5, object(), object()
    again = again
    def under(x): return x
    def other(x): return x * 2
    def helper(x): return -x
    BIAS, load = 4, object()
    API_KEY, ANSWER, CONFIG = "hunter1", sys.argv[2], {"password": "hunter3"}
    root = Path(sys.argv[1])
    found = bundle.collect(root, {}, None)
    for function in (fit, odd, named, asks, answers, again, under, other, calls, helped):
        entry = entries.find(function, root, found)
        print(json.dumps([entry.because, dict(entry.closure)]))
"""


def test_what_a_script_binds_for_itself_alone_is_kept_or_stands_in_the_way(project: Project) -> None:
    project.write({"bguarded.py": GUARDED})
    command = [sys.executable, str(project.root / "bguarded.py"), str(project.root), "hunter2"]
    secret = {**os.environ, "DB_PASSWORD": "hunter2"}
    done = subprocess.run(command, env=secret, capture_output=True, text=True, check=True)
    fit, odd, named, asks, answers, again, under, other, calls, helped = map(
        json.loads, done.stdout.splitlines()
    )
    assert "hunter" not in done.stdout
    assert named == [None, {"RATE": 2.5}], "what it asks of others is no name of the script's"
    assert asks == ["API_KEY looks secret, so its value was not kept", {}]
    assert answers[0].startswith("ANSWER looks secret")
    assert fit == [None, {"RATE": 2.5, "BIAS": 4}]
    assert odd[0].startswith("THING is a builtins.object, which has no stable identity")
    assert again == [None, {}]
    assert under == ['under is made under if __name__ == "__main__":, which no import runs; put it above', {}]
    assert other[0].startswith("other is made under if")
    assert calls[0] == "2 functions in bguarded.py are called other; give each a name of its own"
    assert (helped[0], helped[1]["helper()"]["code"]) == (None, "helper")

"""Words: a command as somebody states it, and what the names in it stand for.

Decides which statements have no meaning, whatever is there. Leaves to others: carrying it out (`commands`).
"""

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from whence import modes
from whence_catalog.errors import ErrorKind, InvalidInput

LOG, METRICS = "log", "metrics"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, and what it depends on.

    Args:
        argv: its words. `{name}` in one stands for where an input or output of that name lies, or for a parameter;
            other braces are left alone. The variables WHENCE_IN_NAME, WHENCE_OUT_NAME and WHENCE_PARAM_NAME say the same.
        inputs: by name, a reference (`dataset:images@3`) or a path.
        outputs: by name, the path at which it leaves a file or a folder.
        artifacts: by the name of an input or output, the kind and name of the artifact that it is; `file:` and its
            path from the project's root unless given.
        params: by name, plain values.
        job: the name of the unit of work; that of its script or program unless given.
        code: files and folders that are its code, from here; the whole project's source unless given.
        variables: environment variables that its result depends on.
        mode, max_age, max_wait: as for a step.
        labels: of the Run.
        metrics: a file that it leaves, a JSON object of numbers: metrics of the Run, and an output of that name.
        takes_input: whether it reads our standard input; then it is not reused.
        overwrite: whether an output may take the place of a file that is kept nowhere else.
        trace: see which files it reads, and tell those that are none of its inputs or code.
        sandbox: let it read nothing else, and write only into the folders around its outputs.
    """

    argv: tuple[str, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    job: str | None = None
    code: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    mode: modes.ModeName = "reuse"
    max_age: float | None = None
    max_wait: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    metrics: str | None = None
    takes_input: bool = False
    overwrite: bool = False
    trace: bool = False
    sandbox: bool = False

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise InvalidInput(
                "no command is given; put it last: whence exec --out model=m.bin -- python train.py"
            )
        names = [*self.inputs, *self.outputs, *self.params]
        for name in names:
            if not _NAME.fullmatch(name):
                raise InvalidInput(
                    f"not a name: {name!r}; expected letters, digits, '_', '.' and '-'", ErrorKind.BAD_NAME
                )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidInput(
                f"{twice[0]} names two things; inputs, outputs and parameters each have a name of their own"
            )
        for what, called in (("inputs", self.inputs), ("outputs", self.outputs), ("parameters", self.params)):
            for one, other in itertools.combinations(called, 2):
                if _variable("", one) == _variable("", other):
                    raise InvalidInput(
                        f"the {what} {one} and {other} would be one variable; call one otherwise"
                    )
        if LOG in names:
            raise InvalidInput(f"nothing can be called {LOG}: what the command says is kept under that name")
        if self.metrics is not None and METRICS in names and self.outputs.get(METRICS) != self.metrics:
            raise InvalidInput(
                f"nothing else can be called {METRICS} where --metrics is said: its file is an output of that name"
            )
        if self.metrics is not None:
            names.append(METRICS)
        if unknown := sorted(self.artifacts.keys() - names):
            raise InvalidInput(
                f"{unknown[0]} is neither an input nor an output; there are {', '.join(names) or 'none'}"
            )


def variables(
    values: Mapping[str, str], inputs: Iterable[str], outputs: Iterable[str], params: Iterable[str]
) -> dict[str, str]:
    """The variables that say to a command what the names in its words stand for."""
    named = (("IN", inputs), ("OUT", outputs), ("PARAM", params))
    return {_variable(what, name): values[name] for what, names in named for name in names}


def _variable(what: str, name: str) -> str:
    return f"WHENCE_{what}_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"


def filled(word: str, values: Mapping[str, str]) -> str:
    """A word of a command with what its names stand for."""
    return re.sub(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}", lambda found: values.get(found[1], found[0]), word)


def text(value: object) -> str:
    """A parameter as a command is told of it: text as it is, anything else as JSON."""

    return value if isinstance(value, str) else json.dumps(value)

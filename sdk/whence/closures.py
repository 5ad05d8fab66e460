"""Closures: functions that no import reaches, as the place of their code and the values around it, and back.

A function that is made inside another one is its code, which is written in a file, and the values of its free
variables. Each of these is kept as a parameter is; `name:` stands for what an import reaches, as [module, qualified
name]; `name()` for another function that none reaches, as what `_spec` makes of it, or nothing where it is the one that
is called; `()` for the one that is called, where decorators stand between it and the step.
What has no such form makes the whole one that cannot be rebuilt. Values of global names are kept the same way.

Leaves to others: what a value is (`parameters`).
"""

import ast
import dis
import functools
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

from whence import bundle, contents, origins, parameters, secrecy, statements
from whence_catalog import digest
from whence_catalog.errors import Conflict, InvalidInput

Kept = dict[str, digest.Framed]
# In functions, and in bodies of classes.
_READING = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
# Where a module says which file it is made from, if that is no file that an import would find.
FILE = "__whence_file__"


# ── keeping ──────────────────────────────────────────────────────────────────────────────────────


def of(function: Callable[..., object], root: Path) -> Kept:
    """What is around `function`, to make it again; nothing where an import reaches it.

    Raises:
        InvalidInput: part of that cannot be kept; the message says which and why.
    """
    inner = inspect.unwrap(function)
    if not isinstance(inner, types.FunctionType) or not is_nested(inner.__qualname__):
        return {}
    _check_code(inner)
    outer = without_step(function)
    if outer is not inner:
        return {"()": _spec(cast("types.FunctionType", outer), root, ())}
    return _free(inner, root, (inner,))


def globals_of(function: Callable[..., object], names: Iterable[str], root: Path) -> Kept:
    """The values of those of these global names that `function` reads, itself or through functions beside it.

    Raises:
        InvalidInput: as `of`.
    """
    inner = inspect.unwrap(function)
    if not isinstance(inner, types.FunctionType):
        return {}
    around = inner.__globals__
    read = read_by([inner]) & set(names) & around.keys()
    return values_of({name: around[name] for name in sorted(read)}, root)


def read_by(functions: Iterable[types.FunctionType]) -> set[str]:
    """The global names that these functions may read, themselves or through functions of the same module."""
    found: set[str] = set()
    waiting, seen = list(functions), set[int]()
    while waiting:
        function = waiting.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        for code in bundle.codes(function.__code__):
            names = _globals_read(code)
            found |= names
            for name in names:
                value = function.__globals__.get(name)
                inner = inspect.unwrap(value) if isinstance(value, types.FunctionType) else None
                if isinstance(inner, types.FunctionType) and inner.__globals__ is function.__globals__:
                    waiting.append(inner)
    return found


@functools.lru_cache(maxsize=1024)
def _globals_read(code: types.CodeType) -> frozenset[str]:
    """The names that this code looks up in its module. `co_names` are names of attributes, too."""
    return frozenset(each.argval for each in dis.get_instructions(code) if each.opname in _READING)


def values_of(values: Mapping[str, object], root: Path) -> Kept:
    """Each of these values, as it is kept.

    Raises:
        InvalidInput: as `of`.
    """
    kept: Kept = {}
    for name, value in values.items():
        _keep(kept, name, value, root, ())
    return kept


def is_kept(value: object) -> bool:
    """Whether a value can be kept as a parameter is."""
    try:
        canonical = parameters.Canonical(Path.cwd())
        canonical.of(value, "it")
    except InvalidInput:
        return False
    return not canonical.files


def is_nested(qualname: str) -> bool:
    """Whether a function of that qualified name is made by another one, or has no name."""
    return "<locals>" in qualname or "<lambda>" in qualname


def without_step(function: object) -> object:
    """What was made a step, with the decorators that stand below that."""
    while _is_step(function):
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is None:
            break
        function = wrapped
    return function


def made_step(found: object) -> object:
    """What was made a step, without what decorates the step in turn; itself where no step is in it."""
    outermost = inspect.unwrap(cast("Callable[..., object]", found), stop=_is_step)
    return without_step(outermost) if _is_step(outermost) else found


def _is_step(function: object) -> bool:
    return isinstance(function, types.FunctionType) and bundle.is_own(function.__code__.co_filename)


def _free(function: types.FunctionType, root: Path, within: tuple[object, ...]) -> Kept:
    kept: Kept = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            raise InvalidInput(
                f"{name}, which {function.__qualname__} takes from around it, has no value yet"
            ) from None
        _keep(kept, name, value, root, within)
    return kept


def _keep(
    kept: Kept, name: str, value: object, root: Path, within: tuple[object, ...], called: str | None = None
) -> None:
    bare = without_step(value)
    if isinstance(bare, types.ModuleType):
        kept[f"{name}:"] = [bare.__name__, ""]
    elif within and bare is within[0]:
        kept[f"{name}()"] = None
    elif isinstance(bare, types.FunctionType | types.BuiltinFunctionType | type):
        if (reached := _reached(bare, root)) is not None:
            kept[f"{name}:"] = reached
        elif isinstance(bare, types.FunctionType) and bare not in within:
            kept[f"{name}()"] = _spec(bare, root, within)
        else:
            raise InvalidInput(f"{name} is {bare.__qualname__}, which no import reaches")
    else:
        canonical = parameters.Canonical(root)
        try:
            kept[name] = canonical.of(value, name)
        except Conflict as error:  # a view of what was tracked for a call that is over
            raise InvalidInput(f"{name} cannot be kept: {error}") from error
        if hidden := secrecy.find(kept[name], called or name, secrecy.known()):
            raise InvalidInput(f"{hidden} looks secret, so its value was not kept")
        for where, file in canonical.files.items():
            raise InvalidInput(
                f"{where} is the path of {file.name}, whose bytes were not kept; hand it in as an artifact"
            )


def _reached(value: object, root: Path) -> digest.Framed:
    """[Module, qualified name] by which an import reaches it; None where none does."""
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if not isinstance(module, str) or not isinstance(sys.modules.get(module), types.ModuleType):
        return None
    found: object = sys.modules[module]
    for part in qualname.split("."):
        found = inspect.getattr_static(found, part, None)
        if isinstance(found, staticmethod | classmethod):
            return None
    if without_step(found) is not value or not is_imported(value):
        return None
    return [origins.module_name(vars(sys.modules[module]), os.path.realpath(root)), qualname]


def is_imported(value: object) -> bool:
    """Whether an import runs what made a function or a class: in a script, something may be made for it alone."""
    module = sys.modules.get(getattr(value, "__module__", ""))
    file = origins.file_of(module)
    if getattr(value, "__module__", "") not in origins.MAIN_MODULES or file is None:
        return True
    for_script, for_import = _codes_apart(file, contents.stamp(file) or ())
    return _is_among(value, for_import) or not _is_among(value, for_script)


def _is_among(value: object, made: Iterable[types.CodeType]) -> bool:
    code, qualname = getattr(value, "__code__", None), getattr(value, "__qualname__", "")
    return any(each.co_qualname == qualname and (code is None or bundle.alike(each, code)) for each in made)


@functools.lru_cache(maxsize=64)
def _codes_apart(
    file: str, stamp: contents.Stamp
) -> tuple[tuple[types.CodeType, ...], tuple[types.CodeType, ...]]:
    """What is defined in a file for a script alone, and what for an import, too."""
    try:
        parts = statements.halves(ast.parse(Path(file).read_bytes()).body)
        compiled = [compile(ast.Module(list(part), []), file, "exec", dont_inherit=True) for part in parts]
    except (OSError, SyntaxError, ValueError):
        return (), ()
    for_script, for_import = (tuple(bundle.codes(each)) for each in compiled)
    return for_script, for_import


def _spec(function: types.FunctionType, root: Path, within: tuple[object, ...]) -> digest.Framed:
    """What a function is made of: the module and name of its code, and all that it was given when it was made."""
    _check_code(function)
    within = (*within, function)
    wrapped = getattr(function, "__wrapped__", None)
    spec: Kept = {
        "module": origins.module_name(function.__globals__, os.path.realpath(root)),
        "code": function.__code__.co_qualname,
        "name": function.__qualname__,
        "free": _free(function, root, within),
    }
    if function.__defaults__:
        kept: Kept = {}
        code = function.__code__
        named = code.co_varnames[: code.co_argcount][-len(function.__defaults__) :]
        for place, (name, value) in enumerate(zip(named, function.__defaults__, strict=True)):
            _keep(kept, str(place), value, root, within, name)
        spec["defaults"] = kept
    if function.__kwdefaults__:
        kept = {}
        for name, value in function.__kwdefaults__.items():
            _keep(kept, name, value, root, within)
        spec["kwdefaults"] = kept
    if wrapped is not None:
        kept = {}
        _keep(kept, "wrapped", wrapped, root, within)
        spec["wrapped"] = kept
    return spec


def _check_code(function: types.FunctionType) -> None:
    """Refuse a function whose code cannot be told from others in its file."""
    file, qualname = function.__code__.co_filename, function.__code__.co_qualname
    if bundle.is_foreign(file) and not os.path.isfile(file):
        return  # of a notebook, whose cells are looked at by who asks
    found = _codes_named(file, qualname)
    same = [each for each in found if bundle.alike(each, function.__code__)]
    if not same:
        raise InvalidInput(f"{qualname} is not written in {os.path.basename(file)} as it runs")
    if len(same) < len(found):
        raise InvalidInput(
            f"{len(found)} functions in {os.path.basename(file)} are called {qualname}; give each a name of its own"
        )


def _codes_named(file: str, qualname: str) -> list[types.CodeType]:
    try:
        compiled = compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return []
    return [code for code in bundle.codes(compiled) if code.co_qualname == qualname]


# ── and back ─────────────────────────────────────────────────────────────────────────────────────


def rebuild(
    qualname: str, kept: Mapping[str, digest.Framed], module: types.ModuleType, root: Path
) -> types.FunctionType:
    """The function of that name in `module`, made again with what was kept of what was around it.

    Raises:
        InvalidInput: its code is not there, or a value cannot be restored.
    """
    if isinstance(spec := kept.get("()"), Mapping):
        return _made(cast("Mapping[str, digest.Framed]", spec), root, None)
    free = {name: value for name, value in kept.items() if name.rstrip(":()")}
    entry: Kept = {"module": module.__name__, "code": qualname, "name": qualname, "free": free}
    return _made(entry, root, None, module)


def restore_globals(
    kept: Mapping[str, digest.Framed],
    free: Iterable[str],
    module: types.ModuleType,
    root: Path,
    only_values: bool = False,
) -> None:
    """Bind in `module` what was kept of global names: all but the `free` variables.

    Args:
        only_values: leave what stands for functions, and values of the module's own classes, for later.
    """
    of_entry = set(free)
    for key, value in kept.items():
        name = key.rstrip(":()")
        if not name or name in of_entry or (only_values and key != name):
            continue
        try:
            vars(module)[name] = _restored(key, value, root, None)
        except InvalidInput:
            if not only_values:
                raise


def _made(
    spec: Mapping[str, digest.Framed],
    root: Path,
    called: types.FunctionType | None,
    module: types.ModuleType | None = None,
) -> types.FunctionType:
    around = module or parameters.module_named(cast("str", spec["module"]), root)
    qualname = cast("str", spec["code"])
    found = _codes_of(around, qualname)
    cells = [types.CellType() for _ in found.co_freevars]
    function = types.FunctionType(found, vars(around), found.co_name, None, tuple(cells))
    function.__qualname__ = cast("str", spec["name"])
    function.__module__ = around.__name__
    called = called or function
    kept = cast("Mapping[str, digest.Framed]", spec["free"])
    values = {key.rstrip(":()"): _restored(key, value, root, called) for key, value in kept.items()}
    for name, cell in zip(found.co_freevars, cells, strict=True):
        if name not in values:
            raise InvalidInput(f"the value of {name} around {qualname} was not recorded")
        cell.cell_contents = values[name]
    if "defaults" in spec:
        defaults = cast("Mapping[str, digest.Framed]", spec["defaults"])
        function.__defaults__ = tuple(
            _restored(key, value, root, called) for key, value in sorted(defaults.items(), key=_place)
        )
    if "kwdefaults" in spec:
        named = cast("Mapping[str, digest.Framed]", spec["kwdefaults"])
        function.__kwdefaults__ = {
            key.rstrip(":()"): _restored(key, value, root, called) for key, value in named.items()
        }
    if "wrapped" in spec:
        ((key, value),) = cast("Mapping[str, digest.Framed]", spec["wrapped"]).items()
        function.__wrapped__ = _restored(key, value, root, called)  # type: ignore[attr-defined]
    return function


def _place(item: tuple[str, digest.Framed]) -> int:
    return int(item[0].rstrip(":()"))


def _codes_of(module: types.ModuleType, qualname: str) -> types.CodeType:
    file = getattr(module, "__file__", None) or vars(module).get(FILE)
    found = _codes_named(file, qualname) if isinstance(file, str) else []
    if not found:
        raise InvalidInput(f"{module.__name__} has no function {qualname} any more")
    return found[0]


def _restored(key: str, value: digest.Framed, root: Path, called: types.FunctionType | None) -> object:
    if key.endswith("()"):
        if value is None:
            return called
        return _made(cast("Mapping[str, digest.Framed]", value), root, called)
    if not key.endswith(":"):
        return parameters.restore(value, root)
    module, qualname = cast("tuple[str, str]", value)
    found: object = parameters.module_named(module, root)
    for part in filter(None, qualname.split(".")):
        found = getattr(found, part)
    return without_step(found)

"""Loaded: questions about functions and classes as they are in this process.

Decides nothing about what counts (`reach`); it knows where Python keeps what is asked for.
"""

import dis
import enum
import linecache
import sys
import types
from collections.abc import Iterable, Iterator, Mapping

from whence import normal_form, origins, reading
from whence.origins import Origin
from whence.reading import Chain, Imported, Reading

Namespace = Mapping[str, object]

# fmt: off
# What Python itself puts into a class, or what its other members say again.
CLASS_FURNITURE = frozenset({
    "__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__firstlineno__", "__slots__",
    "__static_attributes__", "__annotations__", "__annotate__", "__annotate_func__", "__hash__",
    "__annotations_cache__", "__conditional_annotations__", "__dataclass_fields__", "__dataclass_params__",
    "__match_args__", "__abstractmethods__", "_abc_impl", "_generate_next_value_", "__orig_bases__",
    "__parameters__", "__type_params__",
})
# fmt: on


class Missing:
    """In the place of a value that is not there."""


def module_of(value: object) -> str:
    """The module that a value says it is from. A class may hold anything under that name."""
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else "builtins"


def namespace_of(value: object) -> Namespace:
    """The globals that a function or class was defined in."""
    if isinstance(value, types.FunctionType):
        return value.__globals__
    module = sys.modules.get(module_of(value))
    return vars(module) if module is not None else {}


def origin(value: object) -> Origin:
    """Whose a function or class is; by where it was compiled, since wrappers take over other names."""
    if not isinstance(value, types.FunctionType):
        return origins.of_module(module_of(value))
    name = str(value.__globals__.get("__name__", ""))
    file = value.__code__.co_filename
    if name.partition(".")[0] in origins.OWN_PACKAGES:
        return Origin.WHENCE
    if file.startswith("<frozen"):
        return Origin.STANDARD
    return origins.of_module(name) if file.startswith("<") else origins.of_file(file)


def attribute(owner: object, name: str) -> object:
    """An attribute, or Missing. A descriptor may fail in any way when asked outside its program."""
    try:
        return getattr(owner, name, Missing)
    except Exception:
        return Missing


def wrapped(value: object) -> object:
    """What a wrapper wraps."""
    return attribute(value, "__wrapped__")


def closure(function: types.FunctionType) -> Iterator[tuple[str, types.CellType]]:
    """The names that a function closes over, with their cells."""
    return zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)


def defaults(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    """The parameters that have a default, with it."""
    code, values = function.__code__, function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(values) : code.co_argcount], values, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


# What `functools.update_wrapper` takes over from what it wraps, and what `singledispatch` adds.
_NAMES = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__")
_DISPATCHING = frozenset({"registry", "dispatch", "register", "_clear_cache"})


def taken_over(wrapper: object) -> frozenset[str]:
    """The attributes of a wrapper that say no more than what it wraps."""
    inner, held = wrapped(wrapper), getattr(wrapper, "__dict__", {})
    same = (name for name in _NAMES if name in held and held[name] == attribute(inner, name))
    # Around a class, it takes over every member of it.
    members = vars(inner) if isinstance(inner, type) else {}
    same_members = (name for name, value in members.items() if name in held and held[name] is value)
    # The size of a cache is said where it is made.
    cached = ("cache_parameters",) if type(wrapper).__module__ == "functools" else ()
    return frozenset({"__wrapped__", "__annotate__", *same, *same_members, *cached})


def attributes(function: types.FunctionType) -> dict[str, object]:
    """The attributes that a function was given, without whence's own and what Python keeps there."""
    own = _DISPATCHING if "registry" in function.__dict__ else frozenset()
    return {
        name: value
        for name, value in function.__dict__.items()
        if name not in own
        and name != "__wrapped__"
        and not name.startswith(("_whence", "__whence"))
        and (value is None or origin(type(value)) is not Origin.WHENCE or hasattr(value, "is_draft"))
    }


def renamed(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    """The names and the docstring of a function that are neither written there nor those of what it wraps."""
    made = types.FunctionType(function.__code__, {}, closure=function.__closure__)
    inner = wrapped(function) if "__wrapped__" in function.__dict__ else Missing
    for name in ("__doc__", "__name__", "__qualname__"):
        said = getattr(function, name)
        if said != getattr(made, name) and (inner is Missing or said != attribute(inner, name)):
            yield name, said


def function_behind(member: object) -> types.FunctionType | None:
    """The function in a member of a class, if it is one."""
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    return member if isinstance(member, types.FunctionType) else None


def methods(kind: type) -> list[types.FunctionType]:
    """The project's functions in a class that were written in it, as far as their names tell."""
    found = [function_behind(member) for member in vars(kind).values()]
    return [
        item
        for item in found
        if item is not None
        and item.__code__.co_qualname.startswith(kind.__qualname__ + ".")
        and origin(item) is Origin.PROJECT
        and not is_generated(item)
    ]


def is_generated(function: types.FunctionType) -> bool:
    """Whether Python wrote a function from what its class says, as it does for a dataclass."""
    inner = wrapped(function)
    code = inner.__code__ if isinstance(inner, types.FunctionType) else function.__code__
    # From 3.13 on `python -c` has lines, under the name that dataclasses give to what they generate too.
    by_dataclass = code.co_qualname.startswith("__create_fn__.")
    return code.co_filename.startswith("<") and (by_dataclass or not linecache.getlines(code.co_filename))


def is_enum(kind: type) -> bool:
    """Whether a class is an enumeration."""
    return issubclass(kind, enum.Enum)


def parts(values: Iterable[object]) -> Iterator[object]:
    """The values and what is in them: in containers, and in objects of the project's classes."""
    todo, seen = list(values), dict[int, object]()
    while todo:
        item = todo.pop()
        if isinstance(item, str | bytes | int | float) or item is None or id(item) in seen:
            continue
        seen[id(item)] = item
        if isinstance(item, dict):
            todo += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            todo += item
        elif not isinstance(item, type | types.FunctionType) and origin(type(item)) is Origin.PROJECT:
            todo += getattr(item, "__dict__", {}).values()
            slots = (
                name for base in type(item).__mro__ for name in _names_in(vars(base).get("__slots__", ()))
            )
            todo += [attribute(item, name) for name in slots]
        yield item


def _names_in(slots: object) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots) if isinstance(slots, Iterable) else ()


def is_at(value: object, module: str) -> bool:
    """Whether a value is what its own name leads to, and not something made like it."""
    found: object = sys.modules.get(module)
    for name in getattr(value, "__qualname__", "<none>").split("."):
        found = attribute(found, name)
    return found is value


def is_own(chain: Chain, namespace: Namespace) -> bool:
    """Whether a dotted name leads to, or through, something of whence's."""
    value = namespace.get(chain[0], Missing)
    for name in (*chain[1:], None):
        if isinstance(value, types.ModuleType):
            own = origins.of_module(value.__name__) is Origin.WHENCE
        elif isinstance(value, types.FunctionType | type):
            own = origin(value) is Origin.WHENCE
        else:
            own = origin(type(value)) is Origin.WHENCE
        if own or name is None:
            return own
        value = attribute(value, name)
    return False


def read_bytecode(code: types.CodeType, namespace: Namespace) -> Reading:
    """A Reading of what is loaded, for code without source; coarser, since only names can be told."""
    names: set[str] = set()
    imported: list[str] = []
    todo = [code]
    while todo:
        item = todo.pop()
        names.update(item.co_names)
        imported += [str(step.argval) for step in dis.get_instructions(item) if step.opname == "IMPORT_NAME"]
        todo += [constant for constant in item.co_consts if isinstance(constant, types.CodeType)]
    dynamic = sorted(names & reading.DYNAMIC_BARE)
    body = normal_form.digest_of_code(code)
    return Reading(
        digest=body,
        documented_digest=body,
        chains=tuple((name,) for name in sorted(names) if name in namespace),
        dynamic=(*dynamic, "an import known by its bytecode only") if imported else tuple(dynamic),
        late_imports=tuple(Imported(name, 0) for name in sorted(imported)),
    )


def absolute(imported: Imported, namespace: Namespace) -> str:
    """The full name of a module that a file imports."""
    package = str(namespace.get("__package__") or "").split(".")
    base = package[: len(package) - imported.level + 1] if imported.level else []
    return ".".join(part for part in (*base, imported.module) if part)

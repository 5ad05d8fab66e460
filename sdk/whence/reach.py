"""Reach: the code that a function may run, found in the running process.

Decides what counts. Starting from the function, names are resolved in the process (globals, closures,
chains of modules and classes), and each edge, from a name to what it stood for, is part of the digest of
the symbol that reads it. Plain data counts by value; a value without a form, by the statements that bound
it; effects at import, for every module that covered code imports; imports inside functions, by file;
third-party code, by the versions of its distributions. Where that cannot be told, the whole project
counts, or the step has no identity; what counts is never narrowed.

    rows  `pipeline:train`         a function or class
          `pipeline:train@<hex>`   one of several of that name: lambdas, and closures by what they hold
          `pipeline:log=`          the statements that bound a value without a form
          `effects pipeline`       what runs when the module is imported, besides binding names
          `file lib/late.py`       a module imported inside a function, or not written in Python
          `project lib/util.py`    a file of the project, where everything counts
          `order pipeline`         in which order what acts at import is imported
          `distribution numpy`     an installed distribution; `absent numba`: one that is looked for
          `installed`              all of them, where code may choose among them
          `entry`                  what the step is, made of the above

Leaves to others: syntax (`normal_form`, `reading`, `source`), plain data (`forms`), and whose code
something is (`origins`).
"""

import enum
import functools
import os
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence

from whence import covered, forms, loaded, normal_form, origins, source
from whence.loaded import Namespace
from whence.origins import Origin
from whence.reading import (
    DOCSTRING_READERS,
    DYNAMIC_STANDARD,
    Chain,
    Reading,
)
from whence_catalog import digest

_DOMAIN = normal_form.DOMAIN
_MODULE_NAMES = frozenset({"__name__", "__package__", "__spec__", "__loader__"})


class Walk(covered.Covered):
    """One walk over the code that a function reaches, in the project at `root` (a real path)."""

    def __init__(self, root: str, keep_docstrings: bool) -> None:
        super().__init__(root, keep_docstrings)
        self._forms = forms.Forms(root, self._refer)
        # What many functions read is looked at once.
        self._formed: dict[int, tuple[object, digest.Framed]] = {}
        # By address, with the object itself: an address is used again once its object is gone.
        self._referred: dict[int, tuple[object, digest.Framed]] = {}
        # The modules that do something besides binding names, and what each imports and does, in order.
        self._acting: set[str] = set()
        self._sequences: dict[str, list[str | None]] = {}

    def run(self, function: object, roots: Iterable[object], further: Iterable[covered.Place] = ()) -> str:
        """Cover everything that `function` and the code among its arguments reach; answers its symbol."""
        entry: digest.Framed
        try:
            entry = self._refer(function)
            # Without asserts, or without docstrings, the same source is other code.
            optimized = [f"-O {sys.flags.optimize}"] if sys.flags.optimize else []
            self.rows["entry"] = self._digest("entry", entry, *optimized)
        except forms.Opaque as error:
            entry = None
            self.uncacheable.add(f"the step: {error}")
        for item in roots:
            try:
                self._refer(item)
            except forms.Opaque as error:
                self.uncacheable.add(f"an argument: {error}")
        for place in further:
            self._cover_place(place)
        while self._todo or self._cover_effects():
            if self._todo:
                self._todo.pop()()
        self._cover_order()
        if self.widened:
            self._cover_project()
        return _first_symbol(entry) or "entry"

    def _cover_place(self, place: covered.Place) -> None:
        """Cover a further root: by its file, so that it is the same whether or not it is loaded yet."""
        self.witness.file(place.file)
        if os.path.isfile(place.file):
            self._cover_file(origins.real_path(place.file))
            return
        self.witness.cannot_tell()
        found: object = sys.modules.get(place.module)
        for name in place.qualname.split("."):
            found = loaded.attribute(found, name)
        if isinstance(found, types.FunctionType | type):
            self._refer(found)

    def _refer(self, value: object) -> digest.Framed:
        """What stands for a piece of code; it is covered in turn, where it is the project's.

        Raises:
            Opaque: it holds something that has no form.
        """
        match value:
            case staticmethod() | classmethod():
                return [type(value).__name__, self._refer(value.__func__)]
            case property():
                parts = (value.fget, value.fset, value.fdel)
                return ["property", [None if part is None else self._refer(part) for part in parts]]
            case functools.partial():
                bound = [self._form_of(value.args), self._form_of(dict(value.keywords))]
                own = self._own_state(value, functools.partial)
                form: digest.Framed = ["partial", self._refer(value.func), *bound, *own]
                self.witness.value(value, form)
                return form
            case types.MethodType():
                return ["method", self._refer(value.__func__), self._form_of(value.__self__)]
            case types.ModuleType():
                return self._refer_to_module(value)
            case types.FunctionType():
                return self._refer_to_function(value)
            case type():
                return self._refer_to_class(value)
        if forms.is_wrapper(value):
            return self._refer_to_wrapper(value)
        described = getattr(value, "__objclass__", None)
        if isinstance(described, type):
            return ["method", self._refer(described), str(getattr(value, "__name__", ""))]
        owner = getattr(value, "__self__", None)
        if isinstance(value, types.BuiltinFunctionType) and not isinstance(owner, types.ModuleType | None):
            return ["method", value.__name__, self._form_of(owner)]
        name = getattr(value, "__name__", type(value).__name__)
        qualname = getattr(value, "__qualname__", name)
        return self._foreign(loaded.module_of(value), qualname)

    def _refer_to_wrapper(self, value: object) -> digest.Framed:
        """An object around a function, made by `functools.update_wrapper`: it may hold more than that."""
        wrapped = self._refer(loaded.wrapped(value))
        if loaded.origin(type(value)) is Origin.WHENCE:
            return wrapped
        try:
            state = self._forms.wrapper(value, loaded.taken_over(value))
        except forms.Opaque as error:
            self.witness.opaque(value, str(error))
            raise
        form: digest.Framed = [
            *("wrapped", self._refer(type(value)), wrapped),
            *([] if state is None else [state]),
        ]
        self.witness.value(value, form)
        return form

    def _own_state(self, value: object, kind: type) -> list[digest.Framed]:
        """What an object of a class under `kind` holds besides; nothing where it is no more than that."""
        state = self._forms.attributes(value)
        return [self._refer(type(value)), state] if type(value) is not kind or state else []

    def _refer_to_module(self, module: types.ModuleType) -> digest.Framed:
        if origins.of_module(module.__name__) is not Origin.PROJECT:
            return self._foreign(module.__name__, "")
        name = self._module_name(vars(module))
        self.widened.add(f"{self._at} uses the module {name} as a value")
        return ["module", name]

    def _refer_to_function(self, function: types.FunctionType) -> digest.Framed:
        origin = loaded.origin(function)
        if origin is Origin.WHENCE:
            return self._refer(loaded.wrapped(function)) if forms.is_wrapper(function) else ["whence"]
        if id(function) in self._referred:
            return self._referred[id(function)][1]
        self.witness.function(function)
        if origin is not Origin.PROJECT:
            return self._refer_to_foreign(function)
        symbol = self._symbol(function.__globals__, function.__code__.co_qualname)
        # A function that calls itself is in its own closure: there, its name has to do.
        self._referred[id(function)] = (function, ["code", symbol])
        cells = self._cells(function, symbol)
        told_apart: list[digest.Framed] = [cells] if cells else []
        text = self._source_of(function.__code__, function.__globals__)
        if text is not None and text.is_ambiguous(function.__code__.co_qualname):
            definition = text.definition(function.__code__)
            told_apart.append(None if definition is None else self._body(definition.reading))
        if told_apart:
            symbol = f"{symbol}@{self._digest('one of several', *told_apart).hex()}"
        form: digest.Framed = ["code", symbol]
        self._referred[id(function)] = (function, form)
        self._todo.append(lambda: self._cover_function(function, symbol, cells))
        if forms.is_wrapper(function):
            self._refer(loaded.wrapped(function))
        return form

    def _refer_to_foreign(self, function: types.FunctionType) -> digest.Framed:
        """A function of somebody else's; one made by a decorator also by what it was made from."""
        form: digest.Framed
        registry = getattr(function, "registry", None)
        if function.__globals__ is vars(functools) and isinstance(registry, Mapping):
            # Its cells hold caches and counters of the process beside the functions registered.
            self._referred[id(function)] = (function, ["singledispatch"])
            pairs: list[digest.Framed] = [[self._refer(k), self._refer(v)] for k, v in registry.items()]
            form = ["singledispatch", sorted(pairs, key=digest.frame), *self._attributes_of(function)]
            self._referred[id(function)] = (function, form)
            return self._referred[id(function)][1]
        module = function.__module__ or ""
        name = self._foreign(str(function.__globals__.get("__name__", "")), function.__code__.co_qualname)
        is_at = loaded.is_at(function, module)
        self.witness.answer(loaded.is_at, (function, module), is_at)
        if is_at and origins.of_module(module) is not Origin.PROJECT:
            return name
        self._referred[id(function)] = (function, name)
        try:
            held: list[digest.Framed] = [
                [freevar, self._form_of(cell.cell_contents)] for freevar, cell in loaded.closure(function)
            ]
            wrapped = [self._refer(loaded.wrapped(function))] if forms.is_wrapper(function) else []
            wrapped += self._attributes_of(function)
        except (forms.Opaque, ValueError) as error:
            del self._referred[id(function)]
            raise forms.Opaque(f"{module}.{function.__qualname__}, which holds {error}") from error
        form = ["made", name, held, *wrapped]
        self._referred[id(function)] = (function, form)
        return form

    def _cells(self, function: types.FunctionType, symbol: str) -> list[digest.Framed]:
        held: list[digest.Framed] = []
        for name, cell in loaded.closure(function):
            if name == "__class__":  # made by `super()`; the class is covered where it is used
                continue
            try:
                held.append([name, self._form(cell.cell_contents, f"{symbol} closes over {name}")])
            except ValueError:
                held.append([name, "empty"])
        return held

    def _form(self, value: object, where: str) -> digest.Framed:
        try:
            return self._form_of(value)
        except forms.Opaque as error:
            self.uncacheable.add(f"{where}: {error}")
            return ["opaque", str(error)]

    def _form_of(self, value: object) -> digest.Framed:
        known = self._formed.get(id(value))
        if known is not None:
            return known[1]
        try:
            form = self._forms.of(value)
        except forms.Opaque as error:
            self.witness.opaque(value, str(error))
            raise
        self.witness.value(value, form)
        if not forms.is_code(value):
            self._formed[id(value)] = (value, form)
        return form

    def still_holds(self) -> bool:
        """Whether another walk, now, would find what this one did."""
        if not self.witness.is_complete or self.widened:
            return False
        before = (len(self.rows), len(self.uncacheable), len(self._referred))
        # Objects are remembered by their address, with what they held.
        self._forms, self._formed = forms.Forms(self._root, self._refer), {}
        try:
            holds = self.witness.still_holds(self._forms.of, self._forms.handles)
        except Exception:  # another thread changes what is being looked at, say
            return False
        # Something that was not there has been referred to.
        grown = (len(self.rows), len(self.uncacheable), len(self._referred)) != before
        return holds and not grown and not self._todo and not self.widened

    def _refer_to_class(self, kind: type) -> digest.Framed:
        origin = loaded.origin(kind)
        if origin is Origin.WHENCE:
            return ["whence"]
        if origin is not Origin.PROJECT:
            return self._foreign(loaded.module_of(kind), kind.__qualname__)
        if id(kind) not in self._referred:
            self.witness.kind(kind)
            self.witness.kind(type(kind))
            symbol = self._symbol(loaded.namespace_of(kind), kind.__qualname__)
            self._referred[id(kind)] = (kind, ["code", symbol])
            self._todo.append(lambda: self._cover_class(kind, symbol))
        return self._referred[id(kind)][1]

    def _symbol(self, namespace: Namespace, qualname: str) -> str:
        module = self._module_name(namespace)
        return f"{module}:{normal_form.plain_qualname(qualname)}"

    def _foreign(self, module: str, name: str) -> digest.Framed:
        """What stands for something outside the project, by its name and the version it is of."""
        top = module.partition(".")[0]
        match origins.of_module(module):
            case Origin.WHENCE:
                return ["whence"]
            case Origin.STANDARD:
                public = origins.standard_name(module, name)
                if public in DYNAMIC_STANDARD:
                    self._widen(public.removeprefix("builtins."))
                self.reads_docstrings |= public in DOCSTRING_READERS
                return ["std", public]
            case Origin.DISTRIBUTION:
                self._cover_distribution(top)
                return ["distribution", f"{module}.{name}"]
            case Origin.PROJECT:
                self._cover_foreign_file(module, name)
                return ["compiled", f"{module}.{name}"]

    def _cover_foreign_file(self, module: str, name: str) -> None:
        """Something of the project's without Python code: an extension module counts by its bytes."""
        file = origins.file_of(sys.modules.get(module))
        if file is None or file.endswith(".py"):
            self.uncacheable.add(f"{self._at} uses {module}.{name}, which has no code of its own")
        else:
            self._cover_bytes(f"file {self._path(file)}", file)

    # ── what is covered ──────────────────────────────────────────────────────────────────────────

    def _cover_function(
        self, function: types.FunctionType, symbol: str, cells: Sequence[digest.Framed]
    ) -> None:
        self._at = symbol
        code, namespace = function.__code__, function.__globals__
        self.coverage.add(code)
        text = self._source_of(code, namespace)
        definition = None if text is None else text.definition(code)
        if text is None or definition is None or not text.compiles_to(code):
            # Edited since it was loaded, rewritten on import, or never in a file: what runs is what counts.
            self.interpreter_bound.add(symbol)
            self.witness.cannot_tell()
            reading, decorators = loaded.read_bytecode(code, namespace), list[digest.Framed]()
        else:
            reading = definition.reading
            self.coverage.add_lines(text.filename, reading.lines)
            decorators = self._decorators(definition, namespace)
        defaults: list[digest.Framed] = [
            [name, self._form(value, f"{symbol} has a default for {name}")]
            for name, value in loaded.defaults(function)
        ]
        edges = self._edges(reading, namespace, frozenset(code.co_freevars))
        given = self._given(function, symbol)
        body = self._body(reading)
        self._add(symbol, self._digest("function", body, list(cells), defaults, decorators, edges, *given))
        self._note(reading, namespace)
        self._note_stores(reading, namespace)
        self._modules[str(namespace.get("__name__", ""))] = None
        self._cover_path(namespace.get("__file__"))

    def _attributes_of(self, function: types.FunctionType) -> list[digest.Framed]:
        """The attributes that a function was given, where it has any."""
        given = loaded.attributes(function)
        return [[[name, self._form_of(given[name])] for name in sorted(given)]] if given else []

    def _given(self, function: types.FunctionType, symbol: str) -> list[digest.Framed]:
        """The attributes that a function was given, and the names, where it was given others than written."""
        held: list[digest.Framed] = []
        for name, value in sorted(loaded.attributes(function).items()):
            try:
                held.append([name, self._form_of(value)])
            except forms.Opaque as error:
                why = f"{symbol}.{name}: {error}"
                is_named = "." not in function.__code__.co_qualname and not isinstance(
                    error, forms.Unrecorded
                )
                namespace = function.__globals__
                if is_named and self.witness.look(namespace, function.__code__.co_name) is function:
                    held.append(
                        [name, self._by_statements(function.__name__, function, namespace, why, frozenset())]
                    )
                else:
                    self.uncacheable.add(why)
                    held.append([name, "opaque"])
        for name, said in loaded.renamed(function):
            if name != "__doc__" or self._keep_docstrings:
                held.append([name, self._form(said, f"{symbol}.{name}")])
        return [held] if held else []

    def _decorators(self, definition: source.Definition, namespace: Namespace) -> list[digest.Framed]:
        kept: list[digest.Framed] = []
        for decorator in definition.decorators:
            # How long a step may be reused, or what it is called, is no part of what it computes.
            if decorator.head is not None:
                is_own = loaded.is_own(decorator.head, namespace)
                self.witness.answer(loaded.is_own, (decorator.head, namespace), is_own)
                if is_own:
                    continue
            self._note(decorator.reading, namespace)
            edges = self._edges(decorator.reading, namespace)
            kept.append([self._body(decorator.reading), edges])
        return kept

    def _cover_class(self, kind: type, symbol: str) -> None:
        self._at = symbol
        namespace = loaded.namespace_of(kind)
        codes = [method.__code__ for method in loaded.methods(kind)]
        text = self._source_of(codes[0], namespace) if codes else self._project_source(namespace)
        lines = [code.co_firstlineno for code in codes]
        definition = None if text is None else text.class_definition(kind.__qualname__, lines)
        statements = () if text is None or "." in kind.__qualname__ else text.bindings(kind.__name__)
        parts: list[digest.Framed] = [self._refer(base) for base in (*kind.__bases__, type(kind))]
        readings: Sequence[Reading] = ()
        if text is not None and definition is not None and all(map(text.compiles_to, codes)):
            readings = (definition.reading,)
            self.coverage.add_lines(text.filename, definition.reading.lines)
            parts += self._decorators(definition, namespace)
            names = definition.names
        elif statements and definition is None:  # `Point = namedtuple("Point", "x y")`
            readings, names = statements, frozenset()
        else:
            self.interpreter_bound.add(symbol)
            names = frozenset(vars(kind))
        parts.append(self._members(kind, symbol, names, is_written=bool(readings)))
        for reading in readings:
            parts += [self._body(reading), self._edges(reading, namespace, frozenset({kind.__name__}))]
            self._note(reading, namespace)
            self._note_stores(reading, namespace)
        self._add(symbol, self._digest("class", parts))
        self._modules[loaded.module_of(kind)] = None
        self._cover_path(namespace.get("__file__"))

    def _members(
        self, kind: type, symbol: str, names: frozenset[str], is_written: bool
    ) -> list[digest.Framed]:
        """What the class holds now, which may be other than what was written: methods can be replaced."""
        held: list[digest.Framed] = []
        members: Mapping[str, enum.Enum] = getattr(kind, "__members__", {}) if loaded.is_enum(kind) else {}
        for name, member in members.items():
            held.append([name, self._form(member.value, f"{symbol}.{name}")])
        for name, value in sorted(vars(kind).items()):
            if name in loaded.CLASS_FURNITURE or name in members:
                continue
            if isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
                continue
            function = loaded.function_behind(value)
            if function is not None and loaded.is_generated(function):
                self.coverage.add(function.__code__)
                continue
            if name not in names and (function is None or loaded.origin(function) is not Origin.PROJECT):
                continue
            if kind in type(value).__mro__:
                held.append([name, "instance"])
                continue
            try:
                held.append([name, self._form_of(value)])
            except forms.Opaque as error:
                held.append([name, "opaque"])
                is_draft = isinstance(error, forms.Unrecorded)
                if is_draft or not is_written:  # otherwise the statement in the class's body counts
                    self.uncacheable.add(f"{symbol}.{name}: {error}")
        return held

    def _cover_statements(
        self, symbol: str, name: str, bindings: Sequence[Reading], namespace: Namespace
    ) -> None:
        self._at = symbol
        itself = frozenset({name})
        parts: list[digest.Framed] = [
            [self._body(reading), self._edges(reading, namespace, itself)] for reading in bindings
        ]
        self._add(symbol, self._digest("statements", parts))
        for reading in bindings:
            self.coverage.add_lines(str(namespace.get("__file__", "")), reading.lines)
        for reading in bindings:
            self._note(reading, namespace)
        self._cover_path(namespace.get("__file__"))

    def _note(self, reading: Reading, namespace: Namespace) -> None:
        """Take in what is covered besides the names that it reads."""
        for name in reading.dynamic:
            self._widen(name)
        self.reads_docstrings |= reading.reads_docstrings
        file = namespace.get("__file__")
        for module in reading.late_imports:
            self._cover_late_import(module, file if isinstance(file, str) else None)

    def _note_stores(self, reading: Reading, namespace: Namespace) -> None:
        """Widen where covered code, when it is called, puts something else into a module or class."""
        for chain in reading.stores:
            target = self.witness.look(namespace, chain[0])
            if isinstance(target, types.ModuleType):
                is_project = origins.of_module(target.__name__) is Origin.PROJECT
            else:
                is_project = isinstance(target, type) and loaded.origin(target) is Origin.PROJECT
            if is_project:
                self.widened.add(f"{self._at} writes {'.'.join(chain)}")

    # ── edges ────────────────────────────────────────────────────────────────────────────────────

    def _edges(
        self, reading: Reading, namespace: Namespace, skipped: frozenset[str] = frozenset()
    ) -> list[digest.Framed]:
        return [
            [".".join(chain), self._edge(chain, namespace)]
            for chain in reading.chains
            if chain[0] not in skipped
        ]

    def _edge(self, chain: Chain, namespace: Namespace) -> digest.Framed:
        """What a dotted name stands for now."""
        name = chain[0]
        value: object
        if name in _MODULE_NAMES:
            return ["module name"]
        value = self.witness.look(namespace, name)
        if value is not loaded.Missing:
            path = self._foreign_path(name, value, namespace)
        elif (value := self.witness.builtin(name)) is not loaded.Missing:
            path = ("builtins", name)
        else:
            return ["unbound"]
        owner: type | None = None
        for attribute in chain[1:]:
            if isinstance(value, types.ModuleType):
                if attribute == "__dict__":
                    return self._refer_to_module(value)
                if path or origins.of_module(value.__name__) is not Origin.PROJECT:
                    path = (*(path or (value.__name__,)), attribute)
                    value = self.witness.look(vars(value), attribute)
                    continue
                self._modules[value.__name__] = None
                name, owner, namespace = attribute, None, vars(value)
                value = self._attribute(value, attribute)
            elif path:
                path = (*path, attribute)
                value = (
                    self.witness.attribute(value, attribute) if isinstance(value, type) else loaded.Missing
                )
            elif isinstance(value, type):
                self._refer(value)
                owner, value = value, self.witness.attribute(value, attribute)
            else:
                break
        if path:
            return self._foreign_value(path, value)
        if value is loaded.Missing:
            return ["unbound"]
        try:
            return self._form_of(value)
        except forms.Opaque as error:
            opaque = error
        held: list[digest.Framed] = []
        try:
            # A statement does not say which version it was that a name stood for.
            held = self._forms.handles(value)
            if held:
                self.witness.cannot_tell()
        except forms.Unrecorded as error:
            opaque = error
        # A script that hands its draft to a step as it is imported says with that what the draft is.
        if isinstance(opaque, forms.Unrecorded) and not self._at.startswith("effects "):
            self.uncacheable.add(f"{self._at} reads {'.'.join(chain)}: {opaque}")
            return ["opaque", str(opaque)]
        form: digest.Framed
        if owner is not None:  # its statement is in the body of the class
            form = ["attribute", self._refer(owner), chain[-1]]
        else:
            form = self._by_statements(name, value, namespace, str(opaque), frozenset())
        return ["holding", form, held] if held else form

    def _attribute(self, module: types.ModuleType, name: str) -> object:
        value = self.witness.look(vars(module), name)
        if value is not loaded.Missing:
            return value
        if self.witness.look(vars(module), "__getattr__") is not loaded.Missing:
            self.witness.cannot_tell()
            self._form(vars(module)["__getattr__"], f"{self._at} reads {module.__name__}.{name}")
        return loaded.attribute(module, name)

    def _foreign_path(self, name: str, value: object, namespace: Namespace) -> Chain | None:
        """`("random", "seed")` where `name` is somebody else's, imported from there."""
        text = self._project_source(namespace)
        for module, attribute in () if text is None else text.imports_of(name):
            full = loaded.absolute(module, namespace)
            found = sys.modules.get(full)
            if found is not None and self.witness.look(vars(found), attribute) is value:
                return None if origins.of_module(full) is Origin.PROJECT else (full, attribute)
        return None

    def _foreign_value(self, path: Chain, value: object) -> digest.Framed:
        if isinstance(value, types.FunctionType | type) and loaded.origin(value) is Origin.PROJECT:
            # The project has put its own in the place of somebody's.
            return self._form(value, f"{self._at} reads {'.'.join(path)}")
        form = self._foreign(path[0], ".".join(path[1:]))
        # A setting such as `torch.backends.cudnn.benchmark`; what depends on the machine is no number.
        is_setting = origins.of_module(path[0]) is Origin.DISTRIBUTION and type(value) in (bool, int, float)
        return [form, normal_form.constant(value)] if is_setting else form

    def _by_statements(
        self, name: str, value: object, namespace: Namespace, why: str, seen: frozenset[int]
    ) -> digest.Framed:
        """What stands for a value without a form: the statements that bound it, where it was bound."""
        text = self._project_source(namespace)
        imports = () if text is None else text.imports_of(name)
        for module, attribute in imports:
            found = sys.modules.get(loaded.absolute(module, namespace))
            # Two modules may import everything from one another.
            if found is None or id(found) in seen or self.witness.look(vars(found), attribute) is not value:
                continue
            if origins.of_module(found.__name__) is not Origin.PROJECT:
                return self._foreign(found.__name__, attribute)
            return self._by_statements(attribute, value, vars(found), why, seen | {id(found)})
        bindings = () if text is None or imports else text.bindings(name)
        if not bindings:
            self.uncacheable.add(f"{self._at} reads {name}: {why}")
            return ["opaque", why]
        symbol = f"{self._module_name(namespace)}:{name}="
        if symbol not in self._done:
            self._done.add(symbol)
            self._todo.append(lambda: self._cover_statements(symbol, name, bindings, namespace))
        return ["statements", symbol]

    # ── modules ────────────────────────────────────────────────────────────────────────

    def _cover_effects(self) -> bool:
        """Cover what the imports of covered code do besides; answers whether there was anything new."""
        fresh = [name for name in self._modules if f"effects {name}" not in self._done]
        for name in fresh:
            self._done.add(f"effects {name}")
            module = sys.modules.get(name)
            if module is None or origins.of_module(name) is not Origin.PROJECT:
                self._cover_import(name)
                continue
            namespace = vars(module)
            text = self._project_source(namespace)
            if text is None:
                continue
            for imported in text.imports:
                parts = loaded.absolute(imported, namespace).split(".")
                # Importing a.b.c runs a and a.b before it.
                self._modules.update(dict.fromkeys(".".join(parts[: end + 1]) for end in range(len(parts))))
            effects = [*text.effects, *self._effects_by_the_way(text, namespace)]
            symbol = f"effects {self._module_name(namespace)}"
            self._sequences[name] = [
                None if step is None else loaded.absolute(step, namespace) for step in text.sequence
            ]
            if effects:
                self._acting.add(name)
                self._cover_statements(symbol, "", effects, namespace)
        return bool(fresh)

    def _effects_by_the_way(self, text: source.Source, namespace: Namespace) -> Iterator[Reading]:
        """Statements that bind a name, and whose effect is that they call something."""
        for name, reading in text.calls:
            if self.witness.look(namespace, name) is None:
                yield reading
        for head, reading in text.applied:
            value = self.witness.look(namespace, head[0])
            is_foreign = (
                origins.of_module(value.__name__) is not Origin.PROJECT
                if isinstance(value, types.ModuleType)
                else self._foreign_path(head[0], value, namespace) is not None
            )
            is_own = loaded.is_own(head, namespace)
            self.witness.answer(loaded.is_own, (head, namespace), is_own)
            if is_foreign and not is_own:
                yield reading

    def _cover_order(self) -> None:
        """Cover the order of what acts at import, where there is more than one of it."""
        acting = set(self._acting)
        grown = True
        while grown:
            found = {
                name for name, steps in self._sequences.items() if acting.intersection(filter(None, steps))
            }
            grown = not found <= acting
            acting |= found
        for name, steps in self._sequences.items():
            order: list[digest.Framed] = [
                "acts" if step is None else self._module_name(vars(sys.modules[step]))
                for step in dict.fromkeys(steps)
                if step is None or (step in acting and step in sys.modules)
            ]
            if len(order) > 1:
                symbol = f"order {self._module_name(vars(sys.modules[name]))}"
                self._add(symbol, self._digest("order", order))

    def _project_source(self, namespace: Namespace) -> source.Source | None:
        file = namespace.get("__file__")
        if not isinstance(file, str) or origins.of_file(file) is not Origin.PROJECT:
            return None
        return self._text_of(file)

    def _source_of(self, code: types.CodeType, namespace: Namespace) -> source.Source | None:
        file = code.co_filename
        if os.path.isabs(file) and os.path.isfile(file):
            return self._text_of(file)
        loaded_from = namespace.get("__file__")
        # A relative name was meant for the folder that the process was in when it compiled it.
        if isinstance(loaded_from, str) and os.path.basename(loaded_from) == os.path.basename(file):
            return self._text_of(loaded_from)
        self.witness.cannot_tell()
        return source.of_cell(file)


def roots(arguments: Iterable[object]) -> list[object]:
    """The project's classes of what comes in as arguments, and what of it is code."""
    found: dict[int, object] = {}
    for item in loaded.parts(arguments):
        kind = type(item)
        if loaded.origin(kind) is Origin.PROJECT:
            found[id(kind)] = kind
        elif forms.is_code(item):
            found[id(item)] = item
    return list(found.values())


def _first_symbol(form: digest.Framed) -> str | None:
    """The symbol in a form, behind whatever is applied to it."""
    if isinstance(form, list):
        if len(form) == 2 and form[0] == "code" and isinstance(form[1], str):
            return form[1]
        return next((found for part in form if (found := _first_symbol(part)) is not None), None)
    return None

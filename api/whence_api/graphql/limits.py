"""How much one request may ask, judged before any of it is carried out.

An answer's size is what a query's arguments allow at most: a list of `first` items inside a list of `first` items.
Decides nothing about who asks, nor how often (`whence_api.limits`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SchemaMetaFieldDef,
    SelectionSetNode,
    TypeMetaFieldDef,
    TypeNameMetaFieldDef,
    get_named_type,
    get_nullable_type,
    get_operation_ast,
    is_leaf_type,
    is_list_type,
)
from graphql.execution.values import get_argument_values, get_variable_values
from strawberry.extensions import SchemaExtension

from whence_api.graphql import relay
from whence_catalog.errors import ErrorKind


@dataclass(frozen=True, slots=True)
class GraphqlLimits:
    """How much one request may ask. `Settings` has a field of each name, with `graphql_` before it.

    Args:
        characters: how long a document may be.
        tokens: how many words and signs it may have.
        depth: how deep fields may stand in one another.
        aliases: how many fields may be renamed, which is how one is asked for again and again.
        items: what `first` may be at most, and how many ids may be given.
        breadth: how many items the innermost list may have, over all lists around it.
        cost: how many values an answer may have, a value of a lineage's node or edge counted as a twentieth.
        lineage_nodes: what `maxNodes` may be at most.
        lineage_seconds: what `seconds` may be at most.
        seconds: how long it may take to carry out.
    """

    characters: int = 100_000
    tokens: int = 2000
    depth: int = 20
    aliases: int = 30
    items: int = 100
    breadth: int = 20_000
    cost: int = 100_000
    lineage_nodes: int = 10_000
    lineage_seconds: float = 20.0
    seconds: float = 30.0


# What may be asked of the schema itself, whatever the limits are: tools ask for all of it.
_SCHEMA_DEPTH = 20
_SCHEMA_COST = 100_000
_OF_SCHEMA = frozenset({"__schema", "__type"})
# Values that are written out together, without a resolver for each.
_FLAT = frozenset({"LineageNode", "LineageEdge"})
_FLAT_VALUES = 20
# How long a list may be that no argument bounds: names and values of one thing, or of the schema.
_OF_ONE_THING = 10
# What of an input may be as many as ids are: each is looked for in the catalog.
_OF_A_PLAN = frozenset({"targets", "downstreamOf", "inputs", "params"})
_META: Mapping[str, GraphQLField] = {
    "__schema": SchemaMetaFieldDef,
    "__type": TypeMetaFieldDef,
    "__typename": TypeNameMetaFieldDef,
}


def refusal(message: str, kind: ErrorKind = ErrorKind.TOO_LARGE) -> GraphQLError:
    """Why a request is not carried out."""
    return GraphQLError(message, extensions={"code": kind.value})


@dataclass(slots=True)
class Measure:
    """What a selection asks for, on each single thing that it is of.

    `alone` is a field in it that may be asked of one thing at a time; `of_schema` is the cost of what it asks of the
    schema itself.
    """

    cost: float = 0.0
    depth: int = 0
    breadth: int = 1
    aliases: int = 0
    alone: str | None = None
    of_schema: float = 0.0

    def beside(self, other: "Measure") -> None:
        """Both are asked for."""
        self.cost += other.cost
        self.of_schema += other.of_schema
        self.depth = max(self.depth, other.depth)
        self.breadth = max(self.breadth, other.breadth)
        self.aliases += other.aliases
        self.alone = self.alone or other.alone


class _Measuring:
    """Measures one operation. Fragments are measured once each, however often they are spread."""

    def __init__(
        self,
        limits: GraphqlLimits,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
    ) -> None:
        self._limits = limits
        self._schema = schema
        self._fragments = fragments
        self._variables = dict(variables)
        self._known: dict[tuple[str, int], Measure] = {}
        self._level = 0
        self._deepest = limits.depth

    def selection(self, chosen: SelectionSetNode, parent: Any, items: int) -> Measure:
        """What a selection on one `parent` asks; lists that stand in it directly have `items` items."""
        found = Measure()
        for node in chosen.selections:
            match node:
                case FieldNode():
                    found.beside(self._field(node, parent, items))
                case InlineFragmentNode():
                    named = node.type_condition
                    inside = parent if named is None else self._schema.get_type(named.name.value)
                    found.beside(self.selection(node.selection_set, inside, items))
                case FragmentSpreadNode():
                    found.beside(self._spread(node.name.value, items))
        return found

    def _spread(self, name: str, items: int) -> Measure:
        known = self._known.get((name, items))
        if known is None:
            fragment = self._fragments[name]
            on = self._schema.get_type(fragment.type_condition.name.value)
            known = self._known[name, items] = self.selection(fragment.selection_set, on, items)
        return known

    def _field(self, node: FieldNode, parent: Any, items: int) -> Measure:
        name = node.name.value
        aliases = int(node.alias is not None)
        defined = _META.get(name) or cast("GraphQLField", parent.fields[name])
        of = get_named_type(defined.type)
        if is_leaf_type(of) or node.selection_set is None:
            return Measure(1 / _FLAT_VALUES if parent.name in _FLAT else 1.0, 1, 1, aliases)
        own = self._items(defined, node)
        is_list = is_list_type(get_nullable_type(cast("Any", defined.type)))
        count = (own or items or _OF_ONE_THING) if is_list else 1
        if name in _OF_SCHEMA:
            return self._of_schema(node.selection_set, of, aliases)
        self._level += 1
        if self._level > self._deepest:
            raise _too_deep(self._deepest)
        inside = self.selection(node.selection_set, of, 0 if is_list else own)
        self._level -= 1
        if inside.alone and count > 1:
            raise refusal(
                f"{inside.alone} is asked for inside {name}, of up to {count} things; ask it of one at a time",
                ErrorKind.BAD_VALUE,
            )
        told = relay.metadata(defined)
        return Measure(
            cost=count * (1 + inside.cost) + cast("float", told.get(relay.WEIGHT, 0)),
            depth=inside.depth + 1,
            breadth=count * inside.breadth,
            aliases=inside.aliases + aliases,
            alone=name if told.get(relay.ALONE) else inside.alone,
            of_schema=inside.of_schema,
        )

    def _of_schema(self, chosen: SelectionSetNode, of: Any, aliases: int) -> Measure:
        level, self._level, self._deepest = self._level, 1, _SCHEMA_DEPTH
        inside = self.selection(chosen, of, 0)
        self._level, self._deepest = level, self._limits.depth
        if inside.depth >= _SCHEMA_DEPTH:
            raise _too_deep(_SCHEMA_DEPTH)
        return Measure(aliases=aliases + inside.aliases, of_schema=1 + inside.cost)

    def _items(self, defined: GraphQLField, node: FieldNode) -> int:
        """How many items a field allows by its own arguments; 0 where it says nothing of that.

        Raises:
            GraphQLError: more than may be asked for, or none.
        """
        given = get_argument_values(defined, node, self._variables) if defined.args else {}
        most, name = self._limits.items, node.name.value
        for ids in ("ids", "roots", "of"):
            if isinstance(given.get(ids), list) and len(given[ids]) > most:
                raise refusal(f"{name} is given {len(given[ids])} {ids}; expected {most} at most")
        said = given.get("input") or {}
        for listed in _OF_A_PLAN & said.keys():
            if len(said[listed] or ()) > most:
                raise refusal(f"{name} is given {len(said[listed])} {listed}; expected {most} at most")
        for many in ("first", "max"):
            if many in given:
                if not 1 <= given[many] <= most:
                    raise refusal(
                        f"{many} is {given[many]} in {name}; expected 1 to {most}", ErrorKind.BAD_VALUE
                    )
                return int(given[many])
        if "ids" in given:
            return len(given["ids"])
        if "bounds" in defined.args:
            asked: int = (given.get("bounds") or {}).get("maxNodes", relay.NODES)
            return max(1, min(asked, self._limits.lineage_nodes))
        return 0

    def check(self, operation: OperationDefinitionNode, root: Any) -> Measure:
        """What the operation asks.

        Raises:
            GraphQLError: it is more than it may.
        """
        found = self.selection(operation.selection_set, root, 0)
        limits = self._limits
        if found.depth > limits.depth:
            raise _too_deep(limits.depth)
        if found.aliases > limits.aliases:
            raise refusal(f"{found.aliases} fields are renamed; expected {limits.aliases} at most")
        if found.breadth > limits.breadth:
            raise refusal(
                f"lists in lists may have {found.breadth} items; expected {limits.breadth} at most: lower `first`"
            )
        if found.of_schema > _SCHEMA_COST:
            raise refusal(f"the schema is asked for in circles: {found.of_schema:.0f} values of it")
        if found.cost > limits.cost:
            raise refusal(
                f"the answer may have {found.cost:.0f} values; expected {limits.cost} at most: lower `first`, or select"
                " fewer fields"
            )
        return found


def _too_deep(most: int) -> GraphQLError:
    return refusal(f"fields stand more than {most} deep in one another; ask for less at once")


def check(
    limits: GraphqlLimits,
    schema: GraphQLSchema,
    document: DocumentNode,
    named: str | None,
    variables: Mapping[str, Any] | None,
) -> Measure | None:
    """That an operation of a document, which was found valid, asks no more than it may; answers what it asks.

    None: nothing was measured, since it will not be carried out with these variables, or by that name.

    Args:
        named: the operation that was asked for by its name.

    Raises:
        GraphQLError: it asks more, or nobody said which operation is meant.
    """
    several = [part for part in document.definitions if isinstance(part, OperationDefinitionNode)]
    if len(several) > 1 and named is None:
        # Strawberry would carry out the first of them.
        raise refusal(
            f"the document has {len(several)} operations; say by operationName which", ErrorKind.BAD_VALUE
        )
    operation = get_operation_ast(document, named)
    root = None if operation is None else schema.get_root_type(operation.operation)
    if operation is None or root is None:
        return None  # carrying it out says that there is none
    given = get_variable_values(schema, operation.variable_definitions or (), dict(variables or {}))
    if isinstance(given, list):
        return None  # carrying it out says what is wrong with each
    fragments = {
        part.name.value: part for part in document.definitions if isinstance(part, FragmentDefinitionNode)
    }
    return _Measuring(limits, schema, fragments, given).check(operation, root)


class Limiter(SchemaExtension):
    """Refuses subscriptions that ask for more than they may, and lets their parser stop in time."""

    def __init__(self, limits: GraphqlLimits) -> None:
        super().__init__()
        self._limits = limits

    def on_operation(self) -> Iterator[None]:
        """Let the parser stop in time."""
        self.execution_context.parse_options["max_tokens"] = self._limits.tokens
        yield

    def on_execute(self) -> Iterator[None]:
        """Refuse, instead of carrying it out."""
        context = self.execution_context
        assert context.graphql_document is not None
        schema, named = context.schema._schema, context._provided_operation_name
        check(self._limits, schema, context.graphql_document, named, context.variables)
        yield

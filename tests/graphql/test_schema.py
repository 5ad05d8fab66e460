"""The schema is an API: what it promises is printed, described, and changes only on purpose."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
    build_schema,
    get_introspection_query,
    get_named_type,
    is_introspection_type,
    is_specified_scalar_type,
)

from tests.graphql.conftest import Schema
from whence_api import graphql
from whence_api.graphql import execution, rows
from whence_api.graphql.limits import GraphqlLimits

SCHEMA = execution.Schema(GraphqlLimits())


def printed() -> str:
    return f"{SCHEMA.as_str()}\n"


def test_the_printed_schema_is_what_is_served() -> None:
    """To write it anew: python -m tests.graphql.test_schema"""
    assert graphql.SCHEMA.read_text() == printed()


def test_the_printed_schema_is_one_that_tools_can_read() -> None:
    assert build_schema(graphql.SCHEMA.read_text()).query_type is not None


def undescribed() -> Iterator[str]:
    for name, of in SCHEMA._schema.type_map.items():
        if is_introspection_type(of) or is_specified_scalar_type(of):
            continue
        if not of.description:
            yield name
        if isinstance(of, GraphQLObjectType | GraphQLInterfaceType):
            for field, defined in of.fields.items():
                if not defined.description:
                    yield f"{name}.{field}"
                yield from (
                    f"{name}.{field}({argument})"
                    for argument, told in defined.args.items()
                    if not told.description
                )
        if isinstance(of, GraphQLEnumType):
            yield from (f"{name}.{value}" for value, told in of.values.items() if not told.description)
        if isinstance(of, GraphQLInputObjectType):
            yield from (f"{name}.{field}" for field, told in of.fields.items() if not told.description)


def test_every_type_field_argument_and_value_is_described() -> None:
    assert list(undescribed()) == []


def test_what_has_a_global_id_can_be_asked_for_by_it() -> None:
    nodes = {of.name for of in SCHEMA._schema.get_possible_types(SCHEMA._schema.type_map["Node"])}  # type: ignore[arg-type]
    assert nodes == {"Artifact", "Version", "Run", "Deployment"}


def test_every_list_that_can_grow_is_in_pages() -> None:
    lists = {
        f"{name}.{field}"
        for name, of in SCHEMA._schema.type_map.items()
        if isinstance(of, GraphQLObjectType) and not is_introspection_type(of)
        for field, defined in of.fields.items()
        if "[" in str(defined.type) and "first" not in defined.args
    }
    in_pages = {name for name in lists if name.endswith(("Connection.nodes", "Connection.edges"))}
    bounded = {
        "Lineage.roots",
        "Lineage.nodes",
        "Lineage.edges",
        "LineageDelta.nodes",
        "LineageDelta.edges",
        "Query.nodes",
        "Paths.paths",
        "Difference.parts",
        "Reach.productions",
        "Reach.aliases",
        "Reach.deployments",
        "Reach.entries",
    }
    by_kind = {"ImpactConnection.kinds", "RerunPlan.reasons"}
    of_one_run = {
        "Run.metrics",
        "Run.labels",
        "Labelled.labels",
        "Judgements.labels",
        "Run.warnings",
        "Production.metrics",
        "Code.argv",
        "Code.command",
        "Code.search",
        "Code.blindSpots",
        "Explanation.components",
        "Explanation.causes",
        "Cause.components",
        "Cause.through",
        "Completeness.reasons",
    }
    cut_when_recorded = {
        f"Reads.{name}" for name in ("files", "sockets", "subprocesses", "variables", "blindSpots", "holes")
    }
    assert lists - in_pages == bounded | by_kind | of_one_run | cut_when_recorded


def test_a_list_in_pages_is_asked_for_by_how_many_and_behind_what() -> None:
    for name, of in SCHEMA._schema.type_map.items():
        if not isinstance(of, GraphQLObjectType):
            continue
        for field, defined in of.fields.items():
            if any(part.endswith("Connection") for part in _named(defined.type)):
                assert {"first", "after"} <= set(defined.args), f"{name}.{field}"


def _named(type: object) -> set[str]:
    """The name of a type, and those of a union's members."""
    named = get_named_type(type)  # type: ignore[call-overload]
    members = named.types if isinstance(named, GraphQLUnionType) else (named,)
    return {member.name for member in members}


def test_values_of_enums_are_what_the_catalog_calls_them() -> None:
    states = SCHEMA._schema.type_map["RunState"]
    assert isinstance(states, GraphQLEnumType)
    assert set(states.values) == {"RUNNING", "COMPLETE", "FAILED", "ABORTED", "REUSED"}


def test_tools_may_ask_for_the_schema(ask: Schema) -> None:
    answer = ask(get_introspection_query(descriptions=True, input_value_deprecation=True))
    assert answer.errors == []
    assert len(answer.data["__schema"]["types"]) > 40


def test_lists_are_written_out_by_column() -> None:
    assert SCHEMA.execution_context_class is rows.RowsContext


@pytest.mark.parametrize("word", ["Execution", "Task", "Entity", "Asset"])
def test_the_schema_speaks_our_words(word: str) -> None:
    assert not any(word in name for name in SCHEMA._schema.type_map)


if __name__ == "__main__":
    Path(graphql.SCHEMA).write_text(printed())

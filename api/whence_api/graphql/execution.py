"""How a request is carried out: within its limits and its time, and with errors that tell nothing of the server."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

import graphql
import strawberry
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.graphql import OperationType
from strawberry.utils.operation import get_first_operation, get_operation_type

from whence_api import answers
from whence_api.graphql import documents, mutation, rows, said, subscription, types, values
from whence_api.graphql import limits as limiting
from whence_api.graphql import query as root
from whence_api.graphql.limits import GraphqlLimits
from whence_catalog.errors import ErrorKind, InvalidInput, WhenceError

log = logging.getLogger("whence.graphql")

# What no field names, but an interface stands for.
TYPES = (types.Artifact, types.Version, types.Run, said.Deployment)

_NO_SUBSCRIPTION = (CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError)


class Schema(strawberry.Schema):
    """The schema, and how requests on it are carried out."""

    def __init__(self, limits: GraphqlLimits) -> None:
        self.limits = limits
        super().__init__(
            root.Query,
            mutation.Mutation,
            subscription.Subscription,
            types=TYPES,
            execution_context_class=rows.CONTEXT,
            config=StrawberryConfig(scalar_map=values.SCALARS),
            extensions=[lambda: limiting.Limiter(limits)],
        )
        self._reader = documents.Reader(self._schema, limits)

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Carry a request out; where that is refused, or not done in time, the answer is why."""
        # A subscription has no one answer; it is asked for over a WebSocket, or as a stream of events.
        allowed = set(allowed_operation_types or OperationType) - {OperationType.SUBSCRIPTION}
        if query is not None and len(query) > self.limits.characters:
            told = f"the document has {len(query)} characters; expected {self.limits.characters} at most"
            return ExecutionResult(data=None, errors=[limiting.refusal(told)])
        try:
            async with asyncio.timeout(self.limits.seconds):
                result = await self._carried_out(
                    query, variable_values, context_value, operation_name, allowed
                )
        except InvalidOperationTypeError as refused:
            if refused.operation_type is not OperationType.SUBSCRIPTION:
                raise
            told = "a subscription has no single answer; ask over a WebSocket, or accept text/event-stream"
            return ExecutionResult(data=None, errors=[limiting.refusal(told, ErrorKind.BAD_VALUE)])
        except TimeoutError:
            told = f"this was not answered within {self.limits.seconds:g} s; ask for less at once"
            return ExecutionResult(data=None, errors=[limiting.refusal(told, ErrorKind.UNREACHABLE)])
        if result.errors:
            request_id = _request_id(context_value)
            result.errors = [_told(error, request_id) for error in result.errors]
        return result

    async def _carried_out(
        self,
        query: str | None,
        variables: dict[str, Any] | None,
        context: Any,
        named: str | None,
        allowed: set[OperationType],
    ) -> ExecutionResult:
        """As Strawberry would, whose extensions cost as much as a small query."""
        if not query:
            raise MissingQueryError
        reader = self._reader
        try:
            document = reader.parsed(query)
            first = get_first_operation(document)
            of = named if named is not None or first is None or first.name is None else first.name.value
            try:
                asked = get_operation_type(document, of)
            except RuntimeError as error:
                raise CannotGetOperationTypeError(of) from error
            if asked not in allowed:
                raise InvalidOperationTypeError(asked)
            if faults := reader.faults(query):
                return ExecutionResult(None, list(faults))
            reader.check(query, named, variables)
            executed = graphql.execute(
                self._schema,
                document,
                context_value=context,
                variable_values=variables,
                operation_name=of,
                execution_context_class=self.execution_context_class,
                is_awaitable=optimized_is_awaitable,
            )
            result = executed if isinstance(executed, graphql.ExecutionResult) else await executed
            return ExecutionResult(result.data, result.errors)
        except (CannotGetOperationTypeError, InvalidOperationTypeError):
            raise
        except GraphQLError as error:
            return ExecutionResult(None, [error])
        except Exception as error:
            return ExecutionResult(None, [GraphQLError(str(error), original_error=error)])

    async def stream(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        operation_extensions: dict[str, Any] | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
    ) -> Any:
        """Carry a subscription out; all else is asked in a request of its own."""
        if query is not None and len(query) > self.limits.characters:
            query = "{"  # of which the parser says that it is none
        results = await super().stream(
            query,
            variable_values,
            context_value,
            root_value,
            operation_name,
            operation_extensions,
            (OperationType.SUBSCRIPTION,),
        )
        return self._discreet(results, _request_id(context_value))

    async def _discreet(self, results: Any, request_id: str) -> AsyncGenerator[Any, None]:
        async with aclosing(results):
            async for result in results:
                if result.errors:
                    result.errors = [_told(error, request_id) for error in result.errors]
                yield result

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Nothing: `execute` logs what is worth it."""


def _request_id(context: object) -> str:
    request = getattr(context, "request", None)
    return "" if request is None else str(answers.state(request.scope).get("request_id", ""))


def _told(error: GraphQLError, request_id: str) -> GraphQLError:
    """An error as a client is told it: with a code, and without anything of the server's own."""
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError):
        if cause.original_error is None:
            code = {"code": ErrorKind.BAD_VALUE.value, **(cause.extensions or {})}
            return _as(error, cause.message, code)
        cause = cause.original_error
    if isinstance(cause, _NO_SUBSCRIPTION):
        cause = InvalidInput("only a subscription is asked for so; send all else by POST")
    if isinstance(cause, RecursionError):
        cause = InvalidInput("this is nested too deeply; ask for less at once")
    if not isinstance(cause, WhenceError):
        log.error("request %s: a field could not be resolved", request_id, exc_info=cause)
        cause = answers.broken(request_id)
    return _as(error, str(cause), {"code": cause.kind.value, "type": type(cause).__name__})


def _as(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )

"""One statement for any number of rows of parameters, as PostgreSQL has it: each parameter is the array of theirs."""

from typing import Any

from sqlalchemy import ARRAY, Insert, Select, bindparam, cast, column, func, literal_column, select, true
from sqlalchemy.sql import ClauseElement, visitors
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.types import NullType


def of_many(core: ClauseElement) -> ClauseElement | None:
    """The statement for all of them, where there is one: for queries, and for upserts of what is selected.

    A query answers, before each row, the place (from 1 on) of whom it answers; rows come in the order of those.
    What an upsert selects it writes in that order. There is none where a parameter's type is not known, or is an array.
    """
    selecting = core.select if isinstance(core, Insert) else core
    if not isinstance(selecting, Select):
        return None
    asked = {
        each.key: each.type
        for each in visitors.iterate(selecting)
        if isinstance(each, BindParameter) and each.required
    }
    if any(isinstance(kind, NullType) for kind in asked.values()):
        return None
    # PostgreSQL plans it once where it cannot see how many there are; else it does so again each time.
    arrays = [select(cast(bindparam(name), ARRAY(kind))).scalar_subquery() for name, kind in asked.items()]
    named = [column(name, kind) for name, kind in asked.items()]
    given = func.unnest(*arrays).table_valued(*named, with_ordinality="place").render_derived("given")

    def of_row(element: Any, **_: object) -> Any:
        is_asked = isinstance(element, BindParameter) and element.key in asked
        return given.c[element.key] if is_asked else None

    # With an OFFSET it is planned as it is for one row: by the indexes, however small the tables are at that time.
    replaced: Any = visitors.replacement_traverse(selecting, {}, of_row)
    found = replaced.offset(literal_column("0")).lateral("found")
    of_each = select(*found.c).select_from(given.join(found, true())).order_by(given.c.place)
    if not isinstance(core, Insert):
        return of_each.with_only_columns(given.c.place, *found.c)
    made = core._clone()
    made.select = of_each
    return made

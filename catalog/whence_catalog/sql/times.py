"""What was known when: positions and times, and what may be asked as of a position."""

from sqlalchemy import BigInteger, ColumnElement, bindparam, case, cast, func, literal_column, select

from whence_catalog.errors import InvalidInput
from whence_catalog.sql import engine, tables
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Statement, Transaction

_FACT = tables.FACT.c

_ONE: ColumnElement[int] = literal_column("1", BigInteger)
_TWO: ColumnElement[int] = literal_column("2", BigInteger)


def _bisection() -> Statement:
    """Times never decrease along positions: twenty steps through the index of positions find one in a million.

    So facts need no index by time, which every write would pay for.
    """
    low, high = cast(literal_column("0"), BigInteger), cast(bindparam("head"), BigInteger)
    span = select(low.label("low"), high.label("high")).cte("span", recursive=True)
    middle = (span.c.low + span.c.high + _ONE) // _TWO
    is_before = _FACT.sequenced_at <= bindparam("moment")
    halved = (
        select(
            case((is_before, middle), else_=span.c.low), case((is_before, span.c.high), else_=middle - _ONE)
        )
        .join_from(span, tables.FACT, _FACT.position == middle)
        .where(span.c.low < span.c.high)
    )
    return Statement(select(func.max(span.union_all(halved).c.low)))


_position_at = _bisection()


def position_at(tx: Transaction, micros: int) -> int:
    """The greatest position that was given at or before that time; 0 for none."""
    row = tx.one(_position_at, head=fact_log.head(tx), moment=micros)
    return 0 if row is None else row[0]


def head(tx: Transaction, as_of: int | None) -> int:
    """Up to where in the log is asked; where nobody says, to its end.

    Raises:
        InvalidInput: there is no such position yet, so what is known at it may still change.
    """
    last = fact_log.head(tx)
    if as_of is None:
        return last
    if not 0 <= as_of <= last:
        raise InvalidInput(f"as of position {as_of}: the log goes from 0 to {last}")
    return as_of


def checked(tx: Transaction, as_of: int | None) -> int:
    """As `head`, but where nobody says, all that is committed, sequenced or not: `engine.NOW`.

    Raises:
        InvalidInput: as `head`.
    """
    return engine.NOW if as_of is None else head(tx, as_of)


def named(what: str, as_of: int | None) -> str:
    """What a list is of, so that no cursor of it is taken for one of the same as of another position."""
    return what if as_of is None else f"{what} as of {as_of}"

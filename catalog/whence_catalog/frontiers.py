"""Where a traversal was cut: a text with which the next call goes on.

It says which question it is of, as of which position that is answered, and how many steps were taken. What was
recorded up to a position never changes, so the same steps are taken again, and the text stays as short however far
one has gone. A later page reads the edges of the earlier ones again: who wants the whole asks for it in one call
without bounds, or has it streamed.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from whence_catalog import digest
from whence_catalog.errors import InvalidInput
from whence_catalog.lineage import Direction, Filter, NodeKey, Which

DOMAIN = "whence.frontier/2"


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked. `as_of` is None where what is known now was asked for."""

    roots: tuple[NodeKey, ...]
    direction: Direction
    filter: Filter
    as_of: int | None

    @property
    def digest(self) -> str:
        """Tells it from others."""
        said: list[digest.Framed] = [str(self.direction), self.as_of, list(self.roots)]
        some = (self.filter.show, self.filter.stop_at, self.filter.pass_through)
        said += [None if which is None else _said(which) for which in some]
        within = self.filter.within
        said += [self.filter.collapse_reuse, None if within is None else sorted(within)]
        return digest.digest_of(DOMAIN, said).short


def _said(which: Which) -> list[digest.Framed]:
    texts: tuple[Iterable[str], ...] = (which.kinds, which.projects, which.states, which.types)
    pairs: list[digest.Framed] = [list(pair) for pair in sorted(which.labels)]
    return [pairs, *(sorted(map(str, some)) for some in texts)]


@dataclass(frozen=True, slots=True)
class Frontier:
    """`steps` were taken in the history as of `position`, to a depth of `limit` (None: any)."""

    question: str
    position: int
    limit: int | None
    steps: int

    def __str__(self) -> str:
        limit = "-" if self.limit is None else str(self.limit)
        body = f"{self.question} {self.position} {limit} {self.steps}"
        return base64.urlsafe_b64encode(f"{_checksum(body)} {body}".encode()).decode()

    @classmethod
    def parse(cls, text: str) -> "Frontier":
        """The frontier that was written so.

        Raises:
            InvalidInput: none was.
        """
        try:
            checksum, _, body = base64.b64decode(text, b"-_", validate=True).decode().partition(" ")
            question, position, limit, steps = body.split(" ")
            found = cls(question, int(position), None if limit == "-" else int(limit), int(steps))
        except ValueError as error:
            raise _refused() from error
        if checksum != _checksum(body):
            raise _refused()
        return found

    def require(self, question: Question) -> None:
        """Refuse another question than the one that it is of.

        Raises:
            InvalidInput: it is of another.
        """
        if self.question != question.digest:
            raise _refused()


def _checksum(body: str) -> str:
    return digest.digest_of(DOMAIN, body).short


def _refused() -> InvalidInput:
    return InvalidInput(
        "not a frontier of this traversal; give one back as it came, with the same roots, direction, filter and as_of"
    )

"""Modes: how a call treats the cache, where its own word for that may be overruled from outside.

WHENCE_CACHE   a mode for every job (`refresh`), or selectors, `pattern=mode`, the first that matches counts:
               `WHENCE_CACHE="train=refresh,eval.*=record,*=reuse"`. A pattern is a glob (`*`, `?`, `[…]`) for the
               whole name of a job; one without a dot is for the last part of the name, too, so that `train`
               selects `pipeline.train`. A mode alone stands for every job. A job that none matches keeps the
               mode that its code says.
"""

import fnmatch
import functools
from collections.abc import Sequence
from typing import Literal, TypeAlias

from whence_catalog import model
from whence_catalog.errors import InvalidInput

VARIABLE = "WHENCE_CACHE"

ModeName: TypeAlias = Literal["reuse", "refresh", "record", "off"]


def mode(text: str, where: str) -> model.Mode:
    """The mode of that name; `where` is what the caller knows it as.

    Raises:
        InvalidInput: there is none.
    """
    try:
        return model.Mode(text)
    except ValueError as error:
        raise InvalidInput(f"{where} is {text!r}; it is one of {', '.join(model.Mode)}") from error


def chosen(selectors: str, job: str, own: model.Mode) -> model.Mode:
    """The mode for `job`: what the first of `selectors` that matches says, else its `own`.

    Raises:
        InvalidInput: a part of them has no meaning, whether it matches or not.
    """
    return next((said for pattern, said in parsed(selectors) if selects(pattern, job)), own)


def selects(pattern: str, job: str) -> bool:
    """Whether a pattern means that job."""
    if fnmatch.fnmatchcase(job, pattern):
        return True
    return "." not in pattern and fnmatch.fnmatchcase(job.rpartition(".")[2], pattern)


@functools.lru_cache(maxsize=16)
def parsed(selectors: str) -> Sequence[tuple[str, model.Mode]]:
    """(pattern, mode) of each selector, in order.

    Raises:
        InvalidInput: names the part that has no meaning.
    """
    if not selectors.strip():
        return ()
    parts = selectors.split(",")
    if len(parts) == 1 and "=" not in selectors:
        return (("*", mode(selectors.strip(), VARIABLE)),)
    return [_selector(part.strip(), place) for place, part in enumerate(parts, 1)]


def _selector(part: str, place: int) -> tuple[str, model.Mode]:
    pattern, equals, named = (text.strip() for text in part.rpartition("="))
    where = f"{VARIABLE}: part {place} ({part!r})"
    if not named or (equals and not pattern):
        raise InvalidInput(
            f"{where} is no selector; a selector is pattern=mode, as in train=refresh, or a mode alone"
        )
    try:
        return pattern or "*", model.Mode(named)
    except ValueError as error:
        raise InvalidInput(f"{where} has the mode {named!r}; it is one of {', '.join(model.Mode)}") from error

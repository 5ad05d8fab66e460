"""Who may do what in which project.

Decides whether a grant covers an action, and who may give which; leaves to the server who somebody is
(`whence_api.auth`), and which verb needs which grant (`whence_api.access`).

A token's secret is `whence_` and 43 characters of the URL-safe alphabet (256 bits). It is made where it is asked
for and shown once; what is sent and kept is its SHA-256. No salt or slow hash: nobody guesses 256 bits.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from whence_catalog import model
from whence_catalog.errors import InvalidInput

# Stands for every project, in a grant.
EVERY_PROJECT = "*"

_SECRET = re.compile(r"whence_[A-Za-z0-9_-]{43}")


class Grant(StrEnum):
    """What somebody may do in a project."""

    READ = "read"
    RECORD = "record"
    PROMOTE = "promote"
    APPROVE = "approve"
    ADMINISTER = "administer"


@dataclass(frozen=True, slots=True)
class Grants:
    """What somebody may do, by project; `*` is every project. Who administers a project may do all in it,
    and every grant includes to read.
    """

    by_project: Mapping[str, frozenset[Grant]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for project, given in self.by_project.items():
            if project != EVERY_PROJECT:
                model.Artifact(project, "file", "x")  # the one place that knows what a project's name can be
            if not given:
                raise InvalidInput(f"nothing is granted in project {project}; leave it out")

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Grants":
        """The grants that are written `read:vision`, or `record:*` for every project.

        Raises:
            InvalidInput: with the expected form.
        """
        found: dict[str, set[Grant]] = {}
        for text in texts:
            name, colon, project = text.partition(":")
            if name not in set(Grant) or not colon:
                raise InvalidInput(
                    f"not a grant: {text!r}; expected one of {', '.join(Grant)}, and where: for example"
                    " record:vision, or read:* for every project"
                )
            found.setdefault(project, set()).add(Grant(name))
        return cls({project: frozenset(given) for project, given in found.items()})

    @property
    def texts(self) -> tuple[str, ...]:
        """As `parse` reads them, in order."""
        return tuple(
            f"{grant}:{project}"
            for project, given in sorted(self.by_project.items())
            for grant in Grant
            if grant in given
        )

    def allows(self, grant: Grant, project: str) -> bool:
        """Whether `grant` is given in `project`; in `*`: in every project, those to come included."""
        given = self.by_project.get(project, frozenset()) | self.by_project.get(EVERY_PROJECT, frozenset())
        return grant in given or Grant.ADMINISTER in given or (grant is Grant.READ and bool(given))

    def allows_somewhere(self, grant: Grant) -> bool:
        """Whether there is a project in which `grant` is given."""
        return any(self.allows(grant, project) for project in self.by_project)

    def may_give(self, given: "Grants") -> bool:
        """Whether who holds these may give those, or take them back: they administer all projects in them."""
        return all(self.allows(Grant.ADMINISTER, project) for project in given.by_project)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, and what they may do."""

    actor: model.Actor
    grants: Grants

    def may(self, grant: Grant, project: str) -> bool:
        """Whether they may do that there."""
        return self.grants.allows(grant, project)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token as it is kept: `hash` is the SHA-256 of its secret, which nobody keeps."""

    uid: UUID
    name: str
    actor: str
    hash: bytes
    grants: Grants
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def __post_init__(self) -> None:
        for what, text in (("name", self.name), ("actor", self.actor)):
            if not is_plain(text):
                raise InvalidInput(f"not a token's {what}: {text!r}; it is text, without control characters")
        if len(self.hash) != hashlib.sha256().digest_size:
            raise InvalidInput(f"a token's hash is the SHA-256 of its secret, not {len(self.hash)} bytes")


def is_plain(text: str) -> bool:
    """Whether a name can be shown and kept: it is not empty, and holds no control characters or surrogates."""
    return bool(text.strip()) and text.isprintable()


def is_secret(text: str) -> bool:
    """Whether a text has the form of a token's secret."""
    return _SECRET.fullmatch(text) is not None


def hash_of(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()

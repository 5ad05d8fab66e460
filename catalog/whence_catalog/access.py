"""Who may do what in which project.

Decides whether a grant covers an action; leaves to the server who somebody is (`whence_api.auth`), and
which verb needs which grant (`whence_api.access`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from whence_catalog import model

# Stands for every project, in a grant.
EVERY_PROJECT = "*"


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

    def allows(self, grant: Grant, project: str) -> bool:
        """Whether `grant` is given in `project`."""
        given = self.by_project.get(project, frozenset()) | self.by_project.get(EVERY_PROJECT, frozenset())
        return grant in given or Grant.ADMINISTER in given or (grant is Grant.READ and bool(given))


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, and what they may do."""

    actor: model.Actor
    grants: Grants


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

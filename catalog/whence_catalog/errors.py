"""Every error whence raises, grouped by what the caller can do about it.

    WhenceError
    ├── InvalidInput    what was given cannot be meant: change the call
    ├── NotFound        nothing has that name or id: the message suggests near ones
    ├── Conflict        it contradicts what is recorded, or somebody was first: look again, then decide
    ├── Denied          the caller may not
    ├── Damaged         recorded bytes are missing or altered: restore them, or make them again
    ├── NotReady        the catalog, the machine or the installation lacks something: run what is named
    └── Unreachable     the catalog or the store did not answer: try again later

Each carries an `ErrorKind`, which programs may rely on; the text is for people.
"""

from enum import StrEnum
from typing import TypeAlias, TypeVar


class ErrorKind(StrEnum):
    """What went wrong, for programs. Append-only: a kind is never renamed or reused."""

    BAD_VALUE = "bad-value"
    BAD_REFERENCE = "bad-reference"
    BAD_DIGEST = "bad-digest"
    BAD_NAME = "bad-name"
    BAD_PATH = "bad-path"
    UNSUPPORTED_VALUE = "unsupported-value"
    MALFORMED_FRAME = "malformed-frame"
    NO_SUCH_ARTIFACT = "no-such-artifact"
    NO_SUCH_VERSION = "no-such-version"
    NO_SUCH_ALIAS = "no-such-alias"
    NO_SUCH_RUN = "no-such-run"
    AMBIGUOUS_RUN = "ambiguous-run"
    NO_SUCH_FILE = "no-such-file"
    OTHER_CONTENT = "other-content"
    WRONG_STATE = "wrong-state"
    LEASE_LOST = "lease-lost"
    ALIAS_MOVED = "alias-moved"
    INPUT_CHANGED = "input-changed"
    NOT_RERUNNABLE = "not-rerunnable"
    BLOB_MISSING = "blob-missing"
    BLOB_ALTERED = "blob-altered"
    FACT_ALTERED = "fact-altered"
    NOT_A_CATALOG = "not-a-catalog"
    SCHEMA_OLDER = "schema-older"
    SCHEMA_NEWER = "schema-newer"
    NETWORK_FILESYSTEM = "network-filesystem"
    EXTRA_MISSING = "extra-missing"
    READ_ONLY = "read-only"
    DISK_FULL = "disk-full"
    LOCKED = "locked"
    UNREACHABLE = "unreachable"
    PERMISSION = "permission"
    UNAUTHENTICATED = "unauthenticated"
    NOT_GRANTED = "not-granted"
    TOO_LARGE = "too-large"
    TOO_MANY = "too-many-requests"
    PROTOCOL = "protocol"
    NO_SUCH_TOKEN = "no-such-token"
    NO_SUCH_JUDGEMENT = "no-such-judgement"
    NO_SUCH_ROUTE = "no-such-route"
    BAD_SETTING = "bad-setting"
    BROKEN = "broken"
    STILL_COMPUTED = "still-computed"
    NO_SUCH_KEY = "no-such-key"
    AMBIGUOUS_KEY = "ambiguous-key"


class WhenceError(Exception):
    """Base of every error that whence raises on purpose."""

    def __init__(self, message: str, kind: ErrorKind) -> None:
        super().__init__(message)
        self.kind = kind


class InvalidInput(WhenceError):
    """What was given cannot be meant."""

    def __init__(self, message: str, kind: ErrorKind = ErrorKind.BAD_VALUE) -> None:
        super().__init__(message, kind)


class NotFound(WhenceError):
    """Nothing has that name or id."""


class Conflict(WhenceError):
    """It contradicts what is recorded."""


class Denied(WhenceError):
    """The caller may not."""


class Damaged(WhenceError):
    """Recorded bytes are missing or altered."""


class NotReady(WhenceError):
    """The catalog, the machine or the installation lacks something that the message names."""


class Unreachable(WhenceError):
    """The catalog or the store did not answer in time."""

    def __init__(self, message: str, kind: ErrorKind = ErrorKind.UNREACHABLE) -> None:
        super().__init__(message, kind)


T = TypeVar("T")
# What is answered for one item of several.
Result: TypeAlias = T | WhenceError

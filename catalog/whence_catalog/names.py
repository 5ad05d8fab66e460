"""What things are called: Artifacts, references to their Versions, and which texts can be a name.

Everybody else takes these from `model`.
"""

import re
from dataclasses import dataclass

from whence_catalog import digest
from whence_catalog.errors import ErrorKind, InvalidInput

DEFAULT_PROJECT = "default"
BUILT_IN_KINDS = ("dataset", "model", "metrics", "report", "file")
# What an index of any database still holds.
LONGEST_NAME_BYTES = 1000

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_NUMBER = re.compile(r"[1-9][0-9]*")


def _checked_text(value: str, what: str, forbidden: str) -> str:
    if not value or any(c in forbidden or ord(c) < 32 or ord(c) == 127 for c in value):
        shown = f" or any of {' '.join(forbidden)}" if forbidden else ""
        raise InvalidInput(
            f"not a {what}: {value!r}; it must not be empty, nor hold control characters{shown}",
            ErrorKind.BAD_NAME,
        )
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"not a {what}: {value!r} cannot be written as UTF-8", ErrorKind.BAD_NAME
        ) from error
    if size_bytes > LONGEST_NAME_BYTES:
        raise InvalidInput(
            f"not a {what}: {value[:40]!r}… has {size_bytes} bytes; at most {LONGEST_NAME_BYTES}",
            ErrorKind.BAD_NAME,
        )
    return value


@dataclass(frozen=True, slots=True, order=True)
class Artifact:
    """A named thing with a kind, in a project."""

    project: str
    kind: str
    name: str

    def __post_init__(self) -> None:
        _checked_text(self.project, "project name", "/:@")
        _checked_text(self.name, "name", "")
        if not _KIND.fullmatch(self.kind):
            raise InvalidInput(
                f"not a kind: {self.kind!r}; a kind is lower-case letters, digits, - and _, and starts"
                f" with a letter ({', '.join(BUILT_IN_KINDS)} are built in)",
                ErrorKind.BAD_NAME,
            )

    def __str__(self) -> str:
        prefix = "" if self.project == DEFAULT_PROJECT else f"{self.project}/"
        return f"{prefix}{self.kind}:{_escaped(self.name)}"


def _escaped(name: str) -> str:
    return name.replace("%", "%25").replace("@", "%40")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a person or program writes to mean a Version: `[project/]kind:name[@selector]`."""

    artifact: Artifact
    selector: str | None = None

    @classmethod
    def parse(cls, text: str, project: str = DEFAULT_PROJECT) -> "Reference":
        """Read a reference; `project` is what an absent one means.

        Raises:
            InvalidInput: with the expected form and an example.
        """
        head, at, selector = text.rpartition("@")
        if not at:
            head, selector = text, ""
        before, colon, name = head.partition(":")
        if not colon or (at and not selector) or not name:
            raise InvalidInput(
                f"not a reference: {text!r}; expected [project/]kind:name[@selector],"
                " for example model:detector@prod or dataset:images@3",
                ErrorKind.BAD_REFERENCE,
            )
        named, slash, kind = before.rpartition("/")
        if re.search(r"%(?!25|40)", name) or "@" in name:
            raise InvalidInput(
                f"not a reference: {text!r}; in a name, @ is written %40 and % is written %25",
                ErrorKind.BAD_REFERENCE,
            )
        artifact = Artifact(named if slash else project, kind, name.replace("%40", "@").replace("%25", "%"))
        return cls(artifact, _checked_selector(selector) if at else None)

    @property
    def number(self) -> int | None:
        """The version number it selects, if it selects by number."""
        return int(self.selector) if self.selector and _NUMBER.fullmatch(self.selector) else None

    @property
    def digest(self) -> digest.Digest | None:
        """The content it selects, if it selects by digest."""
        by_digest = self.selector and self.selector.startswith("sha256:")
        return digest.Digest(self.selector) if by_digest and self.selector else None

    @property
    def is_latest(self) -> bool:
        """Whether it means the Version of the newest production; no selector means that too."""
        return self.selector in (None, "latest")

    @property
    def alias(self) -> str | None:
        """The alias it selects, if it selects by alias."""
        named = self.number is None and self.digest is None and not self.is_latest
        return self.selector if named else None

    def __str__(self) -> str:
        return f"{self.artifact}@{self.selector}" if self.selector else str(self.artifact)


def _checked_selector(selector: str) -> str:
    if selector.startswith("sha256:"):
        return digest.Digest(selector).text
    if selector.isdigit() and not _NUMBER.fullmatch(selector):
        raise InvalidInput(f"not a version number: {selector!r}; they start at 1", ErrorKind.BAD_REFERENCE)
    return _checked_text(selector, "selector", "/:")


def checked_job(name: str) -> str:
    """`name`, if it can be a job's: any text that is not empty and holds no control characters."""
    return _checked_text(name, "job name", "")


def checked_reason(text: str) -> str:
    """`text`, if it says why: people act on it."""
    if not text.strip():
        raise InvalidInput("a reason has to be given; it is kept, and shown to whoever asks")
    return text


def checked_target(name: str) -> str:
    """`name`, if it can be where something is deployed: any text that is not empty, without control characters."""
    return _checked_text(name, "target", "")


def checked_label(name: str, value: str) -> tuple[str, str]:
    """`name` and `value`, if they can be a label: texts without control characters, the name not empty."""
    _checked_text(name, "label name", "=")
    return name, value if not value else _checked_text(value, "label value", "")


def checked_alias(name: str) -> str:
    """`name`, if it can be an alias: never digits, `latest` or a digest, which select otherwise."""
    if name.isdigit() or name == "latest" or name.startswith("sha256:"):
        raise InvalidInput(
            f"not an alias: {name!r}; digits, latest and sha256:… already select a version",
            ErrorKind.BAD_NAME,
        )
    return _checked_text(name, "alias", "/:@")

"""Secrecy: which names say that they hold a secret, and which texts are one, so that they are recorded nowhere.

Decides by names (`API_KEY`, `--password`, `accessToken`), by what stands in a text (a password in an address, a
private key), and by the environment: a text that is the value of a variable of such a name, or holds one. Numbers
are no secrets. Leaves to others: files (`selection`, `contents`), and what is to be done about it.
"""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from typing import cast

from whence import contents, variables
from whence_catalog import digest

HIDDEN = "***"

_SECRET = re.compile(
    r"password|passwd|passphrase|secret|credential|bearer|authorization"
    r"|(?:^|_)(?:api|access|private|signing|encryption|auth|account|master|ssh|hmac|azure_storage|license)_?keys?(?:_|$)"
    r"|(?:^|_)(?:auth|access|api|refresh|session)?token(?:_?\d+)?$"
    r"|(?:^|_)(?:auth|access|api|refresh|session)_?tokens$|._pwd$|(?:^|_)(?:db|user|root|admin|smtp|ssh|proxy)_?pass$"
)
# Tokens of a language model's vocabulary; and names of what tells of a secret, or where one lies.
_ORDINARY = re.compile(
    r"(?:^|_)(?:pad|eos|bos|unk|sep|cls|mask|start|stop|end|begin|special|image|next|last|first|new)_token$"
    r"|_(?:files?|paths?|dir|folder|ur[li]|names?|header|type|count|limit|size|len|length|index|columns?|fields?|env|var"
    r"|variable|policy|ttl|min|max)$"
)
_SMALLEST_CHARACTERS = 6  # of a variable's value that is looked for: `test` and `true` are no secrets
_LONGEST = 4096  # of what is a secret by its name; and of bytes, since longer ones are data
_SMALLEST_PART_CHARACTERS = 8  # of one that is looked for inside of other texts

_OPTION = re.compile(r"--?[A-Za-z][\w.-]*+")
_SCRIPT_OPTION = re.compile(r"-\w*[ce]|--(?:eval|command)")  # of sh, python, perl, node
_ASSIGNMENT = re.compile(r"(?s)(?P<name>-{0,2}[A-Za-z_][\w.-]*+)=(?P<value>.+)")
# In the text of a script: `NAME=value`, `--name value`, `"name": "value"`, `'Name: value'`. What is called or looked up
# is no value. Each begins where a name does and gives nothing back, so that a word may be as long as a word can be.
_VALUE = r"(?P<value>(?:[^\s'\"$`&;|(){}\[\],]|,(?=[^\s'\"]))++)(?![(\[])"
_IN_SCRIPT = (
    re.compile(r"(?<![\w$.-])(?P<name>-{0,2}[A-Za-z_][\w.-]*+)(?P<between>=['\"]?)" + _VALUE),
    re.compile(r"(?<!\S)(?P<name>--?[A-Za-z][\w.-]*+)(?P<between>\s++['\"]?)(?!-)" + _VALUE),
    re.compile(
        r"(?s)(?<![\w.-])(?P<name>[\w.-]++)(?P<between>['\"]?\]?\s*+[:=]\s*+(?P<quote>['\"]))(?!\$)"
        r"(?P<value>(?:\\.|(?!(?P=quote))[^\\])++)"
    ),
    re.compile(r"(?i)(?P<name>authorization)(?P<between>:\s*+(?:\w++\s++)?)" + _VALUE),
    re.compile(r"(?<=['\"])(?P<name>[A-Za-z][\w-]*+)(?P<between>:\s++)(?![${])(?P<value>[^'\"]++)"),
)
_HEADER = re.compile(r"(?s)(?P<name>[A-Za-z][\w-]*+):\s++(?![${])(?P<value>.+)")
_PASSWORD_IN_URL = re.compile(r"(?<=://)(?P<user>[^/\s@$:]*+:)?[^/\s${]+(?=@)")
_LONGEST_NAME_CHARACTERS = 200


@functools.lru_cache(maxsize=4096)
def is_named(name: str) -> bool:
    """Whether a variable, an option, a parameter or a field of that name holds a secret, as its name says."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[-_LONGEST_NAME_CHARACTERS:])
    plain = re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")
    return _SECRET.search(plain) is not None and _ORDINARY.search(plain) is None


_asked: tuple[Mapping[object, object], frozenset[str]] = ({}, frozenset())


def known() -> frozenset[str]:
    """The values of this process's environment variables whose names say that they are secret."""
    global _asked
    raw = variables.raw()
    if raw != _asked[0]:  # whenever a step is called; to look at each name costs thirty times that
        # Where a secret lies is none.
        found = frozenset(
            value
            for name, value in variables.untold().items()
            if is_named(name)
            and len(value) >= _SMALLEST_CHARACTERS
            and not (os.path.isabs(value) and os.path.exists(value))
        )
        _asked = (dict(raw), found)
    return _asked[1]


def is_secret(text: str, values: frozenset[str]) -> bool:
    """Whether a text is a secret, or holds one; `values` are those that are `known`."""
    if text in values or any(value in text for value in values if len(value) >= _SMALLEST_PART_CHARACTERS):
        return True
    return contents.holds_secret(text.encode("utf-8", "replace"))


def stands_in(source: str, values: frozenset[str]) -> bool:
    """Whether a secret stands in source, which may say anything else."""
    return is_secret(source, values) or any(value in source for value in values)


def find(value: digest.Framed, name: str, values: frozenset[str]) -> str | None:
    """Where in a canonical value of that name a secret stands; None where there is none."""
    found: list[str] = []
    _without(value, name, name, values, found)
    return found[0] if found else None


def without(value: digest.Framed, name: str, values: frozenset[str]) -> digest.Framed:
    """A canonical value of that name with `***` in place of each secret in it; itself where there is none."""
    return _without(value, name, name, values, [])


def _without(
    value: digest.Framed, name: str, path: str, values: frozenset[str], found: list[str]
) -> digest.Framed:
    match value:
        case None | bool() | int() | float():
            return value
        case str() | bytes():
            if not _is_hidden(value, name, values):
                return value
            found.append(path)
            return HIDDEN
        case digest.Record(name="dataclass" | "pydantic", value=[kind, dict() as fields, *rest]):
            cleared = _without(cast("digest.Framed", fields), name, path, values, found)
            return digest.Record(value.name, [kind, cleared, *rest]) if cleared is not fields else value
        case digest.Record(name="frozenset"):
            inner = _without(value.value, name, path, values, found)
            return digest.Record(value.name, inner) if inner is not value.value else value
        case digest.Record():
            return value  # a path is where one lies, an input is an artifact; the rest are no texts
        case Mapping():
            before = len(found)
            named = {
                key: _without(item, key, f"{key} in {path}", values, found)
                if isinstance(key, str)
                else _without(item, name, path, values, found)
                for key, item in value.items()
            }
            return named if len(found) > before else value
        case list() | tuple() | frozenset() | set():
            before = len(found)
            items = [_without(item, name, path, values, found) for item in value]
            return type(value)(items) if len(found) > before else value
        case _:
            return value


def _is_hidden(value: str | bytes, name: str, values: frozenset[str]) -> bool:
    if len(value) <= _LONGEST and is_named(name):
        return bool(value)  # a name alone may be wrong about an empty text
    if isinstance(value, bytes):
        return len(value) <= _LONGEST and is_secret(value.decode("utf-8", "replace"), values)
    return is_secret(value, values)


def masked(words: Sequence[str], values: frozenset[str]) -> tuple[str, ...]:
    """The words of a command line, with `***` in place of what looks secret in them.

    That is what stands behind or in an option of such a name, or is assigned to it, also in the text of a script;
    a password in an address; and what is one of `values`. What only refers to a value (`$TOKEN`, `{token}`) stays.
    """
    found: list[str] = []
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        is_behind = _OPTION.fullmatch(before) is not None and is_named(before) and not word.startswith("-")
        is_script = _SCRIPT_OPTION.fullmatch(before) is not None
        found.append(HIDDEN if is_behind and _is_value(word) else _masked(word, values, is_script))
    return tuple(found)


def _is_value(word: str) -> bool:
    return bool(word) and not word.startswith("$") and not (word.startswith("{") and word.endswith("}"))


def _masked(word: str, values: frozenset[str], is_script: bool) -> str:
    if word in values:
        return HIDDEN
    assigned = None if is_script else _ASSIGNMENT.fullmatch(word)
    if assigned is not None and _is_secret_assignment(assigned["name"], assigned["value"], values):
        return f"{assigned['name']}={HIDDEN}"
    text = word
    for pattern in _IN_SCRIPT:
        text = pattern.sub(_hide, text)
    if text == word and not is_script and (header := _HEADER.fullmatch(word)) and is_named(header["name"]):
        return f"{header['name']}: {HIDDEN}"
    if contents.holds_secret(text.encode("utf-8", "replace")):
        text = _PASSWORD_IN_URL.sub(lambda found: (found["user"] or "") + HIDDEN, text)
        if contents.PRIVATE_KEY.search(text.encode("utf-8", "replace")):
            return HIDDEN
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SMALLEST_PART_CHARACTERS:
            text = text.replace(value, HIDDEN)
    return text


def _is_secret_assignment(name: str, value: str, values: frozenset[str]) -> bool:
    return _is_value(value) and (value in values or is_named(name))


def _hide(found: re.Match[str]) -> str:
    return f"{found['name']}{found['between']}{HIDDEN}" if is_named(found["name"]) else found[0]

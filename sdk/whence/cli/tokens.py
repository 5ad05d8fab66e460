"""What `whence token` does: makes tokens, lists and revokes them.

A secret is made here and shown once. Only its SHA-256 is sent and kept, so that nobody who reads the
catalog, a backup of it, or what goes over the wire can come in with what is found there.
"""

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from whence import calls, client, connecting
from whence.cli import printing
from whence_catalog import access, catalog
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound

_out = Console(emoji=False, highlight=False, soft_wrap=True)
_LASTING = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FOR_EVER = "never"
_MINIMUM_PREFIX = 8
# The head of a UUIDv7 is its time, shared by neighbours.
_SHOWN = 18


@dataclass(frozen=True, slots=True)
class Made:
    """A token as it is kept, and its secret, which is nowhere else."""

    token: access.Token
    secret: str


def open_client() -> client.Client:
    """The catalog that the environment names. A token has no bytes, so nobody need say where they are."""
    return connecting.open_client(blobs_url="memory://tokens")


def create(into: catalog.Catalog, name: str, actor: str | None, grants: Sequence[str], expires: str) -> Made:
    """Make a token that lets its holder in as `actor` (its own name unless given).

    Args:
        grants: as `read:vision`, or `record:*` for every project.
        expires: how long it is good: `90d`; `never`.

    Raises:
        InvalidInput: one of them cannot be meant.
        Denied: the caller may not give these grants.
    """
    secret = "whence_" + base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
    now = datetime.now(UTC)
    lasting = _lasting(expires)
    token = access.Token(
        uid=calls.new_uid(),
        name=name,
        actor=name if actor is None else actor,
        hash=access.hash_of(secret),
        grants=access.Grants.parse(grants),
        created_at=now,
        expires_at=None if lasting is None else now + lasting,
    )
    return Made(into.add_token(token), secret)


def _lasting(text: str) -> timedelta | None:
    if text == _FOR_EVER:
        return None
    found = _LASTING.fullmatch(text)
    if found is None:
        raise InvalidInput(
            f"not how long a token is good: {text!r}; expected a number and m, h, d or w, such as 90d, or {_FOR_EVER}"
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def revoke(of: catalog.Catalog, what: str) -> access.Token:
    """Let a token's holder in no more; `what` is its name, its id, or the first eight or more characters of that.

    Raises:
        NotFound: no token is called so.
        InvalidInput: several are.
    """
    every = of.tokens()
    prefix = what.lower()
    found = [
        token
        for token in every
        if token.name == what or (len(prefix) >= _MINIMUM_PREFIX and str(token.uid).startswith(prefix))
    ]
    # A name can be used again once what had it is revoked.
    standing = [token for token in found if token.revoked_at is None] or found[:1]
    if not standing:
        raise NotFound(f"no token {what}; `whence token ls` lists them", ErrorKind.NO_SUCH_TOKEN)
    if len(standing) > 1:
        shown = ", ".join(str(token.uid) for token in standing)
        raise InvalidInput(f"several tokens are called {what}: {shown}; name one by its id")
    return of.revoke_token(standing[0].uid)


def state(token: access.Token, now: datetime) -> str:
    """Whether it lets anybody in: `good`, `expired` or `revoked`."""
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "good"


# ── showing ──────────────────────────────────────────────────────────────────────────────────────


def show_made(made: Made) -> None:
    """Print a token and its secret."""
    token = made.token
    until = "for ever" if token.expires_at is None else f"until {printing.time(token.expires_at)} UTC"
    _out.print(f"[bold]{escape(token.name)}[/bold]  {token.uid}  good {until}")
    _out.print(
        f"  [dim]as[/dim] {escape(token.actor)}  [dim]may[/dim] {escape(', '.join(token.grants.texts))}"
    )
    _out.print(f"[bold]{made.secret}[/bold]")
    _out.print("[dim]It is shown this once. A client takes it from WHENCE_TOKEN, or from the file that[/dim]")
    _out.print("[dim]WHENCE_TOKEN_FILE names.[/dim]")


def show_tokens(found: Sequence[access.Token]) -> None:
    """Print tokens as a table."""
    if not found:
        _out.print("no token was made yet; [bold]whence token create[/bold] makes one")
        return
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in ("token", "name", "actor", "may", "good until", ""):
        table.add_column(column, overflow="fold", no_wrap=column not in ("name", "may"))
    colours = {"good": "green", "expired": "yellow", "revoked": "red"}
    now = datetime.now(UTC)
    for token in found:
        standing = state(token, now)
        table.add_row(
            str(token.uid)[:_SHOWN],
            escape(token.name),
            escape(token.actor),
            escape("\n".join(token.grants.texts)),
            printing.time(token.expires_at) or "for ever",
            f"[{colours[standing]}]{standing}[/]",
        )
    _out.print(table)


def show_revoked(token: access.Token) -> None:
    """Print that a token is revoked, and from when."""
    _out.print(
        f"[bold]{escape(token.name)}[/bold] is revoked; servers let it in for a few seconds more at most"
    )

"""Who asks: from a request's `Authorization` header to a `Viewer`.

Two things are let in: a token that `whence token create` made, found by the SHA-256 of its secret; and,
where an OIDC issuer is configured, a JWT that it signed. Leaves to others what a viewer may do (`access`).

What was good is taken to be good for `token_cache_seconds`, so that not every request is a query: a token that
is revoked is still let in, by each server, for at most that long.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import jwt

from whence_api import keys
from whence_catalog import access, model
from whence_catalog.errors import Denied, ErrorKind, InvalidInput

# Signatures by a key that the issuer alone has. Never `none`, nor HS*, whose key would be a secret of ours.
ALGORITHMS = ("RS256", "ES256", "EdDSA")
# In `oidc_grants`: everybody whom the issuer vouches for.
EVERY_GROUP = "*"

EVERYONE = access.Viewer(
    model.Actor("anyone", authenticated=False),
    access.Grants({access.EVERY_PROJECT: frozenset({access.Grant.ADMINISTER})}),
)

_LONGEST = 16 * 1024
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """How a server tells who asks. `Settings` has a field of each name, and builds this.

    Args:
        authentication: none: everybody may do all, and nobody's name is checked. tokens: who asks shows one.
        token_cache_seconds: how long a token or JWT that was good is taken to be; 0: it is looked at each time.
        oidc_issuer: whose JWTs are let in beside tokens: the `iss` claim, to the letter; none: nobody's.
        oidc_audience: the `aud` claims that mean this server; at least one where there is an issuer.
        oidc_keys: the issuer's key set (JWKS), a file or a URL; what its discovery document says otherwise.
        oidc_algorithms: those of RS256, ES256 and EdDSA with which a JWT may be signed.
        oidc_actor_claim: the claim that is the Actor's name.
        oidc_groups_claim: the claim that lists groups; `a.b` is b inside a.
        oidc_grants: the grants of each group, as `read:project`; those of the group `*` are everybody's.
        oidc_leeway_seconds: how far the issuer's clock may be from ours.
    """

    authentication: Literal["none", "tokens"] = "none"
    token_cache_seconds: float = 5.0
    oidc_issuer: str | None = None
    oidc_audience: Sequence[str] = ()
    oidc_keys: str | None = None
    oidc_algorithms: Sequence[str] = ALGORITHMS
    oidc_actor_claim: str = "sub"
    oidc_groups_claim: str = "groups"
    oidc_grants: Mapping[str, Sequence[str]] = field(default_factory=dict)
    oidc_leeway_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.oidc_issuer is None:
            return
        if not self.oidc_audience:
            raise _bad("oidc_issuer is set and oidc_audience is not: say which audience means this server")
        if unknown := [name for name in self.oidc_algorithms if name not in ALGORITHMS]:
            raise _bad(
                f"oidc_algorithms has {', '.join(unknown)}; those that are safe are {', '.join(ALGORITHMS)}"
            )
        if not self.oidc_algorithms:
            raise _bad(f"oidc_algorithms is empty; leave it out, or name some of {', '.join(ALGORITHMS)}")
        keys.check_url(self.oidc_issuer, "oidc_issuer")
        if self.oidc_keys is not None and "://" in self.oidc_keys:
            keys.check_url(self.oidc_keys, "oidc_keys")
        self.grants_of(self.oidc_grants)

    def grants_of(self, groups: object) -> access.Grants:
        """What members of these groups may do.

        Raises:
            InvalidInput: what is configured for one of them is no grant.
        """
        named = [groups] if isinstance(groups, str) else groups
        members = {
            EVERY_GROUP,
            *(group for group in cast("Sequence[object]", named) if isinstance(group, str)),
        }
        try:
            return access.Grants.parse(
                grant for group, given in self.oidc_grants.items() if group in members for grant in given
            )
        except InvalidInput as error:
            raise _bad(f"oidc_grants: {error}") from error


def _bad(message: str) -> InvalidInput:
    return InvalidInput(message, ErrorKind.BAD_SETTING)


class Authenticator:
    """Tells who asks. Safe from threads."""

    def __init__(self, settings: AuthSettings, find_token: Callable[[bytes], access.Token | None]) -> None:
        self._settings = settings
        self._find_token = find_token
        self._keys = (
            None if settings.oidc_issuer is None else keys.KeySet(settings.oidc_issuer, settings.oidc_keys)
        )
        self._known: OrderedDict[bytes, tuple[access.Viewer, float]] = OrderedDict()
        self._guard = threading.Lock()

    def recall(self, header: str | None) -> access.Viewer | None:
        """Who asks, where that is known without asking anybody; None: ask `viewer`. Never blocks."""
        if self._settings.authentication == "none":
            return EVERYONE
        return None if header is None else self._recall(_fingerprint(header))

    def viewer(self, header: str | None) -> access.Viewer:
        """Who asks, by the `Authorization` header. May ask the database or the issuer, and blocks meanwhile.

        Raises:
            Denied: UNAUTHENTICATED (401; an answer over HTTP has `WWW-Authenticate: Bearer` beside it).
            Unreachable: the issuer's keys cannot be had.
        """
        if self._settings.authentication == "none":
            return EVERYONE
        if not header:
            raise _refused(
                "no token was shown; show one as Authorization: Bearer …, by WHENCE_TOKEN for a client"
            )
        remembered = self._recall(_fingerprint(header))
        if remembered is not None:
            return remembered
        scheme, _, shown = header.partition(" ")
        shown = shown.strip()
        if scheme.lower() == "bearer" and access.is_secret(shown):
            found, lasts = self._token(shown)
        elif scheme.lower() == "bearer" and self._keys and shown.count(".") == 2 and len(shown) <= _LONGEST:
            found, lasts = self._jwt(shown, self._keys)
        else:
            raise _refused(
                "that is no token of a form that is known here; expected Authorization: Bearer whence_…"
            )
        self._remember(_fingerprint(header), found, lasts)
        return found

    # ── what is let in ───────────────────────────────────────────────────────────────────────────

    def _token(self, secret: str) -> tuple[access.Viewer, float]:
        """Whose token it is, and for how many seconds."""
        # Looked up by its hash, so that how long that takes says nothing about any secret.
        token = self._find_token(access.hash_of(secret))
        if token is None:
            raise _refused("that token is not known here; ask for another")
        if token.revoked_at is not None:
            raise _refused("that token was revoked; ask for another")
        lasts = float("inf") if token.expires_at is None else token.expires_at.timestamp() - time.time()
        if lasts <= 0:
            raise _refused("that token has expired; ask for another")
        return access.Viewer(model.Actor(token.actor, authenticated=True), token.grants), lasts

    def _jwt(self, text: str, known: keys.KeySet) -> tuple[access.Viewer, float]:
        told = self._settings
        try:
            header = jwt.get_unverified_header(text)
            algorithm = str(header.get("alg"))
            if algorithm not in told.oidc_algorithms:
                raise jwt.InvalidAlgorithmError(algorithm)
            key = known.find(algorithm, header.get("kid"))
            if key is None:
                raise jwt.InvalidKeyError("no such key")
            claims = jwt.decode(
                text,
                key.key,
                algorithms=[algorithm],
                audience=list(told.oidc_audience),
                issuer=told.oidc_issuer,
                leeway=told.oidc_leeway_seconds,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
            lasts = float(claims["exp"]) + told.oidc_leeway_seconds - time.time()
        except jwt.ExpiredSignatureError:
            raise _refused("that token has expired; sign in again") from None
        except jwt.ImmatureSignatureError:
            raise _refused("that token is not valid yet; look at the clock of this machine") from None
        # What a forger sends may be no token at all: JSON that is nested too deep, numbers that are none.
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError):
            raise _refused(
                "that token is not one that this server trusts: it is signed by another issuer, or for another"
                " audience; sign in again, for this server"
            ) from None
        name = claims.get(told.oidc_actor_claim)
        if not isinstance(name, str) or not access.is_plain(name):
            raise _refused(
                f"that token does not say who you are: its claim {told.oidc_actor_claim} is no name"
            )
        groups = _claim(claims, told.oidc_groups_claim)
        grants = told.grants_of(groups if isinstance(groups, str | list) else [])
        return access.Viewer(model.Actor(name, authenticated=True), grants), lasts

    # ── what is remembered ───────────────────────────────────────────────────────────────────────

    def _recall(self, fingerprint: bytes) -> access.Viewer | None:
        with self._guard:
            found = self._known.get(fingerprint)
            if found is None:
                return None
            if time.monotonic() >= found[1]:
                del self._known[fingerprint]
                return None
            self._known.move_to_end(fingerprint)
            return found[0]

    def _remember(self, fingerprint: bytes, found: access.Viewer, lasts: float) -> None:
        seconds = min(lasts, self._settings.token_cache_seconds)
        if seconds <= 0:
            return
        with self._guard:
            self._known[fingerprint] = found, time.monotonic() + seconds
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _refused(message: str) -> Denied:
    return Denied(message, ErrorKind.UNAUTHENTICATED)


def _fingerprint(header: str) -> bytes:
    # Secrets are not kept, not even here.
    return hashlib.sha256(header.encode("utf-8", "surrogatepass")).digest()


def _claim(claims: Mapping[str, object], path: str) -> object:
    """The claim of that name; else, where the name has dots, what lies so deep inside."""
    if path in claims:
        return claims[path]
    found: object = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found

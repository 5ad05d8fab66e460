"""The public keys of an OIDC issuer: fetched when needed, kept for an hour, looked up by their id.

A key id that is not known makes it look again, at most every thirty seconds, whoever asks: an issuer that changes its
keys is followed, and nobody who invents ids makes this server ask for each of them. If the issuer does not answer,
the keys that were good an hour ago are good for a day.
"""

import ipaddress
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import urllib3

from whence_catalog.errors import ErrorKind, InvalidInput, Unreachable

_FRESH_SECONDS = 3600.0
_KEPT_SECONDS = 86400.0
_PAUSE_SECONDS = 30.0
_LONGEST = 1024 * 1024
_DISCOVERY = "/.well-known/openid-configuration"


def check_url(url: str, setting: str) -> None:
    """Nothing, if keys can be fetched from there without anybody in between changing them.

    Raises:
        InvalidInput: it is neither https, nor on this machine.
    """
    if not _is_safe(url):
        raise InvalidInput(
            f"{setting} is {url!r}; expected an https address: whoever could change what is fetched there"
            " could sign for anybody",
            ErrorKind.BAD_SETTING,
        )


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_local(host)))
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


class KeySet:
    """An issuer's keys. Safe from threads; nobody waits for a fetch whose key is there."""

    def __init__(self, issuer: str, source: str | None) -> None:
        self._issuer = issuer
        self._source = source
        self._keys: tuple[jwt.PyJWK, ...] = ()
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._guard = threading.Lock()
        self._http = urllib3.PoolManager(
            maxsize=1, timeout=urllib3.Timeout(connect=5, read=5), retries=urllib3.Retry(1, redirect=0)
        )

    def find(self, algorithm: str, name: object) -> jwt.PyJWK | None:
        """The key that signs with `algorithm` and has that id; without one, the only that does.

        Raises:
            Unreachable: none could be fetched.
        """
        found = self._among(algorithm, name)
        age = time.monotonic() - self._fetched_at
        if (found is None or age > _FRESH_SECONDS) and self._renew():
            found = self._among(algorithm, name)
        if time.monotonic() - self._fetched_at > _KEPT_SECONDS:
            raise Unreachable("the keys of the issuer could not be fetched; try again later")
        return found

    def _among(self, algorithm: str, name: object) -> jwt.PyJWK | None:
        fit = [
            key
            for key in self._keys
            if key.algorithm_name == algorithm
            and key.public_key_use in (None, "sig")
            and (name is None or key.key_id == name)
        ]
        return fit[0] if len(fit) == 1 else None

    def _renew(self) -> bool:
        """Fetch them again, unless that was tried a moment ago; answers whether they may be others now."""
        seen = self._fetched_at
        with self._guard:
            if self._fetched_at != seen:
                return True  # by another thread, while this one waited
            if time.monotonic() - self._tried_at < _PAUSE_SECONDS:
                return False
            self._tried_at = time.monotonic()
            try:
                self._keys = tuple(jwt.PyJWKSet.from_dict(self._fetch()).keys)
            except (
                urllib3.exceptions.HTTPError,
                jwt.PyJWTError,
                OSError,
                ValueError,
                TypeError,
                RecursionError,
            ):
                return False
            self._fetched_at = time.monotonic()
            return True

    def _fetch(self) -> dict[str, object]:
        if self._source is None:
            said = self._get(self._issuer.rstrip("/") + _DISCOVERY)
            # OpenID Connect Discovery 1.0, section 4.3: else one issuer could speak for another.
            if said.get("issuer") != self._issuer:
                raise ValueError("the discovery document is of another issuer")
            url = str(said.get("jwks_uri"))
            if not _is_safe(url):
                raise ValueError("the keys are not at a safe address")
            return self._get(url)
        if "://" in self._source:
            return self._get(self._source)
        return _object(Path(self._source).read_bytes())

    def _get(self, url: str) -> dict[str, object]:
        answer = self._http.request("GET", url, preload_content=False, headers={"Accept": "application/json"})
        try:
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            data = answer.read(_LONGEST + 1)
            if len(data) > _LONGEST:
                raise ValueError("it is too long")
            return _object(data)
        finally:
            answer.close()


def _object(data: bytes) -> dict[str, object]:
    found = json.loads(data)
    if not isinstance(found, Mapping):
        raise ValueError("it is no JSON object")
    return dict(found)

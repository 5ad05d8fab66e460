"""Closes what a client keeps for us and is not to read or write: cursors, and the frontier of a lineage.

They hold positions in the log and rows of the database, those of what is masked too, by which it could be told to
be the same in two answers; and whoever wrote a frontier could have any row traversed. So for a viewer who may not
read everything they leave the server encrypted and signed, under a key made of the catalog's own: every
server on it opens what another has closed. Equal texts stay equal (RFC 5297, AES-SIV), so that an end is the last cursor.
"""

import base64
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from whence_catalog import digest

DOMAIN = "whence.seal/1"


@dataclass(frozen=True, slots=True)
class Seal:
    """Closes and opens, with a key made of the catalog's."""

    cipher: AESSIV

    @classmethod
    def of(cls, key: bytes) -> "Seal":
        """The seal of the catalog with that key."""
        return cls(AESSIV(digest.raw_digest_of(DOMAIN, key)))

    def close(self, text: str) -> str:
        """`text`, so that nobody without the key can read or change it."""
        return base64.urlsafe_b64encode(self.cipher.encrypt(text.encode(), None)).decode()

    def open(self, closed: str) -> str:
        """What was closed; nothing, if it was not, or not with this key: the catalog will refuse that."""
        try:
            return self.cipher.decrypt(base64.b64decode(closed, b"-_", validate=True), None).decode()
        except (InvalidTag, ValueError):
            return ""

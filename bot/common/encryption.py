"""Encrypts what the database must not hold in plain text, with keys that can be rotated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class WrongKey(Exception):
    """None of the keys decrypts the text, or it belongs to another place."""


def new_key() -> str:
    """Generate a new key, as text."""
    return Fernet.generate_key().decode()


class SecretBox:
    """Encrypts with the first of `keys` and decrypts with any of them, using Fernet: AES-128-CBC
    and HMAC-SHA-256 (https://github.com/fernet/spec). Raises ValueError for a malformed key.

    `place` is bound to the encrypted text, so that one record's secrets cannot be moved to another
    record.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._newest = Fernet(keys[0].encode())
        self._all = MultiFernet([Fernet(key.encode()) for key in keys])

    def seal(self, place: str, secrets: Mapping[str, str]) -> str:
        """Encrypt `secrets` for `place`."""
        return self._newest.encrypt(json.dumps([place, dict(secrets)]).encode()).decode()

    def open(self, place: str, sealed: str) -> Mapping[str, str]:
        """Decrypt the secrets that `seal` encrypted for `place`. Raises WrongKey."""
        try:
            known_place, secrets = json.loads(self._all.decrypt(sealed.encode()))
        except (InvalidToken, ValueError, TypeError) as error:
            raise WrongKey(place) from error
        if known_place != place or not isinstance(secrets, dict):
            raise WrongKey(place)
        return secrets

    def is_current(self, sealed: str) -> bool:
        """Whether the text was encrypted with the first key."""
        try:
            self._newest.decrypt(sealed.encode())
        except (InvalidToken, ValueError):
            return False
        return True

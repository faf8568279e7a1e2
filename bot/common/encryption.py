"""Encrypts what must not be in the database in the clear, with keys that can be replaced."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class WrongKey(Exception):
    """None of the keys decrypts the text, or it belongs to something else."""


def new_key() -> str:
    """A new key, as text."""
    return Fernet.generate_key().decode()


class SecretBox:
    """Encrypts with the first of `keys`, and decrypts with any of them, with Fernet: AES-128-CBC
    and HMAC-SHA-256 (https://github.com/fernet/spec). Raises ValueError for a key of another form.

    `place` is bound into the text, so that one record's secrets cannot be moved to another record.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._newest = Fernet(keys[0].encode())
        self._all = MultiFernet([Fernet(key.encode()) for key in keys])

    def seal(self, place: str, secrets: Mapping[str, str]) -> str:
        """The encrypted `secrets`."""
        return self._newest.encrypt(json.dumps([place, dict(secrets)]).encode()).decode()

    def open(self, place: str, sealed: str) -> Mapping[str, str]:
        """The secrets that `seal` encrypted for `place`. Raises WrongKey."""
        try:
            known_place, secrets = json.loads(self._all.decrypt(sealed.encode()))
        except (InvalidToken, ValueError, TypeError) as error:
            raise WrongKey(place) from error
        if known_place != place or not isinstance(secrets, dict):
            raise WrongKey(place)
        return secrets

    def is_current(self, sealed: str) -> bool:
        """Whether the first key encrypted it."""
        try:
            self._newest.decrypt(sealed.encode())
        except (InvalidToken, ValueError):
            return False
        return True

"""Sealing: what lies in a store can be read only with the installation's keys.

The first of SPENDHUB_ENCRYPTION_KEYS seals and any of them opens; the key made from SECRET_KEY always opens, and seals
where none is given. What is sealed for a place (a row, an entry) opens there and nowhere else: whoever can write to
the store cannot make one account's content another's by copying it. docs/credentials.md is the page for people.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

# Never changes: it is a part of the key that is made from SECRET_KEY, and tells what it was first made for.
DERIVED_FOR = b"spendhub: vendors' keys, 1"
_MARK_BYTES = hashlib.sha256().digest_size


class SealBroken(Exception):
    """It was tampered with, belongs elsewhere, was never sealed, or none of today's keys opens it."""


def seal(content: bytes) -> bytes:
    """`content` encrypted with the first of today's keys, in URL-safe base64."""
    return _fernet().encrypt(content)


def open_sealed(sealed: bytes | memoryview[int]) -> bytes:
    """What was sealed. Raises SealBroken."""
    try:
        return _fernet().decrypt(bytes(sealed))
    except InvalidToken:
        raise SealBroken from None


def seal_for(place: str, content: bytes) -> bytes:
    """`content` encrypted so that only `open_for` with the same `place` opens it. `place` names its use and its row."""
    return seal(_mark_of(place) + content)


def open_for(place: str, sealed: bytes | memoryview[int]) -> bytes:
    """What was sealed for `place`. Raises SealBroken, also for what was sealed for another place."""
    opened = open_sealed(sealed)
    if not hmac.compare_digest(opened[:_MARK_BYTES], _mark_of(place)):
        raise SealBroken
    return opened[_MARK_BYTES:]


def _mark_of(place: str) -> bytes:
    # Fernet knows no associated data, so the place is sealed together with the content.
    return hashlib.sha256(place.encode()).digest()


def _fernet() -> MultiFernet:
    return _make_fernet(tuple(settings.ENCRYPTION_KEYS), settings.SECRET_KEY)


@functools.lru_cache(maxsize=4)
def _make_fernet(keys: tuple[str, ...], secret_key: str) -> MultiFernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=DERIVED_FOR).derive(secret_key.encode())
    return MultiFernet([*(Fernet(key) for key in keys), Fernet(base64.urlsafe_b64encode(derived))])

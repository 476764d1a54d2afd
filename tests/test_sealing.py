"""What is sealed opens with the installation's keys, and only at the place that it was sealed for."""

from __future__ import annotations

import base64

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pytest_django import Settings

from spendhub.sealing import SealBroken, open_for, open_sealed, seal, seal_for

OLD_KEY, NEW_KEY = (Fernet.generate_key().decode() for _ in range(2))
CONTENT = "Zoë owes 12 €".encode()
PLACE = "idempotency key 1 " + "a" * 64


def test_what_is_sealed_for_a_place_opens_there_and_shows_nothing_of_it() -> None:
    sealed = seal_for(PLACE, CONTENT)
    assert open_for(PLACE, sealed) == open_for(PLACE, memoryview(sealed)) == CONTENT
    assert CONTENT not in sealed and CONTENT not in base64.urlsafe_b64decode(sealed)
    assert seal_for(PLACE, CONTENT) != sealed


@pytest.mark.parametrize("place", [PLACE.replace("key 1", "key 2"), PLACE[:-1] + "b", PLACE + " ", ""])
def test_it_opens_at_no_other_place(place: str) -> None:
    with pytest.raises(SealBroken):
        open_for(place, seal_for(PLACE, CONTENT))


@pytest.mark.parametrize("content", [b"", b"sk-key", b"k" * 100])
def test_what_was_sealed_for_no_place_opens_at_none(content: bytes) -> None:
    sealed = seal(content)
    assert open_sealed(sealed) == content
    with pytest.raises(SealBroken):
        open_for(PLACE, sealed)


@pytest.mark.parametrize("stored", [b"", b"rubbish", b"\xff" * 200, CONTENT])
def test_what_was_never_sealed_does_not_open(stored: bytes) -> None:
    with pytest.raises(SealBroken):
        open_for(PLACE, stored)


@pytest.mark.parametrize("position", [0, 40, -1])
def test_what_was_tampered_with_does_not_open(position: int) -> None:
    sealed = bytearray(seal_for(PLACE, CONTENT))
    sealed[position] ^= 1
    with pytest.raises(SealBroken):
        open_for(PLACE, bytes(sealed))


def test_it_opens_after_a_rotation_until_its_key_is_taken_away(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [OLD_KEY]
    sealed = seal_for(PLACE, CONTENT)
    settings.ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    assert open_for(PLACE, sealed) == CONTENT
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    with pytest.raises(SealBroken):
        open_for(PLACE, sealed)


def test_the_key_that_is_made_from_the_secret_key_is_the_same_for_ever(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS, settings.SECRET_KEY = [], "a secret key of this installation"
    info = b"spendhub: vendors' keys, 1"
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(b"a secret key of this installation")
    assert Fernet(base64.urlsafe_b64encode(derived)).decrypt(seal(CONTENT)) == CONTENT

"""Vendors' keys: sealed before they reach the database, opened only into a process's copy of the catalog.

How is told in spendhub/sealing.py. A key that cannot be opened falls out: calls do without it, the log and the
admin say so. docs/credentials.md is the page for people.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from uuid import UUID

from routing.errors import CredentialUnreadable
from routing.models import Credential
from spendhub import sealing

logger = logging.getLogger(__name__)

MAX_SECRET_LENGTH = 4_000
HINT_LENGTH = 4
# The last characters of a shorter key would tell too much of it.
MIN_LENGTH_FOR_HINT = 12


class Secret:
    """A text that shows itself only when asked by name: not printed, formatted, logged, encoded or pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself: for the header of a call, and for nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return "(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A vendor's key as calls need it. `secret` is None when it cannot be read, `tenant_id` for the installation's."""

    id: UUID
    tenant_id: int | None
    secret: Secret | None = field(repr=False)
    weight: int


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """Every enabled key: by provider those of the provider's owner, and by tenant and shared provider its own."""

    by_provider: Mapping[int, tuple[KeyFacts, ...]] = field(default_factory=dict)
    own: Mapping[int, Mapping[int, tuple[KeyFacts, ...]]] = field(default_factory=dict)


def seal(secret: str) -> bytes:
    """`secret` encrypted, for the database."""
    return sealing.seal(secret.encode())


def open_sealed(sealed: bytes | memoryview[int]) -> str:
    """What was sealed. Raises CredentialUnreadable when it was tampered with, or none of today's keys opens it."""
    try:
        return sealing.open_sealed(sealed).decode()
    except (sealing.SealBroken, UnicodeDecodeError):
        raise CredentialUnreadable from None


def reseal_all() -> tuple[int, list[str]]:
    """Seals every key anew with today's first key; answers how many, and which could not be opened.

    Nothing stops meanwhile: processes that have the old and the new key open both. A key that is rotated at the same
    moment keeps what its owner has typed.
    """
    done, unreadable = 0, []
    for credential in Credential.objects.across_tenants().select_related("provider", "tenant").order_by("pk"):
        try:
            sealed = seal(open_sealed(credential.sealed))
        except CredentialUnreadable:
            unreadable.append(f"{credential.tenant or 'the installation'}: {credential}")
            continue
        # Calls see no difference, so the catalog's version stays where it is.
        rows = Credential.objects.across_tenants().filter(pk=credential.pk, sealed=bytes(credential.sealed))
        done += rows.update(sealed=sealed)
    return done, unreadable


def is_readable(credential: Credential) -> bool:
    """Whether calls can use it."""
    try:
        open_sealed(credential.sealed)
    except CredentialUnreadable:
        return False
    return True


def hint_of(secret: str) -> str:
    """The last characters, by which people tell keys apart; "" for one too short to give any away."""
    return secret[-HINT_LENGTH:] if len(secret) >= MIN_LENGTH_FOR_HINT else ""


def is_usable_secret(secret: str) -> bool:
    """Whether it can travel in a header: visible ASCII, no spaces."""
    return 0 < len(secret) <= MAX_SECRET_LENGTH and secret.isascii() and secret.isprintable() and " " not in secret


def put_secret(credential: Credential, secret: str) -> None:
    """Gives an unsaved or changed credential its secret; the caller saves it."""
    credential.sealed, credential.hint = seal(secret), hint_of(secret)


def read_keys() -> HeldKeys:
    """Every enabled key of the installation: one query. One that cannot be read is told of in the log."""
    by_provider: dict[int, list[KeyFacts]] = {}
    own: dict[int, dict[int, list[KeyFacts]]] = {}
    rows = Credential.objects.across_tenants().filter(is_enabled=True).select_related("provider").order_by("pk")
    for row in rows:
        key = KeyFacts(row.pk, row.tenant_id, _secret_of(row), row.weight)
        if row.tenant_id == row.provider.tenant_id:
            by_provider.setdefault(row.provider_id, []).append(key)
        elif row.tenant_id is not None and row.provider.tenant_id is None:
            own.setdefault(row.tenant_id, {}).setdefault(row.provider_id, []).append(key)
        # Any other would carry a key to an address that somebody else has chosen.
    return HeldKeys(
        {provider_id: tuple(keys) for provider_id, keys in by_provider.items()},
        {
            tenant_id: {provider_id: tuple(keys) for provider_id, keys in theirs.items()}
            for tenant_id, theirs in own.items()
        },
    )


def _secret_of(row: Credential) -> Secret | None:
    try:
        return Secret(open_sealed(row.sealed))
    except CredentialUnreadable as error:
        logger.warning("vendor key %s of provider %s falls out: %s", row.pk, row.provider.name, error.message)
        return None

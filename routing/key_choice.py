"""Which of a provider's keys an attempt is made with.

The enabled keys that can be read share the calls by weight; without any the provider's environment variable is
used, and where it names none the call goes without a key, as to a server in one's own network. A tenant's own keys
for a shared provider stand in place of the installation's, variable included: calls on somebody else's bill would be
no help. docs/credentials.md, "Which key a call gets".
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from routing.credentials import KeyFacts, Secret, is_usable_secret
from routing.errors import CredentialMissing, CredentialUnreadable, UpstreamError, UpstreamRefused
from routing.model_facts import ModelFacts
from routing.retries import is_content_refusal

NONE_AVOIDED: frozenset[UUID] = frozenset()
# What a vendor says of a key: unknown, not allowed this, used too often.
_OF_THE_KEY = frozenset((401, 403, 429))


@dataclass(frozen=True, slots=True)
class ChosenKey:
    """What one attempt is made with. `id` is None for a variable's value, and where none is needed (then it is "")."""

    secret: Secret
    id: UUID | None = None


# How a refusal says that a vendor key would help: pages look for it to say where one is entered.
NO_VENDOR_KEY = "has no key under Vendor keys"
HIDDEN = b"(hidden key)"
# Servers that need no key are given a word in its place ("ollama", "sk-no-key-required"), which an answer may well say.
MIN_LENGTH_IN_ANSWERS = 20

_NO_KEY_NEEDED = ChosenKey(Secret(""))


def choose_key(
    model: ModelFacts, avoid: frozenset[UUID] = NONE_AVOIDED, dice: Callable[[], float] = random.random
) -> ChosenKey:
    """The key for one attempt: by chance according to the weights, one of `avoid` only when there is no other.

    Raises CredentialMissing where the provider needs a key and there is none, or has no address; and
    CredentialUnreadable where there are some, and none can be read.
    """
    keys = model.credentials
    readable = [key for key in keys if key.secret is not None] if keys else []
    if readable:
        return _by_weight([key for key in readable if key.id not in avoid] or readable, dice)
    variable = model.api_key_env
    if not variable:
        if keys:
            raise CredentialUnreadable(model.provider.name)
        if not model.base_url and model.provider.dialect != "sandbox":
            raise CredentialMissing(f"provider {model.provider.name} has no address", provider=model.provider.name)
        return _NO_KEY_NEEDED
    return _from_environment(model, variable, was_unreadable=bool(keys))


def keys_to_avoid(model: ModelFacts, error: UpstreamError, avoided: frozenset[UUID]) -> frozenset[UUID] | None:
    """Which keys the next attempt at the same model should avoid, when the vendor has refused the key it was
    asked with and there is another one; None when another attempt with another key would not help."""
    if not isinstance(error, UpstreamRefused) or error.key_id is None or not is_of_the_key(error):
        return None
    avoid = avoided | {error.key_id}
    has_another = any(key.secret is not None and key.id not in avoid for key in model.credentials)
    return avoid if has_another else None


def is_of_the_key(error: UpstreamRefused) -> bool:
    """Whether the refusal is about the key: the same call with another one may pass."""
    return error.status in _OF_THE_KEY and not is_content_refusal(error)


def hide_key(secret: Secret, text: bytes) -> bytes:
    """A vendor's words without the key, which some repeat in their errors: it may be the installation's."""
    value = secret.reveal().encode()
    return text.replace(value, HIDDEN) if value and value in text else text


def hidden_in_answers(secret: Secret) -> bytes:
    """What no answer of the vendor's may say to a client; b"" where nothing is secret."""
    value = secret.reveal()
    return value.encode() if len(value) >= MIN_LENGTH_IN_ANSWERS else b""


def _by_weight(keys: list[KeyFacts], dice: Callable[[], float]) -> ChosenKey:
    chosen = keys[0]
    if len(keys) > 1:
        point = dice() * sum(key.weight for key in keys)
        for chosen in keys:
            point -= chosen.weight
            if point < 0:
                break
    assert chosen.secret is not None
    return ChosenKey(chosen.secret, chosen.id)


def _from_environment(model: ModelFacts, variable: str, *, was_unreadable: bool) -> ChosenKey:
    value = os.environ.get(variable, "")
    found = _usable_key(value)
    if found is not None:
        return found
    if was_unreadable:
        raise CredentialUnreadable(model.provider.name)
    problem = "holds characters that no key has" if value.strip() else "is empty"
    raise CredentialMissing(_told_of_no_key(model, variable, problem), provider=model.provider.name)


def _told_of_no_key(model: ModelFacts, variable: str, problem: str) -> str:
    # Vendor keys first: who is told may have an account in which to enter one, and no say in the environment.
    provider = f"provider {model.provider.name}"
    if model.own_api_key_env:
        variable = f"the environment variable {variable}, which alone holds it,"
        return f"{provider} has no key for {model.name}: {variable} {problem}"
    return f"{provider} {NO_VENDOR_KEY}, and the environment variable {variable} {problem}"


@lru_cache(maxsize=256)
def _usable_key(value: str) -> ChosenKey | None:
    # Remembered, because every call asks anew and no variable changes while a process runs.
    secret = value.strip()
    return ChosenKey(Secret(secret)) if is_usable_secret(secret) else None


def credential_of(model: ModelFacts, avoid: frozenset[UUID] = NONE_AVOIDED) -> str:
    """A vendor's key for one attempt, "" when the provider needs none; see `choose_key` for how, and what it raises."""
    return choose_key(model, avoid).secret.reveal()

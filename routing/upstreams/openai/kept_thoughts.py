"""Reasoning that OpenAI has encrypted, as the signature of a thought: sent back to whoever can read it.

OpenAI and Azure, which speak the same format, cannot read each other's: they are told apart by their host.

Source: platform.openai.com, "Reasoning models", "Encrypted reasoning items", read on 2026-11-29.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2s

from routing.model_facts import ModelFacts
from routing.upstreams.openai.addresses import host_of
from routing.upstreams.signatures import marked, signature_for

_DIALECT, _SEPARATOR = "openai", "."


def keeper_of(model: ModelFacts) -> str:
    """Who encrypts what `model` thinks, in a word that does not say the address."""
    return _word_for(host_of(model.base_url))


def signature_of(keeper: str, encrypted: str) -> str:
    """The signature of a thought that `keeper` has encrypted, "" for none."""
    return marked(_DIALECT, f"{keeper}{_SEPARATOR}{encrypted}") if encrypted else ""


def encrypted_for(keeper: str, signature: str) -> str:
    """What `keeper` has encrypted, "" where the thought is another one's."""
    owner, _, encrypted = signature_for(_DIALECT, signature).partition(_SEPARATOR)
    return encrypted if owner == keeper else ""


@lru_cache(maxsize=1_024)
def _word_for(host: str) -> str:
    return blake2s(host.encode(), digest_size=4).hexdigest()

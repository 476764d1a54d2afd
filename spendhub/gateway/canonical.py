"""What makes two requests the same: their bodies, without what says nothing about the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

# Who asks, how it is told, and what is for us: none of it changes what a model says.
_BESIDE_THE_POINT = frozenset(
    {"user", "metadata", "spendhub", "stream", "stream_options", "safety_identifier", "prompt_cache_key"}
)
# Fields that hold the turns of a conversation, the latest last.
_TURNS = ("messages", "input", "contents")
# Made anew for each turn, also by an agent that goes in circles.
_IDS = frozenset({"id", "call_id", "tool_call_id", "tool_use_id", "item_id"})

_encoder = msgspec.json.Encoder(order="sorted")


def digest_of(parts: Iterable[str | bytes]) -> bytes:
    """SHA-256 over parts, none of which can reach into its neighbour."""
    sha = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        sha.update(len(raw).to_bytes(8, "big"))
        sha.update(raw)
    return sha.digest()


def canonical_body(body: Mapping[str, Any]) -> bytes:
    """All of the request that its answer depends on, the same for every order of its keys."""
    return _encoder.encode({name: value for name, value in body.items() if name not in _BESIDE_THE_POINT})


def whole_body(body: Mapping[str, Any]) -> bytes:
    """The request with everything that it says, the same for every order of its keys."""
    return _encoder.encode(body)


def canonical_last_turn(body: Mapping[str, Any]) -> bytes:
    """Its last message alone, without ids; of a request that has no messages, the whole."""
    for field in _TURNS:
        turns = body.get(field)
        if isinstance(turns, list) and turns:
            return _encoder.encode(_without_ids(turns[-1]))
    return canonical_body(body)


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_ids(inner) for name, inner in value.items() if name not in _IDS}
    return [_without_ids(inner) for inner in value] if isinstance(value, list) else value

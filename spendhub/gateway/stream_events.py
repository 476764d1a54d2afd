"""Events of the streams that clients are sent, written whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

# Facts of errors are told too, in whatever type they are.
_encoder = msgspec.json.Encoder(enc_hook=str)


def data_event(value: Mapping[str, Any]) -> bytes:
    """An event without a name, as OpenAI's chat and Google send them."""
    return b"data: " + _encoder.encode(value) + b"\n\n"


def named_event(name: str, value: Mapping[str, Any]) -> bytes:
    """An event with its name; Anthropic's SDKs skip those without one."""
    return b"event: " + name.encode() + b"\ndata: " + _encoder.encode(value) + b"\n\n"

"""What we change in a stream of chat completion chunks: as little as possible. Pure.

Events go on as they came. An event with usage is held back until the next one: the last of them gets
the `spendhub` object, after the call is on disk; a usage-only event that the client did not ask
for is left out. `[DONE]` is ours to send, last.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from routing.pricing import TokenUsage
from routing.upstreams.sse import SseEvent

DONE = b"data: [DONE]\n\n"
_encoder = msgspec.json.Encoder()

Burst = Sequence[tuple[SseEvent, dict[str, Any] | None]]


class StreamEditor:
    """One stream on its way to its client. `is_done` says that the vendor has sent [DONE]."""

    def __init__(self, *, wants_usage: bool) -> None:
        self.is_done = False
        self._wants_usage = wants_usage
        self._held: tuple[SseEvent, dict[str, Any]] | None = None

    def pass_on(self, burst: Burst) -> bytes:
        """What the client is sent for these events; may be empty."""
        pieces: list[bytes] = []
        for event, parsed in burst:
            if event.data == b"[DONE]":
                self.is_done = True
                continue
            if self._held is not None:
                pieces.append(self._held[0].encode())
                self._held = None
            if parsed is None:
                pieces.append(event.encode())
            elif self._wants_usage:
                self._held = (event, parsed)
            elif parsed.get("choices"):
                pieces.append(event.encode())
        return b"".join(pieces)

    def last_events(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """What is sent once the call is on disk: the last usage event with `money` in it, and [DONE].

        A vendor that has not told its usage gets an event made from ours.
        """
        if not self._wants_usage:
            return DONE
        if self._held is not None:
            told: dict[str, Any] = {**self._held[1], "spendhub": money}
        else:
            told = {
                "id": response_id or "chatcmpl-spendhub",
                "object": "chat.completion.chunk",
                "created": int(time.time()),
                "model": model,
                "choices": [],
                "usage": {
                    "prompt_tokens": usage.total_input_tokens,
                    "completion_tokens": usage.output_tokens,
                    "total_tokens": usage.total_tokens,
                },
                "spendhub": money,
            }
        return b"data: " + _encoder.encode(told) + b"\n\n" + DONE

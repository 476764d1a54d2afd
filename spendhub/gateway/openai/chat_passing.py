"""What we change in a stream of chat completion chunks that passes through: as little as possible. Pure.

Events go on as they came. An event with usage is held back until the next one: the last of them gets
the `spendhub` object, after the call is on disk; a usage-only event that the client did not ask
for is left out. `[DONE]` is ours to send, last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.token_usage import TokenUsage
from routing.upstreams.sse import SseEvent, UnreadEvents
from spendhub.errors import SpendHubError
from spendhub.gateway.dialect import Burst
from spendhub.gateway.openai.chat_so_far import ChatSoFar
from spendhub.gateway.openai.chat_writing import DONE, usage_chunk
from spendhub.gateway.openai.errors import passing_error_event
from spendhub.gateway.stream_events import data_event


class ChatPassing:
    """One stream on its way to its client. `is_done` says that the vendor has sent [DONE]."""

    def __init__(self, *, wants_usage: bool) -> None:
        self.is_done = False
        self._wants_usage = wants_usage
        self._held: tuple[SseEvent, dict[str, Any]] | None = None
        self._so_far = ChatSoFar()

    def pass_on(self, burst: Burst) -> bytes:
        """See StreamOut."""
        pieces: list[bytes] = []
        if isinstance(burst, UnreadEvents):
            if self._held is not None and burst:  # comments alone let nothing go
                pieces.append(self._held[0].encode())
                self._held = None
            return b"".join([*pieces, burst.raw])
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
        """See StreamOut. A vendor that has not told its usage gets an event made from ours."""
        if not self._wants_usage:
            return DONE
        if self._held is not None:
            return data_event({**self._held[1], "spendhub": money}) + DONE
        return data_event(usage_chunk(response_id, model, usage, money)) + DONE

    def follow(self, sent: bytes) -> None:
        """See StreamOut."""
        self._so_far.follow(sent)

    def end_early(self, usage: TokenUsage, money: Mapping[str, Any], model: str, response_id: str | None) -> bytes:
        """See StreamOut. A client that asked for no usage is told the money with the last answer's end."""
        rest = b""
        if self._held is not None and self._held[1].get("choices"):
            # Some vendors tell usage with every chunk, so that there are words in this one.
            rest = self._held[0].encode()
            self._so_far.follow(rest)
        ends = self._so_far.ends(model, response_id)
        if self._wants_usage:
            ends.append(usage_chunk(response_id, model, usage, money))
        elif ends:
            ends[-1]["spendhub"] = money
        return rest + b"".join(map(data_event, ends)) + DONE

    def error_event(self, error: SpendHubError, money: Mapping[str, Any]) -> bytes:
        """See StreamOut."""
        return passing_error_event(error, money)

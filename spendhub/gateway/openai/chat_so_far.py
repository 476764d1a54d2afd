"""What a client has been sent of a stream of chat completion chunks, as far as its end depends on it. Pure.

Source: OpenAI's API reference, "Chat completions", "Streaming".
"""

from __future__ import annotations

from typing import Any

from routing.upstreams.json_objects import readable_object
from routing.upstreams.sse import events_in
from spendhub.gateway.openai.chat_writing import NO_ID, chunk_head

_HEAD = ("id", "object", "created", "model")


class ChatSoFar:
    """Which choices have begun and not ended."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._open: set[int] = set()
        self._ended: set[int] = set()

    def follow(self, sent: bytes) -> None:
        """Takes whole events."""
        for event in events_in(sent):
            chunk = readable_object(event.data) or {}
            if not self._head:
                self._head = {name: chunk[name] for name in _HEAD if name in chunk}
            choices = chunk.get("choices")
            for choice in choices if isinstance(choices, list) else ():
                if isinstance(choice, dict):
                    self._note(choice.get("index"), has_ended=choice.get("finish_reason") is not None)

    def ends(self, model: str, response_id: str | None) -> list[dict[str, Any]]:
        """The chunks that end what is open, as at a limit."""
        head = chunk_head(response_id or NO_ID, model) | self._head
        open_choices = sorted(self._open) if self._open or self._ended else [0]
        return [
            {**head, "choices": [{"index": index, "delta": {}, "logprobs": None, "finish_reason": "length"}]}
            for index in open_choices
        ]

    def _note(self, index: Any, *, has_ended: bool) -> None:
        number = index if isinstance(index, int) else 0
        if has_ended:
            self._ended.add(number)
            self._open.discard(number)
        elif number not in self._ended:
            self._open.add(number)

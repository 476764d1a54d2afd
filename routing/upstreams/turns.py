"""Messages as vendors want them that count strictly: one message a turn, and tool ids of plain characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from routing.conversation import Block, Message, Role, ToolCall

_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


def turns(messages: Iterable[Message]) -> Iterator[tuple[Role, list[Block]]]:
    """The messages with those of one role in a row made one: several tool results are one turn's answer."""
    role: Role | None = None
    blocks: list[Block] = []
    for message in messages:
        if message.role != role:
            if role is not None:
                yield role, blocks
            role, blocks = message.role, []
        blocks.extend(message.blocks)
    if role is not None:
        yield role, blocks


def plain_id(call_id: str) -> str:
    """A tool call's id in letters, digits, _ and -; the same for the call and its result."""
    return _NOT_IN_IDS.sub("_", call_id) or "call"


def names_of_calls(messages: Iterable[Message]) -> dict[str, str]:
    """The tool that each call so far asked for, by the call's id."""
    return {block.id: block.name for message in messages for block in message.blocks if isinstance(block, ToolCall)}

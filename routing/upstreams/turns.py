"""Messages as vendors want them that count strictly: one message a turn, and tool ids of plain characters."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from routing.conversation import Block, Conversation, Finish, Message, Role, Text, ToolCall, ToolResult

# What is told in place of a user's turn without a word.
EMPTY = "(empty)"
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


def said_turns(
    messages: Iterable[Message], say: Callable[[list[Block]], list[dict[str, Any]]], nothing: Mapping[str, Any]
) -> Iterator[tuple[Role, list[dict[str, Any]]]]:
    """What `say` makes of each turn. A model's turn of which nothing is left is left out; in a user's stands `nothing`,
    since the model is to answer it. So does a user's where no other turn is left."""
    found: list[tuple[Role, list[dict[str, Any]]]] = []
    for role, blocks in turns(messages):
        said = say(blocks)
        if not said and role == "user":
            said = [dict(nothing)]
        if said and found and found[-1][0] == role:
            found[-1][1].extend(said)  # what stood between them has been left out
        elif said:
            found.append((role, said))
    yield from found or [("user", [dict(nothing)])]


def addressed(conversation: Conversation) -> tuple[Sequence[Text], Sequence[Message]]:
    """The system prompt, and the messages; a prompt alone is what the user says, for vendors who want somebody to."""
    if any(message.blocks for message in conversation.messages):
        return conversation.system, conversation.messages
    return (), (Message("user", conversation.system),)


def plain_id(call_id: str) -> str:
    """A tool call's id in letters, digits, _ and -; the same for the call and its result."""
    return _NOT_IN_IDS.sub("_", call_id) or "call"


def short_id(call_id: str, most: int) -> str:
    """A tool call's id in at most so many characters, 40 or more; the same for the call and its result."""
    if len(call_id) <= most:
        return call_id
    return f"{call_id[: most - 33]}_{hashlib.sha256(call_id.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def finish_of(said: Finish, *, has_called: bool) -> Finish:
    """Why an answer ended. One that calls a tool is called stopped by some: by OpenAI where that tool was demanded."""
    return "tool_calls" if said == "stop" and has_called else said


def shown_beside(result: ToolResult, *, call_id: str, is_alone: bool) -> list[Block]:
    """The pictures and files of a tool's result, for vendors who have a place for its words alone. Unless it is the
    only result of its turn a text says which call they belong to, by the `call_id` that the vendor is told."""
    shown: list[Block] = [part for part in result.content if not isinstance(part, Text)]
    return shown if is_alone or not shown else [Text(f"Attached to the result of tool call {call_id}:"), *shown]


def names_of_calls(messages: Iterable[Message]) -> dict[str, str]:
    """The tool that each call so far asked for, by the call's id."""
    return {block.id: block.name for message in messages for block in message.blocks if isinstance(block, ToolCall)}

"""Names of tools that a vendor refuses, as those of MCP's tools often are: it is told plain ones in their place, and
the calls that come back have the client's again.

A plain name is made of the tool's own alone: the same in each turn, so that vendors' prompt caches hold.
Sources, read on 2026-11-30: OpenAI's API reference, "Create chat completion"; Anthropic's, "Define tools"; the
service's model in botocore (bedrock-runtime, "ToolName"); ai.google.dev, "FunctionDeclaration". Some take longer names
by now.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import msgspec

from routing.conversation import Block, Conversation, Delta, Reply, ToolCall, ToolCallBegan, ToolResult
from routing.upstreams.base import UpstreamRequest, UsageReader

PLAIN = re.compile(r"[a-zA-Z0-9_-]{1,64}")
# Google wants a letter or an underscore first.
GOOGLES = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
_MAX_BEGINNING = 55  # of 64: what makes it its own follows
_NOT_PLAIN = re.compile(r"[^a-zA-Z0-9_-]")

OwnNames = Mapping[str, str]


def in_plain_names(conversation: Conversation, taken: re.Pattern[str]) -> tuple[Conversation, OwnNames]:
    """The conversation with a plain name for each tool whose own is not `taken`; and by those names the tools' own."""
    names = dict.fromkeys(_names_in(conversation))
    refused = [name for name in names if name and not taken.fullmatch(name)]
    if not refused:
        return conversation, {}
    own_names: dict[str, str] = {}
    for name in refused:
        plain = next(each for each in _plain_names(name) if each not in names and each not in own_names)
        own_names[plain] = name
    plain_names = {name: plain for plain, name in own_names.items()}
    choice = conversation.tool_choice
    plainly = replace(
        conversation,
        tools=tuple(replace(tool, name=plain_names.get(tool.name, tool.name)) for tool in conversation.tools),
        tool_choice=choice and replace(choice, name=plain_names.get(choice.name, choice.name)),
        messages=tuple(
            replace(message, blocks=_renamed(message.blocks, plain_names)) for message in conversation.messages
        ),
    )
    return plainly, own_names


def answered_in(own_names: OwnNames, request: UpstreamRequest, usual: Callable[[None], UsageReader]) -> UpstreamRequest:
    """`request`, whose answer calls tools by their `own_names`. `usual` makes a reader where it names none itself."""
    if not own_names:
        return request
    make = request.reader or partial(usual, None)
    return msgspec.structs.replace(request, reader=lambda: cast("UsageReader", _InOwnNames(make(), own_names)))


class _InOwnNames:
    """A reader of an answer to plain names."""

    def __init__(self, reader: UsageReader, own_names: OwnNames) -> None:
        self._reader, self._own_names = reader, own_names

    def __getattr__(self, name: str) -> Any:
        """What the reader knows."""
        return getattr(self._reader, name)

    def reply(self) -> Reply:
        reply, own = self._reader.reply(), self._own_names
        others = tuple(replace(choice, blocks=_renamed(choice.blocks, own)) for choice in reply.others)
        return replace(reply, blocks=_renamed(reply.blocks, own), others=others)

    def deltas(self, data: bytes) -> Sequence[Delta]:
        own = self._own_names
        return [
            replace(delta, name=own.get(delta.name, delta.name)) if isinstance(delta, ToolCallBegan) else delta
            for delta in self._reader.deltas(data)
        ]


def _names_in(conversation: Conversation) -> Iterator[str]:
    for tool in conversation.tools:
        yield tool.name
    if conversation.tool_choice is not None:
        yield conversation.tool_choice.name
    for message in conversation.messages:
        for block in message.blocks:
            if isinstance(block, ToolCall | ToolResult):
                yield block.name


def _renamed(blocks: Iterable[Block], names: Mapping[str, str]) -> tuple[Block, ...]:
    return tuple(
        replace(block, name=names.get(block.name, block.name)) if isinstance(block, ToolCall | ToolResult) else block
        for block in blocks
    )


def _plain_names(name: str) -> Iterator[str]:
    """Names that every vendor takes, the usual one first."""
    beginning = _NOT_PLAIN.sub("_", name)
    if not re.match("[a-zA-Z_]", beginning):
        beginning = f"_{beginning}"
    for number in itertools.count():
        digest = hashlib.sha256(f"{name}{number or ''}".encode("utf-8", "surrogatepass")).hexdigest()
        yield f"{beginning[:_MAX_BEGINNING]}_{digest[:8]}"

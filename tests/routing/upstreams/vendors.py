"""The dialects under test, each with the vendor that speaks it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from routing.asking import execute
from routing.conversation import (
    Began,
    Block,
    Choice,
    Conversation,
    Delta,
    Ended,
    Message,
    Refusal,
    RefusalDelta,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
)
from routing.errors import UpstreamError
from routing.logprobs import TokenLogprob
from routing.model_facts import ModelFacts
from routing.token_usage import TokenUsage
from routing.upstreams.base import UsageReader
from routing.upstreams.transport import HttpTransport
from tests.fakes.anthropic_upstream import FakeAnthropic
from tests.fakes.bedrock_upstream import FakeBedrock
from tests.fakes.gemini_upstream import FakeGemini
from tests.fakes.openai_upstream import FakeOpenAI
from tests.fakes.vendor import FakeVendor
from tests.routing.facts import model_facts, say

AT_RESPONSES = "openai /responses"
# By dialect, and where one has two ways to say what is translated, by the way.
FAKES: dict[str, type[FakeVendor] | None] = {
    "openai": FakeOpenAI,
    AT_RESPONSES: FakeOpenAI,
    "anthropic": FakeAnthropic,
    "gemini": FakeGemini,
    "bedrock": FakeBedrock,
    "sandbox": None,
}
MODELS = {
    "openai": "gpt-4o",
    AT_RESPONSES: "gpt-5-pro",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-3.5-flash",
    "bedrock": "us.anthropic.claude-sonnet-4-6",
    "sandbox": "sandbox-small",
}


@dataclass
class Spoken:
    """One of FAKES by its name, and its vendor; `fake` is None for the sandbox, which has none."""

    name: str
    fake: FakeVendor | None

    @property
    def dialect(self) -> str:
        """Its dialect's name."""
        return self.name.partition(" ")[0]

    def model(self, **changes: Any) -> ModelFacts:
        """Its model."""
        address = self.fake.base_url if self.fake else ""
        facts = {"dialect": self.dialect, "base_url": address, "api_key_env": "FAKE_KEY" if self.fake else ""}
        speaks = {"has_responses": self.name == AT_RESPONSES}
        return model_facts(changes.pop("name", MODELS[self.name]), **{**facts, **speaks, **changes})

    def sent(self) -> dict[str, Any]:
        """What its vendor was sent last: path, headers and body."""
        assert self.fake is not None
        return self.fake.served.requests[-1]


def spoken(name: str) -> AbstractContextManager[FakeVendor | None]:
    """Runs the vendor of one of FAKES."""
    fake = FAKES[name]
    return fake() if fake is not None else nullcontext()


@dataclass
class Heard:
    """What came of a call: the whole reply, or a stream's deltas, and what its reader knows."""

    reader: UsageReader
    reply: Reply | None = None
    deltas: list[Delta] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    error: UpstreamError | None = None

    @property
    def usage(self) -> TokenUsage | None:
        """What the vendor says it used."""
        return self.reader.usage


def ask(
    vendor: Spoken, conversation: Conversation, *, is_stream: bool = False, timeout: int = 5, **facts: Any
) -> Heard:
    """Asks the dialect's vendor over HTTP and reads the answer to its end."""
    return asyncio.run(_ask(vendor.model(timeout_seconds=timeout, **facts), conversation, is_stream))


def ask_text(vendor: Spoken, text: str, *, is_stream: bool = False, timeout: int = 5, **fields: Any) -> Heard:
    """Asks with one message of the user's."""
    message = Message("user", (Text(text),))
    return ask(vendor, Conversation((message,), **fields), is_stream=is_stream, timeout=timeout)


async def _ask(model: ModelFacts, conversation: Conversation, is_stream: bool) -> Heard:
    client = HttpTransport()
    try:
        execution = await execute(model, say(conversation, is_stream=is_stream), transport=client)
        heard = Heard(execution.reader)
        try:
            if is_stream:
                async for event, _ in execution.events():
                    heard.events.append(event.data)
                    heard.deltas += execution.reader.deltas(event.data)
            else:
                await execution.read()
                heard.reply = execution.reader.reply()
        except UpstreamError as error:
            heard.error = error
        return heard
    finally:
        await client.aclose()


def joined(deltas: Sequence[Delta], usage: TokenUsage | None) -> Reply:
    """The reply that a stream's deltas add up to: what is alike and adjacent is one block."""
    began, *said = deltas
    assert isinstance(began, Began), deltas[:1]
    numbers = {delta.choice for delta in said if not isinstance(delta, Began)}
    assert numbers == set(range(len(numbers))), "answers are counted from 0"
    first, *others = (_joined([each for each in said if getattr(each, "choice", None) == n]) for n in sorted(numbers))
    ended = next(delta for delta in said if isinstance(delta, Ended) and not delta.choice)
    return Reply(
        began.id, began.model, first.blocks, first.finish, usage, ended.stop_sequence, first.logprobs, tuple(others)
    )


def _joined(deltas: Sequence[Delta]) -> Choice:
    """One answer."""
    ended = deltas[-1]
    assert isinstance(ended, Ended), deltas[-1:]
    blocks: list[Block] = []
    likely: list[TokenLogprob] = []
    calls: dict[int, int] = {}
    for delta in deltas[:-1]:
        last = blocks[-1] if blocks else None
        match delta:
            case TextDelta():
                likely += delta.logprobs
                if isinstance(last, Text):
                    blocks[-1] = Text(last.text + delta.text)
                else:
                    blocks.append(Text(delta.text))
            case RefusalDelta():
                likely += delta.logprobs
                if isinstance(last, Refusal):
                    blocks[-1] = Refusal(last.text + delta.text)
                else:
                    blocks.append(Refusal(delta.text))
            case ThinkingDelta():
                if isinstance(last, Thinking) and not last.signature and not delta.is_redacted:
                    blocks[-1] = Thinking(last.text + delta.text, delta.signature)
                else:
                    blocks.append(Thinking(delta.text, delta.signature, delta.is_redacted))
            case ToolCallBegan():
                assert delta.index == len(calls), "calls are counted from 0"
                calls[delta.index] = len(blocks)
                blocks.append(ToolCall(delta.id, delta.name, "", delta.signature))
            case ToolCallDelta():
                call = blocks[calls[delta.index]]
                assert isinstance(call, ToolCall)
                grown = ToolCall(call.id, call.name, call.arguments + delta.arguments, call.signature)
                blocks[calls[delta.index]] = grown
            case _:
                raise AssertionError(f"{delta} in the middle of a stream")
    return Choice(tuple(blocks), ended.finish, tuple(likely))

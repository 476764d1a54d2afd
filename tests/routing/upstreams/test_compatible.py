"""How vendors who speak OpenAI's chat format want to be asked, and what of theirs differs in a stream.

Their recorded answers: test_recorded.py. Azure: test_compatible_azure.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.conversation import (
    Conversation,
    Delta,
    Message,
    Reasoning,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
    ToolResult,
)
from routing.errors import UpstreamError
from routing.token_usage import TokenUsage
from routing.upstreams.base import CHAT
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.dialect import OpenAIDialect
from tests.routing.facts import model_facts

MOONSHOT, ZAI, ZHIPU = (
    "https://api.moonshot.ai/v1",
    "https://api.z.ai/api/paas/v4",
    "https://open.bigmodel.cn/api/paas/v4",
)
DEEPSEEK, MISTRAL = "https://api.deepseek.com/v1", "https://api.mistral.ai/v1"
STREAMLAKE = "https://vanchin.streamlake.ai/api/gateway/v1/endpoints"
AZURE = "https://acme.openai.azure.com/openai/deployments/{deployment}?api-version=2024-10-21"
ANYBODY = "https://vendor.test/v1"


def native(base_url: str, name: str, body: dict[str, Any], *, is_stream: bool = False) -> dict[str, Any]:
    model = model_facts(name, base_url=base_url)
    found: dict[str, Any] = json.loads(OpenAIDialect().native_request(model, "", CHAT, body, is_stream=is_stream).body)
    return found


def translated(base_url: str, name: str, *messages: Message, **fields: Any) -> dict[str, Any]:
    asked = Conversation(messages or (Message("user", (Text("hi"),)),), **fields)
    model = model_facts(name, base_url=base_url)
    found: dict[str, Any] = json.loads(OpenAIDialect().translated_request(model, "", asked, is_stream=True).body)
    return found


# Limits.


@pytest.mark.parametrize(
    ("base_url", "name", "said"),
    [
        (MOONSHOT, "kimi-k3", "max_completion_tokens"),
        ("https://api.moonshot.cn/v1", "moonshot-v1-8k", "max_completion_tokens"),
        (AZURE, "our-deployment", "max_completion_tokens"),
        (ZAI, "glm-5.3", "max_tokens"),
        (ZHIPU, "glm-4.7", "max_tokens"),
        (STREAMLAKE, "kat-coder-pro-v2.5", "max_tokens"),
        (DEEPSEEK, "deepseek-v4-pro", "max_tokens"),
        (ANYBODY, "llama-4", "max_tokens"),
    ],
)
def test_a_limit_is_said_in_the_word_that_the_vendor_obeys(base_url: str, name: str, said: str) -> None:
    body = translated(base_url, name, max_output_tokens=7)
    assert {key: body[key] for key in body if key.startswith("max_")} == {said: 7}


@pytest.mark.parametrize("base_url", [ZAI, ZHIPU, STREAMLAKE, DEEPSEEK, MISTRAL])
def test_a_clients_new_limit_is_said_to_those_who_know_only_the_old_one(base_url: str) -> None:
    assert native(base_url, "m", {"max_completion_tokens": 5}) == {"model": "m", "max_tokens": 5}


@pytest.mark.parametrize("base_url", [MOONSHOT, AZURE, ANYBODY])
def test_a_clients_limit_passes_where_both_are_known(base_url: str) -> None:
    for limit in ("max_tokens", "max_completion_tokens"):
        assert native(base_url, "m", {limit: 5}) == {"model": "m", limit: 5}


# Thoughts that must come back.

CALL = ToolCall("c1", "weather", '{"city":"Oslo"}')
RESULT = Message("user", (ToolResult("c1", (Text("2 °C"),)),))


@pytest.mark.parametrize(("base_url", "name"), [(MOONSHOT, "kimi-k3"), (DEEPSEEK, "deepseek-v4-flash")])
def test_tool_calls_come_back_with_the_thoughts_before_them(base_url: str, name: str) -> None:
    own = Message("assistant", (Thinking("I must look."), Text("One moment."), CALL))
    said = translated(base_url, name, own, RESULT)["messages"][0]
    assert (said["reasoning_content"], said["content"]) == ("I must look.", "One moment.")
    # A space where there are none, or another vendor's: without the field the whole request is refused.
    for others in ((CALL,), (Thinking("Claude's", "signature"), CALL)):
        said = translated(base_url, name, Message("assistant", others), RESULT)["messages"][0]
        assert said["reasoning_content"] == " "
    assert "reasoning_content" not in translated(base_url, name, Message("assistant", (Text("Hi."),)))["messages"][0]


def test_others_are_not_shown_thoughts() -> None:
    own = Message("assistant", (Thinking("I must look."), CALL))
    for base_url in (ANYBODY, MISTRAL, ZAI, STREAMLAKE):
        assert "reasoning_content" not in translated(base_url, "m", own, RESULT)["messages"][0]


def test_a_client_that_lost_the_thoughts_is_not_refused_for_it() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2 °C"},
        {"role": "assistant", "content": "Cold.", "reasoning_content": "kept", "tool_calls": [call]},
        "not a message",
    ]
    sent = native(DEEPSEEK, "deepseek-v4-pro", {"messages": messages})["messages"]
    assert sent[1] == {**messages[1], "reasoning_content": " "}  # type: ignore[dict-item]  # a message it is
    assert [sent[0], *sent[2:]] == [messages[0], *messages[2:]]
    assert native(ANYBODY, "m", {"messages": messages})["messages"] == messages


# Sampling and thinking.


def test_kimi_chooses_its_words_by_itself() -> None:
    wishes = {"temperature": 0.2, "top_p": 0.9, "presence_penalty": 0.5, "frequency_penalty": 0.5}
    assert native(MOONSHOT, "kimi-k3", {**wishes, "stop": ["END"]}) == {"model": "kimi-k3", "stop": ["END"]}
    assert wishes.keys().isdisjoint(translated(MOONSHOT, "kimi-k2.6", **wishes))
    assert native(MOONSHOT, "moonshot-v1-8k", dict(wishes)) == {"model": "moonshot-v1-8k", **wishes}


@pytest.mark.parametrize(
    ("base_url", "name", "effort", "said"),
    [
        (MOONSHOT, "kimi-k3", "none", {"reasoning_effort": "low"}),
        (MOONSHOT, "kimi-k3.1-pro", "medium", {"reasoning_effort": "high"}),
        (MOONSHOT, "kimi-k3", "xhigh", {"reasoning_effort": "max"}),
        (MOONSHOT, "kimi-k3", "", {}),
        (MOONSHOT, "kimi-k2.6", "high", {}),
        (MOONSHOT, "kimi-k2.6", "none", {"thinking": {"type": "disabled"}}),
        (MOONSHOT, "kimi-k2.7-code", "none", {}),
        (DEEPSEEK, "deepseek-v4-pro", "minimal", {"reasoning_effort": "low"}),
        (DEEPSEEK, "deepseek-v4-pro", "xhigh", {"reasoning_effort": "high"}),
        (DEEPSEEK, "deepseek-v4-pro", "none", {"thinking": {"type": "disabled"}}),
        (ZAI, "glm-4.7", "high", {}),
        (ZHIPU, "glm-4.7", "none", {"thinking": {"type": "disabled"}}),
        (ZAI, "glm-5.3-flash", "high", {"reasoning_effort": "high"}),
        (ANYBODY, "m", "none", {"reasoning_effort": "none"}),
        (ANYBODY, "m", "", {"reasoning_effort": "medium"}),
    ],
)
def test_effort_is_said_in_the_vendors_own_words(base_url: str, name: str, effort: str, said: dict[str, Any]) -> None:
    body = translated(base_url, name, reasoning=Reasoning(effort))
    assert {key: body[key] for key in ("reasoning_effort", "thinking") if key in body} == said


# Streams that no recording shows as a whole.


def deltas_of(*deltas: dict[str, Any]) -> list[Delta]:
    reader, found = ChatReader(), list[Delta]()
    for delta in deltas:
        data = json.dumps({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta}]}).encode()
        reader.read_event(data)
        found += reader.deltas(data)
    return found[1:]


def call(arguments: str, **facts: Any) -> dict[str, Any]:
    name = facts.pop("name", None)
    return {"tool_calls": [{**facts, "function": {"name": name, "arguments": arguments}}]}


def test_calls_that_are_all_numbered_0_are_told_apart_by_their_ids() -> None:
    # Ollama until April 2026. Source: github.com/ollama/ollama, issue 15457.
    assert deltas_of(
        call('{"path":"hello.py"}', id="abc123", index=0, name="write"),
        call('{"path":"world.py"}', id="def456", index=0, name="write"),
    ) == [
        ToolCallBegan(0, "abc123", "write"),
        ToolCallDelta(0, '{"path":"hello.py"}'),
        ToolCallBegan(1, "def456", "write"),
        ToolCallDelta(1, '{"path":"world.py"}'),
    ]


def test_a_call_whose_id_changes_on_the_way_stays_one() -> None:
    # Kimi at some hosts: the name comes once, each piece has an id of its own.
    assert deltas_of(
        call("", id="functions.read:0", index=0, name="read"),
        call('{"path":', id="chatcmpl-tool-a", index=0),
        call('"README"}', id="chatcmpl-tool-b", index=0, name=""),
    ) == [ToolCallBegan(0, "functions.read:0", "read"), ToolCallDelta(0, '{"path":'), ToolCallDelta(0, '"README"}')]


def test_a_call_that_repeats_its_name_and_id_stays_one() -> None:
    assert deltas_of(call("{", id="c1", index=0, name="read"), call("}", id="c1", index=0, name="read")) == [
        ToolCallBegan(0, "c1", "read"), ToolCallDelta(0, "{"), ToolCallDelta(0, "}")
    ]  # fmt: skip


def test_calls_without_ids_get_ours() -> None:
    began = [each for each in deltas_of(call("{}", index=0, name="a"), call("{}", index=1, name="b"))
             if isinstance(each, ToolCallBegan)]  # fmt: skip
    assert began == [ToolCallBegan(0, "call_0", "a"), ToolCallBegan(1, "call_1", "b")]


def test_content_in_parts_is_words_and_thoughts() -> None:
    parts: list[Any] = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"type": "text", "text": "."}]},
        {"type": "thinking", "thinking": "So"},
        {"type": "text", "text": "Yes."},
        {"type": "reference", "reference_ids": [1]},
        "stray",
    ]
    assert deltas_of({"content": parts}) == [ThinkingDelta("Hm."), ThinkingDelta("So"), TextDelta("Yes.")]


def test_words_in_parts_are_counted_where_a_stream_breaks_off() -> None:
    reader = ChatReader()
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "one two"}]}, {"type": "text", "text": "three"}]
    reader.read_event(json.dumps({"choices": [{"delta": {"content": parts}}]}).encode())
    assert reader.produced_tokens() == 2 + 2  # one|two, thre|e


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("model_length", "length"),
        ("model_context_window_exceeded", "length"),
        ("insufficient_system_resource", "length"),
        ("network_error", "length"),
        ("sensitive", "content_filter"),
        ("eos", "stop"),
    ],
)
def test_an_end_is_understood_in_each_vendors_word(word: str, finish: str) -> None:
    reader = ChatReader()
    reader.read_body(json.dumps({"choices": [{"message": {"content": "x"}, "finish_reason": word}]}).encode())
    assert (reader.reply().finish, reader.finish_reason) == (finish, word)


def test_usage_in_an_error_is_kept_and_usage_that_cannot_be_is_an_error() -> None:
    usage = {"prompt_tokens": 43, "completion_tokens": 10, "total_tokens": 53}
    reader = ChatReader()
    with pytest.raises(UpstreamError, match="broke off"):
        reader.read_event(json.dumps({"error": {"message": "x"}, "usage": usage}).encode())
    assert reader.usage == TokenUsage(43, 10)
    with pytest.raises(UpstreamError, match="impossible usage"):
        reader.read_event(json.dumps({"choices": [{"usage": {**usage, "prompt_tokens": -1}}]}).encode())

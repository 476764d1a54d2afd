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
    Ended,
    Message,
    Reasoning,
    Reply,
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
from routing.upstreams.sse import DONE
from spendhub.gateway.openai.chat_writing import completion
from tests.routing.facts import model_facts

MOONSHOT, ZAI, ZHIPU = (
    "https://api.moonshot.ai/v1",
    "https://api.z.ai/api/paas/v4",
    "https://open.bigmodel.cn/api/paas/v4",
)
DEEPSEEK, MISTRAL = "https://api.deepseek.com/v1", "https://api.mistral.ai/v1"
STREAMLAKE = "https://vanchin.streamlake.ai/api/gateway/v1/endpoints"
AZURE = "https://acme.openai.azure.com/openai/deployments/{deployment}?api-version=2024-10-21"
OPENAI_EU, NOT_OPENAI = "https://eu.api.openai.com/v1", "https://api.openai.com.vendor.test/v1"
OPENAI, GROQ, CEREBRAS = "https://api.openai.com/v1", "https://api.groq.com/openai/v1", "https://api.cerebras.ai/v1"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta/openai"
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


@pytest.mark.parametrize("base_url", [ZAI, ZHIPU, STREAMLAKE, DEEPSEEK, MISTRAL])
@pytest.mark.parametrize(("new", "old"), [(5, 100), (100, 5), (100, None), (None, 100)])
def test_of_a_clients_two_limits_the_larger_which_was_held_is_said_to_those_who_know_only_the_old_one(
    base_url: str, new: int | None, old: int | None
) -> None:
    said = native(base_url, "m", {"max_completion_tokens": new, "max_tokens": old})
    assert said == {"model": "m", "max_tokens": 100}


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


WEATHER_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


def signed(signature: str) -> dict[str, Any]:
    """A call of Gemini's, as Google tells it to clients of chat completions."""
    return {**WEATHER_CALL, "extra_content": {"google": {"thought_signature": signature}}}


def shown(base_url: str, call: dict[str, Any], name: str = "m", **thoughts: Any) -> dict[str, Any]:
    """What the vendor is shown of a message that comes back, beside its role and content."""
    messages = [{"role": "assistant", "content": "hi", "tool_calls": [call], **thoughts}]
    (sent,) = native(base_url, name, {"messages": messages})["messages"]
    assert (sent.pop("role"), sent.pop("content")) == ("assistant", "hi")
    found: dict[str, Any] = sent
    return found


def told(*blocks: Thinking | ToolCall) -> dict[str, Any]:
    """What we tell a client of chat completions about another vendor's thoughts and calls."""
    body = completion(Reply("id", "m", (*blocks, Text("hi")), "stop", None), "m")
    message = json.loads(body)["choices"][0]["message"]
    return {name: message[name] for name in ("reasoning_content", "thinking_blocks", "tool_calls") if name in message}


CLAUDES = told(Thinking("hm", "EqQB"), Thinking(signature="Emwk", is_redacted=True))
GEMINIS = told(Thinking("hm"), ToolCall("c1", "weather", "{}", "gemini.CiQB"))
(GEMINIS_CALL,) = GEMINIS.pop("tool_calls")
BARE = {"tool_calls": [WEATHER_CALL]}


@pytest.mark.parametrize("base_url", [MISTRAL, OPENAI, GROQ, CEREBRAS, ANYBODY])
def test_nobody_is_shown_thoughts_that_we_have_told_of_another_vendors_model(base_url: str) -> None:
    assert [set(CLAUDES), set(GEMINIS)] == [{"reasoning_content", "thinking_blocks"}, {"reasoning_content"}]
    assert signed("gemini.CiQB") == GEMINIS_CALL
    assert shown(base_url, WEATHER_CALL, **CLAUDES) == BARE
    assert shown(base_url, GEMINIS_CALL, **GEMINIS) == BARE


@pytest.mark.parametrize("base_url", [MISTRAL, OPENAI, OPENAI_EU, GROQ, CEREBRAS])
def test_a_vendor_that_knows_no_thoughts_is_shown_nobodys(base_url: str) -> None:
    """Mistral: "Extra inputs are not permitted" (422)."""
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "EqQB"}]
    assert shown(base_url, signed("CiQB"), reasoning_content="hm", thinking_blocks=blocks) == BARE


@pytest.mark.parametrize("base_url", [ANYBODY, AZURE, NOT_OPENAI])
def test_a_vendor_that_may_know_them_is_shown_its_own(base_url: str) -> None:
    own = {"reasoning_content": "hm", "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "EqQB"}]}
    assert shown(base_url, signed("CiQB"), **own) == {"tool_calls": [signed("CiQB")], **own}
    body = {"messages": [{"role": "assistant", **own}, {"role": "user", "content": "hi", "reasoning_content": "?"}]}
    assert native(ANYBODY, "m", body)["messages"] == body["messages"]


@pytest.mark.parametrize(("base_url", "name"), [(MOONSHOT, "kimi-k3"), (DEEPSEEK, "deepseek-v4-flash")])
def test_who_wants_thoughts_back_is_shown_its_own_words_alone(base_url: str, name: str) -> None:
    own = {"reasoning_content": "hm"}
    assert shown(base_url, WEATHER_CALL, name, **own) == {**BARE, **own}
    assert shown(base_url, WEATHER_CALL, name, **CLAUDES) == {**BARE, "reasoning_content": " "}
    assert shown(base_url, GEMINIS_CALL, name, **GEMINIS) == {**BARE, "reasoning_content": " "}
    assert shown(ZAI, WEATHER_CALL, "glm-5.3", **own) == {**BARE, **own}


def test_googles_own_signature_comes_back_to_google_whichever_way_it_went() -> None:
    assert shown(GOOGLE, signed("CiQB"), reasoning_content="hm") == {"tool_calls": [signed("CiQB")]}
    assert shown(GOOGLE, GEMINIS_CALL, **GEMINIS) == {"tool_calls": [signed("CiQB")]}
    assert shown(GOOGLE, signed("bedrock.cmVk")) == BARE


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
        ("max_tokens", "length"),
        ("error", "length"),
        ("abort", "length"),
        ("repetition", "length"),
        ("sensitive", "content_filter"),
        ("eos", "stop"),
    ],
)
def test_an_end_is_understood_in_each_vendors_word(word: str, finish: str) -> None:
    reader = ChatReader()
    reader.read_body(json.dumps({"choices": [{"message": {"content": "x"}, "finish_reason": word}]}).encode())
    assert (reader.reply().finish, reader.finish_reason) == (finish, word)


FAILED = ["error", "abort", "repetition", "insufficient_system_resource", "network_error"]


@pytest.mark.parametrize("word", FAILED)
def test_an_answer_that_failed_without_a_word_is_an_error_and_billed(word: str) -> None:
    usage = {"prompt_tokens": 43, "completion_tokens": 10, "total_tokens": 53}
    message = {"content": "", "reasoning_content": "Hm", "tool_calls": [{"id": "c", "function": {"name": "now"}}]}
    whole, stream = ChatReader(), ChatReader()
    with pytest.raises(UpstreamError, match=f"failed without an answer: {word}$"):
        whole.read_body(json.dumps({"choices": [{"message": message, "finish_reason": word}], "usage": usage}).encode())
    for event in (
        {"id": "c", "choices": [{"index": 0, "delta": message}]},
        {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": word}]},
        {"id": "c", "choices": [], "usage": usage},
    ):
        stream.read_event(json.dumps(event).encode())
        stream.deltas(json.dumps(event).encode())
    stream.read_event(DONE)
    with pytest.raises(UpstreamError, match=f"failed without an answer: {word}$"):
        stream.deltas(DONE)
    assert whole.usage == stream.usage == TokenUsage(43, 10)


@pytest.mark.parametrize("word", FAILED)
def test_a_whole_call_of_an_answer_that_failed_is_kept_and_half_a_one_is_an_error(word: str) -> None:
    for arguments, is_whole in (('{"zone": "UTC"}', True), ('{"zone": "U', False)):
        called = {"index": 0, "id": "c", "function": {"name": "now", "arguments": arguments}}
        whole, stream = ChatReader(), ChatReader()
        body = {"choices": [{"message": {"tool_calls": [called]}, "finish_reason": word}]}
        half = {"index": 0, "function": {"arguments": arguments[5:]}}
        called_first = {**called, "function": {"name": "now", "arguments": arguments[:5]}}
        for delta, ending in (({"tool_calls": [called_first]}, None), ({"tool_calls": [half]}, word)):
            stream.deltas(json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": ending}]}).encode())
        if is_whole:
            whole.read_body(json.dumps(body).encode())
            assert whole.reply().blocks == (ToolCall("c", "now", arguments),)
            assert whole.reply().finish == "length"
            assert stream.deltas(DONE) == [Ended("length")]
        else:
            with pytest.raises(UpstreamError, match=f"failed without an answer: {word}$"):
                whole.read_body(json.dumps(body).encode())
            with pytest.raises(UpstreamError, match=f"failed without an answer: {word}$"):
                stream.deltas(DONE)


def test_a_stream_that_failed_after_some_words_ends_as_one_that_is_cut() -> None:
    reader = ChatReader()
    for delta, word in (({"content": "x"}, None), ({}, "error")):
        reader.deltas(json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": word}]}).encode())
    assert reader.deltas(DONE) == [Ended("length")]


def test_an_error_in_place_of_the_only_choice_is_an_error_to_all_clients() -> None:
    # OpenRouter. Source: openrouter.ai/docs/api/reference/overview, "CompletionsResponse Format".
    choice = {"message": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": "It broke."}}
    body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 43, "completion_tokens": 10}}).encode()
    for wire in (None, CHAT):
        reader = OpenAIDialect().reader(wire)
        with pytest.raises(UpstreamError, match=r"failed without an answer: error: 502: It broke\.$"):
            reader.read_body(body)
        assert reader.usage == TokenUsage(43, 10)


def test_an_answer_that_failed_passes_untouched_to_openais_own_clients() -> None:
    reader = OpenAIDialect().reader(CHAT)
    reader.read_body(b'{"choices": [{"message": {"content": ""}, "finish_reason": "abort"}]}')
    assert reader.finish_reason == "abort"


def test_usage_in_an_error_is_kept_and_usage_that_cannot_be_is_none() -> None:
    usage = {"prompt_tokens": 43, "completion_tokens": 10, "total_tokens": 53}
    reader = ChatReader()
    with pytest.raises(UpstreamError, match="broke off"):
        reader.read_event(json.dumps({"error": {"message": "x"}, "usage": usage}).encode())
    assert reader.usage == TokenUsage(43, 10)
    reader.read_event(json.dumps({"choices": [{"usage": {**usage, "prompt_tokens": -1}}]}).encode())
    assert (reader.usage, reader.usage_so_far) == (None, TokenUsage(43, 10))

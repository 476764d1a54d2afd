"""Bedrock's Converse API: what is sent, and what its answers say. `tests/fakes/bedrock_upstream.py` stands for AWS; that
it speaks as AWS does is shown by AWS's own client, at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.conversation import (
    Audio,
    Began,
    Conversation,
    Ended,
    File,
    Finish,
    Image,
    Message,
    NotTranslatable,
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallBegan,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
)
from routing.errors import DialectNotSpoken, UpstreamError
from routing.token_usage import TokenUsage
from routing.upstreams.base import EMBEDDINGS
from routing.upstreams.bedrock.converse import ConverseReader
from routing.upstreams.bedrock.dialect import BedrockDialect
from tests.routing.facts import model_facts
from tests.routing.upstreams.vendors import Spoken, ask, ask_text, joined

BASE = "https://bedrock-runtime.us-east-1.amazonaws.com"
CLAUDE, NEW_CLAUDE, OLD_CLAUDE = (
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "global.anthropic.claude-opus-4-8",
    "anthropic.claude-3-5-haiku-20241022-v1:0",
)
NOVA, NOVA_2, GPT_OSS, LLAMA = (
    "amazon.nova-lite-v1:0",
    "us.amazon.nova-2-lite-v1:0",
    "openai.gpt-oss-120b-1:0",
    "meta.llama3-3-70b-instruct-v1:0",
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 9}}}
CLOSED = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "(maxLength: 9)"}},
    "additionalProperties": False,
}
WEATHER = Tool("weather", "The weather.", SCHEMA)
HELLO = Message("user", (Text("hi"),))
LOOP = (
    Message("user", (Text("?"),)),
    Message("assistant", (ToolCall("a", "weather", '{"city": "Köln"}'),)),
    Message("user", (ToolResult("a", (Text("22"),)),)),
)


def body_of(
    *messages: Message, name: str = CLAUDE, capabilities: Any = ("tools", "caching"), **fields: Any
) -> dict[str, Any]:
    model = model_facts(name, dialect="bedrock", base_url=BASE, capabilities=frozenset(capabilities))
    asked = Conversation(messages or (HELLO,), **fields)
    found: dict[str, Any] = json.loads(BedrockDialect().translated_request(model, "k", asked, is_stream=False).body)
    return found


def said(*blocks: Any, role: Any = "user", name: str = CLAUDE, **options: Any) -> Any:
    """The content that one message becomes."""
    return body_of(Message(role, blocks), name=name, **options)["messages"][0]["content"]


def refused(*messages: Message, **fields: Any) -> str:
    """The field for which a request is refused."""
    with pytest.raises(NotTranslatable) as error:
        body_of(*messages, **fields)
    return str(error.value.details["field"])


def test_where_it_is_asked_and_how() -> None:
    model = model_facts(CLAUDE, dialect="bedrock", base_url=BASE + "/", timeout_seconds=9)
    asked = Conversation((HELLO, Message("assistant", (Text("ho"),))))
    whole = BedrockDialect().translated_request(model, "ABSKkey", asked, is_stream=False)
    assert (whole.method, whole.timeout_seconds) == ("POST", 9)
    assert whole.url == f"{BASE}/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/converse"
    assert whole.headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "authorization": "Bearer ABSKkey",
    }
    assert json.loads(whole.body) == {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}, {"role": "assistant", "content": [{"text": "ho"}]}],
        "inferenceConfig": {"maxTokens": 4096},
    }
    streamed = BedrockDialect().translated_request(model, "", asked, is_stream=True)
    assert streamed.url == f"{BASE}/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/converse-stream"
    assert streamed.body == whole.body
    assert streamed.headers == {"content-type": "application/json", "accept": "application/vnd.amazon.eventstream"}


def test_an_arn_is_one_segment_of_the_path() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    model = model_facts("mine", dialect="bedrock", base_url=f"{BASE}/openai/v1", upstream_name=arn)
    url = BedrockDialect().translated_request(model, "", Conversation((HELLO,)), is_stream=False).url
    assert url == f"{BASE}/model/{arn.replace('/', '%2F')}/converse"


def test_the_catalogs_name_says_what_stands_behind_a_profile_of_ones_own() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x1y2z3"
    thinks = {"reasoning": Reasoning("low"), "max_output_tokens": 4_000}
    for name, field in ((f"team/{CLAUDE}", "thinking"), (f"team/{NOVA_2}", "reasoningConfig")):
        model = model_facts(name, dialect="bedrock", base_url=BASE, upstream_name=arn)
        asked = Conversation((HELLO,), **thinks)  # type: ignore[arg-type]  # of several types
        sent = BedrockDialect().translated_request(model, "", asked, is_stream=False).body
        assert list(json.loads(sent)["additionalModelRequestFields"]) == [field]


def test_nothing_passes_untouched() -> None:
    model = model_facts("amazon.titan-embed-text-v2:0", dialect="bedrock", base_url=BASE)
    with pytest.raises(DialectNotSpoken, match="embeddings"):
        BedrockDialect().native_request(model, "", EMBEDDINGS, {"input": "a"}, is_stream=False)


# What is said.


def test_every_kind_of_block_has_its_word() -> None:
    assert said(
        Text("hi"), Text(" "), Image("image/png", "AAAA"), Image("image/jpg", "BBBB"), Audio("UklG", "wav")
    ) == [
        {"text": "hi"},
        {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
        {"image": {"format": "jpeg", "source": {"bytes": "BBBB"}}},
        {"audio": {"format": "wav", "source": {"bytes": "UklG"}}},
    ]
    assert said(Refusal("no"), role="assistant") == [{"text": "no"}]
    assert said(Image(url="s3://bucket/a.webp"), Text("?")) == [
        {"image": {"format": "webp", "source": {"s3Location": {"uri": "s3://bucket/a.webp"}}}},
        {"text": "?"},
    ]


def test_a_turn_in_which_nothing_is_said_leaves_no_empty_one() -> None:
    blank = {"role": "user", "content": [{"text": "(empty)"}]}
    assert body_of(Message("user", (Text(" "),)))["messages"] == [blank]
    answered = Message("assistant", (Text("b"),))
    assert body_of(HELLO, answered, Message("user", (Text(""),)))["messages"][2] == blank
    # It wants people and models to take turns.
    silent = Message("assistant", (Text(" "), Thinking("Hm")))
    assert body_of(silent)["messages"] == [blank]  # nor can it do without people
    assert body_of(HELLO, silent, HELLO)["messages"] == [{"role": "user", "content": [{"text": "hi"}, {"text": "hi"}]}]


def test_a_system_prompt_alone_is_what_the_user_says() -> None:
    asked = Conversation((), (Text("Write a haiku."),))
    model = model_facts(CLAUDE, dialect="bedrock", base_url=BASE)
    body = json.loads(BedrockDialect().translated_request(model, "k", asked, is_stream=False).body)
    assert body["messages"] == [{"role": "user", "content": [{"text": "Write a haiku."}]}]
    assert "system" not in body


@pytest.mark.parametrize(
    ("block", "field"),
    [
        (Image(url="https://x.test/a.png"), "messages: a picture by its URL"),
        (Image("image/tiff", "AAAA"), "messages: a picture of type image/tiff"),
        (Image(url="http://[::1"), "messages: a picture by its URL"),
        (File(url="https://x.test/a.pdf"), "messages: a document by its URL"),
        (File("application/pdf", url="http://[::1"), "messages: a document by its URL"),
        (File(url="http://[::1"), "messages: a file of type unknown"),
        (File("application/zip", "AAAA"), "messages: a file of type application/zip"),
        (File("", "AAAA"), "messages: a file of type unknown"),
        (Audio("AAAA", "midi"), "messages: audio of type midi"),
    ],
)
def test_what_it_has_no_word_for_is_refused(block: Any, field: str) -> None:
    assert refused(Message("user", (block,))) == field


def test_documents_have_plain_names_that_are_all_different() -> None:
    files = (
        File("application/pdf", "JVBE", name="Q3_report (final).v2.pdf"),
        File(text="plain", name="q3 report (final) v2.txt"),
        File("text/x-log", "bG9n"),
        File("", "AAAA", name="table.xlsx"),
    )
    assert said(Text("compare"), *files) == [
        {"text": "compare"},
        {"document": {"format": "pdf", "name": "Q3 report (final) v2", "source": {"bytes": "JVBE"}}},
        {"document": {"format": "txt", "name": "q3 report (final) v2 (2)", "source": {"bytes": "cGxhaW4="}}},
        {"document": {"format": "txt", "name": "document", "source": {"bytes": "bG9n"}}},
        {"document": {"format": "xlsx", "name": "table", "source": {"bytes": "AAAA"}}},
    ]
    twice = body_of(Message("user", (files[2],)), Message("assistant", (Text("ok"),)), Message("user", (files[2],)))
    # A document wants words beside it.
    assert twice["messages"][0]["content"][1] == {"text": "document"}
    assert twice["messages"][2]["content"][0]["document"]["name"] == "document (2)"


def test_results_answer_their_calls_first_of_all() -> None:
    calls = Message("assistant", (ToolCall("a", "weather", "{}"), ToolCall("call:b", "clock", "")))
    results = (
        Message("user", (ToolResult("a", (Text("22", is_cache_point=True), Image("image/png", "AAAA"))),)),
        Message("user", (Text("and?"), ToolResult("call:b", (Text(""),), is_error=True))),
    )
    messages = body_of(HELLO, calls, *results, tools=(WEATHER,))["messages"]
    assert messages[1]["content"] == [
        {"toolUse": {"toolUseId": "a", "name": "weather", "input": {}}},
        {"toolUse": {"toolUseId": "call_b", "name": "clock", "input": {}}},
    ]
    picture = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}
    assert messages[2]["content"] == [
        {"toolResult": {"toolUseId": "a", "content": [{"text": "22"}, picture]}},
        {"toolResult": {"toolUseId": "call_b", "content": [{"text": "(empty)"}], "status": "error"}},
        {"text": "and?"},
    ]


def test_a_long_id_is_shortened_alike_for_the_call_and_its_result() -> None:
    long, other = "call_" + "x" * 80 + "1", "call_" + "x" * 80 + "2"
    calls = (ToolCall(long, "weather", "{}"), ToolCall(other, "weather", "{}"))
    results = (ToolResult(long, (Text("1"),)), ToolResult(other, (Text("2"),)))
    messages = body_of(HELLO, Message("assistant", calls), Message("user", results), tools=(WEATHER,))["messages"]
    ids = [each["toolUse"]["toolUseId"] for each in messages[1]["content"]]
    assert ids == [each["toolResult"]["toolUseId"] for each in messages[2]["content"]]
    assert [len(each) for each in ids] == [64, 64] and ids[0] != ids[1]


def test_thoughts_go_back_to_claude_alone() -> None:
    thoughts = (
        Thinking("hm", "EqQB"),  # signed by Anthropic, wherever its model ran
        Thinking("unsigned"),
        Thinking("Google's", "gemini.AAA"),
        Thinking(signature="bedrock.cmVk", is_redacted=True),
        Thinking(signature="redacted at Anthropic", is_redacted=True),
        Text("So."),
    )
    assert said(*thoughts, role="assistant") == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "EqQB"}}},
        {"reasoningContent": {"redactedContent": "cmVk"}},
        {"text": "So."},
    ]
    assert said(*thoughts, role="assistant", name="deepseek.r1-v1:0") == [{"text": "So."}]


def test_cache_points_stand_where_the_model_has_a_cache() -> None:
    point = {"cachePoint": {"type": "default"}}
    tool = Tool("clock", is_cache_point=True)
    asked: dict[str, Any] = {"system": (Text("Be brief.", is_cache_point=True), Text("")), "tools": (tool,)}
    words = Message("user", (Text("hi", is_cache_point=True), Text("ho")))
    cached = body_of(words, **asked)
    spec = {"toolSpec": {"name": "clock", "inputSchema": {"json": {"type": "object"}}}}
    assert cached["system"] == [{"text": "Be brief."}, point]
    assert cached["messages"][0]["content"] == [{"text": "hi"}, point, {"text": "ho"}]
    assert cached["toolConfig"] == {"tools": [spec, point]}
    # Nova keeps what was said, but no tools.
    assert body_of(words, name=NOVA, **asked)["toolConfig"] == {"tools": [spec]}
    assert body_of(words, name=NOVA, **asked)["system"] == [{"text": "Be brief."}, point]
    plain = body_of(words, capabilities=("tools",), **asked)
    assert (plain["system"], plain["toolConfig"]) == ([{"text": "Be brief."}], {"tools": [spec]})


# How the answer is wanted.


def test_tools_and_which_of_them() -> None:
    spec = {"name": "weather", "description": "The weather.", "inputSchema": {"json": SCHEMA}}
    assert body_of(tools=(WEATHER,))["toolConfig"] == {"tools": [{"toolSpec": spec}]}

    def choice(choosing: Any, **options: Any) -> Any:
        named = "weather" if choosing == "named" else ""
        return body_of(tools=(WEATHER,), tool_choice=ToolChoice(choosing, named), **options)["toolConfig"].get(
            "toolChoice"
        )

    for name in (CLAUDE, NOVA):
        assert choice("auto", name=name) is None
        assert choice("required", name=name) == {"any": {}}
        assert choice("named", name=name) == {"tool": {"name": "weather"}}


def test_a_strict_tool_is_strict_where_models_can_be() -> None:
    strict = Tool("weather", "", SCHEMA, is_strict=True)
    assert body_of(tools=(strict,))["toolConfig"]["tools"][0]["toolSpec"] == {
        "name": "weather",
        "inputSchema": {"json": CLOSED},
        "strict": True,
    }
    for name in (OLD_CLAUDE, NOVA):
        loose = body_of(tools=(strict,), name=name)["toolConfig"]["tools"][0]["toolSpec"]
        assert loose == {"name": "weather", "inputSchema": {"json": SCHEMA}}


def test_no_tool_is_called_where_none_may_be() -> None:
    none = ToolChoice("none")
    assert "toolConfig" not in body_of(tools=(WEATHER,), tool_choice=none)
    assert "toolConfig" not in body_of(tools=(WEATHER,), tool_choice=none, name=NOVA)
    # Once any was called, Bedrock wants to know the tools.
    again = body_of(*LOOP, tools=(WEATHER,), tool_choice=none)
    assert again["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}
    assert [tool["toolSpec"]["name"] for tool in again["toolConfig"]["tools"]] == ["weather"]
    without = body_of(*LOOP)
    assert without["toolConfig"] == {
        "tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]
    }
    assert without["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}
    assert refused(*LOOP, tools=(WEATHER,), tool_choice=none, name=NOVA) == "tool_choice"
    # Where nobody offers them any more it is the calls that cannot be said.
    assert refused(*LOOP, name=NOVA) == "messages: a call of a tool that is not offered"
    assert refused(*LOOP, tool_choice=none, name=NOVA) == "messages: a call of a tool that is not offered"


def test_one_tool_at_a_time_is_said_to_claude() -> None:
    def extra(**fields: Any) -> Any:
        return body_of(tools=(WEATHER,), is_parallel=False, **fields)["additionalModelRequestFields"]

    assert extra() == {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    assert extra(tool_choice=ToolChoice("required")) == {"tool_choice": {"disable_parallel_tool_use": True}}
    assert "additionalModelRequestFields" not in body_of(tools=(WEATHER,), is_parallel=True)
    assert refused(tools=(WEATHER,), is_parallel=False, name=NOVA) == "is_parallel"


def test_limits_sampling_and_stops() -> None:
    asked: dict[str, Any] = {"max_output_tokens": 99, "temperature": 0.5, "top_k": 7, "stop": ("END", "\n#")}
    body = body_of(**asked)
    assert body["inferenceConfig"] == {"maxTokens": 99, "temperature": 0.5, "stopSequences": ["END", "\n#"]}
    assert body["additionalModelRequestFields"] == {"top_k": 7}
    assert body["additionalModelResponseFieldPaths"] == ["/stop_sequence"]
    nova = body_of(name=NOVA, **asked, top_p=0.9)
    assert nova["inferenceConfig"] == {**body["inferenceConfig"], "topP": 0.9}
    assert nova["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 7}}
    assert body_of(name=NOVA, stop=("\n",))["inferenceConfig"] == {"stopSequences": ["\n"]}
    assert refused(stop=("END", "\n")) == refused(name=NOVA, stop=("END", "")) == "stop"
    assert "additionalModelResponseFieldPaths" not in nova
    # It chooses its words by itself.
    assert body_of(name=NEW_CLAUDE, temperature=0.5)["inferenceConfig"] == {"maxTokens": 4_096}
    assert body_of(name=LLAMA) == {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


def test_a_schema_is_the_form_of_the_text() -> None:
    wanted = OutputFormat(SCHEMA, "city", "Where it is.")
    definition = {"schema": json.dumps(CLOSED, separators=(",", ":")), "name": "city", "description": "Where it is."}
    expected = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": definition}}}
    for name in (CLAUDE, NEW_CLAUDE, GPT_OSS, "qwen.qwen3-32b-v1:0"):
        assert body_of(name=name, output=wanted)["outputConfig"] == expected
    for name in (OLD_CLAUDE, NOVA, LLAMA):
        assert refused(name=name, output=wanted) == "output"
    for name in (CLAUDE, GPT_OSS):
        assert refused(name=name, output=OutputFormat()) == "output"


@pytest.mark.parametrize(
    ("reasoning", "name", "additional", "output"),
    [
        (Reasoning("medium"), CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 4_095}}, {}),
        (Reasoning("none"), CLAUDE, {}, {}),
        (Reasoning("high"), NEW_CLAUDE, {"thinking": {"type": "adaptive"}}, {"effort": "high"}),
        (Reasoning("none"), NEW_CLAUDE, {"thinking": {"type": "disabled"}}, {}),
        (Reasoning(), NEW_CLAUDE, {"thinking": {"type": "adaptive"}}, {}),
        (Reasoning("minimal"), NOVA_2, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, {}),
        (Reasoning(), NOVA_2, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}, {}),
        (Reasoning("max"), NOVA_2, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, {}),
        (Reasoning("none"), NOVA_2, {}, {}),
        (Reasoning(budget_tokens=2_000), GPT_OSS, {"reasoning_effort": "low"}, {}),
        (Reasoning("none"), GPT_OSS, {"reasoning_effort": "low"}, {}),
        (Reasoning(), GPT_OSS, {}, {}),
        (Reasoning("none"), LLAMA, {}, {}),
    ],
)
def test_thinking_in_each_familys_own_words(reasoning: Reasoning, name: str, additional: Any, output: Any) -> None:
    body = body_of(name=name, reasoning=reasoning)
    assert (body.get("additionalModelRequestFields", {}), body.get("outputConfig", {})) == (additional, output)


def with_thought(thought: Thinking) -> tuple[Message, ...]:
    question, called, answered = LOOP
    return question, Message("assistant", (thought, *called.blocks)), answered


def test_claude_does_not_think_in_a_loop_of_tools_whose_thoughts_are_lost() -> None:
    asked: dict[str, Any] = {"reasoning": Reasoning("high"), "tools": (WEATHER,)}
    lost = (LOOP, with_thought(Thinking("unsigned")), with_thought(Thinking("Google's", "gemini.AAA")))
    for messages in (*lost, with_thought(Thinking(signature="redacted at Anthropic", is_redacted=True))):
        assert "additionalModelRequestFields" not in body_of(*messages, **asked)
        assert body_of(*messages, name=NEW_CLAUDE, **asked)["additionalModelRequestFields"] == {
            "thinking": {"type": "adaptive"}
        }
    for thought in (Thinking("hm", "EqQB"), Thinking(signature="bedrock.cmVk", is_redacted=True)):
        fields = body_of(*with_thought(thought), **asked)["additionalModelRequestFields"]
        assert fields["thinking"]["type"] == "enabled"


def test_a_word_of_the_users_behind_a_tools_answer_ends_no_loop() -> None:
    asked: dict[str, Any] = {"reasoning": Reasoning("high"), "tools": (WEATHER,)}
    assert "additionalModelRequestFields" not in body_of(*LOOP, HELLO, **asked)
    over = (*LOOP, Message("assistant", (Text("sunny"),)), HELLO)
    assert body_of(*over, **asked)["additionalModelRequestFields"]["thinking"]["type"] == "enabled"


def test_a_model_that_has_no_word_for_thinking_is_not_asked_to() -> None:
    assert refused(name=LLAMA, reasoning=Reasoning("low")) == "reasoning"


def test_nova_thinks_less_rather_than_without_a_limit() -> None:
    limited = body_of(name=NOVA_2, reasoning=Reasoning("high"), max_output_tokens=500, temperature=0.2)
    assert limited["inferenceConfig"] == {"maxTokens": 500, "temperature": 0.2}
    assert limited["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"] == "medium"
    assert "inferenceConfig" not in body_of(name=NOVA_2, reasoning=Reasoning("high"), temperature=0.2)


@pytest.mark.parametrize(
    "field",
    ["seed", "logprobs", "frequency_penalty", "presence_penalty", "top_k", "choices"],
)
def test_what_no_model_of_it_is_asked_for_is_refused(field: str) -> None:
    assert refused(name=LLAMA, **{field: 2}) == field


# What is answered.


def read(message: Any, **facts: Any) -> ConverseReader:
    reader = ConverseReader()
    reader.read_body(json.dumps({"output": {"message": message}, "stopReason": "end_turn", **facts}).encode())
    return reader


def read_events(*events: Any) -> tuple[ConverseReader, list[Any]]:
    reader, found = ConverseReader(), []
    for event in events:
        data = json.dumps(event).encode()
        reader.read_event(data)
        found += reader.deltas(data)
    return reader, found


def test_usage_counts_the_cache_beside_plain_input() -> None:
    usage = {
        "inputTokens": 50,
        "outputTokens": 503,
        "totalTokens": 101_253,
        "cacheReadInputTokens": 100_000,
        "cacheWriteInputTokens": 700,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 300}, {"ttl": "5m", "inputTokens": 400}],
    }
    assert read({"content": []}, usage=usage).usage == TokenUsage(
        input_tokens=50,
        output_tokens=503,
        cache_read_tokens=100_000,
        cache_write_tokens=400,
        cache_write_1h_tokens=300,
    )
    without_details = {name: value for name, value in usage.items() if name != "cacheDetails"}
    assert read({"content": []}, usage=without_details).usage == TokenUsage(50, 503, 100_000, 700)
    for impossible in ({"inputTokens": -1}, {"inputTokens": 1.5}, {**usage, "cacheWriteInputTokens": 299}):
        assert read({"content": []}, usage=impossible).usage is None


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("a reason yet to come", "stop"),
    ],
)
def test_every_reason_has_its_word(reason: str, finish: Finish) -> None:
    reader = read({"content": [{"text": "x"}]}, stopReason=reason)
    assert (reader.reply().finish, reader.finish_reason) == (finish, reason)
    _, deltas = read_events({"messageStop": {"stopReason": reason}}, {"metadata": {"usage": {}}})
    assert deltas == [Ended(finish)]


MALFORMED = pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])


@MALFORMED
def test_words_of_an_answer_that_failed_are_told_as_cut(reason: str) -> None:
    assert read({"content": [{"text": "x"}]}, stopReason=reason).reply().finish == "length"
    _, deltas = read_events(
        {"contentBlockDelta": {"delta": {"text": "x"}, "contentBlockIndex": 0}},
        {"messageStop": {"stopReason": reason}},
        {"metadata": {"usage": {}}},
    )
    assert deltas == [TextDelta("x"), Ended("length")]


@MALFORMED
def test_a_whole_call_of_an_answer_that_failed_is_kept_and_half_a_one_is_an_error(reason: str) -> None:
    call = {"toolUse": {"toolUseId": "t1", "name": "now", "input": {"zone": "UTC"}}}
    reply = read({"content": [call]}, stopReason=reason).reply()
    assert (reply.blocks, reply.finish) == ((ToolCall("t1", "now", '{"zone":"UTC"}'),), "length")
    begun = {"start": {"toolUse": {"toolUseId": "t1", "name": "now"}}, "contentBlockIndex": 0}
    first, last = (
        {"contentBlockDelta": {"delta": {"toolUse": {"input": piece}}, "contentBlockIndex": 0}}
        for piece in ('{"zone":', '"UTC"}')
    )
    ended = ({"messageStop": {"stopReason": reason}}, {"metadata": {"usage": {}}})
    _, deltas = read_events({"contentBlockStart": begun}, first, last, *ended)
    assert deltas[-1] == Ended("length")
    with pytest.raises(UpstreamError, match=f"failed without an answer: {reason}$"):
        read_events({"contentBlockStart": begun}, first, *ended)


@MALFORMED
def test_an_answer_that_failed_without_a_word_is_an_error_and_billed(reason: str) -> None:
    usage = {"inputTokens": 8, "outputTokens": 5, "totalTokens": 13}
    call = {"toolUse": {"toolUseId": "t1", "name": "now", "input": {}}}
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "s"}}}
    whole, stream = ConverseReader(), ConverseReader()
    body = {"output": {"message": {"content": [thought, call]}}, "stopReason": reason, "usage": usage}
    with pytest.raises(UpstreamError, match=f"failed without an answer: {reason}$"):
        whole.read_body(json.dumps(body).encode())
    begun = {"start": {"toolUse": {"toolUseId": "t1", "name": "now"}}, "contentBlockIndex": 0}
    for event in ({"contentBlockStart": begun}, {"messageStop": {"stopReason": reason}}):
        stream.read_event(json.dumps(event).encode())
    with pytest.raises(UpstreamError, match=f"failed without an answer: {reason}$"):
        stream.read_event(json.dumps({"metadata": {"usage": usage}}).encode())
    assert whole.usage == stream.usage == TokenUsage(input_tokens=8, output_tokens=5)


def test_a_stop_sequence_is_named() -> None:
    facts = {"stopReason": "stop_sequence", "additionalModelResponseFields": {"stop_sequence": "END"}}
    assert read({"content": []}, **facts).reply().stop_sequence == "END"
    assert read_events({"messageStop": facts}, {"metadata": {}})[1] == [Ended("stop", "END")]


def test_cited_words_are_words() -> None:
    cited = {"citationsContent": {"content": [{"text": "It rains."}], "citations": [{"title": "a"}]}}
    assert read({"content": [cited, {"video": {}}]}).reply().blocks == (Text("It rains."),)


def test_a_call_without_arguments_has_an_object_all_the_same() -> None:
    start = {"start": {"toolUse": {"toolUseId": "t1", "name": "clock"}}, "contentBlockIndex": 4}
    _, deltas = read_events(
        {"messageStart": {"role": "assistant"}},
        {"contentBlockStart": start},
        {"contentBlockStop": {"contentBlockIndex": 4}},
        {"contentBlockStop": {"contentBlockIndex": 5}},
    )
    assert isinstance(deltas[0], Began)
    assert deltas[1:] == [ToolCallBegan(0, "t1", "clock"), ToolCallDelta(0, "{}")]


def test_hidden_thoughts_come_with_a_mark_that_brings_them_back() -> None:
    reader = read({"content": [{"reasoningContent": {"redactedContent": "cmVk"}}]})
    assert reader.reply().blocks == (Thinking(signature="bedrock.cmVk", is_redacted=True),)
    delta = {"delta": {"reasoningContent": {"redactedContent": "cmVk"}}, "contentBlockIndex": 0}
    assert read_events({"contentBlockDelta": delta})[1] == [ThinkingDelta(signature="bedrock.cmVk", is_redacted=True)]


@pytest.mark.parametrize("answer", [b"[]", b"{", b'{"output": {}}', b'{"output": {"message": {"content": "x"}}}'])
def test_an_answer_of_another_shape_is_an_error(answer: bytes) -> None:
    with pytest.raises(UpstreamError):
        ConverseReader().read_body(answer)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"throttlingException": {"message": "Too many tokens"}}, "throttlingException: Too many tokens"),
        ({"modelStreamErrorException": {"originalMessage": "it broke"}}, "modelStreamErrorException: it broke"),
        ({"validationException": {}}, "validationException: "),
        ({"error": {"type": "InternalFailure", "message": "sorry"}}, "InternalFailure: sorry"),
    ],
)
def test_an_exception_in_a_stream_breaks_it_off(event: Any, words: str) -> None:
    with pytest.raises(UpstreamError, match=f"broke off in mid-stream: {words}"):
        read_events({"messageStart": {"role": "assistant"}}, event)


# Over HTTP; what every dialect does is in test_dialect_contract.py.


def test_a_broken_checksum_ends_the_stream_after_what_was_whole(bedrock: Spoken) -> None:
    heard = ask_text(bedrock, "[fault:bad-crc] [say:one two three four]", is_stream=True)
    assert heard.error is not None and "checksum" in str(heard.error)
    assert [delta.text for delta in heard.deltas[1:]] == ["one", " two"]  # type: ignore[union-attr]  # texts
    assert heard.usage is None and not heard.reader.is_complete


def test_a_stream_without_its_usage_is_cut_off(bedrock: Spoken) -> None:
    heard = ask_text(bedrock, "[fault:no-metadata]", is_stream=True)
    assert heard.error is None and not heard.reader.is_complete
    assert heard.reader.finish_reason == "end_turn"


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_stop_sequence_and_hidden_thoughts_come_back(bedrock: Spoken, is_stream: bool) -> None:
    asked = Conversation((Message("user", (Text("[think:redacted] [say:ended by a stop]"),)),), stop=("END",))
    heard = ask(bedrock, asked, is_stream=is_stream)
    reply = joined(heard.deltas, heard.usage) if is_stream else heard.reply
    assert reply is not None
    hidden = Thinking(signature="bedrock.cmVkYWN0ZWQ=", is_redacted=True)
    assert (reply.blocks, reply.stop_sequence) == ((hidden, Text("ended by a stop")), "END")


def test_what_was_written_into_the_cache_is_counted_by_how_long_it_stays(bedrock: Spoken) -> None:
    heard = ask_text(bedrock, "[in:1] [cached:2] [written:3] [written1h:4] [out:5]", is_stream=True)
    assert heard.usage == TokenUsage(1, 5, 2, 3, 4)

"""The sandbox: canned and labelled text, real counts, OpenAI's whole wire format."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from routing.asking import execute
from routing.conversation import NotTranslatable
from routing.errors import UpstreamRefused
from routing.tokens import PIECE, count_chat_tokens, count_tokens, estimate_input_tokens
from routing.upstreams.base import EMBEDDINGS
from routing.upstreams.sandbox import responder
from routing.upstreams.transport import HttpTransport
from tests.routing.facts import chat, model_facts

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"enum": ["C", "F"]},
                "where": {"type": "object", "properties": {"tags": {"type": "array"}}},
                "note": {"type": "string"},
            },
            "required": ["city", "days", "unit", "where"],
        },
    },
}


def ask(text: str = "hello", model: str = "sandbox-small", **body: Any) -> Any:
    """The answer to one call: the JSON object, or the list of events of a stream, with its reader."""

    async def call() -> Any:
        facts = model_facts(model, dialect="sandbox", base_url="")
        given = {"model": model, "messages": [{"role": "user", "content": text}], **body}
        asked = chat(given, is_stream=bool(body.get("stream")))
        execution = await execute(facts, asked, transport=HttpTransport())
        if body.get("stream"):
            return [event.data async for event, _ in execution.events()], execution.reader
        return json.loads(await execution.read()), execution.reader

    return asyncio.run(call())


def test_the_answer_says_that_it_is_no_models() -> None:
    answer, _ = ask("Good morning")
    message = answer["choices"][0]["message"]
    assert message["content"].startswith("[SpendHub sandbox] This is a canned answer")
    assert "Good morning" in message["content"]
    assert (answer["object"], answer["choices"][0]["finish_reason"]) == ("chat.completion", "stop")


def test_its_usage_is_counted_from_the_texts() -> None:
    answer, reader = ask("Good morning")
    text = answer["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens"] == 3 + 4 + len(["Good", "morn", "ing"])
    assert answer["usage"]["completion_tokens"] == count_tokens(text)
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert reader.usage.output_tokens == reader.produced_tokens() == count_tokens(text)


def test_the_same_question_gets_the_same_answer_streamed_or_not() -> None:
    whole, reader = ask("Grüße aus 東京")
    events, streamed = ask("Grüße aus 東京", stream=True, stream_options={"include_usage": True})
    chunks = [json.loads(event) for event in events[:-1]]
    assert events[-1] == b"[DONE]"
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert streamed.usage == reader.usage
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"] == whole["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_it_stops_at_the_limit(name: str) -> None:
    answer, reader = ask(**{name: 7})
    assert answer["choices"][0]["finish_reason"] == "length"
    assert reader.usage.output_tokens == 7


def test_it_gives_as_many_choices_as_asked_and_counts_them_all() -> None:
    one, _ = ask()
    three, _ = ask(n=3)
    assert [choice["index"] for choice in three["choices"]] == [0, 1, 2]
    assert three["usage"]["completion_tokens"] == 3 * one["usage"]["completion_tokens"]
    events, _ = ask(n=2, stream=True)
    assert {choice["index"] for event in events[:-1] for choice in json.loads(event)["choices"]} == {0, 1}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}, None])
@pytest.mark.parametrize("stream", [False, True])
def test_it_calls_a_tool_when_told_to(choice: Any, stream: bool) -> None:
    text = "please use tool" if choice is None else "hi"
    answer, reader = ask(text, tools=[TOOL], tool_choice=choice, stream=stream)
    if stream:
        deltas = [json.loads(event)["choices"][0]["delta"] for event in answer[:-1] if json.loads(event)["choices"]]
        arguments = "".join(call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls", ()))
    else:
        assert answer["choices"][0]["finish_reason"] == "tool_calls"
        arguments = answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"city": "sandbox", "days": 1, "unit": "C", "where": {"tags": []}}
    assert reader.usage.output_tokens == count_tokens(f"weather {arguments}")


def test_it_answers_in_words_when_no_tool_is_wanted_or_the_tool_has_answered() -> None:
    assert ask(tools=[TOOL])[0]["choices"][0]["message"]["content"]
    assert ask("use tool", tools=[TOOL], tool_choice="none")[0]["choices"][0]["message"]["content"]
    after = ask(tools=[TOOL], tool_choice="required", messages=[{"role": "tool", "content": "22 C"}])[0]
    assert 'The tool answered: "22 C"' in after["choices"][0]["message"]["content"]


class Town(BaseModel):
    name: Literal["Oslo", "Bergen"]
    people: int


class Trip(BaseModel):
    towns: Annotated[list[Town], Field(min_length=2)]
    guide: Town | None
    note: str | None = None


def test_it_answers_with_what_fits_the_schema_when_it_is_given_one() -> None:
    schema = {"name": "trip", "schema": Trip.model_json_schema(), "strict": True}
    answer, _ = ask(response_format={"type": "json_schema", "json_schema": schema})
    town = Town(name="Oslo", people=1)
    content = answer["choices"][0]["message"]["content"]
    assert Trip.model_validate_json(content) == Trip(towns=[town, town], guide=town)


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}}}
    schema = {"type": "json_schema", "json_schema": {"name": "tree", "schema": tree}}
    answer, _ = ask(response_format=schema)
    assert answer["choices"][0]["message"]["content"].startswith('{"left": {"left"')


def test_it_answers_in_json_when_asked() -> None:
    answer, _ = ask(response_format={"type": "json_object"})
    assert json.loads(answer["choices"][0]["message"]["content"])["sandbox"] is True


@pytest.mark.parametrize(("text", "status"), [("hello", 500), ("give me a 429 now", 429), ("401", 401)])
def test_it_fails_on_demand(text: str, status: int) -> None:
    with pytest.raises(UpstreamRefused) as refused:
        ask(text, model="sandbox-error")
    assert refused.value.status == status
    assert "[SpendHub sandbox]" in json.loads(refused.value.body)["error"]["message"]
    assert refused.value.retry_after_seconds == {401: None, 429: 2}.get(status, 1)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": "hello"},
        {"messages": ["hello"]},
        {"n": 9},
        {"n": "two"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
    ],
)
def test_it_refuses_what_openai_would(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamRefused) as refused:
        ask(**body)
    assert refused.value.status == 400


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", [{"logprobs": True}, {"logprobs": True, "top_logprobs": 2}, {"top_logprobs": 2}])
def test_what_nobody_has_thought_is_not_said_to_be_likely(asked: dict[str, Any], stream: bool) -> None:
    with pytest.raises(NotTranslatable) as refused:
        ask(stream=stream, **asked)
    assert refused.value.field == "logprobs"
    assert str(refused.value).startswith("logprobs cannot be said to a model of SpendHub's sandbox")


@pytest.mark.parametrize("asked", [{"logprobs": False}, {"logprobs": None, "top_logprobs": None}, {"top_logprobs": 0}])
def test_who_wants_no_probabilities_is_answered(asked: dict[str, Any]) -> None:
    assert ask(**asked)[0]["choices"][0]["logprobs"] is None


def test_it_can_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(responder, "SLOW_CHUNK_SECONDS", 0.001)
    events, _ = ask(model="sandbox-slow", stream=True)
    assert events[-1] == b"[DONE]"


def embed(given: Any, **body: Any) -> Any:
    """The answer to one embeddings call, and what its reader saw."""

    async def call() -> Any:
        facts = model_facts("sandbox-embedding", dialect="sandbox", base_url="")
        asked = chat({"model": "sandbox-embedding", "input": given, **body}, wire=EMBEDDINGS)
        execution = await execute(facts, asked, transport=HttpTransport())
        return json.loads(await execution.read()), execution.reader

    return asyncio.run(call())


def test_embeddings_are_the_same_for_the_same_text_and_near_for_words_in_common() -> None:
    answer, reader = embed(["the red house", "a red house", "quarterly tax report", "the red house"])
    first, near, far, same = [each["embedding"] for each in answer["data"]]
    assert first == same and len(first) == 256

    def nearness(other: list[float]) -> float:
        return sum(one * two for one, two in zip(first, other, strict=True))

    assert nearness(same) == pytest.approx(1)
    assert nearness(far) < 0.5 < nearness(near)
    assert [each["index"] for each in answer["data"]] == [0, 1, 2, 3]
    # the|red|hous|e, a|red|hous|e, quar|terl|y|tax|repo|rt
    assert answer["usage"] == {"prompt_tokens": 4 + 4 + 6 + 4, "total_tokens": 18}
    assert reader.usage.input_tokens == reader.usage.total_tokens == 18


def test_embeddings_come_as_floats_or_packed_in_any_size() -> None:
    plain = embed("hello", dimensions=4)[0]["data"][0]["embedding"]
    packed = base64.b64decode(embed("hello", dimensions=4, encoding_format="base64")[0]["data"][0]["embedding"])
    assert list(struct.unpack("<4f", packed)) == pytest.approx(plain)
    assert embed([1, 2, 3])[1].usage.input_tokens == 3
    assert len(embed([[1, 2], [3]])[0]["data"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"given": ""},
        {"given": []},
        {"given": [""]},
        {"given": None},
        {"given": "x", "dimensions": 0},
        {"given": "x", "encoding_format": "hex"},
    ],
)
def test_embeddings_of_nothing_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamRefused) as refused:
        embed(**body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "a b c d !!!! ?? ((("}]},
        {"messages": [{"role": "user", "content": "東京" * 50}, {"role": "assistant", "content": None}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}, "word"]}], "tools": [TOOL]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
        {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}], "functions": [TOOL]},
    ],
)
def test_the_estimate_of_a_request_is_not_below_what_the_sandbox_counts(body: dict[str, Any]) -> None:
    assert estimate_input_tokens(body) >= count_chat_tokens(body) > 0


def test_functions_and_their_calls_count_as_tools_and_theirs_do() -> None:
    call = {"name": "weather", "arguments": '{"city":"Rome"}'}
    offered = [{"name": "weather", "description": "Of a city."}]
    said = {"role": "assistant", "content": None}
    bare = count_chat_tokens({"messages": [said]})
    assert count_chat_tokens({"messages": [said], "functions": offered}) == bare + count_tokens(json.dumps(offered))
    assert count_chat_tokens({"messages": [said], "tools": offered}) == bare + count_tokens(json.dumps(offered))
    assert count_chat_tokens({"messages": [{**said, "function_call": call}]}) == bare + count_tokens(json.dumps(call))


def test_images_and_other_inputs_are_in_the_estimate() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    body = {"messages": [{"role": "user", "content": [picture]}]}
    assert estimate_input_tokens(body) == 3 + 4 + 1_500
    assert estimate_input_tokens({"input": "abcdef"}) == 3 + 2
    assert estimate_input_tokens({"input": ["abcdef"]}) > 3
    assert estimate_input_tokens({}) == 3


@pytest.mark.parametrize(
    "beside",
    [
        {"reasoning_content": "abcdef"},
        {"reasoning": "abcdef"},
        {"reasoning_details": "abcdef"},
        {"tool_call_id": "abcdef"},
        {"field_of_tomorrow": "abcdef"},
    ],
)
def test_whatever_a_message_says_beside_its_content_is_in_the_estimate(beside: dict[str, Any]) -> None:
    assert estimate_input_tokens({"messages": [{"role": "assistant", "content": "abc", **beside}]}) == 3 + 4 + 1 + 2


def test_thoughts_that_are_sent_back_to_google_are_in_the_estimate() -> None:
    part = {"text": "abc", "thoughtSignature": "abcdef"}
    assert estimate_input_tokens({"contents": [{"role": "model", "parts": [part]}]}) == 3 + 4 + 1 + 2


LONG = "zz " * 1_000
IN_CHAT, IN_RESPONSES, IN_GOOGLES = "messages", "input", "contents"


def said(where: str, part: dict[str, Any]) -> dict[str, Any]:
    """A request that says one part."""
    if where == IN_GOOGLES:
        return {"contents": [{"role": "user", "parts": [part]}]}
    return {where: [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize(
    "body",
    [
        said(IN_CHAT, {"type": "input_audio", "text": "x", "input_audio": {"words": LONG}}),
        said(IN_CHAT, {"type": "document", "text": "x", "source": {"type": "text", "data": LONG}}),
        said(IN_CHAT, {"type": "tool_result", "content": "x", "text": LONG}),
        said(IN_CHAT, {"type": "image_url", "image_url": {"url": "https://x"}, "text": LONG}),
        said(IN_CHAT, {"type": LONG, "text": "x"}),
        said(IN_RESPONSES, {"type": "input_text", "text": "x", "file_data": LONG}),
        {"input": [{"type": "function_call", "text": "x", "arguments": LONG}]},
        {"input": [{"type": "message", "role": LONG, "content": "x"}]},
        {"input": [{"content": "x", "arguments": LONG}]},
        {"messages": [{"role": LONG, "content": "x"}]},
        {"messages": [{"role": ["user", LONG], "content": "x"}]},
        said(IN_GOOGLES, {"text": "x", "functionCall": {"args": {"a": LONG}}}),
        said(IN_GOOGLES, {"text": "x", "fileData": {"mimeType": "image/png"}, "inline": LONG}),
        said(IN_GOOGLES, {"inlineData": {"mimeType": "image/png", "data": "AA"}, "functionResponse": LONG}),
        {"contents": [{"role": LONG, "parts": [{"text": "x"}]}]},
    ],
)
def test_no_text_is_free_for_what_stands_beside_it(body: dict[str, Any]) -> None:
    assert estimate_input_tokens(body) >= len(LONG) // 3


@pytest.mark.parametrize("where", [IN_CHAT, IN_RESPONSES, IN_GOOGLES])
@given(
    kind=st.sampled_from(
        [
            "text", "input_text", "input_audio", "tool_result", "message", "image_url", "new", None,
            "document", "file", "input_file", "computer_call_output", "image_generation_call",
        ]
    ),
    fields=st.dictionaries(
        st.sampled_from(["text", "content", "output", "arguments", "source", "input_audio", "id", "tomorrows"]),
        st.sampled_from([LONG, "x", None, True, {"text": LONG}, [{"type": "text", "text": LONG}], ["x"]]),
    ),
)  # fmt: skip
def test_each_text_of_a_part_is_in_the_estimate_wherever_it_stands(
    where: str, kind: str | None, fields: dict[str, Any]
) -> None:
    picture = fields.pop("source", None) if kind == "image_url" else None  # bytes of a picture are no text
    part = {**fields, **({} if kind is None else {"type": kind})}
    told = json.dumps(part).count(LONG)
    with_picture = {**part, "source": picture} if picture else part
    assert estimate_input_tokens(said(where, with_picture)) >= told * len(LONG) // 3


@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer", "tool", "function", "model"])
def test_the_usual_fields_of_a_message_cost_what_a_message_costs(role: str) -> None:
    usual = {"role": role, "content": [{"type": "text", "text": "abc"}]}
    assert estimate_input_tokens({"messages": [usual]}) == estimate_input_tokens({"input": [usual]}) == 3 + 4 + 1
    googles = {"role": role, "parts": [{"text": "abc", "thought": True}]}
    assert estimate_input_tokens({"contents": [googles]}) == 3 + 4 + 1


@given(st.text(st.characters(max_codepoint=127), max_size=200))
def test_plain_text_is_counted_as_every_other_text(text: str) -> None:
    assert count_tokens(text) == len(PIECE.findall(text))

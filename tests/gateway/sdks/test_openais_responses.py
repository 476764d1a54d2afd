"""The official SDKs' loops of tools at models that OpenAI asks to be called by responses: every other format than that
is translated into it, and the answer back."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
from google.genai import types

from tests.fakes.openai_upstream import ENCRYPTED
from tests.gateway.sdks.vendors import BOTH_WAYS_WHOLE_OR_STREAMED, Sdks, Vendors, asked_of

pytestmark = [pytest.mark.slow, pytest.mark.once, pytest.mark.filterwarnings("ignore:Inheritance class")]

MODELS = ["gpt-next", "gpt-pro"]
UPSTREAM = {"gpt-next": "gpt-5.6", "gpt-pro": "gpt-5-pro"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
QUESTION = "[calls:2] [think:let me see] [in:100] [cached:50] [out:20] [reasoning:10] weather?"
# 100 plain and 50 cached tokens at 2,000 nano_usd (no price of their own is known), 30 of output at 10,000.
FIRST_NANO_USD = 150 * 2_000 + 30 * 10_000
SECOND = "[in:200] [out:5] sunny"
SECOND_NANO_USD = 200 * 2_000 + 5 * 10_000
TWICE = [{"city": "Köln"}] * 2
ITEMS = ["message", "reasoning", "function_call", "function_call", "function_call_output", "function_call_output"]


def both_rounds(vendors: Vendors, user: str, model: str) -> dict[str, Any]:
    """What OpenAI was asked in the second of two rounds, after a look at where they went and what they cost."""
    last_two = list(vendors.openai.served.requests)[-2:]
    assert [each["path"] for each in last_two] == ["/v1/responses"] * 2
    spans = vendors.served.spans(user)
    assert [(span["model"], span["status"]) for span in spans] == [(model, "ok")] * 2
    assert sorted(span["cost_nano_usd"] for span in spans) == sorted((FIRST_NANO_USD, SECOND_NANO_USD))
    first = max(spans, key=lambda span: span["reasoning_tokens"])
    counted = [first[name] for name in ("input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens")]
    assert counted == [100, 50, 30, 10]
    asked = asked_of(vendors.openai)
    assert (asked["model"], asked["store"]) == (UPSTREAM[model], False)
    # What it had encrypted has come back to it.
    assert [item["type"] for item in asked["input"]] == ITEMS
    assert asked["input"][1]["encrypted_content"] == ENCRYPTED
    return asked


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("sdks", "is_stream"), BOTH_WAYS_WHOLE_OR_STREAMED, indirect=["sdks"])
def test_anthropics_loop_of_tools_goes_round(
    vendors: Vendors, sdks: Sdks, user: str, model: str, is_stream: bool
) -> None:
    sdk = sdks.anthropic()

    def create(messages: list[Any]) -> Any:
        fields: dict[str, Any] = {
            "model": model, "max_tokens": 4_096, "messages": messages, "metadata": {"user_id": user},
            "system": "be brief", "thinking": {"type": "enabled", "budget_tokens": 2_048},
            "tools": [{"name": "weather", "description": "of a city", "input_schema": CITY}],
        }  # fmt: skip
        if not is_stream:
            return sdk.messages.create(**fields)
        with sdk.messages.stream(**fields) as stream:
            return stream.get_final_message()

    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    first = create(messages)
    thought, *calls = first.content
    assert first.stop_reason == "tool_use"
    assert (thought.type, thought.thinking) == ("thinking", "let me see")
    assert [(call.type, call.input) for call in calls] == [("tool_use", each) for each in TWICE]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": SECOND} for call in calls]
    second = create([*messages, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}])
    assert (second.stop_reason, second.content[0].text) == ("end_turn", "The tool says: sunny sunny")
    asked = both_rounds(vendors, user, model)
    assert (asked["instructions"], asked["max_output_tokens"]) == ("be brief", 4_096)
    assert asked["tools"] == [
        {"type": "function", "name": "weather", "description": "of a city", "parameters": CITY, "strict": False}
    ]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("sdks", "is_stream"), BOTH_WAYS_WHOLE_OR_STREAMED, indirect=["sdks"])
def test_googles_loop_of_tools_goes_round(vendors: Vendors, sdks: Sdks, user: str, model: str, is_stream: bool) -> None:
    sdk = sdks.google(user)
    declared = types.FunctionDeclaration(name="weather", parameters_json_schema=CITY)
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=2_048)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])], thinking_config=thinking)

    def parts(*contents: Any) -> list[types.Part]:
        fields: dict[str, Any] = {"model": model, "contents": list(contents), "config": config}
        answers = sdk.models.generate_content_stream(**fields) if is_stream else [sdk.models.generate_content(**fields)]
        said = [candidate.content for answer in answers for candidate in answer.candidates or ()]
        return [part for content in said if content for part in content.parts or () if part != types.Part(text="")]

    question = types.UserContent(QUESTION)
    first = parts(question)
    assert "".join(part.text or "" for part in first if part.thought) == "let me see"
    calls = [part.function_call for part in first if part.function_call]
    assert [call.args for call in calls] == TWICE
    results = [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": SECOND}))
        for call in calls
    ]
    second = parts(question, types.ModelContent(first), types.UserContent(results))
    assert "sunny" in "".join(part.text or "" for part in second)
    both_rounds(vendors, user, model)


@pytest.mark.parametrize(("sdks", "is_stream"), BOTH_WAYS_WHOLE_OR_STREAMED, indirect=["sdks"])
def test_openais_own_loop_of_tools_goes_round_by_chat_completions(
    vendors: Vendors, sdks: Sdks, user: str, is_stream: bool
) -> None:
    """At the model that only responses serve; the other one passes untouched, with OpenAI's own refusal."""
    sdk = sdks.openai()

    def create(model: str, *messages: Any) -> Any:
        tools = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
        fields: Any = {"model": model, "messages": list(messages), "user": user, "tools": tools}
        fields["reasoning_effort"] = "high"
        if not is_stream:
            return sdk.chat.completions.create(**fields).choices[0]
        with sdk.chat.completions.stream(**fields) as stream:
            stream.until_done()
            return stream.get_final_completion().choices[0]

    question = {"role": "user", "content": QUESTION}
    first = create("gpt-pro", question)
    assert first.finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in first.message.tool_calls] == TWICE
    assert first.message.model_extra["reasoning_content"] == "let me see"
    results = [{"role": "tool", "tool_call_id": call.id, "content": SECOND} for call in first.message.tool_calls]
    second = create("gpt-pro", question, first.message.model_dump(exclude_none=True), *results)
    assert second.message.content == "The tool says: sunny sunny"
    both_rounds(vendors, user, "gpt-pro")
    with pytest.raises(openai.BadRequestError, match="Function tools with reasoning_effort are not supported"):
        create("gpt-next", question)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_conversation_moves_to_claude_without_what_openai_has_thought(
    vendors: Vendors, user: str, is_stream: bool
) -> None:
    sdk = vendors.anthropic_sdk()

    def create(model: str, *messages: Any) -> Any:
        fields: Any = {"model": model, "max_tokens": 4_096, "messages": messages, "metadata": {"user_id": user}}
        fields["thinking"] = {"type": "enabled", "budget_tokens": 2_048}
        if not is_stream:
            return sdk.messages.create(**fields)
        with sdk.messages.stream(**fields) as stream:
            return stream.get_final_message()

    question = {"role": "user", "content": "[think:let me see] [say:yes] why?"}
    first = create("gpt-pro", question)
    assert [block.type for block in first.content] == ["thinking", "text"]
    assert first.content[0].signature.startswith("openai.")
    create("claude", question, {"role": "assistant", "content": first.content}, {"role": "user", "content": "and?"})
    assert [block["type"] for block in asked_of(vendors.anthropic)["messages"][1]["content"]] == ["text"]


@pytest.mark.parametrize("model", MODELS)
def test_a_responses_client_passes_untouched(vendors: Vendors, user: str, model: str) -> None:
    told = vendors.openai_sdk().responses.create(model=model, input="[say:hi]", user=user, metadata={"a": "b"})
    assert told.output_text == "hi"
    body = {"model": UPSTREAM[model], "input": "[say:hi]", "user": user, "metadata": {"a": "b"}}
    assert asked_of(vendors.openai) == body


def test_without_responses_tools_go_to_a_model_that_does_not_think(vendors: Vendors, user: str) -> None:
    told = vendors.anthropic_sdk().messages.create(
        model="next-by-chat", max_tokens=99, metadata={"user_id": user}, messages=[{"role": "user", "content": "go"}],
        tools=[{"name": "weather", "input_schema": CITY}],
    )  # fmt: skip
    assert told.stop_reason == "tool_use"
    assert vendors.openai.served.requests[-1]["path"] == "/v1/chat/completions"
    assert asked_of(vendors.openai)["reasoning_effort"] == "none"


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_has_failed_is_an_error_and_what_is_refused_is_told(vendors: Vendors, user: str, is_stream: bool) -> None:
    sdk = vendors.anthropic_sdk()

    def ask(text: str, **fields: Any) -> Any:
        asked: Any = {"model": "gpt-pro", "max_tokens": 99, "metadata": {"user_id": user}}
        asked |= {"messages": [{"role": "user", "content": text}], **fields}
        if not is_stream:
            return sdk.messages.create(**asked)
        with sdk.messages.stream(**asked) as stream:
            return stream.get_final_message()

    with pytest.raises(anthropic.APIStatusError, match="failed on demand"):
        ask("[fault:failed]")
    with pytest.raises(
        anthropic.BadRequestError, match="stop_sequences cannot be said to a model of OpenAI's Responses"
    ):
        ask("hi", stop_sequences=["END"])
    assert ask("[fault:incomplete] [say:cut]").stop_reason == "max_tokens"
    assert ask("[fault:blocked]").stop_reason == "refusal"

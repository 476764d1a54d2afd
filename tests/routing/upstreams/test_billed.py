"""What vendors say of their bill beside tokens: the tier, the searches, and what we have no price for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.token_usage import TokenUsage
from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.base import UsageReader
from routing.upstreams.bedrock.converse import ConverseReader
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.embeddings import EmbeddingsReader
from routing.upstreams.openai.responses import ResponsesReader

CHAT_USAGE = {"prompt_tokens": 7, "completion_tokens": 2}
CHOICES = [{"message": {"content": "Hi"}}]


def read(reader: UsageReader, answer: dict[str, Any]) -> UsageReader:
    reader.read_body(json.dumps(answer).encode())
    return reader


def read_stream(reader: UsageReader, *events: dict[str, Any]) -> UsageReader:
    for event in events:
        reader.read_event(json.dumps(event, separators=(",", ":")).encode())
    return reader


def searches(reader: UsageReader) -> int:
    assert reader.usage is not None
    return reader.usage.web_searches


@pytest.mark.parametrize(
    ("said", "tier"), [("priority", "priority"), ("flex", "flex"), ("default", ""), ("on_demand", ""), (None, None)]
)
def test_a_chat_completion_names_its_tier(said: str | None, tier: str | None) -> None:
    answer = {"id": "c", "choices": CHOICES, "usage": CHAT_USAGE, "service_tier": said}
    assert read(ChatReader(), answer).service_tier == tier
    assert read_stream(ChatReader(), answer).service_tier == tier


def test_an_embedding_names_its_tier() -> None:
    answer = {"data": [], "usage": {"prompt_tokens": 1}, "service_tier": "flex"}
    assert read(EmbeddingsReader(), answer).service_tier == "flex"


def test_xais_search_by_the_source_is_told_as_not_priced() -> None:
    answer = {"choices": CHOICES, "usage": {**CHAT_USAGE, "num_sources_used": 3}}
    assert read(ChatReader(), answer).not_priced == ("num_sources_used",)


def response(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 7, "output_tokens": 2}
    return {"id": "r", "status": "completed", "model": "gpt-6-sol", "output": list(items), "usage": usage, **fields}


def search(action: str | None = "search", **fields: Any) -> dict[str, Any]:
    return {"type": "web_search_call", "status": "completed", "action": action and {"type": action}, **fields}


def test_a_response_is_billed_for_each_search_but_not_for_pages_it_opens() -> None:
    answer = response(search(), search("open_page"), search("find_in_page"), search(None), search(status="failed"))
    reader = read(ResponsesReader(), {**answer, "service_tier": "priority"})
    assert (reader.usage, reader.service_tier, reader.not_priced) == (TokenUsage(7, 2, web_searches=2), "priority", ())


def test_a_streamed_response_says_the_same_in_its_last_event() -> None:
    reader = read_stream(
        ResponsesReader(), {"type": "response.completed", "response": response(search(), service_tier="flex")}
    )
    assert (searches(reader), reader.service_tier) == (1, "flex")


def test_a_response_that_broke_off_has_made_the_searches_that_were_done() -> None:
    done = [{"type": "response.output_item.done", "item": item} for item in (search(), search("open_page"))]
    reader = read_stream(ResponsesReader(), *done, {"type": "response.output_item.added", "item": search()})
    assert (reader.usage, reader.searched()) == (None, 1)


def test_openais_other_tools_are_told_as_not_priced() -> None:
    used = [{"type": kind} for kind in ("code_interpreter_call", "file_search_call", "file_search_call", "mcp_call")]
    assert read(ResponsesReader(), response(*used)).not_priced == ("code_interpreter_call", "file_search_call")


@pytest.mark.parametrize(
    ("model", "tool", "not_priced"),
    [
        ("gpt-4.1-mini", "web_search_preview_2025_03_11", ("web_search_preview",)),
        ("gpt-4.1-mini", "web_search", ()),
        ("o3", "web_search_preview", ()),
    ],
)
def test_the_first_search_tool_has_another_price_with_models_that_do_not_reason(
    model: str, tool: str, not_priced: tuple[str, ...]
) -> None:
    answer = response(search(), model=model, tools=[{"type": tool}])
    assert read(ResponsesReader(), answer).not_priced == not_priced


def message(**usage: Any) -> dict[str, Any]:
    return {"id": "m", "content": [], "usage": {"input_tokens": 7, "output_tokens": 2, **usage}}


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ({}, None),
        ({"service_tier": "standard", "inference_geo": "not_available"}, ""),
        ({"service_tier": "standard", "speed": "fast", "inference_geo": "us"}, "fast+us"),
        ({"service_tier": "batch", "inference_geo": "global"}, "batch"),
        ({"service_tier": "priority"}, "priority"),
    ],
)
def test_a_message_names_its_tier_speed_and_place(said: dict[str, str], tier: str | None) -> None:
    assert read(MessagesReader(), message(**said)).service_tier == tier


def test_a_streamed_message_keeps_what_its_beginning_has_said() -> None:
    start = message(service_tier="standard", speed="fast")
    end = {"output_tokens": 9, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 5}}
    reader = read_stream(
        MessagesReader(), {"type": "message_start", "message": start},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end},
    )  # fmt: skip
    assert (reader.usage, reader.service_tier) == (TokenUsage(7, 9, web_searches=2), "fast")


def test_a_message_that_broke_off_has_made_the_searches_that_were_begun() -> None:
    blocks = [{"type": "server_tool_use", "name": name} for name in ("web_search", "web_fetch", "web_search")]
    events = [{"type": "content_block_start", "content_block": block} for block in blocks]
    reader = read_stream(MessagesReader(), {"type": "message_start", "message": message()}, *events)
    assert (reader.usage, reader.searched()) == (None, 2)


def test_sandboxes_and_what_other_models_have_done_for_a_message_are_told_as_not_priced() -> None:
    iterations = [{"type": "message"}, {"type": "compaction"}, {"type": "advisor_message"}]
    answer = {**message(iterations=iterations), "container": {"id": "c"}}
    assert read(MessagesReader(), answer).not_priced == ("code_execution", "advisor_message")


def contents(model: str, *queries: str, **metadata: Any) -> dict[str, Any]:
    grounding = {"webSearchQueries": list(queries), **metadata}
    return {
        "modelVersion": model,
        "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP", "groundingMetadata": grounding}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9},
    }


def test_since_gemini_3_each_different_search_is_billed() -> None:
    assert searches(read(ContentsReader(), contents("gemini-3.8-flash", "a", "b", "a", "", " "))) == 2


def test_up_to_gemini_2_5_a_grounded_prompt_is_billed_once() -> None:
    assert searches(read(ContentsReader(), contents("gemini-2.5-pro", "a", "b"))) == 1


def test_an_answer_that_was_not_grounded_is_billed_for_no_search() -> None:
    assert searches(read(ContentsReader(), contents("gemini-3.8-flash"))) == 0


def test_searches_of_a_stream_are_counted_over_all_its_events() -> None:
    first = contents("gemini-3.8-flash", "a")
    del first["candidates"][0]["finishReason"]
    assert searches(read_stream(ContentsReader(), first, contents("gemini-3.8-flash", "a", "b"))) == 2


def test_google_names_its_tier_and_maps_are_told_as_not_priced() -> None:
    answer = contents("gemini-3.8-flash", groundingChunks=[{"maps": {}}])
    answer["usageMetadata"]["serviceTier"] = "PRIORITY"
    reader = read(ContentsReader(), answer)
    assert (reader.service_tier, reader.not_priced) == ("priority", ("google_maps",))


def test_bedrock_names_its_tier() -> None:
    usage = {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}
    answer = {"output": {"message": {"content": []}}, "stopReason": "end_turn", "usage": usage}
    assert read(ConverseReader(), {**answer, "serviceTier": {"type": "flex"}}).service_tier == "flex"
    assert read(ConverseReader(), answer).service_tier is None
    said = {"metadata": {"usage": usage, "serviceTier": {"type": "default"}}}
    assert read_stream(ConverseReader(), said).service_tier == ""

"""Input that only the vendor sees: where a request brings it, and what a strict budget then holds for."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from routing import tokens as counting
from routing.candidates import Candidate
from routing.extras import NO_EXTRAS, Extras, estimate_asked
from routing.model_facts import ModelFacts, Quote
from routing.pricing import CompiledPrice, PriceTable, Rates
from routing.tokens import estimate_input_tokens
from routing.upstreams.base import CHAT, EMBEDDINGS, GENERATE, MESSAGES, RESPONSES, Wire
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.holding import Need, UnboundedCall, Worst, most_input_tokens, need_of, worst_of
from spendhub.gateway.unseen_input import Unseen, context_asked_for, unseen_in
from tests.routing.facts import model_facts

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NANO = 10**9
FILE = Unseen("input[0]")
MEGABYTE = base64.b64encode(bytes(1_000_000)).decode()
MEGABYTE_OF_PDF = f"data:application/pdf;base64,{MEGABYTE}"
# Above 200,000 tokens everything costs twice as much; writing into the cache a quarter more than plain input.
TIERED = CompiledPrice(
    (
        Rates(6 * NANO, 22 * NANO, cache_write=15 * NANO // 2, above_tokens=200_000),
        Rates(3 * NANO, 15 * NANO, cache_write=15 * NANO // 4),
    )
)


def asked(wire: Wire, **body: Any) -> CallRequest:
    kind = "embedding" if wire == EMBEDDINGS else "chat"
    return CallRequest(wire=wire, body={"model": "m", **body}, model="m", kind=kind)


def said(wire: Wire, *parts: Any) -> CallRequest:
    """A request whose only message has these parts."""
    if wire == GENERATE:
        return asked(wire, contents=[{"role": "user", "parts": list(parts)}])
    return asked(wire, **{"input" if wire == RESPONSES else "messages": [{"role": "user", "content": list(parts)}]})


def worst(request: CallRequest, model: ModelFacts, price: CompiledPrice, extras: Extras = NO_EXTRAS) -> Worst:
    return worst_of(Need(100, 50, 50, True, extras), request, Candidate(model, Quote(model, price, False)), NOW)


def held_nano_usd(found: Worst) -> int:
    return estimate_asked(found.extras, found.price, found.input_tokens, found.output_tokens)


# --- where a request brings it ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (asked(RESPONSES, input="go on", previous_response_id="resp_1"), "previous_response_id"),
        (asked(RESPONSES, input="go on", conversation="conv_1"), "conversation"),
        (asked(RESPONSES, input="go on", conversation={"id": "conv_1"}), "conversation"),
        (asked(RESPONSES, input=[{"type": "item_reference", "id": "msg_1"}]), "input[0]"),
        (asked(RESPONSES, input=[{"role": "user", "content": "hi"}, {"id": "msg_1"}]), "input[1]"),
        (asked(RESPONSES, input=[{"type": "reasoning", "id": "rs_1", "summary": []}]), "input[0]"),
        (asked(RESPONSES, input=[{"type": "web_search_call", "id": "ws_1"}]), "input[0]"),
        (said(RESPONSES, {"type": "input_file", "file_id": "file-1"}), "input[0].content[0]"),
        (said(RESPONSES, {"type": "input_file", "file_url": "https://x/y.pdf"}), "input[0].content[0]"),
        (said(RESPONSES, {"type": "input_file", "file_data": "data:application/pdf;base64,AA"}), "input[0].content[0]"),
        (
            asked(RESPONSES, input=[{"type": "function_call_output", "output": [{"type": "input_file"}]}]),
            "input[0].output[0]",
        ),
        (said(CHAT, {"type": "file", "file": {"file_id": "file-1"}}), "messages[0].content[0]"),
        (said(CHAT, {"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}), "messages[0].content[0]"),
        (asked(CHAT, messages=[{"role": "assistant", "audio": {"id": "audio_1"}}]), "messages[0].audio"),
        (said(MESSAGES, {"type": "document", "source": {"type": "url", "url": "https://x"}}), "messages[0].content[0]"),
        (said(MESSAGES, {"type": "document", "source": {"type": "file", "file_id": "f"}}), "messages[0].content[0]"),
        (said(MESSAGES, {"type": "document", "source": {"type": "base64", "data": "AA"}}), "messages[0].content[0]"),
        (said(MESSAGES, {"type": "container_upload", "file_id": "f"}), "messages[0].content[0]"),
        (
            said(MESSAGES, {"type": "tool_result", "content": [{"type": "document", "source": {"type": "url"}}]}),
            "messages[0].content[0].content[0]",
        ),
        (asked(MESSAGES, messages=[], container="container_1"), "container"),
        (asked(MESSAGES, messages=[], thread={"type": "continue", "previous_message_id": "msg_1"}), "thread"),
        (asked(MESSAGES, messages=[], thread={"type": "resume_next_year"}), "thread"),
        (said(GENERATE, {"fileData": {"fileUri": "https://x", "mimeType": "image/png"}}), "contents[0].parts[0]"),
        (said(GENERATE, {"inlineData": {"mimeType": "video/mp4", "data": "AA"}}), "contents[0].parts[0]"),
        (said(GENERATE, {"inlineData": {"data": "AA"}}), "contents[0].parts[0]"),
        (asked(EMBEDDINGS, input=["text", {"image": "https://x"}]), "input[1]"),
        # Whatever comes next year is not known to be small.
        (said(MESSAGES, {"type": "hologram"}), "messages[0].content[0]"),
        (said(CHAT, {"type": ["text"]}), "messages[0].content[0]"),
    ],
)
def test_the_first_place_that_brings_input_of_any_size_is_named(request_: CallRequest, field: str) -> None:
    assert unseen_in(request_) == Unseen(field)


@pytest.mark.parametrize(
    "request_",
    [
        asked(CHAT, messages=[{"role": "user", "content": "hi"}, {"role": "tool", "content": "2"}]),
        said(CHAT, {"type": "text", "text": "hi"}, {"type": "input_audio", "input_audio": {"text": "AA"}}),
        asked(RESPONSES, input="hi", previous_response_id=None),
        # A thread that begins brings nothing of its own.
        asked(MESSAGES, messages=[{"role": "user", "content": "hi"}], thread={"type": "create"}),
        asked(MESSAGES, messages=[{"role": "user", "content": "hi"}], thread=None),
        asked(RESPONSES, input=[{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AA"}]),
        asked(RESPONSES, input=[{"type": "function_call", "arguments": "{}"}, {"type": "function_call_output"}]),
        said(MESSAGES, {"type": "document", "source": {"type": "text", "data": "all of it"}}),
        said(
            MESSAGES, {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "hi"}]}}
        ),
        # The model's own words for a tool, whatever they look like.
        said(MESSAGES, {"type": "tool_use", "input": {"type": "document", "content": [{"type": "document"}]}}),
        said(GENERATE, {"text": "hi"}, {"functionCall": {"name": "f", "args": {"fileData": {}}}}),
        said(GENERATE, {"inlineData": {"mimeType": "text/plain", "data": "AA"}}),
        asked(CHAT, messages=[], tools=[{"function": {"parameters": {"properties": {"x": {"type": "document"}}}}}]),
        asked(EMBEDDINGS, input=[[1, 2], "text", 3]),
    ],
)
def test_what_is_all_there_is_not(request_: CallRequest) -> None:
    assert unseen_in(request_) == Unseen()


@pytest.mark.parametrize(
    "request_",
    [
        said(CHAT, *[{"type": "image_url", "image_url": {"url": "https://x"}}] * 2),
        said(RESPONSES, {"type": "input_image", "file_id": "file-1"}, {"type": "input_image", "image_url": "data:"}),
        said(
            MESSAGES, {"type": "image", "source": {"type": "file", "file_id": "f"}},
            {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "https://x"}}]},
        ),
        said(
            GENERATE, {"inlineData": {"mimeType": "image/png", "data": "AA"}},
            {"functionResponse": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA"}}]}},
        ),
    ],
)  # fmt: skip
def test_pictures_are_counted_wherever_they_come_from(request_: CallRequest) -> None:
    assert unseen_in(request_) == Unseen(pictures=2)


def test_the_bytes_of_sounds_are_counted_as_they_are_sent() -> None:
    sounds = [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}} for data in ("A" * 8, "A" * 4)]
    assert unseen_in(said(CHAT, *sounds, {"type": "text", "text": "hi"})) == Unseen(sound_bytes=12)


# --- what a strict budget holds for -----------------------------------------------------------------------------------
def test_text_is_held_at_three_times_its_estimate_and_1024_tokens() -> None:
    assert most_input_tokens(100, Unseen(), model_facts("m", context_tokens=None)) == 1_324


def test_unseen_input_is_held_at_all_that_the_model_can_take() -> None:
    assert most_input_tokens(100, FILE, model_facts("m", context_tokens=128_000)) == 128_000


def test_a_context_that_the_client_asks_to_be_longer_is_held_at_that() -> None:
    model = model_facts("m", context_tokens=200_000)
    assert most_input_tokens(100, FILE, model, 1_000_000) == 1_000_000
    assert most_input_tokens(100, Unseen(pictures=30), model, 1_000_000) == 1_000_000
    assert most_input_tokens(100, FILE, model_facts("m", context_tokens=2_000_000), 1_000_000) == 2_000_000
    # How much it takes without is as unknown as before.
    with pytest.raises(UnboundedCall):
        most_input_tokens(100, FILE, model_facts("m", context_tokens=None), 1_000_000)


@pytest.mark.parametrize(
    ("passed", "body", "tokens"),
    [
        ({"anthropic-beta": "context-1m-2025-08-07"}, {}, 1_000_000),
        ({"anthropic-beta": "files-api-2025-04-14, Context-2M-2027-01-01,context-1m-2025-08-07"}, {}, 2_000_000),
        ({}, {"anthropic_beta": ["context-1m-2025-08-07"]}, 1_000_000),
        ({"anthropic-beta": "context-management-2025-06-27", "openai-beta": "responses=v1"}, {}, 0),
        ({"anthropic-beta": f"context-{'9' * 5_000}m"}, {}, 0),  # more digits than Python reads
        ({}, {}, 0),
    ],
)
def test_a_longer_context_is_asked_for_in_the_vendors_own_header(
    passed: dict[str, str], body: dict[str, Any], tokens: int
) -> None:
    assert context_asked_for(asked(MESSAGES, messages=[], **body), passed) == tokens


def test_it_is_never_held_at_less_than_the_rest_of_the_request() -> None:
    assert most_input_tokens(100_000, FILE, model_facts("m", context_tokens=128_000)) == 301_024


def test_a_picture_is_held_at_50000_tokens_and_all_of_them_at_no_more_than_the_model_can_take() -> None:
    model = model_facts("m", context_tokens=128_000)
    assert most_input_tokens(100, Unseen(pictures=1), model) == 51_324
    assert most_input_tokens(100, Unseen(pictures=3), model) == 128_000
    assert most_input_tokens(100, Unseen(pictures=3), model_facts("m", context_tokens=None)) == 151_324


def test_a_model_whose_pictures_are_billed_above_its_context_is_held_at_what_they_are_billed() -> None:
    model = model_facts("mini", upstream_name="gpt-4o-mini-2024-07-18", context_tokens=128_000)
    assert most_input_tokens(100, FILE, model) == 34 * 128_000
    assert most_input_tokens(100, Unseen(pictures=3), model) == 151_324


@pytest.mark.parametrize("model", [model_facts("m", context_tokens=None), model_facts("m", kind="embedding")])
def test_where_nobody_has_said_how_much_the_model_takes_the_call_is_refused_and_the_field_named(
    model: ModelFacts,
) -> None:
    with pytest.raises(UnboundedCall) as refused:
        most_input_tokens(100, FILE, model)
    assert refused.value.details == {"field": "input[0]"}


def test_a_sound_is_held_at_all_its_bytes_and_at_no_more_than_the_model_can_take() -> None:
    model = model_facts("m", context_tokens=128_000)
    assert most_input_tokens(100, Unseen(sound_bytes=50_000), model) == 51_324
    assert most_input_tokens(100, Unseen(sound_bytes=50_000, pictures=1), model) == 101_324
    assert most_input_tokens(100, Unseen(sound_bytes=1_000_000), model) == 128_000
    assert most_input_tokens(100, Unseen(sound_bytes=1_000_000), model_facts("m", context_tokens=None)) == 1_001_324


@pytest.mark.parametrize(
    ("wire", "part"),
    [
        (CHAT, {"type": "file", "file": {"file_data": MEGABYTE_OF_PDF}}),
        (RESPONSES, {"type": "input_file", "file_data": MEGABYTE_OF_PDF}),
        (MESSAGES, {"type": "document", "source": {"type": "base64", "data": MEGABYTE}}),
        (GENERATE, {"inlineData": {"mimeType": "application/pdf", "data": MEGABYTE}}),
        (GENERATE, {"inlineData": {"mimeType": "audio/mp3", "data": MEGABYTE}}),
        (GENERATE, {"inlineData": {"mimeType": "video/mp4", "data": MEGABYTE}}),
        (CHAT, {"type": "input_audio", "input_audio": {"data": MEGABYTE, "format": "wav"}}),
    ],
)
def test_a_packed_file_is_held_at_no_more_than_all_that_the_model_can_take(wire: Wire, part: dict[str, Any]) -> None:
    request, model = said(wire, part), model_facts("m", context_tokens=200_000)
    need = need_of(request, model, estimate_input_tokens(request.body), 1, None)
    assert need.input_tokens <= 200_000
    assert worst_of(need, request, Candidate(model, Quote(model, TIERED, False)), NOW).input_tokens == 200_000


def test_the_texts_beside_a_packed_file_are_held_at_three_times_their_estimate_all_the_same() -> None:
    request = said(
        CHAT, {"type": "file", "file": {"file_data": MEGABYTE_OF_PDF}}, {"type": "text", "text": "zz " * 100_000}
    )
    model = model_facts("m", context_tokens=200_000)
    need = need_of(request, model, estimate_input_tokens(request.body), 1, None)
    found = worst_of(need, request, Candidate(model, Quote(model, TIERED, False)), NOW)
    # 7 around them, 100,000 of text.
    assert found.input_tokens == 3 * 100_007 + 1_024


def test_what_is_packed_is_needed_at_no_more_than_the_models_context_leaves() -> None:
    request = said(CHAT, {"type": "file", "file": {"file_data": MEGABYTE_OF_PDF}})
    tokens = estimate_input_tokens(request.body)
    assert tokens == 7 + 26 * 3_000
    wanted = [(200_000, tokens), (32_000, 32_000), (None, tokens)]
    found = [
        need_of(request, model_facts("m", context_tokens=size), tokens, 1, None).input_tokens for size, _ in wanted
    ]
    assert found == [expected for _, expected in wanted]


def test_the_texts_of_a_call_are_counted_once_however_often_its_worst_case_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = said(CHAT, {"type": "file", "file": {"file_data": MEGABYTE_OF_PDF}}, {"type": "text", "text": "zz " * 20})
    model = model_facts("m", context_tokens=32_000)
    need = need_of(request, model, estimate_input_tokens(request.body), 1, None)
    assert (need.input_tokens, need.uncut_input_tokens) == (32_000, 7 + 20 + 26 * 3_000)
    monkeypatch.setattr(counting, "count_tokens", lambda text: pytest.fail("a text is counted"))
    found = worst_of(need, request, Candidate(model, Quote(model, TIERED, False)), NOW)
    assert found.input_tokens == 32_000


def test_texts_that_are_longer_than_the_context_are_held_at_three_times_their_estimate_too() -> None:
    request = said(
        CHAT, {"type": "file", "file": {"file_data": MEGABYTE_OF_PDF}}, {"type": "text", "text": "zz " * 100_000}
    )
    model = model_facts("m", context_tokens=32_000)
    need = need_of(request, model, estimate_input_tokens(request.body), 1, None)
    assert need.input_tokens == 100_007
    found = worst_of(need, request, Candidate(model, Quote(model, TIERED, False)), NOW)
    assert found.input_tokens == 3 * 100_007 + 1_024


def test_the_whole_context_is_held_at_its_long_contexts_price_and_the_dearer_of_input_and_cache_write() -> None:
    request = asked(RESPONSES, input="go on", previous_response_id="resp_1")
    found = worst(request, model_facts("m", context_tokens=1_000_000), TIERED)
    # 1,000,000 tokens at 7.50 USD per million, 50 at 22.
    assert held_nano_usd(found) == 7_500_000_000 + 1_100_000
    small = worst(request, model_facts("m", context_tokens=200_000), TIERED)
    # Exactly at the tier's size is still below it: 200,000 at 3.75, 50 at 15.
    assert held_nano_usd(small) == 750_000_000 + 750_000


def test_without_the_unseen_input_the_same_call_is_held_at_what_it_says_itself() -> None:
    found = worst(asked(RESPONSES, input="go on"), model_facts("m", context_tokens=1_000_000), TIERED)
    # 1,324 tokens at 3.75 USD per million, 50 at 15.
    assert held_nano_usd(found) == 4_965_000 + 750_000


def test_of_two_tiers_the_one_that_is_dearer_at_this_size_is_held() -> None:
    # Priority costs more than the standard tier for a short call, and less than its long context.
    priority = CompiledPrice((Rates(5 * NANO, 16 * NANO),))
    model = model_facts(
        "m", context_tokens=1_000_000, prices=PriceTable((TIERED,), {"priority": (priority,)}), has_responses=True
    )
    extras = Extras(service_tier="priority")
    body = {"input": "go on", "service_tier": "priority"}
    assert worst(asked(RESPONSES, **body), model, TIERED, extras).price is priority
    assert worst(asked(RESPONSES, **body, conversation="c"), model, TIERED, extras).price is TIERED

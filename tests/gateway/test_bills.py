"""What an answer is billed at, as far as its vendor has told, and where it has not."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from routing.candidates import Candidate
from routing.extras import NO_EXTRAS, Extras
from routing.model_facts import Quote
from routing.token_usage import TokenUsage
from routing.upstreams.base import CHAT, EMBEDDINGS
from spendhub.gateway.bills import Bill, bill_for, seen_usage, told_usage, unseen_nano_usd, was_given_up
from spendhub.gateway.dialect import CallRequest
from tests.routing.facts import model_facts

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TOLD = TokenUsage(input_tokens=1_000, output_tokens=500)
# At 2 and 10 USD per million tokens.
LIST_PRICE_NANO_USD = 1_000 * 2_000 + 500 * 10_000
ASKED = CallRequest(wire=CHAT, body={"messages": [{"role": "user", "content": "hi"}]}, model="m")
HELD_NANO_USD = 40_000_000


def heard(**changes: Any) -> Any:
    """A reader that has heard the whole answer, but for `changes`."""
    usual = {
        "usage": TOLD, "usage_so_far": None, "service_tier": None, "not_priced": (), "told_cost": {},
        "searched": lambda: 0, "produced_tokens": lambda: 7, "finish_reason": "stop",
    }  # fmt: skip
    return SimpleNamespace(**usual | changes)


def billed(reader: Any, extras: Extras = NO_EXTRAS, **changes: Any) -> Bill:
    model = model_facts("m", **changes)
    candidate = Candidate(model, Quote(model, model.prices.prices[0], is_estimated=False))
    return bill_for(reader, told_usage(ASKED, reader) or seen_usage(ASKED, reader), ASKED, candidate, extras, NOW)


def test_what_the_vendor_reported_is_billed_at_its_price() -> None:
    bill = billed(heard())
    assert (bill.cost_nano_usd, bill.is_estimated, bill.facts) == (LIST_PRICE_NANO_USD, False, {})
    assert bill.breakdown == {"input": 2_000_000, "output": 5_000_000}


def test_what_was_seen_of_an_answer_without_usage_is_an_estimate() -> None:
    bill = billed(heard(usage=None))
    assert bill.is_estimated
    assert bill.usage.output_tokens == 7
    assert bill.cost_nano_usd == bill.usage.input_tokens * 2_000 + 7 * 10_000


NOTHING = TokenUsage()
INPUT_OF_ASKED = seen_usage(ASKED, heard(usage=None)).input_tokens


@pytest.mark.parametrize(
    ("told", "completed"),
    [
        (NOTHING, TokenUsage(input_tokens=INPUT_OF_ASKED, output_tokens=7)),
        (TokenUsage(output_tokens=500), TokenUsage(input_tokens=INPUT_OF_ASKED, output_tokens=500)),
        (TokenUsage(output_tokens=2), TokenUsage(input_tokens=INPUT_OF_ASKED, output_tokens=2)),
        (TokenUsage(input_tokens=1_000), TokenUsage(input_tokens=1_000, output_tokens=7)),
        (TokenUsage(cache_read_tokens=900), TokenUsage(cache_read_tokens=900, output_tokens=7)),
    ],
)
def test_zeros_in_place_of_what_was_read_and_said_are_counted_by_us(told: TokenUsage, completed: TokenUsage) -> None:
    bill = billed(heard(usage=told))
    assert (bill.usage, bill.is_estimated) == (completed, True)
    assert bill.cost_nano_usd > 0


def test_zeros_are_believed_where_nothing_was_said() -> None:
    assert told_usage(ASKED, heard(usage=NOTHING, produced_tokens=lambda: 0)) == NOTHING
    refused = TokenUsage(input_tokens=1_000)
    assert told_usage(ASKED, heard(usage=refused, produced_tokens=lambda: 0)) == refused


def test_a_guardrail_s_own_words_use_no_tokens_where_its_vendor_says_so() -> None:
    assert told_usage(ASKED, heard(usage=NOTHING, finish_reason="guardrail_intervened")) == NOTHING


def test_an_embedding_has_read_something() -> None:
    request = CallRequest(wire=EMBEDDINGS, body={"input": "hi"}, model="m")
    silent = heard(produced_tokens=lambda: 0)
    assert told_usage(request, heard(usage=NOTHING, produced_tokens=lambda: 0)) is None
    silent.usage = TokenUsage(input_tokens=3)
    assert told_usage(request, silent) == TokenUsage(input_tokens=3)


def test_what_the_vendor_said_before_it_broke_off_is_kept_where_it_is_more_than_we_saw() -> None:
    known = TokenUsage(input_tokens=123, output_tokens=2)
    assert seen_usage(ASKED, heard(usage=None, usage_so_far=known)) == TokenUsage(input_tokens=123, output_tokens=7)


def test_a_document_that_nobody_counted_is_billed_at_no_more_than_its_models_context_leaves() -> None:
    # 3 MB: 76 pages, at 3,000 tokens.
    part = {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 4_000_000}}
    request = CallRequest(wire=CHAT, body={"messages": [{"role": "user", "content": [part]}]}, model="m")
    silent = heard(usage=None)
    assert seen_usage(request, silent, 1_000_000).input_tokens == seen_usage(request, silent).input_tokens == 228_007
    assert seen_usage(request, silent, 200_000).input_tokens == 200_000


def test_an_answer_of_no_known_shape_has_nothing_in_it_to_count() -> None:
    def produced_tokens() -> int:
        raise TypeError

    assert seen_usage(ASKED, heard(usage=None, produced_tokens=produced_tokens)).output_tokens == 0


def test_a_tier_that_was_asked_for_and_has_no_price_is_billed_as_usual_and_estimated() -> None:
    bill = billed(heard(), Extras(service_tier="flex"))
    assert (bill.cost_nano_usd, bill.is_estimated, bill.facts) == (LIST_PRICE_NANO_USD, True, {"service_tier": "flex"})


def test_the_vendor_s_word_for_its_tier_counts_before_what_was_asked_for() -> None:
    bill = billed(heard(service_tier=""), Extras(service_tier="flex"))
    assert (bill.is_estimated, bill.facts) == (False, {})


def test_searches_without_a_price_are_named() -> None:
    bill = billed(heard(usage=TokenUsage(input_tokens=1_000, output_tokens=500, web_searches=2)))
    assert (bill.cost_nano_usd, bill.is_estimated) == (LIST_PRICE_NANO_USD, True)
    assert bill.facts == {"web_searches": 2, "not_priced": ["web_search"]}


def test_the_vendor_s_own_bill_counts_whatever_has_no_price() -> None:
    bill = billed(heard(told_cost={"cost_in_usd_ticks": 90_000_000}, not_priced=("code_interpreter",)))
    assert (bill.cost_nano_usd, bill.breakdown, bill.is_estimated) == (9_000_000, {"billed": 9_000_000}, False)
    assert bill.facts == {"list_price_cost": "0.007"}


def unseen(*, is_stream: bool = False, is_given_up: bool = True, elapsed_ms: int = 2_000, thinks: bool = True) -> int:
    model = model_facts("m", capabilities=frozenset({"reasoning"} if thinks else ()))
    request = CallRequest(wire=CHAT, body={}, model="m", is_stream=is_stream)
    return unseen_nano_usd(
        request, model, model.prices.prices[0], HELD_NANO_USD, 100, is_given_up=is_given_up, elapsed_ms=elapsed_ms
    )


def test_a_whole_answer_that_nobody_waits_for_may_cost_all_that_was_held() -> None:
    assert (unseen(), unseen(is_given_up=False)) == (HELD_NANO_USD, 0)


def test_a_broken_stream_may_cost_the_thoughts_that_its_model_had_time_for() -> None:
    """At 1,000 tokens a second, and never more than was held."""
    assert unseen(is_stream=True) == 100 * 2_000 + 2_000 * 10_000
    assert unseen(is_stream=True, elapsed_ms=60_000) == HELD_NANO_USD
    assert unseen(is_stream=True, thinks=False) == 0


@pytest.mark.parametrize(
    ("status", "error_code", "is_given_up"),
    [("aborted", "", True), ("error", "upstream_timeout", True), ("error", "upstream_error", False)],
)
def test_a_client_that_leaves_and_a_time_that_is_up_give_a_vendor_up(
    status: str, error_code: str, is_given_up: bool
) -> None:
    assert was_given_up(status, error_code) is is_given_up

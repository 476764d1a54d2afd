"""What an answer is billed at: what its vendor reported, or what we have seen of it, at the price it was given at.

Pure: no money is moved here (open_call.py does that).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from routing.candidates import Candidate
from routing.errors import UpstreamTimeout
from routing.extras import NO_EXTRAS, Extras
from routing.model_facts import ModelFacts
from routing.pricing import CompiledPrice, estimate_nano_usd, is_whole, price_usage
from routing.token_usage import TokenUsage
from routing.tokens import at_most, count_chat_tokens, estimate_input_tokens
from routing.told_costs import told_nano_usd
from routing.upstreams.base import CHAT, EMBEDDINGS, UsageReader
from spendhub.gateway.dialect import CallRequest
from spendhub.gateway.extras_asked import with_untold
from spendhub.money import format_usd

# We know of no vendor that hides its models' thoughts and is as quick (docs/budgets.md, "Strict budgets").
MOST_HIDDEN_TOKENS_PER_SECOND = 1_000
# Why an answer ended that is a guardrail's own: of one that it gave before its model was asked, no tokens are billed
# (aws.amazon.com/bedrock/pricing, "Guardrails").
_GIVEN_IN_PLACE_OF_THE_MODEL = frozenset({"guardrail_intervened"})


class Bill(msgspec.Struct, frozen=True):
    """`breakdown` is nano-dollars by token kind; `facts` are what the span says of how the cost was found."""

    usage: TokenUsage
    cost_nano_usd: int
    breakdown: Mapping[str, int]
    is_estimated: bool
    facts: Mapping[str, Any]


def told_usage(request: CallRequest, reader: UsageReader) -> TokenUsage | None:
    """What the vendor has reported. None where that is nothing, or cannot be all: servers are known that say zeros, or
    leave out one side of their counts."""
    usage = reader.usage
    if usage is None or (usage.total_input_tokens and usage.output_tokens):
        return usage
    if reader.finish_reason in _GIVEN_IN_PLACE_OF_THE_MODEL:
        return usage
    has_said = bool(usage.output_tokens or _seen_output(reader))
    lacks_input = not usage.total_input_tokens and (has_said or request.wire == EMBEDDINGS)
    return None if lacks_input or (has_said and not usage.output_tokens) else usage


def seen_usage(request: CallRequest, reader: UsageReader, context_tokens: int | None = None) -> TokenUsage:
    """The usage as far as we can tell, where the vendor has not reported all of it. What is packed into the request has
    had no more room than the model's context (None: unknown) leaves."""
    known = reader.usage or reader.usage_so_far or TokenUsage()
    if not known.total_input_tokens:
        # As the sandbox counts: nearer to what vendors bill than the upper bound that was held.
        known = replace(known, input_tokens=at_most(_input_tokens(request), request.body, context_tokens))
    if reader.usage is not None and known.output_tokens:
        return known
    return replace(
        known,
        output_tokens=max(_seen_output(reader), known.output_tokens),
        web_searches=max(reader.searched(), known.web_searches),
    )


def bill_for(
    reader: UsageReader, usage: TokenUsage, request: CallRequest, candidate: Candidate, extras: Extras, moment: datetime
) -> Bill:
    """The bill of an answer of which `usage` was told (`told_usage`) or seen. `moment` is when it was asked for (aware
    UTC)."""
    quote = candidate.quote
    facts: dict[str, Any] = {}
    is_estimated = quote.is_estimated or usage is not reader.usage
    if extras is not NO_EXTRAS:
        completed = with_untold(usage, extras, request.wire)
        if completed is not usage:
            usage, is_estimated = completed, True
    tier = reader.service_tier
    if tier is None and extras.service_tier:
        tier, is_estimated = extras.service_tier, True  # what was asked for, and not contradicted
    if tier:
        quote = quote.in_tier(tier, moment)
        is_estimated = is_estimated or quote.is_estimated
        facts["service_tier"] = tier
    if usage.web_searches:
        facts["web_searches"] = usage.web_searches
    priced = price_usage(usage, quote.price)
    cost_nano_usd, breakdown = priced.total_nano_usd, priced.by_kind()
    told = told_nano_usd(reader.told_cost, candidate.model) if reader.told_cost else None
    if told is not None:
        # Its own bill counts, whatever is in it.
        is_estimated = False
        if told != cost_nano_usd:
            facts["list_price_cost"] = format_usd(cost_nano_usd)
            cost_nano_usd, breakdown = told, {"billed": told}
    elif not_priced := _not_priced(reader, usage, quote.price):
        facts["not_priced"], is_estimated = not_priced, True
    return Bill(usage, cost_nano_usd, breakdown, is_estimated, facts)


def unseen_nano_usd(
    request: CallRequest, model: ModelFacts, price: CompiledPrice, held_nano_usd: int, input_tokens: int, *,
    is_given_up: bool, elapsed_ms: int,
) -> int:  # fmt: skip
    """What an answer that has not ended, and is told no usage of, may be billed at, seen or not: a whole one at all
    that was held, since its vendor may go on; a stream, with which its vendor stops, at the thoughts that it had time
    for. 0 where nothing is billed that was not seen."""
    if not request.is_stream:
        return held_nano_usd if is_given_up else 0
    if "reasoning" not in model.capabilities:
        return 0
    had_time_for = elapsed_ms * MOST_HIDDEN_TOKENS_PER_SECOND // 1000
    return min(held_nano_usd, estimate_nano_usd(price, input_tokens, had_time_for))


def was_given_up(status: str, error_code: str) -> bool:
    """Whether we, or the client, stopped waiting for a vendor that may still be at work."""
    return status == "aborted" or error_code == UpstreamTimeout.code


def _not_priced(reader: UsageReader, usage: TokenUsage, price: CompiledPrice) -> list[str]:
    """What was used and has no price."""
    found = list(reader.not_priced)
    if usage.web_searches and not is_whole(usage, price):
        found.append("web_search")
    return found


def _input_tokens(request: CallRequest) -> int:
    return count_chat_tokens(request.body) if request.wire == CHAT else estimate_input_tokens(request.body)


def _seen_output(reader: UsageReader) -> int:
    try:
        return reader.produced_tokens()
    except (AttributeError, TypeError):
        return 0  # an answer of no known shape: there is nothing in it to count

"""What a request may be billed beside plain tokens, as far as it shows before it is sent; and what that adds to a hold.

docs/pricing.md, "What is held before the call".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from routing.model_facts import ModelFacts
from routing.pricing import CompiledPrice, affordable_output_tokens, estimate_nano_usd

# Searches that are held for where the request sets no lower bound: what answers seldom pass.
USUAL_WEB_SEARCHES = 5
# What a search adds to the input: the block that OpenAI bills where it bills one instead of what was read.
SEARCH_INPUT_TOKENS = 8_000
# The names of chat models that always search: OpenAI's gpt-5-search-api and gpt-4o-search-preview, Perplexity's sonar,
# any of OpenRouter's with `:online` behind it. Known by name, since no source of the catalog tells.
_SEARCH_MODEL = re.compile(r"-search-|(^|/)sonar(-|$)|:online$")


@dataclass(frozen=True, slots=True)
class Extras:
    """`service_tier` as it was asked for ("": as the vendor likes); `web_searches` that are held for;
    `untold_searches` the vendor makes and never tells of; `vendor_tools` names the field that leaves the bill without a
    bound: by which the vendor may run tools of its own, or let a dearer model answer; `writes_long_cache`: input may be
    cached for longer than usual."""

    service_tier: str = ""
    web_searches: int = 0
    untold_searches: int = 0
    vendor_tools: str = ""
    writes_long_cache: bool = False


NO_EXTRAS = Extras()


def always_searches(model: ModelFacts) -> bool:
    """Whether the model searches the web for every chat, unasked, and bills it beside."""
    return model.kind == "chat" and _SEARCH_MODEL.search(model.upstream_name) is not None


def price_asked(extras: Extras, model: ModelFacts, price: CompiledPrice, moment: datetime) -> CompiledPrice:
    """The price of the tier that is asked for, else `price`, at which it will be counted."""
    if not extras.service_tier:
        return price
    return model.prices.at(moment, extras.service_tier) or price


def estimate_asked(extras: Extras, price: CompiledPrice, input_tokens: int, max_output_tokens: int) -> int:
    """What has to be held for a call of this size with these extras, in nano_usd. `price`: see `price_asked`."""
    if extras is NO_EXTRAS:
        return estimate_nano_usd(price, input_tokens, max_output_tokens)
    return estimate_nano_usd(
        price,
        input_tokens + extras.web_searches * SEARCH_INPUT_TOKENS,
        max_output_tokens,
        web_searches=extras.web_searches,
        writes_long_cache=extras.writes_long_cache,
    )


def affordable_asked(extras: Extras, price: CompiledPrice, input_tokens: int, room_nano_usd: int) -> int | None:
    """The most output for which `estimate_asked` is within the room; None where output is free."""
    return affordable_output_tokens(
        price,
        room_nano_usd,
        input_tokens + extras.web_searches * SEARCH_INPUT_TOKENS,
        web_searches=extras.web_searches,
        writes_long_cache=extras.writes_long_cache,
    )

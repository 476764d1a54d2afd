"""What a call is estimated at before it is made."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.conf import settings

from budgets.suggestions import ASSUMED_INPUT_TOKENS
from routing.extras import NO_EXTRAS, Extras, estimate_asked
from routing.model_facts import ModelFacts
from routing.snapshot import CATALOG


class Estimate(NamedTuple):
    """The estimate in nano_usd, the model it was made for, and the size it was made from."""

    nano_usd: int
    model: ModelFacts | None
    input_tokens: int | None
    max_output_tokens: int | None
    is_estimated_price: bool


def estimate_call(
    tenant_id: int,
    unpriced_models: str,
    model_name: str | None,
    *,
    given_nano_usd: int | None = None,
    input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    now: datetime,
    extras: Extras = NO_EXTRAS,
) -> Estimate:
    """The given estimate; or, where none (or 0) was given, the worst case of the model's price x tokens.

    Tokens that were not given: 1,000 in, and out the installation's default (SPENDHUB_DEFAULT_OUTPUT_TOKENS)
    up to the model's own limit. `extras`: the tier it is meant for, and its searches of the web. Without a
    model there is nothing to compute from: 0. Raises
    routing's UnpricedModel for a model without a price where the tenant refuses those.
    """
    model = CATALOG.current().resolve(tenant_id, model_name) if model_name else None
    if given_nano_usd:
        return Estimate(given_nano_usd, model, input_tokens, max_output_tokens, False)
    if not model_name:
        return Estimate(0, None, input_tokens, max_output_tokens, False)
    quote = CATALOG.current().quote(
        tenant_id, model_name, now, unpriced_models=unpriced_models, service_tier=extras.service_tier
    )
    tokens_in = ASSUMED_INPUT_TOKENS if input_tokens is None else input_tokens
    tokens_out = max_output_tokens
    if tokens_out is None:
        tokens_out = settings.DEFAULT_OUTPUT_TOKENS
        if quote.model is not None and quote.model.kind == "embedding":
            tokens_out = 0
        elif quote.model is not None and quote.model.max_output_tokens:
            tokens_out = min(tokens_out, quote.model.max_output_tokens)
    nano_usd = estimate_asked(extras, quote.price, tokens_in, tokens_out)
    return Estimate(nano_usd, quote.model, tokens_in, tokens_out, quote.is_estimated)

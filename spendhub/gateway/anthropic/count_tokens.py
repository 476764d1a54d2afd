"""POST /v1/messages/count_tokens: how many input tokens a messages request has, at most.

An estimate, for every model: the same upper count that is held for a call, since no vendor is asked (docs/pricing.md,
"Counting tokens without the vendor"). Anthropic's own count of the same request is as a rule lower.
Source: Anthropic's API reference, "Count tokens in a message".
"""

from __future__ import annotations

from collections.abc import Callable

from routing.tokens import at_most, estimate_input_tokens
from spendhub.gateway.anthropic.messages import parse_messages


def count_tokens_answer(raw: bytes, context_of: Callable[[str], int | None]) -> dict[str, int]:
    """The answer to the request in `raw`. `context_of` gives the context of the model that is called so; None where
    there is none, or nobody has noted it.

    Raises InvalidJson, or Invalid naming the field that cannot be."""
    request = parse_messages(raw, needs_limit=False)
    tokens = estimate_input_tokens(request.body)
    return {"input_tokens": at_most(tokens, request.body, context_of(request.model))}

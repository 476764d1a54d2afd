"""POST /v1beta/models/{model}:countTokens: how many input tokens a request has, at most.

An estimate, for every model: the same upper count that is held for a call, since no vendor is asked (docs/pricing.md,
"Counting tokens without the vendor"). Google's own count of the same request is as a rule lower.
Source: ai.google.dev API reference, "Counting tokens".
"""

from __future__ import annotations

from routing.tokens import at_most, estimate_input_tokens
from spendhub.gateway.gemini.field_names import with_googles_names
from spendhub.gateway.gemini.generate import check_generate
from spendhub.gateway.request_bodies import object_field, object_in


def count_tokens_answer(raw: bytes, context_tokens: int | None) -> dict[str, int]:
    """The answer to the request in `raw`, which is `contents` alone or a whole `generateContentRequest`, at a model
    with this context (None: unknown).

    Raises InvalidJson, or Invalid naming the field that cannot be."""
    body = with_googles_names(raw, object_in(raw))
    request = object_field(body, "generateContentRequest") or body
    check_generate(request)
    return {"totalTokens": at_most(estimate_input_tokens(request), request, context_tokens)}

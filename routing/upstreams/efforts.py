"""How much thinking, said in words and in tokens: vendors take the one or the other.

The numbers are those that Google's OpenAI-compatible endpoint uses for Gemini 2.5; docs/providers.md has the table.
"""

from __future__ import annotations

from collections.abc import Mapping

from routing.conversation import Reasoning

TOKENS_OF_EFFORT: Mapping[str, int] = {
    "none": 0,
    "minimal": 1_024,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 65_536,
}
LOW_TOKENS = 2_048
MEDIUM_TOKENS = 16_384


def effort_of(wanted: Reasoning) -> str:
    """Its effort in words, "" where the client leaves it to the model."""
    if wanted.effort or wanted.budget_tokens is None:
        return wanted.effort
    if wanted.budget_tokens <= 0:
        return "none"
    if wanted.budget_tokens <= LOW_TOKENS:
        return "low"
    return "medium" if wanted.budget_tokens <= MEDIUM_TOKENS else "high"


def tokens_of(wanted: Reasoning) -> int | None:
    """Its effort in tokens, None where the client leaves it to the model."""
    if wanted.budget_tokens is not None:
        return wanted.budget_tokens
    return TOKENS_OF_EFFORT.get(wanted.effort)

"""Vendors' errors that refuse what was said, and not how it was said. Pure.

Told by the fields that a vendor documents for it, never by a word somewhere in its message: an error about
`safety_settings` is no refusal. Where a vendor has nothing but a message, by how that begins.
docs/routing.md, "When a call fails".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# As an error's `code` or `type`, or the `code` of its `innererror`.
CODES = frozenset(
    (
        # Azure, "Content filtering": the code, and that of the inner error. Moonshot, "Error codes": the type.
        "content_filter", "ResponsibleAIPolicyViolation",
        # OpenAI: of pictures; of Responses (openai-python, types/responses/response_error.py).
        "content_policy_violation", "moderation_blocked", "bio_policy", "image_content_policy_violation",
        # Alibaba, "Error codes": as its compatible interface writes it, and as its own does.
        "data_inspection_failed", "DataInspectionFailed",
        # Z.ai, "Errors": unsafe or sensitive content.
        "1301",
    )
)  # fmt: skip
# How the message begins, where the code beside it is that of any other invalid request. As seen at Anthropic
# (anthropics/claude-code#43487), DeepSeek (deepseek-ai/awesome-deepseek-integration#13), xAI (its 403 is that of a key
# as well: theopenco/llmgateway#1785) and OpenAI (`invalid_prompt` is malformed ones' too: microsoft/PyRIT#1463).
MESSAGES = (
    "Output blocked by content filtering policy",
    "Content Exists Risk",
    "Content violates usage guidelines",
    "Invalid prompt: your prompt was flagged as potentially violating our usage policy",
    "Invalid prompt: we've limited access to this content for safety reasons",
)


def refuses_content(told: Mapping[str, Any]) -> bool:
    """Whether a vendor's error, `told` as the object that it comes in, is a refusal for reasons of content."""
    error = told.get("error")
    if isinstance(error, str):
        return error.startswith(MESSAGES)
    if not isinstance(error, Mapping):
        error = told
    inner, metadata, feedback = error.get("innererror"), error.get("metadata"), told.get("promptFeedback")
    named = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, Mapping) else None]
    return (
        any(isinstance(word, str | int) and str(word) in CODES for word in named)
        or str(error.get("message") or "").startswith(MESSAGES)
        # OpenRouter, "Moderation errors"; Google, "GenerateContentResponse".
        or (isinstance(metadata, Mapping) and "flagged_input" in metadata)
        or (isinstance(feedback, Mapping) and bool(feedback.get("blockReason")))
    )

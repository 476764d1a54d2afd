"""Which of a vendor's errors refuse what was said: by its documented fields, in its own words."""

from __future__ import annotations

from typing import Any

import pytest

from routing.content_refusals import refuses_content

REFUSALS: dict[str, dict[str, Any]] = {
    "azure": {
        "error": {
            "message": "The response was filtered", "type": None, "param": "prompt", "code": "content_filter",
            "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"},
        }
    },
    "azure, the inner error alone": {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}},
    "openai": {"error": {"code": "content_policy_violation", "type": "invalid_request_error"}},
    "openai's pictures": {"error": {"code": "moderation_blocked", "type": "image_generation_user_error"}},
    "openai's prompts": {
        "error": {
            "message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try "
            "again with a different prompt", "type": "invalid_request_error", "param": None, "code": "invalid_prompt",
        }
    },
    "openai's responses": {"type": "error", "code": "bio_policy", "message": "no"},
    "moonshot": {"error": {"code": 400, "message": "considered high risk", "param": "prompt", "type": "content_filter"}},
    "alibaba": {"error": {"code": "data_inspection_failed", "type": "data_inspection_failed", "message": "..."}},
    "z.ai": {"error": {"code": "1301", "message": "..."}},
    "openrouter": {
        "error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["violence"], "flagged_input": "..."}}
    },
    "anthropic": {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"},
    },
    "anthropic's at amazon": {"message": "Output blocked by content filtering policy"},
    "deepseek": {"error": {"message": "Content Exists Risk", "type": "invalid_request_error", "code": "invalid_request_error"}},
    "xai": {"code": "permission-denied", "error": "Content violates usage guidelines. Failed check: ..."},
    "google": {"promptFeedback": {"blockReason": "SAFETY"}},
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "openai's safety_identifier": {
        "error": {"message": "Invalid 'safety_identifier'", "param": "safety_identifier", "code": "invalid_value"}
    },
    "google's safety_settings": {
        "error": {"code": 400, "message": "* GenerateContentRequest.safety_settings[4]: predicate failed",
                  "status": "INVALID_ARGUMENT"}
    },
    "a message that speaks of it": {"error": {"message": "unknown field content_filter, see content_policy", "code": None}},
    "a prompt that is malformed": {"error": {"message": "Invalid prompt: no messages", "code": "invalid_prompt"}},
    "xai's key": {"code": "permission-denied", "error": "Access to the chat endpoint is denied"},
    "openrouter, of its provider": {"error": {"code": 403, "message": "no", "metadata": {"provider_name": "x"}}},
    "no shape at all": {"error": ["content_filter"], "message": {"content_filter": 1}, "code": {"content_filter": 2}},
    "nothing": {},
}  # fmt: skip


@pytest.mark.parametrize("told", REFUSALS.values(), ids=list(REFUSALS))
def test_a_vendors_own_word_for_it_is_a_refusal_of_content(told: dict[str, Any]) -> None:
    assert refuses_content(told)


@pytest.mark.parametrize("told", OTHERS.values(), ids=list(OTHERS))
def test_what_only_speaks_of_safety_or_content_is_none(told: dict[str, Any]) -> None:
    assert not refuses_content(told)

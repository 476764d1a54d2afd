"""How long an answer may be, where a client's limit may have been meant for another model."""

from __future__ import annotations

from routing.conversation import Conversation
from routing.model_facts import ModelFacts


def output_limit(model: ModelFacts, conversation: Conversation) -> int | None:
    """The client's limit, or the model's own where that is lower: vendors refuse a limit that they cannot reach."""
    wanted, most = conversation.max_output_tokens, model.max_output_tokens
    return wanted if wanted is None or most is None else min(wanted, most)

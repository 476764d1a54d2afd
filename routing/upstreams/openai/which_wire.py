"""By which of OpenAI's two formats a model is asked: what is translated goes to /chat/completions where that takes it.

It does not know some models (only_responses.py), and of those that reason it takes no tools since GPT-5.4
(generations.py): "To use function tools, use /v1/responses or set reasoning_effort to 'none'" (400).
"""

from __future__ import annotations

from routing.conversation import Conversation
from routing.model_facts import ModelFacts
from routing.upstreams.efforts import effort_of
from routing.upstreams.openai.generations import NO_THINKING, USUAL_THINKING, generation_of
from routing.upstreams.openai.only_responses import is_named_only_at_responses


def is_only_at_responses(model: ModelFacts) -> bool:
    """Whether the model can be asked by a response alone, and its provider speaks them. Azure calls it by its
    deployment, which may say nothing: then the catalog's name does."""
    return model.provider.has_responses and (
        is_named_only_at_responses(model.upstream_name) or is_named_only_at_responses(model.name)
    )


def goes_to_responses(model: ModelFacts, conversation: Conversation) -> bool:
    """Whether what is translated for `model` is said as a response."""
    if not model.provider.has_responses:
        return False
    return is_only_at_responses(model) or _has_tools_beside_reasoning(model, conversation)


def must_say_none(model: ModelFacts, conversation: Conversation) -> bool:
    """Whether a chat completion passes only where it says that nothing is to be thought, and its client has not asked
    for thoughts. A name with its vendor's before it is a reseller's, who asks OpenAI in the way that passes."""
    generation = generation_of(model)
    return (
        conversation.reasoning is None
        and "/" not in model.upstream_name
        and generation is not None
        and NO_THINKING in generation.efforts
        and _has_tools_beside_reasoning(model, conversation)
    )


def _has_tools_beside_reasoning(model: ModelFacts, conversation: Conversation) -> bool:
    generation = generation_of(model)
    if generation is None or generation.takes_tools or not conversation.tools:
        return False
    wanted = conversation.reasoning
    if wanted is None:
        return generation.usual_effort != NO_THINKING
    return generation.nearest_effort(effort_of(wanted) or USUAL_THINKING) != NO_THINKING

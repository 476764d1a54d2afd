"""Which dialects calls can be executed in, and which bodies pass to a model untouched. Of your own: own_dialects.py."""

from __future__ import annotations

from routing.conversation import BESIDE_WORDS
from routing.errors import DialectNotSpoken
from routing.model_facts import ModelFacts
from routing.unusual import Unusual
from routing.upstreams.anthropic.dialect import AnthropicDialect
from routing.upstreams.base import CHAT, RESPONSES, Dialect, Wire
from routing.upstreams.bedrock.dialect import BedrockDialect
from routing.upstreams.gemini.dialect import GeminiDialect
from routing.upstreams.openai import generations
from routing.upstreams.openai.dialect import OpenAIDialect
from routing.upstreams.openai.which_wire import is_only_at_responses
from routing.upstreams.sandbox.dialect import SandboxDialect

DIALECTS: dict[str, Dialect] = {
    "openai": OpenAIDialect(),
    "anthropic": AnthropicDialect(),
    "gemini": GeminiDialect(),
    "bedrock": BedrockDialect(),
    "sandbox": SandboxDialect(),
}


def dialect_of(model: ModelFacts) -> Dialect:
    """The dialect of the model's provider. Raises DialectNotSpoken for one whose folder is not there yet."""
    dialect = DIALECTS.get(model.provider.dialect)
    if dialect is None:
        raise DialectNotSpoken(
            f"calls to {model.provider.name} cannot be executed yet: its dialect is {model.provider.dialect}",
            provider=model.provider.name,
        )
    return dialect


def passes_untouched(model: ModelFacts, wire: Wire) -> bool:
    """Whether a client's body in `wire` format can be sent to the model as it is."""
    if wire not in dialect_of(model).wires:
        return False
    if wire == RESPONSES:
        return model.provider.has_responses  # most compatible vendors speak chat completions alone
    return wire != CHAT or not is_only_at_responses(model)


def lacks(model: ModelFacts) -> frozenset[str]:
    """What the model cannot be asked for, of `conversation.BESIDE_WORDS`; all of it where its dialect is not spoken."""
    dialect = DIALECTS.get(model.provider.dialect)
    return BESIDE_WORDS if dialect is None else dialect.lacks(model)


def unfit_for(model: ModelFacts, unusual: Unusual, wire: Wire) -> list[str]:
    """What of `unusual`, in a client's request of `wire` format, the model does not take: to be read after "it does not
    take". Empty where nothing is known of the model."""
    dialect = DIALECTS.get(model.provider.dialect)
    if dialect is None or CHAT not in dialect.wires:
        return []
    found = generations.generation_of(model)
    # Most models are through here: every call to `auto` that offers tools asks of all of them.
    if found is None or not (refused := generations.refused_untouched(found, unusual, wire)):
        return []
    if not passes_untouched(model, wire):
        return generations.refused_translated(found, unusual)
    return [] if generations.is_resold(found, model) else refused

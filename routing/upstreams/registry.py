"""Which dialects calls can be executed in."""

from __future__ import annotations

from routing.errors import DialectNotSpoken
from routing.snapshot import ModelFacts
from routing.upstreams.base import Dialect
from routing.upstreams.openai.chat import OpenAIDialect
from routing.upstreams.sandbox.chat import SandboxDialect

DIALECTS: dict[str, Dialect] = {"openai": OpenAIDialect(), "sandbox": SandboxDialect()}


def dialect_of(model: ModelFacts) -> Dialect:
    """The dialect of the model's provider. Raises DialectNotSpoken for one whose folder is not there yet."""
    dialect = DIALECTS.get(model.provider.dialect)
    if dialect is None:
        raise DialectNotSpoken(
            f"calls to {model.provider.name} cannot be executed yet: its dialect is {model.provider.dialect}",
            provider=model.provider.name,
        )
    return dialect

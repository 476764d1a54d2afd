"""What the models of Bedrock's many vendors take differently, beyond the format that they share.

Source: docs.aws.amazon.com, "Get validated JSON results from models" (structured outputs), "Prompt caching for faster
model inference", "Extended thinking in Amazon Nova 2", read 2026-11-24.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from routing.model_facts import ModelFacts
from routing.upstreams.anthropic.generations import generation_of

TOWARDS = "Amazon Bedrock"
# Vendors none of whose models here holds its answer to a schema.
_WITHOUT_SCHEMAS = re.compile(r"\b(amazon|meta|cohere|ai21|writer)\.|deepseek\.r1")


@dataclass(frozen=True, slots=True)
class Family:
    """`thinks`: how it is asked to think, "" where there is no word for it; `caches_tools`: whether the tools may be
    kept in the prompt cache as well."""

    name: str
    is_claude: bool
    is_nova: bool
    thinks: Literal["claude", "nova", "gpt-oss", ""]
    takes_schemas: bool
    caches_tools: bool


def family_of(model: ModelFacts) -> Family:
    """The model's family by its id: `us.anthropic.claude-sonnet-4-6`, `amazon.nova-lite-v1:0`. The ARN of an inference
    profile of one's own does not say what is behind it, so there the catalog's name counts as well."""
    name = model.upstream_name
    if name.startswith("arn:"):
        name = f"{name.rpartition('/')[2]} {model.name}"
    if "claude" in name:
        return Family(name, True, False, "claude", generation_of(name).takes_schemas, True)
    is_nova = "amazon.nova" in name
    thinks: Literal["nova", "gpt-oss", ""] = ""
    if "nova-2-" in name:
        thinks = "nova"
    elif "gpt-oss" in name:
        thinks = "gpt-oss"
    return Family(name, False, is_nova, thinks, _WITHOUT_SCHEMAS.search(name) is None, False)

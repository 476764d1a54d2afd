"""Where vendors who speak OpenAI's chat format differ from OpenAI, known by their address or their models' names.

Sources: docs.mistral.ai and api-docs.deepseek.com, API references; Mistral answers 422 to fields it does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from routing.snapshot import ModelFacts

_OPENAIS = re.compile(r"(openai/)?(o\d|gpt-(?!oss)|chatgpt-)")


@dataclass(frozen=True, slots=True)
class Manners:
    """`knows_new_limit`: it understands `max_completion_tokens`. `wants_asking`: a stream says its usage only when
    `stream_options` asks for it; else it always does, and refuses the field."""

    knows_new_limit: bool = True
    wants_asking: bool = True
    seed: str = "seed"


_USUAL = Manners()
_BY_HOST = {
    "api.mistral.ai": Manners(knows_new_limit=False, wants_asking=False, seed="random_seed"),
    "api.deepseek.com": Manners(knows_new_limit=False),
}


def manners_of(model: ModelFacts) -> Manners:
    """How the vendor of `model` wants to be asked."""
    return _manners_at(model.base_url)


def limit_name(model: ModelFacts) -> str:
    """OpenAI's own models want the new name; many compatible vendors know only the old one, and would not limit."""
    is_openais = model.provider.has_responses or bool(_OPENAIS.match(model.upstream_name))
    return "max_completion_tokens" if is_openais else "max_tokens"


@lru_cache(maxsize=1_024)
def _manners_at(base_url: str) -> Manners:
    return _BY_HOST.get(urlsplit(base_url).hostname or "", _USUAL)

"""Which of OpenAI's models are served at /responses alone, known by their names. Elsewhere they are "only supported in
v1/responses and not in v1/chat/completions" (404).

Sources, read on 2026-11-29: litellm's model file (routing/data/NOTICE), in which their `mode` is `responses`:
routing/data/extract_catalog.py tells where it and this pattern disagree; and platform.openai.com, "Models", where each
has a page that names its endpoints.
"""

from __future__ import annotations

import re
from functools import lru_cache

_NAMES = re.compile(
    r"(^|/)((gpt-\d[\d.]*|o\d)-pro(-\d{4}-\d\d-\d\d)?$|gpt-\d[\d.]*-codex|codex-mini|o\d(-mini)?-deep-research"
    r"|computer-use-preview|gpt-daybreak-)"
)


@lru_cache(maxsize=4_096)
def is_named_only_at_responses(name: str) -> bool:
    """Whether /chat/completions does not know a model of OpenAI's that is called so."""
    return bool(_NAMES.search(name.casefold()))

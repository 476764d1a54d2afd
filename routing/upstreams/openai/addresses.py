"""Where a call in OpenAI's format is sent: the provider's address and the path of its kind, and whose it is.

Azure also answers at an address for each deployment, with the version of its API as a query:
`https://NAME.openai.azure.com/openai/deployments/{deployment}?api-version=2024-10-21`. Source: learn.microsoft.com,
"Azure OpenAI reference".
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, urlsplit, urlunsplit

DEPLOYMENT = "{deployment}"
# eu., us. and more: platform.openai.com, "Your data", read on 2026-11-29
_OPENAIS = re.compile(r"(^|\.)api\.openai\.com$")
_AZURES = re.compile(r"\.(openai|cognitiveservices|services\.ai)\.azure\.(com|us|cn)$")


@lru_cache(maxsize=1_024)
def address(base_url: str, path: str, upstream_name: str) -> str:
    """The URL for a call to `path` (`/chat/completions`): before the query, with the deployment's name in its place."""
    parts = urlsplit(base_url)
    root = parts.path.rstrip("/").replace(DEPLOYMENT, quote(upstream_name, safe=""))
    return urlunsplit(parts._replace(path=root + path))


@lru_cache(maxsize=1_024)
def host_of(base_url: str) -> str:
    """The host of a provider's address, "" without one."""
    return urlsplit(base_url).hostname or ""


def is_openais(host: str) -> bool:
    """Whether it is OpenAI's own, in whatever region."""
    return _OPENAIS.search(host) is not None


def is_azures(host: str) -> bool:
    """Whether it is Azure's, whose models are called by their deployments."""
    return _AZURES.search(host) is not None

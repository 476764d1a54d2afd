"""Where a call in OpenAI's format is sent: the provider's address and the path of its kind.

Azure also answers at an address for each deployment, with the version of its API as a query:
`https://NAME.openai.azure.com/openai/deployments/{deployment}?api-version=2024-10-21`. Source: learn.microsoft.com,
"Azure OpenAI reference".
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, urlsplit, urlunsplit

DEPLOYMENT = "{deployment}"


@lru_cache(maxsize=1_024)
def address(base_url: str, path: str, upstream_name: str) -> str:
    """The URL for a call to `path` (`/chat/completions`): before the query, with the deployment's name in its place."""
    parts = urlsplit(base_url)
    root = parts.path.rstrip("/").replace(DEPLOYMENT, quote(upstream_name, safe=""))
    return urlunsplit(parts._replace(path=root + path))

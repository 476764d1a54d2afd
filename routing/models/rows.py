"""What every row of the catalog shares: it moves the snapshot's version, and belongs to one tenant or to all."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from spendhub.snapshots import SnapshotRow

CATALOG_SNAPSHOT = "catalog"

_VERSION_ALONE = re.compile(r"(api-version=[A-Za-z0-9.-]+)?")

CAPABILITIES = (
    # What a vendor's interface can do.
    "tools", "vision", "json", "streaming", "reasoning", "audio", "files", "embeddings", "caching",
    # The recipe's words for what a model is good at.
    "code", "long-context", "analysis", "general", "chinese", "evaluation", "complex-reasoning",
    "creative", "math", "summarization", "translation",
)  # fmt: skip


def validate_base_url(value: str) -> None:
    """Raises ValidationError unless `value` is an http(s) address without user, fragment, and query but `api-version`.

    Not Django's URLField: that refuses plain host names, as in http://ollama:11434/v1. Azure's older addresses name the
    version of its API in a query; a key has no place there.
    """
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if (
        not is_usable
        or parts.username is not None
        or not _VERSION_ALONE.fullmatch(parts.query)
        or parts.fragment
        or not value.isprintable()
        or " " in value
    ):
        raise ValidationError(f"{value[:80]!r} is no address like https://api.openai.com/v1")


class CatalogRow(SnapshotRow):
    """A row behind the catalog snapshot: saving or deleting it moves the snapshot's version."""

    snapshot_name = CATALOG_SNAPSHOT

    class Meta:
        abstract = True

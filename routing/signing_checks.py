"""`manage.py check --database default` tells an operator that what signs the requests to a provider is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import Error as DatabaseProblem

from routing.credentials import read_keys
from routing.models import Provider
from routing.upstreams.bedrock.signing import PACKAGE, REQUIREMENTS, is_access_key


@register(Tags.database)
def check_signing(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """spendhub.W005: a provider's key is one that signs, and the package for it is not installed."""
    if "default" not in (databases or ()) or find_spec(PACKAGE) is not None:
        return []
    try:
        providers = Provider.objects.across_tenants().filter(dialect=Provider.Dialect.BEDROCK, is_enabled=True)
        names = sorted(row.name for row in providers if any(is_access_key(text) for text in _keys_of(row)))
    except DatabaseProblem:
        return []  # There are no tables yet, or no database: others tell.
    hint = f"pip install -r {REQUIREMENTS}, or give it an API key."
    return [
        Warning(f"Calls to {name} must be signed, and {PACKAGE} is not installed.", hint=hint, id="spendhub.W005")
        for name in names
    ]


def _keys_of(provider: Provider) -> Iterator[str]:
    yield os.environ.get(provider.api_key_env, "") if provider.api_key_env else ""
    held = read_keys()
    for keys in (held.by_provider, *held.own.values()):
        yield from (key.secret.reveal() for key in keys.get(provider.pk, ()) if key.secret is not None)

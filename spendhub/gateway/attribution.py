"""Who and what a gateway call is for: from our headers, the dialect's own fields, and the key's default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spendhub.gateway.exchange import Exchange
from spendhub.tenants.attribution import DIMENSIONS, Attribution, InvalidAttribution, clean_key

_HEADERS = tuple((dimension, f"x-spendhub-{dimension}".encode()) for dimension in DIMENSIONS)
_SCOPE_TYPE, _SCOPE_KEY = b"x-budget-scope-type", b"x-budget-scope-key"


def attribute(exchange: Exchange, user: Any, metadata: Any, default: Attribution) -> Attribution:
    """The attribution of one call, each dimension from the first that names it: `x-spendhub-*` headers, the
    recipe's `x-budget-scope-type` and `-key`, the body's `user` and `metadata`, the key's default.

    Raises InvalidAttribution for a key that no budget could have: a call is never let through
    without the attribution that was meant for it.
    """
    keys: dict[str, str] = {}
    headers = exchange.headers
    for dimension, name in _HEADERS:
        if name in headers:
            value = exchange.header(name)
            if value:
                keys[dimension] = clean_key(dimension, value)
    if _SCOPE_TYPE in headers or _SCOPE_KEY in headers:
        _add_scope(keys, exchange.header(_SCOPE_TYPE), exchange.header(_SCOPE_KEY))
    if user not in (None, "") and "user" not in keys:
        keys["user"] = clean_key("user", user)
    if isinstance(metadata, Mapping):
        for dimension in DIMENSIONS:
            value = metadata.get(dimension)
            if value not in (None, "") and dimension not in keys:
                keys[dimension] = clean_key(dimension, value)
    return Attribution(**keys).over(default) if keys else default


def _add_scope(keys: dict[str, str], scope_type: str | None, scope_key: str | None) -> None:
    if not scope_type or not scope_key:
        raise InvalidAttribution("x-budget-scope-type and -key come together", field="x-budget-scope-type")
    if scope_type not in DIMENSIONS:
        raise InvalidAttribution(
            f"x-budget-scope-type {scope_type[:40]!r} is none of {', '.join(DIMENSIONS)}", field="x-budget-scope-type"
        )
    keys.setdefault(scope_type, clean_key(scope_type, scope_key))

"""Who and what a gateway call is for: from our headers, the dialect's own fields, and the key's default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.upstreams.base import MESSAGES, Wire
from spendhub.gateway.exchange import Exchange
from spendhub.gateway.our_headers import DIMENSION_HEADERS, check_names
from spendhub.tenants.attribution import DIMENSIONS, Attribution, InvalidAttribution, clean_key

_SCOPE_TYPE, _SCOPE_KEY = b"x-budget-scope-type", b"x-budget-scope-key"


def attribute(
    exchange: Exchange,
    user: Any,
    metadata: Any,
    default: Attribution,
    *,
    wire: Wire | None = None,
    metadata_field: str = "metadata",
) -> Attribution:
    """The attribution of one call, each dimension from the first that names it: `x-spendhub-*` headers, the
    recipe's `x-budget-scope-type` and `-key`, the body's `user` and `metadata`, the key's default.

    Raises InvalidAttribution for a key that no budget could have, named as it is written in a body of `wire` whose
    metadata is called `metadata_field`, and InvalidDemand for a header of ours that nobody knows: a call is never let
    through without the attribution that was meant for it.
    """
    keys: dict[str, str] = {}
    headers = exchange.headers
    check_names(headers)
    for dimension, name in DIMENSION_HEADERS:
        if name in headers:
            value = exchange.header(name)
            if value:
                keys[dimension] = clean_key(name.decode(), value)
    if _SCOPE_TYPE in headers or _SCOPE_KEY in headers:
        _add_scope(keys, exchange.header(_SCOPE_TYPE), exchange.header(_SCOPE_KEY))
    if user not in (None, "") and "user" not in keys:
        keys["user"] = clean_key("metadata.user_id" if wire == MESSAGES else "user", user)
    if isinstance(metadata, Mapping):
        for dimension in DIMENSIONS:
            value = metadata.get(dimension)
            if value not in (None, "") and dimension not in keys:
                keys[dimension] = clean_key(f"{metadata_field}.{dimension}", value)
    return Attribution(**keys).over(default) if keys else default


def _add_scope(keys: dict[str, str], scope_type: str | None, scope_key: str | None) -> None:
    if not scope_type or not scope_key:
        raise InvalidAttribution("x-budget-scope-type and -key come together", field="x-budget-scope-type")
    if scope_type not in DIMENSIONS:
        raise InvalidAttribution(
            f"x-budget-scope-type {scope_type[:40]!r} is none of {', '.join(DIMENSIONS)}", field="x-budget-scope-type"
        )
    keys.setdefault(scope_type, clean_key(_SCOPE_KEY.decode(), scope_key))

"""Under which name calls count for a model or a provider that goes by several."""

from __future__ import annotations

from difflib import get_close_matches

from budgets.models import ScopeType
from routing.snapshot import CATALOG


def counted_as(tenant_id: int, scope_type: str, key: str) -> str:
    """The scope key under which calls count for `key`: of a model that the account's catalog knows by it (by an alias,
    in another case), and of a provider that it knows in another case, the catalog's own name. Any other is its own.

    A name that the catalog does not know stays what it is: calls that are checked and reported over the API may be for
    models of the caller's own. docs/budgets.md, "Which budgets apply"."""
    if key in ("*", ""):
        return key
    if scope_type == ScopeType.MODEL:
        model = CATALOG.current().resolve(tenant_id, key)
        return key if model is None else model.name
    if scope_type == ScopeType.PROVIDER:
        return CATALOG.current().provider_called(tenant_id, key) or key
    return key


def near_names(tenant_id: int, scope_type: str, key: str) -> list[str] | None:
    """Names of the account's catalog that look like `key`, at most three, where it has none for a model or provider
    called that; None where it has, and for other scopes."""
    if key == "*" or scope_type not in (ScopeType.MODEL, ScopeType.PROVIDER):
        return None
    catalog = CATALOG.current()
    if scope_type == ScopeType.MODEL:
        is_known = catalog.resolve(tenant_id, key) is not None
        names = [model.name for model in catalog.models_of(tenant_id)]
    else:
        is_known = catalog.provider_called(tenant_id, key) is not None
        names = [provider.name for provider in catalog.providers if provider.tenant_id in (None, tenant_id)]
    if is_known:
        return None
    by_folded = {name.casefold(): name for name in names}
    return [by_folded[near] for near in get_close_matches(key.casefold(), by_folded, 3)]

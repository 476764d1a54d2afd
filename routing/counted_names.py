"""Names that something counts calls by: a model or a provider that took one would draw its calls away, unsaid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from routing.model_uses import ModelUse, uses_of_models
from routing.models import Model
from routing.snapshot import Catalog
from spendhub.tenants.models import Tenant


def problems_of_counted_names(
    catalog: Catalog, tenant_id: int | None, row: Model | None, *, name: str, aliases: Sequence[str], provider: str
) -> dict[str, list[str]]:
    """What is wrong, by field, with calling a model of `tenant_id` (None: a shared one) so from now on, because calls
    for one of these words count under that word, and would count for the model then. `row` is the model as it is
    stored, None for a new one."""
    in_full = "name" if row is None or name != row.name else "provider"
    words = ((in_full, f"{provider}/{name}"), ("name", name), *(("aliases", alias) for alias in aliases))
    field_of = {word.casefold(): (field, word) for field, word in words}
    problems: dict[str, list[str]] = {}
    for use, counted in _counted_by_models_name(catalog, tenant_id):
        if counted != name and counted.casefold() in field_of:
            field, word = field_of[counted.casefold()]
            problems.setdefault(field, []).append(told_of_counting(use, word, name, of_shared=tenant_id is None))
    return problems


def problem_of_drawing_calls(catalog: Catalog, uses: Iterable[ModelUse], tenant_id: int | None, name: str) -> str:
    """What is wrong with calling a provider of `tenant_id` (None: a shared one) so from now on, as a sentence's words,
    where these are the tenant's `uses`; "" for nothing: in another case it is what something counts by, where the
    catalog has no such provider yet."""
    for use in uses:
        for key in use.counted_providers:
            is_unknown = catalog.provider_called(use.tenant_id, key) is None
            if key != name and key.casefold() == name.casefold() and is_unknown:
                return told_of_counting(use, name, name, of_shared=tenant_id is None)
    return ""


def _counted_by_models_name(catalog: Catalog, tenant_id: int | None) -> Iterator[tuple[ModelUse, str]]:
    """Words under which calls count, and that no model is called exactly: a model of that very name stands before any
    alias. Who counts by what is another name already counts nothing that could be lost."""
    for use in uses_of_models(tenant_id):
        view = catalog.view(use.tenant_id)
        for word in sorted(use.counted_names):
            found = view.resolve(word)
            if word not in view.models and (found is None or found.name == word):
                yield use, word


def told_of_counting(use: ModelUse, word: str, counted_as: str, *, of_shared: bool) -> str:
    """That calls for `word`, by which the use counts, would count for `counted_as`: as a sentence's words."""
    # Names of accounts are for the operator, who alone edits shared rows.
    account = Tenant.objects.get(pk=use.tenant_id) if of_shared and use.tenant_id is not None else None
    who = use.words if account is None else f"{use.words} of {account.name}"
    return (
        f"{word[:120]!r} is what {who} counts by, which would see no more calls: they would count for "
        f"{counted_as[:120]!r}"
    )

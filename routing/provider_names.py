"""What a provider may be called: nothing that something counts by, and nothing else while something names it."""

from __future__ import annotations

from collections.abc import Iterator

from routing.counted_names import problem_of_drawing_calls
from routing.model_names import told_uses, uses_of_model_at
from routing.model_uses import ModelUse, uses_of_models
from routing.models import Model, Provider
from routing.snapshot import CATALOG, Catalog


def problem_of_provider_name(tenant_id: int | None, row: Provider | None, name: str) -> str:
    """What is wrong with calling a provider of `tenant_id` (None: a shared one) so from now on, as a sentence's words;
    "" for nothing. `row` is the provider as it is stored, None for a new one. Nothing is wrong with a name that
    stays as it is."""
    if row is not None and row.name == name:
        return ""
    if problem := problem_of_drawing_calls(tenant_id, name):
        return problem
    uses = [] if row is None else list(dict.fromkeys(_broken_uses(CATALOG.refresh(), row, name)))
    return told_uses(row, uses, " as it is called now") if row is not None and uses else ""


def _broken_uses(catalog: Catalog, row: Provider, name: str) -> Iterator[ModelUse]:
    for use in uses_of_models(row.tenant_id):
        # In another case what counts by the provider finds it under its new name as well.
        counted = (key for key in use.counted_providers if key.casefold() != name.casefold())
        if any(catalog.provider_called(use.tenant_id, key) == row.name for key in counted):
            yield use
    for model in Model.objects.across_tenants().filter(provider=row).select_related("provider").order_by("name"):
        yield from uses_of_model_at(catalog, model, name)

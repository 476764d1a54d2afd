"""What a provider may be called: nothing that something counts by, and nothing else while something names it.

A provider's name is part of other names: `provider/model` is a model, `provider/*` all of a provider's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.models import Q

from routing.counted_names import problem_of_drawing_calls, told_of_counting
from routing.model_names import told_uses
from routing.model_uses import ModelUse, uses_of_models
from routing.models import Model, Provider
from routing.snapshot import CATALOG, Catalog


def problem_of_provider_name(tenant_id: int | None, row: Provider | None, name: str) -> str:
    """What is wrong with calling a provider of `tenant_id` (None: a shared one) so from now on, as a sentence's words;
    "" for nothing. `row` is the provider as it is stored, None for a new one. Nothing is wrong with a name that
    stays as it is."""
    if row is not None and row.name == name:
        return ""
    catalog, uses = CATALOG.refresh(), uses_of_models(tenant_id)
    drawn = problem_of_drawing_calls(catalog, uses, tenant_id, name) or _problem_of_another_case(tenant_id, row, name)
    if row is None:
        return drawn
    if broken := [use for use in uses if _is_broken(catalog, row, use)]:
        return told_uses(row, broken, " as it is called now")
    return drawn or _problem_of_models_names(catalog, row, uses, name)


def _problem_of_another_case(tenant_id: int | None, row: Provider | None, name: str) -> str:
    """Two that differ in case alone are one to people, and two to whatever goes by a provider's name."""
    seen = Provider.objects.across_tenants().filter(Q(tenant=None) | Q(tenant=tenant_id), name__iexact=name)
    others = seen.exclude(name=name) if row is None else seen.exclude(name=name).exclude(pk=row.pk)
    other = others.order_by("tenant", "pk").first()
    if other is None:
        return ""
    whose = "the shared" if other.tenant_id is None else "your"
    return (
        f"{name!r} differs in case alone from {whose} provider {other.name!r}: take another name, or that one to the "
        "letter"
    )


def _is_broken(catalog: Catalog, row: Provider, use: ModelUse) -> bool:
    # In another case too: what counts by a name counts by its very letters.
    if any(catalog.provider_called(use.tenant_id, key) == row.name for key in use.counted_providers):
        return True
    view = catalog.view(use.tenant_id)
    for word in (*use.names, *use.own_names, *use.counted_names):
        provider, _, model = word.partition("/")
        if not model or provider.casefold() != row.name.casefold():
            continue
        if model == "*":
            return True
        # A model's own name may have such a stroke as well.
        found = view.resolve(word)
        if found is not None and found.provider.id == row.pk and found.name.casefold() == model.casefold():
            return True
    return False


def _problem_of_models_names(catalog: Catalog, row: Provider, uses: Sequence[ModelUse], name: str) -> str:
    """What is wrong with what the provider's models are called in full then."""
    becomes = {
        f"{name}/{model}".casefold(): model
        for model in Model.objects.across_tenants().filter(provider=row).values_list("name", flat=True)
    }
    for use in uses:
        for word in sorted(use.counted_names):
            model = becomes.get(word.casefold())
            if model is not None and word not in catalog.view(use.tenant_id).models:
                return told_of_counting(use, word, model, of_shared=row.tenant_id is None)
    for word, other in _names_of_others(row):
        if word.casefold() in becomes:
            return f"{word[:120]!r}, which {becomes[word.casefold()]!r} would be called in full, is {other}"
    return ""


def _names_of_others(row: Provider) -> Iterator[tuple[str, str]]:
    """Names with a stroke of models elsewhere, each with what it is; of one account's provider those that it sees."""
    others = Model.objects.across_tenants().exclude(provider=row).order_by("name")
    seen = others if row.tenant_id is None else others.filter(Q(tenant=None) | Q(tenant=row.tenant_id))
    for model in seen.only("name", "aliases"):
        if "/" in model.name:
            yield model.name, f"the name of the model {model.name!r}"
        for alias in model.aliases:
            if "/" in alias:
                yield alias, f"an alias of the model {model.name!r}"

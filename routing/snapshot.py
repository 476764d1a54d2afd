"""The catalog as every process holds it: immutable, per tenant, looked up without a query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from routing.compiled_prices import compile_prices, default_price
from routing.credentials import KeyFacts, read_keys
from routing.errors import UnpricedModel
from routing.model_facts import ModelFacts, ProviderFacts, Quote
from routing.models import CAPABILITIES, CATALOG_SNAPSHOT, Model, Price, Provider
from routing.pricing import PriceTable
from routing.routes import NO_ROUTES, RouteBook, read_routes
from spendhub.snapshots import Snapshot

# For whoever may not import rows: the data plane.
KNOWN_CAPABILITIES = CAPABILITIES


class CatalogView:
    """What one tenant sees: the shared rows, and before them its own."""

    def __init__(self, models: Iterable[ModelFacts]) -> None:
        # A tenant's own rows come last so that they replace shared rows of the same name.
        ordered = sorted(models, key=lambda model: (model.tenant_id is not None, model.name))
        self.models = _with_names_of_shared(ordered)
        self._names: dict[str, ModelFacts] = {}
        for model in ordered:
            seen = self.models[model.name]
            is_hidden = seen.tenant_id != model.tenant_id
            for name in (*model.aliases, model.full_name):
                self._names[name] = model if is_hidden and name not in seen.stands_for else seen
        self._names.update(self.models)
        self._folded = {name.casefold(): model for name, model in self._names.items()}
        self._folded.update({name.casefold(): model for name, model in self.models.items()})
        self._wildcards = sorted(
            ((name[:-1].casefold(), model) for name, model in self.models.items() if model.is_wildcard),
            key=lambda wildcard: -len(wildcard[0]),
        )

    def knows(self, name: str) -> bool:
        """Whether `name` is a model's or an alias, in whatever case; a wildcard does not know whom it catches."""
        return name in self._names or name.casefold() in self._folded

    def resolve(self, name: str) -> ModelFacts | None:
        """The model called `name`: by its name, an alias, either in another case, or the longest wildcard."""
        found = self._names.get(name)
        if found is not None:
            return found
        folded = name.casefold()
        found = self._folded.get(folded)
        if found is not None:
            return found
        for prefix, model in self._wildcards:
            if folded.startswith(prefix):
                return replace(model, name=name, upstream_name=name)
        return None


def _with_names_of_shared(ordered: Sequence[ModelFacts]) -> dict[str, ModelFacts]:
    """By name: a tenant's own models, each with the names that it takes over, and the shared ones that none hides."""
    seen = {model.name: model for model in ordered}
    taken_over: dict[str, set[str]] = {}
    called = {name: model.name for model in ordered if model.tenant_id is not None for name in _names_of(model)}
    called.update((name, name) for name in seen)
    for model in ordered:
        own = seen[model.name]
        if model.tenant_id is None and own.tenant_id is not None:
            names = (name for name in _names_taken_over(model, own) if called.get(name, own.name) == own.name)
            taken_over.setdefault(own.name, set()).update(names)
    for name, model in seen.items():
        stands_for = frozenset(taken_over.get(name, ()))
        if stands_for != model.stands_for:
            seen[name] = replace(model, stands_for=stands_for)
    return seen


def _names_of(model: ModelFacts) -> tuple[str, ...]:
    return (model.name, *model.aliases, model.full_name)


def _names_taken_over(shared: ModelFacts, own: ModelFacts) -> tuple[str, ...]:
    # In full the shared one is still called at its own provider, unless the tenant wants no such model at all.
    return shared.aliases if own.is_enabled else (*shared.aliases, shared.full_name)


class _ProviderNames:
    """Once per version of the catalog: every span that names a provider is looked up here."""

    def __init__(self, providers: Iterable[ProviderFacts]) -> None:
        self._exact: set[tuple[int | None, str]] = set()
        self._folded: dict[tuple[int | None, str], str] = {}
        for provider in providers:
            self._exact.add((provider.tenant_id, provider.name))
            self._folded.setdefault((provider.tenant_id, provider.name.casefold()), provider.name)

    def find(self, tenant_id: int | None, name: str) -> str | None:
        if (tenant_id, name) in self._exact or (None, name) in self._exact:
            return name
        folded = name.casefold()
        return self._folded.get((tenant_id, folded)) or self._folded.get((None, folded))


class Catalog:
    """All providers, models and prices of the installation at one version. Never changes."""

    def __init__(
        self,
        providers: Iterable[ProviderFacts],
        models: Iterable[ModelFacts],
        own_prices: dict[int, dict[int, PriceTable]],
        routes: RouteBook = NO_ROUTES,
        own_keys: Mapping[int, Mapping[int, tuple[KeyFacts, ...]]] | None = None,
    ) -> None:
        """`own_prices`: per tenant and model id, the tenant's own prices for it; `own_keys`: per tenant and id of a
        shared provider, the tenant's own keys for it."""
        self.providers = tuple(providers)
        self._provider_names = _ProviderNames(self.providers)
        self.routes = routes
        self._models = tuple(models)
        self._own_prices = own_prices
        self._own_keys = own_keys or {}
        self._shared = CatalogView(model for model in self._models if model.tenant_id is None)
        self._tenants_with_own_rows = (
            {model.tenant_id for model in self._models}
            | {provider.tenant_id for provider in self.providers}
            | set(own_prices)
            | set(self._own_keys)
        ) - {None}
        self._views: dict[int, CatalogView] = {}

    def view(self, tenant_id: int | None) -> CatalogView:
        """What tenant `tenant_id` sees."""
        if tenant_id is None or tenant_id not in self._tenants_with_own_rows:
            return self._shared
        found = self._views.get(tenant_id)
        if found is None:
            # Two threads may both build it; they build the same.
            found = self._views[tenant_id] = CatalogView(self._seen_by(tenant_id))
        return found

    def resolve(self, tenant_id: int | None, name: str) -> ModelFacts | None:
        """The model that `name` (or alias) means for this tenant; switched-off models are found too."""
        return self.view(tenant_id).resolve(name)

    def context_of(self, tenant_id: int | None, name: str) -> int | None:
        """How many tokens the model takes that `name` (or alias) means for this tenant; None where it is no model's
        name, or nobody has noted that."""
        model = self.resolve(tenant_id, name)
        return None if model is None else model.context_tokens

    def provider_called(self, tenant_id: int | None, name: str) -> str | None:
        """The name of this tenant's or the shared provider that is called so, in whatever case: the exact one before
        another case, one's own before a shared one. None where there is none."""
        return self._provider_names.find(tenant_id, name)

    def models_of(self, tenant_id: int | None) -> list[ModelFacts]:
        """Every model this tenant sees, by name, wildcards included."""
        return sorted(self.view(tenant_id).models.values(), key=lambda model: model.name)

    def quote(
        self, tenant_id: int | None, name: str, moment: datetime, *, unpriced_models: str, service_tier: str = ""
    ) -> Quote:
        """The price at which a call of `name` counts at `moment`, in that service tier.

        `unpriced_models` is the tenant's setting: with "default", a model without a price gets
        the installation's default price (where one is set), marked as estimated; else UnpricedModel is raised.
        """
        model = self.resolve(tenant_id, name)
        price = model.price_at(moment) if model is not None else None
        if price is not None:
            return Quote(model, price, is_estimated=False).in_tier(service_tier, moment)
        default = default_price() if unpriced_models == "default" else None
        if default is None:
            raise UnpricedModel(name)
        return Quote(model, default, is_estimated=True).in_tier(service_tier, moment)

    def _seen_by(self, tenant_id: int) -> list[ModelFacts]:
        own_providers = {provider.name: provider for provider in self.providers if provider.tenant_id == tenant_id}
        own_prices, own_keys = self._own_prices.get(tenant_id, {}), self._own_keys.get(tenant_id, {})
        seen = []
        for model in self._models:
            if model.tenant_id not in (None, tenant_id):
                continue
            own = own_prices.get(model.id)
            if own is not None and model.tenant_id is None:
                model = replace(model, prices=own.before(model.prices))
            provider = own_providers.get(model.provider.name)
            if provider is not None and model.tenant_id is None:
                # Whole: an address or key that the installation gave this model is not the tenant's.
                model = replace(model, provider=provider, own_base_url="", own_api_key_env="")
            keys = own_keys.get(model.provider.id)
            if keys is not None:
                model = replace(model, provider=replace(model.provider, credentials=keys, api_key_env=""))
            seen.append(model)
        return seen


def build_catalog() -> Catalog:
    """Reads the catalog of the whole installation: five queries."""
    keys = read_keys()
    providers = {
        row.pk: _provider_facts(row, keys.by_provider.get(row.pk, ())) for row in Provider.objects.across_tenants()
    }
    shared_prices: dict[int, list[Price]] = {}
    own_prices: dict[int, dict[int, list[Price]]] = {}
    for price in Price.objects.across_tenants():
        if price.tenant_id is None:
            shared_prices.setdefault(price.model_id, []).append(price)
        else:
            own_prices.setdefault(price.tenant_id, {}).setdefault(price.model_id, []).append(price)
    models = [
        _model_facts(row, providers[row.provider_id], compile_prices(shared_prices.get(row.pk, [])))
        for row in Model.objects.across_tenants().order_by("name")
    ]
    own_tables = {
        tenant_id: {model_id: compile_prices(rows) for model_id, rows in by_model.items()}
        for tenant_id, by_model in own_prices.items()
    }
    # A tenant's own model has its prices among the own ones; they are its only ones.
    models = [
        replace(model, prices=own_tables[model.tenant_id][model.id])
        if model.tenant_id in own_tables and model.id in own_tables[model.tenant_id]
        else model
        for model in models
    ]
    return Catalog(providers.values(), models, own_tables, read_routes(), keys.own)


def _provider_facts(row: Provider, keys: tuple[KeyFacts, ...]) -> ProviderFacts:
    return ProviderFacts(
        row.pk,
        row.tenant_id,
        row.name,
        row.dialect,
        row.base_url,
        row.api_key_env,
        row.timeout_seconds,
        row.is_enabled,
        row.auth_header,
        row.has_responses,
        keys,
    )


def _model_facts(row: Model, provider: ProviderFacts, prices: PriceTable) -> ModelFacts:
    return ModelFacts(
        id=row.pk,
        tenant_id=row.tenant_id,
        name=row.name,
        upstream_name=row.upstream_name or row.name,
        provider=provider,
        kind=row.kind,
        quality=row.quality,
        capabilities=frozenset(row.capabilities),
        context_tokens=row.context_tokens,
        max_output_tokens=row.max_output_tokens,
        is_enabled=row.is_enabled,
        retires_at=row.retires_at,
        prices=prices,
        own_base_url=row.base_url,
        own_api_key_env=row.api_key_env,
        aliases=tuple(row.aliases),
        region=row.region,
    )


CATALOG = Snapshot(CATALOG_SNAPSHOT, build_catalog)

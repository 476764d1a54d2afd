"""The catalog as every process holds it: immutable, per tenant, looked up without a query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.conf import settings

from routing.credentials import KeyFacts, read_keys
from routing.errors import UnpricedModel
from routing.models import CAPABILITIES, CATALOG_SNAPSHOT, Model, Price, Provider
from routing.pricing import CompiledPrice, PriceTable, Rates, flat_price
from routing.routes import NO_ROUTES, RouteBook, read_routes
from routing.service_tiers import STANDARD
from spendhub.snapshots import Snapshot

# For whoever may not import rows: the data plane.
KNOWN_CAPABILITIES = CAPABILITIES

# The catalog's id, None for a name that it does not know, and the name in folded letters.
ModelIdentity = tuple[int | None, str]


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """A provider as calls need it."""

    id: int
    tenant_id: int | None
    name: str
    dialect: str
    base_url: str
    api_key_env: str
    timeout_seconds: int
    is_enabled: bool
    auth_header: str = "authorization"
    has_responses: bool = False
    # In a tenant's view its own keys stand in place of the installation's; see routing/key_choice.py.
    credentials: tuple[KeyFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as calls need it. `name` is the catalog's; `upstream_name` is what its vendor is asked for.

    `stands_for` are names of a shared model that lead to this one, a tenant's own that stands before it. `listed_as` is
    what an allow or deny list may call it, in folded letters: its name, an alias, one of those, `provider/name`, or
    `provider/*`."""

    id: int
    tenant_id: int | None
    name: str
    upstream_name: str
    provider: ProviderFacts
    kind: str
    quality: str
    capabilities: frozenset[str]
    context_tokens: int | None
    max_output_tokens: int | None
    is_enabled: bool
    retires_at: datetime | None
    prices: PriceTable
    own_base_url: str = ""
    own_api_key_env: str = ""
    aliases: tuple[str, ...] = ()
    region: str = ""
    stands_for: frozenset[str] = frozenset()
    listed_as: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once per version of the catalog: a call that has such a list looks at every model.
        names = (self.name, *self.aliases, *self.stands_for, self.full_name, f"{self.provider.name}/*")
        object.__setattr__(self, "listed_as", frozenset(name.casefold() for name in names))

    @property
    def full_name(self) -> str:
        """What it is called in full: `provider/name`."""
        return f"{self.provider.name}/{self.name}"

    @property
    def identity(self) -> ModelIdentity:
        """What is equal for two names that mean the same model, and for no others. A wildcard stands for as many models
        as it catches names, in whatever letter case."""
        return self.id, self.name.casefold()

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for whatever its name catches, and so for no model that could be called."""
        return self.name.endswith("*")

    @property
    def owner_id(self) -> int | None:
        """The tenant whose own it is, or whose provider it is called at; None for one that all share."""
        return self.tenant_id if self.tenant_id is not None else self.provider.tenant_id

    @property
    def base_url(self) -> str:
        """Where its calls go."""
        return self.own_base_url or self.provider.base_url

    @property
    def api_key_env(self) -> str:
        """The variable that holds the key for its calls, "" when none is sent.

        The installation's key never goes to an address that a tenant has chosen.
        """
        if self.own_api_key_env:
            return self.own_api_key_env
        return "" if self._is_sent_elsewhere else self.provider.api_key_env

    @property
    def credentials(self) -> tuple[KeyFacts, ...]:
        """The provider's keys that may go with its calls. None where it needs another one (`own_api_key_env`), and,
        as with `api_key_env`, none to an address that a tenant has chosen for a model of a shared provider."""
        return () if self.own_api_key_env or self._is_sent_elsewhere else self.provider.credentials

    @property
    def _is_sent_elsewhere(self) -> bool:
        return bool(self.own_base_url) and self.tenant_id is not None and self.provider.tenant_id is None

    def price_at(self, moment: datetime) -> CompiledPrice | None:
        """Its price at `moment` (aware UTC), None when it has none then."""
        return self.prices.at(moment)

    def unavailable_because(self) -> str | None:
        """Why it may not be called; None when it may.

        A retirement date does not stop a call: the dates we hold are second-hand, and the vendor's own
        refusal is free.
        """
        if not self.is_enabled:
            return "it is switched off"
        if not self.provider.is_enabled:
            return f"its provider {self.provider.name} is switched off"
        return None


@dataclass(frozen=True, slots=True)
class Quote:
    """The price a call will be counted at. `model` is None for a name that the catalog does not know."""

    model: ModelFacts | None
    price: CompiledPrice
    is_estimated: bool

    def in_tier(self, tier: str, moment: datetime) -> Quote:
        """The quote for a call in that service tier at `moment` (aware UTC): at the tier's own price, else this one,
        then marked as estimated."""
        if not tier:
            return self
        price = self.model.prices.at(moment, tier) if self.model is not None else None
        if price is None:
            return replace(self, is_estimated=True)
        return replace(self, price=price, is_estimated=False)


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


def default_price() -> CompiledPrice | None:
    """What a token of an unpriced model costs, from DEFAULT_INPUT/OUTPUT_COST_PER_MILLION.

    None unless both are set: half a price would count half of the cost.
    """
    input_rate, output_rate = settings.DEFAULT_INPUT_NANO_USD_PER_MTOK, settings.DEFAULT_OUTPUT_NANO_USD_PER_MTOK
    if input_rate is None or output_rate is None:
        return None
    return flat_price(input_rate, output_rate)


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


def compile_prices(rows: Iterable[Price]) -> PriceTable:
    """A table of price rows of one model and owner, each service tier apart.

    At any moment each context size has the row that began last; those rows are the tiers of one
    price. A price for part of the day is asked before one for the whole day.
    """
    by_tier: dict[str, list[Price]] = {}
    for row in rows:
        by_tier.setdefault(row.service_tier, []).append(row)
    standard = _compile_tier(by_tier.pop(STANDARD, ()))
    if not by_tier:
        return PriceTable(standard)
    return PriceTable(standard, {tier: _compile_tier(tier_rows) for tier, tier_rows in by_tier.items()})


def _compile_tier(rows: Iterable[Price]) -> tuple[CompiledPrice, ...]:
    by_hours: dict[tuple[int, int], list[Price]] = {}
    for row in rows:
        by_hours.setdefault((row.daily_from_minute, row.daily_until_minute), []).append(row)
    compiled = []
    for (from_minute, until_minute), group in by_hours.items():
        moments = {row.valid_from for row in group} | {row.valid_until for row in group if row.valid_until is not None}
        starts = sorted(moments)
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            live = [
                row for row in group if row.valid_from <= start and (row.valid_until is None or row.valid_until > start)
            ]
            by_size = {row.min_context_tokens: row for row in sorted(live, key=lambda row: row.valid_from)}
            if by_size:
                tiers = tuple(_rates(by_size[size]) for size in sorted(by_size, reverse=True))
                compiled.append(CompiledPrice(tiers, start, end, from_minute, until_minute))
    compiled.sort(key=_asked_first, reverse=True)
    return tuple(compiled)


def _asked_first(price: CompiledPrice) -> tuple[bool, datetime]:
    assert price.valid_from is not None
    return (price.daily_until_minute - price.daily_from_minute < 1440, price.valid_from)


def _rates(row: Price) -> Rates:
    return Rates(
        input=row.input_nano_usd_per_mtok,
        output=row.output_nano_usd_per_mtok,
        cache_read=row.cache_read_nano_usd_per_mtok,
        cache_write=row.cache_write_nano_usd_per_mtok,
        cache_write_1h=row.cache_write_1h_nano_usd_per_mtok,
        reasoning=row.reasoning_nano_usd_per_mtok,
        above_tokens=row.min_context_tokens,
        web_search=row.web_search_nano_usd_per_thousand,
    )


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

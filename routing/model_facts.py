"""A model and its provider as calls need them: no rows, and safe to hold for as long as a call takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from routing.credentials import KeyFacts
from routing.pricing import CompiledPrice, PriceTable

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

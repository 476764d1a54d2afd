"""What names of models mean to a tenant: a rule and a call may each name a model by any name that the catalog has."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from budgets.snapshot import DowngradeRule
from routing.model_facts import ModelIdentity
from routing.snapshot import CATALOG, Catalog

# A rule may name a hundred models, and is asked with every call above its soft cap: once per version of the catalog.
_giving_way: WeakKeyDictionary[Catalog, dict[tuple[int, frozenset[str]], frozenset[ModelIdentity]]] = (
    WeakKeyDictionary()
)


@dataclass(frozen=True, slots=True)
class KnownModels:
    """One tenant's models as the catalog has them at one version. Nothing here asks the database."""

    tenant_id: int
    catalog: Catalog

    def meant(self, name: str) -> ModelIdentity:
        """The model that is called `name`; for a name that the catalog does not know, that name in any letter case: of
        a route, or of a caller's own model."""
        model = self.catalog.resolve(self.tenant_id, name)
        return (None, name.casefold()) if model is None else model.identity

    def all_meant(self, names: Iterable[str]) -> frozenset[ModelIdentity]:
        """The models that are called so."""
        return frozenset(map(self.meant, names))

    def is_known(self, name: str) -> bool:
        """Whether a model is called so, and may be called."""
        model = self.catalog.resolve(self.tenant_id, name)
        return model is not None and model.unavailable_because() is None

    def next_rule(
        self, rules: Iterable[DowngradeRule], asked: Set[ModelIdentity], tried: Set[ModelIdentity]
    ) -> DowngradeRule | None:
        """The first rule by which one of the models `asked` gives way to a known one that was not `tried`."""
        for rule in rules:
            is_new = self.meant(rule.to) not in tried
            if is_new and self._gives_way(rule, asked) and self.is_known(rule.to):
                return rule
        return None

    def _gives_way(self, rule: DowngradeRule, asked: Set[ModelIdentity]) -> bool:
        if rule.is_for_any:
            return True
        known = _giving_way.setdefault(self.catalog, {})
        key = self.tenant_id, rule.from_models
        found = known.get(key)
        if found is None:
            found = known[key] = self.all_meant(rule.from_models)
        return not asked.isdisjoint(found)


def known_models(tenant_id: int) -> KnownModels:
    """The tenant's models as this process knows them now."""
    return KnownModels(tenant_id, CATALOG.current())

"""How vendors are doing, as this process knows: each model's breaker, and what its recent calls were like.

Breakers belong to the whole installation; a tenant sees those of the models in its own catalog, by the catalog's
names, and so learns nothing of what others have asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings

from routing.breakers import Circuit, breaker_key_of
from routing.performance import UNMEASURED, Observed, observed_at
from routing.snapshot import Catalog

_CLOSED = Circuit()
_TROUBLE_FIRST = {"open": 0, "half-open": 1, "closed": 2}


@dataclass(frozen=True, slots=True)
class Health:
    """One model's. `tenant_id` is whose breaker it is, None for the installation's."""

    key: str
    tenant_id: int | None
    provider: str
    model: str
    circuit: Circuit
    observed: Observed

    @property
    def since(self) -> datetime | None:
        """When its breaker last changed; None when it never has."""
        return datetime.fromtimestamp(self.circuit.changed_at, UTC) if self.circuit.changed_at else None

    @property
    def probe_at(self) -> datetime | None:
        """From when on a call may try the vendor again; None unless it is open, or when a person must close it."""
        if self.circuit.state != "open" or self.circuit.is_forced or self.since is None:
            return None
        return self.since + timedelta(seconds=settings.BREAKER_OPEN_SECONDS)

    @property
    def tells(self) -> bool:
        """Whether there is anything to say of it: it has been called, or its breaker has counted something."""
        return self.circuit != _CLOSED or self.observed.calls > 0


def health_of_models(catalog: Catalog, standing: Mapping[str, Circuit], tenant_id: int | None) -> list[Health]:
    """Of every model that the tenant sees (None: of all shared ones, and every breaker there is); trouble first."""
    found = {health.key: health for health in _of_catalog(catalog, standing, tenant_id)}
    if tenant_id is None:
        found.update({key: _of_key(key, circuit) for key, circuit in standing.items() if key not in found})
    return sorted(found.values(), key=_most_telling)


def _of_catalog(catalog: Catalog, standing: Mapping[str, Circuit], tenant_id: int | None) -> Iterator[Health]:
    for model in catalog.models_of(tenant_id):
        key = breaker_key_of(model)
        circuit, observed = standing.get(key, _CLOSED), observed_at(model, tenant_id)
        yield Health(key, model.owner_id, model.provider.name, model.name, circuit, observed)


def _of_key(key: str, circuit: Circuit) -> Health:
    head, _, model = key.partition("/")
    owner, _, provider = head.rpartition(":")
    return Health(key, int(owner) if owner else None, provider, model, circuit, UNMEASURED)


def _most_telling(health: Health) -> tuple[int, int, int, str]:
    circuit = health.circuit
    return (_TROUBLE_FIRST[circuit.state], -circuit.failures, -health.observed.calls, health.key)

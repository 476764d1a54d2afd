"""Which models may answer a call, in the order in which they are tried.

Plain for now: the named model, or what its alias stands for. Strategies (cheapest, fastest, `auto` ...)
will return more than one candidate here; whoever executes them tries one after the other already.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from routing.errors import ModelNotAvailable, UnknownModel
from routing.snapshot import Catalog, ModelFacts, Quote


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may answer, and the price it would count at."""

    model: ModelFacts
    quote: Quote


def find_candidates(
    catalog: Catalog, tenant_id: int, name: str, now: datetime, *, unpriced_models: str
) -> list[Candidate]:
    """The models that may answer a call for `name`, best first, never empty.

    `unpriced_models` is the tenant's setting for models without a price. Raises UnknownModel,
    ModelNotAvailable or UnpricedModel.
    """
    model = catalog.resolve(tenant_id, name)
    if model is None:
        raise UnknownModel(name)
    reason = model.unavailable_because()
    if reason is not None:
        raise ModelNotAvailable(name, reason)
    return [Candidate(model, catalog.quote(tenant_id, name, now, unpriced_models=unpriced_models))]

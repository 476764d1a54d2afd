"""The call whose money is in question, as budgets see it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from spendhub.tenants.attribution import DIMENSIONS, NOBODY, Attribution


class Call(msgspec.Struct, frozen=True):
    """What is asked for, by whom, for how much. `now` is the moment of the check, aware UTC: the call
    counts in the windows that hold it, however late it is settled."""

    tenant_id: int
    now: datetime
    estimated_nano_usd: int
    attribution: Attribution = NOBODY
    api_key: str = ""
    provider: str = ""
    model: str = ""
    # What the model was asked for as, and its name: downgrade rules may mean either, by any name that the catalog has.
    model_names: frozenset[str] = frozenset()
    tools: tuple[str, ...] = ()
    # The size the estimate was made from, where it is known: lets a refusal name a cheaper model that fits.
    input_tokens: int | None = None
    max_output_tokens: int | None = None

    def scopes(self) -> tuple[tuple[str, str], ...]:
        """Each (scope type, key) the call falls under."""
        return scopes_of(self.attribution, self.api_key, self.provider, self.model)


def scopes_of(attribution: Attribution, api_key: str, provider: str, model: str) -> tuple[tuple[str, str], ...]:
    """Each (scope type, key) that a call with these facts falls under; `tenant` always, key "*"."""
    scopes = [("tenant", "*")]
    for dimension in DIMENSIONS:
        key = getattr(attribution, dimension)
        if key is not None:
            scopes.append((dimension, key))
    if api_key:
        scopes.append(("api_key", api_key))
    if provider:
        scopes.append(("provider", provider))
    if model:
        scopes.append(("model", model))
    return tuple(scopes)

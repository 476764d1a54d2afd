"""How long answers usually are: what a call without a limit of its own is expected to say.

Learned per tenant, feature and model from recorded calls: the 95th percentile of their output. Until there
are `LEAST_CALLS` of them the installation's setting (SPENDHUB_DEFAULT_OUTPUT_TOKENS) is used. Refreshed in the
background (telemetry/observing.py). docs/gateway.md, "What is held".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.conf import settings

QUANTILE = 0.95
LEAST_CALLS = 20

Group = tuple[int, str, str]  # tenant, feature ("" for all), model

_learned: Mapping[Group, int] = {}


def expected_output_tokens(tenant_id: int, feature: str | None, model: str) -> int:
    """What an answer of `model` is expected not to exceed: of this feature, else of the tenant, else the setting."""
    learned = _learned
    if feature:
        found = learned.get((tenant_id, feature, model))
        if found is not None:
            return found
    return learned.get((tenant_id, "", model), settings.DEFAULT_OUTPUT_TOKENS)


def learn(rows: Iterable[tuple[int, str, str, int]]) -> dict[Group, int]:
    """The quantile of each group, from (tenant, feature, model, output tokens) of answered calls."""
    outputs: dict[Group, list[int]] = {}
    for tenant_id, feature, model, tokens in rows:
        outputs.setdefault((tenant_id, "", model), []).append(tokens)
        if feature:
            outputs.setdefault((tenant_id, feature, model), []).append(tokens)
    return {group: quantile(found) for group, found in outputs.items() if len(found) >= LEAST_CALLS}


def quantile(outputs: list[int]) -> int:
    """The smallest output that `QUANTILE` of the calls do not exceed; at least 1."""
    ordered = sorted(outputs)
    return max(1, ordered[min(len(ordered) - 1, int(len(ordered) * QUANTILE))])


def set_learned(learned: Mapping[Group, int]) -> None:
    """Takes over what was learned anew."""
    global _learned
    _learned = learned

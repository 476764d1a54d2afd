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

Group = tuple[int, str]  # tenant, feature ("" for all)
Lengths = Mapping[str, int]  # by model

_NOTHING: Lengths = {}
_learned: Mapping[Group, Lengths] = {}


def expected_output_tokens(tenant_id: int, feature: str | None, model: str) -> int:
    """What an answer of `model` is expected not to exceed: of this feature, else of the tenant, else the setting."""
    learned = _learned
    if feature:
        found = learned.get((tenant_id, feature), _NOTHING).get(model)
        if found is not None:
            return found
    return learned.get((tenant_id, ""), _NOTHING).get(model, settings.DEFAULT_OUTPUT_TOKENS)


def known_lengths(tenant_id: int, feature: str | None) -> tuple[Lengths, ...]:
    """What answers are expected not to exceed, by model: in this feature, then at the tenant. Only what is learned."""
    learned = _learned
    groups = ((tenant_id, feature), (tenant_id, "")) if feature else ((tenant_id, ""),)
    return tuple(learned[group] for group in groups if group in learned)


def learn(rows: Iterable[tuple[int, str, str, int]]) -> dict[Group, dict[str, int]]:
    """The quantile of each model in each group, from (tenant, feature, model, output tokens) of answered calls."""
    outputs: dict[tuple[int, str, str], list[int]] = {}
    for tenant_id, feature, model, tokens in rows:
        outputs.setdefault((tenant_id, "", model), []).append(tokens)
        if feature:
            outputs.setdefault((tenant_id, feature, model), []).append(tokens)
    learned: dict[Group, dict[str, int]] = {}
    for (tenant_id, feature, model), found in outputs.items():
        if len(found) >= LEAST_CALLS:
            learned.setdefault((tenant_id, feature), {})[model] = quantile(found)
    return learned


def quantile(outputs: list[int]) -> int:
    """The smallest output that `QUANTILE` of the calls do not exceed; at least 1."""
    ordered = sorted(outputs)
    return max(1, ordered[min(len(ordered) - 1, int(len(ordered) * QUANTILE))])


def set_learned(learned: Mapping[Group, Lengths]) -> None:
    """Takes over what was learned anew."""
    global _learned
    _learned = learned

"""How long answers of a feature may be given again, as every process holds it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from spendhub.snapshots import Snapshot
from telemetry.models import CACHE_RULES_SNAPSHOT, ResponseCacheRule
from telemetry.models.cache_rule import MAX_CACHE_SECONDS

__all__ = ["CACHE_RULES", "EVERY_FEATURE", "MAX_CACHE_SECONDS", "ttl_of"]

EVERY_FEATURE = "*"  # no call can name it: attribution refuses it

TtlByFeature = Mapping[str, int]


def _build() -> Mapping[int, TtlByFeature]:
    built: dict[int, dict[str, int]] = defaultdict(dict)
    rows = ResponseCacheRule.objects.across_tenants()
    for tenant_id, feature, ttl_seconds, is_enabled in rows.values_list(
        "tenant_id", "feature", "ttl_seconds", "is_enabled"
    ):
        # One that is switched off still is its feature's own: it keeps the feature out of the rule for all.
        built[tenant_id][feature] = ttl_seconds if is_enabled else 0
    return dict(built)


CACHE_RULES: Snapshot[Mapping[int, TtlByFeature]] = Snapshot(CACHE_RULES_SNAPSHOT, _build)


def ttl_of(tenant_id: int, feature: str | None) -> int:
    """How many seconds an answer of the feature may be old; 0 where no rule is in force.

    The feature's own rule decides, else the one for `*`. Compared to the letter, as budgets compare features; a call
    that names none is in no rule. docs/feedback-and-savings.md, "Answers that are given again"."""
    rules = CACHE_RULES.current().get(tenant_id)
    if rules is None or feature is None:
        return 0
    own = rules.get(feature)
    return rules.get(EVERY_FEATURE, 0) if own is None else own

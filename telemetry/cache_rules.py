"""How long answers of a feature may be given again, as every process holds it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from spendhub.snapshots import Snapshot
from telemetry.models import CACHE_RULES_SNAPSHOT, ResponseCacheRule
from telemetry.models.cache_rule import MAX_CACHE_SECONDS

__all__ = ["CACHE_RULES", "MAX_CACHE_SECONDS", "ttl_of"]

TtlByFeature = Mapping[str, int]


def _build() -> Mapping[int, TtlByFeature]:
    built: dict[int, dict[str, int]] = defaultdict(dict)
    rows = ResponseCacheRule.objects.across_tenants().filter(is_enabled=True)
    for tenant_id, feature, ttl_seconds in rows.values_list("tenant_id", "feature", "ttl_seconds"):
        built[tenant_id][feature] = ttl_seconds
    return dict(built)


CACHE_RULES: Snapshot[Mapping[int, TtlByFeature]] = Snapshot(CACHE_RULES_SNAPSHOT, _build)


def ttl_of(tenant_id: int, feature: str | None) -> int:
    """How many seconds an answer of the feature may be old; 0 where no rule is in force."""
    rules = CACHE_RULES.current().get(tenant_id)
    return 0 if rules is None or feature is None else rules.get(feature, 0)

"""/api/v1/cache-rules."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError

from spendhub.api.fields import StrictModelSerializer
from spendhub.api.viewsets import TenantModelViewSet
from spendhub.tenants.attribution import InvalidAttribution, clean_key
from telemetry.cache_rules import CACHE_RULES, EVERY_FEATURE
from telemetry.models import ResponseCacheRule


class CacheRuleSerializer(StrictModelSerializer):
    """Exactly the same request of `feature` is answered again for `ttl_seconds` (1 to 604800), at no cost. The feature
    `*` is every one without a rule of its own."""

    class Meta:
        model = ResponseCacheRule
        fields = ("id", "feature", "ttl_seconds", "is_enabled")

    def validate_feature(self, value: str) -> str:
        if value == EVERY_FEATURE:
            return value
        try:
            return clean_key("feature", value)
        except InvalidAttribution as error:
            raise ValidationError(error.message) from None


@extend_schema(tags=["savings"])
class CacheRuleViewSet(TenantModelViewSet):
    """Features whose repeated requests are answered from memory."""

    model = ResponseCacheRule
    serializer_class = CacheRuleSerializer
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def perform_create(self, serializer: Any) -> None:
        super().perform_create(serializer)
        CACHE_RULES.refresh()

    def perform_update(self, serializer: Any) -> None:
        super().perform_update(serializer)
        CACHE_RULES.refresh()

    def perform_destroy(self, instance: Any) -> None:
        super().perform_destroy(instance)
        CACHE_RULES.refresh()

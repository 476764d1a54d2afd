"""API keys on the wire. The secret is in the answer that makes a key, and in no other."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from spendhub.api.fields import StrictCharField, StrictDateTimeField, StrictIntegerField, StrictSerializer
from spendhub.tenants.attribution import DIMENSIONS, Attribution, InvalidAttribution
from spendhub.tenants.keys import MAX_GRACE, PERMISSIONS
from spendhub.tenants.models import ApiKey


@extend_schema_field(
    {
        "type": "object",
        "properties": {name: {"type": "string", "maxLength": 200} for name in DIMENSIONS},
        "additionalProperties": False,
    }
)
class AttributionField(serializers.Field[dict[str, str], Any, dict[str, str], Any]):
    """Whose and what for: any of org, user, agent, feature, session, task."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        try:
            return Attribution.parse(data).as_dict()
        except InvalidAttribution as error:
            raise serializers.ValidationError(error.message) from None

    def to_representation(self, value: dict[str, str]) -> dict[str, str]:
        return value


class PermissionsField(serializers.Field[list[str], Any, list[str], Any]):
    """Some of spend, read, manage."""

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list) or not data or any(word not in PERMISSIONS for word in data):
            raise serializers.ValidationError(f"a list of one or more of {', '.join(PERMISSIONS)}")
        return [name for name in PERMISSIONS if name in data]

    def get_attribute(self, instance: ApiKey) -> list[str]:
        return [name for name in PERMISSIONS if getattr(instance, f"can_{name}")]

    def to_representation(self, value: list[str]) -> list[str]:
        return value


extend_schema_field({"type": "array", "items": {"type": "string", "enum": list(PERMISSIONS)}})(PermissionsField)


class KeySerializer(StrictSerializer):
    """An API key as it can be read and edited."""

    id = serializers.IntegerField(read_only=True)
    prefix = serializers.CharField(read_only=True)
    name = StrictCharField(max_length=120)
    permissions = PermissionsField(required=False)
    attribution = AttributionField(required=False)
    expires_at = StrictDateTimeField(required=False, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)
    revoked_at = serializers.DateTimeField(read_only=True, allow_null=True)
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True)
    replaces = serializers.IntegerField(source="replaces_id", read_only=True, allow_null=True)

    def update(self, instance: ApiKey, validated_data: dict[str, Any]) -> ApiKey:
        permissions = validated_data.pop("permissions", None)
        if permissions is not None:
            validated_data |= {f"can_{name}": name in permissions for name in PERMISSIONS}
        for name, value in validated_data.items():
            setattr(instance, name, value)
        # Only what was sent: another edit of the same key at the same time is not undone.
        instance.save(update_fields=list(validated_data))
        return instance


class NewKeySerializer(KeySerializer):
    """A key just made, with its secret: shown now and never again."""

    key = serializers.CharField(read_only=True, source="secret", help_text="sh_<prefix>_<secret>; shown once.")


class RotationSerializer(StrictSerializer):
    """How long the old key still works beside its successor."""

    grace_seconds = StrictIntegerField(
        min_value=0, max_value=int(MAX_GRACE.total_seconds()), required=False, default=86_400
    )

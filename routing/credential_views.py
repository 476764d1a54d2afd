"""Vendors' keys over the API: entered, weighted, rotated, removed; never read back."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.serializers import BaseSerializer

from routing.credentials import MAX_SECRET_LENGTH, is_readable, is_usable_secret, put_secret
from routing.models import Credential, Provider
from routing.serializers import NamedRowField
from spendhub.api.authentication import principal_of
from spendhub.api.fields import StrictCharField, StrictIntegerField, StrictModelSerializer
from spendhub.api.permissions import MayManage
from spendhub.api.queries import text_in
from spendhub.api.viewsets import UUID_REGEX, TenantModelViewSet, conflicts_told
from spendhub.tenants.changes import record_change
from spendhub.tenants.snapshot import Principal


class SecretField(StrictCharField):
    """A key on its way in. What is wrong with it is said without repeating it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            write_only=True, max_length=MAX_SECRET_LENGTH, style={"input_type": "password"},
            help_text="The vendor's key. Never read back; a new one takes the place of the old one.", **options,
        )  # fmt: skip

    def to_internal_value(self, data: Any) -> str:
        secret: str = super().to_internal_value(data)
        if not is_usable_secret(secret):
            raise serializers.ValidationError("a vendor's key has visible ASCII characters only, and no spaces")
        return secret


class CredentialSerializer(StrictModelSerializer):
    """Your key at a provider. Several share the calls by weight; they stand in place of the installation's."""

    provider = NamedRowField(of=Provider, help_text="The provider's name.")
    secret = SecretField()
    weight = StrictIntegerField(min_value=1, max_value=1000, required=False, help_text="Its share beside the others.")
    hint = serializers.CharField(read_only=True, help_text="The last four characters; empty for a very short key.")
    rotated_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="When it was last replaced.")
    is_readable = serializers.SerializerMethodField(
        help_text="False: sealed with a key that the installation no longer has; enter it again."
    )

    class Meta:
        model = Credential
        fields = [
            "id", "provider", "name", "secret", "hint", "weight", "is_enabled", "is_readable", "created_at",
            "rotated_at",
        ]  # fmt: skip
        read_only_fields = ["created_at"]

    def get_is_readable(self, credential: Credential) -> bool:
        return is_readable(credential)

    def validate_provider(self, provider: Provider) -> Provider:
        """A key stays where it was entered for: elsewhere it would be shown to another vendor."""
        if provider.dialect == Provider.Dialect.SANDBOX:
            raise serializers.ValidationError("the sandbox needs no key")
        if self.instance is not None and provider.pk != self.instance.provider_id:
            raise serializers.ValidationError("a key stays with its provider; make a new one for another provider")
        return provider


@extend_schema_view(
    partial_update=extend_schema(description="With `secret` the key is rotated: calls use the new one within 2 s."),
)
class CredentialViewSet(TenantModelViewSet):
    """Your own keys at vendors, encrypted at rest. Without any for a provider, the installation's are used."""

    model = Credential
    serializer_class = CredentialSerializer
    filters = [OpenApiParameter("provider", str, description="the provider's name")]
    permission_classes = [MayManage]
    lookup_value_regex = UUID_REGEX
    ordering = ("-created_at", "-pk")

    def visible_rows(self, principal: Principal) -> QuerySet[Any]:
        """The caller's own; the installation's keys are nobody's to see."""
        rows = Credential.objects.for_tenant(principal.tenant_id).select_related("provider")
        provider = text_in(self.request.query_params, "provider")
        return rows if provider is None else rows.filter(provider__name=provider)

    def describe(self, row: Credential) -> dict[str, Any]:
        """Without the secret, which is kept nowhere but sealed in its row."""
        return {
            "provider": row.provider.name, "name": row.name, "hint": row.hint, "weight": row.weight,
            "is_enabled": row.is_enabled, "rotated_at": row.rotated_at,
        }  # fmt: skip

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        principal = principal_of(self.request)
        values = dict(serializer.validated_data)
        credential = Credential(tenant_id=principal.tenant_id)
        put_secret(credential, values.pop("secret"))
        self._save(serializer, credential, values, "create", {})

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        credential = serializer.instance
        assert isinstance(credential, Credential)
        before, values = self.describe(credential), dict(serializer.validated_data)
        secret = values.pop("secret", None)
        if secret is not None:
            put_secret(credential, secret)
            credential.rotated_at = timezone.now()
        self._save(serializer, credential, values, "update" if secret is None else "rotate", before)

    def _save(
        self, serializer: BaseSerializer[Any], credential: Credential, values: dict[str, Any], action: str,
        before: dict[str, Any],
    ) -> None:  # fmt: skip
        principal = principal_of(self.request)
        for name, value in values.items():
            setattr(credential, name, value)
        with conflicts_told():
            credential.save()
            record_change(principal.tenant_id, principal.actor, action, credential, before, self.describe(credential))
        serializer.instance = credential

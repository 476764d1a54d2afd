"""API keys over the API: made, edited, rotated and revoked by whoever may manage, within their own rights."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from spendhub.api.authentication import principal_of
from spendhub.api.viewsets import TenantModelViewSet
from spendhub.errors import Conflict, Forbidden
from spendhub.tenants.changes import record_change
from spendhub.tenants.keys import PERMISSIONS, describe_key, issue_key, revoke_key, rotate_key
from spendhub.tenants.models import ApiKey, Tenant
from spendhub.tenants.serializers import KeySerializer, NewKeySerializer, RotationSerializer
from spendhub.tenants.snapshot import Principal


class MoreThanOwn(Forbidden):
    """A key may not grant, or touch a key that has, permissions which it lacks itself."""

    code = "more_than_own"


class KeyViewSet(TenantModelViewSet):
    """The account's API keys. A key is shown in full once, in the answer that makes it."""

    model = ApiKey
    serializer_class = KeySerializer

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return NewKeySerializer if self.action in ("create", "rotate") else KeySerializer

    def describe(self, row: ApiKey) -> dict[str, Any]:
        return describe_key(row)

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        principal = principal_of(self.request)
        wanted = serializer.validated_data
        permissions = wanted.get("permissions", sorted({"spend", "read"} & principal.permissions))
        refuse_more_than_own(principal, permissions)
        key, secret = issue_key(
            Tenant.objects.get(pk=principal.tenant_id),
            wanted["name"],
            permissions,
            attribution=wanted.get("attribution"),
            expires_at=wanted.get("expires_at"),
            actor=principal.actor,
        )
        key.secret = secret  # type: ignore[attr-defined]  # carried to the serializer of this one answer
        serializer.instance = key

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        principal = principal_of(self.request)
        assert serializer.instance is not None, "an update has something to update"
        with transaction.atomic():
            # Locked and read again: an edit never revives what is being revoked meanwhile.
            key = ApiKey.objects.for_tenant(principal.tenant_id).select_for_update().get(pk=serializer.instance.pk)
            if key.revoked_at is not None:
                raise Conflict("this key is revoked")
            before = describe_key(key)
            refuse_more_than_own(principal, {*held_by(key), *serializer.validated_data.get("permissions", ())})
            serializer.instance = key
            serializer.save()
            record_change(principal.tenant_id, principal.actor, "update", key, before, describe_key(key))

    def perform_destroy(self, instance: ApiKey) -> None:
        principal = principal_of(self.request)
        refuse_more_than_own(principal, held_by(instance))
        revoke_key(instance, principal.actor, timezone.now())

    @extend_schema(request=RotationSerializer, responses={201: NewKeySerializer})
    @action(detail=True, methods=["post"], url_path="rotate")
    def rotate(self, request: Request, pk: str) -> Response:
        """Makes a successor with the same rights; the old key works for `grace_seconds` more (a day)."""
        principal = principal_of(request)
        wish = RotationSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        old: ApiKey = self.get_object()
        refuse_more_than_own(principal, held_by(old))
        grace = timedelta(seconds=wish.validated_data["grace_seconds"])
        successor, secret = rotate_key(old, grace, actor=principal.actor, now=timezone.now())
        successor.secret = secret  # type: ignore[attr-defined]  # carried to the serializer of this one answer
        return Response(self.get_serializer(successor).data, status=status.HTTP_201_CREATED)


def held_by(key: ApiKey) -> list[str]:
    """The permissions of a key."""
    return [name for name in PERMISSIONS if getattr(key, f"can_{name}")]


def refuse_more_than_own(principal: Principal, permissions: Collection[str]) -> None:
    """Raises MoreThanOwn unless the principal has every one of `permissions` itself."""
    lacking = sorted(set(permissions) - principal.permissions)
    if lacking:
        raise MoreThanOwn(f"you lack the permission {lacking[0]!r} yourself", lacking=lacking)

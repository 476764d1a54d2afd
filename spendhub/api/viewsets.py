"""Create, read, update, delete: for the caller's tenant only, every change recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from django.db import IntegrityError, models, transaction
from django.db.models import ProtectedError, QuerySet, RestrictedError
from drf_spectacular.utils import OpenApiParameter
from rest_framework.permissions import SAFE_METHODS
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ModelViewSet

from spendhub.api.authentication import principal_of
from spendhub.api.permissions import ReadOrManage
from spendhub.api.queries import PAGING
from spendhub.api.views import NativeView
from spendhub.errors import Conflict
from spendhub.tenants.changes import record_change
from spendhub.tenants.snapshot import Principal

# For `lookup_value_regex`: an id that is none is no address of ours, and so 404.
UUID_REGEX = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class AlreadyExists(Conflict):
    """Another row has what must be unique."""

    code = "already_exists"


class InUse(Conflict):
    """Something else needs the row, so that it cannot be deleted."""

    code = "in_use"


class TenantModelViewSet(NativeView, ModelViewSet[Any]):
    """CRUD on `model`, whose `objects` is a TenantManager and which has a `tenant`.

    Only rows of the caller's tenant exist here; another tenant's id is 404 like one that never was.
    Override `visible_rows` to show shared rows too, and `editable_rows` for what may be written. `filters` are the
    parameters that the list takes beside those of paging: the schema tells them, and any other is refused.
    """

    model: ClassVar[type[models.Model]]
    filters: ClassVar[Sequence[OpenApiParameter]] = ()
    permission_classes = [ReadOrManage]
    lookup_value_regex = "[0-9]{1,18}"

    def visible_rows(self, principal: Principal) -> QuerySet[Any]:
        """What the caller can see."""
        rows: QuerySet[Any] = self.model.objects.for_tenant(principal.tenant_id)  # type: ignore[attr-defined]  # a TenantManager
        return rows

    def editable_rows(self, principal: Principal) -> QuerySet[Any]:
        """What the caller can change: by default all they see."""
        return self.visible_rows(principal)

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):  # the schema is drawn without a caller
            nothing: QuerySet[Any] = self.model.objects.across_tenants().none()  # type: ignore[attr-defined]  # a TenantManager
            return nothing
        principal = principal_of(self.request)
        is_reading = self.request.method in SAFE_METHODS
        return self.visible_rows(principal) if is_reading else self.editable_rows(principal)

    def known_parameters(self) -> Collection[str]:
        if self.action == "list":
            return (*(each.name for each in self.filters), *PAGING)
        return super().known_parameters()

    def describe(self, row: Any) -> dict[str, Any]:
        """What the record of changes keeps of a row: by default the fields a caller can write."""
        return described(self.get_serializer(row))

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        principal = principal_of(self.request)
        with conflicts_told():
            row = serializer.save(tenant_id=principal.tenant_id)
            record_change(principal.tenant_id, principal.actor, "create", row, {}, self.describe(row))

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        principal = principal_of(self.request)
        before = self.describe(serializer.instance)
        with conflicts_told():
            row = serializer.save()
            record_change(principal.tenant_id, principal.actor, "update", row, before, self.describe(row))

    def perform_destroy(self, instance: Any) -> None:
        principal = principal_of(self.request)
        with conflicts_told():
            record_change(principal.tenant_id, principal.actor, "delete", instance, self.describe(instance), {})
            instance.delete()


def described(serializer: Any) -> dict[str, Any]:
    """What the record of changes keeps of a serializer's row: the fields that a caller can write."""
    shown = serializer.data
    return {name: shown[name] for name, field in serializer.fields.items() if not field.read_only and name in shown}


@contextmanager
def conflicts_told() -> Iterator[None]:
    """A transaction in which a broken uniqueness or reference becomes a Conflict (409)."""
    try:
        with transaction.atomic():
            yield
    except ProtectedError as error:
        raise InUse(_told_needing(error.protected_objects)) from None
    except RestrictedError as error:
        raise InUse(_told_needing(error.restricted_objects)) from None
    except IntegrityError:
        raise AlreadyExists("there is one like it already") from None


def _told_needing(rows: Collection[models.Model]) -> str:
    words = sorted(f"the {row._meta.verbose_name} {str(row)!r}" for row in rows)
    listed = ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")
    return f"{listed} {'needs' if len(words) == 1 else 'need'} it: delete {'that' if len(words) == 1 else 'them'} first"

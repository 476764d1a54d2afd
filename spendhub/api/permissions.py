"""What the caller's key (or role) allows: `spend`, `read`, `manage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from spendhub.api.authentication import principal_of
from spendhub.errors import Forbidden
from spendhub.tenants.snapshot import Principal

if TYPE_CHECKING:  # rest_framework.views imports this module, which its settings name
    from rest_framework.views import APIView


class MissingPermission(Forbidden):
    """The key is good, but lacks the permission that this route needs."""

    code = "missing_permission"

    def __init__(self, needed: str) -> None:
        super().__init__(f"this needs a key with the permission {needed!r}", needed=needed)


def require_permission(principal: Principal, needed: str) -> None:
    """Raises MissingPermission unless the principal has `needed` (spend, read or manage)."""
    if not getattr(principal, f"can_{needed}"):
        raise MissingPermission(needed)


class _May(BasePermission):
    needed: ClassVar[str]

    def has_permission(self, request: Request, view: APIView) -> bool:
        require_permission(principal_of(request), self.needed)
        return True


class MaySpend(_May):
    """Check, reserve, record, and call models."""

    needed = "spend"


class MayRead(_May):
    """Read usage, budgets and decisions."""

    needed = "read"


class MayManage(_May):
    """Edit budgets, models, prices and keys."""

    needed = "manage"


class ReadOrManage(BasePermission):
    """Reading needs `read`, everything else `manage`."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        require_permission(principal_of(request), "read" if request.method in SAFE_METHODS else "manage")
        return True

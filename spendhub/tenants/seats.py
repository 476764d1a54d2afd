"""Where a signed-in person sits: in one tenant at a time, with the rights their role gives there.

People with several tenants switch between them; the operator of the installation (a superuser) may
also look at all tenants at once. Every page of the admin asks `seat_of(request)` and nothing else.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from django.http import HttpRequest

from spendhub.tenants.models import Membership, Tenant

SESSION_KEY = "tenant_id"


class Rank(enum.IntEnum):
    """What a role allows; each rank may do what the ones below it may."""

    VIEWER = 1
    ANALYST = 2
    ADMIN = 3
    OWNER = 4
    OPERATOR = 5


RANK_OF_ROLE = {
    Membership.Role.VIEWER: Rank.VIEWER,
    Membership.Role.ANALYST: Rank.ANALYST,
    Membership.Role.ADMIN: Rank.ADMIN,
    Membership.Role.OWNER: Rank.OWNER,
}


@dataclass(frozen=True, slots=True)
class Seat:
    """`tenant` is None only for an operator who looks at the whole installation."""

    tenant: Tenant | None
    rank: Rank

    @property
    def tenant_id(self) -> int | None:
        return None if self.tenant is None else self.tenant.pk


def seat_of(request: HttpRequest) -> Seat | None:
    """The seat of whoever sends `request`; None for strangers and for people without a tenant.

    Looked up once per request. A tenant chosen earlier counts only while the membership lasts.
    """
    if not hasattr(request, "_spendhub_seat"):
        request._spendhub_seat = _find_seat(request)  # type: ignore[attr-defined]  # remembered for this request
    found: Seat | None = request._spendhub_seat  # type: ignore[attr-defined]  # as above
    return found


def tenants_open_to(request: HttpRequest) -> list[Tenant]:
    """The tenants this person may choose between, by name."""
    user = request.user
    if not user.is_active:
        return []
    if user.is_superuser:
        return list(Tenant.objects.order_by("name")[:200])
    return list(Tenant.objects.filter(memberships__user_id=user.pk, status=Tenant.Status.ACTIVE).order_by("name"))


def take_seat(request: HttpRequest, slug: str) -> bool:
    """Moves the person to the tenant `slug` ("" is the whole installation, for operators only).
    Answers whether that seat was theirs to take."""
    if slug == "":
        if not request.user.is_superuser:
            return False
        request.session[SESSION_KEY] = 0
        return True
    for tenant in tenants_open_to(request):
        if tenant.slug == slug:
            request.session[SESSION_KEY] = tenant.pk
            return True
    return False


def actor_of(request: HttpRequest) -> str:
    """How the record of changes names whoever sends `request`."""
    return f"user:{request.user.get_username()}"


def _find_seat(request: HttpRequest) -> Seat | None:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not user.is_active:
        return None
    chosen = request.session.get(SESSION_KEY) if hasattr(request, "session") else None
    if user.is_superuser:
        return _operator_seat(chosen)
    # A suspended account is closed to its people as it is to its keys.
    memberships = (
        Membership.objects.across_tenants()
        .filter(user_id=user.pk, tenant__status=Tenant.Status.ACTIVE)
        .select_related("tenant")
    )
    held = sorted(memberships, key=lambda membership: (membership.tenant_id != chosen, membership.tenant.name))
    if not held:
        return None
    return Seat(held[0].tenant, RANK_OF_ROLE[Membership.Role(held[0].role)])


def _operator_seat(chosen: int | None) -> Seat:
    if chosen is None:
        # An installation with a single tenant is the common case: begin there.
        tenants = list(Tenant.objects.all()[:2])
        return Seat(tenants[0] if len(tenants) == 1 else None, Rank.OPERATOR)
    return Seat(Tenant.objects.filter(pk=chosen).first() if chosen else None, Rank.OPERATOR)

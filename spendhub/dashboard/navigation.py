"""What the sidebar asks per request: where one sits, where one may go. Named in theme.py."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from spendhub.tenants.seats import Rank, seat_of, tenants_open_to


def account_name(request: HttpRequest) -> str:
    """What stands below the product's name: where one sits."""
    seat = seat_of(request)
    if seat is None:
        return "No account" if request.user.is_authenticated else ""
    return seat.tenant.name if seat.tenant is not None else "All accounts"


def account_choices(request: HttpRequest) -> list[dict[str, Any]]:
    """The accounts one may switch to; nothing where there is no choice."""
    if not request.user.is_authenticated:
        return []
    tenants = tenants_open_to(request)
    choices: list[dict[str, Any]] = [
        {"title": tenant.name, "icon": "storefront", "link": reverse("dashboard:switch", args=[tenant.slug])}
        for tenant in tenants
    ]
    if request.user.is_superuser and len(tenants) > 1:
        choices.append({"title": "All accounts", "icon": "apps", "link": reverse("dashboard:switch_to_all")})
    return choices if len(choices) > 1 else []


def for_viewers(request: HttpRequest) -> bool:
    """Whether the page is for whoever asks: everybody with an account."""
    return _is_at_least(request, Rank.VIEWER)


def for_analysts(request: HttpRequest) -> bool:
    """Whether the page is for whoever asks: analysts and above."""
    return _is_at_least(request, Rank.ANALYST)


def for_admins(request: HttpRequest) -> bool:
    """Whether the page is for whoever asks: admins and above."""
    return _is_at_least(request, Rank.ADMIN)


def for_operators(request: HttpRequest) -> bool:
    """Whether the page is for whoever asks: operators of the installation."""
    return _is_at_least(request, Rank.OPERATOR)


def _is_at_least(request: HttpRequest, rank: Rank) -> bool:
    seat = seat_of(request)
    return seat is not None and seat.rank >= rank

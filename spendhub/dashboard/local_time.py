"""Admin pages show and read times in the time zone of the account one sits in."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from budgets.periods import zone
from spendhub.tenants.seats import seat_of


class AccountTime:
    """Middleware; only for the admin's own addresses."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/admin/"):
            return self._get_response(request)
        seat = seat_of(request)
        if seat is None or seat.tenant is None:
            return self._get_response(request)
        with timezone.override(zone(seat.tenant.timezone)):
            response = self._get_response(request)
            # Rendered here, or it would be rendered outside of the zone.
            render = getattr(response, "render", None)
            if callable(render) and not getattr(response, "is_rendered", True):
                response = render()
            return response

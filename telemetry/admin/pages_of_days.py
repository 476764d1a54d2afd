"""Pages below the calls' own that tell of one account's last days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from spendhub.tenants.admin_scoping import ReadOnlyAdmin
from spendhub.tenants.seats import Rank, seat_of
from telemetry.call_samples import Period

SHOWN_DAYS = (1, 7, 30, 90)
USUAL_DAYS = 30


class PagesOfDays(ReadOnlyAdmin):
    """What such pages share: ?days=, and an operator above all accounts who has to choose one first."""

    def page_of_days(
        self, request: HttpRequest, template: str, title: str, tell: Callable[[Period], dict[str, Any]]
    ) -> TemplateResponse:
        """The page, with what `tell` says of the days that are asked for."""
        self.require(request, Rank.VIEWER)
        seat = seat_of(request)
        if seat is None:
            raise PermissionDenied
        days = next((days for days in SHOWN_DAYS if str(days) == request.GET.get("days")), USUAL_DAYS)
        shown: dict[str, Any] = {"tenant": seat.tenant, "days": days, "choices": SHOWN_DAYS}
        if seat.tenant is not None:
            now = timezone.now()
            shown |= tell(Period(seat.tenant.pk, now - timedelta(days=days), now))
        # In the frame it stands beside the calls, not below them.
        return self.page(request, template, title, opts=None, **shown)

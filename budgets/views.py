"""The hot routes: may this call be made, and hold its money."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from typing import Any

import msgspec
from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from budgets.answers import budget_headers, decision_answer, refusal_answer, reservation_answer
from budgets.bodies import CheckAnswer, CheckBody, RefusedAnswer, ReleasedAnswer, ReservationAnswer, ReserveBody
from budgets.counters.drive import drive
from budgets.errors import BudgetExceeded, ReservationMissing
from budgets.intake import call_of, scope_of_headers
from budgets.reservations import check, find_reservation, release_reservation, reserve_durably
from budgets.serializers import ReservationSerializer
from spendhub.api.authentication import principal_of
from spendhub.api.errors import headers_of
from spendhub.api.lean import Body, LeanAnswer, LeanView
from spendhub.api.permissions import MayRead
from spendhub.api.views import NativeView
from spendhub.errors import Invalid, SpendHubError
from spendhub.money import format_usd
from spendhub.tenants.snapshot import Principal


class SpendingView(LeanView[Body]):
    """A lean view whose refusals carry the check's whole answer beside the error."""

    def tell(self, error: SpendHubError) -> LeanAnswer:
        if isinstance(error, BudgetExceeded):
            return LeanAnswer(402, refusal_answer(error), headers_of(error) | budget_headers(error.decision))
        return super().tell(error)

    def named_scope(self) -> tuple[str, str] | None:
        """The scope that the request's x-budget-scope-* headers name."""
        meta = self.request.META
        return scope_of_headers(meta.get("HTTP_X_BUDGET_SCOPE_TYPE"), meta.get("HTTP_X_BUDGET_SCOPE_KEY"))


@extend_schema(tags=["spending"])
class CheckView(SpendingView[CheckBody]):
    """May this call be made? Looks at every budget it falls under and holds nothing.

    402 on a hard stop, with the same answer, the error, and Retry-After in seconds where the budget begins afresh, or
    its money is merely held.
    """

    accepts = CheckBody
    answers = {200: CheckAnswer, 402: RefusedAnswer}

    def answer(self, principal: Principal, body: CheckBody, now: datetime, **path: Any) -> LeanAnswer:
        decision = drive(check(call_of(body, principal, now, self.named_scope())))
        if not decision.allowed:
            raise BudgetExceeded(decision)
        return LeanAnswer(200, decision_answer(decision), budget_headers(decision))


@extend_schema(tags=["spending"])
class ReservationsView(SpendingView[ReserveBody]):
    """Checks a call and holds its estimate in every budget it falls under, or in none.

    201 with what is held until when; 200 for a repeat of the same idempotency key (in the body, or the header
    Idempotency-Key), answered as the first time; 409 when the key was used for another request; 402 on a hard stop.
    """

    accepts = ReserveBody
    answers = {201: ReservationAnswer, 200: ReservationAnswer, 402: RefusedAnswer}

    def answer(self, principal: Principal, body: ReserveBody, now: datetime, **path: Any) -> LeanAnswer:
        key = body.idempotency_key or self.request.META.get("HTTP_IDEMPOTENCY_KEY") or None
        if key is not None and (len(key) > 200 or not key.isprintable()):
            raise Invalid("an idempotency key has at most 200 printable characters", field="idempotency_key")
        call = call_of(body, principal, now, self.named_scope())
        held = drive(
            reserve_durably(
                call,
                idempotency_key=key,
                request_sha256=digest_of(body) if key else "",
                ttl_seconds=body.ttl_seconds or settings.RESERVATION_TTL_SECONDS,
                answer=reservation_answer,
            )
        )
        return LeanAnswer(200 if held.is_repeat else 201, held.answer)


@extend_schema(tags=["spending"])
class ReleaseView(LeanView[None]):
    """Gives a reservation's money back. Repeating it answers the same; 409 when it was committed."""

    answers = {200: ReleasedAnswer}

    def answer(self, principal: Principal, body: None, now: datetime, **path: Any) -> LeanAnswer:
        row = drive(release_reservation(principal.tenant_id, path["reservation_id"], now))
        released = format_usd(row.amount_nano_usd)
        return LeanAnswer(200, {"id": str(row.id), "status": row.status, "released": released})


class ReservationView(NativeView):
    """One reservation: held, expired, committed or released."""

    permission_classes = [MayRead]

    @extend_schema(tags=["spending"], responses=ReservationSerializer)
    def get(self, request: Request, reservation_id: uuid.UUID) -> Response:
        """One reservation as it stands."""
        row = find_reservation(principal_of(request).tenant_id, reservation_id)
        if row is None:
            raise ReservationMissing(reservation_id)
        return Response(ReservationSerializer(row, context={"now": timezone.now()}).data)


def digest_of(body: msgspec.Struct) -> str:
    """SHA-256 of what was asked: the same idempotency key with another body is a conflict, not a repeat."""
    return hashlib.sha256(msgspec.json.encode(body)).hexdigest()

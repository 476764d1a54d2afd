"""Whose a request id is: clients choose ids for calls of their own, the gateway makes those of its calls.

Clients are told the gateway's, and may name them, but what such a call has cost is for the gateway alone to say.
docs/decisions/0059-what-a-gateway-call-cost-is-for-the-gateway-to-say.md says why.
"""

from __future__ import annotations

from collections.abc import Iterable

from spendhub.errors import Conflict
from spendhub.ids import is_call_id
from telemetry.drafts import SpanDraft
from telemetry.models import CostSpan

# Of spans: who may set right what an interrupted call was booked at.
GATEWAYS_SOURCES = frozenset({"gateway", "worker"})


class CallNotBooked(Conflict):
    """The request id has the form of the gateway's own, and no such call is booked yet: only the gateway books it."""

    code = "call_not_booked"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"{request_id!r} is the id of a call through the gateway, which books it itself; give your own calls ids "
            "of your own.",
            request_id=request_id,
        )


class RequestIdTaken(Conflict):
    """A commit's request id names another call, which has been recorded; the reservation is still open."""

    code = "request_id_taken"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"Another call has been recorded as request {request_id[:80]!r}.", request_id=request_id[:80])


def unbooked_calls(tenant_id: int, request_ids: Iterable[str | None]) -> frozenset[str]:
    """Those ids that only the gateway may book. Asks the database only where one has the form of such an id."""
    named = {each for each in request_ids if each is not None and is_call_id(each)}
    if not named:
        return frozenset()
    booked = CostSpan.objects.for_tenant(tenant_id).filter(request_id__in=named)
    return frozenset(named.difference(booked.values_list("request_id", flat=True)))


def span_of_request(tenant_id: int, request_id: str) -> CostSpan | None:
    """What has been recorded under a request id. Asks the database."""
    return CostSpan.objects.for_tenant(tenant_id).filter(request_id=request_id).first()


def refuse_others_id(tenant_id: int, committed: SpanDraft) -> None:
    """Raises CallNotBooked where only the gateway may book a call of a commit's request id, and RequestIdTaken where
    another call has been recorded under it. Asks the database."""
    before = span_of_request(tenant_id, committed.request_id)
    if before is None:
        if is_call_id(committed.request_id):
            raise CallNotBooked(committed.request_id)
    # Its own span: somebody has committed it since it was looked at.
    elif before.id != committed.id and not is_the_same_call(before, committed):
        raise RequestIdTaken(committed.request_id)


def is_the_same_call(before: CostSpan | None, committed: SpanDraft) -> bool:
    """Whether the span that has a commit's request id is of the call that is committed: reported by itself, and at the
    same cost."""
    return before is not None and before.reservation_id is None and before.cost_nano_usd == committed.cost_nano_usd

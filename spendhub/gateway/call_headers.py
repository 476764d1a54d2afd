"""The headers of one call's answer: its money, what a policy, a brake, the catalog or reviewers have to say, the
vendor's id and its limits.

docs/gateway.md, "What comes back", is their list.
"""

from __future__ import annotations

from typing import Any

from routing.execution import Execution
from routing.upstreams.base import MESSAGES
from spendhub.gateway.answer_headers import ANTHROPICS_ID, OPENAIS_ID, limit_headers, money_headers, vendors_id_headers
from spendhub.gateway.exchange import Headers, header_text
from spendhub.gateway.open_call import OpenCall
from spendhub.gateway.reviews import Reviewed
from spendhub.money import format_usd


def call_headers(
    call: OpenCall,
    execution: Execution | None = None,
    *,
    is_stream: bool = False,
    reviewed: Reviewed[Any] | None = None,
) -> Headers:
    """The headers; at a stream's beginning without a cost, which nobody knows unless it was kept back to its end. With
    an `execution` also its vendor's own id of the answer, and how often it may still be asked."""
    is_cost_known = not is_stream or call.is_booked
    headers = money_headers(
        call.decision,
        call.model.name,
        call.request_id,
        call.cost_nano_usd + call.beside_nano_usd if is_cost_known else None,
        earlier_nano_usd=call.earlier_nano_usd,
    )
    if reviewed is not None:
        headers += reviewed.headers()
    headers += call.notices
    retires_at = call.model.retires_at
    if retires_at is not None and retires_at <= call.decision.call.now:
        warning = f"model {call.model.name!r}: retired on {retires_at:%Y-%m-%d} UTC, as far as the catalog knows"
        headers.append((b"x-spendhub-warning", header_text(warning)))
    if call.over_hold_nano_usd and is_cost_known:
        headers.append((b"x-spendhub-over-hold", format_usd(call.over_hold_nano_usd).encode()))
    if call.clamp_to is not None:
        headers.append((b"x-spendhub-clamped", str(call.clamp_to).encode()))
    if execution is not None and execution.is_translated and not is_stream and execution.reader.left_out:
        warning = f"left out of this answer, which is translated: {', '.join(execution.reader.left_out)}"
        headers.append((b"x-spendhub-warning", header_text(warning)))
    if execution is not None:
        told = execution.response.headers
        headers += vendors_id_headers(told, *_names_of_ids(call)) + limit_headers(told)
    return headers


def _names_of_ids(call: OpenCall) -> tuple[str, ...]:
    return (OPENAIS_ID, ANTHROPICS_ID) if call.request.wire == MESSAGES else (OPENAIS_ID,)

"""A span as it is handed in, before it is on disk."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from routing.token_usage import TokenUsage
from spendhub.ids import new_id
from spendhub.tenants.attribution import NOBODY, Attribution

NO_USAGE = TokenUsage.checked()
# Of a gateway call's metadata: what it could have cost at most, in USD, where less was held for it.
WORST_CASE_COST = "worst_case_cost"


class SpanDraft(msgspec.Struct, frozen=True):
    """One call that happened. Money in nano_usd; `occurred_at` is the moment of the check.

    `request_id` counts once per tenant, whoever retries. `reserved_nano_usd` is what was held for it.
    """

    request_id: str
    occurred_at: datetime
    source: str
    cost_nano_usd: int
    attribution: Attribution = NOBODY
    api_key: str = ""
    provider: str = ""
    model: str = ""
    requested_model: str = ""
    usage: TokenUsage = NO_USAGE
    breakdown: Mapping[str, int] = msgspec.field(default_factory=dict)
    is_estimated: bool = False
    status: str = "ok"
    error_code: str = ""
    duration_ms: int | None = None
    first_token_ms: int | None = None
    reserved_nano_usd: int | None = None
    reservation_id: uuid.UUID | None = None
    trace_id: str = ""
    parent_id: str = ""
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    id: uuid.UUID = msgspec.field(default_factory=new_id)

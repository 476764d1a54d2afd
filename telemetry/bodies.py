"""What the recording routes take and answer, as structs: decoded strictly, described in the schema by themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from budgets.bodies import AttributionBody, ModelName, ProviderName, Text, UsageBody, Usd

RequestId = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\u0000-\u001f\u007f-\u009f]*(?![\s\S])")]
TraceId = Annotated[str, Meta(max_length=64, pattern=r"^[^\u0000-\u001f\u007f-\u009f]*(?![\s\S])")]
ErrorCode = Annotated[str, Meta(max_length=60, pattern=r"^[^\u0000-\u001f\u007f-\u009f]*(?![\s\S])")]
Milliseconds = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Status = Literal["ok", "error", "aborted"]


class SpanBody(msgspec.Struct, forbid_unknown_fields=True):
    """One call that happened. Its cost is `cost`, else worked out from `usage` at the model's price at
    `occurred_at` (now, when left out; at most 5 minutes in the future).

    A `request_id` counts once, whoever sends it again; those of the gateway's calls are for the gateway to book.
    """

    request_id: RequestId | None = None
    occurred_at: datetime | None = None
    attribution: AttributionBody | None = None
    provider: ProviderName | None = None
    model: ModelName | None = None
    requested_model: ModelName | None = None
    usage: UsageBody | None = None
    cost: Usd | None = None
    status: Status = "ok"
    error_code: ErrorCode = ""
    duration_ms: Milliseconds | None = None
    first_token_ms: Milliseconds | None = None
    trace_id: TraceId = ""
    parent_id: TraceId = ""
    metadata: dict[str, Any] = {}


class SpansAnswer(msgspec.Struct):
    """How many spans were new, how many known already, and every span's id in the order they came."""

    accepted: int
    duplicates: int
    ids: list[str]


class CommitBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a reserved call turned out to be: its `usage`, or its `actual_cost` where you know better."""

    usage: UsageBody | None = None
    actual_cost: Usd | None = None
    model: ModelName | None = None
    provider: ProviderName | None = None
    request_id: RequestId | None = None
    status: Status = "ok"
    duration_ms: Milliseconds | None = None
    metadata: dict[str, Any] = {}


class CommitAnswer(msgspec.Struct):
    """What was booked. `released` was held and not needed; `over` was needed and not held (booked in full);
    `is_late` says that the hold had ended by itself before."""

    span_id: str
    cost: str
    released: str
    over: str
    is_repeat: bool
    is_late: bool


class RecipeRecordBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The recipe's record: what a call has cost, in the scope it names."""

    scope_type: Text
    scope_key: Text
    actual_cost: Usd | None = None
    input_tokens: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    output_tokens: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    model_id: ModelName | None = None
    provider: ProviderName | None = None
    request_id: Annotated[str, Meta(min_length=1, max_length=190)] | None = None
    metadata: dict[str, Any] = {}


class RecipeRecordAnswer(msgspec.Struct, rename="camel"):
    ok: bool
    span_id: str
    cost: float
    duplicate: bool

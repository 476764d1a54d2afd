"""The recipe's POST /api/budget/check and /api/budget/reset: camelCase, its status codes, amounts as numbers.

Source: docs/api.md, "The recipe's routes".
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from django.conf import settings
from drf_spectacular.utils import extend_schema
from msgspec import Meta

from budgets.answers import budget_headers, iso, warning_of
from budgets.bodies import Action, CheckBody, ModelName, Text, Tokens, Tools, Usd
from budgets.counters.drive import drive
from budgets.decisions import Decision
from budgets.definitions import check_scope
from budgets.errors import BudgetExceeded
from budgets.intake import UnknownScope, call_of, scope_of_headers
from budgets.models import ScopeType
from budgets.reservations import check, reserve_durably
from budgets.resets import reset_scope
from budgets.scope_names import counted_as
from budgets.views import digest_of
from spendhub.api.errors import headers_of, status_of
from spendhub.api.lean import Body, LeanAnswer, LeanView
from spendhub.errors import Conflict, Invalid, SpendHubError
from spendhub.money import NANO_PER_USD
from spendhub.tenants.snapshot import Principal

# A budget whose clients name no scope counts for this user: the recipe's own default.
DEFAULT_SCOPE = ("user", "default")


class RecipeCheckBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """May a call in this scope be made? With a requestId its estimate is held until `record` with the same one.

    The scope may be named by the headers x-budget-scope-type and x-budget-scope-key instead.
    """

    scope_type: Text | None = None
    scope_key: Text | None = None
    estimated_cost: Usd | None = None
    model_id: ModelName | None = None
    tools: Tools = []
    input_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    request_id: Annotated[str, Meta(min_length=1, max_length=190)] | None = None


class RecipeCheckAnswer(msgspec.Struct, rename="camel"):
    """`remaining`, `limit` and `spent` are of the budget that binds, in USD; null where no budget matches."""

    allowed: bool
    action: Action
    suggested_model: str | None
    disabled_tools: list[str]
    remaining: float | None
    limit: float | None
    spent: float | None
    estimated_cost: float
    reason: str
    warning: str | None
    decision_id: str
    resets_at: datetime | None
    reservation_id: str | None


class RecipeIssue(msgspec.Struct):
    path: str
    message: str


class RecipeError(msgspec.Struct):
    """What is wrong: a sentence, a stable code, and the fields it is about."""

    error: str
    code: str
    issues: list[RecipeIssue]


class RecipeRefusal(RecipeCheckAnswer, rename="camel"):
    error: str
    code: Literal["budget_exceeded"]
    issues: list[RecipeIssue]


class RecipeScopeBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Whose count begins afresh; "*" is every key of the type."""

    scope_type: Text
    scope_key: Text


class RecipeOk(msgspec.Struct, rename="camel"):
    ok: bool
    windows: int


class RecipeView(LeanView[Body]):
    """A lean view whose errors have the recipe's shape: {"error", "code", "issues": [{"path", "message"}]}."""

    def tell(self, error: SpendHubError) -> LeanAnswer:
        if isinstance(error, BudgetExceeded):
            told = {**recipe_answer(error.decision, None), **recipe_error(error)}
            return LeanAnswer(402, told, headers_of(error) | budget_headers(error.decision))
        # The recipe knows no 409: a request that contradicts an earlier one is a bad request there.
        status = 400 if isinstance(error, Conflict) else status_of(error)
        return LeanAnswer(status, recipe_error(error), headers_of(error))


@extend_schema(tags=["recipe"])
class RecipeCheckView(RecipeView[RecipeCheckBody]):
    """May this call be made? 200, or 402 on a hard stop with Retry-After; 400 for a malformed body.

    With a requestId the estimate is held until `record` with the same one, or until the hold ends by itself.
    """

    accepts = RecipeCheckBody
    answers = {200: RecipeCheckAnswer, 400: RecipeError, 402: RecipeRefusal}

    def answer(self, principal: Principal, body: RecipeCheckBody, now: datetime, **path: Any) -> LeanAnswer:
        meta = self.request.META
        scope = scope_named(body, meta.get("HTTP_X_BUDGET_SCOPE_TYPE"), meta.get("HTTP_X_BUDGET_SCOPE_KEY"))
        asked = CheckBody(
            model=body.model_id,
            estimated_cost=body.estimated_cost,
            input_tokens=body.input_tokens,
            max_output_tokens=body.max_output_tokens,
            tools=body.tools,
        )
        call = call_of(asked, principal, now, scope)
        if body.request_id is None:
            decision = drive(check(call))
            if not decision.allowed:
                raise BudgetExceeded(decision)
            return LeanAnswer(200, recipe_answer(decision, None), budget_headers(decision))
        held = drive(
            reserve_durably(
                call,
                idempotency_key=idempotency_key_of(body.request_id),
                request_sha256=digest_of(body),
                ttl_seconds=settings.RESERVATION_TTL_SECONDS,
                answer=lambda decision, reservation_id, expires_at: recipe_answer(decision, str(reservation_id)),
            )
        )
        return LeanAnswer(200, held.answer)


@extend_schema(tags=["recipe"])
class RecipeResetView(RecipeView[RecipeScopeBody]):
    """Begins the scope's current windows afresh, of all its budgets. What was spent stays in the ledger."""

    needs = "manage"
    accepts = RecipeScopeBody
    answers = {200: RecipeOk, 400: RecipeError}

    def answer(self, principal: Principal, body: RecipeScopeBody, now: datetime, **path: Any) -> LeanAnswer:
        scope_type, scope_key = body.scope_type, body.scope_key
        if scope_type not in ScopeType.values:
            known = ", ".join(ScopeType.values)
            raise UnknownScope(f"there is no scope type {scope_type[:40]!r}; there are {known}", field="scopeType")
        if scope_type == ScopeType.TENANT:
            scope_key = "*" if scope_key == principal.tenant_slug else scope_key
        check_scope(scope_type, scope_key)
        scope_key = counted_as(principal.tenant_id, scope_type, scope_key)
        done = drive(reset_scope(principal.tenant_id, scope_type, scope_key, actor=principal.actor, now=now))
        return LeanAnswer(200, {"ok": True, "windows": done})


def scope_named(body: RecipeCheckBody, header_type: str | None, header_key: str | None) -> tuple[str, str]:
    """The scope of the body, else of the headers, else the recipe's default."""
    if body.scope_type or body.scope_key:
        if not body.scope_type or not body.scope_key:
            missing = "scopeKey" if body.scope_type else "scopeType"
            raise Invalid(f"{missing} must not be empty", field=missing)
        return body.scope_type, body.scope_key
    return scope_of_headers(header_type, header_key) or DEFAULT_SCOPE


def idempotency_key_of(request_id: str) -> str:
    """The reservation's key: apart from the native API's, whose callers choose theirs freely."""
    return f"recipe:{request_id}"


def recipe_answer(decision: Decision, reservation_id: str | None) -> dict[str, Any]:
    """A decision in the recipe's words: camelCase, amounts as numbers in USD."""
    tightest = decision.bound or min(
        (each for each in decision.looked_at if each.matched.budget.is_enforced),
        key=lambda each: each.remaining_nano_usd,
        default=None,
    )
    return {
        "allowed": decision.allowed,
        "action": decision.action,
        "suggestedModel": decision.suggested_model,
        "disabledTools": decision.disabled_tools,
        "remaining": None if decision.remaining_nano_usd is None else as_number(decision.remaining_nano_usd),
        "limit": None if tightest is None else as_number(tightest.matched.limit_nano_usd),
        "spent": None if tightest is None else as_number(tightest.count.spend_nano_usd),
        "estimatedCost": as_number(decision.call.estimated_nano_usd),
        "reason": decision.reason,
        "warning": warning_of(decision),
        "decisionId": str(decision.id),
        "resetsAt": None if decision.resets_at is None else iso(decision.resets_at),
        "reservationId": reservation_id,
    }


def recipe_error(error: SpendHubError) -> dict[str, Any]:
    """{"error", "code", "issues"}: those that the error's details list, else itself."""
    issues = error.details.get("issues") or [issue_of(error)]
    return {"error": error.message, "code": error.code, "issues": issues}


def issue_of(error: SpendHubError) -> dict[str, str]:
    """The path is the field it is about, empty for the request as a whole."""
    return {"path": str(error.details.get("field", "")), "message": error.message}


def as_number(nano_usd: int) -> float | int:
    """USD as the nearest JSON number, whole where it is whole. For answers only: nothing is added up in floats."""
    usd = nano_usd / NANO_PER_USD
    return int(usd) if math.floor(usd) == usd else usd

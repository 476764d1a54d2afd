"""Budgets over the API: made, read with their live numbers, edited, reset, frozen, raised, put away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from budgets.counters.drive import drive
from budgets.definitions import archive_budget, create_budget, edit_budget, raise_budget, set_frozen
from budgets.matching import window_of
from budgets.models import Budget, BudgetEvent, BudgetRaise, BudgetWindow, ScopeType
from budgets.periods import as_datetime
from budgets.reports import LiveWindow, last_windows, live_windows
from budgets.resets import reset_budget
from budgets.scope_names import counted_as
from budgets.serializers import (
    BudgetSerializer,
    EventSerializer,
    LiveSerializer,
    RaiseSerializer,
    ResetAnswerSerializer,
    ResetSerializer,
    SuggestionSerializer,
)
from budgets.snapshot import BUDGETS, facts_of, tenant_budgets
from budgets.suggestions import downgrade_chain
from spendhub.api.authentication import principal_of
from spendhub.api.queries import PAGING, flag_in, required_text_in, text_in
from spendhub.api.viewsets import UUID_REGEX, TenantModelViewSet
from spendhub.tenants.snapshot import Principal

FILTERS = [
    OpenApiParameter("scope_type", str),
    OpenApiParameter("scope_key", str, description="Of a model or a provider, any name that your catalog knows it by."),
    OpenApiParameter("period", str),
    OpenApiParameter("mode", str),
    OpenApiParameter("archived", bool, description="Those that were put away."),
]
Windows = Mapping[UUID, tuple[LiveWindow, ...]]

# `list` is a method of the view set below.
Answers = list[dict[str, Any]]


def read_live(tenant_id: int, budget_ids: Sequence[UUID], now: datetime) -> Windows:
    """Each budget's current windows, the fullest first; a budget made a moment ago is there too."""
    if any(budget_id not in tenant_budgets(tenant_id).by_id for budget_id in budget_ids):
        BUDGETS.refresh()
    return drive(live_windows(tenant_id, now, budget_ids))


def _is_on(tenant_id: int, key: str) -> Q:
    """Budgets on `key`, or on the model or the provider that it is another name of."""
    found = Q(scope_key=key)
    for scope_type in (ScopeType.MODEL, ScopeType.PROVIDER):
        found |= Q(scope_type=scope_type, scope_key=counted_as(tenant_id, scope_type, key))
    return found


@extend_schema(tags=["budgets"])
class BudgetViewSet(TenantModelViewSet):
    """Limits on a scope per period, with a policy; each answer adds how the budget stands right now."""

    model = Budget
    serializer_class = BudgetSerializer
    filters = FILTERS
    parameters = {"raises": PAGING, "events": PAGING, "suggestion": ("model",)}
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    lookup_value_regex = UUID_REGEX

    def visible_rows(self, principal: Principal) -> QuerySet[Any]:
        rows = Budget.objects.for_tenant(principal.tenant_id).filter(archived_at__isnull=True)
        if self.action != "list":
            return rows
        query = self.request.query_params
        if flag_in(query, "archived"):
            rows = Budget.objects.for_tenant(principal.tenant_id).filter(archived_at__isnull=False)
        for name in ("scope_type", "period", "mode"):
            if (value := text_in(query, name)) is not None:
                rows = rows.filter(**{name: value})
        key = text_in(query, "scope_key")
        return rows if key is None else rows.filter(_is_on(principal.tenant_id, key))

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Budgets in use, with their live numbers."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(self._shown(page))

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One budget, with its live numbers."""
        return Response(self._shown([self.get_object()])[0])

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Makes a budget. It begins with what its window has already spent. 409 when the scope has one."""
        wish = self.get_serializer(data=request.data)
        wish.is_valid(raise_exception=True)
        principal = principal_of(request)
        made = create_budget(principal.tenant_id, wish.validated_data, source=Budget.Source.API, actor=principal.actor)
        BUDGETS.refresh()
        return Response(self._shown([made])[0], status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Changes the limit or the policy; scope and period cannot change (409: make a new budget)."""
        budget = self.get_object()
        wish = self.get_serializer(budget, data=request.data, partial=True)
        wish.is_valid(raise_exception=True)
        edited = edit_budget(budget, wish.validated_data, actor=principal_of(request).actor, now=timezone.now())
        BUDGETS.refresh()
        return Response(self._shown([edited])[0])

    def perform_destroy(self, instance: Budget) -> None:
        archive_budget(instance, actor=principal_of(self.request).actor, now=timezone.now())
        BUDGETS.refresh()

    @extend_schema(request=ResetSerializer, responses=ResetAnswerSerializer)
    @action(detail=True, methods=["post"])
    def reset(self, request: Request, pk: str) -> Response:
        """Begins the current window afresh, of one key or of all. What was spent stays in the ledger."""
        wish = ResetSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        principal, budget = principal_of(request), self.get_object()
        key = counted_as(principal.tenant_id, budget.scope_type, wish.validated_data["scope_key"])
        done = drive(
            reset_budget(principal.tenant_id, str(budget.id), scope_key=key, actor=principal.actor, now=timezone.now())
        )
        return Response({"windows": done})

    @extend_schema(request=None, responses=BudgetSerializer)
    @action(detail=True, methods=["post"])
    def freeze(self, request: Request, pk: str) -> Response:
        """Stops every call under this budget until it is unfrozen."""
        return self._set_frozen(request, True)

    @extend_schema(request=None, responses=BudgetSerializer)
    @action(detail=True, methods=["post"])
    def unfreeze(self, request: Request, pk: str) -> Response:
        """Lets calls under this budget pass again, as far as there is room."""
        return self._set_frozen(request, False)

    @extend_schema(methods=["GET"], responses=RaiseSerializer(many=True), operation_id="budgets_raises_list")
    @extend_schema(methods=["POST"], request=RaiseSerializer, responses={201: RaiseSerializer})
    @action(detail=True, methods=["get", "post"])
    def raises(self, request: Request, pk: str) -> Response:
        """One-off raises of the limit that end by themselves."""
        budget = self.get_object()
        if request.method == "GET":
            rows = BudgetRaise.objects.for_tenant(budget.tenant_id).filter(budget=budget)
            return self._page(rows, RaiseSerializer, "-starts_at")
        wish = RaiseSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        actor = principal_of(request).actor
        made = raise_budget(budget, wish.validated_data, actor=actor, now=timezone.now())
        BUDGETS.refresh()
        return Response(RaiseSerializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses=EventSerializer(many=True))
    @action(detail=True)
    def events(self, request: Request, pk: str) -> Response:
        """What was told about this budget, the latest first."""
        budget = self.get_object()
        rows = BudgetEvent.objects.for_tenant(budget.tenant_id).filter(budget=budget)
        return self._page(rows, EventSerializer, ("-occurred_at", "-id"))

    @extend_schema(responses=LiveSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None)
    def windows(self, request: Request, pk: str) -> Response:
        """The current window of each key (of an allowance: up to 200 that have spent), the fullest first."""
        budget = self.get_object()
        live = read_live(budget.tenant_id, [budget.id], timezone.now()).get(budget.id, ())
        starts = {as_datetime(each.window.starts_at) for each in live}
        rows = BudgetWindow.objects.for_tenant(budget.tenant_id).filter(budget=budget, starts_at__in=starts)
        by_key = {
            (row["budget_id"], row["scope_key"]): row
            for row in rows.values("budget_id", "scope_key", "breach_count", "last_threshold", "updated_at")
        }
        return Response(LiveSerializer(cast(Any, live), many=True, context={"rows": by_key}).data)

    @extend_schema(parameters=[OpenApiParameter("model", str, required=True)], responses=SuggestionSerializer)
    @action(detail=True)
    def suggestion(self, request: Request, pk: str) -> Response:
        """What this budget's rules make of a model above the soft cap: the next step, and the whole chain."""
        model = required_text_in(request.query_params, "model")
        facts = facts_of(self.get_object())
        chain = downgrade_chain(facts, model, facts.tenant_id)
        return Response(
            {
                "model": model,
                "suggested_model": chain[0] if chain else None,
                "chain": chain,
                "disabled_tools": facts.disabled_tools,
            }
        )

    def _set_frozen(self, request: Request, is_frozen: bool) -> Response:
        edited = set_frozen(self.get_object(), is_frozen, actor=principal_of(request).actor)
        BUDGETS.refresh()
        return Response(self._shown([edited])[0])

    def _shown(self, budgets: Sequence[Budget]) -> Answers:
        principal, now = principal_of(self.request), timezone.now()
        zone = principal.timezone.key
        in_use = [budget.id for budget in budgets if budget.archived_at is None]
        archived = [budget for budget in budgets if budget.archived_at is not None]
        windows = dict(read_live(principal.tenant_id, in_use, now)) if in_use else {}
        windows.update(last_windows(principal.tenant_id, archived, zone) if archived else {})
        live = {budget_id: found[0] for budget_id, found in windows.items() if found}
        # An allowance that nobody has used yet has a window all the same.
        current = {budget.id: window_of(facts_of(budget), budget.archived_at or now, zone) for budget in budgets}
        context = {**self.get_serializer_context(), "live": live, "windows": current}
        shown: list[dict[str, Any]] = [dict(BudgetSerializer(budget, context=context).data) for budget in budgets]
        return shown

    def _page(self, rows: QuerySet[Any], serializer: type[BaseSerializer[Any]], ordering: Sequence[str]) -> Response:
        self.ordering = ordering
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(serializer(page, many=True).data)

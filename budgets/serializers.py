"""Budgets and what became of them, on the wire. Money as decimal strings in USD."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from budgets.answers import iso_of_epoch
from budgets.definitions import check_policy, check_scope
from budgets.models import (
    Budget,
    BudgetEvent,
    BudgetRaise,
    Decision,
    Period,
    Reservation,
    ScopeType,
    default_thresholds,
)
from budgets.reports import LiveWindow
from spendhub.api.fields import (
    MoneyField,
    StrictBooleanField,
    StrictCharField,
    StrictChoiceField,
    StrictDateTimeField,
    StrictDecimalField,
    StrictIntegerField,
    StrictSerializer,
)
from spendhub.money import format_usd


class ShareField(StrictDecimalField):
    """A share of the limit: 0.8 is 80 %. Answers are short: 0.8, not 0.8000."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=5, decimal_places=4, min_value=Decimal(0), max_value=Decimal(1), **options)

    def to_representation(self, value: Any) -> str:
        return format(Decimal(value).normalize(), "f")


class ThresholdField(StrictDecimalField):
    """A share of the limit that is told once per window; above 1 for what no hard cap stops."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=6, decimal_places=4, min_value=Decimal("0.0001"), max_value=Decimal(10), **options)

    def to_representation(self, value: Any) -> str:
        return format(Decimal(value).normalize(), "f")


class DowngradeRuleSerializer(StrictSerializer):
    """Above the soft cap, these models ("*": any) give way to a cheaper one."""

    to = StrictCharField(max_length=120)

    def get_fields(self) -> dict[str, Any]:
        # `from` is a word of Python's own.
        models = serializers.ListField(child=StrictCharField(max_length=120), min_length=1, max_length=100)
        return {"from": models, **super().get_fields()}


class WindowSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField(allow_null=True)


class LiveSerializer(serializers.Serializer[LiveWindow]):
    """One key of a budget in its current window."""

    scope_key = serializers.CharField(source="matched.scope_key")
    window = serializers.SerializerMethodField()
    limit = MoneyField(source="matched.limit_nano_usd")
    spent = MoneyField(source="spent_nano_usd")
    reserved = MoneyField(source="reserved_nano_usd")
    remaining = MoneyField(source="remaining_nano_usd")
    overspent = MoneyField(source="overspent_nano_usd")
    utilisation = serializers.SerializerMethodField(help_text="Share of the limit that is spent or held.")
    state = serializers.CharField()
    breach_count = serializers.SerializerMethodField(help_text="How many thresholds it has reached in this window.")
    last_threshold = serializers.SerializerMethodField()
    updated_at = serializers.SerializerMethodField()

    @extend_schema_field(WindowSerializer)
    def get_window(self, live: LiveWindow) -> dict[str, str | None]:
        return {"start": iso_of_epoch(live.window.starts_at), "end": iso_of_epoch(live.window.ends_at)}

    @extend_schema_field(serializers.FloatField())
    def get_utilisation(self, live: LiveWindow) -> float:
        return round(live.utilisation, 6)

    @extend_schema_field(serializers.IntegerField())
    def get_breach_count(self, live: LiveWindow) -> int:
        return self._row(live).get("breach_count", 0)

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_last_threshold(self, live: LiveWindow) -> str | None:
        return self._row(live).get("last_threshold") or None

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_updated_at(self, live: LiveWindow) -> datetime | None:
        return self._row(live).get("updated_at")

    def _row(self, live: LiveWindow) -> Mapping[str, Any]:
        rows: Mapping[Any, Mapping[str, Any]] = self.context.get("rows", {})
        return rows.get((live.matched.budget.id, live.matched.scope_key), {})


class BudgetSerializer(StrictSerializer):
    """A budget and how it stands in its current window. An allowance (`scope_key` "*") shows its fullest key."""

    id = serializers.UUIDField(read_only=True)
    name = StrictCharField(max_length=120, required=False, help_text="Made from the scope when left out.")
    scope_type = StrictChoiceField(ScopeType.choices)
    scope_key = StrictCharField(max_length=200, default="*", help_text='"*" gives each key its own allowance.')
    limit = MoneyField(source="limit_nano_usd")
    period = StrictChoiceField(Period.choices, default=Period.MONTH)
    soft_cap = ShareField(default=Decimal("0.8"))
    hard_cap = ShareField(default=Decimal(1))
    mode = StrictChoiceField(Budget.Mode.choices, default=Budget.Mode.ENFORCE)
    thresholds = serializers.ListField(child=ThresholdField(), max_length=20, default=default_thresholds)
    downgrade_rules = DowngradeRuleSerializer(many=True, default=list)
    disabled_tools = serializers.ListField(child=StrictCharField(max_length=200), max_length=200, default=list)
    strict = StrictBooleanField(default=False)
    patience_seconds = StrictIntegerField(min_value=0, max_value=60, default=0)
    starts_at = StrictDateTimeField(allow_null=True, default=None)
    ends_at = StrictDateTimeField(allow_null=True, default=None)
    is_frozen = serializers.BooleanField(read_only=True)
    source = serializers.CharField(read_only=True)  # type: ignore[assignment]  # a column, not DRF's own source
    created_at = serializers.DateTimeField(read_only=True)
    archived_at = serializers.DateTimeField(read_only=True, allow_null=True)
    live_key = serializers.SerializerMethodField(help_text="The key that the numbers below are of.")
    window = serializers.SerializerMethodField()
    limit_now = serializers.SerializerMethodField(help_text="The limit with the raises that last right now.")
    spent = serializers.SerializerMethodField()
    reserved = serializers.SerializerMethodField()
    remaining = serializers.SerializerMethodField(help_text="Room to the hard cap.")
    overspent = serializers.SerializerMethodField(help_text="What is spent beyond the hard cap.")
    utilisation = serializers.SerializerMethodField(help_text="Share of the limit that is spent or held.")
    state = serializers.SerializerMethodField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        facts = {**({} if self.instance is None else vars(self.instance)), **attrs}
        check_scope(facts["scope_type"], facts["scope_key"])
        check_policy(facts["soft_cap"], facts["hard_cap"], facts["starts_at"], facts["ends_at"])
        for name in ("soft_cap", "hard_cap"):
            if name in attrs:
                attrs[name] = Decimal(attrs[name])
        if "thresholds" in attrs:
            shares = sorted({Decimal(str(share)) for share in attrs["thresholds"]})
            attrs["thresholds"] = [format(share.normalize(), "f") for share in shares]
        if "downgrade_rules" in attrs:
            rules = attrs["downgrade_rules"]
            attrs["downgrade_rules"] = [{"from": list(rule["from"]), "to": rule["to"]} for rule in rules]
        return attrs

    def _live(self, budget: Budget) -> LiveWindow | None:
        live: Mapping[Any, LiveWindow] = self.context.get("live", {})
        return live.get(budget.id)

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_live_key(self, budget: Budget) -> str | None:
        live = self._live(budget)
        return live.matched.scope_key if live else None

    @extend_schema_field(WindowSerializer(allow_null=True))
    def get_window(self, budget: Budget) -> dict[str, str | None] | None:
        live = self._live(budget)
        window = live.window if live else self.context.get("windows", {}).get(budget.id)
        return {"start": iso_of_epoch(window.starts_at), "end": iso_of_epoch(window.ends_at)} if window else None

    @extend_schema_field(serializers.CharField())
    def get_limit_now(self, budget: Budget) -> str:
        live = self._live(budget)
        return format_usd(live.matched.limit_nano_usd if live else budget.limit_nano_usd)

    @extend_schema_field(serializers.CharField())
    def get_spent(self, budget: Budget) -> str:
        live = self._live(budget)
        return format_usd(live.spent_nano_usd if live else 0)

    @extend_schema_field(serializers.CharField())
    def get_reserved(self, budget: Budget) -> str:
        live = self._live(budget)
        return format_usd(live.reserved_nano_usd if live else 0)

    @extend_schema_field(serializers.CharField())
    def get_remaining(self, budget: Budget) -> str:
        live = self._live(budget)
        return format_usd(live.remaining_nano_usd if live else int(budget.limit_nano_usd * Decimal(budget.hard_cap)))

    @extend_schema_field(serializers.CharField())
    def get_overspent(self, budget: Budget) -> str:
        live = self._live(budget)
        return format_usd(live.overspent_nano_usd if live else 0)

    @extend_schema_field(serializers.FloatField())
    def get_utilisation(self, budget: Budget) -> float:
        live = self._live(budget)
        return round(live.utilisation, 6) if live else 0.0

    @extend_schema_field(serializers.CharField())
    def get_state(self, budget: Budget) -> str:
        live = self._live(budget)
        return live.state if live else "active"


class RaiseSerializer(StrictSerializer):
    """A one-off raise of a limit that ends by itself."""

    id = serializers.UUIDField(read_only=True)
    by = MoneyField(source="by_nano_usd", minimum_nano_usd=1)
    starts_at = StrictDateTimeField(required=False, help_text="Now, when left out.")
    ends_at = StrictDateTimeField()
    reason = StrictCharField(max_length=200, required=False, allow_blank=True)
    actor = serializers.CharField(read_only=True)

    class Meta:
        model = BudgetRaise


class ResetSerializer(StrictSerializer):
    """Whose count begins afresh: one key's, or (left out) every key's."""

    scope_key = StrictCharField(max_length=200, default="*")


class ResetAnswerSerializer(serializers.Serializer[Any]):
    windows = serializers.IntegerField(help_text="How many windows began afresh.")


class SuggestionSerializer(serializers.Serializer[Any]):
    """What a budget's rules make of a model and of tools."""

    model = serializers.CharField()
    suggested_model = serializers.CharField(allow_null=True)
    chain = serializers.ListField(child=serializers.CharField(), help_text="Every step the rules would take, in order.")
    disabled_tools = serializers.ListField(child=serializers.CharField())


class EventSerializer(serializers.ModelSerializer[BudgetEvent]):
    """Something that was told about a budget."""

    spend = MoneyField(source="spend_nano_usd")
    limit = MoneyField(source="limit_nano_usd")

    class Meta:
        model = BudgetEvent
        fields = (
            "id", "budget", "kind", "occurred_at", "scope_key", "window_starts_at", "from_state", "to_state",
            "threshold", "spend", "limit", "actor",
        )  # fmt: skip
        read_only_fields = fields


class DecisionSerializer(serializers.ModelSerializer[Decision]):
    """Why a call was allowed or refused: each budget looked at, what it held, what would have passed."""

    estimated_cost = MoneyField(source="estimated_cost_nano_usd")
    remaining = MoneyField(source="remaining_nano_usd", allow_null=True)
    budgets = serializers.JSONField(source="looked_at", help_text="As in the answer of check.")
    bound_by = serializers.UUIDField(source="budget_id", allow_null=True, help_text="The budget that decided.")
    would_have_passed = serializers.SerializerMethodField()

    class Meta:
        model = Decision
        fields = (
            "id", "created_at", "allowed", "action", "reason", "bound_by", "attribution", "api_key", "provider",
            "model", "estimated_cost", "remaining", "resets_at", "suggested_model", "disabled_tools", "budgets",
            "would_have_passed",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(
        {
            "type": "object",
            "nullable": True,
            "properties": {
                "estimated_cost": {"type": "string", "description": "The dearest call that still had room."},
                "model": {"type": "string", "nullable": True, "description": "A cheaper model that still had room."},
                "after": {"type": "string", "format": "date-time", "nullable": True},
            },
        }
    )
    def get_would_have_passed(self, row: Decision) -> dict[str, Any] | None:
        if row.allowed or row.reason == "frozen":
            return None
        return {
            "estimated_cost": format_usd(row.remaining_nano_usd or 0),
            "model": row.suggested_model or None,
            "after": row.resets_at,
        }


class ReservationSerializer(serializers.ModelSerializer[Reservation]):
    """A reservation as it stands. `expired` has ended by itself and can still be committed."""

    amount = MoneyField(source="amount_nano_usd")
    released = MoneyField(source="released_nano_usd", allow_null=True)
    status = serializers.SerializerMethodField()

    class Meta:
        model = Reservation
        fields = (
            "id", "status", "amount", "created_at", "expires_at", "settled_at", "span_id", "released", "attribution",
            "api_key", "provider", "model", "idempotency_key",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(["held", "expired", "committed", "released"]))
    def get_status(self, row: Reservation) -> str:
        is_expired = row.status == Reservation.Status.HELD and row.expires_at <= self.context["now"]
        return "expired" if is_expired else row.status

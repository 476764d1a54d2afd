"""Routes and dry runs on the wire. Money is USD."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from routing.dry_run import DryRun, Line
from routing.models import CAPABILITIES, Model, Route
from routing.pasted_requests import PastedRequest, ReadRequest, read_pasted
from routing.route_checks import check_route, with_experiment_kept
from routing.serializers import MAX_TOKENS, SharedFlag, WordsField
from routing.snapshot import CATALOG
from routing.wanted import MOST_MS
from spendhub.api.authentication import principal_of
from spendhub.api.fields import (
    MoneyField,
    StrictCharField,
    StrictChoiceField,
    StrictIntegerField,
    StrictModelSerializer,
    StrictSerializer,
)
from spendhub.money import format_usd
from spendhub.tenants.attribution import DIMENSIONS, NOBODY, Attribution, InvalidAttribution
from spendhub.tenants.snapshot import Principal, TenantFacts


@extend_schema_field({"type": "object", "additionalProperties": True})
class ObjectField(serializers.Field[dict[str, Any], Any, dict[str, Any], Any]):
    """A JSON object."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("must be an object")
        return data

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return value


@extend_schema_field({"type": "array", "items": {"type": "object", "additionalProperties": True}})
class ObjectsField(serializers.Field[list[Any], Any, list[Any], Any]):
    """A list of JSON objects."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
            raise serializers.ValidationError("must be a list of objects")
        return data

    def to_representation(self, value: list[Any]) -> list[Any]:
        return value


class RouteSerializer(StrictModelSerializer):
    """A name that agents may put in `model`, standing for candidate models, a strategy and a fallback order."""

    models = WordsField(
        source="candidate_models", required=False, help_text="Candidate models; none: every model that can do it."
    )
    fallback = WordsField(
        required=False,
        help_text="Models tried next, in this order, when the chosen one fails or none of `models` can be called.",
    )
    strategy = StrictCharField(max_length=40, required=False, help_text="How one is chosen; see docs/routing.md.")
    match = ObjectField(
        required=False,
        help_text='For which calls it is a rule, e.g. {"feature": "support", "model": ["auto", "gpt-5"]}.',
    )
    options = ObjectField(required=False, help_text="What the strategy needs to know, and what the route demands.")
    priority = StrictIntegerField(
        min_value=0, max_value=1000, required=False, help_text="Of several rules that apply, the highest is used."
    )
    is_shared = SharedFlag()

    class Meta:
        model = Route
        fields = [
            "id", "name", "models", "strategy", "fallback", "match", "options", "priority", "is_enabled", "is_shared",
        ]  # fmt: skip

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The parts must go together: see routing/route_checks.py."""
        row = self.instance if isinstance(self.instance, Route) else Route()
        checked = check_route(
            CATALOG.refresh(),
            principal_of(self.context["request"]).tenant_id,
            models=attrs.get("candidate_models", row.candidate_models),
            strategy=attrs.get("strategy", row.strategy),
            fallback=attrs.get("fallback", row.fallback),
            match=attrs.get("match", row.match),
            options=attrs.get("options", row.options),
            name=attrs.get("name", row.name),
            row=None if row._state.adding else row,
        )
        if checked.problems:
            raise serializers.ValidationError(checked.problems)
        attrs |= {"candidate_models": checked.models, "fallback": checked.fallback, "match": checked.match}
        if not row._state.adding:
            name, strategy = attrs.get("name", row.name), attrs.get("strategy", row.strategy)
            attrs["options"] = with_experiment_kept(row, name, strategy, attrs.get("options", row.options))
        return attrs


# Where in Declared what a field says is kept.
_DECLARED = {
    "capabilities": "capabilities", "min_quality": "min_quality", "max_cost": "max_cost_nano_usd",
    "max_latency_ms": "max_latency_ms", "timeout_ms": "timeout_ms", "region": "region", "allow": "allow",
    "deny": "deny", "strategy": "strategy", "user_tier": "user_tier", "confidence_threshold": "confidence_threshold",
}  # fmt: skip


class DryRunSerializer(StrictSerializer):
    """A call to try: as `prompt`, `messages`, or a whole request in `body`, in the words of OpenAI's, Anthropic's or
    Google's clients, read as the call itself would be; and what it demands of a model beside."""

    model = StrictCharField(
        max_length=120, required=False, help_text="A route, model or alias; else the body's, else `auto`."
    )
    prompt = StrictCharField(max_length=200_000, required=False, allow_blank=True, trim_whitespace=False)
    messages = ObjectsField(required=False)
    body = ObjectField(required=False)
    attribution = ObjectField(required=False, help_text=f"Keys by dimension: {', '.join(DIMENSIONS)}.")
    kind = StrictChoiceField(choices=Model.Kind.choices, required=False)
    input_tokens = StrictIntegerField(min_value=0, max_value=MAX_TOKENS, required=False, help_text="Else estimated.")
    max_output_tokens = StrictIntegerField(min_value=1, max_value=MAX_TOKENS, required=False)
    strategy = StrictCharField(max_length=40, required=False)
    capabilities = WordsField(required=False, choices=CAPABILITIES)
    min_quality = StrictChoiceField(choices=Model.Quality.choices, required=False)
    max_cost = MoneyField(required=False)
    max_latency_ms = StrictIntegerField(min_value=1, max_value=MOST_MS, required=False)
    timeout_ms = StrictIntegerField(min_value=1, max_value=MOST_MS, required=False)
    region = StrictCharField(max_length=40, required=False)
    allow = WordsField(required=False, help_text="One name at least; without this field any model may answer.")
    deny = WordsField(required=False)
    user_tier = StrictChoiceField(choices=["free", "standard", "premium"], required=False)
    confidence_threshold = serializers.FloatField(min_value=0, max_value=1, required=False)
    budget_share_left = serializers.FloatField(
        min_value=0, max_value=1, required=False, help_text="As if so much of the tightest budget were left."
    )

    def validate_attribution(self, given: dict[str, Any]) -> Attribution:
        """Keys by dimension."""
        try:
            return Attribution.parse(given)
        except InvalidAttribution as error:
            raise serializers.ValidationError(error.message) from None

    def validate_allow(self, given: list[str]) -> list[str]:
        """As the call itself is refused: read as no list at all, an empty one would let every model answer."""
        if not given:
            raise serializers.ValidationError("must have a word, or not be there")
        return given

    def read(self, principal: Principal, now: datetime) -> ReadRequest:
        """The call that was described, as routing is asked for it."""
        return read_described(self.validated_data, principal.tenant, now)


def read_described(given: dict[str, Any], tenant: TenantFacts, now: datetime) -> ReadRequest:
    """A call to try, from the fields of a DryRunSerializer. What they say wins over what the body says, as headers do.

    Raises the Invalid that the call would be refused with."""
    body = dict(given.get("body") or {})
    if given.get("messages") is not None:
        body["messages"] = given["messages"]
    read = read_pasted(
        PastedRequest(
            tenant,
            body,
            prompt=given.get("prompt") or "",
            model=given.get("model") or "",
            kind=given.get("kind") or "",
            input_tokens=given.get("input_tokens"),
            max_output_tokens=given.get("max_output_tokens"),
            attribution=given.get("attribution") or NOBODY,
        )
    )
    said = {field: given[name] for name, field in _DECLARED.items() if given.get(name) not in (None, "", [])}
    said |= {name: frozenset(said[name]) for name in ("capabilities", "allow", "deny") if name in said}
    wanted = replace(
        read.wanted,
        now=now,
        declared=replace(read.wanted.declared, **said),
        budget_share_left=given.get("budget_share_left"),
    )
    return replace(read, wanted=wanted)


class DryRunLineSerializer(StrictSerializer):
    """A model that can do the call. `role`: chosen, fallback, cheaper (if no budget has room), or merely ranked."""

    model = serializers.CharField()
    provider = serializers.CharField()
    role = serializers.ChoiceField(choices=["chosen", "fallback", "cheaper", "ranked"])
    estimated_cost = serializers.CharField(
        help_text="USD, expected: what would be held under budgets that are not strict"
    )
    score = serializers.FloatField(allow_null=True, help_text="In the strategy's own measure: see `measure`.")
    quality = serializers.FloatField()
    p95_ms = serializers.FloatField(help_text="Expected; a prior where nothing has been measured.")
    error_rate = serializers.FloatField()
    calls = serializers.IntegerField(help_text="How many recent calls these figures are from.")


class FellOutSerializer(StrictSerializer):
    """A model that was left out."""

    model = serializers.CharField()
    reason = serializers.CharField()


class DryRunAnswerSerializer(StrictSerializer):
    """Who won and why, who else can do it, and who fell out and why."""

    chosen = serializers.CharField(allow_null=True)
    route = serializers.CharField(allow_blank=True, help_text="Empty: the model was named.")
    strategy = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    confidence = serializers.FloatField()
    measure = serializers.CharField(allow_blank=True)
    candidates = DryRunLineSerializer(many=True)
    fell_out = FellOutSerializer(many=True)


def dry_run_answer(found: DryRun) -> dict[str, Any]:
    """A dry run as DryRunAnswerSerializer describes it."""
    plan = found.plan
    return {
        "chosen": None if plan is None else plan.candidates[0].model.name,
        "route": "" if plan is None else plan.route,
        "strategy": None if plan is None else plan.strategy,
        "reason": plan.reason if plan is not None else found.error.message if found.error is not None else "",
        "confidence": 0.0 if plan is None else plan.confidence,
        "measure": found.measure,
        "candidates": [line_answer(line) for line in found.lines],
        "fell_out": [{"model": each.model, "reason": each.reason} for each in found.fell_out],
    }


def line_answer(line: Line) -> dict[str, Any]:
    """One candidate as DryRunLineSerializer describes it."""
    option = line.option
    return {
        "model": option.name,
        "provider": option.model.provider.name,
        "role": line.role,
        "estimated_cost": format_usd(option.estimate_nano_usd),
        "score": line.score,
        "quality": round(option.quality, 2),
        "p95_ms": round(option.p95_ms),
        "error_rate": round(option.observed.error_rate, 4),
        "calls": option.observed.calls,
    }

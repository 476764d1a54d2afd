"""The budget form: limits in dollars, caps in percent, rules one a line."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from budgets.models import Budget, ScopeType
from budgets.scope_names import counted_as
from budgets.suggestions import model_is_known
from spendhub.tenants.admin_fields import LinesField, PercentField, parse_percent, show_share
from spendhub.tenants.admin_scoping import ScopedForm
from spendhub.tenants.attribution import InvalidAttribution, clean_key

RULE_HELP = (
    "One rule a line, tried in order, once the soft cap is reached: “gpt-5 -> gpt-5-mini”. "
    "Several models may give way to one: “gpt-5, claude-opus-4-1 -> gpt-5-mini”; * is any model."
)


def read_rule(line: str) -> dict[str, Any]:
    """A downgrade rule from `from, from -> to`. Raises ValidationError."""
    left, arrow, to = line.replace("→", "->").partition("->")
    names = [name.strip() for name in left.split(",") if name.strip()]
    to = to.strip()
    if not arrow or not names or not to:
        raise ValidationError(f"{line!r} should look like “gpt-5 -> gpt-5-mini”.")
    if "," in to or "->" in to:
        raise ValidationError(f"{to!r}: a rule leads to one model; write another line for another one.")
    if to in names:
        raise ValidationError(f"{to} cannot give way to itself.")
    return {"from": names, "to": to}


def show_rule(rule: dict[str, Any]) -> str:
    """A downgrade rule as it is typed."""
    return f"{', '.join(rule['from'])} -> {rule['to']}"


def read_threshold(line: str) -> str:
    """A share as the ledger keeps it ("0.75"), from "75 %"."""
    share = parse_percent(line)
    if share == 0:
        raise ValidationError("A threshold is above 0 %.")
    return f"{share.normalize():f}"


def rules_field(**kwargs: Any) -> LinesField:
    return LinesField(read=read_rule, show=show_rule, **{**kwargs, "help_text": RULE_HELP, "required": False})


def tools_field(**kwargs: Any) -> LinesField:
    text = "One tool name a line. Agents are told to leave them out once the soft cap is reached."
    return LinesField(**{**kwargs, "help_text": text, "required": False})


def thresholds_field(**kwargs: Any) -> LinesField:
    text = "One a line. Each is told once per window, when spend reaches it."
    return LinesField(read=read_threshold, show=show_share, **{**kwargs, "help_text": text, "required": False})


def percent_field(**kwargs: Any) -> PercentField:
    text = {
        "Soft cap": "From this share of the limit on we warn, or switch to cheaper models.",
        "Hard cap": "At this share of the limit calls are stopped; 100 is the whole limit.",
    }
    return PercentField(**{**kwargs, "help_text": text.get(kwargs.get("label") or "", "")})


class BudgetForm(ScopedForm):
    """Checks what fields cannot know of each other."""

    class Meta:
        model = Budget
        fields: tuple[str, ...] = ()
        labels = {"patience_seconds": "Patience (seconds)"}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        soft, hard = cleaned.get("soft_cap"), cleaned.get("hard_cap")
        if isinstance(soft, Decimal) and isinstance(hard, Decimal) and soft > hard:
            self.add_error("soft_cap", "The soft cap comes before the hard cap, or with it.")
        starts_at, ends_at = cleaned.get("starts_at"), cleaned.get("ends_at")
        if starts_at and ends_at and starts_at >= ends_at:
            self.add_error("ends_at", "The end comes after the start.")
        if "scope_type" in cleaned:
            self._clean_scope(cleaned)
        tenant = self.tenant
        if tenant is not None:
            for rule in cleaned.get("downgrade_rules") or ():
                if not model_is_known(tenant.pk, rule["to"]):
                    self.add_error("downgrade_rules", f"We know no model called {rule['to']!r}; see Models.")
        return cleaned

    def _clean_scope(self, cleaned: dict[str, Any]) -> None:
        scope_type, key = cleaned["scope_type"], str(cleaned.get("scope_key") or "").strip()
        if scope_type == ScopeType.TENANT:
            key = "*"
        elif key != "*":
            try:
                key = clean_key(scope_type, key)
            except InvalidAttribution as error:
                raise forms.ValidationError({"scope_key": f"{error.message}."}) from None
        tenant, period = self.tenant, cleaned.get("period")
        if tenant is not None:
            key = counted_as(tenant.pk, scope_type, key)
        cleaned["scope_key"] = key
        if tenant is None or period is None:
            return
        same = Budget.objects.for_tenant(tenant).filter(
            scope_type=scope_type, scope_key=key, period=period, archived_at__isnull=True
        )
        twin = same.exclude(pk=self.instance.pk).first()
        if twin is not None:
            raise forms.ValidationError(
                f"“{twin.name}” already limits this for the same period: change its limit instead."
            )

"""The route form, and the box for trying a request: models one a line, rules as people say them, options as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from django import forms
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from routing.admin.named_rows import NamedRowForm
from routing.models import CAPABILITIES, Model, Route
from routing.route_checks import MATCHED, check_route, with_experiment_kept
from routing.route_options import COMMON
from routing.snapshot import CATALOG
from routing.strategies.base import Strategy
from routing.strategies.registry import STRATEGIES
from spendhub.api.bodies import InvalidJson, refuse_unstorable
from spendhub.tenants.admin_fields import AttributionField, LinesField, UsdField, WordsField
from spendhub.tenants.attribution import Attribution

RULE_HELP = (
    "Leave this empty for a name that agents ask for themselves. Else say for which calls it is used, one line each, "
    "all of which must apply: “feature: support” or “user: ada, ben”; * is anybody. It then answers calls that ask "
    "for auto; a line “model: auto, gpt-5” says which names it answers instead (* is every name)."
)
COMMON_EXAMPLE = '{"timeout_ms": 30000, "retries": 2, "deny": ["gpt-5"]}'
# Shows what belongs to the strategy that is chosen, also while it is being chosen.
_FOLLOWS_STRATEGY = mark_safe(
    'x-data="{ strategy: document.getElementById(\'id_strategy\')?.value }" x-init="document.getElementById'
    "('id_strategy')?.addEventListener('change', (event) => strategy = event.target.value)\""
)
MAX_REQUEST = 200_000


class RuleField(LinesField):
    """For which calls a route is a rule, typed as `feature: support, sales`, one dimension a line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read=_read_rule, **kwargs)

    def lines(self, value: Any) -> str:
        if not isinstance(value, Mapping):
            return ""
        return "\n".join(
            f"{dimension}: {keys if isinstance(keys, str) else ', '.join(map(str, keys))}"
            # A database may give them back in any order.
            for dimension, keys in sorted(value.items(), key=lambda entry: str(entry[0]))
        )

    def collect(self, entries: list[Any]) -> Any:
        dimensions = [dimension for dimension, _ in entries]
        twice = next((each for each in dimensions if dimensions.count(each) > 1), None)
        if twice is not None:
            raise ValidationError(f"{twice} stands there twice; write its keys in one line, with commas.")
        return dict(entries)


class OptionsField(forms.JSONField):
    """A JSON object; empty is {}."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "required": False, "widget": UnfoldAdminTextareaWidget(attrs={"rows": 6})})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return value  # typed, and given back because something is wrong
        return json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, Mapping) and value else ""

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str) or not value.strip():
            return value
        found = _read_json(value)
        if found is None:
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return found

    def clean(self, value: Any) -> Any:
        found = super().clean(value)
        if found is None or found == "":
            return {}
        if not isinstance(found, dict):
            raise ValidationError('Write an object, such as {"timeout_ms": 30000}.')
        return found


def strategy_field(**kwargs: Any) -> forms.ChoiceField:
    """One of the strategies, with what each does below it."""
    choices = [(name, f"{name}: {strategy.summary}") for name, strategy in STRATEGIES.items()]
    return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget(choices=choices), **kwargs)


def models_field(**kwargs: Any) -> LinesField:
    text = "Model names, one a line. Empty: every model that can do what is asked."
    return LinesField(**{**kwargs, "help_text": text, "required": False})


def fallback_field(**kwargs: Any) -> LinesField:
    text = (
        "Model names, one a line, tried in this order when the chosen one fails, or none of the candidates can be "
        "called. Empty: the next two best."
    )
    return LinesField(**{**kwargs, "help_text": text, "required": False})


def rule_field(**kwargs: Any) -> RuleField:
    return RuleField(**{**kwargs, "help_text": RULE_HELP, "required": False})


def options_field(**kwargs: Any) -> OptionsField:
    return OptionsField(**{**kwargs, "help_text": options_help()})


def options_help() -> SafeString:
    """What may stand in a route's options: of each strategy its own, the chosen one's in sight; then those of all."""
    own = format_html_join(
        "", "<div x-show=\"strategy === '{}'\">{}</div>", ((s.name, _own_options(s)) for s in STRATEGIES.values())
    )
    return format_html(
        "What the strategy needs to know, as JSON.<div {}>{}</div>For every strategy: {}. Such as <code>{}</code>. "
        'Who would answer then is shown by <a class="sh-link" href="{}">Try a request</a>.',
        _FOLLOWS_STRATEGY,
        own,
        ", ".join(COMMON),
        COMMON_EXAMPLE,
        reverse("admin:routing_route_try_request"),
    )


def _own_options(strategy: Strategy) -> SafeString:
    if not strategy.options_in_words:
        return format_html("<b>{}</b> has no options of its own.", strategy.name)
    lines = format_html_join("; ", "<b>{}</b>: {}", strategy.options_in_words.items())
    example = format_html(" Such as <code>{}</code>", strategy.example) if strategy.example else mark_safe("")
    return format_html("{} has {}.{}", strategy.name, lines, example)


class RouteForm(NamedRowForm):
    """Checks what a route must be, as the API does. `kept_experiment` is the experiment that a renamed route goes on
    with, "" for none."""

    kept_experiment = ""

    class Meta:
        model = Route
        fields: tuple[str, ...] = ()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if {"candidate_models", "strategy", "fallback", "match", "options"} - set(cleaned):
            return cleaned  # a field of its own is wrong already
        tenant = self.tenant
        checked = check_route(
            CATALOG.refresh(),
            None if tenant is None else tenant.pk,
            models=cleaned["candidate_models"],
            strategy=cleaned["strategy"],
            fallback=cleaned["fallback"],
            match=cleaned["match"],
            options=cleaned["options"],
            name=cleaned.get("name", ""),
            row=None if self.instance._state.adding else self.instance,
        )
        for name, problems in checked.problems.items():
            field = "candidate_models" if name == "models" else name
            for problem in problems:
                self.add_error(field, f"{problem[:1].upper()}{problem[1:]}.")
        if not checked.problems:
            cleaned |= {"candidate_models": checked.models, "fallback": checked.fallback, "match": checked.match}
            if not self.instance._state.adding:
                cleaned["options"] = self._with_experiment_kept(cleaned)
        return cleaned

    def _with_experiment_kept(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        row, options = self.instance, cleaned["options"]
        kept = with_experiment_kept(row, cleaned.get("name", row.name), cleaned["strategy"], options)
        self.kept_experiment = "" if kept == options else kept["experiment"]
        return kept


class DryRunForm(forms.Form):
    """A request to try."""

    model = forms.CharField(
        label="Asked for", max_length=120, required=False, widget=UnfoldAdminTextInputWidget(),
        help_text="A route, a model or an alias. Empty: what the request below has in model, else auto.",
    )  # fmt: skip
    request_text = forms.CharField(
        label="The request", max_length=MAX_REQUEST, required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6}),
        help_text="Words, or the whole JSON body that an OpenAI, Anthropic or Google client would send.",
    )  # fmt: skip
    attribution = AttributionField(
        label="Made for", widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="One line each, such as “feature: support”.",
    )  # fmt: skip
    strategy = forms.ChoiceField(label="Strategy", required=False, widget=UnfoldAdminSelectWidget())
    max_output_tokens = forms.IntegerField(
        label="Longest answer", min_value=1, max_value=2**31 - 1, required=False, help_text="In tokens.",
        widget=UnfoldAdminIntegerFieldWidget(),
    )  # fmt: skip
    max_cost = UsdField(label="Costs at most", required=False)
    min_quality = forms.ChoiceField(
        label="Quality at least", required=False, widget=UnfoldAdminSelectWidget(),
        choices=[("", "Any"), *Model.Quality.choices],
    )  # fmt: skip
    capabilities = WordsField(CAPABILITIES, label="Must be able to")
    budget_percent_left = forms.IntegerField(
        label="As if so much of the budget were left", min_value=0, max_value=100, required=False,
        widget=UnfoldAdminIntegerFieldWidget(), help_text="In percent; only budget-aware routes look at it.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        strategy = self.fields["strategy"]
        assert isinstance(strategy, forms.ChoiceField)
        strategy.choices = [("", "As the route says"), *((name, name) for name in STRATEGIES)]

    def clean_request_text(self) -> str:
        """Of nothing it would be told which model answers something else."""
        text = str(self.cleaned_data["request_text"])
        if not text.strip() or _body_of(text) == {}:
            raise ValidationError("There is no request yet: write its words, or paste its whole body.")
        return text

    def described(self) -> dict[str, Any]:
        """The request as the fields of a dry run over the API."""
        cleaned = dict(self.cleaned_data)
        cleaned["attribution"] = Attribution(**(cleaned["attribution"] or {}))
        percent = cleaned.pop("budget_percent_left")
        cleaned["budget_share_left"] = None if percent is None else percent / 100
        text = cleaned.pop("request_text")
        body = _body_of(text)
        return cleaned | ({"body": body} if body is not None else {"prompt": text})

    def note(self) -> str:
        """What is to be said of how the request was read; "" for nothing."""
        text = self.cleaned_data["request_text"]
        if not text.lstrip().startswith(("{", "[")) or _body_of(text) is not None:
            return ""
        why = "valid JSON" if _decoded(text) is None else "a JSON object"
        return f"The request was read as words, for it is not {why}."


def _body_of(text: str) -> dict[str, Any] | None:
    found = _decoded(text) if text.lstrip().startswith("{") else None
    return found if isinstance(found, dict) else None


def _read_json(text: str) -> Any:
    """What the text says in JSON as strict as the API's, None when it is none."""
    try:
        refuse_unstorable(text.encode("utf-8", "surrogatepass"))
    except InvalidJson:
        return None
    return _decoded(text)


def _decoded(text: str) -> Any:
    """What the text says in JSON, None when it is none."""
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _read_rule(line: str) -> tuple[str, list[str]]:
    dimension, colon, keys = line.partition(":")
    names = [key.strip() for key in keys.split(",") if key.strip()]
    if not colon or not names:
        raise ValidationError(f"{line!r} should look like “feature: support”.")
    word = dimension.strip().lower()
    if word not in MATCHED:
        raise ValidationError(f"{word!r} is none of {', '.join(MATCHED)}.")
    return word, names

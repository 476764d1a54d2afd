"""How a call came about, as its page says it: who chose its model and why, what part it had in its request, how its
answer ended. Read from what the gateway keeps in a span's `metadata`; docs/admin.md, "Spend"."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from spendhub.money import parse_usd
from spendhub.tenants.admin_fields import Labelled, show_exact_usd, show_number
from telemetry.models import CostSpan
from telemetry.request_ids import GATEWAYS_SOURCES, span_of_request

_T = TypeVar("_T")

# Attempts, reviews and a judge's answer share a deadline, a sample is scored soon after: the index by time serves.
_NEAR = timedelta(hours=1)
MOST_SHOWN = 50
# What the span of a call keeps that did not simply get the model it named.
_BY_A_CHOICE = frozenset(("route", "cache", "attempt", "review_of"))
PART_COLOURS = {"memory": "success", "review": "info", "judge": "warning", "again": "warning"}


@dataclass(frozen=True, slots=True)
class Fact:
    """One entry of the metadata: its label, and its words for people."""

    label: str
    tell: Callable[[Any], str] = str


def _listed(names: Any) -> str:
    return ", ".join(map(str, names))


def _words(name: Any) -> str:
    return str(name).replace("_", " ")


def _percent(share: Any) -> str:
    return f"{show_number(float(share) * 100)} %"


def _plain(number: Any) -> str:
    return show_number(float(number))


def _yes(value: Any) -> str:
    return "yes" if value else "no"


def _nth(attempt: Any) -> str:
    # What is kept of a choice is the same for all attempts.
    return f"{attempt}: another could not answer; the reason is that of the first choice"


def _usd(amount: Any) -> str:
    return show_exact_usd(parse_usd(amount))


FACTS: Mapping[str, Fact] = {
    # How its model was chosen.
    "route": Fact("Route"),
    "strategy": Fact("Strategy"),
    "reason": Fact("Reason"),
    "confidence": Fact("Confidence", _percent),
    "attempt": Fact("Attempt number", _nth),
    "needs": Fact("Needed of a model", _listed),
    "estimate_nano_usd": Fact("Expected to cost", show_exact_usd),
    "alternatives": Fact("Next in line", _listed),
    "experiment": Fact("Experiment"),
    "arm": Fact("Drawn in it"),
    "complexity": Fact("Complexity", _plain),
    "is_sample": Fact("Scores a sample", _yes),
    "answer_confidence": Fact("Confidence in the first answer", _percent),
    # How it ended.
    "finish_reason": Fact("Finish reason"),
    "clamped_to": Fact("Output limited to", lambda tokens: f"{tokens:,} tokens"),
    "ended": Fact("Ended early", _words),
    "ended_by": Fact("Ended by the budget"),
    "stream": Fact("Streamed", _yes),
    "response_id": Fact("The vendor's response id"),
    "client_request_id": Fact("Your request id"),
    # What is unusual about its bill.
    "service_tier": Fact("Service tier"),
    "web_searches": Fact("Web searches", lambda count: f"{count:,}"),
    "not_priced": Fact("Used, but has no price", _listed),
    "list_price_cost": Fact("By our list prices", _usd),
}


def facts_of(span: CostSpan) -> dict[str, Any]:
    """What the gateway itself has kept of the call. Nothing of one that was sent in: its sender says what they like."""
    if not _is_ours(span):
        return {}
    kept = {name: value for name, value in span.metadata.items() if value not in (None, "", [])}
    is_named = span.source == "gateway" and _BY_A_CHOICE.isdisjoint(kept)
    return {"reason": "the call asked for it by name", **kept} if is_named else kept


def told(span: CostSpan, name: str) -> str:
    """One entry of FACTS in words, an en dash where nothing is known of it."""
    value = facts_of(span).get(name)
    return "–" if value is None else FACTS[name].tell(value)


def sent_with(span: CostSpan) -> str:
    """What whoever sent the call in said beside it, as JSON; "" where nothing was."""
    if _is_ours(span) or span.source == "demo" or not span.metadata:
        return ""
    return json.dumps(span.metadata, ensure_ascii=False)


def part_of(span: CostSpan) -> Labelled | None:
    """What the call was in its request, where it was not simply the answer: a colour's key, and words."""
    facts = facts_of(span)
    if facts.get("cache") == "hit":
        return Labelled("memory", "From memory")
    if "review_of" in facts:
        return Labelled("review", "Score of a sample" if facts.get("is_sample") else "Review")
    if "escalated_from" in facts:
        return Labelled("judge", "Judge's answer")
    return Labelled("again", f"Attempt {facts['attempt']}") if "attempt" in facts else None


def saved_by_memory(span: CostSpan) -> str:
    """That the answer came from memory, and what that has saved; "" where it did not."""
    facts = facts_of(span)
    if facts.get("cache") != "hit":
        return ""
    saved = show_exact_usd(facts.get("saved_nano_usd") or 0)
    return f"No model was asked: an answer that was kept is given again. Saved: {saved}"


def other_answer(span: CostSpan, name: str) -> str:
    """The call that `name` (review_of, escalated_from) leads to, as a link; "" where there is none."""
    request_id = facts_of(span).get(name)
    if not request_id:
        return ""
    found = _once(span, f"call {request_id}", lambda: span_of_request(span.tenant_id, str(request_id)))
    if found is None:
        return str(request_id)
    return format_html('<a class="sh-link" href="{}">{}</a>', _page_of(found), request_id)


def others_of_request(span: CostSpan) -> QuerySet[CostSpan]:
    """All calls of the span's trace that were made about when it was, itself too; in order of time."""
    return (
        CostSpan.objects.for_tenant(span.tenant_id)
        .filter(
            trace_id=span.trace_id, occurred_at__gte=span.occurred_at - _NEAR, occurred_at__lte=span.occurred_at + _NEAR
        )
        .order_by("occurred_at", "id")
    )


def request_table(span: CostSpan) -> str:
    """The calls of the span's request side by side; "" where it is alone."""
    return _once(span, "request", lambda: _table(span)) if span.trace_id else ""


def _table(span: CostSpan) -> str:
    calls = list(others_of_request(span)[: MOST_SHOWN + 1])
    if len(calls) < 2:
        return ""
    return render_to_string(
        "telemetry/request_calls.html",
        {
            "count": f"{MOST_SHOWN}+" if len(calls) > MOST_SHOWN else str(len(calls)),
            "kind": "request" if _is_ours(span) else "trace",
            "trace_id": span.trace_id,
            "when": _when(calls[0].occurred_at),
            "lines": [_line(each, span) for each in calls[:MOST_SHOWN]],
        },
    )


def breakdown_of(span: CostSpan) -> str:
    """What each kind of token has cost, to the last decimal."""
    parts = [(_words(kind), show_exact_usd(nano_usd)) for kind, nano_usd in span.breakdown.items()]
    return format_html_join(", ", "{} {}", parts) or "–"


def _once(span: CostSpan, key: str, look_up: Callable[[], _T]) -> _T:
    """Each page of a call tells the same several times: it is looked up once for each row that was read."""
    kept: dict[str, _T] = span.__dict__.setdefault("_looked_up", {})
    if key not in kept:
        kept[key] = look_up()
    return kept[key]


def _when(earliest: datetime) -> str:
    """What the list is to be bounded by, so that it has a call of that moment while the page stays open."""
    age = timezone.now() - earliest + _NEAR
    return next((str(days) for days in (7, 30) if age < timedelta(days=days)), "all")


def _line(call: CostSpan, shown: CostSpan) -> dict[str, Any]:
    part = part_of(call)
    return {
        "at": call.occurred_at,
        "model": call.model or "–",
        "page": _page_of(call),
        "is_shown": call.pk == shown.pk,
        "part": part[1] if part is not None else _first(call),
        "status": str(call.get_status_display()).split(":")[0],
        "error": call.error_code,
        "cost": show_exact_usd(call.cost_nano_usd),
    }


def _first(call: CostSpan) -> str:
    if not _is_ours(call):
        return "–"
    return "Answer" if call.status == CostSpan.Status.OK else "First attempt"


def _is_ours(span: CostSpan) -> bool:
    return span.source in GATEWAYS_SOURCES


def _page_of(span: CostSpan) -> str:
    return reverse("admin:telemetry_costspan_change", args=[span.pk])

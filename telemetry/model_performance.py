"""How models and providers have done: success, speed, cost and quality of a tenant's own calls,
side by side, or per feature and task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from spendhub.money import NANO_PER_USD, format_usd, round_nano_usd
from telemetry.call_samples import CallSample, Period, Tally

GROUPS = ("model", "provider", "feature", "task")
FILTERS = ("feature", "task", "source")


def performance_report(period: Period, group_by: str) -> dict[str, Any]:
    """One line per model (or provider, feature, task) of the calls, those that give most quality per USD first."""
    sample = CallSample(period)
    tallies: dict[str, Tally] = defaultdict(sample.tally)
    for call, rating in sample.rows(sample.calls.exclude(**{group_by: ""})):
        tallies[call[group_by]].add(call, rating)
    return {
        "from": period.starts_at,
        "to": period.ends_at,
        "group_by": group_by,
        "sample": sample.told(),
        "results": ranked(tallies.items()),
    }


def ranked(tallies: Iterable[tuple[str, Tally]]) -> list[dict[str, Any]]:
    """The lines in order: the most quality per USD first, what is free and rated before all.

    What nobody has rated comes last, the most called first, without a rank."""
    ordered = sorted(tallies, key=lambda each: (*_efficiency_order(each[1]), -each[1].calls, each[0]))
    return [
        {"key": key, "rank": place if tally.ratings else None, **_told(tally)}
        for place, (key, tally) in enumerate(ordered, start=1)
    ]


def _efficiency_order(tally: Tally) -> tuple[bool, bool, float]:
    quality = tally.blended_quality
    if quality is None:
        return (True, True, 0.0)
    per_usd = _quality_per_usd(tally)
    return (False, per_usd is not None, -(quality if per_usd is None else per_usd))


def _quality_per_usd(tally: Tally) -> float | None:
    quality = tally.blended_quality
    if quality is None or not tally.nano_usd:
        return None
    return quality * tally.calls * NANO_PER_USD / tally.nano_usd


def _told(tally: Tally) -> dict[str, Any]:
    seconds, per_usd = sum(tally.latencies_ms) / 1000, _quality_per_usd(tally)
    has_output = tally.output_tokens > 0
    return {
        **tally.told(),
        "output_tokens": tally.output_tokens,
        "output_tokens_per_second": round(tally.timed_output_tokens / seconds, 1) if seconds and has_output else None,
        "cost_per_1000_output_tokens": format_usd(round_nano_usd(tally.nano_usd * 1000, tally.output_tokens))
        if has_output
        else None,
        "quality_per_usd": None if per_usd is None else float(f"{per_usd:.4g}"),
    }

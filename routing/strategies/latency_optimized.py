"""The model expected to answer soonest, failures counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.performance import PERCENTILES, USUAL_PERCENTILE, expected_tries
from routing.requirements import FellOut, Hurdle
from routing.strategies.base import Option, Ranking, Strategy, Task, cheapest_of_near, in_order
from routing.strategies.settings import OptionsReader
from routing.wanted import MOST_MS


@dataclass(frozen=True, slots=True)
class LatencySettings:
    """`target_ms`: fast enough; of those that are, the cheapest wins. None: the fastest wins whatever it costs.
    `percentile`: of which latency both is said."""

    target_ms: int | None = None
    percentile: str = USUAL_PERCENTILE


class LatencyOptimized(Strategy):
    """By expected latency (its p95, unless the route says another percentile), times how often a call must be tried
    until it succeeds.

    Models whose expected latency is above the caller's timeout fall out.
    """

    name = "latency-optimized"
    summary = "The model that answers soonest, by its measured p95; failures count against it."
    options_in_words = {
        "target_ms": "fast enough, in milliseconds; of the models expected within it the cheapest answers",
        "percentile": "what is looked at: p50, what half of the calls do not exceed, p95 or p99; else p95",
    }
    example = '{"target_ms": 2000, "percentile": "p99"}'

    def settings(self, given: Mapping[str, Any], models: Sequence[str]) -> LatencySettings:
        reader = OptionsReader(self.name, given)
        found = LatencySettings(
            reader.whole("target_ms", None, least=1, most=MOST_MS),
            reader.word("percentile", USUAL_PERCENTILE, among=PERCENTILES),
        )
        reader.done()
        return found

    def rank(self, options: Sequence[Option], task: Task, settings: LatencySettings) -> Ranking:
        timeout_ms, percentile = task.wanted.declared.timeout_ms, settings.percentile
        in_time, late = [], []
        for option in options:
            latency_ms = option.latency_ms(percentile)
            if timeout_ms is None or latency_ms <= timeout_ms:
                in_time.append(option)
            else:
                why = f"it is expected to take {latency_ms:.0f} ms ({percentile}), above the timeout of {timeout_ms}"
                late.append(FellOut(option.name, why, Hurdle.LATENCY, round(latency_ms - timeout_ms)))
        if not in_time:
            return Ranking(
                (), f"no model is expected to answer within the timeout of {timeout_ms} ms", "", 0.0, tuple(late)
            )
        ranked = in_order(in_time, lambda option: -expected_ms(option, percentile))
        target_ms = settings.target_ms
        reason = "expected to answer soonest"
        if target_ms is not None and -ranked[0].score <= target_ms:
            # Everything up to the target is fast enough: there the price decides.
            ranked = cheapest_of_near(ranked, target_ms + ranked[0].score)
            reason = f"the cheapest of those expected to answer within {target_ms} ms"
        elif target_ms is not None:
            reason = f"expected to answer soonest, though not within {target_ms} ms"
        is_measured = ranked[0].option.observed.calls > 0
        return Ranking(ranked, reason, "minus expected ms", 0.9 if is_measured else 0.5, tuple(late))


def expected_ms(option: Option, percentile: str) -> float:
    """How long it takes until an answer is there, retries included."""
    return option.latency_ms(percentile) * expected_tries(option.observed)

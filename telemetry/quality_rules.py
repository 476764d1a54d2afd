"""What is wrong with an answer, as far as that shows without reading it. Pure.

From what each recorded call keeps anyhow: how it ended, in its vendor's own word, and how much it said. An answer
without a fault has 5 of 5, which says that nothing is seen to be wrong with it, not that it is good; one with a fault
loses the fault's points. docs/feedback-and-savings.md, "Rules".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from routing.performance import BEST_QUALITY
from routing.upstreams.bedrock import converse
from routing.upstreams.gemini import contents
from routing.upstreams.openai import chat
from telemetry.models import CostSpan, QualityWeights

FAULTS = ("broken_off", "refused", "malformed", "cut_off", "empty")

# In the words of OpenAI (and those who speak its dialect), Anthropic, Google and Amazon: see each one's reader in
# routing/upstreams, whose lists of failures are these too. Responses say `incomplete` for both a limit and a filter.
_WHOLE = frozenset(
    ("stop", "tool_calls", "function_call", "completed", "end_turn", "tool_use", "stop_sequence", "pause_turn", "STOP")
)
_ENDINGS: Mapping[str, str] = {
    **dict.fromkeys(
        ("length", "model_length", "max_tokens", "model_context_window_exceeded", "incomplete", "MAX_TOKENS"), "cut_off"
    ),
    **dict.fromkeys(("content_filter", "sensitive", "refusal", "guardrail_intervened", "content_filtered"), "refused"),
    **dict.fromkeys((*chat.FAILED, "failed"), "broken_off"),
    **dict.fromkeys(converse.FAILED, "malformed"),
}
# Of Google's words for an answer that failed, those that blame the model's own call; the others blame nobody.
_MALFORMED = re.compile(r"MALFORMED|UNEXPECTED_TOOL|TOO_MANY_TOOL")


def fault_of(status: str, ending: str | None, said_tokens: int, *, is_clamped: bool = False) -> str | None:
    """A call's fault, "" for none; None where the rules have nothing to say: no answer, one that its caller left, or
    one whose ending nobody has noted. `ending` is its vendor's word, `said_tokens` is output without reasoning, and
    `is_clamped` says that a budget has shortened what was asked for."""
    if status == CostSpan.Status.ERROR:
        # Without a word of answer it is a failure, which is counted as such, and no bad answer.
        return "broken_off" if said_tokens > 0 else None
    fault = _fault_told_by(ending or "") if status == CostSpan.Status.OK else None
    if fault == "cut_off" and is_clamped:
        return None
    return "empty" if fault == "" and said_tokens <= 0 else fault


def _fault_told_by(ending: str) -> str | None:
    if ending in _WHOLE:
        return ""
    return _ENDINGS.get(ending) or _googles_fault(ending)


def _googles_fault(ending: str) -> str | None:
    """Google has a word for each kind of filter and failure, and adds to them."""
    if contents.FILTERED.search(ending):
        return "refused"
    if not contents.FAILED.search(ending):
        return None
    return "malformed" if _MALFORMED.search(ending) else "broken_off"


@dataclass(slots=True)
class Verdicts:
    """What the rules say of some calls. `calls` are those that they had something to say of."""

    weights: QualityWeights
    calls: int = 0
    points_lost: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, call: Mapping[str, Any]) -> None:
        """Looks at one recorded call, a row with its status, tokens and metadata."""
        facts = call["metadata"]
        ending, said_tokens = facts.get("finish_reason"), call["output_tokens"] - call["reasoning_tokens"]
        fault = fault_of(call["status"], ending, said_tokens, is_clamped="clamped_to" in facts)
        if fault is None:
            return
        self.calls += 1
        self.points_lost += points_for(fault, self.weights)
        if fault:
            self.faults[fault] += 1

    @property
    def score(self) -> float | None:
        """Mean points of 5 that are left; None where no call was looked at."""
        return BEST_QUALITY - self.points_lost / self.calls if self.calls else None

    @property
    def share_lost(self) -> float:
        """The share of a model's quality that is taken off for faults, the rules' weight counted: 0 to 1."""
        return self.weights.rules_weight * self.points_lost / self.calls / BEST_QUALITY if self.calls else 0.0

    def told(self) -> dict[str, Any]:
        """As the API tells it; faults that no answer had are left out."""
        score = self.score
        return {
            "score": None if score is None else round(score, 3),
            "calls": self.calls,
            "faults": {name: self.faults[name] for name in FAULTS if self.faults[name]},
        }


def points_for(fault: str, weights: QualityWeights) -> float:
    """Points of 5 that an answer loses for its fault; 0 for none."""
    return float(getattr(weights, f"{fault}_points")) if fault else 0.0


def weights_of(tenant_id: int) -> QualityWeights:
    """What a tenant has set, else the defaults."""
    return QualityWeights.objects.for_tenant(tenant_id).first() or QualityWeights(tenant_id=tenant_id)

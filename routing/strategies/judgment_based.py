"""Plain questions to workhorses, hard ones to judges: by how hard the text looks and who asks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.model_facts import ModelFacts
from routing.requirements import FellOut
from routing.reviewing import CONSENSUS, Review, Reviewing, read_reviewing
from routing.strategies.base import Option, Ranked, Ranking, Strategy, Task, cheapest_of_near, in_order
from routing.strategies.settings import OptionsReader

# How much more (or less) readily a tier is given a judge. The premium tier first.
TIERS = {"free": 0.7, "standard": 1.0, "premium": 1.5}
JUDGES_CAN = frozenset({"evaluation", "complex-reasoning"})
LONG_TEXT = 3_000
# Signs are looked for in the beginning only: an attached book would cost milliseconds.
LOOKED_AT = 8_000
MANY_SIGNS = 3
# Judges as good as this near to each other count as equally good: then the cheaper one. Of those that stand in for them
# the dearer one: a tier spans ten times the price, and unrated models of one tier differ in nothing else that is known.
NEAR_QUALITY = 0.5

_WORDS = re.compile(r"[a-z-]+")
_THINKING = frozenset((
    "why", "prove", "proof", "compare", "contrast", "analyse", "analyze", "evaluate", "assess", "design", "architect",
    "architecture", "trade-off", "trade-offs", "derive", "optimise", "optimize", "refactor", "debug", "strategy",
    "critique", "reason", "step-by-step",
))  # fmt: skip
_CODE = ("```", "();", "};", "{\n", "</", " => ", "):\n")
_MATHEMATICS = re.compile(r"\d ?[=+*/^<>] ?\d|\\frac|[∑∫√]")
_DEMANDS = re.compile(r"^ {0,8}(?:[-*]|\d{1,3}[.)]) \S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class JudgmentSettings:
    """`workhorses` and `judges`: the two pools; empty ones are filled by class (see `is_judge`). `reviewing`: whom a
    workhorse's answer is shown to, None for nobody."""

    workhorses: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()
    confidence_threshold: float = 0.7
    reviewing: Reviewing | None = None

    @property
    def names_both_pools(self) -> bool:
        """Whether no pool is filled by class."""
        return bool(self.workhorses and self.judges)


class JudgmentBased(Strategy):
    """Gives a call to a judge when its complexity, weighed by the user's tier, reaches 1 - confidenceThreshold."""

    name = "judgment-based"
    summary = "Plain questions to cheap workhorses, hard ones to strong judges."
    options_in_words = {
        "workhorses": "the models for plain questions",
        "judges": "the models for hard ones",
        "confidence_threshold": "0 to 1, 0.7 unless said otherwise: the higher, the sooner a judge; 1 is always",
        "reviewers": "1 to 5 models that score a workhorse’s answer before it goes out",
        "consensus": f"what their scores come to: {', '.join(CONSENSUS)}",
        "escalate_below": "a judge answers anew where the score is below this, 0 to 1",
        "review_share": "which share of the answers is reviewed, 0 to 1",
    }
    example = '{"workhorses": ["gpt-5-mini"], "judges": ["gpt-5"], "reviewers": ["gpt-5-nano"], "escalate_below": 0.6}'

    def settings(self, given: Mapping[str, Any], models: Sequence[str]) -> JudgmentSettings:
        reader = OptionsReader(self.name, given)
        found = JudgmentSettings(
            reader.names("workhorses"),
            reader.names("judges"),
            reader.number("confidence_threshold", 0.7, least=0, most=1),
            read_reviewing(reader, given),
        )
        reader.done()
        both = set(found.workhorses) & set(found.judges)
        if both:
            raise reader.wrong("judges", "must not be workhorses as well", min(both))
        return found

    def names_in(self, settings: JudgmentSettings) -> tuple[str, ...]:
        return (*self.candidates_in(settings), *self.scorers_in(settings))

    def scorers_in(self, settings: JudgmentSettings) -> tuple[str, ...]:
        return settings.reviewing.reviewers if settings.reviewing is not None else ()

    def candidates_in(self, settings: JudgmentSettings) -> tuple[str, ...]:
        return (*settings.workhorses, *settings.judges)

    def rank(self, options: Sequence[Option], task: Task, settings: JudgmentSettings) -> Ranking:
        declared = task.wanted.declared
        threshold = settings.confidence_threshold
        if declared.confidence_threshold is not None:
            threshold = declared.confidence_threshold
        tier = declared.user_tier or "standard"
        adjusted = min(complexity(task.text()) * TIERS.get(tier, 1.0), 1.0)
        wants_judge = adjusted >= 1 - threshold
        judges, workhorses = pools(options, settings)
        if wants_judge and not judges:
            workhorses = standing_in(workhorses)
        in_pools = {each.option.name for each in (*judges, *workhorses)}
        left_out = tuple(
            FellOut(option.name, "it is in neither pool of the route")
            for option in options
            if option.name not in in_pools
        )
        first, second = (judges, workhorses) if wants_judge else (workhorses, judges)
        measured = f"complexity {adjusted:.2f} for a {tier} user"
        facts = {"complexity": round(adjusted, 4), "is_escalated": wants_judge}
        chosen = (first or second)[:1]
        review = None
        if settings.reviewing is not None and chosen and chosen[0] in workhorses:
            review = Review(settings.reviewing, tuple(each.option for each in judges))
        name, pool = ("judge", settings.judges) if wants_judge else ("workhorse", settings.workhorses)
        if not first and pool:
            return Ranking((), f"none of the route's {name}s can do it ({measured})", "quality", 0.0, left_out, facts)
        if not first:
            other = "workhorse" if wants_judge else "judge"
            told = f"no {name} can do it, so a {other} does ({measured})"
            return Ranking(second, told, "quality", 0.5, left_out, facts, review)
        reason = f"{measured} {'reaches' if wants_judge else 'is below'} {1 - threshold:.2f}: a {name}"
        return Ranking((*first, *second), reason, "quality", 0.8, left_out, facts, review)


def pools(options: Sequence[Option], settings: JudgmentSettings) -> tuple[tuple[Ranked, ...], tuple[Ranked, ...]]:
    """Judges, the best first (the cheapest of those nearly as good), and workhorses, the cheapest first."""
    named = {*settings.judges, *settings.workhorses}
    judges = [
        option
        for option in options
        if (option.name in settings.judges if settings.judges else is_judge(option.model) and option.name not in named)
    ]
    workhorses = [
        option
        for option in options
        if (
            option.name in settings.workhorses
            if settings.workhorses
            else not is_judge(option.model) and option.name not in named
        )
    ]
    ranked_judges = cheapest_of_near(in_order(judges, lambda option: option.quality), NEAR_QUALITY)
    return ranked_judges, cheapest_of_near(in_order(workhorses, lambda option: option.quality), 5.0)


def standing_in(workhorses: Sequence[Ranked]) -> tuple[Ranked, ...]:
    """Workhorses as they take the place of judges: the best first, the dearest of those nearly as good."""
    best = max((each.score for each in workhorses), default=0.0)

    def place(each: Ranked) -> tuple[float, int, str]:
        is_near = each.score >= best - NEAR_QUALITY
        return (-best if is_near else -each.score, -each.option.estimate_nano_usd, each.option.name)

    return tuple(sorted(workhorses, key=place))


def is_judge(model: ModelFacts) -> bool:
    """Whether a model is of the class that judges: of the premium tier, or able to evaluate or to reason deeply."""
    return model.quality == "premium" or not JUDGES_CAN.isdisjoint(model.capabilities)


def complexity(text: str) -> float:
    """How hard a text looks, 0..1: the mean of its length, its words of thought and its structure."""
    length = min(len(text) / LONG_TEXT, 1.0)
    seen = text[:LOOKED_AT]
    words = set(_WORDS.findall(seen.lower().replace("step by step", "step-by-step")))
    thought = min(len(words & _THINKING) / MANY_SIGNS, 1.0)
    signs = (any(sign in seen for sign in _CODE), _MATHEMATICS.search(seen), _DEMANDS.search(seen))
    structure = sum(1 for sign in signs if sign) / len(signs)
    return (length + thought + structure) / 3

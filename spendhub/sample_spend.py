"""A month of made-up but believable calls, for the demo account. Pure: the same seed gives the same month.

A small company runs four agents. People work on weekdays, most between nine and six; the support bot
answers at night and on Sundays too; spend grows a little from week to week.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from routing.pricing import CompiledPrice, price_usage
from routing.token_usage import TokenUsage
from spendhub.tenants.attribution import Attribution
from telemetry.drafts import SpanDraft

DAYS = 31
SEED = 20_26
PEOPLE = ("maya", "jonas", "priya", "tomas", "lena", "omar", "sofia", "erik")


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent's habits. Models are named in order of preference; tokens are (least, most)."""

    name: str
    features: tuple[str, ...]
    models: tuple[tuple[str, ...], ...]
    weights: tuple[int, ...]
    calls_per_day: int
    at_weekends: float
    never_sleeps: bool
    input_tokens: tuple[int, int]
    output_tokens: tuple[int, int]
    cached_share: float
    reasons: bool
    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model of the catalog that had a price all month."""

    name: str
    provider: str
    price_at: Callable[[datetime], CompiledPrice | None]


# Each tuple of models is one role: the first that the catalog knows plays it.
AGENTS = (
    Agent(
        "support-bot", ("live-chat", "ticket-triage"),
        (("gpt-5.4-mini", "gpt-5-mini", "gpt-4.1-mini"), ("claude-haiku-5-5", "claude-haiku-4-5"),
         ("gemini-3.5-flash", "gemini-2.5-flash")),
        (6, 3, 1), 230, 0.45, True, (1_200, 7_000), (80, 600), 0.55, False,
    ),
    Agent(
        "sales-writer", ("proposals", "follow-ups"),
        (("claude-sonnet-5", "claude-sonnet-4-6", "claude-sonnet-4-5"), ("gpt-5.4", "gpt-5.1", "gpt-5"),
         ("mistral-large-2512", "mistral-medium-3")),
        (5, 3, 2), 95, 0.05, False, (1_500, 9_000), (400, 1_800), 0.3, False, PEOPLE[:5],
    ),
    Agent(
        "ops-reporter", ("daily-report", "invoice-check"),
        (("deepseek-v4-flash", "deepseek-r1"), ("gemini-3.5-flash", "gemini-2.5-flash"),
         ("mistral-small-2603", "mistral-small-latest")),
        (4, 4, 2), 70, 0.3, False, (4_000, 30_000), (300, 1_500), 0.2, False, PEOPLE[5:7],
    ),
    Agent(
        "code-reviewer", ("pull-requests",),
        (("claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5"), ("gpt-5.3-codex", "gpt-5.2", "gpt-5")),
        (2, 3), 34, 0.08, False, (6_000, 40_000), (700, 4_000), 0.6, True, PEOPLE[4:],
    ),
)  # fmt: skip

_OFFICE_HOURS = (0, 0, 0, 0, 0, 0, 1, 4, 9, 13, 14, 12, 8, 11, 13, 12, 9, 6, 3, 2, 1, 1, 0, 0)
_ALL_HOURS = (2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 12, 11, 10, 11, 11, 10, 9, 9, 9, 9, 8, 6, 5, 3)


def sample_month(models: dict[str, KnownModel], timezone: str, now: datetime) -> list[SpanDraft]:
    """Calls of the 31 days before `now`, the oldest first, priced at the moment they were made.

    An agent's role that no known model can play is left out.
    """
    dice = random.Random(SEED)
    tz = ZoneInfo(timezone)
    today = now.astimezone(tz).replace(hour=0, minute=0, second=0, microsecond=0)
    drafts: list[SpanDraft] = []
    for days_ago in range(DAYS - 1, -1, -1):
        day = today - timedelta(days=days_ago)
        growth = 0.8 + 0.4 * (DAYS - days_ago) / DAYS
        for agent in AGENTS:
            share = agent.at_weekends if day.weekday() >= 5 else 1.0
            for _ in range(round(agent.calls_per_day * share * growth * dice.uniform(0.8, 1.2))):
                draft = _call(dice, agent, models, day)
                if draft is not None and draft.occurred_at < now:
                    drafts.append(draft)
    drafts.sort(key=lambda draft: draft.occurred_at)
    return drafts


def _call(dice: random.Random, agent: Agent, models: dict[str, KnownModel], day: datetime) -> SpanDraft | None:
    hour = dice.choices(range(24), weights=_ALL_HOURS if agent.never_sleeps else _OFFICE_HOURS)[0]
    moment = day.replace(hour=hour) + timedelta(seconds=dice.uniform(0, 3599))
    feature = dice.choice(agent.features)
    user = dice.choice(agent.people) if agent.people else f"customer-{int(dice.paretovariate(0.9)) % 400 + 1}"
    role = dice.choices(agent.models, weights=agent.weights)[0]
    number = dice.getrandbits(64)
    size, length, luck = dice.random() ** 2, dice.random() ** 2, dice.random()
    model = next((models[name] for name in role if name in models), None)
    price = model.price_at(moment) if model is not None else None
    if model is None or price is None:
        return None
    total = _between(agent.input_tokens, size)
    cached = int(total * agent.cached_share * (0.5 + luck / 2))
    output = _between(agent.output_tokens, length)
    status, is_estimated = _outcome(luck)
    usage = TokenUsage.checked(
        input_tokens=total - cached,
        cache_read_tokens=cached,
        output_tokens=0 if status == "error" else output,
        reasoning_tokens=output // 2 if agent.reasons and status != "error" else 0,
    )
    cost = price_usage(TokenUsage() if status == "error" else usage, price)
    return SpanDraft(
        request_id=f"demo-{number:016x}",
        occurred_at=moment,
        source="demo",
        cost_nano_usd=cost.total_nano_usd,
        attribution=Attribution(user=user, agent=agent.name, feature=feature),
        provider=model.provider,
        model=model.name,
        requested_model=model.name,
        usage=usage,
        breakdown=cost.by_kind(),
        is_estimated=is_estimated,
        status=status,
        error_code="rate_limit_exceeded" if status == "error" else "",
        duration_ms=int(350 + output * (6 + 8 * luck)),
        first_token_ms=int(180 + 900 * luck),
        metadata={"sample": True},
    )


def _outcome(luck: float) -> tuple[str, bool]:
    if luck < 0.008:
        return "error", False
    if luck < 0.014:
        return "aborted", True
    if luck < 0.0147:
        return "interrupted", True
    return "ok", False


def _between(bounds: Sequence[int], share: float) -> int:
    return int(bounds[0] + (bounds[1] - bounds[0]) * share)

"""The demo account: sample people, a month of sample spend, and budgets in every state. Made once, removed whole."""

from __future__ import annotations

import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

from budgets.calls import Call
from budgets.counters.drive import drive
from budgets.models import (
    BUDGETS_SNAPSHOT,
    Budget,
    BudgetEvent,
    BudgetRaise,
    BudgetWindow,
    Decision,
    Hold,
    HoldLine,
    Reservation,
)
from budgets.periods import as_datetime, window_at
from budgets.reservations import check
from budgets.snapshot import BUDGETS
from routing.models import CATALOG_SNAPSHOT, Model, Price, Provider
from routing.snapshot import CATALOG
from spendhub.errors import Conflict
from spendhub.money import NANO_PER_USD
from spendhub.sample_opinions import sample_opinions
from spendhub.sample_spend import AGENTS, DAYS, KnownModel, sample_month
from spendhub.snapshots import bump
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.keys import PERMISSIONS, issue_key
from spendhub.tenants.models import ACCESS_SNAPSHOT, ApiKey, Change, Membership, Tenant
from telemetry.drafts import SpanDraft
from telemetry.models import CostSpan, Feedback, SpanCorrection
from telemetry.recording import record

SLUG = "demo"
TIMEZONE = "Europe/Berlin"
KEY_NAME = "Demo key"
BATCH = 1_000


class CatalogIsEmpty(Conflict):
    """Sample calls need models with prices."""

    code = "catalog_is_empty"

    def __init__(self) -> None:
        super().__init__("The catalog knows none of the sample models: run `manage.py catalog update` first.")


class DemoHoldsOwnCalls(Conflict):
    """The demo account holds calls that somebody made; they would go with it."""

    code = "demo_holds_own_calls"

    def __init__(self, count: int) -> None:
        super().__init__(f"The demo account holds {count} calls that are no samples: they would be deleted too.")
        self.count = count


@dataclass(frozen=True, slots=True)
class Demo:
    """What was made. `key` and `password` are shown now and kept nowhere; empty where nothing new was made."""

    is_new: bool
    key: str
    login: str
    password: str
    calls: int
    budgets: int


def make_demo(say: Callable[[str], None]) -> Demo:
    """Makes the demo account, or finds it made. Interrupted in the middle, it is finished the next time,
    as of the moment it was begun: the same month, so nothing is there twice."""
    tenant, _ = Tenant.objects.get_or_create(
        slug=SLUG, defaults={"name": "Demo company (sample data)", "timezone": TIMEZONE}
    )
    if ApiKey.objects.for_tenant(tenant).filter(name=KEY_NAME).exists():
        return Demo(False, "", "", "", 0, 0)
    now = tenant.created_at
    login, password = _make_people(tenant)
    drafts = _sample(tenant, now)
    say(f"recording {len(drafts):,} sample calls of {DAYS} days")
    # Of a demo that was interrupted, calls are there already, under the ids of then.
    span_ids: list[uuid.UUID] = []
    for start in range(0, len(drafts), BATCH):
        span_ids.extend(drive(record(tenant.pk, drafts[start : start + BATCH], now)).ids)
    _rate_some(tenant, drafts, span_ids)
    budgets = _make_budgets(tenant, drafts, now)
    say(f"made {len(budgets)} budgets; refusing some calls, so that there is something to explain")
    _refuse_some(tenant, now)
    _, key = issue_key(tenant, KEY_NAME, PERMISSIONS, attribution={"agent": "first-steps"})
    return Demo(True, key, login, password, len(drafts), len(budgets))


def remove_demo(*, with_own_calls: bool) -> bool:
    """Deletes the demo account with all it holds; answers whether there was one.
    Raises DemoHoldsOwnCalls where that would take calls that are no samples, unless `with_own_calls`."""
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().filter(slug=SLUG).first()
        if tenant is None:
            return False
        own = CostSpan.objects.for_tenant(tenant).exclude(source="demo").count()
        if own and not with_own_calls:
            raise DemoHoldsOwnCalls(own)
        # History is protected from being deleted with its tenant; samples are no history.
        for kind in (
            SpanCorrection, CostSpan, BudgetEvent, Decision, Reservation, HoldLine, Hold, BudgetWindow, BudgetRaise,
            Budget, Price, Model, Provider, ApiKey, Membership, Change,
        ):  # fmt: skip
            rows: Any = kind
            rows.objects.for_tenant(tenant).delete()
        get_user_model().objects.filter(username__in=_SAMPLE_PEOPLE, memberships=None, is_superuser=False).delete()
        tenant.delete()
        for snapshot in (ACCESS_SNAPSHOT, CATALOG_SNAPSHOT, BUDGETS_SNAPSHOT):
            bump(snapshot)
    return True


_SAMPLE_PEOPLE = {
    "demo-maya": Membership.Role.OWNER,
    "demo-jonas": Membership.Role.ADMIN,
    "demo-priya": Membership.Role.ANALYST,
    "demo-tomas": Membership.Role.VIEWER,
}


def _make_people(tenant: Tenant) -> tuple[str, str]:
    people = get_user_model().objects
    for username, role in _SAMPLE_PEOPLE.items():
        person, is_new = people.get_or_create(username=username, defaults={"is_staff": True})
        if is_new:
            # They are there to be looked at; the operator gives a password to whom should sign in.
            person.set_unusable_password()
            person.save()
        if not Membership.objects.for_tenant(tenant).filter(user=person).exists():
            Membership.objects.create(tenant=tenant, user=person, role=role)
    if people.filter(is_superuser=True).exists():
        return "", ""
    password = secrets.token_urlsafe(12)
    people.create_superuser("admin", password=password)
    return "admin", password


def _sample(tenant: Tenant, now: datetime) -> list[SpanDraft]:
    catalog, begins = CATALOG.refresh(), now - timedelta(days=DAYS + 1)
    wanted = {name for agent in AGENTS for role in agent.models for name in role}
    known = {}
    for name in wanted:
        facts = catalog.resolve(tenant.pk, name)
        if facts is not None and facts.price_at(begins) is not None:
            known[name] = KnownModel(facts.name, facts.provider.name, facts.price_at)
    drafts = sample_month(known, TIMEZONE, now)
    if not drafts:
        raise CatalogIsEmpty
    return drafts


def _rate_some(tenant: Tenant, drafts: Sequence[SpanDraft], span_ids: Sequence[uuid.UUID]) -> None:
    span_of = dict(zip((draft.id for draft in drafts), span_ids, strict=True))
    rated = [
        Feedback(
            tenant=tenant,
            span_id=span_of[draft.id],
            at=draft.occurred_at + timedelta(minutes=3),
            model=draft.model,
            provider=draft.provider,
            feature=draft.attribution.feature or "",
            task=draft.attribution.task or "",
            thumbs=Feedback.Thumbs.UP if is_liked else Feedback.Thumbs.DOWN,
            overall=score,
        )
        for draft, is_liked, score in sample_opinions(drafts)
    ]
    with transaction.atomic():
        # Interrupted in the middle, the demo is made on the next time: nothing is rated twice.
        Feedback.objects.for_tenant(tenant).delete()
        Feedback.objects.for_tenant(tenant).bulk_create(rated)


def _make_budgets(tenant: Tenant, drafts: Sequence[SpanDraft], now: datetime) -> list[Budget]:
    """Budgets whose limits are chosen by what the samples spent, so that each state can be seen on any day."""

    def spent(period: str, fits: Callable[[SpanDraft], bool]) -> int:
        begins = as_datetime(window_at(period, now, TIMEZONE).starts_at)
        assert begins is not None
        return sum(draft.cost_nano_usd for draft in drafts if draft.occurred_at >= begins and fits(draft))

    def by_agent(name: str) -> Callable[[SpanDraft], bool]:
        return lambda draft: draft.attribution.agent == name

    names = {draft.model for draft in drafts}
    sonnet = next((name for name in AGENTS[1].models[0] if name in names), "*")
    haiku = next((name for name in AGENTS[0].models[1] if name in names), "")
    by_person_and_day: Counter[tuple[str | None, date]] = Counter()
    for draft in drafts:
        by_person_and_day[draft.attribution.user, draft.occurred_at.date()] += draft.cost_nano_usd
    plans: list[dict[str, Any]] = [
        {"name": "Whole company", "scope_type": "tenant",
         "limit_nano_usd": _limit(spent("month", lambda draft: True), "0.62")},
        {"name": "Support bot", "scope_type": "agent", "scope_key": "support-bot",
         "limit_nano_usd": _limit(spent("month", by_agent("support-bot")), "0.87")},
        {"name": "Sales writer", "scope_type": "agent", "scope_key": "sales-writer", "soft_cap": Decimal("0.75"),
         "limit_nano_usd": _limit(spent("month", by_agent("sales-writer")), "0.9"),
         "downgrade_rules": [{"from": [sonnet], "to": haiku}] if haiku else [], "disabled_tools": ["web_search"]},
        {"name": "Code reviewer", "scope_type": "agent", "scope_key": "code-reviewer",
         "limit_nano_usd": max(1, spent("month", by_agent("code-reviewer")) * 97 // 100)},
        {"name": "Each person, per day", "scope_type": "user", "scope_key": "*", "period": "day",
         "limit_nano_usd": _limit(max(by_person_and_day.values()), "0.9")},
        {"name": "Invoice check (on trial)", "scope_type": "feature", "scope_key": "invoice-check",
         "mode": Budget.Mode.OBSERVE,
         "limit_nano_usd": _limit(spent("month", lambda draft: draft.attribution.feature == "invoice-check"), "0.82")},
        {"name": "Anthropic", "scope_type": "provider", "scope_key": "anthropic",
         "limit_nano_usd": _limit(spent("month", lambda draft: draft.provider == "anthropic"), "0.45")},
        {"name": "Newsletter (paused)", "scope_type": "feature", "scope_key": "newsletter", "is_frozen": True,
         "limit_nano_usd": 20 * NANO_PER_USD},
    ]  # fmt: skip
    made = []
    for plan in plans:
        with transaction.atomic():
            scope: dict[str, Any] = {"scope_key": "*", "period": "month"} | plan
            if Budget.objects.for_tenant(tenant).filter(name=scope["name"]).exists():
                continue
            made.append(_make_budget(tenant, now, scope))
    if made:
        BudgetRaise.objects.create(
            tenant=tenant,
            budget=made[0],
            by_nano_usd=25 * NANO_PER_USD,
            starts_at=now - timedelta(days=2),
            ends_at=now + timedelta(days=5),
            reason="Trade fair week",
            actor="user:demo-maya",
        )
    return made


def _make_budget(tenant: Tenant, now: datetime, values: dict[str, Any]) -> Budget:
    budget = Budget(**values)
    budget.tenant, budget.counts_from = tenant, now
    budget.save()
    return budget


def _limit(spent_nano_usd: int, share: str) -> int:
    """A round limit of which `spent_nano_usd` is about `share`; at least a dollar."""
    exact = max(NANO_PER_USD, int(spent_nano_usd / Decimal(share)))
    step = NANO_PER_USD // 2 if exact < 20 * NANO_PER_USD else NANO_PER_USD
    return max(step, round(exact / step) * step)


def _refuse_some(tenant: Tenant, now: datetime) -> None:
    BUDGETS.refresh()
    month_began = as_datetime(window_at("month", now, TIMEZONE).starts_at)
    for minutes_ago, (agent, feature, dollars) in enumerate(
        [("code-reviewer", "pull-requests", "0.42"), ("ops-reporter", "newsletter", "0.03")] * 7, start=1
    ):
        drive(
            check(
                Call(
                    tenant_id=tenant.pk,
                    now=max(month_began, now - timedelta(minutes=37 * minutes_ago)),
                    estimated_nano_usd=int(Decimal(dollars) * NANO_PER_USD) + minutes_ago * 1_700_000,
                    attribution=Attribution(agent=agent, feature=feature),
                    provider="openai",
                    model="gpt-5",
                )
            )
        )

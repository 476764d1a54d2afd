"""The first page: one meaning of "last 30 days" for all of it, and what brakes have paused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from budgets.models import Decision
from spendhub.ids import new_id
from spendhub.tenants.models import Tenant
from telemetry.models import Brake, BrakeStop, CostSpan
from telemetry.reports import spent_by_day

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

DOLLAR = 1_000_000_000


def span(tenant: Tenant, occurred_at: datetime, dollars: int, agent: str = "support-bot") -> None:
    CostSpan.objects.create(
        tenant=tenant, request_id=str(new_id()), occurred_at=occurred_at, recorded_at=occurred_at, source="gateway",
        cost_nano_usd=dollars * DOLLAR, agent=agent,
    )  # fmt: skip


def shown(browser: Client) -> dict[str, Any]:
    answer = browser.get("/admin/")
    assert answer.status_code == 200
    known = ("cards", "chart", "chart_words", "since", "tops")
    return {**{name: answer.context[name] for name in known}, "html": answer.content.decode()}


def test_every_panel_of_the_overview_counts_the_same_30_days(acme: Tenant, browser_of: BrowserOf) -> None:
    now = timezone.now()
    span(acme, now - timedelta(days=30) + timedelta(minutes=5), 2)  # on a calendar day that has begun before
    span(acme, now - timedelta(days=30) - timedelta(minutes=5), 4)
    span(acme, now, 8)
    page = shown(browser_of("ben"))
    assert page["chart_words"] == "$10.00 in the last 30 days"
    assert page["html"].count("last 30 days") == 4
    assert sum(json.loads(page["chart"])["datasets"][0]["data"]) == 10
    assert dict(page["tops"])["Agents"] == [("support-bot", "$10.00", "2", 100)]
    spend = browser_of("ben").get("/admin/telemetry/costspan/?when=30")
    assert spend.context["total_cost"] == "$10.00"
    assert 'href="/admin/telemetry/costspan/?when=30"' in page["html"]


def test_the_overview_says_since_when_its_30_days_are_in_the_accounts_zone(acme: Tenant, browser_of: BrowserOf) -> None:
    Tenant.objects.filter(pk=acme.pk).update(timezone="Asia/Tokyo")
    page = shown(browser_of("ben"))
    since: datetime = page["since"]
    assert timezone.now() - since - timedelta(days=30) < timedelta(minutes=5)
    in_tokyo = since + timedelta(hours=9)
    assert f"in the last 30 days, since {in_tokyo:%-d} {in_tokyo:%b}, {in_tokyo:%H:%M}" in page["html"]


def test_days_since_a_moment_begin_with_the_rest_of_its_own_day(acme: Tenant) -> None:
    since, now = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 3, 9, tzinfo=UTC)
    for occurred_at, dollars in (
        (datetime(2026, 3, 1, 11, 59, tzinfo=UTC), 1),
        (since, 2),
        (datetime(2026, 3, 1, 23, 59, tzinfo=UTC), 4),
        (datetime(2026, 3, 3, 8, tzinfo=UTC), 8),
    ):
        span(acme, occurred_at, dollars)
    assert spent_by_day(acme.pk, "UTC", since, now) == [
        (date(2026, 3, 1), 6 * DOLLAR), (date(2026, 3, 2), 0), (date(2026, 3, 3), 8 * DOLLAR),
    ]  # fmt: skip
    # A moment that is a midnight begins a whole day, and there is none before it.
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    assert spent_by_day(acme.pk, "UTC", midnight, now) == [(date(2026, 3, 2), 0), (date(2026, 3, 3), 8 * DOLLAR)]


def test_the_list_behind_the_refusals_has_as_many_as_are_counted(acme: Tenant, browser_of: BrowserOf) -> None:
    Tenant.objects.filter(pk=acme.pk).update(timezone="Asia/Tokyo")
    now = timezone.now()
    for hours, allowed in ((1, False), (23, False), (25, False), (1, True)):
        Decision.objects.create(
            tenant=acme, created_at=now - timedelta(hours=hours), allowed=allowed, action="hard-stop", reason="frozen",
            estimated_cost_nano_usd=1,
        )  # fmt: skip
    browser = browser_of("ben")
    link, value = next((link, value) for label, value, link in shown(browser)["cards"] if label.startswith("Refused"))
    assert value == "2"
    assert browser.get(link).context["cl"].result_count == 2


def stop_of(tenant: Tenant, key: str = "s-4711", **changes: Any) -> BrakeStop:
    brake, _ = Brake.objects.for_tenant(tenant).get_or_create(tenant=tenant, name="Loops", defaults={"action": "pause"})
    values: dict[str, Any] = {
        "tenant": tenant, "brake": brake, "brake_name": "Loops", "scope_type": "session", "scope_key": key,
        "cause": "repeats", "action": "pause", "since": timezone.now(),
        "reason": "the same request 6 times within 300 s",
    }  # fmt: skip
    create: Any = BrakeStop.objects.create  # of fields by their names
    stop: BrakeStop = create(**values | changes)
    return stop


def test_a_pause_in_force_is_told_on_the_overview_with_the_way_to_resume_it(
    acme: Tenant, globex: Tenant, browser_of: BrowserOf
) -> None:
    stop = stop_of(acme)
    page = shown(browser_of("adam"))["html"]
    assert "Brake <b>Loops</b> has paused session <b>s-4711</b>" in page
    assert f'<a class="sh-link" href="/admin/telemetry/brakestop/{stop.pk}/change/">Look, and resume it</a>' in page
    seen = shown(browser_of("ben"))["html"]  # a viewer may look
    assert f'<a class="sh-link" href="/admin/telemetry/brakestop/{stop.pk}/change/">Look</a>' in seen
    assert "s-4711" not in shown(browser_of("gil"))["html"]


def test_what_is_over_or_only_slows_is_no_pause_on_the_overview(acme: Tenant, browser_of: BrowserOf) -> None:
    now = timezone.now()
    stop_of(acme, "resumed", is_open=False, resumed_at=now)
    stop_of(acme, "ended", ends_at=now - timedelta(seconds=1))
    stop_of(acme, "slowed", action="slow")
    page = shown(browser_of("adam"))
    assert "has paused" not in page["html"]
    Brake.objects.for_tenant(acme).update(is_enabled=False)
    stop_of(acme, "switched-off")
    assert "has paused" not in shown(browser_of("adam"))["html"]


def test_of_many_pauses_three_are_told_and_the_others_counted(acme: Tenant, browser_of: BrowserOf) -> None:
    for number in range(5):
        stop_of(acme, f"s-{number}", since=timezone.now() - timedelta(minutes=number))
    page = shown(browser_of("adam"))["html"]
    assert page.count("has paused") == 3
    assert (
        '<a class="sh-link" href="/admin/telemetry/brakestop/?in_force=yes&amp;action__exact=pause">2 more</a>' in page
    )


def test_pauses_by_brakes_are_counted_beside_what_budgets_refused(acme: Tenant, browser_of: BrowserOf) -> None:
    stop_of(acme, "yesterday", since=timezone.now() - timedelta(hours=25))
    stop_of(acme, "now")
    stop_of(acme, "over", is_open=False)
    stop_of(acme, "warned", action="warn")
    page = shown(browser_of("ben"))
    cards = {label: value for label, value, _ in page["cards"]}
    assert cards["Refused by budgets in 24 hours"] == "0"
    assert cards["Pauses by brakes in 24 hours"] == "2"
    (link,) = [link for label, _, link in page["cards"] if label == "Pauses by brakes in 24 hours"]
    assert link.startswith("/admin/telemetry/brakestop/?action__exact=pause&since_from_0=")
    rows = browser_of("ben").get(link).content.decode()
    assert "session: now" in rows and "session: over" in rows and "session: yesterday" not in rows

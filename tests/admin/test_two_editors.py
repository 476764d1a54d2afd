"""Two people open the same form: who saves second does not undo, unawares, what the first has changed."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from budgets.models import Budget, BudgetRaise
from routing.models import Model, Route
from spendhub.tenants.models import Change, Tenant
from tests.factories import ModelFactory, ProviderFactory

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

USD = 1_000_000_000


@pytest.fixture
def budget(acme: Tenant) -> Budget:
    return Budget.objects.create(
        tenant=acme, name="All", scope_type="tenant", limit_nano_usd=5 * USD, counts_from=timezone.now()
    )


def words_of(answer: Any) -> str:
    """The page's words, as a browser shows them."""
    return re.sub(r"\s+", " ", html.unescape(answer.content.decode()))


def page_of(row: Budget | Route | Model) -> str:
    return f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change/"


def opened(browser: Client, row: Budget | Route | Model) -> dict[str, str]:
    """What the page of `row` holds unseen, to be sent back with what is typed."""
    page = browser.get(page_of(row)).content.decode()
    inputs = re.findall(r"<input[^>]*type=\"hidden\"[^>]*>", page)
    found = {}
    for each in inputs:
        name, value = re.search(r'name="([^"]*)"', each), re.search(r'value="([^"]*)"', each)
        if name is not None and name[1].endswith("as_shown") and "__prefix__" not in name[1]:
            found[name[1]] = html.unescape(value[1]) if value is not None else ""
    assert found
    return found


def typed_budget(**changed: str) -> dict[str, str]:
    return {
        "name": "All", "limit_nano_usd": "5", "soft_cap": "80", "hard_cap": "100", "mode": "enforce",
        "patience_seconds": "0", "downgrade_rules": "", "disabled_tools": "", "thresholds": "75\n90\n100",
        "starts_at_0": "", "starts_at_1": "", "ends_at_0": "", "ends_at_1": "",
        "raises-TOTAL_FORMS": "0", "raises-INITIAL_FORMS": "0",
    } | changed  # fmt: skip


def typed_route(**changed: str) -> dict[str, str]:
    return {
        "name": "support", "is_enabled": "on", "strategy": "cost-optimized", "candidate_models": "", "fallback": "",
        "match": "", "priority": "100", "options": "",
    } | changed  # fmt: skip


def test_what_another_has_saved_meanwhile_is_not_undone_unawares(
    acme: Tenant, budget: Budget, browser_of: BrowserOf
) -> None:
    adam, ada = browser_of("adam"), browser_of("ada")
    seen_by_adam, seen_by_ada = opened(adam, budget), opened(ada, budget)
    assert ada.post(page_of(budget), typed_budget(limit_nano_usd="1") | seen_by_ada).status_code == 302
    answer = adam.post(page_of(budget), typed_budget(name="Everything") | seen_by_adam)
    assert answer.status_code == 200
    page = words_of(answer)
    assert re.search(
        r"Since you opened this, ada has changed it at \d{4}-\d\d-\d\d \d\d:\d\d: Limit is 1.00 now\.", page
    )
    assert "What you typed stands below and is not saved yet" in page
    assert 'value="Everything"' in page
    budget.refresh_from_db()
    assert (budget.name, budget.limit_nano_usd) == ("All", 1 * USD)
    assert Change.objects.for_tenant(acme).count() == 1


def test_who_was_told_may_save_over_it(acme: Tenant, budget: Budget, browser_of: BrowserOf) -> None:
    adam = browser_of("adam")
    seen = opened(adam, budget)
    Budget.objects.for_tenant(acme).update(limit_nano_usd=1 * USD)
    told = adam.post(page_of(budget), typed_budget(limit_nano_usd="7") | seen)
    assert "Since you opened this, somebody has changed it: Limit is 1.00 now." in words_of(told)
    seen = {"as_shown": told.context["adminform"].form["as_shown"].value()}
    assert adam.post(page_of(budget), typed_budget(limit_nano_usd="7") | seen).status_code == 302
    budget.refresh_from_db()
    assert budget.limit_nano_usd == 7 * USD


def test_sending_the_same_form_twice_is_no_quarrel(acme: Tenant, budget: Budget, browser_of: BrowserOf) -> None:
    adam = browser_of("adam")
    sent = typed_budget(limit_nano_usd="7") | opened(adam, budget)
    assert [adam.post(page_of(budget), sent).status_code for _ in range(2)] == [302, 302]
    assert Change.objects.for_tenant(acme).count() == 1


def typed_trial(**changed: str) -> dict[str, str]:
    split = '{"split": {"small": 0.5, "large": 0.5}}'
    return typed_route(name="trial", strategy="weighted", candidate_models="small\nlarge", options=split) | changed


@pytest.fixture
def trial(acme: Tenant) -> Route:
    """A weighted route between two models, which draws by its name."""
    for name, aliases in (("small", ["tiny"]), ("large", [])):
        ModelFactory(name=name, aliases=aliases)
    return Route.objects.create(
        tenant=acme, name="trial", strategy="weighted", candidate_models=["small", "large"],
        options={"split": {"small": 0.5, "large": 0.5}},
    )  # fmt: skip


def test_a_form_that_rewrites_what_was_typed_is_no_quarrel_when_sent_twice(
    acme: Tenant, trial: Route, browser_of: BrowserOf
) -> None:
    adam = browser_of("adam")
    sent = typed_trial(name="second", candidate_models="tiny\nlarge", fallback="tiny") | opened(adam, trial)
    assert [adam.post(page_of(trial), sent).status_code for _ in range(2)] == [302, 302]
    trial.refresh_from_db()
    assert (trial.name, trial.candidate_models, trial.fallback) == ("second", ["small", "large"], ["small"])
    assert trial.options == {"split": {"small": 0.5, "large": 0.5}, "experiment": "trial"}
    assert Change.objects.for_tenant(acme).count() == 1


def test_who_changed_nothing_undoes_nothing(acme: Tenant, trial: Route, browser_of: BrowserOf) -> None:
    adam, ada = browser_of("adam"), browser_of("ada")
    seen_by_adam, seen_by_ada = opened(adam, trial), opened(ada, trial)
    assert ada.post(page_of(trial), typed_trial(priority="7") | seen_by_ada).status_code == 302
    assert adam.post(page_of(trial), typed_trial() | seen_by_adam).status_code == 302
    trial.refresh_from_db()
    assert trial.priority == 7
    assert Change.objects.for_tenant(acme).count() == 1


def test_what_the_form_rewrites_is_a_quarrel_where_another_has_changed_it(
    acme: Tenant, trial: Route, browser_of: BrowserOf
) -> None:
    """Negative control."""
    adam, ada = browser_of("adam"), browser_of("ada")
    seen_by_adam, seen_by_ada = opened(adam, trial), opened(ada, trial)
    assert ada.post(page_of(trial), typed_trial(fallback="large") | seen_by_ada).status_code == 302
    answer = adam.post(page_of(trial), typed_trial(fallback="tiny") | seen_by_adam)
    assert answer.status_code == 200
    assert "When it fails is large now." in words_of(answer)
    trial.refresh_from_db()
    assert trial.fallback == ["large"]


def test_what_is_not_in_the_form_may_change_meanwhile_and_stays_changed(
    acme: Tenant, budget: Budget, browser_of: BrowserOf
) -> None:
    adam = browser_of("adam")
    seen = opened(adam, budget)
    browser_of("ada").post(f"/admin/budgets/budget/{budget.pk}/freeze/")
    assert adam.post(page_of(budget), typed_budget(name="Everything") | seen).status_code == 302
    budget.refresh_from_db()
    assert (budget.name, budget.is_frozen) == ("Everything", True)


def test_a_form_of_a_row_that_is_gone_goes_nowhere(acme: Tenant, browser_of: BrowserOf) -> None:
    route = Route.objects.create(tenant=acme, name="support")
    adam = browser_of("adam")
    seen = opened(adam, route)
    route.delete()
    adam.post(page_of(route), typed_route() | seen)
    assert not Route.objects.for_tenant(acme).exists()


def test_routes_are_guarded_as_budgets_are(acme: Tenant, browser_of: BrowserOf) -> None:
    ModelFactory(name="small")
    route = Route.objects.create(tenant=acme, name="support", options={"timeout_ms": 5000})
    adam, ada = browser_of("adam"), browser_of("ada")
    seen_by_adam, seen_by_ada = opened(adam, route), opened(ada, route)
    by_ada = typed_route(candidate_models="small", options='{"timeout_ms": 9000}', match="feature: chat")
    assert ada.post(page_of(route), by_ada | seen_by_ada).status_code == 302
    answer = adam.post(page_of(route), typed_route(options='{"timeout_ms": 5000}', priority="7") | seen_by_adam)
    page = words_of(answer)
    assert 'Models is small now; Used for calls of is feature: chat now; Options is { "timeout_ms": 9000 } now.' in page
    route.refresh_from_db()
    assert (route.candidate_models, route.priority) == (["small"], 100)


def test_choices_and_rows_of_others_are_told_by_their_names(acme: Tenant, browser_of: BrowserOf) -> None:
    model = ModelFactory(name="mine", tenant=acme, quality="standard")
    elsewhere = ProviderFactory(name="elsewhere")
    adam = browser_of("adam")
    seen = opened(adam, model)
    Model.objects.for_tenant(acme).filter(pk=model.pk).update(quality="premium", provider=elsewhere, is_enabled=False)
    answer = adam.post(page_of(model), {"name": "mine", "provider": str(model.provider_id), "kind": "chat"} | seen)
    page = words_of(answer)
    assert "Provider is elsewhere now" in page
    assert "Quality tier is Premium now" in page
    assert "Enabled is off now" in page


def test_a_raise_that_another_has_changed_is_not_undone_either(
    acme: Tenant, budget: Budget, browser_of: BrowserOf
) -> None:
    raised = BudgetRaise.objects.create(
        tenant=acme, budget=budget, by_nano_usd=2 * USD, reason="fair", starts_at="2026-01-01T00:00Z",
        ends_at="2126-01-01T00:00Z",
    )  # fmt: skip
    adam = browser_of("adam")
    sent = typed_budget() | opened(adam, budget) | {
        "raises-TOTAL_FORMS": "1", "raises-INITIAL_FORMS": "1", "raises-0-id": str(raised.pk),
        "raises-0-budget": str(budget.pk), "raises-0-by_nano_usd": "2", "raises-0-reason": "trade fair",
        "raises-0-starts_at_0": "2026-01-01", "raises-0-starts_at_1": "00:00:00",
        "raises-0-ends_at_0": "2126-01-01", "raises-0-ends_at_1": "00:00:00",
    }  # fmt: skip
    assert set(sent) >= {"as_shown", "raises-0-as_shown"}
    BudgetRaise.objects.for_tenant(acme).update(by_nano_usd=9 * USD)
    answer = adam.post(page_of(budget), sent)
    assert answer.status_code == 200
    assert "Since you opened this, somebody has changed it: By is 9.00 now." in words_of(answer)
    raised.refresh_from_db()
    assert (raised.by_nano_usd, raised.reason) == (9 * USD, "fair")
    seen = opened(adam, budget)
    assert adam.post(page_of(budget), sent | {"raises-0-by_nano_usd": "9"} | seen).status_code == 302
    raised.refresh_from_db()
    assert (raised.by_nano_usd, raised.reason) == (9 * USD, "trade fair")


@pytest.mark.parametrize("sent", ["", "{}", "[]", "no such thing", '{"at": "x", "fields": 5}'])
def test_a_form_that_does_not_say_what_it_showed_is_taken_as_it_is(
    acme: Tenant, budget: Budget, browser_of: BrowserOf, sent: str
) -> None:
    answer = browser_of("adam").post(page_of(budget), typed_budget(limit_nano_usd="7", as_shown=sent))
    assert answer.status_code == 302
    budget.refresh_from_db()
    assert budget.limit_nano_usd == 7 * USD

"""The operator above all accounts sees whose each row is; within one account nobody needs to be told."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from routing.models import Route
from spendhub.tenants.models import Tenant
from tests.admin.test_budget_pages import make_budget
from tests.admin.test_savings_pages import stop_of
from tests.factories import ModelFactory, PriceFactory, ProviderFactory
from tests.routing.test_credentials import give_key

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db


def route(tenant: Tenant) -> Any:
    return Route.objects.create(tenant=tenant, name="freebie")


def model(tenant: Tenant) -> Any:
    return ModelFactory(tenant=tenant, name="freebie")


def provider(tenant: Tenant) -> Any:
    return ProviderFactory(tenant=tenant, name="freebie")


def price(tenant: Tenant) -> Any:
    return PriceFactory(tenant=tenant, model=ModelFactory(tenant=None))


def vendor_key(tenant: Tenant) -> Any:
    return give_key(tenant, ProviderFactory(tenant=None))


MAKERS: list[Callable[[Tenant], Any]] = [route, model, provider, price, vendor_key, stop_of, make_budget]


def accounts_in(page: str) -> list[str]:
    """What stands in the column of accounts, from top to bottom."""
    cells = re.findall(r'<td[^>]*class="[^"]*field-shown_account[^"]*"[^>]*>(.*?)</td>', page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in cells]


def list_of(browser: Client, row: Any) -> str:
    answer = browser.get(f"/admin/{row._meta.app_label}/{row._meta.model_name}/")
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.mark.parametrize("make", MAKERS)
def test_each_row_says_whose_it_is(
    acme: Tenant, globex: Tenant, operator: Client, make: Callable[[Tenant], Any]
) -> None:
    row, _ = make(acme), make(globex)
    page = list_of(operator, row)
    assert sorted(set(accounts_in(page)) - {"Shared"}) == sorted([acme.name, globex.name])
    assert "Yours" not in page


@pytest.mark.parametrize("make", MAKERS)
def test_a_rows_own_page_says_it_too(
    acme: Tenant, globex: Tenant, operator: Client, make: Callable[[Tenant], Any]
) -> None:
    row, _ = make(acme), make(globex)
    page = operator.get(f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change/").content.decode()
    assert re.search(rf">Account</label>\s*</div>\s*<div[^>]*>\s*<div[^>]*>{acme.name}</div>", page)


def test_a_shared_row_is_called_so(operator: Client) -> None:
    assert accounts_in(list_of(operator, ModelFactory(tenant=None))) == ["Shared"]


@pytest.mark.parametrize("make", MAKERS)
def test_within_one_account_nobody_is_told(acme: Tenant, browser_of: BrowserOf, make: Callable[[Tenant], Any]) -> None:
    row = make(acme)
    browser = browser_of("ada")
    assert accounts_in(list_of(browser, row)) == []
    page = browser.get(f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change/").content.decode()
    assert ">Account</label>" not in page


def test_events_above_all_accounts_are_in_the_order_of_their_key(acme: Tenant, operator: Client) -> None:
    # No index by time begins with anything but an account.
    listed: Any = operator.get("/admin/budgets/budgetevent/")
    assert set(listed.context["cl"].queryset.query.order_by) == {"-id"}


def test_names_of_accounts_cost_no_query_per_row(
    acme: Tenant, globex: Tenant, operator: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    many = Route.objects.across_tenants().bulk_create(Route(tenant=acme, name=f"many-{each}") for each in range(40))
    with django_assert_max_num_queries(20):
        assert accounts_in(list_of(operator, many[0])) == [acme.name] * 40

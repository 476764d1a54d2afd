"""What a provider may be called: nothing that something counts by, and nothing else while something names it."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from budgets.models import Budget
from routing.models import Provider, Route
from routing.provider_names import problem_of_provider_name
from spendhub.tenants.models import Tenant
from tests.factories import ModelFactory, PriceFactory, ProviderFactory, TenantFactory, UserFactory
from tests.routing.asking import acme_with_key, ask

pytestmark = pytest.mark.django_db

USD = 1_000_000_000


@pytest.fixture
def acme(db: None) -> Tenant:
    return acme_with_key()


@pytest.fixture(autouse=True)
def catalog(acme: Tenant) -> None:
    """Shared: the provider vendor with its model small."""
    PriceFactory(model=ModelFactory(name="small", provider=ProviderFactory(name="vendor")))


@pytest.fixture
def house(acme: Tenant) -> Provider:
    """acme's own provider, with its model house-chat."""
    row = ProviderFactory(name="house", tenant=acme, base_url="https://house.example/v1")
    ModelFactory(name="house-chat", provider=row, tenant=acme)
    return row


def rename(tenant: Tenant, row: Provider, name: str) -> str:
    """What is wrong with the new name, by the API; "" for nothing."""
    status, answer = ask(tenant, "patch", f"providers/{row.pk}", {"name": name})
    if status == 200:
        return ""
    (told,) = answer["error"]["details"]["fields"]["name"]
    return str(told)


def in_browser(username: str, row: Provider | None, **changed: str) -> str:
    """The page that answers a saved form; "" where it was saved."""
    browser = Client()
    browser.force_login(UserFactory(username=username))
    typed = {
        "name": "house", "dialect": "openai", "base_url": "https://house.example/v1", "timeout_seconds": "60",
        "api_key_env": "", "auth_header": "authorization", "is_enabled": "on",
    }  # fmt: skip
    path = "add" if row is None else f"{row.pk}/change"
    answer = browser.post(f"/admin/routing/provider/{path}/", typed | changed)
    return "" if answer.status_code == 302 else html.unescape(answer.content.decode())


def make_budget(tenant: Tenant, **values: Any) -> Budget:
    return Budget.objects.create(tenant=tenant, name="Cap", limit_nano_usd=USD, counts_from=timezone.now(), **values)


def test_a_provider_is_not_called_in_another_case_what_a_budget_counts_by(acme: Tenant) -> None:
    row = make_budget(acme, scope_type="provider", scope_key="our-house")
    told = (
        "'Our-House' is what the budget 'Cap' counts by, which would see no more calls: they would count for "
        "'Our-House'"
    )
    body = {"name": "Our-House", "dialect": "openai", "base_url": "https://house.example/v1"}
    status, answer = ask(acme, "post", "providers", body)
    assert (status, answer["error"]["details"]["fields"]) == (400, {"name": [told]})
    assert f"{told}." in in_browser("ada", None, name="Our-House")
    assert not Provider.objects.for_tenant(acme).exists()
    assert ask(acme, "post", "providers", {**body, "name": "our-house"})[0] == 201  # the very name goes on to count
    row.archived_at = timezone.now()
    row.save()
    Provider.objects.for_tenant(acme).get().delete()
    assert ask(acme, "post", "providers", body)[0] == 201


@pytest.mark.parametrize(
    ("name", "other"), [("Vendor", "the shared provider 'vendor'"), ("HOUSE", "your provider 'house'")]
)
def test_a_provider_is_not_called_as_another_one_is_in_another_case(
    acme: Tenant, house: Provider, name: str, other: str
) -> None:
    told = f"{name!r} differs in case alone from {other}: take another name, or that one to the letter"
    body = {"name": name, "dialect": "openai", "base_url": "https://house.example/v1"}
    status, answer = ask(acme, "post", "providers", body)
    assert (status, answer["error"]["details"]["fields"]) == (400, {"name": [told]})
    assert f"{told}." in in_browser("ada", None, name=name)
    assert list(Provider.objects.for_tenant(acme)) == [house]


def test_a_provider_may_change_the_case_of_its_own_name_and_globexs_is_no_other_one(
    acme: Tenant, house: Provider
) -> None:
    ProviderFactory(name="HOME", tenant=TenantFactory(slug="globex"))
    assert [rename(acme, house, name) for name in ("House", "home")] == ["", ""]


def test_a_provider_of_the_very_name_stands_before_the_shared_one(acme: Tenant) -> None:
    body = {"name": "vendor", "dialect": "openai", "base_url": "https://house.example/v1"}
    assert ask(acme, "post", "providers", body)[0] == 201


NAMED = "names it as it is called now: change that first"
IN_USE = [
    ({"scope_type": "provider", "scope_key": "house"}, {}, f"the budget 'Cap' {NAMED}"),
    ({"scope_type": "model", "scope_key": "house/house-chat"}, {}, f"the budget 'Cap' {NAMED}"),
    ({}, {"candidate_models": ["house/house-chat"]}, f"the route 'support' {NAMED}"),
    ({}, {"fallback": ["HOUSE/house-chat"]}, f"the route 'support' {NAMED}"),
    ({}, {"options": {"deny": ["house/*"]}}, f"the route 'support' {NAMED}"),
    ({}, {"options": {"deny": ["House/*"]}}, f"the route 'support' {NAMED}"),
    (
        {"scope_type": "provider", "scope_key": "house"},
        {"candidate_models": ["house/house-chat"]},
        "the route 'support' and the budget 'Cap' name it as it is called now: change them first",
    ),
]


@pytest.mark.parametrize(("budget", "route", "told"), IN_USE)
def test_a_provider_keeps_its_name_while_something_names_it(
    acme: Tenant, house: Provider, budget: dict[str, Any], route: dict[str, Any], told: str
) -> None:
    if budget:
        make_budget(acme, **budget)
    if route:
        Route.objects.create(tenant=acme, name="support", **route)
    # A budget counts by the very letters, so another case is another name.
    assert [rename(acme, house, name) for name in ("home", "House")] == [told, told]
    assert f"{told}." in in_browser("ada", house, name="home")
    assert ask(acme, "patch", f"providers/{house.pk}", {"name": "house", "timeout_seconds": 30})[0] == 200
    Budget.objects.across_tenants().update(archived_at=timezone.now())
    Route.objects.for_tenant(acme).delete()
    assert rename(acme, house, "home") == ""


def test_a_provider_may_be_renamed_where_nothing_of_its_own_account_names_it(acme: Tenant, house: Provider) -> None:
    make_budget(acme, scope_type="provider", scope_key="vendor")
    make_budget(TenantFactory(slug="globex"), scope_type="provider", scope_key="house")  # another account's
    Route.objects.create(tenant=acme, name="support", candidate_models=["house-chat"], options={"deny": ["vendor/*"]})
    assert rename(acme, house, "home") == ""


def test_a_model_with_a_stroke_in_its_own_name_is_none_of_the_provider_that_is_called_so(
    acme: Tenant, house: Provider
) -> None:
    reseller = ProviderFactory(name="reseller", tenant=acme, base_url="https://reseller.example/v1")
    ModelFactory(name="house/large", provider=reseller, tenant=acme)
    Route.objects.create(tenant=acme, name="support", candidate_models=["house/large"])
    assert rename(acme, house, "home") == ""


def test_the_operator_is_told_whose_budget_names_a_shared_provider(acme: Tenant) -> None:
    make_budget(acme, scope_type="provider", scope_key="vendor")
    olga = UserFactory(username="olga")
    type(olga).objects.filter(pk=olga.pk).update(is_superuser=True)
    page = in_browser("olga", Provider.objects.across_tenants().get(name="vendor"), name="seller", tenant="")
    assert f"the budget 'Cap' of Acme {NAMED}." in page


def test_a_renamed_provider_takes_no_word_that_something_counts_by(acme: Tenant, house: Provider) -> None:
    make_budget(acme, scope_type="model", scope_key="Home/House-Chat")
    told = (
        "'Home/House-Chat' is what the budget 'Cap' counts by, which would see no more calls: they would count for "
        "'house-chat'"
    )
    assert rename(acme, house, "home") == told
    assert rename(acme, house, "other") == ""


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"name": "home/house-chat"}, "the name of the model 'home/house-chat'"),
        ({"name": "mine", "aliases": ["Home/house-chat"]}, "an alias of the model 'mine'"),
    ],
)
def test_a_renamed_provider_takes_no_name_that_another_model_has(
    acme: Tenant, house: Provider, other: dict[str, Any], what: str
) -> None:
    model = ModelFactory(provider=Provider.objects.across_tenants().get(name="vendor"), tenant=acme, **other)
    word = model.aliases[0] if model.aliases else model.name
    assert rename(acme, house, "home") == f"{word!r}, which 'house-chat' would be called in full, is {what}"


def test_renaming_a_shared_provider_asks_once_whatever_it_has_and_whoever_uses_it(
    acme: Tenant, django_assert_max_num_queries: Any
) -> None:
    vendor = Provider.objects.across_tenants().get(name="vendor")
    for number in range(20):
        ModelFactory(name=f"m-{number}", provider=vendor)
        Route.objects.create(tenant=TenantFactory(slug=f"t-{number}"), name="support", candidate_models=["small"])
    with django_assert_max_num_queries(25):
        assert problem_of_provider_name(None, vendor, "seller") == ""

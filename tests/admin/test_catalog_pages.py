"""The catalog in the admin: shared rows are looked at, own ones edited, prices never rewritten."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from routing.models import Model, Price, Provider
from spendhub.tenants.models import Change, Tenant
from tests.factories import ModelFactory, PriceFactory, ProviderFactory
from tests.routing.test_credentials import give_key

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


def typed_price(model: Model, **changed: str) -> dict[str, str]:
    return {
        "model": str(model.pk), "valid_from_0": "2026-01-01", "valid_from_1": "00:00", "input_nano_usd_per_mtok": "2.5",
        "output_nano_usd_per_mtok": "10", "cache_read_nano_usd_per_mtok": "", "cache_write_nano_usd_per_mtok": "",
        "cache_write_1h_nano_usd_per_mtok": "", "reasoning_nano_usd_per_mtok": "", "min_context_tokens": "0",
        "daily_from_minute": "0", "daily_until_minute": "1440", "source": "",
    } | changed  # fmt: skip


def test_a_tenant_sets_its_own_price_and_leaves_the_shared_one_as_it_was(acme: Tenant, browser_of: BrowserOf) -> None:
    model = ModelFactory(name="gpt-small", tenant=None)
    shared = PriceFactory(model=model, tenant=None, valid_from=LONG_AGO)
    answer = browser_of("adam").post("/admin/routing/price/add/", typed_price(model))
    assert answer.status_code == 302
    own = Price.objects.for_tenant(acme).get()
    assert (own.input_nano_usd_per_mtok, own.output_nano_usd_per_mtok) == (2_500_000_000, 10_000_000_000)
    shared.refresh_from_db()
    assert shared.valid_until is None


def test_a_second_price_closes_the_first_where_it_begins(acme: Tenant, browser_of: BrowserOf) -> None:
    model = ModelFactory(name="gpt-small", tenant=None)
    browser = browser_of("adam")
    browser.post("/admin/routing/price/add/", typed_price(model))
    answer = browser.post(
        "/admin/routing/price/add/", typed_price(model, valid_from_0="2126-03-01", input_nano_usd_per_mtok="3")
    )
    assert answer.status_code == 302, answer.context["errors"]
    first, second = Price.objects.for_tenant(acme).order_by("valid_from")
    assert first.valid_until == second.valid_from == datetime(2126, 3, 1, tzinfo=UTC)
    assert first.input_nano_usd_per_mtok == 2_500_000_000


def test_shared_rows_are_not_edited_by_a_tenant(acme: Tenant, browser_of: BrowserOf) -> None:
    model = ModelFactory(name="gpt-small", tenant=None)
    browser = browser_of("adam")
    assert browser.get(f"/admin/routing/model/{model.pk}/change/").status_code == 200
    assert browser.post(f"/admin/routing/model/{model.pk}/change/", {"name": "mine"}).status_code == 403
    assert browser.post(f"/admin/routing/model/{model.pk}/delete/", {"post": "yes"}).status_code == 403
    model.refresh_from_db()
    assert model.name == "gpt-small"


def test_a_shared_model_becomes_ones_own_with_its_prices(acme: Tenant, browser_of: BrowserOf) -> None:
    model = ModelFactory(name="gpt-small", tenant=None)
    PriceFactory(model=model, tenant=None, valid_from=LONG_AGO)
    browser_of("adam").post(f"/admin/routing/model/{model.pk}/make_own/")
    own = Model.objects.for_tenant(acme).get()
    assert own.name == "gpt-small"
    assert own.prices.get().tenant == acme
    assert Model.objects.across_tenants().filter(tenant=None).count() == 1


def a_provider() -> dict[str, str]:
    """The form of a provider as a person fills it in."""
    return {
        "name": "mine", "dialect": "openai", "base_url": "https://llm.example.com/v1", "api_key_env": "",
        "auth_header": "authorization", "timeout_seconds": "60",
    }  # fmt: skip


def test_a_tenants_own_azure_is_entered_with_its_header_and_its_responses(acme: Tenant, browser_of: BrowserOf) -> None:
    azure = {"base_url": "https://acme.openai.azure.com/openai/v1", "auth_header": "api-key", "has_responses": "on"}
    answer = browser_of("adam").post("/admin/routing/provider/add/", a_provider() | azure)
    assert answer.status_code == 302
    row = Provider.objects.for_tenant(acme).get()
    assert (row.auth_header, row.has_responses) == ("api-key", True)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"api_key_env": "OPENAI_API_KEY"}, "other variables belong to the installation"),
        ({"base_url": "https://127.0.0.1/v1"}, ">It must be a public https address.<"),
        ({"timeout_seconds": "3601"}, "less than or equal to 3600"),
        ({"timeout_seconds": "9223372036854775807"}, "less than or equal to 2147483647"),
        ({"dialect": "sandbox"}, "The sandbox is built in"),
        ({"base_url": ""}, ">It is needed: it is where calls of the dialect openai are sent.<"),
        ({"auth_header": "cookie"}, "A header for keys, in lower case"),
    ],
)
def test_a_tenants_own_provider_reaches_neither_our_keys_nor_our_network(
    acme: Tenant, browser_of: BrowserOf, changed: dict[str, str], told: str
) -> None:
    answer = browser_of("adam").post("/admin/routing/provider/add/", a_provider() | changed)
    assert told in answer.content.decode()
    assert not Provider.objects.for_tenant(acme).exists()


def told_after(answer: Any) -> list[str]:
    """What the next page says of what was done, without its markup."""
    return [" ".join(html.unescape(re.sub(r"<[^>]*>", "", str(each))).split()) for each in answer.context["messages"]]


OWN_ADDRESS = "https://llm.example.com/v1"
ADD_PROVIDER = "/admin/routing/provider/add/"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {},
            f"Calls of the 2 shared models of openai go to {OWN_ADDRESS} from now on. No key is sent there, for this "
            "provider has none: enter one under Vendor keys, unless that server needs none.",
        ),
        (
            {"is_enabled": ""},
            "Your openai is switched off and stands before the shared one: calls of its 2 shared models are refused.",
        ),
    ],
)
def test_who_adds_a_provider_named_as_a_shared_one_is_told_what_goes_there(
    acme: Tenant, browser_of: BrowserOf, changed: dict[str, str], told: str
) -> None:
    shared = ProviderFactory(name="openai", base_url="https://api.example.com/v1")
    for name in ("gpt-small", "gpt-large", "gpt-own"):
        ModelFactory(name=name, provider=shared)
    ModelFactory(name="gpt-own", provider=shared, tenant=acme)  # one's own goes where its own provider is
    typed = a_provider() | {"name": "openai", "is_enabled": "on"} | changed
    answer = browser_of("adam").post(ADD_PROVIDER, {name: value for name, value in typed.items() if value}, follow=True)
    assert told_after(answer)[0] == told


def test_who_is_told_that_a_provider_has_no_key_finds_the_page_on_which_to_enter_one(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    ModelFactory(name="gpt-small", provider__name="openai")
    typed = a_provider() | {"name": "openai", "is_enabled": "on"}
    page = browser_of("adam").post(ADD_PROVIDER, typed, follow=True).content.decode()
    row = Provider.objects.for_tenant(acme).get()
    assert f'<a href="/admin/routing/credential/add/?provider={row.pk}"' in page


def test_a_name_that_the_account_has_already_is_told_at_the_name(acme: Tenant, browser_of: BrowserOf) -> None:
    ProviderFactory(name="mine", tenant=acme)
    answer = browser_of("adam").post(ADD_PROVIDER, a_provider())
    assert answer.context["adminform"].form.errors == {"name": ["You have a provider called “mine” already."]}


def test_of_a_provider_nothing_is_told_that_its_maker_knows(acme: Tenant, browser_of: BrowserOf) -> None:
    ModelFactory(name="gpt-small", provider__name="openai")
    browser, typed = browser_of("adam"), a_provider() | {"is_enabled": "on"}
    assert len(told_after(browser.post(ADD_PROVIDER, typed | {"name": "home"}, follow=True))) == 1  # that it was added
    row = Provider.objects.for_tenant(acme).get()
    give_key(acme, row)
    change = f"/admin/routing/provider/{row.pk}/change/"
    told = told_after(browser.post(change, typed | {"name": "openai"}, follow=True))
    assert told[0] == f"Calls of the one shared model of openai go to {OWN_ADDRESS} from now on."
    again = browser.post(change, typed | {"name": "openai", "timeout_seconds": "30"}, follow=True)
    assert len(told_after(again)) == 1  # that it was changed


def typed_model(provider: Provider, **changed: str) -> dict[str, str]:
    return {
        "provider": str(provider.pk), "name": "gpt-small", "kind": "chat", "quality": "standard", "is_enabled": "on",
        "aliases": "",
    } | changed  # fmt: skip


ADD_MODEL = "/admin/routing/model/add/"
NO_PRICE = "gpt-small has no price, so every call of it is refused: set one under Prices."


@pytest.mark.parametrize(
    ("shared", "told"),
    [
        ("other", NO_PRICE),
        (
            "gpt-small",
            f"{NO_PRICE} It stands in the place of the shared gpt-small from now on, also while it has none.",
        ),
    ],
)
def test_who_adds_a_model_without_a_price_is_told_that_it_cannot_be_called(
    acme: Tenant, browser_of: BrowserOf, shared: str, told: str
) -> None:
    PriceFactory(model=ModelFactory(name=shared, provider__name="openai"))
    provider = Provider.objects.across_tenants().get()
    answer = browser_of("adam").post(ADD_MODEL, typed_model(provider), follow=True)
    assert told_after(answer)[0] == told
    row = Model.objects.for_tenant(acme).get()
    assert f'<a href="/admin/routing/price/add/?model={row.pk}"' in answer.content.decode()


def test_of_a_model_with_a_price_or_one_that_needs_none_nothing_is_told(
    acme: Tenant, browser_of: BrowserOf, settings: Any
) -> None:
    provider, browser = ProviderFactory(name="openai"), browser_of("adam")
    mine = ModelFactory(name="mine", provider=provider, tenant=acme)
    PriceFactory(model=mine, tenant=acme)
    change = f"/admin/routing/model/{mine.pk}/change/"
    assert len(told_after(browser.post(change, typed_model(provider, quality="premium"), follow=True))) == 1
    settings.DEFAULT_INPUT_NANO_USD_PER_MTOK = settings.DEFAULT_OUTPUT_NANO_USD_PER_MTOK = 10**9
    Tenant.objects.update(unpriced_models="default")
    assert len(told_after(browser.post(ADD_MODEL, typed_model(provider, name="other"), follow=True))) == 1


def test_a_models_longest_answer_fits_into_its_context(acme: Tenant, browser_of: BrowserOf) -> None:
    sizes = {"context_tokens": "1000", "max_output_tokens": "1001"}
    answer = browser_of("adam").post(ADD_MODEL, typed_model(ProviderFactory(), **sizes))
    assert "It must not be more than its context holds, which is 1000 tokens." in answer.content.decode()
    assert not Model.objects.for_tenant(acme).exists()


def test_a_model_with_odd_sizes_from_before_can_be_switched_off(acme: Tenant, browser_of: BrowserOf) -> None:
    provider, browser = ProviderFactory(), browser_of("adam")
    row = ModelFactory(name="mine", tenant=acme, provider=provider, context_tokens=1000, max_output_tokens=1001)
    address = f"/admin/routing/model/{row.pk}/change/"
    typed = typed_model(provider, name="mine", is_enabled="", context_tokens="1000", max_output_tokens="1001")
    assert browser.post(address, typed).status_code == 302
    row.refresh_from_db()
    assert not row.is_enabled
    assert browser.post(address, typed | {"max_output_tokens": "1002"}).status_code == 200


def offered(browser: Client, searched: str = "") -> list[str]:
    """The models that the price form offers."""
    query = f"term={searched}&app_label=routing&model_name=price&field_name=model"
    answer = browser.get(f"/admin/routing/model/choices/?{query}")
    return [each["text"] for each in answer.json()["results"]]


def test_the_price_form_offers_each_model_once_and_says_whose_it_is(
    acme: Tenant, globex: Tenant, operator: Client, browser_of: BrowserOf
) -> None:
    for name, tenant in (("gpt-small", None), ("gpt-small", acme), ("gpt-large", None), ("house", globex)):
        ModelFactory(name=name, tenant=tenant)
    assert offered(browser_of("adam")) == ["gpt-large (shared)", "gpt-small (yours)"]
    assert offered(browser_of("adam"), "large") == ["gpt-large (shared)"]
    assert offered(browser_of("gil")) == ["gpt-large (shared)", "gpt-small (shared)", "house (yours)"]
    assert offered(operator) == ["gpt-large (shared)", "gpt-small (shared)", "gpt-small (Acme)", "house (Globex)"]
    assert browser_of("ben").get("/admin/routing/model/choices/").status_code == 403


def test_the_choices_of_models_are_of_no_other_field(acme: Tenant, browser_of: BrowserOf) -> None:
    for name in ("model_name=provider&field_name=tenant", "model_name=model&field_name=provider"):
        answer = browser_of("adam").get(f"/admin/routing/model/choices/?app_label=routing&{name}")
        assert answer.status_code == 403, name


def test_a_price_of_a_shared_model_that_ones_own_hides_is_refused(acme: Tenant, browser_of: BrowserOf) -> None:
    shared, own = ModelFactory(name="gpt-small"), ModelFactory(name="gpt-small", tenant=acme)
    browser, add = browser_of("adam"), "/admin/routing/price/add/"
    page = browser.get(f"{add}?model={own.pk}").content.decode()
    assert "gpt-small (yours)" in page and "/admin/routing/model/choices/" in page
    answer = browser.post(add, typed_price(shared))
    assert "Your own gpt-small stands before this one: choose that." in answer.content.decode()
    assert not Price.objects.across_tenants().exists()
    assert browser.post(add, typed_price(own)).status_code == 302


def test_a_provider_made_ones_own_leaves_the_installations_key_behind(acme: Tenant, browser_of: BrowserOf) -> None:
    shared = ProviderFactory(name="openai", tenant=None, api_key_env="OPENAI_API_KEY")
    browser_of("adam").post(f"/admin/routing/provider/{shared.pk}/make_own/")
    assert Provider.objects.for_tenant(acme).get().api_key_env == ""


def test_a_price_for_a_service_tier_leaves_the_standard_one_as_it_is(acme: Tenant, browser_of: BrowserOf) -> None:
    model = ModelFactory(name="gpt-small", tenant=None)
    browser = browser_of("adam")
    for changed in ({}, {"service_tier": "priority", "web_search_nano_usd_per_thousand": "10"}):
        answer = browser.post("/admin/routing/price/add/", typed_price(model, **changed))
        assert answer.status_code == 302, answer.context["errors"]
    standard, priority = Price.objects.for_tenant(acme).order_by("service_tier")
    assert (standard.service_tier, standard.valid_until, standard.web_search_nano_usd_per_thousand) == ("", None, None)
    assert (priority.service_tier, priority.web_search_nano_usd_per_thousand) == ("priority", 10_000_000_000)
    listed = browser.get("/admin/routing/price/?service_tier=priority").content.decode()
    assert listed.count("gpt-small") >= 1


def test_a_price_that_has_not_begun_is_taken_back_and_the_one_before_it_holds_on(
    acme: Tenant, browser_of: BrowserOf
) -> None:
    model = ModelFactory(name="gpt-small", tenant=None)
    browser = browser_of("adam")
    for changed in ({}, {"valid_from_0": "2126-03-01"}):
        browser.post("/admin/routing/price/add/", typed_price(model, **changed))
    first, second = Price.objects.for_tenant(acme).order_by("valid_from")
    asked = browser.get(f"/admin/routing/price/{second.pk}/end_now/").content.decode()
    assert "It has not begun: it is removed, and the price before it, where there is one, holds on." in asked
    browser.post(f"/admin/routing/price/{second.pk}/end_now/")
    assert Price.objects.for_tenant(acme).get() == first
    first.refresh_from_db()
    assert first.valid_until is None
    recorded = Change.objects.for_tenant(acme).first()
    assert recorded is not None
    assert (recorded.action, recorded.after) == ("delete", {})


def test_who_ends_a_price_is_told_what_holds_then(acme: Tenant, browser_of: BrowserOf) -> None:
    own = PriceFactory(model=ModelFactory(name="gpt-small", tenant=None), tenant=acme, valid_from=LONG_AGO)
    asked = browser_of("adam").get(f"/admin/routing/price/{own.pk}/end_now/").content.decode()
    assert "From now on the shared price holds, where there is one, and a later one of yours from its day on." in asked


BOUNDS = "Write a day between the years 1970 and 2999."


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": "x"}, "Select a valid choice."),
        ({"model": "9" * 30}, "Select a valid choice."),
        ({"valid_from_0": "0001-01-01"}, BOUNDS),
        ({"valid_from_0": "9999-12-31"}, BOUNDS),
        ({"min_context_tokens": "2147483648"}, "less than or equal to 2147483647"),
    ],
)
def test_a_price_that_cannot_be_is_refused_beside_the_field(
    acme: Tenant, browser_of: BrowserOf, changed: dict[str, str], told: str
) -> None:
    typed = typed_price(ModelFactory(name="gpt-small", tenant=None)) | changed
    answer = browser_of("adam").post("/admin/routing/price/add/", typed)
    assert answer.status_code == 200
    assert told in answer.content.decode()
    assert not Price.objects.for_tenant(acme).exists()


def test_a_model_is_as_large_as_it_may_be_over_the_api(acme: Tenant, browser_of: BrowserOf) -> None:
    typed = {
        "provider": str(ProviderFactory(name="vendor", tenant=None).pk), "name": "mine", "aliases": "", "kind": "chat",
        "quality": "standard", "context_tokens": "2147483648", "max_output_tokens": "9" * 20, "region": "",
        "retires_at_0": "9999-12-31", "retires_at_1": "00:00", "upstream_name": "", "base_url": "", "api_key_env": "",
        "source": "", "checked_on": "",
    }  # fmt: skip
    answer = browser_of("adam").post("/admin/routing/model/add/", typed)
    errors = answer.context["adminform"].form.errors
    too_large = ["Ensure this value is less than or equal to 2147483647."]
    assert errors == {"context_tokens": too_large, "max_output_tokens": too_large, "retires_at": [BOUNDS]}


def test_the_key_variable_is_explained_with_one_that_works(
    acme: Tenant, browser_of: BrowserOf, operator: Client
) -> None:
    page = browser_of("adam").get("/admin/routing/provider/add/").content.decode()
    assert f"such as TENANT_{acme.pk}_OPENAI_API_KEY" in page
    assert "e.g. OPENAI_API_KEY" not in page
    page = browser_of("adam").get("/admin/routing/model/add/").content.decode()
    assert f"such as TENANT_{acme.pk}_OPENAI_API_KEY" in page
    assert "e.g. OPENAI_API_KEY" in operator.get("/admin/routing/provider/add/").content.decode()
    typed = {
        "name": "mine",
        "dialect": "openai",
        "base_url": "https://llm.example.com/v1",
        "api_key_env": "OPENAI_API_KEY",
        "timeout_seconds": "9",
        "auth_header": "authorization",
    }
    answer = browser_of("adam").post("/admin/routing/provider/add/", typed)
    assert answer.context["adminform"].form.errors == {
        "api_key_env": [f"It must begin with TENANT_{acme.pk}_: other variables belong to the installation."]
    }

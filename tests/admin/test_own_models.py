"""A model of one's own goes again: given back where a shared one takes its place, deleted where nothing needs it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from routing.models import Model, Price, Route
from routing.snapshot import CATALOG
from spendhub.tenants.models import Change, Tenant
from telemetry.models import CostSpan
from tests.factories import ApiKeyFactory, ModelFactory, PriceFactory, ProviderFactory

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def shared(db: None) -> Model:
    """A shared model with an alias and a price."""
    model = ModelFactory(name="gpt-small", aliases=["tiny"], tenant=None)
    PriceFactory(model=model, tenant=None, valid_from=LONG_AGO)
    return model


@pytest.fixture
def own(acme: Tenant, shared: Model, browser_of: BrowserOf) -> Model:
    """acme's own copy of it."""
    browser_of("adam").post(f"/admin/routing/model/{shared.pk}/make_own/")
    return Model.objects.for_tenant(acme).get()


def page_of(row: Model, action: str) -> str:
    return f"/admin/routing/model/{row.pk}/{action}/"


def record_call(tenant: Tenant, model: str, occurred_at: datetime, **metadata: Any) -> None:
    CostSpan.objects.create(
        tenant=tenant, model=model, request_id=f"call at {occurred_at}", occurred_at=occurred_at, recorded_at=occurred_at, source="api",
        cost_nano_usd=1, metadata=metadata,
    )  # fmt: skip


def record_call_of(own: Model) -> None:
    """By the model's present name, and with its id, as whatever is counted with its prices notes it."""
    assert own.tenant is not None
    record_call(own.tenant, own.name, timezone.now() + timedelta(minutes=1), own_model_id=own.pk)


def meant_by(tenant: Tenant, name: str) -> int | None:
    found = CATALOG.refresh().resolve(tenant.pk, name)
    return None if found is None else found.id


def words_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def test_a_copy_that_was_never_called_is_given_back_with_its_prices(
    acme: Tenant, shared: Model, own: Model, browser_of: BrowserOf
) -> None:
    record_call(acme, "gpt-small", timezone.now() - timedelta(days=1))  # by the shared one, before there was a copy
    adam = browser_of("adam")
    assert "Give it back" in words_of(adam.get(page_of(own, "change")))
    assert "it is deleted with its prices" in words_of(adam.get(page_of(own, "give_back")))
    assert meant_by(acme, "gpt-small") == own.pk
    answer = adam.post(page_of(own, "give_back"), follow=True)
    assert answer.redirect_chain[-1][0] == page_of(shared, "change")
    assert "You use the shared gpt-small again." in words_of(answer)
    assert meant_by(acme, "gpt-small") == meant_by(acme, "tiny") == shared.pk
    assert not Model.objects.for_tenant(acme).exists()
    assert list(Price.objects.across_tenants().values_list("model", "tenant")) == [(shared.pk, None)]
    change = Change.objects.for_tenant(acme).latest("pk")
    assert (change.actor, change.action, change.subject) == ("user:adam", "give back", "gpt-small")


def test_a_copy_that_was_called_makes_room_and_its_prices_stand(
    acme: Tenant, shared: Model, own: Model, browser_of: BrowserOf
) -> None:
    record_call(acme, "gpt-small", timezone.now() + timedelta(minutes=1))
    adam = browser_of("adam")
    assert "it stays, switched off and under another name" in words_of(adam.get(page_of(own, "give_back")))
    adam.post(page_of(own, "give_back"))
    own.refresh_from_db()
    assert own.name.startswith("gpt-small (given back 2")
    assert (own.aliases, own.is_enabled, own.prices.count()) == ([], False, 1)
    assert meant_by(acme, "gpt-small") == meant_by(acme, "tiny") == shared.pk
    assert Change.objects.for_tenant(acme).latest("pk").action == "give back"
    # And once more: two that were given back go by two names.
    adam.post(page_of(shared, "make_own"))
    second = Model.objects.for_tenant(acme).get(name="gpt-small")
    record_call(acme, "gpt-small", timezone.now() + timedelta(minutes=2))
    adam.post(page_of(second, "give_back"))
    assert Model.objects.for_tenant(acme).filter(is_enabled=False).count() == 2


def test_only_a_copy_is_given_back_and_by_who_may_edit_it(
    acme: Tenant, globex: Tenant, shared: Model, own: Model, browser_of: BrowserOf
) -> None:
    other = ModelFactory(name="mine", tenant=acme)
    adam = browser_of("adam")
    for row in (shared, other):
        assert "Give it back" not in words_of(adam.get(page_of(row, "change")))
        assert adam.post(page_of(row, "give_back")).status_code == 403
    assert browser_of("ben").post(page_of(own, "give_back")).status_code == 403
    assert browser_of("gil").post(page_of(own, "give_back")).status_code == 404
    assert Model.objects.for_tenant(acme).count() == 2


def test_a_copy_whose_own_alias_a_budget_or_route_needs_is_not_given_back(
    acme: Tenant, own: Model, browser_of: BrowserOf
) -> None:
    Model.objects.for_tenant(acme).update(aliases=["house-model"])
    Route.objects.create(tenant=acme, name="support", options={"deny": ["house-model"]})
    CATALOG.refresh()
    answer = browser_of("adam").post(page_of(own, "give_back"), follow=True)
    assert "gpt-small stays: the route 'support' names it, and would find no other: change that first." in words_of(
        answer
    )
    assert meant_by(acme, "gpt-small") == own.pk


def test_a_model_that_was_never_called_is_deleted_with_its_prices(acme: Tenant, browser_of: BrowserOf) -> None:
    model = ModelFactory(name="mine", tenant=acme)
    PriceFactory(model=model, tenant=acme, valid_from=LONG_AGO)
    adam = browser_of("adam")
    page = words_of(adam.get(page_of(model, "delete")))
    assert "permission" not in page and "mine from 2025-01-01" in page
    assert adam.post(page_of(model, "delete"), {"post": "yes"}).status_code == 302
    assert not Model.objects.for_tenant(acme).exists()
    assert not Price.objects.for_tenant(acme).exists()
    assert Change.objects.for_tenant(acme).latest("pk").action == "delete"


KEPT = "calls of it are on record, counted with its prices: switch it off instead"
NAMED = "the route 'support' names it, and would find no other: change that first"


@pytest.mark.parametrize(("is_called", "is_named", "told"), [(True, False, KEPT), (False, True, NAMED)])
def test_a_model_that_is_needed_is_not_deleted_and_what_needs_it_is_told(
    acme: Tenant, browser_of: BrowserOf, is_called: bool, is_named: bool, told: str
) -> None:
    model = ModelFactory(name="mine", tenant=acme)
    PriceFactory(model=model, tenant=acme, valid_from=LONG_AGO)
    if is_called:
        record_call(acme, "mine", timezone.now())
    if is_named:
        Route.objects.create(tenant=acme, name="support", candidate_models=["mine"])
    for send in (browser_of("adam").get, browser_of("adam").post):
        answer = send(page_of(model, "delete"), {"post": "yes"}, follow=True)
        assert answer.redirect_chain[-1][0] == page_of(model, "change")
        assert f"mine stays: {told}." in words_of(answer)
    status, answer = delete(acme, f"models/{model.pk}")
    assert (status, answer["error"]["code"], answer["error"]["message"]) == (409, "in_use", told)
    assert (Model.objects.for_tenant(acme).count(), Price.objects.for_tenant(acme).count()) == (1, 1)


def ask(secret: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {secret}"}
    answer = Client().generic(
        method.upper(), f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=headers
    )
    return answer.status_code, json.loads(answer.content) if answer.content else None


def delete(tenant: Tenant, path: str) -> tuple[int, Any]:
    return ask(ApiKeyFactory(tenant=tenant).secret, "delete", path)


def test_a_called_model_keeps_its_prices_also_under_another_name(acme: Tenant) -> None:
    model = ModelFactory(name="mine", tenant=acme)
    PriceFactory(model=model, tenant=acme, valid_from=LONG_AGO)
    record_call_of(model)
    secret = ApiKeyFactory(tenant=acme).secret
    assert ask(secret, "patch", f"models/{model.pk}", {"name": "mine-2"})[0] == 200
    status, answer = ask(secret, "delete", f"models/{model.pk}")
    assert (status, answer["error"]["code"], answer["error"]["message"]) == (409, "in_use", KEPT)
    assert (Model.objects.for_tenant(acme).count(), Price.objects.for_tenant(acme).count()) == (1, 1)


def test_another_models_calls_keep_no_prices(acme: Tenant) -> None:
    """Negative control."""
    called, other = (ModelFactory(name=name, tenant=acme) for name in ("mine", "other"))
    PriceFactory(model=other, tenant=acme, valid_from=LONG_AGO)
    record_call_of(called)
    assert delete(acme, f"models/{other.pk}") == (204, None)


def test_a_copy_that_was_called_and_given_back_keeps_its_prices(
    acme: Tenant, own: Model, browser_of: BrowserOf
) -> None:
    record_call_of(own)
    adam = browser_of("adam")
    adam.post(page_of(own, "give_back"))
    answer = adam.post(page_of(own, "delete"), {"post": "yes"}, follow=True)
    assert f"stays: {KEPT}." in words_of(answer)
    assert delete(acme, f"models/{own.pk}")[0] == 409
    assert (Model.objects.for_tenant(acme).count(), Price.objects.for_tenant(acme).count()) == (1, 1)


def test_of_a_copy_that_was_called_it_is_told_how_the_shared_one_answers_again(
    acme: Tenant, shared: Model, own: Model, browser_of: BrowserOf
) -> None:
    record_call_of(own)
    told = (
        "calls of it are on record, counted with its prices: rename it, or give it back in the admin, and the shared "
        "model answers again"
    )
    secret = ApiKeyFactory(tenant=acme).secret
    status, answer = ask(secret, "delete", f"models/{own.pk}")
    assert (status, answer["error"]["message"]) == (409, told)
    assert f"gpt-small stays: {told}." in words_of(browser_of("adam").get(page_of(own, "delete"), follow=True))
    assert ask(secret, "patch", f"models/{own.pk}", {"name": "gpt-small at home", "aliases": []})[0] == 200
    assert meant_by(acme, "gpt-small") == shared.pk


def changes_of(tenant: Tenant) -> list[tuple[str, str, str]]:
    changes = Change.objects.for_tenant(tenant).filter(subject_type__startswith="routing.").order_by("pk")
    return [(change.action, change.subject_type.partition(".")[2], change.subject) for change in changes]


def test_what_becomes_of_a_copy_that_was_called_is_recorded(acme: Tenant, own: Model, browser_of: BrowserOf) -> None:
    record_call_of(own)
    browser_of("adam").post(page_of(own, "give_back"))
    own.refresh_from_db()
    change = Change.objects.for_tenant(acme).latest("pk")
    assert (change.subject, change.before, change.after) == (
        "gpt-small",
        {"name": "gpt-small", "aliases": ["tiny"], "is_enabled": True},
        {"name": own.name, "aliases": [], "is_enabled": False},
    )


def test_prices_that_go_with_their_model_are_recorded(acme: Tenant, own: Model, browser_of: BrowserOf) -> None:
    model, other = (ModelFactory(name=name, tenant=acme) for name in ("mine", "other"))
    for each in (model, other):
        PriceFactory(model=each, tenant=acme, valid_from=LONG_AGO)
    Change.objects.for_tenant(acme).all().delete()
    adam = browser_of("adam")
    adam.post(page_of(model, "delete"), {"post": "yes"})
    assert delete(acme, f"models/{other.pk}")[0] == 204
    adam.post(page_of(own, "give_back"))
    assert changes_of(acme) == [
        ("delete", "price", "mine from 2025-01-01"),
        ("delete", "model", "mine"),
        ("delete", "price", "other from 2025-01-01"),
        ("delete", "model", "other"),
        ("delete", "price", "gpt-small from 2025-01-01"),
        ("give back", "model", "gpt-small"),
    ]
    gone = Change.objects.for_tenant(acme).filter(subject_type="routing.price").order_by("pk")
    told = [each.before.get("input", each.before.get("input_usd_per_mtok")) for each in gone]
    assert told == ["$1.00", "1.00", "$1.00"]  # by the admin, over the API, by the admin


def test_a_price_that_an_account_sets_while_the_page_asks_keeps_the_model(
    acme: Tenant, shared: Model, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    PriceFactory(model=shared, tenant=acme, valid_from=LONG_AGO)
    # As it was when it was asked: before the price.
    monkeypatch.setattr("routing.admin.models.why_kept", lambda row: "")
    answer = operator.post(page_of(shared, "delete"), {"post": "yes"}, follow=True)
    assert answer.redirect_chain[-1][0] == page_of(shared, "change")
    assert "gpt-small stays: something that needs it was set just now." in words_of(answer)
    assert Price.objects.across_tenants().filter(model=shared).count() == 2
    assert not Change.objects.across_tenants().filter(action="delete").exists()


def test_the_api_deletes_a_model_with_its_prices_too(acme: Tenant) -> None:
    model = ModelFactory(name="mine", tenant=acme)
    PriceFactory(model=model, tenant=acme, valid_from=LONG_AGO)
    assert delete(acme, f"models/{model.pk}") == (204, None)
    assert not Price.objects.for_tenant(acme).exists()


def test_a_called_model_without_prices_has_nothing_to_keep(acme: Tenant) -> None:
    model = ModelFactory(name="mine", tenant=acme)
    record_call(acme, "mine", timezone.now())
    assert delete(acme, f"models/{model.pk}") == (204, None)


def test_a_provider_in_use_is_told_with_what_needs_it(acme: Tenant) -> None:
    vendor = ModelFactory(name="mine", tenant=acme, provider__name="home", provider__tenant=acme).provider
    status, answer = delete(acme, f"providers/{vendor.pk}")
    assert (status, answer["error"]["message"]) == (409, "the model 'mine' needs it: delete that first")


def options_of(page: str) -> list[str]:
    """What the page's list of providers offers."""
    chosen = re.search(r'<select name="provider".*?</select>', page, re.DOTALL)
    assert chosen is not None
    return sorted(re.sub(r"\s+", " ", each).strip() for each in re.findall(r"<option[^>]*>(.*?)</option>", chosen[0]))


@pytest.mark.parametrize("page", ["/admin/routing/model/add/", "/admin/routing/credential/add/"])
def test_two_providers_of_one_name_are_told_apart(
    acme: Tenant, globex: Tenant, operator: Client, browser_of: BrowserOf, page: str
) -> None:
    for name, tenant in (("openai", None), ("openai", acme), ("groq", None), ("home", acme)):
        ProviderFactory(name=name, tenant=tenant)
    assert options_of(words_of(browser_of("adam").get(page))) == [
        "Select value", "groq", "home", "openai (shared)", "openai (yours)",
    ]  # fmt: skip
    assert options_of(words_of(browser_of("gil").get("/admin/routing/model/add/"))) == [
        "Select value",
        "groq",
        "openai",
    ]
    assert options_of(words_of(operator.get(page))) == [
        "Select value", "groq", "home", "openai (Acme)", "openai (shared)",
    ]  # fmt: skip

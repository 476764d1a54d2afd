"""Whatever stands in the address of a list, or of a form to add with, the page opens: of every page that there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import reverse

from routing.models import Price
from spendhub.tenants.models import Tenant
from telemetry.models import KeyedCall
from tests.factories import ModelFactory

BrowserOf = Callable[[str], Client]
pytestmark = pytest.mark.django_db

HUGE = "9" * 30
ODD = ["x", HUGE, "0001-01-01", "9999-12-31 23:59:59"]
PAGES = [pytest.param(model, id=model._meta.label) for model in admin.site._registry]


def address_of(model: type[models.Model], page: str) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}")


def filters_of(model: type[models.Model]) -> Iterator[str]:
    """The parameters by which the list of such rows is narrowed down on its page."""
    for each in admin.site._registry[model].list_filter:
        if isinstance(each, str):
            yield f"{each}__exact"
        elif isinstance(each, (tuple, list)):
            yield from (f"{each[0]}{end}" for end in ("", "__exact", "_from_0", "_from_1", "_to_0", "_to_1"))
        else:
            yield str(each.parameter_name)  # type: ignore[union-attr]  # a class of filters has one


# What happens by itself, or is done elsewhere: nobody adds it on its page.
NEVER_ADDED = {
    "budgets.BudgetEvent", "budgets.Decision", "telemetry.BrakeStop", "telemetry.CostSpan", "telemetry.Feedback",
    "telemetry.KeyedCall", "tenants.Change",
}  # fmt: skip
ADDED_BY_OPERATORS = {"auth.User", "tenants.Tenant"}


@pytest.mark.parametrize("model", PAGES)
def test_a_form_to_add_with_opens_whatever_the_address_fills_in(
    operator: Client, browser_of: BrowserOf, model: type[models.Model]
) -> None:
    names = [field.name for field in model._meta.get_fields()]
    never = model._meta.label in NEVER_ADDED
    for browser, is_refused in (
        (operator, never),
        (browser_of("ada"), never or model._meta.label in ADDED_BY_OPERATORS),
    ):
        for filled in ({}, *(dict.fromkeys(names, value) for value in ODD)):
            answer = browser.get(address_of(model, "add"), filled)
            assert answer.status_code == (403 if is_refused else 200), filled


@pytest.mark.parametrize("model", PAGES)
def test_a_list_opens_whatever_the_address_filters_by(operator: Client, model: type[models.Model]) -> None:
    for name in filters_of(model):
        for value in ODD:
            answer = operator.get(address_of(model, "changelist"), {name: value})
            # 302: to the list as it is without it.
            assert answer.status_code in (200, 302), (name, value)


@pytest.mark.parametrize("model", PAGES)
def test_a_list_opens_when_the_number_of_a_row_is_larger_than_any(operator: Client, model: type[models.Model]) -> None:
    relations = [field.name for field in model._meta.get_fields() if field.is_relation]
    for name in (*relations, *(f"{relation}__in" for relation in relations), "id__in"):
        answer = operator.get(address_of(model, "changelist"), {name: HUGE})
        # 400: what may not be searched.
        assert answer.status_code in (200, 302, 400), name


def test_what_is_kept_sealed_is_not_searched(operator: Client) -> None:
    assert operator.get(address_of(KeyedCall, "changelist"), {"answer": "x"}).status_code == 400


def test_what_fits_is_filled_in(acme: Tenant, browser_of: BrowserOf) -> None:
    model = ModelFactory(name="gpt-small")
    filled = {"model": model.pk, "valid_from": "2030-05-06 07:08:09"}
    page = browser_of("ada").get(address_of(Price, "add"), filled)
    initial = page.context["adminform"].form.initial
    assert (initial["model"], initial["valid_from"].isoformat()) == (model.pk, "2030-05-06T07:08:09+00:00")
    assert b'value="2030-05-06"' in page.content

"""Which model a refusal names: one that would still fit, by the policy's own rules or near the one that was asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from budgets.estimates import estimate_call
from routing.errors import UnpricedModel
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import Tenant
from tests import factories
from tests.budgets.api import NANO, client_of, define, post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def model(name: str, output_usd: float, **facts: Any) -> None:
    """A model of `vendor` (or another) that costs nothing in and so much out, per million tokens."""
    provider = factories.ProviderFactory(name=facts.pop("provider", "vendor"))
    is_priced = facts.pop("is_priced", True)
    made = factories.ModelFactory(name=name, provider=provider, **facts)
    if is_priced:
        factories.PriceFactory(model=made, input_nano_usd_per_mtok=0, output_nano_usd_per_mtok=round(output_usd * NANO))


def suggested(acme: Tenant, limit: float = 1, **facts: Any) -> str | None:
    """What the refusal of a call of `big` for a million tokens of output names, under a budget of `limit` USD."""
    define(acme, "user:ada", limit)
    body = {"attribution": {"user": "ada"}, "model": "big", "input_tokens": 0, "max_output_tokens": 1_000_000}
    told = post(client_of(acme), "v1/check", body | facts, 402)
    assert told["error"]["details"]["suggested_model"] == told["suggested_model"]
    named: str | None = told["suggested_model"]
    return named


def test_without_a_rule_it_is_the_dearest_of_the_same_provider_that_fits(acme: Tenant) -> None:
    for name, usd in (("big", 10), ("middling", 2), ("small", 1), ("tiny", 0.1)):
        model(name, usd)
    assert suggested(acme) == "small"


def test_nothing_is_named_where_nothing_fits(acme: Tenant) -> None:
    model("big", 10)
    model("small", 2)
    assert suggested(acme) is None


@pytest.mark.parametrize(
    "facts",
    [
        {"provider": "elsewhere"},
        {"kind": "embedding"},
        {"is_enabled": False},
        {"is_priced": False},
        {"retires_at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"capabilities": ["streaming"]},
    ],
    ids=str,
)
def test_a_model_that_cannot_stand_in_is_not_named(acme: Tenant, facts: dict[str, Any]) -> None:
    model("big", 10, capabilities=["tools"])
    model("other", 1, **{"capabilities": ["tools", "vision"]} | facts)
    assert suggested(acme) is None


def test_a_model_that_retires_later_can(acme: Tenant) -> None:
    model("big", 10)
    model("other", 1, retires_at=timezone.now() + timedelta(days=1))
    assert suggested(acme) == "other"


def test_the_policys_own_targets_come_first_whoever_provides_them(acme: Tenant) -> None:
    model("big", 10)
    model("near", 1)
    for name, usd in (("dear", 5), ("cheap", 0.5)):
        model(name, usd, provider="elsewhere")
    define(acme, "tenant", 100, downgrade_rules=[{"from": ["big"], "to": "dear"}, {"from": ["*"], "to": "cheap"}])
    assert suggested(acme) == "cheap"


def test_a_model_whose_own_budget_is_spent_is_not_named(acme: Tenant) -> None:
    model("big", 10)
    model("small", 1)
    define(acme, "model:small", 0.5)
    assert suggested(acme) is None


def test_a_budget_of_the_big_models_own_does_not_count_against_the_small_one(acme: Tenant) -> None:
    model("big", 10)
    model("small", 1)
    define(acme, "model:small", 5)
    assert suggested(acme) == "small"


def test_a_call_of_unknown_size_is_scaled_by_what_both_models_cost(acme: Tenant) -> None:
    model("big", 10)
    model("half", 5)
    model("tenth", 1)
    # 4 USD of `big` are 2 USD of `half` and 0.40 USD of `tenth`.
    assert suggested(acme, limit=1, estimated_cost=4, input_tokens=None, max_output_tokens=None) == "tenth"


def test_nothing_is_named_for_a_call_without_a_model_or_of_one_that_nobody_knows(acme: Tenant) -> None:
    model("small", 0.1)
    define(acme, "user:ben", 1)
    client = client_of(acme)
    for named in ({}, {"model": "nobody-knows-me"}):
        body = {"attribution": {"user": "ben"}, "estimated_cost": 5, **named}
        assert post(client, "v1/check", body, 402)["suggested_model"] is None


def test_nothing_is_named_where_a_budget_is_frozen(acme: Tenant) -> None:
    model("big", 10)
    model("small", 0.1)
    define(acme, "tenant", 100, is_frozen=True)
    assert suggested(acme) is None


# --- what a call is estimated at -------------------------------------------------------------------


@pytest.fixture
def catalog(settings: Any) -> None:
    settings.DEFAULT_OUTPUT_TOKENS = 1_000
    for name, facts in (("plain", {}), ("brief", {"max_output_tokens": 100}), ("vectors", {"kind": "embedding"})):
        factories.PriceFactory(model=factories.ModelFactory(name=name, **facts))
    refresh_all()


@pytest.mark.usefixtures("catalog")
@pytest.mark.parametrize(
    ("name", "given", "tokens_in", "tokens_out", "expected"),
    [
        # 1 USD in and 4 USD out per million: 1,000 and 4,000 nano-dollars a token.
        ("plain", None, 10, 20, 10 * 1_000 + 20 * 4_000),
        ("plain", None, None, 20, 1_000 * 1_000 + 20 * 4_000),
        ("plain", None, 10, None, 10 * 1_000 + 1_000 * 4_000),
        ("brief", None, 10, None, 10 * 1_000 + 100 * 4_000),
        ("vectors", None, 10, None, 10 * 1_000),
        ("plain", 0, 10, 20, 10 * 1_000 + 20 * 4_000),
        ("plain", 7, 10, 20, 7),
        ("nobody-knows-me", 7, None, None, 7),
        (None, None, 10, 20, 0),
        (None, 0, None, None, 0),
    ],
)
def test_an_estimate_is_what_was_given_else_the_most_that_the_model_can_cost(
    name: str | None, given: int | None, tokens_in: int | None, tokens_out: int | None, expected: int
) -> None:
    tenant = factories.acme()
    found = estimate_call(
        tenant.pk,
        "refuse",
        name,
        given_nano_usd=given,
        input_tokens=tokens_in,
        max_output_tokens=tokens_out,
        now=timezone.now(),
    )
    assert found.nano_usd == expected


@pytest.mark.usefixtures("catalog")
def test_a_model_without_a_price_has_no_estimate_where_the_tenant_refuses_to_guess(acme: Tenant) -> None:
    with pytest.raises(UnpricedModel):
        estimate_call(acme.pk, "refuse", "nobody-knows-me", now=timezone.now())

"""What calls would have cost another way: at the prices of their own moments, by whoever could have done them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from routing.models import Model
from routing.token_usage import TokenUsage
from spendhub.snapshots import refresh_all
from spendhub.tenants.attribution import NOBODY
from spendhub.tenants.models import Tenant
from telemetry.models import CostSpan
from telemetry.shadow import PastCall, StandIn, compare
from tests import factories

NANO = 10**9
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MTOK = 1_000_000


def past(model: str, cost: int) -> PastCall:
    return PastCall(model, NOW, cost, TokenUsage(), NOBODY)


def test_totals_savings_and_who_would_have_answered() -> None:
    calls = [past("large", 8 * NANO), past("large", 2 * NANO), past("small", NANO), past("odd", 4 * NANO)]
    stand_ins = {8 * NANO: StandIn("small", NANO), 2 * NANO: StandIn("tiny", NANO), NANO: StandIn("small", 2 * NANO)}
    total, by_model = compare(calls, lambda call: stand_ins.get(call.cost_nano_usd))
    assert total.told() == {
        "calls": 4, "actual_cost": "15.00", "shadow_cost": "8.00", "savings": "7.00", "savings_share": 0.4667,
        "no_model_fits": {"calls": 1, "cost": "4.00"}, "answered_by": {"small": 2, "tiny": 1},
    }  # fmt: skip
    assert by_model["large"].told() == {
        "calls": 2, "actual_cost": "10.00", "shadow_cost": "2.00", "savings": "8.00", "savings_share": 0.8,
        "no_model_fits": {"calls": 0, "cost": "0.00"}, "answered_by": {"small": 1, "tiny": 1},
    }  # fmt: skip
    assert by_model["small"].told()["savings"] == "-1.00"  # it would have cost more
    assert by_model["odd"].told()["savings_share"] == 0


def test_of_no_calls_nothing_is_said() -> None:
    total, by_model = compare([], lambda call: None)
    assert (total.told()["savings"], total.told()["savings_share"], dict(by_model)) == ("0.00", None, {})


class Caller:
    """Someone with a key."""

    def __init__(self, tenant: Tenant, **key: Any) -> None:
        self._headers = {"authorization": f"Bearer {factories.ApiKeyFactory(tenant=tenant, **key).secret}"}

    def shadow(self, query: str = "") -> tuple[int, Any]:
        refresh_all()
        answer = Client().get(f"/api/v1/shadow?{query}", headers=self._headers)
        return answer.status_code, answer.json()


@pytest.fixture
def acme(db: None) -> Tenant:
    return factories.acme()


def model(name: str, input_dollars: int, output_dollars: int, **facts: Any) -> Model:
    provider = factories.ProviderFactory(dialect="openai", base_url="https://vendor.example/v1")
    # Calls here are of a million tokens, so that prices are easy to add up.
    row = factories.ModelFactory(name=name, provider=provider, **{"context_tokens": 10 * MTOK, **facts})
    factories.PriceFactory(
        model=row, input_nano_usd_per_mtok=input_dollars * NANO, output_nano_usd_per_mtok=output_dollars * NANO
    )
    return row


def span(tenant: Tenant, name: str, dollars: int, needs: list[str] | None = None, **facts: Any) -> None:
    at = facts.pop("occurred_at", timezone.now() - timedelta(minutes=1))
    metadata = facts.pop("metadata", {} if needs is None else {"needs": needs})
    values = {"source": "gateway", "input_tokens": MTOK, "output_tokens": MTOK, **facts}
    CostSpan.objects.create(
        tenant=tenant, request_id=uuid.uuid4().hex, occurred_at=at, recorded_at=at, model=name, metadata=metadata,
        cost_nano_usd=dollars * NANO, **values,
    )  # fmt: skip


def test_the_cheapest_model_that_could_have_done_each_call_is_priced_with_its_tokens(acme: Tenant) -> None:
    model("large", 5, 25, capabilities=["tools", "vision"])
    model("small", 1, 4, capabilities=["tools"])
    model("tiny", 0, 1, context_tokens=1000)
    span(acme, "large", 30, ["tools"])
    span(acme, "large", 30, ["vision"])
    span(acme, "large", 30, ["audio"])
    span(acme, "large", 30)  # what it needed was not recorded
    status, told = Caller(acme).shadow()
    assert (status, told["strategy"], told["model"]) == (200, "cost-optimized", None)
    assert told["sample"] == {"calls": 4, "recorded": 4, "at_most": 2000}
    # 5 + 30 + 30 (as it was) + 5: tiny's context is too small for any of them
    assert (told["actual_cost"], told["shadow_cost"], told["savings"]) == ("120.00", "70.00", "50.00")
    assert told["answered_by"] == {"small": 2, "large": 1}
    assert told["no_model_fits"] == {"calls": 1, "cost": "30.00"}
    [by_model] = told["by_model"]
    assert (by_model["model"], by_model["savings"]) == ("large", "50.00")


def test_all_with_one_model_counts_only_what_it_could_have_done(acme: Tenant) -> None:
    model("large", 5, 25, capabilities=["tools", "vision"])
    model("small", 1, 4, capabilities=["tools"], is_enabled=False)  # what if: it need not be switched on yet
    span(acme, "large", 30, ["tools"])
    span(acme, "large", 30, ["vision"])
    status, told = Caller(acme).shadow("model=small")
    assert (status, told["strategy"], told["model"]) == (200, None, "small")
    assert (told["shadow_cost"], told["answered_by"], told["no_model_fits"]["calls"]) == ("35.00", {"small": 1}, 1)


def test_each_call_counts_at_the_price_of_its_own_moment(acme: Tenant) -> None:
    row = model("small", 1, 4)
    change = timezone.now() - timedelta(days=5)
    row.prices.update(valid_until=change)
    factories.PriceFactory(
        model=row, valid_from=change, input_nano_usd_per_mtok=10 * NANO, output_nano_usd_per_mtok=40 * NANO
    )
    model("large", 5, 25)
    span(acme, "large", 30, occurred_at=change - timedelta(hours=1))
    span(acme, "large", 30, occurred_at=change + timedelta(hours=1))
    told = Caller(acme).shadow("model=small")[1]
    assert (told["shadow_cost"], told["savings"]) == ("55.00", "5.00")


def test_cached_and_reasoning_tokens_are_priced_as_what_they_are(acme: Tenant) -> None:
    row = model("small", 2, 4)
    row.prices.update(cache_read_nano_usd_per_mtok=NANO)
    span(acme, "small", 30, input_tokens=MTOK, cache_read_tokens=3 * MTOK, output_tokens=MTOK, reasoning_tokens=MTOK)
    assert Caller(acme).shadow("model=small")[1]["shadow_cost"] == "9.00"  # 2 + 3 x 1 + 4


def test_only_answered_calls_of_the_gateway_in_the_period_are_looked_at(acme: Tenant) -> None:
    model("small", 1, 4)
    span(acme, "small", 5)
    span(acme, "small", 7, source="api")
    span(acme, "small", 9, status="error")
    span(acme, "small", 11, occurred_at=timezone.now() - timedelta(days=31))
    span(acme, "small", 0, metadata={"cache": "hit", "saved_nano_usd": 5})
    span(acme, "small", 3, metadata={"review_of": "r-1"})  # no strategy chose it
    told = Caller(acme).shadow()[1]
    assert (told["calls"], told["actual_cost"], told["sample"]["recorded"]) == (1, "5.00", 3)
    day = (timezone.now() - timedelta(days=60)).date().isoformat()
    assert Caller(acme).shadow(f"from={day}")[1]["actual_cost"] == "16.00"


def test_a_large_period_is_sampled_by_its_latest_calls(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry.shadow.MAX_CALLS", 3)
    model("small", 1, 4)
    for dollars in range(1, 6):
        span(acme, "small", dollars, occurred_at=timezone.now() - timedelta(minutes=10 - dollars))
    told = Caller(acme).shadow()[1]
    assert told["sample"] == {"calls": 3, "recorded": 5, "at_most": 3}
    assert told["actual_cost"] == "12.00"


def test_embeddings_keep_the_model_they_had(acme: Tenant) -> None:
    model("embed", 1, 0, kind="embedding", capabilities=["embeddings"])
    model("embed-cheaply", 0, 0, kind="embedding", capabilities=["embeddings"])
    span(acme, "embed", 1, output_tokens=0)
    told = Caller(acme).shadow()[1]
    assert (told["answered_by"], told["savings"]) == ({"embed": 1}, "0.00")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("strategy=astrology", 400, "unknown_strategy"),
        ("model=nobody", 404, "unknown_model"),
        ("model=small&strategy=cost-optimized", 400, "invalid_query"),
        ("feature=x", 400, "invalid_query"),
        ("from=2026-02-01&to=2026-01-01", 400, "invalid_query"),
    ],
)
def test_what_cannot_be_answered_is_told(acme: Tenant, query: str, status: int, code: str) -> None:
    model("small", 1, 4)
    answer = Caller(acme).shadow(query)
    assert (answer[0], answer[1]["error"]["code"]) == (status, code)


@pytest.mark.parametrize("strategy", ["latency-optimized", "budget-aware", "capability-based", "judgment-based"])
def test_every_strategy_that_needs_no_options_can_be_asked_about(acme: Tenant, strategy: str) -> None:
    model("large", 5, 25)
    model("small", 1, 4)
    span(acme, "large", 30)
    status, told = Caller(acme).shadow(f"strategy={strategy}")
    assert (status, told["strategy"], told["calls"]) == (200, strategy, 1)


def test_another_tenants_calls_and_models_are_not_there(acme: Tenant) -> None:
    model("small", 1, 4, tenant=acme)
    span(acme, "small", 5)
    stranger = Caller(factories.globex())
    assert stranger.shadow("model=small")[0] == 404
    told = stranger.shadow()[1]
    assert (told["calls"], told["actual_cost"], told["by_model"]) == (0, "0.00", [])
    assert Caller(acme, permissions=("spend",)).shadow()[0] == 403


def test_searches_that_a_call_made_are_priced_with_its_stand_in_too(acme: Tenant) -> None:
    row = model("small", 1, 4)
    row.prices.update(web_search_nano_usd_per_thousand=500 * NANO)
    span(acme, "small", 30, metadata={"needs": [], "web_searches": 2})
    assert Caller(acme).shadow("model=small")[1]["shadow_cost"] == "6.00"  # 1 + 4 + 2 x 0.50

"""The vendor's own word for what a call has cost, and the most that a host behind a reseller may cost."""

from __future__ import annotations

from typing import Any

import pytest

from routing.pricing import Rates
from routing.told_costs import price_ceiling, told_nano_usd
from tests.routing.facts import model_facts

OPENROUTER = model_facts("anthropic/claude-sonnet-5", base_url="https://openrouter.ai/api/v1")
ELSEWHERE = model_facts("gpt-5", base_url="https://notopenrouter.ai/v1")


@pytest.mark.parametrize("ticks", [-1, True, 1.5, "12", None, 10**30])
def test_ticks_that_are_no_amount_say_nothing(ticks: Any) -> None:
    assert told_nano_usd({"cost_in_usd_ticks": ticks}, ELSEWHERE) is None


@pytest.mark.parametrize("cost", ["much", float("nan"), float("inf"), True, None, {"total": 1}, 10**12])
def test_a_cost_that_is_no_amount_says_nothing(cost: Any) -> None:
    assert told_nano_usd({"cost": cost}, OPENROUTER) is None


@pytest.mark.parametrize("details", [None, [], {}, {"upstream_inference_cost": None}])
def test_with_a_key_of_ones_own_half_a_bill_is_none(details: Any) -> None:
    assert told_nano_usd({"cost": 0.1, "is_byok": True, "cost_details": details}, OPENROUTER) is None


def test_openrouters_hosts_may_cost_what_the_catalog_says() -> None:
    rates = Rates(3_000_000_000, 15_000_000_000, reasoning=16_500_000_000)
    assert price_ceiling(OPENROUTER, rates) == {
        "provider": {"max_price": {"prompt": 3.0, "completion": 16.5, "request": 0}}
    }
    regional = model_facts("m", base_url="https://eu.openrouter.ai/api/v1")
    assert price_ceiling(regional, Rates(150_000_000, 600_000_000))["provider"]["max_price"] == {
        "prompt": 0.15,
        "completion": 0.6,
        "request": 0,
    }


def test_vendors_without_hosts_are_told_of_no_ceiling() -> None:
    assert price_ceiling(ELSEWHERE, Rates(1, 1)) == {}

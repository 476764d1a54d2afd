"""What a caller demands beside its request: what cannot be is refused by name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from spendhub.errors import Invalid
from spendhub.gateway.declared import InvalidDemand, demands_of
from spendhub.gateway.exchange import Exchange


def exchange_of(headers: dict[bytes, bytes] | None = None) -> Exchange:
    async def unused(*_: Any) -> Any:
        await asyncio.sleep(0)
        raise AssertionError("nothing is read or sent")

    scope = {"method": "POST", "path": "/v1/chat/completions", "headers": list((headers or {}).items())}
    return Exchange(scope, unused, unused)


def test_what_a_call_may_cost_is_read_from_its_header_or_its_body() -> None:
    assert demands_of(exchange_of({b"x-spendhub-max-cost": b"0.05"}), {}).of_model.max_cost_nano_usd == 50_000_000
    assert demands_of(exchange_of(), {"spendhub": {"max_cost": 0.05}}).of_model.max_cost_nano_usd == 50_000_000


@pytest.mark.parametrize(
    ("header", "value", "field"),
    [
        (b"x-spendhub-max-cost", b"-1", "max_cost"),
        (b"x-spendhub-max-cost", b"abc", "max_cost"),
        (b"x-spendhub-max-cost", b"", "max_cost"),
        (b"x-spendhub-max-cost", b"NaN", "max_cost"),
        (b"x-spendhub-max-cost", b"1e99", "max_cost"),
        (b"x-spendhub-max-latency-ms", b"-1", "max_latency_ms"),
        (b"x-spendhub-timeout-ms", b"soon", "timeout_ms"),
        (b"x-spendhub-wait", b"inf", "wait_seconds"),
        (b"x-spendhub-wait-seconds", b"61", "wait_seconds"),
        (b"x-spendhub-confidence-threshold", b"2", "confidence_threshold"),
        (b"x-spendhub-min-quality", b"best", "min_quality"),
        (b"x-spendhub-user-tier", b"gold", "user_tier"),
        (b"x-spendhub-capabilities", b"telepathy", "capabilities"),
        (b"x-spendhub-region", b"x" * 61, "region"),
        (b"x-spendhub-strategy", b"a\tb", "strategy"),
        (b"x-spendhub-allow", b"a," * 50, "allow"),
    ],
)
def test_a_header_that_cannot_be_is_named(header: bytes, value: bytes, field: str) -> None:
    with pytest.raises(InvalidDemand) as refused:
        demands_of(exchange_of({header: value}), {})
    assert (refused.value.code, refused.value.details["field"]) == ("invalid_demand", field)


@pytest.mark.parametrize("value", [-1, True, [], {}, pytest.param(10**400, id="huge"), "much"])
def test_a_cost_in_the_body_that_cannot_be_is_named(value: Any) -> None:
    with pytest.raises(InvalidDemand) as refused:
        demands_of(exchange_of(), {"spendhub": {"max_cost": value}})
    assert refused.value.details["field"] == "max_cost"
    assert refused.value.message.startswith("max_cost: ")


def test_a_header_that_is_no_text_is_named() -> None:
    with pytest.raises(Invalid) as refused:
        demands_of(exchange_of({b"x-spendhub-region": b"\xff\xfe"}), {})
    assert refused.value.details["field"] == "x-spendhub-region"

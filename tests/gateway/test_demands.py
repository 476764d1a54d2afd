"""What a caller demands beside its request: what cannot be is refused by name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from spendhub.errors import Invalid
from spendhub.gateway.declared import demands_of
from spendhub.gateway.exchange import Exchange
from spendhub.gateway.our_headers import DEMANDS, InvalidDemand, check_names
from spendhub.tenants.attribution import DIMENSIONS


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


def test_every_header_that_a_call_heeds_may_be_sent_and_others_names_are_not_looked_at() -> None:
    dashed = [
        name.replace("_", "-") for name in (*DIMENSIONS, *DEMANDS, "wait", "cache", "request_id", "idempotency_key")
    ]
    check_names([f"x-spendhub-{name}".encode() for name in dashed])
    check_names([b"host", b"x-spend", b"x-budget-scope-type", b"idempotency-key", b"x-stainless-os"])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (b"x-spendhub-featur", "there is no header x-spendhub-featur; did you mean x-spendhub-feature?"),
        (b"x-spendhub-max_cost", "there is no header x-spendhub-max_cost; did you mean x-spendhub-max-cost?"),
        (
            b"x-spendhub-team",
            "there is no header x-spendhub-team; there are x-spendhub- agent, allow, cache, capabilities, "
            "confidence-threshold, deny, feature, idempotency-key, max-cost, max-latency-ms, min-quality, org, region, "
            "request-id, session, strategy, task, timeout-ms, user, user-tier, wait, wait-seconds",
        ),
    ],
)
def test_a_header_of_ours_that_nobody_knows_is_refused_with_what_was_meant(name: bytes, told: str) -> None:
    with pytest.raises(InvalidDemand) as refused:
        check_names([b"host", b"x-spendhub-user", name])
    assert (refused.value.message, refused.value.details["field"]) == (told, name.decode())


@pytest.mark.parametrize("name", [b"x-spendhub-", b"x-spendhub-" + b"z" * 10_000, b"x-spendhub-\xff\x00\r\n"])
def test_what_is_said_of_such_a_header_is_short_and_safe_to_print(name: bytes) -> None:
    with pytest.raises(InvalidDemand) as refused:
        check_names([name])
    field = refused.value.details["field"]
    assert len(field) <= 60
    assert field.isascii() and field.isprintable()
    assert len(refused.value.message) < 500

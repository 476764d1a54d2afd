"""What was spent: totals, by one dimension, and by time in the tenant's own zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from spendhub.tenants.models import Tenant
from tests import factories
from tests.budgets.api import client_of, get, post

pytestmark = pytest.mark.django_db(transaction=True)

NOVEMBER = {"from": "2026-11-01", "to": "2026-12-01"}


@pytest.fixture
def acme() -> Tenant:
    factories.PriceFactory(model__name="small")
    return factories.acme()


@pytest.fixture
def client(acme: Tenant) -> Any:
    return client_of(acme)


def record(client: Any, *spans: dict[str, Any]) -> None:
    """Spans of ada's on 10 November 2026 that cost 1 USD, unless they say otherwise."""
    usual = {"attribution": {"user": "ada"}, "occurred_at": "2026-11-10T12:00:00Z", "cost": "1"}
    post(client, "v1/spans", [usual | span for span in spans], 202)


def usage(client: Any, status: int = 200, /, **query: Any) -> dict[str, Any]:
    return get(client, "v1/usage", status, **NOVEMBER | query)


def by_key(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(group["key"], group["cost"]) for group in told["groups"]]


def by_time(told: dict[str, Any]) -> list[tuple[datetime, str]]:
    return [(datetime.fromisoformat(bucket["start"]).astimezone(UTC), bucket["cost"]) for bucket in told["buckets"]]


def utc(day: int, hour: int = 0, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def test_totals_add_up_calls_money_and_tokens(client: Any) -> None:
    tokens = {
        "input_tokens": 1000,
        "output_tokens": 500,
        "cache_read_tokens": 600,
        "cache_write_tokens": 100,
        "cache_write_1h_tokens": 50,
        "reasoning_tokens": 200,
    }
    record(client, {"cost": "0.000000001"}, {"cost": "2", "status": "error"}, {"cost": "1", "usage": tokens})
    told = usage(client)
    expected = {
        "calls": 3,
        "errors": 1,
        "estimated": 0,
        "cost": "3.000000001",
        "average_cost": "1.00",
        "usage": tokens,
    }
    assert {name: told["totals"][name] for name in expected} == expected
    assert (told["groups"], told["buckets"], told["group_by"], told["interval"]) == ([], [], None, None)


def test_an_average_is_rounded_once_half_up(client: Any) -> None:
    record(client, {"cost": "0.000000001"}, {"cost": "0.000000002"})
    assert usage(client)["totals"]["average_cost"] == "0.000000002"


def test_nothing_recorded_is_zero(client: Any) -> None:
    totals = usage(client, group_by="user", interval="day")["totals"]
    assert (totals["calls"], totals["cost"], totals["average_cost"]) == (0, "0.00", "0.00")
    assert (usage(client, group_by="user")["groups"], usage(client, interval="day")["buckets"]) == ([], [])


def test_estimated_calls_are_counted_as_such(acme: Tenant, settings: Any) -> None:
    settings.DEFAULT_INPUT_NANO_USD_PER_MTOK = settings.DEFAULT_OUTPUT_NANO_USD_PER_MTOK = 10**9
    acme.unpriced_models = "default"
    acme.save()
    client = client_of(acme)
    record(client, {}, {"cost": None, "model": "nobody-knows-me", "usage": {"input_tokens": 1}})
    assert (usage(client)["totals"]["calls"], usage(client)["totals"]["estimated"]) == (2, 1)


def test_groups_come_dearest_first_and_what_says_nothing_is_one_of_them(client: Any) -> None:
    record(
        client,
        {"attribution": {"user": "ben"}, "cost": "1"},
        {"attribution": {"user": "ada"}, "cost": "2"},
        {"attribution": {"user": "ada"}, "cost": "3"},
        {"attribution": {}, "cost": "4"},
        {"attribution": {"user": "cy"}, "cost": "1"},
    )
    told = usage(client, group_by="user")
    assert by_key(told) == [("ada", "5.00"), ("", "4.00"), ("ben", "1.00"), ("cy", "1.00")]
    assert [group["calls"] for group in told["groups"]] == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("group_by", "key"),
    [
        ("org", "o"),
        ("feature", "f"),
        ("task", "t"),
        ("provider", "vendor"),
        ("model", "small"),
        ("source", "api"),
        ("status", "aborted"),
    ],
)
def test_spans_can_be_grouped_and_filtered_by_any_dimension(client: Any, group_by: str, key: str) -> None:
    who = {"org": "o", "feature": "f", "task": "t"}
    record(client, {"attribution": who, "model": "small", "status": "aborted"})
    assert by_key(usage(client, group_by=group_by)) == [(key, "1.00")]
    assert usage(client, **{group_by: key})["totals"]["calls"] == 1
    assert usage(client, **{group_by: "other"})["totals"]["calls"] == 0


def test_filters_hold_for_totals_groups_and_buckets_together(client: Any) -> None:
    record(
        client,
        {"attribution": {"user": "ada", "agent": "bot"}, "cost": "1"},
        {"attribution": {"user": "ben", "agent": "bot"}, "cost": "2"},
        {"attribution": {"user": "ben"}, "cost": "4"},
    )
    told = usage(client, agent="bot", group_by="user", interval="month")
    assert (told["totals"]["cost"], by_key(told)) == ("3.00", [("ben", "2.00"), ("ada", "1.00")])
    assert by_time(told) == [(utc(1), "3.00")]


def test_the_range_includes_its_beginning_and_not_its_end(client: Any) -> None:
    record(client, *({"occurred_at": f"2026-11-{day}T00:00:00Z", "cost": str(day)} for day in (10, 11, 12)))
    assert usage(client, **{"from": "2026-11-10", "to": "2026-11-12"})["totals"]["cost"] == "21.00"
    told = usage(client, **{"from": "2026-11-10T00:00:01Z", "to": "2026-11-12T00:00:01+00:00"})
    assert told["totals"]["cost"] == "23.00"
    assert datetime.fromisoformat(told["from"]) == datetime(2026, 11, 10, 0, 0, 1, tzinfo=UTC)


def test_without_a_range_it_is_the_last_30_days(client: Any) -> None:
    post(client, "v1/spans", [{"cost": 1}, {"cost": 2, "occurred_at": "2020-01-01T00:00:00Z"}], 202)
    told = get(client, "v1/usage")
    assert told["totals"]["cost"] == "1.00"
    assert (datetime.fromisoformat(told["to"]) - datetime.fromisoformat(told["from"])).days == 30


def test_buckets_are_cut_in_the_tenants_time_zone_in_order_of_time(acme: Tenant) -> None:
    acme.timezone = "Europe/Berlin"
    acme.save()
    client = client_of(acme)
    record(client, *({"occurred_at": f"2026-11-{moment}Z"} for moment in ("10T22:59:59", "10T23:00:00", "09T23:00:00")))
    assert by_time(usage(client, interval="day")) == [(utc(9, 23), "2.00"), (utc(10, 23), "1.00")]
    assert by_time(usage(client, interval="month")) == [(utc(31, 23, month=10), "3.00")]
    assert by_time(usage(client, interval="week")) == [(utc(8, 23), "3.00")]


def test_an_hour_of_a_zone_with_half_hours_begins_at_its_own_full_hour(acme: Tenant) -> None:
    acme.timezone = "Asia/Kolkata"
    acme.save()
    client = client_of(acme)
    record(client, *({"occurred_at": f"2026-11-10T{moment}Z"} for moment in ("10:29:59", "10:30:00", "11:29:59")))
    assert by_time(usage(client, interval="hour")) == [(utc(10, 9, 30), "1.00"), (utc(10, 10, 30), "2.00")]


def test_the_hour_that_autumn_repeats_is_two_hours_and_the_one_that_spring_skips_is_none(acme: Tenant) -> None:
    acme.timezone = "Europe/Berlin"
    acme.save()
    client = client_of(acme)
    # 2 o'clock in summer time, 2 o'clock in winter time, 3 o'clock.
    moments = ("24T23:59:59", "25T00:00:00", "25T00:59:59", "25T01:00:00", "25T01:59:59", "25T02:00:00")
    record(client, *({"occurred_at": f"2026-10-{moment}Z"} for moment in moments))
    told = usage(client, interval="hour", **{"from": "2026-10-20"})
    assert [bucket["start"] for bucket in told["buckets"]] == [
        "2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]  # fmt: skip
    assert [bucket["cost"] for bucket in told["buckets"]] == ["1.00", "2.00", "2.00", "1.00"]
    assert told["totals"]["cost"] == "6.00"
    record(client, *({"occurred_at": f"2026-03-29T{moment}Z"} for moment in ("00:59:59", "01:00:00")))
    told = usage(client, interval="hour", **{"from": "2026-03-01", "to": "2026-04-01"})
    assert by_time(told) == [(utc(29, 0, month=3), "1.00"), (utc(29, 1, month=3), "1.00")]


def test_clocks_that_move_by_half_an_hour_end_one_hour_and_begin_the_next(acme: Tenant) -> None:
    acme.timezone = "Australia/Lord_Howe"  # from +11:00 to +10:30 on 4 April 2026, 15:00 UTC
    acme.save()
    client = client_of(acme)
    moments = ("04T14:59:59", "04T15:00:00", "04T15:29:59", "04T15:30:00", "04T16:29:59", "04T16:30:00")
    record(client, *({"occurred_at": f"2026-04-{moment}Z"} for moment in moments))
    told = usage(client, interval="hour", **{"from": "2026-04-01", "to": "2026-05-01"})
    assert by_time(told) == [
        (utc(4, 14, month=4), "1.00"), (utc(4, 15, month=4), "2.00"), (utc(4, 15, 30, month=4), "2.00"),
        (utc(4, 16, 30, month=4), "1.00"),
    ]  # fmt: skip


def test_the_longest_range_that_can_be_asked_for_is_cut_into_hours_too(client: Any) -> None:
    record(client, {})
    told = usage(client, interval="hour", **{"from": "1970-01-01", "to": "2999-12-31"})
    assert by_time(told) == [(utc(10, 12), "1.00")]


def test_days_on_which_clocks_change_are_whole_days(acme: Tenant) -> None:
    acme.timezone = "Europe/Berlin"
    acme.save()
    client = client_of(acme)
    record(client, *({"occurred_at": f"2026-10-{moment}Z"} for moment in ("24T22:00:00", "25T22:59:59", "25T23:00:00")))
    told = usage(client, interval="day", **{"from": "2026-10-01"})
    assert by_time(told) == [(utc(24, 22, month=10), "2.00"), (utc(25, 23, month=10), "1.00")]


def test_buckets_and_groups_add_up_to_the_totals(client: Any) -> None:
    record(
        client,
        *(
            {
                "attribution": {"user": f"u{n % 3}"},
                "occurred_at": f"2026-11-{n + 1:02}T12:00:00Z",
                "cost": f"0.{n + 1:09}",
            }
            for n in range(20)
        ),
    )
    told = usage(client, group_by="user", interval="day")
    expected = sum(range(1, 21))
    for parts in (told["groups"], told["buckets"]):
        assert sum(round(float(part["cost"]) * 10**9) for part in parts) == expected
    assert told["totals"]["cost"] == "0.00000021"


def test_what_is_asked_wrongly_is_400(client: Any) -> None:
    for wrong in (
        {"planet": "mars"},
        {"group_by": "planet"},
        {"group_by": "tenant_id"},
        {"interval": "fortnight"},
        {"from": "soon"},
        {"from": "2026-13-01"},
        {"from": "2026-12-01"},
        {"to": "2026-11-01"},
        {"user": "x" * 201},
        {"user": "a\x07b"},
    ):
        assert usage(client, 400, **wrong)["error"]["code"] == "invalid_query", wrong


def test_usage_needs_the_permission_to_read(acme: Tenant) -> None:
    get(client_of(acme, permissions=["spend"]), "v1/usage", 403)


def test_another_tenants_spend_is_in_no_number(client: Any) -> None:
    record(client, {})
    stranger = client_of(factories.globex())
    told = usage(stranger, group_by="user", interval="day")
    assert (told["totals"]["calls"], told["groups"], told["buckets"]) == (0, [], [])

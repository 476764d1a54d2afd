"""Recorded calls over the API: one or many, all or none, each counted once, readable by their tenant alone."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from budgets.counters.drive import drive
from budgets.models import BudgetWindow
from spendhub.snapshots import refresh_all
from spendhub.tenants.models import ApiKey, Tenant
from telemetry.corrections import SpanMissing, correct_span
from telemetry.models import CostSpan, SpanCorrection
from tests import factories
from tests.budgets.api import NANO, client_of, define, get, post

pytestmark = pytest.mark.django_db(transaction=True)

ADA = {"attribution": {"user": "ada"}}


@pytest.fixture
def acme() -> Tenant:
    """Acme, whose catalog has a model `small`: 1 USD in, 4 USD out per million tokens."""
    factories.PriceFactory(model__name="small")
    return factories.acme()


@pytest.fixture
def client(acme: Tenant) -> Any:
    return client_of(acme)


def send(client: Any, body: Any, status: int = 202) -> dict[str, Any]:
    return post(client, "v1/spans", body, status)


def stored(acme: Tenant) -> CostSpan:
    return CostSpan.objects.for_tenant(acme).get()


# --- one span ------------------------------------------------------------------------------------


def test_a_span_with_its_cost_is_on_disk_and_counted_when_it_is_answered(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    told = send(client, {**ADA, "request_id": "r-1", "cost": "0.25"})
    span = stored(acme)
    assert told == {"accepted": 1, "duplicates": 0, "ids": [str(span.id)]}
    assert (span.request_id, span.cost_nano_usd, span.user, span.source, span.is_estimated) == (
        "r-1", 250_000_000, "ada", "api", False,
    )  # fmt: skip
    assert get(client, "v1/budgets")["results"][0]["spent"] == "0.25"


def test_a_span_with_usage_is_priced_by_its_model(client: Any) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 500, "cache_read_tokens": 600, "reasoning_tokens": 100}
    (span_id,) = send(client, {"model": "small", "usage": usage})["ids"]
    told = get(client, f"v1/spans/{span_id}")
    assert (told["cost"], told["breakdown"]) == (
        "0.003",
        {"input": "0.0004", "cache_read": "0.0006", "output": "0.0016", "reasoning": "0.0004"},
    )
    assert told["usage"] == {**usage, "cache_write_tokens": 0, "cache_write_1h_tokens": 0}
    assert (told["provider"], told["model"], told["is_estimated"]) == ("vendor", "small", False)


def test_a_span_priced_by_an_accounts_own_model_says_which_it_was_for_its_name_may_change(
    client: Any, acme: Tenant
) -> None:
    own = factories.ModelFactory(name="mine", tenant=acme)
    factories.PriceFactory(model=own, tenant=acme)
    refresh_all()
    told = [{"request_id": name, "model": name, "usage": {"input_tokens": 1000}} for name in ("mine", "small")]
    send(client, told)
    kept = dict(CostSpan.objects.for_tenant(acme).values_list("model", "metadata"))
    assert kept == {"mine": {"own_model_id": own.pk}, "small": {}}


def test_a_given_cost_stands_before_the_usage(client: Any) -> None:
    body = {"model": "small", "usage": {"input_tokens": 1000}, "cost": 7}
    told = get(client, f"v1/spans/{send(client, body)['ids'][0]}")
    assert (told["cost"], told["breakdown"], told["usage"]["input_tokens"]) == ("7.00", {}, 1000)


def test_the_price_is_that_of_the_moment_of_the_call(client: Any) -> None:
    model = factories.ModelFactory(name="small")
    day = datetime(2026, 6, 1, tzinfo=UTC)
    factories.PriceFactory(model=model, valid_from=day, input_nano_usd_per_mtok=2 * NANO)
    refresh_all()
    costs = []
    for occurred_at in (day - timedelta(seconds=1), day):
        body = {"model": "small", "usage": {"input_tokens": 1000}, "occurred_at": occurred_at.isoformat()}
        costs.append(get(client, f"v1/spans/{send(client, body)['ids'][0]}")["cost"])
    assert costs == ["0.001", "0.002"]


def test_every_field_that_is_sent_comes_back(client: Any, acme: Tenant) -> None:
    sent = {
        "request_id": "r-1",
        "occurred_at": "2026-11-24T12:00:00Z",
        "attribution": {"org": "o", "user": "ada", "agent": "a", "feature": "f", "session": "s", "task": "t"},
        "provider": "elsewhere",
        "model": "small",
        "requested_model": "auto",
        "cost": "0.50",
        "status": "error",
        "error_code": "overloaded",
        "duration_ms": 1500,
        "first_token_ms": 300,
        "trace_id": "t-1",
        "parent_id": "p-1",
        "metadata": {"run": {"number": 7}},
    }
    (span_id,) = send(client, sent)["ids"]
    told = get(client, f"v1/spans/{span_id}")
    assert {name: told[name] for name in sent} == sent
    assert (told["source"], told["api_key"], told["reserved"], told["reservation_id"]) == (
        "api", stored(acme).api_key, None, None,
    )  # fmt: skip


def test_what_a_span_does_not_say_comes_from_the_key_and_the_moment(acme: Tenant) -> None:
    client = client_of(acme, attribution={"agent": "bot", "user": "ben"})
    send(client, {**ADA, "cost": 1})
    span = stored(acme)
    assert (span.user, span.agent, span.status) == ("ada", "bot", "ok")
    assert abs(span.occurred_at - timezone.now()) < timedelta(seconds=30)
    assert span.api_key == ApiKey.objects.for_tenant(acme).get().prefix and len(span.request_id) == 32


def test_a_model_without_a_price_is_refused_or_counted_at_the_default_price(
    client: Any, acme: Tenant, settings: Any
) -> None:
    body = {"model": "nobody-knows-me", "usage": {"input_tokens": 1000, "output_tokens": 500}}
    assert send(client, body, 400)["error"]["code"] == "unpriced_model"
    settings.DEFAULT_INPUT_NANO_USD_PER_MTOK, settings.DEFAULT_OUTPUT_NANO_USD_PER_MTOK = 2 * NANO, 8 * NANO
    acme.unpriced_models = "default"
    acme.save()
    refresh_all()
    send(client, body)
    assert (stored(acme).cost_nano_usd, stored(acme).is_estimated) == (6_000_000, True)


@pytest.mark.parametrize("status", ["ok", "error", "aborted"])
def test_a_failed_call_counts_what_it_cost(client: Any, acme: Tenant, status: str) -> None:
    define(acme, "user:ada", 10)
    send(client, {**ADA, "cost": 1, "status": status})
    assert BudgetWindow.objects.for_tenant(acme).get().spend_nano_usd == NANO


def test_a_span_may_carry_its_budget_past_the_limit_for_the_money_is_gone(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 1)
    send(client, {**ADA, "cost": 5})
    refused = post(client, "v1/check", {**ADA, "estimated_cost": 0}, 402)
    assert (refused["budgets"][0]["spent"], refused["remaining"]) == ("5.00", "0.00")


# --- many, and the same again ----------------------------------------------------------------------


def test_a_list_is_recorded_in_one_go_with_its_ids_in_order(client: Any, acme: Tenant) -> None:
    define(acme, "user:*", 10)
    told = send(client, [{"attribution": {"user": user}, "cost": n} for n, user in enumerate(("ada", "ben", "ada"), 1)])
    assert (told["accepted"], told["duplicates"]) == (3, 0)
    spans = CostSpan.objects.for_tenant(acme).in_bulk([uuid.UUID(each) for each in told["ids"]])
    assert [spans[uuid.UUID(each)].cost_nano_usd // NANO for each in told["ids"]] == [1, 2, 3]
    rows = BudgetWindow.objects.for_tenant(acme).values_list("scope_key", "spend_nano_usd")
    assert dict(rows) == {"ada": 4 * NANO, "ben": 2 * NANO}


def test_all_of_a_list_or_nothing_and_each_error_by_its_index(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    spans = [
        {**ADA, "cost": 1},
        {**ADA, "cost": -1},
        {**ADA},
        {**ADA, "cost": 1, "occurred_at": "2999-01-01T00:00:00Z"},
        {"attribution": {"user": "*"}, "cost": 1},
        {"model": "small", "usage": {"input_tokens": 1, "cache_read_tokens": 2}},
    ]
    error = send(client, spans, 400)["error"]
    assert error["code"] == "invalid_spans"
    assert [(each["index"], each["code"]) for each in error["details"]["errors"]] == [
        (1, "invalid_money"),
        (2, "cost_unknown"),
        (3, "invalid_span"),
        (4, "invalid_attribution"),
        (5, "impossible_usage"),
    ]
    assert error["message"].startswith("[1]: ") and error["message"].endswith("; nothing was recorded")
    assert CostSpan.objects.for_tenant(acme).count() == 0
    assert BudgetWindow.objects.for_tenant(acme).count() == 0


def test_no_more_errors_are_told_than_anybody_reads(client: Any) -> None:
    errors = send(client, [{"cost": -1}] * 150, 400)["error"]["details"]["errors"]
    assert len(errors) == 100


def test_a_request_id_that_is_known_is_a_duplicate_with_the_first_ones_id(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    first = send(client, {**ADA, "request_id": "r-1", "cost": 1})
    spans = [{**ADA, "request_id": name, "cost": 2} for name in ("r-1", "r-2", "r-2")]
    told = send(client, spans)
    assert (told["accepted"], told["duplicates"]) == (1, 2)
    assert told["ids"][0] == first["ids"][0] and told["ids"][1] == told["ids"][2]
    assert BudgetWindow.objects.for_tenant(acme).get().spend_nano_usd == 3 * NANO


def test_a_request_id_is_one_for_spans_commits_and_the_recipe_alike(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    send(client, {**ADA, "request_id": "r-1", "cost": 1})
    recipe = {"scopeType": "user", "scopeKey": "ada", "actualCost": 1, "requestId": "r-1"}
    assert post(client, "budget/record", recipe)["duplicate"] is True
    held = post(client, "v1/reservations", {**ADA, "estimated_cost": 1}, 201)["id"]
    post(client, f"v1/reservations/{held}/commit", {"actual_cost": 1, "request_id": "r-1"})
    (row,) = get(client, "v1/budgets")["results"]
    assert (row["spent"], row["reserved"]) == ("1.00", "0.00")


def test_calls_that_cost_more_than_was_held_say_by_how_much_and_are_found(client: Any) -> None:
    committed = []
    for cost in ("1.5", "1", "0.25"):
        held = post(client, "v1/reservations", {**ADA, "estimated_cost": 1}, 201)["id"]
        committed.append(post(client, f"v1/reservations/{held}/commit", {"actual_cost": cost}, 200)["span_id"])
    # Nothing was held for it, and what its metadata says is its sender's own.
    recorded = send(client, {**ADA, "cost": 7, "metadata": {"worst_case_cost": "9.00"}})["ids"][0]
    told = [get(client, f"v1/spans/{span_id}") for span_id in (*committed, recorded)]
    assert [(each["reserved"], each["over_hold"], each["worst_case"]) for each in told] == [
        ("1.00", "0.50", None), ("1.00", "0.00", None), ("1.00", "0.00", None), (None, None, None),
    ]  # fmt: skip

    def found(over_hold: str) -> set[str]:
        return {each["id"] for each in get(client, f"v1/spans?over_hold={over_hold}")["results"]}

    assert (found("true"), found("false")) == ({committed[0]}, set(committed[1:]))
    assert get(client, "v1/spans?over_hold=perhaps", 400)["error"]["code"] == "invalid_query"
    stranger = client_of(factories.globex())
    assert get(stranger, "v1/spans?over_hold=true")["results"] == []


def test_calls_that_cost_more_than_was_held_are_found_without_reading_all_others(acme: Tenant) -> None:
    rows = CostSpan.objects.for_tenant(acme).order_by("-occurred_at")
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # It would rather read the whole of so small a table.
            cursor.execute("SET LOCAL enable_seqscan = off")
        assert "span_over_hold" in rows.filter(cost_nano_usd__gt=F("reserved_nano_usd")).explain()
        assert "span_over_hold" not in rows.filter(cost_nano_usd__lte=F("reserved_nano_usd")).explain()


# --- what cannot be recorded -----------------------------------------------------------------------

NO_SPANS: list[Any] = [
    {},
    {"cost": -1},
    {"cost": "NaN"},
    {"cost": "Infinity"},
    {"cost": True},
    {"cost": 9_000_001},
    {"cost": [1]},
    {"usage": {"input_tokens": 5}},
    {"model": "small"},
    {"model": "small", "usage": {"input_tokens": -1}},
    {"model": "small", "usage": {"input_tokens": 1.5}},
    {"model": "small", "usage": {"input_tokens": 10**10}},
    {"model": "small", "usage": {"input_tokens": 1, "cache_write_tokens": 2}},
    {"model": "small", "usage": {"output_tokens": 1, "reasoning_tokens": 2}},
    {"model": "small", "usage": {"images": 1}},
    {"model": "small", "usage": 5},
    {"cost": 1, "model": "gpt\n"},
    {"cost": 1, "model": "x" * 121},
    {"cost": 1, "attribution": {"planet": "mars"}},
    {"cost": 1, "attribution": {"user": "a\x07b"}},
    {"cost": 1, "attribution": {"user": "x" * 201}},
    {"cost": 1, "request_id": ""},
    {"cost": 1, "request_id": "a\nb"},
    {"cost": 1, "request_id": 5},
    {"cost": 1, "occurred_at": "yesterday"},
    {"cost": 1, "occurred_at": "2999-01-01T00:00:00Z"},
    {"cost": 1, "occurred_at": "1969-12-31T23:59:59Z"},
    {"cost": 1, "occurred_at": "0001-01-01T00:00:00+14:00"},
    {"cost": 1, "occurred_at": 1_795_000_000_000_000},
    {"cost": 1, "status": "splendid"},
    {"cost": 1, "status": "interrupted"},
    {"cost": 1, "duration_ms": -1},
    {"cost": 1, "duration_ms": 2**31},
    {"cost": 1, "metadata": {"x": "y" * 20_000}},
    {"cost": 1, "metadata": [1]},
    {"cost": 1, "source": "gateway"},
    {"cost": 1, "surprise": 1},
    [],
    [{"cost": 1}, 5],
    [[{"cost": 1}]],
    [{"cost": 1}] * 10_001,
    "text",
    5,
    None,
]


def test_what_is_no_span_is_400_in_the_native_shape_and_writes_nothing(client: Any, acme: Tenant) -> None:
    for body in NO_SPANS:
        response = client.post("/api/v1/spans", body, format="json")
        assert response.status_code == 400, (str(body)[:200], response.content)
        assert response.json()["error"].keys() == {"code", "message", "details"}
    assert CostSpan.objects.for_tenant(acme).count() == 0


def test_a_body_that_is_too_large_or_no_json_is_refused(client: Any) -> None:
    for body, kind, status in (
        (b"[" + b" " * (32 * 1024 * 1024) + b"]", "application/json", 413),
        (b"{", "application/json", 400),
        (b'{"cost": 1}', "text/plain", 415),
    ):
        assert client.generic("POST", "/api/v1/spans", body, content_type=kind).status_code == status


def test_a_clock_that_is_a_little_ahead_is_forgiven(client: Any) -> None:
    soon = timezone.now() + timedelta(minutes=4)
    send(client, {"cost": 1, "occurred_at": soon.isoformat()})
    send(client, {"cost": 1, "occurred_at": (soon + timedelta(minutes=2)).isoformat()}, 400)


def test_recording_needs_spend_and_reading_needs_read(acme: Tenant) -> None:
    reader, spender = client_of(acme, permissions=["read"]), client_of(acme, permissions=["spend"])
    assert send(reader, {"cost": 1}, 403)["error"]["details"] == {"needed": "spend"}
    send(spender, {"cost": 1})
    get(spender, "v1/spans", 403)
    assert len(get(reader, "v1/spans")["results"]) == 1


# --- read ------------------------------------------------------------------------------------------


def test_spans_are_listed_the_latest_first_filtered_and_in_pages(client: Any) -> None:
    spans = [
        {"request_id": "r-1", "occurred_at": "2026-11-01T00:00:00Z", "model": "small", "cost": 1, **ADA},
        {"request_id": "r-2", "occurred_at": "2026-11-02T00:00:00Z", "status": "error", "cost": 1, "trace_id": "t"},
        {"request_id": "r-3", "occurred_at": "2026-11-03T00:00:00Z", "attribution": {"agent": "bot"}, "cost": 1},
    ]
    send(client, spans)

    def names(**query: Any) -> list[str]:
        return [row["request_id"] for row in get(client, "v1/spans", **query)["results"]]

    assert names() == ["r-3", "r-2", "r-1"]
    assert names(user="ada") == names(model="small") == names(provider="vendor") == ["r-1"]
    assert names(status="error") == names(trace_id="t") == ["r-2"]
    assert names(agent="bot") == names(request_id="r-3") == ["r-3"]
    assert names(**{"from": "2026-11-02", "to": "2026-11-03"}) == ["r-2"]
    assert names(source="api", user="nobody") == []
    seen, page = [], get(client, "v1/spans", limit=2)
    while True:
        seen += [row["request_id"] for row in page["results"]]
        if page["next"] is None:
            break
        page = client.get(page["next"]).json()
    assert seen == ["r-3", "r-2", "r-1"]
    for wrong in ({"planet": "mars"}, {"from": "soon"}, {"limit": "0"}, {"user": "x" * 201}):
        get(client, "v1/spans", 400, **wrong)


def test_a_stranger_sees_none_of_acmes_spans(client: Any) -> None:
    (span_id,) = send(client, {"request_id": "r-1", "cost": 1})["ids"]
    stranger = client_of(factories.globex())
    assert get(stranger, "v1/spans")["results"] == []
    assert get(stranger, "v1/spans", request_id="r-1")["results"] == []
    get(stranger, f"v1/spans/{span_id}", 404)
    assert send(stranger, {"request_id": "r-1", "cost": 1})["accepted"] == 1


def test_a_span_is_never_edited_or_deleted_over_the_api(client: Any) -> None:
    (span_id,) = send(client, {"cost": 1})["ids"]
    for method in ("put", "patch", "delete", "post"):
        assert getattr(client, method)(f"/api/v1/spans/{span_id}", {}, format="json").status_code == 405


# --- corrected -------------------------------------------------------------------------------------


def correct(acme: Tenant, span_id: Any, nano_usd: int) -> None:
    drive(correct_span(acme.pk, uuid.UUID(str(span_id)), nano_usd, actor="user:ada", reason="bill", now=timezone.now()))


def test_a_correction_moves_span_ledger_and_counters_and_the_old_cost_is_kept(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    define(acme, "tenant", 100)
    (span_id,) = send(client, {**ADA, "cost": 5})["ids"]
    correct(acme, span_id, 7 * NANO)
    correct(acme, span_id, 2 * NANO)
    assert get(client, f"v1/spans/{span_id}")["cost"] == "2.00"
    assert [row["spent"] for row in get(client, "v1/budgets")["results"]] == ["2.00", "2.00"]
    kept = SpanCorrection.objects.for_tenant(acme).order_by("id").values_list("from_nano_usd", "to_nano_usd")
    assert list(kept) == [(5 * NANO, 7 * NANO), (7 * NANO, 2 * NANO)]
    assert get(client, "v1/usage")["totals"]["cost"] == "2.00"


def test_a_correction_counts_in_the_window_of_the_call(client: Any, acme: Tenant) -> None:
    budget = define(acme, "user:ada", 10, period="day")
    (span_id,) = send(client, {**ADA, "cost": 5, "occurred_at": "2026-03-01T12:00:00Z"})["ids"]
    correct(acme, span_id, NANO)
    row = BudgetWindow.objects.for_tenant(acme).get(budget=budget)
    assert (row.starts_at, row.spend_nano_usd) == (datetime(2026, 3, 1, tzinfo=UTC), NANO)


def test_a_correction_to_the_same_cost_moves_no_budget(client: Any, acme: Tenant) -> None:
    define(acme, "user:ada", 10)
    (span_id,) = send(client, {**ADA, "cost": 5})["ids"]
    version = BudgetWindow.objects.for_tenant(acme).get().version
    correct(acme, span_id, 5 * NANO)
    assert BudgetWindow.objects.for_tenant(acme).get().version == version


def test_a_strangers_span_cannot_be_corrected(client: Any, acme: Tenant) -> None:
    (span_id,) = send(client, {"cost": 5})["ids"]
    with pytest.raises(SpanMissing):
        correct(factories.globex(), span_id, NANO)
    assert stored(acme).cost_nano_usd == 5 * NANO


def test_a_span_of_another_tier_with_searches_is_priced_as_its_vendor_would(client: Any) -> None:
    model = factories.ModelFactory(name="small")
    factories.PriceFactory(
        model=model, service_tier="fast+us", input_nano_usd_per_mtok=3 * NANO,
        web_search_nano_usd_per_thousand=10 * NANO,
    )  # fmt: skip
    refresh_all()
    usage = {"input_tokens": 1000, "web_searches": 2, "service_tier": "us+fast"}
    told = get(client, f"v1/spans/{send(client, {'model': 'small', 'usage': usage})['ids'][0]}")
    assert (told["cost"], told["breakdown"]) == ("0.023", {"input": "0.003", "web_search": "0.02"})
    assert (told["is_estimated"], told["metadata"]) == (False, {"service_tier": "fast+us", "web_searches": 2})


def test_a_tier_or_a_search_without_a_price_is_counted_as_far_as_it_can_be_and_marked(client: Any) -> None:
    for usage, fact in (
        ({"service_tier": "flex"}, {"service_tier": "flex"}),
        ({"web_searches": 1}, {"web_searches": 1, "not_priced": ["web_search"]}),
    ):
        body = {"model": "small", "usage": {"input_tokens": 1000, **usage}, "metadata": {"run": 7}}
        told = get(client, f"v1/spans/{send(client, body)['ids'][0]}")
        assert (told["cost"], told["is_estimated"], told["metadata"]) == ("0.001", True, {"run": 7, **fact})

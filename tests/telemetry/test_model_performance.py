"""How models have done, side by side: success, speed, cost and quality of a tenant's own calls."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from spendhub.tenants.models import Change, Tenant
from telemetry.models import QualityWeights
from tests import factories
from tests.budgets.api import client_of, get
from tests.telemetry.test_experiments import NANO, book, rate

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(db: None) -> Tenant:
    return factories.acme()


def lines(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["key"]: line for line in told["results"]}


def set_weights(client: Any, **weights: float) -> Any:
    answer = client.patch("/api/v1/quality-weights", weights, format="json")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_model_is_told_by_success_speed_cost_and_quality(acme: Tenant) -> None:
    for milliseconds in (1_000, 2_000, 3_000):
        book(acme, "small", duration_ms=milliseconds, output_tokens=300, provider="vendor", rated=4)
    book(acme, "small", status="error", cost_nano_usd=0, duration_ms=50)
    told = get(client_of(acme), "v1/performance")
    assert (told["group_by"], told["sample"]["calls"]) == ("model", 4)
    assert told["results"] == [
        {
            "key": "small", "rank": 1, "calls": 4, "errors": 1, "success_rate": 0.75, "cost": "3.00",
            "cost_per_call": "0.75", "p50_ms": 2000.0, "p95_ms": 2900.0, "p99_ms": 2980.0, "quality": 4.0, "ratings": 3,
            # 900 tokens in 6 seconds; 3 USD for 900; 4 of 5 for 0.75 USD.
            "output_tokens": 900, "output_tokens_per_second": 150.0, "cost_per_1000_output_tokens": "3.333333333",
            "quality_per_usd": 5.333,
            # None of them says how it ended.
            "rules": {"score": None, "calls": 0, "faults": {}}, "blended_quality": 4.0,
        }
    ]  # fmt: skip


def test_the_most_quality_per_dollar_comes_first_and_what_nobody_has_rated_last(acme: Tenant) -> None:
    book(acme, "good and dear", rated=5)
    book(acme, "fair and cheap", rated=3, cost_nano_usd=NANO // 10)
    book(acme, "free", rated=1, cost_nano_usd=0)
    book(acme, "unrated", 2)
    book(acme, "unrated too", 3)
    told = get(client_of(acme), "v1/performance")["results"]
    assert [(line["key"], line["rank"], line["quality_per_usd"]) for line in told] == [
        ("free", 1, None), ("fair and cheap", 2, 30.0), ("good and dear", 3, 5.0),
        ("unrated too", None, None), ("unrated", None, None),
    ]  # fmt: skip


def test_what_is_not_known_is_null(acme: Tenant) -> None:
    book(acme, "embed", 2, duration_ms=None, output_tokens=0)
    line = lines(get(client_of(acme), "v1/performance"))["embed"]
    unknown = ("p50_ms", "p95_ms", "p99_ms", "quality", "output_tokens_per_second", "cost_per_1000_output_tokens")
    assert [line[name] for name in unknown] == [None] * 6
    assert (line["calls"], line["success_rate"]) == (2, 1.0)


def test_providers_are_summed_over_their_models_and_answers_from_memory_left_out(acme: Tenant) -> None:
    book(acme, "a", provider="one")
    book(acme, "b", provider="one")
    book(acme, "c", provider="two", feature="faq")
    book(acme, "c", provider="two", duration_ms=None, cost_nano_usd=0, metadata={"cache": "hit", "saved_nano_usd": 5})
    client = client_of(acme)
    found = lines(get(client, "v1/performance", group_by="provider"))
    assert {key: line["calls"] for key, line in found.items()} == {"one": 2, "two": 1}
    assert list(lines(get(client, "v1/performance", feature="faq"))) == ["c"]


def test_what_rules_find_wrong_goes_off_what_was_thought_of_a_model(acme: Tenant) -> None:
    said = {"output_tokens": 10, "task": "triage"}
    book(acme, "small", 2, rated=4, metadata={"finish_reason": "stop"}, **said)
    book(acme, "small", metadata={"finish_reason": "length"}, **said)
    book(acme, "small", metadata={"finish_reason": "content_filter"}, **said)
    book(acme, "large", rated=4, metadata={"finish_reason": "end_turn"}, **said)
    found = get(client_of(acme), "v1/performance")["results"]
    told = {line["key"]: (line["rank"], line["quality"], line["rules"], line["blended_quality"]) for line in found}
    # 2 and 5 of 20 points are lost: 3.25 of 5 are left. Half of that, 17.5 %, goes off 4.
    assert told == {
        "large": (1, 4.0, {"score": 5.0, "calls": 1, "faults": {}}, 4.0),
        "small": (2, 4.0, {"score": 3.25, "calls": 4, "faults": {"refused": 1, "cut_off": 1}}, 3.3),
    }
    [of_task] = get(client_of(acme), "v1/performance", group_by="task")["results"]
    assert (of_task["key"], of_task["rules"]["calls"], of_task["rules"]["score"]) == ("triage", 5, 3.6)


def test_callers_judges_and_rules_count_as_the_account_says(acme: Tenant) -> None:
    [answer] = book(acme, "small", metadata={"finish_reason": "length"}, output_tokens=10)
    rate([answer], 1.0, source="caller")
    rate([answer], 4.0, source="judge")
    client = client_of(acme)

    def quality() -> tuple[float, float]:
        [line] = get(client, "v1/performance")["results"]
        return line["quality"], line["blended_quality"]

    assert quality() == (2.5, 2.0)
    set_weights(client, caller_weight=2, rules_weight=1, cut_off_points=1)
    assert quality() == (2.0, 1.6)
    set_weights(client, caller_weight=0, rules_weight=0)
    assert quality() == (4.0, 4.0)


def test_weights_are_the_usual_ones_until_they_are_set_and_every_change_is_kept(acme: Tenant) -> None:
    client, usual = client_of(acme), {
        "caller_weight": 1.0, "judge_weight": 1.0, "rules_weight": 0.5, "cut_off_points": 2.0, "refused_points": 5.0,
        "malformed_points": 4.0, "empty_points": 5.0, "broken_off_points": 4.0,
    }  # fmt: skip
    assert get(client, "v1/quality-weights") == usual
    assert not QualityWeights.objects.for_tenant(acme).exists()
    assert set_weights(client, judge_weight=3) == usual | {"judge_weight": 3.0}
    assert get(client_of(factories.globex()), "v1/quality-weights") == usual
    [change] = Change.objects.for_tenant(acme).filter(subject="Weights of quality")
    assert (change.before["judge_weight"], change.after["judge_weight"]) == (1.0, 3.0)


@pytest.mark.parametrize(
    "wrong",
    [{"judge_weight": -1}, {"judge_weight": 10.1}, {"rules_weight": 1.1}, {"refused_points": 6}, {"judge_weight": True},
     {"judge_weight": "1"}, {"judge_weight": None}, {"colour": 1}, [], {"judge_weight": 10**400}],
)  # fmt: skip
def test_weights_that_cannot_be_are_refused_and_nothing_is_set(acme: Tenant, wrong: Any) -> None:
    answer = client_of(acme).patch("/api/v1/quality-weights", wrong, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")
    assert not QualityWeights.objects.for_tenant(acme).exists()
    reader = client_of(acme, permissions=("read",))
    assert reader.patch("/api/v1/quality-weights", {"judge_weight": 2}, format="json").status_code == 403


def test_only_the_latest_calls_of_the_period_are_looked_at(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry.call_samples.MAX_CALLS", 2)
    now = timezone.now()
    for model, minutes in (("a", 1), ("b", 2), ("c", 3)):
        book(acme, model, at=now - timedelta(minutes=minutes))
    book(acme, "d", at=now - timedelta(days=31))
    told = get(client_of(acme), "v1/performance")
    assert told["sample"] == {"calls": 2, "recorded": 3, "at_most": 2}
    assert set(lines(told)) == {"a", "b"}


@pytest.mark.parametrize(
    "query", ["group_by=user", "group_by=", "colour=red", "from=soon", "from=2026-02-01&to=2026-01-01"]
)
def test_what_cannot_be_answered_is_told(acme: Tenant, query: str) -> None:
    answer = client_of(acme).get(f"/api/v1/performance?{query}")
    expected = 200 if query == "group_by=" else 400
    assert answer.status_code == expected
    if expected == 400:
        assert answer.json()["error"]["code"] == "invalid_query"


def test_another_tenants_calls_are_not_there(acme: Tenant) -> None:
    book(acme, "small", 3, rated=5)
    assert get(client_of(factories.globex()), "v1/performance")["results"] == []
    assert client_of(acme, permissions=("spend",)).get("/api/v1/performance").status_code == 403

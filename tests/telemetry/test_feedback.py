"""Feedback on recorded calls: one opinion per call and source, summed per model, feature and task beside the cost."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from budgets.counters.drive import drive
from spendhub.tenants.models import Tenant
from telemetry.corrections import SpanMissing
from telemetry.feedback import COMMENT_CHARACTERS, keep_judgment, qualities_of
from telemetry.models import CostSpan, Feedback, QualityWeights
from tests import factories

pytestmark = pytest.mark.django_db

NANO = 10**9


class Caller:
    """Someone with a key."""

    def __init__(self, tenant: Tenant, **key: Any) -> None:
        self.tenant = tenant
        self._headers = {"authorization": f"Bearer {factories.ApiKeyFactory(tenant=tenant, **key).secret}"}

    def post(self, body: Any) -> tuple[int, Any]:
        answer = Client().post("/api/v1/feedback", json.dumps(body), "application/json", headers=self._headers)
        return answer.status_code, answer.json()

    def get(self, path: str) -> tuple[int, Any]:
        answer = Client().get(f"/api/v1/{path}", headers=self._headers)
        return answer.status_code, answer.json()


@pytest.fixture
def acme() -> Caller:
    return Caller(factories.acme())


@pytest.fixture
def globex() -> Caller:
    return Caller(factories.globex())


def span(tenant: Tenant, *, cost_nano_usd: int = 0, **facts: Any) -> CostSpan:
    now = timezone.now()
    values = {
        "request_id": uuid.uuid4().hex, "occurred_at": now, "recorded_at": now, "source": "gateway", "model": "small",
        "provider": "vendor", "cost_nano_usd": cost_nano_usd,
    }  # fmt: skip
    return CostSpan.objects.create(tenant=tenant, **{**values, **facts})


def rows(tenant: Tenant) -> list[tuple[str, str, float | None]]:
    return list(Feedback.objects.for_tenant(tenant).order_by("id").values_list("source", "thumbs", "overall"))


def test_a_thumb_is_kept_with_the_model_feature_and_task_of_its_call(acme: Caller) -> None:
    call = span(acme.tenant, feature="support", task="triage")
    status, told = acme.post({"request_id": call.request_id, "thumbs": "up", "comment": "right at once"})
    assert status == 201
    assert told | {"id": 0, "at": ""} == {
        "id": 0, "at": "", "span_id": str(call.id), "source": "caller", "model": "small", "provider": "vendor",
        "feature": "support", "task": "triage", "thumbs": "up", "comment": "right at once",
        "scores": {"overall": None, "relevance": None, "correctness": None, "completeness": None, "clarity": None},
    }  # fmt: skip


def test_overall_is_the_mean_of_the_other_scores_unless_it_is_said(acme: Caller) -> None:
    call = span(acme.tenant)
    scores = {"relevance": 5, "correctness": 2, "clarity": 3.5}
    status, told = acme.post({"span_id": str(call.id), "scores": scores, "source": "judge"})
    assert (status, told["scores"]["overall"]) == (201, 3.5)
    status, told = acme.post({"span_id": str(call.id), "scores": scores | {"overall": 1}, "source": "judge"})
    assert (status, told["scores"]["overall"]) == (200, 1)


def test_a_repeat_of_the_same_source_replaces_the_earlier_one_whole(acme: Caller) -> None:
    call = span(acme.tenant)
    acme.post({"request_id": call.request_id, "thumbs": "up", "scores": {"overall": 4}})
    acme.post({"request_id": call.request_id, "scores": {"overall": 2}, "source": "judge"})
    status, told = acme.post({"request_id": call.request_id, "thumbs": "down"})
    assert (status, told["thumbs"], told["scores"]["overall"]) == (200, "down", None)
    assert rows(acme.tenant) == [("caller", "down", None), ("judge", "", 2.0)]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({}, "feedback_says_nothing"),
        ({"scores": {}}, "feedback_says_nothing"),
        ({"thumbs": "sideways"}, "invalid"),
        ({"thumbs": True}, "invalid"),
        ({"scores": {"overall": 5.1}}, "invalid"),
        ({"scores": {"overall": -1}}, "invalid"),
        ({"scores": {"overall": True}}, "invalid"),
        ({"scores": {"overall": "5"}}, "invalid"),
        ({"scores": {"beauty": 5}}, "invalid"),
        ({"scores": [5]}, "invalid"),
        ({"thumbs": "up", "source": "boss"}, "invalid"),
        ({"thumbs": "up", "comment": "x" * 501}, "invalid"),
        ({"thumbs": "up", "stars": 5}, "invalid"),
        ({"thumbs": "up", "span_id": str(uuid.uuid4())}, "invalid"),
    ],
)
def test_what_is_no_opinion_is_refused_and_nothing_is_kept(acme: Caller, wrong: dict[str, Any], code: str) -> None:
    call = span(acme.tenant)
    status, told = acme.post({"request_id": call.request_id, **wrong})
    assert (status, told["error"]["code"]) == (400, code)
    assert rows(acme.tenant) == []


def test_a_call_must_be_named(acme: Caller) -> None:
    assert acme.post({"thumbs": "up"})[0] == 400


def test_another_tenants_call_cannot_be_rated(acme: Caller, globex: Caller) -> None:
    call = span(acme.tenant)
    for name in ({"request_id": call.request_id}, {"span_id": str(call.id)}):
        status, told = globex.post({**name, "thumbs": "down"})
        assert (status, told["error"]["code"]) == (404, "span_missing")
    acme.post({"request_id": call.request_id, "thumbs": "up"})
    assert globex.get("feedback")[1]["results"] == []
    assert globex.get(f"feedback?span_id={call.id}")[1]["results"] == []
    assert globex.get("quality?group_by=model")[1]["groups"] == []
    assert qualities_of(globex.tenant.pk, timezone.now() - timedelta(days=1), QualityWeights()) == {}


@pytest.mark.parametrize(("permissions", "status"), [(("spend",), 201), (("manage",), 201), (("read",), 403)])
def test_rating_needs_a_key_that_may_spend_or_manage(permissions: tuple[str, ...], status: int) -> None:
    caller = Caller(factories.acme(), permissions=permissions)
    assert caller.post({"request_id": span(caller.tenant).request_id, "thumbs": "up"})[0] == status
    assert caller.get("feedback")[0] == (200 if permissions == ("read",) else 403)
    assert caller.get("quality")[0] == (200 if permissions == ("read",) else 403)


def test_feedback_is_listed_the_latest_first_and_filtered(acme: Caller) -> None:
    for model, thumbs in (("small", "up"), ("large", "down"), ("large", "up")):
        acme.post({"request_id": span(acme.tenant, model=model).request_id, "thumbs": thumbs})
    assert [row["thumbs"] for row in acme.get("feedback?model=large")[1]["results"]] == ["up", "down"]
    assert [row["model"] for row in acme.get("feedback?thumbs=up")[1]["results"]] == ["large", "small"]
    assert acme.get("feedback?stars=5")[1]["error"]["code"] == "invalid_query"


def test_quality_is_summed_by_group_beside_what_a_call_costs(acme: Caller) -> None:
    rated = [
        ("large", NANO, {"thumbs": "up", "scores": {"overall": 5, "clarity": 4}}),
        ("large", 2 * NANO, {"thumbs": "up", "scores": {"overall": 4}}),
        ("large", 3 * NANO, {"thumbs": "down"}),
        ("small", 10_000_000, {"scores": {"overall": 3}, "source": "judge"}),
    ]
    for model, cost, opinion in rated:
        acme.post({"request_id": span(acme.tenant, model=model, cost_nano_usd=cost).request_id, **opinion})
    span(acme.tenant, model="large", cost_nano_usd=100 * NANO)  # never rated, so not part of any figure
    status, told = acme.get("quality?group_by=model")
    unsaid = {"relevance": None, "correctness": None, "completeness": None}
    large = {
        "key": "large", "count": 3, "calls": 3, "thumbs": {"up": 2, "down": 1, "share": 0.6667},
        "scores": {"overall": 4.5, "clarity": 4.0, **unsaid}, "cost_per_call": "2.00",
    }  # fmt: skip
    small = {
        "key": "small", "count": 1, "calls": 1, "thumbs": {"up": 0, "down": 0, "share": None},
        "scores": {"overall": 3.0, "clarity": None, **unsaid}, "cost_per_call": "0.01",
    }  # fmt: skip
    assert status == 200
    assert told["groups"] == [large, small]
    assert (told["totals"]["count"], told["totals"]["cost_per_call"]) == (4, "1.5025")
    assert acme.get("quality?source=judge")[1]["totals"]["count"] == 1


def test_a_task_that_is_named_with_the_feedback_stands_in_for_the_calls_own(acme: Caller) -> None:
    call = span(acme.tenant, task="triage")
    acme.post({"request_id": call.request_id, "thumbs": "up", "task": "summary"})
    assert [group["key"] for group in acme.get("quality?group_by=task")[1]["groups"]] == ["summary"]


def test_quality_of_nothing_is_told_as_nothing(acme: Caller) -> None:
    told = acme.get("quality?group_by=task")[1]
    assert (told["groups"], told["totals"]["count"], told["totals"]["cost_per_call"]) == ([], 0, None)
    assert acme.get("quality?group_by=session")[1]["error"]["code"] == "invalid_query"


def test_overall_scores_are_given_by_model_and_thumbs_alone_count_as_best_and_worst(acme: Caller) -> None:
    opinions = [("small", {"scores": {"overall": 3.5}}), ("small", {"thumbs": "up"}), ("large", {"thumbs": "down"})]
    for model, opinion in opinions:
        acme.post({"request_id": span(acme.tenant, model=model).request_id, **opinion})
    Feedback.objects.create(
        tenant=acme.tenant, span=span(acme.tenant), at=timezone.now() - timedelta(days=3), model="small", overall=1
    )
    found = qualities_of(acme.tenant.pk, timezone.now() - timedelta(days=1), QualityWeights())
    assert {model: sorted(ratings) for model, ratings in found.items()} == {
        ("small", None): [(3.5, 1.0), (5.0, 1.0)], ("large", None): [(0.0, 1.0)],
    }  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_what_other_models_think_of_a_call_is_a_judges_feedback_and_replaces_what_they_thought_before() -> None:
    tenant, now = factories.acme(), timezone.now()
    call = span(tenant, feature="support")
    drive(keep_judgment(tenant.pk, call.request_id, 0.5, "mean of 1: a 0.50", now))
    drive(keep_judgment(tenant.pk, call.request_id, 0.8499, "x" * 900, now))
    (row,) = Feedback.objects.for_tenant(tenant)
    assert (row.source, row.overall, row.feature, row.span_id) == ("judge", 4.25, "support", call.id)
    assert row.comment == "x" * COMMENT_CHARACTERS == "x" * 500


@pytest.mark.django_db(transaction=True)
def test_a_judgment_that_only_adds_leaves_an_earlier_judges_as_it_is() -> None:
    tenant, now = factories.acme(), timezone.now()
    judged, unjudged = span(tenant), span(tenant)
    drive(keep_judgment(tenant.pk, judged.request_id, 0.2, "a judge", now))
    for call in (judged, unjudged):
        drive(keep_judgment(tenant.pk, call.request_id, 0.8, "a sample", now, replaces=False))
    rows = Feedback.objects.for_tenant(tenant)
    assert {(row.span_id, row.overall, row.comment) for row in rows} == {
        (judged.id, 1.0, "a judge"), (unjudged.id, 4.0, "a sample"),
    }  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_nobody_judges_another_tenants_call() -> None:
    call = span(factories.acme())
    globex = factories.globex()
    with pytest.raises(SpanMissing):
        drive(keep_judgment(globex.pk, call.request_id, 1.0, "", timezone.now()))
    assert not Feedback.objects.for_tenant(globex).exists()

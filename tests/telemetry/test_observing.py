"""What recorded calls teach: how fast and reliable each model is, and how long its answers are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgets.counters.drive import drive
from routing.models import Model, Provider
from routing.performance import UNMEASURED, forget_observed, observed_of
from routing.snapshot import CATALOG
from routing.token_usage import TokenUsage
from spendhub.tenants.attribution import Attribution
from spendhub.tenants.models import Tenant
from telemetry.drafts import SpanDraft
from telemetry.expected_outputs import (
    LEAST_CALLS,
    expected_output_tokens,
    known_lengths,
    learn,
    quantile,
    set_learned,
)
from telemetry.models import CostSpan, Feedback, QualityWeights
from telemetry.observing import LATEST_CALLS, LONGEST_REST_SECONDS, ROWS_AT_ONCE, observe
from telemetry.recording import record
from tests import factories

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    yield
    set_learned({})
    forget_observed()


def book(tenant: Tenant, count: int = 1, *, feature: str | None = None, output: int = 10, **facts: Any) -> None:
    """Records `count` gateway calls of the model `small`."""
    facts = {"source": "gateway", "duration_ms": 100, "status": "ok", "occurred_at": NOW, **facts}
    drafts = [
        SpanDraft(
            request_id=f"{tenant.slug}-{feature}-{output}-{facts['occurred_at']:%d%H%M}-{facts['status']}-{number}",
            cost_nano_usd=1,
            model="small",
            attribution=Attribution(feature=feature),
            usage=TokenUsage(output_tokens=output),
            **facts,
        )
        for number in range(count)
    ]
    drive(record(tenant.pk, drafts, NOW))


@pytest.mark.django_db(transaction=True)
def test_reading_rests_after_every_hundred_calls_and_after_each_account() -> None:
    acme = factories.acme()
    book(acme, 2 * ROWS_AT_ONCE + 50)
    rests: list[float] = []
    observe(NOW, rests.append)
    assert len(rests) == 3
    assert all(0 < seconds <= LONGEST_REST_SECONDS for seconds in rests)
    assert observed_of("small", acme.pk).calls == 250


@pytest.mark.django_db(transaction=True)
def test_latency_and_failures_are_those_of_the_last_hours() -> None:
    acme = factories.acme()
    book(acme, 3, duration_ms=200)
    book(acme, 1, duration_ms=5_000, status="error")
    book(acme, 50, duration_ms=9_000, occurred_at=NOW - timedelta(hours=7))
    observe(NOW)
    seen = observed_of("small", acme.pk)
    assert (seen.calls, seen.error_rate, seen.p50_ms, seen.p99_ms) == (4, 0.25, 200.0, 200.0)


@pytest.mark.django_db(transaction=True)
def test_a_tenant_is_told_its_own_calls_and_who_has_none_everybodys() -> None:
    acme, globex = factories.acme(), factories.globex()
    book(acme, 2, duration_ms=100)
    book(globex, 2, duration_ms=300)
    observe(NOW)
    assert observed_of("small", acme.pk).p50_ms == 100.0
    assert observed_of("small", globex.pk).p50_ms == 300.0
    assert observed_of("small").p50_ms == 200.0


def rate(tenant: Tenant, overall: float) -> None:
    """The caller's rating of every call of the tenant."""
    for span in CostSpan.objects.for_tenant(tenant):
        Feedback.objects.create(tenant=tenant, span=span, source="caller", at=NOW, model=span.model, overall=overall)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_shared_too", [True, False])
def test_calls_and_ratings_of_an_accounts_own_model_are_nobody_elses(is_shared_too: bool) -> None:
    acme, globex = factories.acme(), factories.globex()
    if is_shared_too:
        factories.ModelFactory(name="small")
    Model.objects.create(tenant=globex, provider=factories.ProviderFactory(), name="small")
    CATALOG.refresh()
    book(globex, 3, metadata={"finish_reason": "length"})
    book(globex, 1, status="error")
    rate(globex, 0)
    observe(NOW)
    assert observed_of("small") == observed_of("small", acme.pk) == UNMEASURED
    seen = observed_of("small", globex.pk)
    assert (seen.calls, seen.error_rate, seen.quality, seen.scores) == (4, 0.25, 0.0, 4)


@pytest.mark.django_db(transaction=True)
def test_calls_of_a_shared_model_at_an_accounts_own_provider_are_nobody_elses() -> None:
    factories.ModelFactory(name="small")
    acme = factories.acme()
    Provider.objects.create(tenant=acme, name="vendor", base_url="https://own.example/v1")
    CATALOG.refresh()
    book(acme, 2)
    observe(NOW)
    assert observed_of("small") == UNMEASURED
    assert observed_of("small", acme.pk).calls == 2


def book_with_own_model(tenant: Tenant) -> Model:
    """Twenty calls of the tenant's own model `small`, rated with a 2; one has failed."""
    own = Model.objects.create(tenant=tenant, provider=factories.ProviderFactory(), name="small")
    CATALOG.refresh()
    book(tenant, LEAST_CALLS, output=40, duration_ms=300, metadata={"own_model_id": own.pk})
    book(tenant, 1, status="error", metadata={"own_model_id": own.pk})
    rate(tenant, 2)
    return own


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("aliases", [[], ["small"]])
def test_what_was_seen_of_an_accounts_own_model_goes_with_it_to_its_new_name(aliases: list[str]) -> None:
    acme, globex = factories.acme(), factories.globex()
    factories.ModelFactory(name="small")
    own = book_with_own_model(globex)
    own.name, own.aliases = "ours", aliases
    own.save()
    CATALOG.refresh()
    observe(NOW)
    seen = observed_of("ours", globex.pk)
    assert (seen.calls, seen.p50_ms, seen.quality, seen.scores) == (21, 300.0, 2.0, 21)
    assert expected_output_tokens(globex.pk, None, "ours") == 40
    # The name is the shared model's again, of which nothing was seen.
    assert observed_of("small") == observed_of("small", acme.pk) == observed_of("small", globex.pk) == UNMEASURED
    assert expected_output_tokens(globex.pk, None, "small") == 1_024


@pytest.mark.django_db(transaction=True)
def test_an_own_model_that_is_gone_teaches_nothing_of_the_shared_one_of_its_name() -> None:
    acme, globex = factories.acme(), factories.globex()
    factories.ModelFactory(name="small")
    book_with_own_model(globex).delete()
    CATALOG.refresh()
    book(acme, 2)
    observe(NOW)
    assert observed_of("small").calls == observed_of("small", globex.pk).calls == 2
    assert observed_of("small", globex.pk).scores == 0


@pytest.mark.django_db(transaction=True)
def test_calls_that_an_accounts_wildcard_caught_stay_under_the_names_they_had() -> None:
    globex = factories.globex()
    caught = Model.objects.create(tenant=globex, provider=factories.ProviderFactory(), name="sma*")
    CATALOG.refresh()
    book(globex, 2, metadata={"own_model_id": caught.pk})
    observe(NOW)
    assert (observed_of("small", globex.pk).calls, observed_of("small")) == (2, UNMEASURED)


@pytest.mark.django_db(transaction=True)
def test_everybodys_figures_stand_in_for_what_an_account_has_none_of() -> None:
    acme, globex = factories.acme(), factories.globex()
    book(globex, 3, duration_ms=300, metadata={"finish_reason": "stop"})
    rate(globex, 4)
    book(
        acme, 2, output=10, duration_ms=100, occurred_at=NOW - timedelta(hours=7), metadata={"finish_reason": "length"}
    )
    observe(NOW)
    seen = observed_of("small", acme.pk)
    # Its own calls are too old for latency, and unrated, but their endings count for two weeks.
    assert (seen.calls, seen.p50_ms, seen.quality, seen.scores) == (3, 300.0, 4.0, 3)
    assert seen.looked_at == 2
    rate(acme, 1)
    observe(NOW)
    seen = observed_of("small", acme.pk)
    assert (seen.calls, seen.quality, seen.scores) == (3, 1.0, 2)


@pytest.mark.django_db(transaction=True)
def test_calls_that_were_only_reported_and_answers_from_the_cache_teach_nothing() -> None:
    acme = factories.acme()
    book(acme, 30, source="api", output=500)
    book(acme, 30, duration_ms=None, output=700)
    observe(NOW)
    assert observed_of("small", acme.pk).calls == 0
    assert expected_output_tokens(acme.pk, None, "small") == 1_024


@pytest.mark.django_db(transaction=True)
def test_reviews_teach_how_fast_a_model_is_and_not_how_long_its_answers_are() -> None:
    acme = factories.acme()
    book(acme, 30, output=12, metadata={"review_of": "r-1"})
    observe(NOW)
    assert observed_of("small", acme.pk).calls == 30
    assert expected_output_tokens(acme.pk, None, "small") == 1_024


@pytest.mark.django_db(transaction=True)
def test_faults_of_answers_are_learned_as_the_account_weighs_them() -> None:
    acme, globex = factories.acme(), factories.globex()
    QualityWeights.objects.create(tenant=acme, rules_weight=1, cut_off_points=2.5)
    book(acme, 3, output=10, metadata={"finish_reason": "stop"})
    book(acme, 1, output=20, metadata={"finish_reason": "length"}, occurred_at=NOW - timedelta(days=7))
    book(acme, 1, output=30, metadata={"finish_reason": "length", "clamped_to": 30})
    book(acme, 1, output=12, metadata={"finish_reason": "length", "review_of": "r-1"})
    book(globex, 4, output=0, metadata={"finish_reason": "end_turn"})
    observe(NOW)
    # A quarter of acme's answers lost half of their points; all of globex's lost all, of which half goes off.
    for tenant_id, lost, looked_at in ((acme.pk, 0.125, 4), (globex.pk, 0.5, 4), (None, 0.3125, 8)):
        seen = observed_of("small", tenant_id)
        assert (seen.quality_lost, seen.looked_at) == (lost, looked_at)


@pytest.mark.django_db(transaction=True)
def test_ratings_are_learned_as_the_account_weighs_them() -> None:
    acme = factories.acme()
    book(acme, 2)
    first, second = CostSpan.objects.for_tenant(acme)
    for span, source, overall in ((first, "caller", 1), (first, "judge", 4), (second, "judge", 4)):
        Feedback.objects.create(tenant=acme, span=span, source=source, at=NOW, model="small", overall=overall)
    observe(NOW)
    assert (observed_of("small", acme.pk).quality, observed_of("small", acme.pk).scores) == (3.0, 3)
    QualityWeights.objects.create(tenant=acme, caller_weight=4)
    observe(NOW)
    assert observed_of("small", acme.pk).quality == 2.0
    QualityWeights.objects.for_tenant(acme).update(caller_weight=0)
    observe(NOW)
    assert (observed_of("small", acme.pk).quality, observed_of("small", acme.pk).scores) == (4.0, 2)


@pytest.mark.django_db(transaction=True)
def test_the_expected_output_is_learned_per_feature_once_there_are_enough_calls(settings: Any) -> None:
    settings.DEFAULT_OUTPUT_TOKENS = 1_024
    acme = factories.acme()
    book(acme, LEAST_CALLS, feature="chat", output=40)
    book(acme, LEAST_CALLS - 1, feature="essays", output=900)
    observe(NOW)
    assert expected_output_tokens(acme.pk, "chat", "small") == 40
    # Too few essays: what the tenant's calls of the model say together.
    assert expected_output_tokens(acme.pk, "essays", "small") == 900
    assert expected_output_tokens(acme.pk, None, "small") == 900
    assert expected_output_tokens(acme.pk, None, "large") == 1_024
    assert expected_output_tokens(acme.pk + 1, "chat", "small") == 1_024
    # The most telling first; of essays nothing is known yet.
    assert known_lengths(acme.pk, "chat") == ({"small": 40}, {"small": 900})
    assert known_lengths(acme.pk, "essays") == known_lengths(acme.pk, None) == ({"small": 900},)
    assert known_lengths(acme.pk + 1, "chat") == ()


def test_no_more_is_read_than_the_latest_calls() -> None:
    assert LATEST_CALLS <= 10_000


def test_the_95th_percentile_is_exceeded_by_one_call_in_twenty() -> None:
    assert quantile(list(range(1, 101))) == 96
    assert quantile([0]) == 1


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=200))
def test_at_least_nineteen_of_twenty_do_not_exceed_the_quantile(outputs: list[int]) -> None:
    limit = quantile(outputs)
    assert sum(output <= limit for output in outputs) >= len(outputs) * 0.95


def test_groups_with_few_calls_are_not_learned() -> None:
    rows = [(1, "chat", "small", 10)] * (LEAST_CALLS - 1)
    assert learn(rows) == {}
    assert learn([*rows, rows[0]]) == {(1, ""): {"small": 10}, (1, "chat"): {"small": 10}}

"""Circuit breakers: when they open and close, how processes tell each other, and who sees what of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from routing import breaker_sharing, hooks
from routing.breaker_sharing import HASH, exchange_states, share_breakers
from routing.breakers import BREAKERS, PROBES, Breakers, Circuit, breaker_key_of
from routing.errors import CircuitOpen
from routing.models import Model
from routing.performance import forget_observed, set_observed, summarize
from routing.snapshot import CATALOG
from routing.vendor_health import health_of_models
from tests.factories import ModelFactory, ProviderFactory, TenantFactory
from tests.routing.facts import model_facts
from tests.routing.test_catalog_api import Caller

NOW = 1_800_000_000.0
OPEN_SECONDS = 30
KEY = "vendor/small"


@pytest.fixture(autouse=True)
def all_closed(settings: Settings) -> Iterator[None]:
    settings.BREAKER_FAILURES, settings.BREAKER_OPEN_SECONDS = 5, OPEN_SECONDS
    BREAKERS.forget()
    forget_observed()
    yield
    BREAKERS.forget()
    forget_observed()


def fail(circuit: Circuit, times: int = 1) -> Circuit:
    for _ in range(times):
        circuit = circuit.failed(NOW, failures_to_open=5)
    return circuit


def half_open() -> Circuit:
    return fail(Circuit(), 5).tried(NOW + OPEN_SECONDS)


def open_up(breakers: Breakers, key: str = KEY, now: float = NOW) -> None:
    for _ in range(5):
        breakers.note_failure(key, now)


# --- what is told of it --------------------------------------------------------------------------------------------
def test_each_change_of_state_is_told_once_where_it_happens_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(key: str, before: str, after: str) -> None:
        raise RuntimeError("a stranger's defect")

    told: list[tuple[str, str, str]] = []
    monkeypatch.setattr(hooks, "BREAKER_CHANGED", [broken, lambda *change: told.append(change)])
    caplog.set_level(logging.WARNING, logger="routing.breakers")
    breakers, other = Breakers(), Breakers()
    open_up(breakers)
    other.adopt(KEY, "open", NOW)
    assert breakers.admit(KEY, NOW + 31)
    for _ in range(3):
        breakers.note_success(KEY, NOW + 32)
    breakers.force(KEY, "open", NOW + 33)
    assert told == [
        (KEY, "closed", "open"), (KEY, "open", "half-open"), (KEY, "half-open", "closed"), (KEY, "closed", "open"),
    ]  # fmt: skip
    logged = [record.getMessage() for record in caplog.records if record.name == "routing.breakers"]
    assert logged == [f"breaker of {KEY} opened at failure 5", f"breaker of {KEY} opened by hand"]


# --- one breaker, pure -------------------------------------------------------------------------------------------
def test_it_opens_at_the_fifth_failure_in_a_row() -> None:
    """Vector "breaker opens at the 5th consecutive failure" (shared/vectors/router.json)."""
    circuit, states = Circuit(), []
    for step in (lambda c: fail(c, 4), lambda c: c.succeeded(NOW), lambda c: fail(c, 4), lambda c: fail(c)):
        circuit = step(circuit)
        states.append(circuit.state)
    assert states == ["closed", "closed", "closed", "open"]
    assert (circuit.failures, circuit.changed_at) == (5, NOW)


def test_it_closes_after_three_successes_when_half_open() -> None:
    """Vector "breaker closes after 3 half-open successes"."""
    circuit, states = half_open(), []
    for _ in range(3):
        circuit = circuit.succeeded(NOW + 40)
        states.append(circuit.state)
    assert states == ["half-open", "half-open", "closed"]
    assert circuit == Circuit(changed_at=NOW + 40)


def test_half_open_admits_at_most_three_calls_at_a_time() -> None:
    """Vector "half-open admits unlimited probes": ours admits three, as the vector says it should."""
    breakers = Breakers()
    open_up(breakers)
    assert [breakers.admit(KEY, NOW + OPEN_SECONDS) for _ in range(100)].count(True) == 3
    breakers.note_success(KEY, NOW + 31)
    assert [breakers.admit(KEY, NOW + 31) for _ in range(100)].count(True) == 1
    breakers.note_nothing(KEY)
    assert [breakers.admit(KEY, NOW + 31) for _ in range(100)].count(True) == 1


def test_an_open_one_admits_nothing_until_its_time_is_over() -> None:
    circuit = fail(Circuit(), 5)
    assert not circuit.admits(NOW + OPEN_SECONDS - 0.001, OPEN_SECONDS)
    assert circuit.admits(NOW + OPEN_SECONDS, OPEN_SECONDS)
    breakers = Breakers()
    open_up(breakers)
    assert breakers.seconds_until_probe(KEY, NOW) == 31
    assert breakers.seconds_until_probe(KEY, NOW + 29.5) == 1
    assert breakers.seconds_until_probe(KEY, NOW + 300) == 1


def test_one_failed_probe_opens_it_again_for_the_whole_time() -> None:
    circuit = half_open().succeeded(NOW + 31).failed(NOW + 32, failures_to_open=5)
    assert (circuit.state, circuit.changed_at) == ("open", NOW + 32)
    assert not circuit.admits(NOW + 61, OPEN_SECONDS)


def test_what_was_begun_before_it_opened_changes_nothing_when_it_ends() -> None:
    circuit = fail(Circuit(), 5)
    assert circuit.succeeded(NOW + 1) is circuit.failed(NOW + 1, 5) is circuit.let_go() is circuit


def test_a_model_that_was_never_in_trouble_has_no_breaker_and_passes() -> None:
    breakers = Breakers()
    assert breakers.admit(KEY, NOW)
    breakers.note_success(KEY, NOW)
    breakers.note_nothing(KEY)
    assert breakers.standing() == {}


STEPS = st.lists(st.sampled_from(["admit", "success", "failure", "nothing", "later"]), max_size=80)


@given(STEPS)
def test_whatever_happens_it_holds_its_rules(steps: list[str]) -> None:
    circuit, now = Circuit(), NOW
    for step in steps:
        if step == "admit" and circuit.admits(now, OPEN_SECONDS):
            circuit = circuit.tried(now)
        elif step == "success":
            circuit = circuit.succeeded(now)
        elif step == "failure":
            circuit = circuit.failed(now, 5)
        elif step == "nothing":
            circuit = circuit.let_go()
        elif step == "later":
            now += OPEN_SECONDS
        assert 0 <= circuit.in_flight <= PROBES
        assert circuit.successes < PROBES
        assert circuit.state != "closed" or (circuit.failures < 5 and circuit.in_flight == 0)
        # Nothing is shut out for ever: later, a call is admitted, or calls are under way that will tell.
        assert circuit.admits(now + OPEN_SECONDS, OPEN_SECONDS) or circuit.in_flight == PROBES


# --- by hand -----------------------------------------------------------------------------------------------------
def test_one_opened_by_hand_stays_open_until_it_is_closed_by_hand() -> None:
    breakers = Breakers()
    breakers.force(KEY, "open", NOW)
    assert not breakers.admit(KEY, NOW + 365 * 86_400)
    breakers.note_success(KEY, NOW + 1)
    breakers.note_failure(KEY, NOW + 1)
    assert breakers.standing()[KEY] == Circuit("open", changed_at=NOW, is_forced=True)
    breakers.force(KEY, "closed", NOW + 2)
    assert breakers.admit(KEY, NOW + 2)
    assert breakers.standing()[KEY] == Circuit(changed_at=NOW + 2)


def test_a_call_of_one_stopped_by_hand_is_told_so_and_no_time_to_come_back() -> None:
    breakers = Breakers()
    breakers.force(KEY, "open", NOW)
    refused = CircuitOpen("small", breakers.seconds_until_probe(KEY, NOW))
    assert (refused.message, refused.details) == (
        "small has been stopped by hand, until somebody lets calls through", {"model": "small"},
    )  # fmt: skip
    breakers.force(KEY, "closed", NOW)
    open_up(breakers)
    refused = CircuitOpen("small", breakers.seconds_until_probe(KEY, NOW))
    assert refused.message == "small has kept failing and is left alone for 31 s"
    assert refused.details == {"model": "small", "retry_after_seconds": 31}


def test_one_closed_by_hand_opens_again_when_it_goes_on_failing() -> None:
    breakers = Breakers()
    open_up(breakers)
    breakers.force(KEY, "closed", NOW + 1)
    open_up(breakers, now=NOW + 2)
    assert breakers.standing()[KEY].state == "open"


# --- several processes -------------------------------------------------------------------------------------------
@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    connection = redis.Redis.from_url(valkey_url)
    yield connection
    connection.close()


def test_processes_tell_each_other_what_has_changed(client: redis.Redis) -> None:
    first, second = Breakers(), Breakers()
    open_up(first)
    exchange_states(first, client)
    exchange_states(second, client)
    assert second.standing() == {KEY: Circuit("open", failures=5, changed_at=NOW)}
    assert not second.admit(KEY, NOW + 1)
    assert second.admit(KEY, NOW + OPEN_SECONDS)
    for _ in range(3):
        second.note_success(KEY, NOW + 32)
    exchange_states(second, client)
    exchange_states(first, client)
    assert first.standing()[KEY] == Circuit(changed_at=NOW + 32)
    assert 0 < client.ttl(HASH) <= breaker_sharing.KEEP_SECONDS


def test_the_newest_word_counts_whoever_says_it_and_in_whatever_order(client: redis.Redis) -> None:
    first, second = Breakers(), Breakers()
    open_up(first, now=NOW + 10)
    exchange_states(first, client)
    second.adopt(KEY, "open", NOW)
    second.force(KEY, "closed", NOW + 5)
    exchange_states(second, client)
    newest = Circuit("open", failures=5, changed_at=NOW + 10)
    assert second.standing()[KEY] == first.standing()[KEY] == newest
    client.hset(HASH, KEY, b'["closed", 1800000005.0, false, 0]')  # by a process that had not heard of it
    exchange_states(first, client)
    exchange_states(second, client)
    assert second.standing()[KEY] == first.standing()[KEY] == newest


def test_counting_is_each_processs_own_and_only_changes_are_told(client: redis.Redis) -> None:
    breakers = Breakers()
    breakers.note_failure(KEY, NOW)
    exchange_states(breakers, client)
    assert client.hgetall(HASH) == {}
    open_up(breakers)
    exchange_states(breakers, client)
    assert list(client.hgetall(HASH)) == [KEY.encode()]


def test_a_redis_that_has_lost_everything_is_told_again(client: redis.Redis) -> None:
    first, second = Breakers(), Breakers()
    first.force(KEY, "open", NOW)
    exchange_states(first, client)
    client.flushdb()
    exchange_states(first, client)
    exchange_states(second, client)
    assert second.standing()[KEY].is_forced


def test_probes_under_way_are_not_forgotten_when_another_process_probes_too(client: redis.Redis) -> None:
    first, second = Breakers(), Breakers()
    for breakers, seconds in ((first, 30.0), (second, 30.5)):
        open_up(breakers)
        assert all(breakers.admit(KEY, NOW + seconds) for _ in range(3))
    exchange_states(second, client)
    exchange_states(first, client)
    assert not first.admit(KEY, NOW + 31)


@pytest.mark.parametrize("state_before", ["closed", "open"])
def test_what_was_forced_reaches_the_others_also_where_it_changed_nothing_here(
    client: redis.Redis, state_before: str
) -> None:
    here, there = Breakers(), Breakers()
    open_up(there)
    if state_before == "open":
        open_up(here)
        here.force(KEY, "open", NOW + 5)
    else:
        here.force(KEY, "closed", NOW + 5)
    exchange_states(here, client)
    exchange_states(there, client)
    assert there.standing()[KEY].state == state_before
    assert there.admit(KEY, NOW + 1_000) is (state_before == "closed")
    there.force(KEY, "closed", NOW + 2_000)
    exchange_states(there, client)
    exchange_states(here, client)
    assert here.admit(KEY, NOW + 2_000)


def test_a_new_process_learns_what_the_others_know(client: redis.Redis) -> None:
    first = Breakers()
    first.force(KEY, "open", NOW)
    exchange_states(first, client)
    late = Breakers()
    exchange_states(late, client)
    assert late.standing()[KEY] == Circuit("open", changed_at=NOW, is_forced=True)


def test_a_redis_that_does_not_answer_leaves_breakers_as_they_are(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    breakers = Breakers()
    open_up(breakers)

    def no_connection(name: str) -> redis.Redis:
        return redis.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)

    monkeypatch.setattr(breaker_sharing, "get_redis_connection", no_connection)
    share_breakers(breakers)
    assert breakers.standing()[KEY].state == "open"


def test_without_redis_each_process_learns_by_itself(settings: Settings) -> None:
    settings.REDIS_URL = None
    breakers = Breakers()
    open_up(breakers)
    share_breakers(breakers)
    assert breakers.standing()[KEY].state == "open"


# --- whose breaker -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "key"),
    [({}, "vendor/meta/llama"), ({"tenant_id": 7, "base_url": "https://llm.acme.example"}, "7:vendor/meta/llama")],
)
def test_what_a_tenant_has_entered_has_a_breaker_of_its_own(changes: dict[str, Any], key: str) -> None:
    assert breaker_key_of(model_facts("meta/llama", **changes)) == key


# --- over the API ------------------------------------------------------------------------------------------------
@pytest.fixture
def acme(db: None) -> Caller:
    ModelFactory(provider=ProviderFactory(name="vendor"), name="small")
    return Caller(TenantFactory(slug="acme"))


def listed(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    CATALOG.refresh()
    status, told = caller.call("get", f"breakers{query}")
    assert status == 200, told
    rows: list[dict[str, Any]] = told["results"]
    return rows


def test_a_breaker_that_has_something_to_tell_is_listed(acme: Caller) -> None:
    assert listed(acme) == []
    BREAKERS.note_failure(KEY, NOW)
    assert listed(acme) == [
        {"provider": "vendor", "model": "small", "state": "closed", "is_forced": False, "failures": 1, "since": None,
         "probe_at": None}
    ]  # fmt: skip
    open_up(BREAKERS)
    (row,) = listed(acme)
    assert (row["state"], row["failures"]) == ("open", 5)
    assert datetime.fromisoformat(row["since"]) == datetime.fromtimestamp(NOW, UTC)
    assert datetime.fromisoformat(row["probe_at"]) == datetime.fromtimestamp(NOW + OPEN_SECONDS, UTC)
    BREAKERS.force(KEY, "open", NOW)
    (row,) = listed(acme)
    assert (row["is_forced"], row["probe_at"]) == (True, None)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?state=open", 1),
        ("?state=closed", 1),
        ("?state=half-open", 0),
        ("?model=small", 1),
        ("?provider=vendor", 2),
        ("?provider=other", 0),
        ("?state=open&model=small", 0),
    ],
)
def test_the_list_is_filtered(acme: Caller, query: str, count: int) -> None:
    ModelFactory(name="large")
    BREAKERS.note_failure(KEY, NOW)
    open_up(BREAKERS, "vendor/large")
    assert len(listed(acme, query)) == count
    assert [row["model"] for row in listed(acme)] == ["large", "small"]


@pytest.mark.parametrize("query", ["?state=broken", "?colour=red", "?model=a%0Ab"])
def test_a_wrong_filter_is_told(acme: Caller, query: str) -> None:
    assert acme.call("get", f"breakers{query}")[0] == 400


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nobody_opens_or_closes_one_over_the_api(acme: Caller, method: str) -> None:
    assert acme.call(method, "breakers", {})[0] == 405


def test_the_list_takes_the_permission_to_read(acme: Caller) -> None:
    assert Caller(acme.tenant, permissions=("read",)).call("get", "breakers")[0] == 200


def test_a_key_that_may_only_spend_does_not_see_them(acme: Caller) -> None:
    assert Caller(acme.tenant, permissions=("spend",)).call("get", "breakers")[0] == 403


def test_a_stranger_sees_neither_anothers_models_nor_what_they_have_asked_for(acme: Caller) -> None:
    globex = Caller(TenantFactory(slug="globex"))
    provider = ProviderFactory(name="vendor")
    own = Model.objects.create(tenant=acme.tenant, provider=provider, name="acmes-own")
    ModelFactory(provider=provider, name="*")
    facts = CATALOG.refresh().resolve(acme.tenant.pk, "acmes-own")
    assert facts is not None and own.pk == facts.id
    open_up(BREAKERS, breaker_key_of(facts))
    open_up(BREAKERS, "vendor/acmes-secret-finetune")  # caught by the wildcard: a name that only acme has said
    assert [row["model"] for row in listed(acme)] == ["acmes-own"]
    assert listed(globex) == []


def test_the_operator_sees_every_breaker_and_the_worst_first(acme: Caller) -> None:
    ModelFactory(name="large")
    ModelFactory(name="tiny")
    set_observed({"large": summarize([1000.0, 2000.0], failures=2)})
    BREAKERS.note_failure("vendor/tiny", NOW)
    open_up(BREAKERS, "3:own/meta/llama")
    found = health_of_models(CATALOG.refresh(), BREAKERS.standing(), None)
    assert [(health.tenant_id, health.provider, health.model) for health in found] == [
        (3, "own", "meta/llama"), (None, "vendor", "tiny"), (None, "vendor", "large"), (None, "vendor", "small"),
    ]  # fmt: skip
    assert [health.tells for health in found] == [True, True, True, False]
    assert (found[2].observed.calls, found[2].observed.error_rate) == (4, 0.5)


def test_everybodys_figures_never_stand_in_for_a_tenants_own_model(acme: Caller) -> None:
    Model.objects.create(tenant=acme.tenant, provider=ProviderFactory(name="vendor"), name="mine")
    set_observed({"mine": summarize([1.0]), "small": summarize([2.0])})
    calls = {health.model: health.observed.calls for health in health_of_models(CATALOG.refresh(), {}, acme.tenant.pk)}
    assert calls == {"mine": 0, "small": 1}
    set_observed({"mine": summarize([1.0, 2.0])}, acme.tenant.pk)
    found = {health.model: health.observed.calls for health in health_of_models(CATALOG.current(), {}, acme.tenant.pk)}
    assert found == {"mine": 2, "small": 1}


def test_a_hot_breaker_costs_next_to_nothing() -> None:
    """The check is on every call's path."""
    breakers = Breakers()
    breakers.note_failure(KEY, NOW)
    begun = time.process_time()
    for _ in range(20_000):
        breakers.admit(KEY, NOW)
    assert time.process_time() - begun < 2.0

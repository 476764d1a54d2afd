"""Probes of a half-open breaker: of one process at a time, as long as Redis answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis
from pytest_django import Settings

from routing import probe_claims
from routing.breaker_sharing import exchange_states
from routing.breakers import Breakers
from routing.probe_claims import CLAIM_MS, KEY_PREFIX, ProbeClaims

NOW = 1_800_000_000.0
OPEN_SECONDS = 30
DUE = NOW + OPEN_SECONDS
KEY = "vendor/small"


@dataclass
class Process:
    """One process of several, and its connection."""

    client: redis.Redis

    def __post_init__(self) -> None:
        self.breakers = Breakers()
        self.claims = ProbeClaims(self.breakers)

    def share(self, now: float) -> None:
        """What its thread does once a second."""
        exchange_states(self.breakers, self.client)
        self.claims.look_after(self.client, now)

    def admit(self, now: float) -> bool:
        """As the gateway asks for each call."""
        is_anothers = self.breakers.would_probe(KEY, now) and not asyncio.run(self.claims.may_probe(KEY, now))
        return not is_anothers and self.breakers.admit(KEY, now)


@pytest.fixture
def client(valkey_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    settings.BREAKER_FAILURES, settings.BREAKER_OPEN_SECONDS = 5, OPEN_SECONDS
    connection = redis.Redis.from_url(valkey_url)
    monkeypatch.setattr(probe_claims, "get_redis_connection", lambda name: connection)
    monkeypatch.setattr(probe_claims, "PATIENCE_SECONDS", 30)  # a busy machine is no dead Redis
    yield connection
    connection.close()


@pytest.fixture
def ten(client: redis.Redis) -> list[Process]:
    """Ten processes that all know of an open breaker whose time is over."""
    found = [Process(client) for _ in range(10)]
    for _ in range(5):
        found[0].breakers.note_failure(KEY, NOW)
    for process in found:
        process.share(DUE)
    return found


def probes(processes: list[Process], now: float) -> list[int]:
    """How many of ten calls each process lets through, one after the other in turn."""
    admitted = [0] * len(processes)
    for _ in range(10):
        for index, process in enumerate(processes):
            admitted[index] += process.admit(now)
    return admitted


def test_of_all_processes_together_three_calls_at_a_time_try_the_vendor(ten: list[Process]) -> None:
    assert probes(ten, DUE) == [3] + [0] * 9
    for process in ten:
        process.share(DUE + 1)
    assert probes(ten, DUE + 1) == [0] * 10


def test_without_a_word_from_redis_each_process_tries_by_itself(ten: list[Process]) -> None:
    assert probes(ten, DUE + 3.5) == [3] * 10


def test_a_redis_that_stops_answering_holds_up_one_call_and_stops_none(
    ten: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def nowhere(name: str) -> redis.Redis:
        asked.append(name)
        return redis.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)

    monkeypatch.setattr(probe_claims, "get_redis_connection", nowhere)
    assert probes(ten, DUE + 1) == [3] * 10
    assert len(asked) == 10


def test_when_the_probes_have_closed_it_all_processes_call_again(ten: list[Process], client: redis.Redis) -> None:
    assert probes(ten, DUE) == [3] + [0] * 9
    for _ in range(3):
        ten[0].breakers.note_success(KEY, DUE + 1)
    for process in ten:
        process.share(DUE + 1)
    assert client.get(KEY_PREFIX + KEY) is None
    assert probes(ten, DUE + 1) == [10] * 10


def test_when_a_probe_has_failed_another_process_may_be_the_next_to_try(
    ten: list[Process], client: redis.Redis
) -> None:
    assert probes(ten, DUE) == [3] + [0] * 9
    ten[0].breakers.note_failure(KEY, DUE + 1)
    for process in ten:
        process.share(DUE + 1)
    assert client.get(KEY_PREFIX + KEY) is None
    for process in ten:
        process.share(DUE + 1 + OPEN_SECONDS)
    assert probes(ten[::-1], DUE + 1 + OPEN_SECONDS) == [3] + [0] * 9


def test_a_claim_lasts_as_long_as_its_probes_are_under_way(ten: list[Process], client: redis.Redis) -> None:
    assert ten[0].admit(DUE)
    client.pexpire(KEY_PREFIX + KEY, 60_000)
    ten[0].share(DUE + 4)
    assert 0 < client.pttl(KEY_PREFIX + KEY) <= CLAIM_MS
    ten[1].share(DUE + 4)
    assert not ten[1].admit(DUE + 4)
    # Its one probe has ended without a word on the vendor's health, and nothing follows: others may try.
    ten[0].breakers.note_nothing(KEY)
    client.pexpire(KEY_PREFIX + KEY, 60_000)
    ten[0].share(DUE + 5)
    assert client.pttl(KEY_PREFIX + KEY) > CLAIM_MS


def test_the_claim_of_a_process_that_died_ends_by_itself(ten: list[Process], client: redis.Redis) -> None:
    assert ten[0].admit(DUE)
    assert 0 < client.pttl(KEY_PREFIX + KEY) <= CLAIM_MS
    client.delete(KEY_PREFIX + KEY)  # as at the end of that time
    assert probes(ten[1:], DUE) == [3] + [0] * 8


def test_a_process_that_has_lost_its_claim_probes_no_more(ten: list[Process], client: redis.Redis) -> None:
    assert ten[0].admit(DUE)
    client.delete(KEY_PREFIX + KEY)
    assert ten[1].admit(DUE)
    ten[0].share(DUE + 1)
    ten[1].share(DUE + 1)
    assert probes(ten[:2], DUE + 1) == [0, 2]


def test_a_claim_that_is_not_used_yet_is_not_given_up(ten: list[Process], client: redis.Redis) -> None:
    assert ten[0].claims.claim(KEY, client, DUE)
    ten[0].share(DUE)
    assert client.get(KEY_PREFIX + KEY) is not None


def test_a_call_to_a_vendor_that_is_well_asks_nobody(client: redis.Redis) -> None:
    breakers = Breakers()
    assert not breakers.would_probe(KEY, NOW)
    breakers.note_failure(KEY, NOW)
    assert not breakers.would_probe(KEY, NOW)
    breakers.force(KEY, "open", NOW)
    assert not breakers.would_probe(KEY, DUE)

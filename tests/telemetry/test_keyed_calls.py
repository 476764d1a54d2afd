"""One caller at a time has an idempotency key, and its answer is there for all who come later."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from budgets.counters.drive import drive
from spendhub.tenants.models import Tenant
from telemetry.keyed_calls import (
    PORTION,
    Answered,
    Claim,
    Found,
    Mine,
    Taken,
    _Asked,
    claim,
    claim_keys,
    extend,
    free,
    keep_answer,
    prune_keyed_calls,
)
from telemetry.models import KeyedCall
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LEASE = NOW + timedelta(seconds=60)
TOMORROW = NOW + timedelta(days=1)
ANSWER = b"an answer"


@pytest.fixture
def acme() -> Tenant:
    return factories.acme()


def claim_of(tenant: Tenant, key: str = "a", request: str = "r") -> Claim:
    return Claim(tenant.pk, key * 64, request * 64, "ab12cd34", uuid.uuid4())


def take(wanted: Claim, now: datetime = NOW) -> Found:
    return drive(claim(wanted, now, now + timedelta(seconds=60)))


def answer(held: Claim, now: datetime = NOW, packed: bytes | None = ANSWER) -> bool:
    return drive(keep_answer(held, now, TOMORROW, "request-1", 4_200_000, packed))


def take_at_once(wanted: list[Claim]) -> list[Found]:
    found: list[Found] = []
    start = threading.Barrier(len(wanted))

    def try_it(each: Claim) -> None:
        start.wait()
        found.append(take(each))

    threads = [threading.Thread(target=try_it, args=(each,)) for each in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found, key=str)


def test_of_many_at_once_one_has_the_key(acme: Tenant) -> None:
    assert take_at_once([claim_of(acme) for _ in range(16)]) == [Mine(), *[Taken("r" * 64)] * 15]


def test_with_keys_of_their_own_nobody_is_in_the_others_way(acme: Tenant) -> None:
    assert take_at_once([claim_of(acme, key) for key in "0123456789abcdef"]) == [Mine()] * 16


def test_of_two_in_one_commit_one_has_the_key(acme: Tenant) -> None:
    both = [_Asked(claim_of(acme), NOW, LEASE) for _ in range(2)]
    assert claim_keys(both) == [Mine(), Taken("r" * 64)]


def test_a_claim_whose_commit_was_in_doubt_is_applied_again_and_changes_nothing(acme: Tenant) -> None:
    wanted = claim_of(acme)
    assert [take(wanted), take(wanted)] == [Mine(), Mine()]
    assert KeyedCall.objects.for_tenant(acme).count() == 1


def test_what_was_answered_is_there_for_all_who_come_later(acme: Tenant) -> None:
    held = claim_of(acme)
    take(held)
    assert answer(held)
    later = take(claim_of(acme, request="s"), TOMORROW - timedelta(seconds=1))
    assert later == Answered("r" * 64, "request-1", 4_200_000, ANSWER)


def test_another_tenant_has_the_same_key_for_itself(acme: Tenant) -> None:
    held = claim_of(acme)
    take(held)
    answer(held)
    assert take(claim_of(factories.globex())) == Mine()
    assert KeyedCall.objects.for_tenant(acme).get().request_id == "request-1"


def test_a_claim_ends_by_itself_and_who_had_it_can_no_longer_touch_the_key(acme: Tenant) -> None:
    dead, next_one = claim_of(acme), claim_of(acme, request="s")
    take(dead)
    assert take(next_one, LEASE - timedelta(microseconds=1)) == Taken("r" * 64)
    assert take(next_one, LEASE) == Mine()
    drive(free(dead, LEASE))
    drive(extend(dead, LEASE, TOMORROW))
    assert not answer(dead, LEASE)
    assert take(claim_of(acme, request="s"), LEASE) == Taken("s" * 64)


def test_a_call_that_lives_keeps_its_claim(acme: Tenant) -> None:
    held = claim_of(acme)
    take(held)
    drive(extend(held, NOW, LEASE + timedelta(seconds=20)))
    assert take(claim_of(acme), LEASE) == Taken("r" * 64)


def test_a_late_answer_counts_while_nobody_else_has_the_key(acme: Tenant) -> None:
    held = claim_of(acme)
    take(held)
    assert answer(held, LEASE + timedelta(seconds=5))
    assert take(claim_of(acme), LEASE + timedelta(seconds=6)) == Answered("r" * 64, "request-1", 4_200_000, ANSWER)


def test_a_key_that_was_given_back_can_be_taken_for_another_request(acme: Tenant) -> None:
    held = claim_of(acme)
    take(held)
    drive(free(held, NOW))
    assert take(claim_of(acme, request="s")) == Mine()


def test_an_answer_cannot_be_given_back(acme: Tenant) -> None:
    held = claim_of(acme)
    take(held)
    answer(held)
    drive(free(held, NOW))
    assert isinstance(take(claim_of(acme)), Answered)


def test_an_answer_that_was_too_large_is_remembered_without_itself(acme: Tenant) -> None:
    held = claim_of(acme)
    take(held)
    answer(held, packed=None)
    assert take(claim_of(acme)) == Answered("r" * 64, "request-1", 4_200_000, None)


def test_an_answer_is_forgotten_when_its_time_is_over(acme: Tenant) -> None:
    held = claim_of(acme)
    take(held)
    answer(held)
    assert take(claim_of(acme), TOMORROW) == Mine()
    row = KeyedCall.objects.for_tenant(acme).get()
    assert (row.answered_at, row.answer, row.request_id, row.cost_nano_usd) == (None, None, "", None)


def test_the_worker_prunes_what_has_come_to_its_end_and_nothing_else(acme: Tenant) -> None:
    running, answered = claim_of(acme, "b"), claim_of(acme, "c")
    take(claim_of(acme, "a"), NOW - timedelta(seconds=60))
    take(running)
    take(answered)
    answer(answered)
    assert prune_keyed_calls(NOW) == 1
    assert {row.key_sha256[0] for row in KeyedCall.objects.for_tenant(acme)} == {"b", "c"}
    assert prune_keyed_calls(LEASE) == 1
    assert prune_keyed_calls(TOMORROW) == 1
    assert prune_keyed_calls(TOMORROW) == 0


def test_the_worker_prunes_in_portions(acme: Tenant) -> None:
    old = [
        _Asked(Claim(acme.pk, f"{n:064}", "r" * 64, "ab12cd34", uuid.uuid4()), NOW, LEASE) for n in range(PORTION + 1)
    ]
    claim_keys(old)
    assert [prune_keyed_calls(LEASE), prune_keyed_calls(LEASE)] == [PORTION, 1]

"""A vendor's model that keeps failing is left alone for a while, and tried again carefully."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.gateway.conftest import running_spendhub
from tests.gateway.served import Served
from tests.gateway.test_fallback import define_route
from tests.servers import wait_until
from tests.settings import TEST_DATABASE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    """A SpendHub whose breakers open at the second failure, and for longer than any test lasts."""
    breaker = {"SPENDHUB_BREAKER_FAILURES": "2", "SPENDHUB_BREAKER_OPEN_SECONDS": "3600"}
    with running_spendhub(valkey_number=1, **breaker) as running:
        yield running


def test_after_so_many_failures_the_vendor_is_not_asked(guarded: Served, user: str) -> None:
    assert [guarded.ask(model="fault-500", user=user).status_code for _ in range(2)] == [500] * 2
    calls = guarded.vendor.served.calls
    refused = guarded.ask(model="fault-500", user=user)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "circuit_open")
    assert 3_500 <= int(refused.headers["retry-after"]) <= 3_601
    assert guarded.vendor.served.calls == calls
    # Nothing was held or booked for the call that was not made.
    assert len(guarded.spans(user)) == 2


def test_a_vendor_that_says_200_and_breaks_off_is_left_alone_too(guarded: Served, user: str) -> None:
    for is_stream in (True, False):
        fault = "reset" if is_stream else "broken-body"
        assert '"error"' in guarded.ask(f"[fault:{fault}]", model="vendor-judge", user=user, stream=is_stream).text
    refused = guarded.ask(model="vendor-judge", user=user)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "circuit_open")


def test_a_route_goes_around_an_open_breaker(guarded: Served, user: str) -> None:
    route = define_route(guarded, ["vendor-out"], ["vendor-chat"])
    for _ in range(2):
        assert guarded.ask("[fault:500]", model="vendor-out", user=user).status_code == 500
    calls = guarded.vendor.served.calls
    answered = guarded.ask(model=route, user=user)
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-chat")
    assert guarded.vendor.served.calls == calls + 1


def test_a_policys_cheaper_model_that_is_left_alone_does_not_step_in(guarded: Served, user: str) -> None:
    rules = [{"from": ["vendor-chat"], "to": "fault-503"}]
    guarded.define_budget(user, "1", soft_cap="0", downgrade_rules=rules)
    for _ in range(2):
        assert guarded.ask(model="fault-503").status_code == 503
    answered = guarded.ask(user=user)
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-chat")
    assert answered.headers["x-spendhub-suggested-model"] == "fault-503"
    assert guarded.held(user) == "0.00"


def test_what_the_client_does_wrong_opens_no_breaker(guarded: Served, user: str) -> None:
    for _ in range(4):
        assert guarded.ask("[fault:400]", model="vendor-alias", user=user).status_code == 400
    assert guarded.ask(model="vendor-alias", user=user).status_code == 200


def breakers_told(served: Served) -> list[dict[str, Any]]:
    """What each process says of `vendor-chat`'s breaker: each is asked until it has answered."""
    told: dict[int, dict[str, Any]] = {}

    def has_each_told() -> bool:
        answered_by, body = served.native_of_a_process("GET", "breakers?model=vendor-chat")
        told[answered_by] = body["results"][0] if body["results"] else {"state": "closed", "probe_at": None}
        return told.keys() == set(served.server.serving_processes())

    wait_until(has_each_told, 20, "each process to answer")
    return list(told.values())


def breaker_states(served: Served) -> set[str]:
    """In what states `vendor-chat`'s breaker is, over all processes."""
    return {each["state"] for each in breakers_told(served)}


def is_to_be_tried_again(served: Served) -> bool:
    """Whether the time for which the vendor is left alone is over in every process."""
    ends = [each["probe_at"] for each in breakers_told(served)]
    return all(end is not None and datetime.fromisoformat(end) < datetime.now(UTC) for end in ends)


@pytest.mark.parametrize("processes", [1, 3])
def test_when_its_time_is_over_three_calls_at_a_time_try_the_vendor_and_three_answers_close_the_breaker(
    valkey_server_url: str, user: str, processes: int
) -> None:
    """All processes together, where there are several."""
    redis = {} if TEST_DATABASE == "postgres" or processes == 1 else {"REDIS_URL": valkey_server_url}
    # Nobody tries the vendor before the test does, however long ago its time was over.
    breaker = {"SPENDHUB_BREAKER_FAILURES": "2", "SPENDHUB_BREAKER_OPEN_SECONDS": "1"}
    with (
        running_spendhub("--workers", str(processes), valkey_number=4, **breaker, **redis) as served,
        ThreadPoolExecutor(8) as pool,
    ):

        def is_open_somewhere() -> bool:
            return served.ask("[fault:500]", user=user).status_code == 500 and "open" in breaker_states(served)

        wait_until(is_open_somewhere, 20, "a breaker to open")
        wait_until(lambda: breaker_states(served) == {"open"}, 20, "all processes to leave the vendor alone")
        wait_until(lambda: is_to_be_tried_again(served), 20, "its time to be over")
        calls = served.vendor.served.calls
        with served.vendor.holding_back():
            asked = [pool.submit(served.ask, "[fault:held]", user=user) for _ in range(40)]
            wait_until(lambda: sum(each.done() for each in asked) == 37, 25, "all but three to be told")
            assert [each.result().status_code for each in asked if each.done()] == [503] * 37
            assert served.vendor.served.calls == calls + 3
        assert Counter(each.result().status_code for each in asked) == {200: 3, 503: 37}
        wait_until(lambda: breaker_states(served) == {"closed"}, 20, "all processes to ask the vendor again")
        assert [served.ask(user=user).status_code for _ in range(6)] == [200] * 6

"""A vendor's model that keeps failing is left alone for a while, and tried again carefully."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gateway.conftest import running_spendhub
from tests.gateway.served import Served
from tests.gateway.test_fallback import define_route
from tests.servers import wait_until
from tests.settings import TEST_DATABASE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    """A SpendHub whose breakers open at the second failure, for six seconds."""
    with running_spendhub(valkey_number=1, SPENDHUB_BREAKER_FAILURES="2", SPENDHUB_BREAKER_OPEN_SECONDS="6") as running:
        yield running


def fail(served: Served, user: str, times: int) -> None:
    for _ in range(times):
        assert served.ask("[fault:500]", user=user).status_code == 500


def test_after_so_many_failures_the_vendor_is_not_asked_until_a_probe_succeeds(guarded: Served, user: str) -> None:
    fail(guarded, user, 2)
    calls = guarded.vendor.served.calls
    refused = guarded.ask(user=user)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "circuit_open")
    assert 1 <= int(refused.headers["retry-after"]) <= 7
    assert guarded.vendor.served.calls == calls
    # Nothing was held or booked for the call that was not made.
    assert len(guarded.spans(user)) == 2
    wait_until(lambda: guarded.ask(user=user).status_code == 200, 20, "a probe to be let through")
    assert [guarded.ask(user=user).status_code for _ in range(3)] == [200] * 3


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


def test_several_processes_together_try_a_vendor_again_with_three_calls_at_a_time(
    valkey_server_url: str, user: str
) -> None:
    redis = {} if TEST_DATABASE == "postgres" else {"REDIS_URL": valkey_server_url}
    breaker = {"SPENDHUB_BREAKER_FAILURES": "2", "SPENDHUB_BREAKER_OPEN_SECONDS": "3"}
    with (
        running_spendhub("--workers", "3", valkey_number=4, **breaker, **redis) as served,
        ThreadPoolExecutor(30) as pool,
    ):

        def is_open_everywhere() -> bool:
            return all(served.ask("[fault:500]", user=user).status_code == 503 for _ in range(20))

        wait_until(is_open_everywhere, 20, "all processes to leave the vendor alone")
        calls = served.vendor.served.calls
        time.sleep(3.5)  # its time is over
        asked = [pool.submit(served.ask, "[fault:slow=6]", user=user) for _ in range(30)]
        statuses = [each.result().status_code for each in asked]
        assert served.vendor.served.calls - calls == statuses.count(200) == 3
        assert statuses.count(503) == 27

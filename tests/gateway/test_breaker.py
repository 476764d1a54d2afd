"""A vendor's model that keeps failing is left alone for a while, and tried again carefully."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.conftest import running_spendhub
from tests.gateway.served import Served
from tests.gateway.test_fallback import define_route
from tests.servers import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    """A SpendHub whose breakers open at the second failure, for three seconds."""
    with running_spendhub(valkey_number=1, SPENDHUB_BREAKER_FAILURES="2", SPENDHUB_BREAKER_OPEN_SECONDS="3") as running:
        yield running


def fail(served: Served, user: str, times: int) -> None:
    for _ in range(times):
        assert served.ask("[fault:500]", user=user).status_code == 500


def test_after_so_many_failures_the_vendor_is_not_asked_until_a_probe_succeeds(guarded: Served, user: str) -> None:
    fail(guarded, user, 2)
    calls = guarded.vendor.served.calls
    refused = guarded.ask(user=user)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "circuit_open")
    assert 1 <= int(refused.headers["retry-after"]) <= 4
    assert guarded.vendor.served.calls == calls
    # Nothing was held or booked for the call that was not made.
    assert len(guarded.spans(user)) == 2
    wait_until(lambda: guarded.ask(user=user).status_code == 200, 8, "a probe to be let through")
    assert [guarded.ask(user=user).status_code for _ in range(3)] == [200] * 3


def test_a_route_goes_around_an_open_breaker(guarded: Served, user: str) -> None:
    route = define_route(guarded, ["vendor-out"], ["vendor-chat"])
    for _ in range(2):
        assert guarded.ask("[fault:500]", model="vendor-out", user=user).status_code == 500
    calls = guarded.vendor.served.calls
    answered = guarded.ask(model=route, user=user)
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-chat")
    assert guarded.vendor.served.calls == calls + 1


def test_what_the_client_does_wrong_opens_no_breaker(guarded: Served, user: str) -> None:
    for _ in range(4):
        assert guarded.ask("[fault:400]", model="vendor-alias", user=user).status_code == 400
    assert guarded.ask(model="vendor-alias", user=user).status_code == 200

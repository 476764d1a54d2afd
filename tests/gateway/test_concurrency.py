"""Many at once against a budget that fits few: exactly those pass, and vendor, spans and ledger agree."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from tests.gateway.conftest import running_spendhub
from tests.gateway.served import OUTPUT_NANO_USD, Served, pause_for_snapshots
from tests.servers import wait_until
from tests.settings import TEST_DATABASE

pytestmark = pytest.mark.slow

# `vendor-out` has free input, and the vendor is told to use all ten tokens: a call costs what was held for it.
CALL_NANO_USD = 10 * OUTPUT_NANO_USD
BUDGET_OF_TEN_CALLS = "0.001"
# What a budget can be on, and which one it is on here.
SCOPES = {
    "api_key": "", "user": "ada", "tenant": "*", "provider": "vendor", "model": "vendor-out", "feature": "support",
}  # fmt: skip
# On SQLite alone each refusal is a commit of its own; the same rule is shown with fewer.
ASKED_OF_EACH = 100 if TEST_DATABASE == "postgres" else 30


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Two server processes, so that the cap holds across processes."""
    with running_spendhub("--workers", "2", valkey_number=1) as running:
        yield running


async def ask_at_once(served: Served, user: str, count: int, *, is_stream: bool) -> Counter[int]:
    body = {"model": "vendor-out", "max_tokens": 10, "user": user, "stream": is_stream}
    body["messages"] = [{"role": "user", "content": "[out:10] [say:1 2 3 4 5 6 7 8 9 10]"}]
    headers = {"authorization": f"Bearer {served.key}"}
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(limits=limits, timeout=60, headers=headers) as client:
        asked = [client.post(f"{served.url}/chat/completions", json=body) for _ in range(count)]
        return Counter([answered.status_code for answered in await asyncio.gather(*asked)])


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("budgets", [1, 10])
def test_of_a_hundred_calls_at_once_exactly_the_ten_that_fit_are_made(
    served: Served, user: str, budgets: int, is_stream: bool
) -> None:
    # The tight budget, and others that match as well and have room.
    others = [("user", period) for period in ("hour", "day", "week", "month")]
    others += [("tenant", period) for period in ("hour", "day", "week", "month", "total")]
    # Its window never ends: not among the hundred calls either.
    made = [served.define_budget(user, BUDGET_OF_TEN_CALLS, period="total")]
    for scope, period in others[: budgets - 1]:
        facts = {} if scope == "user" else {"scope_type": "tenant", "scope_key": "*"}
        made.append(served.define_budget(user, "1000", period=period, **facts))
    pause_for_snapshots()  # in force in both processes
    before = served.vendor.served.completed
    try:
        assert asyncio.run(ask_at_once(served, user, 100, is_stream=is_stream)) == {200: 10, 402: 90}
        assert served.vendor.served.completed == before + 10
        assert [span["cost_nano_usd"] for span in served.spans(user)] == [CALL_NANO_USD] * 10
        assert served.ledger(made[0]) == 10 * CALL_NANO_USD
        # The other process may be asked before it hears that the last hold has ended.
        wait_until(lambda: served.held(user) == "0.00", 10, "every hold to end")
    finally:
        for budget in made:
            served.native("DELETE", f"budgets/{budget}")


def someone_of(served: Served, scope: str) -> Served:
    """The same server for a tenant of its own, so that no other test's calls count for its provider or model."""
    key = served.server.manage("tenant", "create", f"Tight on {scope}").strip().splitlines()[-1]
    return replace(served, key=key)


def tight_budget(own: Served, scope: str) -> str:
    scope_key = SCOPES[scope] or own.native("GET", "keys")["results"][0]["prefix"]
    wanted = {"name": scope, "scope_type": scope, "scope_key": scope_key, "limit": BUDGET_OF_TEN_CALLS}
    made: str = own.native("POST", "budgets", json={**wanted, "period": "total"})["id"]
    return made


async def ask_as_all(tight: dict[str, tuple[Served, str]]) -> dict[str, Counter[int]]:
    body = {"model": "vendor-out", "max_tokens": 10, "messages": [{"role": "user", "content": "[out:10]"}]}
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=100), timeout=120) as client:

        async def ask(own: Served) -> Counter[int]:
            headers = {"authorization": f"Bearer {own.key}", "x-spendhub-user": "ada", "x-spendhub-feature": "support"}
            calls = [
                client.post(f"{own.url}/chat/completions", json=body, headers=headers) for _ in range(ASKED_OF_EACH)
            ]
            return Counter([answered.status_code for answered in await asyncio.gather(*calls)])

        told = await asyncio.gather(*(ask(own) for own, _ in tight.values()))
    return dict(zip(tight, told, strict=True))


def test_whatever_a_budget_is_on_exactly_the_ten_calls_that_fit_are_made(served: Served) -> None:
    with ThreadPoolExecutor(2) as pool:
        owners = dict(zip(SCOPES, pool.map(lambda scope: someone_of(served, scope), SCOPES), strict=True))
    pause_for_snapshots()  # their keys are known
    tight = {scope: (own, tight_budget(own, scope)) for scope, own in owners.items()}
    pause_for_snapshots()  # in force in both processes
    before = served.vendor.served.completed
    told = asyncio.run(ask_as_all(tight))
    assert told == {scope: {200: 10, 402: ASKED_OF_EACH - 10} for scope in SCOPES}
    assert served.vendor.served.completed == before + 10 * len(SCOPES)
    assert {scope: own.ledger(budget) for scope, (own, budget) in tight.items()} == dict.fromkeys(
        SCOPES, 10 * CALL_NANO_USD
    )

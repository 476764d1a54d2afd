"""Many at once, through every dialect, with fallbacks, failures and clients that leave: the books are right."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import httpx
import pytest

from tests.gateway.conftest import running_spendhub
from tests.gateway.dialect_calls import DIALECTS, Asked, ask_all, chat, client_of
from tests.gateway.served import OUTPUT_NANO_USD, Served, pause_for_snapshots
from tests.gateway.test_fallback import define_route
from tests.servers import wait_until
from tests.settings import TEST_DATABASE

pytestmark = pytest.mark.slow

# `vendor-out` has free input, and the vendor is told to use all ten tokens: a call costs what was held for it.
MODEL = "vendor-out"
CALL_NANO_USD = 10 * OUTPUT_NANO_USD
# On SQLite alone each refusal is a commit of its own; the same rule is shown with fewer.
FITTING = 100 if TEST_DATABASE == "postgres" else 20


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Two server processes, so that the cap holds across processes."""
    with running_spendhub("--workers", "2", valkey_number=1) as running:
        yield running


@pytest.mark.parametrize("dialect", DIALECTS)
def test_of_ten_times_as_many_calls_exactly_those_that_fit_are_made(
    served: Served, user: str, dialect: Callable[..., Asked]
) -> None:
    budget = served.define_budget(user, f"{FITTING * CALL_NANO_USD / 10**9:.9f}")
    pause_for_snapshots()  # in force in both processes
    before = served.vendor.served.completed
    wanted = [dialect(user, MODEL, stream=bool(number % 2)) for number in range(10 * FITTING)]
    assert Counter(asyncio.run(ask_all(served, wanted))) == {200: FITTING, 402: 9 * FITTING}
    assert served.vendor.served.completed == before + FITTING
    assert [span["cost_nano_usd"] for span in served.spans(user)] == [CALL_NANO_USD] * FITTING
    assert served.ledger(budget) == FITTING * CALL_NANO_USD
    # The other process may be asked before it hears that the last hold has ended.
    wait_until(lambda: served.held(user) == "0.00", 10, "every hold to end")


async def leave_streams(served: Served, wanted: Sequence[Asked]) -> None:
    """Begins each stream and leaves after its first piece."""

    async def leave(client: httpx.AsyncClient, each: Asked) -> None:
        async with client.stream("POST", each.path, json=each.body) as answered:
            async for _ in answered.aiter_bytes():
                break

    async with client_of(served) as client:
        await asyncio.gather(*(leave(client, each) for each in wanted))


def test_with_fallbacks_failures_and_clients_that_leave_the_books_are_right(served: Served, user: str) -> None:
    route = define_route(served, ["fault-500"], [MODEL])
    budget = served.define_budget(user, "1000")
    pause_for_snapshots()
    vendor = served.vendor.served
    completed, tokens = vendor.completed, vendor.completion_tokens
    plain = [dialect(user, MODEL) for dialect in DIALECTS for _ in range(15)]
    fallen = [dialect(user, route) for dialect in DIALECTS for _ in range(15)]
    failing = [dialect(user, "fault-429") for dialect in DIALECTS for _ in range(8)]
    slow = f"[fault:slow-stream] [say:{'word ' * 200}]"
    left = [chat(user, MODEL, text=slow, stream=True) for _ in range(10)]

    async def all_at_once() -> list[int]:
        statuses, _ = await asyncio.gather(ask_all(served, [*plain, *fallen, *failing]), leave_streams(served, left))
        return statuses

    assert Counter(asyncio.run(all_at_once())) == {200: 120, 429: 32}
    spans = served.wait_for_spans(user, 60 + 120 + 32 + 10, seconds=30)
    assert Counter(span["status"] for span in spans) == {"ok": 120, "error": 60 + 32, "aborted": 10}
    assert vendor.completed - completed == 120
    answered = [span for span in spans if span["status"] == "ok"]
    assert sum(span["output_tokens"] for span in answered) == vendor.completion_tokens - tokens
    assert served.ledger(budget) == sum(span["cost_nano_usd"] for span in spans)
    wait_until(lambda: served.held(user) == "0.00", 10, "every hold to end")

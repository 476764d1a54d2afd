"""Many at once, through every dialect, with fallbacks, failures and clients that leave: the books are right."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import running_spendhub
from tests.gateway.served import OUTPUT_NANO_USD, Served, pause_for_snapshots
from tests.gateway.test_fallback import define_route
from tests.servers import wait_until
from tests.settings import TEST_DATABASE

pytestmark = pytest.mark.slow

# `vendor-out` has free input, and the vendor is told to use all ten tokens: a call costs what was held for it.
CALL_NANO_USD = 10 * OUTPUT_NANO_USD
# On SQLite alone each refusal is a commit of its own; the same rule is shown with fewer.
FITTING = 100 if TEST_DATABASE == "postgres" else 20
TEXT = "[out:10] [say:1 2 3 4 5 6 7 8 9 10]"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Two server processes, so that the cap holds across processes."""
    with running_spendhub("--workers", "2", valkey_number=1) as running:
        yield running


def chat(user: str, model: str = "vendor-out", **extra: Any) -> tuple[str, dict[str, Any]]:
    body = {"model": model, "max_tokens": 10, "user": user, "messages": [{"role": "user", "content": TEXT}]}
    return "chat/completions", {**body, **extra}


def messages(user: str, model: str = "vendor-out", **extra: Any) -> tuple[str, dict[str, Any]]:
    body = {"model": model, "max_tokens": 10, "metadata": {"user_id": user}}
    return "messages", {**body, "messages": [{"role": "user", "content": TEXT}], **extra}


def responses(user: str, model: str = "vendor-out", **extra: Any) -> tuple[str, dict[str, Any]]:
    return "responses", {"model": model, "max_output_tokens": 10, "user": user, "input": TEXT, **extra}


def generate(user: str, model: str = "vendor-out", *, stream: bool = False) -> tuple[str, dict[str, Any]]:
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    config = {"maxOutputTokens": 10}
    contents = [{"role": "user", "parts": [{"text": TEXT}]}]
    return f"models/{model}:{method}", {"contents": contents, "generationConfig": config, "labels": {"user": user}}


DIALECTS = (chat, messages, responses, generate)


async def ask_all(served: Served, asked: list[tuple[str, dict[str, Any]]], at_once: int = 100) -> Counter[int]:
    headers = {"authorization": f"Bearer {served.key}"}
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(limits=limits, timeout=120, headers=headers) as client:
        calls = [client.post(f"{served.url}/{path}", json=body) for path, body in asked]
        return Counter([answered.status_code for answered in await asyncio.gather(*calls)])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_of_ten_times_as_many_calls_exactly_those_that_fit_are_made(served: Served, user: str, dialect: Any) -> None:
    # A quarter is enough for the fourth: what it shares with the others is shown there.
    fitting = FITTING // 4 if dialect is generate else FITTING
    budget = served.define_budget(user, f"{fitting * CALL_NANO_USD / 10**9:.9f}")
    pause_for_snapshots()  # in force in both processes
    before = served.vendor.served.completed
    asked = [dialect(user, stream=bool(number % 2)) for number in range(10 * fitting)]
    assert asyncio.run(ask_all(served, asked)) == {200: fitting, 402: 9 * fitting}
    assert served.vendor.served.completed == before + fitting
    assert [span["cost_nano_usd"] for span in served.spans(user)] == [CALL_NANO_USD] * fitting
    assert served.ledger(budget) == fitting * CALL_NANO_USD
    # The other process may be asked before it hears that the last hold has ended.
    wait_until(lambda: served.held(user) == "0.00", 10, "every hold to end")


async def leave_streams(served: Served, asked: list[tuple[str, dict[str, Any]]]) -> None:
    """Begins each stream and leaves after its first piece."""

    async def leave(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
        async with client.stream("POST", f"{served.url}/{path}", json=body) as answered:
            async for _ in answered.aiter_bytes():
                break

    headers = {"authorization": f"Bearer {served.key}"}
    async with httpx.AsyncClient(timeout=60, headers=headers) as client:
        await asyncio.gather(*(leave(client, path, body) for path, body in asked))


def test_with_fallbacks_failures_and_clients_that_leave_the_books_are_right(served: Served, user: str) -> None:
    route = define_route(served, ["fault-500"], ["vendor-out"])
    budget = served.define_budget(user, "1000")
    pause_for_snapshots()
    vendor = served.vendor.served
    completed, tokens = vendor.completed, vendor.completion_tokens
    plain = [dialect(user) for dialect in DIALECTS for _ in range(15)]
    fallen = [dialect(user, route) for dialect in DIALECTS for _ in range(15)]
    failing = [dialect(user, "fault-429") for dialect in DIALECTS for _ in range(8)]
    slow = {"messages": [{"role": "user", "content": f"[fault:slow-stream] [say:{'word ' * 200}]"}], "stream": True}
    left = [chat(user, **slow) for _ in range(10)]

    async def all_at_once() -> Counter[int]:
        statuses, _ = await asyncio.gather(ask_all(served, [*plain, *fallen, *failing]), leave_streams(served, left))
        return statuses

    assert asyncio.run(all_at_once()) == {200: 120, 429: 32}
    spans = served.wait_for_spans(user, 60 + 120 + 32 + 10, seconds=30)
    assert Counter(span["status"] for span in spans) == {"ok": 120, "error": 60 + 32, "aborted": 10}
    assert vendor.completed - completed == 120
    answered = [span for span in spans if span["status"] == "ok"]
    assert sum(span["output_tokens"] for span in answered) == vendor.completion_tokens - tokens
    assert served.ledger(budget) == sum(span["cost_nano_usd"] for span in spans)
    wait_until(lambda: served.held(user) == "0.00", 10, "every hold to end")

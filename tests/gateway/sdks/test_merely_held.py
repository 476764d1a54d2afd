"""A call that is refused only because other calls hold the money: SDKs ask again by themselves, and get their answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import anthropic
import openai
import pytest

from tests.gateway.sdks.vendors import Vendors
from tests.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.once]

TEXT = "[in:100] [out:20] [say:good morning]"
Ask = Callable[[Vendors, str, Callable[[Any], None]], str]


def by_openais(vendors: Vendors, user: str, look: Callable[[Any], None]) -> str:
    http = openai.DefaultHttpxClient(event_hooks={"response": [look]})
    with openai.OpenAI(base_url=vendors.served.url, api_key=vendors.served.key, timeout=60, http_client=http) as client:
        answer = client.chat.completions.create(
            model="gpt", user=user, max_tokens=50, messages=[{"role": "user", "content": TEXT}]
        )
    return str(answer.choices[0].message.content)


def by_anthropics(vendors: Vendors, user: str, look: Callable[[Any], None]) -> str:
    http = anthropic.DefaultHttpxClient(event_hooks={"response": [look]})
    url, key = vendors.served.server.url, vendors.served.key
    with anthropic.Anthropic(base_url=url, api_key=key, timeout=60, http_client=http) as client:
        answer = client.messages.create(
            model="gpt", metadata={"user_id": user}, max_tokens=50, messages=[{"role": "user", "content": TEXT}]
        )
    return "".join(block.text for block in answer.content if block.type == "text")


@pytest.mark.parametrize("ask", [by_openais, by_anthropics])
def test_an_sdk_asks_again_by_itself_once_the_money_may_be_free(vendors: Vendors, user: str, ask: Ask) -> None:
    """With its own two retries, and its own pauses: nobody told it of SpendHub."""
    served = vendors.served
    # Each holds 500,000 nano_usd for 50 tokens of output, and something for its input; the first will cost 400,000.
    served.define_budget(user, "0.001")
    told: list[tuple[int, str | None, str | None]] = []
    with ThreadPoolExecutor(1) as pool, ExitStack() as held_back:
        held_back.enter_context(vendors.openai.holding_back())
        first = pool.submit(served.ask, f"[fault:held] {TEXT}", model="gpt", user=user, max_tokens=50)
        wait_until(lambda: float(served.held(user, "gpt")) > 0, 10, "the first call to hold its money")

        def look(response: Any) -> None:
            headers = response.headers
            told.append((response.status_code, headers.get("retry-after"), headers.get("x-should-retry")))
            if response.status_code == 402:
                held_back.close()
                wait_until(lambda: served.held(user, "gpt") == "0.00", 20, "the first call to be settled")

        assert ask(vendors, user, look) == "good morning"
        assert first.result().status_code == 200
    assert told == [(402, "2", "true"), (200, None, None)]
    assert len(served.spans(user)) == 2

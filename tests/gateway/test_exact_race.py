"""Ten times as many calls as a budget has room for, all at once: through every dialect, to a vendor of each wire format,
whole and streamed, with vendors that fail and clients that leave. Never is more spent and held than there is, and the
books say what the vendors say."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.fakes.anthropic_upstream import FakeAnthropic
from tests.fakes.gemini_upstream import FakeGemini
from tests.fakes.openai_upstream import FakeOpenAI
from tests.fakes.vendor import FakeVendor
from tests.fakes.vendor import Served as Billed
from tests.gateway.conftest import running_spendhub
from tests.gateway.dialect_calls import DIALECTS, Asked, ask_all, chat, client_of, embed, route
from tests.gateway.served import INPUT_NANO_USD, OUTPUT_NANO_USD, Served, pause_for_snapshots
from tests.servers import wait_until
from tests.settings import TEST_DATABASE

pytestmark = pytest.mark.slow

# On SQLite alone each refusal is a commit of its own; the same rule is shown with fewer.
FITTING = 100 if TEST_DATABASE == "postgres" else 30
# The vendors bill what we think it is: 24 words and signs, 4 for the message and 3 for the request. So each call costs
# what was held for it.
TEXT = "[in:31] [out:10] [say:1 2 3 4 5 6 7 8 9 10]"
CALL_NANO_USD = 31 * INPUT_NANO_USD + 10 * OUTPUT_NANO_USD
# As dear, with input alone: 5 words and signs, 73 more, and 3 for the request.
TEXT_TO_EMBED = f"[in:81]{' a' * 73}"
assert 81 * INPUT_NANO_USD == CALL_NANO_USD

# A model of each vendor, and the next one, that stands in for it. `NAME-out` fails with a 503, `NAME-stalls` falls silent
# in mid-stream.
MODELS = {"gpt": "claude", "claude": "gemini", "gemini": "gpt"}
EMBEDDING_MODELS = {"gpt": "gpts-embed", "claude": "gpts-embed", "gemini": "geminis-embed"}


def configured_models(urls: dict[str, str]) -> str:
    """ROUTER_CONFIG_MODELS. A model that fails is a little cheaper, so that the router tries it first."""
    providers = {"gpt": "openai", "claude": "anthropic", "gemini": "google"}

    def model(name: str, vendor: str, input_price: float = 2, **facts: Any) -> dict[str, Any]:
        config = {"baseUrl": urls[vendor]}
        common = {"id": name, "provider": providers[vendor], "config": config, "apiKeyEnv": "VENDOR_KEY"}
        prices = {"inputCostPerMillion": input_price, "outputCostPerMillion": 10}
        return {**common, **prices, "capabilities": ["general", "streaming"], **facts}

    embedding: dict[str, Any] = {"kind": "embedding", "capabilities": ["embeddings"]}
    return json.dumps(
        [model(vendor, vendor) for vendor in MODELS]
        + [model(f"{vendor}-out", vendor, 1.99, upstream_name="fault-503") for vendor in MODELS]
        + [model(f"{vendor}-stalls", vendor, upstream_name="fault-stall") for vendor in MODELS]
        + [model(f"{vendor}s-embed", vendor, **embedding) for vendor in ("gpt", "gemini")]
    )


@dataclass(frozen=True)
class Scene:
    """SpendHub in two processes, so that the cap holds across processes, and its vendors."""

    served: Served
    vendors: Sequence[FakeVendor]

    def total(self, kind: str) -> int:
        """What the vendors have counted of one kind, together."""
        return sum(getattr(vendor.served, kind) for vendor in self.vendors)

    def forget(self) -> None:
        """The vendors begin to count from nothing."""
        for vendor in self.vendors:
            vendor.served = Billed()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with FakeOpenAI() as openai, FakeAnthropic() as anthropic, FakeGemini() as gemini:
        urls = {"gpt": openai.base_url, "claude": anthropic.base_url, "gemini": gemini.base_url}
        with running_spendhub(
            "--workers", "2", valkey_number=1, ROUTER_CONFIG_MODELS=configured_models(urls)
        ) as served:
            for model, stand_in in MODELS.items():
                for fallback in (stand_in, f"{stand_in}-stalls"):
                    wanted = {"models": [f"{model}-out"], "fallback": [fallback], "strategy": "pinned"}
                    served.native("POST", "routes", json={"name": f"{model}-or-{fallback}", **wanted})
            yield Scene(replace(served, vendor=openai), (openai, anthropic, gemini))


def call_number(number: int, user: str) -> Asked:
    """Each dialect with each vendor, whole and as a stream, directly and after another vendor has failed."""
    number, kind = divmod(number, 6)
    number, vendor = divmod(number, 3)
    is_stream, falls_back = bool(number & 1), bool(number & 2)
    model = list(MODELS)[vendor]
    if kind == 4:
        return embed(user, EMBEDDING_MODELS[model], TEXT_TO_EMBED)
    if kind == 5:
        return route(user, *[f"{model}-out", MODELS[model]] if falls_back else [model], text=TEXT)
    asked = f"{model}-or-{MODELS[model]}" if falls_back else model
    return DIALECTS[kind](user, asked, text=TEXT, stream=is_stream)


def exposed(served: Served, budget: str, user: str) -> int:
    """What is spent, and what is held for calls that are not booked yet, in nano_usd. Looked at in this order, no call
    counts twice: Valkey hears that a hold has ended right after its call was booked."""
    held = served.holds()
    spent = served.ledger(budget)
    booked = {span["request_id"] for span in served.spans(user)}
    return spent + sum(nano_usd for request_id, nano_usd in held.items() if request_id not in booked)


@contextmanager
def polling(look: Callable[[], int]) -> Iterator[list[int]]:
    """What was seen, looked at now, and again and again until the block ends."""
    seen = [look()]
    is_over = threading.Event()

    def poll() -> None:
        while not is_over.wait(0.02):
            seen.append(look())

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join(30)


async def race(scene: Scene, user: str, look: Callable[[], int]) -> list[int]:
    """A stream of each dialect from each vendor, after another one has failed, comes half way. Then everybody asks, and
    whoever reads those streams leaves. What was spent or held meanwhile."""
    begun = [dialect(user, f"{model}-or-{other}-stalls", text=TEXT, stream=True)
             for dialect in DIALECTS for model, other in MODELS.items()]  # fmt: skip
    wanted = [call_number(number, user) for number in range(10 * FITTING - len(begun))]
    async with client_of(scene.served) as client, AsyncExitStack() as streams:
        for each in begun:
            stream = client.stream("POST", each.path, json=each.body)
            answered = await streams.enter_async_context(stream)
            assert answered.status_code == 200
        with polling(look) as seen:
            assert seen[0] == len(begun) * CALL_NANO_USD
            statuses, _ = await asyncio.gather(ask_all(scene.served, wanted), streams.aclose())
    for each, status in zip(wanted, statuses, strict=True):
        # A fallback that has no room leaves the word of the vendor that failed.
        assert status in (200, each.refused_with, 503), (each, status)
    return seen


def priced(input_tokens: int, output_tokens: int) -> int:
    return input_tokens * INPUT_NANO_USD + output_tokens * OUTPUT_NANO_USD


def test_of_ten_times_as_many_calls_through_everything_those_that_fit_are_made_and_the_books_are_right(
    scene: Scene, user: str
) -> None:
    served, limit = scene.served, FITTING * CALL_NANO_USD
    budget = served.define_budget(user, f"{limit / 10**9:.9f}")
    pause_for_snapshots()  # in force in both processes
    scene.forget()
    seen = asyncio.run(race(scene, user, lambda: exposed(served, budget, user)))
    assert max(seen) <= limit
    wait_until(lambda: served.holds() == {}, 10, "every hold to end")
    # Those who left have given back what was not said: who comes later may have it, to the last call that fits.
    last = chat(user, "gpt", text=TEXT)
    while (statuses := asyncio.run(ask_all(served, [last]))) == [200]:
        assert exposed(served, budget, user) <= limit
    assert statuses == [402]
    assert (served.holds(), served.held(user, "gpt")) == ({}, "0.00")

    spans = served.spans(user)
    ok, left, failed = ([span for span in spans if span["status"] == each] for each in ("ok", "aborted", "error"))
    assert len(ok) + len(left) + len(failed) == len(spans)
    assert {(span["cost_nano_usd"], span["reserved_nano_usd"]) for span in ok} == {(CALL_NANO_USD, CALL_NANO_USD)}
    assert {(span["model"].endswith("-out"), span["cost_nano_usd"]) for span in failed} == {(True, 0)}
    of_left = sum(span["cost_nano_usd"] for span in left)
    assert len(ok) == (limit - of_left) // CALL_NANO_USD
    assert served.ledger(budget) == len(ok) * CALL_NANO_USD + of_left <= limit

    assert scene.total("completed") == len(ok)
    assert priced(scene.total("prompt_tokens"), scene.total("completion_tokens")) == len(ok) * CALL_NANO_USD
    assert len(left) == scene.total("unended_streams") == len(DIALECTS) * len(MODELS)
    assert 0 < of_left <= priced(scene.total("unended_prompt_tokens"), scene.total("unended_words"))

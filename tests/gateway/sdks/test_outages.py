"""A vendor's outage is over before its client has noticed: a model of another wire format answers in the client's own."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from google.genai import types

from tests.gateway.sdks.vendors import CALL, CALL_NANO_USD, Vendors
from tests.gateway.served import metadata_of

pytestmark = [pytest.mark.slow, pytest.mark.once]

SAY = f"{CALL} [say:good day]"
# Nothing listens there.
NOWHERE = "http://127.0.0.1:9"
# What is out, and what answers in its place.
PAIRS = (("gpt", "claude"), ("claude", "gemini"), ("gemini", "gpt"))
DIALECTS = {"gpt": "openai", "claude": "anthropic", "gemini": "gemini"}
OUTAGES = {"503": "upstream_503", "refused": "upstream_failed", "timeout": "upstream_timeout"}


class Told(NamedTuple):
    """What an SDK has made of an answer."""

    text: str | None
    finish: Any
    input_tokens: int | None
    output_tokens: int | None


def by_chat(vendors: Vendors, user: str, model: str, is_stream: bool) -> Told:
    chat = vendors.openai_sdk().chat.completions
    asked: Any = {"model": model, "messages": [{"role": "user", "content": SAY}], "user": user}
    if is_stream:
        with chat.stream(**asked, stream_options={"include_usage": True}) as stream:
            stream.until_done()
            told = stream.get_final_completion()
    else:
        told = chat.create(**asked)
    (choice,) = told.choices
    return Told(choice.message.content, choice.finish_reason, told.usage.prompt_tokens, told.usage.completion_tokens)


def by_responses(vendors: Vendors, user: str, model: str, is_stream: bool) -> Told:
    responses = vendors.openai_sdk().responses
    if is_stream:
        with responses.stream(model=model, input=SAY, user=user) as stream:
            told: Any = stream.get_final_response()
    else:
        told = responses.create(model=model, input=SAY, user=user)
    return Told(told.output_text, told.status, told.usage.input_tokens, told.usage.output_tokens)


def by_messages(vendors: Vendors, user: str, model: str, is_stream: bool) -> Told:
    messages = vendors.anthropic_sdk().messages
    asked: Any = {"model": model, "messages": [{"role": "user", "content": SAY}], "metadata": {"user_id": user}}
    asked |= {"max_tokens": 50}
    if is_stream:
        with messages.stream(**asked) as stream:
            told = stream.get_final_message()
    else:
        told = messages.create(**asked)
    (block,) = told.content
    return Told(block.text, told.stop_reason, told.usage.input_tokens, told.usage.output_tokens)


def by_google(vendors: Vendors, user: str, model: str, is_stream: bool) -> Told:
    models = vendors.googles_sdk(user).models
    if is_stream:
        answers = list(models.generate_content_stream(model=model, contents=SAY))
    else:
        answers = [models.generate_content(model=model, contents=SAY)]
    last: Any = answers[-1]
    usage = last.usage_metadata
    text = "".join(answer.text or "" for answer in answers)
    return Told(text, last.candidates[0].finish_reason, usage.prompt_token_count, usage.candidates_token_count)


CLIENTS: dict[str, tuple[Callable[[Vendors, str, str, bool], Told], Any]] = {
    "chat": (by_chat, "stop"),
    "responses": (by_responses, "completed"),
    "messages": (by_messages, "end_turn"),
    "google": (by_google, types.FinishReason.STOP),
}
# So that each client meets each outage and each pair, and each pair each outage.
CASES = [
    (client, outage, *PAIRS[(row + column) % len(PAIRS)])
    for row, client in enumerate(CLIENTS)
    for column, outage in enumerate(OUTAGES)
]


@pytest.fixture(scope="module")
def routes(vendors: Vendors) -> dict[tuple[str, str], str]:
    """By model and outage: a route by a model that is out in this way. Those models are dear, so that `auto` never
    takes one."""
    run = uuid.uuid4().hex[:8]
    behind = {"gpt": vendors.openai, "claude": vendors.anthropic, "gemini": vendors.gemini}
    providers, models = [], []
    routes: dict[tuple[str, str], Any] = {}
    for out, answers in PAIRS:
        for outage in OUTAGES:
            name = f"{out}-{outage}-{run}"
            provider = {"name": name, "dialect": DIALECTS[out], "api_key_env": "VENDOR_KEY"}
            provider["base_url"] = NOWHERE if outage == "refused" else behind[out].base_url
            # A vendor that is merely out must not seem late on a busy machine.
            providers.append(provider | ({"timeout_seconds": 1} if outage == "timeout" else {}))
            model = {"name": name, "provider": name, "capabilities": ["streaming"]}
            model["upstream_name"] = "fault-503" if outage == "503" else "fault-hang"
            models.append(model | {"prices": [{"input": "900", "output": "900"}]})
            routes[out, outage] = {"name": f"by-{name}", "models": [name], "fallback": [answers]}
    vendors.served.enter_catalog(providers=providers, models=models, routes=list(routes.values()))
    return {key: route["name"] for key, route in routes.items()}


@pytest.mark.parametrize(("client", "outage", "out", "answers"), CASES)
def test_an_outage_is_answered_by_a_vendor_of_another_wire_format(
    vendors: Vendors, user: str, routes: dict[tuple[str, str], str], client: str, outage: str, out: str, answers: str
) -> None:
    ask, finish = CLIENTS[client]
    served, route = vendors.served, routes[out, outage]
    budget = served.define_budget(user, "10")
    for is_stream in (False, True):
        assert ask(vendors, user, route, is_stream) == Told("good day", finish, 100, 20)
    spans = served.wait_for_spans(user, 4)
    for failed, answered in (spans[:2], spans[2:]):
        assert failed["model"] == route.removeprefix("by-")
        assert (failed["status"], failed["error_code"], failed["cost_nano_usd"]) == ("error", OUTAGES[outage], 0)
        assert (answered["model"], answered["status"], answered["cost_nano_usd"]) == (answers, "ok", CALL_NANO_USD)
        assert (answered["input_tokens"], answered["output_tokens"], answered["is_estimated"]) == (100, 20, False)
        assert (failed["trace_id"], failed["requested_model"]) == (answered["trace_id"], route)
    assert [metadata_of(span)["stream"] for span in spans] == [False, False, True, True]
    assert len({span["trace_id"] for span in spans}) == 2
    assert (served.ledger(budget), served.held(user, "gpt")) == (2 * CALL_NANO_USD, "0.00")

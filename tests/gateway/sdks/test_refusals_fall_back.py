"""Refusals of content that vendors send as answers: with a route's `falls_back_on_refusal` another model answers instead.

Each client is its vendor's official SDK. What refuses is a model of each vendor, dear; what answers then is `compatible`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import anthropic
import httpx
import openai
import pytest

from spendhub.money import format_usd
from tests.gateway.sdks.conftest import CAN
from tests.gateway.sdks.vendors import CALL, CALL_NANO_USD, Vendors
from tests.gateway.served import events_of, metadata_of
from tests.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.once]

ASKED = f"{CALL} [say:good day]"
# CALL at 900 USD per million tokens, read or written.
REFUSED_NANO_USD = (100 + 20) * 900_000
# What refuses before a word, and in whose format: the model's provider, and the fault of the vendor behind it.
REFUSING = [
    ("openai", "blocked"),  # message.refusal
    ("openai", "filtered"),  # content_filter
    ("anthropic", "blocked"),  # stop_reason refusal
    ("google", "blocked"),  # promptFeedback.blockReason
    ("google", "filtered"),  # finishReason SAFETY
    ("bedrock", "blocked"),  # content_filtered
    ("bedrock", "filtered"),  # guardrail_intervened
]
# Which client asks for which of them: its own vendor's, and one that is translated.
CASES = [
    *(("chat", provider, fault) for provider, fault in REFUSING),
    *(("responses", "openai", fault) for fault in ("blocked", "filtered")),
    *(("messages", "anthropic", "blocked"), ("messages", "openai", "filtered")),
    *(("generate", "google", fault) for fault in ("blocked", "filtered")),
    *(("responses", "google", "filtered"), ("generate", "anthropic", "blocked")),
]
# How each client is told of an answer that is whole.
WHOLE = {"chat": "stop", "responses": "completed", "messages": "end_turn", "generate": "STOP"}


class Told(NamedTuple):
    """What an SDK makes of one answer: its words, and why it ended."""

    words: str
    ending: str


def in_chat(vendors: Vendors, user: str, model: str, is_stream: bool) -> Told:
    asked: Any = {"model": model, "user": user, "max_tokens": 50, "messages": [{"role": "user", "content": ASKED}]}
    completions = vendors.openai_sdk().chat.completions
    if not is_stream:
        (choice,) = completions.create(**asked).choices
        return Told(choice.message.content or "", choice.finish_reason)
    choices = [chunk.choices[0] for chunk in completions.create(**asked, stream=True) if chunk.choices]
    return Told("".join(each.delta.content or "" for each in choices), str(choices[-1].finish_reason))


def in_responses(vendors: Vendors, user: str, model: str, is_stream: bool) -> Told:
    asked: Any = {"model": model, "user": user, "max_output_tokens": 50, "input": ASKED}
    responses = vendors.openai_sdk().responses
    if is_stream:
        *_, last = responses.create(**asked, stream=True)
        response = last.response
    else:
        response = responses.create(**asked)
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    if any(part.type == "refusal" for part in parts):
        return Told(response.output_text, "refusal")
    details = response.incomplete_details
    return Told(response.output_text, details.reason if details else response.status)


def in_messages(vendors: Vendors, user: str, model: str, is_stream: bool) -> Told:
    asked: Any = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": ASKED}]}
    asked["metadata"] = {"user_id": user}
    messages = vendors.anthropic_sdk().messages
    if is_stream:
        with messages.stream(**asked) as stream:
            message: anthropic.types.Message = stream.get_final_message()
    else:
        message = messages.create(**asked)
    return Told("".join(block.text for block in message.content if block.type == "text"), str(message.stop_reason))


def in_generate(vendors: Vendors, user: str, model: str, is_stream: bool) -> Told:
    asked: Any = {"model": model, "contents": ASKED, "config": {"max_output_tokens": 50}}
    models = vendors.googles_sdk(user).models
    answers = list(models.generate_content_stream(**asked)) if is_stream else [models.generate_content(**asked)]
    last = answers[-1]
    ending = last.candidates[0].finish_reason if last.candidates else last.prompt_feedback.block_reason
    return Told("".join(each.text or "" for each in answers if each.candidates), ending.value)


CLIENTS: dict[str, Callable[[Vendors, str, str, bool], Told]] = {
    "chat": in_chat, "responses": in_responses, "messages": in_messages, "generate": in_generate,
}  # fmt: skip


@dataclass(frozen=True)
class Refusing:
    """Models that refuse, and routes to them, as one user asks for them whose money is in one budget."""

    vendors: Vendors
    user: str
    budget: str
    name: str

    def model(self, provider: str, fault: str) -> str:
        """The model at a provider whose vendor has this fault."""
        return f"{provider}-{fault}-{self.name}"

    def route(self, provider: str, fault: str, kind: str) -> str:
        """A route to it: `on` and `off` go on to one that answers, the others see `KINDS`."""
        return f"{provider}-{fault}-{kind}-{self.name}"

    def ask(self, client: str, route: str, *, is_stream: bool) -> Told:
        """One call by the client's own SDK."""
        return CLIENTS[client](self.vendors, self.user, route, is_stream)


# By which options, and with which fallback, a model is asked for.
KINDS: dict[str, tuple[bool, list[str]]] = {
    "on": (True, ["compatible"]),
    "off": (False, ["compatible"]),
    "alone": (True, []),
    "down": (True, ["openai-500"]),
    "unusable": (True, ["bedrock-unusable"]),
    "broken": (True, ["openai-not-json"]),
    "erring": (True, ["openai-error-at-once"]),
    "later": (True, ["openai-not-json", "openai-500"]),
    "twice": (True, ["openai-blocked", "google-blocked"]),
}


# Who is to answer in place of an answer that is doubted.
JUDGES = {
    "one": ["openai-blocked"],
    "two": ["openai-blocked", "openai-filtered"],
    "broken": ["openai-blocked", "openai-not-json"],
}


@pytest.fixture(scope="module")
def refusing(vendors: Vendors) -> Iterator[Refusing]:
    run, served = uuid.uuid4().hex[:8], vendors.served
    behind = {
        "openai": ("openai", vendors.openai), "anthropic": ("anthropic", vendors.anthropic),
        "google": ("gemini", vendors.gemini), "bedrock": ("bedrock", vendors.bedrock),
    }  # fmt: skip
    faults = [*REFUSING, *(("openai", fault) for fault in ("content-400", "safety-400", "500", "stall"))]
    faults += [("openai", "not-json"), ("openai", "error-at-once")]
    faults += [(provider, "filtered-late") for provider in behind]
    refusing = Refusing(vendors, f"user-{run}", "", run)
    providers: list[dict[str, Any]] = [
        {"name": f"{name}-{run}", "dialect": dialect, "base_url": vendor.base_url, "has_responses": name == "openai",
         "api_key_env": "BEDROCK_KEY" if name == "bedrock" else "VENDOR_KEY"}
        for name, (dialect, vendor) in behind.items()
    ]  # fmt: skip
    models = [
        {"name": refusing.model(provider, fault), "provider": f"{provider}-{run}", "upstream_name": f"fault-{fault}",
         "capabilities": CAN, "prices": [{"input": "900", "output": "900"}]}
        for provider, fault in faults
    ]  # fmt: skip
    own = {f"{provider}-{fault}": refusing.model(provider, fault) for provider, fault in faults}
    routes = [
        {"name": refusing.route(provider, fault, kind), "models": [refusing.model(provider, fault)],
         "fallback": [own.get(each, each) for each in fallback if each != f"{provider}-{fault}"],
         "options": {"falls_back_on_refusal": falls_back}}
        for provider, fault in faults
        for kind, (falls_back, fallback) in KINDS.items()
    ]  # fmt: skip
    models += [
        {"name": refusing.model("openai", said), "provider": f"openai-{run}", "upstream_name": upstream,
         "capabilities": CAN, "prices": [{"input": "2", "output": "2"}]}
        for said, upstream in (("workhorse", "gpt"), ("reviewer", "reviewer-0.1"))
    ]  # fmt: skip
    for judge, judges in JUDGES.items():
        judging = [own[each] for each in judges]
        options = {"workhorses": [refusing.model("openai", "workhorse")], "judges": judging, "confidence_threshold": 0.0,
                   "reviewers": [refusing.model("openai", "reviewer")], "escalate_below": 0.5}  # fmt: skip
        routes += [
            {"name": refusing.route("judged", judge, kind), "models": [*options["workhorses"], *judging],
             "strategy": "judgment-based", "options": {**options, "falls_back_on_refusal": kind == "on"}}
            for kind in ("on", "off")
        ]  # fmt: skip
    served.enter_catalog(providers=providers, models=models, routes=routes)
    yield replace(refusing, budget=served.define_budget(refusing.user, "10000"))


class Books:
    """What one test has spent, of the user whom all of them share."""

    def __init__(self, refusing: Refusing) -> None:
        self._refusing, self._served = refusing, refusing.vendors.served
        self._spans = len(self._served.spans(refusing.user))
        self._ledger = self._served.ledger(refusing.budget)

    def spans(self, count: int | None = None) -> list[dict[str, Any]]:
        """Its spans, once there are so many."""
        if count is not None:
            self._served.wait_for_spans(self._refusing.user, self._spans + count)
        return self._served.spans(self._refusing.user)[self._spans :]

    def check(self, *attempts: tuple[str, str, int]) -> None:
        """That these attempts were booked, each at its cost, under one trace, and that nothing is held any more."""
        spans = self.spans()
        assert [(span["model"], span["status"], span["cost_nano_usd"]) for span in spans] == list(attempts)
        assert len({span["trace_id"] for span in spans}) == 1
        assert self._served.ledger(self._refusing.budget) - self._ledger == sum(cost for _, _, cost in attempts)
        assert self._served.held(self._refusing.user) == "0.00"


@pytest.fixture
def books(refusing: Refusing) -> Books:
    return Books(refusing)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("client", "provider", "fault"), CASES)
def test_another_model_answers_in_place_of_one_that_refuses_where_the_route_says_so(
    refusing: Refusing, books: Books, client: str, provider: str, fault: str, is_stream: bool
) -> None:
    told = refusing.ask(client, refusing.route(provider, fault, "on"), is_stream=is_stream)
    assert told == ("good day", WHOLE[client])
    refused = refusing.model(provider, fault)
    books.check((refused, "ok", REFUSED_NANO_USD), ("compatible", "ok", CALL_NANO_USD))
    first, second = books.spans()
    # The hold of each is its own model's price: 50 tokens of output at 900 USD and at 10 USD per million.
    assert first["reserved_nano_usd"] > 50 * 900_000 > 2 * second["reserved_nano_usd"] > 50 * 10_000
    assert metadata_of(second)["attempt"] == 2


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("client", "provider", "fault"), CASES)
def test_without_the_option_the_refusal_is_the_answer(
    refusing: Refusing, books: Books, client: str, provider: str, fault: str, is_stream: bool
) -> None:
    told = refusing.ask(client, refusing.route(provider, fault, "off"), is_stream=is_stream)
    refused = {
        "chat": "content_filter",
        "responses": "refusal" if (provider, fault) == ("openai", "blocked") else "content_filter",
        "messages": "refusal",
        "generate": "OTHER" if (provider, fault) == ("google", "blocked") else "SAFETY",
    }
    assert told == ("", refused[client])
    books.check((refusing.model(provider, fault), "ok", REFUSED_NANO_USD))


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("client", "provider"),
    [
        ("chat", "openai"),
        ("chat", "bedrock"),
        ("responses", "openai"),
        ("messages", "anthropic"),
        ("generate", "google"),
    ],
)
def test_an_answer_that_refuses_after_words_stays(
    refusing: Refusing, books: Books, client: str, provider: str, is_stream: bool
) -> None:
    told = refusing.ask(client, refusing.route(provider, "filtered-late", "on"), is_stream=is_stream)
    endings = {"chat": "content_filter", "responses": "content_filter", "messages": "refusal", "generate": "SAFETY"}
    assert told == ("good day", endings[client])
    books.check((refusing.model(provider, "filtered-late"), "ok", REFUSED_NANO_USD))


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("kind", ["alone", "down", "unusable"])
def test_where_no_other_model_answers_the_refusal_does(
    refusing: Refusing, books: Books, kind: str, client: str, is_stream: bool
) -> None:
    provider = {"chat": "bedrock", "responses": "openai", "messages": "anthropic", "generate": "google"}[client]
    told = refusing.ask(client, refusing.route(provider, "blocked", kind), is_stream=is_stream)
    endings = {"chat": "content_filter", "responses": "refusal", "messages": "refusal", "generate": "OTHER"}
    assert told == ("", endings[client])
    failed = [(refusing.model("openai", "500"), "error", 0)] if kind == "down" else []
    books.check((refusing.model(provider, "blocked"), "ok", REFUSED_NANO_USD), *failed)


# The last model says 200, and then has no answer: as a whole it is no JSON, as a stream an error.
@pytest.mark.parametrize(("kind", "is_stream"), [("broken", False), ("erring", True)])
@pytest.mark.parametrize("client", list(CLIENTS))
def test_where_the_last_model_begins_an_answer_that_is_none_the_refusal_goes_out(
    refusing: Refusing, client: str, kind: str, is_stream: bool
) -> None:
    provider = {"chat": "bedrock", "responses": "openai", "messages": "anthropic", "generate": "google"}[client]
    told = refusing.ask(client, refusing.route(provider, "blocked", kind), is_stream=is_stream)
    endings = {"chat": "content_filter", "responses": "refusal", "messages": "refusal", "generate": "OTHER"}
    assert told == ("", endings[client])


@pytest.mark.parametrize(("kind", "is_stream"), [("later", False), ("erring", True)])
def test_what_is_left_is_told_with_what_came_after_the_refusal_taken_off(
    refusing: Refusing, books: Books, kind: str, is_stream: bool
) -> None:
    served, route = refusing.vendors.served, refusing.route("bedrock", "blocked", kind)
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}
    answered = served.ask(ASKED, model=route, user=refusing.user, max_tokens=50, **options)
    first, second, *_ = books.spans()
    assert (first["cost_nano_usd"], second["status"], second["is_estimated"]) == (REFUSED_NANO_USD, "error", True)
    assert second["cost_nano_usd"] > 0
    cost = format_usd(REFUSED_NANO_USD + second["cost_nano_usd"])
    left = format_usd(10_000 * 10**9 - served.ledger(refusing.budget))
    assert answered.headers["x-spendhub-remaining"] == answered.headers["x-budget-remaining"] == left
    assert answered.headers["x-spendhub-cost"] == cost
    if is_stream:
        (money,) = [event["spendhub"] for event in events_of(answered.text)[:-1] if "spendhub" in event]
        assert (money["cost"], money["remaining"], money["estimated"]) == (cost, left, True)


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_last_one_that_refuses_is_the_answer(refusing: Refusing, books: Books, is_stream: bool) -> None:
    told = refusing.ask("generate", refusing.route("bedrock", "filtered", "twice"), is_stream=is_stream)
    assert told == ("", "OTHER")
    refused = [("bedrock", "filtered"), ("openai", "blocked"), ("google", "blocked")]
    books.check(*((refusing.model(*each), "ok", REFUSED_NANO_USD) for each in refused))


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("kind", ["on", "down"])
def test_the_cost_that_is_told_is_that_of_both(refusing: Refusing, books: Books, kind: str, is_stream: bool) -> None:
    route = refusing.route("google", "filtered", kind)
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}
    answered = refusing.vendors.served.ask(ASKED, model=route, user=refusing.user, max_tokens=50, **options)
    cost = sum(span["cost_nano_usd"] for span in books.spans())
    assert cost == REFUSED_NANO_USD + (CALL_NANO_USD if kind == "on" else 0)
    answering = "compatible" if kind == "on" else refusing.model("google", "filtered")
    assert answered.headers["x-spendhub-model"] == answering
    if is_stream:
        (money,) = [event["spendhub"] for event in events_of(answered.text)[:-1] if "spendhub" in event]
        # Both vendors have counted: nothing of it is estimated.
        assert (money["cost"], money["model"], "estimated" in money) == (format_usd(cost), answering, False)
    else:
        assert answered.headers["x-spendhub-cost"] == format_usd(cost)


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_a_key_keeps_is_the_final_answer(refusing: Refusing, books: Books, is_stream: bool) -> None:
    served = refusing.vendors.served
    asked: dict[str, Any] = {"model": refusing.route("openai", "blocked", "on"), "user": refusing.user}
    headers = {"idempotency-key": uuid.uuid4().hex}
    first, second = (served.ask(ASKED, headers=headers, max_tokens=50, stream=is_stream, **asked) for _ in range(2))
    assert second.headers["x-spendhub-replayed"] == "true" and second.content == first.content
    assert second.headers["x-spendhub-model"] == "compatible" and "cannot" not in second.text
    books.check((refusing.model("openai", "blocked"), "ok", REFUSED_NANO_USD), ("compatible", "ok", CALL_NANO_USD))


def test_a_refusal_that_went_out_because_nobody_answered_is_not_kept_for_the_next_one_who_asks(
    refusing: Refusing, books: Books
) -> None:
    """OpenAI's Responses call it `completed`, as any other answer."""
    responses = refusing.vendors.openai_sdk().responses.with_raw_response
    route = refusing.route("openai", "blocked", "down")
    asked: Any = {"model": route, "user": refusing.user, "max_output_tokens": 50, "input": ASKED}
    told = [responses.create(**asked, extra_headers={"x-spendhub-cache": "60"}) for _ in range(2)]
    assert ["x-spendhub-cache" in each.headers for each in told] == [False, False]
    refused = refusing.model("openai", "blocked")
    assert [span["model"] for span in books.spans()] == [refused, refusing.model("openai", "500")] * 2


@pytest.mark.parametrize("judge", list(JUDGES))
def test_with_the_option_a_judge_that_refuses_does_not_take_the_place_of_an_answer(
    refusing: Refusing, books: Books, judge: str
) -> None:
    route = refusing.route("judged", judge, "on")
    answered = refusing.vendors.served.ask(ASKED, model=route, user=refusing.user, max_tokens=50)
    (choice,) = answered.json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("good day", "stop")
    told = ("model", "escalated", "not-escalated", "cost")
    spans = books.spans()
    cost = format_usd(sum(span["cost_nano_usd"] for span in spans))
    workhorse = refusing.model("openai", "workhorse")
    assert [answered.headers[f"x-spendhub-{name}"] for name in told] == [workhorse, "false", "refused", cost]
    asked = {refusing.model(*each.split("-", 1)) for each in JUDGES[judge]}
    before, judged = [span["model"] for span in spans[:2]], [span["model"] for span in spans[2:]]
    assert before == [workhorse, refusing.model("openai", "reviewer")]
    # Who of them is asked first depends on what this server's calls have shown of their quality by then.
    assert (set(judged), len(judged)) == (asked, len(asked))


def test_without_the_option_a_judge_s_refusal_is_the_answer(refusing: Refusing) -> None:
    route = refusing.route("judged", "one", "off")
    answered = refusing.vendors.served.ask(ASKED, model=route, user=refusing.user, max_tokens=50)
    assert answered.json()["choices"][0]["finish_reason"] == "content_filter"
    assert answered.headers["x-spendhub-escalated"] == "true"


def error_of(refusing: Refusing, route: str, is_stream: bool) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as refused:
        refusing.ask("chat", route, is_stream=is_stream)
    return refused.value


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_request_that_is_refused_for_its_content_is_asked_elsewhere_only_with_the_option(
    refusing: Refusing, books: Books, is_stream: bool
) -> None:
    refused = (refusing.model("openai", "content-400"), "error", 0)
    assert refusing.ask("chat", refusing.route("openai", "content-400", "on"), is_stream=is_stream).words == "good day"
    books.check(refused, ("compatible", "ok", CALL_NANO_USD))
    without = Books(refusing)
    assert error_of(refusing, refusing.route("openai", "content-400", "off"), is_stream).code == "content_filter"
    without.check(refused)


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_error_about_a_field_that_has_to_do_with_safety_is_no_refusal(
    refusing: Refusing, books: Books, is_stream: bool
) -> None:
    error = error_of(refusing, refusing.route("openai", "safety-400", "on"), is_stream)
    assert (error.code, error.param) == ("string_above_max_length", "safety_identifier")
    books.check((refusing.model("openai", "safety-400"), "error", 0))


@pytest.mark.parametrize("kind", ["on", "off"])
def test_a_client_that_leaves_before_the_first_word_is_noticed(refusing: Refusing, books: Books, kind: str) -> None:
    """With the option the stream's first event is kept back, as it has no words; then the vendor falls silent."""
    asked = {"model": refusing.route("openai", "stall", kind), "user": refusing.user, "stream": True, "max_tokens": 50}
    asked["messages"] = [{"role": "user", "content": "[in:100] [say:]"}]
    calls = refusing.vendors.openai.served.calls
    with refusing.vendors.served.client_that_leaves("/v1/chat/completions", asked):
        wait_until(lambda: refusing.vendors.openai.served.calls > calls, 10, "the vendor to be asked")
    (span,) = books.spans(1)
    assert (span["model"], span["status"]) == (refusing.model("openai", "stall"), "aborted")
    assert refusing.vendors.served.held(refusing.user) == "0.00"


def test_only_with_the_option_a_stream_waits_for_its_first_word(refusing: Refusing, user: str) -> None:
    def first_bytes(kind: str, seconds: float) -> bytes:
        asked: dict[str, Any] = {"model": refusing.route("openai", "stall", kind), "user": user, "stream": True}
        asked["messages"] = [{"role": "user", "content": "[say:]"}]
        url, key = f"{refusing.vendors.served.url}/chat/completions", refusing.vendors.served.key
        headers = {"authorization": f"Bearer {key}"}
        with httpx.stream("POST", url, json=asked, headers=headers, timeout=seconds) as answered:
            return next(answered.iter_bytes())

    assert b'"role":"assistant"' in first_bytes("off", 30)
    with pytest.raises(httpx.ReadTimeout):
        first_bytes("on", 3)

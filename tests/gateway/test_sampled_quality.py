"""A share of a route's answers is scored by another model once they have gone out: nobody waits for it, and it is a call
like any other."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from routing.reviewing import MAX_REVIEW_TOKENS
from spendhub.gateway.sampling import MAX_SCORING_SECONDS
from tests.gateway.conftest import running_spendhub
from tests.gateway.served import Served, events_of, metadata_of
from tests.gateway.test_fallback import define_route
from tests.gateway.test_reviews import CALL, CALL_NANO_USD, REVIEW_NANO_USD, calls, feedback, reviewed_route, told, usd
from tests.servers import wait_until

pytestmark = pytest.mark.slow

SAID = f"{CALL} [say:hello]"
SCORED = ("vendor-chat", 4.0, "a sample: reviewer-0.8 0.80 says the fake")
ONE_CALL = [("vendor-chat", "ok", CALL_NANO_USD)]
BOTH_CALLS = [*ONE_CALL, ("reviewer-0.8", "ok", REVIEW_NANO_USD)]


def sampled_route(served: Served, scorer: str = "reviewer-0.8", share: float = 1, **facts: Any) -> str:
    """A pinned route of one model, unless said otherwise, whose answers are scored; its name."""
    return define_route(
        served, facts.pop("models", ["vendor-chat"]), options={"scored_by": scorer, "scored_share": share}, **facts
    )


def ask(served: Served, route: str, user: str, text: str = SAID, **body: Any) -> httpx.Response:
    headers = {"x-spendhub-feature": user} | body.pop("headers", {})
    return served.ask(text, model=route, user=user, headers=headers, max_tokens=body.pop("max_tokens", 20), **body)


def wait_for_score(served: Served, feature: str) -> list[tuple[str, float, str]]:
    wait_until(lambda: bool(feedback(served, feature)), 20, "the score to be kept")
    return feedback(served, feature)


def answer_shown(served: Served, question: str) -> str:
    """The answer that a scorer was shown last for a question."""
    asked = (each["body"] for each in reversed(list(served.vendor.served.requests)))
    shown = (json.loads(body["messages"][-1]["content"]) for body in asked if body["model"] == "reviewer-0.8")
    return next(str(each["answer"]) for each in shown if each["question"] == question)


def hanging(served: Served, text: str) -> int:
    """How many scores of answers to such a question were asked of the scorer that never answers."""
    asked = [each["body"] for each in list(served.vendor.served.requests)]
    return sum(body["model"] == "reviewer-fault-hang" and text in str(body) for body in asked)


def was_asked(served: Served, **facts: str) -> bool:
    """Whether the vendor was sent a request that says this."""
    return any(facts.items() <= each["body"].items() for each in list(served.vendor.served.requests))


def nothing_is_scored(
    served: Served, user: str, expected: list[tuple[str, str, int]], another_route: str | None = None
) -> None:
    """Nothing but what is expected was booked for the user, once a later answer to somebody else has been scored."""
    other = f"{user}-other"
    ask(served, another_route or sampled_route(served), other)
    wait_for_score(served, other)
    assert feedback(served, user) == []
    assert calls(served, user) == expected


@pytest.mark.parametrize("strategy", ["pinned", "cost-optimized"])
def test_an_answer_is_scored_after_it_has_gone_out_and_the_score_is_kept_per_model_beside_its_cost(
    served: Served, user: str, strategy: str
) -> None:
    route = sampled_route(served, strategy=strategy)
    budget = served.define_budget(user, "10")
    answered = ask(served, route, user, headers={"x-spendhub-task": "greeting"})
    assert answered.json()["choices"][0]["message"]["content"] == "hello"
    # Of the score nobody knows yet, and the client did not wait for it.
    assert told(answered) == (None, None, None, None)
    assert float(answered.headers["x-spendhub-cost"]) == usd(CALL_NANO_USD)
    assert wait_for_score(served, user) == [SCORED]
    assert calls(served, user) == BOTH_CALLS
    first, score = served.spans(user)
    assert (score["trace_id"], score["feature"], score["task"]) == (first["trace_id"], user, "greeting")
    why = metadata_of(score)
    assert (why["review_of"], why["is_sample"], why["route"]) == (first["request_id"], True, route)
    assert why["reason"] == "it scores an answer of vendor-chat, as a sample"
    assert "is_sample" not in metadata_of(first)
    assert answer_shown(served, SAID) == "hello"
    assert (served.ledger(budget), served.held(user)) == (CALL_NANO_USD + REVIEW_NANO_USD, "0.00")
    [by_model] = served.native("GET", "quality", params={"group_by": "model", "feature": user})["groups"]
    assert (by_model["key"], by_model["scores"]["overall"], by_model["cost_per_call"]) == ("vendor-chat", 4.0, "0.0004")
    [by_task] = served.native("GET", "quality", params={"group_by": "task", "feature": user})["groups"]
    assert (by_task["key"], by_task["scores"]["overall"]) == ("greeting", 4.0)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": SAID}], "max_tokens": 20}),
        ("responses", {"input": SAID, "max_output_tokens": 20}),
        ("messages", {"messages": [{"role": "user", "content": SAID}], "max_tokens": 20}),
        ("google", {"contents": [{"role": "user", "parts": [{"text": SAID}]}], "generationConfig": {"maxOutputTokens": 20}}),
    ],
)  # fmt: skip
def test_answers_and_streams_in_every_dialect_are_scored_by_what_their_client_was_sent(
    served: Served, user: str, path: str, body: dict[str, Any], is_stream: bool
) -> None:
    route = sampled_route(served)
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-user": user, "x-spendhub-feature": user}
    url, asked = f"{served.url}/{path}", {"model": route, "stream": is_stream, **body}
    if path == "google":
        method = "streamGenerateContent?alt=sse" if is_stream else "generateContent"
        url, asked = f"{served.server.url}/v1beta/models/{route}:{method}", body
    answered = httpx.post(url, headers=headers, json=asked, timeout=30)
    assert answered.status_code == 200, answered.text
    assert wait_for_score(served, user) == [SCORED]
    assert calls(served, user) == BOTH_CALLS
    assert answer_shown(served, SAID) == "hello"


def test_googles_arrays_are_scored_too(served: Served, user: str) -> None:
    route = sampled_route(served)
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-user": user, "x-spendhub-feature": user}
    body = {"contents": [{"role": "user", "parts": [{"text": SAID}]}]}
    url = f"{served.server.url}/v1beta/models/{route}:streamGenerateContent"
    assert httpx.post(url, headers=headers, json=body, timeout=30).status_code == 200
    assert wait_for_score(served, user) == [SCORED]


def test_what_the_recipes_router_answers_is_scored_too(served: Served, user: str) -> None:
    route = sampled_route(served, match={"user": user, "model": "auto"})
    body = {"prompt": SAID, "maxTokens": 20, "budgetId": user, "metadata": {"user": user}}
    answered = httpx.post(
        f"{served.server.url}/api/router", headers={"authorization": f"Bearer {served.key}"}, json=body, timeout=30
    )
    assert (answered.status_code, answered.json()["content"]) == (200, "hello")
    assert metadata_of(served.spans(user)[0])["route"] == route
    assert wait_for_score(served, user) == [SCORED]
    assert calls(served, user) == BOTH_CALLS


def test_a_call_of_a_tool_is_shown_to_the_scorer_from_a_stream_as_well(served: Served, user: str) -> None:
    route = sampled_route(served)
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    answered = ask(served, route, user, CALL, stream=True, tools=[tool])
    assert events_of(answered.text)[-1] == "[DONE]"
    wait_for_score(served, user)
    assert answer_shown(served, CALL) == '[asks for the tool weather with {"city": "Köln"}]'


def test_a_share_of_nothing_scores_nothing(served: Served, user: str) -> None:
    assert ask(served, sampled_route(served, share=0), user).status_code == 200
    nothing_is_scored(served, user, ONE_CALL)


def test_a_budget_without_room_for_the_score_leaves_the_answer_as_it_is(served: Served, user: str) -> None:
    route = sampled_route(served)
    budget = served.define_budget(user, "0.05", patience_seconds=30)
    answered = ask(served, route, user)
    assert (answered.status_code, answered.json()["choices"][0]["message"]["content"]) == (200, "hello")
    nothing_is_scored(served, user, ONE_CALL)
    assert (served.ledger(budget), served.held(user)) == (CALL_NANO_USD, "0.00")


@pytest.mark.parametrize(
    ("scorer", "booked"),
    [
        ("reviewer-fault-500", [("reviewer-fault-500", "error", 0)]),
        ("reviewer-prose", [("reviewer-prose", "ok", REVIEW_NANO_USD)]),
        ("unplugged", []),
    ],
)
def test_a_scorer_that_fails_or_gives_no_score_is_not_missed(
    served: Served, user: str, scorer: str, booked: list[tuple[str, str, int]]
) -> None:
    route = sampled_route(served, scorer)
    budget = served.define_budget(user, "10")
    assert ask(served, route, user).status_code == 200
    served.wait_for_spans(user, 1 + len(booked))
    nothing_is_scored(served, user, [*ONE_CALL, *booked])
    assert served.held(user) == "0.00"
    assert served.ledger(budget) == sum(cost for _, _, cost in [*ONE_CALL, *booked])


def test_a_scorer_that_never_answers_keeps_nobody_waiting(served: Served, user: str) -> None:
    route = sampled_route(served, "reviewer-fault-hang")
    for is_stream in (False, True):
        began = time.monotonic()
        assert ask(served, route, user, stream=is_stream).status_code == 200
        assert time.monotonic() - began < MAX_SCORING_SECONDS / 2
    assert calls(served, user) == [*ONE_CALL, *ONE_CALL]


def test_an_answer_that_reviewers_have_scored_is_not_scored_twice(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.9", scored_by="reviewer-0.8", scored_share=1)
    answered = ask(served, route, user)
    assert told(answered) == ("0.9", "false", "1 of 1", None)
    # A stream, which no reviewer has seen, is.
    ask(served, route, f"{user}-streams", stream=True)
    assert wait_for_score(served, f"{user}-streams") == [SCORED]
    assert feedback(served, user) == [("vendor-chat", 4.5, "mean of 1: reviewer-0.9 0.90 says the fake")]
    assert calls(served, user) == [*ONE_CALL, ("reviewer-0.9", "ok", REVIEW_NANO_USD)]


def test_an_answer_from_memory_is_not_scored(served: Served, user: str) -> None:
    route, headers = sampled_route(served), {"x-spendhub-cache": "60", "x-spendhub-feature": f"{user}-kept"}
    ask(served, route, f"{user}-first", headers=headers)
    wait_for_score(served, f"{user}-kept")
    assert ask(served, route, user, headers=headers).headers["x-spendhub-cache"] == "hit"
    nothing_is_scored(served, user, [("vendor-chat", "ok", 0)])


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("fault", "status"), [("500", "error"), ("blocked", "ok")])
def test_what_failed_or_refused_is_not_scored(
    served: Served, user: str, fault: str, status: str, is_stream: bool
) -> None:
    ask(served, sampled_route(served), user, f"[fault:{fault}] {CALL}", stream=is_stream)
    nothing_is_scored(served, user, [("vendor-chat", status, 0 if status == "error" else CALL_NANO_USD)])


def test_a_stream_that_broke_off_is_not_scored(served: Served, user: str) -> None:
    answered = ask(served, sampled_route(served), user, f"[fault:error] {CALL}", stream=True)
    assert answered.status_code == 200
    span = served.the_span(user)
    assert span["status"] == "error"
    nothing_is_scored(served, user, [("vendor-chat", "error", span["cost_nano_usd"])])


def test_a_stream_that_its_client_left_is_not_scored(served: Served, user: str) -> None:
    words = [{"role": "user", "content": f"[fault:slow-stream] {CALL}"}]
    body = {"model": sampled_route(served), "user": user, "stream": True, "max_tokens": 200, "messages": words}
    with served.client_that_leaves("/v1/chat/completions", body, **{"x-spendhub-feature": user}) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    span = served.wait_for_spans(user, 1)[0]
    assert span["status"] == "aborted"
    nothing_is_scored(served, user, [("vendor-chat", "aborted", span["cost_nano_usd"])])


def test_a_model_does_not_score_its_own_answer(served: Served, user: str) -> None:
    assert ask(served, sampled_route(served, "vendor-chat"), user).status_code == 200
    nothing_is_scored(served, user, ONE_CALL)


@pytest.mark.parametrize("cheaper", ["vendor-chat", "reviewer-0.9"])
def test_no_budgets_policy_puts_another_model_in_the_scorers_place(served: Served, user: str, cheaper: str) -> None:
    route = sampled_route(served)
    served.define_budget(user, "10", soft_cap="0", downgrade_rules=[{"from": ["reviewer-0.8"], "to": cheaper}])
    assert ask(served, route, user).headers["x-spendhub-model"] == "vendor-chat"
    assert wait_for_score(served, user) == [SCORED]
    assert calls(served, user) == BOTH_CALLS


def test_a_judge_who_was_quicker_keeps_the_word(served: Served, user: str) -> None:
    route, headers = sampled_route(served), {"authorization": f"Bearer {served.key}"}
    served.vendor.delay_seconds = 1.5  # of the answer, and then of the score
    try:
        told = {"source": "judge", "scores": {"overall": 1}, "comment": "my own judge"}
        told["request_id"] = ask(served, route, user).headers["x-spendhub-request-id"]
        kept = httpx.post(f"{served.server.url}/api/v1/feedback", headers=headers, json=told, timeout=30)
        assert kept.status_code == 201
    finally:
        served.vendor.delay_seconds = 0.0
    served.wait_for_spans(user, 2)
    other = f"{user}-other"
    ask(served, route, other)
    assert wait_for_score(served, other) == [SCORED]
    assert calls(served, user) == BOTH_CALLS
    assert feedback(served, user) == [("vendor-chat", 1.0, "my own judge")]


def test_a_scorer_that_the_caller_denies_is_not_shown_the_call(served: Served, user: str) -> None:
    assert ask(served, sampled_route(served), user, headers={"x-spendhub-deny": "reviewer-0.8"}).status_code == 200
    nothing_is_scored(served, user, ONE_CALL)


def test_nobody_is_asked_for_a_score_while_a_brake_pauses_the_caller(served: Served, user: str) -> None:
    route = sampled_route(served)
    loops = {"name": f"loops of {user}", "action": "pause", "repeats": 1, "within_seconds": 300, "scope_type": "user"}
    brake = served.native("POST", "brakes", json=loops)

    def is_paused() -> bool:
        return served.ask("the same again", user=user, max_tokens=1).status_code == 429

    try:
        with ThreadPoolExecutor(1) as pool:
            with served.vendor.holding_back():
                asked = pool.submit(ask, served, route, user, f"{SAID} [fault:held]")
                wait_until(lambda: was_asked(served, user=user), 10, "the vendor to be asked")
                wait_until(is_paused, 20, "the brake to pause the user")
            assert asked.result().status_code == 200
        nothing_is_scored(served, user, calls(served, user), route)
        assert {span["model"] for span in served.spans(user)} == {"vendor-chat"}
    finally:
        served.native("DELETE", f"brakes/{brake['id']}")


def test_a_route_with_a_scorer_nobody_knows_or_an_impossible_share_is_refused(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.key}"}

    def refusal(**options: Any) -> str:
        wanted = {"name": "r", "strategy": "cost-optimized", "options": options}
        answered = httpx.post(f"{served.server.url}/api/v1/routes", headers=headers, json=wanted, timeout=30)
        assert answered.status_code == 400
        return answered.text

    assert "no catalog model has the name 'reviewer-unheard-of'" in refusal(scored_by="reviewer-unheard-of")
    assert "scored_share must be a number from 0 to 1, not '1.5'" in refusal(scored_by="reviewer-0.8", scored_share=1.5)


def test_a_server_that_is_told_to_stop_loses_no_score_that_is_under_way(user: str) -> None:
    with running_spendhub(valkey_number=5) as served:
        route = sampled_route(served, "reviewer-fault-hang")
        budget = served.define_budget(user, "10")
        assert ask(served, route, user).status_code == 200
        wait_until(lambda: float(served.held(user)) * 10**9 > MAX_REVIEW_TOKENS * 1_000_000, 10, "the score to be held")
        held_nano_usd = round(float(served.held(user)) * 10**9)
        # Held is not asked yet: what was never sent is given back.
        wait_until(lambda: hanging(served, CALL) == 1, 10, "the scorer to be asked")
        served.server.stop()
        # The vendor may bill what it was asked for, whoever hung up.
        assert calls(served, user) == [
            *ONE_CALL, ("reviewer-fault-hang", "interrupted", held_nano_usd),
        ]  # fmt: skip
        assert served.ledger(budget) == CALL_NANO_USD + held_nano_usd
        served.server.start_without_migrating(60)
        assert served.held(user) == "0.00"

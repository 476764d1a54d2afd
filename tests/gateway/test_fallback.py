"""Several candidates for one call: each attempt is held and booked on its own, and the client sees one answer."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.gateway.served import (
    INPUT_NANO_USD,
    OUTPUT_NANO_USD,
    Served,
    events_of,
    metadata_of,
    pause_for_snapshots,
)
from tests.servers import wait_until

pytestmark = pytest.mark.slow

CALL = "[in:100] [out:20]"
CALL_NANO_USD = 100 * INPUT_NANO_USD + 20 * OUTPUT_NANO_USD
# What CALL is thought to cost where nothing came back: 10 words and signs, 4 for its message and 3 for the request, at the
# 900 USD per million of the models that fail.
BROKEN_NANO_USD = (10 + 4 + 3) * 900_000


def define_route(served: Served, models: list[str], fallback: list[str] = (), **facts: Any) -> str:  # type: ignore[assignment]  # an empty default
    """A route of this test's own, in force when this returns; its name."""
    name = f"route-{uuid.uuid4().hex[:12]}"
    wanted = {"name": name, "models": models, "fallback": list(fallback), "strategy": "pinned", **facts}
    served.native("POST", "routes", json=wanted)

    def is_in_force() -> bool:
        return served.ask(model=name, user="nobody-in-particular", max_tokens=1).status_code != 404

    wait_until(is_in_force, 5, "the route to be in force")
    return name


def attempts(served: Served, user: str) -> list[tuple[str, str, int]]:
    return [(span["model"], span["status"], span["cost_nano_usd"]) for span in served.spans(user)]


def test_a_vendor_that_fails_gives_way_to_the_fallback_and_the_client_sees_one_answer(
    served: Served, user: str
) -> None:
    route = define_route(served, ["fault-500"], ["vendor-chat"])
    budget = served.define_budget(user, "10")
    answered = served.ask(CALL, model=route, user=user)
    assert answered.status_code == 200
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    assert attempts(served, user) == [("fault-500", "error", 0), ("vendor-chat", "ok", CALL_NANO_USD)]
    assert len({span["trace_id"] for span in served.spans(user)}) == 1
    assert served.ledger(budget) == CALL_NANO_USD
    assert served.held(user) == "0.00"


def test_a_stream_falls_back_before_its_first_event(served: Served, user: str) -> None:
    route = define_route(served, ["fault-429"], ["vendor-chat"])
    answered = served.ask(CALL, model=route, user=user, stream=True)
    assert answered.status_code == 200, answered.text
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    assert answered.text.endswith("data: [DONE]\n\n")
    assert [model for model, _, _ in attempts(served, user)] == ["fault-429", "vendor-chat"]


@pytest.mark.parametrize(
    ("fault", "is_stream"),
    [("error-at-once", True), ("broken-body", False), ("not-json", False), ("html", False), ("error-in-200", False)],
)
def test_a_vendor_that_says_200_and_then_has_no_answer_gives_way_too(
    served: Served, user: str, fault: str, is_stream: bool
) -> None:
    route = define_route(served, [f"fault-{fault}"], ["vendor-chat"], options={"retries": 5})
    budget = served.define_budget(user, "10")
    calls = served.vendor.served.calls
    answered = served.ask(CALL, model=route, user=user, stream=is_stream, max_tokens=50)
    assert answered.status_code == 200, answered.text
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    assert '"error"' not in answered.text and "Grüße" in answered.text
    # It may have done the work, so the same model is not asked again; what it is thought to cost is booked.
    assert served.vendor.served.calls == calls + 2
    first, second = served.spans(user)
    assert (first["model"], first["status"], first["error_code"]) == (f"fault-{fault}", "error", "upstream_failed")
    assert (second["model"], second["status"], second["cost_nano_usd"]) == ("vendor-chat", "ok", CALL_NANO_USD)
    assert served.ledger(budget) == first["cost_nano_usd"] + second["cost_nano_usd"]
    assert served.held(user) == "0.00"


@pytest.fixture(scope="module")
def impatient(served: Served) -> str:
    """A route by a model that never answers, at a provider that is waited for 1 s; its name."""
    name = f"impatient-{uuid.uuid4().hex}"
    vendor = {"name": name, "dialect": "openai", "base_url": served.vendor.base_url, "api_key_env": "VENDOR_KEY"}
    model = {"name": name, "provider": name, "upstream_name": "fault-hang", "capabilities": ["streaming"]}
    served.enter_catalog(
        providers=[{**vendor, "timeout_seconds": 1}],
        models=[{**model, "prices": [{"input": "900", "output": "900"}]}],
        routes=[{"name": f"by-{name}", "models": [name], "fallback": ["vendor-chat"]}],
    )
    return f"by-{name}"


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_vendor_that_does_not_answer_in_time_gives_way_and_is_not_asked_again(
    served: Served, user: str, impatient: str, is_stream: bool
) -> None:
    budget = served.define_budget(user, "10")
    answered = served.ask(CALL, model=impatient, user=user, stream=is_stream, max_tokens=50)
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-chat")
    assert "Grüße" in answered.text and '"error"' not in answered.text
    first, second = served.wait_for_spans(user, 2)
    assert (first["status"], first["error_code"], first["cost_nano_usd"]) == ("error", "upstream_timeout", 0)
    assert (second["model"], second["status"], second["cost_nano_usd"]) == ("vendor-chat", "ok", CALL_NANO_USD)
    assert first["trace_id"] == second["trace_id"]
    assert (served.ledger(budget), served.held(user)) == (CALL_NANO_USD, "0.00")


def test_the_cost_that_is_told_counts_the_attempts_that_broke_off(served: Served, user: str) -> None:
    route = define_route(served, ["fault-not-json"], ["fault-html", "fault-500", "vendor-chat"])
    budget = served.define_budget(user, "10")
    answered = served.ask(CALL, model=route, user=user, max_tokens=50)
    assert attempts(served, user) == [
        ("fault-not-json", "error", BROKEN_NANO_USD),
        ("fault-html", "error", BROKEN_NANO_USD),
        ("fault-500", "error", 0),
        ("vendor-chat", "ok", CALL_NANO_USD),
    ]
    # 2 x 0.0153 and 0.0004 of 10 USD; the last attempt's budgets knew of the first two already.
    assert (answered.headers["x-spendhub-cost"], answered.headers["x-spendhub-remaining"]) == ("0.031", "9.969")
    assert (answered.headers["x-budget-spent"], answered.headers["x-budget-remaining"]) == ("0.031", "9.969")
    assert served.ledger(budget) == 2 * BROKEN_NANO_USD + CALL_NANO_USD == 31_000_000


def test_a_streams_last_event_and_its_repeat_count_the_attempt_that_broke_off(served: Served, user: str) -> None:
    route = define_route(served, ["fault-error-at-once"], ["vendor-chat"])
    budget = served.define_budget(user, "10")

    def ask() -> httpx.Response:
        return served.ask(
            CALL, model=route, user=user, max_tokens=50, stream=True, stream_options={"include_usage": True},
            headers={"idempotency-key": f"stream-of-{user}"},
        )  # fmt: skip

    answered = ask()
    assert "x-spendhub-cost" not in answered.headers
    *_, usage, done = events_of(answered.text)
    assert done == "[DONE]"
    # The vendor has told the usage of the answer; what the broken attempt costs is our count.
    assert usage["spendhub"] == {
        "cost": "0.0157", "model": "vendor-chat", "remaining": "9.9843", "decision": "allow", "estimated": True,
    }  # fmt: skip
    assert served.ledger(budget) == BROKEN_NANO_USD + CALL_NANO_USD == 15_700_000
    again = ask()
    assert (again.headers["x-spendhub-replayed"], again.headers["x-spendhub-cost"]) == ("true", "0.0157")


@pytest.mark.parametrize(("last", "status", "cost"), [("fault-500", 500, "0.0153"), ("fault-html", 502, "0.0306")])
def test_an_error_tells_what_all_its_attempts_have_cost(
    served: Served, user: str, last: str, status: int, cost: str
) -> None:
    route = define_route(served, ["fault-not-json"], [last])
    answered = served.ask(CALL, model=route, user=user, max_tokens=50)
    assert (answered.status_code, answered.headers["x-spendhub-cost"]) == (status, cost)
    assert sum(each for _, _, each in attempts(served, user)) == round(float(cost) * 10**9)


def test_a_judges_answer_tells_what_broke_off_before_the_reviewed_answer_too(served: Served, user: str) -> None:
    workhorses, judges = ["fault-not-json", "reviewer-prose"], ["fault-html", "vendor-judge"]
    pools = {"workhorses": workhorses, "judges": judges, "reviewers": ["reviewer-0.2"]}
    route = define_route(served, [*workhorses, *judges], strategy="judgment-based", options=pools)
    budget = served.define_budget(user, "10")
    answered = served.ask(CALL, model=route, user=user, max_tokens=20)
    # A reviewer reads 50 tokens and writes 10, at 1,000 USD per million; the judge writes at 2,000.
    doubted = review = (50 + 10) * 1_000_000
    judged = 100 * 1_000_000 + 20 * 2_000_000
    assert attempts(served, user) == [
        ("fault-not-json", "error", BROKEN_NANO_USD), ("reviewer-prose", "ok", doubted),
        ("reviewer-0.2", "ok", review),
        ("fault-html", "error", BROKEN_NANO_USD), ("vendor-judge", "ok", judged),
    ]  # fmt: skip
    assert (answered.headers["x-spendhub-escalated"], answered.headers["x-spendhub-cost"]) == ("true", "0.2906")
    assert answered.headers["x-spendhub-remaining"] == "9.7094"
    assert served.ledger(budget) == 2 * BROKEN_NANO_USD + doubted + review + judged == 290_600_000


def test_where_a_routes_one_model_is_switched_off_its_fallback_answers_and_is_no_arm_of_its_experiment(
    served: Served, user: str
) -> None:
    model = f"soon-off-{uuid.uuid4().hex[:12]}"
    served.define_model(model, price="1000", capabilities=["general", "streaming"])
    route = define_route(
        served, [model], ["vendor-off", "vendor-chat"], strategy="weighted", match={"user": user},
        options={"split": {model: 1.0}},
    )  # fmt: skip
    budget = served.define_budget(user, "10")
    answered = served.ask(CALL, model="auto", user=user, max_tokens=50)
    assert answered.headers["x-spendhub-model"] == model
    arms = served.native("GET", f"experiments/{route}")["arms"]
    (found,) = served.native("GET", "models", params={"search": model})["results"]
    served.native("PATCH", f"models/{found['id']}", json={"is_enabled": False})
    pause_for_snapshots()

    for is_stream in (False, True):
        answered = served.ask(CALL, model="auto", user=user, max_tokens=50, stream=is_stream)
        assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-chat"), answered.text
    routed = route_prompt(served, prompt=CALL, maxTokens=50, metadata={"user": user}).json()
    why = f"none of the route's models can be called: {model} (it is switched off)"
    assert (routed["model"], routed["isFallback"], routed["reason"]) == ("vendor-chat", True, why)
    asked = {"model": "auto", "prompt": "hello", "attribution": {"user": user}}
    told = served.native("POST", "routes/dry-run", json=asked)
    assert (told["chosen"], told["strategy"], told["reason"]) == ("vendor-chat", "weighted", why)

    first, *others = served.wait_for_spans(user, 4)
    assert metadata_of(first)["arm"] == model
    for span in others:
        chosen = metadata_of(span)
        assert (span["model"], span["cost_nano_usd"]) == ("vendor-chat", CALL_NANO_USD)
        assert (chosen["route"], chosen["strategy"], chosen["reason"]) == (route, "weighted", why)
        assert not {"experiment", "arm", "attempt"} & set(chosen)
    assert served.native("GET", f"experiments/{route}")["arms"] == arms
    assert served.ledger(budget) == first["cost_nano_usd"] + 3 * CALL_NANO_USD
    assert served.held(user) == "0.00"


def test_the_answer_of_a_fallback_that_stands_in_is_not_given_again(served: Served, user: str) -> None:
    stands_in, as_meant = define_route(served, ["vendor-off"], ["vendor-chat"]), define_route(served, ["vendor-chat"])
    headers = {"x-spendhub-cache": "60", "x-spendhub-feature": user}
    told = [served.ask(CALL, model=route, user=user, headers=headers) for route in (stands_in, as_meant) for _ in "12"]
    assert [each.headers["x-spendhub-model"] for each in told] == ["vendor-chat"] * 4
    assert [each.headers.get("x-spendhub-cache") for each in told] == [None, None, None, "hit"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_free_model_with_a_paid_fallback_does_not_slip_through(served: Served, user: str, is_stream: bool) -> None:
    route = define_route(served, ["fault-503"], ["vendor-chat"])
    served.define_budget(user, "0.000001")
    calls = served.vendor.served.calls
    answered = served.ask(CALL, model=route, user=user, stream=is_stream)
    # The budget refused the fallback, so the vendor's own error is what there is to tell.
    assert answered.status_code == 503
    assert served.vendor.served.calls == calls + 1
    assert attempts(served, user) == [("fault-503", "error", 0)]
    assert served.held(user, "vendor-out") == "0.00"


def test_what_the_client_did_wrong_is_told_and_not_tried_elsewhere(served: Served, user: str) -> None:
    route = define_route(served, ["fault-400"], ["vendor-chat"])
    answered = served.ask(CALL, model=route, user=user)
    assert (answered.status_code, answered.json()["error"]["message"]) == (400, "fault 400 on demand")
    assert len(served.spans(user)) == 1


def test_the_same_model_is_asked_again_as_often_as_the_route_says(served: Served, user: str) -> None:
    route = define_route(served, ["fault-500"], options={"retries": 2})
    calls = served.vendor.served.calls
    answered = served.ask(CALL, model=route, user=user)
    assert (answered.status_code, answered.json()["error"]["message"]) == (500, "fault 500 on demand")
    assert served.vendor.served.calls == calls + 3
    assert attempts(served, user)[-3:] == [("fault-500", "error", 0)] * 3


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_same_model_is_not_asked_again_before_its_vendor_wants_to_be(
    served: Served, user: str, is_stream: bool
) -> None:
    route = define_route(served, ["vendor-chat"], options={"retries": 1})
    calls = served.vendor.served.calls
    began = time.monotonic()
    # It says `Retry-After: 1`; without it the pause would be a quarter of a second at most.
    answered = served.ask("[fault:503=1]", model=route, user=user, stream=is_stream)
    assert time.monotonic() - began >= 1
    assert (answered.status_code, answered.headers["retry-after"]) == (503, "1")
    assert served.vendor.served.calls == calls + 2
    assert attempts(served, user) == [("vendor-chat", "error", 0)] * 2


def test_a_client_that_leaves_before_a_retry_is_not_served_and_not_billed(served: Served, user: str) -> None:
    route = define_route(served, ["vendor-chat"], options={"retries": 1})
    budget = served.define_budget(user, "10")
    body = {"model": route, "user": user, "messages": [{"role": "user", "content": "[fault:503=4]"}]}
    calls = served.vendor.served.calls
    with served.client_that_leaves("/v1/chat/completions", body):
        served.wait_for_spans(user, 1)
    # Who fails in the same way after it has waited for as long: the other one's pause is over by then, too.
    assert served.ask("[fault:503=4]", model=route, user=f"{user}-stays").status_code == 503
    assert served.vendor.served.calls == calls + 1 + 2
    assert attempts(served, user) == [("vendor-chat", "error", 0)]
    assert (served.ledger(budget), served.held(user)) == (0, "0.00")


def test_a_call_takes_no_longer_than_its_caller_allows(served: Served, user: str) -> None:
    served.define_budget(user, "10")
    began = time.monotonic()
    answered = served.ask("[fault:slow=8]", user=user, headers={"x-spendhub-timeout-ms": "300"})
    assert time.monotonic() - began < 4
    assert (answered.status_code, answered.json()["error"]["code"]) == (504, "upstream_timeout")
    assert attempts(served, user) == [("vendor-chat", "error", 0)]
    assert served.held(user) == "0.00"


def test_a_model_that_is_too_dear_gives_way_to_a_capable_one_that_still_fits(served: Served, user: str) -> None:
    route = define_route(served, ["fault-500", "vendor-chat"], strategy="judgment-based",
                         options={"judges": ["fault-500"], "confidence_threshold": 1})  # fmt: skip
    served.define_budget(user, "0.05")
    answered = served.ask(CALL, model=route, user=user, max_tokens=100)
    assert answered.status_code == 200
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    assert attempts(served, user) == [("vendor-chat", "ok", CALL_NANO_USD)]
    assert metadata_of(served.the_span(user))["reason"] == "a fallback: a budget has no room for fault-500"


@pytest.mark.parametrize("way", ["whole", "stream", "router"])
def test_a_cheaper_model_that_is_no_fallback_answers_where_no_budget_has_room_for_any_that_is(
    served: Served, user: str, way: str
) -> None:
    models = ["vendor-judge", "fault-500", "vendor-chat"]
    define_route(served, models, ["reviewer-0.2"], strategy="judgment-based", match={"user": user},
                 options={"judges": ["vendor-judge"], "confidence_threshold": 1})  # fmt: skip
    served.define_budget(user, "0.05")
    if way == "router":
        answered = route_prompt(served, prompt=CALL, maxTokens=100, metadata={"user": user})
    else:
        answered = served.ask(CALL, model="auto", user=user, max_tokens=100, stream=way == "stream")
    assert answered.status_code == 200, answered.text
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    assert attempts(served, user) == [("vendor-chat", "ok", CALL_NANO_USD)]
    assert metadata_of(served.the_span(user))["reason"] == "a cheaper one: a budget has no room for vendor-judge"
    assert served.held(user) == "0.00"


def test_what_fails_everywhere_is_tried_at_the_next_two_and_not_at_every_cheaper_model(
    served: Served, user: str
) -> None:
    models = ["vendor-judge", "fault-500", "vendor-chat", "vendor-out", "reviewer-0.2"]
    route = define_route(served, models, strategy="judgment-based",
                         options={"judges": ["vendor-judge"], "confidence_threshold": 1})  # fmt: skip
    served.define_budget(user, "100")
    calls = served.vendor.served.calls
    answered = served.ask("[fault:503]", model=route, user=user, max_tokens=100)
    assert (answered.status_code, answered.json()["error"]["message"]) == (503, "fault 503 on demand")
    assert served.vendor.served.calls == calls + 3
    assert len(served.spans(user)) == 3


def test_auto_takes_the_cheapest_model_that_can_do_it(served: Served, user: str) -> None:
    # Other tests enter models beside these.
    allowed = {"x-spendhub-allow": "fault-500,vendor-judge,vendor-chat"}
    answered = served.ask(CALL, model="auto", user=user, headers=allowed)
    assert answered.status_code == 200
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    (span,) = served.spans(user)
    assert (span["model"], span["requested_model"]) == ("vendor-chat", "auto")
    why = metadata_of(span)
    assert (why["route"], why["strategy"], why["confidence"]) == ("auto", "cost-optimized", 0.9)
    assert "cheapest" in why["reason"] and "fault-500" in why["alternatives"]


OF_THE_FIRST = {"score", "estimate_nano_usd", "alternatives", "confidence"}


def test_a_fallbacks_span_says_why_it_was_asked_and_nothing_that_was_found_of_the_first(
    served: Served, user: str
) -> None:
    route = define_route(served, ["fault-500"], ["vendor-chat"], options={"retries": 1})
    assert served.ask(CALL, model=route, user=user, max_tokens=50).headers["x-spendhub-model"] == "vendor-chat"
    first, again, other = (metadata_of(span) for span in served.spans(user))
    assert set(first) >= OF_THE_FIRST
    # The same model once more was chosen for the same reason.
    assert again == {**first, "attempt": 2}
    assert (other["route"], other["strategy"], other["attempt"]) == (route, "pinned", 3)
    assert other["reason"] == "a fallback: fault-500 gave no answer"
    assert not OF_THE_FIRST & set(other)


def test_a_fallback_that_is_asked_again_keeps_its_reason(served: Served, user: str) -> None:
    route = define_route(served, ["fault-500"], ["fault-503", "vendor-chat"], options={"retries": 1})
    assert served.ask(CALL, model=route, user=user, max_tokens=50).headers["x-spendhub-model"] == "vendor-chat"
    told = [(span["model"], metadata_of(span)["reason"]) for span in served.spans(user)]
    assert told[2:] == [
        ("fault-503", "a fallback: fault-500 gave no answer"),
        ("fault-503", "a fallback: fault-500 gave no answer"),
        ("vendor-chat", "a fallback: fault-503 gave no answer"),
    ]


def test_a_model_that_is_asked_for_want_of_money_says_so(served: Served, user: str) -> None:
    route = define_route(served, ["fault-500"], ["vendor-chat"])
    served.define_budget(user, "0.05")
    assert served.ask(CALL, model=route, user=user, max_tokens=100).status_code == 200
    (span,) = served.spans(user)
    assert metadata_of(span)["reason"] == "a fallback: a budget has no room for fault-500"
    assert not OF_THE_FIRST & set(metadata_of(span))


def test_what_no_model_can_do_is_refused_by_name(served: Served, user: str) -> None:
    answered = served.ask(CALL, model="auto", user=user, headers={"x-spendhub-region": "atlantis"})
    assert (answered.status_code, answered.json()["error"]["code"]) == (503, "no_model_fits")
    assert "atlantis" in answered.text
    assert answered.headers["x-should-retry"] == "false"
    assert served.spans(user) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"x-spendhub-min-quality": "superb"},
        {"x-spendhub-timeout-ms": "soon"},
        {"x-spendhub-timeout-ms": "0"},
        {"x-spendhub-wait": "-1"},
        {"x-spendhub-max-cost": "NaN"},
        {"x-spendhub-strategy": "cheapest"},
        {"x-spendhub-user-tier": "gold"},
        {"x-spendhub-capabilities": "vision,telepathy"},
    ],
)
def test_a_demand_that_cannot_be_is_a_400(served: Served, user: str, headers: dict[str, str]) -> None:
    assert served.ask(user=user, headers=headers).status_code == 400
    assert served.spans(user) == []


# --- the recipe's router -----------------------------------------------------------------------------
def route_prompt(served: Served, **body: Any) -> httpx.Response:
    return httpx.post(
        f"{served.server.url}/api/router",
        headers={"authorization": f"Bearer {served.key}", "x-spendhub-deny": "fault-503,nobody"},
        json=body,
        timeout=30,
    )


def test_the_recipes_router_answers_with_the_model_its_cost_and_its_words(served: Served, user: str) -> None:
    answered = route_prompt(
        served, prompt="[in:100] [out:20] [say:hello there]", maxTokens=100, metadata={"user": user},
        requiredCapabilities=["general"],
    )  # fmt: skip
    told = answered.json()
    assert answered.status_code == 200, answered.text
    assert told["content"] == "hello there"
    (span,) = [span for span in served.spans(user) if span["status"] == "ok"]
    assert (told["model"], told["provider"], told["strategy"]) == (span["model"], "vendor", "cost-optimized")
    assert round(told["cost"] * 10**9) == span["cost_nano_usd"]
    assert told["latencyMs"] >= 0
    headers = answered.headers
    assert float(headers["x-spendhub-cost"]) == told["cost"]
    assert (headers["x-spendhub-model"], headers["x-spendhub-decision"]) == (told["model"], "allow")
    assert headers["x-spendhub-request-id"] == told["requestId"]
    assert headers["x-request-id"] == "req_fake"


def test_the_recipes_router_tells_what_an_attempt_that_broke_off_has_cost_too(served: Served, user: str) -> None:
    define_route(served, ["fault-not-json"], ["vendor-chat"], match={"user": user})
    asked = {"prompt": CALL, "maxTokens": 50, "metadata": {"user": user}}
    wait_until(lambda: route_prompt(served, **asked).json()["isFallback"], 5, "the rule to be in force")
    answered = route_prompt(served, **asked)
    assert (answered.json()["cost"], answered.headers["x-spendhub-cost"]) == (0.0157, "0.0157")
    assert attempts(served, user)[-2:] == [
        ("fault-not-json", "error", BROKEN_NANO_USD), ("vendor-chat", "ok", CALL_NANO_USD),
    ]  # fmt: skip


def test_the_recipes_router_tells_what_an_answer_that_broke_off_has_cost(served: Served, user: str) -> None:
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-allow": "fault-html"}
    asked = {"prompt": CALL, "maxTokens": 50, "metadata": {"user": user}}
    answered = httpx.post(f"{served.server.url}/api/router", headers=headers, json=asked, timeout=30)
    assert (answered.status_code, answered.json()["code"]) == (503, "upstream_failed")
    assert answered.headers["x-spendhub-cost"] == "0.0153"
    assert attempts(served, user) == [("fault-html", "error", BROKEN_NANO_USD)]


def test_the_recipes_router_is_behind_the_budgets(served: Served, user: str) -> None:
    served.define_budget(user, "0", scope_type="user", scope_key=user)
    answered = route_prompt(served, prompt="hello", metadata={"user": user})
    assert answered.status_code == 429
    assert (answered.json()["code"], answered.json()["allowed"]) == ("budget_exceeded", False)
    assert (answered.headers["x-spendhub-decision"], answered.headers["x-spendhub-remaining"]) == ("hard-stop", "0.00")
    assert served.spans(user) == []


def test_the_recipes_router_says_when_a_strict_budget_has_shortened_the_answer(served: Served, user: str) -> None:
    served.define_budget(user, "0.01", strict=True)
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-allow": "vendor-out"}
    body = {"prompt": "[out:20]", "maxTokens": 1_500, "metadata": {"user": user}}
    answered = httpx.post(f"{served.server.url}/api/router", headers=headers, json=body, timeout=30)
    # Its input is free, and a token of its output 10,000 nano_usd: 10,000,000 are 1,000 of them.
    assert (answered.status_code, answered.headers["x-spendhub-clamped"]) == (200, "1000")
    assert answered.headers["x-spendhub-remaining"] == "0.0098"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": ""},
        {"prompt": "   "},
        {"prompt": 5},
        {"prompt": "hello", "maxTokens": 0},
        {"prompt": "hello", "maxTokens": "many"},
        {"prompt": "hello", "requiredCapabilities": ["telepathy"]},
        {"prompt": "hello", "confidenceThreshold": 2},
        {"prompt": "hello", "timeoutMs": -1},
        {"prompt": "hello", "strategy": "cheapest"},
        {"prompt": "hello", "surprise": 1},
        {"prompt": "hello", "userTier": "gold"},
        {"prompt": "hello", "metadata": {"budgetPerRequest": "much"}},
        {"prompt": "hello", "metadata": {"budgetPerRequest": -1}},
        [],
    ],
)
def test_what_the_recipes_router_cannot_understand_is_a_400_with_the_issues(served: Served, body: Any) -> None:
    answered = httpx.post(
        f"{served.server.url}/api/router", headers={"authorization": f"Bearer {served.key}"}, json=body, timeout=30
    )
    assert answered.status_code == 400
    assert answered.json()["issues"]


def test_the_recipes_router_says_when_no_model_fits(served: Served, user: str) -> None:
    answered = route_prompt(served, prompt="hello", requiredCapabilities=["chinese", "audio"], metadata={"user": user})
    assert (answered.status_code, answered.json()["code"]) == (503, "no_model_fits")


def test_the_recipes_router_takes_what_one_call_may_cost_inclusively(served: Served, user: str) -> None:
    allow = {"x-spendhub-allow": "vendor-out"}  # its input is free: 100 tokens of output are 0.001 USD
    statuses = []
    for usd in (0.001, "0.000999999"):
        asked = {"prompt": "[out:20]", "maxTokens": 100, "metadata": {"user": user, "budgetPerRequest": usd}}
        headers = {"authorization": f"Bearer {served.key}"} | allow
        answered = httpx.post(f"{served.server.url}/api/router", headers=headers, json=asked, timeout=30)
        statuses.append((answered.status_code, answered.json().get("code")))
    assert statuses == [(200, None), (503, "no_model_fits")]
    assert len(served.spans(user)) == 1


def test_the_recipes_router_lists_its_models(served: Served) -> None:
    answered = httpx.get(
        f"{served.server.url}/api/router", headers={"authorization": f"Bearer {served.key}"}, timeout=30
    )
    assert "vendor-chat" in [model["id"] for model in answered.json()["models"]]


def test_a_call_that_no_model_of_a_route_has_money_for_is_refused_once(served: Served, user: str) -> None:
    served.define_budget(user, "0")
    assert served.ask(CALL, model="auto", user=user).status_code == 402
    # (Defining the budget has checked it too, without a model.)
    refusals = [
        each
        for each in served.native("GET", "decisions?allowed=false")["results"]
        if each["attribution"].get("user") == user and each["model"]
    ]
    assert len(refusals) == 1
    assert served.spans(user) == []


def test_a_route_waits_for_held_money_only_when_nothing_cheaper_fits(served: Served, user: str) -> None:
    route = define_route(served, ["vendor-chat", "vendor-out"], strategy="capability-based",
                         options={"preferred": {"general": ["vendor-chat"]}})  # fmt: skip
    # Two hold 1,000 tokens each for 0.01 USD; `vendor-chat` has input to pay for as well.
    served.define_budget(user, "0.02", patience_seconds=10)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(served.ask, "[fault:slow=5] [out:10]", model="vendor-out", user=user, max_tokens=1_000)
        wait_until(lambda: float(served.held(user)) > 0, 5, "the first call to hold its money")
        began = time.monotonic()
        second = served.ask("[out:10]", model=route, user=user, max_tokens=1_000)
        assert time.monotonic() - began < 4
        assert first.result().status_code == 200
    assert (second.status_code, second.headers["x-spendhub-model"]) == (200, "vendor-out")


# --- several keys of one vendor ----------------------------------------------------------------------------------
KEYED_CALL_NANO_USD = (100 + 20) * 1_000_000


def keyed_model(served: Served) -> str:
    """A model whose vendor has no key yet; its provider has the same name. It is dear, so that `auto` never takes it."""
    name = f"keyed-{uuid.uuid4().hex[:12]}"
    served.define_model(name, price="1000", api_key_env="NO_KEY", max_output_tokens=2000)
    return name


def enter_key(served: Served, provider: str, secret: str, **facts: Any) -> None:
    name = uuid.uuid4().hex
    served.native("POST", "credentials", json={"provider": provider, "name": name, "secret": secret, **facts})


def keys_used(served: Served, user: str) -> list[str]:
    """The keys that the vendor was shown for one user, in order."""
    requests = [each for each in list(served.vendor.served.requests) if each["body"].get("user") == user]
    return [each["headers"]["authorization"].removeprefix("Bearer ") for each in requests]


@pytest.mark.parametrize("status", [401, 429])
def test_a_key_that_the_vendor_refuses_gives_way_to_another_one_and_a_disabled_one_is_never_used(
    served: Served, user: str, status: int
) -> None:
    model = keyed_model(served)
    refused, good = f"sk-stored-fault-{status}", "sk-stored-good"
    enter_key(served, model, "sk-stored-disabled", weight=1000, is_enabled=False)
    enter_key(served, model, refused, weight=1000)

    def is_refused_by_the_vendor() -> bool:
        return served.ask(model=model, user="nobody-in-particular").status_code == status

    wait_until(is_refused_by_the_vendor, 5, "the keys to be in force")
    assert served.ask(model=model, user=user).status_code == status
    assert keys_used(served, user) == [refused]
    enter_key(served, model, good, weight=1)
    wait_until(lambda: served.ask(model=model, user="nobody-in-particular").status_code == 200, 5, "the second key")
    other = f"other-{user}"
    budget = served.define_budget(other, "10")
    # All four calls begin with the second key once in 10**12 times.
    for _ in range(4):
        assert served.ask(CALL, model=model, user=other).status_code == 200
    used = keys_used(served, other)
    assert set(used) == {refused, good}
    assert used.count(good) == 4
    spans = served.spans(other)
    assert [(span["status"], span["error_code"], span["cost_nano_usd"]) for span in spans] == [
        ("error", f"upstream_{status}", 0) if key == refused else ("ok", "", KEYED_CALL_NANO_USD) for key in used
    ]
    assert (served.ledger(budget), served.held(other, model)) == (4 * KEYED_CALL_NANO_USD, "0.00")
    stored = served.stored_vendor_keys(model)
    assert len(stored) == 3
    assert all(sealed.startswith(b"gAAAA") and b"sk-stored" not in sealed for sealed in stored)

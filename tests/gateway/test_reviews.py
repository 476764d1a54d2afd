"""Answers that other models look over: each review is a call of its own, and the client gets an answer in any case."""

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
# The fake's reviewers read 50 tokens and write 10, at 1,000 USD per million; its judge writes at 2,000.
REVIEW_NANO_USD = (50 + 10) * 1_000_000
JUDGE_NANO_USD = 100 * 1_000_000 + 20 * 2_000_000


def usd(nano_usd: int) -> float:
    return nano_usd / 10**9


def reviewed_route(
    served: Served, *reviewers: str, match: dict[str, str] | None = None, judge: str = "vendor-judge", **options: Any
) -> str:
    """A route of one workhorse and one judge (or `judges`), in force when this returns; its name."""
    name = f"reviewed-{uuid.uuid4().hex[:12]}"
    judges = options.pop("judges", [judge])
    pools = {"workhorses": ["vendor-chat"], "judges": judges}
    served.native(
        "POST",
        "routes",
        json={
            "name": name,
            "models": ["vendor-chat", *judges],
            "strategy": "judgment-based",
            "options": {**pools, "reviewers": [f"reviewer-{wish}" for wish in reviewers], **options},
            "match": match or {},
        },
    )

    def is_in_force() -> bool:
        return served.ask(model=name, user="nobody-in-particular", max_tokens=1, stream=True).status_code != 404

    if match is None:
        wait_until(is_in_force, 5, "the route to be in force")
    return name


def ask(served: Served, route: str, user: str, text: str = CALL, **body: Any) -> httpx.Response:
    return served.ask(text, model=route, user=user, max_tokens=body.pop("max_tokens", 20), **body)


def told(answered: httpx.Response) -> tuple[str | None, ...]:
    """What the headers say of the reviews."""
    names = ("confidence", "escalated", "reviews", "not-escalated")
    return tuple(answered.headers.get(f"x-spendhub-{name}") for name in names)


def calls(served: Served, user: str) -> list[tuple[str, str, int]]:
    """What was booked, reviewers by name: they are asked at once, so their order is nobody's."""
    first, *others = [(span["model"], span["status"], span["cost_nano_usd"]) for span in served.spans(user)]
    return [first, *sorted(others)]


def feedback(served: Served, feature: str) -> list[tuple[str, float, str]]:
    found = served.native("GET", "feedback", params={"source": "judge", "feature": feature})["results"]
    return [(each["model"], each["scores"]["overall"], each["comment"]) for each in found]


def test_an_answer_that_the_reviewers_like_goes_out_and_each_review_is_a_call_of_its_own(
    served: Served, user: str
) -> None:
    route = reviewed_route(served, "0.9", "0.8")
    budget = served.define_budget(user, "10")
    answered = ask(served, route, user, f"{CALL} [say:hello]", headers={"x-spendhub-feature": user})
    assert answered.status_code == 200, answered.text
    assert answered.json()["choices"][0]["message"]["content"] == "hello"
    assert told(answered) == ("0.85", "false", "2 of 2", None)
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    cost = CALL_NANO_USD + 2 * REVIEW_NANO_USD
    assert float(answered.headers["x-spendhub-cost"]) == usd(cost)
    assert float(answered.headers["x-spendhub-remaining"]) == 10 - usd(cost)
    assert calls(served, user) == [
        ("vendor-chat", "ok", CALL_NANO_USD),
        ("reviewer-0.8", "ok", REVIEW_NANO_USD),
        ("reviewer-0.9", "ok", REVIEW_NANO_USD),
    ]
    first, *reviews = served.spans(user)
    assert answered.headers["x-spendhub-request-id"] == first["request_id"]
    assert {(metadata_of(span)["review_of"], metadata_of(span)["route"]) for span in reviews} == {
        (first["request_id"], route)
    }
    assert {(span["trace_id"], span["feature"]) for span in reviews} == {(first["trace_id"], user)}
    assert "review_of" not in metadata_of(first)
    assert (served.ledger(budget), served.held(user)) == (cost, "0.00")
    assert feedback(served, user) == [
        ("vendor-chat", 4.25, "mean of 2: reviewer-0.9 0.90 says the fake; reviewer-0.8 0.80 says the fake")
    ]


def test_an_answer_that_one_reviewer_doubts_is_given_anew_by_a_judge_where_all_must_like_it(
    served: Served, user: str
) -> None:
    route = reviewed_route(served, "0.9", "0.2", consensus="all")
    budget = served.define_budget(user, "10")
    answered = ask(served, route, user, headers={"x-spendhub-feature": user})
    assert answered.status_code == 200, answered.text
    assert told(answered) == ("0.2", "true", "2 of 2", None)
    assert answered.headers["x-spendhub-model"] == "vendor-judge"
    cost = CALL_NANO_USD + 2 * REVIEW_NANO_USD + JUDGE_NANO_USD
    assert float(answered.headers["x-spendhub-cost"]) == usd(cost)
    assert float(answered.headers["x-spendhub-remaining"]) == round(10 - usd(cost), 9)
    assert calls(served, user) == [
        ("vendor-chat", "ok", CALL_NANO_USD),
        ("reviewer-0.2", "ok", REVIEW_NANO_USD),
        ("reviewer-0.9", "ok", REVIEW_NANO_USD),
        ("vendor-judge", "ok", JUDGE_NANO_USD),
    ]
    first, *_, last = served.spans(user)
    assert (last["model"], last["trace_id"]) == ("vendor-judge", first["trace_id"])
    assert answered.headers["x-spendhub-request-id"] == last["request_id"]
    why = metadata_of(last)
    assert (why["escalated_from"], why["answer_confidence"], why["route"]) == (first["request_id"], 0.2, route)
    assert why["reason"] == "the answer of vendor-chat has a confidence of 0.20, below 0.50: a judge"
    assert (served.ledger(budget), served.held(user)) == (cost, "0.00")
    # The score is of the answer that was reviewed, not of the judge's.
    assert [(model, score) for model, score, _ in feedback(served, user)] == [("vendor-chat", 1.0)]


def test_a_reviewed_answer_from_memory_has_saved_its_reviews_and_its_judge_too(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.9", "0.2", consensus="all")
    headers = {"x-spendhub-cache": "60", "x-spendhub-feature": user}
    first, again = (ask(served, route, user, headers=headers) for _ in range(2))
    cost = CALL_NANO_USD + 2 * REVIEW_NANO_USD + JUDGE_NANO_USD
    assert (again.headers["x-spendhub-cache"], again.headers["x-spendhub-cost"]) == ("hit", "0.00")
    assert again.headers["x-spendhub-saved"] == first.headers["x-spendhub-cost"]
    assert float(first.headers["x-spendhub-cost"]) == usd(cost)
    assert metadata_of(served.spans(user)[-1])["saved_nano_usd"] == cost
    saved = served.native("GET", "usage", params={"feature": user})["totals"]["saved"]
    assert float(saved) == usd(cost)


def test_a_majority_outvotes_one_who_doubts(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.2", "0.8", "0.9", consensus="majority", escalate_below=0.8)
    answered = ask(served, route, user)
    assert told(answered) == ("0.8", "false", "3 of 3", None)
    assert answered.headers["x-spendhub-model"] == "vendor-chat"


def test_a_reviewer_that_fails_is_left_out_and_noted(served: Served, user: str) -> None:
    route = reviewed_route(served, "fault-500", "prose", "0.9")
    budget = served.define_budget(user, "10")
    answered = ask(served, route, user)
    left_out = "(reviewer-fault-500: upstream_refused; reviewer-prose: unreadable)"
    assert told(answered) == ("0.9", "false", f"1 of 3 {left_out}", None)
    assert calls(served, user) == [
        ("vendor-chat", "ok", CALL_NANO_USD),
        ("reviewer-0.9", "ok", REVIEW_NANO_USD),
        ("reviewer-fault-500", "error", 0),
        ("reviewer-prose", "ok", REVIEW_NANO_USD),
    ]
    cost = CALL_NANO_USD + 2 * REVIEW_NANO_USD
    assert float(answered.headers["x-spendhub-cost"]) == usd(cost)
    assert (served.ledger(budget), served.held(user)) == (cost, "0.00")


def test_an_answer_that_nobody_could_review_goes_out_and_says_so(served: Served, user: str) -> None:
    route = reviewed_route(served, "prose", "fault-500")
    answered = ask(served, route, user, headers={"x-spendhub-feature": user})
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, "vendor-chat")
    assert told(answered)[:2] == ("unreviewed", "false")
    assert feedback(served, user) == []


def test_a_budget_without_room_for_the_review_leaves_the_answer_unreviewed(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.2")
    budget = served.define_budget(user, "0.05", patience_seconds=30)
    began = time.monotonic()
    answered = ask(served, route, user)
    assert time.monotonic() - began < 10  # the budget's patience is for calls that have no answer yet
    assert answered.status_code == 200
    assert told(answered) == ("unreviewed", "false", "0 of 1 (reviewer-0.2: budget_exceeded)", None)
    assert float(answered.headers["x-spendhub-cost"]) == usd(CALL_NANO_USD)
    assert calls(served, user) == [("vendor-chat", "ok", CALL_NANO_USD)]
    assert (served.ledger(budget), served.held(user)) == (CALL_NANO_USD, "0.00")


def test_a_budget_without_room_for_the_judge_lets_the_first_answer_go_out(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.2")
    # Room for a review (some 400 tokens at 0.001 USD), not for 1,000 tokens of the judge's output at 0.002 USD.
    budget = served.define_budget(user, "1.5")
    answered = ask(served, route, user, max_tokens=1_000)
    assert answered.status_code == 200
    assert told(answered) == ("0.2", "false", "1 of 1", "budget_exceeded")
    assert answered.headers["x-spendhub-model"] == "vendor-chat"
    assert calls(served, user) == [
        ("vendor-chat", "ok", CALL_NANO_USD), ("reviewer-0.2", "ok", REVIEW_NANO_USD),
    ]  # fmt: skip
    assert (served.ledger(budget), served.held(user)) == (CALL_NANO_USD + REVIEW_NANO_USD, "0.00")


def test_a_judge_that_fails_lets_the_first_answer_go_out(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.2", judge="fault-500")
    budget = served.define_budget(user, "10")
    answered = ask(served, route, user)
    assert answered.status_code == 200
    assert told(answered) == ("0.2", "false", "1 of 1", "upstream_refused")
    assert calls(served, user) == [
        ("vendor-chat", "ok", CALL_NANO_USD), ("fault-500", "error", 0), ("reviewer-0.2", "ok", REVIEW_NANO_USD),
    ]  # fmt: skip
    assert (served.ledger(budget), served.held(user)) == (CALL_NANO_USD + REVIEW_NANO_USD, "0.00")


def test_a_judge_that_fails_is_not_asked_again_for_a_client_that_has_left(served: Served, user: str) -> None:
    judge = f"judge-of-{user}"
    served.define_model(judge, price="1000", upstream_name="fault-503=4")
    pause_for_snapshots()
    route = reviewed_route(served, "0.2", judge=judge, retries=1)
    budget = served.define_budget(user, "10")
    body = {"model": route, "user": user, "max_tokens": 20, "messages": [{"role": "user", "content": CALL}]}
    asked = served.vendor.served.calls
    with served.client_that_leaves("/v1/chat/completions", body):
        served.wait_for_spans(user, 3)
    # Whose judge is asked again after as long: the other one's pause is over by then, too.
    assert told(ask(served, route, f"{user}-stays")) == ("0.2", "false", "1 of 1", "upstream_refused")
    assert served.vendor.served.calls == asked + 3 + 4
    assert calls(served, user) == [
        ("vendor-chat", "ok", CALL_NANO_USD), (judge, "error", 0), ("reviewer-0.2", "ok", REVIEW_NANO_USD),
    ]  # fmt: skip
    assert (served.ledger(budget), served.held(user)) == (CALL_NANO_USD + REVIEW_NANO_USD, "0.00")


def test_a_judge_that_breaks_off_before_another_one_answers_is_part_of_the_cost(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.2", judges=["fault-broken-body", "vendor-judge"])
    budget = served.define_budget(user, "10")
    answered = ask(served, route, user)
    assert told(answered) == ("0.2", "true", "1 of 1", None)
    assert answered.headers["x-spendhub-model"] == "vendor-judge"
    broken = next(span for span in served.spans(user) if span["model"] == "fault-broken-body")
    assert (broken["status"], broken["cost_nano_usd"] > 0) == ("error", True)
    cost = CALL_NANO_USD + REVIEW_NANO_USD + broken["cost_nano_usd"] + JUDGE_NANO_USD
    assert float(answered.headers["x-spendhub-cost"]) == usd(cost)
    assert float(answered.headers["x-spendhub-remaining"]) == round(10 - usd(cost), 9)
    assert (served.ledger(budget), served.held(user)) == (cost, "0.00")


def test_a_doubted_answer_is_not_given_again_from_memory(served: Served, user: str) -> None:
    doubted = reviewed_route(served, "0.2", judge="fault-500")
    liked = reviewed_route(served, "0.9")
    for route, hit in ((doubted, None), (liked, "hit")):
        for _ in range(2):
            answered = ask(served, route, user, headers={"x-spendhub-cache": "60"})
        assert answered.headers.get("x-spendhub-cache") == hit


def test_a_stream_is_not_reviewed(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.2")
    answered = ask(served, route, user, stream=True)
    assert answered.status_code == 200
    assert events_of(answered.text)[-1] == "[DONE]"
    assert told(answered) == (None, None, None, None)
    assert calls(served, user) == [("vendor-chat", "ok", CALL_NANO_USD)]


def test_a_judges_own_answer_is_not_reviewed(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.2")
    answered = ask(served, route, user, headers={"x-spendhub-confidence-threshold": "1"})
    assert answered.headers["x-spendhub-model"] == "vendor-judge"
    assert told(answered) == (None, None, None, None)
    assert calls(served, user) == [("vendor-judge", "ok", JUDGE_NANO_USD)]


def test_reviews_take_no_longer_than_the_call_may(served: Served, user: str) -> None:
    route = reviewed_route(served, "fault-hang", "0.9")
    served.define_budget(user, "10")
    began = time.monotonic()
    answered = ask(served, route, user, headers={"x-spendhub-timeout-ms": "4000"})
    assert time.monotonic() - began < 9.5  # less than a review may take
    assert told(answered) == ("0.9", "false", "1 of 2 (reviewer-fault-hang: upstream_timeout)", None)
    assert ("reviewer-fault-hang", "error", 0) in calls(served, user)
    assert served.held(user) == "0.00"


def test_a_reviewer_who_knows_no_schemas_is_asked_again_in_plain_words(served: Served, user: str) -> None:
    route = reviewed_route(served, "plain-0.9")
    answered = ask(served, route, user)
    assert told(answered) == ("0.9", "false", "1 of 1", None)
    assert calls(served, user) == [
        ("vendor-chat", "ok", CALL_NANO_USD),
        ("reviewer-plain-0.9", "error", 0),
        ("reviewer-plain-0.9", "ok", REVIEW_NANO_USD),
    ]
    bodies = [each["body"] for each in served.vendor.served.requests]
    reviews = [body for body in bodies if body["model"] == "reviewer-plain-0.9"][-2:]
    assert [body.get("max_tokens") for body in reviews] == [100, 100]
    assert [("response_format" in body) for body in reviews] == [True, False]


@pytest.mark.parametrize("cheaper", ["vendor-chat", "reviewer-0.9"])
def test_no_budgets_policy_puts_another_model_in_a_reviewers_place(served: Served, user: str, cheaper: str) -> None:
    route = reviewed_route(served, "0.2", escalate_below=0)
    served.define_budget(user, "10", soft_cap="0", downgrade_rules=[{"from": ["reviewer-0.2"], "to": cheaper}])
    assert told(ask(served, route, user)) == ("0.2", "false", "1 of 1", None)
    assert calls(served, user) == [("vendor-chat", "ok", CALL_NANO_USD), ("reviewer-0.2", "ok", REVIEW_NANO_USD)]


def test_a_reviewer_that_the_caller_denies_is_not_shown_the_call(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.2", "0.9")
    answered = ask(served, route, user, headers={"x-spendhub-deny": "reviewer-0.2"})
    assert told(answered) == ("0.9", "false", "1 of 2 (reviewer-0.2: it is on the list of models not to use)", None)
    assert [model for model, _, _ in calls(served, user)] == ["vendor-chat", "reviewer-0.9"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("responses", {"input": f"{CALL} [say:hello]", "max_output_tokens": 20}),
        ("messages", {"messages": [{"role": "user", "content": f"{CALL} [say:hello]"}], "max_tokens": 20}),
    ],
)
def test_answers_in_every_dialect_are_reviewed_and_escalated(
    served: Served, user: str, path: str, body: dict[str, Any]
) -> None:
    route = reviewed_route(served, "0.2")
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-user": user}
    answered = httpx.post(f"{served.url}/{path}", headers=headers, json={"model": route, **body}, timeout=30)
    assert answered.status_code == 200, answered.text
    assert told(answered) == ("0.2", "true", "1 of 1", None)
    assert "hello" in answered.text and answered.headers["x-spendhub-model"] == "vendor-judge"
    assert [model for model, _, _ in calls(served, user)] == ["vendor-chat", "reviewer-0.2", "vendor-judge"]


def test_the_recipes_router_tells_the_confidence_and_the_whole_cost(served: Served, user: str) -> None:
    reviewed_route(served, "0.9", match={"user": user})
    body = {"prompt": f"{CALL} [say:hello]", "maxTokens": 20, "metadata": {"user": user}}
    headers = {"authorization": f"Bearer {served.key}"}

    def answer() -> httpx.Response:
        return httpx.post(f"{served.server.url}/api/router", headers=headers, json=body, timeout=30)

    wait_until(lambda: answer().json().get("confidence") is not None, 5, "the rule to be in force")
    answered = answer()
    assert told(answered) == ("0.9", "false", "1 of 1", None)
    found = answered.json()
    assert (found["content"], found["confidence"], found["isEscalated"]) == ("hello", 0.9, False)
    assert found["cost"] == usd(CALL_NANO_USD + REVIEW_NANO_USD)


def test_many_reviewed_calls_at_once_never_spend_more_than_the_budget_has(served: Served, user: str) -> None:
    route = reviewed_route(served, "0.2", "0.9", consensus="all")
    budget = served.define_budget(user, "2")
    # No bill is above its estimate: a budget that is not strict is exceeded by what is.
    text = f"{CALL} {'word ' * 150}"
    with ThreadPoolExecutor(12) as pool:
        answered = list(pool.map(lambda _: ask(served, route, user, text), range(24)))
    told = [each for each in answered if each.status_code == 200]
    # Others' reviews may hold all that is left at the moment at which a call comes; it is not spent.
    assert {each.json()["error"]["is_merely_held"] for each in answered if each not in told} <= {True}
    assert told
    spent, spans = served.ledger(budget), served.spans(user)
    assert all(span["cost_nano_usd"] <= span["reserved_nano_usd"] for span in spans)
    assert spent == sum(span["cost_nano_usd"] for span in spans) <= 2 * 10**9
    # What the clients were told they spent is what was booked.
    assert sum(round(float(each.headers["x-spendhub-cost"]) * 10**9) for each in told) == spent
    assert served.held(user) == "0.00"


def test_a_route_with_a_reviewer_nobody_knows_is_refused(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.key}"}
    options = {"reviewers": ["reviewer-unheard-of"]}
    wanted = {"name": "r", "strategy": "judgment-based", "options": options}
    answered = httpx.post(f"{served.server.url}/api/v1/routes", headers=headers, json=wanted, timeout=30)
    assert answered.status_code == 400
    assert "no catalog model has the name 'reviewer-unheard-of'" in answered.text

"""What is held for a call, and what happens when that is too much, or too little."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from routing.tokens import count_tokens
from tests.gateway.served import (
    INPUT_NANO_USD,
    OUTPUT_NANO_USD,
    Served,
    events_of,
    metadata_of,
    on_a_long_day,
    pause_for_snapshots,
)
from tests.servers import wait_until

pytestmark = pytest.mark.slow

# Without a limit of its own a call holds for 1,024 tokens of output: SPENDHUB_DEFAULT_OUTPUT_TOKENS.
USUAL_HOLD_NANO_USD = 1_024 * OUTPUT_NANO_USD
CALL = "[in:100] [out:20]"
CALL_NANO_USD = 100 * INPUT_NANO_USD + 20 * OUTPUT_NANO_USD
OVER_HOLD = "x-spendhub-over-hold"


def usd(nano_usd: int) -> str:
    return f"{nano_usd / 10**9:.9f}"


def money_of_spans(served: Served, user: str, **filters: str) -> list[tuple[str, str, str]]:
    """What was held for each of the user's calls, what it has cost, and by how much that was more, as the native API
    tells it."""
    found = served.native("GET", "spans", params={"user": user, **filters})["results"]
    return [(each["reserved"], each["cost"], each["over_hold"]) for each in found]


def told_span(served: Served, user: str) -> dict[str, Any]:
    """The only span of the user, as the native API tells it."""
    (found,) = served.native("GET", "spans", params={"user": user})["results"]
    told: dict[str, Any] = served.native("GET", f"spans/{found['id']}")
    assert told == found
    return told


def limits_sent(served: Served, user: str) -> dict[str, Any]:
    """The output limit that the vendor read, under each name that it may know one by."""
    body = served.asked_of_vendor(user)["body"]
    return {name: body[name] for name in ("max_tokens", "max_completion_tokens") if name in body}


def send(served: Served, user: str, headers: dict[str, str]) -> http.client.HTTPConnection:
    """A call that has been sent when this returns; its answer is for the caller to read."""
    port = urlsplit(served.url).port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = {"model": "vendor-chat", "user": user, "messages": [{"role": "user", "content": CALL}]}
    headers = {"authorization": f"Bearer {served.key}", "content-type": "application/json"} | headers
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    return connection


def test_a_call_that_is_refused_although_the_money_is_only_held_may_wait_for_it(served: Served, user: str) -> None:
    served.define_budget(user, usd(USUAL_HOLD_NANO_USD + 10 * CALL_NANO_USD))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.ask, f"[fault:slow=4] {CALL}", user=user)
        wait_until(lambda: float(served.held(user)) > 0, 5, "the first call to hold its money")
        at_once = served.ask(CALL, user=user)
        began = time.monotonic()
        patient = served.ask(CALL, user=user, headers={"x-spendhub-wait": "20"})
        assert first.result().status_code == 200
    assert at_once.status_code == 402
    assert at_once.json()["error"]["is_merely_held"] is True
    assert patient.status_code == 200
    assert time.monotonic() - began < 15
    assert [span["cost_nano_usd"] for span in served.spans(user)] == [CALL_NANO_USD] * 2


def test_ten_calls_without_a_limit_that_fit_one_after_the_other_all_get_through(served: Served, user: str) -> None:
    budget = served.define_budget(user, usd(USUAL_HOLD_NANO_USD + 10 * CALL_NANO_USD), patience_seconds=10)
    with ThreadPoolExecutor(10) as pool:
        answered = list(pool.map(lambda _: served.ask(CALL, user=user), range(10)))
    assert [answer.status_code for answer in answered] == [200] * 10
    assert served.ledger(budget) == 10 * CALL_NANO_USD
    assert served.held(user) == "0.00"


def test_who_comes_later_takes_nothing_that_somebody_waits_for(served: Served, user: str) -> None:
    """Room for one call at a time, and four callers who ask again as soon as they are refused."""
    served.define_budget(user, usd(USUAL_HOLD_NANO_USD + 10 * CALL_NANO_USD))
    has_waited = threading.Event()

    def keep_asking(_: int) -> None:
        while not has_waited.is_set():
            served.ask(f"[fault:slow=0.5] {CALL}", user=user)

    with ThreadPoolExecutor(6) as pool:
        pool.submit(served.ask, f"[fault:slow=2] {CALL}", user=user)
        wait_until(lambda: float(served.held(user)) > 0, 5, "the first call to hold its money")
        patient = send(served, user, {"x-spendhub-wait": "20", "x-spendhub-session": "patient"})
        # A whole call later it stands in line.
        assert served.ask(CALL, user=user).status_code == 402
        hasty = [pool.submit(keep_asking, number) for number in range(4)]
        try:
            assert patient.getresponse().status == 200
        finally:
            has_waited.set()
            patient.close()
        for each in hasty:
            each.result()
    in_order = sorted(served.spans(user), key=lambda span: str(span["occurred_at"]))
    assert [span["session"] for span in in_order].index("patient") == 1


def test_a_client_that_leaves_while_it_waits_is_not_served_and_not_billed(served: Served, user: str) -> None:
    budget = served.define_budget(user, usd(USUAL_HOLD_NANO_USD + 10 * CALL_NANO_USD))
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-wait": "20", "x-spendhub-session": "leaves"}
    body = {"model": "vendor-chat", "user": user, "messages": [{"role": "user", "content": CALL}]}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.ask, f"[fault:slow=6] {CALL}", user=user)
        wait_until(lambda: float(served.held(user)) > 0, 5, "the first call to hold its money")
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{served.url}/chat/completions", headers=headers, json=body, timeout=2)
        assert first.result().status_code == 200
    wait_until(lambda: served.held(user) == "0.00", 10, "the first call to be settled")
    # Whoever comes next is served at once: nobody is before it.
    assert served.ask(CALL, user=user, headers={"x-spendhub-wait": "20"}).status_code == 200
    assert [span["session"] for span in served.spans(user)] == [""] * 2
    assert served.ledger(budget) == 2 * CALL_NANO_USD


def test_waiting_is_bounded(served: Served, user: str) -> None:
    served.define_budget(user, usd(USUAL_HOLD_NANO_USD + CALL_NANO_USD))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.ask, f"[fault:slow=8] {CALL}", user=user)
        wait_until(lambda: float(served.held(user)) > 0, 5, "the first call to hold its money")
        began = time.monotonic()
        refused = served.ask(CALL, user=user, headers={"x-spendhub-wait": "0.5"})
        assert 0.4 < time.monotonic() - began < 6
        assert first.result().status_code == 200
    assert refused.status_code == 402


def test_money_that_is_spent_is_not_waited_for(served: Served, user: str) -> None:
    served.define_budget(user, "0.001")
    began = time.monotonic()
    assert served.ask(user=user, max_tokens=1_000, headers={"x-spendhub-wait": "20"}).status_code == 402
    assert time.monotonic() - began < 5


def test_who_waits_is_refused_as_soon_as_what_was_held_is_spent(served: Served, user: str) -> None:
    served.define_budget(user, usd(USUAL_HOLD_NANO_USD + 10 * CALL_NANO_USD))
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(served.ask, "[fault:slow=3] [in:100] [out:1000]", user=user)
        wait_until(lambda: float(served.held(user)) > 0, 5, "the first call to hold its money")
        began = time.monotonic()
        waiting = [pool.submit(served.ask, CALL, user=user, headers={"x-spendhub-wait": "60"}) for _ in range(3)]
        assert first.result().status_code == 200
        refused = [each.result() for each in waiting]
    assert time.monotonic() - began < 30
    assert [each.status_code for each in refused] == [402] * 3
    assert [each.json()["error"]["is_merely_held"] for each in refused] == [False] * 3
    # So no SDK asks again in two seconds.
    assert all(int(each.headers["retry-after"]) > 2 for each in refused if "retry-after" in each.headers)
    assert ["x-should-retry" in each.headers and each.headers["x-should-retry"] for each in refused] == ["false"] * 3


def test_a_strict_budget_writes_a_limit_that_it_can_afford_into_the_request(served: Served, user: str) -> None:
    # The model may say 2,000 tokens, for 0.02 USD: more than there is.
    served.define_budget(user, "0.01", strict=True)
    answered = served.ask("hello", user=user)
    assert answered.status_code == 200
    clamped = int(answered.headers["x-spendhub-clamped"])
    assert limits_sent(served, user) == {"max_tokens": clamped}
    # "hello": at most 3 x 9 + 1,024 tokens in at 2,000 nano_usd; the rest of 10,000,000 at 10,000 a token.
    assert 700 <= clamped <= 800
    assert metadata_of(served.the_span(user))["clamped_to"] == clamped


def test_a_strict_budget_is_not_exceeded_by_a_bill_of_twelve_times_the_input(served: Served, user: str) -> None:
    budget = served.define_budget(user, "0.01", strict=True)
    # The text is estimated at 17 tokens; as to its output the vendor keeps to the limit it was given.
    answered = [served.ask(f"[in:204] [out:{output}]", user=user) for output in (600, 16, 16, 16, 16)]
    assert [answer.status_code for answer in answered] == [200, 200, 200, 200, 402]
    assert served.ledger(budget) == 4 * 204 * INPUT_NANO_USD + 648 * OUTPUT_NANO_USD <= 10_000_000
    assert served.native("GET", f"budgets/{budget}")["overspent"] == "0.00"
    assert [over_hold for _, _, over_hold in money_of_spans(served, user)] == ["0.00"] * 4
    assert not any(OVER_HOLD in answer.headers for answer in answered)


# 204 tokens of input, where the text is estimated at 17 of them, and the output that it was held for.
TWELVEFOLD = "[in:204] [out:20]"


def test_enforce_says_by_how_much_a_bill_of_twelve_times_the_input_went_over(served: Served, user: str) -> None:
    budget = served.define_budget(user, "0.0005")
    answered = served.ask(TWELVEFOLD, user=user, max_tokens=20)
    span = served.the_span(user)
    assert (span["reserved_nano_usd"], span["cost_nano_usd"]) == (
        17 * INPUT_NANO_USD + 20 * OUTPUT_NANO_USD, 204 * INPUT_NANO_USD + 20 * OUTPUT_NANO_USD,
    )  # fmt: skip
    assert span["cost_nano_usd"] - span["reserved_nano_usd"] == 374_000
    assert (answered.status_code, answered.headers[OVER_HOLD]) == (200, "0.000374")
    assert money_of_spans(served, user) == [("0.000234", "0.000608", "0.000374")]
    assert money_of_spans(served, user, over_hold="true") == [("0.000234", "0.000608", "0.000374")]
    assert money_of_spans(served, user, over_hold="false") == []
    assert served.ledger(budget) - 500_000 == 108_000
    told = served.native("GET", f"budgets/{budget}")
    assert (told["spent"], told["remaining"], told["overspent"]) == ("0.000608", "0.00", "0.000108")
    (window,) = served.native("GET", f"budgets/{budget}/windows")
    assert (window["spent"], window["remaining"], window["overspent"]) == ("0.000608", "0.00", "0.000108")


def test_who_is_refused_is_told_by_how_much_the_budget_was_overspent(served: Served, user: str) -> None:
    served.define_budget(user, "0.0005")
    assert served.ask(TWELVEFOLD, user=user, max_tokens=20).status_code == 200
    refused = served.ask(TWELVEFOLD, user=user, max_tokens=20)
    error = refused.json()["error"]
    assert (refused.status_code, error["remaining"], error["overspent"]) == (402, "0.00", "0.000108")
    assert "0.00 USD left of 0.0005 USD and is overspent by 0.000108 USD" in error["message"]
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-user": user}
    (looked_at,) = httpx.get(f"{served.url}/budget", headers=headers, timeout=30).json()["budgets"]
    assert (looked_at["remaining"], looked_at["overspent"]) == ("0.00", "0.000108")
    decision = served.native("GET", f"decisions/{refused.headers['x-spendhub-decision-id']}")
    assert [each["overspent"] for each in decision["budgets"]] == ["0.000108"]


def test_a_budget_that_is_exactly_used_up_is_not_overspent(served: Served, user: str) -> None:
    budget = served.define_budget(user, usd(20 * OUTPUT_NANO_USD))
    answered = served.ask("[out:20]", model="vendor-out", user=user, max_tokens=20)
    assert (answered.status_code, OVER_HOLD in answered.headers) == (200, False)
    told = served.native("GET", f"budgets/{budget}")
    assert (told["spent"], told["remaining"], told["overspent"]) == ("0.0002", "0.00", "0.00")
    refused = served.ask("[out:20]", model="vendor-out", user=user, max_tokens=20)
    assert (refused.status_code, refused.json()["error"]["overspent"]) == (402, "0.00")
    assert "overspent" not in refused.json()["error"]["message"]


def test_a_stream_says_at_its_end_by_how_much_it_cost_more_than_was_held(served: Served, user: str) -> None:
    asked: dict[str, Any] = {"user": user, "max_tokens": 20, "stream": True, "stream_options": {"include_usage": True}}
    answered = served.ask(TWELVEFOLD, **asked)
    *_, usage, _done = events_of(answered.text)
    assert (usage["spendhub"]["cost"], usage["spendhub"]["over_hold"]) == ("0.000608", "0.000374")
    assert OVER_HOLD not in answered.headers  # nobody knew when it began
    *_, usage, _done = events_of(served.ask("[in:17] [out:20]", **asked).text)
    assert "over_hold" not in usage["spendhub"]


def test_a_span_tells_what_was_held_and_what_the_call_could_have_cost_at_most(served: Served, user: str) -> None:
    # The model may say 2,000 tokens.
    served.ask("[in:17] [out:20]", user=user)
    told = told_span(served, user)
    assert (told["reserved"], told["worst_case"], told["cost"]) == ("0.010274", "0.020034", "0.000234")
    held_nano_usd = 17 * INPUT_NANO_USD + 1_024 * OUTPUT_NANO_USD
    assert (held_nano_usd, held_nano_usd + (2_000 - 1_024) * OUTPUT_NANO_USD) == (10_274_000, 20_034_000)


def test_what_a_model_may_say_that_nobody_knows_the_limit_of_is_assumed(served: Served, user: str) -> None:
    served.ask("[out:20]", model="vendor-out", user=user, n=2)
    told = told_span(served, user)
    # 128,000 tokens for each choice, where 1,024 are held.
    assert (told["reserved"], told["worst_case"]) == ("0.02048", "2.56")


@pytest.mark.parametrize(("strict", "asked"), [(False, {"max_tokens": 50}), (True, {})])
def test_where_all_that_may_be_said_is_held_for_there_is_no_worse_case(
    served: Served, user: str, strict: bool, asked: dict[str, Any]
) -> None:
    served.define_budget(user, "1", strict=strict)
    assert served.ask("[in:17] [out:20]", user=user, **asked).status_code == 200
    told = told_span(served, user)
    assert (told["worst_case"], "worst_case_cost" in told["metadata"]) == (None, False)


def test_of_two_limits_the_larger_is_held_and_a_strict_budget_sends_what_it_holds(served: Served, user: str) -> None:
    # vendor-out: input is free.
    budget = served.define_budget(user, usd(2_000 * OUTPUT_NANO_USD), strict=True)
    both = {"max_completion_tokens": 16, "max_tokens": 1_500}
    answered = served.ask("[out:1500]", model="vendor-out", user=user, **both)
    assert (answered.status_code, "x-spendhub-clamped" in answered.headers) == (200, False)
    assert limits_sent(served, user) == {"max_tokens": 1_500}
    span = served.the_span(user)
    assert span["reserved_nano_usd"] == span["cost_nano_usd"] == 1_500 * OUTPUT_NANO_USD
    again = served.ask("[out:500]", model="vendor-out", user=user, **both)
    assert (again.status_code, again.headers["x-spendhub-clamped"]) == (200, "500")
    assert limits_sent(served, user) == {"max_tokens": 500}
    assert served.ledger(budget) == 2_000 * OUTPUT_NANO_USD


def test_a_strict_budget_says_the_clients_limit_in_the_word_that_the_vendor_obeys(served: Served, user: str) -> None:
    served.ask(model="vendor-out", user=user, max_completion_tokens=50)
    assert limits_sent(served, user) == {"max_completion_tokens": 50}  # nobody's word but the client's
    served.define_budget(user, "1", strict=True)
    answered = served.ask(model="vendor-out", user=user, max_completion_tokens=50)
    assert limits_sent(served, user) == {"max_tokens": 50}
    # That is no other limit than the client's.
    assert "x-spendhub-clamped" not in answered.headers


def test_the_recipes_limit_is_said_in_the_word_that_the_vendor_obeys(served: Served, user: str) -> None:
    served.define_model(user)
    route = {"name": f"route-{user}", "models": [user], "match": {"feature": user}}
    served.native("POST", "routes", json=route)
    pause_for_snapshots()
    asked = {"prompt": f"hello {user}", "maxTokens": 50, "budgetId": user}
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-user": user}
    answered = httpx.post(f"{served.server.url}/api/router", headers=headers, json=asked, timeout=30)
    assert (answered.status_code, answered.json()["model"]) == (200, user)
    sent = next(each["body"] for each in reversed(list(served.vendor.served.requests)) if user in str(each["body"]))
    assert (sent.get("max_tokens"), "max_completion_tokens" in sent) == (50, False)


def test_what_a_strict_budget_holds_where_the_client_asks_for_more_than_the_model_says_is_sent(
    served: Served, user: str
) -> None:
    # The catalog says 2,000; should it be wrong, the vendor keeps to what it is sent.
    budget = served.define_budget(user, "1", strict=True)
    answered = served.ask("[in:10] [out:2000]", user=user, max_tokens=5_000)
    assert (answered.status_code, answered.headers["x-spendhub-clamped"]) == (200, "2000")
    assert limits_sent(served, user) == {"max_tokens": 2_000}
    span = served.the_span(user)
    assert span["cost_nano_usd"] == served.ledger(budget) == 10 * INPUT_NANO_USD + 2_000 * OUTPUT_NANO_USD
    assert span["cost_nano_usd"] <= span["reserved_nano_usd"]


def test_a_strict_budget_that_cannot_afford_a_useful_answer_for_each_choice_refuses_and_nobody_is_asked(
    served: Served, user: str
) -> None:
    budget = served.define_budget(user, usd(127 * OUTPUT_NANO_USD), strict=True)
    before = served.vendor.served.calls
    # 127 tokens for 8 choices: 15 for each.
    refused = served.ask(model="vendor-out", user=user, n=8)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "budget_exceeded")
    assert (served.ledger(budget), served.held(user), served.vendor.served.calls) == (0, "0.00", before)
    # Choices that are meant to be short are no shorter for that.
    assert served.ask("[out:1]", model="vendor-out", user=user, n=8, max_tokens=1).status_code == 200
    assert served.ledger(budget) == 8 * OUTPUT_NANO_USD


def test_what_is_held_for_choices_is_what_all_of_them_may_say(served: Served, user: str) -> None:
    served.define_budget(user, usd(100 * OUTPUT_NANO_USD), strict=True)
    answered = served.ask("[out:33]", model="vendor-out", user=user, n=3)
    assert (answered.status_code, answered.headers["x-spendhub-clamped"]) == (200, "99")
    assert limits_sent(served, user) == {"max_tokens": 33}
    span = served.the_span(user)
    assert span["reserved_nano_usd"] == span["cost_nano_usd"] == 99 * OUTPUT_NANO_USD


def test_a_strict_budget_that_cannot_afford_a_useful_answer_refuses(served: Served, user: str) -> None:
    served.define_budget(user, "0.0021", strict=True)
    assert served.ask("hello", user=user).status_code == 402


def test_without_strict_a_bill_above_the_hold_is_booked_in_full_and_says_so(served: Served, user: str) -> None:
    budget = served.define_budget(user, "0.011")
    served.ask("[in:100] [out:1500]", user=user)
    span = served.the_span(user)
    assert span["cost_nano_usd"] == 100 * INPUT_NANO_USD + 1_500 * OUTPUT_NANO_USD == served.ledger(budget)
    assert span["cost_nano_usd"] > span["reserved_nano_usd"]
    assert served.ask(user=user).status_code == 402


def test_a_stream_that_outgrows_a_strict_budget_ends_and_is_billed_for_what_it_said(served: Served, user: str) -> None:
    served.define_budget(user, "0.0045", strict=True)
    words = " ".join(["word"] * 200)
    answered = served.ask(f"[say:{words}]", model="vendor-chat", user=user, stream=True)
    clamped = int(answered.headers["x-spendhub-clamped"])
    assert clamped < 60
    *_, last, done = events_of(answered.text)
    assert done == "[DONE]"
    assert (last["choices"][0]["finish_reason"], last["spendhub"]["ended"]) == ("length", "out_of_money")
    assert last["spendhub"]["budget"] == f"{user} per total"
    span = served.the_span(user)
    assert (span["status"], span["error_code"], metadata_of(span)["ended"]) == ("ok", "", "out_of_money")
    assert clamped <= span["output_tokens"] < 200
    assert served.held(user) == "0.00"


def test_a_stream_with_a_limit_of_its_own_holds_nothing_more(served: Served, user: str) -> None:
    # Ten tokens, in more than ten events.
    served.define_budget(user, "1")
    answered = served.ask(
        "[out:10] [say:1 2 3 4 5 6 7 8 9 10]", model="vendor-out", max_tokens=10, user=user, stream=True
    )
    assert answered.text.endswith("data: [DONE]\n\n")
    span = served.the_span(user)
    assert (span["status"], span["reserved_nano_usd"]) == ("ok", 10 * OUTPUT_NANO_USD)


def test_a_stream_without_a_limit_holds_more_as_it_goes_on(served: Served, user: str) -> None:
    # Held for 1,024 tokens at first; the vendor says 1,500 in as many events, and bills them.
    budget = served.define_budget(user, "1")
    words = " ".join(["word"] * 1_500)
    answered = served.ask(f"[in:10] [out:1500] [say:{words}]", model="vendor-out", user=user, stream=True)
    assert answered.status_code == 200
    assert served.ledger(budget) == 1_500 * OUTPUT_NANO_USD
    assert served.held(user) == "0.00"
    # All that was held for it is more than it has cost.
    assert served.the_span(user)["reserved_nano_usd"] == 2 * 1_024 * OUTPUT_NANO_USD
    assert money_of_spans(served, user) == [("0.02048", "0.015", "0.00")]


def test_a_stream_of_few_large_events_holds_more_as_well(served: Served, user: str) -> None:
    served.define_budget(user, "1")
    words = " ".join(["word" * 1_000] * 3)
    served.ask(f"[fault:slow-stream] [in:10] [out:1900] [say:{words}]", model="vendor-out", user=user, stream=True)
    span = served.the_span(user)
    assert span["cost_nano_usd"] == 1_900 * OUTPUT_NANO_USD
    assert span["reserved_nano_usd"] == 4 * 1_024 * OUTPUT_NANO_USD


def test_a_stream_that_finds_no_room_for_more_says_by_how_much_it_went_over(served: Served, user: str) -> None:
    # Room for what is held at first, and for no more.
    budget = served.define_budget(user, usd(1_024 * OUTPUT_NANO_USD))
    words = " ".join(["word"] * 1_500)
    asked = {"user": user, "stream": True, "stream_options": {"include_usage": True}}
    answered = served.ask(f"[in:10] [out:1500] [say:{words}]", model="vendor-out", **asked)
    *_, usage, _done = events_of(answered.text)
    assert usage["spendhub"]["over_hold"] == "0.00476"
    assert money_of_spans(served, user) == [("0.01024", "0.015", "0.00476")]
    assert served.native("GET", f"budgets/{budget}")["overspent"] == "0.00476"


def test_what_is_left_for_the_holder_of_the_key_can_be_asked(served: Served, user: str) -> None:
    own, ends_at = on_a_long_day(served)
    own.define_budget(user, "1", period="day")
    own.ask(CALL, user=user)
    headers = {"authorization": f"Bearer {own.key}", "x-spendhub-user": user}
    told = httpx.get(f"{own.url}/budget", headers=headers, timeout=30).json()
    assert (told["allowed"], told["remaining"]) == (True, "0.9996")
    assert [each["name"] for each in told["budgets"]] == [f"{user} per day"]
    assert told["until"] == told["budgets"][0]["window"]["end"]
    assert datetime.fromisoformat(told["until"]) == ends_at


@pytest.mark.parametrize(
    ("limits", "remaining", "renewed_by"),
    [
        ({"day": "100", "month": "5"}, "5.00", "month"),
        ({"day": "5", "month": "100"}, "5.00", "day"),
        # Where both have the same, all of it is there again only when both have begun afresh.
        ({"day": "5", "month": "5"}, "5.00", "month"),
        ({"day": "0", "month": "0"}, "0.00", "month"),
        ({"day": "100", "total": "5"}, "5.00", "total"),
    ],
)
def test_what_is_left_is_told_with_the_end_of_the_budget_that_has_no_more(
    served: Served, user: str, limits: dict[str, str], remaining: str, renewed_by: str
) -> None:
    for period, limit in limits.items():
        served.define_budget(user, limit, period=period)
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-user": user}
    told = httpx.get(f"{served.url}/budget", headers=headers, timeout=30).json()
    (end,) = [each["window"]["end"] for each in told["budgets"] if each["period"] == renewed_by]
    assert (told["remaining"], told["until"]) == (remaining, end)


@pytest.fixture(scope="module")
def priority_price(served: Served) -> None:
    """For whoever asks for it: a priority tier at twice the price."""
    price = {"model": "vendor-chat", "service_tier": "priority", "input": "4", "output": "20"}
    assert served.native("POST", "prices", json=price)["service_tier"] == "priority"
    pause_for_snapshots()


@pytest.mark.usefixtures("priority_price")
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_call_in_another_tier_is_held_and_billed_at_its_price(served: Served, user: str, is_stream: bool) -> None:
    answered = served.ask(
        CALL, user=user, service_tier="fast" if is_stream else "priority", max_tokens=50, stream=is_stream
    )
    assert answered.status_code == 200
    span = served.the_span(user)
    assert span["cost_nano_usd"] == 2 * CALL_NANO_USD
    assert (metadata_of(span)["service_tier"], bool(span["is_estimated"])) == ("priority", False)
    assert span["reserved_nano_usd"] >= 2 * 50 * OUTPUT_NANO_USD


def test_a_tier_without_a_price_counts_as_the_standard_one_and_is_marked(served: Served, user: str) -> None:
    assert served.ask(CALL, user=user, service_tier="flex").status_code == 200
    span = served.the_span(user)
    assert span["cost_nano_usd"] == CALL_NANO_USD
    assert (metadata_of(span)["service_tier"], bool(span["is_estimated"])) == ("flex", True)


@pytest.mark.usefixtures("priority_price")
def test_a_strict_budget_is_not_exceeded_by_a_dearer_tier(served: Served, user: str) -> None:
    budget = served.define_budget(user, "0.01", strict=True)
    answered = served.ask("[in:1000] [out:290]", user=user, service_tier="priority")
    # At most 3 x 14 + 1,024 tokens in at 4,000 nano_usd; the rest of 10,000,000 at 20,000 a token.
    assert 280 <= int(answered.headers["x-spendhub-clamped"]) <= 300
    assert served.ledger(budget) == 1_000 * 2 * INPUT_NANO_USD + 290 * 2 * OUTPUT_NANO_USD <= 10_000_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("web_search_options", {}),
        ("models", ["vendor-out"]),
        ("search_parameters", {}),
        ("extra_body", {"google": {"cached_content": "cachedContents/1"}}),
        ("best_of", 3),
        ("deferred", True),
        ("prediction", {"type": "content", "content": "hello"}),
    ],
)
def test_a_strict_budget_refuses_what_leaves_the_bill_without_a_bound_and_nobody_is_asked(
    served: Served, user: str, field: str, value: Any
) -> None:
    budget = served.define_budget(user, "1", strict=True)
    before = served.vendor.served.calls
    answered = served.ask(user=user, **{field: value})
    assert answered.status_code == 402
    error = answered.json()["error"]
    assert (error["code"], error["field"]) == ("unbounded_call", field)
    assert (served.ledger(budget), served.held(user), served.spans(user)) == (0, "0.00", [])
    assert served.vendor.served.calls == before


def test_chats_search_that_is_not_told_of_counts_as_one(served: Served, user: str) -> None:
    assert served.ask(CALL, user=user, web_search_options={}).status_code == 200
    span = served.the_span(user)
    told = metadata_of(span)
    # The model has no price for it: nothing is added, and the span says so.
    assert (span["cost_nano_usd"], bool(span["is_estimated"])) == (CALL_NANO_USD, True)
    assert (told["web_searches"], told["not_priced"]) == (1, ["web_search"])


def test_a_model_that_always_searches_is_billed_for_it_when_a_client_of_messages_asks_it(
    served: Served, user: str, reader: str
) -> None:
    name = f"{user}-search-api"
    served.native("POST", "models", json={"provider": reader, "name": name})
    served.native("POST", "prices", json={"model": name, "input": "2", "output": "10", "web_search": "10"})
    pause_for_snapshots()
    message = {
        "model": name, "max_tokens": 50, "metadata": {"user_id": user},
        "messages": [{"role": "user", "content": CALL}],
    }  # fmt: skip
    headers = {"authorization": f"Bearer {served.key}", "x-spendhub-user": user}
    ask = partial(httpx.post, f"{served.url}/messages", headers=headers, json=message, timeout=30)
    assert ask().status_code == 200
    span = served.the_span(user)
    # 10 USD for a thousand searches: 10,000,000 nano_usd for one. Its 8,000 tokens of input are held beside.
    assert (span["cost_nano_usd"], metadata_of(span)["web_searches"]) == (CALL_NANO_USD + 10_000_000, 1)
    assert span["reserved_nano_usd"] >= 10_000_000 + 8_000 * INPUT_NANO_USD + 50 * OUTPUT_NANO_USD
    served.define_budget(user, "1", strict=True)
    refused = ask()
    assert (refused.status_code, refused.json()["error"]["field"]) == (402, "model")
    assert len(served.spans(user)) == 1


def test_a_strict_budget_holds_for_the_usual_tier_when_a_cheaper_one_has_no_room(served: Served, user: str) -> None:
    price = {"model": "vendor-out", "service_tier": "flex", "input": "0", "output": "5"}
    served.native("POST", "prices", json=price)
    pause_for_snapshots()
    served.define_budget(user, "1", strict=True)
    call = "[in:1] [out:20]"
    assert served.ask(call, model="vendor-out", user=user, service_tier="flex", max_tokens=100).status_code == 200
    span = served.the_span(user)
    assert (span["reserved_nano_usd"], span["cost_nano_usd"]) == (100 * OUTPUT_NANO_USD, 20 * OUTPUT_NANO_USD // 2)


def test_a_strict_budget_counts_what_stands_beside_a_parts_text(served: Served, user: str) -> None:
    # 60,000 bytes: held as 60,000 tokens and more, at 2,000 nano_usd.
    sound = {"type": "input_audio", "text": "x", "input_audio": {"data": "A" * 60_000, "format": "wav"}}
    budget = served.define_budget(user, usd(60_000 * INPUT_NANO_USD), strict=True)
    parts = [{"type": "text", "text": "[in:40000] [out:16]"}, sound]

    def ask() -> httpx.Response:
        headers, messages = {"authorization": f"Bearer {served.key}"}, [{"role": "user", "content": parts}]
        body = {"model": "vendor-chat", "user": user, "messages": messages, "max_tokens": 16}
        return httpx.post(f"{served.url}/chat/completions", headers=headers, json=body, timeout=30)

    before = served.vendor.served.calls
    assert (ask().status_code, served.ledger(budget), served.vendor.served.calls) == (402, 0, before)
    served.native("PATCH", f"budgets/{budget}", json={"limit": usd(70_000 * INPUT_NANO_USD)})
    pause_for_snapshots()
    assert ask().status_code == 200
    span = served.the_span(user)
    assert span["cost_nano_usd"] == 40_000 * INPUT_NANO_USD + 16 * OUTPUT_NANO_USD == served.ledger(budget)
    assert span["reserved_nano_usd"] >= 60_000 * INPUT_NANO_USD + 16 * OUTPUT_NANO_USD


# --- prices that nobody expects ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("prices", "call", "cost_nano_usd"),
    [
        # What is read from the cache costs more than what is not: 1,000 tokens at 2,000 USD per million, 10 at 1,000.
        ([{"input": "1000", "output": "1000", "cache_read": "2000"}], "[in:0] [cached:1000] [out:10]", 2_010_000_000),
        # A long context is cheaper: 1,052 tokens at 1,000 USD per million, not at 100.
        (
            [
                {"input": "1000", "output": "1000"},
                {"input": "100", "output": "100", "min_context_tokens": 1_050},
            ],
            "[in:1050] [out:2]",
            1_052_000_000,
        ),
    ],
)
def test_a_strict_budget_is_not_exceeded_at_a_price_that_is_odd(
    served: Served, user: str, prices: list[dict[str, Any]], call: str, cost_nano_usd: int
) -> None:
    served.define_provider(user)
    served.native("POST", "models", json={"provider": user, "name": user})
    for price in prices:
        served.native("POST", "prices", json={"model": user, **price})
    pause_for_snapshots()
    budget = served.define_budget(user, usd(cost_nano_usd - 1), strict=True)
    refused = served.ask(call, model=user, user=user, max_tokens=10)
    assert (refused.status_code, served.ledger(budget)) == (402, 0)
    served.native("PATCH", f"budgets/{budget}", json={"limit": "5"})
    pause_for_snapshots()
    assert served.ask(call, model=user, user=user, max_tokens=10).status_code == 200
    span = served.the_span(user)
    assert span["cost_nano_usd"] == cost_nano_usd <= span["reserved_nano_usd"]


# --- input that only the vendor sees ----------------------------------------------------------------------------------
FILE_CALL = [{"type": "text", "text": "[in:40000] [out:100]"}, {"type": "file", "file": {"file_id": "file-1"}}]
FILE_CALL_NANO_USD = 40_100 * 1_000_000


@pytest.fixture(scope="module")
def reader(served: Served) -> str:
    """A model that takes 40,000 tokens and says 100. It is dear, so that `auto` never takes it."""
    name = "reader"
    served.define_model(name, price="1000", context_tokens=40_000, max_output_tokens=100)
    pause_for_snapshots()
    return name


def ask_about_a_file(served: Served, user: str, model: str) -> httpx.Response:
    return httpx.post(
        f"{served.url}/chat/completions",
        headers={"authorization": f"Bearer {served.key}"},
        json={"model": model, "user": user, "messages": [{"role": "user", "content": FILE_CALL}]},
        timeout=30,
    )


def test_a_strict_budget_is_not_exceeded_by_a_file_that_only_the_vendor_sees(
    served: Served, user: str, reader: str
) -> None:
    # Room for one bill and a half; of the request itself 1,200 tokens can be seen.
    budget = served.define_budget(user, usd(3 * FILE_CALL_NANO_USD // 2), strict=True)
    answered = [ask_about_a_file(served, user, reader).status_code for _ in range(2)]
    assert answered == [200, 402]
    span = served.the_span(user)
    assert span["reserved_nano_usd"] == span["cost_nano_usd"] == served.ledger(budget) == FILE_CALL_NANO_USD


def test_without_strict_the_same_file_is_held_as_if_it_were_small_and_booked_in_full(
    served: Served, user: str, reader: str
) -> None:
    budget = served.define_budget(user, usd(3 * FILE_CALL_NANO_USD // 2))
    answered = [ask_about_a_file(served, user, reader).status_code for _ in range(3)]
    assert answered == [200, 200, 402]
    assert served.ledger(budget) == 2 * FILE_CALL_NANO_USD > 3 * FILE_CALL_NANO_USD // 2


def test_a_strict_budget_refuses_a_file_for_a_model_of_unknown_size_and_nobody_is_asked(
    served: Served, user: str
) -> None:
    budget = served.define_budget(user, "1", strict=True)
    before = served.vendor.served.calls
    refused = ask_about_a_file(served, user, "vendor-chat")
    assert refused.status_code == 402
    error = refused.json()["error"]
    assert (error["code"], error["field"]) == ("unbounded_call", "messages[0].content[1]")
    assert (served.ledger(budget), served.held(user), served.spans(user)) == (0, "0.00", [])
    assert served.vendor.served.calls == before


def test_a_route_passes_over_a_model_of_unknown_size_where_a_strict_budget_holds(
    served: Served, user: str, reader: str
) -> None:
    route = f"files-{user}"
    # The cheaper one comes first.
    served.native(
        "POST", "routes", json={"name": route, "models": ["vendor-chat", reader], "strategy": "cost-optimized"}
    )
    pause_for_snapshots()
    served.define_budget(user, usd(FILE_CALL_NANO_USD), strict=True)
    # Beside the messages, for a vendor who takes them there: no capability of ours is asked for.
    answered = served.ask("[in:40000] [out:100]", model=route, user=user, documents=["doc-1"])
    assert (answered.status_code, answered.headers["x-spendhub-model"]) == (200, reader)
    assert served.the_span(user)["cost_nano_usd"] == FILE_CALL_NANO_USD


MEGABYTE = base64.b64encode(bytes(1_000_000)).decode()
PDF = {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{MEGABYTE}"}}
# 26 pages of 3,000; 3 for the request, 4 for the message.
PDF_TOKENS = 26 * 3_000 + 3 + 4


def ask_about_a_pdf(served: Served, user: str, model: str, **headers: str) -> httpx.Response:
    content = [FILE_CALL[0], PDF]
    return httpx.post(
        f"{served.url}/chat/completions",
        headers={"authorization": f"Bearer {served.key}", **headers},
        json={"model": model, "user": user, "messages": [{"role": "user", "content": content}]},
        timeout=30,
    )


def test_a_budget_with_room_for_a_packed_documents_pages_lets_it_through(served: Served, user: str) -> None:
    held_nano_usd = (PDF_TOKENS + count_tokens(FILE_CALL[0]["text"])) * INPUT_NANO_USD + USUAL_HOLD_NANO_USD
    served.define_budget(user, usd(held_nano_usd))
    assert ask_about_a_pdf(served, user, "vendor-chat").status_code == 200
    assert served.the_span(user)["reserved_nano_usd"] == held_nano_usd


def test_a_packed_document_is_routed_to_a_model_with_the_usual_context(served: Served, user: str) -> None:
    served.define_model(user, context_tokens=200_000, max_output_tokens=8_000, capabilities=["general", "files"])
    pause_for_snapshots()
    answered = ask_about_a_pdf(served, user, "auto", **{"x-spendhub-allow": user})
    assert (answered.status_code, answered.headers.get("x-spendhub-model")) == (200, user), answered.text


def test_a_strict_budget_holds_a_packed_document_at_all_that_the_model_takes(
    served: Served, user: str, reader: str
) -> None:
    budget = served.define_budget(user, usd(FILE_CALL_NANO_USD), strict=True)
    assert ask_about_a_pdf(served, user, reader).status_code == 200
    assert served.the_span(user)["reserved_nano_usd"] == served.ledger(budget) == FILE_CALL_NANO_USD


def test_a_packed_document_is_counted_by_its_pages(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.key}"}
    source = {"type": "base64", "media_type": "application/pdf", "data": MEGABYTE}
    told = httpx.post(
        f"{served.url}/messages/count_tokens",
        headers=headers,
        json={
            "model": "vendor-chat",
            "messages": [{"role": "user", "content": [{"type": "document", "source": source}]}],
        },
        timeout=30,
    )
    # 5 of `application/pdf`.
    assert told.json() == {"input_tokens": PDF_TOKENS + 5}
    inline = {"inlineData": {"mimeType": "application/pdf", "data": MEGABYTE}}
    told = httpx.post(
        f"{served.server.url}/v1beta/models/vendor-chat:countTokens",
        headers=headers,
        json={"contents": [{"role": "user", "parts": [inline]}]},
        timeout=30,
    )
    assert told.json() == {"totalTokens": PDF_TOKENS + 5}


def test_a_document_larger_than_the_only_models_context_is_routed_held_and_counted_at_that_context(
    served: Served, user: str
) -> None:
    served.define_model(user, context_tokens=32_000, max_output_tokens=8_000, capabilities=["general", "files"])
    pause_for_snapshots()
    served.define_budget(user, "1000000")
    answered = ask_about_a_pdf(served, user, "auto", **{"x-spendhub-allow": user})
    assert (answered.status_code, answered.headers.get("x-spendhub-model")) == (200, user), answered.text
    # 900 USD per million tokens in, and of the usual answer.
    assert served.the_span(user)["reserved_nano_usd"] == (32_000 + 1_024) * 900_000
    source = {"type": "base64", "media_type": "application/pdf", "data": MEGABYTE}
    said = {"role": "user", "content": [{"type": "document", "source": source}]}
    inline = {"inlineData": {"mimeType": "application/pdf", "data": MEGABYTE}}
    for address, body, told in (
        (f"{served.url}/messages/count_tokens", {"model": user, "messages": [said]}, {"input_tokens": 32_000}),
        (
            f"{served.server.url}/v1beta/models/{user}:countTokens",
            {"contents": [{"role": "user", "parts": [inline]}]},
            {"totalTokens": 32_000},
        ),
    ):
        counted = httpx.post(address, headers={"authorization": f"Bearer {served.key}"}, json=body, timeout=30)
        assert counted.json() == told


@pytest.mark.parametrize("mode", ["observe", None])
def test_a_call_that_could_cost_more_than_can_be_held_is_refused_before_anybody_is_asked(
    served: Served, user: str, mode: str | None
) -> None:
    served.define_model(user, price="1000000")  # a dollar a token
    if mode is not None:
        served.define_budget(user, "1", mode=mode)
    pause_for_snapshots()
    calls = served.vendor.served.calls
    answered = served.ask(CALL, model=user, user=user, n=127, max_tokens=999_999_999)
    assert (answered.status_code, answered.json()["error"]["code"]) == (400, "estimate_too_large")
    assert (served.vendor.served.calls, served.spans(user)) == (calls, [])
    # Whoever counts goes on counting.
    assert served.ask(CALL, model=user, user=user, max_tokens=20).headers["x-spendhub-cost"] == "120.00"
    if mode is not None:
        assert served.held(user) == "0.00"

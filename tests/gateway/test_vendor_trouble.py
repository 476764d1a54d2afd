"""What the vendor does wrong, and what the client then gets, pays, and finds in the books."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from spendhub.money import format_usd
from tests.fakes.openai_upstream import WORDS_OF_ANSWER
from tests.gateway.served import INPUT_NANO_USD, OUTPUT_NANO_USD, Served, events_of
from tests.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.once]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("status", [500, 401, 429])
def test_a_vendors_error_is_passed_on_as_it_is_and_costs_nothing(
    served: Served, user: str, status: int, is_stream: bool
) -> None:
    served.define_budget(user, "1")
    answered = served.ask(f"[fault:{status}]", user=user, stream=is_stream)
    assert answered.status_code == status
    assert answered.json()["error"]["message"] == f"fault {status} on demand"
    assert answered.headers.get("retry-after") == ("7" if status == 429 else None)
    assert answered.headers["x-spendhub-cost"] == "0.00"
    assert answered.headers["x-spendhub-remaining"] == "1.00"
    span = served.the_span(user)
    assert (span["status"], span["error_code"], span["cost_nano_usd"]) == ("error", f"upstream_{status}", 0)
    assert served.held(user) == "0.00"


def test_the_sdk_raises_the_vendors_rate_limit_as_its_own(served: Served, user: str) -> None:
    with pytest.raises(openai.RateLimitError):
        served.sdk().chat.completions.create(
            model="vendor-chat", messages=[{"role": "user", "content": "[fault:429]"}], user=user
        )


@pytest.mark.parametrize("fault", ["", "reset-at-once", "no-http"])
def test_a_vendor_that_gives_no_answer_is_a_502_and_costs_nothing(served: Served, user: str, fault: str) -> None:
    served.define_budget(user, "1")
    asked = {"text": f"[fault:{fault}]"} if fault else {"model": "nobody"}
    answered = served.ask(user=user, **asked)
    assert answered.status_code == 502
    assert answered.json()["error"]["code"] == "upstream_failed"
    assert served.the_span(user)["cost_nano_usd"] == 0
    assert served.held(user) == "0.00"


def test_a_vendor_that_keeps_its_stream_alive_with_comments_keeps_its_clients_alive_too(
    served: Served, user: str
) -> None:
    body = {"model": "vendor-chat", "messages": [{"role": "user", "content": "[fault:queued]"}], "user": user}
    head = {"authorization": f"Bearer {served.key}"}
    with served.vendor.holding_back(), httpx.Client(timeout=30) as client:
        asked = client.stream("POST", f"{served.url}/chat/completions", json=body | {"stream": True}, headers=head)
        with asked as answer:
            assert next(answer.iter_raw()) == b": queued\n\n"  # nobody has said a word yet
    assert served.wait_for_spans(user, 1)[0]["status"] == "aborted"


@pytest.mark.parametrize("fault", ["not-json", "html", "error-in-200"])
def test_an_answer_that_is_none_is_a_502_and_what_went_in_is_billed_by_our_count(
    served: Served, user: str, fault: str
) -> None:
    served.define_budget(user, "1")
    answered = served.ask(f"[fault:{fault}]", user=user)
    assert answered.status_code == 502
    span = served.the_span(user)
    assert span["status"] == "error" and bool(span["is_estimated"])
    assert span["output_tokens"] == 0
    assert span["cost_nano_usd"] == span["input_tokens"] * INPUT_NANO_USD > 0
    assert served.held(user) == "0.00"


def test_an_answer_without_its_choices_is_a_502_and_what_the_vendor_counted_is_billed(
    served: Served, user: str
) -> None:
    answered = served.ask("[fault:no-choices] [in:100] [out:20]", user=user)
    assert (answered.status_code, answered.json()["error"]["code"]) == (502, "upstream_failed")
    span = served.the_span(user)
    assert (span["status"], bool(span["is_estimated"])) == ("error", False)
    assert span["cost_nano_usd"] == 100 * INPUT_NANO_USD + 20 * OUTPUT_NANO_USD
    assert answered.headers["x-spendhub-cost"] == "0.0004"


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("fault", ["no-usage", "impossible-usage"])
def test_an_answer_without_usage_that_can_be_is_counted_by_us_and_marked(
    served: Served, user: str, fault: str, is_stream: bool
) -> None:
    answered = served.ask(
        f"[fault:{fault}] [say:one two six]", user=user, stream=is_stream, stream_options={"include_usage": True}
    )
    assert answered.status_code == 200
    span = served.the_span(user)
    assert (span["status"], bool(span["is_estimated"]), span["output_tokens"]) == ("ok", True, 3)
    assert span["cost_nano_usd"] == span["input_tokens"] * INPUT_NANO_USD + 3 * OUTPUT_NANO_USD
    if is_stream:
        *_, usage, done = events_of(answered.text)
        assert (usage["usage"]["completion_tokens"], usage["spendhub"]["estimated"], done) == (3, True, "[DONE]")
    assert not is_stream or format_usd(span["cost_nano_usd"]) == usage["spendhub"]["cost"]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("zeros", "output"), [("[in:0] [out:0]", 3), ("[in:0] [out:40]", 40), ("[in:90] [out:0]", 3)])
def test_usage_of_zeros_beside_words_is_completed_by_us_and_marked(
    served: Served, user: str, zeros: str, output: int, is_stream: bool
) -> None:
    served.ask(f"{zeros} [say:one two six]", user=user, stream=is_stream)
    span = served.the_span(user)
    assert (bool(span["is_estimated"]), span["output_tokens"], span["input_tokens"] > 0) == (True, output, True)
    assert span["cost_nano_usd"] == span["input_tokens"] * INPUT_NANO_USD + output * OUTPUT_NANO_USD


ASKED = "[fault:no-usage] [say:one two six]"


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("v1/messages", {"messages": [{"role": "user", "content": ASKED}], "max_tokens": 50}, ("input_tokens", "output_tokens")),
        ("v1beta/models/vendor-chat:generateContent", {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]},
         ("promptTokenCount", "candidatesTokenCount")),
        ("v1/responses", {"input": ASKED}, ("input_tokens", "output_tokens")),
    ],
)  # fmt: skip
def test_a_translated_answer_without_usage_tells_our_count_of_it(
    served: Served, user: str, path: str, body: dict[str, Any], told: tuple[str, str]
) -> None:
    answered = httpx.post(
        f"{served.server.url}/{path}",
        headers={"authorization": f"Bearer {served.key}", "x-spendhub-user": user},
        json=body if "contents" in body else {"model": "vendor-chat", **body},
        timeout=30,
    )
    assert answered.status_code == 200, answered.text
    span = served.the_span(user)
    assert (bool(span["is_estimated"]), span["output_tokens"]) == (True, 3)
    answer = answered.json()
    usage = answer.get("usage") or answer["usageMetadata"]
    assert tuple(usage[name] for name in told) == (span["input_tokens"], 3)
    assert span["cost_nano_usd"] == span["input_tokens"] * INPUT_NANO_USD + 3 * OUTPUT_NANO_USD


@pytest.mark.parametrize("fault", ["reset", "cut", "bad-chunk"])
def test_a_stream_that_breaks_off_is_billed_as_far_as_it_came_and_ends_with_an_error(
    served: Served, user: str, fault: str
) -> None:
    served.define_budget(user, "1")
    with pytest.raises(openai.APIError):
        list(
            served.sdk().chat.completions.create(
                model="vendor-chat", messages=[{"role": "user", "content": f"[fault:{fault}]"}], user=user, stream=True
            )
        )
    span = served.the_span(user)
    assert (span["status"], span["error_code"], bool(span["is_estimated"])) == ("error", "upstream_failed", True)
    assert 0 < span["output_tokens"] < 40
    assert span["cost_nano_usd"] == span["input_tokens"] * INPUT_NANO_USD + span["output_tokens"] * OUTPUT_NANO_USD
    assert served.held(user) == "0.00"


def test_a_vendors_own_error_in_mid_stream_is_told_in_its_words_and_with_what_it_has_cost(
    served: Served, user: str
) -> None:
    told = events_of(served.ask("[fault:error]", user=user, stream=True).text)[-1]
    span = served.the_span(user)
    assert (span["status"], span["error_code"]) == ("error", "upstream_failed")
    facts = told["error"].pop("spendhub")
    assert (facts["cost"], facts["model"]) == (format_usd(span["cost_nano_usd"]), "vendor-chat")
    assert told == {
        "error": {
            "message": "overloaded on demand", "type": "fake_error", "param": None, "code": None,
            "retry_after_seconds": 1,
        }
    }  # fmt: skip


@pytest.mark.parametrize("fault", ["split-utf8", "crlf"])
def test_a_stream_cut_up_by_the_network_arrives_whole(served: Served, user: str, fault: str) -> None:
    answered = served.ask(f"[fault:{fault}]", user=user, stream=True)
    *events, done = events_of(answered.text)
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events) == WORDS_OF_ANSWER
    assert done == "[DONE]"
    assert served.the_span(user)["output_tokens"] == 15


@pytest.mark.parametrize(("fault", "is_estimated"), [("no-blank-line", False), ("no-end", True)])
def test_a_stream_that_lacks_nothing_but_its_end_is_an_answer(
    served: Served, user: str, fault: str, is_estimated: bool
) -> None:
    answered = served.ask(
        f"[fault:{fault}] [say:one two six]", user=user, stream=True, stream_options={"include_usage": True}
    )
    assert answered.text.endswith("\n\ndata: [DONE]\n\n") and answered.text.count("[DONE]") == 1
    *events, usage, _ = events_of(answered.text)
    said = [event["choices"][0] for event in events]
    assert "".join(choice["delta"].get("content") or "" for choice in said) == "one two six"
    assert said[-1]["finish_reason"] == "stop"
    assert (usage["usage"]["completion_tokens"], usage["spendhub"].get("estimated", False)) == (3, is_estimated)
    span = served.the_span(user)
    assert (span["status"], bool(span["is_estimated"]), span["output_tokens"]) == ("ok", is_estimated, 3)


def test_what_is_no_event_of_openais_goes_through_and_the_rest_counts(served: Served, user: str) -> None:
    answered = served.ask("[fault:malformed-sse]", user=user, stream=True)
    assert "data: {not json" in answered.text
    assert answered.text.endswith("data: [DONE]\n\n")
    assert served.the_span(user)["output_tokens"] == 15


def test_a_client_that_leaves_a_stream_is_billed_for_what_was_produced_and_the_vendor_is_let_go(
    served: Served, user: str
) -> None:
    budget = served.define_budget(user, "1")
    vendor = served.vendor.served
    completed, left = vendor.completed, vendor.streams_left
    text = f"[fault:slow-stream] [say:{'word ' * 600}]"  # a minute's answer
    with served.sdk().chat.completions.create(
        model="vendor-chat", messages=[{"role": "user", "content": text}], user=user, stream=True
    ) as stream:
        for _, _chunk in zip(range(4), stream, strict=False):
            pass
    span = served.wait_for_spans(user, 1)[0]
    assert (span["status"], bool(span["is_estimated"])) == ("aborted", True)
    assert 0 < span["output_tokens"] < 600
    assert span["cost_nano_usd"] == span["input_tokens"] * INPUT_NANO_USD + span["output_tokens"] * OUTPUT_NANO_USD
    assert served.ledger(budget) == span["cost_nano_usd"]
    wait_until(lambda: served.held(user) == "0.00", 10, "the hold to end")
    wait_until(lambda: vendor.streams_left > left, 10, "the vendor to be let go")
    assert vendor.completed == completed


def test_a_client_that_leaves_before_a_whole_answer_is_billed_for_it(served: Served, user: str) -> None:
    calls = served.vendor.served.calls
    body = {
        "model": "vendor-chat", "user": user, "messages": [{"role": "user", "content": "[fault:held] [out:7]"}]
    }  # fmt: skip
    with served.vendor.holding_back(), served.client_that_leaves("/v1/chat/completions", body):
        wait_until(lambda: served.vendor.served.calls == calls + 1, 10, "the vendor to be asked")
    span = served.wait_for_spans(user, 1)[0]
    assert (span["status"], span["output_tokens"]) == ("ok", 7)

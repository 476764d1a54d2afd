"""Errors in each dialect's own shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from anthropic.types import ErrorResponse
from openai.types.responses import ResponseErrorEvent

from budgets.errors import BudgetExceeded
from routing.conversation import NotTranslatable
from routing.errors import (
    CircuitOpen,
    CredentialMissing,
    CredentialUnreadable,
    CredentialUnusable,
    DialectNotSpoken,
    NoModelFits,
    SigningUnavailable,
    UnknownModel,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.responses import ResponsesReader
from routing.upstreams.sse import SseEvent, UnreadEvents
from spendhub.api.errors import BodyTooLarge, Broken
from spendhub.errors import Forbidden, Invalid, Refused, SpendHubError, Throttled, Unavailable, Unidentified
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.dialect import CallRequest, ClientDialect, StreamOut
from spendhub.gateway.gemini.embed import EmbedDialect
from spendhub.gateway.gemini.generate import GENERATE_DIALECT
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.embeddings import EMBEDDINGS_DIALECT
from spendhub.gateway.openai.responses import RESPONSES_DIALECT
from spendhub.gateway.recipe_router import tell_recipe_error
from tests.budgets.facts import budget, call, decision
from tests.gateway.dialects.said import MONEY, REPLIES, SaidReader, deltas_of, events_in

OPENAIS = (CHAT_DIALECT, RESPONSES_DIALECT, EMBEDDINGS_DIALECT)
ALL = (*OPENAIS, MESSAGES_DIALECT)
GOOGLES_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 402: "RESOURCE_EXHAUSTED", 403: "PERMISSION_DENIED",
    404: "NOT_FOUND", 413: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 502: "UNAVAILABLE",
    503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED", 529: "UNAVAILABLE",
}  # fmt: skip
CASES = [
    (Invalid("x", field="n"), 400, "invalid_request_error", "invalid_request_error"),
    (Unidentified("x"), 401, "invalid_request_error", "authentication_error"),
    (Refused("x"), 402, "insufficient_quota", "billing_error"),
    (Forbidden("x"), 403, "permission_error", "permission_error"),
    (UnknownModel("x"), 404, "invalid_request_error", "not_found_error"),
    (BodyTooLarge("x"), 413, "invalid_request_error", "request_too_large"),
    (Throttled("x", 3), 429, "rate_limit_error", "rate_limit_error"),
    (Broken("x"), 500, "server_error", "api_error"),
    (UpstreamError("x"), 502, "server_error", "api_error"),
    (Unavailable("x"), 503, "server_error", "api_error"),
    (UpstreamTimeout("x"), 504, "server_error", "timeout_error"),
    (UpstreamRefused("v", 529, {}, b""), 529, "server_error", "overloaded_error"),
]


@pytest.mark.parametrize(("error", "status", "openais", "anthropics"), CASES)
def test_every_kind_has_the_dialects_own_word(error: Any, status: int, openais: str, anthropics: str) -> None:
    for dialect in OPENAIS:
        found, body, headers = dialect.error_answer(error)
        told = json.loads(body)["error"]
        assert (found, told["type"]) == (status, openais)
        assert set(told) >= {"message", "type", "param", "code"}
        assert (b"content-type", b"application/json") in headers
    found, body, _ = MESSAGES_DIALECT.error_answer(error)
    told = json.loads(body)
    assert (found, told["type"], told["error"]["type"], told["error"]["code"]) == (
        status, "error", anthropics, error.code,
    )  # fmt: skip
    if status != 413:  # which the SDK knows by its status alone
        assert ErrorResponse.model_validate(told).request_id is None


@pytest.mark.parametrize(("error", "status"), [case[:2] for case in CASES])
def test_every_kind_has_googles_own_word(error: Any, status: int) -> None:
    found, body, headers = GENERATE_DIALECT.error_answer(error)
    told = json.loads(body)["error"]
    assert (found, told["code"], told["status"]) == (status, status, GOOGLES_STATUSES[status])
    assert (b"content-type", b"application/json") in headers


def test_googles_clients_are_told_the_facts_as_texts_and_as_they_are() -> None:
    error = Refused("no room", remaining="0.01", attempts=3, budgets=[{"name": "small"}])
    told = json.loads(GENERATE_DIALECT.error_answer(error)[1])["error"]
    assert told["details"] == [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "REFUSED", "domain": "spendhub",
         "metadata": {"remaining": "0.01"}},
        {"@type": "type.googleapis.com/spendhub.Error", "code": "refused", "remaining": "0.01", "attempts": 3,
         "budgets": [{"name": "small"}]},
    ]  # fmt: skip


def test_anthropics_sdk_is_told_in_its_own_word_that_a_thread_cannot_be_kept_for_another_vendors_model() -> None:
    told = json.loads(MESSAGES_DIALECT.error_answer(NotTranslatable("thread", "another dialect"))[1])["error"]
    assert told["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["model"]}
    assert (told["type"], told["code"], told["field"]) == ("invalid_request_error", "not_translatable", "thread")
    other = json.loads(MESSAGES_DIALECT.error_answer(NotTranslatable("container", "another dialect"))[1])["error"]
    assert "details" not in other
    for dialect in OPENAIS:
        assert "details" not in json.loads(dialect.error_answer(NotTranslatable("thread", "x"))[1])["error"]


def test_no_client_is_told_to_come_back_to_a_frozen_budget() -> None:
    error = BudgetExceeded(decision(call("1"), (budget("user:ada", is_frozen=True), "0", "0")))
    for dialect in (*ALL, GENERATE_DIALECT, EmbedDialect("m", is_batch=False)):
        status, body, headers = dialect.error_answer(error)
        assert (status, dict(headers)[b"x-should-retry"]) == (402, b"false")
        assert b"retry-after" not in dict(headers)
        assert b"is frozen: nothing passes until it is unfrozen." in body and b"afresh" not in body
    status, body, headers = tell_recipe_error(error)
    assert (status, json.loads(body)["resetsAt"], b"retry-after" in dict(headers)) == (429, None, False)


def test_sdks_are_told_to_come_back_soon_for_money_that_is_merely_held() -> None:
    error = BudgetExceeded(decision(call("5"), (budget("user:ada", "10"), "2", "8")))
    for dialect in (*ALL, GENERATE_DIALECT, EmbedDialect("m", is_batch=False)):
        status, body, headers = dialect.error_answer(error)
        told = dict(headers)
        assert (status, told[b"retry-after"], told[b"x-should-retry"]) == (402, b"2", b"true")
        assert b"2026-12-01T00:00:00Z" in body  # when the window ends, all the same
    status, body, headers = tell_recipe_error(error)
    assert (status, dict(headers)[b"retry-after"]) == (429, b"2")
    assert json.loads(body)["resetsAt"] == "2026-12-01T00:00:00Z"


def test_no_sdk_asks_again_for_money_that_is_spent() -> None:
    error = BudgetExceeded(decision(call("5"), (budget("user:ada", "10"), "8", "0")))
    for dialect in (*ALL, GENERATE_DIALECT, EmbedDialect("m", is_batch=False)):
        told = dict(dialect.error_answer(error)[2])
        assert (int(told[b"retry-after"]), told[b"x-should-retry"]) == (156 * 3600 + 1, b"false")


def test_facts_stand_beside_the_words() -> None:
    error = Refused("no room", remaining="0.01", suggested_model="small", type="never")
    assert json.loads(CHAT_DIALECT.error_answer(error)[1])["error"]["suggested_model"] == "small"
    told = json.loads(MESSAGES_DIALECT.error_answer(error)[1])["error"]
    assert (told["type"], told["remaining"]) == ("billing_error", "0.01")


OPENAIS_BODY = b'{"error":{"message":"too fast","type":"rate_limit_error","code":null}}'
GOOGLES_BODY = b'[{"error":{"code":429,"message":"too fast","status":"RESOURCE_EXHAUSTED"}}]'
OLLAMAS_BODY = b'{"error":"too fast"}'
ANTHROPICS_BODY = b'{"type":"error","error":{"type":"rate_limit_error","message":"too fast"}}'
HEADERS = {"retry-after": "7", "request-id": "req_1", "content-type": "application/json", "set-cookie": "a=b"}


@pytest.mark.parametrize("dialect", [*ALL, GENERATE_DIALECT])
def test_a_vendors_error_of_the_same_wire_passes(dialect: Any) -> None:
    error = UpstreamRefused("vendor", 429, HEADERS, b'{"as": "it came"}', wire=dialect.wire)
    status, body, headers = dialect.error_answer(error)
    assert (status, body) == (429, b'{"as": "it came"}')
    assert dict(headers) == {
        b"retry-after": b"7", b"request-id": b"req_1", b"x-request-id": b"req_1", b"content-type": b"application/json",
    }  # fmt: skip


@pytest.mark.parametrize("wire", [None, "messages"])
@pytest.mark.parametrize("named", ["x-request-id", "request-id", "x-amzn-requestid"])
def test_an_error_bears_the_vendors_own_id_under_the_names_that_sdks_read(named: str, wire: Any) -> None:
    error = UpstreamRefused("vendor", 429, {named: "req_1"}, ANTHROPICS_BODY, wire=wire)
    for dialect in (*ALL, GENERATE_DIALECT):
        _, body, headers = dialect.error_answer(error)
        assert (dict(headers)[b"x-request-id"], dict(headers)[b"request-id"]) == (b"req_1", b"req_1")
        if dialect is MESSAGES_DIALECT and wire is None:
            assert json.loads(body)["request_id"] == "req_1"


@pytest.mark.parametrize("is_native", [False, True])
def test_an_error_says_when_and_how_often_its_vendor_may_be_asked_again(is_native: bool) -> None:
    told = {
        "retry-after": "1",
        "retry-after-ms": "250",
        "x-ratelimit-remaining-requests": "0",
        "anthropic-ratelimit-tokens-reset": "2026-11-29T12:00:00Z",
        "x-other": "x",
    }
    for dialect in (*ALL, GENERATE_DIALECT):
        error = UpstreamRefused("vendor", 429, told, ANTHROPICS_BODY, wire=dialect.wire if is_native else None)
        headers = dict(dialect.error_answer(error)[2])
        passed = {name: headers.get(name.encode(), b"").decode() for name in told}
        assert passed == {**told, "x-other": ""}


def test_an_error_that_bears_two_ids_keeps_each() -> None:
    error = UpstreamRefused("vendor", 429, {"request-id": "req_1", "x-request-id": "edge_2"}, ANTHROPICS_BODY)
    headers = dict(MESSAGES_DIALECT.error_answer(error)[2])
    assert (headers[b"request-id"], headers[b"x-request-id"]) == (b"req_1", b"edge_2")


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("body", [OPENAIS_BODY, GOOGLES_BODY, OLLAMAS_BODY, ANTHROPICS_BODY])
def test_a_translated_vendors_error_is_told_in_the_clients_shape(dialect: Any, body: bytes) -> None:
    error = UpstreamRefused("vendor", 429, HEADERS, body)
    status, told, headers = dialect.error_answer(error)
    assert status == 429
    assert json.loads(told)["error"]["message"] == "vendor answered 429: too fast"
    assert json.loads(told)["error"]["type"] == "rate_limit_error"
    assert dict(headers)[b"retry-after"] == b"7" and b"set-cookie" not in dict(headers)


@pytest.mark.parametrize(
    ("dialect", "wire"), [(GENERATE_DIALECT, None), (EmbedDialect("m", is_batch=True), "embeddings")]
)
@pytest.mark.parametrize("body", [OPENAIS_BODY, GOOGLES_BODY, OLLAMAS_BODY, ANTHROPICS_BODY])
def test_a_vendors_error_in_other_words_is_told_in_googles(dialect: Any, wire: Any, body: bytes) -> None:
    status, told, headers = dialect.error_answer(UpstreamRefused("vendor", 429, HEADERS, body, wire))
    assert (status, dict(headers)[b"retry-after"]) == (429, b"7")
    assert json.loads(told)["error"]["message"] == "vendor answered 429: too fast"
    assert json.loads(told)["error"]["status"] == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (400, {}, None), (401, {}, None), (404, {}, None), (413, {}, None), (429, {}, 1), (500, {}, 1), (529, {}, 1),
        (400, {"retry-after": "7"}, 7), (429, {"retry-after": "7"}, 7), (400, {"retry-after": "soon"}, None),
    ],
)  # fmt: skip
def test_a_vendors_error_says_when_to_ask_again_only_where_that_may_help(
    status: int, headers: dict[str, str], seconds: int | None
) -> None:
    error = UpstreamRefused("vendor", status, headers, b"")
    for dialect in ALL:
        assert json.loads(dialect.error_answer(error)[1])["error"].get("retry_after_seconds") == seconds
    facts = json.loads(GENERATE_DIALECT.error_answer(error)[1])["error"]["details"][1]
    assert facts.get("retry_after_seconds") == seconds
    told_recipe = dict(tell_recipe_error(error)[2]).get(b"retry-after")
    assert told_recipe == (None if seconds is None else str(seconds).encode())


@pytest.mark.parametrize(
    "error",
    [
        CredentialMissing("no key", provider="vendor"), CredentialUnreadable("vendor"),
        CredentialUnusable("vendor", "x"), SigningUnavailable("botocore", "x.txt"),
        DialectNotSpoken("not spoken", provider="vendor"), NoModelFits("auto", "none", {}, []), CircuitOpen("m", None),
    ],
)  # fmt: skip
def test_what_only_its_operator_can_mend_is_not_to_be_asked_again(error: SpendHubError) -> None:
    for dialect in (*ALL, GENERATE_DIALECT):
        status, body, headers = dialect.error_answer(error)
        assert (status, dict(headers)[b"x-should-retry"]) == (503, b"false")
        assert b"retry-after" not in dict(headers) and b"retry_after" not in body


def test_what_does_not_answer_is_to_be_asked_again_at_once() -> None:
    """Negative control."""
    headers = dict(CHAT_DIALECT.error_answer(Unavailable("x"))[2])
    assert (headers[b"retry-after"], headers.get(b"x-should-retry")) == (b"1", None)


def test_a_model_that_is_left_alone_for_a_while_is_to_be_asked_again_after_it() -> None:
    """Negative control: only one that was stopped by hand stays away until somebody lets calls through."""
    headers = dict(CHAT_DIALECT.error_answer(CircuitOpen("m", 7))[2])
    assert (headers[b"retry-after"], headers.get(b"x-should-retry")) == (b"7", None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"error":{"message":7}}'])
def test_a_vendors_error_without_words_is_told_in_ours(body: bytes) -> None:
    told = json.loads(MESSAGES_DIALECT.error_answer(UpstreamRefused("vendor", 500, {}, body))[1])
    assert told["error"]["message"] == "vendor answered 500"


def test_in_a_stream_an_error_is_its_last_event() -> None:
    error = UpstreamError("broken off")
    (event,) = events_in(CHAT_DIALECT.error_event(error))
    assert json.loads(event.data)["error"]["message"] == "broken off"
    (event,) = events_in(MESSAGES_DIALECT.error_event(error))
    assert event.event == "error" and json.loads(event.data)["error"]["type"] == "api_error"
    (event,) = events_in(GENERATE_DIALECT.error_event(error))
    # What makes the SDK raise is where the event begins, and that the code is a number.
    assert event.data.startswith(b'{"error":{"code":502,')
    (event,) = events_in(RESPONSES_DIALECT.error_event(error))
    told = json.loads(event.data)
    assert ResponseErrorEvent.model_validate(told).message == "broken off"
    assert told["error"]["code"] == "upstream_failed"  # what makes the SDK raise


ASKED: dict[ClientDialect, CallRequest] = {
    dialect: CallRequest(dialect.wire, {"model": "m"}, "m") for dialect in (*ALL, GENERATE_DIALECT)
}
READERS: dict[ClientDialect, Callable[[], Any]] = {
    CHAT_DIALECT: ChatReader,
    RESPONSES_DIALECT: ResponsesReader,
    MESSAGES_DIALECT: MessagesReader,
    GENERATE_DIALECT: ContentsReader,
}


def said_by(dialect: ClientDialect, event: dict[str, Any]) -> UpstreamError:
    """The error that the reader of the same wire raises for an event in mid-stream."""
    with pytest.raises(UpstreamError) as raised:
        READERS[dialect]().read_event(json.dumps(event).encode())
    return raised.value


def last_of(out: StreamOut, error: UpstreamError) -> tuple[SseEvent, dict[str, Any]]:
    (event,) = events_in(out.error_event(error, MONEY))
    told: dict[str, Any] = json.loads(event.data)
    return event, told


def without_money(told: dict[str, Any]) -> dict[str, Any]:
    """What would be told of an error that no call has cost anything for."""
    facts = told["error"]["details"][1] if "details" in told["error"] else told["error"]
    assert facts.pop("spendhub") == MONEY
    return told


def test_a_vendors_own_error_in_mid_stream_keeps_its_words_in_a_chat() -> None:
    said = {"message": "Too busy.", "type": "server_error", "param": None, "code": "overloaded"}
    _, told = last_of(CHAT_DIALECT.passing(ASKED[CHAT_DIALECT]), said_by(CHAT_DIALECT, {"error": said}))
    assert told == {"error": {**said, "retry_after_seconds": 1, "spendhub": MONEY}}


def test_what_a_vendors_error_leaves_out_and_what_stands_beside_it_is_told_in_a_chat() -> None:
    event = {"id": "gen-1", "choices": [], "error": {"code": 502, "message": "Too busy.", "spendhub": "no"}}
    _, told = last_of(CHAT_DIALECT.passing(ASKED[CHAT_DIALECT]), said_by(CHAT_DIALECT, event))
    assert told == {
        "id": "gen-1",
        "choices": [],
        "error": {
            "message": "Too busy.", "type": "server_error", "param": None, "code": 502, "retry_after_seconds": 1,
            "spendhub": MONEY,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "overloaded", "message": "Too busy.", "param": "input", "sequence_number": 99},
        {"type": "error", "error": {"code": "overloaded", "message": "Too busy.", "param": "input"}},
    ],
)
def test_a_vendors_own_error_in_mid_stream_keeps_its_words_in_a_response(event: dict[str, Any]) -> None:
    error = said_by(RESPONSES_DIALECT, event)
    sent, told = last_of(RESPONSES_DIALECT.passing(ASKED[RESPONSES_DIALECT]), error)
    own = {"code": "overloaded", "message": "Too busy.", "param": "input"}
    assert sent.event == "error" and ResponseErrorEvent.model_validate(told).message == "Too busy."
    assert told == {
        "type": "error", **own, "sequence_number": 0,
        "error": {**own, "type": "server_error", "retry_after_seconds": 1, "spendhub": MONEY},
    }  # fmt: skip


def test_a_vendors_own_error_in_mid_stream_keeps_its_words_in_messages() -> None:
    said = {"type": "overloaded_error", "message": "Overloaded"}
    error = said_by(MESSAGES_DIALECT, {"type": "error", "error": said, "request_id": "req_1"})
    sent, told = last_of(MESSAGES_DIALECT.passing(ASKED[MESSAGES_DIALECT]), error)
    facts = {"code": "upstream_failed", "retry_after_seconds": 1, "spendhub": MONEY}
    assert sent.event == "error"
    assert told == {"type": "error", "error": {**said, **facts}, "request_id": "req_1"}


def test_a_vendors_own_error_in_mid_stream_keeps_its_words_in_googles_contents() -> None:
    reason = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
    said = {"message": "Too busy.", "status": "RESOURCE_EXHAUSTED", "details": [reason], "code": 429}
    sent, told = last_of(
        GENERATE_DIALECT.passing(ASKED[GENERATE_DIALECT]), said_by(GENERATE_DIALECT, {"responseId": "r", "error": said})
    )
    assert sent.data.startswith(b'{"error":{"code":429,')  # what makes the SDK raise
    info, facts, own = told["error"].pop("details")
    assert told == {
        "error": {"code": 429, "message": "Too busy.", "status": "RESOURCE_EXHAUSTED"}, "responseId": "r",
    }  # fmt: skip
    assert (info["reason"], facts["code"], facts["spendhub"], own) == (
        "UPSTREAM_FAILED", "upstream_failed", MONEY, reason,
    )  # fmt: skip


def test_what_googles_sdk_could_not_read_of_a_vendors_error_is_told_in_ours() -> None:
    error = said_by(GENERATE_DIALECT, {"error": {"code": "busy", "message": ["?"], "status": 7, "details": "none"}})
    sent, told = last_of(GENERATE_DIALECT.passing(ASKED[GENERATE_DIALECT]), error)
    assert sent.data.startswith(b'{"error":{"code":502,')
    assert (told["error"]["message"], told["error"]["status"]) == (error.message, "UNAVAILABLE")
    assert [each["@type"].rpartition("/")[2] for each in told["error"]["details"]] == [
        "google.rpc.ErrorInfo", "spendhub.Error",
    ]  # fmt: skip


@pytest.mark.parametrize("dialect", READERS)
def test_a_vendors_error_without_an_object_and_an_error_of_ours_are_told_in_our_words(dialect: ClientDialect) -> None:
    plain = said_by(dialect, {"type": "error", "error": "busy"})
    for error in (plain, UpstreamError("broken off")):
        _, told = last_of(dialect.passing(ASKED[dialect]), error)
        assert told["error"]["message"] == error.message
        assert json.loads(events_in(dialect.error_event(error))[0].data) == without_money(told)


@pytest.mark.parametrize("dialect", READERS)
def test_across_dialects_an_error_in_mid_stream_is_told_in_our_words(dialect: ClientDialect) -> None:
    error = said_by(CHAT_DIALECT, {"error": {"message": "Too busy.", "code": "overloaded"}})
    _, told = last_of(dialect.writing(ASKED[dialect], SaidReader([]), "m"), error)
    assert told["error"]["message"] == "the vendor broke off in mid-stream: overloaded: Too busy."
    assert json.loads(events_in(dialect.error_event(error))[0].data) == without_money(told)


@pytest.mark.parametrize("dialect", READERS)
def test_an_error_in_a_stream_says_among_its_facts_what_the_broken_call_has_cost(dialect: ClientDialect) -> None:
    error, request = UpstreamError("broken off"), ASKED[dialect]
    for out in (dialect.passing(request), dialect.writing(request, SaidReader([]), "m")):
        told = last_of(out, error)[1]["error"]
        assert (told["details"][1] if dialect == GENERATE_DIALECT else told)["spendhub"] == MONEY
    # Where no call was made there is nothing to say.
    assert b'spendhub":{' not in events_in(dialect.error_event(error))[0].data


def numbered(number: int) -> SseEvent:
    return SseEvent(json.dumps({"type": "response.x", "sequence_number": number}).encode(), "response.x")


def test_in_a_response_that_passes_the_error_goes_on_counting() -> None:
    out = RESPONSES_DIALECT.passing(ASKED[RESPONSES_DIALECT])
    error = UpstreamError("broken off")
    assert last_of(out, error)[1]["sequence_number"] == 0
    out.pass_on([(numbered(0), None), (numbered(1), None)])
    assert last_of(out, error)[1]["sequence_number"] == 2
    out.pass_on(UnreadEvents(numbered(2).encode() + numbered(3).encode()))
    out.pass_on(UnreadEvents(b": still there\n\n"))
    out.pass_on([(SseEvent(b"not json"), None), (SseEvent(b"[DONE]"), None)])
    assert last_of(out, error)[1]["sequence_number"] == 4


def test_in_a_response_that_is_translated_the_error_goes_on_counting() -> None:
    deltas = deltas_of(REPLIES["words"])[:2]
    out = RESPONSES_DIALECT.writing(ASKED[RESPONSES_DIALECT], SaidReader(deltas), "m")
    told = events_in(out.pass_on([(SseEvent(str(index).encode()), None) for index in range(len(deltas))]))
    last = json.loads(told[-1].data)["sequence_number"]
    assert last > 2
    assert last_of(out, UpstreamError("broken off"))[1]["sequence_number"] == last + 1

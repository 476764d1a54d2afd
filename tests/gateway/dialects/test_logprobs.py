"""How likely the tokens of an answer were: as each client asks for it, and as each is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from routing.conversation import (
    Began,
    Delta,
    Ended,
    NotTranslatable,
    Refusal,
    RefusalDelta,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ToolCallBegan,
    ToolCallDelta,
)
from routing.logprobs import Likelihood, TokenLogprob
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.openai.chat import ChatReader
from spendhub.errors import Invalid
from spendhub.gateway.dialect import CallRequest, ClientDialect
from spendhub.gateway.gemini.generate import GenerateDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.responses import RESPONSES_DIALECT
from tests.gateway.dialects.said import USAGE, SaidReader, data_of, written

GENERATE = GenerateDialect("m", is_stream=True)
HI = TokenLogprob(Likelihood("Hé", -0.25), (Likelihood("Hé", -0.25), Likelihood("Yo", -1.5)))
BANG = TokenLogprob(Likelihood("!", -0.75))
REPLY = Reply("id-1", "vendors-name", (Text("Hé!"),), "stop", USAGE, logprobs=(HI, BANG))
DELTAS: list[Delta] = [
    Began("id-1", "m"),
    TextDelta("Hé", logprobs=(HI,)),
    TextDelta("!", logprobs=(BANG,)),
    Ended("stop"),
]
# As OpenAI tells them, with bytes, and without.
TOLD = [
    {
        "token": "Hé", "bytes": [72, 195, 169], "logprob": -0.25,
        "top_logprobs": [
            {"token": "Hé", "bytes": [72, 195, 169], "logprob": -0.25},
            {"token": "Yo", "bytes": [89, 111], "logprob": -1.5},
        ],
    },
    {"token": "!", "bytes": [33], "logprob": -0.75, "top_logprobs": []},
]  # fmt: skip
BRIEFLY = [
    {
        "token": "Hé", "logprob": -0.25,
        "top_logprobs": [{"token": "Hé", "logprob": -0.25}, {"token": "Yo", "logprob": -1.5}],
    },
    {"token": "!", "logprob": -0.75, "top_logprobs": []},
]  # fmt: skip
# As Google does.
CHOSEN = [{"token": "Hé", "logProbability": -0.25}, {"token": "!", "logProbability": -0.75}]
TOP = [
    {"candidates": [{"token": "Hé", "logProbability": -0.25}, {"token": "Yo", "logProbability": -1.5}]},
    {"candidates": []},
]


def chat(**fields: Any) -> CallRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return CHAT_DIALECT.parse(json.dumps(body).encode())


def response(**fields: Any) -> CallRequest:
    return RESPONSES_DIALECT.parse(json.dumps({"model": "m", "input": "hi", **fields}).encode())


def contents(**config: Any) -> CallRequest:
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": config}
    return GENERATE.parse(json.dumps(body).encode())


ASKED: list[tuple[ClientDialect, Callable[..., CallRequest], dict[str, Any], int | None]] = [
    (CHAT_DIALECT, chat, {"logprobs": True, "top_logprobs": 3}, 3),
    (CHAT_DIALECT, chat, {"logprobs": True}, 0),
    (CHAT_DIALECT, chat, {"logprobs": False}, None),
    (CHAT_DIALECT, chat, {}, None),
    (RESPONSES_DIALECT, response, {"include": ["message.output_text.logprobs"], "top_logprobs": 3}, 3),
    (RESPONSES_DIALECT, response, {"include": ["message.output_text.logprobs"]}, 0),
    (RESPONSES_DIALECT, response, {"top_logprobs": 3}, 3),
    (RESPONSES_DIALECT, response, {"top_logprobs": 0, "include": ["reasoning.encrypted_content"]}, None),
    (RESPONSES_DIALECT, response, {}, None),
    (GENERATE, contents, {"responseLogprobs": True, "logprobs": 3}, 3),
    (GENERATE, contents, {"responseLogprobs": True}, 0),
    (GENERATE, contents, {"logprobs": 0}, None),
]


@pytest.mark.parametrize(("dialect", "ask", "fields", "logprobs"), ASKED)
def test_they_are_asked_for_and_needed_of_a_model(
    dialect: ClientDialect, ask: Callable[..., CallRequest], fields: dict[str, Any], logprobs: int | None
) -> None:
    request = ask(**fields)
    assert dialect.conversation(request).logprobs == logprobs
    assert dialect.needs(request) - {"streaming"} == (frozenset() if logprobs is None else {"logprobs"})


def test_more_of_the_likeliest_than_openai_gives_are_refused() -> None:
    with pytest.raises(Invalid) as refused:
        RESPONSES_DIALECT.conversation(response(top_logprobs=21))
    assert refused.value.details["field"] == "top_logprobs"


def test_what_else_a_response_may_include_stays_openais() -> None:
    with pytest.raises(NotTranslatable) as refused:
        RESPONSES_DIALECT.conversation(response(include=["message.output_text.logprobs", "file_search_call.results"]))
    assert refused.value.details["field"] == "include 'file_search_call.results'"


def test_a_chat_is_told_them() -> None:
    body = CHAT_DIALECT.whole(REPLY, chat(logprobs=True), "m")
    ChatCompletion.model_validate_json(body, strict=True)
    assert json.loads(body)["choices"][0]["logprobs"] == {"content": TOLD, "refusal": None}
    chunks = data_of(written(CHAT_DIALECT.writing(chat(stream=True), SaidReader(DELTAS), "m"), len(DELTAS)))
    assert all(ChatCompletionChunk.model_validate(each) for each in chunks)
    assert [each["choices"][0]["logprobs"] for each in chunks] == [
        None, {"content": TOLD[:1], "refusal": None}, {"content": TOLD[1:], "refusal": None}, None,
    ]  # fmt: skip


def test_a_chat_is_told_those_of_a_refusal_beside_it() -> None:
    refusal = Reply("id-1", "m", (Refusal("Hé!"),), "content_filter", USAGE, logprobs=(HI, BANG))
    (choice,) = json.loads(CHAT_DIALECT.whole(refusal, chat(), "m"))["choices"]
    assert choice["logprobs"] == {"content": None, "refusal": TOLD}
    deltas: list[Delta] = [RefusalDelta("Hé!", logprobs=(HI, BANG))]
    first, _ = data_of(written(CHAT_DIALECT.writing(chat(), SaidReader(deltas), "m"), 1))
    assert first["choices"][0]["logprobs"] == {"content": None, "refusal": TOLD}


def test_a_response_is_told_them() -> None:
    body = RESPONSES_DIALECT.whole(REPLY, response(top_logprobs=2), "m")
    told = Response.model_validate_json(body)
    assert told.top_logprobs == 2
    assert json.loads(body)["output"][0]["content"][0]["logprobs"] == TOLD
    request = response(top_logprobs=2, stream=True)
    events = data_of(written(RESPONSES_DIALECT.writing(request, SaidReader(DELTAS), "m"), len(DELTAS)))
    reading: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    assert all(reading.validate_python(each) for each in events)
    told_in = {
        kind: [each["logprobs"] for each in events if each["type"] == f"response.output_text.{kind}"]
        for kind in ("delta", "done")
    }
    assert told_in == {"delta": [BRIEFLY[:1], BRIEFLY[1:]], "done": [BRIEFLY]}
    (part,) = [each["part"] for each in events if each["type"] == "response.content_part.done"]
    assert part["logprobs"] == events[-1]["response"]["output"][0]["content"][0]["logprobs"] == TOLD


def test_a_response_has_no_place_for_those_of_a_tools_arguments() -> None:
    deltas: list[Delta] = [
        Began("id-1", "m"), ToolCallBegan(0, "c", "f"), ToolCallDelta(0, "{}"), TextDelta("", logprobs=(BANG,)),
        Ended("tool_calls"),
    ]  # fmt: skip
    events = data_of(written(RESPONSES_DIALECT.writing(response(), SaidReader(deltas), "m"), len(deltas)))
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["function_call"]


def test_each_part_of_a_response_is_told_its_own() -> None:
    reply = Reply("id-1", "m", (Text("Hé"), Thinking("hm"), Text("!")), "stop", USAGE, logprobs=(HI, BANG))
    items = json.loads(RESPONSES_DIALECT.whole(reply, response(), "m"))["output"]
    assert [item["content"][0]["logprobs"] for item in items if item["type"] == "message"] == [TOLD[:1], TOLD[1:]]


def test_googles_client_is_told_them() -> None:
    body = GENERATE.whole(REPLY, contents(), "m")
    read = GenerateContentResponse.model_validate_json(body)
    assert read.candidates is not None and read.candidates[0].logprobs_result is not None
    (candidate,) = json.loads(body)["candidates"]
    assert candidate["logprobsResult"] == {"chosenCandidates": CHOSEN, "topCandidates": TOP, "logProbabilitySum": -1.0}
    assert candidate["avgLogprobs"] == -0.5
    chunks = data_of(written(GENERATE.writing(contents(), SaidReader(DELTAS), "m"), len(DELTAS)))
    first, second, last = (each["candidates"][0] for each in chunks)
    assert first["logprobsResult"] == {
        "chosenCandidates": CHOSEN[:1], "topCandidates": TOP[:1], "logProbabilitySum": -0.25,
    }  # fmt: skip
    assert second["logprobsResult"] == {"chosenCandidates": CHOSEN[1:], "logProbabilitySum": -0.75}
    assert "logprobsResult" not in last and last["avgLogprobs"] == -0.5


def test_who_did_not_ask_sees_nothing_of_them() -> None:
    silent = Reply("id-1", "m", (Text("Hi"),), "stop", USAGE)
    assert json.loads(CHAT_DIALECT.whole(silent, chat(), "m"))["choices"][0]["logprobs"] is None
    assert not {"logprobsResult", "avgLogprobs"} & set(
        json.loads(GENERATE.whole(silent, contents(), "m"))["candidates"][0]
    )


def test_what_googles_client_is_told_is_what_its_own_vendor_says() -> None:
    reader = ContentsReader()
    reader.read_body(GENERATE.whole(REPLY, contents(), "m"))
    assert reader.reply().logprobs == REPLY.logprobs


def test_what_openais_client_is_told_is_what_its_own_vendor_says() -> None:
    reader = ChatReader()
    reader.read_body(CHAT_DIALECT.whole(REPLY, chat(), "m"))
    assert [each.chosen.logprob for each in reader.reply().logprobs] == [-0.25, -0.75]
    assert [other.octets for other in reader.reply().logprobs[0].top] == [(72, 195, 169), (89, 111)]

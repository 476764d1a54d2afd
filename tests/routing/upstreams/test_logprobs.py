"""How likely the tokens of an answer were: asked of vendors, and read from what they say, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.conversation import (
    Began,
    Conversation,
    Ended,
    Message,
    NotTranslatable,
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
)
from routing.logprobs import UNLIKELIEST, Likelihood, TokenLogprob, octets_of, shared_out
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.registry import DIALECTS
from routing.upstreams.sse import DONE
from tests.routing.facts import model_facts


def told(token: str, logprob: float, *top: tuple[str, float], octets: list[int] | None = None) -> dict[str, Any]:
    """A token as OpenAI tells it."""
    others = [{"token": other, "logprob": likely, "bytes": list(other.encode())} for other, likely in top]
    return {"token": token, "logprob": logprob, "bytes": octets, "top_logprobs": others}


HI = TokenLogprob(Likelihood("Hi", -0.25), (Likelihood("Hi", -0.25, (72, 105)), Likelihood("Yo", -1.5, (89, 111))))
BANG = TokenLogprob(Likelihood("!", -0.5, (33,)))
SAID = [told("Hi", -0.25, ("Hi", -0.25), ("Yo", -1.5)), told("!", -0.5, octets=[33])]


def asked(dialect: str, logprobs: int | None, **facts: Any) -> dict[str, Any]:
    """The body that asks a vendor for them."""
    conversation = Conversation((Message("user", (Text("hi"),)),), logprobs=logprobs)
    model = model_facts("m", **{"dialect": dialect, "base_url": "https://vendor.test/v1", **facts})
    body: dict[str, Any] = json.loads(
        DIALECTS[dialect].translated_request(model, "", conversation, is_stream=False).body
    )
    return body


def test_openai_is_asked_for_the_chosen_tokens_and_the_likeliest() -> None:
    assert {name: asked("openai", 3)[name] for name in ("logprobs", "top_logprobs")} == {
        "logprobs": True, "top_logprobs": 3,
    }  # fmt: skip
    alone = asked("openai", 0)
    assert alone["logprobs"] is True and "top_logprobs" not in alone
    assert "logprobs" not in asked("openai", None)


def test_google_is_asked_for_the_chosen_tokens_and_the_likeliest() -> None:
    assert asked("gemini", 3)["generationConfig"] == {"responseLogprobs": True, "logprobs": 3}
    assert asked("gemini", 0)["generationConfig"] == {"responseLogprobs": True}
    assert "generationConfig" not in asked("gemini", None)


@pytest.mark.parametrize(
    "base_url", ["https://api.mistral.ai/v1", "https://api.moonshot.ai/v1", "https://api.z.ai/api/paas/v4"]
)
def test_compatible_vendors_without_them_are_not_asked(base_url: str) -> None:
    with pytest.raises(NotTranslatable) as refused:
        asked("openai", 0, base_url=base_url)
    assert refused.value.details["field"] == "logprobs"


def test_a_whole_chat_is_read() -> None:
    reader = ChatReader()
    choice = {"message": {"content": "Hi!"}, "logprobs": {"content": SAID, "refusal": None}, "finish_reason": "stop"}
    reader.read_body(json.dumps({"choices": [choice]}).encode())
    assert (reader.reply().blocks, reader.reply().logprobs) == ((Text("Hi!"),), (HI, BANG))


def test_a_refusals_tokens_are_read_too() -> None:
    reader = ChatReader()
    choice = {"message": {"refusal": "Hi!"}, "logprobs": {"content": None, "refusal": SAID}}
    reader.read_body(json.dumps({"choices": [choice]}).encode())
    assert (reader.reply().blocks, reader.reply().logprobs) == ((Refusal("Hi!"),), (HI, BANG))


def chunk(delta: dict[str, Any], **logprobs: Any) -> bytes:
    return json.dumps({"id": "c", "model": "m", "choices": [{"delta": delta, "logprobs": logprobs or None}]}).encode()


def test_a_streamed_chat_is_read() -> None:
    reader = ChatReader()
    events = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hi"}, content=SAID[:1], refusal=None),
        chunk({"content": ""}, content=SAID[1:], refusal=None),
        chunk({"refusal": "no"}, content=None, refusal=SAID[1:]),
        DONE,
    ]
    assert [delta for event in events for delta in reader.deltas(event)] == [
        Began("c", "m"), TextDelta("Hi", logprobs=(HI,)), TextDelta("", logprobs=(BANG,)),
        RefusalDelta("no", logprobs=(BANG,)), Ended("stop"),
    ]  # fmt: skip


def candidate(text: str, chosen: list[Any], top: list[Any] | None, **facts: Any) -> bytes:
    """A candidate of Google's. `top` are the others of each step."""
    result: dict[str, Any] = {"chosenCandidates": chosen}
    if top is not None:
        result["topCandidates"] = [{"candidates": each} for each in top]
    content = {"parts": [{"text": text}]}
    return json.dumps({"candidates": [{"content": content, "logprobsResult": result, **facts}]}).encode()


def likely(token: str, logprob: Any) -> dict[str, Any]:
    return {"token": token, "tokenId": 7, "logProbability": logprob}


PLAIN_HI = TokenLogprob(Likelihood("Hi", -0.25), (Likelihood("Hi", -0.25), Likelihood("Yo", -1.5)))
PLAIN_BANG = TokenLogprob(Likelihood("!", -0.5))


def test_a_whole_answer_of_googles_is_read() -> None:
    reader = ContentsReader()
    top = [[likely("Hi", -0.25), likely("Yo", -1.5)]]
    reader.read_body(candidate("Hi!", [likely("Hi", -0.25), likely("!", -0.5)], top, avgLogprobs=-0.375))
    assert reader.reply().logprobs == (PLAIN_HI, PLAIN_BANG)


def test_a_stream_of_googles_is_read() -> None:
    reader = ContentsReader()
    events = [
        candidate("Hi", [likely("Hi", -0.25)], [[likely("Hi", -0.25), likely("Yo", -1.5)]]),
        candidate("", [likely("!", -0.5)], None, finishReason="STOP"),
    ]
    assert [delta for event in events for delta in read(reader, event)] == [
        Began("", ""), TextDelta("Hi", logprobs=(PLAIN_HI,)), TextDelta("", logprobs=(PLAIN_BANG,)),
    ]  # fmt: skip


def read(reader: ContentsReader, event: bytes) -> Any:
    reader.read_event(event)
    return reader.deltas(event)


@pytest.mark.parametrize("result", [None, [], {"chosenCandidates": "x"}, {"chosenCandidates": [7], "topCandidates": 7}])
def test_what_google_did_not_say_is_not_there(result: Any) -> None:
    reader = ContentsReader()
    content = {"parts": [{"text": "Hi"}]}
    reader.read_body(json.dumps({"candidates": [{"content": content, "logprobsResult": result}]}).encode())
    assert reader.reply().logprobs == ()


@pytest.mark.parametrize("said", ["-Infinity", None])
def test_what_is_infinitely_unlikely_has_openais_number_for_it(said: Any) -> None:
    reader = ContentsReader()
    reader.read_body(candidate("Hi", [likely("Hi", said)], None))
    assert reader.reply().logprobs[0].chosen.logprob == UNLIKELIEST == -9999.0


@pytest.mark.parametrize("logprobs", [7, {}, {"content": 7}, {"content": [7, None]}])
def test_likelihoods_of_no_known_shape_are_none(logprobs: Any) -> None:
    reader = ChatReader()
    reader.read_body(json.dumps({"choices": [{"message": {"content": "x"}, "logprobs": logprobs}]}).encode())
    assert reader.reply().logprobs == ()


def test_a_tokens_bytes_are_as_said_or_those_of_its_text() -> None:
    assert octets_of(Likelihood("é", -1.0)) == [195, 169]
    assert octets_of(Likelihood("bytes:\\xc3", -1.0, (195,))) == [195]


def test_tokens_are_shared_out_among_the_parts_that_they_make() -> None:
    a, b, c = (TokenLogprob(Likelihood(token, -1.0)) for token in ("Hel", "lo", " you"))
    assert list(shared_out((a, b, c), ["Hello", " you"])) == [(a, b), (c,)]
    assert list(shared_out((a, b, c), ["Hello you"])) == [(a, b, c)]
    assert list(shared_out((a, b, c), ["H", "i", "?"])) == [(a,), (b,), (c,)]
    assert list(shared_out((), ["Hello", "you"])) == [(), ()]
    assert list(shared_out((a,), [])) == []

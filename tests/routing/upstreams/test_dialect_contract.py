"""What holds for every dialect: the same conversation, asked of each one's vendor over HTTP, whole and streamed."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.conversation import (
    CHOICES,
    LOGPROBS,
    Began,
    Conversation,
    Delta,
    Ended,
    Image,
    Message,
    NotTranslatable,
    OutputFormat,
    Reasoning,
    Reply,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from routing.errors import UpstreamError, UpstreamRefused, UpstreamTimeout
from routing.token_usage import TokenUsage
from routing.upstreams.base import UpstreamRequest, UsageReader
from routing.upstreams.registry import DIALECTS
from routing.upstreams.sse import SseDecoder
from tests.fakes.vendor import HALF, WORDS_OF_ANSWER
from tests.routing.upstreams.vendors import AT_RESPONSES, FAKES, Spoken, ask, ask_text, joined, spoken

WEATHER = Tool("weather", "The weather in a city.", {"type": "object", "properties": {"city": {"type": "string"}}})
CITY = OutputFormat(schema={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
COUNTS = "[in:10] [cached:30] [out:7] [reasoning:20]"
# What a vendor does not say: which model has answered, how much of the output was thinking.
NAMES_NO_MODEL = TELLS_NO_THINKING_APART = ("bedrock",)
# A model that always thinks is told none.
TOLD_TEMPERATURE: dict[str, tuple[str, ...]] = {AT_RESPONSES: ()}


def user(*blocks: Any) -> Message:
    return Message("user", blocks)


def both(vendor: Spoken, conversation: Conversation) -> tuple[Reply, Reply]:
    """The same question answered whole and streamed."""
    whole = ask(vendor, conversation)
    streamed = ask(vendor, conversation, is_stream=True)
    assert whole.error is None and streamed.error is None
    assert whole.reply is not None
    assert streamed.reader.is_complete
    return whole.reply, joined(streamed.deltas, streamed.usage)


def comparable(reply: Reply) -> Reply:
    """Without what differs from call to call, and with arguments as values."""
    others = tuple(replace(choice, blocks=comparable_blocks(choice.blocks)) for choice in reply.others)
    return replace(reply, id="", blocks=comparable_blocks(reply.blocks), others=others)


def comparable_blocks(blocks: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        replace(block, arguments=json.dumps(json.loads(block.arguments))) if isinstance(block, ToolCall) else block
        for block in blocks
    )


def test_every_dialect_is_held_to_this() -> None:
    assert {Spoken(name, None).dialect for name in FAKES} == set(DIALECTS)


def test_words_are_the_same_whole_and_streamed(vendor: Spoken) -> None:
    whole, streamed = both(vendor, Conversation((user(Text("hello")),), system=(Text("Be brief."),)))
    assert comparable(whole) == comparable(streamed)
    assert whole.finish == "stop"
    assert whole.id and streamed.id
    assert whole.model == (vendor.model().upstream_name if vendor.dialect not in NAMES_NO_MODEL else "")
    if vendor.fake:
        assert whole.blocks == (Text(WORDS_OF_ANSWER),)
        assert whole.usage and streamed.usage


def test_a_tool_is_called_and_its_result_answered(vendor: Spoken) -> None:
    asked = Conversation((user(Text("use tool: the weather?")),), tools=(WEATHER,))
    whole, streamed = both(vendor, asked)
    assert comparable(whole) == comparable(streamed)
    assert whole.finish == "tool_calls"
    (call,) = whole.blocks
    assert isinstance(call, ToolCall) and call.name == "weather" and call.id
    assert set(json.loads(call.arguments)) == {"city"}
    said = Message("assistant", (call,))
    result = ToolResult(call.id, (Text("22 °C"),))
    answered, _ = both(vendor, replace(asked, messages=(*asked.messages, said, user(result))))
    assert answered.finish == "stop"
    assert isinstance(answered.blocks[0], Text)


def test_several_tools_are_called_at_once(remote: Spoken) -> None:
    asked = Conversation((user(Text("[calls:3]")),), tools=(WEATHER,))
    whole, streamed = both(remote, asked)
    assert comparable(whole) == comparable(streamed)
    calls = [block for block in whole.blocks if isinstance(block, ToolCall)]
    assert len({call.id for call in calls}) == 3
    results = tuple(user(ToolResult(call.id, (Text("22"),))) for call in calls)
    again = ask(remote, replace(asked, messages=(*asked.messages, Message("assistant", whole.blocks), *results)))
    assert again.reply is not None and again.reply.finish == "stop"


@pytest.mark.parametrize("choosing", ["auto", "none", "required", "named"])
def test_a_tool_may_or_must_be_chosen(vendor: Spoken, choosing: Any) -> None:
    choice = ToolChoice(choosing, "weather" if choosing == "named" else "")
    asked = Conversation((user(Text("use tool")),), tools=(WEATHER,), tool_choice=choice)
    heard = ask(vendor, asked)
    assert heard.reply is not None
    assert heard.reply.finish == ("stop" if choosing == "none" else "tool_calls")


def test_a_picture_a_schema_stops_and_limits_can_be_said(vendor: Spoken) -> None:
    picture = Image("image/png", "iVBORw0KGgo=")
    asked = Conversation(
        (user(Text("Which city?"), picture),),
        system=(Text("Look closely.", is_cache_point=True),),
        output=CITY,
        stop=() if "stop" in UNSAYABLE[vendor.name] else ("END",),
        max_output_tokens=100,
        temperature=0.5,
    )
    whole, streamed = both(vendor, asked)
    assert comparable(whole) == comparable(streamed)
    if vendor.fake:
        sent = json.dumps(vendor.sent()["body"])
        for said in (
            "Look closely.",
            "iVBORw0KGgo=",
            "png",
            "city",
            *asked.stop,
            "100",
            *TOLD_TEMPERATURE.get(vendor.name, ("0.5",)),
        ):
            assert said in sent


@pytest.mark.parametrize("reasoning", [Reasoning("high"), Reasoning(budget_tokens=2_000, is_shown=True), Reasoning()])
def test_thoughts_are_heard_and_said_again(remote: Spoken, reasoning: Reasoning) -> None:
    asked = Conversation((user(Text("[think:one two three] why?")),), reasoning=reasoning)
    whole, streamed = both(remote, asked)
    assert comparable(whole) == comparable(streamed)
    thoughts, words = whole.blocks
    assert isinstance(thoughts, Thinking) and thoughts.text == "one two three"
    assert words == Text(WORDS_OF_ANSWER)
    again = replace(asked, messages=(*asked.messages, Message("assistant", whole.blocks), user(Text("and?"))))
    assert ask(remote, again).reply is not None


def test_every_kind_of_token_is_counted_in_one_place(remote: Spoken) -> None:
    thought = 0 if remote.dialect in TELLS_NO_THINKING_APART else 20
    expected = TokenUsage(input_tokens=10, cache_read_tokens=30, output_tokens=27, reasoning_tokens=thought)
    assert ask_text(remote, COUNTS).usage == expected
    assert ask_text(remote, COUNTS, is_stream=True).usage == expected


def test_what_the_vendor_served_is_what_was_read(remote: Spoken) -> None:
    assert remote.fake is not None
    before = remote.fake.served.as_json()
    usages = [ask_text(remote, "one [cached:3]", is_stream=bool(number % 2)).usage for number in range(4)]
    after = remote.fake.served.as_json()
    assert after["completed"] - before["completed"] == 4
    assert after["prompt_tokens"] - before["prompt_tokens"] == sum(
        usage.total_input_tokens for usage in usages if usage
    )
    assert after["completion_tokens"] - before["completion_tokens"] == sum(
        usage.output_tokens for usage in usages if usage
    )


@pytest.mark.parametrize("question", ["hello", "use tool"])
def test_several_answers_are_the_same_whole_and_streamed(vendor: Spoken, question: str) -> None:
    if CHOICES in DIALECTS[vendor.dialect].lacks(vendor.model()):
        return
    asked = Conversation((user(Text(question)),), tools=(WEATHER,) if "tool" in question else (), choices=2)
    whole, streamed = both(vendor, asked)
    assert comparable(whole) == comparable(streamed)
    (other,) = whole.others
    assert other.finish == whole.finish and [type(block) for block in other.blocks] == [
        type(block) for block in whole.blocks
    ]
    one = ask(vendor, replace(asked, choices=1)).usage
    assert one and whole.usage == replace(one, output_tokens=2 * one.output_tokens)


def test_how_likely_words_were_is_the_same_whole_and_streamed(remote: Spoken) -> None:
    if LOGPROBS in DIALECTS[remote.dialect].lacks(remote.model()):
        return
    whole, streamed = both(remote, Conversation((user(Text("[say:one two]")),), logprobs=2))
    assert comparable(whole) == comparable(streamed)
    assert [(each.chosen.token, each.chosen.logprob) for each in whole.logprobs] == [("one", -0.5), (" two", -0.5)]
    assert [[other.token for other in each.top] for each in whole.logprobs] == [["one", "1"], [" two", "1"]]


@pytest.mark.parametrize("fault", ["split-utf8", "crlf"])
def test_a_stream_reads_the_same_however_it_is_sent(remote: Spoken, fault: str) -> None:
    heard = ask_text(remote, f"hello [fault:{fault}]", is_stream=True)
    assert joined(heard.deltas, heard.usage).blocks == (Text(WORDS_OF_ANSWER),)
    assert heard.usage is not None


@pytest.mark.parametrize("is_stream", [False, True])
def test_missing_usage_leaves_an_estimate(remote: Spoken, is_stream: bool) -> None:
    heard = ask_text(remote, "[fault:no-usage] [think:a thought]", is_stream=is_stream)
    assert heard.error is None and heard.usage is None
    assert 15 <= heard.reader.produced_tokens() <= 60
    assert heard.reader.finish_reason is not None


@pytest.mark.parametrize("fault", ["error", "reset"])
def test_a_vendor_that_breaks_off_leaves_what_it_said(remote: Spoken, fault: str) -> None:
    heard = ask_text(remote, f"[fault:{fault}]", is_stream=True)
    assert isinstance(heard.error, UpstreamError)
    if fault == "error":
        assert "overloaded on demand" in str(heard.error)
    text = "".join(delta.text for delta in heard.deltas if isinstance(delta, TextDelta))
    assert text and WORDS_OF_ANSWER.startswith(text)
    assert heard.usage is None and not heard.reader.is_complete
    assert 0 < heard.reader.produced_tokens() < 40


def test_a_stream_that_stops_short_is_not_complete(remote: Spoken) -> None:
    heard = ask_text(remote, "[fault:cut]", is_stream=True)
    assert heard.error is None and heard.usage is None and not heard.reader.is_complete
    assert not any(isinstance(delta, Ended) for delta in heard.deltas)
    assert heard.reader.produced_tokens() > 0


def test_a_vendor_that_falls_silent_is_a_timeout(remote: Spoken) -> None:
    assert isinstance(ask_text(remote, "[fault:stall]", is_stream=True, timeout=1).error, UpstreamTimeout)


def test_what_is_no_json_between_the_events_of_a_stream_is_passed_over(
    remote: Spoken, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routing.upstreams.rare_warnings._warned", {})
    good = ask_text(remote, "hello", is_stream=True)
    heard = ask_text(remote, "hello [fault:malformed-sse]", is_stream=True)
    assert heard.error is None and heard.reader.is_complete
    assert heard.deltas[1:] == good.deltas[1:] and heard.usage is not None  # the first has an id of its own
    told = [record for record in caplog.records if "no JSON" in record.message]
    assert [record.levelname for record in told] == ["WARNING"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_half_a_surrogate_is_read_as_a_character_that_is_none(remote: Spoken, is_stream: bool) -> None:
    heard = ask_text(remote, f"[think:hm {HALF}] [say:cut {HALF}]", is_stream=is_stream)
    reply = joined(heard.deltas, heard.usage) if is_stream else heard.reply
    assert heard.error is None and reply is not None
    thought, words = reply.blocks
    assert isinstance(thought, Thinking) and (thought.text, words) == ("hm \ufffd", Text("cut \ufffd"))
    assert reply.usage is not None


@pytest.mark.parametrize("fault", ["not-json", "html"])
def test_an_answer_that_is_none_is_an_error(remote: Spoken, fault: str) -> None:
    assert isinstance(ask_text(remote, f"[fault:{fault}]").error, UpstreamError)


@pytest.mark.parametrize("is_stream", [False, True])
def test_usage_that_cannot_be_is_none_and_the_answer_is_whole(remote: Spoken, is_stream: bool) -> None:
    heard = ask_text(remote, "[fault:impossible-usage]", is_stream=is_stream)
    reply = joined(heard.deltas, heard.usage) if is_stream else heard.reply
    assert reply is not None and heard.error is None
    assert (reply.blocks, reply.finish, reply.usage) == ((Text(WORDS_OF_ANSWER),), "stop", None)
    assert heard.reader.is_complete or not is_stream


@pytest.mark.parametrize("status", [401, 429, 500, 529])
def test_a_refusal_keeps_its_status_and_is_nobodys_wire(remote: Spoken, status: int) -> None:
    with pytest.raises(UpstreamRefused) as refused:
        ask_text(remote, f"[fault:{status}]", is_stream=True)
    assert (refused.value.status, refused.value.wire) == (status, None)
    assert refused.value.retry_after_seconds == {401: None, 429: 7}.get(status, 1)
    assert b"on demand" in refused.value.body


@pytest.mark.parametrize("is_stream", [False, True])
def test_content_that_the_vendor_blocks_ends_so(remote: Spoken, is_stream: bool) -> None:
    heard = ask_text(remote, "[fault:blocked]", is_stream=is_stream)
    reply = joined(heard.deltas, heard.usage) if is_stream else heard.reply
    assert reply is not None and reply.finish == "content_filter"
    assert not any(isinstance(block, Text) for block in reply.blocks)


UNSAYABLE: dict[str, dict[str, dict[str, Any]]] = {
    "openai": {"top_k": {"top_k": 5}},
    AT_RESPONSES: {
        "top_k": {"top_k": 5},
        "seed": {"seed": 1},
        "stop": {"stop": ("END",)},
        "logprobs": {"logprobs": 0},
        "choices": {"choices": 2},
    },
    "sandbox": {"top_k": {"top_k": 5}, "logprobs": {"logprobs": 0}},
    "anthropic": {
        "seed": {"seed": 1},
        "logprobs": {"logprobs": 0},
        "choices": {"choices": 2},
        "frequency_penalty": {"frequency_penalty": 0.5},
        "presence_penalty": {"presence_penalty": -0.5},
        "output": {"output": OutputFormat()},
        "temperature": {"temperature": 1.5},
        "top_p": {"temperature": 0.5, "top_p": 0.5},
    },
    "bedrock": {},
    "gemini": {
        "choices": {"choices": 9},
        "top_logprobs": {"logprobs": 21},
        "is_parallel": {"tools": (WEATHER,), "is_parallel": False},
    },
}


# Claude, whoever serves it.
UNSAYABLE["bedrock"] = UNSAYABLE["anthropic"]


def request_of(vendor: Spoken, **fields: Any) -> UpstreamRequest:
    asked = Conversation((user(Text("hello")),), **fields)
    return DIALECTS[vendor.dialect].translated_request(vendor.model(), "sk-fake", asked, is_stream=False)


def test_what_cannot_be_said_is_refused_by_its_name(vendor: Spoken) -> None:
    for field, fields in UNSAYABLE[vendor.name].items():
        with pytest.raises(NotTranslatable) as refused:
            request_of(vendor, **fields)
        assert refused.value.details["field"] == field


def test_what_says_nothing_is_not_refused(vendor: Spoken) -> None:
    nothing = {"frequency_penalty": 0.0, "presence_penalty": 0, "choices": 1, "is_parallel": None, "user": "ada"}
    assert request_of(vendor, **nothing) == request_of(vendor, user="ada")


def test_the_key_travels_in_a_header_alone(remote: Spoken) -> None:
    request = request_of(remote)
    assert [value for value in request.headers.values() if "sk-fake" in value]
    assert "sk-fake" not in request.url and b"sk-fake" not in request.body
    assert DIALECTS[remote.dialect].translated_request(
        remote.model(), "", Conversation((user(Text("hi")),)), is_stream=True
    ).headers.keys() < {*request.headers, "x"}


def test_a_limit_beyond_what_the_model_can_is_the_models(vendor: Spoken) -> None:
    def said(limit: int) -> bytes:
        asked = Conversation((user(Text("hello")),), max_output_tokens=limit)
        return DIALECTS[vendor.dialect].translated_request(vendor.model(), "", asked, is_stream=False).body

    assert said(999_999) == said(4_096)
    assert said(4_096) != said(4_095)


# Chunk boundaries.

QUESTIONS = {
    "words": Conversation((user(Text("[think:Überlegung 一二] [cached:5]")),)),
    "tools": Conversation((user(Text("use tool [think:Überlegung 一二] [calls:2]")),), tools=(WEATHER,)),
}


def reader_of(name: str) -> UsageReader:
    """What reads the answers to what is translated."""
    vendor = Spoken(name, None)
    dialect = DIALECTS[vendor.dialect]
    model = vendor.model(base_url="http://127.0.0.1/v1")  # where they all are
    request = dialect.translated_request(model, "", QUESTIONS["words"], is_stream=True)
    return request.reader() if request.reader else dialect.reader(None)


@cache
def recorded(name: str, question: str) -> tuple[bytes, list[Delta], TokenUsage | None]:
    """One stream of a dialect as bytes, with thoughts and words in several scripts, or with tool calls."""
    with spoken(name) as fake:
        heard = ask(Spoken(name, fake), QUESTIONS[question], is_stream=True)
    assert heard.error is None
    return b"".join(b"data: " + data + b"\n\n" for data in heard.events), heard.deltas, heard.usage


@pytest.mark.parametrize("question", list(QUESTIONS))
@pytest.mark.parametrize("name", list(FAKES))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_stream_means_the_same_wherever_it_is_cut(name: str, question: str, data: st.DataObject) -> None:
    raw, deltas, usage = recorded(name, question)
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=12))
    reader, decoder, found = reader_of(name), SseDecoder(), list[Delta]()
    edges = [0, *sorted(cuts), len(raw)]
    for start, end in itertools.pairwise(edges):
        # What arrives together is first read and then translated, as Execution.bursts hands it on.
        burst = decoder.feed(raw[start:end])
        for event in burst:
            reader.read_event(event.data)
        for event in burst:
            found += reader.deltas(event.data)
    decoder.end()
    assert found[1:] == deltas[1:]  # the first has an id, which may be each reader's own
    assert reader.usage == usage and reader.is_complete
    assert isinstance(found[0], Began) and isinstance(found[-1], Ended)
    assert sum(isinstance(delta, Began | Ended) for delta in found) == 2

"""What vendors really answered, recorded by others: read, cut into pieces, and told to each kind of client.

The recordings, where they are from and what must be read from them: recorded/README.md and recorded/index.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import Message as AnthropicMessage
from anthropic.types import RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from routing.conversation import Delta, NotTranslatable, Refusal, Reply, Text, Thinking, ToolCall
from routing.errors import UpstreamError, UpstreamRefused
from routing.retries import is_content_refusal
from routing.token_usage import TokenUsage
from routing.upstreams.anthropic.messages import MessagesReader
from routing.upstreams.base import UsageReader
from routing.upstreams.gemini.contents import ContentsReader
from routing.upstreams.openai.chat import ChatReader
from routing.upstreams.openai.embeddings import EmbeddingsReader
from routing.upstreams.openai.responses import ResponsesReader
from routing.upstreams.openai.responses_said import TranslatedResponsesReader
from routing.upstreams.registry import DIALECTS
from routing.upstreams.sse import SseDecoder, SseEvent
from spendhub.gateway.anthropic.messages import MESSAGES_DIALECT
from spendhub.gateway.anthropic.messages_passing import MessagesPassing
from spendhub.gateway.dialect import ClientDialect, StreamOut
from spendhub.gateway.error_facts import error_words
from spendhub.gateway.gemini.generate import GenerateDialect
from spendhub.gateway.openai.chat import CHAT_DIALECT
from spendhub.gateway.openai.chat_passing import ChatPassing
from spendhub.gateway.openai.responses import RESPONSES_DIALECT
from spendhub.gateway.openai.responses_passing import ResponsesPassing
from tests.gateway.dialects.said import MONEY, data_of, events_in
from tests.routing.facts import model_facts
from tests.routing.upstreams.vendors import joined

HERE = Path(__file__).parent / "recorded"
INDEX: list[dict[str, Any]] = json.loads((HERE / "index.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Recorded:
    """One recording and what must be read from it."""

    file: str
    expected: dict[str, Any]

    @property
    def raw(self) -> bytes:
        return (HERE / self.file).read_bytes()

    @property
    def is_stream(self) -> bool:
        return self.file.endswith(".sse")

    @property
    def usage(self) -> TokenUsage | None:
        said = self.expected["usage"]
        if said is None:
            return None
        kinds = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")
        assert set(said) <= set(kinds)
        return TokenUsage(*(said.get(kind, 0) for kind in kinds))

    def reader(self) -> UsageReader:
        if "embeddings" in self.file:
            return EmbeddingsReader()
        if "responses" in self.file:
            return TranslatedResponsesReader("its-keeper") if "text" in self.expected else ResponsesReader()
        if self.file.startswith("anthropic"):
            return MessagesReader()
        return ContentsReader() if self.file.startswith("gemini") else ChatReader()


ALL = [Recorded(row["file"], row) for row in INDEX]
ERRORS = [each for each in ALL if "-error-" in each.file]
BROKEN = [each for each in ALL if "error" in each.expected]
ANSWERS = [each for each in ALL if each not in ERRORS and each not in BROKEN]
STREAMS = [each for each in ANSWERS if each.is_stream]
TOLD = [each for each in ANSWERS if "text" in each.expected]  # those that are translated

CLIENTS: dict[str, ClientDialect] = {
    "chat": CHAT_DIALECT,
    "responses": RESPONSES_DIALECT,
    "messages": MESSAGES_DIALECT,
    "generate": GenerateDialect("m", is_stream=False),
}
ASKED: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream_options": {"include_usage": True}},
    "responses": {"model": "m", "input": "hi"},
    "messages": {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "generate": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}
_response_event: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_message_event: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def named(each: Recorded) -> str:
    return each.file


def read_stream(recorded: Recorded, size: int) -> tuple[UsageReader, list[Delta]]:
    """Feeds a stream in chunks of `size` bytes; of those that are translated, what each event adds."""
    reader, decoder, found = recorded.reader(), SseDecoder(), list[Delta]()
    raw = recorded.raw
    for start in range(0, len(raw), size):
        burst = decoder.feed(raw[start : start + size])
        for event in burst:
            reader.read_event(event.data)
        for event in burst:
            found += reader.deltas(event.data) if "text" in recorded.expected else ()
    decoder.end()
    if not reader.is_complete and (end := reader.missing_end()):
        reader.read_event(end)
        found += reader.deltas(end) if "text" in recorded.expected else ()
    return reader, found


def heard(recorded: Recorded) -> tuple[UsageReader, Reply | None]:
    """An answer as our reader understands it, whole or joined."""
    if recorded.is_stream:
        reader, deltas = read_stream(recorded, len(recorded.raw))
        return reader, joined(deltas, reader.usage) if deltas else None
    reader = recorded.reader()
    reader.read_body(recorded.raw)
    return reader, reader.reply() if "text" in recorded.expected else None


def text_of(reply: Reply, kind: type[Text | Thinking | Refusal]) -> str:
    return "".join(block.text for block in reply.blocks if isinstance(block, kind))


def calls_of(reply: Reply) -> list[list[Any]]:
    return [[block.name, json.loads(block.arguments)] for block in reply.blocks if isinstance(block, ToolCall)]


def test_every_recording_has_its_line_and_says_where_it_is_from() -> None:
    files = {path.name for path in HERE.iterdir() if path.suffix in (".json", ".sse")} - {"index.json"}
    assert files == {each.file for each in ALL}
    assert all(each.expected["source"] and each.expected["shows"] for each in ALL)


@pytest.mark.parametrize("recorded", ANSWERS, ids=named)
def test_an_answer_is_read_as_its_vendor_wrote_it(recorded: Recorded) -> None:
    reader, reply = heard(recorded)
    assert reader.usage == recorded.usage
    assert reader.finish_reason == recorded.expected["finish"]
    if reader.usage is not None and "id" in recorded.expected:
        assert (reader.response_id or "") == recorded.expected["id"]
    if reply is not None:
        assert reply.id == recorded.expected["id"]
        assert text_of(reply, Text) == recorded.expected["text"]
        assert text_of(reply, Thinking) == recorded.expected.get("thoughts", "")
        assert text_of(reply, Refusal) == recorded.expected.get("refusal", "")
        assert calls_of(reply) == recorded.expected.get("calls", [])


@pytest.mark.parametrize("recorded", STREAMS, ids=named)
def test_a_stream_reads_the_same_however_the_network_cuts_it(recorded: Recorded) -> None:
    whole_reader, whole = read_stream(recorded, len(recorded.raw))
    assert whole_reader.is_complete
    for size in (1, 7, 61, 1021):
        reader, deltas = read_stream(recorded, size)
        # Ids of Gemini's calls are made of the answer's own, so that they are the same as well.
        assert deltas == whole
        assert (reader.usage, reader.finish_reason) == (whole_reader.usage, whole_reader.finish_reason)
        assert reader.is_complete


@pytest.mark.parametrize("recorded", STREAMS, ids=named)
def test_what_a_stream_without_usage_has_said_can_be_counted(recorded: Recorded) -> None:
    reader, _ = read_stream(recorded, 512)
    if recorded.file != "anthropic-refusal-stream.sse" and recorded.file != "gemini-blocked-stream.sse":
        assert reader.produced_tokens() > 0


def asked(client: str, *, is_stream: bool) -> Any:
    if client == "generate":  # Google's address says it.
        return GenerateDialect("m", is_stream=is_stream).parse(json.dumps(ASKED[client]).encode())
    return CLIENTS[client].parse(json.dumps({**ASKED[client], "stream": is_stream}).encode())


def chat_said(told: ChatCompletion) -> tuple[str, list[list[Any]]]:
    message = told.choices[0].message
    calls = [[call.function.name, json.loads(call.function.arguments)]
             for call in message.tool_calls or () if call.type == "function"]  # fmt: skip
    return (message.content or "") + (message.refusal or ""), calls


def response_said(told: Response) -> tuple[str, list[list[Any]]]:
    words, calls = "", []
    for item in told.output:
        if item.type == "message":
            words += "".join(part.text if part.type == "output_text" else part.refusal for part in item.content)
        elif item.type == "function_call":
            calls.append([item.name, json.loads(item.arguments)])
    return words, calls


def message_said(told: AnthropicMessage) -> tuple[str, list[list[Any]]]:
    words = "".join(block.text for block in told.content if block.type == "text")
    return words, [[block.name, block.input] for block in told.content if block.type == "tool_use"]


def contents_said(told: Sequence[GenerateContentResponse]) -> tuple[str, list[list[Any]]]:
    words, calls = "", list[list[Any]]()
    for answer in told:
        assert answer.candidates is not None and answer.candidates[0].content is not None
        for part in answer.candidates[0].content.parts or ():
            words += "" if part.thought else part.text or ""
            calls += [[part.function_call.name, part.function_call.args]] if part.function_call else []
    return words, calls


def whole_said(client: str, body: bytes) -> tuple[str, list[list[Any]], int, int]:
    """Words, calls, input and output tokens of a translated body, as the client's own SDK reads it."""
    if client == "chat":
        chat = ChatCompletion.model_validate_json(body)
        assert chat.usage is not None
        return *chat_said(chat), chat.usage.prompt_tokens, chat.usage.completion_tokens
    if client == "responses":
        response = Response.model_validate_json(body)
        assert response.usage is not None
        return *response_said(response), response.usage.input_tokens, response.usage.output_tokens
    if client == "generate":
        contents = GenerateContentResponse.model_validate_json(body)
        counts = contents.usage_metadata
        assert counts is not None and counts.prompt_token_count is not None and counts.total_token_count is not None
        read = counts.prompt_token_count
        return *contents_said([contents]), read, counts.total_token_count - read
    message = AnthropicMessage.model_validate_json(body)
    used = message.usage
    read_and_written = (used.cache_read_input_tokens or 0) + (used.cache_creation_input_tokens or 0)
    return *message_said(message), used.input_tokens + read_and_written, used.output_tokens


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("recorded", [each for each in TOLD if not each.is_stream], ids=named)
def test_a_whole_answer_is_told_to_every_client(recorded: Recorded, client: str) -> None:
    _, reply = heard(recorded)
    assert reply is not None and recorded.usage is not None
    body = CLIENTS[client].whole(reply, asked(client, is_stream=False), "m")
    words = recorded.expected["text"] + recorded.expected.get("refusal", "")
    usage = recorded.usage
    assert whole_said(client, body) == (
        words, recorded.expected.get("calls", []), usage.total_input_tokens, usage.output_tokens
    )  # fmt: skip


def streamed_chat(events: Sequence[SseEvent]) -> tuple[str, list[list[Any]]]:
    words, calls = "", dict[int, list[str]]()
    for data in data_of(events):
        for choice in ChatCompletionChunk.model_validate(data).choices:
            words += (choice.delta.content or "") + (choice.delta.refusal or "")
            for call in choice.delta.tool_calls or ():
                known = calls.setdefault(call.index, ["", ""])
                assert call.function is not None
                known[0] += call.function.name or ""
                known[1] += call.function.arguments or ""
    return words, [[name, json.loads(arguments)] for name, arguments in calls.values()]


def streamed_response(events: Sequence[SseEvent]) -> tuple[str, list[list[Any]]]:
    told = [_response_event.validate_python(data) for data in data_of(events)]
    assert told[-1].type in ("response.completed", "response.incomplete")
    return response_said(told[-1].response)


def streamed_message(events: Sequence[SseEvent]) -> tuple[str, list[list[Any]]]:
    words, calls = "", list[list[Any]]()
    for data in data_of(events):
        event = _message_event.validate_python(data)
        if event.type == "content_block_start" and event.content_block.type == "tool_use":
            calls.append([event.content_block.name, ""])
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            words += event.delta.text
        elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
            calls[-1][1] += event.delta.partial_json
    return words, [[name, json.loads(arguments)] for name, arguments in calls]


def streamed_contents(events: Sequence[SseEvent]) -> tuple[str, list[list[Any]]]:
    return contents_said([GenerateContentResponse.model_validate(without_money(data)) for data in data_of(events)])


STREAMED: dict[str, Callable[[Sequence[SseEvent]], tuple[str, list[list[Any]]]]] = {
    "chat": streamed_chat,
    "responses": streamed_response,
    "messages": streamed_message,
    "generate": streamed_contents,
}


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("recorded", [each for each in TOLD if each.is_stream], ids=named)
def test_a_stream_is_told_to_every_client(recorded: Recorded, client: str) -> None:
    reader = recorded.reader()
    out = CLIENTS[client].writing(asked(client, is_stream=True), reader, "m")
    wire = b""
    for event in SseDecoder().feed(recorded.raw):
        parsed = reader.read_event(event.data)
        wire += out.pass_on([(event, parsed)])
    if not reader.is_complete and (end := reader.missing_end()):
        wire += out.pass_on([(SseEvent(end), reader.read_event(end))])
    assert out.is_done
    wire += out.last_events(reader.usage or TokenUsage(1, 1), MONEY, "m", reader.response_id)
    words, calls = STREAMED[client](events_in(wire))
    assert words == recorded.expected["text"] + recorded.expected.get("refusal", "")
    assert calls == recorded.expected.get("calls", [])


def passing_out(recorded: Recorded) -> StreamOut:
    if isinstance(recorded.reader(), ResponsesReader):
        return ResponsesPassing()
    return MessagesPassing() if recorded.file.startswith("anthropic") else ChatPassing(wants_usage=True)


def without_money(told: Any) -> Any:
    """An event without our object, wherever it stands in its format."""
    inner = {"response": without_money(told["response"])} if isinstance(told.get("response"), dict) else {}
    return {name: value for name, value in {**told, **inner}.items() if name != "spendhub"}


@pytest.mark.parametrize("recorded", [each for each in STREAMS if not each.file.startswith("gemini")], ids=named)
def test_a_stream_that_passes_reaches_its_client_as_it_came(recorded: Recorded) -> None:
    reader, out, wire = recorded.reader(), passing_out(recorded), b""
    came = SseDecoder().feed(recorded.raw)
    for event in came:
        parsed = reader.read_event(event.data)
        wire += out.pass_on([(event, parsed)])
    assert out.is_done
    wire += out.last_events(reader.usage or TokenUsage(1, 1), MONEY, "m", reader.response_id)
    told = [without_money(data) for data in data_of(events_in(wire))]
    # A vendor that has not said its usage gets an event with ours.
    assert told[: len(data_of(came))] == data_of(came)
    assert len(told) == len(data_of(came)) + (recorded.usage is None)


@pytest.mark.parametrize("recorded", BROKEN, ids=named)
def test_a_stream_that_its_vendor_breaks_off_has_said_what_it_costs(recorded: Recorded) -> None:
    reader, decoder = recorded.reader(), SseDecoder()
    with pytest.raises(UpstreamError) as broken:
        for event in decoder.feed(recorded.raw):
            reader.read_event(event.data)
    assert broken.value.message == recorded.expected["error"]
    assert reader.usage == recorded.usage


REFUSALS = {
    "anthropic-error-schema.json": (400, False, "tools.0.custom.input_schema.type: Field required"),
    "azure-error-content-filter.json": (400, True, "The response was filtered due to the prompt triggering Azure"),
    "azure-error-no-deployment.json": (404, False, "The API deployment for this resource does not exist."),
    "gemini-error-quota.json": (429, False, "You exceeded your current quota, please check your plan."),
    "gemini-error-thinking-level.json": (400, False, "Thinking level MINIMAL is not supported for this model."),
    "moonshot-error-temperature.json": (400, False, "invalid temperature: only 1 is allowed for this model"),
    "openai-error-picture.json": (400, False, "Error while downloading https://source.unsplash.com"),
    "openai-error-unknown-model.json": (404, False, "The model `this-model-does-not-exist` does not exist"),
    "qwen-error-arguments.json": (400, False, "parameter of the code model must be in JSON format."),
    "zai-error-overloaded.json": (429, False, "The service may be temporarily overloaded"),
}


@pytest.mark.parametrize("recorded", ERRORS, ids=named)
def test_a_refusal_is_told_in_the_vendors_words(recorded: Recorded) -> None:
    status, is_about_content, words = REFUSALS[recorded.file]
    refused = UpstreamRefused("vendor", status, {}, recorded.raw, None)
    assert is_content_refusal(refused) == is_about_content
    assert words in error_words(refused)
    for client in CLIENTS.values():
        told_status, body, _ = client.error_answer(refused)
        assert told_status == status and words in body.decode()


# What real clients asked.

REQUESTS = sorted((HERE / "requests").glob("*.json"))
MODELS = {"openai": "gpt-5", "anthropic": "claude-sonnet-4-6", "gemini": "gemini-3.5-flash", "sandbox": "sandbox-small"}


# Which field of which of them a vendor has no word for.
UNSAYABLE = {
    ("chat-many-settings", "anthropic"): "seed",
    ("responses-settings", "anthropic"): "top_p",
    ("chat-choices-stream", "anthropic"): "choices",
    **{("generate-safety", vendor): "safetySettings[0].threshold 'BLOCK_LOW_AND_ABOVE'" for vendor in MODELS},
}


@pytest.mark.parametrize("vendor", list(MODELS))
@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_a_real_request_is_said_to_every_vendor_or_refused_by_name(path: Path, vendor: str) -> None:
    client = CLIENTS[path.stem.split("-")[0]]
    request = client.parse(path.read_bytes())
    model = model_facts(MODELS[vendor], dialect=vendor, base_url="https://vendor.test/v1")
    dialect, field = DIALECTS[vendor], UNSAYABLE.get((path.stem, vendor))
    if field is not None:
        with pytest.raises(NotTranslatable) as refused:
            dialect.translated_request(model, "key", client.conversation(request), is_stream=request.is_stream)
        assert refused.value.details["field"] == field
        return
    translated = dialect.translated_request(model, "key", client.conversation(request), is_stream=request.is_stream)
    sent = translated.body.decode()
    assert all(name in sent for name in request.tools)
    assert client.text(request).splitlines()[0][:20] in sent
